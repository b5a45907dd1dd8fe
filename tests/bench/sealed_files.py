"""Files from one `chat` to another, end to end: sealed (encrypted, sent; fetched, checked, decrypted), and in the open.

    sealed_files.py [--mb 1000] [--folder DIR]

Prints: MB/s of `chat send --file` and of `chat get`, whole programs, less what one takes that moves a byte; the same
in an open group beside it; libsodium's stream alone on the same file; and the most memory a `chat` had, over one that
moves a byte. Every program is a process of its own.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from sqlite3 import connect

import servers

from client.crypto import stream

PASSWORD = "Correct7horse"
LIMITS = {
    "CHATD_ACCOUNTS_BCRYPT_COST": "4",
    "CHATD_LIMITS_ACCOUNT_FILE_BYTES": str(2**40),
    "CHATD_LIMITS_ROOM_FILE_BYTES": str(2**40),
}


class Chats:
    """`chat`s that share a folder for their profiles."""

    def __init__(self, folder: Path, port: int, database: Path) -> None:
        self.port = port
        self.database = database
        self._env = {**os.environ, "CHAT_HOME": str(folder / "chats")}

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start one."""
        return subprocess.Popen(
            [sys.executable, "-m", "client.main", *words],
            env=self._env,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self, *words: str, typed: str = "") -> tuple[float, float, str]:
        """Run one to its end: seconds, the most MiB it had, and the last line it printed."""
        began = time.perf_counter()
        program = self.start(*words)
        assert program.stdin is not None
        assert program.stdout is not None
        program.stdin.write(typed)
        program.stdin.close()
        said = program.stdout.read()
        _, status, used = os.wait4(program.pid, 0)
        took = time.perf_counter() - began
        program.returncode = os.waitstatus_to_exitcode(status)
        program.stdout.close()
        assert program.returncode == 0, (words, said)
        return took, used.ru_maxrss / 1024, said.strip().rpartition("\n")[2]

    def register(self, name: str, devices: int) -> None:
        """Somebody new, who stays until their keys are with the server."""
        room = "/create --open #open\n-1\n/door open" if devices == 1 else "/join #open"
        typed = f"r\n{name}\n{PASSWORD}\n{PASSWORD}\n\n{room}\n"
        self.run("--plain", "--profile", name, "127.0.0.1", str(self.port), typed=typed)
        program = self.start("--plain", "--profile", name)
        while self._stocked() < devices:
            time.sleep(0.1)
        program.communicate("/quit\n")

    def _stocked(self) -> int:
        with closing(connect(self.database)) as database:
            found: int = database.execute("SELECT count(DISTINCT device) FROM prekey").fetchone()[0]
        return found


def alone(path: Path, size: int) -> tuple[float, float]:
    """Seconds that sealing and opening this file takes, with nothing else."""
    key, where = stream.new_key(), stream.place(bytes(32), bytes(16), bytes(16))
    spool, back = path.with_suffix(".sealed"), path.with_suffix(".back")
    began = time.perf_counter()
    with path.open("rb") as source, spool.open("wb") as target:
        stream.seal(source, size, target, key, where)
    sealed = time.perf_counter()
    with spool.open("rb") as source, back.open("wb") as target:
        opener = stream.Opener(size, target.write, key, where)
        while data := source.read(1 << 20):
            opener.take(data)
        opener.end()
    opened = time.perf_counter()
    spool.unlink()
    back.unlink()
    return sealed - began, opened - sealed


def fill(path: Path, size: int) -> str:
    """A file of so many random bytes; its SHA-256."""
    piece = os.urandom(1 << 20)
    digest = hashlib.sha256()
    with path.open("wb") as file:
        while size:
            part = piece[:size]
            file.write(part)
            digest.update(part)
            size -= len(part)
    return digest.hexdigest()


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=1000)
    parser.add_argument("--folder", default=None, help="where the files go (default: the temporary folder)")
    options = parser.parse_args()
    size = options.mb * 1_000_000
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.folder) as name:
        folder = Path(name)
        small, large = folder / "small.bin", folder / "large.bin"
        fill(small, 1)
        digest = fill(large, size)
        with servers.chatd(folder / "data", dialect="json", env=LIMITS) as server:
            chats = Chats(folder, server.port, folder / "data" / "chatd.sqlite")
            for devices, who in enumerate(("alice", "bob"), 1):
                chats.register(who, devices)
            print(f"{options.mb:,} MB, one instance; MB/s of whole programs, and the most memory over one byte's")
            seal, unseal = (size / seconds / 1e6 for seconds in alone(large, size))
            print(f"  libsodium's stream alone  seals {seal:,.0f}, opens {unseal:,.0f}", flush=True)
            number = 0
            for kind, to in (("open", "#open"), ("sealed", "@alice")):
                base_up = chats.run("--profile", "bob", "send", "--file", str(small), to)
                up = chats.run("--profile", "bob", "send", "--file", str(large), to)
                number += 2
                base_down = chats.run("--profile", "alice", "get", str(number - 1), str(folder))
                down = chats.run("--profile", "alice", "get", str(number), str(folder))
                there = Path(down[2])
                with there.open("rb") as file:
                    assert hashlib.file_digest(file, "sha256").hexdigest() == digest
                there.unlink()
                seconds = [whole[0] - base[0] for whole, base in ((up, base_up), (down, base_down))]
                rates = [size / each / 1e6 for each in (*seconds, sum(seconds))]
                print(
                    f"  {kind:6}  send {rates[0]:,.0f}, get {rates[1]:,.0f}, one after the other {rates[2]:,.0f};"
                    f" memory +{up[1] - base_up[1]:.0f} MiB, +{down[1] - base_down[1]:.0f} MiB",
                    flush=True,
                )


if __name__ == "__main__":
    main()
