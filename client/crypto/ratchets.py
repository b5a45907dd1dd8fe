"""This device's keys and its Olm sessions with other devices: the policy of E2E.md §5.

The rule: a ratchet lives in the book and nowhere else. Every call reads what it needs, changes it, and writes it back
within the transaction its caller has open, together with what was encrypted or decrypted; if that transaction fails,
nothing has happened. So no state is used twice, and none is ahead of the disk.

A session's steps are vodozemac's (Olm: 3DH and the Double Ratchet). Ours is only: which of up to five sessions a
message goes to, which are done with, and when to write to somebody who only ever writes to us.
"""

from __future__ import annotations

import os
from base64 import b64decode
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol

import vodozemac
from vodozemac import AnyOlmMessage, Curve25519PublicKey, OlmDecryptionException, SessionCreationException

from client.crypto import encoding, prekeys
from client.crypto.encoding import covered
from client.crypto.identity import Device

SESSIONS: Final = 5
TOMBS: Final = 256
"""How many ended sessions with one device are remembered, so that a replay does not begin them again."""
HEARTBEAT_AFTER: Final = 20
HEARTBEAT_MS: Final = 24 * 3_600_000
"""After so many messages from a device that was not written to, or so long after the first of them."""
PREKEY, NORMAL = 0, 1


class Book(Protocol):
    """Where state is kept: sealed rows (client/store.py's Secrets)."""

    def atomic(self, *, durable: bool = True) -> AbstractContextManager[None]:
        """A transaction; within another one, a part of that. `durable`: it is flushed to disk."""

    def get(self, kind: str, name: str) -> Any:
        """What is written there; None: nothing."""

    def put(self, kind: str, name: str, value: Any, until: int | None = None) -> None:
        """Write it there (JSON); None: forget it. `until`: it may go then (ms)."""

    def expire(self, now: int) -> None:
        """Forget what may go."""

    def when_undone(self, forget: Callable[[], None]) -> None:
        """Called when a transaction was undone."""


class Undecryptable(Exception):
    """No session opens it."""


class Replayed(Exception):
    """It belongs to a session that was ended."""


class NoSession(Exception):
    """A one-time key must be claimed first."""


def _pickled(thing: Any) -> dict[str, str]:
    """A pickle under a random key of its own: pickles under one key are deterministic."""
    key = os.urandom(32)
    return {"key": encoding.text(key), "pickle": thing.pickle(key)}


def _session(kept: dict[str, str]) -> vodozemac.Session:
    return vodozemac.Session.from_pickle(kept["pickle"], encoding.data(kept["key"]))


class OwnDevice:
    """This device. Its Olm account is read once; whatever changes it is written before it is used."""

    def __init__(self, book: Book) -> None:
        """The device that is in the book; a new one where there is none."""
        self._book = book
        kept = book.get("device", "me")
        if kept is None:
            account = vodozemac.Account()
            kept = {"id": encoding.text(os.urandom(16)), "fallback": 0, "olm": _pickled(account)}
            book.put("device", "me", kept)
        self._kept: dict[str, Any] = kept
        self.id = encoding.data(kept["id"], 16)
        account = self.account
        self.dks = b64decode(account.ed25519_key.to_base64() + "=")
        self.dkc: bytes = account.curve25519_key.to_bytes()
        self._signs: vodozemac.Account = account

    def sign(self, tag: str, record: bytes) -> bytes:
        """An Ed25519 signature by the device's key."""
        return b64decode(self._signs.sign(covered(tag, record)).to_base64() + "==")

    def outbound(self, peer: Curve25519PublicKey, key: Curve25519PublicKey) -> vodozemac.Session:
        """A session towards another device. Nothing of the account changes by it, so it is not read again."""
        return self._signs.create_outbound_session(peer, key)

    @property
    def account(self) -> Any:
        """The vodozemac Account as it is on disk (its stubs leave out the fallback key)."""
        kept = self._kept = self._book.get("device", "me")
        return vodozemac.Account.from_pickle(kept["olm"]["pickle"], encoding.data(kept["olm"]["key"]))

    def save(self, account: Any, **besides: Any) -> None:
        """Write the Olm account."""
        self._kept = {**self._kept, **besides, "olm": _pickled(account)}
        self._book.put("device", "me", self._kept)

    def stock(self, owner: int, left: int, now: int) -> tuple[list[bytes], bytes | None]:
        """New one-time keys, if few are left, and a new fallback key, if it is time: to be saved, then uploaded.

        Keys that were made and never found published (`stocked`) are offered again.
        """
        account = self.account
        if missing := prekeys.wanted(left):
            account.generate_one_time_keys(max(0, missing - len(account.one_time_keys)))
        fallback = bool(account.fallback_key) or prekeys.fallback_due(self._kept["fallback"], now)
        if fallback and not account.fallback_key:
            account.generate_fallback_key()
        self.save(account)
        keys = [self._signed(owner, name, prekeys.ONE_TIME, key) for name, key in account.one_time_keys.items()]
        rotated = [self._signed(owner, name, prekeys.FALLBACK, key) for name, key in account.fallback_key.items()]
        return sorted(keys, key=lambda raw: raw[39:47]), rotated[0] if rotated else None

    def fallback_due(self, now: int) -> bool:
        """Whether the fallback key is to be replaced."""
        return prekeys.fallback_due(self._kept["fallback"], now)

    def stocked(self, now: int, *, fallback: bool) -> None:
        """The server has them."""
        account = self.account
        account.mark_keys_as_published()
        self.save(account, **({"fallback": now} if fallback else {}))

    def _signed(self, owner: int, name: str, kind: str, key: Curve25519PublicKey) -> bytes:
        number = int.from_bytes(b64decode(name + "="), "big") + 1  # vodozemac counts from 0; 0 is no number here
        return prekeys.signed_key(self, owner, number, kind, key.to_bytes())


