"""
The fields of records that may be left out, with their types and bounds.

Rare fields are in an object at the end of a record, which has only those that differ from their defaults.
"""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from .ageing import Order
from .batches import NAME_LENGTH as BATCH_LENGTH
from .dead_letters import DeadLetter, MovedFrom
from .dependencies import OnDependencyFailure
from .fingerprints import FINGERPRINT
from .flow import Flow, GroupName, Window
from .model import NO_CONTEXT, Context, Role
from .unique_rule import UniqueRule

#: The types of fields: checked in lines from exports (fact_lines), but not in records, which JobEngine wrote itself.
Name = Annotated[str, Meta(min_length=1, max_length=256)]
Digest = Annotated[str, Meta(pattern="^(sha512:)?[0-9a-f]{64}\\Z")]
Count = Annotated[int, Meta(ge=0)]
Fingerprint = Annotated[str, Meta(pattern=FINGERPRINT)]
Ended = Annotated[str, Meta(pattern="^[-cfw]*\\Z")]
Line = Annotated[int, Meta(ge=-(1 << 62), le=1 << 62)]


class Extras(Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """Rare fields. Only values that differ from the defaults are written, so the defaults must be the model's."""


class QueueExtras(Extras):
    """The rare fields of Queue."""

    paused: bool = False
    draining: bool = False
    require_lease: bool = False
    max_jobs: Count = 0
    defaults: dict[str, Count] | None = None
    keys: tuple[tuple[Name, Role, Digest, Count], ...] = ()
    old_key: tuple[Digest, Count] | None = None
    flow: Flow | None = None
    target_wait_seconds: Window | None = None
    order: Order | None = None
    dead_letter: DeadLetter | None = None


class SpecExtras(Extras):
    """The rare fields of Spec."""

    tags: tuple[Name, ...] = ()
    max_attempts: Count = 1
    retry_delay_seconds: Count = 0
    unique_key: Name | None = None
    fingerprint: str | None = None
    author: str | None = None
    context: Context = NO_CONTEXT
    group: GroupName | None = None
    batch: Annotated[str, Meta(min_length=1, max_length=BATCH_LENGTH)] | None = None
    #: What happens if a dependency fails; then, for each dependency, its queue and its uid or batch key.
    dependencies: tuple[OnDependencyFailure, tuple[tuple[Name, Name], ...]] | None = None
    unique: UniqueRule | None = None
    line: Line | None = None
    moved_from: MovedFrom | None = None


class AttemptFields(Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """An attempt; records up to version 3 have no `times`, those up to version 6 no fingerprint."""

    worker: str | None
    started: Count
    ended: Count
    outcome: str
    error: str | None
    times: Annotated[int, Meta(ge=1)] = 1
    fingerprint: Fingerprint | None = None


class NotesExtras(Extras):
    """The rare fields of Notes."""

    progress: Annotated[int, Meta(ge=0, le=100)] | None = None
    error: str | None = None
    cancel_requested: bool = False
    result: str | UnsetType = UNSET
    history: list[AttemptFields] | UnsetType = UNSET
    retrying: bool = False
    cancelled: bool = False
    fingerprint: Fingerprint | None = None
    key_passed_on: bool = False
    dead_letter: str = ""


class StandingExtras(Extras):
    """The rare fields of Standing."""

    shift: int = 0
    ready_at: Count = 0
    not_before: Count = 0
    notes: NotesExtras | UnsetType = UNSET
    ended: Ended = ""
