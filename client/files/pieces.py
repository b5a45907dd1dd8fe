"""What of a file is here already, while it comes in pieces over one connection after the other.

The rule: bytes are taken in order, each once, and the hash runs along. A piece that begins later than what is here
ends, one that goes past the end, or anything after the last byte, is a fault, and nothing of it is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Hash(Protocol):
    """What hashlib gives."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Take more."""

    def hexdigest(self) -> str:
        """The hash of all that was taken."""


class Broken(Exception):
    """The pieces do not make the file that was announced."""


class Pieces:
    """The first `have` bytes of `size` are here, and their hash is known."""

    def __init__(self, size: int, hash_: Hash, have: int = 0) -> None:
        """`hash_` has taken the first `have` bytes."""
        if not 0 <= have <= size:
            raise Broken(f"{have:,} bytes of {size:,}")
        self.size = size
        self.have = have
        self._hash = hash_

    @property
    def whole(self) -> bool:
        """Whether everything is here."""
        return self.have == self.size

    def take(self, at: int, data: bytes | memoryview, keep: Callable[[memoryview], object]) -> None:
        """A piece that begins at byte `at`. `keep` is given what of it is new, to be written at the end.

        @raise Broken: it leaves a gap, or goes past the end.
        """
        if at > self.have:
            raise Broken(f"a gap: {at:,} after {self.have:,}")
        if at + len(data) > self.size:
            raise Broken(f"{at + len(data):,} bytes of {self.size:,}")
        new = memoryview(data)[self.have - at :]
        if new:
            keep(new)
            self._hash.update(new)
            self.have += len(new)

    def check(self, wanted: str) -> None:
        """It is whole, and what it was to be.

        @raise Broken: it is not.
        """
        if not self.whole:
            raise Broken(f"{self.have:,} bytes of {self.size:,}")
        if self._hash.hexdigest() != wanted:
            raise Broken("another checksum than announced")
