"""The connection to the server, kept up: one state machine, and the calls and events that go over it.

The rule: the link knows when it is connected and who let us in, and nothing of what is said. It is this table:

    state        input       next         what is done
    idle         start       connecting   open a connection
    connecting   connected   greeting     say hello, with the token and the place in the log where we were
    connecting   failed      waiting      back off: 0.5 s, doubled to 30 s, each shortened by up to a half
    greeting     accepted    inside       the token was good: the log is followed from there
    greeting     stranger    door         nobody is logged in
    door         entered     inside       by name and password
    inside       left        door         logged out
    waiting      retry       connecting   open a connection
    greeting, door, inside
                 lost        waiting      tell, and back off
    any          stop        ended        close

A dead line (a pulled cable sends no word) is found by asking: after 15 s of silence a ping, after 10 s more the end.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from automat import TypeMachineBuilder
from orjson import JSONDecodeError, dumps, loads
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol as Wire
from twisted.internet.protocol import connectionDone
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from chatd.wire.framing import Lines, Overlong
from client.answers import Lost, Refused

LONGEST: Final = 8 * 1024 * 1024
FIRST, MOST = 0.5, 30.0
"""Seconds of the first and of the longest back-off."""
PARTING: Final = frozenset({"FULL", "CROWDED", "SLOW", "IDLE"})
"""Refusals of no call: the server says why it hangs up."""
QUIET: Final = 15.0
DEAD: Final = 10.0
"""Seconds of silence until it is asked whether the line lives, and then until it is taken for dead."""


class Listener(Protocol):
    """Who is told."""

    def hello(self) -> dict[str, Any]:
        """The fields of our hello; a token among them where there is one."""

    def greeted(self, fields: Mapping[str, Any], *, inside: bool) -> None:
        """The server has answered our hello; inside: it knows us."""

    def void(self) -> None:
        """The token is good no more."""

    def unknown_device(self) -> None:
        """The token is good, but the server does not know this device."""

    def heard(self, events: list[Mapping[str, Any]]) -> None:
        """Events came, in order."""

    def offline(self, why: str, wait: float, *, was_online: bool) -> None:
        """No connection; it is tried again in `wait` seconds. `why` is a word or two, or a sentence of the server's."""


class Inputs(Protocol):
    """What can happen to a link."""

    def start(self) -> None:
        """Keep a connection from now on."""

    def connected(self, wire: _Lines) -> None:
        """There is one."""

    def failed(self, why: str) -> None:
        """There is none."""

    def accepted(self) -> None:
        """The token was good."""

    def stranger(self) -> None:
        """Nobody is logged in."""

    def entered(self) -> None:
        """Somebody is logged in now."""

    def left(self) -> None:
        """Nobody is logged in any more."""

    def lost(self, why: str) -> None:
        """The connection has ended."""

    def retry(self) -> None:
        """Try now."""

    def stop(self) -> None:
        """No connection from now on."""


