"""A fake client without a server, and functions that run commands with it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

from click.testing import CliRunner, Result

from jobengine.cli.app import app
from jobengine.cli.session import Session
from jobengine.client import (
    Backfill,
    Batch,
    BatchProgress,
    Explanation,
    FailureGroup,
    Firing,
    Group,
    Job,
    JobEngineError,
    JobEvent,
    JobGraph,
    JobNotFound,
    Keys,
    Moved,
    NewJob,
    Queue,
    QueueSetup,
    QueueStats,
    Readiness,
    Schedule,
    Schedules,
    Secret,
)
from jobengine.client.settings import load

UID = "0b8c9e1c-4c1e-4a35-9d5c-5a6f0f0f8a11"
KEY = "the key of the fake"


def job_of(uid: str = UID, **more: Any) -> Job:
    raw = {
        "uid": uid,
        "priority": 0,
        "keep_minutes": 60,
        "timeout_minutes": 10,
        "created": 1800000000,
        "last_updated": 1800000000,
        "timeout_time": 0,
        "content": {"to": "ada@example.org"},
        "state": "queued",
        "timeout_seconds": 600,
    }
    return Job({**raw, **more})


def stats_of(name: str = "mail", **more: Any) -> QueueStats:
    counts = {"queued": 2, "inprogress": 1, "complete": 0, "failed": 3}
    lately = {"added": 5, "claimed": 4, "complete": 3, "failed": 1}
    raw = {"name": name, "size": 6, "counts": counts, "ready": 2, "oldest_ready_seconds": 75.0, "last_minute": lately}
    raw["last_hour"] = {**lately, "failed": 0}
    return QueueStats({**raw, "wait_seconds": {"p50": None}, "run_seconds": {"p50": None}, **more})


#: The methods of a queue whose record ends with their options.
_WITH_OPTIONS = {
    "create",
    "add",
    "add_and_wait",
    "update_all",
    "cancel_all",
    "delete_all",
    "retry",
    "move",
    "configure",
    "set_group",
    "schedule",
    "backfill",
}
#: The results of methods; all other methods return None.
_ANSWERS: dict[str, Callable[..., Any]] = {
    "add": lambda name, content, uid=UID, **more: job_of(uid),
    "add_and_wait": lambda name, content, **more: job_of(state="complete", result={"sent": True}),
    "get": lambda name, uid: job_of(uid),
    "cancel": lambda name, uid: job_of(uid),
    "peek": lambda name: job_of(),
    "update_all": lambda *changes, **more: 7,
    "cancel_all": lambda *changes, **more: 7,
    "delete_all": lambda *changes, **more: 7,
    "retry": lambda name, **more: 1,
    "move": lambda name, to, **more: Moved({"matched": 3, "moved": 2, "not_moved": {"full": 1}}),
    "workers": lambda name: [],
    "explain": lambda name, uid: Explanation({"uid": uid, "state": "queued", "reason": "It is next."}),
    "graph": lambda name, uid: JobGraph({"nodes": [{"queue_name": name, "uid": uid, "state": "queued"}], "edges": []}),
    "stats": lambda name: stats_of(name),
    "pause": lambda name: QueueSetup({"name": name, "paused": True}),
    "configure": lambda name, **more: QueueSetup({"name": name}),
    "group": lambda queue, name: group_of(name),
    "set_group": lambda queue, name, **more: group_of(name),
    "schedule": lambda queue, name, content, **more: schedule_of(name, content, **more),
    "run": lambda queue, name: Firing({"time": "2027-01-15T09:00:00+01:00", "uid": UID, "manual": True}),
    "backfill": lambda queue, name, start, end, **more: Backfill(
        {"matched": 3, "added": 2, "times": ["2027-01-15T03:00:00+01:00"]}
    ),
}


def group_of(name: str = "customer-7", **more: Any) -> Group:
    return Group({"group": name, "queued": 7, "ready": 2, "held": 5, "in_progress": 1, "own": {}, **more})


def batch_of(name: str = "import-7", **more: Any) -> BatchProgress:
    counts = {"total": 4, "queued": 2, "inprogress": 1, "complete": 1, "failed": 0}
    return BatchProgress({"queue_name": "mail", "name": name, "open": True, "created": 1800000000, **counts, **more})


def schedule_of(
    name: str = "nightly", content: Any = None, *, dry_run: bool = False, tags: Sequence[str] = (), **more: Any
) -> Schedule:
    job = {"content": content or {}, **({"tags": list(tags)} if tags else {})}
    times = {"timezone": "UTC", "paused": False, "next": ["2027-01-16T03:00:00+00:00"], "firings": []}
    return Schedule({"queue_name": "mail", "name": name, **times, "job": job, **more})


class FakeBatch:
    """A batch of a queue, whose calls the queue records; all calls answer like `progress`."""

    def __init__(self, queue: "FakeQueue", name: str) -> None:
        self._queue = queue
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if not hasattr(Batch, name):
            raise AttributeError(name)
        return lambda: self._queue._note(f"{name} batch", self._name, default=batch_of(self._name))


class FakeSchedules:
    """The schedules of a queue, whose calls the queue records."""

    def __init__(self, queue: "FakeQueue") -> None:
        self._queue = queue

    def list(self, **more: Any) -> Iterator[Schedule]:
        self._queue._note("schedules", more)
        yield from self._queue.answers.get("schedules", ())[: more.get("limit")]

    def get(self, name: str) -> Schedule:
        found: Schedule = self._queue._note("get schedule", name, default=schedule_of(name))
        return found

    def change(self, name: str, content: Any = None, **options: Any) -> Schedule:
        self._queue._note("change schedule", name, content, options)
        return schedule_of(name, content)

    def pause(self, name: str) -> Schedule:
        return schedule_of(name, paused=self._queue._note("pause schedule", name, default=True), next=[])

    def resume(self, name: str) -> Schedule:
        self._queue._note("resume schedule", name)
        return schedule_of(name)

    def delete(self, name: str) -> None:
        self._queue._note("delete schedule", name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)


class FakeQueue:
    """Records its calls; `answers` has the result, or the error to raise, by the name of the method."""

    def __init__(self, name: str, key: Secret | None) -> None:
        self.name = name
        self._key = key
        self.keys = self
        self.schedules = FakeSchedules(self)
        self.asked: list[tuple[Any, ...]] = []
        self.answers: dict[str, Any] = {}
        self.found: Sequence[Job] = ()

    def _note(self, name: str, *arguments: Any, default: Any = None) -> Any:
        self.asked.append((name, *arguments))
        answer = self.answers.get(name, default)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def __getattr__(self, name: str) -> Any:
        if not any(hasattr(kind, name) for kind in (Queue, Keys, Schedules)):
            raise AttributeError(name)

        def call(*arguments: Any, **more: Any) -> Any:
            default = _ANSWERS[name](self.name, *arguments, **more) if name in _ANSWERS else None
            return self._note(name, *arguments, *([more] if name in _WITH_OPTIONS else []), default=default)

        return call

    def add_in_chunks(self, contents: Iterable[NewJob], *, brief: bool, **more: Any) -> Iterator[list[Job]]:
        chunk = []
        for new in contents:
            chunk.append(new)
            if len(chunk) == 2:
                yield self._taken(chunk, more)
                chunk = []
        if chunk:
            yield self._taken(chunk, more)

    def _taken(self, chunk: list[NewJob], more: Any) -> list[Job]:
        self._note("add_in_chunks", [(new.content, new.options["uid"]) for new in chunk], more)
        return [Job({"uid": new.options["uid"], "status": 200 if new.content.get("n") == 2 else 201}) for new in chunk]

    def update(self, uid: str, **changes: Any) -> Any:
        answer = JobNotFound("no such job", status=404) if uid == "gone" else job_of(uid)
        self.answers["update"] = answer
        return self._note("update", uid, changes)

    def jobs(self, limit: int | None = None, **more: Any) -> Iterator[Job]:
        self._note("jobs", limit, more)
        yield from self.found[:limit]

    def groups(self, **more: Any) -> Iterator[Group]:
        self._note("groups", more)
        yield from self.answers.get("groups", ())[: more.get("limit")]

    def failures(self, limit: int | None = None) -> Iterator[FailureGroup]:
        yield from self.answers.get("failures", ())[:limit]

    def dropped_failures(self) -> int:
        return int(self.answers.get("dropped_failures", 0))

    def batch(self, name: str, **more: Any) -> FakeBatch:
        if more.get("then") is not None:
            self._note("then", more["then"].content, more["then"].options, more["then_on"])
        return FakeBatch(self, name)

    def batches(self, **more: Any) -> Iterator[BatchProgress]:
        self._note("batches", more)
        yield from self.answers.get("batches", ())[: more.get("limit")]

    def events(self, **more: Any) -> Iterator[JobEvent]:
        self._note("events", more)
        for number, (before, state) in enumerate([(None, "queued"), ("queued", "inprogress"), ("inprogress", None)]):
            yield JobEvent({"uid": UID, "before": before, "state": state, "at": 1800000000 + number}, f"e{number}")


class FakeEngine:
    def __init__(self, access_key: str | None = KEY, admin_key: str | None = None) -> None:
        self._settings = load(access_key=access_key, admin_key=admin_key, environment={})
        self.made: list[FakeQueue] = []
        self.closed = False
        self._caller = SimpleNamespace(tell=None)
        self.listed: list[QueueStats] = [stats_of("mail"), stats_of("thumbnails", paused=True)]
        self.with_options: tuple[Any, ...] = ()
        self.readiness: Readiness | JobEngineError = Readiness({"status": "ready", "durability": "commit"})

    def queue(self, name: str) -> FakeQueue:
        for queue in self.made:
            if queue.name == name:
                return queue
        self.made.append(FakeQueue(name, self._settings.access_key))
        return self.made[-1]

    def queues(self) -> list[QueueStats]:
        return list(self.listed)

    def readyz(self) -> Readiness:
        if isinstance(self.readiness, JobEngineError):
            raise self.readiness
        return self.readiness

    def openapi(self) -> Any:
        return {"info": {"version": "9.9.9"}}

    def close(self) -> None:
        self.closed = True


class Shell:
    def __init__(self, engine: FakeEngine | None = None) -> None:
        self.engine = engine or FakeEngine()

    def __call__(self, *arguments: str, sent: str | bytes | None = None) -> Result:
        def make(*options: Any, **more: Any) -> Any:
            self.engine.with_options = (*options, more)
            return self.engine

        session = Session(make)
        return CliRunner().invoke(app, arguments, input=sent, obj=session, prog_name="jobengine")

    @property
    def mail(self) -> FakeQueue:
        return self.engine.queue("mail")
