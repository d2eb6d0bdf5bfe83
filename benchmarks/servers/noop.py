"""A Klein application that does nothing: it has JobEngine's routes, and its answers are as long as JobEngine's."""

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from attrs import define
from klein import Klein
from twisted.python.log import startLogging
from twisted.web.server import Site

from .server import Run, Server

#: An answer with a job like JobEngine's, with a uid for the client to find.
_JOB = (
    b'{"uid":"8cc41a2a-45da-4a4c-b931-be4b7851d6be","priority":50,"keep_minutes":60,"timeout_minutes":10,'
    b'"created":1700000000,"last_updated":1700000000,"timeout_time":0,'
    b'"content":{"foo":"bar","n":12345,"path":"/data/in/file-000123.csv"},"state":"queued","timeout_seconds":600}'
)


def _application() -> Klein:
    app = Klein()

    @app.route("/api/v1/job", methods=["PUT"])
    def add(request: Any) -> bytes:
        request.setResponseCode(201)
        return _JOB

    @app.route("/api/v1/job", methods=["POST"])
    def complete(request: Any) -> bytes:
        return b""

    @app.route("/api/v1/job/next", methods=["GET"])
    def claim(request: Any) -> bytes:
        return _JOB

    return app


@define(eq=False, kw_only=True)
class Noop(Server):
    """The application on Twisted's own web server."""

    name: str = "Klein no-op"
    #: Whether the application logs a line for each request to a file, like JobEngine. Without a log it is faster.
    logs: bool = False

    def version(self) -> str:
        """The versions of Klein and Twisted."""
        return f"Klein {version('klein')}, Twisted {version('twisted')}"

    def start(self, home: Path) -> None:
        """Start this module as a server process."""
        command = [sys.executable, "-m", __name__, str(self.port), *(["log"] if self.logs else [])]
        self.launch(command, home, self.listens, environment={"PYTHONPATH": str(Path(__file__).parents[2])})

    def singles(self, seconds: float) -> Run:
        """Send the same requests as to JobEngine, by the same client."""
        from ..wrk import lives

        return lives(self.port, seconds)


def main() -> None:
    """Serve at the port in the arguments."""
    from twisted.internet import reactor

    site: Any = Site(_application().resource())  # type: ignore[no-untyped-call]  # Twisted's Site has no types
    if "log" in sys.argv:
        startLogging(sys.stdout)  # type: ignore[no-untyped-call]  # Twisted has no types here
    else:
        site.log = lambda request: None
    loop: Any = reactor
    loop.listenTCP(int(sys.argv[1]), site, interface="127.0.0.1", backlog=1024)
    loop.run()


if __name__ == "__main__":
    main()
