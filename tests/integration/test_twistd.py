"""The ways to run the server: as a daemon, from a .tac file, with or without a SECRET; and the server's files."""

import json
import os
import signal
import stat
import subprocess
from pathlib import Path

import pytest

import jobengine
from jobengine.daemon.settings import SETTINGS

from .conftest import MakeDaemon
from .daemons import ROOT, TWISTD, Forked, until


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def forked(tmp_path: Path) -> Forked:
    return Forked(tmp_path / "home", settings={"DB_PATH": "data/jobs.db"})


def test_a_forked_daemon_uses_a_relative_path_and_is_stopped_by_its_pid_file(forked: Forked) -> None:
    forked.start()
    with forked.client() as client:
        client.make_queue()
        uid = client.add().json["uid"]
    assert os.getsid(forked.pid) != os.getsid(0)
    assert forked.db_path == forked.home / "data" / "jobs.db"
    assert forked.db_path.exists()
    assert forked.stop() == 0
    assert not (forked.home / "twistd.pid").exists()
    forked.start()
    with forked.client() as client:
        assert list(client.jobs()) == [uid]
    assert "not closed in good order" not in forked.log


def test_a_relative_path_is_resolved_in_the_start_directory_despite_rundir(forked: Forked, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    other.mkdir()
    forked.home.mkdir()
    process = subprocess.Popen(
        [*TWISTD, "-n", "--pidfile=", f"--rundir={other}", "jobengine"],
        cwd=forked.home,
        env=forked.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until("the database is made", forked.db_path.exists)
    finally:
        process.kill()
        process.wait()
    assert not list(other.iterdir())


def test_the_tac_file_takes_its_settings_from_the_environment(make_daemon: MakeDaemon) -> None:
    command = ("--nodaemon", "--pidfile=", "-y", str(ROOT / "jobengine.tac"))
    daemon = make_daemon(command=command, settings={"DB_PATH": "tac.db", "JOB_KEEP_MINUTES": "7"}).start()
    with daemon.client() as client:
        client.make_queue()
        assert client.add().json["keep_minutes"] == 7
    assert daemon.stop() == 0
    assert (daemon.home / "tac.db").exists()


@pytest.mark.parametrize("command", [("jobengine",), ("-y", str(ROOT / "jobengine.tac"))])
def test_the_log_has_a_warning_about_a_mistyped_setting_but_not_its_value(
    make_daemon: MakeDaemon, command: tuple[str, ...]
) -> None:
    settings = {"ADMINKEY": "abcdefghijklmnopq", "DURABILTY": "interval"}
    daemon = make_daemon(command=("--nodaemon", "--pidfile=", *command), settings=settings).start()
    assert daemon.stop() == 0
    for name, meant in (("ADMINKEY", "ADMIN_KEY"), ("DURABILTY", "DURABILITY")):
        assert daemon.log.count(f"{name} is not a setting; did you mean {meant}?") == 1
    assert "abcdefghijklmnopq" not in daemon.all_output()


def test_the_log_has_one_hint_that_the_admin_key_was_set_for_clients_only(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(settings={"JOBENGINE_ADMIN_KEY": "abcdefghijklmnopq"}).start()
    assert daemon.stop() == 0
    hint = "#info] JOBENGINE_ADMIN_KEY is for clients and the command line; this server reads ADMIN_KEY"
    assert daemon.log.count(hint) == 1
    assert "abcdefghijklmnopq" not in daemon.all_output()
    (daemon.home / "key").write_text("abcdefghijklmnop")
    daemon.settings["ADMIN_KEY_FILE"] = "key"
    daemon.start()
    assert daemon.stop() == 0
    assert "JOBENGINE_ADMIN_KEY" not in daemon.log


def test_a_limit_of_open_files_too_low_for_the_connections_causes_a_warning(make_daemon: MakeDaemon) -> None:
    limited = ("sh", "-c", 'ulimit -n 600; exec "$@"', "sh")
    daemon = make_daemon(settings={"MAX_CONNECTIONS": "400"}, prefix=limited).start()
    assert daemon.stop() == 0
    assert (
        "MAX_CONNECTIONS is 400, which may need 656 open files, but the process's limit (ulimit -n) is 600"
        in daemon.log
    )
    daemon.settings["MAX_CONNECTIONS"] = "300"
    daemon.start()
    assert daemon.stop() == 0
    assert "MAX_CONNECTIONS" not in daemon.log


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("API_PORT", "http", "must be a whole number"),
        ("LOG_FORMAT", "json", "can't be set with a .tac file"),
        ("LOG_FILE_BYTES", "20000", "can't be set with a .tac file"),
        ("LOG_FILES", "2", "can't be set with a .tac file"),
        ("LISTEN", "nonsense:1", "can't be used"),
    ],
)
def test_a_start_by_the_tac_file_with_a_bad_setting_exits_with_2_and_one_line(
    make_daemon: MakeDaemon, name: str, value: str, reason: str
) -> None:
    command = ("--nodaemon", "--pidfile=", "-y", str(ROOT / "jobengine.tac"))
    daemon = make_daemon(command=command, settings={name: value})
    assert daemon.run() == 2
    (line,) = (daemon.log + daemon.errors).splitlines()
    assert line.startswith(f"jobengine: {name} ")
    assert reason in line


@pytest.mark.parametrize("options", [(), ("--nodaemon", "--pidfile=", "--logfile=twistd.log")])
def test_a_start_whose_log_can_not_be_opened_exits_with_1_and_one_line(
    make_daemon: MakeDaemon, options: tuple[str, ...]
) -> None:
    daemon = make_daemon(command=(*options, "jobengine"))
    log = daemon.home / "twistd.log"
    log.mkdir(parents=True)
    assert daemon.run() == 1
    assert daemon.errors.startswith(
        f"jobengine: the log {log} can't be opened: Is a directory; name other files by --logf"
    )
    assert (daemon.errors.count("\n"), daemon.log) == (1, "")


def test_help_names_every_setting(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(options=("--help",))
    assert daemon.run() == 0
    for setting in SETTINGS:
        assert f"--{setting.option}=" in daemon.log
        assert f"[{setting.variable}=" in daemon.log
    assert "SECRET_FILE" in daemon.log


def test_a_start_without_a_secret_warns_and_creates_a_key_file_for_later_starts(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(settings={"SECRET": ""}).start()
    key = Path(f"{daemon.db_path}.key")
    assert _mode(key) == 0o600
    assert f"a random one was made in {key}" in daemon.log
    secret = key.read_text().strip()
    assert len(secret) >= 32
    assert secret not in daemon.all_output()
    with daemon.client() as client:
        client.make_queue()
    daemon.kill()
    daemon.start()
    with daemon.client() as client:
        assert client.jobs() == {}
    assert daemon.stop() == 0
    # The content of the key file is the SECRET, and nothing else is.
    daemon.settings["SECRET"] = secret
    daemon.start()


@pytest.mark.parametrize(("settings", "durability"), [({}, "commit"), ({"DURABILITY": "interval"}, "interval (50 ms)")])
def test_readyz_shows_the_durability_and_the_log_says_which_changes_a_power_cut_may_lose(
    make_daemon: MakeDaemon, settings: dict[str, str], durability: str
) -> None:
    daemon = make_daemon(settings=settings).start()
    with daemon.client() as client:
        assert client.ready().json["durability"] == durability
    assert ("can be lost" in daemon.log) is bool(settings)


def test_the_server_makes_files_and_directories_readable_only_by_their_owner(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(settings={"DB_PATH": "new/deep/db", "SECRET": ""}).start()
    directory = daemon.db_path.parent
    assert _mode(directory) == 0o700
    assert {file.name: _mode(file) for file in directory.iterdir()} == dict.fromkeys(("db", "db.lock", "db.key"), 0o600)
    daemon.kill()
    daemon.start()  # which rewrites the file
    assert _mode(daemon.db_path) == 0o600


def test_a_forked_daemon_writes_its_json_log_to_the_path_of_the_text_log(forked: Forked) -> None:
    forked.settings["LOG_FORMAT"] = "json"
    forked.start()
    with forked.client() as client:
        answered = client.call("GET", "/test").headers["X-Request-Id"]
    assert forked.stop() == 0
    _is_logged(forked.log, answered)


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_sigusr1_makes_a_forked_daemon_start_a_new_log_file(forked: Forked, log_format: str) -> None:
    forked.settings["LOG_FORMAT"] = log_format
    forked.start()
    before = forked.log_path.with_name("twistd.log.1")
    with forked.client() as client:
        first = client.call("GET", "/test").headers["X-Request-Id"]
        until("the line is written", lambda: first in forked.log)
        os.kill(forked.pid, signal.SIGUSR1)
        until("a new log is begun", before.exists)
        second = client.call("GET", "/test").headers["X-Request-Id"]
    until("the line is written", lambda: second in forked.log)
    assert forked.stop() == 0
    assert first in before.read_text()
    assert first not in forked.log


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_the_log_uses_at_most_the_configured_number_and_size_of_files(forked: Forked, log_format: str) -> None:
    forked.settings |= {"LOG_FORMAT": log_format, "LOG_FILE_BYTES": "5000", "LOG_FILES": "2"}
    forked.start()
    with forked.client(sampled=True) as client:
        for _ in range(400):
            client.call("GET", "/test")
    forked.stop()
    files = sorted(forked.home.glob("twistd.log*"))
    assert [file.name for file in files] == ["twistd.log", "twistd.log.1", "twistd.log.2"]
    # A file is closed after the write that made it too long; one write has at most the lines of one reactor turn.
    assert max(file.stat().st_size for file in files) < 6000


@pytest.mark.parametrize(("log_requests", "logged"), [("all", [200, 404]), ("errors", [404]), ("none", [])])
def test_the_log_has_the_requests_selected_by_the_setting(
    make_daemon: MakeDaemon, log_requests: str, logged: list[int]
) -> None:
    daemon = make_daemon(settings={"LOG_REQUESTS": log_requests, "LOG_FORMAT": "json"}).start()
    with daemon.client() as client:
        client.call("GET", "/test")
        client.call("GET", "/none")
    assert daemon.stop() == 0
    lines = [json.loads(line) for line in daemon.log.splitlines()]
    assert [line["status"] for line in lines if line.get("path") in ("/test", "/none")] == logged


def test_the_log_of_a_start_has_the_version_the_address_and_the_recovered_jobs(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(settings={"LOG_FORMAT": "json"}).start()
    new = f"the database {daemon.db_path} is new"
    with daemon.client() as client:
        client.make_queue()
        client.add()
    until("it warns", lambda: new in daemon.log)
    daemon.kill()
    daemon.start()
    until("it tells", lambda: "JobEngine is ready at" in daemon.log)
    assert daemon.stop() == 0
    lines = [json.loads(line) for line in daemon.log.splitlines()]
    messages = [line["message"] for line in lines]
    place = f"http://127.0.0.1:{daemon.port}"
    ready = f"JobEngine is ready at {place}, with the database {daemon.db_path} and the dashboard {place}/"
    assert {f"JobEngine {jobengine.__version__} is starting", ready} <= {*messages}
    assert new not in daemon.log
    assert " object at 0x" not in daemon.log
    (read_back,) = [line for line in lines if "database" in line]
    assert (read_back["database"], read_back["jobs"], read_back["queues"]) == (str(daemon.db_path), 1, 1)
    assert 0 < read_back["seconds"] < 20
    assert "jobs: 1, queues: 1" in read_back["message"]


def test_the_version_option_prints_the_versions_of_jobengine_and_twisted() -> None:
    said = subprocess.run([*TWISTD, "jobengine", "--version"], capture_output=True, text=True, check=True)
    assert said.stdout.startswith(f"JobEngine {jobengine.__version__}, Twisted ")
    assert len(said.stdout.splitlines()) == 1


def _is_logged(log: str, answered: str) -> None:
    lines = [json.loads(line) for line in log.splitlines()]
    (line,) = [line for line in lines if line.get("id") == answered]
    assert (line["method"], line["path"], line["status"]) == ("GET", "/test", 200)
