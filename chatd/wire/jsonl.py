"""The json dialect: one object a line, for our client, bots and the web. docs/protocol.md has every field.

The rule: what a program sends is checked here for form and never for meaning.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from orjson import OPT_APPEND_NEWLINE, OPT_NON_STR_KEYS, JSONDecodeError, dumps, loads

from chatd import texts
from chatd.command import Settings, check_fields, lookup
from chatd.errors import Refusal
from chatd.limits import Limits
from chatd.model import Ask, Call, Envelope, Event, Kind, Reply, Room
from chatd.wire.framing import Lines, Overlong

QUIET: Final = frozenset({"done", "again", "acked"})
"""Replies of which a person is shown nothing: the events say it all."""

_IDS: Final = (str, int)
_MID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class Json:
    """The json dialect of one connection."""

    __slots__ = ("_lines",)

    shape = "json"
    interactive = False
    echo = True
    focused = False
    cursor = False
    decrypts = True
    lively = picky = False
    guests: Collection[int] = ()
    secure = certified = False
    farewell = ""

    def __init__(self, limits: Limits) -> None:
        self._lines = Lines(limits.line_bytes)

    def feed(self, data: bytes) -> list[bytes | Overlong]:
        """The lines that these bytes complete."""
        return self._lines.feed(data)

    def owed(self) -> bytes:
        """Nothing: this framing answers nothing."""
        return b""

    def wanted(self) -> list[Call]:
        """Nothing: it calls nothing by itself."""
        return []

    def renew(self, settings: Settings) -> bytes:
        """Nothing of it matters here."""
        return b""

    def widen(self, limit: int) -> None:
        """Take longer lines from now on."""
        self._lines.limit = limit

    def read(self, line: bytes) -> Call | None:
        """What a line asks for.

        @raise Refusal: BAD_LINE where it is no object with a "do", UNKNOWN_CMD, BAD_USAGE.
        """
        if not line.strip():
            return None
        fields = _parse(line)
        verb = fields.pop("do", None)
        if not isinstance(verb, str):
            raise Refusal("BAD_LINE")
        entry = lookup(verb)
        ref = fields.pop("id", None)
        if ref is not None and ref.__class__ not in _IDS:
            raise Refusal("BAD_USAGE", usage=entry.usage)
        mid = fields.pop("mid", None)
        if mid is not None and not (isinstance(mid, str) and _MID.fullmatch(mid)):
            raise Refusal("BAD_USAGE", usage=entry.usage)
        room: str | int | None = None
        if entry.needs.room:
            room = fields.pop("room", None)
            if room is not None and (not isinstance(room, str | int) or isinstance(room, bool)):
                raise Refusal("BAD_USAGE", usage=entry.usage)
        confirmed, asked = fields.pop("confirmed", True), fields.pop("asked", [])
        if not (
            isinstance(confirmed, bool) and isinstance(asked, list) and all(isinstance(name, str) for name in asked)
        ):
            raise Refusal("BAD_USAGE", usage=entry.usage)
        check_fields(entry, fields)
        return Call(entry.verb, fields, room, mid, ref, tuple(asked), confirmed)

    def ref_of(self, line: bytes) -> Any:
        """The "id" of a line that was refused, where it has one."""
        try:
            ref = _parse(line).get("id")
        except Refusal:
            return None
        return ref if ref.__class__ in _IDS else None

    def reply(self, call: Call, reply: Reply) -> bytes:
        """`{"re":3,"ok":{…},"as":"members"}`: "as" names the sentence (texts.REPLIES) that a person is to be shown."""
        if reply.name in QUIET:
            return _line({"re": call.ref, "ok": reply.fields})
        return _line({"re": call.ref, "ok": reply.fields, "as": reply.name})

    def refuse(self, ref: Any, refusal: Refusal, ask: Ask | None = None) -> bytes:
        """`{"re":3,"error":{"code":"ONLY_ADMIN","text":"…","help":"…",…}}`; "ask" asks for what is missing."""
        text, *more = texts.refusal(refusal.code, refusal.fields)
        error: dict[str, Any] = {"code": refusal.code, "text": text}
        if more:
            error["help"] = "\n".join(more)
        if ask is not None:
            error["ask"] = {
                "field": ask.field,
                "text": texts.prompt(ask.prompt, ask.fields),
                "secret": ask.secret,
                "many": ask.many,
                "lead": [] if ask.lead is None else texts.reply(ask.lead.name, ask.lead.fields),
            }
        return _line({"re": ref, "error": error | {"with": refusal.fields}})

    def notice(self, name: str, fields: Mapping[str, Any]) -> bytes:
        """`{"ev":"closing"}`"""
        return _line({"ev": name} | dict(fields))

    def now(self, name: str, fields: Mapping[str, Any], room: Room, viewer: int) -> bytes:
        """`{"ev":"typing","room_id":7,"people":[["bob",2]]}`"""
        return self.notice(name, fields)

    def envelope(self, envelope: Envelope) -> bytes:
        """`{"ev":"envelope","n":57,"seq":812,"room_id":7,"by":"bob","by_id":3,"device":"…","at":"…","envelope":"…"}`"""
        n, _, seq, room, by, by_name, sender, at, body = envelope
        return _line(
            {
                "ev": "envelope",
                "n": n,
                "seq": seq,
                "room_id": room,
                "by": by_name,
                "by_id": by,
                "device": sender,
                "at": moment(at),
                "envelope": body,
            }
        )

    def events(self, events: Sequence[Event], room: Room, viewer: int, current: bool) -> list[bytes]:
        """`{"ev":"say","seq":812,"room":"#ops","room_id":7,"by":"alice","by_id":3,"at":"…","text":"hi","mid":"…"}`"""
        lines = []
        where = label(room)
        for seq, at, kind, room_id, by, who, by_name, who_name, mid, text, data, sealed, proof in events:
            line: dict[str, Any] = {
                "ev": kind,
                "seq": seq,
                "room": where,
                "room_id": room_id,
                "by": by_name,
                "by_id": by,
            }
            line["at"] = moment(at)
            if who:
                line["who"] = who_name
                line["who_id"] = who
            if text is not None:
                line["text"] = text
            if mid is not None:
                line["mid"] = mid
            if sealed is not None:
                line["sealed"] = sealed
            if proof is not None:
                line["proof"] = proof
            if data is not None:
                line["data"] = data
            lines.append(dumps(line, option=OPT_APPEND_NEWLINE))
        return lines


def label(room: Room) -> str:
    """How a room is called in this dialect: `#ops`, `@bob`, or `inbox`."""
    return "inbox" if room.kind is Kind.INBOX else room.name


@lru_cache(maxsize=1024)
def moment(at: int) -> str:
    """ISO 8601 with milliseconds, UTC.

    >>> moment(1700000000123)
    '2023-11-14T22:13:20.123Z'
    """
    return f"{datetime.fromtimestamp(at // 1000, UTC):%Y-%m-%dT%H:%M:%S}.{at % 1000:03}Z"


def _line(value: Mapping[str, Any]) -> bytes:
    return dumps(value, option=OPT_APPEND_NEWLINE | OPT_NON_STR_KEYS)


def _parse(line: bytes) -> dict[str, Any]:
    """@raise Refusal: BAD_LINE, where it is no UTF-8 or no JSON object, or spells half of a surrogate pair."""
    try:
        fields = loads(line)
    except JSONDecodeError:
        raise Refusal("BAD_LINE") from None
    if not isinstance(fields, dict):
        raise Refusal("BAD_LINE")
    return _clean(fields) if b"\\u0000" in line else fields


def _clean(fields: dict[str, Any]) -> dict[str, Any]:
    """NUL, which no text may hold, becomes U+FFFD. Nothing nests deeper than a list; what does is refused later."""
    return {key: _clean_value(value) for key, value in fields.items()}


def _clean_value(value: Any) -> Any:
    if isinstance(value, list):
        return [part.replace("\x00", "\ufffd") if isinstance(part, str) else part for part in value]
    return value.replace("\x00", "\ufffd") if isinstance(value, str) else value
