"""Rules and tables against a list of dicts that is sorted at each claim; with restarts and clocks that step."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from jobengine.core.commands import AddJob, Claim, CreateQueue, DeleteJob, DeleteQueue, UpdateJob
from jobengine.core.events import Fact, decode, encode
from jobengine.core.model import Job, JobNotFound, State
from jobengine.core.rules import decide, expire
from jobengine.core.state import Tables
from tests.core.worlds import KEY, MINUTE, NOW, picture
from tests.doubles import CountedIds

PAST_2038 = 2_200_000_000_000
QUEUES = st.sampled_from(["a", "b"])
MINUTES = st.integers(0, 3)


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.tables = Tables()
        self.new_id = CountedIds()
        self.journal: list[bytes] = []
        self.now = NOW
        self.queues = {"a", "b"}
        self.model: list[dict[str, Any]] = []
        self.arrived = 0
        for name in ("a", "b"):
            self.ask(CreateQueue(queue=name, access_key=KEY))

    def ask(self, command: Any) -> Any:
        while due := expire(self.tables, self.now, 3):
            self.keep(due)
        facts, answer = decide(self.tables, command, self.now, self.new_id)
        self.keep(facts)
        return answer

    def keep(self, facts: Any) -> None:
        for fact in facts:
            self.journal.append(encode(fact))
            self.tables.apply(fact)

    def pass_time(self) -> None:
        """The model's own idea of what time does, job by job and over again."""
        for job in self.model:
            if job["state"] == "inprogress" and job["timeout"] and job["updated"] + job["timeout"] * MINUTE <= self.now:
                job.update(state="failed", updated=self.now)
        self.model = [job for job in self.model if not self.is_over(job)]

    def is_over(self, job: dict[str, Any]) -> bool:
        if job["state"] == "queued":
            return bool(job["until"]) and job["until"] * 1000 <= self.now
        return job["state"] in ("complete", "failed") and job["updated"] + job["keep"] * MINUTE <= self.now

    def of(self, queue: str) -> list[dict[str, Any]]:
        jobs = [job for job in self.model if job["queue"] == queue]
        return sorted(jobs, key=lambda job: (-job["priority"], job["arrived"]))

    @rule(queue=QUEUES, priority=st.integers(-1, 1), keep=MINUTES, timeout=MINUTES, until=MINUTES)
    def add(self, queue: str, priority: int, keep: int, timeout: int, until: int) -> None:
        until = until and self.now // 1000 + 60 * until
        self.pass_time()
        job = self.ask(
            AddJob(
                queue=queue,
                access_key=KEY,
                priority=priority,
                keep_minutes=keep,
                timeout_minutes=timeout,
                timeout_time=until,
                content=b'{"n": %d}' % self.arrived,
            )
        )
        self.arrived += 1
        self.model.append(
            {
                "queue": queue,
                "uid": job.spec.uid,
                "priority": priority,
                "keep": keep,
                "timeout": timeout,
                "until": until,
                "arrived": self.arrived,
                "state": "queued",
                "updated": self.now,
            }
        )

    @rule(queue=QUEUES)
    def claim(self, queue: str) -> None:
        self.pass_time()
        ready = [job for job in self.of(queue) if job["state"] == "queued"]
        claimed: Job | None = self.ask(Claim(queue=queue, access_key=KEY))
        assert (claimed and claimed.spec.uid) == (ready[0]["uid"] if ready else None)
        if ready:
            ready[0].update(state="inprogress", updated=self.now)

    @rule(data=st.data(), state=st.sampled_from(State))
    def update(self, data: st.DataObject, state: State) -> None:
        if not self.model:
            return
        chosen = data.draw(st.sampled_from(self.model))
        self.pass_time()
        command = UpdateJob(queue=chosen["queue"], access_key=KEY, uid=chosen["uid"], state=state)
        if self.is_there(chosen, command):
            chosen.update(state=state.value, updated=self.now)

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        if not self.model:
            return
        chosen = data.draw(st.sampled_from(self.model))
        self.pass_time()
        if self.is_there(chosen, DeleteJob(queue=chosen["queue"], access_key=KEY, uid=chosen["uid"])):
            self.model.remove(chosen)

    def is_there(self, chosen: dict[str, Any], command: Any) -> bool:
        """Carry the command out; whether the model has its job still, as the answer must say too."""
        there = any(job is chosen for job in self.model)
        try:
            self.ask(command)
        except JobNotFound:
            assert not there
        else:
            assert there
        return there

    @rule(queue=QUEUES)
    def replace_queue(self, queue: str) -> None:
        self.pass_time()
        self.ask(DeleteQueue(queue=queue, access_key=KEY))
        self.ask(CreateQueue(queue=queue, access_key=KEY))
        self.model = [job for job in self.model if job["queue"] != queue]

    @rule(step=st.sampled_from([1, 1_000, MINUTE, 2 * MINUTE, 60 * MINUTE, -60 * MINUTE]))
    def let_time_go_by(self, step: int) -> None:
        self.now += step

    @rule()
    def go_past_2038(self) -> None:
        self.now = max(self.now, PAST_2038)

    @rule()
    def restart(self) -> None:
        was = picture(self.tables)
        self.tables = replayed(self.journal)
        assert picture(self.tables) == was

    @rule(size=st.integers(1, 4))
    def compact(self, size: int) -> None:
        was = picture(self.tables)
        self.journal = [encode(fact) for slice_ in self.tables.snapshot(size) for fact in slice_]
        self.tables = replayed(self.journal)
        assert picture(self.tables) == was

    @invariant()
    def agree(self) -> None:
        self.pass_time()
        facts: list[Fact]
        while facts := expire(self.tables, self.now, 3):
            self.keep(facts)
        for name, (_, jobs) in picture(self.tables).items():
            shown = [(job.spec.uid, job.state.value, job.updated) for job in jobs]
            assert shown == [(job["uid"], job["state"], job["updated"]) for job in self.of(name)]


def replayed(journal: list[bytes]) -> Tables:
    tables = Tables()
    for record in journal:
        tables.apply(decode(record))
    return tables


TestAgainstAPlainModel = Machine.TestCase
TestAgainstAPlainModel.settings = settings(deadline=None, max_examples=60, stateful_step_count=40)
