"""Each page in each of its states, and the steps that lead there."""

from collections.abc import Callable
from typing import Final

from playwright.sync_api import Route, expect

from tests.integration.shells import ADMIN_KEY

from .person import Person
from .shop import Shop, busy_history

Scene = Callable[[Person, Shop], None]

SCENES: Final[dict[str, Scene]] = {}


def _scene(prepare: Scene) -> Scene:
    SCENES[prepare.__name__.replace("_", "-")] = prepare
    return prepare


def _admin(person: Person, route: str = "queues") -> None:
    person.open()
    person.sign_in_as_admin(ADMIN_KEY)
    person.sees("Queues")
    if route != "queues":
        person.open(route)


def _never(_route: Route) -> None:
    """Give no answer."""


def _broken(route: Route) -> None:
    problem = {"title": "Service Unavailable", "status": 503, "detail": "The disk is full: free some room."}
    route.fulfill(status=503, json=problem, content_type="application/problem+json")


def _wait(person: Person, text: str) -> None:
    expect(person.page.get_by_text(text).first).to_be_visible()


#: Pages that an admin reaches by their route alone: the route, and a text on the page.
_AT: Final = {
    "queue-empty": ("queue/empty", "There is no job here"),
    "queue-nothing-matches": ("queue/mail?q=nobody", "No job matches"),
    "errors-empty": ("queue/empty/errors", "No job has failed"),
    "workers-empty": ("queue/empty/workers", "No worker holds a job"),
    "groups": ("queue/deliveries/groups", "5 of 5"),
    "schedules": ("queue/reports/schedules", "nightly"),
    "schedules-empty": ("queue/empty/schedules", "There is no schedule here"),
    "schedules-of-all": ("schedules", "nightly"),
    "schedule": ("queue/reports/schedules?schedule=nightly%20sales%20report", "Next times"),
    "groups-empty": ("queue/empty/groups", "No group has unfinished jobs"),
    "batches": ("queue/imports/batches", "import-7"),
    "batches-empty": ("queue/empty/batches", "There is no batch here"),
    "job-linked": ("queue/imports/job/{linked}", "It waits for 2 jobs"),
    "settings-limits": ("queue/deliveries/settings", "Limits and groups"),
    "job-failed": ("queue/mail/job/{failed}", "ConnectionRefusedError"),
    "job-held": ("queue/mail/job/{held}", "held by"),
    "job-waiting": ("queue/deliveries/job/{waiting}", "of 2 jobs in progress"),
    "job-complete": ("queue/mail/job/{complete}", "Complete. Retry"),
    "job-moved": ("queue/mail-dead/job/{moved}", "Moved here from"),
    "dead-letters": ("queue/mail-dead/errors", "Failed jobs here came from"),
    "server": ("server", "Sync time"),
}
#: Pages of which some calls get no answer or an error: the calls' paths, their handler, the route and a text.
_ANSWERED: Final = {
    "queues-loading": (["**/api/v1/queues"], _never, "queues", "Loading"),
    "queues-error": (["**/api/v1/queues"], _broken, "queues", "The disk is full"),
    "queue-loading": (["**/api/v1/queue/stats*", "**/api/v1/jobs*"], _never, "queue/mail", "Loading"),
    "queue-error": (["**/api/v1/queue/stats*", "**/api/v1/jobs*"], _broken, "queue/mail", "The disk is full"),
}


def _at(route: str, text: str) -> Scene:
    def prepare(person: Person, shop: Shop) -> None:
        names = {"failed": shop.failed, "held": shop.held, "complete": shop.complete, "waiting": shop.waiting}
        _admin(person, route.format(**names, linked=shop.linked, moved=shop.moved))
        _wait(person, text)

    return prepare


def _answered(paths: list[str], answer: Callable[[Route], None], route: str, text: str) -> Scene:
    def prepare(person: Person, shop: Shop) -> None:
        for path in paths:
            person.page.route(path, answer)
        _at(route, text)(person, shop)

    return prepare


SCENES.update({name: _at(*where) for name, where in _AT.items()})
SCENES.update({name: _answered(*how) for name, how in _ANSWERED.items()})


# Signing in


@_scene
def sign_in(person: Person, _shop: Shop) -> None:
    person.open()
    person.sees("Sign in")


@_scene
def sign_in_error(person: Person, _shop: Shop) -> None:
    person.open()
    person.sign_in("no such queue")
    expect(person.page.get_by_role("alert")).to_be_visible()


