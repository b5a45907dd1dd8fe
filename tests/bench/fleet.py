"""Many clients on raw sockets and one epoll: connecting, logging in, and what a process has cost.

The rule: what is read here is looked at once, while a client enters; after that its bytes are only counted.
"""

from __future__ import annotations

import os
import re
import select
import socket
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from dialects import Dialect, Step

WIDTH = 64
SLICE = 200
PATIENCE = 30.0
BUFFER = 1 << 19


def text(stamp: int) -> bytes:
    """A message of 64 bytes that carries a time in nanoseconds."""
    return (b"t=%018d " % stamp).ljust(WIDTH, b"x")


def cpu(pids: Iterable[int]) -> float:
    """Seconds of processor time these processes have used, all threads, user and system."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def memory(pids: Iterable[int]) -> int:
    """Resident bytes of these processes."""
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return pages * os.sysconf("SC_PAGE_SIZE")


class Client:
    """One connection: its socket, its name, its room."""

    __slots__ = ("name", "room", "seen", "sock")

    def __init__(self, port: int, name: str, room: str) -> None:
        self.name, self.room, self.seen = name, room, b""
        self.sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read_until(self, pattern: re.Pattern[bytes]) -> bytes:
        """What was read up to the moment the server said it."""
        self.sock.settimeout(PATIENCE)
        while not pattern.search(self.seen):
            try:
                data = self.sock.recv(65536)
            except TimeoutError:
                raise ConnectionError(f"{self.name}: no {pattern.pattern!r} in {self.seen[-300:]!r}") from None
            if not data:
                raise ConnectionError(f"{self.name}: the server closed after {self.seen[-300:]!r}")
            self.seen += data
        read, self.seen = self.seen, b""
        return read


class Fleet:
    """All clients of one run, in rooms of equal size."""

    def __init__(self, port: int, speak: Dialect, prefix: str = "u") -> None:
        self.port, self.speak, self.prefix = port, speak, prefix
        self.clients: list[Client] = []
        self.poll = select.epoll()
        self.recv: dict[int, Callable[..., int]] = {}
        self.buffer = bytearray(BUFFER)

    def open(self, count: int, *, new: bool = True, rooms: int = 1) -> None:
        """Connect, log in and join one of `rooms` rooms (0: none), a slice at a time; those already in keep reading."""
        made: set[str] = set()
        for start in range(len(self.clients), count, SLICE):
            part = [self.connect(n, rooms) for n in range(start, min(start + SLICE, count))]
            self.ask(part, lambda c: self.speak.enter(c.name, new=new))
            if rooms:
                first = list({c.room: c for c in reversed(part) if c.room not in made}.values())
                made.update(c.room for c in first)
                self.ask(first, lambda c: self.speak.join(c.room, first=True))
                self.ask([c for c in part if c not in first], lambda c: self.speak.join(c.room, first=False))
            for client in part:
                self.adopt(client)
            self.quiet(0.0)
        self.quiet(0.5)

    def connect(self, number: int, rooms: int) -> Client:
        """The client of that number: all names and all rooms are equally long, so that lines are."""
        return Client(self.port, f"{self.prefix}{number:05d}", f"#{self.prefix}{number % max(rooms, 1):05d}")

    def adopt(self, client: Client) -> None:
        """From here on this client is read by the epoll."""
        client.sock.setblocking(False)
        self.clients.append(client)
        self.recv[client.sock.fileno()] = client.sock.recv_into
        self.poll.register(client.sock, select.EPOLLIN)

    def ask(self, clients: Sequence[Client], steps: Callable[[Client], list[Step]]) -> None:
        """Take every client through its steps, all of them at once."""
        todo = [(client, steps(client)) for client in clients]
        for turn in range(len(todo[0][1]) if todo else 0):
            for client, plan in todo:
                client.sock.sendall(plan[turn].line)
            for client, plan in todo:
                client.read_until(plan[turn].until)

    def quiet(self, silence: float) -> int:
        """Read and forget until nothing has come for so many seconds; the bytes there were."""
        total = 0
        while ready := self.poll.poll(silence, 4096):
            for fd, _ in ready:
                if not (size := self.recv[fd](self.buffer)):
                    raise ConnectionError("the server closed a connection")
                total += size
        return total

    def width(self) -> int:
        """The bytes of one delivered line where that never varies, learnt from two messages; 0 where it may."""
        if self.speak.overhead:
            return 0
        ends = [self.clients[0], self.clients[-1]]
        widths = set()
        for sender in ends:
            sender.sock.sendall(self.speak.say(sender.room, text(0)))
            widths.add(self.quiet(0.5) / (self.members(sender.room) - 1))
        if len(widths) != 1 or not (width := widths.pop()).is_integer():
            raise ValueError("the lines of this server are not of one width")
        return int(width)

    def members(self, room: str) -> int:
        """How many are in that room."""
        return sum(c.room == room for c in self.clients)
