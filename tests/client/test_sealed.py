"""Sealed rooms at whole chats, against the whole server: it costs the person nothing, and the server reads nothing."""

from __future__ import annotations

import secrets
from base64 import b64encode
from pathlib import Path
from typing import Any

from client import arrival
from client.crypto import encoding
from client.outbox import new_mid
from tests.client.inmemory import Cable, ChatTestCase, Person
from tests.memory import PASSWORD


class Base(ChatTestCase):
    """bob and alice in the sealed group #ops, which bob made."""

    def setUp(self) -> None:
        super().setUp()
        self.bob, self.alice = self.person("bob"), self.person("alice")
        self.bob.type("/create #ops alice")
        self.alice.type("/join #ops")


class TalkingTests(Base):
    """What a person sees."""

    def test_the_prompt(self) -> None:
        """A group made with chat is sealed, one made with --open is not, and the prompt says so."""
        self.assertEqual(self.bob.chat.talk.prompt, "#ops(admin) [e2e]> ")
        self.bob.type("/create --open #plain")
        self.assertEqual(self.bob.chat.talk.prompt, "#plain(admin) [open]> ")
        self.bob.type("/join #fresh")
        self.assertIn("#fresh did not exist: created. You are admin.", self.bob.seen)
        self.assertEqual(self.bob.chat.talk.prompt, "#fresh(admin) [e2e]> ")

    def test_talking(self) -> None:
        """A line goes from one to the other, with its marks, as in an open room."""
        self.bob.type("hi")
        self.assertEqual((self.bob.said()[-1], self.alice.said()[-1]), ("bob: hi  +", "bob: hi"))
        self.alice.type("hello")
        self.assertEqual(self.bob.said()[-1], "alice: hello")
        self.wait(4)
        self.assertIn("bob: hi  ++", self.bob.said())

    def test_somebody_offline(self) -> None:
        """The first message to somebody who is away just works: it is there when they come."""
        self.alice.kill()
        self.bob.type("@alice for later")
        self.bob.type("and here")
        self.alice.start()
        self.assertEqual(self.alice.said()[-2:], ["bob: and here", "[bob] for later"][::-1])

    def test_somebody_without_keys(self) -> None:
        """To who has no keys nothing goes in clear by itself: it is said what to type."""
        carol = self.server.program("carol")
        told = "carol has no keys here. /dm --open carol talks in clear: the server can read it."
        self.bob.type("@carol hi")
        self.bob.type("/dm carol")
        self.assertEqual(self.bob.seen.count(told), 2)
        self.bob.type("/dm --open carol")
        self.assertEqual(self.bob.chat.talk.prompt, "@carol [open]> ")
        self.bob.type("in clear")
        self.assertIn("in clear", [event.get("text") for event in carol.events()])
        self.bob.type("/switch #ops")
        self.bob.type("/dm --sealed carol")
        self.assertEqual((self.bob.seen[-1], self.bob.chat.talk.prompt), (told, "#ops(admin) [e2e]> "))

    def test_in_clear_from_another_room(self) -> None:
        """Who has no keys and wrote first is answered in clear. Elsewhere that is said, once for each conversation;
        where the prompt says it, it is not.
        """
        for name in ("carol", "dave"):
            self.server.program(name).call(do="msg", user="bob", text="hi", mid=new_mid())
        self.settle()
        told = "{} has no keys here: this goes in clear, the server can read it."
        for line in ("@carol one", "@carol two", "@alice sealed"):
            self.bob.type(line)
        self.assertEqual([row for row in self.bob.seen if "in clear" in row], [told.format("carol")])
        self.assertIn("[me -> carol] [open] two  +", self.bob.said())
        self.bob.type("/switch @dave")
        self.bob.type("@dave hi")
        self.assertNotIn(told.format("dave"), self.bob.seen)
        self.bob.type("/switch #ops")
        self.bob.type("@Dave hi")
        self.assertIn(told.format("dave"), self.bob.seen)

    def test_search(self) -> None:
        """What was opened here is found here; the server could not."""
        for text in ("the deploy is at nine", "lunch?", "Deploy done"):
            self.bob.type(text)
        self.alice.type("/search deploy")
        self.assertEqual([row[20:] for row in self.alice.seen[-2:]], ["bob: the deploy is at nine", "bob: Deploy done"])

    def test_history(self) -> None:
        """A page of the past says what was said."""
        self.bob.type("one")
        self.alice.type("/history 1")
        self.assertEqual(self.alice.seen[-1][20:], "bob: one")

    def test_text_that_was_asked_for(self) -> None:
        """What answers `Text: ` is as sealed as what stands in the line."""
        for lines in (("@alice", "canary1"), ("/msg", "alice", "canary2"), ("/msg alice", "canary3")):
            for typed in lines:
                self.bob.type(typed)
            self.assertEqual(self.bob.said()[-1], f"[me -> alice] {lines[-1]}  +")
            self.assertEqual(self.alice.said()[-1], f"[bob] {lines[-1]}")
        self.bob.type("/say")
        self.assertEqual(self.bob.chat.talk.prompt, "Text: ")
        self.bob.type("canary4")
        self.assertEqual(self.alice.said()[-1], "bob: canary4")
        self.assertNotIn("canary", "".join(cable.said for cable in self.bob.cables))

    def test_the_past_is_rendered(self) -> None:
        """`/history` and `/search` show emoji, markup and fences as the line itself did, sealed or open."""
        for typed in ("/create #sealed", "/create --open #open"):
            self.bob.type(typed)
            self.bob.chat.typist.say("so *very* :rocket: `:rocket:`\n```\n*code*\n```\n_end_")
            self.settle()
            said = ["bob: so very 🚀 :rocket:", "bob | *code*", "bob | end"]
            self.assertEqual([row.rstrip(" +") for row in self.bob.said()[-3:]], said)
            for command in ("/history 1", "/search very"):
                self.bob.type(command)
                self.assertEqual([row[20:] for row in self.bob.seen[-3:]], said)

    def test_a_group_of_admins(self) -> None:
        """Everything an admin does in a sealed group, as a person types it."""
        for name in ("carol", "dave"):
            self.person(name).type("/join #ops")
        for line in ("/approve all", "/promote alice", "/door open", "/ban dave why", "/unban dave", "/demote alice",
                     "/rename #dev", "/remove carol", "/topic Releases"):  # fmt: skip
            self.bob.type(line)
        self.alice.type("still here")
        self.assertEqual(self.bob.said()[-1], "alice: still here")
        self.assertEqual(self.bob.chat.talk.prompt, "#dev(admin) [e2e]> ")
        self.bob.type("/transfer alice")
        self.bob.type("y")
        self.assertIn("alice now owns #dev.", [row[6:] for row in self.alice.seen])
        self.bob.type("/leave")
        self.alice.type("alone")
        self.assertEqual(self.alice.said()[-1][:13], "alice: alone ")

    def test_an_open_door(self) -> None:
        """Whoever comes through a door that the signed log says is open signs their own entry."""
        self.bob.type("/door open")
        carol = self.person("carol")
        carol.type("/join #ops")
        carol.type("hi all")
        self.assertEqual(self.bob.said()[-1], "carol: hi all")
        self.assertEqual(carol.chat.talk.prompt, "#ops [e2e]> ")

    def test_deleting_the_account(self) -> None:
        """The account's own word in each sealed group goes first; the heir can go on."""
        self.bob.type("/delete-account")
        self.bob.type(PASSWORD)
        self.alice.type("/promote bob")
        self.alice.type("/door open")
        self.alice.type("on my own")
        self.assertEqual(self.alice.said()[-1][:16], "alice: on my own")
        log = self.alice.chat.sealed.courier.sealing.log(self.alice.chat.view.current, self.alice.chat.now())
        assert log is not None
        self.assertEqual((list(log.members), log.door), ([2], "open"))

    def test_the_same_device_logs_in_again(self) -> None:
        """What came while it was logged out is opened when it is back, without a warning."""
        self.alice.type("/logout")
        self.bob.type("while you were out")
        for line in ("l", "alice", PASSWORD):
            self.alice.type(line)
        self.wait(2)
        self.assertIn("bob: while you were out", self.alice.said())
        self.bob.type("and now")
        self.assertEqual(self.alice.said()[-1], "bob: and now")

    def test_a_page_of_the_past_twice(self) -> None:
        """What was opened for one page of the past is there for the next one."""
        self.patch(arrival, "REPLAY", 0)
        self.patch(arrival, "FIRST_SCREEN", 1)
        self.alice.type("/logout")
        self.bob.type("one")
        self.bob.type("two")
        for line in ("l", "alice", PASSWORD):
            self.alice.type(line)
        self.wait(2)
        for _ in range(2):
            self.alice.type("/history 2")
            self.assertEqual([row[20:] for row in self.alice.seen[-2:]], ["bob: one", "bob: two"])

    def test_telnet_is_no_reason(self) -> None:
        """A line of telnet in a sealed room is refused, and the room stays what it is."""
        program = self.server.program("carol")
        self.bob.type("/add carol")
        self.assertIn("carol has no keys here and cannot be in a sealed group.", self.bob.seen)
        self.assertEqual(program.code(do="say", room="#ops", text="hi"), "NOT_MEMBER")
        telnet = self.server.back("alice")
        self.assertIn("#ops is end-to-end encrypted; this connection cannot decrypt. Use chat.", telnet.type("hi"))
        self.alice.type("sealed as ever")
        self.assertEqual(self.bob.said()[-1], "alice: sealed as ever")


