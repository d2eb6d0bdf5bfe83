"""Unique keys in requests and answers: `unique` and `debounce` of a job."""

from typing import Final

from msgspec.structs import replace

from ..core.commands import NewJob
from ..core.model import SECOND, Job, Rare
from ..core.unique_rule import PLAIN_RULE, Debounce, IfInProgress, IfQueued, UniqueRule, Until
from ..core.values import Value
from . import bodies
from .request_head import BadInput, one_of
from .time_text import time_text

#: Without `at_most_seconds`, adds delay a job for at most this many times `seconds`.
_TIMES: Final = 10


class ShownUnique(Value, frozen=True, omit_defaults=True):
    """The unique key of a job, and how the job holds it."""

    key: str
    until: str = Until.FINISHED
    seconds: int = 0
    if_queued: str = IfQueued.KEEP
    if_running: str = IfInProgress.KEEP


class ShownDebounce(Value, frozen=True):
    """How adds delay a job."""

    seconds: int
    at_most_seconds: int


def shown_unique(rare: Rare) -> ShownUnique | None:
    """The unique key of a job, with its rule; None without a rule: the answer has the short form `unique_key` then."""
    rule = rare.unique
    if rule is None:
        return None
    return ShownUnique(rare.unique_key or "", rule.until, rule.seconds, rule.if_queued, rule.if_running)


def shown_debounce(rare: Rare) -> ShownDebounce | None:
    """How adds with the same unique key delay a job; None if they do not."""
    debounce = None if rare.unique is None else rare.unique.debounce
    return None if debounce is None else ShownDebounce(debounce.seconds, debounce.at_most_seconds)


def key_reason(job: Job, key_held_until: int | None) -> str:
    """A sentence about the unique key of a job, for its explanation; empty if there is nothing to say."""
    rule = job.spec.rare.unique
    if key_held_until is not None:
        until = time_text(-(-key_held_until // SECOND))
        return f" It holds its unique key until {until}: an add with that key before then adds no job."
    if rule is None or rule.debounce is None or not job.standing.ready_at:
        return ""
    latest = time_text(-(-job.spec.created // SECOND) + rule.debounce.at_most_seconds)
    return f" Each add with its unique key delays it by {rule.debounce.seconds} seconds, until {latest} at the latest."


def with_rule(job: NewJob, sent: bodies.NewJob) -> NewJob:
    """The job with the rule of its unique key; raises BadInput, with a text that continues after the job's place."""
    unique, key = sent.unique, sent.unique_key
    if unique is not None and key is not None:
        raise BadInput(": unique_key is the short form of unique; send one of them.")
    if unique is None and key is None:
        raise BadInput(".debounce needs unique or unique_key: it delays the job at each add with the same key.")
    key = key if unique is None else unique.key
    rule = PLAIN_RULE if unique is None else _rule(unique)
    if sent.debounce is not None:
        rule = _debounced(rule, sent, sent.debounce)
    if rule.if_queued is IfQueued.REPLACE and (job.depends_on or job.batch is not None):
        raise BadInput(
            ": a job with depends_on or batch can't replace a queued job, which keeps its own; leave out debounce and "
            'if_queued "replace".'
        )
    return replace(job, unique_key=key, unique=None if rule == PLAIN_RULE else rule)


def _rule(sent: bodies.Unique) -> UniqueRule:
    rule = UniqueRule(
        until=Until.FINISHED if sent.until is None else one_of(Until, sent.until, ".unique.until"),
        seconds=sent.seconds or 0,
        if_queued=IfQueued.KEEP if sent.if_queued is None else one_of(IfQueued, sent.if_queued, ".unique.if_queued"),
        if_running=(
            IfInProgress.KEEP
            if sent.if_running is None
            else one_of(IfInProgress, sent.if_running, ".unique.if_running")
        ),
    )
    if rule.seconds and rule.until is Until.STARTED:
        raise BadInput('.unique.seconds are counted from the end of the job, so unique.until must not be "started".')
    return rule


def _debounced(rule: UniqueRule, sent: bodies.NewJob, debounce: bodies.Debounce) -> UniqueRule:
    if sent.unique is not None and sent.unique.if_queued == IfQueued.KEEP:
        raise BadInput('.debounce replaces the queued job at each add, so unique.if_queued must not be "keep".')
    if sent.delay_seconds:
        raise BadInput(".debounce delays the job; leave out delay_seconds.")
    most = debounce.seconds * _TIMES if debounce.at_most_seconds is None else debounce.at_most_seconds
    if most < debounce.seconds:
        raise BadInput(f".debounce.at_most_seconds must be at least {debounce.seconds}, the debounce's seconds.")
    return replace(rule, if_queued=IfQueued.REPLACE, debounce=Debounce(debounce.seconds, most))