@_scene
def create_queue(person: Person, _shop: Shop) -> None:
    _admin(person)
    person.press("Create queue")
    person.dialog("Create queue").get_by_label("Name").fill("letters")


# The queues


@_scene
def queues(person: Person, _shop: Shop) -> None:
    _admin(person)
    expect(person.table("Queues").locator("tbody").get_by_role("row")).to_have_count(11)
    expect(person.row("Queues", "mail").get_by_role("cell").nth(7)).to_contain_text("2")


@_scene
def queues_empty(person: Person, _shop: Shop) -> None:
    person.page.route("**/api/v1/queues", lambda route: route.fulfill(json={"queues": []}))
    _admin(person)
    _wait(person, "There is no queue yet")


@_scene
def queues_menu(person: Person, _shop: Shop) -> None:
    queues(person, _shop)
    person.press("Actions for mail")
    expect(person.button("Purge")).to_be_visible()


@_scene
def purge(person: Person, shop: Shop) -> None:
    queues_menu(person, shop)
    person.press("Purge")
    person.dialog("Purge the queue")


# A queue


@_scene
def queue(person: Person, _shop: Shop) -> None:
    _admin(person, "queue/mail")
    expect(person.jobs()).to_have_count(36)


@_scene
def overview(person: Person, _shop: Shop) -> None:
    _admin(person, "queue/mail/overview")
    expect(person.page.get_by_role("region", name="Jobs over time")).to_contain_text("Complete 3")


@_scene
def overview_week(person: Person, _shop: Shop) -> None:
    person.page.route("**/api/v1/queue/history*", lambda route: route.fulfill(json=busy_history()))
    _admin(person, "queue/mail/overview?period=week")
    expect(person.page.get_by_role("region", name="Times over time")).to_contain_text("longest in the last week")
    expect(person.page.get_by_role("group", name="The longest of the last week").locator("path").last).to_be_attached()


@_scene
def queue_one_job(person: Person, _shop: Shop) -> None:
    _admin(person, "queue/one%20job")
    expect(person.jobs()).to_have_count(1)


@_scene
def queue_100_000_jobs(person: Person, _shop: Shop) -> None:
    _admin(person, "queue/clicks")
    expect(person.jobs()).to_have_count(50)
    _wait(person, "100,000")


@_scene
def queue_gone(person: Person, _shop: Shop) -> None:
    _admin(person, "queue/no%20such%20queue")
    expect(person.page.get_by_role("alert").first).to_be_visible()


@_scene
def queue_selection(person: Person, _shop: Shop) -> None:
    _admin(person, "queue/mail?state=failed")
    expect(person.jobs()).to_have_count(9)
    for at in (0, 2):
        person.jobs().nth(at).get_by_role("checkbox").check()
    expect(person.page.get_by_role("region", name="Selected jobs")).to_be_visible()


@_scene
def queue_retry_all(person: Person, _shop: Shop) -> None:
    queue_selection(person, _shop)
    person.press("Select all that match")
    _wait(person, "All 9 that match")
    person.page.get_by_role("region", name="Selected jobs").get_by_role("button", name="Retry").click()
    person.dialog("Retry 9 jobs")


def _busy_failures(route: Route) -> None:
    """Groups of failures as the server lists them, with changing numbers over an hour."""
    page = route.fetch().json()
    for at, group in enumerate(page["failures"]):
        minutes = [0] * 60
        for one in range(group["count"]):
            minutes[40 + 5 * at - one * one % 23] += 1
        last = group["last"] - 60 * minutes[::-1].index(max(minutes[-20:]) or 1)
        group.update(minutes=minutes, last=last, first=last - 2400)
    route.fulfill(json=page)


@_scene
def errors(person: Person, _shop: Shop) -> None:
    person.page.route("**/api/v1/failures*", _busy_failures)
    _admin(person, "queue/mail/errors")
    _wait(person, "ConnectionRefusedError")


@_scene
def errors_of_all(person: Person, _shop: Shop) -> None:
    person.page.route("**/api/v1/failures*", _busy_failures)
    _admin(person, "errors")
    _wait(person, "ConnectionRefusedError")


@_scene
def errors_retry(person: Person, _shop: Shop) -> None:
    _admin(person, "queue/mail/errors")
    person.page.get_by_role("listitem").filter(has_text="mailbox").get_by_role("button", name="Retry").click()
    person.dialog("Retry 3 jobs").get_by_label("Jobs per second").fill("50")


