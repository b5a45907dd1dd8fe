"""The examples in the documents: read from Markdown, played against the server in memory, compared.

The rule: an example is what really happens. A fenced block marked `chatd` is played line by line, each document from
its top to its end on one server of its own, so that what one example leaves behind is there in the next:

    alice> /join #ops                  typed by the connection called alice (or by nobody's name: `> /join #ops`)
    alice< Now in #ops (admin).        shown to her; all that a connection is shown must stand there

A connection begins where its name is first met; where that is a `<`, it is silent and sees the door. `(closed)` is
shown when the server ends it, and its name is free again; typing `(cut)` breaks it. A line that begins with a space
goes on with the line above.

`<password>` is the tests' password; a token is shown as `<token>` and sent back as that, a file's ticket as `<ticket>`.
In plain examples times and dates match any, and telnet's bytes are left out, unless the example shows them as `<hide>`
and `<show>`. In json examples `…` stands for whatever comes there. What a client signs or seals is made as it is sent:
`<manifest>`, `<device>` (`<device of bob>`), `<sealed>`, `<envelope>`; it is shown as `…`.

What can be derived from the code (the table of commands, the refusals, the states) stands between two comments with
its name, `<!-- commands -->` … `<!-- /commands -->`, and is derived.

    python -m tests.docs_tools      writes into the documents what really is shown, and what is derived
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from chatd import commands, texts  # noqa: F401  (the table fills)
from chatd.command import TABLE
from chatd.errors import CODES
from chatd.session import TRANSITIONS, State
from chatd.wire.plain import MARKED
from chatd.wire.telnet import HIDE, SHOW
from tests.memory import PASSWORD, Client, Server
from tests.sealing import Keys, stand_in

DOCUMENTS: Final = ("README.md", "docs/protocol.md", "docs/operations.md", "docs/security.md")
ROOT: Final = Path(__file__).resolve().parent.parent
MOMENT: Final = 1_795_269_720_000
"""When the examples happen: 2026-11-21 14:02 UTC."""
WIDTH: Final = 118
CLOSED: Final = "(closed)"
CUT: Final = "(cut)"
ANY: Final = "…"

_FENCE: Final = re.compile(r"^```(\S*)\s*$")
_LINE: Final = re.compile(r"^([a-z]*)([<>])(?: (.*))?$")
_CLOCK: Final = re.compile(r"\b\d\d:\d\d(:\d\d)?\b")
_DATE: Final = re.compile(r"\b20\d\d-\d\d-\d\d\b")
_ELLIPSIS: Final = re.compile(rf"(:\s*)?{ANY}(\s*\}}?)")
_TOKEN: Final = re.compile(r"[0-9a-f]{64}")
_TICKET: Final = re.compile(r"\b[0-9a-f]{32}\b")
_MADE: Final = re.compile(r"<(manifest|device|sealed|envelope)(?: of ([a-z]+))?>")
_BINARY: Final = re.compile(r'"(?=[^"]*[A-Z+/=])[\w+/]{22,}={0,2}"')


class Step(NamedTuple):
    """One line of an example, as it stands in the document: `lines` are its numbers there, the first of them and past
    the last."""

    name: str
    typed: bool
    text: str
    lines: tuple[int, int]


class Turn(NamedTuple):
    """What is typed (None: nothing, somebody has just connected), and all that is shown then, by connection."""

    typed: Step | None
    shown: tuple[Step, ...]


class Example(NamedTuple):
    """One fenced block. `names` are the connections it shows."""

    turns: tuple[Turn, ...]
    names: frozenset[str]
    literal: bool


class Difference(NamedTuple):
    """What a document says is shown to a connection in this turn, and what really is. `at`: where (lines from 0)."""

    at: int
    name: str
    said: tuple[Step, ...]
    shown: tuple[str, ...]

    def __str__(self) -> str:
        said = "\n".join(f"  {step.text}" for step in self.said) or "  (nothing)"
        shown = "\n".join(f"  {line}" for line in self.shown) or "  (nothing)"
        return f"line {self.at + 1}, shown to {self.name or 'it'}:\n{shown}\nthe document has:\n{said}"


def fences(text: str, mark: str) -> Iterator[tuple[int, list[str]]]:
    """The fenced blocks of this mark: where their first line stands (from 0), and their lines."""
    begun: int | None = None
    held: list[str] = []
    for number, line in enumerate(text.split("\n")):
        fence = _FENCE.match(line)
        if fence is None:
            held.append(line)
        elif begun is None:
            begun, held = (number + 1 if fence[1] == mark else -1), []
        else:
            if begun >= 0:
                yield begun, held
            begun = None


def examples(text: str) -> Iterator[Example]:
    """The examples of a document."""
    for first, lines in fences(text, "chatd"):
        steps: list[Step] = []
        for number, line in enumerate(lines, first):
            if line[:1] == " " and steps:
                last = steps[-1]
                steps[-1] = last._replace(text=f"{last.text} {line.strip()}", lines=(last.lines[0], number + 1))
            elif (match := _LINE.match(line)) is not None:
                steps.append(Step(match[1], match[2] == ">", (match[3] or "").rstrip(), (number, number + 1)))
            else:
                raise ValueError(f"line {number + 1} of an example is neither typed nor shown: {line}")
        literal = any(mark in step.text for step in steps for mark in ("<hide>", "<show>"))
        yield Example(tuple(_turns(steps)), frozenset(step.name for step in steps), literal)


def _turns(steps: Iterable[Step]) -> Iterator[Turn]:
    typed: Step | None = None
    shown: list[Step] = []
    for step in steps:
        if step.typed:
            if typed is not None or shown:
                yield Turn(typed, tuple(shown))
            typed, shown = step, []
        else:
            shown.append(step)
    yield Turn(typed, tuple(shown))


class Player:
    """Plays the examples of one document on one server."""

    def __init__(self, server: Server) -> None:
        self._server = server
        server.moment = MOMENT
        self._clients: dict[str, Client] = {}
        self._tokens: dict[str, str] = {}
        self._ticket = ""
        self._keys: dict[str, Keys] = {}

    def _made(self, match: re.Match[str], name: str) -> str:
        """What a client signs or seals."""
        name = match[2] or name
        if name not in self._keys:
            self._keys[name] = Keys(self._server.sql("SELECT id FROM account WHERE name = ?", name)[0][0])
        return stand_in(match[1], self._keys[name])

    def play(self, example: Example) -> Iterator[Difference]:
        """Where the server does not do what the example says."""
        for turn in example.turns:
            for name in {step.name for step in turn.shown} - self._clients.keys():
                if turn.typed is None or turn.typed.name != name:
                    self._clients[name] = self._server.connect()
                    self._server.advance(0.5)
            typed = turn.typed
            if typed is not None:
                client = self._clients.get(typed.name)
                if client is None:
                    client = self._clients[typed.name] = self._server.connect()
                if typed.text == CUT:
                    client.cut()
                    del self._clients[typed.name]
                else:
                    text = typed.text.replace("<password>", PASSWORD).replace(
                        "<token>", self._tokens.get(typed.name, "")
                    )
                    text = _MADE.sub(lambda match, name=typed.name: self._made(match, name), text)  # type: ignore[misc]
                    client.send(text.replace("<ticket>", self._ticket).encode() + b"\n")
            while self._server.instance.watching.waiting:
                self._server.advance(0.1)
            for name in sorted(example.names):
                said = tuple(step for step in turn.shown if step.name == name)
                shown = self._shown(name, example.literal)
                if not alike([step.text for step in said], shown):
                    at = said[0].lines[0] if said else typed.lines[1] if typed else turn.shown[0].lines[0]
                    yield Difference(at, name, said, shown)
        for client in self._clients.values():
            client.read()

    def _shown(self, name: str, literal: bool) -> tuple[str, ...]:
        client = self._clients.get(name)
        if client is None:
            return ()
        data = client.read()
        if literal:
            data = data.replace(HIDE, b"<hide>").replace(SHOW, b"<show>")
        else:
            data = data.replace(SHOW + b"\r\n", b"").replace(HIDE, b"")
        lines = data.decode().replace("\r\n", "\n").split("\n")
        if lines[-1] == "":
            lines.pop()
        if client.closed:
            lines.append(CLOSED)
            del self._clients[name]
        return tuple(self._without_token(name, line.rstrip()) for line in lines)

    def _without_token(self, name: str, line: str) -> str:
        if (found := _TOKEN.search(line)) is not None:
            self._tokens[name] = found[0]
        line = _TOKEN.sub("<token>", line)
        if (found := _TICKET.search(line)) is not None:
            self._ticket = found[0]
        line = _TICKET.sub("<ticket>", line)
        return _BINARY.sub(f'"{ANY}"', line) if line[:1] == "{" else line


def alike(said: Iterable[str], shown: Iterable[str]) -> bool:
    """Whether these lines of a document are those that were shown."""
    said, shown = list(said), list(shown)
    return len(said) == len(shown) and all(map(_same, said, shown))


def _same(said: str, shown: str) -> bool:
    if shown.startswith("{"):
        try:
            return matches(readable(said), json.loads(shown))
        except ValueError:
            return False
    return _timeless(said) == _timeless(shown)


def _timeless(line: str) -> str:
    return _DATE.sub("DATE", _CLOCK.sub("TIME", line))


def readable(text: str) -> Any:
    """A json text in which `…` may stand for a value, for the rest of a list, or for the rest of an object."""
    parts = re.split(r'("(?:[^"\\]|\\.)*")', text)
    parts[::2] = [_ELLIPSIS.sub(_quoted, part) for part in parts[::2]]
    return json.loads("".join(parts))


def _quoted(match: re.Match[str]) -> str:
    value = match[1] or "}" not in match[2]
    return f'{match[1] or ""}"{ANY}"{"" if value else ":0"}{match[2]}'


def matches(said: Any, found: Any) -> bool:
    """Whether a value is what the document says."""
    if said == ANY:
        return True
    if isinstance(said, dict):
        if not isinstance(found, dict):
            return False
        named = said.keys() - {ANY}
        if not (named == found.keys() or (ANY in said and named <= found.keys())):
            return False
        return all(matches(said[key], found[key]) for key in named)
    if isinstance(said, list):
        if not isinstance(found, list):
            return False
        if said[-1:] == [ANY]:
            said, found = said[:-1], found[: len(said) - 1]
        return len(said) == len(found) and all(map(matches, said, found))
    return type(said) is type(found) and bool(said == found)


@contextmanager
def utc() -> Iterator[None]:
    """The server's local time is UTC meanwhile."""
    zone = os.environ.get("TZ")
    os.environ["TZ"] = "UTC"
    time.tzset()
    try:
        yield
    finally:
        if zone is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = zone
        time.tzset()


