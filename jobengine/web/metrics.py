"""Metrics for Prometheus: what the site saw, and what the engine counts, as text."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import accumulate

from attrs import define, field
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from ..engine.door import Stats
from ..http.access_log import Line

__all__ = ["CONTENT_TYPE", "Metrics"]

#: The text format, version 0.0.4.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_METHODS = {method.encode(): method for method in ("GET", "HEAD", "PUT", "POST", "DELETE")}
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


@define
class _Times:
    """How long the requests of one route took."""

    #: How many were in each bucket, and in the last those that were in none.
    counts: list[int] = field(factory=lambda: [0] * (len(_BUCKETS) + 1))
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(_BUCKETS, seconds)] += 1
        self.seconds += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """As Prometheus has it: each bucket with all that are smaller."""
        bounds = [*map(floatToGoString, _BUCKETS), "+Inf"]
        return list(zip(bounds, accumulate(self.counts), strict=True))


class _RequestCollector(Collector):
    """
    Counts requests in plain numbers, which are shown when somebody asks.

    All of it happens on one thread. The library's own counters take locks for others, 2 microseconds a request.
    """

    def __init__(self) -> None:
        #: By method, route and status.
        self.answers: defaultdict[tuple[str, str, int], int] = defaultdict(int)
        #: By route.
        self.times: defaultdict[str, _Times] = defaultdict(_Times)

    def collect(self) -> Iterator[Metric]:
        names = ["method", "route", "status"]
        requests = CounterMetricFamily("jobengine_requests", "Requests answered.", labels=names)
        for (method, route, status), count in self.answers.items():
            requests.add_metric([method, route, str(status)], count)
        yield requests
        seconds = HistogramMetricFamily("jobengine_request_seconds", "Time to the answer.", labels=["route"])
        for route, times in self.times.items():
            seconds.add_metric([route], times.buckets(), times.seconds)
        yield seconds


class Metrics:
    """The metrics of one server."""

    def __init__(self, paths: Iterable[str]) -> None:
        """`paths` are those that the server knows; all others are counted as one."""
        self._paths = {path.encode(): path for path in paths}
        self._registry = CollectorRegistry()
        self._engine = _EngineCollector()
        self._registry.register(self._engine)
        self._requests = _RequestCollector()
        self._registry.register(self._requests)

    def observe(self, line: Line) -> None:
        """Count a request that has ended."""
        # What a client makes up must not become a label, or it could fill the memory.
        route = self._paths.get(line.sent_path, "")
        known = _METHODS.get(line.sent_method, "") if route else ""
        self._requests.answers[known, route, line.status] += 1
        if route:
            self._requests.times[route].add(line.ms / 1000)

    def text(self, stats: Stats) -> bytes:
        """Everything, in the text format."""
        self._engine.stats = stats
        return generate_latest(self._registry)
