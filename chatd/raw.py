"""The connection of one file: a ticket, then bytes one way, then the end.

The rule: the reactor only passes bytes on; whatever touches the disk runs on the file threads, one piece of one
transfer at a time, so that nobody waits for a disk and many transfers share alike. What one transfer holds in memory
is bounded by its share. A file is told of when its bytes have their place, in the transaction that completes it.

An upload step by step, and what is true if the instance dies after it:

    redeem    the ticket is used up             another ticket goes on from what is on disk
    claim     blobs/new/17.attempt is ours      the same
    write     more bytes are behind             the same: what is on disk is where the next attempt begins
    check     the digest is right               the same
    place     blobs/11/17 is there, flushed     the next attempt finds it whole and only completes it
    complete  row and event are committed       it is done; the call that began it, said again, is answered with its seq
"""

from __future__ import annotations

import errno
import os
import secrets
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from chatd.commands import files
from chatd.commands.files import Claim
from chatd.errors import Refusal
from chatd.part import BLOCK, Part, Superseded
from chatd.pipe import Pipe
from chatd.wire import rawline
from chatd.wire.rawline import Opening

if TYPE_CHECKING:
    from chatd.transfers import Transfers

_log = Logger()

SAVE: Final = 2.0
"""Seconds between two notes in the database of how far an upload has come."""
TRAILER: Final = 66
"""Bytes of the line behind an upload whose digest was not told before: 64 digits and its end."""


GONE: Final = frozenset({errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.EBADF, errno.ETIMEDOUT})
"""Errors of a socket whose connection has ended."""


class Lost(Exception):
    """The connection has ended, or is not to go on."""


class Socket(Protocol):
    """The socket, as a transfer needs it."""

    def send(self, parts: list[bytes | memoryview]) -> None:
        """Have this sent, one part behind the other."""

    def pause_reading(self) -> None:
        """Take nothing more for now."""

    def resume_reading(self) -> None:
        """Take more."""

    def pipe(self) -> Pipe | None:
        """The socket past the reactor, where there is such a way and nothing waits before it."""

    def await_room(self) -> None:
        """Say `drained` once the socket takes more."""

    def unsent(self) -> int:
        """How many bytes have not reached the other machine yet."""

    def finish(self) -> None:
        """Flush, and send nothing more; what still comes is thrown away."""

    def abort(self) -> None:
        """End without more ado."""


