"""What people read: the sentences of FEATURES.md, letter by letter, and that nothing in data can break out of them."""

from __future__ import annotations

import ast
import time
import unicodedata
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatd import commands, feed, texts  # noqa: F401  (the table fills)
from chatd.command import ALIASES, TABLE, table
from chatd.errors import CODES
from chatd.model import Event

ROOT = Path(__file__).resolve().parent.parent
AT = int(time.mktime((2026, 11, 1, 14, 2, 7, 0, 0, -1)) * 1000)

REFUSALS: dict[str, list[tuple[dict[str, Any], list[str]]]] = {
    "NAME_TAKEN": [
        ({"name": "Alice", "free": ["alice2", "alice_"]}, ['"Alice" is taken. Free: alice2, alice_.']),
        ({"name": "#ops", "free": []}, ['"#ops" is taken.']),
    ],
    "BAD_NAME": [
        (
            {"name": "a b", "what": "user"},
            ['"a b" cannot be a user name.', "Use 2 to 32 of a-z 0-9 . _ - (a few names are reserved)."],
        ),
        (
            {"name": "#a b", "what": "group"},
            ['"#a b" cannot be the name of a group.', "Use # and 1 to 32 of a-z 0-9 . _ -"],
        ),
    ],
    "BAD_PASSWORD": [
        ({"unmet": ["capital", "number"], "length": 8}, ["Password needs: a capital letter, a number."]),
        ({"unmet": ["length"], "length": 8}, ["Password needs: 8+ characters."]),
        (
            {"unmet": ["name", "common"], "length": 8},
            ["Password needs: something other than your name, something less common."],
        ),
        ({"unmet": ["again"], "length": 8}, ["The two passwords differ."]),
    ],
    "BAD_CERTIFICATE": [
        ({"why": "unknown", "name": "00"}, ["That certificate logs nobody in."]),
        ({"why": "form", "name": "x"}, ['"x" is no SHA-256: 64 digits of 0-9 a-f.']),
        ({"why": "many", "name": "10"}, ["You have 10 certificates already.", "/cert drop N"]),
    ],
    "BAD_LOGIN": [
        ({"left": 2, "own": False}, ["Wrong name or password. 2 tries left."]),
        ({"left": 1, "own": False}, ["Wrong name or password. 1 try left."]),
        ({"left": 0, "own": False}, ["Wrong name or password."]),
        ({"left": 2, "own": True}, ["Wrong password. 2 tries left."]),
    ],
    "THROTTLED": [
        ({"wait": 40}, ["Too many tries. Wait 40 s."]),
        ({"wait": 3_540}, ["Too many tries. Wait 59 min."]),
    ],
    "CODE_NEEDED": [
        (
            {"uri": ""},
            [
                "A code of your second factor is needed.",
                "IRC clients cannot give one: they log in by certificate, /cert.",
            ],
        )
    ],
    "BAD_CODE": [({"left": 2}, ["Wrong code. 2 tries left."]), ({"left": 0}, ["Wrong code."])],
    "FACTOR": [
        ({"on": True}, ["A second factor is on already.", "/totp off"]),
        ({"on": False}, ["You have no second factor.", "/totp on"]),
    ],
    "BY_INVITATION": [({}, ["This server takes new accounts by invitation only."])],
    "BAD_INVITATION": [({}, ["That invitation is used up, over, or mistyped."])],
    "FULL": [({}, ["This server is full. Try again later."])],
    "CROWDED": [({"limit": 100}, ["Too many connections from your address: 100 at once."])],
    "SLOW": [({"seconds": 300.0}, ["Nobody logged in here for 300 s. Connect again."])],
    "IDLE": [({"seconds": 604_800.0}, ["Nothing came from here for 7d. Connect again."])],
    "REG_CLOSED": [({}, ["This server takes no new accounts."])],
    "NOT_LOGGED_IN": [({}, ["Log in first: /login or /register."])],
    "GUESTS_ONLY": [({"name": "alice"}, ["You are alice: only guests change their name."])],
    "LOGGED_IN": [({"name": "alice"}, ["You are alice. /logout first."])],
    "NO_USER": [
        ({"name": "bbo", "near": "bob"}, ["No such person: bbo. Did you mean bob?"]),
        ({"name": "bbo", "near": ""}, ["No such person: bbo."]),
        ({"name": "b" * 3_000, "near": ""}, [f"No such person: {'b' * 32}…."]),
    ],
    "NO_GROUP": [
        ({"room": "#x", "near": ""}, ["No such group: #x."]),
        ({"room": "#osp", "near": "#ops"}, ["No such group: #osp. Did you mean #ops?"]),
        ({"room": "@bob", "near": ""}, ["You have not talked with bob yet.", "/dm bob"]),
    ],
    "NO_ROOM": [
        ({"sends": True}, ["No room is open. Nothing was sent.", "/join #group or /dm person opens one."]),
        ({"sends": False}, ["No room is open.", "/join #group or /dm person opens one."]),
    ],
    "NOT_MEMBER": [({"room": "#ops"}, ["You are not in #ops. /join #ops"])],
    "NOT_THERE": [({"name": "bob", "room": "#ops"}, ["bob is not in #ops."])],
    "ALREADY": [({"name": "bob", "room": "#ops"}, ["bob is already in #ops."])],
    "SAME_ROLE": [({"name": "bob", "room": "#ops", "role": "admin"}, ["bob is an admin of #ops already."])],
    "SELF": [({}, ["That is you."])],
    "GROUPS_ONLY": [
        ({"command": "/leave", "room": "@bob"}, ["Only groups have that: /leave", "@bob is a conversation of two."])
    ],
    "PENDING": [({"at": AT, "admins": ["alice"]}, ["Already asked at 14:02; waiting for alice."])],
    "NO_REQUEST": [({"name": "bob", "room": "#ops"}, ["bob has not asked to join #ops."])],
    "NO_REQUESTS": [({"room": "#ops"}, ["No pending join requests in #ops."])],
    "BANNED": [
        ({"room": "#ops", "admins": ["alice", "bob"]}, ["You are banned from #ops.", "Admins of #ops: alice, bob."])
    ],
    "IS_BANNED": [({"name": "bob", "room": "#ops"}, ["bob is banned from #ops.", "/unban bob"])],
    "NOT_BANNED": [({"name": "bob", "room": "#ops"}, ["bob is not banned from #ops."])],
    "INVITE_ONLY": [
        ({"room": "#ops", "admins": ["alice"]}, ["#ops is entered by invitation only.", "Admins of #ops: alice."])
    ],
    "ONLY_ADMIN": [
        (
            {"command": "/add", "room": "#friends", "admins": ["alice"]},
            ["Only admin can add/remove participants", "Admins of #friends: alice."],
        ),
        (
            {"command": "/remove", "room": "#friends", "admins": ["alice"]},
            ["Only admin can add/remove participants", "Admins of #friends: alice."],
        ),
        (
            {"command": "/transfer", "room": "#ops", "admins": ["alice", "bob"]},
            ["Only admin can do that: /transfer", "Admins of #ops: alice, bob."],
        ),
        (
            {"command": "/kick", "room": "@bob", "admins": []},
            ["Only groups have that: /kick", "@bob is a conversation of two."],
        ),
    ],
    "ONLY_OWNER": [
        (
            {"command": "/transfer", "room": "#ops", "owner": "alice"},
            ["Only the owner can do that: /transfer", "Owner of #ops: alice."],
        )
    ],
    "OWNER_STAYS": [({"room": "#ops"}, ["Give #ops to somebody first: /transfer"])],
    "OWNER_SAFE": [({"name": "alice", "room": "#ops"}, ["alice owns #ops and cannot be removed."])],
    "OPERATORS_ONLY": [({"command": "/stats"}, ["Only operators of this server can do that: /stats"])],
    "TOO_LONG": [({"size": 9_120, "limit": 4_000}, ["9,120 of 4,000 characters."])],
    "LINE_TOO_LONG": [({"size": 8_192, "limit": 4_000}, ["More than 8,192 of 4,000 characters. Skipped."])],
    "RATE": [({"wait": 7}, ["Slow down: 7 s."])],
    "QUOTA": [({"size": 2_100_000, "left": 400_000}, ["2.1 MB, you have 0.4 MB left."])],
    "LIMIT": [({"room": "#ops"}, ["#ops is full."])],
    "GROUPS_FULL": [
        ({"name": "", "limit": 500}, ["You are in 500 groups already.", "/leave one of them first."]),
        ({"name": "bob", "limit": 500}, ["bob is in 500 groups already."]),
    ],
    "NO_FILE": [({"file": 17}, ["No such file: 17."])],
    "NOT_YOURS": [
        ({"file": 17, "name": "bob"}, ["bob sent file 17. Only who sent a file can take it back."]),
    ],
    "TICKET": [({}, ["That ticket is used up."])],
    "FILE_CUT": [
        ({"size": 2_100_000, "got": 400_000}, ["0.4 MB of 2.1 MB came. Send it again: it goes on there."]),
    ],
    "CHECKSUM": [({}, ["What came is not what was to come. Nothing was kept; send it again."])],
    "DISK_FULL": [({}, ["The server's disk is full. Nothing was kept; try again later."])],
    "E2E_ONLY": [
        ({"room": "#ops"}, ["#ops is end-to-end encrypted; this connection cannot decrypt. Use chat."]),
    ],
    "BAD_USAGE": [({"usage": "/kick <user> [reason...]"}, ["Usage: /kick <user> [reason...]"])],
    "UNKNOWN_CMD": [
        (
            {"command": "/aprove", "near": "/approve"},
            ["Unknown command /aprove. Did you mean /approve? Not sent."],
        ),
        ({"command": "/xyzzy", "near": ""}, ["Unknown command /xyzzy. Not sent.", "/help lists the commands."]),
    ],
    "BAD_LINE": [({}, ["That line is not valid here."])],
    "MID_REUSED": [({"mid": "0190"}, ["That mid already stands for something else: 0190."])],
    "NO_DEVICE": [({}, ["This device is none of yours. /devices"])],
    "NO_KEYS": [
        ({"name": "bob"}, ["bob has no keys here. /dm --open bob talks in clear: the server can read it."]),
    ],
    "BAD_PROOF": [({"what": "signature"}, ["What was signed does not fit what was asked (signature)."])],
    "STALE": [
        (
            {"head": "", "missing": [], "extra": []},
            ["The group has changed meanwhile; read it again, then repeat."],
        )
    ],
    "SECRET_IN_LINE": [({"name": "bob"}, ["Do not type passwords in a command. Use: /login bob"])],
    "BUSY": [({}, ["The server cannot write just now. Nothing was changed; try again."])],
    "DRAINING": [({}, ["This server is closing; reconnect."])],
    "INTERNAL": [({"ref": "7f3a"}, ["Something broke here; it is logged as 7f3a. Nothing was changed."])],
}
"""By code: fields, and what is shown. FEATURES.md §3 and the rows it names have the words."""


