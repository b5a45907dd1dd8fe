"""The feed: one log, heard live, from the ring and by SQL, on one instance and on two, and always the same.

The rule: whatever way a session is brought up to date, it hears each event it may hear once, in the order of the log.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from chatd import feed
from chatd.store import ReadTx
from chatd.store.database import Committed
from chatd.wire.jsonl import Json
from chatd.wire.plain import Plain
from tests.memory import PASSWORD, Client, Server, instances, settings

BOUND = 4_096


def seqs(objects: list[dict[str, Any]]) -> list[int]:
    """The places in the log of the events among these objects."""
    return [found["seq"] for found in objects if "ev" in found and "seq" in found]


class Base(SynchronousTestCase):
    """A server on which little is enough to be slow."""

    limits: dict[str, Any] = {"send_buffer_bytes": BOUND}  # noqa: RUF012

    def setUp(self) -> None:
        self.server = Server(Path(self.mktemp()), settings=settings(**self.limits))
        self.addCleanup(self.server.stop)

    def group(self, *names: str) -> list[Client]:
        """These programs are in #ops, the first one its owner, and have read all there was."""
        clients = [self.server.program(name) for name in names]
        clients[0].call(do="create", room="#ops", people=list(names[1:]))
        for client in clients:
            client.events()
        return clients

    def say(self, client: Client, *texts: Any, room: Any = "#ops") -> None:
        """Say these, one commit each."""
        for text in texts:
            client.ask(do="say", room=room, text=f"{text}")

    def heard(self, client: Client) -> list[str]:
        """The texts that have come."""
        return [found["text"] for found in client.objects() if found.get("ev") == "say"]

    def replayed(self, name: str) -> list[dict[str, Any]]:
        """All that this account may ever have heard, as SQL finds it."""
        client = self.server.resume(name, since=0)
        events = client.events()
        client.lose()
        return events


