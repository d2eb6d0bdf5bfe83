"""The Python on the page about the client, run as a reader would run it."""

import codeop
import re
import socket
import threading
import tomllib
from pathlib import Path

from jobengine import client
from jobengine.client.settings import load

from .daemons import ROOT, Daemon
from .documents import blocks, python

PAGE = "docs/client.md"
KEY = "correct horse"
#: Code to put before the examples that use the client of the first example.
_BEFORE = f"""
from jobengine.client import JobEngine
mail = JobEngine(access_key={KEY!r}).queue("client-mail")
"""


def _run(daemon: Daemon, code: str) -> str:
    return python(code, daemon.port).stdout


def _section(heading: str) -> str:
    return _BEFORE + "\n".join(blocks(PAGE, "python", heading))


def _mail(daemon: Daemon) -> client.Queue:
    queue = client.JobEngine(f"http://127.0.0.1:{daemon.port}", access_key=KEY).queue("client-mail")
    queue.create(exist_ok=True)
    return queue


def test_a_job_is_added_as_the_first_example_of_the_client_page_says(daemon: Daemon) -> None:
    said = _run(daemon, blocks(PAGE, "python")[0])
    (job,) = _mail(daemon).jobs()
    assert said.startswith(f"{job.uid} queued ")
    assert (job.content, job.priority, job.max_attempts, job.tags) == ({"to": "ada@example.org"}, 5, 3, ("news",))


def test_jobs_are_added_as_the_client_page_says(daemon: Daemon) -> None:
    mail = _mail(daemon)
    said = _run(daemon, _section("## Add jobs"))
    assert said.split() == ["500", "1000", "1500", "2000", "2500"]
    assert mail.stats().size == 2 + 2500 + 2 + 1
    assert [job.content["to"] for job in mail.jobs(limit=1)] == ["fay@example.org"]


def test_a_web_handler_adds_a_job_and_does_not_hang_if_the_server_is_silent(daemon: Daemon) -> None:
    mail = _mail(daemon)
    (code,) = blocks(PAGE, "python", "## In a web server")
    assert _run(daemon, code) == "202 A letter is on its way.\n"
    assert [job.content for job in mail.jobs()] == [{"to": "ivy@example.org"}]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        done = python(code, silent.getsockname()[1], 30)
    assert done.stdout == "503 Please try again in a minute.\n"


def test_jobs_are_worked_on_as_the_client_page_says(daemon: Daemon) -> None:
    mail = _mail(daemon)
    uids = [mail.add({"to": f"{number}@example.org"}).uid for number in range(3)]
    _run(daemon, _section("## Work on jobs"))
    assert [mail.get(uid).result for uid in uids] == [{"sent_to": f"{number}@example.org"} for number in range(3)]
    assert {mail.get(uid).worker for uid in uids} == {"mailer-1"}


def test_jobs_wait_for_other_jobs_as_the_client_page_says(daemon: Daemon) -> None:
    mail = _mail(daemon)
    said = _run(daemon, _section("## Let jobs wait for others")).splitlines()
    assert said[0] == "0% of 1000, 0 failed"
    assert said[1].startswith("True 5 It waits for ")
    assert [batch.name for batch in mail.batches()] == ["import-7"]
    assert len(list(mail.jobs(batch="import-7"))) == 1000


def test_a_queue_is_read_and_changed_as_the_client_page_says(daemon: Daemon) -> None:
    mail = _mail(daemon)
    mail.add({"to": "x@example.org"}, tags=["news"])
    mail.claim()[0].fail("no route")
    said = _run(daemon, _section("## Watch and change jobs")).splitlines()
    assert all("no route" in line for line in said[1:3])
    assert said[3].startswith("It can be claimed. It is the next.")
    assert said[4:] == ["1 would be tried again"]
    setup = mail.stats()
    assert (setup.max_jobs, setup.paused, mail.keys.list()) == (100_000, False, [])


