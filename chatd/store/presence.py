"""Which instances serve, and who is connected to them.

The rule: an instance is alive while its heartbeat is fresh; somebody is online while a live instance says so. None of
this is in the log.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from chatd.store.base import Base

FRESH: Final = 4_000
"""How old a heartbeat may be (ms) before its instance counts as gone. It beats once a second."""

_ALIVE: Final = "(SELECT node FROM instance WHERE beat > ?1)"


class PresenceReads(Base):
    """Who is there now."""

    def nodes(self) -> list[int]:
        """The numbers of the live instances."""
        return [row[0] for row in self._all("SELECT node FROM instance WHERE beat > ? ORDER BY node", self.now - FRESH)]

    def online(self, room: int) -> set[int]:
        """The accounts of this room that are connected anywhere."""
        rows = self._all(
            "SELECT p.account FROM presence p JOIN member m ON m.account = p.account AND m.room = ?2"
            f" AND m.until IS NULL WHERE p.node IN {_ALIVE}",
            self.now - FRESH,
            room,
        )
        return {row[0] for row in rows}

    def is_online(self, account: int) -> bool:
        """Whether this account is connected anywhere."""
        return (
            self._one(f"SELECT 1 FROM presence WHERE account = ?2 AND node IN {_ALIVE}", self.now - FRESH, account)
            is not None
        )

    def people(self, most: int) -> list[tuple[str, bool]]:
        """Everybody by name and whether connected, those who are first where there are more than `most`."""
        rows = self._all(
            "SELECT DISTINCT a.name FROM presence p JOIN account a ON a.id = p.account"
            f" WHERE p.node IN {_ALIVE} AND a.name IS NOT NULL LIMIT ?2",
            self.now - FRESH,
            most,
        )
        online = {row[0] for row in rows}
        some = self._all("SELECT name FROM account WHERE name IS NOT NULL ORDER BY name LIMIT ?", most)
        offline = [row[0] for row in some if row[0] not in online]
        return sorted([(name, True) for name in online] + [(name, False) for name in offline[: most - len(online)]])

    def online_count(self) -> int:
        """How many accounts are connected."""
        count: int = self._value(
            f"SELECT count(DISTINCT account) FROM presence WHERE node IN {_ALIVE}", self.now - FRESH
        )
        return count


class PresenceWrites(PresenceReads):
    """Who comes and goes."""

    def beat(self, node: int, boot: str) -> bool:
        """This instance is alive; False: it was taken for gone (or is new), and must say anew who is connected."""
        known = self._run("UPDATE instance SET beat = ? WHERE node = ? AND boot = ?", self.now, node, boot)
        if known:
            return True
        self._run("DELETE FROM instance WHERE node = ?", node)
        self._run("INSERT INTO instance VALUES (?, ?, ?)", node, boot, self.now)
        return False

    def bury(self) -> int:
        """Forget the instances whose heartbeat is old, and who was connected to them; how many."""
        return self._run("DELETE FROM instance WHERE beat <= ?", self.now - FRESH)

    def leave(self, node: int, boot: str) -> None:
        """This instance stops."""
        self._run("DELETE FROM instance WHERE node = ? AND boot = ?", node, boot)

    def come(self, node: int, accounts: Iterable[int]) -> None:
        """These accounts are connected to this instance."""
        self._many("INSERT OR IGNORE INTO presence VALUES (?, ?)", [(node, account) for account in accounts])

    def go(self, node: int, accounts: Iterable[int]) -> None:
        """These accounts have no connection to this instance any more."""
        self._many("DELETE FROM presence WHERE node = ? AND account = ?", [(node, account) for account in accounts])
