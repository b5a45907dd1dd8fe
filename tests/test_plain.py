"""The plain dialect as people on telnet and nc meet it: texts letter by letter, the whole server in memory.

The rule: what a test expects is what FEATURES.md says, not what the daemon happens to print.
"""

from __future__ import annotations

import fcntl
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from chatd.command import ALIASES, TABLE, Settings
from chatd.errors import CODES
from chatd.model import Door
from tests.memory import ABROAD, BANNER, DOOR, HIDE, PASSWORD, SHOW, Client, Server, settings
from tests.sealing import equip, found

PASSWORD_PROMPT = "Password (8+ characters, a capital, a number): "
HINT = "Type to talk. /help for commands, /quit leaves."
RESERVED = "Use 2 to 32 of a-z 0-9 . _ - (a few names are reserved)."


class Base(SynchronousTestCase):
    """A server, what it logs, and people on it."""

    settings = settings()

    def setUp(self) -> None:
        self.logged: list[LogEvent] = []
        globalLogPublisher.addObserver(self.logged.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.logged.append)
        self.server = Server(Path(self.mktemp()), settings=self.settings)
        self.addCleanup(self.server.stop)

    @property
    def audited(self) -> list[str]:
        """What the operator's log says."""
        return [formatEvent(event) for event in self.logged if event.get("log_namespace") == "chatd.audit"]

    def person(self, name: str, *typed: str) -> Client:
        """Somebody new, who has typed this since."""
        client = self.server.person(name)
        for line in typed:
            client.type(line)
        client.read()
        return client

    def at_the_door(self, *typed: str) -> Client:
        """Somebody who sees the door, and has typed this since."""
        client = self.server.connect()
        self.server.advance(1)
        for line in typed:
            client.type(line)
        client.read()
        return client

    def talk(self, client: Client, *expected: tuple[str, list[str]]) -> None:
        """Each line typed shows just these lines; hidden passwords aside."""
        for typed, lines in expected:
            self.assertEqual(client.type(typed), lines, f"after {typed!r}")

    def shows(self, client: Client, pattern: str) -> None:
        """The lines that have come are these, by regular expression."""
        self.assertRegex("\n".join(client.lines()), rf"\A{pattern}\Z")