class SlowReaderTests(Base):
    """Who does not read costs nobody anything, and misses nothing (DESIGN §6)."""

    def slow_down(self, client: Client, talker: Client, lines: int = 200) -> list[str]:
        """This client stops reading, and the talker says more than its socket takes; what was said."""
        client.transport.stick()
        said = [f"{number:04} " + "x" * 60 for number in range(lines)]
        self.say(talker, *said)
        return said

    def test_is_not_pushed_to(self) -> None:
        """Past the bound nothing more is buffered for a slow reader; the others hear everything at once."""
        alice, bob, carol = self.group("alice", "bob", "carol")
        said = self.slow_down(bob, alice)
        self.assertEqual(self.heard(carol), said)
        self.assertLess(bob.transport.most, BOUND + 500)
        self.assertEqual(bob.read(), b"")

    def test_catches_up_from_the_ring(self) -> None:
        """What a slow reader missed comes from memory, without a look at the database: all of it, once, in order."""
        alice, bob, _ = self.group("alice", "bob", "carol")
        said = self.slow_down(bob, alice)
        self.server.readers.hold()
        bob.transport.drain()
        self.say(alice, "live")
        self.assertEqual(self.heard(bob), [*said, "live"])

    def test_catches_up_from_the_database(self) -> None:
        """What has left the ring comes from the database, page by page, as it is read."""
        self.server.feed._ring_bytes = 0
        alice, bob, _ = self.group("alice", "bob", "carol")
        said = self.slow_down(bob, alice, 1_200)
        self.server.readers.hold()
        bob.transport.drain()
        before = self.heard(bob)
        self.assertLess(len(before), 100)
        self.server.readers.release()
        self.say(alice, "live")
        self.assertEqual(before + self.heard(bob), [*said, "live"])

    def test_is_never_owed_much(self) -> None:
        """While it catches up a slow reader is owed a page at most, and gets the next one when it has read that."""
        self.server.feed._ring_bytes = 0
        alice, bob, _ = self.group("alice", "bob", "carol")
        said = self.slow_down(bob, alice, 1_200)
        found: list[str] = []
        for _turn in range(20):
            bob.transport.drain()
            bob.transport.stick()
            bob.transport.most = 0
            self.server.advance(0)
            found += self.heard(bob)
            self.assertLess(bob.transport.most, 500 * 250)
        bob.transport.drain()
        self.server.advance(0)
        self.say(alice, "live")
        self.assertEqual(found + self.heard(bob), [*said, "live"])

    def test_is_not_handed_the_ring_at_once(self) -> None:
        """Of a ring that holds more than is handed over in one turn, a slow reader gets nothing: it reads pages."""
        self.patch(feed, "AT_ONCE", 10_000)
        alice, bob, _ = self.group("alice", "bob", "carol")
        said = self.slow_down(bob, alice)
        self.server.readers.hold()
        bob.transport.drain()
        before = self.heard(bob)
        self.assertLess(len(before), 100)
        self.server.readers.release()
        self.say(alice, "live")
        self.assertEqual(before + self.heard(bob), [*said, "live"])

    def test_pages_of_long_lines(self) -> None:
        """A page of the log ends with the line that brings it to so many characters, and the next goes on behind it."""
        alice, *_ = self.group("alice", "bob", "carol")
        self.say(alice, *("x" * 1_000 for _ in range(10)))
        pages: list[int] = []
        seen: list[int] = []

        def read(tx: ReadTx) -> None:
            account, last, after = tx.account("bob"), tx.last_seq(), 0
            assert account is not None
            while after < last:
                events, after = tx.heard(account.id, after, last, 100, 2_500)
                pages.append(len([event for event in events if event.kind == "say"]))
                seen.extend(event.seq for event in events)

        reading = self.server.db.read(read)
        self.server.advance(0)
        self.successResultOf(reading)
        self.assertEqual(pages, [3, 3, 3, 1])
        self.assertEqual(seen, sorted(set(seen)))

    def test_slow_again_and_again(self) -> None:
        """However often it stops and goes on, it hears everything once and in order."""
        alice, bob, carol = self.group("alice", "bob", "carol")
        said, found = [], []
        for turn in range(30):
            if turn % 3 == 0:
                bob.transport.stick()
            texts = [f"{turn}.{number} " + "x" * (turn * 5) for number in range(turn)]
            self.say(carol if turn % 2 else alice, *texts)
            said += texts
            if turn % 3 == 2:
                bob.transport.drain()
                self.server.advance(0)
            found += self.heard(bob)
        bob.transport.drain()
        self.server.advance(0)
        self.assertEqual(found + self.heard(bob), said)

    def test_memberships_change_meanwhile(self) -> None:
        """Who is removed, added, promoted, who gets a new group or sees one renamed while not reading hears just what
        SQL says that it may hear, by the ring and by the database.
        """
        for ring in (0, 8 << 20):
            self.server.feed._ring_bytes = ring
            names = [f"{name}{ring}" for name in ("alice", "bob", "carol")]
            alice, bob, carol = (self.server.program(name) for name in names)
            room = f"#ops{ring}"
            alice.call(do="create", room=room, people=names[1:])
            bob.transport.stick()
            steps: list[tuple[Client, dict[str, Any]]] = [
                (alice, {"do": "kick", "room": room, "user": names[1]}),
                (alice, {"do": "say", "room": room, "text": "not heard"}),
                (carol, {"do": "msg", "user": names[1], "text": "direct"}),
                (alice, {"do": "add", "room": room, "user": names[1]}),
                (alice, {"do": "promote", "room": room, "user": names[1]}),
                (alice, {"do": "transfer", "room": room, "user": names[1]}),
                (carol, {"do": "create", "room": f"#new{ring}", "people": [names[1]]}),
                (carol, {"do": "say", "room": f"#new{ring}", "text": "in the new one"}),
                (carol, {"do": "remove", "room": f"#new{ring}", "user": names[1]}),
                (carol, {"do": "say", "room": f"#new{ring}", "text": "not heard"}),
                (carol, {"do": "leave", "room": room}),
            ]
            self.say(alice, *["x" * 200] * 40, room=room)
            for client, fields in steps:
                self.assertIn("ok", client.call(**fields))
                self.say(alice, f"after {fields['do']}", room=room)
            bob.transport.drain()
            self.server.advance(0)
            self.say(alice, "live", room=room)
            live = [found for found in bob.objects() if "ev" in found]
            replayed = [event for event in self.replayed(names[1]) if event["seq"] >= live[0]["seq"]]
            self.assertEqual(seqs(live), seqs(replayed))
            texts = [event.get("text") for event in live]
            self.assertNotIn("not heard", texts)
            self.assertLessEqual({"direct", "in the new one"}, set(texts))
            self.assertEqual(texts[-1], "live")

    def test_renamed_meanwhile(self) -> None:
        """A slow reader who catches up from the ring sees the group under the name that it had each time."""
        alice, bob = self.server.program("alice"), self.server.person("bob")
        alice.call(do="create", room="#ops", people=["bob"])
        bob.type("/close")
        bob.transport.stick()
        self.say(alice, *["x" * 200] * 40)
        alice.call(do="rename", room="#ops", name="#dev")
        self.say(alice, "renamed", room="#dev")
        bob.transport.drain()
        self.server.advance(0)
        self.say(alice, "live", room="#dev")
        lines = bob.lines()
        self.assertEqual([line.split()[1] for line in lines], ["#ops"] * 40 + ["renamed"] + ["#dev"] * 2)
        self.assertEqual(lines[40], "alice renamed #ops to #dev.")

    def test_a_person_who_is_slow(self) -> None:
        """On a terminal, too: the lines that others wrote, in order, with the rooms' names as they are due."""
        alice = self.server.program("alice")
        bob = self.server.person("bob")
        alice.call(do="create", room="#ops", people=["bob"])
        alice.call(do="create", room="#dev", people=["bob"])
        bob.type("/join #ops")
        bob.transport.stick()
        for number in range(100):
            self.say(alice, f"{number} " + "x" * 60, room="#dev" if number % 2 else "#ops")
        self.assertLess(bob.transport.most, BOUND + 500)
        bob.transport.drain()
        self.server.advance(0)
        lines = bob.lines()
        self.assertEqual(
            [line.split(" ", 1)[1] for line in lines],
            [f"{'#dev ' if number % 2 else ''}<alice> {number} " + "x" * 60 for number in range(100)],
        )

    def test_kicked_while_slow(self) -> None:
        """Who is removed from the current room while not reading has no current room when all is read."""
        alice, bob = self.server.program("alice"), self.server.person("bob")
        alice.call(do="create", room="#ops", people=["bob"])
        bob.type("/join #ops")
        bob.transport.stick()
        self.say(alice, *["x" * 200] * 40)
        alice.call(do="kick", room="#ops", user="bob")
        bob.transport.drain()
        self.server.advance(0)
        self.assertEqual(bob.lines()[-1], "You were removed from #ops by alice.")
        self.assertEqual(bob.type("hi")[0], "No room is open. Nothing was sent.")

    def test_answers_count(self) -> None:
        """Who sends and does not read is not read from any more, and is owed no more than the bound and a packet's
        answers; when it reads again everything is answered, in order.
        """
        alice = self.server.program("alice")
        alice.transport.stick()
        for number in range(1_000):
            alice.ask(do="ping", id=number, token="x" * 100)
        self.assertEqual(alice.transport.producerState, "paused")
        self.assertLess(alice.transport.most, BOUND + 500)
        self.assertLess(self.server.db.meter.calls, 100)
        for _turn in range(100):
            alice.transport.drain()
            self.server.advance(0)
        self.assertEqual([found["re"] for found in alice.objects()], list(range(1_000)))

    def test_a_packet_of_calls_is_not_worked_off_for_who_does_not_read(self) -> None:
        """Of the calls of one packet no more than a turn's are answered while nobody reads the answers."""
        alice = self.server.program("alice")
        alice.send(b'{"do":"menu"}\n')
        size = len(alice.read())
        alice.transport.stick()
        alice.send(b'{"do":"menu"}\n' * 4_000)
        self.assertLess(alice.transport.most, 2_000 * size)
        self.assertEqual(alice.transport.producerState, "paused")
        for _turn in range(4):
            alice.transport.drain()
            self.server.advance(0)
        self.assertEqual(len(alice.objects()), 4_000)

    def test_full_again_before_it_is_level(self) -> None:
        """A reader that fills up again while it waits for this instance to be level with the log does not go live: it
        is owed no more than the bound, whatever is said meanwhile.
        """
        one, two = instances(Path(self.mktemp()), settings=settings(send_buffer_bytes=BOUND, ring_bytes=0))
        self.addCleanup(one.stop)
        self.addCleanup(two.stop)
        alice, bob = one.program("alice"), two.program("bob")
        alice.call(do="create", room="#ops", people=["bob"])
        bob.events()
        bob.transport.stick()
        self.say(alice, *["x" * 200] * 40)
        one.others = []
        self.say(alice, "not yet known to the other instance")
        bob.transport.drain()
        two.advance(0)
        self.assertEqual(len(self.heard(bob)), 41)
        bob.transport.stick()
        bob.transport.most = 0
        bob.send(b'{"do":"help"}\n' * 3)
        owed = bob.transport.most
        one.others = [two]
        self.say(alice, *["y" * 500] * 40)
        self.assertEqual(bob.transport.most, owed)
        bob.transport.drain()
        two.advance(0)
        self.assertEqual(self.heard(bob), ["y" * 500] * 40)

    def test_goes_while_slow(self) -> None:
        """A slow reader that goes leaves nothing behind."""
        alice, bob = self.group("alice", "bob")
        self.slow_down(bob, alice)
        bob.cut()
        alice.lose()
        self.server.advance(1)
        self.assertEqual(len(self.server.feed.routing), 0)
        self.assertEqual(self.server.sql("SELECT * FROM presence"), [])


