"""How many connections there may be: in all, from one address, and at the door; and how much may be asked a second.

The rule: whoever is too many is told so in one sentence and let go, and costs nobody who is in anything. Connections
from the machine itself are not counted by address (unless `limit_loopback`), but they take places like all others.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

from twisted.logger import Logger

from chatd.errors import Refusal
from chatd.limits import Limits

RESTS_AFTER: Final = 64
RESTS_MOST: Final = 60.0
"""Refused lines, more than were taken, after which a connection is not read for as long as they would have taken, at
the most so many seconds: to refuse costs, too, and whoever writes without a pause costs no more than who keeps pace."""
LOGIN: Final = 0.004
"""Seconds of a commit for each who may come in by it."""
PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_log = Logger()


def network(address: str) -> str:
    """What one person has of addresses: an IPv4 address, or a /64 of IPv6."""
    return str(ip_network(f"{address}/64", strict=False)) if ":" in address else address


def resident() -> int:
    """How much memory this process has, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


class Bucket:
    """So much at once, then so much a second."""

    __slots__ = ("_left", "_stamp")

    def __init__(self, burst: float, now: float) -> None:
        self._left = burst
        self._stamp = now

    def take(self, amount: float, burst: float, rate: float, now: float) -> float:
        """Take so much, where it is there. Seconds until it will be; 0: it was."""
        self._left = min(burst, self._left + max(0.0, now - self._stamp) * rate)
        self._stamp = now
        if self._left >= amount:
            self._left -= amount
            return 0.0
        return (amount - self._left) / rate

    def spend(self, amount: float, burst: float, rate: float, now: float) -> float:
        """Take so much, whether it is there or not: it has come already. Seconds until nothing is owed."""
        self._left = min(burst, self._left + max(0.0, now - self._stamp) * rate) - amount
        self._stamp = now
        return max(0.0, -self._left / rate)

    def full(self, burst: float, rate: float, now: float) -> bool:
        """Whether it is as full as a new one."""
        return self._left + (now - self._stamp) * rate >= burst


class Pace:
    """How fast one connection may send lines; and when so many more come that it is not read for a while."""

    __slots__ = ("_bucket", "_excess")

    def __init__(self, limits: Limits, now: float) -> None:
        self._bucket = Bucket(limits.lines_burst, now)
        self._excess = 0

    def take(self, limits: Limits, now: float) -> float:
        """One more line. Seconds until it would be welcome; 0: it is."""
        wait = self._bucket.take(1, limits.lines_burst, limits.lines_per_second, now)
        if wait:
            self._excess += 1
        elif self._excess:
            self._excess -= 1
        return wait

    def rest(self, limits: Limits) -> float:
        """Seconds for which to read nothing, behind so many lines too many; 0: go on."""
        return min(RESTS_MOST, self._excess / limits.lines_per_second) if self._excess >= RESTS_AFTER else 0.0


def at_once(limits: Limits, seconds: float) -> int:
    """How many may come in by one commit where one takes so long: who says something meanwhile waits for all of them,
    so that it is one as long as commits are quick; where the disk is slow, more share its time."""
    return max(1, min(limits.logins_at_once, round(seconds / LOGIN)))


class Gate:
    """Lets in so many at a time, the others in the order in which they came."""

    __slots__ = ("_admitting", "_inside", "_most", "_waiting")

    def __init__(self, most: Callable[[], int]) -> None:
        """`most` tells how many, whenever there may be room."""
        self._most = most
        self._inside = 0
        self._admitting = False
        self._waiting: deque[Callable[[], None]] = deque()

    def enter(self, do: Callable[[], None]) -> None:
        """Do this as soon as there is room; it says when it has left, and has where it fails."""
        self._waiting.append(do)
        self._admit()

    def leave(self) -> None:
        """One is through."""
        self._inside -= 1
        self._admit()

    def _admit(self) -> None:
        """Who leaves at once comes back here: the loop goes on with the next."""
        if self._admitting:
            return
        self._admitting = True
        try:
            while self._waiting and self._inside < self._most():
                self._inside += 1
                if not _try(self._waiting.popleft()):
                    self._inside -= 1
        finally:
            self._admitting = False

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)


