"""Who is in a group and as what: join requests, adding and removing, bans, ranks.

The rule: an operation checks first and writes after; a membership changes only together with the event that says so,
which is appended before a membership ends, so that the one who goes hears it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from chatd import rules
from chatd.command import command, find_user, refuse_role
from chatd.commands import sealed
from chatd.errors import Refusal
from chatd.model import Account, Ask, Me, Reply, Role, Room
from chatd.rules import Needs

if TYPE_CHECKING:
    from chatd.store import ReadTx, Tx
    from chatd.store.groups import Request


def enter(tx: Tx, room: Room, by: int, who: Account, how: str, proof: str | None = None) -> int:
    """Somebody is in from this event on; its seq."""
    data = {"how": how, "name": room.name, "sealed": room.sealed}
    seq = tx.append("joined", room.id, by, target=who.id, data=data, proof=proof)
    tx.add_member(room.id, who.id, Role.MEMBER, seq)
    return seq


def room_for_one_more(tx: ReadTx, me: Me, who: Account) -> None:
    """Whether this account may be in one more group. Without a name it is the caller's own."""
    limit = me.settings.limits.groups_per_account
    if tx.group_count(who.id) >= limit:
        raise Refusal("GROUPS_FULL", name=who.name, limit=limit)


def room_for(tx: ReadTx, me: Me, room: Room, *people: Account) -> None:
    """Whether these fit into this group, too."""
    if tx.member_count(room.id) + len(people) > me.settings.limits.group_members:
        raise Refusal("LIMIT", room=room.name)
    if room.sealed:
        for account in people:
            sealed.need_keys(tx, account)
        sealed.devices_fit(tx, me, room, people)


def short_enough(me: Me, reason: str) -> None:
    limit = me.settings.limits.reason_characters
    if len(reason) > limit:
        raise Refusal("TOO_LONG", size=len(reason), limit=limit)


# -- join requests ----------------------------------------------------------------------------------------------------


@command("/requests", aliases=["/1"], needs=Needs.ADMIN, topic="Admin", read=True)
def requests(tx: ReadTx, me: Me, room: Room) -> Reply:
    """Who asks to join this group, by number."""
    return Reply("requests", _pending(tx, room))


def _pending(tx: ReadTx, room: Room) -> dict[str, Any]:
    return {
        "room": room.name,
        "room_id": room.id,
        "requests": [
            {"n": number, "name": request.account.name, "account": request.account.id, "at": request.at}
            | ({"ak": request.key} if request.key else {})
            for number, request in enumerate(tx.requests(room.id), 1)
        ],
    }


@command(
    "/approve [who]",
    aliases=["/2"],
    needs=Needs.ADMIN,
    topic="Admin",
    example="/approve bob",
    optional=("proofs:list",),
)
def approve(tx: Tx, me: Me, room: Room, who: str | int = "", proofs: Sequence[str | int] = ()) -> Reply | Ask:
    """Let somebody in who asked to join: by name, by number (see /requests), or all."""
    chosen = _choose(tx, room, who, "approve")
    if isinstance(chosen, Ask):
        return chosen
    if room.sealed:
        sealed.need_device(me, room.name)
    room_for(tx, me, room, *(request.account for request in chosen))
    for request in chosen:
        room_for_one_more(tx, me, request.account)
    if room.sealed and len(chosen) > 1:
        raise Refusal("BAD_PROOF", what="count")
    proof = sealed.sign(tx, me, room, proofs, "add", target=chosen[0].account.id)
    seqs = [enter(tx, room, me.account, request.account, "approved", proof) for request in chosen]
    return Reply("done", {"seq": seqs[0], "approved": [request.account.name for request in chosen]})


@command("/deny [who] [reason...]", needs=Needs.ADMIN, topic="Admin", example="/deny bob not now")
def deny(tx: Tx, me: Me, room: Room, who: str | int = "", reason: str = "") -> Reply | Ask:
    """Do not let somebody in who asked to join. They are told, and may ask again."""
    short_enough(me, reason)
    chosen = _choose(tx, room, who, "deny")
    if isinstance(chosen, Ask):
        return chosen
    about = {"room": room.id, "name": room.name}
    seqs = []
    for request in chosen:
        account = request.account.id
        seqs.append(tx.append("denied", tx.inbox(account), me.account, target=account, text=reason or None, data=about))
        tx.drop_request(room.id, account)
    denied = [request.account.name for request in chosen]
    return Reply("denied", {"seq": seqs[0], "room": room.name, "room_id": room.id, "denied": denied})


