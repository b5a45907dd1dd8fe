"""Who is there, who is away, who is typing: told to who watches, on every instance, and never in the log."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chatd.streams import LOST, Streams, _In, _Out
from chatd.wire.jsonl import Json
from tests.live import LiveTestCase
from tests.memory import Client, Server, instances, settings

State = dict[int, dict[str, str]]


def known(client: Client, states: State | None = None) -> State:
    """Who is how in each room, as this program was told since the last look, put on what it knew before."""
    found = {} if states is None else states
    for line in client.events():
        if line.get("ev") == "presence":
            people = {} if line.get("whole") else found.setdefault(line["room_id"], {})
            people.update({name: f"{state} {text}".strip() for name, _, state, text in line["people"]})
            found[line["room_id"]] = people
    return found


class Base(SynchronousTestCase):
    """Some people in #ops, each with a program."""

    def setUp(self) -> None:
        self.server = Server(Path(self.mktemp()))
        self.addCleanup(self.server.stop)
        self.room = 0

    def group(self, *names: str, server: Server | None = None) -> list[Client]:
        """These people, all in #ops; the first made it."""
        people = [(server or self.server).program(name) for name in names]
        self.room = people[0].call(do="create", room="#ops", people=list(names[1:]))["ok"]["room_id"]
        self.wait()
        for person in people:
            person.events()
        return people

    def wait(self) -> None:
        """Let what is gathered be told."""
        self.server.advance(0.3)
        self.server.advance(0.3)

    def watch(self, client: Client) -> State:
        """Begin to watch; what is told then."""
        self.assertIn("ok", client.call(do="watch"))
        self.wait()
        return known(client)


