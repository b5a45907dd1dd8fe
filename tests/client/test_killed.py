"""Real chats that die by SIGKILL at each step of a sealed message, on both sides, and a server that does, too.

The rule: what was accepted (it lies in the outbox) arrives once and in order, everything can be read, and no key of a
ratchet is used for two messages, wherever a process ended (E2E.md §5, §10.5). Each process kills itself, at a step
that tests/client/dying.py names; the next one, with the same profile, mends what it left, and dies at another.

    python -m tests.client.test_killed      at every step that there is, which takes some minutes
"""

from __future__ import annotations

import os
import random
import re
import signal
import sys
from collections import defaultdict
from typing import Final

from client.crypto import encoding, message
from tests.client.dying import parsed
from tests.client.live import ClientTestCase, write
from tests.live import Program

SENDING: Final = tuple(
    f"{when} {what}"
    for what in (
        "commit insert.outbox",
        "commit peer sent",
        "send *say*",
        "commit mine sent",
        "commit delete.outbox",
        "commit insert.event*",
    )
    for when in ("before", "after")
)
"""Typed → encrypted and saved → sent → stored → forgotten and shown."""
BEGINNING: Final = ("before send *claim*", "after send *claim*", "before commit peer", "after commit peer")
"""The same with somebody to whom there is no session yet: a one-time key is claimed, and the session saved."""
HEARING: Final = tuple(
    f"{when} {what}"
    for what in (
        "read *envelope*",
        "commit inbox key peer",
        "commit *key*thread*",
        "commit insert.event*",
        "send *received*",
    )
    for when in ("before", "after")
)
"""It came → decrypted and saved → opened and saved → shown → acknowledged."""
BEGUN: Final = ("before commit device inbox*", "after commit device inbox*")
"""The same with a first message: the one-time key is spent."""
OPS: Final = "/say #ops "
EVERY: Final = "EVERY_STEP"


def ratchet_of(envelope: bytes) -> tuple[bytes, int]:
    """The ratchet key of an Olm message, and its place in that ratchet's chain: together they name a message key."""
    kind, data = envelope[0], envelope[1:]
    if kind == 0:
        inner = fields_of(data[1:])[4]  # the first byte is the version
        assert isinstance(inner, bytes)
        data = inner
    found = fields_of(data[1:-8])  # the last ones are the MAC
    key, index = found[1], found[2]
    assert isinstance(key, bytes) and isinstance(index, int) and len(key) == 32
    return key, index


def fields_of(data: bytes) -> dict[int, bytes | int]:
    """The fields of a protocol buffer, by number: whole numbers and bytes are all that Olm has."""
    found: dict[int, bytes | int] = {}
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        tag = number()
        value: bytes | int = number()
        if tag & 7 == 2:
            at, value = at + int(value), data[at : at + int(value)]
        found[tag >> 3] = value
    return found


