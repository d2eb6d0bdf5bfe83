"""Dependencies and batches on PostgreSQL: the rows about them always agree with the jobs."""

from random import Random
from typing import Any

import pytest

from jobengine.core import commands as c
from jobengine.core.facts import ClockSet, QueueCreated
from jobengine.core.model import Defaults, State
from jobengine.engine.door import Busy
from jobengine.engine.postgres.batch.session import Session
from jobengine.engine.postgres.database.connection import connected
from jobengine.engine.postgres.database.rows import Rows
from jobengine.engine.postgres.database.schema import opened
from jobengine.engine.postgres.recount import Recount, recount
from jobengine.engine.postgres.transfer import contents, filling
from tests.contract.asking import KEY, MINUTE, Asker
from tests.contract.dependencies import A, B, C, D, carried_out, set_batch, waits_for
from tests.doubles import SECRET
from tests.engine.postgres.links import wrong_links
from tests.engine.postgres.server import WHO, Server, statements_sent
from tests.engine.postgres.world import PostgresWorld
from tests.graphs import QUEUES, Graphs, run, uid_of
from tests.postgres import Database

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("seed", range(2))
def test_after_each_step_of_a_random_graph_the_database_agrees_with_its_jobs(world: PostgresWorld, seed: int) -> None:
    def carry_out(step: Any) -> Any:
        try:
            return carried_out(world, step)
        finally:
            assert wrong_links(world.url) == []

    run(Graphs(Random(seed)).life(60), carry_out)
    world.advance(1)
    world.advance(1)
    assert world.control.execute("SELECT * FROM ended").fetchall() == []
    assert wrong_links(world.url) == []


def test_deleting_queues_deletes_the_rows_of_their_dependencies_and_batches(world: PostgresWorld) -> None:
    run(Graphs(Random(7)).life(40), lambda step: carried_out(world, step))
    ask = Asker(world)
    for queue in QUEUES:
        ask.ask(c.DeleteQueue, queue)
    for _ in range(9):
        world.advance(10)
    for table in ("dependency", "ended", "batch_tally", "item"):
        assert world.control.execute(f"SELECT * FROM {table}").fetchall() == [], table


def recounted(world: PostgresWorld) -> Recount:
    with connected(world.url) as connection:
        return recount(connection, Rows(opened(connection, SECRET)), lambda _at, _of: None)


def test_a_recount_corrects_dependencies_and_counts_of_batches(world: PostgresWorld, ask: Asker) -> None:
    for uid in (A, B):
        ask.add(uid=uid)
    waits_for(ask, A, B)
    set_batch(ask)
    ask.add(batch="b")
    ask.ask(c.CloseBatch, name="b")
    assert (recounted(world).dependencies, recounted(world).corrections) == (0, [])
    world.control.execute("DELETE FROM dependency WHERE parent_key = %s", [A])
    world.control.execute("INSERT INTO dependency VALUES (1, 'gone', '', 'none', '-', 1)")
    world.control.execute("UPDATE job SET awaited = NULL")
    world.control.execute("UPDATE batch_tally SET jobs = jobs + 2")
    found = recounted(world)
    number = world.control.execute("SELECT id FROM queue").fetchall()[0][0]
    assert found.dependencies == 1 + (number == 1)
    assert [(one.count, one.was, one.jobs) for one in found.corrections] == [("ready in a batch", 3, 1)]
    world.advance(1)
    world.control.execute("DELETE FROM dependency WHERE uid = 'gone'")
    assert wrong_links(world.url) == []
    while job := ask.claim():
        ask.update(job, State.COMPLETE)
    assert {job.spec.uid for job in ask.jobs(state=State.COMPLETE)} >= {A, B, C, D}


def test_an_imported_database_continues_where_the_exported_database_stopped(
    world: PostgresWorld, ask: Asker, database: Database
) -> None:
    ask.add(uid=A, keep_minutes=1)
    ask.add(uid=B)
    waits_for(ask, A, B)
    set_batch(ask)
    ask.add(batch="b", keep_minutes=1)
    ask.ask(c.CloseBatch, name="b")
    ask.update(ask.hold(), State.COMPLETE)
    facts = exported(world)
    world.advance(10)

    def refill() -> None:
        database.clear()
        with connected(world.url) as connection:
            rows = Rows(opened(connection, SECRET))
            with filling(connection, rows) as made:
                made.add(facts)

    world.reopen(refill)
    world.advance(5 * MINUTE)
    assert wrong_links(world.url) == []
    assert ask.ask(c.ReadJob, uid=A).state is State.COMPLETE
    while job := ask.claim():
        ask.update(job, State.COMPLETE)
    assert ask.ask(c.ReadBatch, name="b").batch.ended is not None
    assert {job.state for job in ask.jobs()} == {State.COMPLETE}
    assert {C, D} <= {job.spec.uid for job in ask.jobs()}


