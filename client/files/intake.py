"""What comes of a file: written and hashed, and opened where it is sealed, beside the connection and each other.

The rule: the reactor only passes bytes on; each step takes them in order, one batch at a time on a thread, and no more
than `MOST` wait for it: then the connection is not read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from client.files.pieces import Pieces

MOST: Final = 4 << 20
"""Bytes that wait for both steps together, more or less."""
T = TypeVar("T")
InThread = Callable[..., Deferred[Any]]


class Belt(Generic[T]):
    """One step: `work` is done on a thread with what was put, in order; `done` is told after each batch."""

    def __init__(self, in_thread: InThread, work: Callable[[T], object], done: Callable[[list[T]], None]) -> None:
        self.error: Exception | None = None
        self.busy = False
        self._in_thread = in_thread
        self._work = work
        self._done = done
        self._waiting: list[T] = []

    @property
    def idle(self) -> bool:
        """Whether nothing is done, and nothing will be."""
        return not self.busy and (not self._waiting or self.error is not None)

    def put(self, pieces: list[T]) -> None:
        """These come next."""
        self._waiting += pieces
        if not self.busy and self._waiting and self.error is None:
            batch, self._waiting = self._waiting, []
            self.busy = True
            self._in_thread(self._all, batch).addCallbacks(self._worked, self._broke)

    def drop(self) -> None:
        """What waits is not wanted any more."""
        self._waiting.clear()

    def _all(self, batch: list[T]) -> list[T]:
        for piece in batch:
            self._work(piece)
        return batch

    def _worked(self, batch: list[T]) -> None:
        self.busy = False
        self._done(batch)
        self.put([])

    def _broke(self, failure: Failure) -> None:
        if not isinstance(failure.value, Exception):
            failure.raiseException()
        self.busy = False
        self.error = failure.value
        self._done([])


class Intake:
    """All steps for one file. `keep` writes what is new, `open_` opens it (None: it is not sealed).

    `told`: called when something was done, or broke.
    """

    def __init__(
        self,
        in_thread: InThread,
        pieces: Pieces,
        keep: Callable[[memoryview], object],
        open_: Callable[[memoryview], object] | None = None,
    ) -> None:
        self.pieces = pieces
        self.told: Callable[[], None] = _nothing
        self._keep = keep
        self._open = open_
        self._new: list[memoryview] = []
        self._size = 0
        self._waiters: list[Deferred[None]] = []
        self._keeping = Belt(in_thread, self._take, self._kept)
        self._opening: Belt[memoryview] = Belt(in_thread, open_ or _nothing_with, self._opened)

    @property
    def full(self) -> bool:
        """Whether no more should come for now."""
        return self._size > MOST

    @property
    def whole(self) -> bool:
        """Whether all of it is here, and all is done with it."""
        return self.pieces.whole and self._keeping.idle and self._opening.idle and self.error is None

    @property
    def error(self) -> Exception | None:
        """Why it will not go on."""
        return self._keeping.error or self._opening.error

    def put(self, at: int, data: bytes) -> None:
        """These bytes came, which begin at byte `at`."""
        self._size += len(data)
        self._keeping.put([(at, data)])

    def _take(self, piece: tuple[int, bytes]) -> None:
        self.pieces.take(*piece, self._write)

    def _write(self, data: memoryview) -> None:
        self._keep(data)
        self._new.append(data)

    def _kept(self, batch: list[tuple[int, bytes]]) -> None:
        new, self._new = self._new, []
        self._size -= sum(len(data) for _, data in batch)
        if self._open is not None and self.error is None:
            self._size += sum(map(len, new))
            self._opening.put(new)
        self._happened()

    def _opened(self, batch: list[memoryview]) -> None:
        self._size -= sum(map(len, batch))
        self._happened()

    def _happened(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(None)
        self.told()

    async def idle(self) -> None:
        """Until all that came is done.

        @raise Exception: what broke.
        """
        await self._settled()
        if self.error is not None:
            raise self.error

    async def stop(self) -> None:
        """Until no thread works on it; what waits is left."""
        self._keeping.drop()
        self._opening.drop()
        self.told = _nothing
        await self._settled()

    async def _settled(self) -> None:
        while not (self._keeping.idle and self._opening.idle):
            waiter: Deferred[None] = Deferred(self._waiters.remove)
            self._waiters.append(waiter)
            await waiter


def _nothing() -> None:
    """Nobody is told."""


def _nothing_with(_: memoryview) -> None:
    """Nothing is done."""
