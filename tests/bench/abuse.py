"""What a crowd of attackers costs the people who are in: `python tests/bench/abuse.py`.

Ten honest people in one room, over TCP, by their own address; five of them say something, together a hundred times a
second (so that a hundredth is more than the worst one), and another sees when it arrives. Their p99 is printed quiet,
and beside each of:

    loris       2,000 connections that send one byte now and then and never log in
    flood       50 connections, each logged in, which write as fast as the socket takes it
    passwords   10,000 wrong passwords, of as many names, from 200 addresses
    storm       1,000 clients whose connections break at once and who come back with their tokens

The limits hold for all of them (`limit_loopback = true`): honest and hostile connections have addresses of their own
out of 127.0.0.0/8. Attackers run in a process of their own and at a lower priority, so that the machine is the
server's; `ratio` is the p99 beside the attack by the quiet one. Must: under 3. Passwords are guessed at the cost that
is shipped (12).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from dialects import PASSWORD, uuid7
from servers import BIN, free_port

QUIET: Final = 10.0
RATE: Final = 100.0
PEOPLE: Final = 10
TALKERS: Final = 5
"""So that none of them is over the limit of 20 lines a second."""
CONFIG: Final = """
[accounts]
bcrypt_cost = %d
[limits]
limit_loopback = true
registrations_per_hour = 100000
[log]
size = 1000000000
"""
ATTACKS: Final = ("loris", "flood", "passwords", "storm")


class Client:
    """A json client on a blocking socket, from an address of its own."""

    def __init__(self, port: int, source: str) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), 30.0, source_address=(source, 0))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = b""
        self._calls = 0

    def lines(self) -> Iterator[dict[str, Any]]:
        """What comes, object by object."""
        while True:
            *whole, self._rest = self._rest.split(b"\n")
            yield from (json.loads(line) for line in whole if line[:1] == b"{")  # who is slow is shown the door first
            data = self.sock.recv(65536)
            if not data:
                raise ConnectionError("the server closed")
            self._rest += data

    def call(self, do: str, **fields: Any) -> dict[str, Any]:
        """A call's answer, `ok` or `error`."""
        self._calls += 1
        self.sock.sendall(json.dumps({"id": self._calls, "do": do, **fields}).encode() + b"\n")
        for line in self.lines():
            if line.get("re") == self._calls:
                return line
        raise AssertionError

    def fileno(self) -> int:
        """For a selector."""
        return self.sock.fileno()


def address(group: int, number: int) -> str:
    """One of ours."""
    return f"127.{group}.{number // 250}.{number % 250 + 1}"


# -- the honest -------------------------------------------------------------------------------------------------------


def people(port: int) -> list[Client]:
    """Ten people in one room."""
    found = []
    for number in range(PEOPLE):
        client = Client(port, address(1, number))
        client.call("register", name=f"honest{number}", password=PASSWORD)
        client.call("join", room="#honest")
        if not number:
            client.call("door", room="#honest", door="open")
        found.append(client)
    return found


def talk(clients: list[Client], while_: Callable[[float], bool]) -> list[float]:
    """Say something so often; seconds until the last one in the room has it."""
    heard = clients[-1].sock
    for client in clients:
        client.sock.setblocking(False)
    took: list[float] = []
    rest = b""
    begun = time.perf_counter()
    sent: dict[int, float] = {}
    with selectors.DefaultSelector() as ready:
        for client in clients:
            ready.register(client.sock, selectors.EVENT_READ)
        while while_(time.perf_counter() - begun) or (sent and time.perf_counter() - max(sent.values()) < 10):
            now = time.perf_counter()
            due = begun + (len(took) + len(sent)) / RATE
            if now >= due and while_(now - begun):
                number = len(took) + len(sent)
                sent[number] = now
                line = {"do": "say", "room": "#honest", "text": f"n={number} ", "mid": uuid7()}
                clients[number % TALKERS].sock.sendall(json.dumps(line).encode() + b"\n")
                continue
            for key, _ in ready.select(max(0.0, min(due - now, 0.05))):
                data = key.fileobj.recv(65536)  # type: ignore[union-attr]
                if not data:
                    raise ConnectionError("the server closed an honest connection")
                if key.fileobj is heard:
                    arrived = time.perf_counter()
                    *whole, rest = (rest + data).split(b"\n")
                    for line_ in whole:
                        event = json.loads(line_)
                        if event.get("ev") == "say":
                            took.append(arrived - sent.pop(int(event["text"].strip().removeprefix("n="))))
    for client in clients:
        client.sock.setblocking(True)
    if sent:
        raise AssertionError(f"{len(sent)} messages never arrived")
    return sorted(took)


