"""Keys on the server: manifests, devices, prekeys, claims, the vault, linking (E2E.md §1 to §3, §8)."""

from __future__ import annotations

from base64 import b64decode
from pathlib import Path
from typing import Any

from nacl.signing import SigningKey
from twisted.trial.unittest import SynchronousTestCase

from tests.memory import PASSWORD, Client, Server, instances, settings
from tests.sealing import ZEROS, Device, Keys, b64, bind, digest, envelopes, equip, found, publish


class Base(SynchronousTestCase):
    """alice and bob, each a program with one device; they share nothing yet."""

    def setUp(self) -> None:
        self.server = Server(Path(self.mktemp()))
        self.addCleanup(self.server.stop)
        self.alice, self.bob = self.server.program("alice"), self.server.program("bob")
        self.a, self.b = equip(self.alice), equip(self.bob)

    def limit(self, **limits: Any) -> None:
        """Other limits from now on."""
        self.server.instance.settings = settings(**limits)
        for protocol in self.server.factory.connections:
            protocol.session.renew()

    def another(self, name: str) -> Client:
        """The same person, logged in once more."""
        return self.server.resume(name)


class PublishTests(Base):
    """Manifests: one chain an account, in order."""

    def test_first(self) -> None:
        """The first manifest is number 1 and follows nothing; the answer has its hash, and one's own sessions hear."""
        carol = self.server.program("carol")
        keys = Keys(carol.welcome["account"])
        manifest = keys.manifest()
        answer = carol.call(do="publish", manifest=manifest)["ok"]
        wanted = b64(digest(b64decode(manifest), "manifest"))
        self.assertEqual((answer["manifest"], answer["hash"]), (1, wanted))
        (event,) = carol.events()
        self.assertEqual((event["ev"], event["room"], event["seq"]), ("keys", "inbox", answer["seq"]))
        self.assertEqual(event["data"], {"manifest": 1, "hash": wanted})
        self.assertEqual(self.bob.events(), [])

    def test_again(self) -> None:
        """The same manifest once more is answered as before and makes nothing: an answer may have been lost."""
        self.a.devices.append(Device())
        manifest = self.a.manifest()
        first = self.alice.call(do="publish", manifest=manifest)["ok"]
        newest = self.server.sql("SELECT max(seq) FROM event")
        again = self.alice.call(do="publish", manifest=manifest)["ok"]
        self.assertEqual((again["manifest"], again["hash"]), (first["manifest"], first["hash"]))
        self.assertEqual(self.server.sql("SELECT max(seq) FROM event"), newest)

    def test_compare_and_swap(self) -> None:
        """One of two that follow the same manifest is refused with the hash that it should have followed."""
        self.a.devices.append(Device())
        one = self.a.manifest()
        self.a.devices.append(Device())
        two = self.a.manifest()
        self.alice.call(do="publish", manifest=one)["ok"]
        error = self.alice.call(do="publish", manifest=two)["error"]
        head = b64(digest(b64decode(one), "manifest"))
        self.assertEqual((error["code"], error["with"]), ("STALE", {"head": head, "missing": [], "extra": []}))
        for other in ({"seq": 1}, {"seq": 4}, {"before": ZEROS}):
            self.assertEqual(self.alice.code(do="publish", manifest=self.a.manifest(**other)), "STALE", other)

    def test_all_are_kept(self) -> None:
        """Every manifest can be read again, by anybody, past the ones that one has."""
        for _ in range(3):
            self.a.devices.append(Device())
            publish(self.alice, self.a)
        answer = self.bob.call(do="manifest", user="alice")["ok"]
        self.assertEqual([one["seq"] for one in answer["manifests"]], [1, 2, 3, 4])
        self.assertEqual((answer["account"], answer["name"], answer["more"]), (self.a.account, "alice", False))
        later = self.bob.call(do="manifest", user=self.a.account, since=3)["ok"]["manifests"]
        self.assertEqual(later, answer["manifests"][3:])
        self.assertEqual(later[0]["hash"], b64(self.a.hash))
        self.server.program("carol")
        self.assertEqual(self.bob.call(do="manifest", user="carol")["ok"]["manifests"], [])

    def test_newest_of_many(self) -> None:
        """The newest manifests of several people come at once; who never had any, or is nobody, is named."""
        self.server.program("carol")
        answer = self.bob.call(do="manifests", people=["alice", "carol", 99, self.b.account])["ok"]
        self.assertEqual([one["name"] for one in answer["manifests"]], ["alice", "bob"])
        self.assertEqual(answer["none"], ["carol", 99])
        self.assertEqual(self.bob.call(do="manifests", people=[])["ok"], {"manifests": [], "none": []})

    def test_what_does_not_fit(self) -> None:
        """Another's account, another signature, another generation, no manifest at all: nothing is kept."""
        forged = self.a.manifest()
        raw = bytearray(b64decode(forged))
        raw[-1] ^= 1
        stranger = self.a.manifest(account=self.b.account)
        for what, manifest in (
            ("manifest", b64(bytes(raw))),
            ("manifest", b64(b"x" * 100)),
            ("manifest", b64(raw[:90])),
            ("account", stranger),
            ("generation", self.a.manifest(generation=2)),
            ("base64", "????"),
            ("base64", forged + "\n"),
        ):
            error = self.alice.call(do="publish", manifest=manifest)["error"]
            self.assertEqual((error["code"], error["with"]), ("BAD_PROOF", {"what": what}), manifest[:20])
        self.assertEqual(self.server.sql("SELECT count(*) FROM manifest"), [(2,)])

    def test_devices_are_one_persons(self) -> None:
        """A device's id is one account's for ever, with one key; revoked, it does not come back."""
        thief = Keys(self.b.account, self.b.ak, [self.a.devices[0]], 1, 1, self.b.hash)
        self.assertEqual(self.bob.code(do="publish", manifest=thief.manifest()), "BAD_PROOF")
        old = Device()
        self.a.devices.append(old)
        publish(self.alice, self.a)
        key, old.key = old.key, SigningKey.generate()
        self.assertEqual(self.alice.code(do="publish", manifest=self.a.manifest()), "BAD_PROOF")
        old.key, old.revoked = key, 1
        publish(self.alice, self.a)
        old.revoked = 0
        self.assertEqual(self.alice.code(do="publish", manifest=self.a.manifest()), "BAD_PROOF")

    def test_limits(self) -> None:
        """So many devices, and manifests of such a length, and no more."""
        self.limit(account_devices=2)
        self.a.devices += [Device(), Device()]
        self.assertEqual(self.alice.code(do="publish", manifest=self.a.manifest()), "TOO_LONG")
        self.limit(manifest_characters=100)
        self.assertEqual(self.alice.code(do="publish", manifest=self.a.manifest()), "TOO_LONG")

    def test_a_group_may_be_full(self) -> None:
        """A device more than a sealed group of one's own may hold is refused, and the manifest with it."""
        found(self.alice, self.a, "#deep", [self.b])
        self.limit(sealed_devices=2)
        self.b.devices.append(Device())
        error = self.bob.call(do="publish", manifest=self.b.manifest())["error"]
        self.assertEqual((error["code"], error["with"]), ("LIMIT", {"room": "#deep"}))
        self.assertEqual(self.server.sql("SELECT count(*) FROM device"), [(2,)])

    def test_reset(self) -> None:
        """With another account key the chain goes on, one generation later, and the devices of before are gone."""
        old = self.a.devices[0]
        new = Keys(self.a.account, generation=2, seq=1, hash=self.a.hash)
        other = self.another("alice")
        publish(other, new)
        self.assertEqual([one["seq"] for one in self.bob.call(do="manifest", user="alice")["ok"]["manifests"]], [1, 2])
        self.assertEqual(other.code(do="bind", device=old.id), "NO_DEVICE")
        self.assertTrue(self.alice.closed)

    def test_revoked(self) -> None:
        """What a device had here goes when it is revoked: keys, envelopes and logins, wherever it is connected."""
        second = Device()
        self.a.devices.append(second)
        publish(self.alice, self.a)
        laptop = self.another("alice")
        bind(laptop, self.a, second, stock=3)
        laptop.events()
        self.alice.call(do="post", envelopes=envelopes(second))["ok"]
        token = laptop.welcome["token"]
        second.revoked = 1
        publish(self.alice, self.a)
        self.assertTrue(laptop.closed)
        self.assertFalse(self.alice.closed)
        self.assertEqual(self.server.connect().code(do="hello", token=token), "NOT_LOGGED_IN")
        for table in ("prekey", "envelope"):
            self.assertEqual(self.server.sql(f"SELECT count(*) FROM {table}"), [(0,)])

    def test_deleted_account(self) -> None:
        """With the account go its devices, keys and vault; its manifests stay for others to look back."""
        self.bob.call(do="vault", blob="AAAA")["ok"]
        self.bob.call(do="stock", keys=self.b.devices[0].prekeys(self.b.account, 2))["ok"]
        self.bob.call(do="delete-account", password="Correct7horse")["ok"]
        self.assertEqual(self.server.sql("SELECT count(*) FROM prekey"), [(0,)])
        self.assertEqual(self.server.sql("SELECT count(*) FROM vault"), [(0,)])
        self.assertEqual(self.server.sql("SELECT count(*) FROM device WHERE revoked IS NULL"), [(1,)])
        self.assertEqual(self.server.sql("SELECT count(*) FROM manifest"), [(2,)])


