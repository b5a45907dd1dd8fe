"""Every verb and numeric, in memory: what a client says, and all that it and others are told."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from chatd.model import Door
from tests.irc.talk import Irc, serve
from tests.memory import ABROAD, PASSWORD, Server


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


class GroupTests(IrcTestCase):
    """Groups are channels."""

    def test_join(self) -> None:
        """A new one is made; the topic and who is there follow; who is in already is shown it again."""
        alice = self.client("alice")
        expected = [
            ":alice!alice@chatd JOIN #ops",
            ":chatd 353 alice = #ops :@alice",
            ":chatd 366 alice #ops :End of /NAMES list",
        ]
        self.assertEqual(alice.say("JOIN #Ops"), expected)
        self.assertEqual(alice.say("TOPIC #ops :all about it"), [":alice!alice@chatd TOPIC #ops :all about it"])
        expected.insert(1, ":chatd 332 alice #ops :all about it")
        self.assertEqual(alice.say("JOIN #ops"), expected)
        self.assertEqual(alice.say("JOIN nothing"), [":chatd 403 alice nothing :No such channel"])
        self.assertEqual(alice.say("JOIN #ä"), [":chatd 403 alice #ä :No such channel"])
        self.assertEqual(alice.say("JOIN"), [":chatd 461 alice JOIN :Not enough parameters"])

    def test_several_at_once(self) -> None:
        """JOIN and PART take lists, in order; a PING behind them is answered behind all of it."""
        alice = self.client("alice")
        found = alice.say("JOIN #a,#b", "PING x")
        self.assertEqual([line.split()[1] for line in found], ["JOIN", "353", "366", "JOIN", "353", "366", "PONG"])
        found = alice.say("PART #a,#b :bye", "PING y")
        self.assertEqual(found[:2], [":alice!alice@chatd PART #a :bye", ":alice!alice@chatd PART #b :bye"])

    def test_asking(self) -> None:
        """Who asks is told so, and is joined by the approval, whichever way the admin talks."""
        alice, bob = self.client("alice"), self.client("bob")
        alice.say("JOIN #ops")
        self.assertEqual(
            bob.say("JOIN #ops"), [":chatd!chatd@chatd NOTICE bob :Asked the admins of #ops (alice). You will be told."]
        )
        self.assertEqual(
            alice.lines(),
            [
                ":chatd!chatd@chatd NOTICE alice :bob asks to join #ops: /msg chatd approve #ops bob"
                "  /msg chatd deny #ops bob"
            ],
        )
        self.assertEqual(alice.say("APPROVE #ops bob"), [":bob!bob@chatd JOIN #ops"])
        self.assertEqual(
            bob.lines(),
            [
                ":bob!bob@chatd JOIN #ops",
                ":chatd 353 bob = #ops :@alice bob",
                ":chatd 366 bob #ops :End of /NAMES list",
            ],
        )
        carol = self.client("carol", "standard-replies")
        self.assertTrue(carol.say("JOIN #ops")[0].startswith(":chatd NOTE JOIN PENDING #ops :Asked the admins"))
        self.assertTrue(carol.say("JOIN #ops")[0].startswith(":chatd FAIL JOIN PENDING #ops :Already asked at"))
        alice.say("PRIVMSG chatd :deny #ops carol not now")
        self.assertEqual(
            carol.lines(), [":chatd!chatd@chatd NOTICE carol :alice denied your request to join #ops: not now"]
        )

    def test_doors(self) -> None:
        """MODE says and sets who may enter; nobody gets past a closed door."""
        alice, bob = self.client("alice"), self.client("bob")
        alice.say("JOIN #ops")
        self.assertEqual(alice.say("MODE #ops"), [":chatd 324 alice #ops +ntA"])
        self.assertEqual(alice.say("MODE #ops +i"), [":alice!alice@chatd MODE #ops +i-A"])
        self.assertEqual(alice.say("MODE #ops"), [":chatd 324 alice #ops +nti"])
        self.assertEqual(bob.say("JOIN #ops")[0], ":chatd 473 bob #ops :#ops is entered by invitation only.")
        self.assertEqual(alice.say("MODE #ops -i"), [":alice!alice@chatd MODE #ops -Ai"])
        self.assertEqual(bob.say("JOIN #ops")[0], ":bob!bob@chatd JOIN #ops")
        self.assertEqual(bob.say("MODE #ops +i")[0].split(" :")[0], ":chatd 482 bob #ops")
        self.assertEqual(alice.say("MODE #ops +m")[-1], ":chatd 472 alice m :is unknown mode char to me for #ops")
        self.assertEqual(bob.say("PRIVMSG chatd :door #ops"), [
            ":chatd!chatd@chatd NOTICE bob :Door of #ops: open (anybody may join)."
        ])  # fmt: skip

    def test_part(self) -> None:
        """PART leaves; the owner gives the group away first; who is not in it has nothing to leave."""
        alice, bob = self.both()
        self.assertEqual(alice.say("PART #ops")[0].split(" :")[0], ":chatd NOTICE alice")
        self.assertEqual(bob.say("PART #ops :so long"), [":bob!bob@chatd PART #ops :so long"])
        self.assertEqual(alice.lines(), [":bob!bob@chatd PART #ops :so long"])
        self.assertEqual(bob.say("PART #ops")[0].split(" :")[0], ":chatd 442 bob #ops")
        self.assertEqual(bob.say("PART #none")[0].split(" :")[0], ":chatd 403 bob #none")
        self.assertEqual(alice.say("PART #ops"), [":alice!alice@chatd PART #ops"])

    def test_kick(self) -> None:
        """KICK puts out; without a reason the reason is who did it."""
        alice, bob = self.both()
        self.assertEqual(bob.say("KICK #ops alice")[0].split(" :")[0], ":chatd 482 bob #ops")
        self.assertEqual(alice.say("KICK #ops carol")[0], ":chatd 441 alice carol #ops :carol is not in #ops.")
        self.assertEqual(alice.say("KICK #ops nobody")[0], ":chatd 401 alice nobody :No such nick/channel")
        self.assertEqual(alice.say("KICK #ops"), [":chatd 461 alice KICK :Not enough parameters"])
        self.assertEqual(alice.say("KICK #ops bob :too loud"), [":alice!alice@chatd KICK #ops bob :too loud"])
        self.assertEqual(bob.lines(), [":alice!alice@chatd KICK #ops bob :too loud"])
        self.assertEqual(bob.say("PRIVMSG #ops :hey")[0].split(" :")[0], ":chatd 404 bob #ops")

    def test_invite(self) -> None:
        """INVITE is /add: the other one is in at once, and sees by whom; with invite-notify so do the members."""
        alice, bob = self.both("invite-notify")
        carol = self.client("carol")
        self.assertEqual(
            alice.say("INVITE carol #ops"),
            [
                ":chatd 341 alice carol #ops",
                ":alice!alice@chatd INVITE carol #ops",
                ":carol!carol@chatd JOIN #ops",
            ],
        )
        self.assertEqual(carol.lines()[:2], [":alice!alice@chatd INVITE carol #ops", ":carol!carol@chatd JOIN #ops"])
        self.assertEqual(bob.lines(), [":alice!alice@chatd INVITE carol #ops", ":carol!carol@chatd JOIN #ops"])
        self.assertEqual(alice.say("INVITE carol #ops")[0], ":chatd 443 alice carol #ops :carol is already in #ops.")

    def test_modes_of_people(self) -> None:
        """+o is owner and admin; +b bans accounts; what is so already is no error."""
        alice, bob = self.both()
        self.assertEqual(alice.say("MODE #ops +o bob"), [":alice!alice@chatd MODE #ops +o bob"])
        self.assertEqual(alice.say("MODE #ops +o bob"), [])
        self.assertEqual(bob.lines(), [":alice!alice@chatd MODE #ops +o bob"])
        self.assertEqual(bob.say("NAMES #ops")[0], ":chatd 353 bob = #ops :@alice @bob")
        self.assertEqual(alice.say("MODE #ops -o+b bob carol!*@*"), [
            ":alice!alice@chatd MODE #ops -o bob",
            ":alice!alice@chatd MODE #ops +b carol!*@*",
        ])  # fmt: skip
        self.assertEqual(
            alice.say("MODE #ops b"),
            [":chatd 367 alice #ops carol!*@* alice", ":chatd 368 alice #ops :End of channel ban list"],
        )
        carol = self.client("carol")
        self.assertEqual(carol.say("JOIN #ops")[0].split(" :")[0], ":chatd 474 carol #ops")
        self.assertEqual(alice.say("MODE #ops -b carol"), [":alice!alice@chatd MODE #ops -b carol!*@*"])
        self.assertEqual(alice.say("MODE #ops +b *!*@evil.example")[0].split(" :")[0],
                         ":chatd 696 alice #ops b *!*@evil.example")  # fmt: skip
        self.assertEqual(
            alice.say("MODE #ops +b bob"),
            [":alice!alice@chatd MODE #ops +b bob!*@*", ":alice!alice@chatd KICK #ops bob :alice"],
        )
        self.assertEqual(alice.say("MODE alice"), [":chatd 221 alice +"])
        self.assertEqual(alice.say("MODE alice +x"), [":chatd 501 alice :Unknown MODE flag"])
        self.assertEqual(alice.say("MODE bob +i"), [":chatd 502 alice :Cant change mode for other users"])

    def test_transfer_and_rename(self) -> None:
        """What IRC has no verb for is told in IRC's verbs."""
        alice, bob = self.both()
        alice.say("PRIVMSG chatd :rename #ops #dev")
        self.assertEqual(
            bob.lines(),
            [
                ":bob!bob@chatd PART #ops :alice renamed #ops to #dev.",
                ":bob!bob@chatd JOIN #dev",
                ":chatd 353 bob = #dev :@alice bob",
                ":chatd 366 bob #dev :End of /NAMES list",
            ],
        )

    def test_topic(self) -> None:
        """TOPIC reads, sets and clears."""
        alice, bob = self.both()
        self.assertEqual(bob.say("TOPIC #ops"), [":chatd 331 bob #ops :No topic is set"])
        self.assertEqual(bob.say("TOPIC #ops :x")[0].split(" :")[0], ":chatd 482 bob #ops")
        alice.say("TOPIC #ops :new words")
        self.assertEqual(bob.lines(), [":alice!alice@chatd TOPIC #ops :new words"])
        self.assertEqual(bob.say("TOPIC #ops"), [":chatd 332 bob #ops :new words"])
        self.assertEqual(alice.say("TOPIC #ops :"), [":alice!alice@chatd TOPIC #ops :"])
        self.assertEqual(bob.lines(), [":alice!alice@chatd TOPIC #ops :"])
        self.assertEqual(bob.say("TOPIC #none")[0].split(" :")[0], ":chatd 403 bob #none")

    def test_lists(self) -> None:
        """LIST, NAMES, WHO and WHOX; those who are offline are shown away."""
        alice, _bob = self.both("userhost-in-names")
        alice.say("INVITE carol #ops")
        self.assertEqual(
            alice.say("NAMES #ops")[0],
            ":chatd 353 alice = #ops :@alice!alice@chatd bob!bob@chatd carol!carol@chatd",
        )
        self.assertEqual(
            alice.say("WHO #ops"),
            [
                ":chatd 352 alice #ops alice chatd chatd alice H@ :0 alice",
                ":chatd 352 alice #ops bob chatd chatd bob H :0 bob",
                ":chatd 352 alice #ops carol chatd chatd carol G :0 carol",
                ":chatd 315 alice #ops :End of WHO list",
            ],
        )
        self.assertEqual(
            alice.say("WHO bob %tcnfa,42"),
            [":chatd 354 alice 42 * bob H bob", ":chatd 315 alice bob :End of WHO list"],
        )
        self.assertEqual(
            alice.say("LIST"),
            [
                ":chatd 321 alice Channel :Users  Name",
                ":chatd 322 alice #ops 3 :",
                ":chatd 323 alice :End of /LIST",
            ],
        )
        self.assertEqual(alice.say("NAMES #none"), [":chatd 366 alice #none :End of /NAMES list"])
        self.assertEqual(alice.say("WHO nobody"), [":chatd 315 alice nobody :End of WHO list"])


