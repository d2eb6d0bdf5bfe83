"""The metrics, read by the parser of Prometheus's own client."""

import platform
import re
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from jobengine import __version__
from jobengine.core.commands import CountQueues, ListGroups
from tests.doubles import Answer, Counting, MemoryServer
from tests.http.connection import Connection
from tests.web.asking import add, change, claim, make_queue, metrics, update, waiting

ROOT = Path(__file__).parents[2]
_COUNTED = ("added", "claimed", "complete", "failed", "cancelled", "timed_out")


def _samples(server: MemoryServer, **headers: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    answer = server.call("GET", "/metrics", key=None, headers=headers)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }


def _key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


def _listed(heading: str) -> dict[str, str]:
    """The metrics of a section of the page, with their kinds."""
    _, _, section = (ROOT / "docs" / "metrics.md").read_text().partition(f"\n## {heading}\n")
    rows = re.findall(r"^\| (.*?) \| (\w+) \|", section.partition("\n## ")[0], re.MULTILINE)
    return {name: kind for names, kind in rows for name in re.findall(r"`(jobengine_\w+)", names)}


def test_the_page_on_metrics_lists_exactly_the_existing_metrics(
    server: MemoryServer, request: pytest.FixtureRequest
) -> None:
    add(server)
    text = metrics(server)
    own = "Of a server on PostgreSQL" if request.config.getoption("--engine") == "postgres" else "Of a server on a file"
    served = dict(re.findall(r"^# TYPE (jobengine_\w+) (\w+)$", text, re.MULTILINE))
    assert served == _listed("Of every server") | _listed(own)


def test_metrics_count_jobs_and_requests(server: MemoryServer) -> None:
    for _ in range(3):
        add(server)
    claim(server)
    server.call("GET", "/api/v1/job", query={"queueName": "none", "jobUID": "x"})
    seen = _samples(server)
    assert seen[_key("jobengine_jobs", queue="q", state="queued")] == 2
    assert seen[_key("jobengine_jobs", queue="q", state="inprogress")] == 1
    assert seen[_key("jobengine_requests_total", method="PUT", route="/api/v1/job", status="201")] == 3
    assert seen[_key("jobengine_requests_total", method="GET", route="/api/v1/job", status="404")] == 1
    assert seen[_key("jobengine_request_seconds_count", method="PUT", route="/api/v1/job")] == 3
    assert seen[_key("jobengine_request_seconds_count", method="GET", route="/api/v1/job")] == 1


@pytest.mark.only_on_a_file("an engine has figures of its own")
def test_metrics_count_commits(server: MemoryServer) -> None:
    for _ in range(3):
        add(server)
    claim(server)
    seen = _samples(server)
    assert seen[_key("jobengine_commits_total")] == 5
    assert seen[_key("jobengine_batch_records_sum")] == 5
    assert seen[_key("jobengine_sync_seconds_count")] >= 5
    assert seen[_key("jobengine_file_bytes")] == server.path.stat().st_size
    assert _key("jobengine_compactions_total", outcome="done") in seen
    assert seen[_key("jobengine_durability_info", mode="commit")] == 1
    assert seen[_key("jobengine_last_compaction_timestamp_seconds")] == 0
    assert {_key("jobengine_live_bytes"), _key("jobengine_record_bytes_total")} <= set(seen)


def test_metrics_have_the_version_and_the_resources_of_the_process(server: MemoryServer) -> None:
    seen = _samples(server)
    assert seen[_key("jobengine_build_info", version=__version__, python=platform.python_version())] == 1
    for name in ("cpu_seconds_total", "resident_memory_bytes", "open_fds", "max_fds", "start_time_seconds"):
        assert seen[_key(f"process_{name}")] > 0


def test_metrics_have_the_number_of_open_connections(server: MemoryServer) -> None:
    before = _samples(server)[_key("jobengine_connections")]
    connections = [Connection(server) for _ in range(3)]
    assert _samples(server)[_key("jobengine_connections")] == before + 3
    connections[0].go()
    assert _samples(server)[_key("jobengine_connections")] == before + 2


