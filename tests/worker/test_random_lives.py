"""Random events in random order: the worker never holds too many jobs, and each job that it was given ends once."""

import random
from collections import Counter
from typing import Any

import pytest

from jobengine.client.errors import BadRequest, JobEngineError, LeaseLost, OutcomeUnknown, Unavailable
from jobengine.worker.actions import Abort, Action, Beat, Claim, Ended, Hold, Interrupt, Report, Start
from jobengine.worker.supervisor import Supervisor

from .fakes import DONE, FakeJob

CONCURRENCY = 4
#: More jobs than a worker may claim ahead at the pace of these jobs.
AHEAD = 100
ERRORS = (Unavailable("Away."), OutcomeUnknown("Lost."), LeaseLost("Late."), BadRequest("Bad."))


class World:
    """A server and handlers that behave at random."""

    def __init__(self, seed: int, groups: int, pause: float) -> None:
        self.random = random.Random(seed)
        self.supervisor = Supervisor(groups, CONCURRENCY, wait=50, random=self.random.random)
        self.now = 0.0
        #: The most seconds that pass between two events.
        self.pause = pause
        #: Where jobs end fast, errors are rare: after an error no job ends for a while.
        self.trouble = 0.6 if pause == 1 else 0.02
        self.ahead = 0
        self.requests: list[Any] = []
        self.running: list[Hold] = []
        self.given: list[FakeJob] = []
        self.started: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()

    def obey(self, action: Action) -> None:
        match action:
            case Start(holds):
                self.started.update(hold.claimed.uid for hold in holds)
                self.running += holds
                assert len(self.running) <= CONCURRENCY
            case Interrupt(hold):
                assert hold in self.running
            case Ended(holds):
                self.ended.update(hold.claimed.uid for hold in holds)
            case Abort(group):
                assert self._end_claim(group)
            case _:
                self._check(action)
                self.requests.append(action)

    def _end_claim(self, group: int) -> bool:
        for request in self.requests:
            if isinstance(request, Claim) and request.group == group and request.wait:
                self.requests.remove(request)
                self.supervisor.aborted(self.now, group)
                return True
        return False

    def _check(self, action: Action) -> None:
        """At most two reports and one other request are under way, and no job is claimed without room for it."""
        alike = [other for other in self.requests if _kind(other) == _kind(action)]
        assert len(alike) < (2 if isinstance(action, Report) else 1)
        if isinstance(action, Claim):
            assert 0 < action.room <= CONCURRENCY - len(self.running) + (0 if action.wait else AHEAD)

    def answer(self, request: Any) -> None:
        self.requests.remove(request)
        if isinstance(request, Claim) and self.random.random() < self.trouble / 2:
            self.supervisor.claim_failed(self.now, request.group, Unavailable("Away."))
        elif isinstance(request, Claim):
            self.supervisor.claimed(self.now, request.group, self._jobs(request.room))
        elif isinstance(request, Report):
            self._answer_report(request)
        else:
            self._answer_beat(request)

    def _answer_report(self, report: Report) -> None:
        errors = [self._error() for _ in report.holds]
        jobs = None if any(errors) or not report.room else self._jobs(report.room)
        self.supervisor.reported(self.now, report, errors, jobs)

    def _answer_beat(self, beat: Beat) -> None:
        errors = [self._error() for _ in beat.holds]
        for hold, error in zip(beat.holds, errors, strict=True):
            hold.claimed.lost = hold.claimed.lost or isinstance(error, LeaseLost)
            hold.claimed.cancel_requested = self.random.random() < 0.1
        self.supervisor.beaten(self.now, beat, errors)

    def _error(self) -> JobEngineError | None:
        return self.random.choice(ERRORS) if self.random.random() < self.trouble else None

    def _jobs(self, most: int) -> list[FakeJob]:
        jobs = [FakeJob(beat_seconds=self.random.choice([1, 10, None])) for _ in range(self.random.randint(0, most))]
        self.given += jobs
        return jobs

    def step(self) -> None:
        what = self.random.randrange(4)
        if what == 0 and self.requests:
            self.answer(self.random.choice(self.requests))
        elif what == 1 and self.running:
            hold = self.running.pop(self.random.randrange(len(self.running)))
            self.supervisor.finished(hold, DONE)
        elif what == 2 and self.running:
            self.supervisor.progressed(self.random.choice(self.running))
        else:
            self.now = min(self.supervisor.next_at(self.now) or self.now, self.now + 5 * self.pause)
            self.now += self.random.random() * self.pause
        for action in self.supervisor.plan(self.now):
            self.obey(action)
        self.ahead = max(self.ahead, len(list(self.supervisor.unsent)) - CONCURRENCY)
        assert self.supervisor.over(self.now) or (self.supervisor.next_at(self.now) or self.now + 1) > self.now


def _kind(request: Any) -> tuple[type, int]:
    return type(request), getattr(request, "group", 0)


@pytest.mark.parametrize("pause", [1, 0.001])
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("seed", range(15))
def test_in_random_runs_a_worker_starts_each_job_once_and_stays_within_its_concurrency(
    seed: int, groups: int, pause: float
) -> None:
    world = World(seed, groups, pause)
    for _ in range(600):
        world.step()
    assert pause == 1 or world.ahead > 0
    world.pause = 1
    world.supervisor.stop(world.now, 30)
    for _ in range(2_000):
        world.step()
        if world.supervisor.over(world.now):
            break
    assert world.supervisor.over(world.now)
    unsent = {hold.claimed.uid for hold in world.supervisor.unsent}
    assert len(world.given) > 10
    assert set(world.started.values()) == {1}
    assert set(world.ended.values()) == {1}
    assert {job.uid for job in world.given} - unsent == set(world.ended)
