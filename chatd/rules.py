"""Who may do what: total, pure functions of roles.

The rule: no database, no names, no sentences. Each answers None (yes) or the code of the refusal, so that the whole
table can be tested role by role.
"""

from __future__ import annotations

from enum import IntEnum

from chatd.model import Bounds, Door, Role


class Needs(IntEnum):
    """What a command asks of who gives it. The room kinds stand above the account kinds."""

    NOTHING = 0
    LOGIN = 1
    OPERATOR = 2
    HEARD = 3
    """To be in the room, or to have been."""
    MEMBER = 4
    ADMIN = 5
    OWNER = 6

    @property
    def room(self) -> bool:
        """Whether the command is about a room."""
        return self >= Needs.HEARD


def may_command(needs: Needs, role: Role) -> str | None:
    """Whether somebody of this role may give a room's command that needs so much.

    An admin who lacks the owner's power is told so; a plain member is told that it takes an admin (FEATURES §2).
    """
    if not needs.room:
        return None
    if role is Role.NONE:
        return "NOT_MEMBER"
    if needs <= Needs.MEMBER or role is Role.OWNER:
        return None
    if role is Role.ADMIN:
        return None if needs is Needs.ADMIN else "ONLY_OWNER"
    return "ONLY_ADMIN"


def may_remove(actor: Role, target: Role) -> str | None:
    """Whether `actor` may remove or ban `target`: nobody the owner, only the owner an admin."""
    if actor < Role.ADMIN:
        return "ONLY_ADMIN" if actor else "NOT_MEMBER"
    if target is Role.OWNER:
        return "OWNER_SAFE"
    if target is Role.ADMIN and actor is not Role.OWNER:
        return "ONLY_OWNER"
    return None


def may_enter(door: Door, banned: bool) -> str | None:
    """Whether somebody who comes to the door gets in: None (yes), PENDING (must ask), or a refusal."""
    if banned:
        return "BANNED"
    return {Door.OPEN: None, Door.ASK: "PENDING", Door.INVITE: "INVITE_ONLY"}[door]


def may_leave(role: Role, others: int) -> str | None:
    """Whether somebody may leave a group in which `others` stay: the owner must hand it over first."""
    if role is Role.NONE:
        return "NOT_MEMBER"
    return "OWNER_STAYS" if role is Role.OWNER and others else None


def narrower(one: Bounds, other: Bounds) -> Bounds:
    """Both hold: of each bound the narrower."""
    seconds = [bounds.seconds for bounds in (one, other) if bounds.seconds is not None]
    lines = [bounds.lines for bounds in (one, other) if bounds.lines is not None]
    return Bounds(min(seconds, default=None), min(lines, default=None))
