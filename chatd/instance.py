"""What all sessions of this process share, and who is told of their coming and going.

The rule: no behaviour here. service.py and tests/memory.py put one together; session.py uses it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Final, Protocol

from twisted.internet.defer import Deferred

from chatd.command import Settings
from chatd.crowd import Bucket, Gate, Ration, Trickle, at_once
from chatd.errors import Refusal
from chatd.feed import Feed
from chatd.store.database import Database
from chatd.watching import Watching
from chatd.wire.dialect import Dialect

if TYPE_CHECKING:
    from chatd.session import Session
    from chatd.turns import Turns

GOODBYES: Final = 3
"""How many goodbyes are said in one turn of the reactor."""
ONWARD: Final = 2
"""How many sessions, of those that were stopped in the middle of what they have to say, go on in one."""
LINES: Final = 64
"""How many lines are begun in one turn, of all sessions together: some ms."""
TURN: Final = 32
"""How many of one session, before it is the others' turn."""
LEAST: Final = 5
"""How many of one session when the others have had all of them: who says a thing or two does not wait."""


class Connection(Protocol):
    """The socket, as the session needs it."""

    def send(self, parts: list[bytes | memoryview]) -> None:
        """Have this sent, one part behind the other."""

    def pause_reading(self) -> None:
        """Take nothing more for now."""

    def resume_reading(self) -> None:
        """Take more."""

    def rest(self, seconds: float) -> None:
        """Take nothing for so long."""

    def certificate(self) -> str:
        """The SHA-256, in hex, of the certificate that the client has shown; "" where it has shown none."""

    def delivered(self) -> bool:
        """Whether everything sent has reached the other side's machine."""

    def here(self) -> tuple[str, int]:
        """The address that this connection came to: host and port."""

    def carry_file(self, first: bytes) -> None:
        """From these bytes on, the connection is a file's."""

    def close(self) -> None:
        """Flush and end."""


class Presence(Protocol):
    """Who is connected to this instance."""

    def arrive(self, session: Session) -> None:
        """Somebody has logged in."""

    def depart(self, session: Session) -> None:
        """Somebody's session has ended."""


class Transfer(Protocol):
    """The connection of one file, without its socket."""

    def received(self, data: bytes) -> None:
        """Bytes have come."""

    def eof(self) -> None:
        """No more will come."""

    def full(self) -> None:
        """The socket takes no more for now."""

    def drained(self) -> None:
        """It takes more."""

    def lost(self) -> None:
        """The connection has ended."""


class Transfers(Protocol):
    """All files that come and go here."""

    def open(self, socket: Any, first: bytes) -> Transfer:
        """A connection has begun with these bytes: it is a file's."""

    def sweep(self) -> None:
        """End the connections on which nothing moves."""


class Audit(Protocol):
    """The log that an operator reads."""

    def connected(self, session: Session) -> None:
        """Somebody has logged in."""

    def disconnected(self, session: Session, why: str) -> None:
        """Somebody's session has ended."""

    def refused(self, session: Session, verb: str, refusal: Refusal) -> None:
        """A call was refused."""

    def answered(self, session: Session, reply: str) -> None:
        """A call that is no message was done; the name of its reply."""


@dataclass(slots=True)
class Instance:
    """What all sessions of this process share. The settings may be replaced while it runs."""

    db: Database
    feed: Feed
    settings: Settings
    presence: Presence
    watching: Watching
    audit: Audit
    transfers: Transfers
    slowly: Callable[[Callable[[], Any], Hashable], Deferred[Any]]
    """Run on the password thread, for somebody of this network."""
    later: Callable[[Callable[[], Any]], Any]
    """Run at the end of this reactor turn."""
    unhurried: Callable[[Callable[[], Any]], Any]
    """Run in a turn to come: where a commit is under way, once that had time to end."""
    dialects: Callable[[bytes, Settings], Dialect]
    """The dialect that a first line is written in."""
    turn: Callable[[], int] = field(default_factory=lambda: count().__next__)
    """The number of the reactor's turn; where nobody counts them, each question is one."""
    seconds: Callable[[], float] = time.monotonic
    """A clock that is never set back."""
    waiting: set[Turns] = field(default_factory=set)
    """The sessions with lines that are accepted and not begun."""
    buckets: dict[int | str, Bucket] = field(default_factory=dict)
    """How fast each account (before a login, each address) asks, over all of its connections here."""
    gate: Gate = field(init=False)
    """Through it go those who come in: a thousand who come back at once are not one commit that all others wait for."""
    goodbye: Trickle = field(init=False)
    """By it go those who leave."""
    onward: Trickle = field(init=False)
    """By it go on those who had more to say than is looked at in one turn."""
    ration: Ration = field(init=False)
    """How much that is."""

    def __post_init__(self) -> None:
        self.gate = Gate(lambda: at_once(self.settings.limits, self.db.meter.lately))
        self.goodbye = Trickle(self.unhurried, GOODBYES)
        self.onward = Trickle(self.unhurried, ONWARD)
        self.ration = Ration(self.turn, whole=LINES, each=TURN, least=LEAST)
