"""The wheel in an environment of its own: the server answers there, and a reader's walk through the README works."""

import sysconfig
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration.daemons import SECRET, Daemon
from tests.integration.walk import walk_through_the_readme

from .packages import ROOT, Refused, run


def install(wheel: Path, into: Path, *, quick: bool) -> Path:
    """
    Install the wheel with the locked packages; returns the directory of its programs.

    `quick` takes the other packages from this environment, so that nothing is downloaded.
    """
    venv.create(into, with_pip=True)
    programs = into / "bin"
    pip: list[str | Path] = [programs / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if quick:
        place = sysconfig.get_path("purelib", vars={"base": str(into), "platbase": str(into)})
        (Path(place) / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
        run([*pip, "--ignore-installed", "--no-index", "--no-deps", wheel], into)
    else:
        run([*pip, "--require-hashes", "-r", ROOT / "requirements.lock"], into)
        run([*pip, "--no-deps", wheel], into)
        run([programs / "python", "-m", "pip", "check"], into)
    _check_place(programs, into)
    return programs


@contextmanager
def server(programs: Path, home: Path) -> Iterator[Daemon]:
    """`jobengine serve` of these programs, ready, in a directory of its own; it must end with 0."""
    program = (str(programs / "python"), str(programs / "jobengine"))
    daemon = Daemon(home, program=program, command=("serve",), settings={"PYTHONPATH": "", "SECRET": SECRET})
    try:
        yield daemon.start()
        if code := daemon.stop():
            raise Refused(f"`jobengine serve` ended with {code}: {daemon.all_output()}")
    finally:
        daemon.kill()


def try_server(programs: Path, home: Path) -> int:
    """Walk through the README with the installed programs; returns the number of commands in it."""
    with server(programs, home) as daemon:
        return walk_through_the_readme(daemon.port, programs, home)


def _check_place(programs: Path, into: Path) -> None:
    """Check that the environment imports the modules of the wheel, not those of a checkout."""
    place = run([programs / "python", "-c", "import jobengine; print(jobengine.__file__)"], into, PYTHONPATH="").strip()
    if not Path(place).is_relative_to(into):
        raise Refused(f"not the modules of the wheel: {place}")
