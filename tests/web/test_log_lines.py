"""The log: a line a request, and nothing in it that is secret."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, eventAsText
from twisted.python import threadable

from jobengine.core.errors import DomainError
from jobengine.logs import TurnByTurn, json_line
from jobengine.web.site import ACCESS_FORMAT
from tests.doubles import MemoryServer
from tests.web.asking import add, claim, listed, update
from tests.web.connection import Connection, request

KEY, WRONG, ADMIN, CONTENT = "key-5d21", "wrong-81c4", "admin-77aa", "content-e0f3"
SECRETS = (KEY, WRONG, ADMIN, CONTENT)


def _lines(events: list[LogEvent]) -> list[LogEvent]:
    """The lines of requests."""
    return [event for event in events if "status" in event]


def test_every_request_has_one_line_with_the_id_that_its_client_got(
    server: MemoryServer, events: list[LogEvent]
) -> None:
    answers = [
        server.call("GET", "/test"),
        server.call("PUT", "/api/v1/job", body={"queue_name": "q", "job": {"content": {}}}),
        server.call("GET", "/api/v1/queue", query={"name": "none"}),
        server.call("PATCH", "/none"),
    ]
    lines = _lines(events)
    assert [line["id"] for line in lines] == [answer.headers["X-Request-Id"] for answer in answers]
    assert [line["status"] for line in lines] == [200, 201, 404, 404]
    assert [(line["method"], line["path"]) for line in lines][2:] == [("GET", "/api/v1/queue"), ("PATCH", "/none")]
    assert len({line["id"] for line in lines}) == 4
    for line in lines:
        assert "\n" not in eventAsText(line)
        assert line["id"] in eventAsText(line)


def test_a_long_list_has_one_line_as_well(server: MemoryServer, events: list[LogEvent]) -> None:
    for _ in range(600):
        add(server)
    before = len(_lines(events))
    assert listed(server)["size"] == 600
    assert len(_lines(events)) == before + 1


@pytest.mark.parametrize(
    ("data", "status"),
    [(b"nonsense\r\n", 400), (b"GET /" + b"x" * 9000, 431), (request("PUT", "/test", "Content-Length: 9999999"), 413)],
)
def test_a_request_that_was_refused_before_it_was_whole_has_its_line(
    server: MemoryServer, events: list[LogEvent], data: bytes, status: int
) -> None:
    Connection(server).send(data)
    assert [line["status"] for line in _lines(events)] == [status]


def _all_kinds_of_requests(server: MemoryServer) -> None:
    made = server.call(
        "PUT", "/api/v1/queue", body={"name": "s", "access_key": KEY}, key=None, headers={"X-Admin-Key": ADMIN}
    )
    assert made.status == 201
    for key in (KEY, WRONG):
        job = {"queue_name": "s", "job": {"content": {CONTENT: CONTENT}}}
        server.call("PUT", "/api/v1/job", body=job, key=key)
        server.call("GET", "/api/v1/queue", query={"name": "s"}, key=key)
        server.call("GET", "/api/v1/job/next", query={"queueName": "s", "markQueued": "true"}, key=key)
        server.call("GET", f"/api/v1/job?queueName=s&jobUID={CONTENT}&key={KEY}", key=key)
        server.call("GET", f"/none?{CONTENT}", key=key)
    server.call("GET", "/metrics", headers={"X-Admin-Key": ADMIN})
    server.call("GET", "/metrics", headers={"X-Admin-Key": WRONG})
    server.call("PUT", "/api/v1/job", raw=b'{"queue_name": "s", "job": {"content": "%s"}}' % CONTENT.encode(), key=KEY)
    server.call("PUT", "/api/v1/job", raw=b"{%s" % CONTENT.encode(), key=KEY)
    server.call("PUT", "/api/v1/queue", body={"name": "t", "access_key": f"\n{KEY}"}, key=None)
    Connection(server).send(b"GET /test HTTP/1.1\r\nX-Access-Key: %s\r\n%s\r\n\r\n" % (KEY.encode(), CONTENT.encode()))
    Connection(server).send(f"{KEY} {CONTENT}\r\n".encode())


def test_no_key_and_no_content_is_in_the_log_in_either_form(
    start: Callable[..., MemoryServer], events: list[LogEvent]
) -> None:
    server = start(admin_key=ADMIN.encode())
    _all_kinds_of_requests(server)
    server.restart()
    assert len(_lines(events)) > 15
    for event in events:
        for secret in SECRETS:
            assert secret not in eventAsText(event)
            assert secret not in json_line(event)


class _Failing:
    """An engine with a mistake in it, somewhere below the command."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    async def add_jobs(self, command: Any) -> None:
        assert command.jobs
        self._compute(command)

    def _compute(self, command: Any) -> None:
        raise RuntimeError(f"a mistake with {command!r}")

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._engine, verb)


