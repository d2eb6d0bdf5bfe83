"""Makes the plain model's calls over HTTP, to a server in memory."""

import shutil
from itertools import count
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred

from tests.doubles import Answer, CountedIds, MemoryServer, new_clock
from tests.machine.api_driver import ADMIN, ApiDriver, claim_body, claimed, modelled, refused
from tests.machine.local_driver import KINDS, served_in
from tests.pending import Pending


class Request(Pending):
    """A request in flight; its answer is decoded, or is the model's error."""

    def __init__(self, answer: "Deferred[Answer]", decode: Any, settle: Any) -> None:
        super().__init__(answer, settle)
        self._decode = decode

    @property
    def answer(self) -> Any:
        answer = super().answer
        return refused(answer.status, answer.json) if answer.status >= 400 else self._decode(answer)


@define(eq=False)
class HttpDriver(ApiDriver):
    """A server in memory."""

    folder: Path
    #: Times are in whole seconds, and clients do not disconnect before their answer.
    exact = False
    slice_size = 500
    server: MemoryServer = field(init=False)
    ahead: int = 0
    _names: "count[int]" = field(factory=count)

    def __attrs_post_init__(self) -> None:
        clock = new_clock()
        parts = {"now": lambda: int(clock.seconds() * 1000) + self.ahead, "new_id": CountedIds()}
        self.server = MemoryServer(self.folder / "db", clock=clock, admin_key=b"admin", engine_parts=parts)
        self.server.pump()

    def close(self) -> None:
        self.server.engine.journal.close(orderly=False)

    # Time

    def advance(self, ms: int) -> None:
        self.server.clock.advance(ms / 1000)
        self.server.pump()

    def step_clock(self, ms: int) -> None:
        self.ahead += ms

    def restart(self, *, kill: bool, step: int, down: int) -> None:
        if kill:
            self.server.path = Path(shutil.copy(self.server.path, self.folder / f"db{next(self._names)}"))
            self.server.engine.journal.close(orderly=False)
            for call in list(self.server.clock.getDelayedCalls()):
                call.cancel()
        else:
            self.server.stop()
        self.server.clock.advance(down / 1000)
        self.ahead += step
        self.server.start()
        self.server.pump()

    # Waiting

    def start(self, decode: Any, method: str, path: str, **more: Any) -> Pending:
        pending = Request(self.server.ask(method, path, **more), decode, self.server.pump)
        self.server.pump()
        return pending

    def leave(self, pending: Pending) -> None:
        pending.cancel()

    def start_read(self, name: str, key: str, uid: str, wait: float) -> Pending:
        query = {"queueName": name, "jobUID": uid, "wait": str(wait)}
        return self.start(lambda answer: modelled(answer.json), "GET", "/api/v1/job", query=query, key=key)

    def start_claim(self, claim: dict[str, Any], *, pump: bool = True) -> Pending:
        return self.start(claimed, "POST", "/api/v1/job/next", body=claim_body(claim), key=claim["key"])

    # Everything

    def picture(self) -> dict[str, Any]:
        """Each queue: its settings, its jobs in order, the counts of its jobs by kind, and its groups."""
        whole = {}
        for stats in self.ask("GET", "/api/v1/queues", key=None, headers=ADMIN)["queues"]:
            queue = self.ask("GET", "/api/v1/queue", query={"name": stats["name"]}, key=None, headers=ADMIN)
            assert stats["size"] == queue["size"] == len(queue["jobs"])
            kinds = {kind: stats[kind] for kind in KINDS}
            counts = {**stats["counts"], **kinds, "failures": self.failures(stats["name"])}
            whole[stats["name"]] = (self.settings(stats), queue["jobs"], counts, self.groups(stats["name"]))
        return whole

    def failures(self, name: str) -> dict[str | None, int]:
        """The number of failures by error."""
        page = self.ask("GET", "/api/v1/failures", query={"queueName": name}, key=None, headers=ADMIN)
        return {group["error"]: group["count"] for group in page["failures"]}

    def served(self, name: str) -> tuple[int, dict[str | None, int]]:
        return served_in(self.server.engine, name)
