"""`jobengine db export` and `import`."""

import click

from jobengine.tools.exporting import export as write_lines
from jobengine.tools.importing import import_lines
from jobengine.tools.secret import find_new_secret, find_secret

from .db_common import FILE, bar, file_command
from .session import current

__all__ = ["export", "import_"]


@file_command(
    "export", "jobengine db export jobengine.jedb all.jsonl\njobengine db export jobengine.jedb mail.jsonl --queue mail"
)
@FILE
@click.argument("target", metavar="OUT.jsonl")
@click.option("--queue", metavar="Q", help="This queue and its jobs alone.")
def export(path: str, target: str, queue: str | None) -> None:
    """
    Write all queues and jobs as lines of JSON, also while a server runs.

    Whoever can read the new file can read contents, leases and digests of the keys. Only its owner can: keep it so.
    `jobengine db import` makes a database of it that is equal.
    """
    with bar("exporting") as progress:
        exported = write_lines(path, target, find_secret(path), progress, queue=queue)
    _say(target, size=exported.size, queues=exported.queues, jobs=exported.jobs)
    if exported.unfinished:
        current().output.note(
            f"A last frame of which there were {exported.unfinished:,} bytes is not in it: it was being written, or a "
            "crash has left it so."
        )


@file_command("import", "jobengine db import text.jsonl new.jedb")
@click.argument("source", metavar="IN.jsonl")
@FILE
def import_(source: str, path: str) -> None:
    """
    Make a database of the lines that `export` has written.

    It opens with the SECRET that is set, or in the key file beside it, whatever that of the one was that was exported.
    """
    with bar("importing") as progress:
        imported = import_lines(source, path, find_new_secret(path), progress)
    _say(path, size=imported.size, queues=imported.queues, jobs=imported.jobs)


def _say(target: str, *, size: int, queues: int, jobs: int) -> None:
    session = current()
    if session.json:
        session.output.json({"file": target, "bytes": size, "queues": queues, "jobs": jobs})
        return
    session.output.note(f"{target} is whole and on disk; bytes: {size:,}, queues: {queues:,}, jobs: {jobs:,}.")
