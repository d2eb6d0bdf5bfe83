"""The command line against the real daemon."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator

import click
import pytest

from jobengine.cli.app import app
from jobengine.cli.command import Command
from jobengine.tools.copying import backup
from jobengine.tools.exporting import export
from tests.storage.files_of_commits import write
from tests.tools.go_files import GO_SECRET, go_file

from .cutting import CuttingProxy
from .daemons import free_port, until
from .db_files import RECORDS
from .shells import ADMIN_KEY, KEY, UID, Shell, stop

# How commands end

NO_KEY = {"JOBENGINE_ACCESS_KEY": "", "JOBENGINE_ADMIN_KEY": ""}
WRONG_KEY = {**NO_KEY, "JOBENGINE_ACCESS_KEY": "wrong"}
NO_SERVER = {"JOBENGINE_URL": "http://127.0.0.1:1"}
ADMIN_WRONG = "jobengine: The admin key is wrong; set JOBENGINE_ADMIN_KEY to the server's."


@pytest.mark.parametrize(
    ("line", "code", "said", "environment"),
    [
        (f"show mail {UID}", 3, "", {}),
        ("jobs nowhere", 3, "", {}),
        ("add nowhere {}", 3, "`jobengine queue create`", {}),
        ("jobs mail", 4, "set JOBENGINE_ACCESS_KEY to one that does", WRONG_KEY),
        ("jobs mail", 4, "", NO_KEY),
        ("queue list", 4, ADMIN_WRONG, {"JOBENGINE_ADMIN_KEY": "wrong"}),
        ("queue list", 4, "JOBENGINE_ADMIN_KEY", {"JOBENGINE_ADMIN_KEY": ""}),
        ("jobs mail", 5, NO_SERVER["JOBENGINE_URL"], NO_SERVER),
        ("jobs mail", 2, "", {"JOBENGINE_URL": "ftp://x"}),
        ("add mail {} --unique-key \udcff", 2, "", {}),
        ("add thumbnails {}", 1, "draining", {}),
        ("jobs", 2, "", {}),
    ],
)
def test_the_exit_code_and_the_advice_depend_on_the_error(
    shell: Shell, line: str, code: int, said: str, environment: dict[str, str]
) -> None:
    shell("queue", "drain", "thumbnails")
    assert said in shell(*line.split(), code=code, environment=environment).stderr


def test_the_error_for_a_refused_key_has_advice_even_if_the_address_is_throttled(shell: Shell) -> None:
    with shell.daemon.client(key="wrong", sampled=True) as client:
        while client.list("mail").status != 429:
            pass
    said = shell("jobs", "mail", code=4, environment=WRONG_KEY).stderr
    assert "set JOBENGINE_ACCESS_KEY to one that does" in said
    assert "a right key works at once" in said
    shell("jobs", "mail")


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("jobengine jobs mail --all --json | head -n 1 > first", 0, ""),
        ("jobengine jobs mail > /dev/full", 1, "jobengine: An error on this machine: No space left on device.\n"),
        ("jobengine jobs mail --all >&-", 0, ""),
        ("jobengine jobs nowhere 2>&-", 3, ""),
        ("jobengine add mail --many - <&-", 0, "All 0 jobs of - are in the queue 'mail'"),
        ("jobengine delete mail --all <&-", 2, "add --yes"),
        ("jobengine work mail --until-empty -- sh -c 'echo no >&2' 2>&-", 0, ""),
    ],
)
def test_commands_handle_closed_or_full_standard_streams(shell: Shell, line: str, code: int, said: str) -> None:
    shell.add([{"text": "x" * 10_000}] * 30)
    done = subprocess.run(
        ["bash", "-c", line], cwd=shell.home, env=shell.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert said in done.stderr if said else done.stderr == ""


def test_the_error_for_a_line_that_the_server_refuses_has_its_number(shell: Shell) -> None:
    lines = [json.dumps({"n": number}) for number in range(700)]
    lines[600] = json.dumps({"text": "x" * (1 << 20)})
    (shell.home / "jobs.jsonl").write_text("\n".join(lines))
    said = shell("add", "mail", "--many", "jobs.jsonl", code=1).stderr
    assert "jobs.jsonl, line 601: jobs[" in said
    assert "600 of 700 jobs are in the queue" in said


def _lines(shell: Shell, count: int) -> list[int]:
    (shell.home / "jobs.jsonl").write_text("".join(f'{{"n": {number}}}\n' for number in range(count)))
    return list(range(count))


def _numbers(shell: Shell) -> list[int]:
    with shell.daemon.client(key=KEY) as client:
        return sorted(job["content"]["n"] for job in client.jobs("mail").values())


class _Stuck(CuttingProxy):
    """Refuses all connections after it has cut one."""

    def _passed(self, direction: str, data: bytes) -> tuple[bytes, bool]:
        passed, cut = super()._passed(direction, data)
        self.refuses = self.refuses or cut
        return passed, cut


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_add_of_a_file_is_resumed_and_adds_no_job_twice(shell: Shell, number: int) -> None:
    numbers = _lines(shell, 30_000)

    def some() -> int:
        with shell.daemon.client(key=KEY) as client:
            return int(client.call("GET", "/api/v1/queue/stats", query={"name": "mail"}).json["size"])

    with _Stuck(shell.daemon.port) as proxy:
        proxy.cut("request", 1_000_000)
        process = shell.start("add", "mail", "--many", "jobs.jsonl", environment={"JOBENGINE_URL": proxy.url})
        until("it can't go on", lambda: proxy.refuses)
        until("some are there", some)
        code = stop(process, number)
    assert some() < 30_000
    if number == signal.SIGINT:
        assert code == 130
        said = (shell.home / "errors").read_text()
        assert "of 30,000 jobs are in the queue" in said
        assert "if you change the file first, with --import-name " in said
    shell("add", "mail", "--many", "jobs.jsonl")
    assert _numbers(shell) == numbers
    shell("add", "mail", "--many", "jobs.jsonl")
    assert _numbers(shell) == numbers
    shell("add", "mail", "--many", "jobs.jsonl", "--import-name", "again")
    assert len(_numbers(shell)) == 60_000


def test_a_file_is_added_again_with_other_options_only_under_another_import_name(shell: Shell) -> None:
    numbers = _lines(shell, 3)
    add = ("add", "mail", "--many", "jobs.jsonl")
    shell(*add, "--group", "tenant-1")
    refused = shell(*add, "--group", "tenant-2", code=1).stderr
    assert "jobs.jsonl, line 1: The queue has this line's job already" in refused
    assert _numbers(shell) == numbers
    shell(*add, "--group", "tenant-2", "--import-name", "tenant-2")
    assert _numbers(shell) == sorted(numbers * 2)


def test_serve_refuses_wrong_options_in_one_line_and_shows_its_help(shell: Shell) -> None:
    why = "jobengine: --api-port must be a whole number from 0 to 65535, not 'x'\n"
    assert shell("serve", "--api-port", "x", code=2).stderr == why
    said = shell("serve", "--help").stdout
    assert said.startswith("Usage: jobengine serve [OPTION]...\n")
    assert said.count("Usage:") == 1
    assert "jobengine serve --db-path" in said
    assert "--max-bulk-body-bytes" in said


def _completed(shell: Shell, line: str) -> set[str]:
    """The completions of bash for a command line, with the script that the command prints."""
    words = line.split(" ")
    script = f"""
        source <(jobengine completion bash)
        COMP_WORDS=({" ".join(f"'{word}'" for word in words)}); COMP_CWORD={len(words) - 1}
        $(complete -p jobengine | sed 's/.*-F \\([^ ]*\\) .*/\\1/') jobengine
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "-c", script], cwd=shell.home, env=shell.environment, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return set(done.stdout.split())


