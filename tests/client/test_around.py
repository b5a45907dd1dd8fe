"""Who is there, away or typing, as `chat` shows it: the status line, and what is told to others."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from client.around import TYPING, Around
from client.formatting import width
from client.status import status
from client.view import LINE, MENTION, View
from tests.client.inmemory import ChatTestCase, Person

OPS, DIRECT = 7, 8


def view() -> View:
    """I am carol, in #ops and in a conversation with bob; #ops is open."""
    found = View()
    rooms = [
        {"room": "#ops", "room_id": OPS, "kind": "group", "role": "member", "sealed": False},
        {"room": "@bob", "room_id": DIRECT, "kind": "direct", "role": "member", "sealed": False},
    ]
    found.arrived({"name": "carol", "account": 3, "current": OPS, "people": [], "rooms": rooms})
    return found


def presence(room: int, *people: tuple[str, str, str], whole: bool = False) -> dict[str, Any]:
    """What the server tells."""
    return {"room_id": room, "whole": whole, "people": [[name, 1, state, text] for name, state, text in people]}


class StatusTests(SynchronousTestCase):
    """The line below the prompt, without a terminal."""

    def setUp(self) -> None:
        self.view = view()
        self.around = Around()

    def line(self, columns: int = 78, now: float = 0.0, **more: bool) -> str:
        """The line."""
        return status("online", self.view, self.around, now, columns, **more)

    def test_quiet(self) -> None:
        """Where nothing is to be said there stands only the connection."""
        self.around.presence(presence(OPS, ("bob", "online", ""), whole=True))
        self.assertEqual(self.line(), "online")

    def test_unread(self) -> None:
        """Rooms with unread lines stand there by their key, those that mean me marked."""
        self.view.places[OPS].count(5, LINE)
        self.view.places[DIRECT].count(6, MENTION)
        self.assertEqual(self.line(), "online  1 #ops 1  2 @bob [open] 1!")

    def test_sealed_and_open(self) -> None:
        """Of two conversations with one person that which the server can read is marked; not where they are sealed."""
        self.view.enter(9, "@bob", "direct", "member", True)
        self.view.places[DIRECT].count(6, MENTION)
        self.view.places[9].count(7, MENTION)
        self.assertEqual(self.line(), "online  2 @bob [open] 1!  3 @bob 1!")

    def test_away(self) -> None:
        """Who of the room is away, and what they say; of many, some."""
        self.around.presence(presence(OPS, ("bob", "away", "lunch"), ("dave", "away", ""), ("eve", "online", "")))
        self.assertEqual(self.line(), "online  away: bob (lunch) and dave")
        self.around.presence(presence(OPS, ("eve", "away", "\x1b[2J"), ("bob", "online", "")))
        self.assertEqual(self.line(), "online  away: dave and eve (\ufffd[2J)")
        self.around.presence(presence(OPS, ("dave", "offline", "")))
        self.assertEqual(self.line(), "online  away: eve (\ufffd[2J)")

    def test_offline_in_a_conversation(self) -> None:
        """In a conversation of two it is said that the other one is not there, once that is known."""
        self.view.current = DIRECT
        self.assertEqual(self.line(), "online")
        self.around.presence(presence(DIRECT, ("carol", "online", ""), whole=True))
        self.assertEqual(self.line(), "online  bob is offline")

    def test_typing(self) -> None:
        """Who types here is named for a while, or until their line comes (and not by a word about that line
        which comes after it); not who types elsewhere, and not I."""
        for room, names in ((OPS, ["bob", "carol"]), (DIRECT, ["eve"])):
            people = [[name, 3 if name == "carol" else 1] for name in names]
            self.around.typing({"room_id": room, "people": people}, 3, 100.0)
        self.assertEqual(self.line(now=100.0), "online  bob is typing…")
        self.assertEqual(self.line(now=100.0, ascii_only=True), "online  bob is typing...")
        self.assertEqual(self.line(now=100.0 + TYPING), "online")
        self.around.typing({"room_id": OPS, "people": [["dave", 4], ["eve", 5], ["fay", 6]]}, 3, 101.0)
        self.assertEqual(self.line(now=101.0), "online  bob, dave and 2 more are typing…")
        self.around.typing({"room_id": OPS, "people": [["bob", 2]]}, 3, 101.0)
        for name in ("bob", "eve", "fay"):
            self.around.said(OPS, name, 101.0)
        self.assertEqual(self.line(now=101.0), "online  dave is typing…")
        self.around.typing({"room_id": OPS, "people": [["bob", 2]]}, 3, 101.3)
        self.assertEqual(self.line(now=101.3), "online  dave is typing…")
        self.around.typing({"room_id": OPS, "people": [["bob", 2]]}, 3, 102.1)
        self.assertEqual(self.line(now=102.1), "online  dave and bob are typing…")

    def test_narrow(self) -> None:
        """Where there is no room, who is typing is seen first."""
        self.around.typing({"room_id": OPS, "people": [["bob", 2]]}, 3, 0.0)
        self.view.places[DIRECT].count(6, MENTION)
        self.assertEqual(self.line(18), "on  bob is typing…")
        self.assertEqual(self.line(10), "bob is typ")

    @given(st.integers(0, 200), st.text(max_size=30), st.text(min_size=1, max_size=10))
    def test_always_within_the_line(self, columns: int, text: str, name: str) -> None:
        """Whatever people are called and say, the line fits and holds no control character."""
        around = Around()
        around.presence(presence(OPS, (name, "away", text)))
        around.typing({"room_id": OPS, "people": [[name, 2]]}, 3, 0.0)
        line = status("online", view(), around, 0.0, columns)
        self.assertLessEqual(width(line), columns)
        self.assertNotRegex(line, r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class TalkTests(ChatTestCase):
    """Between two chats and a server."""

    def pair(self) -> tuple[Person, Person]:
        """Bob and alice, both in #ops, both looking at a status line."""
        bob, alice = super().pair()
        for person in (bob, alice):
            person.pull()
            person.screen.watches = True
            person.plug()
        return bob, alice

    def line(self, person: Person) -> str:
        """Their status line."""
        chat = person.chat
        return status(chat.connection(), chat.view, chat.around, chat.clock(), 78)

    def typed(self, person: Person) -> int:
        """How often this person said to be typing."""
        return sum(cable.said.count('"do":"typing"') for cable in person.cables)

    def test_typing_is_seen(self) -> None:
        """What bob begins to type is seen by alice, until his line comes."""
        bob, alice = self.pair()
        bob.chat.typist.typing("he")
        self.wait(2)
        self.assertEqual(self.line(alice), "online  bob is typing…")
        self.assertEqual(self.line(bob), "online")
        bob.type("hello")
        self.assertEqual(self.line(alice), "online")

    def test_typing_is_told_seldom(self) -> None:
        """While bob types it is told every four seconds, and in another room at once."""
        bob, _ = self.pair()
        for number in range(8):
            bob.chat.typist.typing("x" * (number + 1))
            self.wait(1)
        self.assertEqual(self.typed(bob), 2)
        bob.type("/join #dev")
        bob.chat.typist.typing("x")
        self.settle()
        self.assertEqual(self.typed(bob), 3)

    def test_what_is_not_told(self) -> None:
        """Commands, answers to questions and passwords are not told of, nor anything where that is switched off."""
        bob, _ = self.pair()
        for text in ("", "   ", "/kick alice", "@alice psst"):
            bob.chat.typist.typing(text)
        bob.type("/dm")
        bob.chat.typist.typing("ali")
        bob.type("")
        bob.chat.typist.tells = False
        bob.chat.typist.typing("hello")
        self.settle()
        self.assertEqual(self.typed(bob), 0)
        bob.pull()
        bob.chat.typist.tells = True
        bob.chat.typist.typing("offline, too, this is no trouble")

    def test_away(self) -> None:
        """Alice says that she is away, is back, goes, and comes: bob sees it; offline he claims to know nothing."""
        bob, alice = self.pair()
        alice.type("/away lunch")
        self.wait(1)
        self.assertEqual(self.line(bob), "online  away: alice (lunch)")
        self.assertEqual(self.line(alice), "online  away: you (lunch)")
        self.assertIs(bob.chat.view.people["alice"], True)
        alice.type("/away")
        self.wait(1)
        self.assertEqual(self.line(bob), "online")
        bob.type("/dm alice")
        alice.kill()
        self.wait(1)
        self.assertEqual(self.line(bob), "online  alice is offline")
        self.assertIs(bob.chat.view.people["alice"], False)
        bob.pull()
        self.assertTrue(self.line(bob).startswith("offline"))
        self.assertNotIn("alice", self.line(bob))
