"""The schedules of a queue and of all queues: the tables, the page and actions of a schedule, and the form."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Locator, Route, expect

from jobengine.client import JobEngine, Queue
from tests.integration.daemons import Client, Daemon, until
from tests.integration.shells import ADMIN_KEY

from .person import Person
from .schedules import NIGHTLY, put_schedule, read_schedule, run_schedule

TABLE = "Schedules"


@pytest.fixture
def client(live: Daemon) -> Iterator[Client]:
    with live.client() as client:
        yield client


def _names(person: Person) -> Locator:
    return person.table(TABLE).locator("tbody").get_by_role("rowheader").get_by_role("link")


def _row(person: Person, name: str) -> Locator:
    return person.row(TABLE, name)


def _act(person: Person, name: str, action: str) -> None:
    """Take an action of a schedule's menu."""
    person.press(f"Actions for {name}")
    _row(person, name).get_by_role("button", name=action, exact=True).click()


def _answer(person: Person, path: str, **change: Any) -> None:
    """Change the first schedule in each answer that lists schedules."""

    def changed(route: Route) -> None:
        page = route.fetch().json()
        page["schedules"][0].update(change)
        route.fulfill(json=page)

    person.page.route(path, changed)


def test_the_table_of_schedules_shows_times_and_outcomes(person: Person, queue: Queue, client: Client) -> None:
    put_schedule(client, queue.name, "nightly")
    for state in ("complete", "failed", "queued"):
        uid = run_schedule(client, queue.name, "nightly", state)
    person.look_at(queue.name, part="/schedules")
    cells = _row(person, "nightly").get_by_role("cell")
    expect(cells.nth(0)).to_contain_text("0 3 * * *")
    expect(cells.nth(0)).to_contain_text("Europe/Berlin")
    expect(cells.nth(1).get_by_role("time")).to_have_text(re.compile(r"^in \d+ (h|min|s)$"))
    expect(cells.nth(1)).to_have_text(re.compile(r"\w{3},? \d+ \w+,( \d+,)? 03:00$"))
    expect(cells.nth(2).get_by_role("link", name="Queued")).to_have_attribute("href", re.compile(uid))
    marks = cells.nth(3).get_by_role("img", name="The last 3: 1 queued, 1 complete, 1 failed").locator("i")
    expect(marks).to_have_count(3)
    expect(marks.nth(1)).to_have_attribute("title", re.compile(r"Failed\. Run by hand\.$"))
    queue.update(uid, new_status="complete")
    expect(cells.nth(2)).to_contain_text("Complete")


def test_a_skipped_time_is_shown_with_the_reason(person: Person, queue: Queue, client: Client) -> None:
    put_schedule(client, queue.name, "heartbeat", every_seconds=1, job={"content": {}})
    until("a time is skipped", lambda: len(read_schedule(client, queue.name, "heartbeat")["firings"]) > 1)
    person.look_at(queue.name, part="/schedules")
    skipped = _row(person, "heartbeat").get_by_text("Skipped")
    expect(skipped).to_have_attribute("title", re.compile("is not finished"))
    _names(person).click()
    history = person.page.get_by_role("region", name="Last 20 times").get_by_role("listitem")
    expect(history.first).to_contain_text("is not finished")


def test_times_of_a_schedule_are_shown_with_their_time_zone_on_a_phone_too(
    person: Person, queue: Queue, client: Client
) -> None:
    put_schedule(client, queue.name, "nightly", **NIGHTLY)
    person.page.set_viewport_size({"width": 375, "height": 800})
    person.look_at(queue.name, part="/schedules")
    expect(_row(person, "nightly").get_by_text("Europe/Berlin").filter(visible=True)).to_have_count(1)
    _names(person).click()
    for title in "Last 20 times", "Next times":
        expect(person.page.get_by_role("heading", name=f"{title} (Europe/Berlin)")).to_be_visible()


def test_a_schedule_is_run_paused_resumed_and_deleted(person: Person, queue: Queue, client: Client) -> None:
    put_schedule(client, queue.name, "nightly")
    person.look_at(queue.name, part="/schedules")
    _act(person, "nightly", "Run now")
    person.is_told("nightly: its job is added.")
    expect(_row(person, "nightly").get_by_role("link", name="Queued")).to_be_visible()
    _act(person, "nightly", "Run now")
    person.is_told(re.compile("is not finished. Wait until it is, or cancel it."))
    _act(person, "nightly", "Pause")
    expect(_row(person, "nightly").get_by_role("rowheader")).to_contain_text("Paused")
    assert read_schedule(client, queue.name, "nightly")["paused"] is True
    _act(person, "nightly", "Resume")
    expect(_row(person, "nightly").get_by_role("rowheader")).not_to_contain_text("Paused")
    _act(person, "nightly", "Delete")
    person.confirm("Delete the schedule", "Delete")
    expect(person.page.get_by_text("There is no schedule here")).to_be_visible()
    assert read_schedule(client, queue.name, "nightly")["status"] == 404


