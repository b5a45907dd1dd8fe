"""Coming in: what a client says, and all that it is told."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

from tests.irc.talk import Irc, IrcTestCase, serve
from tests.memory import PASSWORD


class RegistrationTests(IrcTestCase):
    """Coming in."""

    def test_sasl(self) -> None:
        """SASL PLAIN, the greeting from 001 to the message of the day, and a true 005."""
        client = Irc(self.server)
        self.assertEqual(client.say("CAP LS 302")[0].split(" :")[0], ":chatd CAP * LS")
        self.assertEqual(client.say("JOIN :"), [":chatd 451 * :You have not registered"])
        client.sasl("alice")
        found = client.lines()
        self.assertEqual([line.split()[1] for line in found], ["CAP", "+", "900", "903"])
        found = client.say("NICK whoever", "USER a 0 * :a", "CAP END")
        numbers = [line.split()[1] for line in found]
        self.assertEqual(
            numbers, ["001", "002", "003", "004", "005", "005", "005", "251", "252", "254", "255", "265", "266", "422"]
        )
        self.assertEqual({line.split()[2] for line in found}, {"alice"})
        self.assertIn("CASEMAPPING=ascii", found[4])

    def test_sasl_in_pieces(self) -> None:
        """What is longer than a line comes in pieces of 400 bytes, closed by + where the last is one; and there
        is an end to it (905).
        """
        for padding, pieces in ((260, 1), (293, 2)):
            client = Irc(self.server)
            held = base64.b64encode(f"\0alice\0{'x' * padding}".encode()).decode()
            client.say("CAP REQ sasl", "AUTHENTICATE PLAIN")
            parts = [held[at : at + 400] for at in range(0, len(held), 400)]
            self.assertEqual(len(parts), 1 if len(held) == 400 else pieces)
            for part in parts[:-1]:
                self.assertEqual(client.say(f"AUTHENTICATE {part}"), [])
            last = client.say(f"AUTHENTICATE {parts[-1]}", *(["AUTHENTICATE +"] if len(parts[-1]) == 400 else []))
            self.assertEqual(last[-1].split()[1], "904")
        client.say("AUTHENTICATE PLAIN")
        self.assertEqual(client.say(f"AUTHENTICATE {'x' * 401}"), [":chatd 905 * :SASL message too long"])
        client.say("AUTHENTICATE PLAIN")
        found = client.say(*[f"AUTHENTICATE {'x' * 400}"] * 18)
        self.assertEqual(found[0], ":chatd 905 * :SASL message too long")

    def test_verify(self) -> None:
        """Nothing is left to verify."""
        client = Irc(self.server)
        found = client.say("CAP REQ standard-replies", "VERIFY alice 123")
        self.assertEqual(found[-1], ":chatd FAIL VERIFY INVALID_CODE alice :Accounts need no code here.")

    def test_password(self) -> None:
        """PASS account:password does it without capabilities; the nick is the account's name."""
        client = Irc(self.server)
        found = client.say(f"PASS alice:{PASSWORD}", "NICK al", "USER a 0 * :a")
        self.assertEqual(found[0], ":chatd 001 alice :Welcome to chatd, alice")

    def test_wrong_password(self) -> None:
        """464, ERROR and the end; with SASL 904, and another try."""
        client = Irc(self.server)
        found = client.say("PASS alice:nonsense", "NICK alice", "USER a 0 * :a")
        self.assertEqual(found[0], ":chatd 464 alice :Wrong name or password. 2 tries left.")
        self.assertTrue(found[1].startswith("ERROR :"))
        self.assertTrue(client.client.closed)
        client = Irc(self.server)
        client.sasl("alice", "nonsense")
        self.assertEqual(client.lines()[-1], ":chatd 904 * :Wrong name or password. 1 try left.")
        self.assertEqual(client.say("AUTHENTICATE EXTERNAL")[0], ":chatd 908 * PLAIN :are available SASL mechanisms")
        client.say("AUTHENTICATE PLAIN")
        self.assertEqual(client.say("AUTHENTICATE *"), [":chatd 906 * :SASL authentication aborted"])
        client.say("AUTHENTICATE PLAIN")
        self.assertEqual(client.say("AUTHENTICATE !!!")[-1], ":chatd 904 * :SASL authentication failed")

    def test_no_account(self) -> None:
        """Who brings none is told how, and may REGISTER and so come in."""
        client = Irc(self.server)
        found = client.say("NICK dave", "USER d 0 * :d")
        self.assertEqual(found[0].split()[1], "464")
        self.assertFalse(client.client.closed)
        self.assertIn("WEAK", "".join(client.say("CAP REQ standard-replies", "REGISTER * * short", "CAP END")))
        found = client.say(f"REGISTER * * {PASSWORD}")
        self.assertEqual(found[0], ":chatd REGISTER SUCCESS dave :Account dave is registered")
        self.assertIn(":chatd 001 dave :Welcome to chatd, dave", found)

    def test_register_a_taken_name(self) -> None:
        """A name is somebody's for ever."""
        client = Irc(self.server)
        client.say("CAP REQ standard-replies", "NICK alice")
        self.assertIn("FAIL REGISTER ACCOUNT_EXISTS alice :", client.say(f"REGISTER * * {PASSWORD}")[0])

    def test_several_connections(self) -> None:
        """Two connections of one account are one nick: both see everything, also each other's words."""
        one, other = self.client("alice"), self.client("alice")
        one.say("JOIN #x")
        self.assertEqual(other.lines()[0], ":alice!alice@chatd JOIN #x")
        self.assertEqual(one.say("PRIVMSG #x :hi"), [])
        self.assertEqual(other.lines(), [":alice!alice@chatd PRIVMSG #x :hi"])
        self.assertEqual(one.say("NAMES #x")[0], ":chatd 353 alice = #x :@alice")

    def test_capabilities(self) -> None:
        """LS without values before 302; a request is accepted as a whole or not at all; LIST; what is unknown."""
        client = Irc(self.server)
        self.assertNotIn("=", client.say("CAP LS")[0])
        self.assertEqual(client.say("CAP LIST"), [":chatd CAP * LIST :"])
        self.assertEqual(client.say("CAP REQ :batch foo"), [":chatd CAP * NAK :batch foo"])
        self.assertEqual(client.say("CAP REQ :batch server-time"), [":chatd CAP * ACK :batch server-time"])
        self.assertEqual(client.say("CAP REQ :-batch"), [":chatd CAP * ACK :-batch"])
        self.assertEqual(client.say("CAP LIST"), [":chatd CAP * LIST :server-time"])
        self.assertEqual(client.say("CAP WHAT"), [":chatd 410 * WHAT :Invalid CAP command"])

    def test_capabilities_come_and_go(self) -> None:
        """When the configuration is read again, who has cap-notify is told what there is now, and has it no more."""
        client = Irc(self.server)
        client.caps("draft/account-registration", "batch")
        old = Irc(self.server)
        old.send("CAP REQ batch")
        client.lines(), old.lines()
        settings = self.server.instance.settings
        self.server.factory.reload(replace(settings, registration="closed", sts=(6697, 60)))
        self.assertEqual(client.lines(), [
            ":chatd CAP * NEW :sts=port=6697", ":chatd CAP * DEL :draft/account-registration"
        ])  # fmt: skip
        self.assertEqual(client.say("CAP LIST"), [":chatd CAP * LIST :batch cap-notify"])
        self.server.factory.reload(settings)
        self.assertEqual(client.lines()[0].split("=")[0], ":chatd CAP * NEW :draft/account-registration")
        self.assertEqual(old.lines(), [])

    def test_sts(self) -> None:
        """Where the operator says so, who comes in clear text is sent to TLS, and who has it is to remember it."""
        server = serve(Path(self.mktemp()), sts=(6697, 60))
        self.addCleanup(server.stop)
        client = Irc(server)
        self.assertIn(" sts=port=6697", client.say("CAP LS 302")[-1])
        self.assertNotIn("sts", client.say("CAP LS")[-1])
        self.assertEqual(client.say("CAP REQ sts"), [":chatd CAP * NAK :sts"])
        secure = Irc(server, secure=True)
        self.assertIn(" sts=duration=60", secure.say("CAP LS 302")[-1])

    def test_forms(self) -> None:
        """What is wrong with a line before anybody is in."""
        client = Irc(self.server)
        self.assertEqual(client.say("USER"), [":chatd 461 * USER :Not enough parameters"])
        self.assertEqual(client.say("NICK"), [":chatd 431 * :No nickname given"])
        self.assertEqual(client.say("NICK #x"), [":chatd 432 * #x :Erroneous nickname"])
        self.assertEqual(client.say("PASS"), [":chatd 461 * PASS :Not enough parameters"])
        self.assertEqual(client.say("PRIVMSG x :y"), [":chatd 451 * :You have not registered"])
        self.assertEqual(client.say("PING"), [":chatd 409 * :No origin specified"])
        self.assertEqual(client.say("PING :a b"), [":chatd PONG chatd :a b"])
        self.assertEqual(client.say("QUIT :ciao"), ["ERROR :Closing link: (ciao)"])

    def test_once(self) -> None:
        """Nobody registers twice, and an account has the name it has."""
        client = self.client("alice")
        for line in ("USER a 0 * :a", "PASS x"):
            self.assertEqual(client.say(line), [":chatd 462 alice :You may not reregister"])
        self.assertEqual(client.say("NICK other")[0].split()[1], "447")
        self.assertEqual(client.say("NICK Alice"), [])
        self.assertEqual(client.say("AUTHENTICATE PLAIN")[0].split()[1], "907")

    def test_drained(self) -> None:
        """A server that stops says so by ERROR."""
        client = self.client("alice")
        self.server.factory.drain()
        self.server.advance(0)
        self.assertEqual(client.lines(), ["ERROR :This server is closing; reconnect."])

    def test_too_slow(self) -> None:
        """Who does not come in in time, or says nothing for very long, is told why by ERROR."""
        client, other = Irc(self.server), self.client("alice")
        client.say("NICK dora")
        limits = self.server.instance.settings.limits
        self.server.advance(limits.login_seconds + 1)
        self.assertEqual([line[:7] for line in client.lines()], ["ERROR :"])
        self.assertTrue(client.client.closed)
        self.assertEqual(other.lines(), [])
        self.server.advance(limits.idle_seconds)
        self.assertEqual([line[:7] for line in other.lines()], ["ERROR :"])

    def test_logged_out_elsewhere(self) -> None:
        """Whose password is changed, or whose account is deleted, elsewhere, is told so by ERROR."""
        client, plain = self.client("alice"), self.server.back("alice")
        plain.type(f"/password {PASSWORD} Battery8staple")
        self.assertEqual(client.lines(), ["ERROR :Logged out."])
        self.assertTrue(client.client.closed)

    def test_first_line(self) -> None:
        """CAP, NICK, PASS, USER and QUIT choose IRC, in any case; other words do not."""
        for line in ("CAP LS", "nick x", "PASS x", "USER", "QUIT"):
            client = Irc(self.server)
            client.send(line)
            self.assertEqual(client.client.protocol.session.shape, "irc", line)
        for line in ("JOIN #x", "CAPTAIN", "hello", "QUITE so"):
            client = Irc(self.server)
            client.send(line)
            self.assertEqual(client.client.protocol.session.shape, "plain", line)