class AttachTests(Base):
    """Coming in while others talk."""

    def test_between_any_two_steps(self) -> None:
        """Whatever is written between any two steps of a login is heard once and in order."""
        for ring in (8 << 20, 0):
            self.server.feed._ring_bytes = ring
            names = f"alice{ring}", f"bob{ring}"
            alice, bob = (self.server.program(name) for name in names)
            room = f"#ops{ring}"
            alice.call(do="create", room=room, people=[names[1]])
            bob.lose()
            self.say(alice, *range(700), room=room)
            back = self.server.connect()
            self.server.readers.hold()
            back.ask(do="login", name=names[1], password=PASSWORD, since=0)
            number = 700
            while self.server.readers.step():
                if number < 720:
                    self.say(alice, number, number + 1, room=room)
                    number += 2
            self.server.readers.release()
            self.say(alice, number, room=room)
            self.assertGreater(number, 705)
            self.assertEqual(self.heard(back), [str(each) for each in range(number + 1)])

    def test_between_any_two_steps_with_memberships(self) -> None:
        """So it is with groups that are entered and left meanwhile."""
        alice, bob = self.group("alice", "bob")
        bob.lose()
        back = self.server.connect()
        self.server.readers.hold()
        back.ask(do="login", name="bob", password=PASSWORD, since=0)
        for turn in range(10):
            alice.ask(do="remove" if turn % 2 == 0 else "add", room="#ops", user="bob")
            self.say(alice, turn)
            alice.ask(do="create", room=f"#g{turn}", people=["bob"])
            self.server.readers.step()
        self.server.readers.release()
        self.say(alice, "live", room="#g9")
        live = [found for found in back.objects() if "ev" in found]
        self.assertEqual(self.replayed("bob"), live)
        self.assertEqual([found["text"] for found in live if found["ev"] == "say"], ["1", "3", "5", "7", "9", "live"])

    def test_goes_while_coming(self) -> None:
        """Who goes at any step of the login leaves nothing behind, and a new login is none the worse."""
        self.group("alice", "bob")[1].lose()
        for steps in range(6):
            back = self.server.connect()
            self.server.readers.hold()
            back.ask(do="login", name="bob", password=PASSWORD, since=0)
            for _ in range(steps):
                self.server.readers.step()
            back.cut()
            self.server.readers.release()
            self.server.advance(2)
            self.assertEqual(len(self.server.feed.routing), 1)
            self.assertEqual(self.server.sql("SELECT count(*) FROM presence"), [(1,)])

    def test_another_person_on_the_same_connection(self) -> None:
        """Who logs out and in as somebody else while a page is on its way hears only the somebody else's."""
        self.server.feed._ring_bytes = 0
        alice, bob = self.group("alice", "bob")
        self.server.program("carol").lose()
        bob.transport.stick()
        self.say(alice, *["x" * 200] * 40)
        self.server.readers.hold()
        bob.transport.drain()
        bob.ask(do="logout")
        self.server.advance(0)
        self.assertEqual(bob.objects()[-1]["as"], "logged_out")
        bob.ask(do="login", name="carol", password=PASSWORD, since=0)
        self.server.readers.release()
        self.say(alice, "live")
        welcome, event = bob.objects()
        self.assertEqual((welcome["as"], event["ev"]), ("welcome", "registered"))


