"""A server and people on it, who type and read: what the tests of the plain dialect have in common."""

from __future__ import annotations

from pathlib import Path

from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.memory import Client, Server, settings


class Base(SynchronousTestCase):
    """A server, what it logs, and people on it."""

    settings = settings()

    def setUp(self) -> None:
        self.logged: list[LogEvent] = []
        globalLogPublisher.addObserver(self.logged.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.logged.append)
        self.server = Server(Path(self.mktemp()), settings=self.settings)
        self.addCleanup(self.server.stop)

    @property
    def audited(self) -> list[str]:
        """What the operator's log says."""
        return [formatEvent(event) for event in self.logged if event.get("log_namespace") == "chatd.audit"]

    def person(self, name: str, *typed: str) -> Client:
        """Somebody new, who has typed this since."""
        client = self.server.person(name)
        for line in typed:
            client.type(line)
        client.read()
        return client

    def at_the_door(self, *typed: str) -> Client:
        """Somebody who sees the door, and has typed this since."""
        client = self.server.connect()
        self.server.advance(1)
        for line in typed:
            client.type(line)
        client.read()
        return client

    def talk(self, client: Client, *expected: tuple[str, list[str]]) -> None:
        """Each line typed shows just these lines; hidden passwords aside."""
        for typed, lines in expected:
            self.assertEqual(client.type(typed), lines, f"after {typed!r}")

    def shows(self, client: Client, pattern: str) -> None:
        """The lines that have come are these, by regular expression."""
        self.assertRegex("\n".join(client.lines()), rf"\A{pattern}\Z")
