"""Unix sockets in deep folders."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from chatd.sockets import LONGEST, reachable


class ReachableTests(SynchronousTestCase):
    """A socket can be bound and connected to wherever it stands."""

    def test_short(self) -> None:
        """A path that the kernel takes is used as it is."""
        self.assertEqual(reachable(Path("/run/x.sock")), "/run/x.sock")

    def test_deep(self) -> None:
        """In a folder too deep for the kernel a datagram arrives, and the socket stands in that folder."""
        folder = Path(self.mktemp()).absolute() / ("deep" * 30)
        folder.mkdir(parents=True)
        path = folder / "n1.look"
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as two,
        ):
            with self.assertRaises(OSError):
                one.bind(os.fspath(path))
            self.assertLessEqual(len(reachable(path)), LONGEST)
            one.bind(reachable(path))
            two.sendto(b"look", reachable(path))
            self.assertEqual(one.recv(10), b"look")
        self.assertTrue(path.is_socket())

    def test_made_again(self) -> None:
        """A folder that was removed and made again is found again."""
        folder = Path(self.mktemp()).absolute() / ("deep" * 30)
        for _ in range(2):
            folder.mkdir(parents=True)
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
                one.bind(reachable(folder / "x"))
            self.assertTrue((folder / "x").is_socket())
            (folder / "x").unlink()
            folder.rmdir()
