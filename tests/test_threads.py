"""The threads beside the reactor's: everything is done in its order, what came of it is told, and nothing stays."""

from __future__ import annotations

import gc
import threading
from typing import Any

from twisted.internet import reactor
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from chatd.threads import Threads


class ThreadsTests(SynchronousTestCase):
    """Threads that are started, asked and stopped."""

    def threads(self, many: int = 1) -> Threads:
        """Some, which end with the test."""
        threads = Threads("test", many)
        self.addCleanup(threads.stop)
        return threads

    def test_in_order(self) -> None:
        """What is handed over before the start, too, is done in its order, on the thread of that name."""
        threads = self.threads()
        told: list[Any] = []
        for number in range(100):
            threads.callInThreadWithCallback(
                lambda well, found: told.append((well, found)),
                lambda number, *, name: (number, name, threading.current_thread().name),
                number,
                name="a",
            )
            if number == 50:
                threads.start()
                threads.start()
        threads.stop()
        self.assertEqual(told, [(True, (number, "a", "test-0")) for number in range(100)])

    def test_a_failure(self) -> None:
        """What is raised is told as a Failure, and the thread goes on."""
        threads = self.threads()
        threads.start()
        told: list[Any] = []
        threads.callInThreadWithCallback(lambda well, found: told.append((well, found)), lambda: 1 / 0)
        threads.callInThreadWithCallback(lambda well, found: told.append((well, found)), lambda: 7)
        threads.stop()
        (well, failure), second = told
        self.assertFalse(well)
        self.assertIsInstance(failure, Failure)
        self.assertTrue(failure.check(ZeroDivisionError))
        self.assertEqual(second, (True, 7))

    def test_side_by_side(self) -> None:
        """Several threads work at a time: each waits here until all do."""
        threads = self.threads(3)
        threads.start()
        meet = threading.Barrier(3, timeout=10)
        told: list[bool] = []
        for _ in range(3):
            threads.callInThreadWithCallback(lambda well, found: told.append(well), meet.wait)
        threads.stop()
        self.assertEqual(told, [True] * 3)

    def test_over(self) -> None:
        """Behind the end nothing is done; threads that were never started end, too."""
        threads = self.threads()
        threads.stop()
        done: list[int] = []
        threads.callInThreadWithCallback(lambda well, found: done.append(1), lambda: done.append(2))
        threads.start()
        threads.stop()
        self.assertEqual(done, [])


class GarbageTests(TestCase):
    """By `deferToThreadPool`, as adbapi does."""

    async def test_nothing_is_left(self) -> None:
        """A thousand calls leave nothing to the collector of garbage: it would stop everybody."""
        threads = Threads("test", 1)
        threads.start()
        self.addCleanup(threads.stop)
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        for number in range(1000):
            found = await deferToThreadPool(reactor, threads, lambda number=number: number)  # type: ignore[arg-type]
            self.assertEqual(found, number)
        self.assertLess(gc.collect(), 50)
