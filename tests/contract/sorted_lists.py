"""Lists by time, also while their jobs are edited."""

import pytest

from jobengine.core import commands as c
from jobengine.core.model import State
from jobengine.core.sorting import Sort
from tests.contract.asking import Asker, Contract
from tests.contract.world import World


class SortedListsContract(Contract):
    """Lists by the time at which jobs were added, or updated last."""

    @pytest.mark.parametrize("limit", [1, 2, 6, 7])
    @pytest.mark.parametrize(
        ("sort", "order"),
        [
            (Sort.CREATED, (0, 1, 2, 3, 4, 5)),
            (Sort.NEWEST_CREATED, (5, 4, 3, 2, 1, 0)),
            (Sort.UPDATED, (0, 2, 3, 5, 4, 1)),
            (Sort.NEWEST_UPDATED, (1, 4, 5, 3, 2, 0)),
        ],
    )
    def test_a_list_by_time_puts_jobs_with_equal_times_in_order_of_arrival(
        self, world: World, ask: Asker, sort: Sort, order: tuple[int, ...], limit: int
    ) -> None:
        """Two jobs are added at each time; then the fifth is updated, and after it the second."""
        jobs = []
        for priority in (0, 2, 0, 1, 2, 0):
            jobs.append(ask.add(priority=priority))
            world.advance(len(jobs) % 2 * 0.001)
        for at in (4, 1):
            world.advance(1)
            jobs[at] = ask.update(jobs[at], State.FAILED)
        assert ask.jobs(limit, sort=sort) == [jobs[at] for at in order]
        failed = [jobs[at] for at in order if at in (4, 1)]
        assert ask.jobs(limit, sort=sort, state=State.FAILED) == failed

    @pytest.mark.parametrize("sort", [Sort.CREATED, Sort.NEWEST_CREATED])
    def test_a_list_by_creation_has_each_job_once_despite_edits_meanwhile(
        self, world: World, ask: Asker, sort: Sort
    ) -> None:
        jobs = [ask.add() for _ in range(9)]
        priorities = iter(range(1, 100))

        def edit() -> None:
            """Change priorities: move the first job to the end of execution order, and the last to the front."""
            world.advance(1)
            ask.update(jobs[0], priority=-next(priorities))
            ask.update(jobs[-1], priority=next(priorities))

        shown = [job.spec.uid for job in ask.jobs(2, sort=sort, between=edit)]
        uids = [job.spec.uid for job in jobs]
        assert shown == (uids[::-1] if sort.is_descending else uids)

    def test_a_list_by_last_update_misses_no_job_and_repeats_jobs_updated_meanwhile(
        self, world: World, ask: Asker
    ) -> None:
        jobs = [ask.add() for _ in range(6)]
        updates = iter([jobs[0], jobs[4]])

        def update() -> None:
            world.advance(1)
            for job in updates:
                ask.update(job, State.FAILED)
                break

        shown = [job.spec.uid for job in ask.jobs(2, sort=Sort.UPDATED, between=update)]
        assert shown == [jobs[at].spec.uid for at in (0, 1, 2, 3, 5, 0, 4)]

    @pytest.mark.parametrize("sort", Sort)
    def test_a_cursor_of_a_list_by_time_stays_valid_after_changes_and_a_restart(
        self, ask: Asker, world: World, sort: Sort
    ) -> None:
        jobs = [ask.add() for _ in range(6)]
        shown = jobs[::-1] if sort.is_descending else jobs
        page = ask.ask(c.ListJobs, limit=2, sort=sort)
        assert page.jobs == shown[:2]
        ask.delete(shown[1])
        ask.delete(shown[2])
        world.reopen()
        world.advance(1)
        late = [] if sort.is_descending else [ask.add()]
        assert ask.jobs(after=page.following, sort=sort) == [*shown[3:], *late]
