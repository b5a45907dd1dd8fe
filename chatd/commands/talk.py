"""Talking: to the current room, to one person, and reading what was said.

The rule: `say` is the hot path. It appends one event and reads nothing that the dispatcher has not read already.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from chatd.command import command
from chatd.commands import sealed as sealing
from chatd.errors import Refusal
from chatd.model import DELETED, Account, Ask, Event, Kind, Me, Reply, Role, Room, Turn
from chatd.rules import Needs

if TYPE_CHECKING:
    from chatd.store import ReadTx, Tx

NOBODY: Final = f"@{DELETED}"
"""What a conversation of two is called whose other end is no more."""
_AGE: Final = re.compile(r"(\d{1,6})([smhdw])")
_AGE_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
NO_ENVELOPES: Final[Mapping[str, str]] = {}
MANNERS: Final = frozenset({"action", "notice"})
SPOKEN: Final = ("say", "file")
SHOWN: Final = (
    *SPOKEN,
    "created",
    "joined",
    "left",
    "removed",
    "topic",
    "renamed",
    "promoted",
    "demoted",
    "transferred",
)
"""Kinds of events that a program may be shown of the past."""
_HISTORY: Final = "/history [count] [since AGE] [before ID] [on DATE]"


@command(
    "/say [text...]",
    needs=Needs.MEMBER,
    topic="Talk",
    example="/say hi",
    light=True,
    optional=("sealed", "how", "file", "envelopes:map", "without:list"),
)
def say(
    tx: Tx,
    me: Me,
    room: Room,
    text: str = "",
    sealed: str | int | None = None,
    how: str | int | None = None,
    file: str | int | None = None,
    envelopes: Mapping[str, str] = NO_ENVELOPES,
    without: Sequence[str | int] = (),
) -> Reply | Ask:
    """Say something to the room. A line that is no command does the same."""
    if room.kind is Kind.INBOX:
        raise Refusal("NO_ROOM", sends=True)
    if room.name == NOBODY:
        raise Refusal("NO_USER", name=DELETED, near="")
    if room.sealed:
        if text or sealed is None or not me.device:
            raise Refusal("E2E_ONLY", room=room.name)
        return Reply("done", {"seq": sealing.say(tx, me, room, sealed, envelopes, without, file)})
    if sealed is not None or file is not None or envelopes or without:
        raise Refusal("BAD_USAGE", usage="/say [text...]")
    if not text:
        return Ask("text", "say.text", {"room": room.name})
    if len(text) > me.settings.limits.message_characters:
        raise Refusal("TOO_LONG", size=len(text), limit=me.settings.limits.message_characters)
    data = None if how is None else _manner(how)
    return Reply("done", {"seq": tx.append("say", room.id, me.account, text=text, data=data)})


def _manner(how: str | int) -> dict[str, Any]:
    """What an event says about how a text was meant: something done ("action"), or not to be answered ("notice")."""
    if how not in MANNERS:
        raise Refusal("BAD_USAGE", usage="/say [text...]")
    return {"how": how}


@command("/msg <user> <text...>", topic="Talk", example="/msg bob hi", optional=("how",))
def msg(tx: Tx, me: Me, user: Account, text: str, how: str | int | None = None) -> Reply:
    """Say something to one person, who need not be online. `@bob hi` does the same."""
    limit = me.settings.limits.message_characters
    if len(text) > limit:
        raise Refusal("TOO_LONG", size=len(text), limit=limit)
    data = None if how is None else _manner(how)
    room, _ = _direct(tx, me, user, aside=True)
    seq = tx.append("say", room, me.account, text=text, data=data)
    fields: dict[str, Any] = {"seq": seq, "room": f"@{user.name}", "room_id": room}
    if (away := tx.away(user.id)) is not None:
        fields["away"] = away
    return Reply("done", fields)


@command("/dm [--open|--sealed] <user>", topic="Talk", example="/dm bob")
def dm(tx: Tx, me: Me, user: Account, open: bool = False, sealed: bool = False) -> Reply:  # noqa: A002 - the flag
    """Talk with one person from now on. Nobody else reads it; /close ends the view."""
    if open and sealed:
        raise Refusal("BAD_USAGE", usage="/dm [--open|--sealed] <user>")
    if sealed:
        sealing.need_device(me, f"@{user.name}")
        sealing.need_keys(tx, user)
    number, seq = _direct(tx, me, user, sealed=sealed)
    room = Room(number, Kind.DIRECT, f"@{user.name}", sealed, Role.MEMBER)
    fields: dict[str, Any] = {"room": room.name, "room_id": room.id, "role": "member", "sealed": sealed}
    if seq:
        fields["seq"] = seq
    return Reply("now_in", fields, Turn(room=room))


def _direct(tx: Tx, me: Me, user: Account, *, aside: bool = False, sealed: bool = False) -> tuple[int, int]:
    """The conversation of these two, open or sealed, and the seq at which it begins if it did not yet (else 0)."""
    if user.id == me.account:
        raise Refusal("SELF")
    room = tx.direct(me.account, user.id, sealed=sealed)
    if room is not None:
        return room, 0
    room = tx.add_direct(me.account, user.id, sealed=sealed)
    seq = tx.append("direct", room, me.account, target=user.id, data={"sealed": sealed}, aside=aside)
    tx.add_member(room, me.account, Role.MEMBER, seq)
    tx.add_member(room, user.id, Role.MEMBER, seq)
    return room, seq


def _by_time(args: Mapping[str, Any]) -> bool:
    """Whether lines are looked for by when they were said, which no index helps with."""
    return bool(args.get("since") or args.get("on"))


@command(_HISTORY, needs=Needs.MEMBER, topic="Past", example="/history 20 since 2h", read=True, scans=_by_time)
def history(
    tx: ReadTx,
    me: Me,
    room: Room,
    count: str | int = "",
    since: str | int = "",
    before: str | int = "",
    on: str | int = "",
) -> Reply:
    """What was said here: the newest lines, or those since 2h (30m, 3d), before an id, on a date."""
    most = _at_most(me, count)
    day = _day(str(on)) if on != "" else None
    start = tx.now - _age(str(since)) if since != "" else None
    if day is not None:
        start = day[0] if start is None else max(start, day[0])
    lines = tx.history(
        me.account,
        room.id,
        most,
        before=_number(before) if before != "" else None,
        since=start,
        until=None if day is None else day[1],
    )
    return Reply("history", _page(room, lines, most))


@command(
    "/search <words...>", needs=Needs.MEMBER, topic="Past", example="/search deploy", read=True, scans=lambda args: True
)
def search(tx: ReadTx, me: Me, room: Room, words: str) -> Reply:
    """The newest lines here that contain these words."""
    if room.sealed:
        raise Refusal("E2E_ONLY", room=room.name)
    most = me.settings.limits.history_lines
    lines = tx.history(me.account, room.id, most, words=words)
    return Reply("found", {**_page(room, lines, most), "words": words})


@command(
    "/past <way>",
    needs=Needs.MEMBER,
    topic="",
    read=True,
    scans=lambda args: any(str(args.get(mark, "")).startswith("@") for mark in ("one", "other")),
    optional=("one", "other", "count", "all"),
)
def past(
    tx: ReadTx,
    me: Me,
    room: Room,
    way: str,
    one: str | int = "",
    other: str | int = "",
    count: str | int = "",
    all: str | int = "",  # noqa: A002 - the field's name
) -> Reply:
    """A stretch of what happened here (programs): before, after, around or between the marks one and other, or the
    latest. A mark is a seq, or @ and a time in ms; all: not only what was said."""
    most = _at_most(me, count)
    kinds = SHOWN if all else SPOKEN

    def between(low: str | int, high: str | int, most: int, *, newest: bool) -> list[Event]:
        seqs: list[int | None] = [None, None]
        times: list[int | None] = [None, None]
        for index, mark in enumerate((low, high)):
            if mark != "":
                (times if str(mark).startswith("@") else seqs)[index] = _mark(mark)
        return tx.stretch(
            me.account,
            room.id,
            most,
            newest=newest,
            seqs=(seqs[0], seqs[1]),
            times=(times[0], times[1]),
            kinds=kinds,
        )

    match way:
        case "latest":
            events = between(one, "", most, newest=True)
        case "before":
            events = between("", one, most, newest=True)
        case "after":
            events = between(one, "", most, newest=False)
        case "between":
            back = str(one).startswith("@") is str(other).startswith("@") and _mark(one) > _mark(other)
            events = between(other if back else one, one if back else other, most, newest=back)
        case "around":
            before = between("", one, most // 2, newest=True)
            mark = f"@{_mark(one) - 1}" if str(one).startswith("@") else _mark(one) - 1
            events = before + between(mark, "", most - len(before), newest=False)
        case _:
            raise Refusal("BAD_USAGE", usage="/past <way>")
    return Reply("past", {"room": room.name, "room_id": room.id, "events": [event._asdict() for event in events]})


def _mark(typed: str | int) -> int:
    """A place in the log: a seq, or @ and a time in ms."""
    text = str(typed).removeprefix("@")
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise Refusal("BAD_USAGE", usage="/past <way>")
    return int(text)


@command("/talks <since> <until> [count]", topic="", read=True)
def talks(tx: ReadTx, me: Me, since: str | int, until: str | int, count: str | int = "") -> Reply:
    """The rooms in which something was last said between two times in ms, the earliest first (programs)."""
    low, high = sorted((_mark(since), _mark(until)))
    most = _at_most(me, count)
    named = {room.id: room.name for room in tx.rooms_of(me.account) if room.kind is not Kind.INBOX}
    found = sorted((at, seq, room) for room, seq, at in tx.last_said(me.account) if room in named and low < at < high)
    return Reply("talks", {"rooms": [{"room": named[room], "seq": seq, "at": at} for at, seq, room in found[:most]]})


@command("/seen", needs=Needs.MEMBER, topic="", read=True)
def seen(tx: ReadTx, me: Me, room: Room) -> Reply:
    """Up to which seq every other member of this room was shown everything (programs)."""
    return Reply("acked", {"room_id": room.id, "seq": tx.seen_by_others(room.id, me.account)})


def _page(room: Room, lines: list[Event], most: int) -> dict[str, Any]:
    return {
        "room": room.name,
        "room_id": room.id,
        "lines": [
            {
                "ev": line.kind,
                "seq": line.seq,
                "at": line.at,
                "by": line.by_name,
                "by_id": line.by,
                "text": line.text,
                "sealed": line.sealed,
                "proof": line.proof,
                "mid": line.mid,
                "data": line.data,
            }
            for line in lines
        ],
        "more": len(lines) == most,
    }


def _at_most(me: Me, count: str | int) -> int:
    """How many lines are asked for."""
    limits = me.settings.limits
    return min(_number(count), limits.history_lines_most) if count != "" else limits.history_lines


def _number(typed: str | int) -> int:
    """A positive number. The bound keeps it within what the database can compare."""
    text = str(typed)
    if not text.isascii() or not text.isdecimal() or len(text) > 18 or int(text) == 0:
        raise Refusal("BAD_USAGE", usage=_HISTORY)
    return int(text)


def _age(typed: str) -> int:
    """A length of time in ms: 30m, 2h, 3d."""
    match = _AGE.fullmatch(typed.lower())
    if match is None:
        raise Refusal("BAD_USAGE", usage=_HISTORY)
    return int(match[1]) * _AGE_MS[match[2]]


def _day(typed: str) -> tuple[int, int]:
    """When a date begins and ends in the server's local time (ms)."""
    try:
        day = datetime.strptime(typed, "%Y-%m-%d")
        return int(day.timestamp() * 1000), int((day + timedelta(days=1)).timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        raise Refusal("BAD_USAGE", usage=_HISTORY) from None
