"""Computes the length of a record's rare parts, without making the record."""

from functools import lru_cache
from typing import Final

from msgspec.json import Encoder

from .model import NO_CONTEXT, NO_NOTES, NO_RARE, Job, Rare, Standing

_line: Final = Encoder().encode

#: About how many bytes a past attempt takes in a record, without its worker and its error.
_ATTEMPT_BYTES: Final = 50


def length_of_more(job: Job) -> int:
    """
    The bytes that tags, unique key, context, worker and notes add to a job's record.

    The length depends on these fields alone, so it stays the same when other fields change.
    """
    spec, length = job.spec, length_of_reported(job.standing)
    if spec.rare is NO_RARE and not spec.tags:
        return length
    return length + length_of_extras(spec.tags, spec.rare)


def length_of_extras(tags: tuple[str, ...], rare: Rare) -> int:
    """How many of the bytes in `length_of_more` are for tags and rare fields."""
    length = len(_line((tags, rare.unique_key))) if tags or rare.unique_key else 0
    if rare.unique is not None:
        length += len(_line(rare.unique))
    if rare.group:
        length += len(rare.group)
    if rare.batch:
        length += len(rare.batch)
    if rare.dependencies is not None:
        length += len(_line(rare.dependencies))
    if rare.context is not NO_CONTEXT:
        length += len(_line(rare.context))
    return length


def length_of_reported(standing: Standing) -> int:
    """How many of the bytes in `length_of_more` are for worker and notes; past attempts are partly estimated."""
    length = _length_of_worker(standing.worker) if standing.worker else 0
    notes = standing.notes
    if notes is NO_NOTES:
        return length
    error = notes.error
    error_length = len(_line(error)) if error else 0
    length += error_length
    if notes.result:
        length += len(_line(notes.result.decode()))
    if notes.fingerprint:
        length += len(notes.fingerprint)
    for attempt in notes.history:
        length += _ATTEMPT_BYTES
        if attempt.worker:
            length += _length_of_worker(attempt.worker)
        if attempt.error:
            # A job that has just failed has its error in two places.
            length += error_length if attempt.error is error else len(_line(attempt.error))
        if attempt.fingerprint:
            length += len(attempt.fingerprint)
    return length


@lru_cache(maxsize=1024)
def _length_of_worker(name: str) -> int:
    """The bytes of a worker's name in a record; cached, since many jobs have the same."""
    return len(_line(name))
