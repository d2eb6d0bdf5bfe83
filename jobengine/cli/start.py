"""The entry point of `jobengine`. Imports the rest late, so that Ctrl-C during the imports prints no traceback."""

import os
import sys
from typing import Final

_STDOUT: Final = 1
_STDERR: Final = 2


def main() -> None:
    """Run the command line of this process; never returns."""
    try:
        _open_closed_streams()
        from .app import app

        app(prog_name="jobengine")
    except KeyboardInterrupt:  # during the imports
        sys.exit(130)
    except OSError as error:  # such as a full disk behind standard output
        _drop_unprinted_output()
        sys.exit(f"jobengine: An error on this machine: {error.strerror or error}.")


def _open_closed_streams() -> None:
    """
    Open /dev/null for each standard stream that was closed at the start, as by `<&-`. Otherwise the next opened file or
    connection would become a standard stream.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        pass
    os.close(descriptor)
    sys.stdin, sys.stdout, sys.stderr = (
        stream or os.fdopen(number, mode, closefd=False)
        for number, (stream, mode) in enumerate(((sys.stdin, "r"), (sys.stdout, "w"), (sys.stderr, "w")))
    )


def _drop_unprinted_output() -> None:
    """Discard buffered output that could not be printed: Python would try again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), _STDOUT)
