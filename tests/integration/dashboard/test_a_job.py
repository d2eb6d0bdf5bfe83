"""One job: its JSON, its attempts, why it is where it is, and what can be done with it."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import expect

from jobengine.client import JobEngine, JobNotFound, Queue, UniqueOptions
from tests.integration.daemons import Daemon, until

from .conftest import Arrive
from .dead_letters import set_dead_letter
from .person import Person

#: Makes the text of a time in Unix seconds.
_TIME = """async (seconds) => {
    const { exact } = await import(new URL('format.js', document.querySelector('script[src$="app.js"]').src));
    return exact(seconds);
}"""


def _look_at(person: Person, queue: Queue, uid: str) -> None:
    """Go to a job's page by its address, and sign in there."""
    person.open(f"queue/{queue.name}/job/{uid}")
    person.field("Access key").fill("key")
    person.press("Sign in")
    person.sees(f"Job {uid[:8]}")


def test_the_page_of_a_job_folds_json_and_copies_json_or_link_to_the_clipboard_unchanged(
    arrive: Arrive, queue: Queue
) -> None:
    person = arrive(permissions=["clipboard-read", "clipboard-write"])
    content = {"to": ["alice", "bob"], "exact": 1234567890123456789, "deep": {"er": {"est": {"still": 1}}}}
    uid = queue.add(content, meta={"from": "shop"}).uid
    queue.update(queue.claim()[0].uid, new_status="complete", result={"sent": 1.50})
    _look_at(person, queue, uid)
    for heading, text in (("Content", "alice"), ("Result", "sent"), ("Meta", "shop")):
        part = person.page.locator("je-json").filter(has=person.page.get_by_role("heading", name=heading))
        expect(part.get_by_text(text)).to_be_visible()
    expect(person.page.get_by_text("1234567890123456789")).to_be_visible()
    part = person.page.locator("je-json").first
    expect(part.get_by_text("still")).to_be_hidden()
    part.get_by_role("button", name="Open all").click()
    expect(part.get_by_text("still")).to_be_visible()
    part.get_by_role("button", name="Close all").click()
    expect(part.get_by_text("alice")).to_be_hidden()
    person.press("Copy content")
    person.is_told("Copied.")
    copied = person.page.evaluate("navigator.clipboard.readText()")
    assert "1234567890123456789" in copied
    person.press("Copy link")
    person.page.wait_for_function("async (link) => await navigator.clipboard.readText() === link", arg=person.page.url)
    assert "key" not in person.page.url


def test_the_page_of_a_job_shows_each_attempt_with_worker_time_and_error(person: Person, queue: Queue) -> None:
    uid = queue.add({}, max_attempts=3, retry_delay_seconds=0).uid
    for worker, error in (("ann", "no route to host"), ("bob", "mailbox is full")):
        queue.claim(worker=worker)
        queue.update(uid, new_status="failed", error=error)
    queue.claim(worker="cleo")
    _look_at(person, queue, uid)
    attempts = person.page.get_by_role("region", name="Attempts").get_by_role("listitem")
    for at, texts in enumerate([["In progress", "cleo"], ["bob", "mailbox is full"], ["ann", "no route to host"]]):
        for text in texts:
            expect(attempts.nth(at)).to_contain_text(text)
    expect(attempts.nth(1).locator("time")).to_have_attribute("title", re.compile(r"\d\d:\d\d:\d\d UTC"))
    expect(attempts.nth(3)).to_contain_text("Added")


def test_consecutive_releases_of_a_job_are_shown_as_one_entry(person: Person, queue: Queue) -> None:
    uid = queue.add({}).uid
    for _ in range(3):
        queue.claim(worker="ann")
        queue.update(uid, new_status="queued")
    _look_at(person, queue, uid)
    attempts = person.page.get_by_role("region", name="Attempts").get_by_role("listitem")
    expect(attempts).to_contain_text(["Released 3 times", "Added"])


