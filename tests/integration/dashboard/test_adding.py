"""Adding a job: a new one, or a copy of another."""

import os
import re
import subprocess

import pytest
from playwright.sync_api import expect

from jobengine.client import JobEngine, Queue, UniqueOptions
from tests.integration.shells import BIN

from .conftest import Arrive
from .person import Person


def test_a_job_is_added_by_the_form(person: Person, queue: Queue) -> None:
    person.look_at(queue.name)
    person.press("Add job")
    dialog = person.dialog("Add a job to")
    dialog.get_by_label("Content", exact=True).fill('{"to": "alice", "exact": 12345678901234567}')
    dialog.get_by_text("Options").click()
    dialog.get_by_label("Priority").fill("5")
    dialog.get_by_label("Tags").fill("red\nlarge")
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(dialog).to_be_hidden()
    expect(person.jobs().first).to_contain_text("alice")
    (job,) = queue.jobs()
    assert (job.priority, job.tags, job.content) == (5, ("red", "large"), {"to": "alice", "exact": 12345678901234567})


def test_the_content_of_a_new_job_is_typed_between_the_braces(person: Person, queue: Queue) -> None:
    person.look_at(queue.name)
    person.press("Add job")
    dialog = person.dialog("Add a job to")
    expect(dialog.get_by_label("Content", exact=True)).to_be_focused()
    person.page.keyboard.type('"to": "alice"')
    expect(dialog.get_by_label("Content", exact=True)).to_have_value('{"to": "alice"}')
    person.page.keyboard.press("Control+Enter")
    expect(dialog).to_be_hidden()
    assert [job.content for job in queue.jobs()] == [{"to": "alice"}]


def test_the_add_form_has_the_options_of_a_unique_key_and_debounce(person: Person, queue: Queue) -> None:
    person.look_at(queue.name)

    def add(**texts: str) -> None:
        person.press("Add job")
        dialog = person.dialog("Add a job to")
        dialog.get_by_text("Options").click()
        for label, text in texts.items():
            dialog.get_by_label(label.replace("_", " ")).first.fill(text)
        dialog.get_by_label("Add beside a job in progress").check()
        dialog.get_by_role("button", name="Add", exact=True).click()

    add(Seconds_after_the_finish="60")
    expect(person.page.get_by_role("alert")).to_have_text("Unique key: it is needed for these settings.")
    person.dialog("Add a job to").get_by_role("button", name="Cancel").click()
    add(Unique_key="report", **{"Debounce,_seconds": "600"})
    person.is_told(f"The job is added to “{queue.name}”.")
    (job,) = queue.jobs()
    assert job.raw["unique"] == {"key": "report", "seconds": 60, "if_queued": "replace", "if_running": "add"}
    assert job.raw["debounce"] == {"seconds": 600, "at_most_seconds": 6000}
    add(Unique_key="report", Content='{"page": 2}', **{"Debounce,_seconds": "300"})
    person.is_told(f"The queued job of “{queue.name}” with this key is replaced.")
    (job,) = queue.jobs()
    assert job.content == {"page": 2}


def test_the_add_form_says_that_another_job_holds_the_unique_key(person: Person, queue: Queue) -> None:
    uid = queue.add({}, unique_key="report").uid
    person.look_at(queue.name)
    person.press("Add job")
    dialog = person.dialog("Add a job to")
    dialog.get_by_text("Options").click()
    dialog.get_by_label("Unique key").fill("report")
    dialog.get_by_role("button", name="Add", exact=True).click()
    person.is_told(f"A job of “{queue.name}” holds this key: no other was added.")
    assert [job.uid for job in queue.jobs()] == [uid]


def test_all_of_the_add_form_can_be_reached_on_a_phone(arrive: Arrive, queue: Queue) -> None:
    person = arrive(viewport={"width": 360, "height": 900})
    person.look_at(queue.name)
    person.press("Add job")
    dialog = person.dialog("Add a job to")
    dialog.get_by_text("Options").click()
    expect(dialog.get_by_label("Tags")).to_be_visible()


