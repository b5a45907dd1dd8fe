"""A line of the client, from its reading to the last of its answers."""

from __future__ import annotations

from collections.abc import Mapping

from chatd.wire.irc.line import Line


class Asked:
    """A line of the client, while it is answered. `left`: how many of its calls are not settled."""

    __slots__ = ("command", "gathered", "label", "left", "lines", "params", "people", "service", "tags")

    def __init__(self, command: str, params: list[str], label: str | None = None) -> None:
        self.command = command
        self.params = params
        self.label = label
        self.left = 0
        self.lines: list[Line] = []
        self.service = False
        self.tags: Mapping[str, str] = {}
        self.gathered: list[str] = []
        self.people = 0

    def quiet(self) -> None:
        """It is answered with another line."""
        self.label = None

    def put(self, line: Line) -> None:
        """One more line of the answer."""
        self.lines.append(line)
