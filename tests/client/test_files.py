"""Files between real `chat`s: through cuts, kills and another node, with hostile names, and as a person sees it."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import socket
import sqlite3
import tempfile
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from PIL import Image
from twisted.internet.threads import deferToThread

from client.crypto import stream
from tests.chaos.nodes import node_pids
from tests.client.live import ClientTestCase, write
from tests.client.relay import Relay
from tests.client.test_sealed import found
from tests.live import CONFIG, PASSWORD, JsonClient, free_ports, needs, new_mid


def put(port: int, ticket: str, body: bytes) -> bytes:
    """Redeem an upload's ticket; the server's last line."""
    with socket.create_connection(("127.0.0.1", port), 30) as raw:
        lines = raw.makefile("rb")
        raw.sendall(f"RAW {ticket}\n".encode())
        lines.readline()
        raw.sendall(body)
        return lines.readline()


class FilesTestCase(ClientTestCase):
    """What these tests share."""

    timeout = 300

    async def with_open_room(self, name: str, port: int) -> None:
        """A profile of this name, whose #ops the server can read, and anybody may enter."""
        lines = f"r {name} {PASSWORD} {PASSWORD} '' '/create --open #ops' -1 '/door open'"
        code, printed = await self.script(f"printf '%s\\n' {lines} | chat --profile {name} --plain 127.0.0.1 {port}")
        self.assertEqual(code, 0, printed)

    def relay(self, to: int, after: Iterable[int] = ()) -> Relay:
        """A cable to the server on this port."""
        relay = Relay(to, after)
        self.addCleanup(relay.close)
        return relay

    def file(self, name: str, size: int) -> tuple[Path, str]:
        """A file of so many bytes, and its hash."""
        body = random.Random(size).randbytes(size)
        path = self.folder / name
        path.write_bytes(body)
        return path.resolve(), hashlib.sha256(body).hexdigest()

    def hash_of(self, path: Path) -> str:
        """The hash of a file."""
        return hashlib.sha256(path.read_bytes()).hexdigest()

    def room(self) -> Path:
        """A folder to fetch into."""
        return Path(tempfile.mkdtemp(dir=self.folder)).resolve()

    async def offered(
        self, who: JsonClient, port: int, room: int | str, name: str, body: bytes, type_: str = ""
    ) -> int:
        """Somebody sends a file of this name; its number."""
        answer = await who.call(
            "upload",
            room=room,
            name=name,
            size=len(body),
            digest=hashlib.sha256(body).hexdigest(),
            type=type_ or "application/octet-stream",
            mid=new_mid(),
        )
        said = await deferToThread(put, port, answer["ticket"], body)
        self.assertIn(b'"seq"', said)
        number: int = answer["file"]
        return number


