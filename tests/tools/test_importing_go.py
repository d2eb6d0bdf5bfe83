"""A database of the Go version is imported: jobs, their order, and the keys of its queues."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from jobengine.core.access import digest_of_sha512
from jobengine.core.model import Job, State
from jobengine.storage.errors import NotADatabase, WrongSecret
from jobengine.tools.checking import check
from jobengine.tools.exporting import export
from jobengine.tools.go_file import BadGoFile
from jobengine.tools.importing import import_lines
from jobengine.tools.importing_go import BeyondLimits, ImportedGo, import_go
from tests.doubles import QUICK_KDF, SECRET
from tests.storage.simulated_files import SimulatedFiles

from .databases import COPY, GO, PATH, tables, whole_state
from .go_files import CREATED, GO_SECRET, go_file, go_job, go_queue, sealed


def run_import(files: SimulatedFiles, secret: bytes = GO_SECRET) -> ImportedGo:
    return import_go(GO, PATH, secret, SECRET, files=files, kdf=QUICK_KDF)


def of(data: bytes) -> SimulatedFiles:
    return SimulatedFiles(disk={GO: data})


def jobs_of(*jobs: Mapping[str, Any]) -> Sequence[Job]:
    """The imported jobs of a queue, in execution order."""
    files = of(go_file(go_queue("mail", b"key", jobs)))
    run_import(files)
    ((_, found, _),) = whole_state(tables(files, PATH))[1]
    return found


def test_an_imported_job_keeps_all_its_fields() -> None:
    times = {"keep_minutes": 3, "timeout_minutes": 4, "timeout_time": CREATED + 9}
    (job,) = jobs_of(go_job(7, priority=-5, content={"text": "Grüße\n"}, state="failed", **times))
    spec, standing = job.spec, job.standing
    assert (spec.uid, spec.priority, spec.keep.minutes, spec.timeout_seconds) == (go_job(7)["uid"], -5, 3, 240)
    assert (spec.created, spec.timeout_time) == (CREATED * 1000, CREATED + 9)
    assert json.loads(spec.content) == {"text": "Grüße\n"}
    assert (standing.state, standing.updated, standing.attempts) == (State.FAILED, (CREATED + 7) * 1000, 1)


def test_jobs_keep_their_order_and_states() -> None:
    states = list(State)
    found = jobs_of(*(go_job(n, priority=n % 2, state=states[n % 4]) for n in range(8)))
    assert [int(job.spec.uid[-1]) for job in found] == [1, 3, 5, 7, 0, 2, 4, 6]
    assert [job.state for job in found] == [states[n % 4] for n in (1, 3, 5, 7, 0, 2, 4, 6)]


def test_all_queues_are_imported_even_empty_ones_and_can_be_exported_again() -> None:
    files = of(go_file(go_queue("mail", b"a", [go_job(1)]), go_queue("empty", b"b", None), go_queue("Grüße", b"c", [])))
    made = run_import(files)
    found = tables(files, PATH)
    assert (made.queues, made.jobs, list(found.queues)) == (3, 1, ["mail", "empty", "Grüße"])
    assert len({table.queue.salt for table in found.queues.values()}) == 3
    report = check(PATH, SECRET, files=files)
    assert (report.damage, report.closed, len(report.queues)) == (None, True, 3)
    export(PATH, "/data/text", SECRET, files=files)
    import_lines("/data/text", COPY, SECRET, files=files, kdf=QUICK_KDF)
    assert whole_state(tables(files, COPY)) == whole_state(found)
    for queues in (b'{"queues":{}}', b'{"queues":null}'):
        assert run_import(of(sealed(queues))).queues == 0


def test_the_stored_digest_is_a_salted_digest_of_the_go_versions_digest() -> None:
    hexadecimal = go_queue("mail", b"key", [])["access_key"]
    for written in (hexadecimal, hexadecimal.upper()):
        files = of(go_file(go_queue("mail", b"key", [], access_key=written)))
        run_import(files)
        queue = tables(files, PATH).queues["mail"].queue
        assert queue.digest == digest_of_sha512(hexadecimal, queue.salt)
        assert hexadecimal not in queue.digest


def test_a_content_longer_than_usual_is_imported_and_reported() -> None:
    long, short = go_job(1, content={"x": "y" * (1 << 20)}), go_job(2, content=None)
    files = of(go_file(go_queue("mail", b"key", [long, short])))
    assert run_import(files).long == [("mail", long["uid"])]
    ((_, found, _),) = whole_state(tables(files, PATH))[1]
    assert [len(job.spec.content) for job in found] == [(1 << 20) + 9, 2]


def refused(data: bytes, error: type[Exception], secret: bytes = GO_SECRET) -> str:
    files = of(data)
    with pytest.raises(error) as raised:
        run_import(files, secret)
    assert files.now() == {GO: data}
    return str(raised.value)


def test_a_go_file_does_not_open_with_a_wrong_secret_or_a_changed_byte() -> None:
    data = go_file(go_queue("mail", b"key", [go_job(1)]))
    assert GO in refused(data, WrongSecret, secret=b"another")
    for at in range(0, len(data), 31):
        refused(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], WrongSecret)
    refused(data[:-1], WrongSecret)
    assert "too short" in refused(data[:27], BadGoFile)


@pytest.mark.parametrize(
    "text",
    [
        b"{",
        b"[]",
        b'{"queues":[]}',
        b'{"jobs":{}}',
        b'{"queues":{"a":{"name":"\xff"}}}',
        b'{"queues":{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
    ],
    ids=lambda text: text[:20],
)
def test_a_decrypted_text_of_another_format_counts_as_damaged(text: bytes) -> None:
    assert "damaged" in refused(sealed(text), BadGoFile)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"priority": "high"}, "jobs[0].priority"),
        ({"priority": 1 << 63}, "jobs[0].priority"),
        ({"created": -1}, "jobs[0].created"),
        ({"last_updated": 1 << 62}, "jobs[0].last_updated"),
        ({"keep_minutes": -1}, "jobs[0].keep_minutes"),
        ({"timeout_time": 1.5}, "jobs[0].timeout_time"),
        ({"uid": "seven"}, "jobs[0].uid"),
        ({"colour": "red"}, "unknown field `colour`"),
        ({"content": [1]}, "its content is not an object"),
        ({"state": "asleep"}, "'asleep' is not a valid State"),
    ],
)
def test_the_error_for_an_absurd_value_names_the_queue_and_the_job(changes: dict[str, Any], reason: str) -> None:
    said = refused(go_file(go_queue("mail", b"key", [go_job(1, **changes)])), BadGoFile)
    assert said.startswith(f"{GO}: queue 'mail'")
    assert reason in said


def test_inconsistent_queues_are_refused() -> None:
    twice = go_file(go_queue("mail", b"key", [go_job(1), go_job(1)]))
    assert f"queue 'mail' has two jobs {go_job(1)['uid']}" in refused(twice, BadGoFile)
    other = sealed(json.dumps({"queues": {"a": go_queue("b", b"key", [])}}).encode())
    assert "queue 'a' has a record with the name 'b'" in refused(other, BadGoFile)
    assert "access_key" in refused(go_file(go_queue("mail", b"key", [], access_key="ab")), BadGoFile)


def test_all_unusable_queue_names_are_listed_and_a_folder_is_refused() -> None:
    names = ["", "x" * 257]
    said = refused(go_file(*(go_queue(name, b"key", []) for name in ["mail", *names])), BeyondLimits)
    assert "these 2 are empty or longer: '', 'xxxx" in said
    run_import(of(go_file(go_queue("x" * 256, b"key", []))))
    with pytest.raises(NotADatabase, match="not a file"):
        import_go("/", "/dev/shm/none", GO_SECRET, SECRET)
