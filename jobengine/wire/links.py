"""The dependencies of jobs, in both directions, in the API's answers."""

from typing import Any, Final

from msgspec import Raw

from ..core.batches import Batch, BatchCounts
from ..core.fingerprints import error_line
from ..core.links import AwaitedResults, Graph, Link
from ..core.model import Job, State
from .shown_job import to_json

#: The most characters of a short error.
_SHORT_ERROR: Final = 200


def short_error(error: str) -> str:
    """An error as other jobs show it: the start of the line that names it. The failed job itself has all of it."""
    return error_line(error)[:_SHORT_ERROR]


def graph_json(graph: Graph) -> bytes:
    """The jobs and batches around a job, and which waits for which."""
    edges = [{"from": first, "to": second} for first, second in graph.edges]
    return to_json({"nodes": [*map(link_value, graph.nodes)], "edges": edges, "left_out": graph.left_out})


def link_value(link: Link) -> dict[str, Any]:
    """A job or batch that others wait for, or that waits; without details if the key may not read it."""
    name = link.batch_name
    value: dict[str, Any] = {"queue_name": link.queue, "state": link.state}
    value.update({"uid": link.key} if name is None else {"batch": name})
    if link.job is not None:
        value.update(_job_value(link.job))
    if link.batch is not None and link.counts is not None:
        value.update(batch_counts_value(link.batch, link.counts))
    return value


def batch_counts_value(batch: Batch, counts: BatchCounts) -> dict[str, Any]:
    """Whether a batch is open, and its jobs by state."""
    states = {state.value: counts.states.get(state, 0) for state in State}
    return {"open": batch.open, "total": counts.total, **states}


def _job_value(job: Job) -> dict[str, Any]:
    notes, rare = job.standing.notes, job.spec.rare
    value = {
        "waiting": job.waits or None,
        "progress": notes.progress,
        "worker": job.standing.worker,
        "error": None if notes.error is None else short_error(notes.error),
        "cancelled": notes.cancelled or None,
        "tags": job.spec.tags or None,
        "batch": rare.batch,
    }
    return {name: given for name, given in value.items() if given is not None}


def with_dependencies(job: bytes, results: AwaitedResults | None) -> bytes:
    """The JSON of a claimed job, with the results of what it has waited for."""
    if results is None:
        return job
    left_out = {"results_left_out": results.left_out} if results.left_out else {}
    more = {"dependencies": [*map(_result_value, results.links)], **left_out}
    return job[:-1] + b"," + to_json(more)[1:]


def _result_value(link: Link) -> dict[str, Any]:
    if link.job is None:
        return link_value(link)
    notes = link.job.standing.notes
    value: dict[str, Any] = {"queue_name": link.queue, "uid": link.key, "state": link.state}
    if notes.result is not None:
        value["result"] = Raw(notes.result)
    if notes.error is not None:
        value["error"] = short_error(notes.error)
    return value
