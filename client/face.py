"""What a face is: who shows a chat to a person, or to a script.

The rule: a face is only told, and only types. Each method may stay as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from client.files.ability import Look, Way

if TYPE_CHECKING:
    from pathlib import Path

    from client.lines import Line
    from client.outbox import Entry
    from client.view import Place


class Face:
    """Who shows. Each method may stay as it is."""

    keep = 0
    """How many lines it can still change below what it has shown."""
    says_where = False
    ascii_only = False
    watches = False
    """Whether it shows who is there, away and typing."""

    def taken(self, line: str) -> None:
        """This typed line is understood now."""

    def show(self, lines: list[Line]) -> None:
        """These lines are final."""

    def refresh(self) -> None:
        """The prompt, the tail or the status has changed."""

    def ring(self, title: str, text: str) -> None:
        """A line came that is to be noticed."""

    def local(self, do: str, fields: Mapping[str, Any]) -> None:
        """A command that only a face can do."""

    def event(self, fields: Mapping[str, Any]) -> None:
        """An event was heard."""

    def caught_up(self) -> None:
        """Everything missed has been heard; from now on it is live."""

    def entered(self, place: Place) -> None:
        """This room has become the current one by itself."""

    def at_door(self) -> None:
        """The server knows nobody here."""

    def fate(self, entry: Entry, seq: int, error: Mapping[str, Any] | None) -> None:
        """A line was stored, or refused for good."""

    def look(self) -> Look:
        """How a picture can be shown here, and how large."""
        return Look(Way.WORDS, 0, 0)

    def resumes(self, record: Mapping[str, Any]) -> bool:
        """Whether a transfer that an earlier run left is to go on now."""
        return True

    def filed(self, key: str, where: Path | None, fault: Sequence[str]) -> None:
        """A transfer is over: a file was sent, or fetched to `where`, unless there is a fault."""

    def unreachable(self, why: str, wait: float) -> None:
        """There is no connection."""

    def distrusted(self, why: str) -> None:
        """The server's certificate is not good; the sentence that says why."""

    def bye(self) -> None:
        """It is over."""


def halt(reactor: Any) -> None:
    """End the program, once what is on the wire has left."""

    def stop() -> None:
        if reactor.running:
            reactor.stop()

    reactor.callLater(0.05, stop)
