"""Reads the file back at the start: applies its facts again, without rules or clock."""

from collections.abc import Iterator, Sequence
from typing import Final

from twisted.logger import Logger

from ...core.fact_codec import UnknownRecord, decode
from ...core.facts import Fact
from ...storage.errors import NewerFormat
from ...storage.journal import Journal
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
    done, tables.groups_later = 0, True
    for records in journal.recover(now):
        for start in range(0, len(records), _AT_ONCE):
            some = records[start : start + _AT_ONCE]
            gradual_free.add_deleted(tables.apply(_facts(some, journal.path)), tables)
            done += len(some)
            if done >= _AT_ONCE:
                yield
                done = 0
    yield from tables.index_groups(_AT_ONCE)
    if journal.torn is not None:
        n, path = journal.torn.length, journal.torn.copy
        _log.warn("a crash had cut the last write short; its {n} bytes are in {path}", n=n, path=path)
    if not journal.clean:
        _log.info("the database was not closed in good order: syncing the recovered data to disk")


def _facts(records: Sequence[bytes], path: str) -> list[Fact]:
    try:
        return [decode(record) for record in records]
    except UnknownRecord as error:
        raise NewerFormat(f"{path}: {error} is not known to this JobEngine; use a newer one") from None