class Ratchets:
    """The sessions of this device."""

    def __init__(self, book: Book, own: OwnDevice) -> None:
        self._book = book
        self._own = own

    def has_session(self, peer: bytes) -> bool:
        """Whether something can be sent to this device without a new one-time key."""
        return bool(self._peer(peer)["sessions"])

    def start(self, peer: Device, key: bytes) -> None:
        """Begin a session with a device, by a key that it has signed. What is sent goes over it from now on."""
        their = Curve25519PublicKey.from_bytes(peer.dkc), Curve25519PublicKey.from_bytes(key)
        session = self._own.outbound(*their)
        state = self._peer(peer.id)
        self._front(state, session)
        self._book.put("peer", peer.id.hex(), state)

    def encrypt(self, peer: Device, plain: bytes) -> bytes:
        """An envelope for a device, on the session that last opened something of its.

        @raise NoSession: there is none yet.
        """
        state = self._peer(peer.id)
        if not state["sessions"]:
            raise NoSession
        session = _session(state["sessions"][0])
        kind, data = session.encrypt(plain).to_parts()
        self._front(state, session)
        state["received"], state["since"] = 0, 0
        self._book.put("peer", peer.id.hex(), state)
        return bytes((kind,)) + data

    def decrypt(self, peer: Device, envelope: bytes, now: int, *, counts: bool = True) -> bytes:
        """Open an envelope of a device.

        @raise Undecryptable: nothing opens it. @raise Replayed: it is of a session that was ended.
        """
        try:
            message = AnyOlmMessage.from_parts(envelope[0] if envelope else NORMAL, envelope[1:])
        except ValueError:
            raise Undecryptable from None
        state = self._peer(peer.id)
        session, plain = self._open(state, peer, message)
        self._front(state, session)
        if counts:
            state["received"] += 1
            state["since"] = state["since"] or now
        self._book.put("peer", peer.id.hex(), state)
        return plain

    def heartbeat_due(self, peer: bytes, now: int) -> bool:
        """Whether it is time to write to a device that only ever writes to us: a one-way chain never heals."""
        state = self._peer(peer)
        late = state["since"] and now - state["since"] >= HEARTBEAT_MS
        return bool(state["received"] >= HEARTBEAT_AFTER or late)

    def not_counted(self, peer: bytes) -> None:
        """The last envelope was a heartbeat: it is not answered by one, or two devices would never stop."""
        state = self._peer(peer)
        state["received"] = max(0, state["received"] - 1)
        state["since"] = state["since"] if state["received"] else 0
        self._book.put("peer", peer.hex(), state)

    def forget(self, peer: bytes) -> None:
        """A device was revoked: nothing is sent to it, and nothing of its opened, ever again."""
        state = self._peer(peer)
        state["tombs"] = [*state["tombs"], *(kept["id"] for kept in state["sessions"])][-TOMBS:]
        state["sessions"] = []
        self._book.put("peer", peer.hex(), state)

    def _peer(self, peer: bytes) -> dict[str, Any]:
        kept: dict[str, Any] | None = self._book.get("peer", peer.hex())
        return kept or {"sessions": [], "tombs": [], "received": 0, "since": 0}

    def _front(self, state: dict[str, Any], session: vodozemac.Session) -> None:
        """This session is the newest; the sixth ends."""
        kept = {"id": session.session_id, **_pickled(session)}
        sessions = [kept, *(other for other in state["sessions"] if other["id"] != kept["id"])]
        state["tombs"] = [*state["tombs"], *(other["id"] for other in sessions[SESSIONS:])][-TOMBS:]
        state["sessions"] = sessions[:SESSIONS]

    def _open(self, state: dict[str, Any], peer: Device, message: AnyOlmMessage) -> tuple[vodozemac.Session, bytes]:
        first = message.to_pre_key()
        if first is None:
            for kept in state["sessions"]:
                session = _session(kept)
                try:
                    return session, session.decrypt(message)
                except OlmDecryptionException:
                    continue
            raise Undecryptable
        if first.session_id() in state["tombs"]:
            raise Replayed
        for kept in state["sessions"]:
            if kept["id"] == first.session_id():
                session = _session(kept)
                try:
                    return session, session.decrypt(message)
                except OlmDecryptionException:
                    raise Undecryptable from None
        account = self._own.account
        try:
            session, plain = account.create_inbound_session(Curve25519PublicKey.from_bytes(peer.dkc), first)
        except (SessionCreationException, OlmDecryptionException, ValueError):
            raise Undecryptable from None
        self._own.save(account)
        return session, plain
