"""`chat` in a real terminal: what its screen looks like, at any width, in any look.

The rule: the screens stand in tests/client/screens as they were read and found right; times of day are 00:00.
`CHAT_SCREENS=write` in the environment writes them anew; read what it wrote.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from tests.client.live import ClientTestCase, Terminal
from tests.live import JsonClient

SCREENS = Path(__file__).with_name("screens")
SAID = (
    "plain",
    "wide 日本語 and 🚀 and ｆｕｌｌ",
    "שלום עולם, right to left",
    "\x1b[31mred\x07\x1b[2J \u202eturned",
    "combining e\u0301 a\u0308, a tab\t, no break\u2028here",
    "*bold* _italic_ ~strike~ `code` :rocket: :no_such_emoji:",
    "x" * 90,
    "two\nlines\n```\nfenced *code*\n```",
    "日" * 45,
)
TYPED = "日本 a line that is long enough to be wrapped at twenty and at eighty columns 🚀 אבג"


class ScreensTestCase(ClientTestCase):
    """Bob in #ops in a terminal, and alice."""

    async def everyday(self, *words: str, columns: int = 80, **environment: str) -> tuple[Terminal, JsonClient]:
        """Both, and nothing said yet."""
        server = await self.server()
        alice = await self.person(server.port, "alice")
        await alice.call("create", room="#ops", open=True)
        await self.registered("bob", server.port)
        await alice.call("add", room="#ops", user="bob")
        bob = await self.terminal("--profile", "bob", *words, columns=columns, **environment)
        await bob.shows("#ops [open]>", "online")
        return bob, alice

    async def wholly(self, bob: Terminal, alice: JsonClient) -> str:
        """The screen once all that alice said is there, and the line that bob types."""
        for text in SAID:
            await alice.call("say", room="#ops", text=text)
        await bob.until(lambda screen: "日日" in screen, "the last line")
        await bob.letters(TYPED)
        await bob.until(lambda screen: "אבג" in screen.replace("\n", ""), "the typed line")
        return await bob.until(lambda screen: screen.endswith(" online"), "the status line")

    def golden(self, name: str, screen: str) -> None:
        """This is the screen that stands under this name."""
        found = re.sub(r"(?m)^\d\d:\d\d ", "00:00 ", "\n".join(row.rstrip() for row in screen.splitlines())) + "\n"
        path = SCREENS / f"{name}.txt"
        if os.environ.get("CHAT_SCREENS") == "write":
            path.parent.mkdir(exist_ok=True)
            path.write_text(found, "utf-8")
        self.assertEqual(found, path.read_text("utf-8"), f"{name} looks different")


class WidthTests(ScreensTestCase):
    """The same lines, and the same half a line typed, in windows of every kind."""

    async def at(self, columns: int) -> None:
        """The screen is the one that was found right, and the typed line arrives whole."""
        bob, alice = await self.everyday(columns=columns)
        self.golden(f"at{columns}", await self.wholly(bob, alice))
        self.assertNotIn("\x1b", await bob.screen(past=True))
        await bob.keys("Enter")
        await alice.event("say", text=TYPED)

    async def test_at_20(self) -> None:
        """20 columns."""
        await self.at(20)

    async def test_at_80(self) -> None:
        """80 columns."""
        await self.at(80)

    async def test_at_200(self) -> None:
        """200 columns."""
        await self.at(200)

    async def test_resized(self) -> None:
        """From 80 to 20 to 200 columns, with half a line typed and lines arriving: one prompt, and the line whole."""
        bob, alice = await self.everyday()
        await self.wholly(bob, alice)
        for columns in (20, 200, 80):
            await bob.resize(columns, 24)
            await alice.call("say", room="#ops", text=f"at {columns}")
            screen = await bob.until(
                lambda screen, columns=columns: f"alice: at {columns}" in screen and "אבג" in screen.replace("\n", ""),
                f"the line at {columns}",
            )
            self.assertEqual(screen.count("[open]>"), 1, screen)
        await bob.keys("Enter")
        await alice.event("say", text=TYPED)


