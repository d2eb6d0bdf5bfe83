"""Hypothesis strategies that generate facts."""

from typing import Any

from hypothesis import strategies as st
from msgspec.structs import replace

from jobengine.core.ageing import Order
from jobengine.core.batches import BATCH, Batch, batch_text
from jobengine.core.dead_letters import DUE, DeadLetter, MovedFrom
from jobengine.core.dependencies import Dependencies, OnDependencyFailure, batch_key
from jobengine.core.facts import (
    ClockSet,
    Fact,
    ItemSet,
    JobAdded,
    JobChanged,
    JobRemoved,
    QueueChanged,
    QueueCreated,
    QueueDeleted,
)
from jobengine.core.fingerprints import FINGERPRINT
from jobengine.core.flow import GATE, GROUP, Flow, Gate, GroupOrder, Limits, OnFailure, Rate, item_text
from jobengine.core.model import (
    FINISHED,
    NO_RARE,
    AccessKey,
    Attempt,
    Defaults,
    Job,
    Notes,
    OldKey,
    Queue,
    Rare,
    Role,
    Spec,
    Standing,
    State,
)
from jobengine.core.retention import retention
from jobengine.core.unique_rule import UniqueRule, Until
from tests.core.worlds import MINUTE, NOW
from tests.doubles import START

# Few different values, so that most facts concern the same queues and jobs.

_NAMES = st.sampled_from(["a", "b"])
_UIDS = st.sampled_from(["1", "2", "3", "4", "5", "6"])
_TIMES = st.integers(0, 5).map(lambda minutes: NOW + minutes * MINUTE)
_SMALL = st.integers(0, 2)


def _standing(*, state: State, notes: Notes, **more: Any) -> Standing:
    """A standing that rules could have made: only a failed job was cancelled, and no finished job is tried again."""
    cancelled = notes.cancelled and state is State.FAILED
    retrying = notes.retrying and state not in FINISHED
    return Standing(state=state, notes=replace(notes, cancelled=cancelled, retrying=retrying), **more)


_STANDINGS = st.builds(
    _standing,
    state=st.sampled_from(State),
    updated=_TIMES,
    attempts=_SMALL,
    shift=st.sampled_from([0, 0, -MINUTE, MINUTE]),
    ready_at=st.sampled_from([0, 0, NOW + MINUTE, NOW + 3 * MINUTE]),
    not_before=st.sampled_from([0, 0, NOW + 2 * MINUTE]),
    ended=st.sampled_from(["", "", "-", "c-", "f", "w-"]),
    notes=st.sampled_from(
        [
            *(Notes(), Notes(error="e"), Notes(retrying=True, error="e"), Notes(cancelled=True)),
            Notes(key_passed_on=True),
            *(Notes(error="e", dead_letter=DUE), Notes(error="e", dead_letter="full")),
        ]
    ),
)


def _spec(uid: str, numbers: tuple[int, int, int, int, int], tags: tuple[str, ...], rare: Rare) -> Spec:
    priority, arrival, keep, timeout, timeout_time = numbers
    return Spec(
        uid=uid,
        priority=priority,
        arrival=arrival,
        keep=retention(keep, keep + 1),
        timeout_seconds=timeout * 60,
        timeout_time=timeout_time * (START + timeout_time),
        content=b'{"n":%d}' % arrival,
        created=NOW,
        tags=tags,
        # Only one unfinished job can have a unique key, so each uid gets its own key.
        rare=rare if rare.unique_key is None else replace(rare, unique_key=rare.unique_key + uid),
    )


_AWAITED = st.tuples(_NAMES, st.sampled_from(["1", "2", "3", batch_key("b")]))
_RARE = st.just(NO_RARE) | st.builds(
    Rare,
    unique_key=st.sampled_from([None, None, "key"]),
    group=st.sampled_from([None, "g", "h"]),
    batch=st.sampled_from([None, None, "b"]),
    moved_from=st.sampled_from([None, None, MovedFrom(queue="a", at=NOW, keep_failed=3, group="h")]),
    dependencies=st.none()
    | st.builds(
        Dependencies, st.lists(_AWAITED, min_size=1, max_size=2).map(tuple), st.sampled_from(OnDependencyFailure)
    ),
    unique=st.none() | st.builds(UniqueRule, until=st.sampled_from(Until), seconds=_SMALL),
)


