"""The signed logs of sealed groups, as this device knows them: learned, kept and gone on with (E2E.md §6).

The rule: an entry is believed because of who has signed it, never because the server shows it. What does not follow
from the entries that are here is not kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from client.crypto import encoding, roomlog
from client.crypto.encoding import NOTHING, Forged, Malformed
from client.crypto.roomlog import Log, Unjustified
from client.findings import Warn
from client.keyring import Keyring, Unknown


class Behind(Exception):
    """The log of this room must be fetched, past what is known."""

    def __init__(self, room: int) -> None:
        super().__init__(room)
        self.room = room


class Logs:
    """The logs of one account's sealed groups. Each method that writes is one transaction."""

    def __init__(self, keys: Keyring) -> None:
        self.keys = keys
        self.book = keys.book
        self._logs: dict[int, Log] = {}
        self.book.when_undone(self._logs.clear)

    def log(self, room: int, now: int) -> Log | None:
        """A sealed group, as its signed entries make it; None: none of them is here."""
        if room not in self._logs:
            kept = self.book.get("room", str(room))
            log = roomlog.replay((encoding.data(raw) for raw in (kept or {}).get("proofs", ())), self.keys.device, now)
            if log is None:
                return None
            self._logs[room] = log
        return self._logs[room]

    def proof(self, room: int, seq: int) -> bytes:
        """An entry of a group that is known here, as it was signed."""
        return encoding.data(self.book.get("room", str(room))["proofs"][seq - 1])

    def learn_log(self, room: int, proofs: Iterable[bytes], now: int, *, last_try: bool = False) -> Warn | None:
        """The server has shown further entries of a group, in order; what is wrong with the first bad one.

        @raise Unknown: the manifests of an actor are not known here.
        """
        before = log = self.log(room, now)
        warn, added = None, []
        for proof in proofs:
            if log is not None and (seen := log.head_at(_seq(proof))) is not None:
                if seen != roomlog.entry_hash(proof):
                    warn = Warn.FORK
                    break
                continue
            try:
                log = roomlog.step(log, proof, self.keys.device, now)
            except Unknown:
                if not last_try:
                    raise
                warn = Warn.UNSIGNED
                break
            except (Unjustified, Forged, Malformed, ValueError, IndexError):
                warn = Warn.UNSIGNED
                break
            added.append(encoding.text(proof))
        if log is not None and log is not before:
            with self.book.atomic():
                kept = self.book.get("room", str(room)) or {"proofs": [], "floor": 0}
                if not kept["proofs"] and self.book.get("origin", encoding.text(log.room)) not in (None, room):
                    return Warn.FORK
                self.book.put("origin", encoding.text(log.room), room)
                self.book.put("room", str(room), {**kept, "proofs": [*kept["proofs"], *added]})
                self._logs[room] = log
        return warn

    def welcomed(self, room: int, fields: Mapping[str, Any], now: int, *, last_try: bool = False) -> Warn | None:
        """The admin who let me in says where the group's log stood: whether I was shown the same one."""
        log = self.log(room, now)
        seq, head = int(fields.get("seq", 0)), str(fields.get("head", ""))
        if (log is None or seq > log.seq) and not last_try:
            raise Behind(room)
        known = None if log is None else log.head_at(seq)
        return None if known is not None and encoding.text(known) == head else Warn.FORK

    def entry(self, room: int, action: str, now: int, *, target: int = 0, value: str = "") -> bytes:
        """The next entry of a group, signed by this device; whoever comes in is bound to the key seen here.

        @raise Unknown: the target's manifests are not known here.
        """
        ak = NOTHING
        if action in ("add", "join"):
            person = self.keys.person(target)
            if person is None:
                raise Unknown(target)
            ak = person.manifest.ak
        log = self.log(room, now)
        if log is None:
            raise Behind(room)
        return roomlog.write(self.keys.own, log, self.keys.account, action, now, target=target, ak=ak, value=value)

    def creation(self, name: str, door: str, people: Iterable[int], now: int) -> list[bytes]:
        """The first entries of a new group: its creation, and one for everybody who is in it from the start."""
        me, own = self.keys.account, self.keys.own
        persons = {account: self.keys.person(account) for account in (me, *people)}
        if (missing := next((account for account, person in persons.items() if person is None), None)) is not None:
            raise Unknown(missing)
        aks = {account: person.manifest.ak for account, person in persons.items() if person is not None}
        proofs = [roomlog.write(own, None, me, "create", now, target=me, ak=aks[me], value=f"{door} {name}")]
        log = roomlog.replay(proofs, self.keys.device, now)
        for account in people:
            proofs.append(roomlog.write(own, log, me, "add", now, target=account, ak=aks[account]))
            log = roomlog.step(log, proofs[-1], self.keys.device, now)
        return proofs


def _seq(proof: bytes) -> int:
    return int.from_bytes(proof[79:87], "big")
