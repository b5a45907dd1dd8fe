"""Keys: an account's devices, what others need to write to them, and what only one device is to have (E2E.md §1 to §5).

The rule: the server keeps and hands on; it can open nothing. It checks who may have what, that nothing is handed out
twice that is meant for once, and that nobody publishes in another's name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from chatd import records
from chatd.command import command, find_group, find_user
from chatd.commands import sealed
from chatd.errors import Refusal
from chatd.model import Account, Me, Reply, Role, Room, Turn
from chatd.records import Malformed, Prekey
from chatd.rules import Needs

if TYPE_CHECKING:
    from chatd.store import ReadTx, Tx
    from chatd.store.keys import Chain

HOUR: Final = 3600.0
DAY_MS: Final = 86_400_000
MANIFESTS: Final = 50
"""How many manifests of one account an answer holds."""
ENTRIES: Final = 200
"""How many entries of a group's log an answer holds."""


# -- manifests and devices --------------------------------------------------------------------------------------------


@command("/publish <manifest>", topic="")
def publish(tx: Tx, me: Me, manifest: str | int) -> Reply:
    """Say which devices you have: the next manifest, signed by your account key (programs)."""
    raw = sealed.readable(str(manifest), me.settings.limits.manifest_characters)
    try:
        new = records.manifest(raw)
    except Malformed:
        raise Refusal("BAD_PROOF", what="manifest") from None
    if new.account != me.account:
        raise Refusal("BAD_PROOF", what="account")
    digest, key = records.encode(new.hash), records.encode(new.key)
    last = tx.newest_manifest(me.account)
    if last is not None and last.hash == digest:
        return Reply("published", {"manifest": last.seq, "hash": digest})
    before = records.NOTHING if last is None else records.decode(last.hash)
    if (new.seq, new.before) != (1 if last is None else last.seq + 1, before):
        raise Refusal("STALE", head="" if last is None else last.hash, missing=[], extra=[])
    same = last is not None and last.key == key
    if new.generation != (1 if last is None else last.generation + (not same)):
        raise Refusal("BAD_PROOF", what="generation")
    known = tx.devices_of(me.account)
    listed = {device.id: device for device in new.devices if not device.revoked}
    if len(listed) > me.settings.limits.account_devices:
        raise Refusal("TOO_LONG", size=len(listed), limit=me.settings.limits.account_devices)
    for name, device in listed.items():
        if name in known and tx.device_key(known[name]) == records.encode(device.key):
            continue
        if name in known or tx.owner_of(name) is not None:
            raise Refusal("BAD_PROOF", what="device")  # somebody's, or one that was revoked, or with another key
        tx.add_device(me.account, name, records.encode(device.key))
    _revoke(tx, me, [row for name, row in known.items() if name not in listed])
    crowded = tx.crowded(me.account, me.settings.limits.sealed_devices)
    if crowded is not None:
        raise Refusal("LIMIT", room=crowded)
    tx.add_manifest(me.account, new.seq, digest, key, new.generation, str(manifest))
    seq = tx.append("keys", tx.inbox(me.account), me.account, data={"manifest": new.seq, "hash": digest})
    return Reply("published", {"seq": seq, "manifest": new.seq, "hash": digest})


def _revoke(tx: Tx, me: Me, devices: Sequence[int]) -> None:
    """These are devices no more; who is connected as one of them is not in any longer."""
    logins = [login for device in devices for login in tx.revoke_device(device)]
    if logins:
        tx.append("logged_out", tx.inbox(me.account), me.account, data={"logins": logins}, aside=True)


@command("/manifest <user> [since]", topic="", read=True)
def manifest(tx: ReadTx, me: Me, user: Account, since: str | int = 0) -> Reply:
    """Every manifest of somebody past one that you have (programs)."""
    found = tx.manifests(user.id, _number(since, "/manifest <user> [since]"), MANIFESTS)
    listed = [{"seq": one.seq, "hash": one.hash, "manifest": one.body, "at": one.at} for one in found]
    more = len(found) == MANIFESTS
    return Reply("manifest", {"account": user.id, "name": user.name, "manifests": listed, "more": more})


@command("/manifests [people...]", topic="", read=True)
def manifests(tx: ReadTx, me: Me, people: Sequence[str | int] = ()) -> Reply:
    """The newest manifests of these people (programs)."""
    most = me.settings.limits.sealed_devices
    if len(people) > most:
        raise Refusal("TOO_LONG", size=len(people), limit=most)
    listed, none = [], []
    for typed in people:
        try:
            user = find_user(tx, typed)
        except Refusal:
            none.append(typed)
            continue
        newest = tx.newest_manifest(user.id)
        if newest is None:
            none.append(typed)
        else:
            about = {"account": user.id, "name": user.name, "seq": newest.seq, "hash": newest.hash}
            listed.append(about | {"manifest": newest.body, "at": newest.at})
    return Reply("manifests", {"manifests": listed, "none": none})


@command("/bind <device>", topic="")
def bind(tx: Tx, me: Me, device: str | int) -> Reply:
    """This session is this device of yours: it may sign and open, and is sent what is for that one alone (programs)."""
    fields, bound = bind_login(tx, me.account, me.login, device)
    return Reply("bound", fields, Turn(device=bound))


