"""The jobs of a queue: filter, order, pages, live changes, and actions on many jobs."""

import re
from concurrent.futures import ThreadPoolExecutor
from time import time
from typing import Any

import pytest
from playwright.sync_api import Locator, Route, expect

from jobengine.client import Queue

from .person import Person


@pytest.fixture
def owner(person: Person, queue: Queue) -> Person:
    """A user who has signed in to the queue and looks at its jobs."""
    person.open()
    person.sign_in(queue.name)
    person.sees(queue.name)
    return person


def _shown(person: Person) -> Locator:
    return person.jobs().get_by_role("rowheader").get_by_role("link")


def _fail(queue: Queue, error: str, count: int = 1) -> list[str]:
    """Jobs that have failed with an error, by their uids."""
    uids = [job.uid for job in queue.add_many([{"to": "alice"}] * count)]
    for uid in uids:
        queue.update(uid, new_status="failed", error=error)
    return uids


def test_the_overview_of_a_queue_has_counts_and_charts(owner: Person, queue: Queue) -> None:
    queue.add_many([{}] * 5)
    queue.update(queue.claim()[0].uid, new_status="failed", error="no route")
    queue.update(queue.claim()[0].uid, new_status="complete")
    owner.open(f"queue/{queue.name}/overview")
    for name in ("Failed 1", "Retrying 0", "Queued 3 all ready", "In progress 0", "Complete 1"):
        expect(owner.page.get_by_role("link", name=name, exact=True)).to_be_visible()
    chart = owner.page.get_by_role("group", name="The last hour: 5 added, 1 complete, 1 failed")
    expect(chart).to_be_visible()
    expect(owner.page.get_by_role("region", name="Wait and run times")).to_contain_text(re.compile(r"99 % \d"))


def test_the_charts_of_a_queue_show_the_last_hour_day_or_week(owner: Person, queue: Queue) -> None:
    queue.add_many([{}] * 4)
    (job,) = queue.claim()
    queue.update(job.uid, new_status="complete")
    owner.open(f"queue/{queue.name}/overview")
    region = owner.page.get_by_role("region", name="Jobs over time")
    expect(region.get_by_role("group", name="The last hour: 4 added")).to_be_visible()
    for period, ago in (("Day", "1 h ago"), ("Week", "1 h ago"), ("Hour", "1 min ago")):
        region.get_by_text(period, exact=True).click()
        chart = region.get_by_role("group", name=f"The last {period.lower()}: 4 added")
        expect(chart).to_be_visible()
        chart.focus()
        for _ in range(2):
            owner.page.keyboard.press("ArrowLeft")
        expect(region).to_contain_text(re.compile(rf"{ago}, \w{{3}} \d\d:\d\d UTC"))
        times = region.page.get_by_role("region", name="Times over time")
        label = rf"The longest of the last {period.lower()}: wait \d.*, run \d"
        expect(times.get_by_role("group", name=re.compile(label))).to_be_visible()
        if period == "Week":
            assert owner.page.url.endswith("/overview?period=week")


def test_jobs_are_filtered_by_state_tag_and_text_and_the_address_has_the_filter(owner: Person, queue: Queue) -> None:
    red, blue = queue.add({"to": "alice"}, tags=["red"]).uid, queue.add({"to": "bob"}, tags=["blue"]).uid
    (failed,) = _fail(queue, "no route")
    owner.open(f"queue/{queue.name}")
    expect(owner.jobs()).to_have_count(3)
    owner.field("State").select_option("Failed")
    expect(_shown(owner)).to_have_text([failed[:8]])
    owner.field("State").select_option("All states")
    owner.page.get_by_text("More filters").click()
    owner.field("Tag").fill("blue")
    expect(_shown(owner)).to_have_text([blue[:8]])
    owner.field("Tag").fill("")
    owner.field("Search").fill("alice")
    expect(owner.jobs()).to_have_count(2)
    owner.field("State").select_option("Queued")
    expect(_shown(owner)).to_have_text([red[:8]])
    owner.page.reload()
    expect(_shown(owner)).to_have_text([red[:8]])
    expect(owner.field("Search")).to_have_value("alice")
    owner.field("Search").fill("nobody")
    expect(owner.page.get_by_text("No job matches")).to_be_visible()