class TalkTests(IrcTestCase):
    """Saying things."""

    def test_groups_and_people(self) -> None:
        """PRIVMSG and NOTICE, to the other dialects as well; ACTION is something done."""
        alice, bob = self.both()
        plain = self.server.back("bob")
        plain.lines()
        alice.say(
            "PRIVMSG #ops :hi all", "NOTICE #ops :note", "PRIVMSG #ops :\x01ACTION waves\x01", "PRIVMSG bob :psst"
        )
        self.assertEqual(
            bob.lines(),
            [
                ":alice!alice@chatd PRIVMSG #ops :hi all",
                ":alice!alice@chatd NOTICE #ops :note",
                ":alice!alice@chatd PRIVMSG #ops :\x01ACTION waves\x01",
                ":alice!alice@chatd PRIVMSG bob :psst",
            ],
        )
        self.assertEqual([line[6:] for line in plain.lines()], [
            "<alice> hi all", "<alice> note", "* alice waves", "[alice] psst"
        ])  # fmt: skip
        plain.type("/join #ops")
        plain.type("from telnet")
        self.assertEqual(bob.lines(), [":bob!bob@chatd PRIVMSG #ops :from telnet"])

    def test_refused(self) -> None:
        """What cannot be said; a NOTICE is never answered."""
        alice, _bob = self.both()
        self.assertEqual(alice.say("PRIVMSG"), [":chatd 411 alice :No recipient given (PRIVMSG)"])
        self.assertEqual(alice.say("PRIVMSG #ops"), [":chatd 412 alice :No text to send"])
        self.assertEqual(alice.say("PRIVMSG nobody :x"), [":chatd 401 alice nobody :No such nick/channel"])
        self.assertEqual(alice.say("PRIVMSG #none :x"), [":chatd 403 alice #none :No such channel"])
        self.assertEqual(alice.say("NOTICE nobody :x", "NOTICE #none :x"), [])
        self.assertEqual(alice.say("PRIVMSG a,b,c,d,e :x")[0].split()[1], "407")
        self.assertEqual(alice.say("BLAH"), [":chatd 421 alice BLAH :Unknown command"])
        self.assertEqual(alice.say("LOGIN x y"), [":chatd 421 alice LOGIN :Unknown command"])

    def test_away(self) -> None:
        """Who is away says so to whoever writes."""
        alice, bob = self.both()
        self.assertEqual(bob.say("AWAY :lunch"), [":chatd 306 bob :You have been marked as being away"])
        self.assertEqual(alice.say("PRIVMSG bob :there?"), [":chatd 301 alice bob :lunch"])
        self.assertIn(":chatd 301 alice bob :lunch", alice.say("WHOIS bob"))
        self.assertEqual(bob.say("AWAY")[-1], ":chatd 305 bob :You are no longer marked as being away")

    def test_whois(self) -> None:
        """WHOIS, ISON, USERHOST, WHOWAS."""
        alice, _bob = self.both()
        self.assertEqual(
            alice.say("WHOIS bob"),
            [
                ":chatd 311 alice bob bob chatd * :bob",
                ":chatd 319 alice bob :#ops",
                ":chatd 312 alice bob chatd :chatd",
                ":chatd 330 alice bob bob :is logged in as",
                ":chatd 318 alice bob :End of /WHOIS list",
            ],
        )
        self.assertEqual([line.split()[1] for line in alice.say("WHOIS nobody")], ["401", "318"])
        self.assertEqual(alice.say("ISON alice carol nobody bob"), [":chatd 303 alice :alice bob"])
        self.assertEqual(alice.say("USERHOST bob nobody"), [":chatd 302 alice :bob=+bob@chatd"])
        self.assertEqual([line.split()[1] for line in alice.say("WHOWAS x")], ["406", "369"])

    def test_the_server(self) -> None:
        """MOTD, LUSERS, VERSION, TIME, INFO, HELP."""
        alice = self.client("alice")
        alice.say("JOIN #ops")
        self.assertEqual(alice.say("MOTD"), [":chatd 422 alice :MOTD File is missing"])
        self.assertEqual(alice.say("MOTD elsewhere"), [":chatd 402 alice elsewhere :No such server"])
        self.assertEqual(alice.say("LUSERS")[0], ":chatd 251 alice :There are 1 users and 0 invisible on 1 servers")
        for verb, numbers in (("VERSION", ["351", "005", "005", "005"]), ("TIME", ["391"]), ("INFO", ["371", "374"])):
            self.assertEqual([line.split()[1] for line in alice.say(verb)], numbers)
        self.assertEqual([line.split()[1] for line in alice.say("HELP")], ["704", "705", "706"])
        self.assertIn("Usage", "".join(alice.say("PRIVMSG chatd :kick #ops bob x", "PRIVMSG chatd :history nonsense")))
        self.assertIn("/kick <user> [reason...]", "".join(alice.say("PRIVMSG chatd :help kick")))

    def test_long_texts(self) -> None:
        """What is longer than a line comes in several, cut between words and never inside a character."""
        alice, bob = self.both()
        json = self.server.resume("alice")
        text = "ö" * 300 + " " + "word " * 100
        json.call(do="say", room="#ops", text=text.strip() + "\nsecond")
        lines = bob.lines()
        self.assertTrue(all(len(line.encode()) <= 510 for line in lines))
        self.assertEqual("".join(line.split(" :", 1)[1] for line in lines[:-1]).replace(" ", ""), text.replace(" ", ""))
        self.assertEqual(lines[-1], ":alice!alice@chatd PRIVMSG #ops :second")
        self.assertEqual(alice.lines(), lines)

    def test_nothing_from_data_ends_a_line(self) -> None:
        """No CR, LF, NUL or ESC of a text begins a second line; IRC's own marks stay."""
        _alice, bob = self.both()
        json = self.server.resume("alice")
        json.call(do="say", room="#ops", text="a\rQUIT\x00\x1b[31m\x02b")
        json.call(do="topic", room="#ops", text="x\r\nQUIT :y")
        found = bob.lines()
        self.assertEqual(
            found[:2], [":alice!alice@chatd PRIVMSG #ops :a", ":alice!alice@chatd PRIVMSG #ops :QUIT��[31m\x02b"]
        )
        self.assertEqual(found[2], ":alice!alice@chatd TOPIC #ops :x��QUIT :y")

    def test_sealed(self) -> None:
        """Nothing is said to an encrypted group from here, and what is said there cannot be read here."""
        json = self.server.program("dora")
        json.call(do="create", room="#safe", sealed=True, people=["alice"])
        alice = self.client("alice", "standard-replies")
        self.assertTrue(alice.say("PRIVMSG #safe :x")[0].startswith(":chatd FAIL PRIVMSG E2E_ONLY #safe :#safe is end"))
        self.assertIn("E2E_ONLY", alice.say("NOTICE #safe :x")[0])
        json.call(do="say", room="#safe", sealed="aGVsbG8=")
        self.assertEqual(alice.lines(), [":chatd NOTICE #safe :dora: (end-to-end encrypted: use chat)"])

    def test_limits(self) -> None:
        """A line of 512 bytes, tags of 4,096; longer is 417, and never half a command."""
        alice, bob = self.both("message-tags")
        text = "x" * (510 - len("PRIVMSG #ops :"))
        self.assertEqual(alice.say(f"PRIVMSG #ops :{text}"), [])
        self.assertEqual(alice.say(f"PRIVMSG #ops :{text}y"), [":chatd 417 alice :Input line was too long"])
        tags = "@+a=" + "x" * 4090
        self.assertEqual(alice.say(f"{tags} PRIVMSG #ops :tagged"), [])
        self.assertEqual(alice.say(f"{tags}yy PRIVMSG #ops :no"), [":chatd 417 alice :Input line was too long"])
        self.assertEqual(alice.say("x" * 9000), [":chatd 417 alice :More than 4,608 of 4,000 characters. Skipped."])
        self.assertEqual("".join(bob.lines()).count("PRIVMSG"), 3)

    def test_utf8_only(self) -> None:
        """What is not UTF-8 is refused, not guessed."""
        alice, bob = self.both("standard-replies")
        alice.client.send(b"PRIVMSG #ops :caf\xe9\r\n")
        self.assertEqual(alice.lines(), [":chatd FAIL PRIVMSG INVALID_UTF8 :That is not UTF-8."])
        self.assertEqual(bob.lines(), [])

    def test_rate(self) -> None:
        """Too fast is refused with our code."""
        client = Irc(self.server, ABROAD)
        client.enter("alice", "standard-replies")
        found = client.say(*["PING x"] * 80)
        self.assertIn(":chatd FAIL PING RATE x :Slow down: 1 s.", found)

    def test_to_oneself(self) -> None:
        """Words to oneself are heard, and not kept."""
        alice = self.client("alice")
        self.assertEqual(alice.say("PRIVMSG alice :note"), [":alice!alice@chatd PRIVMSG alice :note"])


