"""Numbers change and jobs go through: nothing jumps, and nothing moves under the pointer."""

import re
from typing import Any

import pytest
from playwright.sync_api import expect

from jobengine.client import Queue
from tests.integration.daemons import Daemon
from tests.integration.shells import ADMIN_KEY

from .conftest import Arrive
from .person import Person
from .schedules import put_schedule

#: Makes the browser record each element that was pushed to a new place by another element (a layout shift).
_NOTE_JUMPS = """
    window.jumps = [];
    const note = (entries) => entries.forEach(({ sources }) =>
        jumps.push(...sources.map(({ node }) => node?.outerHTML ?? String(node?.textContent))));
    window.jumpsSeen = new PerformanceObserver((list) => note(list.getEntries()));
    jumpsSeen.observe({ type: 'layout-shift', buffered: true });
    window.takeJumps = () => { note(jumpsSeen.takeRecords()); return jumps.splice(0); };
"""
#: Returns the elements recorded until the frame after the next.
_JUMPS = """() => new Promise((resolve) =>
    requestAnimationFrame(() => requestAnimationFrame(() => resolve(takeJumps()))))"""
WIDE, PHONE = (1280, 900), (360, 900)
_COUNT = re.compile(r"^(Failed|Retrying|Queued|In progress|Complete) \d")


def _arrive(arrive: Arrive, size: tuple[int, int]) -> Person:
    person = arrive(viewport={"width": size[0], "height": size[1]})
    person.page.add_init_script(_NOTE_JUMPS)
    return person


def _jumps(person: Person) -> list[str]:
    """The elements that have jumped since the last call."""
    jumps: list[str] = person.page.evaluate(_JUMPS)
    return jumps


def _places(person: Person) -> Any:
    """Where the rows of jobs are, in their order."""
    return person.jobs().evaluate_all("(rows) => rows.map((row) => [row.dataset.key, row.getBoundingClientRect()])")


def test_the_layout_of_the_queues_table_stays_still_while_its_numbers_grow(arrive: Arrive, queue: Queue) -> None:
    person = _arrive(arrive, WIDE)
    person.list_queues(queue.name)
    cells = person.row("Queues", queue.name).get_by_role("cell")
    expect(cells.nth(3)).to_have_text("0")
    _jumps(person)
    queue.add_many([{}] * 10_000)
    queue.claim(50, worker="ann")
    expect(cells.nth(3)).to_contain_text("9,950")
    expect(cells.nth(4)).to_have_text("50")
    assert _jumps(person) == []


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_the_layout_of_a_queue_page_stays_still_while_jobs_are_processed(
    arrive: Arrive, queue: Queue, size: tuple[int, int]
) -> None:
    """While the pointer is at a row, rows change in place, and new ones are only announced."""
    queue.add_many([{"to": "alice"}] * 12)
    person = _arrive(arrive, size)
    person.look_at(queue.name)
    expect(person.jobs()).to_have_count(12)
    complete = person.page.get_by_role("link", name=re.compile(r"^Complete \d"))
    expect(complete).to_contain_text("Complete 0")
    person.jobs().nth(2).hover()
    before = _places(person)
    _jumps(person)
    queue.add_many([{}] * 12_000)
    for job in queue.claim(11, worker="ann"):
        queue.update(job.uid, new_status="complete")
    expect(complete).to_contain_text("Complete 11")
    expect(person.button("39 new jobs")).to_be_visible()
    expect(person.jobs().filter(has_text="Complete")).to_have_count(11)
    assert _jumps(person) == []
    queue.update(queue.claim()[0].uid, new_status="failed", error="no route to host " * 20)
    expect(person.jobs().first).to_contain_text("no route")
    assert _places(person) == before


def test_the_layout_of_the_server_page_stays_still_from_the_first_numbers_on(arrive: Arrive, queue: Queue) -> None:
    person = _arrive(arrive, PHONE)
    person.open()
    person.sign_in_as_admin(ADMIN_KEY)
    person.sees("Queues")
    person.open("server")
    commits = person.page.get_by_role("main").locator("div", has_text="Commits").last
    before = commits.text_content()
    assert before
    for number in range(12):
        queue.add({"number": number})
    person.page.reload()
    expect(commits).not_to_have_text(before)
    assert _jumps(person) == []


def test_a_button_under_the_pointer_is_not_replaced_by_another(arrive: Arrive, queue: Queue) -> None:
    uid = queue.add({}).uid
    person = _arrive(arrive, WIDE)
    person.look_at(queue.name)
    person.page.get_by_role("link", name=uid[:8]).click()
    cancel, release, retry = (person.button(name) for name in ("Cancel", "Release", "Retry"))
    cancel.hover()
    before = cancel.bounding_box()
    queue.claim(worker="ann")
    expect(person.page.get_by_text("held by 'ann'")).to_be_visible()
    expect(release).to_be_hidden()
    assert cancel.bounding_box() == before
    queue.update(uid, new_status="complete")
    expect(cancel).to_be_disabled()
    expect(retry).to_be_hidden()
    assert cancel.bounding_box() == before
    person.page.mouse.move(0, 0)
    expect(retry).to_be_visible()
    expect(cancel).to_be_hidden()


@pytest.mark.parametrize(("size", "most"), [(WIDE, 300), (PHONE, 400)], ids=["wide", "phone"])
@pytest.mark.parametrize("part", ["", "/errors", "/workers", "/schedules", "/groups"])
def test_the_first_row_is_near_the_top_of_the_page(
    arrive: Arrive, queue: Queue, live: Daemon, size: tuple[int, int], most: int, part: str
) -> None:
    """Counts and charts must take only one line, not half of a screen, or all of a phone's."""
    failed, _ = (job.uid for job in queue.add_many([{}] * 2, group="ada"))
    queue.update(failed, new_status="failed", error="no route")
    queue.claim(worker="ann")
    with live.client() as client:
        put_schedule(client, queue.name, "nightly")
    person = _arrive(arrive, size)
    person.look_at(queue.name, part=part)
    row = person.page.locator("main tbody tr, main ol.errors > li").first
    expect(row).to_be_visible()
    box = row.bounding_box()
    assert box is not None
    assert box["y"] < most
    for count in person.page.get_by_role("group", name="State of the queue").get_by_role("link", name=_COUNT).all():
        expect(count).to_be_in_viewport(ratio=1)
    if size == WIDE and not part:
        assert box["height"] < 40