class PresenceTests(Base):
    """Who is there."""

    def test_the_whole_and_then_changes(self) -> None:
        """Who begins to watch is told who is there; then who goes, comes, is away and is back."""
        alice, bob, carol = self.group("alice", "bob", "carol")
        carol.lose()
        self.wait()
        states = self.watch(alice)
        self.assertEqual(states, {self.room: {"alice": "online", "bob": "online"}})
        bob.call(do="away", text="lunch")
        self.wait()
        self.assertEqual(known(alice, states)[self.room]["bob"], "away lunch")
        bob.call(do="away")
        self.server.resume("carol")
        self.wait()
        self.assertEqual(known(alice, states)[self.room], {"alice": "online", "bob": "online", "carol": "online"})
        bob.lose()
        self.wait()
        self.assertEqual(known(alice, states)[self.room]["bob"], "offline")

    def test_several_connections_are_one_person(self) -> None:
        """Somebody is offline when the last of their connections has ended."""
        alice, bob = self.group("alice", "bob")
        again = self.server.resume("bob")
        states = self.watch(alice)
        bob.lose()
        self.wait()
        self.assertEqual(known(alice, states)[self.room]["bob"], "online")
        again.lose()
        self.wait()
        self.assertEqual(known(alice, states)[self.room]["bob"], "offline")

    def test_only_of_my_rooms(self) -> None:
        """Nothing is told of people with whom I share no room."""
        (alice,) = self.group("alice")
        states = self.watch(alice)
        self.server.program("mallory").call(do="away", text="secret plans")
        self.wait()
        self.assertEqual(known(alice, states), {self.room: {"alice": "online"}})

    def test_who_comes_into_a_room(self) -> None:
        """Who is added is seen there, and is told of all who are there; so with a conversation of two."""
        alice, bob = self.group("alice", "bob")
        carol = self.server.program("carol")
        states, hers = self.watch(alice), self.watch(carol)
        self.assertEqual(hers, {})
        alice.call(do="add", room="#ops", user="carol")
        self.wait()
        self.assertEqual(known(alice, states)[self.room]["carol"], "online")
        self.assertEqual(known(carol, hers), {self.room: {"alice": "online", "bob": "online", "carol": "online"}})
        direct = bob.call(do="dm", user="carol")["ok"]["room_id"]
        self.wait()
        self.assertEqual(known(carol, hers)[direct], {"bob": "online", "carol": "online"})

    def test_nobody_else_is_told(self) -> None:
        """People on telnet and programs that do not watch hear nothing; nor does the log."""
        alice, bob = self.group("alice", "bob")
        dave = self.server.person("dave")
        alice.call(do="add", room="#ops", user="dave")
        self.wait()
        self.watch(alice)
        dave.type("/watch")
        bob.events()
        dave.read()
        before = self.server.sql("SELECT count(*) FROM event")
        alice.call(do="away", text="lunch")
        alice.call(do="typing", room="#ops")
        self.wait()
        self.assertEqual((bob.events(), dave.read()), ([], b""))
        self.assertEqual(self.server.sql("SELECT count(*) FROM event"), before)

    def test_logging_out_ends_it(self) -> None:
        """Who has logged out is told nothing more, also on the same connection."""
        alice, bob = self.group("alice", "bob")
        self.watch(alice)
        alice.call(do="logout")
        bob.call(do="away", text="lunch")
        self.wait()
        self.assertEqual(known(alice), {})

    def test_rooms_of_many(self) -> None:
        """Of a room with more people than `presence_members` nothing is told; of small ones it is."""
        server = Server(Path(self.mktemp()), settings=settings(presence_members=2))
        self.addCleanup(server.stop)
        alice, bob, _ = self.group("alice", "bob", "carol", server=server)
        alice.call(do="watch")
        server.advance(0.3)
        server.advance(0.3)
        self.assertEqual(known(alice), {})
        direct = alice.call(do="dm", user="bob")["ok"]["room_id"]
        server.advance(0.3)
        bob.call(do="away", text="lunch")
        server.advance(0.3)
        server.advance(0.3)
        self.assertEqual(known(alice), {direct: {"alice": "online", "bob": "away lunch"}})

    def test_rendered_once(self) -> None:
        """However many watch, a change in a room is made into bytes once, and many changes into one line."""
        people = self.group(*(f"p{number}x" for number in range(8)))
        for person in people:
            person.call(do="watch")
        self.wait()
        for person in people:
            person.events()
        made: list[str] = []
        notice = Json.notice

        def counted(dialect: Json, name: str, fields: Any) -> bytes:
            made.append(name)
            return notice(dialect, name, fields)

        self.patch(Json, "notice", counted)
        for person in people[:5]:
            person.call(do="away", text="lunch")
        self.wait()
        self.assertEqual(made, ["presence"])
        self.assertTrue(all(known(person)[self.room]["p0x"] == "away lunch" for person in people))

    def test_a_slow_reader(self) -> None:
        """Nothing is kept for who does not read; the whole comes once all of the log was heard."""
        alice, bob, _ = self.group("alice", "bob", "carol")
        self.watch(alice)
        alice.transport.stick()
        for number in range(200):
            bob.call(do="say", room="#ops", text=f"{number} " + "x" * 1_000)
        bob.call(do="away", text="lunch")
        self.wait()
        alice.transport.drain()
        self.wait()
        lines = alice.events()
        told = [number for number, line in enumerate(lines) if line.get("ev") == "presence"]
        self.assertEqual(len([line for line in lines if line.get("ev") == "say"]), 200)
        self.assertEqual(told, [200])
        self.assertIs(lines[200]["whole"], True)
        self.assertIn(["bob", 2, "away", "lunch"], lines[200]["people"])

    def test_nothing_stale_is_told_late(self) -> None:
        """What was read before a change is told before what was read after it, however long the reading takes."""
        alice, bob = self.group("alice", "bob")
        self.watch(alice)
        self.server.readers.hold()
        alice.ask(id=99, do="watch")
        self.server.advance(0.3)
        bob.ask(id=98, do="away", text="lunch")
        self.server.advance(0.3)
        self.server.advance(0.3)
        self.server.readers.release()
        self.wait()
        self.assertEqual(known(alice)[self.room]["bob"], "away lunch")