_SPECS = st.builds(
    _spec,
    _UIDS,
    st.tuples(st.integers(-1, 1), st.integers(0, 9), _SMALL, _SMALL, _SMALL),
    st.sampled_from([(), (), ("x",), ("x", "y")]),
    _RARE,
)
_LIMITS = st.builds(Limits, in_progress=st.sampled_from([None, 1, 2]), rate=st.sampled_from([None, Rate(1, 60)]))
_FLOWS = st.none() | st.builds(
    Flow,
    limits=_LIMITS,
    group_limits=_LIMITS,
    group_order=st.sampled_from(GroupOrder),
    group_on_failure=st.sampled_from(OnFailure),
)
_GATES = st.builds(Gate, held=st.sampled_from([0, NOW + MINUTE]), marks=st.sampled_from([(), ((NOW, NOW, 1),)]))
_QUEUES = st.builds(
    lambda name, salt, paused, most, flow, dead_letter: Queue(
        name=name,
        salt=salt,
        digest="d" * 64,
        created=NOW,
        paused=paused,
        max_jobs=most,
        flow=flow,
        dead_letter=dead_letter,
    ),
    _NAMES,
    st.sampled_from(["s", "t"]),
    st.booleans(),
    _SMALL,
    _FLOWS,
    st.sampled_from([None, None, DeadLetter(queue="b", salt="s"), DeadLetter(queue="b", salt="s", missing=True)]),
)

_BATCHES = st.builds(
    Batch, created=st.just(NOW), open=st.booleans(), ended=st.none() | _TIMES, failed=st.booleans()
).map(batch_text)

added_jobs: st.SearchStrategy[JobAdded] = st.builds(JobAdded, _NAMES, st.builds(Job, _SPECS, _STANDINGS))
#: Any facts about a few queues and jobs, including ones that do not exist.
facts: st.SearchStrategy[Fact] = st.one_of(
    added_jobs,
    added_jobs,
    st.builds(JobChanged, _NAMES, _UIDS, _STANDINGS),
    st.builds(JobRemoved, _NAMES, _UIDS),
    st.builds(QueueCreated, _QUEUES),
    st.builds(QueueChanged, _QUEUES),
    st.builds(QueueDeleted, _NAMES),
    st.builds(
        ItemSet, _NAMES, st.sampled_from(["k", "l"]), st.sampled_from(["a", "b"]), st.sampled_from([None, "1", "2"])
    ),
    st.builds(ItemSet, _NAMES, st.just(GATE), st.sampled_from(["", "g", "h"]), _GATES.map(item_text)),
    st.builds(ItemSet, _NAMES, st.just(GROUP), st.sampled_from(["g", "h"]), st.sampled_from([None, '{"weight":2}'])),
    st.builds(ItemSet, _NAMES, st.just(BATCH), st.just("b"), st.none() | _BATCHES),
    st.builds(ClockSet, st.sampled_from([0, -5 * MINUTE, 5 * MINUTE])),
)

# Strategies for every possible value of each field, for encoding and decoding.

