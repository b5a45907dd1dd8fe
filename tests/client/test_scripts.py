"""`chat` without a terminal: in shell scripts, with `--plain`, and through a cluster whose nodes are killed."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import tempfile
from pathlib import Path

from tests.chaos.nodes import node_pids
from tests.client.live import ClientTestCase, write
from tests.live import PASSWORD, free_ports, needs


class ScriptTests(ClientTestCase):
    """Exit codes that scripts can rely on."""

    async def test_send(self) -> None:
        """0 stored, 4 refused, 5 nobody logged in; the same key is the same message; stdin is a text, or a file."""
        server = await self.server()
        await self.registered("bot", server.port, "#ops")
        alice = await self.person(server.port, "alice")
        await alice.call("dm", user="bot")  # she has no keys: it is the open conversation that is gone on with
        code, printed = await self.script(
            """
            export CHAT_PROFILE=bot
            chat send '#ops' 'deployed *1.2*'; echo "$?"
            chat send --id deploy-1 '#ops' once; echo "$?"
            chat send --id deploy-1 '#ops' once; echo "$?"
            printf 'two\\nlines\\n' | chat send '#ops'; echo "$?"
            chat send @alice psst; echo "$?"
            chat send '#nowhere' hello; echo "$?"
            head -c 5000 /dev/zero | tr '\\0' x | chat send '#ops' -; echo "$?"
            chat send '#ops' "$(head -c 5000 /dev/zero | tr '\\0' x)"; echo "$?"
            chat --profile nobody send '#ops' hello; echo "$?"
            chat whoami; echo "$?"
            """
        )
        self.assertEqual(code, 0, printed)
        numbers = [line for line in printed if line.isdecimal()]
        self.assertEqual(numbers, ["0", "0", "0", "0", "0", "4", "0", "4", "5", "0"], printed)
        self.assertIn("No such group: #nowhere.", printed)
        self.assertIn("5,000 of 4,000 characters.", printed)
        self.assertIn(f"bot on 127.0.0.1:{server.port}", printed)
        await alice.event("say", text="psst")
        owner = await self.script("printf '/history\\n' | chat --profile bot")
        said = [line[20:] for line in owner[1] if re.match(r"\d{4}-", line)]
        file = "bot: message.txt 5.0 kB (file 1: /get 1)"
        self.assertEqual(said, ["bot: deployed 1.2", "bot: once", "bot: two", "bot | lines", file])

    async def test_queued(self) -> None:
        """3 without a server; the line goes out the next time the profile is used, and once."""
        server = await self.server()
        await self.registered("bot", server.port, "#ops")
        await server.term()
        _, printed = await self.script("chat --profile bot send --wait 1 '#ops' later; echo $?")
        self.assertEqual(printed[-1], "3", printed)
        await server.start()
        _, printed = await self.script("chat --profile bot send '#ops' now; echo $?")
        self.assertEqual(printed, ["0"])
        _, printed = await self.script("printf '/history\\n' | chat --profile bot")
        self.assertEqual([line[20:] for line in printed if re.match(r"\d{4}-", line)], ["bot: later", "bot: now"])

    async def test_nothing_typed_and_no_server(self) -> None:
        """7 where the input has ended, nothing waits in it, and there is no server: logged in or not."""
        server = await self.server()
        await self.registered("bot", server.port)
        await server.term()
        for who in ("bot", "nobody"):
            code, printed = await self.script(f"chat --profile {who} 127.0.0.1 {server.port} </dev/null")
            why = f"The input has ended, and 127.0.0.1:{server.port} was never reached: not waiting for it."
            self.assertEqual((code, printed[-1]), (7, why), printed)

    async def test_typed_before_the_server(self) -> None:
        """What was written into a pipe waits for the server, at the door, too."""
        server = self.chatd()
        program = self.chat("--plain", "127.0.0.1", str(server.port))
        write(program, "c\n")
        program._transport.closeStdin()
        await program.prints("Cannot reach ")
        await server.start()
        await program.prints("Bye.")
        self.assertEqual(await program.end(), 0)

    async def test_wait_and_tail(self) -> None:
        """`wait` ends with 0 when it came and 1 when not; `tail` follows, as json or as people read it."""
        server = await self.server()
        await self.registered("bot", server.port, "#ops")
        _, printed = await self.script(
            """
            export CHAT_PROFILE=bot
            chat send '#ops' 'build 7 is green'
            chat wait '#ops' --match 'build .* green' --since 1h --timeout 20; echo "$?"
            chat wait '#ops' --match 'build .* red' --since 1h --timeout 1; echo "$?"
            timeout 3 chat tail '#ops' --json --since 1h; true
            """
        )
        self.assertRegex(printed[0], r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d bot: build 7 is green$")
        self.assertEqual(printed[1:3], ["0", "1"])
        self.assertIn('"text": "build 7 is green"', printed[3])

    async def test_plain(self) -> None:
        """Every flow works line by line through a pipe, and nothing moves the cursor."""
        server = await self.server()
        await self.registered("alice", server.port)
        code, printed = await self.script(
            f"""printf '%s\\n' r bob short {PASSWORD} {PASSWORD} '' '/create #ops alice' 'hi all' '/dm' alice 'psst' \\
            '/close' 'lost' '/switch #ops' '/transfer alice' n '/help kick' '/nonsense' '/quit' \\
            | chat --plain --profile bob 127.0.0.1 {server.port}"""
        )
        text = "\n".join(printed)
        self.assertEqual(code, 0, text)
        self.assertNotIn("\x1b", text)
        for wanted in (
            "Password needs: 8+ characters, a capital letter, a number.",
            "Welcome, bob.",
            "Type to talk. /help for commands, Tab completes, /quit leaves.",
            "#ops created. You are admin. Added alice.",
            "Now in #ops (admin).",
            "bob: hi all  +",
            "To whom? Now in @alice.",
            "bob: psst  +",
            "Left the view of @alice; you are still in it.",
            "No room is open. Nothing was sent.\n/join #group or /dm person opens one.\nNow in #ops (admin).",
            "Make alice owner of #ops and step down? [y/N] Not done.",
            "/kick <user> [reason...]   (also /8)",
            "Unknown command /nonsense.",
            "Bye.",
            "Nothing unsent.",
        ):
            self.assertIn(wanted, text)
        self.assertNotIn(PASSWORD, text)


class ClusterTests(ClientTestCase):
    """Through the front door of three nodes that are being killed."""

    LINES = 500
    timeout = 300

    async def test_five_hundred_lines(self) -> None:
        """500 lines typed while nodes are killed with -9: each arrives once, in order, and each mark told the truth."""
        needs("haproxy")
        port = free_ports(4)
        # HAProxy's own socket stands in this folder, and the path of a socket must be short.
        self.data = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.data)
        cluster = self.twistd(
            *("chatd-cluster", "--nodes", "3", "--port", str(port)),
            *("--data", os.fspath(self.data), "--config", os.fspath(self.config)),
        )
        await cluster.prints("^front door ")
        await self.registered("bob", port, "#ops")
        bob = self.chat("--plain", "--profile", "bob")
        await bob.prints("^Now in #ops")
        chosen = random.Random(3)

        def stored() -> int:
            return sum(bool(re.search(r"bob: line \d+  \+", line)) for line in bob.lines)

        kills = 0
        for number in range(self.LINES):
            write(bob, f"line {number}\n")
            if number % 50 == 25:
                await bob.until(lambda least=number - 20: stored() >= least, f"line {number - 20} stored", 120)
                pids = node_pids(self.data)
                if pids:
                    os.kill(chosen.choice(sorted(pids.values())), signal.SIGKILL)
                    kills += 1
        await bob.until(lambda: stored() >= self.LINES, "all lines stored", 180)
        write(bob, "/quit\n")
        await bob.prints("^Nothing unsent.$")
        self.assertEqual(await bob.end(), 0)
        self.assertGreater(kills, 5)
        marked = [int(number) for line in bob.lines for number in re.findall(r"bob: line (\d+)  \+", line)]
        self.assertEqual(marked, list(range(self.LINES)))
        again = await self.client(port)
        await again.login("bob")
        page = await again.call("history", room="#ops", count=self.LINES)
        lines = [line["text"] for line in page["lines"]]
        self.assertEqual(lines, [f"line {number}" for number in range(self.LINES)])
        cluster.term()
        await cluster.end()
