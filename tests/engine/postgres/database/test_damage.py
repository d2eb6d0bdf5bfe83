"""Damaged rows: each affects only commands that need it, and can be deleted."""

from collections.abc import Callable
from typing import Any

import pytest

from jobengine.core import commands as c
from jobengine.core.errors import ItemDamaged, JobDamaged, JobNotFound, QueueDamaged, QueueNotFound
from jobengine.core.model import Defaults, Job, State
from jobengine.engine.postgres.database.connection import connected
from jobengine.engine.postgres.database.rows import Rows
from jobengine.engine.postgres.database.schema import opened
from jobengine.engine.postgres.transfer import contents
from tests.contract.asking import Asker, new_job
from tests.contract.named_items import ListItems, SetItem
from tests.doubles import SECRET
from tests.engine.postgres.world import PostgresWorld

pytestmark = pytest.mark.slow

#: Kinds of damage to a job's row, as an SQL assignment. The row `other` is another job of the same queue.
DAMAGE = {
    "altered": "sealed = set_byte(sealed, 50, get_byte(sealed, 50) # 1)",
    "cut": "sealed = substr(sealed, 1, 60)",
    "shorter than a nonce": "sealed = substr(sealed, 1, 7)",
    "empty": "sealed = ''",
    "of another job": "sealed = (SELECT sealed FROM job o WHERE o.uid = %(other)s)",
    "of a queue": "sealed = (SELECT sealed FROM queue LIMIT 1)",
    "of another place": "place = (place + 1) %% 5",
    "of no place": "place = 32767",
}
#: Kinds of damage to the second record of a row, which has the job's standing; the row of a claimed job has it.
CHANGED = {
    "altered": "said = set_byte(said, 50, get_byte(said, 50) # 1)",
    "missing": "said = NULL",
    "of another job": "said = (SELECT said FROM job o WHERE o.uid = %(other)s)",
    "of the fixed half": "said = sealed",
}


def damage(world: PostgresWorld, job: Job, how: str = DAMAGE["altered"], other: Job | None = None) -> None:
    """Damage the row of a job, and make the server forget its cached records."""
    values = {"uid": job.spec.uid, "other": (other or job).spec.uid}
    world.control.execute(f"UPDATE job SET {how} WHERE uid = %(uid)s", values)
    world.reopen()


# Jobs


@pytest.mark.parametrize("how", DAMAGE.values(), ids=DAMAGE)
def test_claims_skip_a_damaged_job_at_the_head(world: PostgresWorld, ask: Asker, how: str) -> None:
    first, second, third = ask.add(tags=("t",)), ask.add(tags=("t",)), ask.add(tags=("t",))
    damage(world, first, how, second)
    assert ask.peek() == second
    assert ask.hold(tags=("t",)).spec == second.spec
    assert ask.hold().spec == third.spec
    assert ask.claim() is None
    if "place" not in how:
        assert ask.counts() == {State.INPROGRESS: 2}


def test_claims_skip_a_finished_job_whose_row_is_altered_to_ready(world: PostgresWorld, ask: Asker) -> None:
    first, second = ask.add(), ask.add()
    ask.update(ask.hold(), State.COMPLETE)
    damage(world, first, "place = 0")
    assert ask.hold().spec == second.spec


@pytest.mark.parametrize("how", CHANGED.values(), ids=CHANGED)
def test_a_sweep_skips_a_damaged_due_job(world: PostgresWorld, ask: Asker, how: str) -> None:
    for _ in range(2):
        ask.add(timeout_seconds=10, max_attempts=2)
    first, second = ask.hold(), ask.hold()
    damage(world, first, how, second)
    world.advance(11)
    assert ask.read(second).state is State.QUEUED
    with pytest.raises(JobDamaged):
        ask.read(first)
    before = world.figure("round_trips")
    world.advance(1)
    # A sweep that finds nothing begins and rolls back.
    assert world.figure("round_trips") - before == 2
    assert ask.counts() == {State.QUEUED: 1}


def test_a_wrong_deadline_in_a_row_is_corrected(world: PostgresWorld, ask: Asker) -> None:
    ask.add(timeout_seconds=10)
    job = ask.hold()
    damage(world, job, "due = 1")
    world.advance(1)
    assert ask.read(job) == job
    world.advance(10)
    assert ask.read(job).state is State.FAILED