class LogTests(Base):
    """Following the one log."""

    def test_a_gap_is_looked_at_again(self) -> None:
        """Events that do not continue what was delivered are not delivered; the log is read instead."""
        alice, bob = self.group("alice", "bob")
        other = Server(self.server.data, node=2, settings=settings(), clock=self.server.reactor)
        self.addCleanup(other.stop)
        there = other.resume("alice")
        self.say(there, "one", "two", "three")
        self.assertEqual(self.heard(bob), [])
        position = self.server.feed.position
        events: list[Any] = []
        self.server.db.read(lambda tx: tx.tail(position + 1)).addCallback(events.extend)
        self.server.advance(0)
        self.server.feed.commit(Committed(position + 1, events, {}))
        self.server.advance(0)
        self.assertEqual(self.heard(bob), ["one", "two", "three"])
        self.assertEqual(self.heard(alice), ["one", "two", "three"])

    def test_an_overlap_is_cut(self) -> None:
        """Events that were delivered already are not delivered again."""
        alice, bob = self.group("alice", "bob")
        self.say(alice, "one", "two")
        other = Server(self.server.data, node=2, settings=settings(), clock=self.server.reactor)
        self.addCleanup(other.stop)
        self.say(other.resume("alice"), "three")
        events: list[Any] = []
        self.server.db.read(lambda tx: tx.tail(0)).addCallback(events.extend)
        self.server.advance(0)
        self.assertEqual(self.heard(bob), ["one", "two"])
        for _ in range(2):
            self.server.feed.commit(Committed(0, events, {}))
        self.say(alice, "four")
        self.assertEqual(self.heard(bob), ["three", "four"])

    def test_a_wake_up_during_a_look(self) -> None:
        """A wake-up while the log is being read makes for another look."""
        one, two = instances(Path(self.mktemp()))
        self.addCleanup(one.stop)
        self.addCleanup(two.stop)
        alice, bob = one.program("alice"), two.program("bob")
        alice.call(do="create", room="#ops", people=["bob"])
        bob.events()
        two.readers.hold()
        self.say(alice, "one", "two", "three")
        two.readers.release()
        self.assertEqual(self.heard(bob), ["one", "two", "three"])

    def test_a_lost_wake_up(self) -> None:
        """A wake-up that never comes costs a second."""
        one, two = instances(Path(self.mktemp()))
        self.addCleanup(one.stop)
        self.addCleanup(two.stop)
        alice, bob = one.program("alice"), two.program("bob")
        alice.call(do="create", room="#ops", people=["bob"])
        bob.events()
        one.others = []
        self.say(alice, "one")
        self.assertEqual(self.heard(bob), [])
        two.advance(1)
        self.assertEqual(self.heard(bob), ["one"])

    def test_two_instances_one_order(self) -> None:
        """Members on both instances hear all in one order, whoever wrote where."""
        one, two = instances(Path(self.mktemp()))
        self.addCleanup(one.stop)
        self.addCleanup(two.stop)
        alice, bob = one.program("alice"), two.program("bob")
        carol, dave = one.program("carol"), two.program("dave")
        alice.call(do="create", room="#ops", people=["bob", "carol", "dave"])
        clients = [alice, bob, carol, dave]
        for client in clients:
            client.events()
        for turn in range(20):
            if turn % 3 == 0:
                one.writer.hold()
            if turn % 4 == 0:
                two.readers.hold()
            for number, client in enumerate(clients):
                self.say(client, f"{turn}.{number}")
            for thread in (two.readers, one.writer):
                thread.release()
        heard = [[found for found in client.objects() if "ev" in found] for client in clients]
        self.assertEqual(seqs(heard[0]), sorted(seqs(heard[0])))
        self.assertEqual(len(heard[0]), 80)
        for events in heard[1:]:
            self.assertEqual(events, heard[0])

    def test_a_kick_is_effective_everywhere(self) -> None:
        """Who is removed on one instance hears it on the other, and nothing after it; and may say nothing."""
        one, two = instances(Path(self.mktemp()))
        self.addCleanup(one.stop)
        self.addCleanup(two.stop)
        alice, bob = one.program("alice"), two.program("bob")
        alice.call(do="create", room="#ops", people=["bob"])
        bob.events()
        two.readers.hold()
        alice.call(do="kick", room="#ops", user="bob")
        self.say(alice, "after")
        self.assertEqual(bob.code(do="say", room="#ops", text="still here?"), "NOT_MEMBER")
        two.readers.release()
        self.assertEqual([event["ev"] for event in bob.events()], ["removed"])

    def test_a_look_that_is_faster_than_the_answer(self) -> None:
        """A look that sees our own commit before the writer's answer is here leaves it to that answer: who called hears
        the answer first, a typed line is not shown on its terminal, and the operator's log tells of it.
        """
        told: list[LogEvent] = []
        globalLogPublisher.addObserver(told.append)
        self.addCleanup(globalLogPublisher.removeObserver, told.append)
        alice, bob = self.server.person("alice"), self.server.program("bob")
        alice.type("/create #ops bob")
        alice.type("/join #ops")
        bob.events()
        for typed in (b"hello\r\n", b"/kick bob\r\n"):
            self.server.writer.hold()
            alice.send(typed)
            self.server.feed.look()
            self.server.advance(0)
            self.assertEqual(bob.objects(), [])
            self.server.writer.release()
            shown = [found["ev"] for found in bob.objects()]
            self.assertEqual(shown, ["say" if typed == b"hello\r\n" else "removed"])
        self.assertEqual(alice.lines(), ["alice removed bob from #ops."])
        lines = [formatEvent(event) for event in told if event.get("log_namespace") == "chatd.audit"]
        self.assertEqual([line for line in lines if "kick" in line], ["group.kick      #ops bob by alice"])

    def test_a_look_that_sees_past_our_own_commit(self) -> None:
        """What another instance wrote behind our commit, seen before our answer, comes behind it without another
        wake-up, in order.
        """
        one, two = instances(Path(self.mktemp()))
        self.addCleanup(one.stop)
        self.addCleanup(two.stop)
        alice, bob = one.program("alice"), two.program("bob")
        alice.call(do="create", room="#ops", people=["bob"])
        bob.call(do="ping")
        one.writer.hold()
        alice.ask(do="say", room="#ops", text="first")
        self.say(bob, "second")
        alice.events()
        one.feed.look()
        one.advance(0)
        self.assertEqual(alice.events(), [])
        one.writer.release()
        self.assertEqual(self.heard(alice), ["first", "second"])

    def test_a_catch_up_that_breaks(self) -> None:
        """A read that fails is told in the log, tried again a second later, and nothing is missed."""
        alice, bob = self.group("alice", "bob")
        self.say(alice, "missed")
        bob.lose()
        back = self.server.connect()
        self.server.readers.hold()
        back.ask(do="login", name="bob", password=PASSWORD, since=0)
        self.server.readers.step()
        self.server.readers.connection.set_progress_handler(lambda: 1, 1)
        self.server.readers.step()
        self.server.readers.connection.set_progress_handler(None, 0)
        self.server.readers.release()
        self.say(alice, "missed, too")
        self.assertEqual(self.heard(back), [])
        self.assertEqual(len(self.flushLoggedErrors()), 1)
        self.server.advance(1)
        self.say(alice, "live")
        self.assertEqual(self.heard(back), ["missed", "missed, too", "live"])

    def test_waiting_for_a_place(self) -> None:
        """What waits for a place in the log is done when it is delivered, in order, and at once if it was."""
        alice, _ = self.group("alice", "bob")
        feed, done = self.server.feed, []
        feed.when(feed.position, lambda: done.append("now"))
        feed.when(feed.position + 2, lambda: done.append("two"))
        feed.when(feed.position + 1, lambda: done.append("one"))
        self.assertEqual(done, ["now"])
        self.say(alice, "x")
        self.assertEqual(done, ["now", "one"])
        self.say(alice, "x")
        self.assertEqual(done, ["now", "one", "two"])

    def test_what_breaks_at_its_place(self) -> None:
        """What breaks once its place in the log is delivered is told in the operator's log; what else waited for it is
        done, who called is answered, and the writer goes on.
        """
        alice, bob = self.group("alice", "bob")
        feed, done = self.server.feed, []
        feed.when(feed.position + 1, lambda: done.append(1 // 0))
        feed.when(feed.position + 1, lambda: done.append(7))
        feed.observers.append(lambda events, origins: done.append(1 // 0))
        self.assertEqual(alice.code(do="say", room="#ops", text="x"), "ok")
        feed.observers.pop()
        self.assertEqual(done, [7])
        self.assertEqual(alice.code(do="say", room="#ops", text="y"), "ok")
        self.assertEqual(self.heard(bob), ["x", "y"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_one_who_cannot_be_sent_to(self) -> None:
        """Whom sending to breaks is let go, to come back; all others go on hearing."""
        alice, bob, carol = self.group("alice", "bob", "carol")
        for client in (bob, carol):
            self.patch(client.protocol, "send", lambda parts: 1 // 0)
            self.say(alice, "x")
            self.assertTrue(client.closed)
            self.say(alice, "y")
            self.assertEqual(self.heard(alice), ["x", "y"])
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
            self.assertEqual(self.heard(carol), ["x", "y"] if client is bob else [])

    def test_one_who_cannot_be_shown_it(self) -> None:
        """Whom something cannot be shown is let go and misses nothing; all others hear it, and who is in is right."""
        alice, carol, eve = self.group("alice", "carol", "eve")
        bob = self.server.person("bob")
        alice.call(do="add", room="#ops", user="bob")
        for client in (alice, carol, eve):
            client.events()
        broken = self.patch(Plain, "events", lambda *_: 1 // 0)
        alice.call(do="kick", room="#ops", user="carol")
        self.assertTrue(bob.closed)
        self.assertEqual([client.events()[0]["ev"] for client in (carol, eve)], ["removed"] * 2)
        self.say(alice, "y")
        self.assertEqual((self.heard(carol), self.heard(eve)), ([], ["y"]))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        broken.restore()
        self.assertRegex("\n".join(self.server.back("bob").lines()), r"\nalice removed carol .*\n\d\d:\d\d <alice> y")

    def test_who_breaks_where_it_waited(self) -> None:
        """Who cannot be shown what was missed, where that is in the ring, is let go, to come back."""
        alice, bob, _ = self.group("alice", "bob", "carol")
        bob.transport.stick()
        self.say(alice, *("x" * 60 for _ in range(100)))
        alice.call(do="promote", room="#ops", user="carol")
        self.patch(Json, "events", lambda *_: 1 // 0)
        bob.transport.drain()
        self.server.advance(0)
        self.assertTrue(bob.closed)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class RenderingTests(Base):
    """Rendered once for all who see the same (DESIGN §6)."""

    def setUp(self) -> None:
        super().setUp()
        self.rendered: list[tuple[str, int]] = []
        rendered = self.rendered

        class CountingPlain(Plain):
            """Counts what it renders."""

            def events(self, events: Any, *args: Any) -> list[bytes]:
                rendered.append(("plain", len(events)))
                return super().events(events, *args)

        class CountingJson(Json):
            """Counts what it renders."""

            def events(self, events: Any, *args: Any) -> list[bytes]:
                rendered.append(("json", len(events)))
                return super().events(events, *args)

        choose = self.server.instance.dialects
        counting = {Plain: CountingPlain, Json: CountingJson}

        def dialects(first: bytes, settings: Any) -> Any:
            return counting[type(choose(first, settings))](settings.limits)

        self.server.instance.dialects = dialects

    def test_once_for_each_shape(self) -> None:
        """A run of events is rendered once for programs, once for terminals where its room is current, once for those
        where it is not, however many there are.
        """
        alice = self.server.program("alice")
        alice.call(do="create", room="#ops")
        people = []
        for number in range(12):
            name = f"p{number:02}"
            client = self.server.program(name) if number < 4 else self.server.person(name)
            alice.call(do="add", room="#ops", user=name)
            if number >= 8:
                client.type("/close")
            people.append(client)
        for client in people:
            client.read()
        self.rendered.clear()
        alice.send(b'{"do":"say","room":"#ops","text":"hi"}\n' * 10)
        self.assertEqual(sorted(self.rendered), [("json", 10), ("plain", 10), ("plain", 10)])
        for number, client in enumerate(people):
            data = client.read()
            self.assertEqual(data.count(b"\n"), 10)
            self.assertEqual(b"#ops" in data, number < 4 or number >= 8)

    def test_own_lines_cost_no_rendering(self) -> None:
        """For the terminal that typed some of a run's lines the rest is cut out of what all others get."""
        alice, bob = self.server.person("alice"), self.server.person("bob")
        alice.type("/create #ops bob")
        bob.type("/join #ops")
        alice.read(), bob.read()
        self.rendered.clear()
        self.server.writer.hold()
        alice.send(b"first\r\n")
        for number in range(3):
            bob.send(b"b%d\r\n" % number)
            alice.send(b"a%d\r\n" % number)
        self.server.writer.release()
        self.assertEqual(self.rendered, [("plain", 1), ("plain", 6)])
        self.assertEqual([line.split()[-1] for line in alice.lines()], ["b0", "b1", "b2"])
        self.assertEqual([line.split()[-1] for line in bob.lines()], ["first", "a0", "a1", "a2"])

    def test_catching_up_renders_nothing_anew(self) -> None:
        """Who was slow gets from the ring the very bytes that the others got."""
        alice, bob = self.server.program("alice"), self.server.program("bob")
        alice.call(do="create", room="#ops", people=["bob"])
        bob.events()
        bob.transport.stick()
        self.say(alice, *["x" * 500] * 20)
        self.rendered.clear()
        bob.transport.drain()
        self.server.advance(0)
        self.assertEqual(len(self.heard(bob)), 20)
        self.assertLessEqual(len(self.rendered), 1)

    def test_nobody_is_rendered_for_nobody(self) -> None:
        """A room with no session here is not rendered."""
        alice, bob = self.server.program("alice"), self.server.person("bob")
        alice.call(do="create", room="#ops", people=["bob"])
        bob.hang_up()
        self.rendered.clear()
        alice.ask(do="msg", user="bob", text="hi")
        self.assertEqual({shape for shape, _ in self.rendered}, {"json"})
