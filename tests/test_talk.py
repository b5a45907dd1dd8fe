"""Talking, the past, and what the server says of itself: every operation and every refusal, without a server."""

from __future__ import annotations

import re
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from chatd.command import TABLE
from chatd.model import Kind, Reply, Role
from tests.ops import AT, Person, World

MID = "0190f7a2-0000-7000-8000-00000000000"


class Base(SynchronousTestCase):
    """alice owns #ops, bob is in it, carol is not."""

    def setUp(self) -> None:
        self.world = World(Path(self.mktemp()))
        self.addCleanup(self.world.close)
        self.alice, self.bob, self.carol = self.world.people("alice", "bob", "carol")
        self.alice.type("/create #ops bob")
        self.bob.type("/join #ops")
        self.ops = self.alice.room
        self.quiet()

    def quiet(self) -> None:
        """Everybody has read what there was."""
        for person in (self.alice, self.bob, self.carol):
            person.hears()


class SayTests(Base):
    """A line that is no command."""

    def test_members_hear_it(self) -> None:
        """What is said in a group its members hear, with the group's name where it is not the current one; the answer
        shows nothing."""
        self.assertEqual(self.alice.type("hi"), [])
        self.bob.room = 0
        self.assertEqual(self.bob.hears(), ["14:02 #ops <alice> hi"])
        self.assertEqual(self.alice.hears(), ["14:02 <alice> hi"])
        self.assertEqual(self.carol.hears(), [])

    def test_program_is_told_the_seq(self) -> None:
        """A program's answer is the event's seq, and nothing else."""
        fields = self.alice.ok("say", "#ops", text="hi")
        event = self.world.log()[-1]
        self.assertEqual(fields, {"seq": event.seq})
        self.assertEqual((event.kind, event.text, event.by, event.room), ("say", "hi", self.alice.id, self.ops))

    def test_text_is_kept_as_typed(self) -> None:
        """Spaces, controls and slashes in a text are stored as they came; only what is shown is cleaned."""
        text = "  /not a\tcommand \x1b[31m "
        self.alice.ok("say", "#ops", text=text)
        self.assertEqual(self.world.log()[-1].text, text)
        self.assertEqual(self.bob.hears(), ["14:02 <alice>   /not a�command �[31m "])

    def test_by_name_id_and_person(self) -> None:
        """A room is named #ops, by its id, or @bob, in any case."""
        self.alice.ok("msg", user="bob", text="x")
        direct = self.world.log()[-1].room
        for room, number in (("#ops", self.ops), ("#OPS", self.ops), (self.ops, self.ops), ("@bob", direct)):
            self.alice.ok("say", room, text="y")
            self.assertEqual(self.world.log()[-1].room, number)

    def test_no_room(self) -> None:
        """Without a current room nothing is sent, and it says how to get one."""
        self.assertEqual(
            self.carol.type("hi"), ["No room is open. Nothing was sent.", "/join #group or /dm person opens one."]
        )

    def test_not_logged_in(self) -> None:
        """Nobody talks before login."""
        nobody = Person.__new__(Person)
        nobody.world, nobody.id, nobody.name, nobody.room, nobody.operator = self.world, 0, "", 0, False
        self.assertEqual(nobody.type("/say #ops hi"), ["Log in first: /login or /register."])
        for entry in TABLE.values():
            if entry.needs >= 1 and entry.prepare is None:
                self.assertEqual(nobody.code(entry.verb, self.ops if entry.about_room else None), "NOT_LOGGED_IN")

    def test_not_a_member(self) -> None:
        """Who is not in a group cannot talk there, and is told how to get in."""
        self.assertEqual(self.carol.type("/say #ops hi"), ["You are not in #ops. /join #ops"])
        self.assertEqual(self.carol.hears(), [])
        self.assertEqual(self.alice.hears(), [])

    def test_no_such_group(self) -> None:
        """A mistyped group is not made by talking to it; the nearest is named."""
        self.assertEqual(self.alice.type("/say #osp hi"), ["No such group: #osp. Did you mean #ops?"])

    def test_rooms_of_others(self) -> None:
        """Others' conversations, inboxes, and ids that never were, are no groups to anybody."""
        self.alice.ok("msg", user="bob", text="x")
        direct = self.world.log()[-1].room
        inbox = self.world.read(lambda tx: tx.inbox(self.carol.id))
        for room in (direct, inbox, 9_999, -1, 1 << 63):
            self.assertEqual(self.carol.code("say", room, text="hi"), "NO_GROUP", room)
        self.assertEqual(self.carol.code("say", "@bob", text="hi"), "NO_GROUP")
        self.assertEqual(self.carol.type("/members @bob"), ["Usage: /members"])

    def test_too_long(self) -> None:
        """The longest text is taken, one character more is refused with both numbers."""
        self.assertEqual(self.alice.type("é" * 4_000), [])
        self.assertEqual(self.alice.type("x" * 9_120), ["9,120 of 4,000 characters."])
        self.assertEqual(self.alice.code("say", "#ops", text="x" * 4_001), "TOO_LONG")

    def test_nothing_said(self) -> None:
        """Without a text a person is asked for one."""
        self.assertEqual(self.alice.type("/say"), ["Text: "])
        self.assertEqual(self.alice.type("/say #ops"), ["Text: "])

    def test_a_number_is_a_text(self) -> None:
        """A program may say a number."""
        self.alice.ok("say", "#ops", text=42)
        self.assertEqual(self.bob.hears(), ["14:02 <alice> 42"])

    def test_open_rooms_take_no_sealed_body(self) -> None:
        """A sealed body belongs into a sealed room."""
        self.assertEqual(self.alice.code("say", "#ops", sealed="AAAA"), "BAD_USAGE")
        self.assertEqual(self.alice.code("say", "#ops", text="x", sealed="AAAA"), "BAD_USAGE")

    def test_kicked_means_silent(self) -> None:
        """Who was removed says nothing more, in the same moment."""
        self.alice.type("/kick bob")
        self.assertEqual(self.bob.code("say", "#ops", text="x"), "NOT_MEMBER")
        self.assertEqual(self.bob.code("say", self.ops, text="x"), "NOT_MEMBER")