@pytest.mark.parametrize("how", DAMAGE.values(), ids=DAMAGE)
def test_only_commands_that_name_a_damaged_job_fail(world: PostgresWorld, ask: Asker, how: str) -> None:
    first, second = ask.add(), ask.add()
    damage(world, first, how, second)
    uid = first.spec.uid
    changes = c.Changes(progress=5)
    failing: list[Callable[[], Any]] = [
        lambda: ask.read(first),
        lambda: ask.update(first, progress=5),
        lambda: ask.ask(c.ExplainJob, uid=uid),
        lambda: ask.add(uid=uid),
    ]
    for call in failing:
        with pytest.raises(JobDamaged, match=uid):
            call()
    updates = tuple(c.JobUpdate(uid=one, changes=changes) for one in (uid, second.spec.uid))
    failed, done = ask.ask(c.UpdateJobs, updates=updates)
    assert isinstance(failed, JobDamaged)
    assert isinstance(done, Job)
    assert done.standing.notes.progress == 5


def test_a_damaged_job_does_not_fail_other_commands_in_the_batch(world: PostgresWorld, ask: Asker) -> None:
    ask.create("other")
    first = ask.add()
    damage(world, first)
    asked = [world.engine.ask(new_job("other", b"key")) for _ in range(100)]
    reads = [world.engine.ask(c.ReadJob(queue="q", access_key=b"key", uid=first.spec.uid)) for _ in range(3)]
    results = world.all_of(*asked[:50], *reads, *asked[50:])
    assert [type(one) for one in results if isinstance(one, Exception)] == [JobDamaged] * 3
    assert len(ask.jobs()) == 0
    assert ask.counts("other")[State.QUEUED] == 100


def test_lists_streams_counts_and_bulk_changes_skip_a_damaged_job(world: PostgresWorld, ask: Asker) -> None:
    jobs = [ask.add(priority=priority) for priority in (3, 2, 1)]
    damage(world, jobs[1])
    sound = [jobs[0], jobs[2]]
    assert ask.read_queue(10) == [sound]
    assert ask.jobs() == sound
    assert ask.jobs(limit=1) == sound
    matching: dict[str, Any] = {"queue": "q", "access_key": b"key", "filter": c.Filter()}
    changed = ask.get(world.engine.update_matching(c.UpdateMatching(**matching, changes=c.Changes(priority=7))))
    assert changed == 2
    assert ask.get(world.engine.delete_matching(c.DeleteMatching(**matching))) == 2
    assert ask.jobs() == []


def test_a_waiting_claim_gets_the_next_undamaged_job(world: PostgresWorld, ask: Asker) -> None:
    first = ask.add(delay_seconds=5)
    damage(world, first)
    waiting = ask.claiming()
    world.advance(6)
    assert not waiting.answered
    second = ask.add()
    assert [one.job.spec for one in waiting.answer.jobs] == [second.spec]


def test_a_waiter_for_a_job_that_is_damaged_meanwhile_gets_an_error(world: PostgresWorld, ask: Asker) -> None:
    ask.add(timeout_seconds=5)
    job = ask.hold()
    damage(world, job)
    awaiting = ask.awaiting(job)
    with pytest.raises(JobDamaged):
        assert awaiting.answer


def test_many_damaged_jobs_at_the_head_of_a_queue_cost_few_transactions(world: PostgresWorld, ask: Asker) -> None:
    new = (c.NewJob(content=b"{}"),) * 1000
    jobs = ask.get(world.engine.ask(c.AddJobs(queue="q", access_key=b"key", jobs=new, defaults=Defaults())))
    last = jobs[-1].job
    world.control.execute(f"UPDATE job SET {DAMAGE['altered']} WHERE uid <> %s", [last.spec.uid])
    world.reopen()
    before = world.figure("round_trips")
    assert ask.hold().spec == last.spec
    assert world.figure("round_trips") - before < 100
    assert ask.claim() is None


def test_a_damaged_job_does_not_reserve_its_unique_key(world: PostgresWorld, ask: Asker) -> None:
    first = ask.add(unique_key="k")
    damage(world, first)
    assert ask.add(unique_key="k").spec.uid != first.spec.uid
    assert len(ask.jobs()) == 1


