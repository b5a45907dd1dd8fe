"""How this terminal can show a picture.

The rule: the environment decides where it is clear; else the terminal itself is asked, once, when the first picture is
to be shown; what nobody vouches for is not used. A multiplexer (tmux, screen) hides the terminal behind it, whose
variables stand in the environment still: there only the answers count.

Sources: sw.kovidgoyal.net/kitty/graphics-protocol, iterm2.com/documentation-images.html, DEC STD 070 (sixel, DA1).
"""

from __future__ import annotations

import os
import re
import select
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

QUESTION: Final = b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[c"
"""Does it draw as kitty does? Then what every terminal answers (DA1), so that silence is an answer to the first."""
PATIENCE: Final = 1.0
"""Seconds given to the answer."""
_DA1: Final = re.compile(rb"\x1b\[\?([0-9;]*)c")
_KITTY: Final = re.compile(rb"\x1b_G[^\x1b]*\x1b\\")


class Way(StrEnum):
    """How a picture is drawn; WORDS: not at all, its name, size and caption stand there."""

    KITTY = "kitty"
    ITERM2 = "iterm2"
    SIXEL = "sixel"
    BLOCKS = "blocks"
    WORDS = "words"


@dataclass(frozen=True, slots=True)
class Look:
    """How, within how many columns and rows, and whether with 24 bits of colour or 256 colours."""

    way: Way
    columns: int
    rows: int
    true_colour: bool = False


def by_environment(environment: Mapping[str, str]) -> Way | None:
    """What the environment says; None: the terminal is to be asked."""
    wanted = environment.get("CHAT_PICTURES", "")
    if wanted in list(Way):
        return Way(wanted)
    term = environment.get("TERM", "")
    if term in ("", "dumb") or "NO_COLOR" in environment:
        return Way.WORDS
    if {"TMUX", "STY", "ZELLIJ"} & environment.keys() or term.startswith(("screen", "tmux")):
        return None
    program = environment.get("TERM_PROGRAM", "")
    if "KITTY_WINDOW_ID" in environment or term in ("xterm-kitty", "xterm-ghostty") or program == "ghostty":
        return Way.KITTY
    if program in ("iTerm.app", "WezTerm") or environment.get("LC_TERMINAL") == "iTerm2":
        return Way.ITERM2
    if term in ("foot", "foot-extra", "mlterm", "yaft-256color"):
        return Way.SIXEL
    if term == "linux":
        return Way.BLOCKS
    return None


def true_colour(environment: Mapping[str, str]) -> bool:
    """Whether it has 24 bits of colour, as far as it says."""
    term = environment.get("TERM", "")
    return environment.get("COLORTERM") in ("truecolor", "24bit") or term.endswith(("-direct", "-kitty", "-ghostty"))


def by_answer(answer: bytes) -> Way:
    """What the terminal's answer to QUESTION says."""
    kitty = _KITTY.search(answer)
    if kitty is not None and b";OK" in kitty[0]:
        return Way.KITTY
    attributes = _DA1.search(answer)
    if attributes is not None and b"4" in attributes[1].split(b";")[1:]:
        return Way.SIXEL
    return Way.BLOCKS


def ask(read_from: int, write_to: int) -> tuple[Way, bytes]:
    """Ask the terminal, which is in raw mode; what it can, and what was typed meanwhile."""
    os.write(write_to, QUESTION)
    heard, until = b"", time.monotonic() + PATIENCE
    while _DA1.search(heard) is None:
        left = until - time.monotonic()
        if left <= 0 or not select.select([read_from], [], [], left)[0]:
            break
        more = os.read(read_from, 4096)
        if not more:
            break
        heard += more
    return by_answer(heard), _DA1.sub(b"", _KITTY.sub(b"", heard))
