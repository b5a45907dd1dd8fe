"""The parts under our composition are what their specifications say, and our own formats stay what they are.

Published vectors: RFC 8032 (Ed25519), RFC 7748 (X25519), RFC 7693 (BLAKE2b). Olm is spoken with libolm, which shares no
line with vodozemac. The frozen vectors are our own: if one changes, what was stored and signed is no longer read.
"""

from __future__ import annotations

import importlib.util
import os
from base64 import b64encode
from hashlib import blake2b

import vodozemac
from nacl.bindings import crypto_scalarmult
from nacl.signing import SigningKey
from twisted.trial.unittest import SynchronousTestCase

from client.crypto import encoding, identity, message, people, prekeys, roomlog
from client.crypto.encoding import digest, pack
from client.crypto.identity import AccountKey, Device
from client.crypto.message import End, Plain


class Seeded:
    """A device whose keys come from one byte, so that what it signs is always the same."""

    def __init__(self, number: int) -> None:
        self.key = SigningKey(bytes([number]) * 32)
        self.id, self.dks, self.dkc = bytes([number]) * 16, bytes(self.key.verify_key), bytes([number + 100]) * 32

    def sign(self, tag: str, record: bytes) -> bytes:
        """An Ed25519 signature."""
        return self.key.sign(encoding.covered(tag, record)).signature


class PublishedTests(SynchronousTestCase):
    """The libraries are the algorithms they are called."""

    def test_ed25519(self) -> None:
        """RFC 8032 §7.1, test 3."""
        seed = bytes.fromhex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7")
        public = "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025"
        signature = (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
        )
        key = SigningKey(seed)
        self.assertEqual(bytes(key.verify_key).hex(), public)
        self.assertEqual(key.sign(b"\xaf\x82").signature.hex(), signature)

    def test_x25519(self) -> None:
        """RFC 7748 §5.2, first vector; and vodozemac's public keys are of the same curve (§6.1)."""
        scalar = bytes.fromhex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4")
        point = bytes.fromhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")
        shared = "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"
        self.assertEqual(crypto_scalarmult(scalar, point).hex(), shared)
        secret = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
        public = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
        made = vodozemac.Curve25519SecretKey.from_bytes(secret).public_key().to_bytes().hex()
        self.assertEqual(made, public)

    def test_blake2b(self) -> None:
        """RFC 7693 appendix A; and our digest is that function, of 32 bytes, personalised."""
        abc = (
            "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1"
            "7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923"
        )
        self.assertEqual(blake2b(b"abc").hexdigest(), abc)
        self.assertEqual(
            digest("chatd-commit", b"abc"), blake2b(b"abc", digest_size=32, person=b"chatd-commit").digest()
        )
        self.assertNotEqual(digest("chatd-commit", b"abc"), digest("chatd-body", b"abc"))


