"""Answers that come late: what the person does meanwhile counts."""

import pytest
from playwright.sync_api import expect

from jobengine.client import Queue

from .holding import Held
from .person import Person


def test_nothing_can_be_done_with_a_queue_before_its_figures_are_there(person: Person, queue: Queue) -> None:
    """A click at a button that does nothing yet would be lost without a word."""
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


def test_settings_that_were_read_before_a_change_do_not_come_back_after_it(person: Person, queue: Queue) -> None:
    """The next change would write them."""
    person.look_at(queue.name, part="/settings")
    most = person.field("Most jobs")
    expect(most).to_have_value("0")
    with Held(person.page, "queue/stats", most=1) as older:
        queue.add({})
        older.wait()
        most.fill("500")
        person.press("Save")
        person.is_told("Saved.")
        # The page asks again once it has the older answer.
        with person.page.expect_request("**/api/v1/queue/stats*"):
            older.let_go()
    expect(most).to_have_value("500")
    person.field("Attempts").fill("3")
    person.press("Save")
    expect(person.page.locator(".notes").get_by_text("Saved.")).to_have_count(2)
    assert queue.stats().max_jobs == 500


@pytest.mark.parametrize("name", ["Next page", "Previous page"])
def test_a_page_is_turned_once_however_often_it_is_asked_for(person: Person, queue: Queue, name: str) -> None:
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


def test_the_keys_that_were_asked_for_last_are_shown(person: Person, queue: Queue) -> None:
    with Held(person.page, "queue/key", most=1) as older:
        person.look_at(queue.name, part="/settings")
        older.wait()
        person.press("Add key")
        person.confirm("Add key", "Add")
        key = person.row("Keys with a role", "worker")
        expect(key).to_be_visible()
        older.let_go()
        expect(key).to_be_visible()
