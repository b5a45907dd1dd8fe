"""The PROXY header: whole, byte by byte, with trailing bytes, malformed, late, and from strangers."""

from __future__ import annotations

import socket
import struct
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import TCP4ClientEndpoint, UNIXClientEndpoint, connectProtocol
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactor, StringTransport
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from chatd.listen import is_clear_text_off_loopback, server_endpoint
from chatd.proxy import (
    V2,
    BadHeader,
    Header,
    HeaderProtocol,
    ProxyFactory,
    Source,
    read_header,
)


def v2(command: int, family: int, block: bytes, tlvs: bytes = b"") -> bytes:
    return V2 + struct.pack("!BBH", command, family, len(block) + len(tlvs)) + block + tlvs


def inet(host: str, port: int) -> bytes:
    return socket.inet_pton(socket.AF_INET, host) + socket.inet_aton("10.0.0.1") + struct.pack("!HH", port, 8000)


def inet6(host: str, port: int) -> bytes:
    return socket.inet_pton(socket.AF_INET6, host) + bytes(16) + struct.pack("!HH", port, 8000)


TLVS = b"\x04\x00\x20" + bytes(32) + b"\x01\x00\x02h2"

# (the header, whom it names: None for the real peer)
GOOD: list[tuple[bytes, Source | None]] = [
    (b"PROXY TCP4 203.0.113.7 10.0.0.1 56324 8000\r\n", Source("203.0.113.7", 56324)),
    (b"PROXY TCP6 2001:db8::7 2001:db8::1 56324 8000\r\n", Source("2001:db8::7", 56324)),
    (b"PROXY TCP6 2001:DB8:0:0::7 ::1 0 65535\r\n", Source("2001:db8::7", 0)),
    (b"PROXY TCP6 ::ffff:203.0.113.7 ::1 5 6\r\n", Source("203.0.113.7", 5)),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff:f...f:ffff anything at all\r\n", None),
    (v2(0x21, 0x11, inet("203.0.113.7", 56324)), Source("203.0.113.7", 56324)),
    (v2(0x21, 0x11, inet("203.0.113.7", 56324), TLVS), Source("203.0.113.7", 56324)),
    (v2(0x21, 0x21, inet6("2001:db8::7", 56324)), Source("2001:db8::7", 56324)),
    (v2(0x21, 0x21, inet6("::ffff:203.0.113.7", 9), TLVS), Source("203.0.113.7", 9)),
    (v2(0x20, 0x00, b""), None),  # LOCAL: HAProxy's own health check
    (v2(0x20, 0x11, inet("203.0.113.7", 1)), None),  # LOCAL says nothing about a client, whatever else it says
    (v2(0x20, 0xFF, b"junk"), None),
    (v2(0x21, 0x00, b"", TLVS), None),
    (v2(0x21, 0x12, inet("203.0.113.7", 1)), None),  # datagrams
    (v2(0x21, 0x31, bytes(216)), None),  # a Unix socket in front of the proxy
    (v2(0x21, 0x11, inet("203.0.113.7", 1), bytes(65_523)), Source("203.0.113.7", 1)),
]

SSL_TLV = b"\x20\x00\x05\x01\x00\x00\x00\x00"

