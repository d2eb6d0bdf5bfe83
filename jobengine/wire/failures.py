"""The groups of failures in the API's answers."""

from typing import Any

from ..core.failures import FailureGroup


def failure_value(group: FailureGroup) -> dict[str, Any]:
    """A group of failures, as the API shows it."""
    return {
        "fingerprint": group.fingerprint,
        "error": group.error,
        "count": group.count,
        "first": group.first // 1000,
        "last": group.last // 1000,
        "uids": group.uids,
        "minutes": group.minutes,
    }
