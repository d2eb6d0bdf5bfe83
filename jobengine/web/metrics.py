"""Metrics for Prometheus: requests, the engine's measurements, queues and the process, as text (format 0.0.4)."""

import platform
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import accumulate, groupby, takewhile
from typing import Final, TypeVar

from attrs import define, field
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from .. import __version__
from ..core import commands as c
from ..core.durations import EXPORTED, cumulated
from ..core.errors import QueueNotFound
from ..core.model import State
from ..core.stats import FailureCounts, GroupReport, QueueTotals, Spread
from ..engine.door import Door, Figure, FigureKind, Unavailable
from ..http.access_log import Line

A = TypeVar("A")

_METHODS: Final = {method.encode(): method for method in ("GET", "HEAD", "PUT", "POST", "DELETE")}
#: The upper bounds of the buckets in seconds; the last bounds are for long answers and for waits.
_BUCKETS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 10.0, 30.0, 60.0)
_BUCKETS_MS: Final = tuple([bound * 1000 for bound in _BUCKETS])
#: Seconds to wait for an answer of the engine, and to read groups and failures: connecting to a database may take 10,
#: but by then Prometheus has given up.
_PATIENCE: Final = 5
#: The most groups that are shown of one queue.
_GROUPS: Final = 100
#: About the most groups that are shown of all queues together.
_ALL_GROUPS: Final = 10_000
#: Prometheus's text format; see https://prometheus.io/docs/instrumenting/exposition_formats.
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\n": "\\n", '"': '\\"'})


def labels_of(labels: Mapping[str, str]) -> str:
    """Labels in the form that follows a name, with escapes; an empty text without labels."""
    if not labels:
        return ""
    return "{" + ",".join([f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items()]) + "}"


class Family:
    """The samples of one metric, which must be adjacent."""

    def __init__(self, name: str, kind: str, sentence: str) -> None:
        """`kind` is counter, gauge, summary or histogram; `sentence` is its description, in one line."""
        self.name = name
        self._lines = [f"# HELP {name} {sentence}", f"# TYPE {name} {kind}"]
        self._packed: list[bytes] = []

    def add(self, value: float, labels: str = "", suffix: str = "") -> None:
        """Add a sample; `labels` comes from `labels_of`, and `suffix` follows the name."""
        self._lines.append(f"{self.name}{suffix}{labels} {value}")

    def pack(self) -> None:
        """Encode the samples added since the last call: a million at once would take long."""
        lines, self._lines = self._lines, []
        self._packed.append(("\n".join([*lines, ""])).encode())

    def text(self) -> bytes:
        """All samples of this metric, encoded."""
        self.pack()
        return b"".join(self._packed)


@define
class _Times:
    """A histogram of request times."""

    #: The number in each bucket; the last one counts times above all bounds.
    counts: list[int] = field(factory=lambda: [0] * (len(_BUCKETS) + 1))
    ms: float = 0.0

    def add_to(self, family: Family, labels: dict[str, str]) -> None:
        """Add the samples; in Prometheus's format each bucket includes all smaller ones."""
        counts = list(accumulate(self.counts))
        for bound, count in zip([*map(str, _BUCKETS), "+Inf"], counts, strict=True):
            family.add(count, labels_of({**labels, "le": bound}), "_bucket")
        family.add(counts[-1], labels_of(labels), "_count")
        family.add(self.ms / 1000, labels_of(labels), "_sum")


@define
class _Place:
    """The requests with one method to one route; an unknown method or route is an empty text."""

    method: str
    route: str
    #: The number of answers by status.
    answers: defaultdict[int, int] = field(factory=lambda: defaultdict(int))
    #: Times of requests with an immediate answer, and of those that wait.
    prompt: _Times = field(factory=_Times)
    waiting: _Times = field(factory=_Times)

    def labels(self, **more: str) -> dict[str, str]:
        """The labels for method and route, followed by `more`."""
        return {"method": self.method, "route": self.route, **more}


