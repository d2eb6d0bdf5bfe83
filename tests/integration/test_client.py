"""The client against the real daemon: connections that break, a server that restarts, threads, forks and asyncio."""

import asyncio
import json
import ssl
import subprocess
import sys
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from jobengine.client import (
    AsyncJobEngine,
    JobEngine,
    JobNotFound,
    LeaseLost,
    Unavailable,
)
from jobengine.client._sync import transport

from .clients import states
from .conftest import MakeDaemon
from .daemons import ROOT, Daemon, free_port, until


def _has(added: list[str], share: int) -> bool:
    return len(added) >= share


def test_a_client_waits_for_a_killed_server_to_restart(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(settings={"API_PORT": str(free_port())}).start()
    added: list[str] = []
    with JobEngine(f"http://127.0.0.1:{daemon.port}", access_key="key", retry_for=60) as engine:
        queue = engine.queue("q")
        queue.create()

        def add() -> None:
            for number in range(150):
                added.append(queue.add({"number": number}).uid)

        threads = [threading.Thread(target=add) for _ in range(4)]
        for thread in threads:
            thread.start()
        for share in (100, 350):
            until(f"{share} were added", partial(_has, added, share))
            daemon.kill()
            daemon.start()
        for thread in threads:
            thread.join(60)
        there = [job.uid for job in queue.all_jobs()]
    assert len(added) == 600
    assert sorted(there) == sorted(added)


def test_an_unreachable_server_is_reported_soon_with_its_address() -> None:
    port = free_port()
    with (
        JobEngine(f"http://127.0.0.1:{port}", access_key="key", retry_for=0.2) as engine,
        pytest.raises(Unavailable, match=f"127.0.0.1:{port}"),
    ):
        engine.queue("q").add({})


def test_threads_share_a_client_and_their_adds_share_requests(daemon: Daemon, engine: JobEngine) -> None:
    queue = engine.queue("q")
    wrong: list[Any] = []

    def work(thread: int) -> None:
        for number in range(50):
            job = queue.add({"thread": thread, "number": number})
            if job.content != {"thread": thread, "number": number}:
                wrong.append(job)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    jobs = list(queue.jobs())
    assert wrong == []
    assert len(jobs) == 16 * 50
    for which in range(16):
        assert [job.content["number"] for job in jobs if job.content["thread"] == which] == list(range(50))
    requests = [line for line in daemon.log.splitlines() if "PUT /api/v1/job" in line]
    assert 0 < len(requests) < 16 * 50 / 2


_FORK = """
import json, os, sys
from jobengine.client import JobEngine

engine = JobEngine(sys.argv[1], access_key="key")
queue = engine.queue("q")
queue.add({"who": "parent", "number": 0})
with queue.claim()[0] as held:
    pids = []
    for child in range(3):
        pid = os.fork()
        if not pid:
            for number in range(20):
                queue.add({"who": child, "number": number})
            parents = held.queue._engine._heartbeats
            os._exit(0 if engine._heartbeats is not parents or len(engine._heartbeats._beats) == 0 else 1)
        pids.append(pid)
    for number in range(20):
        queue.add({"who": "parent", "number": number})
    codes = [os.waitpid(pid, 0)[1] for pid in pids]
    assert len(engine._heartbeats._beats) == 1
print(json.dumps(codes))
"""


def test_a_child_process_has_connections_of_its_own(engine: JobEngine, url: str) -> None:
    # From 3.12 on Python warns of a fork while threads run, which is what this does.
    quiet = ("-W", "ignore::DeprecationWarning")
    done = subprocess.run(
        [sys.executable, *quiet, "-c", _FORK, url], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
    )
    assert (done.stdout, done.stderr) == ("[0, 0, 0]\n", "")
    jobs = list(engine.queue("q").jobs(state="queued"))
    for who in (0, 1, 2, "parent"):
        assert [job.content["number"] for job in jobs if job.content["who"] == who] == list(range(20))


def test_a_lease_is_extended_while_the_block_runs(engine: JobEngine) -> None:
    queue = engine.queue("q")
    uid = queue.add({}, timeout_seconds=4).uid
    with queue.claim()[0]:
        other = threading.Event()
        until("more than the time-out has passed", lambda: other.wait(5) or True)
        assert queue.get(uid).state == "inprogress"
    job = queue.get(uid)
    assert (job.state, job.attempts) == ("complete", 1)


def test_a_block_whose_job_another_worker_now_holds_raises_lease_lost(engine: JobEngine) -> None:
    queue = engine.queue("q")
    uid = queue.add({}, timeout_seconds=1).uid
    with queue.claim()[0] as job:
        queue.update(uid, new_status="queued")
        until("the next beat has told it", lambda: job.lost)
        with pytest.raises(LeaseLost):
            job.complete()
    assert queue.get(uid).state == "queued"


def test_wait_returns_when_a_job_is_finished(engine: JobEngine) -> None:
    queue = engine.queue("q")

    def work() -> None:
        queue.claim(wait=20)[0].complete({"sent": True})

    worker = threading.Thread(target=work)
    worker.start()
    job = queue.add_and_wait({}, timeout=20)
    worker.join(20)
    assert (job.finished, job.result) == (True, {"sent": True})
    assert queue.wait(job.uid, timeout=5).result == {"sent": True}
    assert not queue.add_and_wait({}, timeout=0.1).finished
    # Longer than the body of a bulk may be.
    assert queue.add_and_wait({"text": "x" * 950_000}, timeout=0.1).state == "queued"


def test_closing_a_client_ends_the_claim_of_another_thread(url: str, engine: JobEngine) -> None:
    other = JobEngine(url, access_key="key")
    errors: list[BaseException] = []

    def work() -> None:
        try:
            other.queue("q").claim(wait=50)
        except Unavailable as error:
            errors.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    until("it waits", lambda: other._caller.pool._used)
    other.close()
    worker.join(10)
    assert len(errors) == 1


def test_one_refused_content_among_many_adds_fails_alone(url: str, engine: JobEngine) -> None:
    async def test() -> list[Any]:
        async with AsyncJobEngine(url, access_key="key") as client:
            queue = client.queue("q")
            deep: Any = {}
            for _ in range(40):
                deep = {"deeper": deep}
            contents = [deep if number == 33 else {"number": number} for number in range(100)]
            return await asyncio.gather(*[queue.add(content) for content in contents], return_exceptions=True)

    results = asyncio.run(test())
    assert [number for number, result in enumerate(results) if isinstance(result, Exception)] == [33]
    assert engine.queue("q").stats().size == 99


def test_a_cancelled_claim_leaves_no_job_claimed(url: str, engine: JobEngine) -> None:
    async def test() -> int:
        received = 0
        async with AsyncJobEngine(url, access_key="key") as client:
            queue = client.queue("q")
            for turn in range(60):
                claim = asyncio.create_task(queue.claim(wait=20))
                await asyncio.sleep(0.005)
                add = asyncio.create_task(queue.add({"turn": turn}))
                # From before the add is sent until after the answer to the claim has come.
                await asyncio.sleep(turn * 0.0002)
                claim.cancel()
                await add
                with suppress(asyncio.CancelledError):
                    for job in await claim:
                        received += 1
                        await job.complete()
        return received

    received = asyncio.run(test())
    queue = engine.queue("q")
    until("no job is held by nobody", lambda: states(queue)["inprogress"] == 0)
    assert states(queue) == {"queued": 60 - received, "inprogress": 0, "complete": received, "failed": 0}


def test_a_claim_cancelled_while_it_waits_receives_no_later_job(url: str, engine: JobEngine) -> None:
    async def test() -> None:
        async with AsyncJobEngine(url, access_key="key") as client:
            queue = client.queue("q")
            claim = asyncio.create_task(queue.claim(wait=50))
            await asyncio.sleep(0.2)
            claim.cancel()
            with pytest.raises(asyncio.CancelledError):
                await claim
        async with AsyncJobEngine(url, access_key="key") as client:
            await client.queue("q").add({})
            assert len(await client.queue("q").claim()) == 1

    asyncio.run(test())


def test_the_client_for_asyncio_does_the_same_as_the_one_for_threads(url: str, engine: JobEngine) -> None:
    async def test() -> None:
        async with AsyncJobEngine(url, access_key="key") as client:
            queue = client.queue("other")
            await queue.create()
            jobs = await queue.add_many([{"number": number} for number in range(2500)], tags=["many"])
            assert [job.content["number"] async for job in queue.jobs(tag="many")] == list(range(2500))
            async with (await queue.claim(worker="w"))[0] as job:
                assert await job.progress(50)
            assert (await queue.get(jobs[0].uid)).state == "complete"
            events = queue.events()
            adding = asyncio.create_task(queue.add({"number": 7}))
            event = await asyncio.wait_for(anext(events), 20)
            assert event.uid == (await adding).uid
            await events.aclose()
            assert await queue.delete_all(tag="many") == 2500
            with pytest.raises(JobNotFound):
                await queue.get(jobs[0].uid)

    asyncio.run(test())


def test_an_async_client_works_in_one_event_loop_after_another(engine: JobEngine, url: str) -> None:
    client = AsyncJobEngine(url, access_key="key")

    async def add(number: int) -> str:
        return (await client.queue("q").add({"number": number})).uid

    uids = [asyncio.run(add(number)) for number in range(3)]
    assert [job.uid for job in engine.queue("q").jobs()] == uids


def test_content_near_1_mib_is_added_unchanged(engine: JobEngine) -> None:
    content = {"text": "x" * ((1 << 20) - 20)}  # with all around it more than the body of a single job may have
    job = engine.queue("q").add(content)
    assert engine.queue("q").get(job.uid).content == content
    assert json.loads(json.dumps(job.content)) == content


def test_both_clients_use_tls_and_refuse_an_unknown_certificate(
    make_daemon: MakeDaemon,
    certificate: Path,  # that is how pytest names a fixture
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listen = f"ssl:0:interface=127.0.0.1:privateKey={certificate}/key.pem:certKey={certificate}/cert.pem"
    daemon = make_daemon(settings={"LISTEN": listen})
    daemon.launch()
    url, context = f"https://localhost:{daemon.port}", ssl.create_default_context(cafile=str(certificate / "cert.pem"))
    monkeypatch.setattr(transport, "_FRESH", 0)  # an idle connection is looked at before it is used, over TLS as well
    with JobEngine(url, access_key="key", ssl_context=context) as engine:
        engine.queue("q").create(exist_ok=True)
        uids = [engine.queue("q").add({}).uid for _ in range(3)]
        assert len(engine._caller.pool._idle) == 1

    async def test() -> list[str]:
        async with AsyncJobEngine(url, access_key="key", ssl_context=context) as client:
            return [job.uid async for job in client.queue("q").jobs()]

    assert asyncio.run(test()) == uids
    with pytest.raises(Unavailable, match="certificate"):
        JobEngine(url, access_key="key", retry_for=0).queue("q").stats()
    with pytest.raises(Unavailable, match="certificate"):
        asyncio.run(AsyncJobEngine(url, access_key="key", retry_for=0).queue("q").stats())
