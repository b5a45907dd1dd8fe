"""A file comes in: gathered, checked, opened where it is sealed, and given its name when all of it is good.

The rule: under its own name a file is whole and what was sent, or it is not there at all.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from client import sentences
from client.answers import Refused
from client.crypto.stream import Opener, Torn
from client.files import sealed
from client.files.intake import Intake
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
    plain: Path | None = None
    fds: list[int] = []
    try:
        gathered, fd = _alone(_gathers(files, record), _tag(record), fds)
        transfer.total = held["size"] if held else record["size"]
        if not held:
            await _gather(files, transfer, record, fd)
            await files.in_thread(os.fsync, fd)
            return settle(gathered, folder, record["name"])
        plain, target = _alone(folder, f"{_tag(record)}-open", fds)
        os.ftruncate(target, 0)
        opener = sealed.opener(target, record["size"], held, record["mid"])
        await _gather(files, transfer, record, fd, opener)
        opener.end()
        await files.in_thread(os.fsync, target)
        gathered.unlink()
        return settle(plain, folder, record["name"])
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
        if plain is not None:
            plain.unlink(missing_ok=True)  # what was opened is good when all of it is, and has its name then
        for each in fds:
            os.close(each)


def _alone(folder: Path, tag: str, fds: list[int]) -> tuple[Path, int]:
    """A file to gather in, which no other program gathers in; it joins `fds`.

    @raise BlockingIOError: another one does.
    """
    path, fd = meanwhile(folder, tag)
    fds.append(fd)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if not os.path.samestat(path.stat(), os.fstat(fd)):
        raise BlockingIOError  # another one got it meanwhile
    return path, fd


async def _gather(
    files: Files, transfer: Transfer, record: dict[str, Any], fd: int, opener: Opener | None = None
) -> None:
    """Have all bytes on disk, and good, and opened as they come."""
    size = transfer.total
    have = os.fstat(fd).st_size
    if have > size:
        os.ftruncate(fd, 0)
        have = 0
    digest = hashlib.sha256()
    open_ = None if opener is None else opener.take
    await files.in_thread(_hashed, fd, have, digest, open_)
    pieces = Pieces(size, digest, have)
    transfer.reach(have)

    def keep(data: memoryview) -> None:
        while data:
            data = data[os.write(fd, data) :]

    intake = Intake(files.in_thread, pieces, keep, open_)
    try:
        await download(transfer, intake)
    finally:
        await intake.stop()
    pieces.check(record["digest"])


def _hashed(fd: int, have: int, digest: Hash, open_: Callable[[bytes], object] | None) -> None:
    """Take what an earlier run brought; the descriptor stands behind it then."""
    os.lseek(fd, 0, os.SEEK_SET)
    left = have
    while left:
        data = os.read(fd, min(HASHING, left))
        if not data:
            raise Broken("the disk lost some of it")
        digest.update(data)
        if open_ is not None:
            open_(data)
        left -= len(data)