def test_metrics_count_the_outcomes_of_jobs_by_queue(server: MemoryServer) -> None:
    add(server)
    add(server, max_attempts=2, timeout_seconds=10)
    for outcome in ("complete", None):
        uid = claim(server).json["uid"]
        if outcome:
            update(server, uid, outcome)
    server.clock.advance(11)
    assert _samples(server)[_key("jobengine_jobs_retrying", queue="q")] == 1
    claim(server)
    assert _samples(server)[_key("jobengine_jobs_retrying", queue="q")] == 0
    server.clock.advance(11)
    add(server)
    server.clock.advance(5)
    seen = _samples(server)
    counted = {what: seen[_key(f"jobengine_jobs_{what}_total", queue="q")] for what in _COUNTED}
    assert seen[_key("jobengine_oldest_ready_seconds", queue="q")] == 5
    assert counted == {"added": 3, "claimed": 3, "complete": 1, "failed": 1, "cancelled": 0, "timed_out": 2}


def test_metrics_count_failed_attempts_and_cancelled_jobs(server: MemoryServer) -> None:
    add(server, max_attempts=2)
    for _ in range(2):
        update(server, claim(server).json["uid"], "failed")
    server.call("POST", "/api/v1/job", body={"queue_name": "q", "uid": add(server)["uid"], "cancel": True})
    seen = _samples(server)
    assert seen[_key("jobengine_attempts_failed_total", queue="q")] == 2
    assert seen[_key("jobengine_jobs_failed_total", queue="q")] == 1
    assert seen[_key("jobengine_jobs_cancelled_total", queue="q")] == 1


def test_metrics_have_histograms_of_wait_and_run_times_for_queues_that_were_used(server: MemoryServer) -> None:
    make_queue(server, "unused")
    add(server)
    server.clock.advance(0.07)
    uid = claim(server).json["uid"]
    server.clock.advance(400)
    update(server, uid, "complete")
    seen = _samples(server)
    for name, seconds in (("jobengine_job_wait_seconds", 0.07), ("jobengine_job_run_seconds", 400)):
        counts = {bound: seen[_key(f"{name}_bucket", queue="q", le=bound)] for bound in ("0.05", "0.1", "300", "+Inf")}
        assert counts == {bound: float(float(bound) >= seconds) for bound in counts}
        assert (seen[_key(f"{name}_count", queue="q")], seen[_key(f"{name}_sum", queue="q")]) == (1, seconds)
        assert _key(f"{name}_count", queue="unused") not in seen


def _group(seen: dict[tuple[str, frozenset[tuple[str, str]]], float], group: str) -> dict[str, float]:
    """The counts of a group of the queue q, by state."""
    states = ("ready", "held", "delayed", "inprogress")
    return {state: seen[_key("jobengine_group_jobs", queue="q", group=group, state=state)] for state in states}


def test_metrics_count_held_jobs_and_the_jobs_of_groups(server: MemoryServer) -> None:
    make_queue(server, "plain")
    server.call("POST", "/api/v1/queue", body={"name": "q", "group_limits": {"in_progress": 1}})
    for _ in range(3):
        add(server, group='a "b"')
    add(server, group='a "b"', delay_seconds=60)
    add(server, group="c")
    claim(server)
    seen = _samples(server)
    assert _group(seen, 'a "b"') == {"ready": 0, "held": 2, "delayed": 1, "inprogress": 1}
    assert _group(seen, "c") == {"ready": 1, "held": 0, "delayed": 0, "inprogress": 0}
    held = {queue: seen[_key("jobengine_jobs_held", queue=queue)] for queue in ("q", "plain")}
    assert held == {"q": 2, "plain": 0}
    assert seen[_key("jobengine_oldest_ready_seconds", queue="q")] == 0


def test_metrics_count_failure_groups_and_new_failure_groups(server: MemoryServer) -> None:
    make_queue(server, "plain")
    for kind in ("a", "b", "b"):
        change(server, add(server)["uid"], new_status="failed", error=kind)
    names = ("jobengine_failure_groups", "jobengine_failure_groups_new")
    seen = _samples(server)
    assert [seen[_key(name, queue="q")] for name in names] == [2, 2]
    assert _key(names[0], queue="plain") not in seen
    server.clock.advance(900)
    change(server, add(server)["uid"], new_status="failed", error="c")
    seen = _samples(server)
    assert [seen[_key(name, queue="q")] for name in names] == [3, 1]


def test_the_age_of_the_oldest_ready_job_is_0_if_all_jobs_of_the_queue_are_held(server: MemoryServer) -> None:
    for _ in range(2):
        add(server, group="a")
    server.clock.advance(5)
    assert _samples(server)[_key("jobengine_oldest_ready_seconds", queue="q")] == 5
    server.call("PUT", "/api/v1/group", body={"queue_name": "q", "group": "a", "paused": True})
    assert _samples(server)[_key("jobengine_oldest_ready_seconds", queue="q")] == 0