@pytest.mark.parametrize("admin", [False, True], ids=["owner", "admin"])
def test_a_damaged_job_is_deleted_by_its_uid(world: PostgresWorld, ask: Asker, admin: bool) -> None:
    first, second = ask.add(tags=("a",)), ask.add(tags=("a",))
    damage(world, first)
    ask.ask(c.DeleteJob, uid=first.spec.uid, admin=admin, key=b"" if admin else b"key")
    with pytest.raises(JobNotFound):
        ask.delete(first)
    with pytest.raises(JobNotFound):
        ask.read(first)
    ask.delete(second)
    world.advance(10)
    assert world.control.execute("SELECT sum(jobs) FROM tally").fetchall() == [(0,)]
    for table in ("job", "tag"):
        assert world.control.execute(f"SELECT 1 FROM {table}").fetchall() == []


def test_a_damaged_job_is_logged_once(world: PostgresWorld, ask: Asker, events: list[Any]) -> None:
    first = ask.add()
    damage(world, first)
    for _ in range(3):
        assert ask.claim() is None
        world.advance(10)
    (logged,) = [event for event in events if event.get("uid") == first.spec.uid]
    assert (logged["queue"], logged["log_level"].name) == ("q", "error")


# Queues


QUEUE_DAMAGE = {
    "altered": DAMAGE["altered"],
    "cut": DAMAGE["cut"],
    "empty": DAMAGE["empty"],
    "of another queue": "sealed = (SELECT sealed FROM queue o ORDER BY id LIMIT 1)",
    "of a job": "sealed = (SELECT sealed FROM job LIMIT 1)",
}


@pytest.fixture(params=QUEUE_DAMAGE.values(), ids=list(QUEUE_DAMAGE))
def damaged(world: PostgresWorld, ask: Asker, request: pytest.FixtureRequest) -> str:
    """The name of a damaged queue, in which a job is due after 5 seconds."""
    ask.create("bad")
    ask.add("bad", delay_seconds=5)
    world.control.execute(f"UPDATE queue SET {request.param} WHERE id = (SELECT max(id) FROM queue)")
    world.reopen()
    return "bad"


def test_everything_except_a_damaged_queue_keeps_working(world: PostgresWorld, ask: Asker, damaged: str) -> None:
    delayed = ask.add(delay_seconds=5)
    waiting = ask.claiming()
    world.advance(6)
    assert [one.job.spec for one in waiting.answer.jobs] == [delayed.spec]
    ask.create("new")
    ask.add("new")
    assert [one.name for one in ask.get(world.engine.ask(c.CountQueues()))] == ["new", "q"]
    assert [one.queue.name for one in ask.get(world.engine.ask(c.ListQueues()))] == ["new", "q"]


def test_only_commands_that_name_a_damaged_queue_fail(world: PostgresWorld, ask: Asker, damaged: str) -> None:
    added = [world.engine.ask(new_job("q", b"key")) for _ in range(10)]
    failed = [world.engine.ask(new_job(damaged, b"key")) for _ in range(10)]
    results = world.all_of(*(one for pair in zip(added, failed, strict=True) for one in pair))
    assert [type(one) for one in results if isinstance(one, Exception)] == [QueueDamaged] * 10
    assert len(ask.jobs()) == 10
    kinds: tuple[Callable[..., c.Command[Any]], ...] = (c.ReadStats, c.CreateQueue, c.DeleteQueue, c.Subscribe)
    for kind in kinds:
        with pytest.raises(QueueDamaged, match="bad"):
            ask.ask(kind, damaged)


def test_a_claim_from_several_queues_skips_a_damaged_queue(world: PostgresWorld, ask: Asker, damaged: str) -> None:
    job = ask.add()
    claims = c.Claims(queues=(damaged, "q"), access_key=b"key")
    assert [one.job.spec for one in ask.get(world.engine.claim(claims)).jobs] == [job.spec]
    with pytest.raises(QueueDamaged):
        ask.claim(damaged)


