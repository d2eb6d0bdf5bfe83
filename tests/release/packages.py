"""The wheel and the sdist: how they are built, and what must be in them."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
#: What is copied from the checkout, except files that a build or an editor left there.
_FOLDERS: Final = ("jobengine", "twisted", "deploy")
_LEFT: Final = shutil.ignore_patterns("__pycache__", "dropin.cache", "*.pyc", "*.orig", "*~")
#: The generated file: the wheel must have it, the sdist need not.
_MADE: Final = "jobengine/web/openapi.json"
#: Files beside the code that the sdist must have: with them the wheel can be built, installed and deployed.
_SOURCES: Final = {
    "README.md",
    "NEWS.md",
    "LICENSE",
    "api_schema.yml",
    "requirements.lock",
    "requirements-postgres.lock",
    "deploy/jobengine.service",
    "deploy/kubernetes.yaml",
}


class Refused(Exception):
    """What is built must not be published; str() says why."""


def run(command: Sequence[str | Path], folder: Path = ROOT, **environment: str) -> str:
    """Run a command; returns its output, or raises Refused with the end of it."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Refused(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout[-3000:]}")
    return done.stdout


def copied(into: Path) -> Path:
    """A copy of only the sources: files that earlier builds left in the checkout would get into the packages."""
    for folder in _FOLDERS:
        shutil.copytree(ROOT / folder, into / folder, ignore=_LEFT)
    for file in (file for file in ROOT.iterdir() if file.is_file() and not file.name.startswith(".")):
        shutil.copy2(file, into / file.name)
    (into / "jobengine" / "web" / "openapi.json").unlink(missing_ok=True)
    return into


def build(sources: Path, into: Path) -> tuple[Path, Path]:
    """Build the sdist, and the wheel from the sdist's contents; returns wheel and sdist."""
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", into, sources], into, **_last_change())
    (wheel,), (sdist,) = into.glob("*.whl"), into.glob("*.tar.gz")
    run([sys.executable, "-m", "twine", "check", "--strict", wheel, sdist], into)
    return wheel, sdist


def code_of(sources: Path) -> set[str]:
    """The files that are installed, by their names in the sources."""
    found = (path for folder in ("jobengine", "twisted") for path in (sources / folder).rglob("*") if path.is_file())
    return {str(path.relative_to(sources)) for path in found} - {_MADE}


def wrong_contents(wheel: Iterable[str], sdist: Iterable[str], code: set[str]) -> list[str]:
    """The files that are missing in the packages or must not be there; `code` are the files that both must have."""
    in_wheel = {name for name in wheel if ".dist-info/" not in name}
    in_sdist = {name.partition("/")[2] for name in sdist}
    return [
        *(f"the wheel lacks {name}" for name in sorted((code | {_MADE}) - in_wheel)),
        *(f"the wheel must not have {name}" for name in sorted(in_wheel - code - {_MADE})),
        *(f"the sdist lacks {name}" for name in sorted((code | _SOURCES) - in_sdist)),
        *(f"the sdist must not have {name}" for name in sorted(in_sdist) if _foreign(name)),
    ]


def check_contents(wheel: Path, sdist: Path, sources: Path) -> int:
    """Compare the packages with the sources; returns the number of files in the wheel, or raises Refused."""
    with zipfile.ZipFile(wheel) as packed, tarfile.open(sdist) as tar:
        names = packed.namelist()
        wrong = wrong_contents(names, (one.name for one in tar if one.isfile()), code_of(sources))
    if wrong:
        raise Refused("\n".join(wrong))
    return len(names)


def _last_change() -> dict[str, str]:
    """The variable that gives all files the time of the last commit, so that each build is the same; {} if unknown."""
    with suppress(Refused, FileNotFoundError):
        return {"SOURCE_DATE_EPOCH": run(["git", "log", "-1", "--format=%ct"]).strip()}
    return {}


def _foreign(name: str) -> bool:
    """Whether a file belongs only to the checkout: tests, environments, databases."""
    return name.startswith(("tests/", "venv", "data/", "build/", "dist/")) or ".jedb" in name
