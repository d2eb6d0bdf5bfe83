"""The image: its labels, and a container of it with few rights, in which the walk through the README works."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from jobengine import __version__
from tests.integration.daemons import until
from tests.integration.walk import walk_through_the_readme

from .packages import ROOT, Refused, run

TAG: Final = f"jobengine:{__version__}"
#: The labels that an image must have, each with the pattern of its value.
LABELS: Final = {
    "org.opencontainers.image.title": "JobEngine",
    "org.opencontainers.image.version": re.escape(__version__),
    "org.opencontainers.image.revision": "[0-9a-f]{40}",
    "org.opencontainers.image.licenses": "MIT",
    "org.opencontainers.image.base.name": ".*python:.+",
    "org.opencontainers.image.base.digest": "sha256:[0-9a-f]{64}",
}
#: The rights of a container in docker-compose.yml.
_FEW_RIGHTS: Final = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges:true", "--tmpfs=/tmp")


def wrong_labels(found: dict[str, str] | None) -> list[str]:
    """The labels that an image lacks, or that are wrong."""
    given = found or {}
    return [name for name, pattern in LABELS.items() if not re.fullmatch(pattern, given.get(name, ""))]


def build() -> str:
    """Build the image; returns its id, or raises Refused if one of its labels is wrong."""
    run(["make", "--no-print-directory", "image"])
    (image,) = json.loads(run(["docker", "image", "inspect", TAG]))
    if wrong := wrong_labels(image["Config"]["Labels"]):
        raise Refused(f"wrong labels of the image: {', '.join(wrong)}")
    return str(image["Id"])


@contextmanager
def container() -> Iterator[int]:
    """The port of a healthy container with few rights, which must exit with 0 when it is stopped."""
    started = run(["docker", "run", "--detach", *_FEW_RIGHTS, "--publish=127.0.0.1::6006", TAG]).strip()
    try:
        until("the container is healthy", lambda: _state(started)["Health"]["Status"] == "healthy")
        yield int(run(["docker", "port", started, "6006"]).rpartition(":")[2])
        run(["docker", "stop", started])
        if code := _state(started)["ExitCode"]:
            raise Refused(f"the container ended with {code}:\n{run(['docker', 'logs', '--tail=20', started])}")
    finally:
        run(["docker", "rm", "--force", "--volumes", started])


def try_image(programs: Path, home: Path) -> int:
    """Walk through the README with a server in a container; returns the number of commands in it."""
    with container() as port:
        return walk_through_the_readme(port, programs, home)


def _state(name: str) -> dict[str, Any]:
    (found,) = json.loads(run(["docker", "inspect", name], ROOT))
    state: dict[str, Any] = found["State"]
    return state
