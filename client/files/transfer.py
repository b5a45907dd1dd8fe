"""One file on its way: ask for a ticket, use it, and go on at the byte where it was cut, as often as it takes.

The rule: a transfer ends by being through, by a refusal that will not pass, or by being cancelled; a cut connection,
a node that is killed or a server that is busy only make it wait.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.internet.protocol import Protocol as Wire

from client.answers import Lost, Refused
from client.files.intake import Intake
from client.files.progress import Meter
from client.files.source import Source
from client.files.wires import Cut, Raw, Receiving, Sending

PASSING: Final = {
    "RATE": 1.0,
    "BUSY": 1.0,
    "DRAINING": 1.0,
    "FULL": 5.0,
    "CROWDED": 5.0,
    "INTERNAL": 5.0,
    "TICKET": 0.0,
    "FILE_CUT": 0.0,
}
"""Refusals that pass by themselves, and seconds until it is tried again."""
FIRST, MOST = 0.25, 30.0
"""Seconds of the first and of the longest wait after a cut; one that brought bytes counts from the first again."""
ENOUGH: Final = 12
"""This often refused in a row without a byte, by what should pass: it is taken at its word."""


class Host(Protocol):
    """What a transfer needs of the chat it belongs to."""

    def call(self, fields: Mapping[str, Any]) -> Deferred[dict[str, Any]]:
        """Make a call on the chat's own connection."""

    def open(self, wire: Callable[[], Wire]) -> Deferred[Any]:
        """Open another connection to the same server."""

    def connected(self) -> Deferred[None]:
        """Wait until the server hears us."""

    def later(self, seconds: float, do: Callable[[], None]) -> Any:
        """Do it in a while."""

    def in_thread(self, do: Callable[..., Any], *args: object) -> Deferred[Any]:
        """Do it beside."""

    def now(self) -> float:
        """The time in s."""

    def changed(self) -> None:
        """A line of progress would read differently."""


class Transfer:
    """How far it is. `file`: its number on the server, 0 while there is none; `waits`: nothing moves just now."""

    def __init__(self, key: str, name: str, size: int, up: bool, host: Host, file: int = 0) -> None:
        self.key = key
        self.name = name
        self.size = size
        self.total = size
        """Bytes to be moved: a sealed file has a few more than the file."""
        self.up = up
        self.host = host
        self.file = file
        self.done = 0
        self.sure = -1 if up else 0
        """So many bytes are there: of what is sent, as many as the server has said; -1: it has said nothing yet."""
        self.waits = False
        self.stopped = False
        """Somebody wants it no more."""
        self.phase = ""
        """What is done with it, where that is not sending or fetching."""
        self.running: Deferred[Any] | None = None
        self._meter = Meter(0, host.now())

    @property
    def shown(self) -> str:
        """Its name, and what is done with it."""
        return f"{self.name} ({self.phase})" if self.phase else self.name

    def reach(self, done: int) -> None:
        """So many bytes are done."""
        if done < self.done or not self.done:
            self._meter = Meter(done, self.host.now())
        self.done = done
        self.waits = False
        self._meter.reach(done, self.host.now())
        if not self.up:
            self.sure = done
        self.host.changed()

    def began(self, start: int) -> None:
        """The server has so much of it."""
        self.sure = start
        self.reach(start)

    def rate(self, now: float) -> float:
        """Bytes a second, of late."""
        if not self.phase:
            return self._meter.rate(now)
        self._meter.reach(self.done, now)
        return self._meter.rate(now)


async def upload(transfer: Transfer, source: Source, call: Mapping[str, Any]) -> dict[str, Any]:
    """Send all of a file; what the server said last: `file`, and `seq` where the room was told.

    `call`: the `upload` call, with a `mid`.

    @raise Refused: for good. @raise Changed: the file did.
    """
    host = transfer.host

    async def attempt() -> dict[str, Any] | None:
        answer = await host.call(call)
        transfer.file = answer.get("file", transfer.file)
        if "ticket" not in answer:
            return answer
        wire = Sending(answer["ticket"], host.later, source, transfer.began, transfer.reach, host.in_thread)
        return await _through(host, wire)

    return await _again_and_again(transfer, attempt)


async def download(transfer: Transfer, intake: Intake) -> None:
    """Fetch all of a file that is not here yet.

    @raise Refused: for good. @raise Broken: what came does not fit what was announced.
    """
    host, pieces = transfer.host, intake.pieces

    async def attempt() -> dict[str, Any] | None:
        if pieces.whole:
            return {}
        answer = await host.call({"do": "download", "file": transfer.file, "start": pieces.have})
        try:
            return await _through(host, Receiving(answer["ticket"], host.later, intake, transfer.reach))
        except Cut:
            await intake.idle()
            transfer.reach(pieces.have)
            raise

    await _again_and_again(transfer, attempt)


async def _through(host: Host, wire: Raw) -> dict[str, Any]:
    """Open the connection, and wait until it has served."""
    await host.open(lambda: wire)
    return await wire.done


async def _again_and_again(
    transfer: Transfer, attempt: Callable[[], Coroutine[Any, Any, dict[str, Any] | None]]
) -> dict[str, Any]:
    host, tries, refused = transfer.host, 0, 0
    while True:
        before = transfer.sure
        wait = 0.0
        try:
            result = await attempt()
            if result is not None:
                return result
        except Refused as error:
            refused = refused + 1 if transfer.sure <= before else 0
            if error.code not in PASSING or refused >= ENOUGH:
                raise
            wait = float(error.error.get("with", {}).get("wait") or PASSING[error.code])
        except Lost:
            transfer.waits = True
            host.changed()
            await host.connected()
        except (Cut, ConnectError, ConnectionClosed, DNSLookupError):
            pass
        tries = 0 if transfer.sure > before else tries + 1
        wait = max(wait, min(MOST, FIRST * 2**tries) if tries else 0.0)
        transfer.waits = True
        host.changed()
        await sleep(host, wait)


def sleep(host: Host, seconds: float) -> Deferred[None]:
    """Wait; a cancelled wait waits no more."""
    waited: Deferred[None] = Deferred(lambda _: timer.cancel())
    timer = host.later(seconds, lambda: waited.callback(None))
    return waited