class BindTests(Base):
    """A session that is a device."""

    def test_bind(self) -> None:
        """A session is a device of its own account's newest manifest, or none."""
        stranger = self.another("alice")
        for device in (self.b.devices[0].id, Device().id, "x", 7):
            self.assertEqual(stranger.code(do="bind", device=device), "NO_DEVICE", device)
        answer = stranger.call(do="bind", device=self.a.devices[0].id)["ok"]
        self.assertEqual(answer, {"device": self.a.devices[0].id, "left": 0, "newest": 0, "fallback": 0})

    def test_hello(self) -> None:
        """A token and a device come in together; a device that is none leaves the token as it was."""
        token = self.another("alice").welcome["token"]
        other = self.server.connect()
        self.assertEqual(other.code(do="hello", token=token, device=Device().id), "NO_DEVICE")
        answer = other.call(do="hello", token=token, device=self.a.devices[0].id, table="no")["ok"]
        self.assertEqual((answer["device"], answer["left"]), (self.a.devices[0].id, 0))
        self.assertEqual(answer["default_door"], "ask")
        self.assertEqual(other.code(do="post", envelopes={}), "ok")

    def test_login(self) -> None:
        """A password and a device come in together, too; with a device that is none, nobody has come in."""
        other, who = self.server.connect(), {"name": "alice", "password": PASSWORD}
        self.assertEqual(other.code(do="login", **who, device=Device().id), "NO_DEVICE")
        self.assertEqual(other.code(do="login", **who, device=self.b.devices[0].id), "NO_DEVICE")
        answer = other.call(do="login", **who, device=self.a.devices[0].id)["ok"]
        self.assertEqual((answer["device"], answer["left"]), (self.a.devices[0].id, 0))
        self.assertEqual(other.code(do="post", envelopes={}), "ok")

    def test_before_login(self) -> None:
        """Nobody has no devices."""
        self.assertEqual(self.server.connect().code(do="bind", device=self.a.devices[0].id), "NOT_LOGGED_IN")

    def test_people_on_telnet_have_none(self) -> None:
        """A connection that shows lines to a person is no device, whatever it types."""
        typist = self.server.back("alice")
        typist.type(f"/bind {self.a.devices[0].id}")
        found(self.alice, self.a, "#deep", [self.b])
        self.assertEqual(
            typist.type("/say #deep hi")[-1], "#deep is end-to-end encrypted; this connection cannot decrypt. Use chat."
        )

    def test_no_longer_after_logging_out(self) -> None:
        """Who logs out is no device any more; who then logs in on the same connection is not that one."""
        self.alice.call(do="logout")["ok"]
        self.alice.call(do="login", name="alice", password="Correct7horse")["ok"]
        self.assertEqual(self.alice.code(do="stock"), "NO_DEVICE")


