"""A cable between `chat` and a server, which cuts or holds the raw connections of files where a test wants it.

The rule: lines of chat pass untouched; a raw connection is known by its first word.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from tests.live import Waiting

reactor: Any = _reactor


class Relay(Waiting):
    """Listens on `port`. `after`: how many bytes each raw connection carries until it is cut, one number each."""

    def __init__(self, to: int, after: Iterable[int] = ()) -> None:
        super().__init__()
        self.to = to
        self.after: Iterator[int] = iter(after)
        self.cuts = 0
        self.hold: int | None = None
        """The next raw connection carries so many bytes and then stands still."""
        self.held: list[_Near] = []
        self.starts: list[int] = []
        """From which byte on each raw connection went, as the server said."""
        self.seen = bytearray()
        """All that passed, either way."""
        self.carried = 0
        """Bytes of raw connections, in either direction."""
        self._listening = reactor.listenTCP(0, Factory.forProtocol(lambda: _Near(self)), interface="127.0.0.1")
        self.port: int = self._listening.getHost().port
        self.open: set[Protocol] = set()

    def told(self) -> str:
        return f"{self.cuts} cuts, starts {self.starts}, {len(self.held)} held"

    async def close(self) -> None:
        """Carry nothing any more."""
        await self._listening.stopListening()
        for protocol in list(self.open):
            transport: Any = protocol.transport
            transport.abortConnection()
        await self.until(lambda: not self.open, "the end of all connections")


class _Near(Protocol):
    """The client's end."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.far: _Far | None = None
        self.raw: bool | None = None
        self.left: int | None = None
        self.holds = False
        self.gone = False
        self._waiting = b""

    def connectionMade(self) -> None:
        self.relay.open.add(self)
        endpoint: Any = TCP4ClientEndpoint(reactor, "127.0.0.1", self.relay.to)
        endpoint.connect(Factory.forProtocol(lambda: _Far(self))).addErrback(lambda _: self.end())

    def joined(self, far: _Far) -> None:
        """There is a server."""
        self.far = far
        waiting, self._waiting = self._waiting, b""
        if waiting:
            self.dataReceived(waiting)

    def dataReceived(self, data: bytes) -> None:
        if self.far is None:
            self._waiting += data
            return
        if self.raw is None:
            self.raw = data.startswith(b"RAW ")
            if self.raw:
                self.holds = self.relay.hold is not None
                self.left = self.relay.hold if self.holds else next(self.relay.after, None)
                self.relay.hold = None
        self.carry(data, self.far)

    def carry(self, data: bytes, to: Protocol) -> None:
        """Bytes, either way, as many as may pass."""
        transport: Any = to.transport
        self.relay.seen += data
        if self.raw and self.left is not None:
            data, over = data[: self.left], data[self.left :]
            self.left -= len(data)
            self.relay.carried += len(data)
            transport.write(data)
            if over:
                self._enough()
            return
        self.relay.carried += len(data) if self.raw else 0
        transport.write(data)

    def _enough(self) -> None:
        if not self.holds:
            self.relay.cuts += 1
            self.end()
        elif self not in self.relay.held and not self.gone:
            near: Any = self.transport
            near.pauseProducing()
            assert self.far is not None
            far: Any = self.far.transport
            far.pauseProducing()
            self.relay.held.append(self)
        self.relay.happened()

    def end(self) -> None:
        """Cut it, at both ends."""
        self._forget()
        for protocol in (self, self.far):
            if protocol is not None and protocol.transport is not None:
                transport: Any = protocol.transport
                transport.abortConnection()

    def _forget(self) -> None:
        self.gone = True
        if self in self.relay.held:
            self.relay.held.remove(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.relay.open.discard(self)
        self._forget()
        if self.far is not None:
            transport: Any = self.far.transport
            transport.loseConnection()
        self.relay.happened()


class _Far(Protocol):
    """The server's end."""

    def __init__(self, near: _Near) -> None:
        self._near = near
        self._first: bytes | None = b""

    def connectionMade(self) -> None:
        self._near.relay.open.add(self)
        self._near.joined(self)

    def dataReceived(self, data: bytes) -> None:
        if self._near.raw and self._first is not None:
            self._first += data
            line, newline, _ = self._first.partition(b"\n")
            if newline:
                self._first = None
                self._near.relay.starts.append(json.loads(line).get("ok", {}).get("start", -1))
        self._near.carry(data, self._near)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._near.relay.open.discard(self)
        transport: Any = self._near.transport
        transport.loseConnection()
        self._near.relay.happened()
