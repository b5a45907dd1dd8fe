"""What the server reads of what clients sign (E2E.md §1 and §6): manifests, prekeys, entries of a room's log.

The rule: it reads only what it needs to keep order and to keep one member from spoiling a group for the others. Clients
trust none of it: each checks everything again.

A record is its items one after the other: a type (one ASCII byte), a length (u32, big-endian), the payload. A signed
object is a record and the Ed25519 signature (RFC 8032) of `tag ‖ 0x00 ‖ record`.
"""

from __future__ import annotations

from base64 import b64encode
from binascii import Error, a2b_base64
from hashlib import blake2b
from typing import Final, NamedTuple

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

MANIFEST: Final = b"chatd/manifest/1"
ROOM_LOG: Final = b"chatd/roomlog/1"
NOTHING: Final = bytes(32)
"""Stands for the hash of no object, and for no key."""
SIGNATURE: Final = 64
LONGEST: Final = 64
"""How many devices a manifest may have, those that are no more included."""

_SIZES: Final = {ord(kind): size for kind, size in zip("utadrmkhg", (8, 8, 8, 16, 32, 16, 32, 32, 64), strict=True)}
_HEAD: Final = slice(2 + 136, 2 + 168)
"""Where the header of a sealed message, behind its length, names the newest entry of the room's log."""


class Malformed(Exception):
    """These bytes are not what they should be."""


class Device(NamedTuple):
    """A device as its account's manifest has it: its id, its signing key, and whether it is one no more."""

    id: str
    key: bytes
    revoked: bool


class Manifest(NamedTuple):
    """Which devices an account has, signed by its account key."""

    account: int
    key: bytes
    generation: int
    seq: int
    before: bytes
    devices: tuple[Device, ...]
    hash: bytes


class Prekey(NamedTuple):
    """A key that others may begin a conversation with: `kind` is "otk" (once) or "fallback"."""

    account: int
    device: str
    id: int
    kind: str


class Entry(NamedTuple):
    """One entry of a sealed group's log."""

    room: bytes
    before: bytes
    seq: int
    actor: int
    device: str
    action: str
    target: int
    value: str
    hash: bytes


def decode(text: str) -> bytes:
    """The bytes that this base64 stands for, which is the only one that does.

    @raise Malformed
    """
    try:
        raw = a2b_base64(text, strict_mode=True)
    except (Error, ValueError):
        raise Malformed from None
    if not raw or encode(raw) != text:
        raise Malformed
    return raw


def is_base64(text: str) -> bool:
    """Whether this is base64 of something."""
    try:
        return bool(a2b_base64(text, strict_mode=True))
    except (Error, ValueError):
        return False


def encode(raw: bytes) -> str:
    """Base64, as the wire has it."""
    return b64encode(raw).decode()


def items(record: bytes, kinds: str) -> list[bytes]:
    """The payloads of a record of exactly these kinds of items.

    @raise Malformed
    """
    found = []
    at = 0
    for kind in kinds.encode():
        if record[at : at + 1] != bytes((kind,)):
            raise Malformed
        size = int.from_bytes(record[at + 1 : at + 5])
        payload = record[at + 5 : at + 5 + size]
        if len(payload) != size or _SIZES.get(kind, size) != size:
            raise Malformed
        found.append(payload)
        at += 5 + size
    if at != len(record):
        raise Malformed
    return found


def _several(payload: bytes) -> list[bytes]:
    """The records of a list."""
    found: list[bytes] = []
    at = 0
    while at < len(payload):
        size = int.from_bytes(payload[at + 1 : at + 5])
        if payload[at : at + 1] != b"b" or at + 5 + size > len(payload) or len(found) == LONGEST:
            raise Malformed
        found.append(payload[at + 5 : at + 5 + size])
        at += 5 + size
    return found


def signed_by(raw: bytes, key: bytes, tag: bytes) -> bool:
    """Whether this object bears the signature of this key."""
    try:
        VerifyKey(key).verify(tag + b"\0" + raw[:-SIGNATURE], raw[-SIGNATURE:])
    except (BadSignatureError, ValueError):
        return False
    return True


def hash_of(raw: bytes, person: bytes) -> bytes:
    """The hash of a signed object, its signature included."""
    return blake2b(raw, digest_size=32, person=person).digest()


def manifest(raw: bytes) -> Manifest:
    """A manifest that bears its own key's signature.

    @raise Malformed
    """
    account, key, generation, seq, before, _, devices = items(raw[:-SIGNATURE], "akuuhtl")
    listed = []
    for record in _several(devices):
        device, signing, _, _, _, revoked, _ = items(record, "dkkuttg")
        listed.append(Device(encode(device), signing, any(revoked)))
    if len({device.id for device in listed}) != len(listed) or not signed_by(raw, key, MANIFEST):
        raise Malformed
    return Manifest(
        int.from_bytes(account),
        key,
        int.from_bytes(generation),
        int.from_bytes(seq),
        before,
        tuple(listed),
        hash_of(raw, b"chatd-manifest"),
    )


def prekey(raw: bytes) -> Prekey:
    """A prekey; its signature is not looked at here.

    @raise Malformed
    """
    account, device, number, kind, _ = items(raw[:-SIGNATURE], "adusk")
    if kind not in (b"otk", b"fallback"):
        raise Malformed
    return Prekey(int.from_bytes(account), encode(device), int.from_bytes(number), kind.decode())


def entry(raw: bytes) -> Entry:
    """An entry of a room's log; its signature is not looked at here.

    @raise Malformed
    """
    room, before, seq, actor, device, action, target, _, value, _ = items(raw[:-SIGNATURE], "rhuadsakst")
    try:
        what, how = action.decode(), value.decode()
    except UnicodeDecodeError:
        raise Malformed from None
    return Entry(
        room,
        before,
        int.from_bytes(seq),
        int.from_bytes(actor),
        encode(device),
        what,
        int.from_bytes(target),
        how,
        hash_of(raw, b"chatd-roomlog"),
    )


def log_head(sealed: str) -> str:
    """The newest entry of the room's log that the sender of this message knew, as its header says.

    @raise Malformed
    """
    head = decode(sealed)[_HEAD]
    if len(head) != len(NOTHING):
        raise Malformed
    return encode(head)
