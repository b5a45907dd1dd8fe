"""The second factor: six digits from an authenticator (RFC 6238), or a recovery code, besides the password.

The rule: it is asked for after the password was right, never before, so that nobody learns who has one; a code is good
once; a wrong one is counted like a wrong password.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chatd import codes
from chatd.command import Slow, command
from chatd.commands.guessing import check_own, is_right, is_throttled, miss, wrong
from chatd.errors import Refusal
from chatd.model import Ask, Call, Me, Reply

if TYPE_CHECKING:
    from chatd.store import ReadTx, Tx

USAGE = "/totp [on|off|codes]"


def _prepare_totp(tx: ReadTx, me: Me, call: Call, state: str = "", password: str = "", **_: Any) -> Slow | Ask:
    state = str(state)
    if state == "":
        return Slow(lambda: None)
    if state not in ("on", "off", "codes"):
        raise Refusal("BAD_USAGE", usage=USAGE)
    if (tx.factor(me.account) is None) is (state != "on"):
        raise Refusal("FACTOR", on=state == "on")
    is_throttled(tx, me, me.name)
    if not password:
        return Ask("password", "totp.password", {}, secret=True)
    return check_own(tx, me, str(password))


@command("/totp [state]", topic="You", example="/totp on", prepare=_prepare_totp, optional=("password", "code"))
def totp(tx: Tx, me: Me, slow: Any = None, state: str = "", code: str | int = "", **_: Any) -> Reply | Ask | Refusal:
    """A second factor for your logins: on, off, new recovery codes, or (alone) whether there is one."""
    if state == "":
        return Reply("factor", {"on": tx.factor(me.account) is not None, "left": tx.recovery_left(me.account)})
    if refusal := wrong(tx, me, slow):
        return refusal
    factor = tx.factor(me.account)
    if (factor is None) is (state != "on"):
        raise Refusal("FACTOR", on=state == "on")
    if factor is None:
        return _switch_on(tx, me, str(code))
    if not code:
        return Ask("code", "login.code", {}, refusal=Refusal("CODE_NEEDED", uri=""))
    if not is_right(tx, me.account, str(code)):
        return miss(tx, me, me.name, "BAD_CODE")
    tx.forget_tries(f"name:{me.name}")
    if state == "off":
        tx.drop_factor(me.account)
        return Reply("factor_off", {})
    fresh = _fresh_codes()
    tx.set_recovery(me.account, map(codes.hash_code, fresh))
    return Reply("factor_codes", {"codes": fresh})


def _switch_on(tx: Tx, me: Me, code: str) -> Reply | Ask | Refusal:
    """Show a secret, and have one of its codes typed, so that nobody locks themselves out."""
    secret = tx.pending_factor(me.account)
    if code and secret is not None:
        step = codes.matching_step(secret, code, tx.now, 0)
        if step is None:
            return miss(tx, me, me.name, "BAD_CODE")
        fresh = _fresh_codes()
        tx.set_factor(me.account, secret, step, map(codes.hash_code, fresh))
        return Reply("factor_on", {"codes": fresh})
    if secret is None:
        secret = codes.new_secret()
        tx.set_pending_factor(me.account, secret)
    uri = codes.uri(secret, me.settings.server, me.name)
    lead = Reply("factor_secret", {"secret": codes.shown(secret), "uri": uri})
    return Ask("code", "login.code", {}, lead=lead, refusal=Refusal("CODE_NEEDED", uri=uri))


def _fresh_codes() -> list[str]:
    return [codes.new_code() for _ in range(codes.RECOVERY)]
