"""A server that was lost and restored: what numbers are given, and what clients who know more than it are told."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chatd.ctl.backup import BadBackup, make, restore
from chatd.store import ReadTx
from chatd.store.backup import EPOCH_MS, LEAP, RATES, settle
from chatd.store.check import check
from chatd.store.sqlite import FILE
from tests.live import new_mid
from tests.memory import PASSWORD, Client, Server

BACKED_UP = 1_800_000_000_000
DAY_MS = 86_400_000


class RestoreTests(SynchronousTestCase):
    """Servers in memory on restored files."""

    def setUp(self) -> None:
        self.root = Path(self.mktemp())
        self.backup = self.root / "backup.tar"
        self.server = Server(self.root / "first", moment=BACKED_UP)
        self.addCleanup(lambda: self.server.stop())
        self.alice, self.bob = self.server.program("alice"), self.server.program("bob")
        self.alice.call(do="create", room="#ops", people=["bob"])
        self.say(self.alice, "before")

    def say(self, client: Client, text: str) -> int:
        """Say something in #ops; its seq."""
        seq: int = client.call(do="say", room="#ops", text=text, mid=new_mid())["ok"]["seq"]
        return seq

    def lose(self, name: str, now: int) -> None:
        """The server is lost, and another one stands on the backup, elsewhere."""
        if not self.backup.exists():
            make(self.server.data, self.backup, BACKED_UP)
        self.server.stop()
        restore(self.backup, self.root / name, now)
        self.server = Server(self.root / name, moment=now)

    def sequences(self) -> dict[str, int]:
        """Up to where the numbers of each table were given."""
        return dict(self.server.sql("SELECT name, seq FROM sqlite_sequence"))

    def sound(self) -> None:
        """Nothing is wrong with the database."""
        with contextlib.closing(sqlite3.connect(self.server.data / "chatd.sqlite", isolation_level=None)) as connection:
            self.assertEqual(check(connection), [])

    def test_every_counter(self) -> None:
        """Each number that is never given again goes on past all that can have been given by now, in tables that were
        empty, too. A clock that is behind the backup is refused.
        """
        self.assertNotIn("file", self.sequences())
        self.lose("second", BACKED_UP + DAY_MS)
        seconds = (BACKED_UP + DAY_MS - EPOCH_MS) // 1000
        after = self.sequences()
        self.assertEqual(
            after.keys(), {"account", "room", "event", "login", "invitation", "device", "envelope", "file"}
        )
        for table, seq in after.items():
            self.assertEqual(seq, seconds * RATES.get(table, 100), table)
        self.assertLess(max(after.values()), 1 << 53)
        self.sound()
        with self.assertRaisesRegex(BadBackup, "made later than it is by this clock"):
            restore(self.backup, self.root / "third", BACKED_UP - DAY_MS)
        self.assertEqual(list((self.root / "third").iterdir()), [])

    def test_before_the_beginning(self) -> None:
        """Whatever the clock says, counters leap a good way."""
        before = self.sequences()
        self.server.stop()
        settle(self.server.data / FILE, 0)
        self.server = Server(self.server.data, moment=BACKED_UP)
        self.assertEqual(self.sequences()["event"], before["event"] + LEAP)
        self.sound()

    def test_the_same_backup_twice(self) -> None:
        """A backup is restored, that server lives for a minute and is lost, and the backup is restored again: no number
        that anybody has heard of stands for something else.
        """
        heard = {self.say(self.alice, "on the first")}
        names = set()
        for number, name in enumerate(("second", "third", "fourth")):
            self.lose(name, BACKED_UP + number * 60_000)
            alice = self.server.resume("alice")
            seqs = {self.say(alice, f"{number} on {name}") for number in range(20)}
            self.assertEqual(heard & seqs, set())
            heard |= seqs
            account = self.server.program("carol").welcome["account"]
            self.assertNotIn(account, names)
            names.add(account)
            self.sound()

    def test_a_backup_of_a_restored_server(self) -> None:
        """All holes of the log are remembered, and none is looked through step by step."""
        self.lose("second", BACKED_UP)
        alice = self.server.resume("alice")
        self.say(alice, "on the second")
        self.backup = self.root / "another.tar"
        self.lose("third", BACKED_UP + DAY_MS)
        self.say(self.server.resume("alice"), "on the third")
        self.sound()
        bob = self.server.resume("bob", since=0)
        texts = [event["text"] for event in bob.events() if event["ev"] == "say"]
        self.assertEqual(texts, ["before", "on the second", "on the third"])
        found = bob.call(do="export", room="#ops")["ok"]["events"]
        self.assertEqual([event["text"] for event in found if event["kind"] == "say"], texts)

    def test_who_knows_more(self) -> None:
        """A program that has heard what was lost is told so when it comes back, and misses nothing that comes; who has
        not is told nothing. What it says again under its mid is said again: it is lost, too.
        """
        level = self.say(self.alice, "level")
        token = self.bob.welcome["token"]
        make(self.server.data, self.backup, BACKED_UP)
        mid = new_mid()
        lost = self.alice.call(do="say", room="#ops", text="lost", mid=mid)["ok"]["seq"]
        self.alice.call(do="rename", room="#ops", name="#dev")
        self.alice.call(do="kick", room="#dev", user="bob")
        self.lose("second", BACKED_UP + DAY_MS)
        hole = [level + 1, self.sequences()["event"]]
        alice = self.server.resume("alice", since=lost)
        self.assertEqual(alice.welcome["lost"], hole)
        self.assertEqual([room["room"] for room in alice.welcome["rooms"]], ["#ops"])
        again = alice.call(do="say", room="#ops", text="lost", mid=mid)["ok"]["seq"]
        self.assertGreater(again, hole[1])
        bob = self.server.connect()
        answer = bob.call(do="hello", token=token, since=level)["ok"]
        self.assertNotIn("lost", answer)
        self.assertEqual([event["text"] for event in bob.events() if event["ev"] == "say"], ["lost"])
        for since, found in ((hole[1] - 1, hole), (hole[1], None)):
            answer = self.server.connect().call(do="hello", token=token, since=since)["ok"]
            self.assertEqual(answer.get("lost"), found)

    def test_a_person(self) -> None:
        """Who has no cursor of their own is shown again what came between their last visit and the backup."""
        carol = self.server.person("carol")
        self.alice.call(do="add", room="#ops", user="carol")
        carol.lines()
        carol.lose()
        self.say(self.alice, "seen later")
        make(self.server.data, self.backup, BACKED_UP)
        carol = self.server.back("carol")
        self.assertIn("seen later", carol.lines()[-2])
        carol.type("/quit")
        self.say(self.alice, "lost")
        self.lose("second", BACKED_UP + DAY_MS)
        self.say(self.server.resume("alice"), "after")
        shown = [line for line in self.server.back("carol").lines() if "<alice>" in line]
        self.assertEqual([line.partition("> ")[2] for line in shown], ["seen later", "after"])

    def test_erasing_over_a_hole(self) -> None:
        """An erasure goes through what there is, on both sides of a hole."""
        self.lose("second", BACKED_UP + DAY_MS)
        self.say(self.server.resume("alice"), "after")
        account = self.server.resume("alice").welcome["account"]
        after, more, steps = 0, True, 0
        texts = set()
        while more:
            due = self.read(lambda tx, after=after: tx.written_by(account, after))
            texts |= {self.server.sql("SELECT text FROM event WHERE seq = ?", seq)[0][0] for seq in due.seqs}
            after, more, steps = due.upto, due.more, steps + 1
        self.assertEqual((texts, steps), ({"before", "after"}, 2))

    def read(self, run: Callable[[ReadTx], Any]) -> Any:
        """Read this from the database."""
        found: list[Any] = []
        self.server.db.read(run).addCallback(found.append)
        self.server.advance(0)
        return found[0]

    def test_the_password_is_the_old_one(self) -> None:
        """What was changed after the backup is as it was: a password, too."""
        make(self.server.data, self.backup, BACKED_UP)
        self.bob.call(do="password", old=PASSWORD, new="Another5horse")
        self.lose("second", BACKED_UP + DAY_MS)
        self.assertEqual(self.server.connect().code(do="login", name="bob", password="Another5horse"), "BAD_LOGIN")
        self.assertEqual(self.server.connect().code(do="login", name="bob", password=PASSWORD), "ok")
