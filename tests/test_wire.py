"""Bytes to calls and events to bytes: each dialect, whatever way TCP cuts what it is fed.

The rule: one list of cases drives every way of feeding: whole, byte by byte, cut in two anywhere, with the beginning
of a next line behind it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chatd import commands  # noqa: F401  (the table fills)
from chatd.errors import Refusal
from chatd.limits import Limits
from chatd.model import Ask, Call, Event, Kind, Reply, Room
from chatd.wire.dialect import Dialect
from chatd.wire.framing import Lines, Overlong
from chatd.wire.jsonl import Json
from chatd.wire.plain import Plain

MID = "0190f7a2-0000-7000-8000-000000000001"
LIMITS = Limits(line_bytes=96)
LONG = "LINE_TOO_LONG"
IAC, DONT, DO, WONT, WILL, SB, SE = (bytes((code,)) for code in (255, 254, 253, 252, 251, 250, 240))
BINARY, ECHO, TIMING_MARK, NAWS = b"\x00", b"\x01", b"\x06", b"\x1f"


def say(text: str) -> Call:
    """What a typed line that is no command asks for."""
    return Call("say", {"text": text})


PLAIN: list[tuple[str, bytes, list[Any], bytes]] = [
    # what is typed
    ("nothing", b"", [], b""),
    ("CR LF", b"hi\r\n", [say("hi")], b""),
    ("bare LF", b"hi\n", [say("hi")], b""),
    ("CR NUL", b"hi\r\x00", [say("hi")], b""),
    ("three ends of line", b"a\r\nb\nc\r\x00d\r\n", [say("a"), say("b"), say("c"), say("d")], b""),
    ("empty lines ask for nothing", b"\r\n\n\r\x00  \r\n", [], b""),
    ("an unfinished line is no line", b"a\r\nb", [say("a")], b""),
    ("NUL inside is shown as what it is not", b"a\x00b\n", [say("a\ufffdb")], b""),
    ("CR inside stays", b"a\rb\n", [say("a\rb")], b""),
    ("UTF-8", "señor 🚀 ü\r\n".encode(), [say("señor 🚀 ü")], b""),
    ("what is no UTF-8", b"a\x80\xc3\r\n", [say("a\ufffd\ufffd")], b""),
    ("as long as may be", b"x" * 95 + b"\r\n", [say("x" * 95)], b""),
    ("one byte more", b"x" * 97 + b"\n/quit\r\n", [LONG, Call("quit", {})], b""),
    ("too long: no part is a command", b"/quit " * 200 + b"\n/menu\n", [LONG, Call("menu", {})], b""),
    ("too long twice", b"y" * 300 + b"\r\n" + b"z" * 300 + b"\r\nhi\r\n", [LONG, LONG, say("hi")], b""),
    ("too long without an end", b"y" * 300, [LONG], b""),
    # commands
    ("a command", b"/join #ops\r\n", [Call("join", {"room": "#ops"})], b""),
    ("capitals", b"/JOIN #ops\r\n", [Call("join", {"room": "#ops"})], b""),
    (
        "a room first",
        b"/kick #ops bob spam spam\n",
        [Call("kick", {"user": "bob", "reason": "spam spam"}, "#ops")],
        b"",
    ),
    ("numbers of an older system", b"/8 bob\n/4\n", [Call("kick", {"user": "bob"}), Call("members", {})], b""),
    ("unknown", b"/aprove bob\n", ["UNKNOWN_CMD"], b""),
    ("too many words", b"/join #ops #dev\n", ["BAD_USAGE"], b""),
    ("//x says /x", b"//join #ops\n", [say("/join #ops")], b""),
    ("a bare slash", b"/\n", ["UNKNOWN_CMD"], b""),
    ("to one person", b"@bob hi there\n", [Call("msg", {"user": "bob", "text": "hi there"})], b""),
    ("to one person, nothing", b"@bob\n", [Call("msg", {"user": "bob", "text": ""})], b""),
    ("an old name", b"@#@CREATE A GROUP@#@ #ops\n", [Call("create", {"room": "#ops"})], b""),
    ("an old name without a blank", b"@#@message@#@hi\n", [say("hi")], b""),
    ("an old name that was none", b"@#@DANCE@#@\n", ["UNKNOWN_CMD"], b""),
    ("-1 is text", b"-1\n", [say("-1")], b""),
    ("# is text", b"#ops hi\n", [say("#ops hi")], b""),
    ("keywords", b"/history 5 since 2h\n", [Call("history", {"count": "5", "since": "2h"})], b""),
    (
        "flags and a list",
        b"/create --open #a bob carol\n",
        [Call("create", {"open": True, "room": "#a", "people": ["bob", "carol"]})],
        b"",
    ),
    # telnet
    (
        "telnet options are refused",
        IAC + WILL + NAWS + IAC + DO + NAWS + b"hi\r\n",
        [say("hi")],
        IAC + DONT + NAWS + IAC + WONT + NAWS,
    ),
    ("WILL", IAC + WILL + NAWS, [], IAC + DONT + NAWS),
    ("DO", IAC + DO + NAWS, [], IAC + WONT + NAWS),
    ("our own ECHO is agreed to, eight bits are asked for once", (IAC + DO + ECHO) * 2, [], IAC + DO + BINARY),
    (
        "a letter that seven bits take for Ctrl-Z",
        b"\xf0\x9f" + IAC + b"\xed" + IAC + DO + TIMING_MARK + b"\x80\n",
        [say("\ufffd")],
        IAC + WONT + TIMING_MARK + IAC + DO + BINARY,
    ),
    ("eight bits are agreed to", IAC + WILL + BINARY + "Ü🚀\r\n".encode(), [say("Ü🚀")], IAC + DO + BINARY),
    ("eight bits that were asked for", (IAC + DO + ECHO + IAC + WILL + BINARY) * 2, [], IAC + DO + BINARY),
    (
        "ends of line in eight bits",
        IAC + WILL + BINARY + b"a\rb\nc\r\x00d\r\n\r\re\r",
        [say("a"), say("b"), say("c"), say("d"), say("e")],
        IAC + DO + BINARY,
    ),
    (
        "Ctrl-C among eight bits takes back what was typed",
        IAC + WILL + BINARY + b"oh no\x03\x03/menu\r\n\x03\r\nhi\r\n",
        [Call("menu", {}), say("hi")],
        IAC + DO + BINARY,
    ),
    (
        "no eight bits any more",
        IAC + WILL + BINARY + b"a\r" + IAC + WONT + BINARY + b"b\rc\r\n",
        [say("a"), say("b\rc")],
        IAC + DO + BINARY,
    ),
    ("what is Ctrl-C elsewhere is text", b"a\x03b\n", [say("a\x03b")], b""),
    ("WONT and DONT need no answer", IAC + WONT + NAWS + IAC + DONT + NAWS + b"hi\n", [say("hi")], b""),
    ("a command in a word", b"h" + IAC + b"\xf1" + b"i\n", [say("hi")], b""),
    ("an option in a word", b"h" + IAC + WONT + ECHO + b"i\r" + IAC + DONT + ECHO + b"\n", [say("hi")], b""),
    ("a subnegotiation", b"h" + IAC + SB + NAWS + b"\n/quit\r\n" + IAC + SE + b"i\n", [say("hi")], b""),
    (
        "a subnegotiation with 255 in it",
        IAC + SB + NAWS + IAC + IAC + SE + b"\n/quit\n" + IAC + SE + b"hi\n",
        [say("hi")],
        b"",
    ),
    ("a subnegotiation of a kilobyte", IAC + SB + b"/quit\n" * 300 + IAC + SE + b"hi\n", [say("hi")], b""),
    ("255 itself is no text", b"a" + IAC + IAC + b"b\n", [say("a\ufffdb")], b""),
    ("CR, a command, LF", b"hi\r" + IAC + b"\xf1\n", [say("hi")], b""),
    ("options inside UTF-8", "ü".encode()[:1] + IAC + WONT + ECHO + "ü".encode()[1:] + b"\n", [say("ü")], b""),
]
"""What is fed to the plain dialect, what it asks for (calls, or codes of refusals), what telnet is answered with."""


def call(do: str, room: str | int | None = None, ref: Any = None, mid: str | None = None, **args: Any) -> Call:
    """What a program's line asks for."""
    return Call(do, args, room, mid, ref, confirmed=True)


