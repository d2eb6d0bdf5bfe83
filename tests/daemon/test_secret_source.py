"""Where the SECRET came from is said if it is wrong."""

from pathlib import Path

import pytest

from jobengine.daemon.secret_source import SecretSource
from jobengine.daemon.settings import read_settings
from jobengine.storage.errors import Locked, WrongSecret

WRONG = WrongSecret("db: the SECRET is not the one")


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "db"


def _told(db: Path, options: dict[str, str | None] | None = None, **environment: str) -> str:
    """What is told if the SECRET that was found with these settings is wrong."""
    source = SecretSource(read_settings(options or {}, {"DB_PATH": str(db), **environment}))
    source()
    told = source.explain(WRONG)
    assert isinstance(told, WrongSecret)
    return str(told)


def test_a_wrong_secret_that_was_set_says_so(db: Path) -> None:
    assert _told(db, SECRET="another").startswith(f"{WRONG}. It came from SECRET; set the one")


def test_a_wrong_secret_beside_a_key_file_says_how_to_use_that(db: Path, tmp_path: Path) -> None:
    Path(f"{db}.key").write_text("made\n")
    file = tmp_path / "secret"
    file.write_text("another")
    assert _told(db, SECRET="another").endswith(f"unset SECRET to use {db}.key")
    assert _told(db, SECRET_FILE=str(file)).endswith(f"unset SECRET_FILE to use {db}.key")
    assert _told(db, {"secret-file": str(file)}, SECRET="a").endswith(f"leave out --secret-file to use {db}.key")


def test_a_wrong_secret_from_the_key_file_names_that(db: Path) -> None:
    Path(f"{db}.key").write_text("made\n")
    assert f"It came from {db}.key; " in _told(db)


def test_other_errors_and_a_key_file_without_a_secret_are_told_as_they_are(db: Path) -> None:
    Path(f"{db}.key").touch()
    source = SecretSource(read_settings({}, {"DB_PATH": str(db)}))
    with pytest.raises(WrongSecret) as raised:
        source()
    assert source.explain(raised.value) is raised.value
    locked = Locked("db: another JobEngine is running")
    assert source.explain(locked) is locked
