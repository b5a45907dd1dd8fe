"""The store: the schema, the group commit, the log, and what happens when the disk is full or somebody else writes.

The rule: the file is a real one, and what stands in it is looked at through a connection of the test's own.
"""

from __future__ import annotations

import fcntl
import gc
import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from chatd.errors import Refusal
from chatd.model import Event
from chatd.store import ReadTx, Tx, sqlite
from chatd.store.between import PATIENCE
from chatd.store.database import CHECKPOINT, FEW, FILL, MANY, Database
from chatd.store.log import _WINDOW as PAGE_WINDOW
from chatd.store.migrate import COMPAT, SCHEMA, TooNew, last_seq, migrate
from tests.memory import Client, Server, settings

BUSY = "The server cannot write just now. Nothing was changed; try again."


class MigrationTests(SynchronousTestCase):
    """The schema, made and brought up to date."""

    def setUp(self) -> None:
        self.data = Path(self.mktemp())
        self.data.mkdir()

    def ask(self, statement: str, data: Path | None = None) -> list[Any]:
        """What stands in the file."""
        connection = sqlite3.connect((data or self.data) / sqlite.FILE)
        try:
            with connection:
                return connection.execute(statement).fetchall()
        finally:
            connection.close()

    def test_fresh(self) -> None:
        """A new database has the newest schema, and says which program may use it; only its owner may read it."""
        self.assertEqual(migrate(self.data), 0)
        self.assertEqual(self.ask("PRAGMA user_version"), [(SCHEMA,)])
        self.assertEqual(self.ask("SELECT value FROM meta WHERE key = 'compat'"), [(str(COMPAT),)])
        self.assertEqual(self.ask("PRAGMA journal_mode"), [("wal",)])
        self.assertEqual((self.data / sqlite.FILE).stat().st_mode & 0o777, 0o600)
        self.assertEqual(last_seq(self.data), 0)

    def test_again(self) -> None:
        """What is up to date is left alone."""
        migrate(self.data)
        before = self.ask("SELECT * FROM sqlite_master")
        self.assertEqual(migrate(self.data), SCHEMA)
        self.assertEqual(self.ask("SELECT * FROM sqlite_master"), before)
        self.assertEqual(list(self.data.glob("before-*")), [])

    def test_step_by_step(self) -> None:
        """A database that was brought up from any older schema is the same as a new one."""
        migrate(self.data)
        for start in range(1, SCHEMA + 1):
            data = Path(self.mktemp())
            data.mkdir()
            for upto in range(start, SCHEMA + 1):
                migrate(data, upto)
            for statement in (
                "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY 1, 2",
                "SELECT * FROM meta",
            ):
                self.assertEqual(self.ask(statement, data), self.ask(statement))

    def test_a_copy_first(self) -> None:
        """Before a database is changed a copy of it is made, which only its owner may read; a migration that breaks
        changes nothing.
        """
        migrate(self.data)
        self.ask("INSERT INTO account (name, skeleton, created) VALUES ('alice', 'alice', 0)")
        with self.assertRaises(FileNotFoundError):
            migrate(self.data, SCHEMA + 1)
        self.assertEqual(self.ask("PRAGMA user_version"), [(SCHEMA,)])
        self.assertEqual(self.ask("SELECT name FROM account"), [("alice",)])
        [copy] = self.data.glob("before-schema-*.sqlite")
        self.assertEqual(copy.stat().st_mode & 0o777, 0o600)
        connection = sqlite3.connect(copy)
        self.addCleanup(connection.close)
        self.assertEqual(connection.execute("SELECT name FROM account").fetchall(), [("alice",)])
        self.assertEqual(connection.execute("PRAGMA user_version").fetchall(), [(SCHEMA,)])

    def test_newer(self) -> None:
        """A database of a newer program is used if that program says so, and refused if it does not."""
        migrate(self.data)
        self.ask(f"PRAGMA user_version = {SCHEMA + 3}")
        self.assertEqual(migrate(self.data), SCHEMA + 3)
        self.ask(f"UPDATE meta SET value = '{SCHEMA + 1}' WHERE key = 'compat'")
        with self.assertRaises(TooNew):
            migrate(self.data)
        self.assertEqual(self.ask("PRAGMA user_version"), [(SCHEMA + 3,)])


