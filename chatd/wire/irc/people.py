"""Who is who, and who is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from chatd.model import Call
from chatd.wire.irc import terms
from chatd.wire.irc.answers import Fields, answer, refusal
from chatd.wire.irc.line import Line, packed
from chatd.wire.irc.verbs import is_group, listed, verb

if TYPE_CHECKING:
    from chatd.wire.irc.asked import Asked
    from chatd.wire.irc.dialect import Irc


@verb("AWAY")
def away(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """Say that one is away, or back."""
    return [Call("away", {"text": params[0]} if params and params[0] else {})]


@verb("WHO")
def who(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """Who is in a group, one person, or those whom one shares a group with and whose nicks are like a mask."""
    mask = params[0] if params else ""
    if is_group(mask):
        return [Call("roster", {}, mask)]
    if not mask or set(mask) & set("*?!@,"):
        nick = mask.partition("!")[0] if mask not in ("", "0") else "*"
        return [Call("who", {"mask": nick or "*"})]
    return [Call("whois", {"user": mask})]


@verb("WHOIS")
def whois(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """About one person; a server that is named first is this one."""
    name = params[1] if len(params) > 1 and params[1] else params[0] if params else ""
    if not name:
        irc.numeric(asked, "431", [], "No nickname given")
        return []
    asked.params = [listed(name)[0] if listed(name) else name]
    return [Call("whois", {"user": asked.params[0], "roles": "yes"})]


@verb("WHOWAS")
def whowas(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """Who is gone is told to nobody."""
    if not params or not params[0]:
        irc.numeric(asked, "431", [], "No nickname given")
        return []
    irc.numeric(asked, "406", [params[0]], "There was no such nickname")
    irc.numeric(asked, "369", [params[0]], "End of WHOWAS")
    return []


@verb("ISON", 1)
def ison(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """Who of these is online."""
    return _look_up(irc, asked, [name for param in params for name in param.split()])


@verb("USERHOST", 1)
def userhost(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """Who these are, in short."""
    return _look_up(irc, asked, params[:5])


def _look_up(irc: Irc, asked: Asked, people: list[str]) -> list[Call]:
    asked.gathered = []
    asked.people = len(people[:20])
    return [Call("whois", {"user": name}) for name in people[:20]]


WHO_FIELDS: Final = "tcuihsnfdlaor"
"""The fields of WHOX, in the order in which they are sent."""


def who_lines(irc: Irc, asked: Asked, room: str, members: list[dict[str, Any]]) -> list[Line]:
    """WHO of a group or a person, by numeric or, where fields are named, by WHOX."""
    wanted = asked.params[1] if len(asked.params) > 1 else ""
    lines = []
    for member in members:
        gone = member.get("away") is not None or not member["online"]
        flags = ("G" if gone else "H") + ("@" if member.get("role") in ("owner", "admin") else "")
        if "%" in wanted:
            lines.append(_whox(irc, wanted, room, member, flags))
        else:
            name = member["name"]
            lines.append(irc.numbered("352", [room, name, irc.server, irc.server, name, flags], f"0 {name}"))
    return [*lines, irc.numbered("315", [asked.params[0] or "*"], "End of WHO list")]


def _whox(irc: Irc, wanted: str, room: str, member: Mapping[str, Any], flags: str) -> Line:
    letters, _, token = wanted.partition("%")[2].partition(",")
    name = member["name"]
    account = "0" if member.get("account") in irc.guests else name
    values = {
        "t": token[:3] or "0",
        "c": room,
        "u": name,
        "i": "255.255.255.255",
        "h": irc.server,
        "s": irc.server,
        "n": name,
        "f": flags,
        "d": "0",
        "l": "0",
        "a": account,
        "o": "n/a",
        "r": f":{name}",
    }
    words = " ".join(values[letter] for letter in WHO_FIELDS if letter in letters)
    return irc.line(f"354 {irc.me} {words}")


@answer("whois")
def _whois(irc: Irc, asked: Asked, call: Call, fields: Fields) -> list[Line]:
    name = fields["name"]
    if asked.command in ("ISON", "USERHOST"):
        if asked.command == "USERHOST":
            here = "+" if fields["online"] and not fields["away"] else "-"
            asked.gathered.append(f"{name}={here}{name}@{irc.server}")
        elif fields["online"]:
            asked.gathered.append(name)
        return _each(irc, asked)
    if asked.command == "WHO":
        return who_lines(irc, asked, "*", [dict(fields)])
    lines = [irc.numbered("311", [name, name, irc.server, "*"], name)]
    roles = fields.get("roles", {})
    shown = [f"{'@' if roles.get(room) in ('owner', 'admin') else ''}{room}" for room in fields["groups"]]
    lines += [irc.numbered("319", [name], part) for part in packed(shown, 400)]
    lines.append(irc.numbered("312", [name, irc.server], irc.software))
    if fields["away"] is not None or not fields["online"]:
        lines.append(irc.numbered("301", [name], fields["away"] or terms.OFFLINE))
    if fields["account"] not in irc.guests:
        lines.append(irc.numbered("330", [name, name], "is logged in as"))
    return [*lines, irc.numbered("318", [asked.params[0]], "End of /WHOIS list")]


def _each(irc: Irc, asked: Asked) -> list[Line]:
    """The one line that answers about several people, once all are looked up."""
    asked.people -= 1
    if asked.people > 0:
        return []
    return [irc.numbered("303" if asked.command == "ISON" else "302", [], " ".join(asked.gathered))]


@answer("who")
def _like(irc: Irc, asked: Asked, call: Call, fields: Fields) -> list[Line]:
    return who_lines(irc, asked, "*", fields["people"])


@answer("away")
def _away(irc: Irc, asked: Asked, call: Call, fields: Fields) -> list[Line]:
    return [irc.numbered("306", [], "You have been marked as being away")]


@answer("back")
def _back(irc: Irc, asked: Asked, call: Call, fields: Fields) -> list[Line]:
    return [irc.numbered("305", [], "You are no longer marked as being away")]


@refusal("WHO")
def _refused_who(irc: Irc, asked: Asked, code: str, fields: Fields, text: str) -> list[Line] | None:
    if code in ("NO_USER", "NO_GROUP", "NOT_MEMBER", "BAD_NAME"):
        return [irc.numbered("315", [asked.params[0] or "*"], "End of WHO list")]
    return None


@refusal("WHOIS")
def _refused_whois(irc: Irc, asked: Asked, code: str, fields: Fields, text: str) -> list[Line] | None:
    if code != "NO_USER":
        return None
    name = asked.params[0]
    return [
        irc.numbered("401", [name], terms.PLAIN_WORDS["401"]),
        irc.numbered("318", [name], "End of /WHOIS list"),
    ]


@refusal("ISON", "USERHOST")
def _refused_each(irc: Irc, asked: Asked, code: str, fields: Fields, text: str) -> list[Line] | None:
    return _each(irc, asked) if code == "NO_USER" else None