def happened(kind: str, **fields: Any) -> Event:
    """alice (3) did this to bob (5) in room 7 at 14:02."""
    values: dict[str, Any] = {
        "seq": 1,
        "at": AT,
        "kind": kind,
        "room": 7,
        "by": 3,
        "who": 5,
        "by_name": "alice",
        "who_name": "bob",
        "mid": None,
        "text": None,
        "data": None,
        "sealed": None,
        "proof": None,
    }
    return Event(**(values | fields))


EVENTS: list[tuple[Event, str, str]] = [
    # the event, what carol sees, what bob sees (it was done to bob)
    (happened("joined", data={"how": "open"}), "bob joined #ops.", "bob joined #ops."),
    (
        happened("joined", data={"how": "approved"}),
        "bob joined #ops, approved by alice.",
        "bob joined #ops, approved by alice.",
    ),
    (happened("joined", data={"how": "added"}), "alice added bob to #ops.", "alice added you to #ops."),
    (
        happened("removed", text="why"),
        "alice removed bob from #ops: why",
        "You were removed from #ops by alice: why",
    ),
    (happened("removed"), "alice removed bob from #ops.", "You were removed from #ops by alice."),
    (
        happened("removed", text="why", data={"ban": True}),
        "alice banned bob from #ops: why",
        "You were banned from #ops by alice: why",
    ),
    (happened("banned", text="why"), "alice banned bob from #ops: why", "alice banned bob from #ops: why"),
    (happened("nick", text="flora", data={"was": "alice"}), "alice is now flora.", "alice is now flora."),
    (happened("unbanned"), "alice lifted the ban of bob from #ops.", "alice lifted the ban of bob from #ops."),
    (happened("promoted"), "alice made bob an admin of #ops.", "alice made you an admin of #ops."),
    (happened("demoted"), "bob is no longer an admin of #ops (alice).", "You are no longer an admin of #ops (alice)."),
    (happened("transferred"), "bob now owns #ops.", "bob now owns #ops."),
    (happened("inherited"), "bob now owns #ops.", "bob now owns #ops."),
    (happened("topic", text="cake"), "alice set the topic of #ops: cake", "alice set the topic of #ops: cake"),
    (happened("topic", text=""), "alice cleared the topic of #ops.", "alice cleared the topic of #ops."),
    (
        happened("renamed", text="#dev", data={"was": "#ops"}),
        "alice renamed #ops to #dev.",
        "alice renamed #ops to #dev.",
    ),
    (
        happened("door", data={"door": "open"}),
        "alice set the door of #ops to open (anybody may join).",
        "alice set the door of #ops to open (anybody may join).",
    ),
]


