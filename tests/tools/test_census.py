"""Counting jobs without keeping them has the same result as the tables."""

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from jobengine.core.fact_codec import encode
from jobengine.core.facts import Fact, JobAdded, JobChanged
from jobengine.core.model import Standing, State
from jobengine.engine.local.tables.state import Tables
from jobengine.tools.census import Census
from jobengine.tools.state_table import REMOVED, StateTable
from tests.core.random_facts import facts

from .databases import FACTS, job


@given(st.lists(facts, max_size=60))
def test_any_facts_come_to_the_same_queues_and_jobs_as_in_the_tables(made_up: list[Fact]) -> None:
    tables, census = Tables(), Census()
    tables.apply(made_up)
    census.add([encode(fact) for fact in made_up])
    assert {queue.name: queue.jobs for queue in census.queues()} == {
        name: {state: table.count(state) for state in State} for name, table in tables.queues.items()
    }


def test_live_bytes_are_the_length_of_the_records_that_are_needed() -> None:
    census = Census()
    lengths = [len(encode(fact)) for fact in FACTS]
    census.add([encode(fact) for fact in FACTS])
    assert census.live_bytes == sum(lengths)
    longer = job(1, content=b'{"text":"%s"}' % (b"x" * 1000))
    census.add([encode(longer)])
    assert census.live_bytes == sum(lengths) - lengths[1] + len(encode(longer))


def test_the_records_of_a_job_count_once_and_are_gone_with_it() -> None:
    census = Census()
    census.add([encode(fact) for fact in FACTS])
    before = census.live_bytes
    worker = JobChanged("mail", "uid-1", Standing(state=State.INPROGRESS, updated=2, worker="w" * 1000))
    census.add([encode(worker)] * 3)
    assert before + 900 < census.live_bytes < before + 1100
    census.add([encode(JobChanged("mail", "uid-1", Standing(state=State.COMPLETE, updated=3)))])
    assert census.live_bytes == before


def test_a_table_that_grows_and_forgets_agrees_with_a_dict() -> None:
    random, table = Random(1), StateTable()
    expected: dict[str, tuple[int, int]] = {}
    for _ in range(30_000):
        uid, state, length = str(random.randrange(3000)), random.randrange(1, 5), random.randrange(1, 1000)
        match random.choice(["put", "change", "remove", "remove"]):
            case "put":
                table.put(uid, state, length)
                expected[uid] = state, length
            case "change":
                table.change(uid, state, 0)
                if uid in expected:
                    expected[uid] = state, expected[uid][1]
            case _:
                table.change(uid, REMOVED, 0)
                expected.pop(uid, None)
    found = {state: table.count(state) for state in range(1, 5)}
    assert found == Counter(state for state, _ in expected.values())
    assert table.total == sum(length for _, length in expected.values())


def test_a_job_takes_less_than_50_bytes_with_any_contents() -> None:
    census = Census()
    census.add([encode(FACTS[0])])
    for number in range(10_000):
        fact = job(number, content=b'{"text":"%s"}' % (b"x" * 200))
        assert isinstance(fact, JobAdded)
        census.add([encode(fact)])
    assert next(census.queues()).jobs[State.QUEUED] == 10_000
    assert census.memory < 50 * 10_000
