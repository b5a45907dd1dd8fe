"""The whole server in memory: real sessions, feed, store and SQLite, without threads, sockets or a reactor.

The rule: nothing here is a mock of what is tested. The pool runs in this thread, the transport is Twisted's
StringTransport, time is a Clock that only the test moves; so every command and every refusal takes milliseconds and
no test waits. What comes back from another thread in the daemon comes in a later turn of the reactor here, too, and
can be held back to let something else happen first.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ConnectError, ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from chatd import commands  # noqa: F401  (the table fills)
from chatd.audit import Audit
from chatd.blobs import FOLDER, Blobs
from chatd.clock import Calendar
from chatd.command import Settings
from chatd.factory import ChatFactory
from chatd.feed import Feed
from chatd.instance import Instance
from chatd.limits import Limits
from chatd.peers import Peers
from chatd.protocol import choose
from chatd.slow import Line
from chatd.store.database import Committed, Database
from chatd.store.migrate import guests, last_moment, last_seq, migrate
from chatd.transfers import Transfers
from chatd.watching import Watching

PASSWORD = "Correct7horse"
DOOR = 'Press "l" to log in, "r" to register, "c" to close the connection: '
BANNER = "chatd: groups and conversations for people who live in a terminal."
HIDE, SHOW = b"\xff\xfb\x01", b"\xff\xfc\x01"
"""IAC WILL ECHO and IAC WONT ECHO: what is typed between them is not shown."""
HOME = "127.0.0.1"
ABROAD = "203.0.113.7"
"""An address to which the limits by address apply."""


def settings(**limits: Any) -> Settings:
    """Settings for tests, with these limits."""
    return Settings(bcrypt_cost=4, limits=Limits(**limits))


class Thread:
    """Another thread, as the reactor sees it: what is handed to it is done, and its result comes in a later turn."""

    def __init__(self, reactor: Clock) -> None:
        self._reactor = reactor
        self._held: list[Callable[[], None]] | None = None

    def run(self, do: Callable[..., Any], *args: Any) -> Deferred[Any]:
        """Have this done."""
        result: Deferred[Any] = Deferred()
        maybeDeferred(do, *args).addBoth(lambda outcome: self._deliver(lambda: result.callback(outcome)))
        return result

    def _deliver(self, fire: Callable[[], None]) -> None:
        if self._held is None:
            self._reactor.callLater(0, fire)
        else:
            self._held.append(fire)

    def hold(self) -> None:
        """From now on results are kept back. What they are the results of has happened all the same."""
        self._held = self._held or []

    def step(self) -> bool:
        """One result comes, and what follows from it is kept back again; whether there was one."""
        if not self._held:
            return False
        self._held.pop(0)()
        self._reactor.advance(0)
        return True

    def release(self) -> None:
        """Results come again, those that were kept back first."""
        held, self._held = self._held or [], None
        for fire in held:
            fire()
        self._reactor.advance(0)


class DirectPool(Thread):
    """adbapi's ConnectionPool as far as the store uses it, on one connection in this thread."""

    def __init__(self, module: str, path: str, **options: Any) -> None:
        super().__init__(options["cp_reactor"])
        self.connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        options["cp_openfun"](self.connection)

    def start(self) -> None:
        """Nothing to start."""

    def runWithConnection(self, run: Callable[..., Any], *args: Any) -> Deferred[Any]:
        """Run, and answer in a later turn."""
        return self.run(run, SimpleNamespace(_connection=self.connection), *args)

    def close(self) -> None:
        """Close the file."""
        self.connection.close()


class MemoryReactor(Clock):
    """A clock that can pretend to listen for wake-ups, and joins the streams between instances that share it."""

    def __init__(self) -> None:
        super().__init__()
        self._listening: dict[str, Any] = {}

    def listenUNIXDatagram(self, path: str, protocol: Any, mode: int = 0) -> Any:
        """Nobody sends any."""
        return SimpleNamespace(stopListening=lambda: None)

    def listenUNIX(self, path: str, factory: Any, mode: int = 0) -> Any:
        """From now on this can be connected to."""
        self._listening[path] = factory
        Path(path).touch()
        return SimpleNamespace(stopListening=lambda: self._listening.pop(path, None))

    def connectUNIX(self, path: str, factory: Any, timeout: float = 0) -> None:
        """Bytes written to the new connection come out at who listens there, in a later turn."""
        if path not in self._listening:
            factory.clientConnectionFailed(None, Failure(ConnectError()))
            return
        near, far = factory.buildProtocol(None), self._listening[path].buildProtocol(None)
        ended = Failure(ConnectionDone())
        far.makeConnection(SimpleNamespace())
        near.makeConnection(
            SimpleNamespace(
                registerProducer=lambda producer, streaming: None,
                write=lambda data: self.callLater(0, far.dataReceived, data),
                loseConnection=lambda: self.callLater(0, near.connectionLost, ended),
            )
        )


