"""irssi, WeeChat and ii as they come with the distribution, unmodified, against the shipped daemon."""

from __future__ import annotations

import os
from pathlib import Path

from chatd.tls import fingerprint, self_signed
from tests.client.live import ClientTestCase, Terminal
from tests.live import CONFIG, PASSWORD, Chatd, Client, JsonClient, LiveTestCase, Program, free_ports, needs

IRSSI = """
servers = ({{ address = "127.0.0.1"; chatnet = "c"; port = "{port}"; autoconnect = "yes"; }});
chatnets = {{ c = {{ type = "IRC"; nick = "bob"; sasl_mechanism = "PLAIN"; sasl_username = "bob";
  sasl_password = "{password}"; }}; }};
settings = {{ core = {{ real_name = "bob"; user_name = "bob"; nick = "bob"; }}; }};
"""
SASL = f"-sasl_mechanism=plain -sasl_username=carol -sasl_password={PASSWORD}"


class RealClientsTests(ClientTestCase):
    """What people see who use the clients that they have."""

    async def test_irssi_and_weechat(self) -> None:
        """One evening: alice in telnet, bob in irssi, carol in WeeChat, dave with a program. SASL, ask to join, be
        approved, talk, be kicked, go, come back and get what was missed; and everybody is told when the server stops.
        """
        irssi, weechat, telnet = needs("irssi"), needs("weechat-headless"), needs("telnet")
        server = await self.server()
        dave = await self.person(server.port, "dave")
        for name in ("bob", "carol"):
            await (await self.person(server.port, name)).call("logout")
        alice = await self.screen(telnet, "127.0.0.1", str(server.port))
        await alice.shows('Press "l" to log in')
        for line in (f"/register alice {PASSWORD}", "/join #ops", "/add dave"):
            await alice.type(line)
        await alice.shows("alice added dave to #ops.")

        bob = await self.irssi(irssi, server)
        await bob.shows("SASL authentication succeeded", "Welcome to chatd, bob")
        await bob.type("/join #ops")
        await alice.shows("bob asks to join #ops")
        await alice.type("/approve bob")
        await bob.shows("bob [bob@chatd] has joined #ops", "Total of 3 nicks")
        await bob.type("hi from irssi")
        await alice.shows("<bob> hi from irssi")
        await dave.event("say", text="hi from irssi")
        await dave.call("say", room="#ops", text="hi from json")
        await bob.shows("< dave> hi from json")

        carol = self.weechat(weechat, server, SASL)
        await self.logged("irc.server.c", "Welcome to chatd, carol")
        await self.tell(carol, "irc.server.c */join #ops")
        await alice.shows("carol asks to join #ops")
        await alice.type("/approve carol")
        await self.logged("irc.c.#ops", "carol")
        await self.tell(carol, "irc.c.#ops *hi from weechat")
        await bob.shows("hi from weechat")
        await alice.type("hi from telnet")
        await bob.shows("<@alice> hi from telnet")
        await self.logged("irc.c.#ops", "hi from telnet")

        await bob.type("/quit")
        await self.eventually(lambda: self.gone(dave, "bob"), "bob to be gone")
        await self.tell(carol, "irc.server.c */disconnect")
        await self.eventually(lambda: self.gone(dave, "carol"), "carol to be gone")
        for line in ("while you were away", "@bob and this is for you", "@carol and this for you"):
            await alice.type(line)
        await dave.event("say", text="while you were away")
        await self.tell(carol, "irc.server.c */reconnect c")
        await self.logged("irc.c.#ops", "while you were away")
        await self.logged("irc.c.alice", "and this for you")
        bob = await self.irssi(irssi, server)
        await bob.shows("[Act:")
        await bob.type("/window goto #ops")
        await bob.shows("<@alice> while you were away")
        await bob.type("/window goto alice")
        await bob.shows("<alice> and this is for you")

        await alice.type("/kick carol spam")
        await self.logged("irc.c.#ops", "alice has kicked carol (spam)")
        await bob.type("/window goto #ops")
        await bob.shows("carol was kicked", "[spam]")
        await alice.type("/kick bob flood")
        await bob.shows("kicked", "[flood]")
        self.assertEqual(await server.term(), 0)
        await alice.shows("This server is closing; reconnect.")
        await self.logged("irc.server.c", "This server is closing; reconnect.")

    async def test_a_certificate(self) -> None:
        """WeeChat logs in over TLS by its certificate alone, once that is registered."""
        weechat = needs("weechat-headless")
        plain = free_ports(2)
        secure = plain + 1
        server = await self.chatd("--listen", f"ssl:{secure}:interface=127.0.0.1", port=plain).start()
        carol = await self.person(plain, "carol")
        pem = self_signed(["carol"])
        path = (self.folder / "carol.pem").resolve()
        path.write_bytes(pem)
        await carol.call("cert", what="add", which=fingerprint(pem))
        await carol.call("create", room="#ops")
        version = self.run_program(weechat, "--version")
        await version.end()
        tls = "ssl" if version.lines[0] < "4" else "tls"  # how WeeChat calls it
        options = f"-{tls} -no{tls}_verify -{tls}_cert={path} -sasl_mechanism=external"
        client = self.weechat(weechat, server, options, port=secure)
        await self.logged("irc.server.c", "Welcome to chatd, carol")
        await self.tell(client, "irc.server.c */join #ops")
        await self.logged("irc.c.#ops", "carol")
        await self.tell(client, "irc.c.#ops *by certificate")
        await carol.event("say", text="by certificate")

    async def test_ii(self) -> None:
        """ii, a client that knows nothing but RFC 1459: by PASS, in and out of a group, with what was missed."""
        program = needs("ii")
        server = await self.server()
        alice = await self.person(server.port, "alice")
        await (await self.person(server.port, "bob")).call("logout")
        await alice.call("create", room="#ops", people=["bob"])
        folder = (self.folder / "ii").resolve()
        here = folder / "127.0.0.1"

        async def start() -> Program:
            words = ("-i", os.fspath(folder), "-s", "127.0.0.1", "-p", str(server.port), "-n", "bob", "-k", "WORD")
            return self.run_program(program, *words, WORD=f"bob:{PASSWORD}")

        await alice.call("say", room="#ops", text="missed")
        ii = await start()
        await self.says(here / "#ops" / "out", "missed")
        await alice.call("say", room="#ops", text="live")
        await self.says(here / "#ops" / "out", "<alice> live")
        (here / "#ops" / "in").write_text("hi from ii\n")
        await alice.event("say", text="hi from ii")
        (here / "in").write_text("/j alice psst\n")
        await alice.event("say", text="psst")
        (here / "#ops" / "in").write_text("/l\n")
        await alice.event("left")
        ii.term()
        await ii.end()
        await self.eventually(lambda: self.gone(alice, "bob"), "bob to be gone")

    # -- people -------------------------------------------------------------------------------------------------------

    async def gone(self, somebody: JsonClient, name: str) -> bool:
        """Whether this person is offline."""
        return not (await somebody.call("whois", user=name))["online"]

    async def screen(self, *argv: str) -> Terminal:
        """A program in a terminal."""
        terminal = Terminal(self, 110, 50)
        self.terminals.append(terminal)
        return await terminal.start(*argv)

    async def irssi(self, program: str, server: Chatd) -> Terminal:
        """irssi in a terminal."""
        home = (self.folder / "irssi").resolve()
        home.mkdir(exist_ok=True)
        (home / "config").write_text(IRSSI.format(port=server.port, password=PASSWORD))
        return await self.screen(program, f"--home={home}")

    def weechat(self, program: str, server: Chatd, options: str, port: int = 0) -> Program:
        """WeeChat without a terminal, which is told what to do by its pipe."""
        home = (self.folder / "weechat").resolve()
        commands = [
            f"/set fifo.file.path {home}/pipe",
            "/set fifo.file.enabled on",
            f"/set logger.file.path {home}/logs",
            "/set logger.file.flush_delay 0",
            f"/server add c 127.0.0.1/{port or server.port} -nicks=carol {options}",
            "/connect c",
        ]
        return self.run_program(program, "-d", os.fspath(home), *[w for c in commands for w in ("-r", c)])

    async def tell(self, weechat: Program, command: str) -> None:
        """Have WeeChat do something."""
        pipe = self.folder / "weechat" / "pipe"
        await self.eventually(pipe.exists, "WeeChat's pipe")
        with pipe.open("w") as out:
            out.write(f"{command}\n")

    async def logged(self, buffer: str, text: str) -> None:
        """Wait until WeeChat has shown this."""
        await self.says(self.folder / "weechat" / "logs" / f"{buffer}.weechatlog", text)

    async def says(self, path: Path, text: str) -> None:
        """Wait until this stands in a file."""
        await self.eventually(lambda: path.exists() and text in path.read_text("utf-8"), f"{text} in {path.name}")