class RefusalTexts(SynchronousTestCase):
    """Every refusal has its sentence, and its second line where there is something to say."""

    def test_every_code_is_tested(self) -> None:
        """The catalogue and the list of codes are the same, and each code's fields are what it is shown with here."""
        self.assertEqual(texts.REFUSALS.keys(), CODES.keys())
        self.assertEqual(REFUSALS.keys(), CODES.keys())
        for code, cases in REFUSALS.items():
            for fields, _ in cases:
                self.assertEqual(fields.keys(), CODES[code], code)

    def test_sentences(self) -> None:
        """Each refusal reads as FEATURES.md has it."""
        for code, cases in REFUSALS.items():
            for fields, lines in cases:
                self.assertEqual(texts.refusal(code, fields), lines)

    @given(st.text(max_size=40))
    def test_nothing_breaks_out(self, text: str) -> None:
        """Whatever a name, a reason or a topic holds, a refusal has the lines it always has, and no control in them."""
        for code, cases in REFUSALS.items():
            for fields, lines in cases:
                wild = {key: text if isinstance(value, str) else value for key, value in fields.items()}
                found = texts.refusal(code, wild | {"near": text, "what": "user"} if code == "BAD_NAME" else wild)
                if not text.startswith(("@", "/")) and text:
                    self.assertLessEqual(len(found), 2, (code, lines))
                self.assertTrue(all(is_harmless(line) for line in found), (code, found))