def test_metrics_show_at_most_a_hundred_groups_of_each_queue_and_query_no_queue_without_groups(
    start: Callable[..., MemoryServer],
) -> None:
    asked: list[Any] = []
    server = start(door=lambda engine: Counting(engine, asked))
    make_queue(server, "plain")
    jobs = [{"content": {}, "group": f"group {number}"} for number in range(101)]
    for some in (jobs, jobs[1:]):
        server.call("PUT", "/api/v1/jobs", body={"queue_name": "q", "jobs": some})
    groups = {dict(labels)["group"] for name, labels in _samples(server) if name == "jobengine_group_jobs"}
    assert groups == {f"group {number}" for number in range(1, 101)}
    assert [command.queue for command in asked if isinstance(command, ListGroups)] == ["q"]


def test_metrics_show_at_most_ten_thousand_groups_of_all_queues_together(start: Callable[..., MemoryServer]) -> None:
    asked: list[Any] = []
    server = start(door=lambda engine: Counting(engine, asked))
    for number in range(125):
        make_queue(server, f"queue {number}")
        server.call("POST", "/api/v1/queue", body={"name": f"queue {number}", "group_limits": {"in_progress": 1}})
    _samples(server)
    limits = [command.limit for command in asked if isinstance(command, ListGroups)]
    assert limits == [80] * 125


class _Slow(Counting):
    """An engine that takes three seconds for a list of groups."""

    advance: Callable[[float], None]

    async def ask(self, command: Any) -> Any:
        if isinstance(command, ListGroups):
            self.advance(3)
        return await super().ask(command)


def test_metrics_omit_groups_if_reading_the_groups_takes_too_long(start: Callable[..., MemoryServer]) -> None:
    engines: list[_Slow] = []

    def slow(engine: Any) -> _Slow:
        engines.append(_Slow(engine, []))
        return engines[0]

    server = start(door=slow)
    engines[0].advance = server.clock.advance
    for name in ("a", "b", "c"):
        make_queue(server, name)
        server.call("POST", "/api/v1/queue", body={"name": name, "group_limits": {"in_progress": 1}})
        server.call("PUT", "/api/v1/group", body={"queue_name": name, "group": "g", "weight": 2})
    seen = _samples(server)
    assert {dict(labels)["queue"] for name, labels in seen if name == "jobengine_group_jobs"} == {"a", "b"}
    assert _key("jobengine_jobs_held", queue="c") in seen


def test_only_queues_with_a_target_have_a_metric_of_the_wanted_number_of_workers(server: MemoryServer) -> None:
    make_queue(server, "plain")
    server.call("POST", "/api/v1/queue", body={"name": "q", "target_wait_seconds": 10})
    for _ in range(5):
        add(server)
    uid = claim(server).json["uid"]
    server.clock.advance(20)
    update(server, uid, "complete")
    seen = _samples(server)
    assert seen[_key("jobengine_workers_wanted", queue="q")] == 4
    assert _key("jobengine_workers_wanted", queue="plain") not in seen


def test_only_queues_with_max_jobs_have_a_metric_of_this_limit(server: MemoryServer) -> None:
    make_queue(server, "plain")
    server.call("POST", "/api/v1/queue", body={"name": "q", "max_jobs": 7})
    limits = {labels: value for (name, labels), value in _samples(server).items() if name == "jobengine_queue_max_jobs"}
    assert limits == {_key("", queue="q")[1]: 7}


def test_metrics_count_each_kind_of_waiting_request_separately(server: MemoryServer) -> None:
    answers = waiting(server)
    uid = add(server)["uid"]
    assert answers[0].status == 200
    watching = server.ask("GET", "/api/v1/events", query={"queueName": "q"})
    pending = server.ask("GET", "/api/v1/job", query={"queueName": "q", "jobUID": uid, "wait": "30"})
    waiting(server)
    server.pump()
    seen = _samples(server)
    assert {on: seen[_key("jobengine_waiters", on=on)] for on in ("job", "end", "events")} == {
        "job": 1,
        "end": 1,
        "events": 1,
    }
    labels = {"method": "POST", "route": "/api/v1/job/next"}
    assert seen[_key("jobengine_waiting_request_seconds_count", **labels)] == 1
    assert _key("jobengine_request_seconds_count", **labels) not in seen
    for bound in ("0.0005", "30.0", "60.0", "+Inf"):
        assert _key("jobengine_waiting_request_seconds_bucket", le=bound, **labels) in seen
    for deferred in (watching, pending):
        deferred.addErrback(lambda _: None)


