"""Commands that change jobs: `update`, `cancel`, `retry` and `delete`."""

import os
import shlex
from collections.abc import Mapping
from typing import Any, Final, cast

import click

from jobengine.client import Conflict, Job, JobChanges, Queue

from .command import command
from .parameters import CONDITIONS, PER_SECOND, Content, Seconds, State, WholeFrom, WholeNumber, parse_json, read_text
from .selection import Selection, Sentence, Words, act, selection
from .session import Session, current
from .suggestions import complete_groups
from .troubles import dead_letter_name

#: A lease is a secret, like a key, so it is not an argument.
_LEASE = "JOBENGINE_LEASE"
#: The error text of a cancelled job; older servers have no field `cancelled`.
_CANCELLED_ERROR: Final = "cancelled"
_NEW_STATUS: Final = " --state selects jobs by their state; --new-status sets it."


@command(
    "update",
    "jobengine update mail 0b8c9e1c-4c1e-4a35-9d5c-5a6f0f0f8a11 --priority 9\n"
    "jobengine update mail --tag news --state queued --delay 1h --yes\n"
    "jobengine update mail --tag news --group customer-7 --yes\n"
    "jobengine update mail 0b8c9e1c-4c1e-4a35-9d5c-5a6f0f0f8a11 --new-status complete --result '{\"sent\": true}'",
)
@selection(all_conditions=False)
@click.option("--priority", type=WholeNumber(), help="Higher goes first.")
@click.option("--delay", type=Seconds("s"), help="The jobs can't be claimed before this time has passed.")
@click.option("--new-tag", multiple=True, metavar="TAG", help="The new tags, which replace the old ones.")
@click.option(
    "--group",
    "new_group",
    metavar="GROUP",
    shell_complete=complete_groups,
    help="The new group of queued or finished jobs; '' is no group.",
)
@click.option("--without-dependencies", is_flag=True, help="The jobs wait for no other job any more.")
@click.option("--content", type=Content(), metavar="JSON", help="New content: JSON, - for standard input, or @FILE.")
@click.option("--new-status", type=State(), help="The new state.")
@click.option("--progress", type=WholeFrom(0, 100), help="The progress, in per cent.")
@click.option("--result", metavar="JSON", help="The result: JSON, - for standard input, or @FILE.")
@click.option("--error", "new_error", metavar="TEXT", help="What went wrong.")
@click.option("--no-retry", is_flag=True, help="With --new-status failed: the job is not retried.")
def update(**options: Any) -> None:
    """
    Change jobs: some by uid, or all that match.

    For a job that is held under a lease, set JOBENGINE_LEASE to the lease.
    """
    session = current()
    advice = _NEW_STATUS if options["state"] else ""
    selected = Selection.of(session, options, advice)
    changes = _changes(options)
    if not changes:
        raise click.UsageError(f"Name a change, such as --priority.{advice}")
    queue = selected.queue

    def all_of_them(**wanted: Any) -> int:
        """Update all that match."""
        return queue.update_all(changes, **wanted)

    act(session, selected, Words.of("updated"), lambda uid: queue.update(uid, **_with_lease(changes)), all_of_them)


def _changes(options: dict[str, Any]) -> JobChanges:
    result = options["result"]
    named = {
        "priority": options["priority"],
        "delay_seconds": options["delay"],
        "tags": list(options["new_tag"]) or None,
        "group": options["new_group"],
        "content": options["content"],
        "new_status": options["new_status"],
        "progress": options["progress"],
        "error": options["new_error"],
        "retry": False if options["no_retry"] else None,
        "depends_on": [] if options["without_dependencies"] else None,
    }
    changes = {name: value for name, value in named.items() if value is not None}
    if result is not None:
        try:
            changes["result"] = parse_json(read_text(result))
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--result") from None
    return cast(JobChanges, changes)


def _with_lease(changes: JobChanges) -> JobChanges:
    lease = os.environ.get(_LEASE)
    return {**changes, "lease": lease} if lease else changes


_WAS_CANCELLED: Final = Sentence("was cancelled", "were cancelled")


