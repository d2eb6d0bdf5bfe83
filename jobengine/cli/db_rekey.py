"""`jobengine db rekey`."""

import click

from jobengine.tools.database_secret import find_secret, is_in_key_file, read_new_secret
from jobengine.tools.rekeying import rekey as rewrite

from .db_common import FILE, bar, file_command
from .session import current


@file_command("rekey", "jobengine db rekey jobengine.jedb --new-secret-file new-secret")
@FILE
@click.option("--new-secret-file", required=True, metavar="F", help="The file with the new SECRET.")
def rekey(path: str, new_secret_file: str) -> None:
    """
    Rewrite a database with another SECRET, while no server runs on it.

    It needs disk space for a second file. Older backups can still be opened only with the old SECRET.
    """
    new_secret = read_new_secret(new_secret_file)
    with bar("rewriting") as progress:
        size = rewrite(path, find_secret(path), new_secret, progress)
    session = current()
    if session.json:
        session.output.json({"file": path, "bytes": size})
    session.output.note(f"From now on, the SECRET in {new_secret_file} opens {path}.")
    if is_in_key_file():
        session.output.note(
            f"{path}.key still has the old SECRET, which older backups need. Keep that file elsewhere, and put "
            f"{new_secret_file} in its place before you start the server."
        )
    else:
        session.output.note("Set SECRET, or SECRET_FILE, to it before you start the server.")