class Transport(StringTransport):
    """A socket whose other end may stop reading: then what is written waits, and past a bound the writer is told.

    `most` is the most that ever waited.
    """

    bufferSize = 65536
    prompt = False

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Whether what is written leaves at once."""
        self.prompt = enabled

    def __init__(self, address: str, closed: Callable[[Exception], None], more: Callable[[], None]) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", address, 54321), lenient=True)
        self._closed = closed
        self._more = more
        self._waiting = b""
        self._stuck = False
        self._told = False
        self.most = 0

    def write(self, data: bytes) -> None:
        """As Twisted's: past `bufferSize` every write pauses the producer."""
        if not self._stuck:
            super().write(data)
            return
        self._waiting += data
        self.most = max(self.most, len(self._waiting))
        if self.producer is not None and len(self._waiting) > self.bufferSize:
            self._told = True
            self.producer.pauseProducing()

    def stick(self) -> None:
        """The other end stops reading."""
        self._stuck = True

    def drain(self) -> None:
        """The other end reads on."""
        self._stuck = False
        waiting, self._waiting = self._waiting, b""
        super().write(waiting)
        if self._told and self.producer is not None:
            self._told = False
            self.producer.resumeProducing()
        if self.disconnecting:
            self.loseConnection()

    def resumeProducing(self) -> None:
        """The server reads on."""
        super().resumeProducing()
        self._more()

    def loseConnection(self) -> None:
        """The connection ends when all that waits is written."""
        self.disconnecting = True
        if not self._waiting:
            self._closed(ConnectionDone())

    def abortConnection(self) -> None:
        """The connection ends."""
        self.disconnecting = self.disconnected = True
        self._closed(ConnectionLost())


class SecureTransport(Transport):
    """The same over TLS."""

    certificate: Any = None

    def getPeerCertificate(self) -> Any:
        """What the client has shown; most have none."""
        return self.certificate


