"""Keys by hand: safety numbers, a changed key, several devices, a lost one, recovery (E2E.md §8), at whole chats."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from client.people import picture
from tests.client.inmemory import ChatTestCase, Person
from tests.memory import PASSWORD

CODE = re.compile(r"/device add ([A-Z2-7-]+)")
RECOVERY = re.compile(r"write it down: ([A-Z2-7-]+)")


class Base(ChatTestCase):
    """alice and bob, who have talked."""

    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bob = self.person("alice"), self.person("bob")
        self.alice.type("/dm bob")
        self.alice.type("hello")
        self.bob.type("/dm alice")

    def told(self, person: Person, line: str) -> list[str]:
        """What a line brings to the screen."""
        before = Counter(person.seen)
        person.type(line)
        rows = []
        for row in person.seen:
            before[row] -= 1
            rows += [row] if before[row] < 0 else []
        return rows

    def number(self, person: Person, other: str) -> str:
        """The safety number that somebody sees."""
        rows = [row.strip() for row in self.told(person, f"/safety {other}")]
        return "".join(row.replace(" ", "") for row in rows if re.fullmatch(r"(\d{5} ?){4}", row))

    def another(self, name: str, profile: str) -> Person:
        """A person's second device, logged in."""
        device = Person(self, profile)
        for line in ("l", name, PASSWORD):
            device.type(line)
        return device

    def find(self, person: Person, pattern: re.Pattern[str]) -> str:
        """Something that stood on the screen."""
        found = pattern.search("\n".join(person.seen))
        assert found is not None, person.seen
        return found[1]


class SafetyTests(Base):
    """Comparing numbers."""

    def test_same_on_both_sides(self) -> None:
        """Both see the same sixty digits, with a picture of them, and how it stands."""
        rows = self.told(self.alice, "/safety bob")
        self.assertEqual(rows[0], "Safety number of you and bob (not compared yet):")
        self.assertEqual(rows[-1], "Compare it with bob, side by side or by voice. The same? /verify bob")
        self.assertGreater(sum(set(row) <= set("█▀▄ ") for row in rows), 10)
        number = self.number(self.alice, "bob")
        self.assertEqual(len(number), 60)
        self.assertEqual(self.number(self.bob, "alice"), number)

    def test_in_a_conversation(self) -> None:
        """In a conversation of two it is the other one's; elsewhere a name is wanted."""
        self.assertEqual(self.told(self.alice, "/safety")[0], "Safety number of you and bob (not compared yet):")
        self.alice.type("/create #ops")
        self.assertEqual(self.told(self.alice, "/safety"), ["Whose? For instance: /safety bob"])
        self.assertEqual(self.told(self.alice, "/keys"), ["Whose? For instance: /keys bob"])

    def test_verify(self) -> None:
        """Typed in, with spaces or without, the number makes somebody verified; another one does not."""
        number = self.number(self.alice, "bob")
        wrong = f"{(int(number[0]) + 1) % 10}{number[1:]}"
        self.assertIn("That is not the number", self.told(self.alice, f"/verify bob {wrong}")[0])
        self.assertEqual(self.told(self.alice, "/verify bob 12345"), ["A safety number has 60 digits, these are 5."])
        self.alice.type("/verify bob")
        self.assertEqual(self.told(self.alice, f"{number[:30]} {number[30:]}"), ["bob is verified."])
        self.assertEqual(self.told(self.alice, "/safety bob")[0], "Safety number of you and bob (verified):")
        self.assertEqual(self.told(self.bob, "/safety alice")[0], "Safety number of you and alice (not compared yet):")
        self.assertEqual(self.told(self.alice, "/keys bob")[0], "bob: verified. Devices:")

    def test_verify_without_a_name(self) -> None:
        """In a conversation of two a number alone is the other one's, in groups or not; elsewhere a name is wanted."""
        number = self.number(self.alice, "bob")
        groups = " ".join(number[at : at + 5] for at in range(0, 60, 5))
        self.assertEqual(self.told(self.alice, f"/verify {groups}"), ["bob is verified."])
        self.assertEqual(self.told(self.alice, "/verify 12345 678"), ["A safety number has 60 digits, these are 8."])
        self.alice.type("/verify")
        self.assertEqual(self.alice.chat.talk.prompt, "The 60 digits that bob sees: ")
        self.assertEqual(self.told(self.alice, number), ["bob is verified."])
        self.alice.type("/create #ops")
        self.assertEqual(self.told(self.alice, f"/verify {number}"), ["Whose? For instance: /verify bob"])

    def test_nobody(self) -> None:
        """Who does not exist, has no keys, or is oneself has no number."""
        telnet = self.server.person("erin")
        self.assertIn("No such person: nobody.", self.told(self.alice, "/safety nobody")[0])
        self.assertIn("erin has no keys here.", self.told(self.alice, "/safety erin")[0])
        self.assertIn("That is you.", self.told(self.alice, "/safety alice")[0])
        telnet.lose()

    def test_picture(self) -> None:
        """The picture is a QR code of the digits with its quiet border, two rows of it in a line."""
        rows = picture("0" * 60)
        self.assertEqual({len(row) for row in rows}, {29})
        self.assertEqual(len(rows), 15)
        self.assertEqual(rows[0], "█" * 29)


