"""The door of the plain dialect: registering, logging in, and who is put out.

The rule: what a test expects is what FEATURES.md says, not what the daemon happens to print.
"""

from __future__ import annotations

from dataclasses import replace

from twisted.logger import formatEvent

from chatd.command import Settings
from tests.memory import ABROAD, BANNER, DOOR, HIDE, PASSWORD, SHOW
from tests.people import Base

PASSWORD_PROMPT = "Password (8+ characters, a capital, a number): "
HINT = "Type to talk. /help for commands, /quit leaves."
RESERVED = "Use 2 to 32 of a-z 0-9 . _ - (a few names are reserved)."


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

    def test_banner_and_message_of_the_day(self) -> None:
        """The operator's banner stands above the door, line by line; the message of the day is shown after login."""
        self.server.instance.settings = replace(
            self.server.instance.settings, banner="Hello,\nyou\x1b there.\n", motd=("Backup at 12.", "", "Be\tkind.")
        )
        client = self.server.connect()
        self.server.advance(1)
        self.assertEqual(client.read().decode(), f"Hello,\r\nyou\ufffd there.\r\n{DOOR}")
        welcome = ["Welcome, bob.", "Backup at 12.", "", "Be\ufffdkind.", "People: (none)", "Groups: (none)"]
        self.talk(client, (f"/register bob {PASSWORD}", welcome))

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

    def test_no_group_at_the_door_after_all(self) -> None:
        """Who gives up behind a group that cannot be, by an empty line or a third one, is told how to talk, too."""
        bad = ['"#a b" cannot be the name of a group.', "Use # and 1 to 32 of a-z 0-9 . _ -"]
        bob = self.at_the_door("r", "bob", PASSWORD, PASSWORD)
        self.talk(bob, ("#a b", [*bad, "Group: "]), ("", [HINT]))
        carol = self.at_the_door("r", "carol", PASSWORD, PASSWORD)
        self.talk(carol, ("#a b", [*bad, "Group: "]), ("#a b", [*bad, "Group: "]), ("#a b", [*bad, HINT]))
        self.talk(carol, ("/dm", ["To whom? "]), ("", []))
        dave = self.at_the_door("r", "dave", PASSWORD, PASSWORD)
        self.talk(dave, ("#ops", ["#ops did not exist: created. You are admin.", "Now in #ops (admin)."]))
        self.talk(dave, ("/dm", ["To whom? "]), ("", []))

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

    def test_misses_are_of_one_question(self) -> None:
        """Names that cannot be take no try from the password: it is asked for, hidden, three times all the same."""
        client = self.at_the_door("r")
        weak = ["", "Password needs: a capital letter.", PASSWORD_PROMPT]
        self.talk(
            client,
            ("a", ['"a" cannot be a user name.', RESERVED, "Username: "]),
            ("b", ['"b" cannot be a user name.', RESERVED, "Username: "]),
            ("bob", [PASSWORD_PROMPT]),
            ("correct7horse", weak),
            ("correct7horse", weak),
            ("correct7horse", [*weak[:-1], DOOR]),
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
