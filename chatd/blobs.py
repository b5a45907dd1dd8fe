"""File bytes on disk: ranges in, ranges out, in one folder that the instances share.

The rule: a path is made of the file's number and nothing else that anybody said, and a file has its place only when
all its bytes are there. What stands where:

    blobs/new/17.5f3a…    what has come of file 17, by the attempt that brings more of it now
    blobs/11/17           the whole file (11: the number's last byte, in hex)

Who brings more of a file claims it by renaming it to an attempt of its own, under a lock on its bytes; whoever held it
before finds the old name gone, under the same lock, and stops. So the bytes of one file are written by one process at
a time, wherever its connections are, and nobody writes to a file that has its place. All functions block: they belong
on a thread.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from chatd.errors import Refusal

FOLDER: Final = "blobs"
"""In the data folder."""
SLICE: Final = 256 << 10
"""How much is read at a time where a file is looked through."""
STEP: Final = 8 << 20
"""How much is hashed at a time while a file comes: other transfers need the thread, too."""
PATIENCE: Final = 3.0
"""Seconds to wait for another process that holds a file for the length of one write; a stopped one holds it longer."""
FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Superseded(Exception):
    """Another attempt, here or on another instance, brings this file now, or it is not wanted any more."""


class Stored(Protocol):
    """What the database knows of a file's bytes: see store.files."""

    @property
    def file(self) -> int: ...
    @property
    def complete(self) -> bool: ...
    @property
    def size(self) -> int: ...
    @property
    def digest(self) -> str: ...


class Finding(NamedTuple):
    """Where disk and database differ. `kind`: "orphan" (bytes that nobody knows), "missing" (a file without its bytes),
    "size", "digest" (other bytes than were sent).
    """

    kind: str
    file: int
    path: str


