"""The PROXY header (v1 and v2): who the client is when a proxy stands in front, read before anything else.

The rule: nothing behind this file exists before the header is whole, and nothing of this file remains afterwards. The
header's protocol puts the inner one in its own place on the transport and is gone, so a connection that came through a
proxy costs what a direct one does, and `transport.getPeer()` is the client. A header is believed from trusted sources
only, since whoever may send one may claim any address.

The format: https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from itertools import takewhile
from typing import Any, Final, NamedTuple

from twisted.internet import address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from chatd.limits import Limits

LOOPBACK: Final = ("127.0.0.0/8", "::1")

# Twisted's interfaces mean nothing to mypy (it needs a plugin for zope.interface); where one would stand, `Any` does.

V1: Final = b"PROXY "
V1_LONGEST: Final = 107  # with its CR LF, as the specification counts
V2: Final = b"\r\n\r\n\0\r\nQUIT\n"
V2_FIXED: Final = 16
V2_LOOKED_AT: Final = 536  # longer headers are believed for the address only, and the rest is skipped unseen
V2_SSL, V2_CLIENT_SSL = 0x20, 0x01
LOCAL, PROXY = 0x20, 0x21  # version 2 and the command
# Family and transport: bytes of the address block that we read, 0 where the real peer stands in. Datagrams and Unix
# sockets are valid and tell us nothing; any other byte is malformed.
V2_BLOCKS: Final = {0x00: 0, 0x11: 12, 0x12: 0, 0x21: 36, 0x22: 0, 0x31: 0, 0x32: 0}

REMEMBERED: Final = 256  # sources whose refusal was logged

log = Logger()


class Source(NamedTuple):
    """A client's address as the proxy saw it; an IPv4 address mapped into IPv6 is given as IPv4."""

    host: str
    port: int

    def peer(self) -> address.IPv4Address | address.IPv6Address:
        """Made when it is asked for: this bound method is all that a connection keeps."""
        kind = address.IPv6Address if ":" in self.host else address.IPv4Address
        return kind("TCP", self.host, self.port)


class Header(NamedTuple):
    """A header that could be read. `source` None: keep the real peer. `size` counts the TLVs too, seen or not. `tls`:
    the client came to the proxy by TLS. `reached`: where it came to there."""

    source: Source | None
    size: int
    tls: bool = False
    reached: Source | None = None


class BadHeader(Exception):
    """These bytes are not, and cannot become, a PROXY header."""


def read_header(data: bytes) -> Header | None:
    """The header at the start of `data`, or None while more is needed. The first wrong byte raises `BadHeader`."""
    if data[: len(V2)] == V2[: len(data)]:
        return _read_v2(data)
    if data[: len(V1)] == V1[: len(data)]:
        return _read_v1(data)
    raise BadHeader("no PROXY header")


def _read_v1(data: bytes) -> Header | None:
    line, end, _ = data[:V1_LONGEST].partition(b"\r\n")
    if not end:
        if len(data) >= V1_LONGEST:
            raise BadHeader("v1 line too long")
        return None
    size = len(line) + len(end)
    words = line.split(b" ")
    if words[1] == b"UNKNOWN":
        return Header(None, size)
    version = {b"TCP4": 4, b"TCP6": 6}.get(words[1])
    if version is None or len(words) != 6:
        raise BadHeader("v1 line malformed")
    reached = _v1_source(version, words[3], words[5])
    return Header(_v1_source(version, words[2], words[4]), size, reached=reached)


