"""How cost grows: with the members of a room, the number of rooms, what is stored, and the number of instances.

Each function measures one row and returns what load.py reported.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import servers

Result = dict[str, Any]

MEMBERS = (10, 100, 1_000, 5_000)
ROOMS = (1, 10, 100)
EVENTS = (0, 100_000, 1_000_000)
NODES = (1, 2, 5)
PEOPLE = 1_000


def members(count: int, seconds: float) -> Result:
    """One room of so many; the window stays at most 200 messages."""
    with servers.chatd() as server:
        return servers.load(server, "closed", members=count, seconds=seconds)


def rooms(count: int, seconds: float, people: int = PEOPLE) -> Result:
    """So many rooms, the same number of people in all of them together."""
    with servers.chatd() as server:
        return servers.load(server, "closed", members=people, rooms=count, seconds=seconds)


def history(data: Path, seconds: float) -> Result:
    """The standard load over a prepared folder; and how long the start took."""
    with servers.chatd(data) as server:
        result = servers.load(server, "closed", known=True, seconds=seconds)
        return result | {"ready": server.ready_seconds}


def instances(count: int, seconds: float) -> Result:
    """The standard load through HAProxy; the cost of HAProxy is counted with the server's."""
    with servers.cluster(count) as server:
        result = servers.load(server, "closed", seconds=seconds)
        return result | servers.load(server, "open", known=True, seconds=seconds)
