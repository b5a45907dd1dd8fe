"""Reading beside the writer: nobody waits for a search, and a roster continues with the events behind it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.memory import Client, Server


class ReadingTests(SynchronousTestCase):
    """Two people in a group."""

    def setUp(self) -> None:
        self.server = Server(Path(self.mktemp()))
        self.addCleanup(self.server.stop)
        self.alice, self.bob = self.server.program("alice"), self.server.program("bob")
        self.alice.call(do="create", room="#ops", people=["bob"])
        self.alice.call(do="say", room="#ops", text="hello")
        self.alice.events(), self.bob.events()

    def answer(self, client: Client, number: int) -> dict[str, Any]:
        """The answer to a call, among what has come."""
        return next(found for found in client.objects() if found.get("re") == number)

    def test_nobody_waits_for_a_search(self) -> None:
        """While a search looks through a room others log in, read and hear; the search is answered when it is done."""
        self.server.scanner.hold()
        self.alice.ask(id=99, do="search", room="#ops", words="hell")
        self.alice.ask(id=100, do="history", room="#ops")
        self.assertEqual(self.bob.code(do="say", room="#ops", text="still here"), "ok")
        self.assertEqual(len(self.bob.call(do="history", room="#ops")["ok"]["lines"]), 2)
        self.assertEqual(self.server.resume("bob").welcome["name"], "bob")
        carol = self.server.program("carol")
        self.assertEqual(carol.welcome["name"], "carol")
        for fields in ({"since": "2h"}, {"on": "2023-11-14"}):
            self.bob.ask(id=7, do="history", room="#ops", **fields)
            self.assertEqual([found for found in self.bob.objects() if found.get("re") == 7], [])
            self.server.scanner.step()
        self.server.scanner.release()
        found = self.alice.objects()
        lines = next(each for each in found if each.get("re") == 99)["ok"]["lines"]
        self.assertEqual([line["text"] for line in lines], ["hello"])
        self.assertEqual(len(next(each for each in found if each.get("re") == 100)["ok"]["lines"]), 2)

    def test_a_roster_is_not_older_than_what_was_heard(self) -> None:
        """Who came in between the look and the answer is in the roster, though their coming was heard before it."""
        carol = self.server.program("carol")
        self.server.readers.hold()
        self.bob.ask(id=99, do="roster", room="#ops")
        self.server.readers.hold()
        self.alice.ask(id=1, do="add", room="#ops", user="carol")
        self.server.readers.release()
        heard = self.bob.objects()
        self.assertEqual([found.get("ev", found.get("as")) for found in heard], ["joined", "roster"])
        names = {member["name"] for member in heard[-1]["ok"]["members"]}
        self.assertEqual(names, {"alice", "bob", "carol"})
        self.assertTrue(carol.objects())

    def test_talk_does_not_hold_it_up(self) -> None:
        """What is only said meanwhile changes no roster: it is read once."""
        self.server.readers.hold()
        self.bob.ask(id=99, do="roster", room="#ops")
        self.alice.ask(id=1, do="say", room="#ops", text="hi")
        self.assertTrue(self.server.readers.step())
        self.assertEqual(self.answer(self.bob, 99)["as"], "roster")
        self.server.readers.release()

    def test_a_room_that_never_rests(self) -> None:
        """Where somebody comes or goes at each look, it is asked for behind what is written, and answered at last."""
        self.server.readers.hold()
        self.bob.ask(id=99, do="roster", room="#ops")
        for number in range(3):
            self.alice.ask(id=number, do="topic", room="#ops", text=f"number {number}")
            self.server.readers.step()
        self.server.readers.release()
        answer = next(found for found in self.bob.objects() if found.get("re") == 99)
        self.assertEqual(answer["ok"]["topic"], "number 2")
