"""Answers about groups: who is in, who asks, who may enter."""

from __future__ import annotations

from typing import Final

from chatd.texts.account import groups, now_in
from chatd.texts.words import Fields, Sentence, because, brief, clock, listed


def _created(fields: Fields) -> str:
    parts = [f"{fields['room']} created. You are admin."]
    parts += [f"Added {listed(fields['added'])}."] if fields["added"] else []
    parts += [f"No such person: {listed(map(brief, fields['unknown']))}."] if fields["unknown"] else []
    parts += [f"In too many groups: {listed(fields['full'])}."] if fields["full"] else []
    return f"{' '.join(parts)}\n{now_in(fields['room'], 'owner')}"


def _requests(fields: Fields) -> str:
    if not fields["requests"]:
        return f"No pending join requests in {fields['room']}."
    return "  ".join(f"{entry['n']} {entry['name']} {clock(entry['at'])}" for entry in fields["requests"])


def _denied(fields: Fields) -> str:
    return f"{listed(fields['denied'])} may not join {fields['room']}, and will be told."


def _members(fields: Fields) -> str:
    names = " ".join(
        f"{member['name']} ({member['role']})" if member["role"] in ("owner", "admin") else member["name"]
        for member in fields["members"]
    )
    return f"{fields['room']} {len(fields['members']):,}: {names}"


def _online(fields: Fields) -> str:
    names = f": {listed(fields['online'])}" if fields["online"] else ""
    return f"{fields['room']} {len(fields['online']):,} of {fields['members']:,} online{names}"


def _admins(fields: Fields) -> str:
    admins = f"; admins {listed(fields['admins'])}" if fields["admins"] else ""
    return f"{fields['room']} owner {fields['owner']}{admins}"


def _groups(fields: Fields) -> str:
    others = f"\nOthers: {'  '.join(fields['others'])}" if fields["others"] else ""
    return groups(fields["rooms"]) + others


def _bans(fields: Fields) -> str:
    if not fields["bans"]:
        return f"Nobody is banned from {fields['room']}."
    return "\n".join(f"{entry['name']} by {entry['by']}{because(entry['why'])}" for entry in fields["bans"])


DOORS: Final = {"open": "anybody may join", "ask": "an admin approves who joins", "invite": "by /add only"}

REPLIES: Final[dict[str, Sentence]] = {
    "now_in": lambda fields: now_in(fields["room"], fields["role"]),
    "created": _created,
    "autocreated": lambda fields: (
        f"{fields['room']} did not exist: created. You are admin.\n{now_in(fields['room'], 'owner')}"
    ),
    "asked": lambda fields: f"Asked the admins of {fields['room']} ({listed(fields['admins'])}). You will be told.",
    "requests": _requests,
    "denied": _denied,
    "members": _members,
    "online": _online,
    "admins": _admins,
    "groups": _groups,
    "bans": _bans,
    "topic": lambda fields: (
        f"Topic of {fields['room']}: {fields['topic']}" if fields["topic"] else f"{fields['room']} has no topic."
    ),
    "door": lambda fields: f"Door of {fields['room']}: {fields['door']} ({DOORS[fields['door']]}).",
    "closed_view": "Left the view of {room}; you are still in it.",
    "roster": "",
    "marker": "",
    "directory": "",
}
