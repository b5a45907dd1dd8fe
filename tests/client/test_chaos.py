"""`chat` in a terminal while everything around it is killed: the nodes behind HAProxy, and `chat` itself."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import tempfile
from pathlib import Path

from tests.chaos.nodes import node_pids
from tests.client.live import ClientTestCase, Terminal
from tests.live import free_ports, needs

_MINE = re.compile(r"^\d\d:\d\d bob: line (\d+)  (\.|\+\+?)$", re.MULTILINE)


class ChaosTests(ClientTestCase):
    """What was marked arrives once and in order, whatever dies."""

    LINES = 80
    timeout = 300

    async def seen(self, bob: Terminal) -> dict[int, str]:
        """The lines of bob's that stand on the screen or above it, and their marks."""
        return {int(number): mark for number, mark in _MINE.findall(await bob.screen(past=True))}

    async def test_everything_is_killed(self) -> None:
        """Lines typed in a terminal while nodes and `chat` itself die by kill -9: each that was marked is heard by
        alice, once and in the order typed."""
        needs("haproxy")
        port = free_ports(4)
        self.data = Path(tempfile.mkdtemp())  # HAProxy's own socket stands there, and its path must be short
        self.addCleanup(shutil.rmtree, self.data)
        cluster = self.twistd(
            *("chatd-cluster", "--nodes", "3", "--port", str(port)),
            *("--data", os.fspath(self.data), "--config", os.fspath(self.config)),
        )
        await cluster.prints("^front door ")
        await self.registered("alice", port)
        await self.registered("bob", port)
        alice = self.chat("--plain", "--profile", "alice")
        await self.has_keys("alice")
        code, printed = await self.script("printf '/create #ops alice\\n' | chat --profile bob")
        self.assertEqual((code, printed[:1]), (0, ["#ops created. You are admin. Added alice."]), printed)
        await alice.prints("Now in #ops")
        bob = await self.terminal("--profile", "bob")
        await bob.shows("#ops(admin)", " online")
        chosen = random.Random(7)
        promised: dict[int, str] = {}
        killed = {"nodes": 0, "chat": 0}
        for number in range(self.LINES):
            await bob.type(f"line {number}")
            if number % 17 == 8 and (pids := node_pids(self.data)):
                os.kill(chosen.choice(sorted(pids.values())), signal.SIGKILL)
                killed["nodes"] += 1
            if number % 25 != 20:
                await bob.shows(f"bob: line {number}  ")
            else:
                for _ in range(chosen.randrange(4)):
                    await bob.screen()  # any moment
                promised |= await self.seen(bob)
                bob.kill()
                killed["chat"] += 1
                bob = await self.terminal("--profile", "bob")
                await bob.shows("#ops(admin)")
        await bob.type("the end")
        await bob.until(lambda screen: re.search(r"bob: the end  \+", screen), "the last line stored", seconds=120)
        promised |= await self.seen(bob)
        await alice.until(lambda: any("bob: the end" in line for line in alice.lines), "the last line heard", 120)
        heard = [int(number) for line in alice.lines for number in re.findall(r"bob: line (\d+)$", line)]
        self.assertEqual(heard, sorted(set(heard)), "heard twice, or not in order")
        self.assertEqual(set(promised) - set(heard), set(), "marked, and never heard")
        self.assertGreater(len(heard), self.LINES - 1 - killed["chat"], heard)
        self.assertTrue(killed["nodes"] > 3 and killed["chat"] > 2, killed)
        await bob.type("/quit")
        await bob.shows("Nothing unsent.")
        cluster.term()
        await cluster.end()
