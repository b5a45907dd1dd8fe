"""The plain dialect as people on telnet and nc meet it: texts letter by letter, the whole server in memory.

The rule: what a test expects is what FEATURES.md says, not what the daemon happens to print.
"""

from __future__ import annotations

import re
from dataclasses import replace

from chatd.command import ALIASES, TABLE
from chatd.model import Door
from tests.memory import PASSWORD
from tests.people import Base


class RoomTests(Base):
    """Groups and conversations as they are typed (rows 10-31)."""

    def test_people_and_groups(self) -> None:
        """A login shows who there is, who of them is online, and my groups with my role and what is new in them."""
        alice = self.person("alice", "/create #ops", "/create #friends")
        bob, carol = self.person("bob"), self.person("carol")
        for line in ("/add #friends bob", "/add #ops bob", "/promote #ops bob", "/add #friends carol"):
            alice.type(line)
        bob.hang_up()
        carol.type("/join #friends")
        for line in ("one", "two", "three"):
            carol.type(line)
        alice.hang_up()
        bob = self.server.back("bob")
        self.shows(
            bob,
            r"Welcome, bob\.\nPeople: alice carol\*   \(\* online\)\nGroups: #friends \(3 new\)  #ops \(admin\)\n"
            r"3 messages while you were away \(#friends 3\)\n"
            r"\d\d:\d\d <carol> one\n\d\d:\d\d <carol> two\n\d\d:\d\d <carol> three\nNow in #friends\.",
        )

    def test_talk(self) -> None:
        """What is typed is heard by the members: with the group's name where another one is current, `[alice]` from one
        person; the one who typed sees nothing of it.
        """
        alice, bob = self.person("alice", "/create #ops"), self.person("bob", "/create #dev")
        alice.type("/add bob")
        self.shows(bob, "alice added you to #ops.")
        self.talk(alice, ("hi all", []), ("//quit is said", []), ("@bob psst", []))
        self.shows(
            bob, r"\d\d:\d\d #ops <alice> hi all\n\d\d:\d\d #ops <alice> /quit is said\n\d\d:\d\d \[alice\] psst"
        )
        bob.type("/join #ops")
        alice.type("again")
        self.shows(bob, r"\d\d:\d\d <alice> again")

    def test_text_of_any_kind(self) -> None:
        """Text is kept as it was typed, controls are shown as what they are not, and nothing makes a second line."""
        alice, bob = self.person("alice", "/create #ops bob"), self.person("bob")
        alice.type("/add bob")
        bob.lines()
        for typed, shown in (
            ("  deep  ", "  deep  "),
            ("\x1b[31mred", "\ufffd[31mred"),
            ("a\rb", "a\ufffdb"),
            ("-1", "-1"),
            ("🚀 ü", "🚀 ü"),
        ):
            alice.type(typed)
            self.shows(bob, rf"\d\d:\d\d <alice> {re.escape(shown)}")

    def test_unknown_commands(self) -> None:
        """An unknown command is never sent as text, and the nearest one is named."""
        alice, bob = self.person("alice", "/create #ops bob"), self.person("bob")
        alice.type("/add bob")
        bob.lines()
        self.talk(
            alice,
            ("/aprove bob", ["Unknown command /aprove. Did you mean /approve? Not sent."]),
            ("/xyzzy", ["Unknown command /xyzzy. Not sent.", "/help lists the commands."]),
            ("@#@DANCE@#@", ["Unknown command @#@DANCE@#@. Not sent.", "/help lists the commands."]),
        )
        self.assertEqual(bob.lines(), [])

    def test_commands_for_programs(self) -> None:
        """Who types one is told that there is none, and the nearest one that people use; `/who` is `/online`."""
        alice = self.person("alice")
        for verb, entry in TABLE.items():
            if not entry.topic and verb not in ("who", "cert", "oper"):
                self.assertRegex(alice.type(f"/{verb}")[0], rf"^Unknown command /{verb}\. .*Not sent\.$")
        self.talk(
            alice,
            ("/quota", ["Unknown command /quota. Did you mean /quit? Not sent."]),
            ("/monitor bob", ["Unknown command /monitor. Not sent.", "/help lists the commands."]),
            ("/create #ops", ["#ops created. You are admin.", "Now in #ops (admin)."]),
            ("/who", ["#ops 1 of 1 online: alice"]),
            ("/WHO #ops", ["#ops 1 of 1 online: alice"]),
        )

    def test_ask_and_approve(self) -> None:
        """A join of a group with an admin is a request; its admins hear it at once, or at their next login, and both
        sides hear the answer.
        """
        alice, bob = self.person("alice", "/create #ops"), self.person("bob")
        self.talk(bob, ("/join #ops", ["Asked the admins of #ops (alice). You will be told."]))
        self.shows(alice, "bob asks to join #ops: /approve bob  /deny bob")
        alice.type("/create #dev")
        carol = self.person("carol", "/join #ops")
        self.shows(alice, "carol asks to join #ops: /approve #ops carol  /deny #ops carol")
        alice.hang_up()
        alice = self.server.back("alice")
        lines = alice.lines()
        self.assertIn("bob asks to join #ops: /approve #ops bob  /deny #ops bob", lines)
        self.assertEqual(lines.count("carol asks to join #ops: /approve #ops carol  /deny #ops carol"), 1)
        alice.type("/join #ops")
        self.assertRegex(alice.type("/1")[0], r"^1 bob \d\d:\d\d  2 carol \d\d:\d\d$")
        self.talk(alice, ("/approve bob", ["bob joined #ops, approved by alice."]))
        self.assertEqual(bob.lines(), ["bob joined #ops, approved by alice.", "Now in #ops."])
        self.talk(alice, ("/deny carol not now", ["carol may not join #ops, and will be told."]))
        self.assertEqual(carol.lines(), ["alice denied your request to join #ops: not now"])
        self.talk(alice, ("/requests", ["No pending join requests in #ops."]))

    def test_approve_without_a_name(self) -> None:
        """One request: that one. Several: the list, then `Whom? `, which takes a number, a name, or all."""
        alice = self.person("alice", "/create #ops")
        for name in ("bob", "carol", "dave", "erin"):
            self.person(name, "/join #ops")
        alice.lines()
        lead = alice.type("/approve")
        self.assertRegex(lead[0], r"^1 bob \d\d:\d\d  2 carol \d\d:\d\d  3 dave \d\d:\d\d  4 erin \d\d:\d\d$")
        self.assertEqual(lead[1:], ["Whom? "])
        self.talk(alice, ("2", ["carol joined #ops, approved by alice."]))
        alice.type("/2")
        self.talk(alice, ("all", [f"{name} joined #ops, approved by alice." for name in ("bob", "dave", "erin")]))
        self.person("frank", "/join #ops")
        alice.lines()
        self.talk(alice, ("/2", ["frank joined #ops, approved by alice."]))

    def test_create_with_people(self) -> None:
        """A group is created with those who exist in it; the others are named."""
        bob = self.person("bob")
        self.person("carol")
        alice = self.person("alice")
        self.talk(
            alice,
            (
                "/create #friends bob carol dave",
                [
                    "#friends created. You are admin. Added bob, carol. No such person: dave.",
                    "Now in #friends (admin).",
                    "alice added bob to #friends.",
                    "alice added carol to #friends.",
                ],
            ),
        )
        self.assertEqual(
            bob.lines(), ["alice added you to #friends.", "Now in #friends.", "alice added carol to #friends."]
        )

    def test_commas_between_people(self) -> None:
        """Commas stand between people as spaces do, on the line and in an answer."""
        alice, _, _ = self.person("alice"), self.person("bob"), self.person("carol")
        added = ["alice added bob to #ops.", "alice added carol to #ops."]
        self.talk(
            alice,
            (
                "/create #ops bob,carol",
                ["#ops created. You are admin. Added bob, carol.", "Now in #ops (admin).", *added],
            ),
            ("/create", ["Group: "]),
            ("#dev", ["Whom to add? (-1 ends) "]),
            ("bob, carol", ["Whom to add? (-1 ends) "]),
        )
        self.assertEqual(alice.type("-1")[0], "#dev created. You are admin. Added bob, carol.")

    def test_names_that_are_none(self) -> None:
        """What was typed is said again as far as a name can go."""
        alice, long = self.person("alice"), "x" * 3_000
        self.talk(
            alice,
            (f"@{long} hi", [f"No such person: {'x' * 32}…."]),
            (
                f"/create #ops {long}",
                [f"#ops created. You are admin. No such person: {'x' * 32}….", "Now in #ops (admin)."],
            ),
        )

    def test_added_keeps_the_current_room(self) -> None:
        """/add and approval make a group current only for who has none; a join of one's own group always does."""
        bob = self.person("bob", "/create #dev")
        alice = self.person("alice", "/create #ops")
        alice.type("/add bob")
        self.assertEqual(bob.lines(), ["alice added you to #ops."])
        self.talk(bob, ("/join #ops", ["Now in #ops."]), ("/join #dev", ["Now in #dev (admin)."]))

    def test_open_door(self) -> None:
        """A group with an open door is entered at once, and everybody in it hears so."""
        alice, bob = self.person("alice", "/create #ops"), self.person("bob")
        self.talk(alice, ("/door open", ["alice set the door of #ops to open (anybody may join)."]))
        self.talk(bob, ("/join #ops", ["Now in #ops.", "bob joined #ops."]))
        self.assertEqual(alice.lines()[-1], "bob joined #ops.")

    def test_autocreate_off(self) -> None:
        """Where groups are not made by joining, the nearest one is named."""
        self.server.factory.reload(replace(self.settings, autocreate=False))
        alice = self.person("alice", "/create #ops")
        self.talk(alice, ("/join #opps", ["No such group: #opps. Did you mean #ops?"]))

    def test_members_online_admins(self) -> None:
        """/4, /5 and /7 list who is in, who is online, and who may do what."""
        alice = self.person("alice", "/create #ops")
        for name in ("bob", "carol", "dave"):
            self.person(name)
            alice.type(f"/add {name}")
        alice.type("/promote bob")
        self.server.back("dave").hang_up()
        for client in [held for held in self.server.factory.connections if held.session.name in ("bob", "dave")]:
            client.transport.loseConnection()
        self.server.advance(2)
        alice.lines()
        members = ["#ops 4: alice (owner) bob (admin) carol dave"]
        self.talk(alice, ("/members", members), ("/4", members))
        online = ["#ops 2 of 4 online: alice, carol"]
        self.talk(alice, ("/online", online), ("/5", online))
        admins = ["#ops owner alice; admins bob"]
        self.talk(alice, ("/admins", admins), ("/7", admins))

    def test_transfer(self) -> None:
        """A transfer asks back; on yes everybody hears of it, and both are told what they are now."""
        alice, bob = self.person("alice", "/create #ops"), self.person("bob")
        alice.type("/add bob")
        bob.lines()
        question = ["Make bob owner of #ops and step down? [y/N] "]
        for no in ("n", "", "no", "what?"):
            self.talk(alice, ("/transfer bob", question), (no, ["Not done."]))
        self.assertEqual(bob.lines(), [])
        self.talk(alice, ("/6 bob", question), ("Y", ["bob now owns #ops.", "Now in #ops."]))
        self.assertEqual(bob.lines(), ["bob now owns #ops.", "Now in #ops (admin)."])
        self.talk(alice, ("/kick bob", ["Only admin can do that: /kick", "Admins of #ops: bob."]))

    def test_kick(self) -> None:
        """A kick is heard by all, by the kicked in its own words, and nothing after it."""
        alice, bob, carol = self.person("alice", "/create #ops"), self.person("bob"), self.person("carol")
        alice.type("/add bob")
        alice.type("/add carol")
        bob.lines(), carol.lines()
        self.talk(alice, ("/kick bob spam & eggs", ["alice removed bob from #ops: spam & eggs"]), ("good", []))
        self.assertEqual(bob.lines(), ["You were removed from #ops by alice: spam & eggs"])
        self.shows(carol, r"alice removed bob from #ops: spam & eggs\n\d\d:\d\d <alice> good")
        self.talk(bob, ("hello?", ["No room is open. Nothing was sent.", "/join #group or /dm person opens one."]))
        self.assertEqual(carol.lines(), [])
        alice.type("/add bob")
        alice.type("/8 bob")
        self.assertEqual(bob.lines()[-1], "You were removed from #ops by alice.")

    def test_ban(self) -> None:
        """Who is banned is out, and stays out until it is lifted."""
        alice, bob = self.person("alice", "/create #ops"), self.person("bob")
        alice.type("/add bob")
        bob.lines()
        self.talk(alice, ("/ban bob spam", ["alice banned bob from #ops: spam"]), ("/bans", ["bob by alice: spam"]))
        self.assertEqual(bob.lines(), ["You were banned from #ops by alice: spam"])
        self.talk(bob, ("/join #ops", ["You are banned from #ops.", "Admins of #ops: alice."]))
        self.talk(
            alice,
            ("/unban bob", ["alice lifted the ban of bob from #ops."]),
            ("/bans", ["Nobody is banned from #ops."]),
        )
        self.talk(bob, ("/join #ops", ["Asked the admins of #ops (alice). You will be told."]))

    def test_promote_and_demote(self) -> None:
        """A new role is heard by all, and `Now in` says it to whom it is given, where the group is current."""
        alice, bob = self.person("alice", "/create #ops"), self.person("bob")
        alice.type("/add bob")
        bob.lines()
        self.talk(alice, ("/promote bob", ["alice made bob an admin of #ops."]))
        self.assertEqual(bob.lines(), ["alice made you an admin of #ops.", "Now in #ops (admin)."])
        self.talk(alice, ("/demote bob", ["bob is no longer an admin of #ops (alice)."]))
        self.assertEqual(bob.lines(), ["You are no longer an admin of #ops (alice).", "Now in #ops."])

    def test_leaving(self) -> None:
        """An owner cannot leave others behind; the last one out closes the group."""
        alice, bob = self.person("alice", "/create #ops"), self.person("bob")
        alice.type("/add bob")
        bob.lines()
        self.talk(alice, ("/leave", ["Give #ops to somebody first: /transfer"]))
        self.talk(bob, ("/leave", ["You left #ops."]))
        self.assertEqual(alice.lines(), ["bob left #ops."])
        self.talk(alice, ("/leave", ["You left #ops. Nobody is in it any more: closed."]))
        self.talk(bob, ("/join #ops", ["#ops did not exist: created. You are admin.", "Now in #ops (admin)."]))

    def test_the_owners_account_goes(self) -> None:
        """When the owner's account is deleted the longest-serving admin inherits, and everybody hears of both."""
        alice, bob, carol = self.person("alice", "/create #ops"), self.person("bob"), self.person("carol")
        for line in ("/add carol", "/add bob", "/promote bob"):
            alice.type(line)
        bob.lines(), carol.lines()
        self.talk(
            alice,
            ("/delete-account", ["Password, to delete alice for ever: "]),
            (PASSWORD, ["", "Your account is deleted. Bye."]),
        )
        self.assertTrue(alice.closed)
        self.assertEqual(carol.lines(), ["alice left #ops.", "bob now owns #ops."])
        self.assertEqual(bob.lines(), ["alice left #ops.", "bob now owns #ops.", "Now in #ops (admin)."])

    def test_the_longest_serving_inherits(self) -> None:
        """Of several admins the one who has been it longest inherits; without any, the longest-serving member."""
        alice, bob, carol = self.person("alice"), self.person("bob"), self.person("carol")
        for line in ("/create #a carol bob", "/promote carol", "/promote bob", "/create #m", "/add carol", "/add bob"):
            alice.type(line)
        bob.lines(), carol.lines()
        alice.type(f"/delete-account {PASSWORD}")
        self.assertEqual([line for line in bob.lines() if "owns" in line], ["carol now owns #a.", "carol now owns #m."])

    def test_direct(self) -> None:
        """/dm opens a conversation, the peer may be offline, and /close leaves the view."""
        alice, bob = self.person("alice"), self.person("bob")
        bob.hang_up()
        self.talk(
            alice,
            ("/dm bob", ["Now in @bob."]),
            ("hi", []),
            ("/close", ["Left the view of @bob; you are still in it."]),
        )
        self.talk(alice, ("/dm bbo", ["No such person: bbo. Did you mean bob?"]))
        bob = self.server.back("bob")
        self.shows(
            bob,
            r"Welcome, bob\.\nPeople: alice\*   \(\* online\)\nGroups: \(none\)\n"
            r"1 message while you were away \(alice 1\)\n\d\d:\d\d \[alice\] hi",
        )
        self.talk(bob, ("@alice hello", []))
        self.shows(alice, r"\d\d:\d\d \[bob\] hello")

    def test_history(self) -> None:
        """/history shows date, time, sender and text, so many lines as asked for, oldest first."""
        alice = self.person("alice", "/create #ops", "one", "two", "three")
        shown = alice.type("/history 2")
        self.assertEqual(len(shown), 2)
        for line, text in zip(shown, ("two", "three"), strict=True):
            self.assertRegex(line, rf"^\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d alice: {text}$")
        self.assertEqual(len(alice.type("/history")), 3)
        self.assertRegex(alice.type("/search thr")[0], "alice: three$")

    def test_whereami(self) -> None:
        """Which node of how many."""
        self.talk(self.person("alice"), ("/whereami", ["node 1 of 1"]))

    def test_help_fits_a_screen(self) -> None:
        """/help is at most 23 lines of 80 characters, and one command's help has usage, example and who may."""
        alice = self.person("alice")
        page = alice.type("/help")
        self.assertLessEqual(len(page), 23)
        self.assertLessEqual(max(map(len, page)), 80)
        kick = alice.type("/help kick")
        self.assertEqual(kick[0], "/kick <user> [reason...]   (also /8)")
        self.assertIn("Example: /kick bob spam", kick)
        self.assertEqual(kick[-1], "For admins of the group.")
        self.assertEqual(alice.type("/help /8"), kick)
        self.assertEqual([line.split()[0] for line in alice.type("/menu")], [f"/{number}" for number in range(1, 10)])


