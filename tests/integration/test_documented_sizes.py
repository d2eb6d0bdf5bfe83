"""docs/sizing.md: its commands run, and its figures are those that were measured."""

import re
import threading

from jobengine.client import JobEngine
from jobengine.daemon.settings import SETTINGS
from jobengine.worker import Worker

from . import documents
from .daemons import ROOT, Daemon
from .documents import at_port, blocks, python
from .shells import Shell

PAGE = "docs/sizing.md"
KEY = "correct horse"


def test_the_sizing_page_states_the_default_connection_limit() -> None:
    (most,) = (setting.default for setting in SETTINGS if setting.variable == "MAX_CONNECTIONS")
    assert f"{int(str(most)):,} connections" in (ROOT / PAGE).read_text()


def test_the_program_on_the_sizing_page_measures_the_disk(daemon: Daemon) -> None:
    (code,) = blocks(PAGE, "python")
    assert re.fullmatch(r"a sync takes [\d.]+ ms, the slowest [\d.]+ ms\n", python(code, daemon.port).stdout)


def test_a_server_shows_its_size_and_the_wanted_number_of_workers_as_the_sizing_page_says(shell: Shell) -> None:
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
        # On a busy machine some leases of a second end before their jobs have begun.
        assert worker.run_until_empty()
    finally:
        done.set()
        watcher.join()
    assert 1 <= max(seen) <= {"four": 4}[most]
