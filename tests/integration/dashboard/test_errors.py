"""Errors of jobs: the line that names an error comes first, and the trace is folded below it."""

import re
from itertools import product

import pytest
from playwright.sync_api import Locator, expect

from jobengine.client import JobEngine, Queue
from tests.integration.shells import ADMIN_KEY

from .conftest import Arrive
from .person import Person

#: An error longer than the part that pages show at first.
_TRACE = "Traceback (most recent call last):\n" + "".join(
    f'  File "/srv/app/mailer.py", line {line}, in send_{line}\n    server.sendmail(sender, [recipient], text)\n'
    for line in range(30)
)
_EXCEPTION = "ConnectionRefusedError: [Errno 111] Connection refused"


def _fail(queue: Queue, error: str) -> str:
    uid = queue.add({}).uid
    queue.update(queue.claim()[0].uid, new_status="failed", error=error)
    return uid


def _retrying(queue: Queue, error: str, count: int = 1) -> list[str]:
    """Jobs whose first attempt has failed and whose retry is due in an hour, by their uids."""
    uids = [queue.add({}, priority=9, max_attempts=3, retry_delay_seconds=3600).uid for _ in range(count)]
    for job in queue.claim(count):
        queue.update(job.uid, new_status="failed", error=error)
    return uids


_FOLDS = {"/errors": "Whole text of the latest", "/job/{uid}": "Traceback: mailer.py, line 29, in send_29"}


def _shows_the_exception_and_folds_the_trace(view: Locator, fold: str) -> None:
    expect(view.get_by_role("strong")).to_have_text(_EXCEPTION)
    expect(view.get_by_role("strong")).to_be_in_viewport()
    trace = view.get_by_text("Traceback (most recent call last)")
    expect(trace).to_be_hidden()
    view.get_by_text(fold).click()
    expect(trace).to_be_visible()
    expect(trace).to_contain_text("in send_0")
    expect(trace).to_contain_text(_EXCEPTION)


@pytest.mark.parametrize("part", _FOLDS)
def test_an_error_group_shows_the_exception_first_and_folds_the_trace(person: Person, queue: Queue, part: str) -> None:
    uid = _fail(queue, _TRACE + _EXCEPTION)
    person.look_at(queue.name)
    person.open(f"queue/{queue.name}" + part.format(uid=uid))
    _shows_the_exception_and_folds_the_trace(person.page.locator("je-error").first, _FOLDS[part])


def test_an_opened_trace_stays_open_while_its_group_grows(person: Person, queue: Queue) -> None:
    _fail(queue, _TRACE + _EXCEPTION)
    person.look_at(queue.name)
    person.open(f"queue/{queue.name}/errors")
    _shows_the_exception_and_folds_the_trace(person.page.locator("je-error"), _FOLDS["/errors"])
    _fail(queue, _TRACE + _EXCEPTION)
    expect(person.page.get_by_role("listitem").filter(has_text="2 jobs")).to_be_visible()
    expect(person.page.get_by_text("Traceback (most recent call last)")).to_be_visible()


def test_an_error_group_shows_its_number_of_jobs_its_first_and_last_time_and_a_chart_of_the_last_hour(
    person: Person, queue: Queue
) -> None:
    for number in range(3):
        _fail(queue, f"no route to host 192.0.2.{number}")
    _fail(queue, "401 Unauthorized")
    person.look_at(queue.name, part="/errors")
    expect(person.page.get_by_text("4 failed, grouped by error")).to_be_visible()
    groups = person.page.locator("ol.errors > li")
    expect(groups).to_have_count(2)
    expect(groups.nth(0)).to_contain_text("no route to host")
    expect(groups.nth(0)).to_contain_text("3 jobs")
    chart = groups.nth(0).get_by_role("img", name=re.compile("In the last hour 3 failed, at most [23] in a minute"))
    expect(chart).to_be_visible()
    expect(groups.nth(0)).to_contain_text(re.compile(r"first (now|\d+ s ago)last (now|\d+ s ago)"))
    groups.nth(0).get_by_role("link", name="Show these jobs").click()
    expect(person.jobs()).to_have_count(3)
    expect(person.field("Fingerprint")).to_have_value(re.compile("^[0-9a-f]{16}$"))


