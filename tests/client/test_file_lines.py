"""Files among what people say: how they look in `chat`, that they are counted and stand in the past, and that one which
is taken back says so, in open rooms and in sealed ones.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import Any

from twisted.internet.defer import Deferred

from client.crypto import stream
from client.files.sending import message
from client.outbox import new_mid
from tests.client.inmemory import ChatTestCase, Person
from tests.memory import PASSWORD

BODY = b"what it says"


class Base(ChatTestCase):
    """bob and alice in a group."""

    flags = ""
    caption = "by the sea"

    def setUp(self) -> None:
        super().setUp()
        self.bob, self.alice = self.person("bob"), self.person("alice")
        self.bob.type(f"/create {self.flags}#ops alice")
        self.alice.type("/join #ops")

    def sends(self, body: bytes = BODY, **fields: Any) -> int:
        """Bob's bytes come to the server, by a program of his; the file's number."""
        program = self.server.resume("bob")
        digest = hashlib.sha256(body).hexdigest()
        answer = program.call(do="upload", room="#ops", size=len(body), digest=digest, **fields)["ok"]
        raw = self.server.connect()
        raw.send(f"RAW {answer['ticket']}\n".encode() + body)
        program.hang_up()
        self.settle()
        number: int = answer["file"]
        return number

    def file(self, name: str = "trip.png") -> int:
        """Bob sends a file; its number."""
        return self.sends(name=name, caption=self.caption)

    def takes_back(self, number: int) -> None:
        """Bob takes it back."""
        self.bob.type(f"/cancel {number}")

    def pages(self, person: Person) -> list[str]:
        """What scrolling up shows."""
        found: list[str] = []
        place = person.chat.view.place
        assert place is not None

        def show(events: list[dict[str, Any]], whole: bool) -> None:
            for line in person.chat.transcript.as_lines(events):
                found.extend("".join(part for _, part in row)[6:] for row in line.rows)

        person.chat.past.page(place.id, 1 << 40, 50, show)
        self.settle()
        return found


class OpenTests(Base):
    """In a room that the server can read."""

    flags = "--open "
    told = "bob: trip.png 12 bytes (file 1: /get 1): by the sea"
    withdrawn = "bob: (file 1: taken back)"

    def test_the_line(self) -> None:
        """It looks as what somebody says does, here and elsewhere; one's own is told to be there."""
        self.file()
        self.assertEqual(self.alice.said()[-1], self.told)
        self.assertIn("trip.png 12 bytes sent to #ops (file 1): by the sea", self.bob.seen)
        self.alice.type("/create --open #other")
        self.file("__init__.py")
        self.assertEqual(self.alice.said()[-1], "#ops bob: __init__.py 12 bytes (file 2: /get 2): by the sea")

    def test_a_caption(self) -> None:
        """A caption is shown as what is said: with its markup and emoji, to me, to others and in the past."""
        self.caption = "*by* the :rocket:"
        self.file()
        shown = "by the \N{ROCKET}"
        self.assertEqual(self.alice.said()[-1], f"bob: trip.png 12 bytes (file 1: /get 1): {shown}")
        self.assertIn(f"trip.png 12 bytes sent to #ops (file 1): {shown}", self.bob.seen)
        self.assertIn(shown, self.pages(self.alice)[-1])
        self.alice.type("/history 1")
        self.assertIn(shown, self.alice.seen[-1])

    def test_missed(self) -> None:
        """It is counted among what was missed."""
        self.alice.kill()
        self.file()
        self.bob.type("look")
        self.alice.start()
        self.assertIn("2 messages while you were away (#ops 2)", self.alice.seen)
        self.assertEqual(self.alice.said()[-2:], [self.told, "bob: look"])

    def test_another_cable(self) -> None:
        """It is counted where the cable was pulled, too."""
        self.alice.pull()
        self.file()
        self.alice.plug()
        self.assertIn("online again, 1 missed, 0 sent", self.alice.seen)

    def test_history(self) -> None:
        """It stands in the history, and is found by its name."""
        self.file()
        for typed in ("/history 1", "/search trip"):
            self.alice.type(typed)
            self.assertEqual(self.alice.seen[-1][20:], self.told)

    def test_taken_back(self) -> None:
        """Who is there is told, and the past says so from then on."""
        number = self.file()
        self.assertEqual(self.pages(self.alice)[-1], self.told)
        self.takes_back(number)
        self.assertEqual(self.bob.seen[-1], "trip.png is taken back.")
        self.assertEqual(self.alice.said()[-1], "bob took back file 1 in #ops.")
        shown = "bob: trip.png 12 bytes (file 1: taken back): by the sea"
        self.assertEqual([row for row in self.pages(self.alice) if "file 1:" in row], [shown])
        self.assertNotIn("/get 1", "\n".join(self.pages(self.bob)))
        self.alice.type("/history 1")
        self.assertIn("(file 1: taken back)", self.alice.seen[-1])

    def test_taken_back_meanwhile(self) -> None:
        """Who comes after it was taken back reads only that."""
        self.alice.kill()
        self.takes_back(self.file())
        self.alice.start()
        self.assertIn("(file 1: taken back)", "\n".join(self.alice.seen))
        self.assertNotIn("/get 1", "\n".join(self.alice.seen))

    def test_no_longer_kept(self) -> None:
        """After its days nobody is told, but the past says so."""
        self.file()
        before = len(self.alice.seen)
        self.server.sql("UPDATE file SET stored = 1")
        Deferred.fromCoroutine(self.server.transfers.sweep_files(all_of_them=False))
        self.settle()
        self.assertNotIn("file 1", "\n".join(self.alice.seen[before:]))
        shown = "bob: trip.png 12 bytes (file 1: no longer kept): by the sea"
        self.assertEqual([row for row in self.pages(self.alice) if "file 1:" in row], [shown])

    def test_a_lie_about_another_room(self) -> None:
        """What is said to be gone is marked where it is a file of that room, and nowhere else."""
        self.file()
        store = self.alice.chat.store
        (seq,) = (fields["seq"] for fields in store.all(self.alice.chat.view.current) if fields["ev"] == "file")
        for data in ({"seq": seq, "how": "withdrawn"}, {"seq": "x", "how": "y"}, {}):
            self.alice.chat.past.gone({"ev": "gone", "seq": 99, "room_id": 99, "data": data})
        self.assertEqual(self.pages(self.alice)[-1], self.told)

    def test_a_new_device(self) -> None:
        """A device that comes by name and password is shown the files it missed."""
        self.file()
        other = Person(self, "other")
        for typed in ("l", "alice", PASSWORD):
            other.type(typed)
        self.assertIn(self.told, other.said())


