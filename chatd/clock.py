"""The clocks that things go by.

The rule: the time of day is for people to read; nothing waits by it, since it may be set. What ends for good by it
(logins, files, what is not kept) follows no leap of it before that has proved to be no mistake.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

LEAP_MS: Final = 3_600_000
"""How far the time of day may move against the time that has passed before it is believed no more."""
STEADY_MS: Final = 86_400_000
"""How long it must then go on steadily to be believed again; and how long a server may have been off."""


def never_set(reactor: Any) -> None:
    """Have the reactor's timers go by the monotonic clock. Twisted's go by the time of day: set back by an hour, no
    heart would beat for that hour. Nothing is changed once a timer runs.
    """
    if not reactor.getDelayedCalls():
        reactor.seconds = time.monotonic


def passed_ms() -> int:
    """Milliseconds since the machine started, those in which it slept included: never set back."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


class Calendar:
    """The time (ms) by which things end for good: the time of day, `clock`, which is not believed when it leaps.

    While it is not, time goes on as it has passed. Back from where it leapt it is believed at once; where it stays, a
    day later. `known`: when it was believed last, before this start; None: it never was.
    """

    def __init__(
        self, clock: Callable[[], int], known: int | None = None, *, passed: Callable[[], int] = passed_ms
    ) -> None:
        self._clock = clock
        self._passed = passed
        self._offset = clock() - passed()
        self._leapt: tuple[int, int] | None = None
        if known is not None and abs(clock() - known) > STEADY_MS:
            self._offset = known - passed()

    def now(self) -> int:
        """That time."""
        moment, passed = self._clock(), self._passed()
        offset = moment - passed
        leapt = self._leapt
        if abs(offset - self._offset) <= LEAP_MS:
            self._leapt = None
            return moment
        if leapt is None or abs(offset - leapt[0]) > LEAP_MS:
            self._leapt = (offset, passed)
        elif passed - leapt[1] >= STEADY_MS:
            self._offset, self._leapt = offset, None
            return moment
        return passed + self._offset

    @property
    def doubts(self) -> int:
        """By how much (ms) the time of day is not believed; 0: it is."""
        return 0 if self._leapt is None else self._leapt[0] - self._offset
