"""Encodes the engine's answers as JSON."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import lru_cache
from heapq import nsmallest
from typing import Any, Final, TypeVar

from attrs import asdict, define
from msgspec import Raw, to_builtins
from msgspec.structs import asdict as asdict_of

from ..core.claimers import Claimers, Origin, WaitingClaim
from ..core.commands import Added, Claimed, Explanation
from ..core.failures import Alike, FailureGroup, fingerprint_of
from ..core.groups import Hold
from ..core.history import COUNTED, QueueHistory
from ..core.links import AwaitedResults, Link
from ..core.model import AccessKey, Defaults, EventBatch, Grant, Job, JobEvent, Queue, Spec, State
from ..core.schedules import ScheduledBy, scheduled_by
from ..core.stats import GroupReport, QueueStats, Times
from .links import link_value, with_dependencies
from .moves import dead_letter_value, may_return, moved_reason
from .shown_job import is_cancelled, job_value, not_before_of, to_json
from .time_text import time_text
from .unique_keys import key_reason
from .waiting_reason import failed_reason, other_tags_sentence, waiting_reason

T = TypeVar("T")

#: The number of items that are encoded without a pause, in a few ms.
_SLICE: Final = 1_000
#: How a sentence names jobs that hold another job, by their state; their uids follow.
_HOLDERS: Final = {State.INPROGRESS: "In progress", State.FAILED: "Failed"}
#: From this number of jobs on, a group of failures has jobs besides the one that is explained.
_WITH_OTHERS: Final = 2
#: The sentence for a failed job whose group of failures was dropped.
_NOT_COUNTED: Final = "How many failed like it is not known: the queue has more kinds of failures than are counted."
#: The sentence if a claim would get the job, or a job before it, but there are no claims.
_NO_WORKER: Final = " No worker waits for a job of the queue."
#: The most workers in one answer.
_MOST_WORKERS: Final = 1_000


def brief_added(added: Added) -> dict[str, Any]:
    """Short result of a bulk add: 201 added, 200 already there, maybe replaced."""
    brief = {"uid": added.job.spec.uid, "status": 201 if added.new else 200}
    return {**brief, "replaced": True} if added.replaced else brief


def jobs_json(
    claimed: Sequence[Claimed],
    results: Sequence[Any] | None = None,
    awaited: Sequence[AwaitedResults | None] | None = None,
) -> bytes:
    """
    The JSON of claimed jobs, each with lease and queue, and of the results of updates, if there were any. `awaited` is
    what each job has waited for.
    """
    jobs = [job_value(one.job, one.queue, lease=True, named=True) for one in claimed]
    if awaited is not None:
        jobs = [Raw(with_dependencies(to_json(job), its)) for job, its in zip(jobs, awaited, strict=True)]
    return to_json({"jobs": jobs} if results is None else {"results": results, "jobs": jobs})


async def list_json(
    name: str, items: Sequence[T], value: Callable[[T], Any], pause: Callable[[], Awaitable[None]]
) -> bytes:
    """A JSON object whose only field is the list `name`; calls `pause` between slices of the list."""
    parts = []
    for start in range(0, len(items), _SLICE):
        if start:
            await pause()
        parts.append(to_json([value(item) for item in items[start : start + _SLICE]])[1:-1])
    return b'{"%b":[%b]}' % (name.encode(), b",".join(parts))


@define
class Holder:
    """A worker with the number and times of its jobs. All workers without a name count as one."""

    #: The worker's name; None for all workers without a name.
    worker: str | None
    #: The number of jobs.
    jobs: int
    #: When the worker claimed its oldest job, in milliseconds.
    oldest_claimed: int
    #: When the worker last updated any of its jobs, in milliseconds.
    last_updated: int


def workers_value(holders: Sequence[Holder], claimers: Claimers) -> dict[str, Any]:
    """
    The workers that hold jobs, their total number, and the waiting claims.

    Workers are sorted by number of jobs, largest first, then by the age of the oldest job; claims by waiting time.
    """
    most = nsmallest(_MOST_WORKERS, holders, key=lambda one: (-one.jobs, one.oldest_claimed, one.worker or ""))
    held = [_worker(one, claimers.origins.get(one.worker or "")) for one in most]
    waiting = [_waiting(one) for one in claimers.waiting[:_MOST_WORKERS]]
    return {"workers": held + waiting, "total": len(holders)}


def _worker(holder: Holder, origin: Origin | None) -> dict[str, Any]:
    return {
        "worker": holder.worker,
        "jobs": holder.jobs,
        "oldest_claimed": holder.oldest_claimed // 1000,
        "last_updated": holder.last_updated // 1000,
        **_origin(origin),
    }


def _waiting(claim: WaitingClaim) -> dict[str, Any]:
    return {
        "worker": claim.worker,
        "waiting": True,
        "since": claim.since // 1000,
        "queues": claim.queues,
        **({"tags": claim.tags} if claim.tags else {}),
        "last_claim": claim.last_claim // 1000,
        **_origin(claim.origin),
    }


def _origin(origin: Origin | None) -> dict[str, str]:
    if origin is None:
        return {}
    return {name: given for name, given in asdict_of(origin).items() if given is not None}


def queue_head(name: str) -> bytes:
    """The JSON of a queue up to its first job. Write the jobs after it, separated by commas, then queue_tail."""
    return b'{"name":' + to_json(name) + b',"jobs":['


def queue_tail(size: int) -> bytes:
    """The JSON of a queue after its last job; `size` is the number of jobs."""
    return b'],"size":%d}' % size


def queue_value(queue: Queue) -> dict[str, Any]:
    """The settings of a queue."""
    return {
        "name": queue.name,
        "created": queue.created // 1000,
        "paused": queue.paused,
        "draining": queue.draining,
        "require_lease": queue.require_lease,
        "max_jobs": queue.max_jobs,
        "defaults": None if queue.defaults is None else _defaults_value(queue.defaults),
        **_flow_value(queue),
        **dead_letter_value(queue),
    }


def _flow_value(queue: Queue) -> dict[str, Any]:
    """Limits and orders. A queue with flow always shows its group order; other fields are omitted at their defaults."""
    flow = {} if queue.flow is None else {"group_order": queue.flow.group_order.value, **to_builtins(queue.flow)}
    if queue.target_wait_seconds is not None:
        flow["target_wait_seconds"] = queue.target_wait_seconds
    if queue.order is not None and queue.order.seconds_per_priority is not None:
        flow["order"] = {"seconds_per_priority": queue.order.seconds_per_priority}
    return flow


def group_value(group: GroupReport) -> dict[str, Any]:
    """A group: its jobs, what holds it, and its own settings."""
    state = group.state
    return {
        "group": group.name,
        "queued": state.queued,
        "ready": group.ready,
        "held": group.held,
        "in_progress": state.in_progress,
        "oldest_ready_seconds": _in_seconds(group.oldest_ready),
        "held_until": None if group.held_until is None else _second(group.held_until),
        "own": to_builtins(group.settings),
    }


def _defaults_value(defaults: Defaults) -> dict[str, int]:
    return {name: value for name, value in asdict(defaults).items() if value is not None}


def key_value(key: AccessKey) -> dict[str, Any]:
    """A key of a queue, without its secret."""
    return {"id": key.id, "role": key.role, "created": key.created // 1000}


def access_value(queue: str | None, grant: Grant | None) -> dict[str, Any]:
    """The role of a key in a queue. For the admin key, `grant` is None, and `queue` may be None too."""
    if grant is None:
        return {"queue_name": queue, "role": "admin", "key_id": None}
    return {"queue_name": queue, "role": grant.role, "key_id": grant.key_id}


def stats_value(stats: QueueStats) -> dict[str, Any]:
    """The stats of a queue; times are in seconds."""
    return {
        **queue_value(stats.queue),
        "size": sum(stats.counts.values()),
        "counts": {state.value: count for state, count in stats.counts.items()},
        "ready": stats.ready,
        "delayed": stats.delayed,
        "held": stats.held,
        "waiting": stats.waiting,
        "retrying": stats.retrying,
        "cancelled": stats.cancelled,
        "oldest_ready_seconds": _in_seconds(stats.oldest_ready),
        "last_minute": stats.last_minute,
        "last_hour": stats.last_hour,
        "minutes": stats.minutes,
        "wait_seconds": _times(stats.wait),
        "run_seconds": _times(stats.run),
        "workers_waiting": stats.workers_waiting,
        "last_claim": None if stats.last_claim is None else stats.last_claim // 1000,
        "workers_wanted": stats.workers_wanted,
        "held_until": None if stats.held_until is None else _second(stats.held_until),
    }


def history_value(history: QueueHistory) -> dict[str, Any]:
    """The history of a queue; times are in seconds."""
    return {"minutes": _periods(history.minutes), "hours": _periods(history.hours)}


def _periods(columns: Mapping[str, Sequence[int | None]]) -> dict[str, Any]:
    return {what: numbers if what in COUNTED else [*map(_in_seconds, numbers)] for what, numbers in columns.items()}


def explanation_json(explanation: Explanation, links: Sequence[Link] = ()) -> bytes:
    """Why a job is not running, as a sentence and as fields. `links` are what it waits for: see core.links.held_by."""
    job = explanation.job
    added = scheduled_by(job.spec.rare.context.meta)
    value: dict[str, Any] = {
        "uid": job.spec.uid,
        "state": job.state,
        "reason": _reason(explanation, links)
        + key_reason(job, explanation.key_held_until)
        + moved_reason(explanation)
        + _by_schedule(added),
        "paused": explanation.queue.paused,
        "ahead": explanation.ahead,
        "not_before": not_before_of(job.standing) or None,
        "worker": job.standing.worker,
        "lease_expires": None if job.lease_expires is None else job.lease_expires // 1000,
        "error": job.standing.notes.error,
        "cancelled": job.cancelled or None,
        "cancel_requested": is_cancelled(job) or None,
        "fingerprint": fingerprint_of(job.standing),
        **_alike_value(explanation.alike),
        "group": job.spec.rare.own_group,
        "ahead_in_group": explanation.ahead_in_group,
        "schedule": added,
        "key_held_until": None if explanation.key_held_until is None else _second(explanation.key_held_until),
        **_hold_value(explanation.hold),
        **({"held_by": "dependencies", "dependencies": [*map(link_value, links)]} if links else {}),
    }
    return to_json({name: given for name, given in value.items() if given is not None})


def _alike_value(alike: Alike | None) -> dict[str, int | None]:
    if alike is None or alike.first is None:
        return {}
    at_least = {"failed_alike_at_least": True} if alike.at_least else {}
    return {"failed_alike": alike.count, "failed_alike_since": alike.first // 1000, **at_least}


def _by_schedule(added: ScheduledBy | None) -> str:
    return "" if added is None else f" Added by schedule {added.name!r} for {added.time}."


def _hold_value(hold: Hold | None) -> dict[str, Any]:
    if hold is None:
        return {}
    holders = [_holder(job) for job in hold.holders]
    return {
        "held_by": hold.by,
        "holders": holders or None,
        "opens": None if hold.opens is None else _second(hold.opens),
    }


def _holder(job: Job) -> dict[str, Any]:
    expires = None if job.lease_expires is None else job.lease_expires // 1000
    fields = {"uid": job.spec.uid, "state": job.state, "worker": job.standing.worker, "lease_expires": expires}
    return {name: given for name, given in fields.items() if given is not None}


def _second(milliseconds: int) -> int:
    """A time in Unix seconds, rounded up."""
    return -(-milliseconds // 1000)


def _held_reason(hold: Hold, unclaimed: str) -> str:
    opens = "" if hold.opens is None else f" The next can be claimed at {time_text(_second(hold.opens))}."
    holders = ", ".join(map(_named_holder, hold.holders))
    what = _HOLDERS.get(hold.holders[0].state, "First") if hold.holders else ""
    return f"{hold.reason}{opens}{unclaimed}" + (f" {what}: {holders}." if holders else "")


def _named_holder(job: Job) -> str:
    worker = f" at worker {job.standing.worker}" if job.standing.worker else ""
    until = "" if job.lease_expires is None else f" until {time_text(job.lease_expires // 1000)}"
    return f"{job.spec.uid}{worker}{until}"


def _reason(explanation: Explanation, links: Sequence[Link]) -> str:
    job = explanation.job
    holder = f" by {job.standing.worker!r}" if job.standing.worker else ""
    if job.state is State.INPROGRESS:
        expires = job.lease_expires
        until = "" if expires is None else f", until {time_text(expires // 1000)} at the latest if it is not updated"
        requested = " Its cancellation was requested; its worker learns of that from its next update."
        return f"It is in progress{holder and f', held{holder}'}{until}.{requested if is_cancelled(job) else ''}"
    if job.state is not State.QUEUED:
        state = f"It was cancelled{holder and f' while held{holder}'}" if job.cancelled else f"It is {job.state}"
        here = " in this queue" if may_return(explanation) else ""
        again = f"{_like(explanation)}{state}; set its state to queued to run it again{here}."
        return failed_reason(explanation.queue.name, links) if links else again
    paused = "The queue is paused. " if explanation.queue.paused else ""
    not_before = not_before_of(job.standing)
    delayed = f"It can't be claimed before {time_text(not_before)}.{_after_delay(explanation)}" if not_before else ""
    if links:
        waiting = waiting_reason(job, explanation.queue.name, links)
        return f"{paused}{waiting} {delayed}".rstrip()
    if delayed:
        return paused + delayed
    unclaimed = _NO_WORKER if explanation.lacks_claims else other_tags_sentence(explanation.other_tags)
    if explanation.hold is not None:
        return paused + _held_reason(explanation.hold, unclaimed)
    ahead = explanation.ahead
    line = f"{ahead} {'job is' if ahead == 1 else 'jobs are'} before it" if ahead else "It is the next"
    return f"{paused or 'It can be claimed. '}{line}.{_ageing(job.spec, explanation.queue)}{unclaimed}"


def _after_delay(explanation: Explanation) -> str:
    """What happens to a delayed job after its delay, as sentences: a retry, a hold, both or neither."""
    job, hold = explanation.job, explanation.hold
    what = "It is retried then" if hold is None else "It waits for its retry"
    retry = f" {what}, after attempt {job.standing.attempts} of {job.spec.max_attempts}." if job.retrying else ""
    if hold is None:
        return retry
    until = "" if hold.opens is None else f" until {time_text(_second(hold.opens))}"
    return f"{retry} {hold.reason.removesuffix('.')}{until}."


def _ageing(spec: Spec, queue: Queue) -> str:
    """How priority ageing changes the job's place in line, as a sentence; empty if it does not."""
    if queue.order is not None and queue.order.changed:
        return " The order of the queue was changed, and its jobs are being moved to their new places."
    seconds = 0 if spec.rare.line is None else (spec.created - spec.rare.line) // 1000
    if not seconds:
        return ""
    which = f"behind jobs of priority 0 that were added up to {-seconds} seconds later"
    if seconds > 0:
        which = f"before jobs of priority 0 that were added up to {seconds} seconds earlier"
    return f" Its priority of {spec.priority} puts it {which}."


