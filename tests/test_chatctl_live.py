"""chatctl beside real servers: what it asks of them, backup under load, and restore on an empty host."""

from __future__ import annotations

import json
import socket
import sqlite3
import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread

from chatd.sockets import reachable
from tests.live import PATIENCE, JsonClient, LiveTestCase, Lost, Program, Refused, new_mid

LOAD = 4
"""How many people talk during a backup."""


class ChatctlTests(LiveTestCase):
    """An operator at work."""

    def chatctl(self, *words: str, data: Path | None = None) -> Program:
        """Start `chatctl WORDS`."""
        argv = (sys.executable, "-m", "chatd.ctl.main", "--data", str(data or self.data), "--config", str(self.config))
        return self.run_program(*argv, *words)

    async def said(self, *words: str, status: int = 0, data: Path | None = None) -> str:
        """What it says, having ended so."""
        program = self.chatctl(*words, data=data)
        self.assertEqual((await program.end(), program.lines), (status, program.lines))
        return "\n".join(program.lines)

    async def test_a_running_server_is_asked(self) -> None:
        """Sessions end with a disabled or deleted account, at once; the server's own log says who did it."""
        chatd = await self.chatd(node=1).start()
        alice, bob = await self.person(chatd.port, "alice"), await self.plain(chatd.port)
        bob.send("/register bob Correct7horse")
        await bob.line("^Welcome")
        await alice.call("create", room="#ops", people=["bob"])
        self.assertRegex(
            await self.said("status"),
            r"^Running: 1 node, up \ds, 2 sessions of 2 people\. 2 users, 1 group, \d+ events,",
        )
        self.assertEqual(await self.said("user", "disable", "bob"), "bob is disabled. 1 session ended.")
        await bob.end()
        again = await self.client(chatd.port)
        with self.assertRaises(Refused):
            await again.login("bob")
        await self.said("user", "delete", "bob", "--yes")
        await alice.event("left", room="#ops", by="bob")
        self.assertIn("No such person: bob.", await self.said("user", "enable", "bob", status=1))
        self.assertRegex(chatd.log, r"(?m)^\S+ admin +user\.disable bob by \S+\n")
        self.assertEqual((self.data / "run" / "node-1.ctl").stat().st_mode & 0o777, 0o600)

    async def test_a_frozen_server(self) -> None:
        """Of two instances, the one that answers is asked; where none answers that is said, and nothing hangs."""
        one, two = await self.chatd(node=1).start(), await self.chatd(node=2).start()
        one.stop()
        asked = self.chatctl("--wait", "6", "user", "add", "alice")
        await asked.end()
        self.assertRegex(asked.lines[0], "^alice added")
        two.stop()
        self.assertRegex(
            await self.said("--wait", "3", "status", status=4), "Node 1 does not answer, node 2 does not answer"
        )
        one.cont(), two.cont()
        alice = await self.client(two.port)
        await alice.ping()
        self.assertRegex(await self.said("user", "list"), "^alice ")

    async def test_a_killed_server(self) -> None:
        """The socket that it left behind does not keep chatctl from the file."""
        chatd = await self.chatd(node=1).start()
        await chatd.kill9()
        self.assertTrue((self.data / "run" / "node-1.ctl").exists())
        self.assertRegex(await self.said("user", "add", "alice"), "^alice added")
        await chatd.start()
        self.assertRegex(await self.said("user", "list"), "^alice ")

    async def test_a_socket_that_cannot_be(self) -> None:
        """A server that cannot listen to chatctl, or for the other instances, says so and ends: no thread keeps it."""
        for name in ("node-1.look", "node-1.ctl"):
            blocked = self.data / "run" / name
            blocked.mkdir(parents=True)
            chatd = self.chatd()
            chatd.launch()
            await chatd.program.prints(f"chatd cannot start: .*{name}")
            self.assertEqual(await chatd.program.end(), 1)
            blocked.rmdir()

    async def test_the_socket(self) -> None:
        """What is no act, or has other arguments, is refused in one line, and the server goes on."""
        chatd = await self.chatd(node=1).start()
        path = str(self.data / "run" / "node-1.ctl")

        def ask(*lines: bytes) -> list[Any]:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(PATIENCE)
                connection.connect(reachable(Path(path)))
                connection.sendall(b"".join(line + b"\n" for line in lines))
                with connection.makefile("rb") as answers:
                    return [json.loads(answers.readline()) for _ in lines]

        answers = await deferToThread(
            ask,
            b"nonsense",
            b"[]",
            b'{"act": "user.add"}',
            b'{"act": "user.add", "args": {"name": "bob", "password": "clear"}}',
            b'{"act": "rm -rf", "args": {}}',
            b'{"act": "user.list", "args": {"x": 1}}',
            b'{"act": "user.list"}',
        )
        codes = [answer["error"]["code"] for answer in answers[:-1]]
        self.assertEqual(codes, ["BAD_LINE", "BAD_LINE", *["BAD_USAGE"] * 4])
        self.assertEqual(answers[-1], {"ok": {"users": []}})
        self.assertNotIn("clear", chatd.log)

    def _talk(self, client: JsonClient, said: list[tuple[int, str]], going: list[bool]) -> Deferred[None]:
        """One person says one thing after the other; `said` gets what was acknowledged: (seq, text)."""

        async def talk() -> None:
            number = 0
            while going:
                number += 1
                text = f"{client.name} {number}"
                try:
                    answer = await client.call("say", room="#ops", text=text, mid=new_mid())
                except Lost:
                    return
                said.append((answer["seq"], text))

        return Deferred.fromCoroutine(talk())

    def rows(self, data: Path, upto: int) -> list[Any]:
        """The log of a database up to an event."""
        connection = sqlite3.connect(data / "chatd.sqlite")
        try:
            return connection.execute("SELECT * FROM event WHERE seq <= ? ORDER BY seq", (upto,)).fetchall()
        finally:
            connection.close()

    async def test_backup_under_load(self) -> None:
        """While people talk a backup is made, verified, restored elsewhere and served from there: it is one moment of
        the server, with all that was acknowledged before it began, and no number is given twice.
        """
        chatd = await self.chatd(node=1).start()
        people = [await self.person(chatd.port, f"user{number}") for number in range(LOAD)]
        await people[0].call("create", room="#ops", people=[each.name for each in people[1:]])
        said: list[tuple[int, str]] = []
        going = [True]
        talking = [self._talk(each, said, going) for each in people]
        await self.eventually(lambda: len(said) > 200, "some talk")
        before = max(seq for seq, _ in said)
        backup = self.folder / "backup.tar"
        made = json.loads(await self.said("backup", str(backup), "--verify", "--json"))
        await self.eventually(lambda: max(seq for seq, _ in said) > made["seq"], "talk after the backup")
        going.clear()
        await gatherResults(talking)
        self.assertGreaterEqual(made["seq"], before)
        self.assertEqual(made["faults"], [])
        self.assertEqual(backup.stat().st_mode & 0o777, 0o600)
        last = max(seq for seq, _ in said)

        elsewhere = self.folder / "elsewhere"
        self.assertRegex(
            await self.said("restore", str(backup), data=elsewhere), r"^Restored to \S+: 4 users, 1 group,"
        )
        self.assertRegex(await self.said("check", data=elsewhere), "^Sound: 4 users")
        self.assertEqual(self.rows(elsewhere, last), self.rows(self.data, made["seq"]))
        self.assertIn("holds a database already", await self.said("restore", str(backup), data=elsewhere, status=1))
        self.assertIn("Stop it first", await self.said("restore", str(backup), status=1))

        other = await self.chatd(data=elsewhere, node=1).start()
        client = await self.client(other.port)
        await client.resume_from(people[0])
        answer = await client.call("say", room="#ops", text="we are back", mid=new_mid())
        self.assertGreater(answer["seq"], last)
        await client.event("say", text="we are back")
        newcomer = await self.person(other.port, "newcomer")
        self.assertGreater((await newcomer.call("whoami"))["account"], 1_000)
        await other.term()
        self.assertRegex(await self.said("check", data=elsewhere), "^Sound: 5 users")

    async def test_what_came_after_the_backup(self) -> None:
        """A backup under load; then people come, go and are put out, a group has another name, a file is sent; then the
        host is lost. On an empty one stands what the backup has, on the same port: who comes back is told what is lost,
        hears what is said now, and no number means something else, not even if that host is lost, too.
        """
        chatd = await self.chatd(node=1).start()
        alice, bob, carol = [await self.person(chatd.port, name) for name in ("alice", "bob", "carol")]
        await alice.call("create", room="#ops", people=["bob", "carol"])
        said: list[tuple[int, str]] = []
        going = [True]
        talking = [self._talk(each, said, going) for each in (alice, bob)]
        await self.eventually(lambda: len(said) > 100, "some talk")
        backup = self.folder / "backup.tar"
        made = json.loads(await self.said("backup", str(backup), "--verify", "--json"))
        await self.eventually(lambda: max(seq for seq, _ in said) > made["seq"], "talk after the backup")
        going.clear()
        await gatherResults(talking)
        dave = await self.person(chatd.port, "dave")
        await alice.call("add", room="#ops", user="dave")
        await alice.call("kick", room="#ops", user="carol")
        await alice.call("rename", room="#ops", name="#dev")
        await alice.call("upload", room="#dev", size=5, name="notes.txt", mid=new_mid())
        mid = new_mid()
        seqs = {seq for seq, _ in said} | {(await dave.call("say", room="#dev", text="lost", mid=mid))["seq"]}
        for client in (alice, bob, carol, dave):
            await client.ping()
        plain = await self.plain(chatd.port)
        plain.send("/login carol Correct7horse\r\n/ping in")
        await plain.line("^pong in")
        await chatd.kill9()

        for name in ("second", "third"):
            elsewhere = self.folder / name
            self.assertRegex(
                await self.said("restore", str(backup), data=elsewhere), "^Restored to .*: 3 users, 1 group"
            )
            self.assertRegex(await self.said("check", data=elsewhere), "^Sound")
            other = await self.chatd(data=elsewhere, node=1, port=chatd.port).start()
            back = {}
            for before in (alice, bob, carol):
                back[before.name] = await self.client(other.port)
                answer = await back[before.name].resume_from(before)
                self.assertEqual([room["room"] for room in answer["rooms"]], ["#ops"])
                self.assertEqual(answer["lost"][0], made["seq"] + 1)
                self.assertLess(max(seqs), answer["lost"][1])
            gone = await self.client(other.port)
            with self.assertRaises(Refused) as refused:
                await gone.resume_from(dave)
            self.assertEqual(refused.exception.error["code"], "NOT_LOGGED_IN")
            seq = (await back["alice"].call("say", room="#ops", text=f"on the {name}", mid=mid))["seq"]
            self.assertNotIn(seq, seqs)
            seqs.add(seq)
            for client in back.values():
                await client.event("say", text=f"on the {name}", seq=seq)
                self.assertEqual(len(client.said()), 1)
            newcomer = await self.person(other.port, f"newcomer-{name}")
            seqs.add((await newcomer.call("create", room=f"#{name}"))["seq"])
            plain = await self.plain(other.port)
            plain.send("/login carol Correct7horse\r\n/history #ops 1")
            await plain.line(rf"alice: on the {name}$")
            await other.kill9()
            self.assertRegex(await self.said("check", data=elsewhere), "^Sound: 4 users")