class EventTexts(SynchronousTestCase):
    """What is shown of what happened."""

    def test_said(self) -> None:
        """In the current room a line has its speaker; elsewhere the room, too; one to one it is in brackets."""
        said = happened("say", text="hi", who=0, who_name="")
        self.assertEqual(texts.event(said, "#ops", 0, True), ["14:02 <alice> hi"])
        self.assertEqual(texts.event(said, "#ops", 0, False), ["14:02 #ops <alice> hi"])
        self.assertEqual(texts.event(said, "@alice", 5, False), ["14:02 [alice] hi"])
        self.assertEqual(texts.event(said, "@alice", 5, True), ["14:02 [alice] hi"])

    def test_own_lines_elsewhere(self) -> None:
        """What I say one to one, my other terminal shows with its direction."""
        self.assertEqual(texts.event(happened("say", text="hi"), "@bob", 3, False), ["14:02 [me -> bob] hi"])

    def test_several_lines(self) -> None:
        """A text of several lines keeps its time and speaker on each, the later ones marked."""
        said = happened("say", text="one\ntwo\r\nthree")
        self.assertEqual(
            texts.event(said, "#ops", 0, True), ["14:02 <alice> one", "14:02 <alice> | two", "14:02 <alice> | three"]
        )

    def test_no_body(self) -> None:
        """What cannot be read here says why: it is encrypted, or it was taken out."""
        self.assertEqual(
            texts.event(happened("say", sealed="AAAA"), "#ops", 0, True),
            ["14:02 <alice> (end-to-end encrypted: use chat)"],
        )
        self.assertEqual(texts.event(happened("say"), "#ops", 0, True), ["14:02 <alice> (removed)"])

    def test_sentences(self) -> None:
        """Each event reads as FEATURES.md has it, to those who look on and to the one it was done to."""
        for event, others, mine in EVENTS:
            self.assertEqual(texts.event(event, "#ops", 0, True), [others], event.kind)
            self.assertEqual(texts.event(event, "#ops", 9, False), [others], event.kind)
            self.assertEqual(texts.event(event, "#ops", 5, True), [mine], event.kind)

    def test_leaving(self) -> None:
        """Who leaves is told so; the last one out closes the group."""
        self.assertEqual(texts.event(happened("left"), "#ops", 9, True), ["alice left #ops."])
        self.assertEqual(texts.event(happened("left"), "#ops", 3, True), ["You left #ops."])
        self.assertEqual(
            texts.event(happened("closed"), "#ops", 3, True), ["You left #ops. Nobody is in it any more: closed."]
        )

    def test_requests(self) -> None:
        """An admin sees who asks and what to type, with the group where it is not the current one."""
        asked = happened("asked", by=5, by_name="bob", who=0, who_name="", data={"room": 7, "name": "#ops"})
        self.assertEqual(texts.event(asked, "", 3, True), ["bob asks to join #ops: /approve bob  /deny bob"])
        self.assertEqual(texts.event(asked, "", 3, False), ["bob asks to join #ops: /approve #ops bob  /deny #ops bob"])
        denied = happened("denied", text="not now", data={"room": 7, "name": "#ops"})
        self.assertEqual(texts.event(denied, "", 5, False), ["alice denied your request to join #ops: not now"])

    def test_nothing_to_show(self) -> None:
        """What the answer to a call says is not said again, and what is unknown is skipped."""
        for kind in ("created", "direct", "registered", "deleted", "from the future"):
            self.assertEqual(texts.event(happened(kind), "#ops", 3, True), [])

    def test_a_group_that_is_gone(self) -> None:
        """A group that was closed since has no name any more, and is called so."""
        self.assertEqual(texts.event(happened("left"), "", 9, False), ["alice left a closed group."])
        self.assertEqual(texts.event(happened("say", text="x"), "", 9, False), ["14:02 a closed group <alice> x"])

    def test_personal_kinds_are_told_apart(self) -> None:
        """Exactly the kinds in PERSONAL read differently to one whom they name, and the feed renders those apart."""
        found = set()
        for kind in texts.EVENTS:
            for data in (None, {"how": "added"}, {"how": "withdrawn"}):
                event = happened(kind, data=data)
                others = texts.event(event, "#ops", 0, True)
                if any(texts.event(event, "#ops", viewer, True) != others for viewer in (3, 5)):
                    found.add(kind)
        self.assertEqual(found, texts.PERSONAL)
        self.assertLessEqual(found, feed.PERSONAL)

    @given(st.text(), st.sampled_from(sorted({*texts.EVENTS, "say"})), st.booleans())
    def test_nothing_breaks_out(self, text: str, kind: str, current: bool) -> None:
        """Whatever somebody typed: no control reaches a terminal, and only `say` has more lines than one."""
        event = happened(kind, text=text, data={"name": text, "was": text, "door": text, "room": 7})
        lines = texts.event(event, "#ops", 9, current)
        self.assertTrue(all(is_harmless(line) for line in lines), lines)
        if kind == "say":
            self.assertTrue(all(line.startswith("14:02 ") for line in lines))
        else:
            self.assertLessEqual(len(lines), 1)


