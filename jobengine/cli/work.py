"""`jobengine work`: works on jobs, with a command for each job or with a worker in Python."""

import json
import logging
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from .command import Command
from .exit_codes import Exit, Failed
from .parameters import Seconds, WholeFrom
from .session import Session, current
from .suggestions import complete_queues
from .terminal_text import plain

if TYPE_CHECKING:
    from jobengine.client import QueueStats
    from jobengine.worker import RunningJob, Worker

    from .command_runner import CommandRunner

_log: Final = logging.getLogger("jobengine.work")

#: Signals that running commands receive too.
_PASSED_ON: Final = (signal.SIGUSR1, signal.SIGUSR2)
#: Shells: `work QUEUE -- sh -c`, without a script, runs the command in the content of each job.
_SHELLS: Final = frozenset({"sh", "bash", "dash", "ash", "ksh", "zsh"})
#: Environment variables with a worker's settings.
_URL: Final = "JOBENGINE_URL"
_PROFILE: Final = "JOBENGINE_PROFILE"
_ACCESS_KEY: Final = "JOBENGINE_ACCESS_KEY"
_ADMIN_KEY: Final = "JOBENGINE_ADMIN_KEY"
#: The key in click's `context.meta` for the command after `--`.
_COMMAND: Final = "jobengine.command"


class _WithCommand(Command):
    """A command that takes another command after `--`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Remove the other command from the arguments. Without `--`, an unknown option may be one of that command."""
        if "--" in args:
            place = args.index("--")
            ctx.meta[_COMMAND] = args[place + 1 :]
            return super().parse_args(ctx, args[:place])
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            advice = f"The command begins after --, as in {self.examples[0]}"
            raise click.UsageError(f"{error.format_message()} {advice}", ctx) from None


@click.command(
    "work",
    cls=_WithCommand,
    options_metavar="QUEUE... [OPTIONS]",
    examples="""
        jobengine work mail -- sh -c 'cat >> sent.jsonl'
        jobengine work mail thumbnails -j 4 --tag news --until-empty -- cat
        jobengine work mail --until-empty -- sh -c
        jobengine work mail --app tasks:worker --log-format json --until-empty
    """,
)
@click.argument("queues", metavar="-- COMMAND [ARG]...", nargs=-1, shell_complete=complete_queues)
@click.option("-j", "--jobs", type=WholeFrom(1), help="The most jobs at a time; default 1.")
@click.option("--tag", multiple=True, metavar="TAG", help="Only jobs with this tag; if repeated, with all of the tags.")
@click.option("--name", "--worker", "name", help="The worker's name; default HOST-PROCESS.")
@click.option("--grace", type=Seconds(), help="How long running jobs may take after SIGTERM; default 30 seconds.")
@click.option("--app", metavar="MODULE:WORKER", help="Run this Worker of jobengine.worker instead of a command.")
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Lines of text, or one JSON object a line.",
)
@click.option("--until-empty", is_flag=True, help="End when no job is ready, or no server answers for a minute.")
@click.pass_context
def work(
    context: click.Context, /, queues: tuple[str, ...], app: str | None, until_empty: bool, **options: Any
) -> None:
    """
    Work on the jobs of queues until SIGTERM or Ctrl-C; a second signal ends it at once.

    Each job runs COMMAND, with the content on standard input. Exit code 0: the job is complete, and the output is its
    result if it is JSON. 75: the job is released, and retried after its delay. 65: the job has failed, without further
    attempts. Any other: the attempt has failed, and the end of standard error says why. If COMMAND is `sh -c` without a
    script, the script is the text `command` in the job's content, with the text `input` on standard input.

    JOBENGINE_QUEUE, JOBENGINE_UID, JOBENGINE_ATTEMPT and JOBENGINE_PRIORITY are set; JOBENGINE_GROUP, JOBENGINE_TAGS (a
    JSON array) and JOBENGINE_META (a JSON object) only if the job has them. If it has waited for other jobs,
    JOBENGINE_DEPENDENCIES is the path of a file with their results: a JSON array. Write a number to the file descriptor
    JOBENGINE_PROGRESS, as by `echo 50 >&$JOBENGINE_PROGRESS`, to report the progress. If a service accepts no more
    calls for a while, write the seconds to JOBENGINE_HOLD, as by `echo 30 >&$JOBENGINE_HOLD; exit 75`, to hold the
    job's group too, or its queue if it has no group. If the job is cancelled or its lease is lost, the command's
    process group gets SIGTERM, and SIGKILL after 10 seconds.
    """
    argv: Sequence[str] = context.meta.get(_COMMAND, ())
    if bool(argv) == bool(app):
        raise click.UsageError("Give the command to run, as in -- COMMAND, or --app MODULE:WORKER.")
    _log_to_standard_error(options.pop("log_format"))
    given = {name: value for name, value in options.items() if value}
    if app:
        if given:
            raise click.UsageError(f"--{next(iter(given))} can't be used with --app: set it in the worker.")
        worker = _imported(current(), app, queues)
    else:
        worker = _with_command(current(), queues, argv, given)
    _run_worker(worker, until_empty=until_empty)


