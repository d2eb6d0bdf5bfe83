"""The contents of the golden files, as values."""

from typing import Any

from attrs import evolve
from msgspec.structs import replace

from jobengine.core.ageing import Order
from jobengine.core.batches import BATCH, Batch, batch_text
from jobengine.core.dead_letters import FULL, DeadLetter, MovedFrom
from jobengine.core.dependencies import Dependencies, OnDependencyFailure, batch_key
from jobengine.core.facts import (
    ClockSet,
    Fact,
    ItemSet,
    JobAdded,
    JobChanged,
    JobRemoved,
    PeriodsCounted,
    QueueChanged,
    QueueCreated,
    QueueDeleted,
)
from jobengine.core.flow import GATE, GROUP, Flow, Gate, GroupOrder, GroupSettings, Limits, OnFailure, Rate, item_text
from jobengine.core.history import HOURS, MINUTES, SECONDS, Period
from jobengine.core.model import (
    NO_CONTEXT,
    AccessKey,
    Attempt,
    Context,
    Defaults,
    Job,
    Notes,
    OldKey,
    Queue,
    Rare,
    Role,
    Spec,
    Standing,
    State,
)
from jobengine.core.retention import retention
from jobengine.core.unique_rule import Debounce, IfInProgress, IfQueued, UniqueRule, Until

CREATED = 1_700_000_000_123

MAIL = Queue(name="mail", salt="00000000-0000-0000-0000-0000000000aa", digest="ab" * 32, created=CREATED)
OTHER = Queue(name='Grüße "七"\n', salt="salt", digest="00" * 32, created=CREATED + 1)
FULL_FLOW = Flow(
    limits=Limits(in_progress=50, rate=Rate(100, 1)),
    group_limits=Limits(in_progress=2, rate=Rate(10, 60)),
    group_order=GroupOrder.STRICT,
    group_on_failure=OnFailure.HOLD,
)
FULL_QUEUE = Queue(
    name="mail",
    salt=MAIL.salt,
    digest="sha512:" + "cd" * 32,
    created=CREATED,
    paused=True,
    draining=True,
    require_lease=True,
    max_jobs=(1 << 63) - 1,
    defaults=Defaults(keep_minutes=1, keep_failed_minutes=5, timeout_seconds=2, max_attempts=3, retry_delay_seconds=4),
    keys=(
        AccessKey(id="00000000-0000-0000-0000-0000000000b1", role=Role.PRODUCER, digest="b1" * 32, created=CREATED + 2),
        AccessKey(id="00000000-0000-0000-0000-0000000000b2", role=Role.WORKER, digest="b2" * 32, created=CREATED + 3),
        AccessKey(id="00000000-0000-0000-0000-0000000000b3", role=Role.VIEWER, digest="b3" * 32, created=CREATED + 4),
    ),
    old_key=OldKey(digest="ef" * 32, until=CREATED + 5),
    flow=FULL_FLOW,
    target_wait_seconds=30,
    order=Order(seconds_per_priority=60, changed=CREATED + 6),
    dead_letter=DeadLetter(queue=OTHER.name, salt=OTHER.salt, keep_minutes=7, missing=True),
)
#: The same queue with the fields of versions 6, 5, 4, 3 and 2.
FULL_QUEUE_6 = evolve(
    FULL_QUEUE,
    order=None,
    dead_letter=None,
)
FULL_QUEUE_5 = evolve(FULL_QUEUE_6, flow=None, target_wait_seconds=None)
FULL_QUEUE_4 = evolve(
    FULL_QUEUE_5, defaults=FULL_QUEUE_5.defaults and evolve(FULL_QUEUE_5.defaults, keep_failed_minutes=None)
)
FULL_QUEUE_3 = evolve(FULL_QUEUE_4, digest="cd" * 32)
FULL_QUEUE_2 = evolve(FULL_QUEUE_3, old_key=None)


def standing(state: State = State.QUEUED, updated: int = CREATED) -> Standing:
    """A standing of version 1: a job that was ever claimed has one attempt."""
    return Standing(state=state, updated=updated, attempts=0 if state is State.QUEUED else 1)


