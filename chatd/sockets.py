"""Unix sockets in folders of any depth.

The rule: a socket stands beside what it belongs to, in the data folder. The kernel takes 107 bytes of path (unix(7)),
which a deep folder exceeds; then it is reached through a descriptor of its folder.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Final

LONGEST: Final = 107


def reachable(path: Path) -> str:
    """A path to this socket, to bind or to connect to in this process, that is short enough for the kernel.

    @raise OSError: the folder cannot be opened.
    """
    if len(os.fsencode(path)) <= LONGEST:
        return os.fspath(path)
    status = path.parent.stat()
    return f"/proc/self/fd/{_opened(os.fspath(path.parent), status.st_dev, status.st_ino)}/{path.name}"


@functools.cache
def _opened(folder: str, device: int, inode: int) -> int:
    """A descriptor of this folder, kept for good: there are as many as a process has folders of sockets."""
    return os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
