"""Whoever is in goes before who comes and who goes; of the others a few come in each turn, each in its turn."""

from __future__ import annotations

import select
import socket
import time
from types import SimpleNamespace
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from chatd.protocol import is_in
from chatd.proxy import ProxyFactory
from chatd.reactor import ACCEPTS, FEW, HOLD, Turns, accept_few, bound_turns


class TurnTests(SynchronousTestCase):
    """An epoll object, with sockets of people and of strangers."""

    def setUp(self) -> None:
        self.busy = False
        self.inside: set[int] = set()
        self.selectables: dict[int, Any] = {}
        self.reactor = SimpleNamespace(_poller=select.epoll(), _selectables=self.selectables)
        self.number = bound_turns(self.reactor, lambda each: each in self.inside, lambda: self.busy)
        self.turns: Turns = self.reactor._poller
        self.addCleanup(self.turns.close)

    def come(self, *, inside: bool = False) -> tuple[socket.socket, socket.socket]:
        """A socket that is watched, and its other end."""
        one, other = socket.socketpair()
        self.addCleanup(one.close)
        self.addCleanup(other.close)
        self.turns.register(one.fileno(), select.EPOLLIN)
        self.selectables[one.fileno()] = one.fileno()
        if inside:
            self.inside.add(one.fileno())
        return one, other

    def ready(self) -> list[int]:
        """What one turn hands over."""
        return [fd for fd, _ in self.turns.poll(0, len(self.selectables))]

    def test_strangers_in_their_turn(self) -> None:
        """Of very many that are ready each is handed over once before any is a second time."""
        waiting = set()
        for _ in range(3 * FEW):
            one, other = self.come()
            other.send(b"x")
            waiting.add(one.fileno())
        for _ in range(3):
            found = self.ready()
            self.assertEqual(len(found), FEW)
            waiting -= set(found)
        self.assertEqual(waiting, set())

    def test_who_is_in_comes_first(self) -> None:
        """However many strangers there are, who is in is handed over in every turn, before them."""
        one, other = self.come(inside=True)
        other.send(b"x")
        self.assertEqual(self.ready(), [one.fileno()])
        for _ in range(3 * FEW):
            self.come()[1].send(b"x")
        for _ in range(3):
            found = self.ready()
            self.assertEqual(found[0], one.fileno())
            self.assertEqual(len(found), FEW + 1)

    def test_strangers_wait_for_a_commit(self) -> None:
        """Where there are more strangers than a turn's, none is looked at while a commit is under way; who is in is. It
        is over, or takes long: then they are.
        """
        one, other = self.come(inside=True)
        other.send(b"x")
        self.assertEqual(self.ready(), [one.fileno()])
        one.recv(1)
        for _ in range(3 * FEW):
            self.come()[1].send(b"x")
        self.busy = True
        self.assertEqual(len(self.ready()), FEW)  # nobody knew yet how many there are
        self.assertEqual(self.ready(), [])
        other.send(b"x")
        self.assertEqual(self.ready(), [one.fileno()])
        one.recv(1)
        self.busy = False
        self.assertEqual(len(self.ready()), FEW)
        self.busy = True
        self.assertEqual(self.turns.poll(0.0001, 99), [])  # what wakes the reactor meanwhile is who is in
        time.sleep(HOLD)
        self.assertEqual(len(self.ready()), FEW)
        self.assertEqual(len(self.ready()), FEW)

    def test_few_strangers_do_not_wait(self) -> None:
        """Where all of them are looked at in one turn nobody waits for a commit."""
        self.busy = True
        one, other = self.come()
        other.send(b"x")
        for _ in range(3):
            self.assertEqual(self.ready(), [one.fileno()])

    def test_numbers(self) -> None:
        """Turns are numbered."""
        before = self.number()
        self.ready()
        self.assertEqual(self.number(), before + 1)
        self.assertEqual(self.number(), before + 1)

    def test_who_goes_comes_last(self) -> None:
        """Who is in and hangs up stands behind those who stay, and is not forgotten; nor is what they said last."""
        stays, says = self.come(inside=True)
        says.send(b"x")
        self.assertEqual(self.ready(), [stays.fileno()])
        gone = [self.come(inside=True) for _ in range(2 * FEW)]
        for _, other in gone:
            other.send(b"x")
        for _ in range(3):
            self.ready()  # each has been seen to be in
        stays.recv(1)
        for one, other in gone:
            one.recv(1)
            other.send(b"bye")
            other.shutdown(socket.SHUT_WR)
        says.send(b"x")
        left = {one.fileno(): one for one, _ in gone}
        for _ in range(2):
            found = self.ready()
            self.assertEqual(found[0], stays.fileno())
            for fd in found[1:]:
                one = left.pop(fd)
                self.assertEqual(one.recv(10), b"bye")
                self.turns.unregister(fd)
        self.assertEqual(left, {})

    def test_paused_and_resumed(self) -> None:
        """What is watched for something else, or not for a while, is handed over as asked."""
        for inside in (False, True):
            one, other = self.come(inside=inside)
            other.send(b"x")
            self.assertEqual(self.ready(), [one.fileno()])
            self.turns.modify(one.fileno(), select.EPOLLOUT)
            self.assertEqual(self.turns.poll(0, 9), [(one.fileno(), select.EPOLLOUT)])
            self.turns.unregister(one.fileno())
            self.assertEqual(self.ready(), [])
            self.turns.register(one.fileno(), select.EPOLLIN)
            self.assertEqual(self.ready(), [one.fileno()])
            self.turns.unregister(one.fileno())

    def test_what_was_there_before(self) -> None:
        """What was watched before there were turns is so still."""
        poller = select.epoll()
        reactor = SimpleNamespace(_poller=poller, _selectables={})
        one, other = socket.socketpair()
        self.addCleanup(one.close)
        self.addCleanup(other.close)
        poller.register(one.fileno(), select.EPOLLIN)
        bound_turns(reactor, lambda each: True, bool)
        self.addCleanup(reactor._poller.close)
        other.send(b"x")
        self.assertEqual(reactor._poller.poll(0, 1), [(one.fileno(), select.EPOLLIN)])
        reactor._poller.modify(one.fileno(), select.EPOLLOUT)
        reactor._poller.unregister(one.fileno())
        self.assertEqual(reactor._poller.poll(0, 1), [])

    def test_another_reactor(self) -> None:
        """One that has no such object stays as it is."""
        reactor = SimpleNamespace()
        number = bound_turns(reactor, lambda each: True, bool)
        self.assertEqual(vars(reactor), {})
        self.assertLess(number(), number())  # each question is a turn


