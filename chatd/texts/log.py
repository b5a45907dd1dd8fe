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
    "group.close": lambda f: f"group.close     {f['room']} by {f['name']}",
    "group.inherit": lambda f: f"group.inherit   {f['room']} {f['name']} -> {f['to']}",
    "group.add": lambda f: f"group.add       {f['room']} {f['name']} by {f['by']}",
    "group.ban": lambda f: f"group.ban       {f['room']} {f['name']} by {f['by']}",
    "group.unban": lambda f: f"group.unban     {f['room']} {f['name']} by {f['by']}",
    "group.promote": lambda f: f"group.promote   {f['room']} {f['name']} by {f['by']}",
    "group.demote": lambda f: f"group.demote    {f['room']} {f['name']} by {f['by']}",
    "group.topic": lambda f: f"group.topic     {f['room']} by {f['name']}",
    "group.door": lambda f: f"group.door      {f['room']} {f['door']} by {f['name']}",
    "group.rename": lambda f: f"group.rename    {f['was']} -> {f['to']} by {f['name']}",
    "join.request": lambda f: f"join.request    {f['room']} {f['name']}",
    "join.approve": lambda f: f"join.approve    {f['room']} {f['name']} by {f['by']}",
    "join.deny": lambda f: f"join.deny       {f['room']} {f['name']} by {f['by']}",
    "user.register": lambda f: f"user.register   {f['name']}{_from(f)}",
    "user.delete": lambda f: f"user.delete     account {f['account']}",
    "user.password": lambda f: f"user.password   {f['name']} changed it{_from(f)}",
    "user.factor": lambda f: f"user.factor     {f['name']} second factor {f['state']}{_from(f)}",
    "user.operator": lambda f: f"user.operator   {f['name']}{_from(f)}",
    "config.reload": lambda f: f"config.reload   {f['result']}",
    "file.transfer": _transfer_line,
    "admin": lambda f: f"admin           {f['act']} {f['about']} by {f['by']}",
}
