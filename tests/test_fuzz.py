"""Any bytes to any dialect: replies and refusals, never anything else, in bounded output; and nobody else notices.

The rule: nothing here knows what the right answer is. A failure that is logged (what a client is told as INTERNAL)
fails the test, an answer that is no line of its dialect fails it, and a connection that does not answer a ping
afterwards fails it.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatd.command import ALIASES, TABLE
from tests.memory import PASSWORD, Client, Server

games = settings(max_examples=30, derandomize=True, database=None, deadline=None)

WORDS = (
    *("alice", "bob", "bbo", "#ops", "#dev", "#new", "#", "@bob", "@", "all", "1", "2", "-1", "0", "y", "n", "x", ""),
    *("--sealed", "--open", "--", "since", "2h", "9999999w", "before", "on", "2026-11-01", "0001-01-01", "open", "ask"),
    *("invite", "alice bob carol", PASSWORD, "wrong", "a" * 33, "é", "🚀", "\x00", "\x1b[2J", "\r", "‮", "١", "%s{0}"),
    *(
        "99999999999999999999",
        "18446744073709551615",
        "-5",
        "1e9",
        "//",
        "/",
        "@#@",
        "@#@message@#@",
        "\ud7ff",
        "ａｌｉｃｅ",
    ),
)
VERBS = (*TABLE, *ALIASES, "nonsense", "")
IAC = b"\xff"

ends = st.sampled_from([b"\r\n", b"\r\n", b"\n", b"\r\x00", b"", b"\r"])
words = st.sampled_from(WORDS)
telnet = st.sampled_from(
    [IAC + bytes((verb, option)) for verb in (251, 252, 253, 254) for option in (0, 1, 3, 31)]
    + [IAC, IAC + IAC, IAC + b"\xf1", IAC + b"\xfa\x1f\x00P\x00\x18" + IAC + b"\xf0", IAC + b"\xfa", b"\xc3", b"\x80"]
)
typed = st.one_of(
    st.builds(
        lambda verb, args: f"/{verb} {' '.join(args)}".encode(), st.sampled_from(VERBS), st.lists(words, max_size=4)
    ),
    st.builds(lambda args: " ".join(args).encode(), st.lists(words, max_size=3)),
    st.sampled_from([b"l", b"r", b"c", b"alice", PASSWORD.encode(), b"", b"", b"@#@CREATE A GROUP@#@", b"x" * 9_000]),
    st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.binary(max_size=40),
    telnet,
)
plain = st.lists(st.builds(lambda line, end: line + end, typed, ends), min_size=1, max_size=14).map(b"".join)

values = st.one_of(
    words,
    st.integers(-(1 << 65), 1 << 65),
    st.sampled_from([0, 1, 2, 1 << 31, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, True, False, None, 1.5, 1e300, -0.0]),
    st.sampled_from([[], {}, [[]], ["bob"], ["bob", 7], [None], {"a": 1}, "x" * 5_000, "f" * 64, [[[[[[[[1]]]]]]]]]),
    st.text(max_size=20),
)
mids = st.sampled_from([f"0190f7a2-0000-7000-8000-00000000000{number}" for number in range(3)])


@st.composite
def calls(draw: Any) -> bytes:
    """A line that is nearly a call."""
    fields: dict[str, Any] = {}
    verb = draw(st.sampled_from(VERBS))
    if draw(st.integers(0, 20)):
        fields["do"] = verb
    entry = TABLE.get(ALIASES.get(verb, verb))
    names = [] if entry is None else [*entry.shapes, *(["room"] if entry.about_room else [])]
    for name in names:
        if draw(st.integers(0, 3)):
            fields[name] = draw(values)
            if entry is not None and entry.shapes.get(name) == "map" and draw(st.booleans()):
                fields[name] = draw(st.dictionaries(words, words, max_size=3))
            if name == "people" and draw(st.booleans()):
                fields[name] = draw(st.lists(words, max_size=3))
    if "room" in names and draw(st.booleans()):
        fields["room"] = draw(st.sampled_from(["#ops", "#dev", "ops", "@bob", 1, 2, 3, 4]))
    if draw(st.booleans()):
        fields["id"] = draw(st.one_of(st.integers(0, 9), values))
    if draw(st.integers(0, 3)) == 0:
        fields["mid"] = draw(st.one_of(mids, values))
    if draw(st.integers(0, 9)) == 0:
        fields[draw(words)] = draw(values)
    line = json.dumps(fields).encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 15)) == 0:
        at = draw(st.integers(0, len(line)))
        line = line[:at] + draw(st.binary(max_size=4)) + line[at + draw(st.integers(0, 3)) :]
    return line


broken = st.sampled_from([b"", b"{}", b"[]", b"null", b"{" * 300])
objects = st.lists(
    st.one_of(calls(), calls(), calls(), st.binary(max_size=30), broken)
    .map(lambda line: line + b"\n"),
    min_size=1,
    max_size=14,
).map(lambda lines: b'{"do":"ping"}\n' + b"".join(lines))  # fmt: skip

CONTROLS = re.compile(rb"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n")
OPTIONS = re.compile(rb"\xff[\xfb-\xfe].")
TOKEN = re.compile(rb"[0-9a-f]{64}")


class FuzzTests(SynchronousTestCase):
    """Nonsense, and what is nearly none."""

    def server(self) -> Server:
        """A server with alice and bob in #ops, and carol, who listens."""
        server = Server(Path(self.mktemp()))
        carol = server.program("carol")
        carol.call(do="create", room="#ops")
        for name in ("alice", "bob"):
            server.program(name).lose()
            carol.call(do="add", room="#ops", user=name)
        carol.call(do="promote", room="#ops", user="alice")
        carol.events()
        self.carol = carol
        return server

    def feed(self, data: bytes, *, dialect: str, inside: bool, one_by_one: bool) -> tuple[bytes, list[Any]]:
        """What comes back for these bytes, and what of them is in the log."""
        server = self.server()
        try:
            client = server.connect()
            if inside and dialect == "plain":
                client.type(f"/login alice {PASSWORD}")
                client.read()
            elif inside:
                client.call(do="login", name="alice", password=PASSWORD)
                client.read()
            if one_by_one:
                client.trickle(data)
            else:
                client.send(data)
            answered = client.read()
            self.assertEqual(self.flushLoggedErrors(), [])
            self.pings(client, dialect)
            self.assertEqual(self.carol.code(do="say", room="#ops", text="still here"), "ok")
            self.assertEqual(self.flushLoggedErrors(), [])
            log = server.sql("SELECT kind, room, author, target, mid, text, data, sealed FROM event")
            return answered, log
        finally:
            server.stop()
            shutil.rmtree(server.data)

    def pings(self, client: Client, dialect: str) -> None:
        """The connection still answers, or was closed."""
        if dialect == "plain":
            client.send(IAC + b"\xf0\r\n\r\n\r\n/ping 12345\r\n")
            answer = b"pong 12345"
        else:
            client.send(b'\n{"id":"last","do":"ping","token":12345}\n')
            answer = b'{"re":"last","ok":{"token":12345'
        self.assertTrue(client.closed or answer in client.read())

    def check(self, data: bytes, *, dialect: str, inside: bool) -> None:
        """These bytes are answered, fed in one piece and byte by byte, and do the same either way."""
        whole, log = self.feed(data, dialect=dialect, inside=inside, one_by_one=False)
        trickled, other_log = self.feed(data, dialect=dialect, inside=inside, one_by_one=True)
        self.assertEqual(other_log, log)
        for answered in (whole, trickled):
            # the longest answer to a line is the table of commands
            self.assertLess(len(answered), 25_000 * (data.count(b"\n") + data.count(b"\x00") + 2) + 12 * len(data))
            if dialect == "plain":
                self.assertIsNone(CONTROLS.search(OPTIONS.sub(b"", answered)), answered)
            else:
                for line in answered.splitlines():
                    found = json.loads(line)
                    self.assertTrue({"re", "ev"} & found.keys(), found)
                    self.assertNotEqual(found.get("error", {}).get("code"), "INTERNAL")
        if dialect == "json":
            answers = [self.answers(answered) for answered in (whole, trickled)]
            self.assertEqual(answers[0], answers[1])

    def answers(self, data: bytes) -> list[Any]:
        """The answers among these lines, without what is random or true only at one moment."""
        found = [json.loads(TOKEN.sub(b"token", line)) for line in data.splitlines()]
        return [(one["re"], one.get("as"), one.get("error", {}).get("code")) for one in found if "re" in one]

    @given(plain)
    @example(b"\xff\xfa" + b"x" * 2_000 + b"\xff\xf0\r\n")
    @example(b"x" * 9_000)
    @example(b"/login alice wrong\n" * 5)
    @games
    def test_plain_at_the_door(self, data: bytes) -> None:
        """What people, and what is no people, may send before anybody is logged in."""
        self.check(b"/ping\r\n" + data, dialect="plain", inside=False)

    @given(plain)
    @example(b"/join #ops\r\n/transfer\r\nbob\r\ny\r\n")
    @example(b"/create\r\n#x\r\n-1 -1\r\n")
    @games
    def test_plain_inside(self, data: bytes) -> None:
        """What a person may send."""
        self.check(data, dialect="plain", inside=True)

    @given(objects)
    @example(b'{"id":' + b"[" * 400 + b"]" * 400 + b',"do":"ping"}\n')
    @example(b'{"do":"ping"}\n{"do":"say","room":18446744073709551615,"text":"x"}\n')
    @games
    def test_json_at_the_door(self, data: bytes) -> None:
        """What programs may send before anybody is logged in."""
        self.check(data, dialect="json", inside=False)

    @given(objects)
    @example(b'{"do":"say","room":18446744073709551615,"text":"x"}\n{"do":"say","room":"#ops","text":"y"}\n')
    @example(b'{"do":"history","room":"#ops","since":"999999w","on":"0001-01-01"}\n')
    @games
    def test_json_inside(self, data: bytes) -> None:
        """What a program may send."""
        self.check(data, dialect="json", inside=True)

    @given(st.binary(max_size=300))
    @games
    def test_anything(self, data: bytes) -> None:
        """What is no dialect at all: whatever the first line is taken for, the others are not disturbed."""
        server = self.server()
        try:
            for one_by_one in (False, True):
                client = server.connect()
                if one_by_one:
                    client.trickle(data)
                else:
                    client.send(data)
                client.finish()
                self.assertTrue(client.closed)
                self.assertLess(len(client.read()), 2_000 * (data.count(b"\n") + data.count(b"\x00") + 2))
            self.assertEqual(self.carol.code(do="say", room="#ops", text="still here"), "ok")
            self.assertEqual(self.flushLoggedErrors(), [])
        finally:
            server.stop()
            shutil.rmtree(server.data)