class CutTests(FilesTestCase):
    """Connections that end."""

    async def test_twenty_cuts(self) -> None:
        """Up and down through twenty cuts each: the same hash, each byte carried about once, nothing left behind."""
        server = await self.server()
        luck = random.Random(5)
        relay = self.relay(server.port, [luck.randrange(50_000, 500_000) for _ in range(20)])
        await self.with_open_room("bob", relay.port)
        path, digest = self.file("trip.bin", 12_000_000)
        code, printed = await self.script(f"chat --profile bob send '#ops' --wait 60 --file '{path}' caption")
        self.assertEqual((code, printed), (0, []))
        self.assertEqual(relay.cuts, 20)
        starts = relay.starts
        self.assertEqual(len(starts), 21)
        self.assertEqual(starts, sorted(starts))
        self.assertLess(relay.carried, 12_000_000 + 21 * 4_000_000)
        relay.cuts, relay.starts, relay.carried = 0, [], 0
        relay.after = iter([luck.randrange(50_000, 500_000) for _ in range(20)])
        folder = self.room()
        code, printed = await self.script(f"chat --profile bob get 1 '{folder}' --wait 60")
        self.assertEqual((code, printed), (0, [str(folder / "trip.bin")]))
        self.assertEqual((relay.cuts, len(relay.starts)), (20, 21))
        self.assertEqual(self.hash_of(folder / "trip.bin"), digest)
        self.assertEqual(os.listdir(folder), ["trip.bin"])
        self.assertEqual(list((self.folder / "chats" / "bob").glob("files/*")), [])

    async def test_nodes_and_clients_are_killed(self) -> None:
        """kill -9 of the nodes behind HAProxy, then of `chat`, in the middle, both ways: the rest goes by another node
        and by the same command given again, and not from the beginning."""
        needs("haproxy")
        port = free_ports(3)
        self.data = Path(tempfile.mkdtemp())  # the path of HAProxy's socket must be short
        self.addCleanup(shutil.rmtree, self.data)
        cluster = self.twistd(
            *("chatd-cluster", "--nodes", "2", "--port", str(port)),
            *("--data", os.fspath(self.data), "--config", os.fspath(self.config)),
        )
        await cluster.prints("^front door ")
        relay = self.relay(port)
        await self.with_open_room("bob", relay.port)
        path, digest = self.file("trip.bin", 30_000_000)
        folder = self.room()
        for words in (("send", "--file", str(path), "#ops"), ("get", "1", str(folder))):
            relay.starts = []
            relay.hold = 9_000_000
            program = self.chat("--profile", "bob", *words, "--wait", "60")
            await relay.until(lambda: relay.held, "the first nine million bytes")
            relay.hold = 9_000_000
            for pid in node_pids(self.data).values():
                os.kill(pid, signal.SIGKILL)
            for held in list(relay.held):
                held.end()
            await relay.until(lambda: len(relay.starts) > 1 and relay.held, "the next nine million", 60)
            program.kill9()
            await program.end()
            for held in list(relay.held):
                held.end()
            program = self.chat("--profile", "bob", *words, "--wait", "60")
            self.assertEqual(await program.end(60), 0, program.told())
            self.assertEqual(relay.starts[0], 0)
            self.assertGreater(relay.starts[1], 1_000_000)
            self.assertGreater(relay.starts[-1], relay.starts[1])
        self.assertEqual(self.hash_of(folder / "trip.bin"), digest)
        self.assertEqual(os.listdir(folder), ["trip.bin"])
        listed = await self.script("printf '/files\\n' | chat --profile bob --plain")
        self.assertEqual(sum("trip.bin" in line for line in listed[1] if " sent to " not in line), 1, listed)
        cluster.term()


class NameTests(FilesTestCase):
    """What others call their files, who they are, and what is refused."""

    settings = f"{CONFIG}\n[limits]\nfile_bytes = 1000000\n"

    async def test_hostile_names(self) -> None:
        """Whatever a name says, the file lands in the folder, under a harmless name, over nothing."""
        server = await self.server()
        await self.with_open_room("bob", server.port)
        mallory = await self.person(server.port, "mallory")
        await mallory.call("join", room="#ops")
        folder = self.room()
        (folder / "cat.png").write_bytes(b"mine")
        names = ["../../../../../../../../tmp/evil", "/etc/passwd", "cat.png", "..", "nul", "-rf", ".bashrc",
                 "x" * 300 + ".png", "a\x1b[2J\nb.png", "C:\\temp\\x.exe"]  # fmt: skip
        numbers = [await self.offered(mallory, server.port, "#ops", name, name.encode()) for name in names]
        lines = " ".join(f"'/get {number} {folder}'" for number in numbers)
        code, printed = await self.script(f"printf '%s\\n' {lines} | chat --profile bob --plain")
        self.assertEqual(code, 0, printed)
        self.assertEqual(sum(" saved as " in line for line in printed), len(names), printed)
        kept = ["evil", "passwd", "cat (1).png", "file", "_nul", "_rf", "bashrc", "x" * 176 + ".png", "a_[2J_b.png",
                "x.exe"]  # fmt: skip
        self.assertEqual(sorted(os.listdir(folder)), sorted([*kept, "cat.png"]))
        for name, where in zip(names, kept, strict=True):
            self.assertEqual((folder / where).read_bytes(), name.encode())
        self.assertEqual((folder / "cat.png").read_bytes(), b"mine")

    async def test_strangers_and_large_files(self) -> None:
        """A file of somebody to whom I have never written is asked about; after an answer of mine it is not."""
        server = await self.server()
        await self.registered("bob", server.port)
        carol = await self.person(server.port, "carol")
        room = (await carol.call("dm", user="bob"))["room_id"]
        number = await self.offered(carol, server.port, room, "gift.txt", b"for you")
        folder = self.room()
        code, printed = await self.script(
            f"printf '%s\\n' '/get {number} {folder}' n '@carol who are you?' '/get {number} {folder}' "
            "| chat --profile bob --plain"
        )
        text = "\n".join(printed)
        self.assertEqual(code, 0, text)
        self.assertIn("You have never written to carol. Fetch gift.txt (7 bytes)? [y/N] Not done.", text)
        self.assertIn(f"gift.txt 7 bytes saved as {folder}/gift.txt", text)
        self.assertEqual((folder / "gift.txt").read_bytes(), b"for you")

    async def test_what_cannot_be_sent(self) -> None:
        """No file, a folder, a device, what is no picture, a number that is none: a sentence, an exit code, no more."""
        server = await self.server()
        await self.with_open_room("bob", server.port)
        broken = self.folder / "broken.png"
        broken.write_bytes(b"\x89PNG\r\n\x1a\nnonsense")
        (self.folder / "note.txt").write_text("milk")
        _, printed = await self.script(
            f"""
            cd '{self.folder.resolve()}'
            printf '%s\\n' '/send nothing.txt' '/send /tmp' '/send /dev/zero' '/image broken.png x' '/image note.txt' \\
                '/image' '' '/get 99' '/get' '/cancel' '/get 99 /nowhere' | chat --profile bob --plain
            chat --profile bob send --wait 60 --file nothing.txt '#ops'; echo "code $?"
            chat --profile bob send --wait 60 --file broken.png '#nowhere'; echo "code $?"
            chat --profile bob get 99; echo "code $?"
            head -c 2000000 /dev/zero > large.bin
            chat --profile bob send --wait 60 --file large.bin '#ops'; echo "code $?"
            head -c 900000 /dev/zero > fits.bin
            chat --profile bob send --wait 60 --file fits.bin '#ops'; echo "code $?"
            mkdir empty; (ulimit -f 500; chat --profile bob get 1 empty; echo "code $?"); ls -A empty
            """
        )
        text = "\n".join(printed)
        for wanted in (
            "Not sent: nothing.txt: no such file or directory.",
            "Not sent: tmp: is a folder.",
            "Not sent: zero: no ordinary file.",
            "Not sent: broken.png: broken.",
            "Not sent: note.txt: no picture that can be drawn.",
            "Path to image: ",
            "No such file: 99.",
            "Usage: /get <file> [folder]",
            "Nothing is on its way.",
            "Not sent: large.bin",
            "2.0 MB, you have 1.0 MB left.",
            "Not fetched: fits.bin: file too large.",
        ):
            self.assertIn(wanted, text)
        codes = [line.removeprefix("code ") for line in printed if line.startswith("code")]
        self.assertEqual(codes, ["2", "4", "4", "4", "0", "4"], text)
        self.assertEqual(printed[-1], "code 4")  # what did not fit on the disk has left nothing


