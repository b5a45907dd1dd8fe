"""`chatctl`: the command line, what it prints, and with which status it ends.

The rule: one line says what was done, on stdout; one line says why not, on stderr. With --json both are an object.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sqlite3
import string
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from chatd import __version__, codes, commands, names, passwords  # noqa: F401  (the table of commands fills)
from chatd.blobs import FOLDER
from chatd.command import find_user
from chatd.commands.talk import SHOWN
from chatd.config import Config, ConfigError, load
from chatd.ctl import backup
from chatd.ctl.acts import find_room
from chatd.ctl.backup import BadBackup
from chatd.ctl.reach import PATIENCE, Reach, Silent, now_ms
from chatd.errors import Refusal
from chatd.model import Event
from chatd.passwords import Policy
from chatd.store import check
from chatd.store.alone import Alone
from chatd.store.migrate import TooNew, migrate
from chatd.store.sqlite import heals
from chatd.texts import chatctl as lines
from chatd.texts import refusal
from chatd.texts.keeping import FORMATS, exported

DONE: Final = 0
REFUSED: Final = 1
"""It was not done, or something is wrong."""
USAGE: Final = 2
STOPPED: Final = 3
"""`status`: nothing runs."""
BUSY: Final = 4
"""Not now: try again."""

INTERRUPTED: Final = 130
"""Ctrl-C: as shells have it."""

EPILOG: Final = """exit status:
  0  done
  1  refused; check, verify: something is wrong
  2  that is no command, or the configuration is wrong
  3  status: nothing runs
  4  not now: the server does not answer, or the database or the disk takes nothing

