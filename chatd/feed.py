"""The feed: follows the one log and hands every connected session what it may hear, in order.

The rule: the feed owns one position. A batch is cut to what lies past it and applied only if it continues it; else
the feed looks at the log again. All delivery, the sender's own included, goes this way.

Membership is folded from the same events that are delivered into a routing table (routing.py). A session that is
behind (it has just logged in, or reads too slowly) is not in the table at all. It follows the log by itself, page by
page, and enters the table in the reactor turn in which it has caught up.

What is rendered is rendered once per run (consecutive events of one room), room and shape, and the same bytes object
goes to every session of that shape. Recent runs are kept in a ring, from which a session that was behind only a
little catches up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate
from time import perf_counter
from typing import Any, Final, NamedTuple

from twisted.logger import Logger
from twisted.python.failure import Failure

from chatd.errors import Refusal
from chatd.letterbox import Letterboxes
from chatd.meter import SECONDS, Histogram
from chatd.model import Event, Kind, Room
from chatd.routing import FOLDING, RANKING, Ear, Key, Routing, entering, leaving, other_end, ranked, room_of
from chatd.store import ReadTx
from chatd.store.database import TAIL, Committed, Database
from chatd.store.keys import Mail

PERSONAL: Final = (
    FOLDING | RANKING | {"door", "banned", "unbanned", "asked", "denied", "logged_out", "deleted", "file", "gone"}
)
"""Kinds that are delivered one by one, since somebody named in them may see them differently."""
EACH: Final = frozenset({"renamed", "nick"})
"""Kinds that each session is shown by itself."""
PAGE: Final = 500
"""How many events a session that is behind reads at once."""
AT_ONCE: Final = 4 << 20
"""How much of the ring, in bytes of its own count, a session that is behind is handed in one turn."""

_log = Logger()


class Run:
    """Consecutive events of one room, and what they were rendered to."""

    __slots__ = ("ends", "events", "pieces", "size", "whole")

    def __init__(self, events: list[Event]) -> None:
        self.events = events
        self.pieces: dict[Key, list[bytes]] = {}
        self.whole: dict[Key, bytes] = {}
        self.ends: dict[Key, list[int]] = {}
        # The bodies are kept three times: in the events, rendered one by one, and rendered together.
        self.size = sum(3 * (len(event.text or "") + len(event.sealed or "")) + 600 for event in events)

    def render(self, key: Key, ear: Ear, room: Room) -> bytes:
        """The run in this shape: rendered at the first call, the same object after."""
        whole = self.whole.get(key)
        if whole is None:
            _, current, viewer = key
            pieces = self.pieces[key] = ear.render(self.events, room, viewer, current)
            whole = self.whole[key] = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return whole

    def render_without(self, key: Key, ear: Ear, room: Room, own: list[int]) -> list[memoryview]:
        """The run less the lines, by index, that this session typed itself: views of the whole, nothing is copied."""
        whole = memoryview(self.render(key, ear, room))
        ends = self.ends.get(key)
        if ends is None:
            ends = self.ends[key] = [0, *accumulate(map(len, self.pieces[key]))]
        parts = []
        kept = 0
        for index in own:
            if ends[index] > kept:
                parts.append(whole[kept : ends[index]])
            kept = ends[index + 1]
        if len(whole) > kept:
            parts.append(whole[kept:])
        return parts


class Page(NamedTuple):
    """A stretch of the log for one account: all it may hear in (…, upto]; its rooms at `upto`, once that is the end."""

    events: list[Event]
    upto: int
    rooms: dict[int, Room]
    whole: bool


class Feed:
    """This instance's place in the log, and its routing table."""

    def __init__(self, ring_bytes: int) -> None:
        self.position = 0
        self.delivered = 0
        self.fanout = Histogram(SECONDS)
        self._db: Database | None = None
        self.routing = Routing()
        self._dirty: list[Ear] = []
        self._waiters: deque[tuple[int, Callable[[], None]]] = deque()
        self._retries: list[Callable[[], None]] = []
        self._ring: deque[Run] = deque()
        self._ring_bytes = ring_bytes
        self._ring_size = 0
        self._looking = False
        self._again = False
        self._cut = False
        self.boxes = Letterboxes(self.flush)
        self.observers: list[Callable[[list[Event], Mapping[int, Any]], None]] = []

    def start(self, db: Database, position: int) -> None:
        """Follow `db`'s log from `position` on."""
        self._db = db
        self.position = position
        self.boxes.start(db)

    # -- the log ------------------------------------------------------------------------------------------------------

    def commit(self, committed: Committed) -> None:
        """Deliver what a commit of ours brought."""
        self._followed(committed)
        if self._cut:
            self._cut = False
            self.look()

    def _followed(self, committed: Committed) -> None:
        events = committed.events
        if not self.boxes.deliver(committed.mail) or committed.after > self.position:
            self.look()
        elif events and events[-1].seq > self.position:
            if events[0].seq <= self.position:
                events = [event for event in events if event.seq > self.position]
            started = perf_counter()
            self._apply(events, committed.origins)
            self.flush()
            self.fanout.observe(perf_counter() - started)
        self.flush()

    def look(self) -> None:
        """Somebody has written, or may have: read the log's tail. A call during a look makes for another one."""
        if self._looking:
            self._again = True
            return
        assert self._db is not None
        db = self._db
        self._looking = True
        after, wanted = self.position, self.boxes.state()
        db.read(lambda tx: (tx.tail(after, TAIL), tx.mail(*wanted))).addCallbacks(
            lambda found: self._looked_at(after, found[0], found[1], db.under_way), self._unreadable
        ).addErrback(lambda failure: _log.failure("delivering the log", failure)).addBoth(lambda _: self._looked())

    def _looked_at(self, after: int, events: list[Event], mail: Mail, ours: Mapping[int, Any]) -> None:
        """A look may see our own commit before the writer's answer to it is here. It ends before that: answers come
        first, on whatever way the events are found; what lies behind is looked for again once they have.
        """
        more = len(events) == TAIL
        if ours and events and events[-1].seq >= (first := min(ours)):
            self._cut = more or events[-1].seq > max(ours)
            events = [event for event in events if event.seq < first]
            more = False
        self._followed(Committed(after, events, {}, mail))
        self._again = self._again or more

    def _unreadable(self, failure: Failure) -> None:
        if failure.check(Refusal) is None:
            _log.failure("reading the log", failure)

    def poll(self) -> None:
        """Look without having been told to: the safety net under lost wake-ups and failed reads."""
        retries, self._retries = self._retries, []
        for retry in retries:
            retry()
        self.boxes.poll()
        self.look()

    def _looked(self) -> None:
        self._looking = False
        if self._again:
            self._again = False
            self.look()

    def when(self, seq: int, do: Callable[[], None]) -> None:
        """Do this once everything up to `seq` is delivered here."""
        if seq <= self.position:
            do()
        else:
            self._waiters.append((seq, do))

    def _apply(self, events: list[Event], origins: Mapping[int, Any]) -> None:
        for run in runs(events):
            try:
                self._deliver(run, origins)
            except Exception:
                _log.failure("delivering seq {seq}", seq=run.events[0].seq)
            self._keep(run)
        self.position = events[-1].seq
        for observe in self.observers:
            _try(observe, events, origins)
        if self._waiters:
            due = [do for seq, do in self._waiters if seq <= self.position]
            self._waiters = deque((seq, do) for seq, do in self._waiters if seq > self.position)
            for do in due:
                _try(do)

    def _keep(self, run: Run) -> None:
        self._ring.append(run)
        self._ring_size += run.size
        while self._ring_size > self._ring_bytes and len(self._ring) > 1:
            self._ring_size -= self._ring.popleft().size

    def _deliver(self, run: Run, origins: Mapping[int, Any]) -> None:
        """Whom it cannot be shown is let go, to come back; all others hear it. A try costs nothing until it fails."""
        first = run.events[0]
        broken: list[Ear] = []
        folding = first.kind in FOLDING
        came = self.routing.enter(first) if folding else ()
        dirty = self._dirty
        typed = _typed(run, origins) if origins else None
        personal = first.kind in PERSONAL
        named = (first.by, first.who)
        for key, room, ears in self.routing.audience(first.room):
            data: bytes | None = None
            self.delivered += len(ears) * len(run.events)
            for ear in ears:
                try:
                    if typed is not None and ear in typed and not ear.picky:
                        if parts := run.render_without(key, ear, room, typed[ear]):
                            if not ear.out:
                                dirty.append(ear)
                            ear.out += parts
                        continue
                    if personal and (key[2] or ear.account in named or first.kind in EACH):
                        mine = b"".join(ear.render(run.events, room, ear.account, is_current(ear, first)))
                    elif typed is not None and ear in typed:
                        own = () if ear.echo else typed[ear]
                        pieces = ear.render(run.events, room, key[2], key[1])
                        mine = b"".join(piece for index, piece in enumerate(pieces) if index not in own)
                    else:
                        if data is None:
                            data = run.render(key, ear, room)
                        mine = data
                    if mine:
                        if not ear.out:
                            dirty.append(ear)
                        ear.out.append(mine)
                except Exception:
                    _log.failure("rendering seq {seq}", seq=first.seq)
                    broken.append(ear)
        for ear, room in came:
            _try(ear.entered, room, first)
        if first.kind in RANKING:
            for ear, room in self.routing.rank(first):
                _try(ear.ranked, room, first)
        if folding:
            for ear, room in self.routing.leave(first):
                _try(ear.left, room, first)
        for ear in broken:
            _try(ear.astray)

    def has_changed(self, room: int, after: int) -> bool:
        """Whether anything but talk happened in this room past `after`, as far as it was delivered here; yes, too,
        where that is not remembered any more.
        """
        for run in reversed(self._ring):
            if run.events[-1].seq <= after:
                return False
            if run.events[0].room == room and any(event.kind != "say" and event.seq > after for event in run.events):
                return True
        return after < self.position and (not self._ring or self._ring[0].events[0].seq > after + 1)

    def flush(self) -> None:
        """Send what this turn has brought, one write a session."""
        while self._dirty:
            dirty, self._dirty = self._dirty, []
            for ear in dirty:
                try:
                    if ear.out:
                        ear.flush()
                except Exception:
                    _log.failure("sending")
                    ear.astray()

    def touch(self, ear: Ear, data: bytes) -> None:
        """Have `data` sent to this session at the end of the turn, behind what it is already owed."""
        if not ear.out:
            self._dirty.append(ear)
        ear.out.append(data)

    # -- sessions -----------------------------------------------------------------------------------------------------

    def part(self, ear: Ear) -> tuple[int, dict[int, Room]] | None:
        """This session is not live any more: up to where it was told all, and its rooms there. None: it was not."""
        rooms = self.routing.take(ear)
        return None if rooms is None else (self.position, rooms)

    # -- catching up --------------------------------------------------------------------------------------------------

    def follow(self, ear: Ear, after: int, rooms: dict[int, Room] | None = None) -> None:
        """Have this session hear everything past `after`, and then live. `rooms`: its rooms at `after`, where known."""
        account, login = ear.account, ear.login

        def same() -> bool:
            """Whether the session is still the one that began to follow."""
            return (ear.account, ear.login) == (account, login)

        if not account:
            return
        if (waiting := ear.ready()) is not None:
            waiting.addCallback(lambda _: self.follow(ear, after, rooms) if same() else None)
            return

        def broken(failure: Failure) -> None:
            _log.failure("catching up", failure)
            if same():
                ear.astray()

        try:
            if rooms is not None and self._from_ring(ear, after, rooms):
                return
        except Exception:
            broken(Failure())
            return
        assert self._db is not None

        def read(tx: ReadTx) -> tuple[Page, dict[int, Room]]:
            last = tx.last_seq()
            events, upto = tx.heard(account, after, last, PAGE)
            whole = upto >= last
            mine = {room.id: room for room in tx.rooms_of(account)} if whole else {}
            seen: dict[int, Room] = {}
            for event in events:
                if event.room not in seen:
                    room = mine.get(event.room) or tx.room(event.room, account)
                    assert room is not None
                    seen[event.room] = room
            return Page(events, max(upto, after), mine, whole), seen

        def unread(failure: Failure) -> None:
            self._unreadable(failure)
            self._retries.append(lambda: self.follow(ear, after) if same() else None)

        self._db.read_between(read).addCallbacks(lambda page: self._page(ear, same, *page), unread).addErrback(broken)

    def _page(self, ear: Ear, same: Callable[[], bool], page: Page, seen: Mapping[int, Room]) -> None:
        if not same():
            return
        for run in runs(page.events):
            room = seen[run.events[0].room]
            self.touch(ear, b"".join(ear.render(run.events, room, ear.account, is_current(ear, run.events[0]))))
        self.flush()
        if page.whole:
            self.when(page.upto, lambda: self.follow(ear, page.upto, page.rooms) if same() else None)
        else:
            self.follow(ear, page.upto)

    def _from_ring(self, ear: Ear, after: int, rooms: dict[int, Room]) -> bool:
        """Bring a session that knows its rooms at `after` to the feed's position and into the table, in this turn.

        False: the ring does not reach back so far, or more waits there than is handed over at once.
        """
        if after > self.position:
            return False
        missed: list[Run] = []
        size = 0
        for run in reversed(self._ring):
            if run.events[-1].seq <= after:
                break
            missed.append(run)
            size += run.size
            if size > AT_ONCE:
                return False
        if after < self.position and (not missed or missed[-1].events[0].seq > after + 1):
            return False
        rooms = dict(rooms)
        for run in reversed(missed):
            if run.events[0].seq <= after:
                run = Run([event for event in run.events if event.seq > after])
            first = run.events[0]
            for account in entering(first):
                if account == ear.account and first.room not in rooms:
                    rooms[first.room] = room_of(first, account)
            if (room := rooms.get(first.room)) is not None:
                if first.kind in ("left", "nick") and room.kind is Kind.DIRECT and first.by != ear.account:
                    room = rooms[first.room] = other_end(room, first)
                if first.kind in PERSONAL or ear.picky:
                    data = b"".join(ear.render(run.events, room, ear.account, is_current(ear, first)))
                else:
                    data = run.render(self.routing.key(ear, room), ear, room)
                self.touch(ear, data)
                if first.kind == "renamed":
                    rooms[first.room] = room._replace(name=first.text or room.name)
                elif first.kind in RANKING:
                    rooms[first.room] = ranked(room, first, ear.account)
            if ear.account in leaving(first):
                rooms.pop(first.room, None)
        self.routing.put(ear, rooms)
        if ear.focus and ear.focus not in rooms:
            self.routing.refocus(ear, 0)
        ear.caught_up()
        self.flush()
        return True


