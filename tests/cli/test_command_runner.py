"""A command that is run for a job, as a real process."""

import asyncio
import io
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from jobengine.cli.command_runner import NO_JSON, CommandRunner, Ending, Verdict, environment_of, verdict
from jobengine.client import Job
from jobengine.client.encoding import encode
from jobengine.core.commands import UpdateJobs
from jobengine.wire.requests import Wire
from jobengine.worker import RunningJob
from tests.processes import children, is_alive

ENVIRONMENT = {"PATH": os.environ["PATH"]}


def _run(command: Sequence[str], content: bytes = b"{}", **more: Any) -> Ending:
    said = more.pop("said", [])
    return asyncio.run(CommandRunner(command, **more).run(content, ENVIRONMENT, said.append))


def _sh(script: str, content: bytes = b"{}", **more: Any) -> Ending:
    return _run(["sh", "-c", script], content, **more)


def test_a_command_gets_the_content_on_standard_input_and_its_outputs_are_returned() -> None:
    assert _sh("cat; echo oh >&2; exit 7", b'{"to": "ada"}') == Ending(7, b'{"to": "ada"}', errors=b"oh\n")


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_command_reads_long_results_of_other_jobs_from_a_file_as_often_as_it_likes(
    monkeypatch: pytest.MonkeyPatch, *, in_memory: bool
) -> None:
    if not in_memory:
        monkeypatch.delattr(os, "memfd_create", raising=False)

    def read(script: str, **more: str) -> bytes:
        runner = CommandRunner(["sh", "-c", script])
        return asyncio.run(runner.run(b"", {**ENVIRONMENT, **more}, print)).output

    results = "[" + "1," * 200_000 + '"ü"]\n'
    script = 'sh -c "wc -c < $JOBENGINE_DEPENDENCIES"; head -c 3 $JOBENGINE_DEPENDENCIES'
    assert read(script, JOBENGINE_DEPENDENCIES=results) == b"%d\n[1," % len(results.encode())
    assert read("echo ${JOBENGINE_DEPENDENCIES-unset}") == b"unset\n"


def test_a_signal_sent_while_a_command_starts_reaches_the_command() -> None:
    async def told() -> Ending:
        runner = CommandRunner(["sleep", "5"])
        running = asyncio.create_task(runner.run(b"{}", ENVIRONMENT, print))
        await asyncio.sleep(0)
        runner.signal(signal.SIGUSR1)
        return await running

    assert asyncio.run(told()).code == -signal.SIGUSR1


def test_a_command_may_leave_its_input_unread() -> None:
    assert _sh("exec <&-; exit 3", b" " * 5_000_000).code == 3


def test_the_start_of_a_long_standard_output_and_the_end_of_standard_error_are_kept() -> None:
    ending = _sh("head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2; echo end >&2")
    assert (len(ending.output), ending.cut) == (1 << 20, True)
    assert (len(ending.errors), ending.errors[-4:]) == (4096, b"end\n")


def test_standard_error_is_shown_while_the_command_runs() -> None:
    shown = io.BytesIO()
    _sh("echo hello >&2", echo=shown)
    assert shown.getvalue() == b"hello\n"


def test_standard_error_is_kept_without_a_warning_if_it_can_not_be_shown(caplog: pytest.LogCaptureFixture) -> None:
    with open("/dev/full", "wb", buffering=0) as full:
        assert _sh("echo hello >&2; exit 1", echo=full).errors == b"hello\n"
    assert caplog.messages == []


