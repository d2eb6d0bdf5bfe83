"""The command line against the real daemon."""

import json
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from jobengine.cli.app import app
from jobengine.cli.command import Command
from jobengine.tools.exporting import export
from tests.storage.files_of_commits import write
from tests.tools.go_files import GO_SECRET, go_file

from .cutting import CuttingProxy
from .daemons import Daemon, free_port, until
from .db_files import RECORDS
from .shells import ADMIN_KEY, KEY, UID, Shell, stop

# The life of jobs


def test_commands_take_a_job_through_its_life(shell: Shell) -> None:
    uid = shell("add", "mail", '{"to": "ada"}', "--priority", "5", "--tag", "news").stdout.strip()
    assert shell("jobs", "mail").stdout.split("\t")[:3] == [uid, "queued", "5"]
    assert "It is the next." in shell("explain", "mail", uid).stdout
    held = json.loads(shell("next", "mail", "--claim", "--worker", "me", "--json").stdout)
    assert (held["uid"], held["worker"]) == (uid, "me")
    shell("update", "mail", uid, "--progress", "40", environment={"JOBENGINE_LEASE": held["lease"]})
    shell(
        "update",
        "mail",
        uid,
        "--new-status",
        "complete",
        "--result",
        '{"sent": 1}',
        environment={"JOBENGINE_LEASE": held["lease"]},
    )
    done = json.loads(shell("show", "mail", uid, "--json").stdout)
    assert (done["state"], done["progress"], done["result"]) == ("complete", 40, {"sent": 1})
    shell("retry", "mail", uid)
    shell("cancel", "mail", uid)
    assert json.loads(shell("show", "mail", uid, "--json").stdout)["error"] == "cancelled"
    shell("delete", "mail", uid)
    assert shell.jobs() == {}


def test_the_error_for_a_refused_key_has_advice_even_when_throttled(shell: Shell) -> None:
    wrong = {"JOBENGINE_ACCESS_KEY": "wrong", "JOBENGINE_ADMIN_KEY": ""}
    with shell.daemon.client(key="wrong", sampled=True) as client:
        while client.list("mail").status != 429:
            pass
    said = shell("jobs", "mail", code=4, environment=wrong).stderr
    assert "set JOBENGINE_ACCESS_KEY to one that does" in said
    assert "a right key works at once" in said
    shell("jobs", "mail")


def test_the_error_for_a_wrong_admin_key_names_the_variable_to_set(shell: Shell) -> None:
    said = shell("queue", "list", code=4, environment={"JOBENGINE_ADMIN_KEY": "wrong"}).stderr
    assert said.startswith("jobengine: The admin key is wrong; set JOBENGINE_ADMIN_KEY to the server's.")


def test_a_queue_is_made_set_up_and_removed_with_the_key_that_was_printed(shell: Shell) -> None:
    key = shell("queue", "create", "parcels").stdout.strip()
    mine = {"JOBENGINE_ACCESS_KEY": key, "JOBENGINE_ADMIN_KEY": ""}
    shell("queue", "configure", "parcels", "--max-jobs", "1", "--max-attempts", "3", environment=mine)
    shell("add", "parcels", "{}", environment=mine)
    shell("queue", "pause", "parcels", environment=mine)
    raw = json.loads(shell("queue", "show", "parcels", "--json", environment=mine).stdout)
    assert (raw["paused"], raw["max_jobs"], raw["size"], raw["defaults"]["max_attempts"]) == (True, 1, 1, 3)
    assert "429" not in shell("add", "parcels", "{}", code=1, environment=mine).stderr
    viewer = json.loads(shell("key", "add", "parcels", "--role", "viewer", "--json", environment=mine).stdout)
    looking = {**mine, "JOBENGINE_ACCESS_KEY": viewer["access_key"]}
    assert shell("jobs", "parcels", environment=looking).stdout
    shell("add", "parcels", "{}", code=4, environment=looking)
    assert shell("key", "list", "parcels", environment=mine).stdout.split("\t")[:2] == [viewer["id"], "viewer"]
    shell("key", "revoke", "parcels", viewer["id"], environment=mine)
    shell("jobs", "parcels", code=4, environment=looking)
    admin = {"JOBENGINE_ACCESS_KEY": ""}
    shell("queue", "delete", "parcels", "--yes", environment=admin)
    shell("queue", "show", "parcels", code=3, environment=admin)


