"""Events, as a person in the room reads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from chatd.model import DELETED, Event
from chatd.texts.account import asks
from chatd.texts.files import on_file, on_gone
from chatd.texts.rooms import DOORS
from chatd.texts.words import BLANK, BREAK, CLOSED, SEALED, UNSAFE, because, clean, kept, minute

PERSONAL: Final = frozenset({"joined", "left", "removed", "promoted", "demoted", "closed", "file", "gone", "nick"})
"""Kinds of events whose text differs for the one who did it or to whom it was done."""


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
        first, *more = [UNSAFE.sub("�", line) for line in BREAK.split(text)]
        return [f"{minute(at)} {who} {first}", *(f"{minute(at)} {who} | {line}" for line in more)]
    return [f"{minute(at)} {who} {text}"]


def _on_joined(event: Event, room: str, viewer: int, current: bool) -> list[str]:
    match (event.data or {}).get("how"):
        case "added":
            whom = "you" if event.who == viewer else event.who_name
            return [f"{event.by_name} added {whom} to {room}."]
        case "approved":
            return [f"{event.who_name} joined {room}, approved by {event.by_name}."]
    return [f"{event.who_name} joined {room}."]


def _ended(name: str, event: Event) -> str:
    """The other one of a conversation of two is no more."""
    if (event.data or {}).get("quit"):
        return f"{name} has gone."
    return "The other account was deleted." if name == DELETED else f"{name}'s account was deleted."


def _on_left(event: Event, room: str, viewer: int, current: bool) -> list[str]:
    name = clean(str((event.data or {}).get("was", event.by_name)))
    if room[:1] == "@":
        return [] if event.by == viewer else [_ended(name, event)]
    return [f"You left {room}." if event.by == viewer else f"{name} left {room}."]


def _on_removed(event: Event, room: str, viewer: int, current: bool) -> list[str]:
    done = "banned" if (event.data or {}).get("ban") else "removed"
    why = because(clean(event.text or ""))
    if event.who == viewer:
        return [f"You were {done} from {room} by {event.by_name}{why}"]
    return [f"{event.by_name} {done} {event.who_name} from {room}{why}"]


def _on_banned(event: Event, room: str, viewer: int, current: bool) -> list[str]:
    return [f"{event.by_name} banned {event.who_name} from {room}{because(clean(event.text or ''))}"]


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


def _on_nick(event: Event, room: str, viewer: int, current: bool) -> list[str]:
    was = clean(str((event.data or {}).get("was", "")))
    return [] if event.by == viewer else [f"{was} is now {clean(event.text or '')}."]


def _on_door(event: Event, room: str, viewer: int, current: bool) -> list[str]:
    door = str((event.data or {}).get("door", ""))
    return [f"{event.by_name} set the door of {room} to {clean(door)} ({DOORS.get(door, '?')})."]


def _on_retention(event: Event, room: str, viewer: int, current: bool) -> list[str]:
    data = event.data or {}
    how = kept(data.get("seconds"), data.get("lines"), otherwise="as long as the server keeps them")
    return [f"{event.by_name} has messages of {room} kept {how}."]


def _on_closed(event: Event, room: str, viewer: int, current: bool) -> list[str]:
    return [f"You left {room}. Nobody is in it any more: closed."] if event.by == viewer else []


def _on_asked(event: Event, room: str, viewer: int, current: bool) -> list[str]:
    return [asks(event.by_name, clean(str((event.data or {}).get("name", ""))), current)]


def _on_denied(event: Event, room: str, viewer: int, current: bool) -> list[str]:
    name = clean(str((event.data or {}).get("name", "")))
    return [f"{event.by_name} denied your request to join {name}{because(clean(event.text or ''))}"]


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
    "nick": _on_nick,
    "closed": _on_closed,
    "asked": _on_asked,
    "denied": _on_denied,
    "file": on_file,
    "gone": on_gone,
    "retention": _on_retention,
}
"""By kind; of the others a person is shown nothing (the answer to the call that made them says it)."""
