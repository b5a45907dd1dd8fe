"""Logging in by a client certificate: SASL EXTERNAL, and the commands that register one."""

from __future__ import annotations

from typing import Any

from OpenSSL.crypto import FILETYPE_PEM, load_certificate

from chatd.tls import fingerprint, self_signed
from tests.irc.talk import Irc, IrcTestCase
from tests.memory import PASSWORD

PEM = self_signed(["alice"])
OTHER = self_signed(["alice"])


class ExternalTests(IrcTestCase):
    """A certificate is known by its SHA-256, and by nothing else of it."""

    def secure(self, pem: bytes = PEM) -> Irc:
        """A client that came by TLS with this certificate, and has begun to negotiate."""
        shown: Any = load_certificate(FILETYPE_PEM, pem)
        client = Irc(self.server, secure=True, certificate=shown)
        client.send("CAP LS 302", "CAP REQ :sasl standard-replies")
        return client

    def external(self, client: Irc, answer: str = "+") -> str:
        """What SASL EXTERNAL ends with."""
        self.assertEqual(client.say("AUTHENTICATE EXTERNAL")[-1], "AUTHENTICATE +")
        return client.say(f"AUTHENTICATE {answer}")[-1]

    def test_registered_then_used(self) -> None:
        """Who has logged in by password registers the certificate of the connection; from then on it is enough."""
        client = self.secure()
        self.assertIn(" sasl=PLAIN,EXTERNAL", client.lines()[0])
        self.assertEqual(self.external(client), ":chatd 904 * :That certificate logs nobody in.")
        client.sasl("alice")
        client.say("NICK alice", "USER a 0 * :a", "CAP END")
        self.assertEqual(
            client.say("CERT add"), [f":chatd!chatd@chatd NOTICE alice :{fingerprint(PEM)} logs you in from now on."]
        )
        again = self.secure()
        self.assertEqual(self.external(again), ":chatd 903 * :SASL authentication successful")
        self.assertIn(":chatd 001 alice :Welcome to chatd, alice", again.say("NICK x", "USER a 0 * :a", "CAP END"))
        named = self.secure()
        self.assertEqual(self.external(named, "QWxpY2U="), ":chatd 903 * :SASL authentication successful")
        for wrong in ("Ym9i", "!!!"):
            self.assertEqual(self.external(self.secure(), wrong).split()[1], "904")
        self.assertEqual(self.external(self.secure(OTHER)).split()[1], "904")

    def test_without_one(self) -> None:
        """Who has shown none is not offered it."""
        for client in (Irc(self.server), Irc(self.server, secure=True)):
            self.assertIn(" sasl=PLAIN ", client.say("CAP LS 302")[-1])
            client.say("CAP REQ sasl")
            self.assertEqual(client.say("AUTHENTICATE EXTERNAL")[0].split(" :")[0], ":chatd 908 * PLAIN")
        self.assertEqual(self.server.connect().code(do="external"), "BAD_CERTIFICATE")

    def test_commands(self) -> None:
        """By number and by SHA-256, on any face; a certificate is one account's, and there are ten at most."""
        alice, bob = self.server.back("alice"), self.server.back("bob")
        alice.lines(), bob.lines()
        held = fingerprint(PEM)
        self.assertEqual(
            alice.type("/cert"),
            ["No certificate logs you in. /cert add registers the one that this connection came with."],
        )
        self.assertEqual(
            alice.type("/cert add"),
            ["This connection came without a certificate.", "/cert add SHA256 registers another one."],
        )
        spread = ":".join(held[at : at + 2] for at in range(0, 64, 2)).upper()
        self.assertEqual(alice.type(f"/cert add {spread}"), [f"{held} logs you in from now on."])
        self.assertEqual(bob.type(f"/cert add {held}"), ["That certificate is registered already."])
        self.assertEqual(bob.type("/cert add 12"), ['"12" is no SHA-256: 64 digits of 0-9 a-f.'])
        self.assertRegex(alice.type("/cert")[0], f"^1 {held} since [0-9-]+$")
        self.assertEqual(alice.type("/cert drop 2")[0][:6], "Usage:")
        self.assertEqual(alice.type("/cert drop 1"), [f"{held} logs nobody in any more."])
        for number in range(10):
            alice.type(f"/cert add {number:064}")
        self.assertEqual(alice.type(f"/cert add {held}"), ["You have 10 certificates already.", "/cert drop N"])

    def test_named_by_somebody_else(self) -> None:
        """Who only names somebody's certificate keeps it from nobody who shows it; who cannot show it takes it from
        nobody, from a disabled account either.
        """
        bob = self.server.back("bob")
        bob.type(f"/cert add {fingerprint(PEM)}")
        client = self.secure()
        client.sasl("alice")
        client.say("NICK alice", "USER a 0 * :a", "CAP END")
        self.assertIn("logs you in from now on", client.say("CERT add")[0])
        self.assertIn("is registered already", client.say("CERT add")[0])
        self.server.sql("UPDATE account SET disabled = 1 WHERE name = 'alice'")
        self.assertEqual(bob.type(f"/cert add {fingerprint(PEM)}")[-1], "That certificate is registered already.")
        self.server.sql("UPDATE account SET disabled = NULL")
        self.assertEqual(self.external(self.secure(), "QWxpY2U=").split()[1], "903")

    def test_ends_with_the_sessions(self) -> None:
        """Where all sessions are ended, by another password or with the account, no certificate logs in either."""
        alice = self.server.back("alice")
        for ending in (f"/password {PASSWORD} Battery8staple", "/delete-account Battery8staple"):
            alice.type(f"/cert add {fingerprint(PEM)}")
            client = self.secure()
            self.assertEqual(self.external(client).split()[1], "903")
            alice.type(ending)
            self.assertEqual(self.external(self.secure()).split()[1], "904", ending)
