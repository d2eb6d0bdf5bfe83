"""A client with both keys, and time limits for some calls."""

import json
from typing import Any

import pytest

from jobengine.client import AccessDenied, Forbidden, Unavailable
from jobengine.client.http_codec import NotConnected, Request, Response

from .doubles import FakePool, answer, unconnected

_JOB = {"uid": "u", "state": "queued"}
_WRONG = {"detail": "The access key opens nothing here."}
_THROTTLED = {"detail": "Too many wrong keys came from this address; a right key works at once."}


def _keys(request: Request) -> tuple[bool, bool]:
    """Whether a request has an access key, and an admin key."""
    head = request.encode(FakePool([]).address)
    return b"X-Access-Key: k\r\n" in head, b"X-Admin-Key: a\r\n" in head


def _opens_only_as_admin(status: int, problem: dict[str, str]) -> Any:
    def reply(request: Request) -> Response:
        if not _keys(request)[1]:
            return answer(status, problem)
        if request.method == "POST":
            return answer(200, {"results": [{"uid": "u", "status": 200, "job": _JOB}]})
        many = b'"jobs":[' in (request.body or b"")
        return answer(201, {"jobs": [_JOB] * json.loads(request.body or b"")["jobs"].__len__()} if many else _JOB)

    return reply


@pytest.mark.parametrize(
    ("status", "problem"), [(401, _WRONG), (403, {"detail": "A viewer may not do this."}), (429, _THROTTLED)]
)
def test_a_call_refused_for_the_access_key_is_repeated_with_the_admin_key(status: int, problem: dict[str, str]) -> None:
    for use in (
        lambda queue: queue.add({}),
        lambda queue: queue.add_many([{}] * 3),
        lambda queue: queue.update("u", priority=1),
        lambda queue: queue.retry("u"),
    ):
        engine, pool = unconnected(_opens_only_as_admin(status, problem), access_key="k", admin_key="a")
        use(engine.queue("q"))
        assert [_keys(request) for request in pool.requests] in (
            [(True, False), (False, True)],
            [(True, False), (True, False), (False, True)],
        )


@pytest.mark.parametrize("keys", [{"access_key": "k"}, {"admin_key": "a"}])
def test_a_client_with_only_one_key_does_not_repeat_a_refused_call(keys: dict[str, str]) -> None:
    for status, error in ((401, AccessDenied), (403, Forbidden)):
        engine, pool = unconnected([answer(status, _WRONG)], **keys)
        with pytest.raises(error):
            engine.queue("q").stats()
        assert len(pool.requests) == 1


def test_the_last_refusal_is_raised_if_both_keys_are_refused() -> None:
    engine, pool = unconnected(
        [answer(401, _WRONG), answer(401, {"detail": "The admin key is wrong."})], access_key="k", admin_key="a"
    )
    with pytest.raises(AccessDenied, match="admin key"):
        engine.queue("q").stats()
    assert len(pool.requests) == 2


def test_a_queue_object_may_have_time_limits_of_its_own() -> None:
    def refuse(request: Request) -> Exception:
        return NotConnected("connection refused")

    engine, pool = unconnected(refuse, access_key="k")
    engine._caller.retry_for = 1_000_000
    quick = engine.queue("q", retry_for=0, timeout=2)
    for use in (
        lambda: quick.add({}),
        lambda: quick.stats(),
        lambda: quick.claim(),
        lambda: quick.update("u", priority=1),
    ):
        with pytest.raises(Unavailable):
            use()
    assert [request.seconds for request in pool.requests] == [2] * 4
    assert quick is engine.queue("q", retry_for=0, timeout=2)
    assert engine.queue("q") is engine.queue("q") is not quick
    assert engine.queue("q")._caller.retry_for == 1_000_000
