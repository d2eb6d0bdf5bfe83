"""Adding jobs: defaults, limits, and repeated requests."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, TypeVar

from attrs import define, field
from msgspec.structs import replace

from ..access import PRODUCERS, authorise, derived_uid
from ..ageing import Order, line_of
from ..batches import BATCH
from ..dependants import awaited_by, end_of_job, with_ends
from ..dependencies import (
    NOT_YET,
    UNMET,
    Awaited,
    Dependencies,
    batch_in,
    batch_key,
    circle_in,
    mark_after,
)
from ..errors import (
    BadItem,
    DependencyCircle,
    DependencyExists,
    DomainError,
    QueueDraining,
    QueueFull,
    UidTaken,
    UniqueKeyTaken,
    UnknownDependency,
)
from ..facts import Fact, JobAdded
from ..flow import NO_FLOW, Flow
from ..gates import with_flow
from ..model import (
    NO_CONTEXT,
    SECOND,
    Defaults,
    Grant,
    Job,
    Queue,
    Rare,
    Spec,
    Standing,
    State,
    shared_rare,
)
from ..required_rows import Needs
from ..retention import Retention, at_least, retention
from ..tables import NOTHING, Decision, NewId, RecentActivity, Table, TableSet, table_of
from ..transitions import in_line, replaced
from ..unique_rule import PLAIN_RULE, UniqueRule
from .batch_members import Circles, check_takes_jobs
from .command import A_co, QueueCommand
from .key_taking import KeyTaking, spec_for
from .new_job import Added, NewJob, request_digest_of
from .reading import ReadLinks, may_read

__all__ = ["AddJobs"]


class AddingCommand(QueueCommand[A_co], frozen=True, kw_only=True):
    """A command that adds jobs to a queue."""

    reads = False

    #: The server's defaults, for a queue without its own.
    defaults: Defaults

    @property
    def new_jobs(self) -> Sequence[NewJob]:
        """The jobs to add."""
        # A Struct can't be an abstract class.
        raise NotImplementedError

    @property
    def queue_names(self) -> tuple[str, ...]:
        return (self.queue, *self._awaited_elsewhere())

    @property
    def parts(self) -> Sequence[QueueCommand[object]]:
        elsewhere = self._awaited_elsewhere()
        return [self, *(self._part(name, uids) for name, uids in elsewhere.items())] if elsewhere else (self,)

    def _awaited_elsewhere(self) -> dict[str, set[str]]:
        """The jobs of other queues that new jobs depend on: their uids, by queue."""
        found: dict[str, set[str]] = {}
        for job in self.new_jobs:
            for queue, uid in job.depends_on:
                if queue != self.queue:
                    found.setdefault(queue, set()).add(uid)
        return found

    def _part(self, queue: str, uids: Iterable[str]) -> ReadLinks:
        return ReadLinks(
            queue=queue, uids=tuple(uids), access_key=self.access_key, admin=self.admin, named_in="depends_on"
        )

    def needs(self, queue: Queue, grant: Grant) -> Needs:
        jobs = [job for job in self.new_jobs if job.names_others]
        if not jobs:
            return Needs(size=queue.max_jobs > 0, adds=True)
        uids = {job.uid for job in jobs if job.uid is not None}
        derived = {
            derived_uid(queue, job.idempotency_key, grant.key_id)
            for job in jobs
            if job.uid is None and job.idempotency_key is not None
        }
        awaited = {uid for job in jobs for name, uid in job.depends_on if name == self.queue}
        batches = frozenset((BATCH, job.batch) for job in jobs if job.batch is not None)
        return Needs(
            uids=frozenset(uids | derived | awaited),
            unique_keys=frozenset(job.unique_key for job in jobs if job.unique_key is not None),
            items=batches,
            dependants=any(job.depends_on and (job.batch or job.uid or job.idempotency_key) for job in jobs),
            size=queue.max_jobs > 0,
            adds=True,
        )

    def flow_after(self, queue: Queue) -> Flow | None:
        # Without a generator, which takes twice as long.
        return NO_FLOW if queue.flow is None and {job.group for job in self.new_jobs} - {None} else None

    def decide(self, tables: TableSet, now: int, new_id: NewId, activity: RecentActivity) -> Decision[A_co]:
        table = table_of(tables, self.queue)
        grant = authorise(table.queue, self, now)
        elsewhere = {}
        for name in self._awaited_elsewhere():
            other = table_of(tables, name)
            elsewhere[name] = (other, authorise(other.queue, self._part(name, ()), now))
        return self.decide_with(Adding(table, grant, self.defaults, now, new_id, elsewhere))

    def decide_in(
        self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity
    ) -> Decision[A_co]:
        return self.decide_with(Adding(table, grant, self.defaults, now, new_id))

    def decide_with(self, adding: "Adding") -> Decision[A_co]:
        """The command's rule."""
        # A Struct can't be an abstract class.
        raise NotImplementedError


