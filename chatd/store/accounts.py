"""Accounts, their logins on devices, and the counts that throttle guessing.

The rule: a password is here only as its bcrypt hash, a token only as its SHA-256.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final, NamedTuple

import orjson

from chatd.model import Account, Kind, Role
from chatd.store.base import Base
from chatd.store.groups import GroupWrites
from chatd.store.log import LogWrites
from chatd.store.sqlite import overwriting


class Credentials(NamedTuple):
    """What a password is checked against."""

    account: Account
    password: bytes | None
    disabled: bool


class Login(NamedTuple):
    """A device's standing session; times in ms."""

    id: int
    account: Account
    client: str
    address: str
    created: int
    rotated: int
    used: int


_LOGIN: Final = (
    "l.id, a.id, a.name, l.client, l.address, l.created, l.rotated, l.used"
    " FROM login l JOIN account a ON a.id = l.account"
)


def _hidden(skeleton: str) -> str:
    """What is left of the look-alike key of an account that was erased: enough to know that a name was had."""
    return f"erased {hashlib.sha256(skeleton.encode()).hexdigest()}"


class AccountReads(Base):
    """Who there is."""

    def account(self, name: str) -> Account | None:
        """The account of this folded name."""
        row = self._one("SELECT id, name FROM account WHERE name = ?", name)
        return None if row is None else Account(row[0], row[1])

    def account_by_id(self, account: int) -> Account | None:
        """The account of this id, unless deleted."""
        row = self._one("SELECT id, name FROM account WHERE id = ? AND name IS NOT NULL", account)
        return None if row is None else Account(row[0], row[1])

    def looks_like(self, skeleton: str) -> bool:
        """Whether an account has, or ever had, a name that looks like this."""
        return self._one("SELECT 1 FROM account WHERE skeleton IN (?, ?)", skeleton, _hidden(skeleton)) is not None

    def credentials(self, name: str) -> Credentials | None:
        """What the password of this folded name is checked against."""
        row = self._one("SELECT id, name, password, disabled IS NOT NULL FROM account WHERE name = ?", name)
        return None if row is None else Credentials(Account(row[0], row[1]), row[2], bool(row[3]))

    def account_names(self) -> list[str]:
        """Up to 2,000 names, for "did you mean"."""
        return [row[0] for row in self._all("SELECT name FROM account WHERE name IS NOT NULL LIMIT 2000")]

    def account_count(self) -> int:
        """How many accounts there are."""
        count: int = self._value("SELECT count(*) FROM account WHERE name IS NOT NULL")
        return count

    def away(self, account: int) -> str | None:
        """What this account says about being away; None: it is not."""
        text: str | None = self._value("SELECT away FROM account WHERE id = ?", account)
        return text

    def kind_of(self, account: int) -> str:
        """What this account is: a person or a guest."""
        kind: str = self._value("SELECT kind FROM account WHERE id = ?", account)
        return kind

    def lost_guests(self, before: int) -> list[Account]:
        """Guests who came before this moment (ms) and are connected nowhere any more."""
        rows = self._all(
            "SELECT a.id, a.name FROM account a WHERE a.kind = 'guest' AND a.name IS NOT NULL AND a.created < ?"
            " AND NOT EXISTS (SELECT 1 FROM presence p WHERE p.account = a.id)",
            before,
        )
        return [Account(row[0], row[1]) for row in rows]

    def created(self, account: int) -> int:
        """When this account was made (ms)."""
        at: int = self._value("SELECT created FROM account WHERE id = ?", account)
        return at

    def last_room(self, account: int) -> int:
        """The room that was current at the last session; 0 for none."""
        return self._value("SELECT room FROM account WHERE id = ?", account) or 0

    def inbox(self, account: int) -> int:
        """The account's own room."""
        room: int = self._value("SELECT inbox FROM account WHERE id = ?", account)
        return room

    def login_by_token(self, token: str, idle_since: int) -> Login | None:
        """The login whose token, or the one before it, hashes to `token`, if it was used since `idle_since` (ms)."""
        row = self._one(
            f"SELECT {_LOGIN} WHERE (l.token = ?1 OR l.before = ?1) AND l.used >= ?2"
            " AND a.name IS NOT NULL AND a.disabled IS NULL",
            token,
            idle_since,
        )
        return None if row is None else Login(row[0], Account(row[1], row[2]), *row[3:])

    def stands(self, login: int) -> bool:
        """Whether this login has not ended."""
        return self._one("SELECT 1 FROM login WHERE id = ?", login) is not None

    def logins(self, account: int, idle_since: int) -> list[Login]:
        """The devices this account is logged in on, the oldest first."""
        rows = self._all(f"SELECT {_LOGIN} WHERE l.account = ? AND l.used >= ? ORDER BY l.id", account, idle_since)
        return [Login(row[0], Account(row[1], row[2]), *row[3:]) for row in rows]

    def tries(self, key: str) -> tuple[int, int]:
        """How often `key` was counted lately, and until when (ms) whoever it is has to wait."""
        row = self._one("SELECT count, until FROM throttle WHERE key = ? AND forget > ?", key, self.now)
        return (0, 0) if row is None else (row[0], row[1])


