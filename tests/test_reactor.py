"""A turn of the reactor looks at so many sockets, and the others come in their turn."""

from __future__ import annotations

import select
import socket
from types import SimpleNamespace

from twisted.trial.unittest import SynchronousTestCase

from chatd.reactor import A_TURN, bound_turns


class TurnTests(SynchronousTestCase):
    """A reactor's own epoll object, bounded."""

    def test_each_in_its_turn(self) -> None:
        """Of very many that are ready each is handed over once before any is a second time."""
        poller = select.epoll()
        self.addCleanup(poller.close)
        reactor = SimpleNamespace(_poller=poller)
        bound_turns(reactor)
        ready = set()
        for _ in range(3 * A_TURN):
            one, other = socket.socketpair()
            self.addCleanup(one.close)
            self.addCleanup(other.close)
            other.send(b"x")
            reactor._poller.register(one.fileno(), select.EPOLLIN)
            ready.add(one.fileno())
        for _ in range(3):
            found = reactor._poller.poll(0, len(ready))
            self.assertEqual(len(found), A_TURN)
            ready -= {number for number, _ in found}
        self.assertEqual(ready, set())
        self.assertEqual(len(reactor._poller.poll(0, 2)), 2)

    def test_another_reactor(self) -> None:
        """One that has no such object stays as it is."""
        reactor = SimpleNamespace()
        bound_turns(reactor)
        self.assertEqual(vars(reactor), {})
