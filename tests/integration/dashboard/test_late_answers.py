"""Answers that come late: what the person does meanwhile counts."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import expect

from jobengine.client import Queue
from tests.integration.daemons import until
from tests.integration.shells import ADMIN_KEY

from .holding import Held
from .person import Person


def test_no_action_on_a_queue_is_possible_before_its_stats_are_loaded(person: Person, queue: Queue) -> None:
    """Otherwise a click at a button that does nothing yet would be lost silently."""
    pause, more = person.button("Pause"), person.button("More actions")
    with Held(person.page, "queue/stats") as figures:
        person.look_at(queue.name)
        figures.wait()
        expect(pause).to_be_disabled()
        expect(more).to_be_disabled()
        figures.let_go()
    expect(more).to_be_enabled()
    pause.click()
    expect(person.button("Resume")).to_be_visible()


@contextmanager
def _settings_read_before(person: Person, queue: Queue) -> Iterator[Held]:
    """Change `max_jobs` from 0 to 500, while the stats that the page has requested before are held back."""
    person.look_at(queue.name, part="/settings")
    most = person.field("Job limit")
    expect(most).to_have_value("0")
    with Held(person.page, "queue/stats", most=1) as older:
        queue.add({})
        older.wait()
        most.fill("500")
        person.press("Save")
        person.is_told("Saved.")
        yield older


def test_an_answer_with_settings_from_before_a_change_does_not_replace_the_changed_settings(
    person: Person, queue: Queue
) -> None:
    """Otherwise the next change would send the outdated settings."""
    # The page requests the stats again once it has the older answer.
    asked = "**/api/v1/queue/stats*"
    with _settings_read_before(person, queue) as older, person.page.expect_request(asked):
        older.let_go()
    expect(person.field("Job limit")).to_have_value("500")
    person.field("Attempts").fill("3")
    person.press("Save")
    until("it is saved", lambda: (queue.stats().raw["defaults"] or {}).get("max_attempts") == 3)
    assert queue.stats().max_jobs == 500


def test_a_settings_form_opened_after_a_change_never_shows_settings_from_before_the_change(
    person: Person, queue: Queue
) -> None:
    with _settings_read_before(person, queue) as older:
        person.page.get_by_role("link", name="Jobs", exact=True).click()
        expect(person.jobs()).to_have_count(1)
        with Held(person.page, "queue/stats") as newer:
            older.let_go()
            newer.wait()
            person.page.get_by_role("link", name="Settings").click()
            expect(person.field("Job limit")).to_have_value("500")


def test_text_typed_while_settings_are_being_saved_stays_and_can_be_saved(person: Person, queue: Queue) -> None:
    person.look_at(queue.name, part="/settings")
    person.field("Job limit").fill("500")
    with Held(person.page, "queue", method="POST") as answer:
        person.press("Save")
        answer.wait()
        person.field("Attempts").fill("3")
        answer.let_go()
    person.is_told("Saved.")
    expect(person.field("Attempts")).to_have_value("3")
    person.press("Save")
    until("it is saved too", lambda: (queue.stats().raw["defaults"] or {}).get("max_attempts") == 3)
    assert queue.stats().max_jobs == 500


def test_a_person_who_goes_to_the_next_field_while_settings_are_being_saved_can_type_on(
    person: Person, queue: Queue
) -> None:
    """The form is built anew when the answer comes, so the field with the focus is another one then."""
    person.look_at(queue.name, part="/settings")
    person.field("Job limit").fill("500")
    with Held(person.page, "queue", method="POST") as answer:
        person.press("Save")
        answer.wait()
        person.field("Attempts").focus()
        answer.let_go()
    person.is_told("Saved.")
    person.page.keyboard.type("3")
    expect(person.field("Attempts")).to_have_value("3")


@pytest.mark.parametrize("name", ["Next page", "Previous page"])
def test_pressing_a_page_button_twice_before_the_answer_turns_one_page(person: Person, queue: Queue, name: str) -> None:
    queue.add_many([{"number": number} for number in range(160)])
    person.look_at(queue.name, part="?sort=created")
    shown = person.page.get_by_role("main").get_by_role("status").filter(has_text="Jobs ")
    person.press("Next page")
    expect(shown).to_have_text("Jobs 51 to 100")
    with Held(person.page, "jobs") as page:
        for _ in range(2):
            person.press(name)
        page.wait()
        page.let_go()
    expect(shown).to_have_text("Jobs 101 to 150" if name == "Next page" else "Jobs 1 to 50")
    expect(person.jobs().first).to_contain_text("number: 100" if name == "Next page" else "number: 0")


def test_a_late_list_of_keys_does_not_replace_a_newer_list(person: Person, queue: Queue) -> None:
    with Held(person.page, "queue/key", most=1) as older:
        person.look_at(queue.name, part="/settings")
        older.wait()
        person.press("Add key")
        person.confirm("Add a key to", "Add")
        key = person.row("Keys with a role", "worker")
        expect(key).to_be_visible()
        older.let_go()
        expect(key).to_be_visible()


def _leave(person: Person, route: str) -> None:
    """Close the dialog, if there is one, and go to another page."""
    person.page.keyboard.press("Escape")
    person.open(route)


def _admin_at(person: Person, route: str) -> None:
    person.open(route)
    person.sign_in_as_admin(ADMIN_KEY)
    expect(person.page.get_by_role("link", name="Server")).to_be_visible()


@pytest.mark.parametrize("admin", [False, True])
def test_a_sign_in_that_is_answered_after_the_user_left_the_form_is_ignored(
    person: Person, queue: Queue, admin: bool
) -> None:
    person.open()
    with Held(person.page, "access") as access:
        if admin:
            person.sign_in_as_admin(ADMIN_KEY)
        else:
            person.sign_in(queue.name)
        access.wait()
        person.open("queue/another")
        expect(person.field("Queue")).to_have_value("another")
        access.let_go()
    assert person.page.url.endswith("#/queue/another")
    person.sees("Sign in")
    expect(person.field("Queue")).to_have_value("another")


def test_if_the_user_leaves_before_a_queue_is_created_the_queue_is_reported_but_not_opened(
    person: Person, queue: Queue
) -> None:
    _admin_at(person, "queues")
    person.press("Create queue")
    dialog = person.dialog("Create queue")
    dialog.get_by_label("Name").fill(f"{queue.name} late")
    with Held(person.page, "queue", "PUT") as made:
        dialog.get_by_role("button", name="Create", exact=True).click()
        made.wait()
        _leave(person, "server")
        person.sees("Server")
        made.let_go()
    person.is_told(f"The queue {queue.name} late was created.")
    assert person.page.url.endswith("#/server")


def test_a_deletion_that_is_answered_after_the_user_left_the_page_does_not_change_the_page(
    person: Person, queue: Queue
) -> None:
    uid = queue.add({}).uid
    _admin_at(person, f"queue/{queue.name}/job/{uid}")
    person.choose("More actions", "Delete")
    with Held(person.page, "job", "DELETE") as deleted:
        person.dialog("Delete the job").get_by_role("button", name="Delete").click()
        deleted.wait()
        _leave(person, "server")
        person.sees("Server")
        deleted.let_go()
    person.is_told("The job is deleted.")
    assert person.page.url.endswith("#/server")
    person.open(f"queue/{queue.name}")
    person.choose("More actions", "Delete queue")
    dialog = person.dialog("Delete the queue")
    dialog.get_by_label("Type the queue’s name to confirm").fill(queue.name)  # noqa: RUF001  # as it is on the page
    with Held(person.page, "queue", "DELETE") as deleted:
        dialog.get_by_role("button", name="Delete queue").click()
        deleted.wait()
        _leave(person, "server")
        person.sees("Server")
        deleted.let_go()
    person.is_told(f"The queue {queue.name} is deleted.")
    assert person.page.url.endswith("#/server")


def test_a_count_that_arrives_after_the_user_cancelled_or_left_opens_no_dialog(person: Person, queue: Queue) -> None:
    queue.update(queue.add({}).uid, new_status="failed", error="no route")
    dialogs = person.page.get_by_role("dialog")
    person.look_at(queue.name, part="/errors")
    with Held(person.page, "jobs", "POST") as count:
        person.press("Retry")
        count.wait()
        person.page.keyboard.press("Escape")
        expect(dialogs).to_have_count(0)
        count.let_go()
        expect(dialogs).to_have_count(0)
    with Held(person.page, "jobs", "DELETE") as count:
        person.choose("More actions", "Purge")
        count.wait()
        _leave(person, "queues")
        person.sees("Queues")
        count.let_go()
        expect(dialogs).to_have_count(0)
