"""Commands that show whole queues and the server: `status`, `workers` and `top`, and the completion of names."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.shell_completion import ShellComplete

from jobengine.cli import top
from jobengine.cli.app import app
from jobengine.cli.session import Session
from jobengine.cli.top_data import snapshot
from jobengine.cli.troubles import troubles
from jobengine.cli.work import what_is_left
from jobengine.client import AccessDenied, Forbidden, JobEngineError, Unavailable, WorkerJobs

from .fakes import FakeEngine, Shell, batch_of, group_of, schedule_of, stats_of

# Trouble

_FINE: dict[str, Any] = {
    "counts": {"queued": 2, "inprogress": 0},
    "oldest_ready_seconds": 780.0,
    "workers_waiting": 1,
    "retrying": 0,
}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, []),
        ({"workers_waiting": 0}, ["2 ready, the oldest added 13m ago, no worker"]),
        ({"workers_waiting": 0, "oldest_ready_seconds": 59.0}, []),
        ({"workers_waiting": 0, "counts": {"queued": 2, "inprogress": 1}}, []),
        ({"workers_waiting": None}, []),  # an older server
        ({"workers_waiting": 0, "paused": True}, ["paused, 2 ready"]),
        ({"paused": True, "ready": 0}, ["paused"]),
        ({"workers_waiting": 0, "ready": 0, "held": 2}, []),
        ({"workers_waiting": 0, "held_until": 1800000000}, ["held until 2027-01-15T08:00:00Z"]),
        ({"retrying": 1200}, ["1,200 retrying after a failure"]),
        ({"last_hour": {"failed": 5}}, ["5 failed in the last hour"]),
        ({"max_jobs": 6}, ["full, with 6 jobs"]),
    ],
)
def test_the_problems_of_a_queue_are_listed_worst_first(fields: dict[str, Any], expected: list[str]) -> None:
    assert troubles(stats_of(**{**_FINE, **fields})) == expected


def test_status_shows_the_server_and_the_queues_in_trouble() -> None:
    shell = Shell(FakeEngine(admin_key="admin"))
    shell.engine.listed = [stats_of("mail", **_FINE), stats_of("news", **{**_FINE, "retrying": 3, "paused": True})]
    done = shell("status")
    assert done.exit_code == 0
    assert [line.split("\t") for line in done.stdout.splitlines()] == [
        ["server", "http://127.0.0.1:6006"],
        ["version", "9.9.9"],
        ["status", "ready"],
        ["durability", "commit"],
        ["queues", "2, with 4 jobs queued and 0 in progress"],
        ["in trouble", "1"],
        ["news", "paused, 2 ready; 3 retrying after a failure"],
    ]
    found = json.loads(shell("status", "--json").stdout)
    assert found["queues"][0] == {"name": "mail", "troubles": []}
    assert found["version"] == "9.9.9"


_NO_ADMIN_KEY = "This server has no admin key, which this call needs; start it with ADMIN_KEY."


@pytest.mark.parametrize(
    ("problem", "code", "said"),
    [
        (
            _NO_ADMIN_KEY,
            0,
            "This server has no admin key, so JOBENGINE_ADMIN_KEY opens nothing. Name queues to see which h",
        ),
        ("The admin key is wrong; send the server's.", 4, "jobengine: The admin key is wrong; send the server's.\n"),
    ],
)
def test_status_shows_the_server_even_if_it_refuses_the_admin_key(
    monkeypatch: pytest.MonkeyPatch, problem: str, code: int, said: str
) -> None:
    def refuse() -> None:
        raise AccessDenied(problem, status=401)

    shell = Shell(FakeEngine(admin_key="admin"))
    monkeypatch.setattr(shell.engine, "queues", refuse)
    done = shell("status")
    assert done.exit_code == code
    assert done.stdout.endswith("status\tready\ndurability\tcommit\n")
    assert done.stderr.startswith(said)
    assert json.loads(shell("status", "--json").stdout)["queues"] is None


def test_status_of_named_queues_needs_no_admin_key(shell: Shell) -> None:
    shell.mail.answers["stats"] = stats_of(**_FINE)
    assert "in trouble\tnone\n" in shell("status", "mail").stdout


@pytest.mark.parametrize(
    ("paused", "trouble"),
    [((), ""), (("b",), "group 'b' paused, 7 queued"), (("a", "b"), "2 groups paused, 14 queued")],
)
def test_status_reports_paused_groups_that_have_jobs(shell: Shell, paused: tuple[str, ...], trouble: str) -> None:
    shell.mail.answers["stats"] = stats_of("mail", **_FINE, held=9)
    groups = [group_of(name, own={"paused": name in paused}) for name in "abc"]
    shell.mail.answers["groups"] = [*groups, group_of("d", queued=0, own={"paused": True})]
    lines = dict(line.split("\t") for line in shell("status", "mail").stdout.splitlines())
    assert (lines["in trouble"], lines.get("mail", "")) == ("1" if trouble else "none", trouble)


def test_status_reads_no_groups_if_no_job_is_held(shell: Shell) -> None:
    shell.mail.answers["stats"] = stats_of("mail", **_FINE, held=0)
    shell("status", "mail")
    assert "groups" not in [name for name, *_ in shell.mail.asked]


def test_status_without_a_key_for_queues_shows_the_server() -> None:
    shell = Shell(FakeEngine(access_key=None))
    done = shell("status")
    assert (done.exit_code, "status\tready\n" in done.stdout) == (0, True)
    assert done.stderr == "Name queues, or set JOBENGINE_ADMIN_KEY, to see which have trouble.\n"
    assert json.loads(shell("status", "--json").stdout)["queues"] is None


@pytest.mark.parametrize(
    ("error", "code", "output"),
    [
        (Unavailable("disk is full", status=503), 1, "\nversion\t9.9.9\nstatus\tnot ready: disk is full\nqueues\t1, "),
        (Unavailable("No answer from http://x: refused."), 5, "Is the server running?"),
        (JobEngineError("It is none.", status=500), 1, "jobengine: It is none.\n"),
    ],
)
def test_the_exit_code_of_status_shows_whether_the_server_is_ready(
    shell: Shell, error: JobEngineError, code: int, output: str
) -> None:
    shell.engine.readiness = error
    shell.mail.answers["stats"] = stats_of(**_FINE)
    done = shell("status", "mail")
    assert done.exit_code == code
    assert output in done.output
    assert "in trouble" not in done.output


def test_status_fails_if_a_ready_server_answers_no_reads(shell: Shell) -> None:
    shell.mail.answers["stats"] = Unavailable("too many requests", status=503)
    done = shell("status", "mail")
    assert (done.exit_code, done.stderr) == (1, "jobengine: too many requests\n")


def test_status_shows_a_server_that_answers_no_reads_while_it_recovers(
    monkeypatch: pytest.MonkeyPatch, shell: Shell
) -> None:
    shell.engine.readiness = recovering = Unavailable("recovering, 40 %", status=503)
    shell.mail.answers["stats"] = recovering
    done = shell("status", "mail")
    assert (done.exit_code, done.stderr) == (1, "")
    assert done.stdout.endswith("\nversion\t9.9.9\nstatus\tnot ready: recovering, 40 %\n")

    def refuse() -> None:
        raise recovering

    monkeypatch.setattr(shell.engine, "openapi", refuse)
    assert json.loads(shell("status", "mail", "--json").stdout)["version"] is None


_HELD = {"worker": "ada", "jobs": 2, "last_updated": 1800000000}
_WAITS = {"worker": "bob", "waiting": True, "since": 1800000000, "last_claim": 1800000060, "queues": ["mail", "news"]}


def test_jobengine_workers_lists_workers_that_hold_jobs_and_workers_that_wait(shell: Shell) -> None:
    shell.mail.answers["workers"] = [WorkerJobs(_HELD), WorkerJobs({**_WAITS, "host": "h", "pid": "7", "client": "c"})]
    assert shell("workers", "mail").stdout == (
        "ada\tmail\t2\t2027-01-15T08:00:00Z\n\nbob\tmail,news\th\t7\tc\t2027-01-15T08:01:00Z\t2027-01-15T08:00:00Z\t\n"
    )
    assert [json.loads(line)["worker"] for line in shell("workers", "mail", "--json").stdout.splitlines()] == [
        "ada",
        "bob",
    ]
    shell.mail.answers["workers"] = [WorkerJobs({**_WAITS, "tags": ["cpu", "fast"]})]
    assert shell("workers", "mail").stdout.endswith("\tcpu,fast\n")
    shell.mail.answers["workers"] = []
    assert shell("workers", "mail").stderr == "No worker holds a job of 'mail' or waits for one.\n"


def test_a_waiting_claim_from_several_queues_is_shown_as_one_idle_worker(shell: Shell) -> None:
    for name in ("mail", "news"):
        shell.engine.queue(name).answers["stats"] = stats_of(name, workers_waiting=1)
        shell.engine.queue(name).answers["workers"] = [WorkerJobs(_WAITS)]
    printed = shell("top", "mail", "news", "--json").stdout.splitlines()
    assert [[one["worker"] for one in json.loads(line)["workers"]] for line in printed] == [["bob"], ["bob"]]
    assert shell("top", "mail", "news").stdout.count("bob") == 1


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("unfinished", ["b", "a", "c"]),
        ("retrying", ["c", "a", "b"]),
        ("name", ["a", "b", "c"]),
        ("oldest", ["a", "b", "c"]),
    ],
)
def test_queues_are_sorted_by_the_requested_order(shell: Shell, sort: str, order: list[str]) -> None:
    shell.engine.listed = [
        stats_of("c", counts={"queued": 1}, retrying=9, oldest_ready_seconds=None),
        stats_of("b", counts={"queued": 3}, oldest_ready_seconds=1.0),
        stats_of("a", counts={"queued": 2}, oldest_ready_seconds=2.0),
    ]
    engine: Any = shell.engine
    assert [queue.name for queue in snapshot(engine, (), sort).queues] == order


def test_keyboard_keys_sort_and_end_top(shell: Shell) -> None:
    keys = iter(["", "s", "x", "S", "q"])
    waited = []

    def next_key(seconds: float) -> str:
        waited.append(seconds)
        return next(keys)

    screen = top._Screen(Session(), (), "unfinished")
    orders = [screen.sort for _ in top._turns(screen, 2.5, next_key)]
    assert orders == ["unfinished", "unfinished", "ready", "ready", "retrying"]
    assert waited == [2.5] * 5


def test_an_unreachable_server_leaves_the_last_data_on_the_screen(shell: Shell) -> None:
    answers: Iterator[Any] = iter([stats_of(), Unavailable("No answer.")])

    class Away(FakeEngine):
        def queues(self) -> Any:
            answer = next(answers)
            if isinstance(answer, JobEngineError):
                raise answer
            return [answer]

    session = Session(lambda *options, **more: Away(admin_key="admin"))  # type: ignore[arg-type]
    screen = top._Screen(session, (), "unfinished")
    drawn = [str([getattr(part, "plain", "") for part in screen.drawn(80).renderables]) for _ in range(2)]
    assert ["No answer." in text for text in drawn] == [False, True]
    assert "queues 1" in drawn[1]


def _completed(engine: FakeEngine, args: list[str], incomplete: str = "") -> list[str]:
    session = Session(lambda *options, **more: engine)  # type: ignore[arg-type]
    found = ShellComplete(app, {"obj": session}, "jobengine", "_X").get_completions(args, incomplete)
    return [item.value for item in found]


@pytest.mark.parametrize(
    "args", [["jobs"], ["queue", "pause"], ["update"], ["top", "news"], ["work"], ["--profile", "p", "errors"]]
)
def test_queue_names_are_completed_with_names_from_the_server(args: list[str]) -> None:
    assert _completed(FakeEngine(admin_key="admin"), args, "ma") == ["mail"]


@pytest.mark.parametrize(
    "args",
    [["group", "show", "mail"], ["group", "set", "mail"], ["add", "mail", "--group"], ["update", "mail", "--group"]],
)
def test_group_names_are_completed_with_the_largest_groups_of_the_server(args: list[str]) -> None:
    engine = FakeEngine()
    engine.queue("mail").answers["groups"] = [group_of("customer-8"), group_of("customer-7"), group_of("other")]
    assert _completed(engine, args, "cust") == ["customer-7", "customer-8"]
    assert engine.queue("mail").asked == [("groups", {"limit": 500})]
    engine.queue("mail").answers["groups"] = Unavailable("away")
    assert _completed(engine, args, "cust") == []


@pytest.mark.parametrize("args", [["batch", "show"], ["batch", "close"], ["add", "--batch"], ["jobs", "--batch"]])
def test_batch_names_are_completed_with_names_from_the_server(args: list[str]) -> None:
    engine = FakeEngine()
    engine.queue("mail").answers["batches"] = [batch_of("import-8"), batch_of("import-7"), batch_of("export")]
    line = [args[0], "mail", args[1]] if args[1].startswith("-") else [*args, "mail"]
    assert _completed(engine, line, "im") == ["import-7", "import-8"]
    assert engine.queue("mail").asked == [("batches", {"limit": 500})]


@pytest.mark.parametrize("command", ["show", "pause", "run", "delete", "add"])
def test_schedule_names_are_completed_with_names_from_the_server(command: str) -> None:
    engine = FakeEngine()
    engine.queue("mail").answers["schedules"] = [schedule_of("nightly"), schedule_of("night"), schedule_of("weekly")]
    assert _completed(engine, ["schedule", command, "mail"], "ni") == ["night", "nightly"]
    assert engine.queue("mail").asked == [("schedules", {"limit": 500})]


@pytest.mark.parametrize("error", [Unavailable("away"), Forbidden("no", status=403)])
def test_no_queue_names_are_completed_if_the_server_refuses_or_is_unreachable(
    error: JobEngineError, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: FakeEngine) -> Any:
        raise error

    monkeypatch.setattr(FakeEngine, "queues", fail)
    assert _completed(FakeEngine(admin_key="admin"), ["jobs"]) == []
    assert _completed(FakeEngine(), ["jobs"]) == []


def test_profile_names_are_completed_with_names_from_the_settings_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert _completed(FakeEngine(), ["--profile"]) == []
    (tmp_path / "jobengine").mkdir()
    (tmp_path / "jobengine" / "config.toml").write_text('title = "no profile"\n[home]\n[work]\n[hut]\n')
    (tmp_path / "jobengine" / "config.toml").chmod(0o600)
    assert _completed(FakeEngine(), ["jobs", "mail", "--profile"], "h") == ["home", "hut"]
    (tmp_path / "jobengine" / "config.toml").chmod(0o666)
    assert _completed(FakeEngine(), ["--profile"]) == []


@pytest.mark.parametrize(
    ("stats", "sentence"),
    [
        ({}, ""),
        ({"delayed": 1}, "mail still has 1 queued job: 1 delayed, until a retry or a set time."),
        ({"paused": True}, "mail still has 2 queued jobs: 2 ready, but the queue is paused."),
        (
            {"delayed": 1000, "held": 2, "waiting": 1},
            "mail still has 1,003 queued jobs: 1,000 delayed, until a retry or a set time; 2 held, as by a limit; "
            "1 waiting for other jobs.",
        ),
    ],
)
def test_a_worker_that_ends_counts_the_queued_jobs_that_can_not_be_claimed(stats: Any, sentence: str) -> None:
    assert what_is_left(stats_of(**stats)) == sentence


def test_a_worker_with_tags_says_that_it_counts_jobs_with_any_tags() -> None:
    said = what_is_left(stats_of(delayed=2), tagged=True)
    assert said == "mail still has 2 queued jobs, whatever the tags: 2 delayed, until a retry or a set time."
