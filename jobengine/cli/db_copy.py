"""`jobengine db backup` and `restore`."""

import click

from jobengine.tools import copying
from jobengine.tools.copying import Copied
from jobengine.tools.database_secret import find_secret

from .db_common import FILE, bar, file_command
from .session import current


@file_command("backup", "jobengine db backup jobengine.jedb tonight.jedb")
@FILE
@click.argument("target", metavar="COPY")
def backup(path: str, target: str) -> None:
    """
    Copy a database, even while a server runs on it.

    Every frame is checked. The copy has the same SECRET as the database: keep the SECRET too, in another place.
    """
    with bar("copying") as progress:
        copied = copying.backup(path, target, find_secret(path), progress)
    _say(target, copied)


@file_command("restore", "jobengine db restore backup.jedb restored.jedb")
@click.argument("source", metavar="COPY")
@click.argument("path", metavar="FILE")
def restore(source: str, path: str) -> None:
    """Restore a missing database from a copy, which must not be damaged."""
    with bar("copying") as progress:
        copied, queues = copying.restore(source, path, find_secret(source, path), progress)
    jobs = sum(sum(queue.jobs.values()) for queue in queues)
    _say(path, copied, queues=len(queues), jobs=jobs)


def _say(target: str, copied: Copied, **counted: int) -> None:
    """Report the copy; `counted` is what it contains."""
    session = current()
    if session.json:
        session.output.json({"file": target, "bytes": copied.size, "unfinished_bytes": copied.unfinished, **counted})
        return
    contents = "".join(f", {what}: {number:,}" for what, number in counted.items())
    session.output.note(f"{target} is whole and on disk; bytes: {copied.size:,}{contents}.")
    if copied.unfinished:
        session.output.note(
            f"An incomplete last frame of {copied.unfinished:,} bytes was not copied: it was being written, or a "
            "crash has cut it short."
        )