class Metrics:
    """
    The metrics of one server.

    Requests are counted in plain integers, on one thread. The counters of prometheus_client take locks,
    2 microseconds a request.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        """`paths` are the known paths; all others are counted together."""
        known = {path.encode(): path for path in paths}
        #: The counters of known routes, by method and path as sent.
        self._places = {
            (sent, path): _Place(method, route) for path, route in known.items() for sent, method in _METHODS.items()
        }
        #: The counters of unknown methods, by path, and the counter of unknown paths.
        self._other_methods = {path: _Place("", route) for path, route in known.items()}
        self._others = _Place("", "")
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)

    def observe(self, line: Line) -> None:
        """Count a request that has ended."""
        place = self._places.get((line.sent_method, line.sent_path))
        if place is None:
            # Text from clients must not become a label: it could fill the memory.
            self._other_methods.get(line.sent_path, self._others).answers[line.status] += 1
            return
        place.answers[line.status] += 1
        times = place.waiting if line.waits else place.prompt
        times.counts[bisect_left(_BUCKETS_MS, line.ms)] += 1
        times.ms += line.ms

    def text(self, figures: Sequence[Figure], connections: int) -> bytes:
        """All metrics except those of queues; `figures` are the engine's, `connections` the number of open ones."""
        families = [*self._families(), _connections(connections), *_engine_families(figures)]
        return b"".join([*(family.text() for family in families), generate_latest(self._process)])

    def _families(self) -> Iterator[Family]:
        build = Family("jobengine_build_info", "gauge", "The versions of JobEngine and Python.")
        build.add(1, labels_of({"version": __version__, "python": platform.python_version()}))
        yield build
        requests = Family("jobengine_requests_total", "counter", "Requests that have ended.")
        for place in (*self._places.values(), *self._other_methods.values(), self._others):
            for status, count in place.answers.items():
                requests.add(count, labels_of(place.labels(status=str(status))))
        yield requests
        prompt = Family("jobengine_request_seconds", "histogram", "Time to the answer, of requests that do not wait.")
        waiting = Family("jobengine_waiting_request_seconds", "histogram", "Time to the answer, of requests that wait.")
        for place in self._places.values():
            for family, times in ((prompt, place.prompt), (waiting, place.waiting)):
                if any(times.counts):
                    times.add_to(family, place.labels())
        yield prompt
        yield waiting


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
        self._retrying = Family(
            "jobengine_jobs_retrying", "gauge", "Queued jobs whose last attempt failed or timed out."
        )
        self._held = Family(
            "jobengine_jobs_held", "gauge", "Queued jobs that limits, rates, holds or the order of groups hold back."
        )
        self._awaiting = Family(
            "jobengine_jobs_waiting", "gauge", "Queued jobs that wait for other jobs or for a batch."
        )
        self._groups = Family("jobengine_group_jobs", "gauge", "Jobs by group and state, for the longest groups.")
        self._wanted = Family(
            "jobengine_workers_wanted", "gauge", "Workers that would let no job wait longer than the queue's target."
        )
        self._oldest = Family(
            "jobengine_oldest_ready_seconds", "gauge", "Seconds since the oldest claimable job was added; 0 if none."
        )
        self._waiting = Family(
            "jobengine_workers_waiting", "gauge", "Claims that wait for jobs at this server, by queue."
        )
        self._paused = Family("jobengine_queue_paused", "gauge", "1 if the queue is paused, else 0.")
        self._totals = {
            what: Family(f"jobengine_jobs_{what}_total", "counter", sentence) for what, sentence in _TOTALS.items()
        }
        self._totals["attempts_failed"] = Family(
            "jobengine_attempts_failed_total", "counter", "Attempts that failed or timed out, retried or not."
        )
        self._wait = Family("jobengine_job_wait_seconds", "histogram", "Time from ready to claimed, by queue.")
        self._run = Family("jobengine_job_run_seconds", "histogram", "Time from claimed to the end of the attempt.")
        self._limits, self._schedules, self._dead_letters, self._failures = map(_made, _OF_FEW)

    def add(self, queues: Iterable[QueueTotals]) -> None:
        """Add some queues; takes a microsecond or two a line."""
        for one in queues:
            queue = labels_of({"queue": one.name})
            for state, count in one.counts.items():
                self._jobs.add(count, f'{queue[:-1]},state="{state}"}}')
            self._retrying.add(one.retrying, queue)
            self._held.add(one.held, queue)
            self._awaiting.add(one.waiting, queue)
            if one.workers_wanted is not None:
                self._wanted.add(one.workers_wanted, queue)
            self._oldest.add((one.oldest_ready or 0) / 1000, queue)
            self._waiting.add(one.workers_waiting, queue)
            self._paused.add(int(one.paused), queue)
            for what, family in self._totals.items():
                family.add(one.totals.get(what, 0), queue)
            self._add_of_few(one, queue)
            _add_spread(self._wait, one.wait, queue)
            _add_spread(self._run, one.run, queue)
        for family in self._families():
            family.pack()

    def _add_of_few(self, one: QueueTotals, queue: str) -> None:
        """Add the metrics of a queue's limits, schedules and dead letters; few queues have any of them."""
        if one.max_jobs:
            self._limits[0].add(one.max_jobs, queue)
        if one.has_schedules:
            fired, skipped = (one.totals.get(f"schedule_{what}", 0) for what in ("fired", "skipped"))
            values = (fired, skipped, one.schedule_late / 1000, one.schedules_failing)
            for schedules, value in zip(self._schedules, values, strict=True):
                schedules.add(value, queue)
        if one.has_dead_letters:
            moved, missing = self._dead_letters
            moved.add(one.totals.get("dead_lettered", 0), queue)
            missing.add(int(one.lacks_dead_letters), queue)

    def add_groups(self, queue: str, groups: Iterable[GroupReport]) -> None:
        """Add some groups of a queue."""
        for group in groups:
            state, labels = group.state, labels_of({"queue": queue, "group": group.name})[:-1]
            counts = {
                "ready": group.ready,
                "held": group.held,
                "delayed": state.delayed,
                "inprogress": state.in_progress,
            }
            for name, count in counts.items():
                self._groups.add(count, f'{labels},state="{name}"}}')
        self._groups.pack()

    def add_failures(self, queue: str, counts: FailureCounts) -> None:
        """Add how many kinds of failures a queue has, and how many of these are new."""
        labels = labels_of({"queue": queue})
        for family, value in zip(self._failures, (counts.groups, counts.new), strict=True):
            family.add(value, labels)

    def text(self) -> bytes:
        """The body of the answer."""
        return b"".join([family.text() for family in self._families()])

    def _families(self) -> list[Family]:
        return [
            self._jobs,
            self._retrying,
            self._held,
            self._awaiting,
            self._groups,
            *self._failures,
            self._oldest,
            self._waiting,
            self._wanted,
            self._paused,
            *self._limits,
            *self._totals.values(),
            *self._schedules,
            *self._dead_letters,
            self._wait,
            self._run,
        ]


