"""The pure parts of `chat`: outbox, vault and store, view, formatting, lines, completion. No terminal, no socket."""

from __future__ import annotations

import sqlite3
import uuid
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from client import completion, formatting, profile
from client.commands import Commands
from client.crypto.vault import Unreadable, Vault, new_key, unwrap
from client.lines import TALL, Line, Tail, Writer
from client.outbox import Entry, Mark, Outbox, mid_of, new_mid
from client.store import Held, Store
from client.view import LINE, MENTION, Place, View, as_event

ARRIVAL: dict[str, Any] = {
    "name": "bob",
    "account": 2,
    "current": 0,
    "people": [["alice", True], ["carol", False]],
    "rooms": [
        {"room": "#ops", "room_id": 7, "kind": "group", "role": "admin", "sealed": False},
        {"room": "@alice", "room_id": 9, "kind": "direct", "role": "member", "sealed": False},
    ],
}


def said(seq: int, text: str = "hi", room: int = 7, by: str = "alice", by_id: int = 1, **more: Any) -> dict[str, Any]:
    """A message, as the json dialect sends it."""
    name = "#ops" if room == 7 else "@alice"
    at = "2026-11-21T05:20:11.123Z"
    return {
        "ev": "say",
        "seq": seq,
        "room": name,
        "room_id": room,
        "by": by,
        "by_id": by_id,
        "at": at,
        "text": text,
    } | more


def bobs_view() -> View:
    """Bob is in #ops and has a conversation with alice."""
    view = View()
    view.arrived(ARRIVAL)
    return view


def entry(text: str, mid: str | None = None, account: int = 2) -> Entry:
    """A line for #ops."""
    return Entry(mid or new_mid(), account, "say", 7, text, 1_700_000_000_000)


class OutboxTests(SynchronousTestCase):
    """What waits is sent once, and in order."""

    def test_one_line_is_on_its_way_at_a_time(self) -> None:
        """The second line goes when the first is stored."""
        box = Outbox([first := entry("1"), second := entry("2")])
        self.assertEqual(box.next(2), first)
        self.assertIsNone(box.next(2))
        box.stored(first.mid)
        self.assertEqual(box.next(2), second)

    def test_a_cut_connection_sends_the_same_line_again(self) -> None:
        """What was on its way goes first, under the same mid."""
        box = Outbox([first := entry("1"), entry("2")])
        box.next(2)
        box.cut()
        self.assertEqual(box.next(2), first)

    def test_what_passes_by_keeps_its_place(self) -> None:
        """A line that was too fast, or met a busy server, is sent again before those behind it."""
        for code in ("RATE", "BUSY", "DRAINING", "INTERNAL"):
            box = Outbox([first := entry("1"), entry("2")])
            box.next(2)
            fate = box.refused(first.mid, code, 3)
            self.assertEqual(fate.wait, 3)
            self.assertEqual(box.next(2), first)

    def test_what_is_refused_for_good_leaves(self) -> None:
        """A line to a room that I am not in any more blocks nothing."""
        box = Outbox([first := entry("1"), second := entry("2")])
        box.next(2)
        self.assertIsNone(box.refused(first.mid, "NOT_MEMBER").wait)
        self.assertEqual(box.next(2), second)

    def test_stored_is_said_once(self) -> None:
        """The answer and the event both say it; only the first counts."""
        box = Outbox([only := entry("1")])
        self.assertEqual(box.stored(only.mid), only)
        self.assertIsNone(box.stored(only.mid))

    def test_lines_of_somebody_else_stay(self) -> None:
        """After another login the lines of the one before wait for their own."""
        box = Outbox([entry("hers", account=1), mine := entry("mine")])
        self.assertEqual(box.next(2), mine)

    def test_mids_sort_by_time_and_are_valid(self) -> None:
        """A mid is a UUIDv7."""
        first, second = new_mid(1_700_000_000_000), new_mid(1_700_000_000_001)
        self.assertLess(first, second)
        self.assertEqual(uuid.UUID(first).version, 7)
        self.assertEqual(uuid.UUID(first).variant, uuid.RFC_4122)
        self.assertEqual(mid_of("deploy-42", 2), mid_of("deploy-42", 2))
        self.assertNotEqual(mid_of("deploy-42", 2), mid_of("deploy-42", 3))