class ReplyTexts(SynchronousTestCase):
    """What is shown of answers."""

    def test_every_reply_in_the_code_has_its_text(self) -> None:
        """No operation answers, and no session says, anything that is not in the catalogue."""
        used = set()
        files = [
            *(ROOT / "chatd" / "commands").glob("*.py"),
            *(
                ROOT / "chatd" / f"{part}.py"
                for part in ("answers", "command", "identity", "intake", "session", "interview")
            ),
        ]
        for path in files:
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call) and node.args:
                    called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
                    if called in ("Reply", "notice", "_notice"):
                        used |= {c.value for c in ast.walk(node.args[0]) if isinstance(c, ast.Constant)}
        used.discard("prompt")
        self.assertEqual(used - texts.REPLIES.keys() - {"history", "found"}, set())
        self.assertEqual(texts.REPLIES.keys() - used, set())

    def test_every_event_in_the_code_has_its_text(self) -> None:
        """Each kind that an operation appends is shown, or is known to need no line."""
        silent = {"keys", "link", "say", "created", "direct", "registered", "deleted", "logged_out"}
        found = set()
        for path in [*(ROOT / "chatd" / "commands").glob("*.py"), *(ROOT / "chatd" / "store").glob("*.py")]:
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "append" and len(node.args) >= 3:
                    found |= {
                        part.value
                        for part in ast.walk(node.args[0])
                        if isinstance(part, ast.Constant) and isinstance(part.value, str)
                    }
        self.assertLessEqual(found, texts.EVENTS.keys() | silent)
        self.assertGreater(len(found), 12)

    def test_welcome(self) -> None:
        """A login is told who there is, its groups, what it missed, and who asks to be let in (rows 2, 10, 17, 34)."""
        fields: dict[str, Any] = {
            "name": "dave",
            "people": [("alice", True), ("bob", False), ("carol", True)],
            "more_people": 0,
            "rooms": [
                {"room": "#friends", "room_id": 8, "kind": "group", "role": "member", "new": 3},
                {"room": "#ops", "room_id": 7, "kind": "group", "role": "owner", "new": 0},
                {"room": "@bob", "room_id": 9, "kind": "direct", "role": "member", "new": 3},
            ],
            "missed": [("#ops", 9), ("@bob", 3)],
            "long_absence": True,
            "requests": [{"name": "bob", "room": "#ops", "room_id": 7, "at": AT, "current": 8}],
        }
        self.assertEqual(
            texts.reply("welcome", fields),
            [
                "Welcome, dave.",
                "People: alice* bob carol*   (* online)",
                "Groups: #friends (3 new)  #ops (admin)",
                "12 messages while you were away (#ops 9, bob 3)",
                "/history shows them.",
                "bob asks to join #ops: /approve #ops bob  /deny #ops bob",
            ],
        )

    def test_welcome_to_an_empty_server(self) -> None:
        """The first one in is told that there is nobody and no group."""
        fields = {"name": "a1", "people": [], "more_people": 0, "rooms": [], "missed": [], "requests": []}
        self.assertEqual(texts.reply("welcome", fields), ["Welcome, a1.", "People: (none)", "Groups: (none)"])

    def test_many_people(self) -> None:
        """Of very many people the rest is a number."""
        self.assertEqual(
            texts.people([("alice", True), ("bob", False)], 1_200), "People: alice* bob and 1,200 more   (* online)"
        )

    def test_a_group_with_both_notes(self) -> None:
        """A group that I run and in which something is new says both."""
        rooms = [{"room": "#ops", "kind": "group", "role": "admin", "new": 3}]
        self.assertEqual(texts.groups(rooms), "Groups: #ops (admin, 3 new)")

    def test_away_summary(self) -> None:
        """One message is one message (row 34)."""
        self.assertEqual(texts.away_summary([("@bob", 1)]), "1 message while you were away (bob 1)")

    def test_now_in(self) -> None:
        """The room and, for those who run it, the role (row 30); to a person an owner is an admin."""
        self.assertEqual(
            [texts.now_in("#ops", role) for role in ("owner", "admin", "member")],
            ["Now in #ops (admin).", "Now in #ops (admin).", "Now in #ops."],
        )

    def test_accounts(self) -> None:
        """What the account's own commands answer."""
        replies: list[tuple[str, dict[str, Any], list[str]]] = [
            ("bye", {}, ["Bye."]),
            ("logged_out", {"name": "bob"}, ["Logged out."]),
            ("logged_out_all", {"count": 3}, ["Logged out everywhere: 3 sessions."]),
            ("logged_out_other", {"n": 2, "client": "chat"}, ["Session 2 (chat) is logged out."]),
            ("logged_out_other", {"n": 2, "client": ""}, ["Session 2 is logged out."]),
            ("password_changed", {"logged_out": 0}, ["Password changed."]),
            ("password_changed", {"logged_out": 2}, ["Password changed. 2 other sessions logged out."]),
            ("whoami", {"name": "bob", "room": "", "role": ""}, ["You are bob."]),
            ("whoami", {"name": "bob", "room": "#ops", "role": "owner"}, ["You are bob. Now in #ops (admin)."]),
            ("away", {"text": "lunch"}, ["Away: lunch"]),
            ("back", {"text": ""}, ["You are back."]),
            ("pong", {"token": "7", "seq": 1}, ["pong 7"]),
            ("pong", {"token": "", "seq": 1}, ["pong"]),
            (
                "whois",
                {"name": "bob", "online": True, "away": "lunch", "since": AT, "groups": ["#ops", "#x"]},
                ["bob: online, away: lunch; here since 2026-11-01", "In your groups: #ops #x"],
            ),
            (
                "whois",
                {"name": "bob", "online": False, "away": None, "since": AT, "groups": []},
                ["bob: offline; here since 2026-11-01"],
            ),
            (
                "sessions",
                {
                    "sessions": [
                        {"n": 1, "client": "", "address": "::1", "created": AT, "used": AT, "this": True},
                        {"n": 2, "client": "chat", "address": "::1", "created": AT, "used": AT, "this": False},
                    ]
                },
                [
                    "1 plain from ::1 since 2026-11-01, used 2026-11-01 14:02  (this one)",
                    "2 chat from ::1 since 2026-11-01, used 2026-11-01 14:02",
                ],
            ),
        ]
        for name, fields, lines in replies:
            self.assertEqual(texts.reply(name, fields), lines)

    def test_history(self) -> None:
        """The past has date, time, sender and text (row 36); several lines of one text are marked."""
        line = {"seq": 1, "at": AT, "by": "alice", "by_id": 3, "text": "hi", "sealed": None}
        lines = [line, line | {"text": "a\nb"}, line | {"text": None}, line | {"text": None, "sealed": "AAAA"}]
        self.assertEqual(
            texts.reply("history", {"room": "#ops", "lines": lines}),
            [
                "2026-11-01 14:02:07 alice: hi",
                "2026-11-01 14:02:07 alice: a",
                "2026-11-01 14:02:07 alice | b",
                "2026-11-01 14:02:07 alice: (removed)",
                "2026-11-01 14:02:07 alice: (end-to-end encrypted: use chat)",
            ],
        )

    @given(st.text())
    def test_nothing_breaks_out(self, text: str) -> None:
        """What somebody typed once cannot break out of a topic, a reason or the past later."""
        for name, fields in (
            ("topic", {"room": "#ops", "topic": text}),
            ("bans", {"room": "#ops", "bans": [{"name": "bob", "by": "alice", "why": text}]}),
            ("away", {"text": text}),
        ):
            lines = texts.reply(name, fields)
            self.assertEqual(len(lines), 1)
            self.assertTrue(is_harmless(lines[0]), lines)
        line = {"at": AT, "by": "alice", "text": text, "sealed": None}
        for shown in texts.reply("history", {"room": "#ops", "lines": [line]}):
            self.assertTrue(shown.startswith("2026-11-01 14:02:07 alice"))
            self.assertTrue(is_harmless(shown), shown)


