"""Groups: making, entering and leaving them, and what their admins and owners may do.

The rule: an operation checks first and writes after; a membership changes only together with the event that says so,
which is appended before a membership ends, so that the one who goes hears it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from chatd import rules
from chatd.command import LONGEST_ID, command, find_user, is_id, refuse_role
from chatd.commands.leaving import go_out
from chatd.errors import Refusal
from chatd.model import Account, Ask, Door, Kind, Me, Reply, Role, Room, Turn
from chatd.names import fold_group, suggestions
from chatd.rules import Needs

if TYPE_CHECKING:
    from chatd.store import ReadTx, Tx
    from chatd.store.groups import Request

LISTED: Final = 5_000
"""How many groups a program is listed at once."""
OTHERS: Final = 100
"""How many groups one is not in are listed at once."""


# -- making, entering, leaving ----------------------------------------------------------------------------------------


@command("/create [--open|--sealed] <room> [people...]", topic="Groups", example="/create #friends bob carol")
def create(
    tx: Tx,
    me: Me,
    room: str | int,
    people: Sequence[str | int] = (),
    open: bool = False,  # noqa: A002 - the flag's name
    sealed: bool = False,
) -> Reply:
    """Make a group with these people in it. You are its owner."""
    if open and sealed:
        raise Refusal("BAD_USAGE", usage="/create [--open|--sealed] <room> [people...]")
    name = fold_group(str(room))
    if tx.group(name) is not None:
        raise Refusal("NAME_TAKEN", name=name, free=_free(tx, name))
    if len(people) > me.settings.limits.group_people_at_creation:
        raise Refusal("LIMIT", room=name)
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
    made, seq = _make(tx, me, name, sealed)
    for account in added.values():
        _enter(tx, made, me.account, account, "added")
    fields = {
        "seq": seq,
        "room": name,
        "room_id": made.id,
        "role": "owner",
        "sealed": sealed,
        "door": made.door,
        "added": [account.name for account in added.values()],
        "unknown": unknown,
        "full": full,
    }
    return Reply("created", fields, Turn(room=made))


def _free(tx: ReadTx, name: str) -> list[str]:
    """Names near this group's that could be had."""
    return [f"#{free}" for free in suggestions(name[1:], lambda other: tx.group(f"#{other}") is not None)]


def _make(tx: Tx, me: Me, name: str, sealed: bool) -> tuple[Room, int]:
    """A new group with its owner in it, and the event that says so."""
    _room_for_one_more(tx, me, Account(me.account, ""))
    door = me.settings.default_door
    number = tx.add_room(Kind.GROUP, name=name, sealed=sealed, door=door)
    seq = tx.append("created", number, me.account, data={"name": name, "sealed": sealed, "door": door})
    tx.add_member(number, me.account, Role.OWNER, seq)
    return Room(number, Kind.GROUP, name, sealed, Role.OWNER, door), seq


def _enter(tx: Tx, room: Room, by: int, who: Account, how: str) -> int:
    """Somebody is in from this event on; its seq."""
    data = {"how": how, "name": room.name, "sealed": room.sealed}
    seq = tx.append("joined", room.id, by, target=who.id, data=data)
    tx.add_member(room.id, who.id, Role.MEMBER, seq)
    return seq


def _room_for_one_more(tx: ReadTx, me: Me, who: Account) -> None:
    """Whether this account may be in one more group. Without a name it is the caller's own."""
    limit = me.settings.limits.groups_per_account
    if tx.group_count(who.id) >= limit:
        raise Refusal("GROUPS_FULL", name=who.name, limit=limit)


def _room_for(tx: ReadTx, me: Me, room: Room, count: int) -> None:
    """Whether so many more fit into this group."""
    if tx.member_count(room.id) + count > me.settings.limits.group_members:
        raise Refusal("LIMIT", room=room.name)


def _admin_names(tx: ReadTx, room: Room) -> list[str]:
    return [admin.account.name for admin in tx.admins(room.id)]


