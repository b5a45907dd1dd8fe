"""Several instances behind HAProxy, as real processes: one server to everybody, whatever happens to any of them."""

from __future__ import annotations

import fcntl
import os
import random
import re
import signal
import socket
import sysconfig
from configparser import ConfigParser
from pathlib import Path
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import gatherResults
from twisted.trial import unittest

from chatd import cluster, haproxy
from chatd.sockets import reachable
from tests.chaos.clients import Talker, Tally, settle
from tests.chaos.nodes import examine, node_pids
from tests.live import ROOT, TWISTD, Client, JsonClient, LiveTestCase, Program, Refused, free_ports, needs, new_mid

SETTINGS = """
[accounts]
bcrypt_cost = 4
[groups]
default_door = "open"
"""


class ConfigurationTests(unittest.SynchronousTestCase):
    """HAProxy's configuration has one source."""

    def test_one_source(self) -> None:
        """What a cluster is generated from is etc/haproxy.cfg, from the sources and where it is installed."""
        setup = ConfigParser()
        setup.read(ROOT / "setup.cfg")
        self.assertIn("etc/haproxy.cfg", setup["options.data_files"]["share/chatd"].split())
        source = (ROOT / "etc" / "haproxy.cfg").read_text("utf-8")
        self.assertEqual(source, haproxy.template())
        prefix = Path(self.mktemp())
        (prefix / "share" / "chatd").mkdir(parents=True)
        (prefix / "share" / "chatd" / "haproxy.cfg").write_text("installed", "utf-8")
        self.patch(haproxy, "__file__", os.fspath(prefix / "lib" / "chatd" / "haproxy.py"))
        self.patch(sysconfig, "get_path", {"data": os.fspath(prefix)}.__getitem__)
        self.assertEqual(haproxy.template(), "installed")

    def test_generated(self) -> None:
        """A cluster's own differs from it in the front door, the nodes and the control socket, and in nothing else."""
        before = haproxy.template()
        after = haproxy.configuration(before, "127.0.0.2", 9000, 3, Path("run/my door.sock"))
        taken = [line.strip() for line in before.splitlines() if line not in after.splitlines()]
        put = [line.strip() for line in after.splitlines() if line not in before.splitlines()]
        self.assertEqual(
            put,
            [
                r"stats socket unix@run/my\ door.sock mode 600 level admin",
                "bind 127.0.0.2:9000",
                "server node1 127.0.0.1:9001",
                "server node2 127.0.0.1:9002",
                "server node3 127.0.0.1:9003",
            ],
        )
        self.assertEqual(
            taken,
            [
                "#stats socket /run/haproxy/admin.sock mode 600 level admin",
                "bind 127.0.0.1:8000",
                *(f"server node{number} 127.0.0.1:{8000 + number}" for number in range(1, 6)),
            ],
        )

    def test_generated_for_ipv6(self) -> None:
        """An address of IPv6 stands in brackets, as HAProxy wants it."""
        after = haproxy.configuration(haproxy.template(), "::1", 9000, 1, Path("x"))
        self.assertIn("    bind [::1]:9000\n", after)

    def test_changed_template(self) -> None:
        """A template without what is to be put in is refused rather than used as it is."""
        with self.assertRaises(ValueError):
            haproxy.configuration(haproxy.template().replace("bind ", "bond "), "::1", 9000, 1, Path("x"))


class RollingTests(unittest.SynchronousTestCase):
    """A rolling restart that goes wrong."""

    def test_may_be_asked_for_again(self) -> None:
        """However it ended, the next one is begun."""
        service = cluster.ClusterService.__new__(cluster.ClusterService)
        service._rolling, service._open, begun = False, True, []

        async def restart() -> None:
            begun.append(service._rolling)
            if len(begun) == 1:
                raise OSError("HAProxy is gone")

        self.patch(service, "_restart_nodes", restart)
        service._roll()
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        service._roll()
        self.assertEqual(begun, [True, True])
        self.assertFalse(service._rolling)