class PromptTexts(SynchronousTestCase):
    """What people are asked."""

    def test_sentences(self) -> None:
        """The questions of FEATURES.md (rows 1, 3, 9, 12, 19, 23, 26)."""
        policy = {"length": 8, "capital": True, "number": True}
        for name, fields, question in (
            ("door", {}, 'Press "l" to log in, "r" to register, "c" to close the connection: '),
            ("register.name", {}, "Username: "),
            ("login.name", {}, "Username: "),
            ("register.password", {"policy": policy}, "Password (8+ characters, a capital, a number): "),
            (
                "register.password",
                {"policy": {"length": 12, "capital": False, "number": False}},
                "Password (12+ characters): ",
            ),
            ("login.password", {}, "Password: "),
            ("register.again", {}, "Again: "),
            ("password.old", {}, "Old password: "),
            ("password.new", {"policy": policy}, "New password (8+ characters, a capital, a number): "),
            ("delete-account.password", {"name": "bob"}, "Password, to delete bob for ever: "),
            ("join.room", {}, "Group: "),
            ("create.room", {}, "Group: "),
            ("dm.user", {"room": ""}, "To whom? "),
            ("msg.user", {"room": ""}, "To whom? "),
            ("msg.text", {"room": ""}, "Text: "),
            ("kick.user", {"room": "#ops"}, "Whom? "),
            ("approve.who", {"room": "#ops"}, "Whom? "),
            ("send.path", {}, "Path: "),
            ("transfer.confirmed", {"name": "bob", "room": "#ops"}, "Make bob owner of #ops and step down? [y/N] "),
            ("ack.seq", {"room": ""}, "Seq: "),
        ):
            self.assertEqual(texts.prompt(name, fields), question)

    def test_every_argument_can_be_asked_for(self) -> None:
        """Whatever argument a command needs, there is a question for it that ends in a space."""
        for entry in TABLE.values():
            for arg in entry.args:
                if arg.required:
                    question = texts.prompt(f"{entry.verb}.{arg.name}", {"room": "#ops", "name": "bob"})
                    self.assertRegex(question, r"^[A-Z].*[:?] $", entry.usage)