class Core:
    """What the machine works on."""

    def __init__(
        self, reactor: Any, connect: Callable[[Callable[[], Wire]], Deferred[Any]], listener: Listener
    ) -> None:
        self.reactor = reactor
        self.connect = connect
        self.listener = listener
        self.machine: Inputs
        self.wire: _Lines | None = None
        self.parting = ""
        self.tries = 2  # the very first failure says "Retry in 2 s"
        self.timer: Any = None
        self.opening: Deferred[Any] | None = None
        self.calls: dict[int, Deferred[dict[str, Any]]] = {}
        self.number = 0
        self.patient = 0
        self.heard_at = 0.0
        self.asked_at: float | None = None
        self.pulse = LoopingCall(self.beat)
        self.pulse.clock = reactor

    def open(self) -> None:
        """Open a connection."""

        def failed(failure: Failure) -> None:
            self.opening = None
            self.machine.failed(why_of(failure))

        def opened(wire: Any) -> None:
            self.opening = None
            self.machine.connected(wire)

        self.opening = self.connect(lambda: _Lines(self))
        self.opening.addCallbacks(opened, failed)

    def greet(self) -> None:
        """Say hello."""
        self.heard_at = self.reactor.seconds()
        self.pulse.start(5.0, now=False)
        fields = self.listener.hello()

        def answered(answer: dict[str, Any]) -> None:
            self.tries = 0
            inside = "name" in answer
            self.machine.accepted() if inside else self.machine.stranger()
            self.listener.greeted(answer, inside=inside)

        def refused(failure: Failure) -> None:
            error = failure.value
            if isinstance(error, Refused) and error.code == "NOT_LOGGED_IN" and "token" in fields:
                self.listener.void()
                self.call({"do": "hello", **self.listener.hello()}).addCallbacks(answered, refused)
            elif isinstance(error, Refused) and error.code == "NO_DEVICE":
                self.listener.unknown_device()
                self.call({"do": "hello", **self.listener.hello()}).addCallbacks(answered, refused)
            elif self.wire is not None:
                self.wire.abort()

        self.call({"do": "hello", **fields}).addCallbacks(answered, refused)

    def back_off(self, why: str, *, was_online: bool) -> None:
        """Try again later, not all at once with everybody else."""
        wait = min(MOST, FIRST * 2**self.tries) * (1 - random.random() / 2)
        self.tries += 1
        self.timer = self.reactor.callLater(wait, self.machine.retry)
        parting, self.parting = self.parting, ""
        self.listener.offline(parting or why, wait, was_online=was_online)

    def gone(self) -> None:
        """The connection has ended: no answer will come."""
        self.wire = None
        self.asked_at = None
        if self.pulse.running:
            self.pulse.stop()
        calls, self.calls = self.calls, {}
        self.patient = 0
        for waiting in calls.values():
            waiting.errback(Failure(Lost()))

    def call(self, fields: Mapping[str, Any], *, patient: bool = False) -> Deferred[dict[str, Any]]:
        """Send a call; what comes back is the whole answer: {"ok": …, "as": …}. `patient`: it may take long."""
        answer: Deferred[dict[str, Any]] = Deferred()
        if self.wire is None:
            answer.errback(Failure(Lost()))
            return answer
        self.number += 1
        self.patient += patient
        self.calls[self.number] = answer
        if patient:
            answer.addBoth(self._less_patient)
        self.wire.send({"id": self.number, **fields})
        return answer

    def _less_patient(self, result: Any) -> Any:
        self.patient = max(0, self.patient - 1)
        return result

    def receive(self, lines: list[bytes | Overlong]) -> None:
        """Lines came: answers go to who waits for them, events in one piece to the listener."""
        self.heard_at = self.reactor.seconds()
        self.asked_at = None
        events: list[Mapping[str, Any]] = []
        for line in lines:
            fields = _parse(line)
            if "ev" in fields:
                events.append(fields)
            elif (waiting := self.calls.pop(fields.get("re", 0), None)) is not None:
                if events:
                    self.listener.heard(events)
                    events = []
                if "error" in fields:
                    waiting.errback(Failure(Refused(fields["error"])))
                else:
                    waiting.callback(fields["ok"] | {"as": fields.get("as", "")})
            elif "error" in fields and fields["error"].get("code") in PARTING:
                self.parting = str(fields["error"].get("text", ""))
        if events:
            self.listener.heard(events)

    def beat(self) -> None:
        """Is somebody there?"""
        now = self.reactor.seconds()
        if self.wire is None or self.patient:
            return
        if self.asked_at is not None and now - self.asked_at >= DEAD:
            self.wire.abort()
        elif self.asked_at is None and now - self.heard_at >= QUIET:
            self.asked_at = now
            self.call({"do": "ping", "token": ""}).addErrback(lambda _: None)


def _parse(line: bytes | Overlong) -> dict[str, Any]:
    if isinstance(line, Overlong):
        return {}
    try:
        fields = loads(line)
    except JSONDecodeError:
        return {}
    return fields if isinstance(fields, dict) else {}


