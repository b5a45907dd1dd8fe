"""What is not kept: who decides it, what is blanked, what stays, and in which steps."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from chatd.model import Bounds, Event
from chatd.retention import LOOK, ROOMS, Sweeper
from chatd.rules import narrower
from chatd.store.check import check
from chatd.store.migrate import open_known
from chatd.texts.keeping import FORMATS, exported
from tests.memory import PASSWORD, Server
from tests.sealing import b64, bind, body, envelopes, equip, found

DAY = 86_400


def mid_of(text: str) -> str:
    """The same mid for the same text."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, text))


class Swept(SynchronousTestCase):
    """A server whose retention is carried out when the test says so."""

    def setUp(self) -> None:
        self.server = Server(Path(self.mktemp()))
        self.bounds = Bounds()
        self.sweeper = self.sweep_of(self.server)
        self.addCleanup(self.server.stop)

    def sweep_of(self, server: Server, step: int = 200) -> Sweeper:
        """The sweeper of an instance."""
        sweeper = Sweeper(
            server.reactor,
            server.db,
            bounds=lambda: self.bounds,
            step=lambda: step,
            days=lambda: 30,
        )
        sweeper.start()
        self.addCleanup(sweeper.stop)
        return sweeper

    def sweep(self, sweeper: Sweeper | None = None) -> None:
        """Carry out what is due."""
        done = Deferred.fromCoroutine((sweeper or self.sweeper).look(rooms=True))
        for _ in range(1_000):
            if done.called:
                break
            self.server.advance(0.02)
        self.successResultOf(done)

    def said(self) -> list[str | None]:
        """What stands in the log of all that was said."""
        return [row[0] for row in self.server.sql("SELECT text FROM event WHERE kind = 'say' ORDER BY seq")]


class DecidingTests(Swept):
    """/retention."""

    def test_by_an_admin(self) -> None:
        """Everybody may ask; an admin sets an age, a number, both or nothing, and all are told."""
        alice, bob = self.server.person("alice"), self.server.person("bob")
        alice.type("/create #ops bob")
        bob.type("/join #ops")
        self.assertEqual(bob.type("/retention"), ["Messages of #ops are kept for ever."])
        for typed, how in (
            ("30d", "for 30 days"),
            ("90m", "for 90 minutes"),
            ("1d", "for 1 day"),
            ("500", "while among the newest 500"),
            ("2W 1000", "for 14 days, while among the newest 1,000"),
        ):
            told = f"alice has messages of #ops kept {how}."
            self.assertEqual(alice.type(f"/retention {typed}"), [told])
            self.assertEqual(bob.lines(), [told])
            self.assertEqual(bob.type("/retention"), [f"Messages of #ops are kept {how}."])
        self.assertEqual(
            alice.type("/retention off"), ["alice has messages of #ops kept as long as the server keeps them."]
        )
        self.assertEqual(bob.type("/retention #ops")[-1], "Messages of #ops are kept for ever.")

    def test_refused(self) -> None:
        """Members who are no admins, conversations of two, and what is no bound: nothing is changed."""
        alice, bob = self.server.person("alice"), self.server.person("bob")
        alice.type("/create #ops bob")
        bob.type("/join #ops")
        self.assertEqual(bob.type("/retention 1d"), ["Only admin can do that: /retention", "Admins of #ops: alice."])
        for typed in ("0", "0d", "1x", "-1", "1d 2d", "5 6", "9999999999", "9999999d", "١", "1d or so"):
            self.assertEqual(alice.type(f"/retention {typed}"), ["Usage: /retention [30d] [500] | off"], typed)
        self.assertEqual(self.server.sql("SELECT count(*) FROM retention"), [(0,)])
        alice.type("/dm bob")
        self.assertEqual(
            alice.type("/retention 1d"), ["Only groups have that: /retention", "@bob is a conversation of two."]
        )

    def test_the_narrower_holds(self) -> None:
        """Of the server's bounds and a group's, each narrower one."""
        self.assertEqual(narrower(Bounds(5, None), Bounds(None, 7)), Bounds(5, 7))
        self.assertEqual(narrower(Bounds(5, 9), Bounds(4, 10)), Bounds(4, 9))
        self.assertEqual(narrower(Bounds(), Bounds()), Bounds())