class ChangeTests(Base):
    """Another key in somebody's place."""

    def setUp(self) -> None:
        super().setUp()
        self.new = self.another("bob", "bob-2")
        self.new.type("/recover new")
        self.new.type("y")
        self.new.type("/dm alice")
        self.new.type("it is me")

    def test_told_and_stopped(self) -> None:
        """A changed key is told, what came under it is held, nothing is sent; accepted, all goes on."""
        self.assertIn("bob's key changed; nothing is sent until /accept bob or /verify bob.", self.alice.seen)
        self.alice.type("who are you?")
        self.assertNotIn("it is me", " ".join(self.alice.said()))
        self.assertNotIn("who are you?", " ".join(self.new.said()))
        self.assertEqual(self.told(self.alice, "/keys bob")[0], "bob: bob's key changed. Devices:")
        self.alice.type("/accept bob")
        self.assertIn("bob's new key is accepted. Better compare it: /safety bob", self.alice.seen)
        self.assertIn("it is me", " ".join(self.alice.said()))
        self.alice.type("really?")
        self.assertIn("really?", " ".join(self.new.said()))

    def test_not_changed(self) -> None:
        """Where nothing changed there is nothing to accept."""
        self.alice.type("/accept bob")
        self.assertEqual(self.told(self.alice, "/accept bob"), ["bob's key has not changed."])

    def test_the_number_is_another(self) -> None:
        """The number shows that the key is another, and that both have the new one."""
        number = self.number(self.alice, "bob")
        self.assertEqual(self.number(self.new, "alice"), number)
        self.alice.type("/verify bob " + number)
        self.assertIn("bob is verified.", self.alice.seen)
        self.assertIn("it is me", " ".join(self.alice.said()))


class VerifiedChangeTests(Base):
    """Another key in the place of one that was compared."""

    def test_must_be_compared_again(self) -> None:
        """Who was verified is not taken back without comparing."""
        self.alice.type("/verify bob " + self.number(self.alice, "bob"))
        new = self.another("bob", "bob-2")
        new.type("/recover new")
        new.type("y")
        new.type("/dm alice")
        new.type("it is me")
        self.assertIn("You had verified bob.", self.told(self.alice, "/accept bob")[0])
        self.assertNotIn("it is me", " ".join(self.alice.said()))
        self.alice.type("/verify bob " + self.number(self.alice, "bob"))
        self.assertIn("it is me", " ".join(self.alice.said()))


