"""One browser and one daemon for all tests of the dashboard; each test has queues and a tab of its own."""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from playwright.sync_api import Browser

from jobengine.client import JobEngine, Queue
from tests.integration.daemons import Daemon
from tests.integration.shells import ADMIN_KEY

from .browsers import DEADLINE, Watch, chromium
from .person import Person

Arrive = Callable[..., Person]

_numbers = count(1)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="package")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with an admin key."""
    daemon = Daemon(tmp_path_factory.mktemp("dashboard") / "home", settings={"ADMIN_KEY": ADMIN_KEY}).start()
    yield daemon
    daemon.kill()


@pytest.fixture
def url(live: Daemon) -> str:
    return f"http://127.0.0.1:{live.port}"


@pytest.fixture
def engine(url: str) -> Iterator[JobEngine]:
    """The API beside the dashboard, as the admin."""
    with JobEngine(url, access_key="key", admin_key=ADMIN_KEY, timeout=20) as engine:
        yield engine


@pytest.fixture
def queue(engine: JobEngine) -> Queue:
    """An empty queue that no other test has; its key is `key`."""
    queue = engine.queue(f"mail {next(_numbers)}")
    queue.create()
    return queue


@pytest.fixture
def arrive(browser: Browser, url: str) -> Iterator[Arrive]:
    """Makes a Person with a fresh browser, in which no error may occur."""
    people: list[Person] = []

    def arrive(url: str = url, **how: Any) -> Person:
        context = browser.new_context(**{"locale": "en-GB", "timezone_id": "UTC", **how})
        context.set_default_timeout(DEADLINE)
        watch = Watch(url)
        watch.follow(context)
        people.append(Person(context.new_page(), url, watch))
        return people[-1]

    yield arrive
    for person in people:
        person.page.context.close()
    assert [person.watch.wrong for person in people if person.watch.wrong] == []


@pytest.fixture
def person(arrive: Arrive) -> Person:
    return arrive()


@pytest.fixture
def admin(person: Person) -> Person:
    """An admin at the table of all queues."""
    person.open()
    person.sign_in_as_admin(ADMIN_KEY)
    person.sees("Queues")
    return person
