"""Bytes between a socket and a file, on a file thread and past the reactor.

The rule: it moves what can be moved now and never waits: when the socket has no more, or takes no more, the reactor is
asked to say when it does. So the thread is free for other transfers, what a transfer holds in memory is nothing, and
talk shares the interpreter with system calls that have let go of it. A socket under TLS has no pipe.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Final

BUFFER: Final = 256 << 10
"""Bytes of the one buffer that each file thread has."""


class Pipe:
    """A descriptor of its own of a socket that does not block: the socket may be closed while a thread is at work."""

    def __init__(self, socket: int) -> None:
        self._fd = os.dup(socket)

    def push(self, file: int, at: int, most: int) -> int:
        """Send so many bytes of a file from there on; how many went, 0: none can go now.

        @raise OSError: the connection has ended.
        """
        try:
            return os.sendfile(self._fd, file, at, most)
        except BlockingIOError:
            return 0

    def pull(self, take: Callable[[list[memoryview]], None], most: int) -> int:
        """Hand what has come to `take`, at most so many bytes; how many that were, 0: none have come, or none will.

        @raise OSError: the connection has ended.
        """
        buffer = _buffer()
        got = 0
        while got < most:
            try:
                count = os.readv(self._fd, [buffer[: most - got]])
            except BlockingIOError:
                break
            if not count:
                break
            take([buffer[:count]])
            got += count
        return got

    def close(self) -> None:
        """Let the descriptor go."""
        os.close(self._fd)


_threads = threading.local()


def _buffer() -> memoryview:
    """This thread's buffer."""
    if not hasattr(_threads, "buffer"):
        _threads.buffer = memoryview(bytearray(BUFFER))
    found: memoryview = _threads.buffer
    return found
