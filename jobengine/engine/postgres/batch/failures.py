"""Writes and reads the failures of queues: the table `failure` has a row for each job in a group of failures."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Final

from attrs import frozen
from psycopg import Connection

from ....core.failures import (
    MOST_GROUPS,
    UIDS,
    Alike,
    FoundGroup,
    FoundPage,
    failure_of,
    minutes_before,
)
from ....core.model import FAILED, MINUTE, Job
from ....core.required_rows import FailuresOf, Needs
from ....core.stats import FailureCounts
from ..database.pipeline import Row
from ..database.rows import Rows
from ..sql import named
from .tables import LoadedTable

_LIST_FAILURES: Final = named("list_failures")
_LATEST_FAILURES: Final = named("latest_failures")
_COUNT_FAILURES_BY_MINUTE: Final = named("count_failures_by_minute")
_COUNT_FAILURES: Final = named("count_failures")
_COUNT_ALIKE: Final = named("count_alike")
#: More jobs than any group has.
_MOST: Final = (1 << 63) - 1


def may_be_failure(job: Job | None) -> bool:
    """Whether a job may be in a group of failures. A quick check, which rules out nearly all jobs."""
    return job is not None and (job.standing.state is FAILED or job.standing.notes.retrying)


def failure_row(rows: Rows, job: Job | None) -> tuple[bytes, int] | None:
    """The columns `key` and `at` of a job in the table `failure`; None if it has no row."""
    failure = None if job is None else failure_of(job)
    return None if failure is None else (rows.fingerprint(failure[0]), failure[1])


@frozen
class FailureRows:
    """The groups on a page, without their jobs."""

    #: The key of each group, with the number of its jobs and the time of the first failure.
    groups: Sequence[tuple[bytes, Alike]]
    #: For each key, the uids of the jobs that failed last, and the counts by minute.
    uids: Mapping[bytes, Sequence[str]]
    minutes: Mapping[bytes, Mapping[int, int]]
    #: Whether more groups follow.
    more: bool
    #: The number of jobs in groups that are not listed.
    dropped: int

    @property
    def all_uids(self) -> Iterable[str]:
        """The uids of all jobs on the page."""
        return (uid for uids in self.uids.values() for uid in uids)


def find_failures(
    connection: "Connection[Row]", rows: Rows, queue_id: int, page: FailuresOf, elapsed: int
) -> FailureRows:
    """Find the groups of failures on a page, with how many failed in each minute of the hour up to `elapsed`."""
    jobs, key = (_MOST, b"") if page.after is None else (page.after[0], rows.fingerprint(page.after[1]))
    found = _LIST_FAILURES.execute(
        connection, queue_id=queue_id, limited=MOST_GROUPS, jobs=jobs, key=key, most=page.limit + 1
    ).fetchall()
    groups = [(bytes(row[0]), Alike(row[1], row[2])) for row in found[: page.limit]]
    keys = [one for one, _ in groups]
    uids, minutes = defaultdict[bytes, list[str]](list), defaultdict[bytes, dict[int, int]](dict)
    for its, uid in _LATEST_FAILURES.execute(connection, queue_id=queue_id, keys=keys, most=UIDS):
        uids[bytes(its)].append(uid)
    since = minutes_before(elapsed)[0] * MINUTE
    for its, minute, count in _COUNT_FAILURES_BY_MINUTE.execute(connection, queue_id=queue_id, keys=keys, since=since):
        minutes[bytes(its)][minute] = count
    return FailureRows(groups, uids, minutes, len(found) > page.limit, found[0][3] if found else 0)


def found_page(rows: Rows, found: FailureRows, jobs: Mapping[str, Job], now: int) -> FoundPage:
    """The page with its jobs, as far as they are loaded and still are in their groups."""
    groups = [
        FoundGroup(
            alike=alike,
            minutes=[found.minutes.get(key, {}).get(minute, 0) for minute in minutes_before(now)],
            latest=latest,
        )
        for key, alike in found.groups
        if (latest := [jobs[uid] for uid in found.uids.get(key, ()) if _is_in(rows, jobs.get(uid), key)])
    ]
    if not groups or not found.more:
        return FoundPage(groups=groups, dropped=found.dropped)
    failure = failure_of(groups[-1].latest[0])
    following = None if failure is None else (groups[-1].alike.count, failure[0])
    return FoundPage(groups=groups, following=following, dropped=found.dropped)


def _is_in(rows: Rows, job: Job | None, key: bytes) -> bool:
    row = failure_row(rows, job)
    return row is not None and row[0] == key


def find_alike(connection: "Connection[Row]", rows: Rows, queue_id: int, fingerprint: str) -> Alike:
    """The jobs of a queue whose failures have this fingerprint."""
    key = rows.fingerprint(fingerprint)
    ((count, first),) = _COUNT_ALIKE.execute(connection, queue_id=queue_id, key=key).fetchall()
    return Alike(count, first)


def count_failures(connection: "Connection[Row]", queue_id: int, since: int) -> FailureCounts:
    """How many groups of failures a queue has, and how many of them began after a time."""
    ((groups, new),) = _COUNT_FAILURES.execute(connection, queue_id=queue_id, since=since, most=MOST_GROUPS).fetchall()
    return FailureCounts(groups, new)


def load_failures(
    connection: "Connection[Row]", rows: Rows, queue_id: int, table: LoadedTable, needs: Needs, elapsed: int
) -> set[tuple[int, str]]:
    """Load the failures that a command needs into its table; returns the jobs to load with these failures."""
    if needs.alike:
        table.find_alike = partial(find_alike, connection, rows, queue_id)
    if needs.count_failures:
        table.count_failed = partial(count_failures, connection, queue_id)
    if needs.failures is None:
        return set()
    found = find_failures(connection, rows, queue_id, needs.failures, elapsed)
    table.find_failures = partial(found_page, rows, found, table.jobs)
    return {(queue_id, uid) for uid in found.all_uids}
