"""How long messages are kept, and how they look when they are taken along: as text, JSON lines or a page of HTML.

The rule: a line of an exported text is what `/history` shows; in HTML nothing from data is markup.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

from chatd.model import Event
from chatd.texts.events import event as shown
from chatd.texts.files import offered
from chatd.texts.words import BLANK, BREAK, SEALED, Fields, Sentence, clean, kept, stamp


def _lines_of(fields: Fields) -> str:
    lines = [line for event in fields["events"] for line in text_of(Event(**event), fields["room"])]
    if not lines:
        return f"No messages in {fields['room']}."
    if fields["more"]:
        lines.append(f"More: /export {fields['room']} {fields['events'][-1]['seq']}")
    return "\n".join(lines)


REPLIES: Final[dict[str, Sentence]] = {
    "retention": lambda f: f"Messages of {f['room']} are kept {kept(f['seconds'], f['lines'])}.",
    "export": _lines_of,
}


# -- taking along -----------------------------------------------------------------------------------------------------


def said(event: Event) -> str:
    """What was said, or what stands for it."""
    if event.text is not None:
        return event.text
    return BLANK if event.sealed is None else SEALED


def text_of(event: Event, room: str) -> list[str]:
    """An event as `/history` shows it: `2026-11-01 14:02:07 alice: hi`; other kinds as people in the room saw it."""
    at = stamp(event.at)
    if event.kind == "file":
        return [f"{at} {event.by_name}: {offered(event, '/get')}"]
    if event.kind != "say":
        return [f"{at} {line}" for line in shown(event, room, 0, True)]
    head = f"{at} {event.by_name}"
    first, *more = [clean(part) for part in BREAK.split(said(event))]
    return [f"{head}: {first}", *(f"{head} | {part}" for part in more)]


def json_of(event: Event, room: str) -> list[str]:
    """An event as one JSON object: the members that docs/protocol.md has, without those that are empty."""
    fields: dict[str, Any] = {
        "ev": event.kind,
        "seq": event.seq,
        "room": room,
        "at": datetime.fromtimestamp(event.at / 1000, UTC).isoformat(timespec="milliseconds"),
        "by": event.by_name,
        "who": event.who_name,
        "text": event.text,
        "data": dict(event.data) if event.data else None,
        "sealed": event.sealed,
        "mid": event.mid,
    }
    return [json.dumps({name: value for name, value in fields.items() if value not in (None, "")}, ensure_ascii=False)]


def html_of(event: Event, room: str) -> list[str]:
    """An event as a paragraph."""
    at = f"<time>{stamp(event.at)}</time>"
    if event.kind == "file":
        return [f"<p>{at} <b>{html.escape(event.by_name)}</b> {html.escape(offered(event, '/get'))}</p>"]
    if event.kind != "say":
        return [f"<p class=event>{at} {html.escape(line)}</p>" for line in shown(event, room, 0, True)]
    text = "<br>".join(html.escape(clean(part)) for part in BREAK.split(said(event)))
    return [f"<p>{at} <b>{html.escape(event.by_name)}</b> {text}</p>"]


_HEAD: Final = """<!doctype html>
<html><head><meta charset="utf-8"><title>{room}</title>
<style>body{{font:15px/1.5 sans-serif;max-width:50em;margin:2em auto}} p{{margin:.2em 0}}
time,.event{{color:#777}}</style></head><body><h1>{room}</h1>"""
_WAYS: Final[dict[str, Callable[[Event, str], list[str]]]] = {"txt": text_of, "jsonl": json_of, "html": html_of}
FORMATS: Final = tuple(_WAYS)
"""What an export can be written as."""


def opening(room: str, form: str) -> list[str]:
    """What stands above the events in a file of one of the `FORMATS`; lines without their ends."""
    return [_HEAD.format(room=html.escape(room))] if form == "html" else []


def line(event: Event, room: str, form: str) -> list[str]:
    """An event."""
    return _WAYS[form](event, room)


def closing(form: str) -> list[str]:
    """What stands below."""
    return ["</body></html>"] if form == "html" else []


def exported(events: Iterable[Event], room: str, form: str) -> Iterator[str]:
    """All lines of a file."""
    yield from opening(room, form)
    for event in events:
        yield from line(event, room, form)
    yield from closing(form)