class Base(SynchronousTestCase):
    """A server whose store is looked at."""

    def setUp(self) -> None:
        self.server = Server(Path(self.mktemp()), settings=settings(batch_calls=50))
        self.addCleanup(self.server.stop)
        self.db = self.server.db
        self.alice = self.server.program("alice")
        self.room: int = self.alice.call(do="create", room="#ops")["ok"]["room_id"]
        self.alice.events()

    def together(self, *runs: Callable[[Tx], Any]) -> list[Any]:
        """Have these done in one commit; what came of each: a result, the code of a refusal, or an exception."""
        results: list[Any] = [None] * len(runs)
        commits = self.db.meter.commits

        def keep(index: int) -> Callable[[Any], None]:
            def kept(result: Any) -> None:
                if isinstance(result, Failure):
                    result = result.value
                results[index] = result.code if isinstance(result, Refusal) else result

            return kept

        self.server.writer.hold()
        self.db.write(lambda tx: None)
        self.server.advance(0)
        for index, run in enumerate(runs):
            self.db.write(run).addBoth(keep(index))
        self.server.writer.release()
        self.assertEqual(self.db.meter.commits, commits + 2)
        return results

    def texts(self) -> list[str]:
        """What was said, as the file has it."""
        return [text for (text,) in self.server.sql("SELECT text FROM event WHERE kind = 'say' ORDER BY seq")]

    def say(self, text: str) -> Callable[[Tx], int]:
        """An operation that appends one line."""
        return lambda tx: tx.append("say", self.room, 1, text=text)

    def read(self, run: Callable[[ReadTx], Any]) -> Any:
        """Read from one snapshot."""
        found: list[Any] = []
        self.db.read(run).addCallback(found.append)
        self.server.advance(0)
        return found[0]


