"""Files through one instance: how fast, at what cost in memory, and what talk feels of it.

    files.py [--mb 1000] [--many 50] [--folder DIR]

Prints: bytes a second up and down beside a naive loop on the same machine (a blocking socket, the same checksum, one
file), the memory of the daemon over what it had idle, the latency of messages on another connection meanwhile beside
the same without files (a file comes as fast as this machine can send it, which takes a processor away from the
server; and as fast as a gigabit network brings it), and how evenly many transfers at once are served. The clients are
processes of their own.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import selectors
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import servers

CHUNK = memoryview(os.urandom(1 << 20))
ZEROS = memoryview(bytes(1 << 16))
PASSWORD = "Correct7horse"
PACE = 200
NETWORK = 125_000_000
PIECE = 1 << 18
ROUNDS = 3
QUIET = 5.0
FORK = multiprocessing.get_context("fork")


class Program:
    """A json connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")
        self._calls = 0

    def call(self, do: str, **fields: Any) -> dict[str, Any]:
        """Call; the `ok`."""
        self._calls += 1
        self.socket.sendall(json.dumps({"id": self._calls, "do": do, **fields}).encode() + b"\n")
        while True:
            found = json.loads(self.file.readline())
            if found.get("re") == self._calls:
                ok: dict[str, Any] = found["ok"]
                return ok


def opened(port: int, ticket: str) -> tuple[socket.socket, Any]:
    """A raw connection, and what its first line was answered with."""
    raw = socket.create_connection(("127.0.0.1", port))
    raw.sendall(f"RAW {ticket}\n".encode())
    line = b""
    while not line.endswith(b"\n"):
        line += raw.recv(1)
    return raw, json.loads(line)["ok"]


def bring(port: int, ticket: str, size: int, pace: float = 0.0) -> float:
    """Send so many bytes, so many a second if that is told; the seconds from the first of them to the server's last
    word.
    """
    raw, _ = opened(port, ticket)
    began = time.perf_counter()
    pour(raw, size, pace)
    answer = raw.makefile("rb").readline()
    took = time.perf_counter() - began
    assert b'"ok"' in answer, answer
    return took


def pour(raw: socket.socket, size: int, pace: float = 0.0) -> None:
    """Send so many bytes, so many a second if that is told."""
    began, sent = time.perf_counter(), 0
    while sent < size:
        start = sent % len(CHUNK)
        sent += raw.send(CHUNK[start : start + min(size - sent, PIECE if pace else size)])
        if pace:
            time.sleep(max(0.0, began + sent / pace - time.perf_counter()))


def fetch(port: int, ticket: str, size: int, pace: float = 0.0) -> float:
    """Fetch, so many bytes a second if that is told; the seconds."""
    raw, _ = opened(port, ticket)
    began = time.perf_counter()
    left, buffer = size, bytearray(PIECE if pace else 1 << 20)
    while count := raw.recv_into(buffer):
        left -= count
        if pace:
            time.sleep(max(0.0, began + (size - left) / pace - time.perf_counter()))
    assert not left, left
    return time.perf_counter() - began


def apart(do: Callable[..., float], *args: Any) -> float:
    """The result of this, done in a process of its own."""
    ours, theirs = FORK.Pipe()
    process = FORK.Process(target=lambda: theirs.send(do(*args)))
    process.start()
    result: float = ours.recv()
    process.join()
    return result


def naive(where: Path, size: int) -> tuple[float, float]:
    """Seconds up and down of one blocking loop: receive, hash, write, flush; read, send."""
    port = servers.free_port()
    path = where / "naive"
    listening = socket.create_server(("127.0.0.1", port))

    def serve() -> None:
        raw, _ = listening.accept()
        found, buffer = hashlib.sha256(), bytearray(1 << 18)
        view, left = memoryview(buffer), size
        with path.open("wb", buffering=0) as file:
            while left:
                count = raw.recv_into(buffer)
                found.update(view[:count])
                file.write(view[:count])
                left -= count
            os.fsync(file.fileno())
        raw.sendall(b'{"ok"}\n')
        raw, _ = listening.accept()
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                raw.sendall(view[:count])
        raw.close()

    server = FORK.Process(target=serve)
    server.start()
    raw = socket.create_connection(("127.0.0.1", port))
    began = time.perf_counter()
    pour(raw, size)
    raw.recv(100)
    up = time.perf_counter() - began
    raw = socket.create_connection(("127.0.0.1", port))
    began = time.perf_counter()
    buffer = bytearray(1 << 20)
    while raw.recv_into(buffer):
        pass
    down = time.perf_counter() - began
    server.join()
    path.unlink()
    return up, down


