"""Compares the rows about dependencies and batches with what follows from the jobs."""

from typing import Any

from jobengine.engine.postgres.database.connection import connected, copied_jobs
from jobengine.engine.postgres.database.pipeline import Row
from jobengine.engine.postgres.database.rows import Rows
from jobengine.engine.postgres.database.schema import opened
from jobengine.engine.postgres.recount_links import LinkCounting
from jobengine.engine.postgres.sql import named
from tests.doubles import SECRET

#: Jobs on which others depend, but whose rows do not record that; finished jobs that would be removed too early, or
#: never; and unfinished jobs whose deadline was removed.
_WRONG = """
WITH p AS (
    SELECT j.uid, j.place, j.awaited, j.batch, j.kept, j.due, count(d.uid) AS links,
        coalesce(bool_or(d.keeps = 1), false) AS keeps
    FROM job j JOIN queue q ON q.id = j.queue_id
    LEFT JOIN dependency d ON d.parent_queue = q.name_digest AND d.parent_key = j.uid
    GROUP BY j.queue_id, j.uid
)
SELECT * FROM p
WHERE (links > 0 AND awaited IS NULL)
    OR (place = ANY(ARRAY[3, 4]) AND keeps AND due IS NOT NULL)
    OR (place = ANY(ARRAY[3, 4]) AND (due IS NULL) <> (kept IS NOT NULL))
    OR (place = ANY(ARRAY[3, 4]) AND NOT keeps AND batch IS NULL AND due IS NULL)
    OR (place = ANY(ARRAY[0, 1, 2, 12]) AND kept IS NOT NULL)
"""


def wrong_links(url: str) -> list[Any]:
    """The rows that are wrong; every end of a job must have been followed up before."""
    with connected(url) as connection:
        return _wrong(connection)


def _wrong(connection: Any) -> list[Any]:
    rows = Rows(opened(connection, SECRET))
    queues = {row[0]: rows.queue(*row) for row in named("list_queues").execute(connection)}
    counting = LinkCounting(rows)
    found: list[Row] = list(copied_jobs(connection, named("list_counted_jobs")))
    for number, uid, sealed, standing, _ in found:
        if number in queues:
            counting.count(number, rows.job(queues[number], uid, sealed, standing))
    left = connection.execute("SELECT * FROM ended").fetchall()
    wrong = [] if left else connection.execute(_WRONG).fetchall()
    numbers = list(queues)
    return [*counting.wrong_links(connection, numbers), *counting.wrong_counts(connection, numbers).items(), *wrong]
