"""An IRC client of the server in memory: lines out, lines in."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chatd.command import Settings
from chatd.limits import Limits
from tests.memory import HOME, PASSWORD, Client, Server


class Irc:
    """One connection that speaks IRC."""

    def __init__(self, server: Server, address: str = HOME, *, secure: bool = False, certificate: Any = None) -> None:
        self.client: Client = server.connect(address, secure=secure, certificate=certificate)
        self.server = server

    def send(self, *lines: str) -> None:
        """Send lines, in one packet."""
        self.client.send("".join(f"{line}\r\n" for line in lines).encode())

    def lines(self) -> list[str]:
        """What came since the last look."""
        return self.client.read().decode().split("\r\n")[:-1]

    def say(self, *lines: str) -> list[str]:
        """Send lines; what came back, and what was waiting."""
        self.send(*lines)
        return self.lines()

    def caps(self, *caps: str) -> None:
        """Negotiate."""
        self.send("CAP LS 302", f"CAP REQ :{' '.join(caps)}")

    def sasl(self, name: str, password: str = PASSWORD) -> None:
        """Authenticate by SASL PLAIN."""
        held = base64.b64encode(f"\x00{name}\x00{password}".encode()).decode()
        self.send("CAP REQ :sasl", "AUTHENTICATE PLAIN", f"AUTHENTICATE {held}")

    def enter(self, name: str, *caps: str) -> list[str]:
        """Log in by SASL with these capabilities, and see what that brings."""
        self.caps(*caps, "sasl")
        self.sasl(name)
        return self.say(f"NICK {name}", f"USER {name} 0 * :{name}", "CAP END")


def serve(data: Path, *, guests: bool = False, limits: dict[str, Any] | None = None, **more: Any) -> Server:
    """A server for these tests."""
    return Server(data, settings=Settings(bcrypt_cost=4, guests=guests, limits=Limits(**(limits or {})), **more))


class IrcTestCase(SynchronousTestCase):
    """A server with accounts alice, bob and carol, who are not connected."""

    guests = False

    def setUp(self) -> None:
        """Start it."""
        self.server = self.start()
        for name in ("alice", "bob", "carol"):
            self.server.person(name).lose()

    def start(self) -> Server:
        """A fresh server."""
        server = serve(Path(self.mktemp()))
        self.addCleanup(server.stop)
        return server

    def client(self, name: str, *caps: str) -> Irc:
        """Somebody who has come in, and has read what that brought."""
        client = Irc(self.server)
        client.enter(name, *caps)
        return client

    def both(self, *caps: str) -> tuple[Irc, Irc]:
        """Alice, who owns the open group #ops, and bob, who is in it."""
        alice, bob = self.client("alice", *caps), self.client("bob", *caps)
        alice.say("JOIN #ops", "MODE #ops -A")
        bob.say("JOIN #ops")
        alice.lines()
        return alice, bob
