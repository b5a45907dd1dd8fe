"""bcrypt in a process of its own, at a low priority.

The rule: whoever chats goes before whoever logs in. A thread of a low priority cannot do that: it may be kept from the
processor just while it is handed the interpreter lock, and the whole daemon waits with it (measured: 0.5 s, on a
machine that others use as well). The process is started at the first password, reads until its input ends, and is
given what passwords.py makes of a password, never a password.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import suppress
from typing import Final

import bcrypt

CHEAP: Final = 6
"""Costs up to this (some ms) are not worth a way to another process."""
NICE: Final = 10
"""Its niceness: of a busy processor it gets a tenth."""
_PROGRAM: Final = f"""
import os, signal, sys
import bcrypt
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)  # it ends with the daemon, whoever else is told to
try:
    os.nice({NICE})
except OSError:
    pass
for line in sys.stdin.buffer:
    secret, salt = line.split()
    sys.stdout.buffer.write(bcrypt.hashpw(secret, salt) + b"\\n")
    sys.stdout.buffer.flush()
"""


class Hasher:
    """The process. `hashpw` blocks: it belongs on a thread, and is called by one thread at a time."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._guard = threading.Lock()
        self._closed = False

    def hashpw(self, secret: bytes, salt: bytes) -> bytes:
        """As `bcrypt.hashpw`. Where there is no such process, and none can be started, this thread hashes by itself."""
        if int(salt[4:6]) > CHEAP:
            for _ in range(2):
                with suppress(OSError, ValueError):
                    child = self._running()
                    assert child.stdin is not None
                    assert child.stdout is not None
                    child.stdin.write(secret + b" " + salt + b"\n")
                    child.stdin.flush()
                    if found := child.stdout.readline().rstrip():
                        return found
                self._end()
        return bcrypt.hashpw(secret, salt)

    @property
    def pid(self) -> int | None:
        """The process, where it runs."""
        return None if self._child is None else self._child.pid

    def _running(self) -> subprocess.Popen[bytes]:
        with self._guard:
            if self._closed:
                raise ValueError
            if self._child is None:
                self._child = subprocess.Popen(
                    [sys.executable, "-P", "-c", _PROGRAM],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                )
            return self._child

    def _end(self) -> None:
        with self._guard:
            child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.wait()
            for end in (child.stdin, child.stdout):
                with suppress(OSError):
                    end.close()  # type: ignore[union-attr]

    def close(self) -> None:
        """End it."""
        with self._guard:
            self._closed = True
        self._end()
