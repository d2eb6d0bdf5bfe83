"""Columns of tables, and the texts of their values."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Generic, NamedTuple, TypeVar

from jobengine.client import AccessKey, BatchProgress, FailureGroup, Firing, Group, Job, JobEvent, QueueStats, Schedule

from .error_lines import error_line
from .terminal_text import counted, duration, moment, plain
from .top_data import Holder
from .troubles import lacks_workers

T = TypeVar("T")

#: The names of API fields that are Unix seconds.
_MOMENTS: Final = frozenset(
    {
        "created",
        "last_updated",
        "timeout_time",
        "lease_expires",
        "not_before",
        "started",
        "ended",
        "at",
        "removed_at",
        "last_claim",
        "since",
        "held_until",
        "opens",
        "key_held_until",
        "failed_alike_since",
    }
)
#: The word for a queue with waiting jobs and no worker.
_NO_WORKER: Final = "no worker"
#: The colours of states and other words.
STATE_COLOURS: Final = {
    "failed": "red",
    _NO_WORKER: "red",
    "complete": "green",
    "inprogress": "yellow",
    "paused": "yellow",
    "draining": "yellow",
    "held": "yellow",
}


class Column(NamedTuple, Generic[T]):
    """A column of a table."""

    heading: str
    #: The text for an item.
    of: Callable[[T], str]
    number: bool = False
    #: The least width.
    least: int = 0
    #: Whether longer texts are cut to the least width in a narrow terminal.
    cut: bool = False
    #: At a terminal, show the column after the column with this heading; empty to keep the order of the list.
    shown_after: str = ""
    #: Whether the column is widened before other columns that are cut.
    first_to_grow: bool = False
    #: In a narrow terminal, columns with the highest `spare` are left out first; columns with 0 are never left out.
    spare: int = 0

    def style(self, text: str) -> str:
        """The colour of a text."""
        return STATE_COLOURS.get(text, "") if self.heading in ("state", "to", "now") else ""


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _standing(queue: QueueStats) -> str:
    words = (
        ("paused", queue.paused),
        ("draining", queue.draining),
        ("held", queue.held_until is not None),
        (_NO_WORKER, lacks_workers(queue)),
    )
    return " ".join(word for word, so in words if so) or "open"


def _count(name: str) -> Callable[[QueueStats], str]:
    """The text of a count; empty if an older server does not send it."""
    return lambda queue: f"{queue.raw.get(name, '')}"


def _group_standing(group: Group) -> str:
    words = (("paused", group.own.paused), ("held", group.held_until is not None))
    return " ".join(word for word, so in words if so) or "open"


def _rate(group: Group) -> str:
    rate = group.own.rate
    return "" if rate is None else f"{rate.count}/{rate.window.total_seconds():.0f}"


def _schedule_standing(schedule: Schedule) -> str:
    if schedule.paused:
        return "paused by failures" if schedule.paused_by_failures else "paused"
    return "open"


def batch_standing(batch: BatchProgress) -> str:
    """The end of a sentence about a batch: whether it is open, what it waits for, or how it ended."""
    if batch.ended is not None:
        return "has ended: all its jobs are complete" if batch.succeeded else "has ended: not all its jobs are complete"
    if batch.open:
        return "is open: it takes jobs until it is closed"
    unfinished = batch.queued + batch.inprogress
    if not unfinished:
        return "is closed, and ends now: it has no unfinished job"
    are = "is" if unfinished == 1 else "are"
    return f"is closed, and ends once its {counted(unfinished, 'unfinished job')} {are} finished"


def _batch_word(batch: BatchProgress) -> str:
    if batch.ended is not None:
        return "complete" if batch.succeeded else "failed"
    return "open" if batch.open else "closed"


def _waits_for(job: Job) -> str:
    """What a job waits for: how many jobs, or a batch."""
    if not job.waiting:
        return ""
    number = len(job.depends_on)
    return "a batch" if not number else counted(number, "job")


def times_of(schedule: Schedule) -> str:
    """The schedule's cron line, or its interval."""
    return schedule.cron or f"every {duration(schedule.every).replace('.0s', 's')}"  # a whole number of seconds


def outcome_of(firing: Firing) -> str:
    """The result of a scheduled time: its job's state, or why no job was added."""
    if firing.skipped is None:
        return firing.state or "no longer kept"
    return f"skipped: {firing.skipped}"


def _failed_attempts(queue: QueueStats) -> str:
    """The number of attempts that failed in the last minute; older servers count only each job's last attempt."""
    last = queue.last_minute
    return f"{last.raw.get('attempts_failed', last.failed)}"


def _worker(holder: Holder) -> str:
    return holder.held.worker or "(no name)"


