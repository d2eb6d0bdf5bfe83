"""The cache of jobs that a server has written: it is used only if the row still has exactly the written records."""

import pytest
from msgspec.structs import replace

from jobengine.core.facts import ItemSet
from jobengine.core.model import Job, Notes, Queue, Rare, Standing, State
from jobengine.engine.postgres.database import rows
from jobengine.engine.postgres.database.encryption import Seal
from jobengine.engine.postgres.database.group_rows import counted_in, key_of
from jobengine.engine.postgres.database.rows import Rows
from jobengine.storage.errors import Damaged
from tests.core.worlds import spec_of

UID, SALT, OTHER_SALT = (f"00000000-0000-4000-8000-{at:012}" for at in range(3))
KEY = bytes(32)


def queue(salt: str = SALT) -> Queue:
    return Queue(name="q", salt=salt, digest="0" * 64, created=1)


def job(uid: str = UID, content: bytes = b"{}") -> Job:
    spec = spec_of(uid, content=content)
    return Job(spec, Standing(state=State.QUEUED, updated=1))


def claimed(one: Job) -> Job:
    return Job(one.spec, replace(one.standing, state=State.INPROGRESS, updated=2, lease="lease"))


@pytest.fixture
def its_rows() -> Rows:
    return Rows(Seal(KEY))


def test_a_cache_returns_a_job_without_decoding_if_the_same_server_wrote_its_records(its_rows: Rows) -> None:
    new = job()
    (sealed,) = its_rows.sealed_jobs([(queue(), new)])
    assert its_rows.job(queue(), UID, sealed, None) is new
    its = claimed(new)
    (said,) = its_rows.sealed_standings([(queue(), its)])
    assert its_rows.job(queue(), UID, sealed, said) is its


def test_records_written_by_another_server_replace_a_cached_job(its_rows: Rows) -> None:
    new = job()
    (sealed,) = its_rows.sealed_jobs([(queue(), new)])
    elsewhere = Rows(Seal(KEY))
    (said,) = elsewhere.sealed_standings([(queue(), claimed(new))])
    assert its_rows.job(queue(), UID, sealed, said) == claimed(new)
    (edited,) = elsewhere.sealed_jobs([(queue(), job(content=b"[1]"))])
    assert its_rows.job(queue(), UID, edited, None).spec.content == b"[1]"


def test_writing_only_the_standing_of_an_edited_job_does_not_cache_the_edited_content(its_rows: Rows) -> None:
    new = job()
    (sealed,) = its_rows.sealed_jobs([(queue(), new)])
    (said,) = its_rows.sealed_standings([(queue(), claimed(job(content=b"[1]")))])
    assert its_rows.job(queue(), UID, sealed, said).spec.content == b"{}"


def test_a_cached_job_is_refused_in_a_row_of_another_queue_or_uid(its_rows: Rows) -> None:
    (sealed,) = its_rows.sealed_jobs([(queue(), job())])
    with pytest.raises(Damaged):
        its_rows.job(queue(OTHER_SALT), UID, sealed, None)
    with pytest.raises(Damaged):
        its_rows.job(queue(), SALT, sealed, None)


@pytest.mark.parametrize(
    ("others", "content", "is_kept"), [(7, b"{}", True), (8, b"{}", False), (0, b"0" * 2_048, False)]
)
def test_the_cache_is_bounded_in_jobs_and_in_bytes(
    its_rows: Rows, monkeypatch: pytest.MonkeyPatch, others: int, content: bytes, is_kept: bool
) -> None:
    monkeypatch.setattr(rows, "_KEPT", 4)
    new = job(content=content)
    (sealed,) = its_rows.sealed_jobs([(queue(), new)])
    its_rows.sealed_jobs([(queue(), job(f"{at:036}")) for at in range(others)])
    assert (its_rows.job(queue(), UID, sealed, None) is new) == is_kept


def test_sealed_names_are_cached_by_queue_kind_and_name(its_rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    first = its_rows.sealed_names(queue(), "name", ["a", "b"])
    assert its_rows.sealed_names(queue(), "name", ["b", "c", "a"])[::2] == first[::-1]
    others = its_rows.sealed_names(queue(OTHER_SALT), "name", ["a"]) + its_rows.sealed_names(queue(), "kind", ["a"])
    assert [its_rows.opened(record) for record in (first[0], *others)] == [
        ItemSet(salt, kind, "a", None) for salt, kind in ((SALT, "name"), (OTHER_SALT, "name"), (SALT, "kind"))
    ]
    monkeypatch.setattr(rows, "_GROUPS", 2)
    assert its_rows.opened(its_rows.sealed_names(queue(), "name", ["d", "a"])[1]) == ItemSet(SALT, "name", "a", None)
    assert len(its_rows._sealed_names) == 1


@pytest.mark.parametrize("cancelled", [False, True])
@pytest.mark.parametrize("state", State)
def test_a_job_row_has_a_group_key_only_while_the_group_counts_the_job(state: State, cancelled: bool) -> None:
    its, spec = Rows(Seal(KEY)), spec_of(UID, rare=Rare(group="g"))
    one = Job(spec, Standing(state=state, updated=1, notes=Notes(cancelled=cancelled)))
    assert key_of(its, one) == (None if counted_in(one) is None else its.group("g"))
