"""A server that lies (E2E.md §10.2): one test for each lie.

Nothing wrong is shown, the named warning appears, the conversation heals.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chatd.model import Role
from client.courier import Unsent
from client.crypto import encoding, identity, message, prekeys, roomlog
from client.crypto.encoding import NOTHING
from client.crypto.identity import AccountKey, Alarm, Change, News
from client.crypto.message import End
from client.findings import Note, Warn
from client.healing import RETRY_MS
from client.outbox import new_mid
from tests.client.crypto.world import Party, run, settle, trio


class LieTests(SynchronousTestCase):
    """alice, bob and carol, and a server that does as it likes. Mallory has an account like everybody."""

    def setUp(self) -> None:
        self.server, self.alice, self.bob, self.carol = trio()
        self.mallory = Party(self.server, 9, "mallory")

    def heals(self, room: int, *readers: Party) -> None:
        """Without the lie all is well again: a word of alice's arrives, without a warning."""
        self.server.twist = lambda _, __, answer: answer
        self.server.now += RETRY_MS + 1
        settle(self.alice, *readers)
        for party in readers:
            party.shown.clear()
        for text in ("well", "all well"):
            self.alice.say(room, text)
            settle(self.alice, *readers)
        for party in readers:
            self.assertEqual(party.texts[-1:], ["all well"])
            self.assertIsNone(party.shown[-1][2])

    def replaced(self, name: str, given: str) -> Any:
        """Answers in which this device's claimed key is another."""

        def twist(_: int, call: Mapping[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
            if call["do"] == "claim" and name in answer["keys"]:
                answer["keys"][name]["key"] = given
            return answer

        return twist

    # -- keys ---------------------------------------------------------------------------------------------------------

    def test_swapped_one_time_key(self) -> None:
        """A one-time key that another device signed, or nobody, begins no session: that device gets nothing."""
        room, bobs = self.alice.dm(self.bob), encoding.text(self.bob.keys.own.id)
        mallorys = self.server.stock[encoding.text(self.mallory.keys.own.id)][0]
        honest = self.server.stock[bobs][0]
        forged = honest[:-64] + bytes(64)
        moved = prekeys.signed_key(self.bob.keys.own, 9, 1, prekeys.ONE_TIME, bytes(31) + b"\x09")
        for raw in (mallorys, forged, moved):
            self.server.twist = self.replaced(bobs, encoding.text(raw))
            self.alice.say(room, "secret")
            self.assertIn(News(2, Alarm.FORGED, self.bob.keys.own.id), self.alice.told)
            self.assertFalse(self.alice.keys.ratchets.has_session(self.bob.keys.own.id))
        settle(self.bob)
        self.assertEqual(self.bob.texts, [])
        self.heals(room, self.bob)

    def test_a_fallback_key_is_no_one_time_key(self) -> None:
        """A key signed for one use does not pass for the other."""
        room, bobs = self.alice.dm(self.bob), encoding.text(self.bob.keys.own.id)
        self.server.twist = self.replaced(bobs, encoding.text(self.server.fallback[bobs]))
        self.alice.say(room, "secret")
        self.assertFalse(self.alice.keys.ratchets.has_session(self.bob.keys.own.id))
        self.heals(room, self.bob)

    def test_swapped_identity_key(self) -> None:
        """Another account key in bob's name, once his is known: nothing is sent until it is accepted."""
        room = self.alice.dm(self.bob)
        self.alice.say(room, "hello")
        honest = self.server.manifests[2][:]
        known = self.alice.keys.person(2)
        assert known is not None
        key, own = AccountKey(), self.mallory.keys.own
        entry = identity.entry(own, 2, key.public, self.server.now)
        self.server.manifests[2].append(key.sign(2, known.manifest, [entry], self.server.now).raw)
        with self.assertRaises(Unsent) as caught:
            self.alice.say(room, "secret")
        self.assertEqual((caught.exception.warn, caught.exception.account), (Warn.CHANGED, 2))
        self.assertIn(News(2, Change.KEY), self.alice.told)
        self.assertNotIn("secret", self.mallory.texts)
        self.assertEqual(self.server.manifests[2][:1], honest)

    def test_identity_key_swapped_in_place(self) -> None:
        """Another account key without a new generation is an alarm, and is not even offered for acceptance."""
        room = self.alice.dm(self.bob)
        self.alice.say(room, "hello")
        known = self.alice.keys.person(2)
        assert known is not None
        key = AccountKey()
        entry = identity.entry(self.mallory.keys.own, 2, key.public, self.server.now)
        forged = key.sign(2, None, [entry], self.server.now)
        honest, self.server.manifests[2] = self.server.manifests[2], [forged.raw]
        run(self.alice.courier.room(room, fresh=True))
        self.alice.say(room, "secret")
        self.assertEqual([line for line in self.mallory.queue if line["ev"] == "envelope"], [])
        self.assertIn(News(2, Alarm.FORKED), self.alice.told)
        self.assertEqual(self.alice.keys.person(2), known)
        self.server.manifests[2] = honest
        self.heals(room, self.bob)

    def test_ghost_device(self) -> None:
        """A device that the server adds to bob's, but bob's key did not sign, is left out."""
        room = self.alice.dm(self.bob)
        ghost = encoding.text(self.mallory.keys.own.id)

        def twist(_: int, call: Mapping[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
            if call["do"] == "recipients":
                next(m for m in answer["members"] if m["account"] == 2)["devices"].append(ghost)
            return answer

        live = self.server.live
        self.server.live = lambda account: live(account) + [ghost] * (account == 2)  # type: ignore[method-assign]
        self.server.twist = twist
        self.alice.say(room, "secret")
        settle(self.alice, self.bob, self.mallory)
        self.assertEqual(self.bob.texts, ["secret"])
        self.assertIn(Note(Warn.GHOST, room, 2), self.alice.told)
        self.assertNotIn(ghost, run(self.alice.courier.room(room)).ends)
        self.assertEqual([line for line in self.mallory.queue if line["ev"] == "envelope"], [])
        self.server.live = live  # type: ignore[method-assign]
        self.heals(room, self.bob)

    def test_a_device_claimed_by_another_account(self) -> None:
        """A manifest cannot take over a device that signed itself into another account."""
        own = self.bob.keys.person(2)
        key = self.mallory.keys.account_key
        assert own is not None and key is not None
        mine = self.mallory.keys.person(9)
        assert mine is not None
        with self.assertRaises(encoding.Forged):
            key.with_device(mine.manifest, own.manifest.live[0], self.server.now)

    def test_rolled_back_manifest(self) -> None:
        """An older list, in which a revoked device is not revoked, is an alarm and changes nothing."""
        phone = Party(self.server, 2, "bob", first=False)
        key, me = self.bob.keys.account_key, self.bob.keys.person(2)
        assert key is not None and me is not None
        both = key.with_device(me.manifest, identity.entry(phone.keys.own, 2, key.public, 1), self.server.now)
        self.bob.publish(both)
        phone.refill()
        room = self.alice.dm(self.bob)
        self.alice.say(room, "to both")
        revoked = self.bob.keys.revoke(phone.keys.own.id, self.server.now)
        assert revoked is not None
        self.bob.publish(revoked)
        run(self.alice.courier.room(room, fresh=True))
        self.assertIn(News(2, Change.REVOKED, phone.keys.own.id), self.alice.told)
        kept = self.server.manifests[2].pop()
        run(self.alice.courier.room(room, fresh=True))
        self.alice.say(room, "secret")
        self.assertIn(News(2, Alarm.ROLLED_BACK), self.alice.told)
        envelopes = [line for line in phone.queue if line["ev"] == "envelope"]
        self.assertEqual(len(envelopes), 1, "only what was said before it was revoked")
        self.server.manifests[2].append(kept)
        self.heals(room, self.bob)

    def test_asked_again_and_again(self) -> None:
        """A device that asks for very much again costs its sender little: a room is looked at once for all of it."""
        room = self.group()
        mids = [self.alice.say(room, f"{number}") for number in range(20)]
        settle(self.alice, self.bob, self.carol)
        asked: list[str] = []

        def twist(_: int, call: Mapping[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
            asked.append(call["do"])
            return answer

        alice = self.bob.keys.end(1, self.alice.keys.own.id)
        assert alice is not None
        for words in (mids, "mids", {"mids": 1}, [None, {}]):
            run(self.bob.courier.word(alice, "retry", {"mids": words}))
        self.server.twist = twist
        settle(self.alice)
        self.assertEqual((asked.count("recipients"), asked.count("post")), (1, 20))
        self.heals(room, self.bob, self.carol)

    def test_manifests_without_end(self) -> None:
        """A server that always has more to show, and shows nothing new, is not listened to for ever."""
        room = self.group()
        asked: list[str] = []

        def twist(_: int, call: Mapping[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
            if call["do"] in ("manifest", "roomlog"):
                asked.append(call["do"])
                self.assertLess(len(asked), 20)
                answer["more"] = True
                answer["manifests"] = [self.server.given(1, raw) for raw in self.server.manifests[1]]
                log = self.server.rooms[room]["log"]
                answer["log"] = [{"n": n, "proof": encoding.text(proof)} for n, proof in enumerate(log, 1)]
            return answer

        self.server.twist = twist
        run(self.bob.courier.learn(1))
        run(self.bob.courier.learn(1, whole=True))
        run(self.bob.courier.learn_log(room))
        self.heals(room, self.bob, self.carol)

    def test_forked_manifest(self) -> None:
        """Two lists of the same number, both signed by bob's key: whoever knows the one refuses the other."""
        room = self.alice.dm(self.bob)
        self.alice.say(room, "hello")
        key, me = self.bob.keys.account_key, self.alice.keys.person(2)
        assert key is not None and me is not None
        entry = identity.entry(self.mallory.keys.own, 2, key.public, self.server.now)
        other = key.sign(2, None, [*me.manifest.devices.values(), entry], self.server.now + 1)
        honest, self.server.manifests[2] = self.server.manifests[2], [other.raw]
        run(self.alice.courier.room(room, fresh=True))
        self.alice.say(room, "secret")
        self.assertEqual([line for line in self.mallory.queue if line["ev"] == "envelope"], [])
        self.assertIn(News(2, Alarm.FORKED), self.alice.told)
        self.assertEqual(self.alice.keys.person(2), me)
        self.server.manifests[2] = honest
        self.heals(room, self.bob)

    def test_a_fork_that_a_message_gives_away(self) -> None:
        """bob's message names his own list: who was shown another one is warned, and shown nothing."""
        room = self.alice.dm(self.bob)
        key, bob = self.bob.keys.account_key, self.bob.keys.person(2)
        assert key is not None and bob is not None
        own = bob.manifest.devices.values()
        other = key.sign(2, None, own, self.server.now + 1)
        honest, self.server.manifests[2] = self.server.manifests[2], [other.raw]
        run(self.alice.courier.learn(2))
        self.server.manifests[2] = honest
        self.bob.say(room, "hello")
        settle(self.alice)
        self.assertEqual((self.alice.texts, self.alice.warns), ([], [Warn.FORK]))

    # -- rooms --------------------------------------------------------------------------------------------------------

    def group(self) -> int:
        """#ops of alice, bob and carol, in which something was said."""
        room = self.alice.create("#ops", self.bob, self.carol)
        settle(self.alice, self.bob, self.carol)
        self.alice.say(room, "hello")
        settle(self.alice, self.bob, self.carol)
        return room

    def test_unsigned_member(self) -> None:
        """Somebody whom the server alone let in gets nothing, and everybody is told."""
        room = self.group()
        self.server.rooms[room]["members"].add(9)
        self.server.tell(room, {"ev": "add", "by": "alice", "by_id": 1})
        self.bob.say(room, "secret")
        settle(self.alice, self.bob, self.carol, self.mallory)
        self.assertIn(Note(Warn.UNSIGNED, room, 9), self.bob.told)
        self.assertIn(Warn.UNSIGNED, self.carol.warns)
        self.assertEqual(self.mallory.texts, [])
        self.server.rooms[room]["members"].discard(9)
        self.heals(room, self.bob, self.carol)

    def test_a_member_signs_without_the_right(self) -> None:
        """A member who is no admin can add nobody, promote nobody, not even with the server's help."""
        room = self.group()
        for action, target in (("add", 9), ("promote", 3), ("remove", 2), ("door", 0), ("transfer", 3), ("name", 0)):
            run(self.carol.courier.meet([9]))
            proof = self.carol.sealing.entry(room, action, self.server.now, target=target, value="open")
            self.assertIs(run(self.bob.courier.log_goes_on(room, [proof])), Warn.UNSIGNED, action)
        log = self.bob.sealing.log(room, self.server.now)
        assert log is not None
        self.assertEqual({account: member.role for account, member in log.members.items()},
                         {1: Role.OWNER, 2: Role.MEMBER, 3: Role.MEMBER})  # fmt: skip
        self.heals(room, self.bob, self.carol)

    def test_nobody_joins_a_door_that_is_not_open(self) -> None:
        """A self-signed entry lets somebody in only while the signed chain says that the door is open."""
        room = self.group()
        log = self.alice.sealing.log(room, self.server.now)
        ak = self.mallory.keys.person(9)
        assert ak is not None
        run(self.bob.courier.meet([9]))
        proof = roomlog.write(self.mallory.keys.own, log, 9, "join", self.server.now, target=9, ak=ak.manifest.ak)
        self.assertIs(run(self.bob.courier.log_goes_on(room, [proof])), Warn.UNSIGNED)
        self.alice.change(room, "door", value="open")
        settle(self.alice, self.bob, self.carol)
        log = self.alice.sealing.log(room, self.server.now)
        proof = roomlog.write(self.mallory.keys.own, log, 9, "join", self.server.now, target=9, ak=ak.manifest.ak)
        self.assertIsNone(self.bob.sealing.learn_log(room, [proof], self.server.now))

    def test_rolled_back_room_log(self) -> None:
        """Who was removed is not a member again because the server shows the log as it was."""
        room = self.group()
        before = list(self.server.rooms[room]["log"]), self.server.rooms[room]["head"]
        self.alice.change(room, "remove", 3)
        settle(self.alice, self.bob, self.carol)
        after = self.server.rooms[room]["log"], self.server.rooms[room]["head"]
        self.server.rooms[room] |= {"log": before[0], "head": before[1], "members": {1, 2, 3}}
        with self.assertRaises(Unsent):
            self.bob.say(room, "secret")
        self.assertIn(Note(Warn.FORK, room), self.bob.told)
        settle(self.carol)
        self.assertNotIn("secret", self.carol.texts)
        self.server.rooms[room] |= {"log": after[0], "head": after[1], "members": {1, 2}}
        self.heals(room, self.bob)

    def test_forked_room_log(self) -> None:
        """Two entries of one number: a message on the other branch is not shown, and says that there are two."""
        room = self.group()
        log = self.alice.sealing.log(room, self.server.now)
        own = self.alice.keys.own
        one, other = (roomlog.write(own, log, 1, "door", self.server.now, value=door) for door in ("open", "invite"))
        self.assertIsNone(self.bob.sealing.learn_log(room, [one], self.server.now))
        self.assertIsNone(self.alice.sealing.learn_log(room, [other], self.server.now))
        self.server.rooms[room] |= {"log": [*self.server.rooms[room]["log"], other],
                                    "head": encoding.text(roomlog.entry_hash(other))}  # fmt: skip
        self.alice.say(room, "on my branch")
        settle(self.alice, self.bob)
        self.assertNotIn("on my branch", self.bob.texts)
        self.assertIn(Warn.FORK, self.bob.warns)
        self.assertIs(self.bob.sealing.learn_log(room, [other], self.server.now), Warn.FORK)

    def test_a_newcomer_is_shown_a_fork(self) -> None:
        """The welcome of who let somebody in tells where the log stood: another one is an alarm."""
        room = self.group()
        run(self.alice.courier.meet([9]))
        honest = list(self.server.rooms[room]["log"])
        self.alice.change(room, "add", 9)
        added = self.server.rooms[room]["log"][-1]
        # mallory, as a newcomer, is shown a log from which bob's removal ... that never was: another owner's group.
        settle(self.alice, self.bob, self.carol, self.mallory)
        self.assertIs(self.mallory.sealing.learn_log(room, honest, self.server.now), None)
        run(self.alice.courier.welcome(room, [9]))
        settle(self.mallory)
        self.assertNotIn(Note(Warn.FORK, room), self.mallory.told)
        log = self.alice.sealing.log(room, self.server.now)
        assert log is not None
        wrong = {"seq": log.seq, "head": encoding.text(NOTHING)}
        self.assertIs(self.mallory.sealing.welcomed(room, wrong, self.server.now), Warn.FORK)
        self.assertEqual(self.server.rooms[room]["log"][-1], added)

    def test_a_newcomer_who_was_away(self) -> None:
        """A welcome that comes before anything of the log waits for it, and is held against it then."""
        room = self.group()
        for head, warned in ((None, False), (encoding.text(NOTHING), True)):
            away = Party(self.server, 10 + warned, f"away{warned}")
            run(self.alice.courier.meet([away.account]))
            self.alice.change(room, "add", away.account)
            shown = run(self.alice.courier.room(room, fresh=True))
            assert shown.log is not None
            end = next(end for end in shown.ends if end.account == away.account)
            about = {"room": encoding.text(shown.id), "seq": shown.log.seq}
            head = head or encoding.text(shown.log.head)
            run(self.alice.courier.word(end, "welcome", {**about, "head": head}))
            away.queue.sort(key=lambda line: line["ev"] != "envelope")
            settle(away)
            self.assertEqual(Note(Warn.FORK, room) in away.told, warned)

    def test_a_group_called_a_conversation(self) -> None:
        """What is for a group does not go to whom the server calls the other one of a conversation of two."""
        room = self.group()
        honest = dict(self.server.rooms[room])
        self.server.rooms[room] |= {"kind": "direct", "members": {1, 9}, "head": ""}
        with self.assertRaises(Unsent):
            self.alice.say(room, "secret")
        self.assertEqual([line for line in self.mallory.queue if line["ev"] == "envelope"], [])
        self.server.rooms[room] |= honest
        self.heals(room, self.bob, self.carol)

    def test_a_conversation_called_a_group(self) -> None:
        """What is for one person does not go to a group that the server shows in its place."""
        room = self.alice.dm(self.bob)
        self.alice.say(room, "hello")
        settle(self.alice, self.bob)
        trap = self.mallory.create("#trap", self.alice)
        honest = dict(self.server.rooms[room])
        self.server.rooms[room] |= self.server.rooms[trap]
        proofs = self.server.rooms[trap]["log"]
        self.assertIs(run(self.alice.courier.log_goes_on(room, proofs)), Warn.FORK)
        with self.assertRaises(Unsent):
            self.alice.say(room, "secret")
        self.assertEqual([line for line in self.mallory.queue if line["ev"] == "envelope"], [])
        self.server.rooms[room] = honest
        self.heals(room, self.bob)

    # -- messages -----------------------------------------------------------------------------------------------------

    def test_replay(self) -> None:
        """The same message, told again under another number, is not shown again."""
        room = self.group()
        self.alice.say(room, "once")
        line = next(line for line in self.bob.queue if line["ev"] == "say")
        envelope = next(line for line in self.bob.queue if line["ev"] == "envelope")
        settle(self.alice, self.bob, self.carol)
        self.bob.queue += [{**envelope, "n": 1_000, "seq": 900}, {**line, "seq": 900}]
        settle(self.bob)
        self.assertEqual(self.bob.texts.count("once"), 1)
        self.assertEqual(self.bob.warns[-1], Warn.AGAIN)
        self.server.inbox[encoding.text(self.bob.keys.own.id)] = 1_000
        self.heals(room, self.bob)

    def test_own_message_replayed(self) -> None:
        """One's own message, told again, is not shown again either."""
        room = self.group()
        self.alice.say(room, "once")
        line = next(line for line in self.alice.queue if line["ev"] == "say")
        settle(self.alice)
        self.alice.queue.append({**line, "seq": 900})
        settle(self.alice)
        self.assertEqual([text for _, text, _ in self.alice.shown].count("once"), 1)
        self.assertEqual(self.alice.warns, [Warn.AGAIN])

    def test_replayed_fallback_key_message(self) -> None:
        """A first message by the fallback key, which the library alone would take again, is dropped once its session
        has ended.
        """
        room, bobs = self.alice.dm(self.bob), encoding.text(self.bob.keys.own.id)
        self.server.stock[bobs].clear()
        self.alice.say(room, "once")
        line = next(line for line in self.bob.queue if line["ev"] == "envelope")
        settle(self.alice, self.bob)
        for _ in range(6):  # five other sessions push the first one out
            self.server.stock[bobs].clear()
            self.bob.refill()
            run(self.alice.courier.claim([]))
            device = self.alice.keys.end(2, self.bob.keys.own.id)
            assert device is not None
            answer = self.server.call(self.alice, {"do": "claim", "devices": [bobs]})
            with self.alice.store.atomic():
                self.assertEqual(self.alice.keys.claimed([device], answer["keys"]), [])
            self.alice.say(room, "more")
            settle(self.alice, self.bob)
        count = len(self.bob.texts)
        self.bob.queue.append({**line, "n": 1_000})
        settle(self.bob)
        self.assertEqual((len(self.bob.texts), self.bob.warns), (count, [Warn.AGAIN]))
        self.server.inbox[bobs] = 1_000
        self.heals(room, self.bob)

    def test_duplicate(self) -> None:
        """A line that comes twice, envelope or event, is there once."""
        room = self.group()
        self.alice.say(room, "once")
        self.bob.queue = [line for line in self.bob.queue for _ in (0, 1) if line["ev"] == "envelope" or not _]
        settle(self.alice, self.bob, self.carol)
        self.assertEqual((self.bob.texts, self.bob.warns), (["hello", "once"], []))
        self.heals(room, self.bob)

    def test_reorder(self) -> None:
        """Two messages of one device in the wrong order: both are there, and it is said."""
        room = self.group()
        for text in ("first", "second"):
            self.alice.say(room, text)
        keys = [line for line in self.bob.queue if line["ev"] == "envelope"]
        first, second = (line for line in self.bob.queue if line["ev"] == "say")
        self.bob.queue = [*keys, second, first]
        settle(self.bob)
        self.assertEqual(self.bob.texts, ["hello", "second", "first"])
        self.assertEqual(self.bob.warns, [Warn.GAP, Warn.OUT_OF_PLACE])
        self.heals(room, self.bob)

    def test_a_message_is_left_out(self) -> None:
        """A message that everybody should have heard, and one did not: the next one tells."""
        room = self.group()
        for text in ("kept back", "next"):
            self.alice.say(room, text)
        keys = [line for line in self.bob.queue if line["ev"] == "envelope"]
        _, second = (line for line in self.bob.queue if line["ev"] == "say")
        self.bob.queue = [*keys, second]
        settle(self.bob)
        self.assertEqual((self.bob.texts, self.bob.warns), (["hello", "next"], [Warn.GAP]))
        self.heals(room, self.bob)

    def gap(self, count: int) -> int:
        """A conversation in which bob's first `count` envelopes come behind the one after them."""
        room = self.alice.dm(self.bob)
        self.alice.say(room, "begin")
        settle(self.alice, self.bob)
        self.bob.say(room, "here")
        settle(self.alice, self.bob)
        for number in range(count + 1):
            self.alice.say(room, f"{number}")
        return room

    def test_41_skipped(self) -> None:
        """Olm keeps 40 keys of messages that were skipped. What is older is asked for again, and comes."""
        room = self.gap(41)
        keys = [line for line in self.bob.queue if line["ev"] == "envelope"]
        says = [line for line in self.bob.queue if line["ev"] == "say"]
        keys = [keys[-1], *keys[:-1]]
        self.bob.queue = [{**line, "n": 100 + n} for n, line in enumerate(keys)] + says
        self.server.inbox[encoding.text(self.bob.keys.own.id)] = 1_000
        settle(self.alice, self.bob)
        self.assertEqual(self.bob.warns.count(Warn.UNDECRYPTABLE), 1)
        self.assertEqual(sorted(self.bob.texts[1:], key=int), [str(n) for n in range(42)])
        self.heals(room, self.bob)

    def test_2001_gap(self) -> None:
        """Olm refuses to skip more than 2,000: one warning, a new session, and what was kept back is asked for."""
        room = self.gap(0)
        end = self.alice.keys.end(2, self.bob.keys.own.id)
        assert end is not None
        for _ in range(2_001):  # nobody ever delivers these
            self.alice.sealing.word(end, "nothing", {})
        settle(self.alice, self.bob)
        for text in ("lost?", "too?"):
            self.alice.say(room, text)
            settle(self.alice, self.bob)
        self.assertEqual(self.bob.warns.count(Warn.UNDECRYPTABLE), 1)
        self.assertEqual(self.bob.texts, ["begin", "0", "lost?", "too?"])
        self.heals(room, self.bob)

    def tampered(self, **other: Any) -> list[Warn]:
        """What bob is told when alice's message comes with other fields; he is shown nothing."""
        room = self.group()
        self.alice.say(room, "hers")
        self.bob.queue = [{**line, **other} if line["ev"] == "say" else line for line in self.bob.queue]
        settle(self.alice, self.bob, self.carol)
        self.assertNotIn("hers", self.bob.texts)
        warns = self.bob.warns
        self.heals(room, self.bob)
        return warns

    def test_reattribution(self) -> None:
        """A message is shown as nobody's but its sender's: not another account's, not under another name."""
        self.assertIn(Warn.FORGED, self.tampered(by_id=3, by="carol"))

    def test_another_name(self) -> None:
        """bob cannot be called carol."""
        self.assertIn(Warn.FORGED, self.tampered(by="carol"))

    def test_another_mid(self) -> None:
        """A message keeps its own id."""
        self.assertIn(Warn.FORGED, self.tampered(mid=new_mid()))

    def test_move_between_rooms(self) -> None:
        """What was said in one room is not shown in another."""
        room = self.group()
        other = self.alice.create("#other", self.bob)
        direct = self.alice.dm(self.bob)
        settle(self.alice, self.bob, self.carol)
        for where in (other, direct):
            self.alice.say(room, "for #ops")
            self.bob.queue = [{**ln, "room_id": where} if ln["ev"] == "say" else ln for ln in self.bob.queue]
            settle(self.bob)
            self.assertNotIn("for #ops", self.bob.texts)
            self.assertEqual(self.bob.warns[-1], Warn.FORGED)
        self.heals(other, self.bob)

    def test_body_swapped_by_a_colluding_member(self) -> None:
        """carol, who has the key, cannot put another text under alice's header: the envelope names the body."""
        room = self.group()
        self.alice.say(room, "hers")
        settle(self.carol)
        line = next(line for line in self.bob.queue if line["ev"] == "say")
        sealed, header = message.from_wire(encoding.data(line["sealed"]))
        kept = next(iter(self.alice.keys.book.get("sent", line["mid"])["key"].splitlines()))
        key = encoding.data(kept)
        plain = message.unseal(sealed, key)
        from nacl.secret import Aead

        forged = plain._replace(content={"text": "carol's"})
        from orjson import dumps

        raw = encoding.pack(message._PLAIN, *forged[:-1], dumps(forged.content))
        body = bytes(Aead(key).encrypt(message._pad(raw), sealed.header))
        swapped = encoding.text(message.Sealed(sealed.header, body).wire())
        self.assertEqual(message.unseal(message.Sealed(sealed.header, body), key).content, {"text": "carol's"})
        self.bob.queue = [{**ln, "sealed": swapped} if ln["ev"] == "say" else ln for ln in self.bob.queue]
        settle(self.alice, self.bob)
        self.assertEqual(self.bob.texts, ["hello"])
        self.assertIn(Warn.WAITING, self.bob.warns)
        self.assertEqual(header.account, 1)
        me, bob = self.alice.keys.me(), self.bob.keys.me()
        given = message.opened(message.envelope(sealed.header, sealed.digest, key, me, bob))
        assert given is not None
        with self.assertRaises(encoding.Forged):
            message.check(message.Sealed(sealed.header, body), given, me, bob)
        self.heals(room, self.bob)

    def test_two_texts_for_one_body(self) -> None:
        """A body opens under one key only: the header commits to it."""
        room = self.group()
        self.alice.say(room, "one")
        line = next(line for line in self.bob.queue if line["ev"] == "say")
        sealed, _ = message.from_wire(encoding.data(line["sealed"]))
        me = self.alice.keys.me()
        bob = self.alice.keys.end(2, self.bob.keys.own.id)
        assert bob is not None
        plain = message.envelope(sealed.header, sealed.digest, bytes(32), me, bob)
        with self.alice.store.atomic():
            data = self.alice.keys.ratchets.encrypt(bob.device, plain)
        self.bob.queue = [
            {**ln, "envelope": encoding.text(data)} if ln["ev"] == "envelope" else ln for ln in self.bob.queue
        ]
        settle(self.bob)
        self.assertEqual((self.bob.texts, self.bob.warns), (["hello"], [Warn.FORGED]))
        with self.assertRaises(encoding.Forged) as caught:
            message.unseal(sealed, bytes(32))
        self.assertEqual(str(caught.exception), "commitment")

    def test_envelope_in_the_wrong_inbox(self) -> None:
        """An envelope for carol opens nothing of bob's."""
        room = self.group()
        self.alice.say(room, "hers")
        carols = next(line for line in self.carol.queue if line["ev"] == "envelope")
        self.bob.queue = [
            {**ln, "envelope": carols["envelope"]} if ln["ev"] == "envelope" else ln for ln in self.bob.queue
        ]
        settle(self.bob)
        self.assertNotIn("hers", self.bob.texts)
        self.assertIn(Warn.UNDECRYPTABLE, self.bob.warns)
        self.heals(room, self.bob)

    def test_an_envelope_handed_on(self) -> None:
        """carol encrypts alice's key anew, for bob: as hers it opens nothing of alice's (unknown key share)."""
        room = self.group()
        self.alice.say(room, "hers")
        settle(self.carol)
        line = next(ln for ln in self.bob.queue if ln["ev"] == "say")
        sealed, _ = message.from_wire(encoding.data(line["sealed"]))
        key = encoding.data(self.alice.keys.book.get("sent", line["mid"])["key"])
        run(self.carol.courier.room(room))
        bob, alice = self.carol.keys.end(2, self.bob.keys.own.id), self.carol.keys.end(1, self.alice.keys.own.id)
        assert bob is not None and alice is not None
        run(self.carol.courier.claim([bob]))
        plain = message.envelope(sealed.header, sealed.digest, key, alice, bob)
        with self.carol.store.atomic():
            data = encoding.text(self.carol.keys.ratchets.encrypt(bob.device, plain))
        carols = {"by": "carol", "by_id": 3, "device": encoding.text(self.carol.keys.own.id), "envelope": data}
        self.bob.queue = [{**ln, **carols} if ln["ev"] == "envelope" else ln for ln in self.bob.queue]
        settle(self.bob)
        self.assertNotIn("hers", self.bob.texts)
        given = (key, sealed.digest, plain[65:97])
        with self.assertRaises(encoding.Forged):
            message.check(sealed, given, self.bob.keys.end(3, self.carol.keys.own.id) or bob, self.bob.keys.me())

    def test_an_envelope_to_another_device(self) -> None:
        """An envelope is bound to the device it was made for, and by whom."""
        room = self.group()
        run(self.alice.courier.room(room))
        bob, carol = self.alice.keys.end(2, self.bob.keys.own.id), self.alice.keys.end(3, self.carol.keys.own.id)
        assert bob is not None and carol is not None
        self.alice.say(room, "x")
        line = next(ln for ln in self.bob.queue if ln["ev"] == "say")
        sealed, _ = message.from_wire(encoding.data(line["sealed"]))
        me = self.alice.keys.me()
        given = message.opened(message.envelope(sealed.header, sealed.digest, bytes(32), me, bob))
        assert given is not None
        self.assertEqual(message.check(sealed, given, me, bob), bytes(32))
        for sender, recipient in ((me, carol), (End(1, carol.device), bob)):
            with self.assertRaises(encoding.Forged):
                message.check(sealed, given, sender, recipient)
        other = End(1, carol.device)  # another device of alice's, with an envelope that is all its own
        given = message.opened(message.envelope(sealed.header, sealed.digest, bytes(32), other, bob))
        assert given is not None
        with self.assertRaises(encoding.Forged):
            message.check(sealed, given, other, bob)
        word = message.control("heartbeat", {}, me, bob)
        message.check_control(word, me, bob)
        for sender, recipient in ((me, carol), (bob, me)):
            with self.assertRaises(encoding.Forged):
                message.check_control(word, sender, recipient)

    def test_a_removed_member_with_the_servers_help(self) -> None:
        """What somebody says after being removed, on the log as it was, is not shown."""
        room = self.group()
        stale = self.server.rooms[room]["head"]
        self.alice.change(room, "remove", 3)
        settle(self.alice, self.bob)
        self.alice.say(room, "without carol")
        settle(self.bob)
        self.server.rooms[room] |= {"members": {1, 2, 3}, "head": stale}
        self.carol.queue.clear()
        self.carol.say(room, "still here")
        settle(self.bob)
        self.assertNotIn("still here", self.bob.texts)
        self.assertIn(Warn.OUT_OF_PLACE, self.bob.warns)

    def test_a_stranger_speaks(self) -> None:
        """Somebody who never was in is not heard, whatever head they name."""
        room = self.group()
        log = self.alice.sealing.log(room, self.server.now)
        assert log is not None
        self.assertIsNone(self.mallory.sealing.learn_log(room, [], self.server.now))
        run(self.mallory.courier.meet([1, 2]))
        self.server.rooms[room]["members"].add(9)
        run(self.mallory.courier.learn_log(room))
        bob = self.mallory.keys.end(2, self.bob.keys.own.id)
        assert bob is not None
        run(self.mallory.courier.claim([bob]))
        mid = new_mid()
        fields = self.mallory.sealing.compose(room, log.room, mid, {"text": "hi"}, [bob], [], log, self.server.now)
        for device, envelope in fields["envelopes"].items():
            self.server.post(device, self.mallory, envelope, 900, room)
        line = {"ev": "say", "by": "mallory", "by_id": 9, "mid": mid, "sealed": fields["sealed"]}
        self.server.tell(room, line)
        settle(self.bob)
        self.assertEqual((self.bob.texts, self.bob.warns), (["hello"], [Warn.STRANGER]))

    def test_a_revoked_device_is_not_heard(self) -> None:
        """What a revoked device sends, once its revocation is known, is not opened."""
        phone = Party(self.server, 1, "alice", first=False)
        key, me = self.alice.keys.account_key, self.alice.keys.person(1)
        assert key is not None and me is not None
        self.alice.publish(key.with_device(me.manifest, identity.entry(phone.keys.own, 1, key.public, 1), 5))
        phone.refill()
        room = self.alice.dm(self.bob)
        with phone.store.atomic():
            phone.keys.book.put("direct", str(room), 2)
        run(phone.courier.meet([1]))
        phone.say(room, "from my phone")
        settle(self.bob)
        self.assertEqual(self.bob.texts, ["from my phone"])
        revoked = self.alice.keys.revoke(phone.keys.own.id, self.server.now)
        assert revoked is not None
        self.alice.publish(revoked)
        run(self.bob.courier.learn(1))
        run(phone.courier.learn(1))
        fields = phone.sealing.compose(
            room, message.direct_room(1, 2), new_mid(), {"text": "stolen"},
            [end for end in (phone.keys.end(2, self.bob.keys.own.id),) if end], [], None, self.server.now,
        )  # fmt: skip
        for device, envelope in fields["envelopes"].items():
            self.server.post(device, phone, envelope, None, room)
        settle(self.bob)
        self.assertEqual(self.bob.warns, [Warn.REVOKED])
