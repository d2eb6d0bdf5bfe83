"""`jobengine db check`."""

from collections.abc import Mapping
from typing import Any

from jobengine.tools.checking import Report
from jobengine.tools.checking import check as read_all
from jobengine.tools.database_secret import find_secret
from jobengine.tools.exit_codes import DbExit

from .db_common import FILE, bar, file_command
from .exit_codes import Failed
from .session import current


@file_command("check", "jobengine db check jobengine.jedb\njobengine db check backup.jedb --json")
@FILE
def check(path: str) -> None:
    """
    Read a whole database, and report its contents and any damage.

    The file is not changed, and a server may run on it. With --json, each queue is reported as well.
    """
    with bar("checking") as progress:
        report = read_all(path, find_secret(path), progress)
    session = current()
    shown = _shown(path, report)
    if session.json:
        shown["queues"] = [{"name": queue.name, "jobs": queue.jobs} for queue in report.queues]
    session.output.record(shown)
    if report.unfinished:
        session.output.note(
            "An incomplete frame follows the last whole one: a server is writing it, or was killed while it did. "
            "That is not damage; nothing that was acknowledged is in it."
        )
    if report.damage is not None:
        raise Failed(
            f"{report.damage}. `jobengine db repair` writes everything before byte {report.good} to a new file. "
            "Use `jobengine db check` to see whether the last backup is whole.",
            DbExit.DAMAGED,
        )


def _shown(path: str, report: Report) -> dict[str, Any]:
    return {
        "file": path,
        "format": report.version,
        "bytes": report.size,
        "garbage_bytes": report.garbage,
        "garbage_share": round(report.garbage / report.size, 3),
        "commits": report.commits,
        "queues": len(report.queues),
        "jobs": _jobs(report),
        "closed_in_good_order": report.closed,
        "unfinished_bytes": report.unfinished,
        "whole": report.damage is None,
        "damage_at_byte": None if report.damage is None else report.good,
    }


def _jobs(report: Report) -> Mapping[str, int]:
    """The number of jobs in all queues, by state."""
    states = report.states
    return {"all": sum(states.values()), **states}
