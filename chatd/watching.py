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
        """Tell this session, from now on; at first the whole of it."""
        self._watchers.add(session)
        self.anew(session)

    def unwatch(self, session: Watcher) -> None:
        """Tell it no more."""
        self._watchers.discard(session)
        self._anew.discard(session)

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

    def happened(self, events: list[Event], origins: Mapping[int, Any]) -> None:
        """Who has come into a room is seen there, and sees who is there."""
        if not self._watchers:
            return
        came = {account for event in events if event.kind in ("joined", "direct") for account in entering(event)}
        if came:
            self._stir(came)
            for session in self._watchers:
                if session.account in came:
                    self.anew(session)

    def heard(self, frame: Frame) -> None:
        """Another instance tells something."""
        match frame:
            case {"stir": [*accounts]}:
                self._stir(accounts)
            case {"typing": [int(room), int(account), str(name)]}:
                self._types(room, account, name)
            case _ if frame == LOST:
                for session in self._watchers:
                    self.anew(session)

    def _stir(self, accounts: Iterable[int]) -> None:
        if self._watchers:
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

        def read(tx: ReadTx) -> tuple[list[Seen], list[dict[int, list[Seen]]]]:
            changed = tx.seen(stirred, rooms, self._most) if stirred else []
            return changed, [tx.around(account, self._most) for _, account, _ in anew]

        def tell(found: tuple[list[Seen], list[dict[int, list[Seen]]]]) -> None:
            self._changed(found[0])
            for (session, account, login), around in zip(anew, found[1], strict=True):
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

    def _whole(self, session: Watcher, rooms: Mapping[int, list[Seen]]) -> None:
        for room, people in rooms.items():
            fields = {"room_id": room, "whole": True, "people": [_shown(seen) for seen in people]}
            self._feed.touch(session, session.dialect.notice("presence", fields))

    def _to(self, room: int, name: str, fields: Mapping[str, Any]) -> None:
        """The same bytes to all who watch this room and hear it live."""
        data: bytes | None = None
        for _, _, ears in self._feed.routing.audience(room):
            for ear in self._watchers.intersection(ears):
                data = data or ear.dialect.notice(name, fields)
                self._feed.touch(ear, data)


def _shown(seen: Seen) -> list[Any]:
    """How somebody is told of: name, id, `online`, `away` or `offline`, and what they say about being away."""
    state = "offline" if not seen.online else "away" if seen.away else "online"
    return [seen.name, seen.account, state, seen.away if state == "away" else ""]