class TwiceTests(Base):
    """A call that is sent twice under one mid is done once."""

    def test_said_once(self) -> None:
        """The second answer has the first one's seq, and nothing is heard twice."""
        first = self.alice.ok("say", "#ops", MID + "1", text="hi")
        again = self.alice.ok("say", "#ops", MID + "1", text="hi")
        self.assertEqual(again, first)
        self.assertEqual(self.bob.hears(), ["14:02 <alice> hi"])
        self.assertEqual(self.world.log()[-1].mid, MID + "1")

    def test_other_content(self) -> None:
        """The same mid with another text, room or command is refused."""
        self.alice.ok("say", "#ops", MID + "1", text="hi")
        self.assertEqual(self.alice.code("say", "#ops", MID + "1", text="ho"), "MID_REUSED")
        self.assertEqual(self.alice.code("say", self.ops, MID + "1", text="hi"), "MID_REUSED")
        self.assertEqual(self.alice.code("topic", "#ops", MID + "1", text="hi"), "MID_REUSED")

    def test_per_sender(self) -> None:
        """Another sender's mid is another mid."""
        self.alice.ok("say", "#ops", MID + "1", text="hi")
        self.bob.ok("say", "#ops", MID + "1", text="ho")

    def test_a_refused_call_uses_no_mid(self) -> None:
        """What was refused was not done: the mid is free."""
        self.assertEqual(self.carol.code("say", "#ops", MID + "1", text="hi"), "NOT_MEMBER")
        self.alice.type("/add carol")
        self.carol.ok("say", "#ops", MID + "1", text="hi")

    def test_done_and_cannot_be_done_again(self) -> None:
        """Leaving, handing over and removing are answered again, though the role for them is gone."""
        for mid, who, verb, args in (
            (MID + "1", self.alice, "transfer", {"user": "bob"}),
            (MID + "2", self.bob, "kick", {"user": "alice"}),
            (MID + "3", self.bob, "leave", {}),
        ):
            first = who.ok(verb, "#ops", mid, **args)
            self.assertEqual(who.ok(verb, "#ops", mid, **args), {"seq": first["seq"]})

    def test_every_call_that_makes_an_event(self) -> None:
        """Each command that answers a seq answers the same one when it is sent again, and changes nothing more."""
        owner, carol = self.alice, self.carol
        steps = [
            (owner, "create", None, {"room": "#x", "people": ["bob"]}),
            (carol, "join", None, {"room": "#ops"}),
            (owner, "approve", "#ops", {"who": "carol"}),
            (owner, "promote", "#ops", {"user": "bob"}),
            (owner, "demote", "#ops", {"user": "bob"}),
            (owner, "remove", "#ops", {"user": "carol"}),
            (owner, "ban", "#ops", {"user": "carol"}),
            (owner, "unban", "#ops", {"user": "carol"}),
            (owner, "add", "#ops", {"user": "carol"}),
            (owner, "topic", "#ops", {"text": "t"}),
            (owner, "door", "#ops", {"door": "open"}),
            (owner, "msg", None, {"user": "carol", "text": "first"}),
            (owner, "msg", None, {"user": "carol", "text": "second"}),
            (owner, "rename", "#x", {"name": "#y"}),
            (carol, "join", None, {"room": "#new"}),
            (carol, "leave", "#new", {}),
        ]
        for number, (who, verb, room, args) in enumerate(steps, 100):
            mid = f"0190f7a2-0000-7000-8000-{number:012}"
            first = who.ok(verb, room, mid, **args)["seq"]
            newest = self.world.log()[-1].seq
            self.assertEqual(who.ok(verb, room, mid, **args), {"seq": first}, verb)
            self.assertEqual(self.world.log()[-1].seq, newest, verb)
            self.assertIn(first, [event.seq for event in self.world.log()])

    def test_first_direct_message(self) -> None:
        """The mid of a first message stands for the message, not for the conversation that it began."""
        seq = self.alice.ok("msg", None, MID + "3", user="carol", text="hi")["seq"]
        event = self.world.log()[-1]
        self.assertEqual((event.seq, event.kind, event.mid), (seq, "say", MID + "3"))

    def test_commands_that_change_nothing(self) -> None:
        """A mid on a command that only reads, or needs no database, is no matter."""
        self.alice.ok("menu", None, MID + "4")
        self.alice.ok("members", "#ops", MID + "4")
        self.alice.ok("ping", None, MID + "4", token="x")


