"""Bytes that come and go, over any cut."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from chatd.blobs import check_blobs
from chatd.store.files import Stored
from chatd.transfers import MOVES
from tests.files.world import BRIM, DATA, MID, Base, full_disk, sha, up_to_the_brim
from tests.memory import Client, Server, instances


class TransferTests(Base):
    """Bytes that come and go."""

    def test_there_and_back(self) -> None:
        """A file comes whole, is told to everybody in the room once, and is fetched whole and in parts."""
        last = self.bring(type="image/png", caption="look", mid=MID)
        told = [event for event in self.bob.objects() if event["ev"] == "file"]
        self.assertEqual(len(told), 1)
        data = {"file": 1, "name": "a.bin", "size": len(DATA), "digest": sha(DATA), "type": "image/png"}
        self.assertEqual((told[0]["data"], told[0]["text"], told[0]["mid"]), (data, "look", MID))
        self.assertEqual(last, {"ok": {"file": 1, "digest": sha(DATA), "seq": told[0]["seq"]}})
        self.assertEqual(self.fetch(self.bob, 1), DATA)
        self.assertEqual(self.fetch(self.alice, 1, start=100, end=2_000), DATA[100:2_000])
        self.assertEqual(self.fetch(self.alice, 1, start=len(DATA)), b"")
        self.assertEqual(self.differences(), [])

    def test_an_empty_file(self) -> None:
        """A file of no bytes is a file."""
        self.assertIn("ok", self.bring(b""))
        self.assertEqual(self.fetch(self.bob, 1), b"")

    def test_the_digest_may_follow(self) -> None:
        """A digest that is not told before stands behind the bytes; a wrong one, and none, are refused."""
        for trailer, code in ((sha(DATA).encode(), "ok"), (sha(b"").encode(), "CHECKSUM"), (b"x" * 70, "BAD_LINE")):
            asked = self.alice.call(do="upload", room="#ops", size=len(DATA), name="a")
            raw = self.raw(asked["ok"]["ticket"])
            raw.send(DATA + trailer[:10])
            raw.send(trailer[10:] + b"\n")
            last = raw.objects()[-1]
            self.assertEqual(last.get("error", {"code": "ok"})["code"], code)
        self.assertEqual(self.differences(), [])

    @given(
        st.lists(st.tuples(st.integers(1, 40_000), st.sampled_from(["no", "cut", "eof", "drop"])), max_size=8),
        st.lists(st.integers(0, 1), min_size=9, max_size=9),
    )
    @hypothesis_settings(deadline=None, max_examples=25)
    def test_any_cut(self, steps: list[tuple[int, str]], nodes: list[int]) -> None:
        """However often it is cut, on whichever of two instances it goes on: the same bytes, one event, no rest."""
        folder = Path(self.mktemp())
        servers = instances(folder)
        data = DATA[:60_000]
        alice = servers[0].program("alice")
        alice.call(do="join", room="#ops")
        cuts = [*steps, (len(data), "no")]
        raw: Client | None = None
        for number, (count, how) in enumerate(cuts):
            server = servers[nodes[number % len(nodes)]]
            answer = self.begin(alice, data, mid=MID)["ok"]
            if "ticket" not in answer:
                break
            raw = self.raw(answer["ticket"], server)
            start = raw.objects()[0]["ok"]["start"]
            raw.send(data[start : start + count])
            if how in ("no", "drop"):
                continue  # the next attempt comes while this one is still there
            raw.cut() if how == "cut" else raw.finish()
        answer = self.begin(alice, data, mid=MID)["ok"]
        if "ticket" in answer:
            raw = self.raw(answer["ticket"], servers[1])
            raw.send(data[raw.objects()[0]["ok"]["start"] :])
        events = [event for event in alice.events() if event.get("ev") == "file"]
        self.assertEqual(len(events), 1)
        stored = [Stored(1, True, len(data), sha(data))]
        self.assertEqual(check_blobs(servers[0].blobs.folder, stored, deep=True), [])
        self.assertEqual(self.begin(alice, data, mid=MID)["ok"], {"seq": events[0]["seq"]})
        for server in servers:
            server.stop()

    def test_a_newer_attempt_ends_the_older(self) -> None:
        """A cut that the server has not noticed is no hindrance: the new connection goes on, the old one is closed."""
        first = self.raw(self.begin(mid=MID)["ok"]["ticket"])
        first.send(DATA[:1_000])
        second = self.raw(self.begin(mid=MID)["ok"]["ticket"])
        self.assertTrue(first.gone)
        self.assertEqual(second.objects()[0]["ok"]["start"], 1_000)
        second.send(DATA[1_000:])
        self.assertIn("seq", second.objects()[-1]["ok"])

    def test_one_after_the_other(self) -> None:
        """Bytes of so many files are moved at a time, the others' in the order in which they came, and none are begun
        while a commit is under way."""
        self.server.files.hold()
        moved: list[int] = []
        for number in range(MOVES + 2):
            Deferred.fromCoroutine(self.server.transfers.move(moved.append, number))
        self.assertEqual(moved, list(range(MOVES)))
        self.server.writer.hold()
        self.server.db.write(lambda tx: None)
        self.server.advance(0)
        self.server.files.step()
        self.assertEqual(moved, list(range(MOVES)))
        self.server.writer.release()
        self.assertEqual(moved, list(range(MOVES + 1)))
        self.server.files.release()
        self.assertEqual(moved, list(range(MOVES + 2)))

    def test_half_closed(self) -> None:
        """Who closes their side too early is told how much has come, and it is kept."""
        raw = self.raw(self.begin(mid=MID)["ok"]["ticket"])
        raw.send(DATA[:1_000])
        raw.finish()
        error = raw.objects()[-1]["error"]
        self.assertEqual((error["code"], error["with"]), ("FILE_CUT", {"size": len(DATA), "got": 1_000}))
        self.assertEqual(self.begin(mid=MID)["ok"]["start"], 1_000)

    def test_other_bytes(self) -> None:
        """Bytes with another digest are refused, the room hears nothing, and the next attempt begins anew."""
        raw = self.raw(self.begin(mid=MID)["ok"]["ticket"])
        raw.send(DATA[:-1] + b"?")
        self.assertEqual(raw.objects()[-1]["error"]["code"], "CHECKSUM")
        self.assertEqual(self.bob.objects(), [])
        self.assertEqual(self.begin(mid=MID)["ok"]["start"], 0)

    def test_a_full_disk(self) -> None:
        """A full disk is said to be one, nothing is left half, and chat goes on; with room again it works."""
        ticket = self.begin(size=BRIM + 1_000)["ok"]["ticket"]
        up_to_the_brim(self.server.blobs, 1)
        raw = self.raw(ticket)
        self.assertEqual(raw.objects(), [{"ok": {"start": BRIM, "size": BRIM + 1_000}}])
        with full_disk():
            raw.send(DATA[:1_000])
        self.assertEqual(raw.objects()[-1]["error"]["code"], "DISK_FULL")
        self.assertEqual(self.server.blobs.found(), [])
        self.server.blobs._free = lambda folder: 0
        raw = self.raw(self.begin(mid=MID)["ok"]["ticket"])
        self.assertEqual(raw.objects()[-1]["error"]["code"], "DISK_FULL")
        self.assertEqual(self.server.transfers._bringing, {})
        self.assertEqual(self.alice.code(do="say", room="#ops", text="still here"), "ok")
        self.server.blobs._free = lambda folder: 1 << 40
        raw = self.raw(self.begin(mid=MID)["ok"]["ticket"])
        raw.send(DATA)
        self.assertIn("seq", raw.objects()[-1]["ok"])
        self.assertEqual(self.differences(), [])

    def test_a_busy_database(self) -> None:
        """Where the last step cannot be written, the whole file waits on disk, and saying it again completes it."""
        raw = self.raw(self.begin(mid=MID)["ok"]["ticket"])
        raw.send(DATA[:-1])
        ticket = self.begin(mid=MID)["ok"]["ticket"]
        other = Server(self.server.data, node=2, clock=self.server.reactor)
        with other.db._lock:
            raw.send(DATA[-1:])
        other.stop()
        self.assertEqual(raw.objects()[-1]["error"]["code"], "BUSY")
        raw = self.raw(ticket)
        self.assertEqual([line["ok"].get("start") for line in raw.objects()], [len(DATA), None])
        self.assertEqual(self.differences(), [])

    def test_a_slow_disk(self) -> None:
        """While a file thread is busy no more is read than one share, and nothing is lost."""
        data = bytes(5 << 20)
        raw = self.raw(self.begin(data=data)["ok"]["ticket"])
        raw.send(data[:1])
        self.server.files.hold()
        raw.send(data[1:])
        held = sum(map(len, self.transfer(raw)._pieces))
        self.assertLess(held, 2 << 20)
        self.server.files.release()
        self.settle(None)
        self.assertIn("seq", raw.objects()[-1]["ok"])

    def transfer(self, raw: Client) -> Any:
        """The server's side of it."""
        return raw.protocol._file

    def test_a_slow_reader(self) -> None:
        """Who reads slowly holds up no memory, and gets every byte."""
        data = os.urandom(5 << 20)
        self.bring(data)
        ticket = self.bob.call(do="download", file=1)["ok"]["ticket"]
        raw = self.server.connect()
        raw.transport.stick()
        raw.send(b"RAW " + ticket.encode() + b"\n")
        self.settle(None)
        self.assertLess(raw.transport.most, 2 << 20)
        got = b""
        while not raw.gone:
            raw.transport.drain()
            raw.transport.stick()
            self.settle(None)
            got += raw.read()
        self.assertEqual(got.partition(b"\n")[2], data)

    def test_nothing_moves(self) -> None:
        """A transfer that stands still for too long is closed; what has come is kept."""
        raw = self.raw(self.begin(mid=MID)["ok"]["ticket"])
        raw.send(DATA[:1_000])
        for _ in range(50):
            self.server.advance(1)
        self.assertFalse(raw.gone)
        raw.send(DATA[1_000:1_001])
        for _ in range(59):
            self.server.advance(1)
        self.assertFalse(raw.gone)
        for _ in range(3):
            self.server.advance(1)
        self.assertTrue(raw.gone)
        self.assertEqual(self.begin(mid=MID)["ok"]["start"], 1_001)

    def test_a_late_start(self) -> None:
        """Who was shown the door before the first line finds the answer on a line of its own."""
        ticket = self.begin()["ok"]["ticket"]
        raw = self.server.connect()
        self.server.advance(1)
        raw.send(b"RAW " + ticket.encode() + b"\n")
        *door, last = raw.read().split(b"\n")[:-1]
        self.assertEqual(last, b'{"ok":{"start":0,"size":%d}}' % len(DATA))
        self.assertTrue(door)

    def test_byte_by_byte(self) -> None:
        """However the bytes of the first line and of the file come."""
        data = b"hello"
        raw = self.server.connect()
        raw.trickle(f"RAW {self.begin(data=data)['ok']['ticket']}\n".encode() + data)
        self.assertIn("seq", raw.objects()[-1]["ok"])

    def test_garbage(self) -> None:
        """A first line that is no ticket is refused, and so is one that never ends."""
        for line in (b"RAW \n", b"RAW a b c\n", b"RAW " + b"a" * 9_000):
            raw = self.server.connect()
            raw.send(line)
            self.assertEqual(raw.objects()[-1]["error"]["code"], "BAD_LINE")
            self.assertTrue(raw.closed)

    def test_going_down(self) -> None:
        """An instance that stops gives its transfers as long as everybody, and loses nothing that came."""
        raw = self.raw(self.begin(mid=MID)["ok"]["ticket"])
        raw.send(DATA[:1_000])
        self.server.factory.drain()
        raw.send(DATA[1_000:2_000])
        self.server.advance(10)
        self.assertTrue(raw.gone)
        done = self.server.transfers.stop()
        self.settle(None)
        self.successResultOf(done)
        self.assertEqual([path.stat().st_size for _, path in self.server.blobs.found()], [2_000])