class OlmTests(SynchronousTestCase):
    """vodozemac speaks Olm as libolm does, in both directions."""

    def setUp(self) -> None:
        if importlib.util.find_spec("olm") is None:
            if os.environ.get("CI"):
                self.fail("python-olm is not installed")
            self.skipTest("python-olm is not installed")

    def test_vodozemac_begins(self) -> None:
        """libolm opens what vodozemac sends first, and is answered."""
        import olm

        ours, theirs = vodozemac.Account(), olm.Account()
        theirs.generate_one_time_keys(1)
        their_key, one_time = (
            theirs.identity_keys["curve25519"],
            next(iter(theirs.one_time_keys["curve25519"].values())),
        )
        key = vodozemac.Curve25519PublicKey.from_base64
        session = ours.create_outbound_session(key(their_key), key(one_time))
        _, data = session.encrypt(b"first").to_parts()
        first = olm.OlmPreKeyMessage(b64encode(data).decode().rstrip("="))
        other = olm.InboundSession(theirs, first, ours.curve25519_key.to_base64())
        theirs.remove_one_time_keys(other)
        self.assertEqual(other.decrypt(first), "first")
        for number in range(50):
            answer = other.encrypt(f"answer {number}")
            kind = 0 if isinstance(answer, olm.OlmPreKeyMessage) else 1
            raw = encoding.data(answer.ciphertext + "=" * (-len(answer.ciphertext) % 4))
            self.assertEqual(
                session.decrypt(vodozemac.AnyOlmMessage.from_parts(kind, raw)), f"answer {number}".encode()
            )
            _, data = session.encrypt(b"more").to_parts()
            self.assertEqual(other.decrypt(olm.OlmMessage(b64encode(data).decode().rstrip("="))), "more")

    def test_libolm_begins(self) -> None:
        """vodozemac opens what libolm sends first, by the fallback key."""
        import olm

        ours, theirs = vodozemac.Account(), olm.Account()
        ours.generate_fallback_key()  # type: ignore[attr-defined]
        fallback = next(iter(ours.fallback_key.values())).to_base64()  # type: ignore[attr-defined]
        session = olm.OutboundSession(theirs, ours.curve25519_key.to_base64(), fallback)
        first = session.encrypt("first").ciphertext
        raw = encoding.data(first + "=" * (-len(first) % 4))
        message_ = vodozemac.AnyOlmMessage.from_parts(0, raw).to_pre_key()
        assert message_ is not None
        their_key = vodozemac.Curve25519PublicKey.from_base64(theirs.identity_keys["curve25519"])
        mine, plain = ours.create_inbound_session(their_key, message_)
        self.assertEqual(plain, b"first")
        kind, data = mine.encrypt(b"answer").to_parts()
        self.assertEqual((kind, session.decrypt(olm.OlmMessage(b64encode(data).decode().rstrip("=")))), (1, "answer"))


