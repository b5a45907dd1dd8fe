"""What is true only now: who of a room is there or away, and who is typing. Told to the sessions that watch.

The rule: none of this is in the log, and nobody waits for it. What changes within a moment is gathered into one line a
room, rendered once; a session that is behind hears nothing of it and is told the whole of it once it is level again.
The truth about who is there stands in the database: what changed is looked up there, never passed on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from twisted.logger import Logger
from twisted.python.failure import Failure

from chatd.errors import Refusal
from chatd.feed import Feed
from chatd.limits import Limits
from chatd.model import Event
from chatd.routing import Ear, entering
from chatd.store import ReadTx
from chatd.store.database import Database
from chatd.store.presence import Seen
from chatd.streams import LOST, Frame, Streams

GATHER: Final = 0.2
"""Seconds in which changes are gathered."""
TYPING_AGAIN: Final = 2.0
"""Seconds within which the same session, typing in the same room, is not told of again."""
TYPISTS: Final = 20
"""How many of a room are said to be typing at once."""
Found = tuple[list[Seen], list[tuple[str, int, bool]], list[dict[int, list[Seen]]]]
_log = Logger()


class Watcher(Ear, Protocol):
    """A session that wants to know."""

    name: str
    dialect: Any


class Watching:
    """The sessions of this instance that want to know, and what they have not been told yet."""

    def __init__(self, reactor: Any, db: Database, feed: Feed, limits: Limits, run: Path, node: int) -> None:
        self._streams = Streams(reactor, run, node, self.heard)
        self._reactor = reactor
        self._db = db
        self._feed = feed
        self._most = limits.presence_members
        self._watchers: set[Watcher] = set()
        self._monitors: dict[str, set[Watcher]] = {}
        self._monitored: dict[Watcher, tuple[str, ...]] = {}
        self._known: dict[int, str] = {}
        self._stirred: set[int] = set()
        self._anew: set[Watcher] = set()
        self._typing: dict[int, dict[int, str]] = defaultdict(dict)
        self._typed: dict[tuple[int, int], float] = {}
        self._timer: Any = None
        self._reading = self._stopped = False

    @property
    def waiting(self) -> bool:
        """Whether something is gathered, or being read, that will be told."""
        return self._timer is not None or self._reading

    def start(self) -> None:
        """Hear what other instances tell."""
        self._streams.start()

    def find_others(self) -> None:
        """Tell those, too, that have come since."""
        self._streams.find()

    def stop(self) -> None:
        """Nobody is told anything any more."""
        self._stopped = True
        self._streams.stop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- who wants to know --------------------------------------------------------------------------------------------

    def watch(self, session: Watcher) -> None:
        """Tell this session, from now on; at first the whole of it, unless its dialect asks for that in its own way."""
        self._watchers.add(session)
        if not session.dialect.lively:
            self.anew(session)

    def unwatch(self, session: Watcher) -> None:
        """Tell it no more."""
        self._watchers.discard(session)
        self._anew.discard(session)
        if session in self._monitored:
            self.monitor(session, {})

    def monitor(self, session: Watcher, names: Mapping[str, int]) -> None:
        """Tell this session of the people of these names, and whose account that is, from now on, and of no others."""
        for name in self._monitored.pop(session, ()):
            held = self._monitors[name]
            held.discard(session)
            if not held:
                del self._monitors[name]
        if names:
            self._monitored[session] = tuple(names)
        for name, account in names.items():
            self._monitors.setdefault(name, set()).add(session)
            if account:
                self._known[account] = name
        if not self._monitors:
            self._known.clear()

    def anew(self, session: Watcher) -> None:
        """This session may have missed something: tell it the whole of it again."""
        if session in self._watchers:
            self._anew.add(session)
            self._soon()

    # -- what changes -------------------------------------------------------------------------------------------------

    def stir(self, accounts: Iterable[int]) -> None:
        """These came, went, or say something else about being away: on every instance their rooms are told."""
        found = list(accounts)
        if found:
            self._streams.tell({"stir": found})
            self._stir(found)

    def typing(self, session: Watcher, room: int) -> None:
        """Somebody is typing in this room."""
        now = self._reactor.seconds()
        if self._typed.get((session.login, room), -TYPING_AGAIN) > now - TYPING_AGAIN:
            return
        if len(self._typed) > 10_000:
            self._typed = {key: at for key, at in self._typed.items() if at > now - TYPING_AGAIN}
        self._typed[session.login, room] = now
        self._streams.tell({"typing": [room, session.account, session.name]})
        self._types(room, session.account, session.name)

    def marked(self, session: Watcher, room: int, at: int) -> None:
        """This session's account has read this room up to this time (ms): its other sessions are told."""
        self._streams.tell({"marked": [room, session.account, at]})
        self._marks(room, session.account, at, but=session)

    def _marks(self, room: int, account: int, at: int, *, but: Watcher | None = None) -> None:
        seen = self._feed.routing.room(account, room)
        for ear in self._feed.routing.ears(account):
            session: Any = ear
            if session is not but and seen is not None and (session.dialect.lively or session in self._watchers):
                fields = {"room_id": room, "time": at}
                if data := session.dialect.now("marker", fields, seen, account):
                    self._feed.touch(session, data)
        self._feed.flush()

    def happened(self, events: list[Event], origins: Mapping[int, Any]) -> None:
        """Who has come into a room is seen there, and sees who is there."""
        if not self._watchers:
            return
        came = {account for event in events if event.kind in ("joined", "direct") for account in entering(event)}
        if came:
            self._stir(came)
            for session in self._watchers:
                if session.account in came and not session.dialect.lively:
                    self.anew(session)

    def heard(self, frame: Frame) -> None:
        """Another instance tells something."""
        match frame:
            case {"stir": [*accounts]}:
                self._stir(accounts)
            case {"typing": [int(room), int(account), str(name)]}:
                self._types(room, account, name)
            case {"marked": [int(room), int(account), int(at)]}:
                self._marks(room, account, at)
            case _ if frame == LOST:
                for session in self._watchers:
                    self.anew(session)

    def _stir(self, accounts: Iterable[int]) -> None:
        if self._watchers or self._monitors:
            self._stirred.update(accounts)
            self._soon()

    def _types(self, room: int, account: int, name: str) -> None:
        if self._watchers and len(self._typing[room]) < TYPISTS:
            self._typing[room][account] = name
            self._soon()

    # -- telling ------------------------------------------------------------------------------------------------------

    def _soon(self) -> None:
        if self._timer is None and not self._stopped:
            self._timer = self._reactor.callLater(GATHER, self._tell)

    def _tell(self) -> None:
        self._timer = None
        if self._reading:
            self._soon()  # what is read later must not be told earlier
            return
        typing, self._typing = self._typing, defaultdict(dict)
        for room, people in typing.items():
            self._to(room, "typing", {"room_id": room, "people": [[name, who] for who, name in people.items()]})
        self._feed.flush()
        stirred, self._stirred = self._stirred, set()
        anew, self._anew = self._anew, set()
        if stirred or anew:
            self._look(stirred, [(session, session.account, session.login) for session in anew])

    def _look(self, stirred: set[int], anew: list[tuple[Watcher, int, int]]) -> None:
        """Read how those who changed are seen, and all that those see who are told anew."""
        routing = self._feed.routing
        rooms = {room for session in self._watchers for room in routing.rooms(session.account)} if stirred else ()

        monitored = bool(self._monitors)

        def read(tx: ReadTx) -> Found:
            changed = tx.seen(stirred, rooms, self._most) if rooms else []
            people = tx.who_are(stirred) if monitored and stirred else []
            return changed, people, [tx.around(account, self._most) for _, account, _ in anew]

        def tell(found: Found) -> None:
            self._changed(found[0])
            self._people(found[1])
            for (session, account, login), around in zip(anew, found[2], strict=True):
                if (session.account, session.login) == (account, login) and routing.hears(session):
                    self._whole(session, around)  # else it is gone, or behind, and told once it is level
            self._feed.flush()

        def unreadable(failure: Failure) -> None:
            if failure.check(Refusal) is None:
                _log.failure("telling who is there", failure)
            else:
                self._stir(stirred)
                for session, _, _ in anew:
                    self.anew(session)

        def read_all(_: object) -> None:
            self._reading = False

        self._reading = True
        self._db.read(read).addCallback(tell).addErrback(unreadable).addBoth(read_all)

    def _changed(self, found: list[Seen]) -> None:
        rooms: dict[int, list[Seen]] = defaultdict(list)
        for seen in found:
            rooms[seen.room].append(seen)
        for room, people in rooms.items():
            self._to(room, "presence", {"room_id": room, "people": [_shown(seen) for seen in people]})

    def _people(self, found: list[tuple[str, int, bool]]) -> None:
        """Who monitors these is told; whoever has another name now, or none, is there no more under the old one."""
        for name, account, online in found:
            before = self._known.pop(account, name)
            if before != name:
                self._monitor_told(before, account, "offline")
            if name in self._monitors:
                self._known[account] = name
                self._monitor_told(name, account, "online" if online else "offline")

    def _monitor_told(self, name: str, account: int, state: str) -> None:
        for session in self._monitors.get(name, ()):
            self._feed.touch(session, session.dialect.notice("monitor", {"people": [[name, account, state]]}))

    def _whole(self, session: Watcher, rooms: Mapping[int, list[Seen]]) -> None:
        for room, people in rooms.items():
            fields = {"room_id": room, "whole": True, "people": [_shown(seen) for seen in people]}
            if (seen := self._feed.routing.room(session.account, room)) is not None:
                self._feed.touch(session, session.dialect.now("presence", fields, seen, session.account))

    def _to(self, room: int, name: str, fields: Mapping[str, Any]) -> None:
        """The same bytes to all who watch this room, hear it live and see it alike; whom it is about sees it apart."""
        about = {each[1] for each in fields["people"]}
        for key, seen, ears in self._feed.routing.audience(room):
            shown: dict[int, bytes] = {}
            for ear in self._watchers.intersection(ears):
                viewer = ear.account if ear.dialect.lively and ear.account in about else key[2]
                if viewer not in shown:
                    shown[viewer] = ear.dialect.now(name, fields, seen, viewer)
                if shown[viewer]:
                    self._feed.touch(ear, shown[viewer])


def _shown(seen: Seen) -> list[Any]:
    """How somebody is told of: name, id, `online`, `away` or `offline`, and what they say about being away."""
    state = "offline" if not seen.online else "away" if seen.away else "online"
    return [seen.name, seen.account, state, seen.away if state == "away" else ""]
