"""The load program, in a process of its own. Prints one line of JSON.

    load.py closed --port 6667 --dialect irc --members 200 --seconds 5 --pid 4711
    load.py open --rate 200 ...        load.py connections --members 2000 ...

**closed**: of `window` messages (one per member, at most 200) each is replaced by the next member's as soon as one has
reached every other member of its room. Only deliveries are counted, so the rule is the same for servers that echo and
for those that do not. At the end all must have arrived; `lost` says how many did not.
**open**: messages leave at a fixed rate whatever the server does; the text carries the time it was given to the kernel.
Five witnesses, spread over the order of joining, tell how long each message took to reach them. The load does not
sleep here (unless told), so that the time it takes to wake a process on this machine is not in the numbers.
**connections**: connect and get a first line answered, at most 40 at once; log all in; what one idle connection keeps.

The load must not be what is measured. Where all lines have one width (IRC, plain) received bytes are discarded inside
the kernel (MSG_TRUNC) and counted, else newlines are counted; only witnesses read their lines. A socket that has just
sent acknowledges at once (TCP_QUICKACK): servers that leave Nagle on would otherwise wait 40 ms for us. `load_busy` is
this program's own share of a processor: near 1.0 the server could have done more.
"""

from __future__ import annotations

import argparse
import gc
import json
import re
import socket
import sys
import time
from itertools import cycle
from typing import Any

from dialects import dialect
from fleet import SLICE, Fleet, cpu, memory, text

WINDOW = 200
WITNESSES = 5
AT_ONCE = 40
WARM = 1.0
GIVE_UP = 5.0
STAMP = re.compile(rb"t=(\d{18})")

Result = dict[str, Any]


