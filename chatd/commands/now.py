"""What is true only now: watching who is there, and typing; and how far a room was read.

The rule: nothing of this is in the log. watching.py tells it to the sessions that watch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from chatd.command import LONGEST_NAME, command
from chatd.errors import Refusal
from chatd.model import Me, Reply, Room, Turn
from chatd.names import fold_account
from chatd.rules import Needs

if TYPE_CHECKING:
    from chatd.store import ReadTx, Tx

MASK: Final = 4 * LONGEST_NAME
"""Characters of a mask; nobody's name is like a longer one, and the database takes none that is much longer."""


@command("/watch", topic="", local=True)
def watch(tx: None, me: Me) -> Reply:
    """From now on be told who comes, goes, is away and is typing in your rooms (programs)."""
    return Reply("done", {}, Turn(watch=True))


@command("/typing", needs=Needs.MEMBER, topic="", read=True)
def typing(tx: ReadTx, me: Me, room: Room) -> Reply:
    """Say that you are typing in this room; every few seconds, while you are (programs)."""
    return Reply("done", {}, Turn(typing=room.id))


@command("/monitor [people...]", topic="", read=True)
def monitor(tx: ReadTx, me: Me, people: Sequence[str | int] = ()) -> Reply:
    """Be told when these people come and go, whether you share a room with them or not; it replaces whom you named
    before (programs)."""
    if len(people) > me.settings.limits.monitored_people:
        raise Refusal("BAD_USAGE", usage="/monitor [people...]")
    names: dict[str, None] = {}
    for typed in people:
        try:
            names[fold_account(str(typed))] = None
        except Refusal:
            continue  # nobody can have it, so nobody of that name is there
    found = tx.how_are(names)
    whose = dict.fromkeys(names, 0) | {name: account for name, account, _ in found}
    return Reply("monitored", {"people": found}, Turn(monitor=whose))


@command("/who <mask>", topic="", read=True)
def who(tx: ReadTx, me: Me, mask: str | int) -> Reply:
    """Who shares a room with you and is called like this: * is anything, ? one character (programs)."""
    if len(str(mask)) > MASK:
        return Reply("who", {"people": []})
    found = tx.like(me.account, str(mask).lower(), me.settings.limits.history_lines_most)
    listed = [{"name": name, "account": who, "away": away, "online": online} for name, who, away, online in found]
    return Reply("who", {"people": listed})


@command("/marker [time]", needs=Needs.MEMBER, topic="")
def marker(tx: Tx, me: Me, room: Room, time: str | int = "") -> Reply:
    """Up to which time (ms) you have read this room, on any of your devices; it is moved to a later one if that is
    given (programs)."""
    before = tx.marker(me.account, room.id)
    fields = {"room": room.name, "room_id": room.id}
    if time == "":
        return Reply("marker", fields | {"time": before})
    if not str(time).isdecimal() or len(str(time)) > 15:
        raise Refusal("BAD_USAGE", usage="/marker [time]")
    at = min(int(time), tx.now)
    if at <= before:
        return Reply("marker", fields | {"time": before})
    tx.set_marker(me.account, room.id, at)
    return Reply("marker", fields | {"time": at}, Turn(marked=(room.id, at)))
