"""What a hostile line, a stolen session or a failing machine must not bring about; each was found by a reading once."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.memory import PASSWORD, Client, Server, instances, settings


class HardeningTests(SynchronousTestCase):
    """One instance, or two on one file, in memory."""

    def serve(self, **given: object) -> Server:
        """A fresh server."""
        server = Server(Path(self.mktemp()), settings=settings(**given))  # type: ignore[arg-type]
        self.addCleanup(server.stop)
        return server

    def test_a_deeply_nested_line_is_refused_once(self) -> None:
        """Brackets by the hundred with an escaped NUL in them are bad usage, and the lines before are done once."""
        server = self.serve()
        alice = server.program("alice")
        alice.call(do="create", room="#ops")
        poison = b'{"do":"say","text":' + b"[" * 700 + b'"\\u0000"' + b"]" * 700 + b"}\n"
        once = json.dumps({"id": "once", "do": "say", "room": "#ops", "text": "once"}).encode() + b"\n"
        alice.send(b'{"id":1,"do":"history","room":"#ops"}\n' + once + poison + b'{"id":9,"do":"ping"}\n')
        for _ in range(20):
            server.advance(0.1)
        objects = alice.objects()
        self.assertEqual([held["text"] for held in objects if held.get("ev") == "say"], ["once"])
        self.assertIn("error", next(held for held in objects if held.get("re", 0) is None))
        self.assertEqual(server.sql("SELECT count(*) FROM event WHERE kind = 'say'"), [(1,)])

    def ended(self, *clients: Client) -> None:
        """The server has closed these."""
        for client in clients:
            self.assertTrue(client.closed)

    def test_logging_out_elsewhere_ends_what_is_connected_there(self) -> None:
        """A new password, /logout N and /logout all end the other sessions, on every instance."""
        one, two = instances(Path(self.mktemp()), 2, settings())
        self.addCleanup(two.stop)
        self.addCleanup(one.stop)
        here = one.program("bob")
        password = PASSWORD
        for number, call in enumerate(
            (
                {"do": "password", "old": PASSWORD, "new": "Another5horse"},
                {"do": "logout", "which": "2"},
                {"do": "logout", "which": "all"},
            )
        ):
            there = two.connect()
            there.call(do="login", name="bob", password=password)
            self.assertEqual(here.code(**call), "ok")
            one.advance(1.1)
            self.ended(there)
            password = "Another5horse"
            self.assertEqual(here.code(do="whoami"), "ok" if number < 2 else "NOT_LOGGED_IN")

    def test_a_deleted_account_has_no_session_left(self) -> None:
        """Whoever is connected as somebody who deletes the account is put out."""
        server = self.serve()
        here, there = server.program("bob"), server.back("bob")
        here.call(do="delete-account", password=PASSWORD)
        server.advance(0)
        self.ended(there)

    def test_a_heart_beats_on_after_a_failure(self) -> None:
        """Whatever fails in one beat, the next one comes: the instance is not taken for gone."""
        server = self.serve()

        def fail() -> None:
            raise OSError(24, "Too many open files")

        self.patch(server.peers, "_find_others", fail)
        server.advance(1.0)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        server.advance(1.0)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        ages = server.sql("SELECT beat FROM instance")
        self.assertEqual(len(ages), 1)

    def test_ipv4_at_an_ipv6_port(self) -> None:
        """At a port that takes both, everybody who comes by IPv4 has an address of their own all the same: nobody's
        connections or wrong passwords count for all."""
        server = self.serve(connections_per_address=2)
        bob = server.program("bob")
        first, second, third = (server.connect("::ffff:203.0.113.7") for _ in range(3))
        other = server.connect("::ffff:198.51.100.9")
        other.call(do="login", name="bob", password=PASSWORD)["ok"]
        server.advance(1)
        self.assertEqual([client.closed for client in (first, second, third, other)], [False, False, True, False])
        listed = bob.call(do="sessions")["ok"]["sessions"]
        self.assertEqual([each["address"] for each in listed], ["127.0.0.1", "198.51.100.9"])

    def test_guesses_at_the_same_time(self) -> None:
        """Somebody who has a session of bob's, or ten, has no more guesses at his password at once than one after the
        other: the right one among them is not heard."""
        server = self.serve()
        token = server.program("bob").welcome["token"]
        thieves = [server.connect() for _ in range(6)]
        for thief in thieves:
            thief.call(do="hello", token=token)["ok"]
        server.passwords.hold()
        guesses = [*("Wrong7guess" for _ in thieves[1:]), PASSWORD]
        for thief, guess in zip(thieves, guesses, strict=True):
            thief.ask(id=1, do="password", old=guess, new="Another5horse")
        server.passwords.release()
        server.advance(1)
        answers = [next(each for each in thief.objects() if each.get("re") == 1) for thief in thieves]
        codes = [answer["error"]["code"] if "error" in answer else "ok" for answer in answers]
        self.assertEqual(codes, ["BAD_LOGIN"] * 2 + ["THROTTLED"] * 4)

    def test_a_mask_of_any_length(self) -> None:
        """A mask that is longer than the database takes is like nobody's name, and breaks nothing."""
        server = self.serve()
        bob = server.program("bob")
        for mask, names in (("*", ["bob"]), ("b" + "*" * 60_000, []), ("b" * 60_000, [])):
            people = bob.call(do="who", mask=mask)["ok"]["people"]
            self.assertEqual([each["name"] for each in people], names)
        self.assertEqual(self.flushLoggedErrors(), [])
