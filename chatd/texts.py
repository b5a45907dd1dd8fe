"""Every sentence a person reads: one catalogue for plain, irc and chat.

The rule: whatever came from people goes through `clean`, so that nothing in data can end a line or reach a terminal as
an escape; and everything here is a pure function of its arguments. The sentences are FEATURES.md's, letter by letter.

A sentence is a template over the fields (a line break in it begins the second line, which says who can help or what to
type) or, where fields decide how it reads, a function of them.
"""

from __future__ import annotations

import re
import textwrap
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from chatd.model import Event

Fields = Mapping[str, Any]
Sentence = str | Callable[[Fields], str]

PERSONAL: Final = frozenset({"joined", "left", "removed", "promoted", "demoted", "closed"})
"""Kinds of events whose text differs for the one who did it or to whom it was done."""

DOOR: Final = 'Press "l" to log in, "r" to register, "c" to close the connection: '
DOOR_AGAIN: Final = "Please press l, r or c."
SEALED: Final = "(end-to-end encrypted: use chat)"
BLANK: Final = "(removed)"
CLOSED: Final = "a closed group"
"""What a group is called that has lost its name since."""
WIDTH: Final = 79
TOPICS: Final = ("Talk", "Groups", "Admin", "Files", "Past", "You", "Also", "Keys")
TYPED: Final = {
    "Talk": ["type to talk", "@bob hi"],
    "Admin": ["#room may stand first:", "/kick #ops bob"],
    "Keys": ["Enter sends", "//x sends /x", "an empty line, or -1, ends a list"],
}
"""What the help page shows besides the commands."""

_UNSAFE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_CLAUSE: Final = re.compile(r"[.:;,](?: |$)")
_BREAK: Final = re.compile("\r\n|\n")


def clean(text: str) -> str:
    """`text` with every control character, line separator and bidi override or isolate shown as U+FFFD.

    >>> clean("a\\x1b[31m\\r\\nb")
    'a�[31m��b'
    """
    return text if text.isprintable() else _UNSAFE.sub("�", text)


