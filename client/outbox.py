"""What was typed and is not yet stored by the server: the rules of sending it, once and in order.

The rule: a line is in the outbox, on disk, before it is on the wire, and leaves it only when the server has said that
it is stored, or that it never will be. One line is on its way at a time, so whatever happens to it (a refusal, a cut
connection, a killed process) no later line can have overtaken it; its `mid` makes sending it again harmless.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final


class Mark(StrEnum):
    """What is known of a line of one's own."""

    QUEUED = "."
    STORED = "+"
    SEEN = "++"
    REFUSED = "!"


RETRY: Final = {"RATE": 1.0, "BUSY": 1.0, "DRAINING": 2.0, "INTERNAL": 5.0}
"""Refusals that pass by themselves, and seconds until the same line is sent again (RATE names its own)."""
NAMESPACE: Final = uuid.UUID("6f7a4c1e-52a7-4d8b-9a53-2a60c7f1d3b8")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: a call of the json dialect that makes an event. `account`: whose; `text`: as typed; `at`: when (ms)."""

    mid: str
    account: int
    do: str
    room: int | str
    text: str
    at: int
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fate:
    """What a refusal means for a line: sent again after `wait` seconds, or (None) never stored."""

    wait: float | None


def new_mid(at: int | None = None) -> str:
    """A UUIDv7 (RFC 9562): 48 bits of ms, the rest random. It sorts by time, which keeps the server's index small."""
    ms = int(time.time() * 1000) if at is None else at
    number = (ms & (1 << 48) - 1) << 80 | int.from_bytes(os.urandom(10))
    number = number & ~(0xF << 76) | 0x7 << 76
    number = number & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=number))


def mid_of(key: str, account: int) -> str:
    """The `mid` that a script's own key stands for: the same key is the same line, for ever."""
    return str(uuid.uuid5(NAMESPACE, f"{account}:{key}"))


class Outbox:
    """The lines that wait, in the order typed."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self.entries: dict[str, Entry] = {entry.mid: entry for entry in entries}
        self.away: str | None = None
        """The line that is on its way."""

    def __len__(self) -> int:
        return len(self.entries)

    def __contains__(self, mid: object) -> bool:
        return mid in self.entries

    def queued(self, account: int) -> list[Entry]:
        """What this account has waiting."""
        return [entry for entry in self.entries.values() if entry.account == account]

    def add(self, entry: Entry) -> None:
        """A line was typed, and is on disk."""
        self.entries.setdefault(entry.mid, entry)

    def next(self, account: int) -> Entry | None:
        """The line to send now; None where one is on its way, or nothing waits. It is on its way from now on."""
        if self.away is not None:
            return None
        for entry in self.entries.values():
            if entry.account == account:
                self.away = entry.mid
                return entry
        return None

    def stored(self, mid: str) -> Entry | None:
        """The server has it: by its answer, or by the event itself. None: that was known already."""
        if self.away == mid:
            self.away = None
        return self.entries.pop(mid, None)

    def refused(self, mid: str, code: str, wait: float | None = None) -> Fate:
        """The server has refused it: it stays and is sent again, or goes."""
        if self.away == mid:
            self.away = None
        if code in RETRY:
            return Fate(float(wait) if wait else RETRY[code])
        self.entries.pop(mid, None)
        return Fate(None)

    def cut(self) -> None:
        """The connection has ended: nothing is on its way any more."""
        self.away = None