class DirectTests(Base):
    """One to one."""

    def test_one_shot(self) -> None:
        """/msg reaches one person, and the current room stays (row 11)."""
        self.assertEqual(self.alice.type("/msg carol hi there"), [])
        self.assertEqual(self.alice.room, self.ops)
        self.assertEqual(self.carol.hears(), ["14:02 [alice] hi there"])
        self.assertEqual(self.alice.hears(), ["14:02 [me -> carol] hi there"])
        self.assertEqual(self.bob.hears(), [])

    def test_one_room_for_two(self) -> None:
        """Both sides write in the same conversation, whoever began it."""
        here = self.alice.ok("msg", user="carol", text="a")
        there = self.carol.ok("msg", user="alice", text="b")
        self.assertEqual(here["room_id"], there["room_id"])
        self.assertEqual((here["room"], there["room"]), ("@carol", "@alice"))
        self.assertEqual([e.kind for e in self.world.log() if e.room == here["room_id"]], ["direct", "say", "say"])

    def test_answer(self) -> None:
        """A program is told the message's seq and where it is."""
        fields = self.alice.ok("msg", user=self.carol.id, text="a")
        self.assertEqual(fields["seq"], self.world.log()[-1].seq)

    def test_dm_opens(self) -> None:
        """/dm makes the conversation current: what is typed goes there (row 11)."""
        self.assertEqual(self.alice.type("/dm carol"), ["Now in @carol."])
        self.assertEqual(self.alice.type("hello"), [])
        self.assertEqual(self.carol.hears(), ["14:02 [alice] hello"])

    def test_dm_of_a_talk_that_goes_on(self) -> None:
        """A conversation there is already is opened, not begun anew."""
        room = self.alice.ok("msg", user="carol", text="a")["room_id"]
        self.assertEqual(self.carol.type("/dm @Alice"), ["Now in @alice."])
        self.assertEqual(self.carol.room, room)

    def test_missing(self) -> None:
        """What is missing is asked for (row 12)."""
        self.assertEqual(self.alice.type("/dm"), ["To whom? "])
        self.assertEqual(self.alice.type("/msg"), ["To whom? "])
        self.assertEqual(self.alice.type("/msg carol"), ["Text: "])

    def test_no_such_person(self) -> None:
        """A mistyped name has the nearest beside it (row 11)."""
        self.assertEqual(self.alice.type("/msg bbo hi"), ["No such person: bbo. Did you mean bob?"])
        self.assertEqual(self.alice.type("/dm zzzzz"), ["No such person: zzzzz."])
        self.assertEqual(self.alice.type("/dm b\x1b[2Jb"), ["No such person: b�[2Jb."])
        self.assertEqual(self.alice.code("msg", user=9_999, text="hi"), "NO_USER")
        self.assertEqual(self.alice.code("msg", user=1 << 70, text="hi"), "NO_USER")

    def test_deleted_person(self) -> None:
        """Who has gone cannot be written to."""
        self.alice.ok("msg", user="carol", text="a")
        self.world.delete(self.carol)
        self.assertEqual(self.alice.code("msg", user="carol", text="b"), "NO_USER")
        self.assertEqual(self.alice.code("msg", user=self.carol.id, text="b"), "NO_USER")

    def test_oneself(self) -> None:
        """Nobody has a conversation with themselves."""
        self.assertEqual(self.alice.type("/msg alice hi"), ["That is you."])
        self.assertEqual(self.alice.type("/dm alice"), ["That is you."])

    def test_too_long(self) -> None:
        """A direct message has the same limit; refused, it has begun no conversation."""
        newest = self.world.log()[-1].seq
        self.assertEqual(self.alice.code("msg", user="carol", text="x" * 4_001), "TOO_LONG")
        self.assertEqual(self.world.log()[-1].seq, newest)

    def test_conversations_are_no_groups(self) -> None:
        """What is about groups says so in a conversation of two; what is about any room works."""
        self.alice.type("/dm carol")
        for line in ("/leave", "/kick carol", "/topic x", "/topic", "/door open", "/rename #y", "/requests", "/admins"):
            self.assertEqual(
                self.alice.type(line),
                [f"Only groups have that: {line.split()[0]}", "@carol is a conversation of two."],
            )
        self.assertEqual(self.alice.type("/members"), ["@carol 2: alice carol"])
        self.assertEqual(self.alice.type("/history"), ["No messages in @carol."])

    def test_fields(self) -> None:
        """A program that opens a conversation is told its id."""
        result = self.alice.call("dm", user="carol")
        assert isinstance(result, Reply) and result.turn is not None and result.turn.room is not None
        room = result.turn.room
        self.assertEqual((room.kind, room.name, room.role), (Kind.DIRECT, "@carol", Role.MEMBER))
        self.assertEqual(result.fields["room_id"], room.id)


