"""Every released version of the file and of each record can be read, and means what it meant."""

import shutil
from pathlib import Path

import pytest

from jobengine.core import events
from jobengine.core.events import Fact, UnknownRecord, decode, encode
from jobengine.core.model import State
from jobengine.core.state import Tables
from jobengine.storage.errors import NewerFormat
from jobengine.storage.journal import Journal
from tests.doubles import QUICK_KDF, SECRET, make_engine, new_clock
from tests.golden.facts import COMMITS, MAIL, RECORDS, SLICES
from tests.storage.files_of_commits import NOW, opened

HERE = Path(__file__).parent
#: The jobs of the golden database in execution order: uid's last digit, priority, state, updated, timeout_time.
EXPECTED = [
    (2, 5, State.COMPLETE, 1_700_000_000_133, 0),
    (1, 0, State.INPROGRESS, 1_700_000_000_143, 0),
    (3, -1, State.FAILED, 1_700_000_000_153, 4_000_000_000),
]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return Path(shutil.copy(HERE / "format-1.0.db", tmp_path / "db"))


def test_the_golden_database_holds_exactly_these_facts(database: Path) -> None:
    journal, commits = opened(database)
    assert journal.clean
    assert [[decode(record) for record in commit] for commit in commits] == [*SLICES, *COMMITS]
    journal.close(orderly=False)


def test_the_golden_database_reads_to_exactly_this_state(database: Path) -> None:
    journal, commits = opened(database)
    journal.close(orderly=False)
    tables = Tables()
    for commit in commits:
        for record in commit:
            tables.apply(decode(record))
    (table,) = tables.queues.values()
    jobs = table.page(None, 100)
    assert table.queue == MAIL
    assert [
        (int(job.spec.uid[-1]), job.spec.priority, job.state, job.updated, job.spec.timeout_time) for job in jobs
    ] == EXPECTED
    assert [job.spec.content for job in jobs] == [
        b'{"n": %d, "text": "Gr\xc3\xbc\xc3\x9fe\\n"}' % number for number in (2, 1, 3)
    ]
    assert {(job.spec.keep_minutes, job.spec.timeout_minutes, job.spec.created) for job in jobs} == {
        (60, 10, 1_700_000_000_123)
    }


def test_the_golden_database_covers_every_kind_of_fact() -> None:
    facts = [fact for part in (*SLICES, *COMMITS) for fact in part]
    assert {type(fact) for fact in facts} == set(events._ENCODERS)
    assert {name.removesuffix(".record") for name in RECORDS} == {
        f"{kind}-{version}" for kind, version in events._DECODERS
    }


@pytest.mark.parametrize(("name", "fact"), RECORDS.items(), ids=list(RECORDS))
def test_a_record_of_each_version_reads_as_it_was_meant(name: str, fact: Fact) -> None:
    assert decode((HERE / name).read_bytes()) == fact


@pytest.mark.parametrize(("name", "fact"), RECORDS.items(), ids=list(RECORDS))
def test_a_fact_is_written_in_the_newest_version_of_its_kind(name: str, fact: Fact) -> None:
    assert encode(fact) == (HERE / name).read_bytes()


@pytest.mark.parametrize(
    "record", [b'["job-paused",1,"mail"]', b'["job-removed",2,"mail","u"]', b'["queue-created",0]']
)
def test_a_record_of_an_unknown_kind_or_version_is_not_guessed_at(record: bytes) -> None:
    with pytest.raises(UnknownRecord):
        decode(record)


def test_a_database_with_a_record_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "db"
    journal, _ = opened(path)
    journal.append([encode(RECORDS["queue-created-1.record"]), b'["job-added",2,"mail",{}]'])
    journal.close(orderly=False)
    before = path.read_bytes()
    with pytest.raises(NewerFormat, match="'job-added' of version 2"):
        make_engine(path, new_clock()).startService()
    assert path.read_bytes() == before


def test_a_database_of_a_newer_major_version_is_refused_and_left_alone(database: Path) -> None:
    data = database.read_bytes()
    newer = data[:8] + bytes([0, 2]) + data[10:]
    database.write_bytes(newer)
    with pytest.raises(NewerFormat, match="version 2"):
        list(Journal(str(database), kdf=QUICK_KDF).open(SECRET, NOW))
    assert database.read_bytes() == newer
