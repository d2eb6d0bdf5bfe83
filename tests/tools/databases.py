"""Small databases with queues and jobs, on a disk in memory."""

from collections.abc import Iterable, Sequence

from jobengine.core.fact_codec import encode
from jobengine.core.facts import Fact, JobAdded, QueueCreated
from jobengine.core.model import Job, Queue, Spec, Standing, State
from jobengine.storage.journal import Journal
from tests.doubles import QUICK_KDF, SECRET
from tests.storage.files_of_commits import recovered
from tests.storage.simulated_files import SimulatedFiles

PATH = "/data/db"
COPY = "/data/copy"
MAIL = Queue(name="mail", salt="s", digest="d", created=1)


def job(number: int, state: State = State.QUEUED, content: bytes = b"{}") -> JobAdded:
    spec = Spec(
        uid=f"uid-{number}",
        priority=0,
        arrival=number,
        keep_minutes=60,
        timeout_seconds=600,
        timeout_time=0,
        content=content,
        created=1,
    )
    return JobAdded("mail", Job(spec, Standing(state=state, updated=1)))


#: A queue and three jobs, a commit for each.
FACTS: Sequence[Fact] = (QueueCreated(MAIL), job(1), job(2, State.FAILED), job(3))


def made(facts: Iterable[Fact] = FACTS, *, orderly: bool = True) -> SimulatedFiles:
    """A disk with a database of these facts, a commit for each."""
    files = SimulatedFiles()
    journal, _ = recovered(Journal(PATH, files=files, kdf=QUICK_KDF))
    for fact in facts:
        journal.append([encode(fact)])
    journal.close(orderly=orderly)
    return SimulatedFiles(disk=files.now())


def records(files: SimulatedFiles, path: str, secret: bytes = SECRET) -> list[bytes]:
    """All records of a database, as a server reads them back."""
    journal, commits = recovered(Journal(path, files=files), secret)
    journal.close(orderly=False)
    return [record for commit in commits for record in commit]
