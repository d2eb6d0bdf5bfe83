"""What jobs wait for and what waits for them, read from each engine."""

from typing import Any

import pytest

from jobengine.core import commands as c
from jobengine.core.dependencies import batch_key
from jobengine.core.errors import JobNotFound
from jobengine.core.links import Graph, LinkState
from jobengine.core.model import Role, State
from jobengine.engine.links import read_graph
from tests.contract.asking import ANY_UID, KEY, Asker, Contract
from tests.contract.dependencies import A, B, C, D, set_batch, waits_for
from tests.contract.world import World


def links(ask: Asker, *uids: str, most: int = 0, **more: Any) -> c.Links:
    return ask.ask(c.ReadLinks, uids=uids, most=most, **more)


def graph(world: World, ask: Asker, uid: str, queue: str = "q", key: bytes = KEY) -> Graph:
    return ask.get(read_graph(world.engine, c.ExplainJob(queue=queue, access_key=key, uid=uid), _no_pause))


async def _no_pause() -> None:
    pass


def shape(found: Graph) -> tuple[list[str], set[tuple[str, str]]]:
    """The keys of a graph's nodes, and its edges as pairs of keys."""
    keys = [node.key for node in found.nodes]
    return keys, {(keys[first], keys[second]) for first, second in found.edges}


class LinksContract(Contract):
    """Links between jobs, also of different queues, and the results that come with a claim."""

    def test_jobs_are_read_with_the_jobs_that_wait_for_them(self, ask: Asker) -> None:
        first, other = ask.add(uid=A), ask.add(uid=B)
        waits_for(ask, A)
        waits_for(ask, A, uid=D)
        read = links(ask, A, B, ANY_UID, most=5)
        assert {job.spec.uid: job for job in read.jobs} == {A: first, B: other}
        assert {uid: set(its) for uid, its in read.dependants.items() if its} == {A: {("q", C), ("q", D)}}
        assert len(links(ask, A, most=1).dependants[A]) == 1
        assert not links(ask, A).dependants

    def test_jobs_that_wait_for_a_batch_are_read_by_the_key_of_the_batch(self, ask: Asker) -> None:
        set_batch(ask)
        read = links(ask, batch_key("b"), most=5)
        assert (read.jobs, read.dependants) == ([], {batch_key("b"): [("q", D)]})

    def test_a_failed_dependency_stays_linked_to_its_dependant_but_a_complete_dependency_does_not(
        self, ask: Asker
    ) -> None:
        first, second = ask.add(uid=A), ask.add(uid=B)
        waits_for(ask, A, uid=C)
        waits_for(ask, B, uid=D)
        ask.update(first, State.FAILED)
        ask.update(second, State.COMPLETE)
        ask.update(ask.hold(), State.COMPLETE)
        read = links(ask, A, B, most=5).dependants
        assert (list(read[A]), list(read[B])) == ([("q", C)], [])

    def test_a_producer_sees_links_to_jobs_of_others_but_reads_only_its_own_jobs(self, ask: Asker) -> None:
        ask.add_key(Role.PRODUCER, b"producer")
        ask.add(uid=A)
        own = ask.add(uid=B, key=b"producer")
        read = links(ask, A, B, C, key=b"producer")
        assert ([*read.jobs], {*read.hidden}) == ([own], {A})

    def test_a_graph_has_every_linked_job_across_queues_and_batches(self, world: World, ask: Asker) -> None:
        ask.create("other")
        ask.add("other", uid=A)
        set_batch(ask)
        ask.add(uid=B, depends_on=(("other", A),), batch="b")
        keys, edges = shape(graph(world, ask, A, "other"))
        assert keys == [A, B, batch_key("b"), D]
        assert edges == {(A, B), (B, batch_key("b")), (batch_key("b"), D)}
        assert set(shape(graph(world, ask, D))[0]) == {D, batch_key("b")}
        world.reopen()
        assert shape(graph(world, ask, A, "other")) == (keys, edges)
        with pytest.raises(JobNotFound):
            graph(world, ask, C)

    def test_a_graph_shows_removed_jobs_and_jobs_that_the_key_may_not_read(self, world: World, ask: Asker) -> None:
        ask.create("other")
        ask.add("other", uid=A)
        gone = ask.add(uid=B)
        ask.add(uid=C, depends_on=(("other", A), ("q", B)))
        ask.delete(gone)
        ask.add_key(Role.VIEWER, b"viewer")
        states = {node.key: node.state for node in graph(world, ask, C, key=b"viewer").nodes}
        assert states == {C: LinkState.FAILED, A: LinkState.UNFINISHED, B: LinkState.REMOVED}