def job(number: int, state: State = State.QUEUED, updated: int = CREATED, **more: Any) -> Job:
    spec = {
        "priority": 0,
        "keep": retention(60, 60),
        "timeout_seconds": 600,
        "timeout_time": 0,
        "created": CREATED,
        **more,
    }
    content = b'{"n": %d, "text": "Gr\xc3\xbc\xc3\x9fe\\n"}' % number
    return Job(Spec(uid=uid(number), arrival=number, content=content, **spec), standing(state, updated))


def uid(number: int) -> str:
    return f"00000000-0000-0000-0000-{number:012}"


#: Every field of a standing, none at its default.
FULL_STANDING = Standing(
    state=State.INPROGRESS,
    updated=CREATED + 50,
    attempts=3,
    claimed=CREATED + 40,
    lease="00000000-0000-0000-0000-0000000000c1",
    worker='Wörker "七"',
    shift=-3_600_000,
    ready_at=CREATED + 60,
    not_before=CREATED + 61,
    ended="-cfw",
    notes=Notes(
        progress=70,
        result=b'{"sum": 1.50,\n"text": "Gr\xc3\xbc\xc3\x9fe"}',
        error="no\nroom",
        cancel_requested=True,
        history=(
            Attempt(
                worker=None,
                started=CREATED + 10,
                ended=CREATED + 20,
                outcome="timeout",
                error="timed out",
                fingerprint="9f3c61d20b7e4a58",
            ),
            Attempt(worker="w", started=CREATED + 30, ended=CREATED + 35, outcome="released", times=3),
        ),
        retrying=True,
        cancelled=True,
        fingerprint="Disk:no-room",
        key_passed_on=True,
        dead_letter=FULL,
    ),
)
FULL_JOB = Job(
    job(
        8,
        keep=retention(60, 4_320),
        tags=("Grüße", "b"),
        max_attempts=4,
        retry_delay_seconds=5,
        rare=Rare(
            unique_key="once",
            request_digest="ef" * 16,
            author="00000000-0000-0000-0000-0000000000b1",
            context=Context(
                meta='{"n": 1.50,\n"text": "Grüße"}',
                traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            ),
            group="Grüße",
            batch="Import 七",
            dependencies=Dependencies(
                (("mail", uid(1)), ("mail", batch_key("Other")), ('Grüße "七"\n', uid(5)), ("mail", uid(3))),
                OnDependencyFailure.WAIT,
            ),
            moved_from=MovedFrom(queue=OTHER.name, at=CREATED + 70, keep_failed=4_320, group="Grüße"),
            unique=UniqueRule(
                until=Until.STARTED,
                seconds=90,
                if_queued=IfQueued.REPLACE,
                if_running=IfInProgress.ADD,
                debounce=Debounce(5, 60),
            ),
            line=CREATED - 120_000,
        ),
    ).spec,
    FULL_STANDING,
)

#: The same standing and job with the fields of versions 6, 5, 4, 3 and 2.
FULL_STANDING_6 = replace(
    FULL_STANDING,
    notes=replace(
        FULL_STANDING.notes,
        history=tuple(replace(one, fingerprint=None) for one in FULL_STANDING.notes.history),
        fingerprint=None,
        key_passed_on=False,
        dead_letter="",
    ),
)
FULL_RARE_6 = replace(
    FULL_JOB.spec.rare,
    unique=None,
    line=None,
    moved_from=None,
)
FULL_JOB_6 = Job(replace(FULL_JOB.spec, rare=FULL_RARE_6), FULL_STANDING_6)
FULL_STANDING_5 = replace(FULL_STANDING_6, ended="")
FULL_JOB_5 = Job(replace(FULL_JOB.spec, rare=replace(FULL_RARE_6, batch=None, dependencies=None)), FULL_STANDING_5)
FULL_JOB_4 = Job(replace(FULL_JOB_5.spec, rare=replace(FULL_JOB_5.spec.rare, group=None)), FULL_STANDING_5)
FULL_STANDING_3 = replace(
    FULL_STANDING_5,
    notes=replace(
        FULL_STANDING_5.notes,
        history=tuple(replace(one, times=1) for one in FULL_STANDING_5.notes.history),
        retrying=False,
        cancelled=False,
    ),
)
FULL_JOB_3 = Job(replace(FULL_JOB_4.spec, keep=retention(60, 60)), FULL_STANDING_3)
FULL_STANDING_2 = replace(FULL_STANDING_3, not_before=0)
FULL_JOB_2 = Job(replace(FULL_JOB_3.spec, rare=replace(FULL_JOB_3.spec.rare, context=NO_CONTEXT)), FULL_STANDING_2)


