"""Where the command `jobengine` begins. Nothing is loaded before it can be interrupted without a traceback."""

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line of this process; does not return."""
    try:
        from .app import app

        app(prog_name="jobengine")
    except KeyboardInterrupt:  # while it was loaded
        sys.exit(130)
