"""When a page reads again by itself. The browser's clock goes on only as the tests say."""

from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Route, expect

from jobengine.client import Queue
from tests.integration.daemons import until

from .person import Person

#: Makes a Refresher whose reads take the given milliseconds, and records the time of each read's start.
_READ = """async (lengths) => {
    const { Refresher } = await import(new URL('live.js', document.querySelector('script[src$="app.js"]').src));
    window.begun = [];
    const start = performance.now();
    const read = async () => {
        begun.push(Math.round(performance.now() - start));
        await new Promise((done) => setTimeout(done, lengths[begun.length - 1] ?? 0));
    };
    window.refresher = new Refresher(read, { idle: 1e9, signal: new AbortController().signal });
}"""


@pytest.fixture
def later(person: Person) -> Person:
    """A person at a page whose clock has been stopped."""
    person.page.clock.install(time=0)
    person.open()
    person.sees("Sign in")
    person.page.clock.pause_at(3_600_000)
    return person


def _starts(person: Person, lengths: list[int]) -> Any:
    """The milliseconds at which reads of these lengths begin, if something changes all the time."""
    person.page.evaluate(_READ, lengths)
    person.page.evaluate("setInterval(() => refresher.soon(), 100)")
    person.page.clock.run_for(300_000)
    return person.page.evaluate(f"begun.slice(0, {len(lengths)})")


def test_a_page_continues_to_refresh_after_a_slow_answer(later: Person) -> None:
    assert _starts(later, [100, 10_000, 100]) == [0, 1_100, 12_100]


def test_polling_takes_at_most_a_sixth_of_the_time_of_a_slow_server(later: Person) -> None:
    """The pause depends on the shorter of the last two reads."""
    assert _starts(later, [10_000, 6_000, 6_000, 6_000]) == [0, 11_000, 47_000, 83_000]


def _refuse_all(person: Person) -> set[str]:
    """Answer all calls from now on as if the key had been revoked; the paths that were called are added to the set."""
    refused: set[str] = set()

    def refuse(route: Route) -> None:
        route.fulfill(status=401, json={"detail": "The key is wrong."}, content_type="application/problem+json")
        refused.add(urlsplit(route.request.url).path.removeprefix("/api/v1/"))

    person.page.route("**/api/v1/**", refuse)
    return refused


def _pass(person: Person, milliseconds: int) -> bool:
    person.page.clock.run_for(milliseconds)
    return True


def _calls(person: Person) -> list[str]:
    """The calls sent within the next ten minutes, in which the person returns to the page now and then."""
    before = len(person.watch.requests)
    for _ in range(10):
        _pass(person, 60_000)
        person.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    _pass(person, 1_000)
    return [request.url for request in person.watch.requests[before:]]


def test_a_page_stops_sending_a_refused_key_until_the_next_sign_in(person: Person, queue: Queue) -> None:
    """The server throttles addresses that send many wrong keys."""
    person.page.clock.install()
    person.look_at(queue.name)
    expect(person.page.get_by_text("There is no job here")).to_be_visible()
    refused = _refuse_all(person)
    until("all is refused", lambda: _pass(person, 1_000) and refused == {"queue/stats", "jobs", "events"})
    again = person.button("Sign in again")
    again.focus()
    assert _calls(person) == []
    expect(again).to_be_focused()
    person.page.unroute_all()
    again.click()
    person.field("Access key").fill("key")
    person.press("Sign in")
    queue.add({"to": "alice"})
    expect(person.page.get_by_text("alice")).to_be_visible()


def test_the_table_of_queues_sends_a_wrong_key_once(person: Person, queue: Queue) -> None:
    person.page.clock.install()
    person.list_queues(queue.name)
    row = person.row("Queues", queue.name)
    expect(row.get_by_role("cell").nth(3)).to_have_text("0")
    refused = _refuse_all(person)
    until("it is refused", lambda: _pass(person, 1_000) and refused)
    expect(row).to_contain_text("The key is wrong.")
    assert _calls(person) == []
