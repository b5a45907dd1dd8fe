"""Second factors, recovery codes and invitations.

The rule: of a code that is handed out only the hash stands here; a second factor's secret has to be kept as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from chatd.store.base import Base


class Factor(NamedTuple):
    """An account's second factor: its secret, and the last time step whose code was used."""

    secret: bytes
    used: int


class Invitation(NamedTuple):
    """Leave to register: how often it may still be used, and until when (ms)."""

    id: int
    left: int
    uses: int
    created: int
    until: int
    note: str


_INVITATION: Final = "id, remaining, uses, created, until, note FROM invitation"


class SecondFactorReads(Base):
    """What is asked for besides a password."""

    def factor(self, account: int) -> Factor | None:
        """The account's second factor; None: it has none."""
        row = self._one("SELECT secret, used FROM factor WHERE account = ? AND used IS NOT NULL", account)
        return None if row is None else Factor(*row)

    def pending_factor(self, account: int) -> bytes | None:
        """The secret of a second factor that is not on yet: nobody has typed a code of it."""
        secret: bytes | None = self._value("SELECT secret FROM factor WHERE account = ? AND used IS NULL", account)
        return secret

    def recovery_left(self, account: int) -> int:
        """How many recovery codes are not used up."""
        count: int = self._value("SELECT count(*) FROM recovery WHERE account = ?", account)
        return count

    def invitation(self, code: str) -> Invitation | None:
        """The invitation whose code hashes to this, if it still holds."""
        row = self._one(
            f"SELECT {_INVITATION} WHERE code = ? AND remaining > 0 AND until > ?",
            code,
            self.now,
        )
        return None if row is None else Invitation(*row)

    def invitations(self) -> list[Invitation]:
        """Those that still hold, the oldest first."""
        rows = self._all(
            f"SELECT {_INVITATION} WHERE remaining > 0 AND until > ? ORDER BY id",
            self.now,
        )
        return [Invitation(*row) for row in rows]


class SecondFactorWrites(SecondFactorReads):
    """What changes about it."""

    def set_factor(self, account: int, secret: bytes, used: int, codes: Iterable[str]) -> None:
        """The account has this second factor from now on, and these recovery codes (hashes)."""
        self._run("INSERT OR REPLACE INTO factor VALUES (?, ?, ?)", account, secret, used)
        self.set_recovery(account, codes)

    def set_pending_factor(self, account: int, secret: bytes) -> None:
        """This is to be the account's second factor, once a code of it is typed."""
        self._run("INSERT OR REPLACE INTO factor VALUES (?, ?, NULL)", account, secret)

    def use_factor(self, account: int, step: int) -> None:
        """The code of this time step was used, and is good no more."""
        self._run("UPDATE factor SET used = ? WHERE account = ?", step, account)

    def set_recovery(self, account: int, codes: Iterable[str]) -> None:
        """These recovery codes (hashes), and none of before."""
        self._run("DELETE FROM recovery WHERE account = ?", account)
        for code in codes:
            self._run("INSERT INTO recovery VALUES (?, ?)", account, code)

    def use_recovery(self, account: int, code: str) -> bool:
        """This recovery code (hash) is used up; whether it was good."""
        return self._run("DELETE FROM recovery WHERE account = ? AND code = ?", account, code) > 0

    def drop_factor(self, account: int) -> bool:
        """The account has no second factor any more; whether it had one."""
        self._run("DELETE FROM recovery WHERE account = ?", account)
        return self._run("DELETE FROM factor WHERE account = ?", account) > 0

    def add_invitation(self, code: str, uses: int, until: int, note: str) -> int:
        """Leave to register, `uses` times until `until` (ms), for whoever has the code of this hash; its id."""
        return self._insert(
            "INSERT INTO invitation (code, remaining, uses, created, until, note) VALUES (?1, ?2, ?2, ?3, ?4, ?5)",
            code,
            uses,
            self.now,
            until,
            note,
        )

    def use_invitation(self, invitation: int) -> None:
        """Somebody has registered by it."""
        self._run("UPDATE invitation SET remaining = remaining - 1 WHERE id = ?", invitation)

    def drop_invitation(self, invitation: int) -> bool:
        """It holds no more; whether it did."""
        return self._run("UPDATE invitation SET remaining = 0 WHERE id = ? AND remaining > 0", invitation) > 0

    def forget_invitations(self) -> None:
        """Those that are used up or over."""
        self._run("DELETE FROM invitation WHERE remaining <= 0 OR until <= ?", self.steady)
