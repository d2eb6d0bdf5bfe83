"""`jobengine db`: the commands for database files."""

from typing import Final

from .command import group

_COMMANDS: Final = {
    "check": "db_files:check",
    "backup": "db_files:backup",
    "restore": "db_files:restore",
    "repair": "db_files:repair",
    "rekey": "db_files:rekey",
    "export": "db_transfer:export",
    "import": "db_transfer:import_",
    "import-go": "db_transfer:import_go",
    "migrate": "db_transfer:migrate",
    "recount": "db_transfer:recount",
}


@group("db", lazy=_COMMANDS)
def db() -> None:
    """
    Check, back up, repair, re-key and export a database file.

    The commands work on the file itself, without a server; those that only read it, `check`, `backup`, `repair` and
    `export`, also while a server runs.
    The SECRET comes from SECRET or SECRET_FILE, or from the key file beside the database. `migrate` and `recount` are
    for PostgreSQL, and so are `export` and `import` if DATABASE_URL is set and no FILE is named.
    """
