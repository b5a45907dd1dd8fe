"""Who may do what, how often, and how much."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from chatd import texts
from chatd.commands.files import announce
from chatd.errors import Refusal
from tests.files.world import DATA, MID, Base, sha, ticket_in
from tests.memory import PASSWORD, Client


class TicketTests(Base):
    """Who may do what, and how often."""

    limits = {"transfers": 2, "account_tickets": 3, "ticket_seconds": 100.0}  # noqa: RUF012

    def refused(self, ticket: str) -> str:
        """The code with which a ticket is refused."""
        code: str = self.raw(ticket).objects()[-1]["error"]["code"]
        return code

    def test_once(self) -> None:
        """A ticket is good once, and an invented one never."""
        ticket = self.begin()["ok"]["ticket"]
        self.raw(ticket).cut()
        for each in (ticket, "0" * 32):
            self.assertEqual(self.refused(each), "TICKET")

    def test_for_a_time(self) -> None:
        """A ticket that is too old is not good any more."""
        ticket = self.begin()["ok"]["ticket"]
        self.server.advance(101)
        self.assertEqual(self.refused(ticket), "TICKET")

    def test_not_too_many(self) -> None:
        """Of one account's tickets the newest few are good."""
        tickets = []
        for _ in range(4):
            tickets.append(self.begin(mid=MID)["ok"]["ticket"])
            self.server.advance(1)
        self.assertEqual(self.refused(tickets[0]), "TICKET")
        self.assertIn("ok", self.raw(tickets[3]).objects()[0])

    def test_not_in_the_database(self) -> None:
        """What is kept of a ticket does not open anything."""
        ticket = self.begin()["ok"]["ticket"]
        self.assertNotIn(
            ticket.encode(), b"".join(path.read_bytes() for path in self.server.data.glob("chatd.sqlite*"))
        )

    def test_not_too_many_at_once(self) -> None:
        """Past a number of transfers one is refused as busy, and its ticket is not used up."""
        held = [self.raw(self.begin(name=name)["ok"]["ticket"]) for name in "ab"]
        ticket = self.begin(name="c")["ok"]["ticket"]
        self.assertEqual(self.refused(ticket), "BUSY")
        held[0].cut()
        self.assertIn("ok", self.raw(ticket).objects()[0])

    def test_not_too_many_of_one(self) -> None:
        """Past a number of transfers of one account its next one is refused as busy; another's is not."""
        limits = replace(self.server.instance.settings.limits, account_transfers=1, transfers=9)
        self.server.factory.reload(replace(self.server.instance.settings, limits=limits))
        self.raw(self.begin(name="a")["ok"]["ticket"])
        self.assertEqual(self.refused(self.begin(name="b")["ok"]["ticket"]), "BUSY")
        self.assertIn("ok", self.raw(self.begin(self.bob, name="c")["ok"]["ticket"]).objects()[0])

    def test_who_may_fetch(self) -> None:
        """Only who is in the room, and was when the file came; nobody is told that it exists."""
        self.bring()
        carol = self.server.program("carol")
        self.assertEqual(carol.code(do="download", file=1), "NO_FILE")
        self.alice.call(do="add", room="#ops", user="carol")
        self.assertEqual(carol.code(do="download", file=1), "NO_FILE")
        self.assertEqual(carol.call(do="files", room="#ops")["ok"]["files"], [])
        ticket = self.bob.call(do="download", file=1)["ok"]["ticket"]
        self.alice.call(do="kick", room="#ops", user="bob")
        self.assertEqual(self.bob.code(do="download", file=1), "NO_FILE")
        self.assertEqual(self.refused(ticket), "NOT_MEMBER")
        for number in (2, 10**14, "x", -1):
            self.assertIn(self.alice.code(do="download", file=number), ("NO_FILE", "BAD_USAGE"))

    def test_who_may_send(self) -> None:
        """Only members; who is put out meanwhile is refused at the end, and nothing of the file stays."""
        carol = self.server.program("carol")
        self.assertEqual(carol.code(do="upload", room="#ops", size=1, name="a"), "NOT_MEMBER")
        raw = self.raw(self.begin(self.bob)["ok"]["ticket"])
        raw.send(DATA[:1_000])
        self.alice.call(do="kick", room="#ops", user="bob")
        raw.send(DATA[1_000:])
        self.assertEqual(raw.objects()[-1]["error"]["code"], "NOT_MEMBER")
        self.assertEqual((self.server.blobs.found(), self.differences()), ([], []))

    def test_a_mid(self) -> None:
        """The same call with the same mid is the same upload; with other arguments it is refused; once the file is
        there it is answered with its seq, also to who has left."""
        one, other = (self.begin(self.bob, mid=MID)["ok"] for _ in range(2))
        self.assertEqual((one["file"], one["ticket"] == other["ticket"]), (other["file"], False))
        self.assertEqual(self.begin(self.bob, mid=MID, name="b")["error"]["code"], "MID_REUSED")
        self.assertEqual(self.begin(self.alice, mid=MID)["ok"]["file"], 2)
        raw = self.raw(other["ticket"])
        raw.send(DATA)
        seq = raw.objects()[-1]["ok"]["seq"]
        self.bob.call(do="leave", room="#ops")
        self.assertEqual(self.begin(self.bob, mid=MID)["ok"], {"seq": seq})

    def test_a_mid_taken_meanwhile(self) -> None:
        """Where a careless program says something else under the mid of an upload, both are stored, once each."""
        ticket = self.begin(mid=MID)["ok"]["ticket"]
        self.alice.call(do="say", room="#ops", text="hi", mid=MID)
        raw = self.raw(ticket)
        raw.send(DATA)
        self.assertIn("seq", raw.objects()[-1]["ok"])

    def test_by_its_number(self) -> None:
        """An unfinished upload of one's own goes on by its number; nobody else's does."""
        self.begin()
        self.assertIn("ticket", self.alice.call(do="upload", room="#ops", file=1)["ok"])
        self.assertEqual(self.bob.code(do="upload", room="#ops", file=1), "NO_FILE")

    def test_bad_usage(self) -> None:
        """What makes no sense is refused."""
        for fields in (
            {"size": "x"},
            {"size": -1},
            {"size": 10**16},
            {},
            {"size": 1},
            {"size": 1, "name": "a", "digest": "zz"},
            {"size": 1, "name": ""},
        ):
            self.assertEqual(self.alice.code(do="upload", room="#ops", **fields), "BAD_USAGE", fields)
        self.assertEqual(self.alice.code(do="upload", room="#ops", size=1, name="a" * 1_001), "TOO_LONG")
        self.bring()
        for part in ({"start": 5, "end": 4}, {"start": "x"}):
            self.assertEqual(self.bob.code(do="download", file=1, **part), "BAD_USAGE")

    def test_logged_out(self) -> None:
        """With all sessions of an account its tickets end, too."""
        fetched = self.bring()["ok"]["file"]
        tickets = [
            self.begin(name="b.bin")["ok"]["ticket"],
            self.alice.call(do="download", file=fetched)["ok"]["ticket"],
        ]
        self.alice.call(do="logout", which="all")
        for ticket in tickets:
            self.assertEqual(self.raw(ticket).objects()[0]["error"]["code"], "TICKET")

    def test_to_nobody(self) -> None:
        """A conversation whose other end is no more takes no file, as it takes no line."""
        room = self.alice.call(do="dm", user="bob")["ok"]["room_id"]
        self.bob.call(do="delete-account", password=PASSWORD)
        self.assertEqual(self.begin(room=room)["error"]["code"], "NO_USER")
        self.assertEqual(self.alice.code(do="say", room=room, text="anybody?"), "NO_USER")
        self.assertEqual(self.server.sql("SELECT count(*) FROM file"), [(0,)])