class FrozenTests(SynchronousTestCase):
    """Our own formats, byte for byte."""

    def setUp(self) -> None:
        self.key = AccountKey(bytes(range(32)))
        self.phone, self.desk = Seeded(1), Seeded(2)
        entries = [identity.entry(device, 7, self.key.public, 1_000) for device in (self.phone, self.desk)]
        first = self.key.sign(7, None, entries[:1], 1_000)
        self.manifest = self.key.without_device(self.key.with_device(first, entries[1], 2_000), self.phone.id, 3_000)

    def frozen(self, data: bytes, wanted: str) -> None:
        """The hash of these bytes is what it was when they were frozen."""
        self.assertEqual(blake2b(data, digest_size=16).hexdigest(), wanted)

    def test_records(self) -> None:
        """An item is its kind, its length in four bytes, and itself."""
        raw = pack("uasbl", 1, 2, "é", b"\x00", [b"x", b""])
        self.assertEqual(
            raw.hex(),
            "75000000080000000000000001" "61000000080000000000000002" "7300000002c3a9" "620000000100"
            "6c0000000b620000000178" "6200000000",
        )  # fmt: skip

    def test_manifest(self) -> None:
        """Three manifests of two devices, the first of which is revoked."""
        self.assertEqual(self.manifest.seq, 3)
        self.frozen(self.manifest.raw, "d7f33d33fee2728c91350fd85b7fb6b9")

    def test_one_time_key(self) -> None:
        """A signed one-time key."""
        self.frozen(
            prekeys.signed_key(self.phone, 7, 5, prekeys.ONE_TIME, bytes(32)), "ff331b86626595a1f90fcfb0bc8a2442"
        )

    def test_room_log(self) -> None:
        """A group that is made, and somebody added."""
        devices = {self.phone.id: identity.entry(self.phone, 7, self.key.public, 1_000)}
        proofs = [roomlog.write(self.phone, None, 7, "create", 5_000, target=7, ak=self.key.public, value="ask #ops")]

        def keys(account: int, ak: bytes, device: bytes) -> Device | None:
            return devices.get(device)

        log = roomlog.replay(proofs, keys, 5_000)
        proofs.append(roomlog.write(self.phone, log, 7, "add", 6_000, target=8, ak=bytes(31) + b"\x01"))
        log = roomlog.replay(proofs, keys, 6_000)
        assert log is not None
        self.frozen(log.head + log.room, "01ad9a68d9b98f700ef697a4ca343cc9")

    def test_header_and_bind(self) -> None:
        """A header of fixed fields, and what an envelope binds to it."""
        about = (1, 1, bytes(32), bytes(16), 7, self.phone.id, 2, bytes(32), "text", bytes(32))
        header = pack("uurmaduhsh", *about)
        sender = End(7, identity.entry(self.phone, 7, self.key.public, 1_000))
        recipient = End(8, identity.entry(self.desk, 8, self.key.public, 1_000))
        self.frozen(header, "9045834f2373136707cdcaa7b8e0a749")
        self.frozen(
            message.envelope(header, bytes(32), bytes(32), sender, recipient), "1c7a974216a91a26dcc5b61947b8ff29"
        )

    def test_body(self) -> None:
        """A message sealed long ago is opened."""
        key, wire = (
            bytes.fromhex("0b894d03ae06aee3f79a9bb84d2503ef34d39f994e56d62381f3ca8800fd4913"),
            bytes.fromhex(
                "00d67500000008000000000000000175000000080000000000000001720000002000000000000000000000000000000000000000000000000000000000000000006d000000100000000000000000000000000000000061000000080000000000000007640000001001010101010101010101010101010101750000000800000000000000026800000020000000000000000000000000000000000000000000000000000000000000000073000000047465787468000000203bbc2942338433beaffa1555e4228d81e2dc390e6c01f06b5ae09a4048f7c922943995e77d04a54337e59566890ecf737a09324fd43618525b52efd2d66498ceb1abffc79c4c9fc411d5a3177aa1a7444ad69447bf15539dc37f734eb5e167aaddab2eaca55f7db9486fa2366375dc0a73bca4044b8eb0300790ff592726f45958bd54d4641fd87219184b8674c42586f17efa81ace2481f724c64b474e91a207734e235a0c34b242e1bd0447ec6db8a98fa713bd0c1b04a228c261999d03bc87e1ff254356c95d96f68c6ebf2e370f2852e7233cb0e9521720ce82f575465612af6734a43bd99acec0da6cb4842bdf76a2ad7f3d2198910a1d43577c4355330b75681a21ff3083cc1870a59e13a4e3952542155bc6a159a5ba311814c2c7c15f463ac3e5c6217e2f63d0c0f2e615c3b25d6d9d8f320c1eb5f9d4162298f8289e63510a28bb5a3f7"
            ),
        )
        sealed, _ = message.from_wire(wire)
        plain = message.unseal(sealed, key)
        about = (bytes(32), bytes(16), 7, self.phone.id, 1, bytes(32), 9_000, 3, bytes(32))
        self.assertEqual(plain, Plain(*about, {"text": "hällo"}))

    def test_safety_number(self) -> None:
        """60 digits, the same from both sides."""
        other = AccountKey(bytes(32)).public
        number = people.safety_number(7, self.key.public, 8, other)
        self.assertEqual(number, people.safety_number(8, other, 7, self.key.public))
        self.assertEqual(
            people.grouped(number), "09896 48107 21481 88208 88459 07948 82536 62119 25065 00307 56651 65951"
        )

    def test_direct_room(self) -> None:
        """The room of two is the same whoever opens it, and no other two's."""
        self.assertEqual(message.direct_room(7, 8), message.direct_room(8, 7))
        self.frozen(message.direct_room(7, 8), "56add377e7f6b6d989b8448e5ec63e2b")

    def test_device_code(self) -> None:
        """What a new device shows."""
        entry = identity.entry(self.desk, 7, self.key.public, 1_000).entry()
        self.assertEqual(people.device_code(7, self.key.public, entry), "Y4LZ-GJ4V-5OJW-EV57")
