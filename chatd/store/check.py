"""Is the database sound? What SQLite can see, and what only chatd knows: the log, and what was folded from it.

The rule: nothing is changed, and everything is read from one snapshot, so that it may run beside a server.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

MOST: Final = 100
"""How many faults of one kind are told."""
SKIPPED: Final = "skipped"
"""The key in `meta` of the numbers of the log that a restore has left out: [[from, to], …], both left out."""

_MEMBERSHIP: Final = (
    "'created', 'registered', 'joined', 'direct', 'left', 'closed', 'removed', 'promoted', 'demoted', 'transferred',"
    " 'inherited'"
)


class Fault(NamedTuple):
    """Something that is wrong; texts.chatctl has a sentence for each kind."""

    kind: str
    fields: dict[str, Any]


class Interval(NamedTuple):
    """A membership: from event `since` to event `until` (0: still), as `role` since event `ranked`."""

    since: int
    until: int
    role: int
    ranked: int


def check(connection: sqlite3.Connection) -> list[Fault]:
    """All that is wrong; empty where the database is sound."""
    connection.execute("BEGIN")
    try:
        found = list(_integrity(connection))
        if not found:
            for look in (_references, _log, _data, _membership, _groups, _accounts):
                found += look(connection)
        return found
    finally:
        connection.execute("ROLLBACK")


def skipped(connection: sqlite3.Connection) -> list[tuple[int, int]]:
    """The stretches of the log's numbers that were left out by restores."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (SKIPPED,)).fetchone()
    return [] if row is None else [(first, last) for first, last in json.loads(row[0])]


def _integrity(connection: sqlite3.Connection) -> Iterator[Fault]:
    try:
        for (text,) in connection.execute(f"PRAGMA integrity_check({MOST})").fetchall():
            if text != "ok":
                yield Fault("integrity", {"text": text})
    except sqlite3.DatabaseError as error:
        yield Fault("integrity", {"text": str(error)})


def _references(connection: sqlite3.Connection) -> Iterator[Fault]:
    for table, row, parent, _ in connection.execute("PRAGMA foreign_key_check").fetchmany(MOST):
        yield Fault("reference", {"table": table, "row": row or "?", "parent": parent})


def _log(connection: sqlite3.Connection) -> Iterator[Fault]:
    """Every number of the log is there, but for those that a restore has left out."""
    known = set(skipped(connection))
    rows = connection.execute(
        "SELECT before + 1, seq - 1 FROM (SELECT seq, lag(seq, 1, 0) OVER (ORDER BY seq) AS before FROM event)"
        " WHERE seq <> before + 1"
    )
    told = 0
    for first, last in rows:
        if (first, last) not in known and told < MOST:
            told += 1
            yield Fault("gap", {"first": first, "last": last})
    last = connection.execute("SELECT coalesce(max(seq), 0) FROM event").fetchone()[0]
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'event'").fetchone()
    counted = 0 if row is None else row[0]
    if counted != last and (last + 1, counted) not in known:
        yield Fault("tail", {"last": last, "counted": counted})


def _data(connection: sqlite3.Connection) -> Iterator[Fault]:
    rows = connection.execute("SELECT seq FROM event WHERE data IS NOT NULL AND NOT json_valid(data)")
    for (seq,) in rows.fetchmany(MOST):
        yield Fault("data", {"seq": seq})


def _membership(connection: sqlite3.Connection) -> Iterator[Fault]:
    """The table of members is what the log says, interval by interval."""
    said = fold(connection)
    found: dict[tuple[int, int], list[Interval]] = {}
    for room, account, since, until, role, ranked in connection.execute(
        "SELECT room, account, since, until, role, ranked FROM member ORDER BY room, account, since"
    ):
        found.setdefault((room, account), []).append(Interval(since, until or 0, role, ranked))
    told = 0
    for key in sorted(said.keys() | found.keys()):
        if said.get(key) != found.get(key) and told < MOST:
            told += 1
            fields = {"room": key[0], "account": key[1]}
            yield Fault("membership", fields | {"said": _shown(said.get(key)), "found": _shown(found.get(key))})


def _shown(intervals: list[Interval] | None) -> str:
    """`5-9 as 1, 12- as 2`."""
    if not intervals:
        return "nothing"
    return ", ".join(f"{each.since}-{each.until or ''} as {each.role}" for each in intervals)


def fold(connection: sqlite3.Connection) -> dict[tuple[int, int], list[Interval]]:
    """Who was where, as the log alone says: (room, account) -> intervals."""
    found: dict[tuple[int, int], list[Interval]] = {}

    def enter(room: int, account: int, seq: int, role: int) -> None:
        found.setdefault((room, account), []).append(Interval(seq, 0, role, seq))

    def change(room: int, account: int, **values: int) -> None:
        intervals = found.get((room, account))
        if intervals and not intervals[-1].until:
            intervals[-1] = intervals[-1]._replace(**values)

    for seq, kind, room, by, who in connection.execute(
        f"SELECT seq, kind, room, author, target FROM event WHERE kind IN ({_MEMBERSHIP}) ORDER BY seq"
    ):
        match kind:
            case "created":
                enter(room, by, seq, 3)
            case "registered":
                enter(room, by, seq, 1)
            case "joined":
                enter(room, who, seq, 1)
            case "direct":
                enter(room, by, seq, 1)
                enter(room, who, seq, 1)
            case "left" | "closed":
                change(room, by, until=seq)
            case "removed":
                change(room, who, until=seq)
            case "promoted":
                change(room, who, role=2, ranked=seq)
            case "demoted":
                change(room, who, role=1, ranked=seq)
            case "transferred":
                change(room, by, role=1, ranked=seq)
                change(room, who, role=3, ranked=seq)
            case "inherited":
                change(room, who, role=3, ranked=seq)
    return found


def _groups(connection: sqlite3.Connection) -> Iterator[Fault]:
    """Every group has one owner; a sealed one may have lost it to an operator: nobody else could sign who inherits."""
    rows = connection.execute(
        "SELECT r.id, (SELECT count(*) FROM member m WHERE m.room = r.id AND m.until IS NULL) AS members,"
        " (SELECT count(*) FROM member m WHERE m.room = r.id AND m.until IS NULL AND m.role = 3) AS owners"
        " FROM room r WHERE r.name IS NOT NULL AND r.kind = 'group'"
        " AND (members = 0 OR owners > 1 OR owners = 0 AND NOT r.sealed)"
    )
    for room, members, owners in rows.fetchmany(MOST):
        yield Fault("owner", {"room": room, "count": owners}) if members else Fault("empty", {"room": room})


def _accounts(connection: sqlite3.Connection) -> Iterator[Fault]:
    rows = connection.execute("SELECT id FROM account WHERE inbox IS NULL")
    for (account,) in rows.fetchmany(MOST):
        yield Fault("inbox", {"account": account})
    last = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'event'").fetchone()
    last = 0 if last is None else last[0]
    for account, seen in connection.execute("SELECT id, seen FROM account WHERE seen > ?", (last,)).fetchmany(MOST):
        yield Fault("cursor", {"account": account, "seen": seen, "last": last})
