"""Claims that wait at several servers on one PostgreSQL."""

import pytest

from jobengine.core import commands as c
from jobengine.core.claimers import Origin
from tests.contract.asking import Asker
from tests.engine.postgres.world import PostgresWorld

pytestmark = pytest.mark.slow

HERE, THERE = Origin(host="here"), Origin(host="there")


def _advance(seconds: float, *askers: Asker) -> None:
    for one in askers:
        one.world.advance(seconds)


def test_each_server_lists_and_counts_the_waiting_claims_of_all_servers(ask: Asker, other: Asker) -> None:
    ask.claiming(worker="a", origin=HERE)
    other.claiming(worker="b", origin=THERE)
    _advance(1, ask, other)
    for one in (ask, other):
        claimers = one.ask(c.ListClaimers)
        assert sorted((each.worker, each.origin) for each in claimers.waiting) == [("a", HERE), ("b", THERE)]
        assert claimers.origins == {"a": HERE, "b": THERE}
        assert one.ask(c.ReadStats).workers_waiting == 2
    # In /metrics each server counts only its own claims: Prometheus adds them up.
    assert [each.workers_waiting for each in ask.get(ask.world.engine.ask(c.CountQueues()))] == [1]


def test_explain_takes_claims_at_other_servers_into_account(ask: Asker, other: Asker) -> None:
    job = ask.add(tags=("t",))
    assert other.ask(c.ExplainJob, uid=job.spec.uid).lacks_claims
    ask.claiming(worker="a", tags=("other",))
    _advance(1, ask, other)
    explained = other.ask(c.ExplainJob, uid=job.spec.uid)
    assert (explained.lacks_claims, list(explained.other_tags)) == (False, [("other",)])


def test_a_claim_that_keeps_waiting_stays_listed_at_other_servers(ask: Asker, other: Asker) -> None:
    ask.claiming(worker="a", wait=30)
    for _ in range(25):
        _advance(1, ask, other)
        assert [one.worker for one in other.ask(c.ListClaimers).waiting] == ["a"]
    ask.add()
    _advance(6, ask, other)
    assert other.ask(c.ListClaimers).waiting == []


def test_waiting_claims_of_a_server_that_no_longer_renews_its_row_are_forgotten(ask: Asker, other: Asker) -> None:
    ask.claiming(worker="a", wait=50)
    _advance(1, ask, other)
    assert other.ask(c.ReadStats).workers_waiting == 1
    # The first server is suspended.
    other.world.advance(13)
    assert other.ask(c.ReadStats).workers_waiting == 0


def test_stats_have_the_time_of_the_last_claim_at_another_server(
    world: PostgresWorld, ask: Asker, other: Asker
) -> None:
    ask.claim()
    claimed = world.now
    _advance(1, ask, other)
    assert other.ask(c.ReadStats).last_claim == claimed


def test_a_list_of_waiting_claims_skips_the_damaged_row_of_a_server(
    world: PostgresWorld, ask: Asker, other: Asker
) -> None:
    ask.claiming(worker="a")
    _advance(1, ask, other)
    world.control.execute("UPDATE claimers SET sealed = 'x'")
    _advance(1, other)
    assert other.ask(c.ListClaimers).waiting == []


def test_no_row_is_written_while_nobody_claims(world: PostgresWorld, ask: Asker) -> None:
    ask.claim()
    world.advance(1)
    world.advance(20)
    ((told,),) = world.control.execute("SELECT at FROM claimers").fetchall()
    for _ in range(4):
        world.advance(10)
        ask.add()
    assert world.control.execute("SELECT at FROM claimers").fetchall() == [(told,)]


def test_rows_of_servers_that_are_gone_are_removed(world: PostgresWorld, ask: Asker, other: Asker) -> None:
    ask.claim()
    world.advance(1)
    world.advance(4_000)
    other.world.advance(8_000)
    other.claim()
    other.world.advance(1)
    ((count,),) = world.control.execute("SELECT count(*) FROM claimers").fetchall()
    assert count == 1
