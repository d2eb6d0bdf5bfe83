"""`jobengine db migrate`."""

from jobengine.tools.migrating import migrate as bring_up_to_date

from .db_common import file_command
from .session import current


@file_command("migrate", "jobengine db migrate")
def migrate() -> None:
    """
    Make the tables of JobEngine in PostgreSQL, or bring them up to date.

    The database is the one in DATABASE_URL or DATABASE_URL_FILE. It must exist, and may have other tables. Running this
    again does no harm.
    """
    had, has = bring_up_to_date()
    session = current()
    if session.json:
        session.output.json({"had": had, "has": has})
    session.output.note(f"The schema has version {has}; it had {had or 'none'}.")