def clock(at: int) -> str:
    """The local time of day of a moment in ms: `14:02`."""
    return _minute(at // 60_000)


@lru_cache(maxsize=4096)
def _minute(minute: int) -> str:
    return time.strftime("%H:%M", time.localtime(minute * 60))


def stamp(at: int) -> str:
    """The local date and time of a moment in ms: `2026-11-01 14:02:07`."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at // 1000))


def _date(at: int) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(at // 1000))


def _safe(value: Any) -> Any:
    """Fields with every text in them cleaned."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {key: _safe(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_safe(part) for part in value]
    return value


def _said(sentence: Sentence, fields: Fields) -> list[str]:
    text = sentence.format_map(fields) if isinstance(sentence, str) else sentence(fields)
    return text.split("\n") if text else []


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


def _because(why: str | None) -> str:
    return f": {why}" if why else "."


def _times(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _wait(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"


def _size(amount: float) -> str:
    """`2.1 MB`; a million bytes is one."""
    return f"{amount / 1_000_000:,.1f} MB"


def _span(seconds: float) -> str:
    """A rough length of time: `3m`."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f}{unit}"
    return f"{seconds:.0f}s"


# -- refusals ---------------------------------------------------------------------------------------------------------


def refusal(code: str, fields: Fields) -> list[str]:
    """The sentence of a refusal and, where there is one, the line that says who can help or what to type."""
    return _said(REFUSALS[code], _safe(fields))


def _near(fields: Fields) -> str:
    return f" Did you mean {fields['near']}?" if fields["near"] else ""


def _name_taken(fields: Fields) -> str:
    free = f" Free: {_listed(fields['free'])}." if fields["free"] else ""
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
    return f"Password needs: {_listed(_UNMET[key].format_map(fields) for key in fields['unmet'])}."


def _bad_login(fields: Fields) -> str:
    left = fields["left"]
    tries = f" {_times(left, 'try', 'tries')} left." if left > 0 else ""
    return f"Wrong name or password.{tries}"


def _no_group(fields: Fields) -> str:
    room = fields["room"]
    if room.startswith("@"):
        return f"You have not talked with {room[1:]} yet.\n/dm {room[1:]}"
    return f"No such group: {room}.{_near(fields)}"


def _pending(fields: Fields) -> str:
    return f"Already asked at {clock(fields['at'])}; waiting for {_listed(fields['admins'])}."


def _only_admin(fields: Fields) -> str:
    if fields["room"].startswith("@"):
        return _groups_only(fields)
    adding = fields["command"] in ("/add", "/remove")
    what = "Only admin can add/remove participants" if adding else f"Only admin can do that: {fields['command']}"
    return f"{what}\nAdmins of {fields['room']}: {_listed(fields['admins'])}."


def _groups_only(fields: Fields) -> str:
    return f"Only groups have that: {fields['command']}\n{fields['room']} is a conversation of two."


def _unknown_command(fields: Fields) -> str:
    help_ = "" if fields["near"] else "\n/help lists the commands."
    return f"Unknown command {fields['command']}.{_near(fields)} Not sent.{help_}"


def _groups_full(fields: Fields) -> str:
    if fields["name"]:
        return f"{fields['name']} is in {_times(fields['limit'], 'group')} already."
    return f"You are in {_times(fields['limit'], 'group')} already.\n/leave one of them first."


REFUSALS: Final[dict[str, Sentence]] = {
    "NAME_TAKEN": _name_taken,
    "BAD_NAME": _bad_name,
    "BAD_PASSWORD": _bad_password,
    "BAD_LOGIN": _bad_login,
    "THROTTLED": lambda fields: f"Too many tries. Wait {_wait(fields['wait'])}.",
    "REG_CLOSED": "This server takes no new accounts.",
    "NOT_LOGGED_IN": "Log in first: /login or /register.",
    "LOGGED_IN": "You are {name}. /logout first.",
    "NO_USER": lambda fields: f"No such person: {fields['name']}.{_near(fields)}",
    "NO_GROUP": _no_group,
    "NO_ROOM": "No room is open. Nothing was sent.\n/join #group or /dm person opens one.",
    "NOT_MEMBER": "You are not in {room}. /join {room}",
    "NOT_THERE": "{name} is not in {room}.",
    "ALREADY": "{name} is already in {room}.",
    "SAME_ROLE": "{name} is {role} of {room} already.",
    "PENDING": _pending,
    "NO_REQUESTS": "No pending join requests in {room}.",
    "NO_REQUEST": "{name} has not asked to join {room}.",
    "BANNED": lambda fields: (
        f"You are banned from {fields['room']}.\nAdmins of {fields['room']}: {_listed(fields['admins'])}."
    ),
    "IS_BANNED": "{name} is banned from {room}.\n/unban {name}",
    "NOT_BANNED": "{name} is not banned from {room}.",
    "INVITE_ONLY": lambda fields: (
        f"{fields['room']} is entered by invitation only.\nAdmins of {fields['room']}: {_listed(fields['admins'])}."
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
    "RATE": lambda fields: f"Slow down: {_wait(fields['wait'])}.",
    "QUOTA": lambda fields: f"{_size(fields['size'])}, you have {_size(fields['left'])} left.",
    "LIMIT": "{room} is full.",
    "GROUPS_FULL": _groups_full,
    "NO_FILE": "No such file: {file}.",
    "NO_FILES_YET": "This server has no files yet.",
    "TICKET": "That ticket is used up.",
    "E2E_ONLY": "{room} is end-to-end encrypted; this connection cannot decrypt. Use chat.",
    "BAD_USAGE": "Usage: {usage}",
    "UNKNOWN_CMD": _unknown_command,
    "BAD_LINE": "That line is not valid here.",
    "MID_REUSED": "That mid already stands for something else: {mid}.",
    "STALE": "The group has changed meanwhile; read it again, then repeat.",
    "SECRET_IN_LINE": "Do not type passwords in a command. Use: /login {name}",
    "BUSY": "The server cannot write just now. Nothing was changed; try again.",
    "DRAINING": "This server is closing; reconnect.",
    "INTERNAL": "Something broke here; it is logged as {ref}. Nothing was changed.",
}
"""By code. FEATURES.md §3 has the words of most."""


# -- replies ----------------------------------------------------------------------------------------------------------


def reply(name: str, fields: Fields) -> list[str]:
    """The lines of an answer, or of what the server says by itself; none where nothing is to be shown."""
    if name in ("history", "found"):
        return past(fields)
    return _said(REPLIES[name], _safe(fields))


def now_in(room: str, role: str) -> str:
    """Which room is current: `Now in #ops (admin).` An owner is an admin, too."""
    return f"Now in {room} (admin)." if role in ("admin", "owner") else f"Now in {room}."


BANNER: Final = "chatd: groups and conversations for people who live in a terminal."


def _banner(fields: Fields) -> str:
    return "\n".join([fields.get("banner") or BANNER, *fields.get("motd", ())])


def _welcome(fields: Fields) -> str:
    lines = [f"Welcome, {fields['name']}.", people(fields["people"], fields["more_people"]), groups(fields["rooms"])]
    if fields["missed"]:
        lines.append(away_summary(fields["missed"]))
        if fields["long_absence"]:
            lines.append("/history shows them.")
    lines += [
        asks(request["name"], request["room"], request["room_id"] == request["current"])
        for request in fields["requests"]
    ]
    return "\n".join(lines)


def people(listed: Sequence[Sequence[Any]], more: int) -> str:
    """Who there is, (name, online) each: `People: alice* bob carol*   (* online)`."""
    names = " ".join(f"{name}*" if online else f"{name}" for name, online in listed)
    if more:
        names += f" and {more:,} more"
    return f"People: {names}   (* online)" if names else "People: (none)"


def groups(rooms: Iterable[Fields]) -> str:
    """The groups among `rooms`: `Groups: #friends (3 new)  #ops (admin)`."""
    listed = []
    for room in rooms:
        if room["kind"] == "group":
            notes = ["admin"] if room["role"] in ("admin", "owner") else []
            if room.get("new"):
                notes.append(f"{room['new']:,} new")
            listed.append(f"{room['room']} ({_listed(notes)})" if notes else room["room"])
    return f"Groups: {'  '.join(listed) or '(none)'}"


def away_summary(counts: Iterable[Sequence[Any]]) -> str:
    """What was missed, (room, count) each: `12 messages while you were away (#ops 9, bob 3)`."""
    counts = [(str(room).removeprefix("@"), count) for room, count in counts]
    rooms = _listed(f"{room} {count:,}" for room, count in counts)
    return f"{_times(sum(count for _, count in counts), 'message')} while you were away ({rooms})"


def asks(name: str, room: str, current: bool) -> str:
    """A join request, as an admin is told of it."""
    where = "" if current else f"{room} "
    return f"{name} asks to join {room}: /approve {where}{name}  /deny {where}{name}"


def _logged_out_other(fields: Fields) -> str:
    client = f" ({fields['client']})" if fields["client"] else ""
    return f"Session {fields['n']}{client} is logged out."


def _sessions(fields: Fields) -> str:
    return "\n".join(
        f"{entry['n']} {entry['client'] or 'plain'} from {entry['address']} since {_date(entry['created'])},"
        f" used {stamp(entry['used'])[:-3]}{'  (this one)' if entry['this'] else ''}"
        for entry in fields["sessions"]
    )


def _password_changed(fields: Fields) -> str:
    others = fields["logged_out"]
    ended = f" {_times(others, 'other session')} logged out." if others else ""
    return f"Password changed.{ended}"


def _whoami(fields: Fields) -> str:
    where = f" {now_in(fields['room'], fields['role'])}" if fields["room"] else ""
    return f"You are {fields['name']}.{where}"


def _whois(fields: Fields) -> str:
    away = f", away: {fields['away']}" if fields["away"] else ""
    shared = f"\nIn your groups: {' '.join(fields['groups'])}" if fields["groups"] else ""
    online = "online" if fields["online"] else "offline"
    return f"{fields['name']}: {online}{away}; here since {_date(fields['since'])}{shared}"


def _created(fields: Fields) -> str:
    parts = [f"{fields['room']} created. You are admin."]
    parts += [f"Added {_listed(fields['added'])}."] if fields["added"] else []
    parts += [f"No such person: {_listed(fields['unknown'])}."] if fields["unknown"] else []
    parts += [f"In too many groups: {_listed(fields['full'])}."] if fields["full"] else []
    return f"{' '.join(parts)}\n{now_in(fields['room'], 'owner')}"


def _requests(fields: Fields) -> str:
    if not fields["requests"]:
        return f"No pending join requests in {fields['room']}."
    return "  ".join(f"{entry['n']} {entry['name']} {clock(entry['at'])}" for entry in fields["requests"])


def _denied(fields: Fields) -> str:
    return f"{_listed(fields['denied'])} may not join {fields['room']}, and will be told."


def _members(fields: Fields) -> str:
    names = " ".join(
        f"{member['name']} ({member['role']})" if member["role"] in ("owner", "admin") else member["name"]
        for member in fields["members"]
    )
    return f"{fields['room']} {len(fields['members']):,}: {names}"


def _online(fields: Fields) -> str:
    names = f": {_listed(fields['online'])}" if fields["online"] else ""
    return f"{fields['room']} {len(fields['online']):,} of {fields['members']:,} online{names}"


def _admins(fields: Fields) -> str:
    admins = f"; admins {_listed(fields['admins'])}" if fields["admins"] else ""
    return f"{fields['room']} owner {fields['owner']}{admins}"


def _groups(fields: Fields) -> str:
    others = f"\nOthers: {'  '.join(fields['others'])}" if fields["others"] else ""
    return groups(fields["rooms"]) + others


def _bans(fields: Fields) -> str:
    if not fields["bans"]:
        return f"Nobody is banned from {fields['room']}."
    return "\n".join(f"{entry['name']} by {entry['by']}{_because(entry['why'])}" for entry in fields["bans"])


DOORS: Final = {"open": "anybody may join", "ask": "an admin approves who joins", "invite": "by /add only"}


def past(fields: Fields) -> list[str]:
    """Lines of the past: `2026-11-01 14:02:07 alice: hi`, the later lines of one text marked as in `event`."""
    if not fields["lines"]:
        return [f"Nothing found in {fields['room']}." if "words" in fields else f"No messages in {fields['room']}."]
    lines = []
    for line in fields["lines"]:
        head = f"{stamp(line['at'])} {line['by']}"
        text = line["text"]
        if text is None:
            text = BLANK if line["sealed"] is None else SEALED
        first, *more = [clean(part) for part in _BREAK.split(text)]
        lines += [f"{head}: {first}", *(f"{head} | {part}" for part in more)]
    return lines


def _help(fields: Fields) -> str:
    return "\n".join(help_for(fields["command"]) if "command" in fields else help_page(fields["commands"]))


REPLIES: Final[dict[str, Sentence]] = {
    # what the server says by itself
    "banner": _banner,
    "door_wrong": DOOR_AGAIN,
    "hint": "Type to talk. /help for commands, /quit leaves.",
    "not_done": "Not done.",
    "now_in": lambda fields: now_in(fields["room"], fields["role"]),
    "closing": REFUSALS["DRAINING"],
    # answers: nothing where an event says it all, or the line itself was enough
    "done": "",
    "again": "",
    "acked": "",
    "bye": "Bye.",
    "hello": lambda fields: _welcome(fields) if "name" in fields else "",
    "pong": lambda fields: f"pong {fields['token']}".rstrip(),
    "welcome": _welcome,
    "logged_out": "Logged out.",
    "logged_out_all": lambda fields: f"Logged out everywhere: {_times(fields['count'], 'session')}.",
    "logged_out_other": _logged_out_other,
    "sessions": _sessions,
    "password_changed": _password_changed,
    "account_deleted": "Your account is deleted. Bye.",
    "whoami": _whoami,
    "whois": _whois,
    "away": "Away: {text}",
    "back": "You are back.",
    "created": _created,
    "autocreated": lambda fields: (
        f"{fields['room']} did not exist: created. You are admin.\n{now_in(fields['room'], 'owner')}"
    ),
    "asked": lambda fields: f"Asked the admins of {fields['room']} ({_listed(fields['admins'])}). You will be told.",
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
    "help": _help,
    "menu": lambda fields: "\n".join(menu(fields["menu"])),
    "whereami": lambda fields: f"node {fields['node']} of {fields['nodes']}",
    "vouched": "",
    "oper": "You are an operator of this server now.",
    "roster": "",
    "directory": "",
    "census": "",
    "past": "",
    "talks": "",
    "stats": lambda fields: (
        f"{_times(fields['accounts'], 'account')}, {fields['online']:,} online,"
        f" {_times(fields['nodes'], 'node')}, {_times(fields['seq'], 'event')}"
    ),
}
"""By name of a Reply or of a notice."""


# -- events -----------------------------------------------------------------------------------------------------------


def event(event: Event, room: str, viewer: int, current: bool) -> list[str]:
    """The lines that `viewer` (0: anybody) sees of an event in the room it calls `room`; none where nothing is shown.

    A said text of several lines has the later ones marked: `14:02 <bob> | second`.
    """
    if event.kind != "say":
        sentence = EVENTS.get(event.kind)
        return [] if sentence is None else sentence(event, room or CLOSED, viewer, current)
    at = event.at // 60_000
    if room[:1] == "@":
        who = f"[me -> {room[1:]}]" if event.by == viewer else f"[{event.by_name}]"
    elif current:
        who = f"<{event.by_name}>"
    else:
        who = f"{room or CLOSED} <{event.by_name}>"
    if event.data is not None and event.data.get("how") == "action":
        who = f"{who} *" if room[:1] == "@" else who.replace("<", "* ").replace(">", "")
    text = event.text
    if text is None:
        text = BLANK if event.sealed is None else SEALED
    elif not text.isprintable():
        first, *more = [_UNSAFE.sub("�", line) for line in _BREAK.split(text)]
        return [f"{_minute(at)} {who} {first}", *(f"{_minute(at)} {who} | {line}" for line in more)]
    return [f"{_minute(at)} {who} {text}"]


def _on_joined(event: Event, room: str, viewer: int, current: bool) -> list[str]:
    match (event.data or {}).get("how"):
        case "added":
            whom = "you" if event.who == viewer else event.who_name
            return [f"{event.by_name} added {whom} to {room}."]
        case "approved":
            return [f"{event.who_name} joined {room}, approved by {event.by_name}."]
    return [f"{event.who_name} joined {room}."]


def _on_left(event: Event, room: str, viewer: int, current: bool) -> list[str]:
    name = clean(str((event.data or {}).get("was", event.by_name)))
    return [f"You left {room}." if event.by == viewer else f"{name} left {room}."]


def _on_removed(event: Event, room: str, viewer: int, current: bool) -> list[str]:
    done = "banned" if (event.data or {}).get("ban") else "removed"
    why = _because(clean(event.text or ""))
    if event.who == viewer:
        return [f"You were {done} from {room} by {event.by_name}{why}"]
    return [f"{event.by_name} {done} {event.who_name} from {room}{why}"]


def _on_banned(event: Event, room: str, viewer: int, current: bool) -> list[str]:
    return [f"{event.by_name} banned {event.who_name} from {room}{_because(clean(event.text or ''))}"]


def _on_unbanned(event: Event, room: str, viewer: int, current: bool) -> list[str]:
    return [f"{event.by_name} lifted the ban of {event.who_name} from {room}."]


def _on_promoted(event: Event, room: str, viewer: int, current: bool) -> list[str]:
    whom = "you" if event.who == viewer else event.who_name
    return [f"{event.by_name} made {whom} an admin of {room}."]


def _on_demoted(event: Event, room: str, viewer: int, current: bool) -> list[str]:
    who = "You are" if event.who == viewer else f"{event.who_name} is"
    return [f"{who} no longer an admin of {room} ({event.by_name})."]


def _on_owner(event: Event, room: str, viewer: int, current: bool) -> list[str]:
    return [f"{event.who_name} now owns {room}."]


def _on_topic(event: Event, room: str, viewer: int, current: bool) -> list[str]:
    if not event.text:
        return [f"{event.by_name} cleared the topic of {room}."]
    return [f"{event.by_name} set the topic of {room}: {clean(event.text)}"]


def _on_renamed(event: Event, room: str, viewer: int, current: bool) -> list[str]:
    was = (event.data or {}).get("was", room)
    return [f"{event.by_name} renamed {clean(str(was))} to {clean(event.text or '')}."]


def _on_door(event: Event, room: str, viewer: int, current: bool) -> list[str]:
    door = str((event.data or {}).get("door", ""))
    return [f"{event.by_name} set the door of {room} to {clean(door)} ({DOORS.get(door, '?')})."]


def _on_closed(event: Event, room: str, viewer: int, current: bool) -> list[str]:
    return [f"You left {room}. Nobody is in it any more: closed."] if event.by == viewer else []


def _on_asked(event: Event, room: str, viewer: int, current: bool) -> list[str]:
    return [asks(event.by_name, clean(str((event.data or {}).get("name", ""))), current)]


def _on_denied(event: Event, room: str, viewer: int, current: bool) -> list[str]:
    name = clean(str((event.data or {}).get("name", "")))
    return [f"{event.by_name} denied your request to join {name}{_because(clean(event.text or ''))}"]


EVENTS: Final[dict[str, Callable[[Event, str, int, bool], list[str]]]] = {
    "joined": _on_joined,
    "left": _on_left,
    "removed": _on_removed,
    "banned": _on_banned,
    "unbanned": _on_unbanned,
    "promoted": _on_promoted,
    "demoted": _on_demoted,
    "transferred": _on_owner,
    "inherited": _on_owner,
    "topic": _on_topic,
    "renamed": _on_renamed,
    "door": _on_door,
    "closed": _on_closed,
    "asked": _on_asked,
    "denied": _on_denied,
}
"""By kind; of the others a person is shown nothing (the answer to the call that made them says it)."""


# -- questions --------------------------------------------------------------------------------------------------------


def prompt(name: str, fields: Fields) -> str:
    """The question for a missing argument: `{verb}.{argument}`, else by the argument alone."""
    sentence = PROMPTS.get(name) or PROMPTS.get(name.rpartition(".")[2])
    if sentence is None:
        return f"{name.rpartition('.')[2].capitalize()}: "
    safe = _safe(fields)
    return sentence.format_map(safe) if isinstance(sentence, str) else sentence(safe)


def _password_prompt(fields: Fields) -> str:
    policy = fields["policy"]
    wants = [f"{policy['length']}+ characters"]
    wants += ["a capital"] if policy["capital"] else []
    wants += ["a number"] if policy["number"] else []
    return f"Password ({_listed(wants)}): "


PROMPTS: Final[dict[str, Sentence]] = {
    "door": DOOR,
    "register.name": "Username: ",
    "register.password": _password_prompt,
    "login.name": "Username: ",
    "password.old": "Old password: ",
    "password.new": lambda fields: f"New {_password_prompt(fields).lower()}",
    "delete-account.password": "Password, to delete {name} for ever: ",
    "rename.name": "New name: ",
    "dm.user": "To whom? ",
    "msg.user": "To whom? ",
    "create.people": "Whom to add? (-1 ends) ",
    "transfer.confirmed": "Make {name} owner of {room} and step down? [y/N] ",
    "password": "Password: ",
    "again": "Again: ",
    "room": "Group: ",
    "user": "Whom? ",
    "who": "Whom? ",
    "text": "Text: ",
    "words": "Words: ",
    "path": "Path: ",
}


# -- help -------------------------------------------------------------------------------------------------------------


def help_page(table: Iterable[Fields]) -> list[str]:
    """Every command by topic, on one screen of 80 by 24. `table` is the table for programs."""
    by_topic: dict[str, list[str]] = {topic: list(TYPED.get(topic, ())) for topic in TOPICS}
    for entry in table:
        if entry["topic"]:
            by_topic[entry["topic"]].append(entry["usage"])
    lines = []
    for topic, items in by_topic.items():
        whole = "  ".join(item.replace(" ", "\xa0") for item in items)
        lines += textwrap.wrap(
            whole,
            WIDTH,
            initial_indent=f"{topic:8}",
            subsequent_indent=" " * 8,
            break_on_hyphens=False,
        )
    return [line.replace("\xa0", " ") for line in lines] + ["/help NAME says more about a command."]


def help_for(entry: Fields) -> list[str]:
    """Usage, what it does, one example, who may use it; words are kept whole on a terminal of 80 columns."""
    aliases = f"   (also {_listed(entry['aliases'])})" if entry["aliases"] else ""
    lines = [f"{entry['usage']}{aliases}", *textwrap.wrap(entry["help"], WIDTH)]
    if entry["example"]:
        lines.append(f"Example: {entry['example']}")
    return [*lines, WHO[entry["needs"]]]


WHO: Final = {
    "nothing": "For everybody, logged in or not.",
    "login": "For everybody who is logged in.",
    "operator": "For operators of this server.",
    "member": "For members of the room.",
    "admin": "For admins of the group.",
    "owner": "For the owner of the group.",
}


def menu(entries: Iterable[Fields]) -> list[str]:
    """The numbered commands with words, a line each: `/1 requests  Who asks to join this group`."""
    return [f"/{entry['n']} {entry['do']:9} {_CLAUSE.split(entry['help'])[0]}" for entry in entries]


# -- the operator's log -----------------------------------------------------------------------------------------------


def audit(what: str, fields: Fields) -> str:
    """One line of the log: what happened, and to whom. Never what was said."""
    return AUDIT[what](_safe(fields))


def _from(fields: Fields) -> str:
    return f" from {fields['address']}" if fields["address"] else ""


def _kick_line(fields: Fields) -> str:
    reason = f' "{fields["reason"]}"' if fields["reason"] else ""
    return f"group.kick      {fields['room']} {fields['name']} by {fields['by']}{reason}"


def _transfer_line(fields: Fields) -> str:
    size = _size(fields["size"]).replace(" ", "")
    return (
        f"file.transfer   {fields['room']} {fields['name']} {fields['file']} {size}"
        f" {fields['result']} {fields['seconds']:.1f}s"
    )


AUDIT: Final[dict[str, Callable[[Fields], str]]] = {
    "user.connect": lambda f: f"user.connect    {f['name']}{_from(f)} {f['how']} {f['dialect']}",
    "user.disconnect": lambda f: f"user.disconnect {f['name']} after {_span(f['seconds'])} ({f['why']})",
    "login.refused": lambda f: f"login.refused  {_from(f)} {f['code']}",
    "group.create": lambda f: f"group.create   {f['room']} by {f['name']}",
    "group.kick": _kick_line,
    "group.transfer": lambda f: f"group.transfer  {f['room']} {f['name']} -> {f['to']}",
    "join.request": lambda f: f"join.request    {f['room']} {f['name']}",
    "join.approve": lambda f: f"join.approve    {f['room']} {f['name']} by {f['by']}",
    "file.transfer": _transfer_line,
}
