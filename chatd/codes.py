"""Secrets that people copy by hand: invitations, recovery codes, and the six digits of a second factor.

The rule: pure functions; the time is a parameter. Only hashes of codes are ever kept: 80 random bits need no slow one.

The six digits are RFC 6238 (TOTP) over RFC 4226 (HOTP), ten lines on the standard library, tested against the RFCs'
vectors: a library would bring nothing but a dependency to the daemon.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import struct
from typing import Final
from urllib.parse import quote

STEP: Final = 30
"""Seconds that one code holds (RFC 6238, 5.2)."""
DIGITS: Final = 6
DRIFT: Final = 1
"""Steps that a clock may be off, before and behind."""
SECRET: Final = 20
"""Bytes of a second factor's secret: the length of its hash (RFC 4226, 4)."""
CODE: Final = 10
"""Bytes of a recovery code or an invitation."""
RECOVERY: Final = 8
"""Recovery codes at a time."""


def new_code() -> str:
    """A code to hand out: 80 random bits, `abcd-efgh-ijkl-mnop`."""
    word = base64.b32encode(secrets.token_bytes(CODE)).decode().lower()
    return "-".join(word[start : start + 4] for start in range(0, len(word), 4))


def hash_code(typed: str) -> str:
    """What is kept of a code, and looked up: however it is typed, in capitals, with spaces or without dashes.

    >>> hash_code("ABCD efgh") == hash_code("abcd-efgh")
    True
    """
    bare = "".join(typed.split()).replace("-", "").lower()
    return hashlib.sha256(b"chatd code " + bare.encode("utf-8", "replace")).hexdigest()


def new_secret() -> bytes:
    """A second factor's secret."""
    return secrets.token_bytes(SECRET)


def shown(secret: bytes) -> str:
    """The secret as it is typed into an authenticator: `JBSW Y3DP …`."""
    word = base64.b32encode(secret).decode()
    return " ".join(word[start : start + 4] for start in range(0, len(word), 4))


def uri(secret: bytes, server: str, name: str) -> str:
    """The same as an authenticator scans it.

    https://github.com/google/google-authenticator/wiki/Key-Uri-Format
    """
    word = base64.b32encode(secret).decode().rstrip("=")
    return f"otpauth://totp/{quote(server)}:{quote(name)}?secret={word}&issuer={quote(server)}"


def hotp(secret: bytes, counter: int, digits: int = DIGITS) -> str:
    """The code of a counter (RFC 4226, 5.3)."""
    digest = hmac.digest(secret, struct.pack(">Q", counter), "sha1")
    start = digest[-1] & 15
    number: int = struct.unpack_from(">I", digest, start)[0] & 0x7FFF_FFFF
    return f"{number % 10**digits:0{digits}}"


def matching_step(secret: bytes, typed: str, now_ms: int, used: int) -> int | None:
    """The time step whose code was typed, of those that hold now and come after step `used` (no code is good twice:
    RFC 6238, 5.2); None: there is none. It takes the same time whether there is or not.
    """
    typed = "".join(typed.split())
    now = now_ms // 1000 // STEP
    found = None
    for step in range(max(0, now - DRIFT), now + DRIFT + 1):
        right = hmac.compare_digest(hotp(secret, step).encode(), typed.encode("utf-8", "replace"))
        if right and step > used:
            found = step
    return found
