"""
A reader of database files that follows docs/database-format.md alone, without JobEngine's code.

It reads the golden files, and a file that the engine has just written.
"""

import json
import struct
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from nacl.pwhash import argon2id
from nacl.secret import SecretBox

from tests.doubles import MemoryServer

ROOT = Path(__file__).parent.parent.parent
DOCUMENT = (ROOT / "docs" / "database-format.md").read_text()
GOLDEN = ROOT / "tests" / "golden"
SECRET = b"a secret"

State = dict[str, dict[str, Any]]


def open_header(data: bytes) -> tuple[bytes, SecretBox]:
    """The file id, and the box that decrypts frames."""
    assert data[:8] == bytes.fromhex("894A4544420D0A1A")
    assert struct.unpack(">HH", data[8:12]) == (1, 0)
    assert crc32(data[:156]) == int.from_bytes(data[156:160], "big")
    passes, kib = struct.unpack(">II", data[28:36])
    key = argon2id.kdf(32, SECRET, data[36:52], opslimit=passes, memlimit=kib * 1024)
    sealed = SecretBox(key).decrypt(data[52:156])
    assert sealed[32:] == blake2b(data[:52], digest_size=32).digest()
    return data[12:28], SecretBox(sealed[:32])


def frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and records of each frame; every byte of the file is accounted for."""
    file_id, box = open_header(data)
    position, number, tag = 160, 0, bytes(16)
    while position < len(data):
        assert data[position : position + 4] == bytes.fromhex("F24A4546")
        length, check = struct.unpack(">II", data[position + 4 : position + 12])
        assert 81 <= length <= 268_435_456
        assert check == crc32(struct.pack(">IQ", length, position))
        sealed = data[position + 12 : position + 12 + length]
        clear = box.decrypt(sealed)
        assert struct.unpack(">16sQ16s", clear[:40]) == (file_id, number, tag)
        yield clear[40], clear[41:]
        position, number, tag = position + 12 + length, number + 1, sealed[24:40]


def records(body: bytes) -> Iterator[bytes]:
    while body:
        (length,) = struct.unpack(">I", body[:4])
        yield body[4 : 4 + length]
        body = body[4 + length :]


def apply(state: State, record: bytes) -> None:
    line, _, content = record.partition(b"\n")
    kind, version, name, *fields = json.loads(line)
    if kind == "clock-set":
        return
    fields = in_newest(kind, version, fields)
    queue = state.get(name)
    match kind:
        case "queue-created":
            state[name] = created(queue, fields)
        case "queue-changed" if queue is not None and queue["set up"][0] == fields[0]:
            queue["set up"] = fields
        case "queue-deleted":
            state.pop(name, None)
        case "item-set" if queue is not None:
            queue["things"][fields[0], fields[1]] = None if fields[2] is None else json.loads(fields[2])
        case _ if queue is not None:
            apply_to_jobs(queue["jobs"], kind, fields, content)


def apply_to_jobs(jobs: dict[str, list[Any]], kind: str, fields: list[Any], content: bytes) -> None:
    match kind:
        case "job-added":
            jobs[fields[0]] = [*fields[1:], content]
        case "job-changed" if fields[0] in jobs:
            jobs[fields[0]][8:-1] = fields[1:]
        case "job-removed":
            jobs.pop(fields[0], None)


def created(queue: dict[str, Any] | None, fields: list[Any]) -> dict[str, Any]:
    kept = queue if queue is not None and queue["set up"][0] == fields[0] else {"jobs": {}, "things": {}}
    return {**kept, "set up": fields}


def in_newest(kind: str, version: int, fields: list[Any]) -> list[Any]:
    """The fields, converted to the newest version of the kind."""
    newest = {"queue-created": 7, "queue-changed": 7, "job-added": 7, "job-changed": 7}.get(kind, 1)
    assert version in range(1, newest + 1)
    if newest == 1:
        return fields
    fields = in_version_2(kind, fields) if version == 1 else fields
    if kind == "job-added" and version < 4:
        fields.insert(4, fields[3])
    return fields


def in_version_2(kind: str, fields: list[Any]) -> list[Any]:
    """The fields of a record of version 1, converted to version 2."""
    if kind == "queue-created":
        return [*fields, {}]
    *asked, state, updated = fields
    if kind == "job-added":
        asked = [*asked[:4], asked[4] * 60, *asked[5:], {}]
    return [*asked, state, updated, 0 if state == "queued" else 1, 0, None, None, {}]


def state_of(data: bytes) -> State:
    state: State = {}
    for _, body in frames(data):
        for record in records(body):
            apply(state, record)
    return state


def in_order(jobs: dict[str, list[Any]]) -> list[str]:
    return sorted(jobs, key=lambda uid: (-jobs[uid][0], jobs[uid][1], uid))


def test_the_first_golden_file_matches_the_document() -> None:
    data = (GOLDEN / "format-1.0.db").read_bytes()
    assert [kind for kind, _ in frames(data)] == [1, 1, 2, 3, 3, 3, 3, 4, 3, 4]
    state = state_of(data)
    assert list(state) == ["mail"]
    jobs = state["mail"]["jobs"]
    assert [int(uid[-1]) for uid in in_order(jobs)] == [2, 1, 3]
    assert [jobs[uid][8] for uid in in_order(jobs)] == ["complete", "inprogress", "failed"]
    assert {jobs[uid][4] for uid in jobs} == {600}
    assert json.loads(jobs[in_order(jobs)[0]][-1]) == {"n": 2, "text": "Grüße\n"}


def test_the_newest_golden_file_matches_the_document() -> None:
    data = (GOLDEN / "format-1.0-batches.db").read_bytes()
    assert [kind for kind, _ in frames(data)] == [1, 1, 2, *[3] * 8, 4, 3, 4]
    mail = state_of(data)["mail"]
    flow, rate = mail["set up"][3]["flow"], {"count": 10, "seconds": 60}
    assert (flow["group_limits"], flow["group_order"]) == ({"in_progress": 2, "rate": rate}, "strict")
    assert [job[7]["group"] for job in mail["jobs"].values() if "group" in job[7]] == ["Grüße"]
    assert mail["things"]["group", "Grüße"]["weight"] == 3
    then = mail["jobs"][mail["things"]["batch", "Import 七"]["then"]]
    assert (then[7]["dependencies"], then[-2]["ended"]) == (["fail", [["mail", "batch:Import 七"]]], "-")
    assert [job[7]["batch"] for job in mail["jobs"].values() if "batch" in job[7]] == ["Import 七"] * 2
    assert mail["things"]["gate", ""] == {"held": 1_700_000_040_123}
    assert [number for _, _, number in mail["things"]["gate", "Grüße"]["marks"]] == [2, 1]


def test_an_older_golden_file_matches_the_document() -> None:
    data = (GOLDEN / "format-1.0-records-2.db").read_bytes()
    assert [kind for kind, _ in frames(data)] == [1, 1, 2, 3, 3, 3, 3, 4, 3, 4]
    mail = state_of(data)["mail"]
    assert mail["set up"][3]["paused"] is True
    assert [key[1] for key in mail["set up"][3]["keys"]] == ["producer", "worker", "viewer"]
    jobs = mail["jobs"]
    assert [int(uid[-1]) for uid in in_order(jobs)] == [2, 1, 8, 3]
    assert [jobs[uid][8] for uid in in_order(jobs)] == ["complete", "inprogress", "inprogress", "failed"]
    *_, asked_more, state, _updated, attempts, _claimed, _lease, worker, more, content = jobs[in_order(jobs)[2]]
    assert (asked_more["tags"], state, attempts, worker) == (["Grüße", "b"], "inprogress", 3, 'Wörker "七"')
    assert json.loads(more["notes"]["result"]) == {"sum": 1.5, "text": "Grüße"}
    assert json.loads(content) == {"n": 8, "text": "Grüße\n"}


def test_a_file_written_by_the_engine_matches_the_document(tmp_path: Path) -> None:
    server = MemoryServer(tmp_path / "db")
    server.call("PUT", "/api/v1/queue", body={"name": "q", "access_key": "key"}, key=None)
    added = [add(server, priority) for priority in (0, 5, 0)]
    server.call("GET", "/api/v1/job/next", query={"queueName": "q", "markQueued": "true"})
    change = {"queue_name": "q", "uid": added[1]["uid"], "progress": 30, "priority": 7}
    server.call("POST", "/api/v1/job", body=change)
    server.restart()
    server.call("POST", "/api/v1/queue", body={"name": "q", "paused": True})
    server.call("DELETE", "/api/v1/job", query={"queueName": "q", "jobUID": added[0]["uid"]})
    server.stop()
    queue = state_of((tmp_path / "db").read_bytes())["q"]
    salt, digest, created, set_up = queue["set up"]
    assert digest == blake2b(b"key", key=salt.encode(), digest_size=32, person=b"je-access").hexdigest()
    assert (created, set_up) == (1_800_000_000_000, {"paused": True})
    assert in_order(queue["jobs"]) == [added[1]["uid"], added[2]["uid"]]
    *fields, content = queue["jobs"][added[1]["uid"]]
    lease = fields[12]
    assert len(lease) == 36
    more = {"notes": {"progress": 30}}
    assert fields == [7, 1, 60, 4_320, 600, 0, created, {}, "inprogress", created, 1, created, lease, None, more]
    assert json.loads(content) == {"p": 5}


def add(server: MemoryServer, priority: int) -> Any:
    body = {"queue_name": "q", "job": {"priority": priority, "content": {"p": priority}}}
    return server.call("PUT", "/api/v1/job", body=body).json


@pytest.mark.parametrize(
    "name",
    [
        *["queue-created", "queue-changed", "queue-deleted", "job-added", "job-changed", "job-removed", ".lock"],
        *[".new", ".torn-", ".key"],
    ],
)
def test_the_format_document_names_every_record_and_file(name: str) -> None:
    assert name in DOCUMENT


def test_the_reader_for_the_format_document_imports_no_jobengine_code() -> None:
    source = Path(__file__).read_text()
    assert "from " + "jobengine" not in source
    assert "import " + "jobengine" not in source
