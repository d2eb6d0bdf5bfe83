"""A daemon that can't start says why in one line, ends with the code for it, and touches nothing."""

import re
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from .conftest import MakeDaemon
from .daemons import AS_ITS_USER, JOBENGINE, SECRET, Daemon

FOREGROUND = ("--nodaemon", "--pidfile=", "jobengine")
AS_A_DAEMON = ("jobengine",)
EITHER_WAY = pytest.mark.parametrize("command", [FOREGROUND, AS_A_DAEMON], ids=["in the foreground", "forked"])


@pytest.fixture
def stopped(daemon: Daemon) -> Daemon:
    with daemon.client() as client:
        client.make_queue()
        client.add()
    assert daemon.stop() == 0
    return daemon


def _reason(daemon: Daemon) -> str:
    """The one line on stderr."""
    (line,) = daemon.errors.splitlines()
    assert line.startswith("jobengine: ")
    assert "Traceback" not in daemon.all_output()
    return line


@EITHER_WAY
def test_a_start_with_a_wrong_secret_exits_with_3_and_does_not_change_the_file(
    stopped: Daemon, command: tuple[str, ...]
) -> None:
    before = stopped.db_path.read_bytes()
    files = sorted(stopped.home.iterdir())
    stopped.settings["SECRET"] = SECRET[:-1]
    stopped.command = command
    assert stopped.run() == 3
    reason = _reason(stopped)
    assert "the SECRET is not the one" in reason
    assert "It came from SECRET" in reason
    assert SECRET[:-1] not in stopped.all_output()
    assert stopped.db_path.read_bytes() == before
    assert sorted(stopped.home.iterdir()) == files
    stopped.settings.clear()
    stopped.command = FOREGROUND
    stopped.start()


@EITHER_WAY
def test_a_start_without_the_key_file_of_its_database_exits_with_3_and_makes_no_key_file(
    make_daemon: MakeDaemon, command: tuple[str, ...]
) -> None:
    daemon = make_daemon(settings={"SECRET": ""}).start()
    assert daemon.stop() == 0
    key = Path(f"{daemon.db_path}.key")
    key.rename(daemon.home / "elsewhere")
    daemon.command = command
    assert daemon.run() == 3
    assert str(key) in _reason(daemon)
    assert not key.exists()
    (daemon.home / "elsewhere").rename(key)
    daemon.command = FOREGROUND
    daemon.start()


def test_a_second_daemon_on_a_database_exits_with_5_and_the_first_daemon_continues(
    daemon: Daemon, make_daemon: MakeDaemon
) -> None:
    with daemon.client() as client:
        client.make_queue()
        before = daemon.db_path.read_bytes()
        second = make_daemon("second", settings={"DB_PATH": str(daemon.db_path)})
        assert second.run() == 5
        assert "another JobEngine is running on this database" in _reason(second)
        assert daemon.db_path.read_bytes() == before
        assert client.add().status == 201


def test_a_second_daemon_on_a_link_to_a_database_exits_with_5(daemon: Daemon, make_daemon: MakeDaemon) -> None:
    second = make_daemon("second", settings={"DB_PATH": "linked.jedb"})
    second.home.mkdir(exist_ok=True)
    (second.home / "linked.jedb").symlink_to(daemon.db_path)
    assert second.run() == 5
    assert f"{daemon.db_path}: another JobEngine is running on this database" in _reason(second)


def test_a_second_daemon_on_another_name_of_a_database_exits_with_5(daemon: Daemon, make_daemon: MakeDaemon) -> None:
    with daemon.client() as client:
        client.make_queue()
        second = make_daemon("second", settings={"DB_PATH": "other.jedb"})
        second.home.mkdir(exist_ok=True)
        (second.home / "other.jedb").hardlink_to(daemon.db_path)
        assert second.run() == 5
        assert "other.jedb: another JobEngine is running on this database" in _reason(second)
        assert client.add().status == 201


def test_a_second_daemon_that_forks_exits_with_1_and_a_reason(daemon: Daemon, make_daemon: MakeDaemon) -> None:
    second = make_daemon("second", settings={"DB_PATH": str(daemon.db_path)}, command=AS_A_DAEMON)
    assert second.run() == 1
    assert "another JobEngine is running on this database" in (second.home / "twistd.log").read_text()
    assert not (second.home / "twistd.pid").exists()


@pytest.mark.parametrize("secret", [SECRET, ""])
@EITHER_WAY
def test_a_file_that_is_not_a_database_is_reported_with_and_without_a_secret(
    make_daemon: MakeDaemon, command: tuple[str, ...], secret: str
) -> None:
    daemon = make_daemon(settings={"SECRET": secret}, command=command)
    daemon.db_path.parent.mkdir(parents=True, exist_ok=True)
    daemon.db_path.write_text("some text")
    _refused(daemon)
    daemon.db_path.unlink()
    daemon.db_path.mkdir()
    assert daemon.run() == 2
    assert "db' is not a file" in _reason(daemon)
    assert [path.name for path in daemon.db_path.parent.iterdir() if path.suffix in (".key", ".lock")] == []


def test_damage_in_the_middle_of_the_file_ends_the_start_with_4_and_changes_nothing(stopped: Daemon) -> None:
    whole = bytearray(stopped.db_path.read_bytes())
    whole[-300] ^= 1
    stopped.db_path.write_bytes(whole)
    _refused(stopped)


def test_damage_that_is_found_while_the_server_listens_is_logged(daemon: Daemon) -> None:
    with daemon.client() as client:
        client.make_queue()
        assert client.add_many([{"content": {}}] * 2_000).status == 201
        client.add()
    assert daemon.stop() == 0
    whole = bytearray(daemon.db_path.read_bytes())
    whole[-300] ^= 1
    daemon.db_path.write_bytes(whole)
    _refused(daemon)
    # After a fork nobody reads standard error.
    assert "Nothing was changed" in daemon.log


