"""Where the command `jobengine` begins. Nothing is loaded before it can be interrupted without a traceback."""

import os
import sys
from typing import Final

__all__ = ["main"]

_STDOUT: Final = 1
_STDERR: Final = 2


def main() -> None:
    """Run the command line of this process; does not return."""
    try:
        _open_what_is_closed()
        from .app import app

        app(prog_name="jobengine")
    except KeyboardInterrupt:  # while it was loaded
        sys.exit(130)
    except OSError as error:  # such as a full disk that standard output goes to
        _drop_what_is_not_printed()
        sys.exit(f"jobengine: An error on this machine: {error.strerror or error}.")


def _open_what_is_closed() -> None:
    """
    Open standard input and outputs that this process was started without, as by `<&-`: they are empty.

    Otherwise the next file or connection would get the number of one of them.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        pass
    os.close(descriptor)
    sys.stdin, sys.stdout, sys.stderr = (
        stream or os.fdopen(number, mode, closefd=False)
        for number, (stream, mode) in enumerate(((sys.stdin, "r"), (sys.stdout, "w"), (sys.stderr, "w")))
    )


def _drop_what_is_not_printed() -> None:
    """Have what is left in the buffer go nowhere, or the end of the process would try to print it once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), _STDOUT)
