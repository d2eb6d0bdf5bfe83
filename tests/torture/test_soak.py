"""A soak of seconds, and that its check detects lost and repeated jobs."""

import io
import re

import pytest

from tests.integration.daemons import Reply
from tests.integration.workers import Hold

from .owner import Disagreement
from .soak import Soak, judge, run


@pytest.mark.slow
def test_a_soak_test_of_servers_killed_in_turn_loses_no_change() -> None:
    out = io.StringIO()
    run(seconds=6, every=1.5, rate=40, out=out)
    *_, last = out.getvalue().splitlines()
    kills, jobs = map(int, re.findall(r"^(\d+) kills, (\d+) jobs", last)[0])
    assert kills >= 2
    assert jobs >= 100
    assert last.endswith("nothing lost, nothing held twice")


def soak_of_two_jobs() -> Soak:
    soak = Soak([], rate=1)
    soak.added = {"a": 0.001, "b": 0.002}
    soak.finished = {"a"}
    return soak


def test_the_soak_test_accepts_changes_that_were_not_acknowledged() -> None:
    verdict = judge(soak_of_two_jobs(), {"a": "complete", "b": "queued", "c": "queued"})
    assert verdict == "3 jobs are there, 2 were acknowledged, 0 claims"


@pytest.mark.parametrize(
    ("kept", "why"),
    [({"a": "complete"}, "lost"), ({"a": "inprogress", "b": "complete"}, "reported complete")],
)
def test_the_soak_test_detects_missing_and_undone_changes(kept: dict[str, str], why: str) -> None:
    with pytest.raises(Disagreement, match=why):
        judge(soak_of_two_jobs(), kept)


def test_the_soak_test_detects_a_job_held_by_two_workers() -> None:
    soak = soak_of_two_jobs()
    soak.holds = [
        Hold(worker, "a", number, "", 5, began, began, began)
        for worker, number, began in [("v", 1, 0.0), ("w", 2, 3.0)]
    ]
    with pytest.raises(Disagreement, match="two holders"):
        judge(soak, {"a": "complete", "b": "queued"})


def test_the_soak_test_detects_a_wrong_answer() -> None:
    soak = soak_of_two_jobs()
    soak.wrong = [Reply(500, {}, b"")]
    with pytest.raises(Disagreement, match="wrong answers"):
        judge(soak, {"a": "complete", "b": "queued"})
