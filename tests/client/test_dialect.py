"""What the json dialect has for a client that serves a person: sentences by name, questions, and who has seen what."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.memory import PASSWORD, Server


class PersonsClientTests(SynchronousTestCase):
    """The server in memory, spoken to as `chat` does."""

    def setUp(self) -> None:
        self.server = Server(Path(self.mktemp()))
        self.addCleanup(self.server.stop)

    def test_an_answer_names_its_sentence(self) -> None:
        """An answer says which sentence of the catalogue a person is to be shown; none where the events say it all."""
        alice = self.server.program("alice")
        self.assertEqual(alice.call(do="join", room="#ops")["as"], "autocreated")
        self.assertEqual(alice.call(do="members", room="#ops")["as"], "members")
        self.assertNotIn("as", alice.call(do="say", room="#ops", text="hi"))

    def test_a_refusal_holds_the_question(self) -> None:
        """What is missing comes as a question; the call repeated with the answer, and what was asked, goes on."""
        bob = self.server.connect()
        error = bob.call(do="register")["error"]
        self.assertEqual((error["code"], error["ask"]["field"]), ("BAD_USAGE", "name"))
        self.assertEqual(error["ask"]["text"], "Username: ")
        error = bob.call(do="register", name="bob")["error"]
        self.assertTrue(error["ask"]["secret"])
        self.assertEqual(error["ask"]["text"], "Password (8+ characters, a capital, a number): ")
        error = bob.call(do="register", name="bob", password=PASSWORD, asked=["name", "password"])["error"]
        self.assertEqual(error["ask"]["text"], "Again: ")
        answer = bob.call(do="register", name="bob", password=PASSWORD, again=PASSWORD, asked=["name", "password"])
        self.assertEqual((answer["as"], answer["ok"]["name"]), ("welcome", "bob"))

    def test_not_confirmed_is_asked(self) -> None:
        """A call that says it is not confirmed is asked back; programs that say nothing are not."""
        alice, _ = self.server.program("alice"), self.server.program("bob")
        alice.call(do="create", room="#ops", people=["bob"])
        error = alice.call(do="transfer", room="#ops", user="bob", confirmed=False)["error"]
        self.assertEqual(error["ask"]["text"], "Make bob owner of #ops and step down? [y/N] ")
        self.assertIn("ok", alice.call(do="transfer", room="#ops", user="bob"))

    def test_a_list_leads_its_question(self) -> None:
        """What is to be shown above a question comes with it, as lines."""
        alice = self.server.program("alice")
        alice.call(do="join", room="#ops")
        for name in ("bob", "carol"):
            self.server.program(name).call(do="join", room="#ops")
        ask = alice.call(do="approve", room="#ops")["error"]["ask"]
        self.assertRegex(ask["lead"][0], r"^1 bob \d\d:\d\d  2 carol \d\d:\d\d$")
        self.assertEqual(ask["text"], "Whom? ")

    def test_nonsense_about_questions_is_refused(self) -> None:
        """`asked` is a list of names and `confirmed` a yes or no."""
        alice = self.server.program("alice")
        for wrong in ({"asked": "name"}, {"asked": [1]}, {"confirmed": "y"}):
            self.assertEqual(alice.call(do="whoami", **wrong)["error"]["code"], "BAD_USAGE")

    def test_seen_by_all(self) -> None:
        """A line is seen once the cursor of every other member has passed it; alone, nothing ever is."""
        alice, bob, carol = map(self.server.program, ("alice", "bob", "carol"))
        alice.call(do="create", room="#ops")
        self.assertEqual(alice.call(do="seen", room="#ops")["ok"]["seq"], 0)
        alice.call(do="add", room="#ops", user="bob")
        alice.call(do="add", room="#ops", user="carol")
        seq = alice.call(do="say", room="#ops", text="hi")["ok"]["seq"]
        bob.call(do="ack", seq=seq)
        self.assertLess(alice.call(do="seen", room="#ops")["ok"]["seq"], seq)
        carol.call(do="ack", seq=seq)
        self.assertEqual(alice.call(do="seen", room="#ops")["ok"]["seq"], seq)
