"""A session's life, its order, and its bounds: one connection at a time, the whole server in memory.

The rule: a state is looked at only where the table of states itself is the subject; else what the other end of the
connection sees.
"""

from __future__ import annotations

import re
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from chatd import session as module
from chatd.commands import info
from chatd.session import TRANSITIONS, State
from chatd.store import ReadTx
from tests.memory import ABROAD, DOOR, PASSWORD, Client, Server, settings

INPUTS = ("line", "raw", "login", "caught_up", "full", "logout", "close", "lost")
MENU = b"/menu\r\n"


class Base(SynchronousTestCase):
    """A server."""

    settings = settings()

    def setUp(self) -> None:
        self.server = Server(Path(self.mktemp()), settings=self.settings)
        self.addCleanup(self.server.stop)

    def limit(self, **limits: Any) -> None:
        """Go on under other limits."""
        self.server.factory.reload(replace(self.settings, limits=replace(self.settings.limits, **limits)))

    def paused(self, client: Client) -> bool:
        """Whether the server reads nothing from this client just now."""
        return client.transport.producerState == "paused"


class LifeTests(Base):
    """The one transition table (DESIGN §7)."""

    def test_the_table_is_what_is_written(self) -> None:
        """The table at the head of session.py is the table that is used."""
        assert module.__doc__ is not None
        written = {}
        everywhere = [state for state in State if state is not State.GONE]
        for line in re.findall(r"^    (\w\S*) +(\w+) +(\w+)  +\w", module.__doc__, re.MULTILINE):
            states, what, after = line
            if states == "state":
                continue
            for state in everywhere if states == "any" else map(State, states.split(",")):
                if not (state is State.CLOSING and what == "close"):
                    written[state, what] = State(after)
        self.assertEqual(written, TRANSITIONS)

    def test_nothing_waits_for_an_acknowledgement(self) -> None:
        """What is sent leaves at once, even to a reader that acknowledges late (TCP_NODELAY)."""
        self.assertTrue(self.server.connect().transport.prompt)

    def test_every_step(self) -> None:
        """From every state each input leads where the table says, or nowhere."""
        for state in State:
            for what in INPUTS:
                session = self.server.connect().protocol.session
                session.state = state
                moved = session.move(what)
                self.assertEqual(moved, (state, what) in TRANSITIONS)
                self.assertIs(session.state, TRANSITIONS.get((state, what), state))
                session.state = State.DOOR
        self.assertEqual({what for _, what in TRANSITIONS}, set(INPUTS))

    def test_every_state_is_reached_and_left(self) -> None:
        """All states are reached from the first, and from all the connection can end; GONE is the end."""
        reached = {State.UNDECIDED}
        while more := {after for (state, _), after in TRANSITIONS.items() if state in reached} - reached:
            reached |= more
        self.assertEqual(reached, set(State))
        for state in State:
            self.assertEqual((state, "lost") in TRANSITIONS, state is not State.GONE)

    def test_a_life(self) -> None:
        """A connection goes through its states as it is used."""
        client = self.server.connect()
        session = client.protocol.session
        seen = [session.state]

        def now() -> None:
            seen.append(session.state)

        client.send(b"/pi")
        now()
        client.send(b"ng\r\n")
        now()
        client.send(f"/register alice {PASSWORD}\r\n".encode())
        now()
        client.transport.stick()
        client.send(b"/help\r\n" * 100)
        now()
        client.transport.drain()
        self.server.advance(0)
        now()
        client.send(b"/logout\r\n")
        now()
        client.transport.stick()
        client.send(b"/quit\r\n")
        now()
        client.transport.drain()
        self.server.advance(0)
        now()
        expected = "undecided undecided door in behind in door closing gone"
        self.assertEqual([state.value for state in seen], expected.split())

    def test_nothing_is_left_behind(self) -> None:
        """However a connection ends, at whatever point, nothing of it stays: not in the routing table, not among the
        connections, not in presence.
        """
        self.server.person("bob").type("/create #ops")
        lines = [
            b"",
            b"/ping",
            b"\r\n",
            b"l\r\n",
            b"bob\r\n",
            PASSWORD.encode() + b"\r\n",
            b"/join #ops\r\nhi\r\n",
            b"/kick\r\n",
            b"\r\n",
            b"/transfer bob\r\n",
            b"/quit\r\n",
        ]
        for end in ("finish", "lose", "cut", "stop reading"):
            for count in range(len(lines)):
                client = self.server.connect()
                for data in lines[:count]:
                    client.send(data)
                if end == "stop reading":
                    client.transport.stick()
                    client.send(MENU * 1_000)
                    client.cut()
                else:
                    getattr(client, end)()
                self.server.advance(0)
                client.transport.drain()
                self.server.advance(2)
                self.assertTrue(client.gone, (end, count))
        for client in [held for held in self.server.factory.connections if held.session.name == "bob"]:
            client.transport.abortConnection()
        self.server.advance(6)
        self.assertEqual(self.server.factory.connections, set())
        for held in (self.server.factory._silent, self.server.factory._outside, self.server.factory._closing):
            self.assertEqual(held, {})
        self.assertEqual(len(self.server.feed.routing), 0)
        self.assertEqual((self.server.feed.routing._people, self.server.feed.routing._inboxes), ({}, {}))
        self.assertEqual(self.server.peers._sessions, set())
        self.assertEqual(self.server.sql("SELECT * FROM presence"), [])

    def test_the_first_line_decides(self) -> None:
        """However late and however cut the first line comes, its first character tells the dialect."""
        for data, answer in (
            (b'{"do":"ping"}\n', b'{"re":null'),
            (b"/ping\n", b"pong"),
            (b'  {"do":"ping"}\r\n', b'{"re"'),
        ):
            for size in (1, 3, len(data)):
                client = self.server.connect()
                for start in range(0, len(data), size):
                    client.send(data[start : start + size])
                    self.server.advance(0.05)
                self.assertIn(answer, client.read())

    def test_a_first_line_without_end(self) -> None:
        """A first line past the limit is told so, and what follows its end is read."""
        client = self.server.connect()
        client.send(b"x" * 9_000)
        self.assertEqual(client.lines(), ["More than 8,192 of 4,000 characters. Skipped.", DOOR])
        client.send(b"x" * 9_000 + b"\n/ping\n")
        self.assertEqual(client.lines(), ["pong", DOOR])

    def test_logging_in_again(self) -> None:
        """After /logout the connection serves somebody else, who hears nothing of the first."""
        self.server.person("bob").hang_up()
        alice = self.server.person("alice")
        alice.type("/create #ops")
        alice.type("/logout")
        alice.type(f"/login bob {PASSWORD}")
        other = self.server.back("alice")
        other.type("hi")
        self.assertEqual(alice.lines(), [])
        self.assertEqual(alice.type("/whoami"), ["You are bob."])


