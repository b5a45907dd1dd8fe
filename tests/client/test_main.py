"""The command line of `chat`: where it goes, what it refuses, and that docs/client.md says so."""

from __future__ import annotations

import getpass as getpass_
import io
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from client import commands, main, profile, script
from client.outbox import Entry
from client.store import Store
from tests.live import ROOT

DOCUMENT = ROOT / "docs" / "client.md"


class MainTests(SynchronousTestCase):
    """Everything up to the point where it begins to talk."""

    def setUp(self) -> None:
        self.home = Path(self.mktemp()).resolve()
        self.patch(profile, "home", lambda: self.home / "chats")
        self.patch(main.Path, "home", lambda: self.home)
        self.went: list[tuple[str, int]] = []

        def run(options: Any, store: Store, host: str, port: int) -> int:
            self.went.append((host, port))
            self.theme = getattr(options, "theme", None)
            return 0

        self.patch(main, "_run", run)

    def chat(self, *words: str) -> tuple[int, str]:
        """`chat` with these words: its exit code, and what it says on stderr."""
        said = io.StringIO()
        self.patch(sys, "stderr", said)
        try:
            code = main.main(words)
        except SystemExit as end:
            code = int(end.code or 0)
        return code, said.getvalue()

    def held(self, **things: Any) -> Store:
        """The profile, opened; with these things in it."""
        held = profile.Profile("default")
        self.addCleanup(held.release)
        store = Store(held.database)
        store.unlock(*profile.unlock(held, store.wrap, None))
        store.put(**things)
        return store

    def belongs(self, where: str, **things: Any) -> None:
        """Bob is logged in there with this profile."""
        held = profile.Profile("default")
        store = Store(held.database)
        store.unlock(*profile.unlock(held, store.wrap, None))
        store.put(where=where, me=["bob", 2], token="0" * 64, pin="the pin", **things)
        store.close()
        held.release()

    def test_where(self) -> None:
        """HOST and PORT, HOST:PORT, --server, [IPv6]:PORT; without any, this machine and 8000."""
        for words in ((), ("chat.example.org",), ("h", "8123"), ("h:81",), ("[::1]:81",), ("--server", "h:82")):
            self.assertEqual(self.chat(*words)[0], 0, words)
        self.assertEqual(
            self.went,
            [("localhost", 8000), ("chat.example.org", 8000), ("h", 8123), ("h", 81), ("::1", 81), ("h", 82)],
        )

    def test_any_order(self) -> None:
        """Options and words of a mode may stand in any order; what a profile is called is no mode."""
        for words in (
            ("send", "#ops", "--file", "x", "a caption"),
            ("send", "--file", "x", "#ops", "a caption"),
            ("send", "#ops", "a caption", "--file", "x"),
            ("--profile", "get", "send", "#ops", "--wait", "3", "a caption", "--file", "x"),
        ):
            found = main._parser(words).parse_intermixed_args(words)
            self.assertEqual((found.mode, found.to, found.file, found.text), ("send", "#ops", "x", "a caption"), words)
        words = ("get", "17", "--wait", "3", "folder")
        self.assertEqual(main._parser(words).parse_intermixed_args(words).folder, "folder")
        self.assertEqual(self.chat("get", "1", "2", "3")[0], 2)

    def test_as_the_last_time(self) -> None:
        """Without HOST it is the server of the last time; the other names of this machine are the same."""
        self.belongs("127.0.0.1:8123")
        for words in ((), ("localhost", "8123"), ("127.0.0.1:8123",)):
            self.assertEqual(self.chat(*words)[0], 0)
        self.assertEqual(self.went, [("127.0.0.1", 8123), ("localhost", 8123), ("127.0.0.1", 8123)])

    def test_another_server(self) -> None:
        """A session and what was read are shown to no other server, and not forgotten for it; --moved says that it is
        the same one, whose certificate is then seen anew."""
        self.belongs("here:8000")
        code, said = self.chat("there")
        self.assertEqual(code, 2)
        self.assertIn("This profile is for here:8000. For another server: chat --profile NAME there\n", said)
        self.assertIn("chat --profile NAME there 7901\n", self.chat("there", "7901")[1])
        self.assertIn("chat --moved there 7901\n", self.chat("there:7901")[1])
        self.assertEqual(self.went, [])
        store = self.held()
        self.assertEqual((store.get("me"), store.get("token"), store.get("pin")), (["bob", 2], "0" * 64, "the pin"))
        store.close()

    def test_moved(self) -> None:
        """--moved: the same server under another name keeps everything, and its certificate is seen anew."""
        self.belongs("here:8000")
        self.assertEqual(self.chat("--moved", "there")[0], 0)
        self.assertEqual(self.went, [("there", 8000)])
        store = self.held()
        self.assertEqual((store.get("me"), store.get("token"), store.get("pin")), (["bob", 2], "0" * 64, None))
        store.close()

    def test_lines_wait_for_another(self) -> None:
        """Lines that wait for one server are not sent to another."""
        held = profile.Profile("default")
        store = Store(held.database)
        store.unlock(*profile.unlock(held, store.wrap, None))
        store.put(where="here:8000")
        store.queue(Entry("019a0000-0000-7000-8000-000000000001", 2, "say", "#ops", "hi", 0))
        store.close()
        held.release()
        self.assertEqual(self.chat("there")[0], 2)

    def test_passphrase(self) -> None:
        """A new passphrase is asked for twice; later it is asked for once, --passphrase or not; whoever gives none at
        the prompt is told so, and nothing is changed."""
        asked: list[str] = []

        def types(*lines: str | type[BaseException]) -> None:
            left = iter(lines)

            def getpass(prompt: str) -> str:
                asked.append(prompt)
                line = next(left)
                if not isinstance(line, str):
                    raise line
                return line

            self.patch(getpass_, "getpass", getpass)

        for typed in ((KeyboardInterrupt,), (EOFError,), ("secret", EOFError), ("", "")):
            types(*typed)
            code, said = self.chat("--passphrase", "here")
            self.assertEqual((code, said), (5, "\nNo passphrase was given.\n"))
        del asked[:]
        types("secret", "sceret", "secret", "secret")
        self.assertEqual(self.chat("--passphrase", "here"), (0, "The two passphrases differ.\n"))
        self.assertEqual(asked, ["New passphrase: ", "Again: "] * 2)
        del asked[:]
        types("secret", "secret", "wrong", KeyboardInterrupt)
        self.assertEqual([self.chat(*words)[0] for words in ((), ("--passphrase",), (), ())], [0, 0, 5, 5])
        self.assertEqual(asked, ["Passphrase: "] * 4)

    def test_refused(self) -> None:
        """What cannot be meant is said in a line, and the exit code is 2."""
        config = self.home / "chat.toml"
        config.parent.mkdir(parents=True, exist_ok=True)
        for words, why in (
            (("h", "99999"), "there is no port 99,999"),
            (("h:0",), "there is no port 0"),
            (("h:http",), "there is no port http"),
            (("h", "abc"), "invalid int value"),
            (("--profile", "../x"), "no name for a profile: '../x'"),
            (("--config", "/nonexistent"), "No such file"),
            (("--theme", "nope"), "invalid choice: 'nope'"),
            (("send",), "required: to"),
            (("sned", "#ops"), "Did you mean send?"),
            (("--profile", "bob", "tial", "@bob", "--json"), "Did you mean tail?"),
        ):
            code, said = self.chat(*words)
            self.assertEqual((code, why in said), (2, True), said)
        for text, why in (
            ("theme = 'nope'", "theme: one of dark, light, classic, none"),
            ("colour = 1", "colour: unknown"),
            ("ascii = 1", "ascii: wrong kind of value"),
            ("x = ", "chat.toml: "),
        ):
            config.write_text(text, "utf-8")
            code, said = self.chat("--config", str(config))
            self.assertEqual((code, why in said), (2, True), said)
        self.assertEqual(self.went, [])

    def test_a_broken_file(self) -> None:
        """A profile whose file is no database is said to be so, and left as it is."""
        folder = self.home / "chats" / "default"
        folder.mkdir(parents=True)
        (folder / "chat.db").write_bytes(b"no database at all" * 100)
        code, said = self.chat()
        self.assertEqual((code, "chat.db: file is not a database" in said), (2, True), said)
        self.assertEqual((folder / "chat.db").read_bytes(), b"no database at all" * 100)

    def test_configured(self) -> None:
        """chat.toml says where and how; the command line says it louder."""
        config = self.home / ".config" / "chat" / "chat.toml"
        config.parent.mkdir(parents=True)
        config.write_text("server = 'h:81'\ntheme = 'light'\n", "utf-8")
        self.patch(main.os, "environ", {})
        self.chat()
        self.assertEqual((self.went, self.theme), ([("h", 81)], "light"))
        self.chat("--theme", "none", "h2")
        self.assertEqual((self.went[-1], self.theme), (("h2", 8000), "none"))