# -- the hostile ------------------------------------------------------------------------------------------------------


def loris(port: int, seconds: float) -> dict[str, Any]:
    """Connections that never come to a line's end."""
    held, refused = [], 0
    for number in range(2_000):
        try:
            held.append(Client(port, address(2, number // 50)))
        except OSError:
            refused += 1
    print("begun", flush=True)
    ended = time.monotonic() + seconds
    alive = list(held)
    while time.monotonic() < ended:
        for client in list(alive):
            try:
                client.sock.sendall(b"x")
            except OSError:
                alive.remove(client)
        time.sleep(0.5)
    return {"connections": len(held), "refused": refused, "alive": len(alive)}


def flood(port: int, seconds: float) -> dict[str, Any]:
    """Fifty people who write without a pause."""
    clients = []
    for number in range(50):
        client = Client(port, address(3, number))
        if "error" in client.call("register", name=f"flood{number}", password=PASSWORD):
            client.call("login", name=f"flood{number}", password=PASSWORD)
        client.call("join", room=f"#flood{number % 5}")
        client.sock.setblocking(False)
        clients.append(client)
    print("begun", flush=True)
    line = b'{"do":"say","room":"#flood%d","text":"' + b"x" * 200 + b'","mid":"%s"}\n'
    sent = answered = 0
    ended = time.monotonic() + seconds
    while time.monotonic() < ended:
        for number, client in enumerate(clients):
            try:
                data = b"".join(line % (number % 5, uuid7().encode()) for _ in range(20))
                sent += client.sock.send(data)
            except BlockingIOError:
                pass
            with contextlib.suppress(BlockingIOError):
                answered += client.sock.recv(1 << 20).count(b'"ok"')
        time.sleep(0.001)
    return {"bytes sent": sent, "calls done": answered}


def passwords(port: int, seconds: float) -> dict[str, Any]:
    """Ten thousand wrong passwords, from two hundred addresses, fifty at a time."""
    print("begun", flush=True)
    codes: dict[str, int] = {}
    done = 0
    ended = time.monotonic() + 4 * seconds
    clients: list[Client] = []
    with selectors.DefaultSelector() as ready:
        while done < 10_000 and time.monotonic() < ended:
            while len(clients) < 50:
                client = Client(port, address(4, done % 200))
                client.sock.sendall(b'{"id":1,"do":"login","name":"honest%d","password":"wrong"}\n' % (done % PEOPLE))
                done += 1
                clients.append(client)
                ready.register(client, selectors.EVENT_READ)
            for key, _ in ready.select(1.0):
                client = key.fileobj  # type: ignore[assignment]
                data = client.sock.recv(65536)
                code = json.loads(data.splitlines()[0])["error"]["code"] if data[:1] == b"{" else "closed"
                codes[code] = codes.get(code, 0) + 1
                ready.unregister(client)
                client.sock.close()
                clients.remove(client)
    return {"tries": sum(codes.values()), **codes}


def storm(port: int, seconds: float) -> dict[str, Any]:
    """A thousand whose connections break, and who are back as fast as they can, twice."""
    tokens, clients = [], []
    for number in range(1_000):
        client = Client(port, address(5, number // 25))
        name, group = f"storm{number}", f"#storm{number % 20}"
        tokens.append(client.call("register", name=name, password=PASSWORD)["ok"]["token"])
        client.call("join", room=group)
        if number < 20:
            client.call("door", room=group, door="open")
        clients.append(client)
    print("begun", flush=True)
    took = []
    for _ in range(2):
        for client in clients:
            client.sock.close()
        began = time.monotonic()
        clients = [Client(port, address(5, number // 25)) for number in range(1_000)]
        for client, token in zip(clients, tokens, strict=True):
            client.sock.sendall(json.dumps({"id": 1, "do": "hello", "token": token, "table": "no"}).encode() + b"\n")
        for number, client in enumerate(clients):
            answer = next(line for line in client.lines() if line.get("re") == 1)
            tokens[number] = answer["ok"]["token"]
        took.append(round(time.monotonic() - began, 2))
    return {"seconds until all are back": took}


# -- putting it together ----------------------------------------------------------------------------------------------


def attack(port: int, what: str, seconds: float) -> subprocess.Popen[str]:
    """Start one in a process of its own; returns when it has begun."""
    command = ["nice", "-n", "10", sys.executable, __file__, "--attack", what, "--port", str(port)]
    process = subprocess.Popen([*command, "--seconds", str(seconds)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    if process.stdout.readline() != "begun\n":
        raise AssertionError(f"{what} did not begin")
    return process


def p(took: list[float], part: float) -> float:
    """A percentile, in ms."""
    return took[min(len(took) - 1, int(len(took) * part))] * 1000


def main() -> None:
    """Everything, or (`--attack`) one attack alone."""
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--attack", choices=ATTACKS)
    parse.add_argument("--port", type=int)
    parse.add_argument("--seconds", type=float, default=15.0, help="of each attack")
    parse.add_argument("--only", choices=ATTACKS, help="this attack alone, beside the quiet time")
    args = parse.parse_args()
    if args.attack:
        result = {"loris": loris, "flood": flood, "passwords": passwords, "storm": storm}[args.attack](
            args.port, args.seconds
        )
        print(json.dumps(result), flush=True)
        return
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "chatd.toml")
        config.write_text(CONFIG % 4)
        port = free_port()
        command = [str(BIN / "twistd"), "-n", "--pidfile=", "chatd", "--quiet", "--data", str(Path(folder, "data"))]
        command += ["--config", str(config), "--listen", f"tcp:{port}:interface=127.0.0.1"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            server.stdout.readline()

            def cost(bcrypt: int) -> None:
                config.write_text(CONFIG % bcrypt)
                server.send_signal(signal.SIGHUP)

            run(port, [args.only] if args.only else list(ATTACKS), args.seconds, cost)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)


def run(port: int, attacks: list[str], seconds: float, cost: Callable[[int], None]) -> None:
    """Quiet, then each attack, then quiet again. Passwords are guessed at the cost that is shipped; to make the
    attackers' accounts at that would take minutes."""
    clients = people(port)
    talk(clients, lambda passed: passed < 2)
    print(f"{'':10} {'p50':>8} {'p99':>8} {'worst':>8}  ratio of p99")
    quiet = talk(clients, lambda passed: passed < QUIET)
    base = p(quiet, 0.99)

    def show(name: str, took: list[float], more: str = "") -> None:
        ratio = p(took, 0.99) / base
        print(
            f"{name:10} {p(took, 0.5):6.2f}ms {p(took, 0.99):6.2f}ms {took[-1] * 1000:6.2f}ms  {ratio:5.1f}   {more}",
            flush=True,
        )

    show("quiet", quiet)
    for what in attacks:
        if what == "passwords":
            cost(12)
        process = attack(port, what, seconds)
        took = talk(clients, lambda passed, process=process: process.poll() is None)  # type: ignore[misc]
        out, _ = process.communicate()
        cost(4)
        show(what, took, out.strip())
    show("quiet", talk(clients, lambda passed: passed < QUIET))
    print(f"(on {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f})")


if __name__ == "__main__":
    main()
