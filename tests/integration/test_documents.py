import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from jobengine import __version__
from jobengine.core import fact_codec
from jobengine.core.fact_lines import BeginLine
from jobengine.daemon.service import Exit
from jobengine.daemon.settings import SETTINGS
from jobengine.engine.postgres.database import schema
from jobengine.storage import frames

from .conftest import MakeDaemon
from .daemons import JOBENGINE, ROOT, Daemon, free_port, until
from .documents import at_port, blocks, services_of_compose, shell
from .shells import BIN
from .walk import CALLS, COMMANDS, steps, walk_through_the_readme

#: Stands in for docker-compose and kubectl: runs a container's command in the directory of its volume, with the DB_PATH
#: that was set last.
CONTAINER = """#!/bin/sh
case $1 in
    stop | start) exit ;;
    set) echo "${4#DB_PATH=}" > "$VOLUME.db_path"; exit ;;
esac
[ ! -e "$VOLUME.db_path" ] || export DB_PATH="$(cat "$VOLUME.db_path")"
while [ "$1" != jobengine ] && [ "$1" != -- ]; do
    [ "$1" != --entrypoint ] || program=$2
    shift
done
shift
cd "$VOLUME" && exec $program "$@"
"""


def test_no_command_of_a_page_has_a_comment_that_zsh_would_pass_as_arguments() -> None:
    pages = ["README.md", *(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))]
    commands = [
        line for page in pages if "```sh" in (ROOT / page).read_text() for line in "".join(blocks(page)).split("\n")
    ]
    assert len(commands) > 300
    assert [line for line in commands if re.search(r"(^|\s)#(\s|$)", line)] == []


def test_no_two_pages_use_the_same_uid() -> None:
    uid = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
    commands = (re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL) for page in (ROOT / "docs").glob("*.md"))
    used = [found for page in commands for found in set(uid.findall("".join(page)))]
    assert len(used) >= 7
    assert sorted(used) == sorted(set(used))


def test_the_readme_is_short_and_starts_with_what_jobengine_is_for() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 150
    first = "\n".join(lines[:10])
    assert [word for word in ("**For**", "**Instead of**", "**Not**", "power cut") if word not in first] == []


def test_every_command_of_the_readme_has_the_described_effect(daemon: Daemon, tmp_path: Path) -> None:
    assert walk_through_the_readme(daemon.port, BIN, tmp_path) == 7


def test_clients_of_version_1_keep_working_as_their_page_says(daemon: Daemon, tmp_path: Path) -> None:
    queue, _, _ = blocks("README.md", heading=CALLS)[0].partition("curl -sS -w '\\n' -X PUT $api/job")
    (code,) = blocks("docs/come-from-go.md", heading="## What its clients may go on doing")
    _, answers = steps([queue, code], daemon.port, BIN, tmp_path)
    assert json.loads(answers)["content"] == {"to": "bob@example.org"}
    with daemon.client(key="correct horse") as client:
        assert [job["state"] for job in client.jobs("letters").values()] == ["complete"]


def test_the_readme_creates_its_queue_with_the_key_that_other_pages_use(daemon: Daemon, tmp_path: Path) -> None:
    call = blocks("docs/run-queues.md")[0]
    code = [blocks("README.md", heading=COMMANDS)[0], f'{call}call "$api/queue?name=mail"']
    _, answer = steps(code, daemon.port, BIN, tmp_path)
    assert json.loads(answer)["name"] == "mail"


@pytest.mark.parametrize(("page", "missing"), [("docs/settings.md", set()), ("docs/run.md", {Exit.STOPPED})])
def test_the_pages_list_exactly_the_existing_exit_codes(page: str, missing: set[Exit]) -> None:
    codes = [int(code) for code in re.findall(r"^\| (\d) \|", (ROOT / page).read_text(), re.MULTILINE)]
    assert codes == sorted(set(Exit) - missing)