def test_an_error_group_is_retried_at_a_pace(person: Person, queue: Queue) -> None:
    for _ in range(3):
        _fail(queue, "no route to host")
    person.look_at(queue.name, part="/errors")
    person.press("Retry")
    dialog = person.dialog("Retry 3 jobs")
    expect(dialog).to_contain_text("3 jobs will be queued again")
    dialog.get_by_label("Jobs per second").fill("0.01")
    dialog.get_by_role("button", name="Retry 3 jobs").click()
    expect(person.page.get_by_role("dialog").get_by_role("status")).to_contain_text("3 jobs queued again.")
    waits = sorted(job.not_before - job.last_updated for job in queue.jobs(state="queued") if job.not_before)
    assert [round(wait.total_seconds(), -1) for wait in waits] == [100, 200]


def test_the_retry_of_an_error_group_includes_jobs_that_wait_for_their_retry(person: Person, queue: Queue) -> None:
    waiting = _retrying(queue, "no route to host", 3)
    person.look_at(queue.name, part="/errors")
    person.press("Retry")
    dialog = person.dialog("Retry 3 jobs")
    early = "3 jobs will not wait for their retry any longer; the attempts made still count."
    expect(dialog.get_by_text(early, exact=True)).to_be_visible()
    dialog.get_by_role("button", name="Keep as it is").click()
    _fail(queue, "no route to host")
    person.press("Retry")
    expect(person.dialog("Retry 4 jobs")).to_contain_text(
        "1 job will be queued again, as if never tried. 3 jobs will not"
    )
    person.dialog("Retry 4 jobs").get_by_role("button", name="Retry 4 jobs").click()
    expect(person.page.get_by_role("dialog").get_by_role("status")).to_contain_text("4 jobs queued again.")
    assert queue.stats().ready == 4
    assert [queue.get(uid).attempts for uid in waiting] == [1, 1, 1]


def test_retrying_jobs_are_made_ready_at_a_pace(person: Person, queue: Queue) -> None:
    _retrying(queue, "no route to host", 3)
    person.look_at(queue.name, part="/errors")
    person.press("Retry")
    person.dialog("Retry 3 jobs").get_by_label("Jobs per second").fill("0.01")
    person.dialog("Retry 3 jobs").get_by_role("button", name="Retry 3 jobs").click()
    expect(person.page.get_by_role("dialog").get_by_role("status")).to_contain_text("3 jobs queued again.")
    waits = sorted(job.not_before - job.last_updated for job in queue.jobs(state="queued") if job.not_before)
    assert [round(wait.total_seconds(), -1) for wait in waits] == [100, 200]


def test_an_error_group_moves_to_another_queue_after_a_dry_run(person: Person, engine: JobEngine, queue: Queue) -> None:
    other = engine.queue(f"{queue.name} repaired")
    other.create()
    uids = {_fail(queue, "no route to host") for _ in range(2)}
    taken = _fail(queue, "no route to host")
    other.add({}, uid=taken)
    _fail(queue, "401 Unauthorized")
    person.look_at(queue.name, part="/errors")
    group = person.page.locator("ol.errors > li").first
    group.get_by_role("button", name="More actions for this error").click()
    group.get_by_role("button", name="Move to another queue").click()
    dialog = person.dialog("Move jobs of")
    expect(dialog.get_by_role("status")).to_have_text(f"3 jobs of “{queue.name}” match.")
    dialog.get_by_label("To queue").fill(other.name)
    dialog.get_by_role("button", name="Dry run").click()
    left = "Not moved: 1 job: the other queue has a job with the same uid."
    expect(dialog.get_by_role("status")).to_have_text(f"2 jobs would be moved. {left}")
    assert other.stats().size == 1
    dialog.get_by_role("button", name="Move", exact=True).click()
    expect(dialog.get_by_role("status")).to_contain_text(f"2 jobs moved. {left}")
    assert {job.uid for job in other.jobs()} == uids | {taken}
    dialog.get_by_role("link", name="Show the queue").click()
    expect(dialog).to_be_hidden()


def test_more_error_groups_are_on_the_next_page_and_jobs_of_unlisted_groups_are_counted(
    person: Person, queue: Queue
) -> None:
    for one, other in list(product("abcdefgh", repeat=2))[:51]:
        queue.update(queue.add({}).uid, new_status="failed", error=f"no route to {one}{other}x")
    pattern = "**/api/v1/failures*"
    person.page.route(pattern, lambda route: route.fulfill(json={**route.fetch().json(), "dropped": 12}))
    person.look_at(queue.name, part="/errors")
    expect(person.page.get_by_text("Errors 1 to 50")).to_be_visible()
    expect(person.page.get_by_text("12 jobs with other errors are left out")).to_be_visible()
    person.press("Next page")
    expect(person.page.get_by_text("Errors 51 to 51")).to_be_visible()
    expect(person.page.locator("ol.errors > li")).to_have_count(1)
    person.press("Previous page")
    expect(person.page.locator("ol.errors > li")).to_have_count(50)


