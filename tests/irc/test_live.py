"""irssi and WeeChat as they come with the distribution, unmodified, against the shipped daemon."""

from __future__ import annotations

import os

from tests.client.live import ClientTestCase, Terminal
from tests.live import PASSWORD, Chatd, Client, JsonClient, Program, needs

IRSSI = """
servers = ({{ address = "127.0.0.1"; chatnet = "c"; port = "{port}"; autoconnect = "yes"; }});
chatnets = {{ c = {{ type = "IRC"; nick = "bob"; sasl_mechanism = "PLAIN"; sasl_username = "bob";
  sasl_password = "{password}"; }}; }};
settings = {{ core = {{ real_name = "bob"; user_name = "bob"; nick = "bob"; }}; }};
"""


class RealClientsTests(ClientTestCase):
    """Connect with SASL, ask to join, be approved, talk across the dialects, be kicked, be told what was missed."""

    async def test_irssi_and_weechat(self) -> None:
        """One evening of bob in irssi, carol in WeeChat, alice on telnet's dialect and dave in json."""
        irssi, weechat = needs("irssi"), needs("weechat-headless")
        server = await self.server()
        dave = await self.person(server.port, "dave")
        for name in ("bob", "carol"):
            await (await self.person(server.port, name)).call("logout")
        alice = await self.plain(server.port)
        alice.send(f"/register alice {PASSWORD}")
        alice.send("/join #ops")
        alice.send("/add dave")
        await alice.line("added dave")

        bob = await self.irssi(irssi, server)
        await bob.shows("SASL authentication succeeded", "Welcome to chatd, bob")
        await bob.type("/join #ops")
        await self.heard(alice, "bob asks to join")
        alice.send("/approve bob")
        await bob.shows("bob [bob@chatd] has joined #ops", "Total of 3 nicks")
        await bob.type("hi from irssi")
        await self.heard(alice, "<bob> hi from irssi")
        await dave.event("say", text="hi from irssi")
        await dave.call("say", room="#ops", text="hi from json")
        await bob.shows("< dave> hi from json")

        carol = self.weechat(weechat, server)
        await self.logged("irc.server.c", "Welcome to chatd, carol")
        await self.tell(carol, "irc.server.c */join #ops")
        await self.heard(alice, "carol asks to join")
        alice.send("/approve carol")
        await self.logged("irc.c.#ops", "carol")
        await self.tell(carol, "irc.c.#ops *hi from weechat")
        await bob.shows("hi from weechat")
        await bob.type("/quit")
        await self.eventually(lambda: self.gone(dave, "bob"), "bob to be gone")

        alice.send("while you were away")
        alice.send("@bob and this is for you")
        alice.send("/kick carol spam")
        await self.logged("irc.c.#ops", "alice has kicked carol (spam)")
        bob = await self.irssi(irssi, server)
        await bob.shows("[Act:")
        await bob.type("/window goto #ops")
        await bob.shows("<@alice> while you were away")
        await bob.type("/window goto alice")
        await bob.shows("<alice> and this is for you")
        carol.term()
        await carol.end()
        self.assertEqual(await server.term(), 0)

    async def gone(self, somebody: JsonClient, name: str) -> bool:
        """Whether this person is offline."""
        return not (await somebody.call("whois", user=name))["online"]

    async def irssi(self, program: str, server: Chatd) -> Terminal:
        """irssi in a terminal."""
        home = (self.folder / "irssi").resolve()
        home.mkdir(exist_ok=True)
        (home / "config").write_text(IRSSI.format(port=server.port, password=PASSWORD))
        terminal = Terminal(self, 110, 50)
        self.terminals.append(terminal)
        return await terminal.start(program, f"--home={home}")

    def weechat(self, program: str, server: Chatd) -> Program:
        """WeeChat without a terminal, which is told what to do by its pipe."""
        home = (self.folder / "weechat").resolve()
        login = f"-notls -nicks=carol -sasl_mechanism=plain -sasl_username=carol -sasl_password={PASSWORD}"
        commands = [
            f"/set fifo.file.path {home}/pipe",
            "/set fifo.file.enabled on",
            f"/set logger.file.path {home}/logs",
            "/set logger.file.flush_delay 0",
            f"/server add c 127.0.0.1/{server.port} {login}",
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
        path = self.folder / "weechat" / "logs" / f"{buffer}.weechatlog"
        await self.eventually(lambda: path.exists() and text in path.read_text("utf-8"), f"{text} in {buffer}")

    async def heard(self, client: Client, text: str) -> None:
        """Wait until this was shown on the plain dialect."""
        await client.line(text)
