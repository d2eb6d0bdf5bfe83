"""Queues and jobs are unchanged by a move between a file and PostgreSQL."""

import json
from collections.abc import Mapping

import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from jobengine.core.facts import ClockSet, Fact, JobAdded, QueueCreated
from jobengine.core.model import Job, Standing, State
from jobengine.engine.postgres.database.connection import connected
from jobengine.engine.postgres.database.rows import Rows
from jobengine.engine.postgres.database.schema import opened
from jobengine.engine.postgres.recount import recount
from jobengine.storage.errors import NotADatabase, StorageError, WrongSecret
from jobengine.tools.exporting import NoSuchQueue
from jobengine.tools.importing import BadExport
from jobengine.tools.postgres_transfer import export_database, import_into_database
from jobengine.tools.source import no_progress
from tests.core.random_facts import facts
from tests.doubles import SECRET
from tests.postgres import Cluster, Database
from tests.storage.simulated_files import SimulatedFiles

from .databases import COPY, FACTS, MAIL, PATH, TEXT, job, made, tables, whole_state
from .test_transfer import exported, imported

pytestmark = pytest.mark.slow

AGAIN = "/data/again.jsonl"


def _environment(database: Database) -> Mapping[str, str]:
    return {"DATABASE_URL": database.url, "SECRET": SECRET.decode()}


def _put(database: Database, files: SimulatedFiles) -> None:
    import_into_database(TEXT, environment=_environment(database), files=files)


def _take(database: Database, files: SimulatedFiles, queue: str | None = None) -> None:
    export_database(AGAIN, environment=_environment(database), files=files, queue=queue)


def _lines(files: SimulatedFiles) -> list[bytes]:
    return files.now()[AGAIN].splitlines()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(facts.filter(lambda fact: not isinstance(fact, ClockSet)), max_size=60))
def test_an_export_imported_into_postgres_and_exported_again_has_the_same_lines(
    database: Database, made_up: list[Fact]
) -> None:
    database.clear()
    files = made(made_up)
    exported(files)
    _put(database, files)
    _take(database, files)
    # The order of jobs differs, but has no meaning.
    assert sorted(_lines(files)) == sorted(files.now()[TEXT].splitlines())
    imported(files, AGAIN)
    assert whole_state(tables(files, COPY)) == whole_state(tables(files, PATH))
    _check_columns(database)


def _check_columns(database: Database) -> None:
    """Check that the tally has the number of jobs in each place, and that only jobs that can be claimed have tags."""
    counted = (
        "SELECT queue_id, place, sum(jobs)::bigint FROM tally WHERE place < 5 GROUP BY 1, 2 HAVING sum(jobs) <> 0 "
        "EXCEPT SELECT queue_id, place, count(*) FROM job GROUP BY 1, 2"
    )
    strays = "SELECT 1 FROM tag t LEFT JOIN job j USING (queue_id, uid) WHERE j.place IS DISTINCT FROM 0"
    with connected(database.url) as connection:
        assert connection.execute(counted).fetchall() == []
        assert connection.execute(strays).fetchall() == []
        rows = Rows(opened(connection, SECRET))
        assert recount(connection, rows, no_progress).corrections == []


@pytest.mark.parametrize(("there", "here"), [(0, 7_000), (7_000, 0), (-7_000, 9_000)])
def test_a_lease_has_the_same_time_left_after_a_move_even_if_clocks_were_set(
    database: Database, there: int, here: int
) -> None:
    database.clear()
    held = job(1, State.INPROGRESS)
    files = made([ClockSet(there), QueueCreated(MAIL), held])
    exported(files)
    with connected(database.url) as connection:
        connection.execute("UPDATE meta SET ahead = %s", [here])
    _put(database, files)
    _take(database, files)
    begin, _, line, _ = map(json.loads, _lines(files))
    assert begin["ahead"] == here
    # `updated` is elapsed time, and the lease ends a fixed time after it.
    assert line["updated"] + begin["ahead"] == held.job.standing.updated + there


def test_jobs_added_after_an_import_come_after_the_imported_jobs(database: Database) -> None:
    database.clear()
    late = replace(job(1).job.spec, arrival=5 << 40)
    files = made([QueueCreated(MAIL), JobAdded("mail", Job(late, Standing(state=State.QUEUED, updated=1)))])
    exported(files)
    _put(database, files)
    with connected(database.url) as connection:
        ((batch,),) = connection.execute("SELECT nextval('batch')").fetchall()
    assert batch << 20 > late.arrival


def test_a_single_queue_is_exported_and_an_unknown_queue_is_refused(database: Database) -> None:
    database.clear()
    files = made([*FACTS, QueueCreated(evolve(MAIL, name="other", salt="t"))])
    exported(files)
    _put(database, files)
    with pytest.raises(NoSuchQueue, match="the database: there is no queue 'mial'; did you mean 'mail'"):
        _take(database, files, "mial")
    _take(database, files, "mail")
    _, mail, *jobs, end = map(json.loads, _lines(files))
    assert (mail["name"], len(jobs), end) == ("mail", 3, {"kind": "end", "queues": 1, "jobs": 3})


def test_nothing_is_imported_from_an_incomplete_file_or_into_a_database_with_queues(database: Database) -> None:
    database.clear()
    files = made()
    exported(files)
    whole = files.now()[TEXT]
    half = SimulatedFiles(disk={TEXT: whole.rpartition(b'{"kind":"end"')[0]})
    with pytest.raises(BadExport, match="the rest is missing"):
        _put(database, half)
    _put(database, files)
    with pytest.raises(StorageError, match="the database has queues already"):
        _put(database, files)
    _take(database, files)
    assert sorted(_lines(files)) == sorted(whole.splitlines())


def test_a_transfer_with_a_wrong_secret_or_without_tables_is_refused(database: Database, cluster: Cluster) -> None:
    files = made()
    exported(files)
    before = files.now()
    with pytest.raises(WrongSecret):
        export_database(AGAIN, environment={**_environment(database), "SECRET": "another"}, files=files)
    bare = Database(cluster.make_database("bare_of_moving"))
    for move in (_put, _take):
        with pytest.raises(NotADatabase, match="jobengine db migrate"):
            move(bare, files)
    assert files.now() == before
