"""A burst of requests makes few syncs; one request alone is synced before it is answered."""

import json
import re
import socket
from pathlib import Path

from .conftest import MakeDaemon
from .daemons import READABLE, STRACE, Daemon, until


def _burst(daemon: Daemon, requests: int) -> list[bytes]:
    """Send this many PUTs, each on its own connection, before any answer is read; returns the answers."""
    body = json.dumps({"queue_name": "q", "job": {"content": {}}}).encode()
    head = (
        "PUT /api/v1/job HTTP/1.1\r\nHost: x\r\nX-Access-Key: key\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    connections = [socket.create_connection(("127.0.0.1", daemon.port), timeout=20) for _ in range(requests)]
    for connection in connections:
        connection.sendall(head.encode() + body)
    answers = [connection.makefile("rb").read() for connection in connections]
    for connection in connections:
        connection.close()
    return answers


def test_200_concurrent_adds_cause_less_than_50_syncs(make_daemon: MakeDaemon, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    daemon = make_daemon(prefix=(*STRACE, "-o", str(trace), "-e", "trace=fdatasync")).start()
    with daemon.client() as client:
        client.make_queue()
        counted = client.metric("jobengine_sync_seconds_count")
        before = _syncs(trace)
        answers = _burst(daemon, 200)
        assert all(answer.startswith(b"HTTP/1.1 201 ") for answer in answers)
        assert len(client.jobs()) == 200
        counted = client.metric("jobengine_sync_seconds_count") - counted
    assert 1 <= counted < 50
    until("strace has seen the syncs that the metric counts", lambda: _syncs(trace) - before == counted)


def _syncs(trace: Path) -> int:
    return len(re.findall(r"fdatasync\(", trace.read_text()))


def test_one_client_has_its_change_on_disk_before_each_reply(make_daemon: MakeDaemon, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    calls = "trace=recvfrom,sendto,pwrite64,fdatasync,prctl"
    daemon = make_daemon(prefix=(*STRACE, "-o", str(trace), *READABLE, "-e", calls)).start()
    with daemon.client() as client:
        client.make_queue()
        uids = [client.add().json["uid"] for _ in range(10)]
        for uid in uids:
            assert client.claim().json["uid"] == uid
            assert client.update(uid, "complete").status == 200
            assert client.delete(uid).status == 204
    assert daemon.stop() == 0
    assert _events(trace.read_text()) == "rwsa" * 41


def _events(trace: str) -> str:
    """The calls of interest in order: a change (r)eceived, (w)ritten, (s)ynced, (a)nswered."""
    calls = {
        "r": r'recvfrom\(.*"(?:PUT|POST|DELETE|GET /api/v1/job/next)[ ?]',
        "w": r"pwrite64\(.*= \d+$|<\.\.\. pwrite64 resumed>.*= \d+$",
        "s": r"fdatasync\(.*= 0$|<\.\.\. fdatasync resumed>.*= 0$",
        "a": r'sendto\(.*"HTTP/1\.1 ',
    }
    events = [event for line in trace.splitlines() for event, pattern in calls.items() if re.search(pattern, line)]
    text = "".join(events)
    # Before the first change the file is made, and after the last answer it is closed.
    return text[text.index("r") : text.rindex("a") + 1]


def test_the_trace_parser_recognizes_requests_writes_syncs_and_answers() -> None:
    trace = (
        '7 recvfrom(9, "PUT /api/v1/job HTTP/1.1\\r\\n", 65536, 0, NULL, NULL) = 150\n'
        '8 pwrite64(3, "x", 1, 9) = 1\n8 fdatasync(3 <unfinished ...>\n'
        '7 sendto(9, "HTTP/1.1 201 Created"..., 100, 0, NULL, 0) = 100\n8 <... fdatasync resumed>) = 0\n'
    )
    assert _events(2 * trace) == "rwasrwa"
