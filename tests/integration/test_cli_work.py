"""`jobengine work`: commands that work on jobs, and the outcomes of the jobs."""

import json
import signal
import time

import pytest

from tests.processes import is_alive

from .daemons import until
from .shells import Shell, stop


def test_the_exit_code_of_the_command_decides_the_outcome_of_the_job(shell: Shell) -> None:
    (shell.home / "script").write_text("""
        read content; echo "heard $content" >&2
        case "$content" in
            *result*) echo '{"length": 12}';;
            *words*) echo done;;
            *later*) exit 75;;
            *never*) echo hopeless >&2; exit 65;;
            *again*) echo once more >&2; exit 3;;
            *env*) env | grep JOBENGINE_ > environment;;
        esac
    """)
    names = ["result", "words", "later", "never", "again", "env"]
    added = shell.add(
        [{"do": name} for name in names], max_attempts=2, retry_delay_seconds=600, priority=-7, group="c 7"
    )
    uids = dict(zip(names, added, strict=True))
    done = shell("work", "mail", "-j", "2", "--until-empty", "--worker", "ada-1", "--", "sh", "script")
    jobs = shell.jobs()
    became = {name: jobs[uid] for name, uid in uids.items()}
    assert {name: (job["state"], job.get("attempts")) for name, job in became.items()} == {
        "result": ("complete", 1),
        "words": ("complete", 1),
        "later": ("queued", None),
        "never": ("failed", 1),
        "again": ("queued", 1),
        "env": ("complete", 1),
    }
    assert (became["result"]["result"], became["result"]["worker"]) == ({"length": 12}, "ada-1")
    assert "result" not in became["words"]
    assert became["later"]["not_before"] > time.time() + 500
    assert became["never"]["error"] == 'heard {"do":"never"}\nhopeless'
    assert became["again"]["history"][0]["error"] == 'heard {"do":"again"}\nonce more'
    assert done.stderr.count("heard") == 6
    assert dict(line.split("=", 1) for line in (shell.home / "environment").read_text().splitlines()) == {
        "JOBENGINE_URL": shell.environment["JOBENGINE_URL"],
        "JOBENGINE_QUEUE": "mail",
        "JOBENGINE_UID": uids["env"],
        "JOBENGINE_ATTEMPT": "1",
        "JOBENGINE_PRIORITY": "-7",
        "JOBENGINE_GROUP": "c 7",
        "JOBENGINE_PROGRESS": "3",
        "JOBENGINE_HOLD": "4",
    }


def test_a_shell_without_a_script_runs_the_command_of_each_job(shell: Shell) -> None:
    (told, fed, empty), refused = (
        shell.add([{"command": "echo 12; exit 0"}, {"command": "cat", "input": '"a\\nb"\n'}, {"command": "cat"}]),
        shell.add([{"to": "a"}, {"command": 5}, {"command": "cat", "input": 5}, {"command": "a\0b"}], max_attempts=3),
    )
    shell("work", "mail", "--until-empty", "--", "sh", "-e", "-c")
    jobs = shell.jobs()
    assert [jobs[uid].get("result") for uid in (told, fed, empty)] == [12, "a\nb", None]
    assert {jobs[uid]["state"] for uid in (told, fed, empty)} == {"complete"}
    error = "The content has no text `command`, or its `input` is not a text."
    assert [(jobs[uid]["state"], jobs[uid]["error"]) for uid in refused] == [("failed", error)] * 4
    (counted,) = shell.add([{}])
    shell("work", "mail", "--until-empty", "--", "wc", "-c")
    assert shell.jobs()[counted]["result"] == 3


def test_a_command_reads_the_results_of_the_jobs_that_its_job_has_waited_for(shell: Shell) -> None:
    first, other = shell.add([{"say": 1}, {"say": "ü"}])
    (last,) = shell.add([{"last": True}], depends_on=[first, other])
    script = 'if grep -q last; then cat "$JOBENGINE_DEPENDENCIES"; else echo \'{"said": true}\'; fi'
    shell("work", "mail", "--until-empty", "--", "sh", "-c", script)
    complete = {"queue_name": "mail", "state": "complete", "result": {"said": True}}
    assert shell.jobs()[last]["result"] == [{**complete, "uid": uid} for uid in (first, other)]


