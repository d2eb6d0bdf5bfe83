"""What a job waits for and what waits for it, and the batches of a queue."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, expect

from jobengine.client import JobEngine, Queue
from tests.integration.daemons import Client, Daemon

from .person import Person
from .pipelines import add, change, change_batch, put_batch, read_batch, start, uid


@pytest.fixture
def client(live: Daemon) -> Iterator[Client]:
    """The API as the owner of the queues."""
    with live.client() as client:
        yield client


def _look(person: Person, queue: Queue, number: int) -> None:
    """Open the page of a job."""
    person.look_at(queue.name)
    person.open(f"queue/{queue.name}/job/{uid(number)}")
    person.sees(f"Job {uid(number)[:8]}")


def _list(person: Person, name: str) -> Locator:
    return person.page.get_by_role("region", name=name, exact=True).get_by_role("listitem")


def _boxes(person: Person) -> Locator:
    return person.page.get_by_role("group", name="Graph of dependencies").get_by_role("link")


def test_the_page_of_a_job_lists_its_dependencies_and_dependents(person: Person, queue: Queue, client: Client) -> None:
    put_batch(client, queue.name, "nightly")
    add(client, queue.name, 1, priority=9)
    add(client, queue.name, 2)
    add(client, queue.name, 3, 1, 2, batch="nightly", on_dependency_failure="wait")
    add(client, queue.name, 4, 3)
    start(client, queue.name, 1)
    change(client, queue.name, 1, new_status="inprogress", progress=40)
    _look(person, queue, 3)
    expect(person.page.get_by_text("It waits for 2 jobs.", exact=True)).to_be_visible()
    expect(_list(person, "Waits for")).to_have_text(["In progress 00000001 40 % at loader-1", "Queued 00000002 "])
    expect(_list(person, "Needed by")).to_have_text(
        ["Not finished Batch nightly 0 of 1 finished, open", "Waiting 00000004 "]
    )
    facts = person.page.get_by_role("region", name="Facts")
    expect(facts).to_contain_text("it waits for the retry")
    change(client, queue.name, 1, new_status="complete")
    change(client, queue.name, 2, new_status="complete")
    expect(_list(person, "Waited for")).to_have_text(["Complete 00000001 ", "Complete 00000002 "])
    expect(person.page.get_by_text("It can be claimed. It is the next.")).to_be_visible()
    facts.get_by_role("link", name="nightly").click()
    expect(person.row("Batches", "nightly")).to_be_visible()


def test_a_failed_job_that_a_job_waits_for_is_in_view_in_the_graph_on_a_phone(
    person: Person, queue: Queue, client: Client
) -> None:
    add(client, queue.name, 1)
    add(client, queue.name, 2)
    add(client, queue.name, 3, 1, 2, on_dependency_failure="wait")
    change(client, queue.name, 2, new_status="failed")
    person.page.set_viewport_size({"width": 375, "height": 800})
    _look(person, queue, 3)
    graph = person.page.get_by_role("region", name="Graph", exact=True)
    failed = _boxes(person).filter(has_text="Failed")
    graph.scroll_into_view_if_needed()
    assert graph.evaluate("(place) => place.scrollLeft") == 0
    expect(failed).to_be_in_viewport(ratio=0.99)


def test_the_graph_leads_to_each_job_by_keyboard_from_left_to_right(
    person: Person, queue: Queue, client: Client
) -> None:
    add(client, queue.name, 1)
    add(client, queue.name, 2, 1)
    add(client, queue.name, 3, 2)
    add(client, queue.name, 4, 1, 3)
    _look(person, queue, 2)
    names = [
        "00000001 Queued, needed by 2",
        "00000002 Waiting, waits for 1, needed by 1",
        "00000003 Waiting, waits for 1, needed by 1",
        "00000004 Waiting, waits for 2",
    ]
    for at, name in enumerate(names):
        expect(_boxes(person).nth(at)).to_have_accessible_name(name)
    expect(_boxes(person).nth(1)).to_have_attribute("aria-current", "true")
    lefts = [box.bounding_box() for box in _boxes(person).all()]
    assert [box["x"] for box in lefts if box] == sorted({box["x"] for box in lefts if box})
    _boxes(person).first.focus()
    for at in (1, 2, 3):
        person.page.keyboard.press("Tab")
        expect(_boxes(person).nth(at)).to_be_focused()
    change(client, queue.name, 1, new_status="complete")
    expect(_boxes(person).first).to_have_accessible_name("00000001 Complete, needed by 2")
    expect(_boxes(person).nth(3)).to_be_focused()
    person.page.keyboard.press("Enter")
    person.sees("Job 00000004")


def test_a_job_without_dependencies_has_no_panel_of_dependencies(person: Person, queue: Queue, client: Client) -> None:
    add(client, queue.name, 1)
    with person.page.expect_response("**/job/graph*"):
        _look(person, queue, 1)
    expect(person.page.get_by_role("heading", name="Dependencies")).to_be_hidden()
    add(client, queue.name, 2, 1)
    person.page.keyboard.press("r")
    expect(_list(person, "Needed by")).to_have_text(["Waiting 00000002 "])


def test_a_graph_shows_at_most_200_boxes(person: Person, queue: Queue, client: Client) -> None:
    add(client, queue.name, 1)
    for first in range(2, 232, 23):
        jobs = [{"uid": uid(first + at), "content": {}, "depends_on": [uid(1)]} for at in range(23)]
        assert client.call("PUT", "/api/v1/jobs", body={"queue_name": queue.name, "jobs": jobs}).status == 201
    _look(person, queue, 1)
    expect(_boxes(person)).to_have_count(200)
    expect(person.page.get_by_text("There is more beyond these 200 jobs and batches.")).to_be_visible()
    expect(_list(person, "Needed by")).to_have_count(10)
    expect(person.page.get_by_text("and 189 more in the graph")).to_be_visible()
    expect(_boxes(person).first).to_be_in_viewport()


def test_jobs_of_a_queue_for_which_the_tab_has_no_key_are_shown_without_details(
    person: Person, engine: JobEngine, queue: Queue, client: Client
) -> None:
    other = engine.queue(f"{queue.name} b")
    other.create()
    add(client, other.name, 1)
    job = {"uid": uid(2), "content": {}, "depends_on": [{"queue_name": other.name, "uid": uid(1)}]}
    assert client.call("PUT", "/api/v1/job", body={"queue_name": queue.name, "job": job}).status == 201
    queue.keys.add("viewer", "the viewer's")
    person.look_at(queue.name, "the viewer's")
    person.open(f"queue/{queue.name}/job/{uid(2)}")
    expect(_list(person, "Waits for")).to_have_text([f"Not finished 00000001 in {other.name} "])


def test_a_job_failed_by_a_dependency_runs_after_the_dashboard_drops_its_dependencies(
    person: Person, queue: Queue, client: Client
) -> None:
    add(client, queue.name, 1)
    add(client, queue.name, 2, 1)
    change(client, queue.name, 1, new_status="failed")
    _look(person, queue, 2)
    text = "Failed because of 1 job. It is queued again once each failed dependency is retried."
    expect(person.page.get_by_text(text)).to_be_visible()
    queue.delete(uid(1))
    person.page.reload()
    expect(person.page.get_by_text("drop the dependencies to run this job")).to_be_visible()
    expect(_list(person, "Waits for")).to_have_text(["Removed 00000001 "])
    person.choose("More actions", "Drop dependencies")
    person.confirm("Drop the dependencies", "Drop")
    expect(person.page.get_by_text("It can be claimed. It is the next.")).to_be_visible()
    assert queue.get(uid(2)).state == "queued"


# Batches


def test_the_tab_of_batches_appears_with_the_first_batch(person: Person, queue: Queue, client: Client) -> None:
    person.look_at(queue.name)
    tab = person.page.get_by_role("link", name="Batches", exact=True)
    expect(tab).to_be_hidden()
    put_batch(client, queue.name, "nightly")
    person.page.reload()
    tab.click()
    expect(person.row("Batches", "nightly")).to_contain_text("Open")


def test_each_batch_has_a_bar_with_its_jobs_by_state(person: Person, queue: Queue, client: Client) -> None:
    put_batch(client, queue.name, "nightly", then={"uid": uid(90), "content": {}})
    for number in range(1, 6):
        add(client, queue.name, number, batch="nightly")
    start(client, queue.name, 1)
    change(client, queue.name, 2, new_status="failed")
    person.look_at(queue.name, part="/batches")
    row = person.row("Batches", "nightly")
    expect(row.get_by_role("img")).to_have_accessible_name("Complete 0, Failed 1, In progress 1, Queued 3")
    expect(row).to_contain_text("1 of 5")
    change(client, queue.name, 3, new_status="complete")
    expect(row.get_by_role("img")).to_have_accessible_name("Complete 1, Failed 1, In progress 1, Queued 2")
    expect(person.page.get_by_role("link", name="Queued 3 1 waiting")).to_be_visible()
    row.get_by_role("link", name="nightly").click()
    expect(person.jobs()).to_have_count(5)
    person.page.go_back()
    row.get_by_role("link", name="00000090").click()
    person.sees("Job 00000090")
    expect(person.page.get_by_text("It waits for 1 batch.")).to_be_visible()


@pytest.mark.parametrize("width", [1920, 1366, 1280, 1024, 800])
def test_the_count_of_a_batch_has_room_for_large_numbers(
    person: Person, queue: Queue, client: Client, width: int
) -> None:
    put_batch(client, queue.name, "nightly import")
    person.page.set_viewport_size({"width": width, "height": 800})
    person.look_at(queue.name, part="/batches")
    cell = person.row("Batches", "nightly import").locator(".c-bar")
    for text in ("9,999 of 9,999", "999.9K of 999.9K"):
        cell.locator("small").evaluate("(count, text) => { count.textContent = text; }", text)
        assert cell.evaluate("(cell) => cell.scrollWidth <= cell.clientWidth")


def test_a_batch_is_closed_retried_and_cancelled(person: Person, queue: Queue, client: Client) -> None:
    put_batch(client, queue.name, "nightly")
    for number in range(1, 4):
        add(client, queue.name, number, batch="nightly")
    change(client, queue.name, 1, new_status="failed")
    person.look_at(queue.name, part="/batches")
    row = person.row("Batches", "nightly")
    person.press("Actions for nightly")
    row.get_by_role("button", name="Close", exact=True).click()
    person.confirm("Close the batch “nightly”", "Close the batch")
    expect(row.get_by_role("rowheader")).to_contain_text("Closed")
    person.press("Actions for nightly")
    expect(row.get_by_role("button", name="Close", exact=True)).to_be_disabled()
    row.get_by_role("button", name="Retry failed jobs").click()
    person.confirm("Retry the batch “nightly”", "Retry")
    person.is_told("nightly: 1 job queued again.")
    person.press("Actions for nightly")
    row.get_by_role("button", name="Cancel", exact=True).click()
    person.confirm("Cancel the batch “nightly”", "Cancel the jobs")
    person.is_told("nightly: 3 jobs cancelled.")
    expect(row.get_by_role("rowheader")).to_contain_text("Failed")
    assert read_batch(client, queue.name, "nightly")["failed"] == 3


def test_a_page_lists_fifty_batches_and_the_address_of_a_batch_opens_its_page(
    person: Person, queue: Queue, client: Client
) -> None:
    for number in range(51):
        put_batch(client, queue.name, f"batch {number:02}")
    change_batch(client, queue.name, "batch 07", open=False)
    person.look_at(queue.name, part="/batches")
    rows = person.table("Batches").locator("tbody").get_by_role("row")
    expect(rows).to_have_count(50)
    person.page.keyboard.press(".")
    expect(rows).to_have_count(1)
    person.open(f"queue/{queue.name}/batches?batch=batch+07")
    expect(rows.get_by_role("rowheader")).to_have_text(re.compile("^batch 07Complete$"))
    person.page.get_by_role("link", name="All batches").click()
    expect(rows).to_have_count(50)


def test_a_viewer_sees_batches_and_no_actions(person: Person, queue: Queue, client: Client) -> None:
    queue.keys.add("viewer", "the viewer's")
    put_batch(client, queue.name, "nightly")
    person.look_at(queue.name, "the viewer's", part="/batches")
    expect(person.row("Batches", "nightly")).to_be_visible()
    expect(person.button("Actions for nightly")).to_have_count(0)