class DoorTests(Base):
    """Before anybody is logged in (FEATURES rows 1-9)."""

    def test_a_person_sees_the_door(self) -> None:
        """After 0.3 s of silence, and not before, the banner and the door are shown, once."""
        client = self.server.connect()
        self.server.advance(0.2)
        self.assertEqual(client.read(), b"")
        self.server.advance(0.2)
        self.assertEqual(client.read().decode(), f"{BANNER}\r\n{DOOR}")
        self.server.advance(100)
        self.assertEqual(client.read(), b"")

    def test_a_program_does_not(self) -> None:
        """Whoever has said anything by then is shown no door."""
        client = self.server.connect()
        client.send(b'{"do":')
        self.server.advance(1)
        self.assertEqual(client.read(), b"")

    def test_telnet_that_negotiates_sees_the_door(self) -> None:
        """What a telnet program sends by itself is no word of anybody's: the door is shown, and answered to."""
        client = self.server.connect()
        client.send(b"\xff\xfb\x1f\xff\xfd\x03")
        self.server.advance(1)
        self.assertEqual(client.read().decode(), f"{BANNER}\r\n{DOOR}")
        client.send(b"c\r\x00")
        self.assertEqual(client.read(), b"\xff\xfe\x1f\xff\xfc\x03Bye.\r\n")

    def test_wrong_letters(self) -> None:
        """What is no l, r, c or command is told so, and the door is shown again."""
        client = self.at_the_door()
        again = ["Please press l, r or c.", DOOR]
        self.talk(client, ("x", again), ("hello all", again), ("//quit", again), ("", [DOOR]), ("@bob hi", again))

    def test_closing(self) -> None:
        """c, or /quit, or its number, says goodbye and closes the connection."""
        for typed in ("c", "C", "/quit", "/3"):
            client = self.at_the_door()
            self.talk(client, (typed, ["Bye."]))
            self.assertTrue(client.closed)

    def test_closing_without_waiting_for_the_door(self) -> None:
        """The letters work on a connection that has not been greeted yet."""
        client = self.server.connect()
        self.talk(client, ("c", ["Bye."]))

    def test_before_login(self) -> None:
        """/help, /menu, /ping and /quit work at the door; all else says what to do first."""
        client = self.at_the_door()
        for verb in ("/help", "/menu", "/ping"):
            self.assertEqual(client.type(verb)[-1], DOOR)
        self.talk(
            client,
            ("/ping 7", ["pong 7", DOOR]),
            ("/join #ops", ["Log in first: /login or /register.", DOOR]),
            ("/aprove", ["Unknown command /aprove. Did you mean /approve? Not sent.", DOOR]),
            ("@#@EXIT THIS CHAT-ROOM@#@", ["Log in first: /login or /register.", DOOR]),
        )

    def test_registering(self) -> None:
        """r asks for a name and twice for a password, and then for a group, since there is none yet."""
        client = self.at_the_door()
        self.talk(
            client,
            ("r", ["Username: "]),
            ("Bob", [PASSWORD_PROMPT]),
            (PASSWORD, ["", "Again: "]),
            (PASSWORD, ["", "Welcome, bob.", "People: (none)", "Groups: (none)", "Group: "]),
            ("", [HINT]),
            ("hi", ["No room is open. Nothing was sent.", "/join #group or /dm person opens one."]),
        )

    def test_group_at_the_door(self) -> None:
        """The group that the door asks for is entered, or made."""
        client = self.at_the_door("r", "bob", PASSWORD, PASSWORD)
        self.talk(client, ("#ops", ["#ops did not exist: created. You are admin.", "Now in #ops (admin)."]))
        carol = self.at_the_door("r", "carol", PASSWORD, PASSWORD)
        self.talk(carol, ("ops", ["Asked the admins of #ops (bob). You will be told."]))

    def test_logging_in(self) -> None:
        """l asks for name and password, and for a group only where the account is in none."""
        self.person("alice", "/create #ops").hang_up()
        self.person("bob").hang_up()
        client = self.at_the_door()
        self.talk(
            client,
            ("l", ["Username: "]),
            ("alice", ["Password: "]),
            (
                PASSWORD,
                [
                    "",
                    "Welcome, alice.",
                    "People: bob   (* online)",
                    "Groups: #ops (admin)",
                    "Now in #ops (admin).",
                    HINT,
                ],
            ),
        )
        bob = self.at_the_door("l", "bob")
        self.talk(bob, (PASSWORD, ["", "Welcome, bob.", "People: alice*   (* online)", "Groups: (none)", "Group: "]))

    def test_one_line(self) -> None:
        """/login and /register with everything on the line never ask for a group, also where they cancel a question."""
        client = self.at_the_door()
        welcome = ["Welcome, bob.", "People: (none)", "Groups: (none)"]
        self.talk(client, (f"/register bob {PASSWORD}", welcome), ("/logout", ["Logged out.", DOOR]))
        self.talk(client, ("l", ["Username: "]), (f"/login bob {PASSWORD}", welcome))

    def test_asks_for_what_is_missing(self) -> None:
        """/login with a name asks for the password; /register, for both passwords."""
        client = self.at_the_door()
        self.talk(
            client,
            ("/register bob", [PASSWORD_PROMPT]),
            (PASSWORD, ["", "Again: "]),
            (PASSWORD, ["", "Welcome, bob.", "People: (none)", "Groups: (none)"]),
            ("/logout", ["Logged out.", DOOR]),
            ("/login bob", ["Password: "]),
            (PASSWORD, ["", "Welcome, bob.", "People: (none)", "Groups: (none)"]),
        )

    def test_logged_in_already(self) -> None:
        """Whoever is in logs out first."""
        client = self.person("alice")
        for typed in ("/login", "/login bob x", "/register", f"/register bob {PASSWORD}"):
            self.talk(client, (typed, ["You are alice. /logout first."]))

    def test_names(self) -> None:
        """A name that is taken, or looks like one, brings two that are free; one that cannot be says what can."""
        self.person("alice")
        client = self.at_the_door()
        self.person("bill")
        for typed, taken in (
            ("Alice", '"Alice" is taken. Free: alice2, alice_.'),
            ("ａｌｉｃｅ", '"ａｌｉｃｅ" is taken. Free: alice2, alice_.'),
            ("bi11", '"bi11" is taken. Free: bi112, bi11_.'),
        ):
            self.talk(client, (f"/register {typed}", [taken, DOOR]))
        for name in ("a", "x" * 33, "b@b", "алиса", "root", "Admin", "r00t"):
            self.talk(client, (f"/register {name}", [f'"{name}" cannot be a user name.', RESERVED, DOOR]))

    def test_a_name_that_was_asked_for_is_asked_again(self) -> None:
        """At the question a bad name is asked for again; after three misses the door is shown."""
        self.person("alice")
        client = self.at_the_door()
        taken = '"alice" is taken. Free: alice2, alice_.'
        self.talk(
            client,
            ("r", ["Username: "]),
            ("alice", [taken, "Username: "]),
            ("a", ['"a" cannot be a user name.', RESERVED, "Username: "]),
            ("alice", [taken, DOOR]),
            ("r", ["Username: "]),
            ("alice2", [PASSWORD_PROMPT]),
        )

    def test_password_policy(self) -> None:
        """Only what is unmet is printed, and the password alone is asked for again; after three misses, the door."""
        client = self.at_the_door("r", "bob")
        self.talk(
            client,
            ("correct7horse", ["", "Password needs: a capital letter.", PASSWORD_PROMPT]),
            ("correcthorse", ["", "Password needs: a capital letter, a number.", PASSWORD_PROMPT]),
            ("Password1", ["", "Password needs: something less common.", DOOR]),
            ("r", ["Username: "]),
            ("Bobby7bob", [PASSWORD_PROMPT]),
            ("Bobby7bob", ["", "Password needs: something other than your name.", PASSWORD_PROMPT]),
            ("Bo7", ["", "Password needs: 8+ characters.", PASSWORD_PROMPT]),
            (PASSWORD, ["", "Again: "]),
            (PASSWORD, ["", "Welcome, bobby7bob.", "People: (none)", "Groups: (none)", "Group: "]),
        )

    def test_again_differs(self) -> None:
        """Two passwords that differ are asked for again, from the first."""
        client = self.at_the_door("r", "bob")
        self.talk(
            client,
            (PASSWORD, ["", "Again: "]),
            ("Correct7house", ["", "The two passwords differ.", PASSWORD_PROMPT]),
            (PASSWORD, ["", "Again: "]),
            ("nonsense", ["", "The two passwords differ.", PASSWORD_PROMPT]),
            (PASSWORD, ["", "Again: "]),
            ("", ["", DOOR]),
        )

    def test_a_hash_grows_with_the_configured_cost(self) -> None:
        """At the first login after the cost has risen the password is hashed anew."""
        self.person("bob").hang_up()
        self.server.factory.reload(replace(self.settings, bcrypt_cost=5))
        for password, cost in (("Wrong7Wrong", b"04"), (PASSWORD, b"05")):
            self.at_the_door(f"/login bob {password}")
            [(kept,)] = self.server.sql("SELECT password FROM account")
            self.assertEqual(kept[:7], b"$2b$" + cost + b"$")

    def test_a_policy_may_be_another(self) -> None:
        """The configured policy is asked for in words and held to."""
        policy = replace(Settings().policy, length=4, capital=False, number=False, common=False)
        self.server.factory.reload(replace(self.settings, policy=policy))
        client = self.at_the_door("r")
        self.talk(client, ("bob", ["Password (4+ characters): "]), ("abcd", ["", "Again: "]))

    def test_hidden_password(self) -> None:
        """A password is asked for behind IAC WILL ECHO, the echo comes back after it, and it stands nowhere: not in
        what is sent, not in the log.
        """
        self.server.connect().send(b"c\r\n")
        client = self.at_the_door("r")
        client.send(b"bob\r\n")
        self.assertEqual(client.read(), PASSWORD_PROMPT.encode() + HIDE)
        client.send(PASSWORD.encode() + b"\r\n")
        self.assertEqual(client.read(), SHOW + b"\r\nAgain: " + HIDE)
        client.send(PASSWORD.encode() + b"\r\n")
        sent = client.read()
        self.assertTrue(sent.startswith(SHOW + b"\r\nWelcome, bob.\r\n"))
        one_line = self.server.back("bob")
        wrong = self.server.connect()
        wrong.type("/login bob Wrong7Wrong")
        sent += one_line.read() + wrong.read()
        for secret in (PASSWORD, "Wrong7Wrong"):
            self.assertNotIn(secret.encode(), sent)
            for event in self.logged:
                self.assertNotIn(secret, f"{formatEvent(event)} {event}")
        for row in self.server.sql("SELECT * FROM account"):
            self.assertNotIn(PASSWORD, str(row))

    def test_a_password_is_never_a_command(self) -> None:
        """At a question for a password a line that begins with / or @#@ is the password; an empty line cancels."""
        client = self.at_the_door("r", "bob")
        self.talk(
            client,
            ("/Quit7horse", ["", "Again: "]),
            ("/Quit7horse", ["", "Welcome, bob.", "People: (none)", "Groups: (none)", "Group: "]),
        )
        client = self.at_the_door("l", "bob")
        self.talk(client, ("", ["", DOOR]))

    def test_wrong_password(self) -> None:
        """One text for a wrong name and a wrong password, with the tries that are left."""
        self.person("bob")
        for name in ("bob", "nobody", "not/a/name"):
            client = self.at_the_door()
            self.talk(
                client,
                (f"/login {name} wrong", ["Wrong name or password. 2 tries left.", DOOR]),
                (f"/login {name} wrong", ["Wrong name or password. 1 try left.", DOOR]),
                (f"/login {name} wrong", ["Too many tries. Wait 40 s.", DOOR]),
            )

    def test_throttle_heals(self) -> None:
        """A throttled name is refused even with the right password, on every connection, until the time is over."""
        self.person("bob")
        client = self.at_the_door(*["/login bob wrong"] * 3)
        self.talk(client, (f"/login bob {PASSWORD}", ["Too many tries. Wait 40 s.", DOOR]), ("l", ["Username: "]))
        self.talk(client, ("bob", ["Too many tries. Wait 40 s.", DOOR]))
        self.server.advance(25)
        other = self.at_the_door()
        self.talk(other, (f"/login bob {PASSWORD}", ["Too many tries. Wait 14 s.", DOOR]))
        self.server.advance(15)
        self.assertEqual(other.type(f"/login bob {PASSWORD}")[0], "Welcome, bob.")

    def test_the_right_password_forgets_the_wrong_ones(self) -> None:
        """After a login the tries are counted anew."""
        self.person("bob")
        client = self.at_the_door(*["/login bob wrong"] * 2, f"/login bob {PASSWORD}", "/logout")
        self.talk(client, ("/login bob wrong", ["Wrong name or password. 2 tries left.", DOOR]))

    def test_throttled_by_address(self) -> None:
        """From one address, loopback aside, thirty wrong passwords are too many, whatever the names."""
        client = self.server.connect(ABROAD)
        for number in range(29):
            self.assertRegex(client.type(f"/login nobody{number} wrong")[0], r"\d tr(y|ies) left\.$")
        self.assertEqual(client.type("/login nobody wrong")[0], "Too many tries. Wait 40 s.")
        self.assertEqual(
            self.server.connect("203.0.113.8").type("/login bob wrong")[0], "Wrong name or password. 2 tries left."
        )

    def test_registrations_are_limited_by_address(self) -> None:
        """Twenty accounts an hour and address; loopback is exempt."""
        for number in range(20):
            self.assertEqual(
                self.server.connect(ABROAD).type(f"/register p{number} {PASSWORD}")[0], f"Welcome, p{number}."
            )
        client = self.server.connect(ABROAD)
        self.talk(client, (f"/register more {PASSWORD}", ["Too many tries. Wait 60 min.", DOOR]))
        self.server.advance(3601)
        client = self.server.connect(ABROAD)
        self.assertEqual(client.type(f"/register more {PASSWORD}")[0], "Welcome, more.")

    def test_closed_registration(self) -> None:
        """A server that takes no new accounts says so at once."""
        self.server.factory.reload(replace(self.settings, registration="closed"))
        client = self.at_the_door()
        self.talk(client, ("r", ["This server takes no new accounts.", DOOR]))

    def test_who_does_not_log_in_is_put_out(self) -> None:
        """A connection that has not logged in within five minutes is closed; one that has stays."""
        client, alice = self.at_the_door(), self.person("alice")
        self.server.advance(301)
        self.assertEqual((client.closed, alice.closed), (True, False))

    def test_login_after_the_connection_was_closed(self) -> None:
        """A password that is found right after its connection was closed logs nobody in."""
        self.person("bob").hang_up()
        self.server.passwords.hold()
        client = self.server.connect()
        client.transport.stick()
        client.send(f"/ping\r\n/login bob {PASSWORD}\r\n".encode())
        self.server.advance(301)
        self.assertEqual((client.closed, client.gone), (True, False))
        told = len(self.audited)
        self.server.passwords.release()
        self.server.advance(1)
        self.assertEqual(len(self.audited), told)
        self.assertEqual(self.server.sql("SELECT count(*) FROM presence"), [(0,)])


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
        "ack": ["Seq: "],
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
            (PASSWORD, ["", prompt]),
            ("Third7horse", ["", "Again: "]),
            ("Third7horse", ["", "Wrong name or password. 2 tries left."]),
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


