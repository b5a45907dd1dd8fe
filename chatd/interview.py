"""The door, and the questions a person is asked when something is missing.

The rule: a question is a value (what is missing, and what to call then), never a flag; and nothing here knows a
socket: a line goes in; a call, and what is to be shown before it, come out.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from chatd.errors import Refusal
from chatd.model import Ask, Call
from chatd.wire import telnet
from chatd.wire.dialect import Interactive

ASK_AGAIN: Final = {
    "BAD_PASSWORD": ("password", "new"),
    "NAME_TAKEN": ("name", "room"),
    "BAD_NAME": ("name", "room"),
    "BAD_CODE": ("code",),
}
"""After these refusals of an answer to a question, the question is put again; its third miss ends it all."""
MISSES: Final = 3
_CHOICES: Final = {b"l": "login", b"r": "register", b"c": "quit"}


class Question(NamedTuple):
    """What is missing, and what to call with it."""

    call: Call
    ask: Ask


class Heard(NamedTuple):
    """What a line meant: the call to make, if any, behind what is to be shown."""

    call: Call | None = None
    say: bytes = b""


class Interview:
    """What one connection with a person has been asked."""

    __slots__ = ("_dialect", "_missed", "_put", "at_door", "misses", "question")

    def __init__(self, dialect: Interactive) -> None:
        self._dialect = dialect
        self.question: Question | None = None
        self.at_door = False
        """Whether the person came in by the door's questions, and not by a command."""
        self.misses = 0
        """How many answers were refused, of the question that `_missed` names."""
        self._missed = ""
        self._put = False

    def door(self, line: bytes) -> Heard:
        """A line from somebody who is not logged in: l, r, c, or a command.

        @raise Refusal: as the dialect does.
        """
        choice = line.strip().lower()
        if choice in _CHOICES:
            self.at_door = True
            return Heard(Call(_CHOICES[choice], {}))
        if choice.startswith((b"/", b"@#@")) and not choice.startswith(b"//"):
            self.at_door = False
            return Heard(self._dialect.read(line))
        wrong = self._dialect.notice("door_wrong", {}) if choice else b""
        return Heard(say=wrong + self.prompt())

    def prompt(self) -> bytes:
        """The door's own question."""
        return self._dialect.notice("prompt", {"prompt": "door"})

    def ask(self, call: Call, ask: Ask) -> bytes:
        """Open this question."""
        self.question = Question(call, ask)
        self._put = False
        return self._dialect.ask(ask)

    def answer(self, line: bytes, *, inside: bool) -> Heard:
        """A line that came while a question is open: its answer, or a command, which cancels it.

        @param inside: whether the person is logged in.
        @raise Refusal: as the dialect does.
        """
        assert self.question is not None
        (call, ask), self.question = self.question, None
        text = line.decode("utf-8", "replace").replace("\x00", "�")
        say = b""
        if ask.secret:
            say = self._dialect.answered(True)
        else:
            text = text.strip()
            if text.startswith(("/", "@#@")):
                self.misses = 0
                self.at_door = False
                return Heard(self._dialect.read(line))
        if ask.field == "confirmed":
            if text.lower() in ("y", "yes"):
                return Heard(call._replace(confirmed=True), say)
            return Heard(say=say + self._dialect.notice("not_done", {}))
        if ask.many:
            return self._more(call, ask, text)
        if not text:
            return Heard(say=say + self.cancel(inside=inside))
        return Heard(call._replace(args={**call.args, ask.field: text}, asked=(*call.asked, ask.field)), say)

    def _more(self, call: Call, ask: Ask, text: str) -> Heard:
        """Some words of a list, which ends with an empty line or -1 (FEATURES row 14)."""
        words = text.replace(",", " ").split()
        held = [*call.args.get(ask.field, ()), *(word for word in words if word != "-1")]
        call = call._replace(args={**call.args, ask.field: held})
        if words and "-1" not in words:
            return Heard(say=self.ask(call, ask))
        return Heard(call._replace(asked=(*call.asked, ask.field)))

    def settle(self, *, inside: bool) -> None:
        """A call is done, or refused for good: whoever is inside is past the door's questions."""
        self.misses = 0
        if inside:
            self.at_door = False

    def cancel(self, *, inside: bool) -> bytes:
        """Nothing is asked any more."""
        self.misses = 0
        if not inside:
            return self.prompt()
        if self.at_door:
            self.at_door = False
            return self._dialect.notice("hint", {})
        return b""

    def concerns(self, call: Call, refusal: Refusal) -> bool:
        """Whether what was refused is an answer, for which the question can be put again."""
        return _answered(call, refusal) is not None

    def again(self, call: Call, refusal: Refusal) -> Call | None:
        """The call without the answer that was refused, so that it is asked for again; None: that was one too many."""
        field = _answered(call, refusal) or ""
        if field != self._missed:
            self._missed, self.misses = field, 0
        self.misses += 1
        if self.misses >= MISSES:
            return None
        dropped = {field, "again", *(("password",) if field == "name" else ())}
        args = {name: value for name, value in call.args.items() if name not in dropped}
        return call._replace(args=args, asked=tuple(name for name in call.asked if name not in dropped))

    def repeat(self) -> bytes:
        """The open question once more, behind a refusal."""
        self._put = False
        return b"" if self.question is None else self._dialect.ask(self.question.ask)

    def beneath(self, out: list[bytes | memoryview]) -> list[bytes | memoryview]:
        """What a turn shows, with the open question below it again where it stands above already."""
        if self.question is None or (self._put and all(map(telnet.is_unseen, out))):
            return out
        if self._put:
            out = [b"\r\n", *out, self._dialect.ask(self.question.ask._replace(lead=None))]
        self._put = True
        return out

    def drop(self) -> bytes:
        """Ends the line that an open question stands in; it is asked no more."""
        question, self.question = self.question, None
        if question is None:
            return b""
        return self._dialect.answered(True) if question.ask.secret else b"\r\n"


def _answered(call: Call, refusal: Refusal) -> str | None:
    """The answer that was refused; None: it was none."""
    return next((field for field in ASK_AGAIN.get(refusal.code, ()) if field in call.asked), None)
