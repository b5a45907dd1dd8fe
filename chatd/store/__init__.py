"""The store: every SQL statement, one file per subject, composed into two transactions.

The rule: nothing outside this package knows SQL. `ReadTx` has no write verbs; `Tx` adds them and exists only inside the
writer's BEGIN IMMEDIATE.
"""

from __future__ import annotations

from chatd.store.accounts import AccountReads, AccountWrites
from chatd.store.admin import AdminReads, AdminWrites
from chatd.store.certificates import CertificateReads, CertificateWrites
from chatd.store.files import FileReads, FileWrites
from chatd.store.groups import GroupReads
from chatd.store.keys import KeyReads, KeyWrites
from chatd.store.log import LogReads
from chatd.store.presence import PresenceReads, PresenceWrites
from chatd.store.retention import RetentionReads, RetentionWrites
from chatd.store.secondfactor import SecondFactorReads, SecondFactorWrites


class ReadTx(
    AccountReads,
    LogReads,
    GroupReads,
    PresenceReads,
    SecondFactorReads,
    AdminReads,
    FileReads,
    RetentionReads,
    CertificateReads,
    KeyReads,
):
    """One snapshot of the database."""


class Tx(
    AccountWrites,
    PresenceWrites,
    SecondFactorWrites,
    AdminWrites,
    FileWrites,
    RetentionWrites,
    CertificateWrites,
    KeyWrites,
    ReadTx,
):
    """One turn under the write lock."""

    def begin(self) -> None:
        """Start remembering; call once, under the write lock."""
        self.begin_accounts()
        self.begin_log()
        self.begin_groups()
        self.begin_keys()

    def savepoint(self) -> int:
        """A point to go back to, for an operation of several rows."""
        self._run("SAVEPOINT call")
        return self.mark()

    def release(self) -> None:
        """The operation is done."""
        self._run("RELEASE call")

    def back_to(self, mark: int) -> None:
        """Undo the operation, its rows and its events."""
        self._run("ROLLBACK TO call")
        self._run("RELEASE call")
        self.undo(mark)
        self.forget()
