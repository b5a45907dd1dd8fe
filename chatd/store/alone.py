"""The database without a daemon: one process that has something to do on the file, and waits for its turn.

The rule: a turn is what it is in the daemon (the lock, BEGIN IMMEDIATE, events inserted together, COMMIT), so that it
may be taken beside running instances, too; they look at the log by themselves within a second.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from chatd.store import ReadTx, Tx, sqlite
from chatd.store.migrate import open_known

T = TypeVar("T")


class Alone:
    """The database of the folder `data`, which must be there.

    @raise FileNotFoundError: there is none. @raise TooNew: it is a newer chatd's.
    """

    def __init__(self, data: Path, clock: Callable[[], int], *, seconds: float = 10.0) -> None:
        self._clock = clock
        self._connection = open_known(data)
        sqlite.prepare_writer(self._connection, "full")
        self._lock = sqlite.WriteLock(data / "write.lock", seconds)

    def __enter__(self) -> Alone:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.close()
        self._connection.close()

    @property
    def connection(self) -> sqlite3.Connection:
        """The open file, for what reads all of it."""
        return self._connection

    def read(self, run: Callable[[ReadTx], T]) -> T:
        """Have this read from one snapshot."""
        self._connection.execute("BEGIN")
        try:
            return run(ReadTx(self._connection, self._clock()))
        finally:
            sqlite.rollback(self._connection)

    def write(self, run: Callable[[Tx], T]) -> T:
        """Have this done in one transaction; whatever it raises undoes it.

        @raise Busy: another process writes all the time. sqlite3.OperationalError: see `sqlite.heals`.
        """
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                tx = Tx(self._connection, self._clock())
                tx.begin()
                result = run(tx)
                tx.flush()
                self._connection.execute("COMMIT")
            except BaseException:
                sqlite.rollback(self._connection)
                raise
        return result
