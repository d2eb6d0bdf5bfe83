"""Which fingerprint a failure has, and the index of failures in memory."""

from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobengine.core.commands import ExplainJob, ListFailures
from jobengine.core.failures import MOST_GROUPS, Alike, FoundPage, failure_of, fingerprint_of, fingerprint_of_attempt
from jobengine.core.fingerprints import fingerprint
from jobengine.core.model import Attempt, Job, Notes, Rank, Standing, State
from jobengine.core.places import Place
from jobengine.engine.tables import failure_index
from jobengine.engine.tables.failure_index import FailureIndex
from jobengine.engine.tables.sorted_list import SortedList
from tests.core.worlds import KEY, NOW, World, spec_of

_FINGERPRINTS = ("a", "b", "c")


def _job(uid: int, name: str, at: int) -> Job:
    """A job that failed at a time."""
    notes = Notes(error="e", fingerprint=name)
    return Job(spec_of(str(uid)), Standing(state=State.FAILED, updated=at, notes=notes))


def test_a_job_whose_error_is_updated_gets_the_fingerprint_of_the_new_error(world: World) -> None:
    uid = world.add().spec.uid
    job = world.hold()
    failed = world.update(uid, State.FAILED, lease=job.standing.lease, error="no room")
    assert failure_of(failed) == (fingerprint("no room"), world.now)
    changed = world.update(uid, error="no route")
    assert failure_of(changed) == (fingerprint("no route"), world.now)


def test_a_failure_without_an_error_keeps_the_fingerprint_of_the_previous_failure(world: World) -> None:
    uid = world.add(max_attempts=2).spec.uid
    first = world.update(uid, State.FAILED, lease=world.hold().standing.lease, error="no room", fingerprint="own")
    second = world.update(uid, State.FAILED, lease=world.hold().standing.lease)
    assert (first.standing.notes.fingerprint, second.standing.notes.fingerprint) == ("own", "own")
    assert [one.fingerprint for one in second.standing.notes.history] == ["own", "own"]


def test_a_completed_job_has_no_fingerprint_but_its_failed_attempts_have_one(world: World) -> None:
    uid = world.add(max_attempts=2).spec.uid
    world.update(uid, State.FAILED, lease=world.hold().standing.lease, error="no room")
    done = world.update(uid, State.COMPLETE, lease=world.hold().standing.lease)
    assert fingerprint_of(done.standing) is None
    assert [*map(fingerprint_of_attempt, done.standing.notes.history)] == [fingerprint("no room"), None]


def test_a_fingerprint_is_stored_only_if_the_worker_sent_it(world: World) -> None:
    ends: list[dict[str, Any]] = [{"error": "no room"}, {"error": "no room", "fingerprint": "own"}, {}]
    failed = [
        world.update(world.add().spec.uid, State.FAILED, lease=world.hold().standing.lease, **end) for end in ends
    ]
    assert [job.standing.notes.fingerprint for job in failed] == [None, "own", None]
    shown = [fingerprint("no room"), "own", fingerprint("")]
    assert [fingerprint_of(job.standing) for job in failed] == shown
    assert [fingerprint_of_attempt(job.standing.notes.history[0]) for job in failed] == shown


def test_a_queued_job_failed_by_an_update_without_an_error_is_counted(world: World) -> None:
    table, uid = world.tables.queues["q"], world.add().spec.uid
    assert table.count_failures(0).groups == 0
    world.update(uid, State.FAILED)
    assert table.count_failures(0).groups == 1


def test_a_failure_of_an_older_record_has_the_fingerprint_of_its_error() -> None:
    notes = Notes(error="no room", history=(Attempt(worker=None, started=1, ended=2, outcome="failed"),))
    failed = Job(spec_of("1"), Standing(state=State.FAILED, updated=NOW, notes=notes))
    assert failure_of(failed) == (fingerprint("no room"), NOW)


def test_the_failure_time_of_a_retried_job_is_the_end_of_its_failed_attempt() -> None:
    attempts = [
        Attempt(worker=None, started=1, ended=10, outcome="failed"),
        Attempt(worker=None, started=11, ended=20, outcome="timeout"),
        Attempt(worker=None, started=21, ended=30, outcome="released"),
    ]
    notes = Notes(history=tuple(attempts), retrying=True, fingerprint="a")
    assert failure_of(Job(spec_of("1"), Standing(state=State.QUEUED, updated=30, notes=notes))) == ("a", 20)


