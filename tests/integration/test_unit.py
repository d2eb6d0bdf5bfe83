"""deploy/jobengine.service, as systemd reads it; and the server as the unit starts it."""

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

from .conftest import MakeDaemon
from .daemons import JOBENGINE, ROOT, SECRET, until
from .documents import blocks

UNIT = ROOT / "deploy" / "jobengine.service"
#: PR_SET_MDWE of <linux/prctl.h>, with PR_MDWE_REFUSE_EXEC_GAIN: what MemoryDenyWriteExecute= does, from Linux 6.3 on.
DENY_WRITE_EXECUTE = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(65, 1, 0, 0, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""
#: System calls that the unit refuses: terminfo tries them when readline is loaded, and continues without them.
REFUSED = ("setfsuid", "setfsgid")
STRACE = ("strace", "-D", "-f", "-c", "-U", "name", f"--inject={','.join(REFUSED)}:error=EPERM")


def _settings(name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)


def _analyze(*arguments: str | Path) -> str:
    done = subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@cache
def _calls_in(group: str) -> frozenset[str]:
    """The system calls in a group of systemd's, such as @system-service."""
    names = re.findall(r"^ +([@\w-]+)$", _analyze("syscall-filter", group), re.MULTILINE)
    groups = [name for name in names if name.startswith("@")]
    return frozenset(names).difference(groups).union(*map(_calls_in, groups))


def _verify(home: Path, *drop_ins: str) -> None:
    """Let systemd look for mistakes in the unit with these drop-ins."""
    places = home / f"{UNIT.name}.d"
    places.mkdir()
    for path, text in ((home / UNIT.name, UNIT.read_text()), *((places / f"{hash(it)}.conf", it) for it in drop_ins)):
        path.write_text(text.replace("/opt/jobengine/bin", str(Path(sys.executable).parent)))
    _analyze("verify", home / UNIT.name)


def test_systemd_finds_no_mistake_in_the_unit_and_the_documented_drop_ins(tmp_path: Path) -> None:
    drop_ins = [*blocks("docs/operate.md", "ini"), *blocks("docs/secure.md", "ini")]
    assert len(drop_ins) == 3
    _verify(tmp_path, *drop_ins)


def test_systemd_finds_no_mistake_in_the_drop_in_for_postgresql(tmp_path: Path) -> None:
    drop_in = UNIT.with_name("cluster.conf").read_text()
    _verify(tmp_path, drop_in)
    (environment,) = re.findall(r"^Environment=(.*)$", drop_in, re.MULTILINE)
    (place,) = re.findall(r"^LoadCredential=(.*):", drop_in, re.MULTILINE)
    given = dict(pair.split("=") for line in (*_settings("Environment"), environment) for pair in line.split())
    assert given["DATABASE_URL_FILE"] == f"%d/{place}"
    assert given["DB_PATH"] == ""


def test_systemd_rates_the_exposure_of_the_unit_below_2() -> None:
    _analyze("security", "--offline=true", "--threshold=20", UNIT)


def test_the_server_starts_as_the_unit_says_and_makes_only_allowed_system_calls(
    make_daemon: MakeDaemon, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text(SECRET + "\n")
    (tmp_path / "admin-key").write_text("battery staple\n")
    state = tmp_path / "jobengine"
    (environment,) = _settings("Environment")
    filled = environment.replace("%d", str(tmp_path)).replace("%S", str(tmp_path))
    (start,) = _settings("ExecStart")
    table = tmp_path / "calls"
    daemon = make_daemon(
        state.name,
        settings={"SECRET": "", **dict(pair.split("=") for pair in filled.split())},
        program=JOBENGINE,
        command=start.split()[1:],
        prefix=(*STRACE, "-o", str(table), sys.executable, "-c", DENY_WRITE_EXECUTE),
    ).start()
    with daemon.client(admin_key="battery staple") as client:
        client.make_queue()
        client.add()
        assert client.claim().status == 200
        assert "process_start_time_seconds" in client.call("GET", "/metrics").body.decode()
        assert client.call("GET", "/api/v1/backup").status == 200
    assert daemon.stop() == 0
    assert daemon.db_path == state / "jobengine.jedb"
    made = set(until("strace writes its table", lambda: re.findall(r"^([a-z]\w+) *$", table.read_text(), re.MULTILINE)))
    allowed, *taken = (group for line in _settings("SystemCallFilter") for group in line.lstrip("~").split())
    assert "fdatasync" in made
    assert (
        made - {"total", "syscall", *REFUSED} - (_calls_in(allowed) - frozenset().union(*map(_calls_in, taken)))
        == set()
    )


def test_the_unit_waits_for_readiness_allows_no_core_dump_and_uses_the_state_directory() -> None:
    assert (_settings("Type"), _settings("LimitCORE"), _settings("StateDirectory")) == (
        ["notify"],
        ["0"],
        ["jobengine"],
    )
