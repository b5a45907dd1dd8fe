"""The clock of the machine is set, back and forth: nothing is lost, nobody waits for it, and it heals by itself."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from chatd.clock import Calendar
from chatd.commands import account, files
from tests.live import TWISTD, JsonClient, LiveTestCase, Program, free_ports, new_mid
from tests.memory import PASSWORD, Server, instances, settings
from tests.sealing import equip

HOUR = 3_600_000
DAY = 24 * HOUR
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


class CalendarTests(SynchronousTestCase):
    """The time by which things end for good."""

    def calendar(self, known: int | None = None) -> Calendar:
        """One that began 10 s after the machine did."""
        self.moment, self.passed = 100 * DAY, 10_000
        return Calendar(lambda: self.moment, known, passed=lambda: self.passed)

    def wait(self, ms: int) -> None:
        """Time passes."""
        self.moment += ms
        self.passed += ms

    def test_a_leap(self) -> None:
        """Small corrections are followed; a leap is not before a day of steadiness; back is believed at once."""
        calendar = self.calendar()
        self.moment += HOUR // 2
        self.assertEqual((calendar.now(), calendar.doubts), (self.moment, 0))
        for leap in (40 * DAY, -40 * DAY):
            self.moment += leap
            self.assertEqual((calendar.now(), calendar.doubts), (self.moment - leap - HOUR // 2, leap + HOUR // 2))
            self.wait(DAY - 1)
            self.assertEqual(calendar.now(), self.moment - leap - HOUR // 2)
            self.moment -= leap
            self.assertEqual((calendar.now(), calendar.doubts), (self.moment, 0))
        self.moment += 40 * DAY
        calendar.now()
        self.wait(DAY)
        self.assertEqual((calendar.now(), calendar.doubts), (self.moment, 0))

    def test_many_leaps(self) -> None:
        """The day of steadiness begins anew with every leap."""
        calendar = self.calendar()
        for _ in range(5):
            self.moment += 10 * DAY
            calendar.now()
            self.wait(DAY - 1)
        self.assertEqual(calendar.now(), 100 * DAY + 5 * (DAY - 1))

    def test_at_the_start(self) -> None:
        """A server that was off for less than a day goes on by the clock; after more, where the clock was left, until
        that has stood for a day.
        """
        for known, believed in ((None, 100), (100 * DAY, 100), (99 * DAY, 100), (60 * DAY, 60), (140 * DAY, 140)):
            calendar = self.calendar(known)
            self.wait(5)
            self.assertEqual(calendar.now(), believed * DAY + 5, known)
            self.wait(DAY)
            self.assertEqual(calendar.now(), self.moment)


class EndTests(SynchronousTestCase):
    """What ends for good after a time outlives a clock that is wrong for less than a day."""

    def setUp(self) -> None:
        self.server = Server(Path(self.mktemp()))
        self.alice = self.server.program("alice")
        self.alice.call(do="create", room="#ops")
        self.token = self.alice.welcome["token"]
        self.alice.call(do="upload", room="#ops", size=5, name="notes.txt", mid=new_mid())
        device = equip(self.alice).devices[0].id
        number = self.server.sql("SELECT id FROM device WHERE name = ?", device)[0][0]
        self.server.sql(
            "INSERT INTO envelope (device, sender, at, body) VALUES (?1, ?1, ?2, '')", number, self.server.now
        )
        self.server.sql(
            "INSERT INTO invitation (code, remaining, uses, created, until, note) VALUES ('x', 1, 1, 0, ?, '')",
            self.server.now + 7 * DAY,
        )
        self.addCleanup(lambda: self.server.stop())

    def sweep(self) -> None:
        """All that an instance sweeps away now and then."""
        days = self.server.instance.settings.limits.session_days
        for run in (
            lambda tx: account.tidy_logins(tx, [], days),
            lambda tx: tx.drop_unfetched(30, 200),
            lambda tx: files.sweep(tx, self.server.instance.settings.limits),
        ):
            self.server.db.write(run)
            self.server.advance(0)

    def left(self) -> dict[str, int]:
        """How much there is of each."""
        return {
            table: self.server.sql(f"SELECT count(*) FROM {table}")[0][0]
            for table in ("login", "envelope", "file", "invitation")
        }

    def resumes(self) -> bool:
        """Whether the token is good."""
        return self.server.connect().code(do="hello", token=self.token) == "ok"

    def test_forth_and_back(self) -> None:
        """A clock that is two months ahead, or behind, for some hours costs nobody their session, an envelope, an
        upload or an invitation; when it is right again, nothing has gone, and all ends when it would have.
        """
        there = self.left()
        self.assertEqual(set(there.values()), {1})
        for leap in (60 * DAY, -60 * DAY):
            self.server.moment += leap
            for _ in range(3):
                self.server.advance(600)
                self.sweep()
                self.assertTrue(self.resumes())
            self.server.moment -= leap
            self.sweep()
            self.assertEqual(self.left(), there)
            self.assertTrue(self.resumes())
        for days in (32, 2):  # a file that goes is remembered for a day
            self.server.advance(days * DAY // 1000)
            self.sweep()
        self.assertEqual(set(self.left().values()), {0})
        self.assertFalse(self.resumes())

    def test_restarted_under_it(self) -> None:
        """So it is where the server is restarted under the wrong clock; once that has stood for a day, it is right."""
        there = self.left()
        self.sweep()
        for leap in (60 * DAY, 0):
            self.server.stop()
            self.server = Server(self.server.data, moment=self.server.now + leap)
            self.server.program(f"bob{leap}").call(do="logout")
            self.sweep()
            self.assertTrue(self.resumes())
            self.assertEqual(self.left(), there)
        self.server.advance(DAY // 1000 + 1)
        self.sweep()
        self.assertFalse(self.resumes())


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
