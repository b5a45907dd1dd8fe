"""chat and a server that was restored from a backup: people go on talking, in sealed rooms, too."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from client.crypto import encoding, roomlog
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
        members are what they were then; who registered after the backup does so again. All go on talking.
        """
        bob, alice = self.pair()
        carol = self.person("carol")
        alice.type("/dm carol")
        alice.type("hi carol")
        self.wait(2)
        lost, backup = self.back_up()
        bob.type("/switch #ops")
        bob.type("after the backup")
        bob.type("/rename #dev")
        bob.type("/kick alice")
        dave = self.person("dave")
        everybody = (bob, alice, carol, dave)
        self.lose(lost, backup, everybody)
        self.assertEqual([person.seen.count(RESTORED) for person in everybody], [1, 1, 0, 0])
        self.assertIn("#ops bob: after the backup", alice.said())
        self.assertEqual([place.name for place in alice.chat.view.ordered()], ["#ops", "@carol"])
        bob.type("in #ops")
        carol.type("/dm alice")
        carol.type("hi alice")
        self.wait(3)
        self.assertEqual([row[6:] for row in alice.seen[-2:]], ["#ops bob: in #ops", "carol: hi alice"])
        for person in (bob, alice):
            person.pull()
            person.plug()
            self.assertEqual(person.seen.count(RESTORED), 1, person.name)
        dave.register()
        self.assertIn("Welcome, dave.", dave.seen[-8:])

    def test_sealed_groups_that_had_changed(self) -> None:
        """What members had signed after the backup they show to the server again, each their own, in order: then all is
        as it was, and they go on. Where that cannot be, since somebody is no more, nothing is sent, and that is said.
        """
        bob, alice = self.pair()
        carol = self.person("carol")
        for name in ("#sealed", "#other"):
            bob.type(f"/create --sealed {name} alice")
        self.wait(2)
        lost, backup = self.back_up()
        bob.type("/switch #sealed")
        alice.type("/switch #sealed")
        bob.type("/add carol")
        bob.type("/promote alice")
        alice.type("/door open")
        bob.type("/rename #renamed")
        alice.type("after the backup")
        dave = self.person("dave")
        bob.type("/add #other dave")
        self.wait(2)
        before = lost.sql("SELECT head, entries, name, door FROM room WHERE name = '#renamed'")
        roles = lost.sql("SELECT account, role FROM member WHERE room = (SELECT id FROM room WHERE name = '#renamed')")
        self.lose(lost, backup, (bob, alice, carol, dave))
        self.assertEqual(self.server.sql("SELECT head, entries, name, door FROM room WHERE name = '#renamed'"), before)
        self.assertEqual(
            self.server.sql(
                "SELECT account, role FROM member WHERE room = (SELECT id FROM room WHERE name = '#renamed')"
            ),
            roles,
        )
        for person in (carol, alice, bob):
            person.type("/switch #renamed")
            person.type(f"{person.name} goes on")
        self.wait(3)
        for person in (carol, alice, bob):
            self.assertEqual(
                [row.partition(": ")[2][:8] for row in person.said()[-3:]], ["carol go", "alice go", "bob goes"]
            )
            self.assertFalse(any("Warning" in row for row in person.seen), person.seen)
        for person in (alice, bob):
            person.type("/switch #other")
            person.type(f"{person.name} in #other")
            self.assertIn(f"Not sent: {person.name} in #other", person.seen)
            self.assertIn(
                "Warning: the server shows different histories of #other. Nothing is sent there.", person.seen
            )

    def test_a_server_that_only_says_so(self) -> None:
        """A server that shows an old state of a group for ever is given nothing but what was signed before, once for
        each try to say something; then nothing is sent, and that is said.
        """
        bob, _ = self.pair()
        bob.type("/create --sealed #sealed alice")
        bob.type("/switch #sealed")
        bob.type("/door open")
        old = self.server.sql("SELECT proof FROM event WHERE proof IS NOT NULL ORDER BY seq")
        bob.type("/door ask")
        proofs = [row[0] for row in self.server.sql("SELECT proof FROM event WHERE proof IS NOT NULL ORDER BY seq")]
        head = encoding.text(roomlog.entry_hash(encoding.data(old[-1][0])))

        def lie(line: dict[str, Any]) -> list[dict[str, Any]]:
            if "head" in line.get("ok", {}):
                line["ok"]["head"] = head
            if "error" in line:
                line = {"re": line["re"], "ok": {"seq": 1}}
            return [line]

        bob.cables[-1].lie = lie
        before = len(bob.cables[-1].said)
        for _ in range(3):
            bob.type("is anybody there?")
        self.assertIn("Not sent: is anybody there?", bob.seen)
        sent = [json.loads(line) for line in bob.cables[-1].said[before:].splitlines()]
        self.assertEqual([line["proofs"] for line in sent if "proofs" in line], [proofs[-1:]] * 3)
        self.assertFalse(any(line["do"] == "say" for line in sent))

    def back_up(self) -> tuple[Server, Path]:
        """A backup is made."""
        backup = self.server.data.with_name("backup.tar")
        self.assertEqual(Operator(self.server.data)("backup", str(backup), "--verify").status, 0)
        return self.server, backup

    def lose(self, lost: Server, backup: Path, people: Sequence[Person]) -> None:
        """The server is lost, and another one stands on the backup; all find it."""
        self.wait(2)
        for person in people:
            person.pull()
        self.restore(lost, backup)
        for person in people:
            person.reachable = True
        self.wait(31)

    def test_a_key_that_was_used(self) -> None:
        """One-time keys that were given out after the backup are given out again, and open no second message: that
        is asked for, and arrives.
        """
        alice, bob, carol = (self.person(name) for name in ("alice", "bob", "carol"))
        self.wait(2)
        lost, backup = self.back_up()
        bob.type("/dm alice")
        bob.type("hi from bob")
        self.lose(lost, backup, (alice, bob, carol))
        carol.type("/dm alice")
        carol.type("hi from carol")
        self.wait(90)
        self.assertIn("Something from carol could not be opened. It is asked for again.", alice.seen)
        self.assertEqual(alice.said()[-1], "[carol] hi from carol")
        self.assertEqual(carol.said()[-1], "carol: hi from carol  ++")

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
