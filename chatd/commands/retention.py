"""What a group keeps, and taking along what one may hear.

The rule: nothing is blanked here; retention.py carries out what is decided, step by step.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from chatd import rules
from chatd.command import command, refuse_role
from chatd.commands.talk import SHOWN
from chatd.errors import Refusal
from chatd.model import Bounds, Kind, Me, Reply, Room
from chatd.rules import Needs

if TYPE_CHECKING:
    from chatd.store import ReadTx, Tx

_USAGE: Final = "/retention [30d] [500] | off"
_AGE: Final = re.compile(r"(\d{1,6})([mhdwy])")
_SECONDS: Final = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800, "y": 31_536_000}
_MOST: Final = 100 * _SECONDS["y"]
_LINES: Final = 9
"""Digits that a number of lines may have."""


@command("/retention [keep...]", needs=Needs.MEMBER, topic="Admin", example="/retention 30d")
def retention(tx: Tx, me: Me, room: Room, keep: str = "") -> Reply:
    """How long this group keeps messages; an admin sets an age (30d, 12h), a number of the newest, both, or off."""
    if room.kind is not Kind.GROUP:
        raise Refusal("GROUPS_ONLY", command="/retention", room=room.name)
    if not keep:
        bounds = rules.narrower(tx.retention(room.id), me.settings.keep)
        return Reply("retention", {"room": room.name, "room_id": room.id, **bounds._asdict()})
    code = rules.may_command(Needs.ADMIN, room.role)
    if code is not None:
        refuse_role(tx, code, room, "/retention")
    bounds = Bounds() if keep == "off" else _bounds(keep)
    seq = tx.append("retention", room.id, me.account, data=bounds._asdict())
    tx.set_retention(room.id, bounds)
    return Reply("done", {"seq": seq})


def _bounds(typed: str) -> Bounds:
    """The age in seconds and the number of lines that somebody typed, either or both.

    @raise Refusal: BAD_USAGE.
    """
    seconds = lines = None
    for word in typed.lower().split():
        if (age := _AGE.fullmatch(word)) is not None and seconds is None:
            seconds = min(int(age[1]) * _SECONDS[age[2]], _MOST)
        elif word.isascii() and word.isdecimal() and len(word) <= _LINES and lines is None:
            lines = int(word)
        else:
            raise Refusal("BAD_USAGE", usage=_USAGE)
    if seconds == 0 or lines == 0:
        raise Refusal("BAD_USAGE", usage=_USAGE)
    return Bounds(seconds, lines)


@command("/export [after]", needs=Needs.HEARD, topic="Past", example="/export", read=True)
def export(tx: ReadTx, me: Me, room: Room, after: str | int = "") -> Reply:
    """All that you may hear of this room from the beginning, or after an id, by pages; in chat, written to a file. Of a
    group that you have left, what came while you were in it.
    """
    start = str(after or 0)
    if not start.isascii() or not start.isdecimal() or len(start) > 18:
        raise Refusal("BAD_USAGE", usage="/export [after]")
    most = me.settings.limits.history_lines_most
    events = tx.stretch(me.account, room.id, most + 1, newest=False, seqs=(int(start), None), kinds=SHOWN)
    more, events = len(events) > most, events[:most]
    fields: dict[str, Any] = {"events": [event._asdict() for event in events], "more": more}
    return Reply("export", {"room": room.name, "room_id": room.id} | fields)