def exported(world: PostgresWorld) -> list[Any]:
    with connected(world.url) as connection, contents(connection, Rows(opened(connection, SECRET))) as found:
        return [ClockSet(found.ahead), *map(QueueCreated, found.queues), *found.items(), *found.jobs()]


def test_dependants_are_updated_after_their_dependency_was_damaged_and_deleted(
    world: PostgresWorld, ask: Asker
) -> None:
    ask.add(uid=A)
    waits_for(ask, A)
    world.control.execute("UPDATE job SET sealed = set_byte(sealed, 50, get_byte(sealed, 50) # 1) WHERE uid = %s", [A])
    world.reopen()
    assert ask.claim() is None
    assert ask.ask(c.ReadJob, uid=C).waits
    ask.ask(c.DeleteJob, uid=A)
    world.advance(1)
    assert ask.ask(c.ReadJob, uid=C).state is State.FAILED
    assert wrong_links(world.url) == []


def test_an_ended_batch_is_removed_when_its_last_job_is_removed(world: PostgresWorld, ask: Asker) -> None:
    set_batch(ask)
    ask.add(batch="b", keep_minutes=2 * 24 * 60)
    ask.ask(c.CloseBatch, name="b")
    ask.update(ask.hold(), State.COMPLETE)
    for _ in range(3):
        world.advance(24 * 60 * MINUTE // 2)
    assert len(ask.ask(c.ListBatches, limit=9).batches) == 1
    for _ in range(3):
        world.advance(24 * 60 * MINUTE)
    assert ask.ask(c.ListBatches, limit=9).batches == []
    assert world.control.execute("SELECT * FROM batch_tally").fetchall() == []


def test_a_released_job_wakes_a_claim_that_waits_at_another_server(database: Database) -> None:
    database.clear()
    first, second = PostgresWorld(database.url), PostgresWorld(database.url)
    here, there = Asker(first), Asker(second)
    here.create()
    here.add(uid=A)
    waits_for(here, A)
    held = here.hold()
    waiting = there.claiming()
    here.update(held, State.COMPLETE)
    for _ in range(10):
        second._clock.advance(0.3)
    (claimed,) = waiting.answer.jobs
    assert claimed.job.spec.uid == C
    first.close()
    second.close()


def test_if_the_database_is_lost_after_the_updates_of_a_claim_the_claim_returns_no_job(
    world: PostgresWorld, ask: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask.add(uid=A)
    waits_for(ask, A)
    job = ask.hold()
    carry_out, calls = Session._carry_out, []

    def fail_at_second(session: Session, *args: Any) -> Any:
        calls.append(1)
        if len(calls) > 1:
            raise Busy("lost")
        return carry_out(session, *args)

    done = c.JobUpdate(uid=A, changes=c.Changes(state=State.COMPLETE), lease=job.standing.lease)
    claims = c.Claims(queues=("q",), access_key=KEY, updates=(c.QueueUpdate("q", done),))
    with monkeypatch.context() as patched:
        patched.setattr(Session, "_carry_out", fail_at_second)
        result = ask.get(world.engine.claim(claims))
    assert (list(result.jobs), len(result.results), len(calls)) == ([], 1, 2)
    assert ask.hold().spec.uid == C


def test_jobs_without_dependencies_cause_no_extra_statement(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.clear()
    server = Server.on(database.url)
    server.ask(c.CreateQueue(**WHO))
    server.add()
    sent = statements_sent(monkeypatch)
    server.add()
    (uid, *_) = server.claim(count=9)
    server.ask(c.UpdateJob(**WHO, uid=uid, changes=c.Changes(state=State.COMPLETE)))
    words = ("dependency", "ended", "batch_tally", "awaited =", "unfinished")
    assert [one.text for one in sent if any(word in one.text for word in words)] == []
    server.session.close()


def test_new_jobs_that_depend_on_a_waiting_job_are_checked_for_circles_by_one_query(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.clear()
    server = Server.on(database.url)
    server.ask(c.CreateQueue(**WHO))
    server.add(uid=A)
    server.add(uid=B, depends_on=(("q", A),))
    sent = statements_sent(monkeypatch)
    jobs = tuple(c.NewJob(content=b"{}", uid=uid_of(number), depends_on=(("q", B),)) for number in range(10, 60))
    server.ask(c.AddJobs(**WHO, jobs=jobs, defaults=Defaults()))
    assert len([one for one in sent if "WHERE d.parent_queue" in one.text or "WHERE parent_queue" in one.text]) == 1
    server.session.close()
