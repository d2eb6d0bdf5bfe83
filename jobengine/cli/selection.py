"""The jobs that a command acts on: some by uid, or all that match."""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import click

from jobengine.client import Job, JobEngineError, JobFilter, Queue

from .asking import ask
from .failures import Exit, exit_of, what_is_wrong
from .parameters import filters
from .session import Session

__all__ = ["Selection", "act", "chosen", "selection"]

F = TypeVar("F", bound=Callable[..., Any])


def chosen(state: str | None, tag: str | None, search: str | None) -> JobFilter:
    """The filter that the options make."""
    wanted: JobFilter = {}
    if state is not None:
        wanted["state"] = state
    if tag is not None:
        wanted["tag"] = tag
    if search is not None:
        wanted["q"] = search
    return wanted


def selection(every: str = "All jobs of the queue.") -> Callable[[F], F]:
    """Adds the arguments and options from which `Selection` is made; `every` is the help text of --all."""
    options = (
        click.argument("queue_name", metavar="QUEUE"),
        click.argument("uids", metavar="[UID]...", nargs=-1),
        filters,
        click.option("--all", "every", is_flag=True, help=every),
        click.option("--dry-run", is_flag=True, help="Only count the jobs."),
        click.option("--yes", is_flag=True, help="Don't ask before changing many."),
    )

    def add_to(function: F) -> F:
        """Add them to a command."""
        for option in reversed(options):
            function = option(function)
        return function

    return add_to


class Selection(NamedTuple):
    """The selected jobs, and whether to ask."""

    queue: Queue
    uids: Sequence[str]
    filter: JobFilter
    every: bool
    dry_run: bool
    yes: bool

    @classmethod
    def of(cls, session: Session, asked: dict[str, Any]) -> "Selection":
        """Take the selection's options out of `asked`. Raises UsageError unless exactly one way to select was used."""
        wanted = chosen(asked.pop("state"), asked.pop("tag"), asked.pop("search"))
        uids, every = asked.pop("uids"), asked.pop("every")
        if sum(map(bool, (uids, wanted, every))) != 1:
            raise click.UsageError("Choose the jobs: by uid, by --state, --tag or --search, or with --all.")
        queue = session.queue(asked.pop("queue_name"))
        return cls(queue, uids, wanted, every, asked.pop("dry_run"), asked.pop("yes"))


#: The command asks before it changes this many jobs or more.
_MANY: Final = 2
#: Acts on all that match; takes the arguments of Queue.cancel_all.
ToAll = Callable[..., int]
#: Acts on one job.
ToOne = Callable[[str], Job | None]


def act(session: Session, selected: Selection, verb: str, to_one: ToOne, to_all: ToAll) -> None:
    """Act on the jobs; `verb` is a participle, such as "cancelled"."""
    if selected.uids:
        _to_each(session, selected, verb, selected.queue.get if selected.dry_run else to_one)
        return
    wanted: dict[str, Any] = dict(selected.filter)
    if selected.every:
        wanted["all"] = True
    if selected.dry_run or not selected.yes:
        matched = to_all(dry_run=True, **wanted)
        if selected.dry_run:
            _say(session, matched, f"would be {verb}")
            return
        ask(f"{_jobs(matched)} of {selected.queue.name!r} would be {verb}. Continue?", yes=matched < _MANY)
    matched = to_all(**wanted)
    _say(session, matched, _past(verb, matched))


def _to_each(session: Session, selected: Selection, verb: str, do: ToOne) -> None:
    """Act on each job in turn; one that fails does not stop the others."""
    done, code = 0, Exit.DONE
    for uid in selected.uids:
        try:
            job = do(uid)
        except JobEngineError as error:
            if (code := exit_of(error)) in (Exit.KEY_REFUSED, Exit.NO_ANSWER):
                raise
            session.output.note(f"jobengine: {uid}: {what_is_wrong(error)}")
        else:
            done += 1
            if session.json:
                session.output.json({"uid": uid} if job is None else job.raw)
    if not session.json:
        session.output.note(f"{_jobs(done)} {f'would be {verb}' if selected.dry_run else _past(verb, done)}.")
    raise click.exceptions.Exit(code)


def _say(session: Session, matched: int, what: str) -> None:
    if session.json:
        session.output.json({"matched": matched})
    else:
        session.output.note(f"{_jobs(matched)} {what}.")


def _past(verb: str, count: int) -> str:
    return f"{'was' if count == 1 else 'were'} {verb}"


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count:,} jobs"
