"""All transfers of this instance: their shares, the connections on which nothing moves, and what is swept.

The rule: many transfers share memory and file threads alike, and a folder that has been swept holds no bytes of files
that the database knows to be gone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from chatd.blobs import Blobs
from chatd.commands import files
from chatd.crowd import Gate
from chatd.limits import Limits
from chatd.raw import Socket, Transfer
from chatd.store.database import Database

_log = Logger()

ALL: Final = 16 << 20
"""Bytes that all transfers of this instance together hold in memory for one direction, more or less."""
MOST: Final = 512 << 10
LEAST: Final = 64 << 10
"""The share of one transfer lies between these."""
MOVES: Final = 2
"""How many pieces of files are moved at once: so many are under way when a commit begins, and it shares the processors
and the disk with them."""
LINGER: Final = 5.0
"""Seconds that the other end gets to hang up, once it has everything."""


class Audit(Protocol):
    """The log that an operator reads."""

    def transferred(self, *, room: str, name: str, file: str, size: int, result: str, seconds: float) -> None:
        """A file has come or gone, or not."""


class Transfers:
    """All transfers of this instance. `run` has something done on a file thread."""

    def __init__(
        self,
        db: Database,
        blobs: Blobs,
        run: Callable[..., Deferred[Any]],
        limits: Callable[[], Limits],
        audit: Audit,
        seconds: Callable[[], float],
    ) -> None:
        self.db = db
        self.blobs = blobs
        self.run = run
        self.audit = audit
        self.seconds = seconds
        self._limits = limits
        self._active: set[Transfer] = set()
        self._ending: set[Transfer] = set()
        self._working: set[Deferred[None]] = set()
        self._bringing: dict[int, Transfer] = {}
        self._awaited: dict[Transfer, Deferred[None]] = {}
        self._gate = Gate(lambda: MOVES)

    @property
    def limits(self) -> Limits:
        """The limits as they are now."""
        return self._limits()

    @property
    def share(self) -> int:
        """Bytes that one transfer may hold in memory."""
        return max(LEAST, min(MOST, ALL // max(1, len(self._active))))

    def carried_for(self, account: int) -> int:
        """How many transfers of this account go on here."""
        return sum(transfer.account == account for transfer in self._active)

    def open(self, socket: Socket, first: bytes) -> Transfer:
        """A connection has begun with these bytes: it is a file's."""
        transfer = Transfer(self, socket)
        working = Deferred.fromCoroutine(transfer.run(first, busy=len(self._active) >= self.limits.transfers))
        self._active.add(transfer)
        self._working.add(working)

        def ended(_: Any) -> None:
            self._working.discard(working)
            self._active.discard(transfer)
            if not transfer.gone:
                self._ending.add(transfer)

        working.addErrback(lambda failure: _log.failure("a transfer", failure)).addBoth(ended)
        return transfer

    async def move(self, do: Callable[..., Any], *args: Any) -> Any:
        """Have a piece of a file moved on a file thread: one transfer's after the other's, and between two commits."""
        turn: Deferred[None] = Deferred()
        self._gate.enter(lambda: turn.callback(None))
        await turn
        try:
            await self.db.between()
            return await self.run(do, *args)
        finally:
            self._gate.leave()

    async def brings(self, file: int, transfer: Transfer) -> None:
        """This transfer brings a file now; whoever did on this instance has left what they have on the disk."""
        before = self._bringing.get(file)
        self._bringing[file] = transfer
        if before is not None:
            before.give_up()
            left = self._awaited[before] = Deferred()
            await left

    def brought(self, file: int, transfer: Transfer) -> None:
        """It does not any more."""
        if self._bringing.get(file) is transfer:
            del self._bringing[file]
        if (left := self._awaited.pop(transfer, None)) is not None:
            left.callback(None)

    def gone(self, transfer: Transfer) -> None:
        """A connection has ended."""
        self._ending.discard(transfer)

    def sweep(self) -> None:
        """End the connections on which nothing moves."""
        now = self.seconds()
        for transfer in [*self._active, *self._ending]:
            patience = self.limits.transfer_seconds
            if transfer in self._ending and not transfer.socket.unsent():
                patience = min(patience, LINGER)
            if now - transfer.moved_at(now) > patience:
                transfer.give_up()

    def stop(self) -> Deferred[Any]:
        """Give up what still goes on; fires once no thread works on a file."""
        for transfer in list(self._active):
            transfer.give_up()
        return DeferredList(list(self._working))

    # -- what is kept -------------------------------------------------------------------------------------------------

    async def sweep_files(self, *, all_of_them: bool) -> None:
        """Files whose time is over go, first from the database, then from the disk. `all_of_them`: what is on disk is
        compared with the database, too, and bytes of files that it knows to be gone go. Nothing else does: where one
        of the two was not there when this server started, it may be tomorrow.
        """
        limits, blobs = self.limits, self.blobs
        await self.run(blobs.drop, await self.db.write(lambda tx: files.sweep(tx, limits)))
        if not all_of_them:
            return
        found = await self.run(blobs.found)
        # Read later: what is found and not known is an orphan.
        stored, newest = await self.db.read(lambda tx: (tx.stored_files(), tx.newest_file()))
        await self.run(blobs.drop_orphans, found, stored, newest)
        if lost := await self.run(blobs.missing, stored):
            _log.warn("the bytes of {count} files are not there, of file {file} first", count=len(lost), file=lost[0])
        if foreign := [file for file, _ in found if file > newest]:
            _log.warn("there are bytes of {count} files that were never sent here", count=len(foreign))
