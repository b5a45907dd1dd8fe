"""Forward secrecy, healing, heartbeats, and what a crash or a restored copy must not do (E2E.md §5, §10.4)."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from client.crypto import encoding, prekeys, ratchets
from client.crypto.ratchets import HEARTBEAT_MS, Undecryptable
from client.crypto.thread import Thread
from client.findings import Warn
from client.healing import LOST_MS
from client.keyring import Keyring
from tests.client.crypto.world import Party, run, settle, trio


class SecrecyTests(SynchronousTestCase):
    """Somebody steals all that bob's device has, at one moment."""

    def setUp(self) -> None:
        self.server, self.alice, self.bob, _ = trio()
        self.room = self.alice.dm(self.bob)
        for party, text in ((self.alice, "hello"), (self.bob, "hello back")):
            party.say(self.room, text)
            settle(self.alice, self.bob)

    def steal(self) -> Keyring:
        """Bob's keys and ratchets, as they are now."""
        store = self.bob.copy()
        store.unlock(self.bob.vault, {"how": "test"})
        return Keyring(store.secrets(2), 2)

    def sent(self, text: str) -> dict[str, Any]:
        """alice says something: the envelope to bob, which he then opens."""
        self.alice.say(self.room, text)
        line = next(line for line in self.bob.queue if line["ev"] == "envelope")
        settle(self.alice, self.bob)
        return line

    def reads(self, thief: Keyring, line: dict[str, Any]) -> bool:
        """Whether the stolen ratchets open an envelope."""
        device = self.bob.keys.end(1, self.alice.keys.own.id)
        assert device is not None
        try:
            with thief.book.atomic():
                thief.ratchets.decrypt(device.device, encoding.data(line["envelope"]), self.server.now)
        except Undecryptable:
            return False
        return True

    def test_what_came_before(self) -> None:
        """The stolen ratchets open nothing that bob had opened, and the keys of those messages are gone."""
        line = self.sent("before")
        thief = self.steal()
        self.assertFalse(self.reads(thief, line))
        kept = [line for line in self.server.lines if line["ev"] == "say" and line["by_id"] == 1]
        for said in kept:
            sealed = encoding.data(said["sealed"])
            from client.crypto import message

            whole, _ = message.from_wire(sealed)
            self.assertEqual(thief.book.get("key", f"{whole.digest.hex()} 1"), "opened")

    def test_after_one_round_trip(self) -> None:
        """The stolen ratchets open what comes next, and nothing more once each has written to the other."""
        thief = self.steal()
        self.assertTrue(self.reads(thief, self.sent("still readable")))
        self.bob.say(self.room, "bob")
        settle(self.alice, self.bob)
        self.assertFalse(self.reads(thief, self.sent("not any more")))

    def one_way(self) -> bool:
        """bob only listens, for long: whether the stolen ratchets open the last message."""
        thief = self.steal()
        return [self.reads(thief, self.sent(f"{number}")) for number in range(25)][-1]

    def test_a_listener_heals_too(self) -> None:
        """Who only listens writes a heartbeat now and then, so the thief is shut out all the same."""
        self.assertFalse(self.one_way())

    def test_without_heartbeats_nothing_heals(self) -> None:
        """Without heartbeats the thief reads on for ever: so the test above is one."""
        self.patch(ratchets, "HEARTBEAT_AFTER", 10**9)
        self.assertTrue(self.one_way())

    def test_a_heartbeat_after_a_day(self) -> None:
        """Also after a single message, a day later; and a heartbeat is not answered by one."""
        self.sent("one")
        name = self.alice.keys.own.id
        self.assertFalse(self.bob.keys.ratchets.heartbeat_due(name, self.server.now))
        self.server.now += HEARTBEAT_MS
        self.assertTrue(self.bob.keys.ratchets.heartbeat_due(name, self.server.now))
        run(self.bob.courier.tend())
        self.assertFalse(self.bob.keys.ratchets.heartbeat_due(name, self.server.now))
        settle(self.alice)
        self.server.now += HEARTBEAT_MS
        self.assertFalse(self.alice.keys.ratchets.heartbeat_due(self.bob.keys.own.id, self.server.now))


