"""Groups: making, entering and leaving them, who is in, and what they are. Who may be in is in membership.

The rule: an operation checks first and writes after; a membership changes only together with the event that says so,
which is appended before a membership ends, so that the one who goes hears it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from chatd import rules
from chatd.command import command, find_group, find_user, refuse_role
from chatd.commands import sealed as sealing
from chatd.commands.leaving import go_out
from chatd.commands.membership import enter, room_for, room_for_one_more, short_enough
from chatd.errors import Refusal
from chatd.model import Account, Door, Kind, Me, Reply, Role, Room, Turn
from chatd.names import fold_group, suggestions
from chatd.rules import Needs

if TYPE_CHECKING:
    from chatd.store import ReadTx, Tx

LISTED: Final = 5_000
"""How many groups a program is listed at once."""
KEY: Final = 32
"""The bytes of an account key."""
OTHERS: Final = 100
"""How many groups one is not in are listed at once."""


# -- making, entering, leaving ----------------------------------------------------------------------------------------


@command(
    "/create [--open|--sealed] <room> [people...]",
    topic="Groups",
    example="/create #friends bob carol",
    optional=("proofs:list",),
)
def create(
    tx: Tx,
    me: Me,
    room: str | int,
    people: Sequence[str | int] = (),
    open: bool = False,  # noqa: A002 - the flag's name
    sealed: bool = False,
    proofs: Sequence[str | int] = (),
) -> Reply:
    """Make a group with these people in it. You are its owner."""
    if (open and sealed) or (proofs and not sealed):
        raise Refusal("BAD_USAGE", usage="/create [--open|--sealed] <room> [people...]")
    name = fold_group(str(room))
    if tx.group(name) is not None:
        raise Refusal("NAME_TAKEN", name=name, free=_free(tx, name))
    if len(people) > me.settings.limits.group_people_at_creation:
        raise Refusal("LIMIT", room=name)
    if sealed:
        return _create_sealed(tx, me, name, people, proofs)
    added: dict[int, Account] = {}
    unknown, full = [], []
    for typed in people:
        try:
            account = find_user(tx, typed)
        except Refusal as refusal:
            unknown.append(refusal.fields["name"])
            continue
        if account.id == me.account or account.id in added:
            continue
        if tx.group_count(account.id) >= me.settings.limits.groups_per_account:
            full.append(account.name)
            continue
        added[account.id] = account
    made, seq = _make(tx, me, name)
    for account in added.values():
        enter(tx, made, me.account, account, "added")
    return _created(made, seq, added.values(), unknown, full)


def _created(
    room: Room, seq: int, added: Iterable[Account], unknown: Sequence[object] = (), full: Sequence[str] = ()
) -> Reply:
    people = {"added": [account.name for account in added], "unknown": unknown, "full": full}
    return Reply("created", {"seq": seq} | _place(room) | people, Turn(room=room))


def _create_sealed(tx: Tx, me: Me, name: str, people: Sequence[str | int], proofs: Sequence[str | int]) -> Reply:
    """A sealed group and its first people: the log's first entries, one for each step; all of it, or nothing."""
    sealing.need_device(me, name)
    added = [find_user(tx, typed) for typed in people]
    if len({me.account, *(account.id for account in added)}) != len(added) + 1 or len(proofs) != len(added) + 1:
        raise Refusal("BAD_PROOF", what="count")
    for account in added:
        room_for_one_more(tx, me, account)
        sealing.need_keys(tx, account)
    made, seq = _make(tx, me, name, proofs[0])
    sealing.devices_fit(tx, me, made, added)
    for account, proof in zip(added, proofs[1:], strict=True):
        enter(tx, made, me.account, account, "added", sealing.append(tx, me, made, proof, "add", target=account.id))
    return _created(made, seq, added)


def _free(tx: ReadTx, name: str) -> list[str]:
    """Names near this group's that could be had."""
    return [f"#{free}" for free in suggestions(name[1:], lambda other: tx.group(f"#{other}") is not None)]


