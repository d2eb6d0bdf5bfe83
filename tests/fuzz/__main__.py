"""
Fuzzes with atheris for some minutes: python -m tests.fuzz --minutes 10 [TARGET…]

Begins with the kept inputs; new ones go to build/fuzz. With --keep, the smallest set of inputs that reaches the same
code as all of them is kept too. Ends with 1 if a target failed; its input is then in build/fuzz/TARGET.failed.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Final

from . import corpus
from .targets import TARGETS

_FOLDER: Final = Path("build/fuzz")
_LONGEST: Final = 4096


def main(arguments: list[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz what reads bytes.")
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--minutes", type=float, default=10, help="for each target")
    parser.add_argument("--keep", action="store_true", help="keep the inputs that reach most")
    given = parser.parse_args(arguments)
    failed = [name for name in given.targets or TARGETS if not _fuzz(name, given.minutes * 60)]
    if given.keep:
        for name in given.targets or TARGETS:
            corpus.write(name, {*corpus.kept(name), *_fewest(name)})
    sys.stdout.write(f"failed: {', '.join(failed)}\n" if failed else "no target failed\n")
    return int(bool(failed))


def _fuzz(name: str, seconds: float) -> bool:
    """Fuzz a target; returns whether it never failed."""
    found = _FOLDER / name
    _fill(found, corpus.kept(name))
    sys.stdout.write(f"{name}, for {seconds:.0f} s\n")
    sys.stdout.flush()
    limits = [f"-max_total_time={seconds:.0f}", f"-max_len={_LONGEST}", "-timeout=10", "-print_final_stats=1"]
    return not _run(name, [*limits, f"-exact_artifact_path={found}.failed", str(found)])


def _fewest(name: str) -> list[bytes]:
    """The fewest of the inputs that reach the same code, by libFuzzer."""
    fewest = _FOLDER / f"{name}.fewest"
    _fill(fewest, ())
    if _run(name, ["-set_cover_merge=1", str(fewest), str(_FOLDER / name)]):
        raise SystemExit(f"the inputs of {name} could not be compared; those that are kept stay as they are")
    return [path.read_bytes() for path in fewest.iterdir()]


def _run(name: str, options: list[str]) -> int:
    return subprocess.run([sys.executable, "-m", "tests.fuzz.one", name, *options], check=False).returncode


def _fill(folder: Path, inputs: Iterable[bytes]) -> None:
    """Write these inputs to a folder, each named by its digest; other files in it stay."""
    folder.mkdir(parents=True, exist_ok=True)
    for data in inputs:
        (folder / sha256(data).hexdigest()[:40]).write_bytes(data)


if __name__ == "__main__":
    sys.exit(main())
