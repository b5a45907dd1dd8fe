"""How the load program speaks to a server: what to send, and what to wait for, in each dialect.

The rule: nothing here opens a socket. A `Step` is bytes to send and a pattern that says the server has done it.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from abc import ABC, abstractmethod
from typing import Any, NamedTuple

PASSWORD = "Passw0rd1x"
_RANDOM = secrets.token_hex(5)
_counter = 0


class Step(NamedTuple):
    """Send `line`, then read until `until` is found."""

    line: bytes
    until: re.Pattern[bytes]


def uuid7() -> str:
    """A UUIDv7 cheap enough for a load program: the time, a counter, and bits drawn once per process."""
    global _counter
    _counter += 1
    stamp = f"{time.time_ns() // 1_000_000:012x}"
    return f"{stamp[:8]}-{stamp[8:]}-7{_RANDOM[:3]}-8{_RANDOM[3:6]}-{_counter:012x}"


class Dialect(ABC):
    """One way of speaking. `overhead` is the lines a message causes beyond one to each other member of its room."""

    name: str
    overhead = 0

    @abstractmethod
    def first(self) -> Step:
        """The first line on a fresh connection that any server answers: how accepting is timed."""

    @abstractmethod
    def enter(self, who: str, *, new: bool) -> list[Step]:
        """Become `who`; `new` makes the account where the server has accounts."""

    @abstractmethod
    def join(self, room: str, *, first: bool) -> list[Step]:
        """Enter `room`; the first one makes it, and lets anybody in."""

    @abstractmethod
    def say(self, room: str, text: bytes) -> bytes:
        """The line that says `text`, which is printable ASCII."""


class Irc(Dialect):
    """RFC 1459. Does not echo, so a message is one line to each other member."""

    name = "irc"

    def __init__(self, *, accounts: bool = False) -> None:
        self.accounts = accounts

    def first(self) -> Step:
        """Incomplete on purpose: every server answers it at once (461), and it is IRC from the first word."""
        return Step(b"USER\r\n", re.compile(rb"\n"))

    def enter(self, who: str, *, new: bool) -> list[Step]:
        """The end of the greeting is 376 (end of MOTD) or 422 (there is none)."""
        secret = f"PASS {who}:{PASSWORD}\r\n" if self.accounts else ""
        return [Step(f"{secret}NICK {who}\r\nUSER {who} 0 * :{who}\r\n".encode(), re.compile(rb" (376|422) "))]

    def join(self, room: str, *, first: bool) -> list[Step]:
        """Done at 366, the end of NAMES."""
        return [Step(f"JOIN {room}\r\n".encode(), re.compile(rb" 366 "))]

    def say(self, room: str, text: bytes) -> bytes:
        """A PRIVMSG."""
        return b"PRIVMSG %s :%s\r\n" % (room.encode(), text)


class Json(Dialect):
    """chatd's own, for programs. The sender gets its answer and its own event too: two lines more a message."""

    name = "json"
    overhead = 2

    def __init__(self) -> None:
        self.last = 0

    def call(self, do: str, **fields: Any) -> Step:
        """One call, done when it is answered ok."""
        self.last += 1
        line = json.dumps({"id": self.last, "do": do, **fields}).encode() + b"\n"
        return Step(line, re.compile(rb'"re": ?%d, ?"ok"[^\n]*\n' % self.last))

    def first(self) -> Step:
        """`ping` works before login."""
        return self.call("ping", token="x")

    def enter(self, who: str, *, new: bool) -> list[Step]:
        """Register or log in."""
        return [self.call("register" if new else "login", name=who, password=PASSWORD)]

    def join(self, room: str, *, first: bool) -> list[Step]:
        """The creator opens the door for everybody else."""
        opened = [self.call("door", room=room, door="open")] if first else []
        return [self.call("join", room=room), *opened]

    def say(self, room: str, text: bytes) -> bytes:
        """With a fresh `mid` each time, as every real client does."""
        self.last += 1
        return b'{"id":%d,"do":"say","room":"%s","text":"%s","mid":"%s"}\n' % (
            self.last,
            room.encode(),
            text,
            uuid7().encode(),
        )


class Plain(Dialect):
    """chatd's dialect for people on telnet. Own lines are not echoed."""

    name = "plain"

    def first(self) -> Step:
        """`/ping` works before login."""
        return Step(b"/ping x\r\n", re.compile(rb"\n"))

    def enter(self, who: str, *, new: bool) -> list[Step]:
        """The barrier behind it swallows whatever else the greeting prints."""
        verb = "register" if new else "login"
        return [
            Step(f"/{verb} {who} {PASSWORD}\r\n".encode(), re.compile(rb"Welcome, ")),
            Step(b"/ping b3gun\r\n", re.compile(rb"b3gun[^\n]*\n")),
        ]

    def join(self, room: str, *, first: bool) -> list[Step]:
        """The creator opens the door for everybody else."""
        opened = f"/door {room} open\r\n" if first else ""
        return [Step(f"/join {room}\r\n{opened}/ping j0ined\r\n".encode(), re.compile(rb"j0ined[^\n]*\n"))]

    def say(self, room: str, text: bytes) -> bytes:
        """Text that is no command goes to the current room."""
        return text + b"\r\n"


def dialect(name: str) -> Dialect:
    """By the name used on the command line; `irc+pass` is IRC with an account behind it."""
    if name == "irc+pass":
        return Irc(accounts=True)
    return {"irc": Irc, "json": Json, "plain": Plain}[name]()
