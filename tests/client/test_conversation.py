"""Typed lines and answers against the whole server in memory: the dialogue, without a terminal or a socket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from client.commands import Commands
from client.conversation import Call, Conversation, Enter, In, Local, Out, Queue, Show
from client.view import View
from tests.memory import PASSWORD, Server

AT = 1_700_000_000_000


class Person:
    """Somebody at `chat`, as far as it needs no screen: what was shown, and the prompt."""

    def __init__(self, server: Server) -> None:
        self.wire = server.connect()
        self.view = View()
        table = self.wire.call(do="hello")["ok"]["commands"]
        self.talk = Conversation(self.view, Commands(table))
        self.talk.online = True
        self.shown: list[str] = []
        self.local: list[Local] = []

    def type(self, line: str) -> list[str]:
        """Type a line; what is shown of it."""
        self.shown = []
        self._do(self.talk.typed(line, AT))
        return self.shown

    def _do(self, actions: list[Any]) -> None:
        for action in actions:
            match action:
                case Show(rows):
                    self.shown += rows
                case Call():
                    self._called(action, self.wire.call(**action.wire()))
                case Queue(entry):
                    fields = {"room": entry.room} if entry.do == "say" else entry.fields
                    self.wire.call(do=entry.do, mid=entry.mid, text=entry.text, **fields)
                case In(fields):
                    self.view.arrived(fields)
                case Enter(place):
                    self.view.current = place.id
                case Out():
                    self.talk.left()
                    self.view.leave()
                case Local():
                    self.local.append(action)

    def _called(self, call: Call, answer: dict[str, Any]) -> None:
        if "error" in answer:
            self._do(self.talk.refused(call, answer["error"]))
        else:
            self._do(self.talk.answered(call, answer["ok"], answer.get("as", "")))


class ConversationTests(SynchronousTestCase):
    """FEATURES.md, as seen from `chat`."""

    def setUp(self) -> None:
        self.server = Server(Path(self.mktemp()))
        self.addCleanup(self.server.stop)

    def registered(self, name: str) -> Person:
        """Somebody who has come in through the door, into no group."""
        person = Person(self.server)
        for line in ("r", name, PASSWORD, PASSWORD, ""):
            person.type(line)
        return person

    def test_the_door(self) -> None:
        """The first five minutes: register by the door, no group, then talk."""
        bob = Person(self.server)
        self.assertEqual(bob.talk.prompt, 'Press "l" to log in, "r" to register, "c" to close the connection: ')
        self.assertEqual(bob.type("x"), ["Please press l, r or c."])
        bob.type("r")
        self.assertEqual(bob.talk.prompt, "Username: ")
        bob.type("bob")
        self.assertEqual(bob.talk.prompt, "Password (8+ characters, a capital, a number): ")
        self.assertTrue(bob.talk.secret)
        self.assertEqual(bob.type("short"), ["Password needs: 8+ characters, a capital letter, a number."])
        self.assertTrue(bob.talk.secret)
        bob.type(PASSWORD)
        self.assertEqual(bob.talk.prompt, "Again: ")
        shown = bob.type(PASSWORD)
        self.assertEqual(shown[0], "Welcome, bob.")
        self.assertEqual(bob.talk.prompt, "Group: ")
        self.assertFalse(bob.talk.secret)
        self.assertEqual(bob.type(""), ["Type to talk. /help for commands, Tab completes, /quit leaves."])
        self.assertEqual(bob.talk.prompt, "> ")
        self.assertEqual(bob.type("/join #friends"), ["#friends did not exist: created. You are admin."])
        self.assertEqual(bob.talk.prompt, "#friends(admin) [open]> ")

    def test_three_misses(self) -> None:
        """After three passwords that will not do it is the door again; other passwords are asked for twice."""
        bob = Person(self.server)
        for line in ("r", "bob", "short", "short"):
            bob.type(line)
        bob.type("short")
        self.assertIn("Press", bob.talk.prompt)
        bob = Person(self.server)
        for line in ("r", "bob", PASSWORD):
            bob.type(line)
        self.assertEqual(bob.type("Other1password"), ["The two passwords differ."])
        self.assertTrue(bob.talk.prompt.startswith("Password ("))

    def test_misses_are_of_one_question(self) -> None:
        """Names that cannot be take no try from the password: it is asked for, hidden, three times all the same."""
        bob = Person(self.server)
        for line in ("r", "a", "b", "bob", "short", "short"):
            bob.type(line)
        self.assertTrue(bob.talk.secret)
        bob.type("short")
        self.assertIn("Press", bob.talk.prompt)

    def test_a_taken_name_is_asked_again(self) -> None:
        """The name only, and with names that are free."""
        self.registered("bob")
        other = Person(self.server)
        other.type("r")
        self.assertEqual(other.type("Bob"), ['"Bob" is taken. Free: bob2, bob_.'])
        self.assertEqual(other.talk.prompt, "Username: ")

    def test_login_wrong_then_right(self) -> None:
        """A wrong password says how many tries are left, and it is the door again."""
        self.registered("bob")
        bob = Person(self.server)
        for line in ("l", "bob"):
            bob.type(line)
        self.assertEqual(bob.type("Wrong1password"), ["Wrong name or password. 2 tries left."])
        self.assertIn("Press", bob.talk.prompt)
        bob.type("/login bob")
        self.assertEqual(bob.type(PASSWORD)[0], "Welcome, bob.")
        self.assertEqual(bob.talk.prompt, "> ")

    def test_no_password_in_a_line(self) -> None:
        """A password in a command is refused, and goes nowhere."""
        bob = Person(self.server)
        self.assertEqual(bob.type("/login bob secret"), ["Do not type passwords in a command. Use: /login bob"])
        self.assertEqual(bob.type("/register bob secret"), ["Do not type passwords in a command. Use: /register bob"])

    def test_passwords_may_begin_with_a_slash(self) -> None:
        """At a password nothing is a command."""
        bob = Person(self.server)
        for line in ("r", "bob", "/Correct7horse"):
            bob.type(line)
        self.assertEqual(bob.type("/Correct7horse")[0], "Welcome, bob.")

    def test_a_command_cancels_a_question(self) -> None:
        """A line that begins with a slash is a command; an empty one ends the question."""
        bob = self.registered("bob")
        bob.type("/dm")
        self.assertEqual(bob.talk.prompt, "To whom? ")
        bob.type("/join #ops")
        self.assertEqual(bob.talk.prompt, "#ops(admin) [open]> ")
        bob.type("/dm")
        bob.type("")
        self.assertEqual(bob.talk.prompt, "#ops(admin) [open]> ")

    def test_handing_over_is_asked_back(self) -> None:
        """`/transfer` asks; anything but yes does nothing."""
        bob, _ = self.registered("bob"), self.registered("alice")
        bob.type("/create #ops alice")
        bob.type("/transfer alice")
        self.assertEqual(bob.talk.prompt, "Make alice owner of #ops and step down? [y/N] ")
        self.assertEqual(bob.type("n"), ["Not done."])
        bob.type("/transfer alice")
        self.assertEqual(bob.type("y"), [])
        self.assertEqual(bob.type("/admins"), ["#ops owner alice"])

    def test_old_names(self) -> None:
        """The lines of an older system ask for what is missing; a list ends with -1."""
        bob, _ = self.registered("bob"), self.registered("alice")
        bob.type("@#@CREATE A GROUP@#@")
        self.assertEqual(bob.talk.prompt, "Group: ")
        bob.type("#friends")
        self.assertEqual(bob.talk.prompt, "Whom to add? (-1 ends) ")
        bob.type("-1")
        self.assertEqual(bob.talk.prompt, "#friends(admin) [open]> ")
        bob.type("@#@Add a participant@#@")
        self.assertEqual(bob.talk.prompt, "Whom? ")
        self.assertEqual(bob.type("alice"), [])
        bob.type("@#@ENTER A PERSONAL CHAT@#@")
        bob.type("alice")
        self.assertEqual(bob.talk.prompt, "@alice [open]> ")
        self.assertEqual(bob.type("@#@EXIT THIS CHAT-ROOM@#@"), ["Left the view of @alice; you are still in it."])
        self.assertEqual(bob.talk.prompt, "> ")

    def test_what_is_no_command_is_said(self) -> None:
        """Text goes to the room, `//x` as `/x`, `@bob hi` to bob, a command that is none nowhere."""
        bob, alice = self.registered("bob"), self.registered("alice")
        self.assertEqual(bob.type("hi")[0], "No room is open. Nothing was sent.")
        bob.type("/create #ops alice")
        for line in ("hi", "//x", "@alice psst", "/say #ops there"):
            bob.type(line)
        self.assertEqual(bob.type("/aprove"), ["Unknown command /aprove. Did you mean /approve? Not sent."])
        none = ["Unknown command /vaul. Not sent.", "/help lists the commands."]
        self.assertEqual(bob.type("/vaul"), none)  # only a command of programs is like it
        shown = "Unknown command /delete-acount. Did you mean /delete-account? Not sent."
        self.assertEqual(bob.type("/delete-acount"), [shown])
        heard = [(event["room"], event["text"]) for event in alice.wire.objects() if event.get("ev") == "say"]
        self.assertEqual(heard, [("#ops", "hi"), ("#ops", "/x"), ("@bob", "psst"), ("#ops", "there")])

    def test_too_long(self) -> None:
        """A text over the limit is refused before it is queued."""
        bob = self.registered("bob")
        bob.type("/join #ops")
        self.assertEqual(bob.type("x" * 9_120), ["9,120 of 4,000 characters."])

    def test_refusals_have_their_second_line(self) -> None:
        """Who can help stands in it."""
        bob, alice = self.registered("bob"), self.registered("alice")
        bob.type("/create #ops alice")
        alice.type("/join #ops")
        self.assertEqual(alice.type("/add carol"), ["Only admin can add/remove participants", "Admins of #ops: bob."])

    def test_every_command_of_the_table_works(self) -> None:
        """Each command's example is understood: the server answers it, and not with a mistake of the client."""
        bob, _ = self.registered("bob"), self.registered("alice")
        bob.type("/create #ops alice")
        for row in bob.talk.commands.rows:
            if row["example"] and row["do"] not in ("register", "login", "delete-account", "logout"):
                shown = " ".join(bob.type(row["example"]))
                self.assertNotRegex(shown, "^(Usage|Unknown|Something broke)", row["example"])
                bob.talk.question = None
                bob.type("/join #ops")

    def test_help(self) -> None:
        """It fits 80×24 with the client's own commands in it, and each has a page."""
        bob = self.registered("bob")
        page = bob.type("/help")
        self.assertLessEqual(len(page), 23)
        self.assertLessEqual(max(map(len, page)), 79)
        self.assertIn("/switch", " ".join(page))
        self.assertIn("/kick <user> [reason...]   (also /8)", bob.type("/help kick"))

    def test_commas_between_people(self) -> None:
        """Commas stand between people as spaces do, on the line and in an answer."""
        alice, _, _ = map(self.registered, ("alice", "bob", "carol"))
        self.assertIn("#x created. You are admin. Added bob, carol.", alice.type("/create --open #x bob,carol"))
        for line in ("/create --open", "#y", "bob, carol"):
            alice.type(line)
        self.assertIn("#y created. You are admin. Added bob, carol.", alice.type("-1"))

    def test_help_shows_no_secrets(self) -> None:
        """What is never typed in a line stands in no usage: it is asked for."""
        bob = self.registered("bob")
        for name, usage in (("login", "/login [name]"), ("register", "/register [name]"), ("password", "/password")):
            self.assertEqual(bob.type(f"/help {name}")[0], usage)
            self.assertNotIn("[code]", " ".join(bob.type(f"/{name} a b c d e")))

    def test_files_are_the_clients(self) -> None:
        """/send and its kin are done here; what is missing is asked for, and an absolute path is an answer."""
        alice = self.registered("alice")
        self.assertEqual(
            alice.type("/send x"), ["No room is open. Nothing was sent.", "/join #group or /dm person opens one."]
        )
        usage = ["Usage: /create [--open|--sealed] <room> [people...]"]
        self.assertEqual((alice.type("/create --opne #ops"), alice.type("/create #ops --opne")), (usage, usage))
        alice.type("/create --open #ops")
        alice.type("-1")
        room = alice.view.current
        alice.type("/send a file.txt")
        alice.type("/9 b.txt")
        alice.type("/send")
        self.assertEqual(alice.talk.prompt, "Path: ")
        alice.type("/tmp/c.txt")
        alice.type("/image")
        self.assertEqual(alice.talk.prompt, "Path to image: ")
        alice.type("/members")
        self.assertIsNone(alice.talk.question)
        alice.type("/get 17 /tmp/my folder")
        self.assertEqual(alice.type("/get"), ["Usage: /get <file> [folder]"])
        self.assertEqual(
            [(action.do, action.fields.get("path") or action.fields.get("file")) for action in alice.local],
            [("send", "a file.txt"), ("send", "b.txt"), ("send", "/tmp/c.txt"), ("get", "17")],
        )
        self.assertEqual({action.fields.get("room", room) for action in alice.local}, {room})
        self.assertEqual(alice.local[-1].fields["folder"], "/tmp/my folder")

    def test_minus_one(self) -> None:
        """-1 asks for an image right after an older system's personal chat, and is a text everywhere else (row 14)."""
        alice, bob = self.registered("alice"), self.registered("bob")
        for lines in (["@#@ENTER A PERSONAL CHAT@#@", "bob"], ["@#@ENTER A PERSONAL CHAT@#@ bob"]):
            for line in lines:
                alice.type(line)
            alice.type("-1")
            self.assertEqual(alice.talk.prompt, "Path to image: ")
            alice.type("cat.png")
            self.assertEqual((alice.local[-1].do, alice.local[-1].fields["path"]), ("image", "cat.png"))
            alice.type("-1")
        alice.type("/dm bob")
        alice.type("-1")
        self.assertEqual(len(alice.local), 2)
        said = [line["text"] for line in bob.wire.call(do="history", room="@alice")["ok"]["lines"]]
        self.assertEqual(said, ["-1", "-1", "-1"])

    def test_offline_commands_are_not_queued(self) -> None:
        """Text waits, a command is refused: what it would do an hour later is not what was meant."""
        bob = self.registered("bob")
        bob.type("/join #ops")
        bob.talk.online = False
        self.assertEqual(bob.type("/leave"), ["Offline. Commands are not queued: nothing was done."])
        self.assertIsInstance(bob.talk.typed("later", AT)[0], Queue)

    def test_logging_out(self) -> None:
        """It is the door again."""
        bob = self.registered("bob")
        self.assertEqual(bob.type("/logout"), ["Logged out."])
        self.assertIn("Press", bob.talk.prompt)
        self.assertEqual(bob.type("/members"), ["Log in first: /login or /register."])