def test_groups_are_limited_and_held_as_the_client_page_says(daemon: Daemon) -> None:
    mail = _mail(daemon)
    *groups, reason = _run(daemon, _section("## Limit and hold groups")).splitlines()
    assert groups == ["customer-8 0 5 0", "customer-7 1 0 0"]
    assert reason == "It can be claimed. It is the next. No worker waits for a job of the queue."
    assert (mail.stats().limits, mail.stats().held, mail.group("customer-7").own.raw) == (None, 0, {})


def test_schedules_are_set_and_changed_as_the_client_page_says(daemon: Daemon) -> None:
    mail = _mail(daemon)
    first, *listed, ran, past = _run(daemon, _section("## Run jobs on a schedule")).splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d 03:00:00\+0[12]:00 \(\)", first)
    assert [line.partition(" ")[0] for line in listed] == ["nightly", "refresh"]
    (nightly,) = mail.schedules.list()
    assert (nightly.cron, nightly.job["priority"], mail.get(ran).content) == (
        "0 4 * * 1-5",
        5,
        {"to": "ida@example.org"},
    )
    assert past.count("datetime.datetime(") == 5


def test_events_are_watched_as_the_client_page_says(daemon: Daemon) -> None:
    mail = _mail(daemon)
    stop = threading.Event()

    def add() -> None:
        while not stop.wait(0.1):
            mail.add({})

    adding = threading.Thread(target=add)
    adding.start()
    try:
        assert "None queued" in _run(daemon, _section("## Watch events"))
    finally:
        stop.set()
        adding.join()


def test_the_asyncio_example_of_the_client_page_runs(daemon: Daemon) -> None:
    assert _run(daemon, blocks(PAGE, "python", "## With asyncio")[0]) == "10\n"
    numbers = client.JobEngine(f"http://127.0.0.1:{daemon.port}", access_key=KEY).queue("numbers")
    assert [job.result for job in numbers.jobs(state="complete")] == list(range(10))


def test_an_error_is_handled_as_the_client_page_says(daemon: Daemon) -> None:
    mail = _mail(daemon)
    mail.configure(max_jobs=1)
    mail.add({})
    assert _run(daemon, _section("## When something goes wrong")).startswith("429 ")


def test_the_client_page_lists_exactly_the_existing_errors() -> None:
    section = (ROOT / PAGE).read_text().partition("\n## When something goes wrong\n")[2].partition("\n## ")[0]
    table = "".join(re.findall(r"^\| (`.*?) \|", section, re.MULTILINE))
    errors = {name for name in client.__all__ if isinstance(getattr(client, name), type)}
    errors = {name for name in errors if issubclass(getattr(client, name), client.JobEngineError)}
    assert set(re.findall(r"`(\w+)`", table)) == errors - {"JobEngineError"}


def test_the_profile_on_the_client_page_can_be_read(tmp_path: Path) -> None:
    (text,) = blocks(PAGE, "toml")
    assert tomllib.loads(text)
    for name, content in (("config.toml", text), ("work.key", "a key\n")):
        (tmp_path / name).touch(0o600)
        (tmp_path / name).write_text(content)
    settings = load(profile="work", environment={}, path=tmp_path / "config.toml")
    key = settings.key_for("mail")
    assert key is not None
    assert key.reveal() == KEY


def test_every_example_can_be_pasted_into_a_session_of_python() -> None:
    read = codeop.CommandCompiler()
    for code in blocks(PAGE, "python"):
        lines: list[str] = []
        for line in [*code.splitlines(), ""]:
            lines.append(line)
            if read("\n".join(lines), symbol="single") is not None:
                lines.clear()
        assert lines == []


def test_every_example_of_the_client_page_is_run() -> None:
    run = re.findall(r'(?:_section|blocks)\((?:PAGE, "python", )?"(## .*?)"', Path(__file__).read_text())
    page = (ROOT / PAGE).read_text()
    sections = re.split(r"^(?=## )", page, flags=re.MULTILINE)[1:]
    assert {one.partition("\n")[0] for one in sections if "```python" in one} == set(run)
