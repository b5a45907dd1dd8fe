"""Events as IRC shows them.

The rule: what is live becomes IRC's own verbs, so that every client keeps its lists right; what was missed is shown as
what was said, at its time, and nothing else of it: where one is, and who else, is told anew at connection.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from chatd import texts
from chatd.model import DELETED, Call, Door, Event, Kind, Room
from chatd.wire.irc import terms
from chatd.wire.irc.line import LINE, Line, clean, pieces

if TYPE_CHECKING:
    from chatd.wire.irc.dialect import Irc

_BREAK: Final = re.compile("\r\n|\n|\r")
_BLANK: Final = " "


@lru_cache(maxsize=1024)
def moment(at: int) -> str:
    """A time (ms) as server-time writes it."""
    return f"{datetime.fromtimestamp(at // 1000, UTC):%Y-%m-%dT%H:%M:%S}.{at % 1000:03}Z"


def nick_of(name: str) -> str:
    """Somebody's nick; what is left of a deleted account has one without a space."""
    return "deleted" if name == DELETED else name


def said(irc: Irc, event: Event, room: Room, viewer: int, *, past: bool = False) -> list[Line]:
    """A text: one line, or as many as it needs."""
    _, at, _, _, by, _, by_name, _, _, text, data, sealed, _ = event
    name = nick_of(by_name)
    caps = irc.caps
    tags: list[tuple[str, str]] = []
    if "server-time" in caps:
        tags.append(("time", moment(at)))
    if "account-tag" in caps:
        tags += irc.account_tag(by, by_name)
    target = room.name
    if room.kind is Kind.DIRECT:
        target = nick_of(room.name[1:]) if by == viewer else irc.nick
    if text is None:
        text = f"{name}: {texts.BLANK if sealed is None else texts.SEALED}"
        return [irc.line(f"NOTICE {target} :{text}", tags=tuple(tags))]
    how = None if data is None else data.get("how")
    verb = "NOTICE" if how == "notice" else "PRIVMSG"
    head = f":{name}!{name}@{irc.server} {verb} {target} :"
    body = head + text
    short = len(body) <= 126 or (len(body) <= LINE - 2 and body.isascii())
    if short and text.isprintable() and how != "action" and not (past and "server-time" not in caps):
        if "message-tags" in caps:
            tags.append(("msgid", str(event.seq)))
        return [Line(body, tuple(tags))]
    before, behind = ("\x01ACTION ", "\x01") if how == "action" else ("", "")
    if past and "server-time" not in caps:
        before += f"[{texts.clock(at)}] "
    size = LINE - 2 - len(head.encode("utf-8", "replace")) - len(before) - len(behind)
    whole = "draft/multiline" in caps and "batch" in caps and how != "action"
    parts: list[tuple[str, bool]] = []
    for line in _BREAK.split(text):
        first, *more = pieces(clean(line), size, whole=whole)
        parts += [(first, False), *((part, True) for part in more)]
    msgid = (("msgid", str(event.seq)),) if "message-tags" in caps else ()
    if len(parts) > 1 and whole:
        batch = f"m{event.seq}"
        lines = [Line(f":{name}!{name}@{irc.server} BATCH +{batch} draft/multiline {target}", (*tags, *msgid))]
        for part, joined in parts:
            concat = (("draft/multiline-concat", ""),) if joined else ()
            lines.append(Line(f"{head}{before}{part}", (("batch", batch), *concat)))
        return [*lines, irc.line(f"BATCH -{batch}")]
    shown = [part for part, _ in parts if part] or [_BLANK]
    return [
        Line(f"{head}{before}{part}{behind}", (*tags, *(() if index else msgid))) for index, part in enumerate(shown)
    ]


def live(irc: Irc, event: Event, room: Room, viewer: int) -> list[Line]:
    """An event that happens now."""
    if event.kind == "say":
        return said(irc, event, room, viewer)
    show = LIVE.get(event.kind)
    if show is None:
        return []
    return _tagged(irc, event, show(irc, event, room, viewer))


