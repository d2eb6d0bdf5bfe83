"""Which settings of a schedule are refused."""

from typing import Any

import pytest
from msgspec.structs import replace

from jobengine.core.errors import BadSchedule, ScheduleConflict
from jobengine.core.schedules import IfRunning
from tests.core.test_schedules import JOB, change, put, read
from tests.core.worlds import World


def test_if_running_replace_is_refused_for_a_job_with_a_unique_key(world: World) -> None:
    with pytest.raises(BadSchedule, match="unique_key"):
        put(world, if_running=IfRunning.REPLACE, job=replace(JOB, unique_key="u"))


@pytest.mark.parametrize(
    ("stored", "sent", "advice"),
    [
        (
            {"if_running": IfRunning.REPLACE},
            {"job": replace(JOB, unique_key="u")},
            "Send 'skip' or 'add'",
        ),
        ({"job": replace(JOB, unique_key="u")}, {"if_running": IfRunning.REPLACE}, "Send a job without unique_key"),
    ],
)
def test_if_running_replace_conflicts_with_a_unique_key_even_if_either_was_stored_before(
    world: World, stored: dict[str, Any], sent: dict[str, Any], advice: str
) -> None:
    before = put(world, **stored)
    with pytest.raises(ScheduleConflict, match=advice):
        change(world, **sent)
    assert read(world) == replace(before, new=False)
    with pytest.raises(BadSchedule, match="unique_key"):
        change(world, **{**stored, **sent})
    change(world, **sent, **({"if_running": IfRunning.ADD} if "job" in sent else {"job": JOB}))


@pytest.mark.parametrize("paused", [None, True])
def test_a_cron_line_that_never_fires_is_refused(world: World, paused: bool | None) -> None:
    with pytest.raises(BadSchedule, match="never fires"):
        put(world, cron="0 0 */16 * MON#2", paused=paused)
