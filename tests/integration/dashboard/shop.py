"""The queues of a small shop on a daemon of its own: enough of everything to show every page and state."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import cos, pi
from pathlib import Path
from time import time
from typing import Any, Final

from attrs import evolve, frozen

from jobengine.client import JobEngine, Queue
from tests.integration.daemons import Client, Daemon, until
from tests.integration.shells import ADMIN_KEY

from .dead_letters import set_dead_letter
from .pipelines import fill_pipeline
from .schedules import fill_schedules

#: Jobs in the longest queue, and how many are added in one request.
MANY: Final = 100_000
_AT_ONCE: Final = 10_000
_TRACEBACK: Final = (
    "Traceback (most recent call last):\n"
    '  File "mailer.py", line 41, in send\n'
    "    server.sendmail(sender, [recipient], text)\n"
    "ConnectionRefusedError: [Errno 111] Connection refused"
)
_ERRORS: Final = ("mailbox of customer 4711 is full", "no route to host 192.0.2.7", _TRACEBACK)


_LONG_NAME: Final = "a customer with a long name: Pumpkin and Daughters, Fine Vegetables and Preserves, Ltd."


@frozen
class Shop:
    """The daemon, and jobs of its queue `mail` in each state, by uid."""

    url: str
    engine: JobEngine
    failed: str
    held: str
    complete: str
    #: A job of `deliveries` that the limit of its group holds.
    waiting: str
    #: A job of `imports` in the middle of a graph.
    linked: str = ""
    #: A job of `mail-dead`, the dead-letter queue of `letters`.
    moved: str = ""

    @property
    def mail(self) -> Queue:
        return self.engine.queue("mail")


@contextmanager
def open_shop(home: Path) -> Iterator[Shop]:
    """A shop with its files in a directory; its daemon is stopped at the end."""
    daemon = Daemon(home, settings={"ADMIN_KEY": ADMIN_KEY}).start()
    url = f"http://127.0.0.1:{daemon.port}"
    with JobEngine(url, access_key="key", admin_key=ADMIN_KEY, timeout=60) as engine:
        shop = _fill(engine, url)
        with daemon.client() as client:
            fill_schedules(client, "reports")
            shop = evolve(shop, linked=fill_pipeline(client, "imports"))
            shop = evolve(shop, moved=_fill_dead_letters(engine, client))
        engine.queue("reports").pause()
        yield shop
    daemon.kill()


def _fill(engine: JobEngine, url: str) -> Shop:
    for name in ("mail", "thumbnails", "invoices", "reports", "empty", "one job", "clicks", "deliveries", "imports"):
        engine.queue(name).create()
    for start in range(0, MANY, _AT_ONCE):
        engine.queue("clicks").add_many([{"click": number} for number in range(start, start + _AT_ONCE)])
    engine.queue("one job").add({"to": "ada@example.org"})
    _work(engine.queue("thumbnails"), _pictures(), 24, ("resizer-1", "resizer-2"))
    _work(engine.queue("invoices"), [{"order": number} for number in range(12)], 12, ("printer",))
    engine.queue("reports").add_many([{"month": month} for month in range(1, 13)], delay_seconds=86_400)
    engine.queue("invoices").drain()
    waiting = _fill_deliveries(engine.queue("deliveries"))
    return _fill_mail(engine.queue("mail"), engine, url, waiting)


def _fill_dead_letters(engine: JobEngine, client: Client) -> str:
    """Make a queue with a dead-letter queue, and a queue whose dead-letter queue is gone; returns a moved job."""
    letters, dead, lost = (engine.queue(name) for name in ("letters", "mail-dead", "gone"))
    for one in (letters, dead, lost):
        one.create()
    set_dead_letter(client, "letters", "mail-dead")
    for number in range(6):
        uid = letters.add(_letter(number)).uid
        letters.update(letters.claim(worker="printer")[0].uid, new_status="failed", error=_ERRORS[number % 2])
    until("the failed jobs were moved", lambda: dead.stats().size == 6)
    set_dead_letter(client, "letters", "gone")
    lost.remove()
    letters.update(letters.add(_letter(7)).uid, new_status="failed", error="no route")
    return uid


def _work(queue: Queue, contents: Sequence[Any], complete: int, workers: Sequence[str]) -> None:
    queue.add_many(list(contents))
    for number in range(complete):
        for job in queue.claim(worker=workers[number % len(workers)]):
            queue.update(job.uid, new_status="complete", result={"seconds": number / 10})
    for worker in workers:
        queue.claim(2, worker=worker)


def _pictures() -> list[Any]:
    return [{"picture": f"products/{number}.jpg", "width": 320, "format": "webp"} for number in range(60)]


def _fill_deliveries(deliveries: Queue) -> str:
    """Make groups in every state; returns a job that a limit holds."""
    deliveries.configure(
        limits={"in_progress": 50},
        group_limits={"in_progress": 2, "rate": (30, 60)},
        group_order="fair",
        target_wait_seconds=30,
    )
    for number, jobs in enumerate((1200, 340, 96, 40, 18, 12, 7, 5, 3, 2, 1), start=1):
        deliveries.add_many([{"order": order} for order in range(jobs)], group=f"customer-{number}")
    deliveries.add_many([{"order": 1}] * 9, group="customer-2", delay_seconds=3600)
    deliveries.add_many([{"order": 1}] * 3, group=_LONG_NAME)
    deliveries.set_group("customer-2", in_progress=5, rate=(10, 1), weight=3)
    deliveries.set_group("customer-4", paused=True)
    deliveries.set_group("customer-5", held_until=time() + 750)
    for worker in ("courier-1", "courier-2", "courier-3"):
        deliveries.claim(8, worker=worker)
    return next(job.uid for job in deliveries.jobs(state="queued") if job.group == "customer-1")


def _fill_mail(mail: Queue, engine: JobEngine, url: str, waiting: str) -> Shop:
    mail.keys.add("producer", "the shop's")
    mail.keys.add("worker", "the mailer's")
    mail.add_many([_letter(number) for number in range(16)], priority=1, tags=["newsletter"])
    for number in range(9):
        uid = mail.add(_letter(number), tags=["order"], priority=5, max_attempts=2, retry_delay_seconds=0).uid
        _fail_twice(mail, uid, _ERRORS[number % len(_ERRORS)])
    for number in range(6):
        mail.add(_letter(number), tags=["order"], priority=7, meta={"from": "shop"})
    for number in range(4):
        uid = mail.add(_letter(number), tags=["order"], priority=9, max_attempts=5, retry_delay_seconds=900).uid
        mail.claim(worker="mailer-1")
        mail.update(uid, new_status="failed", error=_TRACEBACK)
    mail.cancel(mail.add(_letter(2), tags=["order"]).uid)
    done, held = ([job.uid for job in mail.claim(3, worker=worker)] for worker in ("mailer-1", "mailer-2"))
    mail.update(held[0], progress=40)
    for uid in done:
        mail.update(uid, new_status="complete", result={"sent": True, "message": f"<{uid[:8]}@example.org>"})
    mail.claim(2, worker="mailer-1")
    failed = next(job.uid for job in mail.jobs(state="failed", error="Connection"))
    return Shop(url, engine, failed, held[0], done[0], waiting)


def _fail_twice(queue: Queue, uid: str, error: str) -> None:
    for worker in ("mailer-1", "mailer-2"):
        (claimed,) = queue.claim(worker=worker, tags=["order"])
        assert claimed.uid == uid
        queue.update(uid, new_status="failed", error=error)


def _letter(number: int) -> dict[str, Any]:
    who = ("ada", "alan", "barbara", "edsger", "grace")[number % 5]
    return {"to": f"{who}@example.org", "subject": f"Your order {2400 + number}", "items": [{"sku": 17, "count": 2}]}


def busy_history() -> dict[str, dict[str, list[Any]]]:
    """A history with busy days, quiet nights, one night of failures, and hours without jobs."""
    return {"minutes": _periods(60, 60), "hours": _periods(168, 24)}


def _periods(count: int, wave: int) -> dict[str, list[Any]]:
    loads = [max(0, round(60 - 70 * cos(2 * pi * at / wave))) for at in range(count)]
    trouble = [max(0, 30 - 4 * abs(at - count * 3 // 4)) for at in range(count)]
    return {
        "added": loads,
        "claimed": loads,
        "complete": [max(0, load - bad) for load, bad in zip(loads, trouble, strict=True)],
        "failed": [bad // 4 for bad in trouble],
        "attempts_failed": trouble,
        "cancelled": [0] * count,
        **{
            f"{kind}_p{part}": [
                base * (1 + load / 40 + bad) if load else None for load, bad in zip(loads, trouble, strict=True)
            ]
            for kind, part, base in (("wait", 50, 0.02), ("wait", 99, 0.9), ("run", 50, 0.3), ("run", 99, 2.0))
        },
    }
