"""Guests: people without an account, where the server admits them (IRC's NICK and USER alone).

The rule: a guest is an account row of its own kind, without password, tied to one session: with it go the memberships,
and the name is free again.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final

from chatd import names
from chatd.command import command
from chatd.commands.account import HOUR, arrival, free_name, welcome
from chatd.commands.guessing import is_exempt, seconds
from chatd.commands.leaving import close_account
from chatd.crowd import network
from chatd.errors import Refusal
from chatd.model import Account, Kind, Me, Reply, Turn
from chatd.rules import Needs

if TYPE_CHECKING:
    from chatd.store import Tx

GUEST_MS: Final = 15_000
"""How long after coming a guest may not be said to be connected."""


@command("/guest <name>", needs=Needs.NOTHING, topic="", after=arrival, optional=("client", "password"))
def guest(tx: Tx, me: Me, name: str | int, client: str = "", password: str | int = "", **_: Any) -> Reply | Refusal:
    """Come in without an account, under a name that is yours until you go (programs; where the server allows it)."""
    if me.account:
        raise Refusal("LOGGED_IN", name=me.name)
    if not me.settings.guests:
        raise Refusal("NOT_LOGGED_IN")
    count, until = tx.tries(f"guest:{network(me.address)}")
    if count >= me.settings.limits.guests_per_hour and not is_exempt(me):
        raise Refusal("THROTTLED", wait=seconds(until - tx.now))
    wanted = me.settings.door_password
    if wanted and not secrets.compare_digest(str(password).encode("utf-8", "replace"), wanted.encode()):
        tx.count_try(f"guest:{network(me.address)}", HOUR, 0.0)
        return Refusal("NOT_LOGGED_IN")
    folded, key = free_name(tx, str(name))
    tx.count_try(f"guest:{network(me.address)}", HOUR, 0.0)
    account = tx.add_account(folded, key, None, "guest")
    reply = welcome(tx, me, account, client=client)
    return reply._replace(fields={**reply.fields, "guest": True})


@command("/vanish [reason...]", topic="")
def vanish(tx: Tx, me: Me, reason: str = "") -> Reply:
    """What becomes of a guest who has gone: out of every group, and the name is free again."""
    if tx.kind_of(me.account) == "guest" and tx.account_by_id(me.account) is not None:
        bow_out(tx, Account(me.account, me.name), reason[: me.settings.limits.reason_characters])
    return Reply("done", {})


def sweep(tx: Tx) -> None:
    """Guests whose instance has died are gone, too."""
    for guest in tx.lost_guests(tx.now - GUEST_MS):
        bow_out(tx, guest)


def bow_out(tx: Tx, guest: Account, reason: str = "") -> None:
    """A guest is here no more. The name stands in the event, since the account will not have it any longer."""
    close_account(tx, guest.id, reason=reason, was=guest.name)
    tx.free_name(guest.id)


@command("/nick <name>", topic="")
def nick(tx: Tx, me: Me, name: str | int) -> Reply:
    """Go by another name, as a guest: the one before is free again (programs)."""
    if tx.kind_of(me.account) != "guest":
        raise Refusal("GUESTS_ONLY", name=me.name)
    folded = names.fold_account(str(name))
    key = names.skeleton(folded)
    if key != names.skeleton(me.name):
        folded, key = free_name(tx, str(name))
    data = {"was": me.name}
    seq = tx.append("nick", tx.inbox(me.account), me.account, text=folded, data=data)
    for room in tx.rooms_of(me.account):
        if room.kind is not Kind.INBOX:
            tx.append("nick", room.id, me.account, text=folded, data=data)
    tx.rename_account(me.account, folded, key)
    return Reply("done", {"seq": seq, "name": folded}, Turn(stirs=True))
