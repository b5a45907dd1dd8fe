"""The servers that are compared: how each is started with nothing in its way, and stopped.

    with inspircd() as server: ...        with chatd(data, durability="normal", dialect="json") as server: ...

All listen on loopback only, as an unprivileged user where they ask for that, with their files in a temporary folder.
Flood, clone, penalty and queue limits of the IRC servers are raised out of reach; chatd's do not hold on loopback.
What is not installed raises `Missing`, which the caller prints.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent
START_SECONDS = 30.0
STOP_SECONDS = 20.0

INSPIRCD = """\
<server name="irc.bench.test" description="bench" network="bench">
<admin name="bench" nick="bench" email="bench@localhost">
<bind address="127.0.0.1" port="{port}" type="clients">
<connect allow="*" name="all" timeout="300" pingfreq="3600" threshold="1000000" commandrate="100000000" fakelag="no"
 hardsendq="1000000000" softsendq="1000000000" recvq="100000000" localmax="100000" globalmax="100000"
 maxconnwarn="no" limit="100000" maxchans="1000" resolvehostnames="no" useident="no">
<cidr ipv4clone="32" ipv6clone="128">
<channels users="1000" opers="1000">
<options defaultmodes="">
<performance softlimit="100000" somaxconn="4096" netbuffersize="65534">
<log method="file" type="* -USERINPUT -USEROUTPUT" level="default" target="{folder}/inspircd.log">
"""

NGIRCD = """\
[Global]
Name = irc.bench.test
Info = bench
Listen = 127.0.0.1
Ports = {port}
MotdPhrase = bench
[Limits]
MaxConnections = 0
MaxConnectionsIP = 0
MaxJoins = 0
MaxNickLength = 20
MaxPenaltyTime = 0
PingTimeout = 3600
PongTimeout = 3600
[Options]
DNS = no
Ident = no
PAM = no
"""


class Missing(Exception):
    """This server cannot be measured here; the text says why."""


@dataclass
class Server:
    """A running server: where it listens, how it speaks, which processes cost."""

    name: str
    port: int
    dialect: str
    process: subprocess.Popen[bytes]
    ready_seconds: float = 0.0
    extra: Sequence[int] = field(default_factory=list)

    @property
    def pids(self) -> list[int]:
        """Every process whose cost is this server's."""
        return [self.process.pid, *self.extra]