class LookTests(ScreensTestCase):
    """Colours or none, letters or ASCII."""

    async def test_ascii(self) -> None:
        """--ascii: not one byte that is no ASCII is written, whatever arrives and is done."""
        bob, alice = await self.everyday("--ascii")
        path = await bob.record()
        await alice.call("away", text="für später")
        await bob.shows("away: alice (f?r sp?ter)")
        await alice.call("typing", room="#ops")
        await bob.shows("alice is typing...")
        for text in SAID:
            await alice.call("say", room="#ops", text=text)
        screen = await bob.until(
            lambda screen: "alice: ??????" in screen and screen.endswith("sp?ter)"), "the last line"
        )
        await bob.keys("PPage")
        await bob.shows("q goes back")
        await bob.keys("q")
        await bob.shows("#ops [open]>")
        self.golden("ascii", screen)
        self.assertTrue(path.read_bytes().isascii())

    async def test_classic(self) -> None:
        """`/theme classic`: the line below is dashed and red, and so again at the next start; not with NO_COLOR."""
        bob, _ = await self.everyday()
        await bob.type("/theme classic")
        await bob.shows(" - - - online - - - -")

        async def red() -> bool:
            """Whether the last row is dashed, and red."""
            last = (await bob.screen(raw=True)).splitlines()[-1:]
            return bool(last and re.search(r"\x1b\[[0-9;]*38;5;196m.* - - - online", last[0]))

        await self.eventually(red, "a red line below")
        await bob.type("/quit")
        await bob.shows("Bye.")
        await bob.ends()
        again = await self.terminal("--profile", "bob")
        await again.shows(" - - - online - - - -")
        await again.type("/quit")
        await again.shows("Bye.")
        await again.ends()
        none = await self.terminal("--profile", "bob", NO_COLOR="1")
        await none.until(lambda screen: screen.endswith("\n online"), "a line below without dashes")

    async def test_notification(self) -> None:
        """A mention rings, and is told to the terminal by OSC 9, safely; other lines do so as /notify says."""
        bob, alice = await self.everyday()
        path = await bob.record()

        async def said(text: str) -> str:
            """What is written when alice says this."""
            before = len(path.read_bytes())
            await alice.call("say", room="#ops", text=text)
            await bob.shows(f"alice: {text[:5]}")
            return path.read_bytes()[before:].decode()

        self.assertNotIn("\x1b]9;", await said("1 for all"))
        rung = await said("2 @bob \x1b]0;look\x07 here")
        self.assertIn("\x1b]9;#ops alice: 2 @bob \ufffd]0;look\ufffd here\x1b\\", rung)
        self.assertEqual(rung.count("\x07"), 1)
        await bob.type("/notify all")
        await bob.shows("#ops: all")
        self.assertIn("\x1b]9;#ops alice: 3 for all\x1b\\", await said("3 for all"))
        await bob.type("/notify none")
        await bob.shows("#ops: none")
        self.assertNotIn("\x1b]9;", await said("4 bob"))


class EditorTests(ScreensTestCase):
    """A long text is written elsewhere."""

    async def test_edit(self) -> None:
        """/edit: what $EDITOR leaves is one text and is sent; nothing is sent where it leaves nothing."""
        editor = self.folder / "editor"
        editor.write_text("""#!/bin/sh\ncat "$1" >> seen\nprintf 'one\\n/two\\n\\nthree\\n' > "$1"\n""")
        editor.chmod(0o755)
        bob, alice = await self.everyday(EDITOR=os.fspath(editor.resolve()))
        await bob.type("/edit")
        await alice.event("say", text="one\n/two\n\nthree")
        await bob.shows("bob: one", "bob | three", "#ops [open]>")
        editor.write_text("""#!/bin/sh\nprintf '' > "$1"\n""")
        await bob.type("/edit")
        await bob.until(lambda screen: screen.count("/edit") == 2, "the second /edit")
        await bob.type("afterwards")
        await alice.event("say", text="afterwards")
        self.assertEqual(len(alice.said()), 2)

    async def test_edit_too_much(self) -> None:
        """A text that is too long is refused and stands in the line again: nothing is lost."""
        editor = self.folder / "editor"
        editor.write_text(
            """#!/bin/sh\n{ printf 'begin '; head -c 5000 /dev/zero | tr '\\0' y; printf end; } > "$1"\n"""
        )
        editor.chmod(0o755)
        bob, alice = await self.everyday(EDITOR=os.fspath(editor.resolve()))
        await bob.type("/edit")
        await bob.shows("yyyyend")
        await bob.keys("C-a", "C-k")
        await bob.shows("5,009 of 4,000 characters.", past=True)
        await bob.type("well then")
        await alice.event("say", text="well then")