class Server:
    """One instance in memory. `data` is a fresh folder; several servers on one folder and clock are several instances.

    `writer`, `readers`, `checkpointer`, `scanner`, `passwords` and `files` are its threads; `others` are the instances
    that its wake-ups reach.
    """

    def __init__(
        self,
        data: Path,
        *,
        node: int = 1,
        settings: Settings | None = None,
        clock: Any = None,
        durable: bool = False,
        moment: int = 1_700_000_000_000,
    ) -> None:
        self.data = data
        (data / "run").mkdir(parents=True, exist_ok=True)
        migrate(data)
        self.reactor = clock or MemoryReactor()
        self.moment = moment
        self.calendar = Calendar(lambda: self.now, last_moment(data), passed=lambda: int(self.reactor.seconds() * 1000))
        settings = settings or Settings(bcrypt_cost=4)
        self.feed = Feed(settings.limits.ring_bytes)
        self.others: list[Server] = []
        self.pools: list[DirectPool] = []
        self.passwords = Thread(self.reactor)
        self.slow = Line(self.passwords.run, settings.limits.passwords_waiting)
        self.db = Database(
            data,
            durability="normal",
            node=node,
            clock=lambda: self.now,
            position=lambda: self.feed.position,
            mail=lambda: self.feed.boxes.state(),
            committed=self._committed,
            reactor=self.reactor,
            steady=self.calendar.now,
            batch=settings.limits.batch_calls,
            lock_seconds=0.0,
            pool=self._pool,
            soon=lambda do: self.reactor.callLater(0, do),
        )
        self.writer, self.readers, self.checkpointer, self.scanner = self.pools
        self.feed.start(self.db, last_seq(data))
        self.feed.routing.guests.update(guests(data))
        run = data / "run"
        watching = Watching(self.reactor, self.db, self.feed, settings.limits, run, node)
        self.peers = Peers(self.reactor, self.db, self.feed, run, node, settings.limits.cursor_seconds, watching)
        self.audit = Audit(addresses=True, room=self.feed.routing.room)
        self.feed.observers += [self.audit.happened, watching.happened]
        self.files = Thread(self.reactor)
        self.blobs = Blobs(data / FOLDER, durable=durable)
        self.transfers = Transfers(
            self.db, self.blobs, self.files.run, lambda: self.instance.settings.limits, self.audit, self.reactor.seconds
        )
        self.instance = Instance(
            db=self.db,
            feed=self.feed,
            settings=settings,
            presence=self.peers,
            watching=watching,
            audit=self.audit,
            transfers=self.transfers,
            slowly=self.slow.run,
            later=lambda do: self.reactor.callLater(0, do),
            unhurried=lambda do: self.reactor.callLater(0, do),
            dialects=choose,
            seconds=self.reactor.seconds,
        )
        self.factory = ChatFactory(self.instance, self.reactor)
        self.factory.start()
        self.peers.start()
        self.advance(0)

    def _pool(self, *args: Any, **options: Any) -> DirectPool:
        pool = DirectPool(*args, **options)
        self.pools.append(pool)
        return pool

    def _committed(self, committed: Committed) -> None:
        self.feed.commit(committed)
        if committed.origins or committed.mail.upto > committed.mail.after:
            for other in self.others:
                other.feed.look()

    def connect(self, address: str = HOME, *, secure: bool = False, certificate: Any = None) -> Client:
        """Somebody connects; by TLS they may show a certificate."""
        return Client(self, address, secure=secure, certificate=certificate)

    def person(self, name: str, address: str = HOME) -> Client:
        """Somebody connects by the plain dialect, registers, and has read what came of it."""
        client = self.connect(address)
        client.type(f"/register {name} {PASSWORD}")
        return client

    def back(self, name: str, address: str = HOME) -> Client:
        """Somebody who is registered connects by the plain dialect; what the login shows is not read yet."""
        client = self.connect(address)
        client.send(f"/login {name} {PASSWORD}\r\n".encode())
        return client

    def program(self, name: str, address: str = HOME) -> Client:
        """A program connects by the json dialect, registers, and has read what came of it."""
        client = self.connect(address)
        client.welcome = client.call(do="register", name=name, password=PASSWORD)["ok"]
        client.events()
        return client

    def resume(self, name: str, since: int | None = None, address: str = HOME) -> Client:
        """A program whose account is registered logs in; the events that its login brings are not read yet."""
        client = self.connect(address)
        fields = {} if since is None else {"since": since}
        client.welcome = client.call(do="login", name=name, password=PASSWORD, **fields)["ok"]
        return client

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.reactor.advance(seconds)

    @property
    def now(self) -> int:
        """The time of day that operations see (ms)."""
        return self.moment + int(self.reactor.seconds() * 1000)

    def sql(self, statement: str, *args: Any) -> list[Any]:
        """What stands in the file, for tests that look below."""
        connection = sqlite3.connect(self.data / "chatd.sqlite")
        try:
            with connection:
                return connection.execute(statement, args).fetchall()
        finally:
            connection.close()

    def stop(self) -> None:
        """Say goodbye to the others and close the file, which must be sound."""
        for thread in (self.writer, self.readers, self.checkpointer, self.scanner, self.passwords, self.files):
            thread.release()
        self.instance.goodbye.hurry()
        for protocol in list(self.factory.connections):
            protocol.connectionLost(Failure(ConnectionDone()))
        if self.factory._sweeping.running:
            self.factory._sweeping.stop()
        self.peers.stop()
        self.db.close()
        self.advance(0)
        assert self.sql("PRAGMA foreign_key_check") == []
        assert self.sql("PRAGMA integrity_check") == [("ok",)]

    def kill(self) -> None:
        """End without a word, as a process does that is killed."""
        for call in (self.peers._beats, self.peers._cursors, self.factory._sweeping):
            if call.running:
                call.stop()
        for other in self.others:
            other.others.remove(self)
        self.peers._socket.close()
        self.db.close()


