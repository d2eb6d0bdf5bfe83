"""`jobengine add`: adds a job, or one job for each line of a file."""

import shlex
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from tempfile import TemporaryFile
from typing import IO, Any, Final
from uuid import uuid4

import click

from jobengine.client import (
    BadRequest,
    Conflict,
    Job,
    JobEngineError,
    JobNotFound,
    OutcomeUnknown,
    Queue,
    Unavailable,
)
from jobengine.client.retrying import REPEATED

from .command import command
from .exit_codes import Exit, Failed, exit_of
from .file_of_jobs import LONGEST_NAME, BadLine, JobFile
from .job_options import dependency_options, job_options, named_options, note_retry_delay
from .parameters import QUEUE, Content, Moment, Seconds, with_options
from .progress_bar import ProgressBar
from .session import Session, current
from .suggestions import complete_batches
from .terminal_text import counted, json_text
from .unique_options import unique_options, with_rule

#: Seconds for which a request with many jobs is retried: the server may be restarting.
_RETRY_FOR: Final = 60.0
#: Seconds to wait for an outcome without --wait-at-most: ten years.
_LONG: Final = 10.0 * 365 * 24 * 3600
#: Seconds between two attempts while the server is away during the wait for an outcome.
_PAUSE: Final = 1.0
#: A note about lines such as {"content": {…}, "group": "c1"}.
_FIELDS_IN_LINES: Final = (
    "Each line looks like a job with its fields, but is taken as the content of a job. Fields of all jobs are options "
    "of this command; `PUT /api/v1/jobs` takes jobs with fields of their own."
)
#: A part of the server's error for a uid that was used in a different request.
_UID_TAKEN: Final = "holds another job with uid"
#: The server's advice, to take another uid, is no use here: the uids come from the file and the import's name.
_ADDED_BEFORE: Final = (
    "The queue has this line's job already: it was added with other options, or with another access key.\n"
    "--import-name with a new name adds all lines once more. To add only the missing ones, run the command with the "
    "options and the key of the first time."
)
#: The status in an answer for a job that existed before.
_THERE: Final = 200


def many_options(function: Any) -> Any:
    """Add the options of one new job, and those of a file of jobs; `add_jobs` reads them."""
    options = (
        click.option(
            "--not-before",
            type=Moment(),
            help="The job can't be claimed before this time: 2027-01-15T08:00, in UTC with a Z.",
        ),
        click.option(
            "--uid",
            metavar="UUID",
            help="The job's uid, by default a random one. If a job has this uid already, nothing is added.",
        ),
        click.option("--wait", is_flag=True, help="Wait until the job is finished, and print the result."),
        click.option("--wait-at-most", type=Seconds(), help="With --wait: the longest wait."),
        click.option("--many", metavar="FILE", help="Add a job for each line of a file; - is standard input."),
        click.option(
            "--import-name",
            metavar="NAME",
            help="With --many: the name of this import; under one name, each line is added only once.",
        ),
    )
    return with_options(function, options)


@command(
    "add",
    'jobengine add mail \'{"to": "ada@example.org"}\' --priority 5 --tag news\n'
    'echo \'{"to": "bob@example.org"}\' | jobengine add mail -\n'
    "jobengine add mail @job.json --delay 10m --max-attempts 3 --group customer-7\n"
    'jobengine add mail \'{"to": "di@example.org"}\' --not-before 2027-01-15T08:00Z --meta \'{"by": "shop"}\'\n'
    'jobengine add mail \'{"to": "cy@example.org"}\' --wait --wait-at-most 30s\n'
    "jobengine add mail '{\"customer\": 7}' --unique customer-7 --debounce 5s --debounce-at-most 1m\n"
    'jobengine add mail \'{"to": "ed@example.org"}\' --after 0b8c9e1c-4c1e-4a35-9d5c-5a6f0f0f8a11\n'
    'jobengine add mail \'{"to": "flo@example.org"}\' --batch import-7\n'
    "jobengine add mail --many jobs.jsonl",
)
@QUEUE
@click.argument("content", metavar="[CONTENT]", type=Content(), required=False)
@job_options
@unique_options
@dependency_options
@click.option("--batch", metavar="NAME", shell_complete=complete_batches, help="The batch that the job belongs to.")
@many_options
def add(queue_name: str, content: Any, **options: Any) -> None:
    """
    Add a job and print its uid. The content is a JSON object: CONTENT itself, - for standard input, or @FILE.

    With --many, each line of a file is the content of a job. After an interruption, run the same command again: it adds
    the missing jobs, and none twice, as long as the queue keeps finished jobs; jobs that have moved to a dead-letter
    queue are added again. By default the import is named for the file's bytes and the batch; to add the same file once
    more, give another name with --import-name.
    """
    add_jobs(queue_name, content, options)