class Transfer:
    """One raw connection."""

    def __init__(self, transfers: Transfers, socket: Socket) -> None:
        self.socket = socket
        self.gone = False
        self.account = 0
        self._all = transfers
        self._pieces: deque[bytes] = deque()
        self._waiting = 0
        self._ended = False
        self._paused = False
        self._full = False
        self._wakes: Deferred[None] | None = None
        self._moved = transfers.seconds()
        self._unsent = 0
        self._saved = 0.0
        self._on_disk = False
        self._piped = False

    # -- the socket's side --------------------------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Bytes have come."""
        if self._ended:
            return
        self._pieces.append(data)
        self._waiting += len(data)
        self._moved = self._all.seconds()
        if self._piped or self._waiting > self._all.share:
            self._pause()
        self._wake()

    def eof(self) -> None:
        """No more will come."""
        self._ended = True
        self._wake()

    def full(self) -> None:
        """The socket takes no more for now."""
        self._full = True

    def drained(self) -> None:
        """It takes more."""
        self._full = False
        self._moved = self._all.seconds()
        self._wake()

    def lost(self) -> None:
        """The connection has ended."""
        self.gone = True
        self._all.gone(self)
        self._wake()

    def give_up(self) -> None:
        """End it."""
        self.socket.abort()

    def moved_at(self, now: float) -> float:
        """When bytes last moved; while a file thread works, that is not the other end's fault."""
        unsent = self.socket.unsent()
        if unsent != self._unsent or self._on_disk:
            self._unsent = unsent
            self._moved = now
        return self._moved

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self.socket.pause_reading()

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            self.socket.resume_reading()

    def _wake(self) -> None:
        wakes, self._wakes = self._wakes, None
        if wakes is not None:
            wakes.callback(None)

    async def _sleep(self) -> None:
        """Until something happens on the socket."""
        self._wakes = Deferred()
        await self._wakes

    async def _disk(self, do: Callable[..., Any], *args: Any) -> Any:
        """Have this done on a file thread."""
        return await self._at_work(self._all.run(do, *args))

    async def _move(self, do: Callable[..., Any], *args: Any) -> Any:
        """Have bytes moved by a file thread, in turn with other transfers."""
        return await self._at_work(self._all.move(do, *args))

    async def _at_work(self, work: Awaitable[Any]) -> Any:
        self._on_disk = True
        try:
            return await work
        finally:
            self._on_disk = False

    # -- what is done -------------------------------------------------------------------------------------------------

    async def run(self, first: bytes, *, busy: bool) -> None:
        """All of it, from the first line to the last."""
        line, _, rest = first.partition(b"\n")
        began = self._all.seconds()
        opening: Opening | None = None
        claim: Claim | None = None
        result = "cut"
        try:
            opening = rawline.read(line)
            if busy:
                raise Refusal("BUSY")
            if rest:
                self.received(rest)
            claim = await self._redeem(opening)
            self.account = claim.account.id
            if self._all.carried_for(self.account) > self._all.limits.account_transfers:
                raise Refusal("BUSY")
            result = await (self._bring if claim.upload else self._fetch)(opening, claim)
        except Refusal as refusal:
            result = refusal.code
            self.socket.send([rawline.refused(opening, refusal)])
        except (Lost, Superseded, CancelledError):
            self.socket.abort()
        except Exception:
            result = "broken"
            ref = secrets.token_hex(2)
            _log.failure("a transfer broke, reference {ref}", ref=ref)
            self.socket.send([rawline.refused(opening, Refusal("INTERNAL", ref=ref))])
        if claim is not None:
            self._all.audit.transferred(
                room=claim.room,
                name=claim.account.name,
                file=claim.name,
                size=claim.size,
                result=result,
                seconds=self._all.seconds() - began,
            )
        self._ended = True
        self._pieces.clear()
        self._resume()
        if not self.gone:
            self.socket.finish()

    async def _redeem(self, opening: Opening) -> Claim:
        """@raise Refusal: TICKET and more."""
        db, limits = self._all.db, self._all.limits
        if not await db.read(lambda tx: files.is_ticket(tx, opening.ticket)):
            raise Refusal("TICKET")
        claim = await db.write(lambda tx: files.redeem(tx, limits, opening.ticket, opening.size, opening.digest))
        if claim.changed:
            await self._disk(self._all.blobs.drop, [claim.file])
            raise Refusal("CHECKSUM")
        return claim

    # -- in -----------------------------------------------------------------------------------------------------------

    async def _bring(self, opening: Opening, claim: Claim) -> str:
        """A file comes."""
        office = self._all
        await office.brings(claim.file, self)
        try:
            fields = await self._bring_all(opening, claim)
        finally:
            office.brought(claim.file, self)
        self.socket.send([rawline.done(opening, fields, claim.name, claim.size, claim.room)])
        return "ok"

    async def _bring_all(self, opening: Opening, claim: Claim) -> dict[str, Any]:
        """Bring it, give it its place and tell the room; what the room's event says to who asked for it."""
        blobs, block = self._all.blobs, min(self._all.share, BLOCK)
        part: Part = await self._disk(blobs.claim, claim.file, secrets.token_hex(8), claim.size, block)
        try:
            skip = 0
            if opening.start is not None:
                if opening.start > part.size:
                    raise Refusal("FILE_CUT", size=claim.size, got=part.size)
                skip = part.size - opening.start
            self._say(opening, {"start": part.size, "size": claim.size})
            while skip:
                skip -= sum(map(len, await self._more(skip)))
            await self._take(claim, part)
            found = await self._disk(part.check, claim.digest or await self._trailer())
            await self._disk(part.place)
            fields = await self._complete(claim, found)
        except BaseException:
            await self._disk(part.close)
            self._leave(claim.file, part.stored if part.kept else 0)
            raise
        await self._disk(part.close)
        return fields

    def _leave(self, file: int, got: int) -> None:
        """So much of a file has come, and no more for now. Of one that is not known any more nothing stays."""
        office = self._all
        office.db.write(lambda tx: tx.touch_file(file, got) or tx.file(file) is not None).addCallback(
            lambda wanted: None if wanted else office.run(office.blobs.drop, [file])
        ).addErrback(lambda _: None)

    async def _take(self, claim: Claim, part: Part) -> None:
        """All bytes that are still to come: what wakes the reactor by its hand, and what is behind it by the pipe."""
        pipe = self.socket.pipe()
        self._piped = pipe is not None
        try:
            while part.behind:
                await self._move(part.catch_up)
            while part.size < claim.size:
                await self._move(part.write, await self._more(claim.size - part.size, part.size))
                if pipe is not None:
                    await self._pull(pipe, claim, part)
                self._note(claim.file, part.stored)
                if not self._pieces:
                    self._resume()
        except OSError as error:
            if error.errno in GONE:
                raise Lost from None
            raise
        finally:
            self._piped = False
            if pipe is not None:
                pipe.close()

    async def _pull(self, pipe: Pipe, claim: Claim, part: Part) -> None:
        """What has come behind, until nothing more has."""
        while self._paused and part.size < claim.size and not self._pieces:
            if not await self._move(pipe.pull, part, min(self._all.share, claim.size - part.size)):
                break
            if self.gone:
                raise Lost
            self._note(claim.file, part.stored)

    async def _complete(self, claim: Claim, digest: str) -> dict[str, Any]:
        """Tell the room. Where that is not wanted any more, nothing of the file stays."""
        office = self._all
        try:
            fields: dict[str, Any] = await office.db.write(lambda tx: files.complete(tx, claim, digest))
        except Refusal as refusal:
            if refusal.code != "BUSY":
                await office.db.write(lambda tx: tx.drop_file(claim.file))
                await self._disk(office.blobs.drop, [claim.file])
            raise
        return fields

    async def _more(self, most: int, got: int = 0) -> list[bytes]:
        """What has come, at most so many bytes; at least one.

        @raise Lost: the connection has ended. @raise Refusal: FILE_CUT, the other end will send no more.
        """
        while not self._waiting:
            if self.gone:
                raise Lost
            if self._ended:
                raise Refusal("FILE_CUT", size=got + most, got=got)
            await self._sleep()
        taken: list[bytes] = []
        while self._pieces and most:
            piece = self._pieces.popleft()
            if len(piece) > most:
                self._pieces.appendleft(piece[most:])
                piece = piece[:most]
            most -= len(piece)
            taken.append(piece)
        self._waiting = sum(map(len, self._pieces))
        if self._waiting <= self._all.share and not self._piped:
            self._resume()
        return taken

    async def _trailer(self) -> str:
        """The digest that comes behind the bytes.

        @raise Refusal: BAD_LINE.
        """
        line = b""
        while not line.endswith(b"\n"):
            if len(line) == TRAILER:
                raise Refusal("BAD_LINE")
            line += b"".join(await self._more(1))
        digest = line.strip().decode("ascii", "replace")
        if not rawline.DIGEST.fullmatch(digest):
            raise Refusal("BAD_LINE")
        return digest

    def _note(self, file: int, got: int) -> None:
        """Write down now and then how far it has come; a file that is not wanted any more ends with that."""
        now = self._all.seconds()
        if now - self._saved < SAVE:
            return
        self._saved = now

        def noted(wanted: bool) -> None:
            if not wanted:
                self.give_up()

        self._all.db.write(lambda tx: tx.touch_file(file, got)).addCallbacks(noted, lambda _: None)

    # -- out ----------------------------------------------------------------------------------------------------------

    async def _fetch(self, opening: Opening, claim: Claim) -> str:
        """A file goes."""
        office = self._all
        fd: int = await self._disk(office.blobs.open, claim.file, claim.size)
        pipe: Pipe | None = None
        try:
            at, end = claim.start, claim.end
            if opening.start is not None:
                at = min(opening.start, end)
            self._say(opening, {"start": at, "end": end, "size": claim.size, "digest": claim.digest})
            pipe = self.socket.pipe()
            give = self._give if pipe is None else partial(self._push, pipe)
            while at < end:
                at += await give(fd, at, min(office.share, end - at))
                if self.gone:
                    raise Lost
        finally:
            if pipe is not None:
                pipe.close()
            await office.run(os.close, fd)
        return "fetched"

    async def _push(self, pipe: Pipe, fd: int, at: int, most: int) -> int:
        """Some bytes go by the pipe; how many."""
        try:
            sent: int = await self._move(pipe.push, fd, at, most)
        except OSError as error:
            if error.errno in GONE:
                raise Lost from None
            raise
        if not sent and not self.gone:
            self._full = True
            self.socket.await_room()
            while self._full and not self.gone:
                await self._sleep()
        return sent

    async def _give(self, fd: int, at: int, most: int) -> int:
        """Some bytes go by the reactor's hand; how many."""
        data: bytes = await self._move(os.pread, fd, most, at)
        if self.gone:
            raise Lost
        self.socket.send([data])
        while self._full and not self.gone:
            await self._sleep()
        return len(data)

    def _say(self, opening: Opening, fields: dict[str, Any]) -> None:
        if line := rawline.began(opening, fields):
            self.socket.send([line])