class HistoryTests(Base):
    """The past, on demand (row 36)."""

    def setUp(self) -> None:
        super().setUp()
        for text in ("one", "two", "three"):
            self.alice.type(text)
            self.world.wait(60)
        self.quiet()

    def test_with_date_and_time(self) -> None:
        """Each line has date, time, sender and text, the oldest first."""
        self.assertEqual(
            self.bob.type("/history"),
            ["2026-11-01 14:02:07 alice: one", "2026-11-01 14:03:07 alice: two", "2026-11-01 14:04:07 alice: three"],
        )

    def test_count(self) -> None:
        """A number asks for so many of the newest."""
        self.assertEqual(self.bob.type("/history 1"), ["2026-11-01 14:04:07 alice: three"])
        self.assertEqual(len(self.bob.type("/history #ops 2")), 2)

    def test_since(self) -> None:
        """An age asks for what is younger."""
        self.assertEqual(self.bob.type("/history since 90s"), ["2026-11-01 14:04:07 alice: three"])
        self.assertEqual(len(self.bob.type("/history since 2m")), 2)
        for age in ("2h", "3d", "1w", "999999w"):
            self.assertEqual(len(self.bob.type(f"/history since {age}")), 3)

    def test_before(self) -> None:
        """An id asks for what stood before it."""
        seq = self.bob.ok("history", "#ops")["lines"][1]["seq"]
        self.assertEqual(self.bob.type(f"/history before {seq}"), ["2026-11-01 14:02:07 alice: one"])
        self.assertEqual(self.bob.type(f"/history 5 before {seq + 1}"), self.bob.type("/history")[:2])

    def test_on(self) -> None:
        """A date asks for that day, in the server's local time."""
        self.assertEqual(len(self.bob.type("/history on 2026-11-01")), 3)
        self.assertEqual(self.bob.type("/history on 2026-10-31"), ["No messages in #ops."])
        self.assertEqual(self.bob.type("/history on 2026-11-02"), ["No messages in #ops."])
        self.assertEqual(self.bob.type("/history 1 on 2026-11-01"), ["2026-11-01 14:04:07 alice: three"])
        self.assertEqual(len(self.bob.type("/history on 2026-11-01 since 90s")), 1)

    def test_midnight(self) -> None:
        """A day begins and ends at local midnight, the last and the first millisecond each on their side."""
        midnight = int(time.mktime((2026, 11, 2, 0, 0, 0, 0, 0, -1)) * 1000)
        for at, text in ((midnight - 1, "late"), (midnight, "early")):
            self.world.now = at
            self.alice.type(text)
        self.assertEqual(self.bob.type("/history on 2026-11-02"), ["2026-11-02 00:00:00 alice: early"])
        self.assertEqual(self.bob.type("/history 1 on 2026-11-01"), ["2026-11-01 23:59:59 alice: late"])

    def test_not_understood(self) -> None:
        """What is no number, age, id or date answers with the usage."""
        for line in (
            "/history x",
            "/history 0",
            "/history -3",
            "/history 9999999999999999999",
            "/history ２",
            "/history since x",
            "/history since 2y",
            "/history before x",
            "/history on yesterday",
            "/history on 2026-13-01",
            "/history on 9999-12-31",
            "/history on 0001-01-01",
            "/history 3 4",
        ):
            shown = self.bob.type(line)
            good = [["Usage: /history [count] [since AGE] [before ID] [on DATE]"], ["No messages in #ops."]]
            self.assertIn(shown, good if "0001" in line or "9999-" in line else good[:1], line)

    def test_most(self) -> None:
        """More than the most is the most; without a number it is a page."""
        self.world.limit(history_lines=2, history_lines_most=2)
        self.assertEqual(len(self.bob.type("/history 500")), 2)
        self.assertEqual(len(self.bob.type("/history")), 2)

    def test_only_what_one_could_hear(self) -> None:
        """Who came later, or was out meanwhile, does not read what was said before or between."""
        self.alice.type("/add carol")
        self.carol.room = self.ops
        self.assertEqual(self.carol.type("/history"), ["No messages in #ops."])
        self.alice.type("four")
        self.alice.type("/kick carol")
        self.alice.type("five")
        self.alice.type("/add carol")
        self.alice.type("six")
        self.assertEqual([line.rpartition(" ")[2] for line in self.carol.type("/history")], ["four", "six"])

    def test_program(self) -> None:
        """A program gets the whole events, times in ms, and whether there may be more."""
        fields = self.bob.ok("history", "#ops", count=2)
        self.assertEqual((fields["room"], fields["room_id"], fields["more"]), ("#ops", self.ops, True))
        line = fields["lines"][0]
        self.assertEqual(
            line,
            {
                "ev": "say",
                "seq": line["seq"],
                "at": AT + 60_000,
                "by": "alice",
                "by_id": self.alice.id,
                "text": "two",
                "sealed": None,
                "proof": None,
                "mid": None,
                "data": None,
            },
        )
        self.assertFalse(self.bob.ok("history", "#ops", count=4)["more"])

    def test_not_a_member(self) -> None:
        """The past is for members."""
        self.assertEqual(self.carol.type("/history #ops"), ["You are not in #ops. /join #ops"])
        self.assertEqual(self.carol.type("/search #ops one"), ["You are not in #ops. /join #ops"])

    def test_search(self) -> None:
        """The lines in which words occur, in any case, nothing of them being a pattern."""
        self.alice.type("100% sure_thing")
        self.assertEqual(self.bob.type("/search T"), self.bob.type("/history")[1:])
        self.assertEqual(len(self.bob.type("/search 0% SURE")), 1)
        for words in ("%", "_"):
            self.assertEqual(len(self.bob.type(f"/search {words}")), 1)
        self.assertEqual(self.bob.type("/search nothing like it"), ["Nothing found in #ops."])
        self.assertEqual(self.bob.type("/search"), ["Words: "])