class QuotaTests(Base):
    """How much may be kept."""

    limits = {"file_bytes": 500, "account_file_bytes": 800, "room_file_bytes": 1_000}  # noqa: RUF012

    def left(self, who: Client, size: int) -> int:
        """How much would be left where so much is too much."""
        error = self.begin(who, bytes(size))["error"]
        self.assertEqual((error["code"], error["with"]["size"]), ("QUOTA", size))
        return int(error["with"]["left"])

    def test_each(self) -> None:
        """One file, one account, one room: whatever is least counts, and an unfinished upload counts as a whole."""
        self.assertEqual(self.left(self.alice, 501), 500)
        self.begin(self.alice, bytes(500))
        self.assertEqual(self.left(self.alice, 301), 300)
        self.assertEqual(
            self.bob.call(do="quota", room="#ops")["ok"],
            {
                "room": "#ops",
                "room_id": 3,
                "file": 500,
                "mine": 800,
                "here": 500,
            },
        )
        self.bring(bytes(400), self.bob)
        self.assertEqual(self.left(self.bob, 200), 100)
        self.alice.call(do="cancel", file=1)
        self.assertIn("ok", self.begin(self.bob, bytes(200)))

    def test_a_persons_line(self) -> None:
        """A person's nc tells the size only when it begins; that is when it is refused."""
        dave = self.server.person("dave")
        dave.type("/create #mine")
        ticket = ticket_in(dave.type("/send big.iso"))
        raw = self.raw(ticket, words=f" 0 600 {'0' * 64} -")
        self.assertEqual(raw.read(), b"600 bytes, you have 500 bytes left.\n")
        self.assertTrue(raw.closed)


