"""Refusals, by code. FEATURES.md §3 has the words of most."""

from __future__ import annotations

from typing import Final

from chatd.texts.words import Fields, Sentence, brief, clock, listed, safe, said, size, span, times, wait


def refusal(code: str, fields: Fields) -> list[str]:
    """The sentence of a refusal and, where there is one, the line that says who can help or what to type."""
    return said(REFUSALS[code], safe(fields))


def _near(fields: Fields) -> str:
    return f" Did you mean {fields['near']}?" if fields["near"] else ""


def _name_taken(fields: Fields) -> str:
    free = f" Free: {listed(fields['free'])}." if fields["free"] else ""
    return f'"{fields["name"]}" is taken.{free}'


def _bad_name(fields: Fields) -> str:
    if fields["what"] == "group":
        return f'"{fields["name"]}" cannot be the name of a group.\nUse # and 1 to 32 of a-z 0-9 . _ -'
    return f'"{fields["name"]}" cannot be a user name.\nUse 2 to 32 of a-z 0-9 . _ - (a few names are reserved).'


_UNMET: Final = {
    "length": "{length}+ characters",
    "capital": "a capital letter",
    "number": "a number",
    "name": "something other than your name",
    "common": "something less common",
}


def _bad_password(fields: Fields) -> str:
    if "again" in fields["unmet"]:
        return "The two passwords differ."
    return f"Password needs: {listed(_UNMET[key].format_map(fields) for key in fields['unmet'])}."


def _left(fields: Fields) -> str:
    left = fields["left"]
    return f" {times(left, 'try', 'tries')} left." if left > 0 else ""


def _bad_login(fields: Fields) -> str:
    return f"{'Wrong password' if fields['own'] else 'Wrong name or password'}.{_left(fields)}"


def _bad_code(fields: Fields) -> str:
    return f"Wrong code.{_left(fields)}"


def _no_group(fields: Fields) -> str:
    room = fields["room"]
    if room.startswith("@"):
        return f"You have not talked with {room[1:]} yet.\n/dm {room[1:]}"
    return f"No such group: {room}.{_near(fields)}"


def _pending(fields: Fields) -> str:
    return f"Already asked at {clock(fields['at'])}; waiting for {listed(fields['admins'])}."


def _only_admin(fields: Fields) -> str:
    if fields["room"].startswith("@"):
        return _groups_only(fields)
    adding = fields["command"] in ("/add", "/remove")
    what = "Only admin can add/remove participants" if adding else f"Only admin can do that: {fields['command']}"
    return f"{what}\nAdmins of {fields['room']}: {listed(fields['admins'])}."


def _groups_only(fields: Fields) -> str:
    return f"Only groups have that: {fields['command']}\n{fields['room']} is a conversation of two."


def _unknown_command(fields: Fields) -> str:
    help_ = "" if fields["near"] else "\n/help lists the commands."
    return f"Unknown command {fields['command']}.{_near(fields)} Not sent.{help_}"


def _groups_full(fields: Fields) -> str:
    if fields["name"]:
        return f"{fields['name']} is in {times(fields['limit'], 'group')} already."
    return f"You are in {times(fields['limit'], 'group')} already.\n/leave one of them first."


_CERTIFICATE: Final = {
    "none": "This connection came without a certificate.\n/cert add SHA256 registers another one.",
    "unknown": "That certificate logs nobody in.",
    "taken": "That certificate is registered already.",
    "many": "You have {name} certificates already.\n/cert drop N",
    "form": '"{name}" is no SHA-256: 64 digits of 0-9 a-f.',
}


_ROLE: Final = {"owner": "the owner", "admin": "an admin", "member": "an ordinary member"}

