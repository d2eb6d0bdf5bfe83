"""The dashboard without a pointer."""

from playwright.sync_api import expect

from jobengine.client import Queue
from tests.integration.daemons import until

from .person import Person


def test_the_keyboard_alone_finds_opens_and_retries_a_job(person: Person, queue: Queue) -> None:
    first, second = (job.uid for job in queue.add_many([{}, {}]))
    for uid in (first, second):
        queue.update(uid, new_status="failed", error="no route")
    keys = person.page.keyboard
    person.open()
    expect(person.field("Queue")).to_be_focused()
    keys.type(queue.name)
    keys.press("Tab")
    keys.type("key")
    keys.press("Enter")
    person.sees(queue.name)
    keys.press("g")
    keys.press("q")
    person.sees("Queues")
    expect(person.row("Queues", queue.name)).to_be_visible()
    keys.press("j")
    keys.press("Enter")
    person.sees(queue.name)
    expect(person.jobs()).to_have_count(2)
    keys.press("/")
    expect(person.field("Search")).to_be_focused()
    keys.press("Escape")
    keys.press("j")
    keys.press("j")
    expect(person.jobs().nth(1).get_by_role("link")).to_be_focused()
    keys.press("x")
    region = person.page.get_by_role("region", name="Selected jobs")
    expect(region).to_contain_text("1 selected")
    keys.press("Escape")
    expect(region).to_be_hidden()
    keys.press("k")
    keys.press("j")
    keys.press("Enter")
    expect(person.button("Retry")).to_be_visible()
    opened = person.page.url[-36:]
    person.button("Retry").focus()
    keys.press("Enter")
    person.is_told("The job is queued again.")
    assert queue.get(opened).state == "queued"
    keys.press("u")
    person.sees(queue.name)
    keys.press("n")
    expect(person.dialog("Add a job to").get_by_label("Content", exact=True)).to_be_focused()
    keys.press("Escape")
    expect(person.page.get_by_role("dialog")).to_have_count(0)
    keys.press("g")
    keys.press("q")
    person.sees("Queues")


def test_key_r_retries_or_refreshes_and_key_e_opens_the_errors(person: Person, queue: Queue) -> None:
    failed, complete = (job.uid for job in queue.add_many([{}, {}]))
    queue.update(failed, new_status="failed", error="no route")
    queue.update(complete, new_status="complete")
    person.look_at(queue.name)
    expect(person.jobs()).to_have_count(2)
    keys = person.page.keyboard
    keys.press("r")
    person.is_told("The page is refreshed.")
    person.field(f"Select {failed[:8]}").check()
    keys.press("r")
    person.dialog("Retry 1 job")
    keys.press("Escape")
    keys.press("Escape")
    keys.press("e")
    expect(person.page.get_by_text("1 failed, grouped by error")).to_be_visible()
    person.open(f"queue/{queue.name}/job/{complete}")
    expect(person.button("Retry")).to_be_visible()
    before = len(person.watch.requests)
    keys.press("r")
    until("it is read again", lambda: person.page.evaluate("true") and len(person.watch.requests) > before)
    assert queue.get(complete).state == "complete"
    person.open(f"queue/{queue.name}/job/{failed}")
    expect(person.page.get_by_role("heading", name="Error", exact=True)).to_be_visible()
    keys.press("r")
    person.is_told("The job is queued again.")
    assert queue.get(failed).state == "queued"


def test_keyboard_shortcuts_are_listed_and_can_be_turned_off(person: Person, queue: Queue) -> None:
    person.look_at(queue.name)
    person.page.keyboard.press("?")
    keys = person.dialog("Keys")
    expect(keys).to_contain_text("Go to the queues")
    keys.get_by_label("Use these keys").uncheck()
    person.page.keyboard.press("Escape")
    expect(keys).to_be_hidden()
    person.page.keyboard.press("n")
    person.page.keyboard.press("?")
    expect(person.page.get_by_role("dialog")).to_have_count(0)
    person.press("Keys")
    expect(person.dialog("Keys").get_by_label("Use these keys")).not_to_be_checked()


def test_a_menu_is_operated_by_keyboard_and_returns_the_focus(person: Person, queue: Queue) -> None:
    person.look_at(queue.name)
    more = person.button("More actions")
    expect(more).to_be_enabled()
    more.focus()
    keys = person.page.keyboard
    keys.press("Enter")
    expect(person.button("Drain")).to_be_focused()
    keys.press("ArrowDown")
    expect(person.button("Purge")).to_be_focused()
    keys.press("Escape")
    expect(person.button("Purge")).to_be_hidden()
    expect(more).to_be_focused()
    keys.press("Enter")
    expect(person.button("Drain")).to_be_focused()
    keys.press("ArrowDown")
    keys.press("Enter")
    expect(person.dialog("Purge the queue").get_by_role("textbox")).to_be_focused()
    keys.press("Escape")
    expect(person.page.get_by_role("dialog")).to_have_count(0)


def test_the_tab_key_reaches_every_control_and_the_focus_is_visible(person: Person, queue: Queue) -> None:
    queue.add_many([{"to": "alice"}] * 2)
    person.look_at(queue.name)
    expect(person.jobs()).to_have_count(2)
    expect(person.button("More actions")).to_be_enabled()
    usable = person.page.locator(
        "a:visible, button:visible:not([disabled]), input:visible:not([disabled]), select:visible, summary:visible"
    )
    count = usable.count()
    seen = set()
    # After the last control the browser itself has the focus, and then the first control.
    for _ in range(count + 3):
        person.page.keyboard.press("Tab")
        at, marked = person.page.evaluate(
            """() => {
                const at = document.activeElement, style = getComputedStyle(at);
                window.met ??= new Map([[document.body, 0]]);
                if (!met.has(at)) met.set(at, met.size);
                return [met.get(at), at === document.body || style.outlineStyle !== 'none'];
            }"""
        )
        assert marked, person.page.evaluate("document.activeElement.outerHTML")
        seen.add(at)
    assert len(seen - {0}) >= count
