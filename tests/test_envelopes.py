"""Envelopes on the server: handed to each device in order until it has acknowledged them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chatd.errors import Refusal
from tests.memory import Client, instances
from tests.sealed import Base
from tests.sealing import Device, bind, body, envelopes, equip, found


class InboxTests(Base):
    """Envelopes wait for their device, in order, until it has acknowledged them."""

    def say(self, times: int = 1) -> None:
        """alice says something so many times."""
        for _ in range(times):
            self.alice.call(**self.sealed(self.b, self.c))["ok"]

    def letters(self, client: Client) -> list[int]:
        """The numbers of the envelopes that came."""
        return [line["n"] for line in self.heard(client, "envelope")]

    def back(self) -> Client:
        """bob's device once more."""
        client = self.server.resume("bob")
        bind(client, self.b)
        return client

    def test_until_acknowledged(self) -> None:
        """What was not acknowledged comes again with the device, in order; what was does not."""
        self.say(3)
        first = self.letters(self.bob)
        self.assertEqual((len(first), sorted(first)), (3, first))
        self.assertEqual(self.letters(self.back()), first)
        self.bob.call(do="received", n=first[1])["ok"]
        self.assertEqual(self.letters(self.back()), first[2:])
        self.bob.call(do="received", n=10**17)["ok"]
        self.assertEqual(self.letters(self.back()), [])
        self.assertEqual(len(self.letters(self.carol)), 3)

    def test_offline(self) -> None:
        """Who was away finds events and envelopes when they come back, more than a page of them."""
        self.bob.cut()
        self.say(230)
        bob = self.server.resume("bob", since=0)
        bind(bob, self.b)
        lines = bob.events()
        said = [line["seq"] for line in lines if line["ev"] == "say"]
        opened = [line["seq"] for line in lines if line["ev"] == "envelope"]
        self.assertEqual((len(said), opened), (230, said))

    def test_only_that_device(self) -> None:
        """Another session of the same person, which is no device, gets events and no envelopes."""
        program = self.server.resume("bob")
        self.say()
        self.assertEqual([line["ev"] for line in program.events()], ["say"])

    def test_both_connections(self) -> None:
        """A device that is connected twice for a moment gets each envelope on both."""
        again = self.back()
        self.say()
        self.assertEqual(len(self.letters(self.bob)), 1)
        self.assertEqual(len(self.letters(again)), 1)

    def test_a_slow_reader(self) -> None:
        """A device that does not read loses nothing and gets nothing twice, in order, once it reads on."""
        self.bob.transport.stick()
        for _ in range(12):
            fields = self.sealed(self.b, self.c)
            self.alice.call(**fields | {"sealed": body(self.chain.head, b"x" * 9_000)})["ok"]
        self.server.advance(0)
        self.assertLess(self.bob.transport.most, 400_000)
        for _ in range(5):
            self.bob.transport.drain()
            self.server.advance(0)
        self.say(2)
        lines = self.bob.events()
        said = [line["seq"] for line in lines if line.get("ev") == "say"]
        opened = [line["seq"] for line in lines if line.get("ev") == "envelope"]
        self.assertEqual((len(said), opened), (14, said))

    def test_other_instance(self) -> None:
        """A device on another instance gets its envelopes there, messages' and others'."""
        servers = instances(Path(self.mktemp()))
        for server in reversed(servers):
            self.addCleanup(server.stop)
        alice, bob = servers[0].program("alice"), servers[1].program("bob")
        a, b = equip(alice), equip(bob)
        room, chain = found(alice, a, "#two", [b])
        bob.events()
        sealed = {"do": "say", "room": room, "sealed": body(chain.head), "envelopes": envelopes(b.devices[0])}
        seq = alice.call(**sealed)["ok"]["seq"]
        self.assertEqual([(line["ev"], line["seq"]) for line in bob.events()], [("envelope", seq), ("say", seq)])
        alice.call(do="post", envelopes=envelopes(b.devices[0]))["ok"]
        self.assertEqual([(line["ev"], line["seq"]) for line in bob.events()], [("envelope", None)])

    def test_bound_while_it_happens(self) -> None:
        """A device that comes in the very moment in which something is sent to it misses nothing."""
        self.bob.cut()
        bob = self.server.resume("bob")
        self.server.readers.hold()
        self.server.writer.hold()
        bob.ask(id="b", do="bind", device=self.b.devices[0].id)
        self.alice.ask(id="s", **self.sealed(self.b, self.c))
        self.assertTrue(self.server.writer.step())
        self.assertTrue(self.server.writer.step())
        self.server.writer.release()
        self.server.readers.release()
        self.server.advance(0)
        self.assertEqual(len(self.letters(bob)), 1)

    def test_unread_pages_come_later(self) -> None:
        """Where the database cannot be read for a moment, what waits is read with the next beat."""
        self.bob.cut()
        self.say()
        bob = self.server.resume("bob")
        reads = self.server.db.read
        self.server.db.read = lambda run: reads(lambda tx: _busy())  # type: ignore[method-assign]
        bob.ask(id="b", do="bind", device=self.b.devices[0].id)
        self.assertEqual(self.letters(bob), [])
        self.server.db.read = reads  # type: ignore[method-assign]
        self.server.advance(2)
        self.assertEqual(len(self.letters(bob)), 1)

    def test_thirty_days(self) -> None:
        """What a device has not fetched in thirty days is gone; what came after waits on."""
        self.bob.cut()
        self.say(2)
        self.server.sql("UPDATE envelope SET at = at - ?", 29 * 86_400_000)
        self.say()
        self.server.db.write(lambda tx: tx.drop_unfetched(30, 200))
        self.server.advance(0)
        self.assertEqual(self.server.sql("SELECT count(*) FROM envelope"), [(6,)])
        self.server.sql("UPDATE envelope SET at = at - ?", 2 * 86_400_000)
        self.server.db.write(lambda tx: tx.drop_unfetched(30, 200))
        self.server.advance(0)
        self.assertEqual(self.server.sql("SELECT count(*) FROM envelope"), [(2,)])
        self.assertEqual(len(self.letters(self.back())), 1)

    def test_received(self) -> None:
        """Only a device acknowledges, and only numbers."""
        self.assertEqual(self.server.resume("bob").code(do="received", n=1), "NO_DEVICE")
        for n in ("x", -1, "9" * 30):
            self.assertEqual(self.bob.code(do="received", n=n), "BAD_USAGE")


