"""Metrics for Prometheus: requests, the engine's figures, and the process, as text."""

import platform
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, groupby
from typing import Final

from attrs import define, field
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from .. import __version__
from ..core.model import QueueTotals
from ..engine.door import Figure, FigureKind
from ..http.access_log import Line
from .exposition import Family, labels_of

__all__ = ["Metrics", "QueueMetrics"]

_METHODS: Final = {method.encode(): method for method in ("GET", "HEAD", "PUT", "POST", "DELETE")}
#: In seconds; the last ones are for long answers and for waits.
_BUCKETS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 10.0, 30.0, 60.0)


@define
class _Times:
    """Times of requests, as a histogram."""

    #: The number in each bucket; the last counts those above all buckets.
    counts: list[int] = field(factory=lambda: [0] * (len(_BUCKETS) + 1))
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        """Count a request that took so long."""
        self.counts[bisect_left(_BUCKETS, seconds)] += 1
        self.seconds += seconds

    def add_to(self, family: Family, labels: dict[str, str]) -> None:
        """Add the samples; in Prometheus's format each bucket includes all smaller ones."""
        counts = list(accumulate(self.counts))
        for bound, count in zip([*map(str, _BUCKETS), "+Inf"], counts, strict=True):
            family.add(count, labels_of({**labels, "le": bound}), "_bucket")
        family.add(counts[-1], labels_of(labels), "_count")
        family.add(self.seconds, labels_of(labels), "_sum")


class Metrics:
    """
    The metrics of one server.

    Requests are counted in plain integers, on one thread. The counters of prometheus_client take locks,
    2 microseconds a request.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        """`paths` are the known paths; all others are counted together."""
        self._paths = {path.encode(): path for path in paths}
        #: Method and route by what was sent.
        self._known = {
            (sent, path): (method, route) for path, route in self._paths.items() for sent, method in _METHODS.items()
        }
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)
        #: By method, route and status.
        self._answers: defaultdict[tuple[tuple[str, str], int], int] = defaultdict(int)
        #: By method and route: requests that are answered at once, and those that wait.
        self._prompt: defaultdict[tuple[str, str], _Times] = defaultdict(_Times)
        self._waiting: defaultdict[tuple[str, str], _Times] = defaultdict(_Times)

    def observe(self, line: Line) -> None:
        """Count a request that has ended."""
        place = self._known.get((line.sent_method, line.sent_path))
        if place is None:
            # Text from clients must not become a label: it could fill the memory.
            self._answers[("", self._paths.get(line.sent_path, "")), line.status] += 1
            return
        self._answers[place, line.status] += 1
        times = self._waiting if line.waits else self._prompt
        times[place].add(line.ms / 1000)

    def text(self, figures: Sequence[Figure], connections: int) -> bytes:
        """All metrics except those of queues, with the engine's figures; `connections` are open."""
        families = [*self._families(), _connections(connections), *_engine_families(figures)]
        return b"".join([*(family.text() for family in families), generate_latest(self._process)])

    def _families(self) -> Iterator[Family]:
        build = Family("jobengine_build_info", "gauge", "The versions of JobEngine and Python.")
        build.add(1, labels_of({"version": __version__, "python": platform.python_version()}))
        yield build
        requests = Family("jobengine_requests_total", "counter", "Requests that have ended.")
        for ((method, route), status), count in self._answers.items():
            requests.add(count, labels_of({"method": method, "route": route, "status": str(status)}))
        yield requests
        prompt = Family("jobengine_request_seconds", "histogram", "Time to the answer, of requests that do not wait.")
        waiting = Family("jobengine_waiting_request_seconds", "histogram", "Time to the answer, of requests that wait.")
        for family, times in ((prompt, self._prompt), (waiting, self._waiting)):
            for (method, route), taken in times.items():
                taken.add_to(family, {"method": method, "route": route})
            yield family


def _connections(count: int) -> Family:
    family = Family("jobengine_connections", "gauge", "Connections that are open.")
    family.add(count)
    return family


def _engine_families(figures: Sequence[Figure]) -> Iterator[Family]:
    for name, alike in groupby(figures, lambda one: one.name):
        first, *rest = alike
        suffix = "_total" if first.kind is FigureKind.COUNTER else ""
        family = Family(f"jobengine_{name}{suffix}", first.kind, first.help)
        for one in (first, *rest):
            labels = labels_of(one.labels)
            if one.kind is FigureKind.SUMMARY:
                family.add(one.count, labels, "_count")
                family.add(one.value, labels, "_sum")
            else:
                family.add(one.value, labels)
        yield family


class QueueMetrics:
    """Metrics of queues, added some at a time: there may be many thousands."""

    def __init__(self) -> None:
        self._jobs = Family("jobengine_jobs", "gauge", "Jobs by queue and state.")
        self._oldest = Family(
            "jobengine_oldest_ready_seconds", "gauge", "Age of the oldest job that can be claimed; 0 if there is none."
        )
        self._totals = {
            what: Family(f"jobengine_jobs_{what}_total", "counter", sentence) for what, sentence in _TOTALS.items()
        }

    def add(self, queues: Iterable[QueueTotals]) -> None:
        """Add some queues; takes a microsecond or two a line."""
        for one in queues:
            queue = labels_of({"queue": one.name})
            for state, count in one.counts.items():
                self._jobs.add(count, f'{queue[:-1]},state="{state}"}}')
            self._oldest.add((one.oldest_ready or 0) / 1000, queue)
            for what, family in self._totals.items():
                family.add(one.totals.get(what, 0), queue)
        for family in self._families():
            family.pack()

    def text(self) -> bytes:
        """All of it."""
        return b"".join([family.text() for family in self._families()])

    def _families(self) -> list[Family]:
        return [self._jobs, self._oldest, *self._totals.values()]


_TOTALS: Final = {
    "added": "Jobs that were added.",
    "claimed": "Claims of jobs; a job that is retried is claimed again.",
    "complete": "Jobs that were completed.",
    "failed": "Jobs that failed and have no attempt left.",
    "timed_out": "Leases that expired while the job was in progress.",
}
