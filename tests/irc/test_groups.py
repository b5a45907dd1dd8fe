"""Groups as channels: every verb and numeric, in memory."""

from __future__ import annotations

from pathlib import Path

from chatd.model import Door
from tests.irc.talk import Irc, IrcTestCase, serve


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

    def test_join_0(self) -> None:
        """JOIN 0 leaves every group; one that cannot be left says why; a label gathers all of it."""
        alice, bob = self.both("batch", "labeled-response")
        self.assertEqual(bob.say("JOIN 0"), [":bob!bob@chatd PART #ops"])
        bob.say("JOIN #ops", "JOIN #b")
        alice.lines()
        alice.say("JOIN #a")
        found = alice.say("@label=1 JOIN 0")
        self.assertEqual(found[0], "@label=1 :chatd BATCH +b1 labeled-response")
        said = [line.split(" ", 1)[1] for line in found[1:-1]]
        self.assertIn(":alice!alice@chatd PART #a", said)
        self.assertIn(":chatd NOTICE alice :Give #ops to somebody first: /transfer", said)

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

    def test_full(self) -> None:
        """A group that is full is 471, too many groups are 405."""
        server = serve(
            Path(self.mktemp()), limits={"group_members": 1, "groups_per_account": 2}, default_door=Door.OPEN
        )
        self.addCleanup(server.stop)
        for name in ("alice", "bob"):
            server.person(name).lose()
        alice, bob = Irc(server), Irc(server)
        alice.enter("alice"), bob.enter("bob")
        alice.say("JOIN #a,#b")
        self.assertEqual(alice.say("JOIN #c")[0].split(" :")[0], ":chatd 405 alice #c")
        self.assertEqual(bob.say("JOIN #a"), [":chatd 471 bob #a :#a is full."])

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
        for mask, names in (("*", "alice bob carol"), ("B?b", "bob"), ("c*!*@*", "carol"), ("d*", ""), ("[a-z]*", "")):
            found = alice.say(f"WHO {mask}")
            self.assertEqual(" ".join(line.split()[7] for line in found[:-1]), names, mask)
            self.assertEqual(found[-1], f":chatd 315 alice {mask} :End of WHO list")
        self.client("carol").say("JOIN #dev")
        for conditions, rooms in (
            ("#OPS", ["#ops"]),
            ("#ops,#dev", ["#dev", "#ops"]),
            ("*e*", ["#dev"]),
            ("!#d*", ["#ops"]),
            (">1", ["#ops"]),
            ("<2", ["#dev"]),
            ("#*,>0,<2", ["#dev"]),
            ("#none", []),
        ):
            found = alice.say(f"LIST {conditions}")
            self.assertEqual(sorted(line.split()[3] for line in found[1:-1]), rooms, conditions)
        self.assertEqual(alice.say("NAMES #none"), [":chatd 366 alice #none :End of /NAMES list"])
        self.assertEqual(alice.say("WHO nobody"), [":chatd 315 alice nobody :End of WHO list"])
