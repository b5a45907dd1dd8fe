"""The mechanics of a transaction: statements in, rows out.

The rule: one Tx lives as long as one BEGIN … COMMIT, on one thread. What it has read of roles and rooms it remembers
only that long, and forgets at any change.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

Value = int | str | bytes | float | None
Row = tuple[Any, ...]


class Base:
    """A snapshot of the database at `now` (ms). What ends for good ends by `steady`, which follows no leap of the clock
    (chatd.clock); it is `now` where none is given.
    """

    def __init__(self, connection: sqlite3.Connection, now: int, node: int = 0, steady: int | None = None) -> None:
        self._connection = connection
        self.now = now
        self.node = node
        self.steady = now if steady is None else steady

    def _all(self, sql: str, *args: Value) -> list[Row]:
        return self._connection.execute(sql, args).fetchall()

    def _one(self, sql: str, *args: Value) -> Row | None:
        row: Row | None = self._connection.execute(sql, args).fetchone()
        return row

    def _value(self, sql: str, *args: Value) -> Any:
        row = self._one(sql, *args)
        return None if row is None else row[0]

    def _run(self, sql: str, *args: Value) -> int:
        """Change rows; how many."""
        return self._connection.execute(sql, args).rowcount

    def _insert(self, sql: str, *args: Value) -> int:
        """Add one row; its id."""
        rowid = self._connection.execute(sql, args).lastrowid
        assert rowid is not None
        return rowid

    def _many(self, sql: str, rows: Sequence[Sequence[Value]]) -> None:
        self._connection.executemany(sql, rows)