class BlankingTests(Swept):
    """What is carried out."""

    def setUp(self) -> None:
        super().setUp()
        self.alice = self.server.program("alice")
        self.alice.call(do="create", room="#ops")

    def say(self, *texts: str) -> None:
        """Alice says these, a minute apart."""
        for text in texts:
            self.assertIn("ok", self.alice.call(do="say", room="#ops", text=text, mid=mid_of(text)))
            self.server.advance(60)

    def test_by_age(self) -> None:
        """What is too old is blank, what is not stays; rows, ids and authors stay in any case, and whatever carries a
        proof stays whole.
        """
        self.say("one", "two")
        self.server.sql("UPDATE event SET proof = 'UA==' WHERE text = 'one'")
        before = self.server.sql("SELECT seq, at, kind, room, author, mid, digest, proof FROM event WHERE kind = 'say'")
        self.alice.call(do="retention", room="#ops", keep="1d")
        self.sweep()
        self.assertEqual(self.said(), ["one", "two"])
        self.server.advance(DAY - 60)
        self.say("three")
        self.sweep()
        self.assertEqual(self.said(), ["one", None, "three"])
        after = self.server.sql("SELECT seq, at, kind, room, author, mid, digest, proof FROM event WHERE kind = 'say'")
        self.assertEqual(after[:2], before)
        again = self.alice.call(do="say", room="#ops", text="one", mid=mid_of("one"))
        self.assertEqual(again["ok"]["seq"], before[0][0])

    def test_what_is_shown(self) -> None:
        """A blank line is one that was removed, in history and to whoever comes later; a search does not find it."""
        self.say("secret plans")
        self.bounds = Bounds(30)
        self.sweep()
        bob = self.server.person("bob")
        self.alice.call(do="add", room="#ops", user="bob")
        lines = self.alice.call(do="history", room="#ops")["ok"]["lines"]
        self.assertEqual([line["text"] for line in lines], [None])
        again = self.server.back("alice")
        again.lines()
        self.assertRegex(again.type("/history #ops")[-1], r"^\S+ \S+ alice: \(removed\)$")
        self.assertEqual(again.type("/search #ops plans"), ["Nothing found in #ops."])
        self.assertEqual(bob.type("/search #ops plans")[-1], "Nothing found in #ops.")

    def test_by_number(self) -> None:
        """Of each room the newest stay, however old they are; what people came and went for does not count."""
        self.say("one", "two", "three")
        self.alice.call(do="create", room="#dev")
        self.alice.call(do="say", room="#dev", text="elsewhere")
        self.alice.call(do="topic", room="#ops", text="about")
        self.alice.call(do="retention", room="#ops", keep="2")
        self.sweep()
        self.assertEqual(self.said(), [None, "two", "three", "elsewhere"])
        self.say("four")
        self.sweep()
        self.assertEqual(self.said(), [None, None, "three", "elsewhere", "four"])

    def test_of_the_server(self) -> None:
        """The server's bounds hold in every room, conversations of two included."""
        self.server.program("bob")
        self.say("one")
        self.alice.call(do="msg", user="bob", text="psst")
        self.server.advance(100)
        self.bounds = Bounds(100)
        self.sweep()
        self.assertEqual(self.said(), [None, None])

    def test_sealed(self) -> None:
        """What only its recipients could read goes, too."""
        room, chain = found(self.alice, equip(self.alice), "#sealed")
        self.alice.call(do="say", room=room, sealed=body(chain.head))["ok"]
        self.server.advance(100)
        self.bounds = Bounds(10)
        self.sweep()
        self.assertEqual(self.server.sql("SELECT sealed FROM event WHERE kind = 'say'"), [(None,)])

    def test_by_itself(self) -> None:
        """Nobody has to ask: it is looked for every few minutes."""
        self.say("one")
        self.bounds = Bounds(1)
        for _ in range(ROOMS + 1):
            self.server.advance(LOOK)
        self.assertEqual(self.said(), [None])

    def test_small_steps(self) -> None:
        """A commit blanks a few lines only, and the writer is left alone in between."""
        self.say(*map(str, range(10)))
        self.sweeper.stop()
        small = self.sweep_of(self.server, step=3)
        counts: list[int] = []
        write = self.server.db.write

        def counted(run: Any) -> Any:
            def and_count(tx: Any) -> Any:
                blank = tx.blank
                tx.blank = lambda seqs: counts.append(len(seqs)) or blank(seqs)
                return run(tx)

            return write(and_count)

        self.patch(self.server.db, "write", counted)
        self.bounds = Bounds(1)
        began = self.server.reactor.seconds()
        self.sweep(small)
        self.assertEqual(counts, [3, 3, 3, 1])
        self.assertGreaterEqual(self.server.reactor.seconds() - began, 4 * 0.02)
        self.sweep(small)
        self.assertEqual(len(counts), 4)

    def test_the_clock_leaps(self) -> None:
        """Where the time of day has moved more than time has passed, what is too old follows the time that has passed:
        what is blanked would not come back.
        """
        self.say("one")
        self.bounds = Bounds(DAY)
        self.server.moment += 10 * DAY * 1000
        self.sweep()
        self.server.advance(DAY / 2)
        self.say("two")
        self.sweep()
        self.assertEqual(self.said(), ["one", "two"])
        self.server.moment -= 10 * DAY * 1000
        self.sweep()
        self.assertEqual(self.said(), ["one", "two"])
        self.server.advance(DAY / 2)
        self.sweep()
        self.assertEqual(self.said(), [None, "two"])

    def test_one_of_several(self) -> None:
        """Of several instances the one with the lowest number does it."""
        other = Server(self.server.data, node=2, clock=self.server.reactor)
        self.say("one")
        self.bounds = Bounds(1)
        self.server.advance(1)
        self.sweep(self.sweep_of(other))
        self.assertEqual(self.said(), ["one"])
        self.sweep()
        self.assertEqual(self.said(), [None])
        other.stop()


