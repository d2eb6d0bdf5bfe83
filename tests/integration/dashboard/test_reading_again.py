"""When a page reads again by itself. The browser's clock goes on only as the tests say."""

from typing import Any

import pytest

from .person import Person

#: Makes a Refresher whose reads take the given milliseconds each, and are noted with the time of their start.
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


def test_one_slow_answer_does_not_silence_a_page(later: Person) -> None:
    assert _starts(later, [100, 10_000, 100]) == [0, 1_100, 12_100]


def test_a_slow_server_is_asked_for_a_sixth_of_the_time(later: Person) -> None:
    """The shorter of the last two reads counts."""
    assert _starts(later, [10_000, 6_000, 6_000, 6_000]) == [0, 11_000, 47_000, 83_000]
