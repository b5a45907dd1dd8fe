"""The long proof: many clients at a cluster's front door while its nodes are killed, again and again, for a minute.

    python -m tests.soak [--seconds 60] [--clients 40] [--nodes 5] [--every 2] [--seed 1] [--write]

Twice: with `normal` durability and nodes killed at any moment, with `full` and nodes killed inside a commit. It prints
what happened and what the checker found, and with --write puts that into docs/soak.md. Exit status 1: something was
lost, doubled, reordered or altered, or the database is damaged.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import sqlite3
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react

import twisted
from chatd import __version__
from tests.chaos.nodes import examine, stored
from tests.chaos.storm import Outcome, storm
from tests.live import ROOT, Program, free_ports, reactor

DOCS = ROOT / "docs" / "soak.md"
CONFIG = """
durability = "{durability}"
[accounts]
bcrypt_cost = 4
[groups]
default_door = "open"
"""
HEAD = """# Soak: what was proven last

`make soak` prints this; `python -m tests.soak --write` also writes it here. Clients talk through a cluster's front
door while its nodes are killed with -9 one after the other and started again by the cluster. A client resends what was
not answered under the same `mid` and resumes after the last `seq` it has seen. Afterwards every client's record is
compared with the log: each acknowledged message stored once and received once by every member, in the order of the
log, unaltered, and nothing received by who was not in the room. `PRAGMA integrity_check` and `foreign_key_check` pass
and no server's log holds a traceback.
"""


def shown(outcome: Outcome, options: argparse.Namespace, inside: bool, events: int, faults: list[str]) -> list[str]:
    """The result, as rows of a table."""
    kills = sum(outcome.kills.values())
    when = f"{outcome.inside} of them inside a commit" if inside else "at any moment"
    refusals = ", ".join(f"{code} {count}" for code, count in sorted(outcome.refusals.items())) or "none"
    return [
        f"{options.clients}, at the front door of {options.nodes} nodes",
        f"{kills} in {outcome.seconds:.0f} s, {when}",
        f"{outcome.reconnects:,}",
        refusals,
        f"{outcome.acknowledged:,}",
        f"{events:,}",
        f"{outcome.received:,}",
        f"**{len(faults)}**",
    ]


ROWS = (
    "clients",
    "killed with -9",
    "reconnects",
    "refusals, retried",
    "calls acknowledged",
    "events in the log",
    "events received",
    "faults",
)


async def run(options: argparse.Namespace, durability: str, folder: Path) -> tuple[list[str], list[str]]:
    """One storm: the rows of its result, and the faults."""
    data = folder / "data"
    config = folder / "chatd.toml"
    config.write_text(CONFIG.format(durability=durability))
    inside = durability == "full"
    port = free_ports(options.nodes + 1)
    script = Path(sys.executable).with_name("twistd")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CHATD_")}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (os.fspath(ROOT), environment.get("PYTHONPATH"))))
    environment["PATH"] = f"{environment.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    cluster = Program(
        [
            *(sys.executable, os.fspath(script), "-n", "--pidfile=", "chatd-cluster", "--nodes", str(options.nodes)),
            *("--port", str(port), "--data", os.fspath(data), "--config", os.fspath(config)),
        ],
        environment,
    )
    started = time.monotonic()
    try:
        await cluster.prints("^front door ")
        outcome = await storm(
            data,
            port,
            clients=options.clients,
            seed=options.seed,
            kills=int(options.seconds / options.every),
            when=lambda tally: deferLater(reactor, options.every),
            pause=options.pause,
            inside=inside,
            tell=lambda line: print(f"{time.monotonic() - started:6.1f} s  {line}", flush=True),
        )
    finally:
        cluster.term()
        status = await cluster.end(60)
    faults = [str(fault) for fault in examine(data, outcome.talkers)]
    if status:
        faults.append(f"the cluster ended with {status}: {cluster.told()}")
    log, _ = stored(data)
    return shown(outcome, options, inside, len(log), faults), faults


async def main(options: argparse.Namespace) -> None:
    """Both storms, what they showed, and the exit status."""
    results, wrong = {}, False
    for durability in ("normal", "full"):
        folder = Path(tempfile.mkdtemp(prefix="chatd-soak-"))
        print(f"\n{durability} durability, seed {options.seed}, in {folder}")
        rows, faults = await run(options, durability, folder)
        results[durability] = rows
        for name, value in zip(ROWS, rows, strict=True):
            print(f"  {name:20} {value.strip('*')}")
        for fault in faults[:50]:
            print(f"  FAULT {fault}")
        if faults:
            wrong = True
            print(f"  kept: {folder}")
        else:
            shutil.rmtree(folder)
    if options.write:
        DOCS.write_text(document(options, results))
        print(f"\nwritten: {DOCS.relative_to(ROOT)}")
    raise SystemExit(1 if wrong else 0)


def document(options: argparse.Namespace, results: dict[str, list[str]]) -> str:
    """docs/soak.md."""
    table = ["| | " + " | ".join(f"`{name}`" for name in results) + " |", "|---" * (len(results) + 1) + "|"]
    table += [f"| {name} | " + " | ".join(values) + " |" for name, *values in zip(ROWS, *results.values(), strict=True)]
    machine = (
        f"{datetime.now(UTC):%Y-%m-%d}, chatd {__version__}, seed {options.seed}: {os.cpu_count()} processors"
        f" ({processor()}), Linux {platform.release().split('-')[0]}, Python {platform.python_version()},"
        f" Twisted {twisted.__version__}, SQLite {sqlite3.sqlite_version}."
    )
    return "\n".join([HEAD, "## The last run", "", machine, "", *table, ""])


def processor() -> str:
    """What the processor calls itself."""
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="how long nodes are killed [60]")
    parser.add_argument("--every", type=float, default=2.0, help="seconds between two kills [2]")
    parser.add_argument("--clients", type=int, default=40, help="[40]")
    parser.add_argument("--nodes", type=int, default=5, help="[5]")
    parser.add_argument("--pause", type=float, default=0.2, help="seconds between a client's messages [0.2]")
    parser.add_argument("--seed", type=int, default=1, help="[1]")
    parser.add_argument("--write", action="store_true", help="write the result into docs/soak.md")
    return parser.parse_args()


if __name__ == "__main__":
    chosen = parse()

    def begin(_: Any) -> Deferred[None]:
        return Deferred.fromCoroutine(main(chosen))

    react(begin)
