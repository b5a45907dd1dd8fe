"""Bytes between a socket and a file, on a file thread and past the reactor.

The rule: it moves what can be moved now and never waits: when the socket has no more, or takes no more, the reactor is
asked to say when it does. So the thread is free for other transfers, what a transfer holds in memory is nothing, and
talk shares the interpreter with system calls that have let go of it. A socket under TLS has no pipe.
"""

from __future__ import annotations

import os
from typing import Final, Protocol

AHEAD: Final = 256 << 10
"""Bytes of a file that are read from the disk at a time, before they are sent.

What the system itself reads ahead may be megabytes, and a commit's flush waits behind them: measured beside a file that
goes at full speed, half of the flushes took longer than 4 ms so, and 0.7 with this.
"""


class Block(Protocol):
    """Memory that bytes are put into."""

    @property
    def room(self) -> memoryview:
        """Where the next belong; never empty."""

    def came(self, count: int) -> None:
        """So many have been put there."""


class Pipe:
    """A descriptor of its own of a socket that does not block: the socket may be closed while a thread is at work."""

    def __init__(self, socket: int) -> None:
        self._fd = os.dup(socket)

    def push(self, file: int, at: int, most: int) -> int:
        """Send so many bytes of a file from there on; how many went, 0: none can go now.

        @raise OSError: the connection has ended.
        """
        sent = 0
        while sent < most:
            os.posix_fadvise(file, at + sent, 2 * AHEAD, os.POSIX_FADV_WILLNEED)
            try:
                count = os.sendfile(self._fd, file, at + sent, min(AHEAD, most - sent))
            except BlockingIOError:
                break
            sent += count
            if not count:
                break
        return sent

    def pull(self, into: Block, most: int) -> int:
        """Put what has come there, at most so many bytes; how many that were, 0: none have come, or none will.

        @raise OSError: the connection has ended. And what `into` raises.
        """
        got = 0
        while got < most:
            try:
                count = os.readv(self._fd, [into.room[: most - got]])
            except BlockingIOError:
                break
            if not count:
                break
            into.came(count)
            got += count
        return got

    def close(self) -> None:
        """Let the descriptor go."""
        os.close(self._fd)