class MissedTests(IrcTestCase):
    """What was said while nobody listened."""

    def test_replayed(self) -> None:
        """Behind the JOINs of the greeting, at its time: by a tag where that is negotiated, else before the text."""
        alice, bob = self.both()
        bob.say("QUIT")
        alice.say("PRIVMSG #ops :one", "PRIVMSG bob :two", "PRIVMSG #ops :\x01ACTION three\x01")
        for caps, expected in (
            (
                (),
                [
                    r"PRIVMSG #ops :\[..:..\] one",
                    r"PRIVMSG bob :\[..:..\] two",
                    "PRIVMSG #ops :\x01ACTION .* three\x01",
                ],
            ),
            (("server-time",), ["PRIVMSG #ops :one", "PRIVMSG bob :two", "PRIVMSG #ops :\x01ACTION three\x01"]),
        ):
            back = Irc(self.server)
            found = back.enter("bob", *caps)
            joined = found.index(":bob!bob@chatd JOIN #ops")
            said = [line for line in found[joined:] if "PRIVMSG" in line]
            self.assertEqual(len(said), 3)
            for line, pattern in zip(said, expected, strict=True):
                self.assertRegex(line, pattern)
                self.assertEqual(line.startswith("@time=2023"), bool(caps))
            back.client.cut()
            self.server.sql("UPDATE account SET seen = 0 WHERE name = 'bob'") if not caps else None

    def test_only_once(self) -> None:
        """What was shown is not shown again."""
        alice, bob = self.both()
        alice.say("PRIVMSG #ops :one")
        bob.lines()
        bob.say("QUIT")
        self.assertNotIn("one", "".join(Irc(self.server).enter("bob")))

    def test_a_long_absence(self) -> None:
        """More than a screenful or two become a count."""
        alice, bob = self.both()
        bob.say("QUIT")
        for _ in range(3):
            alice.say(*["PRIVMSG #ops :x"] * 70)
        found = Irc(self.server).enter("bob")
        self.assertIn("210 messages while you were away (#ops 210)", found[-3] + "".join(found))
        self.assertNotIn(" PRIVMSG #", "".join(found))

    def test_removed_meanwhile(self) -> None:
        """Who was put out while away is told so, and is not in the group."""
        alice, bob = self.both()
        bob.say("QUIT")
        alice.say("KICK #ops bob :gone too long")
        found = Irc(self.server).enter("bob", "server-time")
        self.assertTrue(found[-1].endswith("You were removed from #ops by alice: gone too long"))
        self.assertNotIn("JOIN #ops", "".join(found))


