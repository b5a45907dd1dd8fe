"""Files between real processes: two instances behind HAProxy, nc, and whatever is killed on the way."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import random
import resource
import signal
import socket
import sqlite3
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from chatd.blobs import FOLDER, check_blobs
from chatd.store import ReadTx
from chatd.store.sqlite import FILE
from tests.chaos.nodes import node_pids
from tests.live import PATIENCE, Client, JsonClient, Program, free_ports, needs, new_mid
from tests.test_cluster import ClusterTestCase

reactor: Any = _reactor
CUTS = 20


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Raw:
    """One raw connection, blocking: for a thread."""

    def __init__(self, port: int, ticket: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self._file = self._socket.makefile("rb")
        self._socket.sendall(f"RAW {ticket}\n".encode())

    def line(self) -> dict[str, Any]:
        """The server's next line; {} where the connection has ended."""
        found: dict[str, Any] = json.loads(self._file.readline() or b"{}")
        return found

    def send(self, data: bytes) -> None:
        """Bytes of the file."""
        self._socket.sendall(data)

    def read(self, most: int) -> bytes:
        """So many bytes of the file, or fewer at its end."""
        return self._file.read(most)

    def close(self) -> None:
        """Hang up without more ado."""
        self._file.close()
        self._socket.close()


class LiveFiles(ClusterTestCase):
    """Two instances, one front door."""

    async def people(self) -> tuple[JsonClient, JsonClient]:
        """Alice on the first instance, bob on the second, in one group."""
        alice, bob = await self.on_node(1, "alice"), await self.on_node(2, "bob")
        await alice.call("create", room="#ops", people=["bob"])
        return alice, bob

    def differences(self) -> list[Any]:
        """Where disk and database differ, every byte looked at."""
        connection = sqlite3.connect(self.data / FILE)
        try:
            return check_blobs(self.data / FOLDER, ReadTx(connection, 0).stored_files(), deep=True)
        finally:
            connection.close()

    async def again(self, who: JsonClient) -> JsonClient:
        """Somebody reconnects by the front door, to whichever instance lives."""
        before = who

        async def back() -> JsonClient | None:
            client = JsonClient()
            try:
                await client.connect(self.port)
                self.clients.append(client)
                await client.resume_from(before)
            except Exception:
                client.abort()
                return None
            return client

        found: JsonClient = await self.eventually(back, "an instance that serves")
        return found

    async def test_twenty_cuts(self) -> None:
        """A file goes up and comes down through twenty cuts each: by the client, by an instance that is killed; each
        attempt goes on where the bytes end, at either instance, and what arrives is what was sent. It is told of once.
        """
        await self.cluster(2)
        alice, bob = await self.people()
        data = random.Random(1).randbytes(6_000_000)
        asked = {"room": "#ops", "size": len(data), "name": "x.bin", "digest": hashlib.sha256(data).hexdigest()}
        mid = new_mid()
        starts = []

        def bring(ticket: str, count: int | None) -> int:
            raw = Raw(self.port, ticket)
            try:
                begun = raw.line()
                if "ok" not in begun:
                    return -1
                start = int(begun["ok"]["start"])
                raw.send(data[start:] if count is None else data[start : start + count])
                if count is None:
                    self.assertIn("ok", raw.line())
                return start
            except OSError:
                return -1
            finally:
                raw.close()

        for cut in range(CUTS):
            if cut in (5, 12):
                os.kill(node_pids(self.data)[1 + cut % 2], signal.SIGKILL)
                alice = await self.again(alice)
            ticket = (await alice.call("upload", mid=mid, **asked))["ticket"]
            starts.append(await deferToThread(bring, ticket, 250_000))

        while "ticket" in (answer := await alice.call("upload", mid=mid, **asked)):
            starts.append(await deferToThread(bring, answer["ticket"], None))
        good = [start for start in starts if start >= 0]
        self.assertEqual(good, sorted(good))
        self.assertGreater(good[-1], 0)
        bob = await self.again(bob)
        await bob.ping()
        event = await bob.event("file")
        self.assertEqual(sum(each["ev"] == "file" for each in bob.events), 1)
        self.assertEqual(event["seq"], answer["seq"])

        def fetch(ticket: str, count: int) -> bytes:
            raw = Raw(self.port, ticket)
            try:
                return raw.read(count) if "ok" in raw.line() else b""
            except OSError:
                return b""
            finally:
                raw.close()

        got = b""
        cuts = 0
        while len(got) < len(data):
            if cuts in (4, 11):
                os.kill(node_pids(self.data)[1 + cuts % 2], signal.SIGKILL)
                bob = await self.again(bob)
            ticket = (await bob.call("download", file=event["data"]["file"], start=len(got)))["ticket"]
            got += await deferToThread(fetch, ticket, 290_000)
            cuts += 1
        self.assertGreaterEqual(cuts, CUTS)
        self.assertEqual(got, data)
        self.assertEqual(self.differences(), [])

    async def test_the_lines_for_nc(self) -> None:
        """Exactly the lines that `/send` and `/get` answer, run in a shell: with a real nc through HAProxy, cut in the
        middle by killing it, run again as they are answered again, both ways."""
        needs("nc")
        await self.cluster(2)
        bob = await self.on_node(2, "bob")
        alice = await self.plain(self.port)
        alice.send("/register alice Correct7horse")
        await alice.line("^Welcome, alice")
        alice.send("/create #ops bob")
        await alice.line("^#ops created")
        here, there = self.folder / "here", self.folder / "there"
        here.mkdir(), there.mkdir()
        path = here / "it's big.bin"
        path.write_bytes(random.Random(2).randbytes(1_000_000))
        os.truncate(path, 96_000_000)

        first = await self.answered(alice, "/send it's big.bin")
        self.assertIn(f"| nc 127.0.0.1 {self.port}", first)
        sending = self.run_program("/bin/sh", "-c", first, cwd=here)
        await self.cut(sending)
        await sending.end()
        self.assertFalse([event for event in bob.events if event["ev"] == "file"])
        came = await self.settled()
        self.assertTrue(0 < came < 96_000_000, came)

        second = await self.answered(alice, "/send it's big.bin")
        self.assertIn("tail -c +", second)
        again = self.run_program("/bin/sh", "-c", second, cwd=here)
        await again.prints(r"^it's big.bin 96.0 MB sent to #ops \(file 1\)$")
        await again.end()
        await alice.line(r"^it's big.bin 96.0 MB sent to #ops \(file 1\)$")
        self.assertEqual((await bob.event("file"))["data"]["digest"], digest(path))
        self.assertEqual(self.differences(), [])

        carol = await self.plain(self.port)
        carol.send("/login bob Correct7horse")
        await carol.line("^Welcome, bob")
        line = await self.answered(carol, "/get 1")
        part = there / "it's big.bin.part"
        fetching = self.run_program("/bin/sh", "-c", line, cwd=there)
        await self.until_soon(lambda: part.exists() and part.stat().st_size > 0)
        self.kill("nc")
        await fetching.prints("FAILED")
        await fetching.end()
        self.assertTrue(part.exists())
        had = part.stat().st_size
        fetching = self.run_program("/bin/sh", "-c", await self.answered(carol, "/get 1"), cwd=there)
        await fetching.prints(r"it's big.bin.part: OK")
        self.assertEqual(await fetching.end(), 0)
        self.assertEqual(digest(there / "it's big.bin"), digest(path))
        self.assertGreater(had, 0)

    async def test_by_tls(self) -> None:
        """By TLS the lines have openssl in place of nc, and do the same; the server has nothing to complain about."""
        needs("openssl")
        port = free_ports()
        node = await self.chatd("--quiet", "--listen", f"ssl:{port}:interface=127.0.0.1", node=1).start()
        path = self.folder / "a.bin"
        path.write_bytes(random.Random(3).randbytes(3_000_000))
        talk = "/register bob Correct7horse\\n/create #ops\\n/send a.bin\\n/quit\\n"
        sent = await self.through_tls(port, talk, self.folder)
        await sent.prints(r"^a.bin 3.0 MB sent to #ops \(file 1\)$")
        (self.folder / "there").mkdir()
        got = await self.through_tls(port, "/login bob Correct7horse\\n/get 1\\n/quit\\n", self.folder / "there")
        await got.prints("a.bin.part: OK")
        self.assertEqual(await got.end(), 0)
        self.assertEqual(digest(self.folder / "there" / "a.bin"), digest(path))
        self.assertNotIn("Traceback", node.log)

    async def test_where_one_came_to(self) -> None:
        """A session knows by which address it was reached, and does not stumble over that once it is gone: a guest
        who is cut off behind a reload of the settings leaves as any other."""
        (self.folder / "chatd.toml").write_text(f"{self.settings}[irc]\nguests = true\n")
        node = await self.chatd("--quiet", node=1).start()
        alice = await self.person(node.port, "alice")
        await alice.call("create", room="#ops", open=True)
        await alice.call("door", room="#ops", door="open")
        guest = await self.client(node.port)
        await guest.call("guest", name="dave")
        await guest.call("join", room="#ops")
        node.program.signal(signal.SIGHUP)
        await alice.ping()
        guest.abort()
        await alice.event("left")
        self.assertNotIn("Traceback", node.log)

    async def through_tls(self, port: int, talk: str, folder: Path) -> Program:
        """Say this by TLS, and run the line for a shell that is answered."""
        connect = f"openssl s_client -quiet -connect 127.0.0.1:{port}"
        asked = self.run_program("/bin/sh", "-c", f"printf '{talk}' | {connect}")
        await asked.end()
        line = next(line for line in asked.lines if line.startswith("f=")).rstrip("\r")
        return self.run_program("/bin/sh", "-c", line, cwd=folder)

    async def answered(self, client: Client, typed: str) -> str:
        """The line for a shell that this is answered with."""
        seen = len(client.lines)
        client.send(typed)
        await client.line("^Cut", seen)
        return next(line for line in client.lines[seen:] if line.startswith("f="))

    def kill(self, program: str) -> None:
        """End this program of ours without a warning."""
        for pid, what in self.marked().items():
            if what.split()[:1] == [program]:
                os.kill(pid, signal.SIGKILL)

    async def cut(self, sending: Program) -> None:
        """End nc in the middle of an upload: its bytes are held up meanwhile, as by a disk that stands still."""
        new = self.data / FOLDER / "new"

        def parts() -> list[Path]:
            return [path for path in new.glob("1.*") if path.stat().st_size]

        await self.until_soon(parts)
        with parts()[0].open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self.kill("nc")

    async def settled(self) -> int:
        """How much of file 1 has come, once its attempt has ended."""
        connection = sqlite3.connect(self.data / FILE)
        try:
            return int(
                await self.eventually(
                    lambda: connection.execute("SELECT got FROM file WHERE stored IS NULL").fetchone()[0], "bytes"
                )
            )
        finally:
            connection.close()

    async def until_soon(self, found: Any) -> None:
        """Wait for something that does not last."""
        ended = reactor.seconds() + PATIENCE
        while not found():
            self.assertLess(reactor.seconds(), ended)
            await deferLater(reactor, 0.001)

    async def test_a_full_disk(self) -> None:
        """Where files may grow no further, an upload is refused clearly, nothing of it stays, and chat goes on."""
        node = await self.chatd("--quiet", node=1).start()
        resource.prlimit(node.program.pid, resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
        alice = await self.person(node.port, "alice")
        await alice.call("create", room="#ops")
        answer = await alice.call("upload", room="#ops", size=5_000_000, name="a.bin")

        def bring() -> dict[str, Any]:
            raw = Raw(node.port, answer["ticket"])
            raw.line()
            raw.send(bytes(5_000_000))
            last = raw.line()
            raw.close()
            return last

        self.assertEqual((await deferToThread(bring))["error"]["code"], "DISK_FULL")
        self.assertEqual([path.name for path in (self.data / FOLDER / "new").iterdir()], ["lock"])
        await alice.call("say", room="#ops", text="still here")
        self.assertRegex(node.log, r"file.transfer   #ops alice a.bin 5.0MB DISK_FULL \d+\.\ds")
