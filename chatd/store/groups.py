"""Rooms, members, join requests and bans.

The rule: a membership changes only together with the event that says so, whose seq is the membership's end or
beginning.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import orjson

from chatd.model import DELETED, Account, Door, Kind, Role, Room
from chatd.store.base import Base

_ROOM: Final = "r.id, r.kind, r.name, r.sealed, r.door"


class Member(NamedTuple):
    """Somebody in a room. `ranked` is the seq at which the role was got."""

    account: Account
    role: Role
    ranked: int


class Request(NamedTuple):
    """Somebody who asks to join; `at` in ms. `key`: the asker's account key, in a sealed group."""

    account: Account
    at: int
    key: str | None = None


class GroupReads(Base):
    """Who is where."""

    def group(self, name: str) -> Room | None:
        """The open group of this folded name, without a role."""
        row = self._one(f"SELECT {_ROOM} FROM room r WHERE r.name = ?", name)
        return None if row is None else Room(row[0], Kind(row[1]), row[2], bool(row[3]), Role.NONE, Door(row[4]))

    def room(self, room: int, viewer: int) -> Room | None:
        """The room of this id as `viewer` sees it: its name and the viewer's role in it."""
        row = self._one(
            f"SELECT {_ROOM}, coalesce(m.role, 0), o.name FROM room r"
            " LEFT JOIN member m ON m.room = r.id AND m.account = ?2 AND m.until IS NULL"
            " LEFT JOIN member om ON r.kind = 'direct' AND om.room = r.id AND om.account <> ?2 AND om.until IS NULL"
            " LEFT JOIN account o ON o.id = om.account WHERE r.id = ?1",
            room,
            viewer,
        )
        return None if row is None else _seen(row)

    def rooms_of(self, account: int) -> list[Room]:
        """The rooms this account is in, groups by name first, then direct conversations; the inbox comes last."""
        rows = self._all(
            f"SELECT {_ROOM}, m.role, o.name FROM member m JOIN room r ON r.id = m.room"
            " LEFT JOIN member om ON r.kind = 'direct' AND om.room = r.id AND om.account <> ?1 AND om.until IS NULL"
            " LEFT JOIN account o ON o.id = om.account WHERE m.account = ?1 AND m.until IS NULL"
            " ORDER BY r.kind = 'inbox', r.kind = 'direct', r.name, o.name",
            account,
        )
        return [_seen(row) for row in rows]

    def role(self, room: int, account: int) -> Role:
        """What this account is in the room now."""
        return Role(
            self._value("SELECT role FROM member WHERE account = ? AND room = ? AND until IS NULL", account, room) or 0
        )

    def was_in(self, room: int, account: int) -> bool:
        """Whether this account has ever been in the room."""
        return self._one("SELECT 1 FROM member WHERE room = ? AND account = ?", room, account) is not None

    def members(self, room: int, least: Role = Role.MEMBER) -> list[Member]:
        """Who is in the room now as that or more, the owner first, then admins, then members, each by name."""
        rows = self._all(
            "SELECT m.account, a.name, m.role, m.ranked FROM member m JOIN account a ON a.id = m.account"
            " WHERE m.room = ? AND m.until IS NULL AND m.role >= ? ORDER BY m.role DESC, a.name",
            room,
            least,
        )
        return [Member(Account(row[0], row[1] or ""), Role(row[2]), row[3]) for row in rows]

    def admins(self, room: int) -> list[Member]:
        """The owner and the admins of the room."""
        return self.members(room, Role.ADMIN)

    def member_count(self, room: int) -> int:
        """How many are in the room now."""
        count: int = self._value("SELECT count(*) FROM member WHERE room = ? AND until IS NULL", room)
        return count

    def group_count(self, account: int) -> int:
        """How many groups this account is in."""
        count: int = self._value(
            "SELECT count(*) FROM member m JOIN room r ON r.id = m.room"
            " WHERE m.account = ? AND m.until IS NULL AND r.kind = 'group'",
            account,
        )
        return count

    def heir(self, room: int) -> Member | None:
        """Who inherits when the owner's account goes: the longest-serving admin, else the longest-serving member."""
        row = self._one(
            "SELECT m.account, a.name, m.role, m.ranked FROM member m JOIN account a ON a.id = m.account"
            " WHERE m.room = ? AND m.until IS NULL AND m.role < 3 ORDER BY m.role DESC, m.ranked LIMIT 1",
            room,
        )
        return None if row is None else Member(Account(row[0], row[1]), Role(row[2]), row[3])

    def away_in(self, room: int) -> dict[int, str]:
        """Who of this room says to be away, and what."""
        rows = self._all(
            "SELECT a.id, a.away FROM member m JOIN account a ON a.id = m.account"
            " WHERE m.room = ? AND m.until IS NULL AND a.away IS NOT NULL",
            room,
        )
        return {row[0]: row[1] for row in rows}

    def directory(self, account: int, most: int) -> list[tuple[str, int, str, Door]]:
        """Groups that this account is in, may enter, or ask to: (name, members, topic, door), by name."""
        rows = self._all(
            "SELECT r.name, (SELECT count(*) FROM member m WHERE m.room = r.id AND m.until IS NULL), r.topic, r.door"
            " FROM room r WHERE r.name IS NOT NULL AND (r.door <> 'invite' OR EXISTS (SELECT 1 FROM member m"
            " WHERE m.room = r.id AND m.account = ?1 AND m.until IS NULL)) ORDER BY r.name LIMIT ?2",
            account,
            most,
        )
        return [(row[0], row[1], row[2], Door(row[3])) for row in rows]

    def open_groups(self) -> int:
        """How many groups there are."""
        count: int = self._value("SELECT count(*) FROM room WHERE name IS NOT NULL")
        return count

    def topic(self, room: int) -> str:
        """The room's topic, or ""."""
        topic: str = self._value("SELECT topic FROM room WHERE id = ?", room)
        return topic

    def requests(self, room: int) -> list[Request]:
        """Who waits to be let in, the first asker first."""
        rows = self._all(
            "SELECT q.account, a.name, q.at, q.key FROM request q JOIN account a ON a.id = q.account"
            " WHERE q.room = ? ORDER BY q.at, q.account",
            room,
        )
        return [Request(Account(row[0], row[1]), row[2], row[3]) for row in rows]

    def requests_to(self, account: int) -> list[tuple[Room, Request]]:
        """The requests that this account may answer, in all its groups."""
        rows = self._all(
            f"SELECT {_ROOM}, m.role, NULL, q.account, a.name, q.at, q.key FROM member m JOIN room r ON r.id = m.room"
            " JOIN request q ON q.room = m.room JOIN account a ON a.id = q.account"
            " WHERE m.account = ? AND m.until IS NULL AND m.role >= 2 ORDER BY q.at",
            account,
        )
        return [(_seen(row), Request(Account(row[7], row[8]), row[9], row[10])) for row in rows]

    def requested(self, room: int, account: int) -> int | None:
        """When this account asked to join (ms), if it did and waits."""
        at: int | None = self._value("SELECT at FROM request WHERE room = ? AND account = ?", room, account)
        return at

    def banned(self, room: int, account: int) -> bool:
        """Whether this account is kept out."""
        return self._one("SELECT 1 FROM ban WHERE room = ? AND account = ?", room, account) is not None

    def bans(self, room: int) -> list[tuple[Account, str, str]]:
        """Who is kept out: (who, by whom, why)."""
        rows = self._all(
            "SELECT b.account, a.name, coalesce(y.name, ''), b.why FROM ban b JOIN account a ON a.id = b.account"
            " JOIN account y ON y.id = b.author WHERE b.room = ? ORDER BY a.name",
            room,
        )
        return [(Account(row[0], row[1]), row[2], row[3]) for row in rows]

    def direct(self, one: int, other: int, sealed: bool) -> int | None:
        """The room of these two, if they ever talked this way."""
        room: int | None = self._value("SELECT id FROM room WHERE pair = ?", _pair(one, other, sealed))
        return room

    def other_groups(self, account: int, most: int) -> list[str]:
        """Up to `most` names of groups that this account is not in and may enter or ask to."""
        rows = self._all(
            "SELECT r.name FROM room r WHERE r.name IS NOT NULL AND r.door <> 'invite' AND NOT EXISTS (SELECT 1"
            " FROM member m WHERE m.room = r.id AND m.account = ? AND m.until IS NULL) ORDER BY r.name LIMIT ?",
            account,
            most,
        )
        return [row[0] for row in rows]

    def group_names(self) -> list[str]:
        """Up to 2,000 group names, for "did you mean"."""
        return [row[0] for row in self._all("SELECT name FROM room WHERE name IS NOT NULL LIMIT 2000")]