_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
_MAYBE_TEXT = st.none() | _TEXT
_INT = st.integers(-(1 << 63), (1 << 63) - 1)
_JSON = st.sampled_from([b"{}", b'{"a":"\\n"}', b"{\n}", '{"é": [1.50, null]}'.encode()])
_ATTEMPTS = st.builds(
    Attempt,
    worker=_MAYBE_TEXT,
    started=_INT,
    ended=_INT,
    outcome=st.sampled_from(["failed", "timeout"]),
    error=_MAYBE_TEXT,
    times=st.integers(1, 3),
    fingerprint=st.none() | st.from_regex(FINGERPRINT),
)
_ANY_NOTES = st.builds(
    Notes,
    progress=st.none() | st.integers(0, 100),
    result=st.none() | _JSON,
    error=_MAYBE_TEXT,
    cancel_requested=st.booleans(),
    history=st.lists(_ATTEMPTS, max_size=3).map(tuple),
    retrying=st.booleans(),
    cancelled=st.booleans(),
    fingerprint=st.none() | st.from_regex(FINGERPRINT),
)
any_standings = st.builds(
    Standing,
    state=st.sampled_from(State),
    updated=_INT,
    attempts=_INT,
    claimed=_INT,
    lease=_MAYBE_TEXT,
    worker=_MAYBE_TEXT,
    shift=_INT,
    ready_at=_INT,
    not_before=_INT,
    ended=st.text("-cfw"),
    notes=st.just(Notes()) | _ANY_NOTES,
)
any_specs = st.builds(
    Spec,
    uid=_TEXT,
    priority=_INT,
    arrival=_INT,
    keep=st.builds(retention, _INT, _INT),
    timeout_seconds=_INT,
    timeout_time=_INT,
    content=_JSON,
    created=_INT,
    tags=st.lists(_TEXT, max_size=3).map(tuple),
    max_attempts=_INT,
    retry_delay_seconds=_INT,
    rare=st.builds(
        Rare,
        unique_key=_MAYBE_TEXT,
        request_digest=_MAYBE_TEXT,
        author=_MAYBE_TEXT,
        group=_MAYBE_TEXT,
        batch=_MAYBE_TEXT,
        dependencies=st.none()
        | st.builds(
            Dependencies,
            st.lists(st.tuples(_TEXT, _TEXT), max_size=3).map(tuple),
            st.sampled_from(OnDependencyFailure),
        ),
        line=st.none() | _INT,
    )
    | st.just(NO_RARE),
)
_KEYS = st.builds(AccessKey, id=_TEXT, role=st.sampled_from(Role), digest=_TEXT, created=_INT)
_RATES = st.builds(Rate, st.integers(1, 1_000_000), st.integers(1, 86_400))
_LIMITS = st.builds(Limits, in_progress=st.none() | st.integers(1, 1_000_000), rate=st.none() | _RATES)
_FLOWS = st.builds(
    Flow,
    limits=_LIMITS,
    group_limits=_LIMITS,
    group_order=st.sampled_from(GroupOrder),
    group_on_failure=st.sampled_from(OnFailure),
)
_ANY_QUEUES = st.builds(
    Queue,
    name=_TEXT,
    salt=_TEXT,
    digest=_TEXT,
    created=_INT,
    paused=st.booleans(),
    draining=st.booleans(),
    require_lease=st.booleans(),
    max_jobs=_INT,
    defaults=st.none()
    | st.builds(
        Defaults,
        keep_minutes=_INT,
        keep_failed_minutes=st.none() | _INT,
        timeout_seconds=_INT,
        max_attempts=_INT,
        retry_delay_seconds=_INT,
    ),
    keys=st.lists(_KEYS, max_size=2).map(tuple),
    old_key=st.none() | st.builds(OldKey, digest=_TEXT, until=_INT),
    flow=st.none() | _FLOWS,
    target_wait_seconds=st.none() | st.integers(1, 86_400),
    order=st.none()
    | st.builds(Order, seconds_per_priority=st.none() | st.integers(1, 31_536_000), changed=st.integers(0, 1 << 50)),
)

#: Facts with any values at all.
any_facts: st.SearchStrategy[Fact] = st.one_of(
    st.builds(JobAdded, _TEXT, st.builds(Job, any_specs, any_standings)),
    st.builds(JobChanged, _TEXT, _TEXT, any_standings),
    st.builds(JobRemoved, _TEXT, _TEXT),
    st.builds(QueueCreated, _ANY_QUEUES),
    st.builds(QueueChanged, _ANY_QUEUES),
    st.builds(QueueDeleted, _TEXT),
    st.builds(ClockSet, _INT),
    st.builds(ItemSet, _TEXT, _TEXT, _TEXT, _MAYBE_TEXT),
)