def test_bash_completes_commands_options_and_choices(shell: Shell) -> None:
    assert _completed(shell, "jobengine ev") == {"events"}
    assert _completed(shell, "jobengine queue dr") == {"drain"}
    assert {"--priority", "--many"} <= _completed(shell, "jobengine add mail --")
    assert _completed(shell, "jobengine jobs mail --state in") == {"inprogress"}
    assert _completed(shell, "jobengine queue pause ma") == {"mail"}


def _examples() -> list[str]:
    def within(group: click.Command) -> Iterator[str]:
        if isinstance(group, click.Group):
            context = click.Context(group)
            for name in group.list_commands(context):
                found = group.get_command(context, name)
                assert found is not None
                yield from within(found)
        else:
            assert isinstance(group, Command)
            yield from group.examples

    return list(within(app))


#: Commands that run until they are stopped: their output until then, and their exit code.
ENDLESS = {
    "jobengine events mail --json": ("", 130),
    "jobengine work mail -- sh -c 'cat >> sent.jsonl'": ("", 130),
    "jobengine serve --db-path data/jobengine.jedb --api-port 6006": ("starting on", 0),
}


#: Commands that need PostgreSQL: tests/integration/test_postgres.py and test_postgres_damage.py run them.
ON_POSTGRES = ("jobengine db migrate", "jobengine db recount")


