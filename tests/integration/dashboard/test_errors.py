"""Errors of jobs: the line that names an error comes first, and the trace is folded below it."""

import pytest
from playwright.sync_api import Locator, expect

from jobengine.client import JobEngine, Queue
from tests.integration.shells import ADMIN_KEY

from .conftest import Arrive
from .person import Person

#: Longer than what any page shows of an error at once.
_TRACE = "Traceback (most recent call last):\n" + "".join(
    f'  File "/srv/app/mailer.py", line {line}, in send_{line}\n    server.sendmail(sender, [recipient], text)\n'
    for line in range(30)
)
_EXCEPTION = "ConnectionRefusedError: [Errno 111] Connection refused"


def _fail(queue: Queue, error: str) -> str:
    uid = queue.add({}).uid
    queue.update(queue.claim()[0].uid, new_status="failed", error=error)
    return uid


def _shows_the_exception_and_folds_the_trace(view: Locator) -> None:
    expect(view.get_by_role("strong")).to_have_text(_EXCEPTION)
    expect(view.get_by_role("strong")).to_be_in_viewport()
    trace = view.get_by_text("Traceback (most recent call last)")
    expect(trace).to_be_hidden()
    view.get_by_text("Traceback: mailer.py, line 29, in send_29").click()
    expect(trace).to_be_visible()
    expect(trace).to_contain_text("in send_0")
    expect(trace).to_contain_text(_EXCEPTION)


@pytest.mark.parametrize("part", ["/errors", "/job/{uid}"])
def test_an_error_group_shows_the_exception_first_and_folds_the_trace(person: Person, queue: Queue, part: str) -> None:
    uid = _fail(queue, _TRACE + _EXCEPTION)
    person.look_at(queue.name)
    person.open(f"queue/{queue.name}" + part.format(uid=uid))
    _shows_the_exception_and_folds_the_trace(person.page.locator("je-error").first)


def test_an_opened_trace_stays_open_while_its_group_grows(person: Person, queue: Queue) -> None:
    _fail(queue, _TRACE + _EXCEPTION)
    person.look_at(queue.name)
    person.open(f"queue/{queue.name}/errors")
    _shows_the_exception_and_folds_the_trace(person.page.locator("je-error"))
    _fail(queue, _TRACE + _EXCEPTION)
    expect(person.page.get_by_role("listitem").filter(has_text="2 failed")).to_be_visible()
    expect(person.page.get_by_text("Traceback (most recent call last)")).to_be_visible()


def test_the_errors_of_all_queues_are_grouped_on_one_page(arrive: Arrive, engine: JobEngine, queue: Queue) -> None:
    other = engine.queue(f"{queue.name} too")
    other.create()
    error = f"no route to {queue.name}"
    for failing in (queue, queue, other):
        _fail(failing, error)
    person = arrive()
    person.open()
    person.sign_in_as_admin(ADMIN_KEY)
    person.page.get_by_role("link", name="All errors").click()
    person.sees("Errors of all queues")
    group = person.page.get_by_role("listitem").filter(has_text=error)
    expect(group).to_contain_text("3 failed")
    expect(group.get_by_role("link", name=f"{other.name}: 1")).to_be_visible()
    group.get_by_role("link", name=f"{queue.name}: 2").click()
    person.sees(queue.name)
    expect(person.jobs()).to_have_count(2)


def test_the_delete_button_of_an_error_group_is_not_beside_retry(person: Person, queue: Queue) -> None:
    _fail(queue, "no route")
    person.look_at(queue.name, part="/errors")
    expect(person.button("Retry")).to_be_visible()
    expect(person.button("Delete")).to_be_hidden()
    person.choose("More for this error", "Delete")
    expect(person.dialog("Delete: 1 job")).to_be_visible()


_DURING = "During handling of the above exception, another exception occurred:"
_LINES = """async (errors) => {
    const { errorLine } = await import(new URL('format.js', document.querySelector('script[src$="app.js"]').src));
    return errors.map(errorLine);
}"""
#: Errors, and the line that names each.
_ERRORS = {
    "no route to host": "no route to host",
    "java.io.IOException: refused\n\tat a.B.c(B.java:1)": "java.io.IOException: refused",
    f"{_TRACE}ValueError: not\n  an address\nnor a name": "ValueError: not",
    _TRACE[400:] + _EXCEPTION: _EXCEPTION,
    f"{_TRACE}KeyError: 1\n\n{_DURING}\n\n{_TRACE}OSError: 2": "OSError: 2",
    '  + Exception Group Traceback (most recent call last):\n  |   File "a.py", line 1, in <module>\n'
    "  | ExceptionGroup: both (2 sub-exceptions)\n  +-+---------------- 1 ----------------\n"
    "    | ValueError: 1\n    +------------------------------------": "ExceptionGroup: both (2 sub-exceptions)",
    '  File "a.py", line 1\n    x = = 1\n        ^\nSyntaxError: invalid syntax': "SyntaxError: invalid syntax",
    _TRACE: "server.sendmail(sender, [recipient], text)",
    "": "",
}


def test_the_line_that_names_an_error_is_found_in_texts_of_many_kinds(person: Person) -> None:
    person.open()
    person.sees("Sign in")
    lines = person.page.evaluate(_LINES, list(_ERRORS))
    assert lines == list(_ERRORS.values())
