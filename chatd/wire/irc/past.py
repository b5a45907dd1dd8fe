"""The past: draft/chathistory, from the log."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Final

from chatd.model import Call, Event, Kind, Room
from chatd.wire.irc import events
from chatd.wire.irc.answers import Fields, answer, batched, refusal
from chatd.wire.irc.line import Line
from chatd.wire.irc.verbs import is_group, verb

if TYPE_CHECKING:
    from chatd.wire.irc.asked import Asked
    from chatd.wire.irc.dialect import Irc


REF: Final = re.compile(r"msgid=(\d{1,18})|timestamp=(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?)Z")


@verb("CHATHISTORY", 1)
def chathistory(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """draft/chathistory, from the log."""
    sub, *rest = params
    sub = sub.upper()
    marks = {"TARGETS": 2, "BETWEEN": 2, "BEFORE": 1, "AFTER": 1, "LATEST": 1, "AROUND": 1}.get(sub)
    if marks is None:
        irc.fail(asked, "INVALID_PARAMS", [sub], "Unknown command")
        return []
    about = [] if sub == "TARGETS" else rest[:1]
    if len(rest) < len(about) + marks + 1 or (sub != "TARGETS" and not rest[0]):
        irc.fail(asked, "NEED_MORE_PARAMS", [sub], "Missing parameters")
        return []
    typed = rest[len(about) : len(about) + marks]
    found = ["" if mark == "*" and sub == "LATEST" else _mark(mark) for mark in typed]
    count = rest[len(about) + marks]
    if None in found or not (count.isascii() and count.isdecimal() and len(count) < 10):
        irc.fail(asked, "INVALID_PARAMS", [sub, *about], "Invalid parameters")
        return []
    count = str(max(1, int(count)))
    if sub == "TARGETS":
        return [Call("talks", {"since": found[0], "until": found[1], "count": count})]
    room = rest[0] if is_group(rest[0]) else f"@{rest[0]}"
    args = {"way": sub.lower(), "one": found[0], "count": count}
    if marks == 2:
        args["other"] = found[1]
    if irc.has("draft/event-playback"):
        args["all"] = "yes"
    return [Call("past", args, room)]


def _mark(typed: str) -> str | None:
    """A place in the log, as our own command takes it."""
    match = REF.fullmatch(typed)
    if match is None:
        return None
    if match[1]:
        return match[1]
    try:
        return f"@{round(datetime.fromisoformat(match[2] + '+00:00').timestamp() * 1000)}"
    except ValueError:
        return None


@answer("past")
def _past(irc: Irc, asked: Asked, call: Call, fields: Fields) -> list[Line]:
    """A batch of type chathistory."""
    name = fields["room"]
    direct = name.startswith("@")
    room = Room(fields["room_id"], Kind.DIRECT if direct else Kind.GROUP, name, False)
    lines: list[Line] = []
    for held in fields["events"]:
        event = Event(**held)
        mine = event.by if direct and event.by_name == irc.nick else -1
        if event.kind == "say":
            lines += events.said(irc, event, room, mine)
        else:
            lines += events.live(irc, event, room, mine if event.kind == "file" else -1)
    return batched(irc, f"chathistory {asked.params[1].replace(' ', '_')}", lines)


@answer("talks")
def _talks(irc: Irc, asked: Asked, call: Call, fields: Fields) -> list[Line]:
    lines = [
        irc.line(f"CHATHISTORY TARGETS {talk['room'].removeprefix('@')} {events.moment(talk['at'])}")
        for talk in fields["rooms"]
    ]
    return batched(irc, "draft/chathistory-targets", lines)


@refusal("CHATHISTORY")
def _refused_history(irc: Irc, asked: Asked, code: str, fields: Fields, text: str) -> list[Line] | None:
    if code in ("NO_USER", "NO_GROUP", "NOT_MEMBER", "BAD_NAME"):
        irc.fail(held := irc.silent("CHATHISTORY"), "INVALID_TARGET", asked.params[:2], text)
        return held.lines
    return None
