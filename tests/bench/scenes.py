"""What only chatd has: a storm of returning clients, a page of history, logins that wait.

Each function takes a prepared data folder (see run.py) and returns a few numbers.
"""

from __future__ import annotations

import json
import random
import re
import socket
import time
from pathlib import Path
from typing import Any

import fill
import servers
from dialects import PASSWORD, Json, Step
from fleet import Client, Fleet, text

Result = dict[str, Any]

MISSED = 100
PAGES = 50
IDLE = 2_000


def answer(client: Client, step: Step) -> dict[str, Any]:
    """One call, its `ok`."""
    client.sock.sendall(step.line)
    lines = client.read_until(step.until).splitlines()
    found = next(line for line in lines if step.until.search(line + b"\n"))
    ok: dict[str, Any] = json.loads(found)["ok"]
    return ok


def said(client: Client, speak: Json) -> int:
    """Say something; its seq."""
    line = speak.say(client.room, text(0))
    return int(answer(client, Step(line, re.compile(rb'"re":%d,"ok"[^\n]*\n' % speak.last)))["seq"])


def storm(data: Path, clients: int) -> Result:
    """All clients come back at once after a restart; each must get the messages it missed and nothing else."""
    speak = Json()
    tokens = []
    with servers.chatd(data, dialect="json") as server:
        fleet = Fleet(server.port, speak, "r")
        for number in range(clients):
            client = fleet.connect(number, 1)
            tokens.append(answer(client, speak.enter(client.name, new=True)[0])["token"])
            fleet.ask([client], lambda c: speak.join(c.room, first=c.name == "r00000"))
            fleet.adopt(client)
            fleet.quiet(0.0)
        since = said(fleet.clients[0], speak)
    with servers.chatd(data, dialect="json") as server:
        writer = Client(server.port, "r00000", "#r00000")
        answer(writer, speak.enter("r00000", new=False)[0])
        for _ in range(MISSED):
            said(writer, speak)
        began = time.monotonic()
        back = []
        for number in range(1, clients):
            client = Client(server.port, f"r{number:05d}", "#r00000")
            client.sock.sendall(speak.call("hello", version=1, table="no", token=tokens[number], since=since).line)
            back.append(client)
        connected = time.monotonic()
        counts = set()
        for client in back:
            seen = b""
            while seen.count(b'"ev":"say"') < MISSED or b'"re":' not in seen:
                client.sock.settimeout(servers.START_SECONDS)
                data_in = client.sock.recv(1 << 18)
                if not data_in:
                    raise servers.Missing(f"storm: closed after {seen[-200:]!r}")
                seen += data_in
            counts.add(seen.count(b'"ev":"say"'))
        done = time.monotonic()
    return {
        "clients": len(back),
        "ready": server.ready_seconds,
        "connected": connected - began,
        "seconds": done - began,
        "events_each": sorted(counts),
    }


def pages(data: Path) -> Result:
    """Pages of 100 from anywhere in the log; milliseconds from asking to having it."""
    speak, chance = Json(), random.Random(1)
    took = []
    with servers.chatd(data, dialect="json") as server:
        client = Client(server.port, "u00000", "#u00000")
        answer(client, speak.enter(client.name, new=False)[0])
        newest = said(client, speak)
        for _ in range(PAGES):
            before = chance.randrange(newest // 10, newest)
            began = time.perf_counter()
            page = answer(client, speak.call("history", room=client.room, count=100, before=before))
            took.append((time.perf_counter() - began) * 1e3)
        size = len(next(v for v in page.values() if isinstance(v, list)))
    took.sort()
    return {"page": size, "p50_ms": took[PAGES // 2], "p99_ms": took[PAGES * 99 // 100], "ready": server.ready_seconds}


def pressure(data: Path, seconds: float, rate: float = 100.0) -> Result:
    """200 messages/s × 200 members, alone and while `rate` logins a second wait for bcrypt at its real price.

    The talkers' passwords stay cheap, so that they are in at once; those of the others cost 12.
    """
    with servers.chatd(data, bcrypt_cost=12) as server:
        servers.load(server, "accounts", members=1, rooms=0, prefix="z")
    fill.same_password(data, "z00000", "c")
    with servers.chatd(data) as server:
        alone = servers.load(server, "open", known=True, sleep=True, seconds=seconds)
        chat = servers.launch(server, "open", known=True, sleep=True, seconds=seconds)
        crowd: list[socket.socket] = []
        begin = time.monotonic()
        while chat.poll() is None:
            if len(crowd) <= (time.monotonic() - begin) * rate:
                crowd.append(socket.create_connection(("127.0.0.1", server.port)))
                crowd[-1].sendall(f"/login c{len(crowd) % IDLE:05d} {PASSWORD}\r\n".encode())
            time.sleep(0.1 / rate)
        asked = len(crowd) / (time.monotonic() - begin)
        for knocker in crowd:
            knocker.close()
        return {"alone": alone, "crowded": servers.report(server, chat), "logins": asked}
