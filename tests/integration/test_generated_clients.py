"""Clients generated from the schema, each driving a job through its whole life, and a linter of OpenAPI."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.schema import SCHEMA_PATH

from .daemons import Daemon

GENERATORS: Final = Path(__file__).with_name("generators")
TOOLS: Final = GENERATORS / "node_modules" / ".bin"


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The packages of package-lock.json, installed once for a checkout."""
    if shutil.which("npm") is None:
        pytest.fail("This test runs generators that need Node.js: apt-get install nodejs npm")
    place = GENERATORS / "node_modules"
    lock = hashlib.sha256((GENERATORS / "package-lock.json").read_bytes()).hexdigest()
    installed = place / ".installed"
    if not installed.exists() or installed.read_text() != lock:
        _run(["npm", "ci", "--no-progress"], GENERATORS)
        installed.write_text(lock)
    return place


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path_factory.mktemp("live") / "home").start()
    yield daemon
    daemon.kill()


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory, node_modules: Path, live: Daemon) -> Path:
    """Where the drivers in TypeScript are, compiled with `tsc --strict` together with what both generators made."""
    place = tmp_path_factory.mktemp("typescript")
    for source in [*GENERATORS.glob("*.ts"), GENERATORS / "tsconfig.json", GENERATORS / "package.json"]:
        shutil.copy(source, place)
    (place / "node_modules").symlink_to(node_modules)
    _run([str(TOOLS / "openapi-typescript"), str(SCHEMA_PATH), "--output", "api.d.ts"], place)
    hey_api = ["--input", _url(live, "/openapi.json"), "--output", "hey-api", "--client", "@hey-api/client-fetch"]
    _run([str(TOOLS / "openapi-ts"), *hey_api, "--no-log-file"], place)
    _run([str(TOOLS / "tsc"), "--strict"], place)
    return place / "made"


def _url(live: Daemon, path: str = "") -> str:
    return f"http://127.0.0.1:{live.port}{path}"


def _run(command: Sequence[str], place: Path) -> str:
    """What a command prints; fails with all of it if the command does."""
    done = subprocess.run(
        command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=_environment()
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def _environment() -> dict[str, str]:
    """This one, without colours and without what the tools would ask or tell their makers."""
    return {**os.environ, "NO_COLOR": "1", "REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}


def test_redocly_finds_nothing_wrong_with_the_schema(node_modules: Path) -> None:
    config = str(GENERATORS / "redocly.yaml")
    printed = _run([str(TOOLS / "redocly"), "lint", "--config", config, str(SCHEMA_PATH)], GENERATORS)
    assert "Your API description is valid" in printed


@pytest.mark.parametrize("driver", ["openapi_fetch", "hey_api"])
def test_a_client_in_typescript_drives_a_job_through_its_life(driver: str, compiled: Path, live: Daemon) -> None:
    printed = _run(["node", str(compiled / f"{driver}.js"), _url(live), driver], compiled)
    assert printed == "lived\n"


def test_a_client_in_python_drives_a_job_through_its_life(tmp_path: Path, live: Daemon) -> None:
    generator = str(Path(sys.executable).with_name("openapi-python-client"))
    config = str(GENERATORS / "python_client.yml")
    options = ["--url", _url(live, "/openapi.json"), "--config", config, "--output-path", "made", "--meta", "none"]
    printed = _run([generator, "generate", *options, "--fail-on-warning"], tmp_path)
    assert "Warning" not in printed
    shutil.copy(GENERATORS / "python_client.py", tmp_path)
    printed = _run([sys.executable, "python_client.py", _url(live), "python"], tmp_path)
    assert printed == "lived\n"