def _cancelled(job: Job) -> Sentence:
    """The effect of cancelling on a job, from the server's answer."""
    if job.state == "inprogress":
        return Sentence("is running; its worker is asked to stop", "are running; their workers are asked to stop")
    if job.state == "complete":
        return Sentence("is complete already", "are complete already")
    return (
        _WAS_CANCELLED
        if job.cancelled or job.error == _CANCELLED_ERROR
        else Sentence("has failed already", "have failed already")
    )


#: The states of jobs that cancelling changes.
_UNFINISHED: Final = ("queued", "inprogress")
_CANCELLED: Final = Words(
    Sentence("would be cancelled", "would be cancelled"),
    Sentence(
        "was cancelled; if it is running, its worker is asked to stop",
        "were cancelled; workers of running ones are asked to stop",
    ),
    _cancelled,
)


@command(
    "cancel",
    "jobengine cancel mail 0b8c9e1c-4c1e-4a35-9d5c-5a6f0f0f8a11\njobengine cancel mail --tag news --dry-run",
)
@selection()
def cancel(**options: Any) -> None:
    """
    Cancel jobs: queued ones fail, and workers of running ones are asked to stop.

    A job that waits for children, which its worker has added with `wait_for`, is cancelled alone: they go on. If they
    have a tag of their own, cancel them with --tag, or if they are in a batch, with `jobengine batch cancel`.
    """
    session = current()
    selected = Selection.of(session, options)
    to_all = selected.queue.cancel_all

    def unfinished(*, state: str | None = None, all: bool = False, **wanted: Any) -> int:  # noqa: A002  # named as in the API; a state is a filter
        """Count the jobs that cancelling would change, which are the unfinished ones."""
        states = [one for one in _UNFINISHED if state in (None, one)]
        return sum(to_all(dry_run=True, state=one, **wanted) for one in states)

    def cancel_all(**wanted: Any) -> int:
        """Cancel all that match; returns how many were unfinished, since the server counts finished ones too."""
        changed = unfinished(**wanted)
        to_all(**wanted)
        return changed

    act(session, selected, _CANCELLED, selected.queue.cancel, cancel_all, unfinished)


#: The effect of --without-dependencies; worded so that it is also true of jobs that were queued already.
_FREED: Final = Words(
    Sentence("would be queued without dependencies", "would be queued without dependencies"),
    Sentence("is queued, and waits for no other job", "are queued, and wait for no other job"),
)
_AGAIN: Final = Words.of("queued again")
#: The effect on jobs that were given by uid and were queued already.
_NO_DELAY: Final = Sentence("was queued already, and has no delay now", "were queued already, and have no delay now")
#: The effect on jobs that wait for their retry; these are queued already.
_READY: Final = Words(
    Sentence("would be made ready before its retry is due", "would be made ready before their retry is due"),
    Sentence("was made ready before its retry was due", "were made ready before their retry was due"),
)


@command(
    "retry",
    "jobengine retry mail 0b8c9e1c-4c1e-4a35-9d5c-5a6f0f0f8a11\njobengine retry mail --state failed --tag news --yes\n"
    "jobengine retry mail --all --per-second 50 --yes\n"
    "jobengine retry mail --retrying --dry-run\n"
    "jobengine retry mail 0b8c9e1c-4c1e-4a35-9d5c-5a6f0f0f8a11 --without-dependencies",
)
@selection("All failed jobs of the queue, except cancelled ones.")
@click.option("--without-dependencies", is_flag=True, help="The jobs wait for no other job any more.")
@PER_SECOND
def retry(**options: Any) -> None:
    """
    Queue jobs again: some by uid, or all that match a filter (only failed ones, unless --state is given).

    Cancelled jobs are left out, unless chosen by uid or with --cancelled. With --retrying, jobs that wait for their
    retry are ready at once, and keep their attempts. By uid, a queued job loses its delay, and a job in progress stays
    with its worker. A job that depends on a failed job waits until the failed job is retried; with
    --without-dependencies it does not wait. In a dead-letter queue jobs stay there: `jobengine move` takes them back.
    """
    session = current()
    free, per_second = options.pop("without_dependencies"), options.pop("per_second")
    changes: JobChanges = {"new_status": "queued", "depends_on": []} if free else {"new_status": "queued"}
    selected = Selection.of(session, options)
    queue, pace = selected.queue, {} if per_second is None else {"per_second": per_second}
    if per_second is not None and (selected.uids or free):
        raise click.UsageError("--per-second needs a filter, or --all; it is not for --without-dependencies.")

    def all_of_them(**wanted: Any) -> int:
        """Queue all that match."""
        if free:
            wanted.pop("all", None)
            state = "queued" if wanted.get("retrying") else "failed"
            return queue.update_all(changes, **{"state": state, "cancelled": False, **wanted})
        matched: int = queue.retry(**pace, **wanted)
        return matched

    one = _RetryOfOne(queue, changes)
    words = _FREED if free else _READY if selected.filter.get("retrying") else _AGAIN._replace(outcome=one.outcome)
    if not act(session, selected, words, one.retry, all_of_them, look=one.look):
        _advise_on_retrying(session, selected)


