"""Records as bytes, their hashes and their signatures (E2E.md §1).

The rule: bytes are verified first and parsed after, and what was signed as one kind of object is never taken for
another. An item says what it is and how long; a record is its items one after the other, in the one order of its kind,
with nothing before, between or behind. So equal records are equal bytes.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from hashlib import blake2b
from typing import Any, Final

from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey

HASH: Final = 32
SIGNATURE: Final = 64
NOTHING: Final = bytes(32)
"""Stands where there is no key, and no hash."""
_FIXED: Final = {"u": 8, "t": 8, "a": 8, "d": 16, "r": 32, "m": 16, "k": 32, "h": HASH, "g": SIGNATURE}
_NUMBERS: Final = "uta"


class Malformed(ValueError):
    """Bytes that are not what they should be."""


class Forged(Exception):
    """A signature, or something that must match something, does not."""


def pack(kinds: str, *values: Any) -> bytes:
    """A record: one value per kind.

    `u` number, `t` time (ms), `a` account, `d` device id, `r` room id, `m` mid, `k` public key, `h` hash, `g`
    signature, `s` text, `b` bytes, `l` a list of bytes.
    """
    parts: list[bytes] = []
    for kind, value in zip(kinds, values, strict=True):
        if kind in _NUMBERS:
            data = value.to_bytes(8, "big")
        elif kind == "s":
            data = value.encode()
        elif kind == "l":
            data = b"".join(b"b%b%b" % (len(item).to_bytes(4, "big"), item) for item in value)
        else:
            data = value
        if len(data) != _FIXED.get(kind, len(data)):
            raise Malformed(f"{kind}: {len(data)} bytes")
        parts += (kind.encode(), len(data).to_bytes(4, "big"), data)
    return b"".join(parts)


def unpack(kinds: str, raw: bytes) -> list[Any]:
    """The values of a record.

    @raise Malformed: it is not exactly such a record.
    """
    values: list[Any] = []
    at = 0
    for kind in kinds:
        data, at = _item(kind, raw, at)
        if kind in _NUMBERS:
            values.append(int.from_bytes(data, "big"))
        elif kind == "s":
            try:
                values.append(data.decode())
            except UnicodeDecodeError:
                raise Malformed("not UTF-8") from None
        elif kind == "l":
            items, inner = [], 0
            while inner < len(data):
                item, inner = _item("b", data, inner)
                items.append(item)
            values.append(items)
        else:
            values.append(data)
    if at != len(raw):
        raise Malformed(f"{len(raw) - at} bytes behind a record")
    return values


def _item(kind: str, raw: bytes, at: int) -> tuple[bytes, int]:
    end = at + 5 + int.from_bytes(raw[at + 1 : at + 5], "big")
    if raw[at : at + 1] != kind.encode() or end > len(raw):
        raise Malformed(f"no {kind} at {at}")
    data = raw[at + 5 : end]
    if len(data) != _FIXED.get(kind, len(data)):
        raise Malformed(f"{kind}: {len(data)} bytes")
    return data, end


def digest(person: str, data: bytes) -> bytes:
    """BLAKE2b-256 (RFC 7693), personalised: a hash for one purpose is none for another."""
    return blake2b(data, digest_size=HASH, person=person.encode()).digest()


def covered(tag: str, record: bytes) -> bytes:
    """What a signature of this kind is made over."""
    return tag.encode() + b"\x00" + record


def signed(tag: str, key: bytes, whole: bytes) -> bytes:
    """The record of a signed object (record, then signature), once its signature by `key` is found good.

    @raise Forged: it is not good.
    """
    record = whole[:-SIGNATURE]
    verify(tag, key, record, whole[-SIGNATURE:])
    return record


def verify(tag: str, key: bytes, record: bytes, signature: bytes) -> None:
    """Check an Ed25519 signature (RFC 8032).

    @raise Forged: it is not good.
    """
    try:
        VerifyKey(key).verify(covered(tag, record), signature)
    except (CryptoError, ValueError, TypeError):
        raise Forged(tag) from None


def text(data: bytes) -> str:
    """Bytes as they stand in JSON."""
    return b64encode(data).decode()


def data(written: Any, size: int | None = None) -> bytes:
    """Bytes from JSON.

    @raise Malformed: it is not the one base64 form of (`size`) bytes.
    """
    try:
        found = b64decode(written, validate=True)
    except (ValueError, TypeError):
        raise Malformed("not base64") from None
    if (size is not None and len(found) != size) or text(found) != written:
        raise Malformed("not the bytes that should be here")
    return found
