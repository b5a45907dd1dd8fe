"""A sealed group and the people in it: what the tests of sealed rooms on the server have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.memory import Client, Server, settings
from tests.sealing import Keys, body, envelopes, equip, found


class Base(SynchronousTestCase):
    """#deep is alice's and sealed; bob and carol are in it, dave is outside. Each is a program with one device."""

    def setUp(self) -> None:
        self.server = Server(Path(self.mktemp()))
        self.addCleanup(self.server.stop)
        self.alice, self.bob, self.carol, self.dave = (
            self.server.program(name) for name in ("alice", "bob", "carol", "dave")
        )
        self.a, self.b, self.c, self.d = (
            equip(client, stock=2) for client in (self.alice, self.bob, self.carol, self.dave)
        )
        self.room, self.chain = found(self.alice, self.a, "#deep", [self.b, self.c])
        self.everybody = [self.alice, self.bob, self.carol, self.dave]
        self.quiet()

    def quiet(self) -> None:
        """Everybody has read what there was."""
        for client in self.everybody:
            client.events()

    def limit(self, **limits: Any) -> None:
        """Other limits from now on."""
        self.server.instance.settings = settings(**limits)
        for protocol in self.server.factory.connections:
            protocol.session.renew()

    def newest(self) -> int:
        """Where the log ends."""
        return self.server.sql("SELECT max(seq) FROM event")[0][0]

    def refused(self, client: Client, **fields: Any) -> tuple[str, dict[str, Any]]:
        """The code and the fields of a refusal, which has changed nothing."""
        looks = ("SELECT max(seq) FROM event", "SELECT head, entries FROM room", "SELECT * FROM member")
        before = [self.server.sql(look) for look in looks]
        error = client.call(**fields)["error"]
        self.assertEqual([self.server.sql(look) for look in looks], before, fields)
        return error["code"], error["with"]

    def sealed(self, *to: Keys, head: bytes | None = None) -> dict[str, Any]:
        """What a message for the first devices of these people is, as a call."""
        devices = [keys.devices[0] for keys in to]
        head = self.chain.head if head is None else head
        return {"do": "say", "room": self.room, "sealed": body(head), "envelopes": envelopes(*devices)}

    def heard(self, client: Client, kind: str) -> list[dict[str, Any]]:
        """Of what somebody was sent the lines of this kind."""
        return [line for line in client.events() if line.get("ev") == kind]
