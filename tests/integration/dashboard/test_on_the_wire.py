"""The traffic of the dashboard: from one origin, few bytes, and each file once."""

import re
from pathlib import Path
from time import monotonic

from playwright.sync_api import expect

from jobengine.client import Queue
from tests.integration.daemons import Daemon, until

from .person import Person

#: The most bytes of all files of the dashboard, as they are sent.
MOST_BYTES = 150_000
#: The most requests until the page of a queue is complete: files and API calls together.
MOST_REQUESTS = 65
#: The most bytes of JSON for a page of 50 small jobs, and the most elements in its document.
MOST_JSON, MOST_ELEMENTS = 20_000, 1_500
#: Records the calls of the API.
_NOTE_CALLS = """
    window.calls = [];
    const send = window.fetch;
    window.fetch = (path, ...rest) => { calls.push(path.split('?')[0]); return send(path, ...rest); };
"""
#: The bytes of the first page of jobs, once the browser has noted them.
_SIZE_OF_JOBS = """
    performance.getEntriesByType('resource').find(({ name }) => name.includes('/api/v1/jobs?'))?.decodedBodySize
"""


def _files(person: Person) -> dict[str, int]:
    """The bytes of each file of the dashboard with its headers; 0 for files in the browser's cache."""
    entries = person.page.evaluate(
        "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
        ".map(({ name, transferSize }) => [name, transferSize])"
    )
    return {name: size for name, size in entries if "/api/" not in name}


def test_the_dashboard_is_small_and_a_browser_loads_its_files_once(person: Person, queue: Queue) -> None:
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


def test_the_dashboard_sends_no_key_in_a_url(person: Person, queue: Queue) -> None:
    secret = "a-secret-of-its-own"
    queue.keys.add("viewer", secret)
    person.look_at(queue.name, secret)
    person.page.get_by_role("link", name="Workers").click()
    expect(person.page.get_by_text("No worker holds a job")).to_be_visible()
    assert person.watch.requests
    assert not [request.url for request in person.watch.requests if secret in request.url]


def test_the_page_of_a_long_queue_makes_four_calls_and_loads_one_page_of_jobs(person: Person, queue: Queue) -> None:
    for _ in range(3):
        queue.add_many([{"to": "alice"}] * 10_000)
    person.page.add_init_script(_NOTE_CALLS)
    person.look_at(queue.name)
    # Nothing of the first visit may still be under way.
    expect(person.jobs()).to_have_count(50)
    person.page.reload()
    expect(person.jobs()).to_have_count(50)
    # On a slow machine the page may have read again already.
    until("it looks for batches", lambda: person.page.evaluate("calls.length") >= 4)
    calls = person.page.evaluate("calls.slice(0, 4)")
    assert sorted(calls) == ["api/v1/batches", "api/v1/events", "api/v1/jobs", "api/v1/queue/stats"]
    assert until("the jobs are read", lambda: person.page.evaluate(_SIZE_OF_JOBS)) < MOST_JSON
    assert person.page.evaluate("document.getElementsByTagName('*').length") < MOST_ELEMENTS


def test_a_busy_queue_is_read_at_most_once_a_second(person: Person, queue: Queue) -> None:
    person.page.add_init_script(_NOTE_CALLS)
    person.look_at(queue.name)
    expect(person.page.get_by_text("There is no job here")).to_be_visible()
    began = monotonic()
    before = person.page.evaluate("calls.length")
    for number in range(1, 101):
        queue.add({"number": number})
    expect(person.page.get_by_role("link", name="Queued 100", exact=True)).to_be_visible()
    read = person.page.evaluate("calls")[before:]
    assert max(read.count(path) for path in ("api/v1/jobs", "api/v1/queue/stats")) <= monotonic() - began + 2


def test_with_the_dashboard_off_a_browser_gets_no_page_and_the_api_works(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "off", settings={"DASHBOARD": "off"}).start()
    try:
        with daemon.client() as client:
            client.make_queue()
            answer = client.call("GET", "/", headers={"Accept": "text/html"})
            assert (answer.status, answer.headers["Content-Type"]) == (404, "application/problem+json")
            assert client.add().status == 201
    finally:
        daemon.kill()
