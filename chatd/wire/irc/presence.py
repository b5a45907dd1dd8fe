"""What is true only now: who is away, who comes and goes, who is typing; and how far a room was read.

The rule: who is offline is away. None of this is waited for, and nothing of it is in the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from chatd.model import Call, Kind, Room
from chatd.wire.irc import terms
from chatd.wire.irc.answers import Fields, answer, refusal
from chatd.wire.irc.events import moment
from chatd.wire.irc.line import Line, packed
from chatd.wire.irc.verbs import is_group, listed, verb

if TYPE_CHECKING:
    from chatd.wire.irc.asked import Asked
    from chatd.wire.irc.dialect import Irc

WATCHING: Final = frozenset({"away-notify", "message-tags"})
"""Capabilities with which a client is told what is true only now."""
TYPING: Final = ("+typing", "+draft/typing")


def now(irc: Irc, name: str, fields: Fields, room: Room, viewer: int) -> list[Line]:
    """What a client is told of a room: of others, and of itself where it hears itself."""
    match name:
        case "presence" if irc.has("away-notify"):
            return [
                irc.line(_away(state, text), source=nick, tags=irc.account_tag(account, nick))
                for nick, account, state, text in fields["people"]
                if account != viewer
            ]
        case "typing" if irc.has("message-tags"):
            target = irc.nick if room.kind is Kind.DIRECT else room.name
            return [
                irc.line(f"TAGMSG {target}", source=nick, tags=(*irc.account_tag(account, nick), ("+typing", "active")))
                for nick, account in fields["people"]
                if account != viewer
            ]
        case "marker" if irc.has("draft/read-marker"):
            return [marked(irc, room.name, fields["time"])]
    return []


def _away(state: str, text: str) -> str:
    if state == "online":
        return "AWAY"
    return f"AWAY :{text if state == 'away' else terms.OFFLINE}"


def watch(irc: Irc, before: frozenset[str] = frozenset()) -> None:
    """Ask to be told, once the client is in and knows what to do with it."""
    if irc.registered and irc.caps & WATCHING and not before & WATCHING:
        irc.wants.append(Call("watch", {}, ref=irc.silent("WATCH")))


@verb("TAGMSG", 1)
def tagmsg(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """Of the tags that clients make only "typing" is carried, and only that somebody is: it ends by itself."""
    if not any(asked.tags.get(tag) == "active" for tag in TYPING):
        return []
    targets = listed(params[0])[: terms.TARGETS]
    return [Call("typing", {}, name if is_group(name) else f"@{name}") for name in targets]


@refusal("TAGMSG", "WATCH")
def _refused_tagmsg(irc: Irc, asked: Asked, code: str, fields: Fields, text: str) -> list[Line] | None:
    """Nothing is lost with it."""
    return []


# -- MONITOR ----------------------------------------------------------------------------------------------------------


@verb("MONITOR", 1)
def monitor(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """Be told when people come and go."""
    held = {} if irc.monitored is None else irc.monitored
    names = [name.lower() for name in listed(params[1])] if len(params) > 1 else []
    match params[0].upper():
        case "+":
            most = irc.settings.limits.monitored_people
            new = [name for name in names if name not in held]
            left = max(0, most - len(held))
            if new[left:]:
                irc.numeric(asked, "734", [str(most), ",".join(new[left:])], "Monitor list is full.")
            asked.gathered = [name for name in names if name in held or name in new[:left]]
            held |= dict.fromkeys(new[:left], False)
        case "-":
            for name in names:
                held.pop(name, None)
        case "C":
            held = {}
        case "S":
            asked.gathered = list(held)
        case "L":
            for line in packed(held, 400):
                irc.numeric(asked, "732", [], line.replace(" ", ","))
            irc.numeric(asked, "733", [], "End of MONITOR list")
            return []
        case _:
            irc.fail(asked, "INVALID_PARAMS", [params[0]], "MONITOR takes + - C L S.")
            return []
    irc.monitored = held or None
    return [Call("monitor", {"people": list(held)})]


@answer("monitored")
def _monitored(irc: Irc, asked: Asked, call: Call, fields: Fields) -> list[Line]:
    there = {name for name, _, state in fields["people"] if state == "online"}
    if irc.monitored is not None:
        for name in irc.monitored:
            irc.monitored[name] = name in there
    return _listed(irc, {name: name in there for name in asked.gathered})


def changed(irc: Irc, people: Iterable[tuple[str, int, str]]) -> list[Line]:
    """Somebody came or went."""
    held = irc.monitored or {}
    news: dict[str, bool] = {}
    for name, _, state in people:
        online = state == "online"
        if held.get(name, online) is not online:
            held[name] = news[name] = online
    return _listed(irc, news)


def _listed(irc: Irc, people: Mapping[str, bool]) -> list[Line]:
    lines = []
    for number, wanted in (("730", True), ("731", False)):
        names = [f"{name}!{name}@{irc.server}" if wanted else name for name, on in people.items() if on is wanted]
        lines += [irc.numbered(number, [], part.replace(" ", ",")) for part in packed(names, 400)]
    return lines


# -- MARKREAD ---------------------------------------------------------------------------------------------------------


@verb("MARKREAD")
def markread(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """draft/read-marker: up to when this account has read a room, on whatever device."""
    if not params or not params[0]:
        irc.fail(asked, "NEED_MORE_PARAMS", [], "Missing parameters")
        return []
    room = params[0] if is_group(params[0]) else f"@{params[0]}"
    if len(params) == 1:
        return [Call("marker", {}, room)]
    try:
        name, _, value = params[1].partition("=")
        at = round(datetime.fromisoformat(value).timestamp() * 1000)
        if name != "timestamp" or not value.endswith("Z") or at < 0:
            raise ValueError
    except (ValueError, OverflowError):
        irc.fail(asked, "INVALID_PARAMS", [params[1]], "Invalid parameters")
        return []
    return [Call("marker", {"time": str(at)}, room)]


@answer("marker")
def _marker(irc: Irc, asked: Asked, call: Call, fields: Fields) -> list[Line]:
    return [marked(irc, fields["room"], fields["time"])]


def marked(irc: Irc, room: str, at: int) -> Line:
    """How far it was read."""
    return irc.line(f"MARKREAD {room.removeprefix('@')} {f'timestamp={moment(at)}' if at else '*'}")


@refusal("MARKREAD")
def _refused_markread(irc: Irc, asked: Asked, code: str, fields: Any, text: str) -> list[Line] | None:
    if code not in ("NO_USER", "NO_GROUP", "NOT_MEMBER", "BAD_NAME"):
        return None
    if len(asked.params) == 1 or (code == "NO_GROUP" and not is_group(asked.params[0])):
        return [irc.line(f"MARKREAD {asked.params[0].replace(' ', '_')} *")]  # nothing was ever read there
    irc.fail(held := irc.silent("MARKREAD"), "INVALID_PARAMS", asked.params[:1], text)
    return held.lines