JSON: list[tuple[str, bytes, list[Any], bytes]] = [
    ("a call", b'{"id":3,"do":"say","room":"#ops","text":"hi"}\n', [call("say", "#ops", 3, text="hi")], b""),
    ("CR LF", b'{"do":"ping"}\r\n', [call("ping")], b""),
    ("an id may be a string", b'{"id":"a","do":"ping"}\n', [call("ping", ref="a")], b""),
    ("a room by number", b'{"do":"members","room":7}\n', [call("members", 7)], b""),
    (
        "not about a room: room is an argument",
        b'{"do":"join","room":"#ops"}\n',
        [Call("join", {"room": "#ops"}, confirmed=True)],
        b"",
    ),
    ("an alias", b'{"do":"8","user":"bob"}\n', [call("kick", user="bob")], b""),
    ("a mid", f'{{"do":"ping","mid":"{MID}"}}\n'.encode(), [call("ping", mid=MID)], b""),
    (
        "flags and lists",
        b'{"do":"create","room":"#a","people":["bob",7],"open":true}\n',
        [Call("create", {"room": "#a", "people": ["bob", 7], "open": True}, confirmed=True)],
        b"",
    ),
    ("UTF-8", '{"do":"say","text":"ü🚀"}\n'.encode(), [call("say", text="ü🚀")], b""),
    ("NUL in a text", b'{"do":"say","text":"a\\u0000b"}\n', [call("say", text="a\ufffdb")], b""),
    ("empty lines", b"\n\r\n  \n", [], b""),
    ("not confirmed", b'{"do":"quit","confirmed":false}\n', [Call("quit", {})], b""),
    ("asked", b'{"do":"quit","asked":["name"]}\n', [Call("quit", {}, None, None, None, ("name",), True)], b""),
    # refused
    ("no json", b"{nonsense}\n", ["BAD_LINE"], b""),
    ("no object", b'["do"]\n', ["BAD_LINE"], b""),
    ("plain text", b"hello\n", ["BAD_LINE"], b""),
    ("no UTF-8", b'{"do":"say","text":"\xff"}\n', ["BAD_LINE"], b""),
    ("half a surrogate pair", b'{"do":"say","text":"\\ud800"}\n', ["BAD_LINE"], b""),
    ("nothing to do", b'{"id":1}\n', ["BAD_LINE"], b""),
    ("do is no word", b'{"do":7}\n', ["BAD_LINE"], b""),
    ("unknown", b'{"do":"aprove"}\n', ["UNKNOWN_CMD"], b""),
    ("an unknown field", b'{"do":"say","txet":"hi"}\n', ["BAD_USAGE"], b""),
    ("text of another type", b'{"do":"say","text":["hi"]}\n', ["BAD_USAGE"], b""),
    ("null", b'{"do":"say","text":null}\n', ["BAD_USAGE"], b""),
    ("a boolean for a word", b'{"do":"kick","user":true}\n', ["BAD_USAGE"], b""),
    ("a fraction for a word", b'{"do":"kick","user":1.5}\n', ["BAD_USAGE"], b""),
    ("a word for a list", b'{"do":"create","room":"#a","people":"bob"}\n', ["BAD_USAGE"], b""),
    ("a list of lists", b'{"do":"create","room":"#a","people":[["bob"]]}\n', ["BAD_USAGE"], b""),
    ("a word for a flag", b'{"do":"create","room":"#a","open":"yes"}\n', ["BAD_USAGE"], b""),
    ("room is a list", b'{"do":"say","room":[],"text":"hi"}\n', ["BAD_USAGE"], b""),
    ("a room for what has none", b'{"do":"ping","room":"#ops"}\n', ["BAD_USAGE"], b""),
    ("mid is no UUID", b'{"do":"say","text":"hi","mid":"1"}\n', ["BAD_USAGE"], b""),
    ("mid in capitals", f'{{"do":"ping","mid":"{MID.upper()}"}}\n'.encode(), ["BAD_USAGE"], b""),
    ("id is a list", b'{"do":"ping","id":[[]]}\n', ["BAD_USAGE"], b""),
    ("id is a boolean", b'{"do":"ping","id":true}\n', ["BAD_USAGE"], b""),
    ("asked is no list", b'{"do":"quit","asked":"name"}\n', ["BAD_USAGE"], b""),
    ("confirmed is no yes or no", b'{"do":"quit","confirmed":1}\n', ["BAD_USAGE"], b""),
    ("deep nonsense", b"[" * 90 + b"\n", ["BAD_LINE"], b""),
    ("too long", b'{"do":"say","text":"' + b"x" * 100 + b'"}\n{"do":"ping"}\n', [LONG, call("ping")], b""),
]

