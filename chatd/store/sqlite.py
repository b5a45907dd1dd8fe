"""What is particular to SQLite: how it is opened, the lock that writers of several processes share, which errors heal.

The rule: no statement about chat stands here.

Writers take turns by `flock` on a side file round BEGIN IMMEDIATE … COMMIT: SQLite's own busy wait starves (measured,
four writing processes: 1557, 1, 1 and 1 transactions), flock gave even shares. It is asked for without blocking,
since a waiter on a blocking flock hangs for as long as a stopped holder lives.
"""

from __future__ import annotations

import fcntl
import os
import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

Durability = Literal["full", "normal"]

FILE: Final = "chatd.sqlite"
LOG_PAGES: Final = 2_000
"""Pages of the write-ahead log past which a commit sees to it that the log begins anew."""


class Busy(Exception):
    """The database cannot be written just now. Nothing was changed."""


class WriteLock:
    """The turn to write, among all processes on one file."""

    def __init__(self, path: Path, seconds: float) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._seconds = seconds

    def __enter__(self) -> None:
        deadline = None
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                now = time.monotonic()
                deadline = deadline or now + self._seconds
                if now >= deadline:
                    raise Busy from None
                time.sleep(random.uniform(0.0001, 0.0006))
            else:
                return

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give the file up."""
        os.close(self._fd)


def prepare_writer(connection: sqlite3.Connection, durability: Durability) -> None:
    """Settings of the one writing connection."""
    _prepare(connection)
    connection.execute(f"PRAGMA synchronous = {'FULL' if durability == 'full' else 'NORMAL'}")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA cache_size = -32768")
    connection.execute("PRAGMA secure_delete = FAST")
    connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
    connection.execute("PRAGMA journal_size_limit = 67108864")


@contextmanager
def overwriting(connection: sqlite3.Connection) -> Iterator[None]:
    """What is deleted meanwhile is overwritten in the file. Pages that become free are so, too, which costs writing
    them: else only what is in pages that are written anyway.
    """
    connection.execute("PRAGMA secure_delete = ON")
    try:
        yield
    finally:
        connection.execute("PRAGMA secure_delete = FAST")


def prepare_checkpointer(connection: sqlite3.Connection) -> None:
    """Settings of the connection that checkpoints."""
    _prepare(connection)


def checkpoint(connection: sqlite3.Connection) -> None:
    """Carry into the database what the log has now. Nobody who reads or writes waits for it.

    Measured at 200 messages/s: where commits do this every 2,000 pages, one of 300 takes 10-35 ms, and those behind it
    wait; done beside them, commits keep under 3 ms. What they still do is only what was written since the last time,
    so that the log can begin anew.
    """
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def prepare_reader(connection: sqlite3.Connection) -> None:
    """Settings of a connection that only reads."""
    _prepare(connection)
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA cache_size = -8192")


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA busy_timeout = 3000")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA temp_store = MEMORY")


def heals(error: Exception) -> bool:
    """Whether this failure is of the kind that passes: the file is locked, the disk is full or does not answer."""
    if isinstance(error, Busy):
        return True
    if not isinstance(error, sqlite3.OperationalError):
        return False
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
    )


def rollback(connection: sqlite3.Connection) -> None:
    """Undo what is open, where something is."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")
