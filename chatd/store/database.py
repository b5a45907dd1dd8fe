"""The database as the reactor sees it: one writer that commits for many, a few readers beside it.

The rule: whatever waits goes into one transaction, in the order it came; a refused call undoes only itself; nobody
hears an answer or an event before COMMIT. The answers and the log's new tail come back in one hop from the writer's
thread, where the write lock makes that tail complete.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorCore
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatd.errors import Refusal
from chatd.meter import SECONDS, SIZES, Histogram
from chatd.model import Event
from chatd.store import ReadTx, Tx, sqlite
from chatd.store.between import Between
from chatd.store.keys import Mail
from chatd.store.pool import Pool

TAIL: Final = 2_000
"""How many events of other instances a commit reads along with its own, and a look at a time."""
GATHER: Final = 0.002
"""How long (s) a stream of calls may hold back the commit that it flows into. A lone call waits for one turn only."""
FEW: Final = 64
"""So many calls are done together in the order in which they came; of more, the `OLDEST` and each session's `SHARE` of
the light ones come first, but for sessions of which more than `MANY` wait; then others, in their order, up to `FILL`.
"""
OLDEST: Final = 8
SHARE: Final = 4
MANY: Final = 8
FILL: Final = 16
CHECKPOINT: Final = 64
"""Commits between two checkpoints beside them."""
GLANCE: Final = 100_000
"""Steps of SQLite's machine between two glances whether a long read is still wanted: some milliseconds."""
T = TypeVar("T")
_log = Logger()


class Work(Protocol):
    """One call that waits for the writer.

    `light`: it appends at most, and checks before it does, so that it needs no savepoint. `room` and `mid` are what
    it will look up: read for the whole batch at once. `account` is on whose behalf, by which `login`; `origin` is
    handed to the feed with its events.
    """

    light: bool
    account: int
    login: int
    room: str | int | None
    mid: str | None
    origin: Any

    def run(self, tx: Tx) -> Any:
        """Check, then change; raise a Refusal to have done nothing."""

    def done(self, result: Any) -> None:
        """What came of it: the result of `run`, a Refusal, or a Failure; on the reactor's thread."""


class Committed(NamedTuple):
    """What one commit brought: the log's tail past `after`, and which of its events this instance's sessions made."""

    after: int
    events: list[Event]
    origins: dict[int, Any]
    mail: Mail = Mail(0, 0, [], frozenset())


class Meter:
    """What the writer has done so far; times in seconds."""

    __slots__ = ("batch", "calls", "commits", "events", "lately", "seconds", "took")

    def __init__(self) -> None:
        self.commits = self.calls = self.events = 0
        self.seconds = 0.0
        self.lately = 0.0
        """What a commit took, of late."""
        self.batch = Histogram(SIZES)
        self.took = Histogram(SECONDS)


