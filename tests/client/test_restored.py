"""chat and a server that was restored from a backup: people go on talking, in sealed rooms, too."""

from __future__ import annotations

import re
from pathlib import Path

from client.sentences import RESTORED
from tests.client.inmemory import ChatTestCase, Person
from tests.ctl import Operator
from tests.memory import PASSWORD, Server


class RestoredTests(ChatTestCase):
    """The server is lost, and another one stands on last night's backup."""

    def test_talk_goes_on(self) -> None:
        """What was said after the backup is lost to the server and kept here; what is said after the restore arrives,
        sealed, and is marked as seen: no number that a client has seen is given again.
        """
        bob, alice = self.pair()
        bob.type("/create --sealed #sealed alice")
        for person in (bob, alice):
            person.type("/switch #sealed")
        bob.type("before")
        lost = self.server
        backup = lost.data.with_name("backup.tar")
        self.assertEqual(Operator(lost.data)("backup", str(backup), "--verify").status, 0)
        alice.type("after the backup")
        self.wait(3)
        for person in (bob, alice):
            person.pull()
        self.wait(3)

        operator = Operator(lost.data.with_name("elsewhere"))
        self.assertEqual(operator("restore", str(backup)).status, 0)
        self.server = Server(operator.data, clock=lost.reactor)
        self.addCleanup(self.server.stop)
        for person in (bob, alice):
            person.reachable = True
        self.wait(31)
        bob.type("after the restore")
        alice.type("as if nothing had been")
        self.wait(5)
        self.assertEqual(
            bob.said()[-4:],
            [
                "bob: before  ++",
                "alice: after the backup",
                "bob: after the restore  ++",
                "alice: as if nothing had been",
            ],
        )
        self.assertEqual(alice.said()[-1], "alice: as if nothing had been  ++")
        self.assertEqual(self.server.sql("SELECT count(*) FROM event WHERE text IS NOT NULL AND kind = 'say'"), [(0,)])
        self.assertEqual(operator("check").out.split(":")[0], "Sound")

    def test_what_was_lost(self) -> None:
        """What came after the backup stays on the screens, and each is told once that the server has lost it. Rooms and
        members are what they were then; who registered after the backup does so again. A sealed group whose signed log
        had gone on is not what its members know: they send nothing there. All others go on.
        """
        bob, alice = self.pair()
        carol = self.person("carol")
        for name in ("#sealed", "#other"):
            bob.type(f"/create --sealed {name} alice")
        bob.type("/switch #sealed")
        alice.type("/dm carol")
        alice.type("hi carol")
        self.wait(2)
        lost = self.server
        backup = lost.data.with_name("backup.tar")
        self.assertEqual(Operator(lost.data)("backup", str(backup), "--verify").status, 0)
        bob.type("/add carol")
        bob.type("after the backup")
        bob.type("/switch #ops")
        bob.type("/rename #dev")
        bob.type("/kick alice")
        dave = self.person("dave")
        self.wait(2)
        everybody = (bob, alice, carol, dave)
        for person in everybody:
            person.pull()
        self.restore(lost, backup)
        for person in everybody:
            person.reachable = True
        self.wait(31)
        for person in (bob, alice, carol):
            self.assertEqual(person.seen.count(RESTORED), 1, person.name)
        self.assertIn("#sealed bob: after the backup", alice.said())
        self.assertEqual([place.name for place in carol.chat.view.ordered()], ["@alice"])
        for person in (alice, bob):
            self.assertEqual(
                [place.name for place in person.chat.view.ordered()][:3], ["#ops", "#sealed", "#other"], person.name
            )
            person.type("/switch #sealed")
            person.type(f"{person.name} in #sealed")
            self.assertIn(f"Not sent: {person.name} in #sealed", person.seen)
            self.assertIn(
                "Warning: the server shows different histories of #sealed. Nothing is sent there.", person.seen
            )
        bob.type("/switch #other")
        bob.type("in #other")
        bob.type("/switch #ops")
        bob.type("in #ops")
        carol.type("/dm alice")
        carol.type("hi alice")
        self.wait(3)
        self.assertEqual(
            [row[6:] for row in alice.seen[-3:]], ["#other bob: in #other", "#ops bob: in #ops", "[carol] hi alice"]
        )
        for person in everybody[:3]:
            person.pull()
            person.plug()
            self.assertEqual(person.seen.count(RESTORED), 1, person.name)
        dave.register()
        self.assertIn("Welcome, dave.", dave.seen[-8:])

    def test_devices(self) -> None:
        """Devices that were added after the backup are so again, and one that was revoked stays revoked: whoever knows
        the account's signed lists shows them to the server again.
        """
        alice, bob = self.person("alice"), self.person("bob")
        alice.type("/dm bob")
        alice.type("hello")
        phone = self.another("phone", alice)
        self.wait(2)
        lost = self.server
        backup = lost.data.with_name("backup.tar")
        self.assertEqual(Operator(lost.data)("backup", str(backup), "--verify").status, 0)
        laptop = self.another("laptop", alice)
        alice.type("/device revoke 2")
        alice.type("y")
        for person in (laptop, bob):
            person.type("/dm bob" if person is laptop else "/dm alice")
            person.type(f"{person.name} before")
        self.wait(2)
        self.assertEqual(lost.sql("SELECT count(*), count(revoked) FROM device WHERE account = 1"), [(3, 1)])
        people = (alice, bob, laptop, phone)
        for person in people:
            person.pull()
        self.restore(lost, backup)
        self.assertEqual(self.server.sql("SELECT count(*), count(revoked) FROM device WHERE account = 1"), [(2, 0)])
        for person in people:
            person.reachable = True
        self.wait(31)
        self.assertEqual(self.server.sql("SELECT count(*), count(revoked) FROM device WHERE account = 1"), [(3, 1)])
        for line in ("l", "alice", PASSWORD, "/dm bob", "laptop after"):
            laptop.type(line)
        bob.type("bob after")
        self.wait(5)
        self.assertEqual(laptop.said()[-2:], ["alice: laptop after  ++", "bob: bob after"])
        self.assertEqual(bob.said()[-2:], ["alice: laptop after", "bob: bob after  ++"])
        self.assertFalse(any("old list" in row for person in (alice, bob, laptop) for row in person.seen))
        self.assertNotIn("bob: bob after", phone.said())
        tablet = self.another("tablet", alice)
        tablet.type("/dm bob")
        tablet.type("and another")
        self.assertEqual(bob.said()[-1], "alice: and another")

    def another(self, profile: str, first: Person) -> Person:
        """One more device of somebody, added by the first one."""
        device = Person(self, profile)
        for line in ("l", first.name, PASSWORD):
            device.type(line)
        code = re.findall(r"/device add ([A-Z2-7-]+)", "\n".join(device.seen))[-1]
        first.type(f"/device add {code}")
        return device

    def restore(self, lost: Server, backup: Path) -> None:
        """The server is lost, and another one stands on the backup, elsewhere."""
        operator = Operator(lost.data.with_name("elsewhere"))
        self.assertEqual(operator("restore", str(backup)).status, 0)
        self.server = Server(operator.data, clock=lost.reactor)
        self.addCleanup(self.server.stop)