def test_the_page_on_settings_lists_exactly_the_existing_settings() -> None:
    text = (ROOT / "docs/settings.md").read_text()
    rows = re.findall(r"^\| `--([a-z-]+)` \| `([A-Z_]+)` \| (?:`(.*?)`)? ?\|", text, re.M)
    assert rows == [(setting.option, setting.variable, setting.default) for setting in SETTINGS]


def test_the_page_on_upgrades_has_the_versions_of_the_code() -> None:
    versions = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|", (ROOT / "docs/upgrade.md").read_text(), re.MULTILINE))
    assert versions["database file"] == f"format {frames._MAJOR}.{frames._MINOR}"
    assert versions["records in the file"] == f"1 to {max(version for _, version in fact_codec._DECODERS)}"
    assert versions["exports"] == str(BeginLine().version)
    assert versions["tables in PostgreSQL"] == f"schema {schema.VERSION}"


def test_the_commands_on_the_page_on_upgrades_print_both_versions(daemon: Daemon, tmp_path: Path) -> None:
    (code,) = blocks("docs/upgrade.md")
    (printed,) = steps([code], daemon.port, BIN, tmp_path)
    assert f"JobEngine {__version__}\n" in printed
    assert printed.count(__version__) == 2


def test_the_command_on_the_page_on_settings_has_the_described_effect(make_daemon: MakeDaemon) -> None:
    (code,) = blocks("docs/settings.md")
    variable, name, *command = code.split()
    assert (variable, name) == ("API_PORT=7391", "jobengine")
    daemon = make_daemon(program=JOBENGINE, command=command).start()
    with daemon.client() as client:
        client.call("GET", "/test")
    assert daemon.stop() == 0
    assert daemon.home / "data" / "jobengine.jedb" in (daemon.home / "data").iterdir()
    assert "GET /test 200" not in daemon.log


@pytest.mark.parametrize(("page", "number"), [("durability.md", 30), ("upgrade.md", 10)])
def test_the_tests_named_on_a_page_exist(page: str, number: int) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs" / page).read_text())
    assert len(named) >= number
    missing = [f"{path}::{name}" for path, name in named if f"def {name}(" not in (ROOT / path).read_text()]
    assert missing == []


def test_a_server_runs_in_the_foreground_as_the_page_on_running_says(make_daemon: MakeDaemon) -> None:
    foreground = blocks("docs/run.md", heading="## Start and stop")[0]
    daemon = make_daemon(program=JOBENGINE, command=foreground.split()[1:]).start()
    until("the log has the address", lambda: f"is ready at http://127.0.0.1:{daemon.port}" in daemon.log)
    assert daemon.stop() == 0
    assert (daemon.home / "data" / "jobengine.jedb").exists()


@pytest.mark.parametrize("block", [1, 2], ids=["a script", "twistd"])
def test_a_server_starts_and_answers_and_stops_as_the_page_on_running_says(make_daemon: MakeDaemon, block: int) -> None:
    daemon = make_daemon(settings={"DB_PATH": "data/jobengine.jedb", "SECRET": ""}).start()
    assert daemon.stop() == 0
    port = free_port()
    code = at_port(blocks("docs/run.md", heading="## Start and stop")[block], port)
    environment = {**daemon.environment, "API_PORT": str(port), "PATH": f"{BIN}:{daemon.environment['PATH']}"}
    done = shell(code + "wait\n", daemon.home, environment)
    assert done.returncode == 0, done.stderr
    assert (json.loads(done.stdout)["status"], done.stderr) == ("ready", "")
    until("it has ended", lambda: not (daemon.home / "twistd.pid").exists())


