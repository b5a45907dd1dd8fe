"""Bytes to lines.

The rule: split first, decode after, so that UTF-8 cut by TCP is never seen cut. A line past the limit is reported
once, when it passes it, and skipped to its end: no part of it is ever taken for a line.
"""

from __future__ import annotations

from typing import NamedTuple


class Overlong(NamedTuple):
    """A line past `limit` bytes; what follows up to its end is dropped."""

    limit: int


class Lines:
    """One connection's bytes, split at LF; a CR before it is dropped."""

    __slots__ = ("_rest", "_skipping", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._rest: bytes | bytearray = b""
        self._skipping = False

    def feed(self, data: bytes) -> list[bytes | Overlong]:
        """The lines that `data` completes, in order."""
        found: list[bytes | Overlong] = []
        *lines, rest = data.split(b"\n")
        for line in lines:
            if self._skipping:
                self._skipping = False
                continue
            if self._rest:
                line = bytes(self._rest + line)
                self._rest = b""
            if len(line) > self.limit:
                found.append(Overlong(self.limit))
            else:
                found.append(line[:-1] if line.endswith(b"\r") else line)
        if not self._skipping and rest:
            if not self._rest:
                self._rest = rest
            else:  # a line of a megabyte may come byte by byte
                self._rest = self._rest if isinstance(self._rest, bytearray) else bytearray(self._rest)
                self._rest += rest
            if len(self._rest) > self.limit:
                found.append(Overlong(self.limit))
                self._rest = b""
                self._skipping = True
        return found

    @property
    def held(self) -> int:
        """How many bytes of an unfinished line are kept."""
        return len(self._rest)
