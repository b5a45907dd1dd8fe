"""Saying things: to groups, to people, in several lines."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from chatd.model import Call
from chatd.wire.irc import terms
from chatd.wire.irc.answers import Fields, answer, refusal
from chatd.wire.irc.line import Line
from chatd.wire.irc.verbs import is_group, listed, service, verb

if TYPE_CHECKING:
    from chatd.wire.irc.asked import Asked
    from chatd.wire.irc.dialect import Irc


ACTION: Final = re.compile("\x01ACTION (.*?)\x01?", re.DOTALL)


@verb("PRIVMSG")
def privmsg(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """Say something to groups or people."""
    return _say(irc, asked, params, None)


@verb("NOTICE")
def notice(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """Say something that is not to be answered."""
    return _say(irc, asked, params, "notice")


def _say(irc: Irc, asked: Asked, params: list[str], how: str | None) -> list[Call]:
    if irc.multiline is not None and "batch" in asked.tags:
        _more(irc, asked, params, irc.multiline)
        return []
    if not params or not params[0]:
        irc.numeric(asked, "411", [], f"No recipient given ({asked.command})")
        return []
    if len(params) < 2 or not params[1]:
        irc.numeric(asked, "412", [], "No text to send")
        return []
    targets = listed(params[0])
    if len(targets) > terms.TARGETS:
        irc.numeric(asked, "407", [params[0]], f"At most {terms.TARGETS} targets")
        return []
    text = params[1]
    if (match := ACTION.fullmatch(text)) is not None and how is None:
        text, how = match[1], "action"
    calls = []
    for target in targets:
        calls += say_to(irc, asked, target, text, how)
    return calls


def say_to(irc: Irc, asked: Asked, target: str, text: str, how: str | None) -> list[Call]:
    """The calls that say `text` to one target."""
    args: dict[str, Any] = {"text": text} if how is None else {"text": text, "how": how}
    if is_group(target):
        return [Call("say", args, target)]
    if target.lower() == terms.SERVICE:
        if irc.echo:
            asked.put(irc.line(f"{asked.command} {target} :{text}", source=irc.nick))
        if text.startswith("\x01") or how is not None:
            return _ctcp(irc, asked, text.strip("\x01")) if how is None else []
        return service(irc, asked, text)
    if target.lower() == irc.nick:
        irc.to_oneself(asked, text, how)
        return []
    return [Call("msg", {"user": target, **args})]


def _ctcp(irc: Irc, asked: Asked, query: str) -> list[Call]:
    """What clients ask each other without their people (CTCP): the server says what it is, and gives a PING back."""
    word, _, rest = query.partition(" ")
    said = {"VERSION": irc.software, "PING": rest}.get(word.upper())
    if said is not None:
        asked.put(irc.line(f"NOTICE {irc.nick} :\x01{word.upper()} {said}\x01", source=terms.SERVICE))
    return []


@dataclass(slots=True)
class Multiline:
    """A text of several lines that is under way (draft/multiline). `spoilt`: refused, its rest is skipped."""

    name: str
    target: str
    label: str | None
    verb: str = ""
    text: str = ""
    lines: int = 0
    spoilt: bool = False


@verb("BATCH", 1)
def batch(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """The beginning or the end of a text of several lines."""
    name, under_way = params[0][1:], irc.multiline
    if params[0].startswith("+") and len(params) > 2 and params[1] == "draft/multiline" and under_way is None:
        irc.multiline = Multiline(name, params[2], asked.label)
        asked.quiet()
        return []
    if params[0].startswith("-") and under_way is not None and under_way.name == name:
        irc.multiline = None
        if under_way.spoilt:
            asked.quiet()
            return []
        asked.label = under_way.label
        if under_way.text.strip():
            asked.command = under_way.verb
            how = "notice" if under_way.verb == "NOTICE" else None
            return say_to(irc, asked, under_way.target, under_way.text, how)
    irc.multiline = None
    irc.fail(asked, "MULTILINE_INVALID", [], "That is no text of several lines.")
    return []


def _more(irc: Irc, asked: Asked, params: list[str], held: Multiline) -> None:
    """One more line of it."""
    if held.spoilt:
        asked.quiet()
        return
    verb, text = asked.command, params[1] if len(params) > 1 else ""
    concat = "draft/multiline-concat" in asked.tags
    joint = "" if not held.lines or concat else "\n"
    held.text += joint + text
    held.lines += 1
    asked.label = held.label
    if asked.tags.get("batch") != held.name or (concat and not text):
        wrong: tuple[str, list[str], str] = ("MULTILINE_INVALID", [], "That is no text of several lines.")
    elif not params or params[0].lower() != held.target.lower() or held.verb not in ("", verb):
        wrong = ("MULTILINE_INVALID_TARGET", [held.target, *params[:1]], "One text has one target.")
    elif len(held.text.encode("utf-8", "replace")) > terms.MULTILINE_BYTES:
        wrong = ("MULTILINE_MAX_BYTES", [str(terms.MULTILINE_BYTES)], "That text is too long.")
    elif held.lines > terms.MULTILINE_LINES:
        wrong = ("MULTILINE_MAX_LINES", [str(terms.MULTILINE_LINES)], "That text has too many lines.")
    else:
        held.verb = verb
        asked.quiet()
        return
    held.spoilt = True
    asked.command = "BATCH"
    irc.fail(asked, *wrong)


@answer("done", "again")
def _done(irc: Irc, asked: Asked, call: Call, fields: Fields) -> list[Line]:
    """The event says it all, except where IRC has a word for it."""
    if asked.command == "INVITE":
        return [irc.numbered("341", [asked.params[0], asked.params[1]])]
    if "away" in fields and asked.command == "PRIVMSG":
        return [irc.numbered("301", [fields["room"][1:]], fields["away"])]
    return []


@refusal("NOTICE")
def _refused_notice(irc: Irc, asked: Asked, code: str, fields: Fields, text: str) -> list[Line] | None:
    """A NOTICE is never answered, except where nothing can be said this way at all."""
    return None if code in ("E2E_ONLY", "RATE", "TOO_LONG") else []
