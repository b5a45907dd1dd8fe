"""Events and answers as lines on a screen.

The rule: what the sentences are is decided by chatd/texts/; here it is decided only where on the line things stand
and in which style. A line of one's own carries a mark, and the mark is what the outbox and the server have said.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from chatd import texts
from chatd.model import Event
from client import formatting, sentences
from client.formatting import Fragments
from client.outbox import Entry, Mark
from client.view import MENTION, View


@dataclass(slots=True, eq=False)
class Line:
    """What one event, answer or notice shows: rows of fragments.

    `mid` and `mark`: it is my own message, and what is known of it. `seq`, `room`, `at`: of its event.
    """

    rows: list[Fragments]
    at: int = 0
    room: int = 0
    seq: int = 0
    mid: str | None = None
    mark: Mark | None = None
    weight: int = 0
    final: bool = False
    """Somebody has come in since, or it did not go to all: that all have seen it will never be said of this line."""

    def shown(self) -> list[Fragments]:
        """The rows, with the mark behind the last one."""
        if self.mark is None:
            return self.rows
        return [*self.rows[:-1], [*self.rows[-1], ("class:mark", f"  {self.mark.value}")]]

    @property
    def settled(self) -> bool:
        """Whether it stays as it is from now on."""
        return self.final or self.mark not in (Mark.QUEUED, Mark.STORED)


class Writer:
    """Writes lines for one view."""

    def __init__(self, view: View, *, ascii_only: bool = False) -> None:
        self.view = view
        self.ascii_only = ascii_only

    def event(self, event: Event, name: str, weight: int = 0) -> Line | None:
        """What an event shows in the room called `name`; None: nothing."""
        about = (event.data or {}).get("room") if event.kind == "asked" else event.room
        current = bool(self.view.current) and about == self.view.current
        if event.kind != "say":
            told = event._replace(text=None) if event.kind == "file" else event  # a caption is shown as talk is
            rows = texts.event(told, formatting.clean(name), self.view.account, current)
            if not rows:
                return None
            if event.kind == "file":
                return self._file(event, name, rows[0], current=current, weight=weight)
            clock = ("class:time", f"{texts.clock(event.at)} ")
            return Line([[clock, ("class:event", row)] for row in rows], event.at, event.room, event.seq)
        text = event.text
        if text is None:
            text = texts.BLANK if event.sealed is None else texts.SEALED
        mine = event.by == self.view.account
        mark = Mark.STORED if mine else None
        clear = self._clear(event)
        rows_ = self._said(event.at, event.by_name, name, text, mine=mine, current=current, weight=weight, clear=clear)
        return Line(rows_, event.at, event.room, event.seq, event.mid if mine else None, mark, weight)

    def _file(self, event: Event, name: str, own: str, *, current: bool, weight: int) -> Line:
        """`14:02 bob: trip.png 2.1 MB (file 17: /get 17)`; of one that I sent, that it is there."""
        mine = event.by == self.view.account
        if mine and "gone" not in (event.data or {"gone": ""}):
            row: Fragments = [("class:event", own)]
        else:
            head, sign = self._head(event.at, event.by_name, name, mine=mine, current=current, clear=self._clear(event))
            offered = texts.offered(event._replace(text=None), "/get")
            row = [*head, ("class:event", f"{sign} {formatting.clean(offered)}")]
        row += self._caption(event.data, event.text)
        return Line(_ringing([row], name, weight), event.at, event.room, event.seq, weight=weight)

    def _caption(self, data: Mapping[str, Any] | None, text: str | None) -> Fragments:
        """What stands behind a file that was not blanked, with its markup."""
        if data is None or not text:
            return []
        return [("class:event", ": "), *formatting.inline(formatting.clean(text), ascii_only=self.ascii_only)]

    def _clear(self, event: Event) -> bool:
        """Whether this was said in a room that is not sealed."""
        place = self.view.places.get(event.room)
        return event.room not in self.view.sealed and (place is None or not place.sealed)

    def past(self, lines: Iterable[Mapping[str, Any]], lead: Iterable[str] = ()) -> Line:
        """What `/history` and `/search` answer: `2026-11-01 14:02:07 alice: hi`."""
        rows: list[Fragments] = [[("class:notice", row)] for row in lead]
        for line in lines:
            by, text = formatting.clean(line["by"]), line["text"]
            head = [("class:time", f"{texts.stamp(line['at'])} "), (formatting.colour(by), by)]
            if line.get("ev") == "file":
                about = formatting.clean(texts.about(line.get("data"), None, "/get"))
                rows.append([*head, ("class:event", f": {about}"), *self._caption(line.get("data"), text)])
            else:
                if text is None:
                    text = texts.BLANK if line["sealed"] is None else texts.SEALED
                rows += self._texts(head, ":", text)
        return Line(rows)

    def queued(self, entry: Entry) -> Line:
        """A line of mine that is not stored yet."""
        if entry.do == "msg":
            name = f"@{entry.fields['user']}"
            place = self.view.find(name)
            room = 0 if place is None else place.id
        else:
            room = entry.room if isinstance(entry.room, int) else 0
            place = self.view.places.get(room)
            name = str(entry.room) if place is None else place.name
        current = bool(room) and room == self.view.current
        rows = self._said(entry.at, self.view.me, name, entry.text, mine=True, current=current)
        return Line(rows, entry.at, room, 0, entry.mid, Mark.QUEUED)

    def _said(
        self,
        at: int,
        by: str,
        name: str,
        text: str,
        *,
        mine: bool,
        current: bool,
        weight: int = 0,
        clear: bool = False,
    ) -> list[Fragments]:
        """`14:02 bob: hi` here, `14:02 #ops bob: hi` elsewhere, `14:02 [bob] hi` in a conversation that is not
        before one's eyes, `14:02 [bob] [open] hi` if the server can read it, and write it.
        """
        head, sign = self._head(at, by, name, mine=mine, current=current, clear=clear)
        return _ringing(self._texts(head, sign, text), name, weight)

    def _texts(self, head: Fragments, sign: str, text: str) -> list[Fragments]:
        """A text with its markup, row by row, behind what stands before it."""
        first, *more = formatting.block(text, ascii_only=self.ascii_only)
        return [[*head, ("", f"{sign} "), *first], *([*head, ("", " | "), *row] for row in more)]

    @staticmethod
    def _head(at: int, by: str, name: str, *, mine: bool, current: bool, clear: bool = False) -> tuple[Fragments, str]:
        """What stands before a text, and the sign between the two."""
        by, name = formatting.clean(by), formatting.clean(name)
        person = (formatting.colour(by), by)
        head: Fragments = [("class:time", f"{texts.clock(at)} ")]
        if name.startswith("@") and not current:
            whose = f"[me -> {name[1:]}]" if mine else f"[{by}]"
            return [*head, ("class:room", f"{whose} [open]" if clear else whose)], ""
        return [*head, *([] if current else [("class:room", f"{name or texts.CLOSED} ")]), person], ":"

    def day(self, at: int) -> Line:
        """The line between two days."""
        dash = "--" if self.ascii_only else "──"
        return Line([[("class:day", f"{dash} {day_of(at)} {dash}")]], at)

    def unopened(self, at: int, count: int) -> Line:
        """So many messages in a row that this device cannot open; the last one is of this moment."""
        clock = ("class:time", f"{texts.clock(at)} ")
        return Line([[clock, ("class:event", sentences.UNOPENED.format(count=count))]], at)

    def notice(self, *rows: str, style: str = "class:notice") -> Line:
        """Something said by chat or by the server, line by line."""
        return Line([[(style, formatting.clean(row))] for row in rows])


def day_of(at: int) -> str:
    """The local date of a moment in ms.

    >>> import os; os.environ["TZ"] = "UTC"; time.tzset(); day_of(1_700_000_000_000)
    'Tuesday 14 November 2023'
    """
    then = time.localtime(at / 1000)
    return f"{time.strftime('%A', then)} {then.tm_mday} {time.strftime('%B %Y', then)}"


KEEP: Final = 6
"""How many lines stay changeable below the scrollback, for their marks."""
TALL: Final = 3
"""A line of more rows than this does not wait there, and neither does what stands above it: all of it is to be read."""


class Tail:
    """The last lines, drawn with the prompt while their marks still change; what is settled leaves upwards.

    Terminals keep what has scrolled, and nobody can change it there. So a line of mine waits here until its mark is
    final or enough came after it; lines not yet stored stay below all others, since the server has given them no
    place yet.
    """

    def __init__(self, keep: int = KEEP) -> None:
        self._keep = keep
        self.lines: list[Line] = []
        self.queued: list[Line] = []

    def add(self, line: Line) -> list[Line]:
        """A line is there; those that are final now."""
        if line.mark is Mark.QUEUED:
            self.queued.append(line)
            return []
        self.lines.append(line)
        return self.settle()

    def take(self, mid: str) -> Line | None:
        """The waiting line of this `mid`, which waits no more: its event has come, or it was refused."""
        for number, line in enumerate(self.queued):
            if line.mid == mid:
                return self.queued.pop(number)
        return None

    def seen(self, room: int, seq: int) -> list[Line]:
        """All others have seen that room up to `seq`; the lines that are final now."""
        for line in self.lines:
            if line.room == room and line.mark is Mark.STORED and line.seq <= seq and not line.final:
                line.mark = Mark.SEEN
        return self.settle()

    def joined(self, room: int) -> list[Line]:
        """Somebody came in, who does not hear what was said before, and is counted among all others from now on."""
        for line in self.lines:
            line.final = line.final or (line.room == room and line.mark is Mark.STORED)
        return self.settle()

    def settle(self, *, all_of_it: bool = False) -> list[Line]:
        """The lines that leave upwards now, in order."""
        tall = max((number for number, line in enumerate(self.lines, 1) if len(line.rows) > TALL), default=0)
        count = len(self.lines) if all_of_it else max(tall, len(self.lines) - self._keep)
        while count < len(self.lines) and self.lines[count].settled:
            count += 1
        out, self.lines = self.lines[:count], self.lines[count:]
        return out

    @property
    def waiting(self) -> bool:
        """Whether a stored line is still here of which it is not known whether all have seen it."""
        return any(line.mark is Mark.STORED and not line.final for line in self.lines)


def _ringing(rows: list[Fragments], name: str, weight: int) -> list[Fragments]:
    """These rows, marked where they mean me among others."""
    if weight != MENTION or name.startswith("@"):
        return rows
    return [[(f"{style} class:mention", part) for style, part in row] for row in rows]