class StoreTests(SynchronousTestCase):
    """One file, sealed."""

    def setUp(self) -> None:
        self.root = Path(self.mktemp())
        self.profile = profile.Profile("default", self.root)
        self.addCleanup(self.profile.release)

    def open(self, passphrase: str | None = None) -> Store:
        """The profile's store."""
        store = Store(self.profile.database)
        self.addCleanup(store.close)
        store.unlock(*profile.unlock(self.profile, store.wrap, passphrase))
        return store

    def test_everything_comes_back(self) -> None:
        """Events, cursors, the outbox and typed lines survive a restart."""
        store = self.open()
        store.add([Held(5, 7, LINE, said(5)), Held(6, 7, MENTION, said(6, "bob!"))], cursor=6)
        store.queue(waiting := entry("secret plans"))
        store.remember("/members")
        store.close()
        store = self.open()
        self.assertEqual([each["seq"] for each in store.last(7, 10)], [5, 6])
        self.assertEqual(store.unread(7, 5), [(6, MENTION)])
        self.assertEqual(store.get("cursor"), 6)
        self.assertEqual(store.outbox(), [waiting])
        self.assertEqual(store.typed(), ["/members"])
        store.unqueue(waiting.mid)
        self.assertEqual(store.outbox(), [])

    def test_nothing_is_readable_in_the_file(self) -> None:
        """No text, name or token stands in the file or its log."""
        store = self.open()
        store.add([Held(5, 7, LINE, said(5, "canary-text"))], token="canary-token", rooms=["canary-room"])
        store.queue(entry("canary-line"))
        store.remember("canary-typed")
        for path in self.profile.path.iterdir():
            self.assertNotIn(b"canary", path.read_bytes(), path.name)

    def test_a_row_opens_only_as_itself(self) -> None:
        """A row moved to another place is noticed."""
        store = self.open()
        store.put(token="abc", theme="dark")
        with sqlite3.connect(self.profile.database) as db:
            db.execute("UPDATE kept SET body = (SELECT body FROM kept WHERE name = 'theme') WHERE name = 'token'")
        db.close()
        self.assertRaises(Unreadable, store.get, "token")

    def test_the_folder_is_the_owners(self) -> None:
        """The folder is 0700, the key 0600."""
        self.open()
        self.assertEqual(self.profile.path.stat().st_mode & 0o777, 0o700)
        self.assertEqual((self.profile.path / "key").stat().st_mode & 0o777, 0o600)

    def test_one_process_per_profile(self) -> None:
        """A second one is told; another profile is free."""
        self.assertRaises(profile.InUse, profile.Profile, "default", self.root)
        profile.Profile("bob", self.root).release()

    def test_a_passphrase(self) -> None:
        """With a passphrase there is no key file, and only the passphrase opens the profile."""
        store = self.open("correct horse")
        store.put(token="abc")
        store.close()
        self.assertFalse((self.profile.path / "key").exists())
        self.assertRaises(profile.Locked, self.open)
        self.assertRaises(profile.Locked, self.open, "wrong")
        self.assertEqual(self.open("correct horse").get("token"), "abc")

    def test_wrapping_again(self) -> None:
        """The master key stays the same under another wrap."""
        vault, key = Vault(new_key()), new_key()
        sealed = vault.seal("kept", "x", b"body")
        self.assertEqual(unwrap(vault.wrapped_by_key(key), key).open("kept", "x", sealed), b"body")