def test_an_admin_deletes_a_damaged_queue(world: PostgresWorld, ask: Asker, damaged: str) -> None:
    ask.ask(c.DeleteQueue, damaged, b"", admin=True)
    with pytest.raises(QueueNotFound):
        ask.ask(c.DeleteQueue, damaged, b"", admin=True)
    for _ in range(9):
        world.advance(10)
    assert world.control.execute("SELECT 1 FROM job").fetchall() == []
    ask.create(damaged)
    ask.add(damaged)


def test_a_sweep_leaves_out_damaged_queues(world: PostgresWorld, ask: Asker) -> None:
    for at in range(60):
        ask.create(f"bad{at}")
        ask.add(f"bad{at}", delay_seconds=1)
    world.control.execute(f"UPDATE queue SET {DAMAGE['altered']} WHERE id > (SELECT min(id) FROM queue)")
    world.reopen()
    job = ask.add(delay_seconds=5)
    waiting = ask.claiming()
    for _ in range(8):
        world.advance(1)
    assert [one.job.spec for one in waiting.answer.jobs] == [job.spec]
    # Nothing is due in the other queues.
    before = world.figure("round_trips")
    world.advance(1)
    assert world.figure("round_trips") - before == 2


# Named things


def test_a_damaged_named_item_fails_only_commands_that_read_the_item(world: PostgresWorld, ask: Asker) -> None:
    for name in "ab":
        ask.ask(SetItem, name=name, value="1")
    world.control.execute(
        "UPDATE item SET sealed = (SELECT sealed FROM item ORDER BY key LIMIT 1) "
        "WHERE key = (SELECT key FROM item ORDER BY key DESC LIMIT 1)"
    )
    sound = ask.ask(ListItems)
    assert len(sound) == 1
    (damaged,) = {"a", "b"} - {name for name, _ in sound}
    with pytest.raises(ItemDamaged, match=damaged):
        ask.ask(SetItem, name=damaged, value="2")
    assert ask.ask(SetItem, name=sound[0][0], value="2") == "1"


# Exports


def test_an_export_passes_over_damaged_rows(world: PostgresWorld, ask: Asker) -> None:
    jobs = [ask.add() for _ in range(3)]
    ask.create("bad")
    ask.add("bad")
    damage(world, jobs[1])
    world.control.execute(f"UPDATE queue SET {DAMAGE['altered']} WHERE id = (SELECT max(id) FROM queue)")
    with connected(world.url) as connection, contents(connection, Rows(opened(connection, SECRET))) as found:
        assert [queue.name for queue in found.queues] == ["q"]
        assert [fact.job.spec for fact in found.jobs()] == [jobs[0].spec, jobs[2].spec]
        assert list(found.items()) == []
        number, job = found.damaged
    assert (number[:13], job) == ("queue number ", f"job {jobs[1].spec.uid} of queue 'q'")


# Restored rows


def test_a_job_whose_damaged_row_is_restored_has_its_former_state(world: PostgresWorld, ask: Asker) -> None:
    first, second = ask.add(tags=("t",), unique_key="k", timeout_seconds=10), ask.add()
    held = ask.hold()
    ((sealed, said),) = world.control.execute(
        "SELECT sealed, said FROM job WHERE uid = %s", [first.spec.uid]
    ).fetchall()
    damage(world, held, CHANGED["missing"])
    world.advance(9)
    with pytest.raises(JobDamaged):
        ask.read(first)
    world.control.execute("UPDATE job SET sealed = %s, said = %s WHERE uid = %s", [sealed, said, first.spec.uid])
    world.advance(11)
    assert world.figure_of("damaged_rows", table="job") == 0
    # The job's lease has run out meanwhile.
    assert ask.read(first).state is State.FAILED
    assert ask.counts() == {State.QUEUED: 1, State.FAILED: 1}
    assert ask.hold().spec == second.spec


