"""The daemon's ear for chatctl: a Unix socket `run/node-N.ctl` in the data folder.

The rule: who may write to the socket may do everything, so nobody but the folder's owner (and root) is listened to. One
JSON object a line, `{"act": "user.add", "args": {…}}`, is answered by one, `{"ok": {…}}` or `{"error": {…}}`.
"""

from __future__ import annotations

import os
import pwd
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import orjson
from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from chatd import texts
from chatd.audit import Audit
from chatd.ctl.acts import ACTS, perform
from chatd.errors import Refusal
from chatd.sockets import reachable
from chatd.store.database import Database

LINE: Final = 65_536
PEER: Final = struct.Struct("3i")
"""Of SO_PEERCRED (unix(7)): process, user, group."""
_log = Logger()


def path_of(data: Path, node: int) -> Path:
    """Where an instance listens."""
    return data / "run" / f"node-{node}.ctl"


class Control:
    """Listens on behalf of one instance. `facts` are what only the running process knows of itself."""

    def __init__(
        self, reactor: Any, db: Database, data: Path, node: int, audit: Audit, facts: Callable[[], dict[str, Any]]
    ) -> None:
        self._reactor = reactor
        self._path = path_of(data, node)
        self._port: Any = None
        self._facts = facts
        self._since = time.monotonic()
        self.node = node
        self.db = db
        self.audit = audit

    def start(self) -> None:
        """Listen; what a killed predecessor left is taken away."""
        self._path.unlink(missing_ok=True)
        factory = Factory.forProtocol(lambda: _Caller(self))
        self._port = self._reactor.listenUNIX(reachable(self._path), factory, mode=0o600)

    def stop(self) -> None:
        """Listen no more."""
        if self._port is not None:
            self._port.stopListening()
            self._path.unlink(missing_ok=True)

    def facts(self) -> dict[str, Any]:
        """How this instance does."""
        return {
            "node": self.node,
            "pid": os.getpid(),
            "seconds": int(time.monotonic() - self._since),
            "backlog": self.db.backlog,
            "commits": self.db.meter.commits,
            **self._facts(),
        }


class _Caller(LineOnlyReceiver):
    delimiter = b"\n"
    MAX_LENGTH = LINE

    def __init__(self, control: Control) -> None:
        self._control = control
        self._by = ""
        self._answered: Deferred[None] = succeed(None)

    def connectionMade(self) -> None:
        """Who is it?"""
        transport: Any = self.transport
        credentials = transport.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER.size)
        _, user, _ = PEER.unpack(credentials)
        if user not in (0, os.geteuid()):
            transport.abortConnection()
        self._by = user_name(user)

    def lineReceived(self, line: bytes) -> None:
        """Do what is asked, once what was asked before is answered."""
        self._answered = self._answered.addCallback(lambda _: self._do(line)).addBoth(self._answer)

    def _do(self, line: bytes) -> Deferred[Any]:
        """What comes of it.

        @raise Refusal: BAD_LINE.
        """
        try:
            asked = orjson.loads(line)
            name, args = str(asked["act"]), dict(asked.get("args") or {})
        except (ValueError, KeyError, TypeError):
            raise Refusal("BAD_LINE") from None
        entry = ACTS.get(name)
        db = self._control.db
        if name == "node":
            return succeed(self._control.facts())
        if entry is not None and entry.writes:
            return db.write(lambda tx: perform(tx, name, args)).addCallback(self._told, name)
        return db.read(lambda tx: perform(tx, name, args))

    def _told(self, result: dict[str, Any], name: str) -> dict[str, Any]:
        self._control.audit.admin(*told(name, result), self._by)
        return result

    def _answer(self, outcome: Any) -> None:
        if not isinstance(outcome, Failure):
            answer: dict[str, Any] = {"ok": outcome}
        else:
            refusal = outcome.value
            if not isinstance(refusal, Refusal):
                _log.failure("an administrative act", outcome)
                refusal = Refusal("INTERNAL", ref="chatctl")
            text = texts.refusal(refusal.code, refusal.fields)
            answer = {"error": {"code": refusal.code, "with": refusal.fields, "text": text[0]}}
        transport: Any = self.transport
        transport.write(orjson.dumps(answer, option=orjson.OPT_APPEND_NEWLINE))


def told(name: str, result: dict[str, Any]) -> tuple[str, str]:
    """An act as the log has it, and whom or what it was about: never a secret."""
    if name == "note":
        return str(result["act"]), str(result["about"])
    return name, str(result.get("name", result.get("invite", "")))


def user_name(user: int) -> str:
    """A user of this machine, by name where there is one."""
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"uid {user}"