class UnfetchedTests(Swept):
    """What waits for a device that does not fetch it."""

    def test_envelopes(self) -> None:
        """An envelope waits for its device so many days, then it goes; a younger one stays."""
        alice, bob = self.server.program("alice"), self.server.program("bob")
        keys, others = equip(alice), equip(bob)
        room, chain = found(alice, keys, "#sealed", [others])
        bob.call(do="logout")

        def say() -> None:
            letters = envelopes(*others.devices)
            alice.call(do="say", room=room, sealed=body(chain.head), envelopes=letters)["ok"]

        for _ in range(3):
            say()
        self.server.advance(10 * DAY)
        alice = self.server.resume("alice")
        bind(alice, keys)
        say()
        self.server.advance(19 * DAY)
        self.sweep()
        self.assertEqual(self.server.sql("SELECT count(*) FROM envelope"), [(4,)])
        self.server.advance(2 * DAY)
        self.sweep(self.sweep_of(self.server, step=2))
        self.assertEqual(self.server.sql("SELECT count(*) FROM envelope"), [(1,)])

    def test_linkings(self) -> None:
        """A device that asks to become somebody's is forgotten after a day."""
        self.server.program("alice").call(do="link", device=b64(bytes(16)), entry=b64(b"entry"))["ok"]
        self.server.advance(DAY + 60)
        self.sweep()
        self.assertEqual(self.server.sql("SELECT count(*) FROM linking"), [(0,)])


class ErasureTests(Swept):
    """The words of somebody who is gone and wanted them gone, too."""

    def test_erased(self) -> None:
        """Everything they wrote, anywhere, is blank; what others wrote is not; the log is whole and sound."""
        alice, bob = self.server.program("alice"), self.server.program("bob")
        bob.call(do="create", room="#ops", people=["alice"])
        bob.call(do="topic", room="#ops", text="the group's")
        for text in ("xyzzy one", "xyzzy two"):
            bob.call(do="say", room="#ops", text=text)
        alice.call(do="say", room="#ops", text="mine")
        bob.call(do="msg", user="alice", text="xyzzy three")
        bob.call(do="kick", room="#ops", user="alice", reason="xyzzy four")
        bob.call(do="delete-account", password=PASSWORD, erase=True)
        count = self.server.sql("SELECT count(*), max(seq) FROM event")
        self.sweep()
        texts = [row[0] for row in self.server.sql("SELECT text FROM event WHERE text IS NOT NULL ORDER BY seq")]
        self.assertEqual(texts, ["the group's", "mine"])
        self.assertEqual(self.server.sql("SELECT count(*), max(seq) FROM event"), count)
        self.assertEqual(self.server.sql("SELECT * FROM erasure"), [])
        connection = open_known(self.server.data)
        self.assertEqual(check(connection), [])
        connection.close()

    def test_nothing_is_left_in_the_file(self) -> None:
        """Neither the words nor the name are found in the database's bytes, once what was written is written back."""
        bob = self.server.program("mortimer")
        bob.call(do="create", room="#ops")
        self.server.program("alice")
        bob.call(do="ban", room="#ops", user="alice", reason="xyzzy")["ok"]
        for number in range(50):
            bob.call(do="say", room="#ops", text=f"xyzzy {number} " + "xyzzy and so on " * number * 5)
        bob.call(do="delete-account", password=PASSWORD, erase=True)
        self.sweep()
        self.server.advance(61)
        self.sweep()
        self.server.sql("PRAGMA wal_checkpoint(TRUNCATE)")
        for path in self.server.data.glob("chatd.sqlite*"):
            self.assertNotIn(b"xyzzy", path.read_bytes(), path.name)
            self.assertNotIn(b"mortimer", path.read_bytes(), path.name)

    def test_not_asked_for(self) -> None:
        """Who does not ask for it leaves their words behind."""
        bob = self.server.program("bob")
        bob.call(do="create", room="#ops")
        bob.call(do="say", room="#ops", text="for posterity")
        bob.call(do="delete-account", password=PASSWORD)
        self.sweep()
        self.assertEqual(self.said(), ["for posterity"])


