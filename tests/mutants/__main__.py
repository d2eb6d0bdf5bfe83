"""
Removes one safety at a time, and prints the test that detects it: python -m tests.mutants [NAMES…]

Exits with 1 if no test detects a missing safety, or if a test fails without any change.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from .catalogue import MUTANTS
from .mutant import Mutant
from .trying import copy_tree, failed_tests, mutated

#: Seconds for all of the tests, with nothing removed.
_UNCHANGED = 1_800


def main(arguments: list[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description="Remove one safety at a time.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="a safety; by default all")
    names = parser.parse_args(arguments).names
    unknown = set(names) - {mutant.name for mutant in MUTANTS}
    if unknown:
        parser.error(f"not known: {', '.join(sorted(unknown))}")
    chosen = [mutant for mutant in MUTANTS if not names or mutant.name in names]
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy_tree(Path(folder))
        if not _hold_unchanged(Path(folder), chosen):
            return 1
        survivors = [mutant.name for mutant in chosen if not _is_detected(Path(folder), mutant)]
    _print(f"\n{len(chosen) - len(survivors)} of {len(chosen)} were noticed\n")
    for name in survivors:
        _print(f"no test has noticed: {name}\n")
    return int(bool(survivors))


def _hold_unchanged(root: Path, mutants: Sequence[Mutant]) -> bool:
    """Whether all tests pass without any change: a test that always fails proves nothing."""
    _print("with nothing removed: ")
    failed = failed_tests(root, sorted({test for mutant in mutants for test in mutant.tests}), seconds=_UNCHANGED)
    _print(f"{', '.join(failed)} failed, so nothing can be shown\n" if failed else "no test fails\n")
    return not failed


def _is_detected(root: Path, mutant: Mutant) -> bool:
    """Whether a test fails without this safety; the file is restored afterwards."""
    file, began = root / mutant.file, time.monotonic()
    whole = file.read_text(encoding="utf-8")
    file.write_text(mutated(mutant, root), encoding="utf-8")
    try:
        failed = failed_tests(root, mutant.tests, "-x")
    except subprocess.TimeoutExpired:
        failed = []
    finally:
        file.write_text(whole, encoding="utf-8")
    found = failed[0] if failed else "NO TEST FAILS"
    _print(f"{mutant.name:24} {time.monotonic() - began:5.1f} s  {found}\n")
    return bool(failed)


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
