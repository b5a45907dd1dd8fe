"""Answers about oneself and other people: coming in, who is there, sessions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from chatd.texts.words import Fields, Sentence, date, listed, stamp, times


def now_in(room: str, role: str) -> str:
    """Which room is current: `Now in #ops (admin).` An owner is an admin, too."""
    return f"Now in {room} (admin)." if role in ("admin", "owner") else f"Now in {room}."


BANNER: Final = "chatd: groups and conversations for people who live in a terminal."


def _banner(fields: Fields) -> str:
    return "\n".join(fields.get("banner") or [BANNER])


def _welcome(fields: Fields) -> str:
    lines = [f"Welcome, {fields['name']}.", *fields.get("motd", ())]
    lines += [people(fields["people"], fields["more_people"]), groups(fields["rooms"])]
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
    shown = []
    for room in rooms:
        if room["kind"] == "group":
            notes = ["admin"] if room["role"] in ("admin", "owner") else []
            if room.get("new"):
                notes.append(f"{room['new']:,} new")
            shown.append(f"{room['room']} ({listed(notes)})" if notes else room["room"])
    return f"Groups: {'  '.join(shown) or '(none)'}"


def away_summary(counts: Iterable[Sequence[Any]]) -> str:
    """What was missed, (room, count) each: `12 messages while you were away (#ops 9, bob 3)`."""
    counts = [(str(room).removeprefix("@"), count) for room, count in counts]
    rooms = listed(f"{room} {count:,}" for room, count in counts)
    return f"{times(sum(count for _, count in counts), 'message')} while you were away ({rooms})"


def asks(name: str, room: str, current: bool) -> str:
    """A join request, as an admin is told of it."""
    where = "" if current else f"{room} "
    return f"{name} asks to join {room}: /approve {where}{name}  /deny {where}{name}"


def _logged_out_other(fields: Fields) -> str:
    client = f" ({fields['client']})" if fields["client"] else ""
    return f"Session {fields['n']}{client} is logged out."


def _sessions(fields: Fields) -> str:
    return "\n".join(
        f"{entry['n']} {entry['client'] or 'plain'} from {entry['address']} since {date(entry['created'])},"
        f" used {stamp(entry['used'])[:-3]}{'  (this one)' if entry['this'] else ''}"
        for entry in fields["sessions"]
    )


def _password_changed(fields: Fields) -> str:
    others = fields["logged_out"]
    ended = f" {times(others, 'other session')} logged out." if others else ""
    return f"Password changed.{ended}"


def _whoami(fields: Fields) -> str:
    where = f" {now_in(fields['room'], fields['role'])}" if fields["room"] else ""
    return f"You are {fields['name']}.{where}"


def _whois(fields: Fields) -> str:
    away = f", away: {fields['away']}" if fields["away"] else ""
    shared = f"\nIn your groups: {' '.join(fields['groups'])}" if fields["groups"] else ""
    online = "online" if fields["online"] else "offline"
    return f"{fields['name']}: {online}{away}; here since {date(fields['since'])}{shared}"


def _factor(fields: Fields) -> str:
    if not fields["on"]:
        return "You have no second factor. /totp on"
    return f"A second factor is on; {times(fields['left'], 'recovery code')} left."


def _codes(fields: Fields) -> str:
    codes = fields["codes"]
    rows = [f"  {'   '.join(codes[start : start + 2])}" for start in range(0, len(codes), 2)]
    return "\n".join(["Recovery codes, each good once; shown once, write them down:", *rows])


def _certificates(fields: Fields) -> str:
    return (
        "\n".join(
            f"{entry['n']} {entry['fingerprint']} since {date(entry['added'])}{'  (this one)' if entry['this'] else ''}"
            for entry in fields["certificates"]
        )
        or "No certificate logs you in. /cert add registers the one that this connection came with."
    )


REPLIES: Final[dict[str, Sentence]] = {
    "banner": _banner,
    "hello": lambda fields: _welcome(fields) if "name" in fields else "",
    "welcome": _welcome,
    "logged_out": "Logged out.",
    "logged_out_all": lambda fields: f"Logged out everywhere: {times(fields['count'], 'session')}.",
    "logged_out_other": _logged_out_other,
    "sessions": _sessions,
    "password_changed": _password_changed,
    "factor": _factor,
    "factor_secret": "Type this into an authenticator: {secret}\nor have it scan: {uri}",
    "factor_on": lambda fields: f"The second factor is on. {_codes(fields)}",
    "factor_codes": lambda fields: f"The old codes are void. {_codes(fields)}",
    "factor_off": "The second factor is off.",
    "account_deleted": "Your account is deleted. Bye.",
    "whoami": _whoami,
    "whois": _whois,
    "away": "Away: {text}",
    "back": "You are back.",
    "certificates": _certificates,
    "certificate_added": "{fingerprint} logs you in from now on.",
    "certificate_dropped": "{fingerprint} logs nobody in any more.",
    "vouched": "",
    "monitored": "",
    "who": "",
    "oper": "You are an operator of this server now.",
}