def closed(fleet: Fleet, pids: list[int], seconds: float, window: int) -> Result:
    """As many messages as the server can deliver while `window` of them are under way."""
    others = len(fleet.clients) // len({c.room for c in fleet.clients}) - 1
    width = fleet.width()
    unit = (others + fleet.speak.overhead) * (width or 1)
    flags = socket.MSG_TRUNC if width else 0
    poll, recv, buffer, most, say = fleet.poll.poll, fleet.recv, fleet.buffer, len(fleet.buffer), fleet.speak.say
    count = buffer.count
    turns = cycle([(c.sock.send, c.sock.setsockopt, c.room) for c in fleet.clients])
    payload = text(0)
    window = window or min(len(fleet.clients), WINDOW)

    got = sent = done = 0
    marks: list[tuple[float, int, float, float]] = []
    begin = time.monotonic()
    stages = iter([begin + WARM, begin + WARM + seconds])
    stage = next(stages)
    sending = True
    last = begin
    while True:
        while sending and sent - done < window:
            send, option, room = next(turns)
            send(say(room, payload))
            option(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            sent += 1
        ready = poll(0.2, most)
        for fd, _ in ready:
            size = recv[fd](buffer, most, flags)
            got += size if flags else count(b"\n", 0, size)
            if not size:
                raise ConnectionError("the server closed a connection")
        done = got // unit
        now = time.monotonic()
        if ready:
            last = now
        if sending and now >= stage:
            marks.append((now, done, cpu(pids), time.process_time()))
            stage = next(stages, 0.0)
            sending = bool(stage)
        if not sending and (done >= sent or now - last > GIVE_UP):
            break

    extra = fleet.quiet(0.3)
    (t0, d0, c0, own0), (t1, d1, c1, own1) = marks
    messages = (d1 - d0) / (t1 - t0)
    return {
        "members": len(fleet.clients),
        "window": window,
        "messages": messages,
        "deliveries": messages * others,
        "cpu_us": (c1 - c0) / max((d1 - d0) * others, 1) * 1e6,
        "server_busy": (c1 - c0) / (t1 - t0),
        "load_busy": (own1 - own0) / (t1 - t0),
        "lost": sent - done,
        "left_over": got - sent * unit + extra,
    }


def open_loop(fleet: Fleet, pids: list[int], seconds: float, rate: float, *, sleep: bool) -> Result:
    """Messages at a fixed rate; milliseconds from handing one to the kernel to a witness having it."""
    step = max(len(fleet.clients) // WITNESSES, 1)
    witnesses = {c.sock.fileno(): b"" for c in fleet.clients[::step][:WITNESSES]}
    turns = cycle([c for c in fleet.clients if c.sock.fileno() not in witnesses])
    took: list[int] = []
    seen = sent = unread = 0
    begin = time.monotonic()
    end = begin + WARM + seconds
    c0 = own0 = t0 = 0.0
    while (now := time.monotonic()) < end or (seen < sent * len(witnesses) and now < end + GIVE_UP):
        if not t0 and now >= begin + WARM:
            t0, c0, own0 = now, cpu(pids), time.process_time()
            took.clear()
        while begin + sent / rate <= now < end:
            client = next(turns)
            try:
                client.sock.send(fleet.speak.say(client.room, text(time.monotonic_ns())))
                client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            except BlockingIOError:
                unread += 1
            sent += 1
        for fd, _ in fleet.poll.poll(0.001 if sleep else 0, 4096):
            if fd not in witnesses:
                fleet.recv[fd](fleet.buffer, len(fleet.buffer), socket.MSG_TRUNC)
                continue
            size = fleet.recv[fd](fleet.buffer)
            arrived = time.monotonic_ns()
            whole, _, witnesses[fd] = (witnesses[fd] + bytes(fleet.buffer[:size])).rpartition(b"\n")
            stamps = STAMP.findall(whole)
            took.extend(arrived - int(stamp) for stamp in stamps)
            seen += len(stamps)
    t1, c1, own1 = time.monotonic(), cpu(pids), time.process_time()
    took.sort()
    return {
        "members": len(fleet.clients),
        "rate": rate,
        "p50_ms": took[len(took) // 2] / 1e6,
        "p99_ms": took[len(took) * 99 // 100] / 1e6,
        "max_ms": took[-1] / 1e6,
        "server_busy": (c1 - c0) / (t1 - t0),
        "load_busy": (own1 - own0) / (t1 - t0),
        "samples": len(took),
        "lost": sent * len(witnesses) - seen,
        "unread": unread,
    }


def connections(fleet: Fleet, pids: list[int], members: int, *, new: bool) -> Result:
    """Accept rate, then memory: 100 are let in first, so that what is allocated once is not counted."""
    few = 100
    fleet.open(few, new=new, rooms=0)
    before = memory(pids)
    fresh = []
    begin = time.monotonic()
    for start in range(few, members, AT_ONCE):
        part = [fleet.connect(n, 0) for n in range(start, min(start + AT_ONCE, members))]
        fleet.ask(part, lambda c: [fleet.speak.first()])
        fresh += part
    accepted = time.monotonic()
    bare = memory(pids)
    for start in range(0, len(fresh), SLICE):
        fleet.ask(fresh[start : start + SLICE], lambda c: fleet.speak.enter(c.name, new=new))
    entered = time.monotonic()
    for client in fresh:
        fleet.adopt(client)
    fleet.quiet(1.0)
    after = memory(pids)
    return {
        "connections": len(fresh),
        "accepts": len(fresh) / (accepted - begin),
        "bare_kib": (bare - before) / len(fresh) / 1024,
        "logins": len(fresh) / (entered - accepted),
        "idle_kib": (after - before) / len(fresh) / 1024,
    }


def main() -> None:
    """One run, one line of JSON."""
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("mode", choices=["closed", "open", "connections", "accounts"])
    parse.add_argument("--port", type=int, required=True)
    parse.add_argument("--dialect", default="irc")
    parse.add_argument("--pid", type=int, action="append", default=[], help="a server process whose cost is counted")
    parse.add_argument("--members", type=int, default=200)
    parse.add_argument("--rooms", type=int, default=1, help="of equal size; 0: none")
    parse.add_argument("--window", type=int, default=0)
    parse.add_argument("--rate", type=float, default=200.0)
    parse.add_argument("--sleep", action="store_true", help="open: leave the processor to others between events")
    parse.add_argument("--seconds", type=float, default=5.0)
    parse.add_argument("--prefix", default="u", help="of names and rooms, to run twice against one server")
    parse.add_argument("--known", action="store_true", help="the accounts are there: log in instead of registering")
    args = parse.parse_args()

    gc.disable()
    fleet = Fleet(args.port, dialect(args.dialect), args.prefix)
    if args.mode == "connections":
        print("measuring", file=sys.stderr, flush=True)
        result = connections(fleet, args.pid, args.members, new=not args.known)
    else:
        fleet.open(args.members, new=not args.known, rooms=args.rooms)
        print("measuring", file=sys.stderr, flush=True)
        if args.mode == "closed":
            result = closed(fleet, args.pid, args.seconds, args.window)
        elif args.mode == "open":
            result = open_loop(fleet, args.pid, args.seconds, args.rate, sleep=args.sleep)
        else:
            result = {"accounts": len(fleet.clients)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
