"""The server everybody writes first: ordinary Twisted, one transport.write per message and recipient, nothing stored.

It speaks the four words of IRC that the load program uses, so that it runs the very same load as the others. It has no
accounts, checks nothing, keeps nothing: what chatd costs more than this is what chatd does more than this.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from typing import ClassVar

from twisted.internet import reactor
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure


class Naive(LineReceiver):
    """One connection."""

    delimiter = b"\n"
    rooms: ClassVar[defaultdict[bytes, set[Naive]]] = defaultdict(set)
    nick = b"?"

    def lineReceived(self, line: bytes) -> None:
        """NICK, USER, JOIN, PRIVMSG; anything else gets 421."""
        verb, _, rest = line.rstrip(b"\r").partition(b" ")
        if verb == b"PRIVMSG":
            room, _, text = rest.partition(b" ")
            message = b":%s!n@127.0.0.1 PRIVMSG %s %s\r\n" % (self.nick, room, text)
            for member in self.rooms[room]:
                if member is not self:
                    member.transport.write(message)
        elif verb == b"NICK":
            self.nick = rest
        elif verb == b"USER":
            self.transport.write(b":naive 422 %s :No MOTD\r\n" % self.nick)
        elif verb == b"JOIN":
            self.rooms[rest].add(self)
            for member in self.rooms[rest]:
                member.transport.write(b":%s!n@127.0.0.1 JOIN %s\r\n" % (self.nick, rest))
            self.transport.write(b":naive 366 %s %s :End of NAMES\r\n" % (self.nick, rest))
        else:
            self.transport.write(b":naive 451 %s %s :?\r\n" % (self.nick, verb))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Out of every room."""
        for members in self.rooms.values():
            members.discard(self)


def main() -> None:
    """`naive.py PORT`."""
    factory = Factory.forProtocol(Naive)
    reactor.listenTCP(int(sys.argv[1]), factory, backlog=1024, interface="127.0.0.1")
    print("naive ready", flush=True)
    reactor.run()


if __name__ == "__main__":
    main()
