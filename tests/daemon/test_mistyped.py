"""Warnings about environment variables that resemble settings."""

import pytest

from jobengine.daemon.mistyped import hints
from jobengine.daemon.settings import read_settings


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ADMINKEY", "ADMIN_KEY"),
        ("admin_key", "ADMIN_KEY"),
        ("ADMNI_KEY", "ADMIN_KEY"),
        ("ADMIN_KEY_FIEL", "ADMIN_KEY_FILE"),
        ("SECRETFILE", "SECRET_FILE"),
        ("DATABASEURL", "DATABASE_URL"),
        ("DATABASE_URI", "DATABASE_URL"),
        ("DURABILTY", "DURABILITY"),
        ("MAX_BODYBYTES", "MAX_BODY_BYTES"),
        ("DBPATH", "DB_PATH"),
        ("CORS_ORIGIN", "CORS_ORIGINS"),
        ("JOBENGINE_DB_PATH", "DB_PATH"),
        ("JOBENGINE_API_PORT", "API_PORT"),
        ("JOBENGINE_SECRET", "SECRET"),
    ],
)
def test_a_variable_that_resembles_a_setting_is_reported_without_its_value(name: str, meant: str) -> None:
    assert read_settings({}, {name: "abc-7"}).mistyped == (f"{name} is not a setting; did you mean {meant}?",)


@pytest.mark.parametrize(
    "name",
    [
        *("PATH", "PORT", "HOST", "HOSTNAME", "HOME", "LANG", "TERM", "USER", "DATABASE", "KEY", "LOGNAME", "TZ"),
        *("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "INVOCATION_ID", "STATE_DIRECTORY"),
        *("SECRETS", "SECRETS_FILE", "SECRETS_DIR", "SECRET_KEY", "SECRET_1", "CREDENTIALS_DIRECTORY"),
        *("LOG_FILE", "LOG_LEVEL", "APP_PORT", "APP_HOST", "API_KEY", "API_URL", "HTTP_PORT", "DB_HOST", "DB_PASS"),
        *("API_PORT_80_TCP_PORT", "DASHBOARD_PORT", "JOBENGINE_PORT", "JOBENGINE_ADMIN_KEY", "JOBENGINE_URL"),
        *("JOBENGINE_ACCESS_KEY", "JOBENGINE_ADMINKEY", "JOBENGINE_QUEUE", "JOBENGINE_SERVICE_PORT", "JOBENGINE_"),
        *("DB_MAX_CONNECTIONS", "PG_MAX_CONNECTIONS", "CORS_ALLOWED_ORIGINS", "SQLALCHEMY_DATABASE_URI"),
        *("ADMIN_KEY\n", "ADMIN_" + "_" * 64 + "KEY", "ADMINKEÝ", ""),
    ],
)
def test_variables_of_other_programs_are_not_reported(name: str) -> None:
    assert read_settings({}, {name: "abc-7"}).mistyped == ()


@pytest.mark.parametrize("value", ["abc-7", "an admin key of clients"])
def test_the_variable_jobengine_admin_key_causes_a_hint_at_a_server_without_an_admin_key(value: str) -> None:
    (hint,) = hints({"JOBENGINE_ADMIN_KEY": value}, has_admin_key=False)
    assert "reads ADMIN_KEY" in hint
    assert value not in hint


def test_client_variables_cause_no_hint_if_the_server_has_an_admin_key_or_they_name_none() -> None:
    assert hints({"JOBENGINE_ADMIN_KEY": "abc-7"}, has_admin_key=True) == ()
    others = dict.fromkeys(("JOBENGINE_URL", "JOBENGINE_ACCESS_KEY", "JOBENGINE_PROFILE", "JOBENGINE_QUEUE"), "abc-7")
    assert hints({**others, "JOBENGINE_ADMIN_KEY": ""}, has_admin_key=False) == ()


def test_a_variable_that_resembles_a_setting_is_reported_even_if_the_setting_is_set() -> None:
    (warning,) = read_settings({}, {"DBPATH": "abc-7", "DB_PATH": "xyz-8"}).mistyped
    assert warning == "DBPATH is not a setting; did you mean DB_PATH, which is set too?"
    (warning,) = read_settings({}, {"ADMIN_KEYS": "abc-7", "ADMIN_KEY": ""}).mistyped
    assert warning == "ADMIN_KEYS is not a setting; did you mean ADMIN_KEY?"
