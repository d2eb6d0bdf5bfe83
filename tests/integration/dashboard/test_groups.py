"""The groups of a queue: the table, what can be done with a group, and why a job is held."""

import re
from time import time
from typing import Any

from playwright.sync_api import expect

from jobengine.client import Queue
from tests.integration.daemons import until

from .holding import Held
from .person import Person


def _names(person: Person) -> Any:
    return person.table("Groups").locator("tbody").get_by_role("rowheader").get_by_role("link")


def _act(person: Person, group: str, action: str) -> None:
    """Take an action of a group's menu."""
    person.press(f"Actions for {group}")
    person.row("Groups", group).get_by_role("button", name=action, exact=True).click()


def test_only_a_queue_with_groups_has_a_tab_for_groups(person: Person, queue: Queue) -> None:
    queue.add({})
    person.look_at(queue.name)
    expect(person.page.get_by_role("link", name=re.compile("^Queued 1"))).to_be_visible()
    tab = person.page.get_by_role("link", name="Groups", exact=True)
    expect(tab).to_be_hidden()
    queue.add({}, group="ada")
    tab.click()
    expect(_names(person)).to_have_text(["ada"])


def test_the_table_of_groups_shows_the_running_waiting_and_held_jobs_of_each_group(
    person: Person, queue: Queue
) -> None:
    queue.configure(group_limits={"in_progress": 2})
    queue.add_many([{}] * 5, group="ada")
    queue.add({}, group="bob")
    queue.set_group("bob", in_progress=7, weight=3)
    running = queue.claim(2, worker="ann")[0].uid
    person.look_at(queue.name, part="/groups")
    cells = person.row("Groups", "ada").get_by_role("cell")
    for at, text in enumerate(["2 of 2", "3", "0", "3"]):
        expect(cells.nth(at)).to_have_text(text)
    expect(cells.nth(4)).to_have_attribute("title", re.compile(r"^Added .* UTC"))
    expect(cells.nth(5)).to_have_text("–")  # noqa: RUF001  # as it is on the page
    cells = person.row("Groups", "bob").get_by_role("cell")
    expect(cells.first).to_have_text("0 of 7")
    expect(cells.nth(6)).to_have_text("7 in progress, weight 3")
    expect(person.page.get_by_role("link", name="Queued 4 3 held")).to_be_visible()
    queue.update(running, new_status="complete")
    expect(person.row("Groups", "ada").get_by_role("cell").first).to_have_text("1 of 2")


def test_the_address_has_the_sort_order_of_groups_and_the_searched_name(person: Person, queue: Queue) -> None:
    queue.add({}, group="ada")
    queue.add_many([{}] * 3, group="bob")
    queue.add_many([{}] * 2, group="cleo")
    queue.claim(1)
    person.look_at(queue.name, part="/groups")
    expect(_names(person)).to_have_text(["bob", "cleo", "ada"])
    head = person.table("Groups").get_by_role("columnheader", name="In progress")
    head.get_by_role("button").click()
    expect(head).to_have_attribute("aria-sort", "descending")
    expect(_names(person)).to_have_text(["ada", "bob", "cleo"])
    assert person.page.url.endswith("/groups?sort=in_progress")
    person.page.reload()
    expect(_names(person)).to_have_text(["ada", "bob", "cleo"])
    person.field("Find a group").fill("cleo")
    expect(_names(person)).to_have_text(["cleo"])
    person.field("Find a group").fill("nobody")
    expect(person.page.get_by_text("No group has this name")).to_be_visible()
    assert person.page.url.endswith("/groups?sort=in_progress&group=nobody")


def test_a_sort_order_chosen_during_a_refresh_of_groups_stays_chosen(person: Person, queue: Queue) -> None:
    queue.add({}, group="ada")
    queue.claim()
    queue.add_many([{}] * 2, group="bob")
    person.look_at(queue.name, part="/groups")
    expect(_names(person)).to_have_text(["bob", "ada"])
    with Held(person.page, "groups", most=1) as older:
        person.page.keyboard.press("r")
        older.wait()
        person.table("Groups").get_by_role("button", name="In progress").click()
        older.let_go()
    expect(_names(person)).to_have_text(["ada", "bob"])


