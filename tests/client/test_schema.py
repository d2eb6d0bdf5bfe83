"""The client agrees with api_schema.yml: each operation, each field that is sent, each field of an answer."""

import inspect
from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

import pytest

from jobengine import client
from jobengine.client.answers import Field
from jobengine.client.calls import CALLS
from jobengine.client.groups import GroupOptions, QueueSettings
from jobengine.client.jobs import JobChanges, JobFilter, JobOptions, JobOrder
from jobengine.client.schedules import ScheduleOptions
from tests.schema import operations, resolve, schema


def _properties(name: str) -> dict[str, Any]:
    return _fields({"$ref": f"#/components/schemas/{name}"})


def _fields(part: dict[str, Any]) -> dict[str, Any]:
    """The fields of an object, also those in its parts."""
    if "$ref" in part:
        return _fields(schema()["components"]["schemas"][part["$ref"].rsplit("/", 1)[1]])
    fields = dict(part.get("properties", {}))
    for other in (*part.get("allOf", ()), *part.get("oneOf", ()), *part.get("anyOf", ())):
        fields.update(_fields(other))
    return fields


def _read(kind: type) -> set[str]:
    """The JSON fields that a class reads."""
    return {field.wire for base in kind.__mro__ for field in vars(base).values() if isinstance(field, Field)}


def _methods() -> Iterator[tuple[str, str, str]]:
    for call in CALLS.values():
        for served in call.served_by:
            yield (call.operation, *served.split("."))  # type: ignore[misc]  # there is one dot


def test_each_operation_is_described_once_with_its_method_and_path() -> None:
    documented = {operation["operationId"]: (method, path) for method, path, operation in operations()}
    described = {call.operation: (call.method, call.path) for call in CALLS.values()}
    assert described == documented


def test_each_operation_has_a_method_in_both_clients() -> None:
    for operation, holder, method in _methods():
        sync, asynchronous = (getattr(getattr(client, f"{prefix}{holder}"), method) for prefix in ("", "Async"))
        assert inspect.signature(sync).parameters.keys() == inspect.signature(asynchronous).parameters.keys(), operation
        assert (sync.__doc__ or "").replace("AsyncQ", "Q").strip(), operation


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (client.Job, "Job"),
        (client.Attempt, "Attempt"),
        (client.Unique, "Unique"),
        (client.Debounce, "Debounce"),
        (client.Explanation, "Explanation"),
        (client.QueueSetup, "QueueSetUp"),
        (client.QueueDefaults, "QueueSetUp.defaults"),
        (client.QueueStats, "QueueStats"),
        (client.Counts, "QueueStats.counts"),
        (client.Lately, "QueueStats.last_minute"),
        (client.Lately, "QueueStats.last_hour"),
        (client.Minutes, "QueueStats.minutes"),
        (client.Times, "QueueStats.wait_seconds"),
        (client.Times, "QueueStats.run_seconds"),
        (client.Group, "Group"),
        (client.GroupSettings, "GroupSettings"),
        (client.Limits, "Limits"),
        (client.Rate, "Rate"),
        (client.HoldingJob, "Holder"),
        (client.LinkedJob, "LinkedJob"),
        (client.AwaitedJob, "AwaitedResult"),
        (client.JobGraph, "Graph"),
        (client.GraphEdge, "GraphEdge"),
        (client.Schedule, "Schedule"),
        (client.Firing, "Firing"),
        (client.Backfill, "Backfilled"),
        (client.BatchProgress, "Batch"),
        (client.BatchProgress, "ChangedBatch"),
        (client.Access, "Access"),
        (client.AccessKey, "Key"),
        (client.WorkerJobs, "Worker"),
        (client.Readiness, "Readiness"),
    ],
)
def test_each_field_of_an_answer_is_an_attribute(kind: type, name: str) -> None:
    holder, _, field = name.partition(".")
    fields = _fields(_properties(holder)[field]) if field else _properties(holder)
    assert fields
    assert set(fields) - _read(kind) == set()