def test_clicking_a_column_head_sorts_the_jobs(owner: Person, queue: Queue) -> None:
    first, second, third = (queue.add({}, priority=priority).uid[:8] for priority in (1, 9, 5))
    owner.open(f"queue/{queue.name}")
    owner.page.get_by_text("More filters").click()
    owner.field("Order").select_option("Next to run first")
    expect(_shown(owner)).to_have_text([second, third, first])
    head = owner.page.get_by_role("columnheader", name="Added")
    for order, uids in (("descending", [third, second, first]), ("ascending", [first, second, third])):
        head.get_by_role("button").click()
        expect(_shown(owner)).to_have_text(uids)
        expect(head).to_have_attribute("aria-sort", order)


def test_next_and_previous_page_show_the_adjacent_jobs(owner: Person, queue: Queue) -> None:
    queue.add_many([{"number": number} for number in range(120)])
    owner.open(f"queue/{queue.name}?sort=created")
    for first, last in ((1, 50), (51, 100), (101, 120)):
        expect(owner.page.get_by_text(f"Jobs {first} to {last}")).to_be_visible()
        expect(owner.jobs().first).to_contain_text(f"number: {first - 1}")
        if last < 120:
            owner.press("Next page")
    expect(owner.button("Next page")).to_be_disabled()
    owner.press("Previous page")
    expect(owner.page.get_by_text("Jobs 51 to 100")).to_be_visible()


def test_the_next_page_of_jobs_reuses_the_table_rows(owner: Person, queue: Queue) -> None:
    """With new rows for each update the page stuttered at 1,000 jobs a second."""
    queue.add_many([{"number": number} for number in range(60)])
    owner.open(f"queue/{queue.name}?sort=created")
    expect(owner.jobs().first).to_contain_text("number: 0")
    first = owner.jobs().first.element_handle()
    owner.press("Next page")
    expect(owner.jobs()).to_have_count(10)
    expect(owner.jobs().first).to_contain_text("number: 50")
    assert owner.jobs().first.evaluate("(row, before) => row === before", first)
    owner.jobs().first.get_by_role("link").click()
    expect(owner.page.get_by_text("number: 50")).to_be_visible()


def test_new_and_changed_jobs_are_shown_without_a_reload(owner: Person, queue: Queue) -> None:
    owner.open(f"queue/{queue.name}")
    expect(owner.page.get_by_text("There is no job here")).to_be_visible()
    uid = queue.add({"to": "alice"}).uid
    row = owner.row("Jobs", uid[:8])
    expect(row).to_contain_text("Queued")
    queue.claim(worker="ann")
    expect(row).to_contain_text("In progress")
    expect(row).to_contain_text("ann")
    queue.update(uid, new_status="failed", error="no route to host")
    expect(row).to_contain_text("no route to host")
    expect(owner.page.get_by_role("link", name="Failed 1", exact=True)).to_be_visible()


def test_new_jobs_do_not_move_rows_under_the_pointer(owner: Person, queue: Queue) -> None:
    uids = [job.uid[:8] for job in queue.add_many([{}] * 3)]
    owner.open(f"queue/{queue.name}?sort=-created")
    expect(_shown(owner)).to_have_text(uids[::-1])
    owner.jobs().nth(1).hover()
    new = queue.add({}).uid[:8]
    news = owner.button("1 new job")
    expect(news).to_be_visible()
    expect(_shown(owner)).to_have_text(uids[::-1])
    news.press("Enter")  # the button may be gone soon after the pointer has left the rows
    expect(_shown(owner)).to_have_text([new, *uids[::-1]])


def test_retry_of_selected_jobs_shows_its_result(owner: Person, queue: Queue) -> None:
    first, second, third = _fail(queue, "no route", 3)
    owner.open(f"queue/{queue.name}?state=failed")
    for uid in (first, second):
        owner.field(f"Select {uid[:8]}").check()
    region = owner.page.get_by_role("region", name="Selected jobs")
    expect(region).to_contain_text("2 selected")
    region.get_by_role("button", name="Retry").click()
    dialog = owner.dialog("Retry 2 jobs")
    assert queue.get(first).state == "failed"
    dialog.get_by_role("button", name="Retry 2 jobs").click()
    expect(owner.page.get_by_role("dialog").get_by_role("status")).to_contain_text("2 jobs queued again.")
    assert [queue.get(uid).state for uid in (first, second, third)] == ["queued", "queued", "failed"]