def test_a_ready_job_whose_damaged_row_is_restored_is_claimed_in_execution_order(
    world: PostgresWorld, ask: Asker
) -> None:
    first, second = ask.add(tags=("t",), unique_key="k"), ask.add(tags=("t",))
    ((sealed,),) = world.control.execute("SELECT sealed FROM job WHERE uid = %s", [first.spec.uid]).fetchall()
    damage(world, first)
    assert ask.peek() == second
    world.control.execute("UPDATE queue SET floor_prio = -1, floor_arrival = %s", [second.spec.arrival])
    world.control.execute("UPDATE job SET sealed = %s WHERE uid = %s", [sealed, first.spec.uid])
    world.advance(11)
    assert ask.add(unique_key="k") == first
    assert ask.counts() == {State.QUEUED: 2}
    assert [ask.hold(tags=("t",)).spec, ask.hold(tags=("t",)).spec] == [first.spec, second.spec]


def test_a_queue_whose_damaged_row_is_restored_works_again(world: PostgresWorld, ask: Asker) -> None:
    job = ask.add(delay_seconds=5)
    ((sealed,),) = world.control.execute("SELECT sealed FROM queue").fetchall()
    world.control.execute(f"UPDATE queue SET {DAMAGE['altered']}")
    world.reopen()
    world.advance(6)
    assert world.figure_of("damaged_rows", table="queue") == 1
    world.control.execute("UPDATE queue SET sealed = %s", [sealed])
    world.advance(11)
    assert world.figure_of("damaged_rows", table="queue") == 0
    assert ask.hold().spec == job.spec


def test_a_job_row_without_its_second_record_is_damaged_and_not_claimed(world: PostgresWorld, ask: Asker) -> None:
    job = ask.add()
    ask.update(ask.hold(), State.COMPLETE)
    # With its first record alone the job would be ready, and would run a second time.
    damage(world, job, CHANGED["missing"])
    assert ask.jobs() == []
    world.advance(11)
    world.advance(11)
    assert world.figure_of("damaged_rows", table="job") == 1
    assert ask.claim() is None


def test_damaged_rows_are_counted(world: PostgresWorld, ask: Asker) -> None:
    jobs = [ask.add() for _ in range(3)]
    damage(world, jobs[0])
    damage(world, jobs[2])
    assert [ask.hold().spec, ask.claim()] == [jobs[1].spec, None]
    world.advance(10)
    assert world.figure_of("damaged_rows", table="job") == 2
    ask.delete(jobs[0])
    world.advance(10)
    assert world.figure_of("damaged_rows", table="job") == 1


# Events


EVENT_DAMAGE = {
    "altered": DAMAGE["altered"],
    "cut": DAMAGE["cut"],
    "of a job": QUEUE_DAMAGE["of a job"],
    "another number": "number = number + 1",
}


@pytest.mark.parametrize("how", EVENT_DAMAGE.values(), ids=list(EVENT_DAMAGE))
def test_watchers_of_a_queue_with_damaged_events_get_the_notice_of_missing_events(
    world: PostgresWorld, ask: Asker, how: str
) -> None:
    ask.create("other")
    other = ask.watch(queue="other")
    stream = ask.watch()
    of_other, first = world.begin(anext(other)), world.begin(anext(stream))
    ask.add()
    after = first.answer[0].events[0].id
    second = world.begin(anext(stream))
    ask.add()
    assert len(second.answer[0].events) == 1
    world.control.execute(f"UPDATE event SET {how} WHERE last = (SELECT max(last) FROM event)".replace("%%", "%"))
    third = world.begin(anext(ask.watch(after=after)))
    assert third.answer is None
    fourth = ask.watch(after=after)
    assert world.begin(anext(fourth)).answer is None
    streams = [world.begin(anext(one)) for one in (stream, fourth)]
    ask.add()
    assert [len(one.answer[0].events) for one in streams] == [1, 1]
    ask.add("other")
    assert len(of_other.answer[0].events) == 1


def test_commands_work_although_the_stored_counts_are_wrong(world: PostgresWorld, ask: Asker) -> None:
    ask.add()
    world.control.execute("UPDATE tally SET place = 77")
    world.control.execute("INSERT INTO tally SELECT queue_id, slot, 0, -5 FROM tally")
    world.control.execute("INSERT INTO tally SELECT queue_id, slot, 1, 9223372036854775807 FROM tally WHERE place = 0")
    world.control.execute("INSERT INTO tally SELECT queue_id, slot + 1, 1, 2 FROM tally WHERE place = 0")
    assert ask.counts()[State.QUEUED] > 0
    assert len(ask.jobs()) == 1
