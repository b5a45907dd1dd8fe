"""One device's messages in one room, as they follow each other (E2E.md §4).

The rule: a device counts what it sends to a room and names its message before. So a server that leaves one out, plays
one again or changes their order is seen by everybody who reads on.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final, NamedTuple

from client.crypto import encoding
from client.crypto.message import Plain

MISSING_MOST: Final = 1_000


class Place(StrEnum):
    """Where a message stands in its thread."""

    NEXT = "next"
    GAP = "gap"
    LATE = "late"
    AGAIN = "again"
    FORK = "fork"


class Thread(NamedTuple):
    """What was read of a device here. `missing`: counters left out so far; `closed`: digests seen but not opened;
    `first`: the lowest counter read: what came before it was not for us, or is read later, as a page of the past.
    """

    counter: int = 0
    digest: bytes = encoding.NOTHING
    missing: tuple[int, ...] = ()
    closed: tuple[bytes, ...] = ()
    first: int = 0

    def unopened(self, digest: bytes) -> Thread:
        """A message of it is there but not for us, or not yet: the gap it makes is no secret."""
        if digest in self.closed:
            return self
        return self._replace(closed=(*self.closed, digest)[-MISSING_MOST:])

    def read(self, plain: Plain, digest: bytes) -> tuple[Thread, Place]:
        """The thread behind this message, and its place in it. AGAIN and FORK: it must not be shown."""
        closed = tuple(other for other in self.closed if other != digest)
        if plain.counter <= self.counter:
            earlier = range(plain.counter + 1, self.first)
            if plain.counter not in self.missing and digest not in self.closed and plain.counter >= self.first:
                return self, Place.AGAIN
            rest = (*earlier[-MISSING_MOST:], *(counter for counter in self.missing if counter != plain.counter))
            first = min(self.first, plain.counter)
            return self._replace(missing=rest[-MISSING_MOST:], closed=closed, first=first), Place.LATE
        if not self.counter:
            return Thread(plain.counter, digest, first=plain.counter), Place.NEXT
        left_out = range(self.counter + 1, plain.counter)
        if not left_out and plain.before != self.digest:
            return self, Place.FORK
        missing = (*self.missing, *left_out[-MISSING_MOST:])[-MISSING_MOST:]
        after = Thread(plain.counter, digest, missing, closed, self.first)
        explained = plain.before in self.closed and len(left_out) <= len(self.closed)
        return after, Place.GAP if left_out and not explained else Place.NEXT

    def kept(self) -> list[Any]:
        """As it is saved."""
        closed = [encoding.text(digest) for digest in self.closed]
        return [self.counter, encoding.text(self.digest), list(self.missing), closed, self.first]


def thread(kept: list[Any] | None) -> Thread:
    """What was saved."""
    if kept is None:
        return Thread()
    counter, digest, missing, closed, *first = kept
    return Thread(counter, encoding.data(digest), tuple(missing), tuple(map(encoding.data, closed)), *first)