def _made(families: Iterable[tuple[str, str, str]]) -> list[Family]:
    return [Family(*family) for family in families]


def _add_spread(family: Family, times: Spread, queue: str) -> None:
    """Add a queue's histogram; a queue without any times has no series."""
    if not times.buckets:
        return
    counts = cumulated(times.buckets)
    for bound, count in zip(_QUEUE_BOUNDS, counts, strict=True):
        family.add(count, f'{queue[:-1]},le="{bound}"}}', "_bucket")
    family.add(counts[-1], queue, "_count")
    family.add(times.total / 1000, queue, "_sum")


#: The bounds of the histograms of queues, as text.
_QUEUE_BOUNDS: Final = (*(f"{bound / 1000:g}" for bound in EXPORTED), "+Inf")
#: The metric of a limit, which only queues with a limit have.
_OF_LIMITS: Final = (("jobengine_queue_max_jobs", "gauge", "The most jobs that the queue may hold, in any state."),)
#: The metrics of schedules, which only queues with schedules have.
_OF_SCHEDULES: Final = (
    ("jobengine_schedule_fired_total", "counter", "Times of schedules that added a job."),
    ("jobengine_schedule_skipped_total", "counter", "Times of schedules that added no job."),
    ("jobengine_schedule_late_seconds", "gauge", "How late the most overdue schedule is; 0 if none is late."),
    ("jobengine_schedules_paused_by_failures", "gauge", "Schedules that are paused because their jobs failed."),
)
#: The metrics about dead letters, which only queues with a dead-letter queue have.
_OF_DEAD_LETTERS: Final = (
    ("jobengine_jobs_dead_lettered_total", "counter", "Jobs that were moved into the queue's dead-letter queue."),
    ("jobengine_dead_letter_missing", "gauge", "1 if the queue's dead-letter queue was found missing, else 0."),
)
#: The metrics of failures, which only queues with failed or retrying jobs have.
_OF_FAILURES: Final = (
    ("jobengine_failure_groups", "gauge", "Fingerprints of the failed and retrying jobs; at most 1,000."),
    ("jobengine_failure_groups_new", "gauge", "Fingerprints whose first job failed at most 15 minutes ago."),
)
_OF_FEW: Final = (_OF_LIMITS, _OF_SCHEDULES, _OF_DEAD_LETTERS, _OF_FAILURES)
_TOTALS: Final = {
    "added": "Jobs that were added.",
    "claimed": "Claims of jobs; a job that is retried is claimed again.",
    "complete": "Jobs that were completed.",
    "failed": "Jobs that failed and have no attempt left; cancelled ones do not count.",
    "cancelled": "Jobs that were ended by cancelling.",
    "timed_out": "Leases that expired while the job was in progress.",
}