class HelpTexts(SynchronousTestCase):
    """What people find out about the commands."""

    def test_one_screen(self) -> None:
        """/help fits 80 by 24, grouped as FEATURES.md §4 has it."""
        page = texts.help_page(table())
        self.assertLessEqual(len(page), 23)
        self.assertLessEqual(max(map(len, page)), 79)
        heads = [line.split()[0] for line in page if line[0] != " "]
        self.assertEqual(heads, ["Talk", "Groups", "Admin", "Files", "Past", "You", "Also", "Keys", "/help"])

    def test_every_command_is_there(self) -> None:
        """Every command has its usage on the page, whole, on one line, but those only programs give."""
        page = texts.help_page(table())
        for entry in TABLE.values():
            found = any(entry.usage in line for line in page)
            self.assertEqual(found, bool(entry.topic), entry.usage)

    def test_one_command(self) -> None:
        """/help NAME gives usage, one example and who may use it."""
        kick = next(entry for entry in table() if entry["do"] == "kick")
        self.assertEqual(
            texts.help_for(kick),
            [
                "/kick <user> [reason...]   (also /8)",
                "Put somebody out of this group. Nobody can remove the owner, and only the owner",
                "an admin.",
                "Example: /kick bob spam",
                "For admins of the group.",
            ],
        )

    def test_every_command_says_who_may(self) -> None:
        """Each command's help names who may use it, and no line of it is wider than a terminal."""
        for entry in table():
            lines = texts.help_for(entry)
            self.assertIn(lines[-1], texts.WHO.values())
            self.assertRegex(" ".join(lines), r" [A-Z].*\.", entry["do"])
            self.assertLessEqual(max(map(len, lines)), 79, entry["do"])

    def test_menu(self) -> None:
        """The numbers are T's, one to nine (row 55)."""
        entries = [{"n": n, "do": ALIASES[str(n)], "help": TABLE[ALIASES[str(n)]].help} for n in range(1, 10)]
        lines = texts.menu(entries)
        self.assertEqual(
            [line.split()[:2] for line in lines],
            [
                ["/1", "requests"],
                ["/2", "approve"],
                ["/3", "quit"],
                ["/4", "members"],
                ["/5", "online"],
                ["/6", "transfer"],
                ["/7", "admins"],
                ["/8", "kick"],
                ["/9", "send"],
            ],
        )
        self.assertLessEqual(max(map(len, lines)), 79)


