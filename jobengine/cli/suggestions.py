"""Names for shell completion: queues and profiles."""

import click

from jobengine.client import BadSettings, JobEngineError

from .session import Session


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


def complete_profiles(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The profiles in config.toml."""
    from jobengine.client.settings import profile_names

    try:
        return sorted(name for name in profile_names() if name.startswith(incomplete))
    except BadSettings:  # an error can't be printed while the user edits a line
        return []
