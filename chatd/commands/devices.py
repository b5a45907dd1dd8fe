"""An account's sessions, its password, and its end.

The rule: a password is checked on the password thread, before the transaction, which checks again whatever may have
changed meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from chatd import passwords
from chatd.command import Slow, command
from chatd.commands import sealed
from chatd.commands.account import DAY_MS, policy_of
from chatd.commands.guessing import (
    Checked,
    check_own,
    is_right,
    is_throttled,
    miss,
    wrong,
)
from chatd.commands.leaving import close_account
from chatd.errors import Refusal
from chatd.model import Ask, Call, Kind, Me, Reply, Turn

if TYPE_CHECKING:
    from chatd.store import ReadTx, Tx

NO_LEAVES: Final[Mapping[str, str]] = {}


@command("/sessions", topic="You", read=True)
def sessions(tx: ReadTx, me: Me) -> Reply:
    """Where you are logged in, by number."""
    logins = tx.logins(me.account, tx.steady - me.settings.limits.session_days * DAY_MS)
    listed = [
        {
            "n": number,
            "client": entry.client,
            "address": entry.address,
            "created": entry.created,
            "used": entry.used,
            "this": entry.id == me.login,
        }
        for number, entry in enumerate(logins, 1)
    ]
    return Reply("sessions", {"sessions": listed})


@command("/logout [which]", topic="You", example="/logout 2")
def logout(tx: Tx, me: Me, which: str | int = "") -> Reply:
    """Log out here, or the session of that number (see /sessions), or all of them."""
    if which == "all":
        return Reply("logged_out_all", {"count": _end_all(tx, me)}, Turn(logout=True))
    if which == "":
        _end(tx, me, me.login)
        return Reply("logged_out", {"name": me.name}, Turn(logout=True))
    logins = tx.logins(me.account, tx.steady - me.settings.limits.session_days * DAY_MS)
    number = int(which) if str(which).isdecimal() and len(str(which)) < 6 else 0
    if not 1 <= number <= len(logins):
        raise Refusal("BAD_USAGE", usage="/logout [a number of /sessions|all]")
    gone = logins[number - 1]
    _end(tx, me, gone.id)
    fields = {"n": number, "client": gone.client}
    return Reply("logged_out_other", fields, Turn(logout=True) if gone.id == me.login else None)


def _end(tx: Tx, me: Me, login: int) -> None:
    """This login is no more. One's own, too, may be connected more than once: whoever has its token can do so."""
    tx.drop_login(me.account, login)
    tx.append("logged_out", tx.inbox(me.account), me.account, data={"logins": [login]})


def _prepare_password(
    tx: ReadTx, me: Me, call: Call, old: str = "", new: str = "", again: str = "", **_: Any
) -> Slow | Ask:
    is_throttled(tx, me, me.name)
    if not old:
        return Ask("old", "password.old", {}, secret=True)
    check = check_own(tx, me, str(old))
    if not new:
        return check  # nobody is to think of a new one for nothing
    if unmet := passwords.unmet(me.settings.policy, str(new), me.name):
        raise Refusal("BAD_PASSWORD", unmet=list(unmet), length=me.settings.policy.length)
    if "new" in call.asked:
        if not again:
            return Ask("again", "password.again", {}, secret=True)
        if again != new:
            raise Refusal("BAD_PASSWORD", unmet=["again"], length=me.settings.policy.length)
    cost = me.settings.bcrypt_cost

    def run() -> Checked:
        checked: Checked = check.run()
        return checked._replace(better=passwords.hash(str(new), cost) if checked.right else None)

    return Slow(run)


@command("/password [old] [new]", topic="You", prepare=_prepare_password, optional=("again",))
def password(tx: Tx, me: Me, slow: Checked, new: str | int = "", **_: Any) -> Reply | Ask | Refusal:
    """Change your password. Your other sessions are logged out."""
    if refusal := wrong(tx, me, slow):
        return refusal
    if not new:
        return Ask("new", "password.new", {"policy": policy_of(me)}, secret=True)
    assert slow.better is not None
    tx.set_password(me.account, slow.better)
    return Reply("password_changed", {"logged_out": _end_all(tx, me, but=me.login)})


def _end_all(tx: Tx, me: Me, but: int = 0) -> int:
    """Log every device out, wherever it is connected: the event that says so ends it. How many there were."""
    ended = [entry.id for entry in tx.logins(me.account, 0) if entry.id != but]
    if ended:
        tx.append("logged_out", tx.inbox(me.account), me.account, data={"logins": ended})
    tx.drop_logins(me.account, but)
    return len(ended)


def _prepare_delete(tx: ReadTx, me: Me, call: Call, password: str = "", **_: Any) -> Slow | Ask:
    is_throttled(tx, me, me.name)
    if not password:
        return Ask("password", "delete-account.password", {"name": me.name}, secret=True)
    return check_own(tx, me, str(password))


def _last_entries(tx: Tx, me: Me, leaves: Mapping[str, str]) -> dict[int, str]:
    """The entries by which somebody leaves all their sealed groups."""
    groups = [room for room in tx.rooms_of(me.account) if room.sealed and room.kind is Kind.GROUP]
    for room in groups:
        sealed.need_device(me, room.name)
    if missing := [room.id for room in groups if str(room.id) not in leaves]:
        raise Refusal("STALE", head="", missing=missing, extra=[])
    return {room.id: sealed.append(tx, me, room, leaves[str(room.id)], "leave") for room in groups}


@command("/delete-account [--erase] [password]", topic="You", prepare=_prepare_delete, optional=("leaves:map", "code"))
def delete_account(
    tx: Tx,
    me: Me,
    slow: Checked,
    erase: bool = False,
    leaves: Mapping[str, str] = NO_LEAVES,
    code: str | int = "",
    **_: Any,
) -> Reply | Ask | Refusal:
    """Delete your account, after asking your password. What you wrote stays, as "deleted account"; with --erase it is
    blanked, too."""
    if refusal := wrong(tx, me, slow):
        return refusal
    if tx.factor(me.account) is not None:
        if not code:
            return Ask("code", "login.code", {}, refusal=Refusal("CODE_NEEDED", uri=""))
        if not is_right(tx, me.account, str(code)):
            return miss(tx, me, me.name, "BAD_CODE")
    seq = close_account(tx, me.account, erase=erase, proofs=_last_entries(tx, me, leaves))
    return Reply("account_deleted", {"seq": seq}, Turn(logout=True, close=True))
