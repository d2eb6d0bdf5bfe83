"""The settings from options and environment, and the errors for invalid values."""

import os
from contextlib import suppress
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactor

from jobengine.core.model import Defaults
from jobengine.daemon.settings import SETTINGS, BadSetting, Setting, Settings, read_settings
from jobengine.http.limits import Limits


def read(**environment: str) -> Settings:
    return read_settings({}, environment)


def listening_at(settings: Settings) -> tuple[str, int]:
    reactor = MemoryReactor()
    serverFromString(reactor, settings.endpoint).listen(Factory())
    ((port, _, _, interface),) = reactor.tcpServers
    return interface, port


def test_without_settings_the_documented_defaults_apply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = read()
    assert settings.db_path == str(tmp_path / "jobengine.jedb")
    assert listening_at(settings) == ("127.0.0.1", 6006)
    assert settings.secret is None
    assert settings.admin_key is None
    assert settings.sync_interval == 0
    assert settings.limits == Limits()
    assert settings.defaults == Defaults()
    assert settings.log_format == "text"


def test_the_default_limits_are_the_documented_limits() -> None:
    limits = Limits()
    assert (limits.body_bytes, limits.headers, limits.header_bytes) == (1 << 20, 64, 8 << 10)
    assert (limits.header_seconds, limits.body_seconds, limits.connections, limits.json_depth) == (10, 30, 1000, 32)


def test_every_setting_has_an_option_and_an_environment_variable_of_the_same_name() -> None:
    for setting in SETTINGS:
        assert setting.variable == setting.option.upper().replace("-", "_")
        assert setting.help.endswith(".")
        setting.parse(setting.default)


def test_the_option_wins_over_the_environment() -> None:
    assert listening_at(read_settings({"api-port": "1"}, {"API_PORT": "2"}))[1] == 1
    assert listening_at(read_settings({"api-port": None}, {"API_PORT": "2"}))[1] == 2


def test_an_empty_variable_counts_as_not_set() -> None:
    settings = read(API_PORT="", DB_PATH="", SECRET="", SECRET_FILE="", ADMIN_KEY="", DURABILITY="")
    assert settings == read()


@pytest.mark.parametrize("host", ["0.0.0.0", "::1", "fe80::1%eth0", "localhost"])
def test_every_form_of_address_reaches_the_reactor_unchanged(host: str) -> None:
    assert listening_at(read(API_HOST=host, API_PORT="80")) == (host, 80)


def test_listen_replaces_host_and_port() -> None:
    assert read(LISTEN="unix:/run/jobengine", API_PORT="80").endpoint == "unix:/run/jobengine"


def test_host_and_port_beside_listen_are_reported_as_ignored() -> None:
    assert read(LISTEN="unix:/j", API_HOST="::1", API_PORT="80").ignored == ("API_HOST", "API_PORT")
    assert read(LISTEN="unix:/j", API_HOST="").ignored == ()
    assert read(API_HOST="::1", API_PORT="80").ignored == ()
    assert read_settings({"api-port": "80"}, {"LISTEN": "unix:/j"}).ignored == ("--api-port",)


def test_unknown_fields_can_be_allowed_for_old_clients() -> None:
    assert not read().pass_unknown
    assert read(UNKNOWN_FIELDS="pass").pass_unknown
    with pytest.raises(BadSetting, match="UNKNOWN_FIELDS must be refuse or pass"):
        read(UNKNOWN_FIELDS="ignore")


def test_each_limit_and_job_default_can_be_changed_by_a_setting() -> None:
    names = ["BODY_BYTES", "HEADERS", "HEADER_BYTES", "CONNECTIONS", "JSON_DEPTH", "BACKLOG_BYTES"]
    most = {f"MAX_{name}": str(300 + number) for number, name in enumerate(names)}
    seconds = {"HEADER_SECONDS": "4.5", "BODY_SECONDS": "5", "IDLE_SECONDS": "6"}
    minutes = {"JOB_KEEP_MINUTES": "10", "JOB_KEEP_FAILED_MINUTES": "20", "JOB_TIMEOUT_MINUTES": "0"}
    settings = read(**most, **seconds, **minutes, DURABILITY="interval")
    limits = Limits(body_bytes=300, headers=301, header_bytes=302, connections=303, json_depth=304)
    assert settings.limits == evolve(limits, header_seconds=4.5, body_seconds=5, idle_seconds=6)
    assert settings.defaults == Defaults(keep_minutes=10, keep_failed_minutes=20, timeout_seconds=0)
    assert settings.max_backlog == 305
    assert settings.sync_interval == 0.05


