"""Carrying out what is not kept: old messages, too many messages, the words of erased accounts, and what waits for a
device that does not fetch it.

The rule: it is nobody's hurry. What is due is looked for beside the writer; then a few events are blanked in a commit,
and the writer is left alone for ten times as long as that took. Of several instances the one with the lowest number
does it. What is too old is so by a clock that follows no leap: what is blanked does not come back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from chatd.errors import Refusal
from chatd.model import Bounds
from chatd.rules import narrower
from chatd.store import ReadTx, Tx
from chatd.store.database import Database
from chatd.store.retention import Due

LOOK: Final = 10.0
"""Seconds between two looks for erased accounts."""
ROOMS: Final = 30
"""Every so many looks the rooms are gone through."""
PAGE: Final = 200
"""How many rooms are looked up at a time."""
SHARE: Final = 10
"""The writer is left alone for so many times as long as the last step took."""
PAUSE: Final = 0.02
"""And for so many seconds at least."""
_log = Logger()


class Sweeper:
    """Blanks what is not kept. `bounds` are the server's; `step` is how many events one commit may blank; `days` is how
    long an envelope waits.
    """

    def __init__(
        self,
        reactor: Any,
        db: Database,
        *,
        bounds: Callable[[], Bounds],
        step: Callable[[], int],
        days: Callable[[], int],
    ) -> None:
        self._reactor = reactor
        self._db = db
        self._bounds = bounds
        self._step = step
        self._days = days
        self._looks = 0
        self._loop = LoopingCall(self._look)
        self._loop.clock = reactor

    def start(self) -> None:
        """Begin."""
        self._loop.start(LOOK, now=False)

    def stop(self) -> None:
        """Take no further step."""
        if self._loop.running:
            self._loop.stop()

    def _look(self) -> Deferred[None]:
        def failed(failure: Any) -> None:
            if failure.check(Refusal) is None:
                _log.failure("retention", failure)

        return Deferred.fromCoroutine(self.look()).addErrback(failed)

    async def look(self, *, rooms: bool | None = None) -> None:
        """One look, and all that it finds to do. `rooms`: whether the rooms are gone through; None: in their turn."""
        if rooms is None:
            rooms = self._looks % ROOMS == 0
        self._looks += 1
        if not await self._db.read(lambda tx: tx.nodes()[:1] in ([], [tx.node])):
            return
        await self._db.write(lambda tx: tx.forget_farewells())
        for account, upto in await self._db.read(lambda tx: tx.erasures()):
            await self._erase(account, upto)
        if rooms:
            await self._go_through_rooms()
            await self._drop_unfetched()

    async def _go_through_rooms(self) -> None:
        after = 0
        while True:
            server = self._bounds()
            plans = await self._db.read(_plans(after, server != Bounds()), scans=True)
            for plan in plans:
                bounds = narrower(plan.own, server)
                if bounds != Bounds():
                    await self._retain(plan.room, plan.upto, bounds)
            if len(plans) < PAGE:
                return
            after = plans[-1].room

    async def _retain(self, room: int, upto: int, bounds: Bounds) -> None:
        more = True
        while more and self._loop.running:
            due = await self._db.read(_due(room, upto, bounds), scans=True)
            for seqs, last in parts(due, self._step()) if due.seqs else ():
                if not self._loop.running:
                    return
                await self._commit(_retaining(room, seqs, last))
            upto, more = due.upto, due.more

    async def _drop_unfetched(self) -> None:
        while self._loop.running and await self._db.read(_unfetched(self._days(), self._step())):
            await self._commit(_dropping(self._days(), self._step()))

    async def _erase(self, account: int, upto: int) -> None:
        more = True
        while more and self._loop.running:
            due = await self._db.read(_written(account, upto), scans=True)
            for seqs, last in parts(due, self._step()):
                if not self._loop.running:
                    return
                await self._commit(erasing(account, seqs, last, done=not due.more and last == due.upto))
            upto, more = due.upto, due.more

    async def _commit(self, run: Callable[[Tx], None]) -> None:
        started = self._reactor.seconds()
        await self._db.write(run)
        took = self._reactor.seconds() - started
        await deferLater(self._reactor, max(PAUSE, SHARE * took))


def _plans(after: int, all_rooms: bool) -> Callable[[ReadTx], Any]:
    return lambda tx: tx.plans(after, PAGE, all_rooms=all_rooms)


def _due(room: int, upto: int, bounds: Bounds) -> Callable[[ReadTx], Due]:
    return lambda tx: tx.due(room, upto, bounds)


def _written(account: int, upto: int) -> Callable[[ReadTx], Due]:
    return lambda tx: tx.written_by(account, upto)


def _unfetched(days: int, most: int) -> Callable[[ReadTx], bool]:
    return lambda tx: tx.unfetched(days, most)


def _dropping(days: int, most: int) -> Callable[[Tx], None]:
    return lambda tx: tx.drop_unfetched(days, most)


def parts(due: Due, most: int) -> Iterator[tuple[list[int], int]]:
    """What is due in steps of at most so many events, each with the seq up to which nothing is due after it."""
    seqs = due.seqs
    for start in range(0, len(seqs), most):
        part = seqs[start : start + most]
        yield part, due.upto if start + most >= len(seqs) else part[-1]
    if not seqs:
        yield [], due.upto


def _retaining(room: int, seqs: list[int], upto: int) -> Callable[[Tx], None]:
    def retain(tx: Tx) -> None:
        if seqs:
            tx.blank(seqs)
        tx.retained(room, upto)

    return retain


def erasing(account: int, seqs: list[int], upto: int, *, done: bool) -> Callable[[Tx], None]:
    """A step of an erasure."""

    def erase(tx: Tx) -> None:
        if seqs:
            tx.blank(seqs)
        tx.erased(account, upto, done=done)

    return erase
