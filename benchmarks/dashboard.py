"""
Is the dashboard quick, and does it delay other requests? Run from the root: `python -m benchmarks.dashboard`.

A live daemon has a queue of 100,000 jobs. Chromium opens its page: the times to the first paint, to the first row and
to the result of a filter are measured. Then 20 browsers show the page while another client adds, claims and deletes
jobs: the times of its requests are measured. Last, one browser shows a queue while nothing happens, and while 1,000
jobs a second are processed: its frames are counted. The browsers share one core, which is not the daemon's.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from time import perf_counter

from playwright.sync_api import Browser, Page, expect

from tests.integration.daemons import Daemon
from tests.integration.dashboard.browsers import PROGRAM, chromium

from .long_list import fill, work
from .machine import SERVER_CORE, directory, on_server_core
from .results import Results, run_alone, say

JOBS, BROWSERS, RATE = 100_000, 20, 1_000
#: How often the page is opened, and for how many seconds other requests are timed.
_TIMES, _SECONDS = 5, 15
#: Targets in milliseconds: the first paint, the first row or a filter, and the p99 of other requests.
_PAINT, _USABLE, _OTHERS = 300, 1_000, 50
#: A screen shows 60 frames a second; one of them may be late.
_FRAMES = 59
#: A script that records the milliseconds between frames from now on.
_WATCH_FRAMES = """() => {
    window.frames_took = [];
    let last = performance.now();
    const again = () => { window.next_frame = requestAnimationFrame(look); };
    const look = (now) => { frames_took.push(now - last); last = now; again(); };
    again();
}"""
#: A script that chooses a state, and returns the milliseconds until its rows are shown. Playwright's own wait
#: evaluates code from a string, which the page's content security policy forbids.
_FILTER = """(state) => new Promise((resolve) => {
    const began = performance.now();
    const choice = document.querySelector('select[name=state]');
    choice.value = state;
    choice.dispatchEvent(new Event('input', { bubbles: true }));  // the page acts on it in a task of its own
    const look = () => document.querySelector('.table-frame[aria-busy]')
        ? requestAnimationFrame(look) : resolve(performance.now() - began);
    setTimeout(look);
})"""
#: A script that records when the first row appeared, in milliseconds from the start of the navigation.
_WATCH_ROWS = """
    const look = () => document.querySelector('table.jobs tbody tr')
        ? (window.usable = performance.now()) : requestAnimationFrame(look);
    look();
"""


def look_at(browser: Browser, url: str, queue: str) -> Page:
    """The page of a queue with its rows, signed in, in a browser without a cache."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.add_init_script(_WATCH_ROWS)
    sign_in(page, url, queue)
    expect(page.locator("table.jobs tbody tr")).to_have_count(50)
    return page


def sign_in(page: Page, url: str, queue: str) -> None:
    """Open the page of a queue and sign in."""
    page.goto(f"{url}/#/queue/{queue}")
    page.get_by_label("Access key", exact=True).fill("key")
    page.get_by_role("button", name="Sign in", exact=True).click()


def opening(page: Page) -> tuple[float, float]:
    """Milliseconds to the first paint and to the first row, when the page is opened again with an empty cache."""
    page.context.new_cdp_session(page).send("Network.clearBrowserCache")
    page.reload()
    expect(page.locator("table.jobs tbody tr")).to_have_count(50)
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    return paint, page.evaluate("usable")


def filtering(page: Page, states: list[str]) -> list[float]:
    """Milliseconds from the choice of a state to the frame with its rows."""
    return [page.evaluate(_FILTER, state) for state in states]


