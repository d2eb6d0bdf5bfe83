"""Answers that come late: what the person does meanwhile counts."""

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
