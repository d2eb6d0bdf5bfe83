"""Which jobs a filter means."""

import json

from .commands import Filter
from .model import Job

__all__ = ["matches"]


def matches(job: Job, wanted: Filter) -> bool:
    """Whether all that a filter says applies to a job."""
    if wanted.state is not None and job.state is not wanted.state:
        return False
    if wanted.tag is not None and wanted.tag not in job.spec.tags:
        return False
    return wanted.text is None or wanted.text in _text(job.spec.content)


def _text(content: bytes) -> str:
    """The content as it reads, without escapes, in one case."""
    text = content.decode()
    if "\\" in text:
        text = json.dumps(json.loads(text), ensure_ascii=False)
    return text.casefold()
