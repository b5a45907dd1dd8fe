"""`chat`: the command line.

The rule: nothing is imported before it is needed, since the first prompt is to stand there in 300 ms.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from client import profile as profiles
from client import sentences
from client.store import Store, TooNew
from client.themes import THEMES

DEFAULT: Final = ("localhost", 8000)
HERE: Final = ("localhost", "127.0.0.1", "::1")
MODES: Final = {
    "send": "Send one message: 0 stored, 3 queued, 4 refused.",
    "tail": "Print what is said in a room.",
    "wait": "Wait for a message: 0 it came, 1 not.",
    "whoami": "Print who is logged in with this profile.",
    "get": "Fetch a file by its number; nothing is written over. Its path is printed.",
}
CONFIG: Final = {
    "server": str,
    "tls": bool,
    "ca": str,
    "profile": str,
    "theme": str,
    "ascii": bool,
    "plain": bool,
    "typing": bool,
}
IN_USE, LOGIN, USAGE = 6, 5, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run `chat`; its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    options = _parser(words).parse_intermixed_args(words)
    try:
        _configure(options)
        profile = profiles.Profile(options.profile)
    except profiles.InUse:
        print(sentences.IN_USE.format(name=options.profile), file=sys.stderr)
        return IN_USE
    except (ValueError, OSError) as error:
        print(f"chat: {error}", file=sys.stderr)
        return USAGE
    try:
        return _with(options, profile)
    finally:
        profile.release()


def _with(options: argparse.Namespace, profile: profiles.Profile) -> int:
    """Run with this profile, which is ours; the exit code."""
    try:
        store = Store(profile.database)
    except TooNew:
        print("chat: this profile was written by a newer chat.", file=sys.stderr)
        return USAGE
    except sqlite3.DatabaseError as error:
        print(f"chat: {profile.database}: {error}", file=sys.stderr)
        return USAGE
    try:
        try:
            unlocked = _unlock(options, profile, store)
        except (EOFError, KeyboardInterrupt):
            print(f"\n{sentences.NO_PASSPHRASE}", file=sys.stderr)
            return LOGIN
        if not unlocked:
            print(sentences.LOCKED.format(name=options.profile), file=sys.stderr)
            return LOGIN
        where = _where(options, store)
        if where is None:
            return USAGE
        if options.pin is not None:
            store.put(pin=options.pin)
        return _run(options, store, *where)
    finally:
        store.close()


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """What understands these words, in any order."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--profile", default=None, help="another person, another server: one profile each")
    common.add_argument("--config", type=Path, help="a chat.toml instead of ~/.config/chat/chat.toml")
    common.add_argument("--server", metavar="HOST[:PORT]", default=None, help="where; else as the last time")
    common.add_argument("--tls", action="store_true", default=None, help="TLS to this machine, too")
    common.add_argument("--ca", metavar="FILE", default=None, help="PEM: who signs the server's certificate")
    common.add_argument("--pin", metavar="SHA256", default=None, help="the server's certificate, from now on")
    others = [word for word in common.parse_known_args(words)[1] if not word.startswith("-")]
    mode = next((word for word in others if word in MODES), None)
    if mode is None:
        parser = argparse.ArgumentParser(
            prog="chat", parents=[common], description="The terminal client of chatd. Modes: " + ", ".join(MODES) + "."
        )
        parser.add_argument("host", nargs="?")
        parser.add_argument("port", nargs="?", type=int)
        parser.add_argument("--plain", action="store_true", default=None, help="line by line: screen readers, pipes")
        parser.add_argument("--ascii", action="store_true", default=None, help="ASCII only")
        parser.add_argument("--theme", default=None, choices=THEMES, help="how it looks")
        parser.add_argument("--moved", action="store_true", help="the server of this profile is found at HOST now")
        parser.add_argument("--passphrase", action="store_true", help="protect this profile by a passphrase")
        parser.set_defaults(mode=None, typing=None)
        if len(others) > 1 and not others[1].isdecimal() and (near := get_close_matches(others[0], MODES, 1)):
            parser.error(f"there is no {others[0]}. Did you mean {near[0]}?")
        return parser
    parser = argparse.ArgumentParser(prog=f"chat {mode}", parents=[common], description=MODES[mode])
    add = parser.add_argument
    add("mode", metavar=mode, choices=[mode], help=argparse.SUPPRESS)
    if mode == "send":
        add("to", help="#room or @person")
        add("text", nargs="?", help="the text; - or nothing reads stdin")
        add("--file", metavar="PATH", help="send this file; the text, if any, is its caption")
        add("--id", metavar="KEY", help="the same KEY is the same message: sent twice, it is there once")
        add("--wait", type=float, default=10.0, metavar="S", help="seconds until it is left queued (10)")
    elif mode in ("tail", "wait"):
        add("room", help="#room or @person")
        add("--json", action="store_true", help="events as they come, one object a line")
        add("--since", metavar="AGE|SEQ", help="from 30m, 2h, 3d ago, or after the event of this seq")
        if mode == "wait":
            add("--match", required=True, metavar="RE", help="a regular expression")
            add("--timeout", type=float, metavar="S", help="seconds; without: for ever")
    elif mode == "whoami":
        add("--json", action="store_true")
        add("--wait", type=float, default=10.0, metavar="S")
    else:
        add("file")
        add("folder", nargs="?", default=".")
        add("--wait", type=float, default=10.0, metavar="S", help="seconds without a byte until it ends (10)")
    return parser


