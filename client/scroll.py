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
    """Lines, oldest first. `bottom`: so many of them end where the window ends."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.bottom = 0
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
        extra = min(len(self.lines) - MOST, self._top()[0])
        if extra > 0:
            del self.lines[:extra]
            self.bottom -= extra

    def up(self, lines: int = 0) -> None:
        """Look at what is above: by so many lines, or by a window less one line."""
        top, _ = self._top()
        self.bottom = self.bottom - lines if lines else min(top + 1, self.bottom - 1)
        self._settle()

    def down(self, lines: int = 0) -> bool:
        """Look at what is below; False: there was nothing more."""
        before = self.bottom
        if lines:
            self.bottom += lines
        else:
            columns, left = self.size
            for line in self.lines[max(0, self.bottom - 1) :]:
                left -= self._rows(line, columns)
                if left < 0 and self.bottom > before:
                    break
                self.bottom += 1
            self.bottom = max(before + 1, self.bottom - 1)
        self._settle()
        return self.bottom > before

    def to_end(self) -> None:
        """Look at the last of them."""
        self.bottom = len(self.lines)

    def to_start(self) -> None:
        """Look at the first of them."""
        self.bottom = 0
        self._settle()

    @property
    def near_start(self) -> bool:
        """Whether little is held above the window."""
        return self._top()[0] < 50

    @property
    def near_end(self) -> bool:
        """Whether little is held below the window."""
        return len(self.lines) - self.bottom < 50

    def shown(self) -> list[Fragments]:
        """What stands in the window, row by row; a line that is cut off above shows its later rows only if it wraps in
        rows of its own (a terminal wraps the rest)."""
        top, _ = self._top()
        return [row for line in self.lines[top : self.bottom] for row in line.shown()]

    def _settle(self) -> None:
        """The window is filled, as far as there are lines."""
        self.bottom = min(max(1, self.bottom), len(self.lines))
        columns, left = self.size
        for line in self.lines[: self.bottom]:
            left -= self._rows(line, columns)
            if left <= 0:
                return
        while self.bottom < len(self.lines):
            left -= self._rows(self.lines[self.bottom], columns)
            if left < 0:
                return
            self.bottom += 1

    def _top(self) -> tuple[int, int]:
        """The first line in the window, and the rows that are left above it."""
        columns, left = self.size
        top = self.bottom
        while top > 0:
            left -= self._rows(self.lines[top - 1], columns)
            if left < 0 and top < self.bottom:
                return top, left + self._rows(self.lines[top - 1], columns)
            top -= 1
            if left <= 0:
                break
        return top, max(left, 0)

    @staticmethod
    def _rows(line: Line, columns: int) -> int:
        return sum(formatting.rows(formatting.plain(row), columns) for row in line.shown())
