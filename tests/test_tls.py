"""TLS: the certificate and its change, versions and ciphers, and HAProxy before it in both ways; by real handshakes."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import socket
import ssl
import warnings
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.endpoints import TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from chatd.haproxy import configuration, template
from chatd.listen import server_endpoint
from chatd.tls import BadCertificate, Certificate, fingerprint, own_certificate, self_signed
from client.reach import Pins, _creator
from tests.live import JsonClient, LiveTestCase, Lost, _Wire, free_ports, needs, reactor
from tests.test_cluster import ClusterTestCase

HOST = "127.0.0.1"
ELSEWHERE = "127.0.0.9"


class FileTests(SynchronousTestCase):
    """The certificate as files."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def pem(self, name: str) -> Path:
        """A file with a new certificate and its key."""
        path = self.folder / name
        own_certificate(path, ["chat.example.org"])
        return path

    def test_made_once(self) -> None:
        """It is for its user only, and stays when it is there."""
        path = self.pem("tls.pem")
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        before = path.read_bytes()
        own_certificate(path, ["other.example.org"])
        self.assertEqual(path.read_bytes(), before)
        self.assertEqual([each.name for each in self.folder.iterdir()], ["tls.pem"])

    def test_made_by_two_at_once(self) -> None:
        """Who comes second, and has made one too, takes the first one's."""
        path = self.folder / "tls.pem"
        other = self_signed(["other.example.org"])
        link = os.link

        def late(made: Path, final: Path) -> None:
            path.write_bytes(other)
            link(made, final)

        self.patch(os, "link", late)
        own_certificate(path, ["chat.example.org"])
        self.assertEqual(path.read_bytes(), other)

    def test_cannot_be_written(self) -> None:
        """One sentence with the file and the reason."""
        with self.assertRaisesRegex(BadCertificate, "nowhere/tls.pem: No such file or directory"):
            own_certificate(self.folder / "nowhere" / "tls.pem", ["x"])

    def test_what_cannot_be_used(self) -> None:
        """Each mistake has its sentence, and a mistake at reloading leaves everything as it was."""
        good, other = self.pem("good.pem"), self.pem("other.pem")
        nothing, junk = self.folder / "nothing.pem", self.folder / "junk.pem"
        junk.write_text("junk")
        for key, certificate, chain, why in (
            (nothing, good, None, "nothing.pem: No such file"),
            (good, nothing, None, "nothing.pem: No such file"),
            (good, junk, None, "junk.pem: no certificate in PEM"),
            (junk, good, None, "junk.pem: no key of .*good.pem"),
            (other, good, None, "other.pem: no key of .*good.pem"),
            (good, good, junk, "junk.pem: no certificate in PEM"),
        ):
            with self.assertRaisesRegex(BadCertificate, why):
                Certificate(key, certificate, chain)
        changing = self.pem("changing.pem")
        certificate = Certificate(changing, changing)
        before = certificate.pin, certificate.serverConnectionForTLS(None).get_context()
        changing.write_text("junk")
        self.assertRaises(BadCertificate, certificate.load)
        self.assertEqual((certificate.pin, certificate.serverConnectionForTLS(None).get_context()), before)

    def test_pin(self) -> None:
        """The pin is what openssl calls the SHA-256 fingerprint."""
        path = self.pem("tls.pem")
        pem = re.search("-----BEGIN CERT.*?-----END CERT[^\n]*\n", path.read_text(), re.S)
        assert pem is not None
        der = ssl.PEM_cert_to_DER_cert(pem[0])
        self.assertEqual(fingerprint(path.read_bytes()), hashlib.sha256(der).hexdigest())


class _Echo(Protocol):
    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)  # type: ignore[union-attr]


