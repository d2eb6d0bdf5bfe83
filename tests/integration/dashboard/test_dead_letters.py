"""Dead-letter queues: their settings, a warning if a dead-letter queue is missing, and moving jobs back."""

import re

from playwright.sync_api import expect

from jobengine.client import JobEngine, Queue
from tests.integration.daemons import Daemon, until

from .dead_letters import set_dead_letter
from .person import Person


def _dead(engine: JobEngine, queue: Queue) -> Queue:
    dead = engine.queue(f"{queue.name} dead")
    dead.create()
    return dead


def _setting(queue: Queue) -> object:
    return queue.stats().raw.get("dead_letter")


def test_the_settings_form_sets_and_removes_the_dead_letter_queue(
    person: Person, engine: JobEngine, queue: Queue
) -> None:
    dead = _dead(engine, queue)
    person.look_at(queue.name, part="/settings")
    name = person.field("Dead-letter queue")
    name.fill(dead.name)
    person.press("Save")
    person.is_told("Saved.")
    assert _setting(queue) == {"queue_name": dead.name, "keep_minutes": 20160}
    expect(person.field("Keep jobs there, minutes")).to_have_value("20160")
    person.field("Keep jobs there, minutes").fill("60")
    person.press("Save")
    until("the setting is saved", lambda: _setting(queue) == {"queue_name": dead.name, "keep_minutes": 60})
    name.fill("")
    person.press("Save")
    until("the setting is removed", lambda: _setting(queue) is None)


def test_the_settings_form_refuses_a_dead_letter_queue_that_does_not_exist_or_makes_a_circle(
    person: Person, engine: JobEngine, live: Daemon, queue: Queue
) -> None:
    dead = _dead(engine, queue)
    with live.client() as client:
        set_dead_letter(client, dead.name, queue.name)
    person.look_at(queue.name, part="/settings")
    for name, text in (("nowhere", "There is no queue named 'nowhere'; create it first."), (dead.name, "")):
        person.field("Dead-letter queue").fill(name)
        person.press("Save")
        expect(person.page.get_by_role("alert")).to_contain_text(text or re.compile(r"\w"))
    assert _setting(queue) is None


def test_a_missing_dead_letter_queue_is_marked_and_can_be_set_again(
    person: Person, engine: JobEngine, live: Daemon, queue: Queue
) -> None:
    dead = _dead(engine, queue)
    with live.client() as client:
        set_dead_letter(client, queue.name, dead.name)
    dead.remove()
    queue.update(queue.add({}).uid, new_status="failed", error="no route")
    until("the queue is known to be missing", lambda: "missing" in str(_setting(queue)))
    person.list_queues(queue.name)
    expect(person.row("Queues", queue.name)).to_contain_text("no dead-letter queue")
    person.open(f"queue/{queue.name}/settings")
    mark = person.page.get_by_text("Dead-letter queue missing")
    expect(mark).to_be_visible()
    warning = person.page.get_by_text(f"There is no queue “{dead.name}” any more")
    expect(warning).to_be_visible()
    dead.create()
    person.press("Save")
    person.is_told("Saved.")
    expect(warning).to_have_count(0)
    expect(mark).to_have_count(0)
    assert _setting(queue) == {"queue_name": dead.name, "keep_minutes": 20160}


