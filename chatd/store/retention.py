"""What is not kept: bodies of events that are too old or too many in their room, and those of erased accounts.

The rule: a body is blanked; the row, its seq, its mid and its proof stay for ever. Looking for what is due reads beside
the writer; a turn under the write lock only blanks the few events that were found.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import orjson

from chatd.model import Bounds
from chatd.store.base import Base
from chatd.store.log import SPOKEN
from chatd.store.sqlite import overwriting

WINDOW: Final = 2_000
"""How many events are looked at in one step."""
WORDED: Final = "('say', 'file', 'left', 'closed', 'removed', 'banned', 'denied')"
"""Kinds with words of their author. A topic and a group's name are the group's."""


class Plan(NamedTuple):
    """A room, what its admins decided, and up to which seq it was carried out."""

    room: int
    own: Bounds
    upto: int


class Due(NamedTuple):
    """Events to be blanked, and the seq up to which nothing is due then; `more`: what comes after was not looked at."""

    seqs: list[int]
    upto: int
    more: bool


class RetentionReads(Base):
    """What is due."""

    def retention(self, room: int) -> Bounds:
        """What the admins of this room decided."""
        row = self._one("SELECT seconds, lines FROM retention WHERE room = ?", room)
        return Bounds() if row is None else Bounds(*row)

    def plans(self, after: int, most: int, *, all_rooms: bool) -> list[Plan]:
        """At most `most` rooms past the id `after` in which something may be due: those with own bounds, or all."""
        if all_rooms:
            rows = self._all(
                "SELECT r.id, k.seconds, k.lines, coalesce(k.upto, 0)"
                " FROM room r LEFT JOIN retention k ON k.room = r.id"
                " WHERE r.id > ? AND r.kind <> 'inbox' ORDER BY r.id LIMIT ?",
                after,
                most,
            )
        else:
            rows = self._all(
                "SELECT room, seconds, lines, upto FROM retention"
                " WHERE room > ? AND coalesce(seconds, lines) IS NOT NULL ORDER BY room LIMIT ?",
                after,
                most,
            )
        return [Plan(row[0], Bounds(row[1], row[2]), row[3]) for row in rows]

    def due(self, room: int, upto: int, bounds: Bounds) -> Due:
        """What is to be blanked in this room past `upto`, as far as one step looks."""
        oldest = 0 if bounds.seconds is None else self.steady - bounds.seconds * 1000
        first = 0
        if bounds.lines is not None:
            first = (
                self._value(
                    f"SELECT seq FROM event WHERE room = ? AND kind IN {SPOKEN} ORDER BY seq DESC LIMIT 1 OFFSET ?",
                    room,
                    bounds.lines - 1,
                )
                or 0
            )
        rows = self._all(
            f"SELECT seq, at, kind IN {SPOKEN} AND coalesce(text, data, sealed) IS NOT NULL FROM event"
            " WHERE room = ? AND seq > ? ORDER BY seq LIMIT ?",
            room,
            upto,
            WINDOW,
        )
        found: list[int] = []
        for seq, at, said in rows:
            if at >= oldest and seq >= first:
                return Due(found, upto, False)
            upto = seq
            if said:
                found.append(seq)
        return Due(found, upto, len(rows) == WINDOW)

    def erasures(self) -> list[tuple[int, int]]:
        """The accounts whose words are being blanked: (account, up to which seq none is left)."""
        return [(row[0], row[1]) for row in self._all("SELECT account, upto FROM erasure ORDER BY account")]

    def written_by(self, account: int, after: int) -> Due:
        """What this account wrote past `after`, as far as one step looks."""
        last = self._value("SELECT max(seq) FROM event") or 0
        first = self._value("SELECT min(seq) FROM event WHERE seq > ?", after) or last
        end = min(first + 5 * WINDOW, last)
        rows = self._all(
            "SELECT seq FROM event NOT INDEXED WHERE seq > ? AND seq <= ? AND author = ?"
            f" AND kind IN {WORDED} AND coalesce(text, sealed, iif(kind IN {SPOKEN}, data, NULL)) IS NOT NULL",
            after,
            end,
            account,
        )
        return Due([row[0] for row in rows], end, end < last)


class RetentionWrites(RetentionReads):
    """Carrying it out."""

    def set_retention(self, room: int, bounds: Bounds) -> None:
        """What the admins of this room decided."""
        self._run(
            "INSERT INTO retention (room, seconds, lines) VALUES (?1, ?2, ?3)"
            " ON CONFLICT (room) DO UPDATE SET seconds = ?2, lines = ?3",
            room,
            *bounds,
        )

    def retained(self, room: int, upto: int) -> None:
        """In this room nothing up to here is due any more."""
        self._run(
            "INSERT INTO retention (room, upto) VALUES (?1, ?2) ON CONFLICT (room) DO UPDATE SET upto = max(upto, ?2)",
            room,
            upto,
        )

    def blank(self, seqs: Iterable[int]) -> int:
        """Nothing of what was said in these events is kept; how many there were."""
        with overwriting(self._connection):
            return self._blank(orjson.dumps(list(seqs)).decode())

    def _blank(self, seqs: str) -> int:
        return self._run(
            f"UPDATE event SET text = NULL, sealed = NULL, data = iif(kind IN {SPOKEN}, NULL, data)"
            f" WHERE seq IN (SELECT value FROM json_each(?)) AND kind IN {WORDED}",
            seqs,
        )

    def erased(self, account: int, upto: int, *, done: bool) -> None:
        """Of this account no words are left up to here, or at all."""
        if done:
            self._run("DELETE FROM erasure WHERE account = ?", account)
        else:
            self._run("UPDATE erasure SET upto = ? WHERE account = ?", upto, account)