async def scrape(
    metrics: Metrics, engine: Door, connections: int, pause: Callable[[], Awaitable[None]], clock: IReactorTime
) -> bytes:
    """
    All metrics, in Prometheus's format; `connections` is the number of open connections.

    The metrics of queues are left out if they can't be read in time; the engine's metrics show the reason. Raises
    Starting.
    """
    try:
        queues = await _of_queues(engine, pause, clock)
    except (Unavailable, defer.TimeoutError):
        queues = QueueMetrics()
    # After the metrics of queues, which may have detected an unreachable database.
    return metrics.text(await engine.figures(), connections) + queues.text()


async def _of_queues(engine: Door, pause: Callable[[], Awaitable[None]], clock: IReactorTime) -> QueueMetrics:
    queues, with_flow, with_failures = QueueMetrics(), list[str](), list[str]()
    command = c.CountQueues()
    while page := await _answer(engine, command, clock):
        queues.add(page)
        with_flow += [one.name for one in page if one.has_flow]
        with_failures += [one.name for one in page if one.counts.get(State.FAILED) or one.retrying]
        command = c.CountQueues(after=page[-1].name)
        await pause()
    until = clock.seconds() + _PATIENCE
    limit = max(1, min(_GROUPS, _ALL_GROUPS // max(1, len(with_flow))))
    for name in takewhile(lambda _: clock.seconds() < until, with_flow):
        longest = c.ListGroups(queue=name, admin=True, limit=limit)
        with suppress(QueueNotFound):  # it was deleted meanwhile
            queues.add_groups(name, (await _answer(engine, longest, clock)).groups)
        await pause()
    for name in takewhile(lambda _: clock.seconds() < until, with_failures):
        # After the start of a server, the first count of very many failures may take longer than _PATIENCE.
        with suppress(QueueNotFound, defer.TimeoutError):
            queues.add_failures(name, await _answer(engine, c.CountFailures(queue=name, admin=True), clock))
        await pause()
    return queues


def _answer(engine: Door, command: c.Command[A], clock: IReactorTime) -> "Deferred[A]":
    """The engine's answer, if it comes in time."""
    return Deferred.fromCoroutine(engine.ask(command)).addTimeout(_PATIENCE, clock)
