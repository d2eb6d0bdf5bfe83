"""Filters on jobs, and how they match."""

from typing import Final

from .failures import fingerprint_of
from .model import FINISHED, SECOND, Job, State
from .values import Value

#: The short escapes of JSON, except the backslash, which must be replaced first.
_ESCAPED: Final = (
    ('\\"', '"'),
    ("\\/", "/"),
    ("\\n", "\n"),
    ("\\t", "\t"),
    ("\\r", "\r"),
    ("\\b", "\b"),
    ("\\f", "\f"),
)


class Filter(Value, frozen=True, kw_only=True):
    """Selects the jobs of a queue that match every condition."""

    #: In this state; None is any.
    state: State | None = None
    #: With this tag; None is any.
    tag: str | None = None
    #: In this group; None is any group, or none.
    group: str | None = None
    #: In this batch; None is any batch, or none.
    batch: str | None = None
    #: With this text in the content, whose case is ignored; pass it casefolded (str.casefold). None is any.
    text: str | None = None
    #: Held, or last held, by a worker of this name; None is any.
    worker: str | None = None
    #: With this text in the error, whose case is ignored too; pass it casefolded. None is any.
    error: str | None = None
    #: With this fingerprint of the latest error; None is any.
    fingerprint: str | None = None
    #: Moved from the queue of this name; None is any job, moved or not.
    moved_from: str | None = None
    #: Added at least this many seconds ago; None is any time.
    older_than: int | None = None
    #: Last changed at least this many seconds ago; None is any time.
    updated_before: int | None = None
    #: True: only jobs that are queued again after a failed attempt; False: only other jobs; None is any.
    retrying: bool | None = None
    #: True: only jobs that failed because they were cancelled; False: only other jobs; None is any.
    cancelled: bool | None = None
    #: Only jobs that are queued or in progress; False is any.
    unfinished: bool = False

    @property
    def only_state(self) -> State | None:
        """The only state in which jobs can match; None if there are several."""
        if self.state is not None:
            return self.state
        if self.retrying:
            return State.QUEUED
        return State.FAILED if self.cancelled else None


def matches(job: Job, wanted: Filter, now: int) -> bool:
    """Whether a job matches every condition of a filter at `now` (milliseconds)."""
    standing = job.standing
    if wanted.state is not None and standing.state is not wanted.state:
        return False
    if wanted.unfinished and standing.state in FINISHED:
        return False
    if wanted.retrying is not None and wanted.retrying is not job.retrying:
        return False
    if wanted.cancelled is not None and wanted.cancelled is not job.cancelled:
        return False
    if not _has_names(job, wanted):
        return False
    if not _is_ago(job.spec.created, wanted.older_than, now) or not _is_ago(job.updated, wanted.updated_before, now):
        return False
    if not _has_error(job, wanted):
        return False
    return wanted.text is None or wanted.text in _text(job.spec.content)


def _has_names(job: Job, wanted: Filter) -> bool:
    """Whether a job has the tag, the group, the batch, the former queue and the worker of a filter."""
    if wanted.tag is not None and wanted.tag not in job.spec.tags:
        return False
    if wanted.group is not None and wanted.group != job.spec.rare.own_group:
        return False
    if wanted.batch is not None and wanted.batch != job.spec.rare.batch:
        return False
    origin = job.spec.rare.moved_from
    if wanted.moved_from is not None and (origin is None or origin.queue != wanted.moved_from):
        return False
    return wanted.worker is None or wanted.worker == job.standing.worker


def _has_error(job: Job, wanted: Filter) -> bool:
    """Whether the error of a job has the text and the fingerprint of a filter."""
    if wanted.fingerprint is not None and wanted.fingerprint != fingerprint_of(job.standing):
        return False
    return wanted.error is None or wanted.error in (job.standing.notes.error or "").casefold()


def _is_ago(then: int, seconds: int | None, now: int) -> bool:
    """Whether `then` is at least this many seconds ago; None is any time."""
    return seconds is None or then + seconds * SECOND <= now


def _text(content: bytes) -> str:
    """The content as text, unescaped and casefolded; its spacing is as it was sent."""
    text = content.decode()
    return (_unescaped(text) if "\\" in text else text).casefold()


def _unescaped(text: str) -> str:
    """JSON text with its escapes decoded."""
    # Use only methods that run at C speed: contents may be long, and a search reads many of them. After the first step
    # every backslash begins an escape, and escapes of four digits are written as in Python.
    text = text.replace("\\\\", "\\u005c")
    for escape, stands_for in _ESCAPED:
        text = text.replace(escape, stands_for)
    if "\\u" not in text:
        return text
    text = text.encode("raw_unicode_escape").decode("raw_unicode_escape")
    # Join the halves of surrogate pairs.
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
