"""`jobengine move`: moves jobs into another queue."""

from typing import Any, Final

import click

from jobengine.client import Conflict, JobNotFound, Moved, Queue

from .command import command
from .parameters import PER_SECOND, QUEUE, all_filters
from .prompts import confirm
from .selection import UIDS, Selection, Words, to_each
from .session import Session, current
from .suggestions import complete_queues
from .terminal_text import counted

#: The reasons why jobs are not moved, as ends of sentences.
_REASONS: Final = {
    "inprogress": "in progress",
    "waiting": "waiting for other jobs",
    "awaited": "other jobs depend on it",
    "batch": "part of a batch",
    "uid_taken": "the other queue holds a job with the same uid",
    "full": "the other queue is full",
    "draining": "the other queue is draining",
}


@command(
    "move",
    "jobengine move mail-dead mail 5d1c1b0e-0000-4000-8000-000000000001\n"
    "jobengine move mail-dead mail --all --dry-run\n"
    "jobengine move mail-dead mail --state failed --per-second 50 --yes\n"
    "jobengine move mail-dead mail --moved-from mail --error 'timed out'",
)
@QUEUE
@click.argument("to", metavar="TO", shell_complete=complete_queues)
@UIDS
@all_filters
@click.option("--all", "every", is_flag=True, help="All jobs of the queue.")
@PER_SECOND
@click.option("--dry-run", is_flag=True, help="Only count the jobs.")
@click.option("--yes", is_flag=True, help="Move several jobs without a confirmation.")
def move(to: str, per_second: float | None, **options: Any) -> None:
    """
    Move jobs into the queue TO: some by uid, or all that match, such as failed ones out of a dead-letter queue.

    A job keeps its uid, content and history. A failed one is queued as if never tried. The key must be the owner's
    in both queues. Jobs that can't be moved stay; so do complete jobs, which would be done again.
    """
    session = current()
    selected = Selection.of(session, options)
    if to == selected.queue.name:
        raise click.UsageError("TO must be a queue other than QUEUE.")
    if selected.uids:
        if per_second is not None:
            raise click.UsageError("--per-second needs a filter, or --all.")
        words = Words.of(f"moved to {to!r}")
        to_each(session, selected, words, lambda uid: _move_one(selected.queue, to, uid, dry_run=selected.dry_run))
    _move_matching(session, selected, to, per_second)


def _move_one(queue: Queue, to: str, uid: str, *, dry_run: bool) -> None:
    """Move one job; raises JobNotFound or Conflict if the job stays."""
    moved = queue.move(to, uids=[uid], dry_run=dry_run)
    if moved.moved:
        return
    reason = next(iter(moved.not_moved), "")
    if reason == "not_found":
        raise JobNotFound(
            f"The queue {queue.name!r} holds no job with this uid; it may have been moved or deleted, or have expired."
        )
    raise Conflict(f"not moved: {_REASONS.get(reason, reason)}.")


def _move_matching(session: Session, selected: Selection, to: str, per_second: float | None) -> None:
    """Move all jobs that match a filter, or all of the queue."""
    queue, every, dry_run = selected.queue, selected.every, selected.dry_run
    if not selected.yes and not dry_run:
        would = queue.move(to, all=every, dry_run=True, **selected.filter)
        confirm(f"{_sentence(would, queue.name, to, 'would be moved')} Continue?", yes=would.matched <= 1)
    moved = queue.move(to, all=every, per_second=per_second, dry_run=dry_run, **selected.filter)
    if session.json:
        session.output.json(moved.raw)
        return
    session.output.note(_sentence(moved, queue.name, to, "would be moved" if dry_run else "moved"))
    for reason, count in moved.not_moved.items():
        session.output.note(f"{counted(count, 'job')} not moved: {_REASONS.get(reason, reason)}.")


def _sentence(moved: Moved, queue: str, to: str, what: str) -> str:
    return f"{counted(moved.moved, 'job')} of {queue!r} {what} to {to!r}."
