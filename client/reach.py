"""How a server is reached: in clear on this machine, by TLS everywhere else.

The rule: off loopback nothing is ever sent in clear. A certificate that the system trusts for that name is good; any
other is pinned the first time it is seen, and from then on only that very one is good, whoever signs another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.protocol import Factory, Protocol

TRUSTED: Final = "trusted by the system"
TIMEOUT: Final = 10.0


class Pins:
    """Which certificate a server has: nothing known yet, a fingerprint, or TRUSTED."""

    def __init__(self, known: str | None, keep: Callable[[str], None], alarm: Callable[[], None] | None = None) -> None:
        """`keep` is told what to remember, `alarm` that another certificate than the remembered one was shown."""
        self.known = known
        self._keep = keep
        self._alarm = alarm
        self.wrong = False
        """Another certificate than the pinned one was shown."""

    def good(self, fingerprint: str, *, trusted: bool) -> bool:
        """Whether this certificate may be talked to; the first one is remembered."""
        shown = TRUSTED if trusted else fingerprint
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


def connector(reactor: Any, host: str, port: int, pins: Pins) -> Callable[[Callable[[], Protocol]], Deferred[Any]]:
    """What opens a connection to this server."""
    endpoint: Any = HostnameEndpoint(reactor, host, port, timeout=TIMEOUT)
    if not on_loopback(host):
        endpoint = wrapClientTLS(_creator(host, pins), endpoint)

    def connect(protocol: Callable[[], Protocol]) -> Deferred[Any]:
        opened: Deferred[Any] = endpoint.connect(Factory.forProtocol(protocol))
        return opened

    return connect


def _creator(host: str, pins: Pins) -> Any:
    """TLS whose certificate is judged here, in full, when the handshake shows it: before a byte of ours is sent."""
    from OpenSSL import SSL
    from service_identity.pyopenssl import verify_hostname, verify_ip_address
    from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
    from twisted.protocols.tls import TLSMemoryBIOProtocol
    from zope.interface import implementer

    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_default_verify_paths()

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