class DeviceTests(Base):
    """Several devices of one person."""

    def test_linked(self) -> None:
        """A new device shows a code; typed on the first one it makes the device one of mine, which others are told."""
        laptop = self.another("alice", "laptop")
        code = self.find(laptop, CODE)
        self.assertTrue(any("A new device asks to be one of yours." in row for row in self.alice.seen))
        wrong = self.told(self.alice, "/device add AAAA-BBBB-CCCC-DDDD")
        self.assertEqual(wrong, ["No device asks with that code. Compare it with what the new device shows."])
        self.alice.type(f"/device add {code.lower()}")
        self.assertIn("Added. What is written from now on can be read there, too.", self.alice.seen)
        self.assertIn("This device is one of yours now.", laptop.seen)
        self.bob.type("to both of you")
        self.assertIn("to both of you", " ".join(self.alice.said()))
        laptop.type("/dm bob")
        self.assertIn("to both of you", " ".join(laptop.said()))
        laptop.type("from the laptop")
        self.assertIn("from the laptop", " ".join(self.bob.said()))
        self.assertIn("from the laptop", " ".join(self.alice.said()))
        self.assertIn("alice has a new device.", self.bob.seen)
        rows = self.told(laptop, "/devices")
        self.assertRegex(rows[0], r"^1  [0-9a-f]{4}-[0-9a-f]{4}  since \d{4}-\d\d-\d\d$")
        self.assertRegex(rows[1], r"^2  [0-9a-f]{4}-[0-9a-f]{4}  since \d{4}-\d\d-\d\d  \(this one\)$")

    def test_not_linked(self) -> None:
        """Before it is linked a device reads nothing sealed and says what to do."""
        laptop = self.another("alice", "laptop")
        self.bob.type("only for the first one")
        laptop.type("/dm bob")
        laptop.type("hi")
        self.assertNotIn("only for the first one", " ".join(laptop.seen))
        self.assertIn("This device is new: sealed rooms cannot be read or written here yet.", " ".join(laptop.seen))
        self.assertIn(
            "Only a device with your account key can do that: your first one, or one where /recover was done.",
            self.told(laptop, "/device revoke 1"),
        )

    def test_what_it_cannot_open(self) -> None:
        """What was said before it came is one line on a new device, so that its code stays in sight; a single message
        stands as it is.
        """
        self.bob.type("old")
        laptop = self.another("alice", "laptop")
        self.assertEqual(laptop.said(), ["[bob] (cannot be opened on this device)"])
        for number in range(11):
            self.bob.type(f"old {number}")
        tablet = self.another("alice", "tablet")
        self.assertEqual(tablet.said(), ["(12 messages cannot be opened on this device)"])

    def test_code_stays(self) -> None:
        """A device asks with one code, however often it is started before it is added."""
        laptop = self.another("alice", "laptop")
        code = self.find(laptop, CODE)
        laptop.kill()
        laptop.start()
        self.assertEqual(self.find(laptop, CODE), code)
        self.alice.type(f"/device add {code}")
        self.assertIn("This device is one of yours now.", laptop.seen)

    def test_revoked(self) -> None:
        """A revoked device is logged out, and reads nothing that was written after; one's own one is not revoked."""
        laptop = self.another("alice", "laptop")
        self.alice.type(f"/device add {self.find(laptop, CODE)}")
        self.assertEqual(
            self.told(self.alice, "/device revoke 1"), ["This is the device you sit at. Revoke it from another one."]
        )
        self.assertEqual(self.told(self.alice, "/device revoke 7"), ["No such device: 7. /devices"])
        self.alice.type("/device revoke 2")
        self.assertRegex(self.alice.chat.talk.prompt, r"^Revoke [0-9a-f-]{9}  since \S+\? It is logged out. \[y/N\] $")
        self.alice.type("y")
        self.assertRegex(" ".join(self.alice.seen), r"Revoked: [0-9a-f]{4}-[0-9a-f]{4}")
        self.bob.type("not for the laptop")
        self.assertNotIn("not for the laptop", " ".join(laptop.seen))
        self.assertIn("not for the laptop", " ".join(self.alice.said()))
        self.assertEqual(len([row for row in self.told(self.alice, "/devices") if "since" in row]), 1)

    def test_usage(self) -> None:
        """What is no way to use it says which there are."""
        for line in ("/device", "/device add", "/device drop 1", "/device revoke first"):
            usage = ["Usage: /device add CODE, or /device revoke NUMBER"]
            self.assertEqual(self.told(self.alice, line), usage, line)


