"""`chat` as a real process: with pipes, and in a real terminal of a chosen size (tmux).

The rule: nothing sleeps; a test waits until the screen shows what it must, with a time-out that only a hang meets.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.threads import deferToThread

from tests.live import PASSWORD, Chatd, LiveTestCase, Program, needs

reactor: Any = _reactor


def write(program: Program, text: str) -> None:
    """Write this into a program's pipe."""
    program._transport.write(text.encode())


class Terminal:
    """A terminal in which `chat` runs."""

    def __init__(self, test: ClientTestCase, columns: int, rows: int) -> None:
        self._test = test
        self.columns = columns
        self._tmux = [needs("tmux"), "-L", f"chat-{test.mark}-{len(test.terminals)}", "-f", os.devnull]
        self._size = ("-x", str(columns), "-y", str(rows))
        self.pid = 0

    def run(self, *words: str, **environment: str) -> str:
        """Have tmux do something; what it says."""
        done = subprocess.run(
            [*self._tmux, *words],
            env=self._test.environment() | environment,
            capture_output=True,
            check=False,
            timeout=30,
        )
        return done.stdout.decode()

    async def start(self, *argv: str, **environment: str) -> Terminal:
        """Open it, with this program in it."""
        environment = {"LC_ALL": "C.UTF-8", "TERM": "screen-256color", "EDITOR": "true"} | environment
        await self._do("new-session", "-d", *self._size, "-s", "t", "sh", **environment)
        await self._do("set-option", "-g", "status", "off")
        await self._do("set-option", "-g", "remain-on-exit", "on")
        await self._do("resize-window", "-t", "t", *self._size)
        command = " ".join(f"'{word}'" for word in argv)
        await self._do("respawn-pane", "-k", "-t", "t", f"exec {command}")
        self.pid = int((await self._do("display-message", "-p", "-t", "t", "#{pane_pid}")).strip() or 0)
        return self

    async def _do(self, *words: str, **environment: str) -> str:
        said: str = await deferToThread(self.run, *words, **environment)
        return said

    async def record(self) -> Path:
        """From now on all bytes that the program writes are in this file."""
        path = (self._test.folder / f"written-{len(self._test.terminals)}").resolve()
        path.touch()
        await self._do("pipe-pane", "-t", "t", f"cat > {path}")
        return path

    async def keys(self, *keys: str) -> None:
        """Press these keys (tmux's names)."""
        await self._do("send-keys", "-t", "t", *keys)

    async def type(self, text: str) -> None:
        """Type this, and Enter."""
        await self._do("send-keys", "-t", "t", "-l", "--", text)
        await self.keys("Enter")

    async def letters(self, text: str) -> None:
        """Type this."""
        await self._do("send-keys", "-t", "t", "-l", "--", text)

    async def paste(self, text: str) -> None:
        """Paste this, bracketed."""
        await self._do("set-buffer", text)
        await self._do("paste-buffer", "-p", "-t", "t")

    async def resize(self, columns: int, rows: int) -> None:
        """Another size."""
        await self._do("resize-window", "-t", "t", "-x", str(columns), "-y", str(rows))

    async def screen(self, *, past: bool = False, raw: bool = False) -> str:
        """What stands there; `past`: with what has scrolled away; `raw`: with its colours."""
        words = ["capture-pane", "-p", "-t", "t", *(("-S", "-2000", "-J") if past else ()), *(("-e",) if raw else ())]
        return (await self._do(*words)).rstrip()

    async def shows(self, *texts: str, past: bool = False) -> str:
        """The screen, once all these stand in it."""
        return await self.until(lambda screen: all(text in screen for text in texts), f"{texts}", past=past)

    async def until(self, good: Callable[[str], Any], what: str, *, past: bool = False, seconds: float = 40.0) -> str:
        """The screen, once it is good."""
        held = ""

        async def look() -> str:
            nonlocal held
            held = await self.screen(past=past)
            return held if good(held) else ""

        try:
            found: str = await self._test.eventually(look, what, seconds)
        except AssertionError:
            raise AssertionError(f"waited for {what}; the screen:\n{held}") from None
        return found

    async def ends(self) -> None:
        """Wait until the program is over, and holds its profile no more: it says goodbye a little before."""

        async def dead() -> bool:
            return (await self._do("display-message", "-p", "-t", "t", "#{pane_dead}")).strip() == "1"

        await self._test.eventually(dead, "the program to end", 40.0)

    def kill(self) -> None:
        """kill -9 of what runs in it."""
        os.kill(self.pid, 9)

    def close(self) -> None:
        """Close the terminal."""
        self.run("kill-server")


class ClientTestCase(LiveTestCase):
    """Runs chatd and real clients."""

    def setUp(self) -> None:
        super().setUp()
        self.terminals: list[Terminal] = []
        self.addCleanup(self._close)

    def _close(self) -> None:
        for terminal in self.terminals:
            terminal.close()

    def environment(self) -> dict[str, str]:
        """Profiles of their own."""
        env = {name: value for name, value in super().environment().items() if name not in ("NO_COLOR", "TMUX")}
        return env | {"CHAT_HOME": os.fspath(Path(self.folder / "chats").resolve()), "PYTHONWARNINGS": "ignore"}

    def argv(self, *words: str) -> tuple[str, ...]:
        """How `chat` is started."""
        return (sys.executable, "-m", "client.main", *words)

    def chat(self, *words: str) -> Program:
        """`chat` with pipes."""
        return self.run_program(*self.argv(*words))

    async def script(self, text: str, **environment: str) -> tuple[int, list[str]]:
        """Run a shell script, in which `chat` is chat; its exit code and what it printed."""
        path = self.folder / "bin" / "chat"
        if not path.exists():
            path.parent.mkdir()
            path.write_text(f'#!/bin/sh\nexec {" ".join(self.argv())} "$@"\n')
            path.chmod(0o755)
        environment = {"PATH": f"{path.parent.resolve()}:{os.environ.get('PATH', os.defpath)}"} | environment
        program = self.run_program("/bin/bash", "-c", text, **environment)
        return await program.end(150), program.lines

    async def terminal(self, *words: str, columns: int = 80, rows: int = 24, **environment: str) -> Terminal:
        """`chat` in a terminal."""
        terminal = Terminal(self, columns, rows)
        self.terminals.append(terminal)
        return await terminal.start(*self.argv(*words), **environment)

    async def server(self) -> Chatd:
        """A chatd."""
        return await self.chatd().start()

    async def registered(self, name: str, port: int, group: str = "") -> None:
        """A profile of this name, in which somebody is logged in, and in a group, if one is named: an open one."""
        lines = f"r\\n{name}\\n{PASSWORD}\\n{PASSWORD}\\n\\n" + (f"/create --open {group}\\n" if group else "")
        code, printed = await self.script(f"printf '{lines}' | chat --profile {name} 127.0.0.1 {port}")
        self.assertEqual(code, 0, printed)

    async def has_keys(self, name: str) -> None:
        """Wait until this person's keys are with the server: then they can be added to sealed groups."""

        async def known() -> bool:
            with closing(sqlite3.connect(self.data / "chatd.sqlite")) as database:
                found = database.execute(
                    "SELECT count(*) FROM manifest m JOIN account a ON a.id = m.account WHERE a.name = ?", (name,)
                )
                return bool(found.fetchone()[0])

        await self.eventually(known, f"{name}'s keys")
