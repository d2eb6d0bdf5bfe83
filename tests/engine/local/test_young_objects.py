"""Young objects are collected even if each change frees as many objects as it makes."""

import gc
from collections.abc import Iterator

import pytest

from jobengine.core import commands as c
from jobengine.core.model import Defaults
from tests.engine.local.engines import KEY, Desk


@pytest.fixture
def no_automatic_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def _young() -> int:
    return len(gc.get_objects(generation=0)) + len(gc.get_objects(generation=1))


@pytest.mark.usefixtures("no_automatic_collection")
def test_changes_of_many_jobs_leave_few_young_objects(desk: Desk) -> None:
    jobs = (c.NewJob(content=b"{}"),) * 1_000
    for _ in range(5):
        desk.told(desk.engine.ask(c.AddJobs(queue="q", access_key=KEY, jobs=jobs, defaults=Defaults())))
    gc.collect()
    changes = c.UpdateMatching(queue="q", access_key=KEY, filter=c.Filter(), changes=c.Changes(priority=1))
    assert desk.told(desk.engine.update_matching(changes)) == 5_000
    assert _young() < 2_500
