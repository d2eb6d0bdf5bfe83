"""
Reads what jobs depend on and what depends on them, over all queues that a key may read.

A graph is read in rounds, outwards from its job: each reads the next jobs and batches, with one command for each queue
and one for each batch.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol, TypeVar

from attrs import define, field
from msgspec.structs import replace
from twisted.internet.defer import CancelledError

from ..core import commands as c
from ..core.dependencies import Awaited, batch_in, batch_key
from ..core.errors import BatchNotFound, DomainError, JobNotFound, NotAllowed, QueueNotFound
from ..core.links import MOST_NODES, MOST_RESULT_BYTES, AwaitedResults, Graph, Link, LinkState, Marked, awaited_links
from ..core.model import Job
from .door import Unavailable

A = TypeVar("A")
#: The most jobs that are read with one command, since all their contents and results are loaded for it.
_AT_ONCE: Final = 50
#: The fields of a command that say who sends it.
Access = Mapping[str, Any]
#: A link, and the jobs that wait for it.
_Found = tuple[Link, Sequence[Awaited]]


class Asks(Protocol):
    """The part of the Door that these functions use."""

    async def ask(self, command: c.Command[A]) -> A:
        """Carry out a command."""


async def read_links(engine: Asks, access: Access, wanted: Sequence[Marked]) -> list[Link]:
    """
    Jobs and batches in the order of `wanted`.

    A job or batch that the key may not read, or that was removed, has only a state. Raises the kinds of Unavailable.
    """
    found = await _read(engine, access, [awaited for awaited, _ in wanted], 0)
    return [link.marked(mark) for (link, _), (_, mark) in zip(found, wanted, strict=True)]


async def read_graph(engine: Asks, start: c.ExplainJob, pause: Callable[[], Awaitable[None]]) -> Graph:
    """
    The jobs and batches for which a job waits, and those that wait for it, as a graph over all queues, nearest first.

    `start` names the job; whoever may explain it may read its graph. `pause` is awaited after each round.

    Raises QueueNotFound, AccessDenied, NotAllowed, JobNotFound and the kinds of Unavailable.
    """
    access: Access = {"access_key": start.access_key, "admin": start.admin}
    grant = await engine.ask(c.CheckKey(queue=start.queue, **access))
    if grant.role not in start.roles:
        raise NotAllowed(start.queue, grant.role)
    growing = _Growing()
    growing.take((start.queue, start.uid))
    while wanted := growing.next_round():
        for found in await _read(engine, access, wanted, MOST_NODES):
            growing.enter(*found)
        if growing.nodes[start.queue, start.uid].job is None:
            raise JobNotFound(start.uid)
        await pause()
    return growing.graph()


async def read_results(engine: Asks, access: Access, claimed: Sequence[c.Claimed]) -> Sequence[AwaitedResults | None]:
    """
    For each claimed job what it has waited for, with the results; None for a job that depends on nothing.

    All results together have at most MOST_RESULT_BYTES. A result that can't be read is left out, and its job stays
    claimed. If the caller disconnects meanwhile, the claims are undone.
    """
    if not any(one.job.spec.rare.dependencies for one in claimed):
        return [None] * len(claimed)
    results = _Results()
    wanted = list(dict.fromkeys(awaited for one in claimed for awaited, _ in awaited_links(one.job)))
    try:
        for start in range(0, len(wanted), _AT_ONCE):
            results.enter(await _read(engine, access, wanted[start : start + _AT_ONCE], 0))
    except Unavailable:
        pass
    except CancelledError:
        await _give_back(engine, claimed)
        raise
    return [results.of(one.job) for one in claimed]


async def _give_back(engine: Asks, claimed: Sequence[c.Claimed]) -> None:
    """Undo claims whose caller has disconnected; those that can't be undone time out."""
    for one in claimed:
        claim = (one.job.spec.uid, one.job.standing.lease or "")
        with suppress(DomainError, Unavailable):
            await engine.ask(c.ReturnClaims(queue=one.queue, admin=True, claims=(claim,)))


@define
class _Results:
    """The results of jobs as they were read, as many as fit into one answer."""

    _found: dict[Awaited, Link] = field(factory=dict)
    #: The jobs whose results did not fit.
    _too_long: set[Awaited] = field(factory=set)
    #: The bytes of the results that are kept, and of those that are in the answer already.
    _kept: int = 0
    _used: int = 0

    def enter(self, found: Sequence[_Found]) -> None:
        """Keep these jobs without their contents, and their results as far as these fit."""
        for link, _ in found:
            size = _result_size(link)
            fits = self._kept + size <= MOST_RESULT_BYTES
            if fits:
                self._kept += size
            else:
                self._too_long.add((link.queue, link.key))
            self._found[link.queue, link.key] = _trimmed(link, with_result=fits)

    def of(self, job: Job) -> AwaitedResults | None:
        """The jobs and batches that a claimed job has waited for, with their results as far as these fit."""
        if job.spec.rare.dependencies is None:
            return None
        links, left_out = [], 0
        for awaited, _ in awaited_links(job):
            link = self._found.get(awaited, Link(queue=awaited[0], key=awaited[1]))
            fits = self._used + _result_size(link) <= MOST_RESULT_BYTES
            self._used += _result_size(link) if fits else 0
            links.append(link if fits else _trimmed(link, with_result=False))
            left_out += not fits or awaited in self._too_long or (link.job is None and link.batch_name is None)
        return AwaitedResults(links, left_out)


