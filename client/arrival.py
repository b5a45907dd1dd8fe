"""Being let in: whose events these are, what was missed, and how it is shown before things go on live.

The rule: after a resume nothing is shown until everything missed is here (a ping is the barrier), so that too much of
it can become a count. By name and password the log is followed from now on, and what was missed is read as history.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from chatd import texts
from client import sentences
from client.past import as_said
from client.store import Held
from client.transcript import FIRST_SCREEN, REPLAY

if TYPE_CHECKING:
    from client.chat import Chat
    from client.view import Place


class Arrival:
    """How one chat comes in."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat
        self.missed = 0
        """How many lines of others came while there was no connection."""
        self._caught: deque[tuple[Mapping[str, Any], int]] | None = None

    @property
    def catching(self) -> bool:
        """Whether what was missed is still coming in."""
        return self._caught is not None

    def arrived(self, fields: Mapping[str, Any]) -> None:
        """Somebody is in: whoever was here before is forgotten, if it was another."""
        chat = self.chat
        me = [fields["name"], fields["account"]]
        known = chat.store.get("me")
        if known is not None and known[1] != me[1]:
            chat.store.forget_events()
            chat.view.leave()
            chat.view.cursor = fields["seq"]
            chat.transcript.forget()
        elif fields["seq"] < chat.view.cursor:
            chat.view.cursor = fields["seq"]  # it has less than we heard; what is here stays
        chat.trusted(fields["token"])
        chat.view.arrived(fields)
        if lost := fields.get("lost"):
            chat.view.cursor = max(chat.view.cursor, lost[1])
            chat.store.put(restored=True)
            chat.notice(sentences.RESTORED, style="class:offline")
        chat.store.put(token=fields["token"], me=me, where=chat.where)
        chat.moved()
        chat.later("watch", 0.0, self._watch)

    def _watch(self) -> None:
        """Ask to be told who is there, away and typing; an older server cannot."""
        if self.chat.inside and self.chat.face.watches:
            self.chat.link.call({"do": "watch"}).addErrback(lambda _: None)

    # -- by the token -------------------------------------------------------------------------------------------------

    def resume(self) -> None:
        """From here on events are gathered, until all that was missed is here."""
        self._caught = deque()
        self.chat.link.call({"do": "ping", "token": ""}).addCallbacks(
            lambda _: self.chat.opening.after(self._done), lambda _: None
        )

    def cut(self) -> None:
        """The connection has ended."""
        self._caught = None

    def gather(self, fields: Mapping[str, Any], weight: int) -> None:
        """An event came while we catch up."""
        assert self._caught is not None
        self.missed += weight > 0
        if len(self._caught) == REPLAY:
            self.chat.transcript.pass_over(self._caught.popleft()[0])
        self._caught.append((fields, weight))

    def _done(self) -> None:
        """All that was missed has been heard: show it, then go on live."""
        caught, self._caught = self._caught, None
        if caught is None:
            return
        chat = self.chat
        counts = {place.name: place.unread for place in chat.view.ordered() if place.unread}
        if counts and self.missed and not chat.outage:
            chat.notice(texts.away_summary(counts.items()))
        for fields, weight in caught:
            if self.missed <= REPLAY or fields["room_id"] == chat.view.current:
                chat.hearing.show(fields, weight, caught=True)
            else:
                chat.transcript.pass_over(fields)
        chat.drained()
        chat.receipts.moved(0.0)
        chat.face.caught_up()
        chat.face.refresh()

    # -- by name and password -----------------------------------------------------------------------------------------

    def first_time(self, fields: Mapping[str, Any]) -> None:
        """The log is followed from here, and what was missed is read as history."""
        chat = self.chat
        chat.view.cursor = max(chat.view.cursor, fields["seq"])
        chat.past.begin(chat.view.cursor)
        chat.save()
        missed = [(room, count) for room, count in fields["missed"] if count <= REPLAY]
        place = chat.view.place
        if place is not None and all(room != place.name for room, _ in missed):
            missed.append((place.name, FIRST_SCREEN))
        found: list[dict[str, Any]] = []
        waiting = len(missed)

        def page(answer: dict[str, Any], place: Place) -> None:
            found.extend(as_said(line, place) for line in answer["lines"])

        def done(_: object) -> None:
            nonlocal waiting
            waiting -= 1
            if waiting == 0:
                chat.opening.past(found, self._past)

        for name, count in missed:
            where = chat.view.find(name)
            if where is None:
                waiting -= 1
                continue
            chat.link.call({"do": "history", "room": where.id, "count": count}).addCallback(page, where).addErrback(
                lambda _: None
            ).addCallback(done)
        chat.sender.pump()

    def _past(self, found: list[dict[str, Any]]) -> None:
        """Lines from before this device was there."""
        found.sort(key=lambda fields: fields["seq"])
        self.chat.store.add([Held(fields["seq"], fields["room_id"], 0, fields) for fields in found])
        self.chat.transcript.past(found)
        self.chat.face.refresh()