@command("/join <room>", topic="Groups", example="/join #ops")
def join(tx: Tx, me: Me, room: str | int) -> Reply:
    """Go into a group: make it current, or ask its admins to be let in. A group that does not exist is made."""
    found: Room | None
    if isinstance(room, int):
        found = tx.room(room, me.account) if is_id(room) else None
        if found is None or found.kind is not Kind.GROUP or not found.name:
            raise Refusal("NO_GROUP", room=str(room)[:LONGEST_ID], near="")
    else:
        name = fold_group(room)
        found = tx.group(name)
        if found is None:
            if not me.settings.autocreate:
                raise Refusal("NO_GROUP", room=name, near="")
            made, seq = _make(tx, me, name, sealed=False)
            return Reply("autocreated", {"seq": seq} | _place(made), Turn(room=made))
    found = found._replace(role=tx.role(found.id, me.account))
    if found.role is not Role.NONE:
        return Reply("now_in", _place(found), Turn(room=found))
    code = rules.may_enter(found.door, tx.banned(found.id, me.account))
    if code == "PENDING":
        return _ask_to_join(tx, me, found)
    if code is not None:
        raise Refusal(code, room=found.name, admins=_admin_names(tx, found))
    _room_for_one_more(tx, me, Account(me.account, ""))
    _room_for(tx, me, found, 1)
    seq = _enter(tx, found, me.account, Account(me.account, me.name), "open")
    found = found._replace(role=Role.MEMBER)
    return Reply("now_in", {"seq": seq} | _place(found), Turn(room=found))


def _place(room: Room) -> dict[str, Any]:
    """A room as a reply names it."""
    return {
        "room": room.name,
        "room_id": room.id,
        "role": room.role.name.lower(),
        "sealed": room.sealed,
        "door": room.door,
    }


def _ask_to_join(tx: Tx, me: Me, room: Room) -> Reply:
    """Put the request to every admin, online or not."""
    admins = tx.admins(room.id)
    names = [admin.account.name for admin in admins]
    since = tx.requested(room.id, me.account)
    if since is not None:
        raise Refusal("PENDING", at=since, admins=names)
    _room_for_one_more(tx, me, Account(me.account, ""))
    tx.add_request(room.id, me.account)
    about = {"room": room.id, "name": room.name}
    seqs = [tx.append("asked", tx.inbox(admin.account.id), me.account, data=about) for admin in admins]
    return Reply("asked", {"seq": seqs[0], "room": room.name, "room_id": room.id, "admins": names})


@command("/leave", needs=Needs.MEMBER, topic="Groups", example="/leave #ops", optional=("reason",))
def leave(tx: Tx, me: Me, room: Room, reason: str | int = "") -> Reply:
    """Leave a group. The owner hands it over first; the last one out closes it."""
    _groups_only(room, "/leave")
    _short_enough(me, str(reason))
    others = tx.member_count(room.id) - 1
    guest = room.role is Role.OWNER and tx.kind_of(me.account) == "guest"
    if rules.may_leave(room.role, others) is not None and not guest:
        raise Refusal("OWNER_STAYS", room=room.name)
    seq = go_out(tx, room, me.account, str(reason))
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
        raise Refusal("NO_ROOM")
    return Reply("closed_view", {"room": room.name, "room_id": room.id}, Turn(leave_room=True))


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
            for number, request in enumerate(tx.requests(room.id), 1)
        ],
    }


@command("/approve [who]", aliases=["/2"], needs=Needs.ADMIN, topic="Admin", example="/approve bob")
def approve(tx: Tx, me: Me, room: Room, who: str | int = "") -> Reply | Ask:
    """Let somebody in who asked to join: by name, by number (see /requests), or all."""
    chosen = _choose(tx, room, who, "approve")
    if isinstance(chosen, Ask):
        return chosen
    _room_for(tx, me, room, len(chosen))
    for request in chosen:
        _room_for_one_more(tx, me, request.account)
    seqs = [_enter(tx, room, me.account, request.account, "approved") for request in chosen]
    return Reply("done", {"seq": seqs[0], "approved": [request.account.name for request in chosen]})


@command("/deny [who] [reason...]", needs=Needs.ADMIN, topic="Admin", example="/deny bob not now")
def deny(tx: Tx, me: Me, room: Room, who: str | int = "", reason: str = "") -> Reply | Ask:
    """Do not let somebody in who asked to join. They are told, and may ask again."""
    _short_enough(me, reason)
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


