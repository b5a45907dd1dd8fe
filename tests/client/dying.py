"""`chat`, which kills itself with SIGKILL at a chosen step.

    python -m tests.client.dying FOLDER STEP --plain --profile alice …     what follows STEP is `chat`'s

The rule: nothing is named here that the code does. A step is a transaction of the profile's database, by the tables and
the kinds of secrets that it writes ("commit peer sent", "commit insert.outbox"), bytes on their way to the server, by
their calls ("send say"), or bytes that came, by their events and by what answers hold ("read envelope say seq"). Each
has a before and an after; STEP is a pattern of one ("before commit *sent", "after send say"), and "-" is none.

In FOLDER there is, of each process, what it did (`steps-…`) and all that it sent (`wire-…`). A line that was accepted,
which is to say that it lies in the outbox on disk, is printed: `accepted LINE`.
"""

from __future__ import annotations

import fnmatch
import os
import re
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any, Final

from orjson import JSONDecodeError, loads
from twisted.internet import tcp

from client import link, main, store

_WRITES: Final = re.compile(r"(INSERT|UPDATE|DELETE)\b.*?\b(?:INTO|UPDATE|FROM)\s+(\w+)", re.DOTALL)


class Steps:
    """What is done, step by step, up to the last one."""

    def __init__(self, folder: Path, last: str) -> None:
        self._last = last
        self._trail = open(folder / f"steps-{os.getpid()}", "ab", buffering=0)  # noqa: SIM115 - until the end
        self._wire = open(folder / f"wire-{os.getpid()}", "ab", buffering=0)  # noqa: SIM115 - until the end
        self._after: str | None = None
        self._within = False
        self._written: set[str] = set()

    def step(self, name: str) -> None:
        """This is about to happen, or has."""
        self._trail.write(f"{name}\n".encode())
        if fnmatch.fnmatchcase(name, self._last):
            os.kill(os.getpid(), signal.SIGKILL)

    def commits(self) -> None:
        """A transaction is about to end."""
        name = " ".join(("commit", *sorted(self._written)))
        self._written = set()
        self.step(f"before {name}")
        self._after = f"after {name}"

    def statement(self, text: str) -> None:
        """The database is about to do this; so whatever it did before is done."""
        if self._after is not None:
            after, self._after = self._after, None
            self.step(after)
        word = text.split(None, 1)[0]
        if word == "BEGIN":
            self._within = True
            self._written = set()
        elif (found := _WRITES.match(text)) is not None:
            if found[2] != "secret":
                self._written.add(f"{found[1].lower()}.{found[2]}")
            if not self._within:
                self.commits()
        elif word in ("COMMIT", "ROLLBACK"):
            self._within = False
            if word == "COMMIT" and self._written:
                self.commits()

    def watch_database(self) -> None:
        """Every transaction is a step."""
        connect, put, queue = sqlite3.connect, store.Secrets.put, store.Store.queue

        def connected(*args: Any, **kwargs: Any) -> sqlite3.Connection:
            made = connect(*args, **kwargs)
            made.set_trace_callback(self.statement)
            return made

        def named(secrets: store.Secrets, kind: str, name: str, value: Any, until: int | None = None) -> None:
            self._written.add(kind)
            put(secrets, kind, name, value, until)

        def queued(kept: store.Store, entry: Any) -> None:
            queue(kept, entry)
            print(f"accepted {entry.text}", flush=True)

        sqlite3.connect = connected  # type: ignore[assignment]
        store.Secrets.put = named  # type: ignore[method-assign]
        store.Store.queue = queued  # type: ignore[method-assign]

    def watch_network(self) -> None:
        """Whatever goes into the socket is a step, and whatever comes out."""
        write, read = tcp.Connection.writeSomeData, link._Lines.dataReceived

        def written(connection: Any, data: bytes) -> Any:
            name = " ".join(("send", *(str(fields.get("do")) for fields in parsed(data))))
            self.step(f"before {name}")
            sent = write(connection, data)
            if isinstance(sent, int) and sent > 0:
                self._wire.write(data[:sent])
            self.step(f"after {name}")
            return sent

        def came(lines: Any, data: bytes) -> None:
            words = {word for fields in parsed(data) for word in told(fields)}
            name = " ".join(("read", *sorted(words)))
            self.step(f"before {name}")
            read(lines, data)
            self.step(f"after {name}")

        tcp.Connection.writeSomeData = written
        link._Lines.dataReceived = came  # type: ignore[method-assign]


def parsed(data: bytes) -> list[dict[str, Any]]:
    """The whole lines of these bytes."""
    found = []
    for line in bytes(data).split(b"\n"):
        try:
            fields = loads(line)
        except JSONDecodeError:
            continue
        found.append(fields)
    return found


def told(fields: dict[str, Any]) -> list[str]:
    """What a line of the server is about."""
    return [fields["ev"]] if "ev" in fields else list(fields.get("ok", ("error",))) or ["ok"]


if __name__ == "__main__":
    steps = Steps(Path(sys.argv[1]), sys.argv[2])
    steps.watch_database()
    steps.watch_network()
    sys.exit(main.main(sys.argv[3:]))
