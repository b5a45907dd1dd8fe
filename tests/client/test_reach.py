"""How a server is reached: in clear on loopback, by TLS elsewhere, by the certificate only that was seen first."""

from __future__ import annotations

import datetime
import os
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from twisted.internet import reactor as _reactor
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IOpenSSLContextFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from client.reach import TRUSTED, Pins, _creator, on_loopback, read_pin
from tests.live import Waiting

reactor: Any = _reactor


class PinTests(SynchronousTestCase):
    """Which certificate is good."""

    def test_first_use(self) -> None:
        """The first one is remembered, and then only that one is good, even where the system trusts another."""
        kept: list[str] = []
        pins = Pins(None, kept.append)
        self.assertTrue(pins.good("aa", trusted=False))
        self.assertEqual(kept, ["aa"])
        self.assertTrue(pins.good("aa", trusted=False))
        self.assertTrue(pins.good("aa", trusted=True))
        self.assertFalse(pins.good("bb", trusted=False))
        self.assertFalse(pins.good("bb", trusted=True))
        self.assertEqual(kept, ["aa"])

    def test_trusted(self) -> None:
        """A server whose certificate the system trusted may renew it, and falls back to none that nobody signed."""
        pins = Pins(TRUSTED, lambda _: None)
        self.assertTrue(pins.good("bb", trusted=True))
        self.assertFalse(pins.good("bb", trusted=False))

    def test_an_authority_alone(self) -> None:
        """Where an authority is given nothing is pinned: what it has signed is good, and nothing else."""
        kept: list[str] = []
        alarms: list[bool] = []
        pins = Pins(None, kept.append, lambda: alarms.append(True), only_trusted=True)
        self.assertTrue(pins.good("aa", trusted=True))
        self.assertTrue(pins.good("bb", trusted=True))
        self.assertFalse(pins.good("bb", trusted=False))
        self.assertEqual((kept, alarms), ([], [True]))

    def test_a_pin_as_it_is_typed(self) -> None:
        """With colons, in capitals; what is no SHA-256 is refused."""
        self.assertEqual(read_pin(":".join(["AB"] * 32)), "ab" * 32)
        for typed in ("", "ab" * 31, "xy" * 32, "ab" * 33):
            self.assertRaises(ValueError, read_pin, typed)

    def test_loopback(self) -> None:
        """Only this machine itself is spoken to in clear."""
        for host in ("localhost", "127.0.0.1", "127.8.0.1", "::1"):
            self.assertTrue(on_loopback(host), host)
        for host in ("example.org", "10.0.0.1", "0.0.0.0", "localhost.example.org"):
            self.assertFalse(on_loopback(host), host)


@implementer(IOpenSSLContextFactory)
class Shown:
    """A server's certificate, new, which nobody else has signed; Twisted's context factory for it."""

    def __init__(self, name: str) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.UTC)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .sign(key, hashes.SHA256())
        )
        self._context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self._context.use_certificate(self.certificate)
        self._context.use_privatekey(key)

    def getContext(self) -> SSL.Context:
        """As Twisted asks."""
        return self._context

    def pem(self) -> bytes:
        """As a file of trusted certificates has it."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)


class _Talk(Protocol):
    def __init__(self, scene: Waiting) -> None:
        self.scene = scene
        self.heard = b""
        self.lost = False

    def dataReceived(self, data: bytes) -> None:
        self.heard += data
        self.scene.happened()

    def connectionLost(self, reason: Any = None) -> None:
        self.lost = True
        self.scene.happened()


class TLSTests(TestCase):
    """Real handshakes."""

    async def heard(self, shown: Shown, pins: Pins, authority: str | None = None) -> bytes:
        """What a server that shows this certificate hears of a client that says hello."""
        scene = Waiting()
        ends: list[_Talk] = []

        def serve() -> _Talk:
            ends.append(_Talk(scene))
            return ends[-1]

        port = reactor.listenSSL(0, Factory.forProtocol(serve), shown, interface="127.0.0.1")
        endpoint = HostnameEndpoint(reactor, "127.0.0.1", port.getHost().port)
        wrapped: Any = wrapClientTLS(_creator("chat.example.org", pins, authority), endpoint)
        client = await wrapped.connect(Factory.forProtocol(lambda: _Talk(scene)))
        client.transport.write(b"hello\n")
        await scene.until(lambda: client.lost or (ends and ends[0].heard), "hello, or the end")
        client.transport.loseConnection()
        await scene.until(lambda: client.lost and ends[0].lost, "the end")
        await port.stopListening()
        return ends[0].heard

    async def test_pinned(self) -> None:
        """The same certificate again is good; another one hears nothing of ours."""
        kept: list[str] = []
        first, other = Shown("chat.example.org"), Shown("chat.example.org")
        self.assertEqual(await self.heard(first, Pins(None, kept.append)), b"hello\n")
        self.assertEqual(kept, [first.certificate.fingerprint(hashes.SHA256()).hex()])
        self.assertEqual(await self.heard(first, Pins(kept[0], kept.append)), b"hello\n")
        pins = Pins(kept[0], kept.append)
        self.assertEqual(await self.heard(other, pins), b"")
        self.assertTrue(pins.wrong)
        self.assertEqual(len(kept), 1)

    async def test_never_from_trusted_to_unknown(self) -> None:
        """Where the system once trusted the server, a certificate that nobody signed hears nothing."""
        self.assertEqual(await self.heard(Shown("chat.example.org"), Pins(TRUSTED, lambda _: None)), b"")

    async def test_trusted_for_this_name(self) -> None:
        """A certificate that the system trusts is trusted for its own name only."""
        for name, kept_as in (("chat.example.org", TRUSTED), ("other.example.org", "")):
            shown = Shown(name)
            path = self.mktemp()
            with open(path, "wb") as file:
                file.write(shown.pem())
            os.environ["SSL_CERT_FILE"] = path
            self.addCleanup(os.environ.pop, "SSL_CERT_FILE", None)
            kept: list[str] = []
            self.assertEqual(await self.heard(shown, Pins(None, kept.append)), b"hello\n")
            self.assertEqual(kept, [kept_as or shown.certificate.fingerprint(hashes.SHA256()).hex()])

    async def test_by_a_given_authority(self) -> None:
        """Only what the given authority has signed, and only for its own name, hears anything; nothing is pinned."""
        for name, other, good in (
            ("chat.example.org", False, True),
            ("other.example.org", False, False),
            ("chat.example.org", True, False),
        ):
            shown = Shown(name)
            path = self.mktemp()
            with open(path, "wb") as file:
                file.write((Shown(name) if other else shown).pem())
            pins = Pins(None, self.fail, only_trusted=True)
            self.assertEqual(await self.heard(shown, pins, path), b"hello\n" if good else b"")
            self.assertIs(pins.wrong, not good)
