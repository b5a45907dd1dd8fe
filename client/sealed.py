"""One chat's sealed rooms: this device among the account's, and what goes out (E2E.md). What comes in is opening.py's.

The rule: nothing is said in a sealed room before this device is known to the server, and nothing in clear, ever.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, ensureDeferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure

from client import sentences
from client.answers import Lost, Refused

if TYPE_CHECKING:
    from client.chat import Chat
    from client.courier import Courier, Room
    from client.keyring import Keyring
    from client.outbox import Entry
    from client.view import Place

SETTLE: Final = 5.0
"""Seconds until it is tried again to make this device known, where the server would not."""
SEALED: Final = "rooms", "sealed"
"""Where it is kept which rooms were sealed once."""
TEND: Final = 60.0
"""Seconds between two looks at what is to be healed."""
_log: Final = Logger()


class Sealed:
    """What one chat does about keys. `ready`: this device is listed, the server knows it, and it can send."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat
        self._keys: Keyring | None = None
        self._courier: Courier | None = None
        self.ready = False
        self.supported = True
        """Whether this server knows of keys."""
        self.unlinked = False
        """The account has keys, and this device is not among its devices yet."""
        self._settling: list[Deferred[None]] = []
        self.settling = False
        """This device's keys are being made known to the server."""
        self._told: set[object] = set()

    @property
    def keys(self) -> Keyring:
        """The keys, once somebody is in."""
        assert self._keys is not None
        return self._keys

    @property
    def courier(self) -> Courier:
        """Who carries, once somebody is in."""
        assert self._courier is not None
        return self._courier

    @property
    def known(self) -> bool:
        """Whether it is known here who is in."""
        return self._keys is not None

    @property
    def usable(self) -> bool:
        """Whether somebody is in, on a server that knows of keys."""
        return self._keys is not None and self.supported

    # -- who I am -----------------------------------------------------------------------------------------------------

    def hello(self) -> dict[str, Any]:
        """What our hello says of this device."""
        device = self.chat.store.get("device")
        return {} if device is None else {"device": device}

    def unknown_device(self) -> None:
        """The server does not know this device (any more)."""
        self.chat.store.put(device=None)

    def enter(self, fields: Mapping[str, Any]) -> None:
        """Somebody is in: their keys, and what is to be done with the server about them."""
        from client.courier import Courier
        from client.crypto import encoding
        from client.keyring import Keyring
        from client.sealing import Sealing

        if self._keys is None or self._keys.account != fields["account"]:
            self._keys = Keyring(self.chat.store.secrets(fields["account"]), fields["account"])
            self._courier = Courier(Sealing(self._keys), self.ask, self.chat.now, self._tell)
            self._told.clear()
            with self._keys.book.atomic():
                self._keys.book.expire(self.chat.now())
        if lost := fields.get("lost"):
            from client import restored

            restored.lose(self.courier, *lost)
        pinned = self.chat.view.sealed
        pinned.update(self._keys.book.get(*SEALED) or ())
        for place in self.chat.view.places.values():
            place.sealed = place.sealed or place.id in pinned
            self._label(place)
        self.chat.view.label = self._label
        for room in fields.get("rooms", ()):
            if room["room_id"] in pinned and not room["sealed"]:
                self._tell_once(("open", room["room_id"]), sentences.CALLED_OPEN.format(room=room["room"]))
        # Whoever had keys here is not talked into doing without by a server that hides its commands.
        known = any(row["do"] == "publish" for row in self.chat.commands.rows)
        self.supported = known or self._keys.person(fields["account"]) is not None
        self.ready = fields.get("device") == encoding.text(self._keys.own.id)
        if not self.supported:
            return
        self._settle(fields)

    def begin(self, account: int, name: str) -> list[str]:
        """Somebody has just registered, so there are no keys yet: make them, and show the recovery code, once."""
        keys = self.keys
        with keys.book.atomic():
            keys.named(account, name)
            _, code = keys.begin(self.chat.now())
        return [sentences.RECOVERY.format(code=code)]

    def _settle(self, fields: Mapping[str, Any]) -> None:
        self.settling = True

        def done(result: object) -> None:
            self.settling = False
            waiting, self._settling = self._settling, []
            for one in waiting:
                one.callback(None)
            self.chat.sender.pump()
            self.chat.face.refresh()

        # Later, so that a registration's own keys are there first, and what comes with the login is shown first.
        self.chat.later("settle", 0.0, lambda: self.do(self._settled_in(fields), done))

    async def _settled_in(self, fields: Mapping[str, Any]) -> None:
        """Have keys, have them listed, be known as this device, and have one-time keys with the server."""
        from client.crypto import encoding

        keys, account = self.keys, self.keys.account
        try:
            await self.courier.learn(account)
            if keys.person(account) is None:
                self.chat.notice(*self.begin(account, self.chat.view.me))
            await self._publish()
            if self.chat.store.get("restored"):
                await self._give_back()
            self.unlinked = not keys.listed
            if self.unlinked:
                await self.chat.people.ask_to_be_linked()
                return
            left = fields.get("left")
            if not self.ready:
                device = encoding.text(keys.own.id)
                left = (await self.ask({"do": "bind", "device": device}))["left"]
                self.chat.store.put(device=device)
                if keys.book.get("bound", "seq") is None:
                    with keys.book.atomic():  # what came before was not for this device
                        keys.book.put("bound", "seq", self.chat.view.cursor)
            self.ready = True
            if self.chat.store.get("restored"):
                await self._give_back()
            await self.stock(int(left or 0))
            self.chat.opening.resume()
            self._tending()
        except Refused as refused:
            self.chat.notice(refused.error.get("text", refused.code), style="class:error")
            self.chat.later("again", SETTLE, self.resettle)

    async def _publish(self) -> None:
        """Show the manifest that this device has signed, if the server has not taken it yet."""
        from client.crypto import encoding

        keys = self.keys
        me, unshown = keys.person(keys.account), keys.book.get("unshown", "manifest")
        if me is None or unshown is None:
            return
        try:
            if encoding.text(me.manifest.raw) == unshown:  # else a later one of ours has gone out since
                await self.ask({"do": "publish", "manifest": unshown})
        except Refused as refused:
            if refused.code != "STALE":
                raise
            with keys.book.atomic():  # another device was first
                keys.abandon()
            await self.courier.learn(keys.account)
            return
        if (blob := keys.recovery_blob()) is not None:
            await self.ask({"do": "vault", "blob": encoding.text(blob)})
        with keys.book.atomic():  # only now: who is cut off before that shows both again
            keys.book.put("unshown", "manifest", None)

    async def _give_back(self) -> None:
        """The server was restored from a backup: it is shown what it has lost of what was signed here."""
        from client import restored

        await restored.give_devices(self.courier)
        if self.ready:
            for place in list(self.chat.view.places.values()):
                if place.sealed and place.kind == "group":
                    with contextlib.suppress(Refused):  # not one of its members any more, as the server has it
                        await restored.give_entries(self.courier, place.id)
            self.chat.store.put(restored=None)

    async def stock(self, left: int) -> None:
        """Bring one-time keys, if few are left, and a new fallback key, if it is time."""
        from client.crypto import encoding

        keys, now = self.keys, self.chat.now()
        with keys.book.atomic():
            made, fallback = keys.own.stock(keys.account, left, now)
        if made or fallback:
            fields = {"keys": [encoding.text(key) for key in made]}
            if fallback is not None:
                fields["fallback"] = encoding.text(fallback)  # type: ignore[assignment]
            await self.ask({"do": "stock", **fields})
            with keys.book.atomic():
                keys.own.stocked(now, fallback=fallback is not None)

    async def restock(self) -> None:
        """See how many one-time keys are left, and bring what is missing."""
        await self.stock((await self.ask({"do": "stock"}))["left"])

    def _tending(self) -> None:
        def tend() -> None:
            if self.chat.inside and self.ready:
                self.do(self.courier.tend())
                if self.keys.own.fallback_due(self.chat.now()):
                    self.do(self.restock())
                self._tending()

        self.chat.later("tend", TEND, tend)

    async def settled(self) -> None:
        """Wait until it is clear whether this device can send.

        @raise Refused: E2E_ONLY, it cannot; BUSY, not yet. @raise Lost: the connection ended first.
        """
        if not self.ready and self.settling:
            waiting: Deferred[None] = Deferred()
            self._settling.append(waiting)
            await waiting
        if self.unlinked or not self.supported:
            raise Refused({"code": "E2E_ONLY", "text": sentences.UNLINKED})
        if not self.ready:
            raise Refused({"code": "BUSY", "text": sentences.NOT_SETTLED})

    def cut(self) -> None:
        """The connection has ended: what is not done is asked for again."""
        self.ready = False
        waiting, self._settling = self._settling, []
        for one in waiting:
            one.errback(Failure(Lost()))

    # -- talking with the server --------------------------------------------------------------------------------------

    async def ask(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = await self.chat.link.call(fields)
        return answer

    def run(self, work: Coroutine[Any, Any, Any]) -> Deferred[Any]:
        """Do it, for as long as it takes. A cut ends it, and nothing is lost; the server's refusal is told."""

        def failed(failure: Failure) -> None:
            error = failure.value
            if isinstance(error, Refused):
                self.chat.notice(error.error.get("text", error.code), style="class:error")
            elif failure.check(Lost) is None:
                _log.failure("sealed", failure)

        return ensureDeferred(work).addErrback(failed)

    def resettle(self) -> None:
        """This device's keys are others now: have them listed, and the server know this device."""
        self.ready = False
        self._settle({})

    def do(self, work: Coroutine[Any, Any, Any], then: Callable[[object], None] = lambda _: None) -> None:
        self.run(work).addBoth(then)

    def _tell(self, what: Any) -> None:
        """News about keys, or a warning about a room."""
        from client.findings import Note

        name = self.name_of(what.account) if what.account else ""
        if isinstance(what, Note):
            place = self.chat.view.places.get(what.room)
            self._tell_once(what, sentences.warned(what.warn, name, "" if place is None else place.name))
        elif (text := sentences.news(what.what, name, own=what.account == self.keys.account)) is not None:
            self._tell_once((what, self.chat.now()), text)

    def _tell_once(self, what: object, text: str) -> None:
        if what not in self._told:
            self._told.add(what)
            self.chat.notice(text, style="class:error")

    def name_of(self, account: int) -> str:
        """What somebody is called."""
        return str(self.keys.book.get("name", str(account)) or f"#{account}")

    def is_sealed(self, room: int, *, group: bool = False) -> bool:
        """Whether nothing is said or heard here in clear: it is sealed, or was once. `group`: and is a group."""
        place = self.chat.view.places.get(room)
        if not ((place is not None and place.sealed) or room in self.chat.view.sealed):
            return False
        return not group or not self._direct(room)

    def _direct(self, room: int) -> bool:
        """Whether a sealed room is a conversation of two: what it was once it stays."""
        if self._keys is not None:
            book = self._keys.book
            if book.get("direct", str(room)) is not None or book.get("room", str(room)) is not None:
                return book.get("direct", str(room)) is not None
        place = self.chat.view.places.get(room)
        return place is not None and place.kind == "direct"

    def _label(self, place: Place) -> None:
        """A sealed room is called as its log says, or as the other one is called here, and so is my role in it."""
        from client.keyring import Unknown

        book, number = self.keys.book, str(place.id)
        if not place.sealed:
            return
        if (other := book.get("direct", number)) is not None:
            name = book.get("name", str(other))
            place.kind, place.name, place.role = "direct", f"@{name}" if name else place.name, "member"
            return
        try:
            log = self.courier.sealing.log(place.id, self.chat.now())
        except Unknown:
            return
        if log is not None:
            role = log.role(self.keys.account)
            place.kind, place.name, place.role = "group", log.name, role.name.lower() if role else place.role
            if book.get("called", log.name) != place.id:
                with book.atomic(durable=False):
                    book.put("called", log.name, place.id)

    def pin(self) -> None:
        """A room that is sealed stays so, whatever the server says later."""
        pinned = self.chat.view.sealed
        new = {place.id for place in self.chat.view.places.values() if place.sealed} - pinned
        if new and self._keys is not None:
            pinned |= new
            with self._keys.book.atomic():
                self._keys.book.put(*SEALED, sorted(pinned))

    # -- out ----------------------------------------------------------------------------------------------------------

    def send(self, entry: Entry, wire: dict[str, Any]) -> Deferred[dict[str, Any]]:
        """A line of the outbox, sealed where its room is; the answer."""
        if self._keys is None:
            return self.chat.link.call(wire)
        if entry.do == "say":
            self.pin()
            number = wire["room"]
            if not isinstance(number, int) or not self.is_sealed(number):
                if isinstance(entry.room, str) and self.hides(entry.room):
                    text = sentences.CALLED_OPEN.format(room=entry.room)
                    return fail(Refused({"code": "E2E_ONLY", "text": text}))
                return self.chat.link.call(wire)
            if (about := entry.fields.get("content")) is not None:  # of a file (client/files/sending.py)
                return ensureDeferred(self.say(entry.mid, number, about, "file", file=entry.fields["file"]))
            return ensureDeferred(self.say(entry.mid, number, content_of(entry.text, entry.fields)))
        if entry.do == "msg" and self.supported:
            return ensureDeferred(self._message(entry, wire))
        return self.chat.link.call(wire)

    async def say(
        self, mid: str, number: int, content: Mapping[str, Any], kind: str = "text", **besides: Any
    ) -> dict[str, Any]:
        """Say something in a sealed room: the answer of its `say`.

        @raise Refused: the server's refusal, or ours (KEY_CHANGED).
        """
        from client.courier import Unsent

        await self.settled()
        if self.courier.sealing.composed(mid) is None:
            await self._right(number)
        try:
            return await self.courier.say(mid, number, content, kind, **besides)
        except Unsent as unsent:
            raise self.refusal(unsent, number) from None

    def hides(self, name: str) -> bool:
        """Whether a sealed group of mine has this name, which the server gives to another room, or to none."""
        number: int | None = self.keys.book.get("called", name.lower())
        log = None if number is None else self.courier.sealing.log(number, self.chat.now())
        return log is not None and log.name == name.lower() and bool(log.role(self.keys.account))

    async def _right(self, number: int) -> None:
        """See that a room is the one whose name stood before the person who wrote.

        @raise Refused: it was called another.
        """
        from client.courier import Unsent

        place = self.chat.view.places.get(number)
        called = "" if place is None else place.name
        try:
            await self.courier.room(number)
        except Unsent as unsent:
            raise self.refusal(unsent, number) from None
        if place is not None:
            self._label(place)
            if place.name != called:
                self.chat.face.refresh()
                raise Refused({"code": "MISNAMED", "text": sentences.MISNAMED.format(room=place.name, was=called)})

    def refusal(self, unsent: Any, number: int) -> Refused:
        """Why nothing goes out, as a refusal."""
        if unsent.account:
            name = self.name_of(unsent.account)
            return Refused({"code": "KEY_CHANGED", "text": sentences.KEY_CHANGED.format(name=name)})
        place = self.chat.view.places.get(number)
        text = sentences.warned(unsent.warn, "", "" if place is None else place.name)
        return Refused({"code": "STALE", "text": text})

    async def _message(self, entry: Entry, wire: dict[str, Any]) -> dict[str, Any]:
        """A line to one person: sealed whenever that person has keys."""
        from client.keyring import folded

        kept = self.keys.book.get("sent", entry.mid)
        number = kept["room"] if kept else await self.conversation(str(entry.fields["user"]))
        if not number:
            self._say_so(f"@{folded(str(entry.fields['user']))}")
            answer: dict[str, Any] = await self.chat.link.call(wire)
            return answer
        about = {name: value for name, value in entry.fields.items() if name != "user"}
        return await self.say(entry.mid, number, content_of(entry.text, about))

    def _say_so(self, name: str) -> None:
        """A line goes in clear into the open conversation of this name: say it once, where no prompt does."""
        place = self.chat.view.place
        if place is None or place.sealed or place.name != name:
            self._tell_once(("clear", name), sentences.IN_CLEAR.format(name=name[1:]))

    async def conversation(self, user: str) -> int:
        """The sealed conversation with somebody, opened if need be; 0: they have no keys, and it goes on in the open.

        @raise Refused: no such person, or one without keys with whom nothing is open.
        """
        from client.keyring import folded

        user = folded(user)
        who = await self.courier.whom(user)
        known: int | None = self.keys.book.get("account", user)
        if who is None and known is not None and self.keys.person(known) is not None:
            # Whose keys were seen once is not written to in clear because the server hides them.
            self._tell_once(("hidden", known), sentences.HIDDEN.format(name=user))
            who = known, user
        elif who is None:
            await self.ask({"do": "whois", "user": user})  # is there such a person?
            if any(place.name == f"@{user}" and not place.sealed for place in self.chat.view.places.values()):
                return 0
            raise Refused({"code": "NO_KEYS", "text": sentences.NO_KEYS.format(name=user)})
        account, _ = who
        number: int | None = self.keys.book.get("dm", str(account))
        if number is None or number not in self.chat.view.places:
            await self.settled()
            made = await self.ask({"do": "dm", "user": account, "sealed": True})
            number = int(made["room_id"])
            if not self._free_for(number, account):
                raise Refused({"code": "SOMEBODY_ELSE", "text": sentences.SOMEBODY_ELSE.format(name=user)})
            with self.keys.book.atomic():
                self.keys.book.put("dm", str(account), number)
                self.keys.book.put("direct", str(number), account)
            self.chat.view.enter(number, f"@{user}", "direct", "member", True)
        return number

    def _free_for(self, number: int, account: int) -> bool:
        """Whether this room can be the conversation with that account: it is no group, and nobody else's."""
        book, place = self.keys.book, self.chat.view.places.get(number)
        if book.get("direct", str(number)) not in (None, account) or book.get("room", str(number)) is not None:
            return False
        return place is None or (place.sealed and place.kind == "direct")

    async def room(self, number: int) -> Room:
        """Who hears a sealed room; for files, which bind to its id."""
        await self.settled()
        await self._right(number)
        return await self.courier.room(number)


def content_of(text: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """What a message says, as it is sealed."""
    return {"text": text, **{name: fields[name] for name in ("how",) if name in fields}}
