"""`make release`: what is built is whole and works outside the checkout; what must not be published is refused."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from jobengine import __version__
from tests.release import __main__ as release
from tests.release.image import LABELS, wrong_labels
from tests.release.packages import Refused, build, code_of, copied, run, wrong_contents

from .daemons import ROOT

CODE = {"jobengine/__init__.py", "jobengine/web/dashboard/index.html"}
MADE = "jobengine/web/openapi.json"
#: The files that the sdist needs beside the code.
BESIDE = ("README.md", "NEWS.md", "LICENSE", "api_schema.yml", "requirements.lock", "requirements-postgres.lock")
DEPLOYED = ("deploy/jobengine.service", "deploy/kubernetes.yaml")
WHEEL = [*CODE, MADE, "jobengine-1.0.0.dist-info/METADATA"]
SDIST = [f"jobengine-1.0.0/{name}" for name in (*CODE, *BESIDE, *DEPLOYED)]


def test_a_quick_release_builds_packages_with_which_the_readme_works(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.release", "--quick", "--into", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "jobengine serve answers, and 7 steps of the README work" in done.stdout
    lines = (tmp_path / "SHA256SUMS").read_text().splitlines()
    names = [f"jobengine-{__version__}-py3-none-any.whl", f"jobengine-{__version__}.tar.gz"]
    assert lines == [f"{hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()}  {name}" for name in names]


def test_complete_packages_are_accepted() -> None:
    assert wrong_contents(WHEEL, SDIST, CODE) == []


@pytest.mark.parametrize("name", [*sorted(CODE), MADE])
def test_a_wheel_without_one_of_its_files_is_refused(name: str) -> None:
    assert wrong_contents([one for one in WHEEL if one != name], SDIST, CODE) == [f"the wheel lacks {name}"]


@pytest.mark.parametrize("name", [*sorted(CODE), *BESIDE, *DEPLOYED])
def test_an_sdist_without_one_of_its_files_is_refused(name: str) -> None:
    shorter = [one for one in SDIST if not one.endswith(f"/{name}")]
    assert wrong_contents(WHEEL, shorter, CODE) == [f"the sdist lacks {name}"]


def test_packages_with_files_of_the_checkout_are_refused() -> None:
    foreign = ["tests/test_news.py", "data/jobengine.jedb", "venv/pyvenv.cfg"]
    wrong = wrong_contents([*WHEEL, *foreign], [*SDIST, *(f"jobengine-1.0.0/{name}" for name in foreign)], CODE)
    assert wrong == [f"{what} must not have {name}" for what in ("the wheel", "the sdist") for name in sorted(foreign)]


def test_files_that_a_build_left_in_the_checkout_are_in_no_package(tmp_path: Path) -> None:
    sources = copied(tmp_path)
    assert not [name for name in code_of(sources) if "__pycache__" in name or name == MADE]
    assert not [name for name in ("venv", "build", "tests", "data") if (sources / name).exists()]


def test_a_readme_that_the_index_can_not_show_is_refused(tmp_path: Path) -> None:
    sources, into = tmp_path / "sources", tmp_path / "into"
    into.mkdir()
    setup = (copied(sources) / "setup.py").read_text()
    (sources / "setup.py").write_text(setup.replace("text/markdown", "text/x-rst"))
    with pytest.raises(Refused, match="twine check"):
        build(sources, into)


def test_a_release_with_uncommitted_files_or_without_its_news_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "ROOT", tmp_path)
    monkeypatch.setattr(release, "run", lambda command: run(command, tmp_path))
    (tmp_path / "newsfragments").mkdir()
    news = tmp_path / "NEWS.md"
    news.write_text(f"# News\n\n## {__version__}\n")
    run(["git", "init", "--quiet"], tmp_path)
    with pytest.raises(Refused, match=r"not in a commit:\n.*NEWS\.md"):
        release._check_checkout()
    (tmp_path / ".gitignore").write_text("*\n")
    release._check_checkout()
    (tmp_path / "newsfragments" / "+new.feature.md").touch()
    with pytest.raises(Refused, match=r"1 fragments are not in NEWS\.md"):
        release._check_checkout()
    news.write_text("# News\n\n## 0.9.0\n")
    with pytest.raises(Refused, match=f"does not begin with version {__version__}"):
        release._check_checkout()


def test_an_image_must_have_each_label() -> None:
    good = {
        "org.opencontainers.image.title": "JobEngine",
        "org.opencontainers.image.version": __version__,
        "org.opencontainers.image.revision": "a" * 40,
        "org.opencontainers.image.licenses": "MIT",
        "org.opencontainers.image.base.name": "docker.io/library/python:3.13-slim",
        "org.opencontainers.image.base.digest": f"sha256:{'0' * 64}",
    }
    assert wrong_labels(good) == []
    assert wrong_labels(None) == list(LABELS)
    for name in good:
        assert wrong_labels(good | {name: ""}) == [name]
