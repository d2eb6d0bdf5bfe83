"""Tries one mutant: replaces its text in a copy of the tree, and runs the tests that should fail."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from compileall import compile_dir
from pathlib import Path
from py_compile import PycInvalidationMode
from shutil import copyfile
from typing import Final

from .mutant import Mutant

ROOT: Final = Path(__file__).parent.parent.parent
#: Built with the package, so git ignores it.
_MADE: Final = "jobengine/web/openapi.json"
#: Seconds for the tests of one mutant.
_LONGEST: Final = 300
_FAILED: Final = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", re.MULTILINE)
_MEMORY: Final = Path("/dev/shm")


class NotFound(ValueError):
    """The text that a mutant replaces does not occur exactly once in its file."""


def mutated(mutant: Mutant, root: Path = ROOT) -> str:
    """The file of a mutant with its text replaced; raises NotFound."""
    text = (root / mutant.file).read_text(encoding="utf-8")
    if text.count(mutant.old) != 1:
        raise NotFound(f"{mutant.name}: its text is {text.count(mutant.old)} times in {mutant.file}")
    return text.replace(mutant.old, mutant.new)


def copy_tree(target: Path) -> None:
    """Copy the checkout, with new files and without those that git ignores."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in (*filter(None, listed.stdout.split("\0")), _MADE):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            copyfile(ROOT / name, target / name)
    # Two mutants of a file may have equal times and lengths: Python would use the cached byte code of the other.
    compile_dir(target / "jobengine", quiet=1, invalidation_mode=PycInvalidationMode.CHECKED_HASH)


def failed_tests(root: Path, tests: Sequence[str], *options: str, seconds: float = _LONGEST) -> list[str]:
    """
    The ids of the tests that fail in a copy of the tree.

    Raises RuntimeError if pytest could not run them, and subprocess.TimeoutExpired.
    """
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rfE", "--tb=no", *options, *tests],
        cwd=root,
        env=_environment(root),
        check=False,
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(f"pytest has ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return _FAILED.findall(done.stdout)


def _environment(root: Path) -> dict[str, str]:
    """This environment, with the copy of the tree before the installed package."""
    memory = {"PYTEST_DEBUG_TEMPROOT": str(_MEMORY)} if _MEMORY.is_dir() else {}
    # Most of these tests fail, some only after this time-out.
    return {"TEST_DEADLINE": "20", **os.environ, **memory, "PYTHONPATH": str(root), "COLUMNS": "1000"}
