"""What the client sends about unique keys and debounced jobs, and how it reads the answers."""

import json
from datetime import timedelta
from typing import Any

import pytest

from jobengine.client import Debounce, Job, JobEngine, NewJob, Unique
from tests.client.doubles import answer, unconnected

_JOB = {"uid": "00000000-0000-4000-8000-000000000001", "state": "queued"}
_UNIQUE = {"key": "k", "until": "started", "seconds": 90, "if_queued": "replace", "if_running": "add"}


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ({"unique": "k"}, {"unique": {"key": "k"}}),
        ({"unique": {"key": "k", "until": "started"}}, {"unique": {"key": "k", "until": "started"}}),
        ({"unique": {"key": "k", "seconds": timedelta(minutes=1)}}, {"unique": {"key": "k", "seconds": 60}}),
        ({"unique": {"key": "k", "seconds": 1.2, "until": None}}, {"unique": {"key": "k", "seconds": 2}}),
        ({"unique": Unique(_UNIQUE)}, {"unique": _UNIQUE}),
        ({"unique_key": "k", "debounce": 5}, {"unique_key": "k", "debounce": {"seconds": 5}}),
        ({"unique_key": "k", "debounce": timedelta(minutes=1)}, {"unique_key": "k", "debounce": {"seconds": 60}}),
        (
            {"unique": "k", "debounce": {"seconds": 5.5, "at_most_seconds": timedelta(hours=1)}},
            {"unique": {"key": "k"}, "debounce": {"seconds": 6, "at_most_seconds": 3600}},
        ),
        (
            {"unique": "k", "debounce": Debounce({"seconds": 5, "at_most_seconds": 60})},
            {"unique": {"key": "k"}, "debounce": {"seconds": 5, "at_most_seconds": 60}},
        ),
    ],
)
def test_options_of_a_unique_key_are_sent_in_seconds(options: dict[str, Any], sent: dict[str, Any]) -> None:
    engine, pool = unconnected([answer(201, _JOB), answer(201, {"jobs": [_JOB, _JOB]})], access_key="k", retry_for=0)
    engine.queue("q").add({}, **options)
    engine.queue("q").add_many([NewJob({}, **options), NewJob({})])
    single, many = (json.loads(request.body or b"") for request in pool.requests)
    for job in (single["job"], many["jobs"][0]):
        assert {name: job[name] for name in sent} == sent


@pytest.mark.parametrize("options", [{"unique": 5}, {"debounce": "5"}, {"debounce": []}])
def test_a_value_of_another_type_is_a_type_error(options: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        JobEngine("http://server.example", access_key="k").queue("q").add({}, **options)


def test_a_job_shows_its_unique_key_rule_and_its_debounce() -> None:
    job = Job({**_JOB, "unique": _UNIQUE, "debounce": {"seconds": 5, "at_most_seconds": 60}, "replaced": True})
    assert job.unique is not None
    assert (job.unique.key, job.unique.until, job.unique.held_for) == ("k", "started", timedelta(seconds=90))
    assert (job.unique.if_queued, job.unique.if_running) == ("replace", "add")
    assert job.debounce is not None
    assert (job.debounce.delay, job.debounce.at_most) == (timedelta(seconds=5), timedelta(seconds=60))
    assert job.replaced


def test_a_job_without_a_unique_key_has_no_rule_and_a_rule_has_defaults() -> None:
    job = Job(_JOB)
    assert (job.unique, job.debounce, job.replaced) == (None, None, False)
    plain = Unique({"key": "k"})
    assert (plain.until, plain.held_for, plain.if_queued, plain.if_running) == (
        "finished",
        timedelta(0),
        "keep",
        "keep",
    )
