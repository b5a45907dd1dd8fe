"""A past: events written straight into the database of a chatd that is not running, a million in seconds.

The rule: what is written could have been said. Authors are members of the room, times and message ids rise, everybody
has seen everything.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

FILE = "chatd.sqlite"

_EVENTS = """
WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < :count - 1)
INSERT INTO event (at, kind, room, author, mid, digest, text)
SELECT :now - (:count - n) * 50, 'say', :room, :first + n % :authors,
       printf('%08x-%04x-7%03x-8%03x-%012x', (:now + n) >> 16, (:now + n) & 65535, n & 4095, n >> 12 & 4095, n),
       n * 2654435761 & 1125899906842623, printf('line %d of what was said before the benchmark began, padded so', n)
FROM n
"""


def fill(data: Path, room: str, count: int) -> int:
    """Have the members of `room` say `count` things; the newest seq."""
    connection = sqlite3.connect(data / FILE, isolation_level=None)
    connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA cache_size = -262144")
    (number,) = connection.execute("SELECT id FROM room WHERE name = ?", (room,)).fetchone()
    first, authors, now = connection.execute(
        "SELECT min(account), count(*), (SELECT max(at) FROM event) FROM member WHERE room = ? AND until IS NULL",
        (number,),
    ).fetchone()
    connection.execute("BEGIN IMMEDIATE")
    values = {"count": count, "now": now, "room": number, "first": first, "authors": authors}
    connection.execute(_EVENTS, values)
    (last,) = connection.execute("SELECT max(seq) FROM event").fetchone()
    connection.execute("UPDATE account SET seen = ?", (last,))
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return int(last)


def same_password(data: Path, source: str, prefix: str) -> None:
    """Give every account whose name begins so the password of `source`, and with it the price of checking it."""
    connection = sqlite3.connect(data / FILE)
    connection.execute(
        "UPDATE account SET password = (SELECT password FROM account WHERE name = ?) WHERE name LIKE ? || '%'",
        (source, prefix),
    )
    connection.commit()
    connection.close()