class Ration:
    """How many lines one session may begin in a turn of the reactor: fewer once all together have begun so many.

    Where fifty write without a pause, whoever says one thing would wait for the share of each of them.
    """

    __slots__ = ("_each", "_least", "_left", "_now", "_turn", "_whole")

    def __init__(self, turn: Callable[[], int], *, whole: int, each: int, least: int) -> None:
        """`turn` numbers the turns. All together have `whole` in one, a session `each`, and at any rate `least`."""
        self._turn = turn
        self._whole = self._left = whole
        self._each = each
        self._least = least
        self._now = -1

    def portion(self) -> int:
        """How many lines the next session may begin."""
        turn = self._turn()
        if turn != self._now:
            self._now = turn
            self._left = self._whole
        return max(self._least, min(self._each, self._left))

    def spend(self, lines: int) -> None:
        """So many were begun."""
        self._left -= lines


class Trickle:
    """Does so many a turn of the reactor, the others in the turns to come, in the order in which they came.

    Where a thousand do the same at once, whoever does something else would wait for all of them.
    """

    __slots__ = ("_begun", "_done", "_hurried", "_later", "_most", "_waiting")

    def __init__(self, later: Callable[[Callable[[], None]], Any], most: int) -> None:
        """`later` has something done in the next turn; `most` are done in one."""
        self._later = later
        self._most = most
        self._begun = self._hurried = False
        self._done = 0
        self._waiting: deque[Callable[[], None]] = deque()

    def __call__(self, do: Callable[[], None]) -> None:
        """Do this, now or a little later."""
        if self._hurried:
            _try(do)
        elif self._waiting or self._done >= self._most:
            self.later(do)
        else:
            self._begin()
            self._done += 1
            _try(do)

    def later(self, do: Callable[[], None]) -> None:
        """Do this in a turn to come."""
        if self._hurried:
            self._later(do)
        else:
            self._begin()
            self._waiting.append(do)

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._later(self._turn)

    def _turn(self) -> None:
        self._begun = False
        self._done = 0
        while self._waiting and self._done < self._most:
            self._done += 1
            _try(self._waiting.popleft())
        if self._done:
            self._begin()

    def hurry(self) -> None:
        """The end is near: do what waits, and from now on everything at once."""
        self._hurried = True
        while self._waiting:
            _try(self._waiting.popleft())


def _try(do: Callable[[], None]) -> bool:
    """Whatever fails, the others have their turn. Whether it did not."""
    try:
        do()
    except Exception:
        _log.failure("in its turn")
        return False
    return True


class Crowd:
    """Who is here, by address."""

    def __init__(self, places: int) -> None:
        """`places`: how many connections this process can have at all (open files)."""
        self._places = places
        self._from: Counter[str] = Counter()
        self.swollen = False
        """Whether this process has more memory than it should."""

    def weigh(self, limits: Limits) -> None:
        """Look at this process's memory."""
        self.swollen = resident() > limits.process_bytes

    def admit(self, address: str, present: int, limits: Limits, *, exempt: bool) -> Refusal | None:
        """Count somebody who has come as the one after `present` others; why they cannot stay, if they cannot."""
        if not exempt:
            self._from[network(address)] += 1
        if present >= min(limits.connections, self._places) or self.swollen:
            return Refusal("FULL")
        if not exempt and self._from[network(address)] > limits.connections_per_address:
            return Refusal("CROWDED", limit=limits.connections_per_address)
        return None

    def left(self, address: str, *, exempt: bool) -> None:
        """Somebody has gone."""
        if exempt:
            return
        key = network(address)
        self._from[key] -= 1
        if self._from[key] <= 0:
            del self._from[key]