class StockTests(Base):
    """One-time keys, while chat runs."""

    def test_new_ones_are_brought(self) -> None:
        """When others have used them up, new ones are there a little later; and the fallback key is weekly."""
        keys = self.alice.chat.sealed.keys
        for name in [f"p{number}" for number in range(27)]:
            self.person(name).type("@alice hi")
        self.assertEqual(len(self.alice.said()) - 1, 27)
        self.wait(8)
        left = self.server.sql("SELECT count(*) FROM prekey WHERE device = ?", self.device(self.alice))
        self.assertGreaterEqual(left[0][0], 25)
        self.assertFalse(keys.own.fallback_due(self.alice.chat.now()))

    def device(self, person: Person) -> int:
        """The row of somebody's device."""
        name = encoding.text(person.chat.sealed.keys.own.id)
        return int(self.server.sql("SELECT id FROM device WHERE name = ?", name)[0][0])


class LostTests(Base):
    """Envelopes that do not come."""

    def test_an_envelope_is_lost(self) -> None:
        """Its message is said to be closed, then asked for, and is there; what follows never stopped."""
        carry = Cable.carry

        def loses(cable: Cable, *, answers: bool = True) -> bool:
            received = cable.client.dataReceived

            def drop(data: bytes) -> None:
                lines = [line for line in data.split(b"\n") if b'"ev":"envelope"' not in line]
                received(b"\n".join(lines))

            cable.client.dataReceived = drop
            try:
                return carry(cable, answers=answers)
            finally:
                cable.client.dataReceived = received

        self.bob.type("before")
        self.patch(Cable, "carry", loses)
        self.bob.type("lost")
        self.patch(Cable, "carry", carry)
        self.assertEqual(self.alice.said()[-1], "bob: (cannot be opened on this device)")
        self.bob.type("after")
        self.assertEqual(self.alice.said()[-1], "bob: after")
        self.wait(20)
        self.assertIn("bob: lost", self.alice.said())
        self.alice.kill()
        self.alice.start()
        self.assertEqual(self.alice.said()[-3:], ["bob: before", "bob: lost", "bob: after"])

    def test_events_before_their_envelopes(self) -> None:
        """What was missed may come before what opens it: nothing is said to be closed meanwhile."""
        begin, held = Cable.__init__, list[dict[str, Any]]()

        def behind(line: dict[str, Any]) -> list[dict[str, Any]]:
            if line.get("ev") == "envelope":
                held.append(line)
                return []
            came = [*held, line] if line.get("as") == "pong" else [line]
            del held[: len(came) - 1]
            return came

        def made(cable: Cable, *args: Any) -> None:
            begin(cable, *args)
            cable.lie = behind

        self.alice.pull()
        self.bob.type("missed")
        self.patch(Cable, "__init__", made)
        self.alice.plug()
        self.assertEqual(self.alice.said()[-1], "bob: missed")
        self.assertNotIn("cannot be opened", " ".join(self.alice.seen))

    def test_killed_when_it_came_at_last(self) -> None:
        """Killed between the envelope that was asked for and the line that it opens: the next process reads it."""
        cable = self.alice.cables[-1]
        cable.lie = lambda line: [] if line.get("ev") == "envelope" else [line]
        self.bob.type("lost")
        cable.lie = None

        def die(event: object) -> None:
            raise OSError("killed")

        self.patch(self.alice.chat.store, "keep", die)
        self.wait(20)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        self.assertNotIn("bob: lost", self.alice.said())
        self.alice.kill()
        self.alice.start()
        self.settle()
        self.assertEqual(self.alice.said().count("bob: lost"), 1)


