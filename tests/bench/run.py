"""The whole table, all of it measured in one run: chatd beside a naive loop, InspIRCd and ngIRCd, and how cost grows.

    run.py [--quick] [--only speed,members,…] [--write docs/performance.md]

Full: about a quarter of an hour. `--quick`: a few minutes, numbers to be believed less. What cannot be measured here is
named in the output and left out. The rows of the first table are measured in turn, several times over, and each shows
its median: on a machine that others use as well, only what was measured at the same time can be compared.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import fill
import flush
import grow
import scenes
import servers
from servers import Missing, Server

import twisted

Result = dict[str, Any]
Start = Callable[[], AbstractContextManager[Server]]

ROOM = "#u00000"
MEMBERS = 200
EACH = 5
IDLE = scenes.IDLE
PACED = 200


class Plan(NamedTuple):
    """How long and how large: the full run, or the quick one."""

    rounds: int
    seconds: float
    events: int
    members: tuple[int, ...]
    storm: int


FULL = Plan(3, 4.0, 1_000_000, grow.MEMBERS, 1_000)
QUICK = Plan(1, 2.0, 1_000_000, (10, 100, 1_000), 300)


class Table:
    """What has been measured, printed as it comes, written as Markdown in the end."""

    def __init__(self, plan: Plan, data: Path) -> None:
        self.plan, self.data = plan, data
        self.lines: list[str] = []
        self.skipped: list[str] = []

    def heading(self, title: str, words: str) -> None:
        """A section and what it shows."""
        self.say("", f"## {title}", "", words, "")

    def say(self, *lines: str) -> None:
        """These lines, now and in the document."""
        self.lines += lines
        print(*lines, sep="\n", flush=True)

    def rows(self, head: list[str], rows: list[list[str]]) -> None:
        """A table, its columns as wide as they must be."""
        width = [max(len(row[n]) for row in [head, *rows]) for n in range(len(head))]

        def form(row: list[str]) -> str:
            return "| " + " | ".join(cell.ljust(wide) for cell, wide in zip(row, width, strict=True)) + " |"

        self.say(form(head), form(["-" * wide for wide in width]), *map(form, rows))

    @contextmanager
    def trying(self, what: str) -> Iterator[None]:
        """What is missing or breaks is named, and the rest goes on."""
        try:
            yield
        except (Missing, OSError, LookupError, ValueError, subprocess.SubprocessError) as problem:
            why = str(problem).strip().splitlines()[-1]
            self.skipped.append(f"{what}: {why}")
            print(f"skipped {what}: {problem}", file=sys.stderr, flush=True)

    @contextmanager
    def copy(self) -> Iterator[Path]:
        """The prepared folder, to be spoilt."""
        with servers.folder() as where:
            yield shutil.copytree(self.data, where / "data", ignore=shutil.ignore_patterns("*.sock", "*.pid", "run"))


def prepare(data: Path, events: int) -> None:
    """A chatd in use: a room of 200 with a past of so many events, and 2,100 more accounts."""
    with servers.chatd(data) as server:
        servers.load(server, "accounts", members=MEMBERS)
        servers.load(server, "accounts", members=IDLE + 100, rooms=0, prefix="c")
    fill.fill(data, ROOM, events)


def contestants(table: Table) -> dict[str, Start]:
    """Everybody in the first table, by name; without chatd where it could not be prepared."""

    def ours(durability: str, dialect: str) -> Start:
        @contextmanager
        def begin() -> Iterator[Server]:
            with table.copy() as data, servers.chatd(data, durability=durability, dialect=dialect) as server:
                yield server

        return begin

    chatd = {
        "chatd full, plain": ours("full", "plain"),
        "chatd normal, plain": ours("normal", "plain"),
        "chatd full, json": ours("full", "json"),
        "chatd full, irc": ours("full", "irc+pass"),
    }
    # The very load that the IRC servers get, without accounts: nothing is stored before it.
    guests: Start = partial(servers.chatd, dialect="irc", env={"CHATD_IRC_GUESTS": "true"})
    others: dict[str, Start] = {
        "IRC guests on chatd, full": guests,
        "naive loop": servers.naive,
        "InspIRCd": servers.inspircd,
        "ngIRCd": servers.ngircd,
    }
    return (chatd if table.data.exists() else {}) | others


def speed(table: Table) -> None:
    """The closed and the open loop, in turn, and what a connection costs."""
    plan, everybody = table.plan, contestants(table)
    closed: dict[str, list[Result]] = {}
    crowded: dict[str, list[Result]] = {}
    opened: dict[str, list[Result]] = {}
    held: dict[str, Result] = {}
    for turn in range(plan.rounds):
        for name, start in list(everybody.items()):
            known = {"known": True} if name.startswith("chatd") else {}
            with table.trying(name), start() as server:
                print(f"  {name}, round {turn + 1} of {plan.rounds}", file=sys.stderr, flush=True)
                closed.setdefault(name, []).append(
                    servers.load(server, "closed", members=MEMBERS, seconds=plan.seconds, **known)
                )
                again: dict[str, object] = known or {"prefix": "v"}
                opened.setdefault(name, []).append(
                    servers.load(server, "open", members=MEMBERS, seconds=plan.seconds, **again)
                )
                again = known or {"prefix": "w"}
                crowded.setdefault(name, []).append(
                    servers.load(
                        server, "closed", members=MEMBERS, window=EACH * MEMBERS, seconds=plan.seconds, **again
                    )
                )
            if name not in closed:
                del everybody[name]
    for name, start in everybody.items():
        known = {"known": True, "prefix": "c"} if name.startswith("chatd") else {}
        many = PACED if name == "ngIRCd" else IDLE
        with table.trying(f"{name}, connections"), start() as server:
            held[name] = servers.load(server, "connections", members=many + 100, **known)

    pace = {name: median(results, "deliveries") for name, results in closed.items()}
    cost = {name: median(results, "cpu_us") for name, results in closed.items()}
    table.heading(
        "Speed",
        f"{MEMBERS} members of one room, messages of 64 bytes. Closed loop: as many as it can, {MEMBERS} messages under"
        f" way; `{EACH} each`: {EACH * MEMBERS:,}. `CPU ×`: deliveries for the same processor time, which others on the"
        " machine disturb least. Latency: at 200 messages a second, from handing one to the kernel until a member has"
        " it. Median of"
        f" {plan.rounds} rounds of {plan.seconds:g} s.",
    )
    head = ["server", "messages/s", "deliveries/s", "× InspIRCd", "× naive", "server µs/delivery", "CPU × InspIRCd"]
    head += [f"{EACH} each", "µs/delivery", "server CPUs"]
    head += ["load CPU", "p50 ms", "p99 ms", "max ms", "lost"]
    rows = []
    for name, fast in closed.items():
        paced = opened.get(name, [])
        row = [name, f"{median(fast, 'messages'):,.0f}", f"{median(fast, 'deliveries') / 1e6:.2f} M"]
        full = crowded.get(name, [])
        row += [ratio(pace, name, "InspIRCd"), ratio(pace, name, "naive loop"), f"{median(fast, 'cpu_us'):.2f}"]
        row += [
            ratio(cost, "InspIRCd", name),
            f"{median(full, 'deliveries') / 1e6:.2f} M",
            f"{median(full, 'cpu_us'):.2f}",
        ]
        row += [f"{median(fast, 'server_busy'):.2f}", f"{median(fast, 'load_busy'):.2f}"]
        row += [f"{median(paced, key):.2f}" for key in ("p50_ms", "p99_ms", "max_ms")]
        rows.append([*row, str(sum(result["lost"] for result in fast + full + paced))])
    table.rows(head, rows)
    table.heading(
        "Connections",
        f"{IDLE} clients connect and log in (ngIRCd: {PACED}, it paces connecting by itself). Accepts: connected and a"
        " first line answered. Memory: resident, per connection, after 100 were let in before.",
    )
    table.rows(
        ["server", "accepts/s", "logins/s", "KiB connected", "KiB logged in"],
        [
            [n, f"{r['accepts']:,.0f}", f"{r['logins']:,.0f}", f"{r['bare_kib']:.1f}", f"{r['idle_kib']:.1f}"]
            for n, r in held.items()
        ],
    )


def median(results: list[Result], key: str) -> float:
    """The middle of several rounds; not a number where there was none."""
    return statistics.median(result[key] for result in results) if results else float("nan")


def ratio(pace: dict[str, float], name: str, other: str) -> str:
    """How many times as fast as another row."""
    return f"{pace[name] / pace[other]:.1f}" if name in pace and other in pace else "-"


def growing(
    table: Table, title: str, words: str, points: tuple[int, ...], measure: Callable[[int], Result]
) -> dict[int, Result]:
    """One table of closed loops over a growing number."""
    found: dict[int, Result] = {}
    for point in points:
        with table.trying(f"{title.lower()}, {point:,}"):
            found[point] = measure(point)
    table.heading(title, words)
    head = [title.split()[-1].lower(), "messages/s", "deliveries/s", "server µs/delivery", "server CPUs", "load CPU"]
    rows = []
    for point, result in found.items():
        row = [f"{point:,}", f"{result['messages']:,.0f}", f"{result['deliveries'] / 1e6:.2f} M"]
        rows.append([*row, *[f"{result[key]:.2f}" for key in ("cpu_us", "server_busy", "load_busy")]])
    table.rows(head, rows)
    return found


def members(table: Table) -> None:
    """Rooms of 10 to 5,000."""
    words = "chatd full, plain, one room, closed loop; at most 200 messages under way."
    growing(table, "Growth with members", words, table.plan.members, lambda n: grow.members(n, table.plan.seconds))


def rooms(table: Table) -> None:
    """The same people in more rooms."""
    words = f"chatd full, plain, {grow.PEOPLE:,} people in all, spread over so many rooms, closed loop."
    growing(table, "Growth with rooms", words, grow.ROOMS, lambda n: grow.rooms(n, table.plan.seconds))


def history(table: Table) -> None:
    """The same load on a longer past; start-up; a page of history."""

    def measure(events: int) -> Result:
        with servers.folder() as where:
            data = where / "data"
            with servers.chatd(data) as server:
                servers.load(server, "accounts", members=MEMBERS)
            if events:
                fill.fill(data, ROOM, events)
            return grow.history(data, table.plan.seconds)

    words = "chatd full, plain, the load of the first table, on so many events already stored."
    found = growing(table, "Growth with events", words, grow.EVENTS, measure)
    table.say("", *[f"- start to ready with {n:,} events: {r['ready'] * 1e3:,.0f} ms" for n, r in found.items()])
    with table.trying("history page"), table.copy() as data:
        page = scenes.pages(data)
        table.say(
            f"- a page of {page['page']} out of {table.plan.events:,} events: p50 {page['p50_ms']:.1f} ms, p99"
            f" {page['p99_ms']:.1f} ms (json, from asking to having it)"
        )


def instances(table: Table) -> None:
    """One file, more processes."""
    cores = os.cpu_count()
    words = f"`chatd-cluster`, plain, full, through HAProxy, whose cost is counted too; this machine has {cores} cores."
    found = growing(table, "Growth with instances", words, grow.NODES, lambda n: grow.instances(n, table.plan.seconds))
    late = [f"{n}: p50 {r['p50_ms']:.2f} ms, p99 {r['p99_ms']:.2f} ms" for n, r in found.items()]
    table.say("", "At 200 messages/s × 200 members: " + "; ".join(late) + ".")


def disk(table: Table) -> None:
    """Durability `full` on disks that take their time."""
    with servers.folder() as where:
        own = flush.flush_us(where)

        def measure(milliseconds: int) -> Result:
            env = flush.slow(where, milliseconds) if milliseconds else {}
            with table.copy() as data, servers.chatd(data, env=env) as server:
                return servers.load(server, "closed", known=True, seconds=table.plan.seconds)

        words = (
            f"chatd full, plain: the disk of this machine acknowledges a flush in {own:,.0f} µs, which few real disks"
            " do. Each flush artificially takes so many milliseconds longer."
        )
        growing(table, "Flushes slower by ms", words, (0, 1, 5), measure)


def storms(table: Table) -> None:
    """Everybody back at once; logins that wait."""
    table.heading("Under pressure", "chatd full.")
    with table.trying("resume storm"), servers.folder() as where:
        got = scenes.storm(where / "data", table.plan.storm)
        table.say(
            f"- {got['clients']:,} clients back after a restart, {scenes.MISSED} missed messages each:"
            f" {got['seconds']:.2f} s until the last one had all; messages received by each: {got['events_each']}"
        )
    with table.trying("bcrypt"), table.copy() as data:
        got = scenes.pressure(data, max(table.plan.seconds, 4.0))
        alone, crowded = got["alone"], got["crowded"]
        table.say(
            f"- chat at 200 messages/s × 200 members: p50 {alone['p50_ms']:.2f} ms, p99 {alone['p99_ms']:.2f} ms; while"
            f" {got['logins']:.0f} logins/s arrive and wait for bcrypt at cost 12: p50 {crowded['p50_ms']:.2f} ms, p99"
            f" {crowded['p99_ms']:.2f} ms"
        )


BESIDES: dict[str, tuple[str, list[str]]] = {
    "files": ("Files", ["files.py"]),
    "sealed": ("Sealed messages", ["sealed.py"]),
    "crypto": ("What encryption costs a client", ["-m", "tests.bench.crypto"]),
    "sealedfiles": ("Sealed files", ["sealed_files.py", "--mb", "300"]),
    "abuse": ("Under attack", ["abuse.py"]),
    "upkeep": ("Upkeep", ["upkeep.py"]),
}
"""Programs of their own: what each prints is shown as it is."""


def beside(table: Table, heading: str, command: list[str]) -> None:
    """What another program of this folder prints, in its own words."""
    here = Path(__file__).resolve().parent
    before = os.getloadavg()[0]
    words = [str(here / word) if word.endswith(".py") else word for word in command]
    with table.trying(heading):
        run = subprocess.run(
            [sys.executable, *words], cwd=here.parent.parent, capture_output=True, text=True, check=False
        )
        if run.returncode:
            raise Missing(run.stderr.strip() or f"ended with {run.returncode}")
        busy = f"{before:.1f} before, {os.getloadavg()[0]:.1f} after"
        table.heading(heading, f"`{' '.join(command)}` (load of the machine over a minute: {busy}):")
        table.say("```", *run.stdout.rstrip().splitlines(), "```")


SECTIONS: dict[str, Callable[[Table], None]] = {
    "speed": speed,
    "members": members,
    "rooms": rooms,
    "history": history,
    "instances": instances,
    "disk": disk,
    "storms": storms,
    **{name: partial(beside, heading=heading, command=command) for name, (heading, command) in BESIDES.items()},
}


def version(name: str) -> str:
    """What a program says it is, or that it is not there."""
    try:
        out = subprocess.run([servers.program(name), "--version"], capture_output=True, text=True, check=False)
    except Missing as missing:
        return str(missing)
    return re.split(r"[\s]-|\+|IDENT", (out.stdout or out.stderr).splitlines()[0])[0].strip(" -")


def machine() -> str:
    """The line without which no number means anything."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    haproxy = shutil.which("haproxy", path="/usr/sbin:/usr/bin")
    return ", ".join(
        [
            f"{cpu[1] if cpu else platform.machine()} × {os.cpu_count()}",
            f"Linux {platform.release().partition('-')[0]}",
            f"Python {platform.python_version()}",
            f"Twisted {twisted.__version__}",
            f"SQLite {sqlite3.sqlite_version}",
            version("inspircd"),
            version("ngircd"),
            "HAProxy" if haproxy else "no HAProxy",
        ]
    )


