"""Parts that tests of the Python client share."""

from jobengine.client import Queue


def states(queue: Queue) -> dict[str, int]:
    return dict(queue.stats().counts.raw)
