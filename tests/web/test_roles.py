"""Every call with every kind of key, from one table."""

from collections.abc import Callable
from typing import Any, Final

import pytest
from attrs import frozen

from jobengine.web.api import Api
from tests.doubles import Answer, MemoryServer
from tests.web.asking import add, listed

ADMIN: Final = "admin"
#: The roles of a queue's keys, which differ in what they may do.
ROLES: Final = ("owner", "producer", "worker", "viewer")
OWNER, READ, WORK, PRODUCE = {"owner"}, {"owner", "viewer"}, {"owner", "worker"}, {"owner", "producer"}


@frozen
class Call:
    """A call: a valid request, the roles that may make it, and the status of its answer."""

    method: str
    path: str
    #: The roles that may make the call; None if it needs no key of a queue.
    allowed: set[str] | None
    status: int
    query: dict[str, str] | None = None
    body: Any = None
    #: The status without any key, if the call needs no key of a queue; the admin gets `status`.
    open_status: int | None = None


SCHEDULE: Final[dict[str, Any]] = {"queue_name": "q", "name": "nightly"}
BATCH: Final[dict[str, Any]] = {"queue_name": "q", "name": "import"}
JOB: Final[dict[str, Any]] = {"content": {}}

#: "UID" stands for the uid of a job that the owner added, "KEY" for the id of a key.
CALLS: Final = [
    Call("GET", "/test", None, 200, open_status=200),
    Call("GET", "/healthz", None, 200, open_status=200),
    Call("GET", "/openapi.json", None, 200, open_status=200),
    Call("GET", "/readyz", None, 200, open_status=200),
    Call("GET", "/metrics", None, 200, open_status=401),
    Call("GET", "/api/v1/queues", None, 200, open_status=401),
    Call("GET", "/api/v1/backup", None, 200, open_status=401),
    Call("PUT", "/api/v1/queue", None, 201, body={"name": "new", "access_key": "k"}, open_status=401),
    Call("DELETE", "/api/v1/queue", None, 204, {"name": "q"}, open_status=401),
    Call("GET", "/api/v1/queue", READ, 200, {"name": "q"}),
    Call("POST", "/api/v1/queue", OWNER, 200, body={"name": "q", "paused": True}),
    Call("GET", "/api/v1/queue/stats", READ, 200, {"name": "q"}),
    Call("GET", "/api/v1/queue/history", READ, 200, {"name": "q"}),
    Call("PUT", "/api/v1/group", OWNER, 200, body={"queue_name": "q", "group": "g", "paused": True}),
    Call("GET", "/api/v1/group", READ, 200, {"queueName": "q", "group": "own"}),
    Call("DELETE", "/api/v1/group", OWNER, 204, {"queueName": "q", "group": "own"}),
    Call("GET", "/api/v1/groups", READ, 200, {"queueName": "q"}),
    Call("PUT", "/api/v1/schedule", OWNER, 201, body={**SCHEDULE, "name": "new", "every_seconds": 60, "job": JOB}),
    Call("GET", "/api/v1/schedule", READ, 200, {"queueName": "q", "name": "nightly"}),
    Call("POST", "/api/v1/schedule", OWNER, 200, body={**SCHEDULE, "paused": True}),
    Call("DELETE", "/api/v1/schedule", OWNER, 204, {"queueName": "q", "name": "nightly"}),
    Call("GET", "/api/v1/schedules", READ, 200, {"queueName": "q"}),
    Call("POST", "/api/v1/schedule/run", OWNER, 201, body=SCHEDULE),
    Call("POST", "/api/v1/schedule/run", OWNER, 200, body={**SCHEDULE, "from": 0, "until": 0}),
    Call("PUT", "/api/v1/batch", PRODUCE, 201, body={**BATCH, "name": "new", "then": JOB}),
    Call("GET", "/api/v1/batch", set(ROLES), 200, {"queueName": "q", "name": "import"}),
    Call("POST", "/api/v1/batch", PRODUCE, 200, body={**BATCH, "open": False}),
    Call("POST", "/api/v1/batch", OWNER, 200, body={**BATCH, "cancel": True}),
    Call("POST", "/api/v1/batch", OWNER, 200, body={**BATCH, "retry": True}),
    Call("GET", "/api/v1/batches", READ, 200, {"queueName": "q"}),
    Call("GET", "/api/v1/failures", READ, 200, {"queueName": "q"}),
    Call("GET", "/api/v1/access", set(ROLES), 200, {"queueName": "q"}),
    Call("PUT", "/api/v1/queue/key", OWNER, 201, body={"queue_name": "q", "role": "viewer", "access_key": "k"}),
    Call("GET", "/api/v1/queue/key", OWNER, 200, {"name": "q"}),
    Call("DELETE", "/api/v1/queue/key", OWNER, 204, {"name": "q", "keyID": "KEY"}),
    Call("PUT", "/api/v1/job", PRODUCE, 201, body={"queue_name": "q", "job": {"content": {}}}),
    Call("GET", "/api/v1/job", READ, 200, {"queueName": "q", "jobUID": "UID"}),
    Call("POST", "/api/v1/job", WORK, 200, body={"queue_name": "q", "uid": "UID", "new_status": "complete"}),
    Call("POST", "/api/v1/job", WORK, 200, body={"queue_name": "q", "uid": "UID", "cancel": True}),
    Call("DELETE", "/api/v1/job", OWNER, 204, {"queueName": "q", "jobUID": "UID"}),
    Call("GET", "/api/v1/job/next", READ | WORK, 200, {"queueName": "q"}),
    Call("GET", "/api/v1/job/next", WORK, 200, {"queueName": "q", "markQueued": "true"}),
    Call("POST", "/api/v1/job/next", WORK, 200, body={"queue_names": ["q"]}),
    Call("POST", "/api/v1/job/next", WORK, 200, body={"queue_names": ["q"], "wait": 30}),
    Call("GET", "/api/v1/job/explain", READ, 200, {"queueName": "q", "jobUID": "UID"}),
    Call("GET", "/api/v1/job/graph", READ, 200, {"queueName": "q", "jobUID": "UID"}),
    Call("PUT", "/api/v1/jobs", PRODUCE, 201, body={"queue_name": "q", "jobs": [{"content": {}}]}),
    Call("GET", "/api/v1/jobs", READ, 200, {"queueName": "q"}),
    Call("POST", "/api/v1/jobs", WORK, 200, body={"queue_name": "q", "updates": [{"uid": "UID", "progress": 1}]}),
    Call("POST", "/api/v1/jobs", OWNER, 200, body={"queue_name": "q", "all": True, "new_status": "failed"}),
    Call("POST", "/api/v1/jobs", OWNER, 200, body={"queue_name": "q", "all": True, "priority": 1, "dry_run": True}),
    Call("DELETE", "/api/v1/jobs", OWNER, 200, {"queueName": "q", "all": "true"}),
    Call("DELETE", "/api/v1/jobs", OWNER, 200, {"queueName": "q", "all": "true", "dry_run": "true"}),
    Call("GET", "/api/v1/workers", READ, 200, {"queueName": "q"}),
    # HEAD, since the answer to GET has no end.
    Call("HEAD", "/api/v1/events", READ, 200, {"queueName": "q"}),
]
KEYED: Final = [call for call in CALLS if call.allowed is not None]
UNKEYED: Final = [call for call in CALLS if call.allowed is None]