def test_a_backup_made_in_a_container_is_restored_as_the_page_on_running_says(
    make_daemon: MakeDaemon, tmp_path: Path
) -> None:
    volume = make_daemon(settings={"DB_PATH": "data/jobengine.jedb"}).start()
    assert volume.stop() == 0
    shutil.copy(volume.db_path, volume.home / "database.jedb")
    for name in ("docker-compose", "kubectl"):
        (tmp_path / name).write_text(CONTAINER)
        (tmp_path / name).chmod(0o755)
    section = blocks("docs/run.md", heading="## Back up and restore in containers")
    section = [
        code.replace("/opt/jobengine/bin/jobengine", str(BIN / "jobengine")).replace("/jobengine/data", "data")
        for code in section
    ]
    path = f"{tmp_path}:{volume.environment['PATH']}"
    environment = {**volume.environment, "PATH": path, "VOLUME": str(volume.home)}
    # In Kubernetes twice: the second backup must copy the restored database.
    again = "".join(["rm $VOLUME/data/jobengine.jedb backup.jedb; sleep 1\n", *section[2:]])
    done = shell("".join(section) + again, tmp_path, environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("is whole and on disk") == 6
    files = {str(path.relative_to(volume.home)) for path in volume.home.rglob("*.jedb*")}
    for start, count in (("database.jedb.old-", 1), ("data/restored-", 2), ("backup", 0), ("restore.jedb", 0)):
        assert sum(name.startswith(start) for name in files) == count, files
    before = (volume.home / "database.jedb").read_bytes()
    os.truncate(tmp_path / "backup.jedb", (tmp_path / "backup.jedb").stat().st_size - 1)
    cut = shell(section[1], tmp_path, environment)
    assert (cut.returncode, (volume.home / "database.jedb").read_bytes()) == (4, before), cut.stderr


def test_a_server_with_tls_is_used_as_the_page_on_security_says(tmp_path: Path) -> None:
    page, port = "docs/secure.md", str(free_port())
    start, use, end = [code.replace("6443", port) for code in blocks(page, heading="## TLS")]
    (tmp_path / "letters.py").write_text(blocks(page, "python", "## TLS")[0])
    environment = {"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(tmp_path), "LANG": "C.UTF-8"}
    stopped = "trap 'kill $(jobs -p) 2> /dev/null || true' EXIT\n"
    done = shell(f"{stopped}{start}{use}python letters.py\n{end}wait\n", tmp_path, environment)
    assert done.returncode == 0, done.stderr
    ready, worked = done.stdout.splitlines()[0], done.stdout.splitlines()[-1]
    assert '"status":"ready"' in ready
    assert worked == "{'to': 'ada@example.org'} complete"


def test_compose_starts_the_server_with_few_rights_and_without_any_preparation() -> None:
    service = services_of_compose()["jobengine"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["logging"]["options"] == {"max-size": "10m", "max-file": "5"}
    written = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["jobengine"]
    assert (written["ports"], written["volumes"]) == (["127.0.0.1:6006:6006"], ["data:/jobengine"])


def test_the_container_is_started_directly_as_a_user_without_rights() -> None:
    lines = _dockerfile()
    assert lines["USER"] == "10001:10001"
    assert lines["VOLUME"] == "/jobengine"
    assert json.loads(lines["ENTRYPOINT"]) == ["/opt/jobengine/bin/jobengine", "serve"]


def test_the_health_check_of_the_container_detects_a_missing_server(daemon: Daemon) -> None:
    check = json.loads(_dockerfile()["HEALTHCHECK"].partition("CMD ")[2])
    command = [sys.executable, *check[1:]]
    healthy = subprocess.run(command, env={"API_PORT": str(daemon.port)}, capture_output=True, check=False)
    ill = subprocess.run(command, env={"API_PORT": str(free_port())}, capture_output=True, check=False)
    assert (healthy.returncode, ill.returncode != 0) == (0, True)


def test_the_lock_file_pins_all_that_is_needed_with_hashes() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    pinned = set(re.findall(r"^([a-z0-9-]+)==", lock, re.MULTILINE))
    assert {
        "twisted",
        "klein",
        "pynacl",
        "attrs",
        "msgspec",
        "prometheus-client",
        "click",
        "rich",
        "platformdirs",
    } <= pinned
    assert all("--hash=sha256:" in block for block in re.split(r"\n(?=[a-z])", lock.strip()))


def _dockerfile() -> dict[str, str]:
    """The last occurrence of each instruction, with its lines joined."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", "")
    return dict(re.findall(r"^([A-Z]+) (.*)$", text, re.MULTILINE))