def _make(tx: Tx, me: Me, name: str, proof: str | int | None = None) -> tuple[Room, int]:
    """A new group with its owner in it, and the event that says so; sealed where that is proven."""
    room_for_one_more(tx, me, Account(me.account, ""))
    door = me.settings.default_door
    sealed = proof is not None
    number = tx.add_room(Kind.GROUP, name=name, sealed=sealed, door=door)
    room = Room(number, Kind.GROUP, name, sealed, Role.OWNER, door)
    signed = None
    if proof is not None:
        signed = sealing.append(tx, me, room, proof, "create", target=me.account, value=f"{door} {name}")
    data = {"name": name, "sealed": sealed, "door": door}
    seq = tx.append("created", number, me.account, data=data, proof=signed)
    tx.add_member(number, me.account, Role.OWNER, seq)
    return room, seq


def _admin_names(tx: ReadTx, room: Room) -> list[str]:
    return [admin.account.name for admin in tx.admins(room.id)]


@command("/join <room>", topic="Groups", example="/join #ops", optional=("proofs:list", "ak"))
def join(tx: Tx, me: Me, room: str | int, proofs: Sequence[str | int] = (), ak: str | int = "") -> Reply:
    """Go into a group: make it current, or ask its admins to be let in. A group that does not exist is made."""
    try:
        found = find_group(tx, me, room)
    except Refusal as refusal:
        if refusal.code != "NO_GROUP" or isinstance(room, int) or not me.settings.autocreate:
            raise
        if proofs:
            sealing.need_device(me, room)
        made, seq = _make(tx, me, fold_group(room), *proofs[:1])
        return Reply("autocreated", {"seq": seq} | _place(made), Turn(room=made))
    if found.role is not Role.NONE:
        return Reply("now_in", _place(found), Turn(room=found))
    code = rules.may_enter(found.door, tx.banned(found.id, me.account))
    if code == "PENDING":
        return _ask_to_join(tx, me, found, str(ak))
    if code is not None:
        raise Refusal(code, room=found.name, admins=_admin_names(tx, found))
    if found.sealed:
        sealing.need_device(me, found.name)
    myself = Account(me.account, me.name)
    room_for_one_more(tx, me, Account(me.account, ""))
    room_for(tx, me, found, myself)
    proof = _sign_in(tx, me, found, proofs) if found.sealed else None
    seq = enter(tx, found, me.account, myself, "open", proof)
    found = found._replace(role=Role.MEMBER)
    return Reply("now_in", {"seq": seq} | _place(found), Turn(room=found))


def _sign_in(tx: Tx, me: Me, room: Room, proofs: Sequence[str | int]) -> str | None:
    """One's own entry, by which one comes in through an open door. Who signed to make the group, since there was none,
    is told where its log stands.
    """
    try:
        return sealing.sign(tx, me, room, proofs, "join", target=me.account)
    except Refusal as refusal:
        chain = tx.chain(room.id)
        if refusal.code != "BAD_PROOF" or refusal.fields["what"] not in ("room", "action") or chain is None:
            raise
        raise Refusal("STALE", head=chain.head, missing=[], extra=[]) from None


def _place(room: Room) -> dict[str, Any]:
    """A room as a reply names it."""
    return {
        "room": room.name,
        "room_id": room.id,
        "role": room.role.name.lower(),
        "sealed": room.sealed,
        "door": room.door,
    }


def _ask_to_join(tx: Tx, me: Me, room: Room, key: str) -> Reply:
    """Put the request to every admin, online or not. In a sealed group it says which account key the asker has."""
    if room.sealed:
        sealing.need_device(me, room.name)
        if len(sealing.readable(key, me.settings.limits.prekey_characters)) != KEY:
            raise Refusal("BAD_PROOF", what="ak")
    else:
        key = ""
    admins = tx.admins(room.id)
    names = [admin.account.name for admin in admins]
    since = tx.requested(room.id, me.account)
    if since is not None:
        raise Refusal("PENDING", at=since, admins=names)
    room_for_one_more(tx, me, Account(me.account, ""))
    tx.add_request(room.id, me.account, key or None)
    about = {"room": room.id, "name": room.name} | ({"ak": key} if key else {})
    seqs = [tx.append("asked", tx.inbox(admin.account.id), me.account, data=about) for admin in admins]
    return Reply("asked", {"seq": seqs[0], "room": room.name, "room_id": room.id, "admins": names})


