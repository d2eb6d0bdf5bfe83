"""`jobengine graph`: what a job waits for and what waits for it, as a tree at a terminal and as lines elsewhere."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import click

from jobengine.client import JobGraph, LinkedJob

from .columns import STATE_COLOURS
from .command import command
from .parameters import QUEUE, UID
from .session import current
from .terminal_text import plain

#: How a node is related to the given job; shown as headings of the tree, and as the first field of each line.
_JOB, _BEFORE, _AFTER, _BESIDE = "job", "waits for", "needed by", "beside"
#: The lines of the tree before a parent's last node, and before all nodes below it.
_LAST = "└─ ", "   "
#: The lines of the tree before a parent's other nodes, and before all nodes below them.
_OTHER = "├─ ", "│  "
#: The most characters of an error.
_ERROR: Final = 60


class Row(NamedTuple):
    """A node in its place in the tree."""

    relation: str
    #: The distance from the job.
    depth: int
    #: The characters that draw the tree before the node.
    lines: str
    node: LinkedJob
    #: Whether the node was printed further up, with all nodes below it.
    again: bool = False


@command(
    "graph",
    "jobengine graph mail 0b8c9e1c-4c1e-4a35-9d5c-5a6f0f0f8a11\n"
    "jobengine graph mail 0b8c9e1c-4c1e-4a35-9d5c-5a6f0f0f8a11 --json",
)
@QUEUE
@UID
def graph(queue_name: str, uid: str) -> None:
    """
    Show what a job waits for, directly and through others, and what waits for it.

    At a terminal it prints a tree. Elsewhere it prints a line for each node of the tree, with tabs: relation, distance,
    queue, uid or batch, state and details.
    """
    session = current()
    found = session.queue(queue_name).graph(uid)
    if session.json:
        session.output.json(found.raw)
        return
    rows = list(rows_of(found))
    if session.output.at_terminal:
        session.output.lines([*_tree(rows)])
    else:
        for row in rows:
            click.echo("\t".join(map(plain, _fields(row))))
    if found.left_out:
        session.output.note(f"There are more than these {len(found.nodes)}.")


def rows_of(found: JobGraph) -> Iterator[Row]:
    """The job, the jobs that it waits for, those that wait for it, and the rest of the graph."""
    if not found.nodes:
        return
    yield Row(_JOB, 0, "", found.nodes[0])
    printed = {0}
    for relation, ways in (_BEFORE, _ways(found, back=True)), (_AFTER, _ways(found, back=False)):
        yield from _below(found, relation, ways, 0, 1, "", printed)
    rest = [node for index, node in enumerate(found.nodes) if index not in printed]
    for node in rest:
        yield Row(_BESIDE, 0, _LAST[0] if node is rest[-1] else _OTHER[0], node)


def _ways(found: JobGraph, *, back: bool) -> dict[int, list[int]]:
    """For each node, by index, the nodes that wait for it; with `back`, the nodes that it waits for."""
    ways: dict[int, list[int]] = {}
    for edge in found.edges:
        start, end = (edge.after, edge.before) if back else (edge.before, edge.after)
        ways.setdefault(start, []).append(end)
    return ways


def _below(
    found: JobGraph, relation: str, ways: dict[int, list[int]], index: int, depth: int, lines: str, printed: set[int]
) -> Iterator[Row]:
    """All nodes below a node, depth first; a node that occurs again is without those below it."""
    ends = ways.get(index, [])
    for end in ends:
        mark, below = _LAST if end == ends[-1] else _OTHER
        again = end in printed
        yield Row(relation, depth, lines + mark, found.nodes[end], again)
        if not again:
            printed.add(end)
            yield from _below(found, relation, ways, end, depth + 1, lines + below, printed)


def name_of(node: LinkedJob) -> str:
    """The uid of a job, or a batch with its name."""
    return node.uid or f"batch {node.batch}"


def details_of(node: LinkedJob) -> str:
    """What is known about a node beside its state."""
    if node.uid is None:
        ended = (node.complete or 0) + (node.failed or 0)
        counts = "" if node.total is None else f"{ended} of {node.total} finished"
        failed = f"{node.failed} failed" if node.failed else ""
        return ", ".join(filter(None, [counts, failed, "open" if node.open else ""]))
    progress = "" if node.progress is None else f"{node.progress} %"
    worker = f"at {node.worker}" if node.worker and node.state == "inprogress" else ""
    error = (node.error or "").partition("\n")[0][:_ERROR] if node.state == "failed" else ""
    words = ["waiting" if node.waiting else "", "cancelled" if node.cancelled else "", progress, worker, error]
    return ", ".join(filter(None, words))


def _fields(row: Row) -> list[str]:
    node = row.node
    again = "again" if row.again else details_of(node)
    return [row.relation, str(row.depth), node.queue_name, name_of(node), node.state, again]


def _tree(rows: Sequence[Row]) -> Iterator[list[tuple[str, str]]]:
    """The lines at a terminal, each as texts with their styles."""
    relation, queue = _JOB, rows[0].node.queue_name if rows else ""
    for row in rows:
        if row.relation != relation:
            relation = row.relation
            yield [(relation, "bold")]
        node = row.node
        name = plain(name_of(node) if node.queue_name == queue else f"{name_of(node)} in {node.queue_name}")
        details = "shown above" if row.again else plain(details_of(node))
        style = STATE_COLOURS.get(node.state, "")
        yield [(row.lines, "dim"), (name, ""), (f"  {node.state}", style), (f"  {details}".rstrip(), "dim")]
