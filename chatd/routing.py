"""Who hears what on this instance: rooms to sessions, folded from the same events that are delivered.

The rule: a session is in this table exactly while it hears everything live. Membership in it changes with an event
and with nothing else, so that it always stands as the log stood at the feed's position.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final, Protocol

from twisted.internet.defer import Deferred

from chatd.model import DELETED, Event, Kind, Role, Room

FOLDING: Final = frozenset(
    {"created", "joined", "left", "removed", "closed", "direct", "renamed", "registered", "deleted", "nick"}
)
"""Kinds that change who hears what, or under which name."""
RANKING: Final = frozenset({"promoted", "demoted", "transferred", "inherited"})
"""Kinds that change somebody's role."""


class Ear(Protocol):
    """A session as the feed sees it."""

    account: int
    login: int
    shape: str
    focused: bool
    echo: bool
    picky: bool
    focus: int
    out: list[bytes | memoryview]

    def render(self, events: Sequence[Event], room: Room, viewer: int, current: bool) -> list[bytes]:
        """Each event's bytes in this session's shape."""

    def flush(self) -> None:
        """Send what `out` holds."""

    def entered(self, room: Room, event: Event) -> None:
        """The account is in this room from `event` on."""

    def left(self, room: Room, event: Event) -> None:
        """The account is in this room no more after `event`."""

    def ranked(self, room: Room, event: Event) -> None:
        """The account's role in this room is another after `event`."""

    def caught_up(self) -> None:
        """The session hears everything live from now on."""

    def astray(self) -> None:
        """Following the log broke."""

    def ready(self) -> Deferred[None] | None:
        """When the session can take the next page; None: now."""


Key = tuple[str, bool, int]
"""A shape: dialect, current room or not, and the viewer where the room looks different to each (else 0)."""


class Shape:
    """The sessions of one room to which it looks the same."""

    __slots__ = ("ears", "room")

    def __init__(self, room: Room) -> None:
        self.room = room
        self.ears: set[Ear] = set()


class Person:
    """An account's live sessions here, and the rooms they hear. The inbox stands apart, since everybody has one."""

    __slots__ = ("ears", "inbox", "rooms")

    def __init__(self, rooms: dict[int, Room]) -> None:
        self.ears: tuple[Ear, ...] = ()
        self.inbox = next((room for room in rooms.values() if room.kind is Kind.INBOX), None)
        self.rooms = {number: room for number, room in rooms.items() if room.kind is not Kind.INBOX} or NO_ROOMS

    def room(self, number: int) -> Room | None:
        """The room of this id, where the person is in it."""
        if self.inbox is not None and self.inbox.id == number:
            return self.inbox
        return self.rooms.get(number)

    def put(self, room: Room) -> None:
        """The person is in this room, or it has another name now."""
        if room.kind is Kind.INBOX:
            self.inbox = room
        elif self.rooms is NO_ROOMS:
            self.rooms = {room.id: room}
        else:
            self.rooms[room.id] = room


NO_ROOMS: Final[dict[int, Room]] = {}
"""Shared by everybody who is in no room; never written to."""