def _depending(number: int, state: State, ended: str, on: str) -> Job:
    """A job that depends on another job, or on a batch."""
    depending = job(number, state, CREATED + 80, rare=Rare(dependencies=Dependencies((("mail", on),))))
    return Job(depending.spec, replace(depending.standing, attempts=0, ended=ended))


#: By file name: a record of each kind in each version that is no longer written.
OLDER: dict[str, Fact] = {
    "queue-created-1.record": QueueCreated(OTHER),
    "queue-created-2.record": QueueCreated(OTHER),
    "queue-created-2-full.record": QueueCreated(FULL_QUEUE_2),
    "queue-created-3.record": QueueCreated(OTHER),
    "queue-created-3-full.record": QueueCreated(FULL_QUEUE_3),
    "queue-changed-2.record": QueueChanged(OTHER),
    "queue-changed-2-full.record": QueueChanged(FULL_QUEUE_2),
    "queue-changed-3.record": QueueChanged(OTHER),
    "queue-changed-3-full.record": QueueChanged(FULL_QUEUE_3),
    "queue-created-4.record": QueueCreated(OTHER),
    "queue-created-4-full.record": QueueCreated(FULL_QUEUE_4),
    "queue-changed-4.record": QueueChanged(OTHER),
    "queue-changed-4-full.record": QueueChanged(FULL_QUEUE_4),
    "queue-created-5.record": QueueCreated(OTHER),
    "queue-created-5-full.record": QueueCreated(FULL_QUEUE_5),
    "queue-changed-5.record": QueueChanged(OTHER),
    "queue-changed-5-full.record": QueueChanged(FULL_QUEUE_5),
    "job-added-1.record": JobAdded(
        "mail", job(7, State.FAILED, CREATED + 5, priority=-(1 << 63), timeout_time=(1 << 63) - 1, keep=retention(0, 0))
    ),
    "job-changed-1.record": JobChanged("mail", uid(7), standing(State.INPROGRESS, CREATED + 9)),
    "job-added-2.record": JobAdded(
        "mail", job(7, priority=-(1 << 63), timeout_time=(1 << 63) - 1, keep=retention(0, 0))
    ),
    "job-added-2-full.record": JobAdded("mail", FULL_JOB_2),
    "job-changed-2.record": JobChanged("mail", uid(7), standing(State.COMPLETE, CREATED + 9)),
    "job-changed-2-full.record": JobChanged("mail", uid(8), FULL_STANDING_2),
    "job-added-3.record": JobAdded(
        "mail", job(7, priority=-(1 << 63), timeout_time=(1 << 63) - 1, keep=retention(0, 0))
    ),
    "job-added-3-full.record": JobAdded("mail", FULL_JOB_3),
    "job-changed-3.record": JobChanged("mail", uid(7), standing(State.COMPLETE, CREATED + 9)),
    "job-changed-3-full.record": JobChanged("mail", uid(8), FULL_STANDING_3),
    "job-added-4.record": JobAdded(
        "mail", job(7, priority=-(1 << 63), timeout_time=(1 << 63) - 1, keep=retention(0, 0))
    ),
    "job-added-4-full.record": JobAdded("mail", FULL_JOB_4),
    "job-changed-4.record": JobChanged("mail", uid(7), standing(State.COMPLETE, CREATED + 9)),
    "job-changed-4-full.record": JobChanged("mail", uid(8), FULL_STANDING_5),
    "job-added-5.record": JobAdded(
        "mail", job(7, priority=-(1 << 63), timeout_time=(1 << 63) - 1, keep=retention(0, 0))
    ),
    "job-added-5-full.record": JobAdded("mail", FULL_JOB_5),
    "job-changed-5.record": JobChanged("mail", uid(7), standing(State.COMPLETE, CREATED + 9)),
    "job-changed-5-full.record": JobChanged("mail", uid(8), FULL_STANDING_5),
    "queue-created-6.record": QueueCreated(OTHER),
    "queue-created-6-full.record": QueueCreated(FULL_QUEUE_6),
    "queue-changed-6.record": QueueChanged(OTHER),
    "queue-changed-6-full.record": QueueChanged(FULL_QUEUE_6),
    "job-added-6.record": JobAdded(
        "mail", job(7, priority=-(1 << 63), timeout_time=(1 << 63) - 1, keep=retention(0, 0))
    ),
    "job-added-6-full.record": JobAdded("mail", FULL_JOB_6),
    "job-changed-6.record": JobChanged("mail", uid(7), standing(State.COMPLETE, CREATED + 9)),
    "job-changed-6-full.record": JobChanged("mail", uid(8), FULL_STANDING_6),
}

