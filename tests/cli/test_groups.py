"""The commands for groups and limits, and how they are shown."""

import json
import re
import time
from typing import Any

import pytest

from jobengine.client import BadRequest, Explanation, GroupNotFound, QueueSetup
from jobengine.core.errors import FairWithAgeing

from .fakes import UID, FakeEngine, Shell, group_of, stats_of

# Limits of a queue

_LIMITS = {"in_progress": 50, "rate": {"count": 100, "seconds": 1}}


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        (("--limit", "5"), {"limits": {"in_progress": 5}}),
        (("--rate", "10/1m"), {"limits": {"rate": (10, 60)}}),
        (("--rate", "100/s", "--limit", "5"), {"limits": {"in_progress": 5, "rate": (100, 1)}}),
        (("--limit", "none"), {"limits": None}),
        (("--group-limit", "2", "--group-rate", "10/60"), {"group_limits": {"in_progress": 2, "rate": (10, 60)}}),
        (
            ("--group-order", "strict", "--group-on-failure", "hold"),
            {"group_order": "strict", "group_on_failure": "hold"},
        ),
        (("--target-wait", "1.5m"), {"target_wait_seconds": 90}),
        (("--target-wait", "none"), {"target_wait_seconds": None}),
        (("--seconds-per-priority", "1m"), {"order": {"seconds_per_priority": 60}}),
        (("--seconds-per-priority", "none"), {"order": None}),
    ],
)
def test_configure_sets_limits_and_the_order_of_groups(
    shell: Shell, options: tuple[str, ...], changes: dict[str, Any]
) -> None:
    assert shell("queue", "configure", "mail", *options).exit_code == 0
    assert shell.mail.asked[-1] == ("configure", changes)


@pytest.mark.parametrize("order", ["arrival", "strict"])
def test_setting_hold_on_failure_without_strict_order_prints_a_note(shell: Shell, order: str) -> None:
    shell.mail.answers["configure"] = QueueSetup({"name": "mail", "group_order": order})
    note = shell("queue", "configure", "mail", "--group-on-failure", "hold").stderr
    assert ("has no effect until the queue has --group-order strict" in note) == (order != "strict")


def test_the_error_for_fair_order_with_ageing_names_the_options(shell: Shell) -> None:
    shell.mail.answers["configure"] = BadRequest(str(FairWithAgeing()), status=400)
    error = shell("queue", "configure", "mail", "--group-order", "fair", "--seconds-per-priority", "1m").stderr
    assert "either --group-order fair or --seconds-per-priority: groups" in error
    assert "and with --seconds-per-priority hardly" in error
    assert error.endswith("Pass --seconds-per-priority none, or another --group-order.\n")


@pytest.mark.parametrize(
    ("options", "limits"),
    [
        (("--limit", "5"), {**_LIMITS, "in_progress": 5}),
        (("--limit", "none"), {"rate": _LIMITS["rate"]}),
        (("--rate", "none"), {"in_progress": 50}),
        (("--rate", "none", "--limit", "none"), None),
    ],
)
def test_configure_of_one_limit_keeps_the_other_limit(shell: Shell, options: tuple[str, ...], limits: Any) -> None:
    shell.mail.answers["stats"] = stats_of(limits=_LIMITS, group_limits={"in_progress": 2})
    shell("queue", "configure", "mail", *options)
    assert shell.mail.asked == [("stats",), ("configure", {"limits": limits})]


@pytest.mark.parametrize("rate", ["10", "10/", "/60", "0/60", "-1/60", "10/60x", "ten/60", "10/1.5"])
def test_a_malformed_rate_is_wrong_usage(shell: Shell, rate: str) -> None:
    done = shell("queue", "configure", "mail", "--rate", rate)
    assert done.exit_code == 2
    assert "is not a rate; write 10/60, 100/s or 10/1m" in done.stderr
    assert shell.engine.made == []


def test_the_configured_limits_are_printed_field_by_field(shell: Shell) -> None:
    shell.mail.answers["configure"] = QueueSetup({"name": "mail", "limits": _LIMITS, "group_order": "fair"})
    assert shell("queue", "configure", "mail", "--group-order", "fair").stdout.splitlines() == [
        "name\tmail",
        "limits.in_progress\t50",
        "limits.rate.count\t100",
        "limits.rate.seconds\t1",
        "group_order\tfair",
    ]


# Holds