@pytest.mark.parametrize("name", ["Command line", "curl"])
def test_the_shell_commands_that_an_empty_queue_page_shows_add_a_job(
    person: Person, engine: JobEngine, queue: Queue, name: str
) -> None:
    """They are run as copied from the page of a queue whose name needs quotes in a shell."""
    quoted = engine.queue(f'{queue.name}\'s "first"')
    quoted.create()
    person.look_at(quoted.name)
    text = person.page.get_by_role("region", name=name).locator("pre").inner_text().replace("'KEY'", "key")
    environment = {"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": "/nonexistent"}
    subprocess.run(["sh", "-euc", text], env=environment, check=True, capture_output=True, timeout=60)
    expect(person.jobs()).to_have_count(1)
    assert [job.content for job in quoted.jobs()] == [{"to": "ada@example.org"}]


def test_the_add_form_checks_json_while_the_user_types(person: Person, queue: Queue) -> None:
    person.look_at(queue.name)
    person.press("Add job")
    dialog = person.dialog("Add a job to")
    content = dialog.get_by_label("Content", exact=True)
    for text, told in (
        ('{"to": alice}', "Line 1, column 8"),
        ('{\n  "a": 1,\n  "a": 2\n}', "Line 3"),
        ("[1]", "object"),
        ("", "Line 1"),
    ):
        content.fill(text)
        expect(content).to_have_accessible_description(re.compile(told))
        dialog.get_by_role("button", name="Add", exact=True).click()
        expect(dialog.get_by_role("alert")).to_be_visible()
    assert queue.stats().size == 0
    content.fill('{"to": "alice"}')
    expect(content).to_have_accessible_description("This is a JSON object.")
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(dialog).to_be_hidden()
    assert queue.stats().size == 1


def test_the_add_form_shows_a_refusal_and_keeps_typed_text(person: Person, queue: Queue) -> None:
    queue.drain()
    person.look_at(queue.name)
    person.press("Add job")
    dialog = person.dialog("Add a job to")
    dialog.get_by_label("Content", exact=True).fill('{"to": "alice"}')
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("no new jobs")
    expect(dialog.get_by_label("Content", exact=True)).to_have_value('{"to": "alice"}')


def test_the_add_form_keeps_typed_text_over_a_reload_until_the_job_is_added(person: Person, queue: Queue) -> None:
    person.look_at(queue.name)
    person.press("Add job")
    person.dialog("Add a job to").get_by_label("Content", exact=True).fill('{"to": "alic')
    person.page.reload()
    person.press("Add job")
    content = person.dialog("Add a job to").get_by_label("Content", exact=True)
    expect(content).to_have_value('{"to": "alic')
    content.fill('{"to": "alice"}')
    person.confirm("Add a job to", "Add")
    person.press("Add job")
    expect(person.dialog("Add a job to").get_by_label("Content", exact=True)).not_to_have_value(re.compile("alice"))


def test_repeat_adds_a_job_with_the_same_content_and_options(person: Person, queue: Queue) -> None:
    sent = {"exact": 12345678901234567, "text": "ä\u2028<b>"}
    options = {"priority": 5, "tags": ["red"], "max_attempts": 4, "meta": {"from": "shop"}, "keep_minutes": 3}
    uid = queue.add(sent, **options).uid  # type: ignore[arg-type]  # they are of several types
    person.look_at(queue.name)
    person.page.get_by_role("link", name=uid[:8]).click()
    person.choose("More actions", "Repeat")
    person.confirm("Repeat the job", "Add")
    person.is_told(f"The job is added to “{queue.name}”.")
    first, second = queue.jobs()
    fields = {"uid", "created", "last_updated"}
    assert first.uid != second.uid
    assert {k: v for k, v in first.raw.items() if k not in fields} == {
        k: v for k, v in second.raw.items() if k not in fields
    }


def test_repeat_keeps_the_rule_of_the_unique_key_and_the_debounce(person: Person, queue: Queue) -> None:
    rule: UniqueOptions = {"key": "report", "until": "started", "if_queued": "replace"}
    uid = queue.add({}, unique=rule, debounce={"seconds": 600, "at_most_seconds": 900}).uid
    person.look_at(queue.name)
    person.page.get_by_role("link", name=uid[:8]).click()
    person.choose("More actions", "Repeat")
    person.confirm("Repeat the job", "Add")
    person.is_told(f"The queued job of “{queue.name}” with this key is replaced.")
    (job,) = queue.jobs()
    assert job.raw["unique"] == {"key": "report", "until": "started", "if_queued": "replace"}
    assert job.raw["debounce"] == {"seconds": 600, "at_most_seconds": 900}