A running server is asked over run/node-N.ctl in the data folder, which only its owner may use; where none runs the
work is done on the file."""
DAY_MS: Final = 86_400_000
PAGE: Final = 5_000


class Problem(Exception):
    """Why something is not done. `status`: how the program ends."""

    def __init__(self, status: int, name: str, /, **fields: Any) -> None:
        super().__init__(name)
        self.status = status
        self.line = lines.problem(name, fields)


# -- the command line -------------------------------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    """Everything that can be typed."""
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--data", "-d", metavar="DIR", help="the server's folder (else of the configuration)")
    common.add_argument("--config", "-c", metavar="FILE", help="the server's configuration")
    common.add_argument("--json", action="store_true", help="print an object instead of a line")
    common.add_argument("--wait", metavar="S", type=_positive, help="seconds a server may take to answer  [10]")
    top = argparse.ArgumentParser(
        prog="chatctl",
        description="Look after a chatd server.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common],
    )
    top.add_argument("--version", action="version", version=f"chatd {__version__}")
    verbs = top.add_subparsers(dest="verb", metavar="COMMAND", required=True)

    def verb(name: str, what: str, do: Callable[[Any], int], into: Any = verbs) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = into.add_parser(name, help=what, description=what, parents=[common])
        made.set_defaults(do=do)
        return made

    verb("status", "Does it run, and how much is there of everything?", do_status)
    verb("initdb", "Make the database, or bring it up to date. Again: changes nothing.", do_initdb)
    made = verb("check", "Is everything sound: file, references, log, memberships, files? Changes nothing.", do_check)
    made.add_argument("--deep", action="store_true", help="read every byte of every file, too")

    user = verbs.add_parser("user", help="Accounts.").add_subparsers(dest="what", metavar="WHAT", required=True)
    verb("list", "Everybody.", do_user_list, user)
    made = verb("add", "A new account. Its password is made up and shown, or read.", do_user_add, user)
    _named(made, password=True)
    made = verb("reset-password", "Another password; their sessions end.", do_user_reset, user)
    _named(made, password=True)
    made.add_argument("--no-second-factor", action="store_true", help="switch the second factor off, too")
    _named(verb("disable", "Nobody logs in as this one until enabled; their sessions end.", do_user_disable, user))
    _named(verb("enable", "They may log in again.", do_user_enable, user))
    made = verb("delete", "Delete an account for ever. What was written stays, without the name.", do_user_delete, user)
    _named(made)
    made.add_argument("--erase", action="store_true", help="blank what they wrote, too")
    made.add_argument("--yes", "-y", action="store_true", help="do not ask")

    made = verb("invite", "Invite somebody to register, where that takes an invitation.", do_invite)
    made.add_argument("--uses", type=_positive, default=1, help="how many may use it  [default: 1]")
    made.add_argument("--days", type=_positive, default=7, help="how long it holds  [default: 7]")
    made.add_argument("--note", default="", help="for whom")
    made.add_argument("--list", action="store_true", help="those that hold")
    made.add_argument("--revoke", type=_positive, metavar="N", help="let number N hold no more")

    made = verb("backup", "Copy everything into one file, while the server runs or not.", do_backup)
    made.add_argument("file", type=Path, help="the new file; .gz: compressed")
    made.add_argument("--verify", action="store_true", help="restore it into a temporary place and compare")
    made.add_argument("--anyway", action="store_true", help="make one though bytes of files are lost")
    made = verb("verify", "Restore a backup into a temporary place and compare with what it was made of.", do_verify)
    made.add_argument("file", type=Path)
    made = verb("export", "Write what somebody may hear of a room to a file.", do_export)
    made.add_argument("name", help="whose room it is")
    made.add_argument("room", help="#group, or @person for a conversation of two")
    made.add_argument("file", type=Path, help=f"the new file; ends with {', '.join(f'.{each}' for each in FORMATS)}")
    made = verb("restore", "Make an empty folder what a backup holds.", do_restore)
    made.add_argument("file", type=Path)
    return top


def _named(made: argparse.ArgumentParser, *, password: bool = False) -> None:
    made.add_argument("name")
    if password:
        made.add_argument("--password-stdin", action="store_true", help="read the password, one line, from stdin")


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text)):
        raise argparse.ArgumentTypeError(f"{text} is no number above 0")
    return int(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says; the exit status."""
    args = parser().parse_args(argv)
    for name in ("data", "config", "json", "wait"):
        setattr(args, name, getattr(args, name, None))
    try:
        args.loaded = load(args.config, os.environ, {"data": args.data})
        status: int = args.do(args)
    except ConfigError as error:
        return _complain(args, USAGE, str(error))
    except Problem as problem:
        return _complain(args, problem.status, problem.line)
    except Refusal as error:
        text = refusal(error.code, error.fields)[0]
        return _complain(args, BUSY if error.code in ("BUSY", "DRAINING") else REFUSED, text, error.code)
    except KeyboardInterrupt:
        return _complain(args, INTERRUPTED, lines.problem("interrupted", {}))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except Exception as error:
        known = _problem(args, error)
        if known is None:
            raise
        return _complain(args, known.status, known.line)
    finally:
        if os.geteuid() == 0 and hasattr(args, "loaded"):
            _give_back(args.loaded.data)
    return status


def _give_back(data: Path) -> None:
    """What root has made in somebody's data folder is theirs: else their server could not start on it."""
    if not data.is_dir() or not (owner := data.stat()).st_uid:
        return
    for path in (
        path for pattern in ("*", "log/*", "run/*", f"{FOLDER}/*", f"{FOLDER}/*/*") for path in data.glob(pattern)
    ):
        if not path.lstat().st_uid:
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _problem(args: Any, error: Exception) -> Problem | None:
    """What an error of the machine means; None: nobody has foreseen it."""
    data = args.loaded.data
    if isinstance(error, Silent):
        return Problem(BUSY, "silent", node=error)
    if isinstance(error, TooNew):
        return Problem(REFUSED, "too_new", why=error)
    if heals(error):
        return Problem(BUSY, "busy", why=str(error) or "another process writes")
    if isinstance(error, PermissionError):
        return Problem(REFUSED, "not_allowed", data=data, why=error.strerror)
    if isinstance(error, FileNotFoundError) and str(data) in str(error):
        return Problem(REFUSED, "no_data", data=data)
    if isinstance(error, OSError):
        return Problem(REFUSED, "no_file", file=error.filename or data, why=error.strerror or error)
    if isinstance(error, sqlite3.DatabaseError):
        return Problem(REFUSED, "broken", why=error)
    return None