def test_a_command_with_a_filter_counts_the_jobs_before_it_changes_them(shell: Shell) -> None:
    shell.add([{"n": number} for number in range(5)], tags=["news"])
    shell.add([{}])
    assert "5 jobs would be cancelled" in shell("cancel", "mail", "--tag", "news", "--dry-run").stderr
    assert "--yes" in shell("cancel", "mail", "--tag", "news", code=2).stderr
    assert Counter(job["state"] for job in shell.jobs().values()) == {"queued": 6}
    shell("cancel", "mail", "--tag", "news", "--yes")
    shell("update", "mail", "--state", "failed", "--priority", "-3", "--yes")
    assert Counter((job["state"], job["priority"]) for job in shell.jobs().values()) == {
        ("failed", -3): 5,
        ("queued", 0): 1,
    }
    shell("retry", "mail", "--tag", "news", "--yes")
    shell("delete", "mail", "--all", "--yes")
    assert shell.jobs() == {}


def test_add_wait_prints_the_result_of_the_worker(shell: Shell) -> None:
    process = shell.start("add", "mail", "{}", "--wait")
    held = json.loads(shell("next", "mail", "--claim", "--wait", "20s", "--json").stdout)
    shell(
        "update",
        "mail",
        held["uid"],
        "--new-status",
        "complete",
        "--result",
        "[1, 2]",
        environment={"JOBENGINE_LEASE": held["lease"]},
    )
    assert process.wait(20) == 0
    assert (shell.home / "output").read_text() == "[1,2]\n"


def test_events_are_followed_until_ctrl_c(shell: Shell) -> None:
    process = shell.start("events", "mail", "--json")
    seen = until("an event is seen", lambda: shell.add([{}]) and (shell.home / "output").read_text())
    assert json.loads(seen.splitlines()[0])["state"] == "queued"
    assert stop(process) == 130
    assert "Traceback" not in (shell.home / "errors").read_text()


# How commands end


def without_keys(but: str) -> dict[str, str]:
    return {"JOBENGINE_ACCESS_KEY": but, "JOBENGINE_ADMIN_KEY": ""}


def test_the_exit_code_depends_on_the_error(shell: Shell) -> None:
    shell("show", "mail", UID, code=3)
    shell("jobs", "nowhere", code=3)
    shell("jobs", "mail", code=4, environment=without_keys("wrong"))
    shell("jobs", "mail", code=4, environment=without_keys(""))
    shell("queue", "drain", "mail")
    assert "draining" in shell("add", "mail", "{}", code=1).stderr
    url = f"http://127.0.0.1:{free_port()}"
    assert url in shell("jobs", "mail", code=5, environment={"JOBENGINE_URL": url}).stderr
    shell("jobs", "mail", code=2, environment={"JOBENGINE_URL": "ftp://x"})
    shell("add", "mail", "{}", "--unique-key", "\udcff", code=2)
    shell("jobs", code=2)


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


def test_the_advice_in_errors_names_commands_and_variables(shell: Shell) -> None:
    assert "`jobengine queue create`" in shell("add", "nowhere", "{}", code=3).stderr
    assert "JOBENGINE_ACCESS_KEY" in shell("jobs", "mail", code=4, environment=without_keys("wrong")).stderr
    assert "JOBENGINE_ADMIN_KEY" in shell("queue", "list", code=4, environment=without_keys(KEY)).stderr


def test_the_list_of_commands_describes_each_in_a_complete_sentence(shell: Shell) -> None:
    for help_ in (shell("--help"), shell("queue", "--help"), shell("key", "--help")):
        commands = help_.stdout.partition("Commands:\n")[2].splitlines()
        assert [line for line in commands if not line.endswith(".") or line.endswith("..")] == []


def test_keys_are_in_no_output_and_on_no_command_line(shell: Shell) -> None:
    wrong = "a key that opens nothing"
    outputs = [
        shell("jobs", "mail", code=4, environment=without_keys(wrong)),
        shell("jobs", "mail", code=5, environment={"JOBENGINE_URL": f"http://127.0.0.1:{free_port()}"}),
        shell("queue", "stats", "mail", "--json"),
        shell("queue", "list"),
    ]
    said = "".join(done.stdout + done.stderr for done in outputs)
    assert not [key for key in (KEY, ADMIN_KEY, wrong) if key in said]


def test_a_command_takes_address_and_keys_from_a_profile(shell: Shell) -> None:
    path = shell.home / ".config" / "jobengine" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(f'[here]\nurl = "http://127.0.0.1:{shell.daemon.port}"\n[here.keys]\nmail = "{KEY}"\n')
    bare = {"JOBENGINE_URL": "", "JOBENGINE_ACCESS_KEY": "", "JOBENGINE_ADMIN_KEY": ""}
    path.chmod(0o644)
    assert "chmod 600" in shell("--profile", "here", "queue", "show", "mail", code=2, environment=bare).stderr
    path.chmod(0o600)
    assert "mail" in shell("queue", "show", "mail", "--profile", "here", environment=bare).stdout
    assert "mail" in shell("top", "--once", environment={**bare, "JOBENGINE_PROFILE": "here"}).stdout


