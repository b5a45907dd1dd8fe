"""What one says of oneself and sees of others.

The rule: nothing here is secret from who has an account.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from chatd.command import command
from chatd.commands.guessing import (
    is_throttled,
    miss,
)
from chatd.errors import Refusal
from chatd.model import Account, Kind, Me, Reply, Turn
from chatd.rules import Needs

if TYPE_CHECKING:
    from chatd.store import ReadTx, Tx


@command("/oper <name> <password>", topic="")
def oper(tx: Tx, me: Me, name: str | int, password: str | int) -> Reply | Refusal:
    """Become an operator of this server for as long as this connection lasts, by the configured name and password."""
    is_throttled(tx, me, "oper")
    wanted = "\0".join(me.settings.oper).encode()
    if not all(me.settings.oper) or not secrets.compare_digest(
        f"{name}\0{password}".encode("utf-8", "replace"), wanted
    ):
        return miss(tx, me, "oper", "BAD_LOGIN", own=False)
    return Reply("oper", {}, Turn(operator=True))


@command("/whoami", topic="You", read=True)
def whoami(tx: ReadTx, me: Me) -> Reply:
    """Your name, and where you are."""
    room = tx.room(me.room, me.account) if me.room else None
    return Reply(
        "whoami",
        {
            "name": me.name,
            "account": me.account,
            "room": room.name if room is not None else "",
            "role": room.role.name.lower() if room is not None else "",
            "node": tx.node,
        },
    )


@command("/whois <user>", topic="You", example="/whois bob", read=True, optional=("roles",))
def whois(tx: ReadTx, me: Me, user: Account, roles: str | int = "") -> Reply:
    """Who somebody is: since when, online or not, and the groups you share."""
    mine = {room.id: room.name for room in tx.rooms_of(me.account) if room.kind is Kind.GROUP}
    shared = [room for room in tx.rooms_of(user.id) if room.id in mine]
    fields: dict[str, Any] = {
        "name": user.name,
        "account": user.id,
        "online": tx.is_online(user.id),
        "away": tx.away(user.id),
        "since": tx.created(user.id),
        "groups": [room.name for room in shared],
    }
    if roles:
        fields["roles"] = {room.name: room.role.name.lower() for room in shared}
    return Reply("whois", fields)


@command("/away [text...]", topic="You", example="/away lunch")
def away(tx: Tx, me: Me, text: str = "") -> Reply:
    """Say that you are away, or, without a text, that you are back."""
    limit = me.settings.limits.away_characters
    if len(text) > limit:
        raise Refusal("TOO_LONG", size=len(text), limit=limit)
    tx.set_away(me.account, text or None)
    return Reply("away" if text else "back", {"text": text}, Turn(stirs=True))


@command("/ack <seq>", topic="")
def ack(tx: Tx, me: Me, seq: int | str) -> Reply:
    """Everything up to this seq was shown (programs)."""
    if not str(seq).isdecimal() or len(str(seq)) > 18:
        raise Refusal("BAD_USAGE", usage="/ack <seq>")
    tx.save_cursors([(me.account, min(int(seq), tx.last_seq()))])
    return Reply("acked", {})


@command("/quit", aliases=["/3"], needs=Needs.NOTHING, topic="You", local=True)
def leave_server(tx: None, me: Me) -> Reply:
    """Leave. Your groups keep you; what is said meanwhile waits for you."""
    return Reply("bye", {}, Turn(close=True))
