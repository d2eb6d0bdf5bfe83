"""Makes a database from a database of the Go version."""

from collections.abc import Iterator, Sequence
from itertools import islice
from time import time_ns
from typing import Final
from uuid import uuid4

from attrs import frozen

from ..core.access import digest_of_sha512
from ..core.fact_codec import encode
from ..core.facts import JobAdded, QueueCreated
from ..core.model import SECOND, Job, Queue, Spec, Standing, State
from ..core.retention import retention
from ..storage.errors import StorageError
from ..storage.files import Files
from ..storage.frames import Kdf
from .go_file import BadGoFile, GoJob, GoQueue, read_go_file
from .source import Progress, explained, no_progress, open_file
from .target import NewDatabase, check_free, new_target

#: Records in a frame of the snapshot.
_AT_ONCE: Final = 1_000
_LONGEST_NAME: Final = 256
#: The longest content that a server accepts by default, in bytes.
_USUAL_CONTENT: Final = 1 << 20


class BeyondLimits(Exception):
    """Queue names that are empty or too long; str() lists them."""


@frozen(kw_only=True)
class ImportedGo:
    """The result of an import."""

    #: The length of the database in bytes.
    size: int
    queues: int
    jobs: int
    #: The queue and uid of each job whose content is longer than _USUAL_CONTENT.
    long: Sequence[tuple[str, str]]


def import_go(
    path: str,
    target: str,
    go_secret: bytes,
    secret: bytes,
    progress: Progress = no_progress,
    *,
    files: Files | None = None,
    kdf: Kdf | None = None,
) -> ImportedGo:
    """
    Make a database, encrypted with `secret`, from one of the Go version. The latter is held in memory.

    The access keys stay valid (see jobengine.core.access). Raises WrongSecret, BadGoFile, BeyondLimits, TargetExists
    and OSError; then there is no `target`.
    """
    files = files or Files()
    check_free(target, files)
    try:
        queues = _read(path, files, go_secret)
        _check(queues)
        with new_target(target, files) as file:
            database = NewDatabase(file, secret, kdf or Kdf())
            for records in _slices(queues, progress):
                database.add(records)
            database.finish()
    except BadGoFile as error:
        raise BadGoFile(f"{path}: {error}") from None
    long = [(queue.name, job.uid) for queue in queues for job in queue.jobs if len(bytes(job.content)) > _USUAL_CONTENT]
    return ImportedGo(size=file.size, queues=len(queues), jobs=_jobs_in(queues), long=long)


def _read(path: str, files: Files, secret: bytes) -> Sequence[GoQueue]:
    with open_file(path, files) as descriptor:
        sealed = files.read(descriptor, files.size(descriptor), 0)
    try:
        return read_go_file(sealed, secret)
    except StorageError as error:
        raise explained(path, error) from None


def _check(queues: Sequence[GoQueue]) -> None:
    """Raise BeyondLimits if the API would refuse the name of a queue."""
    wrong = [queue.name for queue in queues if not 0 < len(queue.name) <= _LONGEST_NAME]
    if wrong:
        shown = ", ".join(repr(name if len(name) <= 40 else name[:40] + "…") for name in wrong)
        raise BeyondLimits(
            f"queue names must have 1 to {_LONGEST_NAME} characters, and these {len(wrong)} are empty or longer: "
            f"{shown}. Move their jobs to other queues with the Go version first"
        )


def _jobs_in(queues: Sequence[GoQueue]) -> int:
    return sum(len(queue.jobs) for queue in queues)


def _slices(queues: Sequence[GoQueue], progress: Progress) -> Iterator[list[bytes]]:
    """Yield the records of all queues and jobs, in lists."""
    done, total = 0, _jobs_in(queues)
    for queue in queues:
        yield [_queue_record(queue)]
        records = _job_records(queue)
        while some := list(islice(records, _AT_ONCE)):
            yield some
            done += len(some)
            progress(done, total)


def _queue_record(queue: GoQueue) -> bytes:
    salt = str(uuid4())
    digest = digest_of_sha512(queue.access_key.lower(), salt)
    return encode(QueueCreated(Queue(name=queue.name, salt=salt, digest=digest, created=time_ns() // 1_000_000)))


def _job_records(queue: GoQueue) -> Iterator[bytes]:
    uids: set[str] = set()
    for arrival, job in enumerate(queue.jobs):
        if job.uid in uids:
            raise BadGoFile(f"queue {queue.name!r} has two jobs {job.uid}")
        uids.add(job.uid)
        try:
            yield encode(JobAdded(queue.name, _job(job, arrival)))
        except ValueError as error:
            raise BadGoFile(f"queue {queue.name!r}, job {job.uid}: {error}") from None


def _job(job: GoJob, arrival: int) -> Job:
    """Convert a job of the Go version; raises ValueError. A job that is not queued gets one attempt."""
    state = State(job.state)
    spec = Spec(
        uid=job.uid,
        priority=job.priority,
        arrival=arrival,
        keep=retention(job.keep_minutes, job.keep_minutes),
        timeout_seconds=job.timeout_minutes * 60,
        timeout_time=job.timeout_time,
        content=_content(bytes(job.content)),
        created=job.created * SECOND,
    )
    attempts = 0 if state is State.QUEUED else 1
    return Job(spec, Standing(state=state, updated=job.last_updated * SECOND, attempts=attempts))


def _content(content: bytes) -> bytes:
    if content == b"null":
        return b"{}"
    if not content.startswith(b"{"):
        raise ValueError("its content is not an object")
    return content
