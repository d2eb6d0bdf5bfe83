"""Parts that the commands for database files share: exit codes and the progress bar."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from jobengine.tools.exit_codes import db_exit_of
from jobengine.tools.source import Progress

from .command import Command, json_option
from .exit_codes import Failed
from .progress_bar import ProgressBar
from .session import current

#: The database file, as an argument.
FILE = click.argument("path", metavar="FILE")


class FileCommand(Command):
    """A command for files, with exit codes of its own."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, common=False, **more)
        self.params.append(json_option())

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error ends it with a message and an exit code."""
        signal.signal(signal.SIGTERM, _stop)
        try:
            return super().invoke(ctx)
        except Exception as error:  # one without an exit code of its own is a bug, and keeps its traceback
            ending = db_exit_of(error)
            if ending is None:
                raise
            raise Failed(_text(error), ending) from None


def file_command(name: str, examples: str) -> Callable[[Callable[..., Any]], FileCommand]:
    """Make a function a command for files; its docstring is the help."""
    return click.command(name, cls=FileCommand, examples=examples)


@contextmanager
def bar(what: str, *, in_bytes: bool = True) -> Iterator[Progress]:
    """A progress bar, at a terminal."""
    with ProgressBar(1, shown=not current().json, what=what, in_bytes=in_bytes) as shown:
        yield shown.at


def _text(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _stop(_number: int, _frame: object) -> NoReturn:
    """End in order, so that no incomplete file is left."""
    raise SystemExit(128 + signal.SIGTERM)