def test_the_page_of_a_job_shows_why_the_job_does_not_run(person: Person, queue: Queue) -> None:
    queue.add({}, priority=9)
    uid = queue.add({}).uid
    _look_at(person, queue, uid)
    expect(person.page.get_by_text("1 job is before it")).to_be_visible()
    queue.pause()
    person.page.reload()
    expect(person.page.get_by_text("The queue is paused.")).to_be_visible()
    queue.resume()
    queue.claim(2, worker="ann")
    expect(person.page.get_by_text("held by 'ann'")).to_be_visible()
    queue.update(uid, new_status="failed", error="no route to host")
    expect(person.page.get_by_role("heading", name="Error", exact=True)).to_be_visible()
    expect(person.page.get_by_text("no route to host").first).to_be_visible()


def test_the_page_of_a_failed_job_counts_and_links_jobs_that_failed_with_the_same_error(
    person: Person, queue: Queue
) -> None:
    for number in range(3):
        uid = queue.add({}).uid
        queue.update(uid, new_status="failed", error=f"no route to host 192.0.2.{number}")
    since = min(job.last_updated for job in queue.jobs())
    _look_at(person, queue, uid)
    when = person.page.evaluate(_TIME, int(since.timestamp()))
    alike = f"Failed, no attempts left. It failed like 2 others since {when}. Retry starts it again"
    expect(person.page.get_by_text(alike)).to_be_visible()
    person.page.get_by_role("region", name="Facts").get_by_role("link", name=re.compile("^[0-9a-f]{16}$")).click()
    person.sees(queue.name)
    expect(person.jobs()).to_have_count(3)


@pytest.mark.parametrize("by_key", [False, True])
def test_a_job_that_waits_for_its_retry_is_retried_now(person: Person, queue: Queue, by_key: bool) -> None:
    uid = queue.add({}, max_attempts=3, retry_delay_seconds=3600).uid
    queue.update(queue.claim()[0].uid, new_status="failed", error="no route to host")
    _look_at(person, queue, uid)
    expect(person.page.get_by_text("Retry due")).to_be_visible()
    expect(person.button("Retry now")).to_be_enabled()
    if by_key:
        person.page.keyboard.press("r")
    else:
        person.press("Retry now")
    person.is_told("The job does not wait for its retry any longer.")
    expect(person.button("Retry now")).to_be_hidden()
    job = queue.get(uid)
    assert (job.state, job.attempts, job.not_before) == ("queued", 1, None)


def test_a_delayed_job_that_never_failed_has_no_retry(person: Person, queue: Queue) -> None:
    uid = queue.add({}, delay_seconds=3600).uid
    _look_at(person, queue, uid)
    expect(person.button("Cancel")).to_be_visible()
    expect(person.page.get_by_role("button", name=re.compile("^Retry"))).to_have_count(0)


def test_the_page_of_a_job_shows_its_former_queue_or_why_the_job_was_not_moved(
    person: Person, engine: JobEngine, queue: Queue, live: Daemon
) -> None:
    dead = engine.queue(f"{queue.name} dead")
    dead.create()
    with live.client() as client:
        set_dead_letter(client, queue.name, dead.name)
    moved, kept = (queue.add({}).uid for _ in range(2))
    queue.update(moved, new_status="failed", error="no route")
    until("the job was moved", lambda: dead.stats().size == 1)
    _look_at(person, dead, moved)
    origin = person.page.get_by_text("Moved here from the queue")
    expect(origin).to_contain_text(re.compile(f"‘{queue.name}’.*(now|ago)"))  # noqa: RUF001  # as it is on the page
    expect(person.page.get_by_text("It came from")).to_have_count(0)
    dead.drain()
    queue.update(kept, new_status="failed", error="no route")
    _look_at(person, queue, kept)
    why = f"It was not moved into the dead-letter queue: the queue '{dead.name}' is draining."
    expect(person.page.get_by_text(why)).to_be_visible()


