"""Who is in a sealed group, and as what: replayed from entries that the actors' devices signed (E2E.md §6).

The rule: the server's word counts for nothing here. A `Log` is what follows from its entries alone, each checked
against what the ones before it say: the actor was somebody who may, the device was that actor's and not revoked. An
entry signed by who enters may only be one at an open door; nobody else can be brought in but by an admin's signature
over their account key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from chatd.model import Door, Role
from client.crypto.encoding import NOTHING, SIGNATURE, digest, pack, unpack, verify
from client.crypto.identity import Device, Signer

ENTRY: Final = "chatd/roomlog/1"
_ENTRY: Final = "rhuadsakst"
_ACTOR, _DEVICE, _TARGET_AK = slice(92, 100), slice(105, 121), 13 + 5
FUTURE_MS: Final = 24 * 3_600_000
"""How far ahead of this clock an entry may be."""


class Member(NamedTuple):
    """Somebody in a group. `ak`: the key they were let in with; `ranked`: the entry that made them what they are."""

    ak: bytes
    role: Role
    ranked: int


class Entry(NamedTuple):
    """One thing that an actor's device signed."""

    room: bytes
    before: bytes
    seq: int
    actor: int
    device: bytes
    action: str
    target: int
    target_ak: bytes
    value: str
    time: int


