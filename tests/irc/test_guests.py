"""People without an account, and the other options."""

from __future__ import annotations

from pathlib import Path

from chatd.command import Settings
from chatd.commands.guests import sweep
from chatd.model import Door
from tests.irc.talk import Irc, IrcTestCase, serve
from tests.memory import ABROAD, DOOR, PASSWORD, Server, instances


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
        self.assertEqual(dora.say("QUIT :bye"), ["ERROR :Closing link: (bye)"])
        self.assertEqual(emil.lines(), [":dora!dora@chatd QUIT :bye", ":chatd MODE #x +o emil"])
        self.guest("dora")
        emil.client.cut()
        self.assertEqual(self.guest("emil").say("LIST")[1:], [":chatd 323 emil :End of /LIST"])

    def test_nick(self) -> None:
        """A guest goes by another name: everybody who shares a room with it is told once, and writes to it by that."""
        dora, emil, fritz = self.guest("dora"), self.guest("emil", "batch", "labeled-response"), self.guest("fritz")
        json = self.server.resume("alice")
        for room in ("#x", "#y"):
            dora.say(f"JOIN {room}")
            emil.say(f"JOIN {room}")
            json.call(do="join", room=room)
        emil.say("PRIVMSG dora :hi")
        dora.say("PRIVMSG alice :hello"), dora.lines(), json.events()
        fritz.say("MONITOR + emil,flora")
        for name, number in (("fritz", "433"), ("alice", "433"), ("a b", "432"), ("", "431")):
            self.assertEqual(emil.say(f"NICK :{name}")[0].split()[1], number, name)
        self.assertEqual(emil.say("@label=1 NICK Flora"), ["@label=1 :emil!emil@chatd NICK flora"])
        self.assertEqual(dora.lines(), [":emil!emil@chatd NICK flora"])
        events = [found for found in json.events() if found["ev"] == "nick"]
        self.assertEqual([(found["room"], found["text"], found["data"]["was"]) for found in events],
                         [("#x", "flora", "emil"), ("#y", "flora", "emil")])  # fmt: skip
        self.assertEqual(dora.say("PRIVMSG flora :still?"), [])
        self.assertEqual(emil.lines(), [":dora!dora@chatd PRIVMSG flora :still?"])
        self.assertEqual(emil.say("PRIVMSG #x :yes"), [])
        self.assertEqual(dora.lines(), [":flora!flora@chatd PRIVMSG #x :yes"])
        self.assertEqual(emil.say("NAMES #x")[0], ":chatd 353 flora = #x :@dora alice flora")
        self.server.advance(0.3)
        self.server.advance(0.3)
        self.assertEqual(fritz.lines(), [":chatd 731 fritz :emil", ":chatd 730 fritz :flora!flora@chatd"])
        self.guest("emil")
        self.assertEqual(emil.say("QUIT"), ["ERROR :Closing link: (bye)"])
        self.assertEqual(dora.lines(), [":flora!flora@chatd QUIT :Gone"] * 2)
        self.assertEqual(json.code(do="nick", name="other"), "GUESTS_ONLY")

    def test_those_of_a_dead_instance(self) -> None:
        """An instance that is killed takes its guests with it: another one sees them out, and their names are free."""
        folder = Path(self.mktemp())
        chosen = Settings(bcrypt_cost=4, guests=True, default_door=Door.OPEN)
        one, two = instances(folder, settings=chosen)
        self.addCleanup(two.stop)
        for server, name in ((one, "dora"), (two, "emil")):
            client = Irc(server)
            client.say(f"NICK {name}", f"USER {name} 0 * :{name}", "JOIN #x")
        client.lines()
        one.kill()

        def later() -> None:
            for _ in range(20):
                two.advance(1)
            two.db.write(sweep)
            two.advance(0)

        later()
        self.assertEqual(client.lines(), [":dora!dora@chatd QUIT :Gone", ":chatd MODE #x +o emil"])
        self.assertEqual(client.say("NAMES #x")[0], ":chatd 353 emil = #x :@emil")
        again = Irc(two)
        self.assertIn(":chatd 001 dora :Welcome to chatd, dora", again.say("NICK dora", "USER d 0 * :d"))
        later()
        self.assertEqual(client.lines(), [])
        self.assertEqual(again.say("PING x"), [":chatd PONG chatd :x"])

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

    def test_a_server_password_in_every_dialect(self) -> None:
        """Whoever does not come as IRC clients do brings it, too; who guesses has as many guesses as an address has
        guests.
        """
        server = serve(Path(self.mktemp()), guests=True, door_password="sesame", limits={"guests_per_hour": 3})
        self.addCleanup(server.stop)
        for password in ("", "wrong", "sesame"):
            client = server.connect(ABROAD)
            code = client.code(do="guest", name="dora", password=password)
            self.assertEqual(code, "ok" if password == "sesame" else "NOT_LOGGED_IN")
        self.assertEqual(
            server.connect().type("/guest emil")[-2:], ["Unknown command /guest. Did you mean /get? Not sent.", DOOR]
        )
        for words in (*["Password incorrect"] * 3, "Too many tries. Wait 60 min."):
            client = Irc(server, address="198.51.100.9")
            found = client.say("PASS guess", "NICK emil", "USER e 0 * :e")
            self.assertEqual((found[0], client.client.closed), (f":chatd 464 emil :{words}", True))
        self.assertEqual(server.connect(ABROAD).code(do="guest", name="fred", password="sesame"), "THROTTLED")
