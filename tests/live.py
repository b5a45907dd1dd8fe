"""Real processes for live tests: `twistd` of this checkout, small clients, and nothing left behind.

The rule: nothing sleeps. A test waits for a line that a program prints, an answer, an event, or the end of a process,
each with a time-out so generous that only a hang meets it. Everything stands in trial's temporary folder, on ports of
our own, and every process started carries a mark in its environment by which those that outlive a test are found.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import socket
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, ProcessProtocol, connectionDone
from twisted.internet.task import deferLater
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure
from twisted.trial import unittest

reactor: Any = _reactor
T = TypeVar("T")

ROOT: Final = Path(__file__).resolve().parent.parent
TWISTD: Final = (sys.executable, os.fspath(Path(sys.executable).with_name("twistd")), "-n", "--pidfile=")
PATIENCE: Final = 30.0
"""Seconds until a wait is a hang."""
MARK: Final = "CHATD_TEST_MARK"
PASSWORD: Final = "Correct7horse"
CONFIG: Final = """
[accounts]
bcrypt_cost = 4
"""
PORTS: Final = range(12_000, 30_000)
"""Below those that the kernel hands out by itself, so that a port that is free stays free while its owner restarts."""


def free_ports(count: int = 1) -> int:
    """The first of `count` free ports in a row on loopback."""
    while True:
        first = random.randrange(PORTS.start, PORTS.stop - count)
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first


def new_mid() -> str:
    """A `mid`."""
    return str(uuid.uuid4())


def needs(program: str) -> str:
    """Where a program of the system is; the test is skipped where it is missing, and fails there in CI."""
    found = shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if found is None:
        why = f"{program} is not installed: apt-get install {program}"
        if os.environ.get("CI"):
            raise AssertionError(why)
        raise unittest.SkipTest(why)
    return found


class Waiting:
    """Something that happens bit by bit, and those who wait for it to have come so far."""

    def __init__(self) -> None:
        self._waiters: list[tuple[Callable[[], Any], Deferred[Any]]] = []

    def told(self) -> str:
        """What has happened so far, for the message of a failed wait."""
        return ""

    def happened(self) -> None:
        """Something has: see who waited for it."""
        for waiter in list(self._waiters):
            found, deferred = waiter
            try:
                result = found()
            except AssertionError as error:
                result = Failure(error)
            if result and waiter in self._waiters:
                self._waiters.remove(waiter)
                deferred.callback(result)

    async def until(self, found: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
        """The first true result of `found`, which is called again whenever something has happened, and may raise an
        AssertionError where it never can come."""
        result = found()
        if result:
            return result
        deferred: Deferred[T] = Deferred()
        waiter = (found, deferred)
        self._waiters.append(waiter)

        def late() -> None:
            self._waiters.remove(waiter)
            deferred.errback(Failure(AssertionError(f"waited {seconds:.0f} s for {what}; so far:\n{self.told()}")))

        timer = reactor.callLater(seconds, late)
        try:
            return await deferred
        finally:
            if timer.active():
                timer.cancel()


class Program(Waiting):
    """One real process: what it prints, line by line (stdout and stderr as they come), and how it ends."""

    def __init__(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: Path | str | None = None,
        held: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.status: int | None = None
        """The exit status; the negative signal number of one that was killed; None while it runs."""
        self._transport: Any = reactor.spawnProcess(
            _Pipes(self),
            argv[0],
            list(argv),
            env=dict(env),
            path=None if cwd is None else os.fspath(cwd),
            childFDs={0: "w", 1: "r", 2: "r"} | dict(enumerate(held, 3)),
        )
        self.pid: int = self._transport.pid

    def told(self) -> str:
        return "\n".join(line[:300] for line in self.lines[-40:])

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.status is None

    async def prints(self, pattern: str, after: int = 0, seconds: float = PATIENCE) -> re.Match[str]:
        """The first line (past the first `after`) in which the pattern is found; an error where the process ends."""

        def found() -> re.Match[str] | None:
            for line in self.lines[after:]:
                if match := re.search(pattern, line):
                    return match
            if self.status is not None:
                raise AssertionError(f"ended with {self.status} before it printed {pattern!r}:\n{self.told()}")
            return None

        match = await self.until(found, f"the line {pattern!r}", seconds)
        assert match is not None
        return match

    def signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.running:
            os.kill(self.pid, number)

    def kill9(self) -> None:
        """Kill it without a warning."""
        self.signal(signal.SIGKILL)

    def term(self) -> None:
        """Ask it to drain and end."""
        self.signal(signal.SIGTERM)

    def stop(self) -> None:
        """Freeze it."""
        self.signal(signal.SIGSTOP)

    def cont(self) -> None:
        """Let it go on."""
        self.signal(signal.SIGCONT)

    async def end(self, seconds: float = PATIENCE) -> int:
        """Its exit status, once it has ended."""
        await self.until(lambda: self.status is not None, f"the end of process {self.pid}", seconds)
        assert self.status is not None
        return self.status


class _Pipes(ProcessProtocol):
    def __init__(self, program: Program) -> None:
        self._program = program
        self._rest = {1: b"", 2: b""}

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        *lines, self._rest[childFD] = (self._rest[childFD] + data).split(b"\n")
        self._program.lines += [line.decode("utf-8", "replace") for line in lines]
        if lines:
            self._program.happened()

    def processEnded(self, reason: Failure) -> None:
        ended: Any = reason.value
        self._program.lines += [rest.decode("utf-8", "replace") for rest in self._rest.values() if rest]
        self._program.status = -ended.signal if ended.signal else ended.exitCode or 0
        self._program.happened()


class Chatd:
    """One `twistd -n chatd`, which may be started, ended in all the ways there are, and started again on its port."""

    def __init__(self, test: LiveTestCase, data: Path, port: int, node: int, options: Sequence[str], proxied: bool):
        self._test = test
        self.data = data
        self.port = port
        self.node = node
        self.argv = [
            *("chatd", "--data", os.fspath(data), "--config", os.fspath(test.config)),
            *("--listen", f"{'haproxy:' if proxied else ''}tcp:{port}:interface=127.0.0.1"),
            *(("--node", str(node)) if node else ()),
            *options,
        ]
        self.program: Program

    @property
    def log(self) -> str:
        """Its log so far."""
        path = self.data / "log" / (f"chatd-{self.node}.log" if self.node else "chatd.log")
        return path.read_text("utf-8") if path.exists() else ""

    def launch(self) -> None:
        """Start it, and do not wait."""
        self.program = self._test.twistd(*self.argv)

    async def ready(self) -> str:
        """Its ready line, once it has printed it."""
        return (await self.program.prints("^chatd ready on ")).string

    async def start(self) -> Chatd:
        """Start it, and wait until it is ready."""
        self.launch()
        await self.ready()
        return self

    async def kill9(self) -> None:
        """Kill it without a warning, and wait until it is dead."""
        self.program.kill9()
        await self.program.end()

    async def term(self) -> int:
        """Ask it to drain; its exit status."""
        self.program.term()
        return await self.program.end()

    def stop(self) -> None:
        """Freeze it."""
        self.program.stop()

    def cont(self) -> None:
        """Let it go on."""
        self.program.cont()


class Refused(Exception):
    """A call was refused. `code` is the refusal's."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(f"{error.get('code')}: {error.get('text')}")
        self.code = error.get("code")
        self.error = error


