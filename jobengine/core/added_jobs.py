"""
Reads many records at once, for the start of a server. Jobs are read in half the time that `decode` takes.

Most jobs were added together with other jobs, so nearly all fields of a record equal those of the record before.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Literal

from msgspec import MsgspecError
from msgspec.json import Decoder

from .fact_codec import JOB_ADDED, NO_EXTRAS, Extras, Parts, decode, made_job, read_extras, read_parts
from .facts import Fact
from .model import NO_NOTES, NO_RARE, Job, Rank, Rare, Spec, Standing, of_group, shared_rare
from .places import Place, place_of
from .record_length import length_of_extras
from .values import Value


class JobsAdded(Value, frozen=True):
    """Jobs of one queue that were read together: the same as a JobAdded for each of them."""

    queue: str
    #: By uid.
    jobs: dict[str, Job]
    #: The uids of the jobs for which the index of ready jobs is not enough: they are not ready, or have reports, tags,
    #: a timeout_time, a unique key, a batch or dependencies.
    others: list[str]
    #: The ranks of the jobs that are not in `others`, and how many bytes their contents and rare fields take.
    ranks: list[Rank]
    length: int


#: The fields of a record from version 4 on; see fact_codec.
_Fields = tuple[
    Literal["job-added"],
    Literal[4, 5, 6, 7],
    str,
    str,
    int,
    int,
    int,
    int,
    int,
    int,
    int,
    dict[str, Any],
    str,
    int,
    int,
    int,
    str | None,
    str | None,
    dict[str, Any],
]
_read_fields: Final = Decoder(_Fields).decode
#: Extras, and their length in a record; the length is None if the job belongs in `JobsAdded.others`.
_Found = tuple[Extras, int | None]
_NO_EXTRAS: Final[_Found] = (NO_EXTRAS, 0)


def facts_of(records: Iterable[bytes]) -> Iterator[Fact | JobsAdded]:
    """
    The facts of records, of any released version.

    Raises UnknownRecord for a kind or version that is not known here.
    """
    last, jobs, others, ranks, total = None, dict[str, Job](), list[str](), list[Rank](), 0
    for queue, job, length in _read(records):
        if queue != last or queue is None or jobs.setdefault(job.spec.uid, job) is not job:
            if last is not None:
                yield JobsAdded(last, jobs, others, ranks, total)
            last, jobs, others, ranks, total = queue, {}, [], [], 0
            if queue is None:
                yield job
                continue
            jobs[job.spec.uid] = job
        if length is None:
            others.append(job.spec.uid)
        else:
            # Read the rank while the job is in the processor's cache: a later pass over all jobs would take more time.
            ranks.append(job.spec.rank)
            total += length
    if last is not None:
        yield JobsAdded(last, jobs, others, ranks, total)


def _read(records: Iterable[bytes]) -> Iterator[tuple[str | None, Any, int | None]]:
    """Yield (queue, job, length), with length None for `JobsAdded.others`; or (None, fact, None) for any other fact."""
    last: Any = None
    read_extras_of = _ExtrasReader().read
    for record in records:
        if not record.startswith(JOB_ADDED):
            yield None, decode(record), None
            continue
        line, _, content = record.partition(b"\n")
        try:
            # fmt: off
            (_, _, queue, uid, priority, arrival, keep, failed, timeout, until, created, written,
             state, updated, attempts, claimed, lease, worker, more) = _read_fields(line)
            # fmt: on
        except MsgspecError:  # a record of an old or unknown version, or a damaged one
            yield None, decode(record), None
            continue
        fields = (keep, failed, timeout, until, created, state, updated, attempts, claimed, lease, worker, more)
        if fields != last:
            # read_parts empties `more`: then the next record's fields can't be compared with the fields of this one.
            last = None if more else fields
            parts = read_parts(*fields)
            make, is_ready = _maker(parts), not until and _is_ready(parts[0])
        if len(written) > 1 or (written and "group" not in written):
            extras, length = read_extras_of(written)
            job = made_job(uid, priority, arrival, content, parts, extras)
        elif (group := written.get("group")) is not None:
            job, length = make(uid, priority, arrival, content, of_group(group) or shared_rare(None, group)), len(group)
        else:
            job, length = make(uid, priority, arrival, content), 0
        yield queue, job, None if length is None or not is_ready else len(content) + length


def _maker(parts: Parts) -> Callable[..., Job]:
    """
    A function that makes jobs with these parts. Its arguments are the other fields that most jobs have, so it takes
    less time than `made_job`.
    """
    standing, keep, timeout, until, created = parts

    def make(uid: str, priority: int, arrival: int, content: bytes, rare: Rare = NO_RARE) -> Job:
        spec = Spec(
            uid=uid,
            priority=priority,
            arrival=arrival,
            keep=keep,
            timeout_seconds=timeout,
            timeout_time=until,
            content=content,
            created=created,
            rare=rare,
        )
        return Job(spec, standing)

    return make


def _is_ready(standing: Standing) -> bool:
    """Whether a job with this standing is ready, and nothing was reported about it."""
    return place_of(standing) is Place.READY and standing.notes is NO_NOTES and standing.worker is None


class _ExtrasReader:
    """Reads the extras of jobs; if they equal those of the job before, its result is used again."""

    def __init__(self) -> None:
        self._written: dict[str, Any] = {}
        self._found = _NO_EXTRAS

    def read(self, written: dict[str, Any]) -> _Found:
        if written != self._written:
            self._written, extras = written, read_extras(written)
            tags, _, _, rare = extras
            is_indexed = tags or rare.unique_key is not None or rare.batch is not None or rare.dependencies is not None
            self._found = (extras, None if is_indexed else length_of_extras(tags, rare))
        return self._found
