"""Queues imported from the Go version open with their old keys, which then get a digest of our own."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobengine.core.fact_codec import decode
from jobengine.core.facts import QueueChanged
from jobengine.tools.importing_go import import_go
from jobengine.tools.source import open_source
from tests.doubles import QUICK_KDF, SECRET, MemoryServer, new_clock
from tests.storage.simulated_files import FaultyFiles
from tests.tools.go_files import CREATED, GO_SECRET, go_file, go_job, go_queue
from tests.web.asking import peek, put

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

pytestmark = pytest.mark.only_on_a_file("no database was ever of the Go version")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database that was just imported from the Go version."""
    (tmp_path / "go").write_bytes(go_file(go_queue("q", b"key", [go_job(1)]), go_queue("other", b"others", [])))
    import_go(str(tmp_path / "go"), str(tmp_path / "db"), GO_SECRET, SECRET, kdf=QUICK_KDF)
    return tmp_path / "db"


def serve(path: Path, **engine_parts: object) -> MemoryServer:
    clock = new_clock()
    clock.rightNow = float(CREATED)
    return MemoryServer(path, clock=clock, engine_parts=engine_parts)


@pytest.fixture
def server(path: Path) -> Iterator[MemoryServer]:
    server = serve(path)
    yield server
    server.stop()


def digest(server: MemoryServer, queue: str = "q") -> str:
    return server.engine.executor.tables.queues[queue].queue.digest


def commits(path: Path) -> list[tuple[bytes, ...]]:
    with open_source(str(path), SECRET) as source:
        return [frame.records for frame in source.frames()]


def test_the_first_use_of_a_go_version_key_stores_a_new_digest_once_and_permanently(
    server: MemoryServer, path: Path
) -> None:
    assert digest(server).startswith("sha512:")
    before = len(commits(path))
    for _ in range(3):
        assert peek(server).json["uid"] == go_job(1)["uid"]
    (commit,) = commits(path)[before:]
    (fact,) = map(decode, commit)
    assert isinstance(fact, QueueChanged)
    assert len(fact.queue.digest) == 64
    assert digest(server, "other").startswith("sha512:")
    server.restart()
    assert peek(server).status == 200
    assert digest(server) == fact.queue.digest


def test_the_first_use_of_a_go_version_key_may_be_a_claim_an_update_or_an_add(path: Path) -> None:
    uid = go_job(1)["uid"]
    calls = [
        ("POST", "/api/v1/job/next", {"queue_names": ["q"]}),
        ("POST", "/api/v1/job", {"queue_name": "q", "uid": uid, "new_status": "complete"}),
        ("PUT", "/api/v1/job", {"queue_name": "q", "job": {"content": {}}}),
        ("POST", "/api/v1/queue", {"name": "q", "paused": True}),
    ]
    original = path.read_bytes()
    for method, call, body in calls:
        path.write_bytes(original)
        server = serve(path)
        assert server.call(method, call, body=body).status in (200, 201)
        assert len(digest(server)) == 64
        server.stop()


def test_a_go_version_key_works_on_a_full_disk_and_its_new_digest_is_stored_later(path: Path) -> None:
    files = FaultyFiles(faults={})
    server = serve(path, files=files)
    files.faults["write"] = [FULL] * 3
    assert peek(server).status == 200
    assert digest(server).startswith("sha512:")
    while server.engine.executor.committer.trouble is not None:
        server.clock.advance(1)
    assert put(server).status == 201
    assert len(digest(server)) == 64
    server.stop()