def _await_retry(queue: Queue, **options: Any) -> str:
    """A job whose first attempt has failed and whose retry is due in an hour, by its uid."""
    uid = queue.add({"to": "alice"}, max_attempts=3, retry_delay_seconds=3600, priority=9, **options).uid
    queue.update(queue.claim()[0].uid, new_status="failed", error="no route")
    return uid


@pytest.mark.parametrize("every", [False, True])
def test_retrying_jobs_that_are_selected_are_made_ready(owner: Person, queue: Queue, every: bool) -> None:
    first, second = _await_retry(queue), _await_retry(queue)
    owner.open(f"queue/{queue.name}?state=retrying")
    owner.field("Select this page").check()
    if every:
        owner.press("Select all that match")
    owner.page.get_by_role("region", name="Selected jobs").get_by_role("button", name="Retry").click()
    dialog = owner.dialog("Retry 2 jobs")
    expect(dialog).to_contain_text("2 jobs will not wait for their retry any longer")
    dialog.get_by_role("button", name="Retry 2 jobs").click()
    expect(owner.page.get_by_role("dialog").get_by_role("status")).to_contain_text("2 jobs queued again.")
    assert queue.stats().ready == 2
    assert [queue.get(uid).attempts for uid in (first, second)] == [1, 1]


def test_a_retry_of_selected_jobs_says_how_many_of_them_are_complete(owner: Person, queue: Queue) -> None:
    for status in ("complete", "failed", "complete"):
        queue.update(queue.add({}).uid, new_status=status)
    _await_retry(queue)
    owner.page.reload()
    expect(owner.jobs()).to_have_count(4)
    owner.field("Select this page").check()
    owner.page.get_by_role("region", name="Selected jobs").get_by_role("button", name="Retry").click()
    expect(owner.dialog("Retry 4 jobs")).to_contain_text(
        "3 jobs will be queued again, as if never tried. "
        "Of these, 2 jobs are complete: their work will be done once more. 1 job will not wait"
    )


def test_a_selected_job_that_was_claimed_meanwhile_is_not_taken_from_its_worker(owner: Person, queue: Queue) -> None:
    uid = _await_retry(queue)
    owner.open(f"queue/{queue.name}?state=retrying")
    owner.field("Select this page").check()
    owner.page.get_by_role("region", name="Selected jobs").get_by_role("button", name="Retry").click()
    queue.update(uid, delay_seconds=0)
    queue.claim(worker="ann")
    owner.dialog("Retry 1 job").get_by_role("button", name="Retry 1 job").click()
    expect(owner.page.get_by_role("dialog").get_by_role("status")).to_be_visible()
    assert (queue.get(uid).state, queue.get(uid).worker) == ("inprogress", "ann")


def test_queued_jobs_that_never_failed_can_not_be_retried(owner: Person, queue: Queue) -> None:
    queue.add({})
    owner.open(f"queue/{queue.name}")
    owner.field("Select this page").check()
    region = owner.page.get_by_role("region", name="Selected jobs")
    expect(region.get_by_role("button", name="Cancel")).to_be_enabled()
    expect(region.get_by_role("button", name="Retry")).to_be_disabled()


def test_on_a_phone_the_actions_for_selected_jobs_take_two_lines(owner: Person, queue: Queue) -> None:
    queue.add({})
    owner.page.set_viewport_size({"width": 375, "height": 700})
    owner.open(f"queue/{queue.name}")
    owner.jobs().first.get_by_role("checkbox").check()
    region = owner.page.get_by_role("region", name="Selected jobs")
    names = ["Select all that match", "Clear", "Retry", "Cancel", "Priority", "Delete", "Move"]
    expect(region.get_by_role("button")).to_have_text(names, use_inner_text=True)
    box = region.bounding_box()
    assert box is not None
    assert box["height"] < 100


def test_the_list_shows_the_group_of_a_job(owner: Person, queue: Queue) -> None:
    grouped, other = queue.add({}, group="customer-7").uid, queue.add({}).uid
    owner.open(f"queue/{queue.name}")
    expect(owner.row("Jobs", grouped[:8]).get_by_text("group customer-7")).to_be_visible()
    expect(owner.row("Jobs", other[:8])).not_to_contain_text("group")