class Routing:
    """The table."""

    def __init__(self) -> None:
        self._routes: dict[int, dict[Key, Shape]] = {}
        self._people: dict[int, Person] = {}
        self._inboxes: dict[int, Person] = {}
        self.guests: set[int] = set()
        """Who is here without an account that lasts."""

    def audience(self, room: int) -> Iterator[tuple[Key, Room, Collection[Ear]]]:
        """The sessions that hear this room, by shape, and the room as each shape sees it."""
        route = self._routes.get(room)
        if route is not None:
            for key, shape in route.items():
                yield key, shape.room, shape.ears
        elif (person := self._inboxes.get(room)) is not None and person.inbox is not None:
            for ear in person.ears:
                yield (ear.shape, False, ear.account), person.inbox, (ear,)

    def room(self, account: int, room: int) -> Room | None:
        """A room that this connected account hears, as it sees it."""
        person = self._people.get(account)
        return None if person is None else person.room(room)

    def rooms(self, account: int) -> Collection[int]:
        """The rooms that this connected account hears, its inbox aside."""
        person = self._people.get(account)
        return () if person is None else person.rooms.keys()

    def ears(self, account: int) -> tuple[Ear, ...]:
        """The sessions of this account that hear everything live."""
        person = self._people.get(account)
        return () if person is None else person.ears

    def hears(self, ear: Ear) -> bool:
        """Whether this session hears everything live."""
        person = self._people.get(ear.account)
        return person is not None and ear in person.ears

    def groups(self, account: int) -> list[Room]:
        """The groups that this connected account hears."""
        person = self._people.get(account)
        return [] if person is None else [room for room in person.rooms.values() if room.kind is Kind.GROUP]

    def __len__(self) -> int:
        """How many rooms, inboxes aside, have a session here."""
        return len(self._routes)

    # -- folding ------------------------------------------------------------------------------------------------------

    def enter(self, event: Event) -> list[tuple[Ear, Room]]:
        """Route the room, from this very event on, to those who come in with it: their sessions."""
        came = []
        if event.kind == "registered" and event.data is not None and event.data.get("guest"):
            self.guests.add(event.by)
        elif event.kind == "deleted":
            self.guests.discard(event.by)
        elif event.kind in ("left", "nick"):
            self._other_end(event)
        for account in entering(event):
            person = self._people.get(account)
            if person is not None and person.room(event.room) is None:
                room = room_of(event, account)
                person.put(room)
                for ear in person.ears:
                    self._route(ear, room)
                    came.append((ear, room))
        return came

    def _other_end(self, event: Event) -> None:
        """The account at the other end of a conversation of two is no more, or has another name, from this event on."""
        for shape in self._routes.get(event.room, {}).values():
            for ear in shape.ears:
                if ear.account != event.by and shape.room.kind is Kind.DIRECT:
                    shape.room = other_end(shape.room, event)
                    self._people[ear.account].put(shape.room)

    def leave(self, event: Event) -> list[tuple[Ear, Room]]:
        """Who hears nothing more of this room after this event; and what it is called now."""
        went = []
        for account in leaving(event):
            person = self._people.get(account)
            if person is not None and (room := person.rooms.pop(event.room, None)) is not None:
                for ear in person.ears:
                    self._unroute(ear, room)
                    went.append((ear, room))
        if event.kind == "renamed":
            for shape in self._routes.get(event.room, {}).values():
                shape.room = shape.room._replace(name=event.text or shape.room.name)
                for ear in shape.ears:
                    person = self._people[ear.account]
                    person.put(person.rooms[event.room]._replace(name=shape.room.name))
        return went

    def rank(self, event: Event) -> list[tuple[Ear, Room]]:
        """Whose role in the room is another after this event: their sessions."""
        affected = []
        for account in (event.by, event.who):
            person = self._people.get(account)
            if person is not None and (room := person.rooms.get(event.room)) is not None:
                after = ranked(room, event, account)
                if after.role is not room.role:
                    person.put(after)
                    affected += [(ear, after) for ear in person.ears]
        return affected

    # -- sessions -----------------------------------------------------------------------------------------------------

    def put(self, ear: Ear, rooms: dict[int, Room]) -> None:
        """This session hears everything live from now on; `rooms` are its rooms at the table's place in the log."""
        person = self._people.get(ear.account)
        if person is None:
            person = self._people[ear.account] = Person(rooms)
            if person.inbox is not None:
                self._inboxes[person.inbox.id] = person
        person.ears = (*person.ears, ear)
        for room in person.rooms.values():
            self._route(ear, room)

    def take(self, ear: Ear) -> dict[int, Room] | None:
        """This session is not live any more: its rooms. None: it was not."""
        person = self._people.get(ear.account)
        if person is None or ear not in person.ears:
            return None
        for room in person.rooms.values():
            self._unroute(ear, room)
        person.ears = tuple(other for other in person.ears if other is not ear)
        rooms = dict(person.rooms)
        if person.inbox is not None:
            rooms[person.inbox.id] = person.inbox
        if not person.ears:
            del self._people[ear.account]
            if person.inbox is not None:
                del self._inboxes[person.inbox.id]
        return rooms

    def refocus(self, ear: Ear, focus: int) -> None:
        """Another room is current in this session."""
        person = self._people.get(ear.account)
        affected = []
        if person is not None and ear in person.ears and ear.focused:
            affected = [room for number in (ear.focus, focus) if (room := person.rooms.get(number)) is not None]
        for room in affected:
            self._unroute(ear, room)
        ear.focus = focus
        for room in affected:
            self._route(ear, room)

    def key(self, ear: Ear, room: Room) -> Key:
        """The shape in which this session sees this room."""
        viewer = 0 if room.kind is Kind.GROUP else ear.account
        return (ear.shape, ear.focused and ear.focus == room.id, viewer)

    def _route(self, ear: Ear, room: Room) -> None:
        if room.kind is Kind.INBOX:
            return
        route = self._routes.setdefault(room.id, {})
        key = self.key(ear, room)
        shape = route.get(key)
        if shape is None:
            shape = route[key] = Shape(room)
        shape.ears.add(ear)

    def _unroute(self, ear: Ear, room: Room) -> None:
        route = self._routes[room.id]
        key = self.key(ear, room)
        ears = route[key].ears
        ears.discard(ear)
        if not ears:
            del route[key]
            if not route:
                del self._routes[room.id]


def entering(event: Event) -> tuple[int, ...]:
    """Whose membership begins with this event."""
    match event.kind:
        case "created" | "registered":
            return (event.by,)
        case "joined":
            return (event.who,)
        case "direct":
            return (event.by, event.who)
    return ()


def leaving(event: Event) -> tuple[int, ...]:
    """Whose membership ends with this event."""
    match event.kind:
        case "left" | "closed":
            return (event.by,)
        case "removed":
            return (event.who,)
    return ()


def other_end(room: Room, event: Event) -> Room:
    """A conversation of two whose other end is no more, or has another name."""
    return room._replace(name=f"@{event.text if event.kind == 'nick' else DELETED}")


def ranked(room: Room, event: Event, account: int) -> Room:
    """The room with the role that `account` has in it after this event."""
    match event.kind:
        case "transferred" | "inherited" if account == event.who:
            return room._replace(role=Role.OWNER)
        case "promoted" if account == event.who:
            return room._replace(role=Role.ADMIN)
        case "demoted" if account == event.who:
            return room._replace(role=Role.MEMBER)
        case "transferred" if account == event.by:
            return room._replace(role=Role.MEMBER)
    return room


def room_of(event: Event, viewer: int) -> Room:
    """The room of an entering event, as `viewer` sees it."""
    data = event.data or {}
    sealed = bool(data.get("sealed"))
    if event.kind == "direct":
        other = event.who_name if viewer == event.by else event.by_name
        return Room(event.room, Kind.DIRECT, f"@{other}", sealed, Role.MEMBER)
    if event.kind == "registered":
        return Room(event.room, Kind.INBOX, "", False, Role.MEMBER)
    role = Role.OWNER if event.kind == "created" else Role.MEMBER
    return Room(event.room, Kind.GROUP, str(data.get("name", "")), sealed, role)
