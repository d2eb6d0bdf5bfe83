"""docs/operate.md: all of it is run from its beginning to its end, on hosts that are directories."""

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from attrs import define, field

from jobengine.engine.postgres.database.connection import connected
from jobengine.engine.postgres.database.schema import opened
from tests.postgres import Cluster

from .daemons import ROOT, Client, free_port
from .documents import at_port, blocks, shell
from .shells import BIN

PAGE = "docs/operate.md"
#: Doubles of commands that would change the machine of the tests, or take minutes; each records its call.
CALLED = ("apt-get", "git", "python3", "useradd", "chown", "umount")
#: A double of systemctl with the commands that the page uses; its server forks.
SYSTEMCTL = """\
#!/bin/sh
state=$HOST/var/lib/jobengine
stop() {
    [ ! -e "$state/twistd.pid" ] || kill "$(cat "$state/twistd.pid")"
    while [ -e "$state/twistd.pid" ]; do sleep 0.05; done
}
start() {
    mkdir -p "$state" && cd "$state" || exit
    export DB_PATH=$state/jobengine.jedb
    export SECRET_FILE=$HOST/etc/jobengine/secret ADMIN_KEY_FILE=$HOST/etc/jobengine/admin-key
    "$HOST/opt/jobengine/bin/twistd" jobengine || exit
    curl -sS --fail --retry 30 --retry-delay 1 --retry-all-errors -o "$HOST/ready" "http://localhost:$API_PORT/readyz"
}
case $1 in
    stop) stop ;;
    start | enable) start ;;
    restart) stop && start ;;
esac
"""
#: A double of mount, whose disk has what was copied to /mnt.
MOUNT = """\
#!/bin/sh
cp --archive "$HOST/mnt/." "$1"
"""


@define
class Host:
    root: Path
    port: int = field(factory=free_port)

    def __attrs_post_init__(self) -> None:
        for name in (
            "opt/jobengine/bin",
            "etc/cron.daily",
            "etc/systemd/system",
            "var",
            "mnt",
            "stubs",
            "checkout/deploy",
        ):
            (self.root / name).mkdir(parents=True)
        for program in ("jobengine", "twistd"):
            (self.root / "opt/jobengine/bin" / program).symlink_to(BIN / program)
        for stub in (*(self.root / "stubs" / name for name in CALLED), self.root / "opt/jobengine/bin/pip"):
            self._write(stub, '#!/bin/sh\necho "${0##*/} $*" >> "$HOST/called"\n')
        self._write(self.root / "stubs" / "systemctl", SYSTEMCTL)
        self._write(self.root / "stubs" / "mount", MOUNT)
        for path in (ROOT / "deploy").iterdir():
            self._write(self.root / "checkout/deploy" / path.name, self._here(path.read_text()))

    @staticmethod
    def _write(path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o755)

    def _here(self, code: str) -> str:
        """The code, with its absolute paths changed to paths below this root."""
        code = re.sub(r"(?<![\w$}])/(etc|mnt|opt|var)/", rf"{self.root}/\1/", code)
        code = code.replace("/usr/bin/python3", "python3")
        return at_port(code, self.port).replace("-C / ", f"-C {self.root} ")

    @property
    def database(self) -> Path:
        return self.root / "var/lib/jobengine/jobengine.jedb"

    @property
    def called(self) -> list[str]:
        return (self.root / "called").read_text().splitlines()

    def run(self, *code: str, environment: Mapping[str, str] | None = None) -> str:
        """Run the code, which must succeed; returns its output."""
        ours = {
            "HOST": str(self.root),
            "PATH": f"{self.root}/stubs:{self.root}/opt/jobengine/bin:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "API_PORT": str(self.port),
            "JOBENGINE_URL": f"http://127.0.0.1:{self.port}",
        }
        done = shell(self._here("\n".join(code)), self.root / "checkout", {**ours, **(environment or {})})
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def client(self) -> Client:
        return Client(
            self.port, key="correct horse", admin_key=(self.root / "etc/jobengine/admin-key").read_text()[:-1]
        )

    def jobs(self) -> set[str]:
        with self.client() as client:
            return set(client.jobs("mail"))

    def add(self) -> str:
        with self.client() as client:
            uid: str = client.add({}, "mail").json["uid"]
            return uid


