"""Files that arrive: in pieces, through cuts, into a folder where nothing is written over."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from client import formatting
from client.crypto import stream
from client.files import landing, progress, sealed
from client.files.landing import NoRoom, meanwhile, settle
from client.files.pieces import Broken, Pieces


class Folder(SynchronousTestCase):
    """A folder of its own."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir()

    def gathered(self, body: bytes, tag: str = "1") -> Path:
        path, fd = meanwhile(self.folder, tag)
        with os.fdopen(fd, "wb") as file:
            file.write(body)
        return path


class Landing(Folder):
    """`meanwhile` and `settle`."""

    def test_a_file_gets_its_name(self) -> None:
        """Gathered under a name of ours, 0600, then there under its own, and nothing else."""
        path = self.gathered(b"meow")
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        self.assertEqual(settle(path, self.folder, "cat.png"), self.folder / "cat.png")
        self.assertEqual(os.listdir(self.folder), ["cat.png"])
        self.assertEqual((self.folder / "cat.png").read_bytes(), b"meow")

    def test_nothing_is_written_over(self) -> None:
        """The next of a name gets a number; a folder, a link and a dangling link count as taken, too."""
        (self.folder / "cat.png").write_bytes(b"old")
        (self.folder / "cat (1).png").mkdir()
        (self.folder / "cat (2).png").symlink_to("/nowhere/at/all")
        where = settle(self.gathered(b"new"), self.folder, "cat.png")
        self.assertEqual(where.name, "cat (3).png")
        self.assertEqual((self.folder / "cat.png").read_bytes(), b"old")
        self.assertTrue((self.folder / "cat (2).png").is_symlink())

    def test_many_at_once(self) -> None:
        """Twenty of one name at the same moment: twenty files, each with its own body."""
        paths = [self.gathered(str(number).encode(), str(number)) for number in range(20)]
        threads = [threading.Thread(target=settle, args=(path, self.folder, "cat.png")) for path in paths]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        bodies = [path.read_bytes() for path in self.folder.iterdir()]
        self.assertEqual(sorted(map(int, bodies)), list(range(20)))

    def test_without_links(self) -> None:
        """Where a file system has no links, the name is claimed first, and still nothing is written over."""

        def no_links(*args: object, **more: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        self.patch(landing.os, "link", no_links)
        (self.folder / "cat.png").write_bytes(b"old")
        self.assertEqual(settle(self.gathered(b"new"), self.folder, "cat.png").name, "cat (1).png")
        self.assertEqual((self.folder / "cat.png").read_bytes(), b"old")
        self.assertEqual((self.folder / "cat (1).png").read_bytes(), b"new")

    @given(st.text(max_size=300))
    def test_never_outside(self, name: str) -> None:
        """Whatever a name says, the file stands in the folder."""
        where = settle(self.gathered(b""), self.folder, name)
        self.assertEqual(where.parent.resolve(), self.folder)
        self.assertIn(where.name, os.listdir(self.folder))
        where.unlink()

    def test_what_an_earlier_run_brought(self) -> None:
        """The same file gathered again: what was there is there."""
        self.gathered(b"half")
        _, fd = meanwhile(self.folder, "1")
        self.assertEqual(os.read(fd, 10), b"half")
        os.close(fd)

    def test_traps(self) -> None:
        """A link, a pipe or somebody's second name laid where we gather is taken away and not written through."""
        victim = self.folder / "victim"
        victim.write_bytes(b"precious")
        part = self.folder / ".chat-1.part"
        for lay in (
            lambda: part.symlink_to(victim),
            lambda: os.link(victim, part),
            lambda: os.mkfifo(part),
        ):
            lay()
            self.gathered(b"new")
            self.assertEqual(victim.read_bytes(), b"precious")
            self.assertEqual(part.read_bytes(), b"new")
            part.unlink()

    def test_what_is_gathered_stays_here(self) -> None:
        """What a server or a sender says never becomes part of a path: not as the name of what is gathered, either."""
        for tag in ("17-../../x", "/etc/x", "", "a b", "17-" + "x" * 200):
            self.assertRaises(NoRoom, meanwhile, self.folder, tag)
        self.assertEqual(os.listdir(self.folder), [])

    def test_no_folder(self) -> None:
        """Where there is no folder it is said, and nothing is made."""
        refused = self.assertRaises(NoRoom, meanwhile, self.folder / "none", "1")
        self.assertIn("no such file or directory", str(refused))
        self.gathered(b"")
        (self.folder / "file").write_bytes(b"")
        self.assertRaises(NoRoom, meanwhile, self.folder / "file", "1")


@st.composite
def cuts(draw: st.DrawFn) -> tuple[bytes, list[tuple[int, int]]]:
    """A file, and stretches of it as connections bring them: each begins where we are or before, and may be cut."""
    body = draw(st.binary(max_size=300))
    stretches = []
    have = 0
    while have < len(body):
        start = draw(st.integers(max(0, have - 20), have))
        end = draw(st.integers(start, len(body)))
        stretches.append((start, end))
        have = max(have, end)
        if len(stretches) > 30:
            stretches.append((have, len(body)))
            break
    return body, stretches


class OpenedTests(SynchronousTestCase):
    """What a sealed message says of a file (client/files/sealed.py)."""

    def test_only_what_is_understood(self) -> None:
        """A record that lacks something, or cannot be, is no file; a good one reads as that of an open room."""
        good = {"name": "a.txt", "type": "text/plain", "size": 5, "key": "a2V5", "id": "aWQ=", "digest": "0" * 64,
                "sealed": stream.sealed_size(5), "caption": "look"}  # fmt: skip
        event = {"ev": "say", "seq": 9, "room_id": 7, "mid": "m", "data": {"file": 17, "size": 46}}
        found = sealed.opened(event, {"file": good}, bytes(32))
        assert found is not None
        self.assertEqual((found["ev"], found["text"]), ("file", "look"))
        self.assertEqual((found["data"]["file"], found["data"]["name"], found["data"]["size"]), (17, "a.txt", 5))
        for bad in (
            {"size": -1}, {"size": 6_000}, {"size": None}, {"sealed": 5}, {"digest": "../../../x"}, {"digest": None},
            {"key": None, "size": "x"},
        ):  # fmt: skip
            self.assertIsNone(sealed.opened(event, {"file": good | bad}, bytes(32)), bad)
        self.assertIsNone(sealed.opened({**event, "data": None}, {"file": good}, bytes(32)))
        self.assertIsNone(sealed.opened(event, {"file": "a.txt"}, bytes(32)))


class PieceTests(SynchronousTestCase):
    """The bookkeeping of ranges."""

    @given(cuts())
    def test_any_cuts(self, drawn: tuple[bytes, list[tuple[int, int]]]) -> None:
        """However it is cut and repeated, each byte is kept once, in order, and the hash is the file's."""
        body, stretches = drawn
        kept = bytearray()
        pieces = Pieces(len(body), hashlib.sha256())
        for start, end in stretches:
            for at in range(start, end, 7):
                pieces.take(at, body[at : min(at + 7, end)], kept.extend)
            self.assertEqual(pieces.have, len(kept))
        self.assertTrue(pieces.whole)
        self.assertEqual(bytes(kept), body)
        pieces.check(hashlib.sha256(body).hexdigest())

    @given(st.integers(0, 100), st.integers(0, 100), st.integers(0, 150), st.integers(0, 150))
    def test_what_does_not_fit(self, have: int, more: int, at: int, length: int) -> None:
        """A gap, or a byte past the end, is refused, and nothing of that piece is kept."""
        size = have + more
        kept = bytearray()
        pieces = Pieces(size, hashlib.sha256(), have)
        if at > have or at + length > size:
            self.assertRaises(Broken, pieces.take, at, bytes(length), kept.extend)
            self.assertEqual((pieces.have, len(kept)), (have, 0))
        else:
            pieces.take(at, bytes(length), kept.extend)
            self.assertEqual((pieces.have, len(kept)), (max(have, at + length), max(0, at + length - have)))

    def test_the_end(self) -> None:
        """Too little, or another hash, is no whole file; more than all cannot be here."""
        pieces = Pieces(3, hashlib.sha256())
        pieces.take(0, b"ab", lambda _: None)
        self.assertRaises(Broken, pieces.check, hashlib.sha256(b"ab").hexdigest())
        pieces.take(2, b"c", lambda _: None)
        self.assertRaises(Broken, pieces.check, hashlib.sha256(b"abd").hexdigest())
        pieces.check(hashlib.sha256(b"abc").hexdigest())
        self.assertRaises(Broken, Pieces, 3, hashlib.sha256(), 4)


class ProgressTests(SynchronousTestCase):
    """The line that shows how far it is."""

    def test_the_line(self) -> None:
        """As FEATURES.md §4 has it, from nothing to all, of an empty file, too."""
        self.assertEqual(
            progress.line("trip.png", 1_281_000, 2_100_000, 3_100_000.0, 80),
            "trip.png 2.1 MB  [=======>    ] 61 %  3.1 MB/s  0:01    (keep typing)",
        )
        self.assertIn("[>           ] 0 %  0 bytes/s  -:--", progress.line("a", 0, 10, 0.0, 80))
        self.assertIn("[============] 100 %", progress.line("a", 10, 10, 1.0, 80))
        self.assertIn("[============] 100 %", progress.line("a", 0, 0, 1.0, 80))

    @given(st.text(max_size=80), st.integers(0, 1 << 40), st.floats(0, 1e10), st.integers(60, 300), st.integers(0, 99))
    def test_it_fits(self, name: str, total: int, rate: float, columns: int, number: int) -> None:
        """However long the name and the file, it is one row."""
        shown = progress.line(formatting.clean(name), total // 3, total, rate, columns, number)
        self.assertLess(formatting.width(shown), max(columns, 84), shown)
        shown = progress.waiting(formatting.clean(name), total, columns, number)
        self.assertLessEqual(formatting.width(shown), columns, shown)

    def test_the_rate_is_of_the_last_seconds(self) -> None:
        """A pause brings it down, a new start up again."""
        meter = progress.Meter(0, 0.0)
        for tick in range(1, 101):
            meter.reach(tick * 100, tick / 10)
        self.assertAlmostEqual(meter.rate(10.0), 1_000, delta=1)
        meter.reach(10_000, 15.0)
        self.assertLess(meter.rate(15.0), 300)
        for tick in range(1, 101):
            meter.reach(10_000 + tick * 1_000, 15 + tick / 10)
        self.assertGreater(meter.rate(25.0), 9_000)
