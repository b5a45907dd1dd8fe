"""The log that an operator reads: who came and went, what happened to groups, and what went wrong.

The rule: no body, no password, no token is ever handed to it. Each line is an event of twisted.logger with its
fields, written as text for people or as one JSON object for programs, to a file of its own that is rotated and
readable by its owner only.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final, TextIO

from twisted.logger import (
    FilteringLogObserver,
    Logger,
    LogLevel,
    LogLevelFilterPredicate,
    LogPublisher,
    eventAsText,
    formatEvent,
    jsonFileLogObserver,
)
from twisted.python.logfile import LogFile

from chatd import texts
from chatd.config import Config
from chatd.errors import Refusal
from chatd.model import Event

NAMESPACE: Final = "chatd.audit"
_log = Logger(namespace=NAMESPACE)
_warnings = Logger(namespace="chatd")


class Audit:
    """Tells what this instance's own sessions do; the other instances tell of theirs."""

    def __init__(self, *, addresses: bool, observer: Any = None) -> None:
        self._addresses = addresses
        self._log = _log if observer is None else Logger(namespace=NAMESPACE, observer=observer)
        self.refusals: Counter[str] = Counter()

    def connected(self, session: Any) -> None:
        """Somebody has logged in."""
        how = "tls" if session.secure else "clear"
        address = session.address if self._addresses else ""
        self._tell("user.connect", name=session.name, address=address, how=how, dialect=session.shape.partition(" ")[0])

    def disconnected(self, session: Any, why: str) -> None:
        """Somebody's session has ended."""
        seconds = int(session.instance.seconds() - session.since)
        self._tell("user.disconnect", name=session.name, seconds=seconds, why=why)

    def refused(self, session: Any, verb: str, refusal: Refusal) -> None:
        """A call was refused: counted, and told where somebody tries passwords."""
        self.refusals[refusal.code] += 1
        if refusal.code in ("BAD_LOGIN", "THROTTLED"):
            address = session.address if self._addresses else ""
            self._tell("login.refused", address=address, code=refusal.code)

    def admin(self, act: str, about: str, by: str) -> None:
        """An administrative act: what was done, to whom, and by which user of this machine or which operator."""
        self._tell("admin", act=act, about=about, by=by)

    def transferred(self, *, room: str, name: str, file: str, size: int, result: str, seconds: float) -> None:
        """A file has come or gone, or not. `file` "": the server does not know what it is called."""
        self._tell("file.transfer", room=room, name=name, file=file, size=size, result=result, seconds=seconds)

    def happened(self, events: list[Event], origins: Mapping[int, Any]) -> None:
        """These events are committed; tell those that our sessions made."""
        if not origins:
            return
        asked: set[tuple[int, int]] = set()
        for event in events:
            if origins.get(event.seq) is None or event.kind == "say":
                continue
            data = event.data or {}
            room = str(data.get("name", ""))
            match event.kind:
                case "created":
                    self._tell("group.create", room=room, name=event.by_name)
                case "removed":
                    self._tell("group.kick", room=room, name=event.who_name, by=event.by_name, reason=event.text or "")
                case "transferred":
                    self._tell("group.transfer", room=room, name=event.by_name, to=event.who_name)
                case "asked" if (key := (event.by, int(data.get("room", 0)))) not in asked:
                    asked.add(key)
                    self._tell("join.request", room=room, name=event.by_name)
                case "joined" if data.get("how") == "approved":
                    self._tell("join.approve", room=room, name=event.who_name, by=event.by_name)

    def _tell(self, what: str, **fields: Any) -> None:
        self._log.info("{line}", what=what, line=texts.audit(what, fields), **fields)


def log_to(config: Config, node: int, *, console: bool) -> LogPublisher:
    """The observer of everything that is logged: the file in the data folder, and the console."""
    publisher = LogPublisher()
    publisher.addObserver(_filtered(lines_to(config, log_file(config, f"chatd-{node}"))))
    if console:
        publisher.addObserver(_filtered(_text(sys.stdout)))

    return publisher


def log_file(config: Config, name: str) -> Any:
    """A log of the data folder: rotated, and for its owner only."""
    return LogFile(
        f"{name}.log",
        str(config.data / "log"),
        rotateLength=config.log.size,
        maxRotatedFiles=config.log.files,
        defaultMode=0o600,
    )


def lines_to(config: Config, file: Any) -> Any:
    """The observer that writes events there, as the configuration wants them."""
    return jsonFileLogObserver(file, recordSeparator="") if config.log.json else _text(file)


def _filtered(observer: Any) -> Any:
    predicate: Any = LogLevelFilterPredicate(defaultLogLevel=LogLevel.info)
    for noisy in ("twisted", "-", "log_legacy"):
        predicate.setLogLevelForNamespace(noisy, LogLevel.warn)
    return FilteringLogObserver(observer, [predicate])


def _text(out: TextIO | Any) -> Callable[[Mapping[str, Any]], None]:
    """One line an event: `14:02:07 group.create   #ops by alice`; failures with their traceback."""

    def write(event: Mapping[str, Any]) -> None:
        moment = time.strftime("%H:%M:%S", time.localtime(event.get("log_time", time.time())))
        if event.get("log_failure") is not None:
            text = eventAsText(dict(event), includeTimestamp=False)
        else:
            text = formatEvent(dict(event))
        out.write(f"{moment} {text.rstrip()}\n")
        out.flush()

    return write