class AuditTexts(SynchronousTestCase):
    """The operator's log, rows 48 to 52."""

    def test_lines(self) -> None:
        """Each line stands as FEATURES.md has it, behind the time that the log adds."""
        for what, fields, line in (
            ("group.create", {"room": "#ops", "name": "alice"}, "group.create   #ops by alice"),
            (
                "user.connect",
                {"name": "bob", "address": "203.0.113.7", "how": "tls", "dialect": "plain"},
                "user.connect    bob from 203.0.113.7 tls plain",
            ),
            (
                "user.connect",
                {"name": "bob", "address": "", "how": "clear", "dialect": "json"},
                "user.connect    bob clear json",
            ),
            (
                "user.disconnect",
                {"name": "bob", "seconds": 190, "why": "quit"},
                "user.disconnect bob after 3m (quit)",
            ),
            (
                "group.kick",
                {"room": "#ops", "name": "bob", "by": "alice", "reason": "spam"},
                'group.kick      #ops bob by alice "spam"',
            ),
            (
                "group.kick",
                {"room": "#ops", "name": "bob", "by": "alice", "reason": ""},
                "group.kick      #ops bob by alice",
            ),
            (
                "group.transfer",
                {"room": "#ops", "name": "alice", "to": "bob"},
                "group.transfer  #ops alice -> bob",
            ),
            ("join.request", {"room": "#ops", "name": "carol"}, "join.request    #ops carol"),
            ("join.approve", {"room": "#ops", "name": "carol", "by": "alice"}, "join.approve    #ops carol by alice"),
            (
                "file.transfer",
                {
                    "room": "#ops",
                    "name": "bob",
                    "file": "report.pdf",
                    "size": 2_100_000,
                    "result": "ok",
                    "seconds": 1.4,
                },
                "file.transfer   #ops bob report.pdf 2.1MB ok 1.4s",
            ),
            (
                "login.refused",
                {"address": "203.0.113.7", "code": "BAD_LOGIN"},
                "login.refused   from 203.0.113.7 BAD_LOGIN",
            ),
        ):
            self.assertEqual(texts.audit(what, fields), line)

    def test_lengths_of_time(self) -> None:
        """A visit is told in its largest unit."""
        for seconds, shown in ((0, "0s"), (59, "59s"), (60, "1m"), (3_600, "1h"), (200_000, "2d")):
            line = texts.audit("user.disconnect", {"name": "bob", "seconds": seconds, "why": "cut"})
            self.assertEqual(line, f"user.disconnect bob after {shown} (cut)")

    def test_a_reason_cannot_forge_a_line(self) -> None:
        """A kick's reason stays on its line of the log."""
        line = texts.audit("group.kick", {"room": "#x", "name": "b", "by": "a", "reason": "x\n14:02:08 group.create"})
        self.assertTrue(is_harmless(line))


class CleanTests(SynchronousTestCase):
    """What must never reach a terminal."""

    def test_controls(self) -> None:
        """Every control character, separator and direction override is shown as U+FFFD."""
        for code in [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]:
            self.assertEqual(texts.clean(f"a{chr(code)}b"), "a�b", hex(code))

    def test_ordinary_text_stays(self) -> None:
        """Letters of all scripts, marks, emoji with their joiners, and right-to-left text stay as they are."""
        for text in ("hello", "Grüße", "שלום", "日本語", "👩‍💻 ok", "e\u0301", "\u00a0", ""):
            self.assertEqual(texts.clean(text), text)

    @given(st.text())
    def test_idempotent_and_of_the_same_length(self, text: str) -> None:
        """Cleaning replaces one by one, and what is clean stays."""
        once = texts.clean(text)
        self.assertEqual(len(once), len(text))
        self.assertEqual(texts.clean(once), once)
        self.assertTrue(is_harmless(once))


def is_harmless(line: str) -> bool:
    """Whether a line has no control, no separator, no override and no half of a pair in it."""
    bad = ("Cc", "Zl", "Zp", "Cs")
    return not any(
        unicodedata.category(c) in bad or c in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069" for c in line
    )
