"""Suggestions for unknown commands."""

import shlex
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Final

import click

#: Commands of other programs, and the equivalents here.
_SAME: Final = {
    "list": "jobs",
    "ls": "jobs",
    "get": "show",
    "info": "status",
    "stat": "status",
    "ping": "status",
    "health": "status",
    "push": "add",
    "put": "add",
    "enqueue": "add",
    "submit": "add",
    "pop": "next",
    "peek": "next",
    "claim": "next",
    "worker": "work",
    "consume": "work",
    "run": "work",
    "start": "serve",
    "server": "serve",
    "daemon": "serve",
    "watch": "events",
    "tail": "events",
    "log": "events",
    "logs": "events",
    "failed": "errors",
    "failures": "errors",
    "requeue": "retry",
    "rm": "delete",
    "remove": "delete",
    "purge": "delete",
    "edit": "update",
    "set": "update",
    "monitor": "top",
    "queues": "queue list",
    "keys": "key list",
    "groups": "group list",
    "limit": "queue configure",
    "batches": "batch list",
    "schedules": "schedule list",
    "cron": "schedule add",
    "crontab": "schedule import",
}
#: Commands that list what a queue has, and are called with the queue's name.
_LISTS_OF_A_QUEUE: Final = ("key list", "group list", "batch list", "schedule list")
#: Commands of other programs, and the equivalents in a group such as `jobengine queue`.
_SAME_IN_A_GROUP: Final = {
    "ls": "list",
    "get": "show",
    "info": "show",
    "status": "show",
    "new": "create",
    "make": "create",
    "rm": "delete",
    "remove": "delete",
    "set": "configure",
    "configure": "set",
    "update": "configure",
    "stop": "pause",
    "start": "resume",
    "unpause": "resume",
    "unhold": "release",
    "backfill": "run",
    "verify": "check",
    "progress": "show",
    "finish": "close",
    "end": "close",
}
#: Options of other programs, and the equivalents here.
SAME_OPTIONS: Final = {
    "--tz": "--timezone",
    "--retries": "--max-attempts",
    "--max-retries": "--max-attempts",
    "--in-progress": "--limit",
}
#: Names for deleting all jobs of a queue, which is no command of the group.
_EMPTY: Final = frozenset({"purge", "clear", "empty", "flush", "truncate"})


def similar(name: str, path: str, commands: Mapping[str, click.Command], rest: Sequence[str] = ()) -> str:
    """
    A suggestion for an unknown command `name`, as the end of a sentence; empty if no command is similar. `path` is the
    command line before the name, `rest` what follows it, and `commands` are the valid names.
    """
    if name in _EMPTY and path.endswith(" queue"):
        return "did you mean `jobengine delete QUEUE --all`?"
    if name == "help":
        return f"write `{path} --help`, or --help after any command."
    at_top = any(isinstance(command, click.Group) for command in commands.values())
    same = (_SAME if at_top else _SAME_IN_A_GROUP).get(name)
    if same is not None and same.split()[0] in commands:
        queue = f" {shlex.quote(rest[0])}" if same in _LISTS_OF_A_QUEUE and len(rest) == 1 else ""
        return f"did you mean `{path} {same}{queue}`?"
    if near := get_close_matches(name, commands, 1):
        return f"did you mean {near[0]!r}?"
    for group, command in commands.items():
        if isinstance(command, click.Group) and name in command.list_commands(click.Context(command)):
            return f"did you mean `{path} {group} {name}`?"
    if not rest and f"{path.split()[-1]} list" in _LISTS_OF_A_QUEUE:
        return f"did you mean `{path} list {shlex.quote(name)}`?"
    return ""
