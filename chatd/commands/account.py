"""Who I am: registering and logging in. What an account has beyond that stands in devices and people.

The rule: a password is hashed or checked on the password thread, before the transaction; the transaction checks again
whatever may have changed meanwhile.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from chatd import codes, names, passwords
from chatd.command import Settings, Slow, command
from chatd.command import table as command_table
from chatd.commands import keys
from chatd.commands.guessing import (
    Checked,
    check,
    is_exempt,
    is_right,
    is_throttled,
    miss,
    seconds,
)
from chatd.crowd import network
from chatd.errors import Refusal
from chatd.model import Account, Ask, Call, Kind, Me, Reply, Turn
from chatd.rules import Needs

if TYPE_CHECKING:
    from chatd.store import ReadTx, Tx

PROTOCOL: Final = 1
"""The version of the json dialect."""
PEOPLE: Final = 50
"""How many people a login is told of; programs ask for more."""
HOUR: Final = 3600.0
DAY_MS: Final = 86_400_000
COMING: Final = ("client", "since", "later")
"""What whoever comes in may say of how: see `welcome`."""
COMING_BACK: Final = (*COMING, "device")
"""And who has been here before."""


def arrival(tx: ReadTx, account: Account, settings: Settings) -> dict[str, Any]:
    """What somebody is told who has come in: read beside the writer, since it may be much."""
    seq = tx.last_seq()
    cursor = tx.cursor(account.id)
    rooms = tx.rooms_of(account.id)
    missed = dict(tx.missed(account.id, cursor, seq))
    current = tx.last_room(account.id)
    groups = [room for room in rooms if room.kind is Kind.GROUP]
    if all(room.id != current for room in rooms):
        current = groups[0].id if groups else 0
    people = [(name, online) for name, online in tx.people(PEOPLE + 1) if name != account.name]
    named = {room.id: room.name for room in rooms}
    return {
        "name": account.name,
        "account": account.id,
        "seq": seq,
        "cursor": cursor,
        "current": current,
        "people": people[:PEOPLE],
        "more_people": max(0, tx.account_count() - 1 - len(people[:PEOPLE])),
        "rooms": [
            {
                "room": room.name,
                "room_id": room.id,
                "kind": room.kind,
                "role": room.role.name.lower(),
                "sealed": room.sealed,
                "door": room.door,
                "new": missed.get(room.id, 0),
            }
            for room in rooms
            if room.kind is not Kind.INBOX
        ],
        "long_absence": sum(missed.values()) > settings.limits.replay_lines,
        "missed": [(named[room], count) for room, count in missed.items() if room in named],
        "requests": [
            {"room": room.name, "room_id": room.id, "name": request.account.name, "at": request.at, "current": current}
            | ({"ak": request.key} if request.key else {})
            for room, request in tx.requests_to(account.id)
        ],
    } | ({"motd": list(settings.motd)} if settings.motd else {})


# -- registering ------------------------------------------------------------------------------------------------------


def free_name(tx: ReadTx, typed: str) -> tuple[str, str]:
    """The folded name and its look-alike key, if nobody has it."""
    name = names.fold_account(typed)
    key = names.skeleton(name)
    if tx.looks_like(key):
        free = names.suggestions(name, lambda other: tx.looks_like(names.skeleton(other)))
        raise Refusal("NAME_TAKEN", name=typed, free=list(free))
    return name, key


def _may_register(tx: ReadTx, me: Me) -> None:
    if me.account:
        raise Refusal("LOGGED_IN", name=me.name)
    if me.settings.registration == "closed":
        raise Refusal("REG_CLOSED")
    count, until = tx.tries(f"reg:{network(me.address)}")
    if count >= me.settings.limits.registrations_per_hour and not is_exempt(me):
        raise Refusal("THROTTLED", wait=seconds(until - tx.now))


def _prepare_register(
    tx: ReadTx,
    me: Me,
    call: Call,
    name: str = "",
    password: str = "",
    again: str = "",
    code: str | int = "",
    **_: Any,
) -> Slow | Ask:
    _may_register(tx, me)
    if me.settings.registration == "invited":
        if not code:
            return Ask("code", "register.code", {}, refusal=Refusal("BY_INVITATION"))
        _invitation(tx, str(code))
    if not name:
        return Ask("name", "register.name", {})
    folded = free_name(tx, str(name))[0]
    policy = me.settings.policy
    if not password:
        return Ask("password", "register.password", {"policy": policy_of(me)}, secret=True)
    if unmet := passwords.unmet(policy, str(password), folded):
        raise Refusal("BAD_PASSWORD", unmet=list(unmet), length=policy.length)
    if "password" in call.asked:
        if not again:
            return Ask("again", "register.again", {}, secret=True)
        if again != password:
            raise Refusal("BAD_PASSWORD", unmet=["again"], length=me.settings.policy.length)
    cost = me.settings.bcrypt_cost
    return Slow(lambda: passwords.hash(str(password), cost))


def _invitation(tx: ReadTx, code: str) -> int:
    """The invitation of this code, unless it is used up or over."""
    found = tx.invitation(codes.hash_code(code))
    if found is None:
        raise Refusal("BAD_INVITATION")
    return found.id


def policy_of(me: Me) -> dict[str, Any]:
    """What is asked of a password."""
    policy = me.settings.policy
    return {"length": policy.length, "capital": policy.capital, "number": policy.number}


@command(
    "/register [name] [password] [code]",
    needs=Needs.NOTHING,
    topic="You",
    example="/register bob",
    prepare=_prepare_register,
    after=arrival,
    optional=("again", *COMING),
)
def register(tx: Tx, me: Me, slow: bytes, name: str, code: str | int = "", **coming: Any) -> Reply:
    """Make an account. The password is asked for and never shown; so is an invitation, where one is needed."""
    _may_register(tx, me)
    invitation = _invitation(tx, str(code)) if me.settings.registration == "invited" else 0
    folded, key = free_name(tx, str(name))
    account = tx.add_account(folded, key, slow)
    if invitation:
        tx.use_invitation(invitation)
    tx.count_try(f"reg:{network(me.address)}", HOUR, 0.0)
    return welcome(tx, me, account, **coming)


# -- logging in -------------------------------------------------------------------------------------------------------


def _prepare_login(tx: ReadTx, me: Me, call: Call, name: str = "", password: str = "", **_: Any) -> Slow | Ask:
    if me.account:
        raise Refusal("LOGGED_IN", name=me.name)
    if not name:
        return Ask("name", "login.name", {})
    folded = _folded(str(name))
    is_throttled(tx, me, folded)
    if not password:
        return Ask("password", "login.password", {}, secret=True)
    known = tx.credentials(folded)
    return check(me, str(password), None if known is None or known.disabled else known.password)


def _folded(typed: str) -> str:
    """The account name this may mean; what is none stays as it is and fails like an unknown one."""
    try:
        return names.fold_account(typed)
    except Refusal:
        return typed[:64]


@command(
    "/login [name] [password] [code]",
    needs=Needs.NOTHING,
    topic="You",
    example="/login bob",
    prepare=_prepare_login,
    after=arrival,
    optional=COMING_BACK,
)
def login(tx: Tx, me: Me, slow: Checked, name: str, code: str | int = "", **coming: Any) -> Reply | Ask | Refusal:
    """Log in. The password is asked for and never shown; then the code, where you have a second factor."""
    folded = _folded(str(name))
    is_throttled(tx, me, folded)
    known = tx.credentials(folded)
    if not slow.right or known is None or known.password != slow.against or known.disabled:
        return miss(tx, me, folded, "BAD_LOGIN", own=False)
    if tx.factor(known.account.id) is not None:
        if not code:
            return Ask("code", "login.code", {}, refusal=Refusal("CODE_NEEDED", uri=""))
        if not is_right(tx, known.account.id, str(code)):
            return miss(tx, me, folded, "BAD_CODE")
    tx.forget_tries(f"name:{folded}")
    if slow.better is not None:
        tx.set_password(known.account.id, slow.better)
    return welcome(tx, me, known.account, **coming)


def _since(value: Any) -> int | None:
    """A program's own cursor."""
    if value is None:
        return None
    if not isinstance(value, int) or value < 0:
        raise Refusal("BAD_USAGE", usage='{"do":"login","since":812}')
    return value


