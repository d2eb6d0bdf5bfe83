"""The stream of events: its content, where it begins, and when it ends."""

import json
from typing import Any

import pytest
from twisted.logger import LogEvent

from tests.doubles import MemoryServer
from tests.web.asking import add, set_up, update, waiters
from tests.web.watching import Watcher


def test_an_event_has_an_id_a_kind_and_a_time(server: MemoryServer) -> None:
    watcher = Watcher(server)
    server.clock.advance(0.25)
    uid = add(server)["uid"]
    (event,) = watcher.events
    assert set(event) == {"id", "event", "data"}
    assert event["event"] == "job"
    assert json.loads(event["data"])["at"] == server.clock.seconds()
    update(server, uid, "failed")
    assert watcher.changes == [(uid, None, "queued"), (uid, "queued", "failed")]


def test_an_event_about_a_job_in_a_group_has_the_group(server: MemoryServer) -> None:
    watcher = Watcher(server)
    add(server, group="customer-7")
    add(server)
    fields = [json.loads(event["data"]) for event in watcher.events]
    assert [one.get("group") for one in fields] == ["customer-7", None]
    assert set(fields[0]) - set(fields[1]) == {"group"}


def test_a_stream_resumes_after_the_last_seen_event(server: MemoryServer) -> None:
    first = Watcher(server)
    uids = [add(server)["uid"] for _ in range(3)]
    first.connection.go()
    uids.append(add(server)["uid"])
    for seen in range(3):
        resumed = Watcher(server, f"Last-Event-ID: {first.events[seen]['id']}")
        assert [uid for uid, _, _ in resumed.changes] == uids[seen + 1 :]
    add(server)
    assert len(resumed.events) == 2
    ids = [event["id"] for event in first.events + resumed.events]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("last", ["x", "0-1", "1", "-", "\u00fc", "00000000-999999", "00000000-\u00b2"])
def test_a_stream_that_cannot_resume_starts_with_a_gone_event(server: MemoryServer, last: str) -> None:
    add(server)
    watcher = Watcher(server, f"Last-Event-ID: {last}")
    assert [event["event"] for event in watcher.events] == ["gone"]
    add(server)
    assert [event["event"] for event in watcher.events] == ["gone", "job"]


def _add_2000(server: MemoryServer) -> None:
    jobs: Any = [{"content": {}}] * 2000
    assert server.call("PUT", "/api/v1/jobs", body={"queue_name": "q", "jobs": jobs}).status == 201


def _change_all(server: MemoryServer, status: str) -> None:
    body = {"queue_name": "q", "all": True, "new_status": status}
    assert server.call("POST", "/api/v1/jobs", body=body).json == {"matched": 2000}


def test_a_slow_reader_is_dropped_and_other_readers_stay(server: MemoryServer) -> None:
    slow, quick = Watcher(server), Watcher(server)
    slow.connection.channel.pauseProducing()
    _add_2000(server)
    for _ in range(3):
        _change_all(server, "failed")
        _change_all(server, "queued")
    assert waiters(server, "events") == 1
    assert len(quick.events) == 14_000
    slow.connection.channel.resumeProducing()
    server.pump()
    assert (slow.ended, len(slow.events) < 14_000) == (True, True)


def test_a_watcher_that_pauses_briefly_gets_all_events_of_a_change_of_many_jobs(
    server: MemoryServer,
) -> None:
    watcher = Watcher(server)
    watcher.connection.channel.pauseProducing()
    _add_2000(server)
    for status in ("failed", "queued", "failed"):
        _change_all(server, status)
    watcher.connection.channel.resumeProducing()
    server.pump()
    assert len(watcher.events) == 8_000
    assert not watcher.ended


def test_a_client_that_reads_no_events_is_cut_off_and_no_error_is_logged(
    server: MemoryServer, events: list[LogEvent]
) -> None:
    watcher = Watcher(server)
    watcher.connection.channel.pauseProducing()
    add(server)
    server.clock.advance(31)
    server.pump()
    assert not watcher.connection.open
    assert waiters(server, "events") == 0
    assert [event for event in events if "log_failure" in event] == []


def test_a_stream_without_events_sends_comments_to_keep_the_connection_open(server: MemoryServer) -> None:
    watcher = Watcher(server)
    for _ in range(3):
        server.clock.advance(20)
        server.pump()
    began, start, *comments = watcher.text.split("\n\n")
    assert (began, start.startswith("id: "), comments) == (":", True, [":", ":", ":", ""])


def _timers(server: MemoryServer) -> int:
    """The number of timers, without the timer that drops events that nobody watches any more."""
    return len([call for call in server.clock.getDelayedCalls() if call.getTime() - server.clock.seconds() < 500])


def test_a_client_that_disconnects_leaves_no_watcher_and_no_timer(server: MemoryServer) -> None:
    # The change sets the timer that keeps the history.
    add(server)
    before = _timers(server)
    watcher, behind = Watcher(server), Watcher(server)
    behind.connection.channel.pauseProducing()
    add(server)
    for each in (watcher, behind):
        each.connection.go()
    assert waiters(server, "events") == 0
    server.clock.advance(1)
    assert _timers(server) == before
    assert add(server)["state"] == "queued"


def test_a_revoked_key_receives_no_further_events(server: MemoryServer) -> None:
    body = {"queue_name": "q", "role": "viewer", "access_key": "v"}
    key_id = server.call("PUT", "/api/v1/queue/key", body=body).json["id"]
    watcher, owner = Watcher(server, key="v"), Watcher(server)
    add(server)
    server.call("DELETE", "/api/v1/queue/key", query={"name": "q", "keyID": key_id})
    add(server)
    assert (len(watcher.events), len(owner.events)) == (1, 2)
    set_up(server, new_access_key="new")
    server.call("PUT", "/api/v1/job", body={"queue_name": "q", "job": {"content": {}}}, key="new")
    assert (watcher.ended, owner.ended, len(owner.events)) == (True, True, 2)


def test_a_head_request_for_events_is_answered_at_once(server: MemoryServer) -> None:
    answer = server.call("HEAD", "/api/v1/events", query={"queueName": "q"})
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/event-stream")
    assert waiters(server, "events") == 0


def test_errors_are_reported_before_the_stream_begins(server: MemoryServer) -> None:
    def ask(query: Any, key: str | None) -> int:
        return server.call("GET", "/api/v1/events", query=query, key=key).status

    assert [ask({}, "key"), ask({"queueName": "q"}, None)] == [400, 400]
    assert [ask({"queueName": "none"}, "wrong"), ask({"queueName": "q"}, "wrong")] == [404, 401]