class LogTests(Base):
    """The eight events of the operator's log (rows 48-52; files come later)."""

    def test_the_events(self) -> None:
        """Connecting, creating, asking, approving, kicking, transferring and leaving stand in the log as they are
        written in FEATURES.
        """
        bob = self.server.connect(ABROAD, secure=True)
        bob.type(f"/register bob {PASSWORD}")
        alice = self.person("alice", "/create #ops", "hello")
        bob.type("/join #ops")
        alice.type("/approve bob")
        carol = self.person("carol", "/join #ops")
        alice.type("/approve all")
        alice.type('/kick bob spam "and" eggs')
        alice.type("/transfer carol")
        alice.type("y")
        self.server.advance(185)
        bob.type("/quit")
        carol.hang_up()
        alice.cut()
        self.assertEqual(
            self.audited,
            [
                "user.register   bob from 203.0.113.7",
                "user.connect    bob from 203.0.113.7 tls plain",
                "user.register   alice from 127.0.0.1",
                "user.connect    alice from 127.0.0.1 clear plain",
                "group.create   #ops by alice",
                "join.request    #ops bob",
                "join.approve    #ops bob by alice",
                "user.register   carol from 127.0.0.1",
                "user.connect    carol from 127.0.0.1 clear plain",
                "join.request    #ops carol",
                "join.approve    #ops carol by alice",
                'group.kick      #ops bob by alice "spam "and" eggs"',
                "group.transfer  #ops alice -> carol",
                "user.disconnect bob after 3m (quit)",
                "user.disconnect carol after 3m (eof)",
                "user.disconnect alice after 3m (cut)",
            ],
        )

    def test_who_goes_at_once(self) -> None:
        """What somebody did who has quit in the same breath is told as fully."""
        alice = self.person("alice", "/create #ops")
        self.person("bob")
        alice.type("/add bob")
        del self.logged[:]
        alice.send(b"/kick bob\r\n/quit\r\n")
        self.assertEqual(self.audited, ["user.disconnect alice after 0s (quit)", "group.kick      #ops bob by alice"])

    def test_each_once(self) -> None:
        """A request to three admins is one line; a group made by joining, and a removal by /ban, are told; talking is
        not.
        """
        alice = self.person("alice", "/join #ops")
        for name in ("bob", "carol"):
            self.person(name)
            alice.type(f"/add {name}")
            alice.type(f"/promote {name}")
        self.person("dave", "/join #ops")
        alice.type("secret words")
        alice.type("@bob secret words")
        alice.type("/ban carol")
        told = [line for line in self.audited if not line.startswith("user.")]
        self.assertEqual(
            told,
            [
                "group.create   #ops by alice",
                "group.add       #ops bob by alice",
                "group.promote   #ops bob by alice",
                "group.add       #ops carol by alice",
                "group.promote   #ops carol by alice",
                "join.request    #ops dave",
                "group.kick      #ops carol by alice",
            ],
        )
        for event in self.logged:
            self.assertNotIn("secret words", f"{formatEvent(event)} {event}")

    def test_tries_are_told(self) -> None:
        """A wrong password is told with the address, and without the name or the password."""
        client = self.server.connect(ABROAD)
        client.type("/login somebody Secret7word")
        self.assertEqual(self.audited, ["login.refused   from 203.0.113.7 BAD_LOGIN"])

    def test_without_addresses(self) -> None:
        """Addresses can be left out."""
        self.server.audit._addresses = False
        self.server.person("bob", ABROAD)
        self.assertEqual(self.audited, ["user.register   bob", "user.connect    bob clear plain"])

    def test_administrative_acts(self) -> None:
        """Whatever somebody does by a right that others have not, or to their account, is told, and never a text."""
        alice = self.person("alice", "/create #ops")
        for name in ("bob", "carol"):
            self.person(name)
        bob = self.person("dave", "/join #ops")
        del self.logged[:]
        for line in (
            "/add bob",
            "/promote bob",
            "/demote bob",
            "/deny dave secret",
            "/ban carol secret",
            "/unban carol",
            "/topic secret",
            "/door open",
            "/rename #dev",
        ):
            alice.type(line)
        bob.type("/password")
        for line in (PASSWORD, "Battery8staple", "Battery8staple"):
            bob.type(line)
        self.assertIn("Your account is deleted. Bye.", alice.type(f"/delete-account {PASSWORD}"))
        self.assertEqual(
            self.audited,
            [
                "group.add       #ops bob by alice",
                "group.promote   #ops bob by alice",
                "group.demote    #ops bob by alice",
                "join.deny       #ops dave by alice",
                "group.ban       #ops carol by alice",
                "group.unban     #ops carol by alice",
                "group.topic     #ops by alice",
                "group.door      #ops open by alice",
                "group.rename    #ops -> #dev by alice",
                "user.password   dave changed it from 127.0.0.1",
                "user.disconnect alice after 0s (logout)",
                "group.inherit   #dev alice -> bob",
                "user.delete     account 1",
            ],
        )

    def test_names_cannot_forge_lines(self) -> None:
        """A reason with line ends in it is one line of the log."""
        alice = self.server.program("alice")
        self.server.program("bob")
        alice.call(do="create", room="#ops", people=["bob"])
        alice.call(do="kick", room="#ops", user="bob", reason="x\r\nuser.connect    root\x1b[2J")
        self.assertEqual(
            [line for line in self.audited if "kick" in line],
            ['group.kick      #ops bob by alice "x\ufffd\ufffduser.connect    root\ufffd[2J"'],
        )


