"""Several connections that add, replace and claim jobs with one unique key at the same time."""

from threading import Barrier, Event, Thread
from typing import Any, Final

import pytest
from attrs import define, field

from jobengine.core import commands as c
from jobengine.core.model import Defaults, Job, State
from jobengine.core.unique_rule import IfInProgress, IfQueued, UniqueRule, Until
from jobengine.engine.postgres.batch.session import Session
from tests.engine.postgres.world import session_on
from tests.postgres import Database

pytestmark = pytest.mark.slow

WHO: Final[dict[str, Any]] = {"queue": "q", "access_key": b"key"}
_RULES: Final = {
    "until started": UniqueRule(until=Until.STARTED, if_queued=IfQueued.REPLACE),
    "beside": UniqueRule(if_queued=IfQueued.REPLACE, if_running=IfInProgress.ADD),
}


@define
class _Adder:
    """Adds numbered jobs, some of them in bulk."""

    session: Session
    name: int
    rule: UniqueRule
    #: The content of each job that was added, and whether it was new.
    added: list[tuple[bytes, bool]] = field(factory=list)
    failed: list[BaseException] = field(factory=list)

    def add(self, rounds: int) -> None:
        try:
            for number in range(rounds):
                contents = [b'{"n":[%d,%d,%d]}' % (self.name, number, part) for part in range(1 + number % 3)]
                jobs = tuple(c.NewJob(content=one, unique_key="k", unique=self.rule) for one in contents)
                outcomes = _ask(self.session, c.AddJobs(**WHO, jobs=jobs, defaults=Defaults(), many=True))
                assert all(one.new or one.replaced for one in outcomes)
                self.added += [(content, one.new) for content, one in zip(contents, outcomes, strict=True)]
        except BaseException as error:
            self.failed.append(error)


@define
class _Claimer:
    """Claims and completes jobs until all adders have finished and no job is left."""

    session: Session
    over: Event
    claimed: list[Job] = field(factory=list)
    failed: list[BaseException] = field(factory=list)

    def work(self) -> None:
        try:
            while True:
                is_last = self.over.is_set()
                claims = c.Claims(queues=("q",), access_key=b"key", count=5)
                jobs = [one.job for one in _ask(self.session, claims).jobs]
                self.claimed += jobs
                for job in jobs:
                    done = c.JobUpdate(uid=job.spec.uid, changes=c.Changes(state=State.COMPLETE))
                    _ask(self.session, c.UpdateJobs(**WHO, updates=(done,)))
                if is_last and not jobs:
                    return
        except BaseException as error:
            self.failed.append(error)


def _ask(session: Session, task: c.Command[Any]) -> Any:
    (outcome,) = session.carry_out([task]).outcomes
    return outcome.get()


@pytest.mark.parametrize("rule", _RULES.values(), ids=_RULES)
def test_each_job_is_claimed_once_with_the_content_that_was_added_last(database: Database, rule: UniqueRule) -> None:
    database.clear()
    over = Event()
    adders = [_Adder(session_on(database.url), name, rule) for name in range(2)]
    claimers = [_Claimer(session_on(database.url), over) for _ in range(2)]
    _ask(adders[0].session, c.CreateQueue(**WHO))
    adding = [Thread(target=one.add, args=(60,)) for one in adders]
    working = [Thread(target=one.work) for one in claimers]
    for thread in (*adding, *working):
        thread.start()
    for thread in adding:
        thread.join()
    over.set()
    for thread in working:
        thread.join()
    assert [one.failed for one in adders] + [one.failed for one in claimers] == [[]] * 4
    claimed = [job.spec.content for one in claimers for job in one.claimed]
    news = sum(is_new for one in adders for _, is_new in one.added)
    assert len(claimed) == len({*claimed}) == news
    assert {*claimed} <= {content for one in adders for content, _ in one.added}
    # No later add has replaced the last one.
    assert {*claimed} & {one.added[-1][0] for one in adders}
    for session in [one.session for one in adders] + [one.session for one in claimers]:
        session.close()


@define
class _Starter:
    """Adds one job for each of many keys, each at the same time as others do."""

    session: Session
    barrier: Barrier
    outcomes: list[str] = field(factory=list)

    def add(self, keys: int) -> None:
        for key in range(keys):
            self.barrier.wait(60)
            job = c.NewJob(content=b"{}", unique_key=str(key), unique=_RULES["beside"])
            (added,) = _ask(self.session, c.AddJobs(**WHO, jobs=(job,), defaults=Defaults()))
            self.outcomes.append("new" if added.new else "replaced" if added.replaced else "kept")


def test_at_most_one_job_is_queued_however_many_connections_add(database: Database) -> None:
    database.clear()
    barrier = Barrier(4)
    starters = [_Starter(session_on(database.url), barrier) for _ in range(4)]
    _ask(starters[0].session, c.CreateQueue(**WHO))
    threads = [Thread(target=one.add, args=(20,)) for one in starters]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    by_key = zip(*(one.outcomes for one in starters), strict=True)
    assert [sorted(outcomes) for outcomes in by_key] == [["new", *["replaced"] * 3]] * 20
    for one in starters:
        one.session.close()
