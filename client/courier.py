"""What sealed rooms need of the server, asked for in order: manifests, room logs, one-time keys; then the message goes.

The rule: the server is asked, and its answers are judged elsewhere (sealing.py, keyring.py). Here stands only who is
asked what, and when. Each question is asked once for one purpose: what is still unknown after that is a warning.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from chatd.model import DELETED
from client import entries, restored, sentences
from client.answers import Refused
from client.crypto import encoding, message, roomlog
from client.crypto.encoding import NOTHING
from client.crypto.identity import Alarm, News
from client.crypto.message import End
from client.crypto.roomlog import Log
from client.findings import Came, Note, Opened, Warn
from client.healing import KEPT_MS, MIDS_MOST, Wound
from client.keyring import Unknown, folded
from client.logs import Behind
from client.sealing import Sealing

T = TypeVar("T")
Ask = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]
"""A call to the server and its answer. @raise Refused: the server's refusal."""
Tell = Callable[[Any], None]
"""Somebody is told: a `News` about keys, or a `Note`."""
ROUNDS: Final = 20
"""How often a view that was stale is looked at anew: as many as there are who change the room at the same time."""
MANIFESTS_MOST: Final = 10_000
"""How many manifests of one account are looked at, from its first on."""
WELCOMES_MOST: Final = 100
"""How many words of who lets me in wait for the log of a group that I have not seen yet."""
PEERS_MOST: Final = 1_000
"""How many people's devices are looked at, whether one is owed a heartbeat."""


class Unsent(Exception):
    """A message does not go out as things are. `account`: whose key changed (0: it is the room that is not right)."""

    def __init__(self, warn: Warn, account: int = 0) -> None:
        super().__init__(warn, account)
        self.warn = warn
        self.account = account


class Room(NamedTuple):
    """To whom a message in a room goes. `id` is the room's own, `log` None in a direct conversation."""

    number: int
    id: bytes
    log: Log | None
    direct: int
    ends: list[End]
    without: list[bytes]
    why: dict[int, Warn]


