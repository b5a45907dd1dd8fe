"""What is typed, on its way: lines through the outbox, commands behind them.

The rule: a line is on disk before it is on the screen, and on the screen before it is on the wire. A command does not
overtake a line. A call whose answer was cut off is made again under its mid, so it is done once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from client import sentences
from client.answers import Lost, Refused
from client.outbox import Entry, Mark, Outbox

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from client.chat import Chat
    from client.conversation import Call

AGAIN_WITHIN: Final = 60.0
"""Seconds within which a call whose answer was cut off is sent again, under the same mid."""
PATIENT: Final = frozenset({"login", "register", "password", "delete-account"})


class Sender:
    """What one chat sends."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat
        self.outbox = Outbox(chat.store.outbox())
        self.sent = 0
        """How many lines were stored since the connection was last gone."""
        self._calling = 0
        self._cut: list[tuple[float, Call]] = []
        self._behind: list[Call] = []

    @property
    def unsent(self) -> int:
        """How many lines of mine are not stored yet."""
        return len(self.outbox.queued(self.chat.view.account))

    @property
    def busy(self) -> bool:
        """Whether an answer is awaited before the next line can be understood."""
        return self._calling > 0 or bool(self._behind)

    # -- calls --------------------------------------------------------------------------------------------------------

    def call(self, call: Call) -> None:
        """Send a call and show what comes of it. It does not overtake lines that are on their way."""
        if self.unsent and self.chat.talk.online and self.chat.talk.inside and call.mid is not None:
            self._behind.append(call)
            return

        def answered(fields: dict[str, Any]) -> None:
            self._calling -= 1
            sentence = fields.pop("as")
            if sentence == "files":
                self.chat.files.named(fields["files"])
            elif sentence == "cancelled":
                self.chat.files.named([fields])
            self.chat.typist.do(self.chat.talk.answered(call, fields, sentence))
            self.chat.typist.go_on()
            self.chat.face.refresh()

        def refused(failure: Failure) -> None:
            self._calling -= 1
            if isinstance(failure.value, Refused):
                self.chat.typist.do(self.chat.talk.refused(call, failure.value.error))
                self.chat.typist.go_on()
                self.chat.face.refresh()
            elif isinstance(failure.value, Lost):
                if call.mid is not None:
                    self._cut.append((self.chat.clock(), call))
            else:
                failure.raiseException()

        self._calling += 1
        wire = call.wire()
        if call.do in ("login", "register"):
            wire["client"] = "chat"
        self.chat.sealed_calls.call(call, wire, patient=call.do in PATIENT).addCallbacks(answered, refused)

    def cut(self) -> None:
        """The connection has ended: lines wait; calls that waited behind them are not made."""
        self.outbox.cut()
        behind, self._behind = self._behind, []
        for call in behind:
            self.chat.notice(f"{sentences.NOT_SENT}{call.text}", sentences.NOT_NOW, style="class:error")

    def again(self) -> None:
        """Calls whose answers were cut off: done once, whatever had become of them."""
        cut, self._cut = self._cut, []
        for at, call in cut:
            if self.chat.clock() - at <= AGAIN_WITHIN:
                self.call(call)
            else:
                self.chat.notice(f"{sentences.NOT_SENT}{call.text}", style="class:error")

    def release(self) -> None:
        """All lines are stored: what waited behind them is called."""
        behind, self._behind = self._behind, []
        for call in behind:
            self.call(call)

    # -- lines --------------------------------------------------------------------------------------------------------

    def queue(self, entry: Entry) -> None:
        """A line: on disk, then on the screen, then on the wire."""
        self.chat.store.queue(entry)
        self.outbox.add(entry)
        self.chat.transcript.add(self.chat.transcript.writer.queued(entry))
        self.pump()

    def pump(self) -> None:
        """Send the next line that waits."""
        if not (self.chat.talk.online and self.chat.talk.inside):
            return
        entry = self.outbox.next(self.chat.view.account)
        if entry is None:
            return
        wire: dict[str, Any] = {"do": entry.do, "mid": entry.mid, "text": entry.text, **entry.fields}
        if entry.do == "say":
            place = self.chat.view.find(entry.room) if isinstance(entry.room, str) else None
            wire["room"] = entry.room if place is None else place.id

        def answered(fields: dict[str, Any]) -> None:
            if fields.get("partly"):
                self.chat.transcript.partly(entry.mid)
            self.stored(entry.mid, fields.get("seq", 0))
            self.pump()

        def refused(failure: Failure) -> None:
            if isinstance(failure.value, Refused):
                self._refused(entry, failure.value.error)
            elif not isinstance(failure.value, Lost):
                failure.raiseException()

        self.chat.sealed.send(entry, wire).addCallbacks(answered, refused)

    def stored(self, mid: str, seq: int) -> None:
        """The server has it, by its answer or by the event itself."""
        entry = self.outbox.stored(mid)
        if entry is not None:
            self.chat.store.unqueue(mid)
            self.sent += 1
            self.chat.face.fate(entry, seq, None)
            self.chat.drained()
        if seq and seq <= self.chat.view.cursor:
            self.chat.transcript.tail.take(mid)  # its event was shown before; only the answer had been cut off
        else:
            for line in self.chat.transcript.tail.queued:
                if line.mid == mid:
                    line.mark = Mark.STORED
        self.chat.face.refresh()

    def _refused(self, entry: Entry, error: Mapping[str, Any]) -> None:
        fate = self.outbox.refused(entry.mid, error["code"], error.get("with", {}).get("wait"))
        if fate.wait is not None:
            self.chat.later("pump", fate.wait, self.pump)
            return
        self.chat.store.unqueue(entry.mid)
        self.chat.transcript.tail.take(entry.mid)
        self.chat.notice(
            f"{sentences.NOT_SENT}{entry.text.splitlines()[0] if entry.text else ''}",
            *(error["text"], *error.get("help", "").splitlines()),
            style="class:error",
        )
        self.chat.face.fate(entry, 0, error)
        self.chat.drained()
        self.pump()
