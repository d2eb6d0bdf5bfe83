"""A daemon that can't start says why in one line, ends with the code for it, and touches nothing."""

import signal
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from .conftest import MakeDaemon
from .daemons import SECRET, Daemon

AS_A_DAEMON = ("jobengine",)


@pytest.fixture
def stopped(daemon: Daemon) -> Daemon:
    """A daemon with a job in its database, stopped."""
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


@pytest.mark.parametrize(
    ("command", "wrong"),
    [(("--nodaemon", "jobengine"), SECRET[:-1]), (AS_A_DAEMON, "a wrong secret")],
)
def test_a_wrong_secret_ends_the_start_with_3_and_changes_no_byte(
    stopped: Daemon, command: tuple[str, ...], wrong: str
) -> None:
    before = stopped.db_path.read_bytes()
    files = sorted(stopped.home.iterdir())
    stopped.settings["SECRET"] = wrong
    stopped.command = command
    assert stopped.run() == 3
    reason = _reason(stopped)
    assert "the SECRET is not the one" in reason
    assert "It came from SECRET" in reason
    assert SECRET[:-1] not in stopped.all_output()
    assert stopped.db_path.read_bytes() == before
    assert sorted(stopped.home.iterdir()) == files
    stopped.settings.clear()
    stopped.command = Daemon(stopped.home).command
    stopped.start()


