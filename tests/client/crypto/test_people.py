"""Account keys, devices, trust, recovery, linking, groups: what people do, without a liar."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chatd.model import Door, Role
from client.answers import Refused
from client.courier import Unsent
from client.crypto import encoding, identity, message, people
from client.crypto.encoding import Forged, Malformed, pack, unpack
from client.crypto.identity import AccountKey, Change, News, Trust
from client.crypto.roomlog import Unjustified, step
from client.findings import Note, Warn
from tests.client.crypto.world import Party, run, settle, trio


class EncodingTests(SynchronousTestCase):
    """One record, one sequence of bytes."""

    def test_round_trip(self) -> None:
        """What is packed is unpacked, to the byte."""
        values = [7, b"\x01" * 16, "hällo", b"", [b"one", b""], 1 << 63]
        self.assertEqual(unpack("adsblu", pack("adsblu", *values)), values)

    def test_nothing_but_the_record(self) -> None:
        """Cut short, longer, of another kind, or with a wrong length in it: refused."""
        raw = pack("as", 7, "x")
        wrong = [raw[:-1], raw + b"\x00", pack("us", 7, "x"), raw[:5], b"", raw[:1] + b"\xff" * 4 + raw[5:]]
        wrong.append(pack("ab", 7, b"\xff").replace(b"b\x00", b"s\x00"))
        for bad in wrong:
            with self.assertRaises(Malformed):
                unpack("as", bad)

    def test_one_tag_is_not_another(self) -> None:
        """What was signed as one kind of object is no signature of another."""
        key = identity.AccountKey()
        from nacl.signing import SigningKey

        signer = SigningKey(key.seed)
        signature = signer.sign(encoding.covered("chatd/otk/1", b"x")).signature
        encoding.verify("chatd/otk/1", key.public, b"x", signature)
        for tag, record in (("chatd/fallback/1", b"x"), ("chatd/otk/1", b"y")):
            with self.assertRaises(Forged):
                encoding.verify(tag, key.public, record, signature)

    def test_base64_is_one_form(self) -> None:
        """Only the one base64 of the right length."""
        self.assertEqual(encoding.data("AAA=", 2), b"\x00\x00")
        for bad in ("AAB=", "AAA", "A A=", "AAA=\n", None, 7, "AAAA"):
            with self.assertRaises(Malformed):
                encoding.data(bad, 2)


class MessageTests(SynchronousTestCase):
    """A sealed body."""

    def test_sizes(self) -> None:
        """64, 128, 256, 512, then at most 12 % more."""
        self.assertEqual([message.padded(size) for size in (1, 64, 65, 129, 512)], [64, 64, 128, 256, 512])
        for size in range(513, 70_000, 97):
            self.assertTrue(size <= message.padded(size) <= size * 1.12)

    def test_unknown_suite(self) -> None:
        """A version or suite not known here is refused, whatever else fits."""
        for about in ((2, 1), (1, 2)):
            header = pack("uurmaduhsh", *about, bytes(32), bytes(16), 1, bytes(16), 0, bytes(32), "text", bytes(32))
            with self.assertRaises(Malformed):
                message.from_wire(len(header).to_bytes(2, "big") + header)


class PeopleTests(SynchronousTestCase):
    """alice, bob and carol."""

    def setUp(self) -> None:
        self.server, self.alice, self.bob, self.carol = trio()

    def test_verify(self) -> None:
        """Both read the same 60 digits; typed in, with spaces or without, they make bob verified."""
        room = self.alice.dm(self.bob)
        for one, other in ((self.alice, self.bob), (self.bob, self.alice)):
            one.say(room, "hi")
            settle(one, other)
        number = self.alice.keys.safety(2)
        assert number is not None
        self.assertEqual(number, self.bob.keys.safety(1))
        self.assertRegex(number, r"^\d{60}$")
        self.assertIs(self.alice.keys.trust(2), Trust.TOFU)
        with self.alice.store.atomic():
            self.assertFalse(self.alice.keys.verify(2, number[::-1]))
            self.assertTrue(self.alice.keys.verify(2, people.grouped(number)))
        self.assertIs(self.alice.keys.trust(2), Trust.VERIFIED)

    def reset(self, old: Party) -> Party:
        """Somebody lost everything and began anew."""
        before = identity.read(self.server.manifests[old.account][-1])
        new = Party(self.server, old.account, old.name, first=False)
        with new.store.atomic():
            new.keys.learn(old.account, [before.raw])
            manifest, _ = new.keys.begin(self.server.now, before)
        self.server.do_publish(new, {"manifest": encoding.text(manifest.raw)})
        new.refill()
        return new

    def test_a_changed_key(self) -> None:
        """Nothing is sent until it is accepted; what comes meanwhile is not shown; then both go on."""
        room = self.alice.dm(self.bob)
        self.alice.say(room, "to the old bob")
        settle(self.alice, self.bob)
        bob = self.reset(self.bob)
        with bob.store.atomic():
            bob.keys.book.put("direct", str(room), 1)
        with self.assertRaises(Unsent):
            self.alice.say(room, "stopped")
        self.assertIs(self.alice.keys.trust(2), Trust.CHANGED)
        bob.say(room, "it is me")
        settle(self.alice, bob)
        self.assertNotIn("it is me", self.alice.texts)
        self.assertEqual(self.alice.warns, [Warn.CHANGED])
        with self.alice.store.atomic():
            self.assertTrue(self.alice.keys.accept(2))
        self.alice.say(room, "welcome back")
        settle(self.alice, bob)
        self.assertEqual(bob.texts, ["welcome back"])

    def test_a_changed_key_that_was_verified(self) -> None:
        """Who was verified is not simply accepted: the number is to be compared again."""
        room = self.alice.dm(self.bob)
        self.alice.say(room, "hi")
        number = self.alice.keys.safety(2) or ""
        with self.alice.store.atomic():
            self.assertTrue(self.alice.keys.verify(2, number))
        self.reset(self.bob)
        run(self.alice.courier.learn(2))
        with self.alice.store.atomic():
            self.assertFalse(self.alice.keys.accept(2))
            self.assertFalse(self.alice.keys.verify(2, number))
            self.assertIs(self.alice.keys.trust(2), Trust.CHANGED)
            self.assertTrue(self.alice.keys.verify(2, self.alice.keys.safety(2) or ""))
        self.assertIs(self.alice.keys.trust(2), Trust.VERIFIED)

    def test_a_changed_key_in_a_group(self) -> None:
        """The others are written to; whose key changed is left out, and it is said."""
        room = self.alice.create("#ops", self.bob, self.carol)
        settle(self.alice, self.bob, self.carol)
        bob = self.reset(self.bob)
        self.alice.say(room, "hello")
        settle(self.alice, self.carol, bob)
        self.assertEqual((self.carol.texts, bob.texts), (["hello"], []))
        self.assertIn(Note(Warn.CHANGED, room, 2), self.alice.told)

    def test_recovery(self) -> None:
        """The code and the server's blob bring back the account key and the pins: nobody sees a change."""
        room = self.alice.dm(self.bob)
        self.alice.say(room, "hi")
        settle(self.alice, self.bob)
        with self.alice.store.atomic():
            self.alice.keys.verify(2, self.alice.keys.safety(2) or "")
        blob = self.alice.keys.recovery_blob()
        assert blob is not None
        new = Party(self.server, 1, "alice", first=False)
        before = identity.read(self.server.manifests[1][-1])
        for typed in (self.bob.code, "no code", self.alice.code[:-1]):
            with self.assertRaises((Forged, Malformed)):
                new.keys.recover(typed, blob, before, self.server.now)
        with new.store.atomic():
            manifest = new.keys.recover(self.alice.code.lower(), blob, before, self.server.now)
        new.publish(manifest)
        new.refill()
        self.assertIs(new.keys.trust(2), Trust.VERIFIED)
        run(self.bob.courier.learn(1))
        self.assertEqual(self.bob.told[-1], News(1, Change.DEVICE, new.keys.own.id))
        self.bob.say(room, "to both")
        with new.store.atomic():
            new.keys.book.put("direct", str(room), 2)
        settle(new)
        self.assertEqual(new.texts[-1:], ["to both"])

    def test_recovery_behind_a_lie(self) -> None:
        """What the blob says of somebody stands before another key, shown to the new device before it was opened."""
        with self.alice.store.atomic():
            run(self.alice.courier.meet([2]))
            self.alice.keys.verify(2, self.alice.keys.safety(2) or "")
        blob = self.alice.keys.recovery_blob()
        assert blob is not None
        for lied in (True, False):
            new = Party(self.server, 1, "alice", first=False)
            key, honest = AccountKey(), self.server.manifests[2][:]
            if lied:
                entry = identity.entry(self.carol.keys.own, 2, key.public, self.server.now)
                self.server.manifests[2] = [key.sign(2, None, [entry], self.server.now).raw]
            run(new.courier.meet([2]))
            self.server.manifests[2] = honest
            before = identity.read(self.server.manifests[1][-1])
            with new.store.atomic():
                new.publish(new.keys.recover(self.alice.code, blob, before, self.server.now))
            self.assertIs(new.keys.trust(2), Trust.CHANGED if lied else Trust.VERIFIED)

    def test_linking(self) -> None:
        """A new device shows a code; only with that very code does the primary one sign it."""
        phone = Party(self.server, 1, "alice", first=False)
        ak = identity.read(self.server.manifests[1][-1]).ak
        entry, code = phone.keys.entry(ak, self.server.now)
        _, other = self.bob.keys.entry(ak, self.server.now)
        self.assertIsNone(self.alice.keys.link(other, entry, self.server.now))
        _, lied_to = phone.keys.entry(bytes(32), self.server.now)
        self.assertIsNone(self.alice.keys.link(lied_to, entry, self.server.now))
        manifest = self.alice.keys.link(f" {code.lower()} ", entry, self.server.now)
        assert manifest is not None
        self.alice.publish(manifest)
        self.assertIn(phone.keys.own.id, manifest.devices)

    def test_a_new_device_changes_a_group(self) -> None:
        """An entry that is signed by a device of which its reader has not heard yet is no forgery: its person's newest
        manifest is fetched first.
        """
        room = self.alice.create("#ops", self.bob)
        settle(self.alice, self.bob)
        phone = Party(self.server, 1, "alice", first=False)
        entry, code = phone.keys.entry(identity.read(self.server.manifests[1][-1]).ak, self.server.now)
        manifest = self.alice.keys.link(code, entry, self.server.now)
        assert manifest is not None
        self.alice.publish(manifest)
        run(phone.courier.learn(1))
        phone.change(room, "promote", 2)
        settle(self.bob)
        log = self.bob.sealing.log(room, self.server.now)
        assert log is not None
        self.assertEqual((log.seq, self.bob.warns), (3, []))

    def test_own_devices_hear_each_other(self) -> None:
        """What I write on one device is there on my other one, as mine."""
        phone = Party(self.server, 1, "alice", first=False)
        entry, code = phone.keys.entry(identity.read(self.server.manifests[1][-1]).ak, self.server.now)
        manifest = self.alice.keys.link(code, entry, self.server.now)
        assert manifest is not None
        self.alice.publish(manifest)
        phone.refill()
        room = self.alice.create("#ops", self.bob)
        settle(self.alice, self.bob)
        self.alice.say(room, "mine")
        settle(phone, self.alice, self.bob)
        self.assertEqual(phone.shown, [(1, "mine", None)])