class ExtensionTests(IrcTestCase):
    """IRCv3."""

    def test_tags(self) -> None:
        """Time, msgid and account stand on a message for those who asked for them, and for nobody else."""
        alice, bob = self.both("server-time", "message-tags", "account-tag")
        carol = self.client("carol")
        carol.say("JOIN #ops")
        bob.lines()
        alice.say("PRIVMSG #ops :hi")
        (line,) = bob.lines()
        self.assertRegex(
            line, r"^@time=2023-11-14T22:13:\d\d\.\d{3}Z;account=alice;msgid=\d+ :alice!alice@chatd PRIVMSG"
        )
        self.assertEqual(carol.lines(), [":alice!alice@chatd PRIVMSG #ops :hi"])

    def test_echo(self) -> None:
        """With echo-message one's own words come back, in their place among the others'."""
        alice, bob = self.both("echo-message")
        self.assertEqual(alice.say("PRIVMSG #ops :hi"), [":alice!alice@chatd PRIVMSG #ops :hi"])
        alice.say("CAP REQ :-echo-message")
        self.assertEqual(alice.say("PRIVMSG #ops :hi"), [])
        self.assertEqual(len(bob.lines()), 2)

    def test_labels(self) -> None:
        """One line is labeled, several are a batch, none is ACK; an event that answers is labeled, too."""
        alice, bob = self.both("batch", "labeled-response")
        self.assertEqual(alice.say("@label=1 PING x"), ["@label=1 :chatd PONG chatd :x"])
        self.assertEqual(alice.say("@label=2 PRIVMSG #ops :hi"), ["@label=2 :chatd ACK"])
        self.assertEqual(alice.say("@label=3 TOPIC #ops :t"), ["@label=3 :alice!alice@chatd TOPIC #ops :t"])
        self.assertEqual(
            alice.say("@label=4 PRIVMSG nobody :x"), ["@label=4 :chatd 401 alice nobody :No such nick/channel"]
        )
        found = alice.say("@label=5 JOIN #new")
        self.assertEqual(found[0], "@label=5 :chatd BATCH +b1 labeled-response")
        self.assertEqual(found[-1], ":chatd BATCH -b1")
        self.assertTrue(all(line.startswith("@batch=b1 ") for line in found[1:-1]))
        self.assertEqual([line.split()[2] for line in found[1:-1]], ["JOIN", "353", "366"])
        self.assertEqual(alice.say("@label=6 KICK #ops bob"), ["@label=6 :alice!alice@chatd KICK #ops bob :alice"])
        self.assertNotIn("label", "".join(bob.lines()))
        self.assertEqual(alice.say("@label=7 BLAH"), ["@label=7 :chatd 421 alice BLAH :Unknown command"])

    def test_labels_and_echo(self) -> None:
        """The echo carries the label; to several targets all echoes are one batch."""
        alice, bob = self.both("batch", "labeled-response", "echo-message")
        self.assertEqual(alice.say("@label=1 PRIVMSG #ops :hi"), ["@label=1 :alice!alice@chatd PRIVMSG #ops :hi"])
        found = alice.say("@label=2 PRIVMSG bob,carol,#ops :hi")
        self.assertEqual(len(found), 5)
        self.assertEqual(found[0], "@label=2 :chatd BATCH +b1 labeled-response")
        self.assertEqual(len(bob.lines()), 3)
        self.assertFalse(alice.client.protocol.session.picky)

    def test_extended_join(self) -> None:
        """The account stands in a JOIN."""
        _alice, bob = self.both("extended-join")
        self.client("carol").say("JOIN #ops")
        self.assertEqual(bob.lines(), [":carol!carol@chatd JOIN #ops carol :carol"])

    def test_history(self) -> None:
        """CHATHISTORY by msgid and time, in batches; TARGETS; what is wrong is FAIL."""
        caps = ("batch", "server-time", "message-tags", "draft/chathistory", "standard-replies")
        alice, bob = self.both(*caps)
        for number in range(6):
            self.server.advance(1)
            alice.say(f"PRIVMSG #ops :m{number}")
        lines = [line for line in bob.lines() if "PRIVMSG" in line]
        tags = [dict(tag.split("=") for tag in line[1:].split(" ")[0].split(";")) for line in lines]

        def texts(query: str) -> list[str]:
            found = bob.say(f"CHATHISTORY {query}")
            self.assertIn("chathistory #ops", found[0])
            self.assertTrue(found[-1].startswith(":chatd BATCH -"), found)
            return [line[-2:] for line in found[1:-1]]

        ids = [tag["msgid"] for tag in tags]
        times = [tag["time"] for tag in tags]
        self.assertEqual(texts("LATEST #ops * 2"), ["m4", "m5"])
        self.assertEqual(texts(f"LATEST #ops msgid={ids[3]} 10"), ["m4", "m5"])
        self.assertEqual(texts(f"BEFORE #ops msgid={ids[3]} 2"), ["m1", "m2"])
        self.assertEqual(texts(f"BEFORE #ops timestamp={times[3]} 2"), ["m1", "m2"])
        self.assertEqual(texts(f"AFTER #ops timestamp={times[3]} 10"), ["m4", "m5"])
        self.assertEqual(texts(f"AROUND #ops msgid={ids[3]} 3"), ["m2", "m3", "m4"])
        self.assertEqual(texts(f"BETWEEN #ops msgid={ids[1]} msgid={ids[4]} 10"), ["m2", "m3"])
        self.assertEqual(texts(f"BETWEEN #ops msgid={ids[4]} msgid={ids[1]} 1"), ["m3"])
        alice.say("PRIVMSG bob :direct")
        found = bob.say("CHATHISTORY LATEST alice * 5")
        self.assertTrue(found[-2].endswith(":alice!alice@chatd PRIVMSG bob :direct"))
        found = bob.say("CHATHISTORY TARGETS timestamp=2020-01-01T00:00:00.000Z timestamp=2030-01-01T00:00:00.000Z 10")
        self.assertEqual([line.split()[4] for line in found[1:-1]], ["#ops", "alice"])
        self.assertIn("FAIL CHATHISTORY INVALID_TARGET LATEST #none :", bob.say("CHATHISTORY LATEST #none * 5")[0])
        self.assertIn("FAIL CHATHISTORY INVALID_PARAMS", bob.say("CHATHISTORY LATEST #ops x 5")[0])
        self.assertIn("FAIL CHATHISTORY NEED_MORE_PARAMS", bob.say("CHATHISTORY LATEST #ops")[0])

    def test_multiline(self) -> None:
        """A text of several lines is one message: a batch for those who know it, several lines for the others."""
        alice, bob = self.both("batch", "draft/multiline", "message-tags", "labeled-response", "echo-message")
        carol, json = self.client("carol"), self.server.resume("bob")
        carol.say("JOIN #ops")
        alice.lines()
        bob.lines()
        json.events()
        found = alice.say(
            "@label=7 BATCH +1 draft/multiline #ops",
            "@batch=1 PRIVMSG #ops :one",
            "@batch=1;draft/multiline-concat PRIVMSG #ops :, and",
            "@batch=1 PRIVMSG #ops :two",
            "BATCH -1",
        )
        (event,) = json.events()
        self.assertEqual(event["text"], "one, and\ntwo")
        seq = event["seq"]
        expected = [
            f"msgid={seq} :alice!alice@chatd BATCH +m{seq} draft/multiline #ops",
            f"@batch=m{seq} :alice!alice@chatd PRIVMSG #ops :one, and",
            f"@batch=m{seq} :alice!alice@chatd PRIVMSG #ops :two",
            f":chatd BATCH -m{seq}",
        ]
        self.assertEqual(found, [f"@label=7;{expected[0]}", *expected[1:]])
        self.assertEqual(bob.lines(), [f"@{expected[0]}", *expected[1:]])
        self.assertEqual(
            carol.lines()[-2:], [":alice!alice@chatd PRIVMSG #ops :one, and", ":alice!alice@chatd PRIVMSG #ops :two"]
        )
        self.assertIn("NOTICE alice", alice.say("BATCH -1")[0])
        self.assertIn("one target", alice.say("BATCH +2 draft/multiline #ops", "@batch=2 PRIVMSG bob :x")[0])

    def test_who_asks_for_history_is_not_sent_it(self) -> None:
        """A client with chathistory fetches what it missed by itself."""
        alice, bob = self.both()
        bob.say("QUIT")
        alice.say("PRIVMSG #ops :one")
        self.assertNotIn(" PRIVMSG #", "".join(Irc(self.server).enter("bob", "draft/chathistory", "batch")))


