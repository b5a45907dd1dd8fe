"""An upload whose process is killed at each step in turn.

    python -m tests.files.dying FOLDER        FOLDER/0, FOLDER/1 … are what is left; prints how many there are

The rule: nothing is named here that the code does. Every call of the file system in blobs.py and part.py, and every
statement that the database is given, is a step; in folder n the process was killed with SIGKILL before its n-th.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from chatd import blobs, part
from tests.memory import Client, Server

DATA: Final = b"a few bytes, in two pieces" * 1000
DIGEST: Final = hashlib.sha256(DATA).hexdigest()
MID: Final = "019a0000-0000-7000-8000-000000000001"
STEPS: Final = frozenset({"open", "rename", "pwrite", "fsync", "fdatasync", "ftruncate", "unlink", "close"})


class Counted:
    """The module `os`, whose calls are counted."""

    def __init__(self, step: Callable[[], None]) -> None:
        self._step = step

    def __getattr__(self, name: str) -> Any:
        if name in STEPS:
            self._step()
        return getattr(os, name)


def prepare(folder: Path) -> None:
    """Alice is there, and a group."""
    server = Server(folder)
    server.program("alice").call(do="join", room="#ops")
    server.stop()


def upload(alice: Client) -> dict[str, Any]:
    """Alice sends the file, or goes on with it: the last line of the raw connection, or the answer to the call."""
    asked = alice.call(do="upload", room="#ops", size=len(DATA), name="a.txt", digest=DIGEST, mid=MID)
    answer: dict[str, Any] = asked["ok"]
    if "ticket" not in answer:
        return answer
    raw = alice.server.connect()
    raw.send(b"RAW " + answer["ticket"].encode() + b"\n")
    lines = raw.objects()
    start = lines[0]["ok"]["start"]
    half = (start + len(DATA)) // 2
    for piece in (DATA[start:half], DATA[half:]):
        raw.send(piece)
    found: dict[str, Any] = [*lines, *raw.objects()][-1]["ok"]
    return found


def die(folder: Path, at: int) -> None:
    """Upload, and be killed before step `at`."""
    server = Server(folder, durable=True)
    alice = server.resume("alice")
    left = [at]

    def step() -> None:
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1

    blobs.os = part.os = Counted(step)  # type: ignore[assignment]
    server.writer.connection.set_trace_callback(lambda statement: step())
    upload(alice)


def main(folder: Path) -> int:
    """Die at every step; how often that was."""
    prepare(folder / "before")
    at = 0
    while True:
        shutil.copytree(folder / "before", folder / str(at))
        pid = os.fork()
        if not pid:
            try:
                die(folder / str(at), at)
            except BaseException as error:
                print(repr(error), flush=True)
                os._exit(1)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status == 0:
            return at
        if status != -signal.SIGKILL:
            raise SystemExit(f"step {at}: {status}")
        at += 1


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))