class StockTests(Base):
    """One-time keys and fallbacks."""

    def setUp(self) -> None:
        super().setUp()
        self.device = self.a.devices[0]

    def test_stock(self) -> None:
        """Keys are counted; a key once seen never comes again, so an upload may be repeated."""
        keys = self.device.prekeys(self.a.account, 3)
        self.assertEqual(self.alice.call(do="stock")["ok"], {"left": 0, "newest": 0, "fallback": 0})
        self.assertEqual(self.alice.call(do="stock", keys=keys)["ok"], {"left": 3, "newest": 3, "fallback": 0})
        self.alice.call(do="dm", user="bob")["ok"]
        self.bob.call(do="claim", devices=[self.device.id])["ok"]
        self.assertEqual(self.alice.call(do="stock", keys=keys)["ok"]["left"], 2)

    def test_fallback(self) -> None:
        """There is one fallback; a newer one takes its place, an older one does not."""
        old, new = (self.device.prekeys(self.a.account, 1, "fallback")[0] for _ in range(2))
        self.assertEqual(self.alice.call(do="stock", fallback=new)["ok"]["fallback"], 2)
        self.assertEqual(self.alice.call(do="stock", fallback=old)["ok"]["fallback"], 2)
        self.assertEqual(self.server.sql("SELECT fallback FROM device WHERE id = 1"), [(new,)])

    def test_too_many(self) -> None:
        """More than fifty are refused as a whole."""
        keys = self.device.prekeys(self.a.account, 51)
        self.assertEqual(self.alice.code(do="stock", keys=keys), "TOO_LONG")
        self.assertEqual(self.alice.call(do="stock", keys=keys[:50])["ok"]["left"], 50)
        self.assertEqual(self.alice.code(do="stock", keys=keys[50:]), "TOO_LONG")
        self.assertEqual(self.server.sql("SELECT count(*) FROM prekey"), [(50,)])

    def test_whose(self) -> None:
        """A device leaves its own keys here and nobody else's, each as what it is."""
        mine, fallback = (
            self.device.prekeys(self.a.account, 1)[0],
            self.device.prekeys(self.a.account, 1, "fallback")[0],
        )
        theirs = self.b.devices[0].prekeys(self.b.account, 1)[0]
        other = Device().prekeys(self.a.account, 1)[0]
        for fields in (
            {"keys": [theirs]},
            {"keys": [mine, other]},
            {"keys": [fallback]},
            {"fallback": mine},
            {"keys": [b64(b"x" * 150)]},
            {"keys": ["x"]},
            {"keys": [7]},
        ):
            self.assertEqual(self.alice.code(do="stock", **fields), "BAD_PROOF", fields)
        self.assertEqual(self.alice.code(do="stock", keys=["A" * 2000]), "TOO_LONG")
        self.assertEqual(self.another("alice").code(do="stock", keys=[mine]), "NO_DEVICE")
        self.assertEqual(self.server.sql("SELECT count(*) FROM prekey"), [(0,)])

    def test_signed(self) -> None:
        """Whoever has only a session of the account leaves no key in its device's name, and uses up none of its ids."""
        forger = Device()
        forger.raw = self.device.raw
        forger.keys = (1 << 63) - 2
        keys = forger.prekeys(self.a.account, 1)
        forger.keys = (1 << 63) - 2
        for fields in ({"keys": keys}, {"fallback": forger.prekeys(self.a.account, 1, "fallback")[0]}):
            error = self.alice.call(do="stock", **fields)["error"]
            self.assertEqual((error["code"], error["with"]), ("BAD_PROOF", {"what": "signature"}))
        self.assertEqual(self.alice.call(do="stock")["ok"], {"left": 0, "newest": 0, "fallback": 0})


