"""The clock that timers go by.

The rule: the time of day is for people to read; nothing waits by it, since it may be set.
"""

from __future__ import annotations

import time
from typing import Any


def never_set(reactor: Any) -> None:
    """Have the reactor's timers go by the monotonic clock. Twisted's go by the time of day: set back by an hour, no
    heart would beat for that hour. Nothing is changed once a timer runs.
    """
    if not reactor.getDelayedCalls():
        reactor.seconds = time.monotonic