def test_the_samples_of_a_metric_are_adjacent_below_one_type_line(server: MemoryServer) -> None:
    for name in ("a", "b"):
        make_queue(server, name)
    lines = server.call("GET", "/metrics").body.decode().splitlines()
    heads = [line.split(" ")[2] for line in lines if line.startswith("# TYPE")]
    assert len(heads) == len(set(heads))
    samples = [re.sub(r"[{ ].*", "", line) for line in lines if not line.startswith("#")]
    assert len([name for name, _ in groupby(samples)]) >= len(set(samples))
    of_queues = [name for name in samples if name.startswith("jobengine_jobs")]
    assert len(list(groupby(of_queues))) == len(set(of_queues))


def test_metrics_read_many_queues_page_by_page(start: Callable[..., MemoryServer]) -> None:
    asked: list[Any] = []
    server = start(door=lambda engine: Counting(engine, asked))
    for number in range(2 * CountQueues().limit):
        make_queue(server, f"queue {number}")
    seen = _samples(server)
    assert len([name for name, _ in seen if name == "jobengine_jobs_added_total"]) == 2 * CountQueues().limit + 1
    pages = [command for command in asked if isinstance(command, CountQueues)]
    assert len(pages) == 4
    assert {command.limit for command in pages} == {CountQueues().limit}


def test_text_in_requests_does_not_become_a_metric_label(server: MemoryServer) -> None:
    _samples(server)
    counts = []
    for number in range(50):
        server.call("GET", f"/made/up/{number}")
        server.call(f"MADEUP{number}", "/test")
        server.call("GET", f"/api/v1/job?queueName={number}&jobUID={number}", key=f"{number}")
        Connection(server).send(b"nonsense %d\r\n" % number)
        counts.append(len(_samples(server)))
    seen = _samples(server)
    assert counts[0] == counts[-1]
    assert seen[_key("jobengine_requests_total", method="", route="", status="404")] == 50
    assert seen[_key("jobengine_requests_total", method="", route="/test", status="405")] == 50
    assert seen[_key("jobengine_requests_total", method="", route="", status="400")] == 50
    assert "/made/up" not in str(seen)
    assert "MADEUP" not in str(seen)


def test_a_queue_of_any_name_can_be_a_metric_label(server: MemoryServer) -> None:
    name = 'a "b" \\ \n c=d,{e}'
    server.call("PUT", "/api/v1/queue", body={"name": name, "access_key": "k"}, key=None)
    assert _samples(server)[_key("jobengine_jobs", queue=name, state="queued")] == 0


def _with(server: MemoryServer, headers: dict[str, Any], path: str = "/metrics") -> Answer:
    return server.call("GET", path, key=None, headers=headers)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": "Bearer admin"}, 200),
        ({"Authorization": "bearer  admin"}, 200),
        ({"Authorization": "Basic of-a-proxy", "X-Admin-Key": "admin"}, 200),
        ({"Authorization": "Bearer"}, 400),
        ({"Authorization": ["Bearer admin", "Bearer admin"]}, 400),
        ({"Authorization": "Bearer admin", "X-Admin-Key": "admin"}, 400),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Bearer adm"}, 401),
        ({"Authorization": "Basic admin"}, 401),
    ],
)
def test_the_metrics_call_accepts_the_admin_key_as_bearer_token(
    guarded: MemoryServer, headers: dict[str, Any], status: int
) -> None:
    answer = _with(guarded, headers)
    assert (answer.status, b"jobengine_" in answer.body) == (status, status == 200)


def test_a_wrong_bearer_token_for_metrics_is_refused_and_counts_towards_the_throttle(guarded: MemoryServer) -> None:
    answers = [_with(guarded, {"Authorization": "Bearer wrong"}) for _ in range(11)]
    assert answers[0].headers["WWW-Authenticate"] == 'X-Admin-Key realm="server", Bearer realm="server"'
    assert [answer.status for answer in answers] == [401] * 10 + [429]
    assert _with(guarded, {"Authorization": "Bearer admin"}).status == 200


def test_only_the_metrics_call_accepts_the_admin_key_as_bearer_token(guarded: MemoryServer) -> None:
    for path in ("/api/v1/queues", "/api/v1/backup", "/api/v1/queue?name=q"):
        assert _with(guarded, {"Authorization": "Bearer admin"}, path).status == 401


def test_the_metrics_call_of_a_server_without_an_admin_key_ignores_bearer_tokens(server: MemoryServer) -> None:
    assert _with(server, {"Authorization": "Bearer"}).status == 200
