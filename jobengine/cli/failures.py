"""How a command ends that could not do what it was asked to: what it says, and its exit code."""

from enum import IntEnum
from typing import Any

import click

from jobengine.client import (
    AccessDenied,
    BadSettings,
    Forbidden,
    JobEngineError,
    JobNotFound,
    KeyNotFound,
    OutcomeUnknown,
    QueueNotFound,
    Unavailable,
)

__all__ = ["Exit", "Failed", "exit_of", "failed"]


class Exit(IntEnum):
    """What the exit code of a command says."""

    DONE = 0
    #: The server said no, or the job that was waited for has failed.
    REFUSED = 1
    USAGE = 2
    NOT_FOUND = 3
    KEY_REFUSED = 4
    NO_ANSWER = 5
    INTERRUPTED = 130


#: Statuses of a proxy that got no answer from the server.
_OF_A_PROXY = (502, 504)


class Failed(click.ClickException):
    """Ends the command with a message and an exit code."""

    exit_code: int  # type: ignore[misc]  # click has one for the class

    def __init__(self, message: str, code: Exit) -> None:
        super().__init__(message)
        self.exit_code = code

    def show(self, file: Any = None) -> None:
        """Print the message on standard error."""
        if self.message:
            click.echo(f"jobengine: {self.message}", file=file, err=file is None)


def failed(error: JobEngineError) -> Failed:
    """The end of a command for which a call was not carried out."""
    return Failed(error.detail, exit_of(error))


def exit_of(error: JobEngineError) -> Exit:
    """The exit code for an error of the client."""
    if isinstance(error, BadSettings):
        return Exit.USAGE
    if isinstance(error, AccessDenied | Forbidden):
        return Exit.KEY_REFUSED
    if isinstance(error, QueueNotFound | JobNotFound | KeyNotFound):
        return Exit.NOT_FOUND
    if isinstance(error, Unavailable) and _without_answer(error):
        return Exit.NO_ANSWER
    return Exit.REFUSED


def _without_answer(error: Unavailable) -> bool:
    return isinstance(error, OutcomeUnknown) or error.status is None or error.status in _OF_A_PROXY
