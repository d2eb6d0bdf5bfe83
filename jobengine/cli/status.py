"""`jobengine status`: a summary of the server and its queues."""

from collections.abc import Sequence
from typing import Any, Final

import click

from jobengine.client import AccessDenied, QueueStats, Unavailable

from .command import command
from .exit_codes import Exit, what_is_wrong
from .session import Session, current
from .suggestions import complete_queues
from .terminal_text import counted, plain
from .troubles import dead_letter_note, paused_groups, troubles

#: Seconds for which a call is retried: almost 0, so that the status appears at once.
_RETRY_FOR: Final = 0.001
#: The status of a server that is ready, as its answer has it.
_READY: Final = "ready"
#: The HTTP status of a running server that is not ready.
_NOT_READY: Final = 503
#: How the error begins if an admin key is sent to a server that has none.
_HAS_NONE: Final = "This server has no admin key"
#: The most groups of a queue that are examined, those with the most queued jobs.
_GROUPS: Final = 100


@command("status", "jobengine status\njobengine status mail thumbnails\njobengine status --json")
@click.argument("queue_names", metavar="[QUEUE]...", nargs=-1, shell_complete=complete_queues)
def status(queue_names: tuple[str, ...]) -> None:
    """
    Show whether the server is up and ready, its version, and the queues that have trouble.

    Trouble is: paused or held, paused groups with jobs, jobs that wait without a worker, jobs that are retried after a
    failure, jobs that failed in the last hour, and a full queue. Without QUEUE it covers all queues, which needs the
    server's admin key, or a profile with a key for each queue. The exit code is 0 if the server is ready, 1 if it is
    not, and 5 if it does not answer. A server with a full disk still answers reads, so its queues are shown; one that
    recovers does not.
    """
    session = current()
    session.retry_for = _RETRY_FOR
    server = _server(session)
    ready = server["status"] == _READY
    try:
        queues, refused = _readable(session, queue_names)
    except Unavailable:
        if ready:
            raise
        queues, refused = None, None
    _print(session, server, queues)
    if not ready:
        raise click.exceptions.Exit(Exit.REFUSED)
    if queues is None:
        _say_why(session, refused)
    if queue_names and not session.json:
        for note in filter(None, map(dead_letter_note, queues or ())):
            session.output.note(note)


def _server(session: Session) -> dict[str, Any]:
    """The state of the server. Raises JobEngineError if it does not answer."""
    state: dict[str, Any]
    try:
        readiness = session.engine.readyz()
        state = {"status": readiness.status, "durability": readiness.durability}
    except Unavailable as error:
        if error.status != _NOT_READY:
            raise
        state = {"status": f"not ready: {what_is_wrong(error)}"}
    return {"server": session.settings.address.url, "version": _version(session), **state}


def _version(session: Session) -> Any:
    """The server's version; None if a proxy answers instead, since the server is not ready."""
    try:
        return session.engine.openapi().get("info", {}).get("version")
    except Unavailable:
        return None


def _readable(session: Session, queue_names: Sequence[str]) -> tuple[list[QueueStats] | None, AccessDenied | None]:
    """The queues, or None if no key opens them; and the error if the server refused the key."""
    try:
        return _queues(session, queue_names), None
    except AccessDenied as error:
        return None, error


def _say_why(session: Session, refused: AccessDenied | None) -> None:
    """Print why no queues are shown, and how to see them; raise the error of a wrong key."""
    if refused is None:
        session.output.note("Name queues, or set JOBENGINE_ADMIN_KEY, to see which have trouble.")
    elif refused.detail.startswith(_HAS_NONE):
        session.output.note(
            f"{_HAS_NONE}, so JOBENGINE_ADMIN_KEY opens nothing. Name queues to see which have trouble."
        )
    else:
        raise refused


def _queues(session: Session, queue_names: Sequence[str]) -> list[QueueStats] | None:
    """The queues of these names, or all queues; None if all are wanted and no key opens them."""
    settings = session.settings
    if names := queue_names or tuple(settings.keys):
        return [session.queue(name).stats() for name in names]
    return session.engine.queues() if settings.admin_key is not None else None


def _troubles(session: Session, queue: QueueStats) -> list[str]:
    """The troubles of a queue; its groups are read only if some of its jobs are held."""
    if not queue.raw.get("held"):
        return troubles(queue)
    groups = session.engine.queue(queue.name).groups(sort="queued", limit=_GROUPS)
    return [*troubles(queue), *paused_groups(groups)]


def _print(session: Session, server: dict[str, Any], queues: list[QueueStats] | None) -> None:
    output = session.output
    found = [(queue.name, _troubles(session, queue)) for queue in queues or ()]
    if session.json:
        known = queues is not None
        output.json({**server, "queues": [{"name": name, "troubles": what} for name, what in found] if known else None})
        return
    rows = [(name, plain(str(value))) for name, value in server.items() if value is not None]
    if queues is not None:
        queued, running = (sum(getattr(queue.counts, state) for queue in queues) for state in ("queued", "inprogress"))
        bad = sum(bool(what) for _, what in found)
        waiting = sum(queue.waiting for queue in queues)
        rows.append(("queues", f"{len(queues):,}, with {counted(queued, 'job')} queued and {running:,} in progress"))
        if waiting:
            rows.append(
                ("waiting", f"{waiting:,} of the queued jobs {'waits' if waiting == 1 else 'wait'} for other jobs")
            )
        if bad or server["status"] == _READY:
            rows.append(("in trouble", f"{bad:,}" if bad else "none"))
    output.rows(rows + [(plain(name), "; ".join(what)) for name, what in found if what])