@command("/add <user>", needs=Needs.ADMIN, topic="Admin", example="/add bob")
def add(tx: Tx, me: Me, room: Room, user: Account) -> Reply:
    """Put somebody into this group."""
    if tx.role(room.id, user.id) is not Role.NONE:
        raise Refusal("ALREADY", name=user.name, room=room.name)
    if tx.banned(room.id, user.id):
        raise Refusal("IS_BANNED", name=user.name, room=room.name)
    _room_for_one_more(tx, me, user)
    _room_for(tx, me, room, 1)
    return Reply("done", {"seq": _enter(tx, room, me.account, user, "added")})


@command("/remove <user> [reason...]", needs=Needs.ADMIN, topic="Admin", example="/remove bob")
def remove(tx: Tx, me: Me, room: Room, user: Account, reason: str = "") -> Reply:
    """Put somebody out of this group, as /kick does."""
    return Reply("done", {"seq": _remove(tx, me, room, user, reason, "/remove")})


@command("/kick <user> [reason...]", aliases=["/8"], needs=Needs.ADMIN, topic="Admin", example="/kick bob spam")
def kick(tx: Tx, me: Me, room: Room, user: Account, reason: str = "") -> Reply:
    """Put somebody out of this group. Nobody can remove the owner, and only the owner an admin."""
    return Reply("done", {"seq": _remove(tx, me, room, user, reason, "/kick")})


def _remove(tx: Tx, me: Me, room: Room, user: Account, reason: str, verb: str, *, ban: bool = False) -> int:
    """Somebody is out after this event, which they still hear; its seq."""
    role = tx.role(room.id, user.id)
    if role is Role.NONE:
        raise Refusal("NOT_THERE", name=user.name, room=room.name)
    _may_remove(tx, room, user, role, verb)
    _short_enough(me, reason)
    data = {"name": room.name} | ({"ban": True} if ban else {})
    seq = tx.append("removed", room.id, me.account, target=user.id, text=reason or None, data=data)
    tx.end_member(room.id, user.id, seq)
    return seq


def _may_remove(tx: ReadTx, room: Room, user: Account, role: Role, verb: str) -> None:
    code = rules.may_remove(room.role, role)
    if code == "OWNER_SAFE":
        raise Refusal("OWNER_SAFE", name=user.name, room=room.name)
    if code is not None:
        refuse_role(tx, code, room, verb)


def _short_enough(me: Me, reason: str) -> None:
    limit = me.settings.limits.reason_characters
    if len(reason) > limit:
        raise Refusal("TOO_LONG", size=len(reason), limit=limit)


@command("/ban <user> [reason...]", needs=Needs.ADMIN, topic="Admin", example="/ban bob spam")
def ban(tx: Tx, me: Me, room: Room, user: Account, reason: str = "") -> Reply:
    """Keep somebody out of this group, and put them out if they are in."""
    if user.id == me.account:
        raise Refusal("SELF")
    if tx.banned(room.id, user.id):
        raise Refusal("IS_BANNED", name=user.name, room=room.name)
    if tx.role(room.id, user.id) is Role.NONE:
        _short_enough(me, reason)
        seq = tx.append("banned", room.id, me.account, target=user.id, text=reason or None)
    else:
        seq = _remove(tx, me, room, user, reason, "/ban", ban=True)
    tx.add_ban(room.id, user.id, me.account, reason)
    return Reply("done", {"seq": seq})


@command("/unban <user>", needs=Needs.ADMIN, topic="Admin", example="/unban bob")
def unban(tx: Tx, me: Me, room: Room, user: Account) -> Reply:
    """Let somebody in again who was kept out: they may join, or ask to."""
    if not tx.banned(room.id, user.id):
        raise Refusal("NOT_BANNED", name=user.name, room=room.name)
    tx.drop_ban(room.id, user.id)
    return Reply("done", {"seq": tx.append("unbanned", room.id, me.account, target=user.id)})


