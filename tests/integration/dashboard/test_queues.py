"""The table of queues, and what can be done with a queue as a whole."""

import re

import pytest
from playwright.sync_api import expect

from jobengine.client import AccessDenied, JobEngine, Queue, QueueNotFound
from tests.integration.shells import ADMIN_KEY

from .person import Person


def test_the_table_of_queues_has_counts_age_rates_and_workers(person: Person, queue: Queue) -> None:
    queue.add_many([{}] * 7)
    queue.add({}, delay_seconds=3600)
    for worker in ("ann", "bob"):
        queue.claim(worker=worker)
    queue.update(queue.claim(worker="bob")[0].uid, new_status="failed", error="no route")
    person.list_queues(queue.name)
    cells = person.row("Queues", queue.name).get_by_role("cell")
    for at, text in enumerate(["1 attempt failed", "1", "0", "5 1 delayed", "2", "0"]):
        expect(cells.nth(at)).to_have_text(text)
    expect(cells.nth(6)).to_contain_text("s")
    expect(cells.nth(6)).to_have_attribute("title", re.compile(r"^Added .* UTC"))
    expect(cells.nth(7)).to_have_text("2")
    expect(cells.nth(8)).to_contain_text("8 in, 0 done/min")
    expect(cells.nth(8).locator("svg")).to_be_visible()


def test_failing_queues_come_first_and_a_chosen_order_is_remembered(
    admin: Person, engine: JobEngine, queue: Queue
) -> None:
    calm, failing = queue, engine.queue(f"{queue.name} failing")
    failing.create()
    failing.update(failing.add({}).uid, new_status="failed", error="no route")
    calm.add_many([{}] * 2)
    names = admin.table("Queues").locator("tbody").get_by_role("rowheader").get_by_role("link")
    admin.field("Find a queue or a job’s uid").fill(queue.name)  # noqa: RUF001  # as it is on the page
    expect(names).to_have_text([failing.name, calm.name])
    head = admin.table("Queues").get_by_role("columnheader", name="Queued")
    for order, shown in (("descending", [calm, failing]), ("ascending", [failing, calm])):
        head.get_by_role("button").click()
        expect(head).to_have_attribute("aria-sort", order)
        expect(names).to_have_text([one.name for one in shown])
    assert admin.page.url.endswith("#/queues?sort=queued")
    admin.open("queues")
    expect(head).to_have_attribute("aria-sort", "ascending")
    admin.open("queues?sort=-name")
    expect(admin.table("Queues").get_by_role("columnheader", name="Queue", exact=True)).to_have_attribute(
        "aria-sort", "descending"
    )


def test_a_short_uid_in_a_search_field_gets_the_advice_to_use_the_whole_uid(admin: Person, queue: Queue) -> None:
    uid = queue.add({}).uid
    expect(admin.row("Queues", queue.name).first).to_be_visible()
    find = admin.field("Find a queue or a job’s uid")  # noqa: RUF001  # as it is on the page
    status = admin.page.get_by_role("main").get_by_role("status")
    find.fill(uid[:8])
    expect(status).to_have_text("No queue has this name; a job is found by its whole uid.")
    find.fill(queue.name)
    expect(status).to_have_text("")
    admin.open(f"queue/{queue.name}?q={uid[:8]}")
    expect(admin.page.get_by_text("A job is found by its whole uid")).to_be_visible()
    admin.field("Search").fill("nothing")
    expect(admin.page.get_by_text("Change the filter to see others.")).to_be_visible()


def test_a_uid_in_the_search_field_opens_the_job_in_any_queue(admin: Person, queue: Queue) -> None:
    uid = queue.add({}).uid
    expect(admin.row("Queues", queue.name).first).to_be_visible()
    find = admin.field("Find a queue or a job’s uid")  # noqa: RUF001  # as it is on the page
    find.fill("0b8c9e1c-4c1e-4a35-9d5c-5a6f0f0f8a11")
    expect(admin.page.get_by_role("main").get_by_role("status")).to_contain_text("No job has the uid 0b8c9e1c")
    find.fill(f" {uid} ")
    admin.sees(f"Job {uid[:8]}")