class PostTests(Base):
    """Envelopes that go with no message."""

    def test_control(self) -> None:
        """One device says something to others: ordered with the rest, in no room, counted by nobody."""
        before = self.newest()
        self.alice.call(**self.sealed(self.b, self.c))["ok"]
        answer = self.alice.call(do="post", envelopes=envelopes(self.b.devices[0], self.c.devices[0]))["ok"]
        self.assertEqual(answer, {"posted": 2, "none": []})
        one, two = self.heard(self.bob, "envelope")
        self.assertLess(one["n"], two["n"])
        self.assertEqual((two["seq"], two["room_id"], two["device"]), (None, None, self.a.devices[0].id))
        self.assertEqual(self.newest(), before + 1)

    def test_strangers(self) -> None:
        """To people with whom one shares nothing, and to revoked or unknown devices, nothing is sent."""
        answer = self.dave.call(do="post", envelopes=envelopes(self.a.devices[0], Device(), self.d.devices[0]))["ok"]
        self.assertEqual((answer["posted"], len(answer["none"])), (0, 3))
        self.assertEqual(self.alice.events(), [])

    def test_key_again(self) -> None:
        """The author of a message may have it opened by a device that could not: of somebody who heard it and is in."""
        seq = self.alice.call(**self.sealed(self.b), without=[self.c.devices[0].id])["ok"]["seq"]
        answer = self.alice.call(do="post", seq=seq, envelopes=envelopes(self.c.devices[0], self.d.devices[0]))["ok"]
        self.assertEqual(answer, {"posted": 1, "none": [self.d.devices[0].id]})
        (envelope,) = self.heard(self.carol, "envelope")
        self.assertEqual((envelope["seq"], envelope["room_id"]), (seq, self.room))
        self.assertEqual(self.bob.code(do="post", seq=seq, envelopes=envelopes(self.c.devices[0])), "BAD_PROOF")
        self.assertEqual(self.alice.code(do="post", seq=1, envelopes=envelopes(self.c.devices[0])), "BAD_PROOF")
        self.assertEqual(self.alice.code(do="post", seq="x", envelopes={}), "BAD_USAGE")

    def test_who_came_later(self) -> None:
        """Not by somebody who came in after it was said."""
        seq = self.alice.call(**self.sealed(self.b, self.c))["ok"]["seq"]
        proofs = self.chain.extend(self.a, "add", self.d.account, self.d.public)
        self.alice.call(do="add", room="#deep", user="dave", proofs=proofs)["ok"]
        answer = self.alice.call(do="post", seq=seq, envelopes=envelopes(self.d.devices[0]))["ok"]
        self.assertEqual(answer["none"], [self.d.devices[0].id])

    def test_bounded(self) -> None:
        """So many at once, of such a size, from a device."""
        many = {Device().id: "AAAA" for _ in range(257)}
        self.assertEqual(self.alice.code(do="post", envelopes=many), "TOO_LONG")
        self.assertEqual(self.server.resume("alice").code(do="post", envelopes={}), "NO_DEVICE")


def _busy() -> Any:
    raise Refusal("BUSY")
