"""What is written down on the connection of one file: its first line, and the server's words about it.

The rule: nothing here knows a file or a socket. Between the server's first line and its last flow the bytes of the
file and nothing else.

    RAW <ticket>                         a program: the server's words are json lines
    RAW <ticket> <start>                 a person's nc fetches a file from this byte on: `OK`, or a sentence
    RAW <ticket> <start> <size> <sha256> [-]     a person's nc brings a file: sentences
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from orjson import dumps

from chatd import texts
from chatd.errors import Refusal

FIRST: Final = b"RAW "
LONGEST: Final = 512
"""Bytes of the first line."""
DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_LINE: Final = re.compile(
    r"RAW (?P<ticket>[0-9A-Za-z]{1,64})"
    r"(?: (?P<start>\d{1,18})(?: (?P<size>\d{1,18}) (?P<digest>[0-9a-f]{64})(?: -)?)?)? *",
    re.ASCII,
)


class Opening(NamedTuple):
    """What a first line says. `start` None: a program's; `size` and `digest` None: they were told before."""

    ticket: str
    start: int | None = None
    size: int | None = None
    digest: str | None = None


def is_raw(first: bytes) -> bool:
    """Whether a connection that begins so is a file's."""
    return first.startswith(FIRST)


def read(line: bytes) -> Opening:
    """What the first line says.

    @raise Refusal: BAD_LINE.
    """
    match = _LINE.fullmatch(line.rstrip(b"\r\n").decode("utf-8", "replace"))
    if match is None:
        raise Refusal("BAD_LINE")
    start, size = match["start"], match["size"]
    return Opening(
        match["ticket"], None if start is None else int(start), None if size is None else int(size), match["digest"]
    )


def began(opening: Opening, fields: Mapping[str, Any]) -> bytes:
    """Before the bytes: where they begin. A person who brings a file has said so already."""
    if opening.start is None:
        return _line({"ok": fields})
    return b"" if opening.size is not None else b"OK\n"


def done(opening: Opening, fields: Mapping[str, Any], name: str, size: int, room: str) -> bytes:
    """Behind the bytes of a file that has come: `fields` to programs, to people what it is called and where it went."""
    if opening.start is None:
        return _line({"ok": fields})
    return _text([texts.sent(name, size, room, fields["file"])])


def refused(opening: Opening | None, refusal: Refusal) -> bytes:
    """In place of either: why not."""
    found = texts.refusal(refusal.code, refusal.fields)
    if opening is not None and opening.start is not None:
        return _text(found)
    return _line({"error": {"code": refusal.code, "text": found[0], "with": refusal.fields}})


def turned_away(first: bytes, refusal: Refusal) -> bytes:
    """Why a connection that begins so cannot stay."""
    try:
        return refused(read(first.partition(b"\n")[0]), refusal)
    except Refusal:
        return refused(None, refusal)


def _text(lines: list[str]) -> bytes:
    """Lines for a shell: they end in LF alone."""
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")


def _line(value: Mapping[str, Any]) -> bytes:
    return dumps(value) + b"\n"