@pytest.mark.parametrize("kind", [("queue", "hold", "mail"), ("group", "hold", "mail", "g")])
def test_hold_takes_either_a_time_span_or_an_end_time(shell: Shell, kind: tuple[str, ...]) -> None:
    before = time.time()
    assert shell(*kind, "--for", "10m").exit_code == 0
    assert shell(*kind, "--until", "1800000000").exit_code == 0
    ends = [call[-1]["held_until"].timestamp() for call in shell.mail.asked]
    assert before + 600 <= ends[0] <= time.time() + 600
    assert ends[1] == 1800000000
    for wrong in ((), ("--for", "1s", "--until", "1"), ("--for", "9999999d")):
        assert shell(*kind, *wrong).exit_code == 2
    assert len(shell.mail.asked) == 2


def test_queue_hold_says_until_when_no_job_can_be_claimed(shell: Shell) -> None:
    done = shell("queue", "hold", "mail", "--until", "1800000000")
    assert done.stderr == "No job of the queue 'mail' can be claimed until 2027-01-15T08:00:00Z.\n"


@pytest.mark.parametrize("kind", [("queue", "release", "mail"), ("group", "release", "mail", "g")])
def test_release_ends_a_hold(shell: Shell, kind: tuple[str, ...]) -> None:
    assert shell(*kind).exit_code == 0
    assert [call[-1] for call in shell.mail.asked] == [{"held_until": None}]


# Groups


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        (("--limit", "5", "--rate", "10/60"), {"in_progress": 5, "rate": (10, 60)}),
        (("--limit", "none", "--weight", "3"), {"in_progress": None, "weight": 3}),
        (("--rate", "none"), {"rate": None}),
    ],
)
def test_group_set_sends_only_the_given_settings(
    shell: Shell, options: tuple[str, ...], changes: dict[str, Any]
) -> None:
    assert shell("group", "set", "mail", "g", *options).exit_code == 0
    assert shell.mail.asked == [("set_group", "g", changes)]


def test_group_set_with_nothing_to_change_is_wrong_usage(shell: Shell) -> None:
    assert shell("group", "set", "mail", "g").exit_code == 2
    assert shell.engine.made == []


@pytest.mark.parametrize(
    ("command", "changes", "own", "said"),
    [
        ("pause", {"paused": True}, {"paused": True}, "no job can be claimed while it is paused."),
        ("resume", {"paused": False}, {}, "jobs can be claimed."),
        ("release", {"held_until": None}, {}, "jobs can be claimed."),
    ],
)
def test_group_commands_report_whether_jobs_can_be_claimed(
    shell: Shell, command: str, changes: dict[str, Any], own: dict[str, Any], said: str
) -> None:
    shell.mail.answers["set_group"] = group_of("g", own=own)
    assert shell("group", command, "mail", "g").stderr == f"The group 'g' of 'mail': {said}\n"
    assert json.loads(shell("group", command, "mail", "g", "--json").stdout)["own"] == own
    assert shell.mail.asked == [("set_group", "g", changes)] * 2


def test_a_held_and_paused_group_is_reported_as_held_and_paused(shell: Shell) -> None:
    shell.mail.answers["set_group"] = group_of("g", own={"paused": True}, held_until=1800000000)
    said = shell("group", "hold", "mail", "g", "--for", "1m").stderr
    assert said.endswith(": no job can be claimed while it is paused and until 2027-01-15T08:00:00Z.\n")


def test_group_list_prints_a_line_for_each_group(shell: Shell) -> None:
    own = {"in_progress": 3, "rate": {"count": 10, "seconds": 60}, "weight": 2, "paused": True}
    shell.mail.answers["groups"] = [
        group_of("a\tb", own=own, held_until=1800000000, oldest_ready_seconds=75.0),
        group_of("c"),
    ]
    assert shell("group", "list", "mail", "--sort", "oldest").stdout.splitlines() == [
        "a\\tb\tpaused held\t7\t2\t5\t1\t1m 15s\t2027-01-15T08:00:00Z\t3\t10/60\t2",
        "c\topen\t7\t2\t5\t1\t\t\t\t\t",
    ]
    assert shell.mail.asked == [("groups", {"sort": "oldest", "limit": 51})]


def test_group_list_reports_omitted_groups_and_an_empty_list(shell: Shell) -> None:
    assert "`jobengine add --group` adds one" in shell("group", "list", "mail").stderr
    shell.mail.answers["groups"] = [group_of(f"g{number}") for number in range(60)]
    few, every = shell("group", "list", "mail", "--limit", "3", "--json"), shell("group", "list", "mail", "--all")
    assert [json.loads(line)["group"] for line in few.stdout.splitlines()] == ["g0", "g1", "g2"]
    assert "more than 3" in few.stderr
    assert (len(every.stdout.splitlines()), every.stderr) == (60, "")


