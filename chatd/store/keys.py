"""Keys, sealed rooms' logs, and the envelopes of sealed messages (E2E.md §2).

The rule: what is base64 is kept and handed on as it came. Envelopes are numbered under the write lock, like events, and
inserted together with them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, NamedTuple

import orjson

from chatd.model import Account, Envelope
from chatd.store.base import Base, Value
from chatd.store.groups import GroupWrites
from chatd.store.log import LogWrites

_DAY: Final = 86_400_000
_CHUNKS: Final = (64, 16, 4, 1)
_INSERT: Final = {n: "INSERT INTO envelope VALUES " + ",".join(["(?,?,?,?,?,?)"] * n) for n in _CHUNKS}
_ENVELOPE: Final = (
    "SELECT json_group_array(json_array(id, device, seq, room, author, name, sender, at, body)) FROM (SELECT e.id,"
    " e.device, e.seq, (SELECT v.room FROM event v WHERE v.seq = e.seq) AS room, s.account AS author, a.name,"
    " s.name AS sender, e.at, e.body FROM envelope e JOIN device s ON s.id = e.sender"
    " JOIN account a ON a.id = s.account"
)


class Manifest(NamedTuple):
    """An account's list of devices, as it was published; `at` in ms."""

    account: int
    seq: int
    hash: str
    key: str
    generation: int
    body: str
    at: int


class Chain(NamedTuple):
    """Where a sealed group's log stands: its first entry's hash, the newest one's, how many there are."""

    origin: str
    head: str
    entries: int


class Mail(NamedTuple):
    """What there is of envelopes in (after, upto], for these devices."""

    after: int
    upto: int
    envelopes: list[Envelope]
    devices: frozenset[int]


class Logged(NamedTuple):
    """One entry of a group's log, and the event that it stands in."""

    seq: int
    by: int
    kind: str
    proof: str
    at: int


def _json(values: Iterable[Value]) -> str:
    return orjson.dumps(list(values)).decode()


def _envelopes(value: str) -> list[Envelope]:
    return [Envelope._make(row) for row in orjson.loads(value)]