def test_no_key_and_no_content_is_in_the_log_of_an_incident(
    start: Callable[..., MemoryServer], events: list[LogEvent]
) -> None:
    server = start(door=_Failing)
    _all_kinds_of_requests(server)
    incidents = [event for event in events if "log_failure" in event]
    assert incidents
    for event in incidents:
        assert "a mistake" in eventAsText(event)
        for secret in SECRETS:
            assert secret not in eventAsText(event)
            assert secret not in json_line(event)


def test_every_event_is_one_line_of_json(server: MemoryServer, events: list[LogEvent]) -> None:
    uid = add(server)["uid"]
    claim(server)
    update(server, uid, "complete")
    server.call("GET", "/api/v1/\u00fc%0a%22x")
    server.restart()
    for event in events:
        text = json_line(event)
        assert text.endswith("\n")
        assert text.count("\n") == 1
        line = json.loads(text)
        assert {"time", "level", "logger", "message"} <= set(line)
    request_line = json.loads(json_line(_lines(events)[0]))
    assert request_line["method"] == "PUT"
    assert request_line["path"] == "/api/v1/job"
    assert request_line["status"] == 201
    assert request_line["id"] == _lines(events)[0]["id"]
    assert isinstance(request_line["ms"], float)
    assert request_line["level"] == "info"


def test_a_failure_in_json_has_its_traceback(start: Callable[..., MemoryServer], events: list[LogEvent]) -> None:
    server = start(door=_Failing)
    server.call("PUT", "/api/v1/job", body={"queue_name": "q", "job": {"content": {}}})
    (incident,) = [event for event in events if "log_failure" in event]
    line = json.loads(json_line(incident))
    assert line["level"] == "critical"
    assert "RuntimeError" in line["traceback"]
    assert line["id"] in line["message"]


def test_an_event_with_odd_things_in_it_is_still_a_line() -> None:
    event: LogEvent = {
        "log_time": 1_800_000_000.5,
        "log_level": LogLevel.warn,
        "log_namespace": "x",
        "log_format": "{thing} \ud800\n",
        "thing": DomainError("a\nb"),
        "status": object(),
        "body": "never",
    }
    text = json_line(event)
    assert text.count("\n") == 1
    line = json.loads(text)
    assert line["time"] == "2027-01-15T08:00:00.500+00:00"
    assert "never" not in text


class _File:
    """Keeps what is written, and in which pieces."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.flushed = 0

    def write(self, text: str) -> None:
        self.pieces.append(text)

    def flush(self) -> None:
        self.flushed = len(self.pieces)


def _request_event(number: int) -> LogEvent:
    return {"log_format": ACCESS_FORMAT, "log_time": 1_800_000_000.0, "id": number}


def _observer() -> tuple[TurnByTurn, _File, Clock]:
    file, clock = _File(), Clock()
    return TurnByTurn(file, lambda event: f"{event.get('id', 'other')}\n", clock), file, clock


def test_the_lines_of_requests_are_written_at_the_end_of_the_turn_all_at_once() -> None:
    observer, file, clock = _observer()
    for number in range(3):
        observer(_request_event(number))
    assert file.pieces == []
    clock.advance(0)
    assert (file.pieces, file.flushed) == (["0\n1\n2\n"], 1)
    assert clock.getDelayedCalls() == []
    observer(_request_event(3))
    clock.advance(0)
    assert (file.pieces[1:], file.flushed) == (["3\n"], 2)


def test_whatever_else_is_logged_is_written_at_once_behind_the_lines_before_it(monkeypatch: Any) -> None:
    monkeypatch.setattr(threadable, "ioThread", threadable.getThreadID())
    observer, file, clock = _observer()
    observer(_request_event(0))
    observer({"log_format": "x"})
    observer(_request_event(1))
    assert ("".join(file.pieces), file.flushed) == ("0\nother\n", 2)
    clock.advance(0)
    assert "".join(file.pieces) == "0\nother\n1\n"


def test_what_another_thread_logs_leaves_alone_the_lines_that_wait(monkeypatch: Any) -> None:
    monkeypatch.setattr(threadable, "ioThread", threadable.getThreadID() + 1)
    observer, file, clock = _observer()
    observer(_request_event(0))
    observer({"log_format": "x"})
    assert "".join(file.pieces) == "other\n"
    clock.advance(0)
    assert "".join(file.pieces) == "other\n0\n"
