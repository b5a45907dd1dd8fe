"""A crowd at the front door of a cluster, and somebody who kills its nodes.

The rule: a node is found by the lock it holds and killed without a warning; whoever started it starts it again.
"""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from twisted.internet.task import deferLater

from tests.chaos.clients import Talker, Tally, settle
from tests.chaos.nodes import is_committing, is_frozen, node_pids
from tests.live import reactor

TRIES = 2000
"""Looks at a process that commits all the time before it is believed that it does not."""


@dataclass
class Outcome:
    """What happened."""

    talkers: list[Talker]
    kills: Counter[int] = field(default_factory=Counter)
    """How often each node was killed."""
    inside: int = 0
    """How many of them between BEGIN and the end of COMMIT."""
    seconds: float = 0.0
    """From the first moment of the storm to the last kill."""

    @property
    def acknowledged(self) -> int:
        """Messages that were answered."""
        return sum(len(talker.record.acknowledged) for talker in self.talkers)

    @property
    def received(self) -> int:
        """Events that arrived at clients."""
        return sum(len(talker.record.received) for talker in self.talkers)

    @property
    def reconnects(self) -> int:
        """How often clients came back."""
        return sum(talker.connections - 1 for talker in self.talkers)

    @property
    def refusals(self) -> Counter[str]:
        """How often calls were refused, by code."""
        return sum((talker.refusals for talker in self.talkers), Counter())


async def storm(
    data: Path,
    port: int,
    *,
    clients: int,
    seed: int,
    kills: int,
    when: Callable[[Tally], Awaitable[None]],
    pause: float,
    inside: bool = False,
    tell: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Have clients talk through the front door while nodes are killed; afterwards all of them have caught up.

    @param when: waits until it is time for the next kill.
    @param pause: seconds, on average, between an answer and a client's next message.
    @param inside: kill nodes while they commit.
    """
    rng = random.Random(seed)
    tally = Tally()
    talkers = [Talker(f"u{n}", lambda: [port], random.Random(rng.random()), tally, cut=0.0002) for n in range(clients)]
    outcome = Outcome(talkers)
    try:
        for talker in talkers:
            talker.start()
        for number, talker in enumerate(talkers):
            await talker.enter()
            rooms = ["#all", f"#{number % 4}"]
            for room in rooms:
                await talker.act("join", room=room)
            await talker.barrier()
            talker.talk(rooms, window=2, pause=pause)
        await talkers[0].act("join", room="#hall")
        for talker in talkers[1::2]:
            talker.wander("#hall")
        began = reactor.seconds()
        for _ in range(kills):
            await when(tally)
            node, pid = rng.choice(sorted(node_pids(data).items()))
            committing = inside and await freeze_committing(data, pid, rng)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            outcome.kills[node] += 1
            outcome.inside += committing
            tell(f"node {node} killed{' inside a commit' if committing else ''}; {tally.count:,} acknowledged so far")
        outcome.seconds = reactor.seconds() - began
        await settle(talkers)
    finally:
        for talker in talkers:
            await talker.stop()
    return outcome


async def freeze_committing(data: Path, pid: int, rng: random.Random) -> bool:
    """Stop this process between BEGIN IMMEDIATE and the end of a COMMIT, at a random moment of it; whether it was.

    It is stopped at any moment and, once it stands still, the kernel is asked whether it holds SQLite's write lock
    just then; if not it goes on, for another try.
    """
    for _ in range(TRIES):
        os.kill(pid, signal.SIGSTOP)
        while not is_frozen(pid):
            pass
        if is_committing(data, pid):
            return True
        os.kill(pid, signal.SIGCONT)
        await deferLater(reactor, rng.uniform(0, 0.003))
    return False
