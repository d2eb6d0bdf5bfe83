"""
Work at a steady rate on several daemons with one PostgreSQL, of which one is killed again and again:
python -m tests.torture.soak --minutes 60 --rate 150

With --rate 0 nothing is killed and jobs are added as fast as they are answered: that is the full load.
"""

import argparse
import json
import os
import queue
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from math import nan
from pathlib import Path
from typing import Any, Final, TextIO
from uuid import uuid4

from attrs import define, field

from tests.integration.daemons import SECRET, Daemon, Reply, until
from tests.integration.shells import BIN
from tests.integration.workers import Hold, Reconnecting, held_twice
from tests.postgres import Database, running

from .crew import Caller, require

#: The number of connections that add jobs; as many others claim and finish jobs.
CONNECTIONS: Final = 8
#: Seconds of a lease. If the answer to a claim is lost, another worker gets the job after this time.
LEASE: Final = 5
#: Finished jobs are kept until the database is compared with the record.
HOW: Final = {"timeout_seconds": LEASE, "max_attempts": 100, "keep_minutes": 10_000}
#: Seconds between two attempts of a request without an answer.
AGAIN: Final = 0.1


class _Caller(Reconnecting):
    """Calls any daemon that answers, and repeats a request until there is an answer."""

    def __init__(self, daemons: Sequence[Daemon], chance: random.Random) -> None:
        super().__init__(lambda: Caller(chance.choice(daemons).port, sampled=True, timeout=15))

    def call(self, method: str, path: str, body: Any) -> Reply:
        while True:
            try:
                return self.client().call(method, path, body=body)
            except (OSError, HTTPException, AssertionError):
                self.hang_up()
                time.sleep(AGAIN)