def differences(path: Path) -> list[Difference]:
    """Where a document does not say what happens."""
    with utc(), tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        try:
            player = Player(server)
            return [found for example in examples(path.read_text("utf-8")) for found in player.play(example)]
        finally:
            server.stop()


def mend(path: Path) -> int:
    """Write into a document what is really shown; how many places were changed."""
    lines: list[str | None] = list(path.read_text("utf-8").split("\n"))
    found = differences(path)
    for difference in reversed(found):
        put = [line for text in difference.shown for line in _wrapped(f"{difference.name}< {text}".rstrip())]
        for step in difference.said:
            lines[step.lines[0] : step.lines[1]] = [None] * (step.lines[1] - step.lines[0])
        lines[difference.at : difference.at] = put
    path.write_text("\n".join(line for line in lines if line is not None), "utf-8")
    return len(found)


def _wrapped(line: str) -> Iterator[str]:
    """A line of json in pieces that fit; other lines as they are."""
    if "< {" in line[:12]:
        while len(line) > WIDTH and (cut := line.rfind(',"', 20, WIDTH) + 1):
            yield line[:cut]
            line = f"  {line[cut:]}"
    yield line


# -- what is derived --------------------------------------------------------------------------------------------------

SAMPLES: Final[dict[str, Any]] = {
    "name": "bob",
    "why": "unknown",
    "free": ["bob2", "bob_"],
    "what": "user",
    "unmet": ["capital", "number"],
    "length": 8,
    "left": 2,
    "own": False,
    "on": True,
    "seconds": 300.0,
    "uri": "otpauth://totp/chatd:bob?secret=…",
    "wait": 40,
    "near": "",
    "room": "#ops",
    "role": "admin",
    "command": "/transfer",
    "at": MOMENT,
    "admins": ["alice"],
    "owner": "alice",
    "size": 9120,
    "limit": 4000,
    "file": 17,
    "usage": "/kick <user> [reason...]",
    "mid": "019a…",
    "head": "…",
    "missing": [],
    "got": 400_000,
    "extra": [],
    "sends": True,
    "ref": "7f3a",
}
"""What the fields of a refusal may hold."""
OTHERWISE: Final[dict[str, dict[str, Any]]] = {
    "NO_USER": {"name": "bbo", "near": "bob"},
    "UNKNOWN_CMD": {"command": "/aprove", "near": "/approve"},
    "BAD_NAME": {"name": "b o b"},
    "LINE_TOO_LONG": {"size": 8192},
    "QUOTA": {"size": 2_100_000, "left": 400_000},
    "FILE_CUT": {"size": 2_100_000},
    "RATE": {"wait": 7},
    "GROUPS_FULL": {"name": "", "limit": 500},
    "OPERATORS_ONLY": {"command": "/stats"},
    "GROUPS_ONLY": {"command": "/topic", "room": "@bob"},
    "LOGGED_IN": {"name": "alice"},
}
"""What they hold where that would be a poor example."""


