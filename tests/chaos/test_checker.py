"""The checker is itself checked: a clean record is green, and each single injected fault is reported as what it is.

The rule: a fault goes in at any place of any record; there is no place where it may pass unseen.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any, NamedTuple

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.chaos.checker import Fault, Line, Record, Sent, Span, check

STRANGER = 99
FEW = settings(max_examples=15)


class World(NamedTuple):
    """What a run of the server left behind."""

    records: list[Record]
    log: list[Line]
    spans: list[Span]

    def check(self) -> list[Fault]:
        """The checker's word."""
        return check(self.records, self.log, self.spans)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """A clean run: clients that come and go in rooms, and hear exactly what they may."""
    length = draw(st.integers(6, 30))
    clients = draw(st.integers(2, 4))
    rooms = range(1, draw(st.integers(1, 3)) + 1)
    spans = []
    for account in range(1, clients + 1):
        for room in rooms:
            since = draw(st.integers(1, length // 2))
            until = draw(st.none() | st.integers(since, length))
            spans.append(Span(account, room, since, until))
            if until is not None and until < length - 1 and draw(st.booleans()):
                spans.append(Span(account, room, until + 2, None))

    def hears(account: int, room: int, seq: int) -> bool:
        return any(s[:2] == (account, room) and s.since <= seq and (s.until is None or seq <= s.until) for s in spans)

    log = []
    for seq in range(1, length + 1):
        room = draw(st.sampled_from(rooms))
        inside = [account for account in range(1, clients + 1) if hears(account, room, seq)]
        by = draw(st.sampled_from(inside or [STRANGER]))
        log.append(Line(seq, room, by, "say", f"m{seq}", f"text {seq}"))
    records = []
    for account in range(1, clients + 1):
        since = draw(st.integers(0, 3))
        heard = [line for line in log if line.seq > since and hears(account, line.room, line.seq)]
        own = [line for line in log if line.by == account]
        told = draw(st.lists(st.integers(0, length), max_size=3).map(sorted))
        records.append(
            Record(
                name=f"u{account}",
                account=account,
                since=since,
                sent={line.mid: Sent(line.room, line.text) for line in own if line.mid} | {"unsaid": Sent(1, "x")},
                acknowledged={line.mid: line.seq for line in own if line.mid and draw(st.booleans())},
                received=heard,
                barriers=[(seq, sum(line.seq <= seq for line in heard)) for seq in [*told, length]],
            )
        )
    return World(records, log, spans)


def some_record(data: Any, world: World, least: int) -> Record:
    """One of the clients that have received at least so many events."""
    fit = [record for record in world.records if len(record.received) >= least]
    assume(fit)
    found: Record = data.draw(st.sampled_from(fit))
    return found


def acknowledged(data: Any, world: World) -> tuple[Record, str]:
    """One of the acknowledged messages, and who sent it."""
    fit = [(record, mid) for record in world.records for mid in record.acknowledged]
    assume(fit)
    found: tuple[Record, str] = data.draw(st.sampled_from(fit))
    return found


def seqs(mids: list[str]) -> list[int]:
    """Where messages of these mids stand in the log."""
    return [int(mid[1:]) for mid in mids if mid != "unsaid"]


def place(data: Any, length: int) -> int:
    """A place among so many."""
    return int(data.draw(st.integers(0, length - 1)))


class CheckerTests(SynchronousTestCase):
    """What the checker says of clean and of spoilt runs."""

    def reports(self, world: World, kind: str, who: str) -> None:
        """The checker names this kind of fault, of this one."""
        faults = world.check()
        self.assertIn((kind, who), [fault[:2] for fault in faults], "\n".join(map(str, faults)))

    @given(worlds())
    def test_clean(self, world: World) -> None:
        """A run in which all went well has no fault."""
        self.assertEqual(world.check(), [])

    @FEW
    @given(worlds(), st.data())
    def test_not_received(self, world: World, data: Any) -> None:
        """One event that a member never received is lost, wherever it stood."""
        record = some_record(data, world, 1)
        del record.received[place(data, len(record.received))]
        record.barriers = [(seq, min(count, len(record.received))) for seq, count in record.barriers]
        self.reports(world, "lost", record.name)

    @FEW
    @given(worlds(), st.data())
    def test_not_stored(self, world: World, data: Any) -> None:
        """An acknowledged message that is nowhere, and that nobody received, is lost."""
        record, mid = acknowledged(data, world)
        world.log[:] = [line for line in world.log if line.mid != mid]
        for other in world.records:
            other.received = [line for line in other.received if line.mid != mid]
        self.reports(world, "lost", record.name)

    @FEW
    @given(worlds(), st.data())
    def test_never_caught_up(self, world: World, data: Any) -> None:
        """A client that was never told that it has everything proves nothing: that is a loss, too."""
        record = some_record(data, world, 0)
        record.barriers = []
        self.reports(world, "lost", record.name)

    @FEW
    @given(worlds(), st.data())
    def test_caught_up_too_early(self, world: World, data: Any) -> None:
        """A client whose last barrier is before an acknowledged message was not told of everything."""
        record, mid = acknowledged(data, world)
        record.barriers = [(record.acknowledged[mid] - 1, len(record.received))]
        self.reports(world, "lost", record.name)

    @FEW
    @given(worlds(), st.data())
    def test_late(self, world: World, data: Any) -> None:
        """An event that comes after the server has said that it is there already is a fault."""
        record = some_record(data, world, 1)
        number = place(data, len(record.received))
        record.barriers.append((record.received[number].seq, number))
        self.reports(world, "lost", record.name)

    @FEW
    @given(worlds(), st.data())
    def test_received_twice(self, world: World, data: Any) -> None:
        """One event received again, at once or any time later, is doubled."""
        record = some_record(data, world, 1)
        number = place(data, len(record.received))
        again = data.draw(st.integers(number, len(record.received)))
        record.received.insert(again, record.received[number])
        self.reports(world, "doubled", record.name)

    @FEW
    @given(worlds(), st.data())
    def test_received_twice_under_two_seqs(self, world: World, data: Any) -> None:
        """One message received again under another seq is doubled."""
        record = some_record(data, world, 1)
        line = record.received[place(data, len(record.received))]
        record.received.append(line._replace(seq=len(world.log) + 1))
        self.reports(world, "doubled", record.name)

    @FEW
    @given(worlds(), st.data())
    def test_stored_twice(self, world: World, data: Any) -> None:
        """A message that the log has twice is doubled, under the same seq or another one."""
        line = world.log[place(data, len(world.log))]
        seq = data.draw(st.sampled_from([line.seq, len(world.log) + 1]))
        world.log.append(line._replace(seq=seq))
        self.reports(world, "doubled", "log")

    @FEW
    @given(worlds(), st.data())
    def test_swapped(self, world: World, data: Any) -> None:
        """Two events that came in the other order, neighbours or far apart, in one room or two, are out of order."""
        record = some_record(data, world, 2)
        first, second = data.draw(
            st.lists(st.integers(0, len(record.received) - 1), min_size=2, max_size=2, unique=True).map(sorted)
        )
        received = record.received
        received[first], received[second] = received[second], received[first]
        self.reports(world, "order", record.name)

    @FEW
    @given(worlds(), st.data())
    def test_swapped_under_ascending_numbers(self, world: World, data: Any) -> None:
        """Two messages of a room that one member sees the other way round are out of order, whatever their seqs say."""
        record = some_record(data, world, 2)
        received = record.received
        pairs = [
            (i, j)
            for i in range(len(received))
            for j in range(i + 1, len(received))
            if received[i][1] == received[j][1]
        ]
        assume(pairs)
        i, j = data.draw(st.sampled_from(pairs))
        early, late = received[i], received[j]
        received[i], received[j] = late._replace(seq=early.seq), early._replace(seq=late.seq)
        self.reports(world, "order", record.name)

    @FEW
    @given(worlds(), st.data(), st.booleans())
    def test_stored_in_another_order(self, world: World, data: Any, refused: bool) -> None:
        """Messages stored in another order than sent are out of order, unless the client had to send one again."""
        fit = [record for record in world.records if len(record.sent) > 2]
        assume(fit)
        record = data.draw(st.sampled_from(fit))
        mids = data.draw(st.permutations(list(record.sent)).filter(lambda mids: seqs(mids) != sorted(seqs(mids))))
        record.sent = {mid: record.sent[mid] for mid in mids}
        record.refused = int(refused)
        self.assertEqual(("order", record.name) in [fault[:2] for fault in world.check()], not refused)

    @FEW
    @given(worlds(), st.data())
    def test_received_altered(self, world: World, data: Any) -> None:
        """An event received with another text, author, room or mid than the log has is altered."""
        record = some_record(data, world, 1)
        number = place(data, len(record.received))
        change = data.draw(st.sampled_from([{"text": "other"}, {"by": 77}, {"room": 77}, {"mid": "other"}]))
        record.received[number] = record.received[number]._replace(**change)
        self.reports(world, "altered", record.name)

    @FEW
    @given(worlds(), st.data())
    def test_stored_altered(self, world: World, data: Any) -> None:
        """A message stored with another text or in another room than it was sent is altered, whoever received it."""
        own = [(record, mid) for record in world.records for mid in record.sent if mid != "unsaid"]
        assume(own)
        record, mid = data.draw(st.sampled_from(own))
        sent = record.sent[mid]
        record.sent[mid] = data.draw(st.sampled_from([sent._replace(text="mine"), sent._replace(room=77)]))
        self.reports(world, "altered", record.name)

    @FEW
    @given(worlds(), st.data())
    def test_attributed_to_another(self, world: World, data: Any) -> None:
        """An acknowledged message that the log has under another name is lost to one and invented for the other."""
        record, mid = acknowledged(data, world)
        other = next(each for each in world.records if each is not record)
        seq = record.acknowledged[mid]
        world.log[seq - 1] = world.log[seq - 1]._replace(by=other.account)
        self.reports(world, "lost", record.name)
        self.reports(world, "invented", other.name)

    @FEW
    @given(worlds(), st.data(), st.integers(-3, 3).filter(bool))
    def test_answered_wrongly(self, world: World, data: Any, off: int) -> None:
        """A message acknowledged under another seq than the log has is a wrong answer."""
        record, mid = acknowledged(data, world)
        record.acknowledged[mid] += off
        self.reports(world, "answer", record.name)

    @FEW
    @given(worlds(), st.data())
    def test_received_but_not_stored(self, world: World, data: Any) -> None:
        """An event that was shown and is not in the log is invented."""
        record = some_record(data, world, 1)
        line = record.received[-1]
        record.received.append(line._replace(seq=len(world.log) + 1, mid="new"))
        self.reports(world, "invented", record.name)

    @FEW
    @given(worlds(), st.data())
    def test_heard_outside(self, world: World, data: Any) -> None:
        """An event received by somebody who was not in its room then is leaked."""
        record = some_record(data, world, 1)
        line = record.received[place(data, len(record.received))]
        shut = [span for span in world.spans if span[:2] != (record.account, line.room)]
        self.reports(World(deepcopy(world.records), world.log, shut), "leaked", record.name)

    @FEW
    @given(worlds(), st.data())
    def test_passed_over(self, world: World, data: Any) -> None:
        """A seq that the log never used is a gap."""
        assume(len(world.log) > 1)
        del world.log[place(data, len(world.log) - 1)]
        self.reports(world, "gap", "log")
