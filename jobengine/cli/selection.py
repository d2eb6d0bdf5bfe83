"""The jobs that a command acts on: some by uid, or all that match."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, NoReturn, TypeVar, cast

import click

from jobengine.client import Job, JobEngineError, JobFilter, Queue

from .exit_codes import Exit, exit_of, what_is_wrong
from .parameters import CONDITIONS, QUEUE, all_filters, filters, with_options
from .prompts import confirm
from .session import Session
from .terminal_text import counted

F = TypeVar("F", bound=Callable[..., Any])


def chosen(options: dict[str, Any]) -> JobFilter:
    """Remove the options for a filter from `options`, and return them as the filter."""
    given = {condition: options.pop(option, None) for option, condition in CONDITIONS.items()}
    return cast(JobFilter, {name: value for name, value in given.items() if value is not None})


def _none_empty(context: click.Context, _: click.Parameter, uids: tuple[str, ...]) -> tuple[str, ...]:
    """The uids; raises UsageError if one is empty, as an unset shell variable is."""
    if "" in uids:
        raise click.UsageError("UID must not be empty.", context)
    return uids


#: The argument for the uids of a Selection.
UIDS: Final = click.argument("uids", metavar="[UID]...", nargs=-1, callback=_none_empty)


def selection(every: str = "All jobs of the queue.", *, all_conditions: bool = True) -> Callable[[F], F]:
    """
    A decorator that adds the arguments and options of a Selection. `every` is the help text of --all; without
    `all_conditions`, --error and --worker are left out, since the command uses them for itself.
    """
    options = (
        QUEUE,
        UIDS,
        all_filters if all_conditions else filters,
        click.option("--all", "every", is_flag=True, help=every),
        click.option("--dry-run", is_flag=True, help="Only count the jobs."),
        click.option("--yes", is_flag=True, help="Change several jobs without a confirmation."),
    )
    return lambda function: with_options(function, options)


class Selection(NamedTuple):
    """The selected jobs, and whether to confirm."""

    queue: Queue
    uids: Sequence[str]
    filter: JobFilter
    every: bool
    dry_run: bool
    yes: bool

    @classmethod
    def of(cls, session: Session, options: dict[str, Any], advice: str = "") -> "Selection":
        """
        Remove the options for a selection from `options`, and return the Selection. Raises UsageError, ending with
        `advice`, unless jobs are selected in exactly one way.
        """
        wanted = chosen(options)
        uids, every = options.pop("uids"), options.pop("every")
        if sum(map(bool, (uids, wanted, every))) > 1:
            raise click.UsageError(f"Choose the jobs in one way only: by uid, by filters, or with --all.{advice}")
        if not (uids or wanted or every):
            raise click.UsageError(f"Choose the jobs: by uid, by a filter such as --state, or with --all.{advice}")
        queue = session.queue(options.pop("queue_name"))
        return cls(queue, uids, wanted, every, options.pop("dry_run"), options.pop("yes"))


#: From this number of jobs on, a change needs a confirmation.
_MANY: Final = 2
#: Changes all matching jobs; has the parameters of Queue.cancel_all.
ToAll = Callable[..., int]
#: Changes one job, by uid.
ToOne = Callable[[str], Job | None]


class Sentence(NamedTuple):
    """The words that follow a count of jobs: for one job, and for several."""

    one: str
    several: str

    def of(self, count: int, where: str = "") -> str:
        """A sentence about this many jobs."""
        return f"{counted(count, 'job')}{where} {self.one if count == 1 else self.several}."


class Words(NamedTuple):
    """The words with which a command describes its effect."""

    #: The effect on the matching jobs, as shown before the change.
    before: Sentence
    #: The effect on the matching jobs, as shown after the change.
    after: Sentence
    #: Finds the effect on one job in the server's answer; None if the effect is the same for all jobs.
    outcome: Callable[[Job], Sentence] | None = None

    @classmethod
    def of(cls, verb: str) -> "Words":
        """The words for an effect that is the same for all jobs; `verb` is a participle, such as "deleted"."""
        return cls(Sentence(f"would be {verb}", f"would be {verb}"), Sentence(f"was {verb}", f"were {verb}"))

    def of_answer(self, job: Job | None) -> Sentence:
        """The effect on one job."""
        return self.after if job is None or self.outcome is None else self.outcome(job)


def act(
    session: Session,
    selected: Selection,
    words: Words,
    to_one: ToOne,
    to_all: ToAll,
    count: ToAll | None = None,
    look: ToOne | None = None,
) -> int:
    """
    Change the selected jobs, report the effect in `words`, and return how many jobs matched. If jobs are given by uid,
    this ends the command instead of returning.

    `look` and `count` are for dry runs and confirmations, and only needed if some selected jobs would stay as they are:
    `look` raises the error of such a job, and `count` counts the jobs that would change.
    """
    if selected.uids:
        to_each(session, selected, words, (look or selected.queue.get) if selected.dry_run else to_one)
    wanted: dict[str, Any] = dict(selected.filter)
    if selected.every:
        wanted["all"] = True
    if selected.dry_run or not selected.yes:
        matched = count(**wanted) if count else to_all(dry_run=True, **wanted)
        if selected.dry_run:
            return _report_effect(session, matched, words.before)
        confirm(f"{words.before.of(matched, f' of {selected.queue.name!r}')} Continue?", yes=matched < _MANY)
    return _report_effect(session, to_all(**wanted), words.after)


def to_each(session: Session, selected: Selection, words: Words, do: ToOne) -> NoReturn:
    """
    Change each job given by uid in turn, report the effect in `words`, and end the command. An error for one job does
    not stop the others.
    """
    counts, code = Counter[Sentence](), Exit.DONE
    for uid in selected.uids:
        try:
            job = do(uid)
        except JobEngineError as error:
            if (code := exit_of(error)) in (Exit.KEY_REFUSED, Exit.NO_ANSWER):
                raise
            session.output.note(f"jobengine: {uid}: {what_is_wrong(error)}")
        else:
            counts[words.before if selected.dry_run else words.of_answer(job)] += 1
            if session.json:
                session.output.json({"uid": uid} if job is None else job.raw)
    if not session.json:
        for one, count in counts.items():
            session.output.note(one.of(count))
    raise click.exceptions.Exit(code)


def _report_effect(session: Session, matched: int, sentence: Sentence) -> int:
    if session.json:
        session.output.json({"matched": matched})
    else:
        session.output.note(sentence.of(matched))
    return matched
