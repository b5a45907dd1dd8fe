"""What comes of a file is worked on in order, beside the connection, and never piles up; and what a cut costs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from client.files.intake import MOST, Intake
from client.files.pieces import Broken, Pieces
from client.files.source import Source
from client.files.transfer import Transfer, upload
from client.files.wires import Cut, Receiving


class Threads:
    """Threads that work when they are told to."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Callable[..., Any], tuple[object, ...], Deferred[Any]]] = []

    def __call__(self, do: Callable[..., Any], *args: object) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self.waiting.append((do, args, done))
        return done

    def work(self) -> None:
        """Do what waits now."""
        waiting, self.waiting = self.waiting, []
        for do, args, done in waiting:
            try:
                result = do(*args)
            except Exception:
                done.errback()
            else:
                done.callback(result)


class Transport:
    """The connection, as far as it is used."""

    def __init__(self) -> None:
        self.reads = True
        self.gone = False

    def setTcpNoDelay(self, on: bool) -> None:
        """As asked."""

    def write(self, data: bytes) -> None:
        """The client sends."""

    def pauseProducing(self) -> None:
        """It reads no more."""
        self.reads = False

    def resumeProducing(self) -> None:
        """It reads on."""
        self.reads = True

    def loseConnection(self) -> None:
        """It ends."""
        self.gone = True

    abortConnection = loseConnection


class IntakeTests(SynchronousTestCase):
    """client/files/intake.py, and the connection that brings it."""

    def setUp(self) -> None:
        self.threads = Threads()
        self.kept, self.opened = bytearray(), bytearray()
        self.body = bytes(range(256)) * 40

    def intake(self, size: int = 10_240, *, sealed: bool = True) -> Intake:
        """One for so many bytes."""
        open_ = self.opened.extend if sealed else None
        return Intake(self.threads, Pieces(size, hashlib.sha256()), self.kept.extend, open_)

    def wire(self, intake: Intake, start: int = 0) -> Receiving:
        """A connection that has been told where it begins."""
        wire = Receiving("0" * 32, lambda _, do: None, intake, lambda done: None)
        self.transport: Any = Transport()
        wire.makeConnection(self.transport)
        wire.dataReceived(b'{"ok":{"start":%d,"size":%d}}\n' % (start, intake.pieces.size))
        return wire

    def test_in_order(self) -> None:
        """What comes while something is worked on waits, and is done next, all of it at once; each step after the one
        before; it is through when all is done.
        """
        intake = self.intake()
        wire = self.wire(intake)
        for at in range(0, len(self.body), 1_000):
            wire.dataReceived(self.body[at : at + 1_000])
        self.assertEqual(len(self.threads.waiting), 1)
        rounds = 0
        while self.threads.waiting:
            self.assertNoResult(wire.done)
            self.threads.work()
            rounds += 1
        self.assertEqual((bytes(self.kept), bytes(self.opened)), (self.body, self.body))
        self.assertLess(rounds, 5)
        self.successResultOf(wire.done)
        intake.pieces.check(hashlib.sha256(self.body).hexdigest())

    def test_the_other_end_hangs_up(self) -> None:
        """When all has come the connection may end: what is still worked on makes it through all the same."""
        wire = self.wire(self.intake(sealed=False))
        wire.dataReceived(self.body)
        wire.connectionLost()
        self.assertNoResult(wire.done)
        self.threads.work()
        self.successResultOf(wire.done)

    def test_cut(self) -> None:
        """What had come when it was cut is done before the next connection is told where to begin."""
        intake = self.intake(sealed=False)
        wire = self.wire(intake)
        wire.dataReceived(self.body[:1_000])
        wire.connectionLost()
        self.failureResultOf(wire.done, Cut)
        idle = Deferred.fromCoroutine(intake.idle())
        self.assertNoResult(idle)
        self.threads.work()
        self.successResultOf(idle)
        self.assertEqual(intake.pieces.have, 1_000)
        wire = self.wire(intake, 1_000)
        wire.dataReceived(self.body[1_000:])
        self.threads.work()
        self.successResultOf(wire.done)
        self.assertEqual(bytes(self.kept), self.body)

    def test_it_does_not_pile_up(self) -> None:
        """While much waits nothing more is read; then it is read on."""
        intake = self.intake(MOST * 3)
        wire = self.wire(intake)
        wire.dataReceived(bytes(MOST))
        self.assertTrue(self.transport.reads)
        wire.dataReceived(bytes(1))
        self.assertFalse(self.transport.reads)
        self.threads.work()  # written: it waits to be opened
        self.assertTrue(intake.full or self.transport.reads)
        self.threads.work()
        self.threads.work()
        self.assertTrue(self.transport.reads)

    def test_what_breaks(self) -> None:
        """A step that fails ends the connection with its reason; nothing is done after it."""
        intake = self.intake(5_000)
        wire = self.wire(intake)
        wire.dataReceived(self.body)
        self.threads.work()
        self.failureResultOf(wire.done, Broken)
        self.assertTrue(self.transport.gone)
        self.failureResultOf(Deferred.fromCoroutine(intake.idle()), Broken)
        self.successResultOf(Deferred.fromCoroutine(intake.stop()))
        self.assertEqual(self.threads.waiting, [])

    def test_stopped(self) -> None:
        """What waits is left, what is at work comes to its end before anything is closed."""
        intake = self.intake()
        wire = self.wire(intake)
        for at in (0, 1_000):
            wire.dataReceived(self.body[at : at + 1_000])
        wire.done.addErrback(lambda _: None)
        wire.done.cancel()
        stopped = Deferred.fromCoroutine(intake.stop())
        self.assertNoResult(stopped)
        while self.threads.waiting:
            self.threads.work()
        self.successResultOf(stopped)
        self.assertEqual((len(self.kept), len(self.opened)), (1_000, 1_000))