def _complain(args: Any, status: int, line: str, code: str = "") -> int:
    if args.json:
        print(json.dumps({"error": line} | ({"code": code} if code else {})), flush=True)
    else:
        print(f"chatctl: {line}", file=sys.stderr, flush=True)
    return status


def _say(args: Any, name: str, fields: dict[str, Any], status: int = DONE) -> int:
    """The outcome."""
    if args.json:
        print(json.dumps(fields, default=str), flush=True)
    else:
        print("\n".join(lines.outcome(name, fields)), flush=True)
    return status


# -- commands ---------------------------------------------------------------------------------------------------------


def _reach(args: Any) -> Reach:
    return Reach(args.loaded, args.wait or PATIENCE)


def do_status(args: Any) -> int:
    """Does it run?"""
    reach = _reach(args)
    running = reach.facts()
    alive = [node for node in running if not node.get("silent")]
    fields = reach.ask("status") if alive or not running else _look(args.loaded)
    return _say(args, "status", {**fields, "running": running}, DONE if alive else BUSY if running else STOPPED)


def _look(config: Config) -> dict[str, Any]:
    """How much there is, read from the file beside instances that do not answer."""
    with Alone(config.data, now_ms) as file:
        return file.read(lambda tx: {**tx.figures(), "online": tx.online_count(), "nodes": tx.nodes()})