REFUSALS: Final[dict[str, Sentence]] = {
    "NAME_TAKEN": _name_taken,
    "BAD_NAME": _bad_name,
    "BAD_PASSWORD": _bad_password,
    "BAD_LOGIN": _bad_login,
    "BAD_CERTIFICATE": lambda fields: _CERTIFICATE.get(fields["why"], _CERTIFICATE["unknown"]).format_map(fields),
    "THROTTLED": lambda fields: f"Too many tries. Wait {wait(fields['wait'])}.",
    "CODE_NEEDED": (
        "A code of your second factor is needed.\nIRC clients cannot give one: they log in by certificate, /cert."
    ),
    "BAD_CODE": _bad_code,
    "FACTOR": lambda fields: (
        "A second factor is on already.\n/totp off" if fields["on"] else "You have no second factor.\n/totp on"
    ),
    "BY_INVITATION": "This server takes new accounts by invitation only.",
    "BAD_INVITATION": "That invitation is used up, over, or mistyped.",
    "REG_CLOSED": "This server takes no new accounts.",
    "NOT_LOGGED_IN": "Log in first: /login or /register.",
    "GUESTS_ONLY": "You are {name}: only guests change their name.",
    "LOGGED_IN": "You are {name}. /logout first.",
    "NO_USER": lambda fields: f"No such person: {brief(fields['name'])}.{_near(fields)}",
    "NO_GROUP": _no_group,
    "NO_ROOM": lambda fields: (
        f"No room is open.{' Nothing was sent.' if fields['sends'] else ''}\n/join #group or /dm person opens one."
    ),
    "NOT_MEMBER": "You are not in {room}. /join {room}",
    "NOT_THERE": "{name} is not in {room}.",
    "ALREADY": "{name} is already in {room}.",
    "SAME_ROLE": lambda fields: (
        f"{fields['name']} is {_ROLE.get(fields['role'], fields['role'])} of {fields['room']} already."
    ),
    "PENDING": _pending,
    "NO_REQUESTS": "No pending join requests in {room}.",
    "NO_REQUEST": "{name} has not asked to join {room}.",
    "BANNED": lambda fields: (
        f"You are banned from {fields['room']}.\nAdmins of {fields['room']}: {listed(fields['admins'])}."
    ),
    "IS_BANNED": "{name} is banned from {room}.\n/unban {name}",
    "NOT_BANNED": "{name} is not banned from {room}.",
    "INVITE_ONLY": lambda fields: (
        f"{fields['room']} is entered by invitation only.\nAdmins of {fields['room']}: {listed(fields['admins'])}."
    ),
    "GROUPS_ONLY": _groups_only,
    "SELF": "That is you.",
    "ONLY_ADMIN": _only_admin,
    "ONLY_OWNER": "Only the owner can do that: {command}\nOwner of {room}: {owner}.",
    "OWNER_STAYS": "Give {room} to somebody first: /transfer",
    "OWNER_SAFE": "{name} owns {room} and cannot be removed.",
    "OPERATORS_ONLY": "Only operators of this server can do that: {command}",
    "TOO_LONG": "{size:,} of {limit:,} characters.",
    "LINE_TOO_LONG": "More than {size:,} of {limit:,} characters. Skipped.",
    "RATE": lambda fields: f"Slow down: {wait(fields['wait'])}.",
    "QUOTA": lambda fields: f"{size(fields['size'])}, you have {size(fields['left'])} left.",
    "LIMIT": "{room} is full.",
    "GROUPS_FULL": _groups_full,
    "NO_FILE": "No such file: {file}.",
    "NOT_YOURS": "{name} sent file {file}. Only who sent a file can take it back.",
    "TICKET": "That ticket is used up.",
    "FILE_CUT": lambda fields: (
        f"{size(fields['got'])} of {size(fields['size'])} came. Send it again: it goes on there."
    ),
    "CHECKSUM": "What came is not what was to come. Nothing was kept; send it again.",
    "DISK_FULL": "The server's disk is full. Nothing was kept; try again later.",
    "E2E_ONLY": "{room} is end-to-end encrypted; this connection cannot decrypt. Use chat.",
    "NO_DEVICE": "This device is none of yours. /devices",
    "NO_KEYS": "{name} has no keys here. /dm --open {name} talks in clear: the server can read it.",
    "BAD_PROOF": "What was signed does not fit what was asked ({what}).",
    "BAD_USAGE": "Usage: {usage}",
    "UNKNOWN_CMD": _unknown_command,
    "BAD_LINE": "That line is not valid here.",
    "MID_REUSED": "That mid already stands for something else: {mid}.",
    "STALE": "The group has changed meanwhile; read it again, then repeat.",
    "SECRET_IN_LINE": "Do not type passwords in a command. Use: /login {name}",
    "FULL": "This server is full. Try again later.",
    "CROWDED": "Too many connections from your address: {limit:,} at once.",
    "SLOW": lambda fields: f"Nobody logged in here for {wait(fields['seconds'])}. Connect again.",
    "IDLE": lambda fields: f"Nothing came from here for {span(fields['seconds'])}. Connect again.",
    "BUSY": "The server cannot write just now. Nothing was changed; try again.",
    "DRAINING": "This server is closing; reconnect.",
    "INTERNAL": "Something broke here; it is logged as {ref}. Nothing was changed.",
}
"""By code. FEATURES.md §3 has the words of most."""