def _seen(row: tuple[object, ...]) -> Room:
    room, kind, name, sealed, door, role, other = row[:7]
    match kind:
        case "direct":
            label = f"@{other or DELETED}"
        case "inbox":
            label = ""
        case _:
            label = str(name or "")
    return Room(int(room), Kind(str(kind)), label, bool(sealed), Role(int(role)), Door(str(door)))  # type: ignore[call-overload]


def _pair(one: int, other: int, sealed: bool) -> str:
    return f"{min(one, other)}:{max(one, other)}:{'sealed' if sealed else 'open'}"


class GroupWrites(GroupReads):
    """What changes in rooms. Roles and names are remembered for the transaction and forgotten at any change."""

    def begin_groups(self) -> None:
        """Call once under the write lock."""
        self._roles: dict[tuple[int, int], Role] = {}
        self._groups: dict[str, Room | None] = {}
        self._rooms: dict[int, Room] = {}

    def role(self, room: int, account: int) -> Role:
        """What this account is in the room now."""
        key = (room, account)
        role = self._roles.get(key)
        if role is None:
            role = self._roles[key] = GroupReads.role(self, room, account)
        return role

    def room(self, room: int, viewer: int) -> Room | None:
        """The room of this id as `viewer` sees it: its name and the viewer's role in it."""
        group = self._rooms.get(room)
        if group is None:
            found = GroupReads.room(self, room, viewer)
            if found is None or found.kind is not Kind.GROUP:
                return found
            group = self._rooms[room] = found
        return group._replace(role=self.role(room, viewer))

    def group(self, name: str) -> Room | None:
        """The open group of this folded name, without a role."""
        if name not in self._groups:
            self._groups[name] = GroupReads.group(self, name)
        return self._groups[name]

    def foresee_roles(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Read in one step the roles of these (room, account), so that `role` need not."""
        wanted = dict.fromkeys(pairs, Role.NONE)
        if not wanted:
            return
        found = self._value(
            "SELECT json_group_array(json_array(m.room, m.account, m.role)) FROM json_each(?) j CROSS JOIN member m"
            " ON m.room = j.value ->> 0 AND m.account = j.value ->> 1 AND m.until IS NULL",
            orjson.dumps(list(wanted)).decode(),
        )
        wanted.update({(room, account): Role(role) for room, account, role in orjson.loads(found)})
        self._roles.update(wanted)

    def forget(self) -> None:
        """Read roles and rooms anew: something changed, or was taken back."""
        self._roles.clear()
        self._groups.clear()
        self._rooms.clear()

    def add_room(
        self, kind: Kind, *, name: str | None = None, pair: str | None = None, sealed: bool = False, door: str = "ask"
    ) -> int:
        """A new room, without members; its id."""
        self.forget()
        return self._insert(
            "INSERT INTO room (kind, name, pair, sealed, door, created) VALUES (?, ?, ?, ?, ?, ?)",
            kind,
            name,
            pair,
            sealed,
            door,
            self.now,
        )

    def add_direct(self, one: int, other: int, sealed: bool) -> int:
        """The room of these two, without members; its id."""
        return self.add_room(Kind.DIRECT, pair=_pair(one, other, sealed), sealed=sealed, door="invite")

    def add_member(self, room: int, account: int, role: Role, seq: int) -> None:
        """In from event `seq` on; a waiting request is done."""
        self._run("INSERT INTO member VALUES (?, ?, ?, NULL, ?, ?)", room, account, seq, role, seq)
        self.drop_request(room, account)
        self.forget()

    def end_member(self, room: int, account: int, seq: int) -> None:
        """Out after event `seq`."""
        self._run("UPDATE member SET until = ? WHERE account = ? AND room = ? AND until IS NULL", seq, account, room)
        self.forget()

    def set_role(self, room: int, account: int, role: Role, seq: int) -> None:
        """Another role from event `seq` on."""
        self._run(
            "UPDATE member SET role = ?, ranked = ? WHERE account = ? AND room = ? AND until IS NULL",
            role,
            seq,
            account,
            room,
        )
        self.forget()

    def close_group(self, room: int) -> None:
        """Nobody is left: the name is free again and nobody waits any more."""
        self._run("UPDATE room SET name = NULL, closed = ? WHERE id = ?", self.now, room)
        self._run("DELETE FROM request WHERE room = ?", room)
        self.forget()

    def set_topic(self, room: int, topic: str) -> None:
        """What the group is about."""
        self._run("UPDATE room SET topic = ? WHERE id = ?", topic, room)

    def set_name(self, room: int, name: str) -> None:
        """Another name for the group."""
        self._run("UPDATE room SET name = ? WHERE id = ?", name, room)
        self.forget()

    def set_door(self, room: int, door: Door) -> None:
        """Who may enter from now on."""
        self._run("UPDATE room SET door = ? WHERE id = ?", door, room)
        self.forget()

    def add_request(self, room: int, account: int, key: str | None = None) -> None:
        """This account asks to be let in."""
        self._run("INSERT INTO request VALUES (?, ?, ?, ?)", room, account, self.now, key)

    def drop_request(self, room: int, account: int) -> bool:
        """The request is answered, or taken back; whether there was one."""
        return self._run("DELETE FROM request WHERE room = ? AND account = ?", room, account) > 0

    def add_ban(self, room: int, account: int, author: int, why: str) -> None:
        """Keep this account out."""
        self._run("INSERT INTO ban VALUES (?, ?, ?, ?, ?)", room, account, author, self.now, why)
        self.drop_request(room, account)

    def drop_ban(self, room: int, account: int) -> bool:
        """Let it in again; whether it was kept out."""
        return self._run("DELETE FROM ban WHERE room = ? AND account = ?", room, account) > 0
