"""What sealed messages cost the server and the people who chat in the open beside them: `python tests/bench/sealed.py`.

A sealed group of 50 people, each with one device, on one instance; some of them say something, together 200 times a
second: one body, 49 envelopes. In an open room somebody says something 20 times a second. Printed are p50 and p99 from
the line that goes out to the line that comes in, of the open room alone, of it beside the sealed ones, and of those;
the processor time of the server; and whether every device got every envelope, in order. Durability is `full`.

What is sealed is sealed by nothing here: the server cannot tell, and the clients' share is not what is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import sys
import time
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from dialects import PASSWORD
from fleet import Client, cpu, memory
from servers import chatd

from tests.sealing import Chain, Keys, b64, body

ENVELOPE: Final = 170
"""Bytes of an Olm message that carries what an envelope does, once two devices have talked."""
TEXT: Final = 64 + 16
"""Bytes of a short text, padded, and its tag."""
SENDERS: Final = 10
CHAT: Final = 20
"""Lines a second in the open room."""


class Member(Client):
    """One json connection that knows how to call."""

    __slots__ = ("buffer", "came", "envelopes", "keys", "latest", "others", "seconds", "waiting")

    def __init__(self, port: int, name: str) -> None:
        super().__init__(port, name, "")
        self.buffer = b""
        self.keys = Keys(self.call(do="register", name=name, password=PASSWORD)["account"])
        self.envelopes = self.latest = self.waiting = 0
        self.others: list[str] = []
        self.came: list[float] = []
        self.seconds: list[float] = []

    def call(self, **fields: Any) -> dict[str, Any]:
        """One call; its answer."""
        self.sock.sendall(json.dumps({"id": 1} | fields).encode() + b"\n")
        while True:
            while b"\n" not in self.buffer:
                self.buffer += self.sock.recv(65536)
            line, _, self.buffer = self.buffer.partition(b"\n")
            found = json.loads(line)
            if found.get("re") == 1:
                ok: dict[str, Any] = found["ok"]
                return ok

    def equip(self) -> None:
        """Publish keys, and be that device."""
        manifest = self.keys.manifest()
        self.call(do="publish", manifest=manifest)
        self.keys.published(manifest)
        self.call(do="bind", device=self.keys.devices[0].id)

    def say(self, room: int, now: float, head: bytes | None = None) -> None:
        """Say something that carries the time at which it was said; sealed where a log's head is given."""
        mid = f"019a0000-0000-7000-{os.urandom(2).hex()}-{int(now * 1e6) & ((1 << 48) - 1):012x}"
        call: dict[str, Any] = {"id": 2, "do": "say", "room": room, "mid": mid}
        if head is None:
            call["text"] = "x" * 64
        else:
            call["sealed"] = body(head, os.urandom(TEXT))
            call["envelopes"] = {device: b64(os.urandom(ENVELOPE)) for device in self.others}
        self.sock.setblocking(True)
        self.sock.sendall(json.dumps(call).encode() + b"\n")
        self.sock.setblocking(False)
        self.waiting += 1

    def read(self, now: float, *, timed: bool) -> None:
        """Take what has come: count it, and of some look when it was said."""
        *lines, self.buffer = (self.buffer + self.sock.recv(1 << 18)).split(b"\n")
        for line in lines:
            if line.startswith(b'{"ev":"envelope"'):
                number = int(line[21 : line.index(b",", 21)])
                if number <= self.latest:
                    raise AssertionError("an envelope out of its order, or twice")
                self.latest = number
                self.envelopes += 1
            elif line.startswith(b'{"re"'):
                if b'"ok"' not in line:
                    raise AssertionError(line)
                self.waiting -= 1
            elif timed and line.startswith(b'{"ev":"say"'):
                sent = int(line.partition(b'"mid":"')[2][24:36], 16)
                self.seconds.append((int(now * 1e6) - sent) / 1e6)


def percentiles(seconds: list[float]) -> str:
    """p50 and p99, in ms."""
    ordered = sorted(seconds)
    return "   ".join(f"p{part} {ordered[len(ordered) * part // 100] * 1000:7.2f} ms" for part in (50, 99))


def run(poll: select.epoll, members: dict[int, Member], plan: list[tuple[float, Any]], timed: set[int]) -> None:
    """Carry out a plan: at each time (s) something is said; until all is answered and nothing comes any more."""
    began, done, last = time.monotonic(), 0, 0.0
    while done < len(plan) or any(member.waiting for member in members.values()) or time.monotonic() - last < 0.3:
        while done < len(plan) and (now := time.monotonic()) - began >= plan[done][0]:
            plan[done][1](now)
            done += 1
        left = max(0.0, plan[done][0] - (time.monotonic() - began)) if done < len(plan) else 0.1
        for fd, _ in poll.poll(left, 64):
            last = time.monotonic()
            members[fd].read(last, timed=fd in timed)


def measure(people: int, rate: int, seconds: float) -> None:
    """One run."""
    with chatd(dialect="json") as server:
        everybody = [Member(server.port, f"member{number:03}") for number in range(people)]
        talker, listener = Member(server.port, "talker"), Member(server.port, "listener")
        for member in everybody:
            member.equip()
        devices = {member.name: member.keys.devices[0].id for member in everybody}
        for member in everybody:
            member.others = [device for name, device in devices.items() if name != member.name]
        owner, chain = everybody[0].keys, Chain()
        proofs = chain.extend(owner, "create", owner.account, owner.public, "ask #sealed")
        for member in everybody[1:]:
            proofs += chain.extend(owner, "add", member.keys.account, member.keys.public)
        names = [member.keys.account for member in everybody[1:]]
        room = everybody[0].call(do="create", room="#sealed", sealed=True, people=names, proofs=proofs)["room_id"]
        opened = talker.call(do="create", room="#open", people=["listener"])["room_id"]
        members = {member.sock.fileno(): member for member in (*everybody, talker, listener)}
        poll = select.epoll()
        for fd, member in members.items():
            member.sock.setblocking(False)
            poll.register(fd, select.EPOLLIN)
        chat = [(n / CHAT, lambda now: talker.say(opened, now)) for n in range(int(seconds * CHAT))]
        timed = {listener.sock.fileno(), everybody[-1].sock.fileno()}
        run(poll, members, chat, timed)
        print(f"open room alone, {CHAT}/s                 {percentiles(listener.seconds)}")
        listener.seconds.clear()
        everybody[-1].seconds.clear()
        count = int(seconds * rate)
        sealed = [
            (n / rate, lambda now, sender=everybody[n % SENDERS]: sender.say(room, now, chain.head))
            for n in range(count)
        ]
        busy, began = cpu(server.pids), time.monotonic()
        run(poll, members, sorted([*chat, *sealed], key=lambda step: step[0]), timed)
        took, busy = time.monotonic() - began, cpu(server.pids) - busy
        print(f"open room beside {rate} sealed/s          {percentiles(listener.seconds)}")
        print(f"sealed, to a group of {people}              {percentiles(everybody[-1].seconds)}")
        wanted = [count - len(range(number, count, SENDERS)) * (number < SENDERS) for number in range(people)]
        whole = [member.envelopes for member in everybody] == wanted
        print(f"server {busy / took:.0%} of a core, {memory(server.pids) / 1e6:.0f} MB; every envelope once: {whole}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=50)
    parser.add_argument("--rate", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=10.0)
    args = parser.parse_args()
    measure(args.people, args.rate, args.seconds)


if __name__ == "__main__":
    main()
