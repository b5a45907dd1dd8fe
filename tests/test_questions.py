"""What a person is asked when something is missing.

The rule: what a test expects is what FEATURES.md says, not what the daemon happens to print.
"""

from __future__ import annotations

from typing import ClassVar

from chatd.command import TABLE
from tests.memory import DOOR, PASSWORD
from tests.people import Base

RESERVED = "Use 2 to 32 of a-z 0-9 . _ - (a few names are reserved)."


class QuestionTests(Base):
    """A missing argument is asked for (DESIGN §4)."""

    asked: ClassVar[dict[str, list[str]]] = {
        "create": ["Group: "],
        "join": ["Group: "],
        "dm": ["To whom? "],
        "msg": ["To whom? "],
        "say": ["Text: "],
        "search": ["Words: "],
        "add": ["Whom? "],
        "remove": ["Whom? "],
        "kick": ["Whom? "],
        "ban": ["Whom? "],
        "unban": ["Whom? "],
        "promote": ["Whom? "],
        "demote": ["Whom? "],
        "transfer": ["Whom? "],
        "whois": ["Whom? "],
        "rename": ["New name: "],
        "password": ["Old password: "],
        "delete-account": ["Password, to delete alice for ever: "],
        "get": ["File: "],
        "cancel": ["File: "],
    }

    def test_every_command(self) -> None:
        """Every command that needs an argument asks for it, and an empty line cancels the question without a word."""
        needing = {verb for verb, entry in TABLE.items() if entry.topic and any(arg.required for arg in entry.args)}
        self.assertEqual(needing - self.asked.keys(), set())
        alice = self.person("alice", "/create #ops")
        for verb, question in self.asked.items():
            secret = question[0].startswith(("Old password", "Password"))
            self.talk(alice, (f"/{verb}", question), ("", [""] if secret else []))
        self.talk(alice, ("still here", []))

    def test_answers(self) -> None:
        """The answer completes the call: a name, a text, a second question."""
        alice, bob = self.person("alice", "/create #ops"), self.person("bob")
        self.talk(
            alice,
            ("/add", ["Whom? "]),
            ("  bob  ", ["alice added bob to #ops."]),
            ("/msg", ["To whom? "]),
            ("bob", ["Text: "]),
            ("hi there", []),
            ("/rename", ["New name: "]),
            ("#dev", ["alice renamed #ops to #dev."]),
            ("/transfer", ["Whom? "]),
            ("bob", ["Make bob owner of #dev and step down? [y/N] "]),
            ("y", ["bob now owns #dev.", "Now in #dev."]),
        )
        self.assertRegex("\n".join(bob.lines()), r"\[alice\] hi there")

    def test_a_refused_answer_ends_the_question(self) -> None:
        """Where the answer is refused the question is over: the next line is text again."""
        alice = self.person("alice", "/create #ops")
        self.talk(
            alice,
            ("/add", ["Whom? "]),
            ("bbo", ["No such person: bbo."]),
            ("just text", []),
        )

    def test_a_bad_name_of_a_group_is_asked_for_again(self) -> None:
        """As that of an account is, at the door and later, three times; whom to add need not be said again."""
        self.person("bob", "/create #taken")
        bad = ['"#a b" cannot be the name of a group.', "Use # and 1 to 32 of a-z 0-9 . _ -"]
        client = self.at_the_door("r", "zoe", PASSWORD, PASSWORD)
        self.talk(
            client,
            ("#a b", [*bad, "Group: "]),
            ("#a", ["#a did not exist: created. You are admin.", "Now in #a (admin)."]),
        )
        whom, taken = "Whom to add? (-1 ends) ", '"#taken" is taken. Free: #taken2, #taken_.'
        self.talk(
            client,
            ("/create", ["Group: "]),
            ("#taken", [whom]),
            ("bob -1", [taken, "Group: "]),
            (
                "#taken2",
                ["#taken2 created. You are admin. Added bob.", "Now in #taken2 (admin).", "zoe added bob to #taken2."],
            ),
            ("/join", ["Group: "]),
            ("#a b", [*bad, "Group: "]),
            ("#a b", [*bad, "Group: "]),
            ("#a b", bad),
            ("text", []),
            ("/join #a b", ["Usage: /join <room>"]),
        )

    def test_a_command_cancels(self) -> None:
        """A line that begins with / or @#@ is a command, and the question is gone."""
        alice = self.person("alice", "/create #ops")
        self.talk(
            alice,
            ("/add", ["Whom? "]),
            ("/whereami", ["node 1 of 1"]),
            ("text", []),
            ("/transfer", ["Whom? "]),
            ("@#@EXIT THIS CHAT-ROOM@#@", ["Left the view of #ops; you are still in it."]),
            ("text", ["No room is open. Nothing was sent.", "/join #group or /dm person opens one."]),
        )

    def test_a_command_at_the_door_cancels(self) -> None:
        """So it is at the door, and the misses so far are forgotten."""
        client = self.at_the_door("r", "a", "a")
        self.talk(client, ("/whereami", ["Log in first: /login or /register.", DOOR]), ("r", ["Username: "]))
        self.talk(client, ("a", ['"a" cannot be a user name.', RESERVED, "Username: "]))

    def test_an_empty_line_cancels(self) -> None:
        """An empty line at a question of the door shows the door."""
        client = self.at_the_door()
        self.talk(client, ("l", ["Username: "]), ("", [DOOR]), ("r", ["Username: "]), ("   ", [DOOR]))

    def test_events_appear_while_a_question_is_open(self) -> None:
        """What is said meanwhile is shown on lines of its own, and the question is put again below it."""
        alice, bob = self.person("alice", "/create #ops"), self.person("bob")
        alice.type("/add bob")
        self.talk(alice, ("/kick", ["Whom? "]))
        bob.type("who, me?")
        self.shows(alice, r"\n\d\d:\d\d <bob> who, me\?\nWhom\? ")
        self.talk(alice, ("bob", ["alice removed bob from #ops."]))

    def test_telnet_answers_while_a_question_is_open(self) -> None:
        """What a telnet program and the server settle between themselves is not seen: the question is put once. What
        comes with something to see is seen above it.
        """
        client = self.server.connect()
        client.send(b"r\r\nzoe\r\n")
        self.assertTrue(client.read().endswith(b"a number): \xff\xfb\x01"))
        client.send(b"\xff\xfd\x01")
        self.assertEqual(client.read(), b"\xff\xfd\x00")
        client.send(b"\xff\xfb\x1f\xff\xfd\x03")
        self.assertEqual(client.read(), b"\xff\xfe\x1f\xff\xfc\x03")
        client.send(b"short\r\x00")
        self.assertEqual(client.read().count(b"a number): "), 1)
        client.send(PASSWORD.encode() + b"\r\x00")
        self.assertEqual(client.read(), b"\xff\xfc\x01\r\nAgain: \xff\xfb\x01")

    def test_lists_end_with_minus_one(self) -> None:
        """/create asks for the group, then for people, one or more a line, until -1 or an empty line."""
        for name in ("bob", "carol", "dave"):
            self.person(name)
        whom = ["Whom to add? (-1 ends) "]
        for number, (end, names) in enumerate([("-1", "bob, carol, dave"), ("", "bob, carol, dave")]):
            alice = self.person(f"alice{number}")
            group = f"#friends{number}"
            self.talk(alice, ("/create", ["Group: "]), (group, whom), ("bob", whom), ("carol dave", whom))
            lines = alice.type(end)
            self.assertEqual(lines[0], f"{group} created. You are admin. Added {names}.")
        alice = self.person("alice9")
        self.talk(
            alice,
            ("/create", ["Group: "]),
            ("#alone", whom),
            ("-1", ["#alone created. You are admin.", "Now in #alone (admin)."]),
        )

    def test_a_list_may_end_on_its_own_line(self) -> None:
        """-1 behind names ends the list, too."""
        self.person("bob")
        alice = self.person("alice", "/create", "#friends")
        self.assertEqual(alice.type("bob -1")[0], "#friends created. You are admin. Added bob.")

    def test_an_over_long_answer(self) -> None:
        """A line over the limit is no answer: the question is put again."""
        alice = self.person("alice", "/create #ops", "/add")
        self.talk(alice, ("x" * 9000, ["More than 8,192 of 4,000 characters. Skipped.", "Whom? "]), ("", []))

    def test_changing_the_password(self) -> None:
        """/password asks for the old and twice for the new; then the new one is right and other sessions are out."""
        alice, other = self.person("alice"), self.server.back("alice")
        other.lines()
        prompt = "New password (8+ characters, a capital, a number): "
        self.talk(
            alice,
            ("/password", ["Old password: "]),
            (PASSWORD, ["", prompt]),
            ("Another7horse", ["", "Again: "]),
            ("Another7horse", ["", "Password changed. 1 other session logged out."]),
            ("/password", ["Old password: "]),
            (PASSWORD, ["", "Wrong password. 2 tries left."]),
            (f"/password {PASSWORD} Third7horse", ["Wrong password. 1 try left."]),
        )
        alice.hang_up()
        client = self.at_the_door()
        self.assertEqual(client.type("/login alice Another7horse")[0], "Welcome, alice.")

    def test_an_unusable_new_password(self) -> None:
        """A new password that is refused is asked for again, the old one is not; the third miss ends it."""
        alice = self.person("alice")
        prompt = "New password (8+ characters, a capital, a number): "
        self.talk(
            alice,
            ("/password", ["Old password: "]),
            (PASSWORD, ["", prompt]),
            ("short", ["", "Password needs: 8+ characters, a capital letter, a number.", prompt]),
            ("Another7horse", ["", "Again: "]),
            ("Another8horse", ["", "The two passwords differ.", prompt]),
            ("Another7horse", ["", "Again: "]),
            ("Another7horse", ["", "Password changed."]),
            ("/password", ["Old password: "]),
            ("Another7horse", ["", prompt]),
            ("a", ["", "Password needs: 8+ characters, a capital letter, a number.", prompt]),
            ("b", ["", "Password needs: 8+ characters, a capital letter, a number.", prompt]),
            ("c", ["", "Password needs: 8+ characters, a capital letter, a number."]),
            ("/whoami", ["You are alice."]),
        )
