"""Metrics for Prometheus: what the site saw, and what the engine counts, as text."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, groupby

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

from ..core.model import State
from ..engine.door import Figure, FigureKind
from ..http.access_log import Line

__all__ = ["CONTENT_TYPE", "Metrics"]

#: The text format, version 0.0.4.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_METHODS = {method.encode(): method for method in ("GET", "HEAD", "PUT", "POST", "DELETE")}
_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)


_FAMILIES = {
    FigureKind.COUNTER: CounterMetricFamily,
    FigureKind.GAUGE: GaugeMetricFamily,
}


class _EngineCollector(Collector):
    """Shows the newest numbers that it was given."""

    def __init__(self) -> None:
        self.jobs: Mapping[str, Mapping[State, int]] = {}
        self.figures: Sequence[Figure] = ()

    def collect(self) -> Iterator[Metric]:
        jobs = GaugeMetricFamily("jobengine_jobs", "Jobs by queue and state.", labels=["queue", "state"])
        for queue, counts in self.jobs.items():
            for state, count in counts.items():
                jobs.add_metric([queue, state], count)
        yield jobs
        for name, figures in groupby(self.figures, lambda one: one.name):
            yield _family(f"jobengine_{name}", list(figures))


def _family(name: str, figures: Sequence[Figure]) -> Metric:
    """Figures of one name, as Prometheus has them."""
    first = figures[0]
    labels = list(first.labels)
    if first.kind is FigureKind.SUMMARY:
        summary = SummaryMetricFamily(name, first.help, labels=labels)
        for one in figures:
            summary.add_metric(list(one.labels.values()), one.count, one.value)
        return summary
    family = _FAMILIES[first.kind](name, first.help, labels=labels)
    for one in figures:
        family.add_metric(list(one.labels.values()), one.value)
    return family


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

    def text(self, jobs: Mapping[str, Mapping[State, int]], figures: Sequence[Figure]) -> bytes:
        """Everything, in the text format, with the jobs by queue and state and what the engine says of itself."""
        self._engine.jobs, self._engine.figures = jobs, figures
        return generate_latest(self._registry)
