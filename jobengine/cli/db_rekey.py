"""`jobengine db rekey`."""

import click

from jobengine.tools.rekeying import rekey as write_anew
from jobengine.tools.secret import find_secret, is_in_key_file, read_new_secret

from .db_common import FILE, bar, file_command
from .session import current

__all__ = ["rekey"]


@file_command("rekey", "jobengine db rekey jobengine.jedb --new-secret-file new-secret")
@FILE
@click.option("--new-secret-file", required=True, metavar="F", help="The file with the new SECRET.")
def rekey(path: str, new_secret_file: str) -> None:
    """
    Write a database anew under another SECRET, while no server runs on it.

    It needs room for a second file. Copies that were made before still open with the old SECRET, and only with that.
    """
    new_secret = read_new_secret(new_secret_file)
    with bar("writing anew") as progress:
        size = write_anew(path, find_secret(path), new_secret, progress)
    session = current()
    if session.json:
        session.output.json({"file": path, "bytes": size})
    session.output.note(f"From now on, {path} opens with the SECRET in {new_secret_file}.")
    if is_in_key_file():
        session.output.note(
            f"{path}.key still holds the old one, which backups made before need. Keep it elsewhere, and put "
            f"{new_secret_file} in its place before the server is started."
        )
    else:
        session.output.note("Set SECRET, or SECRET_FILE, to it before the server is started.")
