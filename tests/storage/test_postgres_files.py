"""The files in PostgreSQL, on a real one: a journal on them, the epoch, lost answers, and altered pieces."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from jobengine.storage.errors import CommitsLost, Damaged, DatabaseAway, LeadLost, Unclear
from jobengine.storage.journal import Journal
from jobengine.storage.postgres_files import PostgresFiles, make_tables
from tests.doubles import QUICK_KDF, SECRET
from tests.postgres import Cluster, until_waiting

pytestmark = pytest.mark.slow

LEAD = "UPDATE jobengine.lead SET epoch = epoch + 1 WHERE cell = 'main'"


class _Lossy(psycopg.Connection[Any]):
    """A connection that loses the answers to the statements in `lost`, after the database has carried them out."""

    lost: list[str]

    def execute(self, query: Any, *how: Any, **more: Any) -> Any:
        answer = super().execute(query, *how, **more)
        if self.lost and self.lost[0] in query:
            self.lost.pop()
            self.close()
            raise psycopg.OperationalError("the connection was lost")
        return answer


class Store:
    """A database with the tables, in which epoch 1 leads."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.lost: list[str] = []
        self.sql = psycopg.connect(url, autocommit=True)
        self.sql.execute("DROP SCHEMA IF EXISTS jobengine CASCADE")
        make_tables(self.sql)
        self.sql.execute("INSERT INTO jobengine.lead VALUES ('main', 1, 'a', '', now())")

    def connect(self) -> psycopg.Connection[Any]:
        made = _Lossy.connect(self.url, autocommit=True)
        made.lost = self.lost
        return made

    def files(self, epoch: int = 1) -> PostgresFiles:
        return PostgresFiles(connect=self.connect, cell="main", epoch=epoch, sleep=lambda _: None)

    def journal(self, epoch: int = 1) -> Journal:
        return Journal("/journal", files=self.files(epoch), kdf=QUICK_KDF)  # type: ignore[arg-type]

    def new_journal(self) -> Journal:
        journal = self.journal()
        journal.lock()
        journal.make(SECRET)
        return journal

    def records(self) -> list[bytes]:
        """All records, as a server that starts now reads them."""
        journal = self.journal()
        assert journal.lock()
        journal.open(SECRET)
        found = [record for records in journal.recover(0) for record in records]
        journal.close(orderly=False)
        return found


@pytest.fixture(scope="module")
def url(cluster: Cluster) -> str:
    return cluster.make_database("postgres_files")


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    store = Store(url)
    yield store
    store.sql.close()


def test_a_journal_is_read_back_as_it_was_written(store: Store) -> None:
    journal = store.new_journal()
    journal.append([b"one", b"two"])
    journal.append([b"three" * 100_000])
    journal.close(orderly=True)
    assert store.records() == [b"one", b"two", b"three" * 100_000]


def test_a_compaction_replaces_the_file_and_deletes_the_old_one(store: Store) -> None:
    journal = store.new_journal()
    journal.append([b"old"])
    journal.start_copy()
    journal.append([b"new"], [b"snapshot"])
    assert journal.finish_copy()
    journal.append([b"later"])
    assert store.records() == [b"snapshot", b"new", b"later"]
    _until(lambda: store.sql.execute("SELECT count(*) FROM jobengine.files").fetchone() == (1,))
    assert store.sql.execute("SELECT count(DISTINCT file) FROM jobengine.pieces").fetchone() == (1,)


def test_a_backup_is_a_whole_database(store: Store, tmp_path: Any) -> None:
    journal = store.new_journal()
    journal.append([b"one"])
    reader, parts = journal.backup_reader(), bytearray()
    while piece := reader.read(len(parts)):
        parts += piece
    (tmp_path / "backup").write_bytes(parts)
    copy = Journal(str(tmp_path / "backup"))
    copy.lock()
    copy.open(SECRET)
    assert [*copy.recover(0)] == [(b"one",)]
    copy.close(orderly=False)


def test_nothing_is_written_in_an_older_epoch(store: Store) -> None:
    journal = store.new_journal()
    store.sql.execute(LEAD)
    with pytest.raises(LeadLost):
        journal.append([b"late"])
    with pytest.raises(LeadLost):
        store.files(epoch=1).create("/other")
    assert store.sql.execute("SELECT count(*) FROM jobengine.pieces").fetchone() == (2,)


def test_a_takeover_waits_for_a_write_that_has_begun_and_reads_it(store: Store) -> None:
    store.new_journal()
    found: list[Any] = []

    def take(taking: psycopg.Connection[Any]) -> None:
        taking.execute("SELECT FROM jobengine.lead FOR UPDATE")
        found.extend(taking.execute("SELECT FROM jobengine.pieces WHERE bytes = 'a piece'").fetchall())

    with psycopg.connect(store.url) as writing, psycopg.connect(store.url) as taking:
        files = PostgresFiles(connect=lambda: writing, cell="main", epoch=1)
        file = files.open("/journal")
        files.write(file, b"a piece", files.size(file))
        thread = threading.Thread(target=take, args=(taking,))
        thread.start()
        until_waiting(store.sql, 1)
        assert not found
        writing.commit()
        thread.join()
    assert len(found) == 1