# Many jobs from a file


def _lines(shell: Shell, count: int) -> list[int]:
    (shell.home / "jobs.jsonl").write_text("".join(f'{{"n": {number}}}\n' for number in range(count)))
    return list(range(count))


def _numbers(shell: Shell) -> list[int]:
    with shell.daemon.client(key=KEY) as client:
        return sorted(job["content"]["n"] for job in client.jobs("mail").values())


class _Stuck(CuttingProxy):
    """After it has cut a connection it takes no other."""

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
        assert "of 30,000 jobs are in the queue" in (shell.home / "errors").read_text()
    shell("add", "mail", "--many", "jobs.jsonl")
    assert _numbers(shell) == numbers
    shell("add", "mail", "--many", "jobs.jsonl")
    assert _numbers(shell) == numbers
    shell("add", "mail", "--many", "jobs.jsonl", "--batch", "again")
    assert len(_numbers(shell)) == 60_000


def test_adding_a_file_continues_after_the_server_was_killed_and_restarted(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "home", settings={"ADMIN_KEY": ADMIN_KEY, "API_PORT": str(free_port())}).start()
    try:
        shell = Shell(daemon, tmp_path)
        shell.make_queues("mail")
        numbers = _lines(shell, 30_000)
        process = shell.start("add", "mail", "--many", "jobs.jsonl")
        until("some are there", lambda: len(shell.jobs()) > 0)
        daemon.kill()
        daemon.start()
        assert process.wait(60) == 0
        assert _numbers(shell) == numbers
    finally:
        daemon.kill()


# The server


def test_serve_runs_the_server_with_the_options_of_twistd(shell: Shell) -> None:
    port = free_port()
    with open(shell.home / "output", "wb") as output:
        process = subprocess.Popen(
            ["jobengine", "serve", "--api-port", str(port), "--db-path", "mine.jedb"],
            cwd=shell.home,
            env={**shell.environment, "SECRET": "s"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    shell.wait_for(f"starting on {port}")
    created = shell("queue", "create", "mail", environment={"JOBENGINE_URL": f"http://127.0.0.1:{port}"})
    assert created.stdout.strip()
    assert stop(process, signal.SIGTERM) == 0
    assert (shell.home / "mine.jedb").exists()


def test_serve_refuses_what_twistd_refuses_and_shows_its_help(shell: Shell) -> None:
    why = "jobengine: --api-port must be a whole number from 0 to 65535, not 'x'\n"
    assert shell("serve", "--api-port", "x", code=1).stderr == why
    said = shell("serve", "--help").stdout
    assert said.startswith("Usage: jobengine serve [OPTION]...\n")
    assert said.count("Usage:") == 1
    assert "jobengine serve --db-path" in said
    assert "--max-bulk-body-bytes" in said


# Completion


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


# Examples


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


#: Commands that run until they are stopped: what they print before that, and their exit code.
ENDLESS = {
    "jobengine events mail --json": ("", 130),
    "jobengine work mail -- sh -c 'cat >> sent.jsonl'": ("", 130),
    "jobengine serve --db-path data/jobengine.jedb --api-port 6006": ("starting on", 0),
}


#: They need PostgreSQL: tests/integration/test_postgres.py and test_postgres_damage.py run them.
ON_POSTGRES = ("jobengine db migrate", "jobengine db recount")


@pytest.fixture
def filled(shell: Shell) -> Shell:
    """The queues and jobs that the examples name."""
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
    (shell.home / "data").mkdir()
    (shell.home / "tasks.py").write_text(TASKS)
    with shell.daemon.client(key=KEY) as client:
        client.add({"to": "ada@example.org"}, "mail", uid=UID, tags=["news"])
        client.add({"to": "bob@example.org"}, "mail", tags=["news"])
    return shell


def _prepared(shell: Shell, example: str) -> str:
    """Make what the example needs besides `filled`; returns it with free ports and existing keys."""
    if "queue create" in example:
        with shell.daemon.client(admin_key=ADMIN_KEY) as client:
            client.call("DELETE", "/api/v1/queue", query={"name": "mail"})
    if "key revoke" in example:
        made = json.loads(shell("key", "add", "mail", "--role", "viewer", "--json").stdout)
        example = example.replace(example.split(" ")[-1], made["id"])
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
    """What others do while an example waits for it."""
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
    time.sleep(0.3 if "serve" in example else 0)  # it listens to signals a little later than it says
    if example in ENDLESS:
        process.send_signal(signal.SIGINT)
    assert process.wait(20) == code, (filled.home / "errors").read_text()
