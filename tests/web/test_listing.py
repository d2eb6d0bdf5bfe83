"""Lists: filters, text search, pages, cursors, and links to the next page."""

from typing import Any

import pytest

from tests.doubles import Answer, MemoryServer
from tests.web.asking import add, change, hold, listed, page, update


def _uids(shown: Any) -> list[str]:
    return [job["uid"] for job in shown["jobs"]]


def _all(server: MemoryServer, **query: Any) -> list[str]:
    """All jobs, read page by page by the cursors."""
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        shown = page(server, **query, **cursor)
        found += _uids(shown)
        if shown["next_cursor"] is None:
            return found
        cursor = {"cursor": shown["next_cursor"]}


def _get(server: MemoryServer, query: str, **more: Any) -> Answer:
    return server.call("GET", f"/api/v1/jobs?{query}", **more)


def test_a_list_has_100_jobs_by_default_and_1000_at_most(server: MemoryServer) -> None:
    body = {"queue_name": "q", "jobs": [{"content": {}}] * 1001}
    server.call("PUT", "/api/v1/jobs", body=body)
    assert len(page(server)["jobs"]) == 100
    assert len(page(server, limit=1000)["jobs"]) == 1000
    assert len(page(server, limit=1)["jobs"]) == 1
    assert len(_all(server, limit=1000)) == 1001


@pytest.mark.parametrize("state", ["queued", "inprogress", "complete", "failed"])
def test_a_list_can_be_filtered_by_state_in_upper_or_lower_case(server: MemoryServer, state: str) -> None:
    uids = {each: add(server)["uid"] for each in ("queued", "inprogress", "complete", "failed")}
    for each, uid in uids.items():
        update(server, uid, each)
    assert _uids(page(server, state=state.upper())) == [uids[state]]


def test_a_list_can_be_filtered_by_worker(server: MemoryServer) -> None:
    first, second, _ = [add(server)["uid"] for _ in range(3)]
    hold(server, worker="w")
    hold(server, worker="W")
    assert _uids(page(server, worker="w")) == [first]
    change(server, second, new_status="complete")
    assert _uids(page(server, worker="W")) == [second]
    assert _uids(page(server, worker="w", state="complete")) == []


def test_a_list_can_be_filtered_by_error(server: MemoryServer) -> None:
    first, second, _ = [add(server)["uid"] for _ in range(3)]
    change(server, first, new_status="failed", error="Connection refused by host")
    change(server, second, new_status="failed", error="no such address")
    assert _uids(page(server, error="connection REFUSED")) == [first]
    assert _uids(page(server, error="o")) == [first, second]


def test_a_list_can_be_filtered_by_age_and_last_change(server: MemoryServer) -> None:
    old = add(server)["uid"]
    server.clock.advance(10)
    young = add(server)["uid"]
    server.clock.advance(5)
    change(server, old, progress=1)
    for seconds, found in ((0, [old, young]), (5, [old, young]), (6, [old]), (15, [old]), (16, [])):
        assert _uids(page(server, older_than=seconds)) == found
    for seconds, found in ((0, [old, young]), (1, [young]), (5, [young]), (6, [])):
        assert _uids(page(server, updated_before=seconds)) == found


@pytest.mark.parametrize(
    "wanted",
    [
        {"worker": "w"},
        {"group": "g"},
        {"error": "REFUSED"},
        {"older_than": 10},
        {"updated_before": 10},
    ],
    ids=str,
)
def test_each_filter_selects_the_same_jobs_for_a_list_a_change_and_a_deletion(
    server: MemoryServer, wanted: Any
) -> None:
    uid = add(server, group="g")["uid"]
    hold(server, worker="w")
    change(server, uid, new_status="failed", error="refused")
    server.clock.advance(10)
    other = add(server)["uid"]
    for dry_run in (True, False):
        body = {"queue_name": "q", "filter": wanted, "priority": 7, "dry_run": dry_run}
        if "updated_before" in wanted and not dry_run:
            body = {**body, "dry_run": True}
        assert server.call("POST", "/api/v1/jobs", body=body).json == {"matched": 1}
    query = {"queueName": "q", **{name: str(value) for name, value in wanted.items()}}
    assert server.call("DELETE", "/api/v1/jobs", query=query).json == {"matched": 1}
    assert [job["uid"] for job in listed(server)["jobs"]] == [other]


