"""What an operator can have done: one act, one function of a transaction.

The rule: an act knows no socket and no terminal. Its arguments and its result are JSON; a password comes as its hash.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any, Final

from chatd import command, names, passwords
from chatd.command import find_user
from chatd.commands.leaving import close_account
from chatd.errors import Refusal
from chatd.model import Role, Room
from chatd.store import ReadTx, Tx

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Act:
    """One row of the table. `writes`: it goes into the audit log."""

    run: Callable[..., Fields]
    writes: bool


ACTS: Final[dict[str, Act]] = {}


def act(name: str, *, writes: bool = True) -> Callable[[Callable[..., Fields]], Callable[..., Fields]]:
    """Put a function in the table."""

    def enter(run: Callable[..., Fields]) -> Callable[..., Fields]:
        ACTS[name] = Act(run, writes)
        return run

    return enter


def perform(tx: ReadTx, name: str, args: Mapping[str, Any]) -> Fields:
    """Do it; `tx` is a Tx where the act writes.

    @raise Refusal: nothing was changed. BAD_USAGE: there is no such act, or it has other arguments.
    """
    entry = ACTS.get(name)
    if entry is None:
        raise Refusal("BAD_USAGE", usage=" | ".join(ACTS))
    try:
        bound = signature(entry.run).bind(tx, **args)
    except TypeError:
        raise Refusal("BAD_USAGE", usage=name) from None
    return entry.run(*bound.args, **bound.kwargs)


@act("status", writes=False)
def status(tx: ReadTx) -> Fields:
    """How much there is of everything."""
    return {**tx.figures(), "online": tx.online_count(), "nodes": tx.nodes()}


@act("user.list", writes=False)
def user_list(tx: ReadTx) -> Fields:
    """Who has an account."""
    return {"users": [person._asdict() for person in tx.everybody()]}


@act("user.add")
def user_add(tx: Tx, name: str, password: str) -> Fields:
    """A new account, under a name that is free."""
    folded = names.fold_account(name)
    key = names.skeleton(folded)
    if tx.looks_like(key):
        free = names.suggestions(folded, lambda other: tx.looks_like(names.skeleton(other)))
        raise Refusal("NAME_TAKEN", name=name, free=list(free))
    account = tx.add_account(folded, key, _hash(password))
    return {"name": account.name, "account": account.id}


def _hash(password: str) -> bytes:
    hashed = password.encode("ascii", "replace")
    if not passwords.is_hash(hashed):
        raise Refusal("BAD_USAGE", usage="password: bcrypt")
    return hashed


@act("user.reset-password")
def user_reset_password(tx: Tx, name: str, password: str, factor: bool = False) -> Fields:
    """Another password; every session of the account ends. `factor`: without a second factor, too."""
    account = find_user(tx, name)
    tx.set_password(account.id, _hash(password))
    dropped = tx.drop_factor(account.id) if factor else False
    tx.forget_tries(f"name:{account.name}")
    return {"name": account.name, "logged_out": _log_out(tx, account.id), "second_factor_dropped": dropped}


@act("user.disable")
def user_disable(tx: Tx, name: str) -> Fields:
    """Nobody logs in as this one until it is enabled again; every session of the account ends."""
    account = find_user(tx, name)
    changed = tx.set_disabled(account.id, True)
    return {"name": account.name, "changed": changed, "logged_out": _log_out(tx, account.id)}


@act("user.enable")
def user_enable(tx: Tx, name: str) -> Fields:
    """It may log in again."""
    account = find_user(tx, name)
    return {"name": account.name, "changed": tx.set_disabled(account.id, False)}


@act("user.delete")
def user_delete(tx: Tx, name: str, erase: bool = False) -> Fields:
    """The account is no more; what it said stays, or with `erase` is blanked from now on, step by step."""
    account = find_user(tx, name)
    seq = close_account(tx, account.id, erase=erase)
    return {"name": account.name, "account": account.id, "seq": seq, "erase": erase}


def _log_out(tx: Tx, account: int) -> int:
    """End every session of the account, wherever it is connected: the event that says so ends it. How many."""
    logins = [login.id for login in tx.logins(account, 0)]
    if logins:
        tx.append("logged_out", tx.inbox(account), account, data={"logins": logins})
    return tx.drop_logins(account)


@act("invite.add")
def invite_add(tx: Tx, code: str, uses: int, until: int, note: str = "") -> Fields:
    """Leave to register for whoever has the code of this hash, `uses` times until `until` (ms)."""
    if len(code) != 64 or uses < 1:
        raise Refusal("BAD_USAGE", usage="invite.add")
    tx.forget_invitations()
    return {"invite": tx.add_invitation(code, uses, until, note), "uses": uses, "until": until, "note": note}


@act("invite.list", writes=False)
def invite_list(tx: ReadTx) -> Fields:
    """The invitations that hold."""
    return {"invites": [invitation._asdict() for invitation in tx.invitations()]}


@act("invite.revoke")
def invite_revoke(tx: Tx, number: int) -> Fields:
    """An invitation that holds no more."""
    return {"invite": number, "changed": tx.drop_invitation(number)}


def find_room(tx: ReadTx, account: int, typed: str) -> Room:
    """The room that this account calls so: `#ops` or `@bob`; of two conversations with bob the one in clear.

    @raise Refusal: NO_GROUP, NO_USER, NOT_MEMBER.
    """
    if typed.startswith("@"):
        other = command.find_user(tx, typed)
        number = tx.direct(account, other.id, sealed=False) or tx.direct(account, other.id, sealed=True)
    else:
        group = tx.group(names.fold_group(typed))
        number = None if group is None else group.id
    if number is None:
        raise Refusal("NO_GROUP", room=typed, near="")
    room = tx.room(number, account)
    assert room is not None
    if room.role is Role.NONE:
        raise Refusal("NOT_MEMBER", room=room.name)
    return room


@act("note")
def note(tx: ReadTx, what: str, about: str) -> Fields:
    """Something that chatctl has done by itself, for the log."""
    return {"act": what, "about": about}
