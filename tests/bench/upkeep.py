"""What looking after a server costs the people who are in: `python tests/bench/upkeep.py`.

Ten honest people in one room of a server with a past (a million lines, with --events 1000000). One of them says
something twenty times a second, and another sees when it arrives. Their p50 and p99 are printed quiet, and beside:

    backup      chatctl backup, again and again
    search      three people who search the whole past for what is not there, again and again
    retention   nearly all of the past is too much and is blanked (limits.retention_events at a time)
    erasure     a tenth of the past was written by somebody whose account is deleted with --erase

`ratio` is the p99 beside it by the quiet one. Durability is `full`, as shipped.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from abuse import PEOPLE, Client, address, people, talk
from dialects import PASSWORD
from fill import fill
from servers import BIN, free_port

CONFIG: Final = """
[accounts]
bcrypt_cost = 4
[retention]
messages = %d
"""
KEPT: Final = 1_000
SEARCHERS: Final = 3
GONE: Final = 5
CHATCTL: Final = (sys.executable, "-m", "chatd.ctl.main")
ROOT: Final = Path(__file__).resolve().parent.parent.parent


@contextlib.contextmanager
def served(data: Path, messages: int = 0) -> Iterator[int]:
    """A server on this folder; its port."""
    port = free_port()
    config = data.with_name(f"{messages}.toml")
    config.write_text(CONFIG % messages)
    listen = f"tcp:{port}:interface=127.0.0.1"
    command = [str(BIN / "twistd"), "-n", "--pidfile=", "chatd", "--data", str(data), "-c", str(config), "-l", listen]
    process = subprocess.Popen([sys.executable, *command, "--quiet"], stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def back(port: int, without: int = -1) -> list[Client]:
    """The people once more."""
    found = []
    for number in range(PEOPLE):
        if number != without:
            client = Client(port, address(1, number))
            client.call("login", name=f"honest{number}", password=PASSWORD, since=1 << 40)
            found.append(client)
    return found


def chatctl(data: Path, *words: str) -> None:
    """Run it."""
    subprocess.run([*CHATCTL, "--data", str(data), *words], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)


def blank(data: Path) -> int:
    """How many lines are blank."""
    connection = sqlite3.connect(data / "chatd.sqlite")
    (count,) = connection.execute("SELECT count(*) FROM event WHERE kind = 'say' AND text IS NULL").fetchone()
    connection.close()
    return int(count)


@contextlib.contextmanager
def meanwhile(do: Any) -> Iterator[list[int]]:
    """Do this in a thread, again and again; how often it was done."""
    done = [0]
    going = threading.Event()
    going.set()

    def run() -> None:
        while going.is_set():
            do()
            done[0] += 1

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield done
    finally:
        going.clear()
        thread.join()


def measured(clients: list[Client], seconds: float) -> dict[str, float]:
    """p50 and p99 of what is said meanwhile, in ms."""
    took = talk(clients, lambda passed: passed < seconds)
    return {"p50": took[len(took) // 2] * 1e3, "p99": took[len(took) * 99 // 100] * 1e3}


def show(name: str, found: dict[str, float], quiet: dict[str, float], more: str = "") -> None:
    """A line."""
    ratio = found["p99"] / quiet["p99"]
    print(
        f"{name:10} p50 {found['p50']:6.2f} ms   p99 {found['p99']:7.2f} ms   ratio {ratio:5.2f}   {more}", flush=True
    )


def search(client: Client) -> None:
    """Look for what is not there."""
    client.call("search", room="#honest", words="nothing like it was ever said")


def run(data: Path, events: int, seconds: float) -> None:
    """All of it."""
    with served(data) as port:
        people(port)
    fill(data, "#honest", events)
    with served(data) as port:
        clients = back(port)
        quiet = measured(clients, seconds)
        show("quiet", quiet, quiet, f"{events:,} lines in the past")
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder, "backup.tar")

            def backup() -> None:
                chatctl(data, "backup", str(target))
                target.unlink()

            with meanwhile(backup) as done:
                found = measured(clients, seconds)
            show("backup", found, quiet, f"{done[0]} backups")
        seekers = [Client(port, address(2, number)) for number in range(SEARCHERS)]
        for number, seeker in enumerate(seekers):
            seeker.call("login", name=f"honest{number + 2}", password=PASSWORD, since=1 << 40)
        with contextlib.ExitStack() as stack:
            counts = [stack.enter_context(meanwhile(lambda seeker=seeker: search(seeker))) for seeker in seekers]
            found = measured(clients, seconds)
        show("search", found, quiet, f"{sum(each[0] for each in counts)} searches")
        before = blank(data)
        chatctl(data, "user", "delete", f"honest{GONE}", "--erase", "--yes")
        time.sleep(11)  # the server looks every ten seconds
        found = measured([client for number, client in enumerate(clients) if number != GONE], seconds)
        show("erasure", found, quiet, f"{blank(data) - before:,} lines blanked")
    with served(data, KEPT) as port:
        clients = back(port, without=GONE)
        time.sleep(11)
        before = blank(data)
        found = measured(clients, seconds)
        show("retention", found, quiet, f"{blank(data) - before:,} lines blanked")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder, "data"), args.events, args.seconds)


if __name__ == "__main__":
    main()