class HandshakeTests(TestCase):
    """Which clients get in; the other end is Python's own ssl module, in a thread."""

    async def listen(self) -> IListeningPort:
        """An echo behind TLS."""
        path = Path(self.mktemp())
        own_certificate(path, ["localhost"])
        self.certificate = Certificate(path, path)
        endpoint = server_endpoint(reactor, f"ssl:0:interface={HOST}", creator=lambda files: self.certificate)
        port: IListeningPort = await endpoint.listen(Factory.forProtocol(_Echo))
        self.addCleanup(port.stopListening)
        return port

    async def shake(self, port: Any, context: ssl.SSLContext) -> str:
        """The version and cipher of a handshake, or how it failed."""

        def run() -> str:
            with socket.create_connection((HOST, port.getHost().port), 20) as plain:
                try:
                    with context.wrap_socket(plain, server_hostname="localhost") as wrapped:
                        wrapped.sendall(b"hi")
                        assert wrapped.recv(2) == b"hi"
                        cipher = wrapped.cipher()
                        assert cipher is not None
                        return f"{wrapped.version()} {cipher[0]}"
                except ssl.SSLError as error:
                    return f"refused {error.reason}"

        return await deferToThread(run)

    def context(self, ciphers: str = "ALL:@SECLEVEL=0") -> ssl.SSLContext:
        """A client that takes anything."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_ciphers(ciphers)
        return context

    async def test_versions(self) -> None:
        """TLS 1.2 and 1.3, and nothing older."""
        port = await self.listen()
        for version, good in (("TLSv1_1", False), ("TLSv1_2", True), ("TLSv1_3", True)):
            context = self.context()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
            found = await self.shake(port, context)
            self.assertEqual(found.startswith("TLSv1."), good, found)

    async def test_ciphers(self) -> None:
        """Of TLS 1.2 only suites with forward secrecy and authenticated encryption."""
        port = await self.listen()
        for ciphers, good in (
            ("ECDHE-ECDSA-AES128-GCM-SHA256", True),
            ("ECDHE-ECDSA-CHACHA20-POLY1305", True),
            ("ECDHE-ECDSA-AES128-SHA", False),
            ("AES128-GCM-SHA256", False),
            ("aNULL:@SECLEVEL=0", False),
        ):
            context = self.context(ciphers)
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            found = await self.shake(port, context)
            self.assertEqual(found.startswith("TLSv1.2"), good, f"{ciphers}: {found}")


class FuzzTests(SynchronousTestCase):
    """What is no TLS, behind what is no PROXY header."""

    def setUp(self) -> None:
        path = Path(self.mktemp())
        own_certificate(path, ["localhost"])
        self.certificate = Certificate(path, path)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        out = ssl.MemoryBIO()
        try:
            context.wrap_bio(ssl.MemoryBIO(), out).do_handshake()
        except ssl.SSLWantReadError:
            self.hello = out.read()

    def connect(self, description: str) -> StringTransport:
        """A connection to an echo."""
        memory: Any = MemoryReactorClock()
        endpoint = server_endpoint(memory, description, creator=lambda files: self.certificate)
        endpoint.listen(Factory.forProtocol(_Echo))
        factory = memory.tcpServers[0][1]
        transport: Any = StringTransport()
        transport.abortConnection = transport.loseConnection
        protocol = factory.buildProtocol(transport.getPeer())
        if protocol is None:
            transport.loseConnection()
            return transport
        transport.protocol = protocol
        protocol.makeConnection(transport)
        return transport

    @settings(max_examples=150, deadline=None)
    @given(data=st.data())
    def test_any_bytes(self, data: st.DataObject) -> None:
        """Bytes, mutilated handshakes among them, wait or end the connection; none raises, none reaches the inside."""
        junk = st.binary(max_size=80)
        cut = st.integers(0, len(self.hello)).map(lambda end: self.hello[:end])
        hurt = st.tuples(st.integers(0, len(self.hello) - 1), st.integers(0, 255)).map(
            lambda at: self.hello[: at[0]] + bytes((at[1],)) + self.hello[at[0] + 1 :]
        )
        header = st.sampled_from([b"", b"PROXY TCP4 203.0.113.7 10.0.0.1 5 6\r\n", b"PROXY UNKNOWN\r\n"])
        transport: Any = self.connect(data.draw(st.sampled_from(["ssl:1", "haproxy:ssl:1"])))
        for piece in [data.draw(header), *data.draw(st.lists(st.one_of(junk, cut, hurt), max_size=4))]:
            if not transport.disconnecting and piece:
                transport.protocol.dataReceived(piece)
        self.assertNotIn(b"PROXY", transport.value())


class TlsClient(JsonClient):
    """A json client by TLS, which believes what its pins say."""

    def __init__(self, pins: Pins) -> None:
        super().__init__()
        self.pins = pins

    async def connect(self, port: int, source: str = HOST) -> None:
        """Connect, from this address of ours."""
        inner = TCP4ClientEndpoint(reactor, HOST, port, bindAddress=(source, 0))
        endpoint: Any = wrapClientTLS(_creator(HOST, self.pins), inner)
        self._wire = await endpoint.connect(Factory.forProtocol(lambda: _Wire(self)))


class TlsTestCase(LiveTestCase):
    """Clients by TLS."""

    async def secure(self, port: int, pin: str | None, source: str = HOST) -> TlsClient:
        """A client that knows this pin (None: none yet), connected; its handshake may still fail."""
        client = TlsClient(Pins(pin, lambda _: None))
        await client.connect(port, source)
        self.clients.append(client)
        return client

    async def pin(self, program: Any, after: int = 0) -> str:
        """The pin that a program has printed."""
        return (await program.prints(r"TLS certificate, SHA-256: ([0-9a-f]{64})$", after))[1]


class ServerTests(TlsTestCase):
    """`ssl:` endpoints of a real twistd."""

    async def test_own_certificate(self) -> None:
        """At the first start a certificate is made and its pin printed, which a client can be given; it stays the same
        at the next start. A client that was given another hears and says nothing."""
        port = free_ports()
        pins = []
        for _ in range(2):
            program = self.twistd("chatd", "--data", os.fspath(self.data), "--listen", f"ssl:{port}:interface={HOST}")
            pins.append(await self.pin(program))
            await program.prints("^chatd ready on ")
            alice = await self.secure(port, pins[-1])
            await alice.call("ping", token="t")
            wrong = await self.secure(port, "ab" * 32)
            await wrong.end()
            self.assertTrue(wrong.pins.wrong)
            self.assertEqual(wrong.lines, [])
            alice.abort()
            program.term()
            self.assertEqual(await program.end(), 0)
        self.assertEqual(pins[0], pins[1])
        self.assertEqual((self.data / "tls.pem").stat().st_mode & 0o777, 0o600)

    async def test_another_certificate_while_it_runs(self) -> None:
        """SIGHUP takes the new one for whoever connects from then on; who is connected stays. One that cannot be used
        changes nothing, and the reason is printed."""
        files = self.folder / "key.pem"
        own_certificate(files, ["one.example.org"])
        port = free_ports()
        listen = f"ssl:{port}:privateKey={files}:interface={HOST}"
        program = self.twistd("chatd", "--data", os.fspath(self.data), "--listen", listen)
        await program.prints("^chatd ready on ")
        first = fingerprint(files.read_bytes())
        alice = await self.secure(port, first)
        await alice.register("alice")

        other = self_signed(["two.example.org"])
        files.write_bytes(other)
        printed = len(program.lines)
        program.signal(signal.SIGHUP)
        self.assertEqual(await self.pin(program, printed), fingerprint(other))
        bob = await self.secure(port, fingerprint(other))
        await bob.register("bob")
        await alice.ping()
        old = await self.secure(port, first)
        await old.end()
        self.assertTrue(old.pins.wrong)

        files.write_text("junk")
        printed = len(program.lines)
        program.signal(signal.SIGHUP)
        await program.prints("The certificate is not changed: .*no certificate in PEM", printed)
        again = await self.secure(port, fingerprint(other))
        await again.ping()
        await alice.ping()
        await bob.ping()

    async def test_checked_before_anything_starts(self) -> None:
        """--check says which certificate cannot be used, and clear text off loopback is refused unless it is wanted."""
        for listen, why in (
            ("ssl:8443:privateKey=/nowhere.pem", "nowhere.pem: No such file"),
            ("tcp:nonsense", "is no endpoint"),
            ("ssl:8443:sslmethod=SSLv3", "ssl: takes port"),
        ):
            program = self.twistd("chatd", "--data", os.fspath(self.data), "--listen", listen, "--check")
            await program.prints(why)
            self.assertEqual(await program.end(), 1)
        program = self.twistd("chatd", "--data", os.fspath(self.data), "--listen", "tcp:8443:interface=0.0.0.0")
        await program.prints("would serve in clear text beyond this machine")
        self.assertEqual(await program.end(), 1)
        self.assertFalse(self.data.exists())


class TerminatedTests(ClusterTestCase, TlsTestCase):
    """HAProxy ends TLS."""

    async def test_cluster(self) -> None:
        """`chatd-cluster --certificate` serves TLS; the log has the person's own address, and that it was TLS. SIGHUP
        changes the certificate and drops nobody."""
        pem = self.folder / "front.pem"
        port = free_ports(2)
        options = ("--nodes", "1", "--port", str(port), "--data", os.fspath(self.data), "--certificate", os.fspath(pem))
        program = self.twistd("chatd-cluster", *options, "--config", os.fspath(self.config))
        pin = await self.pin(program)
        await program.prints("^front door ")
        self.assertEqual(pin, fingerprint(pem.read_bytes()))
        alice = await self.secure(port, pin, ELSEWHERE)
        await alice.register("alice")
        log = self.data / "log" / "chatd-1.log"
        await self.eventually(
            lambda: f"user.connect    alice from {ELSEWHERE} tls json" in log.read_text(), "alice in the log"
        )
        other = self_signed(["two.example.org"])
        pem.write_bytes(other)
        printed = len(program.lines)
        program.signal(signal.SIGHUP)
        self.assertEqual(await self.pin(program, printed), fingerprint(other))
        bob = await self.secure(port, fingerprint(other))
        await bob.register("bob")
        await alice.ping()


class PassedThroughTests(TlsTestCase):
    """HAProxy passes TLS through."""

    async def test_template(self) -> None:
        """etc/haproxy.cfg with its line for that: the node's own certificate is seen, and the person's own address."""
        haproxy = needs("haproxy")
        port = free_ports(2)
        text = configuration(template(), HOST, port, 1, Path("h.sock"))
        text, count = re.subn("(?m)^    #(default-server check-ssl verify none)$", r"    \1", text)
        self.assertEqual(count, 1)
        file = self.folder / "haproxy.cfg"
        file.write_text(text)
        listen = f"haproxy:ssl:{port + 1}:interface={HOST}"
        node = self.twistd("chatd", "--data", os.fspath(self.data), "--listen", listen, "--node", "1")
        pin = await self.pin(node)
        await node.prints("^chatd ready on ")
        self.run_program(haproxy, "-db", "-C", os.fspath(self.folder.absolute()), "-f", file.name)

        async def served() -> TlsClient | None:
            try:
                client = await self.secure(port, pin, ELSEWHERE)
                await client.register("alice")
            except (ConnectError, Lost):  # HAProxy does not listen yet, or has not checked the node yet
                return None
            return client

        await self.eventually(served, "HAProxy")
        log = (self.data / "log" / "chatd-1.log").read_text()
        self.assertIn(f"user.connect    alice from {ELSEWHERE} tls json", log)


class StrangerTests(SynchronousTestCase):
    """A PROXY header from whom nobody trusts."""

    def test_tls_behind_an_untrusted_header(self) -> None:
        """Before TLS, too, only trusted proxies are heard: others are closed unread."""
        path = Path(self.mktemp())
        own_certificate(path, ["localhost"])
        certificate = Certificate(path, path)
        memory: Any = MemoryReactorClock()
        endpoint = server_endpoint(memory, "haproxy:ssl:1", trusted=["10.0.0.1"], creator=lambda files: certificate)
        endpoint.listen(Factory.forProtocol(_Echo))
        self.assertIsNone(memory.tcpServers[0][1].buildProtocol(StringTransport().getPeer()))
