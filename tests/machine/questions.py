"""Hypothesis strategies for the arguments of calls. Each has few values, so that most calls concern the same jobs."""

from typing import Any

from attrs import evolve
from hypothesis import strategies as st

from tests.machine.jobs import Asked, Rule

HOUR = 3_600_000

# Refused calls test little, so most arguments are valid; ENOUGH in test_machine.py has the least number of successful
# calls of each kind.

NAMES = st.sampled_from(["a"] * 14 + ["b"] * 9 + ["none"])
SEVERAL = st.sampled_from([["a"], ["b"], ["a", "b"], ["b", "a"]] * 6 + [["a", "none"]])
#: Mostly the owner's key. "new" is the owner's key after a change; the others may have a role.
KEYS = st.sampled_from(["key"] * 40 + ["new", "p", "w", "w", "v", "wrong"])
NEW_KEYS = st.sampled_from(["p", "w", "v", "key"])
ROLES = st.sampled_from(["producer", "worker", "viewer"])
TAGS = st.sampled_from([(), (), (), ("x",), ("x", "y")])
WORKERS = st.sampled_from([None, "w1", "w2"])
COUNTS = st.integers(1, 3)
LEASES = st.sampled_from(["none"] * 6 + ["right"] * 10 + ["wrong", "old"])

_CONTENTS = st.sampled_from(
    [b"{}", b'{"text":"Gr\xc3\xbc\xc3\x9fe"}', b'{"text": "GR\\u00dc\\u00dfE \\n"}', b'{"n":1.50}']
)
#: None is no group, and most jobs have none.
_GROUPS = st.sampled_from([None, None, None, "g", "g", "h"])
GROUPS = st.sampled_from(["g", "g", "h"])
#: Seconds from now until which something is held; 0 ends a hold.
_HOLDS = st.sampled_from([0, 0, 30, 90])
_LIMITS = st.sampled_from([None, None, 1, 2])
_SECONDS = st.sampled_from([0, 30, 90])
_UIDS = st.sampled_from([None, None, None, *(f"00000000-0000-4000-8000-00000000000{number}" for number in (1, 2))])
_STATES = st.sampled_from(["queued", "inprogress", "complete", "failed"])


def _maybe(values: "st.SearchStrategy[Any]") -> "st.SearchStrategy[Any]":
    return st.none() | st.none() | values


_RULES = st.sampled_from(
    [
        *[Rule()] * 4,
        Rule(until="started"),
        Rule(seconds=45),
        Rule(seconds=600, if_running="add"),
        Rule(seconds=600, if_queued="replace"),
        Rule(if_queued="replace", if_running="add"),
        Rule(until="started", if_running="add"),
        Rule(if_queued="replace", debounce=(30, 60)),
    ]
)


def _with_key(asked: Asked) -> Asked:
    """The job without a rule if it has no unique key, and without a delay if it is debounced."""
    if asked.unique_key is None:
        return evolve(asked, rule=Rule())
    return asked if asked.rule.debounce is None else evolve(asked, delay=0)


#: `until` and `not_before` are in seconds from the call on.
JOBS = st.builds(
    Asked,
    content=_CONTENTS,
    priority=st.integers(-1, 1),
    keep=_maybe(st.integers(0, 2)),
    timeout=st.sampled_from([None, 0, 30, 30, 90]),
    until=st.sampled_from([0, 0, 0, 1, 60, 120]),
    tags=TAGS,
    max_attempts=st.sampled_from([None, 1, 2, 3, 3]),
    retry_delay=st.sampled_from([None, 0, 30, 90]),
    unique_key=st.sampled_from([None, None, None, "k", "k", "l"]),
    delay=st.sampled_from([0, 0, 0, 45]),
    not_before=st.sampled_from([0, 0, 0, 100]),
    uid=_UIDS,
    group=_GROUPS,
    rule=_RULES,
).map(_with_key)

SOME_JOBS = st.lists(JOBS, min_size=2, max_size=6)
SELDOM = st.sampled_from([False] * 5 + [True])

_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "progress": st.integers(0, 100),
    "result": st.sampled_from([b"null", b'{"a": [1]}']),
    "error": st.sampled_from(["", "e"]),
    "priority": st.integers(-1, 1),
    "content": _CONTENTS,
    "tags": TAGS,
    "until": st.sampled_from([0, 60]),
    "delay": st.sampled_from([0, 45]),
    "group": st.sampled_from(["", "g", "h"]),
}


def _goes_together(asked: Any) -> bool:
    """Whether the changes are consistent: a delay is refused for a job that is not queued."""
    return asked.get("delay") is None or asked["state"] in ("queued", "failed")