class Unjustified(Exception):
    """An entry that does not follow from the ones before it. `why` in a word or two, for the log and for tests."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


Keys = Callable[[int, bytes, bytes], Device | None]
"""A device of an account under an account key, as the pinned manifests have it: (account, ak, device id)."""


@dataclass(frozen=True, slots=True)
class Log:
    """A group, as its entries make it. `head` is the hash of the newest; `closed`: the last member has left."""

    room: bytes
    seq: int
    head: bytes
    time: int
    name: str
    door: Door
    members: Mapping[int, Member]
    banned: frozenset[int] = frozenset()
    closed: bool = False
    past: tuple[tuple[bytes, Mapping[int, Member]], ...] = field(default=(), repr=False)
    """After every entry, in order: its hash, and who was in."""

    def role(self, account: int) -> Role:
        """What somebody is here."""
        member = self.members.get(account)
        return Role.NONE if member is None else member.role

    def head_at(self, seq: int) -> bytes | None:
        """The hash of an entry that is known."""
        return self.past[seq - 1][0] if 1 <= seq <= self.seq else None

    def was_in(self, seq: int, account: int) -> bool:
        """Whether somebody was a member after that entry."""
        return 1 <= seq <= self.seq and account in self.past[seq - 1][1]


def read(proof: bytes) -> Entry:
    """An entry's fields, unverified: for showing what it claims, and before `step` for whose keys it takes.

    @raise Malformed: it is none.
    """
    return Entry(*unpack(_ENTRY, proof[:-SIGNATURE]))


def write(
    signer: Signer,
    log: Log | None,
    actor: int,
    action: str,
    now: int,
    *,
    target: int = 0,
    ak: bytes = NOTHING,
    value: str = "",
) -> bytes:
    """The next entry of a group, signed by this device (None: the first of a new group)."""
    room, before, seq, time = (
        (NOTHING, NOTHING, 1, now) if log is None else (log.room, log.head, log.seq + 1, max(now, log.time))
    )
    record = pack(_ENTRY, room, before, seq, actor, signer.id, action, target, ak, value, time)
    return record + signer.sign(ENTRY, record)


def step(log: Log | None, proof: bytes, keys: Keys, now: int) -> Log:
    """The group after one more entry.

    @raise Unjustified: it does not follow. @raise Forged: its signature is not the device's. @raise Malformed: it is no
        entry. In each case the group is what it was.
    """
    actor, device = int.from_bytes(proof[_ACTOR], "big"), proof[_DEVICE]
    member = None if log is None else log.members.get(actor)
    # Who is not in yet signs with the key that the entry itself names: it is held against the pins like any other.
    ak = member.ak if member is not None else _own_ak(proof)
    signer = keys(actor, ak, device)
    if signer is None:
        raise Unjustified("a device that is not the actor's")
    verify(ENTRY, signer.dks, proof[:-SIGNATURE], proof[-SIGNATURE:])
    entry = read(proof)
    if signer.revoked and entry.time >= signer.revoked:
        raise Unjustified("a revoked device")
    if entry.time > now + FUTURE_MS:
        raise Unjustified("from the future")
    head = entry_hash(proof)
    if log is None:
        return _created(entry, head)
    if (entry.room, entry.before, entry.seq) != (log.room, log.head, log.seq + 1):
        raise Unjustified("not the next entry of this group")
    if entry.time < log.time:
        raise Unjustified("older than the entry before it")
    if log.closed:
        raise Unjustified("closed")
    after = _ACTIONS.get(entry.action, _unknown)(log, entry, Role.NONE if member is None else member.role)
    past = (*log.past, (head, after.members))
    return replace(after, seq=entry.seq, head=head, time=entry.time, past=past)


def replay(proofs: Iterable[bytes], keys: Keys, now: int, log: Log | None = None) -> Log | None:
    """The group after all these entries, in order."""
    for proof in proofs:
        log = step(log, proof, keys, now)
    return log


def entry_hash(proof: bytes) -> bytes:
    """What the next entry, and every message, refers to. The first entry's is the group's id."""
    return digest("chatd-roomlog", proof)


def _own_ak(proof: bytes) -> bytes:
    at = 126 + int.from_bytes(proof[122:126], "big") + _TARGET_AK
    return proof[at : at + 32]


def _created(entry: Entry, head: bytes) -> Log:
    door, _, name = entry.value.partition(" ")
    first = (entry.room, entry.before, entry.seq, entry.action, entry.target)
    if first != (NOTHING, NOTHING, 1, "create", entry.actor) or door not in list(Door) or not name:
        raise Unjustified("no beginning of a group")
    owner = {entry.actor: Member(entry.target_ak, Role.OWNER, 1)}
    return Log(head, 1, head, entry.time, name, Door(door), owner, past=((head, owner),))


# -- what each action takes, and does: (group before, entry, the actor's role) -> group after --------------------------


def _add(log: Log, entry: Entry, role: Role) -> Log:
    _needs(role, Role.ADMIN)
    if entry.target in log.members or entry.target in log.banned or entry.target_ak == NOTHING or not entry.target:
        raise Unjustified("cannot be added")
    return _with(log, entry.target, Member(entry.target_ak, Role.MEMBER, entry.seq))


def _join(log: Log, entry: Entry, role: Role) -> Log:
    if log.door is not Door.OPEN or entry.actor in log.banned:
        raise Unjustified("the door is not open")
    if role is not Role.NONE or entry.target != entry.actor:
        raise Unjustified("cannot join")
    return _with(log, entry.actor, Member(entry.target_ak, Role.MEMBER, entry.seq))


def _leave(log: Log, entry: Entry, role: Role) -> Log:
    _needs(role, Role.MEMBER)
    if entry.target not in (0, entry.actor):
        raise Unjustified("leaving is one's own")
    after = _without(log, entry.actor)
    if not after.members:
        return replace(after, closed=True)
    if role is Role.OWNER:
        heir, held = min(after.members.items(), key=lambda item: (-item[1].role, item[1].ranked))
        after = _with(after, heir, held._replace(role=Role.OWNER, ranked=entry.seq))
    return after


def _remove(log: Log, entry: Entry, role: Role) -> Log:
    _over(log, entry, role)
    if entry.target not in log.members:
        raise Unjustified("not there")
    return _without(log, entry.target)


def _ban(log: Log, entry: Entry, role: Role) -> Log:
    _over(log, entry, role)
    return replace(_without(log, entry.target), banned=log.banned | {entry.target})


def _unban(log: Log, entry: Entry, role: Role) -> Log:
    _needs(role, Role.ADMIN)
    return replace(log, banned=log.banned - {entry.target})


def _promote(log: Log, entry: Entry, role: Role) -> Log:
    return _ranked(log, entry, role, Role.MEMBER, Role.ADMIN)


def _demote(log: Log, entry: Entry, role: Role) -> Log:
    return _ranked(log, entry, role, Role.ADMIN, Role.MEMBER)


def _transfer(log: Log, entry: Entry, role: Role) -> Log:
    _needs(role, Role.OWNER)
    held = log.members.get(entry.target)
    if held is None or entry.target == entry.actor:
        raise Unjustified("not there")
    own = log.members[entry.actor]._replace(role=Role.MEMBER, ranked=entry.seq)
    return _with(_with(log, entry.actor, own), entry.target, held._replace(role=Role.OWNER, ranked=entry.seq))


def _name(log: Log, entry: Entry, role: Role) -> Log:
    _needs(role, Role.OWNER)
    return replace(log, name=entry.value)


def _door(log: Log, entry: Entry, role: Role) -> Log:
    _needs(role, Role.ADMIN)
    if entry.value not in list(Door):
        raise Unjustified("no such door")
    return replace(log, door=Door(entry.value))


def _unknown(log: Log, entry: Entry, role: Role) -> Log:
    raise Unjustified("an action that is not known here")


_ACTIONS: Final[Mapping[str, Callable[[Log, Entry, Role], Log]]] = {
    "add": _add,
    "join": _join,
    "leave": _leave,
    "remove": _remove,
    "ban": _ban,
    "unban": _unban,
    "promote": _promote,
    "demote": _demote,
    "transfer": _transfer,
    "name": _name,
    "door": _door,
}


def _needs(role: Role, least: Role) -> None:
    if role < least:
        raise Unjustified("the actor may not")


def _over(log: Log, entry: Entry, role: Role) -> None:
    """Nobody removes the owner, and only the owner removes an admin."""
    _needs(role, Role.ADMIN)
    target = log.role(entry.target)
    if target is Role.OWNER or (target is Role.ADMIN and role is not Role.OWNER):
        raise Unjustified("the actor may not")


def _ranked(log: Log, entry: Entry, role: Role, before: Role, after: Role) -> Log:
    _needs(role, Role.OWNER)
    held = log.members.get(entry.target)
    if held is None or held.role is not before:
        raise Unjustified("cannot be that")
    return _with(log, entry.target, held._replace(role=after, ranked=entry.seq))


def _with(log: Log, account: int, member: Member) -> Log:
    return replace(log, members={**log.members, account: member})


def _without(log: Log, account: int) -> Log:
    return replace(log, members={other: held for other, held in log.members.items() if other != account})
