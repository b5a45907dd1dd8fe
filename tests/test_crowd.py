"""More than there is room for: connections, bytes, calls, memory, silence. Who is too many is told so; others go on."""

from __future__ import annotations

import gc
import json
import os
import resource
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chatd import crowd
from chatd.crowd import Bucket, Gate, Ration, Trickle, at_once, network
from chatd.factory import LINGER, LINGERING
from chatd.session import Session
from tests.live import PASSWORD, TWISTD, LiveTestCase, free_ports, new_mid
from tests.memory import ABROAD, BANNER, DOOR, Client, Server, settings

FULL = "This server is full. Try again later."
MOMENT = LINGER + 0.1
"""Who cannot stay and says nothing for so long, is told so as a person is."""


class BucketTests(SynchronousTestCase):
    """So much at once, then so much a second."""

    def test_take(self) -> None:
        """What is not there is not taken, and it is said when it will be; a clock that goes back gives nothing."""
        bucket = Bucket(2.0, 100.0)
        self.assertEqual([bucket.take(1, 2.0, 0.5, 100.0) for _ in range(3)], [0.0, 0.0, 2.0])
        self.assertEqual(bucket.take(1, 2.0, 0.5, 90.0), 2.0)
        self.assertEqual(bucket.take(1, 2.0, 0.5, 92.0), 0.0)
        self.assertFalse(bucket.full(2.0, 0.5, 95.0))
        self.assertTrue(bucket.full(2.0, 0.5, 96.0))

    def test_spend(self) -> None:
        """What has come is taken even if it is not there: it is owed."""
        bucket = Bucket(100.0, 0.0)
        self.assertEqual(bucket.spend(50, 100.0, 10.0, 0.0), 0.0)
        self.assertEqual(bucket.spend(150, 100.0, 10.0, 0.0), 10.0)
        self.assertEqual(bucket.spend(0, 100.0, 10.0, 10.0), 0.0)

    def test_network(self) -> None:
        """One person has one address, or a /64 of IPv6."""
        self.assertEqual(network("203.0.113.7"), "203.0.113.7")
        self.assertEqual(network("2001:db8::1"), network("2001:db8::ffff:1"))
        self.assertNotEqual(network("2001:db8::1"), network("2001:db8:0:1::1"))


