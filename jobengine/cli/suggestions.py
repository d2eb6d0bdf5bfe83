"""Names for shell completion: queues, groups, schedules, batches and profiles."""

from collections.abc import Callable, Iterable
from typing import Final

import click

from jobengine.client import BadSettings, BatchProgress, Group, JobEngineError, Queue, Schedule

from .session import Session

#: The most groups, schedules or batches to suggest: as many as one request returns.
_MOST: Final = 500


def complete_queues(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The queues that have keys in the profile. With the admin key, all queues, if the server answers quickly."""
    names: set[str] = set()
    session = context.ensure_object(Session)
    try:
        engine = session.quick_engine()
        names.update(session.settings.keys)
        if session.settings.admin_key is not None:
            names.update(queue.name for queue in engine.queues())
    except JobEngineError:  # an error can't be printed while the user edits a line
        pass
    return sorted(name for name in names if name.startswith(incomplete))


def complete_groups(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The largest groups of the queue in the command line; none if the server does not answer quickly."""
    return _of_queue(context, incomplete, lambda queue: queue.groups(limit=_MOST))


def complete_schedules(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Schedules of the queue in the command line; none if the server does not answer quickly."""
    return _of_queue(context, incomplete, lambda queue: queue.schedules.list(limit=_MOST))


def complete_batches(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Batches of the queue in the command line; none if the server does not answer quickly."""
    return _of_queue(context, incomplete, lambda queue: queue.batches(limit=_MOST))


def _of_queue(
    context: click.Context, incomplete: str, find: Callable[[Queue], Iterable[Group | Schedule | BatchProgress]]
) -> list[str]:
    # After an option without its value, click leaves the arguments unread.
    queue_name = context.params.get("queue_name") or next(iter(context.args), "")
    try:
        names = [one.name for one in find(context.ensure_object(Session).quick_engine().queue(queue_name))]
    except JobEngineError:  # an error can't be printed while the user edits a line
        return []
    return sorted(name for name in names if name.startswith(incomplete))


def complete_profiles(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The profiles in config.toml."""
    from jobengine.client.settings import profile_names

    try:
        return sorted(name for name in profile_names() if name.startswith(incomplete))
    except BadSettings:  # an error can't be printed while the user edits a line
        return []
