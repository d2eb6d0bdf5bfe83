"""The failure of a command that `jobengine work` runs."""

from jobengine.worker import Fail


class CommandFailed(Fail):
    """The command has failed; the name of this class is the `error_type` in the log."""
