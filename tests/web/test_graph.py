"""The graph of a job over HTTP: its dependencies and its dependants."""

from typing import Any

import pytest

from jobengine.core import commands as c
from tests.doubles import Answer, MemoryServer
from tests.web.asking import add_key, change, hold, make_queue, update
from tests.web.linking import add_jobs, close_batch, job, run, set_batch, uid, uids


def _graph(server: MemoryServer, number: int, queue: str = "q", key: str = "key") -> Answer:
    return server.call("GET", "/api/v1/job/graph", query={"queueName": queue, "jobUID": uid(number)}, key=key)


def _nodes(server: MemoryServer, number: int) -> list[str]:
    return [node.get("uid", node.get("batch")) for node in _graph(server, number).json["nodes"]]


def _edges(graph: Any) -> set[tuple[str, str]]:
    """The edges by the numbers of jobs and the names of batches."""
    names = [node.get("uid", node.get("batch")) for node in graph["nodes"]]
    return {(names[edge["from"]], names[edge["to"]]) for edge in graph["edges"]}


def _node(server: MemoryServer, of: int, number: int, **more: Any) -> Any:
    (found,) = [node for node in _graph(server, of, **more).json["nodes"] if node.get("uid") == uid(number)]
    return found


def test_a_job_without_dependencies_is_alone_in_its_graph(server: MemoryServer) -> None:
    add_jobs(server, job(1))
    node = {"queue_name": "q", "uid": uid(1), "state": "queued"}
    assert _graph(server, 1).json == {"nodes": [node], "edges": [], "left_out": False}


def test_a_graph_lists_dependencies_and_dependents_of_a_job_nearest_first(server: MemoryServer) -> None:
    add_jobs(server, job(1), job(2, 1), job(3, 2), job(4, 3), job(5, 1), job(9))
    assert _nodes(server, 3) == uids([3, 2, 4, 1, 5])
    edges = {(1, 2), (2, 3), (3, 4), (1, 5)}
    for number in (1, 2, 3, 4, 5):
        graph = _graph(server, number).json
        assert _edges(graph) == {(uid(one), uid(other)) for one, other in edges}
        assert graph["nodes"][0]["uid"] == uid(number)


def test_a_job_on_two_paths_is_one_node_and_each_edge_is_listed_once(server: MemoryServer) -> None:
    add_jobs(server, job(1), job(2, 1), job(3, 1), job(4, 2, 3))
    graph = _graph(server, 4).json
    assert len(graph["nodes"]) == len(graph["edges"]) == 4


def test_a_node_shows_state_progress_worker_tags_and_a_short_error(server: MemoryServer) -> None:
    add_jobs(server, job(1, priority=1, tags=("red",), max_attempts=1), job(2, 1))
    held = hold(server, worker="w1")
    change(server, uid(1), lease=held["lease"], new_status="inprogress", progress=40)
    details = {"tags": ["red"], "progress": 40, "worker": "w1"}
    assert _node(server, 2, 1) == {"queue_name": "q", "uid": uid(1), "state": "inprogress", **details}
    assert _node(server, 2, 2)["waiting"] is True
    change(server, uid(1), lease=held["lease"], new_status="failed", error="x" * 300)
    assert _node(server, 2, 1)["error"] == "x" * 200
    assert (_node(server, 2, 2)["state"], "waiting" in _node(server, 2, 2)) == ("failed", False)


def test_a_failed_node_shows_the_line_that_names_the_error_of_a_traceback(server: MemoryServer) -> None:
    add_jobs(server, job(1), job(2, 1))
    frame = '  File "/srv/app/mail.py", line 3, in deep\n    return deep(n - 1)\n'
    change(
        server, uid(1), new_status="failed", error=f"Traceback (most recent call last):\n{9 * frame}OSError: no route"
    )
    assert _node(server, 2, 1)["error"] == "OSError: no route"


def test_the_graph_of_a_finished_job_still_shows_failed_but_not_complete_dependents(
    server: MemoryServer,
) -> None:
    add_jobs(server, job(1), job(2, 1), job(3), job(4, 3))
    update(server, uid(1), "failed")
    for number in (3, 4):
        update(server, uid(number), "complete")
    assert (_nodes(server, 1), _nodes(server, 3), _nodes(server, 4)) == (uids([1, 2]), uids([3]), uids([4, 3]))


def test_a_removed_job_is_shown_as_removed_without_details(server: MemoryServer) -> None:
    add_jobs(server, job(1), job(2, 1))
    run(server, c.DeleteJob(queue="q", access_key=b"key", uid=uid(1)))
    assert _node(server, 2, 1) == {"queue_name": "q", "uid": uid(1), "state": "removed"}


