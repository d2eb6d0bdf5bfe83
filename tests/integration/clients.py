"""What tests of the Python client have in common."""

from jobengine.client import Queue


def states(queue: Queue) -> dict[str, int]:
    return dict(queue.stats().counts.raw)
