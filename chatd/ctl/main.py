"""`chatctl`: the command line, what it prints, and with which status it ends.

The rule: one line says what was done, on stdout; one line says why not, on stderr. With --json both are an object.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from chatd import __version__, commands  # noqa: F401  (the table of commands fills)
from chatd.blobs import FOLDER
from chatd.config import ConfigError, load
from chatd.ctl import does
from chatd.ctl.does import BUSY, DONE, INTERRUPTED, REFUSED, USAGE, Problem
from chatd.ctl.reach import Silent
from chatd.errors import Refusal
from chatd.store.migrate import TooNew
from chatd.store.sqlite import heals
from chatd.texts import chatctl as lines
from chatd.texts import refusal
from chatd.texts.keeping import FORMATS

EPILOG: Final = """exit status:
  0  done
  1  refused; check, verify: something is wrong
  2  that is no command, or the configuration is wrong
  3  status: nothing runs
  4  not now: the server does not answer, or the database or the disk takes nothing

A running server is asked over run/node-N.ctl in the data folder, which only its owner may use; where none runs the
work is done on the file."""


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

    verb("status", "Does it run, and how much is there of everything?", does.do_status)
    verb("initdb", "Make the database, or bring it up to date. Again: changes nothing.", does.do_initdb)
    made = verb(
        "check", "Is everything sound: file, references, log, memberships, files? Changes nothing.", does.do_check
    )
    made.add_argument("--deep", action="store_true", help="read every byte of every file, too")

    user = verbs.add_parser("user", help="Accounts.").add_subparsers(dest="what", metavar="WHAT", required=True)
    verb("list", "Everybody.", does.do_user_list, user)
    made = verb("add", "A new account. Its password is made up and shown, or read.", does.do_user_add, user)
    _named(made, password=True)
    made = verb("reset-password", "Another password; their sessions end.", does.do_user_reset, user)
    _named(made, password=True)
    made.add_argument("--no-second-factor", action="store_true", help="switch the second factor off, too")
    _named(verb("disable", "Nobody logs in as this one until enabled; their sessions end.", does.do_user_disable, user))
    _named(verb("enable", "They may log in again.", does.do_user_enable, user))
    made = verb(
        "delete", "Delete an account for ever. What was written stays, without the name.", does.do_user_delete, user
    )
    _named(made)
    made.add_argument("--erase", action="store_true", help="blank what they wrote, too")
    made.add_argument("--yes", "-y", action="store_true", help="do not ask")

    made = verb("invite", "Invite somebody to register, where that takes an invitation.", does.do_invite)
    made.add_argument("--uses", type=_positive, default=1, help="how many may use it  [default: 1]")
    made.add_argument("--days", type=_positive, default=7, help="how long it holds  [default: 7]")
    made.add_argument("--note", default="", help="for whom")
    made.add_argument("--list", action="store_true", help="those that hold")
    made.add_argument("--revoke", type=_positive, metavar="N", help="let number N hold no more")

    made = verb("backup", "Copy everything into one file, while the server runs or not.", does.do_backup)
    made.add_argument("file", type=Path, help="the new file; .gz: compressed")
    made.add_argument("--verify", action="store_true", help="restore it into a temporary place and compare")
    made.add_argument("--anyway", action="store_true", help="make one though bytes of files are lost")
    made = verb(
        "verify", "Restore a backup into a temporary place and compare with what it was made of.", does.do_verify
    )
    made.add_argument("file", type=Path)
    made = verb("export", "Write what somebody may hear of a room to a file.", does.do_export)
    made.add_argument("name", help="whose room it is")
    made.add_argument("room", help="#group, or @person for a conversation of two")
    made.add_argument("file", type=Path, help=f"the new file; ends with {', '.join(f'.{each}' for each in FORMATS)}")
    made = verb("restore", "Make an empty folder what a backup holds.", does.do_restore)
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
        told = refusal(error.code, error.fields)
        text = "\n".join(line for line in told if not line.startswith("/"))  # which is typed in a chat, not in a shell
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


if __name__ == "__main__":
    sys.exit(main())
