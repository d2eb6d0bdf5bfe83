"""get-from-debian.sh on hosts without some programs: its PATH has only doubles."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .daemons import ROOT

LIST = "# a comment\n\nsh dash shells\nno-such-program some-package for a test\nnone-at-all other-package\n"
MISSING = "Missing here: no-such-program, none-at-all."
#: Doubles of Python, which answer the script's checks.
GOOD = "case $2 in *print*) echo 3.13 ;; esac"
NO_VENV = "case $2 in *print*) echo 3.13 ;; *ensurepip*) exit 1 ;; esac"
OLD = f'exec {sys.executable} -c "import sys; sys.version_info = (3, 10, 9); exec(sys.argv[1])" "$2"'
Get = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def get(tmp_path: Path) -> Get:
    """Runs the script with doubles of programs: a name, and the shell code that it runs, or None for no program."""
    (tmp_path / "list").write_text(LIST)

    def run(*arguments: str, **doubles: str | None) -> "subprocess.CompletedProcess[str]":
        for name, code in {"sh": "", "python3": GOOD, **doubles}.items():
            if code is None:
                continue
            program = tmp_path / name.replace("_", "-")
            program.write_text(f"#!/bin/sh\n{code}\n")
            program.chmod(0o755)
        # The script adds /usr/sbin and /sbin to the PATH, which have neither apt-get nor id.
        return subprocess.run(
            ["/bin/sh", ROOT / "get-from-debian.sh", *arguments],
            cwd=tmp_path,
            env={"PATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def _error_line(done: "subprocess.CompletedProcess[str]") -> str:
    """The single line that the script printed when it failed."""
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    return line


def test_the_script_installs_nothing_if_all_programs_are_present(get: Get, tmp_path: Path) -> None:
    done = get("python3", "list", no_such_program="", none_at_all="", apt_get="touch asked")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not (tmp_path / "asked").exists()


def test_run_by_root_the_script_installs_the_packages_of_missing_programs(get: Get, tmp_path: Path) -> None:
    done = get("python3", "list", apt_get='echo "$@" >> asked', id="echo 0")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{MISSING} Installing from Debian: some-package other-package\n"
    assert (tmp_path / "asked").read_text().splitlines() == [
        "update -qq",
        "install -y -qq --no-install-recommends some-package other-package",
    ]


def test_run_by_another_user_the_script_prints_the_install_command_in_one_line(get: Get, tmp_path: Path) -> None:
    said = _error_line(get("python3", "list", apt_get="touch asked", id="echo 1000"))
    command = "apt-get install --no-install-recommends some-package other-package"
    assert said == f"{MISSING} As root: {command}"
    assert not (tmp_path / "asked").exists()


def test_without_apt_get_the_programs_are_named_in_one_line(get: Get) -> None:
    assert _error_line(get("python3", "list", id="echo 0")) == f"{MISSING} Install it, and try again."


@pytest.mark.parametrize("failing", ["update", "install"])
def test_the_script_ends_at_the_first_failure_of_apt_get(get: Get, tmp_path: Path, failing: str) -> None:
    done = get("python3", "list", apt_get=f'echo "$1" >> asked; [ "$1" != {failing} ]', id="echo 0")
    assert done.returncode != 0
    assert (tmp_path / "asked").read_text().splitlines()[-1] == failing


def test_a_library_is_missing_if_the_loader_does_not_find_it(get: Get, tmp_path: Path) -> None:
    found = "printf '2 libs\\n\\tlibone.so.10 (libc6) => /lib/a\\n\\tlibtwo.so.1 (libc6) => /lib/b\\n'"
    (tmp_path / "list").write_text("libone.so.1 one for a test\nlibtwo.so.1 two the same\n")
    error = _error_line(get("python3", "list", ldconfig=found, apt_get="", id="echo 1000"))
    assert error == "Missing here: libone.so.1. As root: apt-get install --no-install-recommends one"


def test_a_python_with_venv_needs_no_package(get: Get) -> None:
    done = get("python3", apt_get="exit 1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_debian_python_without_venv_gets_the_venv_package_of_its_version(get: Get, tmp_path: Path) -> None:
    assert get("python3", python3=NO_VENV, apt_get='echo "$@" >> asked', id="echo 0").returncode == 0
    assert (tmp_path / "asked").read_text().endswith(" python3.13-venv\n")


def test_run_by_root_the_script_installs_a_python_version_that_debian_does_not_have(get: Get, tmp_path: Path) -> None:
    def get_without_python(user: str) -> "subprocess.CompletedProcess[str]":
        return get("python3", python3=None, apt_get='echo "$@" >> asked', id=f"echo {user}")

    assert _error_line(get_without_python("1000")).endswith("--no-install-recommends python3 python3-venv")
    assert get_without_python("0").returncode == 0
    assert (tmp_path / "asked").read_text().endswith(" python3 python3-venv\n")


def test_missing_programs_are_named_in_one_line(get: Get) -> None:
    said = _error_line(get("python3", "list", python3=NO_VENV, apt_get="", id="echo 1000"))
    assert said.endswith("--no-install-recommends python3.13-venv some-package other-package")


def test_a_python_that_is_missing_or_too_old_is_named_in_one_line(get: Get) -> None:
    assert _error_line(get("python4", apt_get="")) == "Missing here: python4. JobEngine needs Python 3.11 or newer."
    assert _error_line(get("python3", python3=OLD)) == "python3 is Python 3.10: JobEngine needs 3.11 or newer."


def test_every_program_of_the_tests_has_a_package_and_a_reason() -> None:
    lines = (ROOT / "tests/debian-packages.txt").read_text().splitlines()
    assert all(len(line.split(None, 2)) == 3 for line in lines if line and not line.startswith("#"))