BAD: list[bytes] = [
    b"\r\n\r\nHELLO, THIS IS NOT A HEADER",
    b"hello\n",
    b"\n",
    b"PROXY\r\n",
    b"PROXY \r\n",
    b"PROXY TCP4\r\n",
    b"PROXY TCP4 203.0.113.7 10.0.0.1 56324\r\n",
    b"PROXY TCP4 203.0.113.7 10.0.0.1 56324 8000 9\r\n",
    b"PROXY TCP4  203.0.113.7 10.0.0.1 56324 8000\r\n",
    b"PROXY TCP4 2001:db8::7 2001:db8::1 56324 8000\r\n",
    b"PROXY TCP6 203.0.113.7 10.0.0.1 56324 8000\r\n",
    b"PROXY TCP6 fe80::1%eth0 ::1 56324 8000\r\n",
    b"PROXY TCP4 203.0.113.777 10.0.0.1 56324 8000\r\n",
    b"PROXY TCP4 203.0.113.7 nonsense 56324 8000\r\n",
    b"PROXY TCP4 203.0.113.7 10.0.0.1 65536 8000\r\n",
    b"PROXY TCP4 203.0.113.7 10.0.0.1 -1 8000\r\n",
    b"PROXY TCP4 203.0.113.7 10.0.0.1 1_0 8000\r\n",
    b"PROXY TCP4 203.0.113.7 10.0.0.1 56324 8000\n" + b"x" * 107,
    b"PROXY UDP4 203.0.113.7 10.0.0.1 56324 8000\r\n",
    b"PROXY TCP4 \xff\xfe 10.0.0.1 56324 8000\r\n",
    b"PROXY " + b"x" * 101,
    v2(0x22, 0x11, inet("203.0.113.7", 1)),  # no such command
    v2(0x11, 0x11, inet("203.0.113.7", 1)),  # no such version
    v2(0x21, 0x13, inet("203.0.113.7", 1)),  # no such transport
    v2(0x21, 0x41, inet("203.0.113.7", 1)),  # no such family
    v2(0x21, 0x11, bytes(11)),
    v2(0x21, 0x21, bytes(35)),
    v2(0x21, 0x11, b""),
]


@implementer(IHalfCloseableProtocol)
class Inner(Protocol):
    """Keeps what reaches it."""

    def __init__(self, peer: Any) -> None:
        self.built_for = peer
        self.seen_at_start: Any = None
        self.got = b""
        self.ends: list[str] = []
        self.hang_up = False

    def connectionMade(self) -> None:
        self.seen_at_start = self.transport.getPeer()
        if self.hang_up:
            self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        self.got += data

    def readConnectionLost(self) -> None:
        self.ends.append("read")
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        self.ends.append("write")

    def connectionLost(self, reason: Failure) -> None:
        self.ends.append("lost")


class InnerFactory(Factory):
    """Builds `Inner` and keeps them."""

    noisy = False
    refuses = False
    hang_up = False

    def __init__(self) -> None:
        self.built: list[Inner] = []
        self.made: Deferred[None] = Deferred()

    def buildProtocol(self, addr: Any) -> Inner | None:
        if self.refuses:
            return None
        inner = Inner(addr)
        inner.hang_up = self.hang_up
        self.built.append(inner)
        return inner


class ReadHeader(SynchronousTestCase):
    """The parser alone: bytes in, a header, a wish for more, or `BadHeader`."""

    def test_every_prefix_asks_for_more_then_the_header_comes(self) -> None:
        """Cut anywhere, a good header is neither refused early nor taken early, and its size is its own."""
        for data, source in GOOD:
            fixed = len(data) if data.startswith(b"PROXY") else None
            seen = None
            for cut in range(len(data[:300]) + 1):
                seen = read_header(data[:cut])
                if seen is not None and fixed:
                    self.assertEqual(cut, fixed)
            whole = Header(source, len(data))
            for found in (seen, read_header(data[:300] + b"/login bob\r\n")):
                assert found is not None
                self.assertEqual(found._replace(reached=None), whole)
                self.assertEqual(found.reached is None, source is None)

    def test_every_malformed_header_is_refused(self) -> None:
        """Nothing that the specification does not allow passes for a header."""
        for data in BAD:
            with self.assertRaises(BadHeader, msg=repr(data)):
                read_header(data)

    def test_a_stranger_is_known_by_the_first_wrong_byte(self) -> None:
        """A client that talks without a header is refused at once, not after a time-out."""
        for data in (b"h", b"PROXX", b"\n", b"\r\n\r\n\0\r\nQUIX"):
            self.assertRaises(BadHeader, read_header, data)

    @given(st.binary(max_size=200))
    @example(b"PROXY TCP4 \xc2\xb2 1 1 1\r\n")
    @example(b"PROXY TCP4 1.1.1.1 1.1.1.1 \xb2 1\r\n")
    def test_any_bytes(self, data: bytes) -> None:
        """Bytes give a header, a wish for more, or `BadHeader`; never anything else."""
        try:
            header = read_header(data)
        except BadHeader:
            return
        self.assertTrue(header is None or header.size > 0)

    @given(st.sampled_from([b"PROXY TCP4 ", b"PROXY TCP6 ", b"PROXY ", V2]), st.binary(max_size=120))
    def test_any_bytes_after_a_signature(self, start: bytes, data: bytes) -> None:
        """The same, past the signature."""
        self.test_any_bytes.hypothesis.inner_test(self, start + data)  # type: ignore[attr-defined]