class TypingTests(Base):
    """Who is typing."""

    def typing(self, client: Client) -> list[list[str]]:
        """Who was said to be typing since the last look, line by line."""
        return [[name for name, _ in line["people"]] for line in client.events() if line.get("ev") == "typing"]

    def test_is_told_to_the_room(self) -> None:
        """Members who watch are told, in one line for all who type within a moment; others are not."""
        alice, bob, carol = self.group("alice", "bob", "carol")
        eve = self.server.program("eve")
        for person in (alice, eve):
            self.watch(person)
        bob.call(do="typing", room="#ops")
        carol.call(do="typing", room="#ops")
        self.wait()
        self.assertEqual(self.typing(alice), [["bob", "carol"]])
        self.assertEqual((self.typing(eve), self.typing(bob)), ([], []))

    def test_not_too_often(self) -> None:
        """Within two seconds the same is not told again."""
        alice, bob = self.group("alice", "bob")
        self.watch(alice)
        for _ in range(10):
            self.assertEqual(bob.code(do="typing", room="#ops"), "ok")
            self.server.advance(0.5)
        self.assertEqual(self.typing(alice), [["bob"]] * 3)

    def test_who_is_not_in_the_room(self) -> None:
        """Only members may say that they are typing."""
        self.group("alice")
        self.assertEqual(self.server.program("eve").code(do="typing", room="#ops"), "NOT_MEMBER")

    def test_a_flood_of_typists(self) -> None:
        """Of very many who type at once only some are told."""
        people = self.group(*(f"p{number}x" for number in range(30)))
        self.watch(people[0])
        for person in people[1:]:
            person.call(do="typing", room="#ops")
        self.wait()
        self.assertEqual([len(names) for names in self.typing(people[0])], [20])


class InstancesTests(SynchronousTestCase):
    """Several instances are one server."""

    def setUp(self) -> None:
        self.servers = instances(Path(self.mktemp()), 2)
        for server in reversed(self.servers):
            self.addCleanup(server.stop)
        alice, self.bob = self.servers[0].program("alice"), self.servers[1].program("bob")
        self.room = alice.call(do="create", room="#ops", people=["bob"])["ok"]["room_id"]
        self.wait(2)
        alice.call(do="watch")
        self.wait(1)
        self.alice = alice
        self.states = known(alice)

    def wait(self, seconds: float) -> None:
        """Let time pass on both."""
        for _ in range(int(seconds * 10)):
            self.servers[0].advance(0.1)

    def test_one_picture(self) -> None:
        """Away, typing and gone on one instance are told on the other, within a second."""
        self.assertEqual(self.states[self.room], {"alice": "online", "bob": "online"})
        self.bob.call(do="away", text="lunch")
        self.bob.call(do="typing", room="#ops")
        self.wait(1)
        lines = self.alice.events()
        self.assertEqual([line["people"] for line in lines if line["ev"] == "typing"], [[["bob", 2]]])
        self.assertIn([["bob", 2, "away", "lunch"]], [line["people"] for line in lines if line["ev"] == "presence"])
        self.bob.lose()
        self.wait(1)
        self.assertEqual(known(self.alice, self.states)[self.room]["bob"], "offline")

    def test_an_instance_that_stands_still(self) -> None:
        """The people of an instance whose heart does not beat are gone within 5 s, and back when it goes on."""
        peers = self.servers[1].peers
        peers._beats.stop()
        self.wait(5.5)
        self.assertEqual(known(self.alice, self.states)[self.room]["bob"], "offline")
        peers._beats.start(1.0)
        self.wait(1)
        self.assertEqual(known(self.alice, self.states)[self.room]["bob"], "online")

    def test_an_instance_that_stops(self) -> None:
        """The people of an instance that stops are gone at once."""
        self.servers[1].peers.stop()
        self.wait(1)
        self.assertEqual(known(self.alice, self.states)[self.room]["bob"], "offline")