def test_the_error_for_a_database_file_without_permissions_gives_advice(stopped: Daemon) -> None:
    stopped.db_path.chmod(0)
    stopped.prefix = AS_ITS_USER
    assert stopped.run() == 1
    assert "check DB_PATH, and its owner: [Errno 13] Permission denied" in _reason(stopped)


def test_the_error_for_a_current_directory_without_permissions_gives_advice(tmp_path: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", 'chmod 0 . && exec "$@"', "sh", *AS_ITS_USER, *JOBENGINE, "serve", "--db-path", "/tmp/none/db"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    tmp_path.chmod(0o700)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "the current directory can't be entered; start the server in another one: [Errno 13]" in done.stderr


def _refused(daemon: Daemon) -> None:
    before = daemon.db_path.read_bytes()
    assert daemon.run() == 4
    assert "Nothing was changed" in _reason(daemon)
    assert daemon.db_path.read_bytes() == before


def test_a_taken_port_ends_the_start_with_1_and_unlocks_the_database(make_daemon: MakeDaemon) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        daemon = make_daemon(settings={"API_PORT": port})
        daemon.launch()
        assert daemon.wait() == 1
        assert port in _reason(daemon)
        assert "Choose another port with --api-port or API_PORT" in _reason(daemon)
    assert not daemon.db_path.exists()
    daemon.settings["API_PORT"] = "0"
    assert "not closed in good order" not in daemon.start().log


@pytest.mark.parametrize(
    ("settings", "options", "reason"),
    [
        ({"API_PORT": "http"}, (), "API_PORT must be a whole number"),
        ({"LISTEN": "nonsense:1"}, (), "LISTEN .* Unknown endpoint type"),
        ({"LISTEN": "tcp"}, (), "LISTEN .*part is missing.*tcp:6006"),
        ({"LISTEN": "ssl:0:privateKey=missing.pem"}, (), "LISTEN .*missing.pem"),
        ({"SECRET": "", "SECRET_FILE": "missing"}, (), "SECRET_FILE .*No such file"),
        ({}, ("--api-port", "http"), "--api-port must be a whole number"),
        ({}, ("--port", "1"), r"option --port not recognized \(did you mean --api-port\?\); --help lists the options"),
        ({}, ("--api-prot=1",), r"option --api-prot not recognized \(did you mean --api-port\?\)"),
        ({}, ("--api-por", "1"), "option --api-por not recognized"),
        ({}, ("--frobnicate", "1"), "option --frobnicate not recognized; --help lists the options"),
        (
            {},
            ("--admin-key", "abc"),
            "a key is never an option: instead of --admin-key use --admin-key-file, or set ADM",
        ),
        ({}, ("--log-format", "text", "--secret=abc"), "instead of --secret use --secret-file, or set SECRET"),
        ({}, ("serve",), "'serve' is not an option; --help lists the options"),
    ],
)
def test_a_start_with_a_bad_setting_exits_with_2_and_one_line_and_makes_no_file(
    make_daemon: MakeDaemon, settings: dict[str, str], options: tuple[str, ...], reason: str
) -> None:
    daemon = make_daemon(settings={"DB_PATH": "data/db", **settings}, options=options)
    assert daemon.run() == 2
    assert re.search(reason, _reason(daemon))
    assert "abc" not in daemon.all_output()
    assert not (daemon.home / "data").exists()
    assert "starting on" not in daemon.log


@pytest.mark.parametrize(
    ("name", "value", "code", "reason"),
    [
        ("API_HOST", "192.0.2.1", 1, "192.0.2.1:"),
        ("API_HOST", "no.such.host.invalid", 1, "Choose an address of this machine with --api-host or API_HOST"),
        ("LISTEN", "tcp:70000", 2, "a port is a number from 0 to 65535; for example tcp:6006"),
        ("DB_PATH", "/proc/none/db", 1, "DB_PATH"),
        ("DB_PATH", ".", 2, "DB_PATH"),
        ("DB_PATH", "log/db", 1, "DB_PATH"),
    ],
)
def test_a_start_exits_with_1_or_2_if_a_setting_can_not_be_used(
    make_daemon: MakeDaemon, name: str, value: str, code: int, reason: str
) -> None:
    daemon = make_daemon(settings={"DB_PATH": "data/db", name: value})
    assert daemon.run() == code
    assert reason in _reason(daemon)
    assert not (daemon.home / "data").exists()


@EITHER_WAY
def test_a_start_with_an_empty_key_file_exits_with_3_and_makes_no_file(
    make_daemon: MakeDaemon, command: tuple[str, ...]
) -> None:
    daemon = make_daemon(settings={"DB_PATH": "data/db", "SECRET": ""}, command=command)
    key = daemon.home / "data" / "db.key"
    key.parent.mkdir(parents=True)
    key.touch()
    assert daemon.run() == 3
    assert f"the key file {key} is empty" in _reason(daemon)
    assert [*key.parent.iterdir()] == [key]
    assert "starting on" not in daemon.log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=["SIGINT", "SIGHUP"])
def test_ctrl_c_and_hang_up_stop_the_server_in_an_orderly_way(make_daemon: MakeDaemon, number: signal.Signals) -> None:
    # Where the tests run in the background of a shell, SIGINT is ignored, and so it would be by the daemon.
    daemon = make_daemon(prefix=("env", "--default-signal=INT,HUP")).start()
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGUSR1)
    with daemon.client() as client:
        assert client.ready().status == 200
    daemon.process.send_signal(number)
    assert daemon.wait() == 0
    assert "not closed in good order" not in daemon.start().log
