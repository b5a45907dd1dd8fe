"""What can be seen from outside: `/healthz` and `/metrics` (Prometheus) on an HTTP endpoint of their own.

The rule: a figure is read when it is asked for, from what exists anyway. Nothing is counted here, and nothing that is
shown is anybody's: no name, no address, no text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

if TYPE_CHECKING:
    from chatd.factory import ChatFactory
    from chatd.meter import Histogram
    from chatd.store.database import Database

TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
MARGIN: Final = 1.0
"""Seconds that a health check waits beyond the longest wait for the writer's lock."""


class Figures(Collector):
    """What Prometheus is told."""

    def __init__(self, factory: ChatFactory, passwords_waiting: Callable[[], int]) -> None:
        self._factory = factory
        self._passwords_waiting = passwords_waiting

    def collect(self) -> Iterator[Metric]:
        """Read everything now."""
        factory = self._factory
        instance = factory.instance
        db, feed = instance.db, instance.feed
        sessions = Counter(
            (protocol.session.shape.partition(" ")[0] or "none", protocol.session.state.value)
            for protocol in factory.connections
        )
        family = GaugeMetricFamily(
            "chatd_sessions", "Connections, by dialect and where they are in their life.", labels=["dialect", "state"]
        )
        for labels, count in sorted(sessions.items()):
            family.add_metric(labels, count)
        yield family
        refused = CounterMetricFamily("chatd_refusals", "Calls and connections refused, by code.", labels=["code"])
        for code, count in sorted(self._refusals().items()):
            refused.add_metric([code], count)
        yield refused
        meter = db.meter
        for name, about, value in (
            ("chatd_commits", "Transactions committed.", meter.commits),
            ("chatd_calls", "Calls that went through the writer.", meter.calls),
            ("chatd_events", "Events read back from commits.", meter.events),
            ("chatd_deliveries", "Events handed to sessions.", feed.delivered),
        ):
            yield CounterMetricFamily(name, about, value=value)
        for name, about, value in (
            ("chatd_rooms", "Rooms that a session here hears live.", len(feed.routing)),
            ("chatd_position", "The place in the log up to which all is delivered here.", feed.position),
            ("chatd_writer_queue", "Calls that wait for the next commit.", db.backlog),
            ("chatd_waiting_sessions", "Sessions with lines that are not begun yet.", len(instance.waiting)),
            ("chatd_passwords_queue", "Passwords that wait for their thread.", self._passwords_waiting()),
        ):
            yield GaugeMetricFamily(name, about, value=value)
        for name, about, histogram in (
            ("chatd_batch_calls", "Calls that shared a commit.", meter.batch),
            ("chatd_commit_seconds", "Time of a commit, waiting for the lock included.", meter.took),
            ("chatd_fanout_seconds", "Time to render and hand out what a commit brought.", feed.fanout),
            ("chatd_reactor_lag_seconds", "How late the reactor was, ten times a second.", factory.lag),
        ):
            yield _histogram(name, about, histogram)

    def _refusals(self) -> Counter[str]:
        audit: Any = self._factory.instance.audit
        refusals: Counter[str] = audit.refusals
        return refusals


def _histogram(name: str, about: str, histogram: Histogram) -> HistogramMetricFamily:
    return HistogramMetricFamily(name, about, buckets=histogram.buckets(), sum_value=histogram.total)


class _Metrics(Resource):
    isLeaf = True

    def __init__(self, figures: Figures) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._registry.register(figures)
        ProcessCollector(registry=self._registry)

    def render_GET(self, request: Request) -> bytes:
        request.setHeader("content-type", TEXT)
        return generate_latest(self._registry)


class _Health(Resource):
    isLeaf = True

    def __init__(self, check: Callable[[], Deferred[str]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._check = check

    def render_GET(self, request: Any) -> int:
        gone: list[object] = []
        request.notifyFinish().addErrback(gone.append)

        def answer(trouble: str) -> None:
            if not gone:
                request.setHeader("content-type", "text/plain; charset=utf-8")
                request.setResponseCode(503 if trouble else 200)
                request.write(f"{trouble or 'ok'}\n".encode())
                request.finish()

        self._check().addCallback(answer)
        return NOT_DONE_YET


class _Site(Site):
    noisy = False

    def log(self, request: Any) -> None:
        """Nothing: a line for every scrape says nothing."""


def site(figures: Figures, check: Callable[[], Deferred[str]]) -> Site:
    """The two pages. `check` tells what is wrong, "" for nothing."""
    root: Any = Resource()
    root.putChild(b"metrics", _Metrics(figures))
    root.putChild(b"healthz", _Health(check))
    return _Site(root)  # type: ignore[no-untyped-call]


def health(
    reactor: Any, db: Database, delivered: Callable[[int, Callable[[], None]], None], seconds: float
) -> Deferred[str]:
    """Whether the database can be written, read and followed: through the writer's queue and back by the log. What is
    wrong, "" for nothing; after so many seconds that there is no answer.

    @param delivered: `Feed.when`.
    """
    answer: Deferred[str] = Deferred()

    def tell(what: str) -> None:
        if not answer.called:
            answer.callback(what)

    def failed(failure: Failure) -> None:
        tell("The database cannot be written.")

    db.write(lambda tx: tx.last_seq()).addCallbacks(lambda seq: delivered(seq, lambda: tell("")), failed)
    late = reactor.callLater(seconds + MARGIN, tell, "The writer does not answer.")

    def over(what: str) -> str:
        if late.active():
            late.cancel()
        return what

    return answer.addCallback(over)
