"""Times in sentences for people; fields for programs have Unix seconds."""

from datetime import UTC, datetime
from typing import Final

#: The last second of the year 9999.
LAST_SECOND: Final = 253_402_300_799


def time_text(seconds: int) -> str:
    """A Unix time as text, in UTC: 2027-01-15T08:00:00Z."""
    return datetime.fromtimestamp(min(seconds, LAST_SECOND), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