class SealedTests(Base):
    """Rooms whose files are ciphertext."""

    def setUp(self) -> None:
        super().setUp()
        self.server.sql("UPDATE room SET sealed = 1 WHERE name = '#ops'")

    def test_bytes_without_a_name(self) -> None:
        """The server is given bytes alone; what would name them is refused, and nobody is told of them by itself."""
        for more in ({"name": "a"}, {"type": "image/png"}, {"caption": "x"}):
            self.assertEqual(self.alice.code(do="upload", room="#ops", size=3, **more), "BAD_USAGE")
        asked = {"do": "upload", "room": "#ops", "size": len(DATA), "digest": sha(DATA), "mid": MID}
        raw = self.raw(self.alice.call(**asked)["ok"]["ticket"])
        raw.send(DATA)
        self.assertEqual(raw.objects()[-1], {"ok": {"file": 1, "digest": sha(DATA)}})
        self.assertEqual(self.alice.call(**asked)["ok"], {"file": 1, "digest": sha(DATA)})
        self.assertEqual(self.bob.objects(), [])
        self.assertEqual(self.bob.code(do="download", file=1), "NO_FILE")
        self.assertEqual(self.fetch(self.alice, 1), DATA)

    def test_told_of_by_a_message(self) -> None:
        """A sealed message that carries the number tells of the file; only its sender may do that, once."""
        raw = self.raw(self.alice.call(do="upload", room="#ops", size=len(DATA), digest=sha(DATA))["ok"]["ticket"])
        raw.send(DATA)
        alice, bob = (client.protocol.session.identity.me for client in (self.alice, self.bob))

        def say(tx: Any, me: Any) -> Any:
            room = tx.room(3, me.account)
            data = announce(tx, me, room, 1)
            tx.append("say", room.id, me.account, sealed="AAAA", data=data)
            return data

        for me, good in ((bob, False), (alice, True), (alice, False)):
            deferred = self.settle(self.server.db.write(lambda tx, me=me: say(tx, me)))
            if good:
                self.assertEqual(self.successResultOf(deferred), {"file": 1, "size": len(DATA)})
            else:
                self.assertEqual(self.failureResultOf(deferred, Refusal).value.code, "NO_FILE")
        self.assertEqual(self.fetch(self.bob, 1), DATA)
        self.server.advance(2 * 86_400)
        self.sweep()
        self.assertEqual(self.fetch(self.bob, 1), DATA)

    def test_told_of_by_nobody(self) -> None:
        """What nobody was told of goes after a day."""
        raw = self.raw(self.alice.call(do="upload", room="#ops", size=len(DATA), digest=sha(DATA))["ok"]["ticket"])
        raw.send(DATA)
        self.server.advance(86_500)
        self.sweep()
        self.assertEqual((self.server.blobs.found(), self.stored()), ([], []))

    def test_the_log(self) -> None:
        """The operator's log has no name where the server knows none."""
        self.assertEqual(
            texts.audit(
                "file.transfer",
                {"room": "#ops", "name": "bob", "file": "", "size": 2_100_000, "result": "ok", "seconds": 1.4},
            ),
            "file.transfer   #ops bob 2.1MB ok 1.4s",
        )
