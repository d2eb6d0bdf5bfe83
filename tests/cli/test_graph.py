"""`jobengine graph`: a tree at a terminal, lines with tabs elsewhere."""

import io
import json
from typing import Any

import pytest
from rich.console import Console

from jobengine.cli import graph
from jobengine.cli.layout import line_of
from jobengine.cli.output import Output
from jobengine.client import JobGraph, LinkedJob

from .fakes import UID, Shell


def _job(name: str, state: str = "queued", **more: Any) -> dict[str, Any]:
    return {"queue_name": "mail", "uid": name, "state": state, **more}


def _graph(edges: list[tuple[int, int]], *nodes: dict[str, Any], **more: Any) -> JobGraph:
    shown = [{"from": first, "to": second} for first, second in edges]
    return JobGraph({"nodes": nodes, "edges": shown, "left_out": False, **more})


BATCH = {
    "queue_name": "mail",
    "batch": "b",
    "state": "unfinished",
    "open": True,
    "total": 9,
    "complete": 2,
    "failed": 1,
}
#: A waits for B and C, both of which wait for D; E, of another queue, waits for A; F waits for D alone.
WHOLE = _graph(
    [(1, 0), (2, 0), (3, 1), (3, 2), (0, 4), (3, 5), (0, 6)],
    _job("A", waiting=True),
    _job("B", "inprogress", progress=40, worker="w1"),
    _job("C", "failed", error="no route\nat all"),
    _job("D", "removed"),
    {**_job("E"), "queue_name": "other"},
    _job("F", "failed", cancelled=True),
    BATCH,
)


def test_without_a_terminal_graph_prints_a_line_for_each_node(shell: Shell) -> None:
    shell.mail.answers["graph"] = WHOLE
    done = shell("graph", "mail", UID)
    assert done.stdout.splitlines() == [
        "job\t0\tmail\tA\tqueued\twaiting",
        "waits for\t1\tmail\tB\tinprogress\t40 %, at w1",
        "waits for\t2\tmail\tD\tremoved\t",
        "waits for\t1\tmail\tC\tfailed\tno route",
        "waits for\t2\tmail\tD\tremoved\tagain",
        "needed by\t1\tother\tE\tqueued\t",
        "needed by\t1\tmail\tbatch b\tunfinished\t3 of 9 finished, 1 failed, open",
        "beside\t0\tmail\tF\tfailed\tcancelled",
    ]
    assert done.stderr == ""


def test_graph_prints_the_answer_as_json(shell: Shell) -> None:
    shell.mail.answers["graph"] = WHOLE
    assert json.loads(shell("graph", "mail", UID, "--json").stdout) == json.loads(json.dumps(WHOLE.raw))


def test_graph_says_that_nodes_are_left_out(shell: Shell) -> None:
    shell.mail.answers["graph"] = _graph([], _job("A"), left_out=True)
    assert shell("graph", "mail", UID).stderr == "There are more than these 1.\n"


def test_graph_is_a_tree_at_a_terminal(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    shell.mail.answers["graph"] = WHOLE
    monkeypatch.setattr(Output, "at_terminal", True)
    assert shell("graph", "mail", UID).stdout.splitlines() == [
        "A  queued  waiting",
        "waits for",
        "├─ B  inprogress  40 %, at w1",
        "│  └─ D  removed",
        "└─ C  failed  no route",
        "   └─ D  removed  shown above",
        "needed by",
        "├─ E in other  queued",
        "└─ batch b  unfinished  3 of 9 finished, 1 failed, open",
        "beside",
        "└─ F  failed  cancelled",
    ]


def test_graph_shows_states_in_colours() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, color_system="standard", highlight=False)
    console.print(line_of([("└─ ", "dim"), ("A", ""), ("  failed", "red")]))
    assert "\x1b[31m  failed" in file.getvalue()


def test_a_graph_of_a_long_chain_is_printed_whole(shell: Shell) -> None:
    chain = _graph([(at, at + 1) for at in range(199)], *[_job(f"J{at}") for at in range(200)])
    shell.mail.answers["graph"] = chain
    assert len(shell("graph", "mail", UID).stdout.splitlines()) == 200


def test_text_in_a_graph_can_not_control_the_terminal(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    shell.mail.answers["graph"] = _graph([], _job("A", "failed", error="\x1b[2J"))
    for at_terminal in (True, False):
        monkeypatch.setattr(Output, "at_terminal", at_terminal)
        assert "\x1b" not in shell("graph", "mail", UID).stdout


def test_an_answer_without_nodes_prints_nothing() -> None:
    assert list(graph.rows_of(JobGraph({"nodes": [], "edges": []}))) == []
    assert graph.details_of(LinkedJob({"queue_name": "q", "batch": "b", "state": "removed"})) == ""