class Blobs:
    """The folder. `durable`: a file has its place only once it is flushed to the disk. `reserve`: bytes of the disk
    that files leave free, so that the database can always write.
    """

    def __init__(
        self, folder: Path, *, durable: bool, reserve: int = 0, free: Callable[[Path], int] | None = None
    ) -> None:
        self.folder = folder
        self._new = folder / "new"
        self._durable = durable
        self._reserve = reserve
        self._free = free or _free
        self._new.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, file: int) -> Path:
        """Where a whole file stands."""
        return self.folder / f"{file & 0xFF:02x}" / str(file)

    # -- in -----------------------------------------------------------------------------------------------------------

    def claim(self, file: int, attempt: str, size: int) -> Part:
        """What has come of a file of `size` bytes so far, to bring the rest.

        @raise Refusal: DISK_FULL, BUSY.
        """
        mine = self._new / f"{file}.{attempt}"
        with self._lock():
            with suppress(FileNotFoundError):  # whole, and then its instance died before the database knew
                return Part(self, file, None, os.open(self.path(file), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC))
            held = next(self._parts(file), mine)
            fd = os.open(held, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                with _locked(fd):
                    os.rename(held, mine)
                part = Part(self, file, mine, fd)
                if size - part.size > self._free(self._new) - self._reserve:
                    if not part.size:
                        part.forget()
                    raise Refusal("DISK_FULL")
            except BaseException:
                os.close(fd)
                raise
        return part

    def _parts(self, file: int) -> Iterator[Path]:
        head = f"{file}."
        return (self._new / name for name in os.listdir(self._new) if name.startswith(head))

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """One claim at a time, among all instances."""
        fd = os.open(self._new / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            with _locked(fd):
                yield
        finally:
            os.close(fd)

    # -- out ----------------------------------------------------------------------------------------------------------

    def open(self, file: int, size: int) -> int:
        """The whole file, open for reading: a descriptor, which the caller closes.

        @raise Refusal: NO_FILE.
        """
        try:
            fd = os.open(self.path(file), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            raise Refusal("NO_FILE", file=file) from None
        if os.fstat(fd).st_size != size:
            os.close(fd)
            raise Refusal("NO_FILE", file=file)
        return fd

    # -- away ---------------------------------------------------------------------------------------------------------

    def drop(self, files: Iterable[int]) -> None:
        """These files are not wanted any more, whole or in part."""
        for file in files:
            for path in [self.path(file), *self._parts(file)]:
                with suppress(FileNotFoundError):
                    path.unlink()

    def drop_orphans(self, found: Iterable[tuple[int, Path]], stored: Iterable[Stored], newest: int) -> None:
        """Of what was `found`, drop what the database, asked after that, knows no more. A number beyond the `newest`
        that it has ever given is another database's.
        """
        known = {each.file: each.complete for each in stored}
        for file, path in found:
            if file > newest:
                continue
            if file not in known or (known[file] and path.parent == self._new):
                path.unlink(missing_ok=True)

    def missing(self, stored: Iterable[Stored]) -> list[int]:
        """The complete files whose bytes are not there."""
        return [each.file for each in stored if each.complete and not self.path(each.file).exists()]

    def found(self) -> list[tuple[int, Path]]:
        """All that is on disk: (number, path), whole files and parts; 0 where a name is no number."""
        return [(_number(path.name), path) for path in sorted(self.folder.glob("*/*")) if path.name != "lock"]


class Part:
    """A file on its way in, held by one attempt: `size` bytes are there. `path` None: it has its place already."""

    def __init__(self, blobs: Blobs, file: int, path: Path | None, fd: int) -> None:
        self._blobs = blobs
        self.file = file
        self.path = path
        self._fd = fd
        self.size = os.fstat(fd).st_size
        self.kept = True
        self._hash = hashlib.sha256()
        self._hashed = 0

    def write(self, pieces: Sequence[bytes]) -> None:
        """Put these behind what is there.

        @raise Superseded: somebody else brings this file now.
        @raise Refusal: DISK_FULL; then nothing of the file is kept. BUSY.
        """
        try:
            with self._held():
                for piece in pieces:
                    self._write(memoryview(piece))
        except OSError as error:
            if error.errno in FULL:
                self.forget()
                raise Refusal("DISK_FULL") from error
            raise

    def _write(self, data: memoryview) -> None:
        while data:
            written = os.pwrite(self._fd, data, self.size)
            self.size += written
            data = data[written:]

    def flush(self) -> None:
        """Have what has come on the disk by now, where that is asked for at all: else the last moment takes all of it,
        and the database, whose flushes wait for other files', with it."""
        if self._blobs._durable:
            os.fdatasync(self._fd)

    def hash(self, most: int = STEP) -> None:
        """Have the digest take what has come by now, at most so many bytes: beside `write`, and from the beginning of
        what an earlier attempt brought.
        """
        for piece in _slices(self._fd, self._hashed, min(self.size, self._hashed + most)):
            self._hash.update(piece)
            self._hashed += len(piece)

    def check(self, digest: str | None) -> str:
        """The digest of all that is there; `digest` is what it should be.

        @raise Refusal: CHECKSUM; then nothing of the file is kept.
        """
        self.hash(self.size)
        found = self._hash.hexdigest()
        if digest is not None and found != digest:
            self.forget()
            raise Refusal("CHECKSUM")
        return found

    def place(self) -> None:
        """Give the file its place: all its bytes are there.

        @raise Superseded: somebody else brings this file now.
        """
        if self.path is None:
            return
        if self._blobs._durable:
            os.fsync(self._fd)
        place = self._blobs.path(self.file)
        place.parent.mkdir(mode=0o700, exist_ok=True)
        with self._held():
            os.rename(self.path, place)
        self.path = None
        if self._blobs._durable:
            for folder in (place.parent, place.parent.parent):
                _flush_folder(folder)

    def forget(self) -> None:
        """Nothing of the file is kept, unless it has its place or somebody else brings it now."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
            self.kept = False

    def close(self) -> None:
        """Let it go; what has come stays."""
        os.close(self._fd)

    @contextmanager
    def _held(self) -> Iterator[None]:
        """While this lasts, the file is ours.

        @raise Superseded: it is somebody else's.
        """
        if self.path is None:
            raise Superseded
        with _locked(self._fd):
            try:
                here = os.stat(self.path)
            except FileNotFoundError:
                raise Superseded from None
            if here.st_ino != os.fstat(self._fd).st_ino:
                raise Superseded
            yield


def check_blobs(folder: Path, stored: Iterable[Stored], *, deep: bool = False) -> list[Finding]:
    """Where the folder differs from what the database knows; `deep`: every byte is looked at. Nothing is changed.

    An instance that runs meanwhile may make a finding of what is just on its way.
    """
    found: list[Finding] = []
    known = {each.file: each for each in stored}
    whole: set[int] = set()
    for path in sorted(folder.glob("*/*")):
        number = _number(path.name)
        place = f"{path.parent.name}/{path.name}"
        each = known.get(number)
        if place == "new/lock":
            continue
        if each is None or (path.parent.name != "new" and path.parent.name != f"{number & 0xFF:02x}"):
            found.append(Finding("orphan", number, place))
        elif path.parent.name != "new":
            whole.add(number)
            if not each.complete:
                continue  # its instance died between the disk and the database; the next attempt goes on from here
            if path.stat().st_size != each.size:
                found.append(Finding("size", number, place))
            elif deep and _digest(path) != each.digest:
                found.append(Finding("digest", number, place))
        elif each.complete:
            found.append(Finding("orphan", number, place))
    missing = [each.file for each in known.values() if each.complete and each.file not in whole]
    return found + [Finding("missing", file, f"{file & 0xFF:02x}/{file}") for file in missing]


def _digest(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        for piece in _slices(file.fileno(), 0, path.stat().st_size):
            found.update(piece)
    return found.hexdigest()


def _slices(fd: int, at: int, end: int) -> Iterator[memoryview]:
    """An open file from there to there, in one buffer that is used again and again."""
    buffer = memoryview(bytearray(min(SLICE, end - at)))
    while at < end and (count := os.preadv(fd, [buffer[: end - at]], at)):
        yield buffer[:count]
        at += count


def _number(name: str) -> int:
    """The file that a name on disk belongs to, or 0."""
    number = name.partition(".")[0]
    return int(number) if number.isascii() and number.isdecimal() and len(number) < 19 else 0


def _free(folder: Path) -> int:
    """Bytes that may still be written to this folder's disk."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def _flush_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def _locked(fd: int) -> Iterator[None]:
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
