"""What `chat` takes: until its prompt stands there, for a line that arrives, for a key that is pressed meanwhile.

    python -m tests.client.bench [LINES [EVENTS]]

Three parts. The first starts `chat` in a terminal on a profile that holds EVENTS events (1,000,000). The second starts
one to which LINES lines (100,000) arrive as fast as it takes them, while keys are pressed. The third does the same
without a terminal, and prints what a typed line takes.

The rule: it prints, and asserts nothing.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import resource
import select
import socket
import statistics
import struct
import sys
import tempfile
import termios
import threading
import time
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock

from client import profile
from client.chat import Chat
from client.face import Face
from client.lines import KEEP, Line
from client.store import Held, Store

CHUNK = 200
"""Events that one read of the socket brings."""
STARTS = 7
PAUSE = 0.05
"""Seconds between two keys."""
FIRST_KEY, KEYS = 0x4E00, 20_000
"""Each key is another letter, so that it is this one that is waited for."""
ROOM = {"room": "#ops", "room_id": 7, "kind": "group", "role": "member", "sealed": False}


def said(seq: int) -> dict[str, Any]:
    """A line of alice's."""
    event = {"ev": "say", "seq": seq, "room": "#ops", "room_id": 7, "by": "alice", "by_id": 1}
    return event | {"at": "2026-11-21T05:20:11.123Z", "text": f"line {seq} *of* many"}


def filled(folder: Path, events: int, where: str = "127.0.0.1:9") -> None:
    """A profile in which bob is logged in, and that holds so many events."""
    held = profile.Profile("bench", folder)
    store = Store(held.database)
    store.unlock(*profile.unlock(held, store.wrap, None))
    for first in range(1, events + 1, 10_000):
        numbers = range(first, min(events + 1, first + 10_000))
        store.add([Held(seq, 7, int(seq > events - 50), said(seq)) for seq in numbers])
    rooms = [[7, "#ops", "group", "member", False, events - 50]]
    store.put(token="0" * 64, me=["bob", 2], current=7, cursor=events, people=["alice"], rooms=rooms, where=where)
    store.close()
    held.release()


