"""How a file comes into a folder: gathered under a name of ours, then given its own.

The rule: nothing is written outside the folder (names come from chatd/filenames.py), and a file that exists is never
written over, also not where two arrive at once.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from chatd.filenames import saved_as

MOST: Final = 9_999
"""How many files of one name there may be."""
_TAG: Final = re.compile("[a-z0-9-]{1,100}")


class NoRoom(Exception):
    """There are too many files of that name already, or this is no folder to write into."""


def meanwhile(folder: Path, tag: str) -> tuple[Path, int]:
    """A file in which bytes are gathered until they are whole, with what an earlier run brought, open for both.

    `tag` (small letters, digits and dashes) says which file it will be. It is 0600, and nobody else's: a link or a file
    that somebody laid there for us, is taken away and not followed.

    @raise NoRoom: the folder is none, or not ours to write; or what lies there stays there.
    """
    if not _TAG.fullmatch(tag):
        raise NoRoom(f"no name for what is gathered: {tag!r}")
    path = folder / f".chat-{tag}.part"
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        for extra in (0, os.O_EXCL):
            with suppress(_Foreign):
                return path, _ours(path, flags | extra)
            path.unlink()
    except OSError as error:
        raise NoRoom(f"{folder}: {(error.strerror or '').lower()}") from None
    raise NoRoom(f"{path}: not a file of ours")


class _Foreign(Exception):
    """What lies there is not ours alone."""


def _ours(path: Path, flags: int) -> int:
    try:
        fd = os.open(path, flags, 0o600)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link; a socket or a pipe
            raise _Foreign from None
        raise
    held = os.fstat(fd)
    if not stat.S_ISREG(held.st_mode) or held.st_nlink != 1 or held.st_uid != os.geteuid():
        os.close(fd)
        raise _Foreign
    os.fchmod(fd, 0o600)
    return fd


def settle(gathered: Path, folder: Path, name: str) -> Path:
    """Give what was gathered its name, the first of `cat.png`, `cat (1).png` … that is free; where it is now.

    @raise NoRoom: there is none.
    """
    for number in range(MOST + 1):
        path = folder / saved_as(name, number)
        try:
            os.link(gathered, path, follow_symlinks=False)  # fails where the name is taken, in one step
        except FileExistsError:
            continue
        except OSError:
            if not _claimed(path):  # a file system without links
                continue
            os.replace(gathered, path)
            return path
        gathered.unlink()
        return path
    raise NoRoom(f"{folder / saved_as(name)}: {MOST:,} files of that name")


def _claimed(path: Path) -> bool:
    """Whether an empty file of ours stands under that name now, where none stood."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        return True
    return False
