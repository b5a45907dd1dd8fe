"""One person's chat, whole but for its face: store, view, outbox, conversation and link put together.

The rule: what is shown comes from the store first and from the network behind it; what is typed goes to the store first
and to the network behind it. A face (terminal, plain, a script's) is only told, and only types.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from chatd import texts
from client import sentences
from client.answers import Lost, Refused
from client.commands import Commands
from client.conversation import Action, Call, Conversation, Enter, In, Local, Out, Queue, Show
from client.lines import Line, Tail, Writer
from client.outbox import Entry, Mark, Outbox
from client.store import Held, Store
from client.view import MENTION, Place, View, as_event

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from client.link import Link

FIRST_SCREEN: Final = 20
"""Lines of the current room shown at start, and of a room that is looked at for the first time."""
REPLAY: Final = 200
"""More lines than this that were missed become a count."""
ACK: Final = 1.0
"""Seconds between two words to the server about how far we have seen."""
ASK_SEEN: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds between two questions whether all have seen what I wrote."""
QUIT_WITHIN: Final = 2.0
"""Seconds that `/quit` leaves to what is on its way."""
AGAIN_WITHIN: Final = 60.0
"""Seconds within which a call whose answer was cut off is sent again, under the same mid."""
PATIENT: Final = frozenset({"login", "register", "password", "delete-account"})


