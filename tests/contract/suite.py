"""
The contract of all engines (jobengine.engine.door), as tests.

To test an engine, subclass EngineContract with a fixture `world`; see test_local.py. The tests use only the methods of
the protocol Engine.
"""

from inspect import isawaitable
from typing import Any

import pytest

from jobengine.core import commands as c
from jobengine.core.errors import AccessDenied, JobNotFound, QueueNotFound
from jobengine.core.model import Job, State
from jobengine.core.retention import retention
from jobengine.engine.door import NotOffered
from tests.contract.access import AccessContract
from tests.contract.ageing import AgeingContract
from tests.contract.asking import KEY, MINUTE, Asker, Contract, every_question
from tests.contract.dead_letters import DeadLetterContract, MoveContract
from tests.contract.dependencies import BatchContract, DependencyContract
from tests.contract.events import EventsContract
from tests.contract.failures import FailuresContract
from tests.contract.groups import GroupsContract
from tests.contract.history import HistoryContract
from tests.contract.links import LinksContract
from tests.contract.many import ManyContract
from tests.contract.named_items import NamedItemsContract
from tests.contract.new_command import NewCommandContract
from tests.contract.schedules import ScheduleContract
from tests.contract.sorted_lists import SortedListsContract
from tests.contract.unique_keys import UniqueKeysContract
from tests.contract.waiting import WaitingContract
from tests.contract.world import World