def _choose(tx: ReadTx, room: Room, who: str | int, verb: str) -> list[Request] | Ask:
    """The requests meant: of this name, number or account id, all, or the only one there is."""
    waiting = tx.requests(room.id)
    if who == "" and len(waiting) > 1:
        return Ask("who", f"{verb}.who", {"room": room.name}, lead=Reply("requests", _pending(tx, room)))
    if not waiting and who in ("", "all"):
        raise Refusal("NO_REQUESTS", room=room.name)
    if who in ("", "all"):
        return waiting
    if isinstance(who, str) and all(request.account.name != who for request in waiting):
        number = int(who) if who.isascii() and who.isdecimal() and len(who) < 6 else 0
        if 0 < number <= len(waiting):
            return [waiting[number - 1]]
    account = find_user(tx, who)
    chosen = [request for request in waiting if request.account.id == account.id]
    if not chosen:
        raise Refusal("NO_REQUEST", name=account.name, room=room.name)
    return chosen


# -- who is in --------------------------------------------------------------------------------------------------------


@command("/add <user>", needs=Needs.ADMIN, topic="Admin", example="/add bob", optional=("proofs:list",))
def add(tx: Tx, me: Me, room: Room, user: Account, proofs: Sequence[str | int] = ()) -> Reply:
    """Put somebody into this group."""
    if tx.role(room.id, user.id) is not Role.NONE:
        raise Refusal("ALREADY", name=user.name, room=room.name)
    if tx.banned(room.id, user.id):
        raise Refusal("IS_BANNED", name=user.name, room=room.name)
    if room.sealed:
        sealed.need_device(me, room.name)
    room_for_one_more(tx, me, user)
    room_for(tx, me, room, user)
    proof = sealed.sign(tx, me, room, proofs, "add", target=user.id)
    return Reply("done", {"seq": enter(tx, room, me.account, user, "added", proof)})


@command(
    "/remove <user> [reason...]", needs=Needs.ADMIN, topic="Admin", example="/remove bob", optional=("proofs:list",)
)
def remove(tx: Tx, me: Me, room: Room, user: Account, reason: str = "", proofs: Sequence[str | int] = ()) -> Reply:
    """Put somebody out of this group, as /kick does."""
    return Reply("done", {"seq": _remove(tx, me, room, user, reason, "/remove", proofs)})


@command(
    "/kick <user> [reason...]",
    aliases=["/8"],
    needs=Needs.ADMIN,
    topic="Admin",
    example="/kick bob spam",
    optional=("proofs:list",),
)
def kick(tx: Tx, me: Me, room: Room, user: Account, reason: str = "", proofs: Sequence[str | int] = ()) -> Reply:
    """Put somebody out of this group. Nobody can remove the owner, and only the owner an admin."""
    return Reply("done", {"seq": _remove(tx, me, room, user, reason, "/kick", proofs)})


def _remove(
    tx: Tx, me: Me, room: Room, user: Account, reason: str, verb: str, proofs: Sequence[str | int], *, ban: bool = False
) -> int:
    """Somebody is out after this event, which they still hear; its seq."""
    role = tx.role(room.id, user.id)
    if role is Role.NONE:
        raise Refusal("NOT_THERE", name=user.name, room=room.name)
    _may_remove(tx, room, user, role, verb)
    short_enough(me, reason)
    data = {"name": room.name} | ({"ban": True} if ban else {})
    proof = sealed.sign(tx, me, room, proofs, "ban" if ban else "remove", target=user.id)
    seq = tx.append("removed", room.id, me.account, target=user.id, text=reason or None, data=data, proof=proof)
    tx.end_member(room.id, user.id, seq)
    return seq


def _may_remove(tx: ReadTx, room: Room, user: Account, role: Role, verb: str) -> None:
    code = rules.may_remove(room.role, role)
    if code == "OWNER_SAFE":
        raise Refusal("OWNER_SAFE", name=user.name, room=room.name)
    if code is not None:
        refuse_role(tx, code, room, verb)


