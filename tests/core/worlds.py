"""Short ways to make facts, commands and states; random ones for hypothesis."""

from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st

from jobengine.core.commands import (
    AddJob,
    Claim,
    CreateQueue,
    DeleteJob,
    DeleteQueue,
    ListJobs,
    Peek,
    ReadJob,
    UpdateJob,
)
from jobengine.core.events import Fact, JobAdded, JobChanged, JobRemoved, QueueCreated, QueueDeleted
from jobengine.core.model import Job, Queue, Spec, State
from jobengine.core.rules import decide, expire
from jobengine.core.state import Tables
from tests.doubles import START, CountedIds

__all__ = ["KEY", "NOW", "World", "facts", "picture"]

KEY = b"key"
NOW = START * 1000
MINUTE = 60_000


class World:
    """A state and the time in it, asked by way of the rules."""

    def __init__(self) -> None:
        self.tables = Tables()
        self.now = NOW
        self.new_id = CountedIds()

    def ask(self, command: Any) -> Any:
        """Do what an engine does: expire, decide, apply."""
        self.expire()
        decided, answer = decide(self.tables, command, self.now, self.new_id)
        self.apply(decided)
        return answer

    def apply(self, some: Iterable[Fact]) -> None:
        for fact in some:
            self.tables.apply(fact)

    def expire(self) -> list[Fact]:
        """Make true what time has brought about; every fact of it."""
        happened: list[Fact] = []
        while due := expire(self.tables, self.now, 2):
            self.apply(due)
            happened += due
        return happened

    def create(self, queue: str = "q", key: bytes = KEY) -> None:
        self.ask(CreateQueue(queue=queue, access_key=key))

    def delete_queue(self, queue: str = "q") -> None:
        self.ask(DeleteQueue(queue=queue, access_key=KEY))

    def add(self, queue: str = "q", **more: Any) -> Job:
        spec = {"priority": 0, "keep_minutes": 60, "timeout_minutes": 10, "timeout_time": 0, "content": b"{}", **more}
        job: Job = self.ask(AddJob(queue=queue, access_key=KEY, **spec))
        return job

    def read(self, uid: str, queue: str = "q") -> Job:
        job: Job = self.ask(ReadJob(queue=queue, access_key=KEY, uid=uid))
        return job

    def peek(self, queue: str = "q") -> Job | None:
        job: Job | None = self.ask(Peek(queue=queue, access_key=KEY))
        return job

    def claim(self, queue: str = "q") -> Job | None:
        job: Job | None = self.ask(Claim(queue=queue, access_key=KEY))
        return job

    def update(self, uid: str, state: State, queue: str = "q") -> Job:
        job: Job = self.ask(UpdateJob(queue=queue, access_key=KEY, uid=uid, state=state))
        return job

    def delete(self, uid: str, queue: str = "q") -> None:
        self.ask(DeleteJob(queue=queue, access_key=KEY, uid=uid))

    def list(self, queue: str = "q") -> list[Job]:
        jobs: list[Job] = self.ask(ListJobs(queue=queue, access_key=KEY, limit=10_000)).jobs
        return jobs


def picture(tables: Tables) -> dict[str, Any]:
    """All that can be read of a state; every index is checked against the jobs on the way."""
    seen = {}
    for name, table in tables.queues.items():
        jobs = table.page(None, 10_000)
        assert {job.spec.uid: job for job in jobs} == table.jobs
        assert [job.spec.rank for job in jobs] == sorted(job.spec.rank for job in jobs)
        assert list(table.ready) == [job.spec.rank for job in jobs if job.state is State.QUEUED]
        deadlines = sorted((job.deadline, job.spec.uid) for job in jobs if job.deadline is not None)
        assert list(table.deadlines) == deadlines
        assert {state: count for state, count in table.counts.items() if count} == _counts(jobs)
        assert ((deadlines[0][0], name) in tables.deadlines) if deadlines else True
        assert all(job.spec.arrival < table.next_arrival for job in jobs)
        seen[name] = (table.queue, jobs)
    assert len(tables.deadlines) == sum(bool(table.deadlines) for table in tables.queues.values())
    assert tables.live_bytes == sum(table.live_bytes for table in tables.queues.values())
    assert list(tables.deadlines) == sorted(tables.deadlines)
    return seen


def _counts(jobs: list[Job]) -> dict[State, int]:
    return {state: n for state in State if (n := sum(job.state is state for job in jobs))}


#: Few of each, so that facts meet.
NAMES = st.sampled_from(["a", "b"])
UIDS = st.sampled_from(["1", "2", "3", "4", "5", "6"])
TIMES = st.integers(0, 5).map(lambda minutes: NOW + minutes * MINUTE)


def _queue(name: str, salt: str) -> Queue:
    return Queue(name=name, salt=salt, digest="d", created=NOW)


def _job(uid: str, state: State, updated: int, numbers: tuple[int, int, int, int, int]) -> Job:
    priority, arrival, keep, timeout, timeout_time = numbers
    spec = Spec(
        uid=uid,
        priority=priority,
        arrival=arrival,
        keep_minutes=keep,
        timeout_minutes=timeout,
        timeout_time=timeout_time * (START + timeout_time),
        content=b'{"n":%d}' % arrival,
        created=NOW,
    )
    return Job(spec=spec, state=state, updated=updated)


SMALL = st.integers(0, 2)
JOBS = st.builds(
    _job, UIDS, st.sampled_from(State), TIMES, st.tuples(st.integers(-1, 1), st.integers(0, 9), SMALL, SMALL, SMALL)
)

#: Any facts at all, those about what is not there included.
facts: st.SearchStrategy[Fact] = st.one_of(
    st.builds(JobAdded, NAMES, JOBS),
    st.builds(JobAdded, NAMES, JOBS),
    st.builds(JobChanged, NAMES, UIDS, st.sampled_from(State), TIMES),
    st.builds(JobRemoved, NAMES, UIDS),
    st.builds(QueueCreated, st.builds(_queue, NAMES, st.sampled_from(["s", "t"]))),
    st.builds(QueueDeleted, NAMES),
)