def _index(jobs: dict[str, Job]) -> FailureIndex:
    """An index, not read yet, of a queue with these failed jobs."""
    places: dict[Place, SortedList[Rank]] = {place: SortedList() for place in Place}
    places[Place.FAILED].add_all([job.spec.rank for job in jobs.values()])
    return FailureIndex(jobs, places)


def _replace(index: FailureIndex, jobs: dict[str, Job], uid: str, new: Job | None) -> None:
    """Replace a failed job in its queue and in the index."""
    old, ranks = jobs.pop(uid, None), index._places[Place.FAILED]
    if old is not None:
        ranks.remove_all([old.spec.rank])
    if new is not None:
        jobs[uid] = new
        ranks.add_all([new.spec.rank])
    index.change(old, new)


def _drop(index: FailureIndex) -> None:
    groups = list(index.groups.values())
    deque(index.dismantle(), maxlen=0)
    assert (index.is_used, index.groups, sum(len(group.entries) for group in groups)) == (False, {}, 0)


def _entries(index: FailureIndex) -> dict[str, list[tuple[int, str]]]:
    return {name: list(group.entries) for name, group in index.groups.items()}


_BETWEEN = (lambda index: None, FailureIndex.build_some, lambda index: index.count(0), _drop)
_CHANGES = st.tuples(
    st.integers(0, 5), st.sampled_from([None, *_FINGERPRINTS]), st.integers(0, 200_000), st.sampled_from(_BETWEEN)
)


