"""Saying things, and asking who is who."""

from __future__ import annotations

from pathlib import Path

from tests.irc.talk import Irc, IrcTestCase, serve
from tests.memory import ABROAD
from tests.sealing import body, envelopes, equip, found


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
        self.assertEqual(alice.say("NOTICE nobody :x", "NOTICE #none :x", "NOTICE chatd :help"), [])
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
        self.assertEqual(alice.say("HELP kick"), [":chatd 524 alice kick :No help on this here; /msg chatd help kick"])
        self.assertIn("Usage", "".join(alice.say("PRIVMSG chatd :kick #ops bob x", "PRIVMSG chatd :history nonsense")))
        self.assertIn("/kick <user> [reason...]", "".join(alice.say("PRIVMSG chatd :help kick")))

    def test_motd(self) -> None:
        """The message of the day, line by line, at the end of the greeting and when it is asked for."""
        server = serve(Path(self.mktemp()), motd=("Be kind.", "Back at 14:00."))
        self.addCleanup(server.stop)
        server.person("alice").lose()
        alice = Irc(server)
        expected = [
            ":chatd 375 alice :- chatd Message of the day - ",
            ":chatd 372 alice :- Be kind.",
            ":chatd 372 alice :- Back at 14:00.",
            ":chatd 376 alice :End of /MOTD command.",
        ]
        self.assertEqual(alice.enter("alice")[-4:], expected)
        self.assertEqual(alice.say("MOTD"), expected)

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
        chat = self.server.resume("alice")
        dora, keys = equip(json), equip(chat)
        room, chain = found(json, dora, "#safe", [keys])
        alice = self.client("alice", "standard-replies")
        self.assertTrue(alice.say("PRIVMSG #safe :x")[0].startswith(":chatd FAIL PRIVMSG E2E_ONLY #safe :#safe is end"))
        self.assertIn("E2E_ONLY", alice.say("NOTICE #safe :x")[0])
        json.call(do="say", room=room, sealed=body(chain.head), envelopes=envelopes(keys.devices[0]))["ok"]
        self.assertEqual(alice.lines(), [":chatd NOTICE #safe :dora: (end-to-end encrypted: use chat)"])
        owner, bob = self.client("dora", "standard-replies"), self.client("bob", "standard-replies")
        for client, line in (
            (owner, "KICK #safe alice"),
            (owner, "INVITE bob #safe"),
            (owner, "TOPIC #safe :x"),
            (owner, "MODE #safe +i"),
            (owner, "MODE #safe +b alice"),
            (owner, "MODE #safe +o alice"),
            (alice, "PART #safe"),
            (bob, "JOIN #safe"),
        ):
            found_ = client.say(line)
            self.assertEqual(found_[0].split(" :")[0], f":chatd FAIL {line.split()[0]} E2E_ONLY #safe", line)
        self.assertEqual(alice.say("NAMES #safe")[0], ":chatd 353 alice = #safe :@dora alice")

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

    def test_ctcp(self) -> None:
        """The service answers what clients ask by themselves, and takes none of it for a command."""
        alice = self.client("alice")
        self.assertEqual(
            alice.say("PRIVMSG chatd :\x01PING 12\x01"), [":chatd!chatd@chatd NOTICE alice :\x01PING 12\x01"]
        )
        self.assertEqual(
            alice.say("PRIVMSG chatd :\x01VERSION\x01"), [":chatd!chatd@chatd NOTICE alice :\x01VERSION chatd\x01"]
        )
        self.assertEqual(alice.say("PRIVMSG chatd :\x01FINGER\x01", "PRIVMSG chatd :\x01ACTION help\x01"), [])

    def test_to_oneself(self) -> None:
        """Words to oneself are heard, and not kept."""
        alice = self.client("alice")
        self.assertEqual(alice.say("PRIVMSG alice :note"), [":alice!alice@chatd PRIVMSG alice :note"])