class KilledTests(Base):
    """kill -9 at every moment, on both sides: nothing lost, nothing doubled, nothing encrypted twice under one key."""

    def test_the_sender(self) -> None:
        """Killed before, on and after the wire: what was typed arrives, and once."""
        for number, moment in enumerate(("typed", "sent", "answered")):
            text = f"line {number}"
            self.bob.type(text, settle=False)
            if moment != "typed":
                self.bob.cables[-1].carry(answers=False)
                self.server.advance(0)
            if moment == "answered":
                self.settle()
            self.bob.kill()
            self.bob.start()
        self.settle()
        self.assertEqual([row for row in self.alice.said() if "line" in row], [f"bob: line {n}" for n in range(3)])
        self.no_key_twice(self.bob)

    def test_the_receiver(self) -> None:
        """Killed after each byte run that the server sends: each line is there once, in order."""
        for number in range(6):
            self.bob.type(f"line {number}", settle=False)
            self.bob.cables[-1].carry()
            self.server.advance(0)
            if number % 2:
                self.alice.cables[-1].carry()
            self.alice.kill()
            self.alice.start()
        self.settle()
        self.assertEqual([row for row in self.alice.said() if "line" in row], [f"bob: line {n}" for n in range(6)])
        self.assertNotIn("could not be opened", "\n".join(self.alice.seen))

    def test_between_opening_and_showing(self) -> None:
        """Killed when a line was opened and its key forgotten, before it was shown: it is shown by the next process."""

        def die(*_: object, **__: object) -> None:
            raise OSError("killed")

        self.patch(self.alice.chat.store, "add", die)
        self.bob.type("opened")
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        self.alice.kill()
        self.alice.start()
        self.settle()
        self.assertEqual([row for row in self.alice.said() if "bob: " in row], ["bob: opened"])

    def test_through_many_cuts(self) -> None:
        """Both cables cut again and again: each line arrives once, in order, without a warning."""
        for number in range(30):
            self.bob.type(f"line {number}", settle=number % 2 == 0)
            if number % 3 == 0:
                self.bob.pull()
                self.bob.plug()
            if number % 7 == 0:
                self.alice.pull()
                self.alice.plug()
        self.wait(3)
        self.assertEqual([row for row in self.alice.said() if "line" in row], [f"bob: line {n}" for n in range(30)])
        self.assertNotIn("Warning", "\n".join(self.alice.seen))
        self.no_key_twice(self.bob)

    def no_key_twice(self, person: Person) -> None:
        """No two different bodies that went over the wire were sealed under one key: their commitments differ."""
        from orjson import loads

        from client.crypto import message

        said: dict[bytes, set[str]] = {}
        for cable in person.cables:
            for line in cable.said.splitlines():
                call = loads(line)
                if call["do"] == "say" and "sealed" in call:
                    _, header = message.from_wire(encoding.data(call["sealed"]))
                    said.setdefault(header.commitment, set()).add(call["sealed"])
        self.assertTrue(said)
        self.assertEqual([bodies for bodies in said.values() if len(bodies) > 1], [])


