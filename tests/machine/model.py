"""
A model of an engine, as simple as possible: lists that are searched at each call, without JobEngine's code.

It has three clocks: the monotonic clock (`steady`), elapsed time, and the wall clock, which may be set. All times are
in milliseconds.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

from attrs import asdict, define, evolve, field

from tests.machine.jobs import FINISHED, Asked, Job, Lives, only_state, removal
from tests.machine.queues import OF_QUEUE, ROLES, Queue, Refused

NEVER = 1 << 62


def as_it_reads(text: str) -> str:
    """A JSON text with each escape replaced by its character."""
    return re.sub(r"(?:\\u[0-9a-fA-F]{4})+|\\.", lambda found: str(json.loads(f'"{found[0]}"')), text)


#: The queue's name, the job, and how it was shown.
Claimed = tuple[str, Job, dict[str, Any]]


@define(kw_only=True, eq=False)
class Waiter:
    """A waiter: for jobs to claim, or for the end of a job."""

    number: int
    ends: int
    queues: list[str]
    key: str
    count: int = 1
    tags: tuple[str, ...] = ()
    worker: str | None = None
    job: Job | None = None


@define(eq=False)
class Model(Lives):
    """All queues of an engine, without its moves; see MovingModel."""

    queues: dict[str, Queue] = field(factory=dict)
    waiters: list[Waiter] = field(factory=list)
    #: The answers to waiters, by number: the jobs for a claim, the shown job for an end.
    told: dict[int, Any] = field(factory=dict)
    #: The number of jobs in one slice of a sweep.
    slice_size: int = 500
    _numbers: int = 0

    # Time

    def tick(self) -> None:
        """Make all due changes by time."""
        while any(self._outlive(queue, job) for queue in self.queues.values() for job in list(queue.jobs)):
            pass
        for queue in self.queues.values():
            queue.forget(self.now)

    def _outlive(self, queue: Queue, job: Job) -> bool:
        if self.due(job) > self.steady:
            return False
        if job.state == "inprogress":
            self._fail(job, "timeout", "timed out", retry=True)
        elif job.state == "queued" and not (job.until and job.until * 1000 <= self.wall):
            job.ready_at = job.ready_at if job.ready_at > self.now else 0
            job.not_before = job.not_before if job.not_before > self.wall else 0
        else:
            self._remove(queue, job)
        return True

    def due(self, job: Job) -> int:
        """When the job changes by time alone, by the monotonic clock."""
        if job.state == "inprogress":
            return job.held_from + job.timeout * 1000 - self.origin if job.timeout else NEVER
        if job.state == "queued":
            by_wall = [at - self.wall_ahead for at in (job.until * 1000, job.not_before) if at]
            return min([*by_wall, *([job.ready_at - self.origin] if job.ready_at else [])], default=NEVER)
        return removal(job) - self.origin

    def next_time(self) -> tuple[int, int]:
        """When the next job changes by time alone, and when the next wait ends."""
        jobs = [self.due(job) for queue in self.queues.values() for job in queue.jobs]
        holds = [until - self.origin for queue in self.queues.values() for until in queue.held.values()]
        return min([*jobs, *holds], default=NEVER), min((waiter.ends for waiter in self.waiters), default=NEVER)

    def settle(self) -> None:
        """Make all due changes, and serve waiters."""
        for waiter in [one for one in self.waiters if one.ends <= self.steady]:
            self._resolve(waiter, partial(self._give_up, waiter))
        while True:
            before = len(self.waiters)
            self.tick()
            self._tell_of_ends()
            self._serve(self.waiters)
            self.tick()
            if len(self.waiters) == before and not self._ended:
                return

    def step_clock(self, ms: int) -> None:
        self.wall_ahead += ms

    def release(self) -> None:
        """Answer all waiters now, with what they have so far."""
        for waiter in list(self.waiters):
            self._resolve(waiter, partial(self._give_up, waiter))

    def restart(self, ms: int) -> None:
        """After a restart elapsed time continues by the wall clock, but not before the last change by a holder."""
        known = self.ahead
        self.wall_ahead += ms
        held = [job.updated for queue in self.queues.values() for job in queue.jobs if job.state == "inprogress"]
        self.origin = max([self.wall - known, *held]) - self.steady

    # Waiters

    def wait(self, **more: Any) -> Waiter:
        self._numbers += 1
        waiter = Waiter(number=self._numbers, **more)
        self.waiters.append(waiter)
        return waiter

    def wait_claim(self, ends: int, **claim: Any) -> int:
        """Claim, or wait if no job is ready; returns the waiter's number."""
        waiter = self.wait(ends=NEVER, **claim)
        self._serve([waiter])
        waiter.ends = ends
        if waiter in self.waiters and ends == self.steady:
            self._resolve(waiter, list)
        return waiter.number

    def await_end(self, name: str, key: str, job: Job, ends: int) -> int:
        """Wait for the end of a job, or answer at once; returns the waiter's number."""
        waiter = self.wait(queues=[name], key=key, job=job, ends=ends)
        try:
            answer: Any = self.see(self.read(name, key, job.uid))
        except Refused as refused:
            answer = refused
        if job.state in FINISHED or isinstance(answer, Refused):
            self.waiters.remove(waiter)
            self.told[waiter.number] = answer
        return waiter.number

    def leave(self, waiter: Waiter) -> None:
        self.waiters.remove(waiter)

    def _resolve(self, waiter: Waiter, answer: Callable[[], Any]) -> None:
        self.waiters.remove(waiter)
        try:
            self.told[waiter.number] = answer()
        except Refused as refused:
            self.told[waiter.number] = refused

    def _give_up(self, waiter: Waiter) -> Any:
        return [] if waiter.job is None else self._look(waiter)

    def _look(self, waiter: Waiter, otherwise: Any = None) -> Any:
        """The awaited job in its present state or, if it was removed already, its final state (`otherwise`)."""
        assert waiter.job is not None
        if otherwise is not None and waiter.job not in self.open(waiter.queues[0], waiter.key, "read").jobs:
            return otherwise
        return self.see(self.read(waiter.queues[0], waiter.key, waiter.job.uid))

    def _goes_on(self, waiter: Waiter) -> bool:
        """Whether a waiter for a job's end keeps waiting, because the job was queued again."""
        assert waiter.job is not None
        with suppress(Refused):
            there = waiter.job in self.open(waiter.queues[0], waiter.key, "read").jobs
            return there and waiter.job.state not in FINISHED and waiter.ends > self.steady
        return False

    def _tell_of_ends(self) -> None:
        ended, self._ended = self._ended, []
        for job, seen in ended:
            for waiter in [one for one in self.waiters if one.job is job]:
                self.counted["end awaited"] += 1
                if seen is None or not self._goes_on(waiter):
                    self._resolve(waiter, partial(self._look, waiter, seen))
        for waiter in [one for one in self.waiters if one.job and one.queues[0] not in self.queues]:
            self._resolve(waiter, partial(self._look, waiter))

    def _serve(self, waiters: list[Waiter]) -> None:
        """First come, first served; a waiter whose key was revoked is refused."""
        for waiter in [one for one in waiters if one.job is None]:
            try:
                jobs = self.claim(waiter.queues, waiter.key, waiter.count, waiter.tags, waiter.worker)
            except Refused as refused:
                self.waiters.remove(waiter)
                self.told[waiter.number] = refused
                continue
            if jobs:
                self.counted["given at once" if waiter.ends == NEVER else "given later"] += len(jobs)
                self.waiters.remove(waiter)
                self.told[waiter.number] = jobs

    # Access

    def open(self, name: str, key: str, what: str) -> Queue:
        if name not in self.queues:
            raise Refused("QueueNotFound")
        queue = self.queues[name]
        role = queue.role(key)[0]
        if role != "owner" and what not in ROLES[role]:
            raise Refused("NotAllowed")
        return queue

    def set_up(self, queue: Queue, settings: dict[str, Any]) -> None:
        """Change settings; `held_until`, in Unix seconds, is not a setting."""
        given = dict(settings)
        held_until = given.pop("held_until", None)
        queue.set_up(given)
        if held_until is not None:
            queue.hold(OF_QUEUE, held_until * 1000 - self.ahead, self.now)

    def open_for_new(self, name: str, key: str, new: str) -> Queue:
        """The queue that gets a new key; refused if the key opens it already."""
        queue = self.open(name, key, "add key")
        queue.check_new(new, [*queue.keys, ("", "owner", queue.owner)])
        return queue

    # Jobs

    def add(self, name: str, key: str, asked: list[Asked], many: bool) -> list[tuple[Job, str, dict[str, Any]]]:
        """Each job with its outcome: new, kept or replaced."""
        queue = self.open(name, key, "add")
        author = queue.role(key)[1]
        before = (list(queue.jobs), queue.arrived, dict(queue.once), dict(queue.served))
        as_they_were = [(job, asdict(job, recurse=False)) for job in queue.jobs]
        added = []
        for index, one in enumerate(asked):
            try:
                job, how = self._add(queue, one, author)
                added.append((job, how, self.see(job)))
            except Refused as refused:
                queue.jobs, queue.arrived, queue.once, queue.served = before
                for job, fields in as_they_were:
                    for name_, value in fields.items():
                        setattr(job, name_, value)
                if many:
                    raise Refused(refused.name, index=index) from None
                raise
        return added

    def _add(self, queue: Queue, asked: Asked, author: str | None) -> tuple[Job, str]:
        plain = evolve(asked, uid=None, once=None)
        there = self._there(queue, asked, plain, author)
        if there is not None:
            return there
        if queue.draining:
            raise Refused("QueueDraining")
        if queue.max_jobs and len(queue.jobs) >= queue.max_jobs:
            raise Refused("QueueFull")
        keep, keep_failed, timeout, attempts, delay = queue.defaults or (60, 4_320, 600, 1, 0)
        longest = -(-asked.rule.seconds // 60)
        job = Job(
            uid=asked.uid,
            arrival=queue.arrived,
            content=asked.content,
            priority=asked.priority,
            keep=max(longest, keep if asked.keep is None else asked.keep),
            keep_failed=max(longest, keep_failed if asked.keep is None else asked.keep),
            timeout=timeout if asked.timeout is None else asked.timeout,
            until=asked.until,
            tags=asked.tags,
            max_attempts=attempts if asked.max_attempts is None else asked.max_attempts,
            retry_delay=delay if asked.retry_delay is None else asked.retry_delay,
            unique_key=asked.unique_key,
            rule=asked.rule,
            group=asked.group,
            author=author,
            created=self.now,
            updated=self.now,
            asked=plain if asked.uid or asked.once else None,
        )
        queue.put_in_line(job)
        self.delay(job, asked)
        if asked.unique_key:
            self.take_key(queue.jobs, asked.unique_key)
        queue.arrived += 1
        queue.jobs.append(job)
        queue.meet()
        if asked.once:
            queue.once[author, asked.once] = job
        return job, "new"

    def _there(self, queue: Queue, asked: Asked, plain: Asked, author: str | None) -> tuple[Job, str] | None:
        """
        The job that an earlier attempt of the same request has added, or that holds its unique key. Raises Refused if
        a producer would see another producer's job.
        """
        stranger = author is not None and self._is_producer(queue, author)
        first = queue.once.get((author, asked.once)) if asked.once else None
        for job in queue.jobs:
            if job.uid in (asked.uid or "", first.uid if first is not None else ""):
                if job.asked != plain or (stranger and job.author != author):
                    raise Refused("UidTaken")
                return job, "kept"
        there, how = self.with_key(queue.jobs, asked) if asked.unique_key else (None, "")
        if there is None:
            return None
        if stranger and there.author != author:
            raise Refused("UniqueKeyTaken")
        if how == "replaced":
            self.replace(there, asked)
            queue.put_in_line(there)
        return there, how

    def _is_producer(self, queue: Queue, key_id: str) -> bool:
        return any(role == "producer" for other, role, _ in queue.keys if other == key_id)

    def read(self, name: str, key: str, uid: str | None) -> Job:
        queue = self.open(name, key, "read")
        job = queue.find(uid)
        role, key_id = queue.role(key)
        if role == "producer" and job.author != key_id:
            raise Refused("JobNotFound")
        return job

    def explain(self, name: str, key: str, uid: str | None) -> tuple[str, int | None, bool, str | None]:
        """Its state, how many jobs will be claimed before it, whether the queue is paused, and what holds the job."""
        queue = self.open(name, key, "explain")
        job, claimable = queue.find(uid), queue.claimable(self.now)
        ahead = claimable.index(job) if job in claimable else None
        return job.state, ahead, queue.paused, queue.held_by(job, self.now, self.ahead)

    def matching(
        self,
        queue: Queue,
        state: str | None,
        tag: str | None,
        text: str | None,
        retrying: bool | None,
        cancelled: bool | None,
        group: str | None = None,
        moved_from: str | None = None,
        regroups: bool = False,
    ) -> Iterator[Job]:
        """The jobs that a list shows, or that are changed; one in progress keeps its group."""
        for job in queue.ordered():
            words = as_it_reads(job.content.decode()).casefold()
            if (
                (state is None or job.state == state)
                and (tag is None or tag in job.tags)
                and group in (None, job.shown_group)
                and (moved_from is None or (job.moved_from is not None and job.moved_from[0] == moved_from))
                and (text is None or text.casefold() in words)
                and (retrying is None or retrying is (job.retrying and job.state == "queued"))
                and (cancelled is None or cancelled is job.cancelled)
                and not (regroups and job.state == "inprogress")
            ):
                yield job

    def claim(self, names: list[str], key: str, count: int, tags: tuple[str, ...], worker: str | None) -> list[Claimed]:
        queues = [(name, self.open(name, key, "claim")) for name in names]
        self.tick()
        claimed: list[Claimed] = []
        for name, queue in queues:
            for job in [] if queue.paused else queue.claimable(self.now, tags, most=count - len(claimed)):
                queue.serve(job)
                job.state, job.updated, job.claimed, job.held_from = "inprogress", self.now, self.now, self.now
                job.attempts, job.worker, job.lease = job.attempts + 1, worker, None
                job.leased = True
                claimed.append((name, job, self.see(job)))
        return claimed

    def put_back(self, claimed: list[Claimed]) -> None:
        """Undo claims completely."""
        for _, job, _ in claimed:
            self._queue_again(job, 0)
            job.attempts -= 1

    def update(
        self, name: str, key: str, uid: str | None, lease: str | None, changes: dict[str, Any]
    ) -> dict[str, Any]:
        """Change a job; returns its state right after the change, before any other change."""
        queue = self.open(name, key, "update")
        job = queue.find(uid)
        state = changes.get("state")
        if lease is not None and lease == job.lease and job.state in FINISHED and state == job.state:
            return self.see(job)
        held = job.state == "inprogress"
        who = {"state": job.state, "worker": job.worker if held else None}
        if lease is None and queue.require_lease and not held and state == "inprogress":
            raise Refused("ClaimRequired", **who)
        if lease is None and queue.require_lease and held and job.leased and not changes.get("cancel"):
            raise Refused("LeaseRequired", **who)
        if lease is not None and not (held and lease == job.lease):
            self.counted["lease lost"] += 1
            raise Refused("LeaseLost", **who)
        self._alter(queue, job, {**changes, "released": lease is not None and state == "queued"})
        return self.see(job)

    def _alter(self, queue: Queue, job: Job, changes: dict[str, Any]) -> None:
        """Change a job, and hold its group if the changes say so."""
        if changes.get("group") is not None and job.state == "inprogress":
            raise Refused("GroupInUse", state=job.state, worker=job.worker)
        if changes.get("hold"):
            until = self.now + changes["hold"] * 1000
            name = job.group or OF_QUEUE
            queue.hold(name, max(until, queue.held.get(name, 0)), self.now)
        was_ready = job.is_ready
        self._change(job, changes)
        if "priority" in changes or changes.get("state") not in (None, "complete"):
            queue.put_in_line(job)
        queue.meet()
        if was_ready and job.state == "inprogress":
            queue.serve(job)

    def update_many(self, name: str, key: str, updates: list[Any]) -> list[Any]:
        """Make updates in order; returns the result of each."""
        self.open(name, key, "update")
        results: list[Any] = []
        for uid, lease, changes in updates:
            try:
                results.append(self.update(name, key, uid, lease, changes))
            except Refused as refused:
                results.append(refused)
        self.settle()
        return results

    def sweep(self, name: str, key: str, which: dict[str, Any], act: Callable[[Queue, Job], None] | None) -> int:
        """Call `act` for all matching jobs, in slices."""
        matched, after = 0, None
        while True:
            queue = self.open(name, key, "sweep")
            self.tick()
            behind = [job for job in queue.ordered() if after is None or job.place > after]
            only = only_state(which)
            behind = [job for job in behind if only is None or job.state == only]
            # An index leaves out the ready jobs of other groups.
            behind = [job for job in behind if which.get("group") in (None, job.group) or not job.is_ready]
            part = behind[: self.slice_size]
            after = part[-1].place if part else after
            found = [job for job in self.matching(queue, **which) if job in part]
            matched += len(found)
            for job in found:
                if act is not None:
                    act(queue, job)
            if len(part) == len(behind):
                self.settle()
                return matched
            self.settle()

    def sweep_these(self, name: str, key: str, which: dict[str, Any], act: Callable[[Queue, Job], None] | None) -> int:
        """Like `sweep`, but only for jobs that match both at the beginning and in their turn."""
        queue = self.open(name, key, "sweep")
        self.tick()
        found, matched = list(self.matching(queue, **which)), 0
        for start in range(0, len(found), self.slice_size):
            for job in [one for one in self.matching(queue, **which) if one in found[start : start + self.slice_size]]:
                matched += 1
                if act is not None:
                    act(queue, job)
            self.settle()
        return matched

    def change_all(self, name: str, key: str, which: dict[str, Any], changes: dict[str, Any], dry: bool) -> int:
        if self.open(name, key, "sweep").require_lease and changes.get("state") == "inprogress":
            raise Refused("ClaimRequired", state="queued", worker=None)
        which = {**which, "regroups": changes.get("group") is not None}
        if dry:
            return self.sweep(name, key, which, None)
        moves = changes.get("state") not in (None, "complete") and only_state(which) in (None, changes["state"])
        sweep = self.sweep_these if "priority" in changes or moves else self.sweep
        return sweep(name, key, which, lambda queue, job: self._alter(queue, job, changes))

    def change_group(self, name: str, key: str, group: str, settings: dict[str, Any]) -> dict[str, Any]:
        """Change a group's own settings; `held_until` is a Unix second."""
        queue, given = self.open(name, key, "set up"), dict(settings)
        if (held_until := given.pop("held_until", None)) is not None:
            queue.hold(group, held_until * 1000 - self.ahead, self.now)
        queue.change_group(group, given)
        queue.meet()
        return queue.report(group, queue.claimable(self.now, by_queue=False))

    def reset_group(self, name: str, key: str, group: str) -> None:
        queue = self.open(name, key, "set up")
        if group not in queue.groups:
            raise Refused("GroupNotFound")
        queue.own.pop(group, None)

    def delete(self, name: str, key: str, uid: str | None) -> None:
        queue = self.open(name, key, "delete")
        self._remove(queue, queue.find(uid))

    def remove_swept(self, queue: Queue, job: Job) -> None:
        self._remove(queue, job)

    def _remove(self, queue: Queue, job: Job) -> None:
        queue.jobs.remove(job)
        self._ended.append((job, None))