class Flapping(Transport):
    """A connection that takes one piece of the file, and is cut."""

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """It is ready for the first piece."""
        producer.resumeProducing()
        producer.connectionLost()


class Host:
    """A chat whose uploads are cut again and again. `starts`: what the server says that it has, each time."""

    def __init__(self, size: int, starts: list[int]) -> None:
        self.size = size
        self.starts = starts
        self.waited: list[float] = []

    def call(self, fields: Mapping[str, Any]) -> Deferred[dict[str, Any]]:
        """The server gives tickets, until there is nothing more to be tried."""
        return succeed({"file": 1, "ticket": "0" * 32} if self.starts else {"file": 1, "seq": 7})

    def open(self, wire: Callable[[], Any]) -> Deferred[Any]:
        """It connects."""
        made = wire()
        made.makeConnection(Flapping())
        made.dataReceived(b'{"ok":{"start":%d,"size":%d}}\n' % (self.starts.pop(0), self.size))
        return succeed(made)

    def connected(self) -> Deferred[None]:
        """It is."""
        return succeed(None)

    def later(self, seconds: float, do: Callable[[], None]) -> Any:
        """Waits are noted, and over."""
        if seconds < 30:
            self.waited.append(seconds)
            do()

    def in_thread(self, do: Callable[..., Any], *args: object) -> Deferred[Any]:
        """At once."""
        return succeed(do(*args))

    def now(self) -> float:
        """The time."""
        return 0.0

    def changed(self) -> None:
        """Nobody looks."""


class CutTests(SynchronousTestCase):
    """client/files/transfer.py, an upload."""

    def waited(self, starts: list[int]) -> list[float]:
        """How long is waited after each cut."""
        path = Path(self.mktemp())
        path.write_bytes(bytes(1_000_000))
        source = Source(path, digest="0" * 64)
        self.addCleanup(source.close)
        host = Host(source.size, starts)
        transfer = Transfer("key", "x", source.size, True, host)
        self.successResultOf(Deferred.fromCoroutine(upload(transfer, source, {"do": "upload"})))
        return host.waited

    def test_every_cut_brings_some(self) -> None:
        """While the server has more each time it goes on at once, also where it has less than had been handed over."""
        starts = list(range(0, 20_000, 1_000))
        self.assertEqual(self.waited(starts), [0.0] * 20)

    def test_nothing_arrives(self) -> None:
        """Where it has nothing more than the time before, each wait is longer; what arrives makes them short again."""
        starts = [0] * 6 + [1_000]
        waited = self.waited(starts)
        self.assertEqual(waited[:5], [0.0, 0.5, 1.0, 2.0, 4.0])
        self.assertEqual(waited[-1], 0.0)