#: Values that are refused, by variable.
INVALID = {
    "API_PORT": ("65536", "-1", "1.0", " 1", "1_000", "\u0661", "1" * 5000),
    "JOB_KEEP_MINUTES": (str(1 << 63),),
    "MAX_BODY_BYTES": ("0",),
    "MAX_HEADER_BYTES": ("127",),
    "MAX_JSON_DEPTH": ("501", "1"),
    "HEADER_SECONDS": ("0", "-1", "nan", "inf", "soon"),
    "DURABILITY": ("Commit", "always"),
    "LOG_FORMAT": ("xml",),
    "LOG_FILES": ("0",),
    "LOG_FILE_BYTES": ("0",),
    "LOG_REQUESTS": ("some",),
}


@pytest.mark.parametrize(
    ("variable", "value"), [(variable, value) for variable, values in INVALID.items() for value in values]
)
def test_the_error_for_an_invalid_value_of_a_setting_names_the_allowed_values(variable: str, value: str) -> None:
    with pytest.raises(BadSetting) as caught:
        read(**{variable: value})
    assert str(caught.value).startswith(f"{variable} must be ")
    (option,) = [setting.option for setting in SETTINGS if setting.variable == variable]
    with pytest.raises(BadSetting, match=f"--{option} must be "):
        read_settings({option: value}, {})


@given(st.sampled_from(SETTINGS), st.text(st.characters(exclude_categories=["Cs"])))
def test_an_arbitrary_value_is_accepted_or_raises_bad_setting(setting: Setting, value: str) -> None:
    with suppress(BadSetting):
        read(**{setting.variable: value})


@pytest.mark.parametrize(
    ("content", "secret"),
    [(b"s", b"s"), (b"s\n", b"s"), (b"s\n\n", b"s\n"), (b"\n s ", b"\n s "), (b"s\r\n", b"s\r"), (b"\xff", b"\xff")],
)
def test_only_one_newline_at_the_end_of_a_secret_file_is_ignored(tmp_path: Path, content: bytes, secret: bytes) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    assert read(SECRET_FILE=str(path)).secret == secret
    assert read_settings({"secret-file": str(path)}, {"SECRET": "other"}).secret == secret


@pytest.mark.parametrize("key", [b"key", "an ådmin kéy".encode(), b"\xff"])
def test_an_admin_key_may_be_any_text_that_a_header_carries(tmp_path: Path, key: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(key + b"\n")
    assert read(ADMIN_KEY_FILE=str(path)).admin_key == key
    assert read(ADMIN_KEY=os.fsdecode(key)).admin_key == key


def test_the_carriage_return_of_a_line_end_after_an_admin_key_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"key\r\n")
    assert read(ADMIN_KEY_FILE=str(path)).admin_key == b"key"
    assert read_settings({"admin-key-file": str(path)}, {}).admin_key == b"key"
    # A file of variables may have such line ends too.
    assert read(ADMIN_KEY="key\r").admin_key == b"key"


def test_the_carriage_return_of_a_line_end_after_a_database_url_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "url"
    path.write_bytes(b"postgresql://host/jobs\r\n")
    assert read(DATABASE_URL_FILE=str(path), SECRET="s").database_url == "postgresql://host/jobs"


@pytest.mark.parametrize("key", [" key", "key ", "key\n", "ke\ny", "key\r\r", "ke\ry", "ke\ty", "key\x7f", "\0key"])
def test_an_admin_key_that_no_header_carries_unchanged_is_refused(tmp_path: Path, key: str) -> None:
    path = tmp_path / "key"
    path.write_text(f"{key}\n", newline="")
    for name, value in (("ADMIN_KEY", key), ("ADMIN_KEY_FILE", str(path))):
        with pytest.raises(BadSetting, match=f"of {name} must not begin or end with a space, or have control char"):
            read(**{name: value})


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"", "is empty"), (b"\n", "white space"), (b" \r\n", "white space"), (b"x" * 70_000, "is longer than")],
)
@pytest.mark.parametrize("variable", ["SECRET_FILE", "ADMIN_KEY_FILE"])
def test_a_secret_file_that_is_blank_or_too_long_is_refused(
    tmp_path: Path, variable: str, content: bytes, why: str
) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    with pytest.raises(BadSetting, match=f"{variable} .* {why}"):
        read(**{variable: str(path)})


