"""The access log has one line for each request, and no secrets."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import LogEvent, Logger, LogLevel, eventAsText, formatEventAsClassicLogText
from twisted.python.syslog import SyslogObserver

from jobengine.core.commands import AddJobs, CheckKey
from jobengine.core.errors import DomainError
from jobengine.daemon.logs import json_lines, observer, text_lines
from jobengine.http.access_log import Line, Lines, Recorder
from tests.doubles import Counting, MemoryServer, Wrapping
from tests.http.connection import Connection, request
from tests.web.asking import add, claim, hold, listed, take, update

KEY, WRONG, ADMIN, CONTENT = "key-5d21", "wrong-81c4", "admin-77aa", "content-e0f3"
SECRETS = (KEY, WRONG, ADMIN, CONTENT)
_EVENT = {"log_namespace": "jobengine.web", "log_level": LogLevel.info, "log_time": 0.0}


def _lines(events: list[LogEvent]) -> list[Line]:
    """The lines of the answered requests."""
    return [line for event in events if "requests" in event for line in event["requests"].each]


def _in_json(events: list[LogEvent]) -> list[Any]:
    """The log as JSON."""
    return [json.loads(line) for event in events for line in json_lines(event).splitlines()]


def test_every_request_is_logged_in_one_line_with_the_request_id_of_its_answer(
    server: MemoryServer, events: list[LogEvent]
) -> None:
    answers = [
        server.call("GET", "/test"),
        server.call("PUT", "/api/v1/job", body={"queue_name": "q", "job": {"content": {}}}),
        server.call("GET", "/api/v1/queue", query={"name": "none"}),
        server.call("PATCH", "/none"),
    ]
    lines = _lines(events)
    assert [line.id for line in lines] == [answer.headers["X-Request-Id"] for answer in answers]
    assert [line.status for line in lines] == [200, 201, 404, 404]
    assert [(line.method, line.path) for line in lines][2:] == [("GET", "/api/v1/queue"), ("PATCH", "/none")]
    assert len({line.id for line in lines}) == 4
    for line in lines:
        assert "\n" not in str(line)
        assert line.id in str(line)


def test_a_log_line_has_the_queue_the_job_and_the_id_of_the_key(
    start: Callable[..., MemoryServer], events: list[LogEvent]
) -> None:
    server = start(admin_key=b"admin")
    body = {"queue_name": "q", "role": "worker", "access_key": "w"}
    key = server.call("PUT", "/api/v1/queue/key", body=body).json
    uid = add(server)["uid"]
    before = len(_lines(events))
    hold(server, key="w")
    update(server, uid, "complete")
    server.call("PUT", "/api/v1/jobs", body={"queue_name": "q", "jobs": [{"content": {}}] * 3}, key="wrong")
    server.call("PUT", "/api/v1/jobs", body={"queue_name": "q", "jobs": [{"content": {}}] * 3}, key="w")
    server.call("PUT", "/api/v1/jobs", body={"queue_name": "q", "jobs": [{"content": {}}] * 3})
    take(server, count=2)
    server.call("DELETE", "/api/v1/jobs?queueName=q&all=true", key=None, headers={"X-Admin-Key": "admin"})
    server.call("GET", "/api/v1/queue/stats?name=none")
    server.call("GET", f"/api/v1/job?queueName=q&jobUID={uid[:-1]}x")
    server.call("GET", "/test")
    owner = {"queue": "q", "role": "owner"}
    worker = {"queue": "q", "role": "worker", "key": key["id"]}
    assert [line.notes for line in _lines(events)[before:]] == [
        *[{**worker, "uid": uid}, {**owner, "uid": uid}, {"queue": "q", "jobs": 3}, {**worker, "jobs": 3}],
        *[{**owner, "jobs": 3}, {**owner, "jobs": 2}, {"queue": "q", "role": "admin", "jobs": 4}, {}, owner, {}],
    ]


def test_the_role_admin_is_logged_for_calls_that_only_the_admin_key_opens(
    start: Callable[..., MemoryServer], events: list[LogEvent]
) -> None:
    server = start(admin_key=ADMIN.encode())
    calls: list[dict[str, Any]] = [
        {"method": "PUT", "path": "/api/v1/queue", "body": {"name": "new", "access_key": KEY}},
        *[
            {"method": "GET", "path": path}
            for path in ("/api/v1/queues", "/api/v1/access", "/metrics", "/api/v1/backup")
        ],
    ]
    before = len(_lines(events))
    for key in (ADMIN, WRONG):
        for call in calls:
            server.call(**call, key=None, headers={"X-Admin-Key": key})
        server.call("GET", "/metrics", key=None, headers={"Authorization": f"Bearer {key}"})
    role = {"role": "admin"}
    assert [line.notes for line in _lines(events)[before:]] == [{"queue": "new", **role}, *[role] * 5, *[{}] * 6]


def test_the_trace_of_a_job_is_logged_when_it_is_added_and_when_it_is_claimed(
    server: MemoryServer, events: list[LogEvent]
) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    body = {"queue_name": "q", "job": {"content": {}}}
    uid = server.call("PUT", "/api/v1/job", body=body, headers={"traceparent": trace}).json["uid"]
    hold(server)
    add(server)
    expected = {"queue": "q", "role": "owner", "uid": uid, "traceparent": trace}
    added, claimed, untraced = _lines(events)[-3:]
    assert (added.notes, claimed.notes) == ({**expected, "jobs": 1}, expected)
    assert f"traceparent={trace}" in str(claimed)
    assert "traceparent" not in untraced.notes


def test_the_identity_of_a_key_is_looked_up_once_and_cached_for_ten_seconds(
    start: Callable[..., MemoryServer], events: list[LogEvent]
) -> None:
    asked: list[Any] = []
    server = start(door=lambda engine: Counting(engine, asked))
    key = server.call("PUT", "/api/v1/queue/key", body={"queue_name": "q", "role": "viewer", "access_key": "v"}).json
    for seconds in (0, 0, 6, 6):
        server.clock.advance(seconds)
        server.call("GET", "/api/v1/queue/stats?name=q", key="v")
    assert sum(isinstance(command, CheckKey) and command.access_key == b"v" for command in asked) == 2
    server.call("DELETE", f"/api/v1/queue/key?name=q&keyID={key['id']}")
    server.clock.advance(11)
    assert server.call("GET", "/api/v1/queue/stats?name=q", key="v").status == 401
    assert _lines(events)[-1].notes == {"queue": "q"}


def test_a_wrong_key_is_logged_with_its_address_and_with_the_queue_if_that_exists(
    server: MemoryServer, events: list[LogEvent]
) -> None:
    before = len(_lines(events))
    for name in ("q", "none"):
        bodies = {"PUT": {"queue_name": name, "jobs": [{"content": {}}]}, "POST": {"queue_name": name, "updates": []}}
        for method, body in bodies.items():
            server.call(method, f"/api/v1/jobs?queueName={name}", body=body, key=WRONG)
        server.call("GET", f"/api/v1/queue/stats?name={name}", key=WRONG)
    lines = _lines(events)[before:]
    assert [(line.status, line.notes.get("queue")) for line in lines] == [(401, "q")] * 3 + [(404, None)] * 3
    assert all(line.address != "-" and WRONG not in str(line) for line in lines)


def test_a_wrong_key_sent_with_a_long_body_is_logged_with_the_queue(
    server: MemoryServer, events: list[LogEvent]
) -> None:
    head = request("PUT", "/api/v1/jobs?queueName=q", f"X-Access-Key: {WRONG}", f"Content-Length: {2 << 20}")
    Connection(server).send(head)
    server.clock.advance(0)
    line = _lines(events)[-1]
    assert (line.status, line.path, line.notes) == (401, "/api/v1/jobs", {"refused": "Unauthorized", "queue": "q"})


@pytest.mark.slow
def test_a_dry_run_is_marked_in_its_log_line(server: MemoryServer, events: list[LogEvent]) -> None:
    add(server)
    for dry in ("true", "false"):
        assert server.call("DELETE", f"/api/v1/jobs?queueName=q&all=true&dry_run={dry}").json == {"matched": 1}
    assert [line.notes.get("dry_run") for line in _lines(events)[-2:]] == ["true", None]


def test_a_streamed_list_is_logged_in_one_line(server: MemoryServer, events: list[LogEvent]) -> None:
    for _ in range(600):
        add(server)
    before = len(_lines(events))
    assert listed(server)["size"] == 600
    assert len(_lines(events)) == before + 1


@pytest.mark.parametrize(
    ("data", "status", "what"),
    [
        (b"nonsense\r\n", 400, "- -"),
        (b"GET /" + b"x" * 9000, 431, "- -"),
        (request("PUT", "/test?key=k", "Content-Length: 9999999"), 413, "PUT /test"),
    ],
)
def test_a_request_refused_before_it_was_complete_is_logged(
    server: MemoryServer, events: list[LogEvent], data: bytes, status: int, what: str
) -> None:
    before = len(_lines(events))
    refused = Connection(server).send(data)
    (line,) = _lines(events)[before:]
    assert (line.status, line.address) == (status, refused.transport.getPeer().host)
    assert f" {what} {status} 0.0ms refused=" in str(line)


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [("/api/v1/job/next", "queueName=q&markQueued=true&wait=30", 499), ("/api/v1/events", "queueName=q", 200)],
    ids=["claim", "events"],
)
def test_a_client_that_leaves_a_waiting_claim_or_an_event_stream_is_logged(
    server: MemoryServer, events: list[LogEvent], path: str, query: str, status: int
) -> None:
    waiting = Connection(server).send(request("GET", f"{path}?{query}", "X-Access-Key: key"))
    before = len(_lines(events))
    waiting.go()
    (line,) = _lines(events)[before:]
    assert (line.status, line.path, line.notes["end"]) == (status, path, "client gone")


def test_a_request_incomplete_when_its_client_disconnects_is_not_logged(
    server: MemoryServer, events: list[LogEvent]
) -> None:
    half = Connection(server)
    half.send(b"PUT /api/v1/job HTTP/1.1\r\nContent-Length: 10\r\n\r\n12345")
    before = len(_lines(events))
    half.go()
    assert len(_lines(events)) == before


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


def test_neither_log_format_has_a_key_or_content(start: Callable[..., MemoryServer], events: list[LogEvent]) -> None:
    server = start(admin_key=ADMIN.encode())
    _all_kinds_of_requests(server)
    server.restart()
    assert len(_lines(events)) > 15
    for event in events:
        for secret in SECRETS:
            assert secret not in eventAsText(event)
            assert secret not in json_lines(event)
            assert secret not in str(text_lines(event))


class _Failing(Wrapping):
    """An engine with a bug: adding jobs raises an exception."""

    async def ask(self, command: Any) -> Any:
        if not isinstance(command, AddJobs):
            return await self._engine.ask(command)
        return self._compute(command)

    def _compute(self, command: Any) -> None:
        raise RuntimeError(f"a mistake with {command!r}")


def test_the_log_of_an_incident_has_no_key_and_no_content(
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
            assert secret not in json_lines(event)


def test_every_event_and_every_request_is_one_line_of_json(server: MemoryServer, events: list[LogEvent]) -> None:
    uid = add(server)["uid"]
    claim(server)
    update(server, uid, "complete")
    server.call("GET", "/api/v1/\u00fc%0a%22x")
    server.restart()
    for line in _in_json(events):
        assert {"time", "level", "logger", "message"} <= set(line)
    requests = [line for line in _in_json(events) if "method" in line]
    assert len(requests) == len(_lines(events)) == 4
    first = requests[0]
    assert (first["method"], first["path"], first["status"]) == ("PUT", "/api/v1/job", 201)
    assert (first["id"], first["ms"]) == (_lines(events)[0].id, round(_lines(events)[0].ms, 3))
    assert (first["level"], first["logger"]) == ("info", "jobengine.web")


def test_an_error_logged_as_json_has_a_traceback(start: Callable[..., MemoryServer], events: list[LogEvent]) -> None:
    server = start(door=_Failing)
    server.call("PUT", "/api/v1/job", body={"queue_name": "q", "job": {"content": {}}})
    (incident,) = [event for event in events if "log_failure" in event]
    line = json.loads(json_lines(incident))
    assert line["level"] == "critical"
    assert "RuntimeError" in line["traceback"]
    assert line["id"] in line["message"]


def test_a_log_event_with_unusual_values_becomes_one_line_of_json() -> None:
    event: LogEvent = {
        "log_time": 1_800_000_000.5,
        "log_level": LogLevel.warn,
        "log_namespace": "x",
        "log_format": "{thing} \ud800\n",
        "thing": DomainError("a\nb"),
        "status": object(),
        "body": "never",
    }
    text = json_lines(event)
    assert text.count("\n") == 1
    line = json.loads(text)
    assert line["time"] == "2027-01-15T08:00:00.500+00:00"
    assert "never" not in text


def _line(number: int = 0, **more: Any) -> Line:
    usual: dict[str, Any] = {
        "id": str(number),
        "address": "192.0.2.1",
        "sent_method": b"GET",
        "sent_path": b"/\xfc",
        "status": 200,
        "ms": 12.34,
        "time": 1_800_000_000.5,
        "notes": {},
    }
    return Line(**{**usual, **more})


def _recorder(clock: Clock, answered: int) -> Recorder:
    """A recorder with this many requests, whose ids are numbers."""
    recorder = Recorder(clock)
    for number in range(answered):
        recorder.add(_line(number))
    return recorder


def test_a_log_line_has_the_client_the_request_and_its_outcome_with_quotes_only_where_needed() -> None:
    line = _line(7, sent_path=b"/x", notes={"queue": "mail", "jobs": 3, "end": "client gone"})
    assert str(line) == '7 192.0.2.1 GET /x 200 12.3ms queue=mail jobs=3 end="client gone"'


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("a b=c", '"a b=c"'),
        ("a=c", '"a=c"'),
        ('"', '"\\""'),
        ("\\", '"\\\\"'),
        ("a\nb\x1b[0m\x7f", '"a\\nb\\u001b[0m\\u007f"'),
        ("\u00fc\u2028", '"\\u00fc\\u2028"'),
        ("x" * 100_000, f'"{"x" * 100}..."'),
    ],
)
def test_client_text_in_the_log_is_escaped_and_cut_so_that_it_forges_no_fields_or_lines(told: str, shown: str) -> None:
    line = _line(notes={"queue": told, "jobs": 3})
    assert str(line).endswith(f" queue={shown} jobs=3")
    assert len(json_lines({**_EVENT, "requests": Lines([line])})) < 500


@given(st.binary(max_size=300), st.binary(max_size=300), st.dictionaries(st.just("queue"), st.text(), max_size=1))
def test_a_log_line_of_any_request_is_short_printable_and_has_a_fixed_number_of_words(
    method: bytes, path: bytes, notes: dict[str, str]
) -> None:
    line = _line(sent_method=method, sent_path=path, notes=notes)
    assert str(line).isascii()
    assert str(line).isprintable()
    assert len(str(line)) < 1800
    assert len(re.sub(r'"(\\.|[^"])*"', "", str(line)).split(" ")) == 6 + len(notes)
    assert json.loads(json_lines({**_EVENT, "requests": Lines([line])}))["status"] == 200


def test_a_json_log_line_has_time_and_message_and_every_field_of_the_request() -> None:
    line = _line(7, notes={"queue": "mail", "jobs": 3})
    assert json.loads(json_lines({**_EVENT, "requests": Lines([line])})) == {
        "time": "2027-01-15T08:00:00.500+00:00",
        "level": "info",
        "logger": "jobengine.web",
        "message": "GET /\\xfc 200",
        "id": "7",
        "address": "192.0.2.1",
        "method": "GET",
        "path": "/\\xfc",
        "status": 200,
        "ms": 12.34,
        "queue": "mail",
        "jobs": 3,
    }


@pytest.mark.parametrize(("least", "logged"), [(0, [200, 399, 400, 503]), (400, [400, 503]), (1000, [])])
def test_requests_with_a_status_below_the_configured_status_are_not_logged(
    events: list[LogEvent], least: int, logged: list[int]
) -> None:
    clock = Clock()
    recorder = Recorder(clock, least)
    for status in (200, 399, 400, 503):
        recorder.add(_line(status=status))
    clock.advance(0)
    assert [line.status for line in _lines(events)] == logged


def test_requests_of_one_reactor_turn_are_logged_together_as_one_event(events: list[LogEvent]) -> None:
    clock = Clock()
    recorder = _recorder(clock, 3)
    assert events == []
    clock.advance(0)
    assert [[line.id for line in event["requests"].each] for event in events] == [["0", "1", "2"]]
    assert clock.getDelayedCalls() == []
    recorder.add(_line(3))
    clock.advance(0)
    assert [line.id for line in events[1]["requests"].each] == ["3"]


def test_requests_logged_together_are_written_as_twistd_writes_single_events(events: list[LogEvent]) -> None:
    clock = Clock()
    _recorder(clock, 2)
    clock.advance(0)
    (event,) = events
    alone = [{**event, "log_format": "{line}", "line": line, "log_time": line.time} for line in _lines(events)]
    assert text_lines(event) == "".join([str(formatEventAsClassicLogText(one)) for one in alone])
    assert "0 192.0.2.1 GET /\\xfc 200 12.3ms\n" in str(text_lines(event))


def test_each_request_is_a_separate_syslog_record(events: list[LogEvent], monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    opened: list[str] = []
    monkeypatch.setattr(SyslogObserver, "openlog", lambda _, name, *more: opened.append(name))
    monkeypatch.setattr(SyslogObserver, "syslog", lambda _, priority, text: written.append(text))
    clock = Clock()
    _recorder(clock, 2)
    clock.advance(0)
    Logger(namespace="x").info("something else")
    observe = observer({"syslog": True, "prefix": "jobs"}, "text", 1000, 1)()
    for event in events:
        observe(event)
    assert opened == ["jobs"]
    assert [text.partition("] ")[2] for text in written] == [
        "0 192.0.2.1 GET /\\xfc 200 12.3ms",
        "1 192.0.2.1 GET /\\xfc 200 12.3ms",
        "something else",
    ]


def test_a_log_observer_of_another_program_gets_request_lines_as_text(events: list[LogEvent]) -> None:
    clock = Clock()
    _recorder(clock, 2)
    clock.advance(0)
    text = eventAsText(events[0])
    assert "0 192.0.2.1 GET /\\xfc 200 12.3ms\n1 192.0.2.1 " in text