def test_a_batch_is_one_node_between_its_jobs_and_the_job_at_its_end(server: MemoryServer) -> None:
    set_batch(server, "b", then=job(9))
    add_jobs(server, job(1), job(2, 1, batch="b"), *[job(number, batch="b") for number in range(3, 8)])
    batch = {"queue_name": "q", "batch": "b", "state": "unfinished", "open": True, "total": 6}
    counts = {"queued": 6, "inprogress": 0, "complete": 0, "failed": 0}
    for number in (1, 9):
        assert {**batch, **counts} in _graph(server, number).json["nodes"]
    assert _edges(_graph(server, 1).json) == {(uid(1), uid(2)), (uid(2), "b"), ("b", uid(9))}
    assert _edges(_graph(server, 9).json) == {("b", uid(9))}
    for number in range(1, 8):
        update(server, uid(number), "complete")
    close_batch(server)
    (node,) = [node for node in _graph(server, 9).json["nodes"] if "uid" not in node]
    assert (node["state"], node["open"], node["complete"]) == ("complete", False, 6)
    assert _edges(_graph(server, 2).json) == {(uid(1), uid(2)), (uid(2), "b"), ("b", uid(9))}


@pytest.mark.parametrize("number", [1, 2])
def test_a_graph_has_at_most_200_nodes_and_shows_that_nodes_are_left_out(server: MemoryServer, number: int) -> None:
    add_jobs(server, job(1), *[job(2 + index, 1) for index in range(300)])
    graph = _graph(server, number).json
    assert (len(graph["nodes"]), graph["left_out"]) == (200, True)
    assert len(graph["edges"]) == 199


def test_a_graph_of_200_jobs_leaves_out_no_node(server: MemoryServer) -> None:
    add_jobs(server, job(1), *[job(1 + index, index) for index in range(1, 200)])
    graph = _graph(server, 100).json
    assert (len(graph["nodes"]), len(graph["edges"]), graph["left_out"]) == (200, 199, False)


# Other queues, and keys


def _two_queues(server: MemoryServer, **more: Any) -> None:
    """Job 2 of q waits for job 1 of the queue other, whose owner's key is `both` too."""
    make_queue(server, "other")
    add_jobs(server, job(1, tags=("secret",)), queue="other")
    add_jobs(server, job(2, ("other", uid(1)), **more))


def test_a_graph_crosses_queues_in_both_directions(server: MemoryServer) -> None:
    _two_queues(server)
    assert _node(server, 2, 1)["tags"] == ["secret"]
    assert _node(server, 1, 2, queue="other")["queue_name"] == "q"


def test_a_graph_hides_the_state_of_unfinished_jobs_in_an_unreadable_queue(server: MemoryServer) -> None:
    _two_queues(server)
    add_key(server, "viewer", "viewer")
    node = {"queue_name": "other", "uid": uid(1)}
    assert _node(server, 2, 1, key="viewer") == {**node, "state": "unfinished"}
    body = {"queue_name": "other", "uid": uid(1), "new_status": "failed"}
    server.call("POST", "/api/v1/job", body=body)
    assert _node(server, 2, 1, key="viewer") == {**node, "state": "failed"}


def test_a_graph_hides_jobs_of_a_queue_where_the_key_is_only_a_producer(server: MemoryServer) -> None:
    _two_queues(server, priority=1)
    for name, role in (("q", "viewer"), ("other", "producer")):
        add_key(server, role, "mixed", queue=name)
    assert _node(server, 2, 1, key="mixed") == {"queue_name": "other", "uid": uid(1), "state": "unfinished"}
    update(server, uid(2), "complete")
    assert _node(server, 2, 1, key="mixed") == {"queue_name": "other", "uid": uid(1), "state": "unknown"}


def test_the_graph_shows_jobs_of_a_deleted_queue_as_removed(server: MemoryServer) -> None:
    _two_queues(server)
    assert server.call("DELETE", "/api/v1/queue", query={"name": "other"}).status == 204
    assert _node(server, 2, 1)["state"] == "removed"


def test_a_graph_needs_a_key_that_may_read_jobs_and_an_existing_job(server: MemoryServer) -> None:
    add_jobs(server, job(1))
    for role, status in (("viewer", 200), ("worker", 403), ("producer", 403)):
        add_key(server, role, role)
        assert _graph(server, 1, key=role).status == status
    assert (_graph(server, 2).status, _graph(server, 1, queue="none").status) == (404, 404)
    assert _graph(server, 1, key="wrong").status == 401
