"""Errors of commands; str() of each is the message for the client."""

import re
from collections.abc import Sequence
from typing import Final

from .model import Role, State

#: The first characters of a uid that the server has chosen, as the dashboard shows them.
_PART_OF_UUID: Final = re.compile("(?=.*[0-9])[0-9a-f]{8}(-[0-9a-f]{0,4}){0,3}(-[0-9a-f]{0,11})?")


class DomainError(Exception):
    """A command that can't be carried out."""


class QueueNotFound(DomainError):
    """No queue has the name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no queue named {name!r}; create it with PUT /api/v1/queue.")


class QueueExists(DomainError):
    """The name of a queue to be created is taken."""

    def __init__(self, name: str) -> None:
        super().__init__(f"A queue named {name!r} exists already; choose another name, or use it with its access key.")


class AccessDenied(DomainError):
    """The access key does not open the queue."""

    def __init__(self, queue: str, named_in: str | None = None) -> None:
        """`named_in` is the field of the request that names `queue`; None for the request's own queue."""
        text = f"The access key does not open the queue {queue!r}; send one that does in X-Access-Key."
        if named_in is not None:
            text = (
                f"The access key does not open the queue {queue!r} in {named_in}; send one that opens both, or the "
                "admin key."
            )
        super().__init__(text)


class NotAllowed(DomainError):
    """The access key opens the queue, but its role does not cover the command."""

    def __init__(self, queue: str, role: Role) -> None:
        super().__init__(
            f"A key with the role {role} may not do this in the queue {queue!r}; ask its owner for another key."
        )


class KeyNotFound(DomainError):
    """The queue has no key with the id."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"The queue has no key with id {key_id!r}; GET /api/v1/queue/key lists its keys.")


class KeyTaken(DomainError):
    """A new key opens the queue already."""

    def __init__(self) -> None:
        super().__init__("This access key opens the queue already; choose another.")


class TooManyKeys(DomainError):
    """The queue has as many keys as it may have."""

    def __init__(self, most: int) -> None:
        super().__init__(f"A queue has no more than {most} keys; revoke one that is not used.")


class JobNotFound(DomainError):
    """The queue holds no job with the uid."""

    def __init__(self, uid: str, *, has_dead_letter: bool = False) -> None:
        moved = ", or have failed and moved to the queue's dead-letter queue" if has_dead_letter else ""
        part = ", or this is only a part of its uid" if _PART_OF_UUID.fullmatch(uid) else ""
        super().__init__(
            f"The queue holds no job with uid {uid!r}; it may have been deleted or have expired{moved}{part}."
        )


class JobDamaged(DomainError):
    """The stored job can't be read; only its deletion can be carried out."""

    def __init__(self, uid: str) -> None:
        super().__init__(
            f"The job with uid {uid!r} is damaged: its row in the database was altered and can't be read. All other "
            "jobs are served. The owner of the queue, or the server's admin, can delete it, or have its row restored "
            "from a backup."
        )


class ItemDamaged(DomainError):
    """A named thing of a queue, such as the settings of a group, can't be read."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"The {kind} {name!r} can't be read: its row is damaged. Restore the row from a backup.")


class QueueDamaged(DomainError):
    """The stored queue can't be read; only an admin's deletion of it can be carried out."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"The queue named {name!r} is damaged: its row in the database was altered and can't be read. All other "
            "queues are served. The server's admin can delete it with its jobs, or have its row restored from a backup."
        )


class UidTaken(DomainError):
    """Another job has the uid: a stored job or, with `repeated`, an earlier job of the same request."""

    def __init__(self, uid: str, *, repeated: bool = False) -> None:
        super().__init__(
            f"An earlier job of this request has the uid {uid!r} too, but is not the same: give each job its own uid."
            if repeated
            else f"The queue holds another job with uid {uid!r}: use a new uid or Idempotency-Key for a new job, and "
            "send exactly the same job to repeat a request."
        )


