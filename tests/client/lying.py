"""A server that lies on the cable to one chat, while all else is honest: what the tests of a dishonest server share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.client.inmemory import ChatTestCase, Person

Line = dict[str, Any]
Lie = Callable[[Line], list[Line]]
NOT_SHOWN = "(not shown: this is not what alice sent)"
GAP = "Warning: something that alice said before this in #ops has not come."


class LyingTestCase(ChatTestCase):
    """alice, bob and carol in #ops, which is sealed. The server lies to bob."""

    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bob, self.carol = (self.person(name) for name in ("alice", "bob", "carol"))
        self.alice.type("/create #ops bob carol")
        for person in (self.bob, self.carol):
            person.type("/join #ops")
        self.alice.type("before")
        self.bob.type("before, too")

    def lie(self, lie: Lie, *typed: str, to: Person | None = None, by: Person | None = None) -> None:
        """While the server lies to somebody (bob), somebody (alice) types."""
        cable = (to or self.bob).cables[-1]
        cable.lie = lie
        for line in typed:
            (by or self.alice).type(line)
        cable.lie = None

    def heals(self, *warnings: str, hidden: str = "EVIL", gap: bool = False) -> None:
        """What must not be seen is not, the warnings are, and talk goes on both ways; with a `gap`, what is missing
        is missed.
        """
        seen = self.bob.seen
        self.assertNotIn(hidden, " ".join(seen))
        for warning in warnings:
            self.assertIn(warning, " | ".join(seen))
        self.alice.type("after all this")
        self.bob.type("and back")
        self.assertIn("alice: after all this", self.bob.said())
        self.assertIn("bob: and back", self.alice.said())
        if gap:
            self.assertIn(GAP, self.bob.seen)

    def each(self, kind: str, change: Callable[[Line], Line]) -> Lie:
        """Every line of this kind is another."""
        return lambda line: [change(line)] if line.get("ev") == kind else [line]

    def without(self, *kinds: str) -> Lie:
        """Lines of these kinds are left out."""
        return lambda line: [] if line.get("ev") in kinds else [line]
