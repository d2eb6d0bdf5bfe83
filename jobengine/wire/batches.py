"""Batches in bodies and answers."""

from collections.abc import Mapping
from typing import Any, Final

from msgspec.structs import replace

from ..core import commands as c
from ..core.dependencies import MOST_DEPENDENCIES, OnDependencyFailure
from ..core.model import SECOND, State
from . import bodies
from .new_jobs import new_job
from .request_head import BadInput

#: The values of then_on: the job at the end runs if all jobs are complete, or in any case.
_SUCCESS, _FINISH = "success", "finish"
_CANCEL: Final = c.Changes(cancel=True)
_RETRY: Final = c.Changes(state=State.QUEUED)


def then_of(sent: bodies.SetBatch, most: int) -> c.NewJob | None:
    """The job at the end of a batch, with at most `most` bytes of content; raises BadInput."""
    if sent.then_on not in (None, _SUCCESS, _FINISH):
        raise BadInput(f"then_on must be one of {_SUCCESS}, {_FINISH}.")
    if sent.then is None:
        if sent.then_on is not None:
            raise BadInput("then_on requires 'then', the job that runs at the end of the batch.")
        return None
    try:
        then = new_job(sent.then, sent.queue_name, most)
    except BadInput as error:
        raise BadInput(f"then{error}") from None
    if then.batch == sent.name:
        raise BadInput("then.batch must be another batch: the job at the end would wait for itself.")
    if len(then.depends_on) == MOST_DEPENDENCIES:
        raise BadInput(f"then.depends_on must have fewer than {MOST_DEPENDENCIES} items: the batch counts as one.")
    return replace(then, on_dependency_failure=OnDependencyFailure.RUN) if sent.then_on == _FINISH else then


def changed_batch(
    sent: bodies.ChangeBatch, access: Mapping[str, Any]
) -> tuple[c.CloseBatch | c.ReadBatch, c.UpdateMatching | None]:
    """The command for the batch, and the command for its jobs that follows, or None; raises BadInput."""
    if sent.open:
        raise BadInput("A batch can't be opened again: create another one.")
    if (sent.open is not None) + bool(sent.cancel) + bool(sent.retry) != 1:
        raise BadInput("Send one of open: false, cancel: true and retry: true.")
    of: dict[str, Any] = {"queue": sent.queue_name, **access}
    if sent.retry:
        wanted = c.Filter(batch=sent.name, state=State.FAILED)
        return c.ReadBatch(**of, name=sent.name), c.UpdateMatching(**of, filter=wanted, changes=_RETRY)
    close, wanted = c.CloseBatch(**of, name=sent.name), c.Filter(batch=sent.name, unfinished=True)
    return close, c.UpdateMatching(**of, filter=wanted, changes=_CANCEL) if sent.cancel else None


def batch_value(queue: str, report: c.BatchReport, matched: int | None = None) -> dict[str, Any]:
    """A batch with the counts of its jobs; `matched` is the number of jobs that the request has changed."""
    batch, counts = report.batch, report.counts
    optional = {
        "lost": batch.lost or None,
        "then": batch.then,
        "ended": None if batch.ended is None else batch.ended // SECOND,
        "succeeded": None if batch.ended is None else not batch.failed,
        "matched": matched,
    }
    return {
        "queue_name": queue,
        "name": report.name,
        "open": batch.open,
        "total": counts.total,
        **{state.value: counts.states.get(state, 0) for state in State},
        "created": batch.created // SECOND,
        **{name: value for name, value in optional.items() if value is not None},
    }
