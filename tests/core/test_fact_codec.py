"""Jobs decoded from records take no more memory than added jobs, and a bad record is refused."""

from typing import Any

import pytest
from msgspec import DecodeError

from jobengine.core.added_jobs import JobsAdded, facts_of
from jobengine.core.fact_codec import UnknownRecord, decode, encode
from jobengine.core.facts import JobAdded
from jobengine.core.model import Job, Rare, Spec, Standing, State
from jobengine.core.retention import retention

NOW = 1_764_000_000_123


def read_back(number: int, standing: Standing, **more: Any) -> Job:
    asked: dict[str, Any] = {"priority": 0, "keep": retention(60, 60), "timeout_seconds": 6_000, "timeout_time": 0}
    spec = Spec(uid=f"uid-{number}", arrival=number, content=b"{}", created=NOW, **asked, **more)
    fact = decode(encode(JobAdded("q", Job(spec, standing))))
    assert isinstance(fact, JobAdded)
    assert fact.job == Job(spec, standing)
    return fact.job


def test_decoded_jobs_of_one_request_share_equal_values() -> None:
    first, second = (read_back(number, Standing(state=State.QUEUED, updated=NOW)) for number in range(2))
    assert first.standing is second.standing
    assert first.spec.created is second.spec.created
    assert first.spec.timeout_seconds is second.spec.timeout_seconds


def test_decoded_jobs_share_equal_tags_workers_and_times() -> None:
    held: dict[str, Any] = {
        "state": State.INPROGRESS,
        "attempts": 1,
        "claimed": NOW,
        "worker": "a worker",
    }
    more: dict[str, Any] = {"tags": ("a tag", "another"), "rare": Rare(author="a key's id")}
    first, second = (
        read_back(number, Standing(updated=NOW + number, lease=f"lease-{number}", **held), **more)
        for number in range(2)
    )
    assert first.spec.tags is second.spec.tags
    assert first.spec.rare is second.spec.rare
    assert first.spec.created is second.spec.created
    assert first.standing.worker is second.standing.worker
    assert first.standing.claimed is second.standing.claimed


def test_adjacent_job_records_are_decoded_without_the_slower_single_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    added = [JobAdded("q", read_back(number, Standing(state=State.QUEUED, updated=NOW))) for number in range(2)]
    monkeypatch.setattr("jobengine.core.added_jobs.decode", None)
    jobs = {one.job.spec.uid: one.job for one in added}
    length = sum(len(job.spec.content) for job in jobs.values())
    together = JobsAdded("q", jobs, [], [job.spec.rank for job in jobs.values()], length)
    assert list(facts_of(map(encode, added))) == [together]


@pytest.mark.parametrize(("old", "new"), [(b"[", b"{"), (b"null", b"nul"), (b",7,", b",8,"), (b"{}]", b"{}")])
def test_a_malformed_job_record_is_refused_whether_decoded_alone_or_with_other_records(old: bytes, new: bytes) -> None:
    good, bad = (
        encode(JobAdded("q", read_back(number, Standing(state=State.QUEUED, updated=NOW)))) for number in (0, 1)
    )
    with pytest.raises((UnknownRecord, DecodeError)) as alone:
        decode(bad.replace(old, new, 1))
    with pytest.raises(type(alone.value)):
        list(facts_of([good, bad.replace(old, new, 1)]))