class UniqueKeyTaken(DomainError):
    """A job with the unique key exists, and the caller may not read it."""

    def __init__(self) -> None:
        super().__init__(
            "A job with this unique_key is queued or in progress; it was added with another access key. Try again when "
            "it has finished."
        )


class QueueFull(DomainError):
    """The queue holds as many jobs as it may."""

    def __init__(self, most: int) -> None:
        super().__init__(f"The queue takes no more than {most} jobs; try again when some have been removed.")


class QueueDraining(DomainError):
    """The queue is draining."""

    def __init__(self) -> None:
        super().__init__("The queue is draining: it takes no new jobs until its owner stops the draining.")


class BadDeadLetter(DomainError):
    """A queue can't be the dead-letter queue of another; str() says why."""


class SameQueue(DomainError):
    """Jobs would be moved into the queue that they are in."""

    def __init__(self, name: str) -> None:
        super().__init__(f"The jobs are in the queue {name!r} already: name another queue in move_to.")


class LeaseLost(DomainError):
    """The lease that was sent does not hold the job now."""

    def __init__(self, state: State, worker: str | None) -> None:
        #: The job's present state, and the name of the worker that holds it, if any.
        self.state = state
        self.worker = worker if state is State.INPROGRESS else None
        held = f", held by {self.worker!r}" if self.worker else ""
        super().__init__(f"The lease is no longer valid: the job is {state}{held}. Stop working on it.")


class LeaseRequired(DomainError):
    """The queue requires the lease with every update of a job in progress."""

    def __init__(self, state: State, worker: str | None) -> None:
        self.state = state
        self.worker = worker
        super().__init__(
            "This queue requires leases: send a job's lease, which its claim returned, in every update of the job."
        )


class GroupNotFound(DomainError):
    """No group of that name has jobs, settings or a hold."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no group {name!r} in this queue: no job has it, and it has no settings of its own.")


class GroupInUse(DomainError):
    """An update would change the group of a job in progress, which counts in its group."""

    def __init__(self, state: State, worker: str | None) -> None:
        self.state = state
        self.worker = worker
        super().__init__("The job is in progress, and counts in its group: change its group when it is queued again.")


class FairWithAgeing(DomainError):
    """A queue would have both fair order and priority ageing."""

    def __init__(self) -> None:
        super().__init__(
            'A queue has either the group_order "fair" or an order with seconds_per_priority: groups take turns among '
            "jobs of equal priority, and with seconds_per_priority hardly any two jobs are equal. Send null for order, "
            "or another group_order."
        )


class UnknownDependency(DomainError):
    """A new job depends on a job that does not exist, or that its key may not read."""

    def __init__(self, queue: str, uid: str, *, has_dead_letter: bool = False) -> None:
        moved = " It may have failed and moved to the queue's dead-letter queue." if has_dead_letter else ""
        super().__init__(
            f"depends_on names the job {uid}, which the queue {queue!r} does not hold, or which this key may not read."
            f"{moved} Add it first, or in the same request; name a job of another queue by "
            '{"queue_name": …, "uid": …}.'
        )


class DependencyExists(DomainError):
    """A new job depends on a job of the same request that is not added: a stored job holds its unique key."""

    def __init__(self, uid: str, stored: str) -> None:
        super().__init__(
            f"depends_on names the job {uid} of this request, which was not added: the job {stored} has its "
            f"unique_key already. Name {stored} instead."
        )


class DependencyCircle(DomainError):
    """Jobs would wait for each other."""

    def __init__(self, uids: Sequence[str]) -> None:
        super().__init__(
            f"These jobs would wait for each other: {' → '.join(uids)}. Leave out one of the dependencies."
        )


class WouldWaitForItself(DomainError):
    """A job would depend on a job that waits, directly or through others, for this job or its batch."""

    def __init__(self, uid: str, awaiting: str) -> None:
        super().__init__(f"The job depends on {uid}, which waits for {awaiting}: neither could ever run.")


class TooManyDependants(DomainError):
    """Too many jobs wait for a job or batch: they are not searched for a circle."""

    def __init__(self, most: int) -> None:
        super().__init__(
            f"More than {most} jobs wait for this batch or job, too many to search them for a circle: leave out "
            "depends_on in the new job, or let fewer jobs wait."
        )


class NotInProgress(DomainError):
    """Only a job in progress can wait for children."""

    def __init__(self, state: State, worker: str | None) -> None:
        self.state = state
        self.worker = worker
        super().__init__("Only a job in progress can add jobs and wait for them: claim it first.")


class NothingAwaited(DomainError):
    """The dependencies of a job in progress can't be dropped: its worker uses their results."""

    def __init__(self, state: State, worker: str | None) -> None:
        self.state = state
        self.worker = worker
        super().__init__(
            "The job is in progress, and waits for nothing: drop its dependencies when it is queued again."
        )