def _result_size(link: Link) -> int:
    return 0 if link.job is None else len(link.job.standing.notes.result or b"")


def _trimmed(link: Link, *, with_result: bool) -> Link:
    """A link without the content of its job, and perhaps without the result."""
    if link.job is None:
        return link
    spec, standing = replace(link.job.spec, content=b""), link.job.standing
    if not with_result:
        standing = replace(standing, notes=replace(standing.notes, result=None))
    return replace(link, job=Job(spec, standing))


@define
class _Growing:
    """A graph of which some nodes are not read yet."""

    #: The nodes, the nearest first. A node that is not read yet has only its name.
    nodes: dict[Awaited, Link] = field(factory=dict)
    left_out: bool = False
    _to_read: list[Awaited] = field(factory=list)
    _edges: dict[tuple[Awaited, Awaited], None] = field(factory=dict)
    #: How awaited nodes stand, as jobs that wait for them have recorded it; used for nodes that can't be read.
    _known: dict[Awaited, str] = field(factory=dict)

    def next_round(self) -> list[Awaited]:
        """The nodes that are to be read next, at most _AT_ONCE."""
        wanted, self._to_read = self._to_read[:_AT_ONCE], self._to_read[_AT_ONCE:]
        return wanted

    def take(self, its: Awaited) -> bool:
        """Add a node, unless it is there already; returns False if there is no room for it."""
        if its in self.nodes:
            return True
        if len(self.nodes) == MOST_NODES:
            self.left_out = True
            return False
        self.nodes[its] = Link(queue=its[0], key=its[1])
        self._to_read.append(its)
        return True

    def enter(self, link: Link, dependants: Sequence[Awaited]) -> None:
        """Enter a node that was read, and its neighbours."""
        its, job, batch = (link.queue, link.key), link.job, link.batch
        self.nodes[its] = _trimmed(link, with_result=False)
        for awaited, mark in awaited_links(job) if job is not None else ():
            if mark is not None:
                self._known[awaited] = mark
            self._connect(awaited, its, new=awaited)
        if job is not None and job.spec.rare.batch is not None:
            whole = (link.queue, batch_key(job.spec.rare.batch))
            self._connect(its, whole, new=whole)
        then = [] if batch is None or batch.then is None else [(link.queue, batch.then)]
        for dependant in [*then, *dependants]:
            self._connect(its, dependant, new=dependant)

    def graph(self) -> Graph:
        """The graph, once all its nodes are read."""
        places = {its: index for index, its in enumerate(self.nodes)}
        edges = [(places[first], places[second]) for first, second in self._edges]
        nodes = [link.marked(self._known.get(its)) for its, link in self.nodes.items()]
        return Graph(nodes=nodes, edges=edges, left_out=self.left_out)

    def _connect(self, first: Awaited, second: Awaited, *, new: Awaited) -> None:
        if self.take(new):
            self._edges[first, second] = None


async def _read(engine: Asks, access: Access, wanted: Collection[Awaited], most: int) -> list[_Found]:
    """Read jobs and batches, each with at most `most` jobs that wait for it."""
    by_queue: dict[str, list[str]] = {}
    for queue, key in wanted:
        by_queue.setdefault(queue, []).append(key)
    found: dict[Awaited, _Found] = {}
    for queue, keys in by_queue.items():
        for one in await _read_queue(engine, access, queue, keys, most):
            found[queue, one[0].key] = one
    return [found[its] for its in wanted]


async def _read_queue(engine: Asks, access: Access, queue: str, keys: Sequence[str], most: int) -> list[_Found]:
    uids = [key for key in keys if most or batch_in(key) is None]
    try:
        links = await engine.ask(c.ReadLinks(queue=queue, **access, uids=tuple(uids), most=most))
    except QueueNotFound:
        return [(Link(queue=queue, key=key, without=LinkState.REMOVED), ()) for key in keys]
    except DomainError:
        # The key doesn't open the queue, or a row is damaged.
        return [(Link(queue=queue, key=key), ()) for key in keys]
    jobs = {job.spec.uid: job for job in links.jobs}
    found: list[_Found] = []
    for key in keys:
        name = batch_in(key)
        if name is not None:
            link = await _read_batch(engine, access, queue, name)
        else:
            gone = LinkState.UNKNOWN if key in links.hidden else LinkState.REMOVED
            link = Link(queue=queue, key=key, job=jobs.get(key), without=gone)
        found.append((link, links.dependants.get(key, ())))
    return found


async def _read_batch(engine: Asks, access: Access, queue: str, name: str) -> Link:
    link = Link(queue=queue, key=batch_key(name))
    try:
        report = await engine.ask(c.ReadBatch(queue=queue, **access, name=name))
    except BatchNotFound:
        return replace(link, without=LinkState.REMOVED)
    except DomainError:
        return link
    return replace(link, batch=report.batch, counts=report.counts)
