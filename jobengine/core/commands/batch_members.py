"""Checks that a new job may belong to a batch, and depend on what it depends on."""

from collections.abc import Collection
from typing import Final

from ..batches import BATCH, Batch, batch_of
from ..dependencies import Awaited, batch_key
from ..errors import BatchEnded, BatchNotFound, TooManyDependants, WouldWaitForItself
from ..tables import Table

#: The most jobs that are looked through for a circle.
_MOST: Final = 1_000


def existing_batch(table: Table, name: str) -> Batch:
    """A batch of a queue; raises BatchNotFound."""
    text = table.item(BATCH, name)
    if text is None:
        raise BatchNotFound(name)
    return batch_of(text)


def check_batch(table: Table, name: str, depends_on: Collection[Awaited]) -> None:
    """
    Check that a batch takes a new job that depends on these. A closed one takes jobs until it ends, so that its jobs
    may add to it.

    Raises BatchNotFound, BatchEnded, WouldWaitForItself or TooManyDependants.
    """
    if existing_batch(table, name).ended is not None:
        raise BatchEnded(name)
    if depends_on:
        check_not_among(depends_on, table, (table.queue.name, batch_key(name)), f"the batch {name}")


def check_not_among(depends_on: Collection[Awaited], table: Table, awaited: Awaited, called: str) -> None:
    """
    Check that none of the jobs `depends_on` waits for `awaited`, directly or through others.

    Raises WouldWaitForItself or TooManyDependants.
    """
    wanted, found, following = {*depends_on}, {awaited}, [awaited]
    if awaited in wanted:
        raise WouldWaitForItself(awaited[1], called)
    while following:
        for queue, uid, batch in table.dependants(following.pop(), _MOST + 1):
            its = [(queue, uid)] if batch is None else [(queue, uid), (queue, batch_key(batch))]
            following += [one for one in its if one not in found]
            found.update(its)
            if (queue, uid) in wanted:
                raise WouldWaitForItself(uid, called)
        if len(found) > _MOST:
            raise TooManyDependants(_MOST)
