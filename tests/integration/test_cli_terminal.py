"""The command line at a terminal, as a person sees it: under tmux."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles import SECRET
from tests.storage.files_of_commits import write

from .daemons import until
from .shells import Shell


class Terminal:
    def __init__(self, shell: Shell) -> None:
        self._tmux = ["tmux", "-f", "/dev/null", "-S", str(shell.home / "tmux")]
        self._environment = {**shell.environment, "TERM": "xterm-256color", "PS1": "$ "}
        command = ["new-session", "-d", "-x", "120", "-y", "30", "bash", "--norc", "--noprofile"]
        subprocess.run([*self._tmux, *command], cwd=shell.home, env=self._environment, check=True)

    def type(self, line: str) -> None:
        subprocess.run([*self._tmux, "send-keys", "-l", line], check=True)
        self.press("Enter")

    def press(self, key: str) -> None:
        subprocess.run([*self._tmux, "send-keys", key], check=True)

    def seen(self, *, colours: bool = False) -> str:
        capture = [*self._tmux, "capture-pane", "-p", *(["-e"] if colours else [])]
        return subprocess.run(capture, capture_output=True, text=True, check=True).stdout

    def wait_for(self, pattern: str) -> str:
        def found() -> str:
            seen = self.seen()
            return seen if re.search(pattern, seen, re.MULTILINE) else ""

        try:
            screen: str = until(f"{pattern!r} is seen", found)
        except AssertionError as error:
            raise AssertionError(f"{error}; there is:\n{self.seen()}") from None
        return screen

    def close(self) -> None:
        subprocess.run([*self._tmux, "kill-server"], check=False)


@pytest.fixture
def terminal(shell: Shell) -> Iterator[Terminal]:
    terminal = Terminal(shell)
    yield terminal
    terminal.close()


def test_a_new_key_is_printed_on_a_line_of_its_own_below_the_message(shell: Shell, terminal: Terminal) -> None:
    terminal.type("jobengine queue create parcels")
    terminal.wait_for(r"This is its key, .* or a profile:\n\S{43}$")
    shell("queue", "delete", "parcels", "--yes", environment={"JOBENGINE_ACCESS_KEY": ""})


def test_top_shows_queues_and_workers_live_and_ends_with_ctrl_c(shell: Shell, terminal: Terminal) -> None:
    shell.add([{"n": number} for number in range(7)])
    shell("next", "mail", "--claim", "--worker", "ada-1")
    terminal.type("jobengine top --interval 0.1s; echo ended with $?")
    seen = terminal.wait_for("ada-1")
    assert re.search(r"^JobEngine at http://127\.0\.0\.1:\d+ .* queues 2 +queued 6 +in progress 1", seen, re.MULTILINE)
    assert re.search(r"^queue +now +ready .* added/min +done/min", seen, re.MULTILINE)
    assert re.search(r"^mail +open +6 +0 +1 +0 ", seen, re.MULTILINE)
    assert re.search(r"^ada-1 +mail +1 +\d+(\.\d)?s$", seen, re.MULTILINE)
    assert "…" not in seen
    shell("queue", "pause", "thumbnails")
    shell.add([{}], "thumbnails")
    terminal.wait_for(r"^thumbnails +paused +1 ")
    assert re.search(r"^mail .*\n(.*\n)*thumbnails ", terminal.seen(), re.MULTILINE)
    terminal.press("s")
    terminal.wait_for("s sort: ready")
    terminal.press("C-c")
    assert "Traceback" not in terminal.wait_for("^ended with 130$")


def test_the_key_q_ends_top_at_once_and_leaves_the_terminal_as_it_was(shell: Shell, terminal: Terminal) -> None:
    terminal.type("jobengine top --interval 1h; echo ended with $?")
    terminal.wait_for("q quit")
    terminal.press("q")
    terminal.wait_for("^ended with 0$")
    terminal.type("stty -a | grep -o ' icanon' | tr -d ' '")
    terminal.wait_for("^icanon$")


def test_top_continues_when_the_server_does_not_answer(terminal: Terminal) -> None:
    terminal.type("jobengine --url http://127.0.0.1:9 top mail --interval 0.1s")
    assert "No queue has been read yet." in terminal.wait_for("No answer from http://127.0.0.1:9")


def test_lists_are_tables_with_colours_unless_colours_are_turned_off(shell: Shell, terminal: Terminal) -> None:
    (uid,) = shell.add([{"to": "ada@example.org"}])
    shell("cancel", "mail", uid)
    terminal.type("clear; jobengine jobs mail")
    terminal.wait_for(uid)
    lines = terminal.seen(colours=True)
    assert re.search(r"\x1b\[1muid", lines)
    assert re.search(r"\x1b\[31mfailed", lines)
    terminal.type("clear; NO_COLOR=1 jobengine jobs mail; echo done")
    terminal.wait_for("^done$")
    # tmux may print the codes that reset a colour, 39 and 49.
    assert not re.search(r"\x1b\[3[0-8]", terminal.seen(colours=True))


def test_a_confirmation_can_be_answered_with_no_or_yes(shell: Shell, terminal: Terminal) -> None:
    shell.add([{}, {}])
    for answer, left in (("n", 2), ("y", 0)):
        terminal.type("clear; jobengine delete mail --all; echo ended with $?")
        terminal.wait_for(r"2 jobs of 'mail' would be deleted\. Continue\? \[y/N\]")
        terminal.type(answer)
        terminal.wait_for(f"^ended with {1 if left else 0}$")
        assert len(shell.jobs()) == left


def test_a_file_of_jobs_has_a_progress_bar(shell: Shell, terminal: Terminal) -> None:
    path: Path = shell.home / "jobs.jsonl"
    path.write_text('{"n": 1}\n' * 3000)
    terminal.type(f"clear; jobengine add mail --many {shlex.quote(str(path))}")
    assert "3000/3000" in terminal.wait_for("All 3,000 jobs of")


def test_checking_a_long_database_shows_a_progress_bar(shell: Shell, terminal: Terminal) -> None:
    path: Path = shell.home / "jobengine.jedb"
    write(path, [(b'["queue-deleted",1,"%b"]' % (b"x" * 100_000),)] * 30)
    terminal.type(f"clear; SECRET={shlex.quote(SECRET.decode())} jobengine db check jobengine.jedb; echo ended with $?")
    seen = terminal.wait_for("^ended with 0$")
    assert re.search(r"checking .*3\.0/3\.0 MB", seen)
    assert re.search(r"^ *whole +true", seen, re.MULTILINE)
