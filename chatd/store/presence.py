"""Which instances serve, and who is connected to them.

The rule: an instance is alive while its heartbeat is fresh; somebody is online while a live instance says so. None of
this is in the log.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import orjson

from chatd.store.base import Base

FRESH: Final = 4_000
"""How old a heartbeat may be (ms) before its instance counts as gone. It beats once a second."""

_AHEAD: Final = 2 * FRESH
"""A heartbeat from the future is none, either: the clock was set back; who lives beats again within a second."""
_ALIVE: Final = f"(SELECT node FROM instance WHERE beat > ?1 AND beat < ?1 + {_AHEAD})"
_DEAD: Final = f"(beat <= ?1 OR beat >= ?1 + {_AHEAD})"
_SEEN: Final = (
    "SELECT m.room, a.id, a.name, coalesce(a.away, ''),"
    f" EXISTS (SELECT 1 FROM presence p WHERE p.account = a.id AND p.node IN {_ALIVE})"
)


class Seen(NamedTuple):
    """Somebody in a room, as the others there see them. `away`: what they say about it, or ""."""

    room: int
    account: int
    name: str
    away: str
    online: bool


class PresenceReads(Base):
    """Who is there now."""

    def nodes(self) -> list[int]:
        """The numbers of the live instances."""
        return [row[0] for row in self._all(f"{_ALIVE[1:-1]} ORDER BY node", self.now - FRESH)]

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
        found = self._value(
            "SELECT json_array((SELECT json_group_array(name) FROM (SELECT DISTINCT a.name AS name FROM presence p"
            f" JOIN account a ON a.id = p.account WHERE p.node IN {_ALIVE} AND a.name IS NOT NULL LIMIT ?2)),"
            " (SELECT json_group_array(name) FROM"
            " (SELECT name FROM account WHERE name IS NOT NULL ORDER BY name LIMIT ?2)))",
            self.now - FRESH,
            most,
        )
        here, some = orjson.loads(found)
        online = set(here)
        offline = [name for name in some if name not in online]
        return sorted([(name, True) for name in online] + [(name, False) for name in offline[: most - len(online)]])

    def seen(self, accounts: Iterable[int], rooms: Iterable[int], most: int) -> list[Seen]:
        """How these accounts are seen in those of their rooms that are among `rooms` and have at most `most` people."""
        rows = self._all(
            "WITH mine AS (SELECT m.room, m.account FROM json_each(?2) j CROSS JOIN member m ON m.account = j.value"
            " AND m.until IS NULL WHERE m.room IN (SELECT value FROM json_each(?3))),"
            " small AS (SELECT d.room FROM (SELECT DISTINCT room FROM mine) d WHERE"
            " (SELECT count(*) FROM member c WHERE c.room = d.room AND c.until IS NULL) <= ?4)"
            f" {_SEEN} FROM mine m JOIN account a ON a.id = m.account"
            " WHERE a.name IS NOT NULL AND m.room IN (SELECT room FROM small) ORDER BY m.room, a.name",
            self.now - FRESH,
            orjson.dumps(list(accounts)).decode(),
            orjson.dumps(list(rooms)).decode(),
            most,
        )
        return [Seen(room, who, name, away, bool(online)) for room, who, name, away, online in rows]

    def around(self, account: int, most: int) -> dict[int, list[Seen]]:
        """The rooms of this account that have at most `most` people, and those who are connected there."""
        rooms = [
            row[0]
            for row in self._all(
                "SELECT m.room FROM member m JOIN room r ON r.id = m.room AND r.kind <> 'inbox' WHERE m.account = ?1"
                " AND m.until IS NULL"
                " AND (SELECT count(*) FROM member c WHERE c.room = m.room AND c.until IS NULL) <= ?2 ORDER BY m.room",
                account,
                most,
            )
        ]
        found: dict[int, list[Seen]] = {room: [] for room in rooms}
        for room, who, name, away, online in self._all(
            f"{_SEEN} FROM json_each(?2) j CROSS JOIN member m ON m.room = j.value AND m.until IS NULL"
            " JOIN account a ON a.id = m.account WHERE a.name IS NOT NULL ORDER BY m.room, a.name",
            self.now - FRESH,
            orjson.dumps(rooms).decode(),
        ):
            if online:
                found[room].append(Seen(room, who, name, away, True))
        return found

    def how_are(self, names: Iterable[str]) -> list[tuple[str, int, str]]:
        """Of these folded names those that somebody has: (name, account, `online` or `offline`)."""
        return [
            (name, account, "online" if online else "offline")
            for name, account, online in self._all(
                "SELECT a.name, a.id, EXISTS (SELECT 1 FROM presence p WHERE p.account = a.id"
                f" AND p.node IN {_ALIVE}) FROM json_each(?2) j CROSS JOIN account a ON a.name = j.value"
                " ORDER BY a.name",
                self.now - FRESH,
                orjson.dumps(list(names)).decode(),
            )
        ]

    def like(self, account: int, mask: str, most: int) -> list[tuple[str, int, str | None, bool]]:
        """Those who share a room with this account and whose names are like `mask` (`*`: anything, `?`: one character):
        (name, account, what they say about being away, connected), at most `most`.
        """
        rows = self._all(
            "SELECT a.name, a.id, a.away,"
            f" EXISTS (SELECT 1 FROM presence p WHERE p.account = a.id AND p.node IN {_ALIVE})"
            " FROM account a WHERE a.id IN (SELECT o.account FROM member m CROSS JOIN member o ON o.room = m.room"
            " AND o.until IS NULL WHERE m.account = ?2 AND m.until IS NULL) AND a.name GLOB ?3"
            " ORDER BY a.name LIMIT ?4",
            self.now - FRESH,
            account,
            mask.replace("[", "[[]"),
            most,
        )
        return [(name, who, away, bool(online)) for name, who, away, online in rows]

    def who_are(self, accounts: Iterable[int]) -> list[tuple[str, int, bool]]:
        """How these accounts are called ("": not any more), and whether they are connected."""
        return [
            (name, account, bool(online))
            for name, account, online in self._all(
                "SELECT coalesce(a.name, ''), a.id, EXISTS (SELECT 1 FROM presence p WHERE p.account = a.id"
                f" AND p.node IN {_ALIVE}) FROM json_each(?2) j CROSS JOIN account a ON a.id = j.value ORDER BY a.id",
                self.now - FRESH,
                orjson.dumps(list(accounts)).decode(),
            )
        ]

    def marker(self, account: int, room: int) -> int:
        """Up to which time (ms) this account has read this room, as its devices say; 0: they have not said."""
        return self._value("SELECT at FROM marker WHERE account = ? AND room = ?", account, room) or 0

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

    def bury(self) -> list[int]:
        """Forget the instances whose heartbeat is old; the accounts that were connected to them."""
        if self._one(f"SELECT 1 FROM instance WHERE {_DEAD}", self.now - FRESH) is None:
            return []
        gone = self._all(
            f"SELECT DISTINCT account FROM presence WHERE node IN (SELECT node FROM instance WHERE {_DEAD})",
            self.now - FRESH,
        )
        self._run(f"DELETE FROM instance WHERE {_DEAD}", self.now - FRESH)
        return [row[0] for row in gone]

    def leave(self, node: int, boot: str) -> list[int]:
        """This instance stops; the accounts that were still connected to it."""
        gone = self._all(
            "SELECT account FROM presence WHERE node IN (SELECT node FROM instance WHERE node = ? AND boot = ?)",
            node,
            boot,
        )
        self._run("DELETE FROM instance WHERE node = ? AND boot = ?", node, boot)
        return [row[0] for row in gone]

    def come(self, node: int, accounts: Iterable[int]) -> None:
        """These accounts are connected to this instance."""
        self._many("INSERT OR IGNORE INTO presence VALUES (?, ?)", [(node, account) for account in accounts])

    def go(self, node: int, accounts: Iterable[int]) -> None:
        """These accounts have no connection to this instance any more."""
        self._many("DELETE FROM presence WHERE node = ? AND account = ?", [(node, account) for account in accounts])

    def set_marker(self, account: int, room: int, at: int) -> None:
        """This account has read this room up to this time (ms)."""
        self._run("INSERT OR REPLACE INTO marker VALUES (?, ?, ?)", account, room, at)
