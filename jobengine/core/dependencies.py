"""
What a job waits for: other jobs, or a batch of jobs.

A dependency is met once its job is complete. While a job waits, its standing has one character for each dependency
(`Standing.ended`); the text is empty once nothing is waited for.
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Final

from .values import Value

#: What is waited for: a queue's name, and the uid of a job there or, for a batch, what `batch_key` returns.
Awaited = tuple[str, str]

#: The most dependencies of a job.
MOST_DEPENDENCIES: Final = 100

#: The characters of Standing.ended: unfinished; complete; failed or removed; failed or removed, with a retry awaited.
NOT_YET, MET, UNMET, WAITED_FOR = "-", "c", "f", "w"

_BATCH: Final = "batch:"


class OnDependencyFailure(StrEnum):
    """What becomes of a job when one that it waits for fails or is removed; the values are those of the API."""

    #: The waiting job fails too.
    FAIL = "fail"
    #: The waiting job runs once all its dependencies are finished.
    RUN = "run"
    #: The waiting job goes on waiting until the failed job is retried.
    WAIT = "wait"


class Dependencies(Value, frozen=True):
    """The jobs and batches that a job waits for before it can be claimed."""

    on: tuple[Awaited, ...]
    on_failure: OnDependencyFailure = OnDependencyFailure.FAIL


def batch_key(name: str) -> str:
    """The key that stands for a batch in a dependency, instead of the uid of a job; no uid has this form."""
    return _BATCH + name


def batch_in(key: str) -> str | None:
    """The name of the batch that a key stands for; None if the key is the uid of a job."""
    return key.removeprefix(_BATCH) if key.startswith(_BATCH) else None


def mark_after(mark: str, end: str, on_failure: OnDependencyFailure) -> str:
    """The new character of a dependency that had the character `mark`; `end` is how the awaited job stands now."""
    if mark == MET or end != UNMET:
        return MET if mark == MET else end
    return WAITED_FOR if mark == WAITED_FOR or on_failure is OnDependencyFailure.WAIT else UNMET


def waits_for(ended: str) -> bool:
    """Whether a job whose `Standing.ended` is this text still waits for any of its dependencies."""
    return NOT_YET in ended or WAITED_FOR in ended


def circle_in(links: Mapping[str, Sequence[str]]) -> list[str] | None:
    """
    A circle among jobs, given what each depends on: the uids along it, with the first repeated at the end. None if
    there is no circle.
    """
    finished = set[str]()
    for start in links:
        # The jobs from `start` to the present one, and what is still to be visited from each.
        path: dict[str, Iterator[str]] = {} if start in finished else {start: iter(links[start])}
        while path:
            last = next(reversed(path))
            uid = next(path[last], None)
            if uid is None:
                del path[last]
                finished.add(last)
            elif uid in path:
                along = [*path, uid]
                return along[along.index(uid) :]
            elif uid in links and uid not in finished:
                path[uid] = iter(links[uid])
    return None
