"""The chain of a group's entries (E2E.md §6): the pure rule, entry by entry."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from client.crypto import identity, roomlog
from client.crypto.encoding import SIGNATURE, Forged, Malformed, pack
from client.crypto.identity import AccountKey, Device
from client.crypto.roomlog import FUTURE_MS, Log, Unjustified, replay, step, write
from tests.client.crypto.test_vectors import Seeded

NOW = 1_000_000


class ChainTests(SynchronousTestCase):
    """alice (1) owns #ops; bob (2) is a member of it."""

    def setUp(self) -> None:
        self.keys = {account: AccountKey(bytes([account]) * 32) for account in (1, 2, 3)}
        self.devices = {account: Seeded(account) for account in (1, 2, 3)}
        self.proofs = [self.entry(None, 1, "create", target=1, value="ask #ops")]
        self.proofs.append(self.entry(self.log(), 1, "add", target=2))

    def lookup(self, account: int, ak: bytes, device: bytes) -> Device | None:
        """The pinned devices."""
        known = self.devices[account]
        if self.keys[account].public != ak or known.id != device:
            return None
        return identity.entry(known, account, ak, 1)

    def entry(
        self, log: Log | None, actor: int, action: str, *, target: int = 0, value: str = "", now: int = NOW
    ) -> bytes:
        """An entry, signed by the actor."""
        ak = self.keys[target].public if action in ("create", "add", "join") else bytes(32)
        return write(self.devices[actor], log, actor, action, now, target=target, ak=ak, value=value)

    def log(self) -> Log:
        """The group so far."""
        log = replay(self.proofs, self.lookup, NOW)
        assert log is not None
        return log

    def refused(self, proof: bytes, why: str) -> None:
        """This entry does not follow, and why."""
        with self.assertRaises(Unjustified) as caught:
            step(self.log(), proof, self.lookup, NOW)
        self.assertEqual(caught.exception.why, why)

    def test_the_chain(self) -> None:
        """Each entry names the group, its number and the hash before it: none can be left out, moved or repeated."""
        log = self.log()
        self.assertEqual((log.room, log.seq), (roomlog.entry_hash(self.proofs[0]), 2))
        self.assertEqual([log.head_at(1), log.head_at(2), log.head_at(3)],
                         [*map(roomlog.entry_hash, self.proofs), None])  # fmt: skip
        self.refused(self.proofs[1], "not the next entry of this group")
        before = replay(self.proofs[:1], self.lookup, NOW)
        self.refused(self.entry(before, 1, "door", value="open"), "not the next entry of this group")
        other = replay([self.entry(None, 1, "create", target=1, value="ask #other")], self.lookup, NOW)
        assert other is not None
        moved = self.entry(other, 1, "door", value="open")
        self.refused(moved, "not the next entry of this group")

    def test_who_was_in_when(self) -> None:
        """Membership is known after each entry, not only now."""
        self.proofs.append(self.entry(self.log(), 1, "remove", target=2))
        log = self.log()
        self.assertEqual([log.was_in(seq, 2) for seq in range(5)], [False, False, True, False, False])

    def test_times(self) -> None:
        """An entry is neither older than the one before it nor from the far future."""
        old = pack(
            "rhuadsakst", self.log().room, self.log().head, 3, 1, self.devices[1].id, "door", 0, bytes(32), "open", 5
        )
        self.refused(old + self.devices[1].sign(roomlog.ENTRY, old), "older than the entry before it")
        self.refused(self.entry(self.log(), 1, "door", value="open", now=NOW + FUTURE_MS + 1), "from the future")

    def test_signatures(self) -> None:
        """Signed by another's device, by an unknown one, or changed behind the signature."""
        log = self.log()
        stolen = write(self.devices[2], log, 1, "door", NOW, value="open")
        self.refused(stolen, "a device that is not the actor's")
        proof = bytearray(self.entry(log, 1, "door", value="open"))
        proof[-SIGNATURE - 20] ^= 1
        with self.assertRaises((Forged, Malformed)):
            step(log, bytes(proof), self.lookup, NOW)

    def test_what_members_may(self) -> None:
        """A member leaves, and does nothing else; nobody touches the owner."""
        for action, target, value in (("add", 3, ""), ("remove", 1, ""), ("ban", 3, ""), ("promote", 2, ""),
                                      ("door", 0, "open"), ("name", 0, "#x"), ("transfer", 2, ""), ("unban", 3, ""),
                                      ):  # fmt: skip
            self.refused(self.entry(self.log(), 2, action, target=target, value=value), "the actor may not")
        self.proofs.append(self.entry(self.log(), 1, "promote", target=2))
        for action, target in (("remove", 1), ("ban", 1), ("promote", 2), ("demote", 2)):
            self.refused(self.entry(self.log(), 2, action, target=target), "the actor may not")

    def test_what_does_not_fit(self) -> None:
        """Who is in is not added, who is banned neither; an unknown action ends in a refusal, not in silence."""
        self.refused(self.entry(self.log(), 1, "add", target=2), "cannot be added")
        self.proofs.append(self.entry(self.log(), 1, "ban", target=3))
        self.refused(self.entry(self.log(), 1, "add", target=3), "cannot be added")
        self.refused(self.entry(self.log(), 1, "remove", target=3), "not there")
        self.refused(self.entry(self.log(), 1, "demote", target=2), "cannot be that")
        self.refused(self.entry(self.log(), 1, "door", value="ajar"), "no such door")
        self.refused(self.entry(self.log(), 1, "anoint", target=2), "an action that is not known here")
        self.refused(self.entry(self.log(), 3, "join", target=3), "the door is not open")
        self.proofs.append(self.entry(self.log(), 1, "door", value="open"))
        self.refused(self.entry(self.log(), 3, "join", target=3), "the door is not open")  # banned

    def test_beginnings(self) -> None:
        """A group begins with one entry, of its owner, and says its name and door."""
        for value, target in (("ask", 1), ("ajar #ops", 1), ("", 1)):
            with self.assertRaises(Unjustified):
                step(None, self.entry(None, 1, "create", target=target, value=value), self.lookup, NOW)
        with self.assertRaises(Unjustified):
            step(None, self.entry(self.log(), 1, "door", value="open"), self.lookup, NOW)