@command("/leave", needs=Needs.MEMBER, topic="Groups", example="/leave #ops", optional=("reason", "proofs:list"))
def leave(tx: Tx, me: Me, room: Room, reason: str | int = "", proofs: Sequence[str | int] = ()) -> Reply:
    """Leave a group. The owner hands it over first; the last one out closes it."""
    _groups_only(room, "/leave")
    short_enough(me, str(reason))
    others = tx.member_count(room.id) - 1
    guest = room.role is Role.OWNER and tx.kind_of(me.account) == "guest"
    if rules.may_leave(room.role, others) is not None and not guest:
        raise Refusal("OWNER_STAYS", room=room.name)
    proof = sealing.sign(tx, me, room, proofs, "leave")
    seq = go_out(tx, room, me.account, str(reason), proof=proof)
    return Reply("done", {"seq": seq, "closed": not others}, _out_of(me, room))


def _out_of(me: Me, room: Room) -> Turn | None:
    return Turn(leave_room=True) if room.id == me.room else None


def _groups_only(room: Room, verb: str) -> None:
    if room.kind is not Kind.GROUP:
        raise Refusal("GROUPS_ONLY", command=verb, room=room.name)


@command("/close", topic="Talk", read=True)
def close(tx: ReadTx, me: Me) -> Reply:
    """Leave the view of the current room, never the group: no room is current then."""
    room = tx.room(me.room, me.account) if me.room else None
    if room is None:
        raise Refusal("NO_ROOM", sends=False)
    return Reply("closed_view", {"room": room.name, "room_id": room.id}, Turn(leave_room=True))


# -- who is there -----------------------------------------------------------------------------------------------------


@command("/members", aliases=["/4"], needs=Needs.MEMBER, topic="Groups", read=True)
def members(tx: ReadTx, me: Me, room: Room) -> Reply:
    """Who is in this room, and as what."""
    online = tx.online(room.id)
    listed = [
        {
            "name": member.account.name,
            "account": member.account.id,
            "role": member.role.name.lower(),
            "online": member.account.id in online,
        }
        for member in tx.members(room.id)
    ]
    return Reply("members", {"room": room.name, "room_id": room.id, "members": listed})


@command("/roster", needs=Needs.MEMBER, topic="", read=True, level=True)
def roster(tx: ReadTx, me: Me, room: Room) -> Reply:
    """Who is in this room, and what it is about (programs). The events that come after the answer continue it."""
    here, away = tx.online(room.id), tx.away_in(room.id)
    listed = [
        {
            "name": member.account.name,
            "account": member.account.id,
            "role": member.role.name.lower(),
            "online": member.account.id in here,
            "away": away.get(member.account.id),
        }
        for member in tx.members(room.id)
    ]
    fields = {
        "topic": tx.topic(room.id),
        "door": room.door,
        "sealed": room.sealed,
        "marker": tx.marker(me.account, room.id),
        "members": listed,
    }
    return Reply("roster", {"room": room.name, "room_id": room.id} | fields)


@command("/directory", topic="", read=True)
def directory(tx: ReadTx, me: Me) -> Reply:
    """The groups one is in, may enter or ask to, with their topics (programs)."""
    listed = [
        {"room": name, "members": count, "topic": about, "door": door}
        for name, count, about, door in tx.directory(me.account, LISTED)
    ]
    return Reply("directory", {"rooms": listed})


@command("/online", aliases=["/5"], needs=Needs.MEMBER, topic="Groups", read=True)
def online(tx: ReadTx, me: Me, room: Room) -> Reply:
    """Who of this room is online."""
    here = tx.online(room.id)
    everybody = tx.members(room.id)
    names = [member.account.name for member in everybody if member.account.id in here]
    return Reply("online", {"room": room.name, "room_id": room.id, "online": names, "members": len(everybody)})


