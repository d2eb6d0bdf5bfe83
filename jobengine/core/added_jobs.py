"""
Reads many records at once, for the start of a server. Records of jobs take half the time that `decode` takes.

Most jobs were added together with others, so nearly all their fields are those of the job before.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, Literal

from msgspec import MsgspecError
from msgspec.json import Decoder

from .fact_codec import JOB_ADDED, NO_EXTRAS, decode, made_job, read_extras, read_parts
from .facts import Fact
from .model import Job, of_group
from .values import Value


class JobsAdded(Value, frozen=True):
    """Jobs of one queue that were read together: the same as a JobAdded for each of them."""

    queue: str
    jobs: list[Job]


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


def facts_of(records: Iterable[bytes]) -> Iterator[Fact | JobsAdded]:
    """
    The facts of records, of any released version.

    Raises UnknownRecord for a kind or version that is not known here.
    """
    for queue, some in groupby(_read(records), itemgetter(0)):
        if queue is None:
            yield from (fact for _, fact in some)
        else:
            yield JobsAdded(queue, [job for _, job in some])


def _read(records: Iterable[bytes]) -> Iterator[tuple[str | None, Any]]:
    """The queue and the job of each record of an added job; None and the fact of each other record."""
    last: Any = None
    last_written: Any = None
    extras = NO_EXTRAS
    for record in records:
        if not record.startswith(JOB_ADDED):
            yield None, decode(record)
            continue
        line, _, content = record.partition(b"\n")
        try:
            # fmt: off
            (_, _, queue, uid, priority, arrival, keep, failed, timeout, until, created, written,
             state, updated, attempts, claimed, lease, worker, more) = _read_fields(line)
            # fmt: on
        except MsgspecError:
            # A record of an old or unknown version, or a damaged one.
            yield None, decode(record)
            continue
        fields = (keep, failed, timeout, until, created, state, updated, attempts, claimed, lease, worker, more)
        if fields != last:
            # read_parts empties `more`, so it can't be compared with the next one.
            last = None if more else fields
            parts = read_parts(*fields)
        if written != last_written:
            last_written = written
            rare = of_group(written.get("group")) if len(written) == 1 else None
            extras = read_extras(written) if rare is None else ((), 1, 0, rare)
        yield queue, made_job(uid, priority, arrival, content, parts, extras)