WHO: Final = {
    "nothing": "anybody",
    "login": "who is logged in",
    "heard": "members, and who was one",
    "member": "members",
    "admin": "admins",
    "owner": "the owner",
    "operator": "operators",
}


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", "<br>")


def _code(text: str) -> str:
    """A usage line within a table."""
    escaped = text.replace("|", "\\|")
    return f"`{escaped}`"


def _commands() -> Iterator[str]:
    """The table of commands, by topic as /help has them."""
    yield "| command | what it does | for |"
    yield "|---|---|---|"
    for topic in texts.TOPICS:
        for entry in TABLE.values():
            if entry.topic == topic:
                names = ", ".join(map(_code, (entry.usage, *(f"/{alias}" for alias in entry.aliases))))
                yield f"| {names} | {_cell(entry.help)} | {WHO[entry.needs.name.lower()]} |"


def _codes() -> Iterator[str]:
    """Every refusal: its fields, and a sentence such as people read."""
    yield "| code | `with` | `text`, and `help` on the next line |"
    yield "|---|---|---|"
    for code, names in CODES.items():
        fields = {name: OTHERWISE.get(code, {}).get(name, SAMPLES[name]) for name in sorted(names)}
        sentence = "\n".join(texts.refusal(code, fields))
        yield f"| `{code}` | {' '.join(f'`{name}`' for name in fields)} | {_cell(sentence)} |"


