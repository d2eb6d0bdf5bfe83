"""Answers of another program or a proxy: every method of the client raises an error that says so."""

import asyncio
import http.server as http_server
import inspect
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define
from click.testing import CliRunner

from jobengine import client
from jobengine.cli.app import app
from jobengine.client import AsyncJobEngine, ClaimedJob, Finished, Job, JobEngine, NotJobEngine, http_codec
from jobengine.client.calls import CALLS
from tests.schema import operations

_JOB = {"uid": "u", "queue_name": "q", "lease": "l", "content": {}, "state": "inprogress", "timeout_seconds": 60}
_OTHER_QUEUE = "a job of another queue"
#: Answers that no call of a JobEngine has: status, content type and body.
STRANGERS: dict[str, tuple[int, str, bytes]] = {
    "an empty object": (200, "application/json", b"{}"),
    "an empty object as created": (201, "application/json", b"{}"),
    "a page": (200, "text/html; charset=utf-8", b"<html>welcome</html>"),
    "a page as JSON": (200, "application/json", b"<html>welcome</html>"),
    "an array": (200, "application/json", b"[]"),
    "an array of arrays": (201, "application/json", b"[[1]]"),
    "null": (200, "application/json", b"null"),
    "a text": (200, "application/json", b'"ok"'),
    "deep JSON": (200, "application/json", b'{"jobs":' + b"[" * 100_000),
    "deep objects": (201, "application/json", b'{"a":' * 50_000 + b"1" + b"}" * 50_000),
    "no UTF-8": (200, "application/json", b'{"uid":"\xff"}'),
    "a cut text": (201, "application/json", b'{"uid":"u'),
    "a job as a number": (201, "application/json", b'{"uid":5,"jobs":[5],"results":[5],"matched":"1","name":1}'),
    "jobs without uid": (
        200,
        "application/json",
        b'{"jobs":[{}],"results":[{}],"queues":[{}],"keys":[{}],"workers":[5],"state":"queued","openapi":3}',
    ),
    "wrong types": (
        200,
        "application/json",
        b'{"uid":"u","content":1,"created":"today","tags":5,"name":"q","role":"owner","key_id":5,"paused":"no",'
        b'"state":["queued"],"status":[],"jobs":[{"uid":"u","lease":"l","queue_name":"q","timeout_seconds":"soon"}]}',
    ),
    "times beyond all calendars": (
        201,
        "application/json",
        b'{"uid":"u","created":1e300,"id":"k","role":"worker","jobs":[{"uid":"u","created":1e300}]}',
    ),
    _OTHER_QUEUE: (200, "application/json", b'{"jobs":[{"uid":"u","lease":"l","queue_name":"other"}],"results":[]}'),
    "a page as an error": (404, "text/html", b"<html>not here</html>"),
    "a redirect": (302, "text/html", b""),
    "a plain refusal": (403, "text/plain", b"forbidden"),
    "an error of another kind": (404, "application/json", b'{"message":"not here"}'),
    "an error that is an array": (400, "application/json", b"[1]"),
}

#: Answers for both clients; all others are tried only with the client for threads.
_FOR_BOTH = [STRANGERS[name] for name in ("an empty object", "a page", "deep JSON", "a page as an error")]


@define
class Stranger:
    url: str
    answer: tuple[int, str, bytes] = (200, "text/html", b"")
    requests: int = 0