class Tls(SynchronousTestCase):
    """Whether the client came to the proxy by TLS (`send-proxy-v2-ssl`)."""

    def test_said(self) -> None:
        """Wherever it stands among the TLVs; a client without TLS, cut TLVs and very long ones say nothing."""
        for tlvs, tls in (
            (SSL_TLV, True),
            (TLVS + SSL_TLV, True),
            (SSL_TLV + b"\x04\x00", True),
            (b"\x20\x00\x05\x00\x00\x00\x00\x00", False),
            (b"\x20\x00\x00", False),
            (b"\x20\x00", False),
            (b"\x04\xff\xff" + SSL_TLV, False),
            (SSL_TLV + b"\x04\x03\xe8" + bytes(1000), False),
        ):
            data = v2(0x21, 0x11, inet("203.0.113.7", 1), tlvs)
            header = read_header(data + b"more")
            self.assertEqual(header, Header(Source("203.0.113.7", 1), len(data), tls, Source("10.0.0.1", 8000)))
            for end in range(16, len(data)):
                self.assertIn(read_header(data[:end]), (None, header))


class Swap(SynchronousTestCase):
    """One connection on a transport of strings and a clock of ours."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.inner = InnerFactory()
        self.factory = ProxyFactory(self.inner, ["127.0.0.1", "10.1.0.0/16", "::1"], 3.0, self.clock)
        self.warnings: list[str] = []
        globalLogPublisher.addObserver(self._log)
        self.addCleanup(globalLogPublisher.removeObserver, self._log)

    def _log(self, event: Any) -> None:
        if event.get("log_namespace") == "chatd.proxy":
            self.warnings.append(event["log_format"].format(**event))

    def connect(self, peer: Any = None) -> StringTransport:
        peer = peer or IPv4Address("TCP", "127.0.0.1", 4711)
        transport = StringTransport(peerAddress=peer)
        protocol = self.factory.buildProtocol(peer)
        assert protocol is not None
        transport.protocol = protocol
        protocol.makeConnection(transport)
        return transport

    def feed(self, transport: Any, *pieces: bytes) -> None:
        """As the reactor does: to whoever is `transport.protocol` at that moment."""
        for piece in pieces:
            transport.protocol.dataReceived(piece)

    def check(self, transport: StringTransport, source: Source | None, rest: bytes) -> None:
        (inner,) = self.inner.built
        self.inner.built.clear()
        expected: Any = IPv4Address("TCP", "127.0.0.1", 4711)
        if source is not None:
            expected = (IPv6Address if ":" in source.host else IPv4Address)("TCP", *source)
        self.assertIs(transport.protocol, inner)
        self.assertIs(inner.transport, transport)
        self.assertEqual([inner.built_for, inner.seen_at_start, transport.getPeer()], [expected] * 3)
        self.assertEqual(inner.got, rest)
        self.assertEqual(transport.value(), b"")

    def test_whole(self) -> None:
        """A header in one piece: the inner protocol is there, and gets nothing yet."""
        for data, source in GOOD:
            transport = self.connect()
            self.assertEqual(self.inner.built, [])
            self.feed(transport, data)
            self.check(transport, source, b"")

    def test_byte_by_byte(self) -> None:
        """A header in pieces of one byte: nothing is built before its last."""
        for data, source in GOOD:
            transport = self.connect()
            self.feed(transport, *(data[i : i + 1] for i in range(len(data) - 1)))
            self.assertEqual(self.inner.built, [])
            self.feed(transport, data[-1:])
            self.check(transport, source, b"")

    def test_trailing_bytes(self) -> None:
        """What came in the same piece is the inner protocol's, and so is all that comes later."""
        for data, source in GOOD:
            transport = self.connect()
            self.feed(transport, data + b"PROXY me\r\n", b"more")
            self.check(transport, source, b"PROXY me\r\nmore")

    def test_cut_in_two_anywhere(self) -> None:
        """Wherever TCP cuts, the header is read and the trailing bytes are passed on."""
        for data, source in GOOD[:-1]:
            for cut in range(1, len(data)):
                transport = self.connect()
                self.feed(transport, data[:cut], data[cut:] + b"hi\n")
                self.check(transport, source, b"hi\n")

    def test_malformed_is_dropped_and_logged_once(self) -> None:
        """A malformed header ends the connection without an answer; the log says it once for each source and reason."""
        for data in BAD:
            transport = self.connect()
            self.feed(transport, data)
            self.assertTrue(transport.disconnected, data)
            self.assertEqual(transport.value(), b"")
        self.assertEqual(self.inner.built, [])
        self.assertEqual(len(self.warnings), len(set(self.warnings)))
        self.assertIn("PROXY header from 127.0.0.1 refused: no PROXY header", self.warnings)

    def test_untrusted_source(self) -> None:
        """A source that is not trusted gets no protocol, so the port closes it unread; it is logged once."""
        for _ in range(2):
            self.assertIs(self.factory.buildProtocol(IPv4Address("TCP", "203.0.113.9", 1)), None)
            self.assertIs(self.factory.buildProtocol(IPv6Address("TCP", "2001:db8::9", 1)), None)
        self.assertIs(self.factory.buildProtocol(None), None)
        self.assertEqual(
            self.warnings[:2],
            [
                "PROXY header from 203.0.113.9 refused: source not trusted",
                "PROXY header from 2001:db8::9 refused: source not trusted",
            ],
        )
        self.assertEqual(len(self.warnings), 3)

    def test_trusted_sources(self) -> None:
        """Addresses, networks, IPv6, IPv4 in IPv6 clothes, and Unix sockets, where the folder's rights have decided."""
        for peer in (
            IPv4Address("TCP", "10.1.2.3", 1),
            IPv6Address("TCP", "::1", 1),
            IPv6Address("TCP", "::ffff:127.0.0.1", 1),
            UNIXAddress(None),
        ):
            self.assertIsInstance(self.factory.buildProtocol(peer), HeaderProtocol)

    def test_strangers_fill_no_memory(self) -> None:
        """A thousand strange sources are not remembered for ever."""
        for n in range(1_000):
            self.factory.buildProtocol(IPv4Address("TCP", f"203.0.{n // 256}.{n % 256}", 1))
        self.assertLessEqual(len(self.factory._told), 256)

    def test_late(self) -> None:
        """A connection whose header is not whole in time is dropped at its own time; one that sent it stays."""
        early = self.connect()
        self.feed(early, b"PROXY TCP4 ")
        self.clock.advance(1)
        good = self.connect()
        late = self.connect()
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.feed(good, GOOD[0][0])
        self.clock.advance(1.9)
        self.assertFalse(early.disconnected)
        self.clock.advance(0.1)
        self.assertTrue(early.disconnected)
        self.assertFalse(late.disconnected)
        self.clock.advance(1)
        self.assertTrue(late.disconnected)
        self.assertFalse(good.disconnected)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_timer_is_left(self) -> None:
        """Once the port is closed and the last header read, no timer keeps the process from an idle reactor."""
        self.factory.doStart()
        self.feed(self.connect(), GOOD[0][0])
        waiting = self.connect()
        self.factory.doStop()
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        assert waiting.protocol is not None
        waiting.protocol.connectionLost(Failure(ConnectionError()))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_refused_by_the_inner_factory(self) -> None:
        """Where the inner factory builds nothing, the connection ends."""
        self.inner.refuses = True
        transport = self.connect()
        self.feed(transport, GOOD[0][0] + b"hi")
        self.assertTrue(transport.disconnected)

    def test_hung_up_at_once(self) -> None:
        """An inner protocol that hangs up when it is connected hears no more, as on a plain port."""
        self.inner.hang_up = True
        transport = self.connect()
        self.feed(transport, GOOD[0][0] + b"hi")
        self.assertEqual(self.inner.built[0].got, b"")

    def test_factories_start_and_stop_together(self) -> None:
        """The inner factory hears of its first and last port."""
        heard = []
        self.inner.startFactory = lambda: heard.append("start")  # type: ignore[method-assign]
        self.inner.stopFactory = lambda: heard.append("stop")  # type: ignore[method-assign]
        self.factory.doStart()
        self.factory.doStart()
        self.factory.doStop()
        self.assertEqual(heard, ["start"])
        self.factory.doStop()
        self.assertEqual(heard, ["start", "stop"])

    @settings(max_examples=200)
    @given(st.lists(st.binary(max_size=60), max_size=6))
    def test_any_bytes_in_any_pieces(self, pieces: list[bytes]) -> None:
        """A connection waits, is dropped, or is handed over; bytes never raise."""
        transport = self.connect()
        for piece in pieces:
            if transport.disconnected:
                break
            self.feed(transport, piece)


