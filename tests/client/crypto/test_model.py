"""Whatever happens, in whatever order (E2E.md §10.6): what is shown is true, and is shown to those it was for.

    python -m tests.client.crypto.test_model [GAMES] [STEPS]      more of it, and other games each time (700, 70)

Hypothesis drives accounts, devices, groups, loss, reordering and restarts. Every text is unique and names its true
sender. A text may appear only on devices to which its sender's device encrypted it; nothing appears twice; and in the
end, when the server behaves, whoever a text was for, and still may, has it.
"""

from __future__ import annotations

import sys
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from twisted.trial.unittest import SynchronousTestCase

from client.answers import Refused
from client.courier import Unsent
from client.crypto import encoding, identity
from client.healing import RETRY_MS
from tests.client.crypto.world import Party, Server, run, settle

NAMES = ("alice", "bob", "carol", "dave")
WHO = st.integers(min_value=0, max_value=7)


class World(RuleBasedStateMachine):
    """Four people, up to eight devices, one group, and a network that loses and reorders."""

    def __init__(self) -> None:
        super().__init__()
        self.server = Server()
        self.parties = [Party(self.server, number, name) for number, name in enumerate(NAMES, 1)]
        self.room = self.parties[0].create("#ops", *self.parties[1:3])
        settle(*self.parties)
        self.count = 0
        self.meant: dict[str, tuple[int, frozenset[str]]] = {}
        """A text → who said it, and the devices that it was encrypted for."""
        self.by: dict[str, bytes] = {}
        """A text that was said by a member → the device on which."""
        self.gone: set[bytes] = set()

    def party(self, number: int) -> Party:
        """One of the devices."""
        return self.parties[number % len(self.parties)]

    @rule(who=WHO)
    def say(self, who: int) -> None:
        """Somebody says something, if they may."""
        party = self.party(who)
        self.count += 1
        text = f"{party.account}: {self.count}"
        try:
            mid = party.say(self.room, text)
        except (Refused, Unsent):
            return
        kept = party.keys.book.get("sent", mid)
        self.meant[text] = (party.account, frozenset(kept["envelopes"]))
        if party.account in self.server.rooms[self.room]["members"]:
            self.by[text] = party.keys.own.id

    @rule(who=WHO, lines=st.integers(min_value=1, max_value=10))
    def hear(self, who: int, lines: int) -> None:
        """Some of what waits for a device is delivered."""
        party = self.party(who)
        for _ in range(min(lines, len(party.queue))):
            party.hear(party.queue.pop(0))

    @rule(who=WHO)
    def restart(self, who: int) -> None:
        """A process ends, and another begins with what is on disk."""
        party = self.party(who)
        party.restart()
        party.courier.tell = party.told.append

    @rule(who=WHO, at=st.integers(min_value=0, max_value=5))
    def lose(self, who: int, at: int) -> None:
        """An envelope is lost on its way."""
        envelopes = [line for line in self.party(who).queue if line["ev"] == "envelope"]
        if envelopes:
            self.party(who).queue.remove(envelopes[at % len(envelopes)])

    @rule(who=WHO, at=st.integers(min_value=0, max_value=5))
    def swap(self, who: int, at: int) -> None:
        """Two lines change places."""
        queue = self.party(who).queue
        if len(queue) > 1:
            at %= len(queue) - 1
            queue[at], queue[at + 1] = queue[at + 1], queue[at]

    @rule(by=WHO, whom=st.integers(min_value=1, max_value=4), action=st.sampled_from(("add", "remove", "promote")))
    def change(self, by: int, whom: int, action: str) -> None:
        """Somebody changes the group, if the log lets them."""
        party = self.party(by)
        if party.keys.own.id in self.gone:
            return  # an honest server refuses it; a dishonest one is another file's
        run(party.courier.meet([whom]))
        try:
            run(party.courier.learn_log(self.room))
            proof = encoding.data(run(party.courier.prove(self.room, action, target=whom)))
            if run(party.courier.log_goes_on(self.room, [proof])) is None:
                self.server.call(party, {"do": "change", "room": self.room, "proofs": [encoding.text(proof)]})
        except (Refused, Unsent):
            return

    @precondition(lambda self: len(self.parties) < 8)
    @rule(who=st.integers(min_value=0, max_value=3))
    def link(self, who: int) -> None:
        """Somebody has one device more."""
        old = self.parties[who]
        if old.keys.own.id in self.gone:
            return
        run(old.courier.learn(old.account))
        new = Party(self.server, old.account, old.name, first=False)
        entry, code = new.keys.entry(identity.read(self.server.manifests[old.account][-1]).ak, self.server.now)
        manifest = old.keys.link(code, entry, self.server.now)
        assert manifest is not None
        old.publish(manifest)
        run(new.courier.learn(new.account))
        new.refill()
        self.parties.append(new)

    @precondition(lambda self: len(self.parties) > 4)
    @rule(who=st.integers(min_value=4, max_value=7))
    def revoke(self, who: int) -> None:
        """A device is revoked by its account's first one."""
        if who >= len(self.parties):
            return
        lost = self.parties[who]
        first = self.parties[lost.account - 1]
        self.server.now += 1
        manifest = first.keys.revoke(lost.keys.own.id, self.server.now)
        if lost.keys.own.id not in self.gone and manifest is not None:
            first.publish(manifest)
            self.gone.add(lost.keys.own.id)

    @invariant()
    def what_is_shown_is_true(self) -> None:
        """Each text on a screen is its sender's, was for that device, and is there once."""
        for party in self.parties:
            texts = [(by, text) for by, text, _ in party.shown if text is not None]
            assert len(set(texts)) == len(texts), f"{party.name} sees something twice: {texts}"
            for by, text in texts:
                sender, devices = self.meant[text]
                own = encoding.text(party.keys.own.id)
                assert by == sender == int(text.split(":")[0])
                assert own in devices or by == party.account, f"{party.name} reads {text}"

    def teardown(self) -> None:
        """The network behaves again: what was lost is asked for and comes, to whoever still may have it. Of who was no
        member, or said it on a device that was revoked since, a warning is enough.
        """
        for _ in range(3):
            self.server.now += 10 * RETRY_MS
            for party in self.parties:
                party.pump()
            settle(*self.parties)
        self.what_is_shown_is_true()
        members = self.server.rooms[self.room]["members"]
        for text, (sender, devices) in self.meant.items():
            for party in self.parties:
                here = party.keys.own.id not in self.gone and {party.account, sender} <= members
                if here and encoding.text(party.keys.own.id) in devices:
                    seen = [shown for _, shown, _ in party.shown]
                    warned = any(by == sender and warn is not None for by, _, warn in party.shown)
                    good = text in self.by and self.by[text] not in self.gone
                    assert text in seen or (warned and not good), f"{party.name} never got {text}"


class ModelTests(SynchronousTestCase):
    """The model, driven for a while; the same each time."""

    def test_whatever_happens(self) -> None:
        """What is shown is true, and is shown to those it was for."""
        play(20, 30, derandomize=True)


def play(games: int, steps: int, **how: Any) -> None:
    """Drive the model through so many games."""
    from hypothesis.stateful import run_state_machine_as_test

    health = list(HealthCheck)
    chosen = settings(max_examples=games, stateful_step_count=steps, deadline=None, suppress_health_check=health, **how)
    run_state_machine_as_test(World, settings=chosen)  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    games, steps = (*map(int, sys.argv[1:]), *(700, 70)[len(sys.argv) - 1 :])
    play(games, steps, database=None)
    print(f"{games} games of up to {steps} steps: nothing found")
