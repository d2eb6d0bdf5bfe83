"""
Batches: jobs of a queue that are awaited together.

A batch is a named thing of its queue (see ItemSet); its jobs name it, and are counted by an index. It ends when it is
closed and all its jobs are finished. Then the job given as `then` is released, since it depends on the batch, and the
retention of the batch's finished jobs begins.
"""

from collections.abc import Mapping
from typing import Annotated, Final

from msgspec import Meta
from msgspec.json import Decoder, Encoder
from msgspec.structs import replace

from .dependencies import MET, NOT_YET, UNMET
from .model import DAY, MINUTE, UNFINISHED, State
from .values import Value

#: The kind of named thing (see ItemSet) for batches.
BATCH: Final = "batch"
#: The most characters of a batch's name.
NAME_LENGTH: Final = 200
#: The most batches of a queue.
MOST_BATCHES: Final = 10_000
#: How long a batch that never had jobs is kept after its end, in milliseconds.
_EMPTY_KEPT: Final = DAY
#: A batch that had jobs is kept for this many milliseconds after its end, and longer while it has jobs.
_KEPT: Final = 60 * MINUTE


class Batch(Value, frozen=True, kw_only=True, omit_defaults=True):
    """A batch as it is stored. Its times are elapsed times."""

    created: Annotated[int, Meta(ge=0)]
    #: The uid of the job that is released at its end; None without one.
    then: str | None = None
    #: Whether the batch takes new jobs even after all its jobs are finished.
    open: bool = True
    #: When the batch ended; None if it has not, or a job was retried since.
    ended: Annotated[int, Meta(ge=0)] | None = None
    #: Whether the batch has ended with a failed job, or with a job that was removed before it was complete.
    failed: bool = False
    #: How many jobs were removed before they were complete.
    lost: Annotated[int, Meta(ge=0)] = 0
    #: How many jobs the batch had when it ended.
    jobs: Annotated[int, Meta(ge=0)] = 0


class BatchCounts(Value, frozen=True):
    """The number of a batch's jobs by state; states without jobs are missing."""

    states: Mapping[State, int]

    @property
    def total(self) -> int:
        """All jobs that exist."""
        return sum(self.states.values())

    @property
    def unfinished(self) -> int:
        """Queued jobs and those in progress."""
        return sum(self.states.get(state, 0) for state in UNFINISHED)


_encode: Final = Encoder().encode
_read: Final = Decoder(Batch).decode


def batch_text(batch: Batch) -> str:
    """A batch as the value of its named thing."""
    return _encode(batch).decode()


def batch_of(text: str) -> Batch:
    """A batch from the value of a named thing; raises ValidationError."""
    return _read(text)


def end_of_batch(batch: Batch | None) -> str:
    """The character for this batch in the `Standing.ended` of a job that depends on it."""
    if batch is not None and batch.ended is None:
        return NOT_YET
    return MET if batch is not None and not batch.failed else UNMET


def batch_after(batch: Batch, counts: BatchCounts, now: int) -> Batch:
    """The batch at `now`, given its job counts: they may end it, undo its end, or change whether it has failed."""
    if not _is_over(batch, counts):
        return batch if batch.ended is None else replace(batch, ended=None, failed=False)
    if batch.ended is None:
        batch = replace(batch, ended=now, jobs=counts.total)
    return replace(batch, failed=_has_failed(batch, counts))


def kept_after_end(batch: Batch) -> int:
    """How many milliseconds a batch is kept after its end; while it has jobs, it is kept longer."""
    return _KEPT if batch.jobs else _EMPTY_KEPT


def is_to_change(batch: Batch, counts: BatchCounts) -> bool:
    """Whether `batch_after` would change the batch."""
    if not _is_over(batch, counts):
        return batch.ended is not None
    return batch.ended is None or batch.failed is not _has_failed(batch, counts)


def _is_over(batch: Batch, counts: BatchCounts) -> bool:
    return not batch.open and not counts.unfinished


def _has_failed(batch: Batch, counts: BatchCounts) -> bool:
    return batch.lost > 0 or counts.states.get(State.FAILED, 0) > 0