def _of_the_admin(call: Call) -> Any:
    only = pytest.mark.only_on_a_file("a backup is made with its own tools")
    return pytest.param(call, id=f"{call.method} {call.path}", marks=[only] if "backup" in call.path else [])


class _Table:
    """A server with two queues, a key of each kind, a job that the owner has added, and a group with own settings."""

    def __init__(self, server: MemoryServer) -> None:
        self.server = server
        self.key_ids = {role: self._add_key(role, f"{role}-key") for role in ROLES[1:]}
        for role in ROLES[1:]:
            key_id = self._add_key(role, f"revoked-{role}")
            revoked = server.call("DELETE", "/api/v1/queue/key", query={"name": "q", "keyID": key_id})
            assert revoked.status == 204
        made = {"name": "other", "access_key": "other-key"}
        headers = {"X-Admin-Key": ADMIN} if server.admin_key else None
        assert server.call("PUT", "/api/v1/queue", body=made, key=None, headers=headers).status == 201
        self.uid = str(add(server, {"canary": 1})["uid"])
        group = {"queue_name": "q", "group": "own", "in_progress": 100}
        assert server.call("PUT", "/api/v1/group", body=group).status == 200
        schedule = {**SCHEDULE, "cron": "0 3 * * *", "job": JOB}
        assert server.call("PUT", "/api/v1/schedule", body=schedule).status == 201
        assert server.call("PUT", "/api/v1/batch", body=BATCH).status == 201

    def _add_key(self, role: str, key: str) -> str:
        body = {"queue_name": "q", "role": role, "access_key": key}
        return str(self.server.call("PUT", "/api/v1/queue/key", body=body).json["id"])

    def ask(self, call: Call, key: str | None, headers: Any = None, **names: str) -> Answer:
        """Make the call; `names` replaces names of queues and uids in it."""
        return self.server.call(
            call.method,
            call.path,
            query=self._fill(call.query, names),
            body=self._fill(call.body, names),
            key=key,
            headers=headers,
        )

    def _fill(self, value: Any, names: dict[str, str]) -> Any:
        if isinstance(value, dict):
            return {name: self._fill(inner, names) for name, inner in value.items()}
        if isinstance(value, list):
            return [self._fill(inner, names) for inner in value]
        filled = {"UID": self.uid, "KEY": self.key_ids["viewer"], **names}
        return filled.get(value, value) if isinstance(value, str) else value

    def state(self) -> Any:
        """All state that a call could have changed."""
        keys = self.server.call("GET", "/api/v1/queue/key", query={"name": "q"}).json
        groups = self.server.call("GET", "/api/v1/groups", query={"queueName": "q"}).json
        return listed(self.server), keys, groups, self.server.call("POST", "/api/v1/queue", body={"name": "q"}).json


@pytest.fixture
def table(start: Callable[..., MemoryServer]) -> _Table:
    return _Table(start())