@pytest.mark.parametrize("command", [("--nodaemon", "--pidfile=", "jobengine"), AS_A_DAEMON])
def test_a_missing_key_file_of_a_database_ends_the_start_with_3_and_none_is_made(
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
    daemon.command = Daemon(daemon.home).command
    daemon.start()


@pytest.mark.parametrize("command", [("--nodaemon", "--pidfile=", "jobengine"), AS_A_DAEMON])
def test_an_empty_key_file_ends_the_start_with_3_and_encrypts_nothing(
    make_daemon: MakeDaemon, command: tuple[str, ...]
) -> None:
    daemon = make_daemon(settings={"SECRET": ""}, command=command)
    daemon.home.mkdir()
    key = Path(f"{daemon.db_path}.key")
    key.touch()
    assert daemon.run() == 3
    assert f"{key} is empty" in _reason(daemon)
    assert not daemon.db_path.exists()


def test_a_disk_that_is_full_at_the_first_start_leaves_no_key_file(make_daemon: MakeDaemon, small_disk: Path) -> None:
    with suppress(OSError), open(small_disk / "filler", "wb", buffering=0) as filler:
        while True:
            filler.write(bytes(1 << 16))
    daemon = make_daemon(settings={"SECRET": "", "DB_PATH": str(small_disk / "db")})
    assert daemon.run() == 1
    assert "No space left on device" in _reason(daemon)
    assert not list(small_disk.glob("db.key*"))
    (small_disk / "filler").unlink()
    with daemon.start().client() as client:
        client.make_queue()
    assert len(Path(f"{daemon.db_path}.key").read_bytes()) == 65


def test_a_second_daemon_on_a_database_ends_with_5_and_the_first_goes_on(
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


def test_a_second_daemon_started_to_fork_ends_with_1_and_a_reason(daemon: Daemon, make_daemon: MakeDaemon) -> None:
    second = make_daemon("second", settings={"DB_PATH": str(daemon.db_path)}, command=AS_A_DAEMON)
    assert second.run() == 1
    assert "another JobEngine is running on this database" in (second.home / "twistd.log").read_text()
    assert not (second.home / "twistd.pid").exists()


@pytest.mark.parametrize("command", [("--nodaemon", "--pidfile=", "jobengine"), AS_A_DAEMON])
def test_a_damaged_header_ends_the_start_with_4_and_leaves_the_file_unchanged(
    stopped: Daemon, command: tuple[str, ...]
) -> None:
    stopped.db_path.write_bytes(b"\0" * 10 + stopped.db_path.read_bytes()[10:])
    _refused(stopped, command)


@pytest.mark.parametrize("secret", [SECRET, ""])
@pytest.mark.parametrize("command", [("--nodaemon", "--pidfile=", "jobengine"), AS_A_DAEMON])
def test_a_file_that_is_not_a_database_is_reported_with_and_without_a_secret(
    make_daemon: MakeDaemon, command: tuple[str, ...], secret: str
) -> None:
    daemon = make_daemon(settings={"SECRET": secret}, command=command)
    daemon.db_path.parent.mkdir(parents=True, exist_ok=True)
    daemon.db_path.write_text("some text")
    _refused(daemon, command)
    daemon.db_path.unlink()
    daemon.db_path.mkdir()
    assert daemon.run() == 1
    assert "db' is not a file" in _reason(daemon)
    assert [path.name for path in daemon.db_path.parent.iterdir() if path.suffix in (".key", ".lock")] == []


def test_damage_in_the_middle_ends_the_start_with_4_and_leaves_the_file_unchanged(stopped: Daemon) -> None:
    whole = bytearray(stopped.db_path.read_bytes())
    whole[-300] ^= 1
    stopped.db_path.write_bytes(whole)
    _refused(stopped, stopped.command)


def _refused(daemon: Daemon, command: tuple[str, ...] | object) -> None:
    before = daemon.db_path.read_bytes()
    daemon.command = command  # type: ignore[assignment]  # either way a tuple of words
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


NO_NUMBER = "must be a whole number"
BAD_SETTINGS = [
    ("API_PORT", "http", NO_NUMBER),
    ("API_PORT", "65536", NO_NUMBER),
    ("API_PORT", "-1", NO_NUMBER),
    ("LISTEN", "nonsense:1", "Unknown endpoint type"),
    ("LISTEN", "tcp", "port"),
    ("LISTEN", "ssl:0:privateKey=missing.pem", "missing.pem"),
    ("SECRET_FILE", "missing", "No such file"),
    ("ADMIN_KEY_FILE", "missing", "No such file"),
    ("DURABILITY", "always", "commit or interval"),
    ("LOG_FORMAT", "xml", "text or json"),
    ("JOB_KEEP_MINUTES", "1.5", NO_NUMBER),
    ("JOB_TIMEOUT_MINUTES", "ten", NO_NUMBER),
    ("MAX_BODY_BYTES", "0", NO_NUMBER),
    ("HEADER_SECONDS", "nan", "a number of seconds"),
    ("MAX_JSON_DEPTH", "1", NO_NUMBER),
]


@pytest.mark.parametrize(("name", "value", "reason"), BAD_SETTINGS)
def test_a_bad_setting_ends_the_start_with_1_before_a_file_is_made(
    make_daemon: MakeDaemon, name: str, value: str, reason: str
) -> None:
    settings = {name: value}
    if name == "SECRET_FILE":
        settings["SECRET"] = ""
    daemon = make_daemon(settings={"DB_PATH": "data/db", **settings})
    assert daemon.run() == 1
    told = _reason(daemon)
    assert name in told
    assert reason in told
    assert not (daemon.home / "data").exists()
    assert "starting on" not in daemon.log


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--api-port", "http"), "--api-port must be a whole number"),
        (("--port", "1"), "option --port not recognized; --help lists the options"),
        (("serve",), "'serve' is not an option; --help lists the options"),
    ],
)
def test_a_bad_option_ends_the_start_with_1_and_one_line(
    make_daemon: MakeDaemon, options: tuple[str, ...], reason: str
) -> None:
    daemon = make_daemon(options=options)
    assert daemon.run() == 1
    assert reason in _reason(daemon)
    assert daemon.log == ""


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"API_HOST": "192.0.2.1"}, "192.0.2.1"),
        ({"LISTEN": "tcp:70000"}, "port must be 0-65535"),
        ({"DB_PATH": "/proc/none/db"}, "DB_PATH"),
        ({"DB_PATH": "."}, "DB_PATH"),
        ({"DB_PATH": "log/db"}, "DB_PATH"),
    ],
)
def test_a_setting_refused_by_the_operating_system_ends_the_start_with_1(
    make_daemon: MakeDaemon, settings: dict[str, str], reason: str
) -> None:
    daemon = make_daemon(settings=settings)
    assert daemon.run() == 1
    assert reason in _reason(daemon)


def test_a_directory_without_write_permission_ends_the_start_with_1(make_daemon: MakeDaemon, tmp_path: Path) -> None:
    directory = tmp_path / "read-only"
    directory.mkdir(mode=0o555)
    # Root may write everywhere, unless it gives up that right. Another user might not even reach the program.
    given_up = "-dac_override"
    daemon = make_daemon(
        settings={"DB_PATH": str(directory / "db")},
        prefix=("setpriv", f"--bounding-set={given_up}", f"--inh-caps={given_up}"),
    )
    assert daemon.run() == 1
    assert "Permission denied" in _reason(daemon)


def test_ctrl_c_ends_the_server_orderly(make_daemon: MakeDaemon) -> None:
    # Where the tests run in the background of a shell, SIGINT is ignored, and so it would be by the daemon.
    daemon = make_daemon(prefix=("env", "--default-signal=INT")).start()
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGINT)
    assert daemon.wait() == 0
    assert "not closed in good order" not in daemon.start().log