def test_a_page_lists_fifty_groups_and_keyboard_keys_turn_the_page(person: Person, queue: Queue) -> None:
    for number in range(50):
        queue.add_many([{}] * 2, group=f"group {number:02}")
    queue.add({}, group="last")
    person.look_at(queue.name, part="/groups")
    expect(_names(person)).to_have_count(50)
    person.page.keyboard.press(".")
    expect(_names(person)).to_have_text(["last"])
    expect(person.page.get_by_text("Groups 51 to 51")).to_be_visible()
    person.page.keyboard.press("j")
    expect(_names(person)).to_be_focused()
    person.page.keyboard.press(",")
    expect(_names(person).last).to_have_text("group 49")


def test_a_group_is_paused_held_and_released(person: Person, queue: Queue) -> None:
    queue.add({}, group="ada")
    person.look_at(queue.name, part="/groups")
    row = person.row("Groups", "ada")
    _act(person, "ada", "Pause")
    expect(row.get_by_role("rowheader")).to_contain_text("Paused")
    assert queue.group("ada").raw["own"] == {"paused": True}
    _act(person, "ada", "Resume")
    expect(row.get_by_role("rowheader")).not_to_contain_text("Paused")
    _act(person, "ada", "Hold for a time")
    person.dialog("Hold the group “ada”").get_by_label("Minutes").fill("10")
    person.confirm("Hold the group “ada”", "Hold")
    expect(row.get_by_role("rowheader")).to_contain_text("Held")
    expect(row.get_by_role("time")).to_have_text(re.compile(r"^in \d min$"))
    assert 500 < queue.group("ada").raw["held_until"] - time() <= 601
    _act(person, "ada", "End the hold")
    expect(row.get_by_role("rowheader")).not_to_contain_text("Held")
    assert queue.group("ada").raw["held_until"] is None


def test_the_list_marks_the_queued_jobs_of_paused_and_held_groups(person: Person, queue: Queue) -> None:
    paused, held, other = (queue.add({}, group=group).uid[:8] for group in ("ada", "bob", "eve"))
    queue.set_group("ada", paused=True)
    queue.set_group("bob", held_until=int(time()) + 600)
    person.look_at(queue.name)
    expect(person.row("Jobs", paused)).to_contain_text("Queued group paused")
    for width in (390, 800, 1280):
        person.page.set_viewport_size({"width": width, "height": 800})
        cell = person.row("Jobs", paused).locator(".c-state")
        assert cell.evaluate("(cell) => cell.scrollWidth <= cell.clientWidth")
        expect(cell.locator(".phone")).to_be_hidden()
    expect(person.row("Jobs", held)).to_contain_text("Queued group held")
    expect(person.row("Jobs", other)).not_to_contain_text(re.compile("paused|held"))
    person.page.get_by_role("link", name="Groups").click()
    _act(person, "ada", "Resume")
    expect(person.row("Groups", "ada").get_by_role("rowheader")).not_to_contain_text("Paused")
    person.page.get_by_role("link", name="Jobs", exact=True).click()
    expect(person.row("Jobs", paused)).not_to_contain_text("paused")
    expect(person.row("Jobs", held)).to_contain_text("group held")


def test_a_group_gets_settings_of_its_own_and_is_reset(person: Person, queue: Queue) -> None:
    queue.add({}, group="ada")
    person.look_at(queue.name, part="/groups")
    _act(person, "ada", "Own settings")
    dialog = person.dialog("Settings of the group “ada”")
    dialog.get_by_label("Jobs in progress").fill("4")
    dialog.get_by_label("Claims").fill("10")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_role("alert")).to_contain_text("A rate needs both")
    dialog.get_by_label("In how many seconds").fill("60")
    dialog.get_by_label("Weight").fill("3")
    person.confirm("Settings of the group “ada”", "Save")
    expect(person.row("Groups", "ada")).to_contain_text("4 in progress, 10 claims in 1 min, weight 3")
    assert queue.group("ada").raw["own"] == {"in_progress": 4, "rate": {"count": 10, "seconds": 60}, "weight": 3}
    _act(person, "ada", "Reset")
    person.confirm("Reset the group “ada”", "Reset")
    until("it is reset", lambda: person.page.evaluate("true") and queue.group("ada").raw["own"] == {})