class _RetryOfOne:
    """Queues jobs again, each given by its uid. A job in progress stays with its worker."""

    def __init__(self, queue: Queue, changes: JobChanges) -> None:
        self._queue = queue
        self._changes = changes
        #: The uids of the jobs that were queued already.
        self._queued = set[str]()

    def look(self, uid: str) -> Job:
        """The job; raises Conflict if it is in progress."""
        job = self._queue.get(uid)
        if job.state == "inprogress":
            line = shlex.join(["jobengine", "update", self._queue.name, uid, "--new-status", "queued"])
            raise Conflict(f"The job is in progress; `{line}` takes it from its worker.")
        return job

    def retry(self, uid: str) -> Job:
        """Queue a finished job again, or end the delay of a queued one."""
        changes = self._changes
        if self.look(uid).state == "queued":
            self._queued.add(uid)
            if "depends_on" not in changes:
                changes = {"delay_seconds": 0}  # without a state: a worker that has claimed the job meanwhile keeps it
        return self._queue.update(uid, **changes)

    def outcome(self, job: Job) -> Sentence:
        """The effect of `retry` on a job, as the end of a sentence."""
        return _NO_DELAY if job.uid in self._queued else _AGAIN.after


def _advise_on_retrying(session: Session, selected: Selection) -> None:
    """If no failed job matched, print the commands for jobs that wait for their retry or are in a dead-letter queue."""
    wanted: dict[str, Any] = {name: value for name, value in selected.filter.items() if name != "cancelled"}
    if session.json or "state" in wanted or "retrying" in wanted or selected.filter.get("cancelled"):
        return
    queue = selected.queue
    waiting = queue.retry(dry_run=True, **wanted, retrying=True)
    if waiting:
        line = shlex.join(["jobengine", "retry", queue.name, *_options(wanted), "--retrying"])
        one, several = f"waits for its retry: `{line}` makes it", f"wait for their retry: `{line}` makes them"
        session.output.note(Sentence(f"{one} ready now", f"{several} ready now").of(waiting))
    if dead := dead_letter_name(queue.stats()):
        line = shlex.join(["jobengine", "move", dead, queue.name, *_options({**wanted, "moved_from": queue.name})])
        session.output.note(f"Failed jobs of {queue.name} move to {dead}: `{line}` moves them back.")


def _options(wanted: Mapping[str, Any]) -> list[str]:
    """A filter as options of a command."""
    options = {condition: option.replace("_", "-") for option, condition in CONDITIONS.items()}
    return [word for name, value in wanted.items() for word in (f"--{options[name]}", value)]


@command(
    "delete",
    "jobengine delete mail 0b8c9e1c-4c1e-4a35-9d5c-5a6f0f0f8a11\njobengine delete mail --state complete --yes",
)
@selection()
def delete(**options: Any) -> None:
    """Delete jobs: some by uid, or all that match."""
    session = current()
    selected = Selection.of(session, options)
    act(session, selected, Words.of("deleted"), selected.queue.delete, selected.queue.delete_all)