class Database:
    """One file, opened by one writer thread, a few reader threads, one for reads that may take long, and one that
    checkpoints.

    `position` tells how far this instance has followed the log, `mail` how far the envelopes, and for which devices it
    wants them; `committed` is called after every commit, on the
    reactor's thread, behind the answers of that commit's calls. `soon` runs something once this turn of the reactor
    has read what is there to be read, so that one commit gathers all of it.
    """

    READERS: Final = 2
    """They share one interpreter: more of them only take turns more often."""

    def __init__(
        self,
        data: Path,
        *,
        durability: sqlite.Durability,
        node: int,
        clock: Callable[[], int],
        position: Callable[[], int],
        mail: Callable[[], tuple[int, frozenset[int]]],
        committed: Callable[[Committed], None],
        reactor: IReactorCore,
        batch: int,
        lock_seconds: float,
        steady: Callable[[], int] | None = None,
        pool: Callable[..., Any] = Pool,
        soon: Callable[[Callable[[], None]], Any] | None = None,
    ) -> None:
        self._clock = clock
        self._steady = steady or clock
        self._node = node
        self._position = position
        self._mail = mail
        self._committed = committed
        self._batch = batch
        self._soon = soon or (lambda do: do())
        self._waiting: deque[Work] = deque()
        self._busy = False
        self._between = Between(reactor, self.read)
        self._gathered = 0
        self._gather_until = 0.0
        self._closing: Deferred[None] | None = None
        self.under_way: dict[int, Any] = {}
        """The origins of a commit from before its events can be read until its answers are given."""
        self.meter = Meter()
        self._lock = sqlite.WriteLock(data / "write.lock", lock_seconds)
        path = os.fspath(data / sqlite.FILE)
        options: dict[str, Any] = {
            "isolation_level": None,
            "check_same_thread": False,
            "cached_statements": 512,
            "cp_reactor": reactor,
            "cp_noisy": False,
        }
        self._writer = pool(
            "sqlite3",
            path,
            cp_name="writer",
            cp_min=1,
            cp_max=1,
            cp_openfun=lambda c: sqlite.prepare_writer(c, durability),
            **options,
        )
        self._readers = pool(
            "sqlite3",
            path,
            cp_name="readers",
            cp_min=1,
            cp_max=self.READERS,
            cp_openfun=sqlite.prepare_reader,
            **options,
        )
        self._checkpointer = pool(
            "sqlite3",
            path,
            cp_name="checkpoints",
            cp_min=0,
            cp_max=1,
            cp_openfun=sqlite.prepare_checkpointer,
            **options,
        )
        self._checkpointing = False
        self._checkpointed = 0
        self._scanner = pool(
            "sqlite3", path, cp_name="scans", cp_min=0, cp_max=1, cp_openfun=sqlite.prepare_reader, **options
        )

    def start(self) -> None:
        """Start the threads."""
        self._writer.start()
        self._readers.start()
        self._scanner.start()
        self._checkpointer.start()

    def close(self) -> Deferred[None]:
        """Work off what waits, then close the file."""
        closing: Deferred[None] = Deferred()
        self._closing = closing
        if not self._busy:
            self._close()
        return closing

    def _close(self) -> None:
        self._between.close()
        self._checkpointer.close()
        self._scanner.close()
        self._readers.close()
        self._writer.close()
        self._lock.close()
        assert self._closing is not None
        self._closing.callback(None)

    @property
    def backlog(self) -> int:
        """How many calls wait for the next commit."""
        return len(self._waiting)

    def submit(self, work: Work) -> None:
        """Have this done in the next commit."""
        self._waiting.append(work)
        if not self._busy:
            self._gather_more()

    def write(self, run: Callable[[Tx], T]) -> Deferred[T]:
        """Have this done in the next commit, its result by Deferred; a Refusal comes as a Failure."""
        task = _Task(run)
        self.submit(task)
        return task.result

    def read(self, run: Callable[[ReadTx], T], *, scans: bool = False) -> Deferred[T]:
        """Have this read from one snapshot. `scans`: it may look through very much; such reads wait for one another,
        and nothing else waits for them.
        """
        pool, how = (self._scanner, self._scan) if scans else (self._readers, self._read)
        return maybeDeferred(pool.runWithConnection, how, run).addCallback(_raised)

    def read_between(self, run: Callable[[ReadTx], T]) -> Deferred[T]:
        """As `read`, for who comes in or catches up: between two commits, and one such read at a time."""
        return self._between.read(run)

    def between(self) -> Deferred[None]:
        """Fires when no commit is under way: for what takes the disk or a processor, and can wait for so long."""
        return self._between.wait()

    @property
    def committing(self) -> bool:
        """Whether the writer's thread is at a commit."""
        return self._between.committing

    def _scan(self, held: Any, run: Callable[[ReadTx], T]) -> T | _Refused:
        """As `_read`, but for what takes long: the end of this process need not wait for it."""
        connection: sqlite3.Connection = held._connection
        connection.set_progress_handler(lambda: self._closing is not None, GLANCE)
        try:
            return self._read(held, run)
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
                return _Refused(Refusal("DRAINING"))
            raise

    def _read(self, held: Any, run: Callable[[ReadTx], T]) -> T | _Refused:
        """On a reader's thread. A refusal is no exception there: adbapi keeps an exception's frames in a cycle, and ten
        thousand refused passwords would be a million objects for the collector, for which everybody waits.
        """
        connection: sqlite3.Connection = held._connection
        try:
            connection.execute("BEGIN")
            return run(ReadTx(connection, self._clock(), self._node, self._steady()))
        except Refusal as refusal:
            return _Refused(refusal.with_traceback(None))
        except sqlite3.OperationalError as error:
            if sqlite.heals(error):
                return _Refused(Refusal("BUSY"))
            raise
        finally:
            sqlite.rollback(connection)

    def _gather_more(self) -> None:
        """Begin a commit once no more light ones come with a turn of the reactor: a stream of calls is gathered for a
        while, and does not wait for others to come in.
        """
        self._busy = True
        self._gathered = 1
        self._gather_until = time.perf_counter() + GATHER
        self._soon(self._gather)

    def _gather(self) -> None:
        waiting = sum(work.light for work in self._waiting)
        if self._gathered < waiting < self._batch and time.perf_counter() < self._gather_until:
            self._gathered = waiting
            self._soon(self._gather)
        else:
            self._next()

    def _next(self) -> None:
        batch = self._share()
        self._between.begin()
        done = maybeDeferred(self._writer.runWithConnection, self._commit, batch, self._position(), self._mail())
        done.addBoth(self._answer, batch)

    def _share(self) -> list[Work]:
        """What the next commit is for. Where much waits nobody's share of light calls is larger than the others', so
        that who floods waits behind themselves; but those that wait longest are always among them. Each session's calls
        stay in their order, and any other call, a ping above all, comes behind everything that came before it.
        """
        waiting = self._waiting
        wanted = Counter(work.origin for work in waiting) if len(waiting) > FEW else ()
        if len(wanted) <= 1:
            return [waiting.popleft() for _ in range(min(len(waiting), self._batch))]
        batch: list[Work] = []
        left: deque[Work] = deque()
        taken: Counter[Any] = Counter()
        for work in waiting:
            share = SHARE if wanted[work.origin] <= MANY else 0
            due = len(batch) < OLDEST or (taken[work.origin] < share if work.light else not left)
            if len(batch) < self._batch and due:
                taken[work.origin] += 1
                batch.append(work)
            else:
                left.append(work)
        while left and len(batch) < min(FILL, self._batch):
            batch.append(left.popleft())
        self._waiting = left
        return batch

    def _commit(
        self, held: Any, batch: list[Work], after: int, wanted: tuple[int, frozenset[int]]
    ) -> tuple[list[Any], Committed]:
        """On the writer's thread: everything that waited, in one transaction."""
        started = time.perf_counter()
        connection: sqlite3.Connection = held._connection
        with self._lock:
            connection.execute("BEGIN IMMEDIATE")
            try:
                tx = Tx(connection, self._clock(), self._node, self._steady())
                tx.begin()
                begun = tx.last_seq()
                foresee(tx, batch)
                origins: dict[int, Any] = {}
                results = [attempt(tx, work, origins) for work in batch]
                tx.flush()
                if begun - after > TAIL:
                    after = begun  # far behind: the feed reads what lies between by itself, beside the writer
                events = tx.tail(after)
                mail = tx.mail(*wanted)
                self.under_way = origins
                connection.execute("COMMIT")
            except BaseException:
                self.under_way = {}
                sqlite.rollback(connection)
                raise
        meter = self.meter
        meter.commits += 1
        meter.calls += len(batch)
        meter.events += len(events)
        took = time.perf_counter() - started
        meter.seconds += took
        meter.lately += (took - meter.lately) / 8
        meter.took.observe(took)
        meter.batch.observe(len(batch))
        return results, Committed(after, events, origins, mail)

    def _answer(self, outcome: tuple[list[Any], Committed] | Failure, batch: list[Work]) -> None:
        """On the reactor's thread: the answers first, then the events, which `committed` also sends off."""
        self._between.end()
        if isinstance(outcome, Failure):
            error = outcome.value
            refused: Any = Refusal("BUSY") if isinstance(error, Exception) and sqlite.heals(error) else outcome
            results, committed = [refused] * len(batch), Committed(self._position(), [], {})
        else:
            results, committed = outcome
        for work, result in zip(batch, results, strict=True):
            try:
                work.done(result)
            except Exception:
                _log.failure("answering")
        self.under_way = {}
        try:
            self._committed(committed)
        except Exception:
            _log.failure("delivering a commit")  # the next one brings it again
        self._busy = False
        self._between.go_on()
        if self._waiting:
            self._gather_more()
        elif self._closing is not None:
            self._close()
            return
        if self.meter.commits - self._checkpointed >= CHECKPOINT and not self._checkpointing:
            self._checkpoint()

    def _checkpoint(self) -> None:
        """Carry what was committed from the write-ahead log into the database, beside the commits to come."""
        self._checkpointing = True
        self._checkpointed = self.meter.commits

        def ended(failure: Failure | None) -> None:
            self._checkpointing = False
            if failure is not None and not failure.check(sqlite3.OperationalError):
                _log.failure("checkpointing", failure)

        maybeDeferred(self._checkpointer.runWithConnection, lambda held: sqlite.checkpoint(held._connection)).addBoth(
            ended
        )


