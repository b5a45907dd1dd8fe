"""One-time keys and the fallback key: what a stranger needs for a first message to somebody who is away (E2E.md §3).

The rule: a key is used only if the device that will open the message has signed it, for itself and for this use.
"""

from __future__ import annotations

from typing import Final

from client.crypto.encoding import Malformed, pack, signed, unpack
from client.crypto.identity import Device, Signer

ONE_TIME, FALLBACK = "otk", "fallback"
STOCK: Final = 50
"""How many one-time keys a device keeps with the server."""
LOW: Final = 25
"""Below this many it brings new ones."""
FALLBACK_MS: Final = 7 * 24 * 3_600_000
"""How long a fallback key is offered."""
_KINDS: Final = "adusk"


def signed_key(signer: Signer, account: int, number: int, kind: str, key: bytes) -> bytes:
    """A key as it is uploaded."""
    record = pack(_KINDS, account, signer.id, number, kind, key)
    return record + signer.sign(f"chatd/{kind}/1", record)


def checked(raw: bytes, account: int, device: Device, kind: str) -> bytes:
    """The key in a claim's answer, if this very device signed it as one of this kind.

    @raise Malformed: it names another account, device or kind. @raise Forged: the device did not sign it.
    """
    record = signed(f"chatd/{kind}/1", device.dks, raw)
    by, signer, _, named, key = unpack(_KINDS, record)
    if (by, signer, named) != (account, device.id, kind):
        raise Malformed("a key of another device")
    return bytes(key)


def wanted(left: int) -> int:
    """How many one-time keys to make, now that `left` are with the server."""
    return STOCK - left if left < LOW else 0


def fallback_due(made: int, now: int) -> bool:
    """Whether the fallback key is old enough to be replaced."""
    return now - made >= FALLBACK_MS