class FirstPromptTests(SynchronousTestCase):
    """The first prompt stands there in 300 ms, so it waits for little."""

    def test_what_it_waits_for(self) -> None:
        """Until the screen stands there neither Twisted nor what decodes pictures or seals messages is imported."""
        told = """
import asyncio, sys
from pathlib import Path
from types import SimpleNamespace
from client import main, profile
from client.chat import Chat
from client.store import Store
from client.terminal import Terminal
from client.timers import Timers
held = profile.Profile("bench", Path(sys.argv[1]))
store = Store(held.database)
store.unlock(*profile.unlock(held, store.wrap, None))
store.put(token="0" * 64, me=["bob", 2], current=7, rooms=[[7, "#ops", "group", "member", True, 0]])
options = main._parser([]).parse_args([])
loop = asyncio.new_event_loop()
face = Terminal(options, store, loop)
chat = face.chat = Chat(store, face, Timers(loop), None, "here:1")
chat.start()
face._message(), face._status()
print(*sorted({"twisted", "vodozemac", "PIL", "OpenSSL", "cryptography", "automat", "segno"} & set(sys.modules)))
"""
        done = subprocess.run(
            [sys.executable, "-c", told, str(Path(self.mktemp()).resolve())],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
            timeout=60,
        )
        self.assertEqual((done.stdout.strip(), done.returncode), ("", 0), done.stderr)


