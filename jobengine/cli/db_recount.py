"""`jobengine db recount`."""

from jobengine.tools.recounting import recount_database

from .db_common import bar, file_command
from .session import current


@file_command("recount", "jobengine db recount")
def recount() -> None:
    """
    Count the jobs of all queues in PostgreSQL, and correct wrong counts.

    The database is the one in DATABASE_URL or DATABASE_URL_FILE. Servers may work on it meanwhile. Counts can be wrong
    only after rows were damaged.
    """
    with bar("counting", in_bytes=False) as progress:
        done = recount_database(progress)
    session = current()
    if session.json:
        corrected = [
            {"queue": one.queue, "count": one.count, "was": one.was, "is": one.jobs} for one in done.corrections
        ]
        session.output.json(
            {"queues": done.queues, "jobs": done.jobs, "corrected": corrected, "damaged_queues": done.damaged}
        )
        return
    for one in done.corrections:
        session.output.note(f"Queue {one.queue!r}: {one.count} was {one.was:,}, and is {one.jobs:,}.")
    for number in done.damaged:
        session.output.note(f"Queue number {number} is damaged: its counts were left as they are.")
    session.output.note(
        f"{done.jobs:,} jobs of {done.queues:,} queues were counted; corrected counts: {len(done.corrections):,}."
    )
