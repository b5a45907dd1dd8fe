"""How far the transfers are: one line each.

    trip.png 2.1 MB  [=======>    ] 61 %  3.1 MB/s  0:01    (keep typing)

The rule: pure; the time is given.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from chatd import texts
from client import formatting, sentences

BAR: Final = 12
WINDOW: Final = 5.0
"""Seconds over which the rate is taken."""
KEEP_TYPING: Final = "    (keep typing)"
LONGEST_NAME: Final = 24


class Meter:
    """How fast bytes come: of the last seconds, so that a pause shows."""

    def __init__(self, done: int, now: float) -> None:
        self._seen: deque[tuple[float, int]] = deque([(now, done)])

    def reach(self, done: int, now: float) -> None:
        """So many bytes are done."""
        seen = self._seen
        if len(seen) > 1 and now - seen[-2][0] < WINDOW / 50:
            seen[-1] = (now, done)
        else:
            seen.append((now, done))
        while len(seen) > 2 and now - seen[1][0] >= WINDOW:
            seen.popleft()

    def rate(self, now: float) -> float:
        """Bytes a second."""
        at, done = self._seen[0]
        return (self._seen[-1][1] - done) / max(now - at, 0.001)


def left(seconds: float) -> str:
    """Seconds as a clock has them.

    >>> left(1.2), left(754), left(9_300), left(1e9)
    ('0:02', '12:34', '2:35:00', '-:--')
    """
    whole = -int(-min(seconds, 1e9) // 1)
    if whole > 99 * 3600:
        return "-:--"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def line(name: str, done: int, total: int, rate: float, columns: int, number: int = 0, size: int | None = None) -> str:
    """One transfer's line, within so many columns. `number`: what `/cancel` calls it, where there are several; `size`:
    of the file, where other bytes than its own are counted.

    >>> line("trip.png", 1_281_000, 2_100_000, 3_100_000.0, 80)
    'trip.png 2.1 MB  [=======>    ] 61 %  3.1 MB/s  0:01    (keep typing)'
    """
    share = min(1.0, done / total) if total else 1.0
    full = int(share * BAR)
    bar = "=" * BAR if full == BAR else f"{'=' * full}>{' ' * (BAR - full - 1)}"
    time = left((total - done) / rate) if rate > 0 else "-:--"
    rest = f" {texts.size(total if size is None else size)}  [{bar}] {int(share * 100)} %  {texts.size(rate)}/s  {time}"
    return _line(name, rest, columns, number)


def waiting(name: str, size: int, columns: int, number: int = 0) -> str:
    """The line of one of which nothing can move before the server hears us.

    >>> waiting("trip.png", 2_100_000, 80)
    'trip.png 2.1 MB  waits for the server    (keep typing)'
    """
    return _line(name, f" {texts.size(size)}  {sentences.WAITS}", columns, number)


def _line(name: str, rest: str, columns: int, number: int) -> str:
    if number:
        rest += f"  /cancel {number}"
    if len(rest) + len(KEEP_TYPING) + min(formatting.width(name), LONGEST_NAME) < columns:
        rest += KEEP_TYPING
    return formatting.cut(name, max(4, min(LONGEST_NAME, columns - len(rest) - 1))) + rest