def test_a_write_that_waits_for_a_takeover_writes_nothing(store: Store) -> None:
    journal, failed = store.new_journal(), []

    def write() -> None:
        try:
            journal.append([b"late"])
        except LeadLost as error:
            failed.append(error)

    with psycopg.connect(store.url) as taking:
        taking.execute("SELECT FROM jobengine.lead FOR UPDATE")
        taking.execute(LEAD)
        thread = threading.Thread(target=write)
        thread.start()
        until_waiting(store.sql, 1)
    thread.join()
    assert len(failed) == 1
    assert store.sql.execute("SELECT count(*) FROM jobengine.pieces").fetchone() == (2,)


def test_a_write_whose_answer_is_lost_is_made_once(store: Store) -> None:
    journal = store.new_journal()
    store.lost.append("INSERT INTO jobengine.pieces")
    journal.append([b"one"])
    journal.append([b"two"])
    assert store.records() == [b"one", b"two"]


def test_a_rename_whose_answer_is_lost_is_made(store: Store) -> None:
    journal = store.new_journal()
    journal.start_copy()
    store.lost.append("SET name = %s WHERE id")
    assert journal.finish_copy()
    journal.append([b"one"])
    assert store.records() == [b"one"]


def test_a_write_without_a_database_changes_nothing_and_can_be_made_later(store: Store) -> None:
    journal, connect = store.new_journal(), store.connect
    journal.append([b"one"])
    files: Any = journal._files
    files.disconnect()
    files.connect = _refuse
    with pytest.raises(DatabaseAway):
        journal.append([b"two"])
    files.connect = connect
    journal.append([b"two"])
    assert store.records() == [b"one", b"two"]


def test_a_write_that_stays_unclear_is_replaced_by_the_next(store: Store) -> None:
    journal = store.new_journal()
    files: Any = journal._files
    for _ in range(2):
        store.lost[:] = ["INSERT INTO jobengine.pieces"]
        files.seconds = iter([0.0, 100.0]).__next__
        with pytest.raises(DatabaseAway):
            journal.append([b"one"])
    files.seconds = lambda: 0.0
    journal.append([b"one", b"two"])
    assert store.records() == [b"one", b"two"]


def test_a_read_only_database_refuses_a_write_that_can_be_made_later(store: Store) -> None:
    journal = store.new_journal()
    files: Any = journal._files
    files._connection.execute("SET default_transaction_read_only = on")
    with pytest.raises(DatabaseAway):
        journal.append([b"one"])
    files.disconnect()
    journal.append([b"one"])
    assert store.records() == [b"one"]


def test_a_database_that_forgot_a_commit_gets_no_bytes_behind_the_gap(store: Store) -> None:
    journal = store.new_journal()
    journal.append([b"one"])
    store.sql.execute("DELETE FROM jobengine.pieces WHERE position = (SELECT max(position) FROM jobengine.pieces)")
    with pytest.raises(CommitsLost):
        journal.append([b"two"])


def test_nothing_is_written_to_a_file_that_has_lost_its_name(store: Store) -> None:
    journal = store.new_journal()
    store.sql.execute("UPDATE jobengine.files SET name = NULL")
    with pytest.raises(CommitsLost):
        journal.append([b"one"])


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM jobengine.pieces WHERE position = {middle}",
        "UPDATE jobengine.pieces SET bytes = substr(bytes, 1, 40) WHERE position = {middle}",
        "UPDATE jobengine.pieces SET bytes = set_byte(bytes, 50, get_byte(bytes, 50) # 1) WHERE position = {middle}",
        "UPDATE jobengine.pieces SET bytes = bytes || 'more' WHERE position = {middle}",
        "UPDATE jobengine.pieces p SET bytes = q.bytes FROM jobengine.pieces q "
        "WHERE p.position IN ({middle}, {last}) AND q.position IN ({middle}, {last}) AND p.position <> q.position",
    ],
    ids=["removed", "truncated", "altered", "longer", "swapped"],
)
def test_a_damaged_piece_is_found(store: Store, damage: str) -> None:
    journal = store.new_journal()
    for record in (b"one", b"two", b"six"):
        journal.append([record])
    positions = [row[0] for row in store.sql.execute("SELECT position FROM jobengine.pieces ORDER BY 1")]
    store.sql.execute(damage.format(middle=positions[-2], last=positions[-1]).encode())
    with pytest.raises((Damaged, Unclear)):
        store.records()


def _refuse() -> psycopg.Connection[Any]:
    raise psycopg.OperationalError("connection refused")


def _until(done: Callable[[], bool]) -> None:
    for _ in range(2_000):
        if done():
            return
        threading.Event().wait(0.005)
    raise AssertionError("it never happened")