class PingTests(IrcTestCase):
    """A PING is answered behind everything that was accepted before it."""

    def test_behind_what_others_sent(self) -> None:
        """Lines of somebody else that wait behind a JOIN are done, and shown, before the PONG."""
        alice, bob = self.both()
        self.server.writer.hold()
        alice.client.send(b"JOIN #a\r\nJOIN #b\r\nPRIVMSG bob :first\r\n")
        bob.client.send(b"PING x\r\n")
        self.server.writer.release()
        self.server.advance(0)
        for _ in range(9):
            self.server.advance(0.01)
        self.assertEqual(bob.lines(), [":alice!alice@chatd PRIVMSG bob :first", ":chatd PONG chatd :x"])

    def test_two_at_once(self) -> None:
        """Two that ping at one moment do not wait for each other."""
        alice, bob = self.both()
        self.server.writer.hold()
        alice.client.send(b"JOIN #a\r\nPING a\r\nPING b\r\n")
        bob.client.send(b"JOIN #b\r\nPING c\r\nPING d\r\n")
        self.server.writer.release()
        for _ in range(9):
            self.server.advance(0.01)
        self.assertEqual(alice.lines()[-2:], [":chatd PONG chatd :a", ":chatd PONG chatd :b"])
        self.assertEqual(bob.lines()[-2:], [":chatd PONG chatd :c", ":chatd PONG chatd :d"])


