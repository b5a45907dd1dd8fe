"""How much one turn of the reactor looks at.

The rule: when a thousand sockets have something to say at once, the answers of those who were heard are sent between
them, not behind the last.
"""

from __future__ import annotations

from typing import Any, Final

A_TURN: Final = 16
"""Sockets. The kernel hands the others over in the next turns, each in its turn (epoll(7), level-triggered)."""


def bound_turns(reactor: Any) -> None:
    """Have each turn of this reactor look at so many sockets at most; one that does not use epoll stays as it is."""
    if hasattr(reactor, "_poller"):
        reactor._poller = _Bounded(reactor._poller)


class _Bounded:
    """Twisted's epoll object, but that it hands over less at a time."""

    def __init__(self, poller: Any) -> None:
        self._poll = poller.poll
        self._poller = poller

    def poll(self, seconds: float, most: int) -> Any:
        """What is ready, so many at most."""
        return self._poll(seconds, min(most, A_TURN))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._poller, name)