class ClaimTests(Base):
    """Handing keys out: each one-time key once."""

    def setUp(self) -> None:
        super().setUp()
        self.device = self.a.devices[0]
        self.keys = self.device.prekeys(self.a.account, 2)
        (self.spare,) = self.device.prekeys(self.a.account, 1, "fallback")
        self.alice.call(do="stock", keys=self.keys, fallback=self.spare)["ok"]

    def claim(self, client: Client) -> dict[str, Any]:
        """What is handed out of alice's device."""
        keys: dict[str, Any] = client.call(do="claim", devices=[self.device.id])["ok"]["keys"]
        return keys.get(self.device.id, {})

    def test_once_each(self) -> None:
        """Each key is handed out once, the oldest first; then the fallback, which says so."""
        self.alice.call(do="dm", user="bob")["ok"]
        got = [self.claim(self.bob) for _ in range(4)]
        self.assertEqual([one["key"] for one in got], [*self.keys, self.spare, self.spare])
        self.assertEqual([one["fallback"] for one in got], [False, False, True, True])
        self.assertEqual(got[0]["account"], self.a.account)

    def test_strangers(self) -> None:
        """Who shares neither a room nor a request gets nothing, as of a device that does not exist."""
        answer = self.bob.call(do="claim", devices=[self.device.id, Device().id, "x"])["ok"]
        self.assertEqual((answer["keys"], len(answer["none"])), ({}, 3))
        self.assertEqual(self.alice.call(do="stock")["ok"]["left"], 2)

    def test_acquainted(self) -> None:
        """A group, a conversation, and a pending request either way make two people known to each other."""
        _, chain = found(self.alice, self.a, "#deep")
        self.assertEqual(self.claim(self.bob), {})
        self.bob.call(do="join", room="#deep", ak=b64(self.b.public))["ok"]
        self.assertEqual(self.claim(self.bob)["key"], self.keys[0])
        self.bob.call(do="stock", keys=self.b.devices[0].prekeys(self.b.account, 1))["ok"]
        self.assertEqual(len(self.alice.call(do="claim", devices=[self.b.devices[0].id])["ok"]["keys"]), 1)
        self.alice.call(do="deny", room="#deep", who="bob")["ok"]
        self.assertEqual(self.claim(self.bob), {})
        proofs = chain.extend(self.a, "add", self.b.account, self.b.public)
        self.alice.call(do="add", room="#deep", user="bob", proofs=proofs)["ok"]
        self.assertEqual(self.claim(self.bob)["key"], self.keys[1])

    def test_own_others(self) -> None:
        """One's own other devices can always be written to; the very same one is no other."""
        second = Device()
        self.a.devices.append(second)
        publish(self.alice, self.a)
        laptop = self.another("alice")
        bind(laptop, self.a, second)
        self.assertEqual(self.claim(laptop)["key"], self.keys[0])
        self.assertEqual(self.claim(self.alice), {})

    def test_limited(self) -> None:
        """One person cannot use up another's keys: past so many an hour of one device there is the fallback only."""
        self.limit(claims_per_hour=1)
        self.alice.call(do="dm", user="bob")["ok"]
        self.assertEqual([self.claim(self.bob)["fallback"] for _ in range(2)], [False, True])
        self.server.advance(3601)
        self.assertEqual(self.claim(self.bob)["key"], self.keys[1])

    def test_too_many_at_once(self) -> None:
        """More devices than a sealed room may have are not asked for at once."""
        self.assertEqual(self.bob.code(do="claim", devices=["x"] * 257), "TOO_LONG")

    def test_atomic(self) -> None:
        """On two instances at once nobody gets the key that another got."""
        servers = instances(Path(self.mktemp()))
        for server in reversed(servers):
            self.addCleanup(server.stop)
        alice = servers[0].program("alice")
        keys = equip(alice, stock=20)
        claimers = [servers[n % 2].program(f"claimer{n}") for n in range(4)]
        for claimer in claimers:
            claimer.call(do="dm", user="alice")["ok"]
        for _ in range(5):
            for n, claimer in enumerate(claimers):
                claimer.ask(id=f"c{n}", do="claim", devices=[keys.devices[0].id])
        servers[0].advance(0)
        got = [
            line["ok"]["keys"][keys.devices[0].id]["key"]
            for claimer in claimers
            for line in claimer.events()
            if str(line.get("re", "")).startswith("c")
        ]
        self.assertEqual((len(got), len(set(got))), (20, 20))


