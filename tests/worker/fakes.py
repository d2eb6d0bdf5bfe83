"""A supervisor with a clock that is set by hand, and claimed jobs."""

from itertools import count
from types import SimpleNamespace
from typing import Any

from attrs import define, field

from jobengine.client.errors import JobEngineError
from jobengine.client.jobs import JobChanges
from jobengine.worker.actions import Action, Beat, Claim, Ended, Hold, Interrupt, Report, Start
from jobengine.worker.supervisor import Supervisor

DONE: JobChanges = {"new_status": "complete"}
_numbers = count(1)


@define(eq=False)
class FakeJob:
    beat_seconds: float | None = 30.0
    cancel_requested: bool = False
    lost: bool = False
    group: str | None = None
    queue: Any = field(factory=lambda: SimpleNamespace(name="q"))
    uid: str = field(factory=lambda: f"job-{next(_numbers)}")
    job: Any = field(factory=lambda: SimpleNamespace(attempts=1, max_attempts=1))


@define
class Bench:
    """A supervisor, the time, and its actions that were not carried out yet."""

    supervisor: Supervisor
    now: float = 1_000.0
    actions: list[Action] = field(factory=list)

    @classmethod
    def of(cls, concurrency: int = 1, *, groups: int = 1, until_empty: bool = False) -> "Bench":
        return cls(Supervisor(groups, concurrency, wait=50, until_empty=until_empty, random=lambda: 1.0))

    def plan(self, kind: type | None = None) -> list[Any]:
        """The actions for now, of one kind if it is given."""
        return [action for action in self.supervisor.plan(self.now) if kind is None or isinstance(action, kind)]

    def give(self, *jobs: FakeJob, group: int = 0) -> list[Hold]:
        """Answer the planned claim; returns the jobs that are started."""
        self.supervisor.claimed(self.now, group, jobs)
        self.actions = self.plan()
        return [hold for action in self.actions if isinstance(action, Start) for hold in action.holds]

    def run(self, jobs: int = 1, **of: Any) -> list[Hold]:
        assert self.plan(Claim)
        return self.give(*[FakeJob(**of) for _ in range(jobs)])

    def end(self, *holds: Hold, changes: JobChanges = DONE) -> Report:
        """Let handlers end; returns the one report that follows."""
        for hold in holds:
            self.supervisor.finished(hold, changes)
        (report,) = self.plan(Report)
        assert isinstance(report, Report)
        return report

    def report_progress(self, hold: Hold, percent: int) -> None:
        """Report the progress of a handler."""
        hold.progress = percent
        self.supervisor.progressed(hold)

    def answer(self, report: Report, *errors: JobEngineError | None, jobs: list[FakeJob] | None = None) -> list[Action]:
        """Answer a report, with success if no errors are given; returns the next actions."""
        given = errors or (None,) * len(report.holds)
        self.supervisor.reported(self.now, report, given, jobs)
        return self.plan()

    def beat(self, error: JobEngineError | None = None) -> tuple[Beat, list[Action]]:
        """Answer the heartbeats that are due; returns these and the next actions."""
        (beat,) = self.plan(Beat)
        self.supervisor.beaten(self.now, beat, [error] * len(beat.holds))
        return beat, self.plan()

    def next_in(self) -> float | None:
        at = self.supervisor.next_at(self.now)
        return None if at is None else at - self.now

    @property
    def over(self) -> bool:
        return self.supervisor.over(self.now)


def with_a_job(**of: Any) -> tuple[Bench, Hold]:
    bench = Bench.of(1)
    (one,) = bench.run(**of)
    return bench, one


def ended(actions: list[Action]) -> list[tuple[Hold, bool]]:
    """The jobs that have ended, and whether with a note."""
    return [(hold, bool(action.note)) for action in actions if isinstance(action, Ended) for hold in action.holds]


def interrupted(actions: list[Action]) -> list[Hold]:
    return [action.hold for action in actions if isinstance(action, Interrupt)]