class GateTests(SynchronousTestCase):
    """So many at a time, in their order."""

    def test_in_order(self) -> None:
        """As many as there is room for; who leaves lets in who waits longest, and more where there is more room."""
        most, done = 2, list[int]()
        gate = Gate(lambda: most)
        for number in range(6):
            gate.enter(lambda number=number: done.append(number))  # type: ignore[misc]
        self.assertEqual((done, len(gate)), ([0, 1], 4))
        gate.leave()
        self.assertEqual(done, [0, 1, 2])
        most = 3
        gate.leave()
        self.assertEqual(done, [0, 1, 2, 3, 4])
        most = 1
        gate.leave()
        gate.leave()
        self.assertEqual(done, [0, 1, 2, 3, 4])
        gate.leave()
        self.assertEqual((done, len(gate)), ([0, 1, 2, 3, 4, 5], 0))

    def test_who_leaves_at_once(self) -> None:
        """Of ten thousand who wait all may have gone meanwhile: each leaves as it enters."""
        gate = Gate(lambda: 1)
        left = 0

        def gone() -> None:
            nonlocal left
            left += 1
            gate.leave()

        gate.enter(lambda: None)
        for _ in range(10_000):
            gate.enter(gone)
        gate.leave()
        self.assertEqual((left, len(gate)), (10_000, 0))

    def test_who_fails(self) -> None:
        """What fails as it enters is told in the operator's log and takes no place: the next one is let in."""
        gate, done = Gate(lambda: 1), list[int]()
        gate.enter(lambda: done.append(1 // 0))
        gate.enter(lambda: done.append(1))
        self.assertEqual((done, len(self.flushLoggedErrors(ZeroDivisionError))), ([1], 1))
        gate.enter(lambda: done.append(1 // 0))
        gate.enter(lambda: done.append(2))
        gate.leave()
        self.assertEqual((done, len(self.flushLoggedErrors(ZeroDivisionError))), ([1, 2], 1))

    def test_how_many(self) -> None:
        """One where commits are quick, more where they are slow, never more than the limit."""
        limits = settings(logins_at_once=5).limits
        self.assertEqual([at_once(limits, ms / 1000) for ms in (0, 1, 5, 9, 20, 500)], [1, 1, 1, 2, 5, 5])


class RationTests(SynchronousTestCase):
    """So many lines a turn, of all sessions together."""

    def test_portions(self) -> None:
        """Each has a whole portion until all together have had theirs, then a few; the next turn begins anew."""
        turn = 1
        ration = Ration(lambda: turn, whole=70, each=32, least=5)
        portions = []
        for _ in range(5):
            portions.append(ration.portion())
            ration.spend(portions[-1])
        self.assertEqual(portions, [32, 32, 6, 5, 5])
        turn = 2
        self.assertEqual(ration.portion(), 32)
        ration.spend(1)
        ration.spend(1)
        self.assertEqual(ration.portion(), 32)


class TrickleTests(SynchronousTestCase):
    """So many a turn."""

    def test_one_fails(self) -> None:
        """What fails is logged; all others are done in their turn, also where the end is near."""
        later: list[Callable[[], None]] = []
        done: list[int] = []
        trickle = Trickle(later.append, 2)

        def do(number: int) -> None:
            if number % 3 == 0:
                raise ZeroDivisionError
            done.append(number)

        for number in range(9):
            trickle(lambda number=number: do(number))  # type: ignore[misc]
        self.assertEqual(done, [1])
        later.pop()()
        later.pop()()
        self.assertEqual(done, [1, 2, 4, 5])
        trickle.hurry()
        self.assertEqual(done, [1, 2, 4, 5, 7, 8])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 3)


class Base(SynchronousTestCase):
    """A server in memory."""

    def serve(self, **limits: Any) -> Server:
        """One with these limits."""
        server = Server(Path(self.mktemp()), settings=settings(**limits))
        self.addCleanup(server.stop)
        return server


class PlaceTests(Base):
    """How many there may be."""

    def test_from_one_address(self) -> None:
        """One more than may be is told so and let go; other addresses are not concerned, nor is this machine; when one
        has gone, another may come."""
        server = self.serve(connections_per_address=2)
        first, second, third = (server.connect(ABROAD) for _ in range(3))
        server.advance(MOMENT)
        self.assertEqual(third.lines(), ["Too many connections from your address: 2 at once."])
        self.assertTrue(third.closed)
        self.assertFalse(second.closed)
        self.assertFalse(server.connect("203.0.113.8").closed)
        self.assertFalse(any(server.connect().closed for _ in range(5)))
        first.lose()
        third.lose()
        self.assertFalse(server.connect(ABROAD).closed)
        self.assertEqual(server.audit.refusals["CROWDED"], 1)

    def test_nothing_is_counted_that_has_gone(self) -> None:
        """However they come and go, in the end nothing is remembered of them."""
        server = self.serve(connections_per_address=3)
        for _ in range(3):
            clients = [server.connect(f"2001:db8::{number}") for number in range(6)]
            server.advance(MOMENT)
            self.assertEqual([client.closed for client in clients], [False] * 3 + [True] * 3)
            for client in clients:
                client.cut()
        for client in [server.connect("2001:db8::1") for _ in range(6)]:
            client.cut()
        self.assertEqual(server.factory._crowd._from, {})
        self.assertEqual(server.factory._lingering, {})

    def test_in_all(self) -> None:
        """Past all places everybody is told so, from this machine, too; who is in is not concerned."""
        server = self.serve(connections=2)
        alice = server.program("alice")
        server.connect()
        late = server.connect()
        server.advance(MOMENT)
        self.assertEqual(late.lines(), [FULL])
        self.assertTrue(late.closed)
        self.assertEqual(alice.code(do="whoami"), "ok")

    def test_memory(self) -> None:
        """A process that has more memory than it should takes nobody until it has less."""
        server = self.serve(process_bytes=2**26)
        self.patch(crowd, "resident", lambda: 2**26 + 1)
        server.advance(10.1)
        late = server.connect()
        server.advance(MOMENT)
        self.assertEqual(late.lines(), [FULL])
        self.patch(crowd, "resident", lambda: 2**26)
        server.advance(10.1)
        self.assertFalse(server.connect().closed)

    def test_its_own_memory(self) -> None:
        """What the process reads of itself is about what it is."""
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        self.assertTrue(most / 4 < crowd.resident() <= most * 1.1)

    def test_at_the_door(self) -> None:
        """A crowd that does not log in makes room for whoever comes, the longest waiting first; who is in stays."""
        server = self.serve(strangers=3)
        alice = server.program("alice")
        crowd_ = [server.connect(f"198.51.100.{number}") for number in range(5)]
        self.assertEqual([client.closed for client in crowd_], [True, True, False, False, False])
        self.assertEqual(crowd_[0].lines(), [FULL])
        bob = server.connect("203.0.113.9")
        self.assertEqual(bob.code(do="register", name="bob", password=PASSWORD), "ok")
        self.assertEqual(alice.code(do="whoami"), "ok")

    def test_in_turn(self) -> None:
        """When many come at once some are looked at in each turn, in the order in which they came; nothing is lost, not
        even of those who have hung up meanwhile."""
        server = self.serve()
        alice = server.program("alice")
        server.advance(0)
        crowd_ = [server.connect() for _ in range(50)]
        for number, client in enumerate(crowd_):
            client.protocol.dataReceived(b'{"id":%d,"do":"pi' % number)
        for client in crowd_:
            client.protocol.dataReceived(b'ng"}\n')
        self.assertLess(sum(client.protocol.session.dialect is not None for client in crowd_), 20)
        crowd_[49].finish()
        self.assertEqual(alice.code(do="whoami"), "ok")
        for _ in range(5):
            server.advance(0)
        self.assertEqual([client.objects()[0]["re"] for client in crowd_], list(range(50)))

    def test_not_without_bound(self) -> None:
        """Of who waits for their turn no more is kept than a little; the rest is read when it has come, and all of it
        is heard."""
        server = self.serve()
        for stranger in [server.connect() for _ in range(50)]:
            stranger.protocol.dataReceived(b'{"id":1,"do":"ping"}\n')
        client = server.connect()
        client._unsent = b'{"id":0,"do":"ping"}\n' * 10_000 + b'{"id":1,"do":"ping"}\n'
        client._push()
        self.assertLessEqual(len(client.protocol.pending), 2 * 65_536)
        for _ in range(200):
            server.advance(0.1)
        self.assertEqual(client.objects()[-1]["re"], 1)

    def test_one_place_in_the_line(self) -> None:
        """Who has more to say than is looked at in one turn stands once among those who go on, however often a part of
        it is answered meanwhile."""
        server = self.serve()
        later: list[Callable[[], None]] = []
        server.instance.onward = Trickle(later.append, 1)
        alice = server.program("alice")
        alice.call(do="create", room="#ops")
        alice.read()
        server.writer.hold()
        alice.protocol.dataReceived(b'{"do":"say","room":"#ops","text":"x"}\n' * 3_000)
        server.advance(0)
        server.writer.step()
        self.assertTrue(alice.protocol.session.turns.lines)
        self.assertEqual(len(server.instance.onward._waiting), 1)
        server.writer.release()
        while later:
            later.pop(0)()
            server.advance(0)
        self.assertEqual(len([line for line in alice.objects() if "ok" in line]), 3_000)

    def test_in_order_while_logging_in(self) -> None:
        """What somebody says while they log in comes before what they say once they are in, however many come."""
        server = self.serve()
        server.program("bob")
        client = server.connect()
        server.writer.hold()
        hello = {"id": 0, "do": "login", "name": "bob", "password": PASSWORD}
        client.protocol.dataReceived(json.dumps(hello).encode() + b"\n")
        server.advance(0)
        for stranger in [server.connect() for _ in range(40)]:
            stranger.protocol.dataReceived(b'{"id":1,"do":"ping"}\n')
        client.protocol.dataReceived(b'{"id":1,"do":"whoami"}\n')
        self.assertTrue(client.protocol.pending)
        client.protocol.session.account = 2  # the login's answer comes in this very turn
        client.protocol.dataReceived(b'{"id":2,"do":"whoami"}\n')
        client.protocol.session.account = 0
        server.writer.release()
        for _ in range(5):
            server.advance(0)
        self.assertEqual([line["re"] for line in client.objects() if "re" in line], [0, 1, 2])

    def test_goodbyes(self) -> None:
        """When many go at once, with or without a word, a few goodbyes are said in each turn; a server that stops
        waits for all of them."""
        server = self.serve()
        alice = server.program("alice")
        crowd_ = [server.program(f"bob{number}") for number in range(60)]
        server.advance(0)
        for client in crowd_[:20]:
            client.protocol.readConnectionLost()
        for client in crowd_[20:40]:
            client.protocol.connectionLost(Failure(ConnectionLost()))
        here = [client.protocol.session.account != 0 for client in crowd_[:40]]
        self.assertGreater(sum(here), 20)
        self.assertEqual(alice.code(do="whoami"), "ok")
        for _ in range(10):
            server.advance(0)
        self.assertEqual([client.protocol.session.account for client in crowd_[:40]], [0] * 40)
        for client in crowd_[40:]:
            client.protocol.connectionLost(Failure(ConnectionLost()))
        server.factory.drain()
        self.assertEqual([client.protocol.session.account for client in crowd_[40:]], [0] * 20)

    def test_goodbyes_of_guests(self) -> None:
        """Guests who came by TLS and go at once are seen out, all of them: of a connection that is over nobody can tell
        any more what certificate it had."""
        server = self.serve()
        server.factory.reload(replace(server.instance.settings, guests=True))
        crowd_ = [server.connect(secure=True) for _ in range(10)]
        for number, client in enumerate(crowd_):
            client.call(do="guest", name=f"bob{number}")

        def lost() -> None:
            raise AttributeError  # as Twisted's does

        for client in crowd_:
            client.protocol.connectionLost(Failure(ConnectionLost()))
            client.transport.getPeerCertificate = lost
        server.advance(1)
        self.assertEqual([client.protocol.session.account for client in crowd_], [0] * 10)
        self.assertEqual(server.sql("SELECT name FROM account WHERE name IS NOT NULL"), [])

    def test_nobody_is_ended_twice(self) -> None:
        """Whose connection is over, and whose goodbye is still to be said, is not waited for when it closes meanwhile:
        ending such a connection again fails under TLS, and the others whose time is over would be left."""
        server = self.serve()
        crowd_ = [server.connect(secure=True) for _ in range(10)]
        for client in crowd_:
            client.call(do="ping")
        for client in crowd_:
            client.protocol.connectionLost(Failure(ConnectionLost()))
        for client in crowd_:
            client.protocol.session.close("nonsense")
        self.assertEqual(server.factory._closing, {})

    def test_nothing_is_left_of_who_has_gone(self) -> None:
        """A session that is over is freed at once, and not by the collector of garbage, which stops everybody."""
        server = self.serve()
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)

        def sessions() -> set[int]:
            return {id(each) for each in gc.get_objects() if isinstance(each, Session)}

        before = sessions()

        def visit(number: int) -> None:
            client = server.program(f"bob{number}")
            client.call(do="whoami")
            client.protocol.connectionLost(Failure(ConnectionLost()))
            client.protocol.session.pump()  # whatever comes too late does nothing
            server.advance(0)
            del client.protocol.session  # this stand-in for a socket holds its protocol for longer than Twisted's do

        for number in range(5):
            visit(number)
        server.advance(1)
        self.assertEqual(sessions() - before, set())

    def test_too_slow_at_the_door(self) -> None:
        """Who does not log in in time is told why, each in their dialect; who logs out has that time again."""
        server = self.serve(login_seconds=60.0)
        server.advance(1)
        person, program, silent = server.connect(), server.connect(), server.connect()
        gone = server.person("gone")
        person.type("hello")
        program.call(do="ping")
        server.advance(30)
        gone.type("/logout")
        server.advance(30.2)
        words = "Nobody logged in here for 60 s. Connect again."
        self.assertEqual(person.lines()[-1], words)
        self.assertEqual(program.objects()[-1]["error"]["code"], "SLOW")
        self.assertEqual(silent.lines(), [BANNER, DOOR, words])
        self.assertFalse(gone.closed)
        server.advance(60)
        self.assertEqual(gone.lines()[-1], words)


class TurnedAwayTests(Base):
    """Who cannot stay is told so in their own dialect, if they say a word within a moment."""

    def test_in_each_dialect(self) -> None:
        """The first line chooses the dialect of the refusal, as it does of everything else; nothing of it is done."""
        server = self.serve(connections=1)
        alice = server.program("alice")
        said = {}
        for first in (
            b'{"id":1,"do":"he',
            b"NICK bob\r\n",
            b"/ping x\r\n",
            b"RAW 00112233\n",
            b"RAW 00112233 0\n",
            b"RAW ?\n",
            b"x" * 1_000,
        ):
            client = server.connect()
            client.send(first)
            said[first] = client.read().decode()
            self.assertTrue(client.closed, first)
        error = '"error":{"code":"FULL","text":"This server is full. Try again later.","with":{}}}'
        self.assertEqual(
            list(said.values()),
            [
                f'{{"re":null,{error}\n',
                f"ERROR :{FULL}\r\n",
                f"{FULL}\r\n",
                f"{{{error}\n",
                f"{FULL}\n",
                f"{{{error}\n",
                f"{FULL}\r\n",
            ],
        )
        self.assertEqual(server.audit.refusals["FULL"], len(said))
        self.assertEqual(alice.code(do="whoami"), "ok")

    def test_in_pieces(self) -> None:
        """A line that comes byte by byte is waited for; one that is never ended, and a side that is closed, are not."""
        server = self.serve(connections=0)
        slow, never, closed = server.connect(), server.connect(), server.connect()
        for byte in b"USER":
            slow.send(bytes([byte]))
        never.send(b"NICK bob")
        self.assertEqual((slow.read(), slow.closed), (b"", False))
        slow.send(b" x\n")
        self.assertEqual(slow.read(), f"ERROR :{FULL}\r\n".encode())
        closed.finish()
        self.assertEqual(closed.lines(), [FULL])
        server.advance(MOMENT)
        self.assertEqual(never.read(), f"ERROR :{FULL}\r\n".encode())
        self.assertEqual(server.factory._lingering, {})

    def test_a_flood(self) -> None:
        """So many are waited for and no more: the longest waiting is told at once. They take nobody's place."""
        server = self.serve(connections=2)
        alice = server.program("alice")
        bob = server.connect()
        crowd_ = [server.connect() for _ in range(LINGERING + 10)]
        self.assertEqual([client.closed for client in crowd_], [True] * 10 + [False] * LINGERING)
        bob.hang_up()
        self.assertEqual(server.connect().code(do="ping"), "ok")
        self.assertEqual(alice.code(do="whoami"), "ok")

    def test_at_the_door(self) -> None:
        """Who makes room for others, or is too slow, is told so in the dialect of what they have begun to say."""
        server = self.serve(strangers=2, login_seconds=60.0)
        begun, silent = server.connect(ABROAD), server.connect("198.51.100.1")
        begun.send(b'{"id":1,')
        server.connect("198.51.100.2")
        self.assertEqual(begun.objects()[0]["error"]["code"], "FULL")
        silent.send(b"CAP LS")
        server.advance(61)
        self.assertRegex(silent.read().decode(), r"^ERROR :Nobody logged in here for 60 s\.")


class PaceTests(Base):
    """How fast somebody may ask."""

    def test_over_all_connections(self) -> None:
        """An account with many connections asks no faster than by a few; other accounts are not concerned."""
        server = self.serve(lines_burst=10, calls_burst=25, calls_per_second=1.0)
        server.program("alice", ABROAD)
        clients = [server.resume("alice", address=ABROAD) for _ in range(5)]
        bob = server.program("bob", "203.0.113.8")
        server.advance(60)
        codes = [client.code(do="whoami") for client in clients for _ in range(8)]
        self.assertEqual((codes.count("ok"), codes.count("RATE")), (25, 15))
        self.assertEqual(bob.code(do="whoami"), "ok")
        server.advance(1.1)
        self.assertEqual(clients[0].code(do="whoami"), "ok")
        server.advance(60)
        self.assertEqual(server.instance.buckets, {})

    def test_bytes(self) -> None:
        """Past the rate a connection is not read for a while, and nothing is lost; this machine is exempt."""
        server = self.serve(bytes_burst=65_536, bytes_per_second=65_536.0)
        alice = server.program("alice", ABROAD)
        alice.call(do="create", room="#ops")
        line = json.dumps({"id": 7, "do": "say", "room": "#ops", "text": "x" * 3_900, "mid": "m"}).encode() + b"\n"
        for _ in range(20):
            alice.send(line.replace(b'"m"', b'"%s"' % new_mid().encode()))
        answered = sum("re" in each for each in alice.events())
        self.assertLess(answered, 20)
        self.assertEqual(alice.transport.producerState, "paused")
        server.advance(2)
        self.assertEqual(alice.transport.producerState, "producing")
        self.assertEqual(answered + sum("re" in each for each in alice.events()), 20)
        home = server.program("home")
        home.send(b" " * 65_536 * 4 + b"\n")
        self.assertEqual(home.transport.producerState, "producing")

    def test_without_a_pause(self) -> None:
        """Who writes on and on is refused some lines, and then not read for as long as those would have taken."""
        server = self.serve()
        alice = server.program("alice", ABROAD)
        for _ in range(40):
            alice.send(b'{"id":1,"do":"whoami"}\n' * 100)
        answers = alice.objects()
        self.assertEqual(len(answers), 200)
        self.assertEqual(sum("ok" in answer for answer in answers), 60 - 1)
        self.assertEqual(alice.transport.producerState, "paused")
        server.advance(6.9)
        self.assertEqual(alice.objects(), [])
        server.advance(0.3)
        self.assertGreater(len(alice.objects()), 0)

    def test_bytes_and_lines_that_wait(self) -> None:
        """A connection that is held for its bytes and for its lines is read again when neither holds it."""
        server = self.serve(bytes_burst=65_536, bytes_per_second=65_536.0, waiting_lines=2)
        alice = server.program("alice", ABROAD)
        server.readers.hold()
        alice.send(b'{"id":1,"do":"whoami"}\n' * 5 + b" " * 80_000)
        self.assertEqual(alice.transport.producerState, "paused")
        server.advance(5)
        self.assertEqual(alice.transport.producerState, "paused")
        server.readers.release()
        server.advance(0)
        self.assertEqual(alice.transport.producerState, "producing")
        self.assertEqual(sum(each.get("re") == 1 for each in alice.objects()), 5)

    def test_long_lines_that_wait(self) -> None:
        """Few lines that are long are as many as are kept: a connection holds no more than waiting_bytes and a line."""
        server = self.serve(waiting_bytes=100_000)
        alice = server.program("alice")
        server.writer.hold()
        for _ in range(20):
            alice.send(b'{"id":1,"do":"away","text":"' + b"x" * 30_000 + b'"}\n')
        kept = sum(len(line) for line in alice.protocol.session.turns.lines)
        self.assertLess(kept, 200_000)
        self.assertEqual(alice.transport.producerState, "paused")
        server.writer.release()
        server.advance(0)
        self.assertEqual(sum(each.get("re") == 1 for each in alice.objects()), 20)

    def test_guests(self) -> None:
        """So many guests an hour come from one address."""
        server = self.serve(guests_per_hour=2)
        server.factory.reload(replace(server.instance.settings, guests=True))
        codes = [server.connect(ABROAD).code(do="guest", name=f"guest{number}") for number in range(3)]
        self.assertEqual(codes, ["ok", "ok", "THROTTLED"])


class SilenceTests(Base):
    """Nothing comes."""

    def test_idle(self) -> None:
        """A connection from which nothing came for so long is ended, with the reason; one word keeps it."""
        server = self.serve(idle_seconds=3_600.0)
        alice, bob = server.program("alice"), server.person("bob")
        bob.lines()
        server.advance(3_000)
        alice.call(do="ping")
        server.advance(620)
        self.assertEqual(bob.lines(), ["Nothing came from here for 1h. Connect again."])
        self.assertTrue(bob.closed)
        self.assertEqual(alice.code(do="whoami"), "ok")

    def test_never(self) -> None:
        """0 is never."""
        server = self.serve(idle_seconds=0.0)
        alice = server.program("alice")
        server.advance(10_000_000)
        self.assertFalse(alice.closed)


class LiveTests(LiveTestCase):
    """Real sockets, of which there are not enough."""

    async def test_no_open_files_left(self) -> None:
        """Where a process may open few files, who comes too late is told so; who is in goes on; and it heals."""
        port = free_ports()
        words = ("chatd", "--data", os.fspath(self.data), "--config", os.fspath(self.config))
        listen = f"tcp:{port}:interface=127.0.0.1"
        program = self.run_program(
            "/bin/sh", "-c", 'ulimit -n 160; exec "$@"', "sh", *TWISTD, *words, "--listen", listen
        )
        await program.prints("^chatd ready on ")
        alice = await self.person(port, "alice")
        await alice.call("create", room="#ops")
        crowd_ = [await self.plain(port) for _ in range(80)]
        late = [client for client in crowd_ if not await self._stays(client)]
        self.assertGreater(len(late), 20)
        self.assertEqual({line for client in late for line in client.lines}, {FULL})
        for _ in range(10):
            await alice.call("say", room="#ops", text="still here", mid=new_mid())
        for client in crowd_:
            client.close()
            await client.end()
        await self.eventually(lambda: self._comes(port), "a place")
        self.assertNotIn("Traceback", "\n".join(program.lines))

    async def _stays(self, client: Client | Any) -> bool:
        client.send("/ping here")
        await client.until(lambda: client.lines and (client.gone or "pong here" in client.lines[-1]), "an answer")
        return not client.gone

    async def _comes(self, port: int) -> bool:
        return await self._stays(await self.plain(port))