def _tagged(irc: Irc, event: Event, lines: list[Line]) -> list[Line]:
    """When it was, who did it, and, on the last of the lines, what it is called."""
    caps = irc.caps
    time: tuple[tuple[str, str], ...] = (("time", moment(event.at)),) if "server-time" in caps else ()
    tagged = []
    for line in lines:
        tags = time
        if "account-tag" in caps:
            for account, name in ((event.by, event.by_name), (event.who, event.who_name)):
                if account and line.body.startswith(f":{name}!"):
                    tags += irc.account_tag(account, name)
                    break
        tagged.append(line._replace(tags=tags))
    if tagged and "message-tags" in caps:
        tagged[-1] = tagged[-1]._replace(tags=(*tagged[-1].tags, ("msgid", str(event.seq))))
    return tagged


def missed(irc: Irc, event: Event, room: Room, viewer: int) -> list[Line]:
    """An event that happened before the connection was made."""
    if event.kind in ("say", "file") and "draft/chathistory" in irc.caps:
        return []  # such a client asks for what it missed
    if event.kind == "say":
        if (event.text or "").startswith("\x01"):
            return []  # a CTCP that nobody waits for any more
        return said(irc, event, room, viewer, past=True)
    if event.kind == "file":
        tags = (("time", moment(event.at)),) if "server-time" in irc.caps else ()
        return [line._replace(tags=tags) for line in _on_file(irc, event, room, viewer)]
    if event.kind == "denied" or (event.kind == "removed" and event.who == viewer):
        return [irc.told_by_service(text, event.at) for text in texts.event(event, room.name, viewer, False)]
    return []


def _data(event: Event) -> Mapping[str, Any]:
    return event.data or {}


def _on_created(irc: Irc, event: Event, room: Room, viewer: int) -> list[Line]:
    return _entered(irc, event, room, event.by, event.by_name, viewer)


def _on_joined(irc: Irc, event: Event, room: Room, viewer: int) -> list[Line]:
    lines = []
    if _data(event).get("how") == "added":
        line = irc.line(f"INVITE {event.who_name} {room.name}", source=nick_of(event.by_name))
        if viewer == event.who or "invite-notify" in irc.caps:
            lines.append(line)
    return lines + _entered(irc, event, room, event.who, event.who_name, viewer)


def _entered(irc: Irc, event: Event, room: Room, who: int, name: str, viewer: int) -> list[Line]:
    if viewer == who:
        irc.here(room.name, event.seq)
    account = "*" if who in irc.guests else name
    extended = f" {account} :{name}" if "extended-join" in irc.caps else ""
    return [irc.line(f"JOIN {room.name}{extended}", source=nick_of(name))]


def _on_left(irc: Irc, event: Event, room: Room, viewer: int) -> list[Line]:
    data = _data(event)
    if room.kind is Kind.DIRECT:
        return [] if data.get("quit") else _on_told(irc, event, room, viewer)
    name = nick_of(str(data.get("was", event.by_name)))
    why = f" :{event.text}" if event.text else ""
    if data.get("quit") and viewer != event.by:
        return [irc.line(f"QUIT{why or ' :Gone'}", source=name)]
    return [irc.line(f"PART {room.name}{why}", source=name)]


def _on_removed(irc: Irc, event: Event, room: Room, viewer: int) -> list[Line]:
    lines = _on_banned(irc, event, room, viewer) if _data(event).get("ban") else []
    name = event.by_name
    return [*lines, irc.line(f"KICK {room.name} {event.who_name} :{event.text or name}", source=nick_of(name))]


def _mode(irc: Irc, event: Event, room: Room, what: str) -> list[Line]:
    return [irc.line(f"MODE {room.name} {what}", source=nick_of(event.by_name))]


def _on_promoted(irc: Irc, event: Event, room: Room, viewer: int) -> list[Line]:
    return _mode(irc, event, room, f"+o {event.who_name}")


