"""The commands for queues and keys, and for workers that can't start."""

import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from jobengine.cli.app import app
from jobengine.cli.session import Session
from jobengine.client import OutcomeUnknown, QueueSetup, Secret
from tests.client.doubles import DefaultsServer, unconnected

from .fakes import Shell


def test_create_prints_a_new_key_alone_on_standard_output(shell: Shell) -> None:
    done = shell("queue", "create", "mail")
    (key,) = done.stdout.splitlines()
    assert shell.mail.asked == [("create", {"access_key": Secret(key)})]
    assert len(key) > 40
    assert key not in done.stderr
    assert done.stderr.endswith("Its key went to standard output; it can't be shown again.\n")
    assert shell("queue", "create", "mail").stdout != done.stdout


def test_create_takes_a_key_from_a_file_or_standard_input_and_does_not_print_it(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("mine\n")
    path.chmod(0o600)
    by_file = shell("queue", "create", "mail", "--key-file", str(path))
    by_input = shell("queue", "create", "mail", "--key-file", "-", sent="mine\n")
    assert shell.mail.asked == [("create", {"access_key": Secret("mine")})] * 2
    assert "mine" not in by_file.output + by_input.output


def test_create_refuses_a_key_file_that_other_users_may_read(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("mine\n")
    path.chmod(0o644)
    done = shell("queue", "create", "mail", "--key-file", str(path))
    assert done.exit_code == 2
    assert "chmod 600" in done.stderr
    assert shell.mail.asked == []


def test_configure_prints_a_new_key(shell: Shell) -> None:
    done = shell("queue", "configure", "mail", "--new-key", "--old-key-for", "1h")
    ((_, asked),) = shell.mail.asked
    assert asked == {"new_access_key": Secret(done.stdout.strip()), "old_key_seconds": 3600}


def test_configure_keeps_defaults_that_are_not_among_its_options() -> None:
    server = DefaultsServer()
    engine, _ = unconnected(server, access_key="k")
    for line in ("--max-attempts 3 --retry-delay 5s", "--keep-failed 7d", "--max-jobs 9"):
        done = CliRunner().invoke(
            app, ["queue", "configure", "mail", *line.split()], obj=Session(lambda *_, **__: engine)
        )
        assert done.exit_code == 0
    assert server.defaults == {"max_attempts": 3, "retry_delay_seconds": 5, "keep_failed_minutes": 10_080}


@pytest.mark.parametrize(
    ("line", "name", "argument"),
    [
        ("queue create mail", "create", "access_key"),
        ("queue configure mail --new-key", "configure", "new_access_key"),
    ],
)
def test_a_new_key_is_printed_even_if_the_outcome_is_unknown(shell: Shell, line: str, name: str, argument: str) -> None:
    shell.mail.answers[name] = OutcomeUnknown("lost")
    done = shell(*line.split())
    assert done.exit_code == 5
    assert shell.mail.asked == [(name, {argument: Secret(done.stdout.strip())})]


def test_a_given_key_is_not_printed_when_the_answer_is_lost(shell: Shell) -> None:
    shell.mail.answers["configure"] = OutcomeUnknown("lost")
    done = shell("queue", "configure", "mail", "--key-file", "-", sent="mine, with over 16\n")
    assert (done.exit_code, done.output) == (5, "jobengine: lost\n")


@pytest.mark.parametrize(
    "command", [("queue", "create", "mail"), ("queue", "configure", "mail"), ("key", "add", "mail", "--role", "worker")]
)
def test_a_key_of_less_than_16_characters_gets_a_warning(shell: Shell, command: tuple[str, ...]) -> None:
    warning = "Warning: the key has only 15 characters and can be guessed; use 16 or more"
    assert warning in shell(*command, "--key-file", "-", sent="k" * 15).stderr
    assert "has only 1 character and" in shell(*command, "--key-file", "-", sent="k").stderr
    assert "Warning" not in shell(*command, "--key-file", "-", sent="k" * 16).stderr
    assert "k" * 15 not in shell(*command, "--key-file", "-", sent="k" * 15).output


@pytest.mark.parametrize(
    ("setup", "said"),
    [
        ({"paused": True}, "no job can be claimed; jobs can be added."),
        ({"paused": True, "draining": True}, "no job can be added or claimed."),
    ],
)
def test_pause_prints_which_actions_remain_possible(shell: Shell, setup: Any, said: str) -> None:
    shell.mail.answers["pause"] = QueueSetup({"name": "mail", **setup})
    assert shell("queue", "pause", "mail").stderr == f"The queue 'mail': {said}\n"


def test_work_refuses_a_command_file_that_is_not_executable(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "send it.py").touch(mode=0o644)
    for command in ("send it.py", str(tmp_path / "send it.py")):
        done = shell("work", "mail", "--", command)
        assert done.exit_code == 2
        assert f"is not executable: chmod +x '{command}', or name its interpreter" in done.stderr
    assert "There is no command 'nosuch'." in shell("work", "mail", "--", "nosuch").stderr


@pytest.mark.parametrize("line", [("mail", "sh", "-c", "x"), ("mail", "python3", "--verbose")])
def test_the_error_of_work_for_an_unknown_option_says_that_a_command_begins_after_dashes(
    shell: Shell, line: tuple[str, ...]
) -> None:
    done = shell("work", *line)
    assert done.exit_code == 2
    assert f"No such option '{line[2]}'" in done.stderr
    assert "The command begins after --, as in jobengine work mail -- sh -c 'cat >> sent.jsonl'" in done.stderr
    assert "begins after" not in shell("work", "mail", "--nosuch", "--", "cat").stderr


def test_work_imports_the_worker_module_with_its_options_as_environment(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in (("URL", "http://elsewhere"), ("ACCESS_KEY", "of elsewhere"), ("ADMIN_KEY", "of all")):
        monkeypatch.setenv(f"JOBENGINE_{name}", value)
    monkeypatch.setenv("JOBENGINE_PROFILE", "none")
    (tmp_path / "no_worker.py").write_text("import os\nSEEN = dict(os.environ)\n")
    assert shell("work", "--app", "no_worker:worker", "--profile", "home").exit_code == 2
    seen = sys.modules.pop("no_worker").SEEN
    assert (seen["JOBENGINE_PROFILE"], seen["JOBENGINE_URL"]) == ("home", shell.engine._settings.address.url)
    assert "JOBENGINE_ACCESS_KEY" not in seen  # the profile has another
    assert seen["JOBENGINE_ADMIN_KEY"] == "of all"


def test_a_queue_with_jobs_is_not_deleted_without_confirmation(shell: Shell) -> None:
    done = shell("queue", "delete", "mail")
    assert done.exit_code == 2
    assert "--yes" in done.stderr
    assert shell.mail.asked == [("stats",)]
    assert shell("queue", "delete", "mail", "--yes").exit_code == 0
    assert shell.mail.asked[-1] == ("remove",)