def test_the_errors_of_all_queues_are_grouped_and_retried_on_one_page(
    arrive: Arrive, engine: JobEngine, queue: Queue
) -> None:
    other = engine.queue(f"{queue.name} too")
    other.create()
    error = "no line to the depot"
    for failing in (queue, queue, other):
        _fail(failing, error)
    person = arrive()
    person.open()
    person.sign_in_as_admin(ADMIN_KEY)
    person.page.get_by_role("link", name="All errors").click()
    person.sees("Errors of all queues")
    group = person.page.get_by_role("listitem").filter(has_text=error)
    expect(group).to_contain_text("3 jobs")
    expect(group.get_by_role("link", name=f"{other.name}: 1 job")).to_be_visible()
    group.get_by_role("link", name=f"{queue.name}: 2 jobs").click()
    person.sees(queue.name)
    expect(person.jobs()).to_have_count(2)
    person.page.go_back()
    group.get_by_role("button", name="Retry").click()
    person.dialog("Retry 3 jobs").get_by_role("button", name="Retry 3 jobs").click()
    expect(person.page.get_by_role("dialog").get_by_role("status")).to_contain_text("3 jobs queued again.")
    person.page.get_by_role("dialog").get_by_text("Close", exact=True).click()
    expect(group).to_have_count(0)
    assert other.stats().counts.queued == 1


def test_a_retry_on_the_page_of_all_errors_says_that_jobs_stay_in_a_dead_letter_queue(
    arrive: Arrive, engine: JobEngine, queue: Queue
) -> None:
    dead = engine.queue(f"{queue.name} dead")
    dead.create()
    queue.configure(dead_letter=dead.name)
    _fail(queue, "no road to the depot")
    queue.configure(dead_letter=None)
    _fail(queue, "no ferry either")
    queue.configure(dead_letter=dead.name)
    person = arrive()
    person.open()
    person.sign_in_as_admin(ADMIN_KEY)
    person.page.get_by_role("link", name="All errors").click()
    for error, count in (("no road to the depot", 1), ("no ferry either", 0)):
        group = person.page.get_by_role("listitem").filter(has_text=error)
        group.get_by_role("button", name="Retry").click()
        stays = person.dialog("Retry 1 job").get_by_text(
            f"stay there: to move them back, open the errors of “{dead.name}”."
        )
        expect(stays).to_have_count(count)
        person.dialog("Retry 1 job").get_by_role("button", name="Keep as it is").click()


def test_the_delete_button_of_an_error_group_is_not_beside_retry(person: Person, queue: Queue) -> None:
    _fail(queue, "no route")
    person.look_at(queue.name, part="/errors")
    expect(person.button("Retry")).to_be_visible()
    expect(person.button("Delete")).to_be_hidden()
    person.choose("More actions for this error", "Delete")
    expect(person.dialog("Delete 1 job")).to_be_visible()


_DURING = "During handling of the above exception, another exception occurred:"
_LINES = """async (errors) => {
    const { errorLine } = await import(new URL('format.js', document.querySelector('script[src$="app.js"]').src));
    return errors.map(errorLine);
}"""
#: Errors, and the line that names each.
_ERRORS = {
    "no route to host": "no route to host",
    "java.io.IOException: refused\n\tat a.B.c(B.java:1)": "java.io.IOException: refused",
    f"{_TRACE}ValueError: not\n  an address\nnor a name": "ValueError: not",
    _TRACE[400:] + _EXCEPTION: _EXCEPTION,
    f"{_TRACE}KeyError: 1\n\n{_DURING}\n\n{_TRACE}OSError: 2": "OSError: 2",
    '  + Exception Group Traceback (most recent call last):\n  |   File "a.py", line 1, in <module>\n'
    "  | ExceptionGroup: both (2 sub-exceptions)\n  +-+---------------- 1 ----------------\n"
    "    | ValueError: 1\n    +------------------------------------": "ExceptionGroup: both (2 sub-exceptions)",
    '  File "a.py", line 1\n    x = = 1\n        ^\nSyntaxError: invalid syntax': "SyntaxError: invalid syntax",
    _TRACE: "server.sendmail(sender, [recipient], text)",
    "": "",
}


def test_the_line_that_names_an_error_is_found_in_texts_of_many_kinds(person: Person) -> None:
    person.open()
    person.sees("Sign in")
    lines = person.page.evaluate(_LINES, list(_ERRORS))
    assert lines == list(_ERRORS.values())
