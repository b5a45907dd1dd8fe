"""A file on its way in, at one attempt: bytes from a connection, into memory, then onto the disk.

The rule: one block of memory per file is filled, hashed as it fills, and put behind what is on disk once it is full.
Where a file has to be on the disk before it is told of, its blocks go there past the page cache (O_DIRECT): bytes that
pile up there go to the disk in heaps, and a commit's flush waits behind the heap. Measured beside a file that comes at
the speed of a gigabit network, one flush in a hundred took longer than 3.0 to 4.7 ms with any way through the cache,
1.3 past it, 0.5 to 1.2 without any file. All functions block: they belong on a thread.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import mmap
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from chatd.errors import Refusal

PAGE: Final = 4096
"""What goes past the page cache begins and ends at a multiple of this, in the file and in memory."""
BLOCK: Final = 512 << 10
"""Bytes of a file that are in memory only, at most. Larger ones take the disk for so long that commits feel it."""
SLICE: Final = 256 << 10
"""How much is read at a time where a file is looked through."""
STEP: Final = 8 << 20
"""How much of what an earlier attempt brought is hashed at a time: other transfers need the thread, too."""
PATIENCE: Final = 3.0
"""Seconds to wait for another process that holds a file for the length of one write; a stopped one holds it longer."""
FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Superseded(Exception):
    """Another attempt, here or on another instance, brings this file now, or it is not wanted any more."""


class Part:
    """File number `file`, held by one attempt as `path`, to be whole at `place`; `size` bytes of it are there.

    `path` None: it has its place already. `durable`: it has that only once it is flushed to the disk. `block`: the
    bytes of memory it may have.
    """

    def __init__(
        self, file: int, path: Path | None, place: Path, fd: int, *, durable: bool, block: int = BLOCK
    ) -> None:
        self.file = file
        self.path = path
        self.kept = True
        self._place = place
        self._fd = fd
        self._durable = durable
        self.size = os.fstat(fd).st_size
        self._hash = hashlib.sha256()
        self._hashed = 0
        # The block begins at a page's begin: what an earlier attempt brought of that page is in it, too.
        self._block = memoryview(mmap.mmap(-1, max(PAGE, block - block % PAGE)))
        self._filled = self.size % PAGE
        self._at = self.size - self._filled
        self._past_cache = False
        self._may_pass = durable
        os.preadv(fd, [self._block[: self._filled]], self._at)

    # -- bytes --------------------------------------------------------------------------------------------------------

    @property
    def stored(self) -> int:
        """How many bytes are in the file; the others are in memory."""
        return self._at

    @property
    def room(self) -> memoryview:
        """Where the next bytes belong; `came` says how many there are. Never empty."""
        return self._block[self._filled :]

    def came(self, count: int) -> None:
        """So many bytes have been put into the `room`.

        @raise Superseded: somebody else brings this file now.
        @raise Refusal: DISK_FULL; then nothing of the file is kept. BUSY.
        """
        self._hash_earlier(self.size)
        self._hash.update(self._block[self._filled : self._filled + count])
        self._filled += count
        self._hashed += count
        self.size += count
        if self._filled == len(self._block):
            self._pass_cache(self._may_pass)
            self._put()

    def write(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Put these behind what is there.

        @raise Superseded: @raise Refusal: as `came`.
        """
        for piece in pieces:
            left = memoryview(piece)
            while left:
                room = self.room
                count = min(len(left), len(room))
                room[:count] = left[:count]
                self.came(count)
                left = left[count:]

    def settle(self) -> None:
        """Have all that has come in the file, be the block full or not.

        @raise Superseded: @raise Refusal: as `came`.
        """
        if self.path is not None:
            self._pass_cache(False)
            self._put()

    def _put(self) -> None:
        """The block goes into the file."""
        try:
            with self._held():
                left = self._block[: self._filled]
                while left:
                    written = self._write(left)
                    self._at += written
                    left = left[written:]
                self._filled = 0
        except OSError as error:
            if error.errno in FULL:
                self.forget()
                raise Refusal("DISK_FULL") from error
            raise

    def _write(self, data: memoryview) -> int:
        try:
            return os.pwrite(self._fd, data, self._at)
        except OSError as error:
            if error.errno != errno.EINVAL or not self._past_cache:
                raise
        self._may_pass = False  # a file system with rules of its own
        self._pass_cache(False)
        return os.pwrite(self._fd, data, self._at)

    def _pass_cache(self, wanted: bool) -> None:
        """Write past the page cache from now on, where the file system can, or through it."""
        if wanted != self._past_cache:
            flags = fcntl.fcntl(self._fd, fcntl.F_GETFL)
            with suppress(OSError):
                fcntl.fcntl(self._fd, fcntl.F_SETFL, flags ^ os.O_DIRECT)
                self._past_cache = wanted

    # -- the digest ---------------------------------------------------------------------------------------------------

    @property
    def behind(self) -> bool:
        """Whether bytes of an earlier attempt are still to be hashed."""
        return self._hashed < self.size

    def catch_up(self) -> None:
        """Hash some of what an earlier attempt brought."""
        self._hash_earlier(min(self.size, self._hashed + STEP))

    def _hash_earlier(self, end: int) -> None:
        for piece in slices(self._fd, self._hashed, end):
            self._hash.update(piece)
            self._hashed += len(piece)

    def check(self, digest: str | None) -> str:
        """The digest of all that is there; `digest` is what it should be.

        @raise Refusal: CHECKSUM; then nothing of the file is kept. @raise Superseded: as `came`.
        """
        self.settle()
        self._hash_earlier(self.size)
        found = self._hash.hexdigest()
        if digest is not None and found != digest:
            self.forget()
            raise Refusal("CHECKSUM")
        return found

    # -- the end ------------------------------------------------------------------------------------------------------

    def place(self) -> None:
        """Give the file its place: all its bytes are there.

        @raise Superseded: somebody else brings this file now.
        """
        if self.path is None:
            return
        self.settle()
        if self._durable:
            os.fsync(self._fd)
        self._place.parent.mkdir(mode=0o700, exist_ok=True)
        with self._held():
            os.rename(self.path, self._place)
        self.path = None
        if self._durable:
            for folder in (self._place.parent, self._place.parent.parent):
                _flush_folder(folder)

    def forget(self) -> None:
        """Nothing of the file is kept, unless it has its place or somebody else brings it now."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
            self.kept = False

    def close(self) -> None:
        """Let it go; what has come stays, as far as the disk takes it."""
        if self.kept:
            with suppress(Superseded, Refusal, OSError):
                self.settle()
        os.close(self._fd)

    @contextmanager
    def _held(self) -> Iterator[None]:
        """While this lasts, the file is ours.

        @raise Superseded: it is somebody else's.
        """
        if self.path is None:
            raise Superseded
        with locked(self._fd):
            try:
                here = os.stat(self.path)
            except FileNotFoundError:
                raise Superseded from None
            if here.st_ino != os.fstat(self._fd).st_ino:
                raise Superseded
            yield


def slices(fd: int, at: int, end: int) -> Iterator[memoryview]:
    """An open file from there to there, in one buffer that is used again and again."""
    if at >= end:
        return
    buffer = memoryview(bytearray(min(SLICE, end - at)))
    while at < end and (count := os.preadv(fd, [buffer[: end - at]], at)):
        yield buffer[:count]
        at += count


@contextmanager
def locked(fd: int) -> Iterator[None]:
    """An flock, asked for without blocking: who blocks on one hangs for as long as a stopped holder lives.

    @raise Refusal: BUSY.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Refusal("BUSY") from None
            time.sleep(0.002)
        else:
            break
    try:
        yield
    finally:
        fcntl.flock(fd, fcntl.LOCK_UN)


def _flush_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