class StoppingTests(LiveTestCase):
    """A daemon that stops and starts, with people on it."""

    settings = CONFIG + "[irc]\nguests = true\n[limits]\ndrain_seconds = 0.5\n"

    async def test_sigterm(self) -> None:
        """What was said before is delivered, everybody hears ERROR, somebody who does not read delays nothing for long,
        and the exit status is 0; guests are gone, and their names free at once.
        """
        server = await self.chatd().start()
        people = [await self.guest(server.port, name) for name in ("dora", "emil", "fritz")]
        dora, emil, fritz = people
        await dora.line(":fritz!fritz@chatd JOIN #x")
        fritz.pause()
        dora.send("\r\n".join([f"PRIVMSG #x :{'x' * 400}"] * 12_000) + "\r\nPING flooded\r")
        await dora.line("PONG chatd :flooded")
        dora.send("PRIVMSG #x :the last\r")
        dora.send("PING last\r")
        await dora.line("PONG chatd :last")
        self.assertEqual(await server.term(), 0)
        for client in (dora, emil):
            await client.end()
            self.assertEqual(client.lines[-1], "ERROR :This server is closing; reconnect.")
        self.assertIn(":dora!dora@chatd PRIVMSG #x :the last", emil.lines)
        fritz.abort()
        await server.start()
        again = await self.guest(server.port, "dora")
        await again.line(" 353 dora = #x :@dora$")

    async def guest(self, port: int, name: str) -> Client:
        """Somebody in #x."""
        client = await self.plain(port)
        client.send(f"NICK {name}\r\nUSER {name} 0 * :{name}\r\nJOIN #x\r")
        await client.line(" 366 ")
        return client
