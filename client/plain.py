"""`chat --plain`: line by line, for screen readers, pipes and the simplest terminals.

The rule: nothing that was written is ever changed, no cursor moves, no colour. Lines come in the order read; a line of
mine is shown when it is stored, with its mark, and at once while offline. There is no standing prompt, only questions.
Lines of a pipe are taken one after the other, each when what was before it is answered.
"""

from __future__ import annotations

import os
import sys
import termios
from collections import deque
from typing import Any

from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.stdio import StandardIO
from twisted.python.failure import Failure

from chatd import texts
from client import formatting, sentences
from client.chat import Chat
from client.face import Face, halt
from client.files.progress import KEEP_TYPING
from client.lines import Line
from client.view import Place

STORED, QUEUED, UNREACHABLE = 0, 3, 7
"""How the program ends: nothing unsent, or something; or the server was never there."""
REPORT = 10.0
"""Seconds between two words on how far a file is."""
WAIT = 10.0
"""Seconds that the end of a pipe waits for what it wrote to be stored."""


class Plain(Face):
    """Reads lines, writes lines."""

    says_where = True

    def __init__(self, reactor: Any, *, ascii_only: bool = False) -> None:
        self.reactor = reactor
        self.ascii_only = ascii_only
        self.code = STORED
        self.chat: Chat
        self._lines: deque[str] = deque()
        self._eof = False
        self._tried = False
        self._failed = self._reached = False
        """Whether there was no connection, and whether there ever was one."""
        self._asked: object = None
        self._midline = False
        self._printed: set[str] = set()
        self._hidden: list[Any] | None = None
        self._ending: Any = None
        self._reporting: Any = None

    def begin(self, chat: Chat) -> None:
        """Serve this chat."""
        self.chat = chat
        StandardIO(_Input(self))
        chat.start()
        chat.connect()

    # -- in -----------------------------------------------------------------------------------------------------------

    def line(self, text: str) -> None:
        """A line was read."""
        self._lines.append(text)
        self.pump()

    def eof(self) -> None:
        """No more lines will come."""
        self._eof = True
        self.pump()

    def pump(self) -> None:
        """Take the next lines, as far as it is clear what they mean."""
        chat = self.chat
        while self._lines and self._tried and not chat.busy and (chat.talk.online or chat.talk.inside):
            if chat.talk.online and chat.transcript.tail.queued and self._lines[0].startswith(("/", "@#@")):
                break  # a command waits until what was said before it is stored and shown
            text = self._lines.popleft()
            self._midline = False
            if self._hidden is not None:
                self._echo(True)
                sys.stdout.write("\n")
            self._asked = None
            chat.typist.typed(text)
        if (
            self._eof
            and not self._lines
            and not chat.busy
            and not (chat.transferring and chat.talk.online)
            and (chat.talk.online or self._tried or self._failed)
        ):
            if not chat.unsent and not chat.sealed.settling:
                self._end()
            elif self._ending is None:
                self._ending = self.reactor.callLater(WAIT, self._end)

    def _end(self) -> None:
        self.code = QUEUED if self.chat.unsent else STORED if self._reached else UNREACHABLE
        if self.code == UNREACHABLE:
            print(sentences.NOT_WAITING.format(where=self.chat.where), file=sys.stderr)
        self.chat.stop()

    # -- out ----------------------------------------------------------------------------------------------------------

    def show(self, lines: list[Line]) -> None:
        for line in lines:
            self._write("".join(f"{formatting.plain(row)}\n" for row in line.shown()))

    def _write(self, text: str) -> None:
        if self._midline:
            text = f"\n{text}"
        self._midline = not text.endswith("\n")
        if self.ascii_only:
            text = formatting.to_ascii(text)
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except (BrokenPipeError, UnicodeEncodeError):
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - nobody reads us any more

    def refresh(self) -> None:
        chat = self.chat
        if chat.talk.online:
            self._tried = self._reached = True
        if chat.down_since is not None:
            for line in chat.transcript.tail.queued:
                if line.mid is not None and line.mid not in self._printed:
                    self._printed.add(line.mid)
                    self.show([line])
        if chat.transferring and (self._reporting is None or not self._reporting.active()):
            self._reporting = self.reactor.callLater(REPORT, self._progress)
        if chat.busy:
            return
        self._ask()
        self.reactor.callLater(0, self.pump)

    def _ask(self) -> None:
        """Put the open question, once."""
        talk = self.chat.talk
        asked: object = (
            talk.question if talk.question is not None else None if talk.inside or not talk.online else "door"
        )
        if asked is None or asked == self._asked:
            return
        self._asked = asked
        self._write(texts.DOOR if asked == "door" else talk.prompt)
        if talk.secret:
            self._echo(False)

    def _echo(self, on: bool) -> None:
        """Whether the terminal shows what is typed."""
        if not sys.stdin.isatty():
            return
        fd = sys.stdin.fileno()
        if on and self._hidden is not None:
            termios.tcsetattr(fd, termios.TCSADRAIN, self._hidden)
            self._hidden = None
        elif not on and self._hidden is None:
            self._hidden = termios.tcgetattr(fd)
            mode = termios.tcgetattr(fd)
            mode[3] &= ~termios.ECHO
            termios.tcsetattr(fd, termios.TCSADRAIN, mode)

    def unreachable(self, why: str, wait: float) -> None:
        self._tried = self._tried or self.chat.talk.inside
        self._failed = True
        self._asked = None

    def caught_up(self) -> None:
        if self.chat.view.place is not None:
            self.entered(self.chat.view.place)

    def entered(self, place: Place) -> None:
        self._write(f"{texts.now_in(formatting.clean(place.name), place.role)}\n")

    def _progress(self) -> None:
        """How far the transfers are, now and then: nothing that was written changes."""
        if self.chat.transferring:
            for row in self.chat.progress(200):
                self._write(f"{row.removesuffix(KEEP_TYPING)}\n")
            self._reporting = self.reactor.callLater(REPORT, self._progress)

    def local(self, do: str, fields: Any) -> None:
        self._write(f"/{do} needs a terminal.\n")

    def bye(self) -> None:
        self._echo(True)
        if self._midline:
            self._write("")
        halt(self.reactor)


class _Input(Protocol):
    def __init__(self, face: Plain) -> None:
        self._face = face
        self._rest = b""

    def dataReceived(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._face.line(line.removesuffix(b"\r").decode("utf-8", "replace"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._rest:
            self._face.line(self._rest.decode("utf-8", "replace"))
        self._face.eof()
