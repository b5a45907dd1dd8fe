"""The other instances on the same file: waking them, being alive, saying who is connected here.

The rule: a wake-up says only "look"; what there is to see is in the database. A lost one costs a second, never a
message.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import socket
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import ConnectedDatagramProtocol
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatd.errors import Refusal
from chatd.feed import Feed
from chatd.sockets import reachable
from chatd.store import Tx
from chatd.store.database import Database
from chatd.watching import Watching

BEAT: Final = 1.0
"""Seconds between two heartbeats, which are also the slow poll of the log."""
_log = Logger()


class NodeTaken(Exception):
    """Another process on this machine is this node already."""


class Node:
    """This instance's number among those on the same data folder, held by a lock that dies with the process."""

    MOST: Final = 1000

    def __init__(self, run: Path, wanted: int = 0) -> None:
        """Take number `wanted`, or with 0 the lowest that is free.

        @raise NodeTaken: somebody has it.
        """
        for number in [wanted] if wanted else range(1, self.MOST):
            fd = os.open(run / f"node-{number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                continue
            self.number = number
            self._fd = fd
            return
        raise NodeTaken(f"node {wanted} is running already" if wanted else "there is no free node number")

    def release(self) -> None:
        """Give the number up."""
        os.close(self._fd)


class _Looks(ConnectedDatagramProtocol):
    """Hears the others' wake-ups."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def datagramReceived(self, datagram: bytes, addr: Any = None) -> None:
        self._feed.look()

    def connectionFailed(self, failure: Failure) -> None:
        """Never: this end only listens."""


class Peers:
    """This instance among the others."""

    def __init__(
        self,
        reactor: Any,
        db: Database,
        feed: Feed,
        run: Path,
        node: int,
        cursor_seconds: float,
        watching: Watching,
    ) -> None:
        self._reactor = reactor
        self._db = db
        self._feed = feed
        self._watching = watching
        self._run = run
        self._node = node
        self._boot = secrets.token_hex(8)
        self._path = run / f"node-{node}.look"
        self._others: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._here: Counter[int] = Counter()
        self._sessions: set[Any] = set()
        self._changed: set[int] = set()
        self._telling = False
        self._stopped = False
        self._port: Any = None
        self._beats = LoopingCall(self._beat)
        self._cursors = LoopingCall(self._save_cursors)
        self._beats.clock = self._cursors.clock = reactor
        self._cursor_seconds = cursor_seconds

    def start(self) -> None:
        """Listen for wake-ups and begin to beat."""
        self._listen()
        self._watching.start()
        self._beats.start(BEAT)
        self._cursors.start(self._cursor_seconds, now=False)

    def _listen(self) -> None:
        self._path.unlink(missing_ok=True)
        self._port = self._reactor.listenUNIXDatagram(reachable(self._path), _Looks(self._feed), mode=0o600)

    def stop(self) -> Deferred[None]:
        """Say goodbye: nobody is connected here any more."""
        self._stopped = True
        for call in (self._beats, self._cursors):
            if call.running:
                call.stop()
        if self._port is not None:
            self._port.stopListening()
        self._path.unlink(missing_ok=True)
        self._socket.close()
        leaving: Deferred[Any] = self._db.write(lambda tx: tx.leave(self._node, self._boot))
        leaving.addCallback(self._watching.stir).addErrback(_unless_busy)
        return leaving.addCallback(lambda _: self._watching.stop())

    # -- wake-ups -----------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Something was committed here: have the others look."""
        for path in self._others:
            try:
                self._socket.sendto(b"look", path)
            except OSError as error:
                if error.errno == errno.ECONNREFUSED:
                    Path(path).unlink(missing_ok=True)

    def _find_others(self) -> None:
        self._others = [reachable(path) for path in self._run.glob("node-*.look") if path != self._path]

    # -- being alive --------------------------------------------------------------------------------------------------

    def _beat(self) -> Deferred[None]:
        """Whatever fails, the next beat comes: an instance that missed them is taken for gone."""
        for do in (self._mend, self._find_others, self._watching.find_others, self._feed.poll):
            try:
                do()
            except Exception:
                _log.failure("keeping in touch")
        here = list(self._here)

        def beat(tx: Tx) -> list[int]:
            gone = tx.bury()
            if tx.beat(self._node, self._boot):
                return gone
            tx.come(self._node, here)
            return gone + here

        beaten: Deferred[Any] = self._db.write(beat)
        return beaten.addCallback(self._watching.stir).addErrback(_unless_busy)

    def _mend(self) -> None:
        if not self._path.exists():
            # Somebody who was refused by our killed predecessor has removed our socket instead of its.
            self._port.stopListening()
            self._listen()

    # -- who is connected ---------------------------------------------------------------------------------------------

    def arrive(self, session: Any) -> None:
        """Somebody has logged in here."""
        self._sessions.add(session)
        self._here[session.account] += 1
        if self._here[session.account] == 1:
            self._change(session.account)

    def depart(self, session: Any) -> None:
        """Somebody's session has ended here."""
        self._sessions.discard(session)
        self._here[session.account] -= 1
        if self._here[session.account] <= 0:
            del self._here[session.account]
            self._change(session.account)

    def _change(self, account: int) -> None:
        """Tell the database, many at a time: while one commit is under way the next changes gather."""
        self._changed.add(account)
        if not self._telling:
            self._telling = True
            self._reactor.callLater(0, self._tell)

    def _tell(self) -> None:
        if self._stopped:
            return
        changed, self._changed = self._changed, set()
        came = [account for account in changed if account in self._here]
        went = [account for account in changed if account not in self._here]

        def tell(tx: Tx) -> None:
            if tx.beat(self._node, self._boot):
                tx.come(self._node, came)
            else:
                tx.come(self._node, here)
            tx.go(self._node, went)

        here = list(self._here)
        self._db.write(tell).addCallbacks(
            lambda _: self._watching.stir(changed), lambda failure: self._changed.update(changed)
        ).addBoth(lambda _: self._told())

    def _told(self) -> None:
        self._telling = False
        if self._changed:
            self._telling = True
            self._reactor.callLater(BEAT, self._tell)

    # -- cursors ------------------------------------------------------------------------------------------------------

    def _save_cursors(self) -> Deferred[Any]:
        """Remember how far people were shown everything, for the faces that keep no cursor of their own."""
        position = self._feed.position
        cursors = []
        for session in self._sessions:
            if session.saved < position and session.has_seen_all():
                session.saved = position
                cursors.append((session.account, position))
        return self._write_cursors(cursors)

    def _write_cursors(self, cursors: Iterable[tuple[int, int]]) -> Deferred[Any]:
        held = list(cursors)
        if not held:
            return succeed(None)
        return self._db.write(lambda tx: tx.save_cursors(held)).addErrback(_unless_busy)


def _unless_busy(failure: Failure) -> None:
    """A busy database heals by itself; anything else is worth a line."""
    if failure.check(Refusal) is None:
        _log.failure("keeping in touch", failure)
