"""How somebody leaves a group: by a word, with their account, or as a guest who has gone.

The rule: the event is appended before the membership ends, so that the one who goes hears it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from chatd.model import Kind, Role, Room

if TYPE_CHECKING:
    from chatd.store import Tx

NO_PROOFS: Final[Mapping[int, str]] = {}


def go_out(
    tx: Tx,
    room: Room,
    account: int,
    reason: str = "",
    data: dict[str, Any] | None = None,
    proof: str | None = None,
) -> int:
    """Somebody who is `room.role` leaves: the last one out closes the group, an owner's goes to whoever served longest.
    The seq at which they are out. From a sealed group nobody goes unsigned but by an operator's hand, which is said,
    and nobody inherits from them.
    """
    last = tx.member_count(room.id) == 1
    signed = proof is not None or not room.sealed
    heir = tx.heir(room.id) if room.role is Role.OWNER and not last and signed else None
    if not signed:
        data = {**(data or {}), "gone": True}
    if last:
        data = {**(data or {}), "name": room.name}
    seq = tx.append("closed" if last else "left", room.id, account, text=reason or None, data=data, proof=proof)
    tx.end_member(room.id, account, seq)
    if last:
        tx.close_group(room.id)
    if heir is not None:
        inherited = tx.append("inherited", room.id, account, target=heir.account.id)
        tx.set_role(room.id, heir.account.id, Role.OWNER, inherited)
    return seq


def close_account(
    tx: Tx,
    account: int,
    *,
    erase: bool = False,
    reason: str = "",
    was: str = "",
    proofs: Mapping[int, str] = NO_PROOFS,
) -> int:
    """Somebody is no more: out of every group and every conversation of two, logged out everywhere, and nameless from
    now on. The seq that says so. `erase`: what they wrote is blanked, too, step by step after this. `was`: a guest's
    name, which stands in the events since the account will not have it any longer. `proofs`: the entries that say so
    in the logs of sealed groups, by room.
    """
    data = {"quit": True, "was": was} if was else None
    for room in tx.rooms_of(account):
        if room.kind is Kind.GROUP:
            go_out(tx, room, account, reason, data, proofs.get(room.id))
        elif room.kind is Kind.DIRECT:
            tx.end_member(room.id, account, tx.append("left", room.id, account, data=data))
    seq = tx.append("deleted", tx.inbox(account), account)
    if not was:
        tx.say_farewell(account)
    tx.forget_keys(account)
    tx.delete_account(account, erase=erase)
    return seq
