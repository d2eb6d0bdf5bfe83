"""`jobengine work`: works on the jobs of queues, with a command for each job or with a worker in Python."""

import json
import logging
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import click

from .command import Command
from .failures import Exit, Failed
from .parameters import Seconds
from .session import Session, current

if TYPE_CHECKING:
    from jobengine.worker import RunningJob, Worker

    from .command_runner import CommandRunner

__all__ = ["work"]

_log: Final = logging.getLogger("jobengine.work")

#: Seconds after which a job is tried again that was given back, at least: one that always is, and says nothing of a
#: delay, would else keep the machine busy.
_LEAST_DELAY: Final = 1.0
#: Signals that running commands are told of.
_PASSED_ON: Final = (signal.SIGUSR1, signal.SIGUSR2)
#: Where what stands behind `--` is kept.
_COMMAND: Final = "jobengine.command"


class _WithCommand(Command):
    """A command that takes another one, behind `--`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take away what is not for us."""
        if "--" in args:
            place = args.index("--")
            ctx.meta[_COMMAND] = args[place + 1 :]
            args = args[:place]
        return super().parse_args(ctx, args)


@click.command(
    "work",
    cls=_WithCommand,
    options_metavar="QUEUE... [OPTIONS]",
    examples="""
        jobengine work mail -- sh -c 'cat >> sent.jsonl'
        jobengine work mail thumbnails -j 4 --tag news --until-empty -- cat
        jobengine work mail --app tasks:worker --until-empty
    """,
)
@click.argument("queues", metavar="-- COMMAND [ARG]...", nargs=-1)
@click.option("-j", "--jobs", type=click.IntRange(1), help="How many jobs run at one time; 1 if it is left out.")
@click.option(
    "--tag", multiple=True, metavar="TAG", help="Only jobs with this tag; with all of them if it comes twice."
)
@click.option("--name", help="Shown as the worker of a job; host and process if it is left out.")
@click.option("--grace", type=Seconds(), help="How long running jobs are given to end at SIGTERM; 30 seconds.")
@click.option("--app", metavar="MODULE:WORKER", help="Run this Worker of jobengine.worker, in place of a command.")
@click.option("--until-empty", is_flag=True, help="End when no job is ready.")
@click.pass_context
def work(
    context: click.Context, /, queues: tuple[str, ...], app: str | None, until_empty: bool, **options: Any
) -> None:
    """
    Work on the jobs of queues, until SIGTERM or Ctrl-C; a second one ends it at once.

    Each job runs COMMAND, with the content on standard input. Exit code 0: it is complete, and what was printed is the
    result if it is JSON. 75: it is given back, and tried again after its delay. 65: it has failed for good. Any other:
    it has failed, and the end of standard error says why.

    JOBENGINE_QUEUE, JOBENGINE_UID, JOBENGINE_ATTEMPT and JOBENGINE_PRIORITY are set. A number written to the file
    descriptor JOBENGINE_PROGRESS, as by `echo 50 >&$JOBENGINE_PROGRESS`, is the progress. When a job is cancelled, or
    its lease is lost, the command's process group gets SIGTERM, and SIGKILL after 10 seconds.
    """
    argv: Sequence[str] = context.meta.get(_COMMAND, ())
    if bool(argv) == bool(app):
        raise click.UsageError("Say what to run: -- COMMAND, with the -- before it, or --app MODULE:WORKER.")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    given = {name: value for name, value in options.items() if value}
    if app:
        if given:
            raise click.UsageError(f"--{next(iter(given))} does not go with --app: the worker says so itself.")
        worker = _imported(current(), app, queues)
    else:
        worker = _with_command(current(), queues, argv, given)
    if until_empty:
        worker.run_until_empty()
    else:
        worker.run()
    if worker.stopped_by == signal.SIGINT:
        raise Failed("", Exit.INTERRUPTED)


# A worker that is imported


def _imported(session: Session, app: str, queues: Sequence[str]) -> "Worker":
    from jobengine.worker import Worker

    for name, value in (("JOBENGINE_URL", session.url), ("JOBENGINE_PROFILE", session.profile)):
        if value:
            os.environ[name] = value
    module, _, name = app.partition(":")
    if not module or not name:
        raise Failed(f"--app {app}: say MODULE:WORKER, as in tasks:worker.", Exit.USAGE)
    sys.path.insert(0, os.getcwd())
    try:
        worker = getattr(import_module(module), name, None)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise  # it is one that the module imports
        raise Failed(f"--app {app}: {error}.", Exit.USAGE) from None
    if not isinstance(worker, Worker):
        raise Failed(f"--app {app} is no jobengine.worker.Worker.", Exit.USAGE)
    if unknown := [queue for queue in queues if queue not in worker.queues]:
        raise Failed(f"The worker {app} does not work on {unknown[0]!r}.", Exit.USAGE)
    return worker


# A worker that runs a command


def _with_command(session: Session, queues: Sequence[str], argv: Sequence[str], given: dict[str, Any]) -> "Worker":
    from jobengine.worker import Worker

    from .command_runner import CommandRunner

    if not queues:
        raise click.UsageError("Say the queues to work on.")
    if shutil.which(argv[0]) is None:
        raise Failed(f"There is no command {argv[0]!r}.", Exit.USAGE)
    for queue in queues:
        session.queue(queue)  # which says what to do if there is no key
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
        return await _run(runner, content, job)

    signal.signal(signal.SIGHUP, lambda number, frame: worker.stop())
    for number in _PASSED_ON:
        signal.signal(number, lambda number, frame: runner.signal(number))
    return worker


async def _run(runner: "CommandRunner", content: Any, job: "RunningJob") -> Any:
    """The result of the command for a job; raises what makes of the job what the command's end means."""
    from jobengine.worker import Cancelled, Fail, Retry

    from .command_runner import environment_of, verdict

    def progress(percent: int) -> None:
        with suppress(Cancelled):  # the command is about to be ended
            job.progress(percent)

    environment = environment_of(os.environ, job.queue, job.uid, job.attempts, job.job.priority)
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    said = verdict(await runner.run(f"{text}\n".encode(), environment, progress))
    if said.note:
        _log.warning("%s %s: %s", job.queue, job.uid, said.note)
    if said.kind == "release":
        raise Retry(max(job.job.retry_delay.total_seconds(), _LEAST_DELAY))
    if said.kind != "complete":
        raise Fail(said.error, retry=said.kind == "failed")
    return said.result