JOBS: Final[Sequence[Column[Job]]] = (
    Column("uid", lambda job: job.uid),
    Column("state", lambda job: job.state),
    Column("priority", lambda job: str(job.priority), number=True, spare=2),
    Column("attempts", lambda job: f"{job.attempts}/{job.max_attempts}", number=True, spare=4),
    Column("created", lambda job: moment(job.created), spare=5),
    Column("worker", lambda job: job.worker or "", least=8, cut=True, spare=1),
    Column("tags", lambda job: ",".join(job.tags), least=8, cut=True, spare=3),
    Column("content", lambda job: _json(job.content), least=16, cut=True),
    # Added last: programs rely on the positions of the fields before it.
    Column("error", lambda job: error_line(job.error), least=16, cut=True, first_to_grow=True),
    Column("batch", lambda job: job.batch or "", least=8, cut=True, spare=3, shown_after="tags"),
    Column("waits for", _waits_for, shown_after="state"),
)
ERRORS: Final[Sequence[Column[FailureGroup]]] = (
    Column("jobs", lambda group: f"{group.count}", number=True),
    Column("first", lambda group: moment(group.first), spare=1),
    Column("last", lambda group: moment(group.last)),
    Column("fingerprint", lambda group: group.fingerprint),
    Column("error", lambda group: group.error or "no error was given", least=16, cut=True),
)
QUEUES: Final[Sequence[Column[QueueStats]]] = (
    Column("name", lambda queue: queue.name, least=8, cut=True),
    Column("now", _standing),
    Column("queued", lambda queue: f"{queue.counts.queued}", number=True),
    Column("ready", lambda queue: f"{queue.ready}", number=True, spare=2),
    Column("delayed", lambda queue: f"{queue.delayed}", number=True, spare=3),
    Column("inprogress", lambda queue: f"{queue.counts.inprogress}", number=True),
    Column("complete", lambda queue: f"{queue.counts.complete}", number=True, spare=1),
    Column("failed", lambda queue: f"{queue.counts.failed}", number=True),
    Column("oldest", lambda queue: duration(queue.oldest_ready), number=True, spare=4),
    Column("retrying", _count("retrying"), number=True),
    Column("cancelled", _count("cancelled"), number=True, spare=5),
    Column("idle workers", _count("workers_waiting"), number=True, spare=6),
    Column("held", lambda queue: f"{queue.held or ''}", number=True, spare=3, shown_after="delayed"),
    Column("waiting", lambda queue: f"{queue.waiting or ''}", number=True, spare=3, shown_after="delayed"),
)
GROUPS: Final[Sequence[Column[Group]]] = (
    Column("group", lambda group: group.name, least=8, cut=True, first_to_grow=True),
    Column("now", _group_standing),
    Column("queued", lambda group: f"{group.queued}", number=True),
    Column("ready", lambda group: f"{group.ready}", number=True, spare=3),
    Column("held", lambda group: f"{group.held}", number=True, spare=2),
    Column("inprogress", lambda group: f"{group.in_progress}", number=True),
    Column("oldest", lambda group: duration(group.oldest_ready), number=True, spare=1),
    Column("held until", lambda group: moment(group.held_until), spare=4),
    Column("limit", lambda group: f"{group.own.in_progress or ''}", number=True, spare=5),
    Column("rate", _rate, number=True, spare=6),
    Column("weight", lambda group: f"{group.own.weight}" if "weight" in group.own.raw else "", number=True, spare=7),
)
BATCHES: Final[Sequence[Column[BatchProgress]]] = (
    Column("batch", lambda batch: batch.name, least=8, cut=True, first_to_grow=True),
    Column("now", _batch_word),
    Column("total", lambda batch: f"{batch.total}", number=True),
    Column("queued", lambda batch: f"{batch.queued}", number=True, spare=2),
    Column("inprogress", lambda batch: f"{batch.inprogress}", number=True, spare=1),
    Column("complete", lambda batch: f"{batch.complete}", number=True),
    Column("failed", lambda batch: f"{batch.failed}", number=True),
    Column("lost", lambda batch: f"{batch.lost or ''}", number=True, spare=3),
    Column("created", lambda batch: moment(batch.created), spare=5),
    Column("ended", lambda batch: moment(batch.ended), spare=4),
    Column("then", lambda batch: batch.then or "", spare=6),
)
SCHEDULES: Final[Sequence[Column[Schedule]]] = (
    Column("schedule", lambda schedule: schedule.name, least=8, cut=True, first_to_grow=True),
    Column("now", _schedule_standing),
    Column("times", times_of, least=9, cut=True),
    Column("timezone", lambda schedule: schedule.timezone, spare=2),
    Column("next", lambda schedule: schedule.next[0].isoformat() if schedule.next else ""),
    Column("last", lambda schedule: schedule.firings[-1].time.isoformat() if schedule.firings else "", spare=1),
    Column("outcome", lambda schedule: outcome_of(schedule.firings[-1]) if schedule.firings else "", least=8, cut=True),
)
#: The columns of schedules that were made from the lines of a crontab.
IMPORTED: Final[Sequence[Column[Schedule]]] = (
    Column("schedule", lambda schedule: schedule.name, least=8, cut=True),
    Column("times", times_of),
    Column("timezone", lambda schedule: schedule.timezone),
    Column("next", lambda schedule: schedule.next[0].isoformat() if schedule.next else "", spare=1),
    Column("command", lambda schedule: f"{schedule.job['content'].get('command', '')}", least=16, cut=True),
)
KEYS: Final[Sequence[Column[AccessKey]]] = (
    Column("id", lambda key: key.id),
    Column("role", lambda key: key.role),
    Column("created", lambda key: moment(key.created)),
)
TOP: Final[Sequence[Column[QueueStats]]] = (
    Column("queue", lambda queue: queue.name, least=10, cut=True),
    Column("now", _standing, spare=2),
    Column("ready", lambda queue: f"{queue.ready}", number=True),
    Column("delayed", lambda queue: f"{queue.delayed}", number=True, spare=8),
    Column("running", lambda queue: f"{queue.counts.inprogress}", number=True),
    Column("failed", lambda queue: f"{queue.counts.failed}", number=True, spare=3),
    Column("oldest", lambda queue: duration(queue.oldest_ready), number=True),
    Column("added/min", lambda queue: f"{queue.last_minute.added}", number=True, spare=1),
    Column("done/min", lambda queue: f"{queue.last_minute.complete}", number=True),
    Column("failed/min", _failed_attempts, number=True, spare=7),
    Column("wait p50", lambda queue: duration(queue.wait.p50), number=True, spare=5),
    Column("wait p99", lambda queue: duration(queue.wait.p99), number=True, spare=9),
    Column("run p50", lambda queue: duration(queue.run.p50), number=True, spare=6),
    Column("run p99", lambda queue: duration(queue.run.p99), number=True, spare=10),
    # Added last: programs rely on the positions of the fields before these.
    Column("retrying", _count("retrying"), number=True, shown_after="failed"),
    Column("idle", _count("workers_waiting"), number=True, spare=4, shown_after="running"),
    Column("held", lambda queue: f"{queue.held or ''}", number=True, spare=8, shown_after="ready"),
    Column("waiting", lambda queue: f"{queue.waiting or ''}", number=True, spare=8, shown_after="ready"),
)
WORKERS: Final[Sequence[Column[Holder]]] = (
    Column("worker", _worker, least=12, cut=True),
    Column("queue", lambda holder: holder.queue, least=8, cut=True),
    Column("jobs", lambda holder: f"{holder.held.jobs}", number=True),
    Column("silent since", lambda holder: moment(holder.held.last_updated)),
)
#: The columns of claims that wait for jobs.
WAITING: Final[Sequence[Column[Holder]]] = (
    Column("idle worker", _worker, least=12, cut=True),
    Column("queues", lambda holder: ",".join(holder.queues), least=8, cut=True),
    Column("host", lambda holder: holder.text("host"), least=8, cut=True, spare=2),
    Column("pid", lambda holder: holder.text("pid"), spare=3),
    Column("client", lambda holder: holder.text("client"), least=8, cut=True, spare=4),
    Column("last claim", lambda holder: moment(holder.time("last_claim")), spare=1),
    Column("idle since", lambda holder: moment(holder.time("since"))),
    # Added last: programs rely on the positions of the fields before this.
    Column("only tags", lambda holder: ",".join(holder.held.tags), least=6, cut=True, shown_after="queues"),
)
EVENTS: Final[Sequence[Column[JobEvent]]] = (
    Column("at", lambda event: moment(event.at), least=20),
    Column("uid", lambda event: event.uid, least=36),
    Column("from", lambda event: event.before or "new", least=10),
    Column("to", lambda event: event.state or "deleted", least=10),
    Column("group", lambda event: event.group or ""),
    Column("not moved", lambda event: f"not moved: {event.not_moved}" if event.not_moved else ""),
)


def rows_of(raw: Mapping[str, Any], escape: Callable[[str], str] = plain, above: str = "") -> Iterator[tuple[str, str]]:
    """Names and values of an object from the server; the fields of a nested object are named `outer.inner`."""
    for name, value in raw.items():
        full = f"{above}{name}"
        if isinstance(value, dict) and name not in ("content", "meta", "result"):
            yield from rows_of(value, escape, f"{full}.")
        elif name in ("history", "holders", "dependencies"):
            for number, attempt in enumerate(value, 1):
                yield from rows_of(attempt, escape, f"{full}.{number}.")
        elif name == "depends_on":
            yield full, escape(", ".join(map(_awaited, value)))
        else:
            yield full, escape(_text(name, value))


def _awaited(one: str | Mapping[str, str]) -> str:
    """A job to wait for, as in the option --after."""
    return one if isinstance(one, str) else f"{one['queue_name']}:{one['uid']}"


def _text(name: str, value: Any) -> str:
    if name in _MOMENTS and isinstance(value, int | float):
        return moment(datetime.fromtimestamp(value, UTC)) if 0 < value < 1 << 37 else "never"
    if isinstance(value, str):
        return value
    return "" if value is None else _json(value)