def _configure(options: argparse.Namespace) -> None:
    """Fill in what the command line has left open, from the configuration and the environment.

    @raise ValueError: the configuration, or an option, has a mistake.
    @raise OSError: a file cannot be read.
    """
    path = options.config or Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "chat" / "chat.toml"
    found: dict[str, Any] = {}
    if options.config is not None or path.exists():
        import tomllib

        try:
            found = tomllib.loads(path.read_text("utf-8"))
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{path}: {error}") from None
    for name, value in found.items():
        if name not in CONFIG or not isinstance(value, CONFIG[name]):
            raise ValueError(f"{path}: {name}: {'unknown' if name not in CONFIG else 'wrong kind of value'}")
        if name == "theme" and value not in THEMES:
            raise ValueError(f"{path}: theme: one of {', '.join(THEMES)}")
        if getattr(options, name, None) is None:
            setattr(options, name, value)
    options.profile = options.profile or os.environ.get("CHAT_PROFILE") or "default"
    if options.ca is not None and b"-BEGIN CERTIFICATE-" not in Path(options.ca).read_bytes():
        raise ValueError(f"{options.ca}: no certificate in PEM")
    if options.pin is not None:
        from client.reach import read_pin

        options.pin = read_pin(options.pin)


def _unlock(options: argparse.Namespace, profile: profiles.Profile, store: Store) -> bool:
    """Open the profile; whether the passphrase was right."""
    wrap = store.wrap
    bare = wrap is None or wrap["how"] == "file"
    new = bare and getattr(options, "passphrase", False)
    passphrase = _passphrase(new=new) if new or not bare else None
    try:
        vault, how = profiles.unlock(profile, wrap, None if new and wrap is not None else passphrase)
    except profiles.Locked:
        return False
    if new and passphrase and how["how"] == "file":
        how = vault.wrapped_by_passphrase(passphrase)
    store.unlock(vault, how)
    if how["how"] != "file":
        profile.forget_key()
    elif wrap is None:
        print(sentences.KEY_IN_CLEAR.format(path=profile.path / profiles.KEY), file=sys.stderr)
    return True


def _passphrase(*, new: bool) -> str:
    """What the environment holds, or the person types; a new one twice, since nobody sees it.

    @raise EOFError: there is none.
    """
    from getpass import getpass

    passphrase = os.environ.get("CHAT_PASSPHRASE")
    while passphrase is None:
        typed = getpass("New passphrase: " if new else "Passphrase: ")
        if not new or getpass("Again: ") == typed:
            passphrase = typed
        else:
            print(sentences.DIFFER, file=sys.stderr)
    if not passphrase:
        raise EOFError
    return passphrase


def _where(options: argparse.Namespace, store: Store) -> tuple[str, int] | None:
    """The server: named, or that of the last time. None: the profile belongs to another one, and that was said.

    A session, keys and what was read are of one server: they are neither shown to another one nor forgotten for it.
    """
    last = store.get("where")
    named = getattr(options, "host", None) or options.server
    host, port = _split(named or last) if named or last else DEFAULT
    if named is not None:
        port = getattr(options, "port", None) or port
    if host.count(":") == 1:  # more than one: an IPv6 address
        print(f"chat: there is no port {host.partition(':')[2]}.", file=sys.stderr)
        return None
    if not 0 < port < 1 << 16:
        print(f"chat: there is no port {port:,}.", file=sys.stderr)
        return None
    if last and not _same(_split(last), (host, port)):
        if (store.get("me") or store.outbox()) and not getattr(options, "moved", False):
            typed = host if port == DEFAULT[1] else f"{host} {port}"
            print(sentences.OTHER_SERVER.format(server=last, host=typed), file=sys.stderr)
            return None
        store.put(pin=None)
    return host, port


def _same(one: tuple[str, int], other: tuple[str, int]) -> bool:
    """Whether this is one server by its address; this machine has several names."""
    return one == other or (one[1] == other[1] and one[0] in HERE and other[0] in HERE)


def _split(where: str) -> tuple[str, int]:
    host, colon, port = where.rpartition(":")
    if colon and port.isdecimal() and (":" not in host or host.startswith("[")):
        return host.strip("[]") or DEFAULT[0], int(port)
    return where.strip("[]"), DEFAULT[1]


def _run(options: argparse.Namespace, store: Store, host: str, port: int) -> int:
    if options.mode is None and not options.plain:
        if sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
            from client.terminal import run

            return run(options, store, host, port)
        if sys.stdin.isatty():
            print(sentences.NOT_A_TERMINAL, file=sys.stderr)
    from twisted.internet import reactor

    from client.chat import Chat
    from client.link import Link
    from client.reach import way

    face: Any
    if options.mode is None:
        from client.plain import Plain

        face = Plain(reactor, ascii_only=bool(options.ascii))
    else:
        from client.modes import MODES as modes

        face = modes[options.mode](reactor, options)
    connect = way(reactor, options, store, host, port, lambda: chat)
    chat = Chat(store, face, reactor, lambda chat: Link(reactor, connect, chat), f"{host}:{port}")
    running: Any = reactor
    running.addSystemEventTrigger("before", "shutdown", chat.stop)
    running.callWhenRunning(face.begin, chat)
    running.run()
    return int(face.code)


if __name__ == "__main__":
    sys.exit(main())
