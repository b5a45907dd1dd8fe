"""What people compare, write down and type: safety numbers, the recovery code, the code of a new device (E2E.md §8).

The rule: what stands on the screen binds the whole of what it stands for, so that comparing it proves all of it.
"""

from __future__ import annotations

import os
from base64 import b32decode, b32encode
from collections.abc import Mapping
from hashlib import sha512
from typing import Any, Final

from nacl.exceptions import CryptoError
from nacl.secret import Aead
from orjson import dumps, loads

from client.crypto.encoding import Forged, Malformed, digest, pack

ROUNDS: Final = 5_200
RECOVERY_BYTES: Final = 16
CODE_BYTES: Final = 10


def safety_number(one: int, one_ak: bytes, other: int, other_ak: bytes) -> str:
    """60 digits that are the same on both sides, and only if both see the same two accounts and keys.

    As Signal's: each half is 30 digits of an iterated SHA-512, which makes looking for a near match slow.
    """
    return "".join(sorted((_half(one, one_ak), _half(other, other_ak))))


def _half(account: int, ak: bytes) -> str:
    about = pack("sak", "chatd/safety/1", account, ak)
    mixed = about
    for _ in range(ROUNDS):
        mixed = sha512(mixed + ak).digest()
    return "".join(f"{int.from_bytes(mixed[at : at + 5], 'big') % 100_000:05}" for at in range(0, 30, 5))


def grouped(number: str, size: int = 5) -> str:
    """Digits or letters as people read them.

    >>> grouped("123456789012")
    '12345 67890 12'
    """
    return " ".join(number[at : at + size] for at in range(0, len(number), size))


def same_number(typed: str, number: str) -> bool:
    """Whether what somebody typed is this number, spaces apart."""
    return "".join(typed.split()) == number


# -- recovery ---------------------------------------------------------------------------------------------------------


def recovery_code() -> tuple[str, bytes]:
    """A new code, as it is written down, and the key it stands for."""
    code = os.urandom(RECOVERY_BYTES)
    return grouped(_letters(code), 4).replace(" ", "-"), _recovery_key(code)


def recovery_key(typed: str) -> bytes:
    """The key that a written code stands for.

    @raise Malformed: it is no code.
    """
    return _recovery_key(_bytes(typed, RECOVERY_BYTES))


def _recovery_key(code: bytes) -> bytes:
    # The code has 128 random bits: there is nothing for a slow hash to protect.
    return digest("chatd-recovery", code)


def lock_recovery(key: bytes, account: int, content: Mapping[str, Any]) -> bytes:
    """The blob that the server keeps: the account key's seed and the pins, for who has the code."""
    return bytes(Aead(key).encrypt(dumps(content), pack("sa", "chatd/recovery/1", account)))


def open_recovery(key: bytes, account: int, blob: bytes) -> dict[str, Any]:
    """What is in the blob.

    @raise Forged: another code, another account's blob, or another's bytes.
    """
    try:
        content: dict[str, Any] = loads(Aead(key).decrypt(blob, pack("sa", "chatd/recovery/1", account)))
    except (CryptoError, ValueError):
        raise Forged("recovery") from None
    return content


# -- a new device -----------------------------------------------------------------------------------------------------


def device_code(account: int, ak: bytes, entry: bytes) -> str:
    """What a new device shows and the primary one is told: it binds the account, its key as the new device saw it, and
    the device's own keys.
    """
    return grouped(_letters(digest("chatd-link", pack("akb", account, ak, entry))[:CODE_BYTES]), 4).replace(" ", "-")


def same_code(typed: str, code: str) -> bool:
    """Whether what somebody typed is this code.

    >>> same_code("abcd efgh", "ABCD-EFGH")
    True
    """
    return _plain(typed) == _plain(code)


def _plain(typed: str) -> str:
    return "".join(typed.split()).replace("-", "").upper().translate({ord("0"): "O", ord("1"): "I", ord("8"): "B"})


def _letters(code: bytes) -> str:
    return b32encode(code).decode().rstrip("=")


def _bytes(typed: str, size: int) -> bytes:
    letters = _plain(typed)
    try:
        code = b32decode(letters + "=" * (-len(letters) % 8))
    except ValueError:
        raise Malformed("code") from None
    if len(code) != size or _letters(code) != letters:
        raise Malformed("code")
    return code
