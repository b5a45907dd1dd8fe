"""What was lost, doubled, put out of order or altered, told from the clients' records and the final log.

The rule: pure. It knows no socket, no clock and no database; who hears what is worked out here anew, from the
intervals of membership, and not by the code that is tested.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from math import inf
from typing import Literal, NamedTuple

Kind = Literal["lost", "doubled", "order", "altered", "answer", "invented", "leaked", "gap"]
"""
lost      acknowledged and not in the log; or in the log, and not received by a member that was told it has it all
doubled   in the log twice, or received twice by one client
order     a client saw the log's order turned round, or `seq` go backwards, or was stored in another order than it sent
altered   another author, room or text than was sent, or than the log has
answer    acknowledged under another seq than the log has
invented  received though the log has it not, or in the log though nobody sent it
leaked    received by somebody who was not in the room then
gap       a seq that the log passed over
"""


class Line(NamedTuple):
    """One event, as the log has it or as a client received it."""

    seq: int
    room: int
    by: int
    kind: str
    mid: str | None
    text: str | None


class Sent(NamedTuple):
    """What a client asked for under a mid. None: nothing is promised about it (which room a new group becomes)."""

    room: int | None
    text: str | None


class Span(NamedTuple):
    """A membership: the account hears the room's events with since <= seq <= until (None: still in)."""

    account: int
    room: int
    since: int
    until: int | None


@dataclass
class Record:
    """What one client did and saw, across all its connections."""

    name: str
    account: int = 0
    since: int = 0
    """It asked for everything past this seq."""
    sent: dict[str, Sent] = field(default_factory=dict)
    """By mid, in the order of sending."""
    refused: int = 0
    """How many calls were refused for now and sent again later, out of their turn."""
    acknowledged: dict[str, int] = field(default_factory=dict)
    """mid -> the seq that the server answered."""
    received: list[Line] = field(default_factory=list)
    """In the order of arrival."""
    barriers: list[tuple[int, int]] = field(default_factory=list)
    """(seq, n): the server said that all up to `seq` is delivered, and `n` events had been received by then."""


class Fault(NamedTuple):
    """Something that must not be. `who` is a client, or "log"."""

    kind: Kind
    who: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.who}: {self.what}"


def check(records: Sequence[Record], log: Sequence[Line], spans: Iterable[Span]) -> list[Fault]:
    """Everything that is wrong with what these clients saw of this log (in the order of its rows)."""
    heard = hearing(spans)
    stored = {line.seq: line for line in log}
    made = {(line.by, line.mid): line for line in reversed(log) if line.mid is not None}
    last_word = max((seq for record in records for seq in record.acknowledged.values()), default=0)
    faults = _log(log) + _authorship(records, log)
    for record in records:
        faults += _answers(record, made)
        faults += _arrivals(record, stored, made, heard.get(record.account, {}))
        faults += _missing(record, log, heard.get(record.account, {}), last_word)
    return faults


def _log(log: Sequence[Line]) -> list[Fault]:
    """The log by itself: every seq once and in turn, every (author, mid) once."""
    faults: list[Fault] = []
    seqs: set[int] = set()
    mids: set[tuple[int, str]] = set()
    before = 0
    for line in log:
        if line.seq in seqs:
            faults.append(Fault("doubled", "log", f"seq {line.seq} twice"))
        elif line.seq < before:
            faults.append(Fault("order", "log", f"seq {line.seq} after {before}"))
        elif line.seq > before + 1:
            faults.append(Fault("gap", "log", f"nothing between {before} and {line.seq}"))
        seqs.add(line.seq)
        before = max(before, line.seq)
        if line.mid is not None:
            if (line.by, line.mid) in mids:
                faults.append(Fault("doubled", "log", f"mid {line.mid} of {line.by} again at seq {line.seq}"))
            mids.add((line.by, line.mid))
    return faults


def _authorship(records: Sequence[Record], log: Sequence[Line]) -> list[Fault]:
    """Each line of these clients in the log: it was sent, to this room, with this text."""
    names = {record.account: record.name for record in records}
    sent = {(record.account, mid): what for record in records for mid, what in record.sent.items()}
    faults: list[Fault] = []
    for line in log:
        if line.mid is None or line.by not in names:
            continue
        asked = sent.get((line.by, line.mid))
        if asked is None:
            faults.append(Fault("invented", names[line.by], f"seq {line.seq}: {line.mid} was never sent"))
        elif asked.room not in (None, line.room) or asked.text not in (None, line.text):
            faults.append(Fault("altered", names[line.by], f"sent {asked}, the log has {line}"))
    return faults


