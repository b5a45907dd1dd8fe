"""What each command of chatctl does, once the command line is understood.

The rule: a command does its work, says one line (or one object) and answers with the status in which the program ends.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import sqlite3
import string
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from chatd import codes, names, passwords
from chatd.command import find_user
from chatd.commands.talk import SHOWN
from chatd.config import Config
from chatd.ctl import backup
from chatd.ctl.acts import find_room
from chatd.ctl.backup import BadBackup
from chatd.ctl.reach import PATIENCE, Reach, now_ms
from chatd.errors import Refusal
from chatd.model import Event
from chatd.passwords import Policy
from chatd.store import check
from chatd.store.alone import Alone
from chatd.store.migrate import migrate
from chatd.store.sqlite import FILE
from chatd.texts import chatctl as lines
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

DAY_MS: Final = 86_400_000
PAGE: Final = 5_000


class Problem(Exception):
    """Why something is not done. `status`: how the program ends."""

    def __init__(self, status: int, name: str, /, **fields: Any) -> None:
        super().__init__(name)
        self.status = status
        self.line = lines.problem(name, fields)


def _say(args: Any, name: str, fields: dict[str, Any], status: int = DONE) -> int:
    """The outcome."""
    if args.json:
        print(json.dumps(fields, default=str), flush=True)
    else:
        print("\n".join(lines.outcome(name, fields)), flush=True)
    return status


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
        figures: dict[str, Any] = {"users": 0, "groups": 0, "events": 0}
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
    except (OSError, sqlite3.OperationalError) as error:
        code = getattr(error, "sqlite_errorcode", 0)
        if code == sqlite3.SQLITE_FULL or getattr(error, "errno", 0) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise Problem(BUSY, "no_room", file=args.file) from None
        raise
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
            try:
                for line in exported(_heard(file, who.id, room.id), room.name, form):
                    out.write(f"{line}\n")
                    count += 1
                out.flush()
            except BaseException:
                args.file.unlink()
                raise
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
        held = backup.restore(args.file, reach.data, now_ms())
    except BadBackup as error:
        raise Problem(REFUSED, "no_backup", file=args.file, why=error) from None
    except FileExistsError as error:
        raise Problem(REFUSED, "not_empty", data=reach.data, file=Path(error.filename or FILE).name) from None
    reach.tell("restore", str(args.file))
    return _say(args, "restore", {**held, "data": str(reach.data)})
