"""`chat send`, `tail`, `wait`, `get`, `whoami`: one thing, no terminal, an exit code that tells what became of it.

The rule: nothing but the answer goes to stdout; why something failed goes to stderr, and which kind of failure it was
is the exit code:

    0  done: what was sent is stored, what was waited for came
    1  `wait`: it did not come in time
    2  the command line is wrong
    3  queued: it is on disk here, and goes out the next time this profile is used
    4  refused by the server: it will never be sent
    5  nobody is logged in with this profile, or the login is not valid any more
    6  this profile is in use by another chat
    7  the server cannot be reached, or its certificate is not the one pinned
"""

from __future__ import annotations

import json
import re
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.python.failure import Failure

from chatd import texts
from chatd.limits import Limits
from client.answers import Lost, Refused
from client.files.scripts import Get, SendFile
from client.outbox import Entry, mid_of, new_mid
from client.past import as_said
from client.script import DONE, NOT_SEEN, QUEUED, REFUSED, UNREACHABLE, USAGE, Script
from client.view import Place, as_event

_AGE: Final = re.compile(r"\d+[smhdw]")


class Send(Script):
    """`chat send '#ops' [TEXT|-] [--id KEY]`"""

    def before(self) -> None:
        options, chat = self.options, self.chat
        text = options.text
        account = chat.store.get("me")[1]
        self._mid = mid_of(options.id, account) if options.id else new_mid()
        if not text:
            self.end(USAGE, "Nothing to send.")
            return
        if len(text) > chat.talk.limit:
            self.end(REFUSED, *texts.refusal("TOO_LONG", {"size": len(text), "limit": chat.talk.limit}))
            return
        if options.to.startswith("@"):
            entry = Entry(self._mid, account, "msg", "", text, chat.now(), {"user": options.to[1:]})
        else:
            entry = Entry(self._mid, account, "say", options.to, text, chat.now())
        chat.store.queue(entry)
        chat.sender.outbox.add(entry)
        self.limit(options.wait, QUEUED, "Queued: it goes out the next time this profile is used.")

    def fate(self, entry: Entry, seq: int, error: Mapping[str, Any] | None) -> None:
        if entry.mid != self._mid:
            return
        if error is None:
            self.end(DONE)
        else:
            self.end(REFUSED, error["text"], *error.get("help", "").splitlines())


class Follow(Script):
    """What `tail` and `wait` share: the messages of one room, from now or from a moment on."""

    def before(self) -> None:
        self._live = False
        self._from = 0
        self._room = 0
        since = self.options.since
        if since is not None and since.isdecimal():
            self._from = int(since) + 1
            self._live = True
            held = self.chat.store.get("cursor", 0)
            self.chat.store.put(cursor=min(held, int(since)))
        elif since is not None and not _AGE.fullmatch(since):
            self.end(USAGE, "--since takes an age (30m, 2h, 3d) or the seq of the last event known.")

    def event(self, fields: Mapping[str, Any]) -> None:
        if self._live and fields["seq"] >= self._from and self._here(fields):
            self.heard(fields)

    def _here(self, fields: Mapping[str, Any]) -> bool:
        place = self.chat.view.find(self.options.room)
        self._room = self._room if place is None else place.id
        return bool(fields.get("room_id") == self._room)

    def caught_up(self) -> None:
        if self._live:
            return
        self._live = True
        place = self.chat.view.find(self.options.room)
        if place is None:
            self.end(REFUSED, *texts.refusal("NOT_MEMBER", {"room": self.options.room}))
        elif self.options.since is not None:
            call = {"do": "history", "room": place.id, "since": self.options.since, "count": 500}
            self.chat.link.call(call).addCallbacks(self._past, self._no_past, (place,))

    def _past(self, answer: Mapping[str, Any], place: Place) -> None:
        self.chat.opening.past([as_said(line, place) for line in answer["lines"]], self._heard)

    def _heard(self, events: list[dict[str, Any]]) -> None:
        for fields in events:
            self.heard(fields)

    def _no_past(self, failure: Failure) -> None:
        if failure.check(Lost) is None:
            error = failure.value.error if isinstance(failure.value, Refused) else {"text": str(failure.value)}
            self.end(REFUSED, error["text"])

    def heard(self, fields: Mapping[str, Any]) -> None:
        """An event of this room."""

    def write(self, fields: Mapping[str, Any]) -> None:
        """Print an event: as it came with --json, else as people read it."""
        if self.options.json:
            print(json.dumps(fields, ensure_ascii=False), flush=True)
            return
        event = as_event(fields)
        if event.kind in ("say", "file"):
            rows = texts.past({"lines": [{**event._asdict(), "ev": event.kind, "by": event.by_name}]})
        else:
            sentences_ = texts.event(event, self.options.room, self.chat.view.account, False)
            rows = [f"{texts.stamp(event.at)} {row}" for row in sentences_]
        for row in rows:
            print(row, flush=True)


class Tail(Follow):
    """`chat tail '#ops' [--json] [--since]`"""

    def heard(self, fields: Mapping[str, Any]) -> None:
        self.write(fields)


class Wait(Follow):
    """`chat wait '#ops' --match RE --timeout S`"""

    def before(self) -> None:
        try:
            self._wanted = re.compile(self.options.match)
        except re.error as error:
            self.end(USAGE, f"--match: {error}")
            return
        super().before()
        if self.options.timeout is not None:
            self.limit(self.options.timeout, NOT_SEEN)

    def heard(self, fields: Mapping[str, Any]) -> None:
        if self.code == DONE and fields["ev"] == "say" and self._wanted.search(fields.get("text") or ""):
            self.write(fields)
            self._wanted = re.compile(r"(?!)")
            self.end(DONE)


class WhoAmI(Script):
    """`chat whoami`"""

    def caught_up(self) -> None:
        view = self.chat.view
        if self.options.json:
            print(json.dumps({"name": view.me, "account": view.account, "server": self.chat.where}))
        else:
            print(f"{texts.clean(view.me)} on {self.chat.where}")
        self.end(DONE)

    def before(self) -> None:
        self.limit(self.options.wait, UNREACHABLE, f"No answer from {self.chat.where}.")


def _send(reactor: Any, options: Namespace) -> Script:
    """A message, or a file; a text from stdin that is too long for a message is one."""
    if options.file is not None:
        return SendFile(reactor, options)
    if options.text in (None, "-"):
        options.text = sys.stdin.read().removesuffix("\n")
        if len(options.text) > Limits().message_characters:
            return SendFile(reactor, options, options.text)
    return Send(reactor, options)


MODES: Final[Mapping[str, Callable[[Any, Namespace], Script]]] = {
    "send": _send,
    "tail": Tail,
    "wait": Wait,
    "whoami": WhoAmI,
    "get": Get,
}