class ViewTests(SynchronousTestCase):
    """Counts follow from cursor and seq alone."""

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.tuples(st.sampled_from(["line", "mention", "look"]), st.integers(1, 30))))
    def test_unread_is_what_is_past_the_cursor(self, steps: list[tuple[str, int]]) -> None:
        """In whatever order lines come and looks are taken, the counts are those of the lines past the cursor."""
        place = Place(7, "#ops", "group")
        lines: list[tuple[int, int]] = []
        seq = 0
        for what, number in steps:
            if what == "look":
                place.look(number)
            else:
                seq += number
                weight = MENTION if what == "mention" else LINE
                place.count(seq, weight)
                lines.append((seq, weight))
        self.assertEqual(place.unread, sum(line > place.read for line, _ in lines))
        self.assertEqual(place.mentions, sum(line > place.read and weight == MENTION for line, weight in lines))

    def test_nothing_is_folded_twice(self) -> None:
        """An event that comes again counts once."""
        view = bobs_view()
        event = said(5)
        self.assertTrue(view.fold(event, as_event(event)))
        self.assertFalse(view.fold(event, as_event(event)))
        self.assertEqual(view.places[7].unread, 1)

    def test_mentions(self) -> None:
        """My name as a word, and everything in a conversation of two, means me."""
        view = bobs_view()
        texts = ["bob: hi", "@bob", "Bob?", "bobby", "bob-by", "alice"]
        weights = [view.weight(as_event(said(1, text))) for text in texts]
        self.assertEqual(weights, [MENTION, MENTION, MENTION, LINE, LINE, LINE])
        self.assertEqual(view.weight(as_event(said(1, "x", room=9))), MENTION)
        self.assertEqual(view.weight(as_event(said(1, "bob", by="bob", by_id=2))), 0)

    def test_what_i_say_was_seen(self) -> None:
        """Writing in a room is having looked at it."""
        view = bobs_view()
        for event in (said(5), said(6, by="bob", by_id=2)):
            view.fold(event, as_event(event))
        self.assertEqual(view.places[7].unread, 0)

    def test_rooms_come_and_go(self) -> None:
        """Joined, renamed, promoted, handed over, removed."""
        view = bobs_view()
        base = {"room_id": 8, "room": "#new", "by": "alice", "by_id": 1, "at": 0, "who": "bob", "who_id": 2}
        joined = {"ev": "joined", "seq": 1, "data": {"how": "added", "name": "#new", "sealed": False}} | base
        view.fold(joined, as_event(joined))
        self.assertEqual(view.places[8].name, "#new")
        for seq, kind, role in ((2, "promoted", "admin"), (3, "transferred", "owner"), (4, "demoted", "member")):
            event = {"ev": kind, "seq": seq} | base
            view.fold(event, as_event(event))
            self.assertEqual(view.places[8].role, role)
        renamed = {"ev": "renamed", "seq": 5, "text": "#old"} | base
        view.fold(renamed, as_event(renamed))
        self.assertEqual(view.places[8].name, "#old")
        removed = {"ev": "removed", "seq": 6} | base
        view.current = 8
        view.fold(removed, as_event(removed))
        self.assertNotIn(8, view.places)
        self.assertEqual(view.current, 0)

    def test_kept_and_restored(self) -> None:
        """A later start shows the same counts."""
        view = bobs_view()
        event = said(5, "bob!")
        view.fold(event, as_event(event))
        later = View()
        later.restore(view.kept(), {7: [(5, MENTION)]})
        self.assertEqual(later.kept(), view.kept())
        self.assertEqual((later.places[7].unread, later.places[7].mentions), (1, 1))

    def test_next_unread(self) -> None:
        """First who means me, then in order."""
        view = bobs_view()
        view.current = 0
        for event in (said(5), said(6, room=9)):
            view.fold(event, as_event(event))
        place = view.next_unread()
        assert place is not None
        self.assertEqual(place.name, "@alice")


