"""The Twisted protocol: one socket, the bound on what is owed to a client, and when it is read.

The rule: nothing is allocated per connection until it is used, no timer included: the factory's sweep serves all.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import socket
import struct
import sys
import termios
from typing import TYPE_CHECKING, Any, Final

from OpenSSL.crypto import FILETYPE_ASN1, dump_certificate
from twisted.internet import tcp
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from chatd.command import Settings
from chatd.crowd import Bucket
from chatd.errors import Refusal
from chatd.instance import Transfer
from chatd.pipe import Pipe
from chatd.proxy import HeaderProtocol, unmapped
from chatd.reactor import accept_few
from chatd.session import Session, State
from chatd.wire.dialect import Dialect
from chatd.wire.irc import Irc, is_irc
from chatd.wire.jsonl import Json
from chatd.wire.plain import Plain

if TYPE_CHECKING:
    from chatd.factory import ChatFactory

FILE_READ: Final = 262_144
"""Bytes that are read, or wait, at a time on a file's connection."""
MOST_PENDING: Final = 65_536
"""Bytes of a stranger whose turn has not come, past which nothing more is read: thousands may wait at once."""
MOST_PARTS: Final = 512
"""How many pieces one write gathers; the kernel's bound is 1024."""
_LOOPBACK: Final = ("127.", "::1")


def choose(first: bytes, settings: Settings) -> Dialect:
    """The dialect that these first bytes are written in."""
    if first.lstrip()[:1] == b"{":
        return Json(settings.limits)
    return Irc(settings) if is_irc(first) else Plain(settings.limits)


def is_in(selectable: Any) -> bool:
    """Whether somebody is logged in there; yes, too, of whatever is no client's socket."""
    protocol = getattr(selectable, "protocol", None)
    if isinstance(protocol, HeaderProtocol):
        return False  # a client's, of whom nothing is known yet
    while protocol is not None:
        session = getattr(protocol, "session", None)
        if session is not None:
            return bool(session.account)
        protocol = getattr(protocol, "wrappedProtocol", None)  # TLS, a proxy's header
    return True


