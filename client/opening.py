"""What comes in for one chat, opened: lines of the server, what waits for an envelope, pages of the past.

The rule: lines that cannot be judged without asking the server something hold up those behind them, so what is shown
keeps the log's order; nothing else waits. What is found to be wrong is told, and not shown as if it were right. What
was opened is on disk in the transaction that forgets its key: a killed process finds it when the line comes again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from client import sentences
from client.answers import Lost, Refused
from client.entries import SIGNED
from client.store import Held
from client.view import as_event

if TYPE_CHECKING:
    from client.chat import Chat
    from client.findings import Opened, Warn

RESTOCK: Final = 5.0
"""Seconds after a first message until it is looked how many one-time keys are left."""
LOST: Final = 16.0
"""Seconds until it is looked whether a message's envelope has come at last."""
ACK: Final = 1.0
"""Seconds between two words to the server about envelopes that may go."""
OURS: Final = frozenset({"e2e", "warn", "beside"})
"""What only this program says of an event: that it was opened, why it was not, and what is to be said beside it."""
_log: Final = Logger()


class Opening:
    """Opens what one chat hears."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat
        self.sealed = chat.sealed
        self._lines: deque[Mapping[str, Any] | Callable[[], None]] = deque()
        self._working = False
        self._here = False
        """Whether what waited for this device has come."""
        self._acked = 0

    def cut(self) -> None:
        """The connection has ended: what was not opened comes again."""
        self._lines.clear()
        self._here = False

    def heard(self, lines: list[Mapping[str, Any]]) -> None:
        """Lines came: those that are sealed are opened, and none overtakes another."""
        self.sealed.pin()
        lines = [self.clean(line) for line in lines]
        if not self._working and not self._lines and not any(self._concerns(line) for line in lines):
            self.chat.hearing.take(lines)
            return
        self._lines.extend(lines)
        self._work()

    def clean(self, line: Mapping[str, Any]) -> Mapping[str, Any]:
        """A line of the server without what only this program may say of it. In a sealed room nothing is said in
        clear: what comes so was put there by the server.
        """
        if OURS & line.keys():
            line = {name: value for name, value in line.items() if name not in OURS}
        if line.get("sealed") is not None:
            return sealed_line(line)
        sealed = self.sealed.is_sealed(line.get("room_id", 0)) or self._borrows(line)
        if line["ev"] not in ("say", "file") or not sealed:
            return line
        if line.get("text") is None and line.get("data") is None:
            return line  # it is blank: too old, or of somebody who wanted it gone
        from client.findings import Warn

        self._warn(Warn.FORGED, line)
        fields = {name: value for name, value in line.items() if name not in ("text", "data")}
        return {**fields, "ev": "say", "warn": Warn.FORGED.value}

    def _borrows(self, line: Mapping[str, Any]) -> bool:
        """Whether a line is of a group that is none of mine, under the name of a sealed one that is."""
        places = self.chat.view.places
        if line.get("room_id", 0) in places or not str(line.get("room")).startswith("#"):
            return False  # who writes in the open has the same name as sealed, and is marked
        return any(place.sealed and place.name == line.get("room") for place in places.values())

    def after(self, do: Callable[[], None]) -> None:
        """Do it when all that came before is dealt with."""
        if not self._working and not self._lines:
            do()
        else:
            self._lines.append(do)
            self._work()

    def _concerns(self, line: Mapping[str, Any]) -> bool:
        if not self.sealed.known:
            return False
        kind = line["ev"]
        if (
            kind in ("envelope", "keys", "link", "low")
            or line.get("sealed") is not None
            or line.get("proof") is not None
        ):
            return True
        return self._signed(line)

    def _signed(self, line: Mapping[str, Any]) -> bool:
        """Whether this changes a sealed group, so that it is believed only as far as its actor has signed it."""
        return line["ev"] in SIGNED and self.sealed.is_sealed(line.get("room_id", 0), group=True)

    def _work(self) -> None:
        if not self._working:
            self._working = True
            self.sealed.run(self._all()).addBoth(lambda _: self._worked())

    def _worked(self) -> None:
        self._working = False
        if self._lines and self.chat.inside:
            self._work()

    async def _all(self) -> None:
        done: list[Mapping[str, Any]] = []
        try:
            while self._lines:
                line = self._next()
                early = not callable(line) and self._early(line)
                if early or callable(line) or line["ev"] == "envelope":
                    done, taken = [], done
                    self.chat.hearing.take(taken)
                if callable(line):
                    line()
                    continue
                try:
                    if early:
                        await self._rest()
                    opened = await self._one(line)
                except Lost:
                    self._lines.clear()
                    return
                except Refused as refused:
                    _log.info("{code} while opening {ev}", code=refused.code, ev=line["ev"])
                    opened = self._unasked(line)
                if opened is not None:
                    done.append(opened)
        finally:
            self.chat.hearing.take(done)

    def _next(self) -> Mapping[str, Any] | Callable[[], None]:
        """The next line; envelopes go before the events that they open."""
        for number, line in enumerate(self._lines):
            if callable(line):
                break
            if line["ev"] == "envelope":
                del self._lines[number]
                return line
        return self._lines.popleft()

    def _early(self, line: Mapping[str, Any]) -> bool:
        """Whether this event may have come before its envelope: after a login, either may be the first."""
        if self._here or line.get("sealed") is None or line.get("seq", 0) <= self.chat.view.cursor:
            return False
        return self.sealed.known and self.sealed.courier.sealing.lacks(line)

    async def _rest(self) -> None:
        """Have what waited for this device, and take that first."""
        self._here = True
        await self.sealed.ask({"do": "ping", "token": ""})
        for line in list(self._lines):
            if not callable(line) and line["ev"] == "envelope":
                self._lines.remove(line)
                await self._envelope(line)

    async def _one(self, line: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """A line as it is to be taken; None: it is no event of the log."""
        kind = line["ev"]
        if kind == "envelope":
            await self._envelope(line)
            return None
        if kind == "low":
            await self.sealed.stock(int(line["left"]))
            return None
        if kind == "link":
            self.chat.people.asked(line)
        elif kind == "keys":
            await self.sealed.courier.learn(self.sealed.keys.account)
            if self.sealed.unlinked and self.sealed.keys.listed:
                self.chat.notice(sentences.LINKED)
                self.sealed.resettle()
        elif not self._concerns(line):
            return line
        elif line.get("seq", 0) <= self.chat.view.cursor:
            return line  # it was here before
        elif line.get("sealed") is not None:
            return await self._sealed(line)
        elif (warn := await self.sealed.courier.entry(line)) is not None:
            return self._unbelieved(line, warn)
        return line

    def _unbelieved(self, line: Mapping[str, Any], warn: Warn | None = None) -> dict[str, Any]:
        """A change of a group that nobody has signed so, which changes nothing; `warn`: what is said about it."""
        if warn is not None:
            self._warn(warn, line)
        return {**line, "ev": "unsigned", "was": line["ev"]}

    def _unasked(self, line: Mapping[str, Any]) -> Mapping[str, Any]:
        """A line that could not be judged, since the server would not tell what that takes."""
        from client.findings import Warn

        known = self.sealed.keys.book.get("room", str(line.get("room_id"))) is not None
        return self._unbelieved(line, Warn.UNSIGNED) if known and self._signed(line) else line

    async def _sealed(self, line: Mapping[str, Any]) -> Mapping[str, Any]:
        """A sealed event in its turn. It may lie here already: a script looks back, or this process was killed when it
        had opened it.
        """
        from client.findings import Warn

        kept = self.chat.store.event(line["seq"])
        if kept is not None and (kept["room_id"], kept.get("mid")) != (line["room_id"], line.get("mid")):
            return {**line, "warn": Warn.FORGED.value}
        if kept is None or not OURS & kept.keys():
            return await self._judged(line)
        self._beside(kept)
        return kept

    async def _judged(self, line: Mapping[str, Any], *, late: bool = False, past: bool = False) -> dict[str, Any]:
        """A sealed event as it is kept from now on, in the transaction in which it was opened. `late`: it was here
        before, without its envelope; `past`: a page of the past has it.
        """
        from client.findings import Warn

        fields: dict[str, Any] = {}

        def keep(opened: Opened) -> None:
            nonlocal fields
            if past and opened.content is not None and opened.warn is Warn.OUT_OF_PLACE:
                opened = opened._replace(warn=None)  # pages come in any order
            fields = self.opened(line, opened)
            weight = 0 if past else self.chat.view.weight(as_event(fields))
            self.chat.store.keep(Held(fields["seq"], fields["room_id"], weight, fields))

        await self._whose(line)
        opened = await self.sealed.courier.event(line, late=late or past, keep=keep)
        if opened.warn is Warn.WAITING:
            self._look_later()
        self._beside(fields)
        return fields

    def _beside(self, fields: Mapping[str, Any]) -> None:
        """Say what is to be said beside an event."""
        from client.findings import Warn

        if "beside" in fields:
            self._warn(Warn(fields["beside"]), fields)

    async def _whose(self, line: Mapping[str, Any]) -> None:
        """In a conversation of two: who the other one is, before anything of it is judged."""
        number = line["room_id"]
        place = self.chat.view.places.get(number)
        if place is not None and place.kind == "direct" and self.sealed.keys.book.get("direct", str(number)) is None:
            await self.sealed.courier.room(number)

    async def _envelope(self, line: Mapping[str, Any]) -> None:
        came = await self.sealed.courier.envelope(line)
        self.chat.later("received", ACK, self._received)
        if str(line["envelope"]).startswith("AA"):  # a first message: it has cost a one-time key
            self.chat.later("stock", RESTOCK, lambda: self.sealed.do(self.sealed.restock()))
        if came.warn is not None:
            self._warn(came.warn, line)
            self.chat.later("heal", 0.0, lambda: self.after(self._tend))  # its event is known by then
        if came.seq is not None:
            await self._late(came.seq)

    async def _late(self, seq: int) -> None:
        """The envelope of an event that was here before has come."""
        kept = self.chat.store.event(seq)
        if kept is not None and "warn" in kept:
            fields = await self._judged(kept, late=True)
            if seq <= self.chat.view.cursor:  # else it comes again, and is shown then
                self.chat.hearing.late(fields)

    def past(self, events: list[dict[str, Any]], then: Callable[[list[dict[str, Any]]], None]) -> None:
        """Events from before, read from the server: those that this device has the keys of are opened first."""
        events = [dict(self.clean(fields)) for fields in events]
        if not self.sealed.known or not any(
            fields.get("sealed") is not None or self._signed(fields) for fields in events
        ):
            then(events)
            return

        def opened(found: list[dict[str, Any]] | None) -> None:
            raw = [self._unbelieved(fields) if self._signed(fields) else fields for fields in events]
            then(raw if found is None else found)

        self.sealed.run(self.opened_past(events)).addCallback(opened)

    async def opened_past(self, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """These events, opened as far as they can be; all that is on its way here is taken first."""
        try:
            await self.sealed.settled()
            await self.sealed.ask({"do": "ping", "token": ""})  # what waited for this device is here then
        except Refused:
            pass  # it has no keys: what is sealed stays so
        idle: Deferred[None] = Deferred()
        self.after(lambda: idle.callback(None))
        await idle
        found = []
        for fields in events:
            if self._signed(fields):
                found.append(fields if await self.sealed.courier.proven(fields) else self._unbelieved(fields))
                continue
            found.append(await self._opened_once(fields) if fields.get("sealed") is not None else fields)
        return found

    async def _opened_once(self, fields: dict[str, Any]) -> dict[str, Any]:
        """A sealed event of the past: as it lies here, or opened now and kept, since its key is good once."""
        from client.findings import Warn

        kept = self.chat.store.event(fields["seq"])
        if kept is not None and kept["room_id"] != fields["room_id"]:
            return {**fields, "warn": Warn.FORGED.value}  # what was said elsewhere
        if kept is not None or fields["seq"] > self.chat.view.cursor:
            return kept or fields  # it comes by itself
        return await self._judged(fields, past=True)

    def resume(self) -> None:
        """This device is one again: once all that waited for it is here, what did not come is asked for."""

        def here() -> None:
            self.sealed.do(self._heal())

        self.chat.link.call({"do": "ping", "token": ""}).addCallbacks(lambda _: self.after(here), lambda _: None)

    async def _heal(self) -> None:
        for missing, key in self.sealed.courier.sealing.healing.missing():
            if key is None:
                self._look_later()
            else:
                await self._late(missing.seq)  # this process was killed when its envelope had come
        await self.sealed.courier.tend()

    def _look_later(self) -> None:
        self.chat.later("lost", LOST, self._tend)

    def _tend(self) -> None:
        if self.chat.inside and self.sealed.ready:
            self.sealed.do(self.sealed.courier.tend())

    def _received(self) -> None:
        """Tell the server which envelopes may go: their ratchets are on disk."""
        if self.chat.inside and self.sealed.ready and (n := self.sealed.courier.sealing.received) > self._acked:
            self._acked = n
            self.chat.store.flush()
            self.chat.link.call({"do": "received", "n": n}).addErrback(lambda _: None)

    def opened(self, line: Mapping[str, Any], opened: Opened) -> dict[str, Any]:
        """An event as it is kept: with what it says, or with why that is not shown."""
        from client.findings import Warn

        fields = {name: value for name, value in line.items() if name not in OURS}
        content, warn = opened
        if warn is Warn.CHANGED:
            self.hold(line, content)
            return {**fields, "warn": warn.value}
        if content is None:
            return {**fields, "warn": (warn or Warn.FORGED).value}
        beside = {} if warn is None else {"beside": warn.value}
        return told(line, content) | {"e2e": True} | beside

    def hold(self, line: Mapping[str, Any], content: Mapping[str, Any] | None) -> None:
        """What somebody with a changed key said, until that key is accepted."""
        book, name = self.sealed.keys.book, str(line["by_id"])
        with book.atomic(durable=False):
            book.put("held", name, [*(book.get("held", name) or ()), [line["seq"], content]])

    def release(self, account: int) -> None:
        """The key is accepted: what was held is shown."""
        book, name = self.sealed.keys.book, str(account)
        for seq, content in book.get("held", name) or ():
            kept = self.chat.store.event(seq)
            if kept is not None and content is not None:
                fields = told(kept, content)
                self.chat.store.keep(Held(seq, fields["room_id"], 1, fields))
                self.chat.hearing.late(fields)
        with book.atomic():
            book.put("held", name, None)

    def _warn(self, warn: Warn, line: Mapping[str, Any]) -> None:
        place = self.chat.view.places.get(line.get("room_id") or 0)
        text = sentences.warned(warn, str(line.get("by") or ""), "" if place is None else place.name)
        self.chat.notice(text, style="class:error")


def sealed_line(line: Mapping[str, Any]) -> dict[str, Any]:
    """A sealed line of the server, whatever it calls it: somebody says something, and all it may add is the number of a
    file, and that it cannot be had any more.
    """
    fields = {name: value for name, value in line.items() if name not in ("text", "data", "proof")}
    data = line.get("data")
    number, gone = (data.get("file"), data.get("gone")) if isinstance(data, dict) else (None, None)
    if not isinstance(number, int):
        return {**fields, "ev": "say"}
    return {**fields, "ev": "say", "data": {"file": number} | ({"gone": gone} if isinstance(gone, str) else {})}


def told(line: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    """An event with what its sealed message says; one that brings a file reads as that of an open room."""
    fields = {name: value for name, value in line.items() if name not in ("warn", "sealed")}
    if "file" in content:
        from client.crypto import encoding, message
        from client.files import sealed

        _, header = message.from_wire(encoding.data(line["sealed"]))
        found = sealed.opened(fields, content, header.room)
        if found is not None:
            return found
    fields.pop("data", None)
    fields["text"] = str(content.get("text", ""))
    if isinstance(how := content.get("how"), str):
        fields["data"] = {"how": how}
    return fields