class JobsContract(Contract):
    """Jobs, lists of them, time and storage."""

    # Queues, keys, and which error comes first

    def test_every_engine_method_returns_an_awaitable(self, world: World, ask: Asker) -> None:
        asked = [verb(command) for verb, command, _ in every_question(world.engine)]
        asked += [world.engine.readiness(), world.engine.figures(), world.engine.backup()]
        assert all(map(isawaitable, asked))
        world.all_of(*asked)

    @pytest.mark.parametrize("key", [KEY, b"wrong"])
    def test_every_engine_method_checks_the_queue_before_the_key_and_the_job(
        self, world: World, ask: Asker, key: bytes
    ) -> None:
        for verb, command, _ in every_question(world.engine, "none", key):
            with pytest.raises(QueueNotFound):
                ask.get(verb(command))

    @pytest.mark.parametrize("key", [b"wrong", b"", b"ke", b"keyy", b"\xff\xfe"])
    def test_with_a_wrong_key_every_engine_method_is_refused_and_changes_nothing(
        self, world: World, ask: Asker, key: bytes
    ) -> None:
        job = ask.add()
        for verb, command, _ in every_question(world.engine, key=key):
            with pytest.raises(AccessDenied):
                ask.get(verb(command))
        assert ask.jobs() == [job]

    def test_every_engine_method_on_a_job_checks_the_job_after_the_queue_and_the_key(
        self, world: World, ask: Asker
    ) -> None:
        for verb, command, of_a_job in every_question(world.engine):
            if of_a_job:
                with pytest.raises(JobNotFound):
                    ask.get(verb(command))

    def test_a_deleted_queue_is_gone_with_its_jobs_and_may_be_created_again(self, world: World, ask: Asker) -> None:
        job = ask.add()
        ask.get(world.engine.ask(c.DeleteQueue(queue="q", access_key=KEY)))
        with pytest.raises(QueueNotFound):
            ask.read(job)
        ask.create()
        assert ask.jobs() == []
        with pytest.raises(JobNotFound):
            ask.read(job)

    def test_a_job_can_not_be_claimed_or_read_through_another_queue(self, ask: Asker) -> None:
        ask.create("other")
        job = ask.add()
        assert ask.claim("other") is None
        with pytest.raises(JobNotFound):
            ask.read(job, "other")

    # Jobs

    def test_an_added_job_has_the_requested_fields_and_reads_back_unchanged(self, world: World, ask: Asker) -> None:
        asked: dict[str, Any] = {
            "priority": -7,
            "keep_minutes": 3,
            "timeout_seconds": 0,
            "timeout_time": world.now // 1000 + 9999,
            "content": b'{"a" :  1.50,\n"b":"\xc3\xa9\\u00e9" }',
        }
        job = ask.add(**asked)
        keep = retention(asked["keep_minutes"], asked["keep_minutes"])
        wanted = {**{name: value for name, value in asked.items() if name != "keep_minutes"}, "keep": keep}
        assert {name: getattr(job.spec, name) for name in wanted} == wanted
        assert (job.state, job.updated, job.spec.created) == (State.QUEUED, world.now, world.now)
        assert ask.read(job) == job
        assert ask.jobs() == [job]

    def test_every_job_has_its_own_uid(self, ask: Asker) -> None:
        assert len({ask.add().spec.uid for _ in range(50)}) == 50

    @pytest.mark.parametrize("number", [0, (1 << 63) - 1])
    def test_the_smallest_and_largest_64_bit_numbers_are_stored(self, ask: Asker, number: int) -> None:
        ask.add(priority=-number - 1, keep_minutes=number, timeout_seconds=number, timeout_time=number)
        first = ask.add(priority=number)
        assert ask.claim() == ask.read(first)

    def test_peeking_changes_nothing(self, world: World, ask: Asker) -> None:
        assert ask.peek() is None
        job = ask.add()
        world.advance(1)
        assert ask.peek() == job
        assert ask.peek() == job

    def test_claims_take_jobs_by_priority_and_then_by_arrival(self, ask: Asker) -> None:
        jobs = [ask.add(priority=priority) for priority in (0, 3, 0, -1, 3)]
        claimed = [ask.claim() for _ in range(6)]
        assert [job.spec if job else None for job in claimed] == [jobs[at].spec for at in (1, 4, 0, 2, 3)] + [None]

    def test_a_claimed_job_is_in_progress_since_its_claim(self, world: World, ask: Asker) -> None:
        job = ask.add()
        world.advance(5)
        claimed = ask.claim()
        assert claimed == ask.read(job)
        assert claimed is not None
        assert (claimed.state, claimed.updated, claimed.spec) == (State.INPROGRESS, world.now, job.spec)
        assert ask.peek() is None

    def test_concurrent_claims_never_get_the_same_job(self, world: World, ask: Asker) -> None:
        added = {ask.add().spec.uid for _ in range(20)}
        claims = [world.engine.claim(c.Claims(queues=("q",), access_key=KEY)) for _ in range(30)]
        claimed = [one.job.spec.uid for given in world.all_of(*claims) for one in given.jobs]
        assert len(claimed) == 20
        assert set(claimed) == added

    @pytest.mark.parametrize("source", State)
    @pytest.mark.parametrize("target", State)
    def test_a_job_can_change_from_any_state_to_any_other(
        self, world: World, ask: Asker, source: State, target: State
    ) -> None:
        job = ask.add()
        ask.update(job, source)
        world.advance(2)
        updated = ask.update(job, target)
        assert (updated.state, updated.updated, updated.spec) == (target, world.now, job.spec)
        assert ask.read(job) == updated
        assert ask.peek() == (updated if target is State.QUEUED else None)

    def test_a_deleted_job_is_gone(self, ask: Asker) -> None:
        job = ask.add()
        ask.delete(job)
        with pytest.raises(JobNotFound):
            ask.delete(job)
        assert (ask.peek(), ask.jobs()) == (None, [])

    # Lists

    @pytest.mark.parametrize("limit", [1, 2, 3, 6, 7])
    def test_a_list_has_all_jobs_in_execution_order_page_by_page(self, ask: Asker, limit: int) -> None:
        jobs = [ask.add(priority=priority) for priority in (0, 2, 0, 1, 2, 0)]
        jobs[2] = ask.update(jobs[2], State.FAILED)
        jobs[4] = ask.update(jobs[4], State.INPROGRESS)
        assert ask.jobs(limit) == [jobs[at] for at in (1, 4, 3, 0, 2, 5)]

    def test_the_last_page_has_no_cursor(self, world: World, ask: Asker) -> None:
        for _ in range(2):
            ask.add()
        page = ask.get(world.engine.ask(c.ListJobs(queue="q", access_key=KEY, limit=2)))
        assert (len(page.jobs), page.following) == (2, None)

    def test_a_cursor_stays_valid_while_jobs_are_added_and_removed(self, world: World, ask: Asker) -> None:
        jobs = [ask.add() for _ in range(6)]
        page = ask.get(world.engine.ask(c.ListJobs(queue="q", access_key=KEY, limit=3)))
        assert page.jobs == jobs[:3]
        for job in jobs[1:4]:
            ask.delete(job)
        ask.add(priority=1)
        last = ask.add()
        assert ask.jobs(after=page.following) == [*jobs[4:], last]

    # Time

    def test_a_job_in_progress_without_updates_fails_exactly_at_its_timeout(self, world: World, ask: Asker) -> None:
        job = ask.add(timeout_seconds=2 * MINUTE)
        ask.claim()
        world.advance(2 * MINUTE - 1)
        ask.update(job, State.INPROGRESS)
        world.advance(2 * MINUTE - 0.001)
        assert ask.read(job).state is State.INPROGRESS
        world.advance(0.001)
        timed_out = ask.read(job)
        assert (timed_out.state, timed_out.updated) == (State.FAILED, world.now)

    @pytest.mark.parametrize("state", [State.COMPLETE, State.FAILED])
    @pytest.mark.parametrize("minutes", [0, 3])
    def test_a_finished_job_is_removed_exactly_at_the_end_of_its_retention(
        self, world: World, ask: Asker, state: State, minutes: int
    ) -> None:
        job = ask.add(keep_minutes=minutes)
        assert ask.update(job, state).state is state
        if minutes:
            world.advance(minutes * MINUTE - 0.001)
            assert ask.read(job).state is state
            world.advance(0.001)
        with pytest.raises(JobNotFound):
            ask.read(job)

    def test_a_queued_job_is_removed_exactly_when_its_timeout_time_has_come(self, world: World, ask: Asker) -> None:
        job = ask.add(timeout_time=world.now // 1000 + 60)
        world.advance(59.999)
        assert ask.peek() == job
        world.advance(0.001)
        assert (ask.peek(), ask.claim(), ask.jobs()) == (None, None, [])

    def test_jobs_expire_without_any_request(self, world: World, ask: Asker) -> None:
        ask.add(timeout_seconds=MINUTE, keep_minutes=1)
        ask.claim()
        world.advance(MINUTE)
        assert ask.counts() == {State.FAILED: 1}
        world.advance(MINUTE)
        assert ask.counts() == {}

    # Storage

    def test_every_acknowledged_change_survives_a_restart_of_the_engine(self, world: World, ask: Asker) -> None:
        jobs = [ask.add(priority=at % 3, content=b'{"at": %d}' % at) for at in range(8)]
        ask.claim()
        ask.update(jobs[0], State.COMPLETE)
        ask.delete(jobs[1])
        kept, counts = ask.jobs(), ask.counts()
        world.reopen()
        assert ask.jobs() == kept
        assert ask.counts() == counts
        with pytest.raises(AccessDenied):
            ask.get(world.engine.peek(c.Peek(queue="q", access_key=b"wrong")))

    def test_a_deleted_queue_stays_deleted_after_a_restart(self, world: World, ask: Asker) -> None:
        ask.create("gone")
        ask.get(world.engine.ask(c.DeleteQueue(queue="gone", access_key=KEY)))
        world.reopen()
        with pytest.raises(QueueNotFound):
            ask.peek("gone")

    def test_a_job_added_after_a_restart_comes_after_the_older_jobs(self, world: World, ask: Asker) -> None:
        old = [ask.add() for _ in range(3)]
        ask.delete(old[2])
        world.reopen()
        new = ask.add()
        assert ask.jobs() == [*old[:2], new]
        assert new.spec.uid not in {job.spec.uid for job in old}

    def test_jobs_whose_deadline_passed_while_no_server_ran_expire_at_the_next_start(
        self, world: World, ask: Asker
    ) -> None:
        job = ask.add(timeout_seconds=MINUTE)
        ask.claim()
        world.advance(MINUTE)
        world.reopen()
        assert ask.read(job).state is State.FAILED

    # The engine's readiness and stats

    def test_a_running_engine_is_ready(self, world: World, ask: Asker) -> None:
        ask.get(world.engine.check_storage())
        readiness = ask.get(world.engine.readiness())
        assert (readiness.ready, readiness.reason) == (True, "")
        assert readiness.durability

    def test_stats_count_the_jobs_of_every_queue_in_every_state(self, world: World, ask: Asker) -> None:
        ask.create("empty")
        jobs = [ask.add() for _ in range(5)]
        for job, state in zip(jobs, (State.COMPLETE, State.FAILED, State.INPROGRESS), strict=False):
            ask.update(job, state)
        empty, q = ask.get(world.engine.ask(c.CountQueues()))
        assert (empty.name, q.name) == ("empty", "q")
        assert empty.counts == dict.fromkeys(State, 0)
        assert q.counts == {State.QUEUED: 2, State.COMPLETE: 1, State.FAILED: 1, State.INPROGRESS: 1}

    def test_stats_count_retrying_and_cancelled_jobs_correctly_after_every_change(
        self, world: World, ask: Asker
    ) -> None:
        jobs = [ask.add(max_attempts=3, timeout_seconds=MINUTE, retry_delay_seconds=n) for n in (0, 60, 0, 0)]

        def counted() -> tuple[int, int]:
            stats = ask.ask(c.ReadStats)
            (totals,) = ask.get(world.engine.ask(c.CountQueues()))
            assert totals.retrying == stats.retrying
            return stats.retrying, stats.cancelled

        assert counted() == (0, 0)
        assert [ask.hold().spec.uid for _ in range(2)] == [job.spec.uid for job in jobs[:2]]
        for job in jobs[:2]:
            ask.update(job, State.FAILED)
        ask.update(jobs[2], cancel=True)
        assert counted() == (2, 1)
        # The first job is claimed again and times out, so it is still retrying; the second is ready by now.
        ask.hold()
        assert counted() == (1, 1)
        world.advance(2 * MINUTE)
        assert counted() == (2, 1)
        world.reopen()
        assert counted() == (2, 1)
        ask.update(jobs[0], priority=3)
        ask.update(jobs[2], State.QUEUED)
        ask.update(jobs[1], cancel=True)
        assert counted() == (1, 1)
        ask.delete(jobs[0])
        ask.delete(jobs[1])
        assert counted() == (0, 0)

    def test_lists_and_bulk_changes_can_select_retrying_or_cancelled_jobs(self, world: World, ask: Asker) -> None:
        retrying, cancelled, failed, queued = jobs = [ask.add(max_attempts=2) for _ in range(4)]
        ask.update(ask.hold(), State.FAILED)
        ask.update(cancelled, cancel=True)
        ask.update(failed, State.FAILED)

        def found(**wanted: Any) -> list[Job]:
            uids = [one.spec.uid for one in ask.ask(c.ListJobs, filter=c.Filter(**wanted), limit=10).jobs]
            return [job for job in jobs if job.spec.uid in uids]

        assert found(retrying=True) == [retrying]
        assert found(retrying=False) == [cancelled, failed, queued]
        assert found(cancelled=True) == [cancelled]
        assert found(cancelled=False, state=State.FAILED) == [failed]
        mine: Any = {"queue": "q", "access_key": KEY}
        again = c.UpdateMatching(
            **mine, filter=c.Filter(cancelled=False, state=State.FAILED), changes=c.Changes(state=State.QUEUED)
        )
        assert ask.get(world.engine.update_matching(again)) == 1
        assert ask.get(world.engine.delete_matching(c.DeleteMatching(**mine, filter=c.Filter(retrying=True)))) == 1
        assert found() == [cancelled, failed, queued]

    def test_queues_are_listed_in_parts_sorted_by_name(self, world: World, ask: Asker) -> None:
        for name in ("z", "a", "m"):
            ask.create(name)
        kinds: list[Any] = [c.CountQueues, c.ListQueues]
        for kind in kinds:
            first = ask.get(world.engine.ask(kind(limit=3)))
            assert [one.name for one in first] == ["a", "m", "q"]
            assert [one.name for one in ask.get(world.engine.ask(kind(after="q", limit=3)))] == ["z"]
            assert ask.get(world.engine.ask(kind(after="z", limit=3))) == []

    def test_a_backup_is_streamed_in_pieces_or_refused_as_not_offered(self, world: World, ask: Asker) -> None:
        ask.add()
        try:
            pieces = ask.get(world.engine.backup())
        except NotOffered:
            return
        assert ask.get(anext(pieces))
        ask.get(pieces.aclose())

    def test_reading_a_queue_in_parts_yields_each_job_once_even_if_jobs_change(self, ask: Asker) -> None:
        jobs = [ask.add() for _ in range(9)]
        priorities = iter(range(1, 100))

        def edit() -> None:
            """Move the last job to the front, and the first to the end."""
            for job, priority in ((jobs[-1], next(priorities)), (jobs[0], -next(priorities))):
                ask.update(job, priority=priority)

        parts = ask.read_queue(2, edit)
        assert max(map(len, parts)) == 2
        assert [job.spec.uid for part in parts for job in part] == [job.spec.uid for job in jobs]

    def test_reading_a_queue_raises_queue_not_found_after_its_deletion(self, ask: Asker) -> None:
        for _ in range(5):
            ask.add()
        with pytest.raises(QueueNotFound):
            ask.read_queue(2, lambda: ask.ask(c.DeleteQueue))


class EngineContract(
    JobsContract,
    SortedListsContract,
    AccessContract,
    ManyContract,
    WaitingContract,
    EventsContract,
    NewCommandContract,
    NamedItemsContract,
    GroupsContract,
    HistoryContract,
    AgeingContract,
    ScheduleContract,
    FailuresContract,
    DependencyContract,
    BatchContract,
    LinksContract,
    UniqueKeysContract,
    DeadLetterContract,
    MoveContract,
):
    """The whole contract of an engine."""
