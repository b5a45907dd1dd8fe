"""Who is around: there, away, or typing, room by room, as the server tells it while there is a connection.

The rule: nothing here is kept. Without a connection nobody is known to be anywhere; who types is believed for a moment,
or until their line comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

TYPING: Final = 6.0
"""Seconds for which somebody is believed to be typing."""
MOST: Final = 1_000
SAID: Final = 1.0
"""Seconds after a line of theirs within which a word that they type is of that line, only late."""
AWAY, OFFLINE = "away", "offline"


class Around:
    """What is known of who is where. Times are in s, on any one clock."""

    def __init__(self) -> None:
        self._rooms: dict[int, dict[str, tuple[str, str]]] = {}
        self._typing: dict[int, dict[str, float]] = {}
        self._said: dict[tuple[int, str], float] = {}

    def forget(self) -> None:
        """The connection has ended."""
        self._rooms.clear()
        self._typing.clear()
        self._said.clear()

    def presence(self, fields: Mapping[str, Any]) -> list[tuple[str, bool]]:
        """The server tells who is how in a room; whom it named, and whether they are connected."""
        room = self._rooms.setdefault(fields["room_id"], {})
        if fields.get("whole"):
            room.clear()
        for name, _, state, text in fields["people"]:
            if state == OFFLINE:
                room.pop(name, None)
                self._typing.get(fields["room_id"], {}).pop(name, None)
            else:
                room[name] = (state, text)
        return [(name, state != OFFLINE) for name, _, state, _ in fields["people"]]

    def typing(self, fields: Mapping[str, Any], me: int, now: float) -> None:
        """The server tells who is typing; I know what I do myself."""
        number = fields["room_id"]
        room = self._typing.setdefault(number, {})
        for name, who in fields["people"]:
            if who != me and self._said.get((number, name), -SAID) <= now - SAID:
                room[name] = now + TYPING

    def said(self, room: int, name: str, now: float) -> None:
        """A line of theirs has come."""
        self._typing.get(room, {}).pop(name, None)
        if len(self._said) > MOST:
            self._said = {key: at for key, at in self._said.items() if at > now - SAID}
        self._said[room, name] = now

    def typists(self, room: int, now: float) -> list[str]:
        """Who is typing there now."""
        return [name for name, until in self._typing.get(room, {}).items() if until > now]

    def away(self, room: int) -> list[tuple[str, str]]:
        """Who of that room is away, and what they say about it."""
        return [(name, text) for name, (state, text) in self._rooms.get(room, {}).items() if state == AWAY]

    def state(self, room: int, name: str) -> str | None:
        """How somebody is there: online, away or offline; None: that is not told."""
        people = self._rooms.get(room)
        return None if people is None else people.get(name, (OFFLINE, ""))[0]


def some(names: Iterable[str], most: int = 2) -> str:
    """Some names as they are said.

    >>> some(["bob", "carol"]), some(["bob", "carol", "dave", "eve"])
    ('bob and carol', 'bob, carol and 2 more')
    """
    held = list(names)
    if len(held) > most:
        return f"{', '.join(held[:most])} and {len(held) - most:,} more"
    return " and ".join(held)