def test_a_schedule_that_is_late_or_paused_by_failures_has_a_mark(person: Person, queue: Queue, client: Client) -> None:
    put_schedule(client, queue.name, "nightly")
    _answer(person, "**/api/v1/schedules*", paused=True, paused_by_failures=True, failures=3, next=[])
    person.look_at(queue.name, part="/schedules")
    head = _row(person, "nightly").get_by_role("rowheader")
    expect(head.get_by_text("Paused by failures")).to_have_attribute("title", "3 of its jobs in a row have failed.")
    _answer(person, "**/api/v1/schedules*", next=["2026-01-01T03:00:00+01:00"])
    person.page.keyboard.press("r")
    expect(head.get_by_text("Late")).to_have_attribute("title", re.compile("1 Jan"))


def test_a_page_lists_fifty_schedules(person: Person, queue: Queue, client: Client) -> None:
    for number in range(51):
        put_schedule(client, queue.name, f"schedule {number:02}")
    person.look_at(queue.name, part="/schedules")
    expect(_names(person)).to_have_count(50)
    person.page.keyboard.press(".")
    expect(_names(person)).to_have_text(["schedule 50"])
    expect(person.page.get_by_text("Schedules 51 to 51")).to_be_visible()
    person.page.keyboard.press(",")
    expect(_names(person).last).to_have_text("schedule 49")


def test_the_schedule_form_shows_the_next_times_and_adds_a_schedule(
    person: Person, queue: Queue, client: Client
) -> None:
    person.look_at(queue.name, part="/schedules")
    person.press("Add schedule")
    dialog = person.dialog("Add a schedule to")
    times = dialog.get_by_role("region", name="The next five times").get_by_role("listitem")
    dialog.get_by_label("Name").fill("weekly")
    dialog.get_by_label("Time zone").fill("Europe/Berlin")
    dialog.get_by_label("Cron line").fill("30 25 * * SUN")
    cron = dialog.get_by_label("Cron line")
    expect(cron).to_have_attribute("aria-invalid", "true")
    expect(cron).to_have_accessible_description(re.compile("has '25' as hour, which must be 0 to 23"))
    expect(times).to_have_count(0)
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("as hour")
    cron.fill("30 2 * * SUN")
    expect(times).to_have_count(7)
    expect(times.first).to_contain_text(re.compile(r"^Sun.*02:30 in"))
    expect(times.last).to_have_text(re.compile(r"02:30 comes twice; it fires the first time only"))
    dialog.get_by_label("Content", exact=True).fill('{"exact": 12345678901234567}')
    dialog.get_by_label("Pause after failures in a row").fill("3")
    dialog.get_by_label("If a job of the schedule is unfinished").select_option("add")
    person.confirm("Add a schedule to", "Add")
    expect(_names(person)).to_have_text(["weekly"])
    added = read_schedule(client, queue.name, "weekly")
    assert (added["cron"], added["timezone"]) == ("30 2 * * SUN", "Europe/Berlin")
    assert (added["if_running"], added["missed"], added["pause_after_failures"]) == ("add", "once", 3)
    assert added["job"]["content"] == {"exact": 12345678901234567}


def test_the_schedule_form_reports_a_wrong_time_zone_and_accepts_an_interval(
    person: Person, queue: Queue, client: Client
) -> None:
    person.look_at(queue.name, part="/schedules")
    person.press("Add schedule")
    dialog = person.dialog("Add a schedule to")
    zone = dialog.get_by_label("Time zone")
    zone.fill("Europe/Berlim")
    expect(zone).to_have_accessible_description(re.compile("Did you mean 'Europe/Berlin'"))
    zone.fill("UTC")
    dialog.get_by_label("Fires").select_option("every")
    dialog.get_by_label("Seconds between two times").fill("86400")
    expect(dialog.get_by_role("listitem").first).to_contain_text(re.compile("in (23 h|1 d)"))
    dialog.get_by_label("Name").fill("daily")
    person.confirm("Add a schedule to", "Add")
    expect(_row(person, "daily")).to_contain_text("every 1 d")
    assert "cron" not in read_schedule(client, queue.name, "daily")


def test_a_taken_name_of_a_schedule_is_refused(person: Person, queue: Queue, client: Client) -> None:
    put_schedule(client, queue.name, "nightly")
    person.look_at(queue.name, part="/schedules")
    person.press("Add schedule")
    dialog = person.dialog("Add a schedule to")
    dialog.get_by_label("Name").fill("nightly")
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(dialog.get_by_role("alert")).to_have_text("The queue has a schedule “nightly” already.")
    assert read_schedule(client, queue.name, "nightly")["job"] == NIGHTLY["job"]


