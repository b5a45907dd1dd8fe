"""`twistd chatd`: the service that puts all parts together.

The rule: this is the only file that knows everything; nothing imports it.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import sqlite3
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NoReturn

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, inlineCallbacks, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import ILogObserver, Logger
from twisted.python.failure import Failure

from chatd import __version__, clock, commands, systemd  # noqa: F401  (the table fills)
from chatd.audit import Audit, log_to
from chatd.blobs import FOLDER, Blobs
from chatd.commands import account
from chatd.commands import guests as guest_commands
from chatd.config import ConfigError
from chatd.ctl.listen import Control
from chatd.errors import Refusal
from chatd.factory import ChatFactory
from chatd.feed import Feed
from chatd.instance import Instance
from chatd.listen import Files, server_endpoint
from chatd.options import Options, settings_of
from chatd.peers import Node, NodeTaken, Peers
from chatd.protocol import choose, is_in
from chatd.reactor import bound_turns
from chatd.retention import Sweeper
from chatd.slow import PasswordThread
from chatd.store.database import Committed, Database
from chatd.store.migrate import TooNew, guests, last_moment, last_seq, migrate
from chatd.threads import Threads
from chatd.tls import OWN, BadCertificate, Certificate, own_certificate
from chatd.transfers import Transfers
from chatd.watching import Watching

_log = Logger()

SPARE_FILES: Final = 128
"""Open files that are kept for the database, the log, files on their way and the other instances."""
TIDY: Final = 3600.0
"""Seconds between two looks at logins: those that are connected are used, those that were not for long end."""
SWEEP_GUESTS: Final = 20.0
"""Seconds between two looks for guests who are left over."""
SWEEP_FILES: Final = 60.0
"""Seconds between two looks for files whose time is over; at every so many-th the disk is looked through, too."""
SWEEP_DISK: Final = 60
FILE_THREADS: Final = 4
FILE_NICE: Final = 5
"""How far the file threads stand back behind the reactor's and the writer's (nice): measured on two busy cores, a
message's median while a file comes went from 1.3 ms to 0.7, as without files, at the same bytes a second."""
SWITCH_INTERVAL: Final = 0.00001
"""Seconds. The writer's thread gives the interpreter lock up at each statement, and beside a busy reactor waits this
long to get it back: measured, Python's 5 ms make commits ten times slower. It has to be shorter than what lies between
two system calls of the reactor: each gives the lock up, too, for so short a time that who is woken by it comes too
late, and waits anew."""
UNHURRIED: Final = 0.002
"""Seconds for which, while a commit is under way, what need not be done at once is left: the commit is over sooner."""


def now_ms() -> int:
    """The time of day in ms."""
    return time.time_ns() // 1_000_000


class FileThread(threading.Thread):
    """A thread on which files are read and written."""

    def run(self) -> None:
        """Stand back, and work."""
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), FILE_NICE)
        super().run()


