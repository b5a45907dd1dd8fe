"""Restoring where something was before: never into it, and never so that something of it comes back."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.ctl import Operator

KILLED = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA wal_autocheckpoint = 0")
connection.execute("UPDATE account SET name = 'mallory'")
os.kill(os.getpid(), signal.SIGKILL)
"""


class RestoringTests(SynchronousTestCase):
    """A backup of a server with one account."""

    def setUp(self) -> None:
        self.data = Path(self.mktemp()) / "data"
        self.chatctl = Operator(self.data)
        self.backup = self.data.with_name("backup.tar")
        for words in (("initdb",), ("user", "add", "alice"), ("backup", str(self.backup))):
            self.assertEqual(self.chatctl(*words).status, 0, words)

    def test_the_log_of_another_database(self) -> None:
        """Where the database of a server that was killed was taken away and its write-ahead log was not, nothing is
        restored: SQLite would write that log into what was restored.
        """
        database = self.data / "chatd.sqlite"
        ended = subprocess.run([sys.executable, "-c", KILLED, database], check=False)
        self.assertEqual(ended.returncode, -signal.SIGKILL)
        database.rename(self.data / "broken.sqlite")
        ran = self.chatctl("restore", str(self.backup))
        self.assertEqual(ran.status, 1)
        self.assertRegex(ran.err, r"holds a database already \(chatd\.sqlite-wal\)\. Restore into an empty folder: ")
        self.assertFalse(database.exists())
        os.rename(self.data / "chatd.sqlite-wal", self.data / "broken.sqlite-wal")
        self.assertEqual(self.chatctl("restore", str(self.backup)).status, 0)
        with contextlib.closing(sqlite3.connect(database)) as connection:
            self.assertEqual(connection.execute("SELECT name FROM account").fetchall(), [("alice",)])

    def test_what_there_is(self) -> None:
        """What a restore leaves out of the log's numbers is counted nowhere: there are as many events as before it, and
        one more after one more.
        """
        restored = Operator(self.data.with_name("elsewhere"))
        backup = self.data.with_name("again.tar")
        self.assertRegex(restored("restore", str(self.backup)).out, r": 1 user, 0 groups, 1 event, 0 files\.")
        self.assertEqual(restored("check").out, "Sound: 1 user, 0 groups, 1 event, 0 files.")
        self.assertIn(" 1 event, ", restored("status").out)
        restored("user", "add", "bob")
        self.assertEqual(restored("check").out, "Sound: 2 users, 0 groups, 2 events, 0 files.")
        self.assertIn(" 2 events, ", restored("backup", str(backup)).out)
        self.assertIn(" 2 events, ", restored("verify", str(backup)).out)
