"""About the server."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from chatd import texts
from chatd.model import Call
from chatd.wire.irc import terms
from chatd.wire.irc.answers import Fields, answer
from chatd.wire.irc.line import Line
from chatd.wire.irc.verbs import verb

if TYPE_CHECKING:
    from chatd.wire.irc.asked import Asked
    from chatd.wire.irc.dialect import Irc


@verb("MOTD")
def motd(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """The message of the day."""
    if _elsewhere(irc, asked, params):
        return []
    for line in irc.motd():
        asked.put(line)
    return []


def _elsewhere(irc: Irc, asked: Asked, params: list[str]) -> bool:
    if params and params[0] and params[0].lower() not in (irc.server.lower(), irc.nick):
        irc.numeric(asked, "402", [params[0]], "No such server")
        return True
    return False


@verb("LUSERS")
def lusers(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """How many people there are."""
    return [Call("census", {})]


@verb("VERSION")
def version(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """Which program this is."""
    if not _elsewhere(irc, asked, params):
        irc.numeric(asked, "351", [irc.software, irc.server], "groups and conversations")
        for line in irc.isupport():
            asked.put(line)
    return []


@verb("TIME")
def time_(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """What time it is here."""
    if not _elsewhere(irc, asked, params):
        irc.numeric(asked, "391", [irc.server], f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC")
    return []


@verb("INFO")
def info(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """About the program."""
    if not _elsewhere(irc, asked, params):
        for text in texts.reply("banner", {}):
            irc.numeric(asked, "371", [], text)
        irc.numeric(asked, "374", [], "End of INFO list")
    return []


@verb("HELP")
def help_(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """What can be said here besides IRC's own verbs."""
    subject = params[0] if params and params[0] else "*"
    if subject != "*":
        irc.numeric(asked, "524", [subject], f"No help on this here; /msg {terms.SERVICE} help {subject}")
        return []
    irc.numeric(asked, "704", [subject], "IRC's verbs work as anywhere.")
    irc.numeric(asked, "705", [subject], f"All else: /msg {terms.SERVICE} help")
    irc.numeric(asked, "706", [subject], "End of /HELP.")
    return []


@verb("OPER", 2)
def oper(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """Become an operator by the configured name and password."""
    return [Call("oper", {"name": params[0], "password": params[1]})]


@answer("census")
def _census(irc: Irc, asked: Asked, call: Call, fields: Fields) -> list[Line]:
    if asked.command == "CONNECT":
        irc.census = fields
        return []
    return counts(irc, fields)


def counts(irc: Irc, fields: Fields) -> list[Line]:
    online = max(fields.get("online", 0), 1)
    most = max(fields.get("accounts", 0), online)
    return [
        irc.numbered("251", [], f"There are {online} users and 0 invisible on {fields.get('nodes', 1)} servers"),
        irc.numbered("252", ["0"], "operator(s) online"),
        irc.numbered("254", [str(fields.get("groups", 0))], "channels formed"),
        irc.numbered("255", [], f"I have {online} clients and 0 servers"),
        irc.numbered("265", [str(online), str(most)], f"Current local users {online}, max {most}"),
        irc.numbered("266", [str(online), str(most)], f"Current global users {online}, max {most}"),
    ]


@answer("oper")
def _oper(irc: Irc, asked: Asked, call: Call, fields: Fields) -> list[Line]:
    return [
        irc.numbered("381", [], "You are now an IRC operator"),
        irc.line(f"MODE {irc.nick} :+o", source=irc.nick),
    ]
