"""Moves of jobs into other queues, and dead-letter queues, in bodies and answers."""

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET, UnsetType

from ..core import commands as c
from ..core.commands import Explanation
from ..core.dead_letters import DUE, SENTENCES
from ..core.filter import Filter
from ..core.model import Queue, State
from ..core.moves import Pace
from . import bodies
from .request_head import BadInput, SentFilter, some_or_all
from .time_text import time_text


def pace_of(sent: bodies.UpdateJobs, changes: c.Changes) -> Pace | None:
    """The pace of a change to all jobs that match; raises BadInput."""
    if sent.per_second is None:
        return None
    if sent.move_to is None and changes.state is not State.QUEUED:
        raise BadInput("per_second can be sent only with new_status queued, or with move_to.")
    if changes.delay_seconds is not None:
        raise BadInput("Send either per_second or delay_seconds.")
    return Pace(per_second=sent.per_second)


def move_of(sent: bodies.UpdateJobs, to: str, changes: c.Changes, access: Mapping[str, Any]) -> c.MoveMatching:
    """The move of all jobs that match, or of some by uid; raises BadInput."""
    if changes != c.Changes():
        raise BadInput("move_to can't be combined with changes: the moved jobs are queued as if never tried.")
    if to == sent.queue_name:
        raise BadInput("move_to must be a queue other than queue_name.")
    return c.MoveMatching(
        queue=sent.queue_name,
        to=to,
        **access,
        filter=_filter_of(sent),
        uids=tuple(dict.fromkeys(sent.uids or ())),
        pace=pace_of(sent, changes),
        dry_run=bool(sent.dry_run),
    )


def _filter_of(sent: bodies.UpdateJobs) -> Filter:
    """The filter of a move, empty if it has uids; raises BadInput unless the jobs are chosen in exactly one way."""
    if sent.uids is None:
        wanted = (sent.filter or SentFilter()).made()
        return some_or_all(wanted, every=bool(sent.all), advice=" With move_to, uids can be sent instead.")
    if sent.filter is not None or sent.all:
        raise BadInput("Choose the jobs to move in one way: by uids, by a filter, or with all=true.")
    return Filter()


def moved_value(moved: c.Moved) -> dict[str, Any]:
    """The result of a move."""
    value: dict[str, Any] = {"matched": moved.matched, "moved": moved.moved}
    return {**value, "not_moved": dict(moved.left)} if moved.left else value


def dead_letter_sent(
    sent: "bodies.DeadLetter | UnsetType | None",
) -> tuple[str, int | None] | UnsetType | None:
    """The dead-letter queue in a body, as a field of ChangeQueue."""
    if sent is None or sent is UNSET or isinstance(sent, UnsetType):
        return sent
    return sent.queue_name, sent.keep_minutes


def dead_letter_value(queue: Queue) -> dict[str, Any]:
    """The dead-letter queue of a queue, as a field of its settings."""
    its = queue.dead_letter
    if its is None:
        return {}
    value: dict[str, Any] = {"queue_name": its.queue, "keep_minutes": its.keep_minutes}
    return {"dead_letter": {**value, "missing": True} if its.missing else value}


def may_return(explanation: Explanation) -> bool:
    """Whether a failed job may be moved back: it was moved into its queue, which has no dead-letter queue itself."""
    job = explanation.job
    return job.state is State.FAILED and job.spec.rare.moved_from is not None and explanation.queue.dead_letter is None


def moved_reason(explanation: Explanation) -> str:
    """Where a job came from, and why it was not moved, as sentences with a space before each."""
    job, setting = explanation.job, explanation.queue.dead_letter
    origin, why = job.spec.rare.moved_from, job.standing.notes.dead_letter
    text = ""
    if why in SENTENCES:
        name = "" if setting is None else setting.queue
        text += f" It was not moved into the dead-letter queue: {SENTENCES[why].format(queue=name)}."
    elif why == DUE:
        text += " It is about to be moved into the dead-letter queue."
    if origin is None:
        return text
    advice = "; to run it there, move it back with move_to" if may_return(explanation) else ""
    return f"{text} It came from the queue {origin.queue!r} at {time_text(origin.at // 1000)}{advice}."
