"""The log lines about a start."""

from pathlib import Path

import pytest

from jobengine.daemon.announcement import Announcement
from jobengine.daemon.secret_file import weakness


@pytest.mark.parametrize(
    ("db_path", "dashboard", "place", "end"),
    [
        ("/d/j.jedb", True, "http://127.0.0.1:6006", "the database /d/j.jedb and the dashboard http://127.0.0.1:6006/"),
        ("/d/j.jedb", True, "https://[::]:6006", "the database /d/j.jedb and the dashboard https://localhost:6006/"),
        ("/d/j.jedb", True, "http://0.0.0.0:80", "the database /d/j.jedb and the dashboard http://localhost:80/"),
        ("/d/j.jedb", False, "http://127.0.0.1:6006", "the database /d/j.jedb"),
        ("/d/j.jedb", True, "unix:/run/j", "the database /d/j.jedb"),
        (None, False, "http://127.0.0.1:6006", "the PostgreSQL database jobs"),
    ],
)
def test_a_ready_server_names_its_address_database_and_dashboard(
    db_path: str | None, place: str, end: str, *, dashboard: bool
) -> None:
    database = "the PostgreSQL database jobs"
    announcement = Announcement(db_path=db_path, is_new=False, dashboard=dashboard, postgres=database)
    assert announcement.ready(place) == f"JobEngine is ready at {place}, with {end}"


def test_a_directory_that_cannot_be_written_causes_a_warning(tmp_path: Path) -> None:
    # A missing directory, because root may write to any other.
    here, away = (
        Announcement(db_path=f"{place}/j.jedb", is_new=False, dashboard=True) for place in (tmp_path, "/none")
    )
    assert here.warnings("http://127.0.0.1:6006") == []
    (warning,) = away.warnings("http://127.0.0.1:6006")
    assert warning.startswith("the directory /none can't be written: the database file is never compacted")


def test_a_new_database_causes_a_warning_and_an_existing_database_does_not(tmp_path: Path) -> None:
    path = f"{tmp_path}/j.jedb"
    new, old = (Announcement(db_path=path, is_new=is_new, dashboard=True) for is_new in (True, False))
    (warning,) = new.warnings("http://127.0.0.1:6006")
    assert warning.startswith(f"the database {path} is new")
    assert old.warnings("http://127.0.0.1:6006") == []


def test_certificates_that_are_not_sent_cause_a_warning() -> None:
    announcement = Announcement(db_path=None, is_new=False, dashboard=True, unsent_chain="only the first")
    assert announcement.warnings("https://127.0.0.1:6443") == ["only the first"]


def test_settings_without_effect_cause_a_warning() -> None:
    announcement = Announcement(db_path=None, is_new=False, dashboard=True, ignored=("API_HOST", "API_PORT"))
    assert announcement.warnings("http://127.0.0.1:6006") == ["LISTEN is used; ignored: API_HOST, API_PORT"]


@pytest.mark.parametrize(
    ("place", "has_key", "in_container", "warned"),
    [
        ("http://0.0.0.0:6006", False, False, True),
        ("https://[::]:6443", False, False, True),
        ("http://192.0.2.1:6006", False, False, True),
        ("http://0.0.0.0:6006", True, False, False),
        ("http://0.0.0.0:6006", False, True, False),
        ("http://127.0.0.1:6006", False, False, False),
        ("http://[::1]:6006", False, False, False),
        ("unix:/run/jobs.sock", False, False, False),
        ("an address that is not known yet", False, False, False),
    ],
)
def test_a_server_without_an_admin_key_warns_if_other_machines_can_reach_it(
    place: str, has_key: bool, in_container: bool, warned: bool
) -> None:
    announcement = Announcement(
        db_path=None, is_new=False, dashboard=True, has_admin_key=has_key, in_container=in_container
    )
    found = [f"ADMIN_KEY is not set, so everybody who can reach {place} can create queues"] if warned else []
    assert announcement.warnings(place) == found


def test_a_short_secret_and_a_secret_of_one_repeated_character_are_weak() -> None:
    secrets = (None, b"canary", ("\u00e4" * 7 + "o" * 8).encode(), b"x" * 40)
    short, same = "has fewer than 16 characters", "is one repeated character"
    assert [*map(weakness, secrets)] == ["", short, short, same]
    assert [*map(weakness, (b"fifteen and one.", bytes(range(240, 256))))] == ["", ""]


def test_a_weak_admin_key_and_a_weak_secret_cause_warnings() -> None:
    announcement = Announcement(db_path=None, is_new=False, dashboard=True, weak_admin_key="is X", weak_secret="has Y")
    assert announcement.warnings("http://127.0.0.1:6006") == [
        "ADMIN_KEY, which opens every queue, is X and can be guessed",
        "SECRET, which encrypts the database, has Y and can be guessed",
    ]
