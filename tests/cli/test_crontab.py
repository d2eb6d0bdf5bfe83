"""Reading a crontab, and importing its lines as schedules."""

import json
from pathlib import Path
from typing import Any

import pytest

from jobengine.cli.crontab import read_crontab
from jobengine.client import BadRequest

from .fakes import Shell, schedule_of

_CRONTAB = """\
# min hour
MAILTO=ops@example.org
SHELL = /bin/bash
PATH="/usr/bin:/bin"

CRON_TZ=Europe/Berlin
  0 3 * * *   /opt/backup.sh --all >/dev/null
CRON_TZ=
@daily date +\\%F
*/5 * * * 1-5 mail bob%Hello,%Bob
"""


def _read(text: str, **more: Any) -> Any:
    return read_crontab(text.split("\n"), **more)


def test_each_line_becomes_a_schedule_with_the_zone_and_variables_of_earlier_lines() -> None:
    table = _read(_CRONTAB)
    path = "export PATH=/usr/bin:/bin\n"
    assert [(job.line, job.cron, job.timezone, job.content) for job in table.jobs] == [
        (7, "0 3 * * *", "Europe/Berlin", {"command": f"{path}/opt/backup.sh --all >/dev/null"}),
        (9, "@daily", None, {"command": f"{path}date +%F"}),
        (10, "*/5 * * * 1-5", None, {"command": f"{path}mail bob", "input": "Hello,\nBob\n"}),
    ]
    assert table.errors == []
    assert table.notes == [
        "Line 2: MAILTO is ignored: the output of a command is the result or the error of its job.",
        "Line 3: SHELL is ignored: the worker's command names the shell.",
    ]


def test_the_variable_tz_sets_the_zone_and_is_exported_too() -> None:
    (job,) = _read("TZ='Asia/Kolkata'\n@hourly echo a").jobs
    assert (job.timezone, job.content) == ("Asia/Kolkata", {"command": "export TZ=Asia/Kolkata\necho a"})


def test_the_name_of_a_schedule_depends_only_on_its_command() -> None:
    first, same, other, again = _read("@daily /bin/a b\n0 4 * * * /bin/a  c\n@daily /bin/a b c\n@hourly /bin/a b").jobs
    assert first.name.startswith("bin-a-b-")
    assert len({first.name, same.name, other.name}) == 3
    assert again.name == f"{first.name}-2"
    (moved,) = _read("A=1\n# b\n5 5 * * * /bin/a b").jobs
    assert moved.name == first.name
    (long,) = _read("@daily " + "x" * 5_000).jobs
    (odd,) = _read("@daily $(((").jobs
    assert (len(long.name), len(odd.name)) == (49, 8)


def test_a_crontab_of_the_system_has_a_user_in_each_line() -> None:
    (job, other) = _read("17 * * * * root cd / && run\n@daily www-data run", with_user=True).jobs
    assert (job.user, job.content) == ("root", {"command": "cd / && run"})
    assert (other.user, other.cron, other.content) == ("www-data", "@daily", {"command": "run"})


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("* * * * *", "it needs five fields and a command"),
        ("@daily", "it needs a name such as @daily and a command"),
        ("hello", "it needs five fields and a command"),
        ("0 3 * * * %text", "it has no command before the percent sign"),
    ],
)
def test_the_error_for_an_invalid_line_has_its_number_and_the_reason(line: str, why: str) -> None:
    assert _read(f"# a\n{line}\n@daily echo").errors == [f"line 2: {why}"]


# The import


@pytest.fixture
def crontab(tmp_path: Path) -> Path:
    path = tmp_path / "crontab"
    path.write_text(_CRONTAB)
    return path


def _sets(shell: Shell) -> list[tuple[Any, ...]]:
    return [asked for asked in shell.mail.asked if asked[0] == "schedule"]