@pytest.fixture(scope="module")
def stranger() -> Iterator[Stranger]:
    class Handler(http_server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _reply(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            it.requests += 1
            status, kind, body = it.answer
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_POST = do_DELETE = _reply  # noqa: N815  # the names of the standard library

        def log_message(self, *_: object) -> None:
            pass

    server = http_server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    it = Stranger(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield it
    server.shutdown()


Use = Callable[[Any, Path], Any]


def _claimed(engine: Any) -> Any:
    kind = ClaimedJob if isinstance(engine, JobEngine) else client.AsyncClaimedJob
    return kind(engine.queue("q"), Job(_JOB))


def _finish(engine: Any, **more: Any) -> Any:
    kind: Any = Finished if isinstance(engine, JobEngine) else client.AsyncFinished
    return kind(_claimed(engine), {"new_status": "complete"})


#: How each method that is in the table of calls is used.
USES: dict[str, Use] = {
    "Queue.create": lambda e, _: e.queue("q").create(),
    "Queue.remove": lambda e, _: e.queue("q").remove(),
    "Queue.configure": lambda e, _: e.queue("q").configure(max_jobs=5),
    "Queue.pause": lambda e, _: e.queue("q").pause(),
    "Queue.resume": lambda e, _: e.queue("q").resume(),
    "Queue.drain": lambda e, _: e.queue("q").drain(),
    "Queue.undrain": lambda e, _: e.queue("q").undrain(),
    "Queue.stats": lambda e, _: e.queue("q").stats(),
    "Queue.history": lambda e, _: e.queue("q").history(),
    "Queue.access": lambda e, _: e.queue("q").access(),
    "Queue.workers": lambda e, _: e.queue("q").workers(),
    "Queue.all_jobs": lambda e, _: e.queue("q").all_jobs(),
    "Queue.move": lambda e, _: e.queue("q").move("other", state="failed"),
    "Queue.redrive": lambda e, _: e.queue("q").redrive(),
    "Queue.failures": lambda e, _: e.queue("q").failures(),
    "Queue.dropped_failures": lambda e, _: e.queue("q").dropped_failures(),
    "Queue.groups": lambda e, _: e.queue("q").groups(),
    "Queue.group": lambda e, _: e.queue("q").group("g"),
    "Queue.set_group": lambda e, _: e.queue("q").set_group("g", weight=2),
    "Queue.reset_group": lambda e, _: e.queue("q").reset_group("g"),
    "Queue.schedule": lambda e, _: e.queue("q").schedule("n", {}, cron="@daily"),
    "Schedules.get": lambda e, _: e.queue("q").schedules.get("n"),
    "Schedules.list": lambda e, _: e.queue("q").schedules.list(),
    "Schedules.change": lambda e, _: e.queue("q").schedules.change("n", cron="@daily"),
    "Schedules.pause": lambda e, _: e.queue("q").schedules.pause("n"),
    "Schedules.resume": lambda e, _: e.queue("q").schedules.resume("n"),
    "Schedules.delete": lambda e, _: e.queue("q").schedules.delete("n"),
    "Schedules.run": lambda e, _: e.queue("q").schedules.run("n"),
    "Schedules.backfill": lambda e, _: e.queue("q").schedules.backfill("n", 0, 60),
    "Queue.batches": lambda e, _: e.queue("q").batches(),
    "Batch.create": lambda e, _: e.queue("q").batch("n").create(),
    "Batch.progress": lambda e, _: e.queue("q").batch("n").progress(),
    "Batch.close": lambda e, _: e.queue("q").batch("n").close(),
    "Batch.cancel": lambda e, _: e.queue("q").batch("n").cancel(),
    "Batch.retry": lambda e, _: e.queue("q").batch("n").retry(),
    "Queue.chain": lambda e, _: e.queue("q").chain({}, {}, {}),
    "Queue.add": lambda e, _: e.queue("q").add({}),
    "Queue.add_many": lambda e, _: e.queue("q").add_many([{}] * 3),
    "Queue.add_and_wait": lambda e, _: e.queue("q").add_and_wait({}, timeout=1),
    "Queue.get": lambda e, _: e.queue("q").get("u"),
    "Queue.wait": lambda e, _: e.queue("q").wait("u", timeout=1),
    "Queue.update": lambda e, _: e.queue("q").update("u", priority=1),
    "Queue.cancel": lambda e, _: e.queue("q").cancel("u"),
    "Queue.delete": lambda e, _: e.queue("q").delete("u"),
    "Queue.remove_job": lambda e, _: e.queue("q").remove_job("u"),
    "Queue.peek": lambda e, _: e.queue("q").peek(),
    "Queue.claim": lambda e, _: e.queue("q").claim(),
    "Queue.explain": lambda e, _: e.queue("q").explain("u"),
    "Queue.graph": lambda e, _: e.queue("q").graph("u"),
    "Queue.jobs": lambda e, _: e.queue("q").jobs(),
    "Queue.update_all": lambda e, _: e.queue("q").update_all({"priority": 1}, all=True),
    "Queue.retry": lambda e, _: e.queue("q").retry(all=True),
    "Queue.retry one": lambda e, _: e.queue("q").retry("u"),
    "Queue.cancel_all": lambda e, _: e.queue("q").cancel_all(all=True),
    "Queue.delete_all": lambda e, _: e.queue("q").delete_all(all=True),
    "Queue.events": lambda e, _: e.queue("q").events(),
    "Keys.add": lambda e, _: e.queue("q").keys.add("worker", "k" * 20),
    "Keys.list": lambda e, _: e.queue("q").keys.list(),
    "Keys.revoke": lambda e, _: e.queue("q").keys.revoke("k"),
    "JobEngine.queues": lambda e, _: e.queues(),
    "JobEngine.claim": lambda e, _: e.claim(["q"]),
    "JobEngine.finish_and_claim": lambda e, _: e.finish_and_claim([_finish(e)], ["q"]),
    "ClaimedJob.complete": lambda e, _: _claimed(e).complete(),
    "ClaimedJob.progress": lambda e, _: _claimed(e).progress(1),
    "ClaimedJob.wait_for": lambda e, _: _claimed(e).wait_for([{}]),
    "JobEngine.test": lambda e, _: e.test(),
    "JobEngine.healthz": lambda e, _: e.healthz(),
    "JobEngine.readyz": lambda e, _: e.readyz(),
    "JobEngine.openapi": lambda e, _: e.openapi(),
    "JobEngine.metrics": lambda e, _: e.metrics(),
    "JobEngine.backup": lambda e, path: e.backup(path / "copy"),
}


def test_every_client_method_that_makes_a_call_has_a_case_in_this_file() -> None:
    served = {method for call in CALLS.values() for method in call.served_by}
    # `report` returns the errors; ClaimedJob tries it.
    assert served - {"JobEngine.report"} == {use.partition(" ")[0] for use in USES}


def test_each_call_accepts_the_success_statuses_in_the_schema() -> None:
    documented = {
        operation["operationId"]: tuple(int(status) for status in operation["responses"] if status.startswith("2"))
        for _, _, operation in operations()
    }
    assert {call.operation: call.statuses for call in CALLS.values()} == documented


def _check(use: Use, stranger: Stranger, path: Path) -> None:
    """Use a method; it must raise the one error, with the server's address. One client is made from the other."""
    for run in (_in_a_thread, _in_a_loop) if stranger.answer in _FOR_BOTH else (_in_a_thread,):
        with pytest.raises(NotJobEngine) as raised:
            run(use, stranger, path)
        text = str(raised.value)
        assert re.match(f"The answer did not come from a JobEngine: {stranger.url} answered", text), text
        assert "JOBENGINE_URL" in text
    assert not list(path.iterdir())


def _in_a_thread(use: Use, stranger: Stranger, path: Path) -> None:
    with JobEngine(stranger.url, access_key="k", admin_key="a", retry_for=0) as engine:
        result = use(engine, path)
        if hasattr(result, "__next__"):
            list(result)


def _in_a_loop(use: Use, stranger: Stranger, path: Path) -> None:
    async def main() -> None:
        async with AsyncJobEngine(stranger.url, access_key="k", admin_key="a", retry_for=0) as engine:
            result = use(engine, path)
            if inspect.isawaitable(result):
                await result
            else:
                async for _ in result:
                    pass

    asyncio.run(main())


@pytest.mark.parametrize("name", USES)
def test_no_method_accepts_an_answer_of_another_program(stranger: Stranger, tmp_path: Path, name: str) -> None:
    for what, stranger.answer in STRANGERS.items():
        if what == _OTHER_QUEUE and name in ("Queue.all_jobs", "Queue.jobs"):
            continue  # this could be a JobEngine's answer
        try:
            _check(USES[name], stranger, tmp_path)
        except BaseException as error:
            error.add_note(f"{name}: {what}")
            raise


def test_a_call_fails_if_the_answer_exceeds_the_longest_length(
    stranger: Stranger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_codec, "_LONGEST", 100_000)
    stranger.answer = (200, "application/json", b" " * 200_000)
    before = stranger.requests
    _check(USES["Queue.stats"], stranger, tmp_path)
    assert stranger.requests == before + 1


COMMANDS = [
    "add q {}",
    "show q u",
    "jobs q",
    "queue list",
    "next q",
    "explain q u",
    "queue stats q",
    "group list q",
    "group show q g",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_reports_an_answer_of_another_program_in_one_line(
    stranger: Stranger, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("JOBENGINE_URL", stranger.url)
    monkeypatch.setenv("JOBENGINE_ACCESS_KEY", "k")
    monkeypatch.setenv("JOBENGINE_ADMIN_KEY", "a")
    for what, stranger.answer in STRANGERS.items():
        if what == _OTHER_QUEUE and command == "jobs q":
            continue
        done = CliRunner().invoke(app, command.split())
        assert (done.exit_code, done.stdout) == (1, ""), (what, done.output)
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"jobengine: The answer did not come from a JobEngine: {stranger.url}"), what
