"""Answers and refusals as IRC gives them: numerics where it has them, else standard replies and notices.

The rule: a numeric says what the answer's fields say, never more. Which reply becomes which numeric stands with its
subject.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from chatd import texts
from chatd.errors import Refusal
from chatd.model import Ask, Call, Reply
from chatd.wire.irc import terms
from chatd.wire.irc.line import Line

if TYPE_CHECKING:
    from chatd.wire.irc.asked import Asked
    from chatd.wire.irc.dialect import Irc


Fields = Mapping[str, Any]


Answer = Callable[["Irc", "Asked", Call, Fields], list[Line]]
Refuse = Callable[["Irc", "Asked", str, Fields, str], list[Line] | None]
SECRET: Final = frozenset({"PASS", "AUTHENTICATE", "REGISTER", "OPER", "CONNECT", "PRIVMSG", "NOTICE"})
"""Verbs whose first parameter is not repeated in a standard reply."""

ANSWERS: Final[dict[str, Answer]] = {}
"""By name of the reply; the others are notices of what a person would read."""
SPECIAL: Final[dict[str, Refuse]] = {}
"""Verbs that refuse in their own way: code, fields and sentence to lines. None: as all others do."""


def answer(*replies: str) -> Callable[[Answer], Answer]:
    """How these replies are written."""

    def enter(show: Answer) -> Answer:
        ANSWERS.update(dict.fromkeys(replies, show))
        return show

    return enter


def refusal(*verbs: str) -> Callable[[Refuse], Refuse]:
    """How these verbs refuse."""

    def enter(show: Refuse) -> Refuse:
        SPECIAL.update(dict.fromkeys(verbs, show))
        return show

    return enter


def answered(irc: Irc, asked: Asked, call: Call, reply: Reply) -> list[Line]:
    """The lines of an answer."""
    if asked.service:
        return [irc.by_service(text) for text in texts.reply(reply.name, reply.fields)]
    show = ANSWERS.get(reply.name)
    if show is not None:
        return show(irc, asked, call, reply.fields)
    return [irc.by_service(text) for text in texts.reply(reply.name, reply.fields)]


def refused(irc: Irc, asked: Asked, refusal: Refusal, ask: Ask | None) -> list[Line]:
    """A refusal: the numeric that IRC has for it, else FAIL with our own code."""
    code, fields, command = refusal.code, refusal.fields, asked.command
    found = texts.refusal(code, fields)
    if asked.service:
        if ask is not None:
            found = [texts.prompt(ask.prompt, ask.fields).strip(), *found]
        return [irc.by_service(text) for text in found]
    special = SPECIAL.get(command)
    if special is not None and (lines := special(irc, asked, code, fields, " ".join(found))) is not None:
        return lines
    numeric = terms.BY_COMMAND.get((command, code)) or terms.NUMERICS.get(code)
    if numeric is not None:
        number, params = numeric
        text = terms.PLAIN_WORDS.get(number, found[0])
        return [irc.numbered(number, params(fields, asked.params), text)]
    about = [str(fields["room"])] if fields.get("room") else asked.params[:1] if command not in SECRET else []
    irc.fail(held := irc.silent(command), code, [word for word in about if word], " ".join(found))
    return held.lines


def batched(irc: Irc, what: str, lines: list[Line]) -> list[Line]:
    """Lines as one batch, where the client knows batches."""
    if not irc.has("batch"):
        return lines
    batch = irc.batch()
    return [irc.line(f"BATCH +{batch} {what}"), *inside(batch, lines), irc.line(f"BATCH -{batch}")]


def inside(batch: str, lines: Iterable[Line]) -> list[Line]:
    """Lines of a batch; those that are in one inside it already stay there."""
    return [line if any(tag == "batch" for tag, _ in line.tags) else line.tagged(("batch", batch)) for line in lines]