class DocumentTests(SynchronousTestCase):
    """docs/client.md says what there is."""

    def setUp(self) -> None:
        self.text = DOCUMENT.read_text("utf-8")

    def test_settings(self) -> None:
        """Every setting of chat.toml, and every option, is there."""
        row = next(line for line in self.text.splitlines() if "chat.toml`" in line and line.startswith("|"))
        self.assertEqual({name.split()[0] for name in re.findall(r"`([a-z]+[^`]*)`", row)}, set(main.CONFIG))
        for words in ([], *([mode] for mode in main.MODES)):
            for action in main._parser(words)._actions:
                for option in action.option_strings:
                    if option.startswith("--") and option != "--help":
                        self.assertIn(option, self.text, words)

    def test_exit_codes(self) -> None:
        """The exit codes are those of the modes, and of the start."""
        listed = [int(code) for code in re.findall(r"(?m)^\| (\d) \|", self.text)]
        self.assertEqual(listed, list(range(8)))
        codes = (script.DONE, script.NOT_SEEN, script.USAGE, script.QUEUED, script.REFUSED, script.LOGIN)
        self.assertEqual((*codes, script.IN_USE, script.UNREACHABLE), tuple(range(8)))
        self.assertEqual((main.USAGE, main.LOGIN, main.IN_USE), (script.USAGE, script.LOGIN, script.IN_USE))

    def test_commands_of_its_own(self) -> None:
        """Every command that only `chat` has is there."""
        for row in commands.LOCAL:
            self.assertIn(f"/{row['do']}", self.text)
