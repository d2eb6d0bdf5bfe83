"""Checks that a batch takes a new job, and that no new job closes a circle."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from attrs import define, field

from ..batches import BATCH, Batch, batch_of
from ..dependencies import Awaited, batch_key
from ..errors import BatchEnded, BatchNotFound, TooManyDependants, WouldWaitForItself
from ..tables import Table

#: The most stored jobs that are searched for a circle.
_MOST: Final = 1_000


def existing_batch(table: Table, name: str) -> Batch:
    """A batch of a queue; raises BatchNotFound."""
    text = table.item(BATCH, name)
    if text is None:
        raise BatchNotFound(name)
    return batch_of(text)


def check_takes_jobs(table: Table, name: str) -> None:
    """
    Check that a batch takes new jobs. A closed batch takes jobs until it ends, so that its own jobs may add some.

    Raises BatchNotFound or BatchEnded.
    """
    if existing_batch(table, name).ended is not None:
        raise BatchEnded(name)


@define
class Circles:
    """Finds circles among the new jobs of one request and the stored jobs."""

    table: Table
    #: The new jobs that depend on a job or batch: queue, uid (empty if it has none yet) and batch of each.
    _new: defaultdict[Awaited, list[tuple[str, str, str | None]]] = field(factory=lambda: defaultdict(list))
    #: The jobs and batches that wait for a job or batch, directly or through others; computed at the first use.
    _waiting: dict[Awaited, set[Awaited]] = field(factory=dict)

    def enter(self, uid: str | None, batch: str | None, depends_on: Iterable[Awaited]) -> None:
        """Enter a new job; enter all new jobs before the first `check`."""
        for awaited in depends_on:
            self._new[awaited].append((self.table.queue.name, uid or "", batch))

    def check(self, depends_on: Iterable[Awaited], awaited: Awaited, called: str) -> None:
        """
        Check that none of the jobs `depends_on` waits for `awaited`, directly or through others.

        Raises WouldWaitForItself or TooManyDependants.
        """
        waiting = self._waiting.get(awaited)
        if waiting is None:
            waiting = self._waiting[awaited] = self._waiting_for(awaited)
        for one in depends_on:
            if one in waiting:
                raise WouldWaitForItself(one[1], called)

    def _waiting_for(self, awaited: Awaited) -> set[Awaited]:
        found, following, number = {awaited}, [awaited], 0
        while following:
            last = following.pop()
            stored = self.table.dependants(last, _MOST + 1)
            number += len(stored)
            if number > _MOST:
                raise TooManyDependants(_MOST)
            for queue, uid, batch in (*stored, *self._new.get(last, ())):
                its = [(queue, uid)] if batch is None else [(queue, uid), (queue, batch_key(batch))]
                following += [one for one in its if one not in found]
                found.update(its)
        return found