class CanaryTests(ChatTestCase):
    """No plaintext anywhere (E2E.md §10.3)."""

    def test_nothing_can_be_read(self) -> None:
        """Random words that were said, and the recovery code, stand neither in the server's files nor on the wire."""
        wire: list[bytes] = []
        carry = Cable.carry

        def heard(cable: Cable, *, answers: bool = True) -> bool:
            received = cable.client.dataReceived

            def tap(data: bytes) -> None:
                wire.append(data)
                received(data)

            cable.client.dataReceived = tap
            try:
                return carry(cable, answers=answers)
            finally:
                cable.client.dataReceived = received

        self.patch(Cable, "carry", heard)
        bob, alice = self.person("bob"), self.person("alice")
        bob.type("/create #ops alice")
        canaries = [secrets.token_hex(12) for _ in range(3)]
        bob.type(f"in the group {canaries[0]}")
        alice.type(f"@bob to one {canaries[1]}")
        bob.pull()
        alice.type(f"@bob while away {canaries[2]}")
        bob.plug()
        for person, text in ((alice, canaries[0]), (bob, canaries[1]), (bob, canaries[2])):
            self.assertIn(text, "\n".join(person.seen))
        codes = [row.split()[-1] for person in (bob, alice) for row in person.seen if "Recovery code" in row]
        self.assertEqual(len(codes), 2)
        sent = [cable.said.encode() for person in self.people for cable in person.cables]
        stored = [path.read_bytes() for path in Path(self.root).rglob("*") if path.is_file()]
        self.assertTrue(any(b"SQLite format 3" in data for data in stored))
        self.assertTrue(wire)
        self.assertEqual(found([*sent, *wire, *stored], [*canaries, *codes]), [])

    def test_the_search_finds_what_is_there(self) -> None:
        """The same search finds what is said in an open room: so the test above is one."""
        bob, alice = self.pair()
        canary = secrets.token_hex(12)
        bob.type(canary)
        self.assertEqual(alice.said()[-1], f"bob: {canary}")
        stored = [path.read_bytes() for path in Path(self.root).rglob("*") if path.is_file()]
        self.assertEqual(found(stored, [canary]), [canary])


def found(haystacks: list[bytes], canaries: list[str]) -> list[str]:
    """Which of these stand somewhere: raw, in hex, or in base64 at any offset."""
    hits = []
    for canary in canaries:
        raw = canary.encode()
        forms: list[Any] = [raw, raw.hex().encode(), raw.hex().upper().encode(), canary.replace("-", "").encode()]
        forms += [b64encode(b"\x00" * shift + raw)[4:-4] for shift in range(3)]
        if any(form in data for data in haystacks for form in forms):
            hits.append(canary)
    return hits
