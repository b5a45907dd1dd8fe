"""What waits for the end of a commit: it would take the disk, a processor or the interpreter lock from the writer.

The rule: nothing here is begun while a commit is under way that is worth waiting for, and nothing waits longer than
PATIENCE for one. All of it happens on the reactor's thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from chatd.errors import Refusal
from chatd.store import ReadTx

PATIENCE: Final = 0.005
"""How long (s) one commit is waited for: longer takes only one that waits for the disk."""
T = TypeVar("T")


class Between:
    """`reactor` has the clock; `read` reads from one snapshot, on another thread."""

    def __init__(self, reactor: Any, read: Callable[[Callable[[ReadTx], Any]], Deferred[Any]]) -> None:
        self.committing = False
        """Whether the writer's thread is at a commit."""
        self._reactor = reactor
        self._read = read
        self._began = 0.0
        self._gaps: deque[Deferred[None]] = deque()
        self._reads: deque[tuple[Callable[[ReadTx], Any], Deferred[Any]]] = deque()
        self._reading = self._closed = False
        self._timer: Any = None

    def begin(self) -> None:
        """A commit is under way."""
        self.committing = True
        self._began = self._reactor.seconds()

    def end(self) -> None:
        """It is over; `go_on` follows once its answers are given."""
        self.committing = False

    def close(self) -> None:
        """There will be no commit any more, and nothing can be read."""
        if self._timer is not None:
            self._timer.cancel()
        self._closed = True
        while self._reads:
            self._reads.popleft()[1].errback(Failure(Refusal("DRAINING")))

    def wait(self) -> Deferred[None]:
        """Fires when no commit is under way: for what can wait for so long."""
        gap: Deferred[None] = Deferred()
        self._gaps.append(gap)
        self.go_on()
        return gap

    def read(self, run: Callable[[ReadTx], T]) -> Deferred[T]:
        """Have this read, one such read at a time.

        Each gives the interpreter lock up many times, and three threads that ask for it in turns keep all waiting.
        """
        if self._closed:
            return fail(Refusal("DRAINING"))
        result: Deferred[T] = Deferred()
        self._reads.append((run, result))
        self._read_next()
        return result

    def go_on(self) -> None:
        """With what has waited."""
        while self._gaps and not self._must_wait():
            self._gaps.popleft().callback(None)
        self._read_next()

    def _read_next(self) -> None:
        if not self._reads or self._reading or self._must_wait():
            return
        run, result = self._reads.popleft()
        self._reading = True

        def done(found: Any) -> None:
            self._reading = False
            result.callback(found)  # a Failure goes the way of errors
            self._read_next()

        self._read(run).addBoth(done)

    def _must_wait(self) -> bool:
        """Whether a commit is under way that is worth waiting for; then what waits goes on later."""
        wait = self._began + PATIENCE - self._reactor.seconds() if self.committing else 0.0
        if wait > 0 and self._timer is None:
            self._timer = self._reactor.callLater(wait, self._waited)
        return wait > 0

    def _waited(self) -> None:
        self._timer = None
        self.go_on()