@command("/admins", aliases=["/7"], needs=Needs.MEMBER, topic="Groups", read=True)
def admins(tx: ReadTx, me: Me, room: Room) -> Reply:
    """Who owns this group and who its admins are."""
    _groups_only(room, "/admins")
    ranked = tx.admins(room.id)
    return Reply(
        "admins",
        {
            "room": room.name,
            "room_id": room.id,
            "owner": next((admin.account.name for admin in ranked if admin.role is Role.OWNER), ""),
            "admins": [admin.account.name for admin in ranked if admin.role is Role.ADMIN],
        },
    )


@command("/groups", topic="Groups", read=True)
def groups(tx: ReadTx, me: Me) -> Reply:
    """The groups you are in, and others that you may join or ask to."""
    mine = [_place(room) | {"kind": room.kind} for room in tx.rooms_of(me.account) if room.kind is Kind.GROUP]
    return Reply("groups", {"rooms": mine, "others": tx.other_groups(me.account, OTHERS)})


# -- what the group is ------------------------------------------------------------------------------------------------


def _admins_only(tx: ReadTx, room: Room, verb: str) -> None:
    """For commands that everybody may read with and admins change with."""
    code = rules.may_command(Needs.ADMIN, room.role)
    if code is not None:
        refuse_role(tx, code, room, verb)


@command("/topic [text...]", needs=Needs.MEMBER, topic="Groups", example="/topic Releases on Fridays")
def topic(tx: Tx, me: Me, room: Room, text: str = "") -> Reply:
    """What this group is about; with a text, an admin sets it (- for none)."""
    _groups_only(room, "/topic")
    if not text:
        return Reply("topic", {"room": room.name, "room_id": room.id, "topic": tx.topic(room.id)})
    _admins_only(tx, room, "/topic")
    limit = me.settings.limits.topic_characters
    if len(text) > limit:
        raise Refusal("TOO_LONG", size=len(text), limit=limit)
    if room.sealed:
        sealing.need_device(me, room.name)
    text = "" if text == "-" else text
    seq = tx.append("topic", room.id, me.account, text=text)
    tx.set_topic(room.id, text)
    return Reply("done", {"seq": seq})


@command("/door [door]", needs=Needs.MEMBER, topic="Admin", example="/door open", optional=("proofs:list",))
def door(tx: Tx, me: Me, room: Room, door: str | int = "", proofs: Sequence[str | int] = ()) -> Reply:
    """Who may enter this group: open (anybody), ask (on approval), invite (by /add only)."""
    _groups_only(room, "/door")
    if door == "":
        return Reply("door", {"room": room.name, "room_id": room.id, "door": room.door})
    _admins_only(tx, room, "/door")
    try:
        wanted = Door(str(door).lower())
    except ValueError:
        raise Refusal("BAD_USAGE", usage="/door [open|ask|invite]") from None
    if wanted is room.door:
        return Reply("door", {"room": room.name, "room_id": room.id, "door": room.door})
    proof = sealing.sign(tx, me, room, proofs, "door", value=wanted)
    seq = tx.append("door", room.id, me.account, data={"door": wanted}, proof=proof)
    tx.set_door(room.id, wanted)
    return Reply("done", {"seq": seq})


@command("/rename <name>", needs=Needs.OWNER, topic="Admin", example="/rename #dev", optional=("proofs:list",))
def rename(tx: Tx, me: Me, room: Room, name: str | int, proofs: Sequence[str | int] = ()) -> Reply:
    """Give this group another name. Its members and its past stay."""
    wanted = fold_group(str(name))
    if tx.group(wanted) is not None:
        raise Refusal("NAME_TAKEN", name=wanted, free=_free(tx, wanted))
    proof = sealing.sign(tx, me, room, proofs, "name", value=wanted)
    seq = tx.append("renamed", room.id, me.account, text=wanted, data={"was": room.name}, proof=proof)
    tx.set_name(room.id, wanted)
    return Reply("done", {"seq": seq, "room": wanted})
