"""`twistd chatd-cluster`: several chatd on one data folder, HAProxy in front, kept running and ended in order.

The rule: nothing here is needed to serve. Nodes are ordinary `twistd chatd`, HAProxy reads an ordinary file, and both
could be started by hand; this only starts them, starts again what dies, and ends them so that nobody is cut off.

Not on twisted.runner.procmon, which ends everything at once by SIGTERM: HAProxy would cut its clients off before the
nodes have told them, and a node that is not ready yet looks like one that is.
"""

from __future__ import annotations

import atexit
import errno
import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import ConnectError
from twisted.logger import ILogObserver, Logger
from twisted.python import usage

from chatd import clock
from chatd.audit import log_to
from chatd.child import Child, apart
from chatd.config import Config, ConfigError, load
from chatd.haproxy import LOOPBACK, ask, configuration, quoted, template
from chatd.listen import is_clear_text_off_loopback
from chatd.tls import BadCertificate, Certificate, own_certificate

KNOCK: Final = 0.05
"""Seconds between two looks whether HAProxy serves."""
MARGIN: Final = 5.0
"""Seconds that a program may take to end beyond what it promises; then it is killed."""
_PREFIX: Final = re.compile(r"^\[\w+\]\s+\(\d+\) : ")
_log = Logger()


EXAMPLES: Final = """
Several chatd on one data folder are one server; HAProxy in front of them spreads the connections.

  twistd -n chatd-cluster                       five nodes on 8001 to 8005, people connect to 127.0.0.1:8000
  twistd -n chatd-cluster -n 2 -p 9000 -d DIR   two nodes on 9001 and 9002, people connect to 127.0.0.1:9000
  kill -USR2 $(cat DIR/run/cluster.pid)         restart the nodes one after the other, while the others serve

What dies is started again. SIGTERM and Ctrl-C drain: clients are told, nothing acknowledged is lost, exit status 0.
SIGHUP has the nodes read their configuration again.
"""


class Options(usage.Options):
    """The command line. Everything about the nodes themselves is in chatd.toml."""

    synopsis = "[--nodes N] [--port PORT] [--data DIR] [--config chatd.toml]"
    optParameters: ClassVar = [
        ["nodes", "n", 5, "How many instances.", int],
        ["port", "p", 8000, "Where people connect; the nodes take the ports after it.", int],
        ["interface", "i", LOOPBACK, "The address where people connect."],
        ["data", "d", None, "Folder of the database and of all else that is kept.  [default: chatd-data]"],
        ["config", "c", None, "Configuration file (TOML) of the nodes."],
        ["certificate", None, None, "TLS: a PEM file with certificate, chain and key; made if it is not there."],
    ]
    optFlags: ClassVar = [["insecure-plaintext", None, "Listen in clear text on addresses other than loopback."]]

    def getUsage(self, width: int | None = None) -> str:
        """The options, and how they are used."""
        return f"{super().getUsage(width)}{EXAMPLES}"

    def postOptions(self) -> None:
        """Read the configuration, so that a mistake stops twistd before anything starts."""
        try:
            self.loaded = load(self["config"], os.environ, {"data": self["data"]})
        except ConfigError as error:
            raise SystemExit(str(error)) from None
        if not 1 <= self["nodes"] <= 999:
            raise SystemExit("--nodes is a number from 1 to 999.")
        if not 1 <= self["port"] <= 65535 - self["nodes"]:
            raise SystemExit(f"--port is a number from 1 to {65535 - self['nodes']}: the nodes follow it.")
        clear = is_clear_text_off_loopback(f"tcp:{self['port']}:interface=" + self["interface"].replace(":", r"\:"))
        if clear and not (self["certificate"] or self["insecure-plaintext"] or self.loaded.insecure_plaintext):
            raise SystemExit(
                f"{self['interface']} would be served in clear text beyond this machine."
                " Give --certificate, or allow it with --insecure-plaintext."
            )
        parent: Any = self.parent
        if parent is not None and parent.get("pidfile") == "twistd.pid":
            parent["pidfile"] = None