class BatchNotFound(DomainError):
    """The queue has no batch with the name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"The queue has no batch {name!r}; create it with PUT /api/v1/batch.")


class BatchEnded(DomainError):
    """A batch that has ended takes no more jobs."""

    def __init__(self, name: str) -> None:
        super().__init__(f"The batch {name!r} has ended, and takes no more jobs; create another one.")


class ThenExists(DomainError):
    """The `then` of a new batch has the uid or unique key of a stored job, which does not wait for the batch."""

    def __init__(self, uid: str) -> None:
        super().__init__(
            f"The job {uid} has the uid or unique_key of 'then' already, and does not wait for this batch; send "
            "'then' with another uid or unique_key."
        )


class TooManyBatches(DomainError):
    """The queue has as many batches as it may have."""

    def __init__(self, most: int) -> None:
        super().__init__(
            f"A queue has no more than {most} batches; they are removed once they have ended and their jobs are gone."
        )


class ScheduleNotFound(DomainError):
    """The queue has no schedule with the name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"The queue has no schedule {name!r}; GET /api/v1/schedules lists its schedules.")


class BadSchedule(DomainError):
    """The settings of a schedule, or the times of a backfill, can't be used together; str() says why."""


class ScheduleConflict(DomainError):
    """A change of a schedule contradicts settings that it leaves unchanged; str() says which to send as well."""


class NoTimes(DomainError):
    """A schedule has no times: the server can't read its cron line, or does not know its time zone; str() says why."""


class ScheduleRunning(DomainError):
    """A job of the schedule is not finished, and the schedule adds no other meanwhile."""

    def __init__(self, uid: str) -> None:
        super().__init__(f"The job {uid} of this schedule is not finished. Wait until it is, or cancel it.")


class TooManySchedules(DomainError):
    """The queue has as many schedules as it may have."""

    def __init__(self, most: int) -> None:
        super().__init__(f"A queue has no more than {most} schedules; delete one that is not used.")


class ClaimRequired(DomainError):
    """An update would put a job in progress without a lease, in a queue that requires leases."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.worker = None
        super().__init__(
            "This queue requires leases, and only a claim gives one: use POST /api/v1/job/next, or GET with "
            "markQueued=true."
        )


class TooManyQueues(DomainError):
    """The server has as many queues as MAX_QUEUES allows."""

    def __init__(self, most: int) -> None:
        super().__init__(
            f"The server takes no more than {most} queues (MAX_QUEUES) without its admin key: delete one that is not "
            "used, or ask the server's operator."
        )


class BadItem(DomainError):
    """One of many jobs can't be added, so none was."""

    def __init__(self, index: int, why: DomainError, place: str = "jobs") -> None:
        #: The index of the job, from 0, and why it can't be added.
        self.index = index
        self.why = why
        super().__init__(f"{place}[{index}]: {why} None of the jobs was added.")