class SealedTests(FilesTestCase):
    """Files between two `chat`s that have keys."""

    async def pair(self, port: int) -> None:
        """bob and alice, who can write to each other sealed."""
        programs = []
        for name in ("bob", "alice"):
            programs.append(self.chat("--plain", "--profile", name, "127.0.0.1", str(port)))
            write(programs[-1], f"r\n{name}\n{PASSWORD}\n{PASSWORD}\n\n")

        def stocked() -> bool:
            """Whether both devices have brought one-time keys."""
            with closing(sqlite3.connect(self.data / "chatd.sqlite")) as database:
                found = database.execute("SELECT count(DISTINCT device) FROM prekey").fetchone()[0]
            return bool(found == len(programs))

        await self.eventually(stocked, "the keys of both")
        for program in programs:
            write(program, "/quit\n")
        for program in programs:
            self.assertEqual(await program.end(), 0, program.told())

    async def test_there_and_back(self) -> None:
        """Through cuts it arrives whole; neither its name, nor its caption, nor a line of it stands on the server or
        went over the wire, and the server knows its length only roughly.
        """
        server = await self.server()
        luck = random.Random(9)
        relay = self.relay(server.port, [luck.randrange(100_000, 900_000) for _ in range(6)])
        await self.pair(relay.port)
        canary = "canary" + luck.randbytes(12).hex()
        path = self.folder / f"{canary}.bin"
        body = luck.randbytes(3_000_000) + canary.encode() * 2_000
        path.write_bytes(body)
        code, printed = await self.script(
            f"chat --profile bob send --wait 60 --file '{path.resolve()}' @alice {canary}"
        )
        self.assertEqual((code, printed), (0, []))
        self.assertGreater(relay.cuts, 2)
        folder = self.room()
        relay.after = iter([200_000, 700_000])
        code, printed = await self.script(f"chat --profile alice get 1 '{folder}' --wait 60")
        self.assertEqual((code, printed), (0, [str(folder / path.name)]))
        self.assertEqual((folder / path.name).read_bytes(), body)
        self.assertEqual(os.listdir(folder), [path.name])
        kept = [each for each in self.data.rglob("*") if each.is_file()]
        blobs = [each for each in kept if each.stat().st_size > 1_000_000 and "blobs" in each.parts]
        self.assertEqual([each.stat().st_size for each in blobs], [stream.sealed_size(len(body))])
        for each in kept:
            self.assertEqual(found([each.read_bytes()], [canary]), [], str(each))
        self.assertEqual(found([bytes(relay.seen), server.log.encode()], [canary]), [])
        for name in ("bob", "alice"):
            self.assertEqual(list((self.folder / "chats" / name).glob("files/*")), [])

    async def test_killed_while_it_is_sent(self) -> None:
        """The same command goes on with the sealed file; one whose spool was lost meanwhile is sealed anew."""
        server = await self.server()
        relay = self.relay(server.port)
        await self.pair(relay.port)
        folder = self.room()
        spool = self.folder / "chats" / "bob" / "files"
        for number, lost in enumerate((False, True), 1):
            path, digest = self.file(f"{number}.bin", 6_000_000 + number)
            words = ("--profile", "bob", "send", "--file", str(path), "@alice", "--wait", "60")
            relay.hold = 3_000_000
            program = self.chat(*words)
            await relay.until(lambda: relay.held, "three million bytes")
            program.kill9()
            await program.end()
            for held in list(relay.held):
                held.end()
            for sealed in spool.iterdir() if lost else ():
                sealed.write_bytes(sealed.read_bytes()[:1_000_000])
            relay.starts = []
            program = self.chat(*words)
            self.assertEqual(await program.end(60), 0, program.told())
            self.assertEqual(relay.starts[0] == 0, lost)
            code, printed = await self.script(f"chat --profile alice get {number + lost} '{folder}' --wait 60")
            self.assertEqual(code, 0, printed)
            self.assertEqual(self.hash_of(folder / path.name), digest)

    async def test_a_server_that_changes_it(self) -> None:
        """A byte changed, or another file in its place: said, and nothing of it stays."""
        server = await self.server()
        await self.pair(server.port)
        for name in ("one.bin", "two.bin"):
            path, _ = self.file(name, 300_000 + len(name) * (name == "two.bin"))
            code, printed = await self.script(f"chat --profile bob send --wait 60 --file '{path}' @alice")
            self.assertEqual(code, 0, printed)
        blobs = sorted(each for each in (self.data / "blobs").rglob("*") if each.is_file() and each.stat().st_size)
        self.assertEqual(len(blobs), 2)
        folder = self.room()
        one, two = (each.read_bytes() for each in blobs)
        for lie in (one[:150_000] + bytes([one[150_000] ^ 1]) + one[150_001:], two):
            blobs[0].chmod(0o600)
            blobs[0].write_bytes(lie)
            code, printed = await self.script(f"chat --profile alice get 1 '{folder}' --wait 3")
            self.assertIn(code, (4, 7), printed)
            self.assertEqual(os.listdir(folder), [])
        blobs[0].write_bytes(one)
        code, printed = await self.script(f"chat --profile alice get 1 '{folder}' --wait 60")
        self.assertEqual((code, printed), (0, [str(folder / "one.bin")]))


