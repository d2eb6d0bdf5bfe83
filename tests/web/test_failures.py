"""The answers when the engine fails or is unavailable, and readiness."""

from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.logger import LogEvent

from jobengine.engine.door import Busy, Figure, Full, OutcomeUnknown, Readiness, Starting, gauge
from jobengine.http.access_log import Line
from jobengine.http.request import JobRequest
from tests.doubles import MemoryServer
from tests.http.connection import Connection, request
from tests.web.test_calls import KEYED

CANARY = "canary-9f27"


class _Refusing:
    """An engine that answers every command with an error."""

    def __init__(self, error: Exception, readiness: Readiness | None = None) -> None:
        self._error = error
        self._readiness = readiness

    async def check_storage(self) -> None:
        pass

    async def readiness(self) -> Readiness:
        assert self._readiness is not None
        return self._readiness

    def __getattr__(self, verb: str) -> Any:
        async def refuse(_command: Any = None) -> None:
            raise self._error

        return refuse


class _Silent(_Refusing):
    """An engine whose database does not answer."""

    def __init__(self) -> None:
        super().__init__(Busy("the database can't be reached"))

    async def ask(self, _command: Any) -> None:
        await Deferred()

    async def figures(self) -> list[Figure]:
        return []


class _Away(_Refusing):
    """An engine that can't reach its database, and reports this at once."""

    async def figures(self) -> list[Figure]:
        return [gauge("accepts_changes", "", 0)]


@frozen
class _Opened:
    """Replaces the engine once its queue exists."""

    engine: Any
    others: list[Any]

    def __getattr__(self, verb: str) -> Any:
        return getattr(self.others[-1] if self.others else self.engine, verb)


@pytest.fixture
def broken(start: Callable[..., MemoryServer]) -> Callable[[Any], MemoryServer]:
    """A server whose engine is replaced after its queue was made."""

    def broken(engine: Any) -> MemoryServer:
        others: list[Any] = []
        server = start(door=lambda real: _Opened(real, others))
        others.append(engine)
        return server

    return broken


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (Full("no room"), 507, "5"),
        (Busy("too much waits"), 503, "1"),
        (OutcomeUnknown("storage has failed"), 503, "5"),
        (Starting("recovering, 43 %"), 503, "1"),
    ],
)
@pytest.mark.parametrize(("method", "path", "query", "body"), KEYED)
def test_an_error_of_the_engine_is_answered_with_its_reason_and_a_retry_after_header(
    broken: Any, error: Exception, status: int, retry_after: str, method: str, path: str, query: Any, body: Any
) -> None:
    if status == 507 and method == "GET" and not path.endswith("next"):
        return  # A read never meets a full disk.
    answer = broken(_Refusing(error)).call(method, path, query=query, body=body)
    assert (answer.status, answer.headers["Retry-After"]) == (status, retry_after)
    assert answer.json["detail"] == str(error)


@pytest.mark.parametrize("error", [Starting("recovering, 43 %"), Busy("too much waits"), ZeroDivisionError()])
def test_a_queue_name_sent_without_a_verified_key_is_not_logged(
    broken: Any, events: list[LogEvent], error: Exception
) -> None:
    # The key is in the wrong place.
    broken(_Refusing(error)).call("GET", "/api/v1/queue/stats", query={"name": CANARY})
    line = _last_line(events)
    assert line.path == "/api/v1/queue/stats"
    assert CANARY not in str(line)


def test_a_queue_name_is_not_logged_if_the_client_leaves_before_its_key_is_verified(
    broken: Any, events: list[LogEvent]
) -> None:
    server = broken(_Silent())
    Connection(server).send(request("GET", f"/api/v1/queue/stats?name={CANARY}", "X-Access-Key: key")).go()
    line = _last_line(events)
    assert line.status == 499
    assert CANARY not in str(line)


def _last_line(events: list[LogEvent]) -> Line:
    """The last line of the access log."""
    return [line for event in events if "requests" in event for line in event["requests"].each][-1]


@pytest.mark.parametrize(("method", "path", "query", "body"), KEYED)
def test_an_unforeseen_error_gets_500_with_an_incident_id_that_is_in_the_log(
    broken: Any, events: list[LogEvent], method: str, path: str, query: Any, body: Any
) -> None:
    answer = broken(_Refusing(ZeroDivisionError(CANARY))).call(method, path, query=query, body=body)
    assert answer.status == 500
    assert CANARY not in answer.body.decode()
    assert "Traceback" not in answer.body.decode()
    incident = answer.headers["X-Request-Id"]
    assert incident in answer.json["detail"]
    (logged,) = [event for event in events if "log_failure" in event]
    assert logged["id"] == incident
    assert logged["log_failure"].check(ZeroDivisionError)


