"""The line below the prompt: the connection, unread lines, who is away, who is typing.

The rule: pure. What does not fit is cut; who is typing is always seen.
"""

from __future__ import annotations

from collections.abc import Callable

from client import formatting, sentences
from client.around import OFFLINE, Around, some
from client.view import Place, View


def status(connection: str, view: View, around: Around, now: float, columns: int, *, ascii_only: bool = False) -> str:
    """The line, within so many columns."""
    clean: Callable[[str], str] = formatting.clean
    parts = [connection]
    for number, room in enumerate(view.ordered(), 1):
        if room.unread:
            key = f"{number} " if number < 10 else ""
            name = clean(room.name) if room.kind == "group" or room.sealed else f"{clean(room.name)} [open]"
            parts.append(f"{key}{name} {room.unread:,}{'!' if room.mentions else ''}")
    place = view.place
    typing = ""
    if place is not None:
        parts += _who_is_away(place, around, view.me)
        typists = [clean(name) for name in around.typists(place.id, now)]
        if typists:
            typing = sentences.typing(some(typists), len(typists), "..." if ascii_only else "…")
    left = columns - (formatting.width(typing) + 2 if typing else 0)
    line = formatting.cut("  ".join(parts), max(left, 0), "")
    return formatting.cut("  ".join(filter(None, (line, typing))), columns, "")


def _who_is_away(place: Place, around: Around, me: str) -> list[str]:
    if place.kind == "direct" and around.state(place.id, place.name[1:]) == OFFLINE:
        return [sentences.IS_OFFLINE.format(name=formatting.clean(place.name[1:]))]
    away = [
        formatting.clean(f"{name} ({text})" if text else name)
        for name, text in ((sentences.YOU if name == me else name, text) for name, text in around.away(place.id))
    ]
    return [sentences.AWAY.format(names=some(away))] if away else []
