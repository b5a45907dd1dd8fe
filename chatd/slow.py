"""Work that takes a processor for long (passwords), done on one thread, and the line before it.

The rule: networks take turns, so that nobody waits for more than one try of each other network, however many those
bring. In a line that is full, who has fewer in it than another takes the place of that one's last: a crowd of addresses
keeps out itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

from chatd import passwords
from chatd.errors import Refusal
from chatd.hasher import Hasher
from chatd.threads import Threads

EACH: Final = 10
"""How many tries of one network wait at a time."""

Item = tuple[Callable[[], Any], Deferred[Any]]


class Line:
    """Who waits for the thread. `do` has something done there, one at a time; at most `most` wait."""

    def __init__(self, do: Callable[[Callable[[], Any]], Deferred[Any]], most: int) -> None:
        self._do = do
        self._most = most
        self._waiting: dict[Hashable, deque[Item]] = {}
        """By network; whose turn is next stands first."""
        self._count = 0
        self._busy = False

    def __len__(self) -> int:
        """How many wait."""
        return self._count

    def run(self, work: Callable[[], Any], who: Hashable) -> Deferred[Any]:
        """Have this done for somebody of the network `who`.

        It fails with THROTTLED where too many of that network wait already, with BUSY where the line is full.
        """
        result: Deferred[Any] = Deferred()
        mine = len(self._waiting.get(who, ()))
        if mine >= EACH:
            result.errback(Failure(Refusal("THROTTLED", wait=1)))
            return result
        pushed: Deferred[Any] | None = None
        if self._count >= self._most:
            greediest = max(self._waiting, key=lambda each: len(self._waiting[each]))
            if len(self._waiting[greediest]) <= mine + 1:
                result.errback(Failure(Refusal("BUSY")))
                return result
            pushed = self._waiting[greediest].pop()[1]
            self._count -= 1
        self._waiting.setdefault(who, deque()).append((work, result))
        self._count += 1
        if pushed is not None:
            pushed.errback(Failure(Refusal("BUSY")))
        self._next()
        return result

    def _next(self) -> None:
        if self._waiting and not self._busy:
            self._busy = True
            who = next(iter(self._waiting))
            line = self._waiting.pop(who)
            work, result = line.popleft()
            self._count -= 1
            if line:
                self._waiting[who] = line  # behind all others
            self._do(work).addBoth(self._done, result)

    def _done(self, outcome: Any, result: Deferred[Any]) -> None:
        self._busy = False
        result.callback(outcome)  # a Failure goes the way of errors
        self._next()

    def refuse(self) -> None:
        """This instance stops: who waits is told at once."""
        waiting, self._waiting, self._count = self._waiting, {}, 0
        for line in waiting.values():
            for _, result in line:
                result.errback(Failure(Refusal("DRAINING")))


class PasswordThread(Line):
    """The one thread on which passwords are checked, and the line before it. What takes long is done by a process
    that it waits for."""

    def __init__(self, reactor: Any, most: int) -> None:
        self._pool = Threads("passwords", 1)
        self._hasher = Hasher()
        super().__init__(lambda work: deferToThreadPool(reactor, self._pool, work), most)  # type: ignore[arg-type]

    def start(self) -> None:
        """Start the thread."""
        passwords.hash_by(self._hasher.hashpw)
        self._pool.start()

    def stop(self) -> None:
        """Stop the thread."""
        self._hasher.close()
        self._pool.stop()
