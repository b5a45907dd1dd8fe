"""One person's chat, whole but for its face: store, view, outbox, conversation and link put together.

The rule: what is shown comes from the store first and from the network behind it; what is typed goes to the store first
and to the network behind it. A face (terminal, plain, a script's) is only told, and only types.

What it is made of: typist.py (what is typed), sender.py (lines and calls out), arrival.py (being let in, what was
missed), opening.py and hearing.py (what comes in), transcript.py (what is shown), receipts.py (who has seen what). Here
stands what they share, its beginning and end, and the link's side.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from chatd import texts
from client import sentences
from client.around import Around
from client.arrival import Arrival
from client.commands import Commands
from client.conversation import Conversation
from client.face import Face
from client.hearing import Hearing
from client.past import Past
from client.people import People
from client.receipts import Receipts
from client.sender import Sender
from client.store import Store
from client.transcript import Transcript
from client.typist import Typist
from client.view import Place, View

if TYPE_CHECKING:
    from client.export import Export
    from client.files.desk import Files
    from client.link import Link
    from client.opening import Opening
    from client.sealed import Sealed
    from client.sealedcalls import SealedCalls

EMPTY: Final[Mapping[str, Any]] = {"current": 0, "cursor": 0, "people": [], "rooms": []}
"""What a profile begins with."""


class Chat:
    """A person's chat. `make_link` makes its link to `where` (`localhost:8000`); `reactor` has callLater."""

    def __init__(
        self,
        store: Store,
        face: Face,
        reactor: Any,
        make_link: Callable[[Chat], Link],
        where: str,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self.face = face
        self.reactor = reactor
        self.where = where
        self.clock = clock
        """The time in s."""
        self.view = View()
        self.around = Around()
        self.commands = Commands(store.get("commands", ()))
        self.talk = Conversation(self.view, self.commands, says_where=face.says_where)
        self.transcript = Transcript(store, self.view, face, clock)
        self.typist = Typist(self)
        self.sender = Sender(self)
        self.hearing = Hearing(self)
        self.arrival = Arrival(self)
        self.receipts = Receipts(self)
        self.past = Past(self)
        self.people = People(self)
        self.default_door = "ask"
        """How the door of a new group stands here."""
        self._files: Files | None = None
        self.down_since: float | None = None
        self.outage = False
        """Somebody was in and there was no connection, or lines waited: once all is well it is said."""
        self._make_link = make_link
        self._link: Link | None = None
        self._closing = False
        self._token: str | None = store.get("token")
        self._was_inside = False
        self._parting = ""
        """Why there was no connection, the last time."""
        self._dirty = False
        self._timers: dict[str, Any] = {}
        self.ended = False
        """Whether it is over."""

    # What needs the network is made when it is there: the first prompt does not wait for Twisted.

    @cached_property
    def export(self) -> Export:
        """Taking a room's past along."""
        from client.export import Export

        return Export(self)

    @cached_property
    def sealed(self) -> Sealed:
        """Sealed rooms: this device, and what goes out."""
        from client.sealed import Sealed

        return Sealed(self)

    @cached_property
    def opening(self) -> Opening:
        """Sealed rooms: what comes in."""
        from client.opening import Opening

        return Opening(self)

    @cached_property
    def sealed_calls(self) -> SealedCalls:
        """Calls about sealed rooms."""
        from client.sealedcalls import SealedCalls

        return SealedCalls(self)

    def now(self) -> int:
        """The time in ms."""
        return int(self.clock() * 1000)

    @property
    def unsent(self) -> int:
        """How many lines of mine are not stored yet."""
        return self.sender.unsent

    @property
    def inside(self) -> bool:
        """Whether somebody is logged in, and the server hears us."""
        return self.talk.online and self.talk.inside

    @property
    def files(self) -> Files:
        """What is on its way, and what can be fetched."""
        if self._files is None:
            from client.files.desk import Files  # it brings the network with it

            self._files = Files(self)
        return self._files

    @property
    def busy(self) -> bool:
        """Whether an answer is awaited before the next line can be understood."""
        asking = self._files is not None and self._files.asking > 0
        return self.sender.busy or asking or self.people.asking > 0 or self.export.under_way > 0

    @property
    def transferring(self) -> bool:
        """Whether a file is on its way."""
        return self._files is not None and bool(self._files.under_way)

    def progress(self, columns: int) -> list[str]:
        """How far they are, a line each."""
        return [] if self._files is None else self._files.lines(columns)

    # -- beginning and end --------------------------------------------------------------------------------------------

    @property
    def link(self) -> Link:
        """The link, once there is one."""
        assert self._link is not None
        return self._link

    def connect(self) -> None:
        """Have a connection, and keep it."""
        if not self.ended:
            self._link = self._make_link(self)
            self._link.start()

    def distrust(self, why: str = sentences.PIN) -> None:
        """The server is not the one it was, or not good: nothing is sent, nothing tried again."""

        def tell() -> None:
            self.link.stop()
            self.notice(why, style="class:error")
            self.face.distrusted(why)

        self.later("distrust", 0.0, tell)

    def start(self) -> None:
        """Show what is held. The network comes behind it: `connect`."""
        me = self.store.get("me")
        if self._token is not None and me is not None:
            kept = {name: self.store.get(name, empty) for name, empty in EMPTY.items()} | {"me": me}
            unread = {room[0]: self.store.unread(room[0], room[5]) for room in kept["rooms"]}
            self.view.restore(kept, unread)
            self.talk.resumed()
            if self.view.place is not None:
                self.transcript.context(self.view.place)
            for entry in self.sender.outbox.queued(self.view.account):
                self.transcript.add(self.transcript.writer.queued(entry))
                self.outage = True
        self.face.refresh()

    def stop(self) -> None:
        """Save, close, and tell the face."""
        if self.ended:
            return
        self.ended = True
        self.receipts.acknowledge()
        if self._files is not None:
            self._files.stop()
        self.drop_timers()
        self.transcript.settle()
        self.save()
        if self._link is not None:
            self._link.stop()
        self.face.bye()

    def save(self) -> None:
        """Keep who and where I am."""
        self._dirty = False
        if self.talk.inside:
            self.store.put(**self.view.kept())

    def moved(self) -> None:
        """What is kept has changed."""
        self._dirty = True

    def save_if_moved(self) -> None:
        """Keep it, if it has changed."""
        if self._dirty:
            self.save()

    def later(self, name: str, seconds: float, do: Callable[[], None]) -> None:
        """Do it once, in a while; not twice at a time."""
        running = self._timers.get(name)
        if (running is None or not running.active()) and not self.ended:
            self._timers[name] = self.reactor.callLater(seconds, do)

    def drop_timers(self) -> None:
        """Nothing more is done later."""
        for timer in self._timers.values():
            if timer.active():
                timer.cancel()

    # -- what is shown ------------------------------------------------------------------------------------------------

    def echo(self, text: str) -> None:
        """What was typed, where no event will show it."""
        self.notice(text, style="class:echo")

    def notice(self, *rows: str, style: str = "class:notice") -> None:
        """Show something that is no event."""
        self.transcript.notice(*rows, style=style)

    def switch(self, name: str | None = None) -> None:
        """Look at another room; without a name, at the next unread one."""
        place = self.view.next_unread() if name is None else self.view.find(name)
        if place is None:
            self.notice(sentences.NO_UNREAD if name is None else sentences.NO_SUCH_ROOM.format(name=name))
        else:
            if self.face.says_where:
                self.notice(texts.now_in(texts.clean(place.name), place.role))
            self.go(place)

    def go(self, place: Place) -> None:
        """This room is before the person's eyes now."""
        self.view.current = place.id
        self.transcript.context(place)
        self.save()
        self.receipts.moved()
        self.face.refresh()

    def logged_out(self, *, gone: bool) -> None:
        """Nobody is in any more. `gone`: the account is deleted."""
        self.transcript.settle()
        if self._files is not None:
            self._files.stop()
        self._token = None
        self.store.put(token=None)
        if gone:
            self.store.forget_events()
            self.store.put(me=None)
        self.talk.left()
        self.view.leave()
        self.around.forget()
        self.transcript.forget()
        self._was_inside = False
        if gone:
            self.stop()
        else:
            self.link.left()
            self.face.at_door()

    # -- the link's side ----------------------------------------------------------------------------------------------

    def hello(self) -> dict[str, Any]:
        """What our hello says."""
        fields: dict[str, Any] = {"version": 1, "client": "chat"}
        if self._token is not None:
            fields |= {"token": self._token, "since": self.view.cursor, **self.sealed.hello()}
        return fields

    def greeted(self, fields: Mapping[str, Any], *, inside: bool) -> None:
        """Connected."""
        self.talk.online = True
        self.down_since = None
        self.talk.limit = fields.get("message_characters", self.talk.limit)
        if "commands" in fields and list(fields["commands"]) != self.commands.server:
            self.commands.__init__(fields["commands"])  # type: ignore[misc]
            self.store.put(commands=fields["commands"])
        self.default_door = fields.get("default_door", self.default_door)
        known = self.store.get("me") or [None, fields.get("account")]
        if inside and fields["account"] != known[1]:
            self.distrust(sentences.SOMEBODY)
        elif inside:
            self.talk.resumed()
            self.arrival.arrived(fields)
            self.sealed.enter(fields)
            self.arrival.resume()
            self.sender.again()
            self.sender.pump()
            self.resume_files()
        else:
            self.talk.left()
            self.face.at_door()
        self.face.refresh()

    def resume_files(self) -> None:
        """Files that are on their way go on."""
        if self._files is not None or self.store.get("transfers"):
            self.files.resume()

    def trusted(self, token: str) -> None:
        """The server knows us by this token from now on."""
        self._was_inside = True
        self._closing = False
        self._token = token

    def void(self) -> None:
        """Our token is good no more: it is the door again."""
        self._token = None
        self.store.put(token=None)
        self.talk.left()
        self.notice(texts.reply("logged_out", {})[0])

    def closing(self) -> None:
        """The server goes, and has said so."""
        self._closing = True
        self.notice(sentences.COMING, style="class:offline")

    def unknown_device(self) -> None:
        """The server does not know this device."""
        self.sealed.unknown_device()

    def offline(self, why: str, wait: float, *, was_online: bool) -> None:
        """No connection."""
        if self.ended:
            return
        self.talk.online = False
        self.around.forget()
        self.arrival.cut()
        self.opening.cut()
        self.sealed.cut()
        self.typist.do(self.talk.cut())
        self.sender.cut()
        self.typist.give_up()
        if self.down_since is None:
            self.down_since = self.clock()
            self.sender.sent = self.arrival.missed = 0
            self.outage = self.talk.inside
        if was_online and not self._closing and self.talk.inside:
            self.notice(sentences.keep_typing(0, self.unsent), style="class:offline")
        elif (why.endswith(".") and why != self._parting) or (
            not was_online and (not self._was_inside or self.face.says_where)
        ):
            self.notice(sentences.cannot_reach(self.where, why, wait), style="class:offline")
        self._parting = why
        self.face.unreachable(why, wait)
        self.face.refresh()

    def heard(self, events: list[Mapping[str, Any]]) -> None:
        """Events came: what is sealed is opened before anything behind it is taken."""
        self.opening.heard(events)

    def drained(self) -> None:
        """A line is stored, or all that was missed is here: is everything well again?"""
        if not self.unsent:
            self.sender.release()
            self.typist.drained()
        if self.outage and self.down_since is None and not self.arrival.catching and not self.unsent:
            self.outage = False
            self.notice(sentences.online_again(self.arrival.missed, self.sender.sent), style="class:online")
            self.arrival.missed = self.sender.sent = 0

    # -- the status line ----------------------------------------------------------------------------------------------

    def connection(self) -> str:
        """`online`, or `offline 12 s, 2 queued`."""
        queued = self.unsent
        if self.down_since is not None:
            return sentences.offline(self.clock() - self.down_since, queued)
        if not self.talk.online:
            return "connecting"
        if self.typist.ahead:
            return sentences.waiting(self.typist.ahead)
        return "online" if not queued else f"online, {queued:,} queued"
