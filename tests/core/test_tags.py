"""Claims by tags: the claimed jobs, and how many jobs are read."""

from typing import Any

import pytest

from tests.core.worlds import World, picture

#: The number of jobs with each combination of tags.
MANY = 500


class Counted(dict[str, Any]):
    """A table's jobs, which count how often a job is read."""

    looks = 0

    def __getitem__(self, uid: str) -> Any:
        self.looks += 1
        return super().__getitem__(uid)

    def get(self, uid: str, default: Any = None) -> Any:
        self.looks += 1
        return super().get(uid, default)


def counted(world: World) -> Counted:
    table = world.tables.queues["q"]
    table.jobs = Counted(table.jobs)
    return table.jobs


@pytest.mark.parametrize("tags", [("gpu", "eu"), ("eu", "gpu"), ("eu", "gpu", "eu")])
def test_a_claim_for_two_tags_reads_no_job_with_only_one_of_the_tags(world: World, tags: tuple[str, ...]) -> None:
    for _ in range(MANY):
        world.add(tags=("gpu",))
        world.add(tags=("eu",))
        world.add(tags=("gpu", "slow"))
    jobs = counted(world)
    assert world.claim(tags=tags) is None
    assert jobs.looks == 0
    both = world.add(tags=("eu", "slow", "gpu"))
    claimed = world.hold(tags=tags)
    assert claimed.spec.uid == both.spec.uid
    assert jobs.looks < 10
    assert world.claim(tags=tags) is None
    assert picture(world.tables)


def test_a_claim_for_two_tags_reads_only_jobs_with_the_rarer_tag(world: World) -> None:
    for number in range(MANY):
        world.add(tags=("gpu", f"customer-{number}"))
    jobs = counted(world)
    assert world.hold(tags=("gpu", "customer-7")).spec.tags == ("gpu", "customer-7")
    assert jobs.looks < 10


def test_jobs_with_several_tag_combinations_are_claimed_in_execution_order(world: World) -> None:
    kinds = [("a", "b"), ("b", "c", "a"), ("a",), ("b", "a"), ("c", "b")]
    added = [world.add(tags=kinds[number % 5], priority=number % 3) for number in range(30)]
    wanted = sorted(job.spec.rank for job in added if {"a", "b"} <= set(job.spec.tags))
    assert [world.hold(tags=("a", "b")).spec.rank for _ in wanted] == wanted
    assert world.claim(tags=("a", "b")) is None