CASES = [(Plain, *case) for case in PLAIN] + [(Json, *case) for case in JSON]


def outcomes(dialect: Dialect, pieces: Iterable[bytes]) -> tuple[list[Any], bytes]:
    """What is asked for by these bytes, cut like this; and what the framing answers."""
    found: list[Any] = []
    owed = b""
    for piece in pieces:
        for line in dialect.feed(piece):
            try:
                outcome = LONG if isinstance(line, Overlong) else dialect.read(line)
            except Refusal as refusal:
                outcome = refusal.code
            if outcome is not None:
                found.append(outcome)
        owed += dialect.owed()
    return found, owed


def ways(data: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Every way of feeding `data`."""
    yield "byte by byte", [bytes((byte,)) for byte in data]
    for at in range(len(data)) if len(data) < 400 else range(1, len(data), 37):
        yield f"cut at {at}", [data[:at], data[at:]]
    yield "with empty reads", [b"", data, b""]


class ReadingTests(SynchronousTestCase):
    """Bytes to calls."""

    def test_whole(self) -> None:
        """Each case, fed in one piece, asks for what it says."""
        for dialect, name, data, expected, owed in CASES:
            found, answered = outcomes(dialect(LIMITS), [data])
            self.assertEqual((found, answered), (expected, owed), name)

    def test_cut(self) -> None:
        """However TCP cuts the bytes, the same is asked for and answered."""
        for dialect, name, data, *_ in CASES:
            whole = outcomes(dialect(LIMITS), [data])
            for way, pieces in ways(data):
                self.assertEqual(outcomes(dialect(LIMITS), pieces), whole, f"{name}, {way}")

    def test_trailing(self) -> None:
        """The beginning of a next line changes nothing, and is the beginning of the next line."""
        for dialect, name, data, *_ in CASES:
            if not data.endswith((b"\n", b"\x00")):
                continue
            whole, _ = outcomes(dialect(LIMITS), [data])
            head, tail = (b"/menu", Call("menu", {})) if dialect is Plain else (b'{"do":"menu"}', call("menu"))
            for cut in range(1, len(head)):
                reader = dialect(LIMITS)
                self.assertEqual(outcomes(reader, [data + head[:cut]])[0], whole, name)
                self.assertEqual(outcomes(reader, [head[cut:] + b"\n"])[0], [tail], name)

    def test_everything_at_once(self) -> None:
        """All cases behind each other in one piece are the cases one by one."""
        for kind in (Plain, Json):
            cases = [data for dialect, _, data, *_ in CASES if dialect is kind and data.endswith((b"\n", b"\x00"))]
            one_by_one = [outcome for data in cases for outcome in outcomes(kind(LIMITS), [data])[0]]
            self.assertEqual(outcomes(kind(LIMITS), [b"".join(cases)])[0], one_by_one)

    def test_a_megabyte(self) -> None:
        """A line of a megabyte is reported once, when it passes the limit, and nothing of it is held or taken for a
        line; what follows it is read.
        """
        line = b"/quit " * 180_000
        for size in (len(line), 65_536, 1_000, 7):
            lines = Lines(8_192)
            found: list[Any] = []
            for start in range(0, len(line), size):
                found += lines.feed(line[start : start + size])
                self.assertLessEqual(lines.held, 8_192)
            self.assertEqual(found, [Overlong(8_192)])
            self.assertEqual(lines.feed(b"more\nhi\r\n"), [b"hi"])

    def test_reported_when_it_passes_the_limit(self) -> None:
        """An over-long line is reported before its end has come, for it may never come."""
        lines = Lines(8)
        self.assertEqual(lines.feed(b"12345678"), [])
        self.assertEqual(lines.feed(b"9"), [Overlong(8)])
        self.assertEqual(lines.feed(b"0" * 100), [])
        self.assertEqual(lines.feed(b"\nok\n"), [b"ok"])

    def test_programs_get_longer_lines_and_people_do_not(self) -> None:
        """After login the json dialect takes lines of a mebibyte, to the byte; the plain one stays at 8 KiB."""
        limits = Limits()
        line = b'{"do":"say","text":"' + b"x" * (limits.json_line_bytes - 22) + b'"}'
        self.assertEqual(len(line), limits.json_line_bytes)
        json_, plain = Json(limits), Plain(limits)
        self.assertEqual(json_.feed(line + b"\n"), [Overlong(limits.line_bytes)])
        for dialect in (json_, plain):
            dialect.widen(limits.json_line_bytes)
        self.assertEqual(json_.feed(line + b"\n" + line + b" \n"), [line, Overlong(limits.json_line_bytes)])
        self.assertEqual(plain.feed(b"x" * 8_193 + b"\n"), [Overlong(limits.line_bytes)])

    def test_widening_takes_no_line_back(self) -> None:
        """A line that was over-long when its dialect got longer lines stays skipped to its end."""
        dialect = Json(LIMITS)
        self.assertEqual(dialect.feed(b'{"do":"ping"' + b" " * 100), [Overlong(96)])
        dialect.widen(1_000)
        self.assertEqual(dialect.feed(b'}\n{"do":"ping"}\n'), [b'{"do":"ping"}'])

    def test_a_refused_line_has_its_id(self) -> None:
        """A program knows which of its calls was refused, wherever the line shows an id that it can mean."""
        dialect = Json(LIMITS)
        self.assertEqual(dialect.ref_of(b'{"id":7,"do":"nonsense"}'), 7)
        self.assertEqual(dialect.ref_of(b'{"id":"x","do":"nonsense"}'), "x")
        for line in (b'{"do":"nonsense"}', b'{"id":{"a":1}}', b'{"id":1.5}', b'{"id":true}', b"nonsense", b"[1]"):
            self.assertIsNone(dialect.ref_of(line))
        self.assertIsNone(Plain(LIMITS).ref_of(b"/nonsense"))


class WritingTests(SynchronousTestCase):
    """Answers, refusals, questions and events to bytes."""

    nasty = "a\r\n\x1b[31m\x00\x7f\x9b\u2028\u202eb"

    def event(self, kind: str = "say", **fields: Any) -> Event:
        """Something that bob did in room 7."""
        names = dict.fromkeys(Event._fields) | {"data": None}
        whole = names | {"seq": 812, "at": 1_700_000_000_123, "kind": kind, "room": 7, "by": 3, "who": 0}
        return Event(**(whole | {"by_name": "bob", "who_name": ""} | fields))  # type: ignore[arg-type]

    def test_an_event_for_programs(self) -> None:
        """An event is one object on a line, with the fields it has and no others."""
        room = Room(7, Kind.GROUP, "#ops", False)
        said = self.event(text="hi", mid=MID)
        [line] = Json(LIMITS).events([said], room, 0, False)
        self.assertEqual(
            line,
            b'{"ev":"say","seq":812,"room":"#ops","room_id":7,"by":"bob","by_id":3,"at":"2023-11-14T22:13:20.123Z",'
            b'"text":"hi","mid":"' + MID.encode() + b'"}\n',
        )
        removed = self.event("removed", who=4, who_name="carol", data={"name": "#ops"}, sealed="c2VhbA==", proof="cA==")
        [line] = Json(LIMITS).events([removed], room, 0, False)
        found = json.loads(line)
        self.assertEqual((found["who"], found["who_id"], found["data"]), ("carol", 4, {"name": "#ops"}))
        self.assertEqual((found["sealed"], found["proof"]), ("c2VhbA==", "cA=="))
        self.assertNotIn("text", found)
        self.assertEqual(
            json.loads(Json(LIMITS).events([said], Room(1, Kind.INBOX, "", False), 3, False)[0])["room"], "inbox"
        )

    def test_an_event_for_people(self) -> None:
        """What is said reads `14:02 <bob> hi` in the current room, with the room's name elsewhere, `[bob]` direct."""
        dialect = Plain(LIMITS)
        group, direct = Room(7, Kind.GROUP, "#ops", False), Room(7, Kind.DIRECT, "@bob", False)
        said = self.event(text="hi")
        for room, current, expected in (
            (group, True, rb"^\d\d:\d\d <bob> hi\r\n$"),
            (group, False, rb"^\d\d:\d\d #ops <bob> hi\r\n$"),
            (direct, True, rb"^\d\d:\d\d \[bob\] hi\r\n$"),
        ):
            self.assertRegex(dialect.events([said], room, 0, current)[0], expected)

    def test_nothing_from_data_ends_a_line(self) -> None:
        """No CR, NUL, ESC, C1 control, line separator or bidi override from a text, a name or a field reaches a
        terminal; only an end of line in a text makes another line, which is marked.
        """
        dialect = Plain(LIMITS)
        room = Room(7, Kind.GROUP, "#ops", False)
        kinds = ["removed", "banned", "topic", "renamed", "denied", "asked", "door", "joined"]
        events = [self.event(kind, text=self.nasty, data={"name": self.nasty, "was": self.nasty}) for kind in kinds]
        sent = dialect.events(events, room, 0, False)
        sent.append(dialect.refuse(None, Refusal("NO_USER", name=self.nasty, near=self.nasty)))
        sent.append(dialect.reply(Call("away", {}), Reply("away", {"text": self.nasty})))
        sent.append(dialect.ask(Ask("text", "transfer.confirmed", {"name": self.nasty, "room": self.nasty})) + b"\r\n")
        for data in sent:
            self.assertRegex(data.decode(), "^[^\x00-\x1f\x7f-\x9f\u2028\u202e]+\r\n$")
        [said] = dialect.events([self.event(text=self.nasty)], room, 0, True)
        self.assertRegex(
            said.decode(), "^[^\x00-\x1f\x7f-\x9f\u2028\u202e]+ <bob> a\r\n[^\x00-\x1f\x7f-\x9f\u2028\u202e]+\r\n$"
        )
        self.assertIn(b"<bob> | ", said)

    def test_programs_get_one_line_for_each(self) -> None:
        """Whatever is in the fields, an object is one line of JSON."""
        dialect = Json(LIMITS)
        for line in (
            dialect.refuse(7, Refusal("NO_USER", name=self.nasty, near="")),
            dialect.reply(call("away", ref=7), Reply("away", {"text": self.nasty})),
            *dialect.events([self.event(text=self.nasty)], Room(7, Kind.GROUP, "#ops", False), 0, False),
        ):
            self.assertEqual(line.count(b"\n"), 1)
            self.assertNotIn(b"\x00", line)
            json.loads(line)

    def test_a_refusal_for_programs(self) -> None:
        """A refusal has its code, its sentence, who can help, and its fields."""
        refusal = Refusal("ONLY_ADMIN", command="/kick", room="#ops", admins=["alice"])
        self.assertEqual(
            json.loads(Json(LIMITS).refuse(3, refusal)),
            {
                "re": 3,
                "error": {
                    "code": "ONLY_ADMIN",
                    "text": "Only admin can do that: /kick",
                    "help": "Admins of #ops: alice.",
                    "with": {"command": "/kick", "room": "#ops", "admins": ["alice"]},
                },
            },
        )

    def test_a_password_is_hidden(self) -> None:
        """A question for a password ends with IAC WILL ECHO; after the answer the terminal echoes again and has its end
        of line.
        """
        dialect = Plain(LIMITS)
        self.assertEqual(
            dialect.ask(Ask("password", "login.password", {}, secret=True)), b"Password: " + IAC + WILL + ECHO
        )
        self.assertEqual(dialect.answered(True), IAC + WONT + ECHO + b"\r\n")
        self.assertEqual(dialect.answered(False), b"")
