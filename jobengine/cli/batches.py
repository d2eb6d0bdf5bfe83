"""`jobengine batch`: creates, fills, closes and shows the batches of a queue."""

from typing import Any, Final, get_args

import click

from jobengine.client import BatchProgress, NewJob, ThenOn

from .add import add_jobs, many_options
from .columns import BATCHES, batch_standing
from .command import command, group
from .job_options import dependency_options, job_options, named_options, note_retry_delay
from .parameters import BATCH, QUEUE, Content, list_options
from .prompts import confirm
from .session import current
from .terminal_text import counted

#: From this number of jobs on, a change needs a confirmation.
_MANY: Final = 2


@group("batch")
def batches() -> None:
    """Await jobs together, and run a job at their end."""


@command(
    "create",
    "jobengine batch create mail import-7\n"
    'jobengine batch create mail import-8 --then \'{"report": "import-8"}\' --priority 5\n'
    'jobengine batch create mail import-9 --then \'{"report": "import-9"}\' --then-on finish',
)
@QUEUE
@BATCH
@click.option(
    "--then", type=Content(), metavar="JSON", help="The content of the job that runs at the end of the batch."
)
@click.option(
    "--then-on",
    type=click.Choice(get_args(ThenOn)),
    help="When the job of --then runs: if all jobs of the batch are complete (default), or once they are finished.",
)
@job_options
@dependency_options
def create(queue_name: str, name: str, *, then: Any, then_on: ThenOn | None, **options: Any) -> None:
    """
    Create a batch, and print the uid of the job that runs at its end, if there is one.

    The content of that job is the JSON object of --then: itself, - for standard input, or @FILE; the other options are
    about that job. An existing batch is not changed, so the command may be repeated.
    """
    session = current()
    given = named_options(options)
    if then is None and (then_on or given):
        raise click.UsageError("Give the job that runs at the end with --then; the other options are about that job.")
    job = None if then is None else NewJob(then, **given)
    found = session.queue(queue_name).batch(name, then=job, then_on=then_on).create()
    note_retry_delay(session.output, given)
    if not session.json:
        session.output.note(f"The batch {name!r} of {queue_name!r} {batch_standing(found)}.")
    if job is not None and found.then != job.uid:
        its = "has no job at its end" if found.then is None else "keeps the job at its end that it was created with"
        session.output.note(f"The batch existed before and {its}; the job of --then was not added.")
    if session.json or found.then is not None:
        session.output.value(found.then or "", **found.raw)


@command(
    "add",
    'jobengine batch add mail import-7 \'{"to": "ada@example.org"}\' --priority 5\n'
    "jobengine batch add mail import-7 --many jobs.jsonl",
)
@QUEUE
@BATCH
@click.argument("content", metavar="[CONTENT]", type=Content(), required=False)
@job_options
@dependency_options
@many_options
def add(queue_name: str, name: str, content: Any, **options: Any) -> None:
    """Add jobs to a batch, as `jobengine add --batch` does: one job, or one for each line of a file."""
    add_jobs(queue_name, content, {**options, "batch": name})


@command("list", "jobengine batch list mail\njobengine batch list mail --json")
@QUEUE
@list_options("batches")
def list_batches(queue_name: str, limit: int, every: bool) -> None:
    """List the batches of a queue by name, with the counts of their jobs."""
    queue = current().queue(queue_name)
    none = f"The queue {queue_name!r} has no batch: `jobengine batch create` creates one."
    current().output.first(BATCHES, queue.batches, None if every else limit, none)


@command("show", "jobengine batch show mail import-7")
@QUEUE
@BATCH
def show(queue_name: str, name: str) -> None:
    """Show a batch: whether it is open or has ended, and how many of its jobs are in each state."""
    session = current()
    session.output.record(session.queue(queue_name).batch(name).progress().raw)


@command("close", "jobengine batch close mail import-7")
@QUEUE
@BATCH
def close(queue_name: str, name: str) -> None:
    """Close a batch: it ends once all its jobs are finished. Until then its jobs may add jobs to it."""
    _report(queue_name, current().queue(queue_name).batch(name).close())


@command("cancel", "jobengine batch cancel mail import-7 --yes")
@QUEUE
@BATCH
@click.option("--yes", is_flag=True, help="Cancel several jobs without a confirmation.")
def cancel(queue_name: str, name: str, yes: bool) -> None:
    """Close a batch, and cancel its unfinished jobs: queued ones fail, workers of running ones are asked to stop."""
    batch = current().queue(queue_name).batch(name)
    if not yes:
        found = batch.progress()
        unfinished = found.queued + found.inprogress
        confirm(f"Cancel {counted(unfinished, 'job')} of the batch {name!r}?", yes=unfinished < _MANY)
    _report(queue_name, batch.cancel(), "cancelled")


@command("retry", "jobengine batch retry mail import-7 --yes")
@QUEUE
@BATCH
@click.option("--yes", is_flag=True, help="Queue several jobs again without a confirmation.")
def retry(queue_name: str, name: str, yes: bool) -> None:
    """Queue the failed jobs of a batch again. If it has ended, it ends a second time once they are finished."""
    batch = current().queue(queue_name).batch(name)
    if not yes:
        failed = batch.progress().failed
        confirm(f"Queue {counted(failed, 'job')} of the batch {name!r} again?", yes=failed < _MANY)
    _report(queue_name, batch.retry(), "queued again")


def _report(queue_name: str, found: BatchProgress, done: str = "") -> None:
    """Report how the batch stands and how many of its jobs were changed; `done` is a participle, as in "cancelled"."""
    session = current()
    if session.json:
        session.output.json(found.raw)
        return
    if done:
        were = "was" if found.matched == 1 else "were"
        session.output.note(f"{counted(found.matched or 0, 'job')} {were} {done}.")
    session.output.note(f"The batch {found.name!r} of {queue_name!r} {batch_standing(found)}.")


for one in (create, add, close, show, list_batches, cancel, retry):
    batches.add_command(one)