@given(st.sampled_from([(1, 1), (4_000, 250)]), st.lists(_CHANGES))
def test_the_failure_index_equals_an_index_rebuilt_from_its_jobs(
    slices: tuple[int, int], changes: list[tuple[int, str | None, int, Callable[[FailureIndex], object]]]
) -> None:
    jobs: dict[str, Job] = {}
    index = _index(jobs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(failure_index, "_VISITED", slices[0])
        patch.setattr(failure_index, "_ENTERED", slices[1])
        for uid, name, at, between in changes:
            _replace(index, jobs, str(uid), None if name is None else _job(uid, name, at))
            between(index)
        fresh = _index(jobs)
        assert index.count(0) == fresh.count(0)
        assert _entries(index) == _entries(fresh)
        assert index.page(None, 10, 200_000) == fresh.page(None, 10, 200_000)


def test_jobs_that_wait_for_a_retry_are_found_when_failures_are_first_read(world: World) -> None:
    for delay in (0, 60):
        uid = world.add(max_attempts=2, retry_delay_seconds=delay).spec.uid
        world.update(uid, State.FAILED, lease=world.hold().standing.lease, error="no room")
        world.update(uid, priority=-1)
    assert world.tables.queues["q"].alike(fingerprint("no room")).count == 2


def _pages(index: FailureIndex) -> list[FoundPage]:
    """All pages of the groups of failures."""
    pages = [index.page(None, 300, 0)]
    while (after := pages[-1].following) is not None:
        pages.append(index.page(after, 300, 0))
    return pages


def test_only_the_largest_groups_are_listed_and_jobs_of_other_groups_are_counted() -> None:
    jobs = {str(number): _job(number, f"f{number}", number) for number in range(MOST_GROUPS + 3)}
    jobs["-1"] = _job(-1, "f1002", 5)
    pages = _pages(_index(jobs))
    found = [group.latest[0].standing.notes.fingerprint for page in pages for group in page.groups]
    assert (len(found), len(set(found)), found[0]) == (MOST_GROUPS, MOST_GROUPS, "f1002")
    assert {page.dropped for page in pages} == {3}


def test_the_failure_index_counts_hundreds_of_added_and_removed_failures() -> None:
    jobs = {str(number): _job(number, f"f{number % 7}", number) for number in range(251)}
    present = dict[str, Job]()
    index = _index(present)
    index.build_some()
    for uid, job in jobs.items():
        _replace(index, present, uid, job)
    assert (len(index.groups), index.page(None, 10, 0).dropped) == (7, 0)
    for uid in jobs:
        _replace(index, present, uid, None)
    assert index.groups == {}


@pytest.fixture
def few_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists 2 groups, and keeps 3."""
    monkeypatch.setattr(failure_index, "MOST_GROUPS", 2)
    monkeypatch.setattr(failure_index, "_MORE_GROUPS", 1)


@pytest.mark.usefixtures("few_groups")
def test_a_list_of_failures_counts_the_jobs_of_groups_left_out(world: World) -> None:
    for name in _FINGERPRINTS:
        uid = world.add().spec.uid
        world.update(uid, State.FAILED, lease=world.hold().standing.lease, fingerprint=name)
    page = world.ask(ListFailures(queue="q", access_key=KEY, limit=10))
    assert (len(page.failures), page.following, page.dropped) == (2, None, 1)


@pytest.mark.usefixtures("few_groups")
def test_explain_gives_only_a_lower_bound_for_the_size_of_a_dropped_failure_group(world: World) -> None:
    failed = []
    for name in "aabbcd":
        uid = world.add().spec.uid
        failed.append(world.update(uid, State.FAILED, lease=world.hold().standing.lease, fingerprint=name))
        world.now += 1
    alike = [world.ask(ExplainJob(queue="q", access_key=KEY, uid=job.spec.uid)).alike for job in failed]
    pairs = [Alike(2, failed[place].updated) for place in (0, 0, 2, 2)]
    assert alike == [*pairs, Alike(1, failed[4].updated, at_least=True), Alike(1, failed[5].updated)]


def _dropping(*names: str) -> tuple[FailureIndex, dict[str, Job]]:
    """An index that is in use while jobs fail one after the other with these fingerprints."""
    jobs = dict[str, Job]()
    index = _index(jobs)
    index.build_some()
    for number, name in enumerate(names):
        _replace(index, jobs, str(number), _job(number, name, number))
    return index, jobs


@pytest.mark.usefixtures("few_groups")
@pytest.mark.parametrize(
    ("failed", "kept"),
    [("aabbcd", {"a": 2, "b": 2, "d": 1}), ("abcd", {"b": 1, "c": 1, "d": 1}), ("abca", {"a": 2, "b": 1, "c": 1})],
)
def test_the_smallest_failure_groups_are_dropped_and_of_equally_small_groups_the_earliest(
    failed: str, kept: dict[str, int]
) -> None:
    index, _ = _dropping(*failed)
    assert {name: len(entries) for name, entries in _entries(index).items()} == kept


@pytest.mark.usefixtures("few_groups")
def test_removing_a_job_that_failed_before_the_drop_of_its_group_keeps_the_later_count() -> None:
    index, jobs = _dropping(*"abbccda")
    assert index.alike("a") == Alike(1, 6, at_least=True)
    _replace(index, jobs, "0", None)
    assert (index.alike("a").count, index.page(None, 10, 0).dropped) == (1, 2)
    _replace(index, jobs, "6", None)
    assert (index.alike("a"), index.page(None, 10, 0).dropped) == (Alike(at_least=True), 1)


@pytest.mark.usefixtures("few_groups")
def test_counts_are_exact_again_when_no_job_of_a_dropped_group_is_left() -> None:
    index, jobs = _dropping(*"abbccda")
    for uid in ("0", "5"):
        assert index.alike("a").at_least
        _replace(index, jobs, uid, None)
    assert not index.alike("a").at_least


@pytest.mark.usefixtures("few_groups")
def test_dropping_failure_groups_leaves_the_counts_of_the_kept_groups_complete() -> None:
    jobs = {str(number): _job(number, name, number) for number, name in enumerate("abcdabcdab")}
    index = _index(jobs)
    page = index.page(None, 10, 0)
    assert {(group.alike.count, group.alike.first) for group in page.groups} == {(3, 0), (3, 1)}
    assert (page.dropped, index.alike("a"), index.alike("c")) == (4, Alike(3, 0), Alike(at_least=True))


@pytest.mark.usefixtures("few_groups")
@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from([None, *"abcdefg"]), st.integers(0, 200_000))))
def test_an_index_that_drops_groups_counts_each_job_at_most_once(changes: list[tuple[int, str | None, int]]) -> None:
    index, jobs = _dropping()
    for uid, name, at in changes:
        _replace(index, jobs, str(uid), None if name is None else _job(uid, name, at))
        page = index.page(None, 10, 200_000)
        assert len(index.groups) <= 3
        assert sum(group.alike.count for group in page.groups) + page.dropped == len(jobs)
    for name in "abcdefg":
        every = {(at, uid) for uid, job in jobs.items() for its, at in [failure_of(job) or ("", 0)] if its == name}
        kept, alike = set(_entries(index).get(name, ())), index.alike(name)
        assert kept == every if alike.count and not alike.at_least else kept <= every
