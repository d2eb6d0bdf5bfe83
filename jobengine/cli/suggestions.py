"""Names for shell completion: queues and profiles."""

import click

from jobengine.client import BadSettings, JobEngineError

from .session import Session


def complete_queues(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The queues with keys in the profile and, with the admin key, all queues of a server that answers quickly."""
    names: set[str] = set()
    session = context.ensure_object(Session)
    try:
        engine = session.quick_engine()
        names.update(session.settings.keys)
        if session.settings.admin_key is not None:
            names.update(queue.name for queue in engine.queues())
    except JobEngineError:  # nothing can be printed while a line is edited
        pass
    return sorted(name for name in names if name.startswith(incomplete))


def complete_profiles(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The profiles in config.toml."""
    from jobengine.client.settings import profile_names

    try:
        return sorted(name for name in profile_names() if name.startswith(incomplete))
    except BadSettings:  # as above
        return []
