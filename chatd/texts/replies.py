"""Answers to calls, and what the server says by itself, by name.

The rule: how a subject's answers read stands in that subject's file (people, groups …); the table of all is here.
"""

from __future__ import annotations

from typing import Final

from chatd.texts import account, files, keeping, rooms
from chatd.texts.helping import help_for, help_page, menu
from chatd.texts.prompts import DOOR_AGAIN
from chatd.texts.refusals import REFUSALS
from chatd.texts.words import BLANK, BREAK, SEALED, Fields, Sentence, clean, safe, said, stamp, times


def reply(name: str, fields: Fields) -> list[str]:
    """The lines of an answer, or of what the server says by itself; none where nothing is to be shown."""
    if name in ("history", "found"):
        return past(fields)
    return said(REPLIES[name], safe(fields))


def past(fields: Fields) -> list[str]:
    """Lines of the past: `2026-11-01 14:02:07 alice: hi`, the later lines of one text marked as in `event`."""
    if not fields["lines"]:
        return [f"Nothing found in {fields['room']}." if "words" in fields else f"No messages in {fields['room']}."]
    return [row for line in fields["lines"] for row in _past(line)]


def _past(line: Fields) -> list[str]:
    head = f"{stamp(line['at'])} {clean(line['by'])}"
    text = line["text"]
    if line.get("ev") == "file":
        return [f"{head}: {files.about(line.get('data'), text, '/get')}"]
    if text is None:
        text = BLANK if line["sealed"] is None else SEALED
    first, *more = [clean(part) for part in BREAK.split(text)]
    return [f"{head}: {first}", *(f"{head} | {part}" for part in more)]


def _help(fields: Fields) -> str:
    return "\n".join(help_for(fields["command"]) if "command" in fields else help_page(fields["commands"]))


REPLIES: Final[dict[str, Sentence]] = {
    **account.REPLIES,
    **rooms.REPLIES,
    **files.REPLIES,
    **keeping.REPLIES,
    # what the server says by itself
    "door_wrong": DOOR_AGAIN,
    "hint": "Type to talk. /help for commands, /quit leaves.",
    "not_done": "Not done.",
    "closing": REFUSALS["DRAINING"],
    # answers: nothing where an event says it all, or the line itself was enough
    "done": "",
    "again": "",
    "acked": "",
    "bye": "Bye.",
    "pong": lambda fields: f"pong {fields['token']}".rstrip(),
    "help": _help,
    "menu": lambda fields: "\n".join(menu(fields["menu"])),
    "whereami": lambda fields: f"node {fields['node']} of {fields['nodes']}",
    "published": "",
    "manifest": "",
    "manifests": "",
    "bound": "",
    "links": "",
    "vault": "",
    "stock": "",
    "claimed": "",
    "recipients": "",
    "roomlog": "",
    "posted": "",
    "census": "",
    "past": "",
    "talks": "",
    "stats": lambda fields: (
        f"{times(fields['accounts'], 'account')}, {fields['online']:,} online,"
        f" {times(fields['nodes'], 'node')}, {times(fields['events'], 'event')}"
    ),
}
"""By name of a Reply or of a notice. An answer about accounts or groups stands in that subject's own table."""