#: What was counted in a second, a minute and an hour.
PERIODS = PeriodsCounted(
    "mail",
    (
        Period(SECONDS, 1_700_000_000, "2,1,0,0,0,0||"),
        Period(MINUTES, 28_333_333, "2,1,1,0,3,1|0*1 17*2|4*1"),
        Period(HOURS, 472_222, "9,8,7,6,5,4|90*1|"),
    ),
)

#: A named thing of a queue.
ITEM = ItemSet("mail", "group", "Grüße", '{"weight":3}')

#: A group's own settings, its gate and the queue's gate, with all their fields.
FULL_SETTINGS = GroupSettings(in_progress=5, rate=Rate(7, 86_400), weight=3, paused=True)
FULL_GATE = Gate(held=CREATED + 30_000, marks=((CREATED + 10, CREATED + 15, 2), (CREATED + 70, CREATED + 70, 1)))
GROUPS: list[Fact] = [
    ItemSet("mail", GROUP, "Grüße", item_text(FULL_SETTINGS)),
    ItemSet("mail", GATE, "Grüße", item_text(FULL_GATE)),
    ItemSet("mail", GATE, "", item_text(Gate(held=CREATED + 40_000))),
]

#: A batch with all its fields.
FULL_BATCH = Batch(created=CREATED + 1, then=uid(11), open=False, ended=CREATED + 90, failed=True, lost=2, jobs=12)
#: A batch with a job, and with the job at its end; and a job that failed because of another.
BATCHES: list[Fact] = [
    ItemSet("mail", BATCH, "Import 七", batch_text(Batch(created=CREATED + 80, then=uid(11)))),
    JobAdded("mail", job(10, rare=Rare(batch="Import 七"))),
    JobAdded("mail", _depending(11, State.QUEUED, "-", batch_key("Import 七"))),
    JobAdded("mail", _depending(12, State.FAILED, "f", uid(3))),
]

#: By file name: a record of each kind in the present version, with all optional fields and with none.
RECORDS: dict[str, Fact] = {
    "clock-set-1.record": ClockSet(-3_600_000),
    "queue-created-7.record": QueueCreated(OTHER),
    "queue-created-7-full.record": QueueCreated(FULL_QUEUE),
    "queue-changed-7.record": QueueChanged(OTHER),
    "queue-changed-7-full.record": QueueChanged(FULL_QUEUE),
    "queue-deleted-1.record": QueueDeleted('Grüße "七"\n'),
    "job-added-7.record": JobAdded(
        "mail", job(7, priority=-(1 << 63), timeout_time=(1 << 63) - 1, keep=retention(0, 0))
    ),
    "job-added-7-full.record": JobAdded("mail", FULL_JOB),
    "job-changed-7.record": JobChanged("mail", uid(7), standing(State.COMPLETE, CREATED + 9)),
    "job-changed-7-full.record": JobChanged("mail", uid(8), FULL_STANDING),
    "job-removed-1.record": JobRemoved("mail", uid(7)),
    "periods-counted-1.record": PERIODS,
    "item-set-1.record": ITEM,
}

#: The snapshot of the first golden database, slice by slice.
OLD_SLICES: list[list[Fact]] = [
    [QueueCreated(MAIL)],
    [JobAdded("mail", job(1)), JobAdded("mail", job(2, State.COMPLETE, CREATED + 10, priority=5))],
]

