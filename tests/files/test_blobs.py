"""The folder of bytes, and the first line of a raw connection."""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from pathlib import Path
from types import SimpleNamespace

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatd import texts
from chatd.blobs import Blobs, check_blobs
from chatd.errors import Refusal
from chatd.part import BLOCK, PAGE, Superseded
from chatd.store.files import Stored
from chatd.wire import rawline
from tests.files.world import BRIM, full_disk, sha, up_to_the_brim


def passes_cache(folder: Path) -> bool:
    """Whether this folder's file system knows a way past the page cache."""
    try:
        os.close(os.open(folder / "new" / "lock", os.O_RDWR | os.O_DIRECT))
    except OSError:
        return False
    return True


class BlobTests(SynchronousTestCase):
    """The folder."""

    def setUp(self) -> None:
        self.blobs = Blobs(Path(self.mktemp()), durable=False)

    @given(
        st.binary(min_size=1, max_size=300),
        st.lists(st.tuples(st.integers(0, 9_000), st.booleans()), max_size=12),
        st.integers(0, 30_000),
        st.integers(0, 30_000),
        st.booleans(),
    )
    @hypothesis_settings(deadline=None, max_examples=60)
    def test_ranges(self, seed: bytes, steps: list[tuple[int, bool]], start: int, end: int, durable: bool) -> None:
        """Whatever pieces the bytes come in, and by however many attempts, each goes on at the byte where the one
        before it stopped; the whole has the digest of the whole, and any range of it is that range of the bytes. That
        is so through the page cache and past it."""
        data = seed * 100
        file = 7
        blobs = Blobs(self.blobs.folder, durable=durable)
        blobs.drop([file])
        part = blobs.claim(file, "a0", len(data), PAGE)
        for number, (count, cut) in enumerate(steps, 1):
            part.write([data[part.size : part.size + count // 2], data[part.size + count // 2 : part.size + count]])
            if cut:
                part.close()
                before = part.size
                part = blobs.claim(file, f"a{number}", len(data), 3 * PAGE)
                self.assertEqual(part.size, before)
        part.write([data[part.size :]])
        self.assertEqual(part.check(sha(data)), sha(data))
        part.place()
        part.close()
        fd = blobs.open(file, len(data))
        self.assertEqual(os.pread(fd, max(0, end - start), start), data[start : max(start, end)])
        os.close(fd)

    def test_past_the_cache(self) -> None:
        """Where a file must be on the disk, its blocks go there past the page cache, and its last bytes, which fill no
        page, through it; where it need not be, all of them do. A file system that says it can and then refuses is
        believed, and nothing is lost. One that cannot gets everything through the cache."""
        ways: list[bool] = []
        refusing: list[bool] = []

        def pwrite(fd: int, data: memoryview, at: int) -> int:
            ways.append(bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_DIRECT))
            if refusing[-1] and ways[-1]:
                raise OSError(errno.EINVAL, "")
            return os.pwrite(fd, data, at)

        watched = SimpleNamespace(**{**vars(os), "pwrite": pwrite})
        self.patch(sys.modules["chatd.part"], "os", watched)
        data = os.urandom(2 * PAGE + 10)
        for durable, refuses, expected in (
            (False, False, [False, False, False]),
            (True, False, [True, True, False]),
            (True, True, [True, False, False, False]),
        ):
            ways.clear()
            refusing.append(refuses)
            blobs = Blobs(Path(self.mktemp()), durable=durable)
            part = blobs.claim(1, "a", len(data), PAGE)
            if not passes_cache(blobs.folder):
                expected = [False, False, False]
            part.write([data])
            part.check(sha(data))
            part.place()
            part.close()
            self.assertEqual(ways, expected)
            self.assertEqual(blobs.path(1).read_bytes(), data)

    def test_hashed_as_it_comes(self) -> None:
        """What was hashed as it came is not read again at the end, be it of this attempt or of one before."""
        part = self.blobs.claim(1, "a", 10)
        part.write([b"01234"])
        part.close()
        part = self.blobs.claim(1, "b", 10)
        self.assertTrue(part.behind)
        part.catch_up()
        self.assertFalse(part.behind)
        part.write([b"56"])
        part.write([b"789"])
        part.settle()
        self.assertIsNotNone(part.path)
        with Path(part.path or "").open("r+b") as file:
            file.write(b"seven b")
        self.assertEqual(part.check(None), sha(b"0123456789"))
        part.close()

    def test_a_newer_attempt(self) -> None:
        """Who brought a file before cannot write another byte of it, nor give it its place."""
        old = self.blobs.claim(1, "old", 4)
        old.write([b"ab"])
        old.settle()
        new = self.blobs.claim(1, "new", 4)
        old.write([b"xx"])
        for do in (old.settle, lambda: old.write([b"x" * BLOCK]), old.place):
            self.assertRaises(Superseded, do)
        old.close()
        new.write([b"cd"])
        new.check(sha(b"abcd"))
        new.place()
        self.assertEqual(self.blobs.path(1).read_bytes(), b"abcd")
        late = self.blobs.claim(1, "late", 4)
        self.assertEqual(late.size, 4)
        self.assertEqual(late.check(sha(b"abcd")), sha(b"abcd"))
        late.place()
        for part in (new, late):
            part.close()
        self.assertEqual(check_blobs(self.blobs.folder, [Stored(1, True, 4, sha(b"abcd"))], deep=True), [])

    def test_other_bytes(self) -> None:
        """Bytes that are not those that were told are not kept, and the next attempt begins at the first one."""
        part = self.blobs.claim(1, "a", 4)
        part.write([b"abcX"])
        self.assertEqual(self.assertRaises(Refusal, part.check, sha(b"abcd")).code, "CHECKSUM")
        part.close()
        part = self.blobs.claim(1, "b", 4)
        self.assertEqual(part.size, 0)
        part.close()

    def test_a_full_disk(self) -> None:
        """Where there is no room for the rest, nothing begins; where it turns out too late, nothing is kept. What had
        come by an earlier attempt stays in the first case: the disk may have room again."""
        full = Blobs(self.blobs.folder, durable=False, reserve=50, free=lambda folder: 100)
        self.assertEqual(self.assertRaises(Refusal, full.claim, 1, "a", 51).code, "DISK_FULL")
        self.assertEqual(full.found(), [])
        part = full.claim(1, "a", 50)
        part.write([b"x" * 40])
        part.close()
        fuller = Blobs(self.blobs.folder, durable=False, reserve=50, free=lambda folder: 59)
        self.assertEqual(self.assertRaises(Refusal, fuller.claim, 1, "b", 50).code, "DISK_FULL")
        self.assertEqual([path.stat().st_size for _, path in full.found()], [40])
        full.drop([1])
        up_to_the_brim(self.blobs, 1)
        part = self.blobs.claim(1, "c", BRIM + BLOCK)
        with full_disk():
            self.assertEqual(self.assertRaises(Refusal, part.write, [b"y" * BLOCK]).code, "DISK_FULL")
        part.close()
        self.assertEqual(full.found(), [])

    def test_a_held_file(self) -> None:
        """Where another process holds a file and stands still, an attempt is refused as busy and does not hang."""
        self.patch(sys.modules["chatd.part"], "PATIENCE", 0.0)
        part = self.blobs.claim(1, "a", 4)
        with part._held():
            self.assertEqual(self.assertRaises(Refusal, self.blobs.claim, 1, "b", 4).code, "BUSY")
        part.write([b"ab"])
        part.close()

    def test_what_is_found(self) -> None:
        """Each difference between disk and database is a finding, and none is changed by looking."""
        for file, data in ((1, b"one"), (2, b"two"), (3, b"three"), (4, b"four")):
            part = self.blobs.claim(file, "a", len(data))
            part.write([data])
            part.place()
            part.close()
        part = self.blobs.claim(5, "a", 9)
        part.close()
        (self.blobs.folder / "new" / "junk").touch()
        (self.blobs.folder / "01" / "2").touch()
        stored = [
            Stored(1, True, 3, sha(b"one")),
            Stored(2, True, 4, sha(b"two")),
            Stored(3, True, 5, sha(b"other")),
            Stored(5, False, 9, ""),
            Stored(6, True, 1, ""),
            Stored(7, False, 1, ""),
        ]
        found = {
            ("orphan", 0, "new/junk"),
            ("orphan", 2, "01/2"),
            ("orphan", 4, "04/4"),
            ("size", 2, "02/2"),
            ("missing", 6, "06/6"),
        }
        self.assertEqual({tuple(each) for each in check_blobs(self.blobs.folder, stored)}, found)
        deep = {tuple(each) for each in check_blobs(self.blobs.folder, stored, deep=True)}
        self.assertEqual(deep - found, {("digest", 3, "03/3")})
        for each in deep:
            self.assertTrue(texts.finding(*each))

    def test_orphans_go(self) -> None:
        """What is known no more goes, and nothing else; a file whose bytes are gone is named."""
        for file in (1, 2, 4):
            part = self.blobs.claim(file, "a", 1)
            part.write([b"x"])
            part.close()
        found = self.blobs.found()
        stored = [Stored(1, False, 1, ""), Stored(3, True, 1, "")]
        self.blobs.drop_orphans(found, stored, 3)
        self.assertEqual([file for file, _ in self.blobs.found()], [1, 4])
        self.assertEqual(self.blobs.missing(stored), [3])


class LineTests(SynchronousTestCase):
    """The first line of a raw connection."""

    def test_what_it_says(self) -> None:
        """A ticket alone is a program's; with a start it fetches, with size and digest it brings."""
        digest = "0" * 64
        for line, opening in (
            (b"RAW abc", rawline.Opening("abc")),
            (b"RAW abc\r\n", rawline.Opening("abc")),
            (b"RAW abc 17", rawline.Opening("abc", 17)),
            (b"RAW abc 17 20 " + digest.encode() + b" -", rawline.Opening("abc", 17, 20, digest)),
            (b"RAW abc 0 20 " + digest.encode(), rawline.Opening("abc", 0, 20, digest)),
        ):
            self.assertEqual(rawline.read(line), opening)

    @given(st.binary(max_size=80))
    def test_anything_else(self, data: bytes) -> None:
        """Any other line is refused as such."""
        try:
            rawline.read(b"RAW " + data)
        except Refusal as refusal:
            self.assertEqual(refusal.code, "BAD_LINE")
