"""What is true only now, as IRC tells it: away, typing, MONITOR; and read markers."""

from __future__ import annotations

from pathlib import Path

from tests.irc.talk import Irc, IrcTestCase, serve
from tests.memory import instances


class PresenceTests(IrcTestCase):
    """Told to who has negotiated it, and to nobody else."""

    def wait(self) -> None:
        """Let what is gathered be told."""
        self.server.advance(0.3)
        self.server.advance(0.3)

    def heard(self, client: Irc) -> list[str]:
        """What came once all that was gathered is told."""
        self.wait()
        return client.lines()

    def test_away(self) -> None:
        """Who is away, comes or goes is told with away-notify; nobody is told of themselves."""
        alice, bob = self.both()
        alice.say("CAP REQ away-notify")
        self.wait()
        alice.lines()
        bob.say("AWAY :lunch")
        self.assertEqual(self.heard(alice), [":bob!bob@chatd AWAY :lunch"])
        bob.say("AWAY")
        self.assertEqual(self.heard(alice), [":bob!bob@chatd AWAY"])
        bob.say("QUIT")
        self.assertEqual(self.heard(alice), [":bob!bob@chatd AWAY :offline: reads it later"])
        self.server.back("bob")
        self.assertEqual(self.heard(alice), [":bob!bob@chatd AWAY"])
        alice.say("AWAY :me")
        self.assertEqual(self.heard(alice), [])

    def test_away_is_not_asked_for(self) -> None:
        """Without the capability nothing of it comes."""
        alice, bob = self.both("message-tags")
        bob.say("AWAY :lunch")
        self.assertEqual(self.heard(alice), [])

    def test_behind(self) -> None:
        """Who read too slowly to be told is told how everybody is who is there."""
        alice, bob = self.both("away-notify")
        self.wait()
        alice.lines()
        session = alice.client.protocol.session
        session.full()
        bob.say("AWAY :lunch")
        self.wait()
        session.drained()
        self.assertEqual(self.heard(alice), [":bob!bob@chatd AWAY :lunch"])

    def test_typing(self) -> None:
        """TAGMSG +typing=active is carried to groups and people, and to programs; nothing else of TAGMSG is."""
        alice, bob = self.both("message-tags")
        carol, json = self.client("carol"), self.server.resume("bob")
        json.call(do="watch")
        carol.say("JOIN #ops")
        self.wait()
        for client in (alice, bob, carol):
            client.lines()
        json.events()
        self.assertEqual(alice.say("@+typing=active TAGMSG #ops"), [])
        self.assertEqual(self.heard(bob), ["@+typing=active :alice!alice@chatd TAGMSG #ops"])
        self.assertEqual([alice.lines(), carol.lines()], [[], []])
        self.assertEqual([found["people"] for found in json.events() if found["ev"] == "typing"], [[["alice", 1]]])
        alice.say("PRIVMSG bob :hi")
        bob.lines()
        alice.say("@+typing=active TAGMSG bob")
        self.assertEqual(self.heard(bob), ["@+typing=active :alice!alice@chatd TAGMSG bob"])
        for line in (
            "@+typing=done TAGMSG #ops",
            "@+react=x TAGMSG #ops",
            "TAGMSG #ops",
            "@+typing=active TAGMSG carol",
        ):
            self.server.advance(5)
            self.assertEqual([alice.say(line), self.heard(bob)], [[], []], line)
        self.assertEqual(alice.say("TAGMSG"), [":chatd 461 alice TAGMSG :Not enough parameters"])

    def test_monitor(self) -> None:
        """MONITOR tells of anybody, whether one shares a group with them or not, and of names that nobody has yet."""
        alice = self.client("alice")
        bob = self.client("bob")
        self.assertEqual(
            alice.say("MONITOR + bob,Carol,dora"), [":chatd 730 alice :bob!bob@chatd", ":chatd 731 alice :carol,dora"]
        )
        self.assertEqual(
            alice.say("MONITOR L"), [":chatd 732 alice :bob,carol,dora", ":chatd 733 alice :End of MONITOR list"]
        )
        bob.say("QUIT")
        self.assertEqual(self.heard(alice), [":chatd 731 alice :bob"])
        carol = self.server.back("carol")
        self.assertEqual(self.heard(alice), [":chatd 730 alice :carol!carol@chatd"])
        other = self.server.resume("carol")
        self.assertEqual(self.heard(alice), [])
        self.server.person("dora")
        self.assertEqual(self.heard(alice), [":chatd 730 alice :dora!dora@chatd"])
        self.assertEqual(
            alice.say("MONITOR S"),
            [":chatd 730 alice :carol!carol@chatd,dora!dora@chatd", ":chatd 731 alice :bob"],
        )
        self.assertEqual(alice.say("MONITOR - carol"), [])
        carol.lose(), other.lose()
        self.assertEqual(self.heard(alice), [])
        self.assertEqual(alice.say("MONITOR C", "MONITOR L"), [":chatd 733 alice :End of MONITOR list"])
        self.client("bob")
        self.assertEqual(self.heard(alice), [])

    def test_monitor_is_bounded(self) -> None:
        """So many and no more (734); what makes no sense is said; a name that can be nobody's is offline."""
        server = serve(Path(self.mktemp()), limits={"monitored_people": 2})
        self.addCleanup(server.stop)
        server.person("alice").lose()
        alice = Irc(server)
        self.assertIn("MONITOR=2", "".join(alice.enter("alice", "standard-replies")))
        self.assertEqual(
            alice.say("MONITOR + a-b,#x,cd,ef"),
            [":chatd 734 alice 2 cd,ef :Monitor list is full.", ":chatd 731 alice :a-b,#x"],
        )
        self.assertTrue(alice.say("MONITOR X")[0].startswith(":chatd FAIL MONITOR INVALID_PARAMS X :"))
        self.assertEqual(alice.say("MONITOR"), [":chatd 461 alice MONITOR :Not enough parameters"])

    def test_a_deleted_account_is_gone(self) -> None:
        """Who monitors somebody whose account is deleted is told that they are offline."""
        alice, bob = self.client("alice"), self.server.back("bob")
        self.wait()
        alice.say("MONITOR + bob")
        bob.type("/delete-account Correct7horse")
        self.assertEqual(self.heard(alice), [":chatd 731 alice :bob"])

    def test_read_markers(self) -> None:
        """MARKREAD is one for all devices of the account: the others are told; it never goes back; JOIN shows it."""
        caps = ("draft/read-marker", "standard-replies", "server-time")
        alice, bob = self.both(*caps)
        phone = self.client("bob", *caps)
        alice.say("PRIVMSG #ops :hi", "PRIVMSG bob :psst")
        time = phone.lines()[0][6:30]
        bob.lines()
        self.assertEqual(bob.say("MARKREAD #ops"), [":chatd MARKREAD #ops *"])
        marked = f":chatd MARKREAD #ops timestamp={time}"
        self.assertEqual(bob.say(f"MARKREAD #ops timestamp={time}"), [marked])
        self.assertEqual(phone.lines(), [marked])
        self.assertEqual(alice.lines(), [])
        self.assertEqual(bob.say("MARKREAD #ops timestamp=2020-01-01T00:00:00.000Z"), [marked])
        self.assertEqual(phone.lines(), [])
        found = phone.say("JOIN #ops")
        self.assertEqual(found[-2:], [marked, ":chatd 366 bob #ops :End of /NAMES list"])
        self.assertEqual(bob.say(f"MARKREAD alice timestamp={time}"), [f":chatd MARKREAD alice timestamp={time}"])
        for name in ("carol", "nobody", "#none"):
            self.assertEqual(bob.say(f"MARKREAD {name}"), [f":chatd MARKREAD {name} *"])
        for line, code in (
            ("MARKREAD", "NEED_MORE_PARAMS :"),
            ("MARKREAD #ops x", "INVALID_PARAMS x :"),
            ("MARKREAD #ops timestamp=9", "INVALID_PARAMS timestamp=9 :"),
            ("MARKREAD #none timestamp=2020-01-01T00:00:00.000Z", "INVALID_PARAMS #none :"),
        ):
            self.assertTrue(bob.say(line)[0].startswith(f":chatd FAIL MARKREAD {code}"), line)

    def test_on_two_instances(self) -> None:
        """All of it crosses instances."""
        one, two = instances(Path(self.mktemp()))
        self.addCleanup(one.stop)
        self.addCleanup(two.stop)
        one.person("alice").lose(), one.person("bob").lose()
        caps = ("away-notify", "message-tags", "draft/read-marker")
        alice, bob, phone = Irc(one), Irc(two), Irc(one)
        alice.enter("alice", *caps)
        bob.enter("bob", *caps)
        phone.enter("bob", *caps)
        alice.say("JOIN #x", "MODE #x -A", "MONITOR + bob")
        bob.say("JOIN #x")

        def wait() -> None:
            for _ in range(8):
                one.advance(0.3)
                two.advance(0.3)

        def heard(client: Irc) -> list[str]:
            wait()
            return client.lines()

        wait()
        for client in (alice, bob, phone):
            client.lines()
        bob.say("AWAY :lunch")
        self.assertEqual(heard(alice), [":bob!bob@chatd AWAY :lunch"])
        bob.say("@+typing=active TAGMSG #x")
        self.assertEqual(heard(alice), ["@+typing=active :bob!bob@chatd TAGMSG #x"])
        phone.lines()
        (told,) = bob.say("MARKREAD #x timestamp=2023-11-14T22:00:00.000Z")
        self.assertEqual(heard(phone), [told])
        phone.say("QUIT"), bob.say("QUIT")
        self.assertIn(":chatd 731 alice :bob", heard(alice))