def add_jobs(queue_name: str, content: Any, given: Mapping[str, Any]) -> None:
    """Add a job, or the jobs of a file; `given` are the options of `many_options` and `job_options`."""
    session = current()
    many, import_name, wait = given["many"], given["import_name"], given["wait"]
    if content is None and many is None:
        raise click.UsageError("Give the CONTENT of a job, - to read it from standard input, or --many FILE.")
    if (content is not None and many is not None) or (many and wait) or (import_name and not many):
        raise click.UsageError(
            "Give either CONTENT or --many FILE; --wait needs CONTENT, and --import-name needs --many."
        )
    options = with_rule(named_options(given), given)
    if many and "uid" in options:
        raise click.UsageError("--uid is for one job: with --many, each line has its own.")
    if many:
        note_retry_delay(session.output, options)
        _add_many(session, queue_name, many, import_name, options)
    elif wait:
        _add_and_wait(session, session.queue(queue_name), content, given["wait_at_most"], options)
    else:
        _add_one(session, queue_name, content, options)


def _add_one(session: Session, queue_name: str, content: Any, options: Any) -> None:
    """Add the job and print its uid, or end with advice on how to repeat the command without adding it twice."""
    uid = options.pop("uid", None) or str(uuid4())
    try:
        job = session.queue(queue_name).add(content, uid=uid, **options)
    except OutcomeUnknown as error:
        again = "" if _has_key(options) else f" with --uid {uid}, so that it is not added twice"
        raise Failed(f"{session.what_is_wrong(error)} Run the same command again{again}.", exit_of(error)) from None
    note_retry_delay(session.output, options, job.max_attempts)
    session.output.value(job.uid, **job.raw)


def _add_and_wait(session: Session, queue: Queue, content: Any, at_most: float | None, options: Any) -> None:
    """Wait for the job, and print its result or end with its error."""
    uid = options.pop("uid", None) or str(uuid4())
    try:
        job = _waited(session, queue, content, _LONG if at_most is None else at_most, {**options, "uid": uid})
    except KeyboardInterrupt:
        raise Failed(_left(queue, uid, options), Exit.INTERRUPTED) from None
    note_retry_delay(session.output, options, job.max_attempts)
    if session.json:
        session.output.json(job.raw)
    elif job.state == "complete":
        click.echo(json_text(job.result))
    if job.state != "complete":
        raise Failed(_outcome(job), Exit.REFUSED)


def _waited(session: Session, queue: Queue, content: Any, at_most: float, options: Any) -> Job:
    """Add the job once and wait for it, even if the server is away for a while."""
    lost, deadline = _Lost(session, options), time.monotonic() + at_most
    session.engine._caller.tell = lost
    wait = partial(queue.add_and_wait, content, timeout=at_most, **options)
    while True:
        try:
            return wait()
        except JobNotFound as error:
            if not lost.sent:
                raise
            raise Failed(f"{error.detail} Or it was never added.", exit_of(error)) from None
        except Unavailable as error:
            lost(error)
            left = deadline - time.monotonic() - _PAUSE
            if not lost.sent:
                raise
            if left <= 0 or (error.status is not None and error.status not in REPEATED):
                raise Failed(f"{session.what_is_wrong(error)} {lost.may_be_there}", exit_of(error)) from None
            time.sleep(_PAUSE)
            wait = partial(queue.wait, options["uid"], timeout=left)


class _Lost:
    """Reports once that the server was lost and the job may be in the queue; from then on `sent` is true."""

    def __init__(self, session: Session, options: Mapping[str, Any]) -> None:
        self._session = session
        self.sent = False
        #: A sentence about the job.
        self.may_be_there = f"The job{'' if _has_key(options) else ' ' + options['uid']} may be in the queue."

    def __call__(self, error: JobEngineError) -> None:
        """Print the first error after which the job may be in the queue; ignore others."""
        if isinstance(error, OutcomeUnknown) and not self.sent:
            self.sent = True
            what = self._session.what_is_wrong(error)
            self._session.output.note(f"{what} {self.may_be_there} Waiting for the server.")


def _has_key(options: Mapping[str, Any]) -> bool:
    """Whether the awaited job may be an older one, with the same key and another uid."""
    return "unique_key" in options or "unique" in options


def _left(queue: Queue, uid: str, options: Any) -> str:
    if _has_key(options):
        return "The job stays in the queue."
    return f"The job {uid} stays in the queue; `jobengine cancel {shlex.quote(queue.name)} {uid}` cancels it."