class VaultTests(Base):
    """The account's keys, sealed under the recovery code."""

    def test_vault(self) -> None:
        """What is kept is given back to oneself, on any session, and to nobody else."""
        self.assertEqual(self.alice.call(do="vault")["ok"], {"blob": None, "at": 0})
        self.alice.call(do="vault", blob="c2VhbGVk")["ok"]
        self.alice.call(do="vault", blob="bmV3ZXI=")["ok"]
        self.assertEqual(self.another("alice").call(do="vault")["ok"]["blob"], "bmV3ZXI=")
        self.assertIsNone(self.bob.call(do="vault")["ok"]["blob"])

    def test_bounded(self) -> None:
        """It is base64 of bounded size."""
        self.assertEqual(self.alice.code(do="vault", blob="A" * 65_540), "TOO_LONG")
        self.assertEqual(self.alice.code(do="vault", blob="not base64"), "BAD_PROOF")


class LinkTests(Base):
    """A new device asks, and the one that holds the account key decides."""

    def test_link(self) -> None:
        """The account's other sessions hear it and can look it up, until it is published."""
        laptop, device = self.another("alice"), Device()
        laptop.call(do="link", device=device.id, entry="c2lnbmVk")["ok"]
        (event,) = self.alice.events()
        self.assertEqual((event["ev"], event["data"]), ("link", {"device": device.id, "entry": "c2lnbmVk"}))
        (waiting,) = self.alice.call(do="links")["ok"]["links"]
        self.assertEqual((waiting["device"], waiting["entry"]), (device.id, "c2lnbmVk"))
        self.assertEqual(self.bob.call(do="links")["ok"]["links"], [])
        self.a.devices.append(device)
        publish(self.alice, self.a)
        self.assertEqual(self.alice.call(do="links")["ok"]["links"], [])
        bind(laptop, self.a, device)

    def test_for_a_day(self) -> None:
        """A request is forgotten after a day."""
        self.alice.call(do="link", device=Device().id, entry="AAAA")["ok"]
        self.server.advance(86_401)
        self.assertEqual(self.alice.call(do="links")["ok"]["links"], [])

    def test_refused(self) -> None:
        """What is no device's id, or one that is taken, is refused; so are more than one may have."""
        self.assertEqual(self.alice.code(do="link", device=self.b.devices[0].id, entry="AAAA"), "BAD_PROOF")
        self.assertEqual(self.alice.code(do="link", device="AAAA", entry="AAAA"), "BAD_PROOF")
        self.assertEqual(self.alice.code(do="link", device=Device().id, entry="?"), "BAD_PROOF")
        self.limit(account_devices=1)
        self.assertEqual(self.alice.code(do="link", device=Device().id, entry="AAAA"), "ok")
        self.assertEqual(self.alice.code(do="link", device=Device().id, entry="AAAA"), "TOO_LONG")