class ClusterTestCase(LiveTestCase):
    """Starts clusters, and knows how to look at HAProxy."""

    settings = SETTINGS

    def setUp(self) -> None:
        self.haproxy = needs("haproxy")
        super().setUp()
        self.control = self.data / "run" / "haproxy.sock"

    def launch(self, nodes: int, port: int = 0) -> Program:
        """Start a cluster, and do not wait."""
        self.nodes = nodes
        self.port = port or free_ports(nodes + 1)
        options = ("--nodes", str(nodes), "--port", str(self.port), "--data", os.fspath(self.data))
        return self.twistd("chatd-cluster", *options, "--config", os.fspath(self.config))

    async def cluster(self, nodes: int) -> Program:
        """A cluster that serves."""
        program = self.launch(nodes)
        await program.prints(f"^front door :{self.port}, {nodes} nodes?$")
        return program

    async def on_node(self, number: int, name: str = "") -> JsonClient:
        """A client on this very node, as if HAProxy had chosen it; registered if it is given a name."""
        client = await self.client(self.port + number)
        client.send("PROXY TCP4 127.0.0.1 127.0.0.1 1 1\r")
        if name:
            await client.register(name)
        return client

    def asks(self, command: str) -> str:
        """What HAProxy answers on its control socket."""
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(10)
            try:
                control.connect(reachable(self.control))
            except OSError:
                return ""
            control.sendall(command.encode() + b"\n")
            return b"".join(iter(lambda: control.recv(65536), b"")).decode()

    def stat(self, field: str) -> dict[str, str]:
        """One field of HAProxy's statistics, by node."""
        lines = self.asks("show stat").removeprefix("# ").splitlines()
        if not lines:
            return {}
        names = lines[0].split(",")
        rows = [dict(zip(names, line.split(","), strict=False)) for line in lines[1:] if line]
        return {row["svname"]: row[field] for row in rows if row["svname"].startswith("node")}

    async def are_up(self, *nodes: int) -> None:
        """Wait until these nodes are in rotation."""
        wanted = [f"node{number}" for number in nodes]
        await self.eventually(lambda: all(self.stat("status").get(each) == "UP" for each in wanted), f"{wanted} up")

    async def is_down(self, node: int, seconds: float) -> None:
        """Wait until this node is out of rotation."""
        await self.eventually(lambda: "DOWN" in self.stat("status")[f"node{node}"], f"node {node} down", seconds)

    def logs(self) -> list[str]:
        """All lines of the nodes' logs."""
        paths = sorted((self.data / "log").glob("chatd-[1-9].log"))
        return [line for path in paths for line in path.read_text("utf-8").splitlines()]

    async def sees(self, client: JsonClient, names: set[str]) -> bool:
        """Whether these, and nobody else, are online in #all, as this client is told."""
        return set((await client.call("online", room="#all"))["online"]) == names


