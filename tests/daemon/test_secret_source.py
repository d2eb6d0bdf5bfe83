"""The error about a wrong SECRET names the SECRET's source."""

from pathlib import Path

import pytest

from jobengine.daemon.secret_source import SecretSource
from jobengine.daemon.settings import read_settings
from jobengine.storage.errors import Locked, WrongSecret

WRONG = WrongSecret("db: the SECRET is not the one")


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "db"


def _error_text(db: Path, options: dict[str, str | None] | None = None, **environment: str) -> str:
    """The error text if the SECRET found with these settings is wrong."""
    source = SecretSource(read_settings(options or {}, {"DB_PATH": str(db), **environment}))
    source()
    explained = source.explain(WRONG)
    assert isinstance(explained, WrongSecret)
    return str(explained)


def test_the_error_for_a_wrong_secret_names_its_variable(db: Path) -> None:
    assert _error_text(db, SECRET="another").startswith(f"{WRONG}. It came from SECRET; set the SECRET")


def test_the_error_for_a_wrong_secret_says_how_to_use_an_existing_key_file(db: Path, tmp_path: Path) -> None:
    Path(f"{db}.key").write_text("made\n")
    file = tmp_path / "secret"
    file.write_text("another")
    assert _error_text(db, SECRET="another").endswith(f"unset SECRET to use {db}.key")
    assert _error_text(db, SECRET_FILE=str(file)).endswith(f"unset SECRET_FILE to use {db}.key")
    assert _error_text(db, {"secret-file": str(file)}, SECRET="a").endswith(f"leave out --secret-file to use {db}.key")


def test_the_error_for_a_wrong_secret_from_a_key_file_names_the_file(db: Path) -> None:
    Path(f"{db}.key").write_text("made\n")
    assert f"It came from {db}.key; " in _error_text(db)


def test_the_errors_for_an_empty_key_file_and_for_a_locked_database_get_no_advice(db: Path) -> None:
    Path(f"{db}.key").touch()
    source = SecretSource(read_settings({}, {"DB_PATH": str(db)}))
    with pytest.raises(WrongSecret) as raised:
        source()
    assert source.explain(raised.value) is raised.value
    locked = Locked("db: another JobEngine is running")
    assert source.explain(locked) is locked
