"""chat and a server that was restored from a backup: people go on talking, in sealed rooms, too."""

from __future__ import annotations

from tests.client.inmemory import ChatTestCase
from tests.ctl import Operator
from tests.memory import Server


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
