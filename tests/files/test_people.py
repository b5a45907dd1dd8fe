"""What people are shown, the lines that they run, and what the operator reads."""

from __future__ import annotations

import os
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.logger import formatEvent, globalLogPublisher

from tests.files.world import DATA, MID, NASTY, Base, sha, ticket_in
from tests.memory import PASSWORD


class LinesTests(Base):
    """What people are shown, and the lines that they run."""

    def setUp(self) -> None:
        super().setUp()
        self.dave = self.server.person("dave")
        self.alice.call(do="add", room="#ops", user="dave")
        self.dave.lines()

    def shell(self, line: str, answer: bytes, folder: Path) -> tuple[bytes, bytes]:
        """Run a line in a shell, its nc replaced by one that answers this; what nc was given, and what was printed."""
        folder = folder.absolute()
        folder.mkdir(exist_ok=True)
        (folder / "answer").write_bytes(answer)
        tool = folder / "nc"
        tool.write_text(
            f"#!/bin/sh\ncat >{shlex.quote(str(folder / 'given'))}\ncat {shlex.quote(str(folder / 'answer'))}\n"
        )
        tool.chmod(0o755)
        env = {"PATH": f"{folder.absolute()}:/usr/bin:/bin", "HOME": str(folder.absolute())}
        done = subprocess.run(
            ["/bin/sh", "-c", line], cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        return (folder / "given").read_bytes(), done.stdout

    def test_send(self) -> None:
        """`/send` and `/9` answer a line which tells size and digest; after a cut it goes on where the bytes end."""
        for typed in ("/send ~/b c.txt", "/9 ~/b c.txt"):
            before, line, after = self.dave.type(typed)
            self.assertRegex(before, r"^To send b c.txt, run this in a shell before \d\d:\d\d:$")
            self.assertEqual(after, "Cut? /send ~/b c.txt again goes on where it stopped.")
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "b c.txt").write_bytes(DATA)
        said = f"RAW {ticket_in([line])} 0 {len(DATA)} {sha(DATA)} -\n".encode()
        self.assertEqual(self.shell(line, b"", folder)[0], said + DATA)
        raw = self.server.connect()
        raw.send(said + DATA[:1_000])
        raw.cut()
        line = self.dave.type("/send ~/b c.txt")[1]
        self.assertIn(" 1000 ", line)
        given, _ = self.shell(line, b"", folder)
        raw = self.server.connect()
        raw.send(given)
        self.assertEqual(raw.read(), b"b c.txt 0.3 MB sent to #ops (file 1)\n")
        self.assertEqual(self.dave.lines(), ["b c.txt 0.3 MB sent to #ops (file 1)"])
        self.assertRegex(self.server.back("dave").lines()[-1], "^Now in #ops")

    def test_another_file(self) -> None:
        """Where the file has changed since the cut, that is said, and the next line begins anew."""
        for data, start, words in (
            (DATA, 0, b""),
            (DATA[::-1], 1_000, b"What came is not what was to come. Nothing was kept; send it again.\n"),
            (DATA[::-1], 0, b"a.bin 0.3 MB sent to #ops (file 1)\n"),
        ):
            ticket = ticket_in(self.dave.type("/send a.bin"))
            raw = self.raw(ticket, words=f" {start} {len(data)} {sha(data)}")
            raw.send(data[start:] if words else data[:1_000])
            self.assertEqual(raw.read(), words)
            if not words:
                raw.cut()
        self.assertEqual(self.differences(), [])

    def test_another_file_at_the_last_moment(self) -> None:
        """Where another file is sent under the same name while the last bytes of the first are given their place, the
        room is told of none whose bytes are gone.
        """
        first, second = (ticket_in(self.dave.type("/send a.bin")) for _ in range(2))
        raw = self.raw(first, words=f" 0 {len(DATA)} {sha(DATA)}")
        raw.send(DATA[:1_000])
        self.server.advance(3)
        raw.send(DATA[1_000:2_000])
        self.server.files.hold()
        raw.send(DATA[2_000:])
        while not self.server.blobs.path(1).exists():
            self.server.files.step()
        self.raw(second, words=f" 0 5 {sha(b'other')}")
        self.server.files.release()
        self.settle(None)
        self.assertEqual(raw.read(), b"What came is not what was to come. Nothing was kept; send it again.\n")
        self.assertEqual((self.differences(), self.server.sql("SELECT seq FROM event WHERE kind = 'file'")), ([], []))

    def test_get(self) -> None:
        """`/get 1` answers a line that fetches the rest, checks it and writes over nothing."""
        self.bring(name="cat 'n' dog.bin")
        self.assertRegex(self.dave.lines()[0], r"^\d\d:\d\d <alice> cat 'n' dog.bin 0.3 MB \(file 1: /get 1\)$")
        before, line, after = self.dave.type("/get 1")
        self.assertRegex(before, r"^To fetch cat 'n' dog.bin \(0.3 MB\), run this in a shell before \d\d:\d\d:$")
        self.assertEqual(after, "Cut? /get 1 again goes on where it stopped.")
        folder = Path(self.mktemp())
        given, out = self.shell(line, b"OK\n" + DATA[:1_000], folder)
        self.assertEqual(given, f"RAW {ticket_in([line])} 0\n".encode())
        self.assertIn(b"FAILED", out)
        raw = self.server.connect()
        raw.send(given)
        self.settle(None)
        self.assertEqual(raw.read(), b"OK\n" + DATA)
        line = self.dave.type("/get 1")[1]
        raw = self.raw(ticket_in([line]), words=" 1000")
        self.settle(None)
        self.shell(line, b"a banner\r\nPress: \n" + raw.read(), folder)
        self.assertEqual((folder / "cat 'n' dog.bin").read_bytes(), DATA)
        (folder / "cat 'n' dog.bin").write_bytes(b"mine")
        self.shell(line, b"OK\n" + DATA, folder)
        self.assertEqual((folder / "cat 'n' dog.bin").read_bytes(), b"mine")
        _, out = self.shell(self.dave.type("/get 1")[1], self.raw("0" * 32, words=" 5").read(), folder)
        self.assertIn(b"That ticket is used up.\n", out)
        _, line, after = self.dave.type("/get 1 ~/Down")
        self.assertIn("f=~/Down/", line.replace("'", ""))
        self.assertEqual(after, "Cut? /get 1 ~/Down again goes on where it stopped.")

    def test_names(self) -> None:
        """Whatever a name says, it is shown as text, is no part of a path here, and runs nothing in a shell."""
        self.bring(name=NASTY)
        shown = self.dave.lines()
        self.assertEqual(len(shown), 1)
        self.assertTrue(shown[0].isprintable())
        self.assertEqual({path.parent.name for _, path in self.server.blobs.found()}, {"01"})
        self.assertEqual(self.bob.call(do="files", room="#ops")["ok"]["files"][0]["name"], NASTY)
        line = self.dave.type("/get 1")[1]
        folder = Path(self.mktemp())
        self.shell(line, b"OK\n" + DATA, folder)
        made = [path for path in folder.iterdir() if path.name not in ("nc", "given", "answer")]
        self.assertEqual([path.read_bytes() for path in made], [DATA])
        self.assertLess(len(os.fsencode(made[0].name)), 256)
        for path in ("../../x$(touch pwned)`touch pwned`.txt", "-rf", "~root/x", "a'b\\c\"d.txt"):
            line = self.dave.type(f"/send {path}")[1]
            self.shell(line, b"", folder)
        self.assertEqual([path.name for path in folder.iterdir() if "pwned" in path.name], [])

    def test_image(self) -> None:
        """`/image` takes a caption, which stands behind the name."""
        ticket = ticket_in(self.dave.type("/image cat.png our cat"))
        self.raw(ticket, words=f" 0 3 {sha(b'cat')} -").send(b"cat")
        self.assertEqual(self.dave.lines(), ["cat.png 3 bytes sent to #ops (file 1): our cat"])

    def test_files(self) -> None:
        """`/files` lists what there is, and what is on its way."""
        self.assertEqual(self.dave.type("/files"), ["No files in #ops."])
        self.bring()
        self.dave.lines()
        self.dave.type("/send b.txt")
        one, two = self.dave.type("/files")
        self.assertRegex(one, r"^1 a.bin 0.3 MB alice \d{4}-\d\d-\d\d \d\d:\d\d$")
        self.assertEqual(two, "2 b.txt 0 bytes sent so far")
        self.assertEqual(self.dave.type("/cancel 2"), ["b.txt is not sent."])
        mine = "alice sent file 1. Only who sent a file can take it back."
        self.assertEqual(self.dave.type("/cancel 1"), [mine])
        self.assertEqual(self.server.person("erin").type("/cancel 1"), ["No such file: 1."])
        self.alice.call(do="cancel", file=1)
        self.assertEqual(self.dave.lines(), ["alice took back file 1 in #ops."])
        self.assertEqual(self.dave.type("/files"), ["No files in #ops."])
        self.assertEqual(self.dave.type("/get 1"), ["No such file: 1."])

    def test_history(self) -> None:
        """A file is something that somebody said: it stands in the history, is found by its name, and is counted among
        what was missed; one that is gone says so.
        """
        self.dave.hang_up()
        self.bring(caption="hm")
        self.alice.call(do="say", room="#ops", text="there")
        self.dave = self.server.back("dave")
        lines = "\n".join(self.dave.lines())
        self.assertIn("Groups: #ops (2 new)\n2 messages while you were away (#ops 2)\n", lines)
        self.assertRegex(lines, r"<alice> a.bin 0.3 MB \(file 1: /get 1\): hm\n")

        def said(typed: str = "/history") -> list[str]:
            return [line.partition(":")[2].partition(": ")[2] for line in self.dave.type(typed)]

        self.assertEqual(said(), ["a.bin 0.3 MB (file 1: /get 1): hm", "there"])
        self.assertRegex(self.dave.type("/search A.BI")[0], r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d alice: a.bin 0.3 MB ")
        self.bring(data=b"other", name="b.txt")
        self.alice.call(do="cancel", file=2)
        self.dave.lines()
        self.assertEqual(said("/history 1"), ["(file 2: taken back)"])
        self.server.advance(31 * 86_400)
        self.sweep()
        self.dave = self.server.back("dave")
        self.dave.lines()
        self.assertEqual(said(), ["a.bin 0.3 MB (file 1: no longer kept): hm", "there", "(file 2: taken back)"])

    def test_nothing_is_asked_twice(self) -> None:
        """What is missing is asked for."""
        self.assertEqual(self.dave.type("/send"), ["Path: "])
        self.assertIn("To send x.txt", self.dave.type("x.txt")[0])
        self.assertEqual(self.dave.type("/get"), ["File: "])
        self.assertEqual(self.dave.type("1"), ["No such file: 1."])

    def test_to_one_person(self) -> None:
        """A file to one person, who is not there: it is shown at their next login, to the sender at once."""
        self.dave.hang_up()
        erin = self.server.person("erin")
        erin.type("/dm dave")
        self.raw(ticket_in(erin.type("/send a.txt")), words=f" 0 3 {sha(b'abc')} -").send(b"abc")
        self.assertEqual(erin.lines(), ["a.txt 3 bytes sent to @dave (file 1)"])
        dave = self.server.back("dave")
        self.assertRegex("\n".join(dave.lines()), r"\d\d:\d\d \[erin\] a.txt 3 bytes \(file 1: /get 1\)")

    def test_elsewhere(self) -> None:
        """The operator may name the command by which a shell gets here; by TLS it is openssl by itself."""
        secure = self.server.connect(secure=True)
        secure.type(f"/login dave {PASSWORD}")
        secure.type("/join #ops")
        self.assertIn("| openssl s_client -quiet -connect 10.0.0.1:12345", secure.type("/send a")[1])
        self.server.factory.reload(replace(self.server.instance.settings, reach="ssh chat nc ::1 8000"))
        self.assertTrue(secure.type("/send a")[1].endswith("| ssh chat nc ::1 8000"))

    def test_irc(self) -> None:
        """On IRC a file is a notice in the group, with what to say in order to have it."""
        erin = self.server.connect()
        erin.send(b"CAP REQ :draft/account-registration\r\nREGISTER * * Correct7horse\r\n")
        erin.read()
        irc = self.server.connect()
        irc.send(b"PASS dave:Correct7horse\r\nNICK dave\r\nUSER d 0 * :d\r\n")
        irc.read()
        self.bring(caption="hm")
        self.assertEqual(irc.read(), b":alice!alice@chatd NOTICE #ops :a.bin 0.3 MB (file 1: /msg chatd get 1): hm\r\n")
        irc.send(b"PRIVMSG chatd :get 1\r\n")
        self.assertIn(b"RAW ", irc.read())
        irc.send(b"CHATHISTORY LATEST #ops * 5\r\n")
        self.assertIn(b":alice!alice@chatd NOTICE #ops :a.bin 0.3 MB (file 1: /msg chatd get 1): hm\r\n", irc.read())
        other = self.server.connect()
        wanted = b"CAP REQ :draft/chathistory message-tags batch server-time\r\n"
        other.send(wanted + b"PASS dave:Correct7horse\r\nNICK dave\r\nUSER d 0 * :d\r\nCAP END\r\n")
        self.assertNotIn(b"a.bin", other.read())  # what it missed it fetches by itself
        other.hang_up()
        self.bring(name=NASTY)
        irc.read()
        irc.send(b"PRIVMSG chatd :get 2\r\n")
        line = next(line for line in irc.read().split(b"\r\n") if b"RAW " in line)
        self.assertLess(len(line), 510)
        self.assertTrue(line.endswith(b'mv -n "$f.part" "$f"'), line)

    def test_sealed_rooms_are_closed_to_them(self) -> None:
        """Where only ciphertext goes, nothing is offered that would send plain bytes."""
        self.server.sql("UPDATE room SET sealed = 1 WHERE name = '#ops'")
        words = "#ops is end-to-end encrypted; this connection cannot decrypt. Use chat."
        for typed in ("/send a", "/image a"):
            self.assertEqual(self.dave.type(typed), [words])


class LogTests(Base):
    """The operator's log (FEATURES row 52)."""

    def setUp(self) -> None:
        super().setUp()
        self.audited: list[str] = []

        def observe(event: Any) -> None:
            if event.get("what") == "file.transfer":
                self.audited.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)

    def test_the_line(self) -> None:
        """Who sent what where, how much, what came of it, and how long it took."""
        raw = self.raw(self.begin(self.bob, data=b"x" * 2_100_000, name="report.pdf")["ok"]["ticket"])
        self.server.advance(1.4)
        raw.send(b"x" * 2_100_000)
        self.fetch(self.alice, 1, start=0)
        self.raw(self.begin(mid=MID)["ok"]["ticket"]).cut()
        self.raw("0" * 32)
        self.assertEqual(
            self.audited,
            [
                "file.transfer   #ops bob report.pdf 2.1MB ok 1.4s",
                "file.transfer   #ops alice report.pdf 2.1MB fetched 0.0s",
                "file.transfer   #ops alice a.bin 0.3MB cut 0.0s",
            ],
        )

    def test_names_cannot_forge_lines(self) -> None:
        """A name with line ends in it is one line of the log."""
        self.bring(name=NASTY)
        self.assertEqual(len(self.audited), 1)
        self.assertTrue(self.audited[0].isprintable())