def bind_login(tx: Tx, account: int, login: int, device: str | int) -> tuple[dict[str, Any], tuple[int, str]]:
    """A login is this device of its account from now on: how its stock of keys stands, and its row and id.

    @raise Refusal: NO_DEVICE.
    """
    row = tx.device(account, str(device))
    if row is None:
        raise Refusal("NO_DEVICE")
    tx.bind_login(login, row)
    left, newest, spare = tx.stock(row)
    return {"device": device, "left": left, "newest": newest, "fallback": spare}, (row, str(device))


@command("/link <device> <entry>", topic="")
def link(tx: Tx, me: Me, device: str | int, entry: str) -> Reply:
    """Ask, from a new device, to become one of yours; the device that holds your account key decides (programs)."""
    raw = sealed.readable(str(device), me.settings.limits.prekey_characters)
    sealed.readable(entry, me.settings.limits.prekey_characters)
    if len(raw) != 16 or tx.owner_of(str(device)) is not None:
        raise Refusal("BAD_PROOF", what="device")
    waiting = {name for name, _, _ in tx.linkings(me.account, tx.steady - DAY_MS)}
    if len(waiting | {str(device)}) > me.settings.limits.account_devices:
        raise Refusal("TOO_LONG", size=len(waiting) + 1, limit=me.settings.limits.account_devices)
    tx.add_linking(me.account, str(device), entry)
    seq = tx.append("link", tx.inbox(me.account), me.account, data={"device": str(device), "entry": entry})
    return Reply("done", {"seq": seq})


@command("/links", topic="", read=True)
def links(tx: ReadTx, me: Me) -> Reply:
    """The devices that ask to become yours (programs)."""
    waiting = tx.linkings(me.account, tx.steady - DAY_MS)
    return Reply("links", {"links": [{"device": name, "entry": entry, "at": at} for name, entry, at in waiting]})


@command("/vault [blob]", topic="")
def vault(tx: Tx, me: Me, blob: str | int = "") -> Reply:
    """Keep your account's keys here, sealed under your recovery code, or read them (programs)."""
    if blob != "":
        sealed.readable(str(blob), me.settings.limits.vault_characters)
        tx.set_vault(me.account, str(blob))
    kept = tx.vault(me.account)
    return Reply("vault", {"blob": None, "at": 0} if kept is None else {"blob": kept[0], "at": kept[1]})


# -- one-time keys ----------------------------------------------------------------------------------------------------


@command("/stock [fallback]", topic="", optional=("keys:list",))
def stock(tx: Tx, me: Me, fallback: str | int = "", keys: Sequence[str | int] = ()) -> Reply:
    """Leave one-time keys of this device here, for others to begin with, or see how many are left (programs)."""
    key_of_device = tx.device_key(me.device) if me.device else None
    if key_of_device is None:
        raise Refusal("NO_DEVICE")
    signer = records.decode(key_of_device)
    left, newest, _ = tx.stock(me.device)
    most = me.settings.limits.one_time_keys
    fresh: dict[int, str] = {}
    for body in keys[: most + 1]:
        key = _prekey(me, body, "otk", signer)
        if key.id > newest:
            fresh[key.id] = str(body)
    if len(keys) > most or left + len(fresh) > most:
        raise Refusal("TOO_LONG", size=left + len(keys), limit=most)
    spare = _prekey(me, fallback, "fallback", signer) if fallback != "" else None
    tx.add_prekeys(me.device, fresh)
    if spare is not None and spare.id > tx.stock(me.device)[2]:
        tx.set_fallback(me.device, spare.id, str(fallback))
    left, newest, number = tx.stock(me.device)
    return Reply("stock", {"left": left, "newest": newest, "fallback": number})


def _prekey(me: Me, body: str | int, kind: str, signer: bytes) -> Prekey:
    """A prekey that this very device has signed: a session that only says it is the device uses up none of its ids."""
    raw = sealed.readable(str(body), me.settings.limits.prekey_characters)
    try:
        key = records.prekey(raw)
    except Malformed:
        raise Refusal("BAD_PROOF", what="key") from None
    if (key.account, key.device, key.kind) != (me.account, me.device_id, kind) or not 0 < key.id < 1 << 63:
        raise Refusal("BAD_PROOF", what="key")
    if not records.signed_by(raw, signer, f"chatd/{kind}/1".encode()):
        raise Refusal("BAD_PROOF", what="signature")
    return key


@command("/claim", topic="", optional=("devices:list",))
def claim(tx: Tx, me: Me, devices: Sequence[str | int] = ()) -> Reply:
    """One key of each of these devices, to begin a conversation with; nobody else gets the same one (programs)."""
    most = me.settings.limits.sealed_devices
    if len(devices) > most:
        raise Refusal("TOO_LONG", size=len(devices), limit=most)
    keys, none = {}, []
    known: dict[int, bool] = {}
    for name in dict.fromkeys(map(str, devices)):
        owner = _reachable(tx, me, name, known)
        row = None if owner is None else tx.device(owner, name)
        key = None if row is None else _one_key(tx, me, row)
        if key is None or owner is None:
            none.append(name)
        else:
            keys[name] = {"account": owner, "key": key[0], "fallback": key[1]}
    return Reply("claimed", {"keys": keys, "none": none})