def test_the_page_of_a_job_says_what_its_unique_key_means(person: Person, queue: Queue) -> None:
    rule: UniqueOptions = {"key": "report", "seconds": 3600, "if_queued": "replace", "if_running": "add"}
    uid = queue.add({}, unique=rule, debounce={"seconds": 5, "at_most_seconds": 60}).uid
    _look_at(person, queue, uid)
    facts = person.page.get_by_role("region", name="Facts")
    words = "held for 1 h after the finish, an add replaces the queued job, an add while it runs is a job of its own"
    for text in ("report", words, "5 s after the latest add, at most 1 min after the first"):
        expect(facts.get_by_text(text, exact=True)).to_be_visible()
    expect(person.page.get_by_text("Each add with its unique key delays it by 5 seconds")).to_be_visible()
    queue.update(uid, new_status="complete")
    expect(facts).to_contain_text("Holds its key until")
    expect(person.page.get_by_text(re.compile("It holds its unique key until .*UTC"))).to_be_visible()


def test_the_page_of_a_job_shows_attempt_progress_and_retry_time_as_text(person: Person, queue: Queue) -> None:
    uid = queue.add({}, max_attempts=3, retry_delay_seconds=600).uid
    queue.claim(worker="ann")
    queue.update(uid, progress=40)
    _look_at(person, queue, uid)
    main = person.page.get_by_role("main")
    expect(main).to_contain_text("attempt 1 of 3")
    expect(main).to_contain_text("40 %")
    expect(main).to_contain_text(re.compile(r"Started .*Running for \d"))
    queue.update(uid, new_status="failed", error="no route")
    expect(main).to_contain_text(re.compile(r"Retry due in \d+ min"))
    queue.update(uid, new_status="failed")
    queue.update(uid, new_status="queued", delay_seconds=600)  # it starts over, with no attempt counted
    expect(main).to_contain_text(re.compile(r"Ready in \d+ min"))
    queue.configure(held_until=datetime.now(UTC) + timedelta(hours=1))
    expect(main).to_contain_text(re.compile(r"Delay ends in \d+ min"))
    expect(main).to_contain_text("The queue is held until")
    queue.configure(held_until=None)
    expect(main).to_contain_text(re.compile(r"Ready in \d+ min"))
    queue.update(uid, new_status="complete")
    expect(main).to_contain_text(re.compile(r"Started .*Ended .*Ran for (less than|\d)"))
    expect(main).to_contain_text(re.compile(r"Kept until \w{3}, .* \d\d:\d\d:\d\d UTC"))


@pytest.mark.parametrize(
    ("zone", "shown"),
    [
        ("UTC", "Sat, 28 Feb 2026, 23:30:00 UTC"),
        ("Europe/Berlin", "Sun, 1 Mar 2026, 00:30:00 CET (Sat, 28 Feb 2026, 23:30:00 UTC)"),
        ("Africa/Lagos", "Sun, 1 Mar 2026, 00:30:00 GMT+1 (Sat, 28 Feb 2026, 23:30:00 UTC)"),
        ("America/New_York", "Sat, 28 Feb 2026, 18:30:00 GMT-5 (23:30:00 UTC)"),
    ],
)
def test_hovering_over_a_time_shows_the_exact_time_and_utc(arrive: Arrive, zone: str, shown: str) -> None:
    person = arrive(timezone_id=zone)
    person.open()
    person.sees("Sign in")
    assert person.page.evaluate(_TIME, 1772321400) == shown


def test_priority_and_content_of_a_job_can_be_edited(person: Person, queue: Queue) -> None:
    uid = queue.add({"to": "alice"}).uid
    _look_at(person, queue, uid)
    person.choose("More actions", "Change priority")
    person.dialog("Change priority").get_by_label("Priority").fill("7")
    person.confirm("Change priority", "Change priority")
    person.choose("More actions", "Edit content")
    content = person.dialog("Edit content").get_by_label("Content", exact=True)
    content.fill('{"to": "bob", "exact": 12345678901234567}')
    person.confirm("Edit content", "Save")
    expect(person.page.get_by_text('"bob"')).to_be_visible()
    assert (queue.get(uid).priority, queue.get(uid).content) == (7, {"to": "bob", "exact": 12345678901234567})


