"""The log that an operator reads: who came and went, what happened to groups, and what went wrong.

The rule: no body, no password, no token is ever handed to it. Each line is an event of twisted.logger with its
fields, written as text for people or as one JSON object for programs, to a file of its own that is rotated and
readable by its owner only.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from twisted.logger import (
    FilteringLogObserver,
    Logger,
    LogLevel,
    LogLevelFilterPredicate,
    LogPublisher,
    formatEvent,
)
from twisted.python.failure import Failure
from twisted.python.logfile import LogFile

from chatd import texts
from chatd.config import Config
from chatd.errors import Refusal
from chatd.model import Event, Room

NAMESPACE: Final = "chatd.audit"
_log = Logger(namespace=NAMESPACE)
_warnings = Logger(namespace="chatd")


ADMINISTRATIVE: Final = {
    "banned": "group.ban",
    "unbanned": "group.unban",
    "promoted": "group.promote",
    "demoted": "group.demote",
}
FACTOR: Final = {"factor_on": "on", "factor_off": "off", "factor_codes": "new recovery codes"}
"""Answers about somebody's second factor."""


class Audit:
    """Tells what this instance's own sessions do; the other instances tell of theirs."""

    def __init__(
        self,
        *,
        addresses: bool,
        room: Callable[[int, int], Room | None] = lambda account, room: None,
        observer: Any = None,
    ) -> None:
        """`room` tells how an account that is connected here calls a room (`Routing.room`)."""
        self._addresses = addresses
        self._room = room
        self._log = _log if observer is None else Logger(namespace=NAMESPACE, observer=observer)
        self.refusals: Counter[str] = Counter()

    def connected(self, session: Any) -> None:
        """Somebody has logged in."""
        how = "tls" if session.secure else "clear"
        address = self._address(session)
        self._tell("user.connect", name=session.name, address=address, how=how, dialect=session.shape.partition(" ")[0])

    def disconnected(self, session: Any, why: str) -> None:
        """Somebody's session has ended."""
        seconds = int(session.instance.seconds() - session.since)
        self._tell("user.disconnect", name=session.name, seconds=seconds, why=why)

    def refused(self, session: Any, verb: str, refusal: Refusal) -> None:
        """A call was refused: counted, and told where somebody tries passwords."""
        self.refusals[refusal.code] += 1
        if refusal.code in ("BAD_LOGIN", "THROTTLED"):
            self._tell("login.refused", address=self._address(session), code=refusal.code)

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
                case "registered" if not data.get("guest"):
                    self._tell("user.register", name=event.by_name, address=self._address(origins[event.seq]))
                case "deleted":
                    self._tell("user.delete", account=event.by)
                case "joined" if data.get("how") == "added":
                    self._tell("group.add", room=self._named(event), name=event.who_name, by=event.by_name)
                case "banned" | "unbanned" | "promoted" | "demoted":
                    what = ADMINISTRATIVE[event.kind]
                    self._tell(what, room=self._named(event), name=event.who_name, by=event.by_name)
                case "topic":
                    self._tell("group.topic", room=self._named(event), name=event.by_name)
                case "door":
                    self._tell("group.door", room=self._named(event), name=event.by_name, door=data.get("door", ""))
                case "renamed":
                    was = str(data.get("was", ""))
                    self._tell("group.rename", was=was, to=event.text or "", name=event.by_name)
                case "closed":
                    self._tell("group.close", room=room or self._named(event), name=event.by_name)
                case "inherited":
                    self._tell("group.inherit", room=self._named(event), name=event.by_name, to=event.who_name)
                case "denied":
                    self._tell("join.deny", room=room, name=event.who_name, by=event.by_name)
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

    def answered(self, session: Any, reply: str) -> None:
        """A call was done that nobody hears of by an event, and that an operator may want to find again."""
        address = self._address(session)
        if reply == "password_changed":
            self._tell("user.password", name=session.name, address=address)
        elif reply in FACTOR:
            self._tell("user.factor", name=session.name, state=FACTOR[reply], address=address)
        elif reply == "oper":
            self._tell("user.operator", name=session.name, address=address)

    def reloaded(self, result: str) -> None:
        """The configuration was read again, or why not."""
        self._tell("config.reload", result=result)

    def _address(self, session: Any) -> str:
        address: str = session.address
        return address if self._addresses else ""

    def _named(self, event: Event) -> str:
        room = self._room(event.by, event.room) or self._room(event.who, event.room)
        return f"room {event.room}" if room is None or not room.name else room.name

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
    return _lines(file) if config.log.json else _text(file)


def _filtered(observer: Any) -> Any:
    predicate: Any = LogLevelFilterPredicate(defaultLogLevel=LogLevel.info)
    for noisy in ("twisted", "-", "log_legacy"):
        predicate.setLogLevelForNamespace(noisy, LogLevel.warn)
    return FilteringLogObserver(observer, [predicate])


def _text(out: TextIO | Any) -> Callable[[Mapping[str, Any]], None]:
    """One line an event: `14:02:07 group.create   #ops by alice`; failures with where they happened."""

    def write(event: Mapping[str, Any]) -> None:
        moment = time.strftime("%H:%M:%S", time.localtime(event.get("log_time", time.time())))
        failure = event.get("log_failure")
        out.write(f"{moment} {formatEvent(dict(event)).rstrip()}\n{'' if failure is None else where(failure)}")
        out.flush()

    return write


def _lines(out: TextIO | Any) -> Callable[[Mapping[str, Any]], None]:
    """One JSON object an event: its time (ISO 8601, UTC), level, the fields that we gave it, and `line`, the text."""

    def write(event: Mapping[str, Any]) -> None:
        at = datetime.fromtimestamp(event.get("log_time", time.time()), UTC)
        fields: dict[str, Any] = {"time": f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z"}
        fields["level"] = event["log_level"].name
        if str(event.get("log_namespace", "")).startswith("chatd"):
            fields |= {
                name: value
                for name, value in event.items()
                if not name.startswith("log_") and isinstance(value, str | int | float | bool)
            }
        fields["line"] = formatEvent(dict(event)).rstrip()
        failure = event.get("log_failure")
        if failure is not None:
            fields["where"] = where(failure)
        out.write(json.dumps(fields, ensure_ascii=False) + "\n")
        out.flush()

    return write


QUOTING: Final = (ValueError, LookupError, Refusal)
"""Exceptions whose words quote what they were given: a name, a text, a password. Of these only the type is logged."""


def where(failure: Failure) -> str:
    """Where something broke, and as what: the places in the code, the type, and its words where they quote nobody."""
    lines = traceback.format_tb(failure.getTracebackObject())
    error: BaseException | None = failure.value
    while error is not None:
        lines.append(f"{type(error).__qualname__}{'' if isinstance(error, QUOTING) else f': {error}'}\n")
        error = error.__cause__ or error.__context__
    return "".join(lines)