def test_a_claimed_job_has_all_fields_and_a_lease() -> None:
    assert set(_properties("ClaimedJob")) - _read(client.Job) - {"queue_name"} == {"lease"}
    assert isinstance(client.ClaimedJob.lease, property)


def test_each_field_of_a_new_job_is_an_option() -> None:
    ignored = "#/components/schemas/Ignored"
    sent = {name for name, field in _properties("NewJob").items() if not field.get("$ref", "").startswith(ignored)}
    assert sent > {"priority", "content"}
    assert sent - {"content"} - set(get_type_hints(JobOptions)) == set()


@pytest.mark.parametrize(("name", "kind"), [("Unique", client.UniqueOptions), ("Debounce", client.DebounceOptions)])
def test_each_field_of_a_unique_key_is_an_option(name: str, kind: type) -> None:
    assert set(_properties(name)) == set(get_type_hints(kind))


@pytest.mark.parametrize(
    ("name", "elsewhere", "kind"), [("JobUpdate", {"uid", "cancel"}, JobChanges), ("Filter", set(), JobFilter)]
)
def test_each_field_of_an_update_or_a_filter_is_an_argument(name: str, elsewhere: set[str], kind: type) -> None:
    assert set(_properties(name)) - elsewhere - set(get_type_hints(kind)) == set()


@pytest.mark.parametrize(
    ("method", "parameter", "orders"),
    [(client.Queue.jobs, "sort", JobOrder), (client.Queue.groups, "groupSort", client.GroupSort)],
)
def test_the_client_offers_each_order_in_the_schema(method: Any, parameter: str, orders: Any) -> None:
    assert "sort" in inspect.signature(method).parameters
    assert set(schema()["components"]["parameters"][parameter]["schema"]["enum"]) == set(get_args(orders))


@pytest.mark.parametrize(("field", "choices"), [("if_running", client.IfRunning), ("missed", client.Missed)])
def test_the_client_offers_each_choice_of_a_schedule(field: str, choices: Any) -> None:
    assert set(_properties("SetSchedule")[field]["enum"]) == set(get_args(choices))


@pytest.mark.parametrize(
    ("body", "field", "choices"),
    [("NewJob", "on_dependency_failure", client.OnDependencyFailure), ("SetBatch", "then_on", client.ThenOn)],
)
def test_the_client_offers_each_choice_about_dependencies(body: str, field: str, choices: Any) -> None:
    assert set(resolve(_properties(body)[field])["enum"]) == set(get_args(choices))


@pytest.mark.parametrize(
    ("method", "body", "elsewhere"),
    [
        (client.Queue.configure, "ChangeQueue", {"name", *get_type_hints(QueueSettings)}),
        (client.Queue.set_group, "ChangeGroup", {"queue_name", "group", *get_type_hints(GroupOptions)}),
        (client.Queue.schedule, "SetSchedule", {"queue_name", "job", *get_type_hints(ScheduleOptions)}),
        (client.Queue.schedule, "ScheduledJob", {*get_type_hints(ScheduleOptions)}),
        (client.Schedules.change, "ChangeSchedule", {"queue_name", "job", *get_type_hints(ScheduleOptions)}),
        (client.Schedules.backfill, "RunSchedule", {"queue_name", "from", "until"}),
        (client.Queue.batch, "SetBatch", {"queue_name"}),
        (client.Queue.create, "NewQueue", {"name"}),
        (client.Keys.add, "AddKey", {"queue_name", "access_key"}),
        (client.JobEngine.claim, "Claim", {"queue_names", "updates", "host", "pid", "client"}),
    ],
)
def test_each_field_of_a_body_is_an_argument(method: Any, body: str, elsewhere: set[str]) -> None:
    assert set(_properties(body)) - elsewhere - set(inspect.signature(method).parameters) == set()
