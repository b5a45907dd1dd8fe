"""Who has seen what: how far I have seen goes to the server, and whether all have seen my lines is asked of it.

The rule: at most one word a second, and never before what it speaks of is on disk here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from client.outbox import Mark

if TYPE_CHECKING:
    from client.chat import Chat

ACK: Final = 1.0
"""Seconds between two words to the server about how far we have seen."""
ASK: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds between two questions whether all have seen what I wrote."""


class Receipts:
    """What one chat tells and asks about lines seen."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat
        self._acked = 0
        self._asked = 0

    def moved(self, within: float = ACK) -> None:
        """The cursor went on."""
        self.chat.later("ack", within, self.acknowledge)

    def acknowledge(self) -> None:
        """Tell the server how far we have seen, and keep it."""
        chat = self.chat
        chat.save_if_moved()
        if chat.inside and chat.view.cursor > self._acked and not chat.arrival.catching:
            self._acked = chat.view.cursor
            chat.link.call({"do": "ack", "seq": self._acked}).addErrback(lambda _: None)

    def wrote(self) -> None:
        """A line of mine stands there: who has seen it?"""
        self._asked = 0
        self.chat.later("seen", ASK[0], self._ask)

    def _ask(self) -> None:
        """Ask whether every other member has seen what I wrote, while it is still on the screen."""
        chat, tail = self.chat, self.chat.transcript.tail
        if not (tail.waiting and chat.talk.online):
            return
        for room in {line.room for line in tail.lines if line.mark is Mark.STORED}:
            chat.link.call({"do": "seen", "room": room}).addCallbacks(self._seen, lambda _: None)
        self._asked = min(self._asked + 1, len(ASK) - 1)
        chat.later("seen", ASK[self._asked], self._ask)

    def _seen(self, fields: Mapping[str, Any]) -> None:
        transcript = self.chat.transcript
        transcript.emit(transcript.tail.seen(fields["room_id"], fields["seq"]))
        self.chat.face.refresh()