def test_a_change_of_a_schedule_keeps_settings_outside_the_form(person: Person, queue: Queue, client: Client) -> None:
    job = {"content": {"exact": 12345678901234567}, "priority": 7, "tags": ["red"], "max_attempts": 4}
    put_schedule(client, queue.name, "nightly", cron="0 3 * * *", job=job, missed="all", paused=True)
    person.look_at(queue.name, part="/schedules?schedule=nightly")
    person.press("Change")
    dialog = person.dialog("Change the schedule “nightly”")
    expect(dialog.get_by_label("Name")).not_to_be_editable()
    expect(dialog.get_by_role("region", name="The next five times").get_by_role("listitem")).to_have_count(5)
    dialog.get_by_label("Cron line").fill("0 4 * * *")
    person.confirm("Change the schedule “nightly”", "Save")
    expect(person.page.get_by_role("region", name="Settings")).to_contain_text("0 4 * * *")
    changed = read_schedule(client, queue.name, "nightly")
    assert (changed["cron"], changed["missed"], changed["paused"]) == ("0 4 * * *", "all", True)
    assert changed["job"] == job


def test_the_page_of_a_schedule_shows_its_times_and_deleting_leads_back_to_the_list(
    person: Person, queue: Queue, client: Client
) -> None:
    put_schedule(client, queue.name, "nightly", cron="30 2 * * *", timezone="Europe/Berlin", job={"content": {"a": 1}})
    person.look_at(queue.name, part="/schedules")
    _names(person).click()
    expect(person.page.get_by_role("heading", name="nightly", level=2)).to_be_visible()
    times = person.page.get_by_role("region", name="Next times").get_by_role("listitem")
    expect(times).to_have_count(7)
    expect(times.last).to_contain_text("comes twice")
    person.press("Run now")
    expect(person.page.get_by_role("region", name="Last 20 times").get_by_role("link", name="Queued")).to_be_visible()
    person.press("Pause schedule")
    expect(times).to_have_count(3)
    expect(times.first).to_have_text("None while it is paused")
    person.press("Delete")
    person.confirm("Delete the schedule", "Delete")
    expect(person.page.get_by_text("There is no schedule here")).to_be_visible()


def test_a_viewer_sees_schedules_and_no_actions(person: Person, queue: Queue, client: Client) -> None:
    queue.keys.add("viewer", "the viewer's")
    put_schedule(client, queue.name, "nightly")
    person.look_at(queue.name, "the viewer's", part="/schedules")
    expect(_names(person)).to_have_text(["nightly"])
    expect(person.button("Actions for nightly")).to_have_count(0)
    expect(person.button("Add schedule")).to_have_count(0)
    _names(person).click()
    expect(person.page.get_by_role("region", name="Settings")).to_contain_text("Europe/Berlin")
    for name in ("Run now", "Pause schedule", "Change", "Delete"):
        expect(person.button(name)).to_have_count(0)


def test_one_page_lists_the_schedules_of_all_queues_with_late_and_paused_ones_first(
    person: Person, engine: JobEngine, queue: Queue, client: Client
) -> None:
    other = engine.queue(f"{queue.name} too")
    other.create()
    tag = queue.name.split()[-1]
    put_schedule(client, queue.name, f"later {tag}", every_seconds=90_000, job={"content": {}})
    put_schedule(client, other.name, f"sooner {tag}", every_seconds=80_000, job={"content": {}})
    put_schedule(client, queue.name, f"failed {tag}", every_seconds=95_000, job={"content": {}})
    run_schedule(client, queue.name, f"failed {tag}", "failed")
    person.open()
    person.sign_in_as_admin(ADMIN_KEY)
    person.page.get_by_role("link", name="Schedules", exact=True).click()
    person.sees("Schedules of all queues")
    person.field("Find a schedule").fill(queue.name)
    expect(_names(person)).to_have_text([f"failed {tag}", f"sooner {tag}", f"later {tag}"])
    _act(person, f"sooner {tag}", "Pause")
    expect(_row(person, f"sooner {tag}").get_by_role("rowheader")).to_contain_text("Paused")
    _row(person, f"sooner {tag}").get_by_role("link", name=other.name, exact=True).click()
    person.sees(other.name)
    expect(_names(person)).to_have_text([f"sooner {tag}"])


def test_the_page_of_a_job_links_to_the_schedule_that_added_it(person: Person, queue: Queue, client: Client) -> None:
    put_schedule(client, queue.name, "nightly 'a'")
    uid = run_schedule(client, queue.name, "nightly 'a'")
    person.look_at(queue.name)
    person.open(f"queue/{queue.name}/job/{uid}")
    expect(
        person.page.get_by_text(
            "It can be claimed. It is the next. No worker waits for a job of the queue.", exact=True
        )
    ).to_be_visible()
    added = re.compile("^Added by schedule \u2018nightly 'a'\u2019 for \\w+")
    expect(person.page.get_by_text(added)).to_be_visible()
    person.page.get_by_role("link", name="nightly").click()
    expect(person.page.get_by_role("heading", name="nightly 'a'", level=2)).to_be_visible()
