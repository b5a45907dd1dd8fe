"""adbapi's pool of connections, on threads of ours."""

from __future__ import annotations

from typing import Any

from twisted.enterprise import adbapi

from chatd.threads import Threads


class Pool(adbapi.ConnectionPool):
    """As Twisted's; `cp_name` is also its threads' name, and all `cp_max` of them are there from the start."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)  # type: ignore[no-untyped-call]
        self.threadpool = Threads(self.name or "database", self.max)  # type: ignore[assignment]