def test_an_ended_job_has_the_last_progress_that_its_command_wrote(shell: Shell) -> None:
    done, failed = shell.add([{"code": 0}, {"code": 1}])
    script = "for p in 10 50 97; do echo $p >&$JOBENGINE_PROGRESS; done; grep -q 0"
    shell("work", "mail", "--until-empty", "--", "sh", "-c", script)
    found = {uid: (job["state"], job["progress"]) for uid, job in shell.jobs().items()}
    assert found == {done: ("complete", 97), failed: ("failed", 97)}


def test_a_command_that_reports_a_hold_releases_its_job_and_holds_the_group(shell: Shell) -> None:
    refused, held = shell.add([{"to": "a"}, {"to": "b"}], group="customer-7")
    (other,) = shell.add([{"to": "c"}])
    script = 'read content; case "$content" in *a*) echo 600 >&$JOBENGINE_HOLD; exit 75;; esac'
    done = shell("work", "mail", "--until-empty", "--", "sh", "-c", script)
    assert {uid: job["state"] for uid, job in shell.jobs().items()} == {
        refused: "queued",
        held: "queued",
        other: "complete",
    }
    assert "attempt 1: released" in done.stderr


#: Starts a child process, prints its id, and runs until it is killed.
_STARTED = "sleep 600 & echo $! > pid; echo 40 >&$JOBENGINE_PROGRESS; mv pid running; wait"
_LASTING = f"trap 'echo told > told; wait; exit 1' TERM; {_STARTED}"


def _running(shell: Shell) -> int:
    """The process that the command has started."""
    return int(until("it runs", lambda: (shell.home / "running").exists() and (shell.home / "running").read_text()))


def test_cancelling_a_job_ends_its_command_and_the_processes_of_the_command(shell: Shell) -> None:
    (uid,) = shell.add([{}], timeout_seconds=3)
    worker = shell.start("work", "mail", "--", "sh", "-c", _LASTING)
    pid = _running(shell)
    until("its progress is known", lambda: shell.jobs()[uid].get("progress") == 40)
    shell("cancel", "mail", uid)
    until("it is gone", lambda: not is_alive(pid))
    until("the command was told too", (shell.home / "told").exists)
    until("the job has failed", lambda: shell.jobs()[uid]["state"] == "failed")
    assert shell.jobs()[uid]["error"] == "cancelled"
    assert stop(worker, signal.SIGTERM) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_worker_that_is_stopped_releases_its_job_and_leaves_nothing_running(shell: Shell, number: int) -> None:
    (uid,) = shell.add([{}])
    worker = shell.start("work", "mail", "--grace", "0.3s", "--", "sh", "-c", _LASTING)
    pid = _running(shell)
    assert stop(worker, number) == (130 if number == signal.SIGINT else 0)
    until("it is gone", lambda: not is_alive(pid))
    job = shell.jobs()[uid]
    assert (job["state"], job.get("attempts", 0)) == ("queued", 0)
    assert "Traceback" not in (shell.home / "errors").read_text()


def test_user_signals_are_passed_to_the_command(shell: Shell) -> None:
    shell.add([{}])
    told = "trap 'echo told > told' USR1; echo > ready; while [ ! -e told ]; do sleep 0.05; done; exit 0"
    worker = shell.start("work", "mail", "--", "sh", "-c", told)
    until("it runs", (shell.home / "ready").exists)
    worker.send_signal(signal.SIGUSR1)
    until("the job is complete", lambda: [job["state"] for job in shell.jobs().values()] == ["complete"])
    assert stop(worker, signal.SIGTERM) == 0


def test_work_with_app_runs_the_worker_of_a_python_module(shell: Shell) -> None:
    (shell.home / "tasks.py").write_text(
        "from jobengine.worker import Worker\nworker = Worker('mail')\n"
        "@worker.handler('mail')\ndef double(content, job):\n    return content['n'] * 2\n"
    )
    (uid,) = shell.add([{"n": 21}])
    shell("work", "mail", "--app", "tasks:worker", "--until-empty")
    assert shell.jobs()[uid]["result"] == 42
    for app in ("tasks", "tasks:nothing", "no_such_module:worker", "os:path"):
        assert app in shell("work", "mail", "--app", app, code=2).stderr
    assert "thumbnails" in shell("work", "thumbnails", "--app", "tasks:worker", code=2).stderr


