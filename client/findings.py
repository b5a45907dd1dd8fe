"""What is found of whatever comes into a sealed room: what it says, or what is wrong with it.

The rule: what is wrong is never shown as if it were right; it has a name, and a sentence in sentences.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple


class Warn(StrEnum):
    """What a person is told about a message, or instead of it."""

    WAITING = "waiting"
    CHANGED = "changed"
    UNDECRYPTABLE = "undecryptable"
    FORGED = "forged"
    GHOST = "ghost"
    REVOKED = "revoked"
    STRANGER = "stranger"
    FORK = "fork"
    OUT_OF_PLACE = "out_of_place"
    GAP = "gap"
    AGAIN = "again"
    UNSIGNED = "unsigned"


class Opened(NamedTuple):
    """What a sealed event says. `content` None: nothing that may be shown; `warn`: why, or what to say beside it."""

    content: Mapping[str, Any] | None = None
    warn: Warn | None = None


class Came(NamedTuple):
    """What an envelope brought: the key of an event (`seq`), a word from a device (`kind`), or a warning."""

    seq: int | None = None
    kind: str = ""
    fields: Mapping[str, Any] = {}
    warn: Warn | None = None
    new: bool = True


class Note(NamedTuple):
    """A warning about a room or a person, for the one in front of the screen."""

    warn: Warn
    room: int = 0
    account: int = 0