class InTests(SynchronousTestCase):
    """Whose socket it is."""

    def test_is_in(self) -> None:
        """Somebody who is logged in, directly or under TLS; and whatever is nobody's socket."""
        for account, known in ((7, True), (0, False)):
            protocol = SimpleNamespace(session=SimpleNamespace(account=account))
            self.assertIs(is_in(SimpleNamespace(protocol=protocol)), known)
            wrapped = SimpleNamespace(wrappedProtocol=protocol)
            self.assertIs(is_in(SimpleNamespace(protocol=wrapped)), known)
        self.assertTrue(is_in(SimpleNamespace()))
        self.assertTrue(is_in(None))

    def test_behind_a_proxy(self) -> None:
        """Of whom the proxy has not said yet where they come from: a stranger."""
        factory = ProxyFactory(Factory(), clock=Clock())
        transport = StringTransport()
        header = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        assert header is not None
        transport.protocol = header
        header.makeConnection(transport)
        self.addCleanup(factory.stopFactory)
        self.addCleanup(header.connectionLost)
        self.assertFalse(is_in(transport))

    def test_accepts(self) -> None:
        """A port goes back to few connections a turn; what came by none does not matter."""
        port = SimpleNamespace(numberAccepts=200)
        accept_few(SimpleNamespace(server=port))
        self.assertEqual(port.numberAccepts, ACCEPTS)
        accept_few(SimpleNamespace())