@pytest.mark.parametrize(
    ("error", "logged"), [(ZeroDivisionError(), [ZeroDivisionError]), (Busy("the database went away"), [])]
)
def test_an_error_in_the_middle_of_a_list_breaks_the_connection(
    broken: Any, events: list[LogEvent], error: Exception, logged: list[type[Exception]]
) -> None:
    server = broken(_Breaking(error))
    connection = Connection(server).send(request("GET", "/api/v1/queue?name=q", "X-Access-Key: key"))
    assert not connection.open
    assert not connection.sent.endswith(b"0\r\n\r\n")
    assert b"Traceback" not in connection.sent
    assert [event["log_failure"].type for event in events if "log_failure" in event] == logged


class _Breaking:
    """An engine that sends two parts of a queue and then fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def read_queue(self, _command: Any) -> AsyncGenerator[list[Any], None]:
        async def pages() -> AsyncGenerator[list[Any], None]:
            yield []
            yield []
            raise self._error

        return pages()


def test_a_live_server_is_ready(server: MemoryServer) -> None:
    assert server.call("GET", "/healthz", key=None).json == {"status": "ok"}
    answer = server.call("GET", "/readyz", key=None)
    assert (answer.status, answer.json) == (200, {"status": "ready", "durability": "commit"})


@pytest.mark.only_on_a_file("the database has the interval")
def test_readyz_shows_the_durability_interval_of_a_file(start: Callable[..., MemoryServer]) -> None:
    answer = start(engine_parts={"sync_interval": 0.05}).call("GET", "/readyz")
    assert answer.json["durability"] == "interval (50 ms)"


def test_readyz_shows_the_durability_interval_of_a_postgresql_database(broken: Any) -> None:
    readiness = Readiness(ready=True, reason="", durability="interval")
    assert broken(_Refusing(Full("x"), readiness)).call("GET", "/readyz").json["durability"] == "interval"


def test_a_server_that_refuses_changes_is_alive_but_not_ready_with_a_reason(broken: Any) -> None:
    readiness = Readiness(ready=False, reason="no room for the database", durability="commit")
    server = broken(_Refusing(Full("x"), readiness))
    answer = server.call("GET", "/readyz", key=None)
    assert (answer.status, answer.json["detail"]) == (503, "no room for the database")
    assert server.call("GET", "/healthz", key=None).status == 200


def test_the_test_call_answers_503_until_calls_are_accepted(broken: Any) -> None:
    for started, status in ((False, 503), (True, 200)):
        readiness = Readiness(ready=False, reason="recovering, 43 %", durability="commit", started=started)
        answer = broken(_Refusing(Full("x"), readiness)).call("GET", "/test", key=None)
        assert (answer.status, answer.headers.get("Retry-After")) == (status, None if started else "1")
        assert (b"recovering, 43 %" in answer.body) is not started


def test_queue_metrics_are_left_out_while_the_database_is_unreachable(broken: Any) -> None:
    answer = broken(_Away(Busy("the database can't be reached"))).call("GET", "/metrics", key=None)
    assert answer.status == 200
    assert b"jobengine_accepts_changes 0" in answer.body
    assert b"jobengine_jobs{" not in answer.body


def test_the_metrics_call_waits_at_most_five_seconds_for_queue_metrics(broken: Any) -> None:
    server = broken(_Silent())
    answers: list[Any] = []
    server.ask("GET", "/metrics", key=None).addBoth(answers.append)
    for seconds in (4.9, 0.2):
        server.pump()
        assert answers == []
        server.clock.advance(seconds)
    server.pump()
    (answer,) = answers
    assert answer.status == 200
    assert b"jobengine_connections" in answer.body
    assert b"jobengine_jobs{" not in answer.body


@pytest.mark.parametrize(("what", "method"), [("end", "GET"), ("reply", "GET"), ("reply", "get")])
def test_the_connection_is_closed_if_no_answer_can_be_built(
    server: MemoryServer, monkeypatch: pytest.MonkeyPatch, events: list[LogEvent], what: str, method: str
) -> None:
    def fail(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(JobRequest, what, fail)
    connection = Connection(server).send(request(method, "/test"))
    assert (connection.open, connection.sent) == (False, b"")
    assert any(event.get("log_failure") for event in events)