def launch(server: Server, mode: str, **options: object) -> subprocess.Popen[str]:
    """Start load.py against it, in a process of its own: `members=10` is `--members 10`, `known=True` is `--known`.

    Returns when its clients are in and it begins to measure, or has failed.
    """
    command = [sys.executable, str(HERE / "load.py"), mode, "--port", str(server.port)]
    given: dict[str, object] = {"dialect": server.dialect, **options}
    for name, value in given.items():
        command += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    for pid in server.pids:
        command += ["--pid", str(pid)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    process.stderr.readline()
    return process


def report(server: Server, process: subprocess.Popen[str]) -> dict[str, Any]:
    """What a launched load has measured."""
    out, err = process.communicate()
    if process.returncode:
        raise Missing(f"{server.name}: the load ended with {err.strip().splitlines()[-1]}")
    result: dict[str, Any] = json.loads(out)
    return result


def load(server: Server, mode: str, **options: object) -> dict[str, Any]:
    """Run load.py to its end."""
    return report(server, launch(server, mode, **options))


def free_port() -> int:
    """A port nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def free_ports(count: int) -> int:
    """The first of so many ports in a row that nobody listens on just now, and that the kernel gives no client."""
    while True:
        first = random.randrange(10_000, 32_000)
        if not any(map(answers, range(first, first + count))):
            return first


def program(name: str) -> str:
    """Where it is, daemons' folders included."""
    found = shutil.which(name, path=os.pathsep.join([str(BIN), os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]))
    if not found:
        raise Missing(f"{name} is not installed")
    return found


def children(pid: int) -> list[int]:
    """All descendants of a process."""
    direct = [int(p) for t in Path(f"/proc/{pid}/task").iterdir() for p in (t / "children").read_text().split()]
    return direct + [grandchild for child in direct for grandchild in children(child)]


@contextmanager
def folder() -> Iterator[Path]:
    """A temporary folder the unprivileged user may enter and write."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        os.chmod(name, 0o777)
        yield Path(name)


@contextmanager
def running(
    name: str,
    dialect: str,
    port: int,
    command: Sequence[str],
    *,
    log: Path,
    says: str = "",
    drop: bool = False,
    env: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """Start it, wait for its ready line (or its port, where it has none), and see it out at the end."""
    began = time.monotonic()
    with log.open("wb") as out:
        who = {"user": "nobody", "group": "nogroup", "extra_groups": []} if drop and os.geteuid() == 0 else {}
        process = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **(env or {})}, cwd=log.parent, **who
        )
    server = Server(name, port, dialect, process)
    try:
        while not (says.encode() in log.read_bytes() if says else answers(port)):
            if process.poll() is not None or time.monotonic() - began > START_SECONDS:
                raise Missing(f"{name} did not start: {log.read_text(errors='replace')[-800:].strip()}")
            time.sleep(0.005)
        server.ready_seconds = time.monotonic() - began
        server.extra = children(process.pid)
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def answers(port: int) -> bool:
    """Whether somebody listens."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def inspircd() -> Iterator[Server]:
    """InspIRCd from the distribution, core modules only."""
    path, port = program("inspircd"), free_port()
    with folder() as where:
        (where / "inspircd.conf").write_text(INSPIRCD.format(port=port, folder=where))
        command = [path, "--nofork", "--nopid", "--config", str(where / "inspircd.conf")]
        with running("InspIRCd", "irc", port, command, log=where / "out", drop=True) as server:
            yield server


@contextmanager
def ngircd() -> Iterator[Server]:
    """ngIRCd from the distribution, penalties off."""
    path, port = program("ngircd"), free_port()
    with folder() as where:
        (where / "ngircd.conf").write_text(NGIRCD.format(port=port))
        command = [path, "--nodaemon", "--config", str(where / "ngircd.conf")]
        with running("ngIRCd", "irc", port, command, log=where / "out", drop=True) as server:
            yield server


@contextmanager
def naive() -> Iterator[Server]:
    """naive.py with this Python and this Twisted."""
    port = free_port()
    with folder() as where:
        command = [sys.executable, str(HERE / "naive.py"), str(port)]
        with running("naive loop", "irc", port, command, log=where / "out", says="naive ready") as server:
            yield server


@contextmanager
def chatd(
    data: Path | None = None,
    *,
    durability: str = "full",
    dialect: str = "plain",
    bcrypt_cost: int = 4,
    env: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """The shipped `twistd chatd`; the only switch is the price of a password."""
    path, port = program("twistd"), free_port()
    with folder() as where:
        command = [path, "-n", "--pidfile=", "chatd", "--data", str(data or where / "data"), "--durability", durability]
        command += ["--listen", f"tcp:{port}:interface=127.0.0.1"]
        name, log = f"chatd {durability}, {dialect.partition('+')[0]}", where / "out"
        price = {"CHATD_ACCOUNTS_BCRYPT_COST": str(bcrypt_cost), **(env or {})}
        with running(name, dialect, port, command, log=log, says="chatd ready on", env=price) as server:
            yield server


@contextmanager
def cluster(nodes: int, *, dialect: str = "plain") -> Iterator[Server]:
    """`twistd chatd-cluster`: so many instances on one file behind HAProxy, which counts as part of the server."""
    program("haproxy")
    path, port = program("twistd"), free_ports(nodes + 1)
    with folder() as where:
        command = [path, "-n", "--pidfile=", "chatd-cluster", "--nodes", str(nodes), "--port", str(port)]
        command += ["--data", str(where / "data")]
        says, log, price = f"front door :{port}, {nodes} node", where / "out", {"CHATD_ACCOUNTS_BCRYPT_COST": "4"}
        with running(f"chatd × {nodes}", dialect, port, command, log=log, says=says, env=price) as server:
            yield server
