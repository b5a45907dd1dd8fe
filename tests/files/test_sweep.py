"""What is not wanted any more goes, and nothing else, whenever a process is killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from chatd import texts
from chatd.blobs import check_blobs
from chatd.model import Event
from chatd.store.files import Stored
from tests.files import dying
from tests.files.world import DATA, MID, Base
from tests.live import ROOT
from tests.memory import Server


class SweepTests(Base):
    """What is not wanted any more goes, and nothing else."""

    def test_expiry(self) -> None:
        """After its days a file is gone from disk and database; its event stays, and says what it was."""
        self.bring()
        self.server.advance(29 * 86_400)
        self.sweep()
        self.bob = self.server.resume("bob")
        self.assertEqual(self.fetch(self.bob, 1), DATA)
        self.server.advance(2 * 86_400)
        self.sweep()
        self.assertEqual(self.bob.code(do="download", file=1), "NO_FILE")
        self.assertEqual((self.server.blobs.found(), self.differences()), ([], []))
        self.assertEqual(
            self.server.sql("SELECT data ->> 'name', data ->> 'gone' FROM event WHERE kind = 'file'"),
            [("a.bin", "expired")],
        )
        gone = [event for event in self.bob.events() if event.get("ev") == "gone"]
        self.assertEqual(
            [(event["by"], event["data"]["file"], event["data"]["how"]) for event in gone], [("alice", 1, "expired")]
        )

    def test_unfinished(self) -> None:
        """An upload on which nothing came for a day is forgotten, with what came of it; one that moves is not."""
        raw = self.raw(self.begin(mid=MID)["ok"]["ticket"])
        raw.send(DATA[:1_000])
        raw.cut()
        self.begin(name="never begun")
        self.server.advance(23 * 3_600)
        self.sweep()
        self.assertEqual(self.begin(mid=MID)["ok"]["start"], 1_000)
        self.server.advance(25 * 3_600)
        self.sweep(all_of_them=False)
        self.assertEqual((self.server.blobs.found(), self.stored()), ([], []))
        self.assertEqual(self.begin(mid=MID)["ok"]["start"], 0)
        self.server.advance(2 * 86_400)
        self.sweep(all_of_them=False)
        self.server.advance(2 * 86_400)
        self.sweep(all_of_them=False)
        self.assertEqual(self.server.sql("SELECT count(*) FROM file"), [(0,)])

    def test_taken_back(self) -> None:
        """What its sender takes back is gone, its event says nothing of it any more but that, and who is there is told,
        once."""
        told = self.bring()["ok"]["seq"]
        self.bob.events()
        self.assertEqual(self.bob.code(do="cancel", file=1), "NOT_YOURS")
        answer = {"file": 1, "name": "a.bin", "sent": True}
        self.assertEqual(self.alice.call(do="cancel", file=1, mid=MID)["ok"], answer)
        self.assertIn("ok", self.alice.call(do="cancel", file=1, mid=MID))
        gone = [event for event in self.bob.events() if event.get("ev") == "gone"]
        self.assertEqual([event["data"] for event in gone], [{"file": 1, "seq": told, "how": "withdrawn"}])
        self.sweep(all_of_them=False)
        self.assertEqual((self.server.blobs.found(), self.differences()), ([], []))
        self.assertEqual(
            self.server.sql("SELECT text, data FROM event WHERE kind = 'file'"),
            [(None, '{"file":1,"gone":"withdrawn"}')],
        )
        event = Event(9, 0, "file", 7, 1, 0, "alice", "", None, None, None, None, None)
        self.assertTrue(texts.event(event, "#ops", 2, True)[0].endswith("<alice> (removed)"))

    def test_cancelled_on_its_way(self) -> None:
        """An upload that is dropped while it runs ends soon, and leaves nothing."""
        raw = self.raw(self.begin()["ok"]["ticket"])
        raw.send(DATA[:1_000])
        self.alice.call(do="cancel", file=1)
        self.server.advance(3)
        raw.send(DATA[1_000:2_000])
        self.assertTrue(raw.gone)
        self.sweep(all_of_them=False)
        self.assertEqual((self.server.blobs.found(), self.stored()), ([], []))

    def test_cancelled_at_the_last_byte(self) -> None:
        """An upload that is dropped before it is told of is told of to nobody."""
        raw = self.raw(self.begin()["ok"]["ticket"])
        self.alice.call(do="cancel", file=1)
        raw.send(DATA)
        self.assertEqual(raw.objects()[-1]["error"]["code"], "NO_FILE")
        self.assertEqual((self.bob.objects(), self.server.blobs.found()), ([], []))

    def test_a_closed_room(self) -> None:
        """With its last member a group's files go."""
        self.bring()
        self.bob.call(do="leave", room="#ops")
        self.alice.call(do="leave", room="#ops")
        self.sweep()
        self.assertEqual((self.server.blobs.found(), self.stored()), ([], []))
        self.assertEqual(self.server.sql("SELECT count(*) FROM event WHERE kind = 'gone'"), [(0,)])

    def test_bytes_that_are_elsewhere(self) -> None:
        """A server that starts without the folder of files, which is not mounted say, forgets none: they are fetched
        as before once it is there again.
        """
        self.bring()
        folder = self.server.blobs.path(1).parent
        elsewhere = folder.rename(self.server.data / "elsewhere")
        self.sweep()
        self.assertEqual([each.kind for each in self.differences()], ["missing"])
        raw = self.raw(self.bob.call(do="download", file=1)["ok"]["ticket"])
        self.assertEqual(raw.objects()[0]["error"]["code"], "NO_FILE")
        elsewhere.rename(folder)
        self.sweep()
        self.assertEqual(self.fetch(self.bob, 1), DATA)

    def test_a_database_that_is_elsewhere(self) -> None:
        """A server that starts on another database, by mistake say, takes away none of the bytes that it never gave a
        number to.
        """
        self.bring()
        bytes_of = self.server.blobs.path(1)
        self.server.stop()
        for path in self.server.data.glob("chatd.sqlite*"):
            path.rename(path.with_name(f"away-{path.name}"))
        self.server = Server(self.server.data)
        self.sweep()
        self.assertEqual(bytes_of.read_bytes(), DATA)

    def test_many_that_are_never_begun(self) -> None:
        """Of the uploads that an account announces and never begins, the newest are kept."""
        for number in range(105):
            self.begin(name=f"{number}")
        self.assertEqual(self.server.sql("SELECT count(*) FROM file"), [(100,)])

    def test_forgotten_on_its_way(self) -> None:
        """An upload that is forgotten for newer ones before anybody has noted that some of it came leaves nothing: what
        is on disk is in somebody's quota.
        """
        raw = self.raw(self.begin()["ok"]["ticket"])
        raw.send(DATA[:1_000])
        for number in range(100):
            self.begin(name=f"{number}")
        raw.cut()
        self.server.advance(1)
        self.assertEqual(self.server.blobs.found(), [])

    def test_killed_at_every_step(self) -> None:
        """Whatever an upload does when its process is killed: the sweep leaves neither bytes without a file nor a
        file without bytes, and the same call again completes it, once."""
        folder = Path(self.mktemp())
        folder.mkdir()
        done = subprocess.run(
            [sys.executable, "-m", "tests.files.dying", str(folder.absolute())],
            cwd=ROOT,
            capture_output=True,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        steps = int(done.stdout)
        self.assertGreater(steps, 30)
        stored = [Stored(1, True, len(dying.DATA), dying.DIGEST)]
        self.server.stop()
        for at in range(steps + 1):
            self.server = Server(folder / str(at))
            self.sweep()
            self.assertEqual(self.differences(), [], f"swept after step {at}")
            alice = self.server.resume("alice", since=0)
            dying.upload(alice)
            self.assertEqual(check_blobs(self.server.blobs.folder, stored, deep=True), [], f"completed after step {at}")
            told = [event for event in alice.events() if event.get("ev") == "file"]
            self.assertEqual((len(told), self.stored()), (1, stored), f"told after step {at}")
            if at < steps:
                self.server.stop()