class AccountWrites(AccountReads, LogWrites, GroupWrites):
    """What changes about who there is. Which logins stand is remembered for the transaction, until any ends."""

    def begin_accounts(self) -> None:
        """Call once under the write lock."""
        self._standing: set[int] = set()

    def forget(self) -> None:
        """Read anew: something changed, or was taken back."""
        super().forget()
        self._standing.clear()

    def foresee_logins(self, logins: Iterable[int]) -> None:
        """Read in one step which of these stand, so that `stands` need not."""
        wanted = list(dict.fromkeys(logins))
        if not wanted:
            return
        found = self._value(
            "SELECT json_group_array(l.id) FROM json_each(?) j CROSS JOIN login l ON l.id = j.value",
            orjson.dumps(wanted).decode(),
        )
        self._standing.update(orjson.loads(found))

    def stands(self, login: int) -> bool:
        """Whether this login has not ended."""
        return login in self._standing or super().stands(login)

    def add_account(self, name: str, skeleton: str, password: bytes | None, kind: str = "person") -> Account:
        """A new account with its inbox, whose first event it is."""
        account = self._insert(
            "INSERT INTO account (name, skeleton, kind, password, created) VALUES (?, ?, ?, ?, ?)",
            name,
            skeleton,
            kind,
            password,
            self.now,
        )
        inbox = self.add_room(Kind.INBOX, door="invite")
        seq = self.append("registered", inbox, account, data={"guest": True} if kind == "guest" else None)
        self.add_member(inbox, account, Role.MEMBER, seq)
        self._run("UPDATE account SET inbox = ?, seen = ? WHERE id = ?", inbox, seq, account)
        return Account(account, name)

    def set_password(self, account: int, password: bytes) -> None:
        """Another password hash. A second factor that was begun under the one before, and is not on, is forgotten: who
        had that password has seen its secret.
        """
        self._run("UPDATE account SET password = ? WHERE id = ?", password, account)
        self._run("DELETE FROM factor WHERE account = ? AND used IS NULL", account)

    def set_away(self, account: int, text: str | None) -> None:
        """What this account says about being away."""
        self._run("UPDATE account SET away = ? WHERE id = ?", text, account)

    def set_last_room(self, account: int, room: int) -> None:
        """The room that is current now."""
        self._run("UPDATE account SET room = ? WHERE id = ?", room or None, account)

    def delete_account(self, account: int, *, erase: bool = False) -> None:
        """Forget who this was: name, password and logins go; the id, the look-alike key and the log stay. With `erase`
        the key stays as a hash only, and what was written is blanked from now on (store/retention.py).
        """
        self._run(
            "UPDATE account SET name = NULL, password = NULL, away = NULL, room = NULL, deleted = ? WHERE id = ?",
            self.now,
            account,
        )
        self._standing.clear()
        self._run("DELETE FROM login WHERE account = ?", account)
        self._run("DELETE FROM certificate WHERE account = ?", account)
        self._run("DELETE FROM request WHERE account = ?", account)
        self._run("DELETE FROM ban WHERE account = ?", account)
        self._run("DELETE FROM presence WHERE account = ?", account)
        if erase:
            key = self._value("SELECT skeleton FROM account WHERE id = ?", account)
            self._run("UPDATE account SET skeleton = ? WHERE id = ?", _hidden(key), account)
            self._run("INSERT OR IGNORE INTO erasure (account) VALUES (?)", account)
            with overwriting(self._connection):
                self._run("UPDATE ban SET why = '' WHERE author = ?", account)
        self._run("DELETE FROM factor WHERE account = ?", account)
        self._run("DELETE FROM recovery WHERE account = ?", account)
        self._run("DELETE FROM marker WHERE account = ?", account)

    def rename_account(self, account: int, name: str, skeleton: str) -> None:
        """A guest goes by another name, and the one before can be had again."""
        self._run("UPDATE account SET name = ?, skeleton = ? WHERE id = ?", name, skeleton, account)

    def free_name(self, account: int) -> None:
        """A guest has gone: the name, and what looks like it, can be had again."""
        self._run("UPDATE account SET skeleton = ?2 WHERE id = ?1", account, f"guest {account}")

    def add_login(self, account: int, token: str, client: str, address: str) -> int:
        """A device logs in; the login's id."""
        return self._insert(
            "INSERT INTO login (account, token, client, address, created, rotated, used)"
            " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)",
            account,
            token,
            client,
            address,
            self.now,
            self.steady,
        )

    def touch_logins(self, logins: Iterable[int]) -> None:
        """These are in use at this moment, though nobody has resumed them."""
        for login in logins:
            self._run("UPDATE login SET used = ?2 WHERE id = ?1", login, self.steady)

    def forget_logins(self, idle_since: int) -> int:
        """Logins that were not used since then (ms) are no more, nor counts of tries that are over; how many were."""
        self._run("DELETE FROM throttle WHERE forget <= ?", self.now)
        self._standing.clear()
        return self._run("DELETE FROM login WHERE used < ?", idle_since)

    def use_login(self, login: int, token: str, address: str) -> None:
        """The login goes on; the token before this one is void."""
        self._run(
            "UPDATE login SET token = ?1, before = NULL, used = ?2, address = ?3 WHERE id = ?4",
            token,
            self.steady,
            address,
            login,
        )

    def rotate_login(self, login: int, token: str, address: str) -> None:
        """The login goes on under a new token; the one it had stays good until the new one is used."""
        self._run(
            "UPDATE login SET before = token, token = ?1, rotated = ?2, used = ?2, address = ?3 WHERE id = ?4",
            token,
            self.steady,
            address,
            login,
        )

    def drop_login(self, account: int, login: int) -> bool:
        """This device is logged out; whether it was in."""
        self._standing.discard(login)
        return self._run("DELETE FROM login WHERE id = ? AND account = ?", login, account) > 0

    def drop_logins(self, account: int, but: int = 0) -> int:
        """All devices but one are logged out, and no certificate logs in any more, nor does a ticket bring or fetch a
        file; how many devices were.
        """
        self._run("DELETE FROM certificate WHERE account = ?", account)
        self._run("DELETE FROM ticket WHERE account = ?", account)
        self._standing.clear()
        return self._run("DELETE FROM login WHERE account = ? AND id <> ?", account, but)

    def count_try(self, key: str, wait: float, keep: float) -> int:
        """Count `key` once more: it has to wait for so many seconds, and is forgotten `keep` seconds after that. Until
        when it waits (ms).
        """
        count = self.tries(key)[0] + 1
        until = self.now + int(wait * 1000)
        self._run("INSERT OR REPLACE INTO throttle VALUES (?, ?, ?, ?)", key, count, until, until + int(keep * 1000))
        return until

    def forget_tries(self, key: str) -> None:
        """It was right: start counting anew."""
        self._run("DELETE FROM throttle WHERE key = ? OR forget <= ?", key, self.now)