class RefusalTests(Base):
    """Every refusal, its text and its second line (FEATURES §3): each test is named for the code it reaches."""

    LATER = frozenset({"SECRET_IN_LINE"})
    """What `chat` alone refuses (tests.client.test_conversation)."""
    DIALECTS = frozenset({"BAD_LINE", "MID_REUSED", "QUOTA", "TICKET", "FILE_CUT", "CHECKSUM", "DISK_FULL"})
    ACCOUNTS = frozenset(
        {"CODE_NEEDED", "BAD_CODE", "FACTOR", "BY_INVITATION", "BAD_INVITATION", "BAD_CERTIFICATE", "GUESTS_ONLY"}
    )
    CROWDS = frozenset({"FULL", "CROWDED", "SLOW", "IDLE"})
    SEALED = frozenset({"STALE", "NO_DEVICE", "NO_KEYS", "BAD_PROOF"})
    """tests.test_accounts, tests.test_crowd and tests.irc have them."""
    """Those that only a program can meet, or a file's connection; tests.test_json and tests.test_files have them."""

    def setUp(self) -> None:
        super().setUp()
        self.alice = self.person("alice", "/create #ops")
        self.bob = self.person("bob")
        self.alice.type("/add bob")
        self.carol = self.person("carol")
        self.alice.lines(), self.bob.lines()

    def refused(self, client: Client, typed: str, code: str, *lines: str) -> None:
        """This line is refused with this code and these words, and nothing is changed by it."""
        before = self.server.audit.refusals[code]
        log = self.server.sql("SELECT max(seq) FROM event")
        self.talk(client, (typed, list(lines)))
        self.assertEqual(self.server.audit.refusals[code], before + 1, f"{typed}: {self.server.audit.refusals}")
        self.assertEqual(self.server.sql("SELECT max(seq) FROM event"), log)

    def test_the_table_is_whole(self) -> None:
        """Every code that there is has a test here, belongs to programs, or to an issue to come."""
        here = {
            name.removeprefix("test_") for name in dir(self) if name.startswith("test_") and name.isupper() is False
        }
        here = {name for name in here if name.isupper()}
        self.assertEqual(here | self.DIALECTS | self.SEALED | self.ACCOUNTS | self.CROWDS, CODES.keys() - self.LATER)

    def test_NAME_TAKEN(self) -> None:
        """A group's name that is taken brings two that are free."""
        self.refused(self.alice, "/create #ops", "NAME_TAKEN", '"#ops" is taken. Free: #ops2, #ops_.')
        self.alice.type("/create #dev")
        self.refused(self.alice, "/rename #ops #dev", "NAME_TAKEN", '"#dev" is taken. Free: #dev2, #dev_.')

    def test_BAD_NAME(self) -> None:
        """A group's name has its own alphabet."""
        self.refused(
            self.alice,
            "/create #o/s",
            "BAD_NAME",
            '"#o/s" cannot be the name of a group.',
            "Use # and 1 to 32 of a-z 0-9 . _ -",
        )

    def test_BAD_PASSWORD(self) -> None:
        """A one-line registration says what its password lacks."""
        self.refused(
            self.at_the_door(),
            "/register dave short",
            "BAD_PASSWORD",
            "Password needs: 8+ characters, a capital letter, a number.",
            DOOR,
        )

    def test_BAD_LOGIN(self) -> None:
        """A wrong password to delete an account leaves it."""
        self.refused(self.bob, "/delete-account wrong", "BAD_LOGIN", "Wrong name or password. 2 tries left.")
        self.refused(self.at_the_door(), "/login bob wrong", "BAD_LOGIN", "Wrong name or password. 1 try left.", DOOR)

    def test_THROTTLED(self) -> None:
        """The third wrong password is one too many."""
        self.refused(
            self.at_the_door(*["/login bob x"] * 2), "/login bob x", "THROTTLED", "Too many tries. Wait 40 s.", DOOR
        )

    def test_REG_CLOSED(self) -> None:
        """No new accounts."""
        self.server.factory.reload(replace(self.settings, registration="closed"))
        self.refused(
            self.at_the_door(), f"/register dave {PASSWORD}", "REG_CLOSED", "This server takes no new accounts.", DOOR
        )

    def test_NOT_LOGGED_IN(self) -> None:
        """Nobody yet."""
        self.refused(self.at_the_door(), "/groups", "NOT_LOGGED_IN", "Log in first: /login or /register.", DOOR)

    def test_LOGGED_IN(self) -> None:
        """Somebody already."""
        self.refused(self.alice, "/login", "LOGGED_IN", "You are alice. /logout first.")

    def test_NO_USER(self) -> None:
        """Nobody of that name."""
        self.refused(self.alice, "/add caro", "NO_USER", "No such person: caro. Did you mean carol?")
        self.refused(self.alice, "/kick zzz", "NO_USER", "No such person: zzz.")

    def test_NO_GROUP(self) -> None:
        """No group of that name."""
        self.refused(self.alice, "/members #opps", "NO_GROUP", "No such group: #opps. Did you mean #ops?")
        self.refused(self.alice, "/members #zzz", "NO_GROUP", "No such group: #zzz.")

    def test_NO_ROOM(self) -> None:
        """Text, and a room's command, while no room is current."""
        words = ("No room is open. Nothing was sent.", "/join #group or /dm person opens one.")
        self.refused(self.carol, "hi", "NO_ROOM", *words)
        self.refused(self.carol, "/members", "NO_ROOM", *words)
        self.refused(self.carol, "/close", "NO_ROOM", *words)

    def test_NOT_MEMBER(self) -> None:
        """Somebody else's group."""
        self.refused(self.carol, "/members #ops", "NOT_MEMBER", "You are not in #ops. /join #ops")
        self.refused(self.carol, "/kick #ops bob", "NOT_MEMBER", "You are not in #ops. /join #ops")

    def test_NOT_THERE(self) -> None:
        """Somebody who is not in the group."""
        for verb in ("/kick", "/remove", "/promote", "/demote", "/transfer"):
            self.refused(self.alice, f"{verb} carol", "NOT_THERE", "carol is not in #ops.")

    def test_ALREADY(self) -> None:
        """Somebody who is."""
        self.refused(self.alice, "/add bob", "ALREADY", "bob is already in #ops.")

    def test_SAME_ROLE(self) -> None:
        """Nothing to change."""
        self.refused(self.alice, "/demote bob", "SAME_ROLE", "bob is member of #ops already.")
        self.refused(self.alice, "/transfer alice", "SAME_ROLE", "alice is owner of #ops already.")

    def test_SELF(self) -> None:
        """Nobody talks to themselves here."""
        self.refused(self.alice, "@alice hi", "SELF", "That is you.")
        self.refused(self.alice, "/dm alice", "SELF", "That is you.")
        self.refused(self.alice, "/ban alice", "SELF", "That is you.")

    def test_GROUPS_ONLY(self) -> None:
        """What a conversation of two does not have."""
        self.alice.type("/dm bob")
        for verb in ("/leave", "/topic", "/door", "/admins"):
            words = (f"Only groups have that: {verb}", "@bob is a conversation of two.")
            self.refused(self.alice, verb, "GROUPS_ONLY", *words)

    def test_PENDING(self) -> None:
        """Asked already."""
        self.carol.type("/join #ops")
        self.carol.send(b"/join #ops\r\n")
        self.shows(self.carol, r"Already asked at \d\d:\d\d; waiting for alice\.")

    def test_NO_REQUEST(self) -> None:
        """Nobody asked."""
        self.carol.type("/join #ops")
        self.person("dave")
        self.alice.lines()
        self.refused(self.alice, "/approve dave", "NO_REQUEST", "dave has not asked to join #ops.")
        self.refused(self.alice, "/deny dave", "NO_REQUEST", "dave has not asked to join #ops.")

    def test_NO_REQUESTS(self) -> None:
        """Nobody at all asked."""
        for typed in ("/approve", "/approve all", "/deny", "/2"):
            self.refused(self.alice, typed, "NO_REQUESTS", "No pending join requests in #ops.")

    def test_BANNED(self) -> None:
        """Kept out."""
        self.alice.type("/ban carol")
        self.refused(self.carol, "/join #ops", "BANNED", "You are banned from #ops.", "Admins of #ops: alice.")

    def test_IS_BANNED(self) -> None:
        """Somebody who is kept out is not added by mistake."""
        self.alice.type("/ban carol")
        self.refused(self.alice, "/add carol", "IS_BANNED", "carol is banned from #ops.", "/unban carol")
        self.refused(self.alice, "/ban carol", "IS_BANNED", "carol is banned from #ops.", "/unban carol")

    def test_NOT_BANNED(self) -> None:
        """Nobody kept carol out."""
        self.refused(self.alice, "/unban carol", "NOT_BANNED", "carol is not banned from #ops.")

    def test_INVITE_ONLY(self) -> None:
        """A group that is entered by /add."""
        self.alice.type("/door invite")
        words = ("#ops is entered by invitation only.", "Admins of #ops: alice.")
        self.refused(self.carol, "/join #ops", "INVITE_ONLY", *words)

    def test_ONLY_ADMIN(self) -> None:
        """What takes an admin, in the words of the older systems."""
        for verb in ("/add", "/remove"):
            words = ("Only admin can add/remove participants", "Admins of #ops: alice.")
            self.refused(self.bob, f"{verb} carol", "ONLY_ADMIN", *words)
        for verb in (
            "/kick carol",
            "/ban carol",
            "/transfer bob",
            "/promote bob",
            "/approve",
            "/1",
            "/topic x",
            "/door open",
        ):
            name = f"/{ALIASES.get(verb.split()[0][1:], verb.split()[0][1:])}"
            words = (f"Only admin can do that: {name}", "Admins of #ops: alice.")
            self.refused(self.bob, verb, "ONLY_ADMIN", *words)

    def test_ONLY_OWNER(self) -> None:
        """What takes the owner."""
        self.alice.type("/promote bob")
        self.alice.type("/add carol")
        self.alice.type("/promote carol")
        self.bob.lines()
        for verb in ("/transfer bob", "/promote carol", "/demote carol", "/rename #dev", "/kick carol", "/ban carol"):
            words = (f"Only the owner can do that: {verb.split()[0]}", "Owner of #ops: alice.")
            self.refused(self.bob, verb, "ONLY_OWNER", *words)

    def test_OWNER_STAYS(self) -> None:
        """An owner hands over first."""
        self.refused(self.alice, "/leave", "OWNER_STAYS", "Give #ops to somebody first: /transfer")

    def test_OWNER_SAFE(self) -> None:
        """Nobody removes the owner."""
        self.alice.type("/promote bob")
        self.bob.lines()
        for verb in ("/kick", "/remove", "/ban"):
            self.refused(self.bob, f"{verb} alice", "OWNER_SAFE", "alice owns #ops and cannot be removed.")

    def test_OPERATORS_ONLY(self) -> None:
        """/stats is for operators."""
        self.refused(self.alice, "/stats", "OPERATORS_ONLY", "Only operators of this server can do that: /stats")
        self.server.factory.reload(replace(self.settings, operators=frozenset({"alice"})))
        self.assertRegex(self.alice.type("/stats")[0], r"^3 accounts, 3 online, 1 node, \d+ events$")

    def test_TOO_LONG(self) -> None:
        """A message, a topic, a reason past its limit."""
        self.refused(self.alice, "x" * 4_001, "TOO_LONG", "4,001 of 4,000 characters.")
        self.refused(self.alice, "@bob " + "x" * 4_001, "TOO_LONG", "4,001 of 4,000 characters.")
        self.refused(self.alice, "/topic " + "x" * 301, "TOO_LONG", "301 of 300 characters.")
        self.refused(self.alice, "/kick bob " + "x" * 301, "TOO_LONG", "301 of 300 characters.")
        self.refused(self.alice, "/away " + "x" * 301, "TOO_LONG", "301 of 300 characters.")
        self.talk(self.alice, ("x" * 4_000, []))

    def test_LINE_TOO_LONG(self) -> None:
        """A line past the framing bound is told once and skipped to its end, however long."""
        words = "More than 8,192 of 4,000 characters. Skipped."
        self.refused(self.alice, "x" * 9_000, "LINE_TOO_LONG", words)
        self.refused(self.alice, "/quit " * 180_000, "LINE_TOO_LONG", words)
        self.talk(self.alice, ("still here", []))

    def test_RATE(self) -> None:
        """From abroad sixty lines at once, then twenty a second."""
        client = self.server.person("dave", ABROAD)
        client.send(b"\r\n" * 59)
        self.refused(client, "/whereami", "RATE", "Slow down: 1 s.")
        self.server.advance(0.1)
        self.talk(client, ("/whereami", ["node 1 of 1"]), ("", []))
        self.refused(client, "/whereami", "RATE", "Slow down: 1 s.")
        self.server.advance(60)
        self.talk(client, *[("/whereami", ["node 1 of 1"])] * 60)
        self.refused(client, "/whereami", "RATE", "Slow down: 1 s.")

    def test_LIMIT(self) -> None:
        """A group that is full."""
        self.server.factory.reload(replace(self.settings, limits=replace(self.settings.limits, group_members=2)))
        self.refused(self.alice, "/add carol", "LIMIT", "#ops is full.")
        self.carol.type("/join #ops")
        self.alice.lines()
        self.refused(self.alice, "/approve carol", "LIMIT", "#ops is full.")

    def test_GROUPS_FULL(self) -> None:
        """Somebody in as many groups as may be."""
        self.server.factory.reload(replace(self.settings, limits=replace(self.settings.limits, groups_per_account=1)))
        self.refused(
            self.alice, "/create #more", "GROUPS_FULL", "You are in 1 group already.", "/leave one of them first."
        )
        self.carol.type("/create #carols")
        self.refused(self.alice, "/add carol", "GROUPS_FULL", "carol is in 1 group already.")

    def test_NO_FILE(self) -> None:
        """A file that is not there."""
        for typed in ("/get 17", "/cancel 17"):
            self.refused(self.alice, typed, "NO_FILE", "No such file: 17.")

    def test_E2E_ONLY(self) -> None:
        """A sealed room takes no text, and shows none."""
        chat = self.server.resume("alice")
        found(chat, equip(chat), "#deep")
        self.alice.type("/join #deep")
        words = "#deep is end-to-end encrypted; this connection cannot decrypt. Use chat."
        self.refused(self.alice, "hi", "E2E_ONLY", words)
        self.refused(self.alice, "/search hi", "E2E_ONLY", words)

    def test_BAD_USAGE(self) -> None:
        """The usage line is the help."""
        self.refused(self.alice, "/add bob carol", "BAD_USAGE", "Usage: /add <user>")
        self.refused(self.alice, "/history nonsense", "BAD_USAGE", f"Usage: {TABLE['history'].usage}")
        self.refused(self.alice, "/door ajar", "BAD_USAGE", "Usage: /door [open|ask|invite]")

    def test_UNKNOWN_CMD(self) -> None:
        """Never sent as text."""
        self.refused(self.alice, "/aprove", "UNKNOWN_CMD", "Unknown command /aprove. Did you mean /approve? Not sent.")

    def test_BUSY(self) -> None:
        """While another process holds the write lock nothing is changed; when it lets go, all is well."""
        fd = os.open(self.server.data / "write.lock", os.O_RDWR)
        fcntl.flock(fd, fcntl.LOCK_EX)
        words = "The server cannot write just now. Nothing was changed; try again."
        self.refused(self.alice, "hi", "BUSY", words)
        self.refused(self.alice, "/kick bob", "BUSY", words)
        self.talk(self.alice, ("/members", ["#ops 2: alice (owner) bob"]))
        os.close(fd)
        self.talk(self.alice, ("hi", []))
        self.shows(self.bob, r"\d\d:\d\d <alice> hi")

    def test_DRAINING(self) -> None:
        """A server that stops says so, and where to go."""
        self.server.factory.drain()
        self.server.advance(0)
        self.assertEqual(self.alice.lines(), ["This server is closing; reconnect."])

    def test_INTERNAL(self) -> None:
        """What nobody foresaw is logged under the reference that the person is told, and the connection goes on."""
        self.server.sql("DROP TABLE ban")
        [line] = self.alice.type("/ban carol")
        found = re.fullmatch(r"Something broke here; it is logged as ([0-9a-f]{8})\. Nothing was changed\.", line)
        assert found is not None
        [line] = self.alice.type("/bans")
        self.assertRegex(line, "^Something broke here")
        logged = [formatEvent(event) for event in self.logged if event.get("log_failure")]
        self.assertIn(f"ban broke, reference {found[1]}", logged)
        self.assertEqual(len(self.flushLoggedErrors()), 2)
        self.talk(self.alice, ("/members", ["#ops 2: alice (owner) bob"]), ("hi", []))


class SettingsTests(Base):
    """Settings that change what a newcomer meets."""

    def test_default_door(self) -> None:
        """The configured door stands in new groups."""
        self.server.factory.reload(replace(self.settings, default_door=Door.OPEN))
        alice, bob = self.person("alice", "/create #ops"), self.person("bob")
        self.talk(bob, ("/join #ops", ["Now in #ops.", "bob joined #ops."]))
        self.assertEqual(alice.lines(), ["bob joined #ops."])