class ScreenTests(FilesTestCase):
    """As a person sees it, at 80×24."""

    async def test_progress_and_cancel(self) -> None:
        """A line of progress while typing goes on; /cancel ends it, and the server keeps nothing."""
        server = await self.server()
        relay = self.relay(server.port)
        await self.with_open_room("bob", relay.port)
        path, _ = self.file("trip.bin", 20_000_000)
        relay.hold = 10_000_000
        bob = await self.terminal("--profile", "bob")
        await bob.shows("#ops(admin)", "online")
        await bob.type(f"/send {path}")
        await bob.shows("trip.bin 20.0 MB  [====", "%", "MB/s", "(keep typing)")
        await bob.type("still here")
        await bob.shows("bob: still here  +", "trip.bin 20.0 MB  [====")
        await bob.type("/cancel")
        screen = await bob.shows("trip.bin: stopped.")
        self.assertNotIn("[====", screen)
        await bob.type("/files")
        await bob.shows("No files in #ops.")

    async def test_several_and_quit(self) -> None:
        """Two at once have a line each and a number to cancel; /quit says what is not through, and it goes on."""
        server = await self.server()
        relay = self.relay(server.port)
        await self.with_open_room("bob", relay.port)
        one, digest = self.file("one.bin", 20_000_000)
        two, _ = self.file("two.bin", 21_000_000)
        bob = await self.terminal("--profile", "bob")
        await bob.shows("#ops(admin)", "online")
        for path in (one, two):
            relay.hold = 10_000_000
            await bob.type(f"/send {path}")
            await bob.shows(f"{path.name} 2", "[====")
        await bob.shows("/cancel 1", "/cancel 2")
        await bob.type("/cancel 2")
        await bob.shows("two.bin: stopped.")
        await bob.type("/quit")
        await bob.shows("Bye.", "one.bin: not through yet; it goes on next time.")
        await bob.ends()
        again = await self.terminal("--profile", "bob")
        await again.shows("one.bin 20.0 MB sent to #ops (file 1)")
        folder = self.room()
        await again.type(f"/get 1 {folder}")
        await again.shows("one.bin 20.0 MB saved as")
        self.assertEqual(self.hash_of(folder / "one.bin"), digest)
        self.assertGreater(relay.starts[-2], 0)

    async def test_pictures(self) -> None:
        """A picture is drawn in half blocks at both ends, the original arrives as it is; -1 asks for one (row 14)."""
        server = await self.server()
        await self.with_open_room("bob", server.port)
        await self.registered("alice", server.port)
        await self.script("printf '/join #ops\\n' | chat --profile alice --plain")
        path = self.folder / "a cat.png"
        Image.radial_gradient("L").convert("RGB").save(path)
        bob = await self.terminal("--profile", "bob")
        alice = await self.terminal("--profile", "alice")
        await bob.shows("#ops(admin)", "online")
        await alice.shows("#ops", "online")
        await bob.type(f"/image {path.resolve()} asleep again")
        await bob.shows("a cat.png 12.0 kB sent to #ops (file 1): asleep again", "▀▀▀▀▀▀▀▀")
        await alice.shows("bob: a cat.png", "(file 1: /get 1): asleep again", "▀▀▀▀▀▀▀▀")
        self.assertIn("\x1b[38;5;", await alice.screen(raw=True))
        folder = self.room()
        await alice.type(f"/get 1 {folder}")
        await alice.shows("saved as", "a cat.png")
        self.assertEqual((folder / "a cat.png").read_bytes(), path.read_bytes())
        await bob.type("@#@ENTER A PERSONAL CHAT@#@")
        await bob.shows("To whom?")
        await bob.type("alice")
        await bob.shows("@alice")
        await bob.type("-1")
        await bob.shows("Path to image:")
        await bob.type(str(path.resolve()))
        await bob.shows("sent to @alice (file 2)")
        await bob.type("-1")
        await bob.shows("bob: -1  +")

    async def test_large_files_are_asked_about(self) -> None:
        """Above 100 MB it is asked before anything is fetched."""
        server = await self.server()
        await self.with_open_room("bob", server.port)
        path = self.folder / "large.bin"
        with path.open("wb") as file:
            file.truncate(101_000_000)
        code, printed = await self.script(
            f"""chat --profile bob send --wait 60 --file '{path.resolve()}' '#ops' && cd '{self.room()}' &&
            printf '%s\\n' '/get 1' n | chat --profile bob --plain && ls -A"""
        )
        self.assertEqual(code, 0, printed)
        self.assertEqual(printed[-1], "large.bin is 101.0 MB. Fetch it? [y/N] Not done.")

    async def test_pasted_as_a_file(self) -> None:
        """Many pasted lines go as a file, with f."""
        server = await self.server()
        await self.with_open_room("bob", server.port)
        bob = await self.terminal("--profile", "bob")
        await bob.shows("#ops(admin)", "online")
        await bob.paste("one\ntwo\nthree")
        await bob.shows("Paste 3 lines? [y]es [f]ile [n]o")
        await bob.letters("f")
        await bob.shows("paste-", ".txt 13 bytes sent to #ops (file 1)")
        folder = self.room()
        code, printed = await self.script(f"chat --profile bob get 1 '{folder}' --wait 60")
        self.assertEqual(code, 6, printed)
        await bob.type("/quit")
        await bob.shows("Bye.")
        await bob.ends()
        code, printed = await self.script(f"chat --profile bob get 1 '{folder}' --wait 60")
        self.assertEqual(code, 0, printed)
        self.assertEqual(Path(printed[0]).read_text(), "one\ntwo\nthree")
        self.assertEqual(list((self.folder / "chats" / "bob").glob("files/*")), [])
