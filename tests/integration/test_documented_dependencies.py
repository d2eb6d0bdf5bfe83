"""The programs on the page about jobs that wait for others, run as a reader would run them."""

import json
import re
from typing import Any

from jobengine.client import JobEngine

from .daemons import ROOT, Daemon
from .documents import at_port, blocks, python, shell
from .shells import Shell

PAGE = "docs/dependencies.md"
KEY = "correct horse"


def _run(daemon: Daemon, heading: str, **instead: str) -> str:
    """The output of the program under a heading, with some of its words replaced."""
    (code,) = blocks(PAGE, "python", heading)
    for word, other in instead.items():
        assert word in code
        code = code.replace(word, other)
    return python(code, daemon.port).stdout


def test_a_pipeline_runs_over_three_queues_as_the_dependencies_page_says(daemon: Daemon) -> None:
    assert _run(daemon, "## A pipeline over three queues") == "cats/800-cat.png\n"


def test_rows_are_mapped_and_reduced_as_the_dependencies_page_says(daemon: Daemon) -> None:
    said = _run(daemon, "## Map and reduce over 100,000 rows", **{"100_000": "2_000"})
    assert said == f"{sum(number**2 for number in range(2_000))}\n"


def test_an_article_waits_for_its_approval_as_the_dependencies_page_says(daemon: Daemon) -> None:
    reason, result = _run(daemon, "## Approve, then publish").splitlines()
    assert reason.startswith("It waits for ")
    assert "of the queue 'approvals' (queued)" in reason
    assert result == "article 7, approved by ada"


def test_a_job_adds_children_at_run_time_as_the_dependencies_page_says(daemon: Daemon) -> None:
    assert _run(daemon, "## Children found at run time") == "3241 in 1 attempt\n"


def test_dependencies_and_batches_work_over_http_as_the_dependencies_page_says(daemon: Daemon) -> None:
    done = shell(at_port("\n".join(blocks(PAGE, heading="## Over HTTP")), daemon.port), daemon.home, daemon.environment)
    assert done.returncode == 0, done.stderr
    text, decoder, answers = done.stdout.lstrip(), json.JSONDecoder(), list[Any]()
    while text:
        answer, end = decoder.raw_decode(text)
        answers.append(answer)
        text = text[end:].lstrip()
    added, why, graph, created, rows, closed, read, listed = answers
    assert added["jobs"][2]["depends_on"] == [job["uid"] for job in added["jobs"][:2]]
    assert why["reason"].startswith("It waits for 2 of 2 jobs: ")
    assert len(graph["nodes"]) == 3
    assert [job["batch"] for job in rows["jobs"]] == ["import-7"] * 2
    assert (created["open"], closed["open"], read["queued"]) == (True, False, 2)
    assert listed["batches"] == [read]


def test_the_shell_example_of_an_article_and_its_approval_works(daemon: Daemon) -> None:
    with JobEngine(f"http://127.0.0.1:{daemon.port}", access_key=KEY) as engine:
        for name in ("approvals", "articles"):
            engine.queue(name).create()
    ours = Shell(daemon, daemon.home)
    (commands,) = blocks(PAGE, heading="## At a shell")
    done = shell(commands, daemon.home, {**ours.environment, "JOBENGINE_ACCESS_KEY": KEY})
    assert done.returncode == 0, done.stderr
    assert re.search(r'result\t\[.*"result": ?{"by": ?"ada"}}\]', done.stdout)


def test_every_program_and_command_of_the_dependencies_page_has_a_test() -> None:
    text = (ROOT / PAGE).read_text()
    assert (text.count("```python\n"), text.count("```sh\n")) == (4, 3)