def _states() -> Iterator[str]:
    """The life of a connection."""
    inputs = list(dict.fromkeys(what for _, what in TRANSITIONS))
    yield f"| | {' | '.join(inputs)} |"
    yield f"|---|{'---|' * len(inputs)}"
    for state in State:
        after = [TRANSITIONS.get((state, what)) for what in inputs]
        yield f"| **{state.value}** | {' | '.join('' if found is None else found.value for found in after)} |"


def _marked() -> Iterator[str]:
    """The old names of commands."""
    yield "| line | means |"
    yield "|---|---|"
    for old, verb in MARKED.items():
        yield f"| {_code(f'@#@{old.upper()}@#@')} | {_code(TABLE[verb].usage)} |"


def _besides() -> Iterator[str]:
    """What commands take that their usage lines do not show."""
    yield "| to | takes, too |"
    yield "|---|---|"
    for entry in TABLE.values():
        if entry.optional:
            yield f"| `{entry.verb}` | {' '.join(map(_code, sorted(entry.optional)))} |"


def _programs() -> Iterator[str]:
    """The commands that have no place in /help."""
    yield "| command | what it does | for |"
    yield "|---|---|---|"
    for entry in TABLE.values():
        if not entry.topic:
            yield f"| {_code(entry.usage)} | {_cell(entry.help)} | {WHO[entry.needs.name.lower()]} |"


def _table(text: str, heading: str) -> list[dict[str, str]]:
    """The first table under a heading: each row by its columns' names."""
    lines = [
        line for line in text.partition(f"## {heading}\n")[2].partition("\n## ")[0].splitlines() if line[:1] == "|"
    ]
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(head, row, strict=True)) for row in rows]


def _speed() -> Iterator[str]:
    """The measurements that most people ask for, out of docs/performance.md."""
    text = (ROOT / "docs" / "performance.md").read_text("utf-8")
    idle = {row["server"]: row["KiB logged in"] for row in _table(text, "Connections")}
    columns = ["messages/s", "deliveries/s", "5 each", "p50 ms", "p99 ms"]
    yield f"| server | {' | '.join(columns)} | KiB a connection |"
    yield f"|---|{'---|' * (len(columns) + 1)}"
    for row in _table(text, "Speed"):
        name = row["server"]
        yield f"| {name} | {' | '.join(row[column] for column in columns)} | {idle.get(name, '')} |"


DERIVED: Final[dict[str, Callable[[], Iterator[str]]]] = {
    "commands": _commands,
    "codes": _codes,
    "states": _states,
    "marked": _marked,
    "besides": _besides,
    "programs": _programs,
    "speed": _speed,
}


def derive(text: str) -> str:
    """A document with what is derived in it as it is now."""

    def put(match: re.Match[str]) -> str:
        body = "\n".join(DERIVED[match[1]]())
        return f"<!-- {match[1]} -->\n{body}\n<!-- /{match[1]} -->"

    with utc():
        return re.sub(r"<!-- ([a-z]+) -->\n.*?<!-- /\1 -->", put, text, flags=re.DOTALL)


if __name__ == "__main__":
    for name in DOCUMENTS:
        path = ROOT / name
        path.write_text(derive(path.read_text("utf-8")), "utf-8")
        print(f"{name}: {mend(path)} examples mended")
