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

import pytest

from jobengine.client import (
    AsyncJobEngine,
    JobEngine,
    JobNotFound,
    LeaseLost,
    Queue,
    Unavailable,
)
from jobengine.client._sync import transport
from tests.client.doubles import in_loop

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


def test_a_forked_child_opens_its_own_connections(engine: JobEngine, url: str) -> None:
    # From 3.12 on Python warns of a fork while threads run, as happens here.
    quiet = ("-W", "ignore::DeprecationWarning")
    done = subprocess.run(
        [sys.executable, *quiet, "-c", _FORK, url], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
    )
    assert (done.stdout, done.stderr) == ("[0, 0, 0]\n", "")
    jobs = list(engine.queue("q").jobs(state="queued"))
    for who in (0, 1, 2, "parent"):
        assert [job.content["number"] for job in jobs if job.content["who"] == who] == list(range(20))


def test_a_with_block_raises_lease_lost_if_another_worker_holds_the_job(queue: Queue) -> None:
    uid = queue.add({}, timeout_seconds=1).uid
    with queue.claim()[0] as job:
        queue.update(uid, new_status="queued")
        until("the next beat has told it", lambda: job.lost)
        with pytest.raises(LeaseLost):
            job.complete()
    assert queue.get(uid).state == "queued"


def test_wait_returns_when_a_job_is_finished(queue: Queue) -> None:
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


@in_loop
async def test_a_cancelled_claim_leaves_no_job_claimed(url: str, queue: Queue) -> None:
    received = 0
    async with AsyncJobEngine(url, access_key="key") as client:
        mine = client.queue("q")
        for turn in range(60):
            claim = asyncio.create_task(mine.claim(wait=20))
            await asyncio.sleep(0.005)
            add = asyncio.create_task(mine.add({"turn": turn}))
            # From before the request to add until after the answer to the claim.
            await asyncio.sleep(turn * 0.0002)
            claim.cancel()
            await add
            with suppress(asyncio.CancelledError):
                for job in await claim:
                    received += 1
                    await job.complete()
    until("no job is held by nobody", lambda: queue.stats().counts.raw["inprogress"] == 0)
    assert queue.stats().counts.raw == {"queued": 60 - received, "inprogress": 0, "complete": received, "failed": 0}


@in_loop
async def test_the_asyncio_client_does_the_same_as_the_threaded_client(url: str, engine: JobEngine) -> None:
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


def test_content_near_1_mib_is_added_unchanged(queue: Queue) -> None:
    content = {"text": "x" * ((1 << 20) - 20)}  # with all around it more than the body of a single job may have
    job = queue.add(content)
    assert queue.get(job.uid).content == content
    assert json.loads(json.dumps(job.content)) == content


def test_both_clients_use_tls_and_refuse_an_unknown_certificate(
    secure: Daemon, context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"https://localhost:{secure.port}"
    monkeypatch.setattr(transport, "_FRESH", 0)  # the client checks an idle connection before use, over TLS as well
    with JobEngine(url, access_key="key", ssl_context=context) as engine:
        engine.queue("q").create(exist_ok=True)
        uids = [engine.queue("q").add({}).uid for _ in range(3)]
        assert len(engine._caller.pool._idle) == 1

    async def test() -> list[str]:
        async with AsyncJobEngine(url, access_key="key", ssl_context=context) as client:
            return [job.uid async for job in client.queue("q").jobs()]

    assert asyncio.run(test()) == uids
    advice = r"its certificate is not trusted \(self-signed certificate\); set SSL_CERT_FILE"
    with pytest.raises(Unavailable, match=advice):
        JobEngine(url, access_key="key", retry_for=0).queue("q").stats()
    with pytest.raises(Unavailable, match=advice):
        asyncio.run(AsyncJobEngine(url, access_key="key", retry_for=0).queue("q").stats())


def test_the_certificate_in_ssl_cert_file_is_trusted(
    secure: Daemon, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
    with JobEngine(f"https://localhost:{secure.port}", access_key="key") as engine:
        engine.queue("q").create()
    with pytest.raises(Unavailable, match=r"certificate is not valid \(IP address mismatch"):
        JobEngine(f"https://127.0.0.1:{secure.port}", access_key="key", retry_for=0).queue("q").stats()
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such.pem")
    with pytest.raises(Unavailable, match=r"SSL_CERT_FILE names /no/such\.pem, which can't be read: set SSL_"):
        JobEngine(f"https://localhost:{secure.port}", access_key="key", retry_for=0).queue("q").stats()
