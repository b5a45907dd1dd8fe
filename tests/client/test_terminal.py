"""`chat` in a real terminal: a line being typed that nothing disturbs, and the keys."""

from __future__ import annotations

import re

from tests.client.live import ClientTestCase, Terminal


class StartTests(ClientTestCase):
    """Before there is anything."""

    async def test_no_server_yet(self) -> None:
        """`chat` may start first: it waits, says so, and comes in once the server is there."""
        server = self.chatd()
        bob = await self.terminal("127.0.0.1", str(server.port))
        await bob.shows(f"Cannot reach 127.0.0.1:{server.port} (refused). Retry in ", "s, Ctrl-C to stop.")
        await server.start()
        await bob.shows('Press "l" to log in')
        await bob.keys("C-c")
        await bob.shows("Bye.")

    async def test_never_reached(self) -> None:
        """Where no server was ever reached Ctrl-C ends it, as it says, and a command is none that is unknown."""
        port = self.chatd().port
        bob = await self.terminal("127.0.0.1", str(port))
        await bob.shows(f"Cannot reach 127.0.0.1:{port} (refused). Retry in ", "Ctrl-C to stop.")
        await bob.type("/login bob")
        await bob.shows("Offline. Commands are not queued: nothing was done.")
        await bob.keys("C-c")
        await bob.shows("Bye.")
        self.assertNotIn("Unknown", await bob.screen())


