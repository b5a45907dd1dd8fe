"""A profile's one SQLite file: rooms, events, cursors, the outbox, the session's token.

The rule: what came from people or says who somebody is lies sealed (crypto/vault.py); in the clear stand only numbers
that order rows. A cursor is written in the transaction that writes the events it speaks of, so after a crash events
are asked for again and never missing. Lines typed are flushed to disk before `queue` returns.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from orjson import OPT_NON_STR_KEYS, dumps, loads

from client.crypto.vault import Vault
from client.outbox import Entry

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS wrap (id INTEGER PRIMARY KEY CHECK (id = 1), body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS kept (name TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS event (
    seq    INTEGER PRIMARY KEY,
    room   INTEGER NOT NULL,
    weight INTEGER NOT NULL,  -- 0: not counted, 1: a line of somebody else, 2: one that means me
    body   BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS event_room ON event (room, seq);
CREATE INDEX IF NOT EXISTS event_weight ON event (room, seq, weight) WHERE weight > 0;
CREATE TABLE IF NOT EXISTS outbox (n INTEGER PRIMARY KEY AUTOINCREMENT, mid TEXT NOT NULL UNIQUE, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS secret (
    name  BLOB PRIMARY KEY,  -- a keyed hash
    until INTEGER,           -- when it may go (ms)
    body  BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS typed (n INTEGER PRIMARY KEY AUTOINCREMENT, body BLOB NOT NULL);
"""
VERSION: Final = 1
TYPED_MOST: Final = 1_000
"""How many typed lines are remembered for the up key."""


class TooNew(Exception):
    """The file was written by a newer chat."""


class Held(NamedTuple):
    """An event to keep, as the server sent it."""

    seq: int
    room: int
    weight: int
    fields: Mapping[str, Any]


class Store:
    """The file, open. `unlock` comes before everything but `wrap`."""

    def __init__(self, path: Path | str) -> None:
        """@raise TooNew: this chat is too old for it."""
        self.folder = Path(path).parent / "files"
        """Where bytes may lie meanwhile: sealed files on their way, text that becomes a file, previews."""
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise TooNew
        if version < VERSION:
            self._db.executescript(SCHEMA)
            self._db.execute(f"PRAGMA user_version={VERSION}")
        self._vault: Vault
        self._depth = 0
        self.undone: list[Callable[[], None]] = []
        """Called when a transaction was undone: what was read of it is no longer true."""

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # -- the key ------------------------------------------------------------------------------------------------------

    @property
    def wrap(self) -> dict[str, Any] | None:
        """How the master key is wrapped; None in a new file."""
        row = self._db.execute("SELECT body FROM wrap").fetchone()
        return None if row is None else loads(row[0])

    def unlock(self, vault: Vault, wrap: Mapping[str, Any]) -> None:
        """Use this vault from now on, and remember how its key is wrapped."""
        self._vault = vault
        if wrap != self.wrap:
            self._db.execute("INSERT OR REPLACE INTO wrap VALUES (1, ?)", (dumps(wrap).decode(),))

    # -- single things ------------------------------------------------------------------------------------------------

    def get(self, name: str, default: Any = None) -> Any:
        """What is kept under this name."""
        row = self._db.execute("SELECT body FROM kept WHERE name = ?", (name,)).fetchone()
        return default if row is None else loads(self._vault.open("kept", name, row[0]))

    def put(self, **things: Any) -> None:
        """Keep these, each under its name; None forgets."""
        with self._transaction():
            self._put(things)

    def _put(self, things: Mapping[str, Any]) -> None:
        for name, value in things.items():
            if value is None:
                self._db.execute("DELETE FROM kept WHERE name = ?", (name,))
            else:
                body = self._vault.seal("kept", name, dumps(value, option=OPT_NON_STR_KEYS))
                self._db.execute("INSERT OR REPLACE INTO kept VALUES (?, ?)", (name, body))

    # -- keys and ratchets ------------------------------------------------------------------------------------------

    def atomic(self, *, durable: bool = True) -> AbstractContextManager[None]:
        """All that is written in here is kept, or nothing of it. One may stand in another.

        `durable`: it is flushed to disk when it ends; else it outlives this process, and `flush` brings it to disk.
        """
        return self._transaction(durable=durable)

    def flush(self) -> None:
        """Everything written so far is on disk."""
        with self.atomic():
            self._put({"flushed": True})

    def secrets(self, account: int) -> Secrets:
        """What this account's encryption has to keep here."""
        return Secrets(self, self._db, self._vault, account)

    # -- events -------------------------------------------------------------------------------------------------------

    def add(self, events: Iterable[Held], **things: Any) -> None:
        """Keep these events, and what is true with them."""
        rows = [
            (event.seq, event.room, event.weight, self._vault.seal("event", event.seq, dumps(event.fields)))
            for event in events
        ]
        with self._transaction():
            self._db.executemany("INSERT OR IGNORE INTO event VALUES (?, ?, ?, ?)", rows)
            self._put(things)

    def event(self, seq: int) -> dict[str, Any] | None:
        """An event that is kept."""
        row = self._db.execute("SELECT body FROM event WHERE seq = ?", (seq,)).fetchone()
        return None if row is None else loads(self._vault.open("event", seq, row[0]))

    def keep(self, event: Held) -> None:
        """Keep an event as it is known now, whatever was kept of it before."""
        body = self._vault.seal("event", event.seq, dumps(event.fields))
        self._db.execute(
            "INSERT OR REPLACE INTO event VALUES (?, ?, ?, ?)", (event.seq, event.room, event.weight, body)
        )

    def last(self, room: int, count: int, before: int | None = None, after: int = 0) -> list[dict[str, Any]]:
        """The newest events of a room (older than `before`, newer than `after`), the oldest of them first."""
        rows = self._db.execute(
            "SELECT seq, body FROM event WHERE room = ? AND seq < ? AND seq > ? ORDER BY seq DESC LIMIT ?",
            (room, 1 << 62 if before is None else before, after, count),
        ).fetchall()
        return [loads(self._vault.open("event", seq, body)) for seq, body in reversed(rows)]

    def next(self, room: int, after: int, count: int) -> list[dict[str, Any]]:
        """The oldest events of a room newer than `after`, in order."""
        rows = self._db.execute(
            "SELECT seq, body FROM event WHERE room = ? AND seq > ? ORDER BY seq LIMIT ?", (room, after, count)
        ).fetchall()
        return [loads(self._vault.open("event", seq, body)) for seq, body in rows]

    def all(self, room: int) -> Iterator[dict[str, Any]]:
        """Every event of a room, in order."""
        for seq, body in self._db.execute("SELECT seq, body FROM event WHERE room = ? ORDER BY seq", (room,)):
            yield loads(self._vault.open("event", seq, body))

    def unread(self, room: int, after: int, most: int = 2_000) -> list[tuple[int, int]]:
        """What counts in a room past a cursor: (seq, weight), in order; of very much, the first `most`."""
        return self._db.execute(
            "SELECT seq, weight FROM event WHERE room = ? AND seq > ? AND weight > 0 ORDER BY seq LIMIT ?",
            (room, after, most),
        ).fetchall()

    def forget_events(self) -> None:
        """Another person, or another server: nothing of the old one is shown."""
        with self._transaction():
            self._db.execute("DELETE FROM event")
            self._db.execute("DELETE FROM typed")
            self._db.execute(
                "DELETE FROM kept WHERE name IN ('rooms', 'cursor', 'reads', 'current', 'people', 'base', 'floors')"
            )

    # -- the outbox ---------------------------------------------------------------------------------------------------

    def outbox(self) -> list[Entry]:
        """What waits, in the order typed."""
        rows = self._db.execute("SELECT mid, body FROM outbox ORDER BY n").fetchall()
        return [Entry(**loads(self._vault.open("outbox", mid, body))) for mid, body in rows]

    def queue(self, entry: Entry) -> None:
        """Keep a line until it is stored. It is on disk when this returns."""
        body = dumps({name: getattr(entry, name) for name in Entry.__slots__})
        self._flush(True)
        self._db.execute(
            "INSERT OR IGNORE INTO outbox (mid, body) VALUES (?, ?)",
            (entry.mid, self._vault.seal("outbox", entry.mid, body)),
        )

    def unqueue(self, mid: str) -> None:
        """It is stored, or never will be."""
        self._db.execute("DELETE FROM outbox WHERE mid = ?", (mid,))

    # -- what was typed -----------------------------------------------------------------------------------------------

    def typed(self) -> list[str]:
        """The lines typed before, the newest first."""
        rows = self._db.execute("SELECT n, body FROM typed ORDER BY n DESC LIMIT ?", (TYPED_MOST,)).fetchall()
        return [self._vault.open("typed", n, body).decode() for n, body in rows]

    def remember(self, line: str) -> None:
        """A line was typed. Passwords never come here."""
        with self._transaction():
            n = self._db.execute("SELECT coalesce(max(n), 0) + 1 FROM typed").fetchone()[0]
            self._db.execute("INSERT INTO typed VALUES (?, ?)", (n, self._vault.seal("typed", n, line.encode())))
            self._db.execute("DELETE FROM typed WHERE n <= ?", (n - TYPED_MOST,))

    def _flush(self, flush: bool) -> None:
        """Whether what is committed from now on is on disk at once. It cannot change within a transaction."""
        if not self._depth:
            self._db.execute(f"PRAGMA synchronous={'FULL' if flush else 'NORMAL'}")

    @contextmanager
    def _transaction(self, *, durable: bool = False) -> Iterator[None]:
        """The outermost one begins and ends; `durable`: it is flushed to disk."""
        if self._depth:
            yield
            return
        self._flush(durable)
        self._db.execute("BEGIN IMMEDIATE")
        self._depth = 1
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            for forget in self.undone:
                forget()
            raise
        finally:
            self._depth = 0


class Secrets:
    """The sealed rows of one account's encryption: keys, ratchets, pins, what is under way.

    Names are filed as keyed hashes, since they say who writes to whom. Writing needs an open transaction (`atomic`).
    """

    def __init__(self, store: Store, db: sqlite3.Connection, vault: Vault, account: int) -> None:
        self._store = store
        self._db = db
        self._vault = vault
        self._account = account
        self.atomic = store.atomic

    def get(self, kind: str, name: str) -> Any:
        """What is written there; None: nothing."""
        where = self._where(name)
        row = self._db.execute("SELECT body FROM secret WHERE name = ?", (self._vault.blind(kind, where),)).fetchone()
        return None if row is None else loads(self._vault.open(kind, where, row[0]))

    def put(self, kind: str, name: str, value: Any, until: int | None = None) -> None:
        """Write it there (JSON); None: forget it. `until`: it may go then (ms)."""
        where = self._where(name)
        hidden = self._vault.blind(kind, where)
        if value is None:
            self._db.execute("DELETE FROM secret WHERE name = ?", (hidden,))
        else:
            body = self._vault.seal(kind, where, dumps(value))
            self._db.execute("INSERT OR REPLACE INTO secret VALUES (?, ?, ?)", (hidden, until, body))

    def expire(self, now: int) -> None:
        """Forget what may go."""
        self._db.execute("DELETE FROM secret WHERE until < ?", (now,))

    def when_undone(self, forget: Callable[[], None]) -> None:
        """Called when a transaction was undone: what was read of it is no longer true."""
        self._store.undone.append(forget)

    def _where(self, name: str) -> str:
        return f"{self._account} {name}"