class GroupCommitTests(Base):
    """Whatever waits goes into one transaction; what is refused undoes only itself (DESIGN §5)."""

    def test_refused_and_broken_calls_undo_themselves_only(self) -> None:
        """A call that is refused or breaks after it has written leaves nothing; the others in its commit are done, and
        the log has no gap.
        """

        def refused(tx: Tx) -> None:
            tx.append("say", self.room, 1, text="never")
            tx.set_topic(self.room, "never")
            tx.add_ban(self.room, 1, 1, "")
            raise Refusal("SELF")

        def broken(tx: Tx) -> None:
            tx.append("say", self.room, 1, text="never")
            tx.set_topic(self.room, "never")
            raise ZeroDivisionError

        def wrong(tx: Tx) -> None:
            tx.append("say", self.room, 1, text="never")
            tx.add_ban(999, 1, 1, "")

        start = last_seq(self.server.data)
        one, two, three, four, five, six = self.together(
            self.say("one"), refused, self.say("two"), broken, wrong, self.say("three")
        )
        self.assertEqual((one, three, six), (start + 1, start + 2, start + 3))
        self.assertEqual((two, type(four), type(five)), ("SELF", ZeroDivisionError, sqlite3.IntegrityError))
        self.assertEqual(self.texts(), ["one", "two", "three"])
        self.assertEqual(self.server.sql("SELECT topic FROM room WHERE id = ?", self.room), [("",)])
        self.assertEqual(self.server.sql("SELECT * FROM ban"), [])
        self.assertEqual([event["text"] for event in self.alice.events()], ["one", "two", "three"])

    def test_a_light_call_undoes_itself_without_a_savepoint(self) -> None:
        """A light call that breaks after it has appended takes its event back, and the mid is free again."""
        results: list[Any] = []
        room = self.room

        class Light:
            """One light call, under a mid."""

            light = True
            account = login = 1
            mid = "0190f7a2-0000-7000-8000-000000000001"
            origin = None

            def __init__(self, text: str, error: Exception | None = None) -> None:
                self.room = room
                self.text = text
                self.error = error

            def run(self, tx: Tx) -> Any:
                """Append, then break."""
                if (before := tx.by_mid(1, self.mid)) is not None:
                    return before
                tx.under(self.mid, 7)
                seq = tx.append("say", room, 1, text=self.text)
                if self.error is not None:
                    raise self.error
                return seq

            def done(self, result: Any) -> None:
                """Keep the result."""
                results.append(result)

        start = last_seq(self.server.data)
        for work in (
            Light("never", Refusal("SELF")),
            Light("never", ZeroDivisionError()),
            Light("once"),
            Light("twice"),
        ):
            self.db.submit(work)
        self.server.advance(0)
        self.assertEqual((results[0].code, results[1].type), ("SELF", ZeroDivisionError))
        self.assertEqual(results[2:], [start + 1, (start + 1, 7)])
        self.assertEqual(self.texts(), ["once"])

    def test_a_later_call_sees_an_earlier_one(self) -> None:
        """Calls of one commit are done one after the other: what the first has changed the second finds changed."""
        bob = self.server.program("bob").welcome["account"]
        other = self.server.person("alice2")
        self.alice.call(do="add", room="#ops", user="alice2")
        other.type("/join #ops")
        other.read()
        self.server.writer.hold()
        self.db.write(lambda tx: None)
        self.server.advance(0)
        self.alice.ask(id=1, do="kick", room="#ops", user="alice2")
        other.send(b"still here?\r\n")
        self.alice.ask(id=2, do="add", room="#ops", user="bob")
        self.server.writer.release()
        self.assertEqual(other.lines()[0], "You are not in #ops. /join #ops")
        self.assertEqual(
            self.server.sql("SELECT count(*) FROM member WHERE account = ? AND until IS NULL", bob), [(2,)]
        )

    def test_no_more_than_a_batch(self) -> None:
        """Of many calls that wait, so many as a batch holds share a commit."""
        commits = self.db.meter.commits
        self.alice.send(b'{"do":"say","room":"#ops","text":"x"}\n' * 120)
        self.assertEqual(self.db.meter.commits, commits + 3)
        self.assertEqual(len(self.texts()), 120)

    def test_a_fair_share(self) -> None:
        """Who floods waits behind themselves, in order; a ping waits for all that came before it, the flood too."""
        server = Server(Path(self.mktemp()), settings=settings(waiting_lines=1_000))
        self.addCleanup(server.stop)
        flooder, carol, bob = server.program("alice"), server.program("carol"), server.program("bob")
        flooder.call(do="create", room="#ops", people=["bob", "carol"])
        for client in (flooder, bob, carol):
            client.read()
        server.writer.hold()
        server.db.write(lambda tx: None)
        server.advance(0)
        flood = b"".join(b'{"do":"say","room":"#ops","text":"%d"}\n' % number for number in range(600))
        flooder.protocol.dataReceived(flood)
        for _ in range(10):
            server.advance(0)
        carol.protocol.dataReceived(b'{"id":7,"do":"ping"}\n')
        bob.protocol.dataReceived(b'{"do":"say","room":"#ops","text":"honest"}\n')
        server.advance(0)
        while server.writer.step():
            pass
        lines = bob.objects()
        said = [line["text"] for line in lines if line.get("ev") == "say"]
        self.assertLess(said.index("honest"), FEW + 2)
        said.remove("honest")
        self.assertEqual(said, [str(number) for number in range(600)])
        (pong,) = [line for line in carol.objects() if line.get("re") == 7]
        self.assertGreaterEqual(pong["ok"]["seq"], max(line["seq"] for line in lines if line.get("ev") == "say"))

    def test_a_crowd_that_floods(self) -> None:
        """Where many flood a commit has few of their calls: what somebody else says comes first in the next one."""
        server = Server(Path(self.mktemp()))
        self.addCleanup(server.stop)
        crowd = [server.program(f"flooder{number}") for number in range(8)]
        bob = server.program("bob")
        for client in (*crowd, bob):
            client.call(do="create", room=f"#of-{client.welcome['name']}")
            client.read()
        server.writer.hold()
        server.db.write(lambda tx: None)
        server.advance(0)
        for number, client in enumerate(crowd):
            client.protocol.dataReceived(b'{"do":"say","room":"#of-flooder%d","text":"x"}\n' % number * (2 * MANY))
        for _ in range(20):
            server.advance(0)
        bob.protocol.dataReceived(b'{"do":"say","room":"#of-bob","text":"honest"}\n')
        server.advance(0)
        calls = server.db.meter.calls
        server.writer.step()
        self.assertEqual(server.db.meter.calls - calls, FILL)
        told = [line for line in bob.objects() if line.get("ev") == "say"]
        server.writer.release()
        told += [line for line in bob.objects() if line.get("ev") == "say"]
        self.assertEqual([line["text"] for line in told], ["honest"])
        said = server.sql("SELECT seq, text FROM event WHERE kind = 'say' ORDER BY seq")
        self.assertEqual(len(said), 16 * MANY + 1)
        self.assertLess([text for _, text in said].index("honest"), FILL)

    def test_a_packet_of_lines(self) -> None:
        """Of the thousands of lines that one packet can hold few are in the line for the writer at a time: what the
        server itself writes, its sign of life above all, does not wait for all of them.
        """
        server = Server(Path(self.mktemp()))
        self.addCleanup(server.stop)
        flooder = server.person("flooder")
        flooder.type("/create #ops")
        flooder.type("/join #ops")
        server.writer.hold()
        server.db.write(lambda tx: None)
        server.advance(0)
        flooder.protocol.dataReceived(b"y\n" * 3_000)
        for _ in range(5):
            server.writer.step()
        written: list[int] = []
        server.db.write(written.append)  # type: ignore[arg-type]
        commits = server.db.meter.commits
        while not written:
            server.writer.step()
        self.assertLess(server.db.meter.commits - commits, 10)
        server.writer.release()
        self.assertEqual(server.sql("SELECT count(*) FROM event WHERE kind = 'say'"), [(3_000,)])

    def test_nobody_waits_for_ever(self) -> None:
        """However much the others say in each commit, what waits longest is done before long: a flood, and the ping
        behind it.
        """
        server = Server(Path(self.mktemp()))
        self.addCleanup(server.stop)
        talk = [server.program(f"talker{number}") for number in range(FILL)]
        flooder, bob = server.program("flooder"), server.program("bob")
        for client in (*talk, flooder):
            client.call(do="create", room=f"#of-{client.welcome['name']}")
            client.read()

        def say(client: Client, many: int) -> None:
            line = b'{"do":"say","room":"#of-%s","text":"x"}\n' % client.welcome["name"].encode()
            client.protocol.dataReceived(line * many)

        server.writer.hold()
        server.db.write(lambda tx: None)
        server.advance(0)
        say(flooder, FEW)
        for _ in range(20):
            server.advance(0)
        bob.protocol.dataReceived(b'{"id":7,"do":"ping"}\n')
        pongs: list[Any] = []
        for _ in range(FEW):
            for client in talk:
                say(client, 1)
            server.advance(0)
            server.writer.step()
            pongs += [line for line in bob.objects() if line.get("re") == 7]
        server.writer.release()
        self.assertEqual(len(pongs), 1)

    def test_read_between_commits(self) -> None:
        """What is read for who comes in is begun behind the commit that is under way, one after the other; where that
        takes long, beside it. What waits at the end is refused.
        """
        self.server.writer.hold()
        self.server.readers.hold()
        done: list[Any] = []

        def read(number: int) -> None:
            self.db.read_between(lambda tx: done.append(number)).addBoth(lambda _: None)

        self.db.write(lambda tx: None)
        self.server.advance(0)
        read(1)
        read(2)
        self.assertEqual(done, [])
        self.server.writer.step()
        self.assertEqual(done, [1])
        self.server.readers.step()
        self.assertEqual(done, [1, 2])
        self.server.readers.step()
        self.db.write(lambda tx: None)
        self.server.advance(0)
        read(3)
        self.server.advance(PATIENCE / 2)
        self.assertEqual(done, [1, 2])
        self.server.advance(PATIENCE)
        self.assertEqual(done, [1, 2, 3])
        self.server.writer.release()
        self.server.readers.release()

    def test_between_commits(self) -> None:
        """What waits for the end of a commit goes on with it, in its order; one that takes long is not waited for."""
        self.server.writer.hold()
        done: list[int] = []

        def wait(number: int) -> None:
            self.db.between().addCallback(lambda _: done.append(number))

        wait(0)
        self.assertEqual(done, [0])
        for commit in (1, 2):
            self.db.write(lambda tx: None)
            self.server.advance(0)
            wait(2 * commit - 1)
            wait(2 * commit)
            self.server.advance(PATIENCE / 2)
            self.assertEqual(done, list(range(2 * commit - 1)))
            if commit == 1:
                self.server.writer.step()
            else:
                self.server.advance(PATIENCE)
            self.assertEqual(done, list(range(2 * commit + 1)))
        self.server.writer.release()

    def test_read_at_the_end(self) -> None:
        """A read that waits when the file is closed is refused, as is one behind it; the one that was begun is not."""
        server = Server(Path(self.mktemp()))
        server.readers.hold()
        server.writer.hold()
        server.db.write(lambda tx: None)
        server.advance(0)
        begun, waits = server.db.read_between(lambda tx: 7), server.db.read_between(lambda tx: 8)
        again = server.db.read_between(lambda tx: 9).addErrback(lambda _: server.db.read_between(lambda tx: 10))
        server.peers.stop()
        closed = server.db.close()
        server.writer.release()
        server.readers.release()
        self.successResultOf(closed)
        self.assertEqual(self.successResultOf(begun), 7)
        for refused in (waits, again, server.db.read_between(lambda tx: 11)):
            self.assertEqual(self.failureResultOf(refused, Refusal).value.code, "DRAINING")

    def test_a_delivery_that_breaks(self) -> None:
        """Where what a commit brought cannot be delivered, that is logged; the writer goes on, and nothing is lost."""
        committed = self.db._committed

        def breaks(_: Any) -> None:
            raise ZeroDivisionError

        self.db._committed = breaks
        self.alice.ask(do="say", room="#ops", text="one")
        self.db._committed = committed
        self.alice.ask(do="say", room="#ops", text="two")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.texts(), ["one", "two"])
        said = [line["text"] for line in self.alice.objects() if line.get("ev") == "say"]
        self.assertEqual(said, ["one", "two"])

    def test_answers_come_after_the_commit(self) -> None:
        """Nobody is answered before the commit is in the file."""
        answered: list[Any] = []
        self.server.writer.hold()
        self.db.write(self.say("one")).addCallback(answered.append)
        self.server.advance(0)
        self.assertEqual((self.texts(), answered), (["one"], []))
        self.server.writer.release()
        self.assertEqual(len(answered), 1)

    def test_a_reader_cannot_write(self) -> None:
        """What only reads has no verbs to write, and a connection that refuses."""
        self.assertFalse(hasattr(ReadTx, "append") or hasattr(ReadTx, "add_account") or hasattr(ReadTx, "set_role"))
        with self.assertRaises(sqlite3.OperationalError):
            self.server.readers.connection.execute("DELETE FROM member")
        self.assertEqual(self.server.writer.connection.execute("PRAGMA foreign_keys").fetchone(), (1,))

    def test_durability(self) -> None:
        """`full` flushes at each commit, `normal` does not."""
        for durability, level in (("full", 2), ("normal", 1)):
            connection = sqlite3.connect(self.server.data / sqlite.FILE, isolation_level=None)
            self.addCleanup(connection.close)
            sqlite.prepare_writer(connection, durability)  # type: ignore[arg-type]
            self.assertEqual(connection.execute("PRAGMA synchronous").fetchone(), (level,))

    def test_checkpoints_beside_the_commits(self) -> None:
        """After so many commits what they wrote is in the file itself, and no commit has carried it there."""
        for number in range(CHECKPOINT + 1):
            self.alice.call(do="say", room="#ops", text=str(number))
        self.assertLess(self.pages_in_log(), sqlite.LOG_PAGES)
        copy = Path(self.mktemp())
        copy.write_bytes((self.server.data / sqlite.FILE).read_bytes())  # without the write-ahead log beside it
        with closing(sqlite3.connect(copy)) as connection:
            (lines,) = connection.execute("SELECT count(*) FROM event WHERE kind = 'say'").fetchone()
        self.assertGreater(lines, CHECKPOINT // 2)

    def pages_in_log(self) -> int:
        """How many pages the write-ahead log has room for."""
        return os.path.getsize(self.server.data / f"{sqlite.FILE}-wal") // 4096

    def test_the_log_begins_anew(self) -> None:
        """However much is written, the write-ahead log does not grow on and on."""
        for _ in range(40):
            self.alice.send(b"".join(b'{"do":"say","room":"#ops","text":"%s"}\n' % (b"x" * 3_900) for _ in range(100)))
        self.assertLess(self.pages_in_log(), 2 * sqlite.LOG_PAGES)

    def test_a_checkpoint_that_fails(self) -> None:
        """Where a checkpoint cannot be made, all goes on; the next one is made."""
        self.server.checkpointer.connection.close()
        for number in range(CHECKPOINT + 1):
            self.assertEqual(self.alice.code(do="say", room="#ops", text=str(number)), "ok")
        self.assertEqual(len(self.flushLoggedErrors(sqlite3.ProgrammingError)), 1)

    def test_closing(self) -> None:
        """A store that is closed works off what waits first."""
        server = Server(Path(self.mktemp()))
        alice = server.program("alice")
        room = alice.call(do="create", room="#ops")["ok"]["room_id"]
        closed: list[None] = []
        server.writer.hold()
        for text in ("one", "two"):
            server.db.write(lambda tx, text=text: tx.append("say", room, 1, text=text))
            server.advance(0)
        server.peers.stop()
        server.db.close().addCallback(closed.append)
        self.assertEqual(closed, [])
        server.writer.release()
        self.assertEqual(closed, [None])
        self.assertEqual(server.sql("SELECT count(*) FROM event WHERE kind = 'say'"), [(2,)])


class LogTests(Base):
    """The one log."""

    def test_seq_is_never_reused(self) -> None:
        """A number that was given is never given again, not even when its row is gone."""
        seq = self.alice.call(do="say", room="#ops", text="one")["ok"]["seq"]
        self.server.sql("DELETE FROM event WHERE seq = ?", seq)
        self.assertEqual(self.alice.call(do="say", room="#ops", text="two")["ok"]["seq"], seq + 1)

    def test_ids_are_never_reused(self) -> None:
        """So it is with accounts and rooms."""
        before = self.alice.call(do="create", room="#dev")["ok"]["room_id"]
        self.server.sql("PRAGMA foreign_keys = OFF")
        for table in ("account", "room"):
            self.server.sql(
                f"INSERT INTO {table} ({'skeleton' if table == 'account' else 'kind'}, created) VALUES ('x', 0)"
            )
            self.server.sql(f"DELETE FROM {table} WHERE id = (SELECT max(id) FROM {table})")
        self.assertEqual(self.alice.call(do="create", room="#dev2")["ok"]["room_id"], before + 2)
        self.assertEqual(self.server.program("bob").welcome["account"], 3)

    def test_refused_appends_leave_no_gap(self) -> None:
        """Whatever is refused between them, events are numbered one after the other."""
        bob = self.server.program("bob")
        for number in range(5):
            self.alice.call(do="say", room="#ops", text=f"{number}")
            bob.call(do="say", room="#ops", text="not in")
            self.alice.call(do="kick", room="#ops", user="bob")
            self.alice.call(do="create", room="#ops")
            self.alice.call(do="say", room="#ops", text="x" * 5_000)
        seqs = [seq for (seq,) in self.server.sql("SELECT seq FROM event ORDER BY seq")]
        self.assertEqual(seqs, list(range(1, len(seqs) + 1)))
        self.assertEqual(last_seq(self.server.data), len(seqs))

    def test_pages(self) -> None:
        """However small the pages are, and however far apart its events lie, an account hears the same."""
        bob = self.server.program("bob")
        self.alice.call(do="add", room="#ops", user="bob")
        self.alice.call(do="say", room="#ops", text="early")
        self.alice.call(do="kick", room="#ops", user="bob")
        self.alice.call(do="say", room="#ops", text="not heard")
        self.server.sql(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
            " INSERT INTO event (at, kind, room, author, text) SELECT 0, 'say', ?, 1, 'noise' FROM n",
            PAGE_WINDOW + 1_000,
            self.room,
        )
        self.server.feed.look()
        self.server.advance(0)
        self.alice.call(do="add", room="#ops", user="bob")
        for text in ("late", "later"):
            self.alice.call(do="say", room="#ops", text=text)
        account = bob.welcome["account"]

        def heard(most: int) -> list[Event]:
            found: list[Event] = []
            after, end = 0, self.read(lambda tx: tx.last_seq())
            while after < end:
                page, after = self.read(lambda tx, after=after: tx.heard(account, after, end, most))
                self.assertLessEqual(len(page), most)
                found += page
            return found

        whole = heard(1_000)
        self.assertEqual([event.text for event in whole if event.kind == "say"], ["early", "late", "later"])
        for most in (1, 2, 3):
            self.assertEqual(heard(most), whole)

    def test_a_cursor_never_goes_back(self) -> None:
        """Up to where a person was shown everything only grows."""
        for seq, expected in ((2, 2), (1, 2), (3, 3), (0, 3)):
            self.db.write(lambda tx, seq=seq: tx.save_cursors([(1, seq)]))
            self.server.advance(0)
            self.assertEqual(
                self.read(lambda tx: tx.cursor(1)), max(expected, self.server.sql("SELECT seen FROM account")[0][0])
            )
        self.assertEqual(self.server.sql("SELECT seen FROM account"), [(3,)])


class ThreadTests(TestCase):
    """Reads on real threads."""

    def open(self) -> Database:
        """A new file, with its threads."""
        folder = Path(self.mktemp())
        folder.mkdir()
        migrate(folder)
        db = Database(
            folder,
            durability="normal",
            node=1,
            clock=lambda: 0,
            position=lambda: 0,
            mail=lambda: (0, frozenset()),
            committed=lambda committed: None,
            reactor=reactor,
            batch=10,
            lock_seconds=1.0,
        )
        db.start()
        return db

    async def test_a_refusal_leaves_nothing(self) -> None:
        """Reads that are refused leave next to nothing to the collector of garbage: it would stop everybody."""
        db = self.open()
        self.addCleanup(db.close)

        def look(tx: ReadTx) -> None:
            raise Refusal("NOT_LOGGED_IN")

        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        for _ in range(100):
            refusal = await db.read(look).addErrback(lambda failure: failure.value)
            self.assertEqual(refusal.code, "NOT_LOGGED_IN")
        self.assertLess(gc.collect(), 100 * 15)

    async def test_it_does_not_hold_up_the_end(self) -> None:
        """A database that is closed interrupts what still looks through it, and answers that it stops."""
        db = self.open()
        begun = threading.Event()

        def look(tx: ReadTx) -> None:
            begun.set()
            tx._one("WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n) SELECT max(n) FROM n")

        first, second = db.read(look, scans=True), db.read(look, scans=True)
        await deferToThread(begun.wait)
        await db.close()
        for answer in (first, second):
            refusal = await answer.addErrback(lambda failure: failure.value)
            self.assertEqual(refusal.code, "DRAINING")


class TroubleTests(Base):
    """A lock that somebody holds, a disk that is full: BUSY, nothing changed, and it heals (DESIGN §5)."""

    def busy(self, client: Client, **fields: Any) -> None:
        """This call is refused as BUSY, and nothing is changed."""
        before = self.server.sql("SELECT count(*), max(seq) FROM event")
        answer = client.call(**fields)
        self.assertEqual(answer.get("error", {}).get("text"), BUSY, answer)
        self.assertEqual(self.server.sql("SELECT count(*), max(seq) FROM event"), before)

    def test_another_process_writes(self) -> None:
        """While another process has its turn to write everything is BUSY; then everything is done."""
        fd = os.open(self.server.data / "write.lock", os.O_RDWR)
        fcntl.flock(fd, fcntl.LOCK_EX)
        for _ in range(3):
            self.busy(self.alice, do="say", room="#ops", text="never")
            self.busy(self.alice, do="create", room="#dev")
            self.busy(self.alice, do="ping")
        os.close(fd)
        self.assertEqual(self.alice.code(do="say", room="#ops", text="hi"), "ok")
        self.assertEqual([event["text"] for event in self.alice.events()], ["hi"])

    def test_the_database_is_locked(self) -> None:
        """So it is where somebody writes without asking for a turn, as the sqlite3 program does."""
        self.server.writer.connection.execute("PRAGMA busy_timeout = 0")
        other = sqlite3.connect(self.server.data / sqlite.FILE, isolation_level=None)
        self.addCleanup(other.close)
        other.execute("BEGIN IMMEDIATE")
        self.busy(self.alice, do="say", room="#ops", text="never")
        self.busy(self.alice, do="create", room="#dev")
        self.assertEqual(self.alice.code(do="members", room="#ops"), "ok")
        other.execute("ROLLBACK")
        self.assertEqual(self.alice.code(do="say", room="#ops", text="hi"), "ok")

    def test_the_heart_beats_on(self) -> None:
        """An instance that could not write for a while is alive again a second after it can, with its people."""
        fd = os.open(self.server.data / "write.lock", os.O_RDWR)
        fcntl.flock(fd, fcntl.LOCK_EX)
        self.server.advance(10)
        terminal = self.server.connect()
        terminal.type("/ping")
        os.close(fd)
        self.server.advance(1)
        self.assertEqual(self.alice.call(do="online", room="#ops")["ok"]["online"], ["alice"])

    def test_the_disk_is_full(self) -> None:
        """On a full disk every call is BUSY at whatever statement it fails, nothing of it stays, others of the same
        commit are BUSY too; with room again all goes on, and the file is sound.
        """
        connection = self.server.writer.connection
        self.server.program("bob")
        answers: set[str] = set()
        for spare in range(12):
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count = {pages + spare // 2}")
            for number in range(40):
                before = self.server.sql("SELECT max(seq), count(*) FROM event"), self.server.sql("SELECT * FROM room")
                fields: list[dict[str, Any]] = [
                    {"do": "say", "room": "#ops", "text": "x" * 3_900},
                    {"do": "create", "room": f"#g{spare}.{number}", "people": ["bob"]},
                    {"do": "topic", "room": "#ops", "text": f"{number} " + "t" * 250},
                    {"do": "msg", "user": "bob", "text": "y" * 3_900},
                ]
                code = self.alice.code(**fields[(number + spare) % 4])
                answers.add(code)
                if code == "BUSY":
                    after = (
                        self.server.sql("SELECT max(seq), count(*) FROM event"),
                        self.server.sql("SELECT * FROM room"),
                    )
                    self.assertEqual(after, before)
                    break
            connection.execute("PRAGMA max_page_count = 1000000")
            self.assertEqual(self.alice.code(do="say", room="#ops", text="healed"), "ok")
        self.assertEqual(answers, {"ok", "BUSY"})
        self.assertEqual(self.server.sql("PRAGMA integrity_check"), [("ok",)])

    def test_full_within_a_call(self) -> None:
        """Also where the very statement of a call of many rows finds no room, all its commit is undone and BUSY."""
        connection = self.server.writer.connection
        pages = connection.execute("PRAGMA page_count").fetchone()[0]

        def fill(tx: Tx) -> None:
            tx.set_topic(self.room, "z" * 1_000_000)

        connection.execute(f"PRAGMA max_page_count = {pages}")
        results = self.together_full(self.say("one"), fill, self.say("two"))
        self.assertEqual(results, ["BUSY", "BUSY", "BUSY"])
        self.assertEqual(self.texts(), [])
        connection.execute("PRAGMA max_page_count = 1000000")
        self.assertEqual(self.together(self.say("three"), self.say("four"))[1], last_seq(self.server.data))
        self.assertEqual(self.texts(), ["three", "four"])

    def together_full(self, *runs: Callable[[Tx], Any]) -> list[Any]:
        """As `together`, where the commit fails."""
        results: list[Any] = []
        self.server.writer.hold()
        self.db.write(lambda tx: None)
        self.server.advance(0)
        for run in runs:
            result: Deferred[Any] = self.db.write(run)
            result.addBoth(lambda found: results.append(getattr(found.value, "code", found.value)))
        self.server.writer.release()
        return results
