"""A window becomes narrower: where, then, is what was drawn?

The rule: most terminals wrap anew what stands there, so that each row drawn becomes one or several, and what is drawn
again must begin as many rows higher. Those that cut instead are known by their names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def wraps_anew(environment: Mapping[str, str]) -> bool:
    """Whether the terminal wraps anew what stands in a window that becomes narrower."""
    name = environment.get("TERM", "")
    if "TMUX" in environment:
        return True
    return not ("XTERM_VERSION" in environment or name.startswith(("linux", "rxvt", "screen", "vt")))


def rows_of(widths: Iterable[int], columns: int) -> int:
    """How many rows letters of these widths take; a wide one is not parted.

    >>> rows_of([1] * 20, 20), rows_of([1] * 21, 20), rows_of([2] * 3, 5)
    (1, 2, 2)
    """
    rows, used = 1, 0
    for width in widths:
        used += width
        if used > columns:
            rows, used = rows + 1, width
    return rows


def rows_more(screen: Any, cursor: Any, columns: int) -> int:
    """How much further down the cursor of prompt_toolkit's last screen is, now that there are so many columns."""
    more = 0
    for number in range(cursor.y + 1):
        row = screen.data_buffer[number]
        end = (
            cursor.x
            if number == cursor.y
            else max((at for at, letter in row.items() if letter.char.strip()), default=-1)
        )
        widths = [row[at].width for at in range(end + 1) if row[at].width]
        more += rows_of(widths, columns) - 1
    return more