@define
class Soak:
    """The load on daemons, and a record of what they acknowledged."""

    daemons: Sequence[Daemon]
    #: Jobs to add in a second; 0 for as many as the servers answer.
    rate: float
    stop: threading.Event = field(factory=threading.Event)
    #: Seconds from when each job was due to its answer, by uid.
    added: dict[str, float] = field(factory=dict)
    holds: list[Hold] = field(factory=list)
    #: The uids of jobs whose completion was acknowledged.
    finished: set[str] = field(factory=set)
    wrong: list[Reply] = field(factory=list)
    _due: "queue.Queue[float | None]" = field(factory=queue.Queue)
    _threads: list[threading.Thread] = field(factory=list)

    def start(self) -> None:
        places = range(CONNECTIONS)
        work = [self._adds, self._works]
        self._threads = [threading.Thread(target=each, args=(place,), daemon=True) for each in work for place in places]
        for thread in self._threads:
            thread.start()

    def add_for(self, seconds: float) -> None:
        """Add jobs for this many seconds, each at its due time."""
        due = time.monotonic()
        end = due + seconds
        while due < end:
            self._due.put(due)
            due = due + 1 / self.rate if self.rate else time.monotonic() + self._due.qsize() / 10_000
            time.sleep(max(0, due - time.monotonic()))

    def end(self) -> None:
        """Add no more jobs, and wait until all added jobs are finished."""
        for _ in range(CONNECTIONS):
            self._due.put(None)
        for thread in self._threads[:CONNECTIONS]:
            thread.join()
        while len(self.finished) < len(self.added):
            self._await_progress(len(self.finished))
        self.stop.set()
        for thread in self._threads[CONNECTIONS:]:
            thread.join()

    def _await_progress(self, finished: int) -> None:
        until("more jobs are finished", lambda: len(self.finished) > finished, 10 * LEASE)

    def _adds(self, place: int) -> None:
        caller = _Caller(self.daemons, random.Random(place))
        while (due := self._due.get()) is not None:
            uid = str(uuid4())
            job = {"uid": uid, "content": {"number": len(self.added)}, **HOW}
            reply = caller.call("PUT", "/api/v1/job", {"queue_name": "q", "job": job})
            self._expect(reply, 200, 201)
            self.added[uid] = time.monotonic() - due
        caller.hang_up()

    def _works(self, place: int) -> None:
        caller = _Caller(self.daemons, random.Random(-1 - place))
        while not self.stop.is_set():
            sent = time.monotonic()
            reply = caller.call("POST", "/api/v1/job/next", {"queue_names": ["q"], "wait": 1, "worker": f"w{place}"})
            self._expect(reply, 200, 204)
            if reply.status == 200:
                self._finish(caller, reply.json["jobs"][0], f"w{place}", sent)
        caller.hang_up()

    def _finish(self, caller: _Caller, job: dict[str, Any], worker: str, sent: float) -> None:
        began = time.monotonic()
        hold = Hold(worker, job["uid"], job["attempts"], job["lease"], LEASE, began, sent, began)
        self.holds.append(hold)
        ended = time.monotonic()
        change = {"queue_name": "q", "uid": hold.uid, "lease": hold.lease, "new_status": "complete"}
        reply = caller.call("POST", "/api/v1/job", change)
        self._expect(reply, 200, 409)
        if reply.status == 200:
            hold.finished = ended
            self.finished.add(hold.uid)

    def _expect(self, reply: Reply, *statuses: int) -> None:
        if reply.status not in statuses:
            self.wrong.append(reply)

    def line(self, kills: int, since: int) -> str:
        """The stats of the jobs added after the first `since` jobs, as a line of text."""
        late = sorted(list(self.added.values())[since:]) or [nan]
        p50, p99 = (1000 * late[len(late) * percent // 100] for percent in (50, 99))
        return (
            f"{kills} kills, {len(self.added)} added, {len(self.finished)} finished; "
            f"an add: p50 {p50:.0f} ms, p99 {p99:.0f} ms"
        )


def judge(soak: Soak, kept: Mapping[str, str]) -> str:
    """Compare the record with the job states in the database; raises Disagreement, or returns counts as text."""
    require(not soak.wrong, f"wrong answers: {soak.wrong[:3]}")
    require(kept.keys() >= soak.added.keys(), f"lost: {[uid for uid in soak.added if uid not in kept][:3]}")
    undone = [uid for uid in soak.finished if kept[uid] != "complete"]
    require(not undone, f"reported complete, but is not: {undone[:3]}")
    twice = held_twice(soak.holds)
    require(not twice, f"jobs with two holders: {twice[:3]}")
    return f"{len(kept)} jobs are there, {len(soak.added)} were acknowledged, {len(soak.holds)} claims"


def _exported(database: Database, folder: Path) -> dict[str, str]:
    """The state of each job, by uid."""
    file = folder / "all.jsonl"
    environment = {**os.environ, "DATABASE_URL": database.url, "SECRET": SECRET}
    command = [str(BIN / "jobengine"), "db", "export", str(file)]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    with open(file) as lines:
        jobs = [line for line in map(json.loads, lines) if line["kind"] == "job"]
    return {job["uid"]: job.get("state", "queued") for job in jobs}


@contextmanager
def soaking(folder: Path, rate: float) -> Iterator[tuple[Soak, Database]]:
    """Daemons under load on a database of their own; everything is removed at the end."""
    with running(log_min_messages="panic") as cluster:
        database = Database.make(cluster, "soaked")
        database.clear(secret=SECRET.encode())
        settings = {"DATABASE_URL": database.url, "LOG_REQUESTS": "errors"}
        soak = Soak([Daemon(folder / f"home {at}", settings) for at in range(2)], rate)
        try:
            for daemon in soak.daemons:
                daemon.start()
            with soak.daemons[0].client() as client:
                client.make_queue()
            soak.start()
            yield soak, database
        finally:
            soak.stop.set()
            for daemon in soak.daemons:
                daemon.kill()


def run(seconds: float, every: float, rate: float, out: TextIO) -> None:
    """Run the load for `seconds`, with a kill after each interval if there is a rate; raises Disagreement."""
    with tempfile.TemporaryDirectory() as name, soaking(Path(name), rate) as (soak, database):
        end, kills = time.monotonic() + seconds, 0
        while (left := end - time.monotonic()) > 0:
            since = len(soak.added)
            soak.add_for(min(every, left))
            print(soak.line(kills, since), file=out, flush=True)
            if rate and time.monotonic() < end:
                daemon = soak.daemons[kills % len(soak.daemons)]
                daemon.kill()
                daemon.launch()
                kills += 1
        soak.end()
        verdict = judge(soak, _exported(database, Path(name)))
        print(f"{kills} kills, {verdict}: nothing lost, nothing held twice", file=out)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.torture.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--every", type=float, default=60, help="seconds between two kills")
    parser.add_argument("--rate", type=float, default=150, help="jobs a second")
    given = parser.parse_args()
    run(given.minutes * 60, given.every, given.rate, sys.stdout)


if __name__ == "__main__":
    main()