@pytest.fixture
def filled(shell: Shell) -> Shell:
    """The queues and jobs that the examples name."""
    shell.make_queues("mail-dead")
    for name in ("mail", "viewer"):
        (shell.home / f"{name}.key").write_text(f"a key for {name}\n")
        (shell.home / f"{name}.key").chmod(0o600)
    for name in ("jobengine", "backup", "damaged"):
        write(shell.home / f"{name}.jedb", RECORDS, secret=b"s")
    export(str(shell.home / "jobengine.jedb"), str(shell.home / "text.jsonl"), b"s")
    (shell.home / "database.db").write_bytes(go_file())
    (shell.home / "old-secret").write_bytes(GO_SECRET)
    (shell.home / "new-secret").write_text("another")
    (shell.home / "job.json").write_text('{"to": "dan@example.org"}')
    (shell.home / "jobs.jsonl").write_text('{"to": "eve@example.org"}\n{"to": "fay@example.org"}\n')
    (shell.home / "crontab").write_text("MAILTO=ops\n0 3 * * * echo backup\n")
    (shell.home / "system-crontab").write_text("17 * * * * root cd / && run-parts /etc/cron.hourly\n")
    (shell.home / "data").mkdir()
    (shell.home / "tasks.py").write_text(TASKS)
    with shell.daemon.client(key=KEY) as client:
        client.add({"to": "ada@example.org"}, "mail", uid=UID, tags=["news"], group="customer-7")
        client.add({"to": "bob@example.org"}, "mail", tags=["news"])
        client.add({"to": "cy@example.org"}, "mail-dead", uid="5d1c1b0e-0000-4000-8000-000000000001")
        nightly = {"queue_name": "mail", "name": "nightly", "cron": "0 3 * * *", "job": {"content": {}}}
        assert client.call("PUT", "/api/v1/schedule", body=nightly).status == 201
        assert client.call("PUT", "/api/v1/batch", body={"queue_name": "mail", "name": "import-7"}).status == 201
    return shell


def _prepared(shell: Shell, example: str) -> str:
    """Make what the example needs besides `filled`; returns the example with free ports and existing keys."""
    if "queue create" in example:
        with shell.daemon.client(admin_key=ADMIN_KEY) as client:
            client.call("DELETE", "/api/v1/queue", query={"name": "mail"})
    if "key revoke" in example:
        made = json.loads(shell("key", "add", "mail", "--role", "viewer", "--json").stdout)
        example = example.replace(example.split(" ")[-1], made["id"])
    if "check" in example and "tonight" in example:
        backup(str(shell.home / "jobengine.jedb"), str(shell.home / "tonight.jedb"), b"s")
    if "serve" in example:
        example = example.replace("6006", str(free_port()))
    return example


TASKS = """
from jobengine.worker import Worker

worker = Worker("mail")


@worker.handler("mail")
def send(content, job):
    return {"sent": content["to"]}
"""


def _meanwhile(shell: Shell, example: str) -> None:
    """Changes by others for which an example waits."""
    if "events" in example:
        shell.add([{}])
    if "--wait " in example and "add" in example and "queued" in [job["state"] for job in shell.jobs().values()]:
        with shell.daemon.client(key=KEY) as client:
            taken = client.take("mail", count=10)
            for job in taken.json["jobs"] if taken.status == 200 else ():
                client.change(job["uid"], "mail", lease=job["lease"], new_status="complete")


@pytest.mark.parametrize("example", [example for example in _examples() if example not in ON_POSTGRES])
def test_each_example_in_the_help_works(filled: Shell, example: str) -> None:
    with open(filled.home / "output", "wb") as output, open(filled.home / "errors", "wb") as errors:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {_prepared(filled, example)}" if "|" not in example else example],
            cwd=filled.home,
            env={**filled.environment, "SECRET": "s"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
        )
    printed, code = ENDLESS.get(example, ("", 0))

    def ended_or_printed() -> bool:
        if process.poll() is not None:
            return True
        _meanwhile(filled, example)
        said = (filled.home / "output").read_text() + (filled.home / "errors").read_text()
        return example in ENDLESS and said != "" and printed in said

    until("it has ended", ended_or_printed)
    time.sleep(0.3 if "serve" in example else 0)  # its signal handlers are set a little after the message
    if example in ENDLESS:
        process.send_signal(signal.SIGINT)
    ended, said = process.wait(20), (filled.home / "errors").read_text()
    assert (ended, "Traceback" in said) == (code, False), said
