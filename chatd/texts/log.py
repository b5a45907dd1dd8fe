"""The operator's log. The rule: what happened, and to whom; never what was said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from chatd.texts.words import Fields, safe, size, span


def audit(what: str, fields: Fields) -> str:
    """One line of the log: what happened, and to whom. Never what was said."""
    return AUDIT[what](safe(fields))


def _from(fields: Fields) -> str:
    return f" from {fields['address']}" if fields["address"] else ""


def _kick_line(fields: Fields) -> str:
    reason = f' "{fields["reason"]}"' if fields["reason"] else ""
    return f"group.kick      {fields['room']} {fields['name']} by {fields['by']}{reason}"


def _transfer_line(fields: Fields) -> str:
    big = size(fields["size"]).replace(" ", "")
    called = f" {fields['file']}" if fields["file"] else ""
    return (
        f"file.transfer   {fields['room']} {fields['name']}{called} {big} {fields['result']} {fields['seconds']:.1f}s"
    )


AUDIT: Final[dict[str, Callable[[Fields], str]]] = {
    "user.connect": lambda f: f"user.connect    {f['name']}{_from(f)} {f['how']} {f['dialect']}",
    "user.disconnect": lambda f: f"user.disconnect {f['name']} after {span(f['seconds'])} ({f['why']})",
    "login.refused": lambda f: f"login.refused  {_from(f)} {f['code']}",
    "group.create": lambda f: f"group.create   {f['room']} by {f['name']}",
    "group.kick": _kick_line,
    "group.transfer": lambda f: f"group.transfer  {f['room']} {f['name']} -> {f['to']}",
    "join.request": lambda f: f"join.request    {f['room']} {f['name']}",
    "join.approve": lambda f: f"join.approve    {f['room']} {f['name']} by {f['by']}",
    "file.transfer": _transfer_line,
    "admin": lambda f: f"admin           {f['act']} {f['about']} by {f['by']}",
}