def test_the_create_form_warns_of_a_short_key(admin: Person, queue: Queue) -> None:
    admin.press("Create queue")
    dialog = admin.dialog("Create queue")
    warning = dialog.get_by_text("Fewer than 16 characters")
    key = dialog.get_by_label("Owner key")
    expect(warning).to_have_count(0)
    key.fill("fifteen letters")
    expect(warning).to_be_visible()
    key.fill("sixteen letters.")
    expect(warning).to_have_count(0)
    admin.page.keyboard.press("Escape")
    admin.open(f"queue/{queue.name}/settings")
    admin.press("Add key")
    admin.dialog("Add a key to").get_by_label("Key", exact=True).fill("short")
    expect(admin.dialog("Add a key to").get_by_text("Fewer than 16 characters")).to_be_visible()


def test_the_create_form_makes_a_queue_with_the_shown_owner_key(admin: Person, engine: JobEngine, queue: Queue) -> None:
    name = f"{queue.name} anew"
    admin.press("Create queue")
    dialog = admin.dialog("Create queue")
    dialog.get_by_label("Name").fill(name)
    key = dialog.get_by_label("Owner key").input_value()
    dialog.get_by_role("button", name="Create", exact=True).click()
    admin.is_told(f"The queue {name} was created.")
    expect(admin.row("Queues", name)).to_be_visible()
    assert engine.queue(name, access_key=key).access().role == "owner"


