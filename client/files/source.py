"""A file that is being sent: read anywhere, hashed once, from front to back.

The rule: what is sent and what is hashed are the same bytes. A file that is not what it was when it was measured is
noticed, and not sent.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import Final

CHUNK: Final = 128 * 1024
HASHING: Final = 1024 * 1024


class Changed(Exception):
    """The file is not what it was when it was measured."""


class Unsendable(Exception):
    """There is no such file, or it is none that can be sent. Why stands in it."""


class Source:
    """An open file. `mark`: what it was when it was first measured, for a later run to compare."""

    def __init__(self, path: Path, digest: str | None = None, mark: list[int] | None = None) -> None:
        """@raise Unsendable: not there, not readable, no ordinary file. @raise Changed: not what `mark` says."""
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise Unsendable((error.strerror or "cannot be read").lower()) from None
        held = os.fstat(self._fd)
        if not stat.S_ISREG(held.st_mode):
            self.close()
            raise Unsendable("is a folder" if stat.S_ISDIR(held.st_mode) else "no ordinary file")
        self.path = path
        self.size = held.st_size
        self.mark = _mark(held)
        self._hash = hashlib.sha256()
        self._hashed = 0
        self._digest = digest
        if mark is not None and mark != self.mark:
            self.close()
            raise Changed

    def close(self) -> None:
        """Close the file. Twice is once."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @property
    def known(self) -> bool:
        """Whether the digest was known before a byte was read."""
        return self._digest is not None

    def read(self, at: int) -> bytes:
        """The next piece from byte `at` on; none at the end.

        @raise Changed: the file has become shorter.
        """
        data = os.pread(self._fd, min(CHUNK, self.size - at), at)
        if not data and at < self.size:
            raise Changed
        if self._digest is None and at <= self._hashed < at + len(data):
            self._hash.update(memoryview(data)[self._hashed - at :])
            self._hashed = at + len(data)
        return data

    def behind(self, at: int) -> bool:
        """Whether something before byte `at` was never read here, so `catch_up` has to."""
        return self._digest is None and self._hashed < at

    def catch_up(self, at: int) -> None:
        """Hash what stands before byte `at`: an earlier run had sent it. It may take long, so it is for a thread."""
        while self.behind(at):
            data = os.pread(self._fd, min(HASHING, at - self._hashed), self._hashed)
            if not data:
                raise Changed
            self._hash.update(data)
            self._hashed += len(data)

    def digest(self) -> str:
        """The SHA-256 of all of it, in hex, once all of it was read.

        @raise Changed: it was written to meanwhile.
        """
        if _mark(os.fstat(self._fd)) != self.mark:
            raise Changed
        if self._digest is None:
            assert self._hashed == self.size
            self._digest = self._hash.hexdigest()
        return self._digest


def _mark(held: os.stat_result) -> list[int]:
    return [held.st_size, held.st_mtime_ns, held.st_ino]
