"""The line of waiters for jobs, and the jobs that have become ready for them, by queue and tags."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from heapq import merge
from itertools import count, islice
from typing import Final, Generic, NoReturn, TypeVar

from attrs import define, field
from msgspec import Struct
from twisted.internet.defer import Deferred

from ..core.commands import ClaimResult, Claims, Peek
from ..core.errors import DomainError
from ..core.model import Job, Rank
from ..core.tables import Table

#: The tags that a waiter wants, or that a job has.
Tags = frozenset[str]


@define(eq=False)
class Waiter:
    """A waiter for jobs."""

    command: Claims | Peek
    #: Lower for waiters that came earlier.
    number: int
    #: Fires with the jobs that the waiter was given.
    done: "Deferred[Outcome[ClaimResult]]"
    #: Since when the waiter's worker waits, and when the request came, in elapsed milliseconds; see WaitingClaim.
    since: int = 0
    requested: int = 0
    queues: tuple[str, ...] = field(init=False)
    tags: Tags = field(init=False)
    #: The most jobs that the waiter takes.
    count: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        command = self.command
        self.queues = command.queue_names
        self.tags = frozenset(command.tags) if isinstance(command, Claims) else frozenset()
        self.count = command.count if isinstance(command, Claims) else 1


@define
class Line:
    """
    All waiters for jobs, first come first.

    They are grouped by queue, then by one of their tags (None without tags), then by all their tags. So a job is
    compared only with waiters for one of its tags.
    """

    #: The waiters by queue, tag, tags and number; empty if nobody waits.
    queues: dict[str, dict[str | None, dict[Tags, dict[int, Waiter]]]] = field(factory=dict)
    _numbers: "count[int]" = field(factory=count)

    def __bool__(self) -> bool:
        """Whether anybody waits."""
        return bool(self.queues)

    def __len__(self) -> int:
        """The number of waiters."""
        return sum(1 for _ in self.of(self.queues))

    def add(self, command: Claims | Peek, since: int = 0, requested: int = 0) -> "Deferred[Outcome[ClaimResult]]":
        """Join the line; cancel the Deferred to leave it. For the times see Waiter."""
        done: Deferred[Outcome[ClaimResult]] = Deferred(lambda _: self.remove(waiter))
        waiter = Waiter(command, next(self._numbers), done, since, requested)
        for name in waiter.queues:
            groups = self.queues.setdefault(name, {}).setdefault(_filed_under(waiter.tags), {})
            groups.setdefault(waiter.tags, {})[waiter.number] = waiter
        return done

    def remove(self, waiter: Waiter) -> None:
        """Remove a waiter."""
        under = _filed_under(waiter.tags)
        for name in waiter.queues:
            queue = self.queues.get(name, {})
            groups = queue.get(under, {})
            group = groups.get(waiter.tags, {})
            group.pop(waiter.number, None)
            # Keep no empty containers.
            if not group:
                groups.pop(waiter.tags, None)
            if not groups:
                queue.pop(under, None)
            if not queue:
                self.queues.pop(name, None)

    def names(self) -> list[str]:
        """The queues that anybody waits for."""
        return list(self.queues)

    def waits_for(self, name: str) -> bool:
        """Whether anybody waits for jobs of a queue."""
        return name in self.queues

    def claims(self, name: str) -> Iterator[Waiter]:
        """
        The claims that wait for jobs of a queue, unordered; waiting peeks are left out.

        May be called on any thread: each container is copied in one step of the interpreter.
        """
        for groups in list(self.queues.get(name, {}).values()):
            for group in list(groups.values()):
                yield from (one for one in list(group.values()) if isinstance(one.command, Claims))

    def wanted(self, name: str) -> list[tuple[tuple[str, ...], int]]:
        """How many jobs the waiters of a queue would take, by the tags that they want."""
        return [(tuple(tags), sum(waiter.count for waiter in group.values())) for tags, group in self._groups(name)]

    def of(self, names: Iterable[str]) -> Iterator[Waiter]:
        """The waiters for any of these queues, in the order of arrival; a waiter that leaves meanwhile is skipped."""
        return _in_order([group for name in names for _, group in self._groups(name)])

    def matching(self, ready: Mapping[str, "ReadyJobs"]) -> Iterator[Waiter]:
        """The waiters whose tags match at least one of these ready jobs, in the order of arrival."""
        groups = []
        for name, jobs in ready.items():
            queue = self.queues.get(name, {})
            # A waiter is filed under only one of its tags, so no waiter comes twice.
            for under in {None, *(tag for tags in jobs.kinds for tag in tags)} & queue.keys():
                groups += [group for tags, group in queue[under].items() if jobs.any_with(tags)]
        return _in_order(groups)

    def end(self) -> None:
        """Wake all waiters, with no jobs."""
        for waiter in self.of(list(self.queues)):
            self.remove(waiter)
            waiter.done.callback(NO_JOBS)

    def _groups(self, name: str) -> Iterator[tuple[Tags, dict[int, Waiter]]]:
        for groups in self.queues.get(name, {}).values():
            yield from groups.items()


def _filed_under(tags: Tags) -> str | None:
    return min(tags, default=None)


def _in_order(groups: Iterable[Mapping[int, Waiter]]) -> Iterator[Waiter]:
    previous = None
    for waiter in merge(*(list(group.values()) for group in groups), key=lambda waiter: waiter.number):
        if waiter is not previous and not waiter.done.called:
            yield waiter
        previous = waiter


@define
class ReadyJobs:
    """Jobs of one queue that have become ready, by their tags."""

    _table: Table
    #: The ranks of the jobs by their tags.
    kinds: dict[tuple[str, ...], dict[Rank, None]] = field(factory=dict)
    #: How many of these jobs are still ready, as far as is known.
    left: int = 0
    #: The ready jobs for waiters with certain tags, in execution order; made when the first such waiter is served.
    _choices: dict[Tags, deque[Rank]] = field(factory=dict)

    def add(self, jobs: Iterable[Job]) -> None:
        """Add jobs that have become ready."""
        for job in jobs:
            kind = self.kinds.setdefault(job.spec.tags, {})
            self.left += job.spec.rank not in kind
            kind[job.spec.rank] = None

    def any_with(self, tags: Tags) -> bool:
        """Whether any job has all of these tags."""
        return any(tags.issubset(kind) for kind in self.kinds)

    def uids(self, tags: Tags, most: int) -> tuple[str, ...]:
        """The uids of the first `most` jobs with all of these tags that are still ready, in execution order."""
        choice = self._choices.get(tags)
        if choice is None:
            matching = (ranks for kind, ranks in self.kinds.items() if tags.issubset(kind))
            choice = self._choices[tags] = deque(sorted(rank for ranks in matching for rank in ranks))
        while choice and not self._is_ready(choice[0][2]):
            choice.popleft()
        return tuple(islice((rank[2] for rank in choice if self._is_ready(rank[2])), most))

    def recount(self, uids: Iterable[str]) -> None:
        """Subtract the jobs of an offer that are no longer ready."""
        self.left -= sum(1 for uid in uids if not self._is_ready(uid))

    def _is_ready(self, uid: str) -> bool:
        job = self._table.job(uid)
        return job is not None and job.ready


@define
class Ends:
    """All waiters for a job to finish."""

    #: The waiters by queue and uid of the job; empty if nobody waits.
    jobs: "dict[tuple[str, str], list[Deferred[Job | None]]]" = field(factory=dict)

    def __bool__(self) -> bool:
        """Whether anybody waits."""
        return bool(self.jobs)

    def __len__(self) -> int:
        """The number of waiters."""
        return sum(map(len, self.jobs.values()))

    def places(self) -> list[tuple[str, str]]:
        """The awaited jobs: queue and uid of each."""
        return list(self.jobs)

    def add(self, queue: str, uid: str) -> "Deferred[Job | None]":
        """
        A Deferred that fires with the finished job, or None if it is removed unfinished.

        To stop waiting, cancel it or call `remove`.
        """
        done: Deferred[Job | None] = Deferred(lambda _: self.remove(queue, uid, done))
        self.jobs.setdefault((queue, uid), []).append(done)
        return done

    def remove(self, queue: str, uid: str, done: "Deferred[Job | None]") -> None:
        """Remove a waiter, if it still waits."""
        waiting = self.jobs.get((queue, uid), [])
        if done in waiting:
            waiting.remove(done)
        if not waiting:
            self.jobs.pop((queue, uid), None)

    def wake(self, queue: str, uid: str, job: Job | None) -> None:
        """Wake the waiters for a job that is finished or removed."""
        for done in self.jobs.pop((queue, uid), ()):
            done.callback(job)

    def end(self, queues: Iterable[str] | None = None) -> None:
        """Wake all waiters, or only the waiters for jobs of these queues, with None."""
        for queue, uid in [place for place in self.jobs if queues is None or place[0] in queues]:
            self.wake(queue, uid, None)


def has_become_ready(old: Job | None, new: Job) -> bool:
    """Whether this change may let waiting claims get the job: it was not ready before, or had other tags."""
    return new.ready and (old is None or not old.ready or old.spec.tags != new.spec.tags)


A = TypeVar("A")
A_co = TypeVar("A_co", covariant=True)


class Done(Struct, Generic[A_co], frozen=True):
    """The command was carried out."""

    answer: A_co
    #: Whether the command changed anything.
    changed: bool
    #: Whether a claim got no job because all ready jobs were locked. True only for claims without updates, which may be
    #: repeated.
    passed_over: bool = False

    def get(self) -> A_co:
        """The answer."""
        return self.answer


class Refused(Struct, frozen=True):
    """The command was refused, and nothing has changed."""

    error: DomainError
    changed: bool = False

    def get(self) -> NoReturn:
        """Raise the error."""
        raise self.error


Outcome = Done[A] | Refused
#: The outcome of a wait without a job.
NO_JOBS: Final = Done(ClaimResult(), changed=False)
