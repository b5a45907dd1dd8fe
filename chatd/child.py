"""One program that a cluster keeps running.

The rule: who asked for it to end is told when it has; else it is started again, after a while that doubles each time.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from twisted.internet import protocol
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

AGAIN_FIRST: Final = 0.1
AGAIN_MOST: Final = 5.0
"""Seconds between the death of a process and its next start: the first, doubled each time up to the last."""
STEADY: Final = 2.0
"""Seconds of serving after which a death is a first one again."""


class Keeper(Protocol):
    """Who keeps the children running."""

    def heard(self, child: Child, line: str) -> None:
        """It has printed a line."""

    def died(self, child: Child, how: str) -> bool:
        """It has ended unasked; whether it is to be started again."""


class Child(protocol.ProcessProtocol):
    """One program that is kept running: started, started again when it dies, ended by a signal."""

    transport: Any

    def __init__(self, reactor: Any, keeper: Keeper, name: str, argv: Sequence[str], env: Mapping[str, str]) -> None:
        self._reactor = reactor
        self._keeper = keeper
        self.name = name
        self._argv = list(argv)
        self._env = dict(env)
        self._rest: dict[int, bytes] = {}
        self._wait = AGAIN_FIRST
        self._again: Any = None
        self._late: Any = None
        self._awaits_ready: list[Deferred[None]] = []
        self._awaits_end: list[Deferred[None]] = []
        self._ready_since: float | None = None
        self.running = False

    def start(self) -> Deferred[None]:
        """Start it; fires when it serves."""
        self._again = None
        self._ready_since = None
        self._rest = {1: b"", 2: b""}
        self.running = True
        self._reactor.spawnProcess(self, self._argv[0], self._argv, env=self._env)
        ready: Deferred[None] = Deferred()
        self._awaits_ready.append(ready)
        return ready

    @property
    def is_ready(self) -> bool:
        """Whether it serves."""
        return self._ready_since is not None

    def serves(self) -> None:
        """It has said, or shown, that it serves."""
        self._ready_since = self._reactor.seconds()
        awaiting, self._awaits_ready = self._awaits_ready, []
        for ready in awaiting:
            ready.callback(None)

    def signal(self, number: int) -> None:
        """Send it a signal, where it runs."""
        if self.running:
            os.kill(self.transport.pid, number)

    def stop(self, number: int, seconds: float) -> Deferred[None]:
        """End it by this signal, or, past so many seconds, by SIGKILL; fires when it has ended."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if not self.running:
            return succeed(None)
        if not self._awaits_end:
            self.signal(number)
            self._late = self._reactor.callLater(seconds, self._kill)
        ended: Deferred[None] = Deferred()
        self._awaits_end.append(ended)
        return ended

    def _kill(self) -> None:
        self._keeper.heard(self, "does not end, and is killed")
        self.signal(signal.SIGKILL)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """It has printed something."""
        *lines, self._rest[childFD] = (self._rest[childFD] + data).split(b"\n")
        for line in lines:
            self._keeper.heard(self, line.decode("utf-8", "replace"))

    def processEnded(self, reason: Failure) -> None:
        """It has ended: asked to, or else it starts again, after a while that doubles each time."""
        self.running = False
        for rest in filter(None, self._rest.values()):
            self._keeper.heard(self, rest.decode("utf-8", "replace"))
        if self._awaits_end:
            if self._late.active():
                self._late.cancel()
            awaiting, self._awaits_end = self._awaits_end, []
            for ended in awaiting:
                ended.callback(None)
            return
        if self._ready_since is not None and self._reactor.seconds() - self._ready_since > STEADY:
            self._wait = AGAIN_FIRST
        self._ready_since = None
        status: Any = reason.value
        how = f"signal {status.signal}" if status.signal else f"exit status {status.exitCode or 0}"
        if self._keeper.died(self, how):
            self._again = self._reactor.callLater(self._wait, self.start)
            self._wait = min(AGAIN_MOST, self._wait * 2)


def apart(argv: Sequence[str], orphaned: str) -> list[str]:
    """The command line by which a program is in a session of its own, where a terminal's Ctrl-C does not reach it
    before its turn, and hears the signal `orphaned` when this process dies, however it dies.

    By util-linux, which every Debian has; without it a program runs as it is.
    """
    for tool, words in (("setpriv", ("--pdeathsig", orphaned)), ("setsid", ())):
        found = shutil.which(tool)
        if found is not None:
            argv = [found, *words, *argv]
    return list(argv)
