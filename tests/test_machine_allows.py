"""Tests that a machine does not allow are left out with a reason, or fail where all tests must run."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .machine_allows import Need, require
from .torture import disks
from .torture.trials import NotHere

ROOT = Path(__file__).parents[1]
#: One test that the machine refuses twice, one that it refuses for another reason, one that it allows.
MODULE = """
import pytest
from tests import machine_allows
from tests.machine_allows import Need, require

refusals = []

def _refuse():
    refusals.append(1)
    raise OSError(f"no horse is here{len(refusals) * '!'}")

@pytest.mark.parametrize("n", [1, 2])
def test_riding(n):
    # Two processes may be refused in different words.
    machine_allows._refusal.cache_clear()
    require(RIDING)

def test_walking():
    require(WALKING)

def test_of_another_engine():
    pytest.skip("for another reason")

RIDING = Need("to ride (a horse)", _refuse)
WALKING = Need("to walk", lambda: None)
"""
REASON = "this machine refuses to ride (a horse): no horse is here!"


def _run(folder: Path, *options: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    (folder / "test_needs.py").write_text(MODULE)
    (folder / "conftest.py").write_text("from tests.machine_allows import pytest_terminal_summary\n")
    rest = {name: value for name, value in os.environ.items() if name not in ("CI", "EVERYTHING")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options, "test_needs.py"],
        cwd=folder,
        env={**rest, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "environment"),
    [
        pytest.param((), {}, id="in one process"),
        pytest.param(("-n", "2"), {"CI": "true", "EVERYTHING": "0"}, id="in several, under CI"),
    ],
)
def test_tests_that_the_machine_forbids_are_skipped_and_listed_with_the_reason(
    tmp_path: Path, options: tuple[str, ...], environment: dict[str, str]
) -> None:
    done = _run(tmp_path, *options, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    title, *lines, last = [line for line in done.stdout.splitlines() if line][-5:]
    assert "left out; EVERYTHING=1 makes them fail" in title
    assert lines == [f"{REASON}:", "    test_needs.py::test_riding[1]", "    test_needs.py::test_riding[2]"]
    assert "1 passed, 3 skipped" in last


@pytest.mark.slow
@pytest.mark.parametrize("environment", [{"EVERYTHING": "1"}, {"CI": "true"}], ids=str)
def test_in_ci_or_with_everything_a_test_fails_if_the_machine_lacks_what_it_needs(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    done = _run(tmp_path, **environment)
    assert done.returncode == 1
    assert len(re.findall(rf"^E +Failed: {re.escape(REASON)}!?$", done.stdout, re.MULTILINE)) == 2
    assert "2 failed, 1 passed, 1 skipped" in done.stdout
    assert "left out" not in done.stdout


def test_a_requirement_of_several_tests_is_tried_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("EVERYTHING", raising=False)
    tried = []

    def refuse() -> None:
        tried.append(1)
        raise NotHere("no")

    need = Need("to test", refuse)
    for _ in range(3):
        with pytest.raises(pytest.skip.Exception, match="this machine refuses to test: no"):
            require(need)
    assert tried == [1]


def test_ci_runs_everything() -> None:
    assert "\nexport EVERYTHING=1\n" in (ROOT / ".ci" / "run").read_text()


def _pretend_disk(monkeypatch: pytest.MonkeyPatch, disk: Path, size: int, free: int) -> None:
    """Use `disk` as a file system of this size."""
    block = 4096
    figures = os.statvfs_result((block, block, size // block, free // block, free // block, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _: figures)


def test_a_file_that_fills_the_disk_leaves_the_wanted_space_and_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "je-disk-of-a-killed-process").mkdir()
    (tmp_path / "another").mkdir()
    _pretend_disk(monkeypatch, tmp_path, size=3 << 20, free=(3 << 20) - 8192)
    with disks.shared_disk(tmp_path, 1 << 20) as free:
        assert [*free.iterdir()] == []
        assert (free.parent / "ballast").stat().st_size == (2 << 20) - 8192
        (free / "file").write_text("x")
        assert {path.name for path in tmp_path.iterdir()} == {"another", free.parent.name}
    assert [path.name for path in tmp_path.iterdir()] == ["another"]


def test_a_large_or_full_disk_is_not_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _pretend_disk(monkeypatch, tmp_path, size=512 << 20, free=512 << 20)
    with pytest.raises(NotHere, match="too large"), disks.shared_disk(tmp_path, 1 << 20):
        pass
    _pretend_disk(monkeypatch, tmp_path, size=3 << 20, free=1 << 20)
    with pytest.raises(NotHere, match="has no room for 2097152 bytes"), disks.shared_disk(tmp_path, 2 << 20):
        pass
    assert not list(tmp_path.iterdir())
