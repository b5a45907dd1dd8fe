"""What has been shown: lines become final here, in order, once; a new day has a line of its own.

The rule: an event is shown once. For each room it is known up to which seq its lines are on the screen, so what comes
again, from the store or from the network, shows nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from typing import Any, Final

from client.face import Face
from client.lines import Line, Tail, Writer, day_of
from client.outbox import Mark
from client.store import Store
from client.view import MENTION, Place, View, as_event

FIRST_SCREEN: Final = 20
"""Lines of the current room shown at start, and of a room that is looked at for the first time."""
REPLAY: Final = 200
"""More lines than this that were missed become a count."""


class Transcript:
    """The lines of one chat, on their way to its face. `clock`: now, in s."""

    def __init__(self, store: Store, view: View, face: Face, clock: Callable[[], float]) -> None:
        self.store = store
        self.view = view
        self.face = face
        self.writer = Writer(view, ascii_only=face.ascii_only)
        self.tail = Tail(face.keep)
        self.levels: dict[str, str] = store.get("levels", {})
        self._clock = clock
        self._shown: dict[int, int] = {}  # room -> the seq up to which its lines have been printed
        self._partly: set[str] = set()
        self._day = ""

    def notice(self, *rows: str, style: str = "class:notice") -> None:
        """Show something that is no event."""
        if rows:
            self.add(self.writer.notice(*rows, style=style))

    def level(self, place: Place) -> str:
        """When this room rings: all, mentions or none."""
        return self.levels.get(str(place.id), "mentions")

    def set_level(self, place: Place, level: str) -> None:
        """Ring from now on for these lines of this room."""
        self.levels[str(place.id)] = level
        self.store.put(levels=self.levels)

    def forget(self) -> None:
        """Another person, another server: nothing was shown yet."""
        self._shown.clear()

    # -- events -------------------------------------------------------------------------------------------------------

    def context(self, place: Place) -> None:
        """What of a room has not been shown yet: what is unread, or for the first time its last lines."""
        after = self._shown.get(place.id)
        count = max(FIRST_SCREEN, min(place.unread, REPLAY)) if after is None else REPLAY
        self.past(self.store.last(place.id, count, before=self.view.cursor + 1, after=after or 0))
        place.look(self.view.cursor)

    def past(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Show events of the past. Several in a row that this device cannot open are one line, which says how many."""
        for unopened, run in groupby(events, lambda fields: fields.get("warn") == "waiting"):
            found = [fields for fields in run if fields["seq"] > self._shown.get(fields["room_id"], 0)]
            if not unopened or len(found) < 2:
                for fields in found:
                    self.event(fields, 0)
                continue
            for fields in found:
                self.pass_over(fields)
                self._was_shown(fields["room_id"], fields["seq"])
            self.add(self.writer.unopened(as_event(found[-1]).at, len(found)))

    def _was_shown(self, room: int, seq: int) -> None:
        """An event is on the screen."""
        self._shown[room] = max(seq, self._shown.get(room, 0))
        if room == self.view.current and (place := self.view.place) is not None:
            place.look(seq)

    def partly(self, mid: str) -> None:
        """A line of mine went to some devices only: that all have seen it will never be said of it."""
        self._partly.add(mid)
        for line in self.tail.lines:
            line.final = line.final or line.mid == mid
        self.emit(self.tail.settle())

    def pass_over(self, fields: Mapping[str, Any]) -> None:
        """An event that is one of too many to be shown: if it is a line of mine, it waits no more."""
        if fields.get("mid") is not None:
            self.tail.take(fields["mid"])

    def event(self, fields: Mapping[str, Any], weight: int, *, live: bool = False, caught: bool = False) -> bool:
        """Show an event; whether it is a line of mine whose mark still changes.

        `live`: it happens now; `caught`: it happened while there was no connection. Else it is of the past.
        """
        event = as_event(fields)
        room = event.room
        if event.seq <= self._shown.get(room, 0):
            return False
        place = self.view.places.get(room)
        elsewhere = place is not None and room != self.view.current
        if live and place is not None and weight:
            level = self.level(place)
            if level == "all" or (level == "mentions" and weight == MENTION):
                self.face.ring(place.name, f"{event.by_name}: {event.text or ''}")
            if elsewhere and level == "none":
                return False
        if event.mid is not None:
            self.tail.take(event.mid)
        name = str(fields.get("room") or "") if place is None else place.name
        line = self.writer.event(event, name, weight)
        self._was_shown(room, event.seq)
        if line is None:
            return False
        if not (live or caught) and line.mark is Mark.STORED:
            line.mark = None  # of the past it is not asked any more who has seen it
        line.final = line.final or line.mid in self._partly
        self.add(line)
        return line.mark is Mark.STORED

    def late(self, fields: Mapping[str, Any]) -> None:
        """A line that could not be opened when it came says now what it says."""
        event = as_event(fields)
        place = self.view.places.get(event.room)
        line = self.writer.event(event, str(fields.get("room") or "") if place is None else place.name)
        if line is not None and event.seq <= self._shown.get(event.room, 0):
            line.mark = None
            self.add(line)

    def as_lines(
        self, events: Iterable[Mapping[str, Any]], before: Line | None = None, after: Line | None = None
    ) -> list[Line]:
        """Events of the past as lines, with one between two days; `before` and `after` are what they stand between."""
        lines: list[Line] = [] if before is None else [before]
        for fields in events:
            event = as_event(fields)
            place = self.view.places.get(event.room)
            line = self.writer.event(event, str(fields.get("room") or "") if place is None else place.name)
            if line is not None:
                line.mark = None
                lines.append(line)
        found: list[Line] = []
        for line in [*lines, *([] if after is None else [after])]:
            if found and day_of(line.at) != day_of(found[-1].at):
                found.append(self.writer.day(line.at))
            found.append(line)
        return found[before is not None : len(found) - (after is not None)]

    # -- lines out ----------------------------------------------------------------------------------------------------

    def add(self, line: Line) -> None:
        """A line is there."""
        self.emit(self.tail.add(line))

    def emit(self, lines: list[Line]) -> None:
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

    def picture(self, rows: Iterable[str]) -> None:
        """What a terminal draws as a picture; it can stand only above all that still changes."""
        self.settle()
        self.face.show([Line([[("[ZeroWidthEscape]", row)] for row in rows])])

    def settle(self, *, queued: bool = False) -> None:
        """Everything is final now; `queued`: that which waits, too."""
        self.emit(self.tail.settle(all_of_it=True))
        if queued:
            waiting, self.tail.queued = self.tail.queued, []
            self.emit(waiting)