class SealedTests(OpenTests):
    """The same where the server reads nothing."""

    flags = ""

    def file(self, name: str = "trip.png") -> int:
        mid = new_mid()
        sealed = bytes(stream.sealed_size(len(BODY)))
        number = self.sends(sealed, mid=mid)
        text = b64encode(bytes(32)).decode()
        digest = hashlib.sha256(sealed).hexdigest()
        about = {"key": text, "id": text, "sealed": len(sealed), "digest": digest}
        record = {
            "message": mid[:-1] + "0", "account": self.bob.chat.view.account, "room": self.bob.chat.view.current,
            "about": about, "name": name, "type": "image/png", "mark": [len(BODY)], "caption": self.caption,
        }  # fmt: skip
        self.bob.chat.sender.queue(message(record, number, self.bob.chat.now()))
        self.settle()
        return number

    def test_a_new_device(self) -> None:
        """A device that was not there when it was sealed is told that it cannot be read."""
        self.file()
        other = Person(self, "other")
        for typed in ("l", "alice", PASSWORD):
            other.type(typed)
        self.assertNotIn("trip.png", "\n".join(other.seen))

    def test_while_offline(self) -> None:
        """Before the server is there nothing is encrypted: it is said that the file waits, and for what."""
        path = self.root / "note.txt"
        path.write_bytes(BODY)
        self.bob.pull()
        self.bob.type(f"/send {path}")
        self.assertEqual(self.bob.chat.progress(80), ["note.txt 12 bytes  waits for the server    (keep typing)"])
        self.bob.type("/cancel")
        self.assertEqual(self.bob.chat.progress(80), [])

    def test_one_number_for_two(self) -> None:
        """Of two files to which the server gives one number neither is fetched by it, nor one by another's number."""
        number, other = self.file(), self.file("other.png")
        torn = "Not fetched: file {}: it is not what was sent; somebody has changed it."

        def elsewhere(line: dict[str, Any]) -> list[dict[str, Any]]:
            if "ticket" in (line.get("ok") or {}):
                line["ok"]["file"] = number
            return [line]

        def same(line: dict[str, Any]) -> list[dict[str, Any]]:
            return [{**line, "data": {"file": number}} if line.get("ev") == "say" else line]

        cable = self.alice.cables[-1]
        cable.lie = elsewhere
        self.alice.type(f"/get {other}")
        self.assertEqual(self.alice.seen[-1], torn.format(other))
        cable.lie = same
        self.file("evil.png")
        cable.lie = None
        self.alice.type(f"/get {number}")
        self.assertEqual(self.alice.seen[-1], torn.format(number))
