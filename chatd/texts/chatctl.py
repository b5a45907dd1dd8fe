"""What `chatctl` says: one line for each outcome, one for each fault that `chatctl check` finds.

The rule: as everywhere, what came from people is cleaned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from chatd.texts.files import FINDINGS, finding
from chatd.texts.words import Fields, clean, date, listed, safe, said, size, span, stamp, times


def outcome(name: str, fields: Fields) -> list[str]:
    """The lines of what was done."""
    return said(OUTCOMES[name], safe(fields))


def fault(kind: str, fields: Mapping[str, Any]) -> str:
    """What is wrong, in one line."""
    if kind in FINDINGS:
        return finding(kind, fields["file"], fields["path"])
    return FAULTS[kind].format_map(safe(fields))


def _events(f: Fields) -> int:
    """How many events there are; a backup of before they were counted says only which the newest is."""
    return int(f.get("events", f.get("seq", 0)))


def _much(f: Fields) -> str:
    return (
        f"{times(f['users'], 'user')}, {times(f['groups'], 'group')}, {times(_events(f), 'event')},"
        f" {size(f['bytes'])}, schema {f['schema']}"
    )


def _status(f: Fields) -> str:
    nodes = f["running"]
    if not nodes:
        return f"Not running. {_much(f)}."
    silent = [f"node {node['node']} does not answer" for node in nodes if node.get("silent")]
    alive = [node for node in nodes if not node.get("silent")]
    up = f", up {span(min(node['seconds'] for node in alive))}" if alive else ""
    sessions = sum(node.get("sessions", 0) for node in alive)
    line = (
        f"Running: {times(len(nodes), 'node')}{up}, {times(sessions, 'session')} of"
        f" {times(f['online'], 'person', 'people')}. {_much(f)}."
    )
    return f"{line} {listed(silent).capitalize()}." if silent else line


def _users(f: Fields) -> str:
    if not f["users"]:
        return "No users."
    return "\n".join(
        f"{person['name']:<24} since {date(person['created'])}  {times(person['groups'], 'group')}"
        f"{'  online' if person['online'] else ''}{'  disabled' if person['disabled'] is not None else ''}"
        f"{'  guest' if person['kind'] == 'guest' else ''}"
        for person in f["users"]
    )


def _secret(f: Fields) -> str:
    return f" Password, shown once: {f['password']}" if f.get("password") else ""


def _ended(f: Fields) -> str:
    return f" {times(f['logged_out'], 'session')} ended." if f["logged_out"] else ""


def _reset(f: Fields) -> str:
    factor = " Without a second factor." if f["second_factor_dropped"] else ""
    return f"{f['name']} has another password.{_ended(f)}{factor}{_secret(f)}"


def _disabled(f: Fields) -> str:
    return f"{f['name']} is disabled{'' if f['changed'] else ' already'}.{_ended(f)}"


def _deleted(f: Fields) -> str:
    what = " What they wrote is being erased." if f["erase"] and not f.get("erased") else ""
    what = " What they wrote is erased." if f.get("erased") else what
    return f"{f['name']} is deleted.{what}"


def _invites(f: Fields) -> str:
    if not f["invites"]:
        return "No invitations."
    return "\n".join(
        f"{entry['id']}  {entry['left']} of {entry['uses']} uses left, until {stamp(entry['until'])[:-3]}"
        f"{'  ' + entry['note'] if entry['note'] else ''}"
        for entry in f["invites"]
    )


def _stock(f: Fields) -> str:
    return (
        f"{times(f['users'], 'user')}, {times(f['groups'], 'group')}, {times(_events(f), 'event')},"
        f" {times(f['files'], 'file')}"
    )


def _verified(f: Fields) -> str:
    if f["faults"]:
        return f"{f['file']} does not restore to what it was made of: {times(f['faults'], 'difference')}."
    return f"{f['file']} restores to what it was made of: {_stock(f)}."


OUTCOMES: Final[dict[str, str | Callable[[Fields], str]]] = {
    "initdb": lambda f: f"Database ready: schema {f['schema']}, {times(f['users'], 'user')}.",
    "status": _status,
    "user.list": _users,
    "user.add": lambda f: f"{f['name']} added.{_secret(f)}",
    "user.reset-password": _reset,
    "user.disable": _disabled,
    "user.enable": lambda f: f"{f['name']} is enabled{'' if f['changed'] else ' already'}.",
    "user.delete": _deleted,
    "invite.add": lambda f: (
        f"Invitation {f['invite']}: {f['code']}   ({times(f['uses'], 'use')}, until {stamp(f['until'])[:-3]})"
    ),
    "invite.list": _invites,
    "invite.revoke": lambda f: (
        f"Invitation {f['invite']} is revoked." if f["changed"] else f"There is no invitation {f['invite']}."
    ),
    "check": lambda f: f"Sound: {_stock(f)}." if not f["faults"] else f"{times(len(f['faults']), 'fault')} found.",
    "backup": lambda f: f"{f['file']} {size(f['bytes'])}: {_stock(f)}.",
    "verify": _verified,
    "restore": lambda f: f"Restored to {f['data']}: {_stock(f)}. Made {stamp(f['at'])}.",
    "export": lambda f: f"{times(f['lines'], 'line')} of {f['room']} in {f['file']}.",
    "not_done": "Not done.",
}
"""By act."""

PROBLEMS: Final[dict[str, str]] = {
    "no_data": "There is no database in {data}. chatctl initdb makes one.",
    "silent": "{node} runs and does not answer. Nothing was changed, unless it does it later.",
    "busy": "The database cannot be written just now: {why}. Nothing was changed; try again.",
    "running": "The server runs on {data}. Stop it first.",
    "not_empty": "{data} holds a database already ({file}). Restore into an empty folder: --data DIR",
    "no_backup": "{file} is no backup of chatd: {why}",
    "no_file": "{file}: {why}",
    "too_new": "{why}",
    "refused": "{text}",
    "not_allowed": "{data} is another user's: {why}",
    "no_room": "There is no room for {file}. Nothing is left there.",
    "form": "{file} must end with .txt, .jsonl or .html.",
    "interrupted": "interrupted. What was begun is undone, or was done by the server.",
    "confirm": "Say --yes to delete {name} without being asked.",
    "broken": "The database is damaged: {why}. chatctl check says more.",
}
"""Why something was not done."""


def problem(name: str, fields: Mapping[str, Any]) -> str:
    """Why something was not done, in one line."""
    return PROBLEMS[name].format_map({key: clean(str(value)) for key, value in fields.items()})


FAULTS: Final[dict[str, str]] = {
    "integrity": "The file is damaged: {text}",
    "reference": "Row {row} of {table} refers to a row of {parent} that is not there.",
    "gap": "The log has no events {first} to {last}.",
    "tail": "The log ends at {last}, and had come to {counted}.",
    "data": "Event {seq} holds data that cannot be read.",
    "membership": "Account {account} in room {room}: the log says {said}, the table {found}.",
    "owner": "Group {room} has {count} owners.",
    "empty": "Group {room} is open and has no members.",
    "inbox": "Account {account} has no inbox.",
    "cursor": "Account {account} was shown everything up to {seen}, and the log ends at {last}.",
    "differs": "{what} differs.",
}
"""What `chatctl check` and `chatctl verify` find besides files, by kind."""


def question(name: str) -> str:
    """What is asked before somebody is deleted."""
    return f"Delete {clean(name)} for ever? [y/N] "


def listed_faults(faults: Iterable[Mapping[str, Any]]) -> list[str]:
    """The faults, a line each."""
    return [fault(str(each["kind"]), each) for each in faults]