class KilledTests(ClientTestCase):
    """alice dies; bob and carol, with whom she talks, do not."""

    timeout = 1_800 if EVERY in os.environ else 180
    every = EVERY in os.environ

    async def begin(self, *more: str) -> None:
        """A server; bob, who has made #ops with alice and carol in it; and `more` people, each in a group with them."""
        self.server_ = await self.server()
        self.typed: dict[str, str] = {}
        self.deaths = 0
        self.chosen = random.Random(5)
        for name in ("alice", "bob", "carol", *more):
            await self.registered(name, self.server_.port)
        self.bob, self.carol = (self.chat("--plain", "--profile", name) for name in ("bob", "carol"))
        for group in ("ops alice carol", *(f"{name} alice {name}" for name in more)):
            write(self.bob, f"/create #{group}\n")
        write(self.bob, "/join #ops\n")
        await self.carol.prints("Now in #ops")

    def alice(self, step: str = "-") -> Program:
        """alice's chat, until that step."""
        words = ("-m", "tests.client.dying", os.fspath(self.folder.absolute()), step)
        return self.run_program(sys.executable, *words, "--plain", "--profile", "alice")

    async def dies(self, alice: Program, step: str) -> None:
        """She has come to that step; now and then the server dies, too."""
        status = await alice.end()
        if not self.every or status:
            self.assertEqual(status, -signal.SIGKILL, f"{step}\n{alice.told()}")
            self.deaths += 1
        if self.deaths % 6 == 5:
            await self.server_.kill9()
            await self.server_.start()

    def text(self, where: str) -> str:
        """A line with words that were never said before, by somebody to somebody."""
        words = f"line-{len(self.typed)}"
        self.typed[words] = where
        return f"{where}{words}"

    def steps(self, program: Program) -> list[str]:
        """What a process did, each kind of step once."""
        path = self.folder / f"steps-{program.pid}"
        return list(dict.fromkeys(path.read_text().splitlines())) if path.exists() else []

    def found(self, pattern: str, *programs: Program) -> list[str]:
        """What stands in these programs' lines."""
        lines = (line for program in programs for line in program.lines)
        return [match[1] for line in lines if (match := re.search(pattern, line))]

    def accepted(self, where: str) -> list[str]:
        """What alice has typed that was on disk then, said there."""
        return [words for words in self.found(r"^accepted (line-.*)", *self.programs) if self.typed[words] == where]

    def no_key_twice(self) -> None:
        """Of all that alice has ever sent: each key of a ratchet, and of a body, is one ciphertext's."""
        ratchets: dict[object, set[str]] = defaultdict(set)
        bodies: dict[bytes, set[str]] = defaultdict(set)
        sent = 0
        for path in self.folder.glob("wire-*"):
            for call in parsed(path.read_bytes()):
                for device, envelope in call.get("envelopes", {}).items():
                    sent += 1
                    ratchets[device, *ratchet_of(encoding.data(envelope))].add(envelope)
                if call.get("do") == "say":
                    _, header = message.from_wire(encoding.data(call["sealed"]))
                    bodies[header.commitment].add(call["sealed"])
        self.assertGreater(sent, len(ratchets), "nothing was ever sent again")
        self.assertEqual([found for found in (*ratchets.values(), *bodies.values()) if len(found) > 1], [])

    def nothing_wrong(self) -> None:
        """Nobody was told of anything that could not be opened, or sent, or is not right."""
        wrong = r"(.*(?:Warning|opened|not shown|Not sent|missing|nothing is sent).*)"
        self.assertEqual(self.found(wrong, *self.programs), [])

    async def test_the_sender(self) -> None:
        """Killed before and after each step of sending: each line arrives once, in order, and is read."""
        people = ("dave", "erin", "frank", "grace")
        await self.begin(*people)
        firsts = (f"/say #{name} " if number % 2 else f"@{name} " for number, name in enumerate(people))
        deaths = list(zip(BEGINNING, firsts, strict=True))
        if self.every:
            look = self.alice()
            write(look, "".join(f"{self.text(to)}\n" for to in (OPS, "@bob ")) + "/quit\n")
            await look.end()
            deaths += [(step, to) for to in (OPS, "@bob ") for step in self.steps(look)]
        else:
            deaths += [(step, self.chosen.choice((OPS, "@bob "))) for step in SENDING]
        for step, to in deaths:
            alice = self.alice(step)
            write(alice, f"{self.text(to)}\n/quit\n")
            await self.dies(alice, step)
        alice = self.alice()
        write(alice, f"@bob the end\n{OPS}the end\n/quit\n")
        self.assertEqual(await alice.end(), 0, alice.told())
        for program in (self.bob, self.carol):
            await program.prints("alice: the end$")
            self.assertEqual(
                self.found(r"\d (?:#ops )?alice: (line-\d+)$", program), self.accepted(OPS), program.told()
            )
        self.assertEqual(self.found(r"\[alice\] (line-\d+)$", self.bob), self.accepted("@bob "))
        for name, (_, where) in zip(people, deaths, strict=False):
            met = self.chat("--plain", "--profile", name)
            write(met, "/dm alice\n/history\n/join #" + name + "\n/history\n/quit\n")
            self.assertEqual(await met.end(), 0, met.told())
            self.assertEqual(self.found(r"^\d{4}-.* alice: (line-\d+)$", met), self.accepted(where), met.told())
        self.no_key_twice()
        self.nothing_wrong()

    async def test_the_receiver(self) -> None:
        """Killed before and after each step of hearing, while it catches up and while it listens: each line is read
        once, from the first one on."""
        await self.begin()
        deaths = [*BEGUN, *HEARING]
        if self.every:
            look = self.alice()
            await look.prints("Now in #ops")
            write(self.bob, f"{self.text('@alice ')}\n{self.text(OPS)}\n")
            await self.acknowledged(look)
            deaths += self.steps(look)
        for number, step in enumerate(deaths):
            by = self.carol if step in BEGUN[1:] else self.chosen.choice((self.bob, self.carol))
            await self.hears(step, by, listens=number % 2 == 1)
        alice = self.alice()
        for room in ("/join #ops", "/dm bob", "/dm carol"):
            write(alice, f"{room}\n/history 500\n")
        write(alice, "/quit\n")
        self.assertEqual(await alice.end(), 0, alice.told())
        read = self.found(r"^\d{4}-.* (?:bob|carol): (line-\d+)$", alice)
        self.assertEqual(sorted(read), sorted(self.typed), alice.told())
        self.nothing_wrong()

    async def hears(self, step: str, by: Program, *, listens: bool) -> None:
        """Somebody writes to alice, who dies of it: while she `listens`, or when she comes back."""
        line = self.text(self.chosen.choice((OPS, "@alice ")))
        alice = self.alice(step) if listens else None
        if alice is not None:
            await self.eventually(lambda: not alice.running or "Now in #ops." in alice.lines, "alice, or her end")
        write(by, f"{line}\n")
        if alice is None:
            await by.prints(f"{line.rpartition(' ')[2]}  ")
            alice = self.alice(step)
        if self.every:
            await self.acknowledged(alice)
        await self.dies(alice, step)

    async def acknowledged(self, alice: Program) -> None:
        """Wait until she has told the server what she has, and let her go; or until she is dead."""

        def done() -> bool:
            return not alice.running or any("after send" in step and "received" in step for step in self.steps(alice))

        await self.eventually(done, "her word to the server")
        if alice.running:
            write(alice, "/quit\n")


if __name__ == "__main__":
    os.environ[EVERY] = "1"
    os.execv(sys.executable, [sys.executable, "-m", "twisted.trial", "tests.client.test_killed"])
