"""Passwords and codes that may be wrong: how they are checked, how misses are counted, and who has to wait.

The rule: a miss is a returned refusal, never a raised one: raised, it would undo its own count. Counts are in the
database, for all instances together, by name and by address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from chatd import codes, passwords
from chatd.command import Slow
from chatd.crowd import network
from chatd.errors import Refusal
from chatd.model import Me

if TYPE_CHECKING:
    from chatd.limits import Limits
    from chatd.store import ReadTx, Tx


class Checked(NamedTuple):
    """What the password thread found: whether it was right, against which hash, and a hash to keep instead."""

    right: bool
    against: bytes | None
    better: bytes | None


def is_exempt(me: Me) -> bool:
    """Whether the limits by address hold for this connection: loopback is exempt unless configured."""
    loopback = me.address in ("::1", "unix", "") or me.address.startswith("127.")
    return loopback and not me.settings.limits.limit_loopback


def _keys(me: Me, name: str) -> list[tuple[str, int]]:
    """What is counted for a try at this name from here, and how often it may be wrong."""
    tries = me.settings.limits.login_tries
    by_name = (f"name:{name}", tries)
    return [by_name] if is_exempt(me) else [by_name, (f"addr:{network(me.address)}", 10 * tries)]


def seconds(ms: int) -> int:
    """Whole seconds to wait, one at least."""
    return max(1, -(-ms // 1000))


def is_throttled(tx: ReadTx, me: Me, name: str) -> None:
    """@raise Refusal: THROTTLED, where this name or this address was wrong too often."""
    for key, most in _keys(me, name):
        count, until = tx.tries(key)
        # A wait that is longer than any was counted before the clock was set back.
        if count >= most and 0 < until - tx.now <= 1000 * me.settings.limits.login_wait_most:
            raise Refusal("THROTTLED", wait=seconds(until - tx.now))


def miss(tx: Tx, me: Me, name: str, code: str, **fields: object) -> Refusal:
    """Count one more, and say how many are left, or how long to wait. `fields`: what else belongs to the refusal."""
    limits = me.settings.limits
    left, wait = limits.login_tries, 0
    for key, most in _keys(me, name):
        count = tx.tries(key)[0] + 1
        pause = _pause(limits, count - most)
        until = tx.count_try(key, pause, limits.login_forget)
        left = max(0, min(left, most - count))
        if pause:
            wait = max(wait, seconds(until - tx.now))
    return Refusal("THROTTLED", wait=wait) if wait else Refusal(code, left=left, **fields)


def _pause(limits: Limits, over: int) -> float:
    """Seconds to wait after a miss that is so many beyond what is allowed: doubled with each."""
    return 0.0 if over < 0 else min(limits.login_wait_most, limits.login_wait * 2.0 ** min(over, 30))


def check(me: Me, password: str, hashed: bytes | None) -> Slow:
    """Check a password, in the same time whether there is an account or not; hash it anew where the cost has risen."""
    cost = me.settings.bcrypt_cost

    def run() -> Checked:
        right = passwords.verify(password, hashed, cost)
        rise = right and hashed is not None and passwords.needs_rehash(hashed, cost)
        return Checked(right, hashed, passwords.hash(password, cost) if rise else None)

    return Slow(run)


def check_own(tx: ReadTx, me: Me, password: str) -> Slow:
    """Check the password of whoever is logged in."""
    known = tx.credentials(me.name)
    return check(me, password, None if known is None else known.password)


def wrong(tx: Tx, me: Me, slow: Checked) -> Refusal | None:
    """A wrong password of one's own is counted like one at the door: whoever sits here may not be who logged in.

    @raise Refusal: THROTTLED, where others were wrong too often while this one was checked.
    """
    is_throttled(tx, me, me.name)
    known = tx.credentials(me.name)
    right = slow.right and known is not None and known.password == slow.against
    return None if right else miss(tx, me, me.name, "BAD_LOGIN", own=True)


def is_right(tx: Tx, account: int, code: str) -> bool:
    """Whether this is a code of the account's second factor, or a recovery code; it is used up with that."""
    factor = tx.factor(account)
    if factor is None:
        return False
    step = codes.matching_step(factor.secret, code, tx.now, factor.used)
    if step is None:
        return tx.use_recovery(account, codes.hash_code(code))
    tx.use_factor(account, step)
    return True
