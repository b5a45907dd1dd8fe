"""What comes from the server, once it is opened (opening.py): kept, folded into the view, and shown.

The rule: an event is in the store before it is on the screen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from client.around import TYPING
from client.store import Held
from client.view import as_event

if TYPE_CHECKING:
    from client.chat import Chat


class Hearing:
    """How one chat hears."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat

    def take(self, events: list[Mapping[str, Any]]) -> None:
        """Events, opened: kept first, shown then."""
        chat = self.chat
        held: list[Held] = []
        fresh: list[tuple[Mapping[str, Any], int]] = []
        for fields in events:
            if "seq" not in fields:
                self._told(fields)
                continue
            event = as_event(fields)
            if chat.view.fold(fields, event):
                weight = chat.view.weight(event)
                held.append(Held(event.seq, event.room, weight, fields))
                fresh.append((fields, weight))
        if held:
            moved = any(fields["ev"] != "say" for fields, _ in fresh)
            chat.store.add(held, **(chat.view.kept() if moved else {"cursor": chat.view.cursor}))
            chat.moved()
            chat.receipts.moved()
        for fields, weight in fresh:
            self._happened(fields, weight)
        chat.face.refresh()

    def _told(self, fields: Mapping[str, Any]) -> None:
        """Something that is no event of the log."""
        chat = self.chat
        match fields["ev"]:
            case "closing":
                chat.closing()
            case "presence":
                for name, online in chat.around.presence(fields):
                    chat.view.people[name] = online
            case "typing":
                chat.around.typing(fields, chat.view.account, chat.clock())
                chat.later("typing", TYPING, chat.face.refresh)

    def _happened(self, fields: Mapping[str, Any], weight: int) -> None:
        chat, view = self.chat, self.chat.view
        mine = fields.get("by_id") == view.account
        if mine and fields.get("mid") is not None:
            chat.sender.stored(fields["mid"], fields["seq"])
        if fields["ev"] == "say":
            chat.around.said(fields["room_id"], str(fields.get("by")), chat.clock())
        if fields["ev"] == "joined":
            chat.transcript.emit(chat.transcript.tail.joined(fields["room_id"]))
        chat.face.event(fields)
        entered = view.places.get(fields["room_id"])
        if fields["ev"] == "joined" and fields.get("who_id") == view.account and not view.current and entered:
            view.current = entered.id  # by approval or /add, where nothing was open (FEATURES row 16)
            chat.face.entered(entered)
        if chat.arrival.catching:
            chat.arrival.gather(fields, weight)
        else:
            self.show(fields, weight, live=True)
        if fields["ev"] == "file":
            chat.files.heard(fields, live=not chat.arrival.catching)
        elif fields["ev"] == "gone":
            chat.past.gone(fields)

    def late(self, fields: Mapping[str, Any]) -> None:
        """An event that was here can be read only now."""
        self.chat.transcript.late(fields)
        if fields["ev"] == "file":
            self.chat.files.heard(fields, live=False)
        self.chat.face.refresh()

    def show(self, fields: Mapping[str, Any], weight: int, *, live: bool = False, caught: bool = False) -> None:
        """Show an event, and ask who has seen it where it is mine."""
        if self.chat.transcript.event(fields, weight, live=live, caught=caught):
            self.chat.receipts.wrote()