def test_the_list_shows_on_a_phone_when_a_retry_is_due(owner: Person, queue: Queue) -> None:
    owner.page.set_viewport_size({"width": 390, "height": 800})
    _await_retry(queue)
    owner.open(f"queue/{queue.name}")
    state = owner.jobs().first.get_by_role("cell").nth(1)
    expect(state).to_contain_text("Queued")
    expect(state.get_by_text(re.compile(r"^in (\d+ min|1 h)$"))).to_be_visible()
    assert state.evaluate("(cell) => cell.scrollWidth <= cell.clientWidth")


def test_an_action_on_all_matching_jobs_shows_their_count_and_then_the_result(owner: Person, queue: Queue) -> None:
    queue.add_many([{"to": "alice"}] * 60)
    kept = queue.add({"to": "bob"}).uid
    owner.open(f"queue/{queue.name}?q=alice")
    owner.field("Select this page").check()
    owner.press("Select all that match")
    expect(owner.page.get_by_role("region", name="Selected jobs")).to_contain_text("All 60 that match")
    for action, heading, typed, told in (
        ("Change priority", "Change the priority of 60 jobs", "7", "60 jobs changed."),
        ("Cancel", "Cancel 60 jobs", None, "60 jobs cancelled."),
        ("Retry", "Retry 60 jobs", None, "60 jobs queued again."),
        ("Delete", "Delete 60 jobs", None, "60 jobs deleted."),
    ):
        if action == "Retry":
            owner.field("State").select_option("Cancelled")
        if action == "Delete":
            owner.field("State").select_option("All states")
        if not owner.page.get_by_role("region", name="Selected jobs").is_visible():
            owner.field("Select this page").check()
            owner.press("Select all that match")
        owner.page.get_by_role("region", name="Selected jobs").get_by_role("button", name=action).click()
        dialog = owner.dialog(heading)
        if typed is not None:
            dialog.get_by_label("Priority").fill(typed)
        dialog.get_by_role("button", name=heading).click()
        expect(owner.page.get_by_role("dialog").get_by_role("status")).to_contain_text(told)
        owner.page.get_by_role("dialog").get_by_text("Close", exact=True).click()
    assert [job.uid for job in queue.jobs()] == [kept]


def test_failed_jobs_are_grouped_by_error(owner: Person, queue: Queue) -> None:
    for number in range(3):
        _fail(queue, f"no route to host 10.0.0.{number}")
    _fail(queue, "Traceback (most recent call last):\n  File x\nValueError: not an address")
    owner.open(f"queue/{queue.name}")
    owner.page.get_by_role("link", name="Errors", exact=True).click()
    groups = owner.page.get_by_role("listitem").filter(has=owner.button("Retry"))
    expect(groups).to_have_count(2)
    expect(groups.nth(0)).to_contain_text(re.compile(r"^no route to host.*3 jobs", re.DOTALL))
    expect(groups.nth(1)).to_contain_text(re.compile(r"^ValueError: not an address.*1 job", re.DOTALL))
    groups.nth(0).get_by_role("button", name="Retry").click()
    owner.dialog("Retry 3 jobs").get_by_role("button", name="Retry 3 jobs").click()
    expect(owner.page.get_by_role("dialog").get_by_role("status")).to_contain_text("3 jobs queued again.")
    owner.page.get_by_role("dialog").get_by_text("Close", exact=True).click()
    expect(groups).to_have_count(1)
    assert queue.stats().counts.failed == 1


def test_the_workers_page_shows_workers_that_hold_jobs(owner: Person, queue: Queue) -> None:
    queue.add_many([{}] * 4)
    queue.claim(3, worker="ann")
    queue.claim(worker="bob")
    owner.open(f"queue/{queue.name}")
    owner.page.get_by_role("link", name="Workers").click()
    for worker, jobs in (("ann", "3 jobs"), ("bob", "1 job")):
        expect(owner.row("Workers", worker).get_by_role("cell").first).to_have_text(f"Holds {jobs}")
    owner.page.get_by_role("link", name="ann").click()
    expect(owner.jobs()).to_have_count(3)


