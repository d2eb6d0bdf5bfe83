"""`jobengine move`: moves jobs into another queue."""

from typing import Any, Final

import click

from jobengine.client import Moved

from .command import command
from .parameters import PER_SECOND, QUEUE, all_filters
from .prompts import confirm
from .selection import chosen
from .session import current
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
    "jobengine move mail-dead mail --all --dry-run\n"
    "jobengine move mail-dead mail --state failed --per-second 50 --yes\n"
    "jobengine move mail-dead mail --moved-from mail --error 'timed out'",
)
@QUEUE
@click.argument("to", metavar="TO", shell_complete=complete_queues)
@all_filters
@click.option("--all", "every", is_flag=True, help="All jobs of the queue.")
@PER_SECOND
@click.option("--dry-run", is_flag=True, help="Only count the jobs.")
@click.option("--yes", is_flag=True, help="Move several jobs without a confirmation.")
def move(queue_name: str, to: str, every: bool, dry_run: bool, yes: bool, **options: Any) -> None:
    """
    Move jobs into the queue TO, such as failed ones out of a dead-letter queue.

    A job keeps its uid, content and history. A failed one is queued as if never tried. The key must be the owner's
    in both queues. Jobs that can't be moved stay; so do complete jobs, which would be done again.
    """
    session = current()
    per_second, wanted = options.pop("per_second"), chosen(options)
    if bool(wanted) == every:
        raise click.UsageError("Choose the jobs: by a filter such as --state, or with --all.")
    if to == queue_name:
        raise click.UsageError("TO must be a queue other than QUEUE.")
    queue = session.queue(queue_name)
    if not yes and not dry_run:
        would = queue.move(to, all=every, dry_run=True, **wanted)
        confirm(f"{_sentence(would, queue_name, to, 'would be moved')} Continue?", yes=would.matched <= 1)
    moved = queue.move(to, all=every, per_second=per_second, dry_run=dry_run, **wanted)
    if session.json:
        session.output.json(moved.raw)
        return
    session.output.note(_sentence(moved, queue_name, to, "would be moved" if dry_run else "moved"))
    for reason, count in moved.not_moved.items():
        session.output.note(f"{counted(count, 'job')} not moved: {_REASONS.get(reason, reason)}.")


def _sentence(moved: Moved, queue: str, to: str, what: str) -> str:
    return f"{counted(moved.moved, 'job')} of {queue!r} {what} to {to!r}."
