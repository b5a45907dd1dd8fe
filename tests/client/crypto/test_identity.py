"""What may follow a manifest, and what is an alarm (E2E.md §1): the pure rule, case by case."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from client.crypto import identity
from client.crypto.encoding import Forged, Malformed, covered, pack
from client.crypto.identity import AccountKey, Alarm, Change, Manifest, News, follow, follows
from tests.client.crypto.test_vectors import Seeded


class ManifestTests(SynchronousTestCase):
    """bob's account key, and three devices."""

    def setUp(self) -> None:
        self.key = AccountKey(bytes(32))
        self.devices = [identity.entry(Seeded(number), 2, self.key.public, 1) for number in (1, 2, 3)]
        self.first = self.key.sign(2, None, self.devices[:1], 1)
        self.second = self.key.with_device(self.first, self.devices[1], 2)
        self.third = self.key.without_device(self.second, self.devices[0].id, 3)

    def test_one_after_the_other(self) -> None:
        """A device more, a device revoked: believed, and told."""
        person, news = follow(None, 2, [self.first.raw, self.second.raw, self.third.raw])
        assert person is not None
        self.assertEqual(person.manifest, self.third)
        ids = [device.id for device in self.devices]
        wanted = [News(2, Change.FIRST), News(2, Change.DEVICE, ids[1]), News(2, Change.REVOKED, ids[0])]
        self.assertEqual(news, wanted)
        self.assertEqual([device.id for device in self.third.live], [ids[1]])

    def alarm(self, known: Manifest, shown: Manifest | bytes) -> Alarm | Change:
        """What is told when this is shown to who knows that; nothing is believed."""
        raw = shown if isinstance(shown, bytes) else shown.raw
        person = identity.Person(known)
        after, news = follow(person, 2, [raw])
        self.assertEqual(after, person)
        return news[-1].what

    def test_alarms(self) -> None:
        """Older, in the place of another, skipping one, of another generation, of another account."""
        stranger = AccountKey()
        entries = [identity.entry(Seeded(9), 2, stranger.public, 1)]
        self.assertIs(self.alarm(self.third, self.second), Alarm.ROLLED_BACK)
        self.assertIs(self.alarm(self.second, self.key.sign(2, self.first, self.devices[:1], 7)), Alarm.FORKED)
        self.assertIs(self.alarm(self.first, self.third), Alarm.FORKED)
        self.assertIs(self.alarm(self.first, stranger.sign(2, None, entries, 7)), Alarm.FORKED)
        other = self.key.sign(3, None, [identity.entry(Seeded(9), 3, self.key.public, 1)], 7)
        self.assertIs(self.alarm(self.first, other), Alarm.FORGED)

    def test_a_signature_that_is_not_good(self) -> None:
        """One bit of record or signature: an alarm, and nothing of it is read."""
        for at in (10, 60, 130, len(self.second.raw) - 1):
            raw = bytearray(self.second.raw)
            raw[at] ^= 1
            self.assertIs(self.alarm(self.first, bytes(raw)), Alarm.FORGED)

    def test_signed_by_another_key(self) -> None:
        """A list that names bob's key and was signed by another one."""
        record = self.second.raw[:-64]
        from nacl.signing import SigningKey

        forged = record + SigningKey.generate().sign(covered(identity.MANIFEST, record)).signature
        with self.assertRaises(Forged):
            identity.read(forged)
        self.assertIs(self.alarm(self.first, forged), Alarm.FORGED)

    def test_devices_stay(self) -> None:
        """Under one key no device disappears, gets other keys, or is revoked no more."""
        gone = self.key.sign(2, self.second, self.devices[1:2], 3)
        self.assertIs(follows(self.second, gone), Alarm.FORGED)
        swapped = self.devices[0]._replace(dkc=bytes(31) + b"\x07")
        with self.assertRaises(Forged):
            self.key.sign(2, self.second, [swapped, self.devices[1]], 3)
        again = self.key.sign(2, self.third, self.devices[:2], 4)
        self.assertIs(follows(self.third, again), Alarm.ROLLED_BACK)

    def test_unknown_suite(self) -> None:
        """A device of a suite that is not known here is refused, never negotiated down."""
        strange = self.devices[0]._replace(suite=2)
        with self.assertRaises(Malformed):
            self.key.sign(2, None, [strange], 1)

    def test_any_bytes(self) -> None:
        """Whatever comes, it is refused as such."""
        for raw in (b"", b"\x00" * 200, pack("akuuhtl", 2, bytes(32), 1, 1, bytes(32), 1, []), self.first.raw + b"x"):
            with self.assertRaises((Malformed, Forged)):
                identity.read(raw)
