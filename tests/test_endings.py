"""A login that has ended is connected nowhere and does nothing more, however often it is connected."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.ctl import Operator
from tests.memory import PASSWORD, Client, Server

FINGERPRINT = "ab" * 32


class EndingTests(SynchronousTestCase):
    """bob is connected twice by one login: somebody has a copy of its token."""

    def setUp(self) -> None:
        self.server = Server(Path(self.mktemp()))
        self.addCleanup(self.server.stop)
        self.bob = self.server.program("bob")
        self.copy = self.resumed()

    def resumed(self) -> Client:
        """Another connection by the token of bob's login."""
        client = self.server.connect()
        client.call(do="hello", token=self.bob.welcome["token"])["ok"]
        return client

    def test_logged_out(self) -> None:
        """Logging out, here, by number or everywhere, ends all connections of the login; who logs out stays at the
        door."""
        for which in ({}, {"which": "1"}, {"which": "all"}):
            self.assertEqual(self.bob.code(do="logout", **which), "ok")
            self.assertTrue(self.copy.closed, which)
            self.assertFalse(self.bob.closed, which)
            self.bob.welcome = self.bob.call(do="login", name="bob", password=PASSWORD)["ok"]
            self.copy = self.resumed()
            self.assertEqual(self.copy.code(do="whoami"), "ok")

    def test_disabled(self) -> None:
        """An account that the operator disables has no connection left, though its login was ended before by one."""
        self.bob.call(do="logout")
        chatctl = Operator(self.server.data)
        self.assertEqual(chatctl("user", "disable", "bob").status, 0)
        self.server.advance(1.1)
        self.assertTrue(self.copy.closed)

    def test_what_is_under_way(self) -> None:
        """A call that comes behind the end of its login is not done: nobody who is put out leaves a door open."""
        self.bob.call(do="create", room="#ops")
        self.server.writer.hold()
        self.bob.ask(do="logout", which="all")
        self.copy.ask(do="say", room="#ops", text="still here")
        self.copy.ask(do="cert", what="add", which=FINGERPRINT)
        self.server.writer.release()
        self.server.advance(1)
        self.assertTrue(self.copy.closed)
        self.assertEqual(self.server.sql("SELECT fingerprint FROM certificate"), [])
        self.assertEqual(self.server.sql("SELECT text FROM event WHERE kind = 'say'"), [])

    def test_who_is_just_coming_in(self) -> None:
        """A login that is ended between its commit and what it is told of then is none."""
        other = Server(self.server.data, node=2, clock=self.server.reactor)
        self.addCleanup(other.stop)
        late = other.connect()
        other.writer.hold()
        late.ask(do="hello", token=self.bob.welcome["token"])
        self.bob.call(do="logout", which="all")
        other.writer.release()
        other.advance(2)
        self.assertTrue(late.closed)

    def test_what_waits_behind_a_reader_who_stalls(self) -> None:
        """Who has stopped reading, and reads on once their login has ended, is told nothing that was asked before."""
        self.bob.call(do="create", room="#ops")
        for _ in range(40):
            self.bob.call(do="say", room="#ops", text="x" * 4_000)
        self.copy.transport.stick()
        for _ in range(10):
            self.copy.ask(do="history", room="#ops", count=40)
        self.bob.call(do="say", room="#ops", text="later")
        self.bob.call(do="logout", which="all")
        self.copy.transport.drain()
        for _ in range(10):
            self.server.advance(0.1)
        self.assertTrue(self.copy.closed)
        pages = [each["ok"] for each in self.copy.objects() if "lines" in each.get("ok", ())]
        self.assertFalse(any(line["text"] == "later" for page in pages for line in page["lines"]))