def test_failed_jobs_are_moved_back_from_a_dead_letter_queue_at_a_pace(
    admin: Person, engine: JobEngine, live: Daemon, queue: Queue
) -> None:
    dead, other = _dead(engine, queue), engine.queue(f"{queue.name} too")
    other.create()
    with live.client() as client:
        for one in (queue, other):
            set_dead_letter(client, one.name, dead.name)
    uids = {queue.add({}).uid for _ in range(3)}
    for one, uid in [*((queue, uid) for uid in uids), (other, other.add({}).uid)]:
        one.update(uid, new_status="failed", error="no route")
    until("the failed jobs were moved", lambda: dead.stats().size == 4)
    admin.open(f"queue/{dead.name}")
    expect(admin.page.get_by_text("Failed jobs here came from")).to_contain_text(other.name)
    admin.press(f"Move back to {queue.name}")
    dialog = admin.dialog("Move failed jobs of")
    expect(dialog.get_by_label("To queue")).to_have_value(queue.name)
    dialog.get_by_label("Jobs per second").fill("0.01")
    dialog.get_by_role("button", name="Dry run").click()
    expect(dialog.get_by_role("status")).to_have_text("3 jobs would be moved.")
    assert dead.stats().size == 4
    dialog.get_by_role("button", name="Move", exact=True).click()
    expect(dialog.get_by_role("status")).to_contain_text("3 jobs moved.")
    assert {job.uid for job in queue.jobs(state="queued")} == uids
    assert sum(job.not_before is not None for job in queue.jobs()) == 2


def test_the_page_of_a_dead_letter_and_the_list_of_errors_offer_to_move_jobs_back(
    admin: Person, engine: JobEngine, live: Daemon, queue: Queue
) -> None:
    dead = _dead(engine, queue)
    with live.client() as client:
        set_dead_letter(client, queue.name, dead.name)
    uids = [queue.add({}).uid for _ in range(2)]
    for uid, error in zip(uids, ("no route", "no space"), strict=True):
        queue.update(uid, new_status="failed", error=error)
    until("the failed jobs were moved", lambda: dead.stats().size == 2)
    admin.open(f"queue/{dead.name}/job/{uids[0]}")
    expect(
        admin.page.get_by_text("Retry starts it again, in this queue, as if it had never been tried.")
    ).to_be_visible()
    acts = admin.page.get_by_role("button", name=re.compile("^(Move .* back|Retry)$"))
    expect(acts).to_have_text(["Move this job back", "Move jobs like it back", "Retry"])
    expect(acts.and_(admin.page.locator(".primary"))).to_have_text(["Move this job back"])
    admin.press("Move jobs like it back")
    admin.dialog("Move failed jobs of").get_by_role("button", name="Move", exact=True).click()
    until("the job is back", lambda: [job.uid for job in queue.jobs()] == uids[:1])
    admin.page.keyboard.press("Escape")
    admin.open(f"queue/{dead.name}/errors")
    shown = admin.page.get_by_role("listitem").filter(has_text="no space")
    expect(shown.get_by_role("button", name="Move back")).to_be_visible()  # the page has read where the jobs came from
    shown.get_by_role("button", name="Retry").click()
    dialog = admin.dialog("Retry 1 job")
    expect(dialog).to_contain_text(f"The jobs stay in this queue, even if their workers are only in “{queue.name}”")
    dialog.get_by_role("button", name="Keep as it is").click()
    shown.get_by_role("button", name="Move back").click()
    admin.dialog("Move failed jobs of").get_by_role("button", name="Move", exact=True).click()
    until("both jobs are back", lambda: {job.uid for job in queue.jobs()} == set(uids))


def test_a_job_is_moved_back_alone_and_to_another_queue_from_its_page(
    admin: Person, engine: JobEngine, live: Daemon, queue: Queue
) -> None:
    dead = _dead(engine, queue)
    with live.client() as client:
        set_dead_letter(client, queue.name, dead.name)
    first, second = (queue.add({}).uid for _ in range(2))
    for uid in (first, second):
        queue.update(uid, new_status="failed", error="no route")
    until("the failed jobs were moved", lambda: dead.stats().size == 2)
    admin.open(f"queue/{dead.name}/job/{first}")
    admin.press("Move this job back")
    dialog = admin.dialog("Move 1 job of")
    expect(dialog.get_by_label("To queue")).to_have_value(queue.name)
    dialog.get_by_role("button", name="Dry run").click()
    expect(dialog.get_by_role("status")).to_have_text("1 job would be moved.")
    dialog.get_by_role("button", name="Move", exact=True).click()
    expect(dialog.get_by_role("status")).to_contain_text("1 job moved.")
    assert ([job.uid for job in queue.jobs()], [job.uid for job in dead.jobs()]) == ([first], [second])
    admin.page.keyboard.press("Escape")
    expect(admin.page.get_by_role("alert")).to_contain_text(f"This job was moved to “{queue.name}”.")
    expect(admin.page.get_by_text("Retry starts it again")).to_be_hidden()
    admin.page.get_by_role("link", name="Show the job").click()
    expect(admin.page.get_by_text("Moved here from the queue")).to_contain_text(dead.name)
    admin.choose("More actions", "Move to another queue")
    dialog = admin.dialog("Move 1 job of")
    dialog.get_by_label("To queue").fill(dead.name)
    queue.claim()
    dialog.get_by_role("button", name="Dry run").click()
    expect(dialog.get_by_role("status")).to_have_text("0 jobs would be moved. Not moved: 1 job: in progress.")
    queue.update(first, new_status="queued")
    dialog.get_by_role("button", name="Move", exact=True).click()
    until("the job is in the other queue", lambda: {job.uid for job in dead.jobs()} == {first, second})


