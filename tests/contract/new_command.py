"""Shows that a new command takes only a class in core: each engine carries out a command of this module."""

from jobengine.core import commands as c
from jobengine.core.access import READERS
from jobengine.core.model import Grant, Job, Queue
from jobengine.core.required_rows import Needs
from jobengine.core.tables import NOTHING, Decision, NewId, RecentActivity, Table, job_of
from jobengine.core.values import Value
from jobengine.core.wall_time import shown
from tests.contract.asking import Asker, Contract
from tests.contract.world import World


class Two(Value, frozen=True):
    """The answer of ReadTwo: two jobs, and their total size in bytes."""

    jobs: tuple[Job, Job]
    size: int

    def at_wall_clock(self, ahead: int) -> "Two":
        return Two(shown(self.jobs, ahead), self.size)


class ReadTwo(c.QueueCommand[Two], frozen=True, kw_only=True):
    """Read two jobs."""

    roles = READERS
    reads = True

    first: str
    second: str

    def needs(self, queue: Queue, grant: Grant) -> Needs:
        return Needs(uids=frozenset([self.first, self.second]))

    def decide_in(self, table: Table, grant: Grant, now: int, new_id: NewId, activity: RecentActivity) -> Decision[Two]:
        one, other = job_of(table, self.first), job_of(table, self.second)
        return NOTHING, Two((one, other), one.size + other.size)


class NewCommandContract(Contract):
    """An engine carries out a command that it has never seen like the commands that it knows."""

    def test_an_engine_carries_out_a_command_that_it_does_not_know(self, world: World, ask: Asker) -> None:
        jobs = ask.add(content=b'{"a": 1}'), ask.add()
        uids = [job.spec.uid for job in jobs]
        assert ask.ask(ReadTwo, first=uids[0], second=uids[1]) == Two(jobs, 10)

    def test_the_answer_of_a_new_command_has_wall_clock_times(self, world: World, ask: Asker) -> None:
        created = ask.add().spec
        world.set_wall_clock(3_600)
        (job, _) = ask.ask(ReadTwo, first=created.uid, second=created.uid).jobs
        assert job.spec.created == created.created + 3_600_000
