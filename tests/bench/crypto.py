"""What end-to-end encryption costs one client: `python -m tests.bench.crypto [members]`.

Measured are the client's own parts over a real store on disk (client/courier.py and below: ratchets, SQLite, flushes);
the server is the tests' model and is not counted: its answers are made before the clock runs, or the clock stands.
"""

from __future__ import annotations

import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orjson import dumps

from client.courier import Room
from client.outbox import new_mid
from client.store import Store
from tests.client.crypto.world import Party, Server, run

ROUNDS = 300


def cpu() -> float:
    """The CPU time of this process, in seconds."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def timed(do: Callable[[], Any], rounds: int) -> tuple[float, float]:
    """CPU and time on the wall of one go, in ms: the median of the wall, the mean of the CPU."""
    walls, before = [], cpu()
    for _ in range(rounds):
        start = time.perf_counter()
        do()
        walls.append(time.perf_counter() - start)
    return (cpu() - before) / rounds * 1000, statistics.median(walls) * 1000


def on_disk(party: Party, folder: Path) -> None:
    """Have this party's store in a file, flushed as `chat` does."""
    other = Store(folder / f"{party.name}.db")
    party.store._db.backup(other._db)
    other._db.execute("PRAGMA journal_mode=WAL")
    party.open(other)


def compose(party: Party, number: int, room: Room, text: str) -> dict[str, Any]:
    """Encrypt and save one message, as if the server had taken it."""
    mid = new_mid()
    fields = party.sealing.compose(number, room.id, mid, {"text": text}, room.ends, [], room.log, party.now(), "text")
    party.sealing.stored(mid, 1, party.now())
    return fields


def pair(folder: Path) -> None:
    """One to one: send, and receive."""
    server = Server()
    alice, bob = Party(server, 1, "alice"), Party(server, 2, "bob")
    number = alice.dm(bob)
    for one, other in ((alice, bob), (bob, alice)):
        one.say(number, "hello")
        other.pump()
        one.pump()
    on_disk(alice, folder)
    on_disk(bob, folder)
    room = run(alice.courier.room(number))
    used, wall = timed(lambda: compose(alice, number, room, "x" * 60), ROUNDS)
    print(f"1:1 send                {used:7.2f} ms CPU  {wall:7.2f} ms, encrypted, saved, flushed to disk")
    for _ in range(ROUNDS):
        alice.say(number, "x" * 60)
    lines = [line for line in bob.queue if line["ev"] != "say" or line["by_id"] == 1]
    before, start = cpu(), time.perf_counter()
    for line in lines:
        bob.hear(line)
    used, wall = (cpu() - before) / ROUNDS * 1000, (time.perf_counter() - start) / ROUNDS * 1000
    print(f"1:1 receive             {used:7.2f} ms CPU  {wall:7.2f} ms, envelope and event, both opened and kept")


def group(folder: Path, members: int) -> None:
    """A group: the first message, with a session begun with each member, and later ones."""
    server = Server()
    alice = Party(server, 1, "alice")
    others = [Party(server, account, f"p{account}") for account in range(2, members + 1)]
    number = alice.create("#ops", *others)
    on_disk(alice, folder)
    room = run(alice.courier.room(number))
    answer = server.do_claim(alice, {"devices": [*map(_name, room.ends)]})
    sizes: list[int] = []

    def first() -> None:
        with alice.store.atomic():
            alice.keys.claimed(room.ends, answer["keys"])
        sizes.append(len(dumps(compose(alice, number, room, "x" * 60))))

    used, wall = timed(first, 1)
    print(f"group of {members:<4} first send {used:6.1f} ms CPU  {wall:7.1f} ms, {sizes[0] / 1024:.1f} KiB up")
    for party in others:  # each opens it and answers once, so that what follows is no first contact any more
        party.pump()
    later: list[int] = []

    def send() -> None:
        later.append(len(dumps(compose(alice, number, room, "x" * 60))))

    used, wall = timed(send, 20)
    print(f"group of {members:<4} before answers {used:5.1f} ms CPU {wall:6.1f} ms, {later[-1] / 1024:.1f} KiB up")
    for end, party in zip(room.ends, others, strict=True):
        run(party.courier.meet([1]))
        envelope = party.sealing  # a word from each: the sessions are two-way from here on
        me = party.keys.end(1, alice.keys.own.id)
        assert me is not None and end.account == party.account
        run(party.courier.claim([me]))
        envelopes = envelope.word(me, "heartbeat", {})
        server.post(_name(me), party, next(iter(envelopes.values())), None, None)
    while alice.queue:
        line = alice.queue.pop(0)
        if line["ev"] == "envelope":
            alice.sealing.envelope(line, alice.now())
    used, wall = timed(send, 20)
    fields = compose(alice, number, room, "x" * 60)
    down = len(fields["sealed"]) + len(next(iter(fields["envelopes"].values())))
    print(
        f"group of {members:<4} later sends {used:6.1f} ms CPU {wall:7.1f} ms, {later[-1] / 1024:.1f} KiB up,"
        f" {down} B down to each"
    )


def _name(end: Any) -> str:
    from client.crypto import encoding

    return encoding.text(end.device.id)


def main() -> None:
    """Print what it costs."""
    members = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    with tempfile.TemporaryDirectory() as folder:
        pair(Path(folder))
        group(Path(folder), members)


if __name__ == "__main__":
    main()