class Face:
    """Who shows. Each method may stay as it is."""

    keep = 0
    """How many lines it can still change below what it has shown."""
    says_where = False
    ascii_only = False

    def show(self, lines: list[Line]) -> None:
        """These lines are final."""

    def refresh(self) -> None:
        """The prompt, the tail or the status has changed."""

    def ring(self, title: str, text: str) -> None:
        """A line came that is to be noticed."""

    def local(self, do: str, fields: Mapping[str, Any]) -> None:
        """A command that only a face can do."""

    def event(self, fields: Mapping[str, Any]) -> None:
        """An event was heard."""

    def caught_up(self) -> None:
        """Everything missed has been heard; from now on it is live."""

    def entered(self, place: Place) -> None:
        """This room has become the current one by itself."""

    def at_door(self) -> None:
        """The server knows nobody here."""

    def fate(self, entry: Entry, seq: int, error: Mapping[str, Any] | None) -> None:
        """A line was stored, or refused for good."""

    def unreachable(self, why: str, wait: float) -> None:
        """There is no connection."""

    def distrusted(self) -> None:
        """The server's certificate is not the pinned one."""

    def bye(self) -> None:
        """It is over."""


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
        self._clock = clock
        self.view = View()
        self.commands = Commands(store.get("commands", ()))
        self.talk = Conversation(self.view, self.commands, says_where=face.says_where)
        self.writer = Writer(self.view, ascii_only=face.ascii_only)
        self.tail = Tail(face.keep)
        self.outbox = Outbox(store.outbox())
        self._make_link = make_link
        self._link: Link | None = None
        self.levels: dict[str, str] = store.get("levels", {})
        self.down_since: float | None = None
        self.missed = self.sent = 0
        self.closing = False
        self._token: str | None = store.get("token")
        self._shown: dict[int, int] = {}  # room -> the seq up to which its lines have been printed
        self._day = ""
        self._catching: deque[tuple[Mapping[str, Any], int]] | None = None
        self._cut: list[tuple[float, Call]] = []
        self._behind: list[Call] = []
        self._was_inside = False
        self._outage = False
        """Somebody was in and there was no connection, or lines waited: once all is well it is said."""
        self._calling = 0
        self._dirty = False
        self._acked = 0
        self._timers: dict[str, Any] = {}
        self._asked_seen = 0
        self._ended = False
        self._quitting = False

    def now(self) -> int:
        """The time in ms."""
        return int(self._clock() * 1000)

    @property
    def unsent(self) -> int:
        """How many lines of mine are not stored yet."""
        return len(self.outbox.queued(self.view.account))

    @property
    def busy(self) -> bool:
        """Whether an answer is awaited before the next line can be understood."""
        return self._calling > 0 or bool(self._behind)

    # -- beginning and end --------------------------------------------------------------------------------------------

    @property
    def link(self) -> Link:
        """The link, once there is one."""
        assert self._link is not None
        return self._link

    def connect(self) -> None:
        """Have a connection, and keep it."""
        if not self._ended:
            self._link = self._make_link(self)
            self._link.start()

    def distrust(self) -> None:
        """The server showed another certificate than the pinned one: nothing is sent, nothing tried again."""

        def tell() -> None:
            self.link.stop()
            self.notice(sentences.PIN, style="class:error")
            self.face.distrusted()

        self._later("distrust", 0.0, tell)

    def start(self) -> None:
        """Show what is held. The network comes behind it: `connect`."""
        me = self.store.get("me")
        if self._token is not None and me is not None:
            kept = {name: self.store.get(name, empty) for name, empty in self._empty().items()} | {"me": me}
            unread = {room[0]: self.store.unread(room[0], room[5]) for room in kept["rooms"]}
            self.view.restore(kept, unread)
            self.talk.resumed()
            self._context(self.view.place)
            for entry in self.outbox.queued(self.view.account):
                self._add(self.writer.queued(entry))
                self._outage = True
        self.face.refresh()

    @staticmethod
    def _empty() -> dict[str, Any]:
        return {"current": 0, "cursor": 0, "people": [], "rooms": []}

    def stop(self) -> None:
        """Save, close, and tell the face."""
        if self._ended:
            return
        self._ended = True
        self._acknowledge()
        for timer in self._timers.values():
            if timer.active():
                timer.cancel()
        self._emit(self.tail.settle(all_of_it=True))
        self._save()
        if self._link is not None:
            self._link.stop()
        self.face.bye()

    def _save(self) -> None:
        self._dirty = False
        if self.talk.inside:
            self.store.put(**self.view.kept())

    def _later(self, name: str, seconds: float, do: Callable[[], None]) -> None:
        """Do it once, in a while; not twice at a time."""
        running = self._timers.get(name)
        if (running is None or not running.active()) and not self._ended:
            self._timers[name] = self.reactor.callLater(seconds, do)

    # -- what is typed ------------------------------------------------------------------------------------------------

    def typed(self, line: str) -> None:
        """A line was typed."""
        if not self.talk.secret and self.talk.question is None and line.strip():
            self.store.remember(line)
        self._do(self.talk.typed(line, self.now()))
        self.face.refresh()

    def say(self, text: str) -> None:
        """A whole text, whatever it begins with."""
        self._do(self.talk.said(text, self.now()))
        self.face.refresh()

    def echo(self, text: str) -> None:
        """What was typed, where no event will show it."""
        self._add(self.writer.notice(text, style="class:echo"))

    def _do(self, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case Show(rows, bad):
                    self.notice(*rows, style="class:error" if bad else "class:notice")
                case Call():
                    self.call(action)
                case Queue(entry):
                    self.queue(entry)
                case Enter(place):
                    self.go(place)
                case In(fields):
                    self.link.entered()
                    self._arrived(fields)
                    self._first_time(fields)
                case Out(gone):
                    self._logged_out(gone=gone)
                case Local(do, fields):
                    self._local(do, fields)

    def notice(self, *rows: str, style: str = "class:notice") -> None:
        """Show something that is no event."""
        if rows:
            self._add(self.writer.notice(*rows, style=style))

    def _local(self, do: str, fields: Mapping[str, Any]) -> None:
        if do == "quit":
            self._quitting = True
            if self.unsent and self.talk.online:
                self._later("quit", QUIT_WITHIN, self._quit)
            else:
                self._quit()
        elif do == "switch":
            self.switch(fields.get("place"))
        elif do == "notify":
            self._notify(fields.get("level"))
        else:
            self.face.local(do, fields)

    def _quit(self) -> None:
        if not self._ended:
            self._emit(self.tail.settle(all_of_it=True))
            queued, self.tail.queued = self.tail.queued, []
            self._emit(queued)
            self.notice(texts.reply("bye", {})[0], *([sentences.unsent(self.unsent)] if self.talk.inside else []))
            self.stop()

    def switch(self, name: str | None = None) -> None:
        """Look at another room; without a name, at the next unread one."""
        place = self.view.next_unread() if name is None else self.view.find(name)
        if place is None:
            self.notice(sentences.NO_UNREAD if name is None else sentences.NO_SUCH_ROOM.format(name=name))
        else:
            self.go(place)

    def _notify(self, level: str | None) -> None:
        place = self.view.place
        if place is None:
            return
        if level in ("all", "mentions", "none"):
            self.levels[str(place.id)] = level
            self.store.put(levels=self.levels)
        elif level is not None:
            self.notice("Usage: /notify all|mentions|none", style="class:error")
            return
        self.notice(f"{place.name}: {self.level(place)}")

    def level(self, place: Place) -> str:
        """When this room rings: all, mentions or none."""
        return self.levels.get(str(place.id), "mentions")

    def go(self, place: Place) -> None:
        """This room is before the person's eyes now."""
        self.view.current = place.id
        self._context(place)
        self._save()
        self._later("ack", ACK, self._acknowledge)
        self.face.refresh()

    def _context(self, place: Place | None) -> None:
        """What of a room has not been shown yet: what is unread, or for the first time its last lines."""
        if place is None:
            return
        after = self._shown.get(place.id)
        count = max(FIRST_SCREEN, min(place.unread, REPLAY)) if after is None else REPLAY
        for fields in self.store.last(place.id, count, after=after or 0):
            self._show_event(fields, 0)
        place.look(self.view.cursor)

    # -- calls --------------------------------------------------------------------------------------------------------

    def call(self, call: Call) -> None:
        """Send a call and show what comes of it. It does not overtake lines that are on their way."""
        if self.unsent and self.talk.online and self.talk.inside and call.mid is not None:
            self._behind.append(call)
            return

        def answered(fields: dict[str, Any]) -> None:
            self._calling -= 1
            sentence = fields.pop("as")
            self._do(self.talk.answered(call, fields, sentence))
            self.face.refresh()

        def refused(failure: Failure) -> None:
            self._calling -= 1
            if isinstance(failure.value, Refused):
                self._do(self.talk.refused(call, failure.value.error))
                self.face.refresh()
            elif isinstance(failure.value, Lost):
                if call.mid is not None:
                    self._cut.append((self._clock(), call))
            else:
                failure.raiseException()

        self._calling += 1
        wire = call.wire()
        if call.do in ("login", "register"):
            wire["client"] = "chat"
        self.link.call(wire, patient=call.do in PATIENT).addCallbacks(answered, refused)

    # -- the outbox ---------------------------------------------------------------------------------------------------

    def queue(self, entry: Entry) -> None:
        """A line: on disk, then on the screen, then on the wire."""
        self.store.queue(entry)
        self.outbox.add(entry)
        self._add(self.writer.queued(entry))
        self.pump()

    def pump(self) -> None:
        """Send the next line that waits."""
        if not (self.talk.online and self.talk.inside):
            return
        entry = self.outbox.next(self.view.account)
        if entry is None:
            return
        wire: dict[str, Any] = {"do": entry.do, "mid": entry.mid, "text": entry.text, **entry.fields}
        if entry.do == "say":
            place = self.view.find(entry.room) if isinstance(entry.room, str) else None
            wire["room"] = entry.room if place is None else place.id

        def answered(fields: dict[str, Any]) -> None:
            self._stored(entry.mid, fields.get("seq", 0))
            self.pump()

        def refused(failure: Failure) -> None:
            if isinstance(failure.value, Refused):
                self._refused(entry, failure.value.error)
            elif not isinstance(failure.value, Lost):
                failure.raiseException()

        self.link.call(wire).addCallbacks(answered, refused)

    def _stored(self, mid: str, seq: int) -> None:
        """The server has it, by its answer or by the event itself."""
        entry = self.outbox.stored(mid)
        if entry is not None:
            self.store.unqueue(mid)
            self.sent += 1
            self.face.fate(entry, seq, None)
            self._maybe_again()
        if seq and seq <= self.view.cursor:
            self.tail.take(mid)  # its event was shown before; only the answer had been cut off
        else:
            for line in self.tail.queued:
                if line.mid == mid:
                    line.mark = Mark.STORED
        self.face.refresh()

    def _refused(self, entry: Entry, error: Mapping[str, Any]) -> None:
        fate = self.outbox.refused(entry.mid, error["code"], error.get("with", {}).get("wait"))
        if fate.wait is not None:
            self._later("pump", fate.wait, self.pump)
            return
        self.store.unqueue(entry.mid)
        self.tail.take(entry.mid)
        self.notice(
            f"{sentences.NOT_SENT}{entry.text.splitlines()[0] if entry.text else ''}",
            *(error["text"], *error.get("help", "").splitlines()),
            style="class:error",
        )
        self.face.fate(entry, 0, error)
        self._maybe_again()
        self.pump()

    # -- the link's side ----------------------------------------------------------------------------------------------

    def hello(self) -> dict[str, Any]:
        """What our hello says."""
        fields: dict[str, Any] = {"version": 1, "client": "chat"}
        if self._token is not None:
            fields |= {"token": self._token, "since": self.view.cursor}
        return fields

    def greeted(self, fields: Mapping[str, Any], *, inside: bool) -> None:
        """Connected."""
        self.talk.online = True
        self.down_since = None
        self.talk.limit = fields.get("message_characters", self.talk.limit)
        if "commands" in fields and list(fields["commands"]) != self.commands.rows[: len(fields["commands"])]:
            self.commands.__init__(fields["commands"])  # type: ignore[misc]
            self.store.put(commands=fields["commands"])
        if inside:
            self.talk.resumed()
            self._arrived(fields)
            self._catching = deque()
            self.link.call({"do": "ping", "token": ""}).addCallbacks(lambda _: self._caught_up(), lambda _: None)
            self._send_again()
            self.pump()
        else:
            self.talk.left()
            self.face.at_door()
        self.face.refresh()

    def void(self) -> None:
        """Our token is good no more: it is the door again."""
        self._token = None
        self.store.put(token=None)
        self.talk.left()
        self.notice(texts.reply("logged_out", {})[0])

    def offline(self, why: str, wait: float, *, was_online: bool) -> None:
        """No connection."""
        if self._ended:
            return
        self.talk.online = False
        self._catching = None
        self.outbox.cut()
        behind, self._behind = self._behind, []
        self._do(self.talk.cut())
        for call in behind:
            self.notice(f"{sentences.NOT_SENT}{call.text}", sentences.NOT_NOW, style="class:error")
        if self.down_since is None:
            self.down_since = self._clock()
            self.sent = self.missed = 0
            self._outage = self.talk.inside
        if was_online and not self.closing and self.talk.inside:
            self.notice(sentences.keep_typing(0, self.unsent), style="class:offline")
        elif not was_online and (not self._was_inside or self.face.says_where):
            self.notice(sentences.cannot_reach(self.where, why, wait), style="class:offline")
        self.face.unreachable(why, wait)
        self.face.refresh()

    def heard(self, events: list[Mapping[str, Any]]) -> None:
        """Events came: kept first, shown then."""
        held: list[Held] = []
        fresh: list[tuple[Mapping[str, Any], int]] = []
        for fields in events:
            if "seq" not in fields:
                self._told(fields)
                continue
            event = as_event(fields)
            if self.view.fold(fields, event):
                weight = self.view.weight(event)
                held.append(Held(event.seq, event.room, weight, fields))
                fresh.append((fields, weight))
        if held:
            moved = any(fields["ev"] != "say" for fields, _ in fresh)
            self.store.add(held, **(self.view.kept() if moved else {"cursor": self.view.cursor}))
            self._dirty = True
            self._later("ack", ACK, self._acknowledge)
        for fields, weight in fresh:
            self._happened(fields, weight)
        self.face.refresh()

    def _told(self, fields: Mapping[str, Any]) -> None:
        """Something that is no event of the log."""
        if fields["ev"] == "closing":
            self.closing = True
            self.notice(sentences.COMING, style="class:offline")

    def _happened(self, fields: Mapping[str, Any], weight: int) -> None:
        mine = fields.get("by_id") == self.view.account
        if mine and fields.get("mid") is not None:
            self._stored(fields["mid"], fields["seq"])
        self.face.event(fields)
        entered = self.view.places.get(fields["room_id"])
        if fields["ev"] == "joined" and fields.get("who_id") == self.view.account and not self.view.current and entered:
            self.view.current = entered.id  # by approval or /add, where nothing was open (FEATURES row 16)
            self.face.entered(entered)
        if self._catching is not None:
            self.missed += fields["ev"] == "say" and not mine
            if len(self._catching) == REPLAY:
                self._pass_over(self._catching.popleft()[0])
            self._catching.append((fields, weight))
            return
        self._show_event(fields, weight, live=True)

    def _pass_over(self, fields: Mapping[str, Any]) -> None:
        """An event that is one of too many to be shown: if it is a line of mine, it waits no more."""
        if fields.get("mid") is not None:
            self.tail.take(fields["mid"])

    def _show_event(self, fields: Mapping[str, Any], weight: int, *, live: bool = False, caught: bool = False) -> None:
        event = as_event(fields)
        room = event.room
        if event.seq <= self._shown.get(room, 0):
            return
        place = self.view.places.get(room)
        elsewhere = place is not None and room != self.view.current
        if live and place is not None and weight:
            level = self.level(place)
            if level == "all" or (level == "mentions" and weight == MENTION):
                self.face.ring(place.name, f"{event.by_name}: {event.text or ''}")
            if elsewhere and level == "none":
                return
        if event.mid is not None:
            self.tail.take(event.mid)
        name = str(fields.get("room") or "") if place is None else place.name
        line = self.writer.event(event, name, weight)
        self._shown[room] = max(event.seq, self._shown.get(room, 0))
        if place is not None and not elsewhere:
            place.look(event.seq)
        if line is None:
            return
        if not (live or caught) and line.mark is Mark.STORED:
            line.mark = None  # of the past it is not asked any more who has seen it
        self._add(line)
        if line.mark is Mark.STORED:
            self._asked_seen = 0
            self._later("seen", ASK_SEEN[0], self._ask_seen)

    # -- arriving -----------------------------------------------------------------------------------------------------

    def _arrived(self, fields: Mapping[str, Any]) -> None:
        """Somebody is in: whoever was here before is forgotten, if it was another."""
        me = [fields["name"], fields["account"]]
        if self.store.get("me") not in (None, me) or fields["seq"] < self.view.cursor:
            self.store.forget_events()
            self.view.leave()
            self.view.cursor = fields["seq"]
            self._shown.clear()
        self._was_inside = True
        self.closing = False
        self._token = fields["token"]
        self.view.arrived(fields)
        self.store.put(token=self._token, me=me, where=self.where)
        self._dirty = True

    def _first_time(self, fields: Mapping[str, Any]) -> None:
        """By name and password: the log is followed from here, and what was missed is read as history."""
        known = self.view.cursor
        self.view.cursor = max(known, fields["seq"])
        self._save()
        missed = [(room, count) for room, count in fields["missed"] if count <= REPLAY]
        place = self.view.place
        if place is not None and all(room != place.name for room, _ in missed):
            missed.append((place.name, FIRST_SCREEN))
        found: list[dict[str, Any]] = []
        waiting = len(missed)

        def page(answer: dict[str, Any], name: str) -> None:
            found.extend({"ev": "say", "room": name, "room_id": answer["room_id"], **line} for line in answer["lines"])

        def done(_: object) -> None:
            nonlocal waiting
            waiting -= 1
            if waiting == 0:
                self._past(found)

        for name, count in missed:
            where = self.view.find(name)
            if where is None:
                waiting -= 1
                continue
            self.link.call({"do": "history", "room": where.id, "count": count}).addCallback(
                page, where.name
            ).addErrback(lambda _: None).addCallback(done)
        self.pump()

    def _past(self, found: list[dict[str, Any]]) -> None:
        """Lines from before this device was there."""
        found.sort(key=lambda fields: fields["seq"])
        self.store.add([Held(fields["seq"], fields["room_id"], 0, fields) for fields in found])
        for fields in found:
            self._show_event(fields, 0)
        self.face.refresh()

    def _caught_up(self) -> None:
        """All that was missed has been heard: show it, then go on live."""
        caught, self._catching = self._catching, None
        if caught is None:
            return
        counts: dict[str, int] = {}
        for place in self.view.ordered():
            if place.unread:
                counts[place.name] = place.unread
        if counts and self.missed and not self._outage:
            self.notice(texts.away_summary(counts.items()))
        for fields, weight in caught:
            if self.missed <= REPLAY or fields["room_id"] == self.view.current:
                self._show_event(fields, weight, caught=True)
            else:
                self._pass_over(fields)
        self._maybe_again()
        self._later("ack", 0.0, self._acknowledge)
        self.face.caught_up()
        self.face.refresh()

    def _maybe_again(self) -> None:
        """Once everything missed is here and everything queued is stored."""
        if not self.unsent:
            behind, self._behind = self._behind, []
            for call in behind:
                self.call(call)
            if self._quitting:
                self._quit()
        if self._outage and self.down_since is None and self._catching is None and not self.unsent:
            self._outage = False
            self.notice(sentences.online_again(self.missed, self.sent), style="class:online")
            self.missed = self.sent = 0

    def _send_again(self) -> None:
        """Calls whose answers were cut off: done once, whatever had become of them."""
        cut, self._cut = self._cut, []
        for at, call in cut:
            if self._clock() - at <= AGAIN_WITHIN:
                self.call(call)
            else:
                self.notice(f"{sentences.NOT_SENT}{call.text}", style="class:error")

    def _logged_out(self, *, gone: bool) -> None:
        self._emit(self.tail.settle(all_of_it=True))
        self._token = None
        self.store.put(token=None)
        if gone:
            self.store.forget_events()
            self.store.put(me=None)
        self.talk.left()
        self.view.leave()
        self._shown.clear()
        self._was_inside = False
        if gone:
            self.stop()
        else:
            self.link.left()
            self.face.at_door()

    # -- who has seen what --------------------------------------------------------------------------------------------

    def _acknowledge(self) -> None:
        """Tell the server, at most once a second, how far we have seen, and keep it."""
        if self._dirty:
            self._save()
        if self.talk.online and self.talk.inside and self.view.cursor > self._acked and self._catching is None:
            self._acked = self.view.cursor
            self.link.call({"do": "ack", "seq": self._acked}).addErrback(lambda _: None)

    def _ask_seen(self) -> None:
        """Ask whether every other member has seen what I wrote, while it is still on the screen."""
        if not (self.tail.waiting and self.talk.online):
            return
        for room in {line.room for line in self.tail.lines if line.mark is Mark.STORED}:
            self.link.call({"do": "seen", "room": room}).addCallbacks(self._seen, lambda _: None)
        self._asked_seen = min(self._asked_seen + 1, len(ASK_SEEN) - 1)
        self._later("seen", ASK_SEEN[self._asked_seen], self._ask_seen)

    def _seen(self, fields: Mapping[str, Any]) -> None:
        self._emit(self.tail.seen(fields["room_id"], fields["seq"]))
        self.face.refresh()

    # -- lines out ----------------------------------------------------------------------------------------------------

    def _add(self, line: Line) -> None:
        self._emit(self.tail.add(line))

    def _emit(self, lines: list[Line]) -> None:
        """These are final; a new day has a line of its own."""
        out: list[Line] = []
        for line in lines:
            day = time.strftime("%Y-%m-%d", time.localtime(line.at / 1000)) if line.at else self._day
            if day != self._day:
                if self._day or day != time.strftime("%Y-%m-%d", time.localtime(self._clock())):
                    out.append(self.writer.day(line.at))
                self._day = day
            out.append(line)
        if out:
            self.face.show(out)

    # -- the status line ----------------------------------------------------------------------------------------------

    def connection(self) -> str:
        """`online`, or `offline 12 s, 2 queued`."""
        queued = self.unsent
        if self.down_since is not None:
            return sentences.offline(self._clock() - self.down_since, queued)
        if not self.talk.online:
            return "connecting"
        return "online" if not queued else f"online, {queued:,} queued"


def halt(reactor: Any) -> None:
    """End the program, once what is on the wire has left."""

    def stop() -> None:
        if reactor.running:
            reactor.stop()

    reactor.callLater(0.05, stop)