def test_the_link_header_leads_to_the_next_page_with_the_same_query(server: MemoryServer) -> None:
    uids = [add(server, {"a": "x & \u00fc"}, tags=["t"])["uid"] for _ in range(5)]
    target = "/api/v1/jobs?queueName=q&limit=2&tag=t&q=x%20%26%20%C3%BC"
    found = []
    while target:
        answer = server.call("GET", target)
        found += _uids(answer.json)
        link = answer.headers.get("Link", "")
        assert bool(link) == (answer.json["next_cursor"] is not None)
        target = link.removeprefix("<").removesuffix('>; rel="next"')
        assert not link or f"cursor={answer.json['next_cursor']}" in target
    assert found == uids


def test_the_page_after_a_cursor_may_be_empty(server: MemoryServer) -> None:
    uid = add(server, tags=["t"])["uid"]
    add(server)
    shown = page(server, limit=1, tag="t")
    assert (_uids(shown), shown["next_cursor"] is None) == ([uid], False)
    shown = page(server, limit=1, tag="t", cursor=shown["next_cursor"])
    assert (_uids(shown), shown["next_cursor"]) == ([], None)


@pytest.mark.parametrize("cursor", ["&cursor=", ";cursor=", "&%63ursor="])
def test_the_link_header_replaces_the_cursor_however_the_query_spells_the_parameter(
    server: MemoryServer, cursor: str
) -> None:
    uids = [add(server)["uid"] for _ in range(3)]
    following = page(server, limit=1)["next_cursor"]
    answer = server.call("GET", f"/api/v1/jobs?limit=1;queueName=q{cursor}{following}")
    target = answer.headers["Link"].removeprefix("<").removesuffix('>; rel="next"')
    assert _uids(answer.json) + _uids(server.call("GET", target).json) == uids[1:]


@pytest.mark.parametrize(
    ("sort", "order"),
    [("created", (0, 1, 2)), ("-created", (2, 1, 0)), ("updated", (1, 2, 0)), ("-updated", (0, 2, 1))],
)
def test_a_list_may_be_sorted_by_time_and_its_next_pages_have_the_same_sort(
    server: MemoryServer, sort: str, order: tuple[int, ...]
) -> None:
    uids = []
    for priority in (0, 1, 2):
        uids.append(add(server, priority=priority, tags=["t"])["uid"])
        server.clock.advance(1)
    add(server)
    change(server, uids[0], progress=1)
    expected = [uids[at] for at in order]
    assert _all(server, sort=sort, tag="t", limit=2) == expected
    answer = _get(server, f"queueName=q&sort={sort}&tag=t&limit=2")
    target = answer.headers["Link"].removeprefix("<").removesuffix('>; rel="next"')
    assert _uids(answer.json) + _uids(server.call("GET", target).json) == expected


def test_a_cursor_is_valid_only_for_a_list_with_the_same_sort(server: MemoryServer) -> None:
    add(server)
    add(server)
    orders: list[dict[str, str]] = [{}, *({"sort": sort} for sort in ("created", "-created", "updated", "-updated"))]
    for order in orders:
        cursor = page(server, limit=1, **order)["next_cursor"]
        for other in orders:
            answer = server.call("GET", "/api/v1/jobs", query={"queueName": "q", "cursor": cursor, **other})
            assert answer.status == (200 if other == order else 400), (order, other)
            assert answer.status == 200 or "The cursor is from a list with" in answer.json["detail"]


def test_the_error_for_an_unknown_sort_lists_the_known_sorts(server: MemoryServer) -> None:
    answer = _get(server, "queueName=q&sort=priority")
    assert answer.status == 400
    assert "created, updated, -created, -updated" in answer.json["detail"]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "queueName=",
        *[f"queueName=q&limit={value}" for value in ("0", "1001", "-1", "x", "", "1.5", "%2B1", "9999999999")],
        *[f"queueName=q&state={value}" for value in ("", "done", "queued&state=failed")],
        *[
            f"queueName=q&cursor={value}"
            for value in ("", "x", "!", "e30", "W10", "WzEsMl0", "%ff", "%C3%BC", "a" * 5000)
        ],
        *[f"queueName=q&sort={value}" for value in ("", "Created", "--created", "created&sort=updated")],
        "queueName=q&sort=created&cursor=WyJjcmVhdGVkIiwxXQ",
        "queueName=q&q=%ff",
        "queueName=q&retrying=maybe",
        "queueName=q&cancelled=1",
        "queueName=q&q=a&q=b",
    ],
)
def test_a_malformed_parameter_gets_400_whatever_the_key(server: MemoryServer, query: str) -> None:
    for key in ("key", "wrong"):
        assert _get(server, query, key=key).status == 400
