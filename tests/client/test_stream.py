"""Sealed files: opened whole and in their place, or not at all."""

from __future__ import annotations

import hashlib
import io

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from client.crypto import stream
from client.crypto.stream import CHUNK, HEADER_BYTES, TAG_BYTES, Changed, Opener, Torn

KEY = bytes(range(32))
WHERE = stream.place(b"room", b"mid", b"file")
TWO = bytes(range(256)) * 512  # two full chunks
SIZES = (0, 1, 2, 255, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5, 900_000)


def sealed(body: bytes, key: bytes = KEY, where: bytes = WHERE) -> bytes:
    spool = io.BytesIO()
    digest = stream.seal(io.BytesIO(body), len(body), spool, key, where)
    assert digest == hashlib.sha256(spool.getvalue()).hexdigest()
    return spool.getvalue()


def opened(data: bytes, size: int, key: bytes = KEY, where: bytes = WHERE) -> bytes:
    """Opened in pieces of any length, and in one."""
    found = []
    for length in (7_001, len(data) + 1):
        target = io.BytesIO()
        opener = Opener(size, target.write, key, where)
        for at in range(0, len(data), length):
            opener.take(data[at : at + length])
        opener.end()
        found.append(target.getvalue())
    assert found[0] == found[1]
    return found[0]


class StreamTests(SynchronousTestCase):
    """client/crypto/stream.py."""

    def test_there_and_back(self) -> None:
        """What was sealed is opened, of every size round a chunk; how long it gets is known before."""
        for size in SIZES:
            body = (b"0123456789" * (size // 10 + 1))[:size]
            data = sealed(body)
            self.assertEqual(len(data), stream.sealed_size(size))
            self.assertEqual(opened(data, size), body)

    def test_the_bytes_never_repeat(self) -> None:
        """The same file under the same key is other bytes; none of its text stands in them."""
        first, second = sealed(TWO), sealed(TWO)
        self.assertNotEqual(first[:HEADER_BYTES], second[:HEADER_BYTES])
        self.assertNotIn(bytes(range(64)), first)

    @given(st.integers(0, 1 << 45), st.integers(0, 1 << 20))
    def test_the_length_tells_little(self, size: int, more: int) -> None:
        """Padding costs at most 12 %, and a longer file is never shorter when sealed."""
        self.assertLessEqual(size, stream.padded(size))
        self.assertLessEqual(stream.padded(size), size * 1.12 + 1)
        self.assertLessEqual(stream.sealed_size(size), stream.sealed_size(size + more))

    def test_few_lengths(self) -> None:
        """All files between one and two million bytes come in at most 64 lengths."""
        self.assertLessEqual(len({stream.padded(size) for size in range(1 << 20, 1 << 21, 97)}), 64)

    @settings(max_examples=60)
    @given(st.data())
    def test_one_bit(self, data: st.DataObject) -> None:
        """A changed bit anywhere, and nothing is opened."""
        good = sealed(TWO)
        at = data.draw(st.one_of(st.integers(0, len(good) - 1), st.sampled_from([0, HEADER_BYTES, len(good) - 1])))
        bad = bytearray(good)
        bad[at] ^= 1 << data.draw(st.integers(0, 7))
        self.assertRaises(Torn, opened, bytes(bad), len(TWO))

    def test_cut_short(self) -> None:
        """A file that ends early is refused wherever it was cut, also between two chunks."""
        good = sealed(TWO)
        chunk = CHUNK + TAG_BYTES
        for end in (0, 1, HEADER_BYTES, HEADER_BYTES + 1, HEADER_BYTES + chunk, len(good) - 1):
            self.assertRaises(Torn, opened, good[:end], len(TWO))
        self.assertRaises(Torn, opened, good[: HEADER_BYTES + chunk], CHUNK)  # even if the size is a lie that fits

    def test_trailing_bytes(self) -> None:
        """Not a byte may follow the last chunk."""
        good = sealed(TWO)
        self.assertRaises(Torn, opened, good + b"x", len(TWO))
        self.assertRaises(Torn, opened, good + good[HEADER_BYTES:], len(TWO))

    def test_chunks_exchanged_or_left_out(self) -> None:
        """Chunks in another order, one twice, or one missing."""
        body = TWO + TWO
        good = sealed(body)
        chunk = CHUNK + TAG_BYTES
        parts = [good[HEADER_BYTES + n * chunk : HEADER_BYTES + (n + 1) * chunk] for n in range(4)]
        for order in ((1, 0, 2, 3), (0, 0, 2, 3), (0, 2, 3), (0, 3), (3,)):
            data = good[:HEADER_BYTES] + b"".join(parts[n] for n in order)
            self.assertRaises(Torn, opened, data, len(body))
            self.assertRaises(Torn, opened, data, len(order) * CHUNK)

    def test_another_place(self) -> None:
        """A file given out as that of another room, message or number is refused, and so is another key or no key."""
        good = sealed(TWO)
        for where in ((b"moor", b"mid", b"file"), (b"room", b"mit", b"file"), (b"room", b"mid", b"elif"),
                      (b"roomm", b"id", b"file")):  # fmt: skip
            self.assertRaises(Torn, opened, good, len(TWO), where=stream.place(*where))
        self.assertRaises(Torn, opened, good, len(TWO), stream.new_key())
        self.assertRaises(Torn, opened, good, len(TWO), b"short")

    def test_another_size(self) -> None:
        """A size that does not fit is refused: what stands behind the end is not dropped in silence."""
        good = sealed(b"x" * 1_000)
        for size in (999, 990, 1_025, 0, 5_000):
            self.assertRaises(Torn, opened, good, size)

    def test_a_file_that_changes_meanwhile(self) -> None:
        """Longer or shorter than it was when it was measured: not sealed."""
        for size in (9, 11, 70_000):
            self.assertRaises(Changed, stream.seal, io.BytesIO(b"0123456789"), size, io.BytesIO(), KEY, WHERE)

    def test_each_step_is_told(self) -> None:
        """After each chunk it is told how far it is, and may be ended there."""
        steps: list[int] = []
        spool = io.BytesIO()
        stream.seal(io.BytesIO(TWO), len(TWO), spool, KEY, WHERE, steps.append)
        self.assertEqual(steps[-1], stream.sealed_size(len(TWO)))

        def stop(done: int) -> None:
            raise KeyboardInterrupt

        self.assertRaises(KeyboardInterrupt, stream.seal, io.BytesIO(TWO), len(TWO), io.BytesIO(), KEY, WHERE, stop)