def test_progress_and_hold_numbers_written_by_a_shell_script_are_reported() -> None:
    # In a process of its own, in which few file descriptors are in use.
    code = (
        "import asyncio; from jobengine.cli.command_runner import CommandRunner; "
        "script = 'echo 10 >&$JOBENGINE_PROGRESS; echo no 33.4 999 >&$JOBENGINE_PROGRESS; echo 5 >&$JOBENGINE_HOLD'; "
        "runner = CommandRunner(['sh', '-c', script]); "
        "ending = asyncio.run(runner.run(b'', {}, print)); "
        "print(ending.errors, ending.hold)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["10", "33", "b'' 5"]


def test_progress_is_reported_even_if_the_command_ends_before_the_runner_reads() -> None:
    class Late(CommandRunner):
        async def _attend(self, run: Any, *more: Any) -> None:
            await run.ended.wait()
            await run.silent.wait()
            await super()._attend(run, *more)

    said: list[int] = []
    asyncio.run(Late(["sh", "-c", "echo 50 > /dev/fd/$JOBENGINE_PROGRESS"]).run(b"", ENVIRONMENT, said.append))
    assert said == [50]


@pytest.mark.parametrize(
    ("writes", "hold"),
    [
        ("echo 30", 30),
        ("printf 30", 30),
        ("echo 30 60", 60),
        ("echo 1e9", 86_400),
        ("echo 60 0", 0),
        ("echo -5 inf nan soon", 0),
        ("true", 0),
    ],
)
def test_the_last_number_written_to_the_hold_descriptor_is_the_hold_time(writes: str, hold: int) -> None:
    said: list[int] = []
    ending = _sh(f"{writes} > /dev/fd/$JOBENGINE_HOLD; echo 10 > /dev/fd/$JOBENGINE_PROGRESS; exit 75", said=said)
    assert verdict(ending) == Verdict("release", hold=hold)
    assert said == [10]


@pytest.mark.parametrize("code", [0, 1, 65])
def test_a_hold_without_exit_code_75_is_ignored_with_a_note(code: int) -> None:
    found = verdict(Ending(code, b"{}", hold=30))
    assert (found.hold, found.note) == (0, "its hold was ignored, since it did not end with exit code 75")


def test_progress_is_reported_even_if_file_descriptors_below_10_are_all_taken() -> None:
    taken = [os.open(os.devnull, os.O_RDONLY) for _ in range(10)]
    said: list[int] = []
    _sh("echo 50 > /dev/fd/$JOBENGINE_PROGRESS", said=said)
    for descriptor in taken:
        os.close(descriptor)
    assert said == [50]


def test_the_end_of_a_command_does_not_wait_for_processes_left_running() -> None:
    began = time.monotonic()
    ending = _sh("echo 1; sleep 30 & exit 0")
    assert (ending.code, ending.output) == (0, b"1\n")
    assert time.monotonic() - began < 15


async def _cancelled(command: Sequence[str], grace: float, ready: Path, *, twice: bool = False) -> None:
    running = asyncio.ensure_future(CommandRunner(command, grace=grace).run(b"", ENVIRONMENT, lambda _: None))
    while not ready.exists():
        await asyncio.sleep(0.01)
    running.cancel()
    if twice:
        await asyncio.sleep(0.2)
        running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


def _ready(home: Path) -> str:
    """Shell code that prints the id of the process that it has started."""
    return f"echo $! > {home}/pid; mv {home}/pid {home}/ready"


def test_cancellation_ends_the_whole_process_group_with_sigterm(tmp_path: Path) -> None:
    script = f"trap 'echo term > {tmp_path}/told; exit' TERM; sleep 60 & {_ready(tmp_path)}; wait"
    asyncio.run(_cancelled(["sh", "-c", script], 10, tmp_path / "ready"))
    assert (tmp_path / "told").read_text() == "term\n"
    assert not is_alive(int((tmp_path / "ready").read_text()))


def test_cancellation_while_a_command_starts_ends_the_process() -> None:
    before = children()

    async def main() -> None:
        running = asyncio.ensure_future(
            CommandRunner(["sh", "-c", "sleep 60 & wait"]).run(b"", ENVIRONMENT, lambda _: None)
        )
        while children() == before:
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(main())
    assert children() == before


@pytest.mark.parametrize(("grace", "twice"), [(0.3, False), (60, True)])
def test_a_command_that_ignores_sigterm_is_killed_after_the_grace_period_or_a_second_cancellation(
    tmp_path: Path, grace: float, twice: bool
) -> None:
    stubborn = f"trap '' TERM; sleep 60 & {_ready(tmp_path)}; wait; wait"
    began = time.monotonic()
    asyncio.run(_cancelled(["sh", "-c", stubborn], grace, tmp_path / "ready", twice=twice))
    assert time.monotonic() - began < 20
    assert not is_alive(int((tmp_path / "ready").read_text()))


def test_a_child_process_that_survives_the_sigterm_of_its_command_is_killed(tmp_path: Path) -> None:
    script = f"(trap '' TERM; sleep 60; sleep 60) & {_ready(tmp_path)}; wait"
    asyncio.run(_cancelled(["sh", "-c", script], 0.3, tmp_path / "ready"))
    assert not is_alive(int((tmp_path / "ready").read_text()))


def test_a_missing_command_is_an_error_and_leaves_no_file_descriptor_open() -> None:
    before = len(os.listdir("/proc/self/fd"))
    runner = CommandRunner(["/no/such/command"])
    for _ in range(5):
        with pytest.raises(FileNotFoundError):
            asyncio.run(runner.run(b"", ENVIRONMENT, lambda _: None))
    assert len(os.listdir("/proc/self/fd")) <= before + 1  # the runner's own descriptors


def test_many_runs_leave_no_process_no_descriptor_and_no_memory() -> None:
    asyncio.run(_many_runs())


async def _many_runs() -> None:
    runner = CommandRunner(["true"])

    async def some(count: int) -> None:
        for _ in range(count):
            endings = [runner.run(b"{}", ENVIRONMENT, lambda _: None) for _ in range(4)]
            assert [ending.code for ending in await asyncio.gather(*endings)] == [0] * 4

    await some(20)
    before = (children(), len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks()))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    await some(50)
    assert (children(), len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())) == before
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 4096  # KiB


