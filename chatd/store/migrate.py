"""The database's schema, brought up to date.

The rule: numbered SQL files, each applied once, all in one transaction under the write lock; a backup copy is made
first where there is something to lose. `user_version` is the number of the newest file applied. `compat` is the
oldest program schema that may use the file: additive changes leave it, so instances of old and new code run side by
side during a rolling restart.
"""

from __future__ import annotations

import random
import sqlite3
import time
from importlib import resources
from pathlib import Path
from typing import Final

from chatd.store.sqlite import FILE, WriteLock, heals

SCHEMA: Final = 1
COMPAT: Final = 1
"""Of the newest schema file: programs that know at least this schema can use the database."""
PATIENCE: Final = 10.0
"""Seconds to wait for other instances that start just now."""


class TooNew(Exception):
    """The database was made by a newer chatd, which this one does not understand."""


def statements(number: int) -> list[str]:
    """The statements of one schema file."""
    text = resources.files("chatd.store").joinpath(f"schema/{number:03}.sql").read_text("utf-8")
    found, lines = [], []
    for line in text.splitlines():
        lines.append(line)
        joined = "\n".join(lines)
        if sqlite3.complete_statement(joined):
            found.append(joined)
            lines = []
    return found


def migrate(data: Path, upto: int = SCHEMA) -> int:
    """Make or bring up to date the database in the folder `data`; the schema it had before (0: new).

    @raise TooNew: the file's `compat` is above what this program knows.
    """
    path = data / FILE
    connection = sqlite3.connect(path, isolation_level=None, timeout=PATIENCE)
    try:
        path.chmod(0o600)
        _use_wal(connection)
        before = _version(connection)
        if before >= upto:
            _refuse_newer(connection, before)
            return before
        if before:
            _back_up(connection, data / f"before-schema-{upto}-{int(time.time())}.sqlite")
        lock = WriteLock(data / "write.lock", 30.0)
        with lock:
            connection.execute("BEGIN IMMEDIATE")
            try:
                for number in range(_version(connection) + 1, upto + 1):
                    for statement in statements(number):
                        connection.execute(statement)
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"
                )
                connection.execute("INSERT OR REPLACE INTO meta VALUES ('compat', ?)", (str(COMPAT),))
                connection.execute(f"PRAGMA user_version = {upto}")
                connection.execute("COMMIT")
            except BaseException:
                connection.execute("ROLLBACK")
                raise
        lock.close()
        return before
    finally:
        connection.close()


def open_known(data: Path) -> sqlite3.Connection:
    """The database of the folder `data` as it stands, opened without changing anything.

    @raise FileNotFoundError: there is none. @raise TooNew: it is a newer chatd's. @raise sqlite3.DatabaseError: it is
    no database, or one of something else.
    """
    path = data / FILE
    if not path.is_file():
        raise FileNotFoundError(str(path))
    connection = sqlite3.connect(path, isolation_level=None, timeout=PATIENCE)
    try:
        version = _version(connection)
        if not version:
            raise sqlite3.DatabaseError(f"{path} is no database of chatd")
        _refuse_newer(connection, version)
    except BaseException:
        connection.close()
        raise
    return connection


def last_seq(data: Path) -> int:
    """The newest position of the log in the database of the folder `data`."""
    connection = sqlite3.connect(data / FILE)
    try:
        row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'event'").fetchone()
    finally:
        connection.close()
    return 0 if row is None else int(row[0])


def last_moment(data: Path) -> int | None:
    """When (ms) the clock was believed last in the folder `data`: as `believe` kept it, else the newest event's time;
    None: nothing has happened yet.
    """
    connection = sqlite3.connect(data / FILE)
    try:
        row = connection.execute("SELECT value FROM meta WHERE key = 'believed'").fetchone()
        if row is None:
            row = connection.execute("SELECT at FROM event ORDER BY seq DESC LIMIT 1").fetchone()
    finally:
        connection.close()
    return None if row is None else int(row[0])


def guests(data: Path) -> list[int]:
    """The guests who are in the database of the folder `data`."""
    connection = sqlite3.connect(data / FILE)
    try:
        rows = connection.execute("SELECT id FROM account WHERE kind = 'guest' AND name IS NOT NULL").fetchall()
    finally:
        connection.close()
    return [row[0] for row in rows]


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch a new file to WAL. SQLite's busy wait does not cover this: of several first starts at one moment, some
    would be refused (measured: 1 in 80 of six at once)."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if not heals(error) or time.monotonic() > deadline:
                raise
            time.sleep(random.uniform(0.001, 0.01))
        else:
            return


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def _refuse_newer(connection: sqlite3.Connection, version: int) -> None:
    row = connection.execute("SELECT value FROM meta WHERE key = 'compat'").fetchone()
    if row is not None and int(row[0]) > SCHEMA:
        raise TooNew(
            f"the database has schema {version} and needs a chatd that knows schema {row[0]}; this one knows {SCHEMA}"
        )


def _back_up(connection: sqlite3.Connection, path: Path) -> None:
    copy = sqlite3.connect(path)
    try:
        connection.backup(copy)
        path.chmod(0o600)
    finally:
        copy.close()
