"""What an operator asks and does: who there is, who may log in, how much there is of everything.

The rule: nothing here is asked for by people who chat.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from chatd.store.base import Base
from chatd.store.check import skipped

BYES: Final = 60_000
"""How long (ms) the name of a deleted account is kept, so that every instance can say who has left."""


class Person(NamedTuple):
    """An account as an operator sees it; times in ms. `disabled` None: it may log in."""

    id: int
    name: str
    kind: str
    created: int
    disabled: int | None
    groups: int
    logins: int
    online: bool


class AdminReads(Base):
    """How things stand."""

    def everybody(self) -> list[Person]:
        """All accounts that are not deleted, by name."""
        rows = self._all(
            "SELECT a.id, a.name, a.kind, a.created, a.disabled,"
            " (SELECT count(*) FROM member m JOIN room r ON r.id = m.room"
            "  WHERE m.account = a.id AND m.until IS NULL AND r.kind = 'group'),"
            " (SELECT count(*) FROM login l WHERE l.account = a.id),"
            " EXISTS (SELECT 1 FROM presence p WHERE p.account = a.id)"
            " FROM account a WHERE a.name IS NOT NULL ORDER BY a.name"
        )
        return [Person(*row)._replace(online=bool(row[7])) for row in rows]

    def event_count(self) -> int:
        """How many events there are: every number that was given, but for those that restores have left out."""
        given: int = self._value("SELECT seq FROM sqlite_sequence WHERE name = 'event'") or 0
        return given - sum(last - first + 1 for first, last in skipped(self._connection))

    def figures(self) -> dict[str, int]:
        """How much there is: users, groups, events and the newest seq, and bytes of the database."""
        pages = self._value("PRAGMA page_count") * self._value("PRAGMA page_size")
        return {
            "users": self._value("SELECT count(*) FROM account WHERE name IS NOT NULL"),
            "groups": self._value("SELECT count(*) FROM room WHERE name IS NOT NULL"),
            "seq": self._value("SELECT seq FROM sqlite_sequence WHERE name = 'event'") or 0,
            "events": self.event_count(),
            "bytes": pages,
            "schema": self._value("PRAGMA user_version"),
        }


class AdminWrites(AdminReads):
    """What an operator changes."""

    def set_disabled(self, account: int, disabled: bool) -> bool:
        """Whether this account may log in from now on; whether that is another answer than before."""
        at = self.now if disabled else None
        return (
            self._run(
                "UPDATE account SET disabled = ?1 WHERE id = ?2 AND (disabled IS NULL) = (?1 IS NOT NULL)", at, account
            )
            > 0
        )

    def say_farewell(self, account: int) -> None:
        """Keep the name of an account that is about to be deleted for a minute."""
        self._run(
            "INSERT OR REPLACE INTO farewell SELECT id, name, ?2 FROM account WHERE id = ?1 AND name IS NOT NULL",
            account,
            self.now,
        )

    def forget_farewells(self, *, all: bool = False) -> int:  # noqa: A002 - the word for it
        """Forget the names whose minute is over, or all; how many."""
        return self._run("DELETE FROM farewell WHERE at <= ?", self.now if all else self.now - BYES)

    def believe(self) -> None:
        """Keep what time it is as far as the clock is believed, for the next start (see migrate.last_moment)."""
        self._run("INSERT OR REPLACE INTO meta VALUES ('believed', ?)", str(self.steady))
