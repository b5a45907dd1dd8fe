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

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from chatd.errors import Refusal
from chatd.part import BLOCK, Part, locked, slices

FOLDER: Final = "blobs"
"""In the data folder."""


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

    def claim(self, file: int, attempt: str, size: int, block: int = BLOCK) -> Part:
        """What has come of a file of `size` bytes so far, to bring the rest with `block` bytes of memory.

        @raise Refusal: DISK_FULL, BUSY.
        """
        mine = self._new / f"{file}.{attempt}"
        with self._lock():
            with suppress(FileNotFoundError):  # whole, and then its instance died before the database knew
                whole = os.open(self.path(file), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                return Part(file, None, self.path(file), whole, durable=self._durable, block=block)
            held = next(self._parts(file), mine)
            fd = os.open(held, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                with locked(fd):
                    os.rename(held, mine)
                part = Part(file, mine, self.path(file), fd, durable=self._durable, block=block)
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
            with locked(fd):
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
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)  # read ahead by who sends it: see Pipe.push
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
        for piece in slices(file.fileno(), 0, path.stat().st_size):
            found.update(piece)
    return found.hexdigest()


def _number(name: str) -> int:
    """The file that a name on disk belongs to, or 0."""
    number = name.partition(".")[0]
    return int(number) if number.isascii() and number.isdecimal() and len(number) < 19 else 0


def _free(folder: Path) -> int:
    """Bytes that may still be written to this folder's disk."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize
