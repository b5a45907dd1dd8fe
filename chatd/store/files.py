"""Files and the tickets that move their bytes.

The rule: a file's row stands before the first byte of it is on disk, and is complete only when the last one is. A name
is text that somebody typed; where the bytes are follows from the number alone.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from chatd.store.base import Base


class File(NamedTuple):
    """One file. `size` and `digest` (SHA-256, hex) None: not told yet. `name` "" where the server must not know it.

    `got`: bytes that had come at the last look, `stored` (ms): complete since, `seq`: the event that announces it; 0
    where there is none yet.
    """

    id: int
    room: int
    author: int
    author_name: str
    size: int | None
    digest: str | None
    name: str
    type: str
    caption: str
    mid: str | None
    call: int
    got: int
    stored: int
    seq: int
    made: int


class Ticket(NamedTuple):
    """What one raw connection may do: bring the bytes of a file (`upload`), or fetch those from `start` to `end`."""

    file: int
    account: int
    upload: bool
    start: int
    end: int


class Stored(NamedTuple):
    """What should be on disk of a file: all `size` bytes of it where it is `complete`, else any part, or nothing."""

    file: int
    complete: bool
    size: int
    digest: str


_FILE: Final = (
    "SELECT f.id, f.room, f.author, coalesce(a.name, ''), f.size, f.digest, coalesce(f.name, ''), coalesce(f.type, ''),"
    " coalesce(f.caption, ''), f.mid, coalesce(f.call, 0), f.got, coalesce(f.stored, 0), coalesce(f.seq, 0), f.made"
    " FROM file f JOIN account a ON a.id = f.author WHERE f.gone IS NULL AND "
)


class FileReads(Base):
    """Which files there are."""

    def file(self, number: int) -> File | None:
        """The file of this number, unless it is gone."""
        return self._file("f.id = ?", number)

    def file_by_mid(self, account: int, mid: str) -> File | None:
        """The file that `account` began under `mid`."""
        return self._file("f.author = ? AND f.mid = ?", account, mid)

    def unfinished_by_name(self, room: int, account: int, name: str) -> File | None:
        """The newest upload of this name that `account` has begun and not ended in the room."""
        return self._file(
            "f.room = ? AND f.author = ? AND f.name = ? AND f.stored IS NULL ORDER BY f.id DESC LIMIT 1",
            room,
            account,
            name,
        )

    def _file(self, where: str, *args: int | str) -> File | None:
        row = self._one(_FILE + where, *args)
        return None if row is None else File._make(row)

    def may_hear(self, account: int, room: int, seq: int) -> bool:
        """Whether `account` is in the room, and was when this event came."""
        return (
            self._one(
                "SELECT 1 FROM member n JOIN member m ON m.room = n.room AND m.account = n.account"
                " WHERE n.account = ?1 AND n.room = ?2 AND n.until IS NULL"
                " AND m.since <= ?3 AND coalesce(m.until, ?3) >= ?3",
                account,
                room,
                seq,
            )
            is not None
        )

    def files_in(self, room: int, account: int, most: int) -> list[tuple[File, int]]:
        """The newest `most` files of the room that `account` may hear of, oldest first, each with its time (ms)."""
        rows = self._all(
            _FILE.replace(" FROM ", ", e.at FROM ", 1).replace(" WHERE ", " JOIN event e ON e.seq = f.seq WHERE ", 1)
            + "f.room = ?1 AND EXISTS (SELECT 1 FROM member m WHERE m.room = ?1 AND m.account = ?2"
            " AND m.since <= f.seq AND coalesce(m.until, f.seq) >= f.seq) ORDER BY f.id DESC LIMIT ?3",
            room,
            account,
            most,
        )
        return [(File._make(row[:-1]), row[-1]) for row in reversed(rows)]

    def unfinished(self, room: int, account: int) -> list[File]:
        """The uploads of `account` to the room that are not complete, or not announced yet, the first one first."""
        rows = self._all(_FILE + "f.room = ? AND f.author = ? AND f.seq IS NULL ORDER BY f.id", room, account)
        return [File._make(row) for row in rows]

    def bytes_of(self, account: int, but: int = 0) -> int:
        """How many bytes this account's files have or will have, without the file `but`."""
        return (
            self._value("SELECT sum(size) FROM file WHERE author = ? AND gone IS NULL AND id <> ?", account, but) or 0
        )

    def bytes_in(self, room: int, but: int = 0) -> int:
        """How many bytes the room's files have or will have, without the file `but`."""
        return self._value("SELECT sum(size) FROM file WHERE room = ? AND gone IS NULL AND id <> ?", room, but) or 0

    def is_ticket(self, hashed: str) -> bool:
        """Whether there is a ticket of this hash."""
        return self._one("SELECT 1 FROM ticket WHERE hash = ?", hashed) is not None

    def newest_file(self) -> int:
        """The highest number that a file was ever given; 0: none was."""
        return self._value("SELECT seq FROM sqlite_sequence WHERE name = 'file'") or 0

    def stored_files(self) -> list[Stored]:
        """Every file of which bytes may be on disk, by number."""
        rows = self._all(
            "SELECT id, stored IS NOT NULL, coalesce(size, 0), coalesce(digest, '') FROM file WHERE gone IS NULL"
            " ORDER BY id"
        )
        return [Stored(row[0], bool(row[1]), row[2], row[3]) for row in rows]


class FileWrites(FileReads):
    """Files that come and go."""

    def add_file(
        self,
        room: int,
        author: int,
        *,
        size: int | None,
        digest: str | None,
        name: str | None,
        type: str | None,  # noqa: A002 - the column's name
        caption: str | None,
        mid: tuple[str, int] | None,
    ) -> int:
        """An upload begins; its number."""
        return self._insert(
            "INSERT INTO file (room, author, size, digest, name, type, caption, mid, call, made, touched)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            room,
            author,
            size,
            digest,
            name,
            type,
            caption,
            None if mid is None else mid[0],
            None if mid is None else mid[1],
            self.steady,
            self.steady,
        )

    def drop_oldest_uploads(self, account: int, most: int) -> None:
        """Of the uploads of which no byte has come, as far as was noted, keep the newest `most`."""
        self._run(
            "DELETE FROM file WHERE id IN (SELECT id FROM file f WHERE author = ?1 AND stored IS NULL AND got = 0"
            " ORDER BY id DESC LIMIT -1 OFFSET ?2)",
            account,
            most,
        )

    def tell_file(self, number: int, size: int, digest: str | None) -> None:
        """What was not told when the upload began."""
        self._run("UPDATE file SET size = ?, digest = ? WHERE id = ?", size, digest, number)

    def touch_file(self, number: int, got: int) -> bool:
        """So many bytes have come; whether the upload is still wanted."""
        return (
            self._run(
                "UPDATE file SET got = ?, touched = ? WHERE id = ? AND stored IS NULL AND gone IS NULL",
                got,
                self.steady,
                number,
            )
            > 0
        )

    def complete_file(self, number: int, digest: str) -> None:
        """All its bytes are on disk."""
        self._run("UPDATE file SET stored = ?, digest = ?, got = size WHERE id = ?", self.steady, digest, number)

    def announce_file(self, number: int, seq: int) -> None:
        """This event tells the room of it."""
        self._run("UPDATE file SET seq = ? WHERE id = ?", seq, number)

    def drop_file(self, number: int) -> None:
        """It is not wanted any more: nobody can bring or fetch it, and what it was called is forgotten."""
        self._run("DELETE FROM ticket WHERE file = ?", number)
        self._run(
            "UPDATE file SET gone = ?, name = NULL, caption = NULL, mid = NULL WHERE id = ? AND gone IS NULL",
            self.steady,
            number,
        )

    def gone_files(self, since: int) -> list[int]:
        """Files that have gone since then (ms), whose bytes are to go."""
        return [row[0] for row in self._all("SELECT id FROM file WHERE gone >= ?", since)]

    def forget_files(self, before: int) -> None:
        """Forget the uploads that went before then (ms) and that nobody was told of."""
        self._run("DELETE FROM file WHERE gone < ? AND seq IS NULL", before)

    def blank_file(self, number: int) -> None:
        """What its event says of it in clear is erased, but for its number."""
        self._run(
            "UPDATE event SET text = NULL, data = json_object('file', ?1)"
            " WHERE kind = 'file' AND data IS NOT NULL AND seq = (SELECT seq FROM file WHERE id = ?1)",
            number,
        )

    def mark_gone(self, number: int, how: str) -> bool:
        """Its event says from now on that it cannot be had; whether there is one that still says anything, in a room
        where somebody is.
        """
        return (
            self._run(
                "UPDATE event SET data = json_set(data, '$.gone', ?2) WHERE data IS NOT NULL"
                " AND seq = (SELECT seq FROM file WHERE id = ?1)"
                " AND EXISTS (SELECT 1 FROM member m WHERE m.room = event.room AND m.until IS NULL)",
                number,
                how,
            )
            > 0
        )

    def overdue_files(self, before: int, unfinished_before: int) -> list[int]:
        """Files whose time is over: kept since `before` (ms), begun and not touched since `unfinished_before`, in rooms
        that have closed, or announced by an event that was blanked since.
        """
        rows = self._all(
            "SELECT f.id FROM file f LEFT JOIN event e ON e.seq = f.seq WHERE f.gone IS NULL AND ("
            " (f.seq IS NULL AND max(f.touched, coalesce(f.stored, 0)) < ?2)"
            " OR (f.seq IS NOT NULL AND (f.stored < ?1 OR (e.data IS NULL AND e.sealed IS NULL)))"
            " OR NOT EXISTS (SELECT 1 FROM member m WHERE m.room = f.room AND m.until IS NULL))",
            before,
            unfinished_before,
        )
        return [row[0] for row in rows]

    # -- tickets ------------------------------------------------------------------------------------------------------

    def add_ticket(
        self, hashed: str, file: int, account: int, *, upload: bool, start: int, end: int, until: int, most: int
    ) -> None:
        """A ticket is given out; of one account's, the newest `most` are good."""
        self._run("INSERT INTO ticket VALUES (?, ?, ?, ?, ?, ?, ?)", hashed, file, account, upload, start, end, until)
        self._run(
            "DELETE FROM ticket WHERE hash IN (SELECT hash FROM ticket WHERE account = ? AND hash <> ?"
            " ORDER BY until DESC LIMIT -1 OFFSET ?)",
            account,
            hashed,
            most - 1,
        )

    def take_ticket(self, hashed: str) -> Ticket | None:
        """The ticket of this hash, which is used up with that; None: there is none, or it is too old."""
        rows = self._all(
            "DELETE FROM ticket WHERE hash = ? RETURNING file, account, upload, start, stop, until", hashed
        )
        if not rows or rows[0][5] < self.now:
            return None
        file, account, upload, start, end, _ = rows[0]
        return Ticket(file, account, bool(upload), start, end)

    def drop_old_tickets(self) -> None:
        """Forget the tickets whose time is over."""
        self._run("DELETE FROM ticket WHERE until < ?", self.now)
