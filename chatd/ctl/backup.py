"""Backup and restore: one tar file with the database, the files' bytes and the server's own certificate.

The rule: every file that an event of the backup names is in it, whole. The database is copied first; a file that was
dropped before its bytes could be taken, too, means another copy of the database, which does not know it any more.
What a backup holds is listed in it with digests, and nothing else is ever taken out of one.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

from chatd import __version__
from chatd.blobs import FOLDER, check_blobs
from chatd.store import ReadTx
from chatd.store.alone import Alone
from chatd.store.backup import contents, open_copy, settle, snapshot, stored_blobs
from chatd.store.migrate import open_known
from chatd.store.sqlite import FILE

FORMAT: Final = 1
LIST: Final = "backup.json"
CERTIFICATE: Final = "tls.pem"
"""The certificate that the server has made for itself: with it clients' pins survive."""
LOGS: Final = (f"{FILE}-wal", f"{FILE}-journal")
"""What SQLite has committed, or begun, and not written to the database yet."""
TRIES: Final = 10
SLICE: Final = 1 << 20
SKEW_MS: Final = 3_600_000
"""How far the clocks of two hosts may be apart. By the clock counters leap at a restore (store.backup)."""
ON_ITS_WAY: Final = 0.5
"""Seconds in which a file that has just come or gone is so for disk and database alike."""


class BadBackup(Exception):
    """The file is no backup, or it is damaged."""


def blob_name(number: int) -> str:
    """Where the bytes of a file stand in the data folder and in a backup (chatd.blobs)."""
    return f"{FOLDER}/{number & 0xFF:02x}/{number}"


# -- making one -------------------------------------------------------------------------------------------------------


def make(data: Path, target: Path, now: int, *, anyway: bool = False) -> dict[str, Any]:
    """Back up the server of `data` to the new file `target`, whether it runs or not; what the backup holds.

    @param anyway: make one though bytes of files are lost.
    @raise FileExistsError: `target` is there. @raise BadBackup: bytes of files are lost. @raise OSError, sqlite3.Error.
    """
    if target.exists():
        raise FileExistsError(17, "is there already", str(target))
    if not target.parent.is_dir():
        raise FileNotFoundError(2, "there is no such folder", str(target.parent))
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    with tempfile.TemporaryDirectory(prefix=".chatd-backup-", dir=target.parent.absolute()) as folder:
        copy = Path(folder, FILE)
        blobs = _both(data, copy, Path(folder), anyway)
        with contextlib.closing(open_copy(copy)) as connection:
            held = contents(connection)
        held |= {"format": FORMAT, "software": f"chatd-{__version__}", "at": now, "blobs": {}, "files": len(blobs)}
        try:
            with _create(partial) as out, tarfile.open(fileobj=out, mode=_mode(target)) as tar:
                held["database"] = _add(tar, FILE, copy, now)
                for number, path in blobs.items():
                    held["blobs"][blob_name(number)] = _add(tar, blob_name(number), path, now)
                if (certificate := data / CERTIFICATE).is_file():
                    held["certificate"] = _add(tar, CERTIFICATE, certificate, now)
                text = json.dumps(held).encode()
                _add_stream(tar, LIST, io.BytesIO(text), len(text), now)
            _settle_on_disk(partial, target)
        finally:
            partial.unlink(missing_ok=True)
    return held | {"file": str(target), "bytes": target.stat().st_size}


def _both(data: Path, copy: Path, folder: Path, anyway: bool) -> dict[int, Path]:
    """One snapshot of the database, and the bytes of every file that it names, held so that nobody takes them away."""
    for _ in range(TRIES):
        copy.unlink(missing_ok=True)
        with Alone(data, lambda: 0) as file:
            snapshot(file.connection, copy)
        with contextlib.closing(open_copy(copy)) as connection:
            wanted = stored_blobs(connection)
        held = {number: path for number, size in wanted if (path := _hold(data, folder, number, size)) is not None}
        if len(held) == len(wanted) or anyway:
            return held
    missing = next(number for number, _ in wanted if number not in held)
    raise BadBackup(f"file {missing} is not in {blob_name(missing)}. chatctl check says more, --anyway leaves it out")


def _hold(data: Path, folder: Path, number: int, size: int) -> Path | None:
    """Another name for a file's bytes, or a copy where the disk is another; None: they are not there."""
    source, held = data / blob_name(number), folder / f"{number}"
    if held.exists():
        return held
    try:
        try:
            os.link(source, held)
        except FileNotFoundError:
            raise
        except OSError:
            shutil.copyfile(source, held)
    except FileNotFoundError:
        return None
    return held if held.stat().st_size == size else None


def _mode(target: Path) -> Any:
    return "w:gz" if target.name.endswith((".gz", ".tgz")) else "w"


@contextlib.contextmanager
def _create(path: Path) -> Iterator[IO[bytes]]:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as out:
        yield out
        out.flush()
        os.fsync(out.fileno())


def _settle_on_disk(partial: Path, target: Path) -> None:
    os.link(partial, target)  # unlike a rename it never replaces what is there
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class _Digesting:
    """A file that is read, and its digest."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Some of it."""
        data = self._file.read(size)
        self.digest.update(data)
        return data


def _add(tar: tarfile.TarFile, name: str, path: Path, now: int) -> list[Any]:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        return [size, _add_stream(tar, name, file, size, now)]


