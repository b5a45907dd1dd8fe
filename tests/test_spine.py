"""The spine under kill -9: two real processes on one file, clients on both, and the checker's word.

The rule: progress, not time, says when the next blow falls: so many more acknowledged messages.
"""

from __future__ import annotations

import multiprocessing
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from chatd.store.migrate import migrate
from tests.chaos.clients import HEAVY, SPICE, Talker, Tally, settle
from tests.chaos.nodes import examine
from tests.chaos.storm import freeze_committing
from tests.live import Chatd, LiveTestCase, reactor

CONFIG = """
[accounts]
bcrypt_cost = 4
[groups]
default_door = "open"
"""
ROOMS = ("#all", "#even", "#odd")


class SpineTestCase(LiveTestCase):
    """Two servers and a crowd."""

    settings = CONFIG

    async def servers(self, *options: str) -> list[Chatd]:
        """Two instances on one folder."""
        nodes = []
        for number in (1, 2):
            path = os.fspath(self.folder / f"{number}.sock")
            nodes.append(self.chatd(*options, "--listen", f"unix:{path}", node=number))
        for node in nodes:
            node.launch()
        for node in nodes:
            await node.ready()
        return nodes

    async def crowd(
        self, nodes: Sequence[Chatd], rng: random.Random, tally: Tally, rough: bool = False
    ) -> list[Talker]:
        """Six clients in three rooms, who reconnect to any of these servers and talk, to each other too; five come and
        go in a fourth, and the first has a second device.

        @param rough: by Unix sockets, for which the kernel holds little, with long texts, and two of them often doze.
        """
        places: list[int | str] = [node.port for node in nodes]
        if rough:
            places = [os.fspath(self.folder / f"{node.node}.sock") for node in nodes]
        talkers = []
        for n in range(6):
            lazy, spice = (0.01 if n > 3 else 0.0, HEAVY) if rough else (0.0, SPICE)
            own = random.Random(rng.random())
            talkers.append(Talker(f"u{n}", lambda: places, own, tally, cut=0.003, lazy=lazy, spice=spice))
        for talker in talkers:
            self.addCleanup(talker.stop)
            talker.start()
        for talker in talkers:
            await talker.enter()
        for number, talker in enumerate(talkers):
            rooms = ["#all", "#odd" if number % 2 else "#even"]
            for room in rooms:
                await talker.act("join", room=room)
            await talker.barrier()
            talker.talk([*rooms, f"@u{number ^ 1}"], window=4)
        await talkers[0].act("join", room="#hall")
        for talker in talkers[1:]:
            talker.wander("#hall")
        second = Talker("u0", lambda: places, random.Random(rng.random()), tally, cut=0.003, known=True)
        self.addCleanup(second.stop)
        second.start()
        await second.enter()
        await second.barrier()
        second.talk(["#all"], window=1)
        return [*talkers, second]

    async def finish(self, nodes: Sequence[Chatd], talkers: Sequence[Talker]) -> None:
        """Let everything be answered and received, drain the servers, and look at what there is."""
        await settle(talkers)
        for talker in talkers:
            await talker.stop()
        for node in nodes:
            self.assertEqual(await node.term(), 0)
        self.assertEqual([str(fault) for fault in examine(self.data, talkers)][:20], [])


class WakeUpTests(SpineTestCase):
    """The sockets by which instances wake each other."""

    async def test_removed(self) -> None:
        """An instance whose socket was removed, by one that took it for its dead predecessor's, soon has another."""
        node, _ = await self.servers()
        socket = self.data / "run" / "node-1.look"
        socket.unlink()
        await self.eventually(socket.exists, "another socket")
        client = await self.person(node.port, "somebody")
        await client.ping()


class SpineTests(SpineTestCase):
    """What was acknowledged is there, once, in one order, whoever dies."""

    async def test_kill(self) -> None:
        """Under servers that are killed and networks that fail, nothing is lost, doubled, reordered or overheard."""
        await self.kill(seed=1, kills=6)

    async def kill(self, seed: int, kills: int) -> None:
        """Kill one of two servers so many times."""
        rng = random.Random(seed)
        tally = Tally()
        nodes = await self.servers()
        talkers = await self.crowd(nodes, rng, tally)
        for _ in range(kills):
            await tally.more(250)
            victim = rng.choice(nodes)
            await victim.kill9()
            if rng.random() < 0.5:
                await tally.more(50)
            await victim.start()
        await tally.more(250)
        await self.finish(nodes, talkers)

    async def test_kill_inside_a_commit(self) -> None:
        """A server killed between BEGIN and the end of COMMIT has stored the whole commit or nothing of it.

        The moment is certain: the process is frozen, and killed only if the kernel says that it holds SQLite's
        write lock just then; else it goes on and is frozen again.
        """
        await self.kill_inside_a_commit(seed=2, kills=6)

    async def kill_inside_a_commit(self, seed: int, kills: int) -> None:
        """Kill one of two servers so many times, while it commits."""
        rng = random.Random(seed)
        tally = Tally()
        nodes = await self.servers("--durability", "full")
        talkers = await self.crowd(nodes, rng, tally)
        for _ in range(kills):
            await tally.more(100)
            victim = rng.choice(nodes)
            await freeze_committing(self.data, victim.program.pid, rng)
            await victim.kill9()
            await tally.more(50)
            await victim.start()
        await self.finish(nodes, talkers)


class RoughTests(SpineTestCase):
    """The same where buffers are small, readers slow, and servers drained and frozen as well."""

    settings = f"""{CONFIG}
[limits]
send_buffer_bytes = 4096
ring_bytes = 20000
drain_seconds = 1.0
"""

    async def test_rough(self) -> None:
        """Clients that read too slowly, and servers that are drained, frozen or killed, lose nothing either."""
        await self.rough(seed=3, blows=6)

    async def rough(self, seed: int, blows: int) -> None:
        """Deal so many blows."""
        rng = random.Random(seed)
        tally = Tally()
        nodes = await self.servers()
        talkers = await self.crowd(nodes, rng, tally, rough=True)
        for _ in range(blows):
            await tally.more(100)
            victim = rng.choice(nodes)
            blow = rng.choice(("kill", "drain", "freeze"))
            if blow == "freeze":
                victim.stop()
                await deferLater(reactor, rng.uniform(0.1, 1))
                victim.cont()
                continue
            if blow == "kill":
                await victim.kill9()
            else:
                self.assertEqual(await victim.term(), 0)
            await victim.start()
        await self.finish(nodes, talkers)


def first_starts(barrier: Any, folders: list[str], failures: Any) -> None:
    """What each of several processes does: make the database of every folder, at the same moment as the others."""
    for folder in folders:
        barrier.wait()
        try:
            migrate(Path(folder))
        except Exception as error:
            failures.put(repr(error))
    failures.put("")


class FirstStartTests(SynchronousTestCase):
    """A database that several instances make at once."""

    def test_at_once(self) -> None:
        """Instances that start at one moment on an empty folder all find their database: none is refused as locked."""
        count = 5
        base = Path(self.mktemp())
        folders = [base / str(number) for number in range(60)]
        for folder in folders:
            folder.mkdir(parents=True)
        processes = multiprocessing.get_context("spawn")
        barrier, failures = processes.Barrier(count), processes.Queue()
        started = [
            processes.Process(target=first_starts, args=(barrier, [str(folder) for folder in folders], failures))
            for _ in range(count)
        ]
        for process in started:
            process.start()
        told = []
        while told.count("") < count:
            told.append(failures.get(timeout=60))
        for process in started:
            process.join()
            process.close()
        self.assertEqual([failure for failure in told if failure], [])