def test_the_error_for_a_failing_worker_import_is_one_line_with_the_frames_of_that_module(shell: Shell) -> None:
    (shell.home / "broken.py").write_text("def begin():\n    import no_such_module\nbegin()\n")
    printed = shell("work", "--app", "broken:worker", code=2).stderr
    # From Python 3.13 on, tracebacks mark parts of some code lines on the next line.
    lines = [line for line in printed.splitlines(keepends=True) if line.strip(" ~^\n")]
    assert "".join(lines) == (
        "jobengine: --app broken:worker can't be imported: ModuleNotFoundError: No module named 'no_such_module'\n"
        f'  File "{shell.home}/broken.py", line 3, in <module>\n    begin()\n'
        f'  File "{shell.home}/broken.py", line 2, in begin\n    import no_such_module\n'
    )
    (shell.home / "wrong.py").write_text("x = = 1\n")
    assert shell("work", "--app", "wrong:worker", code=2).stderr.startswith(
        "jobengine: --app wrong:worker can't be imported: SyntaxError: invalid syntax\n"
        f'  File "{shell.home}/wrong.py", line 1\n'
    )
    (shell.home / "bare.py").write_text("from jobengine.worker import Worker\nmine = Worker('mail')\n")
    assert "It has the Worker mine." in shell("work", "--app", "bare:worker", code=2).stderr
    assert "The queue 'mail' has no handler: decorate" in shell("work", "--app", "bare:mine", code=2).stderr


@pytest.mark.parametrize(
    ("options", "words"), [(("--tag", "cpu"), "the tag cpu"), (("--tag", "cpu", "--tag", "fast"), "the tags cpu, fast")]
)
def test_the_first_log_line_of_work_names_the_tags(shell: Shell, options: tuple[str, ...], words: str) -> None:
    done = shell("work", "mail", *options, "--until-empty", "--", "true")
    assert f"Claiming jobs of mail with {words} at {shell.environment['JOBENGINE_URL']}." in done.stderr


def test_the_log_of_work_can_be_lines_of_json(shell: Shell) -> None:
    (uid,) = shell.add([{}], max_attempts=2, retry_delay_seconds=600)
    done = shell("work", "mail", "--log-format", "json", "--until-empty", "--", "false")
    start, end, left = map(json.loads, done.stderr.splitlines())
    assert start["message"].startswith("Claiming jobs of mail at http://127.0.0.1")
    fields = {"queue": "mail", "uid": uid, "attempt": 1, "outcome": "failed", "error_type": "CommandFailed"}
    assert fields.items() <= end.items()
    assert end["level"] == "warning"
    assert (end["seconds"] > 0, end["retry_at"] > end["time"]) == (True, True)
    assert left["message"] == "mail still has 1 queued job: 1 delayed, until a retry or a set time."


def test_work_with_app_and_until_empty_logs_the_jobs_that_are_left(shell: Shell) -> None:
    (shell.home / "tasks.py").write_text(
        "from jobengine.worker import Worker\nworker = Worker('mail')\nworker.handler()(lambda content, job: None)\n"
    )
    shell.add([{}, {}], delay_seconds=600)
    left = "mail still has 2 queued jobs: 2 delayed, until a retry or a set time.\n"
    assert shell("work", "--app", "tasks:worker", "--until-empty").stderr.endswith(left)


def test_a_note_that_the_output_of_a_command_is_not_json_is_logged_only_once(shell: Shell) -> None:
    shell.add([{}, {}])
    done = shell("work", "mail", "--until-empty", "--", "echo", "hello")
    assert done.stderr.count("its output was not kept as the result: it is not JSON. This is logged only once.") == 1


def test_a_worker_without_access_or_command_ends_at_once(shell: Shell) -> None:
    shell("work", "mail", code=2)
    shell("work", "--", "cat", code=2)
    assert "no-such-command" in shell("work", "mail", "--", "no-such-command", code=2).stderr
    shell("work", "nowhere", "--", "cat", code=3)
    wrong = {"JOBENGINE_ACCESS_KEY": "wrong", "JOBENGINE_ADMIN_KEY": ""}
    assert "Traceback" not in shell("work", "mail", "--", "cat", code=4, environment=wrong).stderr
