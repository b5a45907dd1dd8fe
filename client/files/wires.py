"""The raw connection (docs/protocol.md, files): one ticket, one transfer, no framing.

    we   RAW <ticket>\n
    it   {"ok": {"start": …}}\n          or {"error": {…}}\n, here or at any later point
    …    the bytes, from `start` on, one way or the other
    it   {"ok": {"file": …}}\n           after an upload

The rule: a connection that ends before it is through has only been cut, and another one goes on from the byte that the
server names. Nothing is kept in memory but a piece.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final

from orjson import JSONDecodeError, loads
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPullProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from client.answers import Refused
from client.files.intake import Intake
from client.files.pieces import Broken
from client.files.source import Source

LONGEST: Final = 64 * 1024
"""Bytes of an answer."""
QUIET: Final = 30.0
"""Seconds in which nothing moves, until the connection is taken for dead."""
RECEIVE: Final = 256 * 1024


class Cut(Exception):
    """The connection ended before the transfer was through."""


class Raw(Protocol, ABC):
    """One raw connection. `done` gives what the server said last."""

    def __init__(self, ticket: str, later: Callable[[float, Callable[[], None]], Any]) -> None:
        self.done: Deferred[dict[str, Any]] = Deferred(lambda _: self._abort())
        self._ticket = ticket
        self._later = later
        self._head = bytearray()
        """What came of a line that is not whole yet."""
        self._file: Callable[[bytes], None] | None = None
        """Takes the file's bytes, once those come and no more lines."""
        self._moved = True
        self._over = False
        self._timer: Any = None

    def connectionMade(self) -> None:
        transport: Any = self.transport
        if self._over:
            transport.abortConnection()
            return
        transport.setTcpNoDelay(True)
        transport.write(f"RAW {self._ticket}\n".encode())
        self._watch()

    def _watch(self) -> None:
        """See whether something moves."""
        if self._over:
            return
        if not self._moved:
            self._abort()
            return
        self._moved = False
        self._timer = self._later(QUIET, self._watch)

    def dataReceived(self, data: bytes) -> None:
        self._moved = True
        while data and not self._over:
            if self._file is not None:
                self._file(data)
                return
            line, newline, data = data.partition(b"\n")
            self._head += line
            if len(self._head) > LONGEST:
                self.fail(Cut())
            elif newline:
                line = bytes(self._head)
                self._head = bytearray()
                self._line(line)

    def _line(self, line: bytes) -> None:
        try:
            said = loads(line)
            if "error" in said:
                self.fail(Refused(said["error"]))
            else:
                self.said(said["ok"])
        except (JSONDecodeError, KeyError, TypeError):
            self.fail(Cut())

    @abstractmethod
    def said(self, fields: dict[str, Any]) -> None:
        """A line of the server's."""

    def finish(self, fields: dict[str, Any]) -> None:
        """It is through."""
        if not self._over:
            self._end()
            transport: Any = self.transport
            transport.loseConnection()
            self.done.callback(fields)

    def fail(self, error: Exception) -> None:
        """It is over, and this is why."""
        if not self._over:
            self._abort()
            self.done.errback(Failure(error))

    def _end(self) -> None:
        self._over = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _abort(self) -> None:
        self._end()
        transport: Any = self.transport
        if transport is not None:
            transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._end()
        if not self.done.called:
            self.done.errback(Failure(Cut()))


@implementer(IPullProducer)
class Sending(Raw):
    """An upload. `began` is told how much the server has, `reached` how far it is."""

    def __init__(
        self,
        ticket: str,
        later: Callable[[float, Callable[[], None]], Any],
        source: Source,
        began: Callable[[int], object],
        reached: Callable[[int], object],
        in_thread: Callable[..., Deferred[Any]],
    ) -> None:
        super().__init__(ticket, later)
        self._source = source
        self._began = began
        self._reached = reached
        self._in_thread = in_thread
        self._at: int | None = None

    def said(self, fields: dict[str, Any]) -> None:
        if self._at is not None:
            self.finish(fields)
            return
        self._at = start = min(fields["start"], self._source.size)
        self._began(start)
        if self._source.behind(start):
            self._in_thread(self._source.catch_up, start).addCallbacks(lambda _: self._produce(), self._broken)
        else:
            self._produce()

    def _broken(self, failure: Failure) -> None:
        assert isinstance(failure.value, Exception)
        self.fail(failure.value)

    def _produce(self) -> None:
        transport: Any = self.transport
        if not self._over:
            transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        """The connection takes more."""
        if self._over or self._at is None:
            return
        transport: Any = self.transport
        self._moved = True
        try:
            data = self._source.read(self._at)
            self._at += len(data)
            if data:
                transport.write(data)
                self._reached(self._at)
            if self._at == self._source.size:
                transport.unregisterProducer()
                known, digest = self._source.known, self._source.digest()
                if not known:
                    transport.write(f"{digest}\n".encode())
        except Exception as error:  # changed, or the disk cannot be read
            self.fail(error)

    def stopProducing(self) -> None:
        """The connection has ended; connectionLost says so."""


class Receiving(Raw):
    """A download, into `intake`. `reached` is told how far it is."""

    def __init__(
        self,
        ticket: str,
        later: Callable[[float, Callable[[], None]], Any],
        intake: Intake,
        reached: Callable[[int], object],
    ) -> None:
        super().__init__(ticket, later)
        self._intake = intake
        self._pieces = intake.pieces
        self._reached = reached
        self._at = 0
        self._paused = False

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.bufferSize = RECEIVE
        super().connectionMade()

    def said(self, fields: dict[str, Any]) -> None:
        self._at = fields["start"]
        if fields["size"] != self._pieces.size:
            self.fail(Broken("another size than announced"))
        elif self._pieces.whole:
            self.finish(fields)
        else:
            self._intake.told = self._worked
            self._file = self._came

    def _came(self, data: bytes) -> None:
        transport: Any = self.transport
        self._intake.put(self._at, data)
        self._at += len(data)
        if self._intake.full and not self._paused:
            self._paused = True
            transport.pauseProducing()

    def _worked(self) -> None:
        """Something was done with what came."""
        if self._over:
            return
        self._moved = True
        transport: Any = self.transport
        if self._intake.error is not None:  # it does not fit, or the disk is full
            self.fail(self._intake.error)
            return
        self._reached(self._pieces.have)
        if self._intake.whole:
            self.finish({})
        elif self._paused and not self._intake.full:
            self._paused = False
            transport.resumeProducing()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._over or self._at < self._pieces.size:
            super().connectionLost(reason)
        elif self._timer is not None and self._timer.active():  # all has come, and is still worked on
            self._timer.cancel()
