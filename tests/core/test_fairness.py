"""
Fair order in claims: each group's share of the jobs in progress, and how many claims a quiet group waits.

A loud tenant has 10,000 jobs; 20 quiet tenants have a job now and then. At each step one job in progress ends, and the
next is claimed.
"""

import random
from collections import Counter

import pytest

from jobengine.core import commands as c
from jobengine.core.flow import GroupOrder, Limits
from jobengine.core.model import Job, State
from tests.core.worlds import KEY, World

JOBS = 10_000
QUIET = [f"quiet {number}" for number in range(20)]
GROUPS = len(QUIET) + 1


class Tenants(World):
    """A queue in fair order, with a loud tenant, and jobs in progress."""

    def __init__(self, slots: int, seed: int = 1) -> None:
        super().__init__()
        self.create()
        self.set_up(group_order=GroupOrder.FAIR, limits=Limits(in_progress=slots))
        self.chance = random.Random(seed)
        self.running: list[Job] = []
        self.claims = 0

    def add_jobs(self, group: str | None, number: int) -> None:
        self.add_all(*[c.NewJob(content=b"{}", group=group)] * number)

    def fill(self) -> list[Job]:
        """Claim until the limit is reached; returns the jobs."""
        claimed = []
        while (job := self.claim()) is not None:
            self.claims += 1
            claimed.append(job)
        self.running += claimed
        return claimed

    def end_one(self) -> None:
        """End a random job in progress."""
        job = self.running.pop(self.chance.randrange(len(self.running)))
        self.update(job.spec.uid, State.COMPLETE, lease=job.standing.lease)

    @property
    def shares(self) -> "Counter[str | None]":
        return Counter(job.spec.rare.group for job in self.running)


@pytest.mark.parametrize("slots", [1, 8, 40])
def test_the_first_job_of_an_idle_group_waits_for_at_most_one_claim_per_group_and_one_more(slots: int) -> None:
    tenants = Tenants(slots)
    tenants.add_jobs("loud", JOBS)
    tenants.fill()
    since: dict[str, int] = {}
    waits: list[int] = []
    for _ in range(1_500):
        for name in QUIET:
            if name not in since and tenants.shares[name] == 0 and tenants.chance.random() < 0.05:
                tenants.add_jobs(name, 1)
                since[name] = tenants.claims
        tenants.end_one()
        for job in tenants.fill():
            name = job.spec.rare.group or ""
            if name in since:
                waits.append(tenants.claims - since.pop(name))
    assert len(waits) > 300
    assert max(waits) <= GROUPS + 1


def test_groups_that_always_have_jobs_share_equally() -> None:
    tenants = Tenants(21)
    for name in ["loud", *QUIET]:
        tenants.add_jobs(name, JOBS if name == "loud" else 30)
    tenants.fill()
    for _ in range(300):
        assert set(tenants.shares.values()) == {1}
        tenants.end_one()
        tenants.fill()


def test_jobs_without_a_group_share_as_one_group() -> None:
    tenants = Tenants(10)
    tenants.add_jobs(None, 500)
    tenants.add_jobs("a", 500)
    tenants.fill()
    assert tenants.shares == {None: 5, "a": 5}


def test_weights_of_three_to_one_give_shares_of_three_to_one() -> None:
    tenants = Tenants(20)
    tenants.ask(c.ChangeGroup(queue="q", access_key=KEY, group="heavy", group_weight=3))
    for name in ("heavy", "light"):
        tenants.add_jobs(name, 2_000)
    tenants.fill()
    total: Counter[str | None] = Counter()
    for _ in range(1_000):
        assert abs(tenants.shares["heavy"] - 15) <= 1
        total += tenants.shares
        tenants.end_one()
        tenants.fill()
    assert total["heavy"] / total["light"] == pytest.approx(3, abs=0.3)


def test_a_busy_tenant_gets_the_slots_that_no_other_tenant_uses() -> None:
    tenants = Tenants(20)
    tenants.add_jobs("loud", JOBS)
    tenants.add_jobs("quiet", 1)
    tenants.fill()
    assert tenants.shares == {"loud": 19, "quiet": 1}


def test_a_bulk_claim_divides_its_jobs_fairly_among_groups() -> None:
    tenants = Tenants(100)
    for name in ["loud", *QUIET]:
        tenants.add_jobs(name, 1_000 if name == "loud" else 2)
    claimed: list[Job] = tenants.ask(c.Claim(queue="q", access_key=KEY, count=63))
    shares = Counter(job.spec.rare.group for job in claimed)
    assert {shares[name] for name in QUIET} == {2}
    assert shares["loud"] == 63 - 2 * len(QUIET)
