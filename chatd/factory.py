"""All connections of an instance: who may come, whose time is over, whose turn it is, and how it ends.

The rule: one sweep and no timer per connection; and whoever is not in costs those who are in next to nothing.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from chatd.command import Settings
from chatd.crowd import Bucket, Crowd, Trickle
from chatd.errors import Refusal
from chatd.instance import Instance
from chatd.limits import Limits
from chatd.meter import SECONDS, Histogram
from chatd.protocol import ChatProtocol
from chatd.session import State

SWEEP: Final = 0.1
STRANGERS_A_TURN: Final = 4
"""Of how many who are not in what they say is looked at in one turn of the reactor."""
TIDY: Final = 10.0
"""Seconds between two looks at what changes slowly."""
LINGER: Final = 1.0
"""Seconds for which it is awaited in which dialect somebody who cannot stay is to be told so."""
LINGERING: Final = 64
"""How many are awaited at once: fewer than service.SPARE_FILES. The longest waiting makes room for one more."""
FILE_SWEEP: Final = 1.0
"""Seconds between two looks at the transfers."""
_log = Logger()


class ChatFactory(Factory[ChatProtocol]):
    """All connections of this instance."""

    noisy = False

    def __init__(self, instance: Instance, clock: Any, places: int = 1_000_000) -> None:
        """`places`: how many connections this process can have at all."""
        self.instance = instance
        self._crowd = Crowd(places)
        self._held: dict[ChatProtocol, float] = {}
        self._strangers = Trickle(lambda do: clock.callLater(0, do), STRANGERS_A_TURN)
        self._tidied = clock.seconds()
        self._clock = clock
        self.connections: set[ChatProtocol] = set()
        self._silent: dict[ChatProtocol, float] = {}
        self._lingering: dict[ChatProtocol, float] = {}
        self._outside: dict[ChatProtocol, float] = {}
        self._closing: dict[ChatProtocol, float] = {}
        self._draining = False
        self._files_swept = 0.0
        self._empty: Deferred[None] | None = None
        self.lag = Histogram(SECONDS)
        """How late each sweep was."""
        self.swept = clock.seconds()
        """When the last sweep was: a clock that is free to read."""
        self._sweeping = LoopingCall(self.sweep)
        self._sweeping.clock = clock

    def start(self) -> None:
        """Start the sweep."""
        self.swept = self._clock.seconds()
        self._sweeping.start(SWEEP, now=False)

    def buildProtocol(self, addr: IAddress | None) -> ChatProtocol | None:
        """A protocol for somebody new; none once this instance stops."""
        return None if self._draining else ChatProtocol(self)

    def came(self, protocol: ChatProtocol) -> None:
        """A connection is made. If it cannot stay it is told why, and until then takes nobody's place.

        Where too many stand at the door, whoever stands there longest makes room: a crowd that does not log in can
        keep nobody out who does.
        """
        now = self._clock.seconds()
        session, limits = protocol.session, self.instance.settings.limits
        staying = len(self.connections) - len(self._lingering)
        refusal = self._crowd.admit(session.address, staying, limits, exempt=session.exempt)
        self.connections.add(protocol)
        if refusal is not None:
            protocol.refusal = refusal
            self._lingering[protocol] = now
            if len(self._lingering) > LINGERING:
                self._turn_away(next(iter(self._lingering)))
            return
        self._silent[protocol] = now
        self._outside[protocol] = now
        while len(self._outside) > limits.strangers:
            oldest = next(iter(self._outside))
            del self._outside[oldest]
            if _is_stranger(oldest):
                oldest.session.dismiss(Refusal("FULL"), "full")

    def _turn_away(self, protocol: ChatProtocol) -> None:
        self._lingering.pop(protocol, None)
        protocol.turn_away()

    def take_turn(self, protocol: ChatProtocol, data: bytes) -> None:
        """Somebody who is not in has said this: it is looked at when it is their turn, behind what they said before.

        When a thousand come back at once, all would be ready in one turn, and whoever is in would wait for all of it.
        """
        waits = bool(protocol.pending)
        protocol.wait(data)
        if not waits:
            self._strangers(protocol.let_in)

    def spend(self, protocol: ChatProtocol, amount: int) -> None:
        """So many bytes have come; past the rate that connection is not read for a while."""
        limits = self.instance.settings.limits
        if protocol.bucket is None:
            protocol.bucket = Bucket(limits.bytes_burst, self.swept)
        wait = protocol.bucket.spend(amount, limits.bytes_burst, limits.bytes_per_second, self.swept)
        if wait > 0:
            self.rest(protocol, wait)

    def rest(self, protocol: ChatProtocol, seconds: float) -> None:
        """That connection is not read for so long."""
        until = self.swept + seconds
        if protocol not in self._held:
            protocol.hold()
        self._held[protocol] = max(until, self._held.get(protocol, 0.0))

    def closing(self, protocol: ChatProtocol) -> None:
        """A connection is to end once it is flushed; one that is over already may still have been saying goodbye."""
        if protocol in self.connections:
            self._closing[protocol] = self._clock.seconds()

    def went(self, protocol: ChatProtocol) -> None:
        """A connection has ended."""
        self.connections.discard(protocol)
        self._crowd.left(protocol.session.address, exempt=protocol.session.exempt)
        for held in (self._silent, self._outside, self._closing, self._held, self._lingering):
            held.pop(protocol, None)
        if self._empty is not None and not self.connections:
            empty, self._empty = self._empty, None
            empty.callback(None)

    def sweep(self) -> None:
        """Put out whose time is over. Whatever fails, the next sweep comes."""
        now = self._clock.seconds()
        self.lag.observe(max(0.0, now - self.swept - SWEEP))
        self.swept = now
        try:
            self._sweep()
        except Exception:
            _log.failure("sweeping")

    def _sweep(self) -> None:
        """Whose time is over: the silent see the door, those who do not log in or do not go are put out."""
        now = self._clock.seconds()
        limits = self.instance.settings.limits
        for protocol in _due(self._lingering, now - LINGER):
            protocol.turn_away()
        for protocol in _due(self._silent, now - limits.door_after):
            if protocol.pending or protocol.unread():
                self._silent[protocol] = now
            else:
                protocol.session.intake.greet()
        for protocol in _due(self._outside, now - limits.login_seconds):
            if not _is_stranger(protocol):
                continue
            if protocol.session.since:  # was in, and has logged out
                protocol.session.since = 0.0
                self._outside[protocol] = now
            else:
                protocol.session.dismiss(Refusal("SLOW", seconds=limits.login_seconds), "slow")
        for protocol in _due(self._closing, now - limits.drain_seconds):
            protocol.abort()
        for protocol, until in list(self._held.items()):
            if until <= now:
                del self._held[protocol]
                protocol.release()
        if now - self._tidied >= TIDY:
            self._tidied = now
            self._tidy(now, limits)
        if now - self._files_swept >= FILE_SWEEP:
            self._files_swept = now
            self.instance.transfers.sweep()

    def _tidy(self, now: float, limits: Limits) -> None:
        """What need not be looked at so often: the silent, those who logged out and stay, memory, full buckets."""
        self._crowd.weigh(limits)
        buckets = self.instance.buckets
        mine = self.instance.seconds()
        for key in [
            key for key, each in buckets.items() if each.full(limits.calls_burst, limits.calls_per_second, mine)
        ]:
            del buckets[key]
        for protocol in list(self.connections):
            if limits.idle_seconds and now - protocol.heard > limits.idle_seconds and not protocol.carries_file:
                protocol.session.dismiss(Refusal("IDLE", seconds=limits.idle_seconds), "idle")
            elif protocol not in self._outside and _is_stranger(protocol):
                self._outside[protocol] = now

    def reload(self, settings: Settings) -> None:
        """Go on under other settings."""
        self.instance.settings = settings
        for protocol in self.connections:
            protocol.session.renew()
        self.instance.feed.flush()

    def drain(self) -> Deferred[None]:
        """Tell everybody to reconnect elsewhere; fires once the last connection has ended."""
        empty: Deferred[None] = Deferred()
        self._draining = True
        self._empty = empty
        self.instance.goodbye.hurry()
        for protocol in list(self.connections):
            protocol.let_in()
            protocol.session.drain()
        if not self.connections:
            self._empty = None
            empty.callback(None)
        else:
            self._clock.callLater(self.instance.settings.limits.drain_seconds, self._abort)
        if self._sweeping.running:
            self._sweeping.stop()
        return empty

    def _abort(self) -> None:
        for protocol in list(self.connections):
            protocol.abort()


def _is_stranger(protocol: ChatProtocol) -> bool:
    """Whether nobody is logged in there, and it is no file's."""
    return protocol.session.account == 0 and protocol.session.state in (State.UNDECIDED, State.DOOR)


def _due(held: dict[ChatProtocol, float], before: float) -> list[ChatProtocol]:
    """Those who came before this time, taken out; they stand in order of time."""
    due = []
    for protocol, since in held.items():
        if since > before:
            break
        due.append(protocol)
    for protocol in due:
        del held[protocol]
    return due
