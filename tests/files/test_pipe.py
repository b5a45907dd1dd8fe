"""Bytes between a socket and a file, past the reactor."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from chatd.pipe import AHEAD, Pipe

DATA = os.urandom(3 * AHEAD + 17)


class Block:
    """Memory for so many bytes at a time."""

    def __init__(self, size: int) -> None:
        self.got = b""
        self._memory = memoryview(bytearray(size))
        self._filled = 0

    @property
    def room(self) -> memoryview:
        return self._memory[self._filled :]

    def came(self, count: int) -> None:
        self.got += bytes(self._memory[self._filled : self._filled + count])
        self._filled = (self._filled + count) % len(self._memory)


class PipeTests(SynchronousTestCase):
    """A socket whose other end the test holds."""

    def setUp(self) -> None:
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)
        self.pipe = Pipe(self.near.fileno())
        path = Path(self.mktemp())
        path.write_bytes(DATA)
        self.file = os.open(path, os.O_RDONLY)
        for close in (self.near.close, self.far.close, self.pipe.close, lambda: os.close(self.file)):
            self.addCleanup(close)

    def test_push(self) -> None:
        """It sends from where it is told, says how much went, and says 0, at once, where the socket takes no more."""
        sent = 100
        got = b""
        while sent < len(DATA):
            went = self.pipe.push(self.file, sent, len(DATA) - sent)
            sent += went
            if not went:
                got += self.far.recv(1 << 20)
        while len(got) < len(DATA) - 100:
            got += self.far.recv(1 << 20)
        self.assertEqual(got, DATA[100:])

    def test_pull(self) -> None:
        """It puts what has come where there is room for it, in order, never more than it is asked for, and says 0 where
        nothing has."""
        into = Block(3_000)
        self.assertEqual(self.pipe.pull(into, 10), 0)
        sent = 0
        while sent < len(DATA):
            sent += self.far.send(DATA[sent : sent + 50_000])
            while count := self.pipe.pull(into, 7_001):
                self.assertLessEqual(count, 7_001)
        self.assertEqual(into.got, DATA)

    def test_the_end(self) -> None:
        """A side that has closed is no more bytes; one that is gone is an error; the descriptor is its own."""
        self.near.close()
        self.far.send(b"last")
        self.far.shutdown(socket.SHUT_WR)
        into = Block(100)
        self.assertEqual(self.pipe.pull(into, 100), 4)
        self.assertEqual((into.got, self.pipe.pull(into, 100)), (b"last", 0))
        self.far.close()
        self.assertRaises(OSError, self.pipe.push, self.file, 0, 100)
