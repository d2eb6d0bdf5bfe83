"""Metrics for Prometheus: what the site saw, and what the engine counts, as text."""

from collections.abc import Iterable, Iterator
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from ..engine import Stats

__all__ = ["CONTENT_TYPE", "Metrics"]

#: The text format, version 0.0.4.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_METHODS = frozenset({b"GET", b"HEAD", b"PUT", b"POST", b"DELETE"})
_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)


class _EngineCollector(Collector):
    """Shows the newest Stats that it was given."""

    def __init__(self) -> None:
        self.stats = Stats()

    def collect(self) -> Iterator[Metric]:
        stats = self.stats
        jobs = GaugeMetricFamily("jobengine_jobs", "Jobs by queue and state.", labels=["queue", "state"])
        for queue, counts in stats.jobs.items():
            for state, count in counts.items():
                jobs.add_metric([queue, state], count)
        yield jobs
        yield CounterMetricFamily("jobengine_commits", "Writes that put changes on disk.", value=stats.commits)
        yield SummaryMetricFamily(
            "jobengine_batch_records",
            "Records in a commit.",
            count_value=stats.commits,
            sum_value=stats.records,
        )
        yield CounterMetricFamily("jobengine_record_bytes", "Bytes of the records written.", value=stats.record_bytes)
        yield SummaryMetricFamily(
            "jobengine_sync_seconds", "Syncs of the file.", count_value=stats.syncs, sum_value=stats.sync_seconds
        )
        yield GaugeMetricFamily("jobengine_file_bytes", "Length of the database file.", value=stats.file_bytes)
        yield GaugeMetricFamily("jobengine_live_bytes", "About how many of them are needed.", value=stats.live_bytes)
        compactions = CounterMetricFamily("jobengine_compactions", "Compactions by outcome.", labels=["outcome"])
        compactions.add_metric(["done"], stats.compactions)
        compactions.add_metric(["given_up"], stats.compactions_given_up)
        yield compactions


class Metrics:
    """The metrics of one server."""

    def __init__(self, paths: Iterable[str]) -> None:
        """`paths` are those that the server knows; all others are counted as one."""
        self._paths = {path.encode(): path for path in paths}
        self._registry = CollectorRegistry()
        self._engine = _EngineCollector()
        self._registry.register(self._engine)
        self._requests = Counter(
            "jobengine_requests", "Requests answered.", ["method", "route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "jobengine_request_seconds", "Time to the answer.", ["route"], buckets=_BUCKETS, registry=self._registry
        )

    def observe(self, method: bytes, path: bytes, status: int, seconds: float) -> None:
        """Count an answer."""
        # What a client makes up must not become a label, or it could fill the memory.
        route = self._paths.get(path, "")
        known = method.decode() if route and method in _METHODS else ""
        self._requests_of(known, route, status).inc()
        if route:
            self._seconds_of(route).observe(seconds)

    @cache  # noqa: B019  # there is one Metrics a server, and as many entries as there are counters
    def _requests_of(self, method: str, route: str, status: int) -> Counter:
        return self._requests.labels(method, route, status)

    @cache  # noqa: B019  # as above
    def _seconds_of(self, route: str) -> Histogram:
        return self._seconds.labels(route)

    def text(self, stats: Stats) -> bytes:
        """Everything, in the text format."""
        self._engine.stats = stats
        return generate_latest(self._registry)
