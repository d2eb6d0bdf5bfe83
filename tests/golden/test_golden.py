"""Every released version of the file and of each record can be read, with the same meaning as then."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
from msgspec import UNSET, structs

from jobengine.core import fact_codec as records
from jobengine.core import record_fields
from jobengine.core.batches import BATCH, Batch, batch_of
from jobengine.core.dead_letters import DeadLetter, MovedFrom
from jobengine.core.dependencies import Dependencies
from jobengine.core.fact_codec import UnknownRecord, decode, encode
from jobengine.core.facts import Fact
from jobengine.core.flow import GATE, GROUP, Flow, Gate, GroupSettings, Limits
from jobengine.core.model import Context, Notes, Queue, Rare, Spec, Standing, State
from jobengine.core.schedules import Firing, IfRunning, Missed, Schedule, ScheduledJob, Settings, schedule_of
from jobengine.engine.tables.state import Tables
from jobengine.storage.errors import NewerFormat
from tests.doubles import make_engine, new_clock, start
from tests.golden.facts import (
    COMMITS,
    COMMITS_2,
    COMMITS_3,
    COMMITS_4,
    COMMITS_5,
    COMMITS_6,
    COMMITS_7,
    COMMITS_8,
    FULL_BATCH,
    FULL_FLOW,
    FULL_GATE,
    FULL_JOB,
    FULL_QUEUE,
    FULL_QUEUE_2,
    FULL_QUEUE_3,
    FULL_QUEUE_4,
    FULL_QUEUE_5,
    FULL_QUEUE_6,
    FULL_SETTINGS,
    FULL_STANDING,
    MAIL,
    OLD_COMMITS,
    OLD_SLICES,
    OLDER,
    RECORDS,
    SLICES,
    SLICES_2,
    SLICES_3,
    SLICES_4,
)
from tests.storage.files_of_commits import opened

HERE = Path(__file__).parent
#: What each golden database holds: its slices and commits.
DATABASES = {
    "format-1.0.db": [*OLD_SLICES, *OLD_COMMITS],
    "format-1.0-records-2.db": [*SLICES_2, *COMMITS_2],
    "format-1.0-records-3.db": [*SLICES_3, *COMMITS_3],
    "format-1.0-records-4.db": [*SLICES_4, *COMMITS_4],
    "format-1.0-records-5.db": [*SLICES, *COMMITS_5],
    "format-1.0-items.db": [*SLICES, *COMMITS_6],
    "format-1.0-groups.db": [*SLICES, *COMMITS_7],
    "format-1.0-batches.db": [*SLICES, *COMMITS_8],
    "format-1.0-records-7.db": [*SLICES, *COMMITS],
}
#: The databases' jobs in execution order: last digit of the uid, priority, state, attempts, updated, timeout_time.
EXPECTED = {
    "format-1.0.db": [
        (2, 5, State.COMPLETE, 1, 1_700_000_000_133, 0),
        (1, 0, State.INPROGRESS, 1, 1_700_000_000_143, 0),
        (3, -1, State.FAILED, 1, 1_700_000_000_153, 4_000_000_000),
    ],
    "format-1.0-records-2.db": [
        (2, 5, State.COMPLETE, 1, 1_700_000_000_133, 0),
        (1, 0, State.INPROGRESS, 3, 1_700_000_000_173, 0),
        (8, 0, State.INPROGRESS, 3, 1_700_000_000_173, 0),
        (3, -1, State.FAILED, 1, 1_700_000_000_153, 4_000_000_000),
    ],
}
for number in (3, 4, 5):
    EXPECTED[f"format-1.0-records-{number}.db"] = EXPECTED["format-1.0-records-2.db"]
EXPECTED["format-1.0-items.db"] = EXPECTED["format-1.0-groups.db"] = EXPECTED["format-1.0-records-5.db"]
EXPECTED["format-1.0-batches.db"] = [
    *EXPECTED["format-1.0-records-5.db"][:-1],
    (10, 0, State.QUEUED, 0, 1_700_000_000_123, 0),
    (11, 0, State.QUEUED, 0, 1_700_000_000_203, 0),
    (12, 0, State.FAILED, 0, 1_700_000_000_203, 0),
    EXPECTED["format-1.0-records-5.db"][-1],
]
# Job 8 has a place in line, which comes after all priorities.
_FULL = EXPECTED["format-1.0-batches.db"][2]
EXPECTED["format-1.0-records-7.db"] = [*(one for one in EXPECTED["format-1.0-batches.db"] if one != _FULL), _FULL]
QUEUES = {
    "format-1.0.db": MAIL,
    "format-1.0-records-2.db": FULL_QUEUE_2,
    "format-1.0-records-3.db": FULL_QUEUE_3,
    "format-1.0-records-4.db": FULL_QUEUE_4,
    "format-1.0-records-5.db": FULL_QUEUE_5,
    "format-1.0-items.db": FULL_QUEUE_5,
    "format-1.0-groups.db": FULL_QUEUE_6,
    "format-1.0-batches.db": FULL_QUEUE_6,
    "format-1.0-records-7.db": FULL_QUEUE,
}
#: The databases' named things.
NAMED = {
    "format-1.0-items.db": {(GROUP, "Grüße"): '{"weight":3}'},
    "format-1.0-groups.db": {
        (GROUP, "Grüße"): '{"in_progress":5,"rate":{"count":7,"seconds":86400},"weight":3,"paused":true}',
        (
            GATE,
            "Grüße",
        ): '{"held":1700000030123,"marks":[[1700000000133,1700000000138,2],[1700000000193,1700000000193,1]]}',
        (GATE, ""): '{"held":1700000040123}',
    },
}
NAMED["format-1.0-batches.db"] = {
    **NAMED["format-1.0-groups.db"],
    (BATCH, "Import 七"): '{"created":1700000000203,"then":"00000000-0000-0000-0000-000000000011"}',
}
NAMED["format-1.0-records-7.db"] = NAMED["format-1.0-batches.db"]
ALL_RECORDS = {**OLDER, **RECORDS}

each_database = pytest.mark.parametrize("name", DATABASES)


def copied(name: str, folder: Path) -> Path:
    return Path(shutil.copy(HERE / name, folder / "db"))


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return copied("format-1.0.db", tmp_path)


@each_database
def test_a_golden_database_holds_exactly_the_listed_facts(name: str, tmp_path: Path) -> None:
    journal, commits = opened(copied(name, tmp_path))
    assert journal.clean
    assert [[decode(record) for record in commit] for commit in commits] == DATABASES[name]
    journal.close(orderly=False)


@each_database
def test_a_golden_database_is_read_as_exactly_the_listed_state(name: str, tmp_path: Path) -> None:
    journal, commits = opened(copied(name, tmp_path))
    journal.close(orderly=False)
    tables = Tables()
    for commit in commits:
        tables.apply([decode(record) for record in commit])
    (table,) = tables.queues.values()
    jobs, _ = table.page(None, 100)
    assert table.queue == QUEUES[name]
    assert table.named == NAMED.get(name, {})
    assert [
        (
            int(job.spec.uid[-2:]),
            job.spec.priority,
            job.state,
            job.standing.attempts,
            job.updated,
            job.spec.timeout_time,
        )
        for job in jobs
    ] == EXPECTED[name]
    assert [job.spec.content for job in jobs] == [
        b'{"n": %d, "text": "Gr\xc3\xbc\xc3\x9fe\\n"}' % number for number, *_ in EXPECTED[name]
    ]
    assert {(job.spec.keep.minutes, job.spec.timeout_seconds, job.spec.created) for job in jobs} == {
        (60, 600, 1_700_000_000_123)
    }
    # Queues from before keep_failed_minutes keep failed jobs as long as complete ones.
    kept_longer = {8} if QUEUES[name] in (FULL_QUEUE, FULL_QUEUE_6, FULL_QUEUE_5) else set()
    assert {int(job.spec.uid[-2:]) for job in jobs if job.spec.keep.failed_minutes != 60} == kept_longer


def test_the_first_golden_database_is_served_unchanged(database: Path) -> None:
    clock = new_clock()
    clock.rightNow = 1_700_000_001.0
    engine = make_engine(database, clock)
    start(engine, lambda: clock.advance(0))
    (table,) = engine.executor.tables.queues.values()
    jobs, _ = table.page(None, 100)
    assert [(job.state, job.deadline) for job in jobs] == [
        (State.COMPLETE, 1_700_000_000_133 + 60 * 60_000),
        (State.INPROGRESS, 1_700_000_000_143 + 10 * 60_000),
        (State.FAILED, 1_700_000_000_153 + 60 * 60_000),
    ]
    engine.stop()


def test_the_newest_golden_database_covers_every_kind_of_fact() -> None:
    facts = [fact for part in (*SLICES, *COMMITS) for fact in part]
    assert {type(fact) for fact in facts} == set(records._ENCODERS)


def test_there_is_a_golden_record_of_every_version_that_can_be_read() -> None:
    covered = {name.removesuffix(".record").removesuffix("-full") for name in ALL_RECORDS}
    assert covered == {f"{kind}-{version}" for kind, version in records._DECODERS}
    assert {path.name for path in HERE.glob("*.record")} == set(ALL_RECORDS)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (record_fields.QueueExtras, Queue),
        (record_fields.SpecExtras, Spec),
        (record_fields.StandingExtras, Standing),
        (record_fields.NotesExtras, Notes),
    ],
)
def test_fields_missing_in_a_record_have_their_default_values(written: type, read: type) -> None:
    parts = (Spec, Rare) if read is Spec else (read,)
    defaults = {name: field.default for part in parts for name, field in _fields(part).items()}
    if read is Spec:
        # In records the field still has an earlier name.
        defaults["fingerprint"] = defaults["request_digest"]
    left_out = {name: field.default for name, field in _fields(written).items()}
    # UNSET stands for fields that are encoded in another form.
    assert [name for name, default in left_out.items() if default not in (defaults[name], UNSET)] == []


def _fields(kind: type) -> Mapping[str, Any]:
    """The fields by name; each has a default."""
    if attrs.has(kind):
        return attrs.fields_dict(kind)
    return {field.name: field for field in structs.fields(kind)}


@pytest.mark.parametrize(
    "kind",
    [
        Spec,
        Rare,
        Context,
        Standing,
        Notes,
        Queue,
        DeadLetter,
        MovedFrom,
        Flow,
        Limits,
        GroupSettings,
        Gate,
        Batch,
        Dependencies,
    ],
    ids=lambda kind: kind.__name__,
)
def test_in_the_full_golden_records_no_field_has_its_default(kind: type) -> None:
    parts = {
        Spec: FULL_JOB.spec,
        Rare: FULL_JOB.spec.rare,
        Context: FULL_JOB.spec.rare.context,
        Standing: FULL_STANDING,
        Notes: FULL_STANDING.notes,
        Queue: FULL_QUEUE,
        DeadLetter: FULL_QUEUE.dead_letter,
        MovedFrom: FULL_JOB.spec.rare.moved_from,
        Flow: FULL_FLOW,
        Limits: FULL_FLOW.group_limits,
        GroupSettings: FULL_SETTINGS,
        Gate: FULL_GATE,
        Batch: FULL_BATCH,
        Dependencies: FULL_JOB.spec.rare.dependencies,
    }
    part = parts[kind]
    defaults = {name: field.default for name, field in _fields(kind).items()}
    same = [name for name, default in defaults.items() if getattr(part, name) == default]
    assert same == []


@pytest.mark.parametrize(("name", "fact"), ALL_RECORDS.items(), ids=list(ALL_RECORDS))
def test_a_record_of_each_version_decodes_to_its_fact(name: str, fact: Fact) -> None:
    assert decode((HERE / name).read_bytes()) == fact


@pytest.mark.parametrize(("name", "fact"), RECORDS.items(), ids=list(RECORDS))
def test_a_fact_is_written_in_the_newest_version_of_its_kind(name: str, fact: Fact) -> None:
    assert encode(fact) == (HERE / name).read_bytes()


@pytest.mark.parametrize(
    "record",
    [
        b'["job-paused",1,"mail"]',
        b'["job-removed",2,"mail","u"]',
        b'["queue-created",0]',
        b'["queue-changed",1,"mail"]',
        b'["queue-changed",8,"mail"]',
    ],
)
def test_a_record_of_an_unknown_kind_or_version_is_refused(record: bytes) -> None:
    with pytest.raises(UnknownRecord):
        decode(record)


def test_a_database_with_a_record_of_a_newer_version_is_refused_and_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "db"
    journal, _ = opened(path)
    journal.append([encode(RECORDS["queue-created-7.record"]), b'["job-added",8,"mail",{}]'])
    journal.close(orderly=False)
    before, clock = path.read_bytes(), new_clock()
    with pytest.raises(NewerFormat, match="'job-added' of version 8"):
        start(make_engine(path, clock), lambda: clock.advance(0))
    assert path.read_bytes() == before


def test_a_database_of_a_newer_major_version_is_refused_and_not_changed(database: Path) -> None:
    data = database.read_bytes()
    newer = data[:8] + bytes([0, 2]) + data[10:]
    database.write_bytes(newer)
    with pytest.raises(NewerFormat, match="version 2"):
        opened(database)
    assert database.read_bytes() == newer


def test_a_stored_batch_is_read_by_each_later_version() -> None:
    assert batch_of((HERE / "batch.json").read_text()) == FULL_BATCH


def test_a_stored_schedule_is_read_by_each_later_version() -> None:
    job = ScheduledJob(
        content='{"a":1}',
        priority=5,
        keep_minutes=10,
        timeout_seconds=60,
        tags=("a",),
        max_attempts=3,
        retry_delay_seconds=2,
        meta='{"m":1}',
        group="g",
        delay_seconds=4,
    )
    settings = Settings(
        cron="30 2 * * *",
        timezone="Europe/Berlin",
        job=job,
        if_running=IfRunning.ADD,
        missed=Missed.ALL,
        missed_seconds=60,
        pause_after_failures=2,
    )
    assert schedule_of((HERE / "schedule.json").read_text()) == Schedule(
        settings=settings,
        created=1,
        next=2,
        done=3,
        paused=True,
        failing=True,
        firings=(Firing(time=5, uid="u"), Firing(time=6, skipped="full", times=3, until=9, manual=True)),
        followed=("u",),
        failures=1,
        counted=8,
        fired=10,
        skipped=11,
    )