def test_the_workers_page_shows_workers_that_wait_for_jobs(owner: Person, queue: Queue) -> None:
    with ThreadPoolExecutor() as pool:
        claimed = pool.submit(queue.claim, wait=50, worker="ann", tags=["cpu", "fast"])
        owner.open(f"queue/{queue.name}/workers")
        row = owner.row("Workers", "ann")
        expect(row).to_contain_text("Waits for a job with the tags cpu and fast")
        expect(row.locator("time").first).to_have_attribute("title", re.compile(r"\d\d:\d\d:\d\d UTC"))
        queue.add({}, tags=["cpu", "fast"])
        assert len(claimed.result()) == 1
    expect(row).to_contain_text("Holds 1 job")


def _figures(person: Person, **others: Any) -> None:
    """Let the page of a queue get these stats instead of the server's."""

    def answer(route: Route) -> None:
        stats = route.fetch().json()
        route.fulfill(json={**stats, **others, "last_claim": int(time() - 13 * 60)})

    person.page.route("**/api/v1/queue/stats*", answer)


def test_jobs_without_a_worker_get_a_red_note(owner: Person, queue: Queue) -> None:
    queue.add_many([{}] * 3)
    note = owner.page.get_by_text("ready, no worker")
    owner.open(f"queue/{queue.name}")
    expect(owner.page.get_by_role("link", name="Queued 3")).to_be_visible()
    expect(note).to_have_count(0)  # the jobs have only just appeared
    _figures(owner, oldest_ready_seconds=900, ready=292)
    owner.page.reload()
    expect(note).to_have_text("292 ready, no worker for 13 min")
    owner.open("queues")
    expect(owner.row("Queues", queue.name)).to_contain_text("no worker for 13 min")
    _figures(owner, oldest_ready_seconds=900, ready=292, workers_waiting=1)
    owner.open(f"queue/{queue.name}")
    expect(owner.page.get_by_role("link", name="Queued 3")).to_be_visible()
    expect(note).to_have_count(0)


def test_retrying_jobs_appear_in_counts_list_and_errors(owner: Person, queue: Queue) -> None:
    _fail(queue, "no route")
    queue.add({})
    uid = queue.add({}, max_attempts=3, retry_delay_seconds=600, priority=1).uid
    queue.claim()
    queue.update(uid, new_status="failed", error="401 Unauthorized")
    owner.open(f"queue/{queue.name}")
    owner.page.get_by_role("link", name="Retrying 1").click()
    expect(_shown(owner)).to_have_text([uid[:8]])
    expect(owner.jobs()).to_contain_text(["401 Unauthorized"])
    expect(owner.jobs()).to_contain_text([re.compile(r"retry in \d+ min")])
    owner.page.get_by_role("link", name="Errors", exact=True).click()
    groups = owner.page.locator("ol.errors > li")
    expect(groups).to_have_count(2)
    expect(owner.page.get_by_text("1 failed, 1 retrying, grouped by error")).to_be_visible()
    owner.open("queues")
    expect(owner.row("Queues", queue.name).get_by_role("cell").nth(2)).to_have_text("1")


def test_cancelled_jobs_are_counted_separately_and_not_retried_with_failed_jobs(owner: Person, queue: Queue) -> None:
    (failed,) = _fail(queue, "no route")
    cancelled = queue.cancel(queue.add({}).uid).uid
    owner.open(f"queue/{queue.name}")
    expect(owner.page.get_by_role("link", name="Failed 1 1 cancelled")).to_be_visible()
    expect(owner.row("Jobs", cancelled[:8])).to_contain_text("Cancelled")
    for state, uid in (("Cancelled", cancelled), ("Failed", failed)):
        owner.field("State").select_option(state)
        expect(_shown(owner)).to_have_text([uid[:8]])
    owner.field("State").select_option("All states")
    expect(owner.jobs()).to_have_count(2)
    owner.field("Select this page").check()
    owner.press("Select all that match")
    owner.page.get_by_role("region", name="Selected jobs").get_by_role("button", name="Retry").click()
    owner.dialog("Retry 1 job").get_by_role("button", name="Retry 1 job").click()
    expect(owner.page.get_by_role("dialog").get_by_role("status")).to_contain_text("1 job queued again.")
    assert [queue.get(uid).state for uid in (failed, cancelled)] == ["queued", "failed"]
