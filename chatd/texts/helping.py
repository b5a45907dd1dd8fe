"""The help page, what it says of one command, and the menu."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from typing import Final

from chatd.texts.words import Fields, listed

WIDTH: Final = 79
TOPICS: Final = ("Talk", "Groups", "Admin", "Files", "Past", "You", "Also", "Keys")
TYPED: Final = {
    "Talk": ["type to talk", "@bob hi"],
    "Admin": ["#room may stand first:", "/kick #ops bob"],
    "Keys": ["Enter sends", "//x sends /x", "an empty line, or -1, ends a list"],
}
"""What the help page shows besides the commands."""

_CLAUSE: Final = re.compile(r"[.:;,](?: |$)")


def help_page(table: Iterable[Fields]) -> list[str]:
    """Every command by topic, on one screen of 80 by 24. `table` is the table for programs."""
    by_topic: dict[str, list[str]] = {topic: list(TYPED.get(topic, ())) for topic in TOPICS}
    for entry in table:
        if entry["topic"]:
            by_topic[entry["topic"]].append(entry["usage"])
    lines = []
    for topic, items in by_topic.items():
        whole = "  ".join(item.replace(" ", "\xa0") for item in items)
        lines += textwrap.wrap(
            whole,
            WIDTH,
            initial_indent=f"{topic:8}",
            subsequent_indent=" " * 8,
            break_on_hyphens=False,
        )
    return [line.replace("\xa0", " ") for line in lines] + ["/help NAME says more about a command."]


def help_for(entry: Fields) -> list[str]:
    """Usage, what it does, one example, who may use it; words are kept whole on a terminal of 80 columns."""
    aliases = f"   (also {listed(entry['aliases'])})" if entry["aliases"] else ""
    lines = [f"{entry['usage']}{aliases}", *textwrap.wrap(entry["help"], WIDTH)]
    if entry["example"]:
        lines.append(f"Example: {entry['example']}")
    return [*lines, WHO[entry["needs"]]]


WHO: Final = {
    "nothing": "For everybody, logged in or not.",
    "login": "For everybody who is logged in.",
    "operator": "For operators of this server.",
    "heard": "For members of the room, and for who was one.",
    "member": "For members of the room.",
    "admin": "For admins of the group.",
    "owner": "For the owner of the group.",
}


def menu(entries: Iterable[Fields]) -> list[str]:
    """The numbered commands with words, a line each: `/1 requests  Who asks to join this group`."""
    return [f"/{entry['n']} {entry['do']:9} {_CLAUSE.split(entry['help'])[0]}" for entry in entries]
