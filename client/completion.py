"""What Tab offers: commands, people, rooms, emoji, paths.

The rule: pure, and nothing is listed here: commands and what their arguments are come from the table, people and rooms
from the view.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

from client import emoji
from client.commands import Commands, about_room
from client.view import View

MOST: Final = 50
_EMOJI: Final = re.compile(r"(?:^|(?<=\s)):([a-z0-9_+-]{2,})$")
_PEOPLE: Final = frozenset({"user", "people", "who"})
_ROOMS: Final = frozenset({"room", "place"})


class Offer(NamedTuple):
    """`text` would replace the last `length` characters; `shown` and `note` stand in the menu."""

    text: str
    length: int
    shown: str
    note: str = ""


def offers(before: str, view: View, commands: Commands) -> list[Offer]:
    """What could come next, where `before` is the line up to the cursor."""
    return list(_offers(before, view, commands))[:MOST]


def _offers(before: str, view: View, commands: Commands) -> Iterable[Offer]:
    if (match := _EMOJI.search(before)) is not None:
        return [Offer(picture, len(match[1]) + 1, f"{picture} :{name}:") for name, picture in emoji.starting(match[1])]
    word = before.rpartition(" ")[2]
    if before.startswith("/") and not before.startswith("//"):
        if " " not in before:
            return [
                Offer(f"{name} ", len(before), name, note)
                for name, note in commands.names()
                if name.startswith(before.lower())
            ]
        return _argument(before, word, view, commands)
    if before.startswith("@") and " " not in before:
        return [Offer(f"@{name} ", len(word), f"@{name}") for name in _people(word[1:], view)]
    if word.startswith("@"):
        return [Offer(f"@{name}", len(word), f"@{name}") for name in _people(word[1:], view)]
    if word.startswith("#"):
        return _rooms(word, view, groups=True)
    return []


def _argument(before: str, word: str, view: View, commands: Commands) -> Iterable[Offer]:
    name, _, rest = before.partition(" ")
    row = next((row for row in commands.rows if name in (f"/{row['do']}", *row["aliases"])), None)
    if row is None:
        return []
    words = rest.split(" ")
    if about_room(row) and words[0].startswith("#"):
        if len(words) == 1:
            return _rooms(word, view, groups=True)
        words = words[1:]
    if word.startswith("--"):
        flags = [f"--{arg['name']}" for arg in row["args"] if arg["shape"] == "flag"]
        return [Offer(f"{flag} ", len(word), flag) for flag in flags if flag.startswith(word)]
    places = [arg for arg in row["args"] if arg["shape"] in ("word", "rest", "list")]
    at = sum(not word.startswith("--") for word in words) - 1
    arg = places[min(at, len(places) - 1)] if places else None
    if arg is None or (at >= len(places) and arg["shape"] == "word"):
        return []
    return _of_kind(arg, word, rest, view, commands)


def _of_kind(arg: dict[str, Any], word: str, rest: str, view: View, commands: Commands) -> Iterable[Offer]:
    name = arg["name"]
    if name in _PEOPLE:
        return [Offer(f"{person} ", len(word), person) for person in _people(word.removeprefix("@"), view)]
    if name in _ROOMS:
        return _rooms(word, view, groups=name == "room")
    if name == "command":
        return [
            Offer(name[1:], len(word), name, note)
            for name, note in commands.names()
            if name.startswith(f"/{word.removeprefix('/')}")
        ]
    if name in ("path", "folder"):
        return paths(rest.lstrip())
    return []


def _people(start: str, view: View) -> list[str]:
    """Those whose names begin so, who are online first."""
    found = [name for name in view.people if name.startswith(start.lower()) and name != view.me]
    return sorted(found, key=lambda name: (not view.people[name], name))


def _rooms(start: str, view: View, *, groups: bool) -> list[Offer]:
    names = [place.name for place in view.ordered() if place.kind == "group" or not groups]
    return [
        Offer(f"{name} ", len(start), name)
        for name in names
        if start.lower() in (name[: len(start)], name[1 : len(start) + 1])
    ]


def paths(typed: str) -> list[Offer]:
    """Files and folders, hidden ones only when asked for."""
    folder, _, start = typed.rpartition("/")
    base = Path(os.path.expanduser(f"{folder}/" if folder or typed.startswith("/") else "."))
    try:
        found = sorted(base.iterdir(), key=lambda path: path.name)
    except OSError:
        return []
    return [
        Offer(f"{path.name}/" if path.is_dir() else path.name, len(start), path.name)
        for path in found[:2_000]
        if path.name.startswith(start) and (start.startswith(".") or not path.name.startswith("."))
    ]