class OrderTests(Base):
    """A session's calls take effect in the order sent (DESIGN §4)."""

    def test_a_command_is_a_barrier(self) -> None:
        """What stands behind a command in the same packet finds it done: the new room, the new person, the question."""
        self.server.person("bob").hang_up()
        client = self.server.connect()
        client.send(
            f"r\r\nalice\r\n{PASSWORD}\r\n{PASSWORD}\r\n\r\n/join #one\r\nin one\r\n/join #two\r\nin two\r\n"
            f"/add\r\nbob\r\nto both\r\n/transfer bob\r\ny\r\n/kick bob\r\n/logout\r\n/login bob {PASSWORD}\r\n"
            f"/whoami\r\n".encode()
        )
        lines = client.lines()
        self.assertEqual(lines[-1], "You are bob. Now in #two (admin).")
        self.assertIn("Only admin can do that: /kick", lines)
        said = self.server.sql("SELECT r.name, e.text FROM event e JOIN room r ON r.id = e.room WHERE e.kind = 'say'")
        self.assertEqual(said, [("#one", "in one"), ("#two", "in two"), ("#two", "to both")])

    def test_lines_fly_together(self) -> None:
        """Lines of one packet share a commit, so that one sender is not limited to one message a commit."""
        alice = self.server.person("alice")
        alice.type("/create #ops")
        commits = self.server.db.meter.commits
        alice.send(b"hi\r\n" * 60)
        self.assertEqual(self.server.db.meter.commits, commits + 1)

    def test_slow_work_holds_up_its_own_session_only(self) -> None:
        """While a password is checked its session waits; everybody else talks."""
        bob, alice = self.server.person("bob"), self.server.person("alice")
        alice.type("/create #ops")
        alice.type("/add bob")
        bob.read()
        self.server.passwords.hold()
        client = self.server.connect()
        client.send(f"/login bob {PASSWORD}\r\n/ping 1\r\n".encode())
        alice.type("hello")
        self.assertEqual(len(bob.lines()), 1)
        self.assertEqual(client.lines(), [])
        self.server.passwords.release()
        self.assertEqual(client.lines()[-1], "pong 1")

    def test_password_thread_that_breaks(self) -> None:
        """Work that breaks on the password thread is answered INTERNAL, and the session goes on."""
        self.server.person("bob").hang_up()
        client = self.server.connect()

        def breaks(run: Any, who: Any) -> Deferred[Any]:
            return self.server.passwords.run(lambda: 1 // 0)

        slowly, self.server.instance.slowly = self.server.instance.slowly, breaks
        self.assertRegex(client.type(f"/login bob {PASSWORD}")[0], "^Something broke here")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.server.instance.slowly = slowly
        self.assertEqual(client.type(f"/login bob {PASSWORD}")[0], "Welcome, bob.")

    def test_a_command_without_a_transaction_that_breaks(self) -> None:
        """What needs no database and breaks is answered INTERNAL, and the session goes on."""
        client = self.server.person("bob")
        self.patch(info, "table", lambda: 1 // 0)
        self.assertRegex(client.type("/help")[0], "^Something broke here")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(client.type("/ping 1"), ["pong 1"])

    def test_what_belongs_to_a_welcome_cannot_be_read(self) -> None:
        """Who is let in, and cannot be told of what waits for them, is sent away to come back: they are never told that
        nothing was changed when their account was made."""

        def breaks(tx: ReadTx, account: int) -> Any:
            raise sqlite3.OperationalError("disk I/O error")

        patched = self.patch(ReadTx, "rooms_of", breaks)
        client = self.server.connect()
        self.assertEqual(client.type(f"/register bob {PASSWORD}")[-1], "This server is closing; reconnect.")
        patched.restore()
        self.flushLoggedErrors(sqlite3.OperationalError)
        self.assertTrue(client.transport.disconnecting)
        self.assertEqual(self.server.connect().type(f"/login bob {PASSWORD}")[0], "Welcome, bob.")

    def test_reads_beside_the_writer(self) -> None:
        """What only reads is answered while the writer is at work."""
        alice, bob = self.server.person("alice"), self.server.person("bob")
        bob.type("/create #ops")
        self.server.writer.hold()
        alice.send(b"/create #dev\r\n")
        self.assertEqual(bob.type("/members"), ["#ops 1: bob (owner)"])
        self.server.writer.release()

    def test_gone_before_the_answer(self) -> None:
        """What was accepted from somebody who is gone is done all the same, and nobody minds the answer."""
        alice, bob = self.server.person("alice"), self.server.person("bob")
        alice.type("/create #ops")
        alice.type("/add bob")
        bob.read()
        for data in (b"last\r\n", b"/topic t\r\n", b"/ping\r\n", b"/members\r\n"):
            client = self.server.back("alice")
            client.read()
            self.server.writer.hold()
            self.server.readers.hold()
            client.send(data)
            client.cut()
            self.server.writer.release()
            self.server.readers.release()
        self.assertRegex("\n".join(bob.lines()), r"<alice> last\nalice set the topic of #ops: t$")


class BoundTests(Base):
    """What one connection may ask of the server."""

    def test_waiting_lines(self) -> None:
        """More than 64 lines that wait stop the reading; when they are worked off it goes on, and nothing is lost."""
        alice = self.server.person("alice")
        alice.type("/create #ops")
        self.server.writer.hold()
        alice.send(b"".join(b"line %d\r\n" % number for number in range(64)))
        self.assertFalse(self.paused(alice))
        alice.send(b"one more\r\n")
        self.assertTrue(self.paused(alice))
        alice.send(b"behind\r\n" * 100)
        self.server.writer.release()
        self.assertFalse(self.paused(alice))
        self.assertEqual(self.server.sql("SELECT count(*) FROM event WHERE kind = 'say'"), [(165,)])

    def test_waiting_commands(self) -> None:
        """So do commands, of which one runs at a time."""
        alice = self.server.person("alice")
        self.server.writer.hold()
        alice.send(b"/ping 1\r\n" * 100)
        self.assertTrue(self.paused(alice))
        self.server.writer.release()
        self.assertEqual((self.paused(alice), len(alice.lines())), (False, 100))

    def test_a_packet_of_nothing(self) -> None:
        """A packet of empty lines, or of thousands of commands that are answered at once, is no burden on the stack."""
        alice = self.server.person("alice")
        alice.send(b"\r\n" * 32_000)
        alice.send(b"/whoami x\r\n" * 6_000)
        self.assertEqual(alice.lines(), ["Usage: /whoami"] * 6_000)
        alice.send(b"/help hel\r\n" * 5_000 + b"/quit\r\n")
        self.assertEqual(len(alice.lines()), 5_001)
        self.assertTrue(alice.closed)

    def test_the_others_turn(self) -> None:
        """Between the lines of a large packet others are served."""
        alice, bob = self.server.person("alice"), self.server.person("bob")
        alice.protocol.dataReceived(b"/help hel\r\n" * 6_000)
        bob.protocol.dataReceived(b"/quit\r\n")
        served = len(alice.lines())
        self.assertLess(served, 6_000)
        self.assertEqual(bob.lines(), ["Bye."])
        self.server.advance(0)
        self.assertEqual(served + len(alice.lines()), 6_000)

    def test_rate(self) -> None:
        """Sixty lines at once and twenty a second from abroad; loopback is exempt unless configured."""
        client, home = self.server.person("alice", ABROAD), self.server.person("bob")
        self.server.advance(60)
        for talker, refused in ((client, 40), (home, 0)):
            talker.send(b"/files\r\n" * 100)
            lines = talker.lines()
            self.assertEqual(lines.count("Slow down: 1 s."), refused)
            self.assertEqual(lines[:60].count("Slow down: 1 s."), 0)
        self.server.advance(0.5)
        client.send(b"/files\r\n" * 20)
        self.assertEqual(client.lines().count("Slow down: 1 s."), 10)
        self.limit(limit_loopback=True, lines_burst=3, lines_per_second=0.1)
        home = self.server.connect()
        home.send(b"/help ping\r\n" * 5)
        self.assertEqual(sum("Slow down: 10 s." in line for line in home.lines()), 2)
        self.server.advance(9)
        self.assertEqual(home.type("/ping")[0], "Slow down: 1 s.")
        self.server.advance(1)
        self.assertEqual(home.type("/ping")[0], "pong")

    def test_nonsense(self) -> None:
        """After fifty lines of nonsense in a row a connection from abroad is closed; a sensible one counts anew."""
        client, home = self.server.connect(ABROAD), self.server.connect()
        for number in range(49):
            client.type(f"/nonsense{number}")
            self.server.advance(1)
        self.assertEqual(client.type("/ping")[0], "pong")
        for _ in range(49):
            client.type("/nonsense")
            self.server.advance(1)
        self.assertFalse(client.closed)
        client.type("/nonsense")
        self.assertTrue(client.closed)
        home.send(b"/nonsense\r\n" * 200)
        self.assertFalse(home.closed)

    def test_settings_change(self) -> None:
        """New settings hold for those who are connected, from their next line on."""
        alice = self.server.person("alice")
        alice.type("/create #ops")
        self.limit(message_characters=5)
        self.assertEqual(alice.type("too long"), ["8 of 5 characters."])

    def test_a_connection_that_does_not_go(self) -> None:
        """Who does not take the last bytes is cut off after drain_seconds."""
        alice = self.server.person("alice")
        alice.transport.stick()
        alice.send(b"/help\r\n/quit\r\n")
        self.server.advance(1)
        self.assertFalse(alice.gone)
        self.server.advance(5)
        self.assertTrue(alice.gone)
