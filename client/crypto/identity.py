"""Who somebody is: account keys, devices, and the signed list that ties them together (E2E.md §1, §8).

The rule: what was once believed of an account changes only by what its own key has signed. A list that is older than
the one known, or another one in its place, is an alarm and changes nothing; another account key is kept beside the old
one until the person in front of the screen accepts it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final, NamedTuple, Protocol

from nacl.signing import SigningKey

from client.crypto import encoding
from client.crypto.encoding import NOTHING, SIGNATURE, Forged, Malformed, covered, digest, pack, signed, unpack, verify

SUITE: Final = 1
MANIFEST: Final = "chatd/manifest/1"
DEVICE: Final = "chatd/device/1"
_MANIFEST: Final = "akuuhtl"
_ENTRY: Final = "dkkuttg"
_AK: Final = slice(18, 50)
"""Where the account key stands in a manifest: needed before its signature can be checked."""
DEVICES_MOST: Final = 32


class Alarm(StrEnum):
    """What a server, or a thief, may have done."""

    ROLLED_BACK = "rolled_back"
    FORKED = "forked"
    FORGED = "forged"


class Change(StrEnum):
    """What a person is told about somebody's keys."""

    FIRST = "first"
    DEVICE = "device"
    REVOKED = "revoked"
    KEY = "key"


class Trust(StrEnum):
    """How far an account key is believed."""

    TOFU = "tofu"
    VERIFIED = "verified"
    CHANGED = "changed"


class Device(NamedTuple):
    """One device of an account. `revoked`: since when (ms), 0: it is not."""

    id: bytes
    dks: bytes
    dkc: bytes
    suite: int
    added: int
    revoked: int
    signature: bytes

    def entry(self) -> bytes:
        """As it stands in a manifest."""
        return pack(_ENTRY, *self)


class Signer(Protocol):
    """A device that can sign."""

    id: bytes
    dks: bytes
    dkc: bytes

    def sign(self, tag: str, record: bytes) -> bytes:
        """An Ed25519 signature by the device's key."""


def entry(signer: Signer, account: int, ak: bytes, now: int) -> Device:
    """A device's own entry, signed by itself: for this account and this account key."""
    device = Device(signer.id, signer.dks, signer.dkc, SUITE, now, 0, bytes(SIGNATURE))
    return device._replace(signature=signer.sign(DEVICE, _claim(device, account, ak)))


def _claim(device: Device, account: int, ak: bytes) -> bytes:
    return pack("akdkkut", account, ak, device.id, device.dks, device.dkc, device.suite, device.added)


def read_entry(raw: bytes, account: int, ak: bytes) -> Device:
    """A device's entry, if that device signed it for this account and key.

    @raise Malformed: it is none, or of a suite not known here. @raise Forged: the signature is not the device's.
    """
    device = Device(*unpack(_ENTRY, raw))
    if device.suite != SUITE:
        raise Malformed(f"suite {device.suite}")
    verify(DEVICE, device.dks, _claim(device, account, ak), device.signature)
    return device


@dataclass(frozen=True, slots=True)
class Manifest:
    """The devices of an account, as its account key signed them."""

    account: int
    ak: bytes
    generation: int
    seq: int
    before: bytes
    time: int
    devices: Mapping[bytes, Device]
    raw: bytes

    @property
    def hash(self) -> bytes:
        """What the next one, and every message of this account, refers to."""
        return digest("chatd-manifest", self.raw)

    @property
    def live(self) -> list[Device]:
        """The devices that messages go to."""
        return [device for device in self.devices.values() if not device.revoked]


def read(raw: bytes) -> Manifest:
    """A manifest, once its signatures are found good: by the account key it names, and each device's own.

    @raise Malformed: it is none. @raise Forged: a signature is wrong.
    """
    account, ak, generation, seq, before, time, listed = unpack(_MANIFEST, signed(MANIFEST, raw[_AK], raw))
    devices = [read_entry(item, account, ak) for item in listed]
    if len({device.id for device in devices}) != len(devices) or len(devices) > DEVICES_MOST:
        raise Malformed("devices")
    return Manifest(account, ak, generation, seq, before, time, {device.id: device for device in devices}, raw)


def follows(before: Manifest | None, after: Manifest) -> Alarm | None:
    """What is wrong with `after` as the next manifest behind `before`; None: nothing."""
    if before is None:
        return None if after.seq >= 1 else Alarm.FORGED
    if after.account != before.account:
        return Alarm.FORGED
    if after.seq < before.seq:
        return Alarm.ROLLED_BACK
    if after.seq == before.seq:
        return None if after.raw == before.raw else Alarm.FORKED
    if after.seq != before.seq + 1 or after.before != before.hash:
        return Alarm.FORKED
    if after.ak != before.ak:
        return None if after.generation == before.generation + 1 else Alarm.ROLLED_BACK
    if after.generation != before.generation:
        return Alarm.FORGED
    for name, device in before.devices.items():
        now = after.devices.get(name)
        if now is None or now._replace(revoked=0) != device._replace(revoked=0):
            return Alarm.FORGED
        if device.revoked and now.revoked != device.revoked:
            return Alarm.ROLLED_BACK
    return None