def test_a_cancelled_job_that_was_queued_again_has_no_error_in_the_list(person: Person, queue: Queue) -> None:
    cancelled, failed = queue.add({}).uid, queue.add({}).uid
    queue.cancel(cancelled)
    queue.update(failed, new_status="failed", error="no route")
    for uid in cancelled, failed:
        queue.update(uid, new_status="queued")
    _look_at(person, queue, failed)
    person.open(f"queue/{queue.name}")
    expect(person.row("Jobs", failed[:8]).get_by_text("no route")).to_be_visible()
    expect(person.row("Jobs", cancelled[:8])).not_to_contain_text("cancelled")


def test_a_job_is_cancelled_and_retried_on_its_page(person: Person, queue: Queue) -> None:
    uid = queue.add({}).uid
    _look_at(person, queue, uid)
    person.press("Cancel")
    person.confirm("Cancel the job", "Cancel the job")
    expect(person.button("Retry")).to_be_visible()
    assert (queue.get(uid).state, queue.get(uid).error) == ("failed", "cancelled")
    person.press("Retry")
    person.is_told("The job is queued again.")
    assert queue.get(uid).state == "queued"
    expect(person.page.get_by_text("It can be claimed. It is the next.")).to_be_visible()
    for words in ("Last error", "Fingerprint"):
        expect(person.page.get_by_text(words)).to_be_hidden()
    person.page.mouse.move(0, 0)  # buttons do not change while the pointer is at a button
    queue.claim(worker="ann")
    expect(person.button("Release")).to_be_visible()
    person.press("Cancel")
    person.confirm("Cancel the job", "Cancel the job")
    expect(person.page.get_by_text("the worker is asked to stop")).to_be_visible()
    assert queue.get(uid).cancel_requested


def test_a_job_is_released_from_its_worker_on_its_page(person: Person, queue: Queue) -> None:
    uid = queue.add({}).uid
    queue.claim(worker="ann")
    _look_at(person, queue, uid)
    person.press("Release")
    person.confirm("Release the job", "Release")
    expect(person.button("Release")).to_be_hidden()
    assert queue.get(uid).state == "queued"


def test_deleting_a_job_leads_back_to_its_queue(person: Person, queue: Queue) -> None:
    uid = queue.add({}).uid
    _look_at(person, queue, uid)
    person.choose("More actions", "Delete")
    person.confirm("Delete the job", "Delete")
    person.sees(queue.name)
    with pytest.raises(JobNotFound):
        queue.get(uid)


def test_the_page_of_a_removed_job_keeps_showing_its_last_state(person: Person, queue: Queue) -> None:
    uid = queue.add({"to": "alice"}).uid
    _look_at(person, queue, uid)
    expect(person.page.get_by_text('"alice"')).to_be_visible()
    queue.delete(uid)
    expect(person.page.get_by_role("alert")).to_contain_text("This job was moved or removed.")
    expect(person.page.locator(".reason")).to_be_hidden()
    expect(person.page.get_by_text('"alice"')).to_be_visible()
    expect(person.button("Cancel")).to_be_hidden()


def test_the_error_for_a_missing_job_is_shown_on_the_page_of_the_job(person: Person, queue: Queue) -> None:
    person.open(f"queue/{queue.name}/job/0b8c9e1c-4c1e-4a35-9d5c-5a6f0f0f8a11")
    person.field("Access key").fill("key")
    person.press("Sign in")
    expect(person.page.get_by_role("main").get_by_role("alert")).to_contain_text("0b8c9e1c-4c1e-4a35-9d5c-5a6f0f0f8a11")


@pytest.mark.parametrize("role", ["producer", "worker"])
def test_the_page_of_a_queue_works_with_a_producer_or_worker_key(person: Person, queue: Queue, role: str) -> None:
    key = f"{role}'s"
    queue.keys.add(role, key)
    uid = queue.add({"first": 1}).uid
    person.look_at(queue.name, key)
    if role == "worker":
        expect(person.page.get_by_text(uid)).to_be_visible()
        return
    person.field("Job").fill(uid)
    person.press("Show job")
    # A producer reads only jobs that it added.
    expect(person.page.get_by_role("main").get_by_role("alert")).to_be_visible()
