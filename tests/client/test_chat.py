"""A whole `chat` but its screen, against the whole server in memory: cables pulled, clients killed, true marks."""

from __future__ import annotations

from client.outbox import Mark
from tests.client.inmemory import ChatTestCase, Person
from tests.memory import PASSWORD, settings


class ChatTests(ChatTestCase):
    """Nothing typed is lost, nothing comes twice, the marks are true."""

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

    def test_who_comes_later(self) -> None:
        """A line that was said before somebody came in never says that all have seen it: they never will."""
        bob, alice = self.person("bob"), self.person("alice")
        bob.type("/create #ops")
        bob.type("before")
        bob.type("/add alice")
        bob.type("after")
        self.wait(4)
        said = [row for row in bob.said() if row.startswith("bob: ")]
        self.assertEqual(said, ["bob: before  +", "bob: after  ++"])
        self.assertEqual([row for row in alice.said() if row.startswith("bob: ")], ["bob: after"])

    def test_days(self) -> None:
        """Between two days stands a line with the date."""
        bob, alice = self.pair()
        alice.type("late")
        self.server.advance(86_400)
        self.settle()
        alice.type("early")
        rows = [row for row in bob.seen if "late" in row or "early" in row or "──" in row]
        self.assertEqual([row[6:] for row in rows[::2]], ["alice: late", "alice: early"])
        self.assertRegex(rows[1], r"^── [A-Z][a-z]+day \d+ [A-Z][a-z]+ \d{4} ──$")

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

    def test_no_room(self) -> None:
        """Where the server is full it says so, once while that lasts for who was in before; then all goes on."""
        bob = self.person("bob")
        bob.type("/join #ops")
        self.server.factory.reload(settings(connections=0))
        alice = Person(self, "alice")
        self.assertRegex(alice.seen[-1], r"^This server is full\. Try again later\. Retry in \d s, Ctrl-C to stop\.$")
        bob.cables[-1].cut()
        bob.type("later")
        self.wait(31)
        full = [row for row in bob.seen if row.startswith("This server is full.")]
        self.assertEqual(len(full), 1)
        self.assertGreater(len(bob.cables), 3)
        self.server.factory.reload(settings())
        self.wait(31)
        self.assertEqual(bob.said()[-1], "bob: later  +")
        alice.register()
        self.assertIn("Welcome, alice.", alice.seen)

    def test_typed_ahead(self) -> None:
        """What is typed behind a command goes where that command leads, or answers what it asks: never elsewhere."""
        bob, alice = self.pair()
        for line in ("/dm alice", "for alice only", "/join #ops", "for all"):
            bob.type(line, settle=False)
        self.settle()
        self.assertEqual(bob.said()[-2:], ["bob: for alice only  +", "bob: for all  +"])
        self.assertEqual(alice.said()[-2:], ["[bob] for alice only", "bob: for all"])
        for line in ("/password", PASSWORD, "Battery8staple", "Battery8staple", "changed"):
            bob.type(line, settle=False)
        self.settle()
        self.assertEqual(alice.said()[-1], "bob: changed")
        self.assertIn("Password changed.", " ".join(bob.seen))
        self.assertNotIn(PASSWORD, " ".join([*bob.seen, *bob.store.typed()]))

    def test_typed_ahead_and_cut(self) -> None:
        """Where the command's answer never comes, nothing that was typed behind it goes anywhere, and that is said."""
        bob, alice = self.pair()
        for line in ("/dm alice", "for alice only"):
            bob.type(line, settle=False)
        self.assertEqual(bob.chat.connection(), "online, 1 waiting for an answer")
        bob.pull()
        self.assertIn("Not sent: for alice only", bob.seen)
        self.assertEqual(bob.store.typed()[0], "for alice only")
        bob.plug()
        self.assertNotIn("for alice only", " ".join(alice.said()))
        bob.type("/quit", settle=False)
        self.assertTrue(bob.screen.over)

    def test_a_cable_that_says_nothing(self) -> None:
        """A connection that is dead without a word (a cable pulled, a laptop that slept) is found out by asking."""
        bob, alice = self.pair()
        bob.cables[-1].silent = True
        bob.type("into the void")
        self.wait(10)
        self.assertEqual((bob.said()[-1], bob.chat.connection()), ("bob: into the void  .", "online, 1 queued"))
        self.wait(35)
        self.assertEqual((bob.said()[-1], bob.chat.connection()), ("bob: into the void  ++", "online"))
        self.assertEqual(alice.said().count("bob: into the void"), 1)

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
        self.assertEqual(bob.chat.talk.prompt, "#ops(admin) [open]> ")
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
        self.assertEqual(bob.chat.talk.prompt, "#ops(admin) [open]> ")
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
        self.assertEqual(bob.chat.talk.prompt, "#ops(admin) [open]> ")

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
