"""A step of the database's clock moves no lease, delay or retention, whichever connection is the first to see it."""

from collections.abc import Callable

import pytest
from attrs import define, field

from jobengine.core import commands as c
from jobengine.core.model import Job, State
from tests.contract.asking import Asker
from tests.engine.postgres.world import PostgresWorld

pytestmark = pytest.mark.slow

STEPS = [3_600, -3_600, 10, -10]
#: Seconds of leases, delays and retention: longer than some steps, shorter than others.
SPAN = 60
#: The names of enough queues that the server uses all its lanes: each is a connection for some of the queues.
QUEUES = [f"q{number}" for number in range(6)]


@define
class _Spans:
    """Queues with a claimed, a finished and a delayed job each; lease, retention and delay end SPAN after now."""

    world: PostgresWorld
    ask: Asker = field(init=False)
    held: dict[str, Job] = field(factory=dict)
    finished: dict[str, Job] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.ask = Asker(self.world)
        for name in QUEUES:
            self.ask.create(name)
            for _ in range(2):
                self.ask.add(name, timeout_seconds=SPAN, keep_minutes=SPAN // 60)
            self.held[name], self.finished[name] = (self.ask.hold(queue=name) for _ in range(2))
            self.ask.add(name, delay_seconds=SPAN)
        for name, job in self.finished.items():
            self.ask.ask(c.UpdateJob, name, uid=job.spec.uid, changes=c.Changes(state=State.COMPLETE))

    def are_as_they_were(self) -> bool:
        """Whether no lease, delay or retention has ended."""
        wanted = {State.INPROGRESS: 1, State.COMPLETE: 1, State.QUEUED: 1}
        return all(self.ask.claim(name) is None and self.ask.counts(name) == wanted for name in QUEUES)

    def are_over(self) -> bool:
        """Whether all leases, delays and retentions have ended."""
        wanted = {State.FAILED: 1, State.QUEUED: 1}
        return all(self.ask.counts(name) == wanted and self.ask.claim(name) is not None for name in QUEUES)


def _claims(spans: _Spans) -> None:
    """Use each connection for batches."""
    assert [spans.ask.claim(name) for name in QUEUES] == [None] * len(QUEUES)


def _lists(spans: _Spans) -> None:
    """Use the connection for long commands."""
    for name in QUEUES:
        assert len(spans.ask.ask(c.ListJobs, name, limit=9).jobs) == 3


def _sweeps(spans: _Spans) -> None:
    """Use the connection for sweeps."""
    spans.world.advance(0)
    spans.world.engine.wall_clock_was_set()
    spans.world.settle()


@pytest.fixture
def spans(world: PostgresWorld) -> _Spans:
    return _Spans(world)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("use", [_claims, _lists, _sweeps])
def test_the_first_use_of_any_connection_after_a_restart_finds_a_clock_step(
    world: PostgresWorld, spans: _Spans, step: int, use: Callable[[_Spans], None]
) -> None:
    world.reopen()
    world.advance(SPAN / 2)
    world.set_clock_of_database(step)
    use(spans)
    assert spans.are_as_they_were()
    world.advance(SPAN / 2 - 1)
    assert spans.are_as_they_were()
    world.advance(1.1)
    assert spans.are_over()


@pytest.mark.parametrize("step", STEPS)
def test_a_clock_step_while_no_server_runs_is_found_at_the_start(
    world: PostgresWorld, spans: _Spans, step: int
) -> None:
    world.advance(SPAN / 2)
    world.reopen(meanwhile=lambda: world.set_clock_of_database(step))
    assert spans.are_as_they_were()
    world.advance(SPAN / 2 + 0.1)
    assert spans.are_over()


@pytest.mark.parametrize("step", STEPS)
def test_a_clock_correction_is_not_undone_by_another_connection(world: PostgresWorld, spans: _Spans, step: int) -> None:
    world.reopen()
    for sign in (1, -1):
        world.set_clock_of_database(sign * step)
        for use in (_sweeps, _claims, _lists, _sweeps):
            use(spans)
        assert spans.are_as_they_were()
    ((ahead, undone),) = world.control.execute("SELECT ahead, undone FROM meta").fetchall()
    assert (abs(ahead) < 100, undone) == (True, 0)
