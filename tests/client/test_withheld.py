"""A dishonest server again (tests/client/test_dishonest.py): lines twice, in another order or never, and envelopes so.

The rule: each line of a room is read once, in its place, or missed in so many words; what was withheld is asked for
until it comes.
"""

from __future__ import annotations

from base64 import b64decode, b64encode

from tests.client.lying import GAP, Line, LyingTestCase


class OrderTests(LyingTestCase):
    """Once, in order, all; and whose envelope it is."""

    def test_replayed(self) -> None:
        """A line that is sent once more under a new number is shown once."""
        kept: list[Line] = []
        self.lie(lambda line: kept.append(line) or [line] if line.get("ev") in ("say", "envelope") else [line], "once")

        def again(line: Line) -> list[Line]:
            if line.get("ev") == "envelope":
                return [{**kept[0], "n": line["n"], "seq": line["seq"]}]
            return [{**kept[1], "seq": line["seq"]}] if line.get("ev") == "say" else [line]

        self.lie(again, "twice")
        self.assertEqual(self.bob.said().count("alice: once"), 1)
        self.heals("(not shown: this was said before)", hidden="twice", gap=True)

    def test_doubled(self) -> None:
        """Lines that come twice are shown once."""
        self.lie(lambda line: [line, line], "once")
        self.assertEqual(self.bob.said().count("alice: once"), 1)
        self.heals()

    def test_reordered(self) -> None:
        """Two lines in the wrong order are said to be so."""
        held: list[Line] = []

        def swap(line: Line) -> list[Line]:
            if line.get("ev") != "say":
                return [line]
            if not held:
                held.append(line)
                return []
            return [{**line, "seq": held[0]["seq"]}, {**held[0], "seq": line["seq"]}]

        self.lie(swap, "one", "two")
        self.heals(GAP, "Warning: the line above is out of its place; it was sent earlier.")

    def test_left_out(self) -> None:
        """A line that never comes is missed with the next one."""
        self.lie(self.without("say", "envelope"), "EVIL")
        self.assertNotIn(GAP, self.bob.seen)
        self.heals(gap=True)

    def test_41_skipped(self) -> None:
        """More envelopes are kept back than a ratchet can skip: what comes after them is read all the same, and they
        are sent again.
        """
        self.lie(self.without("envelope"), *(f"EVIL {number}" for number in range(45)))
        self.assertEqual(sum("(cannot be opened on this device)" in row for row in self.bob.said()), 45)
        self.heals()
        self.wait(20)
        self.assertEqual([row for row in self.bob.said() if "EVIL" in row], [f"alice: EVIL {n}" for n in range(45)])

    def withheld(self) -> None:
        """An envelope is never sent to bob, and those after it are acknowledged: the server has forgotten it."""
        self.lie(self.without("envelope"), "withheld")
        self.alice.type("after it")
        self.wait(2)
        device = self.bob.chat.sealed.hello()["device"]
        kept = self.server.sql(
            "SELECT count(*) FROM envelope e JOIN device d ON d.id = e.device WHERE d.name = ?", device
        )
        self.assertEqual(kept, [(0,)])
        self.assertNotIn("alice: withheld", self.bob.said())

    def comes_at_last(self, seconds: int = 20) -> None:
        """It is read then, once."""
        self.wait(seconds)
        self.assertEqual(self.bob.said().count("alice: withheld"), 1, self.bob.said())
        self.heals()

    def test_withheld(self) -> None:
        """Who sent it is asked for it, and sends it again."""
        self.withheld()
        self.comes_at_last()

    def test_withheld_from_who_was_killed(self) -> None:
        """It is asked for by the next process, too."""
        self.withheld()
        self.bob.kill()
        self.bob.start()
        self.comes_at_last()

    def test_withheld_and_offline(self) -> None:
        """It is asked for when there is a server again, and sent when its sender is there again."""
        self.withheld()
        self.alice.kill()
        self.bob.pull()
        self.wait(30)
        self.bob.plug()
        self.alice.start()
        self.comes_at_last(1)

    def test_withheld_again(self) -> None:
        """So is the answer: it is asked for again, after longer and longer."""
        self.withheld()
        cable = self.bob.cables[-1]
        cable.lie = self.without("envelope")
        self.wait(30)
        posts = cable.said.count('"do":"post"')
        self.wait(120)
        self.assertEqual((cable.said.count('"do":"post"'), posts), (1, 1))
        cable.lie = None
        self.comes_at_last(600)

    def test_what_was_not_for_me(self) -> None:
        """Who came later asks nobody for what was said before."""
        dave = self.person("dave")
        self.alice.type("/add dave")
        dave.type("/history")
        self.wait(80)
        self.assertNotIn('"do":"post"', dave.cables[-1].said)

    def test_envelope_withheld_for_a_while(self) -> None:
        """An envelope that comes later opens its line in its place; nothing else came meanwhile."""
        self.lie(self.without("envelope"), "for later")
        self.assertIn("(cannot be opened on this device)", self.bob.said()[-1])
        self.bob.pull()
        self.bob.plug()
        self.assertIn("alice: for later", self.bob.said())
        self.heals()

    def test_wrong_inbox(self) -> None:
        """Another device's envelope opens nothing here; the sender is asked, and sends it again."""
        stolen: list[str] = []
        cable = self.carol.cables[-1]
        cable.lie = lambda line: stolen.append(line["envelope"]) or [line] if line.get("ev") == "envelope" else [line]
        self.alice.type("one")
        cable.lie = None
        self.lie(self.each("envelope", lambda line: {**line, "envelope": stolen[0]}), "two")
        self.assertIn("Something from alice could not be opened. It is asked for again.", self.bob.seen)
        self.wait(61)
        self.heals()

    def test_cut_envelope(self) -> None:
        """An envelope with another byte in it opens nothing, and heals."""

        def cut(line: Line) -> Line:
            raw = bytearray(b64decode(line["envelope"]))
            raw[-1] ^= 1
            return {**line, "envelope": b64encode(raw).decode()}

        self.lie(self.each("envelope", cut), "said twice")
        self.assertIn("Something from alice could not be opened. It is asked for again.", self.bob.seen)
        self.wait(61)
        self.heals()
