"""What instances on one machine tell each other about now: a Unix stream to each, frames with a length before them.

The rule: nothing that must arrive goes this way. To an instance that does not read, frames are dropped, and it is told
so once it reads again. Each instance listens at `run/node-N.stream` and writes to the others' streams; what it hears
comes on those that they have opened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from orjson import JSONDecodeError, dumps, loads
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import ClientFactory, Factory, connectionDone
from twisted.logger import Logger
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from chatd.sockets import reachable

Frame = Mapping[str, Any]
MOST: Final = 1 << 20
"""Bytes of a frame; nobody sends one nearly so long."""
LOST: Final[Frame] = {"lost": True}
"""Frames before this one were dropped."""
_log = Logger()


class _In(Int32StringReceiver):
    """What another instance tells."""

    MAX_LENGTH = MOST

    def __init__(self, heard: Callable[[Frame], None]) -> None:
        self._heard = heard

    def stringReceived(self, string: bytes) -> None:
        try:
            frame = loads(string)
            if isinstance(frame, dict):
                self._heard(frame)
        except JSONDecodeError:
            _log.warn("a frame of another instance is no JSON")


@implementer(IPushProducer)
class _Out(Int32StringReceiver):
    """What is told to another instance."""

    MAX_LENGTH = 4
    """Nothing is heard here."""

    def __init__(self, ended: Callable[[], None]) -> None:
        self._ended = ended
        self._full = self._dropped = False

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.registerProducer(self, True)

    def tell(self, frame: bytes) -> None:
        """Have this sent, if the other side reads."""
        if self._full:
            self._dropped = True
        else:
            self.sendString(frame)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """End."""
        transport: Any = self.transport
        transport.loseConnection()

    def pauseProducing(self) -> None:
        """The other side does not read."""
        self._full = True

    def resumeProducing(self) -> None:
        """It does again."""
        self._full = False
        if self._dropped:
            self._dropped = False
            self.tell(dumps(LOST))

    def stopProducing(self) -> None:
        """It is over; `connectionLost` says so too."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._ended()


class _Dial(ClientFactory):
    """A connection to one other instance."""

    noisy = False

    def __init__(self, streams: Streams, path: str) -> None:
        self._streams = streams
        self._path = path

    def buildProtocol(self, addr: object) -> _Out:
        out = _Out(lambda: self._streams.ended(self._path))
        self._streams.opened(self._path, out)
        return out

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        self._streams.ended(self._path)


class Streams:
    """This instance's streams. `heard` is told each frame of the others, and LOST where some are missing."""

    def __init__(self, reactor: Any, run: Path, node: int, heard: Callable[[Frame], None]) -> None:
        self._reactor = reactor
        self._run = run
        self._path = run / f"node-{node}.stream"
        self._heard = heard
        self._out: dict[str, _Out | None] = {}
        """To whom; None: it is being tried."""
        self._port: Any = None

    def start(self) -> None:
        """Listen."""
        self._path.unlink(missing_ok=True)
        factory = Factory.forProtocol(lambda: _In(self._heard))
        factory.noisy = False
        self._port = self._reactor.listenUNIX(reachable(self._path), factory, mode=0o600)
        self.find()

    def find(self) -> None:
        """Open a stream to each other instance that has none; those of the dead refuse, and are tried again."""
        for path in (reachable(path) for path in self._run.glob("node-*.stream") if path != self._path):
            if path not in self._out:
                self._out[path] = None
                self._reactor.connectUNIX(path, _Dial(self, path), timeout=3)

    def opened(self, path: str, out: _Out) -> None:
        """There is a stream. What was told before it was there is lost."""
        self._out[path] = out
        self._reactor.callLater(0, out.tell, dumps(LOST))

    def ended(self, path: str) -> None:
        """There is none any more."""
        self._out.pop(path, None)

    def tell(self, frame: Frame) -> None:
        """Tell all other instances."""
        if self._out:
            data = dumps(frame)
            for out in list(self._out.values()):
                if out is not None:
                    out.tell(data)

    def stop(self) -> None:
        """Close."""
        if self._port is not None:
            self._port.stopListening()
        self._path.unlink(missing_ok=True)
        for out in list(self._out.values()):
            if out is not None:
                out.close()