def _outcome(job: Job) -> str:
    if job.finished:
        return f"The job {job.uid} has failed: {job.error or 'without an error text'}"
    return f"The job {job.uid} is still {job.state}. See `jobengine explain`, or wait longer."


def _add_many(session: Session, queue_name: str, path: str, name: str | None, options: Any) -> None:
    if name is not None and len(name.encode()) > LONGEST_NAME:
        raise click.UsageError(f"The name of an import has at most {LONGEST_NAME} bytes.")
    session.retry_for = _RETRY_FOR
    queue = session.queue(queue_name)
    session.engine._caller.tell = _Once(session)
    with _opened(path) as file:
        try:
            jobs = JobFile.read(file, name, options.get("batch"))
        except BadLine as error:
            raise Failed(f"{path}, {error} Nothing was added.", Exit.USAGE) from None
        if jobs.has_fields:
            session.output.note(_FIELDS_IN_LINES)
        began = time.monotonic()
        there = _send(session, queue, path, jobs, options)
        _done(session, queue, path, jobs, there, time.monotonic() - began)


class _Once:
    """Reports, only once, that the server does not answer; the command may retry for a minute."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._shown = False

    def __call__(self, error: JobEngineError) -> None:
        """Print the first error; ignore later ones."""
        if not self._shown:
            self._shown = True
            self._session.output.note(f"{self._session.what_is_wrong(error)} Trying for a minute.")


@contextmanager
def _opened(path: str) -> Iterator[IO[bytes]]:
    """Open the file, which is read twice; standard input and pipes are first copied to disk."""
    try:
        with sys.stdin.buffer if path == "-" else open(path, "rb") as source:
            if source.seekable() and path != "-":
                yield source
                return
            with TemporaryFile() as copy:
                shutil.copyfileobj(source, copy)
                yield copy
    except OSError as error:
        raise Failed(f"{path} can't be read: {error.strerror}.", Exit.USAGE) from None


def _send(session: Session, queue: Queue, path: str, jobs: JobFile, options: Any) -> int:
    """Add the jobs; returns how many existed before, if the server reported it."""
    numbers: list[int] = []
    added = there = 0
    with ProgressBar(jobs.jobs, shown=not session.json) as progress:
        try:
            for chunk in queue.add_in_chunks(jobs.new_jobs(numbers), brief=True, **options):
                added += len(chunk)
                there += sum([job.raw.get("status") == _THERE for job in chunk])
                del numbers[: len(chunk)]
                progress.at(added)
        except JobEngineError as error:
            progress.stop()
            known = isinstance(error, Conflict) and _UID_TAKEN in error.detail
            what = _ADDED_BEFORE if known else f"{session.what_is_wrong(error)}\n{_again(added, jobs, error)}"
            raise Failed(f"{path}{_place(error, added, numbers)}: {what}", exit_of(error)) from None
        except KeyboardInterrupt:
            progress.stop()
            raise Failed(_again(added, jobs), Exit.INTERRUPTED) from None
    return there


def _place(error: JobEngineError, added: int, numbers: list[int]) -> str:
    """The error's place in the file; `numbers` are the line numbers of the jobs in the request."""
    index = None if error.index is None else error.index - added
    if index is not None and 0 <= index < len(numbers):
        return f", line {numbers[index]}"
    return f", line {numbers[0]} or one after it" if isinstance(error, BadRequest) and numbers else ""


def _again(added: int, jobs: JobFile, error: JobEngineError | None = None) -> str:
    """Advice on how to continue after an interruption. After most errors, more than `added` jobs may be there."""
    there = f"{added:,} of {counted(jobs.jobs, 'job')} are in the queue."
    named = f"with --import-name {jobs.name}, which adds no line twice."
    if isinstance(error, BadRequest) or (isinstance(error, Conflict) and error.index is not None):
        return f"{there} If you correct the file, run it again {named}"
    return f"At least {there} Run the same command again to add the rest; if you change the file first, {named}"


def _done(session: Session, queue: Queue, path: str, jobs: JobFile, there: int, seconds: float) -> None:
    if session.json:
        session.output.json({"queue": queue.name, "jobs": jobs.jobs, "there_before": there, "import": jobs.name})
        return
    before = f"; {there:,} of them existed before" if there else ""
    rate = f", {jobs.jobs / seconds:,.0f} a second" if jobs.jobs else ""
    all_of, are = ("", "is") if jobs.jobs == 1 else ("All ", "are")
    done = f"{all_of}{counted(jobs.jobs, 'job')} of {path} {are} in the queue {queue.name!r}{before}"
    session.output.note(f"{done} ({seconds:.1f} s{rate}).")
