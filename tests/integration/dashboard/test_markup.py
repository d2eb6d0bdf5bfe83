"""Everything from jobs, queues and workers is shown as text, even if it looks like markup."""

from playwright.sync_api import expect

from jobengine.client import JobEngine, Queue
from tests.integration.daemons import Daemon
from tests.integration.shells import ADMIN_KEY

from .conftest import Arrive
from .person import Person
from .pipelines import put_batch
from .schedules import put_schedule

#: Texts that would set `broken` or load an image if they were read as HTML, as an address or as a script.
EVIL = (
    "<script>broken=1</script>",
    "<img src=x onerror=broken=1>",
    "\"'><svg onload=broken=1>",
    "javascript:broken=1//",
    "</textarea><iframe srcdoc='<script>parent.broken=1</script>'>",
    "${broken=1}{{broken=1}}<%broken=1%>",
    "</title><body onpageshow=broken=1>",
)
WHOLE = " ".join(EVIL)


def _evil_queue(engine: JobEngine) -> Queue:
    """A queue whose name, contents, errors, tags, workers, results and meta are all markup."""
    queue = engine.queue(f"{EVIL[1]}/{EVIL[3]}?#&%2f")
    queue.create()
    context = {"tags": list(EVIL[:3]), "meta": {WHOLE: WHOLE}, "unique_key": None}
    uid = queue.add({WHOLE: [WHOLE, {WHOLE: WHOLE}], "__proto__": {"broken": 1}}, **context).uid  # type: ignore[arg-type]
    queue.claim(worker=EVIL[1])
    queue.update(uid, new_status="failed", error=f"{WHOLE}\n{WHOLE}", result={WHOLE: WHOLE})
    queue.add({WHOLE: WHOLE}, tags=[EVIL[0]], group=EVIL[1])
    queue.claim(worker=EVIL[2])
    return queue


def _is_whole(person: Person) -> None:
    """Check that no text became markup."""
    assert person.page.evaluate("typeof broken") == "undefined"
    assert person.page.evaluate("({}).broken") is None
    foreign = "main img, iframe, main script, body script, dialog script, svg[onload], [onerror], [href^=javascript]"
    expect(person.page.locator(foreign)).to_have_count(0)


def test_markup_is_shown_as_text_everywhere(arrive: Arrive, engine: JobEngine, live: Daemon) -> None:
    queue = _evil_queue(engine)
    with live.client() as client:
        put_schedule(client, queue.name, EVIL[0], cron="0 3 * * *", job={"content": {WHOLE: WHOLE}, "tags": [EVIL[1]]})
        put_batch(client, queue.name, EVIL[2])
    failed, held = (job.uid for job in queue.jobs(sort="created"))
    person = arrive()
    person.open()
    person.sign_in_as_admin(ADMIN_KEY)
    link = person.page.get_by_role("link", name=queue.name, exact=True)
    expect(link).to_be_visible()
    _is_whole(person)
    link.click()
    person.sees(queue.name)
    expect(person.jobs()).to_have_count(2)
    for text in (EVIL[0], EVIL[1], EVIL[2]):
        expect(person.row("Jobs", failed[:8])).to_contain_text(text)
    _is_whole(person)
    for part, text in (
        ("Errors", EVIL[0]),
        ("Workers", EVIL[2]),
        ("Schedules", EVIL[0]),
        ("Batches", EVIL[2]),
        ("Groups", EVIL[1]),
    ):
        person.page.get_by_role("navigation", name="Parts").get_by_role("link", name=part, exact=True).click()
        expect(person.page.get_by_text(text).first).to_be_visible()
        _is_whole(person)
    person.page.get_by_role("link", name="Schedules", exact=True).last.click()
    person.page.get_by_role("link", name=EVIL[0], exact=True).click()
    expect(person.page.locator("je-json")).to_contain_text(EVIL[4])
    _is_whole(person)
    person.page.get_by_role("link", name="Jobs", exact=True).click()
    person.page.get_by_role("link", name=failed[:8]).click()
    person.sees(f"Job {failed[:8]}")
    for heading in ("Content", "Result", "Meta"):
        expect(person.page.locator("je-json").filter(has_text=heading)).to_contain_text(EVIL[0])
    expect(person.page.get_by_role("region", name="Attempts")).to_contain_text(EVIL[1])
    _is_whole(person)
    person.choose("More actions", "Repeat")
    assert EVIL[4] in person.dialog("Repeat the job").get_by_label("Content", exact=True).input_value()
    _is_whole(person)
    person.page.keyboard.press("Escape")
    person.choose("More actions", "Edit content")
    assert EVIL[0] in person.dialog("Edit content").get_by_label("Content", exact=True).input_value()
    _is_whole(person)
    person.page.keyboard.press("Escape")
    person.page.get_by_role("link", name=queue.name, exact=True).click()
    person.choose("More actions", "Delete queue")
    person.confirm("Delete the queue", "Delete queue", typed=queue.name)
    person.is_told(queue.name)
    _is_whole(person)
    assert held != failed


def test_markup_in_an_address_is_shown_as_text_too(person: Person, queue: Queue) -> None:
    person.open(f"queue/{EVIL[1]}/job/{EVIL[1]}")
    expect(person.page.get_by_text(EVIL[1]).first).to_be_visible()
    _is_whole(person)
    person.open(f"queue/{queue.name}?q={EVIL[1]}&state={EVIL[1]}&sort={EVIL[3]}&tag={EVIL[0]}")
    person.field("Access key").fill("key")
    person.press("Sign in")
    expect(person.field("Search")).to_have_value(EVIL[1])
    _is_whole(person)