@command(
    "/ban <user> [reason...]", needs=Needs.ADMIN, topic="Admin", example="/ban bob spam", optional=("proofs:list",)
)
def ban(tx: Tx, me: Me, room: Room, user: Account, reason: str = "", proofs: Sequence[str | int] = ()) -> Reply:
    """Keep somebody out of this group, and put them out if they are in."""
    if user.id == me.account:
        raise Refusal("SELF")
    if tx.banned(room.id, user.id):
        raise Refusal("IS_BANNED", name=user.name, room=room.name)
    if tx.role(room.id, user.id) is Role.NONE:
        short_enough(me, reason)
        proof = sealed.sign(tx, me, room, proofs, "ban", target=user.id)
        seq = tx.append("banned", room.id, me.account, target=user.id, text=reason or None, proof=proof)
    else:
        seq = _remove(tx, me, room, user, reason, "/ban", proofs, ban=True)
    tx.add_ban(room.id, user.id, me.account, reason)
    return Reply("done", {"seq": seq})


@command("/unban <user>", needs=Needs.ADMIN, topic="Admin", example="/unban bob", optional=("proofs:list",))
def unban(tx: Tx, me: Me, room: Room, user: Account, proofs: Sequence[str | int] = ()) -> Reply:
    """Let somebody in again who was kept out: they may join, or ask to."""
    if not tx.banned(room.id, user.id):
        raise Refusal("NOT_BANNED", name=user.name, room=room.name)
    proof = sealed.sign(tx, me, room, proofs, "unban", target=user.id)
    tx.drop_ban(room.id, user.id)
    return Reply("done", {"seq": tx.append("unbanned", room.id, me.account, target=user.id, proof=proof)})


@command("/bans", needs=Needs.ADMIN, topic="Admin", read=True)
def bans(tx: ReadTx, me: Me, room: Room) -> Reply:
    """Who is kept out of this group, by whom and why."""
    listed = [{"name": who.name, "account": who.id, "by": by, "why": why} for who, by, why in tx.bans(room.id)]
    return Reply("bans", {"room": room.name, "room_id": room.id, "bans": listed})


# -- ranks ------------------------------------------------------------------------------------------------------------


@command("/promote <user>", needs=Needs.OWNER, topic="Admin", example="/promote bob", optional=("proofs:list",))
def promote(tx: Tx, me: Me, room: Room, user: Account, proofs: Sequence[str | int] = ()) -> Reply:
    """Make a member an admin of this group."""
    return _rank(tx, me, room, user, Role.ADMIN, "promoted", proofs)


@command("/demote <user>", needs=Needs.OWNER, topic="Admin", example="/demote bob", optional=("proofs:list",))
def demote(tx: Tx, me: Me, room: Room, user: Account, proofs: Sequence[str | int] = ()) -> Reply:
    """Make an admin of this group an ordinary member again."""
    return _rank(tx, me, room, user, Role.MEMBER, "demoted", proofs)


def _rank(tx: Tx, me: Me, room: Room, user: Account, role: Role, kind: str, proofs: Sequence[str | int]) -> Reply:
    before = tx.role(room.id, user.id)
    if before is Role.NONE:
        raise Refusal("NOT_THERE", name=user.name, room=room.name)
    if before is Role.OWNER and role is Role.MEMBER:
        raise Refusal("OWNER_STAYS", room=room.name)
    if before is role or before is Role.OWNER:
        raise Refusal("SAME_ROLE", name=user.name, room=room.name, role=before.name.lower())
    action = "promote" if role is Role.ADMIN else "demote"
    proof = sealed.sign(tx, me, room, proofs, action, target=user.id)
    seq = tx.append(kind, room.id, me.account, target=user.id, proof=proof)
    tx.set_role(room.id, user.id, role, seq)
    return Reply("done", {"seq": seq})


@command(
    "/transfer <user>",
    aliases=["/6"],
    needs=Needs.OWNER,
    topic="Admin",
    example="/transfer bob",
    optional=("confirmed", "proofs:list"),
)
def transfer(
    tx: Tx, me: Me, room: Room, user: Account, confirmed: bool = False, proofs: Sequence[str | int] = ()
) -> Reply | Ask:
    """Give this group to another member. You stay in it as an ordinary member."""
    role = tx.role(room.id, user.id)
    if role is Role.NONE:
        raise Refusal("NOT_THERE", name=user.name, room=room.name)
    if role is Role.OWNER:
        raise Refusal("SAME_ROLE", name=user.name, room=room.name, role="owner")
    if not confirmed:
        return Ask("confirmed", "transfer.confirmed", {"name": user.name, "room": room.name})
    proof = sealed.sign(tx, me, room, proofs, "transfer", target=user.id)
    seq = tx.append("transferred", room.id, me.account, target=user.id, data={"name": room.name}, proof=proof)
    tx.set_role(room.id, me.account, Role.MEMBER, seq)
    tx.set_role(room.id, user.id, Role.OWNER, seq)
    return Reply("done", {"seq": seq})