class StreamsTests(SynchronousTestCase):
    """The streams between instances."""

    def out(self) -> tuple[_Out, list[bytes]]:
        """A stream, and what was written to it."""
        written: list[bytes] = []
        out = _Out(lambda: None)
        out.makeConnection(SimpleNamespace(registerProducer=lambda producer, streaming: None, write=written.append))
        return out, written

    def frames(self, written: list[bytes]) -> list[Any]:
        """The frames in these bytes."""
        heard: list[Any] = []
        far = _In(heard.append)
        far.makeConnection(SimpleNamespace())
        for byte in b"".join(written):
            far.dataReceived(bytes((byte,)))
        return heard

    def test_who_does_not_read(self) -> None:
        """To an instance that does not read nothing is kept: it is told once that something is missing."""
        out, written = self.out()
        out.tell(b'{"stir":[1]}')
        out.pauseProducing()
        for _ in range(1_000):
            out.tell(b'{"stir":[2]}')
        out.resumeProducing()
        out.tell(b'{"stir":[3]}')
        self.assertEqual(self.frames(written), [{"stir": [1]}, LOST, {"stir": [3]}])

    def test_what_is_no_frame(self) -> None:
        """What cannot be read is passed over, and what comes after it is heard."""
        _, written = self.out()
        for data in (b"\xff{", b"[]", b'{"stir":[1]}'):
            written.append(len(data).to_bytes(4, "big") + data)
        self.assertEqual(self.frames(written), [{"stir": [1]}])

    def test_frames_of_another_version(self) -> None:
        """Frames that mean nothing here change nothing."""
        server = Server(Path(self.mktemp()))
        self.addCleanup(server.stop)
        alice = server.program("alice")
        alice.call(do="watch")
        server.advance(0.3)
        alice.events()
        for frame in ({}, {"stir": 7}, {"typing": ["x", 1, "n"]}, {"typing": []}, {"sung": "a song"}):
            server.instance.watching.heard(frame)
        server.advance(0.3)
        self.assertEqual(alice.events(), [])

    def test_the_dead_are_tried_again(self) -> None:
        """A stream that nobody listens at is tried at each beat, one try at a time."""
        tries: list[str] = []
        run = Path(self.mktemp())
        run.mkdir()
        for node in (1, 2):
            (run / f"node-{node}.stream").touch()
        held: list[Any] = []

        def connect(path: str, factory: Any, timeout: float) -> None:
            tries.append(path)
            held.append(factory)

        streams = Streams(SimpleNamespace(connectUNIX=connect), run, 1, lambda frame: None)
        streams.find()
        streams.find()
        self.assertEqual([Path(path).name for path in tries], ["node-2.stream"])
        held[0].clientConnectionFailed(None, None)
        streams.find()
        self.assertEqual(len(tries), 2)


class LiveTests(LiveTestCase):
    """As real processes."""

    async def test_killed(self) -> None:
        """Who is away, types, and goes with an instance that is killed, is seen on the other one."""
        one, two = await self.chatd(node=1).start(), await self.chatd(node=2).start()
        alice, bob = await self.client(one.port), await self.client(two.port)
        await alice.register("alice")
        await bob.register("bob")
        room = (await alice.call("create", room="#ops", people=["bob"]))["room_id"]
        await alice.call("watch")
        await bob.event("joined")

        def told(state: str) -> Any:
            return lambda: any(
                each["ev"] == "presence" and any(who[0] == "bob" and who[2] == state for who in each["people"])
                for each in alice.events
            )

        await alice.until(told("online"), "bob is online")
        await bob.call("away", text="lunch")
        await alice.until(told("away"), "bob is away")
        await bob.call("typing", room=room)
        await alice.event("typing", room_id=room, people=[["bob", 2]])
        await two.kill9()
        await alice.until(told("offline"), "bob is gone")
        self.assertNotIn("presence", json.dumps([each for each in alice.events if "seq" in each]))
