"""Runs the server in this process, as `twistd --nodaemon jobengine` does. Loads Twisted."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from twisted.application import app
from twisted.application.service import ServiceMaker
from twisted.scripts import twistd

_SERVER: Final = ServiceMaker(  # type: ignore[no-untyped-call]  # Twisted has no types here
    "JobEngine", "jobengine.tap", "A durable queue of jobs over HTTP.", "jobengine"
)


class _Options(twistd.ServerOptions):  # type: ignore[misc,name-defined]  # Twisted has no types here
    """
    twistd's options, with the server as their only plugin. twistd would search all installed plugins, and write a list
    of them beside Twisted, where the server's user may not write.
    """

    @property
    def subCommands(self) -> Iterator[tuple[str, None, Callable[[], Any], str]]:  # noqa: N802  # Twisted's name
        self.loadedPlugins = {_SERVER.tapname: _SERVER}
        yield _SERVER.tapname, None, lambda: _SERVER.options(), _SERVER.description


def run_server(options: Sequence[str]) -> None:
    """Run the server in the foreground with options of `twistd jobengine`; never returns."""
    try:
        os.chdir(".")
    except OSError as error:  # twistd would end without a reason
        sys.exit(f"jobengine: the current directory can't be entered; start the server in another one: {error}")
    # twistd expects its own options before the name of the plugin.
    sys.argv = ["jobengine", "--nodaemon", "--pidfile=", _SERVER.tapname, *options]
    app.run(twistd.runApp, _Options)  # type: ignore[no-untyped-call]  # Twisted has no types here
