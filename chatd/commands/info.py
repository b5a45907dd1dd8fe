"""About the server and its commands.

The rule: nothing here changes anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatd.command import ALIASES, TABLE, command, lookup, table
from chatd.model import Me, Reply
from chatd.rules import Needs

if TYPE_CHECKING:
    from chatd.store import ReadTx, Tx


@command("/ping [token]", needs=Needs.NOTHING, topic="Also", example="/ping 7")
def ping(tx: Tx, me: Me, token: str | int = "") -> Reply:
    """Answered once everything before it is stored and delivered, to you and from you."""
    return Reply("pong", {"token": token, "seq": tx.last_seq()})


@command("/help [command]", needs=Needs.NOTHING, topic="Also", example="/help kick", local=True)
def help_(tx: None, me: Me, command: str = "") -> Reply:
    """The commands, or more about one of them."""
    if not command:
        return Reply("help", {"commands": table()})
    verb = lookup(str(command).removeprefix("/").lower()).verb
    return Reply("help", {"command": next(entry for entry in table() if entry["do"] == verb)})


@command("/menu", needs=Needs.NOTHING, topic="Also", local=True)
def menu(tx: None, me: Me) -> Reply:
    """The numbered commands, with words."""
    numbered = sorted((int(alias), verb) for alias, verb in ALIASES.items() if alias.isdecimal())
    return Reply("menu", {"menu": [{"n": n, "do": verb, "help": TABLE[verb].help} for n, verb in numbered]})


@command("/census", topic="", needs=Needs.NOTHING)
def census(tx: Tx, me: Me) -> Reply:
    """How many people and groups there are (programs). It counts those, too, who have just come."""
    return Reply(
        "census",
        {
            "accounts": tx.account_count(),
            "online": tx.online_count(),
            "groups": tx.open_groups(),
            "nodes": max(1, len(tx.nodes())),
        },
    )


@command("/whereami", topic="Also", read=True)
def whereami(tx: ReadTx, me: Me) -> Reply:
    """Which instance of the server this is."""
    nodes = {*tx.nodes(), tx.node}
    return Reply("whereami", {"node": tx.node, "nodes": len(nodes)})


@command("/stats", needs=Needs.OPERATOR, topic="Also", read=True)
def stats(tx: ReadTx, me: Me) -> Reply:
    """How much there is of everything."""
    return Reply(
        "stats",
        {
            "accounts": tx.account_count(),
            "online": tx.online_count(),
            "nodes": len(tx.nodes()),
            "seq": tx.last_seq(),
            "events": tx.event_count(),
        },
    )
