"""The plain dialect: for people on telnet and nc.

The rule: a line is a command when it begins with `/`, with `@name ` or with one of the old `@#@…@#@` names;
everything else is said. Lines out end in CR LF; nothing that came from data can end a line or reach the terminal as
an escape.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from chatd import texts
from chatd.command import Settings, bind, lookup, unknown
from chatd.errors import Refusal
from chatd.limits import Limits
from chatd.model import Ask, Call, Event, Reply, Room
from chatd.wire import telnet
from chatd.wire.framing import Lines, Overlong

MARKED: Final = {
    "enter a personal chat": "dm",
    "enter a group chat": "join",
    "create a group": "create",
    "message": "say",
    "add a participant": "add",
    "remove a participant": "remove",
    "exit this chat-room": "close",
}
"""What the `@#@…@#@` lines of an older system mean (FEATURES row 13)."""

ALSO: Final = {"who": "online"}
"""What people mean by names that are a program's calls."""
UNLISTED: Final = frozenset({"cert", "oper"})
"""Commands that are people's, too, though no page of help lists them."""

_MARKED: Final = re.compile(r"@#@(.*?)@#@\s*(.*)", re.DOTALL)
_TO: Final = re.compile(r"@([^\s@#]+)(?:\s+(.*))?", re.DOTALL)


class Plain:
    """The plain dialect of one connection."""

    __slots__ = ("_lines", "_telnet")

    shape = "plain"
    interactive = True
    echo = False
    focused = True
    cursor = True
    lively = picky = False
    decrypts = False
    guests: Collection[int] = ()
    secure = certified = False
    farewell = ""

    def __init__(self, limits: Limits) -> None:
        self._lines = Lines(limits.line_bytes)
        self._telnet = telnet.Telnet()

    def feed(self, data: bytes) -> list[bytes | Overlong]:
        """The lines that these bytes complete, without telnet's commands and what a Ctrl-C has taken back."""
        found = self._lines.feed(self._telnet.feed(data))
        return [line.rpartition(telnet.INTERRUPT)[2] if isinstance(line, bytes) else line for line in found]

    def owed(self) -> bytes:
        """The refusals of telnet options."""
        answers = self._telnet.answers
        self._telnet.answers = b""
        return answers

    def wanted(self) -> list[Call]:
        """Nothing: it calls nothing by itself."""
        return []

    def renew(self, settings: Settings) -> bytes:
        """Nothing of it matters here."""
        return b""

    def widen(self, limit: int) -> None:
        """Lines stay as short as a person types them."""

    def read(self, line: bytes) -> Call | None:
        """What a line asks for.

        @raise Refusal: UNKNOWN_CMD, BAD_USAGE.
        """
        text = decode(line)
        if not text.strip():
            return None
        if text.startswith("//"):
            return Call("say", {"text": text[1:]})
        if text.startswith("/"):
            name, _, rest = text[1:].partition(" ")
            return _typed(name.lower(), rest)
        if (match := _MARKED.fullmatch(text)) is not None:
            verb = MARKED.get(match[1].strip().lower())
            if verb is None:
                raise Refusal("UNKNOWN_CMD", command=f"@#@{match[1]}@#@", near="")
            return Call("say", {"text": match[2]}) if verb == "say" else bind(verb, match[2])
        if (match := _TO.fullmatch(text)) is not None:
            return Call("msg", {"user": match[1], "text": match[2] or ""})
        return Call("say", {"text": text})

    def ref_of(self, line: bytes) -> Any:
        """Lines have no handles."""
        return None

    def reply(self, call: Call, reply: Reply) -> bytes:
        """An answer's lines; none where the event says it all."""
        return b"" if reply.name == "done" else lines(texts.reply(reply.name, reply.fields))

    def refuse(self, ref: Any, refusal: Refusal, ask: Ask | None = None) -> bytes:
        """The sentence, and who can help or what to type."""
        return lines(texts.refusal(refusal.code, refusal.fields))

    def ask(self, ask: Ask) -> bytes:
        """The question, without an end of line; its lead above it."""
        lead = b"" if ask.lead is None else lines(texts.reply(ask.lead.name, ask.lead.fields))
        return lead + texts.prompt(ask.prompt, ask.fields).encode() + (telnet.HIDE if ask.secret else b"")

    def answered(self, secret: bool) -> bytes:
        """After a hidden answer the terminal echoes again, and its unseen end of line is made good."""
        return telnet.SHOW + b"\r\n" if secret else b""

    def notice(self, name: str, fields: Mapping[str, Any]) -> bytes:
        """Something the server says by itself; a prompt has no end of line."""
        if name == "prompt":
            return texts.prompt(fields["prompt"], fields).encode()
        return lines(texts.reply(name, fields))

    def now(self, name: str, fields: Mapping[str, Any], room: Room, viewer: int) -> bytes:
        """Nothing: it would garble what is being typed."""
        return b""

    def events(self, events: Sequence[Event], room: Room, viewer: int, current: bool) -> list[bytes]:
        """Each event's lines."""
        return [lines(texts.event(event, room.name, viewer, current)) for event in events]


def _typed(name: str, rest: str) -> Call:
    """A command of those that people use: one for programs would ask riddles, or say nothing."""
    name = ALSO.get(name, name)
    entry = lookup(name)
    if not entry.topic and entry.verb not in UNLISTED:
        raise unknown(name)
    return bind(name, rest)


def decode(line: bytes) -> str:
    """A line's text: what is no UTF-8, and NUL, become U+FFFD."""
    return line.decode("utf-8", "replace").replace("\x00", "�")


def lines(found: Sequence[str]) -> bytes:
    """Lines of text as they go out.

    >>> lines(["Bye."])
    b'Bye.\\r\\n'
    """
    return "".join(f"{line}\r\n" for line in found).encode("utf-8", "replace")