def _v1_source(version: int, host: bytes, port: bytes) -> Source:
    try:
        ip = ip_address(host.decode("ascii"))
    except ValueError as error:
        raise BadHeader("v1 address malformed") from error
    if ip.version != version or b"%" in host:
        raise BadHeader("v1 address malformed")
    if not (port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        raise BadHeader("v1 port malformed")
    return Source(unmapped(str(ip)), int(port))


def _read_v2(data: bytes) -> Header | None:
    if len(data) < V2_FIXED:
        return None
    command, family = data[12], data[13]
    size = V2_FIXED + int.from_bytes(data[14:16], "big")
    if command == LOCAL:  # the proxy speaks for itself, say for a health check
        return Header(None, size)
    if command != PROXY or family not in V2_BLOCKS:
        raise BadHeader("v2 command or family unknown")
    block = V2_BLOCKS[family]
    if not block:
        return Header(None, size)
    if size < V2_FIXED + block:
        raise BadHeader("v2 address cut short")
    if len(data) < V2_FIXED + block:
        return None
    width = (block - 4) // 2
    source, reached = (_v2_source(data, V2_FIXED + n * width, width, V2_FIXED + 2 * (width + n)) for n in (0, 1))
    if len(data) < size <= V2_LOOKED_AT:
        return None
    tls = size <= V2_LOOKED_AT and _says_tls(data[V2_FIXED + block : size])
    return Header(source, size, tls, reached)


def _v2_source(data: bytes, host: int, width: int, port: int) -> Source:
    address = ip_address(data[host : host + width])
    return Source(unmapped(str(address)), int.from_bytes(data[port : port + 2], "big"))


def _says_tls(tlvs: bytes) -> bool:
    """Whether a TLV says that the client spoke TLS to the proxy (2.2.5: PP2_TYPE_SSL with PP2_CLIENT_SSL). TLVs that
    are cut short say nothing: the address stands before them."""
    while len(tlvs) >= 3:
        kind, size = tlvs[0], int.from_bytes(tlvs[1:3], "big")
        value, tlvs = tlvs[3 : 3 + size], tlvs[3 + size :]
        if kind == V2_SSL:
            return bool(value and value[0] & V2_CLIENT_SSL)
    return False


def unmapped(host: str) -> str:
    """An IPv4 address in IPv6 clothes (::ffff:192.0.2.1) is the same client as without: bans and throttles go by it."""
    ip = ip_address(host)
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped:
        return str(ip.ipv4_mapped)
    return host


class HeaderProtocol(Protocol):
    """Stands on the transport until the header is whole; then the inner protocol takes its place."""

    factory: ProxyFactory

    def __init__(self, factory: ProxyFactory) -> None:
        self.factory = factory
        self._head = b""
        self._header: Header | None = None
        self._missing = 0  # bytes of TLVs yet to be skipped, which are never kept

    def connectionMade(self) -> None:
        self.factory.await_header(self)

    def dataReceived(self, data: bytes) -> None:
        if self._header is None:
            data = self._head + data
            try:
                self._header = read_header(data)
            except BadHeader as error:
                self.drop(str(error))
                return
            if self._header is None:
                self._head = data
                return
            self._head = b""
            self._missing = self._header.size
        if len(data) < self._missing:
            self._missing -= len(data)
            return
        self._step_aside(self._header, data[self._missing :])

    def _step_aside(self, header: Header, rest: bytes) -> None:
        """The swap. The reactor asks `transport.protocol` each time (for bytes, for IHalfCloseableProtocol, for the
        end), so from here on it talks to the inner protocol alone."""
        transport: Any = self.transport
        self.factory.header_done(self)
        if header.source is not None:
            transport.getPeer = header.source.peer
        if header.reached is not None:
            transport.getHost = header.reached.peer
        if header.tls:
            transport.came_by_tls = True
        inner = self.factory.wrapped.buildProtocol(transport.getPeer())
        if inner is None:
            transport.abortConnection()
            return
        transport.protocol = inner
        self.transport = None
        inner.makeConnection(transport)
        # As in the reactor: who hung up, reads no more.
        if rest and not transport.disconnecting:
            inner.dataReceived(rest)

    def drop(self, why: str) -> None:
        """No header, no connection: at once, and without an answer to whom we do not know."""
        transport: Any = self.transport
        self.factory.header_done(self)
        self.factory.tell(transport.getPeer(), why)
        transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.factory.header_done(self)


class ProxyFactory(Factory[HeaderProtocol]):
    """Puts `wrapped` behind a PROXY header that must be whole within `seconds`, sent by one of `trusted`.

    One timer serves all connections: they wait equally long, so the one that began first is due first.
    """

    noisy = False

    def __init__(
        self,
        wrapped: Factory[Any],
        trusted: Iterable[str] = LOOPBACK,
        seconds: float = Limits().proxy_header_seconds,
        clock: Any = None,
    ) -> None:
        if clock is None:
            from twisted.internet import reactor

            clock = reactor
        self.wrapped = wrapped
        self._trusted = networks(trusted)
        self._seconds = seconds
        self._clock = clock
        self._due: dict[HeaderProtocol, float] = {}  # in the order of their times
        self._sweep: Any = None
        self._told: set[tuple[str, str]] = set()

    def startFactory(self) -> None:
        self.wrapped.doStart()

    def stopFactory(self) -> None:
        self.wrapped.doStop()
        self._rest()

    def buildProtocol(self, addr: IAddress | None) -> HeaderProtocol | None:
        if self._trusts(addr):
            return HeaderProtocol(self)
        self.tell(addr, "source not trusted")
        return None  # the port closes it, unread

    def _trusts(self, addr: IAddress | None) -> bool:
        if isinstance(addr, address.UNIXAddress):
            return True  # the folder's rights have decided
        if not isinstance(addr, address.IPv4Address | address.IPv6Address):
            return False
        ip = ip_address(unmapped(addr.host))
        return any(ip in network for network in self._trusted)

    def await_header(self, protocol: HeaderProtocol) -> None:
        self._due[protocol] = self._clock.seconds() + self._seconds
        if self._sweep is None:
            self._sweep = self._clock.callLater(self._seconds, self._drop_late)

    def header_done(self, protocol: HeaderProtocol) -> None:
        self._due.pop(protocol, None)
        if not self.numPorts:
            self._rest()

    def _drop_late(self) -> None:
        self._sweep = None
        now = self._clock.seconds()
        for protocol in [each for each, _ in takewhile(lambda entry: entry[1] <= now, self._due.items())]:
            protocol.drop("no header in time")
        for due in self._due.values():
            self._sweep = self._clock.callLater(due - now, self._drop_late)
            break

    def _rest(self) -> None:
        """The timer outlives an empty moment (connections come again at once), but not the last port."""
        if self._sweep is not None and not self._due:
            self._sweep.cancel()
            self._sweep = None

    def tell(self, addr: IAddress | None, why: str) -> None:
        """Logged once for each source and reason: a stranger who knocks all day fills no disk."""
        host = str(getattr(addr, "host", "unix"))
        if (host, why) in self._told:
            return
        if len(self._told) >= REMEMBERED:
            self._told.clear()
        self._told.add((host, why))
        log.warn("PROXY header from {host} refused: {why}", host=host, why=why)


def networks(trusted: Iterable[str]) -> tuple[IPv4Network | IPv6Network, ...]:
    """Addresses and networks as written in the configuration; ValueError for what is neither."""
    return tuple(ip_network(each, strict=False) for each in trusted)


@implementer(IStreamServerEndpoint)
class ProxyEndpoint:
    """Listens where `inner` does, for a proxy."""

    def __init__(self, inner: Any, trusted: Iterable[str], seconds: float, clock: Any) -> None:
        self._inner = inner
        self._trusted = tuple(trusted)
        self._seconds = seconds
        self._clock = clock

    def listen(self, protocolFactory: Factory[Any]) -> Deferred[IListeningPort]:
        return self._inner.listen(ProxyFactory(protocolFactory, self._trusted, self._seconds, self._clock))
