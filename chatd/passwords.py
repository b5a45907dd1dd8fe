"""What a password must be, and how it is kept: hashed with bcrypt, never as it was typed.

The rule: no password is logged, put into an exception or kept after the call. `hash` and `verify` take as long as their
cost says, on purpose; call them off the reactor thread (bcrypt lets go of the interpreter lock; in the daemon it runs
in a process of its own, see hasher.py).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

import bcrypt
from precis_i18n import get_profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a new password must have: `length` characters, a `capital` letter, a `number`, not be a `common` one."""

    length: int = 8
    capital: bool = True
    number: bool = True
    common: bool = True


_hashpw: Callable[[bytes, bytes], bytes] = bcrypt.hashpw
_OPAQUE: Final = get_profile("OpaqueString")
_BCRYPT: Final = re.compile(rb"\$2b\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}")
_NOBODY: Final = b"." * 53  # a salt and a digest that nobody's password is known to have

# What people put behind a common password to satisfy a policy: `Password1`, `Qwerty123`, `Summer2024!`, `Dragon_007`.
_ENDING: Final = re.compile(
    r"[-_.@#$&*+!?]?(\d{1,2}|0?12345?6?7?8?9?0?|\d?(\d)\2{2,3}|321|007|(19|20)\d\d)?[-_.@#$&*+!?]{0,3}"
)
_LONGEST_ENDING: Final = 14
_SHORTEST_STEM: Final = 4


def unmet(policy: Policy, password: str, name: str) -> tuple[str, ...]:
    """What `password` lacks as the password of account `name`, in the order it is told; () if it will do.

    "length", "capital" and "number" are missing; "name": it is the account's name; "common": it is on the list of
    common passwords, or such a one with an obvious ending. The last two disregard case and full-width forms.

    >>> unmet(Policy(), "secret", "alice")
    ('length', 'capital', 'number', 'common')
    """
    lacks = {
        "length": len(unicodedata.normalize("NFC", password)) < policy.length,
        "capital": policy.capital and not any(c.isupper() for c in password),
        "number": policy.number and not any(c.isdecimal() for c in password),
        "name": bool(name) and _folded(password) == _folded(name),
        "common": policy.common and _is_common(_folded(password)),
    }
    return tuple(key for key, lacking in lacks.items() if lacking)


def hash(password: str, cost: int) -> bytes:  # noqa: A001 - callers say passwords.hash
    """The bcrypt hash under which `password` is kept. `cost` is the base-2 logarithm of the rounds, 4 to 31."""
    return _hashpw(_prehash(password), bcrypt.gensalt(cost))


def verify(password: str, hashed: bytes | None, cost: int) -> bool:
    """Whether `password` is the one kept as `hashed`. None, for an account that does not exist, is never right.

    Takes the time of `cost` in every case, so that it does not tell which names exist: a stand-in is compared where
    there is no hash (or a damaged one), and a hash kept at a lower cost has the difference made up. A hash kept at a
    higher cost takes its own time.
    """
    kept = _cost(hashed)
    secret = _prehash(password)
    if hashed is None or kept is None:
        _hashpw(secret, _stand_in(cost))
        return False
    right = hmac.compare_digest(_hashpw(secret, hashed), hashed)
    for missing in range(kept, cost):  # 2^kept + 2^kept + 2^(kept+1) + ... + 2^(cost-1) = 2^cost
        _hashpw(secret, _stand_in(missing))
    return right


def hash_by(hashpw: Callable[[bytes, bytes], bytes]) -> None:
    """From now on, have this done wherever this process would call `bcrypt.hashpw`."""
    global _hashpw
    _hashpw = hashpw


def is_hash(hashed: bytes) -> bool:
    """Whether this is what `hash` makes."""
    return _cost(hashed) is not None


def needs_rehash(hashed: bytes, cost: int) -> bool:
    """Whether `hashed` was made at a lower cost than the one configured now. Ask after `verify` said yes."""
    kept = _cost(hashed)
    return kept is None or kept < cost


def _prehash(password: str) -> bytes:
    """What bcrypt is given instead of the password: 64 base64 characters of a BLAKE2b digest.

    bcrypt refuses more than 72 bytes and other implementations stop at a NUL; this has neither. The digest is
    personalised, so that hashes leaked elsewhere (plain SHA-256, say) cannot be tried against ours in place of
    passwords.

    Before that the password goes through the rules of PRECIS OpaqueString (RFC 8265, 4.2: any space is a space, NFC),
    so that it is the same from every keyboard. Only its rules: the profile also refuses control characters and what is
    unassigned in this Python's Unicode, and a password that works today must not depend on that.
    """
    plain = _OPAQUE.apply_five_rules(password).encode("utf-8", "surrogatepass")  # strict would raise, quoting it
    return base64.b64encode(hashlib.blake2b(plain, digest_size=48, person=b"chatd password").digest())


def _cost(hashed: bytes | None) -> int | None:
    """The cost that `hashed` was made at; None if it is no hash of ours."""
    found = _BCRYPT.fullmatch(hashed) if hashed is not None else None
    return int(found[1]) if found else None


def _stand_in(cost: int) -> bytes:
    return b"$2b$%02d$" % cost + _NOBODY


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def _is_common(folded: str) -> bool:
    """Whether `folded` is on the list, or is an entry of four or more characters with an obvious ending."""
    common = _common()
    return folded in common or any(
        folded[:split] in common and _ENDING.fullmatch(folded, split)
        for split in range(max(_SHORTEST_STEM, len(folded) - _LONGEST_ENDING), len(folded))
    )


@cache
def _common() -> frozenset[str]:
    """The lines of common_passwords.txt, which are folded already. Read at the first question, once."""
    return frozenset((resources.files("chatd") / "common_passwords.txt").read_text("ascii").split())