def test_the_overview_and_the_errors_of_a_queue_link_to_its_dead_letter_queue(
    admin: Person, engine: JobEngine, live: Daemon, queue: Queue
) -> None:
    dead = _dead(engine, queue)
    with live.client() as client:
        set_dead_letter(client, queue.name, dead.name)
    line = admin.page.get_by_text("Failed jobs move to")
    for part in ("overview", "errors"):
        admin.open(f"queue/{queue.name}/{part}")
        expect(line).to_have_text(f"Failed jobs move to {dead.name}")
    admin.page.get_by_role("link", name="Jobs", exact=True).click()
    expect(line).to_be_hidden()
    admin.page.get_by_role("link", name="Overview").click()
    line.get_by_role("link").click()
    admin.sees(dead.name)


def test_selected_jobs_and_all_that_match_a_filter_are_moved_from_the_list(
    person: Person, engine: JobEngine, queue: Queue
) -> None:
    other = _dead(engine, queue)
    queue.add_many([{}] * 3, tags=["slow"])
    queue.add({})
    person.look_at(queue.name)
    expect(person.jobs()).to_have_count(4)
    person.page.get_by_text("More filters").click()
    person.field("Tag").fill("slow")
    expect(person.jobs()).to_have_count(3)
    person.jobs().first.get_by_role("checkbox").check()
    _move_selected(person, "Move 1 job of", other, "1 job moved.")
    expect(person.jobs()).to_have_count(2)
    person.jobs().first.get_by_role("checkbox").check()
    person.press("Select all that match")
    _move_selected(person, "Move jobs of", other, "2 jobs moved.")
    assert (queue.stats().size, other.stats().size) == (1, 3)


def test_complete_jobs_alone_can_not_be_moved_and_a_note_says_that_they_stay(
    person: Person, engine: JobEngine, queue: Queue
) -> None:
    other = _dead(engine, queue)
    complete = queue.add({}, keep_minutes=60).uid
    queue.claim()
    queue.update(complete, new_status="complete")
    queued = queue.add({}).uid
    person.look_at(queue.name)
    person.row("Jobs", complete[:8]).get_by_role("checkbox").check()
    expect(person.button("Move")).to_be_disabled()
    person.row("Jobs", queued[:8]).get_by_role("checkbox").check()
    person.press("Move")
    expect(person.dialog("Move 2 jobs of")).to_contain_text("Jobs in progress and complete jobs stay in this queue.")
    person.page.keyboard.press("Escape")
    person.row("Jobs", complete[:8]).get_by_role("checkbox").uncheck()
    _move_selected(person, "Move 1 job of", other, "1 job moved.")


def _move_selected(person: Person, heading: str, to: Queue, outcome: str) -> None:
    """Move the selected jobs, and close the dialog."""
    person.press("Move")
    dialog = person.dialog(heading)
    dialog.get_by_label("To queue").fill(to.name)
    dialog.get_by_role("button", name="Move", exact=True).click()
    expect(dialog.get_by_role("status")).to_contain_text(outcome)
    dialog.get_by_text("Close", exact=True).click()
