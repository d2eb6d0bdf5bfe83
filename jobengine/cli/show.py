"""Commands that show jobs: `jobs`, `errors`, `show`, `next` and `explain`."""

import re
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, get_args

import click

from jobengine.client import Explanation, Job, JobOrder, Queue

from .columns import ERRORS, JOBS
from .command import command
from .exit_codes import Exit, Failed
from .parameters import QUEUE, UID, Seconds, all_filters, list_options
from .selection import chosen
from .session import current
from .terminal_text import duration
from .troubles import dead_letter_note


@command(
    "jobs",
    "jobengine jobs mail\njobengine jobs mail --state failed --error 'Connection refused'\n"
    "jobengine jobs mail --state failed --sort -updated --limit 20\njobengine jobs mail --worker ada-1\n"
    "jobengine jobs mail --all --json",
)
@QUEUE
@all_filters
@list_options("jobs", "List all that match.")
@click.option("--sort", type=click.Choice(get_args(JobOrder)), help='By time, oldest first; with a "-" newest first.')
def jobs(queue_name: str, limit: int, every: bool, sort: JobOrder | None, **options: Any) -> None:
    """
    List jobs, in execution order or by time.

    Of an error text it shows the line that names the error; `jobengine show` has the whole text.
    """
    queue = current().queue(queue_name)
    read = partial(queue.jobs, sort=sort, **chosen(options))
    current().output.first(JOBS, read, None if every else limit)


@command(
    "errors",
    "jobengine errors mail\njobengine errors mail --json\njobengine errors mail --limit 5",
)
@QUEUE
@list_options("kinds", "List all kinds, at most 1,000.")
def errors(queue_name: str, limit: int, every: bool) -> None:
    """
    Show what went wrong in a queue: its failed jobs, and those that will be retried after an error, by kind of error.

    Errors of one kind have the same fingerprint: they differ only in numbers, quoted texts, addresses, paths and uuids,
    or the worker has chosen the fingerprint. The kind with the most jobs comes first; each kind is shown as the line
    that names its newest error. The option --fingerprint of other commands selects the jobs of a kind.
    """
    queue = current().queue(queue_name)
    none = f"No job of {queue_name!r} has failed or is to be tried again."
    output = current().output
    output.first(ERRORS, queue.failures, None if every else limit, none)
    dropped = queue.dropped_failures()
    if dropped and output.as_json:
        output.json({"dropped": dropped})
    elif dropped:
        output.note(f"Jobs of kinds beyond the 1,000 most frequent, which are not listed: {dropped:,}.")
    if not output.as_json and (note := dead_letter_note(queue.stats())):
        output.note(note)


@command("show", "jobengine show mail 0b8c9e1c-4c1e-4a35-9d5c-5a6f0f0f8a11")
@QUEUE
@UID
def show(queue_name: str, uid: str) -> None:
    """Show a job with all its fields."""
    session = current()
    session.output.record(session.queue(queue_name).get(uid).raw)


@command("next", "jobengine next mail\njobengine next mail --claim --wait 10s --json")
@QUEUE
@click.option("--claim", is_flag=True, help="Claim the job; you hold it until the shown lease expires.")
@click.option("--wait", type=Seconds(), default=0.0, help="With --claim: how long to wait for a job.")
@click.option("--tag", multiple=True, metavar="TAG", help="With --claim: only a job with this tag.")
@click.option("--worker", metavar="NAME", help="With --claim: the worker's name.")
def next_job(queue_name: str, claim: bool, wait: float, tag: tuple[str, ...], worker: str | None) -> None:
    """Show the next job to run; with --claim, claim it."""
    session = current()
    if (wait or tag or worker) and not claim:
        raise click.UsageError("--wait, --tag and --worker need --claim.")
    queue = session.queue(queue_name)
    job = _claimed(queue, wait, tag, worker) if claim else queue.peek()
    if job is None:
        raise Failed(f"No job of {queue_name!r} is ready.", Exit.NOT_FOUND)
    session.output.record(job.raw)


def _claimed(queue: Queue, wait: float, tags: tuple[str, ...], worker: str | None) -> Job | None:
    claimed = queue.claim(wait=wait, tags=tags, worker=worker)
    return claimed[0].job if claimed else None


