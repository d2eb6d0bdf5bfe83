"""`jobengine db backup` and `restore`."""

import click

from jobengine.tools import copying
from jobengine.tools.copying import Copied
from jobengine.tools.secret import find_secret

from .db_common import FILE, bar, file_command
from .session import current

__all__ = ["backup", "restore"]


@file_command("backup", "jobengine db backup jobengine.jedb tonight.jedb")
@FILE
@click.argument("target", metavar="COPY")
def backup(path: str, target: str) -> None:
    """
    Copy a database, also while a server runs on it.

    Each frame is checked on the way. The copy has the SECRET of the database: keep that as well, apart from it.
    """
    with bar("copying") as progress:
        copied = copying.backup(path, target, find_secret(path), progress)
    _say(target, copied)


@file_command("restore", "jobengine db restore backup.jedb restored.jedb")
@click.argument("source", metavar="COPY")
@click.argument("path", metavar="FILE")
def restore(source: str, path: str) -> None:
    """Put a copy in the place of a database that is no longer there; a damaged one is refused."""
    with bar("copying") as progress:
        copied, queues = copying.restore(source, path, find_secret(source, path), progress)
    jobs = sum(sum(queue.jobs.values()) for queue in queues)
    _say(path, copied, queues=len(queues), jobs=jobs)


def _say(target: str, copied: Copied, **counted: int) -> None:
    """What was made; `counted` is what is in it."""
    session = current()
    if session.json:
        session.output.json({"file": target, "bytes": copied.size, "unfinished_bytes": copied.unfinished, **counted})
        return
    contents = "".join(f", {what}: {number:,}" for what, number in counted.items())
    session.output.note(f"{target} is whole and on disk; bytes: {copied.size:,}{contents}.")
    if copied.unfinished:
        session.output.note(
            f"A last frame of which there were {copied.unfinished:,} bytes is not in it: it was being written, or a "
            "crash has left it so."
        )
