"""What was said while nobody listened, and the PING that scripts rely on."""

from __future__ import annotations

from tests.irc.talk import Irc, IrcTestCase


class MissedTests(IrcTestCase):
    """What was said while nobody listened."""

    def test_replayed(self) -> None:
        """Behind the JOINs of the greeting, at its time: by a tag where that is negotiated, else before the text."""
        alice, bob = self.both()
        bob.say("QUIT")
        alice.say("PRIVMSG #ops :one", "PRIVMSG bob :two", "PRIVMSG #ops :\x01ACTION three\x01")
        for caps, expected in (
            (
                (),
                [
                    r"PRIVMSG #ops :\[..:..\] one",
                    r"PRIVMSG bob :\[..:..\] two",
                    "PRIVMSG #ops :\x01ACTION .* three\x01",
                ],
            ),
            (("server-time",), ["PRIVMSG #ops :one", "PRIVMSG bob :two", "PRIVMSG #ops :\x01ACTION three\x01"]),
        ):
            back = Irc(self.server)
            found = back.enter("bob", *caps)
            joined = found.index(":bob!bob@chatd JOIN #ops")
            said = [line for line in found[joined:] if "PRIVMSG" in line]
            self.assertEqual(len(said), 3)
            for line, pattern in zip(said, expected, strict=True):
                self.assertRegex(line, pattern)
                self.assertEqual(line.startswith("@time=2023"), bool(caps))
            back.client.cut()
            self.server.sql("UPDATE account SET seen = 0 WHERE name = 'bob'") if not caps else None

    def test_only_once(self) -> None:
        """What was shown is not shown again."""
        alice, bob = self.both()
        alice.say("PRIVMSG #ops :one")
        bob.lines()
        bob.say("QUIT")
        self.assertNotIn("one", "".join(Irc(self.server).enter("bob")))

    def test_a_long_absence(self) -> None:
        """More than a screenful or two become a count."""
        alice, bob = self.both()
        bob.say("QUIT")
        for _ in range(3):
            alice.say(*["PRIVMSG #ops :x"] * 70)
        found = Irc(self.server).enter("bob")
        self.assertIn("210 messages while you were away (#ops 210)", found[-3] + "".join(found))
        self.assertNotIn(" PRIVMSG #", "".join(found))

    def test_removed_meanwhile(self) -> None:
        """Who was put out while away is told so, and is not in the group."""
        alice, bob = self.both()
        bob.say("QUIT")
        alice.say("KICK #ops bob :gone too long")
        found = Irc(self.server).enter("bob", "server-time")
        self.assertTrue(found[-1].endswith("You were removed from #ops by alice: gone too long"))
        self.assertNotIn("JOIN #ops", "".join(found))


class PingTests(IrcTestCase):
    """A PING is answered behind everything that was accepted before it."""

    def test_behind_what_others_sent(self) -> None:
        """Lines of somebody else that wait behind a JOIN are done, and shown, before the PONG."""
        alice, bob = self.both()
        self.server.writer.hold()
        alice.client.send(b"JOIN #a\r\nJOIN #b\r\nPRIVMSG bob :first\r\n")
        bob.client.send(b"PING x\r\n")
        self.server.writer.release()
        self.server.advance(0)
        for _ in range(9):
            self.server.advance(0.01)
        self.assertEqual(bob.lines(), [":alice!alice@chatd PRIVMSG bob :first", ":chatd PONG chatd :x"])

    def test_two_at_once(self) -> None:
        """Two that ping at one moment do not wait for each other."""
        alice, bob = self.both()
        self.server.writer.hold()
        alice.client.send(b"JOIN #a\r\nPING a\r\nPING b\r\n")
        bob.client.send(b"JOIN #b\r\nPING c\r\nPING d\r\n")
        self.server.writer.release()
        for _ in range(9):
            self.server.advance(0.01)
        self.assertEqual(alice.lines()[-2:], [":chatd PONG chatd :a", ":chatd PONG chatd :b"])
        self.assertEqual(bob.lines()[-2:], [":chatd PONG chatd :c", ":chatd PONG chatd :d"])