def _like(explanation: Explanation) -> str:
    """A sentence on how many jobs failed like this one; empty if there are none, or the job has no error."""
    alike = explanation.alike
    if alike is None or alike.first is None or explanation.job.standing.notes.error is None:
        return ""
    since = f"since {time_text(alike.first // 1000)}"
    if alike.count < _WITH_OTHERS:
        return f"{_NOT_COUNTED} " if alike.at_least else ""
    others = f"{alike.count - 1} other{'' if alike.count == _WITH_OTHERS else 's'}"
    return f"It failed like {f'at least {others} {since} or before' if alike.at_least else f'{others} {since}'}. "


@lru_cache(maxsize=64)
def sent_events(batch: EventBatch) -> bytes:
    """A batch of events as server-sent events (HTML Standard, 9.2); encoded once for all watchers."""
    return b"".join(map(_sent_event, batch.events))


def _sent_event(event: JobEvent) -> bytes:
    rare = {"group": event.group, "not_moved": event.not_moved}
    shown = {name: value for name, value in rare.items() if value is not None}
    data = to_json({"uid": event.uid, "before": event.before, "state": event.state, "at": event.at / 1000, **shown})
    return b"id: %b\nevent: job\ndata: %b\n\n" % (event.id.encode(), data)


def _times(times: Times) -> dict[str, float | None]:
    return {name: _in_seconds(value) for name, value in asdict(times).items()}


def _in_seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def failure_value(group: FailureGroup) -> dict[str, Any]:
    """A group of failures, as the API shows it."""
    return {
        "fingerprint": group.fingerprint,
        "error": group.error,
        "count": group.count,
        "first": group.first // 1000,
        "last": group.last // 1000,
        "uids": group.uids,
        "minutes": group.minutes,
    }