class _TextFormatter(logging.Formatter):
    """Formats a record as a line of text, with its time in UTC and control characters of server texts escaped."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802  # named by logging
        """The time, as all commands print times."""
        return datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # named by logging
        """The line, without a traceback."""
        return plain(super().formatMessage(record))


def _log_to_standard_error(log_format: str) -> None:
    from jobengine.worker import JsonFormatter

    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if log_format == "json" else _TextFormatter("%(asctime)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def _run_worker(worker: "Worker", *, until_empty: bool) -> None:
    (worker.run_until_empty if until_empty else worker.run)()
    if worker._stopped_by == signal.SIGINT:
        raise Failed("", Exit.INTERRUPTED)
    if until_empty:
        _log_what_is_left(worker)


def _log_what_is_left(worker: "Worker") -> None:
    """Log how many jobs are still queued, for each queue whose stats the key may read."""
    from jobengine.client import JobEngine, JobEngineError

    url, access_key, admin_key, keys = worker._settings
    with JobEngine(
        url.url, access_key=access_key, admin_key=admin_key, keys=keys, retry_for=0, ssl_context=worker._tls
    ) as engine:
        for queue in worker.queues:
            with suppress(JobEngineError):
                if left := what_is_left(engine.queue(queue).stats(), tagged=bool(worker._tags)):
                    _log.info("%s", left)


def what_is_left(queue: "QueueStats", *, tagged: bool = False) -> str:
    """
    A sentence about the jobs that can't be claimed yet; empty if there is none. `tagged`: the worker takes only jobs
    with certain tags, but the counts are those of all jobs.
    """
    kinds = [
        (queue.delayed, "delayed, until a retry or a set time"),
        (queue.held, "held, as by a limit"),
        (queue.waiting, "waiting for other jobs"),
        (queue.ready if queue.paused else 0, "ready, but the queue is paused"),
    ]
    total = sum(count for count, _ in kinds)
    parts = "; ".join(f"{count:,} {kind}" for count, kind in kinds if count)
    jobs = f"{total:,} queued job{'s' if total > 1 else ''}{', whatever the tags' if tagged else ''}"
    return f"{queue.name} still has {jobs}: {parts}." if total else ""


# Workers that are imported (--app)


def _imported(session: Session, app: str, queues: Sequence[str]) -> "Worker":
    from .imported_worker import imported_worker

    _put_in_environment(session)
    worker = imported_worker(app)
    if unknown := [queue for queue in queues if queue not in worker.queues]:
        raise Failed(f"The worker {app} does not work on {unknown[0]!r}.", Exit.USAGE)
    return worker


def _put_in_environment(session: Session) -> None:
    """Put --url and --profile into the environment, where the imported worker reads them, with the same precedence."""
    if not session.url and not session.profile:
        return
    settings = session.settings
    os.environ[_URL] = settings.address.url
    if session.profile:
        os.environ[_PROFILE] = session.profile
        for name, key in ((_ACCESS_KEY, settings.access_key), (_ADMIN_KEY, settings.admin_key)):
            if key is not None and key.reveal() != os.environ.get(
                name
            ):  # set only the profile's value, which has precedence
                os.environ.pop(name, None)


# Workers that run a command


def _with_command(session: Session, queues: Sequence[str], argv: Sequence[str], given: dict[str, Any]) -> "Worker":
    from jobengine.worker import Worker

    from .command_runner import CommandRunner

    if not queues:
        raise click.UsageError("Name the queues to work on.")
    if shutil.which(argv[0]) is None:
        raise Failed(_not_found(argv[0]), Exit.USAGE)
    for queue in queues:
        session.queue(queue)  # raises Failed, with advice, if there is no key
    runner = CommandRunner(argv, echo=sys.stderr.buffer)
    worker = Worker(
        queues,
        concurrency=given.get("jobs", 1),
        grace=given.get("grace", 30.0),
        tags=given.get("tag", ()),
        name=given.get("name"),
        url=session.url,
        profile=session.profile,
    )

    @worker.handler()
    async def run(content: Any, job: "RunningJob") -> Any:
        """Run the command for a job."""
        return await _run(runner, job, *(_script(content) if _takes_script(argv) else (_line(content),)))

    signal.signal(signal.SIGHUP, lambda number, frame: worker.stop())
    for number in _PASSED_ON:
        signal.signal(number, lambda number, frame: runner.signal(number))
    return worker


def _not_found(command: str) -> str:
    if os.path.isfile(command):
        called = shlex.quote(command)
        return f"{command!r} is not executable: chmod +x {called}, or name its interpreter, as in -- sh {called}"
    return f"There is no command {command!r}."


def _line(content: Any) -> str:
    return f"{json.dumps(content, ensure_ascii=False, separators=(',', ':'))}\n"


def _takes_script(argv: Sequence[str]) -> bool:
    """Whether the command is a shell that still needs its script, as in `sh -c`."""
    return argv[-1] == "-c" and any(os.path.basename(one) in _SHELLS for one in argv[:-1])


def _script(content: Any) -> tuple[str, str]:
    """The texts `input` and `command` of a job's content: standard input and script. Raises Fail."""
    from jobengine.worker import Fail

    script, given = content.get("command"), content.get("input", "")
    if not isinstance(script, str) or not isinstance(given, str) or "\0" in script:
        raise Fail("The content has no text `command`, or its `input` is not a text.")
    return given, script


