"""Several terminals of one person, what was missed between two of them, and how a connection ends.

The rule: what a test expects is what FEATURES.md says, not what the daemon happens to print.
"""

from __future__ import annotations

from tests.memory import PASSWORD
from tests.people import Base


class TerminalTests(Base):
    """Connections of one person, and how they end (rows 34, 58)."""

    def test_several_terminals(self) -> None:
        """All terminals of an account see everything; a typed line is not shown on the one it was typed on."""
        alice, bob = self.person("alice", "/create #ops"), self.person("bob")
        alice.type("/add bob")
        self.server.advance(6)
        second = self.server.back("alice")
        self.shows(
            second, r"Welcome, alice\.\nPeople: bob\*   \(\* online\)\nGroups: #ops \(admin\)\nNow in #ops \(admin\)\."
        )
        bob.lines()
        self.talk(alice, ("from one", []))
        self.shows(second, r"\d\d:\d\d <alice> from one")
        self.talk(second, ("from two", []))
        self.shows(alice, r"\d\d:\d\d <alice> from two")
        self.shows(bob, r"\d\d:\d\d <alice> from one\n\d\d:\d\d <alice> from two")
        self.talk(alice, ("@bob direct", []))
        self.shows(second, r"\d\d:\d\d \[me -> bob\] direct")

    def test_a_terminal_keeps_its_own_room(self) -> None:
        """The current room is each terminal's own; a kick, a role and a new group reach all of them."""
        alice = self.person("alice", "/create #ops", "/create #dev")
        second = self.server.back("alice")
        second.type("/join #ops")
        second.lines()
        bob = self.person("bob")
        self.talk(alice, ("/add bob", ["alice added bob to #dev."]))
        self.assertEqual(second.lines(), ["alice added bob to #dev."])
        bob.type("hi")
        self.shows(alice, r"\d\d:\d\d <bob> hi")
        self.shows(second, r"\d\d:\d\d #dev <bob> hi")

    def test_logged_out_from_elsewhere(self) -> None:
        """A session that another one logs out, or whose account is deleted, is told so and closed; the others stay."""
        alice, second, third = self.person("alice"), self.server.back("alice"), self.server.back("alice")
        second.lines(), third.lines()
        self.assertEqual(alice.type("/logout 2"), ["Session 2 is logged out."])
        self.assertEqual((second.lines(), second.closed, third.closed), (["Logged out."], True, False))
        self.talk(
            alice, ("/whoami", ["You are alice."]), (f"/delete-account {PASSWORD}", ["Your account is deleted. Bye."])
        )
        self.assertEqual((third.lines(), third.closed), (["Logged out."], True))

    def test_presence_is_until_the_last_terminal(self) -> None:
        """Somebody is online until the last of their terminals is gone."""
        alice, bob = self.person("alice", "/create #ops"), self.person("bob")
        alice.type("/add bob")
        second = self.server.back("bob")
        bob.hang_up()
        self.assertEqual(alice.type("/online")[-1], "#ops 2 of 2 online: alice, bob")
        second.hang_up()
        self.assertEqual(alice.type("/online")[-1], "#ops 1 of 2 online: alice")

    def test_missed(self) -> None:
        """What was missed is counted by room, then shown in order; what was seen is not shown again."""
        alice, bob = self.person("alice", "/create #ops"), self.person("bob")
        alice.type("/add bob")
        alice.type("seen")
        bob.hang_up()
        for line in ("one", "@bob two", "three"):
            alice.type(line)
        bob = self.server.back("bob")
        self.shows(
            bob,
            r"Welcome, bob\.\nPeople: alice\*   \(\* online\)\nGroups: #ops \(2 new\)\n"
            r"3 messages while you were away \(#ops 2, alice 1\)\n"
            r"\d\d:\d\d <alice> one\n\d\d:\d\d \[alice\] two\n\d\d:\d\d <alice> three\nNow in #ops\.",
        )
        bob.hang_up()
        self.assertEqual(self.server.back("bob").lines()[2:], ["Groups: #ops", "Now in #ops."])

    def test_missed_too_much(self) -> None:
        """More than 200 missed lines are counted, and not shown."""
        alice, bob = self.person("alice", "/create #ops"), self.person("bob")
        alice.type("/add bob")
        bob.hang_up()
        alice.send(b"".join(b"line %d\r\n" % number for number in range(201)))
        bob = self.server.back("bob")
        lines = bob.lines()
        self.assertIn("201 messages while you were away (#ops 201)", lines)
        self.assertEqual([line for line in lines if "<alice>" in line], [])
        alice.type("live")
        self.shows(bob, r"\d\d:\d\d <alice> live")
        bob.hang_up()
        self.assertNotIn("while you were away", "\n".join(self.server.back("bob").lines()))

    def test_just_as_much_as_is_shown(self) -> None:
        """200 missed lines are shown."""
        alice, bob = self.person("alice", "/create #ops"), self.person("bob")
        alice.type("/add bob")
        bob.hang_up()
        alice.send(b"".join(b"line %d\r\n" % number for number in range(200)))
        lines = self.server.back("bob").lines()
        self.assertEqual(
            [line.split()[-1] for line in lines if "<alice>" in line], [str(number) for number in range(200)]
        )

    def test_missed_after_a_crash(self) -> None:
        """Whose connection broke is shown again what came since the cursor was saved, and nothing is skipped."""
        alice, bob = self.person("alice", "/create #ops"), self.person("bob")
        alice.type("/add bob")
        alice.type("before")
        self.server.advance(6)
        alice.type("after")
        bob.cut()
        alice.type("missed")
        lines = "\n".join(self.server.back("bob").lines())
        self.assertNotIn("before", lines)
        self.assertRegex(lines, r"<alice> after\n\d\d:\d\d <alice> missed")

    def test_a_kick_while_away(self) -> None:
        """Who was removed while away is told so at the next login, and hears nothing after it."""
        alice, bob = self.person("alice", "/create #ops"), self.person("bob")
        alice.type("/add bob")
        bob.hang_up()
        for line in ("heard", "/kick bob spam", "not heard"):
            alice.type(line)
        lines = self.server.back("bob").lines()
        self.assertRegex("\n".join(lines), r"<alice> heard\nYou were removed from #ops by alice: spam$")
        self.assertIn("Groups: (none)", lines)

    def test_piped_input(self) -> None:
        """`printf … | nc -N`: everything that was sent is done and answered, then the connection is closed."""
        alice, bob = self.person("alice", "/create #ops"), self.person("bob")
        alice.type("/add bob")
        bob.lines()
        client = self.server.connect()
        client.protocol.dataReceived(
            f"/login alice {PASSWORD}\r\nhi\r\nho\r\n/kick bob\r\n/ping 7\r\n/members\r\n".encode()
        )
        client.finish()
        lines = client.lines()
        self.assertEqual(lines[-3:], ["alice removed bob from #ops.", "pong 7", "#ops 1: alice (owner)"])
        self.assertTrue(client.closed and client.gone)
        self.shows(bob, r"\d\d:\d\d <alice> hi\n\d\d:\d\d <alice> ho\nYou were removed from #ops by alice\.")

    def test_piped_input_in_pieces(self) -> None:
        """However the lines are cut, and whether the end is there or not, the answers are the same; half a line is
        none.
        """
        self.person("alice", "/create #ops").hang_up()
        sent = f"/login alice {PASSWORD}\n/ping 1\nhi\n/ping 2\n/history 1\n/quit now".encode()
        for size in (len(sent), 1, 7):
            client = self.server.connect()
            for start in range(0, len(sent), size):
                client.protocol.dataReceived(sent[start : start + size])
            client.finish()
            lines = client.lines()
            self.assertEqual([line for line in lines if line.startswith("pong")], ["pong 1", "pong 2"])
            self.assertRegex(lines[-1], "alice: hi$")
            self.assertTrue(client.closed)

    def test_nothing_but_an_end(self) -> None:
        """A connection that ends without a whole line, or without any byte, is closed."""
        for data in (b"", b"/ping 7", b'{"do":"ping"}'):
            client = self.server.connect()
            client.protocol.dataReceived(data)
            client.finish()
            self.assertEqual((client.closed, client.read()), (True, b""))

    def test_an_end_at_a_question(self) -> None:
        """A question that nobody will answer keeps no connection."""
        client = self.server.connect()
        client.send(b"l\r\nbob\r\n")
        client.finish()
        self.assertTrue(client.closed)

    def test_draining(self) -> None:
        """An instance that stops works off what it has accepted, tells everybody, closes, and takes nobody new."""
        alice, bob, program = self.person("alice", "/create #ops"), self.person("bob"), self.server.program("carol")
        waiting, greeted, silent = self.at_the_door("l"), self.at_the_door(), self.server.connect()
        alice.type("/add bob")
        bob.lines()
        self.server.writer.hold()
        alice.send(b"last words\r\n/ping 7\r\n")
        gone: list[None] = []
        self.server.factory.drain().addCallback(gone.append)
        self.server.advance(0)
        self.assertFalse(alice.closed)
        self.server.writer.release()
        self.assertEqual(alice.lines(), ["pong 7", "This server is closing; reconnect."])
        self.assertRegex("\n".join(bob.lines()), r"This server is closing; reconnect\.")
        self.assertEqual(waiting.lines(), ["", "This server is closing; reconnect."])
        self.assertEqual(greeted.lines(), ["", "This server is closing; reconnect."])
        self.assertEqual((silent.read(), silent.closed), (b"", True))
        self.assertEqual(program.objects()[-1], {"ev": "closing"})
        self.assertTrue(all(client.gone for client in (alice, bob, program, waiting)))
        self.assertEqual(gone, [None])
        self.assertEqual(self.server.sql("SELECT text FROM event WHERE kind = 'say'"), [("last words",)])
        self.assertIsNone(self.server.factory.buildProtocol(None))

    def test_draining_does_not_wait_for_ever(self) -> None:
        """Whoever does not read is cut off after drain_seconds."""
        alice = self.person("alice")
        alice.transport.stick()
        alice.send(b"/help\r\n")
        gone: list[None] = []
        self.server.factory.drain().addCallback(gone.append)
        self.server.advance(1)
        self.assertEqual(gone, [])
        self.server.advance(5)
        self.assertEqual(gone, [None])
