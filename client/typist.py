"""What a person types: lines understood one after the other, and what they ask for done.

The rule: a line is understood once what was typed before it is answered, since that may have asked something, or opened
another room. Where the answer does not come, the lines behind it are given back unsent.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from chatd import texts
from client import sentences
from client.conversation import Action, Begin, Call, Enter, In, Local, Out, Queue, Show, Told
from client.people import COMMANDS as KEY_COMMANDS

if TYPE_CHECKING:
    from client.chat import Chat

FILES: Final = frozenset({"send", "image", "get", "cancel"})
"""Commands of files/desk.py."""
QUIT_WITHIN: Final = 2.0
"""Seconds that `/quit` leaves to what is on its way."""
TYPING_EVERY: Final = 4.0
"""Seconds between two words to the server that somebody types here."""


class Typist:
    """Who types in one chat."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat
        self.tells = True
        """A setting: whether others are told that I am typing."""
        self._told = (0, 0.0)  # the room in which I was said to be typing, and when
        self._ahead: deque[str] = deque()
        self._quitting = False

    @property
    def ahead(self) -> int:
        """How many lines wait to be understood."""
        return len(self._ahead)

    # -- lines --------------------------------------------------------------------------------------------------------

    def typed(self, line: str) -> None:
        """A line was typed."""
        if line.strip() != "/quit" and (self._ahead or self._waits):
            self._ahead.append(line)
            self.chat.face.refresh()
        else:
            self._understand(line)

    @property
    def _waits(self) -> bool:
        return self.chat.sender.busy or self.chat.people.asking > 0

    def go_on(self) -> None:
        """Something was answered: what was typed meanwhile is understood now."""
        while self._ahead and not self._waits and not self.chat.ended:
            self._understand(self._ahead.popleft())

    def give_up(self) -> None:
        """The answer does not come: who knows what these lines would have answered, or where they belong?"""
        ahead, self._ahead = self._ahead, deque()
        for line in ahead if self.chat.talk.inside else ():
            self.chat.store.remember(line)
            self.chat.notice(f"{sentences.NOT_SENT}{line}", style="class:error")

    def _understand(self, line: str) -> None:
        chat = self.chat
        chat.face.taken(line)
        if not chat.talk.secret and chat.talk.question is None and line.strip():
            chat.store.remember(line)
        self.do(chat.talk.typed(line, chat.now()))
        chat.face.refresh()

    def say(self, text: str) -> bool:
        """A whole text, whatever it begins with; whether it goes out."""
        if self.chat.talk.question is None and self.chat.talk.inside:
            self.chat.store.remember(text)
        actions = self.chat.talk.said(text, self.chat.now())
        self.do(actions)
        self.chat.face.refresh()
        return not any(isinstance(action, Show) and action.bad for action in actions)

    def say_as_file(self, text: str) -> None:
        """A text that is too long to read as a line goes as a file."""
        chat = self.chat
        if chat.view.current:
            name = time.strftime("paste-%Y%m%d-%H%M%S.txt", time.localtime(chat.clock()))
            chat.files.send_text(chat.view.current, text, name)
        else:
            chat.notice(*texts.refusal("NO_ROOM", {"sends": True}), style="class:error")

    def typing(self, text: str) -> None:
        """This stands in the line now: a message to others is being typed, or not."""
        chat, place = self.chat, self.chat.view.place
        command = text.startswith(("/", "@")) and not text.startswith("//")
        if not (text.strip() and self.tells and place and chat.inside) or command or chat.talk.question:
            return
        now = chat.clock()
        if place.id != self._told[0] or now >= self._told[1] + TYPING_EVERY:
            self._told = (place.id, now)
            chat.link.call({"do": "typing", "room": place.id}).addErrback(lambda _: None)

    # -- what they ask for --------------------------------------------------------------------------------------------

    def do(self, actions: Iterable[Action]) -> None:
        """Do what a line or an answer asks for."""
        chat = self.chat
        for action in actions:
            match action:
                case Show(rows, bad):
                    chat.notice(*rows, style="class:error" if bad else "class:notice")
                case Told(lines, lead):
                    chat.transcript.add(chat.transcript.writer.past(lines, lead))
                case Call():
                    chat.sender.call(action)
                case Queue(entry):
                    chat.sender.queue(entry)
                case Enter(place):
                    chat.go(place)
                case In(fields):
                    chat.link.entered()
                    chat.arrival.arrived(fields)
                    chat.sealed.enter(fields)
                    chat.arrival.first_time(fields)
                case Begin(fields):
                    if chat.sealed.usable:
                        chat.notice(*chat.sealed.begin(fields["account"], fields["name"]))
                    chat.resume_files()
                case Out(gone):
                    chat.logged_out(gone=gone)
                case Local(do, fields):
                    self._local(do, fields)

    def _local(self, do: str, fields: Mapping[str, Any]) -> None:
        chat = self.chat
        if do == "quit":
            self._quitting = True
            if chat.unsent and chat.talk.online:
                chat.later("quit", QUIT_WITHIN, self._quit)
            else:
                self._quit()
        elif do == "switch":
            chat.switch(fields.get("place"))
        elif do == "notify":
            self._notify(fields.get("level"))
        elif do in FILES:
            chat.files.command(do, fields)
        elif do in KEY_COMMANDS:
            chat.people.command(do, fields)
        elif do == "export":
            chat.export.command(fields)
        else:
            chat.face.local(do, fields)

    def _notify(self, level: str | None) -> None:
        chat, place = self.chat, self.chat.view.place
        if place is None:
            return
        if level in ("all", "mentions", "none"):
            chat.transcript.set_level(place, level)
        elif level is not None:
            chat.notice("Usage: /notify all|mentions|none", style="class:error")
            return
        chat.notice(f"{place.name}: {chat.transcript.level(place)}")

    def drained(self) -> None:
        """Nothing is on its way any more: who has asked to quit need not wait longer."""
        if self._quitting:
            self._quit()

    def _quit(self) -> None:
        chat = self.chat
        if not chat.ended:
            self.give_up()
            chat.transcript.settle(queued=True)
            rows = [sentences.unsent(chat.unsent)] if chat.talk.inside else []
            if chat.transferring:
                rows.append(sentences.go_on_next_time([each.name for each in chat.files.under_way]))
            chat.notice(texts.reply("bye", {})[0], *rows)
            chat.stop()