def test_the_environment_of_a_command_describes_the_job_and_has_no_key() -> None:
    base = {
        "PATH": "/bin",
        "JOBENGINE_URL": "http://127.0.0.1:1",
        "JOBENGINE_ACCESS_KEY": "a",
        "JOBENGINE_ADMIN_KEY": "b",
        "JOBENGINE_PROFILE": "c",
        "JOBENGINE_LEASE": "d",
        "JOBENGINE_GROUP": "of another job",
        "JOBENGINE_TAGS": "of another job",
        "JOBENGINE_META": "of another job",
        "JOBENGINE_DEPENDENCIES": "of another job",
    }
    raw = {"uid": "u", "attempts": 2, "priority": -5}
    assert environment_of(base, RunningJob("mail", Job(raw), lambda percent: None)) == {
        "PATH": "/bin",
        "JOBENGINE_URL": "http://127.0.0.1:1",
        "JOBENGINE_QUEUE": "mail",
        "JOBENGINE_UID": "u",
        "JOBENGINE_ATTEMPT": "2",
        "JOBENGINE_PRIORITY": "-5",
    }


def test_the_environment_of_a_command_has_group_tags_meta_and_dependencies_of_a_job_that_has_them() -> None:
    raw = {"uid": "u", "group": "ü\0 7", "tags": ["news", "a b\n"], "meta": {"asked_by": "shöp"}}
    found = environment_of({}, RunningJob("mail", Job(raw), lambda percent: None))
    assert found["JOBENGINE_GROUP"] == "ü\ufffd 7"
    assert found["JOBENGINE_TAGS"] == '["news","a b\\n"]'
    assert found["JOBENGINE_META"] == '{"asked_by":"shöp"}'
    awaited = {"queue_name": "mail", "uid": "a", "state": "complete", "result": "ü\0"}
    found = environment_of({}, RunningJob("mail", Job({"uid": "u", "dependencies": [awaited]}), lambda percent: None))
    assert json.loads(found["JOBENGINE_DEPENDENCIES"]) == [awaited]


@pytest.mark.parametrize(
    ("ending", "wanted"),
    [
        (Ending(0, b'{"a": 1}\n'), Verdict("complete", result={"a": 1})),
        (Ending(0, b"sent 3 mails"), Verdict("complete", note=NO_JSON)),
        (Ending(0, b"\n"), Verdict("complete")),
        (Ending(0, b"NaN"), Verdict("complete", note=NO_JSON)),
        (Ending(0, b"[" * 500_000), Verdict("complete", note=NO_JSON)),
        (Ending(75, b"", errors=b"later"), Verdict("release")),
        (Ending(65, errors=b" bad \n"), Verdict("failed permanently", error="bad")),
        (Ending(1, errors=b"\xff oh"), Verdict("failed", error="\ufffd oh")),
        (Ending(3), Verdict("failed", error="The command ended with exit code 3.")),
        (Ending(-signal.SIGKILL), Verdict("failed", error="The command was ended by SIGKILL.")),
        (Ending(-50), Verdict("failed", error="The command was ended by signal 50.")),
    ],
)
def test_the_exit_of_a_command_decides_the_outcome_of_its_job(ending: Ending, wanted: Verdict) -> None:
    assert verdict(ending) == wanted


@pytest.mark.parametrize(
    ("output", "why"),
    [
        (b"12345678901234567890", "beyond 64 bits"),
        (b"[-9223372036854775809]", "beyond 64 bits"),
        (b"[" * 30 + b"]" * 30, "deeper than 29"),
        (b"[" * 900 + b"]" * 900, "deeper than 29"),
        (b"[" + b"1," * 100_000 + b"1]", "values"),
        (b'{"a": 1e400}', "float"),
        (b'"\\ud800"', "surrogate"),
        (b"[" + b"1e5," * 180_000 + b"1]", "longer"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_output_that_the_server_would_refuse_is_not_kept_and_a_note_says_why(output: bytes, why: str) -> None:
    said = verdict(Ending(0, output))
    assert (said.kind, said.result) == ("complete", None)
    assert why in said.note


@pytest.mark.parametrize(
    "output",
    [
        b"9223372036854775807",
        b"-9223372036854775808",
        b"[" * 29 + b"]" * 29,
        b"[" + b"1," * 99_000 + b"1]",
        b"[1e308, -0.0, 5e-324]",
        json.dumps("x" * ((1 << 20) - 2)).encode(),
    ],
    ids=["largest", "least", "deep", "many", "floats", "long"],
)
def test_the_server_accepts_every_output_that_is_kept_as_result(output: bytes) -> None:
    async def no_pause() -> None:
        pass

    said = verdict(Ending(0, output))
    assert said.result == json.loads(output)
    update = {"uid": str(UUID(int=0)), "lease": "a" * 36, "new_status": "complete", "result": said.result}
    body = encode({"queue_name": "q", "updates": [update]})
    read = asyncio.run(Wire().update_jobs(body, {"access_key": b"k"}, no_pause))
    assert isinstance(read, UpdateJobs)
    assert len(read.updates) == 1


def test_cut_output_is_not_kept_as_result_and_a_note_says_why() -> None:
    said = verdict(Ending(0, json.dumps("x" * 100).encode(), cut=True))
    assert (said.kind, said.result) == ("complete", None)
    assert "longer" in said.note
