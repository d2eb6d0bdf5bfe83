"""Handlers in child processes."""

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from jobengine.client import Job
from jobengine.client.jobs import JobChanges
from jobengine.worker import RunningJob
from jobengine.worker.processes import Nursery, Processes

#: Seconds in which a child must do what it is asked.
PATIENCE = 20


def _pid(job: RunningJob) -> JobChanges:
    """Complete a job with the id of the process."""
    return {"new_status": "complete", "result": os.getpid()}


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    nursery = Nursery(_pid)
    yield nursery
    nursery.close()


async def _perform(processes: Processes) -> JobChanges:
    job = RunningJob("q", Job({"uid": "u", "content": {}}), lambda percent: None)
    return await asyncio.wait_for(processes.perform(job), PATIENCE)


def test_a_child_is_used_again(nursery: Nursery) -> None:
    async def test() -> None:
        processes = Processes(nursery)
        assert await _perform(processes) == await _perform(processes)
        processes.close()

    asyncio.run(test())


def test_an_idle_child_that_was_killed_is_replaced_and_forgotten(nursery: Nursery) -> None:
    async def test() -> None:
        processes = Processes(nursery)
        killed = (await _perform(processes))["result"]
        (child,) = processes._idle
        os.kill(killed, signal.SIGKILL)
        assert await asyncio.wait_for(child._reader.read(), PATIENCE) == b""  # its end is known now
        changes = await _perform(processes)
        assert changes["new_status"] == "complete"
        assert changes["result"] != killed
        assert child not in processes._idle
        assert child._writer.is_closing()
        processes.close()

    asyncio.run(test())
