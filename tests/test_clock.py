"""The clock of the machine is set, back and forth: nothing is lost, nobody waits for it, and it heals by itself."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.live import TWISTD, JsonClient, LiveTestCase, Program, free_ports, new_mid
from tests.memory import PASSWORD, Server, instances, settings

HOUR = 3_600_000
CUSTOM = '''
"""The time of day, wrong by as many seconds as stand in a file."""
import os, time
_file = os.open(os.environ["CHATD_TEST_CLOCK"], os.O_RDONLY)
_time, _ns = time.time, time.time_ns
def _wrong():
    return int(os.pread(_file, 32, 0) or 0)
time.time = lambda: _time() + _wrong()
time.time_ns = lambda: _ns() + _wrong() * 10**9
'''


class JumpTests(SynchronousTestCase):
    """In memory, where the time of day is a number."""

    def test_order(self) -> None:
        """What is said stays in the order in which it was said, whatever the clock says of it."""
        server = Server(Path(self.mktemp()))
        self.addCleanup(server.stop)
        alice = server.program("alice")
        alice.call(do="create", room="#ops")
        for number, jump in enumerate((0, HOUR, -2 * HOUR, HOUR)):
            server.moment += jump
            alice.call(do="say", room="#ops", text=str(number), mid=new_mid())
        lines = alice.call(do="history", room="#ops")["ok"]["lines"]
        self.assertEqual([line["text"] for line in lines], ["0", "1", "2", "3"])

    def test_waiting(self) -> None:
        """Who waits after wrong passwords waits no longer for a clock that is set back."""
        server = Server(Path(self.mktemp()), settings=settings(limit_loopback=True))
        self.addCleanup(server.stop)
        server.program("alice")
        for _ in range(3):
            server.connect().code(do="login", name="alice", password="Wrong7horse")
        self.assertEqual(server.connect().code(do="login", name="alice", password=PASSWORD), "THROTTLED")
        server.moment -= HOUR
        self.assertEqual(server.connect().code(do="login", name="alice", password=PASSWORD), "ok")

    def test_who_is_there(self) -> None:
        """An instance that died before the clock was set back is dead, and one that lives is alive after a second."""
        first, second = instances(Path(self.mktemp()))
        self.addCleanup(first.stop)
        self.addCleanup(second.stop)
        alice = first.program("alice")
        second.program("bob")
        second.peers._beats.stop()
        for server in (first, second):
            server.moment -= HOUR
        first.advance(1.1)
        people = {name: online for name, online in alice.call(do="census")["ok"].items() if name in ("online", "nodes")}
        self.assertEqual(people, {"online": 1, "nodes": 1})
        second.peers._beats.start(1.0)
        first.advance(1.1)
        self.assertEqual(alice.call(do="census")["ok"]["nodes"], 2)


class LiveTests(LiveTestCase):
    """Two real instances whose clock is wrong."""

    def start(self, port: int, node: int) -> Program:
        """One instance."""
        listen = f"tcp:{port}:interface=127.0.0.1"
        words = ("chatd", "--data", os.fspath(self.data), "--config", os.fspath(self.config), "--listen", listen)
        path = os.pathsep.join((os.fspath(self.custom), self.environment()["PYTHONPATH"]))
        clock = {"PYTHONPATH": path, "CHATD_TEST_CLOCK": os.fspath(self.clock.absolute())}
        return self.run_program(*TWISTD, *words, "--node", str(node), **clock)

    async def online(self, client: JsonClient, wanted: set[str]) -> None:
        """Wait until these, and no others, are online."""

        async def there() -> bool:
            return set((await client.call("online", room="#all"))["online"]) == wanted

        await self.eventually(there, f"{wanted} to be online", 10)

    async def test_set_back_and_forth(self) -> None:
        """Talking goes on over every jump, on both, in one order; who is there is known within seconds."""
        self.custom = self.folder / "custom"
        self.custom.mkdir()
        (self.custom / "sitecustomize.py").write_text(CUSTOM)
        self.clock = self.folder / "clock"
        self.clock.write_text("0")
        first, second = free_ports(), free_ports()
        nodes = [self.start(first, 1), self.start(second, 2)]
        for node in nodes:
            await node.prints("^chatd ready on ")
        alice, bob = await self.person(first, "alice"), await self.person(second, "bob")
        await alice.call("create", room="#all", people=["bob"])
        said = 0
        for jump in (-3_600, 7_200, -86_400, 0):
            self.clock.write_text(f"{jump:<31}")
            for client in (alice, bob):
                for _ in range(5):
                    await client.call("say", room="#all", text=str(said), mid=new_mid())
                    said += 1
            await self.online(alice, {"alice", "bob"})
        for client in (alice, bob):
            await client.ping()
            self.assertEqual([event["text"] for event in client.said()], [str(number) for number in range(said)])
        self.clock.write_text(f"{-7_200:<31}")
        nodes[1].kill9()
        await nodes[1].end()
        await self.online(alice, {"alice"})
        self.assertNotIn("Traceback", "\n".join(nodes[0].lines))
