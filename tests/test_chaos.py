"""Misfortunes other than death: a full disk, a locked database, a frozen server; and many hands on one thing at once.

The rule: what cannot be done is refused and not kept silent about, and goes on by itself once it can be done.
"""

from __future__ import annotations

import errno
import fcntl
import os
import random
import resource
import shutil
import socket
import sqlite3
import sys
from collections import Counter
from collections.abc import Coroutine, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, gatherResults
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from chatd.command import Settings
from tests.chaos.clients import Talker, Tally, settle
from tests.chaos.nodes import examine, is_frozen, stored
from tests.chaos.storm import freeze_committing, storm
from tests.live import Chatd, JsonClient, LiveTestCase, Refused, free_ports, needs
from tests.memory import Client, Server, settings

CONFIG = """
[accounts]
bcrypt_cost = 4
[groups]
default_door = "open"
[limits]
write_lock_seconds = 0.5
"""
NO_LIMIT = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


class MisfortuneTests(LiveTestCase):
    """Refusals, not silence; and everything heals."""

    settings = CONFIG

    async def servers(self, count: int) -> list[Chatd]:
        """Instances on one folder."""
        return await together([self.chatd(node=number).start() for number in range(1, count + 1)])

    async def crowd(self, ports: Sequence[int]) -> list[Talker]:
        """Two clients at each of these ports, in one room."""
        self.tally = Tally()
        talkers = []
        for number, port in enumerate([*ports, *ports]):
            talker = Talker(f"u{number}", lambda port=port: [port], random.Random(number), self.tally)
            self.addCleanup(talker.stop)
            talker.start()
            await talker.enter()
            await talker.act("join", room="#all")
            await talker.barrier()
            talkers.append(talker)
        return talkers

    async def refused(self, talker: Talker) -> None:
        """Wait until this client has been refused as busy several times over."""
        goal = talker.refusals["BUSY"] + 3
        await talker.until(lambda: talker.refusals["BUSY"] >= goal, "refusals as BUSY")

    async def heals(self, talker: Talker) -> None:
        """Wait until this client's messages are acknowledged again."""
        goal = len(talker.record.acknowledged) + 20
        await talker.until(lambda: len(talker.record.acknowledged) >= goal, "acknowledged messages after the refusals")

    async def finish(self, nodes: Sequence[Chatd], talkers: Sequence[Talker]) -> None:
        """Let everything be answered and received, drain the servers, and look at what there is."""
        await settle(talkers)
        for talker in talkers:
            await talker.stop()
        for node in nodes:
            self.assertEqual(await node.term(), 0)
        self.assertEqual([str(fault) for fault in examine(self.data, talkers)][:20], [])

    async def test_locked_database(self) -> None:
        """While another program holds SQLite's write lock, writes are refused as BUSY and reads work; then it heals."""
        nodes = await self.servers(2)
        *talkers, reader = await self.crowd([node.port for node in nodes])
        for talker in talkers:
            talker.talk(["#all"], window=2)
        await self.tally.more(20)
        with closing(sqlite3.connect(self.data / "chatd.sqlite", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await together([self.refused(talker) for talker in talkers])
            self.assertEqual(len((await reader.call("members", room="#all"))["members"]), 4)
            other.execute("ROLLBACK")
        await together([self.heals(talker) for talker in talkers])
        await self.finish(nodes, [*talkers, reader])

    async def test_turn_never_ends(self) -> None:
        """While another process keeps its turn to write, the others refuse as BUSY; then it heals."""
        nodes = await self.servers(2)
        talkers = await self.crowd([node.port for node in nodes])
        for talker in talkers:
            talker.talk(["#all"], window=2)
        await self.tally.more(20)
        turn = os.open(self.data / "write.lock", os.O_RDWR)
        self.addCleanup(os.close, turn)
        await self.eventually(lambda: take(turn), "our turn to write")
        await together([self.refused(talker) for talker in talkers])
        fcntl.flock(turn, fcntl.LOCK_UN)
        await together([self.heals(talker) for talker in talkers])
        await self.finish(nodes, talkers)

    async def test_frozen_inside_a_commit(self) -> None:
        """While a server is frozen inside a commit, the others refuse as BUSY; when it goes on, its commit counts."""
        rng = random.Random(3)
        nodes = await self.servers(2)
        talkers = await self.crowd([node.port for node in nodes])
        for talker in talkers:
            talker.talk(["#all"], window=2)
        for _ in range(2):
            await self.tally.more(20)
            await freeze_committing(self.data, nodes[0].program.pid, rng)
            await self.refused(talkers[1])
            nodes[0].cont()
            await together([self.heals(talker) for talker in talkers])
        await self.finish(nodes, talkers)

    async def test_cannot_write(self) -> None:
        """A server whose writes fail refuses as BUSY, still delivers what others write, and heals."""
        nodes = await self.servers(2)
        talkers = await self.crowd([node.port for node in nodes])
        hindered, free, reader, _ = talkers
        for talker in (hindered, free):
            talker.talk(["#all"], window=2)
        await self.tally.more(20)
        resource.prlimit(nodes[0].program.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        await self.refused(hindered)
        await self.heals(free)
        spoken = len(free.record.acknowledged)
        await reader.until(
            lambda: sum(line.mid in free.record.acknowledged for line in reader.record.received) >= spoken,
            "what was said by way of the other server",
        )
        resource.prlimit(nodes[0].program.pid, resource.RLIMIT_FSIZE, NO_LIMIT)
        await self.heals(hindered)
        await self.finish(nodes, talkers)

    async def test_full_disk(self) -> None:
        """A server whose disk is full refuses as BUSY, and goes on once there is space again."""
        unshare, script = needs("unshare"), Path(sys.executable).with_name("twistd")
        self.data.mkdir()
        node = self.chatd(node=1)
        mounted = f'mount -t tmpfs -o size=8m none {self.data} || {{ echo cannot mount; exit 7; }}; exec "$@"'
        node.program = self.run_program(
            *(unshare, "--user", "--map-root-user", "--mount", "sh", "-c", mounted, "sh"),
            *(sys.executable, os.fspath(script), "-n", "--pidfile=", *node.argv),
        )
        ready = await node.program.prints("^chatd ready|cannot mount|unshare failed")
        if not ready.string.startswith("chatd ready"):
            raise SkipTest(f"nobody may mount a small disk here: {ready.string}")
        disk = Path(f"/proc/{node.program.pid}/root{self.data.resolve()}")
        talkers = await self.crowd([node.port])
        for _ in range(2):
            for talker in talkers:
                talker.talk(["#all"], window=2)
            await self.tally.more(20)
            fill(disk / "filler")
            await together([self.refused(talker) for talker in talkers])
            (disk / "filler").unlink()
            await together([self.heals(talker) for talker in talkers])
            await settle(talkers)
        for talker in talkers:
            await talker.stop()
        node.stop()
        while not is_frozen(node.program.pid):
            pass
        copy = self.folder / "copy"
        shutil.copytree(disk, copy, ignore=shutil.ignore_patterns("run"))
        node.cont()
        self.assertEqual(await node.term(), 0)
        self.assertEqual([str(fault) for fault in examine(copy, talkers)][:20], [])


async def together(doing: Sequence[Coroutine[Any, Any, Any]]) -> list[Any]:
    """Do all of these at once; their results."""
    return await gatherResults([Deferred.fromCoroutine(each) for each in doing])


def take(turn: int) -> bool:
    """Take the turn to write, if it is nobody's."""
    try:
        fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def fill(path: Path) -> None:
    """Fill the disk to the last byte."""
    with path.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


class LateTests(SynchronousTestCase):
    """A program whose first line comes late: its network is slow, or the server was."""

    def test_door(self) -> None:
        """A program that has been shown the door meanwhile finds each of its answers on a line of its own."""
        server = start(self)
        client = server.connect()
        server.advance(1)
        server.factory.sweep()
        self.assertIn(b'Press "l" to log in', client.read())
        client.send(b'{"id":1,"do":"ping","token":"x"}\n')
        self.assertTrue(client.read().startswith(b'\n{"re":1,"ok":'))

    def test_server_late(self) -> None:
        """Where the server was too busy to read what has come already, it does not take that for silence."""
        server = start(self)
        client = server.connect()
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        client.protocol._socket = ours
        theirs.send(b'{"id":1,"do":"ping"}\n')
        server.advance(1)
        server.factory.sweep()
        self.assertEqual(client.read(), b"")


class SlowReaderTests(SynchronousTestCase):
    """A client that reads more slowly than its room talks."""

    def room(self, ring_bytes: int) -> tuple[Server, Client, Client]:
        """A server that soon finds out who is slow; alice, who talks, and bob, who reads."""
        server = start(self, settings(send_buffer_bytes=1000, ring_bytes=ring_bytes))
        alice, bob = server.program("alice"), server.program("bob")
        alice.call(do="create", room="#r", people=["bob"])
        bob.events()
        return server, alice, bob

    def flood(self, alice: Client) -> None:
        """More than the kernel takes for a client that does not read."""
        for number in range(20):
            alice.call(do="say", room="#r", text=f"{number} " + "x" * 300)

    def test_barrier(self) -> None:
        """The answer to a ping comes behind everything up to it, also where the client had fallen behind."""
        server, alice, bob = self.room(ring_bytes=1000)
        bob.transport.stick()
        self.flood(alice)
        server.readers.hold()
        bob.transport.drain()
        bob.send(b'{"id":"p","do":"ping","token":"x"}\n')
        server.advance(0)
        server.readers.release()
        came = bob.objects()
        self.assertEqual([event["text"].split()[0] for event in came[:-1]], [str(number) for number in range(20)])
        self.assertEqual(came[-1]["re"], "p")

    def test_one_call_after_the_other(self) -> None:
        """A client that falls behind and catches up while a call is under way still has its calls done in order."""
        server, alice, bob = self.room(ring_bytes=1_000_000)
        server.readers.hold()
        bob.send(b'{"id":"first","do":"members","room":"#r"}\n{"id":"second","do":"away","text":"x"}\n')
        bob.transport.stick()
        self.flood(alice)
        bob.transport.drain()
        server.advance(0)
        server.readers.release()
        self.assertEqual([each["re"] for each in bob.objects() if "re" in each], ["first", "second"])
        self.assertIn("ok", bob.call(do="ping", token="x"))


def start(test: SynchronousTestCase, settings: Settings | None = None) -> Server:
    """A server in memory."""
    server = Server(Path(test.mktemp()), settings=settings)
    test.addCleanup(server.stop)
    return server


class RaceTests(LiveTestCase):
    """Twenty at once, at three servers: one of them does it, and everybody agrees about it."""

    COUNT = 20

    async def race(self, starts: Sequence[Deferred[dict[str, Any]]]) -> tuple[int, Counter[str]]:
        """Which of these calls was done, where exactly one must have been, and how the others were refused."""
        results = await DeferredList(starts, consumeErrors=True)
        winners = [number for number, (done, _) in enumerate(results) if done]
        self.assertEqual(len(winners), 1, results)
        codes: Counter[str] = Counter()
        for done, result in results:
            if not done:
                result.trap(Refused)
                codes[result.value.code] += 1
        return winners[0], codes

    async def setup_servers(self) -> list[Chatd]:
        """Three instances."""
        return await together([self.chatd(node=number).start() for number in (1, 2, 3)])

    async def test_races(self) -> None:
        """Of 20 racing create, approve, transfer and kick each, one is done, and all servers agree about the roles."""
        nodes = await self.setup_servers()
        people = [await self.person(nodes[n % 3].port, f"p{n}") for n in range(self.COUNT)]
        bob = await self.person(nodes[0].port, "bob")
        for number in range(3):
            room = f"#race{number}"
            first, codes = await self.race([person.start("create", room=room) for person in people])
            self.assertEqual(codes, {"NAME_TAKEN": self.COUNT - 1})
            owner = people[first]
            hands = [await self.same(owner, nodes[n % 3]) for n in range(self.COUNT)]
            for person in people:
                if person is not owner:
                    await owner.call("add", room=room, user=person.name)
            await bob.call("join", room=room)
            _, codes = await self.race([hand.start("approve", room=room, who="bob") for hand in hands])
            self.assertEqual(codes, {"NO_REQUEST": self.COUNT - 1})
            _, codes = await self.race([hand.start("kick", room=room, user="bob") for hand in hands])
            self.assertEqual(codes, {"NOT_THERE": self.COUNT - 1})
            heirs = [person.name if person is not owner else "p0" for person in people]
            heirs = ["p1" if name == owner.name else name for name in heirs]
            won, codes = await self.race(
                [hand.start("transfer", room=room, user=heir) for hand, heir in zip(hands, heirs, strict=True)]
            )
            self.assertEqual(codes, {"ONLY_ADMIN": self.COUNT - 1})
            roles = {person.name: "member" for person in people} | {heirs[won]: "owner"}
            for hand in hands[:3]:
                await hand.ping()
                members = (await hand.call("members", room=room))["members"]
                self.assertEqual({member["name"]: member["role"] for member in members}, roles)
            for hand in hands:
                hand.abort()
                await hand.end()
        log, spans = stored(self.data)
        kinds = Counter(line.kind for line in log)
        self.assertEqual([kinds[kind] for kind in ("created", "removed", "transferred")], [3, 3, 3])
        rooms = {line.room for line in log if line.kind == "created"}
        self.assertEqual(len([span for span in spans if span.room in rooms and span.until is None]), 3 * self.COUNT)

    async def same(self, client: JsonClient, node: Chatd) -> JsonClient:
        """One more session of this person, at this server."""
        other = await self.client(node.port)
        await other.call("hello", token=client.token)
        return other


class StormTests(LiveTestCase):
    """A cluster behind its front door, while its nodes are killed."""

    settings = CONFIG

    async def test_storm(self) -> None:
        """Five nodes behind HAProxy, killed one after the other under load, lose, double and reorder nothing."""
        needs("haproxy")
        port = free_ports(6)
        cluster = self.twistd(
            *("chatd-cluster", "--nodes", "5", "--port", str(port)),
            *("--data", os.fspath(self.data), "--config", os.fspath(self.config)),
        )
        await cluster.prints("^front door ")
        outcome = await storm(
            self.data, port, clients=8, seed=4, kills=5, pause=0.02, when=lambda tally: tally.more(200)
        )
        cluster.term()
        self.assertEqual(await cluster.end(), 0)
        self.assertEqual([str(fault) for fault in examine(self.data, outcome.talkers)][:20], [])
