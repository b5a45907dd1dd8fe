"""What is shown: a pure fold of the server's events into rooms, people, unread and mention counts.

The rule: nothing is counted that can be derived. What is unread follows from two numbers alone, each line's seq and the
cursor up to which the person has seen the room; a mention is an unread line that names me or is addressed to me.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from chatd.model import Event
from chatd.texts import clean
from client import sentences

ROLES: Final = {"promoted": "admin", "demoted": "member", "transferred": "owner", "inherited": "owner"}
LINE, MENTION = 1, 2
"""What a line weighs; 0: it is not counted."""


@dataclass(slots=True)
class Place:
    """A room of mine. `read`: everything up to this seq was before my eyes."""

    id: int
    name: str
    kind: str
    role: str = "member"
    sealed: bool = False
    read: int = 0
    _counted: list[int] = field(default_factory=list)
    _naming: list[int] = field(default_factory=list)

    @property
    def unread(self) -> int:
        """How many lines of others came since I looked."""
        return len(self._counted)

    @property
    def mentions(self) -> int:
        """How many of them mean me."""
        return len(self._naming)

    def count(self, seq: int, weight: int) -> None:
        """A line came. Lines come in the order of seq; what was read already does not count."""
        if seq <= self.read or not weight:
            return
        self._counted.append(seq)
        if weight == MENTION:
            self._naming.append(seq)

    def look(self, seq: int) -> None:
        """Everything up to here was seen. A cursor never goes back."""
        if seq > self.read:
            self.read = seq
            del self._counted[: bisect_right(self._counted, seq)]
            del self._naming[: bisect_right(self._naming, seq)]

    @property
    def admin(self) -> bool:
        """Whether I may do what admins may."""
        return self.role in ("admin", "owner")


class View:
    """Who I am, where I am, and what has happened."""

    def __init__(self) -> None:
        self.me = ""
        self.account = 0
        self.places: dict[int, Place] = {}
        self.current = 0
        self.cursor = 0
        """Every event up to this seq has been folded."""
        self.people: dict[str, bool] = {}
        self.sealed: set[int] = set()
        """Rooms that were sealed once, and are so for ever, whatever the server says."""
        self._mine = re.compile(r"(?!)")
        self.label: Callable[[Place], None] = lambda place: None
        """Gives a sealed room the name, kind and role that were signed, whatever the server says."""

    # -- who and where ------------------------------------------------------------------------------------------------

    def arrived(self, fields: Mapping[str, Any]) -> None:
        """What the server told at login: who I am and the rooms I am in. Read marks of rooms known before stay."""
        self.be(fields["name"], fields["account"])
        self.people = {name: bool(online) for name, online in fields.get("people", ())}
        known = self.places
        self.places = {}
        for room in fields["rooms"]:
            sealed = bool(room["sealed"]) or room["room_id"] in self.sealed
            place = Place(room["room_id"], room["room"], room["kind"], room["role"], sealed)
            if (before := known.get(place.id)) is not None:
                place.read, place._counted, place._naming = before.read, before._counted, before._naming
            self.places[place.id] = place
            self.label(place)
        if self.current not in self.places:
            self.current = fields.get("current") or 0
        if self.current not in self.places:
            self.current = next((place.id for place in self.ordered() if place.kind == "group"), 0)

    def be(self, name: str, account: int) -> None:
        """This is me."""
        self.me, self.account = name, account
        self._mine = re.compile(rf"(?<![\w@#-])@?{re.escape(name)}(?![\w-])", re.IGNORECASE)

    def leave(self) -> None:
        """Nobody is here any more."""
        self.__init__()  # type: ignore[misc]

    @property
    def place(self) -> Place | None:
        """The current room."""
        return self.places.get(self.current)

    def ordered(self) -> list[Place]:
        """My rooms as Alt-1 … Alt-9 name them: groups, then conversations, each as long as I am in it."""
        return sorted(self.places.values(), key=lambda place: (place.kind != "group", place.id))

    def find(self, name: str) -> Place | None:
        """My room of this name: `#ops`, `@bob`, or without the sign."""
        wanted = name.lower()
        found = [place for place in self.ordered() if wanted in (place.name, place.name[1:])]
        return next((place for place in found if place.sealed), found[0] if found else None)

    def next_unread(self) -> Place | None:
        """The room to look at next: those that mention me first, then in order from the current one on."""
        places = self.ordered()
        at = next((number for number, place in enumerate(places) if place.id == self.current), -1)
        turned = [place for place in places[at + 1 :] + places[: at + 1] if place.unread]
        return min(turned, key=lambda place: place.mentions == 0, default=None)

    # -- the fold -----------------------------------------------------------------------------------------------------

    def weight(self, event: Event) -> int:
        """What an event adds to the counts."""
        if event.kind not in ("say", "file") or event.by == self.account:
            return 0
        place = self.places.get(event.room)
        if place is not None and place.kind == "direct":
            return MENTION
        return MENTION if self._mine.search(event.text or "") else LINE

    def fold(self, fields: Mapping[str, Any], event: Event) -> bool:
        """One event of the log; whether it is new here."""
        if event.seq <= self.cursor:
            return False
        self.cursor = event.seq
        self._membership(fields, event)
        place = self.places.get(event.room)
        if place is not None:
            place.count(event.seq, self.weight(event))
            if event.by == self.account:
                place.look(event.seq)
        if event.by_name and event.by != self.account:
            self.people.setdefault(event.by_name, False)
        return True

    def _membership(self, fields: Mapping[str, Any], event: Event) -> None:
        data = event.data or {}
        name = str(fields.get("room") or "")
        me = self.account
        if event.kind == "joined" and event.who == me:
            self.enter(event.room, str(data.get("name") or name), "group", "member", bool(data.get("sealed")))
        elif event.kind == "created" and event.by == me:
            self.enter(event.room, str(data.get("name") or name), "group", "owner", bool(data.get("sealed")))
        elif event.kind == "direct":
            self.enter(event.room, name, "direct", "member", bool(data.get("sealed")))
        elif (event.kind == "removed" and event.who == me) or (event.kind in ("left", "closed") and event.by == me):
            self.places.pop(event.room, None)
            if self.current == event.room:
                self.current = 0
        elif (place := self.places.get(event.room)) is not None:
            if event.kind == "renamed" and event.text:
                place.name = event.text
            elif event.kind in ROLES and event.who == me:
                place.role = ROLES[event.kind]
            elif event.kind == "transferred" and event.by == me:
                place.role = "member"
            self.label(place)

    def enter(self, room: int, name: str, kind: str, role: str, sealed: bool) -> Place:
        """I am in this room."""
        sealed = sealed or room in self.sealed
        place = self.places.setdefault(room, Place(room, name, kind, role, sealed))
        place.name, place.role, place.sealed = name or place.name, role, sealed or place.sealed
        self.label(place)
        return place

    # -- what is kept -------------------------------------------------------------------------------------------------

    def kept(self) -> dict[str, Any]:
        """What a later start begins with."""
        return {
            "me": [self.me, self.account],
            "current": self.current,
            "cursor": self.cursor,
            "people": sorted(self.people)[:2_000],
            "rooms": [[p.id, p.name, p.kind, p.role, p.sealed, p.read] for p in self.places.values()],
        }

    def restore(self, kept: Mapping[str, Any], unread: Mapping[int, Iterable[tuple[int, int]]]) -> None:
        """Begin where an earlier run ended; `unread`: by room, what counts past its cursor."""
        self.be(*kept["me"])
        self.current, self.cursor = kept["current"], kept["cursor"]
        self.people = dict.fromkeys(kept["people"], False)
        for number, name, kind, role, sealed, read in kept["rooms"]:
            place = self.places[number] = Place(number, name, kind, role, sealed, read)
            for seq, weight in unread.get(number, ()):
                if seq <= self.cursor:  # what is past it comes again
                    place.count(seq, weight)


def as_event(fields: Mapping[str, Any]) -> Event:
    """An event of the json dialect as the catalogue of sentences takes it: names are the server's, and cleaned here."""
    at = fields["at"]
    return Event(
        seq=fields["seq"],
        at=at if isinstance(at, int) else int(datetime.fromisoformat(at).timestamp() * 1000),
        kind=fields["ev"],
        room=fields["room_id"],
        by=fields.get("by_id", 0),
        who=fields.get("who_id", 0),
        by_name=clean(str(fields.get("by") or "")),
        who_name=clean(str(fields.get("who") or "")),
        mid=fields.get("mid"),
        text=sentences.instead(fields["warn"], clean(str(fields.get("by") or "")))
        if "warn" in fields
        else fields.get("text"),
        data=fields.get("data"),
        sealed=fields.get("sealed"),
        proof=fields.get("proof"),
    )
