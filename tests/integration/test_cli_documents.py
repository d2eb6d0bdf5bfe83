"""docs/command-line.md: all of it is run, from its beginning to its end."""

import re

from jobengine.cli.exit_codes import Exit
from jobengine.tools.exit_codes import DbExit

from .conftest import MakeDaemon
from .daemons import ROOT, Daemon
from .documents import at_port, blocks, shell
from .shells import Shell

PAGE = "docs/command-line.md"


def test_every_command_of_the_command_line_page_is_run_in_order(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(settings={"DB_PATH": "data/jobengine.jedb", "SECRET": ""}).start()
    ours = Shell(daemon, daemon.home)
    environment = {**ours.environment, "JOBENGINE_ACCESS_KEY": "", "JOBENGINE_ADMIN_KEY": ""}
    # A second is not always enough for `events` to start.
    watches = """curl -sS "$JOBENGINE_URL/metrics" | grep -q '^jobengine_waiters{on="events"} 1'"""
    before, after = "\n".join(blocks(PAGE)).split("(sleep 1;")
    done = shell(f"{before}(until {watches}; do sleep 0.1; done;{after}", daemon.home, environment, seconds=240)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert "42" in lines
    assert len([line for line in lines if "user2@example.org" in line and "\tqueued\t" in line]) >= 2
    assert "2 jobs were queued again." in done.stderr
    assert "attempt 1" in done.stderr
    assert "was deleted" in done.stderr
    # This allows a second run of the commands.
    left = {file.name for file in (daemon.home / "data").iterdir()}
    assert left == {"jobengine.jedb", "jobengine.jedb.key", "jobengine.jedb.lock"}


def test_the_profile_on_the_command_line_page_opens_its_queues(daemon: Daemon) -> None:
    ours = Shell(daemon, daemon.home)
    path = daemon.home / ".config" / "jobengine" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(at_port(blocks(PAGE, "toml")[0], daemon.port))
    path.chmod(0o600)
    environment = {"JOBENGINE_URL": "", "JOBENGINE_ACCESS_KEY": "", "JOBENGINE_ADMIN_KEY": ""}
    (daemon.home / "key").write_text("correct horse")
    (daemon.home / "key").chmod(0o600)
    ours("--profile", "home", "queue", "create", "mail", "--key-file", "key", environment=environment)
    ours("--profile", "home", "jobs", "mail", environment=environment)


def test_the_page_on_the_command_line_lists_exactly_the_existing_exit_codes() -> None:
    of_files, of_others = [
        [int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)]
        for table in (ROOT / PAGE).read_text().split("\n## In scripts\n")
    ]
    assert (of_files, of_others) == (sorted(DbExit), sorted(Exit))


def test_the_page_on_the_command_line_lists_every_command() -> None:
    from .test_cli import _examples

    text = (ROOT / PAGE).read_text()
    form = re.compile(r"(?:.*\| )?jobengine ((?:queue |group |batch |schedule |key |db )?[a-z-]+)")
    names = {found[1] for example in _examples() if (found := form.match(example))}
    assert len(names) > 40
    assert {name for name in names if f"jobengine {name}" not in text} == set()