def _add_stream(tar: tarfile.TarFile, name: str, file: IO[bytes], size: int, now: int) -> str:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = size, 0o600, now // 1000
    reading = _Digesting(file)
    tar.addfile(entry, reading)
    return reading.digest.hexdigest()


def check_files(data: Path, connection: sqlite3.Connection, *, deep: bool) -> tuple[list[dict[str, Any]], int]:
    """Where the bytes of files differ from what the database knows; and how many files it knows."""
    stored = ReadTx(connection, 0).stored_files()
    found = check_blobs(data / FOLDER, stored, deep=deep)
    if found:  # what was just on its way is not wrong the next time
        time.sleep(ON_ITS_WAY)
        stored = ReadTx(connection, 0).stored_files()
        again = check_blobs(data / FOLDER, stored, deep=deep)
        found = [finding for finding in found if finding in again]
    return [finding._asdict() for finding in found], sum(each.complete for each in stored)


# -- and using it -----------------------------------------------------------------------------------------------------


def unpack(source: Path, folder: Path) -> dict[str, Any]:
    """Put what a backup holds into an empty folder; its list. Nothing is there unless all of it is right.

    @raise BadBackup: it is none, or damaged. @raise OSError.
    """
    try:
        with tarfile.open(source) as tar:
            names = tar.getnames()
            held = _list(tar)
            wanted: dict[str, list[Any]] = {FILE: held["database"], **held["blobs"]}
            if "certificate" in held:
                wanted[CERTIFICATE] = held["certificate"]
            if sorted(names) != sorted([*wanted, LIST]):
                raise BadBackup("it holds other files than it lists")
            for name, (size, digest) in wanted.items():
                _take(tar, name, folder, size, digest)
    except (tarfile.TarError, EOFError, KeyError, ValueError, TypeError) as error:
        raise BadBackup(str(error) or "it is cut short") from error
    return held


def _list(tar: tarfile.TarFile) -> dict[str, Any]:
    file = tar.extractfile(LIST)
    if file is None:
        raise BadBackup("it has no list")
    held = json.load(file)
    if held["format"] != FORMAT:
        raise BadBackup(f"it has format {held['format']}, which is newer than this chatctl")
    for name in held["blobs"]:
        number = name.rpartition("/")[2]
        if not (number.isascii() and number.isdecimal() and name == blob_name(int(number))):
            raise BadBackup(f"it lists {name}")
    found: dict[str, Any] = held
    return found


def _take(tar: tarfile.TarFile, name: str, folder: Path, size: int, digest: str) -> None:
    file = tar.extractfile(name)
    if file is None:
        raise BadBackup(f"{name} is no file")
    reading, place = _Digesting(file), folder / name
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _create(place) as out:
        while piece := reading.read(SLICE):
            out.write(piece)
        if out.tell() != size or reading.digest.hexdigest() != digest:
            raise BadBackup(f"{name} in it is damaged")


def restore(source: Path, data: Path, now: int) -> dict[str, Any]:
    """Make the empty or new folder `data` what the backup holds, fit to serve from `now` (ms) on.

    @raise FileExistsError: there is a database, or a log of one, which SQLite would take for the new one's.
    @raise BadBackup. @raise OSError.
    """
    for name in (FILE, *LOGS):
        if (data / name).exists():
            raise FileExistsError(17, "is there already", str(data / name))
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".restore-", dir=data) as name:
        folder = Path(name)
        held = unpack(source, folder)
        _known(folder)
        if held["at"] - now > SKEW_MS:
            raise BadBackup("it was made later than it is by this clock; put that right first")
        settle(folder / FILE, now)
        for path in sorted(folder.glob(f"{FOLDER}/*/*")):
            place = data / path.relative_to(folder)
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.rename(place)
        if (folder / CERTIFICATE).exists():
            (folder / CERTIFICATE).rename(data / CERTIFICATE)
        os.link(folder / FILE, data / FILE)  # last, and never over another one
    return held


def _differs(what: str) -> dict[str, Any]:
    return {"kind": "differs", "what": what}


def _known(folder: Path) -> None:
    """@raise TooNew: it needs a newer chatd. @raise BadBackup: its database is none."""
    try:
        open_known(folder).close()
    except sqlite3.DatabaseError as error:
        raise BadBackup(f"its database is damaged: {error}") from error


def verify(source: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Restore into a temporary place and compare with what it was made of: (what it holds, what differs).

    @raise BadBackup. @raise OSError.
    """
    with tempfile.TemporaryDirectory(prefix=".chatd-verify-", dir=source.parent.absolute()) as name:
        folder = Path(name)
        held = unpack(source, folder)
        _known(folder)
        faults: list[dict[str, Any]] = []
        try:
            with contextlib.closing(open_copy(folder / FILE)) as connection:
                found = contents(connection)
                faults += check_files(folder, connection, deep=True)[0]
        except sqlite3.DatabaseError as error:
            raise BadBackup(f"its database is damaged: {error}") from error
        faults += [_differs(key) for key in ("schema", "seq", "users", "groups") if found[key] != held[key]]
        tables, made_of = found["tables"], held["tables"]
        faults += [
            _differs(f"table {table}")
            for table in sorted(tables.keys() | made_of.keys())
            if tables.get(table) != made_of.get(table)
        ]
        settle(folder / FILE, 0)
    return held, faults