class Sender(Protocol):
    """Sends, shuts its writing side, and keeps what comes until the end."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.done: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.transport.write(self.data)
        self.transport.loseWriteConnection()

    def connectionLost(self, reason: Failure) -> None:
        self.done.callback(None)


class OnRealSockets(TestCase):
    """The swap on the reactor's own transports, which is where it must hold."""

    @inlineCallbacks
    def exchange(self, description: str, client: Any, data: bytes) -> Any:
        factory = InnerFactory()
        port = yield server_endpoint(reactor, description).listen(factory)
        self.addCleanup(port.stopListening)
        sender = Sender(data)
        yield connectProtocol(client(port), sender)
        yield sender.done
        return factory.built

    @inlineCallbacks
    def test_half_close_reaches_the_inner_protocol(self) -> Any:
        """After the swap the reactor asks the inner protocol whether it takes a half close, and it is the one that
        is told of the end: `printf ... | nc -N` through a proxy loses no answer."""
        (inner,) = yield self.exchange(
            "haproxy:tcp:0:interface=127.0.0.1",
            lambda port: TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port),
            b"PROXY TCP4 203.0.113.7 10.0.0.1 56324 8000\r\nhi\n",
        )
        self.assertEqual(inner.got, b"hi\n")
        self.assertEqual(inner.seen_at_start, IPv4Address("TCP", "203.0.113.7", 56324))
        self.assertEqual(inner.ends, ["read", "lost"])

    @inlineCallbacks
    def test_unix_socket(self) -> Any:
        """A proxy on the same machine may come by a Unix socket."""
        path = self.mktemp()[-80:]
        (inner,) = yield self.exchange(
            f"haproxy:unix:{path}:mode=600",
            lambda port: UNIXClientEndpoint(reactor, path),
            v2(0x21, 0x21, inet6("2001:db8::7", 9)) + b"hi\n",
        )
        self.assertEqual(inner.got, b"hi\n")
        self.assertEqual(inner.seen_at_start, IPv6Address("TCP", "2001:db8::7", 9))

    @inlineCallbacks
    def test_no_header(self) -> Any:
        """Who speaks without a header is cut off, and nothing was built for him."""
        built = yield self.exchange(
            "haproxy:tcp:0:interface=127.0.0.1",
            lambda port: TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port),
            b"/login bob\n",
        )
        self.assertEqual(built, [])

    @inlineCallbacks
    def test_without_a_proxy(self) -> Any:
        """A plain endpoint string is Twisted's own: no header, the real peer."""
        (inner,) = yield self.exchange(
            "tcp:0:interface=127.0.0.1",
            lambda port: TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port),
            b"PROXY UNKNOWN\r\n",
        )
        self.assertEqual(inner.got, b"PROXY UNKNOWN\r\n")
        self.assertEqual(inner.seen_at_start.host, "127.0.0.1")