def _reachable(tx: ReadTx, me: Me, device: str, known: dict[int, bool]) -> int | None:
    """Whose device this is, if it is one that this session may write to: one's own other ones, and those of people
    with whom one shares a room or a pending request.
    """
    found = tx.owner_of(device)
    if found is None or found[1] or device == me.device_id:
        return None
    owner = found[0]
    if owner not in known:
        known[owner] = owner == me.account or tx.acquainted(me.account, owner)
    return owner if known[owner] else None


def _one_key(tx: Tx, me: Me, device: int) -> tuple[str, bool] | None:
    """A one-time key, or the fallback: where there is none left, or this person has had too many of this device."""
    counted = f"claim:{me.account}:{device}"
    count, until = tx.tries(counted)
    if count < me.settings.limits.claims_per_hour:
        key = tx.claim(device)
        if key is not None:
            tx.count_try(counted, (until - tx.now) / 1000 if count else HOUR, 0.0)
            return key, False
    spare = tx.fallback(device)
    return None if spare is None else (spare, True)


# -- sealed rooms -----------------------------------------------------------------------------------------------------


@command("/recipients", needs=Needs.MEMBER, topic="", read=True)
def recipients(tx: ReadTx, me: Me, room: Room) -> Reply:
    """For which devices a message to this room is sealed, and where the room's log stands (programs)."""
    ring = tx.keyring(room.id)
    listed = []
    for member in tx.members(room.id):
        seq, digest, devices = ring.get(member.account.id, (0, "", []))
        listed.append(
            {
                "account": member.account.id,
                "name": member.account.name,
                "role": member.role.name.lower(),
                "manifest": seq,
                "hash": digest,
                "devices": devices,
            }
        )
    fields = {"room": room.name, "room_id": room.id, "kind": room.kind, "sealed": room.sealed}
    return Reply("recipients", fields | _stands(tx.chain(room.id)) | {"members": listed})


def _stands(chain: Chain | None) -> dict[str, Any]:
    """Where a group's log stands, as an answer says it."""
    if chain is None:
        return {"origin": None, "head": None, "entries": 0}
    return {"origin": chain.origin, "head": chain.head, "entries": chain.entries}


@command("/roomlog <room> [since]", topic="", read=True)
def roomlog(tx: ReadTx, me: Me, room: str | int, since: str | int = 0) -> Reply:
    """The signed entries of a sealed group's log, for its members and for whom its door is open (programs)."""
    found = find_group(tx, me, room)
    if found.role is Role.NONE and (found.door != "open" or tx.banned(found.id, me.account)):
        raise Refusal("NOT_MEMBER", room=found.name)
    after = _number(since, "/roomlog <room> [since]")
    entries = tx.room_log(found.id, after, ENTRIES)
    listed = [
        {"n": n, "seq": entry.seq, "by_id": entry.by, "kind": entry.kind, "proof": entry.proof, "at": entry.at}
        for n, entry in enumerate(entries, after + 1)
    ]
    fields = {"room": found.name, "room_id": found.id} | _stands(tx.chain(found.id))
    return Reply("roomlog", fields | {"log": listed, "more": len(entries) == ENTRIES})


@command("/post", topic="", optional=("envelopes:map", "seq"))
def post(tx: Tx, me: Me, envelopes: Mapping[str, str] | None = None, seq: str | int | None = None) -> Reply:
    """Say something to devices that is no message, or have them open one of yours that they could not (programs)."""
    if not me.device or tx.device_key(me.device) is None:
        raise Refusal("NO_DEVICE")
    letters = sealed.letters_of(me, envelopes or {})
    room: int | None = None
    number: int | None = None
    if seq is not None:
        number = _number(seq, "/post")
        room = tx.wrote(me.account, number)
        if room is None:
            raise Refusal("BAD_PROOF", what="seq")
    heard = None if room is None or number is None else tx.heard_by(room, number)
    known: dict[int, bool] = {}
    posted, none = [], []
    for name, body in letters.items():
        owner = _reachable(tx, me, name, known)
        row = None if owner is None or (heard is not None and owner not in heard) else tx.device(owner, name)
        if row is None:
            none.append(name)
        else:
            posted.append((row, body))
    tx.post((me.device, me.device_id, Account(me.account, me.name)), posted, number, room)
    return Reply("posted", {"posted": len(posted), "none": none})


@command("/received <n>", topic="")
def received(tx: Tx, me: Me, n: str | int) -> Reply:
    """This device has dealt with every envelope up to this one (programs)."""
    if not me.device:
        raise Refusal("NO_DEVICE")
    tx.received(me.device, _number(n, "/received <n>"))
    return Reply("acked", {})


def _number(typed: str | int, usage: str) -> int:
    """A number that the database can compare."""
    text = str(typed)
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise Refusal("BAD_USAGE", usage=usage)
    return int(text)