class Lost(Exception):
    """The connection ended before the answer came."""


class _Wire(LineOnlyReceiver):
    delimiter = b"\n"
    MAX_LENGTH = 2**22

    def __init__(self, client: Client) -> None:
        self.client = client

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.setTcpNoDelay(True)

    def lineReceived(self, line: bytes) -> None:
        self.client.heard_line(line.removesuffix(b"\r"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.client.ended()


class Client(Waiting):
    """One connection. `lines` is all that came over it, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.gone = False
        self._wire: Any = None

    def told(self) -> str:
        return "\n".join(line[:300] for line in self.lines[-40:]) + (
            "\n(the connection has ended)" if self.gone else ""
        )

    async def connect(self, port: int, source: str = "127.0.0.1") -> None:
        """Connect, from this address of ours."""
        endpoint: Any = TCP4ClientEndpoint(reactor, "127.0.0.1", port, bindAddress=(source, 0))
        self._wire = await endpoint.connect(Factory.forProtocol(lambda: _Wire(self)))

    def send(self, line: str | bytes) -> None:
        """Send a line."""
        if not self.gone:
            data = line if isinstance(line, bytes) else line.encode()
            self._wire.transport.write(data + b"\n")

    def abort(self) -> None:
        """End the connection without more ado."""
        if not self.gone and self._wire is not None:
            self._wire.transport.abortConnection()

    def close(self) -> None:
        """Hang up."""
        if not self.gone and self._wire is not None:
            self._wire.transport.loseConnection()

    def pause(self) -> None:
        """Read nothing for now."""
        self._wire.transport.pauseProducing()

    def resume(self) -> None:
        """Read on."""
        self._wire.transport.resumeProducing()

    def heard_line(self, line: bytes) -> None:
        """A line has come."""
        self.lines.append(line.decode("utf-8", "replace"))
        self.happened()

    def ended(self) -> None:
        """The connection has ended."""
        self.gone = True
        self.happened()

    async def line(self, pattern: str, after: int = 0, seconds: float = PATIENCE) -> re.Match[str]:
        """The first line (past the first `after`) in which the pattern is found."""

        def found() -> re.Match[str] | None:
            for line in self.lines[after:]:
                if match := re.search(pattern, line):
                    return match
            return None

        match = await self.until(found, f"a line with {pattern!r}", seconds)
        assert match is not None
        return match

    async def end(self, seconds: float = PATIENCE) -> None:
        """Wait until the connection has ended."""
        await self.until(lambda: self.gone, "the end of the connection", seconds)


class JsonClient(Client):
    """A client of the json dialect, which keeps all its events and each call's answer."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[dict[str, Any]] = []
        self.name = ""
        self.token = ""
        self.seq = 0
        """All events up to here have been heard: what the next `hello` says as `since`."""
        self._calls = 0
        self._answers: dict[int, Deferred[dict[str, Any]]] = {}

    def heard_line(self, line: bytes) -> None:
        if line[:1] != b"{":  # who is late is shown the door first, as a person is: docs/protocol.md, 1
            super().heard_line(line)
            return
        fields = json.loads(line)
        if "ev" in fields:
            self.events.append(fields)
            self.seq = max(self.seq, fields.get("seq", 0))
        elif (waiting := self._answers.pop(fields.get("re"), None)) is not None:
            if "error" in fields:
                waiting.errback(Failure(Refused(fields["error"])))
            else:
                waiting.callback(fields["ok"])
        super().heard_line(line)

    def ended(self) -> None:
        answers, self._answers = self._answers, {}
        super().ended()
        for waiting in answers.values():
            waiting.errback(Failure(Lost()))

    def start(self, do: str, **fields: Any) -> Deferred[dict[str, Any]]:
        """Send a call; what is answered comes by Deferred, as `Refused` or `Lost` where it is no `ok`."""
        self._calls += 1
        answer: Deferred[dict[str, Any]] = Deferred()
        if self.gone:
            answer.errback(Failure(Lost()))
            return answer
        self._answers[self._calls] = answer
        self.send(json.dumps({"id": self._calls, "do": do, **fields}, ensure_ascii=False))
        return answer

    async def call(self, do: str, **fields: Any) -> dict[str, Any]:
        """Send a call and wait for its `ok`."""
        answer = self.start(do, **fields)
        answer.addTimeout(PATIENCE, reactor)
        return await answer

    async def register(self, name: str) -> dict[str, Any]:
        """Make an account and be logged in."""
        return self._in(name, await self.call("register", name=name, password=PASSWORD))

    async def login(self, name: str) -> dict[str, Any]:
        """Log in by password."""
        return self._in(name, await self.call("login", name=name, password=PASSWORD))

    async def resume_from(self, before: JsonClient) -> dict[str, Any]:
        """Go on where another connection of the same person ended: its token, and what it has not heard."""
        self.seq = before.seq
        answer = await self.call("hello", token=before.token, since=before.seq, table="no")
        return self._in(before.name, answer)

    def _in(self, name: str, answer: dict[str, Any]) -> dict[str, Any]:
        self.name = name
        self.token = answer["token"]
        return answer

    def said(self, room: str | None = None) -> list[dict[str, Any]]:
        """The messages heard, of one room or of all."""
        return [each for each in self.events if each["ev"] == "say" and (room is None or each["room"] == room)]

    async def event(self, kind: str, seconds: float = PATIENCE, **fields: Any) -> dict[str, Any]:
        """The first event of this kind with these fields."""

        def found() -> dict[str, Any] | None:
            for each in self.events:
                if each["ev"] == kind and all(each.get(name) == value for name, value in fields.items()):
                    return each
            return None

        event = await self.until(found, f"the event {kind} {fields or ''}", seconds)
        assert event is not None
        return event

    async def ping(self) -> None:
        """Wait until all that was committed anywhere before is heard here."""
        await self.call("ping", token="t")


class LiveTestCase(unittest.TestCase):
    """Starts real processes and clients, and sees to it that nothing of them remains."""

    timeout = 180
    settings = CONFIG

    def setUp(self) -> None:
        self.mark = uuid.uuid4().hex
        self.folder = Path(self.mktemp())
        self.folder.mkdir(parents=True)
        self.data = self.folder / "data"
        self.config = self.folder / "chatd.toml"
        self.config.write_text(self.settings)
        self.programs: list[Program] = []
        self.clients: list[Client] = []
        self.addCleanup(self._clean)

    async def _clean(self) -> None:
        """End what still runs. Whatever was started by what we started, and outlives it, fails the test."""
        for client in self.clients:
            client.abort()
            await client.end()
        for program in self.programs:
            program.cont()
            program.term()
        for program in self.programs:
            try:
                await program.end(20)
            except AssertionError:
                program.kill9()
                await program.end()
        left = await self.wait_for_orphans()
        for pid, what in left.items():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            self.fail(f"left behind: {pid} {what}")

    async def wait_for_orphans(self, seconds: float = 10.0) -> dict[int, str]:
        """Processes of this test that run, once those that are ending have ended."""
        for _ in range(int(seconds / 0.05)):
            if not self.marked():
                break
            await deferLater(reactor, 0.05)
        return self.marked()

    def marked(self) -> dict[int, str]:
        """The processes of this test that run now, by their mark: pid and command line."""
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal():
                continue
            try:
                if f"{MARK}={self.mark}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
            except OSError:
                continue
        return found

    def environment(self) -> dict[str, str]:
        """What our processes see: this checkout first, and none of the daemon's own variables."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("CHATD_")}
        env["PYTHONPATH"] = os.pathsep.join(filter(None, (os.fspath(ROOT), env.get("PYTHONPATH"))))
        env["PATH"] = f"{env.get('PATH', os.defpath)}:/usr/sbin:/sbin"
        env[MARK] = self.mark
        return env

    def run_program(
        self, *argv: str, cwd: Path | str | None = None, held: Sequence[int] = (), **environment: str
    ) -> Program:
        """Start a program. `held`: descriptors that it inherits, as 3, 4 …"""
        program = Program(argv, self.environment() | environment, cwd, held)
        self.programs.append(program)
        return program

    def twistd(self, *args: str, **environment: str) -> Program:
        """Start `twistd -n …` of this Python."""
        return self.run_program(*TWISTD, *args, **environment)

    def chatd(
        self, *options: str, port: int = 0, node: int = 0, data: Path | None = None, proxied: bool = False
    ) -> Chatd:
        """A chatd, not started yet. `proxied`: it expects a PROXY header."""
        return Chatd(self, data or self.data, port or free_ports(), node, options, proxied)

    async def client(self, port: int, source: str = "127.0.0.1") -> JsonClient:
        """A json client, connected."""
        client = JsonClient()
        await client.connect(port, source)
        self.clients.append(client)
        return client

    async def person(self, port: int, name: str, source: str = "127.0.0.1") -> JsonClient:
        """A json client, connected and newly registered."""
        client = await self.client(port, source)
        await client.register(name)
        return client

    async def plain(self, port: int, source: str = "127.0.0.1") -> Client:
        """A client of the plain dialect, connected."""
        client = Client()
        await client.connect(port, source)
        self.clients.append(client)
        return client

    async def eventually(self, found: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
        """The first true result of `found` (or of what it awaits), which is asked again and again."""
        ended = reactor.seconds() + seconds
        while True:
            result = found()
            if hasattr(result, "__await__"):
                result = await result
            if result:
                return result
            if reactor.seconds() > ended:
                raise AssertionError(f"waited {seconds:.0f} s for {what}")
            await deferLater(reactor, 0.05)