class AccountKey:
    """The key that signs an account's devices. Its seed is on the primary device and in the recovery blob only."""

    def __init__(self, seed: bytes | None = None) -> None:
        self._key = SigningKey.generate() if seed is None else SigningKey(seed)

    @property
    def seed(self) -> bytes:
        """What must not get lost."""
        return bytes(self._key)

    @property
    def public(self) -> bytes:
        """What others pin."""
        return bytes(self._key.verify_key)

    def sign(self, account: int, before: Manifest | None, devices: Iterable[Device], now: int) -> Manifest:
        """The next manifest of the account: behind one of this key, or the first of a generation."""
        generation, seq, head = 1, 1, NOTHING
        if before is not None:
            generation, seq, head = before.generation + (before.ak != self.public), before.seq + 1, before.hash
        listed = [device.entry() for device in devices]
        record = pack(_MANIFEST, account, self.public, generation, seq, head, now, listed)
        return read(record + self._key.sign(covered(MANIFEST, record)).signature)

    def with_device(self, before: Manifest, device: Device, now: int) -> Manifest:
        """The next manifest, with one device more."""
        return self.sign(before.account, before, [*before.devices.values(), device], now)

    def without_device(self, before: Manifest, gone: bytes, now: int) -> Manifest:
        """The next manifest, in which this device is revoked."""
        devices = [
            device._replace(revoked=now) if device.id == gone and not device.revoked else device
            for device in before.devices.values()
        ]
        return self.sign(before.account, before, devices, now)


@dataclass(frozen=True, slots=True)
class News:
    """What a look at somebody's manifests brought. `what`: a change, or an alarm; `device`: which one."""

    account: int
    what: Change | Alarm
    device: bytes = b""


@dataclass(frozen=True, slots=True)
class Person:
    """What is believed of an account.

    `manifest` is the newest one under the key believed in; `was`, the last ones of keys that were believed in before;
    `offered`, the newest one under another key, which is not accepted yet.
    """

    manifest: Manifest
    verified: bool = False
    offered: Manifest | None = None
    was: tuple[Manifest, ...] = ()

    @property
    def trust(self) -> Trust:
        """How far."""
        if self.offered is not None:
            return Trust.CHANGED
        return Trust.VERIFIED if self.verified else Trust.TOFU

    @property
    def newest(self) -> Manifest:
        """The newest manifest, accepted or not: what a list of the server must not fall behind."""
        return self.offered or self.manifest

    def device(self, name: bytes) -> Device | None:
        """A device of the key believed in."""
        return self.manifest.devices.get(name)

    def under(self, ak: bytes) -> Manifest | None:
        """The newest manifest of a key that is, or was, believed in."""
        return next((manifest for manifest in (self.manifest, *self.was) if manifest.ak == ak), None)

    def accepted(self) -> Person:
        """The other key is this person's from now on."""
        if self.offered is None:
            return self
        return Person(self.offered, False, None, (*self.was, self.manifest))

    def kept(self) -> dict[str, Any]:
        """As it is saved."""
        return {
            "manifest": encoding.text(self.manifest.raw),
            "verified": self.verified,
            "offered": encoding.text(self.offered.raw) if self.offered else None,
            "was": [encoding.text(manifest.raw) for manifest in self.was],
        }


def person(kept: Mapping[str, Any]) -> Person:
    """What was saved."""
    return Person(
        read(encoding.data(kept["manifest"])),
        kept["verified"],
        read(encoding.data(kept["offered"])) if kept["offered"] else None,
        tuple(read(encoding.data(raw)) for raw in kept["was"]),
    )


def follow(known: Person | None, account: int, manifests: Iterable[bytes]) -> tuple[Person | None, list[News]]:
    """What is believed after the server has shown these manifests of an account, oldest first.

    The first look believes the first key (and says so: a later key is a change). An alarm ends the look: what was
    believed before the bad manifest stays.
    """
    news: list[News] = []
    for raw in manifests:
        try:
            manifest = read(raw)
        except (Malformed, Forged):
            return known, [*news, News(account, Alarm.FORGED)]
        if manifest.account != account:
            return known, [*news, News(account, Alarm.FORGED)]
        before = None if known is None else known.newest
        alarm = follows(before, manifest)
        if known is not None and alarm is Alarm.ROLLED_BACK and _repeats(known, manifest):
            continue
        if alarm is not None:
            return known, [*news, News(account, alarm)]
        if known is None:
            known = Person(manifest)
            news.append(News(account, Change.FIRST))
            continue
        if manifest.ak != known.newest.ak:
            news.append(News(account, Change.KEY))
        elif known.offered is None:
            news += _changes(known.manifest, manifest)
        changed = known.offered is not None or manifest.ak != known.manifest.ak
        known = replace(known, offered=manifest) if changed else replace(known, manifest=manifest)
    return known, news


def _repeats(known: Person, manifest: Manifest) -> bool:
    """Whether it is one of those that led to what is known: only those whose bytes are still here can be told."""
    return any(manifest.raw == held.raw for held in (known.manifest, *known.was))


def _changes(before: Manifest, after: Manifest) -> list[News]:
    news = []
    for device in after.devices.values():
        held = before.devices.get(device.id)
        if held is None:
            news.append(News(after.account, Change.DEVICE, device.id))
        elif device.revoked and not held.revoked:
            news.append(News(after.account, Change.REVOKED, device.id))
    return news
