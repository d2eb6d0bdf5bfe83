"""Defaults of a queue: clients keep the defaults that a call does not name, although the server replaces all."""

import json
from datetime import timedelta
from typing import Any

import pytest

from jobengine.client import AsyncJobEngine

from .doubles import DefaultsServer, in_loop, unconnected

_ATTEMPTS = {"max_attempts": 3, "retry_delay_seconds": 5}


def test_a_change_of_defaults_keeps_the_defaults_of_an_earlier_change() -> None:
    server = DefaultsServer()
    engine, pool = unconnected(server, access_key="k")
    mail = engine.queue("mail")
    mail.configure(defaults=_ATTEMPTS)
    mail.configure(defaults={"keep_failed_minutes": 60, "retry_delay_seconds": 7})
    assert server.defaults == {"max_attempts": 3, "retry_delay_seconds": 7, "keep_failed_minutes": 60}
    assert [request.method for request in pool.requests] == ["GET", "POST"] * 2


def test_a_default_set_to_none_follows_the_default_of_the_server() -> None:
    server = DefaultsServer()
    engine, _ = unconnected(server, access_key="k")
    engine.queue("mail").configure(defaults=_ATTEMPTS)
    engine.queue("mail").configure(defaults={"max_attempts": None})
    assert server.defaults == {**_ATTEMPTS, "max_attempts": 1}


def test_setting_defaults_to_none_removes_them_all_in_one_request() -> None:
    server = DefaultsServer()
    engine, pool = unconnected(server, access_key="k")
    engine.queue("mail").configure(defaults=_ATTEMPTS)
    pool.requests.clear()
    engine.queue("mail").configure(max_jobs=5)
    assert "defaults" not in json.loads(pool.requests[0].body or b"")
    engine.queue("mail").configure(defaults=None)
    assert json.loads(pool.requests[1].body or b"")["defaults"] is None
    assert len(pool.requests) == 2


def test_defaults_are_encoded_like_the_options_of_a_job() -> None:
    server = DefaultsServer()
    engine, _ = unconnected(server, access_key="k")
    mail = engine.queue("mail")
    mail.configure(defaults={"keep_minutes": timedelta(days=1), "timeout_seconds": timedelta(minutes=5)})
    assert server.defaults == {
        "keep_minutes": 1440,
        "timeout_seconds": 300,
        "max_attempts": 1,
        "retry_delay_seconds": 0,
    }
    with pytest.raises(TypeError, match="did you mean 'max_attempts'"):
        mail.configure(defaults={"retries": 3})
    with pytest.raises(TypeError, match=r"^defaults: must be a dict such as .*, not list$"):
        mail.configure(defaults=[("max_attempts", 3)])  # type: ignore[arg-type]  # the mistake is meant


@in_loop
async def test_the_asyncio_client_keeps_the_defaults_of_an_earlier_change(monkeypatch: pytest.MonkeyPatch) -> None:
    server = DefaultsServer()

    async def exchange(request: Any) -> Any:
        return server(request)

    async with AsyncJobEngine("http://server.example:6006", access_key="k") as engine:
        monkeypatch.setattr(engine._caller.pool, "exchange", exchange)
        await engine.queue("mail").configure(defaults=_ATTEMPTS)
        await engine.queue("mail").configure(defaults={"keep_failed_minutes": 60})
    assert server.defaults == {**_ATTEMPTS, "keep_failed_minutes": 60}
