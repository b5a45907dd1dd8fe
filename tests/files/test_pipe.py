"""Bytes between a socket and a file, past the reactor."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from chatd.pipe import BUFFER, Pipe

DATA = os.urandom(3 * BUFFER + 17)


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
        """It hands over what has come, in order, never more than it is asked for, and says 0 where nothing has."""
        got: list[bytes] = []
        self.assertEqual(self.pipe.pull(lambda pieces: None, 10), 0)
        sent = 0
        while sent < len(DATA):
            sent += self.far.send(DATA[sent : sent + 50_000])
            asked = 0
            while count := self.pipe.pull(lambda pieces: got.extend(map(bytes, pieces)), 7_001):
                self.assertLessEqual(count, 7_001)
                asked += count
        self.assertEqual(b"".join(got), DATA)

    def test_the_end(self) -> None:
        """A side that has closed is no more bytes; one that is gone is an error; the descriptor is its own."""
        self.near.close()
        self.far.send(b"last")
        self.far.shutdown(socket.SHUT_WR)
        got: list[bytes] = []
        self.assertEqual(self.pipe.pull(lambda pieces: got.extend(map(bytes, pieces)), 100), 4)
        self.assertEqual((got, self.pipe.pull(lambda pieces: None, 100)), ([b"last"], 0))
        self.far.close()
        self.assertRaises(OSError, self.pipe.push, self.file, 0, 100)
