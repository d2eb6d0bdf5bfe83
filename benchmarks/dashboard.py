"""
Is the dashboard quick, and does it delay other requests? Run from the root: `python -m benchmarks.dashboard [jobs]`.

A live daemon has a queue of 100,000 jobs. Chromium opens its page: the times to the first paint, to the first row and
to the result of a filter are printed. Then 20 browsers look at the page while another client adds, claims and deletes
jobs: the times of its requests are printed. Last, one browser looks at a queue through which 1,000 jobs a second go:
the times between its frames are printed. The browsers share one core, which is not the daemon's.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from threading import Event, Thread
from time import perf_counter

from playwright.sync_api import Browser, Page, expect

from tests.integration.daemons import Client, Daemon
from tests.integration.dashboard.browsers import chromium

from .long_list import fill, report, work
from .machine import be_a_client, directory, on_server_core

JOBS, BROWSERS, RATE = 100_000, 20, 1_000
#: How often a page is opened, and for how many seconds other requests are timed.
_TIMES, _SECONDS = 5, 15
#: Targets in milliseconds: the first paint, the first row or a filter, and the p99 of other requests.
_PAINT, _USABLE, _OTHERS = 300, 1_000, 50
#: The times between frames in milliseconds, from now on.
_WATCH_FRAMES = """() => {
    window.frames_took = [];
    let last = performance.now();
    const look = (now) => { frames_took.push(now - last); last = now; requestAnimationFrame(look); };
    requestAnimationFrame(look);
}"""
#: Chooses a state, and gives the milliseconds until its rows are shown. Playwright's own way to wait needs code as
#: text, which the page's policy does not allow.
_FILTER = """(state) => new Promise((resolve) => {
    const began = performance.now();
    const choice = document.querySelector('select[name=state]');
    choice.value = state;
    choice.dispatchEvent(new Event('input', { bubbles: true }));  // the page acts on it in a task of its own
    const look = () => document.querySelector('.table-frame[aria-busy]')
        ? requestAnimationFrame(look) : resolve(performance.now() - began);
    setTimeout(look);
})"""
#: When the first row came, by the clock of the page's own navigation.
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
    """Have 1,000 jobs a second added, claimed and completed in the queue `q`."""
    ended = Event()
    thread = Thread(target=_go, args=(daemon, ended))
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _go(daemon: Daemon, ended: Event) -> None:
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


def measure_opening(browser: Browser, url: str) -> list[bool]:
    """The first paint, the first row and the filter of the long queue."""
    page = look_at(browser, url, "long")
    paints, usable = zip(*[opening(page) for _ in range(_TIMES)], strict=True)
    filters = filtering(page, ["queued", "failed", ""] * _TIMES)
    page.context.close()
    return [
        told("first paint", list(paints), _PAINT),
        told("first row", list(usable), _USABLE),
        told("a filter by state", filters, _USABLE),
    ]


def measure_others(browser: Browser, url: str, client: Client) -> list[bool]:
    """The times of other requests while many browsers look at the long queue."""
    alone = timed(client, 3)
    pages = [look_at(browser, url, "long") for _ in range(BROWSERS)]
    meanwhile = timed(client, _SECONDS)
    for page in pages:
        page.context.close()
    report("others, alone", alone)
    report(f"others, with {BROWSERS} dashboards", meanwhile)
    return [meanwhile[int(len(meanwhile) * 0.99)] * 1000 <= _OTHERS]


def timed(client: Client, seconds: float) -> list[float]:
    """The seconds that each request took; requests are made for so many seconds."""
    until, took = perf_counter() + seconds, list[float]()
    while perf_counter() < until:
        took += work(client)
    return took


def measure_frames(browser: Browser, url: str, daemon: Daemon) -> None:
    """The times between the frames of a page on which many jobs change."""
    page = look_at_empty(browser, url)
    with going_through(daemon):
        page.wait_for_timeout(2_000)
        page.evaluate(_WATCH_FRAMES)
        page.wait_for_timeout(_SECONDS * 1000)
        frames = sorted(page.evaluate("frames_took"))
    page.context.close()
    parts = ", ".join(f"p{part} {frames[len(frames) * part // 100]:.1f} ms" for part in (50, 95, 99))
    say(f"frames: {len(frames) / _SECONDS:.1f} a second, {parts}, longest {frames[-1]:.0f} ms")


def look_at_empty(browser: Browser, url: str) -> Page:
    """The page of the queue `q`, which has no job yet."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    sign_in(page, url, "q")
    expect(page.get_by_text("There is no job here")).to_be_visible()
    return page


def told(what: str, took: list[float], target: float) -> bool:
    """Print some times in milliseconds; returns whether their median is within the target."""
    say(f"{what}: median {median(took):.0f} ms of {len(took)}, longest {max(took):.0f} ms, target {target} ms")
    return median(took) <= target


def say(text: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{text}\n")


def main() -> int:
    """Run it; 1 if a target is missed."""
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else JOBS
    be_a_client()
    with directory() as home, chromium() as browser:
        daemon = Daemon(home / "home", prefix=on_server_core([])).start()
        try:
            url = f"http://127.0.0.1:{daemon.port}"
            with daemon.client(sampled=True, timeout=60) as client:
                client.make_queue("long")
                client.make_queue("q")
                fill(client, jobs)
                met = measure_opening(browser, url) + measure_others(browser, url, client)
            measure_frames(browser, url, daemon)
        finally:
            daemon.kill()
    return 0 if all(met) else 1


if __name__ == "__main__":
    raise SystemExit(main())
