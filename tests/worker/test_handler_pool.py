"""Handlers leave nothing behind for the garbage collector, and their progress is known at once."""

import asyncio
import gc
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from jobengine.client.values import Job
from jobengine.worker.actions import Hold
from jobengine.worker.handler_pool import Ends, Handler, HandlerPool, Handlers
from jobengine.worker.outcomes import Hooks
from jobengine.worker.running_job import RunningJob

#: Seconds in which a handler must end.
PATIENCE = 20


def _double(content: Any, job: RunningJob) -> int:
    return int(content["n"]) * 2


async def _double_in_loop(content: Any, job: RunningJob) -> int:
    return _double(content, job)


async def _outcomes(handler: Handler, jobs: int) -> list[Any]:
    ended: asyncio.Queue[Ends] = asyncio.Queue()
    pool = HandlerPool(Handlers({"q": handler}, Hooks([], [], [])), None, ended.put_nowait, _unexpected, _unexpected)
    for number in range(jobs):
        claimed = SimpleNamespace(
            beat_seconds=None, queue=SimpleNamespace(name="q"), job=Job({"content": {"n": number}})
        )
        pool.start(Hold(claimed, 0))
    results: list[Any] = []
    while len(results) < jobs:
        results += [changes["result"] for _, changes in await asyncio.wait_for(ended.get(), PATIENCE)]
    await pool.close()
    return results


def _unexpected(*what: Any) -> None:
    raise AssertionError(what)


@pytest.mark.parametrize(("function", "is_coroutine"), [(_double, False), (_double_in_loop, True)])
def test_a_job_that_has_ended_is_freed_without_the_garbage_collector(
    function: Callable[[Any, RunningJob], Any], is_coroutine: bool
) -> None:
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)  # what it finds is kept in gc.garbage
    try:
        results = asyncio.run(_outcomes(Handler(function, is_coroutine), 5))
        gc.collect()
        assert [one for one in gc.garbage if isinstance(one, Hold | RunningJob)] == []
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
    assert sorted(results) == [0, 2, 4, 6, 8]


def test_progress_is_stored_in_the_handlers_thread_so_that_the_outcome_can_carry_it() -> None:
    def handler(content: Any, job: RunningJob) -> int | None:
        job.progress(90)
        return hold.progress

    async def outcome() -> Any:
        ended: asyncio.Queue[Ends] = asyncio.Queue()
        handlers = Handlers({"q": Handler(handler, False)}, Hooks([], [], []))
        pool = HandlerPool(handlers, None, ended.put_nowait, lambda hold: None, _unexpected)
        pool.start(hold)
        ((_, changes),) = await asyncio.wait_for(ended.get(), PATIENCE)
        await pool.close()
        return changes["result"]

    hold = Hold(SimpleNamespace(beat_seconds=None, queue=SimpleNamespace(name="q"), job=Job({"content": {}})), 0)
    assert asyncio.run(outcome()) == 90
