"""Schedules move with their queue, by `jobengine db export` and `import`, between files and PostgreSQL."""

from datetime import UTC, datetime, timedelta

import pytest

from jobengine import client
from tests.postgres import Database

from .conftest import MakeDaemon
from .daemons import SECRET, Daemon, until
from .db_files import Db

KEY = "correct horse"


def _queue(daemon: Daemon) -> client.Queue:
    return client.JobEngine(f"http://127.0.0.1:{daemon.port}", access_key=KEY).queue("mail")


def _times(schedule: client.Schedule) -> list[datetime]:
    """All times in the schedule's history, fired or skipped."""
    second = timedelta(seconds=1)
    return [firing.time + second * number for firing in schedule.firings for number in range(firing.times)]


@pytest.mark.parametrize(("source", "target"), [("file", "file"), ("file", "database"), ("database", "file")])
def test_a_schedule_moved_to_another_database_fires_or_skips_each_time_exactly_once(
    make_daemon: MakeDaemon, database: Database, source: str, target: str
) -> None:
    database.clear(secret=SECRET.encode())
    settings: dict[str, dict[str, str]] = {"file": {}, "database": {"DATABASE_URL": database.url}}
    old = make_daemon("old", settings=settings[source]).start()
    queue = _queue(old)
    queue.create()
    queue.schedule("nightly", {"a": 1}, cron="30 2 * * *", timezone="Europe/Berlin", paused=True, priority=5)
    queue.schedule("often", every_seconds=1, content={}, if_running="add", max_attempts=7)
    until("it has fired", lambda: bool(queue.schedules.get("often").firings))
    assert old.stop() == 0
    names = {"file": ("jobengine.jedb",), "database": ()}
    Db(old.home, settings[source])("export", *names[source], "all.jsonl")
    if target == "database":
        database.clear(secret=SECRET.encode())
    new = make_daemon("new", settings=settings[target])
    new.home.mkdir(exist_ok=True)
    Db(new.home, settings[target])("import", str(old.home / "all.jsonl"), *names[target])
    imported = datetime.now(UTC)
    moved = _queue(new.start())
    until("it has fired", lambda: moved.schedules.get("often").firings[-1].time > imported)
    nightly, often = moved.schedules.list()
    assert (nightly.cron, nightly.timezone, nightly.paused) == ("30 2 * * *", "Europe/Berlin", True)
    assert (nightly.job, often.if_running) == ({"content": {"a": 1}, "priority": 5}, "add")
    times = _times(often)
    assert times == [times[0] + timedelta(seconds=number) for number in range(len(times))]
    uids = [firing.uid for firing in often.firings if firing.uid]
    assert len(set(uids)) == len(uids)
    assert {job.uid for job in moved.jobs()} >= set(uids)