def _try(do: Callable[..., object], *args: Any) -> None:
    """Whatever breaks, what else belongs to this place in the log is done."""
    try:
        do(*args)
    except Exception:
        _log.failure("behind what was delivered")


def runs(events: Iterable[Event]) -> Iterable[Run]:
    """Consecutive events of one room together; those that change the routing, or look different to somebody, alone."""
    held: list[Event] = []
    for event in events:
        alone = event.kind in PERSONAL
        if held and (alone or event.room != held[0].room):
            yield Run(held)
            held = []
        if alone:
            yield Run([event])
        else:
            held.append(event)
    if held:
        yield Run(held)


def is_current(ear: Ear, event: Event) -> bool:
    """Whether an event is about the room that is current in this session."""
    about = event.data.get("room") if event.kind == "asked" and event.data else event.room
    return ear.focused and ear.focus != 0 and ear.focus == about


def _typed(run: Run, origins: Mapping[int, Any]) -> dict[Any, list[int]] | None:
    """Which of the said lines, by index, each session of this instance typed itself: those that are not to hear them
    again, and those that want what they did rendered for themselves.
    """
    if run.events[0].kind in PERSONAL:
        return None
    typed: dict[Any, list[int]] = {}
    for index, event in enumerate(run.events):
        ear = origins.get(event.seq)
        if ear is None:
            continue
        if event.kind == "say" and not ear.echo:
            typed.setdefault(ear, []).append(index)
        elif ear.picky:
            typed.setdefault(ear, [])
    return typed or None