class Descriptions(SynchronousTestCase):
    """Endpoint strings."""

    def test_room_for_all_who_come_back_at_once(self) -> None:
        """An endpoint that names no backlog gets ours; one that does, by name or by place, keeps its own."""
        for description, backlog in (
            ("tcp:8000", 4096),
            ("haproxy:tcp:8000:interface=127.0.0.1", 4096),
            ("tcp:8000:127.0.0.1", 4096),
            ("tcp:8000:127.0.0.1:7", 7),
            ("tcp:8000:backlog=7", 7),
            ("tcp6:8000", 4096),
            ("tcp6:8000:7", 7),
        ):
            memory: Any = MemoryReactor()
            server_endpoint(memory, description).listen(InnerFactory())
            self.assertEqual(memory.tcpServers[0][2], backlog, description)

    def test_not_understood(self) -> None:
        """What is no endpoint is refused before anything listens."""
        for description in (
            "haproxy:haproxy:tcp:8000",
            "haproxy:tls:8000",
            "tcp:nonsense",
            "tcp:",
            "nonsense:8000",
            "ssl:",
            "ssl:port",
            "ssl:70000",
            "ssl:8000:certKey=cert.pem",
            "ssl:8000:sslmethod=SSLv3_METHOD",
            "ssl:8000:backlog=many",
        ):
            with self.assertRaises(ValueError, msg=description):
                server_endpoint(reactor, description)

    def test_clear_text_off_loopback(self) -> None:
        """Only TLS, Unix sockets and loopback addresses keep what is typed from the network."""
        for description in (
            "tcp:8000",
            "tcp:8000:interface=",
            "tcp:8000:0.0.0.0",
            "tcp:8000:interface=203.0.113.1",
            "tcp:port=8000",
            "tcp:8000:backlog=127",
            "tcp6:8000",
            "tcp6:8000:interface=\\:\\:",
            "tcp6:8000:50:2001\\:db8\\:\\:1",
            "haproxy:tcp:8000",
            "haproxy:tcp:8000:interface=10.0.0.1",
            "tcp:8000:interface=example.org",
            "systemd:domain=INET:index=0",
        ):
            self.assertTrue(is_clear_text_off_loopback(description), description)
        for description in (
            "tcp:8000:interface=127.0.0.1",
            "tcp:interface=127.0.0.1:port=8000",
            "tcp:8000:127.0.0.1",
            "tcp:8000:interface=127.4.5.6",
            "tcp:8000:interface=localhost",
            "tcp:8000:interface=\\:\\:1",
            "tcp6:8000:interface=\\:\\:1",
            "tcp6:8000:50:\\:\\:1",
            "haproxy:tcp:8000:interface=127.0.0.1",
            "unix:/run/chatd/socket",
            "haproxy:unix:/run/chatd/socket",
            "ssl:8000:privateKey=key.pem",
        ):
            self.assertFalse(is_clear_text_off_loopback(description), description)
