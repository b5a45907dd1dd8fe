"""Every option of the daemon: `chatd.toml`, then the environment, then the command line, each over the one before.

The rule: a daemon never starts on a setting it did not understand. An unknown key, a wrong type or a value out of range
is an error that names its file and line, and all of them are reported at once. etc/chatd.toml documents each option
with its default; a test holds the two together.

The environment overrides any option: `CHATD_DATA`, `CHATD_LISTEN` (several, separated by spaces), `CHATD_LOG_JSON`
(true or false), `CHATD_LIMITS_LINES_BURST`; in general CHATD_[TABLE_]KEY. Other variables that begin with CHATD_ mean
nothing here: container platforms set such on their own.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from ipaddress import ip_network
from math import isfinite
from pathlib import Path
from typing import Any, Final, get_type_hints

from chatd import listen
from chatd.limits import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """Who may have one. Each step of `bcrypt_cost` doubles the time of a login; old hashes follow at the next one."""

    registration: str = "open"
    bcrypt_cost: int = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Passwords:
    """What a new password needs: `length` characters, a capital, a number, not one of the most common."""

    length: int = 8
    capital: bool = True
    number: bool = True
    common: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """What `/join` of an unknown group does, and who may enter a new one: "open", "ask" or "invite"."""

    autocreate: bool = True
    default_door: str = "ask"


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """How it presents itself. `motd` is a file, read at start and at SIGHUP; `operators` are accounts by name.
    `reach` is the command by which a shell reaches it, where that cannot be seen from here.
    """

    name: str = "chatd"
    banner: str = ""
    motd: Path | None = None
    operators: tuple[str, ...] = ()
    reach: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Irc:
    """IRC's own: who may come in by NICK and USER alone, the server's password, and who may become an operator."""

    guests: bool = False
    password: str = ""
    oper_name: str = ""
    oper_password: str = ""
    sts_port: int = 0
    sts_days: int = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long, and how many of a room, messages are kept at most; 0: no such bound. Groups may set narrower ones."""

    days: float = 0.0
    messages: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """What is logged, and how much is kept: `files` rotated files of `size` bytes each."""

    json: bool = False
    addresses: bool = True
    files: int = 10
    size: int = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """Where `/healthz` and `/metrics` are served; "": nowhere."""

    listen: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that can be set. `node` 0: this instance chooses its own number."""

    data: Path = Path("chatd-data")
    listen: tuple[str, ...] = ("tcp:8000:interface=127.0.0.1",)
    node: int = 0
    durability: str = "full"
    insecure_plaintext: bool = False
    trusted_proxies: tuple[str, ...] = ("127.0.0.0/8", "::1")
    accounts: Accounts = field(default_factory=Accounts)
    passwords: Passwords = field(default_factory=Passwords)
    groups: Groups = field(default_factory=Groups)
    server: Server = field(default_factory=Server)
    irc: Irc = field(default_factory=Irc)
    retention: Retention = field(default_factory=Retention)
    log: Log = field(default_factory=Log)
    metrics: Metrics = field(default_factory=Metrics)
    limits: Limits = field(default_factory=Limits)


class ConfigError(Exception):
    """The configuration cannot be used. Its text has one line for each of `problems`."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "durability": ("full", "normal"),
    "accounts.registration": ("open", "closed", "invited"),
    "groups.default_door": ("open", "ask", "invite"),
}

# From, to. A number that is not named here is more than 0: no lines, bytes or people are no useful bound.
MOST: Final = 2**40
RANGES: Final[dict[str, tuple[float, float]]] = {
    "node": (0, 999),
    "accounts.bcrypt_cost": (4, 20),
    "passwords.length": (1, 128),
    "irc.sts_port": (0, 65_535),
    "retention.days": (0.0, 36_500.0),
    "retention.messages": (0, MOST),
    "log.files": (1, 1_000),
    "log.size": (10_000, MOST),
    "limits.line_bytes": (512, 2**20),
    "limits.json_line_bytes": (4_096, 2**26),
    "limits.send_buffer_bytes": (4_096, 2**30),
    "limits.ring_bytes": (0, MOST),
    "limits.replay_lines": (0, MOST),
    "limits.presence_members": (0, 100_000),
    "limits.door_after": (0.0, 60.0),
    "limits.idle_seconds": (0.0, MOST),
    "limits.keepalive_seconds": (1, 32_767),
    "limits.waiting_bytes": (8_192, 2**30),
    "limits.bytes_burst": (65_536, MOST),
    "limits.process_bytes": (2**26, MOST),
    "limits.login_wait": (0.0, 86_400.0),
    "limits.login_wait_most": (0.0, 86_400.0),
    "limits.login_forget": (0.0, 86_400.0),
    "limits.drain_seconds": (0.0, 3_600.0),
}

