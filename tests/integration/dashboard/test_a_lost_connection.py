"""A server that is down for a while: the page says so, connects again by itself, and keeps what was typed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Route, expect

from jobengine.client import JobEngine, Queue
from tests.integration.daemons import Daemon, free_port

from .conftest import Arrive
from .person import Person

LOST = "The server can’t be reached."  # noqa: RUF001  # as it is on the page


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon that a test may kill and restart at the same port."""
    daemon = Daemon(tmp_path / "mortal", settings={"API_PORT": str(free_port())}).start()
    yield daemon
    daemon.kill()


@pytest.fixture
def url(mortal: Daemon) -> str:
    return f"http://127.0.0.1:{mortal.port}"


def test_a_lost_connection_is_shown_until_the_server_answers_and_typed_text_stays(
    person: Person, queue: Queue, mortal: Daemon
) -> None:
    queue.add({"to": "alice"})
    person.look_at(queue.name)
    expect(person.jobs()).to_have_count(1)
    person.press("Add job")
    dialog = person.dialog("Add a job to")
    content = dialog.get_by_label("Content", exact=True)
    content.fill('{"to": "bob"}')
    mortal.kill()
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("The server did not answer.")
    expect(person.page.get_by_text(LOST)).to_be_visible()
    expect(content).to_have_value('{"to": "bob"}')
    expect(person.jobs()).to_have_count(1)
    mortal.start()
    expect(person.page.get_by_text(LOST)).to_be_hidden()
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(dialog).to_be_hidden()
    expect(person.jobs()).to_have_count(2)
    # Events arrive again too.
    queue.add({"to": "cleo"})
    expect(person.page.get_by_text("cleo")).to_be_visible()


def test_adding_a_job_again_after_a_lost_answer_makes_one_job(person: Person, queue: Queue) -> None:
    person.look_at(queue.name)
    lost: list[int] = []

    def lose_the_answer(route: Route) -> None:
        if route.request.method == "PUT" and not lost:
            lost.append(route.fetch().status)
            route.abort()
        else:
            route.fallback()

    person.page.route("**/api/v1/job", lose_the_answer)
    person.press("Add job")
    dialog = person.dialog("Add a job to")
    dialog.get_by_label("Content", exact=True).fill('{"to": "alice"}')
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("The server did not answer.")
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(dialog).to_be_hidden()
    assert lost == [201]
    assert queue.stats().size == 1


def test_the_dashboard_reconnects_by_a_button_if_the_server_was_down_at_sign_in(
    arrive: Arrive, engine: JobEngine, mortal: Daemon
) -> None:
    engine.queue("mail").create()
    person = arrive()
    person.open()
    mortal.kill()
    person.sign_in("mail")
    expect(person.page.get_by_role("alert")).to_contain_text("The server")
    expect(person.page.get_by_text(LOST)).to_be_visible()
    mortal.start()
    # The page may have reconnected by itself just now: then there is no button.
    person.page.evaluate("[...document.querySelectorAll('.banner:not([hidden]) button')].forEach(each => each.click())")
    expect(person.page.get_by_text(LOST)).to_be_hidden()
    person.press("Sign in")
    person.sees("mail")
