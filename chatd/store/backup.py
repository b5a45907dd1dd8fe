"""A copy of the whole database as it was in one moment, while others write; and a copy made a server's again.

The rule: a copy is one snapshot. After a restore no number that was ever given may be given again, though nobody knows
any more which were given after the copy was made, nor which by a server that was restored from it before. So every
counter leaps, to where no server can have come by that time.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from pathlib import Path
from typing import Any, Final

from chatd.store import ReadTx
from chatd.store.check import SKIPPED, skipped

PAGES: Final = 1_000
"""How much is copied at a time; the others' disk requests come in between."""
PAUSE: Final = 0.001
"""Seconds between two such steps."""
LEAP: Final = 1_000_000
"""How far every counter leaps at a restore at least."""
EPOCH_MS: Final = 1_767_225_600_000
"""The beginning of 2026 (UTC): no server is older."""
RATE: Final = 100
RATES: Final = {"event": 100_000, "envelope": 1_000_000}
"""How many numbers a second no server gives away, on average: counters leap to the seconds since then times that. So a
restore's numbers are past all that were given before it, by whichever server. In JSON they stay exact until 4800.
"""
PASSING: Final = ("instance", "presence", "farewell", "ticket")
"""Tables that are true only while a server runs."""


def snapshot(source: sqlite3.Connection, target: Path) -> None:
    """Copy the database to the new file `target`. Writers are not held up: the copy reads beside them.

    An open read transaction pins the moment. Without it SQLite would begin anew whenever somebody writes.
    """
    target.touch(mode=0o600, exist_ok=False)
    copy = sqlite3.connect(target, isolation_level=None)
    try:
        source.execute("BEGIN")
        source.execute("SELECT 1 FROM sqlite_schema").fetchone()
        try:
            source.backup(copy, pages=PAGES, sleep=PAUSE)
        finally:
            source.execute("ROLLBACK")
        copy.execute("PRAGMA journal_mode = DELETE")
    finally:
        copy.close()


def open_copy(path: Path) -> sqlite3.Connection:
    """A snapshot, to be read."""
    connection = sqlite3.connect(f"file:{path.absolute()}?mode=ro", uri=True, isolation_level=None)
    connection.execute("PRAGMA query_only = ON")
    return connection


def contents(connection: sqlite3.Connection) -> dict[str, Any]:
    """What a database holds: its schema, its newest seq, how much of everything, and each table's rows and digest."""
    tables = {}
    for (name,) in connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
    ).fetchall():
        if name in PASSING:
            continue
        digest, count = hashlib.sha256(), 0
        for row in connection.execute(f'SELECT * FROM "{name}"'):
            digest.update(repr(row).encode("utf-8", "surrogatepass"))
            count += 1
        tables[name] = [count, digest.hexdigest()]
    figures = ReadTx(connection, 0).figures()
    return {
        "schema": figures["schema"],
        "seq": figures["seq"],
        "events": figures["events"],
        "users": figures["users"],
        "groups": figures["groups"],
        "tables": tables,
    }


def stored_blobs(connection: sqlite3.Connection) -> list[tuple[int, int]]:
    """The files that the database has the bytes of: (number, size)."""
    return [(each.file, each.size) for each in ReadTx(connection, 0).stored_files() if each.complete]


def settle(path: Path, now: int) -> None:
    """Make a copy fit to serve from `now` (ms) on: nobody is connected, and no number is given again."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("BEGIN IMMEDIATE")
        for table in PASSING:
            connection.execute(f"DELETE FROM {table}")
        last = connection.execute("SELECT coalesce(max(seq), 0) FROM event").fetchone()[0]
        counted = dict(connection.execute("SELECT name, seq FROM sqlite_sequence").fetchall())
        upto = {name: _leapt(name, counted.get(name, 0), now) for name in _counting(connection)}
        connection.execute("DELETE FROM sqlite_sequence")
        connection.executemany("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", list(upto.items()))
        known = [pair for pair in skipped(connection) if pair != (last + 1, counted.get("event", 0))]
        known.append((last + 1, upto["event"]))
        connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (SKIPPED, json.dumps(known)))
        connection.execute("COMMIT")
    finally:
        connection.close()


def _counting(connection: sqlite3.Connection) -> list[str]:
    """The tables whose numbers are never given again, those included that have given none yet."""
    rows = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND sql LIKE '%AUTOINCREMENT%'")
    return [name for (name,) in rows.fetchall()]


def _leapt(table: str, counted: int, now: int) -> int:
    """Where a table's counter goes on after a restore."""
    return max(counted + LEAP, (now - EPOCH_MS) // 1000 * RATES.get(table, RATE))
