"""How a call can fail. The rule: no network is imported for it, since the screen stands before the network does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Refused(Exception):
    """The server has refused a call."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(error.get("code"), error.get("text"))
        self.error = error
        self.code: str = error.get("code", "")


class Lost(Exception):
    """The connection ended before the answer came."""