@pytest.mark.parametrize("variable", ["SECRET", "ADMIN_KEY"])
def test_a_secret_of_white_space_is_refused_and_an_unset_secret_is_none(variable: str) -> None:
    with pytest.raises(BadSetting, match=f"{variable} is only white space"):
        read(**{variable: " \n"})
    settings = read(**{variable: ""})
    assert (settings.secret, settings.admin_key) == (None, None)


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_a_secret_file_that_can_not_be_read_is_refused(name: str) -> None:
    with pytest.raises(BadSetting, match="SECRET_FILE can't be read"):
        read_settings({"secret-file": name}, {"SECRET": "other"})


@pytest.mark.parametrize("variable", ["SECRET", "ADMIN_KEY"])
def test_a_secret_together_with_its_file_is_refused(variable: str) -> None:
    with pytest.raises(BadSetting, match=f"{variable} and {variable}_FILE are both set"):
        read(**{variable: "s", f"{variable}_FILE": "f"})


def test_the_error_for_a_database_url_together_with_a_file_names_both_settings(tmp_path: Path) -> None:
    (path := tmp_path / "url").write_text("postgresql://host/jobs")
    for options, settings, names in (
        ({}, {"DATABASE_URL": "postgresql://host/jobs", "DB_PATH": "j"}, "DATABASE_URL and DB_PATH"),
        ({}, {"DATABASE_URL_FILE": str(path), "DB_PATH": "j"}, "DATABASE_URL_FILE and DB_PATH"),
        ({"database-url-file": str(path), "db-path": "j"}, {}, "--database-url-file and --db-path"),
    ):
        with pytest.raises(BadSetting, match=f"^{names} are both set; keep only one$"):
            read_settings(options, settings)


def test_a_secret_in_the_environment_is_used_byte_for_byte() -> None:
    assert read(SECRET="pass wörd ").secret == "pass wörd ".encode()
    assert read(SECRET=os.fsdecode(b"\xff")).secret == b"\xff"


def test_secrets_are_not_in_the_repr() -> None:
    assert "canary" not in repr(read(SECRET="canary-1", ADMIN_KEY="canary-2"))


@pytest.mark.parametrize(("value", "least"), [("all", 0), ("errors", 400), ("none", 1000)])
def test_requests_are_logged_depending_on_their_status(value: str, least: int) -> None:
    assert read(LOG_REQUESTS=value).least_status_logged == least


def test_by_default_there_are_ten_log_files_of_ten_million_bytes() -> None:
    assert (read().log_file_bytes, read().log_files) == (10_000_000, 10)
    settings = read_settings({"log-files": "3"}, {"LOG_FILE_BYTES": "5000", "LOG_FILES": "7"})
    assert (settings.log_file_bytes, settings.log_files) == (5000, 3)


def test_allowed_hosts_have_no_port_and_ignore_case() -> None:
    assert read().allowed_hosts == frozenset()
    assert read(ALLOWED_HOSTS="*").allowed_hosts == {"*"}
    assert read(ALLOWED_HOSTS=" Jobs.Example.org., b.example ,").allowed_hosts == {"jobs.example.org", "b.example"}
    assert read(ALLOWED_HOSTS="10.0.0.1,localhost").allowed_hosts == {"10.0.0.1", "localhost"}


@pytest.mark.parametrize(
    "value", ["https://a.example", "a.example:80", "*.example.org", ".example.org", "a b", "a.example/", "é.example"]
)
def test_a_setting_with_a_host_that_no_browser_could_send_is_refused(value: str) -> None:
    with pytest.raises(
        BadSetting, match=r"ALLOWED_HOSTS must be host names such as jobs\.example\.org, without a port"
    ):
        read(ALLOWED_HOSTS=value)
