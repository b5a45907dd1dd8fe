"""A stretch of lines, looked at through a window of some rows: pure, and the same for any terminal.

The rule: however long the past is, only so many lines are held; those far from the window are dropped and had again.
"""

from __future__ import annotations

from typing import Final

from client import formatting
from client.formatting import Fragments
from client.lines import Line

MOST: Final = 1_000
"""How many lines are held."""


class Scroll:
    """Lines, oldest first. `bottom`: so many of them begin in the window or above it; `below`: so many rows of the last
    of these stand below the window."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.bottom = self.below = 0
        self.size = (80, 23)

    def older(self, lines: list[Line]) -> bool:
        """These come before all others; whether newest ones were dropped."""
        self.lines[:0] = lines
        self.bottom += len(lines)
        most = max(MOST, self.bottom)
        dropped = len(self.lines) > most
        del self.lines[most:]
        return dropped

    def newer(self, lines: list[Line]) -> None:
        """These come after all others."""
        self.lines += lines
        extra = min(len(self.lines) - MOST, self._window()[0])
        if extra > 0:
            del self.lines[:extra]
            self.bottom -= extra

    def up(self, rows: int = 0) -> None:
        """Look at what is above: by so many rows, or by a window less one row."""
        self._move(-(rows or max(1, self.size[1] - 1)))
        self.settle()

    def down(self, rows: int = 0) -> bool:
        """Look at what is below; False: there was nothing more."""
        before = self.bottom, self.below
        self._move(rows or max(1, self.size[1] - 1))
        return (self.bottom, self.below) != before

    def to_end(self) -> None:
        """Look at the last of them."""
        self.bottom, self.below = len(self.lines), 0

    def to_start(self) -> None:
        """Look at the first of them."""
        self.bottom = self.below = 0
        self.settle()

    def settle(self) -> None:
        """The window is filled, as far as there are lines."""
        self._move(0)
        self._move(self.size[1] - len(self.shown()))

    @property
    def at_start(self) -> bool:
        """Whether the first line is in the window."""
        return self._window()[0] == 0

    @property
    def near_start(self) -> bool:
        """Whether little is held above the window."""
        return self._window()[0] < 50

    @property
    def near_end(self) -> bool:
        """Whether little is held below the window."""
        return len(self.lines) - self.bottom < 50

    def shown(self) -> list[Fragments]:
        """What stands in the window, row by row; a line that is wider takes several."""
        return self._window()[1]

    def _move(self, rows: int) -> None:
        """The end of the window comes so many rows further down, or up, as far as there are lines."""
        self.below -= rows
        while self.below < 0 and self.bottom < len(self.lines):
            self.below += len(self._rows(self.bottom))
            self.bottom += 1
        while self.bottom > 1 and self.below >= (height := len(self._rows(self.bottom - 1))):
            self.below -= height
            self.bottom -= 1
        self.below = max(0, min(self.below, len(self._rows(self.bottom - 1)) if self.bottom else 0))

    def _window(self) -> tuple[int, list[Fragments]]:
        """The first line in the window, and its rows."""
        found: list[Fragments] = []
        top = self.bottom
        while top > 0 and len(found) < self.size[1]:
            top -= 1
            rows = self._rows(top)
            found[:0] = rows[: len(rows) - self.below] if top == self.bottom - 1 else rows
        return top, found[max(0, len(found) - self.size[1]) :]

    def _rows(self, number: int) -> list[Fragments]:
        """A line as the rows that it takes."""
        return [part for row in self.lines[number].shown() for part in formatting.wrapped(row, self.size[0])]
