"""What comes over the wire: from one place only, little, and only once."""

import re

from playwright.sync_api import expect

from jobengine.client import Queue

from .person import Person

#: Bytes of all files of the dashboard as they are sent.
MOST_BYTES = 100_000
#: Requests until the page of a queue stands, files and calls of the API in all.
MOST_REQUESTS = 60


def _files(person: Person) -> dict[str, int]:
    """How many bytes each file of the dashboard took with its head, and 0 for those that the browser had."""
    entries = person.page.evaluate(
        "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
        ".map(({ name, transferSize }) => [name, transferSize])"
    )
    return {name: size for name, size in entries if "/api/" not in name}


def test_the_dashboard_is_small_and_its_files_are_sent_once(person: Person, queue: Queue) -> None:
    queue.add_many([{}] * 50)
    person.look_at(queue.name)
    expect(person.jobs()).to_have_count(50)
    files = _files(person)
    assert len(files) > 20
    assert sum(files.values()) < MOST_BYTES
    assert len(person.watch.requests) < MOST_REQUESTS
    person.page.reload()
    expect(person.jobs()).to_have_count(50)
    again = {name: size for name, size in _files(person).items() if size}
    assert all(re.search(r"/(#.*)?$", name) and size < 1_000 for name, size in again.items()), again


def test_no_key_is_ever_in_an_address(person: Person, queue: Queue) -> None:
    secret = "a-secret-of-its-own"
    queue.keys.add("viewer", secret)
    person.look_at(queue.name, secret)
    person.page.get_by_role("link", name="Workers").click()
    expect(person.page.get_by_text("No worker holds a job now")).to_be_visible()
    assert person.watch.requests
    assert not [request.url for request in person.watch.requests if secret in request.url]
