"""Reads the file back at the start: applies its facts again, without rules or clock."""

import gc
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Final

from twisted.logger import Logger

from ..core.added_jobs import facts_of
from ..core.effects import Effect
from ..core.fact_codec import UnknownRecord
from ..storage.errors import NewerFormat
from ..storage.journal import Journal
from .gradual_free import GradualFree
from .tables.state import Tables

#: The number of records that are read in one step: about five milliseconds.
_AT_ONCE: Final = 1_000

_log: Final = Logger()


def read_back(journal: Journal, tables: Tables, gradual_free: GradualFree, now: int) -> Iterator[None]:
    """
    Read the database file into the tables, about _AT_ONCE records at each step; `now` is the wall clock, in
    milliseconds.

    Raises StorageError or OSError.
    """
    tables.groups_later = True
    records = chain.from_iterable(journal.recover(now))
    # A step may read several frames, as many are short.
    while some := list(islice(records, _AT_ONCE)):
        gradual_free.add_deleted(_load(some, tables, journal.path), tables)
        if len(some) == _AT_ONCE:
            # The objects read so far are no garbage; a collection would begin soon, and examine all of them.
            gc.freeze()
        yield
    yield from tables.index_groups(_AT_ONCE)
    if journal.torn is not None:
        n, path = journal.torn.length, journal.torn.copy
        _log.warn("a crash had cut the last write short; its {n} bytes are in {path}", n=n, path=path)
    if not journal.clean:
        _log.info("the database was not closed in good order: syncing the recovered data to disk")


def _load(records: Iterable[bytes], tables: Tables, path: str) -> list[Effect]:
    try:
        return tables.load(facts_of(records))
    except UnknownRecord as error:
        raise NewerFormat(f"{path}: {error} is not known to this JobEngine; use a newer one") from None