class GroupTests(SynchronousTestCase):
    """What a signed room log says."""

    def setUp(self) -> None:
        self.server, self.alice, self.bob, self.carol = trio()
        self.room = self.alice.create("#ops", self.bob, self.carol)
        settle(self.alice, self.bob, self.carol)

    def log(self, party: Party) -> dict[int, Role]:
        """Who is what, as somebody sees it."""
        log = party.sealing.log(self.room, self.server.now)
        assert log is not None
        return {account: member.role for account, member in log.members.items()}

    def test_everything_an_admin_does(self) -> None:
        """Each change is one entry, and all see the same."""
        for action, target, value in (
            ("promote", 2, ""), ("door", 0, "open"), ("name", 0, "#dev"), ("ban", 3, ""), ("unban", 3, ""),
            ("add", 3, ""), ("demote", 2, ""), ("transfer", 2, ""),
        ):  # fmt: skip
            self.alice.change(self.room, action, target, value)
            settle(self.alice, self.bob, self.carol)
        wanted = {1: Role.MEMBER, 2: Role.OWNER, 3: Role.MEMBER}
        self.assertEqual([self.log(party) for party in (self.alice, self.bob)], [wanted, wanted])
        log = self.bob.sealing.log(self.room, self.server.now)
        assert log is not None
        self.assertEqual((log.name, log.door, log.seq), ("#dev", Door.OPEN, 11))

    def test_succession(self) -> None:
        """The owner's signed leave makes the longest-serving admin owner, else the longest-serving member."""
        self.alice.change(self.room, "promote", 3)
        settle(self.alice, self.bob, self.carol)
        self.alice.change(self.room, "leave")
        settle(self.alice, self.bob, self.carol)
        self.assertEqual(self.log(self.bob), {2: Role.MEMBER, 3: Role.OWNER})
        self.carol.change(self.room, "leave")
        settle(self.bob, self.carol)
        self.assertEqual(self.log(self.bob), {2: Role.OWNER})

    def test_racing_admins(self) -> None:
        """Two admins at the same moment: the one who is late signs anew, and both changes are there."""
        self.alice.change(self.room, "promote", 2)
        settle(self.alice, self.bob, self.carol)
        dave = Party(self.server, 4, "dave")
        run(self.alice.courier.meet([4]))
        run(self.bob.courier.meet([4]))
        stale = run(self.bob.courier.prove(self.room, "door", value="open"))
        self.alice.change(self.room, "add", 4)
        with self.assertRaises(Refused):
            self.server.call(self.bob, {"do": "change", "room": self.room, "proofs": [stale]})
        self.bob.change(self.room, "door", value="open")
        settle(self.alice, self.bob, self.carol, dave)
        log = self.carol.sealing.log(self.room, self.server.now)
        assert log is not None
        self.assertEqual((log.door, 4 in log.members), (Door.OPEN, True))

    def test_a_message_to_a_stale_view(self) -> None:
        """Somebody was removed between looking and sending: the message is encrypted anew, without them."""
        run(self.bob.courier.room(self.room))
        self.alice.change(self.room, "remove", 3)
        self.bob.say(self.room, "without carol")
        settle(self.alice, self.bob, self.carol)
        self.assertEqual((self.alice.texts, self.carol.texts), (["without carol"], []))

    def test_a_newcomer_reads_nothing_older(self) -> None:
        """What was said before somebody came is not opened by them, even where the server shows it."""
        self.alice.say(self.room, "before")
        old = [line for line in self.server.lines if line["ev"] == "say"]
        settle(self.alice, self.bob, self.carol)
        dave = Party(self.server, 4, "dave")
        run(self.alice.courier.meet([4]))
        self.alice.change(self.room, "add", 4)
        self.alice.say(self.room, "after")
        settle(self.alice, self.bob, self.carol, dave)
        self.assertEqual(dave.texts, ["after"])
        dave.show({**old[0], "seq": 900})
        self.assertEqual(dave.texts, ["after"])

    def test_a_revoked_device_signs_nothing_more(self) -> None:
        """An entry that is newer than its device's revocation is refused; one that is older stays good."""
        before = self.alice.sealing.log(self.room, self.server.now)
        assert before is not None
        proof = encoding.data(run(self.alice.courier.prove(self.room, "door", value="open")))
        self.server.now += 1_000
        phone = Party(self.server, 1, "alice", first=False)
        entry, code = phone.keys.entry(identity.read(self.server.manifests[1][-1]).ak, self.server.now)
        manifest = self.alice.keys.link(code, entry, self.server.now)
        assert manifest is not None
        self.alice.publish(manifest)
        revoked = self.alice.keys.revoke(self.alice.keys.own.id, self.server.now)
        assert revoked is not None
        self.alice.publish(revoked)
        run(self.bob.courier.learn(1))
        late = encoding.data(run(self.alice.courier.prove(self.room, "door", value="invite")))
        with self.assertRaises(Unjustified):
            step(before, late, self.bob.keys.device, self.server.now)
        self.assertIs(step(before, proof, self.bob.keys.device, self.server.now).door, Door.OPEN)

    def test_the_last_one_closes(self) -> None:
        """When nobody is left the group is closed, and nothing follows."""
        for party in (self.bob, self.carol, self.alice):
            party.change(self.room, "leave")
            settle(self.alice, self.bob, self.carol)
        log = self.alice.sealing.log(self.room, self.server.now)
        assert log is not None
        self.assertTrue(log.closed)