@contextmanager
def going_through(daemon: Daemon) -> Iterator[None]:
    """Add, claim and complete 1,000 jobs a second in the queue `q`, during the block."""
    ended = Event()
    thread = Thread(target=_go, args=(daemon, ended))
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _go(daemon: Daemon, ended: Event) -> None:
    os.sched_setaffinity(0, {SERVER_CORE})  # this thread only, so that it takes nothing from the browser
    began, rounds = perf_counter(), 0
    with daemon.client(sampled=True) as client:
        while not ended.wait(max(0.0, began + rounds / 10 - perf_counter())):
            rounds += 1
            client.add_many([{"content": {"to": "ada@example.org"}}] * (RATE // 10))
            jobs = client.take(count=RATE // 10, worker="mailer").json["jobs"]
            updates = [{"uid": job["uid"], "new_status": "complete"} for job in jobs]
            client.call("POST", "/api/v1/jobs", body={"queue_name": "q", "updates": updates})
    took = perf_counter() - began
    say(f"{rounds * RATE / 10 / took:.0f} jobs a second went through")


def measure(results: Results) -> None:
    """Measure everything, and add a row for each figure."""
    if shutil.which(PROGRAM) is None:
        raise RuntimeError(f"not installed: {PROGRAM}")
    with directory() as home, chromium() as browser:
        daemon = Daemon(home / "home", prefix=on_server_core([])).start()
        try:
            url = f"http://127.0.0.1:{daemon.port}"
            with daemon.client(sampled=True, timeout=60) as client:
                client.make_queue("long")
                client.make_queue("q")
                fill(client, JOBS)
            measure_opening(results, browser, url)
            measure_others(results, browser, url, daemon)
            measure_frames(results, browser, url, daemon)
        finally:
            daemon.kill()


def measure_opening(results: Results, browser: Browser, url: str) -> None:
    """Measure the first paint, the first row and the filter of the long queue."""
    page = look_at(browser, url, "long")
    paints, rows = zip(*[opening(page) for _ in range(_TIMES)], strict=True)
    filters = filtering(page, ["queued", "failed", ""] * _TIMES)
    page.context.close()
    results.bound("dashboard, first paint", paints, "ms", _PAINT)
    results.bound(f"dashboard, first row of {JOBS:,} jobs", rows, "ms", _USABLE)
    results.bound(f"dashboard, filter of {JOBS:,} jobs", filters, "ms", _USABLE)


def measure_others(results: Results, browser: Browser, url: str, daemon: Daemon) -> None:
    """Measure other requests while many browsers show the long queue."""
    alone = slowest(daemon, 3)
    pages = [look_at(browser, url, "long") for _ in range(BROWSERS)]
    meanwhile = slowest(daemon, _SECONDS)
    for page in pages:
        page.context.close()
    results.bound("other requests without a dashboard, p99", [alone], "ms", _OTHERS)
    results.bound(f"other requests with {BROWSERS} dashboards open, p99", [meanwhile], "ms", _OTHERS)


def slowest(daemon: Daemon, seconds: float) -> float:
    """The p99 in milliseconds of requests that are made for this many seconds."""
    until, took = perf_counter() + seconds, list[float]()
    with daemon.client(sampled=True) as client:
        while perf_counter() < until:
            took += work(client)
    return sorted(took)[int(len(took) * 0.99)] * 1000


def measure_frames(results: Results, browser: Browser, url: str, daemon: Daemon) -> None:
    """Measure the frames a second of a page without changes, and of one with many changing jobs."""
    page = look_at_empty(browser, url)
    still = frames(page)
    with going_through(daemon):
        page.wait_for_timeout(2_000)
        busy = frames(page)
    page.context.close()
    results.bound("dashboard, frames a second while nothing happens", [still], "", _FRAMES, least=True)
    results.bound(f"dashboard, frames a second at {RATE:,} jobs/s", [busy], "", _FRAMES, least=True)


def frames(page: Page) -> float:
    """The frames a second that a page draws."""
    page.evaluate(_WATCH_FRAMES)
    page.wait_for_timeout(_SECONDS * 1000)
    took: list[float] = sorted(page.evaluate("() => { cancelAnimationFrame(next_frame); return frames_took; }"))
    say(f"frames: p95 {took[len(took) * 95 // 100]:.0f} ms, longest {took[-1]:.0f} ms")
    return 1000 * len(took) / sum(took)


def look_at_empty(browser: Browser, url: str) -> Page:
    """The page of the queue `q`, which has no job yet."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    sign_in(page, url, "q")
    expect(page.get_by_text("There is no job here")).to_be_visible()
    return page


if __name__ == "__main__":
    raise SystemExit(run_alone(measure))