@pytest.fixture
def guarded(start: Callable[..., MemoryServer]) -> _Table:
    """The same with an admin key."""
    return _Table(start(admin_key=ADMIN.encode()))


def _key_of(role: str) -> str:
    return "key" if role == "owner" else f"{role}-key"


def test_every_route_is_in_the_table_of_roles() -> None:
    routed = {
        (method, rule.rule)
        for rule in Api._app.url_map.iter_rules()
        for method in rule.methods or ()
        if method not in ("HEAD", "OPTIONS")
    }
    assert {("GET" if call.method == "HEAD" else call.method, call.path) for call in CALLS} == routed


ALLOWED: Final = [(role, call) for call in KEYED for role in ROLES if role in (call.allowed or ())]
FORBIDDEN: Final = [(role, call) for call in KEYED for role in ROLES if role not in (call.allowed or ())]


@pytest.mark.parametrize(("role", "call"), ALLOWED, ids=[f"{role} {call.method} {call.path}" for role, call in ALLOWED])
def test_each_role_may_make_its_calls(start: Callable[..., MemoryServer], call: Call, role: str) -> None:
    """A server's admin key takes no rights from the keys of queues; the other tests use an owner's key without it."""
    table = _Table(start(admin_key=ADMIN.encode() if role == "owner" else None))
    assert table.ask(call, _key_of(role)).status == call.status


def test_each_role_is_refused_all_other_calls(table: _Table) -> None:
    before = table.state()
    for role, call in FORBIDDEN:
        answer = table.ask(call, _key_of(role))
        # A producer may read its own jobs, but this job is the owner's.
        reads_anothers = role == "producer" and (call.method, call.path) == ("GET", "/api/v1/job")
        assert (answer.status, role, call) == (404 if reads_anothers else 403, role, call)
        assert b"canary" not in answer.body
    assert table.state() == before


@pytest.mark.parametrize(
    ("key", "status"),
    [
        *[(None, 400), ("wrong", 401), ("other-key", 401), ("revoked-producer", 401), ("revoked-worker", 401)],
        *[("revoked-viewer", 401), ("KEY", 401), (ADMIN, 401)],
    ],
)
def test_a_missing_wrong_or_revoked_key_is_refused_in_every_call(table: _Table, key: str | None, status: int) -> None:
    before = table.state()
    for call in KEYED:
        answer = table.ask(call, table.key_ids["worker"] if key == "KEY" else key)
        assert (answer.status, call) == (status, call)
        assert b"canary" not in answer.body
        table.server.clock.advance(61)
    assert table.state() == before


def test_a_key_with_a_role_in_one_queue_does_not_open_another_queue(table: _Table) -> None:
    for call in KEYED:
        statuses = {table.ask(call, _key_of(role), q="other").status for role in ROLES}
        assert (statuses, call) == ({401}, call)
        table.server.clock.advance(61)


def test_a_missing_queue_gets_404_with_every_key(table: _Table) -> None:
    keys = [*map(_key_of, ROLES), "wrong", "revoked-worker"]
    for call in KEYED:
        assert ({table.ask(call, key, q="none").status for key in keys}, call) == ({404}, call)


def test_a_call_that_the_role_does_not_allow_has_the_same_answer_for_a_missing_job(table: _Table) -> None:
    """A call that the role does not allow reveals nothing about which jobs exist."""
    for role, call in FORBIDDEN:
        if "UID" in str(call):
            there, missing = (table.ask(call, _key_of(role), **names) for names in ({}, {"UID": "none"}))
            assert (there.status, there.json["title"]) == (missing.status, missing.json["title"]), call


@pytest.mark.parametrize("call", [_of_the_admin(call) for call in CALLS])
def test_the_admin_may_make_every_call(guarded: _Table, call: Call) -> None:
    assert guarded.ask(call, None, {"X-Admin-Key": ADMIN}).status == call.status


def test_a_wrong_admin_key_is_refused_by_every_call(guarded: _Table) -> None:
    for call in KEYED:
        for key in (None, "key"):
            answer = guarded.ask(call, key, {"X-Admin-Key": "wrong"})
            expected = (401, 'X-Admin-Key realm="server"')
            assert ((answer.status, answer.headers["WWW-Authenticate"]), call) == (expected, call)
        guarded.server.clock.advance(61)


def test_calls_without_a_queue_key_are_public_or_need_the_admin_key(guarded: _Table) -> None:
    for call in UNKEYED:
        for key in (None, "key", ADMIN):
            assert (guarded.ask(call, key).status, call) == (call.open_status, call)
            guarded.server.clock.advance(61)


def test_only_the_owner_deletes_a_queue_if_there_is_no_admin_key(table: _Table) -> None:
    (call,) = [call for call in CALLS if (call.method, call.path) == ("DELETE", "/api/v1/queue")]
    statuses = [table.ask(call, _key_of(role)).status for role in ("producer", "worker", "viewer")]
    assert statuses == [403, 403, 403]
    assert [table.ask(call, key).status for key in (None, "wrong", "other-key", "key", "key")] == [
        400,
        401,
        401,
        204,
        404,
    ]
