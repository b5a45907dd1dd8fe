"""A sealed message: a readable header, one encrypted body, and what the body must repeat (E2E.md §4).

The rule: a key `K` is random and used for one body. The header is authenticated by the body, `K` by the header's
commitment, and both by every envelope; what the plaintext says of room, mid and sender must be what the header says.
"""

from __future__ import annotations

import os
from typing import Any, Final, NamedTuple

from nacl.exceptions import CryptoError
from nacl.secret import Aead
from orjson import JSONDecodeError, dumps, loads

from client.crypto.encoding import Forged, Malformed, digest, pack, unpack
from client.crypto.identity import SUITE, Device

VERSION: Final = 1
KEY: Final = Aead.KEY_SIZE
_HEADER: Final = "uurmaduhsh"
_PLAIN: Final = "rmaduhtuhb"
_STEPS: Final = (64, 128, 256, 512)


class Header(NamedTuple):
    """What everybody may read. `log_seq` and `head`: the room log as the sender saw it (direct: 0 and zeros)."""

    version: int
    suite: int
    room: bytes
    mid: bytes
    account: int
    device: bytes
    log_seq: int
    head: bytes
    kind: str
    commitment: bytes


class Plain(NamedTuple):
    """What only members may read.

    `counter` counts the sender device's messages in this room from 1, `before` is the digest of the one before (zeros:
    none), `manifest_seq` and `manifest` are the head of the sender's own manifests.
    """

    room: bytes
    mid: bytes
    account: int
    device: bytes
    counter: int
    before: bytes
    time: int
    manifest_seq: int
    manifest: bytes
    content: dict[str, Any]


class Sealed(NamedTuple):
    """A message as everybody gets it."""

    header: bytes
    body: bytes

    @property
    def digest(self) -> bytes:
        """Names exactly these bytes: what envelopes and the sender's next message refer to."""
        return digest("chatd-body", pack("bb", self.header, self.body))

    def wire(self) -> bytes:
        """As the server stores it."""
        return len(self.header).to_bytes(2, "big") + self.header + self.body


def from_wire(raw: bytes) -> tuple[Sealed, Header]:
    """A message as the server has it, and its header.

    @raise Malformed: it is none, or of a version or suite not known here: nothing is negotiated down.
    """
    size = int.from_bytes(raw[:2], "big")
    sealed = Sealed(raw[2 : 2 + size], raw[2 + size :])
    header = Header(*unpack(_HEADER, sealed.header))
    if (header.version, header.suite) != (VERSION, SUITE):
        raise Malformed(f"version {header.version}, suite {header.suite}")
    return sealed, header


def seal(plain: Plain, log_seq: int, head: bytes, kind: str) -> tuple[Sealed, bytes]:
    """Encrypt under a fresh key; the message and its key."""
    key = os.urandom(KEY)
    about = (VERSION, SUITE, plain.room, plain.mid, plain.account, plain.device, log_seq, head, kind)
    header = pack(_HEADER, *about, digest("chatd-commit", key))
    body = Aead(key).encrypt(_pad(pack(_PLAIN, *plain[:-1], dumps(plain.content))), header)
    return Sealed(header, bytes(body)), key


def unseal(sealed: Sealed, key: bytes) -> Plain:
    """Decrypt, and hold the plaintext against the header.

    @raise Forged: another key, other bytes, or a plaintext that speaks of another room, mid or sender.
    """
    header = Header(*unpack(_HEADER, sealed.header))
    if digest("chatd-commit", key) != header.commitment:
        raise Forged("commitment")
    try:
        *about, content = unpack(_PLAIN, _unpad(Aead(key).decrypt(sealed.body, sealed.header)))
        plain = Plain._make([*about, loads(content)])
    except (CryptoError, Malformed, JSONDecodeError, ValueError):
        raise Forged("body") from None
    said, shown = plain[:4], (header.room, header.mid, header.account, header.device)
    if said != shown or not isinstance(plain.content, dict):
        raise Forged("header and body differ")
    return plain


