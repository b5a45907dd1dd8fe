"""A whole `chat` but its screen, against the whole server in memory, over cables that can be pulled.

The rule: as in tests/memory.py nothing is a mock of what is tested, and time is a clock that only the test moves.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import error
from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from client import formatting, profile
from client.chat import Chat
from client.face import Face
from client.lines import KEEP, Line
from client.link import Link
from client.store import Store
from tests.memory import PASSWORD, Server


class Cable:
    """One connection in memory, which can be cut."""

    def __init__(self, server: Server, client: Any) -> None:
        self.client = client
        self.sent: list[bytes] = []
        self.said = ""
        """All that was sent."""
        self.far = server.connect()
        self.whole = True
        self.silent = False
        """Nothing comes over any more, and nobody is told."""
        self.lie: Callable[[dict[str, Any]], list[dict[str, Any]]] | None = None
        """What a dishonest server makes of each line to this client."""
        client.makeConnection(self)

    def setTcpNoDelay(self, on: bool) -> None:
        """As asked."""

    def setTcpKeepAlive(self, on: bool) -> None:
        """As asked."""

    def write(self, data: bytes) -> None:
        """The client sends."""
        self.sent.append(data)
        self.said += data.decode()

    def loseConnection(self) -> None:
        """The client closes."""
        self.cut()

    def abortConnection(self) -> None:
        """The client aborts."""
        self.cut()

    def cut(self) -> None:
        """The connection ends for both."""
        if self.whole:
            self.whole = False
            self.far.cut()
            self.client.connectionLost(Failure(error.ConnectionDone()))

    def carry(self, *, answers: bool = True) -> bool:
        """Bring over what was sent; whether there was anything. Without `answers` what comes back is held up."""
        if self.silent:
            return False
        sent, self.sent = b"".join(self.sent), []
        if sent and self.whole:
            self.far.send(sent)
        came = b""
        if answers and self.whole:
            came = self.far.read()
            if came and self.lie is not None:
                said = [told for line in came.splitlines() for told in self.lie(json.loads(line))]
                came = b"".join(json.dumps(told).encode() + b"\n" for told in said)
            if came:
                self.client.dataReceived(came)
            if not came and self.far.closed:
                self.cut()  # the server has hung up
        return bool(sent or came)


class Screen(Face):
    """A face that keeps what it was shown."""

    keep = KEEP

    def __init__(self) -> None:
        self.final: list[str] = []
        self.rung: list[str] = []
        self.over = False

    def show(self, lines: list[Line]) -> None:
        self.final += [formatting.plain(row) for line in lines for row in line.shown()]

    def ring(self, title: str, text: str) -> None:
        self.rung.append(f"{title} {text}")

    def bye(self) -> None:
        self.over = True


class Person:
    """Somebody at a `chat`."""

    def __init__(self, test: ChatTestCase, name: str) -> None:
        self.test = test
        self.name = name
        self.reachable = True
        self.cables: list[Cable] = []
        self.profile = profile.Profile(name, test.root)
        test.addCleanup(self.profile.release)
        test.people.append(self)
        self.start()

    def start(self) -> None:
        """Start `chat`."""
        self.store = Store(self.profile.database)
        self.test.addCleanup(self.store.close)
        self.store.unlock(*profile.unlock(self.profile, self.store.wrap, None))
        self.screen = Screen()
        clock = self.test.server.reactor
        self.chat = Chat(
            self.store,
            self.screen,
            clock,
            lambda chat: Link(clock, self._connect, chat),
            "here:1",
            clock=lambda: 1_700_000_000 + clock.seconds(),
        )
        self.test.addCleanup(self.chat.stop)
        self.chat.start()
        self.chat.connect()
        self.test.settle()

    def _connect(self, protocol: Callable[[], Any]) -> Deferred[Any]:
        if not self.reachable:
            return fail(error.ConnectionRefusedError())
        made = protocol()
        self.cables.append(Cable(self.test.server, made))
        return succeed(made)

    def register(self) -> Person:
        """Through the door, into no group."""
        for line in ("r", self.name, PASSWORD, PASSWORD, ""):
            self.type(line)
        return self

    def type(self, line: str, *, settle: bool = True) -> None:
        """Type a line."""
        self.chat.typist.typed(line)
        if settle:
            self.test.settle()

    def pull(self) -> None:
        """Pull the cable."""
        self.reachable = False
        self.cables[-1].cut()

    def plug(self) -> None:
        """Put it in again."""
        self.reachable = True
        self.test.wait(31)

    def kill(self) -> None:
        """kill -9: whatever is in memory is gone."""
        self.cables[-1].cut()
        self.store.close()
        self.chat.ended = True
        self.chat.link.stop()
        self.chat.drop_timers()

    @property
    def seen(self) -> list[str]:
        """The screen: what is final, then the tail."""
        tail = self.chat.transcript.tail
        return self.screen.final + [
            formatting.plain(row) for line in [*tail.lines, *tail.queued] for row in line.shown()
        ]

    def said(self) -> list[str]:
        """The messages on the screen, without their time."""
        return [row[6:] for row in self.seen if row[2:3] == ":"]


class ChatTestCase(SynchronousTestCase):
    """People at their chats, and one server."""

    def setUp(self) -> None:
        self.root = Path(self.mktemp())
        self.server = Server(self.root / "data")
        self.addCleanup(self.server.stop)
        self.people: list[Person] = []

    def person(self, name: str) -> Person:
        """Somebody, registered."""
        return Person(self, name).register()

    def settle(self) -> None:
        """Carry everything until all is quiet."""
        quiet = 0
        while quiet < 5:
            self.server.advance(0)
            cables = [cable for person in self.people for cable in person.cables if cable.whole]
            quiet = 0 if sum(cable.carry() for cable in cables) else quiet + 1

    def wait(self, seconds: int) -> None:
        """Let time pass, second by second."""
        for _ in range(seconds):
            self.server.advance(1)
            self.settle()

    def pair(self) -> tuple[Person, Person]:
        """Bob and alice, both in #ops."""
        bob, alice = self.person("bob"), self.person("alice")
        bob.type("/create --open #ops alice")
        alice.type("/join #ops")
        return bob, alice