def test_the_create_form_reports_a_taken_name_and_accepts_another_name(admin: Person, queue: Queue) -> None:
    admin.press("Create queue")
    dialog = admin.dialog("Create queue")
    dialog.get_by_label("Name").fill(queue.name)
    dialog.get_by_role("button", name="Create", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text(queue.name)
    expect(dialog.get_by_label("Name")).to_have_value(queue.name)


def test_a_queue_that_is_paused_or_drained_is_marked_until_it_is_resumed(admin: Person, queue: Queue) -> None:
    row, menu = admin.row("Queues", queue.name), f"Actions for {queue.name}"
    for on, off, word in (("Pause", "Resume", "Paused"), ("Drain", "Stop draining", "Draining")):
        admin.choose(menu, on)
        expect(row.get_by_role("rowheader")).to_contain_text(word)
        admin.choose(menu, off)
        expect(row.get_by_role("rowheader")).not_to_contain_text(word)
    admin.choose(menu, "Pause")
    admin.page.get_by_role("link", name=queue.name).first.click()
    admin.sees(queue.name)
    expect(admin.button("Resume")).to_be_visible()
    assert queue.stats().paused
    admin.press("Resume")
    expect(admin.button("Pause")).to_be_visible()
    assert not queue.stats().paused


def test_the_last_row_can_be_scrolled_above_the_notifications(admin: Person, queue: Queue) -> None:
    """Otherwise a note about the last action would cover the row."""
    admin.page.set_viewport_size({"width": 1280, "height": 230})
    admin.choose(f"Actions for {queue.name}", "Pause")
    admin.is_told("paused")
    admin.page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    row = admin.table("Queues").locator("tbody tr").last.bounding_box()
    notes = admin.page.locator(".notes").bounding_box()
    assert row is not None
    assert notes is not None
    assert row["y"] + row["height"] <= notes["y"]


def test_a_queue_is_purged_only_after_its_name_was_typed(admin: Person, queue: Queue) -> None:
    queue.add_many([{}] * 3)
    admin.choose(f"Actions for {queue.name}", "Purge")
    dialog = admin.dialog("Purge the queue")
    expect(dialog).to_contain_text("3 jobs")
    typed = dialog.get_by_label("Type the queue’s name to confirm")  # noqa: RUF001  # as it is on the page
    for word in ("", "another"):
        typed.fill(word)
        dialog.get_by_role("button", name="Purge").click()
        expect(dialog.get_by_role("alert")).to_be_visible()
    assert queue.stats().size == 3
    admin.confirm("Purge the queue", "Purge", typed=queue.name)
    admin.is_told("3 jobs deleted.")
    assert queue.stats().size == 0


def test_a_queue_is_deleted_only_after_its_name_was_typed(person: Person, queue: Queue) -> None:
    """On a server with an admin key the admin key is needed; with the queue's key alone the dialog says so."""
    person.look_at(queue.name)
    person.choose("More actions", "Delete queue")
    dialog = person.dialog("Delete the queue")
    dialog.get_by_label("Type the queue’s name to confirm").fill(queue.name)  # noqa: RUF001  # as it is on the page
    dialog.get_by_role("button", name="Delete queue").click()
    expect(dialog.get_by_role("alert")).to_contain_text("admin key")
    person.page.keyboard.press("Escape")
    person.press("Sign out")
    person.sign_in_as_admin(ADMIN_KEY)
    person.choose(f"Actions for {queue.name}", "Delete queue")
    person.confirm("Delete the queue", "Delete queue", typed=queue.name)
    expect(person.row("Queues", queue.name)).to_have_count(0)
    with pytest.raises(QueueNotFound):
        queue.stats()


def test_the_settings_form_sets_the_defaults_and_limits_of_a_queue(person: Person, queue: Queue) -> None:
    person.look_at(queue.name)
    person.page.get_by_role("link", name="Settings").click()
    person.field("Job limit").fill("500")
    person.field("Require the lease").check()
    person.field("Attempts").fill("3")
    person.field("Time-out, seconds").fill("90")
    person.field("Keep failed jobs, minutes").fill("60")
    person.press("Save")
    person.is_told("Saved.")
    stats = queue.stats()
    assert (stats.max_jobs, stats.require_lease) == (500, True)
    assert stats.defaults is not None
    assert (stats.defaults.max_attempts, stats.defaults.raw["timeout_seconds"]) == (3, 90)
    assert stats.defaults.raw["keep_failed_minutes"] == 60
    person.field("Job limit").fill("-1")
    person.press("Save")
    expect(person.page.get_by_role("alert").first).to_contain_text("Job limit")
    assert queue.stats().max_jobs == 500


def test_keys_with_a_role_are_added_and_revoked(person: Person, url: str, queue: Queue) -> None:
    person.look_at(queue.name)
    person.page.get_by_role("link", name="Settings").click()
    person.press("Add key")
    dialog = person.dialog("Add a key to")
    dialog.get_by_label("Role").select_option("viewer")
    key = dialog.get_by_label("Key", exact=True).input_value()
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(person.row("Keys with a role", "viewer")).to_be_visible()
    # Without the admin key, which would open the queue as well.
    with JobEngine(url, access_key=key, timeout=20) as viewer:
        viewed = viewer.queue(queue.name)
        assert viewed.access().role == "viewer"
        person.row("Keys with a role", "viewer").get_by_role("button").click()
        person.confirm("Revoke the key", "Revoke")
        expect(person.row("Keys with a role", "viewer")).to_have_count(0)
        with pytest.raises(AccessDenied):
            viewed.access()


def test_after_a_change_of_the_owner_key_the_tab_uses_the_new_key(
    person: Person, engine: JobEngine, queue: Queue
) -> None:
    person.look_at(queue.name)
    person.page.get_by_role("link", name="Settings").click()
    person.press("Change the owner’s key")  # noqa: RUF001  # as it is on the page
    dialog = person.page.get_by_role("dialog")
    key = dialog.get_by_label("New key", exact=True).input_value()
    dialog.get_by_role("button", name="Change the key", exact=True).click()
    expect(dialog).to_be_hidden()
    assert engine.queue(queue.name, access_key=key).access().role == "owner"
    person.page.reload()
    expect(person.button("Add job")).to_be_visible()
