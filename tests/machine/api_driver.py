"""Makes the plain model's calls as API requests, over any transport."""

import json
from http import HTTPStatus
from typing import Any

from attrs import define, field

from tests.machine.jobs import Asked, Rule
from tests.machine.queues import Refused

ADMIN = {"X-Admin-Key": "admin"}
#: The names of a queue's defaults, in the order of the model.
DEFAULTS = ("keep_minutes", "keep_failed_minutes", "timeout_seconds", "max_attempts", "retry_delay_seconds")
STATUS = {
    "QueueNotFound": 404,
    "QueueExists": 409,
    "QueueDraining": 409,
    "QueueFull": 429,
    "AccessDenied": 401,
    "NotAllowed": 403,
    "KeyNotFound": 404,
    "JobNotFound": 404,
    "UidTaken": 409,
    "UniqueKeyTaken": 409,
    "KeyTaken": 409,
    "LeaseLost": 409,
    "LeaseRequired": 409,
    "ClaimRequired": 409,
    "GroupInUse": 409,
    "FairWithAgeing": 409,
    "BadDeadLetter": 400,
    "GroupNotFound": 404,
}


def modelled(answer: Any) -> Any:
    """An answer without the fingerprints of errors, which the model does not know."""
    if isinstance(answer, dict):
        return {name: modelled(one) for name, one in answer.items() if name != "fingerprint"}
    return [modelled(one) for one in answer] if isinstance(answer, list) else answer


def refused(status: int, body: dict[str, Any]) -> Refused:
    """
    The model's error for a status; error texts are not compared. A 429 after many wrong keys counts
    as a wrong key.
    """
    if status == 429 and "from this address" in body["error"]:
        status = 401
    return Refused(str(status), **{name: body[name] for name in ("index", "state", "worker") if name in body})


def plain(value: dict[str, Any]) -> dict[str, Any]:
    """A job without its lease."""
    return {name: given for name, given in value.items() if name not in ("lease", "queue_name")}


def claimed(answer: Any) -> list[tuple[str, dict[str, Any], str]]:
    jobs = modelled(answer.json["jobs"]) if answer.status == 200 else []
    return [(one["queue_name"], plain(one), one["lease"]) for one in jobs]


def without_nothing(value: dict[str, Any]) -> dict[str, Any]:
    return {name: given for name, given in value.items() if given is not None}


def filter_body(which: dict[str, Any]) -> dict[str, Any]:
    return without_nothing({("q" if name == "text" else name): value for name, value in which.items()})


def filter_query(which: dict[str, Any]) -> dict[str, str]:
    return {
        name: str(value).lower() if isinstance(value, bool) else value for name, value in filter_body(which).items()
    }


def changes_body(changes: dict[str, Any]) -> dict[str, Any]:
    names = {"state": "new_status", "until": "timeout_time", "delay": "delay_seconds", "hold": "hold_seconds"}
    body = {names.get(name, name): value for name, value in changes.items() if value is not None}
    for name in ("result", "content"):
        if name in body:
            body[name] = json.loads(body[name])
    return body


def update_body(uid: str, lease: str | None, changes: dict[str, Any]) -> dict[str, Any]:
    return without_nothing({"uid": uid, "lease": lease}) | changes_body(changes)


def claim_body(claim: dict[str, Any]) -> dict[str, Any]:
    names = {"queues": "queue_names"}
    return {names.get(name, name): value for name, value in without_nothing(claim).items() if name != "key"}


def job_body(asked: Asked) -> dict[str, Any]:
    return without_nothing(
        {
            "content": json.loads(asked.content),
            "priority": asked.priority,
            "keep_minutes": asked.keep,
            "timeout_seconds": asked.timeout,
            "timeout_time": asked.until,
            "tags": asked.tags,
            "max_attempts": asked.max_attempts,
            "retry_delay_seconds": asked.retry_delay,
            "delay_seconds": asked.delay,
            "not_before": asked.not_before,
            "uid": asked.uid,
            "group": asked.group,
            **_rule_body(asked.unique_key, asked.rule),
        }
    )


