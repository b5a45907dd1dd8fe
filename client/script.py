"""What every mode of `chat` for scripts is: a face that ends with an exit code (client/modes.py says which)."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from chatd.texts import clean
from client import sentences
from client.chat import Chat
from client.face import Face, halt

DONE, NOT_SEEN, USAGE, QUEUED, REFUSED, LOGIN, IN_USE, UNREACHABLE = range(8)


class Script(Face):
    """The face of a script: it ends with a code."""

    def __init__(self, reactor: Any, options: Namespace) -> None:
        self.reactor = reactor
        self.options = options
        self.code = DONE
        self.chat: Chat

    def begin(self, chat: Chat) -> None:
        """Serve this chat."""
        self.chat = chat
        if chat.store.get("token") is None or chat.store.get("me") is None:
            self.at_door()
            return
        self.before()
        chat.start()
        chat.connect()

    def before(self) -> None:
        """What is done before the connection."""

    def end(self, code: int, *rows: str) -> None:
        """This is the end; why, for stderr."""
        self.code = code
        for row in rows:
            print(clean(row), file=sys.stderr)
        self.chat.stop()

    def at_door(self) -> None:
        profile = "" if self.options.profile == "default" else f" --profile {self.options.profile}"
        self.end(LOGIN, sentences.LOG_IN_FIRST.format(profile=profile))

    def distrusted(self, why: str) -> None:
        self.end(UNREACHABLE, why)

    def resumes(self, record: Mapping[str, Any]) -> bool:
        """Only what the command itself is about."""
        return False

    def limit(self, seconds: float, code: int, *rows: str) -> None:
        """It takes no longer than this."""
        self.reactor.callLater(seconds, self.end, code, *rows)

    def bye(self) -> None:
        halt(self.reactor)