def foresee(tx: Tx, batch: list[Work]) -> None:
    """Read what the batch's light calls will ask for, in three statements instead of three each."""
    tx.foresee_mids((work.account, work.mid) for work in batch if work.mid is not None)
    tx.foresee_logins(work.login for work in batch if work.light and work.login)
    pairs = []
    for work in batch:
        if work.light:
            if isinstance(work.room, int):
                pairs.append((work.room, work.account))
            elif work.room is not None and (room := tx.group(work.room)) is not None:
                pairs.append((room.id, work.account))
    tx.foresee_roles(pairs)


def attempt(tx: Tx, work: Work, origins: dict[int, Any]) -> Any:
    """Run one call; what it raises undoes it alone and is its result."""
    mark = tx.mark() if work.light else tx.savepoint()
    first = tx.last_seq()
    try:
        result = work.run(tx)
    except Exception as error:
        if sqlite.heals(error):
            raise  # SQLite may have undone the whole transaction, savepoints included
        if work.light:
            tx.undo(mark)
        else:
            tx.back_to(mark)
        return error if isinstance(error, Refusal) else Failure()
    if not work.light:
        tx.release()
    for seq in range(first + 1, tx.last_seq() + 1):
        origins[seq] = work.origin
    return result


class _Refused(NamedTuple):
    """A read was refused."""

    why: Refusal


def _raised(result: Any) -> Any:
    """What was read, or the refusal as a Failure."""
    return Failure(result.why) if isinstance(result, _Refused) else result


class _Task:
    """Work of the daemon itself, whose result is a Deferred."""

    light = False
    account = login = 0
    room: str | int | None = None
    mid: str | None = None
    origin: Any = None

    def __init__(self, run: Callable[[Tx], Any]) -> None:
        self.run = run
        self.result: Deferred[Any] = Deferred()

    def done(self, result: Any) -> None:
        if isinstance(result, Refusal):
            self.result.errback(Failure(result))
        elif isinstance(result, Failure):
            self.result.errback(result)
        else:
            self.result.callback(result)
