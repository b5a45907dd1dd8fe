"""A file comes in: gathered, checked, opened where it is sealed, and given its name when all of it is good.

The rule: under its own name a file is whole and what was sent, or it is not there at all.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from client import sentences
from client.answers import Refused
from client.crypto.stream import Torn
from client.files import sealed
from client.files.landing import NoRoom, meanwhile, settle
from client.files.pieces import Broken, Hash, Pieces
from client.files.source import HASHING
from client.files.transfer import Transfer, download

if TYPE_CHECKING:
    from client.files.desk import Files


class NotFetched(Exception):
    """It was not. Why stands in it."""


def part(record: dict[str, Any]) -> str:
    """The name of the file in which it is gathered."""
    return f".chat-{_tag(record)}.part"


def _tag(record: dict[str, Any]) -> str:
    return f"{record['file']}-{record['digest'][:12]}"


def _gathers(files: Files, record: dict[str, Any]) -> Path:
    """The folder in which its bytes are gathered: ciphertext in the profile, all else beside the place it will have."""
    return files.spool() if record["held"] else Path(record["folder"])


def drop(files: Files, record: dict[str, Any]) -> None:
    """It will not be gone on with: nothing half stays."""
    for folder in {_gathers(files, record), Path(record["folder"])}:
        for tag in (_tag(record), f"{_tag(record)}-open"):
            (folder / f".chat-{tag}.part").unlink(missing_ok=True)


async def fetch(files: Files, transfer: Transfer, record: dict[str, Any]) -> Path:
    """Fetch what the record says; where it is now.

    @raise NotFetched: for good.
    """
    folder, held = Path(record["folder"]), record["held"]
    fd = -1
    try:
        gathered, fd = meanwhile(_gathers(files, record), _tag(record))
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(gathered.stat(), os.fstat(fd)):
            raise BlockingIOError  # another one got it meanwhile
        transfer.total = size = held["size"] if held else record["size"]
        await _gather(files, transfer, record, fd, size)
        if held:
            gathered = await _opened(files, transfer, record, gathered, folder)
        return settle(gathered, folder, record["name"])
    except BlockingIOError:
        raise NotFetched("another chat is fetching it") from None
    except (NoRoom, Broken) as error:
        raise NotFetched(str(error)) from None
    except Torn:
        raise NotFetched(sentences.TORN) from None
    except Refused as error:
        raise NotFetched(error.error["text"].rstrip(".")) from None
    except OSError as error:
        raise NotFetched((error.strerror or "the disk").lower()) from None
    finally:
        if fd >= 0:
            os.close(fd)


async def _gather(files: Files, transfer: Transfer, record: dict[str, Any], fd: int, size: int) -> None:
    """Have all bytes on disk, and good."""
    have = os.fstat(fd).st_size
    if have > size:
        os.ftruncate(fd, 0)
        have = 0
    digest = hashlib.sha256()
    await files.in_thread(_hashed, fd, have, digest)
    pieces = Pieces(size, digest, have)
    transfer.reach(have)

    def keep(data: memoryview) -> None:
        while data:
            data = data[os.write(fd, data) :]

    await download(transfer, pieces, keep)
    pieces.check(record["digest"])
    if not record["held"]:
        await files.in_thread(os.fsync, fd)


def _hashed(fd: int, have: int, digest: Hash) -> None:
    """Take what an earlier run brought; the descriptor stands behind it then."""
    os.lseek(fd, 0, os.SEEK_SET)
    left = have
    while left:
        data = os.read(fd, min(HASHING, left))
        if not data:
            raise Broken("the disk lost some of it")
        digest.update(data)
        left -= len(data)


async def _opened(files: Files, transfer: Transfer, record: dict[str, Any], gathered: Path, folder: Path) -> Path:
    """Open the sealed file beside the place it will have."""
    plain, target = meanwhile(folder, f"{_tag(record)}-open")
    transfer.phase = sentences.OPENING
    try:
        os.ftruncate(target, 0)

        def step(done: int) -> None:
            transfer.done = done
            if transfer.stopped:
                raise InterruptedError

        await files.in_thread(sealed.open_file, gathered, target, record["size"], record["held"], record["mid"], step)
        await files.in_thread(os.fsync, target)
    finally:
        os.close(target)
    gathered.unlink()
    return plain
