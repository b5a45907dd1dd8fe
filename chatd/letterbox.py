"""Envelopes, each to the sessions of the one device that it is for (E2E.md §5).

The rule: what a device is handed is in the order of the envelopes' numbers and leaves none out, on each of its
connections, from the oldest that it has not acknowledged on. A connection hears of an envelope with the commit that
brought it, or, where it cannot just then, reads it from the database later; never both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatd.errors import Refusal
from chatd.model import Envelope
from chatd.store.keys import Mail

if TYPE_CHECKING:
    from chatd.store import ReadTx
    from chatd.store.database import Database

PAGE: Final = 100
"""How many envelopes are read at a time: about as much as a connection takes before it counts as full."""

_log = Logger()


class Reader(Protocol):
    """A session that is a device."""

    def envelopes(self, envelopes: list[Envelope]) -> None:
        """Have these sent."""

    def ready(self) -> Deferred[None] | None:
        """When the session can take more; None: now."""


class Letterbox:
    """One connection of a device, and how far it was handed its envelopes."""

    __slots__ = ("device", "ended", "n", "pulling", "reader", "skipped")

    def __init__(self, reader: Reader, device: int) -> None:
        self.reader = reader
        self.device = device
        self.n = 0
        """Everything up to there was handed over."""
        self.skipped = 0
        """Up to there something came while it was handed nothing."""
        self.pulling = False
        self.ended = False


class Letterboxes:
    """The devices that are connected to this instance."""

    def __init__(self, flush: Callable[[], None]) -> None:
        self.position = 0
        """Everything up to there was handed over, or skipped."""
        self._flush = flush
        self._db: Database | None = None
        self._boxes: dict[int, tuple[Letterbox, ...]] = {}
        self._devices: frozenset[int] = frozenset()
        self._retries: list[Letterbox] = []

    def start(self, db: Database) -> None:
        """Read from this database."""
        self._db = db

    def state(self) -> tuple[int, frozenset[int]]:
        """Up to where all is known here, and for which devices the rest is wanted."""
        return self.position, self._devices

    def open(self, reader: Reader, device: int) -> Letterbox:
        """A session is this device: it is handed whatever waits for it, and then what comes."""
        box = Letterbox(reader, device)
        self._boxes[device] = (*self._boxes.get(device, ()), box)
        self._devices = frozenset(self._boxes)
        self.pull(box)
        return box

    def close(self, box: Letterbox) -> None:
        """A session is that device no more."""
        box.ended = True
        left = tuple(other for other in self._boxes.get(box.device, ()) if other is not box)
        if left:
            self._boxes[box.device] = left
        else:
            self._boxes.pop(box.device, None)
        self._devices = frozenset(self._boxes)

    def deliver(self, mail: Mail) -> bool:
        """Hand over what came; False: there is something between that and what is known here."""
        if mail.after > self.position:
            return False
        if mail.upto <= self.position:
            return True
        for envelope in mail.envelopes:
            if envelope.n > self.position:
                for box in self._boxes.get(envelope.device, ()):
                    self._hand(box, envelope)
        for device in self._devices - mail.devices:  # they came while this was under way
            for box in self._boxes[device]:
                box.skipped = mail.upto
                self.pull(box)
        self.position = mail.upto
        return True

    def _hand(self, box: Letterbox, envelope: Envelope) -> None:
        if box.pulling or box.reader.ready() is not None:
            box.skipped = envelope.n
            self.pull(box)
        elif envelope.n > box.n:
            box.n = envelope.n
            box.reader.envelopes([envelope])

    def pull(self, box: Letterbox) -> None:
        """Read what waits for this box, once its session can take it."""
        if box.pulling or box.ended:
            return
        box.pulling = True
        if (waiting := box.reader.ready()) is not None:
            waiting.addCallback(lambda _: self._read(box))
        else:
            self._read(box)

    def _read(self, box: Letterbox) -> None:
        if box.ended:
            return
        assert self._db is not None
        device, after = box.device, box.n

        def read(tx: ReadTx) -> tuple[list[Envelope], int]:
            return tx.envelopes(device, after, PAGE), tx.last_envelope()

        self._db.read(read).addCallbacks(
            lambda found: self._page(box, *found), lambda failure: self._unread(box, failure)
        ).addErrback(lambda failure: _log.failure("handing envelopes over", failure))

    def _page(self, box: Letterbox, envelopes: list[Envelope], last: int) -> None:
        if box.ended:
            return
        box.pulling = False
        if envelopes:
            box.reader.envelopes(envelopes)
        whole = len(envelopes) < PAGE
        box.n = last if whole else envelopes[-1].n
        if not whole or box.skipped > box.n:
            self.pull(box)
        self._flush()

    def _unread(self, box: Letterbox, failure: Failure) -> None:
        if failure.check(Refusal) is None:
            _log.failure("reading envelopes", failure)
        box.pulling = False
        self._retries.append(box)

    def poll(self) -> None:
        """Try again what could not be read."""
        retries, self._retries = self._retries, []
        for box in retries:
            self.pull(box)