class KeyReads(Base):
    """Who has which keys."""

    def newest_manifest(self, account: int) -> Manifest | None:
        """The newest manifest of this account, if it ever had one."""
        row = self._one("SELECT * FROM manifest WHERE account = ? ORDER BY seq DESC LIMIT 1", account)
        return None if row is None else Manifest._make(row)

    def manifests(self, account: int, after: int, most: int) -> list[Manifest]:
        """The manifests of this account past `after`, oldest first."""
        rows = self._all(
            "SELECT * FROM manifest WHERE account = ? AND seq > ? ORDER BY seq LIMIT ?", account, after, most
        )
        return [Manifest._make(row) for row in rows]

    def device(self, account: int, name: str) -> int | None:
        """The device of this account and name, unless revoked."""
        found: int | None = self._value(
            "SELECT id FROM device WHERE name = ? AND account = ? AND revoked IS NULL", name, account
        )
        return found

    def device_key(self, device: int) -> str | None:
        """The key that this device signs with; None: it is revoked."""
        key: str | None = self._value("SELECT key FROM device WHERE id = ? AND revoked IS NULL", device)
        return key

    def owner_of(self, device: str) -> tuple[int, bool] | None:
        """Whose device this is or was, and whether it was revoked."""
        row = self._one("SELECT account, revoked IS NOT NULL FROM device WHERE name = ?", device)
        return None if row is None else (row[0], bool(row[1]))

    def devices_of(self, account: int) -> dict[str, int]:
        """The devices of this account."""
        return dict(self._all("SELECT name, id FROM device WHERE account = ? AND revoked IS NULL ORDER BY id", account))

    def devices_in(self, room: int) -> dict[str, int]:
        """The devices of everybody who is in this room now, by name."""
        found = self._value(
            "SELECT json_group_object(d.name, d.id) FROM member m CROSS JOIN device d ON d.account = m.account"
            " AND d.revoked IS NULL WHERE m.room = ? AND m.until IS NULL",
            room,
        )
        devices: dict[str, int] = orjson.loads(found)
        return devices

    def keyring(self, room: int) -> dict[int, tuple[int, str, list[str]]]:
        """Of everybody in this room who ever had keys: the newest manifest's number and hash, and the devices."""
        found = self._value(
            "SELECT json_group_array(json_array(n.account, n.seq, n.hash, json((SELECT json_group_array(d.name)"
            " FROM device d WHERE d.account = m.account AND d.revoked IS NULL))))"
            " FROM member m JOIN manifest n ON n.account = m.account AND n.seq = (SELECT max(x.seq) FROM manifest x"
            " WHERE x.account = m.account) WHERE m.room = ? AND m.until IS NULL",
            room,
        )
        return {account: (seq, digest, devices) for account, seq, digest, devices in orjson.loads(found)}

    def crowded(self, account: int, most: int) -> str | None:
        """A sealed group of this account with more devices in it than this."""
        name: str | None = self._value(
            "SELECT r.name FROM member m JOIN room r ON r.id = m.room AND r.sealed AND r.kind = 'group'"
            " WHERE m.account = ?1 AND m.until IS NULL AND (SELECT count(*) FROM member o JOIN device d"
            " ON d.account = o.account AND d.revoked IS NULL WHERE o.room = m.room AND o.until IS NULL) > ?2 LIMIT 1",
            account,
            most,
        )
        return name

    def stock(self, device: int) -> tuple[int, int, int]:
        """How many one-time keys of this device there are, the highest id ever seen, and the fallback's id."""
        row = self._one(
            "SELECT (SELECT count(*) FROM prekey p WHERE p.device = d.id), d.newest, d.spare FROM device d"
            " WHERE d.id = ?",
            device,
        )
        return (0, 0, 0) if row is None else (row[0], row[1], row[2])

    def acquainted(self, one: int, other: int) -> bool:
        """Whether these two share a room, or one has asked to join a group that the other may let people into."""
        return (
            self._one(
                "SELECT 1 FROM member a JOIN member b ON b.room = a.room AND b.account = ?2 AND b.until IS NULL"
                " WHERE a.account = ?1 AND a.until IS NULL UNION ALL"
                " SELECT 1 FROM request q JOIN member m ON m.room = q.room AND m.until IS NULL AND m.role >= 2"
                " WHERE (q.account = ?1 AND m.account = ?2) OR (q.account = ?2 AND m.account = ?1) LIMIT 1",
                one,
                other,
            )
            is not None
        )

    def vault(self, account: int) -> tuple[str, int] | None:
        """The account's sealed keys, and when they were kept (ms)."""
        row = self._one("SELECT body, at FROM vault WHERE account = ?", account)
        return None if row is None else (row[0], row[1])

    def linkings(self, account: int, since: int) -> list[tuple[str, str, int]]:
        """The devices that asked since then (ms) to become this account's: (id, entry, when)."""
        rows = self._all(
            "SELECT device, entry, at FROM linking WHERE account = ? AND at > ? ORDER BY at", account, since
        )
        return [(row[0], row[1], row[2]) for row in rows]

    def unfetched(self, days: int, most: int) -> bool:
        """Whether there is anything for `drop_unfetched` to drop."""
        found: int = self._value(
            "SELECT EXISTS (SELECT 1 FROM linking WHERE at < ?) OR EXISTS (SELECT 1 FROM (SELECT at FROM envelope"
            " ORDER BY id LIMIT ?) WHERE at < ?)",
            self.steady - _DAY,
            most,
            self.steady - days * _DAY,
        )
        return bool(found)

    # -- a sealed group's log -----------------------------------------------------------------------------------------

    def chain(self, room: int) -> Chain | None:
        """Where this group's log stands; None: it has none."""
        row = self._one("SELECT origin, head, entries FROM room WHERE id = ? AND origin IS NOT NULL", room)
        return None if row is None else Chain(row[0], row[1], row[2])

    def room_log(self, room: int, after: int, most: int) -> list[Logged]:
        """The entries of this group's log past the first `after`."""
        rows = self._all(
            "SELECT seq, author, kind, proof, at FROM event WHERE room = ? AND proof IS NOT NULL ORDER BY seq"
            " LIMIT ? OFFSET ?",
            room,
            most,
            after,
        )
        return [Logged._make(row) for row in rows]

    # -- envelopes ----------------------------------------------------------------------------------------------------

    def last_envelope(self) -> int:
        """The newest envelope's number; 0 where there never was one."""
        return self._value("SELECT seq FROM sqlite_sequence WHERE name = 'envelope'") or 0

    def envelopes(self, device: int, after: int, most: int) -> list[Envelope]:
        """What waits for this device past `after`, in order."""
        found = self._value(f"{_ENVELOPE} WHERE e.device = ? AND e.id > ? ORDER BY e.id LIMIT ?)", device, after, most)
        return _envelopes(found)

    def envelopes_for(self, devices: Collection[int], after: int) -> list[Envelope]:
        """What came past `after` for any of these devices, in order."""
        inner = f"{_ENVELOPE} WHERE e.id > ? AND e.device IN (SELECT value FROM json_each(?)) ORDER BY e.id)"
        return _envelopes(self._value(inner, after, _json(devices)))

    def mail(self, after: int, devices: frozenset[int]) -> Mail:
        """What came past `after` for these devices."""
        upto = self.last_envelope()
        return Mail(after, upto, self.envelopes_for(devices, after) if devices and upto > after else [], devices)

    def wrote(self, account: int, seq: int) -> int | None:
        """The room of this event, if it is a sealed message of this account."""
        room: int | None = self._value(
            "SELECT room FROM event WHERE seq = ? AND author = ? AND sealed IS NOT NULL", seq, account
        )
        return room

    def heard_by(self, room: int, seq: int) -> set[int]:
        """The accounts that were in this room at that event and are in it now."""
        rows = self._all(
            "SELECT account FROM member WHERE room = ? AND since <= ? AND until IS NULL",
            room,
            seq,
        )
        return {row[0] for row in rows}


