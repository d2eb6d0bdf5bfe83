"""The log lines about a start."""

import pytest

from jobengine.daemon.announcement import Announcement


@pytest.mark.parametrize(
    ("db_path", "dashboard", "place", "end"),
    [
        ("/d/j.jedb", True, "http://127.0.0.1:6006", "the database /d/j.jedb and the dashboard http://127.0.0.1:6006/"),
        ("/d/j.jedb", True, "https://[::]:6006", "the database /d/j.jedb and the dashboard https://localhost:6006/"),
        ("/d/j.jedb", True, "http://0.0.0.0:80", "the database /d/j.jedb and the dashboard http://localhost:80/"),
        ("/d/j.jedb", False, "http://127.0.0.1:6006", "the database /d/j.jedb"),
        ("/d/j.jedb", True, "unix:/run/j", "the database /d/j.jedb"),
        (None, False, "http://127.0.0.1:6006", "PostgreSQL as its database"),
    ],
)
def test_a_ready_server_names_its_address_database_and_dashboard(
    db_path: str | None, place: str, end: str, *, dashboard: bool
) -> None:
    announcement = Announcement(db_path=db_path, is_new=False, dashboard=dashboard)
    assert announcement.ready(place) == f"JobEngine is ready at {place}, with {end}"


def test_only_a_new_database_causes_a_warning() -> None:
    new, old = (Announcement(db_path="/d/j.jedb", is_new=is_new, dashboard=True) for is_new in (True, False))
    (warning,) = new.warnings()
    assert warning.startswith("the database /d/j.jedb is new")
    assert old.warnings() == []


def test_settings_without_effect_cause_a_warning() -> None:
    announcement = Announcement(db_path=None, is_new=False, dashboard=True, ignored=("API_HOST", "API_PORT"))
    assert announcement.warnings() == ["LISTEN is used; ignored: API_HOST, API_PORT"]