def _on_demoted(irc: Irc, event: Event, room: Room, viewer: int) -> list[Line]:
    return _mode(irc, event, room, f"-o {event.who_name}")


def _on_transferred(irc: Irc, event: Event, room: Room, viewer: int) -> list[Line]:
    return _mode(irc, event, room, f"+o-o {event.who_name} {event.by_name}")


def _on_inherited(irc: Irc, event: Event, room: Room, viewer: int) -> list[Line]:
    return [irc.line(f"MODE {room.name} +o {event.who_name}")]


def _on_banned(irc: Irc, event: Event, room: Room, viewer: int) -> list[Line]:
    return _mode(irc, event, room, f"+b {event.who_name}!*@*")


def _on_unbanned(irc: Irc, event: Event, room: Room, viewer: int) -> list[Line]:
    return _mode(irc, event, room, f"-b {event.who_name}!*@*")


def _on_door(irc: Irc, event: Event, room: Room, viewer: int) -> list[Line]:
    letter = terms.DOOR_MODES[Door(_data(event)["door"])]
    off = "".join(other for other in terms.MODE_DOORS if other != letter)
    return _mode(irc, event, room, f"{f'+{letter}' if letter else ''}-{off}")


def _on_topic(irc: Irc, event: Event, room: Room, viewer: int) -> list[Line]:
    return [irc.line(f"TOPIC {room.name} :{event.text or ''}", source=nick_of(event.by_name))]


def _on_renamed(irc: Irc, event: Event, room: Room, viewer: int) -> list[Line]:
    """IRC has no such thing: everybody leaves the old name and is in the new one."""
    was, name = str(_data(event).get("was", room.name)), event.text or room.name
    if viewer < 0:
        return [irc.line(f"NOTICE {room.name} :{texts.event(event, was, viewer, False)[0]}", source=terms.SERVICE)]
    irc.wants.append(Call("roster", {}, event.room, ref=irc.silent("JOIN", name)))
    extended = f" {irc.account_word} :{irc.nick}" if "extended-join" in irc.caps else ""
    return [
        irc.line(f"PART {was} :{texts.event(event, was, viewer, False)[0]}", source=irc.nick),
        irc.line(f"JOIN {name}{extended}", source=irc.nick),
    ]


def _on_file(irc: Irc, event: Event, room: Room, viewer: int) -> list[Line]:
    """IRC carries no bytes here: how to get them is said where the file was sent to."""
    target = room.name
    if room.kind is Kind.DIRECT:
        target = room.name[1:] if event.by == viewer else irc.nick
    return [irc.line(f"NOTICE {target} :{texts.offered(event, '/msg chatd get')}", source=nick_of(event.by_name))]


def _on_nick(irc: Irc, event: Event, room: Room, viewer: int) -> list[Line]:
    """A client is told once, in however many groups the two are."""
    if irc.renamed == (event.by, event.text):
        return []
    irc.renamed = (event.by, event.text)
    name = event.text or event.by_name
    if viewer == event.by:
        irc.nick = name
    return [irc.line(f"NICK {name}", source=str(_data(event).get("was", "")))]


def _on_told(irc: Irc, event: Event, room: Room, viewer: int) -> list[Line]:
    return [irc.told_by_service(text) for text in texts.event(event, room.name, viewer, False)]


LIVE: Final[dict[str, Callable[[Irc, Event, Room, int], list[Line]]]] = {
    "created": _on_created,
    "joined": _on_joined,
    "left": _on_left,
    "closed": _on_left,
    "removed": _on_removed,
    "promoted": _on_promoted,
    "demoted": _on_demoted,
    "transferred": _on_transferred,
    "inherited": _on_inherited,
    "banned": _on_banned,
    "unbanned": _on_unbanned,
    "door": _on_door,
    "topic": _on_topic,
    "renamed": _on_renamed,
    "nick": _on_nick,
    "asked": _on_told,
    "denied": _on_told,
    "file": _on_file,
    "gone": _on_told,
    "retention": _on_told,
}
"""By kind; of the others IRC shows nothing."""
