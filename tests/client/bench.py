"""A long run of `chat` without its screen: 100,000 lines arrive. Memory and the time a typed line takes are printed.

    python -m tests.client.bench [LINES]

The rule: it prints, and asserts nothing.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock

from client import profile
from client.chat import Chat
from client.face import Face
from client.lines import KEEP, Line
from client.store import Store

CHUNK = 200
"""Events that one read of the socket brings."""


class Screen(Face):
    """Shows nothing, but makes what would be shown."""

    keep = KEEP

    def show(self, lines: list[Line]) -> None:
        for line in lines:
            line.shown()


def main(lines: int) -> None:
    """Feed so many lines, and print a row after each tenth of them."""
    with tempfile.TemporaryDirectory() as folder:
        held = profile.Profile("bench", Path(folder))
        store = Store(held.database)
        store.unlock(*profile.unlock(held, store.wrap, None))
        clock: Any = Clock()
        chat = Chat(store, Screen(), clock, lambda chat: None, "nowhere")  # type: ignore[arg-type, return-value]
        room = {"room": "#ops", "room_id": 7, "kind": "group", "role": "member", "sealed": False}
        chat.view.arrived({"name": "bob", "account": 2, "current": 7, "people": [], "rooms": [room]})
        chat.talk.inside = True
        print("     lines  lines/s    RSS MB  typed line ms (median, worst of 50)")
        begun, seq = time.perf_counter(), 0
        for tenth in range(1, 11):
            while seq < lines * tenth // 10:
                events = []
                for _ in range(CHUNK):
                    seq += 1
                    said = {"ev": "say", "seq": seq, "room": "#ops", "room_id": 7, "by": "alice", "by_id": 1}
                    events.append(said | {"at": "2026-11-21T05:20:11.123Z", "text": f"line {seq} *of* many"})
                chat.heard(events)
                clock.advance(0.1)
            rate = seq / (time.perf_counter() - begun)
            took = []
            for number in range(50):
                start = time.perf_counter()
                chat.typed(f"typed {number}")
                took.append((time.perf_counter() - start) * 1000)
            took.sort()
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"{seq:10,} {rate:8,.0f} {memory:9.1f}  {took[25]:.2f} {took[-1]:.2f}", flush=True)
        store.close()
        held.release()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
