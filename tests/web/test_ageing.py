"""Priority ageing over HTTP: the setting, lists, and the answer of explain."""

from typing import Any

import pytest

from tests.doubles import MemoryServer
from tests.web.asking import NO_WORKER, add, each, explain, set_up, stats

ORDER = {"seconds_per_priority": 60}


def test_the_settings_and_stats_of_a_queue_show_its_priority_ageing(server: MemoryServer) -> None:
    assert set_up(server, order=ORDER).json["order"] == ORDER
    server.restart()
    assert set_up(server).json["order"] == ORDER
    assert stats(server)["order"] == ORDER
    assert "order" not in set_up(server, order=None).json


@pytest.mark.parametrize(
    "order",
    each(
        *(1, [], "60", {}, {"seconds": 60}, {"seconds_per_priority": None}),
        *({"seconds_per_priority": value} for value in each(0, -1, 31_536_001, "60", 1.5, True)),
    ),
)
def test_a_malformed_order_is_refused(server: MemoryServer, order: Any) -> None:
    before = set_up(server, order=ORDER).json
    refused = set_up(server, order=order)
    assert refused.status == 400
    assert "order" in refused.json["detail"]
    assert set_up(server).json == before


def test_fair_order_and_ageing_exclude_each_other(server: MemoryServer) -> None:
    set_up(server, order=ORDER)
    refused = set_up(server, group_order="fair")
    assert (refused.status, "group_order" in refused.json["detail"]) == (409, True)
    assert set_up(server, group_order="fair", order=None).status == 200


def test_the_cursor_of_a_list_works_in_a_queue_with_priority_ageing(server: MemoryServer) -> None:
    set_up(server, order=ORDER)
    uids = [add(server, priority=priority)["uid"] for priority in (-(1 << 40), 0, 1 << 40)]
    found: list[str] = []
    query = {"queueName": "q", "limit": "1"}
    while True:
        page = server.call("GET", "/api/v1/jobs", query=query).json
        found += [job["uid"] for job in page["jobs"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert found == uids[::-1]


@pytest.mark.parametrize(
    ("priority", "meaning"),
    [
        (0, ""),
        (2, " Its priority of 2 puts it before jobs of priority 0 that were added up to 120 seconds earlier."),
        (-1, " Its priority of -1 puts it behind jobs of priority 0 that were added up to 60 seconds later."),
    ],
)
def test_explain_shows_how_many_seconds_of_age_the_priority_of_a_job_equals(
    server: MemoryServer, priority: int, meaning: str
) -> None:
    set_up(server, order=ORDER)
    uid = add(server, priority=priority)["uid"]
    assert explain(server, uid)["reason"] == f"It can be claimed. It is the next.{meaning}{NO_WORKER}"
