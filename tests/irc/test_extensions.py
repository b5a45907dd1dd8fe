"""IRCv3."""

from __future__ import annotations

import re
from typing import Any

from chatd.wire.irc import Irc as Dialect
from tests.irc.talk import Irc, IrcTestCase


class ExtensionTests(IrcTestCase):
    """IRCv3."""

    def test_tags(self) -> None:
        """Time, msgid and account stand on a message for those who asked for them, and for nobody else."""
        alice, bob = self.both("server-time", "message-tags", "account-tag")
        carol = self.client("carol")
        carol.say("JOIN #ops")
        bob.lines()
        alice.say("PRIVMSG #ops :hi")
        (line,) = bob.lines()
        self.assertRegex(
            line, r"^@time=2023-11-14T22:13:\d\d\.\d{3}Z;account=alice;msgid=\d+ :alice!alice@chatd PRIVMSG"
        )
        self.assertEqual(carol.lines(), [":alice!alice@chatd PRIVMSG #ops :hi"])
        alice.say("TOPIC #ops :t", "INVITE dave #ops", "KICK #ops carol")
        self.assertEqual(
            [re.sub(r"time=[^;]*;|=\d+", "", line) for line in bob.lines()],
            [
                "@account=alice;msgid :alice!alice@chatd TOPIC #ops :t",
                "@account=alice;msgid :alice!alice@chatd KICK #ops carol :alice",
            ],
        )

    def test_echo(self) -> None:
        """With echo-message one's own words come back, in their place among the others'."""
        alice, bob = self.both("echo-message")
        self.assertEqual(alice.say("PRIVMSG #ops :hi"), [":alice!alice@chatd PRIVMSG #ops :hi"])
        alice.say("CAP REQ :-echo-message")
        self.assertEqual(alice.say("PRIVMSG #ops :hi"), [])
        self.assertEqual(len(bob.lines()), 2)

    def test_labels(self) -> None:
        """One line is labeled, several are a batch, none is ACK; an event that answers is labeled, too."""
        alice, bob = self.both("batch", "labeled-response")
        self.assertEqual(alice.say("@label=1 PING x"), ["@label=1 :chatd PONG chatd :x"])
        self.assertEqual(alice.say("@label=2 PRIVMSG #ops :hi"), ["@label=2 :chatd ACK"])
        self.assertEqual(alice.say("@label=3 TOPIC #ops :t"), ["@label=3 :alice!alice@chatd TOPIC #ops :t"])
        self.assertEqual(
            alice.say("@label=4 PRIVMSG nobody :x"), ["@label=4 :chatd 401 alice nobody :No such nick/channel"]
        )
        found = alice.say("@label=5 JOIN #new")
        self.assertEqual(found[0], "@label=5 :chatd BATCH +b1 labeled-response")
        self.assertEqual(found[-1], ":chatd BATCH -b1")
        self.assertTrue(all(line.startswith("@batch=b1 ") for line in found[1:-1]))
        self.assertEqual([line.split()[2] for line in found[1:-1]], ["JOIN", "353", "366"])
        self.assertEqual(alice.say("@label=6 KICK #ops bob"), ["@label=6 :alice!alice@chatd KICK #ops bob :alice"])
        self.assertNotIn("label", "".join(bob.lines()))
        self.assertEqual(alice.say("@label=7 BLAH"), ["@label=7 :chatd 421 alice BLAH :Unknown command"])

    def test_labels_and_echo(self) -> None:
        """The echo carries the label; to several targets all echoes are one batch."""
        alice, bob = self.both("batch", "labeled-response", "echo-message")
        self.assertEqual(alice.say("@label=1 PRIVMSG #ops :hi"), ["@label=1 :alice!alice@chatd PRIVMSG #ops :hi"])
        found = alice.say("@label=2 PRIVMSG bob,carol,#ops :hi")
        self.assertEqual(len(found), 5)
        self.assertEqual(found[0], "@label=2 :chatd BATCH +b1 labeled-response")
        self.assertEqual(len(bob.lines()), 3)
        bob.say("AWAY :lunch")
        found = alice.say("@label=3 PRIVMSG bob :there?")
        self.assertEqual(found[0], "@label=3 :chatd BATCH +b2 labeled-response")
        self.assertEqual([line.split(" ", 1)[1] for line in found[1:-1]], [
            ":chatd 301 alice bob :lunch", ":alice!alice@chatd PRIVMSG bob :there?"
        ])  # fmt: skip
        self.assertEqual(alice.say("PRIVMSG chatd :whoami")[0], ":alice!alice@chatd PRIVMSG chatd :whoami")
        self.assertFalse(alice.client.protocol.session.picky)

    def test_a_label_is_not_overtaken(self) -> None:
        """The echo carries the label also where the log was looked at before the answer came, for pipelined lines, and
        for who was too slow to be told at once.
        """
        alice, bob = self.both("batch", "labeled-response", "echo-message")
        self.server.writer.hold()
        alice.send("@label=1 PRIVMSG #ops :one", "PRIVMSG #ops :two", "@label=3 PRIVMSG #ops :three")
        self.server.feed.look()
        self.server.advance(0)
        self.server.writer.release()
        said = [f":alice!alice@chatd PRIVMSG #ops :{text}" for text in ("one", "two", "three")]
        self.assertEqual(alice.lines(), [f"@label=1 {said[0]}", said[1], f"@label=3 {said[2]}"])
        self.assertEqual(bob.lines(), said)
        self.server.writer.hold()
        alice.send("@label=4 PRIVMSG #ops :one")
        alice.client.protocol.session.full()
        self.server.writer.release()
        alice.client.protocol.session.drained()
        self.assertEqual(alice.lines(), [f"@label=4 {said[0]}"])
        self.assertFalse(alice.client.protocol.session.picky)

    def test_extended_join(self) -> None:
        """The account stands in a JOIN."""
        _alice, bob = self.both("extended-join")
        self.client("carol").say("JOIN #ops")
        self.assertEqual(bob.lines(), [":carol!carol@chatd JOIN #ops carol :carol"])

    def test_history(self) -> None:
        """CHATHISTORY by msgid and time, in batches; TARGETS; what is wrong is FAIL."""
        caps = ("batch", "server-time", "message-tags", "draft/chathistory", "standard-replies")
        alice, bob = self.both(*caps)
        for number in range(6):
            self.server.advance(1)
            alice.say(f"PRIVMSG #ops :m{number}")
        lines = [line for line in bob.lines() if "PRIVMSG" in line]
        tags = [dict(tag.split("=") for tag in line[1:].split(" ")[0].split(";")) for line in lines]

        def texts(query: str) -> list[str]:
            found = bob.say(f"CHATHISTORY {query}")
            self.assertIn("chathistory #ops", found[0])
            self.assertTrue(found[-1].startswith(":chatd BATCH -"), found)
            return [line[-2:] for line in found[1:-1]]

        ids = [tag["msgid"] for tag in tags]
        times = [tag["time"] for tag in tags]
        self.assertEqual(texts("LATEST #ops * 2"), ["m4", "m5"])
        self.assertEqual(texts(f"LATEST #ops msgid={ids[3]} 10"), ["m4", "m5"])
        self.assertEqual(texts(f"BEFORE #ops msgid={ids[3]} 2"), ["m1", "m2"])
        self.assertEqual(texts(f"BEFORE #ops timestamp={times[3]} 2"), ["m1", "m2"])
        self.assertEqual(texts(f"AFTER #ops timestamp={times[3]} 10"), ["m4", "m5"])
        self.assertEqual(texts(f"AROUND #ops msgid={ids[3]} 3"), ["m2", "m3", "m4"])
        self.assertEqual(texts(f"BETWEEN #ops msgid={ids[1]} msgid={ids[4]} 10"), ["m2", "m3"])
        self.assertEqual(texts(f"BETWEEN #ops msgid={ids[4]} msgid={ids[1]} 1"), ["m3"])
        alice.say("PRIVMSG bob :direct")
        found = bob.say("CHATHISTORY LATEST alice * 5")
        self.assertTrue(found[-2].endswith(":alice!alice@chatd PRIVMSG bob :direct"))
        found = bob.say("CHATHISTORY TARGETS timestamp=2020-01-01T00:00:00.000Z timestamp=2030-01-01T00:00:00.000Z 10")
        self.assertEqual([line.split()[4] for line in found[1:-1]], ["#ops", "alice"])
        self.assertIn("FAIL CHATHISTORY INVALID_TARGET LATEST #none :", bob.say("CHATHISTORY LATEST #none * 5")[0])
        self.assertIn("FAIL CHATHISTORY INVALID_PARAMS", bob.say("CHATHISTORY LATEST #ops x 5")[0])
        self.assertIn("FAIL CHATHISTORY NEED_MORE_PARAMS", bob.say("CHATHISTORY LATEST #ops")[0])

    def test_multiline(self) -> None:
        """A text of several lines is one message: a batch for those who know it, several lines for the others."""
        alice, bob = self.both("batch", "draft/multiline", "message-tags", "labeled-response", "echo-message")
        carol, json = self.client("carol"), self.server.resume("bob")
        carol.say("JOIN #ops")
        alice.lines()
        bob.lines()
        json.events()
        found = alice.say(
            "@label=7 BATCH +1 draft/multiline #ops",
            "@batch=1 PRIVMSG #ops :one",
            "@batch=1;draft/multiline-concat PRIVMSG #ops :, and",
            "@batch=1 PRIVMSG #ops :two",
            "BATCH -1",
        )
        (event,) = json.events()
        self.assertEqual(event["text"], "one, and\ntwo")
        seq = event["seq"]
        expected = [
            f"msgid={seq} :alice!alice@chatd BATCH +m{seq} draft/multiline #ops",
            f"@batch=m{seq} :alice!alice@chatd PRIVMSG #ops :one, and",
            f"@batch=m{seq} :alice!alice@chatd PRIVMSG #ops :two",
            f":chatd BATCH -m{seq}",
        ]
        self.assertEqual(found, [f"@label=7;{expected[0]}", *expected[1:]])
        self.assertEqual(bob.lines(), [f"@{expected[0]}", *expected[1:]])
        self.assertEqual(
            carol.lines()[-2:], [":alice!alice@chatd PRIVMSG #ops :one, and", ":alice!alice@chatd PRIVMSG #ops :two"]
        )
        self.assertIn("NOTICE alice", alice.say("BATCH -1")[0])
        self.assertIn("one target", alice.say("BATCH +2 draft/multiline #ops", "@batch=2 PRIVMSG bob :x")[0])
        self.assertEqual(alice.say("@batch=2 PRIVMSG #ops :y", "BATCH -2"), [])
        carol.lines()
        alice.say("CAP REQ standard-replies")
        for code, lines in (
            ("MULTILINE_INVALID_TARGET #ops bob", ["@batch=3 PRIVMSG bob :x", "@batch=3 PRIVMSG #ops :y"]),
            ("MULTILINE_MAX_LINES 100", ["@batch=3 PRIVMSG #ops :x"] * 102),
            ("MULTILINE_MAX_BYTES 4000", [f"@batch=3 PRIVMSG #ops :{'x' * 450}"] * 10),
        ):
            found = alice.say("BATCH +3 draft/multiline #ops", *lines, "BATCH -3")
            self.assertEqual(len(found), 1)
            self.assertTrue(found[0].startswith(f":chatd FAIL BATCH {code} :"), found)
        for line in ("@batch=9 PRIVMSG #ops :x", "@batch=3;draft/multiline-concat PRIVMSG #ops :"):
            found = alice.say("BATCH +3 draft/multiline #ops", "@batch=3 PRIVMSG #ops :x", line, "BATCH -3")
            self.assertEqual([each.split(" :")[0] for each in found], [":chatd FAIL BATCH MULTILINE_INVALID"], line)
        blank = alice.say("BATCH +4 draft/multiline #ops", "@batch=4 PRIVMSG #ops :", "BATCH -4")
        self.assertTrue(blank[0].startswith(":chatd FAIL BATCH MULTILINE_INVALID :"))
        self.assertEqual(carol.lines(), [])

    def test_multiline_from_elsewhere(self) -> None:
        """A long text of another dialect comes whole to who knows batches, and to others without its blank lines."""
        alice, bob = self.both("batch", "draft/multiline")
        carol, json = self.client("carol"), self.server.resume("bob")
        carol.say("JOIN #ops")
        alice.lines()
        text = "two words " * 100 + "\n\nend"
        json.call(do="say", room="#ops", text=text)
        lines = alice.lines()
        said = ""
        for line in lines[1:-1]:
            said += ("" if "multiline-concat" in line else "\n") + line.split(" :", 1)[1].split(" :", 1)[1]
        self.assertEqual(said, f"\n{text}")
        self.assertEqual([line.split(" :")[1] for line in carol.lines()][-1], "end")
        self.assertEqual(len([line for line in bob.lines() if "PRIVMSG" in line]), len(lines) - 2)

    def test_events_of_the_past(self) -> None:
        """With event-playback the past holds what happened, too; nothing of it is done again."""
        alice, _bob = self.both()
        alice.say("TOPIC #ops :new", "PRIVMSG chatd :rename #ops #dev", "PRIVMSG #dev :hi", "KICK #dev bob")
        alice.say("CAP REQ :batch draft/chathistory draft/event-playback")
        found = alice.say("CHATHISTORY LATEST #dev * 50")
        self.assertEqual(
            [line.split(" ", 1)[1] for line in found[1:-1]],
            [
                ":alice!alice@chatd JOIN #dev",
                ":bob!bob@chatd JOIN #dev",
                ":alice!alice@chatd TOPIC #dev :new",
                ":chatd!chatd@chatd NOTICE #dev :alice renamed #ops to #dev.",
                ":alice!alice@chatd PRIVMSG #dev :hi",
                ":alice!alice@chatd KICK #dev bob :alice",
            ],
        )

    def test_who_asks_for_history_is_not_sent_it(self) -> None:
        """A client with chathistory fetches what it missed by itself."""
        alice, bob = self.both()
        bob.say("QUIT")
        alice.say("PRIVMSG #ops :one")
        self.assertNotIn(" PRIVMSG #", "".join(Irc(self.server).enter("bob", "draft/chathistory", "batch")))

    def test_rendered_once(self) -> None:
        """A line is rendered once for all who have negotiated the same of what it looks like, however many there are,
        and what else they have negotiated makes no difference.
        """
        rendered: list[int] = []

        class Counting(Dialect):
            """Counts what it renders."""

            def events(self, events: Any, *args: Any) -> list[bytes]:
                rendered.append(len(events))
                return super().events(events, *args)

        self.server.instance.dialects = lambda first, settings: Counting(settings)
        alice = self.client("alice")
        alice.say("JOIN #ops", "MODE #ops -A")
        self.client("bob").say("JOIN #ops")
        people = [
            self.client(name, *caps)
            for name in ("alice", "bob")
            for caps in (
                (),
                ("server-time", "message-tags"),
                ("server-time", "message-tags", "echo-message", "multi-prefix"),
            )
            for _ in range(3)
        ]
        rendered.clear()
        alice.say("PRIVMSG #ops :hi")
        self.assertEqual(rendered, [1, 1])
        for person in people:
            self.assertEqual(len([line for line in person.lines() if line.endswith("PRIVMSG #ops :hi")]), 1)
