"""Signing in: the key decides what is shown, and is forgotten again."""

import re

import pytest
from playwright.sync_api import expect

from jobengine.client import JobEngine, Queue
from tests.integration.shells import ADMIN_KEY

from .conftest import Arrive
from .person import Person

#: For each role, what the page of a queue shows, and what it does not.
SHOWN = {
    "owner": ({"Add job", "Pause", "More actions"}, set[str]()),
    "viewer": (set[str](), {"Add job", "Pause", "More actions"}),
    "producer": ({"Add job", "Show job"}, {"Pause", "More actions"}),
    "worker": ({"Refresh"}, {"Add job", "Pause", "More actions"}),
}


@pytest.mark.parametrize("role", SHOWN)
def test_a_queue_page_shows_only_actions_that_the_key_allows(person: Person, queue: Queue, role: str) -> None:
    key = "key" if role == "owner" else f"{role}'s"
    if role != "owner":
        queue.keys.add(role, key)
    person.open()
    person.sign_in(queue.name, key)
    person.sees(queue.name)
    there, missing = SHOWN[role]
    for name in there:
        expect(person.button(name)).to_be_visible()
    for name in missing:
        expect(person.button(name)).to_have_count(0)
    expect(person.page.get_by_role("link", name="Server")).to_have_count(0)


def test_a_tab_can_be_signed_in_to_several_queues(person: Person, engine: JobEngine, queue: Queue) -> None:
    other = engine.queue(f"{queue.name} of others")
    other.create(access_key="another key")
    person.open()
    person.sign_in(queue.name)
    person.sees(queue.name)
    expect(person.page.get_by_role("link", name="Sign in to another queue")).to_be_visible()
    person.page.set_viewport_size({"width": 375, "height": 800})
    person.page.get_by_role("link", name="Switch queue").click()
    person.sees("Sign in to another queue")
    person.sign_in(other.name, "another key")
    person.sees(other.name)
    person.page.get_by_role("link", name="Queues", exact=True).first.click()
    expect(person.table("Queues").locator("tbody").get_by_role("row")).to_have_count(2)
    for name in (queue.name, other.name):
        person.open(f"queue/{name}")
        person.sees(name)
        expect(person.button("Add job")).to_be_visible()


def test_a_key_is_kept_only_in_its_tab_and_only_until_the_user_signs_out(person: Person, queue: Queue) -> None:
    person.list_queues(queue.name)
    person.page.reload()
    expect(person.row("Queues", queue.name)).to_be_visible()
    other_tab = person.page.context.new_page()
    other_tab.goto(f"{person.url}/")
    expect(other_tab.get_by_role("heading", level=1)).to_have_text("Sign in")
    person.press("Sign out")
    person.sees("Sign in")
    assert "key" not in str(person.stored())
    person.page.reload()
    person.sees("Sign in")
    assert person.page.context.cookies() == []


_SIGN_OUT_AND_TYPE = """(key) => {
    [...document.querySelectorAll('button')].find((each) => each.textContent === 'Sign out').click();
    document.querySelector('[aria-labelledby=of-all] input').value = key;
}"""


def test_a_key_typed_immediately_after_signing_out_is_used(person: Person, queue: Queue) -> None:
    person.look_at(queue.name)
    person.page.evaluate(_SIGN_OUT_AND_TYPE, ADMIN_KEY)
    person.press("Sign in as admin")
    person.sees("Queues")


def test_the_sign_in_form_shows_errors_about_a_wrong_key_or_queue_name(person: Person, queue: Queue) -> None:
    person.open()
    for name, key, told in (
        (queue.name, "wrong", "access key"),
        ("no such queue", "key", "no such queue"),
        (queue.name, "", "Access key"),
    ):
        person.sign_in(name, key)
        alert = person.page.get_by_role("region", name="One queue").get_by_role("alert")
        expect(alert).to_contain_text(told)
        expect(person.field("Queue")).to_have_value(name)
    person.sign_in_as_admin("wrong")
    expect(person.page.get_by_role("region", name="All queues").get_by_role("alert")).to_contain_text("admin key")


_IN_WORDS = """async (errors) => {
    const { inWordsOf } = await import(new URL('words.js', document.querySelector('script[src$="app.js"]').src));
    return errors.map(([status, detail]) => inWordsOf(status, detail));
}"""
#: Statuses and errors of the server, and the texts that the dashboard shows for them.
_WORDS = {
    (404, "There is no queue named 'PUT /api my_queue'; create it with PUT /api/v1/queue."): (
        "There is no queue named 'PUT /api my_queue'."
    ),
    (401, "The access key does not open the queue 'mail'; send one that does in X-Access-Key."): (
        "The access key does not open the queue 'mail'."
    ),
    (401, "The admin key is wrong; send the server's in X-Admin-Key."): "The admin key is wrong.",
    (400, "job.max_attempts must be at least 1, not 0."): "“Attempts” must be at least 1, not 0.",
    (400, "new_access_key must not contain `$.access_key`."): (
        "The server can’t use this input: check “New key”."  # noqa: RUF001  # as it is on the page
    ),
    (409, "The queue takes no more than 100 jobs; try again when some have been removed."): (
        "The queue takes no more than 100 jobs; try again when some have been removed."
    ),
    (418, "Send it with GET /brew."): "The server refused this.",
}


def test_errors_of_the_server_are_shown_without_api_terms(person: Person) -> None:
    person.open()
    person.sees("Sign in")
    told = person.page.evaluate(_IN_WORDS, [list(error) for error in _WORDS])
    assert told == list(_WORDS.values())
    person.sign_in("no such queue")
    alert = person.page.get_by_role("alert")
    expect(alert).to_have_text("There is no queue named 'no such queue'.")


def test_a_shared_link_to_a_job_opens_after_the_key_is_entered(person: Person, arrive: Arrive, queue: Queue) -> None:
    uid = queue.add({"to": "alice"}).uid
    person.look_at(queue.name)
    person.page.get_by_role("link", name=uid[:8]).click()
    person.sees(f"Job {uid[:8]}")
    address = person.page.url
    assert "key" not in address
    other = arrive()
    other.page.goto(address)
    expect(other.page.get_by_text(re.compile("Its key is not in the address"))).to_be_visible()
    other.field("Access key").fill("key")
    other.press("Sign in")
    other.sees(f"Job {uid[:8]}")


def test_the_dashboard_requests_a_new_key_after_a_revocation(person: Person, queue: Queue) -> None:
    key = queue.keys.add("viewer", "viewer's")
    person.look_at(queue.name, "viewer's")
    queue.keys.revoke(key.id)
    person.page.reload()
    person.press("Sign in again")
    person.sees("Sign in")
    person.field("Access key").fill("key")
    person.press("Sign in")
    expect(person.button("Add job")).to_be_visible()
