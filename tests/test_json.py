"""The json dialect as programs meet it: sessions, answers, events, exactly once; the whole server in memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chatd.command import TABLE
from tests.memory import ABROAD, PASSWORD, Client, Server, instances, settings

DAY = 86_400


def mid(number: int) -> str:
    """A client-made id."""
    return f"0190f7a2-0000-7000-8000-{number:012}"


class Base(SynchronousTestCase):
    """A server and programs on it."""

    settings = settings()

    def setUp(self) -> None:
        self.server = Server(Path(self.mktemp()), settings=self.settings)
        self.addCleanup(self.server.stop)

    def group(self, *names: str) -> list[Client]:
        """These programs are in #ops, the first one its owner, and have read all there was."""
        clients = [self.server.program(name) for name in names]
        clients[0].call(do="create", room="#ops", people=list(names[1:]))
        for client in clients:
            client.events()
        return clients

    def texts(self, client: Client) -> list[str]:
        """What was said, of the events that have come."""
        return [event["text"] for event in client.events() if event["ev"] == "say"]

    def stored(self) -> int:
        """How many events there are."""
        count: int = self.server.sql("SELECT count(*) FROM event")[0][0]
        return count


class SessionTests(Base):
    """hello, tokens, since."""

    def test_hello_before_login(self) -> None:
        """hello tells the version, the node, the newest seq, the password policy and the table of commands."""
        client = self.server.connect()
        answer = client.call(do="hello", version=1, client="test 1.0")["ok"]
        self.assertEqual((answer["version"], answer["server"], answer["node"], answer["seq"]), (1, "chatd", 1, 0))
        self.assertEqual(answer["policy"], {"length": 8, "capital": True, "number": True})
        self.assertEqual(answer["message_characters"], 4_000)
        self.assertEqual([entry["do"] for entry in answer["commands"]], list(TABLE))
        kick = next(entry for entry in answer["commands"] if entry["do"] == "kick")
        self.assertEqual((kick["usage"], kick["aliases"], kick["needs"]), ("/kick <user> [reason...]", ["/8"], "admin"))
        self.assertEqual(kick["args"][0], {"name": "user", "shape": "word", "required": True})
        self.assertNotIn("commands", client.call(do="hello", table="no")["ok"])

    def test_another_version_is_refused(self) -> None:
        """A program of another protocol is told which one this is."""
        answer = self.server.connect().call(do="hello", version=2)
        self.assertEqual(answer["error"]["code"], "BAD_USAGE")
        self.assertIn('"version":1', answer["error"]["text"])

    def test_login(self) -> None:
        """A login brings a token, the newest seq, rooms with role and door, and people with presence."""
        alice, _ = self.group("alice", "bob")
        alice.call(do="say", room="#ops", text="hi")
        welcome = self.server.resume("bob").welcome
        self.assertRegex(welcome["token"], "^[0-9a-f]{64}$")
        self.assertEqual((welcome["name"], welcome["seq"], welcome["cursor"]), ("bob", 5, 2))
        room = {"room": "#ops", "role": "member", "kind": "group", "sealed": False, "door": "ask", "new": 1}
        self.assertEqual([{name: found[name] for name in room} for found in welcome["rooms"]], [room])
        self.assertEqual(welcome["people"], [["alice", True]])
        self.assertEqual(welcome["missed"], [["#ops", 1]])

    def test_token_resumes(self) -> None:
        """The token logs in again; a wrong one does not; logged out, it is void."""
        client = self.server.connect()
        token = client.call(do="register", name="alice", password=PASSWORD)["ok"]["token"]
        client.lose()
        client = self.server.connect()
        self.assertEqual(client.code(do="hello", token="f" * 64), "NOT_LOGGED_IN")
        answer = client.call(do="hello", token=token)["ok"]
        self.assertEqual((answer["name"], answer["token"]), ("alice", token))
        self.assertEqual(client.code(do="hello", token=token), "LOGGED_IN")
        self.assertEqual(client.code(do="hello"), "ok")
        self.assertEqual(client.code(do="logout"), "ok")
        self.assertEqual(client.code(do="hello", token=token), "NOT_LOGGED_IN")

    def test_token_is_rotated(self) -> None:
        """After a day a token is replaced; the one before it stays good until the new one is used, for an answer may be
        lost.
        """
        first = self.server.program("alice").welcome["token"]
        self.server.advance(DAY + 1)
        second = self.hello(first)
        self.assertNotIn(second, (first, "NOT_LOGGED_IN"))
        self.assertEqual(self.hello(first), first)
        self.server.advance(DAY + 1)
        third = self.hello(first)
        self.assertEqual(self.hello(third), third)
        for void in (first, second):
            self.assertEqual(self.hello(void), "NOT_LOGGED_IN")

    def test_token_grows_old(self) -> None:
        """A token that was not used for thirty days is void; one in use is not."""
        first = self.server.program("alice").welcome["token"]
        other = self.server.resume("alice").welcome["token"]
        for _ in range(4):
            self.server.advance(10 * DAY)
            first = self.hello(first)
        self.assertRegex(first, "^[0-9a-f]{64}$")
        self.assertEqual(self.hello(other), "NOT_LOGGED_IN")

    def hello(self, token: str) -> str:
        """Log in by this token; the token to use from now on, or the refusal."""
        client = self.server.connect()
        answer = client.call(do="hello", token=token)
        client.lose()
        found: str = answer["error"]["code"] if "error" in answer else answer["ok"]["token"]
        return found

    def test_tokens_are_not_stored(self) -> None:
        """The database holds no token and no password, only hashes."""
        client = self.server.connect()
        token = client.call(do="register", name="alice", password=PASSWORD)["ok"]["token"]
        everything = b"".join(path.read_bytes() for path in self.server.data.rglob("chatd.sqlite*"))
        self.assertNotIn(token.encode(), everything)
        self.assertNotIn(PASSWORD.encode(), everything)

    def test_since(self) -> None:
        """`since` brings exactly what came after it, in order, and then what happens, with nothing between."""
        alice, bob = self.group("alice", "bob")
        seqs = [alice.call(do="say", room="#ops", text=str(number))["ok"]["seq"] for number in range(5)]
        bob.lose()
        for number, seq in enumerate(seqs):
            back = self.server.resume("bob", since=seq)
            self.assertEqual(self.texts(back), [str(later) for later in range(number + 1, 5)])
            back.lose()
        back = self.server.resume("bob", since=seqs[-1])
        alice.call(do="say", room="#ops", text="live")
        self.assertEqual(self.texts(back), ["live"])

    def test_without_since(self) -> None:
        """A program that does not say where it was hears only what comes."""
        alice, bob = self.group("alice", "bob")
        bob.lose()
        alice.call(do="say", room="#ops", text="missed")
        back = self.server.resume("bob")
        alice.call(do="say", room="#ops", text="live")
        self.assertEqual(self.texts(back), ["live"])

    def test_since_the_beginning(self) -> None:
        """since 0 brings everything this account may ever have heard, and no more: what was said before it came and
        after it went is not its own.
        """
        alice, bob = self.group("alice", "bob")
        carol = self.server.program("carol")
        for text, do in (
            ("before", "add"),
            ("during", "remove"),
            ("between", "add"),
            ("again", "remove"),
            ("after", ""),
        ):
            alice.call(do="say", room="#ops", text=text)
            if do:
                alice.call(do=do, room="#ops", user="carol")
        live = carol.events()
        carol.lose()
        replay = self.server.resume("carol", since=0).events()
        self.assertEqual(replay[0]["ev"], "registered")
        self.assertEqual(replay[1:], live)
        self.assertEqual([event["text"] for event in live if event["ev"] == "say"], ["during", "again"])
        self.assertEqual(len(self.texts(bob)), 5)

    def test_since_over_many_pages(self) -> None:
        """A long absence is caught up with page by page, each event once, while others go on talking."""
        alice, bob = self.group("alice", "bob")
        bob.lose()
        for start in range(0, 2_100, 100):
            alice.send(b"".join(self.line(do="say", room="#ops", text=str(start + n)) for n in range(100)))
        back = self.server.connect()
        self.server.readers.hold()
        back.ask(do="login", name="bob", password=PASSWORD, since=0)
        for number in range(2_100, 2_110):
            alice.ask(do="say", room="#ops", text=str(number))
            self.server.readers.release()
            self.server.readers.hold()
        self.server.readers.release()
        events = [event for event in back.objects() if event.get("ev") == "say"]
        self.assertEqual([event["text"] for event in events], [str(number) for number in range(2_110)])

    def line(self, **fields: Any) -> bytes:
        """One call as it is sent."""
        return json.dumps(fields).encode() + b"\n"

    def test_since_of_another_type(self) -> None:
        """A cursor is a whole number, not below 0."""
        self.server.program("alice")
        for since in ("5", -1, 1.5, [1], None, True):
            client = self.server.connect()
            code = client.code(do="login", name="alice", password=PASSWORD, since=since)
            self.assertEqual(code, "BAD_USAGE", since)
        client = self.server.connect()
        self.assertEqual(client.code(do="login", name="alice", password=PASSWORD, since=1 << 63), "ok")

    def test_a_plain_client_and_a_program_are_one_account(self) -> None:
        """The same account may be on both dialects: each hears what the other types."""
        alice, bob = self.group("alice", "bob")
        terminal = self.server.back("bob")
        terminal.lines()
        bob.call(do="say", room="#ops", text="from the program")
        terminal.type("/join #ops")
        self.assertEqual(terminal.type("from the terminal"), [])
        self.assertEqual(self.texts(alice), ["from the program", "from the terminal"])
        self.assertEqual(self.texts(bob), ["from the program", "from the terminal"])