class ChatService(Service):
    """One instance of chatd."""

    def __init__(self, options: Options, reactor: Any) -> None:
        self._options = options
        self._config = options.loaded
        self._reactor = reactor
        self._ports: list[Any] = []
        self._metrics_port: Any = None
        self._certificates: dict[Files, Certificate] = {}
        self._sweeping = LoopingCall(self._sweep)
        self._alive = LoopingCall(systemd.notify, "WATCHDOG=1")
        self._alive.clock = reactor
        self._sweeping.clock = reactor
        self._tidying = LoopingCall(self._tidy)
        self._tidying.clock = reactor
        self._sweeping_files = LoopingCall(self._sweep_files)
        self._sweeping_files.clock = reactor
        self._looks = 0
        self._files = Threads("files", FILE_THREADS, FileThread)
        self._passwords = PasswordThread(reactor, options.loaded.limits.passwords_waiting)
        self._stopping = False

    def setServiceParent(self, parent: Any) -> None:
        """Take a node number, and have the application log to our file unless twistd was told where to log."""
        super().setServiceParent(parent)  # type: ignore[no-untyped-call]
        try:
            self._node = Node(self._config.data / "run", self._config.node)
            if self._options.logs:
                observer = log_to(self._config, self._node.number, console=self._options.console)
                parent.setComponent(ILogObserver, observer)
        except (NodeTaken, OSError) as error:
            raise SystemExit(f"chatd cannot start: {error}") from None

    def startService(self) -> None:
        """Open the database, listen, and say so."""
        super().startService()  # type: ignore[no-untyped-call]
        try:
            self._start()
        except (TooNew, sqlite3.Error, OSError, CannotListenError) as error:
            self._give_up(f"chatd cannot start: {error}")

    def _give_up(self, why: str) -> NoReturn:
        """Say why, also where the log goes to its file only, and end."""
        if hasattr(self, "db"):
            self.db.close()
            self._passwords.stop()
        if not self._options.console:
            print(why, file=sys.__stderr__, flush=True)
        raise SystemExit(why) from None

    def _start(self) -> None:
        sys.setswitchinterval(SWITCH_INTERVAL)
        turns = bound_turns(self._reactor, is_in, lambda: self.db.committing)
        # A shell's usual 1024 open files would be as many people.
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        places = most - SPARE_FILES
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        config = self._config
        data = config.data
        migrate(data)
        self.feed = Feed(config.limits.ring_bytes)
        self._calendar = clock.Calendar(now_ms, last_moment(data))
        self.db = Database(
            data,
            durability="normal" if config.durability == "normal" else "full",
            node=self._node.number,
            clock=now_ms,
            position=lambda: self.feed.position,
            mail=lambda: self.feed.boxes.state(),
            committed=self._committed,
            reactor=self._reactor,
            batch=config.limits.batch_calls,
            lock_seconds=config.limits.write_lock_seconds,
            steady=self._calendar.now,
            soon=lambda do: self._reactor.callLater(0, do),
        )
        self.feed.start(self.db, last_seq(data))
        self.feed.routing.guests.update(guests(data))
        run, node = data / "run", self._node.number
        watching = Watching(self._reactor, self.db, self.feed, config.limits, run, node)
        self.peers = Peers(self._reactor, self.db, self.feed, run, node, config.limits.cursor_seconds, watching)
        audit = Audit(addresses=config.log.addresses, room=self.feed.routing.room)
        self._audit = audit
        self.feed.observers += [audit.happened, watching.happened]
        blobs = Blobs(data / FOLDER, durable=config.durability == "full", reserve=config.limits.disk_reserve_bytes)
        self.transfers = Transfers(
            self.db,
            blobs,
            lambda do, *args: deferToThreadPool(self._reactor, self._files, do, *args),  # type: ignore[arg-type]
            lambda: instance.settings.limits,
            audit,
            self._reactor.seconds,
        )
        instance = Instance(
            db=self.db,
            feed=self.feed,
            settings=settings_of(config),
            presence=self.peers,
            watching=watching,
            audit=audit,
            transfers=self.transfers,
            slowly=self._passwords.run,
            later=lambda do: self._reactor.callLater(0, do),
            unhurried=lambda do: self._reactor.callLater(UNHURRIED if self.db.committing else 0, do),
            turn=turns,
            dialects=choose,
        )
        self.factory = ChatFactory(instance, self._reactor, places)
        self.sweeper = Sweeper(
            self._reactor,
            self.db,
            bounds=lambda: instance.settings.keep,
            step=lambda: instance.settings.limits.retention_events,
            days=lambda: instance.settings.limits.envelope_days,
        )
        self.control = Control(self._reactor, self.db, data, self._node.number, audit, self._facts)
        self._listen()  # nobody is heard before the reactor runs
        if config.metrics.listen:
            self._show_metrics(config.metrics.listen.replace("{node}", str(self._node.number)))
        self.peers.start()
        self.control.start()
        self.db.start()  # behind all that may fail: threads that run keep the process
        self._passwords.start()
        self._files.start()
        self.sweeper.start()
        self.factory.start()
        self._sweeping.start(SWEEP_GUESTS, now=False)
        self._sweeping_files.start(SWEEP_FILES)
        self._tidying.start(TIDY, now=False)
        self._reactor.callWhenRunning(self._ready)

    def _listen(self) -> None:
        for description in self._config.listen:
            self._ports.append(self._open(description, self.factory))

    def _show_metrics(self, description: str) -> None:
        try:
            from chatd import metrics
        except ImportError:
            self._give_up('chatd cannot start: metrics.listen needs prometheus-client: pip install "chatd[metrics]"')

        def check() -> Deferred[str]:
            if self._stopping:
                return succeed("This server is closing.")
            return metrics.health(self._reactor, self.db, self.feed.when, self._config.limits.write_lock_seconds)

        figures = metrics.Figures(self.factory, lambda: len(self._passwords))
        self._metrics_port = self._open(description, metrics.site(figures, check))

    def _open(self, description: str, factory: Any) -> Any:
        """The port on which this endpoint listens."""
        try:
            endpoint = server_endpoint(
                self._reactor,
                description,
                self._config.trusted_proxies,
                self._config.limits.proxy_header_seconds,
                self._certificate,
            )
        except (ValueError, BadCertificate) as error:
            self._give_up(f"chatd cannot listen on {description}: {error}")
        failures: list[Failure] = []
        ports: list[Any] = []
        endpoint.listen(factory).addCallbacks(ports.append, failures.append)
        if failures:
            self._give_up(f"chatd cannot listen on {description}: {failures[0].getErrorMessage()}")
        return ports[0]

    def _certificate(self, files: Files) -> Certificate:
        """What these files hold; they are read once for all endpoints that name them."""
        if files not in self._certificates:
            key = files.key or self._config.data / OWN
            if files.key is None:
                own_certificate(key, [self._config.server.name])
            self._certificates[files] = Certificate(key, files.certificate or key, files.chain)
        return self._certificates[files]

    def _ready(self) -> None:
        """Listening, and running. twistd would end by the signal that stopped it; a drained instance exits 0."""
        for number, do in ((signal.SIGTERM, self._stop), (signal.SIGINT, self._stop), (signal.SIGHUP, self._reload)):
            signal.signal(number, lambda *_, do=do: self._reactor.callFromThread(do))
        gc.collect()
        gc.freeze()
        # What is made here is nearly all freed by its count; a collection walks the ring and every session for nothing.
        gc.set_threshold(2_500, 2, 2_000)
        for pin in dict.fromkeys(each.pin for each in self._certificates.values()):
            print(f"TLS certificate, SHA-256: {pin}", file=sys.__stdout__)
        greeting = self._greeting()
        print(greeting, file=sys.__stdout__, flush=True)
        if systemd.notify("READY=1", f"STATUS={greeting}") and (seconds := systemd.watched_seconds()):
            self._alive.start(seconds)

    def _stop(self) -> None:
        """End; to be asked again while it drains changes nothing."""
        if not self._stopping:
            self._stopping = True
            self._reactor.stop()

    def _greeting(self) -> str:
        where = []
        for port in self._ports:
            host = port.getHost()
            where.append(f"{host.host}:{host.port}" if hasattr(host, "port") else os.fsdecode(host.name))
        line = f"chatd ready on {', '.join(where)}   data {_shown(self._config.data)}"
        first = self._ports[0].getHost()
        if self._config.listen[0].startswith("tcp:"):
            line += f"   telnet {first.host} {first.port}"
            chat = Path(sys.argv[0]).with_name("chat")
            if chat.exists():
                line += f", or {_shown(chat)}"
        return line

    def _committed(self, committed: Committed) -> None:
        self.feed.commit(committed)
        if committed.origins or committed.mail.upto > committed.mail.after:
            self.peers.wake()

    def _facts(self) -> dict[str, Any]:
        """What `chatctl status` is told of this instance."""
        connections = self.factory.connections
        return {
            "connections": len(connections),
            "sessions": sum(bool(protocol.session.account) for protocol in connections),
            "position": self.feed.position,
            "version": __version__,
        }

    def _tidy(self) -> Deferred[None]:
        """A login that is connected is in use; one that was not for too long is over."""
        if doubts := self._calendar.doubts:
            _log.warn("The clock has leapt by {hours} h: nothing ends by it for a day", hours=doubts // 3_600_000)
        logins = [protocol.session.login for protocol in self.factory.connections if protocol.session.login]
        days = self.factory.instance.settings.limits.session_days
        return self.db.write(lambda tx: account.tidy_logins(tx, logins, days)).addErrback(lambda failure: None)

    def _sweep(self) -> Deferred[None]:
        """See out the guests whose instance has died. That there are any may come with another configuration."""
        if not self.factory.instance.settings.guests:
            return succeed(None)
        return self.db.write(guest_commands.sweep).addErrback(lambda failure: None)

    def _sweep_files(self) -> Deferred[None]:
        """See out what nobody wants to keep."""
        self._looks += 1
        return Deferred.fromCoroutine(self.transfers.sweep_files(all_of_them=self._looks % SWEEP_DISK == 1)).addErrback(
            lambda failure: None if failure.check(Refusal) else _log.failure("sweeping files", failure)
        )

    def _reload(self) -> None:
        """Read the configuration again; what can change while running, changes."""
        try:
            self._config = self._options.read()
        except ConfigError as error:
            print(f"The configuration is not read again: {error}", flush=True)
            self._audit.reloaded("refused")
            return
        self.factory.reload(settings_of(self._config))
        self._audit.reloaded("done")
        for certificate in self._certificates.values():
            before = certificate.pin
            try:
                certificate.load()
            except BadCertificate as error:
                print(f"The certificate is not changed: {error}", flush=True)
                continue
            if certificate.pin != before:
                print(f"TLS certificate, SHA-256: {certificate.pin}", flush=True)

    @inlineCallbacks
    def stopService(self) -> Any:
        """Drain: accept nobody, work off what was accepted, tell everybody, lose nothing."""
        super().stopService()  # type: ignore[no-untyped-call]
        systemd.notify("STOPPING=1", "STATUS=draining")
        for sweeping in (self._alive, self._sweeping, self._tidying, self._sweeping_files):
            if sweeping.running:
                sweeping.stop()
        yield gatherResults([maybeDeferred(port.stopListening) for port in self._ports])
        self._passwords.refuse()
        self.control.stop()
        self.sweeper.stop()
        yield self.factory.drain()
        yield self.transfers.stop()
        yield self.peers.stop()
        yield self.db.close()
        self._passwords.stop()
        self._files.stop()
        if self._metrics_port is not None:
            yield maybeDeferred(self._metrics_port.stopListening)
        self._node.release()


def _shown(path: Path) -> str:
    """A path as short as it can be said from here."""
    try:
        inside = path.absolute().relative_to(here := Path.cwd())
    except ValueError:
        return str(path)
    if here == here.parent:  # a service stands at the root of everything
        return str(path)
    return f"./{inside}" if path.name != "chat" else str(inside)


def makeService(options: Options) -> ChatService:
    """What twistd asks for."""
    from twisted.internet import reactor

    clock.never_set(reactor)
    return ChatService(options, reactor)
