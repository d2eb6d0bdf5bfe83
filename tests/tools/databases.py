"""Small databases with queues and jobs, on a disk in memory."""

from collections.abc import Iterable, Sequence

from jobengine.core.fact_codec import decode, encode
from jobengine.core.facts import Fact, JobAdded, QueueCreated
from jobengine.core.model import Job, Queue, Standing, State
from jobengine.engine.tables.queue_table import QueueTable
from jobengine.engine.tables.state import Tables
from jobengine.storage.journal import Journal
from tests.core.worlds import spec_of
from tests.doubles import QUICK_KDF, SECRET
from tests.storage.files_of_commits import recovered
from tests.storage.simulated_files import SimulatedFiles

PATH = "/data/db"
COPY = "/data/copy"
TEXT = "/data/all.jsonl"
GO = "/data/database.db"
MAIL = Queue(name="mail", salt="s", digest="d" * 64, created=1)


def job(number: int, state: State = State.QUEUED, content: bytes = b"{}") -> JobAdded:
    spec = spec_of(f"uid-{number}", arrival=number, content=content)
    return JobAdded("mail", Job(spec, Standing(state=state, updated=1)))


#: A queue and three jobs, a commit for each.
FACTS: Sequence[Fact] = (QueueCreated(MAIL), job(1), job(2, State.FAILED), job(3))


def made(facts: Iterable[Fact] = FACTS, *, orderly: bool = True) -> SimulatedFiles:
    """A disk with a database of these facts, a commit for each."""
    return with_records(map(encode, facts), orderly=orderly)


def with_records(records: Iterable[bytes], *, orderly: bool = True) -> SimulatedFiles:
    files = SimulatedFiles()
    journal, _ = recovered(Journal(PATH, files=files, kdf=QUICK_KDF))
    for record in records:
        journal.append([record])
    journal.close(orderly=orderly)
    return SimulatedFiles(disk=files.now())


def tables(files: SimulatedFiles, path: str, secret: bytes = SECRET) -> Tables:
    """The tables that a server would have in memory."""
    found = Tables()
    found.apply(decode(record) for record in records(files, path, secret))
    return found


def whole_state(found: Tables) -> tuple[int, list[tuple[Queue, Sequence[Job], dict[tuple[str, str], str]]]]:
    """The clock, and all queues with their items and with their jobs in execution order."""
    return found.ahead, [(table.queue, _all_jobs(table), dict(table.named)) for table in found.queues.values()]


def _all_jobs(table: QueueTable) -> Sequence[Job]:
    jobs, after = table.page(None, 1000)
    while after is not None:
        more, after = table.page(after, 1000)
        jobs += more
    counted = (sum(job.retrying for job in jobs), sum(job.cancelled for job in jobs))
    counts = table.counts()
    assert (counts.retrying, counts.cancelled) == counted
    return jobs


def records(files: SimulatedFiles, path: str, secret: bytes = SECRET) -> list[bytes]:
    """All records of a database, as a server reads them back."""
    journal, commits = recovered(Journal(path, files=files), secret)
    journal.close(orderly=False)
    return [record for commit in commits for record in commit]