class AnswerTests(Base):
    """Calls and their answers."""

    def test_ids(self) -> None:
        """Answers carry the call's id, a number or a string; a call without one is answered with null."""
        client = self.server.connect()
        for ref in (1, 0, -5, "a", "", 1 << 60):
            client.ask(do="ping", id=ref, token=7)
            [answer] = client.objects()
            self.assertEqual((answer["re"], answer["ok"]["token"]), (ref, 7))
        client.ask(do="ping")
        self.assertIsNone(client.objects()[0]["re"])

    def test_refused_lines_carry_their_id(self) -> None:
        """A refusal names the call too, as far as the line can be read."""
        client = self.server.connect()
        for line, ref, code in (
            (b'{"id":1,"do":"nonsense"}', 1, "UNKNOWN_CMD"),
            (b'{"id":"x","do":"ping","nonsense":1}', "x", "BAD_USAGE"),
            (b'{"id":3}', 3, "BAD_LINE"),
            (b'{"id":[[]],"do":"ping"}', None, "BAD_USAGE"),
            (b'{"id":' + b"[" * 500 + b"]" * 500 + b',"do":"ping"}', None, "BAD_USAGE"),
            (b"nonsense", None, "BAD_LINE"),
            (b'{"do":"ping"' + b" " * 9_000 + b"}", None, "LINE_TOO_LONG"),
        ):
            client.send(b'{"do":"ping"}\n' + line + b"\n")
            _, answer = client.objects()
            self.assertEqual((answer["re"], answer["error"]["code"]), (ref, code))
            if code == "BAD_LINE":
                self.assertEqual(answer["error"]["text"], "That line is not valid here.")

    def test_one_refusal_for_one_call(self) -> None:
        """A call is answered once, also where a person would have been asked again."""
        client = self.server.connect()
        client.ask(id=1, do="register", name="alice", password="weak", asked=["name", "password"])
        self.assertEqual([answer["error"]["code"] for answer in client.objects()], ["BAD_PASSWORD"])

    def test_in_order(self) -> None:
        """Answers come in the order of the calls, whatever each of them needs; says of one burst share commits."""
        alice, _ = self.group("alice", "bob")
        calls: list[dict[str, Any]] = []
        for number in range(20):
            calls += [{"do": "say", "room": "#ops", "text": str(number)}]
            calls += [
                [
                    {"do": "members", "room": "#ops"},
                    {"do": "ping"},
                    {"do": "nonsense"},
                    {"do": "topic", "room": "#ops"},
                ][number % 4]
            ]
        calls += [{"do": "say", "room": "#ops", "text": f"burst {number}"} for number in range(100)]
        commits = self.server.db.meter.commits
        alice.send(b"".join(json.dumps({"id": n} | fields).encode() + b"\n" for n, fields in enumerate(calls)))
        answers = [found for found in alice.objects() if "re" in found]
        self.assertEqual([answer["re"] for answer in answers], list(range(len(calls))))
        seqs = [answer["ok"]["seq"] for answer, call in zip(answers, calls, strict=True) if call["do"] == "say"]
        self.assertEqual(seqs, sorted(seqs))
        self.assertLess(self.server.db.meter.commits - commits, 60)

    def test_answers_before_events(self) -> None:
        """Of one commit the answers are sent first, then the events, and both are on disk by then."""
        alice, bob = self.group("alice", "bob")
        self.server.writer.hold()
        alice.send(b"".join(b'{"id":%d,"do":"say","room":"#ops","text":"x"}\n' % number for number in range(3)))
        stored = self.stored()
        self.assertEqual((alice.objects(), bob.objects()), ([], []))
        self.server.writer.release()
        self.assertEqual(
            [found.get("re", found.get("ev")) for found in alice.objects()], [0, 1, 2, "say", "say", "say"]
        )
        self.assertEqual(self.stored(), stored)
        self.assertEqual([event["ev"] for event in bob.objects()], ["say"] * 3)

    def test_own_events_are_heard(self) -> None:
        """A program hears its own events, with the seq that it was answered and the mid that it sent."""
        alice, _ = self.group("alice", "bob")
        answer = alice.call(do="say", room="#ops", text="hi", mid=mid(1))["ok"]
        [event] = alice.events()
        self.assertEqual(
            (event["seq"], event["mid"], event["by"], event["room"]), (answer["seq"], mid(1), "alice", "#ops")
        )

    def test_ping_is_a_barrier(self) -> None:
        """ping is answered once everything before it is stored, and delivered here."""
        alice, bob = self.group("alice", "bob")
        alice.send(self.line(do="say", room="#ops", text="hi") + self.line(do="ping", id=9))
        found = alice.objects()
        self.assertEqual([one.get("ev") or one["re"] for one in found], [None, "say", 9])
        self.assertEqual(found[2]["ok"]["seq"], found[1]["seq"])
        bob.ask(do="ping", id=9)
        self.assertEqual([one.get("ev") or one["re"] for one in bob.objects()], ["say", 9])

    line = SessionTests.line

    def test_waiting_is_refused_not_dropped(self) -> None:
        """Past the rate a call is refused with its id and the seconds to wait, and nothing of it is done."""
        client = self.server.program("alice", ABROAD)
        answers = []
        for number in range(61):
            client.ask(do="ping", id=number)
            answers += client.objects()
        self.assertEqual([answer["re"] for answer in answers], list(range(61)))
        self.assertEqual([answer["re"] for answer in answers if "error" in answer], [59, 60])
        self.assertEqual(answers[-1]["error"]["with"], {"wait": 1})

    def test_by_id(self) -> None:
        """Rooms and people may be named by their numbers, which never change."""
        alice, bob = self.group("alice", "bob")
        number = alice.call(do="members", room="#ops")["ok"]["room_id"]
        account = bob.call(do="whoami")["ok"]["account"]
        alice.call(do="rename", room=number, name="#dev")
        self.assertEqual(alice.code(do="say", room="#ops", text="hi"), "NO_GROUP")
        self.assertEqual(alice.code(do="say", room=number, text="hi"), "ok")
        self.assertEqual(alice.code(do="kick", room=number, user=account), "ok")
        self.assertEqual([event["ev"] for event in bob.events()], ["renamed", "say", "removed"])
        self.assertEqual(bob.code(do="join", room=number), "ok")

    def test_no_number_breaks_anything(self) -> None:
        """Numbers that can be nobody's are nobody's, however large."""
        alice, _ = self.group("alice", "bob")
        for number in (0, -1, 99, 1 << 31, (1 << 63) - 1, 1 << 63, (1 << 64) - 1):
            for do in ("members", "say", "kick", "leave"):
                fields = {"text": "x"} if do == "say" else {"user": "bob"} if do == "kick" else {}
                code = alice.code(do=do, room=number, **fields)
                self.assertEqual(code, "NO_GROUP", (do, number))
            self.assertEqual(alice.code(do="kick", room="#ops", user=number), "NO_USER", number)
            self.assertEqual(alice.code(do="join", room=number), "NO_GROUP", number)
            self.assertEqual(alice.code(do="approve", room="#ops", who=number), "NO_USER", number)
            self.assertEqual(alice.code(do="msg", user=number, text="x"), "NO_USER", number)
            self.assertIn(alice.code(do="history", room="#ops", before=number), ("ok", "BAD_USAGE"), number)
            self.assertIn(alice.code(do="history", room="#ops", count=number), ("ok", "BAD_USAGE"), number)
            self.assertIn(alice.code(do="ack", seq=number), ("ok", "BAD_USAGE"), number)
        self.assertEqual(alice.code(do="say", room=10**30, text="x"), "BAD_USAGE")

    def test_wrong_types_change_nothing(self) -> None:
        """Every argument of every command is refused in every type that is not its own, and nothing is done."""
        alice, _ = self.group("alice", "bob")
        before = self.stored()
        rooms = {"room": "#ops"}
        for verb, entry in TABLE.items():
            for name, shape in (entry.shapes | ({"room": "word"} if entry.about_room else {})).items():
                good = {"list": [["bob"]], "flag": [True, False], "map": []}.get(shape, ["x", 7])
                for value in ("x", 7, True, False, 1.5, None, {}, {"a": 1}, [], ["bob"], [1.5], [True], [[]]):
                    if (value in good and type(value) in map(type, good)) or (shape, value) in (
                        ("list", []),
                        ("map", {}),
                    ):
                        continue
                    if name in ("confirmed", "asked") or (name == "room" and value is None):
                        continue
                    fields = (rooms if entry.about_room else {}) | {name: value}
                    self.assertEqual(alice.code(do=verb, **fields), "BAD_USAGE", (verb, name, value))
            self.assertEqual(alice.code(do=verb, **(rooms if entry.about_room else {}), nonsense=1), "BAD_USAGE", verb)
        self.assertEqual(self.stored(), before)
        self.assertEqual([event for event in alice.events() if "seq" in event], [])

    def test_length_of_lines(self) -> None:
        """Before login a line has 8 KiB, after it a mebibyte; a longer one is refused once, and skipped."""
        client = self.server.connect()
        client.send(b'{"id":1,"do":"ping"' + b" " * 8_200 + b"}\n" + self.line(do="ping", id=2))
        self.assertEqual([(one["re"], "ok" in one) for one in client.objects()], [(None, False), (2, True)])
        client.call(do="register", name="alice", password=PASSWORD)
        client.events()
        head = b'{"id":3,"do":"ping"'
        rest = b" " * (1_048_576 - len(head) - 1)
        client.send(head + rest + b"}\n")
        (answer,) = client.objects()
        self.assertEqual((answer["re"], "ok" in answer), (3, True))
        client.send(head + rest + b" }\n" + self.line(do="ping", id=4))
        refused, pong = client.objects()
        self.assertEqual((refused["re"], refused["error"]["code"], pong["re"]), (None, "LINE_TOO_LONG", 4))
        self.assertEqual(refused["error"]["with"]["size"], 1_048_576)

    def test_lines_grow_with_the_login_and_not_before(self) -> None:
        """What stands behind the login in the same packet has the length of before."""
        client = self.server.connect()
        login = self.line(do="register", name="alice", password=PASSWORD)
        client.send(login + b'{"id":1,"do":"ping"' + b" " * 9_000 + b"}\n" + self.line(do="ping", id=2))
        answers = [one for one in client.objects() if "re" in one]
        self.assertEqual([one.get("error", {}).get("code") for one in answers], [None, "LINE_TOO_LONG", None])

    def test_text_of_any_kind(self) -> None:
        """A text is stored and sent as it came, whatever is in it, except NUL."""
        alice, bob = self.group("alice", "bob")
        for text in ("a\r\nb", "\x1b[2J", "\u2028\u202e", "🚀", "\\", '"', "\x7f\x9b", " ", "#ops /kick bob"):
            alice.call(do="say", room="#ops", text=text)
            self.assertEqual(self.texts(bob), [text])
        alice.call(do="say", room="#ops", text="a\x00b")
        self.assertEqual(self.texts(bob), ["a\ufffdb"])