class RecoveryTests(Base):
    """The first device is gone."""

    def test_by_the_code(self) -> None:
        """With the recovery code another device has the account key and what was verified; nobody sees a change."""
        self.alice.type("/verify bob " + self.number(self.alice, "bob"))
        code = self.find(self.alice, RECOVERY)
        self.alice.kill()
        new = self.another("alice", "new")
        new.type("/recover")
        self.assertTrue(new.chat.talk.secret)
        new.type("AAAA-BBBB")
        self.assertIn("That is not your recovery code.", new.seen)
        new.type("/recover")
        new.type(code)
        self.assertIn("Your keys are back. Devices that you have lost: /devices", new.seen)
        self.assertEqual(self.told(new, "/keys bob")[0], "bob: verified. Devices:")
        new.type("/dm bob")
        new.type("I am back")
        self.assertIn("I am back", " ".join(self.bob.said()))
        self.assertNotIn("key changed", " ".join(self.bob.seen))
        new.type("/device revoke 1")
        new.type("y")
        self.assertEqual(len([row for row in self.told(new, "/devices") if "since" in row]), 1)

    def test_cut_off_while_registering(self) -> None:
        """The code that was shown opens what the server keeps, also where the connection ended before it had it."""
        erin = Person(self, "erin")
        cable = erin.cables[-1]

        def cut(line: dict[str, Any]) -> list[dict[str, Any]]:
            if {"manifest", "hash"} <= (line.get("ok") or {}).keys():
                self.server.reactor.callLater(0, cable.cut)
            return [line]

        cable.lie = cut
        erin.register()
        self.wait(31)
        code = self.find(erin, RECOVERY)
        erin.kill()
        new = self.another("erin", "new")
        new.type("/recover")
        new.type(code)
        self.assertIn("Your keys are back. Devices that you have lost: /devices", new.seen)

    def test_refused_while_registering(self) -> None:
        """Where the server will not keep it yet, it is tried again; a device that is added meanwhile harms no key."""
        erin = Person(self, "erin")
        refused: list[str] = []

        def refuse(line: dict[str, Any]) -> list[dict[str, Any]]:
            if "blob" in (line.get("ok") or {}) and len(refused) < 3:
                refused.append("once")
                return [{"re": line["re"], "error": {"code": "BUSY", "text": "The server cannot write just now."}}]
            return [line]

        erin.cables[-1].lie = refuse
        erin.register()
        laptop = self.another("erin", "laptop")
        erin.type(f"/device add {self.find(laptop, CODE)}")
        self.wait(20)
        self.assertEqual(len(refused), 3)
        self.assertIsNotNone(erin.chat.sealed.keys.account_key)
        self.assertTrue(erin.chat.sealed.ready)
        rows = self.told(erin, "/devices")
        self.assertEqual(len(rows), 2, rows)

    def test_not_in_a_line(self) -> None:
        """The code is not typed in a command, and never shown or remembered."""
        code = self.find(self.alice, RECOVERY)
        refused = self.told(self.alice, f"/recover {code}")
        self.assertEqual(refused, ["Do not type the code in a command. Use: /recover"])

    def test_offline(self) -> None:
        """Without a connection nothing is done and nothing is queued."""
        self.alice.pull()
        self.assertEqual(self.told(self.alice, "/safety bob"), ["Offline. Commands are not queued: nothing was done."])
