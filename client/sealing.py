"""Sealed rooms, without a socket: what goes out is encrypted, what comes in is opened and judged (E2E.md §4-6).

The rule: encrypt → save ratchets and outbox in one transaction → send; decrypt → save ratchet, plaintext and dedupe in
one transaction → acknowledge. So each method that writes is one transaction, and a method that cannot go on without
something of the server (somebody's manifests, a room's log) says so (`Unknown`, `Behind`) and has changed nothing.

What is wrong is never shown as if it were right: it becomes a `Warn`, which the person is told.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from client.crypto import encoding, message, thread
from client.crypto.encoding import NOTHING, Forged, Malformed
from client.crypto.identity import Trust
from client.crypto.message import End, Header, Plain, Sealed
from client.crypto.ratchets import Replayed, Undecryptable
from client.crypto.roomlog import Log
from client.crypto.thread import Place
from client.findings import Came, Opened, Warn
from client.healing import KEPT_MS, LOST_MS, Healing, Missing
from client.keyring import Keyring, Unknown
from client.logs import Behind, Logs

RETRIES_MOST: Final = 3
"""How often one message is encrypted again for one device."""
OPENED: Final = "opened"
"""Stands where a message's key was, once it was used: whoever plays the message again is found out."""


class Sealing(Logs):
    """The sealed rooms of one account on this device."""

    def __init__(self, keys: Keyring) -> None:
        super().__init__(keys)
        self.healing = Healing(keys.book)

    # -- out ----------------------------------------------------------------------------------------------------------

    def recipients(
        self, members: Mapping[int, Collection[bytes]], log: Log | None, direct: int = 0, *, last_try: bool = False
    ) -> tuple[list[End], list[bytes], dict[int, Warn]]:
        """To whom a message goes, of the devices that the server names (account → device ids); whom it leaves out, and
        why somebody is left out.

        @raise Unknown: somebody's manifests are not known here.
        """
        ends: list[End] = []
        without: list[bytes] = []
        why: dict[int, Warn] = {}
        for account, devices in members.items():
            person = self.keys.person(account)
            if person is None:
                if not last_try:
                    raise Unknown(account)
                why[account] = Warn.GHOST
                without += devices
                continue
            member = None if log is None else log.members.get(account)
            if member is None and (log is not None or account not in (self.keys.account, direct)):
                why[account] = Warn.UNSIGNED
            elif member is not None and person.under(member.ak) is None:
                if not last_try:
                    raise Unknown(account, whole=True)
                why[account] = Warn.CHANGED
            elif person.trust is Trust.CHANGED:
                why[account] = Warn.CHANGED
            for name in devices:
                device = person.device(name)
                if account == self.keys.account and name == self.keys.own.id:
                    continue
                if account in why or device is None or device.revoked:
                    without.append(name)
                    if device is None:
                        why.setdefault(account, Warn.GHOST)
                else:
                    ends.append(End(account, device))
        return ends, without, why

    def compose(
        self,
        room: int,
        crypto_room: bytes,
        mid: str,
        content: Mapping[str, Any],
        ends: Sequence[End],
        without: Sequence[bytes],
        log: Log | None,
        now: int,
        kind: str = "text",
    ) -> dict[str, Any]:
        """A message, encrypted and saved: the fields of its `say`. Asked again, the same ones, until `restarted`."""
        kept: dict[str, Any] | None = self.book.get("sent", mid)
        if kept is not None and not kept["stale"]:
            return _wire(kept)
        me = self.keys.me()
        mine = self.book.get("mine", crypto_room.hex()) or [0, encoding.text(NOTHING)]
        own = self.keys.person(self.keys.account)
        assert own is not None
        about = (crypto_room, UUID(mid).bytes, me.account, me.device.id)
        after = (mine[0] + 1, encoding.data(mine[1]), now, own.manifest.seq, own.manifest.hash)
        sealed, key = message.seal(
            Plain._make((*about, *after, dict(content))), log.seq if log else 0, log.head if log else NOTHING, kind
        )
        with self.book.atomic():
            envelopes = {}
            for end in ends:
                plain = message.envelope(sealed.header, sealed.digest, key, me, end)
                envelopes[encoding.text(end.device.id)] = encoding.text(self.keys.ratchets.encrypt(end.device, plain))
            kept = {
                "stale": False,
                "room": room,
                "sealed": encoding.text(sealed.wire()),
                "envelopes": envelopes,
                "without": [encoding.text(name) for name in without],
                "key": encoding.text(key),
                "counter": mine[0] + 1,
                "content": dict(content),
                "again": {},
                "seq": 0,
            }
            self.book.put("sent", mid, kept, now + KEPT_MS)
        return _wire(kept)

    def composed(self, mid: str) -> dict[str, Any] | None:
        """The fields of a message that was encrypted before, and may be stored or not."""
        kept = self.book.get("sent", mid)
        return None if kept is None or kept["stale"] else _wire(kept)

    def stored_as(self, mid: str) -> int:
        """The seq of a message that the server is known to have; 0: it may have it or not."""
        kept = self.book.get("sent", mid)
        return 0 if kept is None else int(kept["seq"])

    def restarted(self, mid: str, now: int) -> None:
        """The server has not taken it as it is (STALE): it is encrypted anew, under a new key."""
        with self.book.atomic():
            kept = self.book.get("sent", mid)
            if kept is not None and not kept["seq"]:
                self.book.put(
                    "sent", mid, {**kept, "stale": True, "key": "", "sealed": "", "envelopes": {}}, now + KEPT_MS
                )

    def stored(self, mid: str, seq: int, now: int) -> None:
        """The server has it: the next message of this device in that room follows it."""
        with self.book.atomic(durable=False):  # the log tells it again
            kept = self.book.get("sent", mid)
            if kept is None or kept["seq"] or kept["stale"]:
                return
            sealed, header = message.from_wire(encoding.data(kept["sealed"]))
            self.book.put("mine", header.room.hex(), [kept["counter"], encoding.text(sealed.digest)])
            to = dict.fromkeys(kept["envelopes"], 0)
            self.book.put("sent", mid, {**kept, "seq": seq, "envelopes": to}, now + KEPT_MS)

    def word(self, end: End, kind: str, fields: Mapping[str, Any]) -> dict[str, str]:
        """A control envelope for a device: the `envelopes` of a `post`.

        @raise NoSession: a one-time key of it must be claimed first.
        """
        with self.book.atomic():
            plain = message.control(kind, dict(fields), self.keys.me(), end)
            sealed = self.keys.ratchets.encrypt(end.device, plain)
        return {encoding.text(end.device.id): encoding.text(sealed)}

    def again(self, mid: str, end: End, devices: Collection[bytes], now: int) -> dict[str, Any] | None:
        """A message's key once more, for a device that could not open its envelope: the fields of a `post`.

        None: it is not mine, it was not for that device, that device is none of the room's any more (`devices`), or it
        has had it often enough.
        """
        kept = self.book.get("sent", mid)
        name = encoding.text(end.device.id)
        if kept is None or not kept["seq"] or name not in kept["envelopes"] or end.device.id not in devices:
            return None
        count = kept["again"].get(name, 0)
        if count >= RETRIES_MOST or not self.keys.ratchets.has_session(end.device.id):
            return None
        sealed, _ = message.from_wire(encoding.data(kept["sealed"]))
        plain = message.envelope(sealed.header, sealed.digest, encoding.data(kept["key"]), self.keys.me(), end)
        with self.book.atomic():
            self.book.put("sent", mid, {**kept, "again": {**kept["again"], name: count + 1}}, now + KEPT_MS)
            data = self.keys.ratchets.encrypt(end.device, plain)
        return {"envelopes": {name: encoding.text(data)}, "seq": kept["seq"]}

    # -- in -----------------------------------------------------------------------------------------------------------

    def envelope(self, line: Mapping[str, Any], now: int, *, last_try: bool = False) -> Came:
        """An envelope of this device's inbox. What it brings is saved with the ratchet that opened it.

        @raise Unknown: the sender's manifests must be fetched (`last_try`: they were).
        """
        n, account, seq = int(line["n"]), int(line["by_id"]), line.get("seq")
        if n <= self.received:
            return Came(new=False)
        with self.book.atomic(durable=False):
            self.book.put("inbox", "n", n)
            try:
                name, data = encoding.data(line["device"], 16), encoding.data(line["envelope"])
            except (Malformed, KeyError):
                return Came(seq, warn=Warn.UNDECRYPTABLE)
            end = self.keys.end(account, name)
            if end is None and not last_try:
                raise Unknown(account)
            if end is None:
                return Came(seq, warn=Warn.GHOST)
            if end.device.revoked:
                return Came(seq, warn=Warn.REVOKED)
            try:
                plain = self.keys.ratchets.decrypt(end.device, data, now)
            except Replayed:
                return Came(seq, warn=Warn.AGAIN)
            except Undecryptable:
                return Came(seq, warn=Warn.UNDECRYPTABLE if self.healing.broken(end, now) else None)
            try:
                given = message.opened(plain)
                if given is None:
                    return self._control(plain, end)
            except (Malformed, Forged):
                return Came(seq, warn=Warn.FORGED)
            key, body, bind = given
            where = f"{body.hex()} {account}"
            if self.book.get("key", where) != OPENED:
                parts = [encoding.text(part) for part in (name, key, body, bind)]
                self.book.put("key", where, parts, now + KEPT_MS)
            return Came(self.book.get("waiting", where))

    @property
    def received(self) -> int:
        """The newest envelope that is dealt with: what the server may forget up to."""
        return int(self.book.get("inbox", "n") or 0)

    def _control(self, plain: bytes, end: End) -> Came:
        kind, fields = message.check_control(plain, end, self.keys.me())
        if kind == "heartbeat":
            self.keys.ratchets.not_counted(end.device.id)
        return Came(kind=kind, fields={**fields, "by": end})

    def say(
        self, line: Mapping[str, Any], now: int, *, direct: int = 0, late: bool = False, last_try: bool = False
    ) -> Opened:
        """A sealed event, in its place in the log. `direct`: the other one of a direct conversation; `late`: it was
        WAITING, and its envelope has come.

        @raise Unknown: somebody's manifests must be fetched. @raise Behind: the room's log must be.
        """
        room, seq, by = int(line["room_id"]), int(line["seq"]), int(line["by_id"])
        try:
            sealed, header = message.from_wire(encoding.data(line["sealed"]))
            mid = UUID(str(line.get("mid"))).bytes
        except (Malformed, ValueError):
            return Opened(warn=Warn.FORGED)
        if (header.account, header.mid) != (by, mid):
            return Opened(warn=Warn.FORGED)
        if direct:
            if header.room != message.direct_room(self.keys.account, direct) or by not in (self.keys.account, direct):
                return Opened(warn=Warn.FORGED)
        elif (warn := self._in_place(room, header, now, late=late, last_try=last_try)) is not None:
            return Opened(warn=warn)
        if header.device == self.keys.own.id and by == self.keys.account:
            return self._own(str(line["mid"]), sealed, seq, now)
        log = None if direct else self.log(room, now)
        mine = log is None or log.was_in(header.log_seq, self.keys.account)
        return self._open(seq, sealed, header, now, mine=mine, last_try=last_try)

    def lacks(self, line: Mapping[str, Any]) -> bool:
        """Whether the envelope of this event is still to come."""
        try:
            sealed, header = message.from_wire(encoding.data(line["sealed"]))
        except (Malformed, ValueError):
            return False
        own = header.device == self.keys.own.id
        return not own and self.book.get("key", f"{sealed.digest.hex()} {header.account}") is None

    def _in_place(self, room: int, header: Header, now: int, *, late: bool, last_try: bool) -> Warn | None:
        """Whether the sender was a member, on the chain that is known here, and not behind what was said since."""
        log = self.log(room, now)
        if (log is None or header.log_seq > log.seq) and not last_try:
            raise Behind(room)
        if log is None or header.room != log.room:
            return Warn.FORGED
        if header.log_seq > log.seq or log.head_at(header.log_seq) != header.head:
            return Warn.FORK
        if not log.was_in(header.log_seq, header.account):
            return Warn.STRANGER
        kept = self.book.get("room", str(room))
        if header.log_seq < kept["floor"] and not late:
            return Warn.OUT_OF_PLACE
        if header.log_seq > kept["floor"]:
            with self.book.atomic(durable=False):
                self.book.put("room", str(room), {**kept, "floor": header.log_seq})
        return None

    def _own(self, mid: str, sealed: Sealed, seq: int, now: int) -> Opened:
        """A message of this device comes back: it must be the very one that was sent."""
        kept = self.book.get("sent", mid)
        if kept is None:
            return Opened(warn=Warn.WAITING)
        if kept["stale"] or encoding.data(kept["sealed"]) != sealed.wire():
            return Opened(warn=Warn.FORGED)
        if kept["seq"] not in (0, seq):
            return Opened(warn=Warn.AGAIN)
        self.stored(mid, seq, now)
        return Opened(kept["content"])

    def _open(self, seq: int, sealed: Sealed, header: Header, now: int, *, mine: bool, last_try: bool) -> Opened:
        """`mine`: I was in the room when it was sent, so there is an envelope for me."""
        account = header.account
        what = f"{sealed.digest.hex()} {account}"
        where = f"{header.room.hex()} {account} {header.device.hex()}"
        given = self.book.get("key", what)
        before = thread.thread(self.book.get("thread", where))
        if given == OPENED:
            return Opened(warn=Warn.AGAIN)
        if given is None:
            with self.book.atomic(durable=False):
                self.book.put("thread", where, before.unopened(sealed.digest).kept())
                self.book.put("waiting", what, seq, now + KEPT_MS)
                if mine:
                    mid, device = str(UUID(bytes=header.mid)), encoding.text(header.device)
                    self.healing.waits(Missing(account, device, mid, seq, what, now + LOST_MS))
            return Opened(warn=Warn.WAITING)
        name, key, body, bind = (encoding.data(part) for part in given)
        sender = self.keys.end(account, name)
        if sender is None:
            return Opened(warn=Warn.GHOST)
        try:
            key = message.check(sealed, (key, body, bind), sender, self.keys.me())
            plain = message.unseal(sealed, key)
        except (Forged, Malformed):
            return Opened(warn=Warn.FORGED)
        try:
            if self.keys.seen(account, plain.manifest_seq, plain.manifest) is not None:
                return Opened(warn=Warn.FORK)
        except Unknown:
            if not last_try:
                raise
            return Opened(warn=Warn.FORK)
        after, place = before.read(plain, sealed.digest)
        with self.book.atomic(durable=False):
            self.book.put("thread", where, after.kept())
            self.book.put("key", what, OPENED, now + KEPT_MS)
            self.book.put("waiting", what, None)
        if place in (Place.AGAIN, Place.FORK):
            return Opened(warn=Warn.AGAIN if place is Place.AGAIN else Warn.FORK)
        if self.keys.trust(account) is Trust.CHANGED:
            return Opened(plain.content, Warn.CHANGED)
        warns = {Place.GAP: Warn.GAP, Place.LATE: Warn.OUT_OF_PLACE}
        return Opened(plain.content, warns.get(place))


def _wire(kept: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a `say`."""
    return {"room": kept["room"], "sealed": kept["sealed"], "envelopes": kept["envelopes"], "without": kept["without"]}
