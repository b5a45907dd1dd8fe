"""callLater on an asyncio loop alone: the screen stands before Twisted is imported.

The rule: as Twisted's, so that chat.py need not know which it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Timers:
    """callLater, as Twisted has it, on the loop alone."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def callLater(self, seconds: float, do: Callable[..., object], *args: object) -> Timer:
        """Do it then."""
        return Timer(self._loop, seconds, do, args)


class Timer:
    """Something that will be done."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, seconds: float, do: Callable[..., object], args: tuple[object, ...]
    ) -> None:
        self._waits = True
        self._do = do
        self._args = args
        self._handle = loop.call_later(seconds, self._now)

    def _now(self) -> None:
        self._waits = False
        self._do(*self._args)

    def active(self) -> bool:
        """Whether it is still to be done."""
        return self._waits

    def cancel(self) -> None:
        """Do not."""
        self._waits = False
        self._handle.cancel()