WORDS = """\
# Performance

Written by `tests/bench/run.py --write` from one run; no number was typed by hand. Ratios are what to look at: the
machine is shared, and only rows measured in the same run can be compared.

Measured is the shipped `twistd chatd` with real logins, message ids, role checks and {events:,} events already stored.
Switches that differ from the defaults: the price of a password (bcrypt cost 4, where not said otherwise); loopback is
exempt from rate limits, as it is by default. The IRC servers: flood, penalty, clone and queue limits raised out of
reach, no DNS and no ident look-ups. They store nothing; the naive loop stores and checks nothing.
`lost` counts messages that did not reach everybody. The load program is on the same machine: where its CPU is near
1.0, the server could have done more.
"""


def main() -> None:
    """Everything, or what was asked for."""
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--quick", action="store_true", help="a few minutes instead of a quarter of an hour")
    parse.add_argument("--only", default=",".join(SECTIONS), help="sections, separated by commas")
    parse.add_argument("--write", type=Path, help="write the document here as well")
    args = parse.parse_args()
    plan = QUICK if args.quick else FULL
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        table = Table(plan, Path(name) / "data")
        table.say(WORDS.format(events=plan.events), f"{datetime.now(UTC):%Y-%m-%d}. {machine()}.")
        sections = args.only.split(",")
        if set(sections) - BESIDES.keys():
            with table.trying("chatd"):
                prepare(table.data, plan.events)
        for section in sections:
            if section == "speed" or section in BESIDES or table.data.exists():
                SECTIONS[section](table)
    if table.skipped:
        table.heading("Not measured", "\n".join(f"- {line}" for line in table.skipped))
    print(f"\n{time.monotonic() - began:.0f} s", file=sys.stderr)
    if args.write:
        args.write.write_text("\n".join(table.lines) + "\n")


if __name__ == "__main__":
    main()