class AliasTests(Base):
    """The numbers and names of the older systems (rows 13-26)."""

    def test_numbers(self) -> None:
        """/1 to /9 are the numbers that people have learnt."""
        numbers = {alias: verb for alias, verb in ALIASES.items() if alias.isdecimal()}
        self.assertEqual(
            numbers,
            {
                "1": "requests",
                "2": "approve",
                "3": "quit",
                "4": "members",
                "5": "online",
                "6": "transfer",
                "7": "admins",
                "8": "kick",
                "9": "send",
            },
        )
        alice = self.person("alice", "/create #ops")
        self.talk(
            alice,
            ("/1", ["No pending join requests in #ops."]),
            ("/2", ["No pending join requests in #ops."]),
            ("/4", ["#ops 1: alice (owner)"]),
            ("/5", ["#ops 1 of 1 online: alice"]),
            ("/6", ["Whom? "]),
            ("/7", ["#ops owner alice"]),
            ("/8", ["Whom? "]),
            ("/9", ["Path: "]),
            ("/3", ["Bye."]),
        )
        self.assertTrue(alice.closed)

    def test_marked_names(self) -> None:
        """The @#@ names do what they did, and ask for what is missing."""
        alice, bob = self.person("alice"), self.person("bob")
        self.talk(
            alice,
            ("@#@CREATE A GROUP@#@", ["Group: "]),
            ("friends", ["Whom to add? (-1 ends) "]),
            ("-1", ["#friends created. You are admin.", "Now in #friends (admin)."]),
            ("@#@Add a participant@#@", ["Whom? "]),
            ("bob", ["alice added bob to #friends."]),
            ("@#@message@#@ hello bob", []),
            ("@#@Remove a participant@#@ bob", ["alice removed bob from #friends."]),
            ("@#@EXIT THIS CHAT-ROOM@#@", ["Left the view of #friends; you are still in it."]),
            ("@#@ENTER A GROUP CHAT@#@", ["Group: "]),
            ("#friends", ["Now in #friends (admin)."]),
            ("@#@ENTER A PERSONAL CHAT@#@", ["To whom? "]),
            ("bob", ["Now in @bob."]),
            ("@#@enter a group chat@#@ friends", ["Now in #friends (admin)."]),
            ("-1", []),
        )
        self.shows(
            bob,
            r"alice added you to #friends\.\nNow in #friends\.\n\d\d:\d\d <alice> hello bob\n"
            r"You were removed from #friends by alice\.",
        )


class SettingsTests(Base):
    """Settings that change what a newcomer meets."""

    def test_default_door(self) -> None:
        """The configured door stands in new groups."""
        self.server.factory.reload(replace(self.settings, default_door=Door.OPEN))
        alice, bob = self.person("alice", "/create #ops"), self.person("bob")
        self.talk(bob, ("/join #ops", ["Now in #ops.", "bob joined #ops."]))
        self.assertEqual(alice.lines(), ["bob joined #ops."])
