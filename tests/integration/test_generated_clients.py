"""Clients generated from the schema, each driving a job through its whole life, and a linter of OpenAPI."""

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machine_allows import Need, require
from tests.schema import SCHEMA_PATH
from tests.torture.trials import NotHere

from .daemons import Daemon
from .documents import blocks, shell
from .node import GENERATORS, TOOLS, run


def _look_for_node_20() -> None:
    version = run(["node", "--version"], GENERATORS).strip()
    if int(version.removeprefix("v").partition(".")[0]) < 20:
        raise NotHere(f"it has {version}")


_ROOT = Path(__file__).parents[2]
_PAGE = _ROOT / "docs" / "generate-a-client.md"
NODE_20 = Need("the generator hey-api, which needs Node 20", _look_for_node_20)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path_factory.mktemp("live") / "home").start()
    yield daemon
    daemon.kill()


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory, node_modules: Path, live: Daemon) -> Path:
    """The TypeScript programs, compiled with the clients that the commands of the page generate."""
    require(NODE_20)
    place = tmp_path_factory.mktemp("typescript")
    for source in [*GENERATORS.glob("*.ts"), GENERATORS / "tsconfig.json", GENERATORS / "package.json"]:
        shutil.copy(source, place)
    (place / "node_modules").symlink_to(node_modules)
    _, generate = blocks("docs/generate-a-client.md")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = shell(generate, place, {**os.environ, "PATH": path, "JOBENGINE_URL": _url(live)})
    assert done.returncode == 0, done.stdout + done.stderr
    run([str(TOOLS / "tsc"), "--strict"], place)
    return place / "made"


def _url(live: Daemon, path: str = "") -> str:
    return f"http://127.0.0.1:{live.port}{path}"


def test_redocly_finds_nothing_wrong_with_the_schema(node_modules: Path) -> None:
    config = str(GENERATORS / "redocly.yaml")
    printed = run([str(TOOLS / "redocly"), "lint", "--config", config, str(SCHEMA_PATH)], GENERATORS)
    assert "Your API description is valid" in printed


def test_the_documented_generator_versions_are_those_that_the_tests_use() -> None:
    tried = json.loads((GENERATORS / "package.json").read_text())["devDependencies"]
    documented = re.findall(r" (@?[\w/-]+)@([\d.]+)", _PAGE.read_text())
    assert len(documented) == 4
    assert documented == [(package, tried[package]) for package, _ in documented]
    [python] = re.findall(r'"(openapi-python-client.*?)"', (_ROOT / "setup.py").read_text())
    assert f'pip install "{python}"' in _PAGE.read_text()


@pytest.mark.parametrize("driver", ["openapi_fetch", "hey_api"])
def test_a_client_in_typescript_drives_a_job_through_its_life(driver: str, compiled: Path, live: Daemon) -> None:
    printed = run(["node", str(compiled / f"{driver}.js"), _url(live), driver], compiled)
    assert printed == "lived\n"


def test_a_client_in_python_drives_a_job_through_its_life(tmp_path: Path, live: Daemon) -> None:
    generator = str(Path(sys.executable).with_name("openapi-python-client"))
    config = str(GENERATORS / "python_client.yml")
    options = ["--url", _url(live, "/openapi.json"), "--config", config, "--output-path", "made", "--meta", "none"]
    printed = run([generator, "generate", *options, "--fail-on-warning"], tmp_path)
    assert "Warning" not in printed
    shutil.copy(GENERATORS / "python_client.py", tmp_path)
    printed = run([sys.executable, "python_client.py", _url(live), "python"], tmp_path)
    assert printed == "lived\n"
