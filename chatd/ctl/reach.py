"""How chatctl has something done: by a running instance, or where none runs on the file.

The rule: an act is the same function either way. Instances are asked one after the other, the first that answers does
it; one that was stopped meanwhile and does it again later finds it done.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from chatd.audit import Audit, lines_to, log_file
from chatd.config import Config
from chatd.ctl.acts import ACTS, perform
from chatd.ctl.listen import told, user_name
from chatd.errors import Refusal
from chatd.retention import erasing, parts
from chatd.sockets import reachable
from chatd.store.alone import Alone

STEP: Final = 2_000
"""How many events one commit blanks where no server runs."""
PATIENCE: Final = 10.0
"""Seconds that an instance may take to answer: longer than it waits for its turn to write."""


class Silent(Exception):
    """An instance runs and does not answer."""


def now_ms() -> int:
    """The time of day in ms."""
    return time.time_ns() // 1_000_000


def sweep(file: Alone) -> bool:
    """What a running server does step by step, at once: blank the words of erased accounts, and forget the names of
    those who are gone. Whether any account was erased.
    """
    file.write(lambda tx: tx.forget_farewells(all=True))
    erased = file.read(lambda tx: tx.erasures())
    for account, upto in erased:
        more = True
        while more:
            due = file.read(lambda tx, who=account, after=upto: tx.written_by(who, after))  # type: ignore[misc]
            for seqs, last in parts(due, STEP):
                file.write(erasing(account, seqs, last, done=not due.more and last == due.upto))
            upto, more = due.upto, due.more
    return bool(erased)


class Reach:
    """The server of one data folder."""

    def __init__(self, config: Config, patience: float = PATIENCE) -> None:
        self.config = config
        self.data = config.data
        self._patience = patience

    def nodes(self) -> Iterator[tuple[int, socket.socket]]:
        """The instances that listen: their number, and a connection to each."""
        for path in sorted(self.data.glob("run/node-*.ctl")):
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(self._patience)
            try:
                connection.connect(reachable(path))
            except PermissionError:
                connection.close()
                raise
            except OSError:
                connection.close()  # what a killed one left
                continue
            yield int(path.stem.partition("-")[2]), connection

    def is_running(self) -> bool:
        """Whether any instance listens."""
        for _, connection in self.nodes():
            connection.close()
            return True
        return False

    def ask(self, act: str, **args: Any) -> dict[str, Any]:
        """Have it done.

        @raise Refusal: nothing was changed. @raise Silent: instances run, and none of them answers. @raise OSError,
        sqlite3.Error, Busy: of the file.
        """
        silent = []
        for node, connection in self.nodes():
            try:
                return _call(connection, act, args)
            except TimeoutError:
                silent.append(node)
            except ConnectionError:
                continue
        if silent:
            raise Silent(f"node {silent[0]}")
        return self._alone(act, args)

    def _alone(self, act: str, args: Mapping[str, Any]) -> dict[str, Any]:
        with Alone(self.data, now_ms) as file:
            if not ACTS[act].writes:
                return file.read(lambda tx: perform(tx, act, args))
            result = file.write(lambda tx: perform(tx, act, args))
            if act == "user.delete":
                result |= {"erased": sweep(file)}
        self.tell(*told(act, result))
        return result

    def tell(self, act: str, subject: str) -> None:
        """Put it into the log, where no instance does."""
        (self.data / "log").mkdir(mode=0o700, exist_ok=True)
        file = log_file(self.config, "chatctl")
        try:
            audit = Audit(addresses=False, observer=lines_to(self.config, file))
            audit.admin(act, subject, user_name(os.getuid()))
        finally:
            file.close()

    def note(self, act: str, subject: str) -> None:
        """Put what chatctl did by itself into the log: of an instance that runs, else its own."""
        try:
            self.ask("note", what=act, about=subject)
        except (Silent, Refusal):
            self.tell(act, subject)

    def facts(self) -> list[dict[str, Any]]:
        """What each running instance says of itself; of one that does not answer, that."""
        found = []
        for node, connection in self.nodes():
            try:
                found.append(_call(connection, "node", {}))
            except OSError:
                found.append({"node": node, "silent": True})
        return found


def _call(connection: socket.socket, act: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """One call and its answer.

    @raise TimeoutError: there is none in time. @raise ConnectionError: it hung up. @raise Refusal: it was refused.
    """
    with connection:
        connection.sendall(orjson.dumps({"act": act, "args": args}, option=orjson.OPT_APPEND_NEWLINE))
        held = b""
        while not held.endswith(b"\n"):
            piece = connection.recv(1 << 16)
            if not piece:
                raise ConnectionResetError
            held += piece
    answer = orjson.loads(held)
    if "error" in answer:
        raise Refusal(answer["error"]["code"], **answer["error"]["with"])
    result: dict[str, Any] = answer["ok"]
    return result