def _rule_body(key: str | None, rule: Rule) -> dict[str, Any]:
    """The fields of a job about its unique key, without a debounce that is not set."""
    if rule == Rule():
        return {"unique_key": key}
    fields = without_nothing({name: getattr(rule, name) for name in ("until", "seconds", "if_queued", "if_running")})
    unique = {"key": key, **{name: value for name, value in fields.items() if value != getattr(Rule(), name)}}
    if rule.debounce is None:
        return {"unique": unique}
    return {"unique": unique, "debounce": dict(zip(("seconds", "at_most_seconds"), rule.debounce, strict=True))}


def _outcome(job: dict[str, Any], status: int) -> str:
    if job.pop("replaced", False):
        return "replaced"
    return "new" if status == HTTPStatus.CREATED else "kept"


@define(eq=False)
class ApiDriver:
    """The calls that do not wait."""

    #: Any object with `call(method, path, *, query, body, key, headers)`; answers have `status`, `body` and `json`.
    server: Any = field(init=False)

    # Asking

    def ask(self, method: str, path: str, **more: Any) -> Any:
        answer = self.server.call(method, path, **more)
        if answer.status >= 400:
            raise refused(answer.status, answer.json)
        return modelled(answer.json) if answer.body else None

    # Queues

    def create(self, name: str, key: str) -> None:
        self.ask("PUT", "/api/v1/queue", body={"name": name, "access_key": key}, key=None, headers=ADMIN)

    def delete_queue(self, name: str, key: str) -> None:
        """Also sends the admin key: a server with an admin key refuses the access key alone."""
        self.ask("POST", "/api/v1/queue", body={"name": name}, key=key)
        self.ask("DELETE", "/api/v1/queue", query={"name": name}, key=None, headers=ADMIN)

    def set_up(self, name: str, key: str, settings: dict[str, Any]) -> dict[str, Any]:
        given = dict(settings)
        if "defaults" in given:
            given["defaults"] = dict(zip(DEFAULTS, given["defaults"], strict=True))
        for limits in ("limits", "group_limits"):
            if given.get(limits):
                given[limits] = {"in_progress": given[limits]}
        if (seconds := given.pop("seconds_per_priority", 0)) != 0:
            given["order"] = seconds and {"seconds_per_priority": seconds}
        return self.settings(self.ask("POST", "/api/v1/queue", body={"name": name, **given}, key=key))

    def settings(self, value: dict[str, Any]) -> dict[str, Any]:
        defaults, its = value["defaults"], value.get("dead_letter")
        names = ("paused", "draining", "require_lease", "max_jobs")
        return {
            **{name: value[name] for name in names},
            "defaults": defaults and tuple(defaults[name] for name in DEFAULTS),
            "limits": value.get("limits", {}).get("in_progress"),
            "group_limits": value.get("group_limits", {}).get("in_progress"),
            "group_order": value.get("group_order", "arrival"),
            "group_on_failure": value.get("group_on_failure", "next"),
            "seconds_per_priority": value.get("order", {}).get("seconds_per_priority"),
            "dead_letter": its and (its["queue_name"], its["keep_minutes"], its.get("missing", False)),
        }

    def change_group(self, name: str, key: str, group: str, settings: dict[str, Any]) -> Any:
        body = {"queue_name": name, "group": group, **settings}
        return self._group(self.ask("PUT", "/api/v1/group", body=body, key=key))

    def reset_group(self, name: str, key: str, group: str) -> None:
        self.ask("DELETE", "/api/v1/group", query={"queueName": name, "group": group}, key=key)

    def _group(self, value: dict[str, Any]) -> dict[str, Any]:
        own = value["own"]
        names = ("queued", "ready", "held", "in_progress", "held_until")
        return {
            **{name: value[name] for name in names},
            "own": (own.get("in_progress"), own.get("weight", 1), own.get("paused", False)),
        }

    def groups(self, name: str, key: str | None = None) -> dict[str, Any]:
        """All groups of a queue, by name; without a key, by the admin's."""
        groups: dict[str, Any] = {}
        headers = ADMIN if key is None else {}
        query = {"queueName": name, "limit": "2"}
        while True:
            page = self.ask("GET", "/api/v1/groups", query=query, key=key, headers=headers)
            assert len(page["groups"]) <= 2
            groups |= {one["group"]: self._group(one) for one in page["groups"]}
            if page["next_cursor"] is None:
                return groups
            query["cursor"] = page["next_cursor"]

    def add_key(self, name: str, key: str, role: str, new: str) -> str:
        body = {"queue_name": name, "role": role, "access_key": new}
        key_id: str = self.ask("PUT", "/api/v1/queue/key", body=body, key=key)["id"]
        return key_id

    def revoke_key(self, name: str, key: str, key_id: str) -> None:
        self.ask("DELETE", "/api/v1/queue/key", query={"name": name, "keyID": key_id}, key=key)

    def keys(self, name: str, key: str) -> list[tuple[str, str]]:
        keys = self.ask("GET", "/api/v1/queue/key", query={"name": name}, key=key)["keys"]
        return [(one["id"], one["role"]) for one in keys]

    # Jobs

    def add(self, name: str, key: str, asked: list[Asked], many: bool) -> list[tuple[str, dict[str, Any]]]:
        if many:
            body: dict[str, Any] = {"queue_name": name, "jobs": [job_body(one) for one in asked]}
            jobs = self.ask("PUT", "/api/v1/jobs", body=body, key=key)["jobs"]
            return [(_outcome(job, HTTPStatus.CREATED), job) for job in jobs]
        (one,) = asked
        headers = {"Idempotency-Key": one.once} if one.once else {}
        answer = self.server.call(
            "PUT", "/api/v1/job", body={"queue_name": name, "job": job_body(one)}, key=key, headers=headers
        )
        if answer.status >= 400:
            raise refused(answer.status, answer.json)
        return [(_outcome(job := modelled(answer.json), answer.status), job)]

    def read(self, name: str, key: str, uid: str) -> Any:
        return self.ask("GET", "/api/v1/job", query={"queueName": name, "jobUID": uid}, key=key)

    def peek(self, name: str, key: str) -> Any:
        return self.ask("GET", "/api/v1/job/next", query={"queueName": name}, key=key)

    def update(self, name: str, key: str, uid: str, lease: str | None, changes: dict[str, Any]) -> Any:
        body = {"queue_name": name, **update_body(uid, lease, changes)}
        job = self.ask("POST", "/api/v1/job", body=body, key=key)
        # The answer is empty, as in the first version of the API: read the job to see it.
        assert (job is None) == (lease is None and changes.keys() == {"state"})
        return job

    def update_many(self, name: str, key: str, updates: list[Any]) -> list[dict[str, Any] | Refused]:
        body = {"queue_name": name, "updates": [update_body(*one) for one in updates]}
        results = self.ask("POST", "/api/v1/jobs", body=body, key=key)["results"]
        return [one["job"] if one["status"] == 200 else refused(one["status"], one) for one in results]

    def sweep(self, name: str, key: str, which: dict[str, Any], changes: dict[str, Any], dry: bool) -> Any:
        wanted = filter_body(which)
        meant = {"filter": wanted} if wanted else {"all": True}
        body = {"queue_name": name, **meant, "dry_run": dry, **changes_body(changes)}
        return self.ask("POST", "/api/v1/jobs", body=body, key=key)["matched"]

    def sweep_delete(self, name: str, key: str, which: dict[str, Any], dry: bool) -> Any:
        query = {"queueName": name, "dry_run": str(dry), **(filter_query(which) or {"all": "true"})}
        return self.ask("DELETE", "/api/v1/jobs", query=query, key=key)["matched"]

    def set_dead_letter(self, name: str, key: str, other: str | None, keep: int | None) -> None:
        setting = other and without_nothing({"queue_name": other, "keep_minutes": keep})
        self.ask("POST", "/api/v1/queue", body={"name": name, "dead_letter": setting}, key=key)

    def move_all(
        self, name: str, key: str, which: dict[str, Any], to: str, per_second: float | None, dry: bool
    ) -> tuple[int, int, dict[str, int]]:
        meant = {"filter": wanted} if (wanted := filter_body(which)) else {"all": True}
        body = {"queue_name": name, **meant, "move_to": to, "dry_run": dry}
        moved = self.ask("POST", "/api/v1/jobs", body=without_nothing({**body, "per_second": per_second}), key=key)
        return moved["matched"], moved["moved"], moved.get("not_moved", {})

    def listed(self, name: str, key: str, which: dict[str, Any], limit: int) -> list[dict[str, Any]]:
        jobs: list[dict[str, Any]] = []
        query = {"queueName": name, "limit": str(limit), **filter_query(which)}
        while True:
            page = self.ask("GET", "/api/v1/jobs", query=query, key=key)
            jobs += page["jobs"]
            if page["next_cursor"] is None:
                return jobs
            query["cursor"] = page["next_cursor"]

    def explain(self, name: str, key: str, uid: str) -> tuple[str, int | None, bool, str | None]:
        why = self.ask("GET", "/api/v1/job/explain", query={"queueName": name, "jobUID": uid}, key=key)
        return why["state"], why.get("ahead"), why["paused"], why.get("held_by")

    def delete(self, name: str, key: str, uid: str) -> None:
        self.ask("DELETE", "/api/v1/job", query={"queueName": name, "jobUID": uid}, key=key)

    def same_error(self, expected: Refused, got: Refused) -> bool:
        return (str(STATUS[expected.name]), expected.more) == (got.name, got.more)

    def coarse_about_new(self, many: bool) -> bool:
        """Whether answers hide which jobs are new."""
        return many

    def coarse_time(self, ms: int) -> int:
        """The first whole second that is not before a time."""
        return -(-ms // 1000)

    def coarse(self, job: dict[str, Any]) -> dict[str, Any]:
        """The fields of a model's job that the API shows, rounded as in the API."""
        origin = job["moved_from"]
        value = {
            "uid": job["uid"],
            "priority": job["priority"],
            "keep_minutes": job["keep"],
            "removed_at": None if job["removed_at"] is None else job["removed_at"] // 1000,
            "timeout_minutes": (job["timeout"] + 59) // 60,
            "created": job["created"] // 1000,
            "last_updated": job["updated"] // 1000,
            "timeout_time": job["until"],
            "content": json.loads(job["content"]),
            "state": job["state"],
            "timeout_seconds": job["timeout"],
            "tags": list(job["tags"]) or None,
            "max_attempts": job["max_attempts"] if job["max_attempts"] > 1 else None,
            "retry_delay_seconds": job["retry_delay"] or None,
            **_rule_body(job["unique_key"], job["rule"]),
            "group": job["group"],
            "moved_from": origin and {"queue_name": origin[0], "at": origin[1] // 1000},
            "not_moved": job["not_moved"] or None,
            "attempts": job["attempts"] or None,
            "worker": job["worker"],
            "lease_expires": None if job["lease_expires"] is None else job["lease_expires"] // 1000,
            "started": None if job["started"] is None else job["started"] // 1000,
            "not_before": -(-max(job["ready_at"], job["not_before"]) // 1000) or None,
            "progress": job["progress"],
            "error": job["error"],
            "cancel_requested": job["cancel"] if job["state"] == "inprogress" else None,
            "cancelled": job["cancelled"] or None,
            "history": [self._attempt(*one) for one in job["history"]] or None,
        }
        said = {} if job["result"] is None else {"result": json.loads(job["result"])}
        return without_nothing(value) | said

    def _attempt(
        self, worker: str | None, started: int, ended: int, outcome: str, error: str | None, times: int
    ) -> Any:
        return without_nothing(
            {
                "worker": worker,
                "started": started // 1000,
                "ended": ended // 1000,
                "outcome": outcome,
                "error": error,
                "times": times if times > 1 else None,
            }
        )


def without_fingerprints(job: dict[str, Any]) -> dict[str, Any]:
    """A shown job without its fingerprints: the model counts failures by error; see `Queue.counts`."""
    bare = {name: value for name, value in job.items() if name != "fingerprint"}
    attempts = job.get("history") or ()
    if any(isinstance(one, dict) for one in attempts):
        bare["history"] = [{name: one[name] for name in one if name != "fingerprint"} for one in attempts]
    return bare
