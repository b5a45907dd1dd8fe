"""Clients that sign, as little as the server needs to see of them: manifests, prekeys, room logs, sealed messages.

The rule: written from the byte formats of docs/security.md alone, with nothing of the daemon or of client/crypto, so
that these three read the same bytes or a test fails. What is sealed here is sealed by nothing: the server cannot tell.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from os import urandom
from typing import Any

from nacl.signing import SigningKey

from tests.memory import Client

ZEROS = bytes(32)
AT = 1_700_000_000_000


def b64(raw: bytes) -> str:
    """As the wire has it."""
    return b64encode(raw).decode()


def record(*items: tuple[str, bytes | int | str]) -> bytes:
    """A record of these (type, payload)."""
    parts = []
    for kind, value in items:
        if isinstance(value, int):
            value = value.to_bytes(8)
        elif isinstance(value, str):
            value = value.encode()
        parts.append(kind.encode() + len(value).to_bytes(4) + value)
    return b"".join(parts)


def sign(key: SigningKey, tag: str, body: bytes) -> bytes:
    """The body and its signature."""
    return body + key.sign(tag.encode() + b"\0" + body).signature


def digest(raw: bytes, kind: str) -> bytes:
    """The hash of a signed object."""
    return blake2b(raw, digest_size=32, person=f"chatd-{kind}".encode()).digest()


class Device:
    """One device of an account."""

    def __init__(self) -> None:
        self.raw = urandom(16)
        self.id = b64(self.raw)
        self.key = SigningKey.generate()
        self.revoked = 0
        self.keys = 0

    def prekeys(self, account: int, count: int, kind: str = "otk") -> list[str]:
        """So many more, signed."""
        made = []
        for _ in range(count):
            self.keys += 1
            body = record(("a", account), ("d", self.raw), ("u", self.keys), ("s", kind), ("k", urandom(32)))
            made.append(b64(sign(self.key, f"chatd/{kind}/1", body)))
        return made


@dataclass
class Keys:
    """An account's keys, as its primary device holds them."""

    account: int
    ak: SigningKey = field(default_factory=SigningKey.generate)
    devices: list[Device] = field(default_factory=lambda: [Device()])
    generation: int = 1
    seq: int = 0
    hash: bytes = ZEROS

    @property
    def public(self) -> bytes:
        """The account key, as everybody knows it."""
        return bytes(self.ak.verify_key)

    def manifest(self, **other: Any) -> str:
        """The next one; `other` is what it says instead."""
        said = {
            "account": self.account,
            "generation": self.generation,
            "seq": self.seq + 1,
            "before": self.hash,
        } | other
        devices = []
        for device in self.devices:
            public = bytes(device.key.verify_key)
            own = (("a", said["account"]), ("k", self.public), ("d", device.raw), ("k", public), ("k", ZEROS))
            signature = sign(device.key, "chatd/device/1", record(*own, ("u", 1), ("t", AT)))[-64:]
            entry = (("d", device.raw), ("k", public), ("k", ZEROS), ("u", 1), ("t", AT), ("t", device.revoked))
            devices.append(("b", record(*entry, ("g", signature))))
        body = record(
            ("a", said["account"]),
            ("k", self.public),
            ("u", said["generation"]),
            ("u", said["seq"]),
            ("h", said["before"]),
            ("t", AT),
            ("l", record(*devices)),
        )
        return b64(sign(self.ak, "chatd/manifest/1", body))

    def published(self, manifest: str) -> None:
        """The server has it."""
        self.seq += 1
        self.hash = digest(b64decode(manifest), "manifest")


@dataclass
class Chain:
    """A group's log, as a client sees it."""

    room: bytes = ZEROS
    head: bytes = ZEROS
    entries: int = 0

    def entry(
        self,
        keys: Keys,
        action: str,
        target: int = 0,
        key: bytes = ZEROS,
        value: str = "",
        device: Device | None = None,
        **other: Any,
    ) -> str:
        """The entry that would come next; `other` is what it says instead."""
        device = device or keys.devices[0]
        said: Mapping[str, Any] = {
            "room": self.room,
            "before": self.head,
            "seq": self.entries + 1,
            "actor": keys.account,
            "device": device.raw,
        } | other
        body = record(
            ("r", said["room"]),
            ("h", said["before"]),
            ("u", said["seq"]),
            ("a", said["actor"]),
            ("d", said["device"]),
            ("s", action),
            ("a", target),
            ("k", key),
            ("s", value),
            ("t", AT),
        )
        return b64(sign(device.key, "chatd/roomlog/1", body))

    def took(self, proof: str) -> None:
        """The server has it."""
        self.head = digest(b64decode(proof), "roomlog")
        self.entries += 1
        if self.entries == 1:
            self.room = self.head

    def extend(self, *args: Any, **other: Any) -> list[str]:
        """The next entry, taken for granted: what a call's `proofs` are."""
        proof = self.entry(*args, **other)
        self.took(proof)
        return [proof]


def body(head: bytes = ZEROS, text: bytes = b"sealed") -> str:
    """A sealed message whose header names this newest entry."""
    header = record(
        ("u", 1),
        ("u", 1),
        ("r", ZEROS),
        ("m", urandom(16)),
        ("a", 1),
        ("d", bytes(16)),
        ("u", 0),
        ("h", head),
        ("s", "text"),
        ("h", ZEROS),
    )
    return b64(len(header).to_bytes(2) + header + urandom(24) + text)


def envelopes(*devices: Device) -> dict[str, str]:
    """One for each."""
    return {device.id: b64(b"\1to " + device.raw) for device in devices}


def stand_in(what: str, keys: Keys) -> str:
    """What a client of these keys sends: its next manifest, taken for granted, its device's id, or what it seals."""
    match what:
        case "manifest":
            manifest = keys.manifest()
            keys.published(manifest)
            return manifest
        case "device":
            return keys.devices[0].id
        case "sealed":
            return body()
        case _:
            return b64(b"an envelope that only one device can open")


def equip(client: Client, stock: int = 0) -> Keys:
    """A program that is in gets keys: one device, which this session is from now on."""
    keys = Keys(client.welcome["account"])
    publish(client, keys)
    bind(client, keys, stock=stock)
    return keys


def publish(client: Client, keys: Keys) -> None:
    """The next manifest."""
    manifest = keys.manifest()
    client.call(do="publish", manifest=manifest)["ok"]
    keys.published(manifest)
    client.events()


def bind(client: Client, keys: Keys, device: Device | None = None, stock: int = 0) -> None:
    """This session is that device."""
    device = device or keys.devices[0]
    client.call(do="bind", device=device.id)["ok"]
    if stock:
        client.call(do="stock", keys=device.prekeys(keys.account, stock))["ok"]


def found(client: Client, keys: Keys, name: str, members: Iterable[Keys] = (), door: str = "ask") -> tuple[int, Chain]:
    """A sealed group of this program with these people in it: its id and its log."""
    chain = Chain()
    proofs = chain.extend(keys, "create", keys.account, keys.public, f"{door} {name}")
    people = list(members)
    for other in people:
        proofs += chain.extend(keys, "add", other.account, other.public)
    answer = client.call(do="create", room=name, sealed=True, people=[o.account for o in people], proofs=proofs)
    return answer["ok"]["room_id"], chain