def test_an_import_checks_all_lines_before_it_sets_a_schedule(shell: Shell, crontab: Path) -> None:
    done = shell("schedule", "import", str(crontab), "--queue", "mail", "--timezone", "Asia/Kolkata")
    assert done.exit_code == 0, done.stderr
    sets = _sets(shell)
    assert [options["dry_run"] for *_, options in sets] == [True] * 3 + [False] * 3
    assert [(options["cron"], options["timezone"]) for *_, options in sets[3:]] == [
        ("0 3 * * *", "Europe/Berlin"),
        ("@daily", "Asia/Kolkata"),
        ("*/5 * * * 1-5", "Asia/Kolkata"),
    ]
    assert len(done.stdout.splitlines()) == 3
    assert done.stderr.splitlines()[-1] == "3 schedules were added or changed."
    assert "MAILTO is ignored" in done.stderr


def test_a_second_import_sets_only_changed_schedules(shell: Shell, crontab: Path) -> None:
    arguments = ("schedule", "import", str(crontab), "--queue", "mail", "--timezone", "UTC")
    shell(*arguments)
    shell.mail.answers["schedules"] = [
        schedule_of(name, content, **options) for _, name, content, options in _sets(shell)[3:]
    ]
    shell.mail.asked.clear()
    assert shell(*arguments).stderr.endswith("0 schedules were added or changed; 3 exist already.\n")
    assert [options["dry_run"] for *_, options in _sets(shell)] == [True] * 3
    crontab.write_text(_CRONTAB.replace("@daily", "@weekly"))
    shell.mail.asked.clear()
    assert shell(*arguments).stderr.endswith("1 schedule was added or changed; 2 exist already.\n")
    assert [options["cron"] for *_, options in _sets(shell)[3:]] == ["@weekly"]


def test_a_line_that_the_server_refuses_stops_the_import_before_anything_is_set(shell: Shell, crontab: Path) -> None:
    crontab.write_text("61 * * * * a\n@daily\n@reboot b\n")
    shell.mail.answers["schedule"] = BadRequest("cron has '61' as minute.", status=400)
    done = shell("schedule", "import", str(crontab), "--queue", "mail")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-4:] == [
        f"jobengine: {crontab} can't be imported, so nothing was:",
        "line 2: it needs a name such as @daily and a command",
        "line 1: cron has '61' as minute.",
        "line 3: cron has '61' as minute.",
    ]
    assert [options["dry_run"] for *_, options in _sets(shell)] == [True] * 2


def test_a_dry_run_sets_nothing_and_prints_the_schedules(shell: Shell, crontab: Path) -> None:
    done = shell("schedule", "import", str(crontab), "--queue", "mail", "--dry-run", "--json")
    assert [options["dry_run"] for *_, options in _sets(shell)] == [True] * 3
    assert [json.loads(line)["cron"] for line in done.stdout.splitlines()] == ["0 3 * * *", "@daily", "*/5 * * * 1-5"]
    assert done.stderr.endswith("3 schedules would be added or changed.\n")


def test_the_zone_of_the_machine_is_the_default_and_is_printed(
    shell: Shell, crontab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", ":America/New_York")
    done = shell("schedule", "import", "-", "--queue", "mail", sent="@daily root run\n")
    assert "Lines without CRON_TZ or TZ are in America/New_York" in done.stderr
    assert _sets(shell)[-1][-1]["timezone"] == "America/New_York"


def test_the_user_of_a_system_crontab_becomes_a_tag(shell: Shell) -> None:
    done = shell("schedule", "import", "-", "--queue", "mail", "--with-user", sent="@daily root run\n")
    assert done.exit_code == 0
    assert _sets(shell)[-1][-1]["tags"] == ["user:root"]
    assert _sets(shell)[-1][2] == {"command": "run"}


def test_a_system_crontab_line_without_a_user_or_a_command_is_an_error() -> None:
    assert _read("@daily root\n0 3 * * * root", with_user=True).errors == [
        "line 1: it needs a name such as @daily, a user and a command",
        "line 2: it needs five fields, a user and a command",
    ]


def test_a_file_that_can_not_be_read_is_wrong_usage(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff")
    for name in ("gone", "bytes"):
        assert shell("schedule", "import", str(tmp_path / name), "--queue", "mail").exit_code == 2