@_scene
def errors_move(person: Person, _shop: Shop) -> None:
    _admin(person, "queue/mail/errors")
    group = person.page.get_by_role("listitem").filter(has_text="mailbox")
    group.get_by_role("button", name="More actions for this error").click()
    group.get_by_role("button", name="Move to another queue").click()
    dialog = person.dialog("Move jobs of")
    dialog.get_by_label("To queue").fill("empty")
    dialog.get_by_role("button", name="Dry run").click()
    _wait(person, "3 jobs would be moved.")


@_scene
def dead_letters_move_back(person: Person, shop: Shop) -> None:
    SCENES["dead-letters"](person, shop)
    person.page.get_by_role("paragraph").get_by_role("button", name="Move back").click()
    dialog = person.dialog("Move failed jobs of")
    dialog.get_by_label("Jobs per second").fill("50")
    dialog.get_by_role("button", name="Dry run").click()
    _wait(person, "6 jobs would be moved.")


@_scene
def settings_dead_letter(person: Person, _shop: Shop) -> None:
    _admin(person, "queue/letters/settings")
    _wait(person, "failed jobs stay here")
    person.field("Dead-letter queue").scroll_into_view_if_needed()


@_scene
def workers(person: Person, _shop: Shop) -> None:
    _admin(person, "queue/mail/workers")
    expect(person.row("Workers", "mailer-1")).to_be_visible()


@_scene
def groups_settings(person: Person, shop: Shop) -> None:
    SCENES["groups"](person, shop)
    person.press("Actions for customer-2")
    person.row("Groups", "customer-2").get_by_role("button", name="Own settings").click()
    person.dialog("Settings of the group “customer-2”")


@_scene
def schedule_form(person: Person, _shop: Shop) -> None:
    _admin(person, "queue/reports/schedules")
    person.press("Add schedule")
    dialog = person.dialog("Add a schedule to")
    dialog.get_by_label("Name").fill("weekly letter")
    dialog.get_by_label("Time zone").fill("Europe/Berlin")
    dialog.get_by_label("Cron line").fill("30 2 * * SUN")
    _wait(person, "does not exist")


@_scene
def settings(person: Person, _shop: Shop) -> None:
    _admin(person, "queue/mail/settings")
    expect(person.row("Keys with a role", "worker")).to_be_visible()


@_scene
def add_job(person: Person, _shop: Shop) -> None:
    _admin(person, "queue/one%20job")
    person.press("Add job")
    content = person.dialog("Add a job to").get_by_label("Content", exact=True)
    content.fill('{\n  "to": "ada@example.org",\n  "subject": "Your order 2400"\n}')
    person.dialog("Add a job to").get_by_text("Options").click()
    person.dialog("Add a job to").get_by_label("Unique key").fill("order-2400")
    person.dialog("Add a job to").get_by_label("Debounce, seconds", exact=True).fill("5")


@_scene
def add_job_wrong(person: Person, _shop: Shop) -> None:
    _admin(person, "queue/one%20job")
    person.press("Add job")
    person.dialog("Add a job to").get_by_label("Content", exact=True).fill('{"to": ada@example.org}')
    person.dialog("Add a job to").get_by_role("button", name="Add", exact=True).click()
    expect(person.page.get_by_role("alert")).to_be_visible()


@_scene
def producer(person: Person, _shop: Shop) -> None:
    person.look_at("mail", "the shop's")
    _wait(person, "Read a job")


@_scene
def worker(person: Person, _shop: Shop) -> None:
    person.look_at("mail", "the mailer's")
    _wait(person, "Next job")


# A job


@_scene
def job_missing(person: Person, _shop: Shop) -> None:
    _admin(person, "queue/mail/job/0b8c9e1c-4c1e-4a35-9d5c-5a6f0f0f8a11")
    expect(person.page.get_by_role("alert")).to_be_visible()


# The server, and what may be on any page


@_scene
def keys(person: Person, _shop: Shop) -> None:
    queues(person, _shop)
    person.page.keyboard.press("?")
    person.dialog("Keys")


@_scene
def connection_lost(person: Person, _shop: Shop) -> None:
    queue(person, _shop)
    person.page.route("**/healthz", lambda route: route.abort())
    person.page.route("**/api/**", lambda route: route.abort())
    person.press("Pause")
    _wait(person, "The server can’t be reached.")  # noqa: RUF001  # as it is on the page