def _answers(record: Record, made: Mapping[tuple[int, str | None], Line]) -> list[Fault]:
    """What this client was told of its own messages, against the log."""
    faults: list[Fault] = []
    for mid, seq in record.acknowledged.items():
        line = made.get((record.account, mid))
        if line is None:
            faults.append(Fault("lost", record.name, f"{mid} was acknowledged at seq {seq} and is not in the log"))
        elif line.seq != seq:
            faults.append(Fault("answer", record.name, f"{mid} was acknowledged at seq {seq}, the log has {line.seq}"))
    seqs = [made[author].seq for mid in record.sent if (author := (record.account, mid)) in made]
    for earlier, later in () if record.refused else pairwise(seqs):
        if earlier > later:
            faults.append(Fault("order", record.name, f"seq {later} was sent after what is at seq {earlier}"))
    return faults


def _arrivals(
    record: Record,
    stored: Mapping[int, Line],
    made: Mapping[tuple[int, str | None], Line],
    rooms: Mapping[int, Hearing],
) -> list[Fault]:
    """Each event as it came: once, in order, as the log has it, and for this client's ears."""
    faults: list[Fault] = []

    def fault(kind: Kind, what: str) -> None:
        faults.append(Fault(kind, record.name, f"seq {line.seq}: {what}"))

    before = record.since
    seqs: set[int] = set()
    mids: set[tuple[int, str]] = set()
    places: dict[int, int] = {}
    for line in record.received:
        if line.seq in seqs:
            fault("doubled", "received before")
        elif line.seq <= before:
            fault("order", f"after {before}")
        seqs.add(line.seq)
        before = max(before, line.seq)
        if line.mid is not None:
            author = (line.by, line.mid)
            if author in mids:
                fault("doubled", f"{line.mid} received before")
            elif author in made:
                place = made[author].seq
                if place < places.get(line.room, 0):
                    fault("order", f"{line.mid} stands in the log before what this client saw before it")
                places[line.room] = max(place, places.get(line.room, 0))
            mids.add(author)
        truth = stored.get(line.seq)
        if truth is None:
            fault("invented", "not in the log")
        elif truth != line:
            fault("altered", f"{line}, the log has {truth}")
        if not _hears(rooms, line):
            fault("leaked", f"{record.name} was not in room {line.room}")
    return faults


def _missing(record: Record, log: Sequence[Line], rooms: Mapping[int, Hearing], last_word: int) -> list[Fault]:
    """What this client should have had by each time the server said that it has everything."""
    if not record.barriers:
        return [Fault("lost", record.name, "never told that it has everything: nothing is proven")]
    barriers = sorted(record.barriers)
    if barriers[-1][0] < last_word:
        return [Fault("lost", record.name, f"told of everything up to {barriers[-1][0]} only, not {last_word}")]
    upto = [seq for seq, _ in barriers]
    had = list(accumulate((count for _, count in reversed(barriers)), min))[::-1]
    place: dict[int, int] = {}
    for number, line in enumerate(record.received):
        place.setdefault(line.seq, number)
    faults = []
    for line in log:
        if line.seq <= record.since or line.seq > upto[-1] or not _hears(rooms, line):
            continue
        number = place.get(line.seq)
        if number is None:
            faults.append(Fault("lost", record.name, f"never received seq {line.seq}: {line}"))
        elif number >= had[bisect_left(upto, line.seq)]:
            faults.append(Fault("lost", record.name, f"seq {line.seq} came only after everything was said to be there"))
    return faults


Hearing = tuple[list[int], list[float]]
"""Of one account in one room: where its memberships begin, in order, and how far any that began by then reaches."""


def hearing(spans: Iterable[Span]) -> dict[int, dict[int, Hearing]]:
    """Who hears what: account -> room -> from where to where."""
    found: dict[int, dict[int, Hearing]] = {}
    for account, room, since, until in sorted(spans, key=lambda span: span.since):
        begins, ends = found.setdefault(account, {}).setdefault(room, ([], []))
        end = inf if until is None else until
        begins.append(since)
        ends.append(max(end, ends[-1]) if ends else end)
    return found


def _hears(rooms: Mapping[int, Hearing], line: Line) -> bool:
    if line.room not in rooms:
        return False
    begins, ends = rooms[line.room]
    number = bisect_right(begins, line.seq) - 1
    return number >= 0 and line.seq <= ends[number]
