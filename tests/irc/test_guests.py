"""People without an account, and the other options."""

from __future__ import annotations

from pathlib import Path

from chatd.model import Door
from tests.irc.talk import Irc, IrcTestCase, serve
from tests.memory import PASSWORD, Server


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