def do_initdb(args: Any) -> int:
    """Make the database, or bring it up to date."""
    data: Path = args.loaded.data
    for folder in (data, data / "run", data / "log"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    migrate(data)
    return _say(args, "initdb", _look(args.loaded))


def do_check(args: Any) -> int:
    """Is everything sound?"""
    with Alone(args.loaded.data, now_ms) as file:
        faults = [{"kind": fault.kind, **fault.fields} for fault in check.check(file.connection)]
        figures: dict[str, Any] = {"users": 0, "groups": 0, "seq": 0}
        if not any(fault["kind"] == "integrity" for fault in faults):
            figures = file.read(lambda tx: tx.figures())
            blobs, files = backup.check_files(args.loaded.data, file.connection, deep=args.deep)
            faults += blobs
            figures["files"] = files
    return _found(args, "check", figures, faults)


def _found(args: Any, name: str, fields: dict[str, Any], faults: list[dict[str, Any]]) -> int:
    if not args.json:
        for line in lines.listed_faults(faults):
            print(line)
    return _say(args, name, {**fields, "faults": faults}, REFUSED if faults else DONE)


def _ask(args: Any, act: str, **fields: Any) -> dict[str, Any]:
    return _reach(args).ask(act, **fields)


def do_user_list(args: Any) -> int:
    """Everybody."""
    return _say(args, "user.list", _ask(args, "user.list"))


def do_user_add(args: Any) -> int:
    """A new account."""
    made, hashed = _password(args)
    return _say(args, "user.add", _ask(args, "user.add", name=args.name, password=hashed) | made)


def do_user_reset(args: Any) -> int:
    """Another password."""
    made, hashed = _password(args)
    factor = args.no_second_factor
    result = _ask(args, "user.reset-password", name=args.name, password=hashed, factor=factor)
    return _say(args, "user.reset-password", result | made)


def _password(args: Any) -> tuple[dict[str, str], str]:
    """A password, to be shown where it was made up here, and its hash, which alone leaves this process."""
    config: Config = args.loaded
    policy = Policy(
        length=config.passwords.length,
        capital=config.passwords.capital,
        number=config.passwords.number,
        common=config.passwords.common,
    )
    made = {}
    if args.password_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
        if unmet := passwords.unmet(policy, password, _folded(args.name)):
            raise Refusal("BAD_PASSWORD", unmet=list(unmet), length=policy.length)
    else:
        made["password"] = password = _new_password(policy, args.name)
    return made, passwords.hash(password, config.accounts.bcrypt_cost).decode()


def _folded(name: str) -> str:
    return names.fold_account(name.removeprefix("@"))


def _new_password(policy: Policy, name: str) -> str:
    """One that satisfies the policy and can be read out."""
    letters = "".join(set(string.ascii_letters + string.digits) - set("0O1lI"))
    while True:
        parts = ["".join(secrets.choice(letters) for _ in range(4)) for _ in range(max(4, -(-policy.length // 5)))]
        password = "-".join(parts)
        if not passwords.unmet(policy, password, _folded(name)):
            return password


def do_user_disable(args: Any) -> int:
    """Nobody logs in as this one."""
    return _say(args, "user.disable", _ask(args, "user.disable", name=args.name))


def do_user_enable(args: Any) -> int:
    """They may log in again."""
    return _say(args, "user.enable", _ask(args, "user.enable", name=args.name))


def do_user_delete(args: Any) -> int:
    """Delete an account."""
    if not args.yes:
        if not sys.stdin.isatty():
            raise Problem(USAGE, "confirm", name=args.name)
        print(lines.question(args.name), end="", flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            return _say(args, "not_done", {}, REFUSED)
    return _say(args, "user.delete", _ask(args, "user.delete", name=args.name, erase=args.erase))


def do_invite(args: Any) -> int:
    """Invitations."""
    if args.list:
        return _say(args, "invite.list", _ask(args, "invite.list"))
    if args.revoke is not None:
        revoked = _ask(args, "invite.revoke", number=args.revoke)
        return _say(args, "invite.revoke", revoked, DONE if revoked["changed"] else REFUSED)
    code = codes.new_code()
    until = now_ms() + args.days * DAY_MS
    made = _ask(args, "invite.add", code=codes.hash_code(code), uses=args.uses, until=until, note=args.note)
    return _say(args, "invite.add", made | {"code": code})


def do_backup(args: Any) -> int:
    """Copy everything into one file."""
    try:
        held = backup.make(args.loaded.data, args.file, now_ms(), anyway=args.anyway)
    except BadBackup as error:
        raise Problem(REFUSED, "broken", why=error) from None
    _reach(args).note("backup", str(args.file))
    if not args.verify:
        return _say(args, "backup", held)
    return _verify(args)


def do_verify(args: Any) -> int:
    """Would it restore?"""
    return _verify(args)


def _verify(args: Any) -> int:
    try:
        held, faults = backup.verify(args.file)
    except BadBackup as error:
        raise Problem(REFUSED, "no_backup", file=args.file, why=error) from None
    fields = {**held, "file": str(args.file)}
    if not args.json:
        for line in lines.listed_faults(faults):
            print(line)
    return _say(args, "verify", fields | {"faults": faults if args.json else len(faults)}, REFUSED if faults else DONE)


def do_export(args: Any) -> int:
    """What somebody may hear of a room."""
    form = args.file.suffix.removeprefix(".")
    if form not in FORMATS:
        raise Problem(USAGE, "form", file=args.file)
    with Alone(args.loaded.data, now_ms) as file:
        who = file.read(lambda tx: find_user(tx, args.name))
        room = file.read(lambda tx: find_room(tx, who.id, args.room))
        with open(os.open(args.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
            count = 0
            for line in exported(_heard(file, who.id, room.id), room.name, form):
                out.write(f"{line}\n")
                count += 1
    _reach(args).note("export", f"{room.name} of {who.name}")
    return _say(args, "export", {"lines": count, "room": room.name, "file": str(args.file)})


def _heard(file: Alone, account: int, room: int) -> Iterator[Event]:
    after = 0
    while True:
        page = file.read(
            lambda tx, start=after: tx.stretch(account, room, PAGE, newest=False, seqs=(start, None), kinds=SHOWN)  # type: ignore[misc]
        )
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1].seq


def do_restore(args: Any) -> int:
    """Make an empty folder what a backup holds."""
    reach = _reach(args)
    if reach.is_running():
        raise Problem(REFUSED, "running", data=reach.data)
    try:
        held = backup.restore(args.file, reach.data)
    except BadBackup as error:
        raise Problem(REFUSED, "no_backup", file=args.file, why=error) from None
    except FileExistsError:
        raise Problem(REFUSED, "not_empty", data=reach.data) from None
    reach.tell("restore", str(args.file))
    return _say(args, "restore", {**held, "data": str(reach.data)})


if __name__ == "__main__":
    sys.exit(main())
