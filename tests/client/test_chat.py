"""A whole `chat` but its screen, against the whole server in memory: cables pulled, clients killed, true marks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import error
from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from client import formatting, profile
from client.chat import Chat
from client.face import Face
from client.lines import KEEP, Line
from client.link import Link
from client.outbox import Mark
from client.store import Store
from tests.memory import PASSWORD, Server


class Cable:
    """One connection in memory, which can be cut."""

    def __init__(self, server: Server, client: Any) -> None:
        self.client = client
        self.sent: list[bytes] = []
        self.far = server.connect()
        self.whole = True
        client.makeConnection(self)

    def setTcpNoDelay(self, on: bool) -> None:
        """As asked."""

    def setTcpKeepAlive(self, on: bool) -> None:
        """As asked."""

    def write(self, data: bytes) -> None:
        """The client sends."""
        self.sent.append(data)

    def loseConnection(self) -> None:
        """The client closes."""
        self.cut()

    def abortConnection(self) -> None:
        """The client aborts."""
        self.cut()

    def cut(self) -> None:
        """The connection ends for both."""
        if self.whole:
            self.whole = False
            self.far.cut()
            self.client.connectionLost(Failure(error.ConnectionDone()))

    def carry(self, *, answers: bool = True) -> bool:
        """Bring over what was sent; whether there was anything. Without `answers` what comes back is held up."""
        sent, self.sent = b"".join(self.sent), []
        if sent and self.whole:
            self.far.send(sent)
        came = b""
        if answers and self.whole:
            came = self.far.read()
            if came:
                self.client.dataReceived(came)
        return bool(sent or came)


class Screen(Face):
    """A face that keeps what it was shown."""

    keep = KEEP

    def __init__(self) -> None:
        self.final: list[str] = []
        self.rung: list[str] = []
        self.over = False

    def show(self, lines: list[Line]) -> None:
        self.final += [formatting.plain(row) for line in lines for row in line.shown()]

    def ring(self, title: str, text: str) -> None:
        self.rung.append(f"{title} {text}")

    def bye(self) -> None:
        self.over = True


class Person:
    """Somebody at a `chat`."""

    def __init__(self, test: ChatTests, name: str) -> None:
        self.test = test
        self.name = name
        self.reachable = True
        self.cables: list[Cable] = []
        self.profile = profile.Profile(name, test.root)
        test.addCleanup(self.profile.release)
        test.people.append(self)
        self.start()

    def start(self) -> None:
        """Start `chat`."""
        self.store = Store(self.profile.database)
        self.test.addCleanup(self.store.close)
        self.store.unlock(*profile.unlock(self.profile, self.store.wrap, None))
        self.screen = Screen()
        clock = self.test.server.reactor
        self.chat = Chat(
            self.store,
            self.screen,
            clock,
            lambda chat: Link(clock, self._connect, chat),
            "here:1",
            clock=lambda: 1_700_000_000 + clock.seconds(),
        )
        self.test.addCleanup(self.chat.stop)
        self.chat.start()
        self.chat.connect()
        self.test.settle()

    def _connect(self, protocol: Callable[[], Any]) -> Deferred[Any]:
        if not self.reachable:
            return fail(error.ConnectionRefusedError())
        made = protocol()
        self.cables.append(Cable(self.test.server, made))
        return succeed(made)

    def register(self) -> Person:
        """Through the door, into no group."""
        for line in ("r", self.name, PASSWORD, PASSWORD, ""):
            self.type(line)
        return self

    def type(self, line: str, *, settle: bool = True) -> None:
        """Type a line."""
        self.chat.typed(line)
        if settle:
            self.test.settle()

    def pull(self) -> None:
        """Pull the cable."""
        self.reachable = False
        self.cables[-1].cut()

    def plug(self) -> None:
        """Put it in again."""
        self.reachable = True
        self.test.wait(31)

    def kill(self) -> None:
        """kill -9: whatever is in memory is gone."""
        self.cables[-1].cut()
        self.store.close()
        self.chat._ended = True
        self.chat.link.stop()
        self.chat.drop_timers()

    @property
    def seen(self) -> list[str]:
        """The screen: what is final, then the tail."""
        tail = self.chat.transcript.tail
        return self.screen.final + [
            formatting.plain(row) for line in [*tail.lines, *tail.queued] for row in line.shown()
        ]

    def said(self) -> list[str]:
        """The messages on the screen, without their time."""
        return [row[6:] for row in self.seen if row[2:3] == ":"]


class ChatTests(SynchronousTestCase):
    """Nothing typed is lost, nothing comes twice, the marks are true."""

    def setUp(self) -> None:
        self.root = Path(self.mktemp())
        self.server = Server(self.root / "data")
        self.addCleanup(self.server.stop)
        self.people: list[Person] = []

    def person(self, name: str) -> Person:
        """Somebody, registered."""
        return Person(self, name).register()

    def settle(self) -> None:
        """Carry everything until all is quiet."""
        quiet = 0
        while quiet < 5:
            self.server.advance(0)
            cables = [cable for person in self.people for cable in person.cables if cable.whole]
            quiet = 0 if sum(cable.carry() for cable in cables) else quiet + 1

    def wait(self, seconds: int) -> None:
        """Let time pass, second by second."""
        for _ in range(seconds):
            self.server.advance(1)
            self.settle()

    def pair(self) -> tuple[Person, Person]:
        """Bob and alice, both in #ops."""
        bob, alice = self.person("bob"), self.person("alice")
        bob.type("/create #ops alice")
        alice.type("/join #ops")
        return bob, alice

    def test_talking(self) -> None:
        """A line goes from one to the other; the sender's mark becomes ++ once the other has seen it."""
        bob, alice = self.pair()
        bob.type("hi")
        self.assertEqual(bob.said()[-1], "bob: hi  +")
        self.assertEqual(alice.said()[-1], "bob: hi")
        self.wait(4)
        self.assertEqual(bob.said()[-1], "bob: hi  ++")

    def test_alone_nothing_is_seen_by_all(self) -> None:
        """Where nobody else is, a line stays at +."""
        bob = self.person("bob")
        bob.type("/join #ops")
        bob.type("echo")
        self.wait(4)
        self.assertEqual(bob.said()[-1], "bob: echo  +")

    def test_offline_and_online(self) -> None:
        """The cable is pulled: what is typed waits as `.`; then it is stored, and what was missed is there."""
        bob, alice = self.pair()
        bob.type("before")
        bob.pull()
        bob.type("back soon")
        self.server.advance(12)
        self.assertEqual(bob.said()[-1], "bob: back soon  .")
        self.assertEqual(bob.chat.connection(), "offline 12 s, 1 queued")
        alice.type("are you there?")
        bob.plug()
        self.assertEqual(bob.said()[-3:], ["bob: before  ++", "alice: are you there?", "bob: back soon  ++"])
        self.assertIn("online again, 1 missed, 1 sent", bob.seen)
        self.assertEqual(alice.said().count("bob: back soon"), 1)

    def test_the_answer_is_cut_off(self) -> None:
        """The line is stored, the cable is pulled before the answer: it is sent again, and is there once."""
        bob, alice = self.pair()
        bob.type("once", settle=False)
        bob.cables[-1].carry(answers=False)
        self.server.advance(0)
        bob.pull()
        self.assertEqual(bob.said()[-1], "bob: once  .")
        bob.plug()
        self.assertEqual(bob.said().count("bob: once  ++"), 1)
        self.assertEqual(alice.said().count("bob: once"), 1)
        self.assertEqual(len(bob.chat.sender.outbox), 0)

    def test_killed_at_every_moment(self) -> None:
        """Killed before, on and after the wire: a marked line arrives, and once."""
        bob, alice = self.pair()
        for number, moment in enumerate(("typed", "sent", "answered", "heard")):
            text = f"line {number}"
            bob.type(text, settle=False)
            if moment != "typed":
                bob.cables[-1].carry(answers=False)
                self.server.advance(0)
            if moment == "answered":
                line = bob.cables[-1].far.read().split(b"\n")
                answer = next(part for part in line if part.startswith(b'{"re"'))
                bob.cables[-1].client.dataReceived(answer + b"\n")
            if moment == "heard":
                self.settle()
            self.assertIn(text, bob.said()[-1])
            bob.kill()
            bob.start()
            self.assertEqual(
                [row for row in bob.said() if text in row], [next(r for r in bob.said() if text in r)], moment
            )
        self.settle()
        self.assertEqual([row for row in alice.said() if "line" in row], [f"bob: line {number}" for number in range(4)])

    def test_a_restart_needs_no_password(self) -> None:
        """The screen comes from the store, the login from the token, and what was missed is told."""
        bob, alice = self.pair()
        bob.type("hi")
        bob.kill()
        for text in ("one", "two"):
            alice.type(text)
        bob.reachable = False
        bob.start()
        self.assertEqual(bob.said()[-1], "bob: hi")
        self.assertEqual(bob.chat.talk.prompt, "#ops(admin)> ")
        bob.type("typed before the network was there")
        bob.plug()
        self.assertEqual(bob.said()[-3:], ["alice: one", "alice: two", "bob: typed before the network was there  ++"])

    def test_missed_is_summed_up(self) -> None:
        """At the next start: how much, where, then the messages in order."""
        bob, alice = self.pair()
        bob.kill()
        for text in ("one", "two"):
            alice.type(text)
        alice.type("@bob psst")
        bob.start()
        self.assertIn("3 messages while you were away (#ops 2, bob 1)".replace("bob", "alice"), bob.seen)
        self.assertEqual(bob.said()[-3:], ["alice: one", "alice: two", "[alice] psst"])

    def test_a_new_device_reads_what_was_missed(self) -> None:
        """Somebody logs in on a machine that holds nothing yet."""
        bob, alice = self.pair()
        bob.type("/quit")
        alice.type("bob: see this")
        other = Person(self, "other")
        for line in ("l", "bob", PASSWORD):
            other.type(line)
        self.settle()
        self.assertIn("Welcome, bob.", other.seen)
        self.assertEqual(other.said()[-1], "alice: bob: see this")

    def test_very_much_was_missed(self) -> None:
        """After a long absence: the count, and the newest lines; what I had typed is there once and waits no more."""
        bob, alice = self.pair()
        bob.type("the answer is cut off", settle=False)
        bob.cables[-1].carry(answers=False)
        self.server.advance(0)
        bob.pull()
        for number in range(250):
            alice.type(f"line {number}")
        bob.plug()
        self.assertIn("online again, 250 missed, 1 sent", bob.seen)
        self.assertEqual([row for row in bob.said() if "line" in row], [f"alice: line {n}" for n in range(50, 250)])
        self.assertEqual(bob.chat.transcript.tail.queued, [])

    def test_refused_for_good(self) -> None:
        """A line for a room that I was put out of is told, and does not block what follows."""
        bob, alice = self.pair()
        alice.pull()
        alice.type("to #ops")
        alice.type("@bob to bob")
        bob.type("/kick alice")
        alice.plug()
        self.assertIn("Not sent: to #ops", alice.seen)
        self.assertIn("You are not in #ops. /join #ops", alice.seen)
        self.assertEqual(bob.said()[-1], "[alice] to bob")

    def test_in_order_through_many_cuts(self) -> None:
        """Fifty lines, the cable cut after every third: each arrives once, in order."""
        bob, alice = self.pair()
        for number in range(50):
            bob.type(f"line {number}", settle=number % 2 == 0)
            if number % 3 == 0:
                bob.cables[-1].carry(answers=number % 2 == 0)
                bob.cables[-1].cut()
                self.wait(2)
        self.wait(2)
        self.assertEqual(
            [row for row in alice.said() if "line" in row], [f"bob: line {number}" for number in range(50)]
        )
        self.assertEqual([row for row in bob.said() if "line" in row and row.endswith(".")], [])

    def test_marks_are_true(self) -> None:
        """`+` stands only where the server has the line."""
        bob, _ = self.pair()
        bob.type("on its way", settle=False)
        self.assertEqual(bob.chat.transcript.tail.queued[-1].mark, Mark.QUEUED)
        bob.cables[-1].carry(answers=False)
        self.assertEqual(bob.chat.transcript.tail.queued[-1].mark, Mark.QUEUED)
        self.settle()
        self.assertEqual(bob.said()[-1], "bob: on its way  +")

    def test_bell_by_level(self) -> None:
        """It rings for mentions; for all, or never, where that was asked."""
        bob, alice = self.pair()
        alice.type("hello")
        alice.type("bob: hello")
        self.assertEqual(bob.screen.rung, ["#ops alice: bob: hello"])
        bob.type("/notify all")
        alice.type("hello")
        self.assertEqual(len(bob.screen.rung), 2)
        bob.type("/notify none")
        alice.type("bob!")
        self.assertEqual(len(bob.screen.rung), 2)

    def test_rooms(self) -> None:
        """Lines of other rooms stand there with their room; switching shows each line once."""
        bob, alice = self.pair()
        bob.type("/join #dev")
        alice.type("deploy?")
        self.assertEqual(bob.said()[-1], "#ops alice: deploy?")
        place = bob.chat.view.find("#ops")
        assert place is not None
        self.assertEqual(place.unread, 1)
        bob.type("/switch")
        self.assertEqual(bob.chat.talk.prompt, "#ops(admin)> ")
        self.assertEqual(place.unread, 0)
        self.assertEqual(sum("deploy?" in row for row in bob.said()), 1)

    def test_quit(self) -> None:
        """It says what is unsent."""
        bob, _ = self.pair()
        bob.pull()
        bob.type("later")
        bob.type("/quit")
        self.assertEqual(bob.seen[-2:], ["Bye.", "1 message unsent; it goes out next time."])
        self.assertTrue(bob.screen.over)

    def test_logged_out_elsewhere(self) -> None:
        """A token that is good no more leads to the door, and nothing held is lost."""
        bob, _ = self.pair()
        bob.kill()
        self.server.db.write(lambda tx: tx.drop_logins(1))
        bob.start()
        self.assertIn("Press", bob.chat.talk.prompt)
        for line in ("l", "bob", PASSWORD):
            bob.type(line)
        self.assertEqual(bob.chat.talk.prompt, "#ops(admin)> ")

    def test_another_certificate(self) -> None:
        """Where the server shows another certificate than the pinned one, it is said and not tried again."""
        bob, _ = self.pair()
        tries = len(bob.cables)
        bob.chat.distrust()
        self.wait(60)
        self.assertIn("The server's certificate is not the pinned one. Not connecting.", bob.seen)
        self.assertEqual(len(bob.cables), tries)

    def test_another_person_on_the_same_profile(self) -> None:
        """What the first one read is not shown to the second."""
        bob, alice = self.pair()
        alice.type("for bob only")
        bob.type("/logout")
        before = len(bob.seen)
        for line in ("r", "carol", PASSWORD, PASSWORD, ""):
            bob.type(line)
        self.assertNotIn("for bob only", " ".join(bob.seen[before:]))
        self.assertEqual(bob.store.last(1, 100), [])
        self.assertEqual(bob.chat.talk.prompt, "> ")