def instances(data: Path, count: int = 2, settings: Settings | None = None) -> list[Server]:
    """Several instances on one file, which wake each other."""
    servers = [Server(data, settings=settings)]
    for node in range(2, count + 1):
        servers.append(Server(data, node=node, settings=settings, clock=servers[0].reactor))
    for server in servers:
        server.others = [other for other in servers if other is not server]
    return servers


class Client:
    """The other end of one connection."""

    def __init__(self, server: Server, address: str = HOME, *, secure: bool = False, certificate: Any = None) -> None:
        self.server = server
        protocol = server.factory.buildProtocol(None)
        assert protocol is not None
        self.protocol = protocol
        self.transport = (SecureTransport if secure else Transport)(address, self._closed, self._push)
        if isinstance(self.transport, SecureTransport):
            self.transport.certificate = certificate
        self.gone = False
        self.welcome: dict[str, Any] = {}
        self._unsent = b""
        self._ended = False
        self._next = 1
        self._held: list[dict[str, Any]] = []
        protocol.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        """These bytes arrive at the server, as soon as it reads them."""
        self._unsent += data
        self._push()
        self.server.advance(0)

    def trickle(self, data: bytes) -> None:
        """These bytes arrive one by one."""
        for byte in data:
            self.send(bytes((byte,)))

    def _push(self) -> None:
        transport = self.transport
        while self._unsent and transport.producerState == "producing" and not transport.disconnecting:
            data, self._unsent = self._unsent[:65536], self._unsent[65536:]
            self.protocol.dataReceived(data)
        if self._ended and not self._unsent and not transport.disconnecting and transport.producerState == "producing":
            self._ended = False
            self.protocol.readConnectionLost()

    def read(self) -> bytes:
        """What the server has sent since the last look."""
        data: bytes = self.transport.value()
        self.transport.clear()
        return data

    def type(self, text: str) -> list[str]:
        """Type one line; the lines that came back, those that were waiting included."""
        self.send(text.encode() + b"\r\n")
        return self.lines()

    def lines(self) -> list[str]:
        """The lines that came since the last look; a prompt stands last, without its end of line."""
        text = self.read().replace(HIDE, b"").replace(SHOW, b"").decode()
        found = text.split("\r\n")
        return found[:-1] if found[-1] == "" else found

    def ask(self, **fields: Any) -> None:
        """Send one json call, and do not look for its answer."""
        self.send(json.dumps(fields).encode() + b"\n")

    def call(self, **fields: Any) -> dict[str, Any]:
        """Send one json call; its answer. Events that came with it are kept for `events`."""
        self._next += 1
        self.ask(**{"id": self._next} | fields)
        self._held += self.objects()
        for found in self._held:
            if found.get("re") == self._next:
                self._held.remove(found)
                return found
        raise AssertionError(f"no answer to {fields} among {self._held}")

    def code(self, **fields: Any) -> str:
        """The code that a json call is refused with, or "ok"."""
        answer = self.call(**fields)
        code: str = answer["error"]["code"] if "error" in answer else "ok"
        return code

    def objects(self) -> list[dict[str, Any]]:
        """The objects that came since the last look."""
        return [json.loads(line) for line in self.read().splitlines()]

    def events(self) -> list[dict[str, Any]]:
        """The events that came with the last call and since."""
        held, self._held = self._held, []
        return held + self.objects()

    def finish(self) -> None:
        """The client has sent all it has, and still reads: `printf … | nc -N`."""
        self._ended = True
        self._push()
        self.server.advance(0)

    def hang_up(self) -> None:
        """The client closes cleanly."""
        self.finish()
        self.lose()

    def lose(self) -> None:
        """The connection ends."""
        self._closed(ConnectionDone())
        self.server.advance(0)

    def cut(self) -> None:
        """The connection breaks."""
        self._closed(ConnectionLost())
        self.server.advance(0)

    def _closed(self, why: Exception) -> None:
        """What Twisted tells the protocol in a turn of its own."""
        if not self.gone:
            self.gone = True
            self.server.reactor.callLater(0, self.protocol.connectionLost, Failure(why))

    @property
    def closed(self) -> bool:
        """Whether the server has closed."""
        return self.transport.disconnecting