class _Lines(Wire):
    """One connection: lines of JSON."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._lines = Lines(LONGEST)

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.setTcpNoDelay(True)  # 43 ms stalls otherwise
        transport.setTcpKeepAlive(True)

    def dataReceived(self, data: bytes) -> None:
        lines = self._lines.feed(data)
        if lines:
            self._core.receive(lines)

    def send(self, fields: Mapping[str, Any]) -> None:
        """Send one object."""
        transport: Any = self.transport
        transport.write(dumps(fields) + b"\n")

    def abort(self) -> None:
        """End without more ado."""
        transport: Any = self.transport
        transport.abortConnection()

    def close(self) -> None:
        """Flush and end."""
        transport: Any = self.transport
        transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._core.machine.lost(why_of(reason))


def why_of(failure: Failure) -> str:
    """Why there is no connection, in a word or two.

    >>> from twisted.internet.error import ConnectionRefusedError
    >>> why_of(Failure(ConnectionRefusedError()))
    'refused'
    """
    words = {
        "ConnectionRefusedError": "refused",
        "DNSLookupError": "no such host",
        "TimeoutError": "no answer",
        "TCPTimedOutError": "no answer",
        "NoRouteError": "no route",
        "ConnectionDone": "closed",
        "ConnectionLost": "cut",
        "ConnectionAborted": "no answer",
    }
    name = failure.type.__name__ if failure.type is not None else ""
    return words.get(name) or failure.getErrorMessage() or name


def _build() -> Callable[[Core], Inputs]:
    builder = TypeMachineBuilder(Inputs, Core)
    idle, connecting, greeting = builder.state("idle"), builder.state("connecting"), builder.state("greeting")
    door, inside = builder.state("door"), builder.state("inside")
    waiting, ended = builder.state("waiting"), builder.state("ended")

    @idle.upon(Inputs.start).to(connecting)
    @waiting.upon(Inputs.retry).to(connecting)
    def open_(inputs: Inputs, core: Core) -> None:
        if core.timer is not None and core.timer.active():
            core.timer.cancel()
        core.timer = None
        core.open()

    @connecting.upon(Inputs.connected).to(greeting)
    def greet(inputs: Inputs, core: Core, wire: _Lines) -> None:
        core.wire = wire
        core.greet()

    @connecting.upon(Inputs.failed).to(waiting)
    def fail(inputs: Inputs, core: Core, why: str) -> None:
        core.back_off(why, was_online=False)

    greeting.upon(Inputs.accepted).to(inside).returns(None)
    greeting.upon(Inputs.stranger).to(door).returns(None)
    door.upon(Inputs.entered).to(inside).returns(None)
    inside.upon(Inputs.left).to(door).returns(None)

    @greeting.upon(Inputs.lost).to(waiting)
    def lose_again(inputs: Inputs, core: Core, why: str) -> None:
        core.gone()
        core.back_off(why, was_online=False)

    @door.upon(Inputs.lost).to(waiting)
    @inside.upon(Inputs.lost).to(waiting)
    def lose(inputs: Inputs, core: Core, why: str) -> None:
        core.gone()
        core.back_off(why, was_online=True)

    for state in (idle, connecting, waiting, greeting, door, inside):

        @state.upon(Inputs.stop).to(ended)
        def stop(inputs: Inputs, core: Core) -> None:
            if core.timer is not None and core.timer.active():
                core.timer.cancel()
            if core.opening is not None:
                core.opening.cancel()
            if core.wire is not None:
                core.wire.close()

    @ended.upon(Inputs.lost).to(ended)
    def over(inputs: Inputs, core: Core, why: str) -> None:
        core.gone()

    for ignored in (Inputs.stop, Inputs.start, Inputs.retry, Inputs.left, Inputs.entered):
        ended.upon(ignored).to(ended).returns(None)
    ended.upon(Inputs.stranger).to(ended).returns(None)
    ended.upon(Inputs.accepted).to(ended).returns(None)

    @ended.upon(Inputs.failed).to(ended)
    def late(inputs: Inputs, core: Core, why: str) -> None:
        """It was tried when we stopped."""

    @ended.upon(Inputs.connected).to(ended)
    def unwanted(inputs: Inputs, core: Core, wire: _Lines) -> None:
        wire.close()

    for state in (connecting, greeting, door, inside):
        state.upon(Inputs.retry).to(state).returns(None)
    return builder.build()


_machine = _build()


class Link:
    """A connection that is kept up."""

    def __init__(
        self, reactor: Any, connect: Callable[[Callable[[], Wire]], Deferred[Any]], listener: Listener
    ) -> None:
        self._core = Core(reactor, connect, listener)
        self._core.machine = _machine(self._core)

    def start(self) -> None:
        """Connect, and stay so."""
        self._core.machine.start()

    def retry(self) -> None:
        """Do not wait any longer."""
        self._core.machine.retry()

    def stop(self) -> None:
        """Close."""
        self._core.machine.stop()

    def entered(self) -> None:
        """A login was answered."""
        self._core.machine.entered()

    def left(self) -> None:
        """A logout was answered."""
        self._core.machine.left()

    def call(self, fields: Mapping[str, Any], *, patient: bool = False) -> Deferred[dict[str, Any]]:
        """Send a call. Its Deferred gives the fields of the answer, with the sentence's name as "as".

        @raise Refused: the server's refusal. @raise Lost: the connection ended first, or there is none.
        """
        return self._core.call(fields, patient=patient)

    def beside(self, protocol: Callable[[], Wire]) -> Deferred[Any]:
        """Open another connection to the same server, for bytes."""
        return self._core.connect(protocol)

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return self._core.wire is not None
