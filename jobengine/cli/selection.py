"""Which jobs a command is to act on: some by uid, or all that match."""

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


def selection(function: F) -> F:
    """The arguments and options with which `Selection` is made."""
    options = (
        click.argument("queue_name", metavar="QUEUE"),
        click.argument("uids", metavar="[UID]...", nargs=-1),
        filters,
        click.option("--all", "every", is_flag=True, help="All jobs of the queue."),
        click.option("--dry-run", is_flag=True, help="Only say how many there are."),
        click.option("--yes", is_flag=True, help="Do not ask before it is done to many."),
    )
    for option in reversed(options):
        function = option(function)
    return function


class Selection(NamedTuple):
    """Which jobs, and whether to ask."""

    queue: Queue
    uids: Sequence[str]
    filter: JobFilter
    every: bool
    dry_run: bool
    yes: bool

    @classmethod
    def of(cls, session: Session, asked: dict[str, Any]) -> "Selection":
        """What was asked for; takes its options out of `asked`. Raises UsageError if it says nothing, or two things."""
        wanted = chosen(asked.pop("state"), asked.pop("tag"), asked.pop("search"))
        uids, every = asked.pop("uids"), asked.pop("every")
        if sum(map(bool, (uids, wanted, every))) != 1:
            raise click.UsageError("Say which jobs: their uids, or --state, --tag and --search, or --all.")
        queue = session.queue(asked.pop("queue_name"))
        return cls(queue, uids, wanted, every, asked.pop("dry_run"), asked.pop("yes"))


#: So many are done without asking.
_MANY: Final = 2
#: What is done to all that match; the arguments are those of Queue.cancel_all.
ToAll = Callable[..., int]
#: What is done to one job.
ToOne = Callable[[str], Job | None]


def act(session: Session, selected: Selection, verb: str, to_one: ToOne, to_all: ToAll) -> None:
    """Do it to the jobs; `verb` is what was done to them, such as "cancelled"."""
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
        ask(f"{_jobs(matched)} of {selected.queue.name!r} would be {verb}. Go on?", yes=matched < _MANY)
    matched = to_all(**wanted)
    _say(session, matched, _past(verb, matched))


def _to_each(session: Session, selected: Selection, verb: str, do: ToOne) -> None:
    """Do it to one after the other; those that fail keep no other from being done."""
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
