"""What can be known of running servers from outside: which process holds which lock, and what they left on disk.

The rule: nothing here asks the server. The kernel says who holds a lock, SQLite says what is stored.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from tests.chaos.checker import Fault, Line, Span, check
from tests.chaos.clients import Talker

WAL_WRITE_LOCK: Final = 120
"""The byte of the -shm file whose lock is SQLite's right to write (https://www.sqlite.org/walformat.html, 2.3.1)."""


def locks(path: Path) -> list[tuple[str, int, int, int]]:
    """The exclusive locks that processes hold on this file: (FLOCK or POSIX, pid, first byte, last byte)."""
    inode = f":{path.stat().st_ino}"
    found = []
    for line in Path("/proc/locks").read_text().splitlines():
        fields = line.split()
        if fields[1] != "->" and fields[3] == "WRITE" and fields[5].endswith(inode):
            last = 2**63 if fields[7] == "EOF" else int(fields[7])
            found.append((fields[1], int(fields[4]), int(fields[6]), last))
    return found


def is_committing(data: Path, pid: int) -> bool:
    """Whether this process holds SQLite's write lock: it is between BEGIN IMMEDIATE and the end of COMMIT."""
    held = locks(data / "chatd.sqlite-shm")
    return any(owner == pid and first <= WAL_WRITE_LOCK <= last for _, owner, first, last in held)


def is_frozen(pid: int) -> bool:
    """Whether every thread of this process has stopped."""
    states = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            states.append((task / "stat").read_text().rpartition(")")[2].split()[0])
        except OSError:
            continue
    return all(state in "tTZX" for state in states)


def node_pids(data: Path) -> dict[int, int]:
    """The instances that serve this folder: node number and process."""
    found = {}
    for path in (data / "run").glob("node-*.lock"):
        for kind, pid, _, _ in locks(path):
            if kind == "FLOCK":
                found[int(path.stem.partition("-")[2])] = pid
    return found


def stored(data: Path) -> tuple[list[Line], list[Span]]:
    """The log, and who was in which room, as they stand in the database."""
    with closing(sqlite3.connect(data / "chatd.sqlite")) as connection:
        log = connection.execute("SELECT seq, room, author, kind, mid, text FROM event ORDER BY rowid").fetchall()
        spans = connection.execute("SELECT account, room, since, until FROM member").fetchall()
    return [Line(*row) for row in log], [Span(*row) for row in spans]


def sound(data: Path) -> list[str]:
    """What SQLite finds wrong with the database, and the tracebacks in the servers' logs."""
    with closing(sqlite3.connect(data / "chatd.sqlite")) as connection:
        wrong = [row[0] for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
        wrong += [f"foreign key: {row}" for row in connection.execute("PRAGMA foreign_key_check")]
    for path in sorted((data / "log").iterdir()):
        text = path.read_text("utf-8", "replace")
        if "Traceback" in text:
            start = text.index("Traceback")
            wrong.append(f"{path.name}: {text[max(0, start - 200) : start + 2000]}")
    return wrong


def examine(data: Path, talkers: Sequence[Talker]) -> list[Fault | str]:
    """Everything that is wrong after a run: with what these clients saw, with the database, with the logs."""
    log, spans = stored(data)
    surprises: Iterable[str] = (surprise for talker in talkers for surprise in talker.surprises)
    return [*check([talker.record for talker in talkers], log, spans), *surprises, *sound(data)]
