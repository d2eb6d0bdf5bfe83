"""A supervisor with a clock that is set by hand, and claimed jobs."""

from itertools import count
from typing import Any

from attrs import define, field

from jobengine.client.errors import JobEngineError
from jobengine.client.jobs import JobChanges
from jobengine.worker.actions import Beat, Claim, Ended, Hold, Interrupt, Order, Report, Start
from jobengine.worker.supervisor import Supervisor

DONE: JobChanges = {"new_status": "complete"}
_numbers = count(1)


@define(eq=False)
class FakeJob:
    """A claimed job."""

    beat_seconds: float | None = 30.0
    cancel_requested: bool = False
    lost: bool = False
    uid: str = field(factory=lambda: f"job-{next(_numbers)}")


@define
class Bench:
    """A supervisor, the time, and its orders that were not carried out yet."""

    supervisor: Supervisor
    now: float = 1_000.0
    orders: list[Order] = field(factory=list)

    @classmethod
    def of(cls, concurrency: int = 1, *, sources: int = 1, until_empty: bool = False) -> "Bench":
        return cls(Supervisor(sources, concurrency, wait=50, until_empty=until_empty, random=lambda: 1.0))

    def plan(self, kind: type | None = None) -> list[Any]:
        """The orders for now, of one kind if it is given."""
        return [order for order in self.supervisor.plan(self.now) if kind is None or isinstance(order, kind)]

    def give(self, *jobs: FakeJob, source: int = 0) -> list[Hold]:
        """Answer the planned claim; returns the jobs that are started."""
        self.supervisor.claimed(self.now, source, jobs)
        self.orders = self.plan()
        return [hold for order in self.orders if isinstance(order, Start) for hold in order.holds]

    def run(self, jobs: int = 1, **of: Any) -> list[Hold]:
        """Let it claim and start some jobs."""
        assert self.plan(Claim)
        return self.give(*[FakeJob(**of) for _ in range(jobs)])

    def end(self, *holds: Hold, changes: JobChanges = DONE) -> Report:
        """Let handlers end; returns the one report that follows."""
        for hold in holds:
            self.supervisor.finished(hold, changes)
        (report,) = self.plan(Report)
        assert isinstance(report, Report)
        return report

    def answer(self, report: Report, *errors: JobEngineError | None, jobs: list[FakeJob] | None = None) -> list[Order]:
        """Answer a report, with success if no errors are given; returns the next orders."""
        given = errors or (None,) * len(report.holds)
        self.supervisor.reported(self.now, report, given, jobs)
        return self.plan()

    def beat(self, error: JobEngineError | None = None) -> tuple[Beat, list[Order]]:
        """Answer the heartbeats that are due; returns these and the next orders."""
        (beat,) = self.plan(Beat)
        self.supervisor.beaten(self.now, beat, [error] * len(beat.holds))
        return beat, self.plan()

    def next_in(self) -> float | None:
        at = self.supervisor.next_at(self.now)
        return None if at is None else at - self.now

    @property
    def over(self) -> bool:
        return self.supervisor.over(self.now)


def ended(orders: list[Order]) -> list[tuple[Hold, bool]]:
    """The jobs that have ended, and whether with a note."""
    return [(hold, bool(order.note)) for order in orders if isinstance(order, Ended) for hold in order.holds]


def interrupted(orders: list[Order]) -> list[Hold]:
    return [order.hold for order in orders if isinstance(order, Interrupt)]