class AddJobs(AddingCommand[Sequence[Added]], frozen=True, kw_only=True):
    """Add jobs, all or none."""

    roles = PRODUCERS
    is_batched = True
    overlaps = True

    #: The jobs to add.
    jobs: tuple[NewJob, ...]
    #: Whether the request has a list of jobs; then an error names the index of the job.
    many: bool = False

    @property
    def new_jobs(self) -> Sequence[NewJob]:
        return self.jobs

    @property
    def weight(self) -> int:
        return len(self.jobs)

    def decide_with(self, adding: "Adding") -> Decision[Sequence[Added]]:
        """
        Add the jobs. A job that an earlier request added is returned unchanged, and makes no fact.

        Raises DependencyCircle; and QueueDraining, QueueFull, UidTaken, UniqueKeyTaken, UnknownDependency,
        BatchNotFound, BatchEnded, DependencyExists, WouldWaitForItself or TooManyDependants, each inside a BadItem if
        `many` is true.
        """
        added = adding.add_all(self.jobs, many=self.many)
        return adding.facts(), added


A = TypeVar("A")
B = TypeVar("B")
_NOWHERE: Final[Mapping[str, tuple[Table, Grant]]] = MappingProxyType({})


@define
class Adding:
    """Jobs that are added together to a queue; each is also checked against the jobs before it."""

    table: Table
    grant: Grant
    server_defaults: Defaults
    now: int
    new_id: NewId
    #: The other queues whose jobs the new jobs depend on, with the key's grant for each.
    elsewhere: Mapping[str, tuple[Table, Grant]] = _NOWHERE
    #: The request's field with the list of jobs, for errors.
    place: str = "jobs"
    new: list[Job] = field(factory=list)
    #: The uids in the request; its jobs may depend on each other in any order.
    uids: frozenset[str] = frozenset()
    #: For each uid in the request whose job was not added: the uid of the stored job that holds its unique key.
    found: Mapping[str | None, str] = MappingProxyType({})
    _by_uid: dict[str, Job] = field(factory=dict)
    #: The holders of unique keys; None until a new job has a unique key.
    _keys: KeyTaking | None = None
    #: Whether any of the jobs has a group.
    has_groups: bool = False

    def __attrs_post_init__(self) -> None:
        defaults = self.defaults = self.table.queue.defaults or self.server_defaults
        failed = defaults.keep_failed_minutes
        if failed is None:
            failed = self.server_defaults.keep_failed_minutes
        self.keep = retention(defaults.keep_minutes, defaults.keep_minutes if failed is None else failed)
        # The standing that all jobs without a delay share.
        self.queued = Standing(state=State.QUEUED, updated=self.now)
        self._rare_before = shared_rare(self.grant.key_id, None)
        self._order = self.table.queue.order

    defaults: Defaults = field(init=False)
    keep: Retention = field(init=False)
    queued: Standing = field(init=False)
    #: The rare fields of the last job that had only author, group and batch; most jobs of a request share them.
    _rare_before: Rare = field(init=False)
    _order: Order | None = field(init=False)
    #: The batches that are known to be open for jobs.
    _open_batches: set[str] = field(factory=set, init=False)
    _circles: Circles | None = None
    #: Whether any new job depends on a stored job that waits itself.
    follows_waiting: bool = False

    @property
    def circles(self) -> Circles:
        """Finds circles; made at the first use, since most requests have no dependencies."""
        if self._circles is None:
            self._circles = Circles(self.table)
        return self._circles

    def add_all(self, requests: Sequence[NewJob], *, many: bool) -> list[Added]:
        """
        Make or find all jobs of a request.

        Raises DependencyCircle, and the errors of `add` or DependencyExists, with `many` within a BadItem.
        """
        links = [one for one in requests if one.depends_on]
        if not links:
            return self._each(self.add, requests, many=many)
        self.uids = frozenset(one.uid for one in requests if one.uid is not None)
        for one in links:
            self.circles.enter(one.uid, one.batch, one.depends_on)
        added = self._each(self.add, requests, many=many)
        pairs = [*zip(requests, added, strict=True)]
        self.found = {one.uid: its.job.spec.uid for one, its in pairs if one.uid not in (None, its.job.spec.uid)}
        if self.found:
            self._each(self._check_found, pairs, many=many)
        self._check_circle(links)
        if self.follows_waiting:
            self._each(self._check_followers, pairs, many=many)
        return added

    def _each(self, rule: Callable[[A], B], jobs: Sequence[A], *, many: bool) -> list[B]:
        """Apply a rule to each job; with `many` its errors are raised within a BadItem."""
        results = []
        for index, job in enumerate(jobs):
            try:
                results.append(rule(job))
            except DomainError as error:
                if many:
                    raise BadItem(index, error, self.place) from None
                raise
        return results

    def _check_found(self, one: tuple[NewJob, Added]) -> None:
        """Raise DependencyExists if a new job depends on a job of the request that was not added; see `found`."""
        request, added = one
        for queue, uid in request.depends_on if added.new else ():
            if queue == self.table.queue.name and uid in self.found:
                raise DependencyExists(uid, self.found[uid])

    def _check_followers(self, one: tuple[NewJob, Added]) -> None:
        """
        Check that a new job with the uid of a removed job does not depend on a job that still waits for this uid.

        Raises WouldWaitForItself or TooManyDependants.
        """
        request, added = one
        its = (self.table.queue.name, added.job.spec.uid)
        has_old_uid = request.uid is not None or request.idempotency_key is not None
        if has_old_uid and added.new and request.depends_on and self.table.dependants(its, 1):
            self.circles.check(request.depends_on, its, f"the job {its[1]}")

    def facts(self) -> list[Fact]:
        """The facts that add the new jobs, and replace or change stored ones."""
        facts: list[Fact] = [JobAdded(self.table.queue.name, job) for job in self.new]
        before = self.facts_before()
        return [*before, *facts] if before else facts

    def facts_before(self) -> Sequence[Fact]:
        """The facts to apply before those of the new jobs: they give the queue flow, or change stored jobs."""
        if self._keys is None:
            return with_flow(self.table) if self.has_groups else NOTHING
        return [*(with_flow(self.table) if self.has_groups else NOTHING), *self._keys.facts()]

    def _check_circle(self, links: Iterable[NewJob]) -> None:
        """Raise DependencyCircle if new jobs would wait for each other."""
        name = self.table.queue.name
        within = {
            one.uid: [uid for queue, uid in one.depends_on if queue == name and uid in self.uids]
            for one in links
            if one.uid is not None
        }
        circle = circle_in(within)
        if circle is not None:
            raise DependencyCircle(circle)

    def add(self, request: NewJob) -> Added:
        """
        Make one job, or find the job that an earlier request made.

        Raises QueueDraining, QueueFull, UidTaken, UniqueKeyTaken, UnknownDependency, BatchNotFound, BatchEnded,
        WouldWaitForItself or TooManyDependants.
        """
        uid = digest = None
        # Most jobs have no uid or key by which they could exist already.
        if request.uid is not None or request.idempotency_key is not None or request.unique_key is not None:
            uid, digest = self._identity(request)
            there = self._there(request, uid, digest)
            if there is not None:
                return there
        job = self._make(request, uid or self.new_id(), digest)
        if request.batch is not None and (request.depends_on or request.batch not in self._open_batches):
            self._check_batch(request.batch, request.depends_on)
        if request.depends_on:
            job = self._waiting(job, request)
        self._admit()
        self.new.append(job)
        if uid is not None:
            self._by_uid[uid] = job
        if request.unique_key is not None:
            self._keys_of_request.enter(request.unique_key, job, len(self.new) - 1)
        return Added(job, new=True)

    def _waiting(self, job: Job, request: NewJob) -> Job:
        """The new job with its dependencies judged: it waits, is ready or has failed; raises UnknownDependency."""
        ends = "".join(
            mark_after(NOT_YET, self._end(*one), request.on_dependency_failure) for one in request.depends_on
        )
        waiting = Job(job.spec, replace(job.standing, ended=NOT_YET * len(ends)))
        failed = next((uid for (_, uid), mark in zip(request.depends_on, ends, strict=True) if mark == UNMET), "")
        return Job(job.spec, with_ends(waiting, ends, self.now, lambda: f"dependency {failed} failed"))

    def _check_batch(self, batch: str, depends_on: Sequence[Awaited]) -> None:
        """Check the batch of a job; raises BatchNotFound, BatchEnded, WouldWaitForItself or TooManyDependants."""
        check_takes_jobs(self.table, batch)
        self._open_batches.add(batch)
        if depends_on:
            self.circles.check(depends_on, (self.table.queue.name, batch_key(batch)), f"the batch {batch}")

    def _table(self, queue: str) -> tuple[Table, Grant]:
        """The table of a queue whose jobs the new jobs depend on, and the key's grant there."""
        return (self.table, self.grant) if queue == self.table.queue.name else self.elsewhere[queue]

    def _end(self, queue: str, uid: str) -> str:
        """How a dependency stands, as one of the characters of end_of; a new job of this request is unfinished."""
        if batch_in(uid) is not None:
            return NOT_YET
        table, grant = self._table(queue)
        job = table.job(uid)
        if job is None and table is self.table and uid in self.uids:
            return NOT_YET
        if job is None or not may_read(job, grant):
            raise UnknownDependency(queue, uid, has_dead_letter=table.queue.dead_letter is not None)
        self.follows_waiting = self.follows_waiting or bool(awaited_by(job))
        return end_of_job(job)

    def _identity(self, request: NewJob) -> tuple[str | None, str | None]:
        """The uid and digest of a job that its client can request again; (None, None) for other jobs."""
        uid = request.uid
        if uid is None and request.idempotency_key is not None:
            uid = derived_uid(self.table.queue, request.idempotency_key, self.grant.key_id)
        # A request without a uid is never the repetition of another one, so it needs no digest to compare.
        return uid, None if uid is None else request_digest_of(request)

    def _there(self, request: NewJob, uid: str | None, digest: str | None) -> Added | None:
        """
        The existing job that this request returns instead of adding one, replaced if the request demands that; or None.

        Raises UidTaken or UniqueKeyTaken if a different job has its uid or key.
        """
        if uid is not None and (there := self._by_uid.get(uid) or self.table.job(uid)) is not None:
            if there.spec.rare.request_digest != digest or not may_read(there, self.grant):
                raise UidTaken(uid, repeated=uid in self._by_uid)
            return Added(there, new=False)
        return None if request.unique_key is None else self._with_key(request, request.unique_key)

    def _with_key(self, request: NewJob, unique_key: str) -> Added | None:
        """The job that a request returns because that job holds the unique key, or None; raises UniqueKeyTaken."""
        keys, rule = self._keys_of_request, request.unique or PLAIN_RULE
        if not keys.of(unique_key):
            return None
        replaces = keys.to_replace(unique_key, rule)
        there = replaces or keys.to_keep(unique_key, rule)
        if there is None:
            return None
        if not may_read(there, self.grant):
            raise UniqueKeyTaken
        return Added(there, new=False) if replaces is None else self._replace(request, unique_key, rule, replaces)

    @property
    def _keys_of_request(self) -> KeyTaking:
        if self._keys is None:
            self._keys = KeyTaking(self.table, self.now)
        return self._keys

    def _replace(self, request: NewJob, unique_key: str, rule: UniqueRule, job: Job) -> Added:
        """Replace what a queued job does, and when it can be claimed."""
        spec = in_line(self.table.queue, spec_for(job.spec, request, rule))
        job = replaced(job, spec, *self._times(request, job.spec.created), self.now)
        index = self._keys_of_request.replace(unique_key, job)
        if index is not None:
            self.new[index] = job
        if job.spec.uid in self._by_uid:
            self._by_uid[job.spec.uid] = job
        return Added(job, new=False, replaced=True)

    def _admit(self) -> None:
        queue = self.table.queue
        if queue.draining:
            raise QueueDraining
        if queue.max_jobs and self.table.size() + len(self.new) >= queue.max_jobs:
            raise QueueFull(queue.max_jobs)

    def _make(self, request: NewJob, uid: str, digest: str | None) -> Job:
        defaults = self.defaults
        spec = Spec(
            uid=uid,
            priority=request.priority,
            arrival=self.table.next_arrival + len(self.new),
            keep=self.keep if request.keep_minutes is None and request.unique is None else self._keep(request),
            timeout_seconds=defaults.timeout_seconds if request.timeout_seconds is None else request.timeout_seconds,
            timeout_time=request.timeout_time,
            content=request.content,
            created=self.now,
            tags=request.tags,
            max_attempts=defaults.max_attempts if request.max_attempts is None else request.max_attempts,
            retry_delay_seconds=(
                defaults.retry_delay_seconds if request.retry_delay_seconds is None else request.retry_delay_seconds
            ),
            rare=self._rare(request, digest),
        )
        is_delayed = request.delay_seconds or request.not_before or request.unique is not None
        return Job(spec, self._delayed(request) if is_delayed else self.queued)

    def _keep(self, request: NewJob) -> Retention:
        minutes = request.keep_minutes
        keep = self.keep if minutes is None else retention(minutes, minutes)
        return keep if request.unique is None else at_least(keep, request.unique.seconds)

    def _rare(self, request: NewJob, digest: str | None) -> Rare:
        group, batch, before = request.group, request.batch, self._rare_before
        line = None if self._order is None else line_of(self._order, request.priority, self.now)
        if group is not None:
            self.has_groups = True
        if digest is None and request.context is NO_CONTEXT and not (request.unique_key or request.depends_on):
            # Comparing two Nones by == takes longer.
            if (
                (group is before.group or group == before.group)
                and (batch is before.batch or batch == before.batch)
                and (line is before.line or line == before.line)
            ):
                return before
            rare = shared_rare(self.grant.key_id, group, batch)
            self._rare_before = rare if line is None else replace(rare, line=line)
            return self._rare_before
        depends = Dependencies(request.depends_on, request.on_dependency_failure) if request.depends_on else None
        return Rare(
            unique_key=request.unique_key,
            request_digest=digest,
            author=self.grant.key_id,
            context=request.context,
            group=group,
            batch=batch,
            dependencies=depends,
            unique=request.unique,
            line=line,
        )

    def _delayed(self, request: NewJob) -> Standing:
        ready_at, not_before = self._times(request, self.now)
        if not ready_at and not not_before:
            return self.queued
        return Standing(state=State.QUEUED, updated=self.now, ready_at=ready_at, not_before=not_before)

    def _times(self, request: NewJob, created: int) -> tuple[int, int]:
        """`ready_at` and `not_before` of a job that was first added at `created`."""
        ready_at = self.now + request.delay_seconds * SECOND if request.delay_seconds else 0
        if request.unique is not None and request.unique.debounce is not None:
            ready_at = request.unique.debounce.delay_until(created, self.now)
        not_before = request.not_before * SECOND
        return ready_at, not_before if not_before > self.table.wall(self.now) else 0
