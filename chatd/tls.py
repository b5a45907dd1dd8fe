"""TLS as the server speaks it: which versions and ciphers, and a certificate that can be changed while it runs.

The rule: a handshake takes the context that stands here at that moment, and what is connected keeps its own. So a new
certificate is one assignment, nobody is dropped for it, and one that cannot be used changes nothing.

Versions and ciphers: Mozilla's "intermediate" without the finite-field ones and without CBC
(https://wiki.mozilla.org/Security/Server_Side_TLS); TLS 1.3's suites are all good.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import os
import socket
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from zope.interface import implementer

OWN: Final = "tls.pem"
"""In the data folder: the certificate made at the first start, and its key."""
CIPHERS: Final = b"ECDHE+AESGCM:ECDHE+CHACHA20"
OPTIONS: Final = (
    SSL.OP_NO_COMPRESSION
    | SSL.OP_NO_RENEGOTIATION  # a client could have the server do handshakes without end
    | SSL.OP_CIPHER_SERVER_PREFERENCE
    | SSL.OP_NO_TICKET  # keys that never change would undo forward secrecy
)
YEARS: Final = 10
"""How long a certificate made here holds: it is pinned, so that its end would be an alarm like any other change."""


class BadCertificate(Exception):
    """A certificate or key that cannot be used; the text says which file, and why."""


@implementer(IOpenSSLServerConnectionCreator)
class Certificate:
    """A certificate and its key, as files; each handshake takes what was loaded last."""

    def __init__(self, key: Path, certificate: Path, chain: Path | None = None) -> None:
        """Load them.

        @param certificate: PEM; what follows in the file, or stands in `chain`, is sent along with it.
        @raise BadCertificate:
        """
        self._files = key, certificate, chain
        self.load()

    def load(self) -> None:
        """Read the files again; where they cannot be used, all stays as it was.

        @raise BadCertificate:
        """
        key, certificate, chain = self._files
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_cipher_list(CIPHERS)
        context.set_options(OPTIONS)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        # Asked for, never demanded: whoever shows one proves that they have its key, and nothing else is taken from it.
        context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        shown, *rest = [each for file in (certificate, chain) if file is not None for each in _certificates(file)]
        context.use_certificate(shown)
        for each in rest:
            context.add_extra_chain_cert(each)
        try:
            secret: Any = load_pem_private_key(_read(key), None)
            context.use_privatekey(secret)
            context.check_privatekey()
        except (SSL.Error, ValueError, TypeError, UnsupportedAlgorithm):
            raise BadCertificate(f"{key}: no key of {certificate} (in PEM, without a passphrase)") from None
        self.pin = hashlib.sha256(shown.public_bytes(Encoding.DER)).hexdigest()
        self._context = context

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """As Twisted asks, for each connection."""
        return SSL.Connection(self._context, None)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise BadCertificate(f"{file}: {error.strerror}") from None


def _certificates(file: Path) -> list[x509.Certificate]:
    pem = _read(file)
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise BadCertificate(f"{file}: no certificate in PEM") from None


def fingerprint(pem: bytes) -> str:
    """The SHA-256 of the first certificate in this PEM text, in hex: what a client pins."""
    first = x509.load_pem_x509_certificates(pem)[0]
    return hashlib.sha256(first.public_bytes(Encoding.DER)).hexdigest()


def own_certificate(path: Path, names: Iterable[str]) -> None:
    """See that this file holds a certificate and its key, for its user only: made, self-signed, where it is not there.

    Instances that start together end with the same one: the first to put it there wins.

    @param names: what clients may call the server; the machine's own names are added.
    @raise BadCertificate: it cannot be written.
    """
    if path.exists():
        return
    made = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        made.unlink(missing_ok=True)
        fd = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(self_signed([*names, socket.gethostname(), "localhost", "127.0.0.1", "::1"]))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(made, path)
        made.unlink()
    except OSError as error:
        raise BadCertificate(f"{path}: {error.strerror}") from None


def self_signed(names: Iterable[str]) -> bytes:
    """A new key (P-256) and a certificate for these names that it signs itself, as PEM."""
    unique = list(dict.fromkeys(names))
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, unique[0][:64])])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=365 * YEARS))
        .add_extension(x509.SubjectAlternativeName([_alternative(name) for name in unique]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(Encoding.PEM) + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _alternative(name: str) -> Any:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