def direct_room(one: int, other: int) -> bytes:
    """The id of the sealed conversation of two accounts, whoever opens it."""
    return digest("chatd-direct", pack("aas", min(one, other), max(one, other), "sealed"))


def padded(size: int) -> int:
    """How long that many bytes become: 64, 128, 256, 512, then by Padmé (Nikitin et al., PETS 2019), at most 12 % more.

    >>> [padded(n) for n in (0, 64, 65, 400, 513, 1000, 100_000)]
    [64, 64, 128, 512, 544, 1024, 100352]
    """
    for step in _STEPS:
        if size <= step:
            return step
    exponent = size.bit_length() - 1
    mask = (1 << exponent - exponent.bit_length()) - 1
    return (size + mask) & ~mask


def _pad(plain: bytes) -> bytes:
    data = len(plain).to_bytes(4, "big") + plain
    return data.ljust(padded(len(data)), b"\x00")


def _unpad(data: bytes) -> bytes:
    size = int.from_bytes(data[:4], "big")
    plain = data[4 : 4 + size]
    if len(plain) != size or data[4 + size :].strip(b"\x00"):
        raise Malformed("padding")
    return plain


# -- what an envelope carries ---------------------------------------------------------------------------------------


class End(NamedTuple):
    """One end of an envelope: which device of which account."""

    account: int
    device: Device


_MESSAGE, _CONTROL = b"\x01", b"\x02"


def envelope(header: bytes, body: bytes, key: bytes, sender: End, recipient: End) -> bytes:
    """The plaintext of a message's envelope: the key, and what it is for (`body`: its digest), from whom, to whom."""
    return _MESSAGE + key + body + _bind("chatd-bind", header, sender, recipient)


def control(kind: str, fields: dict[str, Any], sender: End, recipient: End) -> bytes:
    """The plaintext of an envelope that stands alone: a word from device to device."""
    payload = pack("sb", kind, dumps(fields))
    return _CONTROL + _bind("chatd-control", payload, sender, recipient) + payload


def opened(plain: bytes) -> tuple[bytes, bytes, bytes] | None:
    """Key, digest and bind of a message's envelope; None: it is a control envelope.

    @raise Malformed: it is neither.
    """
    if plain[:1] == _CONTROL:
        return None
    if plain[:1] != _MESSAGE or len(plain) != 97:
        raise Malformed("envelope")
    return plain[1:33], plain[33:65], plain[65:97]


def check(sealed: Sealed, given: tuple[bytes, bytes, bytes], sender: End, recipient: End) -> bytes:
    """The key of an envelope, if it is for this body, by this sender, to this device.

    @raise Forged: it is not.
    """
    key, body, bind = given
    if body != sealed.digest:
        raise Forged("another body")
    header = Header(*unpack(_HEADER, sealed.header))
    if (header.account, header.device) != (sender.account, sender.device.id):
        raise Forged("another sender")
    if bind != _bind("chatd-bind", sealed.header, sender, recipient):
        raise Forged("another sender or recipient")
    return key


def check_control(plain: bytes, sender: End, recipient: End) -> tuple[str, dict[str, Any]]:
    """Kind and fields of a control envelope, if it is by this sender, to this device.

    @raise Forged: it is not. @raise Malformed: it cannot be read.
    """
    bind, payload = plain[1:33], plain[33:]
    if bind != _bind("chatd-control", payload, sender, recipient):
        raise Forged("another sender or recipient")
    kind, raw = unpack("sb", payload)
    try:
        fields = loads(raw)
    except JSONDecodeError:
        raise Malformed("control") from None
    if not isinstance(fields, dict):
        raise Malformed("control")
    return kind, fields


def _bind(person: str, about: bytes, sender: End, recipient: End) -> bytes:
    ends = [(end.account, end.device.id, end.device.dks) for end in (sender, recipient)]
    return digest(person, pack("badkadk", about, *ends[0], *ends[1]))