class ExportTests(SynchronousTestCase):
    """Taking along what one may hear."""

    def test_by_pages(self) -> None:
        """A program gets everything, oldest first, page by page; what it may not hear is not in it."""
        server = Server(Path(self.mktemp()))
        self.addCleanup(server.stop)
        alice, bob = server.program("alice"), server.program("bob")
        alice.call(do="create", room="#ops")
        alice.call(do="say", room="#ops", text="before bob came")
        alice.call(do="add", room="#ops", user="bob")
        for number in range(600):
            alice.call(do="say", room="#ops", text=f"line {number}")
        first = bob.call(do="export", room="#ops")["ok"]
        self.assertEqual((len(first["events"]), first["more"]), (500, True))
        self.assertEqual((first["events"][0]["kind"], first["events"][1]["text"]), ("joined", "line 0"))
        last = bob.call(do="export", room="#ops", after=first["events"][-1]["seq"])["ok"]
        self.assertEqual((len(last["events"]), last["more"], last["events"][-1]["text"]), (101, False, "line 599"))
        self.assertEqual(bob.code(do="export", room="#ops", after="x"), "BAD_USAGE")
        carol = server.program("carol")
        self.assertEqual(carol.code(do="export", room="#ops"), "NOT_MEMBER")

    def test_of_a_room_one_has_left(self) -> None:
        """Who has left, or was put out, gets what came while they were in, each time, and reads nothing else there."""
        server = Server(Path(self.mktemp()))
        self.addCleanup(server.stop)
        alice, bob = server.program("alice"), server.program("bob")
        alice.call(do="create", room="#ops")
        for text in ("before", "during", "between", "again", "after"):
            if text in ("during", "again"):
                alice.call(do="add", room="#ops", user="bob")
            alice.call(do="say", room="#ops", text=text)
            if text == "during":
                bob.call(do="leave", room="#ops")
            elif text == "again":
                alice.call(do="ban", room="#ops", user="bob")
        events = bob.call(do="export", room="#ops")["ok"]["events"]
        heard = [(event["kind"], event["text"]) for event in events]
        during = [("joined", None), ("say", "during"), ("left", None)]
        self.assertEqual(heard, [*during, ("joined", None), ("say", "again"), ("removed", None)])
        for call in ({"do": "history"}, {"do": "past", "way": "latest"}, {"do": "search", "words": "a"}):
            self.assertEqual(bob.code(room="#ops", **call), "NOT_MEMBER")

    def test_by_a_person(self) -> None:
        """On telnet the lines are shown as /history shows them, and how to go on."""
        server = Server(Path(self.mktemp()))
        self.addCleanup(server.stop)
        alice = server.person("alice")
        alice.type("/create #ops")
        for number in range(600):
            alice.type(f"line {number}")
        shown = alice.type("/export")
        self.assertEqual(len(shown), 500)
        self.assertRegex(shown[0], r"^\S+ \S+ alice: line 0$")
        self.assertRegex(shown[-1], r"^More: /export #ops \d+$")
        rest = alice.type(shown[-1].removeprefix("More: "))
        self.assertRegex(rest[-1], r"alice: line 599$")

    def test_formats(self) -> None:
        """Text, JSON lines and HTML: nothing that somebody wrote begins a line, is an escape or is markup."""
        say = Event(7, 1_700_000_000_000, "say", 3, 1, 0, "alice", "", "m", "<b>\x1b[31m\nhi & bye", None, None, None)
        file = say._replace(kind="file", text=None, data={"file": 17, "name": "<a>.png", "size": 2_100_000})
        events = [say, say._replace(text=None), say._replace(kind="topic", text="<i>"), file]
        found = {form: list(exported(events, "#<ops>", form)) for form in FORMATS}
        self.assertEqual(len(found["txt"]), 5)
        self.assertIn(" alice: <b>\ufffd[31m", found["txt"][0])
        self.assertIn(" alice | hi & bye", found["txt"][1])
        self.assertIn(" alice: (removed)", found["txt"][2])
        self.assertIn("set the topic of #<ops>: <i>", found["txt"][3])
        self.assertEqual(len(found["jsonl"]), 4)
        self.assertIn('"text": "<b>\\u001b[31m\\nhi & bye"', found["jsonl"][0])
        page = "\n".join(found["html"])
        for text in (
            "&lt;b&gt;\ufffd[31m<br>hi &amp; bye",
            "<h1>#&lt;ops&gt;</h1>",
            ": &lt;i&gt;</p>",
            "(removed)",
            "</b> &lt;a&gt;.png 2.1 MB (file 17",
        ):
            self.assertIn(text, page)
        self.assertNotIn("\x1b", page + "".join(found["txt"] + found["jsonl"]))