YES: Final = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def load(
    path: Path | str | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
) -> Config:
    """The configuration of the file at `path` (None: the defaults), with the overrides of the environment and of the
    command line, which come by option (`{"log.json": True}`); None there is an option that was not given.

    `ConfigError`: with all that is wrong, in the order of the file.
    """
    problems: list[str] = []
    values: dict[str, object] = {}

    def take(option: str, value: object, where: str) -> None:
        try:
            values[option] = OPTIONS[option].read(value)
        except ValueError as error:
            problems.append(f"{where}: {option} {error}")

    if path is not None:
        text = _text(path)
        lines = dict(reversed([*_lines(text)]))  # the first line of each counts
        found = sorted(_flat(_parse(path, text)), key=lambda entry: _line(lines, entry[0]))
        for option, value in found:
            where = f"{path}:{_line(lines, option)}"
            if option in OPTIONS:
                take(option, value, where)
            else:
                problems.append(f"{where}: {_unknown(option, value)}")
    for option in OPTIONS:
        variable = "CHATD_" + option.replace(".", "_").upper()
        if environ is not None and variable in environ:
            take(option, Typed(environ[variable]), f"environment: {variable}")
    for option, value in (overrides or {}).items():
        if value is None:
            continue
        if option in OPTIONS:
            take(option, Typed(value) if isinstance(value, str) else value, "command line")
        else:
            problems.append(f"command line: {_unknown(option)}")
    if problems:
        raise ConfigError(problems)
    return _build(Config, "", values)


