"""Clients that talk through any misfortune, and write down what they were told.

The rule: a client does what docs/protocol.md tells a careful program to do and nothing more: it registers once, comes
back with its token and its last seq, sends again under the same mid what was not answered, and waits a little longer
after each failure. It judges nothing; `checker` does.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.task import deferLater
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from tests.chaos.checker import Line, Record, Sent
from tests.live import PASSWORD, Refused, Waiting, reactor

PASSES: Final = frozenset({"BUSY", "DRAINING"})
"""Refusals after which the same call is sent again."""
SPICE: Final = ("", ' "quoted" \\n', " ünïcödé 🚀", " /slash", " \t", " <b>&amp;", " \\u0000", " x" * 200)
"""What a text may end with: whatever could be altered on its way."""
HEAVY: Final = (*SPICE, " 🚀🚀🚀" * 900, " 🚀" * 1900)
"""The same, and what fills buffers: up to 12 kB each."""
FIRST_WAIT, LONGEST_WAIT = 0.05, 1.0
"""Seconds before the first and before any later try to come back; each time something between half and all of it."""


class Tally(Waiting):
    """How many messages have been acknowledged to all clients together."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def told(self) -> str:
        return f"{self.count} acknowledged"

    def add(self) -> None:
        """One more."""
        self.count += 1
        self.happened()

    async def more(self, count: int) -> None:
        """Wait for so many more."""
        goal = self.count + count
        await self.until(lambda: self.count >= goal, f"{goal} acknowledged messages")


class _Call:
    """A call that is not answered yet."""

    __slots__ = ("answer", "fields", "line")

    def __init__(self, fields: dict[str, Any]) -> None:
        self.fields = fields
        self.line = json.dumps(fields, ensure_ascii=False).encode() + b"\n"
        self.answer: Deferred[dict[str, Any]] = Deferred()


class _Wire(LineOnlyReceiver):
    """One connection. A line that was cut short by its end is never seen."""

    delimiter = b"\n"
    MAX_LENGTH = 2**24

    def __init__(self, client: Talker) -> None:
        self.client = client
        self.dead = False
        self._dozing: Any = None
        self.lost: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        transport: Any = self.transport
        if hasattr(transport, "setTcpNoDelay"):
            transport.setTcpNoDelay(True)

    def lineReceived(self, line: bytes) -> None:
        self.client.heard(self, line)

    def doze(self, seconds: float) -> None:
        """Read nothing more for so long."""
        transport: Any = self.transport
        if self._dozing is None or not self._dozing.active():
            transport.pauseProducing()
            self._dozing = reactor.callLater(seconds, transport.resumeProducing)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._dozing is not None and self._dozing.active():
            self._dozing.cancel()
        self.lost.callback(None)