class FormattingTests(SynchronousTestCase):
    """Untrusted text can never move the cursor or colour the screen."""

    @settings(max_examples=300, deadline=None)
    @given(st.text(st.characters(), max_size=200))
    def test_nothing_gets_through(self, text: str) -> None:
        """Whatever is written, what is shown has no control character, line separator or bidi override."""
        shown = "".join(formatting.plain(row) for row in formatting.block(text))
        for letter in shown:
            point = ord(letter)
            self.assertFalse(
                point < 32 or 127 <= point < 160 or letter in "\u2028\u2029\u202a\u202e\u2066\u2069", hex(point)
            )

    def test_markup(self) -> None:
        """Marks count at the edges of words only; code is left as it stands."""
        cases = {
            "*bold* x": [("class:bold", "bold"), ("", " x")],
            "_it_": [("class:italic", "it")],
            "~no~": [("class:strike", "no")],
            "a `*x*`": [("", "a "), ("class:code", "*x*")],
            "snake_case_name 2*3*4": [("", "snake_case_name 2*3*4")],
            "* not * bold": [("", "* not * bold")],
        }
        for text, wanted in cases.items():
            self.assertEqual(formatting.inline(text), wanted, text)

    def test_fences(self) -> None:
        """Between fences everything is code."""
        rows = formatting.block("see\n```py\n*x* = 1\n```\n*y*")
        self.assertEqual(rows, [[("", "see")], [("class:code", "*x* = 1")], [("class:bold", "y")]])

    def test_width(self) -> None:
        """Wide characters take two columns."""
        self.assertEqual(formatting.width("日本"), 4)
        self.assertEqual(formatting.cut("日本語", 5), "日本…")
        self.assertEqual(formatting.rows("日本", 3), 2)

    def test_emoji(self) -> None:
        """Names become pictures when shown; with --ascii they stay names."""
        self.assertEqual(formatting.plain(formatting.inline("go :rocket: at 10:30:00")), "go 🚀 at 10:30:00")
        for typed in ("2 ** 3", "__ and ~~", "``", "a * b * c", "** x **"):
            self.assertEqual(formatting.plain(formatting.inline(typed)), typed)  # marks around nothing mark nothing
        self.assertEqual(formatting.plain(formatting.inline("go :rocket:", ascii_only=True)), "go :rocket:")

    def test_colours_are_stable(self) -> None:
        """The same person has the same colour in every run."""
        self.assertEqual(formatting.colour("alice"), formatting.colour("alice"))
        self.assertGreater(len({formatting.colour(f"p{number}") for number in range(100)}), 6)


class LineTests(SynchronousTestCase):
    """How events stand on the screen, and which of them may still change."""

    def test_shapes(self) -> None:
        """Here, elsewhere, and a conversation of two that is not before one's eyes: marked, where it is open."""
        view = bobs_view()
        writer = Writer(view)

        def shown(event: dict[str, Any]) -> str:
            line = writer.event(as_event(event), event["room"])
            assert line is not None
            return "\n".join(formatting.plain(row) for row in line.shown())[6:]

        self.assertEqual(view.current, 7)
        self.assertEqual(shown(said(5)), "alice: hi")
        self.assertEqual(shown(said(5, by="bob", by_id=2, mid="m")), "bob: hi  +")
        self.assertEqual(shown(said(5, room=9)), "[alice] [open] hi")
        self.assertEqual(shown(said(5, room=9, by="bob", by_id=2)), "[me -> alice] [open] hi  +")
        view.places[9].sealed = True
        self.assertEqual(shown(said(5, room=9)), "[alice] hi")
        self.assertEqual(shown(said(5, room=9, by="bob", by_id=2)), "[me -> alice] hi  +")
        view.current = 9
        self.assertEqual(shown(said(5)), "#ops alice: hi")
        self.assertEqual(shown(said(5, room=9)), "alice: hi")
        self.assertIn("\n", shown(said(5, "two\nlines")))
        self.assertRegex(shown(said(5, "two\nlines")), r"alice \| lines$")

    def test_a_mark_changes_below_the_scrollback(self) -> None:
        """Stored lines wait for `++`, those of others behind them wait too, and all leave in order."""
        tail = Tail(keep=3)
        mine = Line([[("", "mine")]], room=7, seq=5, mid="m", mark=Mark.STORED)
        self.assertEqual(tail.add(Line([[("", "a")]]))[0].rows, [[("", "a")]])
        self.assertEqual(tail.add(mine), [])
        hers = Line([[("", "b")]])
        self.assertEqual(tail.add(hers), [])
        self.assertEqual(tail.seen(7, 5), [mine, hers])
        self.assertEqual(mine.mark, Mark.SEEN)

    def test_enough_behind_it_lets_a_line_go(self) -> None:
        """A line nobody sees leaves as it is, when the tail is full."""
        tail = Tail(keep=2)
        mine = Line([[("", "mine")]], mark=Mark.STORED)
        out = tail.add(mine) + tail.add(Line([[]])) + tail.add(Line([[]]))
        self.assertEqual((out[0], out[0].mark), (mine, Mark.STORED))

    def test_what_is_tall_is_shown_whole(self) -> None:
        """An answer of many rows is not cut to what the tail has room for, whatever above it still waits."""
        tail = Tail()
        mine = Line([[("", "mine")]], room=7, seq=5, mid="m", mark=Mark.STORED)
        help_ = Line([[("", str(number))] for number in range(TALL + 1)])
        later = Line([[("", "later")]], room=7, seq=6, mid="n", mark=Mark.STORED)
        self.assertEqual(tail.add(mine), [])
        self.assertEqual(tail.add(help_), [mine, help_])
        self.assertEqual((tail.add(later), tail.lines, mine.mark), ([], [later], Mark.STORED))

    def test_queued_lines_stay_last(self) -> None:
        """What the server has given no place yet stays below what it has."""
        tail = Tail()
        queued = Line([[("", "later")]], mid="m", mark=Mark.QUEUED)
        self.assertEqual(tail.add(queued), [])
        hers = Line([[("", "now")]])
        self.assertEqual(tail.add(hers), [hers])
        self.assertIs(tail.take("m"), queued)
        self.assertEqual(tail.queued, [])