async def _run(runner: "CommandRunner", job: "RunningJob", given: str, *more: str) -> Any:
    """
    Run the command for a job, with a text on standard input and more arguments: returns its result, or raises the
    exception for its exit code.
    """
    from jobengine.worker import Cancelled, Retry

    from .command_runner import CommandFailed, environment_of, verdict

    def progress(percent: int) -> None:
        """Report the command's progress."""
        with suppress(Cancelled):  # the command is about to be ended
            job.progress(percent)

    environment = environment_of(os.environ, job)
    outcome = verdict(await runner.run(given.encode(), environment, progress, *more))
    if outcome.note:
        _log_note(runner, job, outcome.note)
    if outcome.kind == "release":
        raise Retry(hold=outcome.hold)
    if outcome.kind != "complete":
        raise CommandFailed(outcome.error, retry=outcome.kind == "failed")
    return outcome.result


def _log_note(runner: "CommandRunner", job: "RunningJob", note: str) -> None:
    """Log a note on a job; the note that the output is text is logged only once."""
    from .command_runner import NO_JSON

    if note != NO_JSON:
        _log.warning("%s %s: %s", job.queue, job.uid, note)
    elif not runner.has_logged_text:
        runner.has_logged_text = True
        _log.info("%s %s: %s. This is logged only once.", job.queue, job.uid, note)
