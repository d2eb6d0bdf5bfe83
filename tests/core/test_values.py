"""No repr of a value shows secrets or client data."""

from collections.abc import Iterator

import msgspec
import pytest

from jobengine.core import (
    ageing,
    batches,
    claimers,
    commands,
    dead_letters,
    dependencies,
    effects,
    flow,
    groups,
    model,
    moves,
    retention,
    schedules,
    stats,
    transitions,
)
from jobengine.core import facts as events
from jobengine.core import filter as filters
from jobengine.core.values import _HIDDEN, Value
from jobengine.wire import bodies, request_head, shown_job
from jobengine.wire import responses as answers

#: The modules with values.
MODULES = {
    module.__name__
    for module in (
        claimers,
        batches,
        commands,
        dead_letters,
        dependencies,
        events,
        model,
        moves,
        retention,
        schedules,
        effects,
        filters,
        ageing,
        flow,
        groups,
        stats,
        transitions,
        answers,
        bodies,
        request_head,
        shown_job,
    )
}
#: Fields that a repr may show. Put each new field here or into the list of hidden fields.
SHOWN = """
    admin after ahead all arrival attempts author cancel cancel_requested changes claimed context count created defaults
    delay_seconds draining dry_run ended error filter following history idempotency_key job jobs
    keep_minutes key_id kind last_updated lease_expires limit many matched max_attempts max_jobs name new new_status
    not_before notes old outcome paused priority progress q queue rare queue_name queue_names queues ready_at
    max_queues old_key_seconds older_than updated_before sort
    require_lease results retry retry_delay_seconds role scan shift spec standing started state tag tags text
    timeout_minutes timeout_seconds timeout_time traceparent uid uids unique_key update updated updates wait worker
    cancelled failed_minutes found keep keep_failed_minutes minutes removed_at retrying times
    client host last_claim origin origins pid since waiting periods
    ahead_in_group available by delayed failed group group_limits group_on_failure group_order group_weight groups held
    held_until hold hold_seconds holders in_progress limits marks oldest_ready opens queued rate ready reason seconds
    settings target_wait_seconds weight lacks_claims later
    added counted cron edge every_seconds first from_ if_running last missed missed_seconds next pause_after_failures
    other_tags schedules skipped time timezone until
    batch batches counts dependants dependencies depends_on lost most on on_dependency_failure on_failure open then
    hidden named_in results_left_out then_on unfinished wait_for with_results without_dependencies
    changed line order seconds_per_priority
    done failing failures fired firings followed manual number request_digest schedule states wall
    at_most_seconds debounce if_queued key key_held_until key_passed_on replaced unique
    adds alike at before dead_letter dropped fingerprint keep_failed left missing
    move_to moved moved_from not_moved pace per_second source start to
"""


def kinds(kind: type[Value] = Value) -> Iterator[type[Value]]:
    """All classes of values in JobEngine."""
    for below in kind.__subclasses__():
        if below.__module__ in MODULES or below.__module__.startswith(commands.__name__):
            yield below
            yield from kinds(below)


def test_every_field_of_a_value_is_listed_as_shown_or_hidden_in_its_repr() -> None:
    names = {name for kind in kinds() for name in kind.__struct_fields__}
    assert names == {*SHOWN.split(), *_HIDDEN}


@pytest.mark.parametrize("name", ["access_key", "new_access_key", "content", "meta", "result", "lease", "claims"])
def test_a_secret_is_in_no_repr(name: str) -> None:
    secret = msgspec.defstruct("Secret", [("uid", str), (name, str)], bases=(Value,), frozen=True)
    assert repr(secret("u-1", "canary")) == "Secret(uid='u-1')"
