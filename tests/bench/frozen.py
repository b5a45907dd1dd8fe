"""What happens while one of two instances stands still for half a minute: `python tests/bench/frozen.py`.

Two people talk at each instance, ten lines a second. One instance is stopped (SIGSTOP) and goes on (SIGCONT). Printed:
what the people at the other one were answered meanwhile and how long it took, when those who were stopped are seen as
gone and as back, and whether in the end everybody has the same lines in one order. Exit status 1: they have not.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from abuse import Client
from dialects import PASSWORD, uuid7
from servers import BIN, free_ports

CONFIG = "[accounts]\nbcrypt_cost = 4\n"
RATE = 10.0


class Talker(threading.Thread):
    """Somebody who says something, waits for the answer, and says the next; refused lines are said again."""

    def __init__(self, port: int, number: int) -> None:
        super().__init__(daemon=True)
        self.client = Client(port, "127.0.0.1")
        self.name = f"frozen{number}"
        self.client.call("register", name=self.name, password=PASSWORD)
        self.client.call("join", room="#all")
        self.codes: Counter[str] = Counter()
        self.took: list[float] = []
        self.said = 0
        self.stop = False

    def run(self) -> None:
        """Talk until told to stop."""
        mid = uuid7()
        while not self.stop:
            began = time.monotonic()
            answer = self.client.call("say", room="#all", text=f"{self.name} {self.said}", mid=mid)
            self.took.append(time.monotonic() - began)
            self.codes["ok" if "ok" in answer else answer["error"]["code"]] += 1
            if "ok" in answer:
                self.said += 1
                mid = uuid7()
            time.sleep(max(0.0, began + 1 / RATE - time.monotonic()))

    def history(self) -> list[str]:
        """All lines, as this one's instance has them."""
        found: list[str] = []
        before: dict[str, int] = {}
        while True:
            answer = self.client.call("history", room="#all", count=500, **before)["ok"]
            found = [line["text"] for line in answer["lines"]] + found
            if not answer["more"]:
                return found
            before = {"before": answer["lines"][0]["seq"]}


def main() -> None:
    """All of it."""
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--seconds", type=float, default=30.0)
    args = parse.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "chatd.toml")
        config.write_text(CONFIG)
        first = free_ports(2)
        nodes = []
        for number in (0, 1):
            command = [str(BIN / "twistd"), "-n", "--pidfile=", "chatd", "--quiet", "--data", str(Path(folder, "data"))]
            command += ["--config", str(config), "--listen", f"tcp:{first + number}:interface=127.0.0.1"]
            nodes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            assert nodes[-1].stdout is not None
            nodes[-1].stdout.readline()
        try:
            sys.exit(0 if run(nodes, first, args.seconds) else 1)
        finally:
            for node in nodes:
                node.send_signal(signal.SIGCONT)
                node.terminate()
                node.wait(30)


def run(nodes: list[subprocess.Popen[str]], port: int, seconds: float) -> bool:
    """Whether everybody has the same in the end."""
    watcher = Client(port, "127.0.0.1")
    watcher.call("register", name="watcher", password=PASSWORD)
    watcher.call("join", room="#all")
    watcher.call("door", room="#all", door="open")
    talkers = [Talker(port + number % 2, number) for number in range(4)]
    for talker in talkers:
        talker.start()

    def online() -> int:
        return len(watcher.call("online", room="#all")["ok"]["online"])

    def until(count: int) -> float:
        began = time.monotonic()
        while online() != count:
            time.sleep(0.1)
        return time.monotonic() - began

    time.sleep(3)
    here = [talker for number, talker in enumerate(talkers) if number % 2 == 0]
    for talker in talkers:
        talker.codes.clear()
        talker.took.clear()
    stopped = time.monotonic()
    nodes[1].send_signal(signal.SIGSTOP)
    print(f"stopped; its people are seen as gone after {until(3):.1f} s")
    time.sleep(max(0.0, stopped + seconds - time.monotonic()))
    for talker in here:
        took = sorted(talker.took)
        worst, middle = took[-1] * 1000, took[len(took) // 2] * 1000
        print(
            f"{talker.name} beside it: {dict(talker.codes)}, answered in {middle:.1f} ms, at the longest {worst:.0f} ms"
        )
    nodes[1].send_signal(signal.SIGCONT)
    print(f"goes on after {time.monotonic() - stopped:.0f} s; its people are seen as back after {until(5):.1f} s")
    time.sleep(2)
    for talker in talkers:
        talker.stop = True
    for talker in talkers:
        talker.join(30)
        talker.client.call("ping", token="t")
    histories = [talker.history() for talker in talkers]
    same = all(history == histories[0] for history in histories)
    whole = all(
        [line for line in histories[0] if line.startswith(f"{talker.name} ")]
        == [f"{talker.name} {number}" for number in range(talker.said)]
        for talker in talkers
    )
    print(json.dumps({"lines": len(histories[0]), "the same for all": same, "none lost, none twice": whole}))
    return same and whole


if __name__ == "__main__":
    main()
