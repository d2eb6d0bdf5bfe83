"""The command line `jobengine`: the table of its commands."""

from typing import Final

import click

from jobengine import __version__

from .command import Group

#: Each command is a module, which is loaded when the command is called.
_COMMANDS: Final = {
    "serve": "serve:serve",
    "status": "status:status",
    "queue": "queues:queue",
    "group": "groups:groups",
    "batch": "batches:batches",
    "schedule": "schedules:schedules",
    "key": "keys:key",
    "add": "add:add",
    "jobs": "show:jobs",
    "errors": "show:errors",
    "show": "show:show",
    "next": "show:next_job",
    "explain": "show:explain",
    "graph": "graph:graph",
    "update": "change:update",
    "cancel": "change:cancel",
    "retry": "change:retry",
    "move": "move:move",
    "delete": "change:delete",
    "events": "events:events",
    "top": "top:top",
    "history": "history:history",
    "workers": "workers:workers",
    "work": "work:work",
    "db": "db:db",
    "completion": "completion:completion",
}


@click.group("jobengine", cls=Group, lazy=_COMMANDS)
@click.version_option(__version__, message="JobEngine %(version)s")
def app() -> None:
    """
    Work with the queues of a JobEngine.

    The address and the keys come from JOBENGINE_URL, JOBENGINE_ACCESS_KEY and JOBENGINE_ADMIN_KEY, or from a profile in
    the file config.toml. No key is ever an argument. A TIME is in seconds, or has a unit: 90, 90s, 5m, 2h, 1d.
    """