def test_a_viewer_sees_the_groups_and_no_actions(person: Person, queue: Queue) -> None:
    queue.keys.add("viewer", "the viewer's")
    queue.add({}, group="ada")
    person.look_at(queue.name, "the viewer's", part="/groups")
    expect(_names(person)).to_have_text(["ada"])
    expect(person.button("Actions for ada")).to_have_count(0)


def test_the_page_of_a_held_job_names_its_group_and_the_jobs_that_hold_it(person: Person, queue: Queue) -> None:
    queue.configure(group_limits={"in_progress": 1})
    queue.add_many([{}] * 2, group="ada")
    running = queue.claim(1, worker="ann")[0].uid
    held = next(iter(queue.jobs(state="queued"))).uid
    person.look_at(queue.name)
    person.open(f"queue/{queue.name}/job/{held}")
    expect(person.page.get_by_text("The group 'ada' has 1 of 1 jobs in progress.", exact=True)).to_be_visible()
    expect(person.page.get_by_role("listitem").filter(has_text="at ann, its lease ends in")).to_be_visible()
    person.page.get_by_role("link", name=running[:8]).click()
    person.sees(f"Job {running[:8]}")
    person.page.get_by_role("link", name="ada", exact=True).click()
    expect(_names(person)).to_have_text(["ada"])


def test_a_hold_of_the_queue_is_shown_and_ended(person: Person, queue: Queue) -> None:
    queue.configure(held_until=int(time()) + 600)
    person.look_at(queue.name)
    note = person.page.get_by_role("status").filter(has_text="The queue is held")
    expect(note.get_by_role("time")).to_have_attribute("title", re.compile(" UTC"))
    person.press("End the hold")
    expect(note).to_be_hidden()
    assert queue.stats().raw["held_until"] is None


def test_the_settings_form_sets_limits_and_the_order_of_groups(person: Person, queue: Queue) -> None:
    person.look_at(queue.name, part="/settings")
    person.field("Jobs in progress").fill("50")
    person.field("Claims, each group").fill("10")
    person.field("In how many seconds, each group").fill("60")
    person.field("Order of groups").select_option("strict")
    person.field("If a job fails, in strict order").select_option("hold")
    person.field("Target wait, seconds").fill("30")
    person.press("Save")
    person.is_told("Saved.")
    stats = queue.stats().raw
    assert stats["limits"] == {"in_progress": 50}
    assert stats["group_limits"] == {"rate": {"count": 10, "seconds": 60}}
    assert (stats["group_order"], stats["group_on_failure"], stats["target_wait_seconds"]) == ("strict", "hold", 30)
    person.field("Jobs in progress").fill("")
    person.press("Save")
    until(
        "the limit is removed",
        lambda: person.page.evaluate("true") and "limits" not in queue.stats().raw,
    )
    person.page.get_by_role("link", name="Overview").click()
    expect(person.page.get_by_text("Workers wanted 0")).to_be_visible()


def test_the_settings_form_sets_and_removes_priority_ageing(person: Person, queue: Queue) -> None:
    person.look_at(queue.name, part="/settings")
    person.field("Seconds per step of priority").fill("60")
    person.press("Save")
    person.is_told("Saved.")
    assert queue.stats().raw["order"] == {"seconds_per_priority": 60}
    person.field("Seconds per step of priority").fill("")
    person.press("Save")
    until("ageing is removed", lambda: person.page.evaluate("true") and "order" not in queue.stats().raw)


def test_the_settings_form_says_that_fair_order_and_ageing_exclude_each_other(person: Person, queue: Queue) -> None:
    queue.configure(group_order="fair")
    person.look_at(queue.name, part="/settings")
    person.field("Seconds per step of priority").fill("60")
    person.press("Save")
    expect(person.page.get_by_text("Fair order among groups and seconds for each priority exclude")).to_be_visible()