class Sampler(threading.Thread):
    """Samples the daemon's memory; `most` in MiB."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self._stop_asked = threading.Event()
        self.most = 0.0

    def now(self) -> float:
        """Its memory now."""
        text = Path(f"/proc/{self._pid}/status").read_text()
        return int(text.split("VmRSS:")[1].split()[0]) / 1024

    def run(self) -> None:
        """Until the end of the block."""
        while not self._stop_asked.wait(0.02):
            self.most = max(self.most, self.now())

    def __enter__(self) -> Sampler:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_asked.set()
        self.join()


def talk(port: int, name: str, ended: Callable[[], bool]) -> list[float]:
    """Say something `PACE` times a second until then; the milliseconds until each was heard."""
    program = Program(port)
    program.call("login", name=name, password=PASSWORD)
    took: list[float] = []
    due = time.perf_counter()
    while not ended():
        due += 1 / PACE
        time.sleep(max(0.0, due - time.perf_counter()))
        began = time.perf_counter()
        program.call("say", room="#talk", text="x" * 64)
        took.append((time.perf_counter() - began) * 1000)
    return took


def beside(port: int, name: str, do: Callable[[], float]) -> tuple[float, list[float]]:
    """Do this in another process; its seconds, and how talk felt meanwhile."""
    ours, theirs = FORK.Pipe()
    process = FORK.Process(target=lambda: theirs.send(do()))
    process.start()
    took = talk(port, name, lambda: ours.poll() or not process.is_alive())
    theirs.close()
    seconds: float = ours.recv()
    process.join()
    return seconds, took


def spread(took: list[float]) -> str:
    """p50, p99 and the longest."""
    ordered = sorted(took)
    return (
        f"p50 {statistics.median(ordered):.2f} ms, p99 {ordered[int(len(ordered) * 0.99)]:.2f} ms,"
        f" max {ordered[-1]:.1f} ms of {len(ordered):,}"
    )


def crowd(port: int, tickets: list[str], size: int) -> tuple[float, float, float]:
    """Fetch all of these at once: seconds in all, and the least and the most that one had, of its fair share, when half
    of everything had come."""
    chosen = selectors.DefaultSelector()
    got = dict.fromkeys(range(len(tickets)), 0)
    sockets = [opened(port, ticket)[0] for ticket in tickets]
    for number, raw in enumerate(sockets):
        raw.setblocking(False)
        chosen.register(raw, selectors.EVENT_READ, number)
    began = time.perf_counter()
    half: dict[int, int] = {}
    buffer = bytearray(1 << 16)
    whole = size * len(tickets)
    total = 0
    while total < whole:
        for key, _ in chosen.select():
            count = sockets[key.data].recv_into(buffer)
            if not count:
                chosen.unregister(sockets[key.data])
            got[key.data] += count
            total += count
        if not half and total >= whole / 2:
            half = dict(got)
    share = sum(half.values()) / len(half)
    return time.perf_counter() - began, min(half.values()) / share, max(half.values()) / share


def crowd_in(port: int, tickets: list[str], size: int) -> tuple[float, float, float]:
    """Send all of these at once: as in `crowd`."""
    chosen = selectors.DefaultSelector()
    gone = dict.fromkeys(range(len(tickets)), 0)
    sockets = [opened(port, ticket)[0] for ticket in tickets]
    for number, raw in enumerate(sockets):
        raw.setblocking(False)
        chosen.register(raw, selectors.EVENT_WRITE, number)
    began = time.perf_counter()
    half: dict[int, int] = {}
    whole = size * len(tickets)
    total = 0
    while total < whole:
        for key, _ in chosen.select():
            count = sockets[key.data].send(ZEROS[: size - gone[key.data]])
            gone[key.data] += count
            total += count
            if gone[key.data] == size:
                chosen.unregister(sockets[key.data])
        if not half and total >= whole / 2:
            half = dict(gone)
    for raw in sockets:
        raw.setblocking(True)
        assert b'"ok"' in raw.recv(1000)
    share = sum(half.values()) / len(half)
    return time.perf_counter() - began, min(half.values()) / share, max(half.values()) / share


def drop_from_memory(where: Path) -> None:
    """Whatever is read of files now is read from the disk."""
    for path in where.glob("data/blobs/*/*"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def rate(size: int, seconds: float) -> str:
    """Bytes a second."""
    return f"{size / seconds / 1e6:,.0f} MB/s"


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=1000)
    parser.add_argument("--many", type=int, default=50)
    parser.add_argument("--folder", default=None, help="where the files go (default: the temporary folder)")
    options = parser.parse_args()
    size = options.mb * 1_000_000
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.folder) as name:
        where = Path(name)
        limits = {"CHATD_LIMITS_ACCOUNT_FILE_BYTES": str(2**40), "CHATD_LIMITS_ROOM_FILE_BYTES": str(2**40)}
        with servers.chatd(where / "data", dialect="json", env={"CHATD_ACCOUNTS_BCRYPT_COST": "4", **limits}) as server:
            port = server.port
            sender = Program(port)
            sender.call("register", name="sender", password=PASSWORD)
            sender.call("create", room="#files")
            talker = Program(port)
            talker.call("register", name="talker", password=PASSWORD)
            talker.call("create", room="#talk")

            def ticket_up(bytes_: int) -> str:
                found = hashlib.sha256()
                left = bytes_
                while left:
                    piece = CHUNK[:left]
                    found.update(piece)
                    left -= len(piece)
                asked = sender.call("upload", room="#files", size=bytes_, name="x.bin", digest=found.hexdigest())
                files.append(asked["file"])
                return str(asked["ticket"])

            def same_up(bytes_: int) -> str:
                """Of nothing but zeros: whatever piece of it goes, it is the right one."""
                found = hashlib.sha256(bytes(bytes_))
                return str(
                    sender.call("upload", room="#files", size=bytes_, name="x", digest=found.hexdigest())["ticket"]
                )

            def ticket_down(file: int) -> str:
                return str(sender.call("download", file=file)["ticket"])

            files: list[int] = []
            sampler = Sampler(server.pids[0])
            idle = sampler.now()
            print(f"{options.mb:,} MB, one instance, durability full; memory idle {idle:.0f} MiB")
            with sampler:
                for turn in range(3):
                    up, down = naive(where, size)
                    print(f"  naive loop   up {rate(size, up)}, down {rate(size, down)}")
                    up = apart(bring, port, ticket_up(size), size)
                    down, again = (apart(fetch, port, ticket_down(files[-1]), size) for _ in range(2))
                    print(
                        f"  chatd        up {rate(size, up)}, down {rate(size, down)} from the disk,"
                        f" {rate(size, again)} from memory   (round {turn + 1})",
                        flush=True,
                    )
            print(f"  memory over idle: at most {sampler.most - idle:.1f} MiB")
            felt: dict[str, list[float]] = {}
            speeds: dict[str, list[float]] = {}

            def feel(what: str, do: Callable[[], float]) -> None:
                seconds, took = beside(port, "talker", do)
                felt.setdefault(what, []).extend(took)
                speeds.setdefault(what, []).append(seconds)

            for _ in range(ROUNDS):
                until = time.perf_counter() + QUIET
                felt.setdefault("nothing else", []).extend(
                    talk(port, "talker", lambda until=until: time.perf_counter() > until)  # type: ignore[misc]
                )
                feel("a file comes by a gigabit network", partial(bring, port, ticket_up(size), size, NETWORK))
                feel("a file comes as fast as it can", partial(bring, port, ticket_up(size), size))
                feel("a file goes from the disk", partial(fetch, port, ticket_down(files[-1]), size))
                drop_from_memory(where)
                feel("a file goes to a gigabit network", partial(fetch, port, ticket_down(files[-1]), size, NETWORK))
                for _ in range(ROUNDS):
                    feel("a file goes from memory", partial(fetch, port, ticket_down(files[-1]), size))
            print(f"talk, {ROUNDS} rounds in turns:")
            for what, took in felt.items():
                at = f" at {rate(size, statistics.median(speeds[what]))}" if what in speeds else ""
                print(f"  {what + ':':34} {spread(took)}{at}", flush=True)
            part = size // options.many
            for way, do, tickets in (
                ("come", crowd_in, [same_up(part) for _ in range(options.many)]),
                ("go", crowd, [ticket_down(files[-1]) for _ in range(options.many)]),
            ):
                before = Sampler(server.pids[0]).now()  # the talk of before is in it, too
                with Sampler(server.pids[0]) as sampler:
                    whole, least, most = do(port, tickets, part)
                print(
                    f"{options.many} {way} at once: {rate(part * options.many, whole)} together; half-way each had"
                    f" {least:.2f} to {most:.2f} of its share; {sampler.most - before:.1f} MiB more than before"
                )
            tickets = [ticket_down(files[-1]) for _ in range(options.many)]
            _, heard = beside(port, "talker", lambda: crowd(port, tickets, part)[0])
            print(f"talk, {options.many} files go:   ", spread(heard))


if __name__ == "__main__":
    main()
