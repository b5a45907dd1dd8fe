"""IRC's verbs: what each line of a client asks for.

The rule: a verb checks the form of a line and says which calls it means; whether they may be done is decided where it
is decided for everybody. What can be answered at once is put into the answer. The verbs stand by subject in the files
beside this one, each with the answers it brings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from chatd.command import ALIASES, TABLE, bind
from chatd.errors import Refusal
from chatd.model import Call

if TYPE_CHECKING:
    from chatd.wire.irc.asked import Asked
    from chatd.wire.irc.dialect import Irc


HERE_ALONE: Final = frozenset({"hello", "login", "register", "guest", "vanish", "quit", "ack", "ping"})
"""Commands of the table for which IRC has its own way."""


Run = Callable[["Irc", "Asked", list[str]], list[Call]]


class Verb(NamedTuple):
    """A verb: how many parameters it needs, and whether it works before registration is complete."""

    run: Run
    least: int
    early: bool


VERBS: Final[dict[str, Verb]] = {}


def verb(name: str, least: int = 0, *, early: bool = False) -> Callable[[Run], Run]:
    """Put a verb in the table."""

    def enter(run: Run) -> Run:
        VERBS[name] = Verb(run, least, early)
        return run

    return enter


def run(irc: Irc, asked: Asked) -> list[Call]:
    """The calls that a line means; what is answered at once is in `asked` already."""
    found = VERBS.get(asked.command)
    if found is None:
        return _ours(irc, asked)
    if not irc.registered and not found.early:
        irc.numeric(asked, "451", [], "You have not registered")
        return []
    params = asked.params
    if len(params) < found.least or any(not param for param in params[: found.least]):
        irc.numeric(asked, "461", [asked.command], "Not enough parameters")
        return []
    return found.run(irc, asked, params)


def _ours(irc: Irc, asked: Asked) -> list[Call]:
    """No verb of IRC: one of our own commands, by /quote."""
    name = asked.command.lower()
    if not irc.registered:
        irc.numeric(asked, "451", [], "You have not registered")
        return []
    if TABLE.get(ALIASES.get(name, name)) is None or ALIASES.get(name, name) in HERE_ALONE:
        irc.numeric(asked, "421", [asked.command], "Unknown command")
        return []
    return service(irc, asked, f"{name} {' '.join(asked.params)}")


def service(irc: Irc, asked: Asked, text: str) -> list[Call]:
    """A command for the server, as in plain."""
    name, _, rest = text.strip().removeprefix("/").partition(" ")
    name = name.lower()
    asked.service = True
    if ALIASES.get(name, name) in HERE_ALONE:
        raise Refusal("UNKNOWN_CMD", command=f"/{name}", near="")
    return [bind(name or "help", rest)]


def is_group(name: str) -> bool:
    """Whether this can only be the name of a group."""
    return name.startswith("#")


def listed(param: str) -> list[str]:
    return list(dict.fromkeys(name for name in param.split(",") if name))