def test_group_show_prints_its_fields(shell: Shell) -> None:
    shell.mail.answers["group"] = group_of("g", held_until=1800000000, own={"rate": {"count": 10, "seconds": 60}})
    lines = dict(line.split("\t") for line in shell("group", "show", "mail", "g").stdout.splitlines())
    assert (lines["held"], lines["held_until"]) == ("5", "2027-01-15T08:00:00Z")
    assert (lines["own.rate.count"], lines["own.rate.seconds"]) == ("10", "60")


def test_a_missing_group_exits_with_3(shell: Shell) -> None:
    shell.mail.answers["group"] = shell.mail.answers["reset_group"] = GroupNotFound("no", status=404)
    assert shell("group", "show", "mail", "g").exit_code == shell("group", "reset", "mail", "g").exit_code == 3


def test_group_reset_reports_the_reset(shell: Shell) -> None:
    assert shell("group", "reset", "mail", "g").stderr == "The group 'g' of 'mail' has the settings of the queue.\n"
    assert json.loads(shell("group", "reset", "mail", "g", "--json").stdout) == {"group": "g"}


# Jobs


def test_jobs_are_added_and_moved_to_a_group(shell: Shell) -> None:
    shell("add", "mail", "{}", "--group", "g")
    shell("update", "mail", UID, "--group", "h")
    shell("update", "mail", UID, "--group", "")
    assert shell.mail.asked == [
        ("add", {}, {"uid": UID, "group": "g"}),
        ("update", UID, {"group": "h"}),
        ("update", UID, {"group": ""}),
    ]


_HOLDER = {"uid": "h", "state": "inprogress", "worker": "w", "lease_expires": 1}
_HOLDERS = [_HOLDER]
_DELAYED = "It can't be claimed before 1970-01-01T00:00:01Z."
_RETRIED = f"{_DELAYED} It waits for its retry, after attempt 1 of 2."


def test_explain_of_a_failed_job_names_the_commands_that_run_it_again(shell: Shell) -> None:
    queued = "It is failed; set its state to queued to run it again in this queue."
    reason = f"{queued} To run it there, move it back with move_to."
    shell.mail.answers["explain"] = Explanation({"uid": UID, "state": "failed", "reason": reason})
    lines = dict(line.split("\t") for line in shell("explain", "mail", UID).stdout.splitlines())
    assert lines["reason"] == (
        f"It is failed; `jobengine retry mail {UID}` runs it again in this queue. "
        "To run it there, move it back with `jobengine move`."
    )


@pytest.mark.parametrize(
    ("held_by", "reason", "more", "advice"),
    [
        ("group_limit", "The group 'a b' has 1 of 1 jobs.", {"holders": _HOLDERS}, "group set mail 'a b' --limit N"),
        ("group_rate", "10 jobs were claimed.", {"opens": 1}, "group set mail 'a b' --rate COUNT/TIME"),
        ("queue_limit", "The queue has 1 of 1 jobs.", {}, "queue configure mail --limit N"),
        ("queue_rate", "10 jobs were claimed.", {"opens": 1}, "queue configure mail --rate COUNT/TIME"),
        ("hold", "The group 'a b' is held.", {"opens": 1}, "group release mail 'a b'"),
        ("hold", "The group 'a b' is paused.", {}, "group resume mail 'a b'"),
        ("hold", "The queue is held. The next can be claimed at 1.", {"opens": 1}, "queue release mail"),
        ("hold", f"{_DELAYED} The group 'a b' is held until 1.", {"opens": 1}, "group release mail 'a b'"),
        ("hold", f"{_DELAYED} The group 'a b' is paused.", {}, "group resume mail 'a b'"),
        ("hold", f"{_DELAYED} The queue is held until 1.", {"opens": 1}, "queue release mail"),
        ("hold", f"{_RETRIED} The queue is held until 1.", {"opens": 1}, "queue release mail"),
        ("hold", f"{_RETRIED} The group 'x. The queue is held' is held.", {"opens": 1}, "group release mail 'a b'"),
        ("order", "1 job must be finished first.", {"holders": [{**_HOLDER, "state": "queued"}]}, ""),
        ("order", "A job has failed.", {"holders": [{**_HOLDER, "state": "failed"}]}, "retry mail h"),
        ("queue_limit", "3 jobs are before it, and at most 2 run at once; 0 run now.", {}, ""),
        ("group_limit", "1 job of the group 'a\nb' is before it, and at most 1 runs at once; 0 run now.", {}, ""),
        ("queue_rate", "2 jobs are before it, and at most 2 can be claimed in any 60 seconds.", {}, ""),
    ],
)
def test_explain_of_a_held_job_names_the_command_that_changes_the_limit_or_hold(
    shell: Shell, held_by: str, reason: str, more: dict[str, Any], advice: str
) -> None:
    raw = {"uid": UID, "state": "queued", "reason": reason, "held_by": held_by, "group": "a b", **more}
    shell.mail.answers["explain"] = Explanation(raw)
    done = shell("explain", "mail", UID)
    assert done.stderr == (f"`jobengine {advice}` changes that.\n" if advice else "")
    assert shell("explain", "mail", UID, "--json").stderr == ""
    lines = dict(line.split("\t") for line in done.stdout.splitlines())
    assert lines.get("holders.1.lease_expires") == ("1970-01-01T00:00:01Z" if "holders" in more else None)


