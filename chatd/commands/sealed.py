"""What sealed rooms ask of operations: a device to sign and open with, signed entries, envelopes (E2E.md §4, §6).

The rule: the server checks what protects the others in the room from a mistaken or a malicious member. What protects
them from the server, their clients check.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from chatd import records
from chatd.commands import files
from chatd.errors import Refusal
from chatd.model import Account, Kind, Me, Room
from chatd.records import Entry, Malformed

if TYPE_CHECKING:
    from chatd.store import ReadTx, Tx

DIRECT_HEAD: Final = records.encode(records.NOTHING)
"""What the header of a sealed message names in a conversation of two, which has no log."""


def need_device(me: Me, room: str) -> None:
    """Only a device can open and sign anything: any other session is told so, and nothing becomes open for it."""
    if not me.device:
        raise Refusal("E2E_ONLY", room=room)


def readable(raw: str, most: int) -> bytes:
    """The bytes of what a client signed or sealed, of bounded size."""
    if len(raw) > most:
        raise Refusal("TOO_LONG", size=len(raw), limit=most)
    try:
        return records.decode(raw)
    except Malformed:
        raise Refusal("BAD_PROOF", what="base64") from None


def need_keys(tx: ReadTx, account: Account) -> None:
    """Nothing can be sealed for who never had keys."""
    if tx.newest_manifest(account.id) is None:
        raise Refusal("NO_KEYS", name=account.name)


def devices_fit(tx: ReadTx, me: Me, room: Room, accounts: Sequence[Account]) -> None:
    """Whether the devices of these fit into this sealed group, too."""
    if room.sealed:
        count = len(tx.devices_in(room.id)) + sum(len(tx.devices_of(account.id)) for account in accounts)
        if count > me.settings.limits.sealed_devices:
            raise Refusal("LIMIT", room=room.name)


def sign(
    tx: Tx,
    me: Me,
    room: Room,
    proofs: Sequence[str | int],
    action: str,
    *,
    target: int = 0,
    value: str = "",
) -> str | None:
    """The signed entry that this change of a sealed group carries, now the newest of its log; None in an open one.

    The last check of an operation: what comes after it is written.

    @raise Refusal: E2E_ONLY, BAD_PROOF; STALE where the log has gone on since it was signed.
    """
    if not room.sealed:
        if proofs:
            raise Refusal("BAD_PROOF", what="open")
        return None
    need_device(me, room.name)
    if len(proofs) != 1:
        raise Refusal("BAD_PROOF", what="count")
    return append(tx, me, room, proofs[0], action, target=target, value=value)


def append(tx: Tx, me: Me, room: Room, proof: str | int, action: str, *, target: int = 0, value: str = "") -> str:
    """Check one entry and make it the newest of the group's log."""
    key = tx.device_key(me.device)
    if key is None:
        raise Refusal("NO_DEVICE")
    raw = readable(str(proof), me.settings.limits.proof_characters)
    try:
        entry = records.entry(raw)
    except Malformed:
        raise Refusal("BAD_PROOF", what="form") from None
    chain = tx.chain(room.id)
    wanted = {
        "room": records.NOTHING if chain is None else records.decode(chain.origin),
        "actor": me.account,
        "device": me.device_id,
        "action": action,
        "target": target,
        "value": value,
    }
    wrong = next((name for name, there in wanted.items() if getattr(entry, name) != there), None)
    if wrong is not None:
        raise Refusal("BAD_PROOF", what=wrong)
    head = "" if chain is None else chain.head
    if not _follows(entry, head, 0 if chain is None else chain.entries):
        raise Refusal("STALE", head=head, missing=[], extra=[])
    if not records.signed_by(raw, records.decode(key), records.ROOM_LOG):
        raise Refusal("BAD_PROOF", what="signature")
    tx.add_entry(room.id, records.encode(entry.hash))
    return str(proof)


def _follows(entry: Entry, head: str, entries: int) -> bool:
    before = records.decode(head) if head else records.NOTHING
    return entry.before == before and entry.seq == entries + 1


def say(
    tx: Tx,
    me: Me,
    room: Room,
    sealed: Any,
    envelopes: Mapping[str, str],
    without: Sequence[str | int],
    file: str | int | None = None,
) -> int:
    """A message that only the members can open; its seq. `file`: the one of which it tells them.

    @raise Refusal: NO_FILE; STALE where the sender saw another state of the room than is true now.
    """
    limits = me.settings.limits
    if not isinstance(sealed, str):
        raise Refusal("BAD_PROOF", what="sealed")
    if len(sealed) > limits.sealed_characters:
        raise Refusal("TOO_LONG", size=len(sealed), limit=limits.sealed_characters)
    try:
        seen = records.log_head(sealed)
    except Malformed:
        raise Refusal("BAD_PROOF", what="sealed") from None
    letters = letters_of(me, envelopes)
    chain = tx.chain(room.id) if room.kind is Kind.GROUP else None
    head = DIRECT_HEAD if chain is None else chain.head
    circle = tx.devices_in(room.id)
    if circle.get(me.device_id) != me.device:
        raise Refusal("NO_DEVICE")
    named = letters.keys() | {str(device) for device in without}
    missing = [device for device in circle if device not in named and device != me.device_id]
    extra = [device for device in named if device not in circle or device == me.device_id]
    if seen != head or missing or extra:
        raise Refusal("STALE", head="" if chain is None else head, missing=missing, extra=extra)
    about = None if file is None else files.announce(tx, me, room, file)
    seq = tx.append("say", room.id, me.account, sealed=sealed, data=about)
    sender = (me.device, me.device_id, Account(me.account, me.name))
    tx.post(sender, [(circle[device], body) for device, body in letters.items()], seq, room.id)
    return seq


def letters_of(me: Me, envelopes: Mapping[str, str]) -> Mapping[str, str]:
    """These envelopes by device, each of bounded size and of the form that every device can take for one."""
    limits = me.settings.limits
    if len(envelopes) > limits.sealed_devices:
        raise Refusal("TOO_LONG", size=len(envelopes), limit=limits.sealed_devices)
    for body in envelopes.values():
        if len(body) > limits.envelope_characters:
            raise Refusal("TOO_LONG", size=len(body), limit=limits.envelope_characters)
        if not records.is_base64(body):
            raise Refusal("BAD_PROOF", what="envelope")
    return envelopes