class KeyWrites(LogWrites, GroupWrites, KeyReads):
    """What changes about keys. What was read of a room's devices and log is remembered for the transaction."""

    def begin_keys(self) -> None:
        """Call once under the write lock."""
        self._posted: list[Envelope] = []
        self._senders: dict[str, int] = {}
        self._kept = 0
        self._before = KeyReads.last_envelope(self)
        self._next_envelope = self._before + 1
        self._circles: dict[int, dict[str, int]] = {}
        self._chains: dict[int, Chain | None] = {}

    def forget(self) -> None:
        """Read anew: something changed, or was taken back."""
        super().forget()
        self._circles.clear()
        self._chains.clear()

    def mark(self) -> int:
        """Where the appended events stand now, and the envelopes, for `undo`."""
        self._kept = len(self._posted)
        return super().mark()

    def undo(self, mark: int) -> None:
        """Take back the events and envelopes since `mark`."""
        self._next_envelope -= len(self._posted) - self._kept
        del self._posted[self._kept :]
        super().undo(mark)

    def devices_in(self, room: int) -> dict[str, int]:
        """The devices of everybody who is in this room now, by name."""
        if room not in self._circles:
            self._circles[room] = KeyReads.devices_in(self, room)
        return self._circles[room]

    def chain(self, room: int) -> Chain | None:
        """Where this group's log stands; None: it has none."""
        if room not in self._chains:
            self._chains[room] = KeyReads.chain(self, room)
        return self._chains[room]

    # -- keys ---------------------------------------------------------------------------------------------------------

    def add_manifest(self, account: int, seq: int, digest: str, key: str, generation: int, body: str) -> None:
        """One more manifest."""
        row = (account, seq, digest, key, generation, body, self.now)
        self._run("INSERT INTO manifest VALUES (?, ?, ?, ?, ?, ?, ?)", *row)

    def add_device(self, account: int, name: str, key: str) -> None:
        """The account has this device, too."""
        self._run("INSERT INTO device (account, name, key, added) VALUES (?, ?, ?, ?)", account, name, key, self.now)
        self._run("DELETE FROM linking WHERE account = ? AND device = ?", account, name)
        self.forget()

    def revoke_device(self, device: int) -> list[int]:
        """The device is one no more: its keys and envelopes go, and its logins, whose ids these are."""
        self._run("UPDATE device SET revoked = ?, fallback = NULL WHERE id = ?", self.now, device)
        self._run("DELETE FROM prekey WHERE device = ?", device)
        self._run("DELETE FROM envelope WHERE device = ?", device)
        logins = [row[0] for row in self._all("SELECT id FROM login WHERE device = ?", device)]
        self._run("DELETE FROM login WHERE device = ?", device)
        self.forget()
        return logins

    def forget_keys(self, account: int) -> None:
        """The account goes, and with it its devices and what waits for it. Manifests stay, for others to look back."""
        for device in self.devices_of(account).values():
            self.revoke_device(device)
        self._run("DELETE FROM vault WHERE account = ?", account)
        self._run("DELETE FROM linking WHERE account = ?", account)

    def bind_login(self, login: int, device: int) -> None:
        """This login is that device."""
        self._run("UPDATE login SET device = ? WHERE id = ?", device, login)

    def add_prekeys(self, device: int, keys: Mapping[int, str]) -> None:
        """One-time keys, whose ids are above all that there were."""
        if keys:
            self._many("INSERT INTO prekey VALUES (?, ?, ?)", [(device, number, body) for number, body in keys.items()])
            self._run("UPDATE device SET newest = ? WHERE id = ?", max(keys), device)

    def set_fallback(self, device: int, number: int, body: str) -> None:
        """What is handed out when there are no one-time keys."""
        self._run("UPDATE device SET spare = ?, fallback = ? WHERE id = ?", number, body, device)

    def claim(self, device: int) -> str | None:
        """One one-time key of this device, which nobody else gets."""
        key: str | None = self._value(
            "DELETE FROM prekey WHERE device = ?1 AND id = (SELECT min(id) FROM prekey WHERE device = ?1)"
            " RETURNING body",
            device,
        )
        return key

    def fallback(self, device: int) -> str | None:
        """The key of this device that may be handed out more than once."""
        key: str | None = self._value("SELECT fallback FROM device WHERE id = ?", device)
        return key

    def set_vault(self, account: int, body: str) -> None:
        """Keep the account's sealed keys."""
        self._run("INSERT OR REPLACE INTO vault VALUES (?, ?, ?)", account, body, self.now)

    def add_linking(self, account: int, device: str, entry: str) -> None:
        """A device asks to become this account's."""
        self._run("INSERT OR REPLACE INTO linking VALUES (?, ?, ?, ?)", account, device, entry, self.steady)

    def drop_unfetched(self, days: int, most: int) -> None:
        """Drop the envelopes that have waited so many days, of the oldest `most`, and who has asked for a day in vain
        to become somebody's device.
        """
        self._run("DELETE FROM linking WHERE at < ?", self.steady - _DAY)
        self._run(
            "DELETE FROM envelope WHERE id IN (SELECT id FROM (SELECT id, at FROM envelope ORDER BY id LIMIT ?)"
            " WHERE at < ?)",
            most,
            self.steady - days * _DAY,
        )

    # -- a sealed group's log -----------------------------------------------------------------------------------------

    def add_entry(self, room: int, head: str) -> None:
        """One more entry of this group's log, with this hash; the first one names the group for ever."""
        self._run(
            "UPDATE room SET origin = coalesce(origin, ?1), head = ?1, entries = entries + 1 WHERE id = ?2", head, room
        )
        self._chains.pop(room, None)

    # -- envelopes ----------------------------------------------------------------------------------------------------

    def post(
        self, sender: tuple[int, str, Account], letters: Iterable[tuple[int, str]], seq: int | None, room: int | None
    ) -> None:
        """Envelopes from a device (its row, its name, whose it is): each (device, body)."""
        device, name, account = sender
        for to, body in letters:
            self._posted.append(
                Envelope(self._next_envelope, to, seq, room, account.id, account.name, name, self.now, body)
            )
            self._next_envelope += 1
        self._senders[name] = device

    def received(self, device: int, upto: int) -> int:
        """This device has all up to there: how many that were."""
        return self._run("DELETE FROM envelope WHERE device = ? AND id <= ?", device, upto)

    def flush(self) -> None:
        """Insert what was appended and posted."""
        super().flush()
        rows = self._posted
        start = 0
        for size in _CHUNKS:
            while len(rows) - start >= size:
                chunk = rows[start : start + size]
                self._connection.execute(_INSERT[size], [value for row in chunk for value in self._row(row)])
                start += size

    def _row(self, envelope: Envelope) -> tuple[Any, ...]:
        return (envelope.n, envelope.device, envelope.seq, self._senders[envelope.sender], envelope.at, envelope.body)

    def last_envelope(self) -> int:
        """The newest envelope's number, those included that are not inserted yet."""
        return self._next_envelope - 1

    def mail(self, after: int, devices: frozenset[int]) -> Mail:
        """What came past `after` for these devices; behind `flush`."""
        if after != self._before:
            return super().mail(after, devices)
        ours = [envelope for envelope in self._posted if envelope.device in devices]
        return Mail(after, self._next_envelope - 1, ours, devices)
