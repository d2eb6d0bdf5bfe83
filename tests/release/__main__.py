"""
Run from the root: `python -m tests.release`, or `make release`. With --quick nothing is downloaded, and no image is
built.
"""

import argparse
import hashlib
import re
import shutil
import sys
import tempfile
from pathlib import Path

from jobengine import __version__

from . import image, installed, packages
from .packages import ROOT, Refused, run


def main() -> int:
    """Build and try all packages; returns 1 if something must not be published, and prints the reason."""
    parser = argparse.ArgumentParser(prog="python -m tests.release")
    parser.add_argument("--quick", action="store_true", help="packages alone, from the checkout as it is")
    parser.add_argument("--into", type=Path, default=ROOT / "dist", help="where wheel, sdist and checksums are put")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prog := "jobengine-release-") as work:
            _release(Path(work), options.into, quick=options.quick)
    except (Refused, AssertionError) as error:
        print(f"{prog.rstrip('-')}: {error}", file=sys.stderr)  # noqa: T201  # the output of `make release`
        return 1
    return 0


def _release(work: Path, into: Path, *, quick: bool) -> None:
    if not quick:
        _check_checkout()
    for folder in ("sources", "built", "home", "home-of-image"):
        (work / folder).mkdir()
    sources = packages.copied(work / "sources")
    wheel, sdist = packages.build(sources, work / "built")
    files = packages.check_contents(wheel, sdist, sources)
    _say(f"{wheel.name}, {sdist.name}: built and checked, {files} files in the wheel")
    programs = installed.install(wheel, work / "clean", quick=quick)
    walked = installed.try_server(programs, work / "home")
    _say(f"installed in a clean environment, jobengine serve answers, and {walked} steps of the README work")
    if not quick:
        built = image.build()
        walked = image.try_image(programs, work / "home-of-image")
        _say(f"{image.TAG} is {built}: healthy with few rights, and {walked} steps of the README work")
    _publish([wheel, sdist], into)


def _check_checkout() -> None:
    """Refuse a release that can't be reproduced: changes without a commit, or news that do not name the version."""
    if changed := run(["git", "status", "--porcelain"]):
        raise Refused(f"not in a commit:\n{changed}")
    newest = re.search("^## (.+)$", (ROOT / "NEWS.md").read_text(), re.MULTILINE)
    if newest is None or newest[1] != __version__:
        raise Refused(f"NEWS.md does not begin with version {__version__}: run `make news`")
    if fragments := [path.name for path in (ROOT / "newsfragments").glob("*.md")]:
        raise Refused(f"{len(fragments)} fragments are not in NEWS.md: run `make news`")


def _publish(files: list[Path], into: Path) -> None:
    """Copy the files to their place with their checksums, in the form that `sha256sum --check` reads."""
    into.mkdir(exist_ok=True)
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    for file in files:
        shutil.copy2(file, into / file.name)
    (into / "SHA256SUMS").write_text("".join(lines))
    _say(f"checksums, in {into / 'SHA256SUMS'}:\n{''.join(lines)}".rstrip())


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  # the output of `make release`


if __name__ == "__main__":
    raise SystemExit(main())
