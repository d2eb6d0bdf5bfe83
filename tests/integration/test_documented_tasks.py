import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from jobengine.client import JobEngine

from .conftest import MakeDaemon
from .daemons import DEADLINE, Client, Daemon, free_port
from .documents import at_port, blocks, python, shell
from .shells import Shell

KEY = "correct horse"


@pytest.fixture
def mail(make_daemon: MakeDaemon) -> Daemon:
    """A daemon with the queue that the pages use."""
    daemon = make_daemon().start()
    with daemon.client(key=KEY) as client:
        client.make_queue("mail")
    return daemon


def _run(daemon: Daemon, *code: str) -> list[str]:
    """Run the code of a page; returns the lines of its output."""
    done = shell(at_port("\n".join(code), daemon.port), daemon.home, daemon.environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def _answers(daemon: Daemon, *code: str) -> list[Any]:
    """The JSON answers that the code of a page printed, one after the other."""
    return _json("".join(_run(daemon, *code)))


def _json(text: str) -> list[Any]:
    decoder, answers = json.JSONDecoder(), []
    # A stream of events begins with a colon, and is the last output on a page.
    while text and not text.startswith(":"):
        answer, end = decoder.raw_decode(text)
        answers.append(answer)
        text = text[end:].lstrip()
    return answers


def _at_a_shell(daemon: Daemon, *code: str) -> str:
    """Run code that also uses the command `jobengine`; returns its output."""
    done = shell(at_port("\n".join(code), daemon.port), daemon.home, Shell(daemon, daemon.home).environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def _finished_by_a_worker(daemon: Daemon) -> Iterator[None]:
    """Complete the first job of the queue while the block runs."""

    def work() -> None:
        with Client(daemon.port, key=KEY) as client:
            claim = {"queue_names": ["mail"], "wait": 20}
            (job,) = client.call("POST", "/api/v1/job/next", body=claim).json["jobs"]
            client.update(job["uid"], "complete", "mail")

    worker = threading.Thread(target=work)
    worker.start()
    yield
    worker.join()


def _states(daemon: Daemon) -> list[str]:
    with daemon.client(key=KEY) as client:
        return sorted(job["state"] for job in client.jobs("mail").values())


def _add(daemon: Daemon, count: int, **job: object) -> None:
    with daemon.client(key=KEY) as client:
        for number in range(count):
            assert client.add({"to": f"{number}@example.org"}, "mail", **job).status == 201


def test_the_worker_in_a_shell_empties_the_queue(mail: Daemon) -> None:
    _add(mail, 3)
    with mail.client(key=KEY) as client:
        client.add({"order": {"uid": "7", "lease": "8"}}, "mail")
    said = _run(mail, *blocks("docs/write-a-worker.md", heading="## In a shell"))
    assert len([line for line in said if line.startswith("mail was sent for")]) == 4
    assert _states(mail) == ["complete"] * 4


def test_the_first_command_of_the_page_on_writing_a_worker_creates_the_queue(daemon: Daemon) -> None:
    _run(daemon, blocks("docs/write-a-worker.md")[0])
    with daemon.client(key=KEY) as client:
        assert client.jobs("mail") == {}


def test_the_worker_in_python_empties_the_queue(mail: Daemon) -> None:
    _add(mail, 3, timeout_seconds=20)
    with mail.client(key=KEY) as client:
        failed = client.add({"subject": "to nobody"}, "mail").json["uid"]
    (code,) = blocks("docs/write-a-worker.md", "python", "## In Python")
    python(code, mail.port)
    with mail.client(key=KEY) as client:
        jobs = client.jobs("mail")
    assert jobs.pop(failed)["error"] == "KeyError: 'to'"
    assert sorted(job["result"]["sent_to"] for job in jobs.values()) == [
        "0@example.org",
        "1@example.org",
        "2@example.org",
    ]


def test_the_worker_in_python_keeps_its_lease_of_a_long_job_by_heartbeats(mail: Daemon) -> None:
    _add(mail, 1, timeout_seconds=4)
    (code,) = blocks("docs/write-a-worker.md", "python", "## In Python")
    slow = "    time.sleep(5)\n    return {"
    python(code.replace("    return {", slow, 1), mail.port)
    assert _states(mail) == ["complete"]


def test_the_worker_in_python_waits_until_an_unreachable_server_is_back(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(settings={"API_PORT": str(free_port())}).start()
    with daemon.client(key=KEY) as client:
        client.make_queue("mail")
    _add(daemon, 1)
    port = daemon.port
    daemon.stop()
    (code,) = blocks("docs/write-a-worker.md", "python", "## In Python")
    with ThreadPoolExecutor() as pool:
        with socket.create_server(("127.0.0.1", port)) as closes_connections:
            closes_connections.settimeout(DEADLINE)
            worker = pool.submit(python, code, port)
            closes_connections.accept()[0].close()
        daemon.start()
        worker.result()
    assert _states(daemon) == ["complete"]


def test_the_worker_in_a_shell_ends_and_says_why_if_its_claim_is_refused(daemon: Daemon) -> None:
    (code,) = blocks("docs/write-a-worker.md", heading="## In a shell")
    with daemon.client(key="another") as client:
        client.make_queue("mail")
    done = shell(at_port(code, daemon.port), daemon.home, daemon.environment, DEADLINE)
    assert done.stdout == ""
    assert "does not open" in done.stderr


def test_the_worker_in_python_ends_and_says_why_if_its_claim_is_refused(daemon: Daemon) -> None:
    (code,) = blocks("docs/write-a-worker.md", "python", "## In Python")
    done = python(code, daemon.port, DEADLINE, ends_with=1)
    assert done.stderr.startswith("404: There is no queue")


def test_jobs_are_added_as_the_page_on_adding_says(mail: Daemon) -> None:
    page = "docs/add-jobs.md"
    setup = blocks(page)[0]
    later = _answers(mail, setup, *blocks(page, heading="## Delay"))
    assert all(job["not_before"] for job in later)
    (urgent,) = _answers(mail, setup, *blocks(page, heading="## Priority"))
    assert urgent["priority"] == 5
    (retried,) = _answers(mail, setup, *blocks(page, heading="## Retry"))
    assert (retried["max_attempts"], retried["retry_delay_seconds"]) == (5, 10)
    (timed,) = _answers(mail, setup, *blocks(page, heading="## Timeout"))
    assert timed["timeout_seconds"] == 30
    first, again, some, repeated, unique, same = _answers(mail, setup, *blocks(page, heading="## Once"))
    assert (first["uid"], some, unique["uid"]) == (again["uid"], repeated, same["uid"])
    (grouped,) = _answers(mail, setup, *blocks(page, heading="## Groups"))
    assert grouped["group"] == "customer-7"
    (chained,) = _answers(mail, setup, *blocks(page, heading="## After other jobs"))
    assert [job.get("waiting", False) for job in chained["jobs"]] == [False, True]
    (many,) = _answers(mail, setup, *blocks(page, heading="## Many at once"))
    assert len(many["jobs"]) == 2


def test_the_commands_of_the_page_on_doing_work_once_succeed_a_second_time(mail: Daemon) -> None:
    for _ in range(2):
        _work_is_done_once(mail)


def _work_is_done_once(mail: Daemon) -> None:
    page = "docs/once.md"
    setup = blocks(page)[0]
    for heading in ("## The same request twice", "## Not twice at the same time"):
        first, again = _answers(mail, setup, *blocks(page, heading=heading))
        assert first == again
    first, late, again = _answers(mail, setup, *blocks(page, heading="## Once more for a late change"))
    assert first["uid"] != late["uid"] == again["uid"]
    with mail.client(key=KEY) as client:
        assert client.jobs("mail")[first["uid"]]["state"] == "complete"
    first, replaced = _answers(mail, setup, *blocks(page, heading="## The latest content wins"))
    assert (replaced["uid"], replaced["replaced"], replaced["content"]) == (first["uid"], True, {"items": 2})
    first, replaced = _answers(mail, setup, *blocks(page, heading="## Once it is quiet"))
    assert (replaced["uid"], replaced["content"]) == (first["uid"], {"text": "Hello"})
    assert replaced["not_before"] >= first["not_before"]
    kept, why = _answers(mail, setup, *blocks(page, heading="## At most once an hour"))
    assert (kept["state"], why["state"]) == ("complete", "complete")
    assert why["key_held_until"] - kept["last_updated"] in (3600, 3601)


def test_work_is_done_once_in_python_and_at_a_shell_as_the_page_says(mail: Daemon, tmp_path: Path) -> None:
    (code,) = blocks("docs/once.md", "python", "## In Python")
    assert python(code, mail.port).stdout == "True True {'items': 2}\n0:01:00\n"
    (code,) = blocks("docs/once.md", heading="## At a shell")
    done = shell(code, tmp_path, Shell(mail, tmp_path).environment)
    assert done.returncode == 0, done.stderr
    uids = done.stdout.split()
    assert len(uids) == 5
    assert uids[0] == uids[1]


def test_failed_jobs_move_as_the_page_on_failing_jobs_says(mail: Daemon) -> None:
    page = "docs/when-jobs-fail.md"
    setup, first = blocks(page)[:2]
    assert _at_a_shell(mail, first).splitlines()[-1].startswith("3\t")
    *_, added, failed, moved = _answers(mail, setup, *blocks(page, heading="## A dead-letter queue"))
    assert (added["state"], failed["state"], moved["state"]) == ("queued", "failed", "failed")
    assert (moved["moved_from"]["queue_name"], moved["error"]) == ("mail", "no route to host")
    by_uid, counted, back = _answers(mail, setup, *blocks(page, heading="## Move jobs"))
    assert by_uid == counted == back == {"matched": 1, "moved": 1}
    paced = _at_a_shell(mail, setup, *blocks(page, heading="## At a pace"))
    assert paced == '{"matched":3}\n{"matched":1,"moved":1}\n'
    kinds, found, back, _, failed = _json(_at_a_shell(mail, setup, *blocks(page, heading="## Group failures")))
    assert ([kind["count"] for kind in kinds["failures"]], len(found["jobs"]), back["moved"]) == ([4], 4, 4)
    assert failed["fingerprint"] == "smtp:refused"
    (code,) = blocks(page, "python", "## In Python")
    assert python(code, mail.port).stdout.splitlines()[-4:] == ["1 mail-dead", "1", "1", "0"]
    lines = _at_a_shell(mail, *blocks(page, heading="## At a shell")).splitlines()
    assert lines[-1].endswith("\tno route to host")
    assert _states(mail) == ["queued"] * 9
    early = _at_a_shell(mail, setup, *blocks(page, heading="## Retry before it is due"))
    assert early.endswith('{"matched":1}\n')
    with mail.client(key=KEY) as client:
        (retried,) = [job for job in client.jobs("mail").values() if job["content"] == {"to": "fay@example.org"}]
    assert (retried["attempts"], "not_before" in retried) == (1, False)


def test_a_job_is_added_and_its_outcome_awaited_as_the_page_on_adding_says(mail: Daemon) -> None:
    page = "docs/add-jobs.md"
    with _finished_by_a_worker(mail):
        (job,) = _answers(mail, blocks(page)[0], *blocks(page, heading="## Wait for the outcome"))
    assert job["state"] == "complete"


def test_a_queue_is_run_as_the_page_on_running_queues_says(mail: Daemon) -> None:
    page = "docs/run-queues.md"
    _add(mail, 2)
    setup = blocks(page)[0]
    stats, look = blocks(page, heading="## Statistics, workers and events")[:2]
    assert "\nready\t2\n" in _at_a_shell(mail, stats)
    shown = _run(mail, setup, look)
    explanation, workers = _json("".join(shown))
    assert (explanation["ahead"], workers["workers"]) == (2, [])
    (event,) = [json.loads(line.removeprefix("data: ")) for line in shown if line.startswith("data: ")]
    assert (event["before"], event["state"]) == (None, "queued")
    paused, meanwhile, resumed = _answers(mail, setup, *blocks(page, heading="## Pause for a deployment"))
    assert [paused["paused"], meanwhile["jobs"], resumed["paused"]] == [True, [], False]
    viewed = _answers(mail, setup, *blocks(page, heading="## Keys with a role"))
    assert viewed[0]["role"] == "viewer"
    limited, after = _answers(mail, setup, *blocks(page, heading="## Set limits"))
    assert (limited["max_jobs"], limited["require_lease"]) == (100000, True)
    assert after == resumed


def test_the_commands_of_the_page_on_limits_succeed_a_second_time(daemon: Daemon) -> None:
    for _ in range(2):
        _limits(daemon)


def _limits(daemon: Daemon) -> None:
    page = "docs/limits.md"
    setup = blocks(page)[0]
    limited, *_, claimed, why, released, held, freed, queue_held, queue_freed = _answers(
        daemon, setup, *blocks(page, heading="## An API with a rate")
    )
    assert limited["limits"] == {"in_progress": 5, "rate": {"count": 2, "seconds": 60}}
    assert [job["content"]["text"] for job in claimed["jobs"]] == ["one", "two"]
    assert (why["held_by"], "opens" in why, released["state"]) == ("queue_rate", True, "queued")
    assert (held["held"], held["held_until"] is None, freed["held_until"]) == (2, False, None)
    assert (queue_held["name"], queue_freed["name"]) == ("sms", "sms")
    fair, claimed, heavy, listed = _answers(daemon, setup, *blocks(page, heading="## A tenant with 10,000 jobs"))
    assert (fair["group_order"], heavy["own"]) == ("fair", {"weight": 3})
    assert [job["group"] for job in claimed["jobs"]] == ["customer-1", "customer-2"]
    assert [(group["queued"], group["in_progress"]) for group in listed["groups"]] == [(9_999, 1), (0, 1)]
    single, claimed, why, strict = _answers(
        daemon, setup, *blocks(page, heading="## One job at a time for each customer")
    )
    assert (single["group_limits"], strict["group_on_failure"]) == ({"in_progress": 1}, "hold")
    assert [job["content"]["text"] for job in claimed["jobs"]] == ["open", "open"]
    assert (why["held_by"], why["holders"][0]["uid"]) == ("group_limit", claimed["jobs"][0]["uid"])
    aged, why, plain = _answers(daemon, setup, *blocks(page, heading="## Nothing waits for ever"))
    assert (aged["order"], "order" in plain) == ({"seconds_per_priority": 60}, False)
    assert why["reason"] == "It can be claimed. 1 job is before it. No worker waits for a job of the queue."


def test_schedules_work_as_the_schedules_page_says(daemon: Daemon) -> None:
    page = "docs/schedules.md"
    setup = blocks(page)[0]
    (nightly,) = _answers(daemon, setup, *blocks(page, heading="## A cron line: every night at three"))
    assert (nightly["timezone"], len(nightly["next"]), nightly["notes"]) == ("Europe/Berlin", 5, [])
    assert all("T03:00:00+0" in time for time in nightly["next"])
    setup = setup.replace("call -X PUT $api/queue", ": call -X PUT $api/queue")
    (refresh,) = _answers(daemon, setup, *blocks(page, heading="## Every five minutes"))
    assert refresh["every_seconds"] == 300
    shown, listed, paused, ran, changed = _answers(
        daemon, setup, *blocks(page, heading="## Look, pause, and run it now")
    )
    assert shown == nightly
    assert [one["name"] for one in listed["schedules"]] == ["nightly", "refresh"]
    assert (paused["next"], ran["manual"], changed["cron"]) == ([], True, "0 4 * * 1-5")
    assert changed["firings"] == [{**ran, "state": "queued"}]
    (past,) = _answers(daemon, setup, *blocks(page, heading="## Past times"))
    assert past["matched"] == past["added"] == len(past["times"]) <= 1
    _schedules_in_python_and_at_a_shell(daemon, page)
    with JobEngine(f"http://127.0.0.1:{daemon.port}", access_key=KEY) as engine:
        # The page can be run a second time.
        engine.queue("sales").create()


def _schedules_in_python_and_at_a_shell(daemon: Daemon, page: str) -> None:
    """Run the page's later sections on the queue that its first sections left."""
    of_client, of_worker = blocks(page, "python", "## In Python")
    assert "T03:00:00" in python(of_client, daemon.port).stdout.replace(" ", "T", 1)
    python(of_worker, daemon.port)
    with JobEngine(f"http://127.0.0.1:{daemon.port}", access_key=KEY) as engine:
        for job in engine.queue("sales").jobs():
            assert job.result == {"day": job.meta["schedule"]["time"][:10]}
        engine.queue("sales").schedules.run("nightly")
    (commands,) = blocks(page, heading="## At a shell")
    done = shell(commands, daemon.home, Shell(daemon, daemon.home).environment)
    assert done.returncode == 0, done.stderr
    assert "1 job would be added." in done.stderr


def test_a_lost_key_is_replaced_as_the_page_on_running_queues_says(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon().start()
    create, restart, renew = blocks("docs/run-queues.md", heading="## A lost key")
    _at_a_shell(daemon, create)
    assert daemon.stop() == 0
    assert restart == "ADMIN_KEY='the key of the admin' make run\n"
    daemon.settings["ADMIN_KEY"] = "the key of the admin"
    daemon.start()
    environment = {**Shell(daemon, daemon.home).environment, "JOBENGINE_ADMIN_KEY": ""}
    done = shell(f'{renew}\nprintf %s "$key"', daemon.home, environment)
    assert done.returncode == 0, done.stderr
    assert daemon.stop() == 0
    del daemon.settings["ADMIN_KEY"]
    daemon.start()
    with daemon.client(key=done.stdout) as client:
        assert client.call("GET", "/api/v1/queue/stats", query={"name": "forgotten"}).status == 200


def test_failed_jobs_are_retried_as_the_page_on_running_queues_says(mail: Daemon) -> None:
    page = "docs/run-queues.md"
    _add(mail, 3)
    with mail.client(key=KEY) as client:
        for uid in client.jobs("mail"):
            client.update(uid, "failed", "mail")
    counted, done, removed = _answers(mail, blocks(page)[0], *blocks(page, heading="## Retry failed jobs"))
    assert (counted, done, removed) == ({"matched": 3}, {"matched": 3}, {"matched": 0})
    assert _states(mail) == ["queued"] * 3


def test_a_job_is_cancelled_as_the_page_on_running_queues_says(mail: Daemon) -> None:
    _add(mail, 1)
    with mail.client(key=KEY) as client:
        (uid,) = client.jobs("mail")
    page = "docs/run-queues.md"
    (cancelled,) = _answers(mail, blocks(page)[0], f"uid={uid}", *blocks(page, heading="## Cancel a job"))
    assert (cancelled["state"], cancelled["error"]) == ("failed", "cancelled")
