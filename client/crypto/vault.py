"""The profile's master key, and rows sealed under it (E2E.md §8).

The rule: a sealed row opens only as the row it was sealed as. Table, name and version are its associated data, so rows
cannot be swapped, and the nonce (24 bytes, XChaCha20-Poly1305) is random each time.

The master key is random and never changes. It is stored wrapped: by a key file that only the owner may read, or by a
key that Argon2id makes from a passphrase.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

from nacl.exceptions import CryptoError
from nacl.pwhash import argon2id
from nacl.secret import Aead
from nacl.utils import random

KEY_BYTES: Final = Aead.KEY_SIZE
VERSION: Final = 1


class Unreadable(Exception):
    """A row, or the master key, is not what this key sealed."""


class Vault:
    """Seals and opens rows."""

    def __init__(self, master: bytes) -> None:
        self._master = master
        self._box = Aead(master)

    def seal(self, table: str, name: str | int, body: bytes) -> bytes:
        """The body, readable only with this key and only as this row."""
        return bytes(self._box.encrypt(body, _named(table, name)))

    def open(self, table: str, name: str | int, sealed: bytes) -> bytes:
        """What was sealed as this row.

        @raise Unreadable: it was not, or not so.
        """
        try:
            return self._box.decrypt(sealed, _named(table, name))
        except (CryptoError, ValueError):
            raise Unreadable(f"{table} {name}") from None

    def blind(self, table: str, name: str) -> bytes:
        """What a row is filed under where its name is nobody's business."""
        return blake2b(_named(table, name), key=self._master, digest_size=16, person=b"chat row name").digest()

    def wrapped_by_key(self, key: bytes) -> dict[str, Any]:
        """The master key under the key of a key file."""
        return {"how": "file", "box": _text(Aead(key).encrypt(self._master, b"chat master file"))}

    def wrapped_by_passphrase(self, passphrase: str) -> dict[str, Any]:
        """The master key under a passphrase."""
        salt = random(argon2id.SALTBYTES)
        cost = {"ops": argon2id.OPSLIMIT_MODERATE, "mem": argon2id.MEMLIMIT_MODERATE}
        key = argon2id.kdf(KEY_BYTES, passphrase.encode(), salt, cost["ops"], cost["mem"])
        box = Aead(key).encrypt(self._master, b"chat master argon2id")
        return {"how": "argon2id", "salt": _text(salt), "box": _text(box)} | cost


def new_key() -> bytes:
    """A fresh random key."""
    return random(KEY_BYTES)


def unwrap(wrap: Mapping[str, Any], secret: bytes | str) -> Vault:
    """The vault whose master key was wrapped, opened by the key file's bytes or the passphrase.

    @raise Unreadable: wrong key or passphrase.
    """
    try:
        if wrap["how"] == "file":
            assert isinstance(secret, bytes)
            return Vault(Aead(secret).decrypt(b64decode(wrap["box"]), b"chat master file"))
        assert isinstance(secret, str)
        key = argon2id.kdf(KEY_BYTES, secret.encode(), b64decode(wrap["salt"]), wrap["ops"], wrap["mem"])
        return Vault(Aead(key).decrypt(b64decode(wrap["box"]), b"chat master argon2id"))
    except (CryptoError, ValueError):
        raise Unreadable("the master key") from None


def _named(table: str, name: str | int) -> bytes:
    return b"\x00".join((b"chat", table.encode(), str(name).encode(), str(VERSION).encode()))


def _text(data: bytes) -> str:
    return b64encode(bytes(data)).decode()