@command("/bans", needs=Needs.ADMIN, topic="Admin", read=True)
def bans(tx: ReadTx, me: Me, room: Room) -> Reply:
    """Who is kept out of this group, by whom and why."""
    listed = [{"name": who.name, "account": who.id, "by": by, "why": why} for who, by, why in tx.bans(room.id)]
    return Reply("bans", {"room": room.name, "room_id": room.id, "bans": listed})


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


@command("/roster", needs=Needs.MEMBER, topic="")
def roster(tx: Tx, me: Me, room: Room) -> Reply:
    """Who is in this room, and what it is about (programs). It goes the way of what is written: the events that come
    after the answer continue it."""
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
    fields = {"topic": tx.topic(room.id), "door": room.door, "sealed": room.sealed, "members": listed}
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


# -- ranks ------------------------------------------------------------------------------------------------------------


@command("/promote <user>", needs=Needs.OWNER, topic="Admin", example="/promote bob")
def promote(tx: Tx, me: Me, room: Room, user: Account) -> Reply:
    """Make a member an admin of this group."""
    return _rank(tx, me, room, user, Role.ADMIN, "promoted")


@command("/demote <user>", needs=Needs.OWNER, topic="Admin", example="/demote bob")
def demote(tx: Tx, me: Me, room: Room, user: Account) -> Reply:
    """Make an admin of this group an ordinary member again."""
    return _rank(tx, me, room, user, Role.MEMBER, "demoted")


def _rank(tx: Tx, me: Me, room: Room, user: Account, role: Role, kind: str) -> Reply:
    before = tx.role(room.id, user.id)
    if before is Role.NONE:
        raise Refusal("NOT_THERE", name=user.name, room=room.name)
    if before is Role.OWNER and role is Role.MEMBER:
        raise Refusal("OWNER_STAYS", room=room.name)
    if before is role or before is Role.OWNER:
        raise Refusal("SAME_ROLE", name=user.name, room=room.name, role=before.name.lower())
    seq = tx.append(kind, room.id, me.account, target=user.id)
    tx.set_role(room.id, user.id, role, seq)
    return Reply("done", {"seq": seq})


@command(
    "/transfer <user>",
    aliases=["/6"],
    needs=Needs.OWNER,
    topic="Admin",
    example="/transfer bob",
    optional=("confirmed",),
)
def transfer(tx: Tx, me: Me, room: Room, user: Account, confirmed: bool = False) -> Reply | Ask:
    """Give this group to another member. You stay in it as an ordinary member."""
    role = tx.role(room.id, user.id)
    if role is Role.NONE:
        raise Refusal("NOT_THERE", name=user.name, room=room.name)
    if role is Role.OWNER:
        raise Refusal("SAME_ROLE", name=user.name, room=room.name, role="owner")
    if not confirmed:
        return Ask("confirmed", "transfer.confirmed", {"name": user.name, "room": room.name})
    seq = tx.append("transferred", room.id, me.account, target=user.id, data={"name": room.name})
    tx.set_role(room.id, me.account, Role.MEMBER, seq)
    tx.set_role(room.id, user.id, Role.OWNER, seq)
    return Reply("done", {"seq": seq})


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
    text = "" if text == "-" else text
    seq = tx.append("topic", room.id, me.account, text=text)
    tx.set_topic(room.id, text)
    return Reply("done", {"seq": seq})


@command("/door [door]", needs=Needs.MEMBER, topic="Admin", example="/door open")
def door(tx: Tx, me: Me, room: Room, door: str | int = "") -> Reply:
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
    seq = tx.append("door", room.id, me.account, data={"door": wanted})
    tx.set_door(room.id, wanted)
    return Reply("done", {"seq": seq})


@command("/rename <name>", needs=Needs.OWNER, topic="Admin", example="/rename #dev")
def rename(tx: Tx, me: Me, room: Room, name: str | int) -> Reply:
    """Give this group another name. Its members and its past stay."""
    wanted = fold_group(str(name))
    if tx.group(wanted) is not None:
        raise Refusal("NAME_TAKEN", name=wanted, free=_free(tx, wanted))
    seq = tx.append("renamed", room.id, me.account, text=wanted, data={"was": room.name})
    tx.set_name(room.id, wanted)
    return Reply("done", {"seq": seq, "room": wanted})
