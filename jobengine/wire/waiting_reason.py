"""Sentences on what a job waits for (other jobs, a batch or a worker), and on the jobs that made it fail."""

from collections.abc import Sequence
from typing import Final

from ..core.batches import Batch, BatchCounts
from ..core.links import Link, LinkState
from ..core.model import Job, State
from .links import short_error

#: The most jobs and batches, or sets of tags, that a sentence names.
_NAMED: Final = 10
#: The words for jobs that the key may not read, and for removed jobs.
_UNREAD: Final = {
    LinkState.UNFINISHED: "not finished",
    LinkState.COMPLETE: "complete",
    LinkState.FAILED: "failed",
    LinkState.REMOVED: "removed",
    LinkState.UNKNOWN: "not to be read with this key",
}


def waiting_reason(job: Job, queue: str, links: Sequence[Link]) -> str:
    """What a job of a queue waits for; `links` are the jobs and batches (see core.links.held_by)."""
    dependencies = job.spec.rare.dependencies
    number = len(links) if dependencies is None else len(dependencies.on)
    what = "jobs" if all(link.batch_name is None for link in links) else "jobs and batches"
    how_many = "" if number == 1 else f"{len(links)} of {number} {what}: "
    return f"It waits for {how_many}{_all_named(links, queue, waits=True)}.{_way_out(links)}"


def failed_reason(queue: str, links: Sequence[Link]) -> str:
    """Why a job of `queue` failed because of other jobs; `links` are the jobs and batches that failed."""
    why = f"It failed because of {_all_named(links, queue, waits=False)}."
    way_out = _way_out(links)
    if way_out:
        return why + way_out
    them = _name(links[0], queue) + " is" if len(links) == 1 else "they are"
    return f"{why} It is queued again once {them} retried."


def _way_out(links: Sequence[Link]) -> str:
    """A sentence on what to do if one of the jobs can't be retried; empty if all can."""
    if any(link.state is LinkState.REMOVED or (link.batch is not None and link.batch.lost) for link in links):
        return (
            ' A removed job can\'t be retried: to run this one without its dependencies, send new_status "queued" '
            'with {"depends_on": []}.'
        )
    return ""


def _all_named(links: Sequence[Link], queue: str, *, waits: bool) -> str:
    named = [f"{_name(link, queue)} ({_what_it_does(link, queue, waits=waits)})" for link in links[:_NAMED]]
    more = len(links) - _NAMED
    return ", ".join(named) + (f" and {more} more" if more > 0 else "")


def _name(link: Link, queue: str) -> str:
    name = link.key if link.batch_name is None else f"the batch {link.batch_name}"
    return name if link.queue == queue else f"{name} of the queue {link.queue!r}"


def _what_it_does(link: Link, queue: str, *, waits: bool) -> str:
    if link.batch is not None and link.counts is not None:
        text = _batch(link.batch, link.counts)
    else:
        text = _UNREAD[link.without] if link.job is None else _job(link.job)
    is_retried = waits and link.state is LinkState.FAILED
    return f"{text}; it waits until {_name(link, queue)} is retried" if is_retried else text


def _job(job: Job) -> str:
    notes, worker = job.standing.notes, job.standing.worker
    match job.state:
        case State.INPROGRESS:
            at = "" if worker is None else f" at worker {worker}"
            return f"in progress{at}" + ("" if notes.progress is None else f", {notes.progress} %")
        case State.FAILED:
            why = "" if notes.error is None else f": {short_error(notes.error)}"
            return "cancelled" if notes.cancelled else f"failed{why}"
        case _:
            return "waits for others" if job.waits else job.state.value


def _batch(batch: Batch, counts: BatchCounts) -> str:
    unfinished, failed = counts.unfinished, counts.states.get(State.FAILED, 0)
    parts = []
    if unfinished or not failed:
        parts.append(f"{unfinished} of {counts.total} jobs unfinished" if counts.total else "no jobs")
    if failed:
        parts.append(f"{failed} of {counts.total} jobs failed")
    if batch.lost:
        parts.append(f"{batch.lost} removed")
    return ", ".join([*parts, "still open"] if batch.open else parts)


def other_tags_sentence(wanted: Sequence[tuple[str, ...]]) -> str:
    """A sentence about waiting claims for jobs with other tags, given the tags of each; empty without any."""
    if not wanted:
        return ""
    kinds = [_tags(tags) for tags in dict.fromkeys(wanted)]
    more = " or others" if len(kinds) > _NAMED else ""
    waits = "1 worker waits" if len(wanted) == 1 else f"{len(wanted)} workers wait"
    return f" {waits}, but only for jobs with {' or '.join(kinds[:_NAMED])}{more}."


def _tags(tags: Sequence[str]) -> str:
    return f"the tag{'' if len(tags) == 1 else 's'} {' and '.join(map(repr, tags))}"
