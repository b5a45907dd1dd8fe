"""The one log: append, tail, and the pages of it that one account may hear.

The rule: `seq` is given under the write lock, so that the order of numbers is the order of commits; a reader that has
seen `seq` n has seen all before it.

Every statement that reads many rows returns them as one JSON value in one step. The sqlite3 module hands the
interpreter lock over at each step, and with a busy reactor beside it each hand-over may wait a whole switch interval:
measured, 420,000 rows/s idle but 400/s beside a busy thread, against 360,000 and 176,000 in one step. For the same
reason appended events wait in memory and are inserted by few statements of many rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from chatd.model import DELETED, Event
from chatd.store.base import Base, Value
from chatd.store.check import skipped

_SHAPE: Final = (
    "json_group_array(json_array(e.seq, e.at, e.kind, e.room, e.author, coalesce(e.target, 0), {author}, {target},"
    " e.mid, e.text, json(e.data), e.sealed, e.proof))"
)
_EVENT: Final = _SHAPE.format(
    author=f"coalesce(a.name, '{DELETED}')", target=f"coalesce(t.name, iif(e.target IS NULL, '', '{DELETED}'))"
)
_BYE: Final = "(SELECT f.name FROM farewell f WHERE f.account = {})"
_FRESH: Final = _SHAPE.format(
    author=f"coalesce(a.name, {_BYE.format('e.author')}, '{DELETED}')",
    target=f"coalesce(t.name, iif(e.target IS NULL, '', coalesce({_BYE.format('e.target')}, '{DELETED}')))",
)
"""An event that happens now: it names whoever has just deleted their account."""
_NAMED: Final = "LEFT JOIN account a ON a.id = e.author LEFT JOIN account t ON t.id = e.target"
_HEARD: Final = (
    "SELECT e.* FROM member m CROSS JOIN event e ON e.room = m.room"
    " AND e.seq >= max(m.since, ?2 + 1) AND e.seq <= min(coalesce(m.until, ?3), ?3) WHERE m.account = ?1"
)
_SIZE: Final = "coalesce(length(text), 0) + coalesce(length(sealed), 0)"
_PAGE: Final = (
    f"SELECT {_EVENT} FROM (SELECT *, sum({_SIZE}) OVER (ORDER BY seq) - ({_SIZE}) AS before"
    f" FROM (SELECT * FROM ({_HEARD}) ORDER BY seq LIMIT ?4)) e {_NAMED} WHERE e.before < ?5"
)
SPOKEN: Final = "('say', 'file')"
"""Kinds whose text, data and sealed are what somebody said: a file is something somebody said, too."""
_COLUMNS: Final = 12
_ROW: Final = "(" + ",".join("?" * _COLUMNS) + ")"
_CHUNKS: Final = (1024, 256, 64, 16, 4, 1)
_INSERT: Final = {n: "INSERT INTO event VALUES " + ",".join([_ROW] * n) for n in _CHUNKS}
_WINDOW: Final = 50_000
MISSED_MOST: Final = 5_000


def _events(value: str) -> list[Event]:
    return [Event._make(row) for row in orjson.loads(value)]


class LogReads(Base):
    """What has happened."""

    def last_seq(self) -> int:
        """The newest position of the log; 0 where nothing has happened."""
        return self._value("SELECT seq FROM sqlite_sequence WHERE name = 'event'") or 0

    def tail(self, after: int, most: int = -1) -> list[Event]:
        """Every event past `after`, in order; of very many the first `most`."""
        inner = "SELECT * FROM event WHERE seq > ? ORDER BY seq LIMIT ?"
        return _events(self._value(f"SELECT {_FRESH} FROM ({inner}) e {_NAMED}", after, most))

    def heard(
        self, account: int, after: int, upto: int, most: int, most_characters: int = 1 << 20
    ) -> tuple[list[Event], int]:
        """The events in (after, upto] that `account` may hear; and the seq up to which these are all.

        At most `most`, and none past the one that brings their bodies to `most_characters`. Reads the log by windows,
        so that the cost of a page does not grow with what lies behind it.
        """
        while after < upto:
            end = min(upto, after + _WINDOW)
            page = _events(self._value(_PAGE, account, after, end, most, most_characters))
            if page:
                characters = sum(len(event.text or "") + len(event.sealed or "") for event in page)
                return page, page[-1].seq if len(page) == most or characters >= most_characters else end
            after = self._before_next(end, upto)
        return [], upto

    def _before_next(self, after: int, upto: int) -> int:
        """How far past `after` there is no event: where a backup was restored, that may be far (store.backup)."""
        found = self._value("SELECT min(seq) FROM event WHERE seq > ?", after)
        return upto if found is None else min(upto, found - 1)

    def lost_past(self, since: int) -> tuple[int, int] | None:
        """The numbers that a restore has lost, first and last, if a client that has heard all up to `since` has heard
        some of those. Who goes on from the last one knows.
        """
        return next((pair for pair in skipped(self._connection) if pair[0] <= since < pair[1]), None)

    def missed(self, account: int, after: int, upto: int) -> list[tuple[int, int]]:
        """How many lines others wrote, and files they sent, in each room of `account` in (after, upto]: (room, count).

        Of a long absence it counts some `MISSED_MOST` lines and no more.
        """
        return self._all(
            f"SELECT room, count(*) FROM (SELECT * FROM ({_HEARD}) WHERE kind IN {SPOKEN} AND author <> ?1 LIMIT ?4)"
            " GROUP BY room",
            account,
            after,
            upto,
            MISSED_MOST,
        )

    def history(
        self,
        account: int,
        room: int,
        most: int,
        *,
        before: int | None = None,
        since: int | None = None,
        until: int | None = None,
        after: int | None = None,
        words: str | None = None,
    ) -> list[Event]:
        """The newest `most` lines and files of `room` that `account` may hear, oldest first.

        `before`/`after` are seq, `since`/`until` are times in ms, `words` is text that must occur (in a file's name,
        too), case-insensitively for ASCII. With `after` the oldest lines past it instead.
        """
        order = "ASC" if after is not None else "DESC"
        inner = (
            "SELECT e.* FROM member m CROSS JOIN event e ON e.room = m.room AND e.seq >= m.since"
            " AND e.seq <= coalesce(m.until, 9223372036854775807) WHERE m.account = ?1 AND m.room = ?2"
            f" AND e.kind IN {SPOKEN} AND e.seq < ?3 AND e.seq > ?4 AND e.at >= ?5 AND e.at < ?6"
            " AND (?7 IS NULL OR instr(lower(e.text), lower(?7)) > 0"
            " OR (e.kind = 'file' AND instr(lower(e.data ->> 'name'), lower(?7)) > 0))"
            f" ORDER BY e.seq {order} LIMIT ?8"
        )
        return _events(
            self._value(
                f"SELECT {_EVENT} FROM (SELECT * FROM ({inner}) ORDER BY seq) e {_NAMED}",
                account,
                room,
                _most(before),
                after or 0,
                since or 0,
                _most(until),
                words,
                most,
            )
        )

    def stretch(
        self,
        account: int,
        room: int,
        most: int,
        *,
        newest: bool,
        seqs: tuple[int | None, int | None] = (None, None),
        times: tuple[int | None, int | None] = (None, None),
        kinds: Iterable[str] = ("say", "file"),
    ) -> list[Event]:
        """At most `most` events of `room` of these kinds that `account` may hear, oldest first: the `newest` ones, or
        the oldest. `seqs` and `times` (ms) are what they must lie between, the ends excluded.
        """
        inner = (
            "SELECT e.* FROM member m CROSS JOIN event e ON e.room = m.room AND e.seq >= m.since"
            " AND e.seq <= coalesce(m.until, 9223372036854775807) WHERE m.account = ?1 AND m.room = ?2"
            " AND e.kind IN (SELECT value FROM json_each(?3)) AND e.seq > ?4 AND e.seq < ?5 AND e.at > ?6 AND e.at < ?7"
            f" ORDER BY e.seq {'DESC' if newest else 'ASC'} LIMIT ?8"
        )
        return _events(
            self._value(
                f"SELECT {_EVENT} FROM (SELECT * FROM ({inner}) ORDER BY seq) e {_NAMED}",
                account,
                room,
                orjson.dumps(list(kinds)).decode(),
                -1 if seqs[0] is None else seqs[0],
                _most(seqs[1]),
                -1 if times[0] is None else times[0],
                _most(times[1]),
                most,
            )
        )

    def last_said(self, account: int) -> list[tuple[int, int, int]]:
        """When something was last said in each room of `account`, as far as it may hear it: (room, seq, time in ms)."""
        return self._all(
            "SELECT e.room, e.seq, e.at FROM member m CROSS JOIN event e ON e.seq = (SELECT max(s.seq) FROM event s"
            f" WHERE s.room = m.room AND s.seq >= m.since AND s.kind IN {SPOKEN})"
            " WHERE m.account = ? AND m.until IS NULL",
            account,
        )

    def by_mid(self, account: int, mid: str) -> tuple[int, int] | None:
        """The (seq, digest) of the event that `account` made under `mid`."""
        row = self._one("SELECT seq, digest FROM event WHERE author = ? AND mid = ?", account, mid)
        return None if row is None else (row[0], row[1])

    def cursor(self, account: int) -> int:
        """Up to where this person has been shown everything, by the faces that keep no cursor of their own."""
        return self._value("SELECT seen FROM account WHERE id = ?", account) or 0

    def seen_by_others(self, room: int, account: int) -> int:
        """Up to where every other member of this room has been shown everything; 0 where there is no other."""
        least = self._value(
            "SELECT min(a.seen) FROM member m JOIN account a ON a.id = m.account"
            " WHERE m.room = ? AND m.until IS NULL AND m.account <> ?",
            room,
            account,
        )
        return least or 0


def _most(value: int | None) -> int:
    return 9223372036854775807 if value is None else value


class LogWrites(LogReads):
    """What happens. Appended events are numbered at once and inserted together before the commit."""

    _next: int = 0

    def begin_log(self) -> None:
        """Learn the newest position; call once under the write lock."""
        self._next = LogReads.last_seq(self) + 1
        self._waiting: list[tuple[Value, ...]] = []
        self._mids: dict[tuple[int, str], tuple[int, int] | None] = {}
        self._mid: tuple[str, int] | None = None

    def last_seq(self) -> int:
        """The newest position, appended but not yet inserted events included."""
        return self._next - 1

    def under(self, mid: str | None, digest: int = 0) -> None:
        """The next event is the one that `mid` stands for."""
        self._mid = None if mid is None else (mid, digest)

    @property
    def standing(self) -> tuple[str, int] | None:
        """The mid, with its digest, that the next event would be known by; None: none."""
        return self._mid

    def append(
        self,
        kind: str,
        room: int,
        author: int,
        *,
        target: int = 0,
        text: str | None = None,
        data: Mapping[str, Any] | None = None,
        sealed: str | None = None,
        proof: str | None = None,
        aside: bool = False,
    ) -> int:
        """Add one event to the log; its seq. `aside`: another one, yet to come, is what the call's mid stands for."""
        seq = self._next
        self._next = seq + 1
        mid: str | None = None
        digest: int | None = None
        if self._mid is not None and not aside:
            mid, digest = self._mid
            self._mids[author, mid] = (seq, digest)
            self._mid = None
        self._waiting.append(
            (
                seq,
                self.now,
                kind,
                room,
                author,
                target or None,
                mid,
                digest,
                text,
                None if data is None else orjson.dumps(data).decode(),
                sealed,
                proof,
            )
        )
        return seq

    def mark(self) -> int:
        """Where the appended events stand now, for `undo`."""
        self._mid = None
        return len(self._waiting)

    def undo(self, mark: int) -> None:
        """Take back the events appended since `mark`."""
        for row in self._waiting[mark:]:
            if row[6] is not None:
                self._mids.pop((row[4], row[6]), None)  # type: ignore[arg-type]
        self._next -= len(self._waiting) - mark
        del self._waiting[mark:]

    def flush(self) -> None:
        """Insert what was appended."""
        rows = self._waiting
        start = 0
        for size in _CHUNKS:
            while len(rows) - start >= size:
                chunk = rows[start : start + size]
                self._connection.execute(_INSERT[size], [value for row in chunk for value in row])
                start += size
        rows.clear()

    def foresee_mids(self, pairs: Iterable[tuple[int, str]]) -> None:
        """Read in one step which of these (account, mid) are in the log, so that `by_mid` need not."""
        wanted = dict.fromkeys(pairs)
        if not wanted:
            return
        found = self._value(
            "SELECT json_group_array(json_array(e.author, e.mid, e.seq, e.digest)) FROM json_each(?) j"
            " CROSS JOIN event e ON e.author = j.value ->> 0 AND e.mid = j.value ->> 1 AND e.mid IS NOT NULL",
            orjson.dumps(list(wanted)).decode(),
        )
        self._mids.update(wanted)
        self._mids.update({(account, mid): (seq, digest) for account, mid, seq, digest in orjson.loads(found)})

    def by_mid(self, account: int, mid: str) -> tuple[int, int] | None:
        """The (seq, digest) of the event that `account` made under `mid`, in this transaction or before."""
        key = (account, mid)
        if key not in self._mids:
            self._mids[key] = LogReads.by_mid(self, account, mid)
        return self._mids[key]

    def save_cursors(self, cursors: Iterable[tuple[int, int]]) -> None:
        """Each (account, seq): this person has been shown everything up to there. A cursor never goes back."""
        self._many("UPDATE account SET seen = ?2 WHERE id = ?1 AND seen < ?2", list(cursors))