class Typed(str):
    """A value that came as text, from the environment or the command line, to be read as its option's type."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Option:
    """One option: its name (`log.json`), its type and its default."""

    name: str
    kind: Any
    default: object

    def read(self, value: object) -> object:
        """The value as `Config` holds it. ValueError: what it must be, and what it is."""
        if isinstance(value, Typed):
            value = self._from_text(str(value))
        if self.kind is bool:
            if isinstance(value, bool):
                return value
            raise ValueError(f"must be true or false, not {_shown(value)}")
        if self.kind in (int, float):
            return self._number(value)
        if self.kind == tuple[str, ...]:
            return self._list(value)
        if isinstance(value, Path):
            value = str(value)
        if not isinstance(value, str):
            raise ValueError(f"must be a text in quotes, not {_shown(value)}")
        if self.kind == Path | None:
            return Path(value) if value else None
        if self.kind is Path:
            if not value:
                raise ValueError("must name a folder")
            return Path(value)
        return self._word(value)

    def _from_text(self, text: str) -> object:
        try:
            if self.kind is bool:
                return YES.get(text.strip().lower(), text)
            if self.kind is int:
                return int(text)
            if self.kind is float:
                return float(text)
        except ValueError:
            return text
        if self.kind == tuple[str, ...]:
            return text.split()
        return text

    def _number(self, value: object) -> int | float:
        whole = self.kind is int
        least, most = RANGES.get(self.name, (1 if whole else 0.0, MOST))
        want = f"must be a {'whole ' if whole else ''}number from {least:.0f} to {most:.0f}, not {_shown(value)}"
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
            raise ValueError(want)
        if not isfinite(value) or not least <= value <= most:
            raise ValueError(want)
        if value == 0 and self.name not in RANGES:
            raise ValueError(f"must be more than 0, not {_shown(value)}")
        return value if whole else float(value)

    def _list(self, value: object) -> tuple[str, ...]:
        if not isinstance(value, list | tuple) or not all(isinstance(each, str) and each for each in value):
            raise ValueError(f'must be a list of texts, ["…", "…"], not {_shown(value)}')
        if self.name == "listen":
            if not value:
                raise ValueError("must name at least one endpoint")
            for each in value:
                if ":" not in each:
                    raise ValueError(f'must hold endpoints such as "tcp:8000:interface=127.0.0.1", not {_shown(each)}')
                listen.read(each)
        if self.name == "trusted_proxies":
            for each in value:
                try:
                    ip_network(each, strict=False)
                except ValueError:
                    raise ValueError(f"must hold addresses or networks, not {_shown(each)}") from None
        return tuple(value)

    def _word(self, value: str) -> str:
        choices = CHOICES.get(self.name)
        if choices and value not in choices:
            names = ", ".join(f'"{each}"' for each in choices)
            raise ValueError(f"must be one of {names}, not {_shown(value)}")
        if self.name == "metrics.listen" and value:
            listen.read(value.replace("{node}", "1"))
        if self.name == "server.name" and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]{0,62}", value):
            raise ValueError(f"must be a name such as chat.example.org, not {_shown(value)}")
        return value


def _options(record: type, prefix: str) -> Iterator[Option]:
    kinds = get_type_hints(record)
    defaults = record()
    for each in fields(record):
        kind = kinds[each.name]
        if is_dataclass(kind):
            assert isinstance(kind, type)
            yield from _options(kind, f"{prefix}{each.name}.")
        else:
            yield Option(prefix + each.name, kind, getattr(defaults, each.name))


OPTIONS: Final[dict[str, Option]] = {each.name: each for each in _options(Config, "")}
TABLES: Final = tuple(dict.fromkeys(name.partition(".")[0] for name in OPTIONS if "." in name))


def _build(record: type, prefix: str, values: Mapping[str, object]) -> Any:
    kinds = get_type_hints(record)
    made: dict[str, object] = {}
    for each in fields(record):
        name = prefix + each.name
        if is_dataclass(kinds[each.name]):
            made[each.name] = _build(kinds[each.name], f"{name}.", values)
        elif name in values:
            made[each.name] = values[name]
    return record(**made)


def _text(path: Path | str) -> str:
    try:
        return Path(path).read_text("utf-8")
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{path}:{line}: not UTF-8"]) from error


def _parse(path: Path | str, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ConfigError([f"{path}:1: nested too deeply"]) from error
    except ValueError as error:  # a TOMLDecodeError, or a number of thousands of digits
        place = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", str(error))
        line = int(place[1]) if place and place[1] else text.count("\n") + 1
        what = str(error)[: place.start()] if place else str(error)
        raise ConfigError([f"{path}:{line}: {what}"]) from error


def _flat(top: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    for key, value in top.items():
        if key in TABLES and isinstance(value, dict):
            yield from ((f"{key}.{each}", inner) for each, inner in value.items())
        else:
            yield key, value


_KEY = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_TABLE = re.compile(rf"^\s*\[\[?\s*({_KEY}(?:\s*\.\s*{_KEY})*)\s*\]")
_PAIR = re.compile(rf"^\s*({_KEY}(?:\s*\.\s*{_KEY})*)\s*=")


def _lines(text: str) -> Iterator[tuple[str, int]]:
    """Each key and table of a TOML text with its line; tomllib has no positions, so the text is looked through."""
    table = ""
    quote = ""  # the mark of a text of several lines, while inside one
    for number, line in enumerate(text.split("\n"), 1):
        if not quote:
            if head := _TABLE.match(line):
                table = _bare(head[1])
                yield table, number
                table += "."
            elif pair := _PAIR.match(line):
                yield table + _bare(pair[1]), number
        for mark in re.findall(r'"""|' + "'''", line):
            quote = "" if mark == quote else quote or mark


def _bare(key: str) -> str:
    return ".".join(each.strip().strip("\"'") for each in re.findall(_KEY, key))


def _line(lines: Mapping[str, int], option: str) -> int:
    """Where the option stands, or else the nearest table around it."""
    while option not in lines and "." in option:
        option = option.rpartition(".")[0]
    return lines.get(option, 1)


def _unknown(option: str, value: object = None) -> str:
    table, _, key = option.rpartition(".")
    if option in TABLES:
        return f"{option} must be a table: [{option}]"
    if table and table not in TABLES:
        return f"unknown table [{table}].{_meant(table, TABLES)}"
    if not table and isinstance(value, dict):
        return f"unknown table [{key}].{_meant(key, TABLES)}"
    here = [name for home, name in _homes() if home == table]
    elsewhere = {name: home for home, name in _homes()}
    meant = _meant(key, here) or ("" if table or key in elsewhere else _meant(key, TABLES))
    if not meant:
        for near in get_close_matches(key, elsewhere, 1, 0.75):
            home = f"in [{elsewhere[near]}]" if elsewhere[near] else "above the first table"
            meant = f" Did you mean {near} {home}?"
    return f"unknown option {key}{f' in [{table}]' if table else ''}.{meant}"


def _homes() -> Iterator[tuple[str, str]]:
    for option in OPTIONS:
        table, _, key = option.rpartition(".")
        yield table, key


def _meant(word: str, words: Iterable[str]) -> str:
    near = get_close_matches(word, list(words), 1, 0.6)
    return f" Did you mean {near[0]}?" if near else ""


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_shown, value)) + "]"
    if isinstance(value, dict):
        return "a table"
    return str(value)