class Courier:
    """Carries what one device sends and gets."""

    def __init__(self, sealing: Sealing, ask: Ask, now: Callable[[], int], tell: Tell) -> None:
        self.sealing = sealing
        self.keys = sealing.keys
        self.ask = ask
        self.now = now
        self.tell = tell
        self._rooms: dict[int, tuple[int, Room]] = {}
        self._tending = False

    # -- what must be known -------------------------------------------------------------------------------------------

    async def meet(self, accounts: Sequence[int | str]) -> list[int | str]:
        """Fetch the newest manifests of people not met before; those who never had keys."""
        answer = await self.ask({"do": "manifests", "people": list(accounts)})
        for given in answer["manifests"]:
            if self.keys.person(given["account"]) is None:
                self._learned(given["account"], [encoding.data(given["manifest"])])
            self.keys.named(given["account"], given["name"])
        return list(answer["none"])

    async def whom(self, typed: str) -> tuple[int, str] | None:
        """Who is called so: the account and its name; None: the server shows no keys under that name.

        Who has been met keeps the name, whatever the server says: whatever is sealed or signed for a name is for the
        account that it stood for before.

        @raise Refused: SOMEBODY_ELSE, the server shows another account under it.
        """
        answer = await self.ask({"do": "manifests", "people": [typed]})
        if not answer["manifests"]:
            return None
        given = answer["manifests"][0]
        account, name = given["account"], str(given["name"])
        if name != folded(typed) or not self.keys.named(account, name):
            text = sentences.SOMEBODY_ELSE.format(name=folded(typed))
            raise Refused({"code": "SOMEBODY_ELSE", "text": text})
        if self.keys.person(account) is None:
            self._learned(account, [encoding.data(given["manifest"])])
        return account, name

    async def learn(self, account: int, *, whole: bool = False) -> None:
        """Fetch what is new of an account's manifests, or all of them."""
        person = self.keys.person(account)
        if person is None and not whole:
            await self.meet([account])
            return
        since = 0 if whole or person is None else person.newest.seq
        raws: list[bytes] = []
        while True:
            answer = await self.ask({"do": "manifest", "user": account, "since": since})
            page = [encoding.data(given["manifest"]) for given in answer["manifests"]]
            before, since = since, answer["manifests"][-1]["seq"] if page else since
            raws = [*raws, *page] if whole else page
            if not whole:
                self._learned(account, page)
                person = self.keys.person(account)
                since = 0 if person is None else person.newest.seq
            if not answer.get("more") or since <= before or len(raws) > MANIFESTS_MOST:
                break
        if whole:
            self._learned(account, raws, whole=True)

    def _learned(self, account: int, raws: Sequence[bytes], *, whole: bool = False) -> None:
        with self.keys.book.atomic():
            news = self.keys.learn_whole(account, raws) if whole else self.keys.learn(account, raws)
        for item in news:
            self.tell(item)

    async def learn_log(self, room: int) -> None:
        """Fetch what is new of a group's log."""
        log = self.sealing.log(room, self.now())
        since = 0 if log is None else log.seq
        while True:
            answer = await self.ask({"do": "roomlog", "room": room, "since": since})
            proofs = [encoding.data(given["proof"]) for given in answer["log"]]
            warn = await self.log_goes_on(room, proofs)
            if warn is not None:
                self.tell(Note(warn, room))
            log, before = self.sealing.log(room, self.now()), since
            since = 0 if log is None else log.seq
            if warn is not None or not answer.get("more") or since <= before:
                return

    async def log_goes_on(self, room: int, proofs: Sequence[bytes]) -> Warn | None:
        """These are the next entries of a group's log: what is wrong with them."""
        if self.keys.book.get("direct", str(room)) is not None:
            return Warn.FORK  # a conversation of two has no log
        warn = await self.settle(lambda last: self.sealing.learn_log(room, proofs, self.now(), last_try=last))
        if (log := self.sealing.log(room, self.now())) is not None:
            origin = encoding.text(log.room)
            if (waiting := self.keys.book.get("welcome", origin)) is not None:
                with self.keys.book.atomic():
                    self.keys.book.put("welcome", origin, None)
                for fields in waiting.values():
                    await self._welcomed(fields)
        return warn

    async def settle(self, do: Callable[[bool], T]) -> T:
        """Do it, after whatever it lacks was fetched. It is given whether this is the last try."""
        tried: set[object] = set()
        while True:
            try:
                return do(False)
            except Unknown as lack:
                what: tuple[object, ...] = ("manifest", lack.account, lack.whole)
                if what in tried:
                    return do(True)
                tried.add(what)
                await self.learn(lack.account, whole=lack.whole)
            except Behind as lack:
                what = ("log", lack.room)
                if what in tried:
                    return do(True)
                tried.add(what)
                await self.learn_log(lack.room)

    async def room(self, number: int, *, fresh: bool = False, given: bool = False) -> Room:
        """Who a room's messages go to. `given`: the server was shown what it has lost of the room's log.

        @raise Refused: the server's refusal.
        """
        version, known = self._rooms.get(number, (-1, None))
        if not fresh and known is not None and version == self.keys.version:
            return known
        answer = await self.ask({"do": "recipients", "room": number})
        members = [member for member in answer["members"] if member["manifest"]]
        if strangers := [m["account"] for m in members if self.keys.person(m["account"]) is None]:
            await self.meet(strangers)
        for member in members:
            await self._head(number, member)
        direct, log, own_id = 0, None, NOTHING
        if self._is_direct(number, answer["kind"]):
            direct = self._other(number, [member["account"] for member in answer["members"]])
            own_id = message.direct_room(self.keys.account, direct)
        else:
            if (log := self.sealing.log(number, self.now())) is None or encoding.text(log.head) != answer.get("head"):
                await self.learn_log(number)
                log = self.sealing.log(number, self.now())
            if log is None or encoding.text(log.head) != answer.get("head"):
                if not given and await restored.give_entries(self, number):
                    return await self.room(number, fresh=True, given=True)
                self.tell(Note(Warn.FORK, number))
                raise Unsent(Warn.FORK)
            own_id = log.room
        devices = {m["account"]: [encoding.data(name, 16) for name in m["devices"]] for m in answer["members"]}
        ends, without, why = await self.settle(
            lambda last: self.sealing.recipients(devices, log, direct, last_try=last)
        )
        for account, warn in why.items():
            self.tell(Note(warn, number, account))
        found = Room(number, own_id, log, direct, ends, without, why)
        self._rooms[number] = self.keys.version, found
        return found

    async def _head(self, room: int, member: Mapping[str, Any]) -> None:
        """What the server says of somebody's newest manifest is held against what is known."""
        account, seq = member["account"], member["manifest"]
        if not self.keys.named(account, member["name"]):
            self.tell(Note(Warn.FORGED, room, account))
        person = self.keys.person(account)
        if person is None or seq > person.newest.seq:
            await self.learn(account)
        elif seq < person.newest.seq:
            self.tell(News(account, Alarm.ROLLED_BACK))
        elif encoding.data(member["hash"]) != person.newest.hash:
            self.tell(News(account, Alarm.FORKED))

    def _is_direct(self, room: int, said: str) -> bool:
        """Whether it is a conversation of two: what a room was once it stays, whatever the server calls it later."""
        if self.keys.book.get("direct", str(room)) is not None:
            return True
        return said == "direct" and self.sealing.log(room, self.now()) is None

    def _other(self, room: int, accounts: Collection[int]) -> int:
        """The other one of a conversation: who it was the first time."""
        known: int | None = self.keys.book.get("direct", str(room))
        if known is None:
            known = next((account for account in accounts if account != self.keys.account), 0)
            with self.keys.book.atomic():
                self.keys.book.put("direct", str(room), known)
        return known

    # -- out ----------------------------------------------------------------------------------------------------------

    async def say(
        self, mid: str, number: int, content: Mapping[str, Any], kind: str = "text", **besides: Any
    ) -> dict[str, Any]:
        """Send a message; the answer of its `say`, `partly`: not for every device there. What was encrypted before a
        cut goes out as it was, what is known to be stored does not.

        @raise Refused: the server's refusal. @raise Unsent: a changed key in a conversation of two, or a group's log
            that is not the one known here.
        """
        if seq := self.sealing.stored_as(mid):
            return {"seq": seq, "partly": bool((self.sealing.composed(mid) or {}).get("without"))}
        fresh = False
        for _ in range(ROUNDS):
            fields = self.sealing.composed(mid)
            if fields is None:
                room = await self.room(number, fresh=fresh)
                await self.claim(room.ends)
                if room.direct and room.why.get(room.direct) is Warn.CHANGED:
                    raise Unsent(Warn.CHANGED, room.direct)
                reached = [end for end in room.ends if end not in self.keys.lacking(room.ends)]
                without = [*room.without, *(end.device.id for end in room.ends if end not in reached)]
                fields = self.sealing.compose(
                    number, room.id, mid, content, reached, without, room.log, self.now(), kind
                )
            try:
                answer = await self.ask({"do": "say", "mid": mid, **fields, **besides})
            except Refused as refused:
                if refused.code != "STALE":
                    raise
                self.sealing.restarted(mid, self.now())
                fresh = True
                continue
            self.sealing.stored(mid, answer["seq"], self.now())
            return {**answer, "partly": bool(fields["without"])}
        raise Unsent(Warn.FORK)

    async def claim(self, ends: Collection[End]) -> None:
        """Have a session with each of these devices, as far as there are keys of theirs that are good."""
        if lacking := self.keys.lacking(ends):
            await self._begin(lacking)

    async def _begin(self, ends: Sequence[End]) -> None:
        """Begin a session with each of these devices."""
        answer = await self.ask({"do": "claim", "devices": [encoding.text(end.device.id) for end in ends]})
        with self.keys.book.atomic():
            wrong = self.keys.claimed(ends, answer["keys"])
        for end in wrong:
            self.tell(News(end.account, Alarm.FORGED, end.device.id))

    def created(self, name: str, door: str, people: Sequence[int]) -> list[str]:
        """The proofs of a new group with these people in it, whom we have met."""
        return [encoding.text(proof) for proof in self.sealing.creation(name, door, people, self.now())]

    def ak(self, account: int) -> str:
        """Somebody's account key, as it is known here."""
        person = self.keys.person(account)
        return "" if person is None else encoding.text(person.manifest.ak)

    async def prove(self, number: int, action: str, *, target: int = 0, value: str = "") -> str:
        """The entry that a change of a group needs, signed now: its `proof`."""
        await self.learn_log(number)
        proof = await self.settle(lambda _: self.sealing.entry(number, action, self.now(), target=target, value=value))
        return encoding.text(proof)

    async def change(
        self, fields: Mapping[str, Any], number: int, action: str, *, target: int = 0, value: str = ""
    ) -> dict[str, Any]:
        """A call that changes a group, with its proof, signed anew as long as somebody else was faster."""
        for _ in range(ROUNDS):
            proof = await self.prove(number, action, target=target, value=value)
            try:
                return await self.ask({**fields, "proofs": [proof]})
            except Refused as refused:
                if refused.code != "STALE":
                    raise
        raise Unsent(Warn.FORK)

    async def word(self, end: End, kind: str, fields: Mapping[str, Any]) -> None:
        """A word to a device, in an envelope that stands alone."""
        await self.claim([end])
        if self.keys.ratchets.has_session(end.device.id):
            await self.ask({"do": "post", "envelopes": self.sealing.word(end, kind, fields)})

    async def welcome(self, number: int, accounts: Collection[int]) -> None:
        """Tell those whom I have let in where the group's log stands."""
        room = await self.room(number, fresh=True)
        if room.log is not None:
            fields = {"room": encoding.text(room.id), "seq": room.log.seq, "head": encoding.text(room.log.head)}
            for end in room.ends:
                if end.account in accounts:
                    await self.word(end, "welcome", fields)

    async def tend(self) -> None:
        """Heal what could not be opened, and write to devices that only ever write to this one."""
        if self._tending:
            return
        self._tending = True
        try:
            for wound in self.sealing.healing.wounds(self.now()):
                await self._heal(wound)
            await self._heartbeats()
        finally:
            self._tending = False

    async def _heal(self, wound: Wound) -> None:
        """Ask a device for what of its could not be opened, unless it is nobody's."""
        try:
            if self.keys.end(wound.account, wound.device) is None:
                await self.learn(wound.account)
            end = self.keys.end(wound.account, wound.device)
            if end is not None and not end.device.revoked:
                if wound.broken:
                    await self._begin([end])
                await self.word(end, "retry", {"mids": list(wound.mids)})
        except Refused:
            self._asked(wound)
            raise
        self._asked(wound)

    def _asked(self, wound: Wound) -> None:
        with self.keys.book.atomic(durable=False):
            self.sealing.healing.asked(wound, self.now())

    async def _heartbeats(self) -> None:
        for account in (self.keys.book.get("people", "all") or ())[:PEERS_MOST]:
            person = self.keys.person(account)
            for device in person.manifest.live if person is not None else ():
                await self.heartbeat(account, device.id)

    async def heartbeat(self, account: int, device: bytes) -> None:
        """An empty word to a device, if it is time."""
        end = self.keys.end(account, device)
        if end is not None and self.keys.ratchets.heartbeat_due(device, self.now()):
            await self.word(end, "heartbeat", {})

    # -- in -----------------------------------------------------------------------------------------------------------

    async def envelope(self, line: Mapping[str, Any]) -> Came:
        """An envelope of this device's inbox: opened, saved, and its word heeded."""
        came = await self.settle(lambda last: self.sealing.envelope(line, self.now(), last_try=last))
        if came.kind == "retry":
            await self._again(came.fields)
        elif came.kind == "welcome":
            await self._welcomed(came.fields)
        if came.new and came.warn is None:
            await self.heartbeat(int(line["by_id"]), encoding.data(line["device"]))
        return came

    async def _again(self, fields: Mapping[str, Any]) -> None:
        """A device could not open some of my messages."""
        end, mids = fields["by"], fields.get("mids")
        rooms: dict[int, list[bytes]] = {}
        for mid in mids[:MIDS_MOST] if isinstance(mids, list) else ():
            kept = self.keys.book.get("sent", str(mid))
            if kept is None or not kept["seq"] or encoding.text(end.device.id) not in kept["envelopes"]:
                continue
            number: int = kept["room"]
            if number not in rooms:
                try:
                    rooms[number] = [other.device.id for other in (await self.room(number, fresh=True)).ends]
                except (Refused, Unsent):
                    rooms[number] = []  # I am not in there any more, or what the server shows of it is not right
            mine = rooms[number]
            post = self.sealing.again(str(mid), end, mine, self.now())
            if post is not None:
                await self.ask({"do": "post", **post})

    async def _welcomed(self, fields: Mapping[str, Any]) -> None:
        """Whoever let me in says where the log stood. Where none of that log has been seen yet, it waits for it."""
        book, room = self.keys.book, str(fields.get("room"))
        number = book.get("origin", room)
        if number is not None:
            warn = await self.settle(lambda last: self.sealing.welcomed(number, fields, self.now(), last_try=last))
            if warn is not None:
                self.tell(Note(warn, number))
            return
        kept = book.get("welcome", room) or {}
        if len(kept) < WELCOMES_MOST:
            told = {str(fields["by"].account): {name: fields.get(name) for name in ("room", "seq", "head")}}
            with book.atomic():
                book.put("welcome", room, kept | told, self.now() + KEPT_MS)

    async def event(
        self, line: Mapping[str, Any], *, late: bool = False, keep: Callable[[Opened], None] = lambda _: None
    ) -> Opened:
        """A sealed event: what it says, or what is to be said instead. `keep` writes that down, in the transaction that
        forgets the key with which it was opened.
        """
        number, by = int(line["room_id"]), int(line["by_id"])

        def judge(last: bool) -> Opened:
            with self.keys.book.atomic(durable=False):
                if line["by"] != DELETED and not self.keys.named(by, str(line["by"])):
                    opened = Opened(warn=Warn.FORGED)
                else:
                    direct = self.keys.book.get("direct", str(number)) or 0
                    opened = self.sealing.say(line, self.now(), direct=direct, late=late, last_try=last)
                keep(opened)
            return opened

        return await self.settle(judge)

    async def entry(self, line: Mapping[str, Any]) -> Warn | None:
        """An event that changes a sealed group: its proof is the next entry of the log and says the same, or the server
        lies. An entry is told once.
        """
        number = int(line["room_id"])
        self._rooms.pop(number, None)
        if line["ev"] != entries.INHERITED and (proof := entries.proof(line)) is not None:
            log = self.sealing.log(number, self.now())
            if log is None or int.from_bytes(proof[79:87], "big") > log.seq + 1:
                await self.learn_log(number)
            if (warn := await self.log_goes_on(number, [proof])) is not None:
                return warn
        proven = await self.proven(line)
        if not proven or line["ev"] == entries.INHERITED:
            return None if proven else Warn.UNSIGNED
        entry = int.from_bytes(encoding.data(line["proof"])[79:87], "big")
        return None if await restored.is_told_once(self, number, entry, line["seq"]) else Warn.AGAIN

    async def proven(self, line: Mapping[str, Any]) -> bool:
        """Whether an event that changes a sealed group is what its actor has signed, by the log that is known here."""
        number, proof = int(line["room_id"]), entries.proof(line)
        seq = 0 if proof is None else int.from_bytes(proof[79:87], "big")
        log = self.sealing.log(number, self.now())
        if log is None or seq > log.seq:
            await self.learn_log(number)
            log = self.sealing.log(number, self.now())
        if log is None or not self._called(line, "by") or not self._called(line, "who"):
            return False
        if line["ev"] == entries.INHERITED:
            return entries.inherits(line, log)
        known = proof is not None and log.head_at(seq) == roomlog.entry_hash(proof)
        return known and proof is not None and entries.says(line, roomlog.read(proof))

    def _called(self, line: Mapping[str, Any], who: str) -> bool:
        """Whether an event names somebody as they are called; whose account is gone has no name."""
        account, name = line.get(f"{who}_id", 0), line.get(who)
        return not account or name == DELETED or self.keys.named(account, str(name))
