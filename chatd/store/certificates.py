"""Client certificates that log an account in, by their SHA-256."""

from __future__ import annotations

from typing import NamedTuple

from chatd.model import Account
from chatd.store.base import Base


class Certificate(NamedTuple):
    """One of an account's; `added` in ms."""

    fingerprint: str
    added: int


class CertificateReads(Base):
    """Whose they are."""

    def certificates(self, account: int) -> list[Certificate]:
        """Those of this account, the oldest first."""
        rows = self._all(
            "SELECT fingerprint, added FROM certificate WHERE account = ? ORDER BY added, fingerprint", account
        )
        return [Certificate(*row) for row in rows]

    def certified(self, fingerprint: str) -> Account | None:
        """Whom this one logs in."""
        row = self._one(
            "SELECT a.id, a.name FROM certificate c JOIN account a ON a.id = c.account"
            " WHERE c.fingerprint = ? AND a.name IS NOT NULL AND a.disabled IS NULL",
            fingerprint,
        )
        return None if row is None else Account(row[0], row[1])

    def holder(self, fingerprint: str) -> int:
        """The account that has this one; 0: none has."""
        return self._value("SELECT account FROM certificate WHERE fingerprint = ?", fingerprint) or 0


class CertificateWrites(CertificateReads):
    """What changes about that."""

    def add_certificate(self, account: int, fingerprint: str) -> None:
        """This one logs the account in from now on, and whomever it did before no more."""
        self._run("INSERT OR REPLACE INTO certificate VALUES (?, ?, ?)", fingerprint, account, self.now)

    def drop_certificate(self, account: int, fingerprint: str) -> None:
        """This one does not any more."""
        self._run("DELETE FROM certificate WHERE account = ? AND fingerprint = ?", account, fingerprint)
