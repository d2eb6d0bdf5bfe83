"""Counting jobs in little memory has the same result as the server's tables."""

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from jobengine.core.fact_codec import encode
from jobengine.core.facts import Fact, JobAdded, JobChanged
from jobengine.core.model import Standing, State
from jobengine.engine.tables.state import Tables
from jobengine.tools.job_counts import REMOVED, JobCounts, counts_in, live_bytes
from jobengine.tools.live_records import LiveRecords
from tests.core.random_facts import facts

from .databases import FACTS, job


def _live() -> LiveRecords[JobCounts]:
    return LiveRecords("db", JobCounts)


@given(st.lists(facts, max_size=60))
def test_from_any_records_the_tools_read_the_same_queues_and_jobs_as_the_server(made_up: list[Fact]) -> None:
    tables, live = Tables(), _live()
    tables.apply(made_up)
    live.add([encode(fact) for fact in made_up])
    assert {queue.name: queue.jobs for queue in counts_in(live)} == {
        name: table.counts().states for name, table in tables.queues.items()
    }


def test_live_bytes_are_the_length_of_the_needed_records() -> None:
    live = _live()
    lengths = [len(encode(fact)) for fact in FACTS]
    live.add([encode(fact) for fact in FACTS])
    assert live_bytes(live) == sum(lengths)
    longer = job(1, content=b'{"text":"%s"}' % (b"x" * 1000))
    live.add([encode(longer)])
    assert live_bytes(live) == sum(lengths) - lengths[1] + len(encode(longer))


def test_only_the_last_change_of_a_job_counts_towards_the_live_bytes() -> None:
    live = _live()
    live.add([encode(fact) for fact in FACTS])
    before = live_bytes(live)
    worker = JobChanged("mail", "uid-1", Standing(state=State.INPROGRESS, updated=2, worker="w" * 1000))
    live.add([encode(worker)] * 3)
    assert before + 900 < live_bytes(live) < before + 1100
    live.add([encode(JobChanged("mail", "uid-1", Standing(state=State.COMPLETE, updated=3)))])
    assert live_bytes(live) == before


def test_the_compact_table_of_jobs_behaves_like_a_dict() -> None:
    random, table = Random(1), JobCounts()
    expected: dict[str, tuple[int, int]] = {}
    for _ in range(30_000):
        uid, state, length = str(random.randrange(3000)), random.randrange(1, 5), random.randrange(1, 1000)
        match random.choice(["put", "change", "remove", "remove"]):
            case "put":
                table.put(uid, state, length)
                expected[uid] = state, length
            case "change":
                table.set(uid, state, 0)
                if uid in expected:
                    expected[uid] = state, expected[uid][1]
            case _:
                table.set(uid, REMOVED, 0)
                expected.pop(uid, None)
    found = {number: count for number, count in enumerate(table.by_state().values(), 1) if count}
    assert found == Counter(state for state, _ in expected.values())
    assert table.total == sum(length for _, length in expected.values())


def test_a_job_takes_less_than_50_bytes_of_memory_whatever_its_contents() -> None:
    live = _live()
    live.add([encode(FACTS[0])])
    for number in range(10_000):
        fact = job(number, content=b'{"text":"%s"}' % (b"x" * 200))
        assert isinstance(fact, JobAdded)
        live.add([encode(fact)])
    assert counts_in(live)[0].jobs[State.QUEUED] == 10_000
    assert live.queues["mail"].jobs.memory < 50 * 10_000
