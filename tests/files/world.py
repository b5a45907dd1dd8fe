"""A server in memory with a group, its raw connections, its folder of blobs and its database: all real."""

from __future__ import annotations

import hashlib
import os
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from chatd.blobs import Blobs, check_blobs
from chatd.store.files import Stored
from tests.memory import Client, Server, settings

DATA = bytes(range(256)) * 1_200
MID = "019a0000-0000-7000-8000-000000000001"
NASTY = "../../etc/\x1b[31m\r\n'; rm -rf ~; echo '$(id)`id`" + "x" * 300 + ".pdf"


def sha(data: bytes) -> str:
    """The digest of these bytes."""
    return hashlib.sha256(data).hexdigest()


class Base(SynchronousTestCase):
    """A server with #ops: alice made it, bob is in it; both are programs."""

    limits: dict[str, Any] = {}  # noqa: RUF012 - each class has its own

    def setUp(self) -> None:
        self.server = Server(Path(self.mktemp()), settings=settings(**self.limits))
        self.addCleanup(lambda: self.server.stop())
        self.alice, self.bob = self.server.program("alice"), self.server.program("bob")
        self.alice.call(do="create", room="#ops", people=["bob"])
        self.alice.events(), self.bob.events()

    def begin(self, who: Client | None = None, data: bytes = DATA, **fields: Any) -> dict[str, Any]:
        """Ask to send these bytes to #ops; the answer."""
        wanted = {"room": "#ops", "size": len(data), "name": "a.bin", "digest": sha(data)} | fields
        answer: dict[str, Any] = (who or self.alice).call(do="upload", **wanted)
        return answer

    def raw(self, ticket: str, server: Server | None = None, words: str = "") -> Client:
        """A raw connection that has said its first line."""
        client = (server or self.server).connect()
        client.send(f"RAW {ticket}{words}\n".encode())
        return client

    def bring(self, data: bytes = DATA, who: Client | None = None, **fields: Any) -> dict[str, Any]:
        """Send a whole file; the last line of its connection."""
        raw = self.raw(self.begin(who, data, **fields)["ok"]["ticket"])
        raw.send(data)
        *_, last = raw.objects()
        assert raw.closed
        return last

    def fetch(self, who: Client, file: int, **part: int) -> bytes:
        """Fetch a file, or a part."""
        raw = self.raw(who.call(do="download", file=file, **part)["ok"]["ticket"])
        for _ in range(len(DATA) // 1000):
            self.server.advance(0)
        first, _, data = raw.read().partition(b"\n")
        assert first.startswith(b'{"ok"') and raw.closed, first
        return data

    def differences(self) -> list[Any]:
        """What `chatctl check` would find."""
        return check_blobs(self.server.blobs.folder, self.stored(), deep=True)

    def stored(self) -> list[Stored]:
        """What the database knows."""
        found: list[Stored] = self.successResultOf(self.settle(self.server.db.read(lambda tx: tx.stored_files())))
        return found

    def settle(self, deferred: Any) -> Any:
        """Let what is under way come to its end."""
        for _ in range(20):
            self.server.advance(0)
        return deferred

    def sweep(self, *, all_of_them: bool = True) -> None:
        """Sweep everything, or what is swept every minute."""
        self.successResultOf(
            self.settle(Deferred.fromCoroutine(self.server.transfers.sweep_files(all_of_them=all_of_them)))
        )


BRIM = 1 << 30
"""Bytes past which no file can grow of a `full_disk`: more than any log or database of the tests has."""


@contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process grows past `BRIM` meanwhile: as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (BRIM, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def up_to_the_brim(blobs: Blobs, file: int) -> None:
    """So much of this file has come that the next byte is one too many (there are holes in it)."""
    path = blobs.folder / "new" / f"{file}.before"
    path.touch()
    os.truncate(path, BRIM)


def ticket_in(lines: list[str]) -> str:
    """The ticket in a line for a shell."""
    found = re.search(r"RAW ([0-9a-f]{32}) ", "\n".join(lines))
    assert found is not None, lines
    return found[1]
