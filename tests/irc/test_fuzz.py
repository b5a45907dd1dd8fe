"""Whatever bytes come as IRC, there are answers or refusals, and nothing else."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatd.wire.irc.line import Line, clean, dump, escape, parse, pieces, unescape
from chatd.wire.irc.terms import CAPS
from chatd.wire.irc.verbs import VERBS
from tests.irc.talk import Irc, serve

WORDS = st.sampled_from(
    [
        "#ops",
        "#x,#y",
        "alice",
        "bob",
        "chatd",
        "*",
        "+o",
        "-A+b",
        "b",
        "LS",
        "REQ",
        ":",
        "@",
        "msgid=3",
        "LATEST",
        "5",
        "timestamp=2026-11-21T12:00:00.000Z",
        "C",
        "S",
        "+x",
        "-x",
        "draft/multiline",
        "0",
        ">1",
        "EXTERNAL",
        "PLAIN",
    ]
)
TEXT = st.text(st.characters(blacklist_characters="\n"), max_size=40)
LINES = st.builds(
    lambda tags, verb, params, text: f"{tags}{verb} {' '.join(params)} :{text}",
    st.sampled_from(["", "@label=7 ", "@a;label=x;b= ", "@ ", "@+typing=active ", "@batch=x "]),
    st.sampled_from([*sorted({*VERBS} - {"QUIT"}), "APPROVE", "DOOR", "HISTORY", "", "x"]) | TEXT,
    st.lists(WORDS | TEXT, max_size=4),
    TEXT | st.sampled_from([" ".join(CAPS), "help", "door #ops open", "\x01ACTION x\x01"]),
)


class FuzzTests(SynchronousTestCase):
    """Random conversations."""

    @given(st.lists(LINES, max_size=25), st.booleans(), st.binary(max_size=60))
    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    def test_conversation(self, lines: list[str], capable: bool, bytes_: bytes) -> None:
        """Somebody who talks nonsense breaks nothing, and every line that comes back is one of IRC's."""
        with tempfile.TemporaryDirectory() as folder:
            server = serve(Path(folder), guests=True)
            try:
                alice, bob = Irc(server), Irc(server)
                alice.send("NICK anna", "USER a 0 * :a", "JOIN #ops")
                if capable:
                    bob.send(f"CAP REQ :{' '.join(CAPS)}", "CAP END")
                bob.send("NICK bert", "USER b 0 * :b", "JOIN #ops")
                for line in lines:
                    bob.client.send(line.encode("utf-8", "surrogatepass") + b"\r\n")
                bob.client.send(bytes_ + b"\r\n")
                bob.send("PING end")
                server.advance(1)
                self.assertEqual(self.flushLoggedErrors(), [])
                out = alice.client.read() + bob.client.read()
                for found in out.split(b"\r\n"):
                    self.assertNotRegex(found, rb"[\x00\r\n]")
                    body = found.partition(b" ")[2] if found.startswith(b"@") else found
                    self.assertLessEqual(len(body), 510)
                if not bob.client.closed:
                    self.assertIn(b"PONG chatd :end", out)
            finally:
                server.stop()

    @given(st.text(), st.integers(5, 60))
    def test_pieces(self, text: str, size: int) -> None:
        """Pieces fit and lose nothing but spaces at which they were cut."""
        found = list(pieces(clean(text), size))
        self.assertTrue(all(len(piece.encode()) <= size for piece in found))
        self.assertEqual("".join(found).replace(" ", ""), clean(text).replace(" ", ""))

    @given(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00")))
    def test_tags(self, value: str) -> None:
        """A tag's value comes back as it went, and is one line."""
        self.assertEqual(unescape(escape(value)), value)
        line = dump([Line("X", (("a", value), ("b", "")))]).decode()
        self.assertEqual(line.count("\n"), 1)
        self.assertEqual(parse(line[:-2]).tags, {"a": value, "b": ""})
