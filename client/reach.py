"""How a server is reached: in clear on this machine, by TLS everywhere else.

The rule: off loopback nothing is ever sent in clear. A certificate that the system trusts for that name is good; any
other is pinned the first time it is seen, and from then on only that very one is good, whoever signs another. Where an
authority is given (`--ca`), only what it has signed for that name is good, and nothing is pinned.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.protocol import Factory, Protocol

from client import sentences

if TYPE_CHECKING:
    from argparse import Namespace

    from client.chat import Chat
    from client.store import Store

TRUSTED: Final = "trusted by the system"
TIMEOUT: Final = 10.0
CIPHERS: Final = b"ECDHE+AESGCM:ECDHE+CHACHA20"


class Pins:
    """Which certificate a server has: nothing known yet, a fingerprint, or TRUSTED."""

    def __init__(
        self,
        known: str | None,
        keep: Callable[[str], None],
        alarm: Callable[[], None] | None = None,
        *,
        only_trusted: bool = False,
    ) -> None:
        """`keep` is told what to remember, `alarm` that the certificate shown is not good. `only_trusted`: nothing is
        pinned, an authority decides.
        """
        self.known = known
        self.only_trusted = only_trusted
        self._keep = keep
        self._alarm = alarm
        self.wrong = False
        """Another certificate than the pinned one was shown."""

    def good(self, fingerprint: str, *, trusted: bool) -> bool:
        """Whether this certificate may be talked to; the first one is remembered."""
        shown = TRUSTED if trusted else fingerprint
        if self.only_trusted:
            self.wrong = not trusted
        else:
            if self.known is None:
                self.known = shown
                self._keep(shown)
            self.wrong = self.known not in (shown, fingerprint)
        if self.wrong and self._alarm is not None:
            self._alarm()
        return not self.wrong


def on_loopback(host: str) -> bool:
    """Whether this is a name or an address of this machine itself."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host in ("localhost", "localhost.localdomain", "ip6-localhost")


def read_pin(typed: str) -> str:
    """A fingerprint as the server prints it, or with colons, as openssl does.

    @raise ValueError: it is none.
    """
    pin = typed.replace(":", "").replace(" ", "").lower()
    if not re.fullmatch("[0-9a-f]{64}", pin):
        raise ValueError("--pin is the SHA-256 of the server's certificate: 64 digits and letters from a to f")
    return pin


def connector(
    reactor: Any, host: str, port: int, pins: Pins, *, tls: bool = False, authority: str | None = None
) -> Callable[[Callable[[], Protocol]], Deferred[Any]]:
    """What opens a connection to this server.

    @param tls: on loopback, too.
    @param authority: a PEM file of the certificates that sign the server's, instead of the system's.
    """
    endpoint: Any = HostnameEndpoint(reactor, host, port, timeout=TIMEOUT)
    if tls or authority is not None or not on_loopback(host):
        endpoint = wrapClientTLS(_creator(host, pins, authority), endpoint)

    def connect(protocol: Callable[[], Protocol]) -> Deferred[Any]:
        opened: Deferred[Any] = endpoint.connect(Factory.forProtocol(protocol))
        return opened

    return connect


def way(
    reactor: Any, options: Namespace, store: Store, host: str, port: int, chat: Callable[[], Chat]
) -> Callable[[Callable[[], Protocol]], Deferred[Any]]:
    """The connector that the options ask for, and that knows what this profile knows of the server."""

    def keep(pin: str) -> None:
        store.put(pin=pin)
        if pin != TRUSTED:
            chat().notice(sentences.PINNED.format(where=host, pin=pin))

    authority: str | None = options.ca
    why = sentences.PIN if authority is None else sentences.NOT_SIGNED.format(authority=authority)
    pins = Pins(store.get("pin"), keep, lambda: chat().distrust(why), only_trusted=authority is not None)
    return connector(reactor, host, port, pins, tls=bool(options.tls), authority=authority)


def _creator(host: str, pins: Pins, authority: str | None = None) -> Any:
    """TLS whose certificate is judged here, in full, when the handshake shows it: before a byte of ours is sent."""
    from OpenSSL import SSL
    from service_identity.pyopenssl import verify_hostname, verify_ip_address
    from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
    from twisted.protocols.tls import TLSMemoryBIOProtocol
    from zope.interface import implementer

    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(CIPHERS)
    if authority is None:
        context.set_default_verify_paths()
    else:
        context.load_verify_locations(authority)

    @implementer(IOpenSSLClientConnectionCreator)
    class Creator:
        def clientConnectionForTLS(self, tls: TLSMemoryBIOProtocol) -> Any:
            faults: list[int] = []

            def judge(connection: Any, certificate: Any, error: int, depth: int, ok: int) -> bool:
                if not ok:
                    faults.append(error)
                if depth:
                    return True
                raw = certificate.to_cryptography().public_bytes(Encoding.DER)
                return pins.good(hashlib.sha256(raw).hexdigest(), trusted=not faults and named(certificate))

            def named(certificate: Any) -> bool:
                from service_identity import CertificateError, VerificationError

                shown = _Shown(certificate)
                try:
                    (verify_ip_address if _is_address(host) else verify_hostname)(shown, host)  # type: ignore[arg-type]
                except (VerificationError, CertificateError):
                    return False
                return True

            from cryptography.hazmat.primitives.serialization import Encoding

            connection = SSL.Connection(context, None)
            connection.set_verify(SSL.VERIFY_PEER, judge)
            if not _is_address(host):
                connection.set_tlsext_host_name(host.encode("idna"))
            connection.set_connect_state()
            return connection

    return Creator()


class _Shown:
    """A certificate as service_identity wants to be given it: that of a connection."""

    def __init__(self, certificate: Any) -> None:
        self._certificate = certificate

    def get_peer_certificate(self) -> Any:
        """The certificate."""
        return self._certificate


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