class TransactionTests(SynchronousTestCase):
    """Nothing is ahead of the disk: what a failed transaction did never happened."""

    def setUp(self) -> None:
        self.server, self.alice, self.bob, _ = trio()
        self.room = self.alice.dm(self.bob)

    def killed_in(self, party: Party, kind: str) -> None:
        """The process dies while a row of this kind is written."""
        put = party.keys.book.put

        def die(what: str, name: str, value: Any, until: int | None = None) -> None:
            if what == kind and value is not None:
                raise OSError("killed")
            put(what, name, value, until)

        self.patch(party.keys.book, "put", die)

    def test_killed_while_encrypting(self) -> None:
        """Before the outbox has the ciphertext, no ratchet has moved: it is encrypted once, and arrives once."""
        self.alice.say(self.room, "first")
        for kind in ("peer", "sent"):
            before = self.alice.keys.book.get("peer", self.bob.keys.own.id.hex())
            self.killed_in(self.alice, kind)
            with self.assertRaises(OSError):
                self.alice.say(self.room, "lost")
            self.alice.restart()
            self.assertEqual(self.alice.keys.book.get("peer", self.bob.keys.own.id.hex()), before, kind)
        self.alice.say(self.room, "second")
        settle(self.alice, self.bob)
        self.assertEqual((self.bob.texts, self.bob.warns), (["first", "second"], []))

    def test_killed_before_the_answer(self) -> None:
        """Encrypted, sent or not, and killed: the very same bytes go out again, and are there once."""
        from client.outbox import new_mid

        mid, content = new_mid(), {"text": "once"}
        honest = self.server.do_say
        for dies in (True, False):

            def say(by: Party, fields: Any, dies: bool = dies) -> dict[str, Any]:
                if not dies:
                    honest(by, fields)
                raise OSError("killed")

            self.patch(self.server, "do_say", say)
            with self.assertRaises(OSError):
                run(self.alice.courier.say(mid, self.room, content))
            self.alice.restart()
            kept = self.alice.sealing.composed(mid)
            assert kept is not None
        self.server.do_say = honest  # type: ignore[method-assign]
        self.assertEqual(self.alice.sealing.composed(mid), kept)
        run(self.alice.courier.say(mid, self.room, content))
        self.alice.restart()  # it was killed before it was told that the answer had come
        self.patch(self.server, "do_say", None)
        run(self.alice.courier.say(mid, self.room, content))
        settle(self.alice, self.bob)
        self.assertEqual((self.bob.texts, self.bob.warns), (["once"], []))

    def test_killed_while_decrypting(self) -> None:
        """Killed at any write of it: the envelope comes again, is opened once, and is shown once."""
        self.alice.say(self.room, "hello")
        settle(self.alice, self.bob)
        self.bob.say(self.room, "here")
        settle(self.alice, self.bob)
        self.alice.say(self.room, "once")
        for kind in ("inbox", "peer", "key", "thread"):
            waiting = list(self.bob.queue)
            self.killed_in(self.bob, kind)
            with self.assertRaises(OSError):
                self.bob.pump()
            self.bob.restart()
            self.bob.queue = waiting
        settle(self.alice, self.bob)
        self.assertEqual((self.bob.texts, self.bob.warns), (["hello", "once"], []))

    def test_killed_while_a_first_message_is_opened(self) -> None:
        """The one-time key is spent in the same transaction: a kill leaves both, or neither."""
        self.alice.say(self.room, "first")
        waiting = list(self.bob.queue)
        self.killed_in(self.bob, "peer")
        with self.assertRaises(OSError):
            self.bob.pump()
        self.bob.restart()
        self.bob.queue = waiting
        settle(self.alice, self.bob)
        self.assertEqual((self.bob.texts, self.bob.warns), (["first"], []))

    def test_killed_while_asking(self) -> None:
        """The word that asks for what did not come is out before that is noted down: it is asked for twice then, and
        read once.
        """
        self.alice.say(self.room, "once")
        self.bob.queue = [line for line in self.bob.queue if line["ev"] != "envelope"]
        self.bob.pump()
        self.killed_in(self.bob, "missing")
        self.server.now += LOST_MS
        with self.assertRaises(OSError):
            self.bob.pump()
        self.bob.restart()
        self.bob.pump()
        settle(self.alice, self.bob)
        self.assertEqual(self.server.inbox[encoding.text(self.alice.keys.own.id)], 2)
        self.assertEqual((self.bob.texts, self.bob.warns), (["once"], [Warn.WAITING]))

    def test_what_was_seen_closed_counts_once(self) -> None:
        """A message without its envelope explains one gap, however often the server shows it."""
        closed = Thread(1, b"1" * 32).unopened(b"2" * 32)
        self.assertEqual(closed.unopened(b"2" * 32), closed)

    def test_a_body_has_its_own_key(self) -> None:
        """Encrypted anew after STALE, a message has another key, the same mid, and the same place in its thread."""
        from client.outbox import new_mid

        mid = new_mid()
        room = run(self.alice.courier.room(self.room))
        run(self.alice.courier.claim(room.ends))
        now = self.server.now
        first = self.alice.sealing.compose(self.room, room.id, mid, {"text": "x"}, room.ends, [], None, now)
        one = self.alice.keys.book.get("sent", mid)
        self.alice.sealing.restarted(mid, now)
        second = self.alice.sealing.compose(self.room, room.id, mid, {"text": "x"}, room.ends, [], None, now)
        other = self.alice.keys.book.get("sent", mid)
        self.assertNotEqual((one["key"], first["sealed"]), (other["key"], second["sealed"]))
        self.assertEqual(one["counter"], other["counter"])


