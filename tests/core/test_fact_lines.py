"""Lines of an export have the contents of records, and only valid lines are read."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobengine.core import fact_lines
from jobengine.core.fact_codec import encode
from jobengine.core.fact_lines import (
    BadLine,
    ItemLine,
    JobLine,
    QueueLine,
    item_line,
    job_line,
    queue_line,
    read_line,
    record_in,
)
from jobengine.core.facts import ItemSet, JobAdded, JobChanged, QueueCreated
from jobengine.core.model import Job
from tests.core import random_facts
from tests.golden import facts as golden


def read_back(line: bytes) -> bytes:
    assert line.count(b"\n") == 1
    read = read_line(line.removesuffix(b"\n"))
    assert isinstance(read, QueueLine | JobLine | ItemLine)
    return record_in(read)


@pytest.mark.parametrize("fact", [*golden.RECORDS.values(), *golden.OLDER.values(), *golden.GROUPS], ids=repr)
def test_every_golden_queue_job_and_item_survives_export_and_import(fact: object) -> None:
    match fact:
        case ItemSet():
            assert read_back(item_line(encode(fact))) == encode(fact)
        case JobAdded():
            assert read_back(job_line(encode(fact))) == encode(fact)
        case QueueCreated() if fact.queue != golden.OTHER:
            assert read_back(queue_line(fact.queue)) == encode(fact)


def test_a_record_of_an_older_version_is_exported_and_imported_in_the_newest_version() -> None:
    old = b'["job-added",1,"mail","u",0,1,60,10,0,5,"failed",6]\n{}'
    line = json.loads(job_line(old))
    assert (line["timeout_seconds"], line["attempts"], line["state"]) == (600, 1, "failed")


def test_the_line_of_a_job_has_the_state_after_its_last_change() -> None:
    job = golden.FULL_JOB
    plain = JobAdded("mail", golden.job(8))
    changed = job_line(encode(plain), encode(JobChanged("mail", job.spec.uid, job.standing)))
    assert read_back(changed) == encode(JobAdded("mail", Job(plain.job.spec, job.standing)))


def test_a_line_has_fields_by_name_and_the_content_as_an_object() -> None:
    line = json.loads(job_line(encode(JobAdded("mail", golden.FULL_JOB))))
    assert (line["kind"], line["queue"], line["state"], line["content"]["n"]) == ("job", "mail", "inprogress", 8)
    assert line["wishes"]["tags"] == ["Grüße", "b"]


@pytest.mark.parametrize("content", [b'{\n"a":\r\n1}', b'{"a":\r1}', b'{"a": 1.50, "b" : "\\n"}', b"{}"])
def test_content_is_kept_byte_for_byte(content: bytes) -> None:
    record = encode(JobAdded("mail", golden.job(1))).partition(b"\n")[0] + b"\n" + content
    line = job_line(record)
    assert b"\r" not in line
    assert read_back(line) == record


@given(
    st.builds(
        JobAdded, st.text(alphabet='a,"\\\\]'), st.builds(Job, random_facts.any_specs, random_facts.any_standings)
    )
)
def test_an_export_line_built_from_the_text_of_a_record_equals_a_line_built_from_values(fact: JobAdded) -> None:
    record = encode(fact)
    plain = fact_lines._plain_line(record)
    with_values = job_line(record, encode(JobChanged(fact.queue, fact.job.spec.uid, fact.job.standing)))
    assert plain in (None, with_values)


def test_the_export_line_of_a_usual_job_is_built_from_the_text_of_its_record() -> None:
    record = encode(JobAdded("mail", golden.job(1)))
    assert fact_lines._plain_line(record) == job_line(record)
    assert fact_lines._plain_line(encode(JobAdded("a,b", golden.job(1)))) is None
    assert fact_lines._plain_line(record.replace(b'"job-added",7', b'"job-added",6')) is None


def altered(kind: str, **fields: Any) -> bytes:
    line = job_line(encode(JobAdded("mail", golden.FULL_JOB))) if kind == "job" else queue_line(golden.FULL_QUEUE)
    values = json.loads(line)
    for path, value in fields.items():
        *places, last = path.split("__")
        at = values
        for place in places:
            at = at[place]
        at[last] = value
    return json.dumps(values).encode()


def item(kind: str, name: str, value: str) -> bytes:
    return json.dumps({"kind": "item", "queue": "mail", "item": kind, "name": name, "value": value}).encode()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (altered("job", priority="high"), r"Expected `int`, got `str` - at `\$.priority`"),
        (altered("job", colour="red"), "unknown field `colour`"),
        (altered("job", wishes__colour="red"), "unknown field `colour`"),
        (altered("job", wishes__context__colour="red"), "unknown field `colour`"),
        (altered("job", more__notes__colour="red"), "unknown field `colour`"),
        (altered("job", state="sleeping"), "sleeping"),
        (altered("job", keep_minutes=-1), "keep_minutes"),
        (altered("job", queue="q" * 257), "length <= 256"),
        (altered("job", uid="u" * 65), "uid"),
        (altered("job", uid="\n"), "uid"),
        (altered("job", content=[]), "content is not an object"),
        (altered("job", content="[]"), "content is not an object"),
        (altered("job", content="{"), "truncated"),
        (altered("job", more__notes__result="{"), "truncated"),
        (altered("job", more__notes__progress=101), "progress"),
        (altered("job", wishes__context__meta="{"), "truncated"),
        (altered("queue", salt="s" * 65), "salt"),
        (altered("queue", digest="AB" * 32), "digest"),
        (altered("queue", set_up__keys=[["id", "king", "ab" * 32, 1]]), "king"),
        (altered("queue", set_up__defaults={"colour": 1}), "colour"),
        (altered("queue", set_up__colour=1), "unknown field `colour`"),
        (altered("job", wishes__group=""), "length >= 1"),
        (altered("job", wishes__group="g" * 201), "length <= 200"),
        (altered("queue", set_up__flow__colour=1), "unknown field `colour`"),
        (altered("queue", set_up__flow__limits__in_progress=0), "in_progress"),
        (altered("queue", set_up__flow__limits__rate={"count": 0, "seconds": 1}), "count"),
        (altered("queue", set_up__flow__group_limits__rate={"count": 1, "seconds": 86_401}), "seconds"),
        (altered("queue", set_up__flow__group_order="random"), "random"),
        (altered("queue", set_up__flow__group_on_failure="stop"), "stop"),
        (altered("queue", set_up__target_wait_seconds=0), "target_wait_seconds"),
        (item("group", "g" * 201, "{}"), "more than 200 characters"),
        (item("group", "", "{}"), "has no name"),
        (item("group", "g", '{"weight":0}'), "weight"),
        (item("group", "g", '{"weight":1001}'), "weight"),
        (item("group", "g", '{"in_progress":0}'), "in_progress"),
        (item("group", "g", '{"rate":{"count":1}}'), "seconds"),
        (item("group", "g", '{"colour":1}'), "unknown field `colour`"),
        (item("gate", "g" * 201, "{}"), "more than 200 characters"),
        (item("gate", "", '{"held":-1}'), "held"),
        (item("gate", "", '{"held":9223372036854775807}'), "held"),
        (item("gate", "g", '{"marks":[[1,1,0]]}'), "marks"),
        (item("gate", "g", '{"marks":[[1,1]]}'), "marks"),
        (item("gate", "g", "{"), "truncated"),
        (item("batch", "b" * 201, '{"created":1}'), "more than 200 characters"),
        (item("batch", "b", "{}"), "created"),
        (item("batch", "b", '{"created":-1}'), "created"),
        (item("batch", "b", '{"created":1,"ended":-1}'), "ended"),
        (item("schedule", "s", '{"created":1}'), "settings"),
        (altered("job", wishes__batch="b" * 201), "length <= 200"),
        (item("future", "", "{}"), "has no name"),
        (item("future", "f", "{"), "truncated"),
        (b'{"kind":"job"}', "missing required field `queue`"),
        (b'{"kind":"worker"}', "worker"),
        (b"", "truncated"),
        (b"[]", "Expected `object`"),
        (b"{} {}", "kind|trailing"),
        (altered("job", content={"a": "X"}).replace(b"X", b"\xff"), "utf-8"),
        (altered("job", content=1).replace(b'"content": 1', b'"content": ' + b"[" * 100_000 + b"]" * 100_000), "depth"),
    ],
)
def test_an_invalid_line_is_refused(line: bytes, reason: str) -> None:
    with pytest.raises(BadLine, match=reason):
        read_back(line + b"\n")
