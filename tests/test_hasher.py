"""bcrypt in another process: the same hashes, and it goes on whatever happens to that process."""

from __future__ import annotations

import os
import signal
import subprocess
from unittest.mock import patch

import bcrypt
from twisted.trial.unittest import SynchronousTestCase

from chatd import passwords
from chatd.hasher import CHEAP, NICE, Hasher

SALT = bcrypt.gensalt(CHEAP + 1)
SECRET = b"c2VjcmV0" * 8


class HasherTests(SynchronousTestCase):
    """Each with a process of its own."""

    def setUp(self) -> None:
        self.hasher = Hasher()
        self.addCleanup(self.hasher.close)

    def test_the_same(self) -> None:
        """It hashes as bcrypt does, in a process that stands back behind this one; what is cheap is done here."""
        cheap = bcrypt.gensalt(CHEAP)
        self.assertEqual(self.hasher.hashpw(SECRET, cheap), bcrypt.hashpw(SECRET, cheap))
        self.assertIsNone(self.hasher.pid)
        self.assertEqual(self.hasher.hashpw(SECRET, SALT), bcrypt.hashpw(SECRET, SALT))
        pid = self.hasher.pid
        assert pid is not None
        mine = os.getpriority(os.PRIO_PROCESS, 0)
        self.assertEqual(os.getpriority(os.PRIO_PROCESS, pid), min(19, mine + NICE))
        self.assertEqual(self.hasher.hashpw(SECRET, SALT), bcrypt.hashpw(SECRET, SALT))
        self.assertEqual(self.hasher.pid, pid)

    def test_it_dies(self) -> None:
        """Another one takes over, and nothing is wrong with what it says."""
        self.hasher.hashpw(SECRET, SALT)
        assert self.hasher.pid is not None
        os.kill(self.hasher.pid, signal.SIGKILL)
        self.assertEqual(self.hasher.hashpw(SECRET, SALT), bcrypt.hashpw(SECRET, SALT))

    def test_it_outlives_signals(self) -> None:
        """Who stops the daemon by a signal to all of its processes leaves it time to drain."""
        self.hasher.hashpw(SECRET, SALT)
        pid = self.hasher.pid
        assert pid is not None
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(pid, number)
        self.assertEqual(self.hasher.hashpw(SECRET, SALT), bcrypt.hashpw(SECRET, SALT))
        self.assertEqual(self.hasher.pid, pid)

    def test_none_can_be_started(self) -> None:
        """Then it is done here."""
        with patch.object(subprocess, "Popen", side_effect=OSError(24, "Too many open files")):
            self.assertEqual(self.hasher.hashpw(SECRET, SALT), bcrypt.hashpw(SECRET, SALT))

    def test_closed(self) -> None:
        """It ends with its owner, and is not started again."""
        self.hasher.hashpw(SECRET, SALT)
        pid = self.hasher.pid
        assert pid is not None
        self.hasher.close()
        with self.assertRaises(ProcessLookupError):
            os.kill(pid, 0)
        self.assertEqual(self.hasher.hashpw(SECRET, SALT), bcrypt.hashpw(SECRET, SALT))
        self.assertIsNone(self.hasher.pid)

    def test_passwords(self) -> None:
        """Passwords are kept and checked by way of it, and it is given none."""
        given: list[bytes] = []

        def hashpw(secret: bytes, salt: bytes) -> bytes:
            given.append(secret)
            return self.hasher.hashpw(secret, salt)

        self.patch(passwords, "_hashpw", hashpw)
        kept = passwords.hash("Correct7horse", CHEAP + 1)
        self.assertTrue(passwords.verify("Correct7horse", kept, CHEAP + 1))
        self.assertFalse(passwords.verify("Correct7Horse", kept, CHEAP + 1))
        self.assertEqual(len(given), 3)
        self.assertNotIn(b"Correct7horse", given)
