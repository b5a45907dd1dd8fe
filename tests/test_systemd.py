"""systemd: the units that we ship, what is told to it, and sockets that it holds."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from chatd.systemd import FIRST, inherited, notify, watched_seconds
from tests.live import ROOT, TWISTD, JsonClient, LiveTestCase, Program, free_ports, needs, new_mid
from tests.manager import Manager, NoManager

UNITS = ROOT / "etc" / "systemd"


class UnitTests(SynchronousTestCase):
    """etc/systemd."""

    def units(self) -> Path:
        """The units of instance 1, with this checkout's twistd."""
        folder = Path(self.mktemp())
        folder.mkdir()
        for unit in UNITS.iterdir():
            text = unit.read_text().replace("/opt/chatd/bin", os.path.dirname(TWISTD[1]))
            (folder / unit.name.replace("@", "@1")).write_text(text)
        return folder

    def verify(self, folder: Path) -> str:
        """What `systemd-analyze verify` has to say."""
        program = needs("systemd-analyze")
        paths = sorted(map(str, folder.iterdir()))
        ran = subprocess.run([program, "verify", "--man=no", *paths], capture_output=True, text=True, check=False)
        return ran.stdout + ran.stderr + ("" if ran.returncode == 0 else f"status {ran.returncode}")

    def test_verified(self) -> None:
        """systemd finds nothing wrong with them, and would if there was."""
        folder = self.units()
        self.assertEqual(self.verify(folder), "")
        service = folder / "chatd@1.service"
        service.write_text(service.read_text().replace("ProtectHome", "ProtectHme"))
        self.assertIn("Unknown key", self.verify(folder))

    def test_the_command_is_right(self) -> None:
        """twistd understands what the service starts: its options exist."""
        text = (UNITS / "chatd@.service").read_text()
        line = next(line for line in text.splitlines() if line.startswith("ExecStart="))
        words = shlex.split(line.removeprefix("ExecStart=").replace("%i", "1"))
        data, config = Path(self.mktemp()).absolute(), Path(self.mktemp()).absolute()
        config.write_text("")
        words[0] = TWISTD[1]
        words[words.index("--config") + 1] = str(config)
        environment = os.environ | {"CHATD_DATA": str(data), "CHATD_LISTEN": "tcp:8000:interface=127.0.0.1"}
        ran = subprocess.run(
            [sys.executable, *words, "--check"], capture_output=True, text=True, env=environment, check=False, cwd=ROOT
        )
        self.assertIn("The configuration is right.", ran.stdout, ran.stderr)

    def test_the_backup_is_made(self) -> None:
        """What the nightly service runs makes a verified backup, and the next one beside it."""
        text = (UNITS / "chatd-backup.service").read_text()
        line = next(line for line in text.splitlines() if line.startswith("ExecStart="))
        base = Path(self.mktemp()).absolute()
        base.mkdir()
        places = {"/opt/chatd/bin": os.path.dirname(TWISTD[1]), "/var/lib/chatd": f"{base}/data", "%%": "%"}
        places |= {"/var/backups/chatd": str(base)}
        line = line.removeprefix("ExecStart=")
        for place, ours in places.items():
            line = line.replace(place, ours)
        chatctl = [sys.executable, "-m", "chatd.ctl.main", "--data", f"{base}/data"]
        subprocess.run([*chatctl, "initdb"], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        ran = subprocess.run(shlex.split(line), capture_output=True, text=True, check=False, cwd=ROOT)
        self.assertRegex(ran.stdout, r"\.tar\.gz restores to what it was made of: 0 users", ran.stderr)
        self.assertEqual(len(list(base.glob("*.tar.gz"))), 1)

    def test_shipped(self) -> None:
        """Every unit is installed with the package."""
        setup = (ROOT / "setup.cfg").read_text()
        for unit in UNITS.iterdir():
            self.assertIn(f"etc/systemd/{unit.name}\n", setup)


class NotifyTests(SynchronousTestCase):
    """What is told to systemd, and read from it."""

    def test_told(self) -> None:
        """One datagram, a word a line."""
        path = Path(self.mktemp()).with_name("n")
        path.parent.mkdir(parents=True, exist_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            name = f"@chatd-test-{os.getpid()}"
            listener.bind(f"\0{name[1:]}")
            self.assertTrue(notify("READY=1", "STATUS=well", environ={"NOTIFY_SOCKET": name}))
            self.assertEqual(listener.recv(100), b"READY=1\nSTATUS=well")

    def test_nobody_is_there(self) -> None:
        """Without systemd, or when it has gone, nothing happens."""
        self.assertFalse(notify("READY=1", environ={}))
        self.assertFalse(notify("READY=1", environ={"NOTIFY_SOCKET": "/nowhere/at/all"}))

    def test_watched(self) -> None:
        """It is told twice in the time that systemd waits; not where somebody else is watched."""
        self.assertEqual(watched_seconds({"WATCHDOG_USEC": "60000000"}), 30.0)
        self.assertEqual(watched_seconds({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "7"}, 7), 30.0)
        self.assertEqual(watched_seconds({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "7"}, 8), 0.0)
        self.assertEqual([watched_seconds(each) for each in ({}, {"WATCHDOG_USEC": "soon"})], [0.0, 0.0])

    def test_no_socket_is_held(self) -> None:
        """A descriptor that is none, that is no socket, or that nobody listens on, is no place to be reached at."""
        with open(os.devnull) as file, socket.socket() as quiet, socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen()
            for fd in (1_000_000, file.fileno(), quiet.fileno()):
                self.assertIsNone(inherited(fd - FIRST))
            self.assertEqual(inherited(listening.fileno() - FIRST), (socket.AF_INET, listening.getsockname()))


class ActivationTests(LiveTestCase):
    """The test is systemd: it holds the socket, starts chatd on it, and hears when it is ready."""

    def setUp(self) -> None:
        super().setUp()
        self.held = socket.socket()
        self.addCleanup(self.held.close)
        self.port = free_ports()
        self.held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.held.bind(("127.0.0.1", self.port))
        self.held.listen(64)
        self.told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.addCleanup(self.told.close)
        self.address = f"@chatd-{self.mark}"
        self.told.bind(f"\0{self.address[1:]}")

    def start(self, *words: str, listen: str = "systemd:domain=INET:index=0") -> Program:
        """Start chatd as systemd does."""
        environment = {
            "NOTIFY_SOCKET": self.address,
            "WATCHDOG_USEC": "200000",
            "LISTEN_FDS": "1",
            "LISTEN_FDNAMES": "chatd",
            "CHATD_LISTEN": listen,
        }
        argv = [*TWISTD, "chatd", "--data", str(self.data), "--config", str(self.config), "--node", "1", *words]
        return self.run_program(
            "/bin/sh", "-c", f"LISTEN_PID=$$ exec {shlex.join(argv)}", held=[self.held.fileno()], **environment
        )

    async def hears(self, word: str) -> None:
        """Wait until systemd has been told this."""

        def told() -> bool:
            try:
                return any(line.startswith(word) for line in self.told.recv(4096).decode().split("\n"))
            except BlockingIOError:
                return False

        await self.eventually(told, word)

    async def test_restart_without_a_refusal(self) -> None:
        """It says when it serves, that it lives, and that it stops. Who connects while it is restarted is not refused
        but waits, and misses nothing.
        """
        chatd = self.start()
        await chatd.prints("^chatd ready on ")
        await self.hears("READY=1")
        await self.hears("WATCHDOG=1")
        alice, bob = await self.person(self.port, "alice"), await self.person(self.port, "bob")
        await alice.call("create", room="#ops", people=["bob"])
        await alice.call("say", room="#ops", text="before", mid=new_mid())
        await bob.event("say", text="before")
        chatd.term()
        await self.hears("STOPPING=1")
        self.assertEqual(await chatd.end(), 0)
        waiting = JsonClient()
        self.clients.append(waiting)
        await waiting.connect(self.port)
        resumed = waiting.start("hello", token=bob.token, since=bob.seq, table="no")
        again = self.start()
        await self.hears("READY=1")
        self.assertEqual((await resumed)["name"], "bob")
        back = await self.client(self.port)
        await back.resume_from(alice)
        await back.call("say", room="#ops", text="after", mid=new_mid())
        await waiting.event("say", text="after")
        self.assertEqual([event["text"] for event in waiting.said()], ["after"])
        again.term()
        await again.end()

    async def test_as_it_is_shipped(self) -> None:
        """What the service has it listen on: a held socket behind a proxy, whose header says who somebody is."""
        text = (UNITS / "chatd@.service").read_text()
        listen = next(line for line in text.splitlines() if line.startswith("Environment=CHATD_LISTEN="))
        chatd = self.start(listen=listen.partition("CHATD_LISTEN=")[2])
        await self.hears("READY=1")
        client = await self.plain(self.port)
        client.send("PROXY TCP4 203.0.113.7 127.0.0.1 1000 8001\r\n/register bob Correct7horse")
        await client.line("^Welcome, bob")
        log = self.data / "log" / "chatd-1.log"
        self.assertIn("bob from 203.0.113.7", log.read_text())
        chatd.term()
        self.assertEqual(await chatd.end(), 0)

    async def test_clear_text_on_a_held_socket(self) -> None:
        """A socket that others can reach is not served in clear text unless the operator says so; TLS is."""
        self.held.close()
        self.held = socket.socket()
        self.addCleanup(self.held.close)
        self.held.bind(("0.0.0.0", 0))
        self.held.listen(8)
        refused = self.start()
        self.assertNotEqual(await refused.end(), 0)
        self.assertRegex(refused.told(), "would serve in clear text beyond this machine")
        served = self.start(listen="ssl:systemd=0")
        await self.hears("READY=1")
        served.term()
        self.assertEqual(await served.end(), 0)


class ManagerTests(LiveTestCase):
    """The units as they are shipped, under a systemd of the test's own (tests/manager.py)."""

    async def boot(self) -> None:
        """Start it; the test is skipped where that cannot be, and says why."""
        try:
            self.manager = Manager(self.folder / "manager")
            self.addCleanup(self.manager.close)
            await self.eventually(self.manager.pid, "its first process")
        except NoManager as error:
            raise SkipTest(f"no systemd of our own here: {error}") from None

        async def runs() -> bool:
            try:
                program = self.run_program(*self.manager.argv("systemctl", "is-system-running"))
            except NoManager as error:
                raise SkipTest(f"no systemd of our own here: {error}") from None
            await program.end()
            return "running" in program.lines

        await self.eventually(runs, "systemd")

    async def types(self, command: str) -> list[str]:
        """Root types this where systemd runs; what it says."""
        program = self.run_program(*self.manager.argv("/bin/sh", "-c", f"cd /opt/chatd/src; {command}"))
        self.assertEqual((await program.end(), command), (0, command), program.told())
        return program.lines

    async def shown(self, name: str) -> str:
        """What systemd says of the service."""
        return (await self.types(f"systemctl show -p {name} --value chatd@1"))[0]

    async def person(self, port: int, name: str, source: str = "127.0.0.1") -> JsonClient:
        """Somebody who comes through the proxy, by the socket that systemd holds."""
        client = await self.through(port, source)
        await client.register(name)
        return client

    async def through(self, port: int, source: str = "127.0.0.1") -> JsonClient:
        """A connection as HAProxy makes it."""
        client = await self.client(port)
        client.send(f"PROXY TCP4 {source} 127.0.0.1 1000 {port}\r")
        return client

    async def test_the_life_of_a_service(self) -> None:
        """It is installed as docs/operations.md says and serves once systemctl comes back, with no rights. Who connects
        while it is restarted waits; it is reloaded; killed, it is started again; a backup is made; it is stopped.
        """
        await self.boot()
        port = free_ports()
        text = (ROOT / "docs" / "operations.md").read_text("utf-8")
        for command in text.partition("as root:\n\n")[2].partition("\n\n")[0].splitlines():
            if "systemctl" not in command:
                await self.types(command)
        await self.types(
            "mkdir -p /etc/systemd/system/chatd@.socket.d && printf '[Socket]\\nListenStream=\\nListenStream="
            f"127.0.0.1:{port}\\n' > /etc/systemd/system/chatd@.socket.d/port.conf && systemctl daemon-reload"
        )
        await self.types("systemctl enable --now chatd@1.socket chatd@1.service")
        self.assertEqual(await self.shown("StatusText"), f"chatd ready on 127.0.0.1:{port}   data /var/lib/chatd")
        process = await self.shown("MainPID")
        status = await self.types(f"cat /proc/{process}/status")
        for line in ("NoNewPrivs:\t1", "Seccomp:\t2", "CapBnd:\t0000000000000000"):
            self.assertIn(line, status)
        self.assertEqual((await self.types(f"stat -c '%U %a' /proc/{process} /var/lib/chatd"))[1], "chatd 700")

        alice = await self.person(port, "alice")
        await alice.call("create", room="#ops")
        restart = self.run_program(*self.manager.argv("systemctl", "restart", "chatd@1"))
        await alice.end()
        back = await self.through(port)
        await back.resume_from(alice)
        self.assertEqual(await restart.end(), 0)
        self.assertNotEqual(await self.shown("MainPID"), process)
        await self.types("systemctl reload chatd@1")
        log = "/var/lib/chatd/log/chatd-1.log"

        async def reloaded() -> bool:
            return any("config.reload" in line for line in await self.types(f"cat {log}"))

        await self.eventually(reloaded, "it to read its configuration again")
        await self.types("systemctl kill -s KILL --kill-who=main chatd@1")
        await back.end()
        again = await self.through(port)
        await again.resume_from(back)
        self.assertEqual(await self.shown("NRestarts"), "1")

        await self.types("install -d -m 700 -o chatd -g chatd /var/backups/chatd")
        await self.types("systemctl start chatd-backup.service")
        self.assertEqual(len(await self.types("ls /var/backups/chatd/*.tar.gz")), 1)
        status = await self.types("runuser -u chatd -- /opt/chatd/bin/chatctl --data /var/lib/chatd status")
        self.assertRegex(status[0], "^Running: 1 node")
        await self.types("systemctl stop chatd.target")

        async def stopped() -> bool:
            return await self.shown("ActiveState") == "inactive"

        await self.eventually(stopped, "it to stop with its target")
        self.assertEqual(await self.shown("ExecMainStatus"), "0")
        await again.end()
