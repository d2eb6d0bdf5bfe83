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
