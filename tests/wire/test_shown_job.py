"""The table of a job's fields: each is shown from its own place, and requests, records and api_schema.yml agree."""

import json
from typing import Any, Final

import msgspec
import pytest
from msgspec.structs import fields

from jobengine.core import record_fields
from jobengine.core.commands import NewJob
from jobengine.core.dependencies import Dependencies, OnDependencyFailure, batch_key
from jobengine.core.fact_codec import decode, encode
from jobengine.core.facts import JobAdded
from jobengine.core.model import NO_NOTES, Context, Job, Notes, Rare, Spec, Standing, State
from jobengine.core.retention import retention
from jobengine.wire import bodies
from jobengine.wire.shown_job import ShownJob, job_json, job_value, to_json
from jobengine.wire.unknown_fields import Ignored
from tests.core.worlds import spec_of
from tests.golden.facts import FULL_JOB
from tests.schema import resolve

#: The field that is sent but not shown under its own name: it is shown as `not_before`.
_SENT_ALONE: Final = {"delay_seconds"}
#: What a claim adds to a job, from other jobs.
_OF_CLAIMS: Final = {"dependencies", "results_left_out"}
#: Fields that are shown only while the job is in progress.
_WHILE_HELD: Final = {"lease_expires", "started", "cancel_requested"}
#: Each field of FULL_JOB as it should be shown.
_SHOWN: Final = {
    "uid": "00000000-0000-0000-0000-000000000008",
    "priority": -7,
    "keep_minutes": 61,
    "timeout_minutes": 11,
    "created": 1_700_000_000,
    "last_updated": 1_700_000_100,
    "timeout_time": 4_000_000_000,
    "content": {"n": 8, "text": "Grüße\n"},
    "state": "inprogress",
    "timeout_seconds": 602,
    "tags": ["Grüße", "b"],
    "max_attempts": 4,
    "retry_delay_seconds": 5,
    "unique": {"key": "once", "until": "started", "seconds": 90, "if_queued": "replace", "if_running": "add"},
    "debounce": {"seconds": 5, "at_most_seconds": 60},
    "meta": {"n": 1.5, "text": "Grüße"},
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "group": "Grüße",
    "attempts": 3,
    "worker": 'Wörker "七"',
    "lease_expires": 1_700_000_100 + 602 - 3_600,
    "started": 1_700_000_000,
    "not_before": 1_700_000_200,
    "progress": 70,
    "result": {"sum": 1.5, "text": "Grüße"},
    "error": "no\nroom",
    "fingerprint": "Disk:no-room",
    "cancel_requested": True,
    "cancelled": True,
    "history": [
        {
            "started": 1_700_000_000,
            "ended": 1_700_000_000,
            "outcome": "timeout",
            "error": "timed out",
            "fingerprint": "9f3c61d20b7e4a58",
        },
        {"started": 1_700_000_000, "ended": 1_700_000_000, "outcome": "released", "worker": "w", "times": 3},
    ],
    "lease": "00000000-0000-0000-0000-0000000000c1",
    "queue_name": "mail",
    "batch": "import",
    "moved_from": {"queue_name": 'Grüße "七"\n', "at": 1_700_000_000},
    "not_moved": "full",
    "depends_on": [
        "00000000-0000-0000-0000-0000000000d1",
        {"queue_name": "other", "uid": "00000000-0000-0000-0000-0000000000d2"},
    ],
    "on_dependency_failure": "wait",
}
#: What FULL_JOB waits for: jobs of its own queue and another, and a batch.
_DEPENDENCIES: Final = Dependencies(
    (
        ("mail", "00000000-0000-0000-0000-0000000000d1"),
        ("other", "00000000-0000-0000-0000-0000000000d2"),
        ("mail", batch_key("import")),
    ),
    OnDependencyFailure.WAIT,
)
#: The fields that only a queued job shows, and those that only a finished job shows.
_SHOWN_AT_FIRST: Final = {"waiting": True}
#: A job shows either `unique` or its short form; the answer to an add shows `replaced`.
_SHOWN_BY_OTHERS: Final = {"unique_key", "replaced"}
_SHOWN_AT_THE_END: Final = {"removed_at": 1_700_000_100 + 4_320 * 60 - 3_600}


def _full_job() -> Job:
    """A job with every field, and no two equal numbers."""
    spec, standing = FULL_JOB.spec, FULL_JOB.standing
    return Job(
        msgspec.structs.replace(
            spec,
            priority=-7,
            keep=retention(61, 4_320),
            timeout_seconds=602,
            timeout_time=4_000_000_000,
            rare=msgspec.structs.replace(spec.rare, batch="import", dependencies=_DEPENDENCIES),
        ),
        msgspec.structs.replace(
            standing, updated=1_700_000_100_999, ready_at=1_700_000_199_001, not_before=1_700_000_150_000, ended="-cc"
        ),
    )


def _in(state: State) -> Job:
    job = _full_job()
    return Job(job.spec, msgspec.structs.replace(job.standing, state=state))


def test_each_field_of_a_job_is_shown_with_the_value_from_its_source() -> None:
    assert {*_SHOWN, *_SHOWN_AT_FIRST, *_SHOWN_AT_THE_END, *_SHOWN_BY_OTHERS} == set(ShownJob.__struct_fields__)
    assert json.loads(to_json(job_value(_full_job(), "mail", lease=True, named=True))) == _SHOWN
    failed = json.loads(to_json(job_value(_in(State.FAILED), "mail", lease=True, named=True)))
    ended = {**_SHOWN, **_SHOWN_AT_THE_END, "state": "failed"}
    assert failed == {name: value for name, value in ended.items() if name not in _WHILE_HELD}
    queued = json.loads(to_json(job_value(_in(State.QUEUED), "mail", lease=True, named=True)))
    first = {**_SHOWN, **_SHOWN_AT_FIRST, "state": "queued"}
    assert queued == {name: value for name, value in first.items() if name not in _WHILE_HELD}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("notes", [NO_NOTES, msgspec.structs.replace(FULL_JOB.standing.notes, dead_letter="")])