class InfoTests(Base):
    """What the server says of itself and its commands."""

    def test_ping(self) -> None:
        """A ping is answered with its token and how far the log is, before login, too."""
        self.assertEqual(self.alice.type("/ping 7"), ["pong 7"])
        fields = self.alice.ok("ping", token="x")
        self.assertEqual(fields, {"token": "x", "seq": self.world.log()[-1].seq})
        self.assertFalse(TABLE["ping"].read)

    def test_whereami(self) -> None:
        """Which node this is, and of how many that live (row 43)."""
        self.assertEqual(self.alice.type("/whereami"), ["node 1 of 1"])
        self.world.write(lambda tx: [tx.beat(n, f"b{n}") for n in range(1, 6)])
        self.assertEqual(self.alice.type("/whereami"), ["node 1 of 5"])
        self.world.wait(60)
        self.assertEqual(self.alice.type("/whereami"), ["node 1 of 1"])

    def test_help(self) -> None:
        """/help has every command, /help NAME one, whatever of its names is typed."""
        page = self.alice.type("/help")
        self.assertIn("/help NAME says more about a command.", page)
        for name in ("kick", "/kick", "8", "/8", "KICK"):
            self.assertEqual(self.alice.type(f"/help {name}")[0], "/kick <user> [reason...]   (also /8)")
        self.assertEqual(self.alice.type("/help aprove"), ["Unknown command /aprove. Did you mean /approve? Not sent."])

    def test_menu(self) -> None:
        """/menu has T's numbers with words (row 55)."""
        self.assertEqual(
            [re.split(r"\s{1,}", line)[1] for line in self.alice.type("/menu")],
            ["requests", "approve", "quit", "members", "online", "transfer", "admins", "kick", "send"],
        )

    def test_stats(self) -> None:
        """Operators see how much there is; others are told who may."""
        self.assertEqual(self.alice.type("/stats"), ["Only operators of this server can do that: /stats"])
        self.alice.operator = True
        self.world.online(self.alice, self.bob)
        seq = self.world.log()[-1].seq
        self.assertEqual(self.alice.type("/stats"), [f"3 accounts, 2 online, 1 node, {seq} events"])
