"""What is seen from outside: /healthz and /metrics, and the logs, in which nobody's secret stands."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from twisted.logger import Logger, LogLevel, LogPublisher
from twisted.python.failure import Failure
from twisted.python.logfile import LogFile
from twisted.trial.unittest import SynchronousTestCase

from chatd import audit
from chatd.audit import log_to, where
from chatd.config import Config, Log
from chatd.errors import Refusal
from chatd.meter import Histogram
from chatd.metrics import Figures, health
from chatd.store import sqlite
from tests.live import PASSWORD, LiveTestCase, free_ports, new_mid
from tests.memory import ABROAD, Server


class HistogramTests(SynchronousTestCase):
    """Counting as Prometheus does."""

    def test_buckets(self) -> None:
        """A bucket holds what is not above its bound, and all below it."""
        histogram = Histogram((1.0, 10.0))
        for value in (0.5, 1.0, 2.0, 10.0, 11.0):
            histogram.observe(value)
        self.assertEqual(histogram.buckets(), [("1.0", 2.0), ("10.0", 4.0), ("+Inf", 5.0)])
        self.assertEqual(histogram.total, 24.5)


class FigureTests(SynchronousTestCase):
    """What is counted, read from a server in memory."""

    def setUp(self) -> None:
        self.server = Server(Path(self.mktemp()))
        self.addCleanup(self.server.stop)
        self.registry = CollectorRegistry()
        self.registry.register(Figures(self.server.factory, lambda: 3))

    def figures(self) -> dict[str, float]:
        """All of them by name and labels."""
        text = generate_latest(self.registry).decode()
        return {
            sample.name + "".join(f" {value}" for value in sample.labels.values()): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def test_all(self) -> None:
        """Sessions by dialect and state, rooms, commits, deliveries, queues, refusals by code, times."""
        before = self.figures()
        alice = self.server.program("alice")
        bob = self.server.person("bob")
        self.server.connect()
        alice.call(do="create", room="#ops", people=["bob"])
        alice.call(do="say", room="#ops", text="hi", mid=new_mid())
        alice.call(do="say", room="#nowhere", text="hi", mid=new_mid())
        bob.type("/nonsense")
        self.server.advance(0.1)
        now = self.figures()
        self.assertEqual(
            {name: value for name, value in now.items() if name.startswith("chatd_sessions")},
            {"chatd_sessions json in": 1, "chatd_sessions plain in": 1, "chatd_sessions none undecided": 1},
        )
        self.assertEqual(now["chatd_rooms"], 1)
        self.assertEqual(now["chatd_refusals_total NO_GROUP"], 1)
        self.assertEqual(now["chatd_refusals_total UNKNOWN_CMD"], 1)
        self.assertEqual(now["chatd_passwords_queue"], 3)
        self.assertEqual(now["chatd_position"], self.server.feed.position)
        for name in ("chatd_commits_total", "chatd_calls_total", "chatd_events_total", "chatd_deliveries_total"):
            self.assertGreater(now[name], before[name], name)
        self.assertEqual(now["chatd_batch_calls_count"], now["chatd_commits_total"])
        self.assertEqual(now["chatd_commit_seconds_count"], now["chatd_commits_total"])
        self.assertGreater(now["chatd_fanout_seconds_count"], before["chatd_fanout_seconds_count"])
        self.assertGreater(now["chatd_reactor_lag_seconds_count"], before["chatd_reactor_lag_seconds_count"])
        for name in ("chatd_writer_queue", "chatd_waiting_sessions"):
            self.assertEqual(now[name], 0, name)

    def test_lag(self) -> None:
        """A reactor that stood still for two seconds was two seconds late."""
        before = self.server.factory.lag.total
        self.server.advance(2.1)
        self.assertGreaterEqual(self.server.factory.lag.total - before, 1.9)

    def test_nobody_is_named(self) -> None:
        """No name, address, room or text is among the figures."""
        self.server.program("canaryname", ABROAD).call(do="create", room="#canaryroom")
        text = generate_latest(self.registry).decode()
        self.assertNotRegex(text, f"canary|{re.escape(ABROAD)}")

    def test_healthy(self) -> None:
        """The way through the writer and back by the log."""
        answers: list[str] = []
        health(self.server.reactor, self.server.db, self.server.feed.when, 3.0).addCallback(answers.append)
        self.server.advance(0)
        self.assertEqual(answers, [""])

    def test_the_writer_does_not_answer(self) -> None:
        """After the longest wait for the lock, and a second, that is said; what comes later changes nothing."""
        answers: list[str] = []
        self.server.writer.hold()
        health(self.server.reactor, self.server.db, self.server.feed.when, 3.0).addCallback(answers.append)
        self.server.advance(3.9)
        self.assertEqual(answers, [])
        self.server.advance(0.2)
        self.assertEqual(answers, ["The writer does not answer."])
        self.server.writer.release()
        self.server.advance(0)
        self.assertEqual(len(answers), 1)

    def test_cannot_be_written(self) -> None:
        """A lock that another holds, or a full disk."""
        other = sqlite.WriteLock(self.server.data / "write.lock", 0.0)
        answers: list[str] = []
        with other:
            health(self.server.reactor, self.server.db, self.server.feed.when, 3.0).addCallback(answers.append)
            self.server.advance(0)
        other.close()
        self.assertEqual(answers, ["The database cannot be written."])


class LineTests(SynchronousTestCase):
    """The log's two forms."""

    def log(self, *, as_json: bool, size: int = 10_000_000, files: int = 3) -> tuple[Logger, Path, LogPublisher]:
        """A logger, and the folder that it writes into."""
        data = Path(self.mktemp())
        (data / "log").mkdir(parents=True)

        def opened(*args: Any, **options: Any) -> LogFile:
            file = LogFile(*args, **options)
            self.addCleanup(file.close)
            return file

        self.patch(audit, "LogFile", opened)
        publisher = log_to(Config(data=data, log=Log(json=as_json, size=size, files=files)), 1, console=False)
        return Logger(namespace="chatd.test", observer=publisher), data / "log", publisher

    def test_json(self) -> None:
        """Time, level, our fields and the text, and nothing of Twisted's; whatever was typed stays on one line."""
        logger, folder, _ = self.log(as_json=True)
        logger.info("{line}", what="user.connect", name="b\nob", count=3, thing=object(), line="a line")
        (line,) = (folder / "chatd-1.log").read_text().splitlines()
        fields = json.loads(line)
        self.assertRegex(fields.pop("time"), r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertEqual(
            fields, {"level": "info", "what": "user.connect", "name": "b\nob", "count": 3, "line": "a line"}
        )

    def test_failures(self) -> None:
        """Where it broke and as what, in both forms; words that may quote somebody are left out, others are not."""
        for as_json in (False, True):
            logger, folder, _ = self.log(as_json=as_json)
            for error in (ValueError("canary"), KeyError("canary"), Refusal("NO_USER", name="canary", near="")):
                try:
                    raise error
                except Exception:
                    logger.failure("it broke, reference {ref}", ref="7f3a")
            try:
                try:
                    int("canary")
                except ValueError as cause:
                    raise OSError(28, "No space left on device") from cause
            except OSError:
                logger.failure("and again")
            text = (folder / "chatd-1.log").read_text()
            self.assertNotIn("canary", text)
            for word in ("it broke, reference 7f3a", "test_metrics.py", "KeyError", "Refusal", "No space left"):
                self.assertIn(word, text)

    def test_failure_without_a_place(self) -> None:
        """A failure that was never raised has none."""
        self.assertEqual(where(Failure(OSError("x"))), "OSError: x\n")

    def test_rotated(self) -> None:
        """A file that is full is put aside, as many are kept as configured, and all are for their user only."""
        logger, folder, _ = self.log(as_json=False, size=1_000, files=2)
        for _ in range(100):
            logger.info("{line}", line="x" * 80)
        names = sorted(path.name for path in folder.iterdir())
        self.assertEqual(names, ["chatd-1.log", "chatd-1.log.1", "chatd-1.log.2"])
        self.assertEqual({path.stat().st_mode & 0o777 for path in folder.iterdir()}, {0o600})

    def test_quiet_libraries(self) -> None:
        """What Twisted tells of its everyday life is not logged; its warnings are."""
        _, folder, publisher = self.log(as_json=True)
        for level in (LogLevel.info, LogLevel.warn):
            Logger(namespace="twisted.web", observer=publisher).emit(level, "canary {how}", how=level.name)
        (line,) = (folder / "chatd-1.log").read_text().splitlines()
        self.assertEqual(json.loads(line)["line"], "canary warn")


SETTINGS = """
[accounts]
bcrypt_cost = 4
[irc]
password = "Canary7irc-door"
oper_name = "root"
oper_password = "Canary7oper"
[metrics]
listen = "tcp:%d:interface=127.0.0.1"
"""
CANARY = "anary7"


class LiveTests(LiveTestCase):
    """A real twistd, looked at from outside."""

    async def page(self, path: str) -> tuple[int, str]:
        """A page of its HTTP endpoint."""
        browser = await self.plain(self.web)
        browser.send(f"GET /{path} HTTP/1.0\r\n\r")
        await browser.end()
        return int(browser.lines[0].split()[1]), "\n".join(browser.lines[browser.lines.index("") + 1 :])

    async def test_pages_and_logs(self) -> None:
        """/healthz and /metrics answer; and whatever secret is said, typed wrong, or put where it does not belong, by
        any dialect, is in none of the logs and in nothing that is printed."""
        port, self.web = free_ports(), free_ports()
        self.config.write_text(SETTINGS % self.web)
        listen = f"ssl:{free_ports()}:interface=127.0.0.1"
        node = await self.chatd("--log-json", "--listen", listen, port=port).start()
        self.assertEqual(await self.page("healthz"), (200, "ok"))

        secret = f"C{CANARY}password"
        alice = await self.client(port)
        token = (await alice.call("register", name="alice", password=secret))["token"]
        bob = await self.person(port, "bob")
        await alice.call("create", room="#ops", people=["bob"])
        await alice.call("say", room="#ops", text=f"C{CANARY}text", mid=new_mid())
        await alice.call("topic", room="#ops", text=f"C{CANARY}topic")
        await alice.call("away", text=f"C{CANARY}away")
        await alice.call("search", room="#ops", words=f"C{CANARY}words")
        for fields in (
            {"do": "login", "name": "alice", "password": f"C{CANARY}wrong"},
            {"do": "login", "name": f"C{CANARY}name", "password": secret},
            {"do": "hello", "token": f"{token[:-1]}x C{CANARY}"},
            {"do": f"C{CANARY}verb"},
            {"do": "say", "room": {"C" + CANARY: 1}, "text": [f"C{CANARY}"]},
        ):
            stranger = await self.client(port)
            stranger.send(json.dumps({"id": 1, **fields}))
            await stranger.line('"error"')
        for lines in (
            [f"/login alice C{CANARY}one-line", "/quit"],
            ["l", "alice", f"C{CANARY}asked", "/quit"],
            [f"C{CANARY}at-the-door", "/quit"],
            [f"/nonsense C{CANARY}", f"/login C{CANARY} C{CANARY} C{CANARY}", "/quit"],
            [f"PASS C{CANARY}irc", "NICK carol", "USER c 0 * c", f"PRIVMSG nickserv :C{CANARY}", "QUIT"],
            ["CAP REQ sasl", "AUTHENTICATE PLAIN", f"AUTHENTICATE C{CANARY}", "QUIT"],
            ["\x00\x1bC" + CANARY, "/quit"],
            [f"/login bob {PASSWORD}", f"/oper root C{CANARY}", "/oper root Canary7oper", "/quit"],
        ):
            person = await self.plain(port)
            for line in lines:
                person.send(line)
            await person.end()
        await bob.call("password", old=PASSWORD, new=secret)
        code, text = await self.page("metrics")
        self.assertEqual(code, 200)
        self.assertRegex(text, r'chatd_refusals_total\{code="BAD_LOGIN"\} [1-9]')
        self.assertIn('chatd_sessions{dialect="json",state="in"} 2.0', text)
        self.assertIn("process_resident_memory_bytes", text)
        self.assertEqual((await self.page("elsewhere"))[0], 404)
        await node.term()

        key = (self.data / "tls.pem").read_text().split("-----")[6].split()
        logs = [path.read_text() for path in (self.data / "log").iterdir()]
        for hidden in (CANARY, token, bob.token, key[0]):
            for log in (*logs, "\n".join(node.program.lines)):
                self.assertNotIn(hidden, log)
        lines = [json.loads(line) for log in logs for line in log.splitlines()]
        self.assertLessEqual(
            {"user.register", "group.create", "group.topic", "user.password", "user.operator", "login.refused"},
            {line.get("what") for line in lines},
        )
        for line in lines:
            self.assertNotIn("log_format", line)
            self.assertIn("time", line)
