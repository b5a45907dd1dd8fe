"""`chat send --file` and `chat get`: a file in a shell script, with the exit codes of client/modes.py.

The rule: what was begun is gone on with when the same command is given again; stdout has the path of what was fetched,
and nothing else.
"""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from chatd import texts
from client import sentences
from client.answers import Lost, Refused
from client.files.pictures import Failed
from client.files.source import Source, Unsendable
from client.outbox import Entry, mid_of, new_mid
from client.script import DONE, QUEUED, REFUSED, UNREACHABLE, USAGE, Script

CLEAR: Final = "\r\x1b[K"


class _Transferring(Script):
    """What both share: a line of progress for people, and an end where nothing moves any more."""

    stuck: tuple[int, str] = (QUEUED, sentences.GOES_ON)
    """How it ends where nothing moves for `--wait` seconds."""

    def __init__(self, reactor: Any, options: Namespace) -> None:
        super().__init__(reactor, options)
        self.key = ""
        self._done = -1
        self._watched: Any = None
        self._drew = False

    def before(self) -> None:
        self._watch()

    def _watch(self) -> None:
        done = sum(each.done for each in self.chat.files.under_way) if self.chat.transferring else -1
        if self._watched is not None and done == self._done:
            self.end(*self.stuck)
            return
        self._done = done
        self._watched = self.reactor.callLater(self.options.wait, self._watch)

    def resumes(self, record: Mapping[str, Any]) -> bool:
        return record["key"] == self.key

    def refresh(self) -> None:
        if sys.stderr.isatty() and self.chat.transferring:
            columns = os.get_terminal_size(sys.stderr.fileno()).columns
            self._drew = True
            print(f"{CLEAR}{self.chat.progress(columns)[0]}", end="", file=sys.stderr, flush=True)

    def end(self, code: int, *rows: str) -> None:
        if self._watched is not None and self._watched.active():
            self._watched.cancel()
        if self._drew:
            print(CLEAR, end="", file=sys.stderr, flush=True)
        super().end(code, *rows)

    def refused(self, failure: Failure) -> None:
        """A call of ours was not answered as hoped. A cut connection is waited for."""
        if failure.check(Lost) is None:
            error = failure.value.error if isinstance(failure.value, Refused) else {"text": str(failure.value)}
            self.end(REFUSED, error["text"], *error.get("help", "").splitlines())


class SendFile(_Transferring):
    """`chat send '#ops' --file PATH [CAPTION] [--id KEY]`, and a text from stdin that is longer than a message."""

    def __init__(self, reactor: Any, options: Namespace, text: str | None = None) -> None:
        """`text`: to be sent as a file."""
        super().__init__(reactor, options)
        self._text = text

    def before(self) -> None:
        chat, options = self.chat, self.options
        self._path = Path(options.file or "")
        try:
            mark = None
            if self._text is None:
                source = Source(self._path)
                source.close()
                mark = source.mark
        except Unsendable as error:
            self.end(USAGE, sentences.not_sent_file(str(self._path), str(error)))
            return
        held = [record for record in chat.store.get("transfers", []) if self._same(record, mark)]
        account = chat.store.get("me")[1]
        self.key = mid_of(options.id, account) if options.id else held[0]["key"] if held else new_mid()
        super().before()

    def _same(self, record: Mapping[str, Any], mark: list[int] | None) -> bool:
        return (
            mark is not None
            and record["way"] == "up"
            and (record["path"], record["mark"])
            == (
                str(self._path.resolve()),
                mark,
            )
        )

    def caught_up(self) -> None:
        to = self.options.to
        if self.chat.files.known(self.key):
            return
        if to.startswith("@"):
            Deferred.fromCoroutine(self._conversation(to[1:])).addCallbacks(self._begin, self.refused)
            return
        place = self.chat.view.find(to)
        if (place is None or not place.sealed) and self.chat.sealed.usable and self.chat.sealed.hides(to):
            self.end(REFUSED, sentences.CALLED_OPEN.format(room=to))
        elif place is None:
            self.end(REFUSED, *texts.refusal("NOT_MEMBER", {"room": to}))
        else:
            self._begin(place.id)

    async def _conversation(self, name: str) -> int:
        """The conversation with somebody: sealed where they have keys."""
        number = await self.chat.sealed.conversation(name) if self.chat.sealed.usable else 0
        if not number:
            number = (await self.chat.link.call({"do": "dm", "user": name, "mid": new_mid()}))["room_id"]
        return number

    def _begin(self, room: int) -> None:
        try:
            if self._text is None:
                self.chat.files.send(room, self._path, self.options.text or "", mid=self.key)
            else:
                self.chat.files.send_text(room, self._text, "message.txt", mid=self.key)
        except Failed as failed:
            self.end(REFUSED, *failed.rows)

    def filed(self, key: str, where: Path | None, fault: Sequence[str]) -> None:
        if key == self.key and (fault or not self.chat.unsent):  # else its message is still to go out
            self.end(REFUSED if fault else DONE, *fault)

    def fate(self, entry: Entry, seq: int, error: Mapping[str, Any] | None) -> None:
        if error is not None:
            self.end(REFUSED, error["text"], *error.get("help", "").splitlines())
        elif not self.chat.unsent and not self.chat.transferring:
            self.end(DONE)


class Get(_Transferring):
    """`chat get 17 [dir]`"""

    stuck = (UNREACHABLE, sentences.GOES_ON)

    def __init__(self, reactor: Any, options: Namespace) -> None:
        super().__init__(reactor, options)
        self._untold: Mapping[str, Any] | None = None
        """A sealed file whose message has not been opened yet."""

    def caught_up(self) -> None:
        if self.key:
            return
        number = self.options.file
        call = {"do": "download", "file": int(number) if number.isdecimal() else number}
        self.chat.link.call(call).addCallbacks(self._fetch, self.refused)

    def _fetch(self, about: Mapping[str, Any]) -> None:
        try:
            record = self.chat.files.wanted(about, Path(self.options.folder))
        except Failed as failed:
            self._untold = about
            self.stuck = (REFUSED, failed.rows[0])
            return
        self._untold = None
        self.stuck = type(self).stuck
        self.key = record["key"]
        self.chat.files.fetch(record)

    def refresh(self) -> None:
        super().refresh()
        if self._untold is not None:
            self._fetch(self._untold)

    def filed(self, key: str, where: Path | None, fault: Sequence[str]) -> None:
        if key == self.key:
            if where is not None:
                print(where, flush=True)
            self.end(REFUSED if fault else DONE, *fault)
