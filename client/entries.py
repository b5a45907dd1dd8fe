"""Whether an event of a sealed group says what its actor has signed (E2E.md §6).

The rule: who did what to whom is the entry's word, not the event's. Only a reason and the time are the server's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from chatd.model import Role

if TYPE_CHECKING:
    from client.crypto.roomlog import Entry, Log, Member

ACTIONS: Final = {
    "created": ("create",),
    "joined": ("add", "join"),
    "left": ("leave",),
    "closed": ("leave",),
    "removed": ("remove", "ban"),
    "banned": ("ban",),
    "unbanned": ("unban",),
    "promoted": ("promote",),
    "demoted": ("demote",),
    "transferred": ("transfer",),
    "renamed": ("name",),
    "door": ("door",),
}
"""A kind of event → what its entry can be."""
INHERITED: Final = "inherited"
"""What follows from the entry before it, and has none of its own."""
SIGNED: Final = frozenset((*ACTIONS, INHERITED))
"""Events of a sealed group that are believed only where entries say the same."""


def says(line: Mapping[str, Any], entry: Entry) -> bool:
    """Whether the event says what the entry says."""
    data = line.get("data") or {}
    if entry.action not in ACTIONS.get(line["ev"], ()) or line.get("by_id") != entry.actor:
        return False
    match entry.action:
        case "create":
            return bool(f"{data.get('door')} {data.get('name')}" == entry.value)
        case "name":
            return bool(line.get("text") == entry.value)
        case "door":
            return bool(data.get("door") == entry.value)
        case "leave":
            return True
        case "remove" | "ban" if line["ev"] == "removed" and bool(data.get("ban")) != (entry.action == "ban"):
            return False
    return bool(line.get("who_id") == entry.target)


def inherits(line: Mapping[str, Any], log: Log) -> bool:
    """Whether this member became the owner when that one left."""
    before: Mapping[int, Member] = {}
    for _, members in log.past:
        owner, heir = _owner(before), _owner(members)
        if owner == line.get("by_id") and owner not in members and heir == line.get("who_id"):
            return True
        before = members
    return False


def _owner(members: Mapping[int, Member]) -> int | None:
    return next((account for account, member in members.items() if member.role is Role.OWNER), None)


def proof(line: Mapping[str, Any]) -> bytes | None:
    """The entry that an event carries; None: there is none."""
    from client.crypto import encoding

    try:
        return encoding.data(line.get("proof"))
    except encoding.Malformed:
        return None