class ClusterTests(ClusterTestCase):
    """`twistd chatd-cluster`."""

    async def test_one_server(self) -> None:
        """Five nodes are one server: every member sees everything in one order on any node, who is online is the same
        everywhere, a kick holds at once on all, and addresses are the clients' own."""
        program = await self.cluster(5)
        for number in range(1, 6):
            await program.prints(f"^node {number} ready :{self.port + number}$")
        placed = [await self.on_node(number, f"n{number}") for number in range(1, 6)]
        for number, person in enumerate(placed, 1):
            where = await self.eventually(lambda who=person: self.sees_all(who), "all nodes to be seen")
            self.assertEqual(where["node"], number)
        through = [await self.person(self.port, f"p{number}", f"127.0.0.{10 + number}") for number in range(5)]
        people = placed + through
        for person in people:
            await person.call("join", room="#all")
        names = {person.name for person in people}
        for person in people:
            await self.eventually(lambda who=person: self.sees(who, names), f"{person.name} to see everybody")

        # One order.
        said = [
            person.start("say", room="#all", text=f"{person.name} {turn}", mid=new_mid())
            for turn in range(40)
            for person in people
        ]
        await gatherResults(said, consumeErrors=True)
        for person in people:
            await person.ping()
        heard = [[(event["seq"], event["text"]) for event in person.said("#all")] for person in people]
        self.assertEqual(heard[0], sorted(heard[0]))
        self.assertEqual({text for _, text in heard[0]}, {f"{name} {turn}" for name in names for turn in range(40)})
        self.assertEqual(len(heard[0]), 40 * len(people))
        for other in heard[1:]:
            self.assertEqual(other, heard[0])

        # Who is online.
        through[0].close()
        for person in placed:
            await self.eventually(lambda who=person: self.sees(who, names - {"p0"}), f"{person.name} to see p0 go")

        # A kick: the owner is on node 1, who is kicked on node 2, and on node 3 as well.
        kicked = placed[1]
        second = await self.on_node(3)
        await second.login(kicked.name)
        await placed[0].call("kick", room="#all", user=kicked.name, reason="spam")
        for session in (kicked, second):
            with self.assertRaises(Refused) as refused:
                await session.call("say", room="#all", text="still here?", mid=new_mid())
            self.assertEqual(refused.exception.code, "NOT_MEMBER")
        after = await placed[4].call("say", room="#all", text="gone?", mid=new_mid())
        for session in (kicked, second):
            await session.ping()
            self.assertEqual((await session.event("removed", who=kicked.name))["by"], "n1")
            self.assertNotIn(after["seq"], [event.get("seq") for event in session.events])
        for person in (placed[0], placed[2], *through[1:]):
            await person.event("removed", who=kicked.name)
            await person.event("say", seq=after["seq"])

        # A person with telnet, too.
        telnet = await self.plain(self.port, "127.0.0.99")
        telnet.send("/login n5 Correct7horse")
        await telnet.line("Welcome, n5")
        telnet.send("/whereami")
        await telnet.line(r"node [1-5] of 5")

        program.term()
        self.assertEqual(await program.end(), 0)
        logs = self.logs()
        for number in range(5):
            self.assertTrue(
                [line for line in logs if re.search(rf"user\.connect +p{number} from 127\.0\.0\.1{number} ", line)]
            )
        self.assertTrue([line for line in logs if re.search(r"user\.connect +n5 from 127\.0\.0\.99 ", line)])
        # HAProxy's checks leave no trace, and no lock ever shows.
        self.assertEqual([line for line in logs if not re.match(r"\d\d:\d\d:\d\d (user|group|join)\.", line)], [])

    async def sees_all(self, client: JsonClient) -> dict[str, Any] | None:
        """Where this client is, once its node knows of the others."""
        where = await client.call("whereami")
        return where if where["nodes"] == self.nodes else None

    async def test_death(self) -> None:
        """A node or HAProxy that is killed is started again and comes back; meanwhile newcomers are served by the
        others, none is turned away, and who was on the node is not online."""
        program = await self.cluster(3)
        one, three = await self.on_node(1, "one"), await self.on_node(3, "three")
        await one.call("join", room="#all")
        await three.call("join", room="#all")
        await self.eventually(lambda: self.sees(one, {"one", "three"}), "both to be online")

        said = len(program.lines)
        os.kill(node_pids(self.data)[3], signal.SIGKILL)
        await three.end()
        for _ in range(20):
            newcomer = await self.client(self.port)
            await newcomer.ping()
            newcomer.abort()
        await self.eventually(lambda: self.sees(one, {"one"}), "three to be offline", 5)
        await program.prints(r"^node 3 has ended \(signal 9\)", said)
        await program.prints(f"^node 3 ready :{self.port + 3}$", said)
        await self.are_up(1, 2, 3)
        await self.eventually(lambda: self.lands_on(3), "HAProxy to choose node 3 again")

        os.kill(await self.haproxy_pid(), signal.SIGKILL)
        await program.prints(r"^haproxy has ended \(signal 9\)", said)
        await self.are_up(1, 2, 3)
        newcomer = await self.client(self.port)
        await newcomer.ping()
        await one.ping()

    async def lands_on(self, node: int) -> bool:
        """Whether a newcomer is given to this node."""
        client = await self.client(self.port)
        landed: bool = (await client.call("hello", table="no"))["node"] == node
        client.abort()
        return landed

    async def haproxy_pid(self) -> int:
        """HAProxy's process."""
        info = self.asks("show info")
        match = re.search(r"^Pid: (\d+)$", info, re.M)
        assert match is not None, info
        return int(match[1])

    async def test_drain_of_a_node(self) -> None:
        """SIGTERM drains a node: every client on it is told, whatever kind it is; what was acknowledged is stored, and
        the rest once when it is sent again; the node exits 0 and is started again."""
        program = await self.cluster(2)
        writer, reader = await self.on_node(2, "writer"), await self.on_node(1, "reader")
        idle, undecided = await self.on_node(2, "idle"), await self.on_node(2)
        telnet = Client()
        await telnet.connect(self.port + 2)
        self.clients.append(telnet)
        telnet.send("PROXY TCP4 127.0.0.1 127.0.0.1 1 1\r\n/register person Correct7horse\r")
        await telnet.line("Welcome, person")
        for person in (writer, reader):
            await person.call("join", room="#all")

        mids = [new_mid() for _ in range(400)]
        answers: dict[str, int] = {}
        for mid in mids:
            said = writer.start("say", room="#all", text=mid, mid=mid)
            said.addCallbacks(lambda ok, mid=mid: answers.update({mid: ok["seq"]}), lambda _: None)
        await writer.until(lambda: len(answers) > 20, "the first answers")
        os.kill(node_pids(self.data)[2], signal.SIGTERM)
        for client in (writer, idle, telnet, undecided):
            await client.end()
        for client in (writer, idle):
            await client.event("closing")
        await telnet.line("^This server is closing; reconnect.$")
        await program.prints(r"^node 2 has ended \(exit status 0\)")

        again = await self.client(self.port)
        await again.resume_from(writer)
        for mid in mids:
            ok = await again.call("say", room="#all", text=mid, mid=mid)
            self.assertEqual(answers.setdefault(mid, ok["seq"]), ok["seq"])
        await reader.ping()
        self.assertEqual(
            [(event["text"], event["seq"]) for event in reader.said()], [(mid, answers[mid]) for mid in mids]
        )
        heard = [event["seq"] for event in writer.said() + again.said()]
        self.assertEqual(heard, [answers[mid] for mid in mids])
        await program.prints(f"^node 2 ready :{self.port + 2}$", 4)

    async def test_rolling_restart(self) -> None:
        """SIGUSR2 restarts all nodes, one after the other, while people talk: nothing is lost, doubled or out of order,
        and nobody is ever refused anything."""
        program = await self.cluster(5)
        before = node_pids(self.data)
        tally = Tally()
        rng = random.Random(5)
        talkers = [Talker(f"u{n}", lambda: [self.port], random.Random(rng.random()), tally) for n in range(8)]
        for talker in talkers:
            self.addCleanup(talker.stop)
            talker.start()
        for talker in talkers:
            await talker.enter()
            await talker.act("join", room="#all")
            await talker.barrier()
            talker.talk(["#all"], window=2, pause=0.05)
        await tally.more(100)
        program.signal(signal.SIGUSR2)
        await program.prints("^all 5 nodes are restarted$")
        await tally.more(100)
        await settle(talkers)
        for talker in talkers:
            await talker.stop()
        after = node_pids(self.data)
        self.assertEqual(sorted(after), [1, 2, 3, 4, 5])
        self.assertEqual(set(before.values()) & set(after.values()), set())
        self.assertTrue(any(talker.connections > 1 for talker in talkers))
        program.term()
        self.assertEqual(await program.end(), 0)
        self.assertEqual([str(fault) for fault in examine(self.data, talkers)][:20], [])

    async def test_end(self) -> None:
        """Ctrl-C in a terminal, which signals all that was started from it, drains in order: clients are told through
        HAProxy, all ends with 0, and the data folder is as if nothing had run."""
        port = free_ports(3)
        self.nodes, self.port = 2, port
        options = (
            "--nodes",
            "2",
            "--port",
            str(port),
            "--data",
            os.fspath(self.data),
            "--config",
            os.fspath(self.config),
        )
        program = self.run_program(needs("setsid"), *TWISTD, "chatd-cluster", *options)
        await program.prints("^front door ")
        self.assertEqual((self.data / "run" / "cluster.pid").read_text(), f"{program.pid}\n")
        people = [await self.person(port, f"p{number}") for number in range(4)]
        os.killpg(program.pid, signal.SIGINT)
        for person in people:
            await person.event("closing")
            await person.end()
        self.assertEqual(await program.end(), 0)
        self.assertEqual(program.lines[-1], "the cluster has ended")
        left = sorted(path.name for path in (self.data / "run").iterdir() if path.suffix != ".lock")
        self.assertEqual(left, ["haproxy.cfg"])

    async def test_orphans(self) -> None:
        """A cluster that is killed leaves nothing running, so that it can be started again."""
        needs("setpriv")
        program = await self.cluster(2)
        person = await self.person(self.port, "person")
        program.kill9()
        await program.end()
        await person.event("closing")
        self.assertEqual(await self.wait_for_orphans(), {})
        again = self.launch(2, self.port)
        await again.prints("^front door ")

    async def test_refusals(self) -> None:
        """What cannot work is said in a sentence, with exit status 1, and nothing is left running: a port that is
        taken, a cluster that runs already, a node that cannot start."""
        program = await self.cluster(1)
        taken = self.port
        second = self.launch(1)
        await second.prints(f"^A cluster runs on {self.data} already. To end it: make cluster-stop DATA={self.data}$")
        self.assertEqual(await second.end(), 1)
        self.assertTrue(program.running)

        self.data = self.folder / "other"
        for port, what in ((taken, "the front door"), (taken - 1, "node 1")):
            third = self.launch(1, port)
            await third.prints(f"^Port {taken}, for {what}, is taken. ")
            self.assertEqual(await third.end(), 1)

        with (self.data / "run" / "node-2.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            fifth = self.launch(2)
            await fifth.prints("^node 2: chatd cannot start: node 2 is running already$")
            await fifth.prints("^node 2 cannot start ")
            self.assertEqual(await fifth.end(), 1)
        self.assertFalse((self.data / "run" / "cluster.pid").exists())

    def test_without_haproxy(self) -> None:
        """Where HAProxy is missing, it is said how to get it."""
        self.patch(cluster.shutil, "which", lambda *_, **__: None)
        options = cluster.Options()
        options.parseOptions(["--data", os.fspath(self.data)])
        with self.assertRaises(SystemExit) as ended:
            cluster.makeService(options).setServiceParent(MultiService())
        self.assertIn("apt-get install haproxy", str(ended.exception))

    def test_mistakes(self) -> None:
        """Numbers that cannot be, a configuration with a mistake, and clear text to the world are refused."""
        self.config.write_text("[acounts]\n")
        for options, sentence in (
            (["--nodes", "0"], "--nodes is a number from 1 to 999."),
            (["--port", "65533"], "--port is a number from 1 to 65530: the nodes follow it."),
            (["--interface", "0.0.0.0"], "allow it with --insecure-plaintext"),
            (["--interface", "::"], "allow it with --insecure-plaintext"),
            (["--config", os.fspath(self.config)], "Did you mean accounts?"),
        ):
            with self.assertRaises(SystemExit) as ended:
                cluster.Options().parseOptions(options)
            self.assertIn(sentence, str(ended.exception))
        cluster.Options().parseOptions(["--interface", "::1"])
        cluster.Options().parseOptions(["--interface", "0.0.0.0", "--insecure-plaintext"])


class HandTests(ClusterTestCase):
    """etc/haproxy.cfg before nodes that were started by hand, which nobody starts again."""

    settings = (
        SETTINGS
        + """
[limits]
write_lock_seconds = 0.5
"""
    )

    async def test_rotation(self) -> None:
        """Out of rotation is, within 3 s, a node that was killed, and one that is frozen and only its kernel accepts;
        not one whose database is locked by somebody else, which answers with refusals until it heals. Who comes back
        is in again, and who was on a dead node is not online."""
        self.port = free_ports(4)
        nodes = [self.chatd(node=number, port=self.port + number, proxied=True) for number in (1, 2, 3)]
        for node in nodes:
            node.launch()
        for node in nodes:
            await node.ready()
        text = haproxy.configuration(haproxy.template(), "127.0.0.1", self.port, 3, Path(self.control.name))
        file = self.folder / "haproxy.cfg"
        file.write_text(text.replace("timeout check 4s", "timeout check 1s"))
        self.run_program(self.haproxy, "-db", "-C", os.fspath(self.control.parent), "-f", os.fspath(file.absolute()))
        await self.are_up(1, 2, 3)
        one, two, three = [await self.on_node(number, f"n{number}") for number in (1, 2, 3)]
        for person in (one, two, three):
            await person.call("join", room="#all")

        # Killed: out of rotation, and its people are not online; newcomers notice nothing.
        await nodes[1].kill9()
        await two.end()
        await self.is_down(2, 3)
        await self.eventually(lambda: self.sees(one, {"n1", "n3"}), "n2 to be offline", 5)
        for _ in range(10):
            newcomer = await self.client(self.port)
            await newcomer.ping()
            newcomer.abort()
        await nodes[1].start()
        await self.are_up(1, 2, 3)

        # Frozen: the same, and HAProxy ends its connections.
        behind = [await self.client(self.port) for _ in range(9)]
        on_three = [each for each in behind if (await each.call("hello", table="no"))["node"] == 3]
        nodes[2].stop()
        await self.is_down(3, 10)
        for each in on_three:
            await each.end()
        await self.eventually(lambda: self.sees(one, {"n1"}), "n3 to be offline", 5)
        nodes[2].cont()
        await self.are_up(1, 2, 3)
        await self.eventually(lambda: self.sees(one, {"n1", "n3"}), "n3 to be online again")
        await three.ping()

        # Locked: everybody stays connected, and hears refusals.
        with (self.data / "write.lock").open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with self.assertRaises(Refused) as refused:
                await one.call("say", room="#all", text="hi", mid=new_mid())
            self.assertEqual(refused.exception.code, "BUSY")
            await self.eventually(self.has_checked_slowly, "every node to be checked meanwhile")
            self.assertEqual(set(self.stat("status").values()), {"UP"})
        await self.eventually(lambda: self.says(one), "the database to heal")

    def has_checked_slowly(self) -> bool:
        """Whether each node's last check took as long as it waits for the lock."""
        return all(int(took or 0) >= 300 for took in self.stat("check_duration").values())

    async def says(self, client: JsonClient) -> bool:
        """Whether this client can say something."""
        try:
            await client.call("say", room="#all", text="hi again", mid=new_mid())
        except Refused:
            return False
        return True

    async def test_as_it_stands(self) -> None:
        """The file is right as it stands, for this HAProxy."""
        program = self.run_program(self.haproxy, "-c", "-f", os.fspath(ROOT / "etc" / "haproxy.cfg"))
        self.assertEqual(await program.end(), 0)
        self.assertEqual([line for line in program.lines if "WARNING" in line or "ALERT" in line], [])


class MakeTests(ClusterTestCase):
    """`make cluster` and `make cluster-stop`."""

    def make(self, *words: str) -> Program:
        """Run make, on this Python, without installing anything."""
        return self.run_program(
            *(needs("make"), "-C", os.fspath(ROOT), "--old-file=.venv/installed", f"BIN={Path(TWISTD[1]).parent}"),
            f"DATA={self.data.absolute()}",
            *words,
            CHATD_ACCOUNTS_BCRYPT_COST="4",
        )

    async def test_make(self) -> None:
        """`make cluster` starts as many as it is told where it is told; `make cluster-stop` drains it, and says so."""
        port = free_ports(3)
        program = self.make("cluster", "N=2", f"PORT={port}")
        await program.prints("^node 1 ready ")
        await program.prints(f"^front door :{port}, 2 nodes$")
        person = await self.person(port, "person")
        stop = self.make("cluster-stop")
        await person.event("closing")
        self.assertEqual(await stop.end(), 0)
        await stop.prints(r"^The cluster on .* has stopped\.$")
        self.assertEqual(await program.end(), 0)
        again = self.make("cluster-stop")
        await again.prints(r"^No cluster runs on ")
        self.assertNotEqual(await again.end(), 0)