class StockTests(SynchronousTestCase):
    """One-time keys: made, saved, uploaded, and never given out twice."""

    def setUp(self) -> None:
        self.server, self.alice, self.bob, _ = trio()

    def test_refill(self) -> None:
        """From below 25 to 50; at 25 nothing is made. Numbers only go up."""
        with self.alice.store.atomic():
            self.assertEqual(self.alice.keys.own.stock(1, 25, self.server.now), ([], None))
            keys, _ = self.alice.keys.own.stock(1, 24, self.server.now)
        self.assertEqual(len(keys), 26)
        numbers = [int.from_bytes(key[39:47], "big") for key in keys]
        self.assertEqual(numbers, list(range(51, 77)))

    def test_killed_before_the_answer(self) -> None:
        """Made, saved, and the answer lost: the same keys are offered again, not others."""
        with self.alice.store.atomic():
            first, _ = self.alice.keys.own.stock(1, 0, self.server.now)
        self.alice.restart()
        with self.alice.store.atomic():
            again, _ = self.alice.keys.own.stock(1, 0, self.server.now)
        self.assertEqual(first, again)

    def test_the_fallback_key_is_replaced(self) -> None:
        """Once a week; what was begun with the one before is still opened."""
        name = encoding.text(self.bob.keys.own.id)
        room = self.alice.dm(self.bob)
        self.server.stock[name].clear()
        self.alice.say(room, "by the old one")
        waiting, self.bob.queue = self.bob.queue, []
        old = self.server.fallback[name]
        self.server.now += prekeys.FALLBACK_MS
        self.bob.refill()
        self.assertNotEqual(self.server.fallback[name], old)
        self.bob.queue = waiting
        settle(self.alice, self.bob)
        self.assertEqual(self.bob.texts, ["by the old one"])

    def test_pickles_differ(self) -> None:
        """The same ratchet, saved twice, is not the same bytes: each pickle has its own key."""
        account = self.alice.keys.own.account
        self.assertNotEqual(ratchets._pickled(account), ratchets._pickled(account))