class OnceTests(Base):
    """The same mid is the same call (DESIGN §2)."""

    def test_twice(self) -> None:
        """A call sent twice under one mid is done once and answered with the same seq."""
        alice, bob = self.group("alice", "bob")
        calls: list[dict[str, Any]] = [
            {"do": "say", "room": "#ops", "text": "hi"},
            {"do": "create", "room": "#dev", "people": ["bob"]},
            {"do": "topic", "room": "#ops", "text": "t"},
            {"do": "promote", "room": "#ops", "user": "bob"},
            {"do": "msg", "user": "bob", "text": "hi"},
            {"do": "rename", "room": "#dev", "name": "#dev2"},
            {"do": "door", "room": "#ops", "door": "open"},
            {"do": "ban", "room": "#dev2", "user": "bob"},
            {"do": "transfer", "room": "#ops", "user": "bob"},
            {"do": "leave", "room": "#ops"},
            {"do": "leave", "room": "#dev2"},
        ]
        for number, call in enumerate(calls):
            first = alice.call(**call, mid=mid(number))
            before = self.stored()
            again = alice.call(**call, mid=mid(number))
            self.assertEqual((again["ok"]["seq"], self.stored()), (first["ok"]["seq"], before), call)
        heard = [event["seq"] for event in bob.events()]
        self.assertEqual(len(heard), len(set(heard)))

    def test_in_one_burst(self) -> None:
        """Twice in one commit is once, too."""
        alice, bob = self.group("alice", "bob")
        alice.send(b"".join(self.line(id=n, do="say", room="#ops", text="hi", mid=mid(1)) for n in range(5)))
        answers = [found for found in alice.objects() if "re" in found]
        self.assertEqual(len({answer["ok"]["seq"] for answer in answers}), 1)
        self.assertEqual(self.texts(bob), ["hi"])

    line = SessionTests.line

    def test_other_content(self) -> None:
        """The same mid with any other content is refused, and says which."""
        alice, _ = self.group("alice", "bob")
        alice.call(do="say", room="#ops", text="hi", mid=mid(1))
        for fields in (
            {"do": "say", "room": "#ops", "text": "ho"},
            {"do": "say", "room": "#dev", "text": "hi"},
            {"do": "topic", "room": "#ops", "text": "hi"},
            {"do": "msg", "user": "bob", "text": "hi"},
        ):
            answer = alice.call(**fields, mid=mid(1))
            self.assertEqual(answer["error"]["code"], "MID_REUSED", fields)
            self.assertEqual(answer["error"]["text"], f"That mid already stands for something else: {mid(1)}.")
            self.assertEqual(answer["error"]["with"], {"mid": mid(1)})

    def test_of_one_sender(self) -> None:
        """A mid belongs to its sender: another one's is another's."""
        alice, bob = self.group("alice", "bob")
        first = alice.call(do="say", room="#ops", text="hi", mid=mid(1))["ok"]["seq"]
        second = bob.call(do="say", room="#ops", text="ho", mid=mid(1))["ok"]["seq"]
        self.assertEqual(second, first + 1)

    def test_refused_is_not_done(self) -> None:
        """A refused call leaves its mid free: it may be sent again and is done then."""
        alice, bob = self.group("alice", "bob")
        alice.call(do="kick", room="#ops", user="bob")
        self.assertEqual(bob.code(do="say", room="#ops", text="hi", mid=mid(1)), "NOT_MEMBER")
        alice.call(do="add", room="#ops", user="bob")
        self.assertEqual(bob.code(do="say", room="#ops", text="hi", mid=mid(1)), "ok")
        self.assertEqual(bob.code(do="say", room="#ops", text="ho", mid=mid(1)), "MID_REUSED")

    def test_after_a_reconnect(self) -> None:
        """A client that lost the answer sends again after reconnecting, and learns the seq, also where it may not do it
        any more.
        """
        alice, bob = self.group("alice", "bob")
        self.server.writer.hold()
        bob.ask(do="say", room="#ops", text="hi", mid=mid(1))
        bob.cut()
        self.server.writer.release()
        [event] = [event for event in alice.events() if event["ev"] == "say"]
        alice.call(do="kick", room="#ops", user="bob")
        bob = self.server.resume("bob")
        self.assertEqual(bob.call(do="say", room="#ops", text="hi", mid=mid(1))["ok"], {"seq": event["seq"]})
        self.assertEqual(bob.code(do="say", room="#ops", text="hi", mid=mid(2)), "NOT_MEMBER")
        self.assertEqual([event for event in alice.events() if event["ev"] == "say"], [])

    def test_over_two_instances(self) -> None:
        """The same call on two instances of one file, at the same moment or later, is done once."""
        one, two = instances(Path(self.mktemp()))
        self.addCleanup(one.stop)
        self.addCleanup(two.stop)
        alice, bob = one.program("alice"), one.program("bob")
        alice.call(do="create", room="#ops", people=["bob"])
        other = two.resume("alice")
        one.writer.hold()
        alice.ask(id=1, do="say", room="#ops", text="hi", mid=mid(1))
        seq = other.call(do="say", room="#ops", text="hi", mid=mid(1))["ok"]["seq"]
        one.writer.release()
        [answer] = [found for found in alice.objects() if "re" in found]
        self.assertEqual(answer["ok"]["seq"], seq)
        self.assertEqual(other.code(do="say", room="#ops", text="ho", mid=mid(1)), "MID_REUSED")
        self.assertEqual([event["seq"] for event in bob.events() if event["ev"] == "say"], [seq])
        self.assertEqual([event["seq"] for event in other.events() if event["ev"] == "say"], [seq])