@implementer(IHalfCloseableProtocol, IPushProducer)
class ChatProtocol(Protocol):
    """One socket, and its session."""

    factory: ChatFactory

    def __init__(self, factory: ChatFactory) -> None:
        self.factory = factory
        self.session: Session
        self._socket: socket.socket | None = None
        self._file: Transfer | None = None
        self._still_reads = False
        self._paused = self._held = self._waits = False
        self.bucket: Bucket | None = None
        self.pending = b""
        """What a stranger has said, and nobody has looked at yet."""
        self.heard = factory.swept
        """When something came last."""
        self.refusal: Refusal | None = None
        """Why it cannot stay: to be said in the dialect of its first line, if that comes within a moment."""

    def connectionMade(self) -> None:
        """Somebody is there."""
        transport: Any = self.transport
        accept_few(transport)
        instance = self.factory.instance
        address = getattr(transport.getPeer(), "host", "unix")
        if ":" in address:
            address = unmapped(address)  # at an IPv6 port that takes IPv4, too
        loopback = address == "unix" or address.startswith(_LOOPBACK)
        exempt = loopback and not instance.settings.limits.limit_loopback
        secure = hasattr(transport, "getPeerCertificate") or hasattr(transport, "came_by_tls")
        limits = instance.settings.limits
        self.session = Session(instance, self, address, secure=secure, exempt=exempt)
        if hasattr(transport, "setTcpNoDelay"):
            # What there is goes out in one piece a turn already. A reader who acknowledges late, as HAProxy and telnet
            # do, must not hold back the next piece for 40 ms (Nagle's algorithm, RFC 896).
            transport.setTcpNoDelay(True)
        if isinstance(transport, tcp.Connection):
            self._socket = transport.socket
        if not loopback:
            _keep_alive(transport, limits.keepalive_seconds)
        transport.bufferSize = limits.send_buffer_bytes
        transport.registerProducer(self, True)
        self.factory.came(self)

    def dataReceived(self, data: bytes) -> None:
        """Bytes have come."""
        self.heard = self.factory.swept
        if self.refusal is not None:
            if self.session.intake.overhear(data):
                self.turn_away()
        elif self._file is None:
            if not self.session.exempt:
                self.factory.spend(self, len(data))
            if self.session.account and not self.pending:
                self.session.intake.receive(data)
            else:
                self.factory.take_turn(self, data)
        else:
            self._file.received(data)

    def turn_away(self) -> None:
        """Say why it cannot stay, and end it."""
        refusal, self.refusal = self.refusal, None
        if refusal is not None:
            self.session.dismiss(refusal, "full")

    def let_in(self) -> None:
        """It is this stranger's turn."""
        data, self.pending = self.pending, b""
        if data:
            self.session.intake.receive(data)
        if self._waits:
            self._waits = False
            if not self._paused:
                self.resume_reading()

    def wait(self, data: bytes) -> None:
        """This is to be looked at when it is their turn."""
        self.pending += data
        if len(self.pending) > MOST_PENDING and not self._waits:
            transport: Any = self.transport
            self._waits = True
            transport.pauseProducing()

    def readConnectionLost(self) -> None:
        """The client sends no more, and may still read."""
        transport: Any = self.transport
        self.let_in()
        self.turn_away()
        if self._file is None:
            self.session.eof()
        elif self.session.state is State.CLOSING:
            transport.loseConnection()
        else:
            self._still_reads = False
            self._file.eof()

    def writeConnectionLost(self) -> None:
        """The client reads no more; or we have told a file's client that it has everything."""
        transport: Any = self.transport
        if self._file is None or self.session.state is not State.CLOSING:
            transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is over."""
        self.let_in()
        self._socket = None
        clean = reason.check(ConnectionDone) is not None
        self.factory.instance.goodbye(lambda: self.session.lost(clean=clean))
        if self._file is not None:
            self._file.lost()
        self.factory.went(self)

    # -- the session's side -------------------------------------------------------------------------------------------

    def send(self, parts: list[bytes | memoryview]) -> None:
        """Have this sent: at once by the socket where nothing waits before it, which halves the cost of a delivery.

        The parts are gathered by the kernel, so that what is shared by many sessions is not copied for each. What the
        socket does not take goes the ordinary way, which also finds out about errors.
        """
        transport: Any = self.transport
        if (
            self._socket is not None
            and not transport.dataBuffer
            and not transport._tempDataBuffer
            and not transport.disconnecting
        ):
            try:
                sent = self._socket.send(parts[0]) if len(parts) == 1 else self._socket.sendmsg(parts[:MOST_PARTS])
            except OSError:
                sent = 0
            size = sum(map(len, parts))
            if sent < size:
                transport.write(b"".join(parts)[sent:])
        else:
            transport.write(b"".join(parts))

    def certificate(self) -> str:
        """The SHA-256, in hex, of the certificate that the client has shown; "" where it has shown none, and once the
        connection is gone."""
        transport: Any = self.transport
        try:
            shown: Any = transport.getPeerCertificate()
        except AttributeError:  # no TLS; or Twisted asks a TLS that is no more
            return ""
        return "" if shown is None else hashlib.sha256(dump_certificate(FILETYPE_ASN1, shown)).hexdigest()

    def delivered(self) -> bool:
        """Whether everything sent has reached the other machine (or the proxy): nothing waits here or in the kernel."""
        return not self.unsent()

    def pipe(self) -> Pipe | None:
        """The socket for a thread, past the reactor; None under TLS, and while something waits to be sent before."""
        transport: Any = self.transport
        if self._socket is None or transport.dataBuffer or transport._tempDataBuffer:
            return None
        return Pipe(self._socket.fileno())

    def await_room(self) -> None:
        """Have `resumeProducing` called once the socket takes more: as if we had been told that it does not."""
        transport: Any = self.transport
        transport.producerPaused = True
        transport.startWriting()

    def unsent(self) -> int:
        """How many bytes have not reached the other machine (or the proxy) yet, at least: those that wait here, and in
        the kernel."""
        transport: Any = self.transport
        inner: Any = getattr(transport, "transport", transport)  # under TLS, the socket's own transport
        if not isinstance(inner, tcp.Connection):
            return 0
        waiting = len(inner.dataBuffer) - inner.offset + inner._tempDataLen
        waiting += sum(map(len, getattr(transport, "_appSendBuffer", ())))
        sock = getattr(inner, "socket", None)
        if sock is None:
            return waiting + 1  # the socket is gone: nobody can tell
        unsent: int = struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0\0\0\0"))[0]
        return waiting + unsent

    def here(self) -> tuple[str, int]:
        """The address that this connection came to: host and port; of a Unix socket its path and 0; ("", 0) once the
        connection is gone."""
        transport: Any = self.transport
        try:
            found = transport.getHost()
        except (AttributeError, OSError):  # Twisted asks the socket, which is no more
            return "", 0
        if hasattr(found, "port"):
            return sys.intern(found.host), found.port
        return os.fsdecode(getattr(found, "name", b"") or b""), 0

    def unread(self) -> bool:
        """Whether something has come that was not looked at yet: this process was busy, or stood still."""
        if self._socket is None:
            return False
        waiting: int = struct.unpack("i", fcntl.ioctl(self._socket, termios.FIONREAD, b"\0\0\0\0"))[0]
        return waiting > 0

    def pause_reading(self) -> None:
        """Take nothing more for now."""
        transport: Any = self.transport
        self._paused = True
        transport.pauseProducing()

    def resume_reading(self) -> None:
        """Take more."""
        transport: Any = self.transport
        self._paused = False
        if not (transport.disconnecting or self._held or self._waits):
            transport.resumeProducing()

    def rest(self, seconds: float) -> None:
        """Take nothing for so long."""
        self.factory.rest(self, seconds)

    def hold(self) -> None:
        """More has come than may come a second: read on later."""
        transport: Any = self.transport
        self._held = True
        transport.pauseProducing()

    def release(self) -> None:
        """Read on, unless the session does not want to."""
        self._held = False
        if not self._paused:
            self.resume_reading()

    def carry_file(self, first: bytes) -> None:
        """From these bytes on, the connection is a file's."""
        transport: Any = self.transport
        transport.bufferSize = FILE_READ
        self._still_reads = True
        self._file = self.factory.instance.transfers.open(self, first)

    def finish(self) -> None:
        """All is said about a file: flush, and let the client hang up. What it still sends is thrown away; were the
        connection closed over it, the client might never read what was said. TLS says its goodbye by itself."""
        transport: Any = self.transport
        self.session.move("close")
        transport.unregisterProducer()
        if self._still_reads and self._socket is not None:
            transport.loseWriteConnection()
        else:
            transport.loseConnection()

    def close(self) -> None:
        """Flush and end."""
        transport: Any = self.transport
        transport.unregisterProducer()
        transport.loseConnection()
        self.factory.closing(self)

    @property
    def carries_file(self) -> bool:
        """Whether it is a file's connection."""
        return self._file is not None

    def abort(self) -> None:
        """End without more ado."""
        transport: Any = self.transport
        transport.abortConnection()

    # -- the transport's side: it is our producer's consumer ----------------------------------------------------------

    def pauseProducing(self) -> None:
        """The client reads too slowly: too much waits for it."""
        if self._file is None:
            self.session.full()
        else:
            self._file.full()

    def resumeProducing(self) -> None:
        """Nothing waits for it any more."""
        if self._file is None:
            self.session.drained()
        else:
            self._file.drained()

    def stopProducing(self) -> None:
        """The connection goes; `connectionLost` says so too."""


def _keep_alive(transport: Any, seconds: int) -> None:
    """Have the kernel find out about clients that have gone without a word: three questions unanswered are enough."""
    inner = getattr(transport, "transport", transport)  # under TLS, the socket's own transport
    if isinstance(inner, tcp.Connection) and inner.socket.family in (socket.AF_INET, socket.AF_INET6):
        inner.setTcpKeepAlive(True)
        for option, value in (
            (socket.TCP_KEEPIDLE, seconds),
            (socket.TCP_KEEPINTVL, max(1, seconds // 3)),
            (socket.TCP_KEEPCNT, 3),
        ):
            inner.socket.setsockopt(socket.IPPROTO_TCP, option, value)
