"""The message and the exit code of a failed command."""

from enum import IntEnum
from typing import Any, Final

import click

from jobengine.client import (
    AccessDenied,
    BadSettings,
    BatchNotFound,
    Forbidden,
    GroupNotFound,
    JobEngineError,
    JobNotFound,
    KeyNotFound,
    OutcomeUnknown,
    QueueNotFound,
    ScheduleNotFound,
    Unavailable,
)

from .terminal_text import plain, plain_lines


class Exit(IntEnum):
    """The exit codes of commands."""

    DONE = 0
    #: The server refused, the awaited job has failed or is not finished, or a confirmation was denied.
    REFUSED = 1
    USAGE = 2
    NOT_FOUND = 3
    KEY_REFUSED = 4
    NO_ANSWER = 5
    INTERRUPTED = 130


#: Statuses that a proxy answers if it can't reach the server.
_OF_A_PROXY = (502, 504)
#: Replaces the client's advice for Python by advice for the command line.
_AT_A_SHELL: Final = {
    "Queue.create()": "`jobengine queue create`",
    "Batch.create()": "`jobengine batch create`",
    "Queue.schedules.list()": "`jobengine schedule list`",
    "Queue.keys.list()": "`jobengine key list`",
    "access_key= or JOBENGINE_ACCESS_KEY to one that does.": "JOBENGINE_ACCESS_KEY to one that does, or use --profile.",
    "access_key= or JOBENGINE_ACCESS_KEY": "JOBENGINE_ACCESS_KEY",
    "admin_key= or JOBENGINE_ADMIN_KEY": "JOBENGINE_ADMIN_KEY",
    "The argument url is ": "--url is ",
    "leave the URL out": "leave --url out",
    "uids[0] must be": "The uid must be",
    'by ("queue", uid).': "by QUEUE:UID.",
    'either the group_order "fair" or an order with seconds_per_priority': (
        "either --group-order fair or --seconds-per-priority"
    ),
    "and with seconds_per_priority hardly": "and with --seconds-per-priority hardly",
    "Send null for order, or another group_order.": "Pass --seconds-per-priority none, or another --group-order.",
}


class Failed(click.ClickException):
    """Ends the command with a message and an exit code."""

    exit_code: int  # type: ignore[misc]  # click declares it as a class variable

    def __init__(self, message: str, code: IntEnum) -> None:
        super().__init__(message)
        self.exit_code = code

    def show(self, file: Any = None) -> None:
        """Print the message on standard error."""
        if self.message:
            click.echo(f"jobengine: {plain_lines(self.message)}", file=file, err=file is None)


def what_is_wrong(error: JobEngineError) -> str:
    """The text of a client's error, on one line. Advice for Python is replaced by advice for the command line."""
    detail = plain(error.detail)
    for text, shell_text in _AT_A_SHELL.items():
        detail = detail.replace(text, shell_text)
    return detail


def exit_of(error: JobEngineError) -> Exit:
    """The exit code for an error of the client."""
    if isinstance(error, BadSettings):
        return Exit.USAGE
    if isinstance(error, AccessDenied | Forbidden):
        return Exit.KEY_REFUSED
    if isinstance(error, QueueNotFound | GroupNotFound | BatchNotFound | ScheduleNotFound | JobNotFound | KeyNotFound):
        return Exit.NOT_FOUND
    if isinstance(error, Unavailable) and _without_answer(error):
        return Exit.NO_ANSWER
    return Exit.REFUSED


def _without_answer(error: Unavailable) -> bool:
    return isinstance(error, OutcomeUnknown) or error.status is None or error.status in _OF_A_PROXY
