"""What is left of a deleted account: to whom it wrote, with whom it talked, and what it is called."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from chatd.names import skeleton
from tests.memory import PASSWORD, Server, instances

GONE = "@deleted account"


class GoneTests(SynchronousTestCase):
    """Somebody deletes their account; the others go on."""

    def setUp(self) -> None:
        self.server = Server(Path(self.mktemp()))
        self.addCleanup(self.server.stop)

    def test_a_departure_has_a_name(self) -> None:
        """Who is there sees who has left; who comes later sees that somebody has, whose name stands nowhere."""
        alice, bob = self.server.person("alice"), self.server.person("bob")
        alice.type("/create #ops bob")
        bob.lines()
        alice.type("/quit")
        bob.type("/dm alice")
        bob.type(f"/delete-account {PASSWORD}")
        self.assertEqual(
            self.server.back("alice").lines()[-4:],
            [
                "Groups: #ops (admin)",
                "deleted account left #ops.",
                "The other account was deleted.",
                "Now in #ops (admin).",
            ],
        )

    def test_the_name_is_kept_for_a_minute(self) -> None:
        """What somebody was called is forgotten once every instance has told of their departure."""
        self.server.person("bob").type(f"/delete-account {PASSWORD}")
        self.assertEqual(self.server.sql("SELECT name FROM farewell"), [("bob",)])
        for seconds, left in ((59, 1), (1, 0)):
            self.server.advance(seconds)
            self.server.db.write(lambda tx: tx.forget_farewells())
            self.server.advance(0)
            self.assertEqual(len(self.server.sql("SELECT name FROM farewell")), left)

    def test_a_conversation_of_two(self) -> None:
        """Its other end is told, live; then it is called the same as by whoever reads it later, on every instance."""
        folder = Path(self.mktemp())
        one, two = instances(folder)
        bob, alice = one.program("bob"), two.program("alice")
        bob.call(do="msg", user="alice", text="hi")
        self.assertEqual([event["room"] for event in alice.events()], ["@bob", "@bob"])
        bob.call(do="delete-account", password=PASSWORD)
        live = alice.events()
        self.assertEqual([(event["ev"], event["room"], event["by"]) for event in live], [("left", GONE, "bob")])
        again = two.resume("alice", since=0)
        later = [event for event in again.events() if event["ev"] in ("say", "left")]
        self.assertEqual([(event["room"], event["by"]) for event in later], [(GONE, "deleted account")] * 2)
        said = alice.call(do="say", room=live[0]["room_id"], text="still there?")
        self.assertEqual((said["error"]["code"], said["error"]["with"]["name"]), ("NO_USER", "deleted account"))
        self.assertEqual(alice.code(do="msg", user="bob", text="hello?"), "NO_USER")
        for server in (one, two):
            server.stop()

    def test_from_the_ring(self) -> None:
        """Who read too slowly when it happened calls the conversation what everybody else does."""
        bob, alice = self.server.program("bob"), self.server.program("alice")
        bob.call(do="msg", user="alice", text="hi")
        room = alice.events()[0]["room_id"]
        alice.transport.stick()
        for _ in range(30):
            bob.call(do="msg", user="alice", text="x" * 4_000)
        bob.call(do="delete-account", password=PASSWORD)
        alice.transport.drain()
        self.server.advance(0)
        self.assertEqual({event["room"] for event in alice.events() if event["ev"] == "left"}, {GONE})
        self.assertEqual(self.server.feed.routing.room(alice.welcome["account"], room).name, GONE)  # type: ignore[union-attr]

    def test_a_person(self) -> None:
        """On telnet: the text says so, and a line to nobody is refused."""
        alice, bob = self.server.person("alice"), self.server.person("bob")
        bob.type("/dm alice")
        bob.type("hi")
        alice.type("/dm bob")
        alice.lines()
        bob.type(f"/delete-account {PASSWORD}")
        self.assertEqual(alice.lines(), ["bob's account was deleted."])
        self.assertEqual(alice.type("hello?"), ["No such person: deleted account."])

    def test_a_guest(self) -> None:
        """A guest who goes leaves a conversation of two as well, under the name they had."""
        alice = self.server.person("alice")
        guest = self.server.connect()
        self.server.instance.settings = self.server.instance.settings.__class__(bcrypt_cost=4, guests=True)
        guest.call(do="guest", name="dave")
        guest.call(do="msg", user="alice", text="hi")
        alice.lines()
        guest.hang_up()
        self.assertEqual(alice.lines(), ["dave has gone."])

    def test_nobody_can_be_called_so(self) -> None:
        """No name that anybody can have is what a conversation with nobody is called."""
        program = self.server.connect()
        self.assertEqual(program.code(do="register", name=GONE[1:], password=PASSWORD), "BAD_NAME")

    def test_an_erased_name_is_not_had_again(self) -> None:
        """With --erase not even the look-alike key is readable any more, and still nobody gets the name."""
        bob = self.server.person("robert")
        bob.type(f"/delete-account --erase {PASSWORD}")
        ((kept,),) = self.server.sql("SELECT skeleton FROM account")
        self.assertNotIn(skeleton("robert"), kept)
        self.assertEqual(self.server.connect().code(do="register", name="r0bert", password=PASSWORD), "NAME_TAKEN")