#: Its commits.
OLD_COMMITS: list[list[Fact]] = [
    [JobAdded("mail", job(3, priority=-1, timeout_time=4_000_000_000)), JobAdded("mail", job(4))],
    [JobChanged("mail", uid(1), standing(State.INPROGRESS, CREATED + 20))],
    [JobRemoved("mail", uid(4)), QueueCreated(OTHER), JobAdded(OTHER.name, job(5))],
    [QueueDeleted(OTHER.name)],
    [JobChanged("mail", uid(3), standing(State.FAILED, CREATED + 30))],
]

#: Snapshot and commits of the second golden database: records of version 2, or 1 where there is no other.
SLICES_2: list[list[Fact]] = [
    [QueueCreated(MAIL)],
    [JobAdded("mail", job(1)), JobAdded("mail", job(2, State.COMPLETE, CREATED + 10, priority=5))],
]
COMMITS_2: list[list[Fact]] = [
    [JobAdded("mail", job(3, priority=-1, timeout_time=4_000_000_000)), JobAdded("mail", job(4))],
    [JobChanged("mail", uid(1), FULL_STANDING_2), JobAdded("mail", FULL_JOB_2)],
    [JobRemoved("mail", uid(4)), QueueCreated(OTHER), JobAdded(OTHER.name, job(5))],
    [QueueDeleted(OTHER.name), QueueChanged(FULL_QUEUE_2)],
    [JobChanged("mail", uid(3), standing(State.FAILED, CREATED + 30))],
]

#: The same of the third database: jobs and queues in records of version 3.
SLICES_3 = SLICES_2
COMMITS_3: list[list[Fact]] = [
    COMMITS_2[0],
    [JobChanged("mail", uid(1), FULL_STANDING_3), JobAdded("mail", FULL_JOB_3)],
    [ClockSet(3_600_000)],
    COMMITS_2[2],
    [QueueDeleted(OTHER.name), QueueChanged(FULL_QUEUE_3)],
    COMMITS_2[4],
]

#: The same of the fourth database: queues in records of version 4.
SLICES_4 = SLICES_3
COMMITS_4: list[list[Fact]] = [
    *COMMITS_3[:4],
    [QueueDeleted(OTHER.name), QueueChanged(FULL_QUEUE_4)],
    COMMITS_3[5],
]

#: The same of the fifth database: jobs in records of version 4, queues of version 5.
SLICES = SLICES_4
COMMITS_5: list[list[Fact]] = [
    COMMITS_4[0],
    [JobChanged("mail", uid(1), FULL_STANDING_5), JobAdded("mail", FULL_JOB_4)],
    *COMMITS_4[2:4],
    [QueueDeleted(OTHER.name), QueueChanged(FULL_QUEUE_5)],
    COMMITS_4[5],
    [PERIODS],
]

#: The same of the sixth database, which has a named thing as well.
COMMITS_6: list[list[Fact]] = [*COMMITS_5, [ITEM]]

#: The same of the seventh database: groups; jobs in records of version 5, queues of version 6.
COMMITS_7: list[list[Fact]] = [
    COMMITS_5[0],
    [JobChanged("mail", uid(1), FULL_STANDING_5), JobAdded("mail", FULL_JOB_5)],
    *COMMITS_5[2:4],
    [QueueDeleted(OTHER.name), QueueChanged(FULL_QUEUE_6)],
    *COMMITS_5[5:],
    GROUPS,
]

#: The same of the eighth database: a batch, and jobs that depend on others, in records of version 6.
COMMITS_8: list[list[Fact]] = [
    COMMITS_7[0],
    [JobChanged("mail", uid(1), FULL_STANDING_6), JobAdded("mail", FULL_JOB_6)],
    *COMMITS_7[2:],
    BATCHES,
]

#: The same of the ninth database: jobs and queues in records of version 7.
COMMITS: list[list[Fact]] = [
    COMMITS_8[0],
    [JobChanged("mail", uid(1), FULL_STANDING), JobAdded("mail", FULL_JOB)],
    *COMMITS_8[2:4],
    [QueueDeleted(OTHER.name), QueueChanged(FULL_QUEUE)],
    *COMMITS_8[5:],
]