def _lost(tx: ReadTx, since: int | None) -> dict[str, Any]:
    """What a program is told that has heard of things which the log has no more: a backup was restored."""
    lost = None if since is None else tx.lost_past(since)
    return {} if lost is None else {"lost": list(lost)}


def welcome(
    tx: Tx,
    me: Me,
    account: Account,
    *,
    client: str | int = "",
    since: Any = None,
    later: str | int = "",
    device: str | int = "",
    **_: Any,
) -> Reply:
    """A device is in: its token, who there is, which groups, and what was missed. `client`: which program it is;
    `since`: its own cursor; `device`: which device of the account's it is. `later`: it has the token only, and comes in
    with it once it has said all it has to say.

    @raise Refusal: NO_DEVICE.
    """
    token = secrets.token_hex(32)
    login = tx.add_login(account.id, hash_token(token), str(client)[:64], me.address)
    if later:
        return Reply("vouched", {"token": token, "name": account.name, "account": account.id})
    stock, bound = keys.bind_login(tx, account.id, login, device) if device != "" else ({}, None)
    fields = {"token": token} | stock | _lost(tx, _since(since))
    return Reply("welcome", fields, Turn(account=account, login=login, since=_since(since), device=bound))


def tidy_logins(tx: Tx, here: Iterable[int], days: int) -> None:
    """What is connected here is in use, though nobody has resumed it for long; what nobody uses ends. A day more is
    given, since other instances tell of theirs by the hour.
    """
    tx.believe()
    tx.touch_logins(here)
    tx.forget_logins(tx.steady - (days + 1) * DAY_MS)
    tx.forget_invitations()


