"""docs/sizing.md: its commands run, and its figures are those that were measured."""

import re
import threading

from benchmarks.capacity import LENGTHS
from jobengine.client import JobEngine
from jobengine.daemon.settings import SETTINGS
from jobengine.worker import Worker

from . import documents
from .daemons import ROOT, Daemon
from .documents import at_port, blocks, python
from .shells import Shell

PAGE = "docs/sizing.md"
KEY = "correct horse"
#: The rows of the page beside those of the measured figures.
ROWS = {
    "one program, one thread, one `add` at a time": "Python client, one thread, one add at a time",
    "eight threads that `add` one job at a time, and a worker with eight threads": (
        "one process adds, one works off: 8 threads each, one job in a call"
    ),
    "`add_many`, and a worker with 32 threads": "one process adds, one works off: many in a call or 32 threads",
    "over HTTP, one request each to add, claim and complete, 32 connections": ("single calls, add → claim → complete"),
    "over HTTP, 100 jobs in a request": "bulk of 100, add → claim → complete",
    "over HTTP, 1,000 jobs in a request": "bulk of 1,000, add → claim → complete",
    "over HTTP, only adding, 1,000 jobs in a request": "bulk of 1,000, adding alone",
}


def _number(text: str) -> float:
    return float(text.replace(",", ""))


def _measured() -> dict[str, float]:
    """The measured figures of JobEngine, by the row's name."""
    pages = [ROOT / "benchmarks/figures.md", ROOT / "docs/performance.md"]
    text = "\n".join(page.read_text() for page in pages if page.exists())
    rows = re.findall(r"^\| ([^|]+?) \| ([\d,.]+) [^|]*\|", text, re.MULTILINE)
    return {name: _number(figure) for name, figure in reversed(rows)}


def test_the_rates_of_the_page_are_measured_ones_rounded_down() -> None:
    text = (ROOT / PAGE).read_text()
    shown = dict(re.findall(r"^\| ([^|]+?) \| ([\d,]+) \|$", text, re.MULTILINE))
    assert shown.keys() == ROWS.keys()
    measured = _measured()
    wrong = {row: figure for row, figure in shown.items() if not 0.8 <= _number(figure) / measured[ROWS[row]] <= 1}
    assert wrong == {}


def test_the_page_rounds_the_other_figures_from_measured_ones() -> None:
    text = (ROOT / PAGE).read_text()
    measured = _measured()
    (jobs,) = re.findall(r"one Python worker does up to ([\d,]+) a second", text)
    assert 0.8 <= _number(jobs) / measured["Python worker, 32 threads, jobs that do nothing"] <= 1
    (seconds,) = re.findall(r"some (\d+) seconds for each million jobs", text)
    assert 0.8 <= measured["1,000,000 queued jobs, ready again once killed"] / _number(seconds) <= 1.2
    (most,) = (setting.default for setting in SETTINGS if setting.variable == "MAX_CONNECTIONS")
    assert f"{int(str(most)):,} connections" in text


def test_the_page_has_the_memory_of_the_measured_contents() -> None:
    rows = re.findall(r"^\| ([\d,]+) bytes \|", (ROOT / PAGE).read_text(), re.MULTILINE)
    assert list(map(_number, rows)) == list(LENGTHS)


def test_the_sums_of_the_page_are_right() -> None:
    text = (ROOT / PAGE).read_text()
    memory = [_number(found) for found in re.findall(r"^\| [\d,]+ bytes \| ([\d,]+) bytes", text, re.MULTILINE)]
    small, large = (round((360_000 * each + 60e6) / 1e7) * 10 for each in memory)
    assert f"take {small} MB of memory, and of 1,024 bytes {large} MB" in text


def test_the_disk_is_measured_as_the_page_says(daemon: Daemon) -> None:
    (code,) = blocks(PAGE, "python")
    assert re.fullmatch(r"a sync takes [\d.]+ ms, the slowest [\d.]+ ms\n", python(code, daemon.port).stdout)


def test_a_server_shows_its_size_and_the_workers_it_wants_as_the_page_says(shell: Shell) -> None:
    size, workers = (at_port(code, shell.daemon.port) for code in blocks(PAGE))
    shell.add([{"to": "ada@example.org"}])
    environment = {**shell.environment, "ADMIN": shell.environment["JOBENGINE_ADMIN_KEY"]}
    size = size.replace("curl -sS", 'curl -sS -H "X-Admin-Key: $ADMIN"')
    done = documents.shell(size, shell.home, environment)
    assert done.returncode == 0, done.stderr
    names = re.findall(r"^([a-z_]+) [\d.e+]+$", done.stdout, re.MULTILINE)
    assert sorted(names) == ["jobengine_file_bytes", "jobengine_live_bytes", "process_resident_memory_bytes"]
    done = documents.shell(workers, shell.home, environment)
    assert '"workers_wanted":1' in done.stdout, done.stderr


def test_a_worker_has_few_connections_whatever_its_concurrency(daemon: Daemon) -> None:
    (most,) = re.findall(r"has at most (\w+) connections", (ROOT / PAGE).read_text())
    place = f"http://127.0.0.1:{daemon.port}"
    with JobEngine(place, access_key=KEY) as engine:
        mail = engine.queue("mail")
        mail.create()
        mail.add_many([{"number": number} for number in range(10_000)], timeout_seconds=1)
    worker = Worker("mail", concurrency=100, url=place, access_key=KEY)
    worker.handler("mail")(lambda content, job: None)
    seen: list[float] = []
    done = threading.Event()

    def watch() -> None:
        with daemon.client() as client:
            while not done.is_set():
                seen.append(client.metric("jobengine_connections") - 1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        assert worker.run_until_empty() == 10_000
    finally:
        done.set()
        watcher.join()
    assert 1 <= max(seen) <= {"four": 4}[most]