class GuestTests(IrcTestCase):
    """People without an account, where that is allowed."""

    def start(self) -> Server:
        """A server that takes guests."""
        server = serve(Path(self.mktemp()), guests=True, default_door=Door.OPEN, oper=("root", "secret"))
        self.addCleanup(server.stop)
        return server

    def guest(self, name: str, *caps: str) -> Irc:
        """Somebody who comes with NICK and USER alone."""
        client = Irc(self.server)
        if caps:
            client.send(f"CAP REQ :{' '.join(caps)}", "CAP END")
        found = client.say(f"NICK {name}", f"USER {name} 0 * :{name}")
        self.assertIn(f":chatd 001 {name} :Welcome to chatd, {name}", found)
        return client

    def test_in_and_out(self) -> None:
        """A guest makes an open group; with the connection the memberships go, and the name is free again."""
        dora, emil = self.guest("dora"), self.guest("emil", "extended-join", "account-tag")
        self.assertEqual(dora.say("JOIN #x")[1], ":chatd 353 dora = #x :@dora")
        self.assertEqual(emil.say("JOIN #x")[0], ":emil!emil@chatd JOIN #x * :emil")
        dora.say("PRIVMSG #x :hi")
        self.assertEqual(emil.lines(), [":dora!dora@chatd PRIVMSG #x :hi"])
        self.assertEqual(emil.say("NICK dora")[0].split()[1], "447")
        self.assertEqual(dora.say("QUIT :bye"), ["ERROR :Closing link: (bye)"])
        self.assertEqual(emil.lines(), [":dora!dora@chatd QUIT :bye", ":chatd MODE #x +o emil"])
        self.guest("dora")
        emil.client.cut()
        self.assertEqual(self.guest("emil").say("LIST")[1:], [":chatd 323 emil :End of /LIST"])

    def test_names(self) -> None:
        """An account's name is not a guest's, nor another guest's."""
        client = Irc(self.server)
        self.assertEqual(client.say("NICK alice", "USER a 0 * :a")[0].split()[1], "433")
        self.assertEqual(client.say("NICK chatd")[0].split()[1], "432")
        self.assertIn(" 001 fritz ", client.say("NICK fritz")[0])

    def test_oper(self) -> None:
        """OPER by name and password."""
        dora = self.guest("dora")
        self.assertEqual(dora.say("STATS")[0].split(" :")[1][:14], "Only operators")
        self.assertEqual(dora.say("OPER root wrong")[0].split()[1], "464")
        self.assertEqual(
            dora.say("OPER root secret"),
            [":chatd 381 dora :You are now an IRC operator", ":dora!dora@chatd MODE dora :+o"],
        )
        self.assertIn("online", dora.say("STATS")[0])

    def test_a_server_password(self) -> None:
        """Where the server has a password, a guest brings it; an account brings its own."""
        server = serve(Path(self.mktemp()), guests=True, door_password="sesame")
        self.addCleanup(server.stop)
        server.person("alice").lose()
        for first, number in (
            ("", "464"),
            ("PASS wrong", "464"),
            ("PASS sesame", "001"),
            (f"PASS alice:{PASSWORD}", "001"),
        ):
            client = Irc(server)
            found = client.say(*([first] if first else []), "NICK dora", "USER d 0 * :d")
            self.assertEqual(found[0].split()[1], number, first)
            self.assertEqual(client.client.closed, number == "464")


class NumericTests(SynchronousTestCase):
    """The tables."""

    def test_no_sentence_is_lost(self) -> None:
        """Every numeric in the tables is three digits."""
        from chatd.wire import ircnames

        for number, _ in [*ircnames.NUMERICS.values(), *ircnames.BY_COMMAND.values()]:
            self.assertTrue(re.fullmatch(r"\d{3}", number))
