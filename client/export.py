"""Taking a room's past along: `/export` writes a file of text, JSON lines or HTML (FEATURES row 37).

The rule: what the server has is asked for page by page, and nothing is held in memory; where a line was opened here, or
kept here longer than there, ours is written. A file has its name only once it is whole, and never another's.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred

from chatd.filenames import saved_as
from chatd.texts import clean, keeping
from client import sentences
from client.answers import Lost, Refused
from client.files.landing import NoRoom, settle
from client.past import as_wire
from client.view import as_event

if TYPE_CHECKING:
    from client.chat import Chat

USAGE: Final = "Usage: /export [txt|jsonl|html, or a path that ends so]"
PAGE: Final = 500


class Export:
    """What one chat writes."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat
        self.under_way = 0

    def command(self, fields: Mapping[str, Any]) -> None:
        """`/export` was typed."""
        room = fields["room"]
        place = self.chat.view.places.get(room)
        name = clean(place.name if place is not None else str(room))
        if place is None and not self.chat.inside:  # one that was left: nothing of it is known here by its name
            self.chat.notice(sentences.NOT_NOW, style="class:error")
            return
        typed = str(fields.get("path") or "txt").strip().strip("'\"")
        form = typed if typed in keeping.FORMATS else Path(typed).suffix.removeprefix(".").lower()
        if form not in keeping.FORMATS:
            self.chat.notice(USAGE, style="class:error")
            return
        path = Path(self._name(name, form)) if typed == form else Path(typed).expanduser()
        self.under_way += 1
        Deferred.fromCoroutine(self._write(room, name, form, path)).addErrback(self._failed, path).addBoth(self._ended)

    def _name(self, room: str, form: str) -> str:
        """`ops-2026-11-21.txt`"""
        day = time.strftime("%Y-%m-%d", time.localtime(self.chat.now() / 1000))
        return saved_as(f"{re.sub(r'^[#@]', '', room)}-{day}.{form}")

    async def _write(self, room: int | str, name: str, form: str, path: Path) -> None:
        folder = path.parent
        handle, gathering = tempfile.mkstemp(prefix=".export-", dir=folder)
        gathered, count = Path(gathering), 0
        try:
            with open(handle, "w", encoding="utf-8", errors="replace", newline="\n") as out:
                _put(out, keeping.opening(name, form))
                async for fields in self._events(room):
                    lines = keeping.line(as_event(fields), name, form)
                    count += len(lines)
                    _put(out, lines)
                _put(out, keeping.closing(form))
                out.flush()
                os.fsync(out.fileno())
            there = settle(gathered, folder, path.name)
        finally:
            gathered.unlink(missing_ok=True)
        self.chat.notice(sentences.exported(count, name, str(there)))

    async def _events(self, room: int | str) -> Any:
        """Every event of the room that may be heard, the oldest first. Offline, those that are here."""
        if not self.chat.inside:
            for fields in self.chat.store.all(int(room)):
                yield fields
            return
        after, more = 0, True
        while more:
            answer = await self.chat.link.call({"do": "export", "room": room, "after": after})
            events = [
                as_wire(event, answer["room"], room if isinstance(room, int) else event["room"])
                for event in answer["events"]
            ]
            for fields in await self._opened(events):
                here = self.chat.store.event(fields["seq"])
                mine = here is not None and here["room_id"] == fields["room_id"] and ("text" in here or "warn" in here)
                yield here if mine else fields
                after = fields["seq"]
            more = bool(answer["more"])

    def _opened(self, events: list[dict[str, Any]]) -> Deferred[list[dict[str, Any]]]:
        """What the server sent of before: sealed lines opened, and nothing that it says in clear in a sealed room."""
        opened: Deferred[list[dict[str, Any]]] = Deferred()
        self.chat.opening.past(events, opened.callback)
        return opened

    def _failed(self, failure: Any, path: Path) -> None:
        error = failure.value
        if isinstance(error, Lost):
            why = sentences.EXPORT_CUT
        elif isinstance(error, Refused):
            why = str(error.error.get("text", error.code))
        elif isinstance(error, OSError):
            why = error.strerror or str(error)
        elif isinstance(error, NoRoom):
            why = str(error)
        else:
            failure.raiseException()
        self.chat.notice(sentences.NOT_EXPORTED.format(path=path, why=why), style="class:error")

    def _ended(self, result: Any) -> Any:
        self.under_way -= 1
        return result


def _put(out: IO[str], lines: Iterator[str] | list[str]) -> None:
    out.writelines(f"{line}\n" for line in lines)
