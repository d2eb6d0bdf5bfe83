"""The entry point of `jobengine`. It imports the rest only after it can handle an interrupt without a traceback."""

import os
import sys
from typing import Final

_STDOUT: Final = 1
_STDERR: Final = 2


def main() -> None:
    """Run the command line of this process; never returns."""
    try:
        _open_what_is_closed()
        from .app import app

        app(prog_name="jobengine")
    except KeyboardInterrupt:  # during the imports
        sys.exit(130)
    except OSError as error:  # such as a full disk behind standard output
        _drop_what_is_not_printed()
        sys.exit(f"jobengine: An error on this machine: {error.strerror or error}.")


def _open_what_is_closed() -> None:
    """
    Connect standard input and outputs that were closed at the start, as by `<&-`, to /dev/null.

    Otherwise the next file or connection would get one of their numbers.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        pass
    os.close(descriptor)
    sys.stdin, sys.stdout, sys.stderr = (
        stream or os.fdopen(number, mode, closefd=False)
        for number, (stream, mode) in enumerate(((sys.stdin, "r"), (sys.stdout, "w"), (sys.stderr, "w")))
    )


def _drop_what_is_not_printed() -> None:
    """Discard unprinted output in the buffer: the process would try to print it again at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), _STDOUT)
