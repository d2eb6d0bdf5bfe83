"""Dialogs name the queue that they act on, and close when the page behind them changes."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from jobengine.client import JobEngine, Queue

from .person import Person


def _delete_selected(person: Person) -> None:
    person.field("Select this page").check()
    person.page.get_by_role("region", name="Selected jobs").get_by_role("button", name="Delete").click()


def _press(name: str) -> Callable[[Person], None]:
    return lambda person: person.press(name)


def _choose(action: str) -> Callable[[Person], None]:
    return lambda person: person.choose("More actions", action)


#: For each heading, with `Q` for the queue's name: the part of the page, and what opens the dialog.
DIALOGS: dict[str, tuple[str, Callable[[Person], None]]] = {
    "Delete 2 jobs of “Q”": ("", _delete_selected),
    "Add a job to “Q”": ("", _press("Add job")),
    "Retry 2 jobs of “Q”": ("/errors", _press("Retry")),
    "Move jobs of “Q” to another queue": (
        "/errors",
        lambda person: person.choose("More actions for this error", "Move to another queue"),
    ),
    "Add a schedule to “Q”": ("/schedules", _press("Add schedule")),
    "Add a key to “Q”": ("/settings", _press("Add key")),
    "Change the owner’s key of “Q”": (  # noqa: RUF001  # as it is on the page
        "/settings",
        _press("Change the owner’s key"),  # noqa: RUF001  # as it is on the page
    ),
    "Purge the queue “Q”": ("/overview", _choose("Purge")),
    "Delete the queue “Q”": ("/workers", _choose("Delete queue")),
}


@pytest.mark.parametrize("heading", DIALOGS)
def test_a_dialog_names_its_queue_and_is_closed_by_the_back_of_the_browser(
    admin: Person, engine: JobEngine, queue: Queue, heading: str
) -> None:
    """Otherwise it would stay over another queue's page, and act on the first queue."""
    part, open_dialog = DIALOGS[heading]
    other = engine.queue(f"{queue.name} of others")
    other.create()
    for job in queue.add_many([{}, {}]):
        queue.update(job.uid, new_status="failed", error="no route")
    admin.open(f"queue/{other.name}")
    admin.sees(other.name)
    admin.open(f"queue/{queue.name}{part}")
    admin.sees(queue.name)
    open_dialog(admin)
    expect(admin.page.get_by_role("dialog", name=heading.replace("Q", queue.name), exact=True)).to_be_visible()
    admin.page.go_back()
    admin.sees(other.name)
    expect(admin.page.locator("dialog")).to_have_count(0)
    assert queue.stats().counts.failed == 2


def test_a_dialog_on_the_page_of_a_job_is_closed_by_the_back_of_the_browser(admin: Person, queue: Queue) -> None:
    first, second = (job.uid for job in queue.add_many([{}, {}]))
    for uid in (first, second):
        admin.open(f"queue/{queue.name}/job/{uid}")
        admin.sees(f"Job {uid[:8]}")
    admin.choose("More actions", "Delete")
    expect(admin.dialog("Delete the job")).to_contain_text(f"The job {second} of “{queue.name}” will be deleted.")
    admin.page.go_back()
    admin.sees(f"Job {first[:8]}")
    expect(admin.page.locator("dialog")).to_have_count(0)
    assert queue.stats().size == 2


def test_a_retry_in_several_queues_names_them(admin: Person, engine: JobEngine, queue: Queue) -> None:
    other = engine.queue(f"{queue.name} of others")
    other.create()
    error = f"no bridge to the island of {queue.name}"
    for one in (queue, other):
        one.update(one.add({}).uid, new_status="failed", error=error)
    admin.page.get_by_role("link", name="All errors").click()
    admin.page.get_by_role("listitem").filter(has_text=error).get_by_role("button", name="Retry").click()
    dialog = admin.dialog("Retry 2 jobs of 2 queues")
    expect(dialog).to_contain_text(f"“{queue.name}”")
    expect(dialog).to_contain_text(f"“{other.name}”")