def _section(heading: str) -> list[str]:
    return blocks(PAGE, heading=f"## {heading}")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host on which the server was installed, with a job."""
    host = Host(tmp_path / "host")
    assert '"status":"ready"' in host.run(*_section("Install"))
    with host.client() as client:
        client.make_queue("mail")
    host.add()
    return host


def test_every_command_of_the_operations_page_is_run_in_order(host: Host, tmp_path: Path) -> None:
    _installs_as_the_container_does(host)
    jobs = host.jobs()
    host.run(*_section("Upgrade"))
    assert host.jobs() == jobs
    assert "whole\ttrue" in host.run(*_section("Back up"))
    assert host.run("sleep 1; deploy/backup 2>&1") == ""
    host.add()
    assert 'jobengine_jobs{queue="mail",state="queued"} 1' in _restored(host)
    assert host.jobs() == jobs
    secret = (host.root / "etc/jobengine/secret").read_text()
    host.run(*_section("Change the SECRET"))
    assert (host.root / "etc/jobengine/secret").read_text() != secret
    assert host.jobs() == jobs
    assert "ready\t1" in host.run(*_section("Change the key of a queue"))
    assert "jobengine.jedb.lock" in host.run(*_section("The disk is full"))
    host.run(*_section("Move to a larger disk"))
    assert host.jobs() == jobs
    assert (host.database.parents[1] / "jobengine.old").exists()
    _damaged(host)
    assert host.jobs() == jobs
    _moved(host, Host(tmp_path / "another"), jobs)


def _installs_as_the_container_does(host: Host) -> None:
    pips = [called.removeprefix("pip install ") for called in host.called if called.startswith("pip")]
    assert pips == ["--require-hashes -r requirements.lock", "--no-deps ."]
    container = (ROOT / "Dockerfile").read_text()
    assert all(any(line.endswith(options) for line in container.splitlines()) for options in pips)


def _restored(host: Host) -> str:
    drill, in_earnest = (code.replace("6007", str(free_port())) for code in _section("Restore"))
    return host.run(drill, in_earnest)


def _damaged(host: Host) -> None:
    """Run the section for a file that is damaged at its end, and continue with the repaired file."""
    host.run("systemctl stop jobengine")
    before = host.database.read_bytes()
    host.database.write_bytes(before + before[-200:])
    look, repair = _section("The database is damaged")
    assert "damaged: exit code 4" in host.run(look)
    assert "whole\ttrue" in host.run("export SECRET_FILE=/etc/jobengine/secret", repair)
    host.database.with_name("repaired.jedb").rename(host.database)
    host.run("systemctl start jobengine")


def _moved(host: Host, other: Host, jobs: set[str]) -> None:
    pack, unpack = _section("Move to another host")
    host.run(pack)
    shutil.move(host.root / "checkout/move.tar.gz", other.root / "checkout")
    other.run(unpack)
    assert other.jobs() == jobs
    other.run("systemctl stop jobengine")


def test_the_daily_backup_copies_the_database_that_the_settings_name(host: Host) -> None:
    moved = host.root / "var/moved.jedb"
    host.run("systemctl stop jobengine")
    host.database.rename(moved)
    (host.root / "etc/jobengine/settings").write_text(f'DB_PATH=before.jedb\nDB_PATH = "{moved}"\n')
    assert host.run("deploy/backup 2>&1") == ""
    assert len(list((host.root / "var/backups/jobengine").glob("*.jedb"))) == 1


def test_logrotate_rotates_the_log_file_that_the_operations_page_configures() -> None:
    (drop_in,) = blocks(PAGE, "ini", "## Read the log")
    rotation = (ROOT / "deploy" / "logrotate").read_text()
    (log,), (pid,) = re.findall(r"--logfile=(\S+)", drop_in), re.findall(r"--pidfile=(\S+)", drop_in)
    assert rotation.count(f"\n{log} {{") == 1
    assert f"$(cat {pid})" in rotation


def test_the_table_of_contents_of_the_operations_page_lists_all_sections() -> None:
    text = (ROOT / PAGE).read_text()
    listed = re.findall(r"^- \[(.+)\]\(#(.+)\)$", text, re.MULTILINE)
    assert [name for name, _ in listed] == re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert all(anchor == name.lower().replace(" ", "-") for name, anchor in listed)


def test_a_host_joins_a_cluster_as_the_postgresql_page_says(host: Host, cluster: Cluster) -> None:
    url = cluster.make_database("of_hosts")
    (host.root / "etc/jobengine/database-url").write_text(url)
    _, code = blocks("docs/postgresql.md", heading="## Ready-made files")
    host.run(code)
    assert host.called[-1] == "pip install --no-deps --require-hashes -r requirements-postgres.lock"
    settings = (host.root / "etc/systemd/system/jobengine.service.d/cluster.conf").read_text()
    assert f"LoadCredential=database-url:{host.root}/etc/jobengine/database-url" in settings
    with connected(url) as connection:
        opened(connection, (host.root / "etc/jobengine/secret").read_text().strip().encode())