_NOTHING: dict[str, st.SearchStrategy[Any]] = {}
CHANGES = st.one_of(
    st.fixed_dictionaries({"state": _STATES}),
    st.just({"state": "queued"}),
    st.fixed_dictionaries({"state": st.sampled_from(["queued", "failed"]), "hold": st.sampled_from([30, 45])}),
    st.fixed_dictionaries({"state": _STATES}, optional=_FIELDS).filter(_goes_together),
    st.fixed_dictionaries({"state": st.just("failed"), "retry": st.booleans()}, optional=_FIELDS),
    st.just({"cancel": True}),
    st.fixed_dictionaries(_NOTHING, optional=_FIELDS).filter(lambda asked: asked != {}),
)
FILTERS = st.fixed_dictionaries(
    {
        "state": st.none() | _STATES,
        "tag": _maybe(st.sampled_from(["x", "z"])),
        "group": _maybe(st.sampled_from(["g", "h"])),
        "text": _maybe(st.sampled_from(["GRÜSSE", "1.5", "nowhere"])),
        "retrying": _maybe(st.booleans()),
        "cancelled": _maybe(st.booleans()),
        "moved_from": st.sampled_from([None, None, None, None, "a", "b"]),
    }
)
_OF_GROUPS: dict[str, st.SearchStrategy[Any]] = {
    "limits": _LIMITS,
    "group_limits": _LIMITS,
    "group_order": st.sampled_from(["arrival", "fair", "fair", "strict"]),
    "group_on_failure": st.sampled_from(["next", "hold"]),
    "held_until": _HOLDS,
    "seconds_per_priority": st.sampled_from([None, None, 30, 90]),
}
SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "paused": st.sampled_from([False, False, True]),
        "draining": st.sampled_from([False, False, True]),
        "require_lease": st.sampled_from([False, False, True]),
        "max_jobs": st.sampled_from([0, 0, 5]),
        "defaults": st.tuples(st.integers(0, 2), st.integers(0, 3), _SECONDS, st.integers(1, 3), _SECONDS),
        **_OF_GROUPS,
    },
)
#: Settings of limits and groups alone.
FLOWS = st.fixed_dictionaries(_NOTHING, optional=_OF_GROUPS)
#: A queue, and the queue that is to get its jobs.
MOVES = st.sampled_from([("a", "b"), ("b", "a")] * 6 + [("a", "none"), ("none", "a")])
MINUTES = st.sampled_from([None, 0, 1, 60])
PER_SECOND = st.sampled_from([None, None, 2.0, 0.02])
OWN = st.fixed_dictionaries(
    _NOTHING,
    optional={
        "in_progress": _LIMITS,
        "weight": st.integers(1, 3),
        "paused": st.sampled_from([False, False, True]),
        "held_until": _HOLDS,
    },
).filter(bool)
#: Milliseconds to wait, or by which to advance the clock; not all are whole seconds.
TIMES = st.sampled_from([500, 1_000, 15_250, 30_000, 45_000, 60_000, 90_000, 2 * HOUR])
#: Milliseconds by which the wall clock is set.
STEPS = st.sampled_from([HOUR, -HOUR, HOUR, -HOUR, 400_000_000_000])
# The rest is for groups that take turns; these settings seldom stop all groups.
_MOSTLY_0 = st.sampled_from([0] * 7 + [30])
_MOSTLY_NONE = st.sampled_from([None] * 5 + [1, 2, 3])
WHOLE_FLOWS = st.fixed_dictionaries(
    {
        "paused": st.just(False),
        "draining": st.just(False),
        "limits": _MOSTLY_NONE,
        "group_limits": _MOSTLY_NONE,
        "group_order": st.sampled_from(["arrival", "fair", "fair", "fair", "strict", "strict"]),
        "group_on_failure": st.sampled_from(["next", "hold"]),
        "held_until": _MOSTLY_0,
        "seconds_per_priority": st.sampled_from([None, None, None, 30]),
    }
).filter(lambda settings: settings["group_order"] != "fair" or settings["seconds_per_priority"] is None)
WHOLE_OWN = st.fixed_dictionaries(
    {
        "in_progress": _MOSTLY_NONE,
        "weight": st.integers(1, 3),
        "paused": _MOSTLY_0.map(bool),
        "held_until": _MOSTLY_0,
    }
)
#: Jobs that differ in group and priority alone.
PLAIN_JOBS = st.lists(
    st.builds(Asked, group=st.sampled_from([None, "g", "g", "h", "h", "i"]), priority=st.sampled_from([0, 0, 0, 1])),
    min_size=4,
    max_size=10,
)
#: How many jobs to claim, how to end the first one in progress, or how many milliseconds to wait.
STEPS_OF_WORK = st.one_of(
    *[st.integers(1, 3)] * 3,
    *[st.sampled_from([{"state": "complete"}, {"state": "queued"}, {"cancel": True}, {"state": "failed"}])] * 2,
    st.fixed_dictionaries({"state": st.sampled_from(["queued", "failed"]), "hold": st.sampled_from([30, 45])}),
    st.sampled_from([15_000, 30_000]),
)
