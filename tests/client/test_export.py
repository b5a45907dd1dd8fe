"""/export in chat: a whole room's past in a file, in three forms, and nothing half."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from chatd.texts.keeping import FORMATS
from tests.client.inmemory import ChatTestCase


class ExportTests(ChatTestCase):
    """Two people in a room, and one who takes its past along."""

    def setUp(self) -> None:
        super().setUp()
        self.bob, self.alice = self.pair()
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        here = os.getcwd()
        os.chdir(self.folder)
        self.addCleanup(os.chdir, here)

    def test_three_forms(self) -> None:
        """Everything that was said is in the file, in order, with who said it; the format is the name's end."""
        self.bob.type("<b>hello</b>")
        self.alice.type("hi bob")
        for form in FORMATS:
            self.bob.type(f"/export talk.{form}")
            self.assertRegex(self.bob.seen[-1], rf"^\d+ lines of #\w+ in talk\.{form}\.$")
        text = Path("talk.txt").read_text()
        self.assertRegex(text, r"(?m)^\S+ \S+ bob: <b>hello</b>\n\S+ \S+ alice: hi bob$")
        objects = [json.loads(line) for line in Path("talk.jsonl").read_text().splitlines()]
        said = [(each["by"], each["text"]) for each in objects if each["ev"] == "say"]
        self.assertEqual(said[-2:], [("bob", "<b>hello</b>"), ("alice", "hi bob")])
        page = Path("talk.html").read_text()
        self.assertIn("<b>bob</b> &lt;b&gt;hello&lt;/b&gt;</p>", page)
        self.assertEqual(Path("talk.txt").stat().st_mode & 0o777, 0o600)

    def test_more_than_a_page(self) -> None:
        """A long past comes page by page, and whole."""
        self.bob.type("/create --open #open alice")
        self.bob.type("/switch #open")
        for number in range(1_100):
            self.alice.chat.link.call({"do": "say", "room": "#open", "text": f"line {number}"})
        self.settle()
        self.bob.type("/export all.txt")
        lines = re.findall(r"alice: line (\d+)$", Path("all.txt").read_text(), re.MULTILINE)
        self.assertEqual(lines, [str(number) for number in range(1_100)])

    def test_a_room_that_was_left(self) -> None:
        """What was said there while one was in it is written, opened; one that one was never in is refused."""
        self.bob.type("/create --sealed #sealed alice")
        self.bob.type("/switch #sealed")
        self.bob.type("psst")
        self.alice.type("/leave #sealed")
        self.bob.type("alone at last")
        self.alice.type("/export #sealed mine.txt")
        self.assertRegex(self.alice.seen[-1], r"^\d+ lines of #sealed in mine\.txt\.$")
        text = Path("mine.txt").read_text()
        self.assertRegex(text, "bob: psst\n")
        self.assertNotIn("alone", text)
        self.bob.type("/create --open #others")
        self.alice.type("/export #others theirs.txt")
        self.assertRegex(self.alice.seen[-1], r"^Not exported to theirs\.txt: You are not in #others\.")
        self.alice.pull()
        self.alice.type("/export #sealed mine.txt")
        self.assertRegex(self.alice.seen[-1], "^Offline")
        self.assertEqual(sorted(path.name for path in Path().iterdir()), ["mine.txt"])

    def test_never_over_another_file(self) -> None:
        """What is there stays; without a name it is the room's and the day's."""
        for _ in range(2):
            self.bob.type("/export")
        names = sorted(path.name for path in Path().iterdir())
        self.assertEqual(len(names), 2)
        self.assertRegex(names[0], r"^\w+-\d{4}-\d\d-\d\d \(1\)\.txt$")
        self.assertEqual(names[1], names[0].replace(" (1)", ""))

    def test_not_possible(self) -> None:
        """No such folder, no such format: said, and nothing is left behind."""
        self.bob.type("/export /no/such/folder/a.txt")
        self.assertRegex(self.bob.seen[-1], r"^Not exported to /no/such/folder/a\.txt: No such file or directory$")
        self.bob.type("/export talk.doc")
        self.assertEqual(self.bob.seen[-1], "Usage: /export [txt|jsonl|html, or a path that ends so]")
        self.assertEqual(list(Path().iterdir()), [])

    def test_cut(self) -> None:
        """The cable is pulled meanwhile: no half file is left, and it is said."""
        self.bob.type("/export talk.txt", settle=False)
        self.bob.pull()
        self.settle()
        self.assertEqual(list(Path().iterdir()), [])
        self.assertTrue(any("Not exported to talk.txt: the connection was cut." in row for row in self.bob.seen))

    def test_what_a_server_puts_into_a_sealed_room(self) -> None:
        """Clear text that a server says was said in a sealed room is no more written than it is shown."""
        self.bob.type("/create --sealed #sealed alice")
        for person in (self.bob, self.alice):
            person.type("/switch #sealed")
        self.alice.type("for members only")
        self.server.db.write(lambda tx: tx._run("UPDATE event SET text = 'forged', sealed = NULL WHERE kind = 'say'"))
        self.settle()
        self.bob.type("/export mine.txt")
        self.assertIn("alice: for members only", Path("mine.txt").read_text())
        self.bob.store.forget_events()
        self.bob.type("/export theirs.txt")
        text = Path("theirs.txt").read_text()
        self.assertIn(" alice: ", text)
        self.assertNotIn("forged", text)

    def test_what_the_server_has_blanked(self) -> None:
        """A line that is kept here and nowhere else any more is in my file as I read it."""
        self.alice.type("remember this")
        self.server.db.write(lambda tx: tx.blank(range(1, tx.last_seq() + 1)))
        self.settle()
        self.bob.type("/export talk.txt")
        self.assertIn("alice: remember this", Path("talk.txt").read_text())