def test_a_rare_field_adds_only_itself_to_a_shown_job(state: State, notes: Notes) -> None:
    standing = msgspec.structs.replace(_full_job().standing, state=state, notes=notes, ended="")
    plain, *rare = [
        json.loads(to_json(job_value(Job(spec, standing), "mail", lease=True, named=True)))
        for spec in (
            spec_of(),
            msgspec.structs.replace(spec_of(), rare=Rare(context=Context(meta="{}"))),
            msgspec.structs.replace(spec_of(), rare=Rare(group="g")),
        )
    ]
    assert rare == [{**plain, "meta": {}}, {**plain, "group": "g"}]


@pytest.mark.parametrize("group", [None, "g"])
def test_a_job_of_a_batch_shows_its_batch_and_no_other_rare_field(group: str | None) -> None:
    plain, standing = spec_of(), Standing(state=State.QUEUED, updated=1_000)
    spec = msgspec.structs.replace(plain, rare=Rare(batch="import", group=group))
    before = json.loads(job_json(Job(plain, standing), "mail"))
    shown = {"batch": "import"} if group is None else {"batch": "import", "group": group}
    assert json.loads(job_json(Job(spec, standing), "mail")) == {**before, **shown}


def test_a_complete_job_shows_that_it_is_removed_after_its_own_retention() -> None:
    assert job_value(_in(State.COMPLETE), "mail").removed_at == 1_700_000_100 + 61 * 60 - 3_600


def test_a_job_without_rare_fields_shows_only_fields_of_version_1_and_timeout_seconds() -> None:
    spec = spec_of()
    required = {field.name for field in fields(ShownJob) if field.required}
    assert set(json.loads(job_json(Job(spec, Standing(state=State.QUEUED, updated=1_000)), "mail"))) == required


@pytest.mark.parametrize("text", ['{"a":1.50}', '{ "é" : "\\u00e9" }'])
def test_meta_is_shown_byte_for_byte(text: str) -> None:
    job = Job(msgspec.structs.replace(FULL_JOB.spec, rare=Rare(context=Context(meta=text))), FULL_JOB.standing)
    assert b'"meta":' + text.encode() in job_json(job, "mail")


def test_each_shown_field_is_accepted_or_ignored_in_a_new_job() -> None:
    assert set(bodies.NewJob.__struct_fields__) == set(ShownJob.__struct_fields__) | _SENT_ALONE | _OF_CLAIMS


def test_the_schema_has_each_field_of_a_shown_job() -> None:
    properties = _properties("Job")
    assert set(properties) | {"lease", "queue_name"} == set(ShownJob.__struct_fields__)
    assert set(_properties("ClaimedJob")) - _OF_CLAIMS == set(ShownJob.__struct_fields__)
    assert set(_schema("Job")["required"]) == {field.name for field in fields(ShownJob) if field.required}


def test_the_schema_has_each_accepted_and_each_ignored_field_of_a_new_job() -> None:
    taken = {field.name: field.type != Ignored for field in fields(bodies.NewJob)}
    ignored = [{"$ref": f"#/components/schemas/{name}"} for name in ("Ignored", "IgnoredDependencies")]
    assert {name: part not in ignored for name, part in _properties("NewJob").items()} == taken


def test_each_field_of_a_stored_job_is_a_field_of_new_jobs_or_set_by_the_server() -> None:
    spec = {*Spec.__struct_fields__, *Rare.__struct_fields__}
    kept = spec & set(NewJob.__struct_fields__)
    # `keep` comes from keep_minutes or the defaults, `dependencies` from depends_on.
    decided = {"arrival", "created", "request_digest", "author", "rank", "rare", "keep", "dependencies"}
    assert spec - kept == decided | {"line", "moved_from"}


@pytest.mark.parametrize(
    ("kind", "written", "elsewhere"),
    [
        (Spec, record_fields.SpecExtras, {"rank", "rare"}),
        (Standing, record_fields.StandingExtras, {"attempts", "claimed", "lease", "worker"}),
        (Notes, record_fields.NotesExtras, set()),
    ],
)
def test_a_stored_record_has_each_optional_field(kind: Any, written: Any, elsewhere: set[str]) -> None:
    parts = (Spec, Rare) if kind is Spec else (kind,)
    optional = {field.name for part in parts for field in fields(part) if not field.required}
    # In records a request's digest still has its first name.
    written_names = {"fingerprint" if name == "request_digest" else name for name in optional - elsewhere}
    assert written_names == set(written.__struct_fields__)


def test_each_field_survives_encoding_and_decoding() -> None:
    fact = JobAdded("mail", _full_job())
    assert decode(encode(fact)) == fact


def _schema(name: str) -> Any:
    return resolve({"$ref": f"#/components/schemas/{name}"})


def _properties(name: str) -> dict[str, Any]:
    """The fields of an object, including those of its parts."""
    part = _schema(name)
    found = dict(part.get("properties", {}))
    for other in part.get("allOf", ()):
        found |= _properties(other["$ref"].rsplit("/", 1)[1]) if "$ref" in other else other.get("properties", {})
    return found
