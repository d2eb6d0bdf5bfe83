"""What the golden files hold, as values."""

from jobengine.core.events import Fact, JobAdded, JobChanged, JobRemoved, QueueCreated, QueueDeleted
from jobengine.core.model import Job, Queue, Spec, State

__all__ = ["COMMITS", "MAIL", "RECORDS", "SLICES"]

CREATED = 1_700_000_000_123

MAIL = Queue(name="mail", salt="00000000-0000-0000-0000-0000000000aa", digest="ab" * 32, created=CREATED)
OTHER = Queue(name='Grüße "七"\n', salt="salt", digest="00" * 32, created=CREATED + 1)


def job(number: int, state: State = State.QUEUED, updated: int = CREATED, **more: int) -> Job:
    spec = {"priority": 0, "keep_minutes": 60, "timeout_minutes": 10, "timeout_time": 0, "created": CREATED, **more}
    uid = f"00000000-0000-0000-0000-{number:012}"
    content = b'{"n": %d, "text": "Gr\xc3\xbc\xc3\x9fe\\n"}' % number
    return Job(spec=Spec(uid=uid, arrival=number, content=content, **spec), state=state, updated=updated)


def uid(number: int) -> str:
    return job(number).spec.uid


#: By file: a record of each kind and version.
RECORDS: dict[str, Fact] = {
    "queue-created-1.record": QueueCreated(OTHER),
    "queue-deleted-1.record": QueueDeleted('Grüße "七"\n'),
    "job-added-1.record": JobAdded(
        "mail", job(7, State.FAILED, CREATED + 5, priority=-(1 << 63), timeout_time=(1 << 63) - 1, keep_minutes=0)
    ),
    "job-changed-1.record": JobChanged("mail", uid(7), State.INPROGRESS, CREATED + 9),
    "job-removed-1.record": JobRemoved("mail", uid(7)),
}

#: The snapshot of the golden database, slice by slice.
SLICES: list[list[Fact]] = [
    [QueueCreated(MAIL)],
    [JobAdded("mail", job(1)), JobAdded("mail", job(2, State.COMPLETE, CREATED + 10, priority=5))],
]

#: Its commits.
COMMITS: list[list[Fact]] = [
    [JobAdded("mail", job(3, priority=-1, timeout_time=4_000_000_000)), JobAdded("mail", job(4))],
    [JobChanged("mail", uid(1), State.INPROGRESS, CREATED + 20)],
    [JobRemoved("mail", uid(4)), QueueCreated(OTHER), JobAdded(OTHER.name, job(5))],
    [QueueDeleted(OTHER.name)],
    [JobChanged("mail", uid(3), State.FAILED, CREATED + 30)],
]
