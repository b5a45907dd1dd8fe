"""What is true only now: watching who is there, and typing.

The rule: nothing of this is in the log. watching.py tells it to the sessions that watch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatd.command import command
from chatd.model import Me, Reply, Room, Turn
from chatd.rules import Needs

if TYPE_CHECKING:
    from chatd.store import ReadTx


@command("/watch", topic="", local=True)
def watch(tx: None, me: Me) -> Reply:
    """From now on be told who comes, goes, is away and is typing in your rooms (programs)."""
    return Reply("done", {}, Turn(watch=True))


@command("/typing", needs=Needs.MEMBER, topic="", read=True)
def typing(tx: ReadTx, me: Me, room: Room) -> Reply:
    """Say that you are typing in this room; every few seconds, while you are (programs)."""
    return Reply("done", {}, Turn(typing=room.id))