@command("explain", "jobengine explain mail 0b8c9e1c-4c1e-4a35-9d5c-5a6f0f0f8a11")
@QUEUE
@UID
def explain(queue_name: str, uid: str) -> None:
    """Explain why a job is not running."""
    session = current()
    explanation = session.queue(queue_name).explain(uid)
    if session.json:
        session.output.record(explanation.raw)
        return
    words = {"queue": queue_name, "group": explanation.group or "", "uid": uid, "holder": _failed_holder(explanation)}
    quoted = {name: shlex.quote(word) for name, word in words.items()}
    reason = _readable(explanation.reason)
    for for_http, at_a_shell in _AT_A_SHELL.items():
        reason = reason.replace(for_http, at_a_shell.format(**quoted))
    session.output.record({**explanation.raw, "reason": reason})
    for hint in _hints(explanation):
        session.output.note(hint.format(**quoted))


def _hints(explanation: Explanation) -> Iterator[str]:
    """The commands that help the job, as sentences with gaps for names."""
    if explanation.paused and explanation.state == "queued":
        yield "`jobengine queue resume {queue}` ends the pause."
    if advice := _ADVICE.get(_what_holds(explanation)):
        yield f"`jobengine {advice}` changes that."
    elif explanation.held_by == _DEPENDENCIES:
        yield "`jobengine graph {queue} {uid}` shows what this job waits for, directly and through others."


#: The command that ends or changes each cause of a hold, by the result of _what_holds.
_ADVICE: Final = {
    "group_limit": "group set {queue} {group} --limit N",
    "group_rate": "group set {queue} {group} --rate COUNT/TIME",
    "group_hold": "group release {queue} {group}",
    "group_pause": "group resume {queue} {group}",
    "queue_limit": "queue configure {queue} --limit N",
    "queue_rate": "queue configure {queue} --rate COUNT/TIME",
    "queue_hold": "queue release {queue}",
    "failed_before": "retry {queue} {holder}",
}
#: The value of `held_by` for a job that depends on others.
_DEPENDENCIES: Final = "dependencies"
#: Advice for HTTP in a reason, and what replaces it.
_AT_A_SHELL: Final = {
    'send new_status "queued" with {"depends_on": []}.': "use `jobengine retry {queue} {uid} --without-dependencies`.",
    "set its state to queued to run it again": "`jobengine retry {queue} {uid}` runs it again",
    "move it back with move_to.": "move it back with `jobengine move`.",
}
_PAUSED: Final = "The queue is paused. "
#: How the reason begins if the queue is held; for a delayed job, the end of its delay comes first.
_OF_THE_QUEUE: Final = re.compile(
    r"(It can't be claimed before \S+ (It waits for its retry, [^.]*\. )?)?The queue is held"
)
#: How the reason begins if the limit or rate allows more claims now, but the jobs before this one will use them up.
_BEHIND_OTHERS: Final = re.compile(r"\d+ jobs?( of the group .+)? (is|are) before it, and at most ", re.DOTALL)
#: A time of the server in a reason.
_TIME: Final = re.compile(r"(?<=before |.until |....at |.since )\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def _what_holds(explanation: Explanation) -> str:
    """
    What holds the job, as a key of _ADVICE: `held_by`, but with a key for each kind of hold and for a failed job in
    strict order. Empty if the limit or rate allows more claims, because raising it would not help.
    """
    reason = explanation.reason.removeprefix(_PAUSED)
    if _BEHIND_OTHERS.match(reason):
        return ""
    if explanation.held_by == "order" and _failed_holder(explanation):
        return "failed_before"
    if explanation.held_by != "hold":
        return explanation.held_by or ""
    if _OF_THE_QUEUE.match(reason):
        return "queue_hold"
    return "group_pause" if explanation.opens is None else "group_hold"


def _failed_holder(explanation: Explanation) -> str:
    """The uid of a failed job that holds the job back; empty if there is none."""
    return next((holder.uid for holder in explanation.holders if holder.state == "failed"), "")


def _readable(reason: str) -> str:
    """The reason; each time in it, which the server writes in UTC, is shown relative to now as well."""
    now = datetime.now(UTC)

    def with_distance(found: re.Match[str]) -> str:
        """The time, and how far away it is."""
        left = datetime.fromisoformat(found[0]) - now
        distance = f"{duration(-left)} ago" if left < timedelta() else f"in {duration(left)}"
        return f"{found[0]} ({distance})"

    return _TIME.sub(with_distance, reason)