class Talker(Waiting):
    """One client. `places` says where servers may be: ports of this machine, or paths of Unix sockets.

    `cut` is how likely each line that comes is the one at which its network fails: that line, and all that is
    already under way behind it, never reaches it, though the server believes so. `lazy` is how likely it is that it
    reads nothing for a while after a line. `spice` is what its texts end with. `known`: the account is there already;
    this is one more device of it, which begins by asking for everything there ever was.
    """

    def __init__(
        self,
        name: str,
        places: Callable[[], Sequence[int | str]],
        rng: random.Random,
        tally: Tally | None = None,
        cut: float = 0.0,
        lazy: float = 0.0,
        spice: Sequence[str] = SPICE,
        known: bool = False,
    ) -> None:
        super().__init__()
        self.record = Record(name)
        self.rooms: dict[str, int] = {}
        """The rooms it has heard of, by name."""
        self.connections = 0
        self.refusals: Counter[str] = Counter()
        self.surprises: list[str] = []
        """What no careful client should ever meet."""
        self._places = places
        self._rng = rng
        self._tally = tally or Tally()
        self._cut = cut
        self._lazy = lazy
        self._spice = spice
        self._wire: Any = None
        self._in = False
        self._known = known
        self._token = ""
        self._cursor = 0
        self._number = 0
        self._said = 0
        self._calls: dict[int, _Call] = {}
        self._wandering: Deferred[None] | None = None
        self._talking: tuple[list[str], float] | None = None
        self._thinking: list[IDelayedCall] = []
        self._stopping = False
        self._waking: Any = None
        self._running: Deferred[None] | None = None

    def told(self) -> str:
        first = [call.fields for call in list(self._calls.values())[:3]]
        return f"{self.record.name}: {'in' if self._in else 'out'}, waits for {len(self._calls)} answers: {first}"

    # -- coming and going ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Connect, and come back for as long as it is not stopped."""
        self._running = Deferred.fromCoroutine(self._run())

    async def stop(self) -> None:
        """Hang up for good."""
        self._stopping = True
        self.hush()
        if self._wire is not None:
            self._wire.transport.abortConnection()
        if self._waking is not None:
            self._waking.cancel()
        if self._running is not None:
            running, self._running = self._running, None
            await running

    async def _run(self) -> None:
        wait = FIRST_WAIT
        while not self._stopping:
            place = self._rng.choice(self._places())
            endpoint: Any = (
                HostnameEndpoint(reactor, b"127.0.0.1", place, timeout=5)
                if isinstance(place, int)
                else UNIXClientEndpoint(reactor, place, timeout=5)
            )
            try:
                self._wire = wire = await endpoint.connect(Factory.forProtocol(lambda: _Wire(self)))
            except error.ConnectError:
                pass
            else:
                self._greet()
                await wire.lost
                if self._in:
                    wait = FIRST_WAIT
                self._wire, self._in = None, False
            if self._stopping:
                break
            self._waking = deferLater(reactor, wait * self._rng.uniform(0.5, 1))
            wait = min(LONGEST_WAIT, wait * 2)
            with suppress(CancelledError):
                await self._waking
            self._waking = None

    def _greet(self) -> None:
        """The first line of a connection: by token, by registering, or by password where that went unanswered."""
        fields: dict[str, Any]
        if self._token:
            fields = {"do": "hello", "token": self._token, "since": self._cursor, "table": "no"}
        elif self._known:
            fields = {"do": "login", "name": self.record.name, "password": PASSWORD, "since": 0}
        else:
            fields = {"do": "register", "name": self.record.name, "password": PASSWORD}
        self._wire.transport.write(json.dumps({"id": 0, **fields}).encode() + b"\n")

    def _greeted(self, answer: dict[str, Any]) -> None:
        if "error" in answer:
            code = answer["error"]["code"]
            self.refusals[code] += 1
            if code == "NAME_TAKEN":
                self._known = True
            elif code not in PASSES:
                self.surprises.append(f"{self.record.name} was refused: {answer['error']}")
            self._wire.transport.loseConnection()
            return
        fields = answer["ok"]
        if not self._token:
            self.record.account = fields["account"]
            self.record.since = self._cursor = 0 if self._known else fields["seq"]
        self._token = fields["token"]
        self._in = True
        self.connections += 1
        for room in fields["rooms"]:
            self.rooms[room["room"]] = room["room_id"]
        self._wire.transport.write(b"".join(call.line for call in self._calls.values()))
        self.happened()

    # -- what comes ---------------------------------------------------------------------------------------------------

    def heard(self, wire: Any, line: bytes) -> None:
        """A line has come."""
        if wire is not self._wire or wire.dead:
            return
        if self._talking is not None and self._rng.random() < self._cut:
            wire.dead = True
            wire.transport.abortConnection()
            return
        if self._talking is not None and self._rng.random() < self._lazy:
            wire.doze(self._rng.uniform(0.5, 3))
        if not line.startswith(b"{"):
            return
        fields = json.loads(line)
        if "ev" in fields:
            if "seq" in fields:
                self._event(fields)
        elif fields.get("re") == 0 and not self._in:
            self._greeted(fields)
        else:
            self._answered(fields)

    def _event(self, fields: dict[str, Any]) -> None:
        line = Line(
            fields["seq"], fields["room_id"], fields["by_id"], fields["ev"], fields.get("mid"), fields.get("text")
        )
        self.record.received.append(line)
        self._cursor = max(self._cursor, line.seq)
        self.rooms[fields["room"]] = line.room
        self.happened()

    def _answered(self, fields: dict[str, Any]) -> None:
        number = fields["re"]
        call = self._calls.get(number)
        if call is None:
            self.surprises.append(f"{self.record.name} was answered what it did not ask: {fields}")
            return
        if "error" in fields:
            refused = Refused(fields["error"])
            self.refusals[str(refused.code)] += 1
            if refused.code in PASSES:
                self.record.refused += 1
                wire = self._wire
                reactor.callLater(self._rng.uniform(0.02, 0.1), self._again, wire, number)
                self.happened()
                return
            del self._calls[number]
            call.answer.errback(Failure(refused))
        else:
            del self._calls[number]
            done = fields["ok"]
            mid = call.fields.get("mid")
            if mid is not None and "seq" in done:
                self.record.acknowledged[mid] = done["seq"]
            if call.fields["do"] == "ping":
                self.record.barriers.append((done["seq"], len(self.record.received)))
            call.answer.callback(done)
        self.happened()

    def _again(self, wire: Any, number: int) -> None:
        """Send once more what was refused for now, unless a new connection has done so."""
        if wire is self._wire and self._in and number in self._calls:
            wire.transport.write(self._calls[number].line)

    # -- what goes ----------------------------------------------------------------------------------------------------

    def mid(self) -> str:
        """A UUIDv7."""
        head = time.time_ns() // 1_000_000 << 80
        value = head | 0x7 << 76 | self._rng.getrandbits(12) << 64 | 0b10 << 62 | self._rng.getrandbits(62)
        digits = f"{value:032x}"
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

    def call(self, do: str, **fields: Any) -> Deferred[dict[str, Any]]:
        """Have this done, whatever it takes; its answer, or Refused where that is the answer."""
        self._number += 1
        call = self._calls[self._number] = _Call({"id": self._number, "do": do, **fields})
        if self._in:
            self._wire.transport.write(call.line)
        return call.answer

    def act(self, do: str, **fields: Any) -> Deferred[dict[str, Any]]:
        """Have this done once, under a mid of its own."""
        mid = self.mid()
        self.record.sent[mid] = Sent(None, None)
        return self.call(do, mid=mid, **fields)

    def say(self, room: str, text: str) -> Deferred[dict[str, Any]]:
        """Say this to a room that it is in."""
        mid = self.mid()
        number = self.rooms[room]
        self.record.sent[mid] = Sent(number, text)
        return self.call("say", room=number, text=text, mid=mid)

    def tell(self, user: str, text: str) -> Deferred[dict[str, Any]]:
        """Say this to one person."""
        mid = self.mid()
        self.record.sent[mid] = Sent(None, text)
        return self.call("msg", user=user, text=text, mid=mid)

    def talk(self, rooms: Sequence[str], *, window: int, pause: float = 0.0) -> None:
        """Say things in these rooms, or to these people (@bob), from now on: up to `window` unanswered, and `pause`
        seconds, on average, after each answer."""
        self._talking = (list(rooms), pause)
        for _ in range(window):
            self._say_more()

    def wander(self, room: str) -> None:
        """Go into this room, say something, and leave it, over and over."""
        self._wandering = Deferred.fromCoroutine(self._wander(room))
        self._wandering.addErrback(lambda failure: self.surprises.append(f"{self.record.name}: {failure.value}"))

    async def _wander(self, room: str) -> None:
        while self._talking is not None:
            await self.act("join", room=room)
            await self.barrier()
            await gatherResults([self.say(room, f"{self.record.name} was here {n}") for n in range(3)])
            await self.act("leave", room=self.rooms[room])

    def hush(self) -> None:
        """Begin nothing more."""
        self._talking = None
        for call in self._thinking:
            if call.active():
                call.cancel()

    def _say_more(self) -> None:
        if self._talking is None:
            return
        rooms, pause = self._talking
        self._said += 1
        text = f"{self.record.name} {self._said}{self._rng.choice(self._spice)}"
        room = self._rng.choice(rooms)
        said = self.tell(room[1:], text) if room.startswith("@") else self.say(room, text)

        def onward(answer: dict[str, Any]) -> None:
            self._tally.add()
            if self._talking is None or not pause:
                self._say_more()
            else:
                self._thinking = [call for call in self._thinking if call.active()]
                self._thinking.append(reactor.callLater(self._rng.expovariate(1 / pause), self._say_more))

        said.addCallbacks(onward, lambda failure: self.surprises.append(f"{self.record.name}: {failure.value}"))

    # -- the end ------------------------------------------------------------------------------------------------------

    async def enter(self) -> None:
        """Wait until it is connected and logged in."""
        await self.until(lambda: self._in, f"{self.record.name} to be in")

    async def answered(self) -> None:
        """Wait until everything it has asked for, and was about to, is answered."""
        if self._wandering is not None:
            await self._wandering
        await self.until(lambda: not self._calls, f"the answers to {self.record.name}")

    async def barrier(self) -> None:
        """Wait until all that was committed anywhere before is received here."""
        await self.call("ping", token="t")


async def settle(talkers: Sequence[Talker]) -> None:
    """Have all of them fall silent, get every answer, and then everything that was ever said."""
    for talker in talkers:
        talker.hush()
    for talker in talkers:
        await talker.answered()
    for talker in talkers:
        await talker.barrier()
