"""GET /api/v1/backup."""

from collections.abc import Callable
from pathlib import Path

import pytest

from jobengine.engine.door import NotOffered
from jobengine.tools.checking import check
from tests.doubles import SECRET, Answer, MemoryServer, Wrapping
from tests.storage.files_of_commits import without_end

from .asking import ADMIN, add

ELSEWHERE = pytest.mark.only_on_a_file("a backup is made with its own tools")


def backup(server: MemoryServer, method: str = "GET") -> Answer:
    return server.call(method, "/api/v1/backup", key=None, headers=ADMIN)


@ELSEWHERE
def test_a_backup_has_every_acknowledged_change(guarded: MemoryServer, tmp_path: Path) -> None:
    for _ in range(3):
        add(guarded, {"text": "x" * 200_000})
    answer = backup(guarded)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/octet-stream")
    assert without_end(answer.body) == guarded.path.read_bytes()
    copy = tmp_path / "copy"
    copy.write_bytes(answer.body)
    report = check(str(copy), SECRET)
    assert (report.damage, report.closed, report.states["queued"]) == (None, True, 3)


@ELSEWHERE
def test_head_requests_for_a_backup_do_not_use_up_the_limit_of_concurrent_backups(guarded: MemoryServer) -> None:
    for _ in range(10):
        assert backup(guarded, "HEAD").status == 200
    assert backup(guarded).status == 200


def test_a_server_without_an_admin_key_refuses_every_backup(start: Callable[..., MemoryServer]) -> None:
    server = start()
    for key, headers in ((None, None), ("key", None), (None, ADMIN)):
        assert server.call("GET", "/api/v1/backup", key=key, headers=headers).status == 401


class _Elsewhere(Wrapping):
    """An engine without a file, so that it offers no backup."""

    async def backup(self) -> None:
        raise NotOffered("The jobs are elsewhere; back them up there.")


def test_the_backup_call_is_refused_if_the_engine_offers_no_backups(start: Callable[..., MemoryServer]) -> None:
    answer = backup(start(admin_key=b"admin", door=_Elsewhere))
    assert (answer.status, answer.json["detail"]) == (501, "The jobs are elsewhere; back them up there.")
