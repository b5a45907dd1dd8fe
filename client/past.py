"""A room's past: what of it lies here, and what is fetched from the server when somebody scrolls up.

The rule: from a room's floor on, every event is in the store. What is older may be there or not (another device heard
it, or this one long ago), so it is fetched before it is shown; what the store has already stays as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from client.store import Held
from client.view import as_event

if TYPE_CHECKING:
    from client.chat import Chat
    from client.view import Place

Events = list[dict[str, Any]]


class Past:
    """What one chat knows of what was."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat
        self._base: int = chat.store.get("base", 0)
        self._floors: dict[str, int] = chat.store.get("floors", {})

    def begin(self, seq: int) -> None:
        """The log is followed from here on; what was before is not here."""
        self._base, self._floors = seq, {}
        self.chat.store.put(base=seq, floors={})

    def floor(self, room: int) -> int:
        """From this seq on all events of the room are here; 0: there are no older ones."""
        return self._floors.get(str(room), self._base + 1)

    def page(self, room: int, before: int, count: int, show: Callable[[Events, bool], None]) -> None:
        """Show the `count` events of a room that come before a seq (or as many as there are), the oldest first.

        Also shown is whether these are the oldest that can be had now.
        """
        floor = self.floor(room)
        here = [fields for fields in self.chat.store.last(room, count, before=before) if fields["seq"] >= floor]
        if len(here) == count or not floor or not self.chat.inside:
            show(here, len(here) < count)
            return

        def opened(events: Events) -> None:
            self._keep(room, events, count)
            self.page(room, before, count, show)

        def fetched(answer: Mapping[str, Any]) -> None:
            events = [as_wire(event, answer["room"], room) for event in answer["events"]]
            for fields in events:
                self.gone(fields)
            self.chat.opening.past(events, opened)

        call = {"do": "past", "room": room, "way": "before", "one": min(floor, before), "count": count, "all": "yes"}
        self.chat.link.call(call).addCallbacks(fetched, lambda _: show(here, True))

    def gone(self, fields: Mapping[str, Any]) -> None:
        """Files that an event here told of cannot be had any more: it says so from now on. Told by an event of its own,
        or by how the server tells of that one now.
        """
        data = fields.get("data") or {}
        seq, how = (data.get("seq"), data.get("how")) if fields["ev"] == "gone" else (fields["seq"], data.get("gone"))
        kept = self.chat.store.event(seq) if how and isinstance(seq, int) else None
        told = {} if kept is None else kept.get("data") or {}
        if kept is not None and kept["room_id"] == fields["room_id"] and "file" in told and "gone" not in told:
            marked = {**kept, "data": {**told, "gone": str(how)}}
            self.chat.store.keep(Held(kept["seq"], kept["room_id"], self.chat.view.weight(as_event(marked)), marked))

    def newer(self, room: int, after: int, count: int) -> Events:
        """The events of a room that come after a seq that was shown; they are all here."""
        return self.chat.store.next(room, after, count)

    def _keep(self, room: int, events: Events, count: int) -> None:
        held = [Held(fields["seq"], room, 0, fields) for fields in events]
        self._floors[str(room)] = events[0]["seq"] if len(events) == count else 0
        self.chat.store.add(held, floors=self._floors)


def as_wire(event: Mapping[str, Any], name: str, room: int) -> dict[str, Any]:
    """An event of the server's answer about a room as it comes by itself: of that room, and no other."""
    fields: dict[str, Any] = {
        "ev": event["kind"],
        "seq": event["seq"],
        "room": name,
        "room_id": room,
        "by": event["by_name"],
        "by_id": event["by"],
        "at": event["at"],
    }
    if event["who"]:
        fields |= {"who": event["who_name"], "who_id": event["who"]}
    return fields | {
        name: event[name] for name in ("text", "mid", "sealed", "proof", "data") if event[name] is not None
    }


def as_said(line: Mapping[str, Any], place: Place) -> dict[str, Any]:
    """A line of the server's answer to `history` as it comes by itself: of that room, and no other."""
    kind = "file" if line.get("ev") == "file" else "say"
    return {**line, "ev": kind, "room": place.name, "room_id": place.id}