class Started:
    """`chat` in a terminal of its own."""

    def __init__(self, folder: Path) -> None:
        self.begun = time.perf_counter()
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.environ |= {"CHAT_HOME": os.fspath(folder), "TERM": "xterm-256color"}
            os.execv(sys.executable, [sys.executable, "-m", "client.main", "--profile", "bench"])
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self._held = b""
        self.arrived = 0
        """The number of the last line that stands there."""

    def until(self, text: bytes, seconds: float = 60.0) -> float:
        """Read until this stands there; seconds since the start."""
        ends = time.perf_counter() + seconds
        while text not in self._held:
            if not select.select([self._fd], [], [], max(0.0, ends - time.perf_counter()))[0]:
                raise SystemExit(f"{text!r} did not come; the last that came: {self._held[-300:]!r}")
            data = os.read(self._fd, 65536)
            if b"\x1b[6n" in data:  # where is the cursor? Programs of the screen ask, and wait
                os.write(self._fd, b"\x1b[24;1R")
            for number in re.findall(rb"line (\d+) ", data):
                self.arrived = int(number)
            self._held = self._held[-1000:] + data
        self._held = self._held.partition(text)[2]
        return time.perf_counter() - self.begun

    def press(self, key: str) -> float:
        """Press a key that was not pressed before; seconds until it stands in the line."""
        begun = time.perf_counter()
        os.write(self._fd, key.encode())
        self.until(key.encode())
        return time.perf_counter() - begun

    def press_again(self) -> None:
        """Begin an empty line."""
        os.write(self._fd, b"\x15")

    def memory(self) -> float:
        """MB that it holds."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        return 0.0

    def end(self) -> float:
        """End it; the seconds of processor time it took."""
        os.kill(self.pid, 9)
        used = os.wait4(self.pid, 0)[2]
        os.close(self._fd)
        return used.ru_utime + used.ru_stime


def starting(events: int) -> None:
    """How long until the prompt stands there."""
    with tempfile.TemporaryDirectory() as folder:
        filled(Path(folder), events)
        took, used = [], []
        for _ in range(STARTS):
            chat = Started(Path(folder))
            took.append(chat.until(b"[open]>") * 1000)
            used.append(chat.end() * 1000)
        print(
            f"first prompt with {events:,} events: median {statistics.median(took):.0f} ms, worst {max(took):.0f} ms"
            f" (processor {statistics.median(used):.0f} ms; load {os.getloadavg()[0]:.1f})"
        )


def serve(server: socket.socket, lines: int) -> None:
    """A server of one client, which knows it by its token, answers whatever it asks, and has much to say."""
    link, _ = server.accept()
    lock = threading.Lock()
    for line in link.makefile("rb"):
        call = json.loads(line)
        ok: dict[str, Any] = {"seq": 0}
        if call["do"] == "hello":
            ok |= {"token": "0" * 64, "name": "bob", "account": 2, "current": 7, "people": [], "rooms": [ROOM]}
        with lock:
            link.sendall(json.dumps({"re": call["id"], "ok": ok}).encode() + b"\n")
        if call["do"] == "ping" and lines:
            threading.Thread(target=flood, args=(link, lines, lock), daemon=True).start()
            lines = 0


def flood(link: socket.socket, lines: int, lock: threading.Lock) -> None:
    """Say so many lines, as fast as they are taken."""
    for first in range(1, lines + 1, CHUNK):
        data = b"".join(json.dumps(said(seq)).encode() + b"\n" for seq in range(first, first + CHUNK))
        with lock:
            link.sendall(data)


def arriving(lines: int) -> None:
    """Keys are pressed while lines arrive in a terminal."""
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as server:
        filled(Path(folder), 0, f"127.0.0.1:{server.getsockname()[1]}")
        threading.Thread(target=serve, args=(server, lines), daemon=True).start()
        chat = Started(Path(folder))
        chat.until(b"line 1")
        print("     lines  lines/s    RSS MB  key ms (median, worst)")
        begun, tenth, pressed = time.perf_counter(), 1, 0
        took: list[float] = []
        while tenth <= 10:
            time.sleep(PAUSE)
            pressed += 1
            took.append(chat.press(chr(FIRST_KEY + pressed % KEYS)) * 1000)
            if pressed % 20 == 0:
                chat.press_again()
            if chat.arrived >= lines * tenth // 10:
                rate = chat.arrived / (time.perf_counter() - begun)
                median = statistics.median(took)
                print(f"{chat.arrived:10,} {rate:8,.0f} {chat.memory():9.1f}  {median:.1f} {max(took):.1f}", flush=True)
                took, tenth = [], tenth + 1
        chat.end()


class Screen(Face):
    """Shows nothing, but makes what would be shown."""

    keep = KEEP

    def show(self, lines: list[Line]) -> None:
        for line in lines:
            line.shown()


def alone(lines: int) -> None:
    """Feed so many lines, and print a row after each tenth of them."""
    with tempfile.TemporaryDirectory() as folder:
        held = profile.Profile("bench", Path(folder))
        store = Store(held.database)
        store.unlock(*profile.unlock(held, store.wrap, None))
        clock: Any = Clock()
        chat = Chat(store, Screen(), clock, lambda chat: None, "nowhere")  # type: ignore[arg-type, return-value]
        chat.view.arrived({"name": "bob", "account": 2, "current": 7, "people": [], "rooms": [ROOM]})
        chat.talk.inside = True
        print("     lines  lines/s    RSS MB  typed line ms (median, worst of 50)")
        begun, seq = time.perf_counter(), 0
        for tenth in range(1, 11):
            while seq < lines * tenth // 10:
                chat.heard([said(seq := seq + 1) for _ in range(CHUNK)])
                clock.advance(0.1)
            rate = seq / (time.perf_counter() - begun)
            took = []
            for number in range(50):
                start = time.perf_counter()
                chat.typist.typed(f"typed {number}")
                took.append((time.perf_counter() - start) * 1000)
            took.sort()
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"{seq:10,} {rate:8,.0f} {memory:9.1f}  {took[25]:.2f} {took[-1]:.2f}", flush=True)
        store.close()
        held.release()


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    lines = numbers[0] if numbers else 100_000
    starting(numbers[1] if len(numbers) > 1 else 1_000_000)
    print(f"\n{lines:,} lines arrive in a terminal, as fast as it takes them:")
    arriving(lines)
    print(f"\n{lines:,} lines arrive without a terminal:")
    alone(lines)
