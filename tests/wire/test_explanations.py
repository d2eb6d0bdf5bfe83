"""The sentence of an explanation about jobs with the same failure."""

import json

import pytest

from jobengine.core.commands import Explanation
from jobengine.core.failures import Alike
from jobengine.core.model import Job, Notes, Standing, State
from jobengine.wire.responses import explanation_json
from tests.core.worlds import spec_of
from tests.golden.facts import MAIL

UNKNOWN = "How many failed like it is not known: the queue has more kinds of failures than are counted. It is failed"
FAILED = Job(spec_of("1"), Standing(state=State.FAILED, updated=5_000, notes=Notes(error="no room")))


@pytest.mark.parametrize(
    ("alike", "reason"),
    [
        (Alike(3, 5_000), "It failed like 2 others since 1970-01-01T00:00:05Z. It is failed"),
        (Alike(2, 5_000, at_least=True), "It failed like at least 1 other since 1970-01-01T00:00:05Z or before. It is"),
        (Alike(1, 5_000, at_least=True), UNKNOWN),
        (Alike(1, 5_000), "It is failed"),
    ],
)
def test_explain_of_a_failed_job_counts_the_jobs_with_the_same_fingerprint(alike: Alike, reason: str) -> None:
    explained = json.loads(explanation_json(Explanation(job=FAILED, queue=MAIL, ahead=None, alike=alike)))
    assert explained["reason"].startswith(reason)
    assert (explained["failed_alike"], explained["failed_alike_since"]) == (alike.count, 5)
    assert explained.get("failed_alike_at_least", False) is alike.at_least