@command(
    "/hello [token]",
    needs=Needs.NOTHING,
    topic="",
    after=arrival,
    optional=("version", "client", "since", "table", "device"),
)
def hello(
    tx: Tx,
    me: Me,
    token: str | int = "",
    version: int = PROTOCOL,
    table: str = "",
    since: Any = None,
    device: str | int = "",
    **_: Any,
) -> Reply:
    """Say which protocol a program speaks, resume a login by its token, and get the table of commands."""
    if version != PROTOCOL:
        raise Refusal("BAD_USAGE", usage='{"do":"hello","version":1}')
    fields: dict[str, Any] = {
        "version": PROTOCOL,
        "server": me.settings.server,
        "node": tx.node,
        "seq": tx.last_seq(),
        "policy": policy_of(me),
        "message_characters": me.settings.limits.message_characters,
        "default_door": me.settings.default_door,
    }
    if table != "no":
        fields["commands"] = command_table()
    if not token:
        return Reply("hello", fields)
    if me.account:
        raise Refusal("LOGGED_IN", name=me.name)
    token = str(token)
    held = hash_token(token)
    found = tx.login_by_token(held, tx.steady - me.settings.limits.session_days * DAY_MS)
    if found is None:
        raise Refusal("NOT_LOGGED_IN")
    bound: tuple[int, str] | None = None
    if device != "":
        stock, bound = keys.bind_login(tx, found.account.id, found.id, device)
        fields |= stock
    if tx.steady - found.rotated > DAY_MS:
        token = secrets.token_hex(32)
        tx.rotate_login(found.id, hash_token(token), me.address)
    else:
        tx.use_login(found.id, held, me.address)
    fields |= {"token": token} | _lost(tx, _since(since))
    return Reply("hello", fields, Turn(account=found.account, login=found.id, since=_since(since), device=bound))


def hash_token(token: str) -> str:
    """What the database keeps of a token: 256 random bits need no slow hash."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