TABLE = [
    {"do": "kick", "usage": "/kick <user> [reason...]", "aliases": ["/8"], "needs": "admin", "topic": "Admin",
     "help": "", "example": "", "args": [{"name": "user", "shape": "word", "required": True},
                             {"name": "reason", "shape": "rest", "required": False}]},
    {"do": "join", "usage": "/join <room>", "aliases": [], "needs": "login", "topic": "Groups", "help": "",
     "example": "", "args": [{"name": "room", "shape": "word", "required": True}]},
    {"do": "send", "usage": "/send [path...]", "aliases": ["/9"], "needs": "login", "topic": "Files", "help": "",
     "example": "", "args": [{"name": "path", "shape": "rest", "required": False}]},
]  # fmt: skip


class CompletionTests(SynchronousTestCase):
    """Tab, from the table and the view."""

    def offers(self, before: str) -> list[str]:
        """What Tab offers behind this."""
        return [offer.text.rstrip() for offer in completion.offers(before, bobs_view(), Commands(TABLE))]

    def test_what_is_offered(self) -> None:
        """Commands, people (who is online first), rooms, emoji."""
        self.assertEqual(self.offers("/ki"), ["/kick"])
        self.assertEqual(self.offers("/kick "), ["alice", "carol"])
        self.assertEqual(self.offers("/8 c"), ["carol"])
        self.assertEqual(self.offers("/kick #o"), ["#ops"])
        self.assertEqual(self.offers("/kick #ops al"), ["alice"])
        self.assertEqual(self.offers("/kick alice "), [])
        self.assertEqual(self.offers("/join "), ["#ops"])
        self.assertEqual(self.offers("@al"), ["@alice"])
        self.assertEqual(self.offers("see #o"), ["#ops"])
        self.assertIn("🚀", self.offers("to :ro"))
        self.assertEqual(self.offers("at 10:30"), [])
        self.assertEqual(self.offers("hello"), [])

    def test_paths(self) -> None:
        """Files and folders of this one."""
        folder = Path(self.mktemp())
        (folder / "sub").mkdir(parents=True)
        (folder / "trip.png").touch()
        (folder / ".hidden").touch()
        self.assertEqual(self.offers(f"/send {folder}/tri"), ["trip.png"])
        self.assertEqual(self.offers(f"/send {folder}/"), ["sub/", "trip.png"])
