"""Adds with unique keys: which stored or new job holds a key, and which finished jobs lose theirs."""

from collections.abc import Sequence

from attrs import define, field
from msgspec.structs import replace

from ..facts import Fact, JobAdded, JobChanged
from ..key_holders import holds, job_to_keep, job_to_replace
from ..model import FINISHED, Job, Spec
from ..retention import at_least
from ..tables import Table
from ..transitions import without_key
from ..unique_rule import UniqueRule
from .new_job import NewJob


@define
class KeyTaking:
    """The holders of unique keys, with the jobs that one request has added and replaced."""

    table: Table
    now: int
    #: The jobs that may hold a key, by key and uid, for the keys of the request.
    _holders: dict[str, dict[str, Job]] = field(factory=dict)
    #: The indexes of the jobs that the request has added, by uid.
    _new: dict[str, int] = field(factory=dict)
    #: The stored jobs that the request has replaced, by uid; and the finished jobs that have lost their keys to it.
    _replaced: dict[str, Job] = field(factory=dict)
    _without_key: list[Job] = field(factory=list)

    def of(self, key: str) -> dict[str, Job]:
        """The jobs that may hold a key, by uid."""
        holders = self._holders.get(key)
        if holders is None:
            holders = self._holders[key] = {job.spec.uid: job for job in self.table.holders(key)}
        return holders

    def to_replace(self, key: str, rule: UniqueRule) -> Job | None:
        """The queued job that an add with this key and rule replaces, or None."""
        return job_to_replace([*self.of(key).values()], rule)

    def to_keep(self, key: str, rule: UniqueRule) -> Job | None:
        """The job that an add with this key and rule returns, instead of adding a job; None if it adds one."""
        return job_to_keep([*self.of(key).values()], rule, self.now)

    def enter(self, key: str, job: Job, index: int) -> None:
        """Give a key to a new job, the one with this index in the request; holders that have finished lose it."""
        holders = self.of(key)
        # Most keys are free.
        for one in [*holders.values()] if holders else ():
            if one.state in FINISHED and not holds(one, self.now):
                del holders[one.spec.uid]
                self._without_key.append(one)
        holders[job.spec.uid] = job
        self._new[job.spec.uid] = index

    def replace(self, key: str, job: Job) -> int | None:
        """Replace a holder of a key; returns the holder's index if this request has added the holder, else None."""
        self.of(key)[job.spec.uid] = job
        index = self._new.get(job.spec.uid)
        if index is None:
            self._replaced[job.spec.uid] = job
        return index

    def facts(self) -> Sequence[Fact]:
        """The facts about stored jobs."""
        name = self.table.queue.name
        lost = [JobChanged(name, job.spec.uid, without_key(job)) for job in self._without_key]
        return [*lost, *(JobAdded(name, job) for job in self._replaced.values())]


def spec_for(old: Spec, request: NewJob, rule: UniqueRule) -> Spec:
    """The new spec of a job that a request replaces; its uid, its place in line and its limits stay."""
    return replace(
        old,
        content=request.content,
        priority=request.priority,
        tags=request.tags,
        keep=at_least(old.keep, rule.seconds),
        rare=replace(old.rare, context=request.context, unique=rule),
    )
