"""Files and whoever looks after the server: backup, restore, check, retention."""

from __future__ import annotations

import tarfile
from pathlib import Path

from chatd.ctl import backup
from chatd.model import Bounds
from chatd.retention import Sweeper
from tests.ctl import Operator
from tests.files.world import DATA, Base
from tests.memory import Server


class OperatorTests(Base):
    """#ops has files."""

    def setUp(self) -> None:
        super().setUp()
        self.chatctl = Operator(self.server.data)
        self.file = self.server.data.with_name("backup.tar")

    def restored(self) -> Server:
        """A server on what the backup holds."""
        elsewhere = Operator(self.server.data.with_name("elsewhere"))
        ran = elsewhere("restore", str(self.file))
        self.assertEqual(ran.status, 0, ran)
        self.assertEqual(elsewhere("check", "--deep").status, 0)
        server = Server(elsewhere.data)
        self.addCleanup(server.stop)
        return server

    def test_backup(self) -> None:
        """A backup has the bytes of every file, and a restored server gives them out; what is half there stays out."""
        self.bring()
        self.bring(b"other bytes", name="b.bin")
        half = self.raw(self.begin(name="c.bin")["ok"]["ticket"])
        half.send(DATA[:1_000])
        ran = self.chatctl("backup", str(self.file), "--verify")
        self.assertRegex(ran.out, r"2 users, 1 group, \d+ events, 2 files\.$")
        with tarfile.open(self.file) as tar:
            self.assertEqual(sorted(name for name in tar.getnames() if "/" in name), ["blobs/01/1", "blobs/02/2"])
        server = self.restored()
        bob = server.resume("bob")
        for file, data in ((1, DATA), (2, b"other bytes")):
            raw = self.raw(bob.call(do="download", file=file)["ok"]["ticket"], server)
            for _ in range(500):
                server.advance(0)
            self.assertEqual(raw.read().partition(b"\n")[2], data)

    def test_a_file_goes_meanwhile(self) -> None:
        """A file that is taken back after the database was copied and before its bytes were is not in the backup at
        all: no event of a backup names bytes that are not in it.
        """
        self.bring()
        self.bring(b"other bytes", name="b.bin")
        wanted = backup.stored_blobs
        looks = []

        def look(connection: object) -> list[tuple[int, int]]:
            found = wanted(connection)  # type: ignore[arg-type]
            if not looks:
                self.alice.call(do="cancel", file=1)
                self.sweep()
            looks.append(len(found))
            return found

        self.patch(backup, "stored_blobs", look)
        self.assertEqual(self.chatctl("backup", str(self.file), "--verify").status, 0)
        self.assertEqual(looks, [2, 1])
        server = self.restored()
        self.assertEqual(server.resume("bob").code(do="download", file=1), "NO_FILE")

    def test_lost_bytes(self) -> None:
        """Bytes that are gone are found by check, and a backup is not made as if they were there."""
        self.bring()
        (self.server.data / "blobs" / "01" / "1").unlink()
        ran = self.chatctl("check")
        self.assertEqual((ran.status, ran.out), (1, "File 1: its bytes are gone.\n1 fault found."))
        ran = self.chatctl("backup", str(self.file))
        self.assertRegex(ran.err, r"file 1 is not in blobs/01/1\. chatctl check says more, --anyway leaves it out")
        self.assertFalse(self.file.exists())
        self.assertEqual(self.chatctl("backup", str(self.file), "--anyway").status, 0)

    def test_changed_bytes(self) -> None:
        """Other bytes of the same length are found by --deep alone."""
        self.bring()
        path = self.server.data / "blobs" / "01" / "1"
        path.write_bytes(DATA[::-1])
        self.assertEqual(self.chatctl("check").status, 0)
        ran = self.chatctl("check", "--deep")
        self.assertEqual((ran.status, ran.out.split("\n")[0]), (1, "File 1: its bytes are not those that were sent."))

    def test_retention(self) -> None:
        """A file that is too old goes, its name and its bytes; that somebody sent one stays."""
        self.bring()
        sweeper = Sweeper(
            self.server.reactor,
            self.server.db,
            bounds=lambda: Bounds(60),
            step=lambda: 200,
            days=lambda: 30,
        )
        sweeper.start()
        self.addCleanup(sweeper.stop)
        for _ in range(40):
            self.server.advance(10)
        self.sweep()
        self.assertEqual(self.server.sql("SELECT text, data FROM event WHERE kind = 'file'"), [(None, None)])
        self.assertEqual(list(Path(self.server.data, "blobs").glob("0*/*")), [])
        self.assertEqual(self.differences(), [])