@pytest.mark.parametrize(
    ("held_by", "reason", "advice"),
    [
        (None, "It is the next.", None),
        ("queue_limit", "3 jobs are before it, and at most 2 run at once; 0 run now.", None),
        ("queue_limit", "The queue has 2 of 2 jobs in progress.", "queue configure mail --limit N"),
        ("hold", "The queue is held. The next can be claimed at 1.", "queue release mail"),
        ("hold", f"{_DELAYED} The queue is held until 1.", "queue release mail"),
    ],
)
def test_explain_in_a_paused_queue_first_names_the_command_that_ends_the_pause(
    shell: Shell, held_by: str | None, reason: str, advice: str | None
) -> None:
    raw = {"uid": UID, "state": "queued", "reason": f"The queue is paused. {reason}", "paused": True}
    shell.mail.answers["explain"] = Explanation(raw | ({} if held_by is None else {"held_by": held_by}))
    hints = ["`jobengine queue resume mail` ends the pause.", advice and f"`jobengine {advice}` changes that."]
    assert shell("explain", "mail", UID).stderr.splitlines() == [hint for hint in hints if hint]
    shell.mail.answers["explain"] = Explanation({**raw, "state": "complete", "reason": "It is complete."})
    assert shell("explain", "mail", UID).stderr == ""


def test_explain_of_a_held_job_shows_the_time_left_until_each_time(shell: Shell) -> None:
    first, second = "1970-01-01T00:00:07Z", "1970-01-01T00:00:08Z"
    reason = f"In progress: a at worker w until {first}, b until {second}. The next can be claimed at {second}."
    shell.mail.answers["explain"] = Explanation({"uid": UID, "state": "queued", "reason": reason})
    lines = dict(line.split("\t") for line in shell("explain", "mail", UID).stdout.splitlines())
    without = re.sub(r" \(\d+d( \d+h)? ago\)", "", lines["reason"])
    assert (without, lines["reason"].count(" ago)")) == (reason, 3)


# Queues


def test_stats_show_the_count_of_held_jobs_only_if_jobs_are_held(shell: Shell) -> None:
    plain = shell("queue", "stats", "mail").stdout
    shell.mail.answers["stats"] = stats_of(held=0, workers_wanted=None, held_until=None)
    assert shell("queue", "stats", "mail").stdout == plain
    shell.mail.answers["stats"] = stats_of(held=5, workers_wanted=3, held_until=1800000000)
    lines = dict(line.split("\t") for line in shell("queue", "stats", "mail").stdout.splitlines())
    assert (lines["held"], lines["workers_wanted"], lines["held_until"]) == ("5", "3", "2027-01-15T08:00:00Z")
    assert "held_until\t2027" in shell("queue", "show", "mail").stdout
    shell.mail.answers["stats"] = stats_of(held=0)
    assert json.loads(shell("queue", "stats", "mail", "--json").stdout)["held"] == 0


@pytest.mark.parametrize("command", [("queue", "list"), ("top", "--once")])
def test_lists_of_queues_show_held_jobs_and_that_a_queue_is_held(command: tuple[str, ...]) -> None:
    shell = Shell(FakeEngine(admin_key="admin"))
    shell.engine.listed = [stats_of("a", held=5, held_until=1800000000), stats_of("b", held=0)]
    rows = [line.split("\t") for line in shell(*command).stdout.splitlines()]
    assert [(row[0], row[1], row[-2]) for row in rows] == [("a", "held", "5"), ("b", "open", "")]
