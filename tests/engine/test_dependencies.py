"""Dependencies of an engine on a file: crashes in a cascade, many jobs at once, a full disk."""

from pathlib import Path
from typing import Any

from twisted.internet.task import Clock

from jobengine.core import commands as c
from jobengine.core.model import Defaults, Job, State
from tests.doubles import START, CountedIds, make_engine, start
from tests.engine.engines import KEY, Desk
from tests.graphs import uid_of
from tests.pending import Pending
from tests.storage.simulated_files import SimulatedFiles

WHO: dict[str, Any] = {"queue": "q", "access_key": KEY}
FIRST = uid_of(0)


def fan_out(number: int) -> c.AddJobs:
    """The command that adds a job, and others that depend on it."""
    after = (c.NewJob(content=b"{}", uid=uid_of(at), depends_on=(("q", FIRST),)) for at in range(1, number + 1))
    return c.AddJobs(**WHO, jobs=(c.NewJob(content=b"{}", uid=FIRST), *after), defaults=Defaults(), many=True)


def complete(uid: str = FIRST) -> c.UpdateJob:
    return c.UpdateJob(**WHO, uid=uid, changes=c.Changes(state=State.COMPLETE))


class _Life:
    """An engine on simulated files."""

    def __init__(self, files: SimulatedFiles, seconds: float = START) -> None:
        self.files, self.clock = files, Clock()
        self.clock.rightNow = seconds
        self.engine = make_engine(Path("db"), self.clock, files=files, new_id=CountedIds())
        start(self.engine, lambda: self.clock.advance(0))

    def ask(self, command: c.Command[Any]) -> Any:
        pending = Pending(self.engine.ask(command))
        self.clock.advance(0)
        return pending.answer

    def waiting(self) -> int:
        """The number of waiting jobs."""
        number: int = self.ask(c.ReadStats(**WHO)).waiting
        return number


def test_the_release_of_many_dependants_continues_after_a_crash_at_any_step() -> None:
    files = SimulatedFiles()
    life = _Life(files)
    life.ask(c.CreateQueue(**WHO))
    life.ask(fan_out(1_300))
    crashes = []

    def crash() -> None:
        for disk in list(files.after_a_crash())[:3]:
            again = _Life(SimulatedFiles(disk), START + 1)
            first: Job = again.ask(c.ReadJob(**WHO, uid=FIRST))
            assert again.waiting() == (0 if first.state is State.COMPLETE else 1_300)
            crashes.append(first.state)

    files.moment = crash
    before = life.engine.executor.totals["commits"]
    life.ask(complete())
    files.moment = lambda: None
    assert life.waiting() == 0
    assert life.engine.executor.totals["commits"] > before + 1
    assert {*crashes} == {State.QUEUED, State.COMPLETE}


def test_other_requests_are_served_while_a_thousand_dependants_are_released(desk: Desk) -> None:
    desk.told(desk.engine.ask(fan_out(2_000)))
    pending = Pending(desk.engine.ask(complete()))
    table = desk.engine.executor.tables.queues["q"]
    seen = [table.counts().waiting]
    while seen[-1]:
        desk.one_turn()
        seen.append(table.counts().waiting)
    desk.settle()
    assert pending.answered
    # The first commit releases a thousand jobs, then each turn 200.
    assert [*dict.fromkeys(seen)] == [1_000, 800, 600, 400, 200, 0]


def test_a_complete_job_may_be_deleted_before_its_dependants_are_updated(desk: Desk) -> None:
    desk.told(desk.engine.ask(fan_out(1_500)))
    deleted = [
        Pending(desk.engine.ask(complete())),
        Pending(desk.engine.ask(c.DeleteJob(**WHO, uid=FIRST))),
    ]
    desk.settle()
    assert all(one.answered for one in deleted)
    assert [job.ready for job in desk.jobs()] == [True] * 1_500


def test_a_queue_of_finished_dependencies_can_be_deleted_after_the_queue_of_the_dependants(desk: Desk) -> None:
    desk.told(desk.engine.ask(c.CreateQueue(queue="x", access_key=KEY)))
    of_x: dict[str, Any] = {"queue": "x", "access_key": KEY}
    uids = [uid_of(at) for at in range(1_300)]
    jobs = tuple(c.NewJob(content=b"{}", uid=uid) for uid in uids)
    desk.told(desk.engine.ask(c.AddJobs(**of_x, jobs=jobs, defaults=Defaults(), many=True)))
    completed = c.UpdateMatching(**of_x, filter=c.Filter(), changes=c.Changes(state=State.COMPLETE))
    desk.told(desk.engine.update_matching(completed))
    after = [tuple(("x", uid) for uid in uids[at : at + 100]) for at in range(0, len(uids), 100)]
    waiting = tuple(c.NewJob(content=b"{}", depends_on=on) for on in after)
    desk.told(desk.engine.ask(c.AddJobs(**WHO, jobs=waiting, defaults=Defaults(), many=True)))
    deleted = [Pending(desk.engine.ask(c.DeleteQueue(**who))) for who in (WHO, of_x)]
    desk.settle()
    assert all(one.answered for one in deleted)
    assert not desk.engine.executor.tables.dependants.pending


def test_a_failure_fails_all_jobs_of_a_chain(desk: Desk) -> None:
    chain = [c.NewJob(content=b"{}", uid=FIRST)]
    chain += [c.NewJob(content=b"{}", uid=uid_of(at), depends_on=(("q", uid_of(at - 1)),)) for at in range(1, 50)]
    desk.told(desk.engine.ask(c.AddJobs(**WHO, jobs=tuple(chain), defaults=Defaults(), many=True)))
    failed = c.UpdateJob(**WHO, uid=FIRST, changes=c.Changes(state=State.FAILED))
    desk.told(desk.engine.ask(failed))
    assert {job.state for job in desk.jobs()} == {State.FAILED}
