"""The operator's log: what people do stands in it, and what they say does not.

The rule: what a test expects is what FEATURES.md says, not what the daemon happens to print.
"""

from __future__ import annotations

from twisted.logger import formatEvent

from tests.memory import ABROAD, PASSWORD
from tests.people import Base


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

    def test_a_closed_group_has_its_name(self) -> None:
        """The last one out closes the group: the log says which, though nobody is in it any more."""
        self.person("alice", "/join #ops", "/leave")
        self.assertEqual(self.audited[-1], "group.close     #ops by alice")

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
