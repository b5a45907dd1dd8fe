"""The first five minutes with `chat`, as README.md shows them: what stands there is what a terminal of 80×24 showed.

The rule: `CHAT_SCREENS=write` in the environment writes it into README.md anew; read what it wrote.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from tests.client.live import ClientTestCase
from tests.live import PASSWORD, ROOT

README = ROOT / "README.md"
_SHOWN = re.compile(r"(?<=## The first five minutes in chat\n).*?```text\n(?P<screen>.*?)```", re.DOTALL)


def as_shown(screen: str) -> str:
    """A terminal's text as README.md has it: from the door on, at 14:03, and without the recovery code."""
    text = screen[screen.index('Press "l"') :]
    text = re.sub(r"(?m)^\d\d:\d\d ", "14:03 ", text)
    text = re.sub(r"(?<=write it down: )[A-Z0-9-]+", "…", text)
    return "\n".join(row.rstrip() for row in text.splitlines() if row.strip()) + "\n"


class MinutesTests(ClientTestCase):
    """FEATURES §4."""

    async def test_first_five_minutes(self) -> None:
        """Register, make a group, talk, complete, send a file, lose the server and find it again: as README.md says."""
        server = await self.server()
        await self.registered("alice", server.port)
        alice = await self.terminal("--profile", "alice")
        await self.has_keys("alice")
        picture = Path(self.folder / "trip.png").resolve()
        picture.write_bytes(os.urandom(2_100_000))
        bob = await self.terminal("127.0.0.1", str(server.port))
        await bob.shows('Press "l" to log in, "r" to register, "c" to close the connection:')
        await bob.type("r")
        await bob.shows("Username:")
        await bob.type("bob")
        await bob.shows("Password (8+ characters, a capital, a number):")
        await bob.letters(PASSWORD)
        await bob.shows("*" * len(PASSWORD))
        await bob.keys("Enter")
        await bob.shows("Again:")
        await bob.type(PASSWORD)
        await bob.shows("Welcome, bob.", "Recovery code, shown once", "Groups: (none)", "Group:")
        await bob.keys("Enter")
        await bob.shows("Type to talk. /help for commands, Tab completes, /quit leaves.")
        await bob.type("/join #friends")
        await bob.shows("#friends did not exist: created. You are admin.", "#friends(admin) [e2e]>")
        await bob.type("/add alice")
        await bob.shows("bob added alice to #friends.")
        await alice.shows("#friends [e2e]>")
        await bob.type("hello")
        await bob.shows("bob: hello  ++")
        await alice.type("hi bob! see :rocket:")
        await bob.shows("alice: hi bob! see 🚀")
        await bob.letters("to the moon :rocke")
        await bob.keys("Tab")
        await bob.shows("#friends(admin) [e2e]> to the moon 🚀")
        await bob.keys("Enter")
        await bob.shows("bob: to the moon 🚀  ++")
        await bob.letters(f"/send {picture.parent}/tri")
        await bob.keys("Tab")
        await bob.until(lambda screen: "/trip.png" in screen.replace("\n", ""), "the path")
        await bob.keys("Enter")
        await bob.shows("trip.png 2.1 MB sent to #friends (file 1)")
        await alice.shows("trip.png 2.1 MB")
        self.assertEqual(await server.term(), 0)
        await bob.shows("Server is shutting down. Waiting to reconnect, Ctrl-C to quit.", "offline", "0 queued")
        await bob.type("back soon")
        await bob.shows("bob: back soon  .", "1 queued")
        await server.start()
        await bob.shows("online again, 0 missed, 1 sent", "bob: back soon  ++", "\n online")
        past = await bob.screen(past=True)
        await bob.type("/quit")
        await bob.shows("Bye.", "Nothing unsent.")
        self.assertNotIn(PASSWORD, past)
        found = as_shown(past).replace(f"{picture.parent}/", "")
        text = README.read_text("utf-8")
        match = _SHOWN.search(text)
        assert match is not None
        if os.environ.get("CHAT_SCREENS") == "write":
            README.write_text(text[: match.start("screen")] + found + text[match.end("screen") :], "utf-8")
        else:
            self.assertEqual(found, match["screen"])
