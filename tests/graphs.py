"""Makes random graphs of jobs on any engine, and judges by plain rules what each job may do."""

from collections.abc import Generator, Iterable
from random import Random
from typing import Any, Final

from attrs import define, field

from jobengine.core import commands as c
from jobengine.core.dependencies import Awaited, OnDependencyFailure, batch_in, batch_key
from jobengine.core.errors import DomainError
from jobengine.core.model import UNFINISHED, Defaults, Job, State

#: The queues of the random tests and, in the next line, the access key of both.
QUEUES: Final = ("q", "r")
KEY: Final = b"key"
RUN, FAIL = OnDependencyFailure.RUN, OnDependencyFailure.FAIL
#: The most jobs at a time.
_MOST: Final = 14

#: Carries out a command, lets seconds pass, or restarts (None); returns the answer or the error of a command.
Step = Any
Life = Generator[Step, Any, None]


def uid_of(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


@define
class Judge:
    """What is known of each job from outside, without the rules of the engine."""

    #: Pairs (job, dependency) whose dependency was complete, or finished in any way, while the job existed.
    met: set[tuple[Awaited, Awaited]] = field(factory=set)
    over: set[tuple[Awaited, Awaited]] = field(factory=set)
    #: Jobs that somebody retried, each with the failed jobs for which it has waited since then.
    retried: set[tuple[Awaited, Awaited]] = field(factory=set)
    #: Jobs that somebody deleted, or that may have been removed by their time-out.
    deleted: set[Awaited] = field(factory=set)
    jobs: dict[Awaited, Job] = field(factory=dict)
    batches: dict[Awaited, c.BatchReport] = field(factory=dict)

    def look(self, jobs: dict[Awaited, Job], batches: dict[Awaited, c.BatchReport]) -> None:
        """Judge the present state of all jobs and batches."""
        before, self.jobs, self.batches = self.jobs, jobs, batches
        for its, job in jobs.items():
            for awaited in depends_on(job):
                self._note(its, awaited)
        for its, job in jobs.items():
            self._judge(its, job)
        for its in before.keys() & jobs.keys():
            for awaited in depends_on(jobs[its]) if jobs[its].state in UNFINISHED else ():
                is_lost = awaited in before and awaited not in jobs and awaited not in self.deleted
                assert not is_lost, f"{awaited} was removed while {its} depends on it"
        for queue, uid in before.keys() - jobs.keys():
            self.met = {pair for pair in self.met if pair[0] != (queue, uid)}
            self.over = {pair for pair in self.over if pair[0] != (queue, uid)}
        for its, report in batches.items():
            self._judge_batch(its, report)

    def state(self, awaited: Awaited) -> str:
        """How a job or batch stands: "unfinished", "complete" or "failed"."""
        name = batch_in(awaited[1])
        if name is None:
            job = self.jobs.get(awaited)
            if job is None or job.state is State.FAILED:
                return "failed"
            return "complete" if job.state is State.COMPLETE else "unfinished"
        report = self.batches.get((awaited[0], name))
        if report is None:
            return "failed"
        if report.batch.open or report.counts.unfinished:
            return "unfinished"
        # Jobs that have failed may be removed after the end.
        is_failed = report.batch.lost or report.counts.states.get(State.FAILED)
        return "failed" if is_failed or report.batch.failed else "complete"

    def _note(self, its: Awaited, awaited: Awaited) -> None:
        state, pair = self.state(awaited), (its, awaited)
        if state == "complete":
            self.met.add(pair)
        if state != "unfinished":
            self.over.add(pair)
        else:
            self.retried.discard(pair)

    def _judge(self, its: Awaited, job: Job) -> None:
        awaited = depends_on(job)
        runs = job.spec.rare.dependencies is not None and job.spec.rare.dependencies.on_failure is RUN
        if job.ready or job.state is State.INPROGRESS:
            for one in awaited:
                may = (its, one) in self.met or (runs and (its, one) in self.over)
                assert may, f"{its} may run before {one} has ended"
        if job.waits:
            reasons = [one for one in awaited if self._holds(its, one, job)]
            assert reasons, f"{its} waits for nothing"
        error = job.standing.notes.error or ""
        if awaited and job.state is State.FAILED and error.startswith(("dependency", "jobs of the batch")):
            failed = [one for one in awaited if (its, one) not in self.met and self.state(one) == "failed"]
            assert failed, f"{its} has failed because of a job that has not"

    def _holds(self, its: Awaited, awaited: Awaited, job: Job) -> bool:
        """Whether a job has to wait for this dependency."""
        if (its, awaited) in self.met:
            return False
        state, on_failure = self.state(awaited), job.spec.rare.dependencies and job.spec.rare.dependencies.on_failure
        if state == "failed":
            return on_failure is OnDependencyFailure.WAIT or (on_failure is FAIL and (its, awaited) in self.retried)
        return state == "unfinished"

    def _judge_batch(self, its: Awaited, report: c.BatchReport) -> None:
        is_over = not report.batch.open and not report.counts.unfinished
        assert (report.batch.ended is not None) is is_over, f"the batch {its} has ended, or not, against its jobs"
        counted = [job for key, job in self.jobs.items() if key[0] == its[0] and job.spec.rare.batch == its[1]]
        assert report.counts.total == len(counted)
        then = self.jobs.get((its[0], report.batch.then or ""))
        if (
            then is not None
            and is_over
            and not report.batch.failed
            and depends_on(then) == ((its[0], batch_key(its[1])),)
        ):
            assert not then.waits, f"{its} did not release its job"


def depends_on(job: Job) -> tuple[Awaited, ...]:
    return () if job.spec.rare.dependencies is None else job.spec.rare.dependencies.on


@define
class Graphs:
    """Makes random requests about jobs that depend on each other."""

    random: Random
    judge: Judge = field(factory=Judge)
    #: The uids that were used so far, by queue.
    _used: int = 0
    _names: int = 0

    def life(self, steps: int) -> Life:
        """`steps` random requests; after each all jobs are judged."""
        for queue in QUEUES:
            yield c.CreateQueue(queue=queue, access_key=KEY)
        for _ in range(steps):
            yield from self._step()
            yield from self._look()

    def _look(self) -> Life:
        jobs: dict[Awaited, Job] = {}
        batches: dict[Awaited, c.BatchReport] = {}
        for queue in QUEUES:
            page = yield c.ListJobs(queue=queue, access_key=KEY, limit=1_000, scan=1_000)
            jobs |= {(queue, job.spec.uid): job for job in page.jobs}
            listed = yield c.ListBatches(queue=queue, access_key=KEY, limit=1_000)
            batches |= {(queue, one.name): one for one in listed.batches}
        self.judge.look(jobs, batches)

    def _step(self) -> Life:
        kinds = [self._add] * 5 + [self._end] * 6 + [self._retry, self._retry_all, self._cancel, self._delete]
        kinds += [self._claim] * 3 + [self._batch, self._close, self._wait, self._drop, self._restart]
        yield from self.random.choice(kinds)()

    def _queue(self) -> str:
        return self.random.choice(QUEUES)

    def _some(self, states: Iterable[State] = State) -> tuple[str, Job] | None:
        wanted = {*states}
        found = [(queue, job) for (queue, _), job in sorted(self.judge.jobs.items()) if job.state in wanted]
        return self.random.choice(found) if found else None

    def _new(self, queue: str, uid: str, others: list[str]) -> c.NewJob:
        random = self.random
        known = [*sorted(self.judge.jobs), *((queue, one) for one in others), (queue, uid_of(random.randrange(99)))]
        on = tuple(dict.fromkeys(random.sample(known, min(len(known), random.choice([0, 0, 1, 1, 2, 3])))))
        names = sorted(name for its, name in self.judge.batches if its == queue)
        return c.NewJob(
            content=b"{}",
            uid=uid,
            keep_minutes=random.choice([0, 1, 60]),
            depends_on=on,
            on_dependency_failure=random.choice([*OnDependencyFailure]),
            batch=random.choice([None, None, *names]),
        )

    def _uids(self, number: int) -> list[str]:
        self._used += number
        return [uid_of(1_000 + self._used - at) for at in range(number)]

    def _add(self) -> Life:
        if len(self.judge.jobs) >= _MOST:
            return
        queue, uids = self._queue(), self._uids(self.random.randint(1, 4))
        jobs = tuple(self._new(queue, uid, uids) for uid in uids)
        yield c.AddJobs(queue=queue, access_key=KEY, jobs=jobs, defaults=Defaults(), many=True)

    def _update(self, queue: str, uid: str, **changes: Any) -> Life:
        yield c.UpdateJob(queue=queue, access_key=KEY, uid=uid, changes=c.Changes(**changes))

    def _end(self) -> Life:
        found = self._some(UNFINISHED)
        if found is not None and not found[1].waits:
            state = self.random.choice([State.COMPLETE, State.COMPLETE, State.FAILED])
            yield from self._update(found[0], found[1].spec.uid, state=state)

    def _retry(self) -> Life:
        found = self._some([State.FAILED])
        if found is not None:
            self._note_retry(found[0], found[1])
            yield from self._update(found[0], found[1].spec.uid, state=State.QUEUED)

    def _note_retry(self, queue: str, job: Job) -> None:
        its = (queue, job.spec.uid)
        self.judge.retried |= {(its, one) for one in depends_on(job)}

    def _retry_all(self) -> Life:
        queue = self._queue()
        for (its, _), job in self.judge.jobs.items():
            if its == queue and job.state is State.FAILED:
                self._note_retry(queue, job)
        changes = c.Changes(state=State.QUEUED)
        yield c.UpdateMatching(queue=queue, access_key=KEY, filter=c.Filter(state=State.FAILED), changes=changes)

    def _cancel(self) -> Life:
        found = self._some([State.QUEUED])
        if found is not None:
            yield from self._update(found[0], found[1].spec.uid, cancel=True)

    def _delete(self) -> Life:
        found = self._some()
        if found is not None:
            self.judge.deleted.add((found[0], found[1].spec.uid))
            yield c.DeleteJob(queue=found[0], access_key=KEY, uid=found[1].spec.uid)

    def _drop(self) -> Life:
        found = self._some([State.QUEUED, State.FAILED])
        if found is not None:
            yield from self._update(found[0], found[1].spec.uid, without_dependencies=True)

    def _claim(self) -> Life:
        claims = c.Claims(queues=(self._queue(),), access_key=KEY, count=self.random.randint(1, 3))
        result = yield claims
        for claimed in result.jobs:
            job = self.judge.jobs.get((claimed.queue, claimed.job.spec.uid))
            assert job is None or job.ready, f"{claimed} was claimed while it was not ready"

    def _wait(self) -> Life:
        found = self._some([State.INPROGRESS])
        if found is None or len(self.judge.jobs) >= _MOST:
            return
        queue, job = found
        uids = self._uids(self.random.randint(1, 2))
        yield c.WaitFor(
            queue=queue,
            access_key=KEY,
            uid=job.spec.uid,
            lease=job.standing.lease,
            jobs=tuple(self._new(queue, uid, uids) for uid in uids),
            defaults=Defaults(),
            on_dependency_failure=self.random.choice([None, RUN]),
        )

    def _batch(self) -> Life:
        queue, (uid,) = self._queue(), self._uids(1)
        self._names += 1
        then = c.NewJob(content=b"{}", uid=uid, on_dependency_failure=self.random.choice([*OnDependencyFailure]))
        yield c.SetBatch(queue=queue, access_key=KEY, name=f"b{self._names}", then=then, defaults=Defaults())

    def _close(self) -> Life:
        is_open = sorted(its for its, report in self.judge.batches.items() if report.batch.open)
        if is_open:
            queue, name = self.random.choice(is_open)
            yield c.CloseBatch(queue=queue, access_key=KEY, name=name)

    def _restart(self) -> Life:
        yield self.random.choice([None, 30, 90, 4_000])


def run(life: Life, carry_out: Any) -> None:
    """Carry out a life with a function that takes a step; for engines that answer at once."""
    answer: Any = None
    try:
        while True:
            step = life.send(answer)
            try:
                answer = carry_out(step)
            except DomainError as error:
                answer = error
    except StopIteration:
        pass
