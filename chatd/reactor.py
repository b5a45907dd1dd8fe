"""How much one turn of the reactor looks at, and what first.

The rule: whoever is in goes before who comes and who goes. When a thousand connections break or come back at once all
of them are ready in one turn, and whoever says something meanwhile would wait for a thousand others. Used is what
Twisted's epoll reactor keeps under private names; a reactor without them stays as it is.

While a commit is under way strangers are not looked at. The writer gives the interpreter lock up some twenty times in
one, and so does the reactor at each of its system calls, a microsecond or two at a time: who is woken by that comes too
late and goes back to sleep. Measured with a thousand who come back at once: both processors were idle for more than
half of the time, a commit took up to 30 ms instead of one, and all were back later than they are now.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from itertools import count
from typing import Any, Final

FEW: Final = 4
"""So many sockets of those who are not in are looked at in one turn, beside all of those who are."""
HOLD: Final = 0.005
"""Seconds for which strangers wait for a commit. One that takes longer waits for the disk, not for the lock."""
ACCEPTS: Final = 1
"""Connections that are taken in one turn before Twisted looks whether there are more: it goes on to twenty more."""
Event = tuple[int, int]


def bound_turns(reactor: Any, is_in: Callable[[Any], bool], busy: Callable[[], bool]) -> Callable[[], int]:
    """Have each turn of this reactor look at no more than is good for those who are in: `is_in` tells who, of what the
    reactor reads; `busy` tells whether a commit is under way. Returns what tells the number of the turn.
    """
    if hasattr(reactor, "_poller") and hasattr(reactor, "_selectables"):
        turns = reactor._poller = Turns(reactor._poller, reactor._selectables, is_in, busy)
        return lambda: turns.number
    return count().__next__


def accept_few(transport: Any) -> None:
    """Have the port that this connection came by accept few at a time."""
    port = getattr(transport, "server", None)
    if port is not None:
        port.numberAccepts = ACCEPTS


class Turns:
    """In place of the reactor's epoll object two of them, one in the other: the inner one has the sockets of those who
    are not in, or whose other end will send no more, and hands over few at a time, each in its turn (epoll(7)).

    What is new is in the inner one; where it belongs is looked at when it is ready.
    """

    def __init__(
        self, poller: Any, selectables: dict[int, Any], is_in: Callable[[Any], bool], busy: Callable[[], bool]
    ) -> None:
        self._first = poller
        self._others = select.epoll()
        self._selectables = selectables
        self._is_in = is_in
        self._busy = busy
        self._outside: dict[int, int] = {}
        """What the inner one has: descriptor, and what it is watched for."""
        self._inside: dict[int, int] = {}
        """The same of the outer one, but for what it had before."""
        self._crowded = False
        """Whether there were more strangers than could be looked at."""
        self._held = 0.0
        """Since when strangers wait for this commit (s)."""
        self.number = 0
        """How many turns there were."""
        poller.register(self._others.fileno(), select.EPOLLIN)

    def register(self, fd: int, events: int) -> None:
        """Watch this, and also whether its other end will send no more."""
        events = _with_end(events)
        self._others.register(fd, events)
        self._outside[fd] = events
        self._inside.pop(fd, None)

    def modify(self, fd: int, events: int) -> None:
        """Watch it for something else."""
        events = _with_end(events)
        if fd in self._outside:
            self._others.modify(fd, events)
            self._outside[fd] = events
        else:
            self._first.modify(fd, events)
            self._inside[fd] = events

    def unregister(self, fd: int) -> None:
        """Watch it no more."""
        if self._outside.pop(fd, None) is not None:
            self._others.unregister(fd)
        else:
            self._inside.pop(fd, None)
            self._first.unregister(fd)

    def poll(self, seconds: float, most: int) -> list[Event]:
        """What is ready: all of who is in, and a few others."""
        self.number += 1
        found = self._first.poll(seconds, most + 1)
        inner = self._others.fileno()
        others = any(fd == inner for fd, _ in found)
        left = self._hold() if others else 0.0
        if left > 0:
            others = False
            if len(found) == 1 and seconds:
                self._first.modify(inner, 0)
                found = self._first.poll(left if seconds < 0 else min(seconds, left), most + 1)
                self._first.modify(inner, select.EPOLLIN)
        ready: list[Event] = []
        for each in found:
            fd, event = each
            if fd == inner:
                continue
            if event & select.EPOLLRDHUP and (events := self._inside.pop(fd, None)) is not None:
                self._first.unregister(fd)
                self._others.register(fd, events)
                self._outside[fd] = events
                others = others or left <= 0
            else:
                ready.append(each)
        if others:
            self._look_outside(ready)
        return ready

    def _hold(self) -> float:
        """For how long (s) strangers are still to wait for the commit that is under way."""
        if not (self._crowded and self._busy()):
            self._held = 0.0
            return 0.0
        now = time.perf_counter()
        self._held = self._held or now
        return self._held + HOLD - now

    def _look_outside(self, ready: list[Event]) -> None:
        few = self._others.poll(0, FEW)
        self._crowded = len(few) == FEW
        for each in few:
            fd, event = each
            if not event & select.EPOLLRDHUP and self._is_in(self._selectables.get(fd)):
                events = self._outside.pop(fd)
                self._others.unregister(fd)
                self._first.register(fd, events)
                self._inside[fd] = events
            ready.append(each)

    def close(self) -> None:
        """Close both."""
        self._others.close()
        self._first.close()


def _with_end(events: int) -> int:
    return events | select.EPOLLRDHUP if events & select.EPOLLIN else events
