"""The line before the password thread: bounded, and nobody fills it for all others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from chatd.errors import Refusal
from chatd.slow import EACH, Line
from tests.memory import ABROAD, Server, settings


class LineTests(SynchronousTestCase):
    """Work of several networks for one thread, which does one thing at a time."""

    def setUp(self) -> None:
        self.done: list[Any] = []
        self.under_way: list[Deferred[Any]] = []
        self.refused: list[tuple[Any, str]] = []

    def line(self, most: int) -> Line:
        """A line for so many, before a thread that takes as long as the test wants."""

        def do(work: Callable[[], Any]) -> Deferred[Any]:
            self.done.append(work())
            self.under_way.append(Deferred())
            return self.under_way[-1]

        return Line(do, most)

    def come(self, line: Line, what: str, who: str) -> None:
        """One more try of somebody's."""

        def refused(failure: Any) -> None:
            failure.trap(Refusal)
            self.refused.append((what, failure.value.code))

        line.run(lambda: what, who).addErrback(refused)

    def finish(self) -> None:
        """The thread works off all that waits."""
        while self.under_way:
            self.under_way.pop(0).callback(None)

    def test_in_turn(self) -> None:
        """However many tries one network brings, another's waits for one of them at most."""
        line = self.line(20)
        for number in range(5):
            self.come(line, f"a{number}", "a")
        self.come(line, "b0", "b")
        self.come(line, "c0", "c")
        self.come(line, "b1", "b")
        self.finish()
        self.assertEqual(self.done, ["a0", "a1", "b0", "c0", "a2", "b1", "a3", "a4"])
        self.assertEqual((len(line), self.refused), (0, []))

    def test_of_one_network(self) -> None:
        """So many of one network wait, and one is under way; more are throttled, and may come when there is room."""
        line = self.line(100)
        for number in range(EACH + 3):
            self.come(line, f"a{number}", "a")
        self.assertEqual(self.refused, [("a11", "THROTTLED"), ("a12", "THROTTLED")])
        self.under_way.pop(0).callback(None)
        self.come(line, "again", "a")
        self.assertEqual(len(self.refused), 2)

    def test_full(self) -> None:
        """In a line that is full, somebody new takes the last place of who has most; where all have one, nobody's."""
        line = self.line(4)
        self.come(line, "under way", "x")
        for what in ("a0", "a1", "a2", "b0"):
            self.come(line, what, what[0])
        self.come(line, "c0", "c")
        self.come(line, "b1", "b")
        self.come(line, "d0", "d")
        self.assertEqual(self.refused, [("a2", "BUSY"), ("b1", "BUSY"), ("a1", "BUSY")])
        self.come(line, "e0", "e")
        self.assertEqual(self.refused[3:], [("e0", "BUSY")])
        self.finish()
        self.assertEqual(self.done, ["under way", "a0", "b0", "c0", "d0"])

    def test_the_end(self) -> None:
        """When the instance stops, who waits is told to come back; what is under way is finished."""
        line = self.line(4)
        for what in ("a0", "a1", "b0"):
            self.come(line, what, what[0])
        line.refuse()
        self.assertEqual(self.refused, [("a1", "DRAINING"), ("b0", "DRAINING")])
        self.finish()
        self.assertEqual((self.done, len(line)), (["a0"], 0))


class CrowdTests(SynchronousTestCase):
    """A server in memory, whose password thread stands still until a test lets it go."""

    def serve(self, **limits: Any) -> Server:
        """One with these limits."""
        server = Server(Path(self.mktemp()), settings=settings(**limits))
        self.addCleanup(server.stop)
        return server

    def test_a_crowd_of_addresses(self) -> None:
        """A crowd fills the line from many addresses, each within its limit. Who comes then, comes in behind one try of
        each address, and is not refused.
        """
        server = self.serve(passwords_waiting=40)
        server.person("bob")
        checked: list[str] = []
        check = server.slow._do

        def counted(work: Callable[[], Any]) -> Deferred[Any]:
            checked.append("")
            return check(work)

        server.slow._do = counted
        server.passwords.hold()
        crowd = [server.connect(f"198.51.100.{number % 8}") for number in range(80)]
        for number, client in enumerate(crowd):
            client.ask(do="login", name=f"nobody{number}", password="wrong")
        self.assertEqual(len(server.slow), 40)
        bob = server.back("bob", ABROAD)
        self.assertEqual(len(server.slow), 40)
        checked.clear()
        while server.passwords.step():
            if bob.protocol.session.account:
                break
        self.assertTrue(bob.protocol.session.account)
        self.assertLessEqual(len(checked), 10)

    def test_a_network_of_ipv6(self) -> None:
        """The addresses of one /64 are one network's."""
        server = self.serve()
        server.passwords.hold()
        clients = [server.connect(f"2001:db8::{number:x}") for number in range(1, 30)]
        for number, client in enumerate(clients):
            client.ask(do="login", name=f"nobody{number}", password="wrong")
        self.assertEqual(len(server.slow), EACH)

    def test_who_has_hung_up(self) -> None:
        """A try whose client is gone costs the thread nothing."""
        server = self.serve()
        server.passwords.hold()
        clients = [server.connect(ABROAD) for _ in range(5)]
        for number, client in enumerate(clients):
            client.ask(do="register", name=f"nobody{number}", password="Correct7horse")
        for client in clients[1:]:
            client.lose()
        server.passwords.release()
        server.advance(0)
        self.assertEqual(server.sql("SELECT name FROM account"), [("nobody0",)])
        self.assertEqual(server.instance.gate._inside, 0)