class ClusterService(Service):
    """The nodes, and the front door."""

    def __init__(self, options: Options, reactor: Any) -> None:
        self._reactor = reactor
        self._config: Config = options.loaded
        self._config_file: str | None = options["config"]
        self._count: int = options["nodes"]
        self._port: int = options["port"]
        self._interface: str = options["interface"]
        self._certificate = Path(options["certificate"]).absolute() if options["certificate"] else None
        self._run = self._config.data / "run"
        self._control = self._run / "haproxy.sock"
        self._nodes: list[Child] = []
        self._door: Child
        self._open = False
        self._stopping = False
        self._rolling = False
        limits = self._config.limits
        self._patience = limits.drain_seconds + limits.write_lock_seconds + MARGIN

    def setServiceParent(self, parent: Any) -> None:
        """Become part of the application. What cannot work at all ends it here, while there is still a terminal."""
        super().setServiceParent(parent)  # type: ignore[no-untyped-call]
        haproxy = shutil.which("haproxy", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
        if haproxy is None:
            raise SystemExit("A cluster needs HAProxy in front; install it first: apt-get install haproxy")
        data = self._config.data
        try:
            for folder in (data, self._run, data / "log"):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise SystemExit(f"Cannot make the data folder {data}: {error.strerror}.") from None
        self._claim()
        self._look_at_ports()
        self._configure(haproxy)
        # The nodes believe this HAProxy, whomever else the configuration trusts.
        env = {**os.environ, "CHATD_TRUSTED_PROXIES": LOOPBACK}
        for number in range(1, self._count + 1):
            self._nodes.append(Child(self._reactor, self, f"node {number}", apart(self._node(number), "TERM"), env))
        door = apart([haproxy, "-db", "-C", os.fspath(self._run), "-f", "haproxy.cfg"], "USR1")
        self._door = Child(self._reactor, self, "haproxy", door, os.environ)
        # Our own lines are for the console; what twistd and Twisted say goes to the file.
        parent.setComponent(ILogObserver, log_to(self._config, 0, console=False))

    def startService(self) -> None:
        """Start as soon as the reactor runs."""
        super().startService()  # type: ignore[no-untyped-call]
        (self._run / "cluster.pid").write_text(f"{os.getpid()}\n")
        self._reactor.callWhenRunning(self._start)

    def _claim(self) -> None:
        """One cluster on one data folder: the lock dies with the process."""
        self._lock = os.open(self._run / "cluster.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            data = self._config.data
            raise SystemExit(f"A cluster runs on {data} already. To end it: make cluster-stop DATA={data}") from None

    def _release(self) -> None:
        for name in ("cluster.pid", "haproxy.sock"):
            (self._run / name).unlink(missing_ok=True)
        os.close(self._lock)

    def _look_at_ports(self) -> None:
        doors = [(self._interface, self._port, "the front door")]
        doors += [(LOOPBACK, self._port + number, f"node {number}") for number in range(1, self._count + 1)]
        for host, port, what in doors:
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((host, port))
                except OSError as error:
                    if error.errno == errno.EADDRINUSE:
                        hint = "Choose another front door with --port; the nodes take the ports after it."
                        raise SystemExit(f"Port {port}, for {what}, is taken. {hint}") from None
                    raise SystemExit(f"Port {port} on {host}, for {what}: {error.strerror}.") from None

    def _configure(self, haproxy: str) -> None:
        # Its own folder is HAProxy's: a socket's whole path may be longer than the kernel takes.
        control = Path(self._control.name)
        certificate = self._certificate
        if certificate is not None:
            try:
                own_certificate(certificate, [self._config.server.name])
                self._pin = Certificate(certificate, certificate).pin
            except BadCertificate as error:
                raise SystemExit(str(error)) from None
        text = configuration(template(), self._interface, self._port, self._count, control, certificate)
        (self._run / "haproxy.cfg").write_text(text)
        command = [haproxy, "-c", "-C", os.fspath(self._run), "-f", "haproxy.cfg"]
        check = subprocess.run(command, capture_output=True, text=True, check=False)
        if check.returncode:
            raise SystemExit(f"HAProxy does not take its configuration:\n{check.stderr.strip()}")

    def _node(self, number: int) -> list[str]:
        config = ["--config", self._config_file] if self._config_file else []
        return [
            *(sys.executable, os.path.abspath(sys.argv[0]), "--nodaemon", "--pidfile=", "chatd"),
            *("--data", os.fspath(self._config.data), *config, "--node", str(number), "--quiet"),
            *("--listen", f"haproxy:tcp:{self._port + number}:interface={LOOPBACK}"),
        ]

    # -- running ------------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        for number, do in (
            (signal.SIGTERM, self._stop),
            (signal.SIGINT, self._stop),
            (signal.SIGHUP, self._reload),
            (signal.SIGUSR2, self._roll),
        ):
            signal.signal(number, lambda *_, do=do: self._reactor.callFromThread(do))
        ready = gatherResults([node.start() for node in self._nodes])
        ready.addCallback(lambda _: self._open_door())

    def _open_door(self) -> None:
        if self._stopping:
            return

        def is_open(_: object) -> None:
            self._open = True
            if self._certificate is not None:
                self._tell(f"TLS certificate, SHA-256: {self._pin}")
            self._tell(f"front door :{self._port}, {self._count} node{'s' if self._count > 1 else ''}")

        self._door.start().addCallback(is_open)
        self._knock()

    def _knock(self) -> None:
        """HAProxy says nothing when it serves: it answers."""
        door = self._door
        if not door.is_ready and not self._stopping:
            self._ask("show info").addCallbacks(
                lambda _: door.serves() if door.running else None,
                lambda _: self._reactor.callLater(KNOCK, self._knock),
            )

    def _ask(self, commands: str) -> Deferred[None]:
        """Have HAProxy do these commands; fires when it has."""
        return ask(self._reactor, self._control, commands)

    def heard(self, child: Child, line: str) -> None:
        """A child has printed a line: tell who watches, except what HAProxy says of its everyday life."""
        if child is self._door and child.is_ready:
            _log.info("{line}", line=f"haproxy: {_PREFIX.sub('', line)}")
        elif line.startswith("chatd ready on "):
            self._tell(f"{child.name} ready :{self._port + self._nodes.index(child) + 1}")
            child.serves()
        elif line:
            self._tell(f"{child.name}: {line}")

    def died(self, child: Child, how: str) -> bool:
        """A child has ended unasked: it starts again, unless it never served yet, which would be no better again."""
        if self._stopping:
            return False
        if not self._open:
            self._tell(f"{child.name} cannot start ({how}); more in {self._config.data / 'log'}")
            self._stop()
            # twistd itself exits 0 whenever its reactor was stopped.
            atexit.register(os._exit, 1)
            return False
        self._tell(f"{child.name} has ended ({how}) and is started again")
        if child is self._door:
            self._reactor.callLater(KNOCK, self._knock)
        return True

    def _tell(self, line: str) -> None:
        """Say it to who watches, and to the log."""
        _log.info("{line}", line=line)
        print(line, file=sys.__stdout__, flush=True)

    # -- asked to -----------------------------------------------------------------------------------------------------

    def _reload(self) -> None:
        for node in self._nodes:
            node.signal(signal.SIGHUP)
        if self._certificate is not None:
            try:
                self._pin = Certificate(self._certificate, self._certificate).pin
            except BadCertificate as error:
                self._tell(f"The certificate is not changed: {error}")
                return
            Deferred.fromCoroutine(self._change_certificate(os.fspath(self._certificate))).addErrback(
                lambda failure: _log.failure("changing the certificate", failure)
            )

    async def _change_certificate(self, path: str) -> None:
        """HAProxy takes the new one for new connections; nobody is dropped."""
        pem = "".join(line for line in Path(path).read_text("ascii").splitlines(True) if line.strip())
        await self._tell_door(f"set ssl cert {quoted(path)} <<\n{pem}")
        await self._tell_door(f"commit ssl cert {quoted(path)}")
        self._tell(f"TLS certificate, SHA-256: {self._pin}")

    def _roll(self) -> None:
        if not self._rolling and self._open:
            self._rolling = True
            rolled = Deferred.fromCoroutine(self._restart_nodes())
            rolled.addErrback(lambda failure: _log.failure("restarting", failure)).addBoth(self._rolled)

    def _rolled(self, _: object) -> None:
        """It is over, however it ended: one may be asked for again."""
        self._rolling = False

    async def _restart_nodes(self) -> None:
        """One node after the other, each ready before the next goes. One that does not come back ends it: the others
        serve on."""
        for number, node in enumerate(self._nodes, 1):
            name = f"chatd/node{number}"
            # Its checks would fail while it drains, and HAProxy cut off those that it still serves.
            await self._tell_door(f"set server {name} state drain; disable health {name}")
            await node.stop(signal.SIGTERM, self._patience)
            if self._stopping:
                return
            await node.start()
            await self._tell_door(f"enable health {name}; set server {name} state ready")
        self._tell(f"all {self._count} nodes are restarted")

    async def _tell_door(self, commands: str) -> None:
        """As `_ask`; where HAProxy is being started again itself it has forgotten everything anyway."""
        try:
            await self._ask(commands)
        except ConnectError:
            _log.warn("HAProxy does not answer: {commands}", commands=commands.partition("<<")[0])  # no key in a log

    def _stop(self) -> None:
        if not self._stopping:
            self._stopping = True
            self._reactor.stop()

    def stopService(self) -> Deferred[None]:
        """Drain: HAProxy accepts nobody, the nodes tell everybody, and all end."""
        self._stopping = True
        return Deferred.fromCoroutine(self._drain())

    async def _drain(self) -> None:
        door = self._door.stop(signal.SIGUSR1, self._patience + MARGIN)
        await gatherResults([node.stop(signal.SIGTERM, self._patience) for node in self._nodes])
        await door
        self._release()
        self._tell("the cluster has ended")


def makeService(options: Options) -> ClusterService:
    """What twistd asks for."""
    from twisted.internet import reactor

    clock.never_set(reactor)
    return ClusterService(options, reactor)