class TypingTests(ClientTestCase):
    """The line being typed belongs to the person."""

    async def everyday(self, columns: int, rows: int = 24) -> tuple[Terminal, object]:
        """Bob in #ops in a terminal, and alice."""
        server = await self.server()
        await self.registered("bob", server.port, "#ops")
        alice = await self.person(server.port, "alice")
        bob = await self.terminal("--profile", "bob", columns=columns, rows=rows)
        await bob.shows("online")
        await bob.type("/add alice")
        await alice.event("joined")
        return bob, alice

    async def undisturbed(self, columns: int) -> None:
        """Half a line is typed, thirty lines arrive above it, the rest is typed: it arrives whole."""
        bob, alice = await self.everyday(columns)
        await bob.letters("日本 half a ")
        arriving = ["plain", "wide 日本語 and 🚀", "שלום עולם", "\x1b[31mred\x07\x1b[2J", "x" * 150, "two\nlines"]
        for number in range(30):
            await alice.call("say", room="#ops", text=f"{number} {arriving[number % len(arriving)]}")
        await bob.until(lambda screen: "29 two" in screen.replace("\n", ""), "the last line")
        await bob.letters("line")
        screen = await bob.until(lambda screen: "half a line" in screen.replace("\n", ""), "the typed line")
        prompt = screen.index("#ops(admin) [open]>")
        self.assertEqual(screen.count("#ops(admin) [open]>"), 1, screen)
        self.assertGreater(prompt, screen.rindex("lines"), screen)
        past = await bob.screen(past=True)
        self.assertNotIn("\x1b", past)
        self.assertIn("�[31mred��[2J", past)
        numbers = [int(found) for found in re.findall(r"alice: (\d+) ", past)]
        self.assertEqual(numbers, list(range(30)))
        await bob.keys("Enter")
        await alice.event("say", text="日本 half a line")

    async def test_undisturbed_at_80(self) -> None:
        """At 80 columns."""
        await self.undisturbed(80)

    async def test_undisturbed_at_20(self) -> None:
        """At 20 columns, where the typed line itself wraps."""
        await self.undisturbed(20)

    async def test_editing(self) -> None:
        """The up key brings the last line, Ctrl-R finds one; Tab completes commands and people."""
        bob, alice = await self.everyday(80)
        for text in ("first line", "second line"):
            await bob.type(text)
            await alice.event("say", text=text)
        await bob.keys("Up", "Up")
        await bob.shows("#ops(admin) [open]> first line")
        await bob.keys("C-c", "C-r")
        await bob.letters("seco")
        await bob.until(lambda screen: re.search("i-search.*second line", screen), "what was searched for")
        await bob.keys("Enter")
        await bob.shows("#ops(admin) [open]> second line")
        await bob.keys("C-c")
        await bob.letters("/prom")
        await bob.keys("Tab")
        await bob.shows("#ops(admin) [open]> /promote")
        await bob.letters("al")
        await bob.keys("Tab")
        await bob.shows("#ops(admin) [open]> /promote alice")
        await bob.keys("Enter")
        await alice.event("promoted")

    async def test_page_up(self) -> None:
        """Page-Up shows what was before, fetched where it is not here; what arrives meanwhile is printed afterwards."""
        server = await self.server()
        alice = await self.person(server.port, "alice")
        await alice.call("create", room="#ops")
        for number in range(150):
            await alice.call("say", room="#ops", text=f"line {number}")
        await self.registered("bob", server.port)
        await alice.call("add", room="#ops", user="bob")
        for number in range(150, 300):
            await alice.call("say", room="#ops", text=f"line {number}")
        bob = await self.terminal("--profile", "bob")
        await bob.shows("line 299", "online")
        await bob.letters("half a line")
        await bob.keys("PPage")
        await bob.shows(" #ops ", "q goes back", "alice: line 27")
        await alice.call("say", room="#ops", text="meanwhile")
        await bob.keys("Home", "Home")
        screen = await bob.shows("alice added you to #ops.", "alice: line 150", "(the beginning)")
        self.assertNotIn("half a line", screen)
        self.assertNotIn("meanwhile", screen)
        await bob.keys("q")
        await bob.shows("alice: line 299", "alice: meanwhile", "#ops [open]> half a line")
        await bob.keys("PPage")
        await bob.shows("q goes back")
        await bob.letters("!")
        await bob.shows("#ops [open]> half a line!")
        await bob.keys("PPage")
        await bob.shows("q goes back")
        await bob.paste("one\ntwo")
        await bob.shows("Paste 2 lines? [y]es [f]ile [n]o")
        await bob.keys("n", "Enter")
        await alice.event("say", text="half a line!")

    async def test_page_up_in_a_tall_text(self) -> None:
        """The first Page-Up goes a page up; of a text taller than the window every row is passed."""
        bob, alice = await self.everyday(80)
        await alice.call("say", room="#ops", text="\n".join(f"row {number}." for number in range(60)))
        await alice.call("say", room="#ops", text="afterwards")
        await bob.shows("row 59.", "afterwards")
        await bob.keys("PPage")
        screen = await bob.shows("q goes back", "row 16.", "row 38.")
        self.assertNotIn("(the beginning)", screen)
        await bob.keys("Up")
        screen = await bob.shows("row 15.", "row 37.")
        self.assertNotIn("row 38.", screen)
        await bob.keys("PPage")
        await bob.shows("alice: row 0.", "(the beginning)")

    async def test_paste_guard(self) -> None:
        """Several lines pasted are asked about, and are one text, which the up key brings again as others."""
        bob, alice = await self.everyday(80)
        await bob.paste("one\ntwo\nthree")
        await bob.shows("Paste 3 lines? [y]es [f]ile [n]o")
        await bob.keys("n")
        await bob.shows("#ops(admin) [open]>")
        await bob.paste("one\ntwo\nthree")
        await bob.shows("Paste 3 lines?")
        await bob.keys("y")
        await alice.event("say", text="one\ntwo\nthree")
        await bob.type("four")
        await alice.event("say", text="four")
        await bob.keys("Up", "Up")
        await bob.until(lambda screen: re.search(r"\[open\]> one\n *two\n *three", screen), "the pasted block")
        await bob.keys("Enter")
        await alice.event("say", text="one\ntwo\nthree")

    async def test_rooms_and_mentions(self) -> None:
        """Unread rooms stand in the status line; Alt-a goes there, Alt-1 back."""
        bob, alice = await self.everyday(80)
        await bob.type("/create --open #dev")
        await bob.shows("#dev(admin) [open]>")
        await alice.call("say", room="#ops", text="bob: look")
        await bob.shows("#ops alice: bob: look", "1 #ops 1!")
        await bob.keys("M-a")
        await bob.until(
            lambda screen: "#ops(admin) [open]>" in screen and "1 #ops" not in screen.splitlines()[-1], "#ops"
        )
        await bob.keys("M-2")
        await bob.shows("#dev(admin) [open]>")

    async def test_no_colour(self) -> None:
        """With NO_COLOR nothing is coloured."""
        server = await self.server()
        await self.registered("bob", server.port, "#ops")
        bob = await self.terminal("--profile", "bob", NO_COLOR="1")
        await bob.shows("online")
        await bob.type("hello *you*")
        await bob.shows("bob: hello you  +")
        raw = await bob.screen(raw=True)
        self.assertNotRegex(raw, r"\x1b\[[0-9;]*[34][0-8]")

    async def test_killed(self) -> None:
        """kill -9: the next start shows everything, sends what was marked, and nothing twice."""
        bob, alice = await self.everyday(80)
        for number in range(5):
            await bob.type(f"line {number}")
        await bob.shows("bob: line 4")
        bob.kill()
        again = await self.terminal("--profile", "bob")
        await again.shows("bob: line 0", "bob: line 4", "online")
        await alice.event("say", text="line 4")
        await alice.ping()
        self.assertEqual([event["text"] for event in alice.said("#ops")], [f"line {number}" for number in range(5)])
        self.assertEqual((await again.screen()).count("line 3"), 1)

    async def test_one_process_per_profile(self) -> None:
        """A second chat says so, and how a second person is."""
        bob, _ = await self.everyday(80)
        code, printed = await self.script("chat --profile bob whoami")
        self.assertEqual(code, 6)
        self.assertEqual(printed, ['Profile "bob" is in use by another chat. For a second person: chat --profile NAME'])
        await bob.type("/quit")
        await bob.shows("Bye.")
